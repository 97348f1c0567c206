"""An encrypted store on a cluster and under Sentinels: the laws hold, and the keys rotate."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.bots import fruit_bot
from tests.deployments import cluster, watched
from tests.engines import valkey_program
from vimbiso_fsm import Channel, Encryption, FlowStateManager, KeyRing, Message
from vimbiso_fsm.encryption.procedures import Reencrypt
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Load, Stored

pytestmark = pytest.mark.embedded

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
OLD, BOTH, NEW = KeyRing({"one": ONE}), KeyRing({"two": TWO, "one": ONE}), KeyRing({"two": TWO})
DEPLOYMENTS: dict[str, Callable[[str], AbstractContextManager[Any]]] = {"cluster": cluster, "sentinel": watched}


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def url(request: pytest.FixtureRequest) -> Generator[str]:
    """The URL of several servers."""
    with DEPLOYMENTS[request.param](valkey_program()) as servers:
        yield servers.url


def test_keys_rotate_on_several_servers(url: str):
    """Members of many slots go on under a new key, are encrypted again, and need the old key no more."""
    people = [Channel("whatsapp", f"26377100{place:04}") for place in range(6)]

    def talk(ring: KeyRing, text: str) -> list[str]:
        with FlowStateManager.from_url(url, fruit_bot(), encryption=Encryption(ring), rates=None) as manager:
            ids = [manager.handle(Message(channel, text, text)).state.member_id for channel in people]
            if ring is BOTH:
                assert sum(manager.ask(Reencrypt(member_id)).rewritten for member_id in ids) > 0
            return ids

    ids = talk(OLD, "hi")
    assert talk(BOTH, "buy") == ids
    assert talk(NEW, "apple") == ids
    with AtomicStateManager.from_url(url) as plain:
        for member_id in ids:
            stored = plain.perform(Load(member_id))
            assert isinstance(stored, Stored)
            assert stored.document is not None
            assert b"whatsapp" not in stored.document
