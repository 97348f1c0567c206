"""The window of a channel, and replies that are late: sent as a template, held, or not said any more.

Replies that answer no message can come when the channel takes no words of the bot's own any more. Those that name a
template go as it. The others are held, with an end, and precede the reply to the member's next message. A question is
said then only if its state is still the current one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Document, Heard, Undelivered
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import Event, ReminderDue
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Address, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.windows import MARGIN, as_templates, has_template, words_of
from vimbiso_fsm.store.retention import DOCUMENT_LIFE

HELD: Final = "held"
"""The fact of an audit entry that replies wait for the next message: "window" if that of the channel is over."""
HELD_FOR: Final = timedelta(days=7)
"""How long replies without an end of their own are held."""
RESULT_HELD_FOR: Final = timedelta(seconds=DOCUMENT_LIFE)
"""The same for the result of a call, which the member has asked for."""
_HOUR: Final = timedelta(hours=1)


def note_heard(draft: Draft, message: Message) -> None:
    """Note the hour in which the member was heard at the address of a message. Its channel has a window.

    A message that the channel delivers late counts from when it was sent. The notes of windows that are over go.
    """
    address, at = draft.channel.address, draft.now
    if message.sent_at is not None and message.sent_at < at:
        at = message.sent_at.astimezone(at.tzinfo)
    for note in draft.heard:
        known = note.address
        same = known.identifier == address.identifier and known.account == address.account
        if same and at - note.at < _HOUR and known.type == address.type:  # a plain turn ends here
            return
    kept = (note for note in draft.heard if note.address != address and _is_open(draft.bot, note, draft.now))
    draft.heard = (*kept, Heard(address, hour_of(at)))


def hour_of(at: datetime) -> datetime:
    """Return the beginning of the hour of an instant."""
    return at.replace(minute=0, second=0, microsecond=0)


def takes_words(bot: Bot, document: Document, now: datetime, address: Address | None = None) -> bool:
    """Return whether an address, by default that of the latest turn, takes words of the bot's own at an instant."""
    address = address or document.channel.address
    if address.type not in bot.windows:
        return True
    return any(note.address.meets(address) and _is_open(bot, note, now) for note in document.heard)


def _is_open(bot: Bot, note: Heard, now: datetime) -> bool:
    return now < note.at + timedelta(seconds=bot.windows.get(note.address.type, 0.0) - MARGIN)


def merged_heard(first: Sequence[Heard], then: Sequence[Heard]) -> tuple[Heard, ...]:
    """Return the notes of two documents of one member, the latest of each address."""
    latest = {note.address: note for note in sorted((*first, *then), key=lambda note: note.at)}
    return tuple(latest.values())


def as_sent(bot: Bot, document: Document, replies: tuple[Reply, ...], to: Address | None = None) -> tuple[Reply, ...]:
    """Return replies of the outbox as they are sent: as their templates, if the channel takes nothing else.

    Args:
        bot: The bot.
        document: The document whose turn has leased the replies.
        replies: The replies with their final words.
        to: The address that they are for, as in `Undelivered`.
    """
    if takes_words(bot, document, document.last_updated, to):
        return replies
    channel = document.channel_at(to)
    return as_templates(replies, channel.type, bot.language(document.profile, channel))


def with_end(draft: Draft, event: Event, waiting: Undelivered) -> Undelivered:
    """Return replies of a turn with the instant from which they are not said any more, and the state that they ask in.

    The earliest end counts of those that their texts and the reminder that says them have.
    """
    ends = [draft.now + words.holds for words in map(words_of, draft.said) if words is not None and words.holds]
    if isinstance(event, ReminderDue):
        ends += [each.until for each in draft.before.reminders if each.id == event.id and each.until is not None]
    asks = ""
    if draft.run is not None and draft.asked is not None and draft.replies[-1] is draft.asked:
        asks = draft.run.fence if draft.before.channel_at(waiting.to).type in draft.bot.windows else ""
    return attrs.evolve(waiting, until=min(ends, default=None), asks=asks) if ends or asks else waiting


def parted(draft: Draft, waiting: Undelivered) -> tuple[Undelivered | None, Undelivered | None]:
    """Part replies that would be sent now into those that the channel takes, and those that are held."""
    before = draft.before
    if waiting.is_recorded or takes_words(draft.bot, before, draft.now, waiting.to):
        return waiting, None
    goes: list[Any] = []
    stays: list[Any] = []
    for raw, reply in zip(waiting.replies, replies_from_raw(waiting.replies), strict=True):
        (goes if has_template(reply, before.channel_at(waiting.to).type) else stays).append(raw)
    if not stays:
        return waiting, None
    draft.detail = {**draft.detail, HELD: "window"}
    end = draft.now + (RESULT_HELD_FOR if waiting.urgent else HELD_FOR)
    held = attrs.evolve(
        waiting,
        id=f"{waiting.id}.late" if goes else waiting.id,
        replies=tuple(stays),
        leased_until=None,
        tries=DELIVERY_TRIES,
        rest="window",
        until=waiting.until or end,
        asks=waiting.asks if stays[-1] is waiting.replies[-1] else "",
    )
    return attrs.evolve(waiting, replies=tuple(goes), asks="") if goes else None, held


def has_lapsed(draft: Draft, waiting: Undelivered) -> bool:
    """Return whether the end of replies has come."""
    return waiting.until is not None and waiting.until <= draft.now


def drop_lapsed(draft: Draft) -> None:
    """Drop from the outbox what a message does not bring any more: replies after their end, and closed questions.

    A worker may be sending replies now, and these stay.
    """
    kept: list[Undelivered] = []
    for waiting in draft.outbox:
        left: Undelivered | None = waiting
        if waiting.leased_until is None or waiting.leased_until <= draft.now:
            left = _what_holds(draft, waiting)
        if left is not waiting:
            draft.lapsed = (*draft.lapsed, waiting.id)
        kept += [left] if left is not None else []
    if draft.lapsed:
        draft.outbox = tuple(kept)


def _what_holds(draft: Draft, waiting: Undelivered) -> Undelivered | None:
    """Return what is still to be said of replies; None if nothing is."""
    if has_lapsed(draft, waiting):
        return None
    run = draft.before.run
    if waiting.rest not in ("window", "held") or not waiting.asks or (run is not None and run.fence == waiting.asks):
        return waiting
    rest = waiting.replies[:-1]
    return attrs.evolve(waiting, replies=rest, asks="") if rest else None
