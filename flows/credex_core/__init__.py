"""credex-core, which keeps accounts and offers: the port that the flows call, and its implementations.

port        the port and the types of its results
simulated   an implementation in this process, for tests and demonstrations
http        the client of the real credex-core; needs the extra `http`, and is imported on first use
wire        requests and responses of the API, as data
server      the simulated credex-core over HTTP; needs the extra `serve`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.credex_core.port import (
    ANYBODY,
    DECIMALS,
    DEFAULT_DENOMINATION,
    Account,
    CredexCore,
    Dashboard,
    LedgerEntry,
    NumberProof,
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
    "NumberProof",
    "Offer",
    "PendingOffer",
    "Receipt",
    "Received",
    "Recipient",
    "ReplyLost",
    "Session",
    "SimulatedCredexCore",
]


def __getattr__(name: str) -> object:
    """Import the HTTP clients, and httpx2 with them, on first use."""
    if name in ("AsyncHttpCredexCore", "HttpCredexCore"):
        from flows.credex_core import http

        return getattr(http, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
