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
from urllib.parse import SplitResult, parse_qsl, urlsplit

import attrs

from vimbiso_fsm.channels.delivery import Delivery, header, matches, same_secret
from vimbiso_fsm.channels.plain import Option, Size, numbered, options, question, shorten, split, utf16
from vimbiso_fsm.channels.sms_forms import WHATSAPP, read_form
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply

Payload: TypeAlias = dict[str, Any]

SIGNATURE: Final = "x-twilio-signature"
"""The header with the signature of a request."""
SETTINGS: Final = "x-twilio-webhooks-signature-settings"
"""The header that names the shared key and the algorithm of a signature that is not made with the auth token."""
ALGORITHMS: Final[Mapping[str, str]] = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
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


def verify(headers: Mapping[str, str], raw: bytes, url: str, *, secret: str, shared_key: str = "") -> bool:
    """Return whether a webhook request is signed by Twilio (SG-61).

    Twilio signs the URL that it has called, and the names and values of the form in their order. Of a name that comes
    several times, each value counts once. A body that is no form is signed by its SHA-256 in the parameter `bodySHA256`
    of the URL. Twilio may sign a URL with its port or without, so both are tried.

    Args:
        headers: The headers of the request. `X-Twilio-Signature` is the signature in base64, an HMAC-SHA1 with the auth
            token. With `X-Twilio-Webhooks-Signature-Settings` it is made with a shared key, by the algorithm that the
            header names.
        raw: The bytes of the body as they came.
        url: The full URL as Twilio has called it: behind a proxy, the address outside it.
        secret: The auth token of the Twilio account. Without one no request is accepted.
        shared_key: The shared key of a webhook rule. Without one no request with that header is accepted.
    """
    key, algorithm = secret, "sha1"
    if any(name.lower() == SETTINGS for name in headers):
        named = ALGORITHMS.get(_algorithm(header(headers, SETTINGS) or ""))
        if named is None:
            return False
        key, algorithm = shared_key, named
    try:
        split = urlsplit(url)
        body_digest = dict(parse_qsl(split.query)).get("bodySHA256")
        fields = "" if body_digest is not None else _signed_fields(raw)
        urls = _urls(split, url)
    except ValueError:
        return False
    is_body = body_digest is None or same_secret(body_digest.lower(), hashlib.sha256(raw).hexdigest())
    signed = [(each + fields).encode("utf-8", "replace") for each in urls]
    digests = [base64.b64encode(hmac.new(key.encode(), each, algorithm).digest()).decode() for each in signed]
    return matches(header(headers, SIGNATURE), digests) and bool(key) and is_body


def _algorithm(settings: str) -> str:
    """Return the algorithm that the header with the settings of a signature names."""
    parts = (part.strip() for part in settings.split(","))
    return next((part.removeprefix("algorithm=") for part in parts if part.startswith("algorithm=")), "")


def _signed_fields(raw: bytes) -> str:
    """Return the names and values of a form as Twilio signs them.

    Raises:
        ValueError: The body is no form.
    """
    pairs = _pairs(raw) if raw else []
    return "".join(name + value for name, value in sorted(set(pairs)))


def _urls(split: SplitResult, url: str) -> tuple[str, ...]:
    """Return the URL, and the same one without its port, or with the usual one.

    Raises:
        ValueError: The port is no number.
    """
    place, port = split.netloc, split.port
    if port is not None:
        other = place[: place.rindex(":")]
    else:
        other = f"{place.rstrip(':')}:{443 if split.scheme == 'https' else 80}"
    return (url, url.replace(f"//{place}", f"//{other}", 1))


def form(body: bytes) -> dict[str, str]:
    """Read the fields of a form-encoded body.

    Raises:
        InvalidMessage: The body is no form, has too many fields or repeats one.
    """
    try:
        pairs = _pairs(body)
    except ValueError:  # not chained: the error quotes the body, and with it the words of the member
        raise InvalidMessage("body", "is no form of at most 1000 fields") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidMessage("body", "names a field twice")
    return fields


def _pairs(body: bytes) -> list[tuple[str, str]]:
    """Return the names and values of a form-encoded body.

    Raises:
        ValueError: It is none.
    """
    return parse_qsl(
        body.decode("ascii"),
        keep_blank_values=True,
        strict_parsing=True,
        errors="strict",
        max_num_fields=FORM_FIELDS,
    )


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
