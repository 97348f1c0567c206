"""Import of records that the previous release stored under telephone numbers.

A bot declares what it makes of them with `Bot(importer=Legacy(…))`. A manager that is given `legacy=` reads them for
members who have nothing here. A bot that imports nothing never loads this package.
"""

from vimbiso_fsm.legacy.declare import LegacyFlow
from vimbiso_fsm.legacy.importer import Legacy

__all__ = ["Legacy", "LegacyFlow"]
