"""credex-core, the judge of all money: the port that the conversations talk to, and what can stand behind it.

core_port.py        the port and what it answers
simulated_core.py   one in this process, to try things against
http_core.py        the real one, over HTTP; needs the extra `http`, and is loaded when it is asked for
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.credex_core.port import (
    ANYBODY,
    DECIMALS,
    DEFAULT_DENOMINATION,
    Account,
    CredexCore,
    Dashboard,
    LedgerEntry,
    PendingOffer,
    Receipt,
    Recipient,
    ReplyLost,
    Session,
)
from flows.credex_core.simulated import Fault, Offer, Received, SimulatedCredexCore

if TYPE_CHECKING:
    from flows.credex_core.http import AsyncHttpCredexCore, HttpCredexCore

__all__ = [
    "ANYBODY",
    "DECIMALS",
    "DEFAULT_DENOMINATION",
    "Account",
    "AsyncHttpCredexCore",
    "CredexCore",
    "Dashboard",
    "Fault",
    "HttpCredexCore",
    "LedgerEntry",
    "Offer",
    "PendingOffer",
    "Receipt",
    "Received",
    "Recipient",
    "ReplyLost",
    "Session",
    "SimulatedCredexCore",
]


def __getattr__(name: str) -> Any:
    """The adapters over HTTP, and httpx with them, for those who want them."""
    if name in ("AsyncHttpCredexCore", "HttpCredexCore"):
        from flows.credex_core import http as http_core

        return getattr(http_core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
