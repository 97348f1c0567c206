"""Telegram, by its Bot API: updates to messages, replies to parameters of `sendMessage`.

Telegram delivers at least once; `update_id` is what stays the same. An update names no bot, so who embeds several
says which one it was for. `telegram_presses` says what becomes of the message with a pressed button.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from vimbiso_fsm.channels import plain
from vimbiso_fsm.channels.delivery import NUMBER, Delivery, header, one_line, read_object, same_secret, take
from vimbiso_fsm.channels.telegram_updates import Reader
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import (
    Buttons,
    ContactRequest,
    File,
    LocationRequest,
    Media,
    Menu,
    Reply,
    Text,
    WebLink,
)

Payload: TypeAlias = dict[str, Any]

MESSAGE_LENGTH: Final = 4096
"""UTF-16 units of a message."""
CAPTION_LENGTH: Final = 1024
"""UTF-16 units of the words under a file."""
CALLBACK_BYTES: Final = 64
"""Bytes in UTF-8 of what comes back when a button is pressed."""
KEYBOARD_BUTTONS: Final = 100
"""Buttons under one message."""
TITLE_LENGTH: Final = 64
"""UTF-16 units of a button's title. Telegram names no limit; a phone shows no more."""
PROOF: Final = "x-telegram-bot-api-secret-token"
"""The header with the secret of a request."""
NO_KEYBOARD: Final[Payload] = {"reply_markup": {"remove_keyboard": True}}
"""The parameter of words with which a keyboard is removed."""

METHODS: Final[Mapping[str, tuple[str, str]]] = {
    "image": ("sendPhoto", "photo"),
    "audio": ("sendAudio", "audio"),
    "video": ("sendVideo", "video"),
    "sticker": ("sendSticker", "sticker"),
    "document": ("sendDocument", "document"),
}
"""The method that sends a file of a kind, and the name of its parameter."""


def verify(headers: Mapping[str, str], raw: bytes, url: str = "", *, secret: str) -> bool:
    """Return whether a webhook request is one of Telegram (SG-61).

    Telegram signs nothing: a sender that knows the secret can send any update.

    Args:
        headers: The headers of the request. `X-Telegram-Bot-Api-Secret-Token` is the secret.
        raw: Not used.
        url: Not used.
        secret: The `secret_token` that was given to `setWebhook`. Without one no request is accepted.
    """
    return same_secret(header(headers, PROOF), secret)


def parse(body: bytes, *, account: str = "", now: datetime | None = None, business: bool = False) -> Delivery:
    """Read one update: what a member says in the private chat with the bot, or what Telegram tells.

    Only private chats are conversations. In a group, all participants would be the same member, so what is said there
    is told as `SaidElsewhere`.

    Args:
        body: The bytes of the body.
        account: The name of the bot.
        now: The current instant; see `delivery.instant`.
        business: Whether what customers say in the chats of a connected business account is said to the bot, which
            answers as the business. The account of such a message is the id of the connection: a bot with
            `accounts="separate"` keeps it apart from the customer's own chat with the bot, which the owner of the
            business does not read. Otherwise it is told as `SaidElsewhere`.

    Raises:
        InvalidMessage: The body is no update, or the update is broken.
    """
    update = read_object(body)
    identity = str(take(update, "update_id", NUMBER))
    return Reader(identity, account, now, business).update(update)


def render(channel: Channel, replies: Iterable[Reply]) -> list[Payload]:
    """Write the parameters of `sendMessage` calls, each within Telegram's limits.

    Options are an inline keyboard, one button per line; options that it cannot hold are numbered text. Buttons show no
    descriptions, so these are written in the text. A text that is too long is split; a reply without words and options
    is left out.

    A reply stays in the topic of the private chat in which the member has written last, and goes out by the business
    connection by which the latest message came. After a location or a contact, the keyboard whose button sends one is
    removed with the words that follow.

    The payloads of files and locations are for other methods, which they name: `payload["method"]` is "sendPhoto",
    "sendDocument" and so on. A payload without it is for `sendMessage`. A template, which Telegram does not have, is
    its words. A payload with words has `parse_mode` None, because a client may have another default; it need not be
    sent.
    """
    place = {"chat_id": channel.identifier, **_place(channel)}
    over = NO_KEYBOARD if channel.reply_to.get("keyboard") else {}
    return [_as_written({**place, **content}, over) for reply in replies for content in _contents(reply)]


def _as_written(payload: Payload, over: Payload) -> Payload:
    """Name the parse mode where there are words: none. The default of a client would read `<`, `_` and `*` as marks."""
    marks = {**over, "parse_mode": None} if "text" in payload else {"parse_mode": None} if "caption" in payload else {}
    return {**marks, **payload}


def _place(channel: Channel) -> Payload:
    """Return the parameters for the topic and the business connection of the latest message, if it has them."""
    topic, connection = channel.reply_to.get("topic"), channel.reply_to.get("business")
    place: Payload = {"message_thread_id": topic} if isinstance(topic, int) else {}
    return {**place, "business_connection_id": connection} if connection and isinstance(connection, str) else place


def deep_link(bot: str, payload: str = "") -> str:
    """Return the link that opens the chat with a bot, and starts it with a payload (`Bot.links`).

    Args:
        bot: The name of the bot, such as "our_bot".
        payload: At most 64 letters and digits of ASCII, "_" and "-", such as "pay_8842".

    Raises:
        ValueError: The name or the payload has another form.
    """
    name = bot.removeprefix("@")
    if not re.fullmatch(r"[A-Za-z0-9_]{1,64}", name):
        raise ValueError(f"bot is {bot[:70]!r}; give the name of the bot, such as 'our_bot'")
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", payload):
        raise ValueError("payload has another form; give at most 64 letters and digits of ASCII, '_' and '-'")
    return f"https://t.me/{name}?start={payload}" if payload else f"https://t.me/{name}"


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
    if not isinstance(reply, Text | Buttons | Menu):
        yield from _rich(reply)
        return
    body, choices = plain.question(reply), plain.options(reply)
    keys = _has_keyboard(choices)
    if _is_numbered(reply, choices):
        body = plain.numbered(body, choices)
    ahead, last = plain.split_off_end(body, MESSAGE_LENGTH) if keys else (body, "")
    yield from _texts(ahead)
    if last:
        yield {"text": last, "reply_markup": {"inline_keyboard": _keyboard(choices)}}


def _rich(reply: Reply) -> Iterator[Payload]:
    """Write a file, a location, a link or a request, or the words of anything else."""
    match reply:
        case Media() | File():
            yield from _file(reply)
        case Location(latitude, longitude, name, address):
            place: Payload = {"latitude": latitude, "longitude": longitude}
            venue = {"title": one_line(name), "address": one_line(address)}
            if all(venue.values()):
                yield {"method": "sendVenue", **place, **venue}
            else:
                yield {"method": "sendLocation", **place}
                yield from _texts(name or address)
        case WebLink() if plain.body(reply):
            button = {"text": plain.title(reply, TITLE_LENGTH), "url": reply.url}
            yield from _asked(plain.body(reply), {"inline_keyboard": [[button]]})
        case LocationRequest() | ContactRequest() if plain.body(reply):
            wanted = "request_location" if isinstance(reply, LocationRequest) else "request_contact"
            key: Payload = {"text": plain.title(reply, TITLE_LENGTH), wanted: True}
            markup = {"keyboard": [[key]], "one_time_keyboard": True, "resize_keyboard": True}
            yield from _asked(plain.body(reply), markup)
        case _:
            yield from _texts(plain.question(reply))


def _file(reply: Media | File) -> Iterator[Payload]:
    """Write a file. A caption that is too long, or that the kind does not have, follows as a text."""
    method, field = METHODS["document" if isinstance(reply, File) else reply.kind]
    words = plain.body(reply)
    payload: Payload = {"method": method, field: reply.source}
    if words and field != "sticker" and plain.utf16(words) <= CAPTION_LENGTH:
        payload["caption"], words = words, ""
    yield payload
    yield from _texts(words)


def _asked(words: str, markup: Payload) -> Iterator[Payload]:
    """Write a question with buttons. What is too long for it is sent ahead."""
    ahead, last = plain.split_off_end(words, MESSAGE_LENGTH)
    yield from _texts(ahead)
    yield {"text": last, "reply_markup": markup}


def _texts(text: str) -> Iterator[Payload]:
    yield from ({"text": piece} for piece in plain.split(text, MESSAGE_LENGTH))


def _keyboard(choices: Sequence[plain.Option]) -> list[list[Payload]]:
    named = zip(choices, plain.titles(choices, TITLE_LENGTH), strict=True)
    return [[{"text": title, "callback_data": choice.id}] for choice, title in named]


def _utf8(text: str) -> int:
    return len(text.encode())
