"""SMS, and WhatsApp by Twilio, in its formats: form-encoded webhook bodies to messages, replies to `To` and `Body`.

An SMS is sent and paid for in segments: 160 septets of the GSM 7-bit alphabet or 70 UTF-16 units when alone, 153 or 67
when joined (3GPP TS 23.038 and 23.040). Each message is kept to `SEGMENTS` segments.
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

from vimbiso_fsm.channels.delivery import Delivery, same_secret
from vimbiso_fsm.channels.plain import Option, Size, numbered, options, question, shorten, split, utf16
from vimbiso_fsm.channels.sms_forms import WHATSAPP, read_form
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply

Payload: TypeAlias = dict[str, Any]

FORM_FIELDS: Final = 1000
"""Fields of a form that is read."""
SEGMENTS: Final = 3
"""Segments of one message."""
TITLE_LENGTH: Final = 40
"""Units of an option's title, if the whole text is too long for `SEGMENTS` segments."""
WHATSAPP_LENGTH: Final = 1600
"""UTF-16 units of a WhatsApp message by Twilio, which has no segments."""
PHONE_DIGITS: Final = 8
"""Digits of the shortest phone number. A shorter number is a short code and takes no `+`."""

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
"""Typographic characters and their plain forms in GSM: one of them would cost a message more than half its room."""


def verify_signature(url: str, params: Mapping[str, str], header: str | None, auth_token: str) -> bool:
    """Return whether a webhook request is signed by Twilio (SG-61).

    Args:
        url: The full URL that Twilio called.
        params: The fields of the form; see `form`.
        header: The header `X-Twilio-Signature`: the base64 HMAC-SHA1 of the URL and the sorted names and values.
        auth_token: The token of the Twilio account.
    """
    signed = url + "".join(name + params[name] for name in sorted(params))
    digest = hmac.new(auth_token.encode(), signed.encode("utf-8", "replace"), hashlib.sha1).digest()
    return bool(auth_token) and same_secret(header, base64.b64encode(digest).decode())


def form(body: bytes) -> dict[str, str]:
    """Read the fields of a form-encoded body.

    Raises:
        InvalidMessage: The body is no form, has too many fields or repeats one.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=FORM_FIELDS,
        )
    except ValueError:  # not chained: the error quotes the body, and with it the words of the member
        raise InvalidMessage("body", "is no form of at most 1000 fields") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidMessage("body", "names a field twice")
    return fields


def parse(body: bytes, *, now: datetime | None = None) -> Delivery:
    """Read one Twilio webhook: what was said by SMS, MMS or WhatsApp, or what Twilio tells.

    The sender is kept as digits without `+`, as the other channels write a phone number; `account` is the bot's number.
    A sender on WhatsApp is a member of channel type "whatsapp", who is the same one by whichever way they are reached.
    A message with several files is as many messages of one burst. A word that Twilio has answered itself (`STOP`,
    `START`, `HELP`, by its field `OptOutType`) is told and not said.

    Args:
        body: The bytes of the body.
        now: Not used: an SMS carries no time of its own.

    Raises:
        InvalidMessage: The body is no such form, or the message has no id or no sender.
    """
    return read_form(form(body))


@attrs.frozen
class _Alphabet:
    """An alphabet of SMS.

    Attributes:
        size: Counts the units of a text.
        alone: The units of a single segment.
        joined: The units of each of several segments.
        mark: What ends a shortened text.
    """

    size: Size
    alone: int
    joined: int
    mark: str

    @property
    def limit(self) -> int:
        """The units that always fit.

        No segment ends inside a character of two units, so each joined segment but the last may leave one unit empty.
        """
        return SEGMENTS * (self.joined - 1) + 1


def _septets(text: str) -> int:
    return len(text) + sum(c in EXTENDED for c in text)


GSM_7: Final = _Alphabet(_septets, alone=160, joined=153, mark="...")
UCS_2: Final = _Alphabet(utf16, alone=70, joined=67, mark="…")


def _alphabet(text: str) -> _Alphabet:
    return GSM_7 if GSM.issuperset(text) else UCS_2


def segments(text: str) -> int:
    """Return the number of segments of a text; 0 for an empty one."""
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
    """Write the parameters of Twilio messages, each within `SEGMENTS` segments.

    Options are a numbered list. If the list is too long, titles are shortened and descriptions are left out. If it is
    still too long, it is split between lines, so no option is lost. To a member on WhatsApp, the whole list is written,
    in messages of at most `WHATSAPP_LENGTH` units.
    """
    number, by_whatsapp = channel.identifier, channel.type == "whatsapp"
    to = f"+{number}" if number.isascii() and number.isdigit() and len(number) >= PHONE_DIGITS else number
    pieces = _whole if by_whatsapp else _pieces
    return [
        {"To": f"{WHATSAPP}{to}" if by_whatsapp else to, "Body": piece} for reply in replies for piece in pieces(reply)
    ]


def _whole(reply: Reply) -> list[str]:
    return split(numbered(question(reply), options(reply)).strip(), WHATSAPP_LENGTH, utf16)


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
    return Option(choice.id, shorten(title, TITLE_LENGTH, alphabet.size, alphabet.mark))
