"""credex-core, the service that decides on all money: its port and the implementations of the port.

port.py        the port and its results
simulated.py   a simulation in this process
http.py        the real service over HTTP; needs the extra `http`, and is imported on first use
wire.py        requests and responses of the service, as data
server.py      the simulation over HTTP; needs the extra `serve`
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
    """Import the HTTP clients on first use, because they need httpx."""
    if name in ("AsyncHttpCredexCore", "HttpCredexCore"):
        from flows.credex_core import http

        return getattr(http, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
