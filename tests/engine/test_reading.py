"""Reading of stored documents: every kind of answer to "what is stored of this member?"."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.bots import fruit_bot, member_document
from tests.changed_flows import bot_of, errand, errand_1
from tests.engine.test_upgrade import deploy, standing
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.engine.reading import (
    NEWER_STATE_GRACE,
    Absent,
    Damaged,
    Newer,
    Sound,
    newer_state,
    open_document,
)
from vimbiso_fsm.store.requests import Broken, Head, Stored
from vimbiso_fsm.testing.chat import START

BOT = fruit_bot()
DOCUMENT = member_document(member_id="m-1", version=2)


def stored(data: bytes | None) -> Stored:
    """Return stored data at version 2."""
    return Stored(Head(2, "d"), data, START.timestamp())


def test_a_document_of_the_member_is_sound():
    """A valid document is read and upgraded to the flows of the bot."""
    assert open_document(BOT, "m-1", stored(encode(DOCUMENT)), START) == Sound(DOCUMENT)


def test_no_document_is_absent():
    """An expired document and one that never was are both `Absent`."""
    assert open_document(BOT, "m-1", stored(None), START) == Absent()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_bytes_that_are_no_document_are_damaged(data: bytes):
    """`Damaged` holds the bytes for recovery, and faults that do not quote them."""
    reading = open_document(BOT, "m-1", stored(data), START)
    assert isinstance(reading, Damaged)
    assert reading.data == data
    assert reading.faults


def test_a_key_of_a_wrong_type_is_damaged_and_has_no_bytes():
    """A key of a wrong type is `Damaged` with the store's fault and without bytes."""
    broken = Broken(Head(2, "d"), "state is a list", START.timestamp())
    assert open_document(BOT, "m-1", broken, START) == Damaged(("state is a list",), b"")


def test_a_document_of_another_member_is_damaged():
    """Another member's valid document under this member's key is damage, whose fault quotes nothing of it."""
    data = encode(DOCUMENT)
    reading = open_document(BOT, "m-2", stored(data), START)
    assert reading == Damaged(("it is another member's",), data)
    assert "m-1" not in repr(reading)


@pytest.mark.parametrize("version", [1, 3])
def test_a_document_of_another_version_than_its_head_is_damaged(version: int):
    """A document whose version is not that of the head is damage, because a turn of it would be stored on neither."""
    data = encode(attrs.evolve(DOCUMENT, version=version))
    reading = open_document(BOT, "m-1", stored(data), START)
    assert reading == Damaged((f"_version is {version}, not 2 as in the head",), data)


def newer_document() -> tuple[bytes, str]:
    """A document that a newer release has stored, and its member."""
    chat = deploy(standing("confirm"), errand())
    chat.say("help")
    data = chat.stored().document
    assert data is not None
    return data, chat.member_id()


@pytest.mark.parametrize(("seconds", "kind"), [(0.0, Newer), (NEWER_STATE_GRACE, Damaged)])
def test_a_newer_release_is_believed_for_a_while(seconds: float, kind: type[Any]):
    """Its document is not damaged as long as that release may be at work; later the release counts as rolled back."""
    data, member_id = newer_document()
    since = START.fromisoformat(loads(data)["_last_updated"])
    reading = open_document(bot_of(errand_1), member_id, stored(data), since + timedelta(seconds=seconds))
    assert isinstance(reading, kind)
    if isinstance(reading, Newer):
        assert (reading.error.member_id, reading.error.flow, reading.error.version) == (member_id, "errand", 2)


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", encode(DOCUMENT)])
def test_nothing_else_is_of_a_newer_release(data: bytes | None):
    """Neither damage nor a document that this release knows counts as newer."""
    assert newer_state(BOT, "m-1", data, START) is None
