"""Import of records that the previous release stored under telephone numbers.

A bot declares with `Bot(importer=Legacy(…))` how records are converted. A manager with `legacy=` reads the record of a
member who has no document yet. A bot without an importer does not load this package.
"""

from vimbiso_fsm.legacy.declare import LegacyFlow
from vimbiso_fsm.legacy.importer import Legacy

__all__ = ["Legacy", "LegacyFlow"]
