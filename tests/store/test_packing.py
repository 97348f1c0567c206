"""Packed bodies come back as they went, and damage of one is noticed."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engines import Server
from vimbiso_fsm.store import script
from vimbiso_fsm.store.ciphertext import FRAME
from vimbiso_fsm.store.packing import BEGINNINGS, PACKED, all_packed, pack, unpack
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Committed, Entry, Load, ReadRecords, Rewrite, Stored, digest
from vimbiso_fsm.store.retention import MAX_DOCUMENT


@example(FRAME)
@given(st.binary(max_size=2_000))
def test_a_packed_body_comes_back_byte_for_byte(body: bytes):
    """Any body survives, also an empty one, one that looks packed, and an encrypted one, which is not packed."""
    packed = pack(body)
    assert packed == body if body.startswith(FRAME) else packed[:1] == PACKED
    assert packed in all_packed(body)
    assert [unpack(each) for each in all_packed(body)] == [body, body]


@given(st.dictionaries(st.text(), st.text()), st.binary())
def test_a_body_that_is_not_packed_is_left_alone(body: dict[str, str], other: bytes):
    """JSON and any bytes with another beginning are returned as they are."""
    data = json.dumps(body).encode()
    assert unpack(data) == data
    if other[:1] not in BEGINNINGS:
        assert unpack(other) == other


def test_each_flipped_bit_of_a_packed_body_is_noticed():
    """A packed body with one flipped bit is not read as another object: what comes back is no JSON."""
    body = b'{"member_id":"guest-1","flow_data":{"step":"welcome","amount":"10.00"},"_version":2}'
    for packed in all_packed(body):
        for bit in range(8 * len(packed)):
            damaged = bytearray(packed)
            damaged[bit // 8] ^= 1 << bit % 8
            found = unpack(bytes(damaged))
            assert found == bytes(damaged) or found == body


def test_what_an_earlier_release_has_packed_is_read():
    """A body with the mark of an earlier release is read with its words."""
    packed = bytes.fromhex("0178f97937f657abc6122186e8e9189a7ecb5373c095472d72e967540b000a0416e3")
    assert unpack(packed) == b'{"member_id":"guest-1","flow_data":{"step":"welcome"},"_version":2}'


def test_what_an_earlier_release_has_packed_is_rewritten(server: Server, monkeypatch: pytest.MonkeyPatch):
    """The document and the record of a stranger are replaced by others, in whichever form they were packed."""
    for form in (0, 1):
        member, body = f"m{form}", b"entry"
        with AtomicStateManager.from_url(server.url) as store, monkeypatch.context() as patch:
            patch.setattr(script, "pack", lambda body, form=form: all_packed(body)[form])
            entry = Entry(1, digest(body), body)
            made = Commit(member, NO_HEAD, "t", "t", "", b'{"n":1}', entry, b'{"r":1}', forgets=True, stranger=True)
            assert isinstance(store.perform(made), Committed)
        with AtomicStateManager.from_url(server.url) as store:
            [record] = store.perform(ReadRecords(member))
            other = attrs.evolve(record, body=b'{"r":2}')
            rewrite = Rewrite(member, (b'{"n":1}', b'{"n":2}'), records=((record, other),))
            assert store.perform(rewrite) == 2
            stored = store.perform(Load(member))
            assert isinstance(stored, Stored)
            assert (stored.document, store.perform(ReadRecords(member))) == (b'{"n":2}', (other,))


def test_a_packed_body_cannot_unfold_beyond_a_document():
    """A small body that would unfold to more than a document may have is damaged."""
    bomb = pack(b" " * (MAX_DOCUMENT + 1))
    assert len(bomb) < 1_000
    assert unpack(bomb) == bomb
