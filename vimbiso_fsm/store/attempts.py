"""The attempts of one request: their number, and the error after the last one."""

from __future__ import annotations

import random
import time
from typing import Final, TypeVar, cast

import attrs
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from vimbiso_fsm.errors import CommitUnknown, DamagedKey, DamagedRecord, StoreUnavailable
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.script import Inspected, Shared

R = TypeVar("R")

ATTEMPTS: Final = 6
"""Times that one request is sent at most, without attempts that met a half-moved slot of a cluster.

The waits between them double from `FIRST_WAIT`; together they are 0.62 s.
"""
FIRST_WAIT: Final = 0.02
"""Seconds before the second attempt; each wait is drawn between half of it and all."""
SPLIT_DOUBLED: Final = 3
"""Times that the wait doubles at most while the keys of a request are on two nodes: they may be moved soon."""
RETRY_PERIOD: Final = 1.4
"""Reply timeouts after which no further attempt starts.

The last attempt may take half a timeout to connect and one for the reply, so all attempts end within three.
"""

_TEMPORARY: Final = (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
"""Refusals after which the same request may soon be performed, by this server or by another one."""
_WRITES: Final = (
    requests.Quarantine,
    requests.Link,
    requests.Unlink,
    requests.SetWakeUp,
    requests.MarkSent,
    requests.UseTokens,
    requests.RecordIncident,
    requests.SetAside,
    requests.Wipe,
    requests.Erase,
    requests.Fold,
    requests.DropOldest,
    requests.FreeChannels,
    requests.Claim,
    requests.Rewrite,
    requests.KeepKey,
    requests.DropKeys,
)
"""Requests that write something lasting, without `Commit`, which writes nothing lasting if it has no document."""


class NotSent(Exception):
    """There was no connection to send on; the cause says why."""


class WrongType(Exception):
    """A key of the member is of a wrong type; the request has written nothing."""

    def __init__(self, member_id: str) -> None:
        self.member_id: Final = member_id
        super().__init__("a key changes its type while it is looked at")


class Attempts:
    """The attempts of one request, a bounded number. All of them send the same bytes, and so the same token.

    Attributes:
        request: The request; None for a question that the store asks for itself.
        redirect: Where the next attempt goes, if a node of a cluster has named another one.
        asking: Whether the next attempt goes to a node that does not have the slot yet, and must be told so.
        split: How often a node has refused the request because it has only some of its keys. The next attempt is made
            at the node that has them (`handover.py`); 0 after another failure.
        is_unknown: Whether an attempt may have been performed whose answer was lost.
        lasting: Whether the request writes what must outlive the server.
        seen: How often the topology had been read when the latest attempt began, so that of many that fail together
            one reads it again.
    """

    __slots__ = ("_last", "_made", "_place", "asking", "is_unknown", "lasting", "redirect", "request", "seen", "split")

    def __init__(self, request: requests.Request | None, place: str, timeout: float) -> None:
        """Begin.

        Args:
            request: The request; None for a question that the store asks for itself.
            place: The address of the store, for errors.
            timeout: Seconds to wait for a reply.
        """
        self.request, self._place = request, place
        self._last = time.monotonic() + RETRY_PERIOD * timeout
        self._made = 0
        self.is_unknown = False
        self.redirect: AskError | None = None
        self.asking = False
        self.split = self.seen = 0
        if isinstance(request, requests.Commit):
            self.lasting = request.document is not None
        else:
            self.lasting = isinstance(request, _WRITES)

    def wait(self, error: Exception) -> float:
        """Return the seconds to wait before the next attempt, after an attempt failed with `error`.

        Raises:
            WrongType: A key of the member is of a wrong type.
            DamagedKey: A key that belongs to no single member is of a wrong type.
            DamagedRecord: The record of the owner is of a wrong type.
            CommitUnknown: There is no next attempt, and an earlier one may have written.
            StoreUnavailable: There is no next attempt, and nothing was written.
        """
        if isinstance(self.request, Inspected) and str(error).startswith("WRONGTYPE"):
            raise WrongType(self.request.member_id) from error
        if isinstance(self.request, Shared) and str(error).startswith("WRONGTYPE"):
            raise DamagedKey(self.request) from error
        if isinstance(self.request, requests.ReadOwner | requests.Claim) and str(error).startswith("WRONGTYPE"):
            raise DamagedRecord(self._place, "owner") from error
        is_split = isinstance(error, TryAgainError)
        self.split = self.split + 1 if is_split else 0
        self._made += not is_split  # keys are moved in any number of attempts, until `_last`
        self.go_to(error if isinstance(error, AskError) else None)
        refusal = _refusal(error)
        self.is_unknown = self.is_unknown or not (refusal or isinstance(error, NotSent | WrongType))
        is_final = refusal is not None and not _is_temporary(refusal)
        doubled = min(self.split, SPLIT_DOUBLED) if is_split else self._made
        wait = FIRST_WAIT * 2.0 ** (doubled - 1) * random.uniform(0.5, 1.0)  # noqa: S311 – it only spreads retries
        if (self.redirect is not None and self._made == 1) or self.split == 1:
            wait = 0.0  # the right node is named or can be found; only nodes that do not agree yet need time
        if is_final or self._made == ATTEMPTS or time.monotonic() + wait > self._last:
            raise self.over(fault_of(error)) from error
        return wait

    def go_to(self, redirect: AskError | None) -> None:
        """Let the next attempt go to the node that a redirect names; None for the node that has the slot."""
        self.redirect = redirect
        self.asking = redirect is not None and not isinstance(redirect, MovedError)

    def corrected(self, result: R, confirmed: bool) -> R:
        """Correct a decoded result that is not confirmed, or that comes after an attempt whose outcome is unknown.

        A `Duplicate` of this very commit means that an attempt made it whose answer was lost. `confirmed` holds for it
        too: a duplicate makes a write of its own, later than the first.
        """
        commit, found = self.request, cast(object, result)
        if self.is_unknown and isinstance(found, requests.Duplicate) and isinstance(commit, requests.Commit):
            head, entry = found.current.head, commit.entry
            if entry is not None and head == requests.Head(entry.version, entry.digest):
                found = requests.Committed(head, found.current.at)
        if not confirmed and isinstance(found, requests.Committed):
            found = attrs.evolve(found, confirmed=False)
        return cast(R, found)

    def over(self, fault: str) -> Exception:
        """Return the error for a request that is not sent again."""
        fault = f"{self._place}: {fault}"
        request = self.request
        if self.is_unknown and isinstance(request, requests.Commit) and self.lasting:
            return CommitUnknown(request.member_id, request.token, fault)
        if self.is_unknown and isinstance(request, _WRITES):
            return CommitUnknown(getattr(request, "member_id", None) or "", type(request).__name__, fault)
        return StoreUnavailable(fault)


def may_be_elsewhere(error: Exception) -> bool:
    """Return whether the error may mean that another server has the keys now."""
    return not isinstance(error, ResponseError) or isinstance(
        error, MovedError | ClusterDownError | MasterDownError | ReadOnlyError
    )


def _refusal(error: Exception) -> BaseException | None:
    """Return the refusal of the server, or None if the error is none.

    The connections of a Sentinel's service turn one refusal, that of a server which has become a replica, into a lost
    connection.
    """
    answered = error.__context__ if isinstance(error.__context__, ReadOnlyError) else error
    return answered if isinstance(answered, ResponseError | BusyLoadingError) else None


def _is_temporary(refusal: BaseException) -> bool:
    return isinstance(refusal, _TEMPORARY) or str(refusal).startswith("NOREPLICAS")


def fault_of(error: BaseException) -> str:
    """Return what an error of redis-py says, in words."""
    cause = error.__cause__ if isinstance(error, NotSent) else error
    if isinstance(cause, OutOfMemoryError):
        return "it is out of memory (maxmemory) and refused the write"
    if isinstance(cause, AskError):
        return (
            f"its nodes do not agree which of them has slot {cause.slot_id}; {cause.host}:{cause.port} was named last"
        )
    return str(cause) or type(cause).__name__
