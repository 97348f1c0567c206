"""The encrypting stores obey every rule of a store, and nothing secret reaches the store below."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.engines import Server
from vimbiso_fsm.encryption.keys import KeyRing
from vimbiso_fsm.encryption.settings import Encryption, Scope
from vimbiso_fsm.encryption.store import AsyncEncryptedStore, EncryptedStore
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import Store
from vimbiso_fsm.testing.store_agreement import check_agreement
from vimbiso_fsm.testing.store_contract import LAWS, Law, waiting

RING = KeyRing({"one": bytes(range(32))})
SETTINGS: dict[str, Encryption] = {
    f"{scope}{'-own' if own else ''}": Encryption(RING, scope, own)
    for scope in Scope.__args__  # type: ignore[attr-defined]  # a Literal
    for own in (False, True)
}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
class TestLaws:
    @pytest.mark.parametrize("settings", SETTINGS)
    def test_in_memory(self, law: Law, settings: str):
        """Every rule holds around a store in memory."""
        law(EncryptedStore(MemoryStore(time.time), SETTINGS[settings]))

    def test_awaited(self, law: Law):
        """Every rule holds for the async store."""
        settings = SETTINGS["fields-own"]
        with waiting(lambda: AsyncEncryptedStore(AsyncMemoryStore(MemoryStore(time.time)), settings)) as store:
            law(store)

    @pytest.mark.parametrize("settings", ["whole", "fields-own"])
    def test_on_an_engine(self, law: Law, settings: str, server: Server):
        """Every rule holds around a store on a server."""
        with around(server.url, SETTINGS[settings]) as store:
            law(store)


@contextmanager
def around(url: str, encryption: Encryption) -> Generator[Store]:
    """Open an encrypted store on a server."""
    with AtomicStateManager.from_url(url) as store:
        yield EncryptedStore(store, encryption)


@contextmanager
def around_async(url: str, encryption: Encryption) -> Generator[Store]:
    """Open an async encrypted store on a server, driven as a sync one."""
    with waiting(lambda: AsyncEncryptedStore(AsyncAtomicStateManager.from_url(url), encryption)) as store:
        yield store


@pytest.mark.parametrize("settings", SETTINGS)
def test_it_agrees_with_the_model(settings: str):
    """Encrypted stores answer generated programs as the plain store in memory does."""
    check_agreement(lambda: EncryptedStore(MemoryStore(time.time), SETTINGS[settings]))


@pytest.mark.parametrize("settings", ["whole", "whole-own"])
def test_an_engine_agrees_with_the_model(settings: str, server: Server):
    """The same around a store on a server, sync and async."""
    check_agreement(lambda: around(server.url, SETTINGS[settings]), examples=20)
    check_agreement(lambda: around_async(server.url, SETTINGS[settings]), examples=20)
