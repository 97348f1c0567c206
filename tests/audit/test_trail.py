"""Trails on a real server: verified, read back, exported and explained."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.bots import fruit_bot
from tests.cli_runs import COMMAND, Terminal, embedded, environment, fresh_flows, invoke, run
from tests.deployments import cluster
from tests.digests import channel_digest
from tests.engines import valkey_program
from vimbiso_fsm import (
    AsyncFlowStateManager,
    Bot,
    Channel,
    FinishOnOld,
    Flow,
    FlowStateManager,
    Message,
    Migration,
    Refused,
    State,
    Text,
    Transition,
)
from vimbiso_fsm.audit.entries import AuditEntry, AuditStep, Incident, seal, unseal
from vimbiso_fsm.audit.explain import explain
from vimbiso_fsm.audit.export import export_lines
from vimbiso_fsm.audit.short_form import shorten
from vimbiso_fsm.audit.trail import Trail, faults, guests, members, read_trail
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.errors import EntryNotFound, StoreUnavailable
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Commit, Entry, Head, RecordIncident, Stored, digest, long_digest
from vimbiso_fsm.store.script import DEFAULT_KEYS
from vimbiso_fsm.testing.chat import CHANNEL, START, STORE_SECRET

pytestmark = [pytest.mark.embedded, embedded]

STRANGE = ("a\nb", "a:b:audit", "Zoë 🧮", "}x{1}", "%41", " ", "\x1b[2J", "*")


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the current directory first


@pytest.fixture
def store(valkey_url, monkeypatch):
    """The store on an empty Valkey."""
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)  # for the commands
    with AtomicStateManager.from_url(valkey_url, secret=STORE_SECRET) as opened:
        yield opened


def sealed(member_id: str, count: int, *, first: int = 1, **changes: Any) -> list[Entry]:
    """Return a chain of `count` entries, an hour apart."""
    entries: list[Entry] = []
    for version in range(first, first + count):
        at = START + timedelta(hours=version)
        entry = AuditEntry(version, at, member_id, channel_digest(CHANNEL), "transition", "advanced", "t", "t")
        entries.append(seal(attrs.evolve(entry, **changes), b"d%d" % version, entries[-1].digest if entries else ""))
    return entries


def commit(store: AtomicStateManager, member_id: str, count: int) -> list[Entry]:
    """Store a chain of `count` entries with their documents."""
    entries = sealed(member_id, count)
    head = Head()
    for entry in entries:
        token = f"t{entry.version}"
        store.commit(Commit(member_id, head, token, token, "", b"d%d" % entry.version, entry))
        head = Head(entry.version, entry.digest)
    return entries


def incident(number: int = 1, member_id: str = "m-1") -> bytes:
    """Return an incident as it is stored."""
    return Incident(START, "mismatch", member_id, channel_digest(CHANNEL), f"t{number}", "pay", "pay:1").body


def trail(entries: list[Entry], *incidents: bytes, member_id: str = "m-1") -> Trail:
    """Return the trail of a member without faults."""
    head = Head(entries[-1].version, entries[-1].digest) if entries else Head()
    stored = Stored(head, b"d%d" % head.version if entries else None, 0.0)
    return Trail(member_id, stored, tuple(entries), incidents)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of an export."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# Verifying -----------------------------------------------------------------------------------------------------------


def test_a_whole_store_has_no_faults(store, valkey_url):
    """A whole store has no faults, whatever its member ids are; keys that only look like a member's are ignored."""
    for place, member_id in enumerate(STRANGE, 1):
        commit(store, member_id, place)
    store.perform(RecordIncident("only incidents", incident()))
    store.servers.client.set(b"vimbiso:{3}:member:m%", b"not ours")  # keys that only look like a member's
    store.servers.client.set(b"vimbiso:{3}:member:m-1:audit", b"in the wrong shard")
    store.servers.client.set(b"vimbiso:{3}:member:\xff:audit", b"no id")
    assert members(store) == tuple(sorted((*STRANGE, "only incidents")))
    assert [faults(read_trail(store, member_id)) for member_id in members(store)] == [()] * (len(STRANGE) + 1)
    code, out, err = invoke("audit", "verify", "--all", "--redis", valkey_url)
    assert (code, err) == (0, "")
    assert out == f"checked {len(STRANGE) + 2}, entries {sum(range(len(STRANGE) + 1))}, faults 0\n"
    assert invoke("audit", "verify", *STRANGE, "--redis", valkey_url)[0] == 0


def test_all_that_is_broken_is_said_and_nothing_raised(store, valkey_url):
    """Each kind of damage is one fault of its member; no value is quoted and nothing is raised."""
    names = ("frame", "text", "gap", "document", "gone", "kind", "head", "incidents", "well", "older", "older head")
    for member_id in names:
        commit(store, member_id, 4)
    redis, key = store.servers.client, lambda member_id, place=3: DEFAULT_KEYS.member(member_id)[place]
    redis.lset(key("frame"), 1, b"\xff")
    redis.lset(key("text"), 2, b"3 %b {}" % digest(b"{}").encode())
    redis.lrem(key("gap"), 1, redis.lindex(key("gap"), 1))
    redis.hset(key("document", 0), "d", b"SECRET")
    redis.hset(key("older", 0), "d", b"SECRET")
    redis.hset(key("older head", 0), "h", b"SECRET")
    for older in ("older", "older head"):
        fields = redis.hmget(key(older, 0), "v", "h", "d")
        redis.delete(key(older, 0))
        redis.hset(key(older, 0), mapping=dict(zip(("v", "h", "d"), fields, strict=True)))  # as the first release did
    redis.delete(key("gone"))
    redis.delete(key("kind"))
    redis.set(key("kind"), b"SECRET")
    redis.hset(key("head", 0), "h", b"SECRET")
    redis.set(DEFAULT_KEYS.incidents("incidents"), b"SECRET")
    redis.rpush(DEFAULT_KEYS.incidents("well"), incident(), b"[]")
    code, out, err = invoke("audit", "verify", "--all", "--redis", valkey_url)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert {line.partition(":")[0] for line in lines[:-1]} == {*members(store)}
    for said in (
        "frame: place 2 of the audit holds no entry",
        "frame: entry 3 follows entry 1",
        "text: entry 3: it cannot be read: ",
        "text: entry 4: it does not continue entry 3",
        "gap: entry 3 follows entry 1",
        "document: state is not what was written",
        "older: the stored document is not the one that entry 4 names",
        "gone: the stored document is of version 4, and there is no such entry",
        "kind: audit is a string, not a list",
        "head: state is not what was written",
        "older head: the stored document names another entry 4 as the one that made it",
        "incidents: the key of the incidents is no list",
        "well: incident 2: it cannot be read: ",
    ):
        assert any(line.startswith(said) for line in lines), said
    assert "SECRET" not in out
    assert invoke("audit", "verify", "frame", "well", "--redis", valkey_url)[0] == 1
    redis.delete(key("kind", 0))
    redis.lpush(key("kind", 0), b"x")
    assert faults(read_trail(store, "kind")) == ("state is a list, not a hash; audit is a string, not a list",)


def test_an_entry_of_another_member_or_version():
    """An entry whose text is of another member or version is a fault."""
    entries = sealed("m-2", 1)
    assert faults(trail(entries)) == ("entry 1: its text is of another member",)
    (entry,) = sealed("m-1", 1)
    moved = Entry(2, entry.digest, entry.body)
    assert faults(Trail("m-1", None, (moved,))) == ("entry 2: its text is that of entry 1",)
    naive = seal(AuditEntry(1, START.replace(tzinfo=None), "m-1", ("sms", "x"), "k", "s", "t", "t"), b"", "")
    assert faults(Trail("m-1", None, (naive,))) == ()


def test_verify_takes_members_or_all(valkey_url):
    """`verify` takes either members or `--all`, and a member without data is a fault."""
    assert invoke("audit", "verify", "--redis", valkey_url)[0] == 2
    assert invoke("audit", "verify", "m-1", "--all", "--redis", valkey_url)[0] == 2
    assert invoke("audit", "verify", "m\n1", "--redis", valkey_url)[:2] == (
        1,
        "m 1: nothing is stored\nchecked 1, entries 0, faults 1\n",
    )
    assert invoke("audit", "verify", "--all", "--redis", valkey_url)[:2] == (
        0,
        "checked 1, entries 0, faults 0\n",
    )


def test_servers_that_refuse_a_scan(store):
    """The error of a scan that the server's access list forbids names the scan."""
    redis = store.servers.client
    redis.execute_command("ACL", "SETUSER", "bot", "on", ">pw", "~vimbiso:*", "+get", "+set", "+evalsha")
    path = redis.connection_pool.connection_kwargs["path"]
    with (
        AtomicStateManager.from_url(f"unix://bot:pw@{path}") as narrow,
        pytest.raises(StoreUnavailable, match="'scan'"),
    ):
        members(narrow)
    redis.execute_command("ACL", "DELUSER", "bot")


def test_the_guest_a_member_was_is_checked_too(monkeypatch, store, valkey_url, tmp_path):
    """Verification and export of a member include the guest that they were."""
    package, _ = fresh_flows(monkeypatch)
    where = ("--redis", valkey_url, "--flows", package)
    who = "terminal:263779990001"
    invoke("chat", *where, "--phone", who.partition(":")[2], stdin="hi\n1\nEmmy\nNoether\nyes\n")
    guest, member = members(store)
    assert guests(read_trail(store, member)) == (guest,)
    assert invoke("audit", "verify", who, *where)[:2] == (0, "checked 2, entries 9, faults 0\n")
    assert invoke("audit", "export", who, *where, "--to", tmp_path / "x")[0] == 0
    assert {line["member"] for line in read_lines(tmp_path / "x")} == {guest, member}
    store.servers.client.lset(DEFAULT_KEYS.member(guest)[3], 0, b"?")
    code, out, _ = invoke("audit", "verify", member, *where)
    assert code == 1
    assert out.startswith(f"{guest}: place 1 of the audit holds no entry\n")


# Reading back --------------------------------------------------------------------------------------------------------


SMS = Channel("sms", "263771234567")


@pytest.fixture(params=["sync", "async"])
def asked(request, valkey_url) -> Generator[Callable[..., Any], None, None]:
    """Return a function that asks a manager, sync or async: `asked("history", "m-1", flow="pay")`."""
    if request.param == "sync":
        with FlowStateManager.from_url(valkey_url, fruit_bot(), secret=STORE_SECRET) as manager:
            yield lambda name, *words, **filters: getattr(manager, name)(*words, **filters)
        return
    with asyncio.Runner() as runner:
        awaited = AsyncFlowStateManager.from_url(valkey_url, fruit_bot(), secret=STORE_SECRET)
        yield lambda name, *words, **filters: runner.run(getattr(awaited, name)(*words, **filters))
        runner.run(awaited.close())


def told(number: int, **changes: Any) -> Incident:
    """Return the incident of an hour."""
    one = Incident(START + timedelta(hours=number), "mismatch", "m-1", channel_digest(CHANNEL), f"t{number}")
    return attrs.evolve(one, **changes)


def hour(number: float) -> datetime:
    """Return an instant, as hours after the start."""
    return START + timedelta(hours=number)


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 3, 4, 5]),
    ({"flow": "pay"}, [2, 3]),
    ({"flow": "offer"}, [5]),
    ({"run": "pay:1"}, [2]),
    ({"channel": SMS}, [4]),
    ({"channel": CHANNEL}, [1, 2, 3, 5]),
    ({"since": hour(3)}, [3, 4, 5]),
    ({"until": hour(3)}, [1, 2, 3]),
    ({"since": hour(2).replace(tzinfo=None), "until": hour(2.5)}, [2]),
    ({"since": hour(9)}, []),
    ({"last": 2}, [4, 5]),
    ({"last": 0}, []),
    ({"last": 9}, [1, 2, 3, 4, 5]),
    ({"last": 1, "flow": "pay"}, [3]),
    ({"last": 3, "channel": CHANNEL, "until": hour(3)}, [1, 2, 3]),
    ({"flow": "pay", "run": "pay:2", "channel": SMS}, []),
]
"""Filters, and the hours of the entries that match."""
MADE: dict[int, dict[str, Any]] = {
    2: {"flow": "pay", "run": "pay:1"},
    3: {"flow": "pay", "run": "pay:2"},
    4: {"channel": channel_digest(SMS)},
    5: {"flow": "offer", "run": "offer:1"},
}


def as_options(filters: dict[str, Any]) -> list[str]:
    """Return filters as options of a command."""
    named = {
        name: f"{value.type}:{value.identifier}" if isinstance(value, Channel) else value
        for name, value in filters.items()
    }
    return [f"--{name}={v.isoformat() if isinstance(v, datetime) else v}" for name, v in named.items()]


@pytest.mark.parametrize(("filters", "hours"), FILTERS, ids=[" ".join(as_options(filters)) for filters, _ in FILTERS])
def test_entries_and_incidents_are_read_by_channel_flow_run_and_time(store, valkey_url, asked, filters, hours):
    """Both managers and the commands select entries and incidents by channel, flow, run, time and count."""
    previous, head = "", Head()
    for number in range(1, 6):
        entry = AuditEntry(number, hour(number), "m-1", channel_digest(CHANNEL), "transition", "advanced", "t", "t")
        made = seal(attrs.evolve(entry, **MADE.get(number, {})), b"d%d" % number, previous)
        store.commit(Commit("m-1", head, f"t{number}", f"t{number}", "", b"d%d" % number, made))
        previous, head = made.digest, Head(number, made.digest)
        store.perform(RecordIncident("m-1", told(number, **MADE.get(number, {})).body))
        store.perform(RecordIncident(None, told(number, member_id=None, **MADE.get(number, {})).body))
    store.perform(RecordIncident("m-2", told(3, member_id="m-2").body))
    assert [entry.version for entry in asked("history", "m-1", **filters)] == hours
    for member_id in ("m-1", None):
        found = asked("incidents", member_id, **filters)
        assert [(one.token, one.member_id) for one in found] == [(f"t{number}", member_id) for number in hours]
    if filters.get("last") != 0:
        where = ("--redis", valkey_url, *as_options(filters))
        code, out, err = invoke("history", "m-1", "--json", *where)
        assert [json.loads(line)["version"] for line in out.splitlines()] == hours
        assert (code, err) == (
            (0, "") if hours else (1, "error: no history of m-1 is stored that these options select\n")
        )
        for who in (["m-1"], []):
            code, out, err = invoke("incidents", *who, *where)
            assert [json.loads(line)["token"] for line in out.splitlines()] == [f"t{number}" for number in hours]
            assert (code, err) == (0, "")


@pytest.mark.parametrize("command", [("history", "m-1"), ("incidents",)])
def test_filters_that_are_none(valkey_url, command):
    """A filter that cannot be read is an error in the use of the command, and the message names it."""
    for option, wrong, said in (
        ("--since", "soon", "soon is not a time"),
        ("--until", "2026-13-01", "2026-13-01 is not a time"),
        ("--channel", "sms", "a channel is TYPE:IDENTIFIER"),
    ):
        code, out, err = invoke(*command, "--redis", valkey_url, option, wrong)
        assert (code, out) == (2, "")
        assert said in err


def test_damaged_entries_are_reported_and_the_others_shown(store, valkey_url):
    """The commands show all readable entries, report each damaged one on a line, and quote nothing."""
    entries = commit(store, "m-1", 5)
    redis, key = store.servers.client, DEFAULT_KEYS.member("m-1")[3]
    redis.lset(key, 1, b"SECRET")
    redis.lset(key, 2, b"3 %b [1]" % entries[2].digest.encode())
    for body in (incident(1), b"SECRET", incident(2)):
        store.perform(RecordIncident("m-1", body))
    where = ("--redis", valkey_url)
    code, out, err = invoke("history", "m-1", "--json", *where)
    assert (code, [json.loads(line)["version"] for line in out.splitlines()]) == (1, [1, 4, 5])
    damaged, unreadable = err.splitlines()
    assert damaged == "error: place 2 of the audit holds no entry"
    assert unreadable.startswith("error: entry 3: it cannot be read: ")
    code, out, err = invoke("incidents", "m-1", *where)
    assert (code, [json.loads(line)["token"] for line in out.splitlines()]) == (1, ["t1", "t2"])
    assert err.startswith("error: incident 2: it cannot be read: ")
    for words in (("state", "m-1", "--at", "3"), ("audit", "explain", "m-1", "3")):
        code, out, err = invoke(*words, *where, "--flows", "flows")
        assert (code, out) == (1, "")
        assert "SECRET" not in err
        assert len(err.splitlines()) == 1
    redis.set(key, b"SECRET")
    redis.set(DEFAULT_KEYS.incidents("m-1"), b"SECRET")
    for command in ("history", "incidents"):
        code, out, err = invoke(command, "m-1", *where)
        assert (code, out) == (1, "")
        assert "not a list" in err or "is no list" in err
        assert "SECRET" not in err


LATER: Final = ("version", "fingerprint", "effect")
"""Fields of a step that earlier releases do not know."""


def test_entries_of_an_earlier_release_are_read_verified_and_explained(store, valkey_url):
    """Entries without version and fingerprint of the declaration are read, verified and explained."""
    step = AuditStep("shop", "shop:1", "count", "small", "answer", (("rich", "declined"), ("poor", "accepted")))
    entries: list[Entry] = []
    for entry in map(unseal, sealed("m-1", 2)):
        raw = {name: value for name, value in attrs.asdict(entry).items() if value or name == "previous"}
        raw["at"] = entry.at.isoformat()
        raw["steps"] = [
            attrs.asdict(step, filter=lambda field, _: field.name not in ("version", "fingerprint", "effect"))
        ]
        raw |= {"document": long_digest(b"d%d" % entry.version), "previous": entries[-1].digest if entries else ""}
        body = dumps(raw)
        entries.append(Entry(entry.version, long_digest(body), body))
    assert b"fingerprint" not in entries[0].body
    assert b'"version":1' in entries[0].body
    kept = trail(entries)
    assert faults(kept) == ()
    (explained,) = explain(Bot([_shop(rich, poor)]), kept, 1).steps
    assert (explained.step, explained.decided) == (step, "")


# Exporting -----------------------------------------------------------------------------------------------------------


def test_an_export_can_be_verified(store, valkey_url, tmp_path):
    """An export has a line of ASCII for each entry and incident, from which the entry is built again byte for byte."""
    file = tmp_path / "audit.jsonl"
    entries = {member_id: commit(store, member_id, 3) for member_id in STRANGE}
    store.perform(RecordIncident("*", incident()))
    store.perform(RecordIncident(None, incident(2)))
    words = ("audit", "export", "--all", "--redis", valkey_url)
    assert invoke(*words, "--to", file) == (0, f"{3 * len(STRANGE) + 2} lines written to {file}\n", "")
    lines = read_lines(file)
    assert file.read_bytes().isascii()
    assert file.stat().st_mode & 0o077 == 0
    own = [line for line in lines if line["kind"] == "incident"]
    assert {line["member"] for line in own} == {None, "*"}
    assert own[0]["incident"]["token"] == "t2"
    for line in lines:
        if line["kind"] != "incident":
            body = dumps(shorten(structure(line, AuditEntry), line["document"], line["previous"]))
            assert digest(body) == line["digest"]
            assert Entry(line["version"], line["digest"], body) in entries[line["member"]]
    assert invoke(*words) == (0, file.read_text(), "")


def test_two_exports_can_be_compared(store, valkey_url, tmp_path):
    """An entry or incident has the same line in every export; new ones are further lines."""
    words = ("audit", "export", "--all", "--redis", valkey_url)
    commit(store, "m-1", 3)
    store.perform(RecordIncident("m-1", incident()))
    before = set(invoke(*words)[1].splitlines())
    commit(store, "m-2", 2)
    store.perform(RecordIncident("m-1", incident(2)))
    after = set(invoke(*words)[1].splitlines())
    assert before < after
    assert len(after - before) == 3


def test_a_file_that_exists_is_left_alone(store, valkey_url, tmp_path):
    """An export never overwrites a file, and a place that cannot be written is an error."""
    file = tmp_path / "x"
    file.write_bytes(b"kept")
    words = ("audit", "export", "--all", "--redis", valkey_url, "--to")
    assert invoke(*words, file) == (1, "", f"error: {file} exists; name a new file\n")
    assert file.read_bytes() == b"kept"
    assert invoke(*words, tmp_path)[0] == 1
    assert invoke(*words, tmp_path / "no" / "x")[0] == 1


def test_filters(store, valkey_url, tmp_path):
    """An export contains the selected entries and incidents only."""
    commit(store, "m-1", 5)
    store.perform(RecordIncident("m-1", incident()))
    count = iter(range(100))

    def versions(*filters: str) -> list[int]:
        file = tmp_path / str(next(count))
        assert invoke("audit", "export", "m-1", "--redis", valkey_url, "--to", file, *filters)[0] == 0
        return [line.get("version", 0) for line in read_lines(file)]

    hour = [(START + timedelta(hours=hours)).isoformat() for hours in range(6)]
    assert versions() == [1, 2, 3, 4, 5, 0]
    assert versions("--since", hour[4]) == [4, 5]
    assert versions("--until", hour[2].removesuffix("+00:00")) == [1, 2, 0]
    assert versions("--flow", "pay") == versions("--run", "pay:1") == [0]
    assert versions("--channel", f"whatsapp:{CHANNEL.identifier}") == [1, 2, 3, 4, 5, 0]
    assert versions("--channel", "sms:1") == []
    for wrong in (("--since", "soon"), ("--channel", "sms")):
        assert invoke("audit", "export", "m-1", "--redis", valkey_url, "--to", tmp_path / "y", *wrong)[0] == 2


def test_damaged_entries_are_not_exported():
    """An export leaves out what cannot be read."""
    entries = sealed("m-1", 4)
    entries[1] = Entry(2, entries[1].digest, b"[]")
    lines = [json.loads(line) for line in export_lines(trail(entries, b"5", incident()))]
    assert [line.get("version", line["kind"]) for line in lines] == [1, 3, 4, "incident"]


def test_the_export_reports_faults(store, valkey_url, tmp_path):
    """An export verifies the trails that it writes; what is readable is written, and each fault is a line."""
    commit(store, "m-1", 6)
    redis, key = store.servers.client, DEFAULT_KEYS.member("m-1")[3]
    redis.lrem(key, 1, redis.lindex(key, 2))
    code, out, err = invoke("audit", "export", "--all", "--redis", valkey_url, "--to", tmp_path / "x")
    assert (code, out) == (1, f"5 lines written to {tmp_path / 'x'}\n")
    assert err == "m-1: entry 4 follows entry 2\nm-1: entry 4: it does not continue entry 2\n"
    assert invoke("audit", "explain", "m-1", "3", "--redis", valkey_url, "--flows", "flows")[2].endswith(
        "it is missing from the audit\n"
    )


def test_on_a_cluster(tmp_path):
    """On a cluster, trails of all nodes are listed, verified, exported and read."""
    with cluster(valkey_program()) as nodes, AtomicStateManager.from_url(nodes.url) as store:
        names = [f"m-{number}" for number in range(24)]
        for name in names:
            commit(store, name, 2)
            store.perform(RecordIncident(name, incident(member_id=name)))
        store.perform(RecordIncident(None, incident(9)))
        servers: Any = store.servers.client
        holders = {servers.get_node_from_key(DEFAULT_KEYS.member(name)[3]).port for name in names}
        assert len(holders) == 3
        assert members(store) == tuple(sorted(names))
        servers.lset(DEFAULT_KEYS.member(names[0])[3], 1, b"no entry")
        kept = read_trail(store, names[0])
        assert (len(kept.entries), kept.damaged) == (1, ("place 2 of the audit holds no entry",))
        code, out, _ = invoke("audit", "verify", "--all", "--redis", nodes.url)
        assert code == 1
        assert out.splitlines()[-1] == "checked 25, entries 47, faults 2"
        file = tmp_path / "x"
        code, out, err = invoke("audit", "export", "--all", "--redis", nodes.url, "--to", file)
        assert (code, out) == (1, f"{47 + 24 + 1} lines written to {file}\n")
        assert err.splitlines() == [
            "m-0: place 2 of the audit holds no entry",
            "m-0: the stored document is of version 2, and there is no such entry",
        ]
        assert {line["member"] for line in read_lines(file)} == {None, *names}
        assert invoke("history", names[1], "--redis", nodes.url)[0] == 0


def test_a_bar_at_a_terminal_and_none_elsewhere(store, valkey_url, tmp_path):
    """A progress bar is shown at a terminal, and nowhere else."""
    for number in range(20):
        commit(store, f"m-{number}", 1)
    words = ("audit", "export", "--all", "--redis", valkey_url, "--to")
    assert run(*words, tmp_path / "x", cwd=tmp_path)[2] == ""
    with Terminal(*words, tmp_path / "y", cwd=tmp_path) as terminal:
        terminal.until("lines written")
        assert " of 21" in terminal.shown


def test_faults_go_where_the_output_goes(store, valkey_url, tmp_path):
    """Beside a progress bar at a terminal, the output of `verify` still goes to the file that it is redirected to."""
    commit(store, "m-1", 2)
    store.servers.client.delete(DEFAULT_KEYS.member("m-1")[3])
    ours, theirs = pty.openpty()
    words = [*COMMAND, "audit", "verify", "--all", "--redis", valkey_url]
    with (tmp_path / "out").open("wb") as file:
        done = subprocess.run(words, stdout=file, stderr=theirs, cwd=tmp_path, env=environment(tmp_path), check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 1
    assert (tmp_path / "out").read_text() == (
        "m-1: the stored document is of version 2, and there is no such entry\nchecked 2, entries 0, faults 1\n"
    )


# Explaining ----------------------------------------------------------------------------------------------------------


def rich(turn: Any) -> bool:
    """A guard that declines."""
    return False


def poor(turn: Any) -> bool | Refused:
    """A guard that accepts some answers."""
    return Refused("too.much") if turn.answer == "9" else turn.answer != "5"


def late(turn: Any) -> bool:
    """A guard that does not hold anything back."""
    return False


def _shop(*guards: Any) -> Any:
    first, second = guards
    return Flow(
        "shop",
        initial="count",
        states=[
            State("count", ask=Text("How many?"), reads=str),
            *(State(name, final=True) for name in ("big", "small", "none")),
        ],
        transitions=[
            Transition("answer", "count", "big", conditions=first),
            Transition("answer", "count", "small", conditions=second, unless=late),
            Transition("answer", "count", "none"),
        ],
    )


def _asked(bot: Bot, *texts: str) -> Trail:
    """Return the trail of a member who sent texts."""
    store = MemoryStore(time.time, secret=STORE_SECRET)
    with FlowStateManager(bot, store) as manager:
        channel = Channel("terminal", "1")
        outcome = manager.handle(Message(channel, "m0", "hi"))
        for number, text in enumerate(texts, 1):
            manager.handle(Message(channel, f"m{number}", text))
        return read_trail(store, outcome.state.member_id)


def test_an_explanation_shows_each_candidate():
    """An explanation shows each candidate in order, with the verdicts of its guards and its outcome."""
    bot = Bot([_shop(rich, poor)])
    kept = _asked(bot, "2")
    (tried,) = (step for step in explain(bot, kept, 2).steps if step.step.trigger == "answer")
    assert [(one.dest, one.outcome, one.verdicts) for one in tried.candidates] == [
        ("big", "held back", (("rich", "declined"),)),
        ("small", "fired", (("poor", "accepted"), ("late", "declined"))),
        ("none", "not asked", ()),
    ]
    words = explain(bot, kept, 2).lines
    assert words[0] == f"entry 2 of member {kept.member_id}: transition, advanced"
    assert "  1. to big: held back" in words
    assert "     rich: declined" in words
    assert "  2. to small: fired" in words
    assert f"           as entry {kept.entries[1].digest}" in words


@pytest.mark.parametrize(
    ("bot", "said"),
    [
        (Bot([_shop(poor, rich)]), "its transitions and guards there are not those that were tried"),
        (Bot([attrs.evolve(_shop(rich, poor), name="other")]), "the bot has no flow 'shop' any more"),
    ],
)
def test_a_flow_that_has_changed_since(bot, said):
    """Where no declaration fits the verdicts, the explanation says what changed and shows the verdicts alone."""
    kept = _asked(Bot([_shop(rich, poor)]), "2")
    words = explain(bot, kept, 2).lines
    assert f"  the flow has changed since: {said}" in words
    assert "  poor: accepted" in words


@pytest.mark.parametrize(
    ("today", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"transitions": [*_shop(rich, poor).transitions, Transition("more", "count", "none")]}, "version 1"),
        ({"name": "other"}, ""),
    ],
    ids=["version", "declaration", "gone"],
)
def test_the_declaration_that_decided_is_named(today, said):
    """The declaration that decided and the current one are named where they differ; candidates stay where they fit."""
    was = _shop(rich, poor)
    now = attrs.evolve(was, **today)
    kept = _asked(Bot([was]), "2")
    began = explain(Bot([was]), kept, 1).lines
    assert not [line for line in began if "decided by" in line]
    decided = f"  decided by shop version 1 (fingerprint {was.fingerprint}), "
    there = f"the current one is {said} (fingerprint {now.fingerprint})" if said else "it is not declared any more"
    for version in (1, 2):
        assert decided + there in explain(Bot([now]), kept, version).lines
    (tried,) = (step for step in explain(Bot([now]), kept, 2).steps if step.step.trigger == "answer")
    assert (tried.step.version, tried.step.fingerprint) == (1, was.fingerprint)
    assert bool(tried.candidates) == bool(said)


def test_a_kept_declaration_explains_its_own_steps():
    """A step is explained by the old declaration that decided it, as long as the bot contains it."""
    was = _shop(rich, poor)
    swapped = [*was.transitions[1::-1], was.transitions[2]]
    now = attrs.evolve(was, version=2, transitions=swapped, migrations=[Migration(1, others=FinishOnOld(was))])
    lost = attrs.evolve(was, version=2, transitions=swapped)
    kept = _asked(Bot([was]), "2")
    for flow, outcomes in ((now, ["held back", "fired", "not asked"]), (lost, [])):
        (tried,) = (step for step in explain(Bot([flow]), kept, 2).steps if step.step.trigger == "answer")
        assert [candidate.outcome for candidate in tried.candidates] == outcomes
        assert tried.decided.endswith(f"the current one is version 2 (fingerprint {flow.fingerprint})")
        assert bool(tried.changed) == (not outcomes)


def test_a_state_that_is_gone_and_a_trigger_without_a_way():
    """A removed state, a trigger without a transition, the changes and the refusals are explained."""
    bot = Bot([_shop(rich, poor)])
    steps = (AuditStep("shop", "shop:1", "gone", None, "answer"), AuditStep("shop", "shop:1", "count", None, "no"))
    entry = sealed("m-1", 1, steps=steps, codes=("c",), before={"n": 1, "x": "•"}, after={"n": 2}, changed=("n", "x"))
    words = explain(bot, trail(entry), 1).lines
    assert "  the flow has changed since: the flow has no state 'gone' any more" in words
    assert "  no transition was a candidate" in words
    assert "changed n: 1 -> 2" in words
    assert "changed x: • -> null" in words
    assert "said: c" in words


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (0, "versions count 1, 2, 3 …"),
        (3, "it is not kept any more, the first is 5"),
        (6, "it is missing from the audit"),
        (9, "the latest is 7"),
    ],
)
def test_an_entry_that_is_not_there(version, said):
    """The error for a version without an entry says why there is none."""
    entries = sealed("m-1", 3, first=5)
    with pytest.raises(EntryNotFound, match=said):
        explain(fruit_bot(), trail([entries[0], entries[2]]), version)


def test_explain_as_a_command(monkeypatch, store, valkey_url):
    """`audit explain` prints the explanation and contains nothing that a member wrote."""
    package, _ = fresh_flows(monkeypatch)
    where = ("--redis", valkey_url, "--flows", package)
    who = "terminal:263779990001"
    invoke("chat", *where, "--phone", who.partition(":")[2], stdin="hi\n1\nEm<m>y\nCanary\nNoether\n")
    code, out, err = invoke("audit", "explain", who, "2", *where)
    assert (code, err) == (0, "")
    assert "  1. to onboarding: fired\n     known: declined\n  2. to choosing: not asked\n" in out
    assert "said: name.format" in invoke("audit", "explain", who, "4", *where)[1]
    everything = "".join(invoke("audit", "explain", who, str(version), *where)[1] for version in range(1, 7))
    for personal in ("Canary", "Noether", "263779990001", "Em<m>y"):
        assert personal not in everything
    assert invoke("audit", "explain", who, "99", *where)[2].endswith("has no entry of version 99: the latest is 6\n")
    assert invoke("audit", "explain", "m-0", "1", *where)[2].endswith("has no entry of version 1: no entry is kept\n")
    (guest,) = members(store)
    store.servers.client.lset(DEFAULT_KEYS.member(guest)[3], 1, b"2 x []")
    code, _, err = invoke("audit", "explain", who, "2", *where)
    assert code == 1
    assert err.startswith(f"error: entry 2 of {who} cannot be read: ")


def test_an_export_holds_no_words_of_members(monkeypatch, valkey_url, tmp_path):
    """An export contains nothing that a member wrote, and no identifier of a channel."""
    package, _ = fresh_flows(monkeypatch)
    where = ("--redis", valkey_url, "--flows", package)
    invoke("chat", *where, "--phone", "263779990001", stdin="hi\n1\nCanary\nNoether\nyes\nmenu\n")
    assert invoke("audit", "export", "--all", *where, "--to", tmp_path / "x")[0] == 0
    text = (tmp_path / "x").read_text()
    assert len(text.splitlines()) > 5
    for personal in ("Canary", "Noether", "263779990001"):
        assert personal not in text
