"""The cipher, its frame, and the key ring."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="needs the package cryptography")

from vimbiso_fsm.encryption import keys
from vimbiso_fsm.encryption.cipher import Changed, Cipher, place
from vimbiso_fsm.encryption.keys import KeyFile, KeyRing
from vimbiso_fsm.store.ciphertext import BROKEN, FRAME, closed, fault_of, frame_of, named_digest, without_key
from vimbiso_fsm.store.requests import long_digest

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
RING = KeyRing({"one": ONE})
names = st.text(max_size=12)


def opened(cipher: Cipher, where: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Decrypt what a cipher has written."""
    frame = frame_of(data)
    assert frame is not None
    return cipher.decrypt(where, frame)


@given(st.binary(max_size=200), st.binary(max_size=50), names, st.lists(names, max_size=3), st.integers(0, 10**9))
def test_what_is_encrypted_comes_back(hidden: bytes, readable: bytes, member: str, other: list[str], number: int):
    """Any bytes come back, and the same bytes are written each time."""
    cipher, where = Cipher(ONE, member), place("document", member, *other)
    data = cipher.encrypt(where, hidden, key=RING.current, number=number, readable=readable)
    assert opened(Cipher(ONE, member), where, data) == (readable, hidden)
    assert Cipher(ONE, member).encrypt(where, hidden, key=RING.current, number=number, readable=readable) == data
    frame = frame_of(data)
    assert frame is not None
    assert (frame.key, frame.number, frame.readable) == (RING.current, number, len(readable))
    assert len(hidden) < 8 or hidden not in frame.rest[len(readable) :]


@given(st.lists(names, min_size=1, max_size=3), st.lists(names, min_size=1, max_size=3))
def test_two_places_are_never_the_same_bytes(one: list[str], other: list[str]):
    """Names that are joined in another way name another place."""
    assert (place(*one) == place(*other)) == (one == other)


def test_data_is_bound_to_member_field_version_and_key():
    """Data of another member, kind, place or version, or under another key, is refused."""
    cipher, where = Cipher(ONE, "m-1"), place("document", "m-1")
    data = cipher.encrypt(where, b"hidden", key="one.0", number=7, readable=b"readable")
    frame = frame_of(data)
    assert frame is not None
    moved = [
        (Cipher(ONE, "m-2"), where, data),
        (cipher, place("document", "m-2"), data),
        (cipher, place("record", "m-1"), data),
        (cipher, place("document", "m-1", "t"), data),
        (Cipher(TWO, "m-1"), where, data),
        (cipher, where, cipher.encrypt(where, b"", key="one.0", number=8).split(b"\n")[0] + b"\n" + frame.rest),
        (cipher, where, data.replace(b"readable", b"readible")),
        (cipher, where, data[:-20]),
    ]
    for other, there, bytes_ in moved:
        with pytest.raises(Changed):
            opened(other, there, bytes_)


def test_each_flipped_bit_is_damage_and_never_a_missing_key():
    """No single bit of encrypted data can be flipped so that it is read, or taken for data under another key."""
    cipher, where = Cipher(ONE, "m-1"), place("document", "m-1")
    data = cipher.encrypt(where, b'{"pin":"4711"}', key=RING.current, number=3, readable=b'{"a":\0}', named="")
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        frame = frame_of(bytes(flipped))
        assert frame is None or frame.key == RING.current, bit
        if frame is None:
            assert closed(bytes(flipped)) is None
        else:
            with pytest.raises(Changed):
                cipher.decrypt(where, frame)


def test_the_golden_frame_is_read():
    """Data that was written when the form was settled is read, and the same bytes are written today."""
    written = (Path(__file__).parent / "golden.bin").read_bytes()
    cipher, where = Cipher(ONE, "m-1"), place("document", "m-1")
    assert opened(cipher, where, written) == (b'{"jwt_token":\0,"profile":\0}', b'"token"\0{"name":"Ada"}')
    again = cipher.encrypt(
        where,
        b'"token"\0{"name":"Ada"}',
        key=RING.current,
        number=12,
        readable=b'{"jwt_token":\0,"profile":\0}',
        named=long_digest(b"before"),
    )
    assert again == written
    assert named_digest(written) == long_digest(b"before")
    assert named_digest(b"plain") == long_digest(b"plain")


def test_notes_say_why_data_cannot_be_read():
    """Data whose key is missing is told from damaged data and from plain data."""
    data = Cipher(ONE, "m").encrypt(b"", b"x", key="k.1")
    assert "no such key" in fault_of(data)
    assert fault_of(without_key("k.1", "because")) == "it is encrypted with key 'k.1': because"
    assert "changed or moved" in fault_of(BROKEN)
    assert "changed or moved" in fault_of(FRAME + b"?")
    assert (fault_of(b"{}"), closed(b"{}"), closed(BROKEN)) == ("", None, None)


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_ring_is_read_from_words():
    """The first key is current, a comment is none, and the id tells keys of the same name apart."""
    ring = KeyRing.read(f"# keys\nnew:{TWO.hex()}\n  old:{ONE.hex().upper()}")
    assert [*ring.keys.items()] == [("new", TWO), ("old", ONE)]
    assert ring.current.startswith("new.")
    assert KeyRing({"new": ONE}).current != ring.current
    assert ONE.hex() not in repr(ring)
    assert "another key of the name 'new'" in ring.why_missing(KeyRing({"new": ONE}).current)
    assert ring.current in ring.why_missing("else.0")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no key"),
        (f"a:{ONE.hex()[2:]}", "word 1 .* is not NAME:HEX with 64 digits"),
        (f"a:{ONE.hex()} {ONE.hex()}", "word 2"),
        (f"a:{ONE.hex()} a:{TWO.hex()}", "two keys have the name 'a'"),
        (f"é:{ONE.hex()}", "give at most 40 letters"),
    ],
)
def test_a_ring_that_is_none_is_refused_without_quoting_a_key(text: str, says: str):
    """A text that holds no ring is refused with what is wrong and how a key is made; no key is quoted."""
    with pytest.raises(ValueError, match=says) as refused:
        KeyRing.read(text)
    assert ONE.hex()[2:] not in str(refused.value)
    with pytest.raises(ValueError, match="has 3 bytes"):
        KeyRing({"a": b"abc"})


def test_a_key_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A running process follows a changed file, and keeps the ring while the file is gone or holds none."""
    monkeypatch.setattr(keys, "LOOK_AGAIN", 0.0)
    path = tmp_path / "keys"
    with pytest.raises(OSError, match="keys"):
        KeyFile(path)
    path.write_text(f"one:{ONE.hex()}")
    ring = KeyFile(path)
    assert [*ring().keys] == ["one"]
    path.write_text(f"two:{TWO.hex()} one:{ONE.hex()}")
    assert [*ring().keys] == ["two", "one"]
    path.write_text("two:")
    assert [*ring().keys] == ["two", "one"]
    path.unlink()
    assert [*ring().keys] == ["two", "one"]
    other = tmp_path / "other"
    other.write_text(f"two:{TWO.hex()}")
    other.replace(path)
    assert [*ring().keys] == ["two"]
    monkeypatch.setattr(keys, "LOOK_AGAIN", 1e9)
    path.write_text(f"one:{ONE.hex()} two:{TWO.hex()}")
    assert [*ring().keys] == ["two"]
    assert [*ring.look().keys] == ["one", "two"]
