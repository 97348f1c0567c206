"""Send the replies of a turn, at once, by the process that has committed it.

    leased   the commit of the turn has put the replies into the outbox, leased to this process (`lease_replies`)
    sent     noted in this process (`sent_notes.py`), until the member's next commit leaves them out, or it is noted
             beside the document (`MarkSent`)
    refused  the answer of the channel is a turn of its own: `Later` lets them rest, `Never` gives them up
    unknown  the sender has raised; they are sent again after a pause, by a worker

A worker sends what a process has left (`wake.py`). No replies overtake others of their member: behind some that are
being sent, `send` waits for a while, and then leaves its own to a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Final, TypeAlias

from vimbiso_fsm.document.codec import without_sent
from vimbiso_fsm.document.document import Document, Undelivered
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import Delivered, Event
from vimbiso_fsm.engine.outbox import is_left, is_over, with_recorded
from vimbiso_fsm.engine.reading import Sound, open_document
from vimbiso_fsm.engine.schedule import for_address, is_to_deliver
from vimbiso_fsm.errors import NotAnswered, Unreadable, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Answer, Later, Never, Sent
from vimbiso_fsm.messages.told import StatusChanged
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver, StandBack
from vimbiso_fsm.operations.pace import keep_pause
from vimbiso_fsm.operations.sent_notes import sent_messages
from vimbiso_fsm.operations.turn import MemberTurns, stored_replies
from vimbiso_fsm.store.requests import Committed, Load, ReadRecords, Stored

Leased: TypeAlias = tuple[Undelivered, Sequence[Reply]]
"""Replies in the outbox that are leased to this process, and the same replies with their final words."""

LOOKS: Final = 100
"""How often replies look whether those before them were sent, for some five seconds. Then a worker sends them."""


async def whole_outbox(context: Context, member_id: str, document: Document) -> Document:
    """Return a document without what was sent, and with the replies that another process has left.

    What another process has sent is noted beside the document, on the same head. So the store is asked before replies
    are sent again whose lease is over.

    Raises:
        EncryptedState: A turn record is encrypted, and its key is not at hand.
    """
    document, now = context.sent.strike(member_id, document), instant(context.now)
    if not any(is_left(waiting, now) or (context.senders and is_over(waiting, now)) for waiting in document.outbox):
        return document
    stored = await Load(member_id)
    if isinstance(stored, Stored):
        document = without_sent(document, stored.sent)
    left = [waiting.id for waiting in document.outbox if is_left(waiting, now)]
    if not left:
        return document
    raw = stored_replies(document.member_id, await ReadRecords(member_id))
    for id in left:
        if id not in raw:
            context.errors.append((id[:10], Unreadable(["the record of replies that were not sent is gone"])))
    return with_recorded(document, raw, now)


async def send(turns: MemberTurns, leased: Sequence[Leased], at: Channel | None = None) -> Sequence[Answer | None]:
    """Send replies of the outbox that are leased to this process, in their order.

    Args:
        turns: The turns at the member; the latest document has the replies in its outbox.
        leased: The replies in the outbox, each with the same replies in their final words.
        at: The channel; by default that of the member's latest message.

    Returns:
        The answers of the channel, up to the first that is not `Sent`, because those after it wait behind it. That is
        None if the outcome is unknown, or if the replies are left to another process.
    """
    answers = list[Answer | None]()
    for waiting, replies in leased:
        if not (is_first(turns, waiting) or await _is_next(turns, waiting)):
            return (*answers, None)
        document, to = turns.document, waiting.to
        channel = at or (document.channel if to is None else document.channel_at(to))
        answer = await Deliver(channel, replies, waiting.id, True)
        if not isinstance(answer, Sent):
            return (*answers, await settle(turns, waiting, replies, answer, at))
        note_sent(turns, waiting, answer, at)
        answers.append(answer)
    return answers


def is_first(turns: MemberTurns, waiting: Undelivered) -> bool:
    """Return whether replies are the first in the outbox, and are leased to this process for a while yet."""
    outbox, until = turns.document.outbox, waiting.leased_until
    return bool(outbox) and outbox[0] is waiting and until is not None and until.timestamp() > turns.context.now


async def settle(
    turns: MemberTurns,
    waiting: Undelivered,
    replies: Sequence[Reply],
    answer: Answer | BaseException,
    at: Channel | None = None,
) -> Answer | None:
    """Take note of the answer of the channel. One other than `Sent` is a turn of its own; an exception is reported."""
    context, channel = turns.context, at or turns.document.channel_at(waiting.to)
    if isinstance(answer, Sent):
        note_sent(turns, waiting, answer, at)
        return answer
    known = None if isinstance(answer, BaseException) else answer
    if isinstance(answer, BaseException):
        context.errors.append((waiting.id[:10], answer))
    if isinstance(known, Later):
        await keep_pause(context, channel, waiting.id, known)
    try:
        error = type(answer).__name__ if known is None else ""
        await _store(turns, Delivered(waiting.id, waiting.tries, False, known, replies_to_keep(replies), error))
        if isinstance(known, Never) and (fact := failure_of(context.bot, waiting.id, known, channel)) is not None:
            await _store(turns, fact)
    except VimbisoError as error:  # the lease ends, and a worker asks the channel again
        context.errors.append((waiting.id[:10], error))
    return known


def note_sent(turns: MemberTurns, waiting: Undelivered, sent: Sent, at: Channel | None = None) -> None:
    """Note that replies were sent, as which messages, in this process and in its copy of the document."""
    context, member_id, id = turns.context, turns.member_id, waiting.id
    sent_as = sent_messages(context.bot, at or turns.document.channel_at(waiting.to), sent) if sent.ids else ()
    context.sent.note(member_id, turns.head, turns.document, id, sent_as)
    turns.document = without_sent(turns.document, (id,))
    context.cache.replace(member_id, turns.head, turns.document)


def failure_of(bot: Bot, id: str, never: Never, channel: Channel) -> StatusChanged | None:
    """Return the fact that a channel will not take replies; None if the bot has no reaction to it."""
    fact = StatusChanged(
        id=f"never {id}", channel=channel, account=channel.account, status="failed", code=never.code,
        reason=never.reason, reply=id,
    )  # fmt: skip
    return fact if StatusChanged in bot.reacts else None


async def _is_next(turns: MemberTurns, waiting: Undelivered) -> bool:
    """Wait until no replies precede these in the outbox; return whether this process may send them then."""
    try:
        return await _has_come(turns, waiting)
    except NotAnswered as error:
        turns.context.errors.append((waiting.id[:10], error))
        return False


async def _has_come(turns: MemberTurns, waiting: Undelivered) -> bool:
    context, member_id, document = turns.context, turns.member_id, turns.document
    for attempt in range(1, LOOKS + 1):
        document, now = context.sent.strike(member_id, document), instant(context.now)
        if not document.waits(waiting.id) or waiting.leased_until is None or waiting.leased_until <= now:
            return False
        same = for_address(document.outbox, document.channel.address, waiting.to)
        before = takewhile(lambda each: each.id != waiting.id, same)
        first = next((each for each in before if is_to_deliver(each)), None)
        if first is None:
            return True
        if first.rest or first.leased_until is None or first.leased_until <= now:
            return False
        await StandBack(attempt)
        if not context.sent.is_sent(member_id, first.id):
            document = _read(context, member_id, await Load(member_id)) or document
    return False


def _read(context: Context, member_id: str, stored: object) -> Document | None:
    if not isinstance(stored, Stored):
        return None
    reading = open_document(context.bot, member_id, stored, instant(max(stored.at, context.now)))
    return reading.document if isinstance(reading, Sound) else None


async def _store(turns: MemberTurns, event: Event) -> None:
    """Decide an event and store it. Where the document cannot be read now, it is left to a worker."""
    context = turns.context
    while True:
        document = turns.document = await whole_outbox(context, turns.member_id, turns.document)
        decision = decide(context.bot, document, event, instant(context.now), route="keep")
        if not decision.changed:
            return
        result = await turns.commit(decision, event, "keep")
        if isinstance(result, Committed) or not isinstance(result, Stored):
            return
        found = _read(context, turns.member_id, result)
        if found is None:
            return
        turns.head, turns.document = result.head, found


async def told(
    context: Context,
    member_id: str,
    leased: Sequence[Leased],
    answer: Answer,
) -> None:
    """Take note of what a channel has answered to the replies of a message, which the caller of `handle` has sent.

    Args:
        context: The context of the operation.
        member_id: The member.
        leased: The replies, as the outcome names them.
        answer: The answer. One other than `Sent` is that to the first replies, and the others wait behind them.
    """
    turns, stored = MemberTurns(context, member_id), await Load(member_id)
    document = _read(context, member_id, stored)
    if document is None or not isinstance(stored, Stored):
        return
    turns.head, turns.document = stored.head, document
    for waiting, replies in leased:
        if turns.document.waits(waiting.id):
            await settle(turns, waiting, replies, answer)
            if not isinstance(answer, Sent):
                return
