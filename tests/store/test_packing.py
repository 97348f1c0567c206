"""Packed bodies come back as they went, and damage of one is noticed."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm.store.packing import PACKED, pack, unpack
from vimbiso_fsm.store.retention import MAX_DOCUMENT


@given(st.binary(max_size=2_000))
def test_a_packed_body_comes_back_byte_for_byte(body: bytes):
    """Any body survives, also an empty one and one that looks packed."""
    packed = pack(body)
    assert packed[:1] == PACKED
    assert unpack(packed) == body


@given(st.dictionaries(st.text(), st.text()), st.binary())
def test_a_body_that_is_not_packed_is_left_alone(body: dict[str, str], other: bytes):
    """JSON and any bytes with another beginning are returned as they are."""
    data = json.dumps(body).encode()
    assert unpack(data) == data
    if other[:1] != PACKED:
        assert unpack(other) == other


def test_each_flipped_bit_of_a_packed_body_is_noticed():
    """A packed body with one flipped bit is not read as another object: what comes back is no JSON."""
    body = b'{"member_id":"guest-1","flow_data":{"step":"welcome","amount":"10.00"},"_version":2}'
    packed = pack(body)
    for bit in range(8, 8 * len(packed)):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        found = unpack(bytes(damaged))
        assert found == bytes(damaged) or found == body


def test_a_packed_body_cannot_unfold_beyond_a_document():
    """A small body that would unfold to more than a document may have is damaged."""
    bomb = pack(b" " * (MAX_DOCUMENT + 1))
    assert len(bomb) < 1_000
    assert unpack(bomb) == bomb
