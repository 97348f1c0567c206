"""The check that a manager makes of its servers before it starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import attrs

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.store.doctor import Durability, Finding, Node, examine, insist

_log = logging.getLogger("vimbiso_fsm")


@attrs.frozen
class StartupCheck:
    """Whether a manager may start on its servers.

    Attributes:
        durability: What an answered turn must survive; None when nothing is promised.
        unsafe: Start all the same.
    """

    durability: Durability | None
    unsafe: bool

    def findings(self, nodes: Iterable[Node]) -> tuple[Finding, ...]:
        """Return what the doctor would refuse.

        Raises:
            UnsafeStore: There are such findings, a durability is promised, and it is not waived.
        """
        findings = tuple(item for item in examine(nodes, self.durability or "local") if item.serious)
        if self.durability is not None and not self.unsafe:
            insist(findings)
        return findings

    def incident(self, findings: tuple[Finding, ...], at: float) -> Incident | None:
        """Log the findings, and return the incident of a waiver; None when no promise is broken."""
        for finding in findings:
            _log.warning("the store may lose what it is given: %s", finding)
        if not findings or self.durability is None:
            return None
        detail = {"durability": self.durability, "findings": [str(finding) for finding in findings]}
        return Incident(instant(at), "waiver", detail=detail)
