"""Findings: what a check has found in the declaration of a bot or in the code of its callbacks."""

from __future__ import annotations

from typing import Final, Self

import attrs

from vimbiso_fsm.errors import FlowFault
from vimbiso_fsm.made import Made, shown_path

REFERENCE: Final = "docs/reference/findings.md"
"""The page with the cause, an example and the remedy of each code."""


@attrs.frozen(order=True)
class Finding:
    """One finding, at one line.

    Attributes:
        file: The path of the file; empty if it is not known.
        line: The number of the line, from 1; 0 if it is not known.
        code: The word for findings of this kind, such as "unreachable-state".
        flow: The name of the flow; empty if it is in no single flow.
        place: The state, transition or argument; empty if it is the flow as a whole.
        fault: What is wrong.
        remedy: What to do; may be empty.
        advice: Whether it is advice, and no fault. Advice leaves the exit status of `vimbiso check` at 0.
        conversation: What a member says, line by line, until the fault shows; empty if it shows without.
    """

    file: str
    line: int
    code: str
    fault: str
    remedy: str = ""
    flow: str = attrs.field(default="", kw_only=True)
    place: str = attrs.field(default="", kw_only=True)
    advice: bool = attrs.field(default=False, kw_only=True)
    conversation: tuple[str, ...] = attrs.field(default=(), kw_only=True)

    @classmethod
    def at(
        cls,
        made: Made,
        code: str,
        fault: str,
        remedy: str = "",
        *,
        flow: str = "",
        place: str = "",
        advice: bool = False,
    ) -> Self:
        """Return the finding at the place where a part was made: `Finding.at(state.made, "trap", …)`."""
        return cls(made.file, made.line, code, fault, remedy, flow=flow, place=place, advice=advice)

    @classmethod
    def of(cls, fault: FlowFault) -> Self:
        """Return the finding of a fault for which a declaration was refused."""
        return cls.at(fault.made, fault.code, fault.fault, fault.remedy, flow=fault.flow, place=fault.place)

    @property
    def words(self) -> str:
        """The place, the fault and the remedy."""
        return FlowFault(self.flow, self.place, self.fault, self.remedy).words

    def __str__(self) -> str:
        where = f"{shown_path(self.file)}:{self.line}: " if self.file else ""
        shown = "".join(f"\n    {line}" for line in self.conversation)
        return f"{where}{self.code}: {self.words}{shown}"
