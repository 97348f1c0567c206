"""The mutants that change nothing a member can see, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EQUIVALENT: Final[Mapping[str, str]] = {}
"""The reason by the mutant, as it is printed."""
