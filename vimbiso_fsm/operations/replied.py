"""The replies of the bot that members react to or reply to, by the channel's ids of their messages.

The ids are known as far as a sender has told them (`sent_notes.py`). What was said is known as long as the record of
the turn is kept. A message that replies to none costs no request.
"""

from __future__ import annotations

from contextlib import suppress

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.message import Channel, EarlierReply, Message
from vimbiso_fsm.messages.windows import words_of
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.store.requests import Broken, Load, ReadRecords, Record, Stored


def reply_of(context: Context, member_id: str, stored: Stored | Broken, channel: Channel, message_id: str) -> str:
    """Return the id of the reply that was sent as a message; empty if it is not known.

    Args:
        context: The context of the operation.
        member_id: The member.
        stored: The stored data of the member, as `Load` answers it.
        channel: The channel of the message.
        message_id: The channel's id of the message.
    """
    known = dict(stored.messages if isinstance(stored, Stored) else ())
    known |= context.sent.messages(member_id)
    names = context.bot.digests.message_names(channel, message_id)
    return next((known[name] for name in names if name in known), "")


async def with_reply(context: Context, document: Document, message: Message) -> Message:
    """Return a message with the reply of the bot that it replies to, if that is known."""
    member_id = document.member_id
    id = reply_of(context, member_id, await Load(member_id), message.channel, message.replied_to)
    if not id:
        return message
    for record in await ReadRecords(member_id):
        if record.token.startswith(id):
            with suppress(Unreadable, TypeError, KeyError):  # a damaged record, or an encrypted one
                return attrs.evolve(message, reply=_read(context, document, id, record))
    return attrs.evolve(message, reply=EarlierReply(id))


def _read(context: Context, document: Document, id: str, record: Record) -> EarlierReply:
    found = read_record(record.body)
    said = context.bot.say(replies_from_raw(found["replies"]), document.profile, document.channel)
    texts = tuple(words.text for words in map(words_of, said) if words is not None)
    place = found["flow_data"]
    return EarlierReply(id, texts, place["data"]["flow_type"] if place else "", place["step"] if place else "")
