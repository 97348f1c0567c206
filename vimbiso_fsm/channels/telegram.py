"""Telegram, by its Bot API: updates to messages, replies to parameters of `sendMessage`.

Telegram delivers at least once; `update_id` is what stays the same. An update names no bot, so who embeds several
says which one it was for. Whoever sends should also `answerCallbackQuery`, or the pressed button keeps spinning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from vimbiso_fsm.channels.delivery import (
    NUMBER,
    OBJECT,
    TEXT,
    Content,
    Delivery,
    Note,
    instant,
    maybe,
    one_line,
    read_object,
    same_secret,
    take,
)
from vimbiso_fsm.channels.plain import (
    Option,
    numbered,
    options,
    pressable,
    question,
    shorten,
    split,
    split_off_end,
    titles,
)
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply

Payload: TypeAlias = dict[str, Any]

MESSAGE: Final = 4096
"""UTF-16 units of a message."""
CALLBACK_DATA: Final = 64
"""Bytes of UTF-8 that come back when a button is pressed."""
KEYS: Final = 100
"""Buttons under one message."""
KEY_TITLE: Final = 64
"""Telegram names no limit; a phone shows no more."""
MAX_NAME: Final = 100

KINDS: Final[Mapping[str, str]] = {
    "photo": "image",
    "animation": "video",  # comes with a document of the same thing
    "video": "video",
    "video_note": "video",
    "voice": "audio",
    "audio": "audio",
    "sticker": "sticker",
    "document": "document",
    "venue": "location",  # comes with its location
    "location": "location",
    "contact": "contacts",
}
"""Fields that say what a message without text is, and what WhatsApp calls it: one set of kinds for all channels."""


def verify_secret(header: str | None, secret: str) -> bool:
    """True when `header` (`X-Telegram-Bot-Api-Secret-Token`) is the secret given to `setWebhook` (SG-61)."""
    return same_secret(header, secret)


def parse(body: bytes, *, account: str = "", now: datetime | None = None) -> Delivery:
    """The message of one update, if it has one. `account`: the bot's name; `now`: see `delivery.instant`.

    Only private chats are read: in a group, everybody would be the same member. Raises `InvalidMessage` for what is
    no update or a broken one.
    """
    update = read_object(body)
    identity = str(take(update, "update_id", NUMBER))
    for place, chat_type, content in (
        ("message", "chat.type", _typed),
        ("callback_query", "message.chat.type", _pressed),
    ):
        said = maybe(update, place, OBJECT)
        if said is None:
            continue
        if maybe(said, chat_type, TEXT) not in (None, "private"):
            return Delivery(ignored=(Note(place, "said in a chat that is not private"),))
        sent_at = instant(said.get("date"), now)
        return Delivery((Message(_channel(said), identity, account=account, sent_at=sent_at, **content(said)),))
    return Delivery(ignored=(Note("body", "an update without a message or a pressed button"),))


def _channel(said: Mapping[str, Any]) -> Channel:
    """The sender's private chat, which has the sender's own id."""
    name = shorten(one_line(maybe(said, "from.first_name", TEXT) or ""), MAX_NAME)
    language = shorten(one_line(maybe(said, "from.language_code", TEXT) or ""), MAX_NAME)
    metadata = {known: value for known, value in (("name", name), ("language", language)) if value}
    return Channel("telegram", str(take(said, "from.id", NUMBER)), metadata)


def _pressed(query: Mapping[str, Any]) -> Content:
    return {"choice": take(query, "data", TEXT)}


def _typed(message: Mapping[str, Any]) -> Content:
    """The text, or the kind of what a bot cannot read (SG-66)."""
    text = maybe(message, "text", TEXT)
    if text is not None:
        return {"text": _word(text)}
    return {"kind": next((kind for field, kind in KINDS.items() if field in message), "unsupported")}


def _word(text: str) -> str:
    """What was typed, a bot command as the bare word: `/menu`, `/menu@our_bot` and `/start <parameter>`."""
    if not text.startswith("/"):
        return text
    command, _, rest = text[1:].partition(" ")
    word = command.partition("@")[0]
    return word if word == "start" or not rest else text


def render(channel: Channel, replies: Iterable[Reply]) -> list[Payload]:
    """The parameters of one `sendMessage` after the other, inside Telegram's limits: options are an inline keyboard,
    a button a line; what it cannot hold is numbered text. Buttons show no descriptions, so these are said in the
    text. Too long a text becomes several; a reply without words and options is left out."""
    return [{"chat_id": channel.identifier, **content} for reply in replies for content in _contents(reply)]


def _contents(reply: Reply) -> Iterator[Payload]:
    body, choices = question(reply), options(reply)
    keys = pressable(choices, KEYS, CALLBACK_DATA, _utf8)
    if not body or not keys or any(choice.description for choice in choices):
        body = numbered(body, choices)
    ahead, last = split_off_end(body, MESSAGE) if keys else (body, "")
    yield from ({"text": piece} for piece in split(ahead, MESSAGE))
    if last:
        yield {"text": last, "reply_markup": {"inline_keyboard": _keyboard(choices)}}


def _keyboard(choices: Sequence[Option]) -> list[list[Payload]]:
    named = zip(choices, titles(choices, KEY_TITLE), strict=True)
    return [[{"text": title, "callback_data": choice.id}] for choice, title in named]


def _utf8(text: str) -> int:
    return len(text.encode())
