"""The key ring: the keys by id, of which one is current.

A key has 32 random bytes. Its id is its name and a check value of the key, as in "2026-11.0a1b2c3d4e5f6071", so another
key under the same name has another id: data that was encrypted with it is never taken for damaged.
"""

from __future__ import annotations

import hmac
import re
import threading
import time
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Final

import attrs

KEY_BYTES: Final = 32
"""Bytes of a key."""
LOOK_AGAIN: Final = 1.0
"""Seconds after which a key file is looked at again."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MAKE: Final = "make one with `python -c 'import secrets; print(\"NAME:\" + secrets.token_hex(32))'`"


def _checked(keys: Mapping[str, bytes]) -> dict[str, bytes]:
    if not keys:
        raise ValueError(f"the key ring has no key; {_MAKE}")
    for name, key in keys.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"a key has the name {name!r}; give at most 40 letters and digits of ASCII, '_' and '-'")
        if len(key) != KEY_BYTES:
            raise ValueError(f"key {name!r} has {len(key)} bytes, and a key has {KEY_BYTES}; {_MAKE}")
    return {**keys}


@attrs.frozen
class KeyRing:
    """The keys of a deployment, by name. The first one is current: what is stored is encrypted with it.

    Attributes:
        keys: The keys, of 32 bytes each, by name: letters and digits of ASCII, "_" and "-", at most 40.

    Raises:
        ValueError: A name or a key has another form, or there is none. No key is quoted.
    """

    keys: Mapping[str, bytes] = attrs.field(repr=False, converter=_checked)
    by_id: Mapping[str, bytes] = attrs.field(init=False, repr=False)
    current: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        ids = {f"{name}.{_check(key)}": key for name, key in self.keys.items()}
        object.__setattr__(self, "by_id", ids)
        object.__setattr__(self, "current", next(iter(ids)))

    @classmethod
    def read(cls, text: str) -> KeyRing:
        """Return the ring in a text of words `NAME:HEX`, the current key first; a line that begins with "#" is none.

        Raises:
            ValueError: A word has another form, or a name stands twice. No key is quoted.
        """
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        keys: dict[str, bytes] = {}
        for place, word in enumerate(" ".join(lines).split(), 1):
            name, colon, digits = word.partition(":")
            if not colon or not re.fullmatch(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", digits):
                raise ValueError(f"word {place} of the keys is not NAME:HEX with {2 * KEY_BYTES} digits; {_MAKE}")
            if name in keys:
                raise ValueError(f"two keys have the name {name!r}; give each key a name of its own")
            keys[name] = bytes.fromhex(digits)
        return cls(keys)

    def why_missing(self, key_id: str) -> str:
        """Return why a key is not in the ring, in words."""
        name, _, _ = key_id.partition(".")
        if name in self.keys:
            return f"the ring has another key of the name {name!r}; give the key that was used"
        return f"the ring has {', '.join(self.by_id)}; give the key that was used, after the current one"


class KeyFile:
    """The ring in a file, which is read again when the file has changed. Call it for the ring of the moment.

    A running process follows a change within `LOOK_AGAIN` seconds. A file that cannot be read later on, or holds no
    ring, changes nothing: the latest ring stays in use.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Read the file.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds no ring; see `KeyRing.read`.
        """
        self._path = Path(path)
        self._seen = self._mark()
        self._ring = KeyRing.read(self._path.read_text(encoding="utf-8"))
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self) -> KeyRing:
        """Return the ring of the moment."""
        if time.monotonic() - self._looked >= LOOK_AGAIN:
            self.look()
        return self._ring

    def look(self) -> KeyRing:
        """Look at the file now, and return the ring."""
        with self._lock:
            self._looked = time.monotonic()
            try:
                mark = self._mark()
                if mark != self._seen:
                    self._ring, self._seen = KeyRing.read(self._path.read_text(encoding="utf-8")), mark
            except (OSError, ValueError):  # it is being replaced; the next look finds it whole
                pass
            return self._ring

    def _mark(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino


def _check(key: bytes) -> str:
    """Return the check value of a key; it tells keys apart, and nothing else about them."""
    return hmac.digest(key, b"vimbiso check of a key", "sha256")[:8].hex()
