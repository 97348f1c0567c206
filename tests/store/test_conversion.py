"""A member's data of layout 2 is moved into the state by the first request that reads it, and nothing of it is lost."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from typing import Any, Final

import attrs
import pytest

from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    Committed,
    Duplicate,
    Entry,
    Erase,
    Erased,
    Head,
    Load,
    Quarantine,
    ReadAudit,
    ReadInherited,
    ReadRecords,
    Record,
    Request,
    Rewrite,
    SetWakeUp,
    Stored,
    Wipe,
    digest,
)
from vimbiso_fsm.store.retention import DAY, DOCUMENT_LIFE, TOKEN_KEPT
from vimbiso_fsm.store.script import DEFAULT_KEYS

pytestmark = pytest.mark.embedded

STATE, PREV, TURNS, AUDIT, TOKENS, _ = DEFAULT_KEYS.member("m")
BODIES: Final = tuple(b'{"version":%d}' % version for version in range(1, 4))
HEAD: Final = Head(3, digest(BODIES[2]))
RECORDS: Final = (*(Record(f"t{number}", "t1", "said", b'{"n":%d}' % number) for number in (1, 2, 3)),)
UNTAKEN: Final = Record("u", "", "said", b"{}")


def _check(*words: bytes) -> bytes:
    return hashlib.sha1(b" ".join(words), usedforsecurity=False).hexdigest()[:16].encode()


def _frame(record: Record) -> bytes:
    words = f"{record.token} {record.root} {record.content}".encode()
    return b"%b =%b %b" % (words, _check(words, record.body), record.body)


def _document(version: int, document: bytes, *, checked: bool) -> dict[bytes, bytes]:
    head = digest(BODIES[version - 1]).encode()
    fields = {b"v": b"%d" % version, b"h": head, b"d": document}
    return {**fields, b"c": _check(b"%d" % version, head, document)} if checked else fields


def write_layout_2(client: Any, *, checked: bool = True, state: bool = True) -> None:
    """Write what layout 2 keeps of a member after three turns and a message that was not taken.

    Args:
        client: A client of the server.
        checked: Whether the document has a check; those of layout 1 have none.
        state: Whether there is a document; there is none while it is in quarantine.
    """
    now = time.time()
    latest = b"".join(b" t%d %.6f" % (number, now - 9) for number in (1, 2, 3))
    if state:
        client.hset(STATE, mapping=_document(3, b"three", checked=checked) | ({b"t": latest} if checked else {}))
        client.expire(STATE, DOCUMENT_LIFE)
    client.hset(PREV, mapping=_document(2, b"two", checked=checked))
    client.expire(PREV, DOCUMENT_LIFE)
    client.rpush(TURNS, *map(_frame, (RECORDS[0], UNTAKEN, *RECORDS[1:])))
    client.expire(TURNS, TOKEN_KEPT)
    client.rpush(AUDIT, *(b"%d %b @%.6f %b" % (n, digest(b).encode(), now - 9, b) for n, b in enumerate(BODIES, 1)))
    client.zadd(TOKENS, dict.fromkeys(("t1", "t2", "t3", "u"), now - 9))
    client.expire(TOKENS, TOKEN_KEPT)


@pytest.fixture
def store(valkey_url: str) -> Generator[AtomicStateManager]:
    """Return a store on the server."""
    with AtomicStateManager.from_url(valkey_url) as found:
        yield found


@pytest.fixture
def client(valkey_server: Any) -> Generator[Any]:
    """Return a client of the server."""
    with valkey_server.client() as found:
        yield found


def commit(head: Head, token: str) -> Commit:
    """Return the commit of a turn after a head."""
    body = b'{"token":"%b"}' % token.encode()
    entry = Entry(head.version + 1, digest(body), body)
    return Commit("m", head, token, token, "said", b"next", entry, b'{"n":4}')


READS: Final[dict[str, Callable[[], Request]]] = {
    "load": lambda: Load("m"),
    "load with the one before": lambda: Load("m", previous=True),
    "records": lambda: ReadRecords("m"),
    "inherited": lambda: ReadInherited("m"),
    "duplicate": lambda: commit(HEAD, "t2"),
    "settle": lambda: SetWakeUp("m", HEAD, None),
    "a rewrite of nothing": lambda: Rewrite("m"),
}


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("read", READS)
def test_the_first_request_moves_all_of_it(read: str, checked: bool, store: AtomicStateManager, client: Any):
    """Whatever is asked first, document, the one before, records and tokens are as before, in one key less each."""
    write_layout_2(client, checked=checked)
    store.perform(READS[read]())
    assert {*client.keys("*:member:*")} == {STATE, AUDIT, TOKENS}
    stored = store.load("m", previous=True)
    assert stored == Stored(HEAD, b"three", getattr(stored, "at", 0.0), b"two")
    assert store.perform(ReadRecords("m")) == (*RECORDS, UNTAKEN)
    assert {token for token, _ in store.perform(ReadInherited("m")).tokens} == {"t1", "t2", "t3", "u"}
    assert DOCUMENT_LIFE - 60 < client.ttl(STATE) <= DOCUMENT_LIFE + 1


@pytest.mark.parametrize("checked", [True, False])
def test_the_first_commit_moves_all_of_it(checked: bool, store: AtomicStateManager, client: Any):
    """A commit of a worker that has the document in its cache is made on what layout 2 stored."""
    write_layout_2(client, checked=checked)
    made = store.commit(commit(HEAD, "t4"))
    assert isinstance(made, Committed)
    stored = store.load("m", previous=True)
    assert isinstance(stored, Stored)
    assert (stored.head, stored.document, stored.previous) == (made.head, b"next", b"three")
    assert [record.token for record in store.perform(ReadRecords("m"))] == ["t1", "t2", "t3", "t4", "u"]
    for token in ("t1", "t2", "t3", "t4", "u"):
        found = store.commit(commit(made.head, token))
        assert isinstance(found, Duplicate)
        assert [record.token for record in found.records] == (["t1", "t2", "t3"] if token == "t1" else [token])
    assert DOCUMENT_LIFE - 60 < client.ttl(STATE) <= DOCUMENT_LIFE + DAY + 1


def test_a_document_in_quarantine_leaves_the_rest(store: AtomicStateManager, client: Any):
    """Where layout 2 had put the document aside, the one before and the records are found."""
    write_layout_2(client, state=False)
    stored = store.load("m", previous=True)
    assert stored == Stored(HEAD, None, getattr(stored, "at", 0.0), b"two")
    assert store.perform(ReadRecords("m")) == (*RECORDS, UNTAKEN)
    assert isinstance(store.commit(commit(HEAD, "t4")), Committed)
    stored = store.load("m", previous=True)
    assert isinstance(stored, Stored)
    assert (stored.document, stored.previous) == (b"next", b"two")


def test_damage_of_layout_2_is_found(store: AtomicStateManager, client: Any):
    """A document that is not what layout 2 wrote is broken, and the one before is at hand to repair it."""
    write_layout_2(client)
    client.hset(STATE, "d", b"thr33")
    broken = store.load("m")
    assert isinstance(broken, Broken)
    assert (broken.head, broken.fault, broken.previous) == (HEAD, "state is not what was written", b"two")
    assert isinstance(store.perform(Quarantine("m", HEAD)), Stored)
    assert store.perform(ReadRecords("m")) == (*RECORDS, UNTAKEN)
    assert isinstance(store.commit(commit(HEAD, "t4")), Committed)


@pytest.mark.parametrize("key", [PREV, TURNS])
def test_a_key_of_a_wrong_type_stays_where_it_is(key: bytes, store: AtomicStateManager, client: Any):
    """A key of layout 2 of a wrong type is not read, and moves nothing of the others."""
    write_layout_2(client)
    client.delete(key)
    client.set(key, b"words")
    stored = store.load("m", previous=True)
    assert isinstance(stored, Stored)
    assert (stored.document, stored.previous) == (b"three", None if key == PREV else b"two")
    assert store.perform(ReadRecords("m")) == (() if key == TURNS else (*RECORDS, UNTAKEN))
    assert client.get(key) == b"words"


def test_a_server_without_memory_still_answers(store: AtomicStateManager, client: Any):
    """The first request frees memory before it writes, so a full server does not refuse it."""
    write_layout_2(client)
    store.load("n")
    client.config_set("maxmemory", 1)
    try:
        stored = store.load("m", previous=True)
    finally:
        client.config_set("maxmemory", 0)
    assert isinstance(stored, Stored)
    assert (stored.document, stored.previous) == (b"three", b"two")


def test_a_wipe_and_an_erasure_leave_nothing_of_layout_2(store: AtomicStateManager, client: Any):
    """A wipe as the first request keeps the tokens and the audit alone; an erasure after it, the tombstone alone."""
    write_layout_2(client)
    wiped = Entry(4, digest(b"wiped"), b"wiped")
    assert isinstance(store.perform(Wipe("m", HEAD, wiped)), Committed)
    assert {*client.keys("*:member:*")} == {AUDIT, TOKENS}
    assert isinstance(store.commit(commit(attrs.evolve(HEAD, version=4, digest=wiped.digest), "t2")), Duplicate)
    assert store.perform(Erase("m", 0, 4, b"gone", all=True)) == Erased(4)
    assert {*client.keys("*:member:*")} == {AUDIT}
    assert len(store.perform(ReadAudit("m"))) == 1


def test_a_turn_of_a_worker_of_layout_2_in_between_is_no_damage(store: AtomicStateManager, client: Any):
    """While workers are replaced, one of layout 2 may write once more: the document counts, and no token is lost."""
    head = HEAD
    write_layout_2(client)
    for number in (4, 5):
        made = store.commit(commit(head, f"t{number}"))
        assert isinstance(made, Committed)
        head = made.head
    body = b'{"version":6}'
    found = head, digest(body).encode()
    latest = client.hget(STATE, "t").rstrip() + b" t6 %.6f" % time.time()
    fields = {"v": 6, "h": found[1], "d": b"six", "c": _check(b"6", found[1], b"six"), "t": latest}
    client.hset(STATE, mapping=fields)
    client.rpush(AUDIT, b"6 %b @%.6f %b" % (found[1], time.time(), body))
    stored = store.load("m")
    assert isinstance(stored, Stored)
    assert (stored.head, stored.document) == (Head(6, found[1].decode()), b"six")
    made = store.commit(commit(stored.head, "t7"))
    assert isinstance(made, Committed)
    for token in ("t4", "t5", "t6", "t7"):
        assert isinstance(store.commit(commit(made.head, token)), Duplicate), token
