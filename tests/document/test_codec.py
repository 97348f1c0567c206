"""Documents, written as plain data and as bytes, and read back."""

from __future__ import annotations

import datetime as dt
import json
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import member_document
from tests.strategies import documents
from vimbiso_fsm.document.codec import (
    decode,
    document_from_raw,
    document_to_raw,
    encode,
    is_intact,
    keep_judged,
    restored,
    rewrite,
)
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.json_codec import dumps_unstructured, loads
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.testing.chat import CHANNEL, START


@given(documents())
def test_a_document_is_read_back_equal(document: Document):
    """A document is read back equal, and written again it has the same bytes."""
    data = encode(document)
    assert decode(data) == document
    assert encode(decode(data)) == data


def test_the_shape_of_the_seed():
    """A document that has nothing beyond the seed has exactly the fields of the seed, by their names."""
    raw = json.loads(encode(member_document(channels=(), profile={"name": "Ada"})))
    assert raw == {
        "member_id": "m-1",
        "channel": {"type": "whatsapp", "identifier": "263771234567", "metadata": {}},
        "jwt_token": "token-0",
        "authenticated": True,
        "profile": {"name": "Ada"},
        "current_account": {},
        "flow_data": {},
        "_guest": False,
        "_version": 0,
        "_last_updated": "2026-11-22T09:15:02.123456+00:00",
    }


@pytest.mark.parametrize("data", [b"5", b"null", b'"x"', b"[]", b"true"])
def test_json_that_is_no_object(data: bytes):
    """JSON that is not an object is no document."""
    with pytest.raises(Unreadable, match="not an object"):
        decode(data)


@given(st.binary(max_size=60))
def test_reading_bytes_never_raises_anything_else(data: bytes):
    """Reading any bytes as a document raises `Unreadable` and no other error."""
    with pytest.raises(Unreadable):
        decode(data)


def test_a_field_that_is_unknown_is_refused():
    """A document with an unknown field, or without one of the seed, is refused."""
    raw = document_to_raw(member_document())
    with pytest.raises(Unreadable):
        document_from_raw(raw | {"extra": 1})
    with pytest.raises(Unreadable):
        document_from_raw({name: value for name, value in raw.items() if name != "channel"})


def test_an_instant_keeps_its_microseconds():
    """An instant keeps its microseconds, and a channel is read back equal."""
    assert decode(encode(member_document())).last_updated == START
    assert decode(encode(member_document())).channel == CHANNEL


offsets = st.integers(-86_399, 86_399).map(lambda seconds: dt.timezone(dt.timedelta(seconds=seconds)))


zones = st.none() | st.just(dt.UTC) | offsets | st.sampled_from(["Africa/Harare", "Europe/Paris"]).map(ZoneInfo)


@given(st.datetimes(timezones=zones), st.booleans(), st.booleans())
def test_an_instant_is_written_as_isoformat_writes_it(instant: dt.datetime, whole_second: bool, beside_big: bool):
    """An instant is written as `isoformat` writes it, in any time zone and by either encoder."""
    instant = instant.replace(microsecond=0) if whole_second else instant
    rest = [2**80] if beside_big else []
    document = attrs.evolve(member_document(), last_updated=instant, deadline=instant)
    before = member_document()
    keep_judged(before, document_to_raw(before), None)
    raw = rewrite(document, before)[0]
    assert loads(dumps_unstructured([raw["_last_updated"], raw["_deadline"], *rest]))[:2] == [instant.isoformat()] * 2
    assert dumps_unstructured(raw) == encode(document)


@given(
    documents(), documents(), st.sets(st.sampled_from([field.name for field in attrs.fields(Document) if field.init]))
)
def test_a_document_made_from_another_has_the_bytes_it_has_alone(one: Document, other: Document, changed: set[str]):
    """A document has the same bytes with and without the document that it was made from."""
    keep_judged(one, document_to_raw(one), None)
    after = attrs.evolve(one, **{name: getattr(other, name) for name in changed})
    assert dumps_unstructured(rewrite(after, one)[0]) == encode(after)
    keep_judged(after, rewrite(after, one)[0], None)
    again = attrs.evolve(after, version=after.version + 1)
    assert dumps_unstructured(rewrite(again, after)[0]) == encode(again)


def test_a_change_in_place_is_noticed_and_can_be_taken_back():
    """A change in place of the profile, the current account or the metadata is noticed and can be undone."""
    for name in ("profile", "current_account", "metadata"):
        channel = attrs.evolve(CHANNEL, metadata={"a": [1]})
        document = member_document(channel=channel, profile={"a": [1]}, current_account={"a": [1]})
        keep_judged(document, document_to_raw(document), None)
        assert is_intact(document)
        getattr(document.channel if name == "metadata" else document, name)["a"].append(2)
        assert not is_intact(document)
        whole = restored(document)
        assert whole.profile == whole.current_account == whole.channel.metadata == {"a": [1]}


def test_a_document_that_cannot_be_compared_is_never_called_intact():
    """A document whose mutable values cannot be compared is never intact, and nothing is restored."""
    document = member_document(profile={"n": 2**80})
    keep_judged(document, document_to_raw(document), None)
    assert not is_intact(document)
    assert restored(document) is document
