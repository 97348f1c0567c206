"""SMS, by Twilio's webhook and message formats: form-encoded bodies to messages, replies to `To` and `Body`.

An SMS travels in segments, each paid for: 160 septets of the GSM 7-bit alphabet or 70 UTF-16 units when alone, 153 or
67 when joined (3GPP TS 23.038 and 23.040). We keep each message to 3 segments.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

import attrs

from vimbiso_fsm.channels.delivery import TEXT, Content, Delivery, same_secret, take
from vimbiso_fsm.channels.plain import Option, Size, numbered, options, question, shorten, split, utf16
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply

Payload: TypeAlias = dict[str, Any]

MAX_FIELDS: Final = 1000
SEGMENTS: Final = 3
TITLE: Final = 40
"""Units of an option's title once the whole text is too long for 3 segments."""
PHONE_DIGITS: Final = 8
"""Digits of the shortest phone number; what is shorter is a short code and takes no `+`."""

BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED: Final = frozenset("\f^{}\\[~]|€")
"""Two septets each: an escape and the character."""
GSM: Final = BASIC | EXTENDED

TYPOGRAPHY: Final = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " ", "\u202f": " ", "\t": " "}
)
"""Niceties for which GSM has a plain form: one of them would cost a whole message more than half its room."""


def verify_signature(url: str, params: Mapping[str, str], header: str | None, auth_token: str) -> bool:
    """True when `header` (`X-Twilio-Signature`) is the base64 HMAC-SHA1 of the full URL that Twilio called and the
    sorted names and values of the form (see `form`), with the account's token (SG-61)."""
    signed = url + "".join(name + params[name] for name in sorted(params))
    digest = hmac.new(auth_token.encode(), signed.encode("utf-8", "replace"), hashlib.sha1).digest()
    return bool(auth_token) and same_secret(header, base64.b64encode(digest).decode())


def form(body: bytes) -> dict[str, str]:
    """The fields of a form-encoded body; `InvalidMessage` when it is none, or names a field twice."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:  # not chained: the error quotes the body, and with it what the member wrote
        raise InvalidMessage("body", "is no form of at most 1000 fields") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidMessage("body", "names a field twice")
    return fields


def parse(body: bytes, *, now: datetime | None = None) -> Delivery:
    """The message of one Twilio webhook; a status callback is counted. An SMS carries no time of its own, so `now`
    is not asked. Raises `InvalidMessage` for what is no such form, or a message without id or sender.

    The sender is kept as digits without `+`, as the other channels write a phone number; `account` is our number.
    """
    fields = form(body)
    if "MessageStatus" in fields and "Body" not in fields:
        return Delivery(statuses=1)
    message = Message(
        channel=Channel("sms", take(fields, "From", TEXT).strip().removeprefix("+")),
        id=take(fields, "MessageSid", TEXT),
        account=take(fields, "To", TEXT),
        **_content(fields),
    )
    return Delivery((message,))


def _content(fields: Mapping[str, str]) -> Content:
    """The text; or what kind of thing came without one, by the type of the first attachment (SG-66)."""
    text = take(fields, "Body", TEXT)
    if text.strip() or fields.get("NumMedia", "0") in ("", "0"):
        return {"text": text}
    media = fields.get("MediaContentType0", "").partition("/")[0]
    return {"kind": media if media in ("image", "audio", "video") else "document"}


@attrs.frozen
class _Alphabet:
    """How a text is counted, how much of it 3 segments hold, and what marks it as shortened."""

    size: Size
    alone: int
    joined: int
    mark: str

    @property
    def limit(self) -> int:
        """Units that surely fit: each joined segment but the last may leave one empty, since no segment ends inside
        a character of two units."""
        return SEGMENTS * (self.joined - 1) + 1


def _septets(text: str) -> int:
    return len(text) + sum(c in EXTENDED for c in text)


GSM_7: Final = _Alphabet(_septets, alone=160, joined=153, mark="...")
UCS_2: Final = _Alphabet(utf16, alone=70, joined=67, mark="…")


def _alphabet(text: str) -> _Alphabet:
    return GSM_7 if GSM.issuperset(text) else UCS_2


def segments(text: str) -> int:
    """How many segments a text travels in; 0 for none."""
    alphabet = _alphabet(text)
    if (size := alphabet.size(text)) <= alphabet.alone:
        return min(size, 1)
    count, room = 1, alphabet.joined
    for c in text:
        units = alphabet.size(c)
        if units > room:
            count, room = count + 1, alphabet.joined
        room -= units
    return count


def render(channel: Channel, replies: Iterable[Reply]) -> list[Payload]:
    """The parameters of one Twilio message after the other, each within 3 segments: options are a numbered list.
    Where that is too long, titles are shortened and descriptions left out; what is still too long is split between
    lines, so no option is lost."""
    number = channel.identifier
    to = f"+{number}" if number.isascii() and number.isdigit() and len(number) >= PHONE_DIGITS else number
    return [{"To": to, "Body": piece} for reply in replies for piece in _pieces(reply)]


def _pieces(reply: Reply) -> list[str]:
    body, choices = question(reply), options(reply)
    text = numbered(body, choices).translate(TYPOGRAPHY).strip()
    alphabet = _alphabet(text)
    if alphabet.size(text) > alphabet.limit and choices:
        brief = [_brief(choice, alphabet) for choice in choices]
        text = numbered(body, brief).translate(TYPOGRAPHY)
        alphabet = _alphabet(text)
    return split(text, alphabet.limit, alphabet.size)


def _brief(choice: Option, alphabet: _Alphabet) -> Option:
    title = choice.title.translate(TYPOGRAPHY)
    return Option(choice.id, shorten(title, TITLE, alphabet.size, alphabet.mark))
