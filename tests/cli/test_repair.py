"""`vimbiso repair`: a record that a store keeps once is damaged, so that no manager starts."""

from __future__ import annotations

from typing import Any

import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.cli_runs import invoke
from tests.engines import Server
from tests.hostile.kit import ADA, message
from vimbiso_fsm import FlowStateManager, MissingSecret, StoreUnavailable
from vimbiso_fsm.errors import DamagedRecord, UnknownLayout
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.shared import damaged_records
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import ReadDigests
from vimbiso_fsm.testing.chat import STORE_SECRET

pytestmark = pytest.mark.embedded

CASES: list[tuple[str, bytes | None, str | None]] = [
    *(("owner", damage, None) for damage in (b"\xff{x", b'{"layout":2,"bot":null,"flows":[]}', None)),
    *(("shards", damage, None) for damage in (b"abc", b"1034", None)),
    *(("index", damage, secret) for damage in (b"2 random:zz", None) for secret in (STORE_SECRET, None)),
]
"""A record, its damage (None is a key of another type), and the secret of the deployment, if it has one."""


@pytest.fixture
def server(valkey_server: Server, valkey_url: str) -> Server:
    """An empty server."""
    assert valkey_server.url == valkey_url
    return valkey_server


def opened(server: Server, secret: str | None) -> FlowStateManager:
    """Open a manager; without a secret, the store keeps a random key."""
    services = {"credex_core": SimulatedCredexCore()}
    return FlowStateManager.from_url(server.url, flows.bot, services=services, secret=secret)


def spoil(server: Server, name: str, damage: bytes | None) -> None:
    """Damage a record."""
    client: Any
    with server.client() as client:
        assert client.delete(f"vimbiso:{name}") == 1
        client.rpush(f"vimbiso:{name}", "x") if damage is None else client.set(f"vimbiso:{name}", damage)


def with_flipped(record: bytes, bit: int) -> bytes:
    """Return a record in which a bit is flipped."""
    flipped = bytearray(record)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def refused(server: Server, secret: str | None) -> StoreUnavailable:
    """Start a manager, which is refused, and return the error."""
    with opened(server, secret) as manager, pytest.raises(StoreUnavailable) as error:
        manager.start()
    return error.value


def command(name: str, server: Server, *words: str) -> tuple[int, str, str]:
    """Run a command on the store."""
    where = ("--redis", server.url)
    return invoke(name, *where, *words)


@pytest.mark.parametrize(("name", "damage", "secret"), CASES)
def test_a_damaged_record_is_named_and_put_aside(
    name: str, damage: bytes | None, secret: str | None, server: Server, monkeypatch: pytest.MonkeyPatch
):
    """A start names the record and the way out, the doctor too; after the repair the member is found again."""
    if secret is not None:
        monkeypatch.setenv("VIMBISO_SECRET", secret)
    with opened(server, secret) as manager:
        member = manager.handle(message("hi", number=ADA)).state.member_id
    assert "cannot be read" not in command("doctor", server)[1]
    assert command("repair", server)[:2] == (0, "all records can be read\n")
    spoil(server, name, damage)
    error = refused(server, secret)
    assert "vimbiso repair" in str(error) or damage == b"1034"
    assert not isinstance(error, DamagedRecord) or error.record == name
    code, out, _ = command("doctor", server)
    assert (code, f"refused: the record {name!r} of the store cannot be read" in out) == (1, True)
    code, out, _ = command("repair", server)
    assert (code, out.startswith(f"{name}: put aside; ")) == (0, True)
    assert command("repair", server)[1] == "all records can be read\n"
    with opened(server, secret) as manager:
        manager.start()
        assert [incident.detail for incident in manager.incidents() if incident.kind == "damage"] == [{"key": name}]
    if name == "index" and secret is None:
        code, out, _ = command("index", server, "--flows", "flows", "--restore")
        assert (code, "entries restored 1" in out) == (0, True)
    with opened(server, secret) as manager:
        assert manager.handle(message("hi", number=ADA)).state.member_id == member


def test_no_bit_of_a_random_key_flips_unnoticed(server: Server):
    """A flipped bit in the record of a random key is damage; otherwise every member would begin as a stranger.

    So is one in the instant at which tokens ceased to be made in another way.
    """
    with opened(server, None) as manager:
        manager.start()
    client: Any
    with server.client() as client:
        client.set("vimbiso:index", b"2 " + client.get("vimbiso:index").partition(b" ")[2])
    with server.client() as client, AtomicStateManager.from_url(server.url) as store:
        store.perform(ReadDigests())
        record = client.get("vimbiso:index")
        assert b" tokens@" in record
        for bit in range(8 * len(record)):
            client.set("vimbiso:index", with_flipped(record, bit))
            assert run(damaged_records(), store.perform).keys() == {"index"}, bit
        client.set("vimbiso:index", record)
        assert run(damaged_records(), store.perform) == {}


def test_a_record_that_can_be_read_is_put_aside_when_it_is_named(server: Server, monkeypatch: pytest.MonkeyPatch):
    """The check value of a secret may be damaged, too: the record is made again of the secret that is given."""
    with opened(server, STORE_SECRET) as manager:
        member = manager.handle(message("hi", number=ADA)).state.member_id
    client: Any
    with server.client() as client:
        check = client.get("vimbiso:index").decode()[-1]
        client.set("vimbiso:index", client.get("vimbiso:index").decode()[:-1] + ("0" if check != "0" else "1"))
    assert isinstance(refused(server, STORE_SECRET), MissingSecret)
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)
    assert command("repair", server, "--aside", "index")[:2][0] == 0
    with opened(server, STORE_SECRET) as manager:
        assert manager.handle(message("hi", number=ADA)).state.member_id == member


def test_an_unknown_record_is_wrong_usage(server: Server):
    """The records are named before the server is asked."""
    code, _, err = command("repair", server, "--aside", "members")
    assert code == 2
    assert "owner, shards, index" in " ".join(err.replace("│", " ").split())


def test_an_owner_that_cannot_be_read_names_the_way_out():
    """The error of a record without a layout names the command that puts it aside."""
    assert "vimbiso repair" in str(UnknownLayout(0, 2))
