"""Messages and replies."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.digests import token_of
from tests.strategies import channels, json_values, messages, texts
from vimbiso_fsm.document.document import first_document
from vimbiso_fsm.engine.events import content_digest
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import MAX_ID, Address, Channel, Message
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row, Text
from vimbiso_fsm.testing.chat import CHANNEL, START


@pytest.mark.parametrize(
    "bad", ["", "  ", "\u3000", "a\nb", "a\0", "\x7f", "\ud800", "x" * (MAX_ID + 1), 5, None, b"x"]
)
@pytest.mark.parametrize("field", ["type", "identifier", "id"])
def test_an_id_or_address_that_is_none_is_refused(bad: Any, field: str):
    """Empty, blank, control characters, lone surrogates, too long, no text: the error names the field."""
    given = {"type": "sms", "identifier": "1", "id": "m"} | {field: bad}
    with pytest.raises(InvalidMessage) as caught:
        Message(Channel(given["type"], given["identifier"]), given["id"], text="hi")
    assert caught.value.field == {"id": "id"}.get(field, f"channel {field}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["text", "choice", "kind", "account"])
@pytest.mark.parametrize("bad", [5, b"hi", ["hi"], {"a": 1}])
def test_content_must_be_text(name: str, bad: Any):
    """A number or bytes where text belongs is the caller's mistake, said at once."""
    with pytest.raises(InvalidMessage) as caught:
        Message(CHANNEL, "m", **{name: bad})
    assert caught.value.field == name


def test_a_message_is_typed_or_pressed_never_both():
    """Text together with a choice is refused."""
    with pytest.raises(InvalidMessage, match="together with choice"):
        Message(CHANNEL, "m", text="hi", choice="yes")


def test_an_image_has_neither_text_nor_choice():
    """`kind` says what it is."""
    message = Message(CHANNEL, "m", kind="image")
    assert (message.text, message.choice, message.kind) == (None, None, "image")


@given(texts)
def test_lone_surrogates_are_replaced(text: str):
    """Whatever was typed can be encoded afterwards; what could be encoded before is unchanged."""
    message = Message(CHANNEL, "m", text=text)
    assert message.text is not None
    message.text.encode()
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert message.text == text


@pytest.mark.parametrize("field", ["account", "kind"])
def test_any_message_has_a_token(field: str):
    """Lone surrogates in our own address or the kind of content break nothing later."""
    bad: dict[str, Any] = {field: "\ud800"}
    message = Message(CHANNEL, "m", text="hi", **bad)
    assert token_of(message)
    assert content_digest(message, b"")


@pytest.mark.parametrize(
    "bad", [None, [], "x", {"a": object()}, {"a": float("nan")}, {1: "a"}, {"a": {2: "b"}}, {"a": b"x"}]
)
def test_metadata_that_cannot_be_stored_is_refused(bad: Any):
    """Metadata of a channel becomes part of the document, so a value that cannot be stored is refused.

    Else the first message of a conversation could not even be answered with a failure.
    """
    with pytest.raises(InvalidMessage) as caught:
        Channel("sms", "1", bad)
    assert caught.value.field == "metadata"


def test_metadata_nested_too_deep_is_refused():
    """A structure that only recursion could follow is no metadata."""
    deep: Any = "x"
    for _ in range(600):
        deep = [deep]
    with pytest.raises(InvalidMessage, match="metadata"):
        Channel("sms", "1", {"deep": deep})


def test_metadata_is_kept_as_it_will_be_read_back():
    """Tuples are lists on the wire, so they are lists from the beginning."""
    assert Channel("sms", "1", {"tags": ("a", "b"), "more": {"x": (1,)}}).metadata == {
        "tags": ["a", "b"],
        "more": {"x": [1]},
    }


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=3))
def test_any_json_is_metadata(metadata: dict[str, Any]):
    """A channel may know anything JSON can say; it can always be stored."""
    from vimbiso_fsm.document.codec import decode, encode

    channel = Channel("sms", "1", metadata)
    document = first_document("m-1", channel, START, channel.address)
    assert decode(encode(document)) == document


def test_channels_are_equal_by_type_and_identifier():
    """Type and identifier; what is known of the member does not count."""
    assert Channel("sms", "1", {"a": 1}).address == Channel("sms", "1").address == Address("sms", "1")
    assert Channel("sms", "1").address != Channel("whatsapp", "1").address


def test_nothing_personal_in_a_repr():
    """A log line with a message shows neither what was said nor whose number it is."""
    for message in (Message(CHANNEL, "m", text="secret words"), Message(CHANNEL, "m", choice="secret words")):
        assert "secret" not in repr(message)
        assert CHANNEL.identifier not in repr(message)


@given(messages(), channels)
def test_messages_are_values(message: Message, channel: Channel):
    """Equal, hashable, copied and pickled as values."""
    for value in (message, channel):
        assert copy.deepcopy(value) == value
        assert pickle.loads(pickle.dumps(value)) == value
        assert hash(copy.copy(value)) == hash(value)


def test_a_text_is_its_key_and_parameters():
    """The final words are no part of what makes two texts equal."""
    text = Text("offer.amount", limit=25)
    assert text.said("At most 25", {"limit": 25}) == text
    assert text.said("At most 25", {"limit": 25}).text == "At most 25"
    assert text.text == ""
    assert str(text) == "offer.amount"
    assert str(text.said("At most 25", {})) == "At most 25"
    assert text != Text("offer.amount", limit=26)
    assert hash(text) == hash(Text("offer.amount", limit=26))
    assert Text("a", key=1, text=2, self=3).params == {"key": 1, "text": 2, "self": 3}


def test_titles_may_be_plain_text():
    """Rows and buttons take a text or just words."""
    row = Row("a", "Title", "About")
    assert row.title == Text("Title")
    assert row.description == Text("About")
    assert Row("a", Text("t")).description is None
    assert Button("b", "Title").title == Text("Title")


def test_a_question_has_the_words_of_its_body():
    """`.text` of any reply is what is said first."""
    body = Text("q").said("Well?", {})
    assert Buttons(body, (Button("a", "A"),)).text == Menu(body, (Row("a", "A"),)).text == "Well?"
