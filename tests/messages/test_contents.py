"""Contents of messages: bounded, storable, and shown in no `repr`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.digests import token_of
from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.engine.events import content_digest
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
    Referral,
)
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money

YOU = Channel("whatsapp", "263771234567")
WORDS = st.text(max_size=20)

contents: st.SearchStrategy[Content] = st.one_of(
    st.builds(
        Attachment,
        st.sampled_from(FILE_KINDS),
        st.text(min_size=1, max_size=20),
        size=st.none() | st.integers(0, 2**40),
        name=WORDS,
        caption=WORDS,
    ),
    st.builds(Location, st.floats(-90, 90), st.floats(-180, 180), WORDS, WORDS),
    st.lists(st.builds(Contact, WORDS, st.lists(st.text(min_size=1), max_size=3).map(tuple)), min_size=1, max_size=3)
    .map(tuple)
    .map(Contacts),
    st.builds(Form, st.dictionaries(WORDS, st.none() | st.booleans() | st.integers() | WORDS, max_size=3), WORDS),
    st.builds(
        Order,
        st.lists(
            st.builds(
                OrderItem,
                st.text(min_size=1, max_size=9),
                st.integers(0, 99),
                st.none() | st.just(Money(Decimal("1.50"), "USD")),
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        WORDS,
    ),
)


def message(content: Content | None = None, **more: Any) -> Message:
    """Return a message of the member with a content."""
    return Message(YOU, "m1", content=content, **more)


@given(contents)
def test_a_content_is_read_back_equal(content: Content) -> None:
    """A content, whatever texts a channel puts into it, is stored as a field of data and read back equal."""
    kind: Any = type(content)
    back = data_type(kind).settled(content, "data")
    assert back == content
    json_text = str(attrs.asdict(back))
    json_text.encode()


@given(contents)
def test_the_message_is_of_the_kind_of_its_content(content: Content) -> None:
    """A message is of the kind of its content, and its text is the caption."""
    said = message(content)
    assert (said.kind, said.text) == (content.kind, content.caption or None)


@given(contents, contents)
def test_another_content_is_another_digest(one: Content, other: Content) -> None:
    """Two messages of one id with different contents have different digests, and with equal contents the same one."""
    said, again = message(one), message(other)
    assert token_of(said) == token_of(again)
    assert (content_digest(said, b"") == content_digest(again, b"")) == (one == other)


def test_a_payload_and_a_referral_are_part_of_the_digest() -> None:
    """The parameter of a deep link and the referral are part of what makes a message one message."""
    plain = message(text="start")
    others = [message(text="start", payload="ref_42"), message(text="start", referral=Referral(id="ad"))]
    assert len({content_digest(each, b"") for each in [plain, *others]}) == 3


def test_the_digest_of_words_is_that_of_earlier_releases() -> None:
    """A message of words alone has the digest that earlier releases have stored, so that it stays a duplicate."""
    assert content_digest(message(text="hi"), b"") == "fcfad5ad48ddf78e"


SECRETS = ("secret-name", "secret-number", "secret-file", "secret-value", "48.8584", "2.2945")


@pytest.mark.parametrize(
    "said",
    [
        message(Attachment("image", "secret-file", name="secret-name", caption="secret-value")),
        message(Location(48.8584, 2.2945, "secret-name", "secret-value")),
        message(Contacts((Contact("secret-name", ("secret-number",), ("secret-value",)),))),
        message(Form({"secret-name": "secret-value"}, "secret-file", "secret-number")),
        message(Order((OrderItem("p", 1, Money(Decimal("48.8584"), "USD")),), "secret-file", "secret-value")),
        message(text="secret-value", payload="secret-name", referral=Referral("ad", "secret-file", "secret-value")),
        message(text="secret-value", replied_to="secret-name", burst="secret-number"),
    ],
)
def test_no_repr_shows_what_was_sent(said: Message) -> None:
    """The `repr` of a message and of its content shows nothing of the member, so that no log line does."""
    shown = repr(said) + repr(said.content) + repr(said.referral)
    assert not [secret for secret in SECRETS if secret in shown]


WITH_CHOICE = "was given together with choice; a pressed button carries none"
any_attachment: Any = Attachment
any_location: Any = Location
any_contacts: Any = Contacts
any_form: Any = Form
any_item: Any = OrderItem
any_message: Any = message
"""The same classes without their types, to be given values of wrong types."""

BAD: list[tuple[Callable[[], object], str, str]] = [
    (lambda: any_attachment("hologram", "1"), "kind", "is none of image, audio, video, document, sticker"),
    (lambda: any_attachment("image", ""), "id", "is empty"),
    (lambda: any_attachment("image", "x" * 10_000), "id", "has 10000 characters, the limit is 2048"),
    (lambda: any_attachment("image", "1", size=-1), "size", "must be a whole number, 0 or more"),
    (lambda: any_attachment("image", "1", size=True), "size", "must be a whole number, 0 or more"),
    (lambda: any_attachment("image", "1", caption=5), "caption", "must be text, not int"),
    (lambda: any_location(90.1, 0), "latitude", "must be a number of degrees from -90 to 90"),
    (lambda: any_location(0, float("nan")), "longitude", "must be a number of degrees from -180 to 180"),
    (lambda: any_location("0", 0), "latitude", "must be a number of degrees from -90 to 90"),
    (lambda: any_location(True, 0), "latitude", "must be a number of degrees from -90 to 90"),
    (lambda: any_location(10**400, 0), "latitude", "must be a number of degrees from -90 to 90"),
    (lambda: Contact(phones=("",)), "phones", "is empty"),
    (lambda: Contact(phones=("1",) * 257), "phones", "must be a tuple of at most 256 texts"),
    (lambda: any_contacts(()), "contacts", "has 0 items, there are 1 to 256"),
    (lambda: any_contacts(("Ada",)), "contacts", "must be a tuple of Contact"),
    (lambda: any_form([1]), "values", "must be an object, not a list"),
    (lambda: any_form({"a": float("inf")}), "values", "holds a float, which cannot be stored"),
    (lambda: any_form({"a": object()}), "values", "holds a object, which cannot be stored"),
    (lambda: Order(()), "items", "has 0 items, there are 1 to 256"),
    (lambda: OrderItem("", 1), "product", "is empty"),
    (lambda: OrderItem("p", -1), "quantity", "must be a whole number, 0 or more"),
    (lambda: any_item("p", None), "quantity", "must be int, not NoneType"),
    (lambda: any_item("p", True), "quantity", "must be a whole number, 0 or more"),
    (lambda: any_item("p", 1, "2.50"), "price", "must be Money or None, not str"),
    (lambda: any_message("a photo"), "content", "must be a content, not a str"),
    (lambda: any_message(any_location(0, 0), choice="yes"), "content", WITH_CHOICE),
    (lambda: any_message(any_form({"a": "x" * 70_000})), "content", "has 70046 characters as JSON, the limit is 65536"),
    (lambda: any_message(any_location(0, 0), text="hi"), "text", "is not the caption of the content; give it once"),
    (lambda: any_message(text="hi", payload="x" * 3000), "payload", "has 3000 characters, the limit is 2048"),
    (lambda: any_message(text="hi", payload=5), "payload", "must be text, not int"),
    (lambda: any_message(text="hi", replied_to=None), "replied_to", "must be text, not NoneType"),
    (lambda: any_message(text="hi", referral="ad"), "referral", "must be a Referral, not a str"),
    (lambda: any_message(text="hi", forwarded="yes"), "forwarded", "must be True or False, not str"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "field", "fault"), BAD, ids=map(str, range(len(BAD))))
def test_a_content_that_is_none_is_refused(make: Callable[[], object], field: str, fault: str) -> None:
    """A content that is out of its bounds or of a wrong type is refused, and the error names the field."""
    with pytest.raises(InvalidMessage) as raised:
        make()
    assert (raised.value.field, raised.value.fault) == (field, fault)


WHOLE: list[Any] = [
    Attachment("image", "1"),
    Location(0, 0),
    Contact("Ada"),
    Contacts((Contact("Ada"),)),
    Form({}),
    OrderItem("tea"),
    Order((OrderItem("tea"),)),
    Referral(),
]
"""A value of each class that a message can carry."""


@pytest.mark.parametrize("value", WHOLE, ids=[type(value).__name__ for value in WHOLE])
@given(wrong=st.sampled_from([object(), b"1", 1j, {1}, (object(),)]), data=st.data())
def test_a_field_of_a_wrong_type_is_named(value: Any, wrong: object, data: st.DataObject) -> None:
    """A value that is of no type of its field is refused as a message is, whatever the field."""
    field = data.draw(st.sampled_from([field.name for field in attrs.fields(type(value))]))
    with pytest.raises(InvalidMessage):
        attrs.evolve(value, **{field: wrong})


def test_values_of_a_form_nested_too_deep_are_refused() -> None:
    """Values that are nested deeper than a document may be are refused."""
    nested: Any = "x"
    for _ in range(30):
        nested = [nested]
    with pytest.raises(InvalidMessage, match="is nested too deep"):
        Form({"a": nested})


def test_a_location_in_words() -> None:
    """A location in words has its name, its address and a link to a map."""
    shop = Location(-17.8292, 31, "Our shop", "1 First Street")
    assert shop.text == "Our shop\n1 First Street\nhttps://maps.google.com/?q=-17.829200,31.000000"
    assert Location(0, 0).text == "https://maps.google.com/?q=0.000000,0.000000"


def test_a_content_of_a_message_keeps_its_instant() -> None:
    """A content stands beside all that a message has besides, such as its instant and its marks."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    said = message(Location(0, 0), sent_at=at, forwarded=True, replied_to="m0", burst="b")
    assert (said.sent_at, said.forwarded, said.replied_to, said.burst) == (at, True, "m0", "b")
