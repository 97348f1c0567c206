"""The cipher of one key for one member: AES-GCM with derived nonces. The only import of `cryptography`.

The keys of a ring are not used as they are. A key is derived from them for each member, so the number of values under
one key is that of one member's turns, and another key for the nonces. A nonce is the HMAC of the plaintext and of all
that it is bound to: the same data at the same place is always the same bytes, without a source of randomness, and two
different values share a nonce no more often than random ones would. Equal bytes tell nothing: the place names the
member and the version.
"""

from __future__ import annotations

import hmac
import importlib.util
from typing import Final

from vimbiso_fsm.store.ciphertext import Frame, line_of

NONCE_BYTES: Final = 12
"""Bytes of a nonce, as AES-GCM takes them."""


class Changed(Exception):
    """The data was changed, or it is of another place."""


def place(kind: str, *names: str) -> bytes:
    """Return what a value is bound to: its kind, the member and further names, each with its length."""
    found = b""
    for name in (kind, *names):
        raw = name.encode("utf-8", "surrogatepass")
        found += b"%d:%b" % (len(raw), raw)
    return found


def require_package() -> None:
    """Check that the package `cryptography` is installed.

    Raises:
        ModuleNotFoundError: It is not.
    """
    if importlib.util.find_spec("cryptography") is None:
        raise ModuleNotFoundError(
            "encryption needs the package cryptography; install it with: pip install 'vimbiso_fsm[encryption]'",
            name="cryptography",
        )


class Cipher:
    """Encrypts and decrypts with one key."""

    __slots__ = ("_aes", "_damaged", "_nonces")

    def __init__(self, key: bytes, member_id: str) -> None:
        """Derive the keys of a member.

        Args:
            key: The key, of 32 bytes.
            member_id: The member.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        member = place("member", member_id)
        self._aes = AESGCM(hmac.digest(key, b"vimbiso data " + member, "sha256"))
        self._nonces = hmac.digest(key, b"vimbiso nonces " + member, "sha256")
        self._damaged = InvalidTag, ValueError  # ValueError: it is shorter than its tag

    def encrypt(
        self, where: bytes, hidden: bytes, *, key: str, number: int = 0, readable: bytes = b"", named: str = ""
    ) -> bytes:
        """Return encrypted data with its frame.

        Args:
            where: What it is bound to, as `place` returns it.
            hidden: The plaintext.
            key: The id of the key.
            number: The version of a document.
            readable: A part that is authenticated and stays readable.
            named: The digest by which the audit names the document, if it is not that of the result.
        """
        bound = b"%b\0%d %b\0%d %b\0" % (where, number, named.encode(), len(readable), readable)
        nonce = hmac.digest(self._nonces, bound + hidden, "sha256")[:NONCE_BYTES]
        line = line_of(key, number, len(readable), named, nonce)
        encrypted: bytes = self._aes.encrypt(nonce, hidden, where + line + readable)
        return line + readable + encrypted

    def decrypt(self, where: bytes, frame: Frame) -> tuple[bytes, bytes]:
        """Return the readable part of encrypted data, and the plaintext of the rest.

        Raises:
            Changed: The data was changed, or it is bound to another place.
        """
        readable, encrypted = frame.rest[: frame.readable], frame.rest[frame.readable :]
        try:
            hidden: bytes = self._aes.decrypt(frame.nonce, encrypted, where + frame.line + readable)
        except self._damaged as error:
            raise Changed from error
        return readable, hidden
