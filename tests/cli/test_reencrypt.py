"""The commands at a store that is encrypted: keys come from the environment, and `reencrypt` rotates them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.bots import fruit_bot
from tests.cli_runs import invoke
from tests.engines import Server
from vimbiso_fsm import Channel, Encryption, FlowStateManager, KeyRing, Message
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Load, Stored

ONE, TWO = f"one:{bytes(range(32)).hex()}", f"two:{bytes(range(32, 64)).hex()}"
OLD, NEW = KeyRing.read(ONE), KeyRing.read(TWO)
FLOWS = ("--flows", "fruits_to_encrypt")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fruits_to_encrypt")
    module.bot = fruit_bot()  # type: ignore[attr-defined]  # a package that exports one
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("VIMBISO_KEYS", "VIMBISO_ENCRYPTION", "VIMBISO_MEMBER_KEYS"):
        monkeypatch.delenv(name, raising=False)


def filled(url: str, encryption: Encryption | None, number: str = "263771234567", *texts: str) -> str:
    """Let a guest say something, "hi" first, and return the guest's id."""
    with FlowStateManager.from_url(url, fruit_bot(), encryption=encryption) as manager:
        channel = Channel("whatsapp", number)
        member_id = manager.handle(Message(channel, "m1", "hi")).state.member_id
        for place, text in enumerate(texts, 2):
            manager.handle(Message(channel, f"m{place}", text))
    return member_id


def document(url: str, member_id: str) -> bytes:
    """Return the document as it is stored."""
    with AtomicStateManager.from_url(url) as store:
        stored = store.perform(Load(member_id))
    assert isinstance(stored, Stored)
    return stored.document or b""


def test_a_member_is_read_with_the_keys_of_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Commands read what is encrypted with the ring in the environment or in a file, and say which key is missing."""
    member_id = filled(server.url, Encryption(OLD, "fields"))
    state = ("state", member_id, "--redis", server.url, *FLOWS)
    for given, fault in ((None, "was given no such key"), (TWO, "give the key that was used")):
        if given:
            monkeypatch.setenv("VIMBISO_KEYS", given)
        code, out, err = invoke(*state)
        assert (code, out) == (1, "")
        assert OLD.current in err
        assert fault in err
        code, out, err = invoke("state", member_id, "--redis", server.url, *FLOWS, "--at", "1")
        assert (code, out) == (1, "")
        assert OLD.current in err
    path = tmp_path / "keys"
    path.write_text(f"{TWO}\n{ONE}\n")
    for given in (ONE, f"@{path}"):
        monkeypatch.setenv("VIMBISO_KEYS", given)
        code, out, _ = invoke(*state)
        assert (code, json.loads(out)["member_id"]) == (0, member_id)
    assert invoke("audit", "verify", "--all", "--redis", server.url)[0] == 0
    monkeypatch.delenv("VIMBISO_KEYS")
    assert invoke("audit", "verify", "--all", "--redis", server.url)[0] == 0, "the audit needs no key"


def test_keys_are_rotated_by_the_command(server: Server, monkeypatch: pytest.MonkeyPatch):
    """The command reports what it finds, encrypts all with the current key, and a repeat finds nothing to do."""
    old, plain = filled(server.url, Encryption(OLD)), filled(server.url, None, "263771234568")
    command = ("reencrypt", "--redis", server.url, *FLOWS)
    monkeypatch.setenv("VIMBISO_KEYS", TWO)
    code, out, _ = invoke(*command)
    assert code == 1, "a key is missing"
    assert document(server.url, old).split()[1] == OLD.current.encode()
    assert document(server.url, plain).split()[1] == NEW.current.encode()
    monkeypatch.setenv("VIMBISO_KEYS", f"{TWO} {ONE}")
    code, out, _ = invoke("doctor", "--redis", server.url)
    assert f"{OLD.current} is in use beside the current key {NEW.current}; remedy: vimbiso reencrypt" in out
    code, out, _ = invoke(*command, "--dry-run")
    assert (code, "nothing was changed" in out) == (0, True)
    assert OLD.current in out
    code, out, _ = invoke(*command)
    assert (code, "encrypted again: 2" in out) == (0, True)
    assert document(server.url, old).split()[1] == NEW.current.encode()
    code, out, _ = invoke(*command)
    assert (code, "encrypted again: 0" in out) == (0, True)
    assert OLD.current not in out
    code, out, _ = invoke("doctor", "--redis", server.url)
    assert f"looked at 2 of 2 members; parts by key: {NEW.current} 4" in out
    assert "is in use beside" not in out


def test_the_doctor_says_what_is_plain_or_closed(server: Server, monkeypatch: pytest.MonkeyPatch):
    """With a ring the doctor names plain parts and keys that were not given; an empty server is left empty."""
    monkeypatch.setenv("VIMBISO_KEYS", TWO)
    assert "encryption" not in invoke("doctor", "--redis", server.url)[1]
    with server.client() as client:
        assert client.dbsize() == 0
    filled(server.url, None)
    filled(server.url, Encryption(OLD), "263771234568")
    _, out, _ = invoke("doctor", "--redis", server.url)
    assert "2 parts are plain; remedy: vimbiso reencrypt" in out
    assert f"2 parts are encrypted with {OLD.current}, which was not given" in out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no key ring is given"),
        ({"VIMBISO_ENCRYPTION": "whole"}, "VIMBISO_ENCRYPTION is set without VIMBISO_KEYS"),
        ({"VIMBISO_KEYS": "one"}, "word 1 of the keys is not NAME:HEX"),
        ({"VIMBISO_KEYS": "@/no/such/file"}, "the file cannot be read: No such file"),
        ({"VIMBISO_KEYS": ONE, "VIMBISO_ENCRYPTION": "all"}, "give one of 'whole', 'fields', 'plain'"),
        ({"VIMBISO_KEYS": ONE, "VIMBISO_MEMBER_KEYS": "http://x"}, "VIMBISO_MEMBER_KEYS"),
    ],
)
def test_wrong_settings_end_the_command(
    given: dict[str, str], says: str, server: Server, monkeypatch: pytest.MonkeyPatch
):
    """Each setting that is none ends the command with a line that names it and quotes no key."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    code, out, err = invoke("reencrypt", "--redis", server.url, *FLOWS)
    assert (code, out) == (1, "")
    assert says in err
    assert ONE[4:] not in err


def test_own_keys_are_kept_where_the_environment_says(server: Server, monkeypatch: pytest.MonkeyPatch):
    """With the keys of members elsewhere, an erasure by the command drops them there."""
    monkeypatch.setenv("VIMBISO_KEYS", ONE)
    monkeypatch.setenv("VIMBISO_MEMBER_KEYS", f"{server.url}?db=1")
    owner = Encryption(OLD, member_keys=f"{server.url}?db=1")
    member_id = filled(server.url, owner, "263771234567", "order fruit")  # a stranger has no key
    with AtomicStateManager.from_url(f"{server.url}?db=1") as keys, keys.servers.client as client:
        assert any(client.scan_iter("*:keys"))
        code, out, _ = invoke("reencrypt", "--redis", server.url, *FLOWS)
        assert (code, "members' own keys" in out) == (0, True)
        assert invoke("erase", member_id, "--redis", server.url, *FLOWS)[0] == 0
        assert not any(client.scan_iter("*:keys"))
