"""The REST channel: signed requests with one message each, and replies as objects."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.channels.strategies import NOW
from vimbiso_fsm.channels import rest
from vimbiso_fsm.channels.delivery import read_object
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Content, Form, Location, Order, OrderItem
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.money import Money

SECRET = "5ecret"
RAW = b'{"sender": "ada", "id": "1", "text": "hi"}'
AT = int(NOW.timestamp())


def read(**fields: Any) -> Message:
    """Return the message of a request."""
    (message,) = rest.parse(json.dumps({"sender": "ada", "id": "1", **fields}).encode()).messages
    return message


def is_accepted(value: str, now_after: float = 0.0, secret: str | list[str] = SECRET) -> bool:
    """Return whether a signature is accepted some seconds after it was made."""
    return rest.verify(
        {"X-Vimbiso-Signature": value}, RAW, secret=secret, now=NOW.replace(microsecond=0) + timedelta(0, now_after)
    )


# verify


@pytest.mark.parametrize(("after", "accepted"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_a_request_counts_for_a_time(after: float, accepted: bool) -> None:
    """A signature is accepted for five minutes around its time, and no longer."""
    assert is_accepted(rest.sign(RAW, secret=SECRET, at=AT), after) is accepted


def test_the_time_is_signed() -> None:
    """A recorded request cannot be given another time."""
    digest = rest.sign(RAW, secret=SECRET, at=AT).partition(",")[2]
    assert not is_accepted(f"t={AT + 1},{digest}")
    for odd in ("", "-1", "١", f"+{AT}", f" {AT}", f"0x{AT:x}", "9" * 5000, "nan"):
        assert not is_accepted(f"t={odd},{digest}")


def test_a_signature_of_no_time_is_none() -> None:
    """A request that is signed without a time, or that is verified without a clock, is refused."""
    assert not is_accepted(rest._signature("", RAW, SECRET))
    assert not rest.verify({"X-Vimbiso-Signature": rest.sign(RAW, secret=SECRET, at=AT)}, RAW, secret=SECRET)


def test_two_secrets_count_while_one_takes_the_place_of_the_other() -> None:
    """Each of several secrets is accepted; an empty one is none."""
    for secret in ("old", "new"):
        assert is_accepted(rest.sign(RAW, secret=secret, at=AT), secret=["old", "new"])
    assert not is_accepted(rest.sign(RAW, secret="", at=AT), secret=["", "new"])


# parse


def test_a_message_is_a_text_or_a_choice() -> None:
    """The sender is the identifier of the channel, and the id is that of the message."""
    said, chosen = read(text="hi"), read(choice="yes@1")
    assert (said.channel.type, said.channel.identifier, said.id, said.text) == ("rest", "ada", "1", "hi")
    assert (chosen.text, chosen.choice) == (None, "yes@1")
    (other,) = rest.parse(RAW, type="ussd", account="*151#").messages
    assert (other.channel.type, other.account) == ("ussd", "*151#")


FILE = {"kind": "image", "id": "f1", "mime_type": "image/png", "size": 3, "name": "a.png", "caption": "see"}
ITEM = {"product": "p", "quantity": 2, "price": {"amount": "1.50", "currency": "USD"}}


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        (FILE, Attachment("image", "f1", "image/png", 3, "a.png", "see")),
        ({"kind": "location", "latitude": -17, "longitude": 31.5}, Location(-17.0, 31.5)),
        (
            {"kind": "contacts", "contacts": [{"name": "Bo", "phones": ["1"], "is_sender": True}]},
            Contacts((Contact("Bo", ("1",), is_sender=True),)),
        ),
        ({"kind": "form", "values": {"a": [1, None]}, "name": "f"}, Form({"a": [1, None]}, "f")),
        ({"kind": "order", "items": [ITEM]}, Order((OrderItem("p", 2, Money(Decimal("1.50"), "USD")),))),
        ({"kind": "order", "items": [{"product": "p"}]}, Order((OrderItem("p"),))),
    ],
    ids=["file", "location", "contacts", "form", "order", "order without a price"],
)
def test_each_kind_of_content_is_read(fields: dict[str, Any], content: Content) -> None:
    """A content is an object with its kind and the attributes of its class."""
    message = read(content=fields)
    assert message.content == content
    assert message.text == (fields.get("caption") or None)


PRICE = "content.items[0].price"


def order(**price: Any) -> dict[str, Any]:
    """Return the fields of a message with an order of a price."""
    return {"content": {"kind": "order", "items": [{"product": "p", "price": price}]}}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "body"),
        ({"text": "a", "choice": "b"}, "body"),
        ({"text": None}, "text"),
        ({"text": 1}, "text"),
        ({"choice": None}, "choice"),
        ({"text": "a", "reply_to": "b"}, "body"),
        ({"text": "a", "263771000001 ": "b"}, "body"),
        ({"sender": 263771000001, "text": "a"}, "sender"),
        ({"id": True, "text": "a"}, "id"),
        ({"id": "", "text": "a"}, "id"),
        ({"sender": "a\nb", "text": "a"}, "channel identifier"),
        ({"content": None}, "content"),
        ({"content": []}, "content"),
        ({"content": {"kind": "telepathy"}}, "content.kind"),
        ({"content": {"kind": ["image"]}}, "content.kind"),
        ({"content": {"kind": "image"}}, "content.id"),
        ({"content": {"kind": "image", "id": "a", "link": "b"}}, "content"),
        ({"content": {"kind": "location", "latitude": 91, "longitude": 0}}, "latitude"),
        ({"content": {"kind": "location", "latitude": "1", "longitude": 0}}, "latitude"),
        ({"content": {"kind": "contacts", "contacts": {}}}, "content.contacts"),
        ({"content": {"kind": "contacts", "contacts": [1]}}, "content.contacts[0]"),
        ({"content": {"kind": "contacts", "contacts": [{"phones": [1]}]}}, "phones"),
        ({"content": {"kind": "form", "values": []}}, "values"),
        ({"content": {"kind": "order", "items": []}}, "items"),
        ({"content": {"kind": "order", "items": [{"product": "p", "quantity": -1}]}}, "quantity"),
        (order(amount=1.5, currency="USD"), "amount"),
        (order(amount="1e9", currency="USD"), PRICE),
        (order(amount="-1", currency="USD"), PRICE),
        (order(amount="1.", currency="USD"), PRICE),
        (order(amount=".5", currency="USD"), PRICE),
        (order(amount="9" * 16, currency="USD"), PRICE),
        (order(amount="1", currency="usd"), PRICE),
        (order(amount="1", currency="USD", tax="1"), PRICE),
    ],
)
def test_a_broken_message_is_refused_as_a_whole(fields: dict[str, Any], field: str) -> None:
    """The error names the field, and quotes no value."""
    with pytest.raises(InvalidMessage) as caught:
        read(**fields)
    assert caught.value.field == field
    assert "263771000001" not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff" + RAW,
        RAW.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + RAW,
        RAW[:-1] + b', "id": "2"}',
        RAW[:-1] + b', "n": NaN}',
        RAW[:-1] + b', "n": -Infinity}',
        RAW[:-1] + b', "n": 1e999}',
        RAW[:-1] + b', "n": 1' + b"0" * 64 + b"}",
        RAW[:-1] + b', "n": 0.' + b"1" * 64 + b"}",
        RAW[:-1] + b', "n": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a":' * 100_000,
        b'"' + b'\\"' * 1_000_000,
        b"{" * 100 + b'"' + b'\\"' * 1_000_000,
    ],
    ids=[
        "empty",
        "list",
        "latin",
        "utf16",
        "bom",
        "twice",
        "nan",
        "infinity",
        "range",
        "integer",
        "broken",
        "deep",
        "deeper",
        "text",
        "brackets",
    ],
)
def test_strict_json_is_read(raw: bytes) -> None:
    """Only one reading of a body is possible, and reading it takes time linear in it."""
    with pytest.raises(InvalidMessage, match="body"):
        read_object(raw)


def test_brackets_within_texts_do_not_nest() -> None:
    """A text of many brackets is a text."""
    assert read(text='[{"' * 500).text == '[{"' * 500
