"""The members of a store: where each of them stands, and whether they are stuck.

A store may have a million members, so they are read in parts: each begins at the cursor that the part before has told.
`standing` judges one member and is pure. The documents are read and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.events import SessionExpired
from vimbiso_fsm.engine.reading import Absent, Damaged, Reading, Sound, open_document
from vimbiso_fsm.engine.schedule import due, is_to_deliver
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.store.requests import Load, ScanPart

KEYS_AT_ONCE: Final = 1_000
"""Keys that a server looks at for one part of the members."""
LONG_CALL: Final = timedelta(minutes=1)
"""The time after which a call that has no answer counts as stuck. A message waits for its calls for ten seconds."""
OVERDUE: Final = timedelta(seconds=30)
"""The time after which work that is due counts as overdue. A worker looks for due work each second."""
REFUSED: Final = 3
"""The refusals in a row at one question from which a member counts as stuck."""
FAILED: Final = 2
"""The tries that have failed from which replies, and what passes to an inbox, count as stuck."""

Reason: TypeAlias = Literal["damaged", "unread", "call", "answer", "overdue", "undelivered", "inbox", "refused"]
"""Why a member is stuck, the gravest first:

`damaged`: the document is damaged, and is repaired when its member writes. `unread`: a newer release, another bot or
another key has stored the document. `call`: a call has had no answer for `LONG_CALL`. `answer`: a call had its effect,
and the flow failed to go on from its answer. `overdue`: what is due has not been done for `OVERDUE`. `undelivered`:
replies could not be sent, or wait for the next message of the member. `inbox`: an inbox of people does not take what
passes to it. `refused`: the member was refused `REFUSED` times in a row."""
REASONS: Final[tuple[Reason, ...]] = (
    "damaged", "unread", "call", "answer", "overdue", "undelivered", "inbox", "refused",
)  # fmt: skip
"""The reasons, the gravest first."""


@attrs.frozen
class Stuck:
    """A reason why a member does not go on.

    Attributes:
        reason: The reason.
        since: The instant since which it is so, as far as it is known.
        times: The tries, refusals or replies that count.
        what: What is stuck, in words of the code: a call, an event, an inbox or a fault. No data of the member.
    """

    reason: Reason
    since: datetime | None = None
    times: int = 0
    what: str = ""

    @property
    def words(self) -> str:
        """The reason in words."""
        match self.reason:
            case "damaged":
                return f"its document is damaged: {self.what}"
            case "unread":
                return f"its document cannot be read here: {self.what}"
            case "call":
                return f"{self.what} has no answer, {_counted(self.times, 'try', 'tries')}"
            case "answer":
                failures = _counted(self.times, "failure", "failures")
                return f"{self.what} was made, and the flow does not go on from its answer, {failures}"
            case "overdue":
                return f"{self.what} is overdue"
            case "undelivered":
                return f"{_counted(self.times, 'turn', 'turns')} with replies that are not sent"
            case "inbox":
                return f"the inbox {self.what} does not take what passes to it, {_counted(self.times, 'try', 'tries')}"
            case "refused":
                return f"refused {_counted(self.times, 'time', 'times')} in a row"


@attrs.frozen
class Standing:
    """Where a member stands.

    Attributes:
        member_id: The id.
        flow: The name of the open flow; empty if none is open, or the document cannot be read.
        step: The state in which the flow stands.
        since: The instant at which the state was entered, or else of the latest change of the document.
        channel: The type of the channel of the latest turn.
        stuck: Why the member is stuck, the gravest reason first; empty if they are not.
    """

    member_id: str
    flow: str = ""
    step: str = ""
    since: datetime | None = None
    channel: str = ""
    stuck: tuple[Stuck, ...] = ()

    @property
    def place(self) -> str:
        """The flow and the state, as `FLOW.STATE`; empty if no flow is open."""
        return f"{self.flow}.{self.step}" if self.flow else ""


@attrs.frozen
class Standings:
    """A part of the members.

    Attributes:
        members: The members. One may stand in two parts of a store that changes meanwhile.
        cursor: Where the next part begins; empty after the last one.
    """

    members: tuple[Standing, ...]
    cursor: str = ""


async def standings(context: Context, cursor: str = "", keys: int = KEYS_AT_ONCE) -> Standings:
    """Return a part of the members with their standing.

    Args:
        context: The context of the operation.
        cursor: Where the part begins, as the part before has told; empty for the first.
        keys: The number of keys that a server looks at, about. The members of a part are fewer.

    Raises:
        ValueError: The cursor was told by no part.
        StoreUnavailable: A server did not answer.
    """
    part = await ScanPart(cursor, keys)
    found: list[Standing] = []
    for member_id in part.members:
        now = instant(context.now)
        each = standing(context.bot, member_id, open_document(context.bot, member_id, await Load(member_id), now), now)
        if each is not None:
            found.append(each)
    return Standings((*found,), part.cursor)


def standing(bot: Bot, member_id: str, reading: Reading, now: datetime) -> Standing | None:
    """Return where a member stands; None for one of whom no document is kept, or whose document became another's.

    Args:
        bot: The bot.
        member_id: The member.
        reading: The document as it was read.
        now: The time of the store.
    """
    match reading:
        case Absent():
            return None
        case Sound(document) if document.moved is not None:
            return None
        case Sound(document):
            run = document.run
            at = document.last_updated if run is None or run.since is None else run.since
            found = sorted(_stuck(bot, document, now), key=lambda each: REASONS.index(each.reason))
            flow, step = ("", "") if run is None else (run.flow, run.step)
            return Standing(member_id, flow, step, at, document.channel.type, (*found,))
        case Damaged(faults):
            return Standing(member_id, stuck=(Stuck("damaged", what=next(iter(faults), "")),))
        case _:
            return Standing(member_id, stuck=(Stuck("unread", what=type(reading.error).__name__),))


def _stuck(bot: Bot, document: Document, now: datetime) -> Iterator[Stuck]:
    """Yield the reasons why the member of a document is stuck."""
    run, call = document.run, document.call
    entered = document.last_updated if run is None or run.since is None else run.since
    if call is not None:
        what = f"{call.service}.{call.method}"
        if call.answer is not None:
            yield Stuck("answer", entered, call.answer.failures, what)
        elif now - entered >= LONG_CALL:
            yield Stuck("call", entered, call.tries, what)
    stranger = is_stranger(bot, document)
    for at, event in due(document, delivers=False):
        if now - at < OVERDUE:
            break
        if not (stranger and isinstance(event, SessionExpired)):  # the next message of a stranger ends the session
            yield Stuck("overdue", at, what=type(event).__name__)
            break
    waiting = [each for each in document.outbox if each.tries >= FAILED or each.rest == "held"]
    waiting += [each for each in document.outbox if each not in waiting and not is_to_deliver(each)]
    if waiting:
        yield Stuck("undelivered", times=len(waiting))
    failed = [item for item in document.passing if item.tries >= FAILED]
    if failed:
        yield Stuck("inbox", failed[0].at, failed[0].tries, failed[0].inbox)
    if run is not None and run.attempts >= REFUSED:
        yield Stuck("refused", times=run.attempts)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
