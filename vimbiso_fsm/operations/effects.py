"""TODO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from vimbiso_fsm.document.document import PendingCall
from vimbiso_fsm.engine.events import CallReturned
from vimbiso_fsm.flow.calls import Call, Caller, CallPolicy
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Unreachable
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.store.requests import (
    Request,
)


@attrs.frozen
class LegacyRecord:
    """What stands under a number. `kind`: the type of its key, as Redis names it. `data`: of a text, its bytes, at most
    one more than `LARGEST`."""

    number: str = attrs.field(repr=False)
    data: bytes = attrs.field(default=b"", repr=False)
    kind: str = "string"


class LegacyReader(Protocol):
    """Where a manager looks for old records."""

    def read(self, number: str, /) -> LegacyRecord | None:
        """The record under a number. Raises: StoreUnavailable."""
        ...


class AsyncLegacyReader(Protocol):
    """The same, awaited."""

    async def read(self, number: str, /) -> LegacyRecord | None:
        """The record under a number. Raises: StoreUnavailable."""
        ...


def never(_: object) -> bool:
    return False


@attrs.frozen
class RunCall:
    """Run a service's method -> what it returned, the exception it raised, or `STILL_RUNNING` when nobody can wait for
    it any longer; its answer is then a turn of its own. `pending`: the call as it stands in the member's document;
    `renews`: this asks for a new token, before that call. `refuses`: whether an answer says that the call's token was
    not accepted; `curable`: there is a remedy for that, once; `in_doubt`: else it says nothing of an earlier try, which
    may have been made."""

    call: Call[Any]
    caller: Caller
    policy: CallPolicy
    pending: PendingCall
    renews: bool = False
    refuses: Callable[[object], bool] = attrs.field(default=never, eq=False, repr=False)
    curable: bool = False
    in_doubt: bool = False


STILL_RUNNING = object()
"""What a `RunCall` comes to when it takes longer than anybody waits."""


@attrs.frozen
class Deliver:
    """Take replies to the member -> whether that was done. `key`: the same however often it is tried."""

    channel: Channel
    replies: Sequence[Reply]
    key: str


@attrs.frozen
class Pause:
    """Wait a moment before the next attempt, longer the more there were, with jitter."""

    attempt: int


@attrs.frozen
class ReadLegacy:
    """Look for a record of the previous release -> `legacy.LegacyRecord`, None when there is none."""

    number: str = attrs.field(repr=False)


Step: TypeAlias = Request | RunCall | Deliver | Pause | ReadLegacy


def answered(step: RunCall, result: object) -> CallReturned:
    """The event that a call has come back with what it returned, or the exception it raised."""
    pending, refused = step.pending, step.refuses(result)
    says_nothing = isinstance(result, Unreachable) or (refused and not step.curable)
    unknown = isinstance(result, BaseException) or (step.in_doubt and says_nothing)
    renewal: Literal["", "needed", "done"] = "done" if step.renews else "needed" if refused and step.curable else ""
    answer = None if unknown else result
    return CallReturned(pending.key, pending.root, answer, unknown, pending.tries, renewal, pending.again)
