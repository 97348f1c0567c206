"""Workers that are killed while the keys of a store rotate: those of its data, and the secrets of names and tokens."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.digests import token_of
from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.checker import check
from tests.faults.members import Person
from tests.faults.mutants import mutated
from tests.faults.records import Folder, LedgerTill
from tests.faults.replies import people_for
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import crews, working
from vimbiso_fsm.encryption.keys import KeyFile
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Scan
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__: list[str] = []


class _Ring:
    """The file of the key ring. A file is replaced as a whole, as a vault does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: list[str] = []
        self.rotate()

    def rotate(self) -> None:
        """Add a key, first behind the current one, then before it."""
        key = f"key-{len(self._keys)}:{secrets.token_hex(32)}"
        if self._keys:
            self._write([*self._keys, key])
        self._keys.insert(0, key)
        self._write(self._keys)

    def drop_old(self) -> None:
        """Leave the current key alone."""
        self._write(self._keys[:1])

    def _write(self, keys: list[str]) -> None:
        written = self.path.with_suffix(".new")
        written.write_text("\n".join(keys))
        written.replace(self.path)


class _Secrets:
    """The file of the secrets. All processes are given all secrets that are to come, as an operator does first."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.secrets = [STORE_SECRET, *(secrets.token_hex(16) for _ in range(count))]
        self._write()

    def rotate(self) -> None:
        """Make the next secret the current one."""
        self.secrets = [*self.secrets[1:], self.secrets[0]]
        self._write()

    def add(self) -> None:
        """Make a secret the current one that no process was given before."""
        self.secrets.insert(0, secrets.token_hex(16))
        self._write()

    def _write(self) -> None:
        written = self.path.with_suffix(".new")
        written.write_text(" ".join(self.secrets))
        written.replace(self.path)


def _deliver_again(manager: FlowStateManager, records: Folder, people: Sequence[Person], report: Report) -> None:
    """Deliver each message again that has its first answer."""
    settled = {line["token"] for line in records.noted("settled")}
    for person in people:
        for message in person.messages:
            if token_of(message) in settled:
                status = manager.handle(message).status
                report.count(again=1)
                report.demand(status == "duplicate", f"{person.number}: message {message.id} again came to {status!r}")


def _reencrypt_all(
    url: str, records: Folder, encryption: Encryption, report: Report, keys: _Secrets, people: Sequence[Person] = ()
) -> None:
    from vimbiso_fsm.encryption.procedures import Reencrypt

    with (
        AtomicStateManager.from_url(url, secret=keys.secrets) as store,
        FlowStateManager(till_bot(LedgerTill(records)), store, encryption=encryption) as manager,
    ):
        for name in store.perform(Scan()):
            done = manager.ask(Reencrypt(name))
            report.count(encrypted_again=done.rewritten)
            report.demand(not done.closed and not done.broken, f"{name}: {done.closed} closed, {done.broken} damaged")
        _deliver_again(manager, records, people, report)


def _bytes_of(client: Any) -> bytes:
    """Return all values of a server."""
    found: list[bytes] = []
    for key in client.scan_iter():
        match client.type(key):
            case b"hash":
                found += client.hgetall(key).values()
            case b"list":
                found += client.lrange(key, 0, -1)
            case b"string":
                found.append(client.get(key))
            case _:
                found += client.zrange(key, 0, -1)
    return b"\n".join(found)


@row(
    "rotated",
    "keys and secrets rotate, members are encrypted again, messages come again, kill −9 of workers",
    "0 lost, 0 duplicate, 0 in clear",
)
def rotated(profile: Profile, seed: int) -> Report:
    """Each round kills a worker, rotates keys and secrets, and encrypts all members again; old keys are dropped."""
    return keys_rotate(seed, profile.of(60, 1_000), profile.of(3, 30))


def keys_rotate(seed: int, confirmations: int, times: int, *, workers: int = 3, mutant: str = "") -> Report:
    """Return the report of the row; with `mutant`, all messages are delivered again at the end by a broken script."""
    pytest.importorskip("cryptography", reason="needs the package cryptography")
    report, chance = Report(), random.Random(seed)
    people = people_for(confirmations, 5)
    turns = sum(len(person.messages) for person in people)
    with folder() as records, own_server(valkey_program()) as server:
        ring, elsewhere = _Ring(records.path / "keys"), f"{server.url}?db=1"
        keys = _Secrets(records.path / "secrets", times)
        encryption = Encryption(KeyFile(ring.path), member_keys=elsewhere)
        settings: dict[str, Any] = {"keys": ring.path, "member_keys": elsewhere, "secrets": keys.path, "at_once": 4}
        settings["patience"] = 1.0
        with working(crews(server.url, records, people, workers, **settings)) as working_now:
            for number in range(1, times + 1):
                while working_now.busy() and records.count("answered") < turns * number / (times + 1):
                    time.sleep(0.01)
                ring.rotate()
                keys.rotate()
                if busy := working_now.busy():
                    working_now.replace(chance.choice(busy))
                    report.count(killed=1)
                _reencrypt_all(server.url, records, encryption, report, keys, chance.sample(people, len(people) // 4))
                report.count(rotations=1)
        keys.add()
        with mutated(mutant):
            _reencrypt_all(server.url, records, encryption, report, keys, people)
        ring.drop_old()
        check(server.url, records, people, report, encryption=encryption, secrets=keys.secrets)
        with server.client() as client:
            report.demand(b"canary-" not in _bytes_of(client), "a PIN is in the server in clear")
    report.demand(report.counts.get("killed"), "no worker was killed")
    report.demand(report.counts.get("again"), "no message was delivered again")
    return report
