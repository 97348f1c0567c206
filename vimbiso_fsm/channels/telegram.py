"""Telegram, by its Bot API: updates to messages, replies to parameters of `sendMessage`.

Telegram delivers at least once; `update_id` is what stays the same. An update names no bot, so who embeds several
says which one it was for. The sender should also call `answerCallbackQuery`, or the pressed button keeps spinning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from vimbiso_fsm.channels import plain
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
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply

Payload: TypeAlias = dict[str, Any]

MESSAGE_LENGTH: Final = 4096
"""UTF-16 units of a message."""
CALLBACK_BYTES: Final = 64
"""Bytes in UTF-8 of what comes back when a button is pressed."""
KEYBOARD_BUTTONS: Final = 100
"""Buttons under one message."""
TITLE_LENGTH: Final = 64
"""UTF-16 units of a button's title. Telegram names no limit; a phone shows no more."""
NAME_LENGTH: Final = 100
"""Characters of a profile name, and of a language tag, that are kept."""

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
"""Fields of a message without text, and their kinds by WhatsApp's names: all channels have the same kinds."""


def verify_secret(header: str | None, secret: str) -> bool:
    """Return whether the header `X-Telegram-Bot-Api-Secret-Token` is the secret given to `setWebhook` (SG-61)."""
    return same_secret(header, secret)


def parse(body: bytes, *, account: str = "", now: datetime | None = None) -> Delivery:
    """Read one update: a message, or a pressed button.

    Only private chats are read. In a group, all participants would be the same member.

    Args:
        body: The bytes of the body.
        account: The name of the bot.
        now: The current instant; see `delivery.instant`.

    Raises:
        InvalidMessage: The body is no update, or the update is broken.
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
    """Return the private chat of the sender, which has the sender's id."""
    name = plain.shorten(one_line(maybe(said, "from.first_name", TEXT) or ""), NAME_LENGTH)
    language = plain.shorten(one_line(maybe(said, "from.language_code", TEXT) or ""), NAME_LENGTH)
    metadata = {known: value for known, value in (("name", name), ("language", language)) if value}
    return Channel("telegram", str(take(said, "from.id", NUMBER)), metadata)


def _pressed(query: Mapping[str, Any]) -> Content:
    return {"choice": take(query, "data", TEXT)}


def _typed(message: Mapping[str, Any]) -> Content:
    """Return the text, or the kind of content that a bot cannot read (SG-66)."""
    text = maybe(message, "text", TEXT)
    if text is not None:
        return {"text": _word(text)}
    return {"kind": next((kind for field, kind in KINDS.items() if field in message), "unsupported")}


def _word(text: str) -> str:
    """Return a text as typed, or the bare word of a bot command: `/menu`, `/menu@our_bot`, `/start <parameter>`."""
    if not text.startswith("/"):
        return text
    command, _, rest = text[1:].partition(" ")
    word = command.partition("@")[0]
    return word if word == "start" or not rest else text


def render(channel: Channel, replies: Iterable[Reply]) -> list[Payload]:
    """Write the parameters of `sendMessage` calls, each within Telegram's limits.

    Options are an inline keyboard, one button per line; options that it cannot hold are numbered text. Buttons show no
    descriptions, so these are written in the text. A text that is too long is split; a reply without words and options
    is left out.
    """
    return [{"chat_id": channel.identifier, **content} for reply in replies for content in _contents(reply)]


def writes_numbers(reply: Reply) -> bool:
    """Return whether `render` writes the numbers of the options."""
    choices = plain.options(reply)
    return _is_numbered(reply, choices) or plain.alike(choices, TITLE_LENGTH)


def _is_numbered(reply: Reply, choices: Sequence[plain.Option]) -> bool:
    """Whether the options stand in the text: their keyboard is not possible, or they have descriptions."""
    return not (plain.question(reply) and _has_keyboard(choices)) or any(choice.description for choice in choices)


def _has_keyboard(choices: Sequence[plain.Option]) -> bool:
    return plain.pressable(choices, KEYBOARD_BUTTONS, CALLBACK_BYTES, _utf8)


def _contents(reply: Reply) -> Iterator[Payload]:
    body, choices = plain.question(reply), plain.options(reply)
    keys = _has_keyboard(choices)
    if _is_numbered(reply, choices):
        body = plain.numbered(body, choices)
    ahead, last = plain.split_off_end(body, MESSAGE_LENGTH) if keys else (body, "")
    yield from ({"text": piece} for piece in plain.split(ahead, MESSAGE_LENGTH))
    if last:
        yield {"text": last, "reply_markup": {"inline_keyboard": _keyboard(choices)}}


def _keyboard(choices: Sequence[plain.Option]) -> list[list[Payload]]:
    named = zip(choices, plain.titles(choices, TITLE_LENGTH), strict=True)
    return [[{"text": title, "callback_data": choice.id}] for choice, title in named]


def _utf8(text: str) -> int:
    return len(text.encode())
