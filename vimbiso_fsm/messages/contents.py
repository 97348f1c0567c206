"""The contents of messages beside words: files, locations, contacts, forms and orders.

They are values, free of any channel's format. They are checked and bounded when they are made, and can be fields of a
flow's data. All of them are personal data, so their `repr` shows only their kind. A file is named and not held: the
adapter of the channel fetches it when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from types import NoneType
from typing import Any, ClassVar, Final, TypeAlias, cast

import attrs

from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.messages.words import plain

MAX_REFERENCE: Final = 2048
"""Characters of the id or the address of a file, and of other names that a channel gives."""
MAX_CONTENT: Final = 64 * 1024
"""Characters of a content, written as JSON."""
MAX_ITEMS: Final = 256
"""Contacts or items of one message."""
MAX_DEPTH: Final = 20
"""Levels of nesting in the values of a form or in the metadata of a channel."""
MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that all readers of JSON agree on: a quantity, or the size of a file in bytes."""

FILE_KINDS: Final = ("image", "audio", "video", "document", "sticker")
"""The kinds of a file."""

_Check: TypeAlias = Callable[[object, "attrs.Attribute[Any]", Any], None]


def storable(value: object, field: str, depth: int = 0) -> Any:
    """Return a value as it will be read back from a document: JSON values, tuples as lists.

    Raises:
        InvalidMessage: It is nested too deep, or holds a value that cannot be stored.
    """
    if isinstance(value, str):
        return value if value.isascii() else plain(value)
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if depth < MAX_DEPTH and isinstance(value, list | tuple):
        return [storable(inner, field, depth + 1) for inner in value]
    if depth < MAX_DEPTH and isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {plain(name): storable(inner, field, depth + 1) for name, inner in value.items()}
    fault = "is nested too deep" if depth >= MAX_DEPTH else f"holds a {type(value).__name__}, which cannot be stored"
    raise InvalidMessage(field, fault)


def check_words(field: str, value: object, limit: int, *, least: int = 0) -> None:
    """Check a text of a message.

    Raises:
        InvalidMessage: It is no text, is empty where it may not be, or is too long.
    """
    if not isinstance(value, str):
        raise InvalidMessage(field, f"must be text, not {type(value).__name__}")
    if len(value) < least:
        raise InvalidMessage(field, "is empty")
    if len(value) > limit:
        raise InvalidMessage(field, f"has {len(value)} characters, the limit is {limit}")


def words(limit: int, *, least: int = 0) -> _Check:
    """Make an attrs validator of a text; see `check_words`."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        check_words(attribute.name, value, limit, least=least)

    return check


def _one_of(*types: type) -> _Check:
    """Make an attrs validator of a value of one of these types."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, types):
            names = " or ".join("None" if each is NoneType else each.__name__ for each in types)
            raise InvalidMessage(attribute.name, f"must be {names}, not {type(value).__name__}")

    return check


def _count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check a whole number that is not negative, or None (an attrs validator)."""
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_INTEGER):
        raise InvalidMessage(attribute.name, "must be a whole number, 0 or more")


def _degrees(limit: int) -> _Check:
    """Make an attrs validator of degrees from `-limit` to `limit`."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, float) or not -limit <= value <= limit:
            raise InvalidMessage(attribute.name, f"must be a number of degrees from -{limit} to {limit}")

    return check


def _float(value: Any) -> Any:
    """Convert a whole number of degrees (an attrs converter); the validator refuses anything else."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 180 else value


def encodable(value: Any) -> Any:
    """Replace lone surrogates in a text (an attrs converter); the validator refuses anything else."""
    return plain(value) if isinstance(value, str) and not value.isascii() else value


def _encodables(value: Any) -> Any:
    """Replace lone surrogates in a tuple of texts (an attrs converter); the validator refuses anything else."""
    return tuple(map(encodable, value)) if isinstance(value, tuple) else value


def _texts(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check a tuple of at most `MAX_ITEMS` texts, none of them empty (an attrs validator)."""
    if not isinstance(value, tuple) or len(value) > MAX_ITEMS:
        raise InvalidMessage(attribute.name, f"must be a tuple of at most {MAX_ITEMS} texts")
    for each in cast("tuple[object, ...]", value):
        check_words(attribute.name, each, MAX_REFERENCE, least=1)


def _several(kind: type) -> _Check:
    """Make an attrs validator of one to `MAX_ITEMS` values of a class, in a tuple."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, tuple) or not all(isinstance(each, kind) for each in value):
            raise InvalidMessage(attribute.name, f"must be a tuple of {kind.__name__}")
        if not 1 <= len(value) <= MAX_ITEMS:
            raise InvalidMessage(attribute.name, f"has {len(value)} items, there are 1 to {MAX_ITEMS}")

    return check


def _kind(_: object, __: attrs.Attribute[Any], value: object) -> None:
    """Check the kind of a file (an attrs validator)."""
    if value not in FILE_KINDS:
        raise InvalidMessage("kind", f"is none of {', '.join(FILE_KINDS)}")


def text_field(limit: int = MAX_REFERENCE, *, least: int = 0) -> Any:  # as attrs types its fields
    """Return a text field of a content or a fact, which `repr` leaves out.

    Args:
        limit: Its characters at most.
        least: Its characters at least; with 0 it is empty by default.
    """
    if least:
        return attrs.field(repr=False, converter=encodable, validator=words(limit, least=least))
    return attrs.field(default="", repr=False, converter=encodable, validator=words(limit))


@attrs.frozen(eq=False, repr=False)
class Attachment(Value):
    """A file that the channel holds.

    Attributes:
        kind: "image", "audio", "video", "document" or "sticker".
        id: The name by which the channel's adapter fetches the file: an id, or an address.
        mime_type: The type of the file as the channel tells it, such as "image/jpeg"; empty if it is not told.
        size: The bytes of the file; None if the channel does not tell.
        name: The name of the file; empty if it has none.
        caption: The words that were written under it. They are the text of the message as well.

    Raises:
        InvalidMessage: A field is too long or of the wrong type, or the kind is another one.
    """

    kind: str = attrs.field(validator=_kind)
    id: str = text_field(least=1)
    mime_type: str = attrs.field(default="", converter=encodable, validator=words(255))
    size: int | None = attrs.field(default=None, validator=_count)
    name: str = text_field()
    caption: str = text_field(MAX_CONTENT)


@attrs.frozen(eq=False, repr=False)
class Location(Value):
    """A location on the map. It can be said as well: `State(say=Location(-17.83, 31.05, "Our shop"))`.

    Attributes:
        latitude: Degrees north, from -90 to 90.
        longitude: Degrees east, from -180 to 180.
        name: The name of the place; empty if it has none.
        address: Its address; empty if it is not told.

    Raises:
        InvalidMessage: A field is out of its range, too long or of the wrong type.
    """

    kind: ClassVar[str] = "location"
    caption: ClassVar[str] = ""

    latitude: float = attrs.field(repr=False, converter=_float, validator=_degrees(90))
    longitude: float = attrs.field(repr=False, converter=_float, validator=_degrees(180))
    name: str = text_field()
    address: str = text_field()

    @property
    def text(self) -> str:
        """The location in words: name, address, and a link to it on a map."""
        link = f"https://maps.google.com/?q={self.latitude:.6f},{self.longitude:.6f}"
        return "\n".join(filter(None, (self.name, self.address, link)))


@attrs.frozen(eq=False, repr=False)
class Contact(Value):
    """A contact from an address book.

    Attributes:
        name: The name as the address book has it.
        phones: The telephone numbers, as the channel writes them.
        emails: The addresses of electronic mail.
        is_sender: Whether the channel says that it is the contact of the member who sent it. It is their own number
            only then.

    Raises:
        InvalidMessage: A field is too long or of the wrong type.
    """

    name: str = text_field()
    phones: tuple[str, ...] = attrs.field(default=(), repr=False, converter=_encodables, validator=_texts)
    emails: tuple[str, ...] = attrs.field(default=(), repr=False, converter=_encodables, validator=_texts)
    is_sender: bool = attrs.field(default=False, repr=False, validator=_one_of(bool))


@attrs.frozen(eq=False, repr=False)
class Contacts(Value):
    """One or more contacts.

    Raises:
        InvalidMessage: It is no tuple of contacts, or has none or too many.
    """

    kind: ClassVar[str] = "contacts"
    caption: ClassVar[str] = ""

    contacts: tuple[Contact, ...] = attrs.field(repr=False, validator=_several(Contact))


def _values(value: object) -> Mapping[str, Any]:
    """Convert the values of a form to storable ones (an attrs converter)."""
    if not isinstance(value, Mapping):
        raise InvalidMessage("values", f"must be an object, not a {type(value).__name__}")
    kept: Mapping[str, Any] = storable(value, "values")
    return kept


@attrs.frozen(eq=False, repr=False)
class Form(Value):
    """A form that the member has filled in: a WhatsApp Flow, or the data of a Mini App.

    Attributes:
        values: The values by field, as JSON holds them. They come from the member's device, so nothing in them is
            proven.
        name: The name of the form; empty if the channel does not tell it.
        token: The token with which the bot opened the form; empty without one.

    Raises:
        InvalidMessage: A field is too long, of the wrong type or not storable.
    """

    kind: ClassVar[str] = "form"
    caption: ClassVar[str] = ""

    values: Mapping[str, Any] = attrs.field(repr=False, hash=False, converter=_values)
    name: str = text_field()
    token: str = text_field()


@attrs.frozen(eq=False, repr=False)
class OrderItem(Value):
    """An item of an order.

    Attributes:
        product: The shop's own id of the product.
        quantity: The number of pieces.
        price: The price of one piece as the member's device saw it; None if it is not told. It is no proof of a price.

    Raises:
        InvalidMessage: A field is too long, negative or of the wrong type.
    """

    product: str = text_field(least=1)
    quantity: int = attrs.field(default=1, repr=False, validator=[_one_of(int), _count])
    price: Money | None = attrs.field(default=None, repr=False, validator=_one_of(Money, NoneType))


@attrs.frozen(eq=False, repr=False)
class Order(Value):
    """An order from a catalogue.

    Attributes:
        items: The items.
        catalogue: The channel's id of the catalogue.
        caption: The words that came with the order. They are the text of the message as well.

    Raises:
        InvalidMessage: There are no items or too many, or a field is too long or of the wrong type.
    """

    kind: ClassVar[str] = "order"

    items: tuple[OrderItem, ...] = attrs.field(repr=False, validator=_several(OrderItem))
    catalogue: str = text_field()
    caption: str = text_field(MAX_CONTENT)


Content: TypeAlias = Attachment | Location | Contacts | Form | Order
"""What a message carries beside its words."""

CONTENTS: Final = (Attachment, Location, Contacts, Form, Order)
"""The classes of contents."""


@attrs.frozen(eq=False, repr=False)
class Referral(Value):
    """The advertisement or post that the member came from.

    Attributes:
        source: What it is, as the channel says: "ad", "post".
        id: The channel's id of it.
        url: Its address.
        headline: Its headline.
        click: The channel's id of the click.

    Raises:
        InvalidMessage: A field is too long or of the wrong type.
    """

    source: str = attrs.field(default="", converter=encodable, validator=words(MAX_REFERENCE))
    id: str = text_field()
    url: str = text_field()
    headline: str = text_field()
    click: str = text_field()


def as_json(content: Content | Referral) -> str:
    """Return a content as JSON with sorted names, which is the same for equal contents."""
    return json.dumps(attrs.asdict(content, recurse=True), sort_keys=True, default=str)
