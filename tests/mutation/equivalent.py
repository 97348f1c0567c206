"""The mutants that change nothing a member can see, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EQUIVALENT: Final[Mapping[str, str]] = {
    "prove_number: done checking -> proven: without without_code": (
        "the run ends there, and its data with it; without_code is for the ways on which the run goes on"
    ),
}
"""The reason by the mutant, as it is printed."""
