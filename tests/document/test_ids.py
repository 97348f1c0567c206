"""Tests of `vimbiso_fsm.document.ids`."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm.document.ids import hashed

PARTS: Final = st.lists(st.text(), min_size=1, max_size=3)


@given(PARTS, st.binary(min_size=1, max_size=64))
def test_a_keyed_hash_can_be_read_out(parts: list[str], key: bytes):
    """A keyed hash has twenty small letters and digits, so that no reader has to tell a capital from a small letter."""
    assert re.fullmatch("[a-z2-7]{20}", hashed(*parts, key=key))


@given(PARTS, st.binary(min_size=1, max_size=64))
def test_a_keyed_hash_keeps_five_bits_of_each_six(parts: list[str], key: bytes):
    """Each character says the lower five of six bits of the keyed hash: none says less, together 100 bits."""
    words = "\0".join(f"{len(part)}:{part}" for part in parts).encode()
    bits = "".join(f"{byte:08b}" for byte in hashlib.blake2b(words, digest_size=15, key=key).digest())
    places = [int(bits[first + 1 : first + 6], 2) for first in range(0, 120, 6)]
    assert hashed(*parts, key=key) == "".join("abcdefghijklmnopqrstuvwxyz234567"[place] for place in places)


@given(PARTS)
def test_a_hash_without_a_key_is_that_of_earlier_releases(parts: list[str]):
    """A hash without a key has 32 hexadecimal digits, as the tokens of earlier releases that are looked for."""
    assert re.fullmatch("[0-9a-f]{32}", hashed(*parts))
