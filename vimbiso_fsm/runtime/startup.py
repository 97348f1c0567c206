"""The check of the servers before a manager starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import attrs

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.doctor import Durability, Node, examine, insist

OWNER_KNOWN: Final = 60.0
"""Seconds after which a manager asks again whether the store is still its bot's and of a layout that it knows."""

_log = logging.getLogger("vimbiso_fsm")


@attrs.frozen(eq=False, repr=False)
class StartupCheck(Value):
    """The check whether a manager may start on its servers.

    Attributes:
        durability: The loss that an answered turn must survive; None promises nothing.
        unsafe: Whether to start in spite of findings, as a waiver.
    """

    durability: Durability | None
    unsafe: bool

    def incident(self, nodes: Iterable[Node], at: float) -> Incident | None:
        """Log the serious findings of the doctor, and return the incident of a waiver; None if no promise is broken.

        Args:
            nodes: The servers, as they have answered.
            at: Seconds since the epoch.

        Raises:
            UnsafeStore: There are serious findings, and a durability is promised and not waived.
        """
        findings = tuple(item for item in examine(nodes, self.durability or "local") if item.serious)
        if self.durability is not None and not self.unsafe:
            insist(findings)
        for finding in findings:
            _log.warning("the store may lose what it is given: %s", finding)
        if not findings or self.durability is None:
            return None
        detail = {"durability": self.durability, "findings": [str(finding) for finding in findings]}
        return Incident(instant(at), "waiver", detail=detail)
