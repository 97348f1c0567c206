"""A store that refuses what would change it, for a studio that was started without `--write`.

The panels only read. That nothing is changed does not hang on them: every request of the manager comes through here.
"""

from __future__ import annotations

from typing import Final, TypeVar, cast

from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.requests import (
    AsyncStore,
    Claim,
    Effect,
    FindOwner,
    FindOwners,
    Heartbeat,
    Lease,
    Load,
    ReadAudit,
    ReadDigests,
    ReadDue,
    ReadDueShards,
    ReadIncidents,
    ReadIndexKeys,
    ReadInherited,
    ReadKeys,
    ReadOldest,
    ReadOwner,
    ReadQuarantine,
    ReadRecords,
    ReadStoreRecord,
    ReadUsage,
    RecordIncident,
    Scan,
    ScanPart,
    ShowQuarantined,
)

R = TypeVar("R")

READS: Final[frozenset[type]] = frozenset(
    {
        Load, ReadAudit, ReadDigests, ReadDue, ReadDueShards, ReadIncidents, ReadInherited, ReadKeys, ReadOldest,
        ReadOwner, ReadQuarantine, ReadRecords, ReadStoreRecord, ReadUsage, Scan, ScanPart, ShowQuarantined,
    }
)  # fmt: skip
"""The requests that change nothing."""


class ReadOnlyStore:
    """An `AsyncStore` around another one.

    A manager that starts on a store without an owner, or has an incident to record, does so in vain.
    """

    def __init__(self, store: AsyncStore) -> None:
        """Take the store whose requests are refused if they would change it."""
        self._store = store

    async def perform(self, request: Effect[R], /) -> R:
        """Perform a request that changes nothing.

        Raises:
            StoreUnavailable: The request would change the store, or the store does not answer.
        """
        if _is_reading(request):
            return await self._store.perform(request)
        if isinstance(request, Claim):
            return cast(R, request.owner)
        if isinstance(request, RecordIncident):
            return cast(R, None)
        raise StoreUnavailable(f"{type(request).__name__} would change the store; start the studio with --write for it")


def _is_reading(request: object) -> bool:
    """Return whether a request changes nothing that lasts. To leave as a worker that is not there changes nothing."""
    match request:
        case Heartbeat() | Lease():
            return request.seconds == 0
        case ReadIndexKeys():
            return not request.forget
        case FindOwner():
            return request.guest is None
        case FindOwners():
            return all(each.guest is None for each in request.each)
        case _:
            return type(request) in READS
