"""Readers of contents: what each takes, and the words with which it refuses anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.messages.test_contents import contents
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages import readers
from vimbiso_fsm.messages.catalogue import Catalogue
from vimbiso_fsm.messages.content_readers import CONTENT_TEXTS, bytes_in_words
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
from vimbiso_fsm.messages.refusals import Refused

HERE = Location(-17.8, 31.0)
PHOTO = Attachment("image", "1", "image/jpeg", 2_000_000)
SCAN = Attachment("document", "2", "image/png")
PAPER = Attachment("document", "3", "application/pdf", 9_000_000)
ADA = Contact("Ada", ("+263771000001",))
OTHER_TYPE = "We cannot open a file of that kind here. Please send a document."
HERE_OR_WORDS = readers.either(readers.location, readers.free_text(5))
ANYTHING: Any = (readers.photo, 5)
ORDER = Order((OrderItem("tea", 2),))


def words(refused: object) -> str:
    """Return the words of a refusal."""
    assert isinstance(refused, Refused), f"{refused!r} was not refused"
    return Catalogue.of({}).say(refused.words).text


@pytest.mark.parametrize(
    ("reader", "content", "value"),
    [
        (readers.location, HERE, HERE),
        (readers.photo, PHOTO, PHOTO),
        (readers.photo, SCAN, SCAN),
        (readers.document, PAPER, PAPER),
        (readers.document, SCAN, SCAN),
        (readers.audio, Attachment("audio", "4"), Attachment("audio", "4")),
        (readers.video, Attachment("video", "5"), Attachment("video", "5")),
        (readers.contact, Contacts((ADA,)), ADA),
        (readers.contacts(2), Contacts((ADA, ADA)), Contacts((ADA, ADA))),
        (readers.form, Form({"a": 1}), Form({"a": 1})),
        (readers.order, ORDER, ORDER),
        (readers.file("image", "document", types=["image/", "application/pdf"], most=9_000_000), PAPER, PAPER),
    ],
    ids=map(str, range(12)),
)
def test_a_reader_takes_what_it_is_made_for(reader: Any, content: Content, value: object) -> None:
    """A reader takes its contents and returns their value; a picture that was sent as a document is a photo."""
    assert reader.takes(content)
    assert reader.of(content) == value


@pytest.mark.parametrize(
    ("reader", "content", "said"),
    [
        (readers.location, PHOTO, "Please send a location."),
        (readers.photo, HERE, "Please send a photo."),
        (readers.photo, PAPER, "Please send a photo."),
        (readers.document, PHOTO, "Please send a document."),
        (readers.contact, ORDER, "Please send a contact."),
        (readers.contact, Contacts((ADA, ADA)), "That is more than we can take; please send at most 1."),
        (readers.contacts(1), Contacts((ADA, ADA)), "That is more than we can take; please send at most 1."),
        (readers.form, PHOTO, "Please send the form, filled in."),
        (readers.order, HERE, "Please send an order from our catalogue."),
        (readers.audio, PHOTO, "Please send a voice message."),
        (readers.file("document", types=["application/pdf"]), SCAN, OTHER_TYPE),
        (readers.file("document", most=5_000_000), PAPER, "That file is too large; the limit is 5 MB."),
        (readers.file("video", "sticker"), PHOTO, "Please send one of these:\na video\na sticker"),
        (HERE_OR_WORDS, PHOTO, "Please send one of these:\na location\na written answer"),
    ],
    ids=map(str, range(14)),
)  # fmt: skip
def test_another_content_is_refused_in_words(reader: Any, content: Content, said: str) -> None:
    """A content that a reader is not made for, or does not accept, is refused with what to send."""
    assert words(reader.of(content)) == said


@given(contents)
def test_any_content_is_taken_or_refused(content: Content) -> None:
    """Each reader returns a value or a refusal for any content, and takes what it says that it takes."""
    for reader in (readers.location, readers.photo, readers.document, readers.contact, readers.form, readers.order):
        answer: object = reader.of(content)
        assert isinstance(answer, Refused) or reader.takes(content)


@pytest.mark.parametrize("reader", [readers.location, readers.photo, readers.contact])
def test_a_text_is_no_content(reader: Any) -> None:
    """A reader of contents refuses every text with what to send."""
    assert words(reader("here")).startswith("Please send a ")


def test_either_tries_the_readers_of_texts_in_order() -> None:
    """`either` tries a text with each reader of texts; if all refuse, the reason of the first is said."""
    either: Any = readers.either(readers.date(), readers.photo, readers.choice("later"))
    assert str(either("2026-11-22")) == "2026-11-22"
    assert either("LATER") == "later"
    assert words(either("x")).startswith("Please write a date")
    assert either.at(None).of(PHOTO) == PHOTO


def test_either_may_depend_on_the_turn() -> None:
    """A reader of the turn inside `either` is made for each turn."""
    either: Any = readers.either(readers.photo, readers.of_turn(readers.choice))
    assert either.at("red")("RED") == "red"
    assert either.at("red").of(PHOTO) == PHOTO


def test_an_either_inside_another_is_one_reader() -> None:
    """An `either` inside another counts as its parts."""
    inner: Any = readers.either(readers.photo, readers.choice("no"))
    outer: Any = readers.either(inner, readers.location)
    assert (outer.of(HERE), outer.of(PHOTO), outer("no")) == (HERE, PHOTO, "no")


@pytest.mark.parametrize(
    "make",
    [
        readers.file,
        lambda: readers.file("hologram"),
        lambda: readers.file("image", types="image/png"),
        lambda: readers.file("image", types=["png"]),
        lambda: readers.file("image", most=0),
        lambda: readers.contacts(0),
        lambda: readers.either(readers.photo),
        lambda: readers.either(*ANYTHING),
    ],
    ids=map(str, range(8)),
)
def test_bounds_that_are_none_are_refused(make: Any) -> None:
    """A reader whose kinds, types or bounds are none is refused when it is made."""
    with pytest.raises(FlowError):
        make()


def test_every_word_is_used() -> None:
    """Each kind has a noun for its refusal, and there are no others."""
    nouns = {key.partition(".")[2] for key in CONTENT_TEXTS} - {"either", "large", "many", "type", "wanted"}
    assert nouns == {*FILE_KINDS, "contact", "contacts", "form", "location", "order", "text"}


def test_bytes_are_written_for_people() -> None:
    """A bound in bytes is written with its unit."""
    sizes = (999, 200_000, 1_500_000, 5_000_000, 2_000_000_000)
    assert [*map(bytes_in_words, sizes)] == ["999 B", "200 kB", "1.5 MB", "5 MB", "2 GB"]
