"""The settings of encryption, as an embedder gives them to a manager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

import attrs

from vimbiso_fsm.encryption.keys import KeyFile, KeyRing

Scope: TypeAlias = Literal["whole", "fields", "plain"]
"""The part of a document and of a turn record that is encrypted."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


@attrs.frozen
class Encryption:
    """How what is stored of members is encrypted.

    Attributes:
        keys: The key ring, a `KeyFile`, or any function that returns the ring of the moment. It is asked at each
            commit, and again when data names a key that is not in the ring.
        scope: "whole" encrypts documents and turn records as a whole. "fields" encrypts the profile, the account, the
            login token, the fields that are marked `SECRET` and whatever can quote them. "plain" reads what is
            encrypted and writes it plain, which is the way back.
        member_keys: Whether each member has a key of their own, which is dropped with the member. True keeps these keys
            in the store, a URL in another one, so that no copy of the store has them.

    Raises:
        ValueError: The scope is unknown.
        TypeError: `keys` is neither a ring nor a function.
    """

    keys: KeyRing | Callable[[], KeyRing] = attrs.field(repr=False)
    scope: Scope = "whole"
    member_keys: bool | str = attrs.field(default=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise ValueError(f"scope={self.scope!r}: give one of {', '.join(map(repr, SCOPES))}")
        if not isinstance(self.keys, KeyRing) and not callable(self.keys):
            raise TypeError(f"keys= is a {type(self.keys).__name__}; give a KeyRing, a KeyFile or a function")

    def ring(self) -> KeyRing:
        """Return the ring of the moment."""
        return self.keys if isinstance(self.keys, KeyRing) else self.keys()

    def latest_ring(self) -> KeyRing:
        """Return the ring after a look at its file, if it has one."""
        return self.keys.look() if isinstance(self.keys, KeyFile) else self.ring()
