"""Damage beside encrypted data: what the check finds, what the audit proves, and what needs the key."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.encryption.test_managers import BOT, BOTH, ENCRYPTED, NAME, NEW, OLD, PIN, dump, on, said, state_of, talk
from tests.engines import Server
from vimbiso_fsm import EncryptedState, Encryption, FlowStateManager
from vimbiso_fsm.encryption import procedures
from vimbiso_fsm.encryption.procedures import Reencrypt
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Broken, Load, ReadKeys
from vimbiso_fsm.testing.chat import STORE_SECRET


def _flip(client: Any, field: str) -> bytes:
    """Flip a bit of a field of the state of the member, and return the name of the key."""
    [name] = client.scan_iter("*:member:m-1:state")
    value = client.hget(name, field)
    client.hset(name, field, value[:-1] + bytes([value[-1] ^ 1]))
    return bytes(name)


@pytest.mark.parametrize("field", ["v", "h", "c"])
@pytest.mark.parametrize("again", [False, True], ids=["as committed", "encrypted again"])
@pytest.mark.parametrize("scope", ENCRYPTED)
def test_only_the_head_beside_an_encrypted_document_is_damaged(scope: Any, again: bool, field: str, server: Server):
    """An encrypted document that the audit names stays as it was, also if it was encrypted again since its commit."""
    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store, server.client() as client:
        manager = on(store, Encryption(OLD, scope))
        talk(manager)
        if again:
            manager = on(store, Encryption(BOTH, scope))
            manager.ask(Reencrypt("m-1"))
        before = manager.state("m-1")
        assert before is not None
        _flip(client, field)
        assert isinstance(store.perform(Load("m-1")), Broken)
        outcome = manager.handle(said(99, f"row {PIN} 1"))
        assert (outcome.status, outcome.state.version) == ("advanced", before.version + 3)
        recovery = next(entry for entry in manager.history("m-1") if entry.kind == "recovery")
        assert (recovery.detail["from"], recovery.detail["lost"]) == ("document", ["head"])


@pytest.mark.parametrize("scope", ENCRYPTED)
def test_a_damaged_head_beside_a_document_without_its_key(scope: Any, server: Server):
    """Where only the key could tell what a document says, damage to its head is no reason to do without it."""
    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store, server.client() as client:
        talk(on(store, Encryption(OLD, scope)))
        state = _flip(client, "h")
        client.hdel(state, *(name for name in client.hkeys(state) if name[:1] in (b"p", b"r", b"q")))
        kept = client.dump(state)
        other = on(store, Encryption(NEW, scope))
        for operation in (lambda: other.recover("m-1"), lambda: other.handle(said(99, "again"))):
            with pytest.raises(EncryptedState):
                operation()
            assert client.dump(state) == kept
        assert on(store, Encryption(BOTH, scope)).recover("m-1").source == "document"


def _flipped(value: bytes, bit: int) -> bytes:
    place, mask = bit // 8, 1 << bit % 8
    return value[:place] + bytes([value[place] ^ mask]) + value[place + 1 :]


@pytest.mark.parametrize("turned", [False, True], ids=["as kept", "rotated"])
def test_a_key_of_the_members_own_in_which_a_bit_has_flipped(turned: bool, server: Server):
    """A flipped bit of a member's own key, or of its name, loses nothing; the key is dropped with the member."""
    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store, server.client() as client:
        settings = Encryption(OLD, member_keys=True)
        talk(on(store, settings))
        if turned:
            settings = Encryption(BOTH, member_keys=True)
            on(store, settings).ask(Reencrypt("m-1"))
        [keys] = client.scan_iter("*:member:m-1:keys")
        kept: Any = client.hgetall(keys)  # its type is that of an async client as well
        [(name, value)] = kept.items()
        flips = [(_flipped(name, bit), value) for bit in range(0, 8 * len(name), 11)]
        flips += [(name, _flipped(value, bit)) for bit in range(0, 8 * len(value), 101)]
        for flip in flips:
            client.delete(keys)
            client.hset(keys, *flip)
            document = on(store, settings).state("m-1")
            assert document is not None
            assert document.profile["name"] == NAME
        for flip in flips[:: len(flips) // 5]:
            client.delete(keys)
            client.hset(keys, *flip)
            on(store, settings).ask(Reencrypt("m-1"))
            assert on(store, settings).state("m-1") is not None
        on(store, settings).erase("m-1")
        assert store.perform(ReadKeys("m-1")) == ()


@pytest.mark.parametrize("cache", [0, 100])
def test_a_process_that_runs_on_forgets_a_key_that_another_one_drops(
    cache: int, server: Server, monkeypatch: pytest.MonkeyPatch
):
    """Nothing of an erased member is read or stored from a restored copy, also by a process that knew the key."""
    monkeypatch.setattr(procedures, "OWN_KNOWN", 0.0)  # its time is over at once
    encryption = Encryption(OLD, member_keys=f"{server.url}?db=1")
    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store, server.client() as client:
        runs = FlowStateManager(BOT, store, encryption=encryption, cache=cache)
        talk(runs)
        copied, before = dump(client), state_of(store)
        with on(store, encryption) as other:
            other.erase("m-1")
        client.flushdb()
        for key, data in copied.items():
            client.restore(key, 0, data)
        for text in ("again", f"row {PIN} 1"):
            with pytest.raises(EncryptedState, match="wiped or erased since"):
                runs.handle(said(99, text))
        assert (state_of(store).head, state_of(store).document) == (before.head, before.document)
        runs.close()
