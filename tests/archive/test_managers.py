"""Managers and workers with an archive, sync and async: a member's audit is one, wherever its entries are."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from tests.operations.test_link import OTHER, SMS, TELEGRAM, WHATSAPP, Till, member, payments
from tests.shells import Shell
from vimbiso_fsm import Archiving, AsyncWorker, Bot, Channel, FlowError, Message, Worker
from vimbiso_fsm.archive.json_lines import JsonLinesArchive
from vimbiso_fsm.archive.procedures import MoveToArchive
from vimbiso_fsm.archive.store import ArchivedStore
from vimbiso_fsm.audit.entries import is_erased
from vimbiso_fsm.audit.explain import explain
from vimbiso_fsm.audit.trail import erasures, faults, guests, members, read_trail
from vimbiso_fsm.errors import ArchiveUnavailable
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Link, ReadAudit, ReadIncidents
from vimbiso_fsm.store.retention import DAY
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock

Kind = Literal["sync", "async"]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of the manager."""
    found: Kind = request.param
    return found


class Deployment:
    """A bot on a store in memory, with an archive that keeps two entries hot, or without one."""

    def __init__(self, kind: Kind, folder: Path | None, like: Deployment | None = None) -> None:
        self.clock: Clock = Clock() if like is None else like.clock
        self.inner: MemoryStore = MemoryStore(self.clock, secret=STORE_SECRET) if like is None else like.inner
        self.folder = folder
        options: dict[str, Any] = {}
        if folder is not None:
            options["archive"] = Archiving(str(folder), entries=2)
        self.shell = Shell(kind, Bot(payments, services={"till": Till()}), self.inner, **options)
        self.shell.manager._base.clock.follow(self.clock)

    @property
    def store(self) -> Any:
        """The store as operators see it."""
        return self.inner if self.folder is None else ArchivedStore(self.inner, str(self.folder), self.clock)

    def do(self, name: str, *arguments: Any) -> Any:
        """Call a method of the manager, a second later, and move what can be moved of each member."""
        self.clock.at += 1
        found = self.shell.do(name, *arguments)
        if self.folder is not None:
            for member_id in members(self.inner):
                self.shell.do("archive", member_id)
        return found

    def say(self, channel: Channel, text: str) -> None:
        """Send a message whose id is its text."""
        self.do("handle", Message(channel, text, text))

    def played(self) -> Deployment:
        """Play two members, of whom one takes in a guest and then the other one."""
        for document in (member("m-1", WHATSAPP, SMS), member("m-2", OTHER)):
            self.do("save", attrs.evolve(document, version=0))
            for address in document.channels:
                self.do("ask", Link(Channel(address.type, address.identifier), document.member_id))
        for channel in (WHATSAPP, TELEGRAM, OTHER):
            for text in ("hi", "1", "2", "3"):
                self.say(channel, f"{text} {channel.type} {channel.identifier}")
        self.do("link", "m-1", TELEGRAM)
        self.say(TELEGRAM, "4")
        self.do("merge", "m-2", "m-1")
        self.say(OTHER, "5")
        return self


@pytest.fixture
def archived(kind: Kind, tmp_path: Path) -> Generator[Deployment]:
    """A deployment with an archive, played."""
    found = Deployment(kind, tmp_path / "archive").played()
    yield found
    found.shell.close()


def all_bytes(folder: Path) -> bytes:
    """Return the bytes of all files below a folder, with their names."""
    return b"".join(str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


def readings(deployment: Deployment) -> dict[str, Any]:
    """Return all that an operator can read of the audit of each member, and the export of one."""
    found: dict[str, Any] = {}
    bot = deployment.shell.manager.bot
    for name in members(deployment.store):
        trail = read_trail(deployment.store, name)
        explained = [explain(bot, trail, entry.version).lines for entry in trail.entries]
        found[name] = deployment.shell.do("history", name), trail.entries, guests(trail), faults(trail), explained
    return {**found, "export": deployment.shell.do("export", "m-1").value}


def test_an_archive_changes_nothing_that_is_read(kind: Kind, tmp_path: Path):
    """History, export, verification and explanation are the same after a move, over guests and merged members."""
    plain = Deployment(kind, None).played()
    moved = Deployment(kind, tmp_path, plain)
    before = readings(plain)
    for name in members(plain.inner):
        moved.shell.do("archive", name)
    assert {len(plain.inner.perform(ReadAudit(name))) for name in members(plain.inner)} <= {1, 2}
    assert readings(moved) == before
    assert [before[name][3] for name in members(moved.store)] == [()] * len(members(moved.store))
    assert len(before["m-1"][0]) > 15
    plain.shell.close()
    moved.shell.close()


def test_an_erasure_leaves_no_byte_of_the_member(archived: Deployment):
    """An erasure removes the entries of a member, of its guest and of the merged member from the store and the archive.

    What the archive then holds of them is one tombstone each, and another member is whole.
    """
    archived.do("save", attrs.evolve(member("m-3", Channel("sms", "263771000009")), version=0))
    before = {name: len(read_trail(archived.store, name).entries) for name in members(archived.store)}
    tokens = [entry.token.encode() for entry in archived.do("history", "m-1")]
    assert all(token in all_bytes(archived.folder) for token in tokens[:5])  # type: ignore[arg-type]  # it has one
    erasure = archived.do("erase", "m-1")
    assert erasure.entries >= len(tokens)
    left = all_bytes(archived.folder)  # type: ignore[arg-type]  # it has one
    assert [token for token in tokens if token in left] == []
    for name in members(archived.store):
        trail = read_trail(archived.store, name)
        assert faults(trail) == ()
        if name == "m-3":
            assert len(trail.entries) == before[name]
        elif name in before:  # the others are guests whose channels the member has left
            assert (len(erasures(trail)), is_erased(trail.entries[0])) == (1, True), name
    assert archived.do("erase", "m-1").entries == 0
    archived.say(WHATSAPP, "hi again")
    assert faults(read_trail(archived.store, "m-1")) == ()


def test_an_erasure_of_a_member_who_is_archived_whole(archived: Deployment):
    """A member who was silent for so long that all is archived is erased as well."""
    archived.clock.at += 35 * DAY
    archived.do("ask", MoveToArchive("m-1"))
    assert len(archived.inner.perform(ReadAudit("m-1"))) == 1
    tokens = [entry.token.encode() for entry in archived.do("history", "m-1")]
    archived.do("erase", "m-1")
    left = all_bytes(archived.folder)  # type: ignore[arg-type]  # it has one
    assert [token for token in tokens if token in left] == []
    assert len(read_trail(archived.store, "m-1").entries) == 1


def test_an_erasure_needs_the_archive(archived: Deployment, monkeypatch: pytest.MonkeyPatch):
    """An erasure is not said to be done while the archive refuses, and ends when it is repeated."""

    def refuse(self: JsonLinesArchive, *_: object) -> None:
        raise ArchiveUnavailable(self.place, "down")

    tokens = [entry.token.encode() for entry in archived.do("history", "m-1")]
    with monkeypatch.context() as patched:
        patched.setattr(JsonLinesArchive, "erase", refuse)
        with pytest.raises(ArchiveUnavailable, match="down"):
            archived.do("erase", "m-1")
    archived.do("erase", "m-1")
    left = all_bytes(archived.folder)  # type: ignore[arg-type]  # it has one
    assert [token for token in tokens if token in left] == []


def test_a_worker_moves_what_is_old(kind: Kind, tmp_path: Path):
    """A worker that wakes a member for any reason moves its entries, and wakes silent members when theirs are old."""
    deployment = Deployment(kind, tmp_path)
    shell, clock = deployment.shell, deployment.clock
    worker: Any = {"sync": Worker, "async": AsyncWorker}[kind](shell.manager, name="w")
    for channel in (WHATSAPP, TELEGRAM):
        for number in range(6):
            clock.at += 1
            shell.handle(Message(channel, f"{number}", f"{number}"))

    def rounds() -> None:
        worker._heartbeat_at = float("-inf")
        for begun in shell.run(worker.round()):
            begun.result() if kind == "sync" else shell.run(_awaited(begun))

    names = members(deployment.inner)
    clock.at += 3600
    rounds()
    assert [len(deployment.inner.perform(ReadAudit(name))) for name in names] == [3, 3], "with the end of the session"
    assert worker.metrics.archived >= 6
    clock.at += 31 * DAY
    rounds()
    assert [len(deployment.inner.perform(ReadAudit(name))) for name in names] == [1, 1]
    for name in names:
        assert len(shell.do("history", name)) == 12
        assert faults(read_trail(deployment.store, name)) == ()
    woken = worker.metrics.woken
    clock.at += 300 * DAY
    rounds()
    assert worker.metrics.woken == woken, "nothing is left to be moved"
    assert "archived=" in str(worker.metrics)
    shell.run(worker.leave())
    shell.close()


async def _awaited(begun: Any) -> None:
    await begun


def test_a_worker_wakes_members_while_the_archive_refuses(kind: Kind, tmp_path: Path):
    """An archive that refuses is an incident; timers and sessions go on, and no entry is lost."""
    (tmp_path / "file").write_text("")
    deployment = Deployment(kind, tmp_path / "file" / "archive")
    shell, clock = deployment.shell, deployment.clock
    for number in range(6):
        clock.at += 1
        shell.handle(Message(WHATSAPP, f"{number}", f"{number}"))
    [name] = members(deployment.inner)
    clock.at += 3600
    assert shell.do("archive", name).refused.startswith("the archive ")
    assert [entry.kind for entry in shell.wake(name)] == ["session"]
    assert len(deployment.inner.perform(ReadAudit(name))) == 12
    [incident] = deployment.inner.perform(ReadIncidents(None))
    assert b'"kind":"archive"' in incident
    assert b" refuses: " in incident
    shell.close()


def test_a_manager_without_an_archive_moves_nothing(kind: Kind):
    """A manager that was given no archive says so when it is asked to move entries."""
    with Shell(kind, Bot(payments, services={"till": Till()}), MemoryStore(Clock())) as shell:
        assert not shell.manager.archives
        with pytest.raises(FlowError, match="archive"):
            shell.do("archive", "m-1")
