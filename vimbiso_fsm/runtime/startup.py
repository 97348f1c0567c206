"""TODO."""

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
    """Whether a manager may start on its servers."""

    durability: Durability | None
    unsafe: bool

    def findings(self, nodes: Iterable[Node]) -> tuple[Finding, ...]:
        """What the doctor would refuse.

        Raises: UnsafeStore, unless that is waived or no level was promised.
        """
        findings = tuple(one for one in examine(nodes, self.durability or "local") if one.serious)
        if self.durability is not None and not self.unsafe:
            insist(findings)
        return findings

    def incident(self, findings: tuple[Finding, ...], at: float) -> Incident | None:
        """What is kept of a waiver. Nothing is promised without a level: that is only logged."""
        for finding in findings:
            _log.warning("the store may lose what it is given: %s", finding)
        if not findings or self.durability is None:
            return None
        detail = {"durability": self.durability, "findings": [str(finding) for finding in findings]}
        return Incident(instant(at), "waiver", detail=detail)
