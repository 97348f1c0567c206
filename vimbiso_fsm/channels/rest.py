"""REST: the format in which a system of an embedder's own hands messages in and takes replies, as JSON.

A request is one message, `{"sender": …, "id": …}` with `text`, `choice` or `content`. It is signed with the time at
which it was made, so that an old request that was recorded on its way is worth nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias

import attrs

from vimbiso_fsm.channels import plain
from vimbiso_fsm.channels.delivery import TEXT, Delivery, header, is_name, matches, maybe, read_object, take
from vimbiso_fsm.channels.plain import clean, options, question
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import (
    FILE_KINDS,
    Attachment,
    Contact,
    Contacts,
    Content,
    Form,
    Location,
    Order,
    OrderItem,
)
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import (
    Buttons,
    ContactRequest,
    File,
    LocationRequest,
    Media,
    Menu,
    Reply,
    Template,
    WebLink,
)

Payload: TypeAlias = dict[str, Any]

SIGNATURE: Final = "x-vimbiso-signature"
"""The header with the time and the signature of a request."""
REPLAY_WINDOW: Final = 300
"""Seconds by which the time of a request may differ from the clock of the bot, to either side."""
TIME_DIGITS: Final = 11
"""Digits of the time of a request."""
MAX_PRICE: Final = 10**15
"""The price of one piece is below this one."""

_FIELDS: Final = frozenset({"sender", "id", "text", "choice", "content"})


def sign(raw: bytes, *, secret: str, at: int) -> str:
    """Return the value of the header `X-Vimbiso-Signature` for a request.

    It is `t=TIME,v1=DIGEST`, where the digest is the HMAC-SHA256 of the time, a dot and the body, in hexadecimal.

    Args:
        raw: The bytes of the body.
        secret: What the bot and the system share.
        at: The current time, in seconds since the epoch.
    """
    return _signature(str(at), raw, secret)


def _signature(at: str, raw: bytes, secret: str) -> str:
    return f"t={at},v1={hmac.new(secret.encode(), at.encode() + b'.' + raw, hashlib.sha256).hexdigest()}"


def verify(
    headers: Mapping[str, str], raw: bytes, url: str = "", *, secret: str | Iterable[str], now: datetime | None = None
) -> bool:
    """Return whether a request is signed, and made within `REPLAY_WINDOW` of now.

    Args:
        headers: The headers of the request. `X-Vimbiso-Signature` is as `sign` writes it.
        raw: The bytes of the body as they came.
        url: Not used: the URL is no part of what is signed.
        secret: The secret, or several while one takes the place of another. Without one no request is accepted.
        now: The current instant, with a time zone. Without it no request is accepted.
    """
    given = header(headers, SIGNATURE) or ""
    at = given.partition(",")[0].removeprefix("t=")
    is_time = at.isascii() and at.isdigit() and len(at) <= TIME_DIGITS
    secrets = [each for each in ([secret] if isinstance(secret, str) else secret) if each]
    is_signed = matches(given, [_signature(at if is_time else "", raw, each) for each in secrets])
    return is_signed and is_time and now is not None and abs(now.timestamp() - int(at)) <= REPLAY_WINDOW


def parse(body: bytes, *, type: str = "rest", account: str = "", now: datetime | None = None) -> Delivery:
    """Read one message.

    Unlike the channels of vendors, a message that is broken in any part is refused as a whole, because the system that
    made it can be corrected.

    Args:
        body: The bytes of the body.
        type: The type of the channel.
        account: The bot's address on the channel; empty without one.
        now: Not used: a request tells no time of the message.

    Raises:
        InvalidMessage: The body is no message. The field of the error names the part.
    """
    found = read_object(body)
    refuse_others(found, _FIELDS, "body")
    return Delivery((said(found, Channel(type, take(found, "sender", TEXT)), account),))


def said(found: Mapping[str, Any], channel: Channel, account: str = "") -> Message:
    """Return the message in an object with its `id` and one of `text`, `choice` and `content`.

    Args:
        found: The object.
        channel: The channel of the member.
        account: The bot's address on the channel; empty without one.

    Raises:
        InvalidMessage: It is no message. The field of the error names the part.
    """
    if sum(name in found for name in ("text", "choice", "content")) != 1:
        raise InvalidMessage("body", "must have one of text, choice and content")
    return Message(
        channel,
        take(found, "id", TEXT),
        maybe(found, "text", TEXT) if "content" in found or "choice" in found else take(found, "text", TEXT),
        take(found, "choice", TEXT) if "choice" in found else None,
        account=account,
        content=_content(found["content"]) if "content" in found else None,
    )


def refuse_others(found: Mapping[str, Any], known: Iterable[str], place: str) -> None:
    """Refuse fields that are not known: a name with a slip would be passed over in silence."""
    for name in found.keys() - set(known):
        shown = f"has a field {name!r}, which is unknown" if is_name(name) else "has a field with an unknown name"
        raise InvalidMessage(place, shown)


def _content(value: object) -> Content:
    """Read a content: an object with its `kind` and the attributes of its class."""
    fields = _object(value, "content")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _CONTENTS:
        raise InvalidMessage("content.kind", f"is none of {', '.join(sorted(_CONTENTS))}")
    return _CONTENTS[kind](fields if kind in FILE_KINDS else {k: v for k, v in fields.items() if k != "kind"})


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidMessage(place, f"must be an object, not {value.__class__.__name__}")
    found: dict[str, Any] = value
    return found


def _made(kind: type[Any], fields: Mapping[str, Any], place: str = "content") -> Any:
    """Make a value from the attributes in an object. The class itself checks each of them."""
    attributes: tuple[attrs.Attribute[Any], ...] = attrs.fields(kind)
    refuse_others(fields, [each.name for each in attributes], place)
    for each in attributes:
        if each.default is attrs.NOTHING and each.name not in fields:
            raise InvalidMessage(f"{place}.{each.name}", "is missing")
    return kind(**fields)


def _parts(fields: Mapping[str, Any], name: str, make: Callable[[dict[str, Any], str], Any]) -> dict[str, Any]:
    """Return the fields with the parts of one of them made from objects."""
    found: object = fields.get(name, [])
    if not isinstance(found, list):
        raise InvalidMessage(f"content.{name}", f"must be a list, not {found.__class__.__name__}")
    items: list[object] = found
    places = [f"content.{name}[{number}]" for number in range(len(items))]
    return {**fields, name: tuple(make(_object(item, at), at) for item, at in zip(items, places, strict=True))}


def _contact(fields: dict[str, Any], place: str) -> Any:
    """Read a contact. A list of another thing than texts is refused by its class."""
    return _made(Contact, {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}, place)


def _item(fields: dict[str, Any], place: str) -> Any:
    """Read an item of an order. Its price is `{"amount": "1.50", "currency": "USD"}`."""
    if (price := fields.get("price")) is None:
        return _made(OrderItem, fields, place)
    found = _object(price, f"{place}.price")
    refuse_others(found, ("amount", "currency"), f"{place}.price")
    amount, currency = take(found, "amount", TEXT), take(found, "currency", TEXT)
    if not (currency.isascii() and currency.isalpha() and currency.isupper() and len(currency) == 3):
        _refuse_price(place)
    whole, _, part = amount.partition(".")
    if not (amount.isascii() and whole.isdigit() and (part.isdigit() or whole == amount) and len(amount) <= 32):
        _refuse_price(place)
    number = Decimal(amount)
    if number >= MAX_PRICE:
        _refuse_price(place)
    return _made(OrderItem, {**fields, "price": Money(number, currency)}, place)


def _refuse_price(place: str) -> NoReturn:
    raise InvalidMessage(
        f"{place}.price", 'must be an amount as text and a currency: {"amount": "1.50", "currency": "USD"}'
    )


_CONTENTS: Final[Mapping[str, Callable[[dict[str, Any]], Content]]] = MappingProxyType(
    {
        **dict.fromkeys(FILE_KINDS, lambda fields: _made(Attachment, fields)),
        "location": lambda fields: _made(Location, fields),
        "contacts": lambda fields: _made(Contacts, _parts(fields, "contacts", _contact)),
        "form": lambda fields: _made(Form, fields),
        "order": lambda fields: _made(Order, _parts(fields, "items", _item)),
    }
)
"""How each kind of content is read from its fields."""


def render(channel: Channel, replies: Iterable[Reply]) -> list[Payload]:
    """Write replies as objects, one each, with their `type` and final `text`.

    Args:
        channel: The channel of the member. It is no part of the payloads.
        replies: The replies with their final words.
    """
    return [_payload(reply) for reply in replies]


def _payload(reply: Reply) -> Payload:
    match reply:
        case Buttons():
            shown = [{"id": each.id, "title": each.title} for each in options(reply)]
            return {"type": "buttons", "text": question(reply), "buttons": _clean(shown)}
        case Menu():
            rows = [{"id": each.id, "title": each.title, "description": each.description} for each in options(reply)]
            return {"type": "menu", "text": question(reply), "rows": _clean(rows)}
        case Media():
            return {"type": clean(reply.kind), "text": plain.body(reply), "source": clean(reply.source)}
        case File():
            return {
                "type": "file",
                "text": plain.body(reply),
                "source": clean(reply.source),
                "name": clean(reply.name),
            }
        case WebLink():
            title = clean(str(reply.title)).strip()
            return {"type": "link", "text": plain.body(reply), "url": clean(reply.url), "title": title}
        case LocationRequest() | ContactRequest():
            kind = "ask_location" if isinstance(reply, LocationRequest) else "ask_contact"
            return {"type": kind, "text": plain.body(reply), "title": clean(str(reply.title)).strip()}
        case Location():
            place = {"latitude": reply.latitude, "longitude": reply.longitude}
            return {"type": "location", "text": question(reply), **place, "name": reply.name, "address": reply.address}
        case Template():
            params = [clean(each) for each in reply.params]
            return {
                "type": "template",
                "text": plain.body(reply),
                "name": clean(reply.name),
                "params": params,
                "language": clean(reply.language),
            }
        case _:
            return {"type": "text", "text": question(reply)}


def _clean(shown: list[dict[str, str]]) -> list[dict[str, str]]:
    """Replace lone surrogates in ids, which are else those of the replies."""
    return [{name: clean(value) for name, value in each.items()} for each in shown]
