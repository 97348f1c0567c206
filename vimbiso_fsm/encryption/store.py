"""The stores that encrypt and decrypt around another store.

Nothing above the store knows of encryption, and the store below sees opaque bytes: rules 1 to 14 of
`store/requests.py` hold as they do without it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar, cast

from vimbiso_fsm.encryption.parts import SecretsOf
from vimbiso_fsm.encryption.procedures import CHANGED, Procedures
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.operations.effects import run, run_awaited
from vimbiso_fsm.store.requests import AsyncStore, DropKeys, Effect, KeepKey, ReadKeys, Request, Store

R = TypeVar("R")

_OF_KEYS = (ReadKeys, KeepKey, DropKeys)


def no_secrets(_: str) -> Collection[str]:
    """Return no names: of a store that is read only, or that encrypts as a whole."""
    return ()


class EncryptedStore:
    """A `Store` whose data is encrypted. It may be shared between threads.

    Attributes:
        inner: The store below, whose data is encrypted.
    """

    def __init__(
        self, store: Store, encryption: Encryption, secrets_of: SecretsOf = no_secrets, *, keys: Store | None = None
    ) -> None:
        """Encrypt and decrypt around a store.

        Args:
            store: The store, which keeps the data. The caller closes it.
            encryption: The settings.
            secrets_of: Returns the names of the secret fields of a flow; `Bot.secrets_of`.
            keys: The store that keeps the keys of the members' own. By default it is that of
                `Encryption(member_keys=…)`, which `close` closes if it was made from a URL.

        Raises:
            StoreUnavailable: The URL of the keys is malformed.
        """
        self.inner = store
        self._procedures = Procedures(encryption, secrets_of)
        self._keys, self._close = (keys or store), _nothing
        if keys is None and encryption.member_keys and isinstance(encryption.member_keys, str):
            from vimbiso_fsm.store.redis_atomic import AtomicStateManager

            opened = AtomicStateManager.from_url(encryption.member_keys, namespace=getattr(store, "namespace", ""))
            self._keys, self._close = opened, opened.close

    def perform(self, request: Effect[R], /) -> R:
        """Perform a request; its class documents the answer and the errors."""
        if type(request) not in CHANGED:
            return self.inner.perform(request)
        return cast(R, run(self._procedures.answer(request), self._perform))

    def close(self) -> None:
        """Close the store of the keys, if it was made from a URL."""
        self._close()

    def _perform(self, request: Request) -> object:
        store = self._keys if isinstance(request, _OF_KEYS) else self.inner
        answer: Any = store.perform(request)
        return answer


class AsyncEncryptedStore:
    """An `AsyncStore` whose data is encrypted; see `EncryptedStore`.

    Attributes:
        inner: The store below, whose data is encrypted.
    """

    def __init__(
        self,
        store: AsyncStore,
        encryption: Encryption,
        secrets_of: SecretsOf = no_secrets,
        *,
        keys: AsyncStore | None = None,
    ) -> None:
        """Encrypt and decrypt around a store; see `EncryptedStore`."""
        self.inner = store
        self._procedures = Procedures(encryption, secrets_of)
        self._keys, self._close = (keys or store), _nothing_awaited
        if keys is None and encryption.member_keys and isinstance(encryption.member_keys, str):
            from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

            namespace = getattr(store, "namespace", "")
            opened = AsyncAtomicStateManager.from_url(encryption.member_keys, namespace=namespace)
            self._keys, self._close = opened, opened.close

    async def perform(self, request: Effect[R], /) -> R:
        """Perform a request; its class documents the answer and the errors."""
        if type(request) not in CHANGED:
            return await self.inner.perform(request)
        return cast(R, await run_awaited(self._procedures.answer(request), self._perform))

    async def close(self) -> None:
        """Close the store of the keys, if it was made from a URL."""
        await self._close()

    async def _perform(self, request: Request) -> object:
        store = self._keys if isinstance(request, _OF_KEYS) else self.inner
        answer: Any = await store.perform(request)
        return answer


def _nothing() -> None:
    """Close nothing."""


async def _nothing_awaited() -> None:
    """Close nothing."""
