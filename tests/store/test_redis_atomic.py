"""The store on real servers: its commands, its keys, and its behaviour when requests fail."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import BusyLoadingError, ClusterDownError, NoPermissionError, ReadOnlyError

from tests.engines import Proxy, Server
from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, DamagedKey, DocumentTooLarge, StoreUnavailable
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import pipeline as pipelines
from vimbiso_fsm.store import servers as connecting
from vimbiso_fsm.store.attempts import ATTEMPTS, Attempts
from vimbiso_fsm.store.lines import REQUESTS_PER_PIPELINE
from vimbiso_fsm.store.pipeline import Answer
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import (
    NO_HEAD,
    Broken,
    Commit,
    Committed,
    Conflict,
    DropKeys,
    Duplicate,
    Entry,
    FindOwner,
    Head,
    Heartbeat,
    Lease,
    Link,
    Linked,
    Load,
    Quarantine,
    ReadAudit,
    ReadDue,
    ReadIncidents,
    ReadInherited,
    ReadKeys,
    ReadRecords,
    Record,
    RecordIncident,
    Request,
    SetAside,
    SetWakeUp,
    Stored,
    Unlink,
    Wipe,
    digest,
    shard_of,
)
from vimbiso_fsm.store.retention import (
    AUDIT_KEPT,
    AUDIT_LIFE,
    DAY,
    DOCUMENT_LIFE,
    MAX_DOCUMENT,
    QUARANTINE_LIFE,
    SHARDS,
    TOKEN_KEPT,
    TRIMMED_AT_ONCE,
)
from vimbiso_fsm.store.script import SCRIPT as SENT_SCRIPT
from vimbiso_fsm.store.script import Command, SenselessReply, decode
from vimbiso_fsm.store.script import encode as encode_with
from vimbiso_fsm.store.wire import Wire

NAMES = ("state", "audit", "tokens")
INDEX = Digests((b"a key",))
SCRIPT = SENT_SCRIPT.decode()


def turn(head: Head = NO_HEAD, *, member: str = "m", token: str = "t", document: bytes = b"{}", **given: Any) -> Commit:
    """Return the commit of a turn after a head."""
    body = b"%d %b" % (head.version + 1, token.encode())
    entry = Entry(head.version + 1, digest(body), body)
    return Commit(member, head, token, token, "said", document, entry, b"record", **given)


def encode(request: Any) -> Command:
    """Encode a request with an index of one key."""
    return encode_with(request, INDEX)


def key(name: str, member: str = "m") -> bytes:
    """Return the name of a member's key."""
    return b"vimbiso:{%d}:member:%b:%b" % (shard_of(member), member.encode(), name.encode())


def due(member: str = "m") -> bytes:
    """Return the name of the key of due entries in the member's shard."""
    return b"vimbiso:{%d}:due" % shard_of(member)


@pytest.fixture
def client(server: Server) -> Generator[Any, None, None]:
    """Return a client of the server."""
    with server.client() as found:
        yield found


@pytest.fixture
def manager(server: Server) -> Generator[AtomicStateManager, None, None]:
    """Return a store on the server."""
    with AtomicStateManager.from_url(server.url) as found:
        yield found


def made(manager: AtomicStateManager, commit: Commit) -> Head:
    """Commit, and return the new head."""
    answer = manager.commit(commit)
    assert isinstance(answer, Committed)
    return answer.head


def everything(client: Any) -> dict[bytes, bytes]:
    """Return every key with its contents, in which the fields of a hash have one order."""
    return {
        name: repr(sorted(client.hgetall(name).items())).encode() if client.type(name) == b"hash" else client.dump(name)
        for name in client.scan_iter()
    }


# What is sent and where it is kept ---------------------------------------------------------------------------------


class TestKeys:
    def test_all_of_a_member_share_a_tag(self):
        """All keys of a member have the hash tag of the member's shard."""
        words = encode(Load("m-42")).words
        keys = [word for word in words if isinstance(word, bytes) and word.startswith(b"vimbiso:")]
        assert {re.findall(rb"{(.*?)}", name)[0] for name in keys} == {str(shard_of("m-42")).encode()}
        names = ["state", "prev", "turns", "audit", "tokens", "due"]
        assert [name.rpartition(b":")[2].decode() for name in keys] == names

    @pytest.mark.parametrize(
        "strange", ["}x", "{y}", "a b", "a\nb", "m_stage", "m:state", "é", "%7Dx", "\ud800", "*", ""]
    )
    def test_no_id_breaks_a_tag_or_is_anothers(self, strange: str):
        """No member id closes a hash tag, and different ids have different keys."""
        tags = [encode(Load(member)).tag for member in (strange, "m", f"{strange}:state", f"{strange}%")]
        assert len(set(tags)) == 4 - (strange == "m")
        assert all(re.fullmatch(rb"vimbiso:\{\d+\}:member:[A-Za-z0-9_.~%-]*:state", tag) for tag in tags)

    def test_no_channel_is_anothers(self):
        """Different channels have different keys."""
        pairs = [("sms", "1"), ("sms:1", ""), ("s", "ms:1"), ("sms", "1 "), ("SMS", "1")]
        tags = {encode(FindOwner(Channel(kind, identifier or "x"))).tag for kind, identifier in pairs}
        assert len(tags) == len(pairs)

    def test_every_key_has_its_life(self, manager: AtomicStateManager, client: Any):
        """Every key expires after the lifetime in `retention.py` and a day at most, or never."""
        head = NO_HEAD
        for number in range(12):
            head = made(manager, turn(head, token=f"t{number}", wake_at=5.0))
        manager.perform(Link(Channel("sms", "1"), "m"))
        for name, life in {"state": DOCUMENT_LIFE, "audit": AUDIT_LIFE, "tokens": TOKEN_KEPT - DAY}.items():
            assert life + DAY - 60 < client.ttl(key(name)) <= life + DAY + 1, name
        [index] = client.keys("vimbiso:*:channel:*")
        lasting = {due(), index, b"vimbiso:shards", b"vimbiso:index"}
        assert set(client.keys()) == lasting | {key(name) for name in NAMES}
        assert [client.ttl(name) for name in lasting] == [-1, -1, -1, -1]

    def test_lives_are_renewed_once_a_day(self, manager: AtomicStateManager, client: Any):
        """A commit renews the lives of the member's keys when they would be too short, and else leaves them."""
        head = NO_HEAD
        for number in range(3):
            head = made(manager, turn(head, token=f"t{number}", shift=-DAY + 60))
        before = {name: client.expiretime(key(name)) for name in ("state", "audit")}
        head = made(manager, turn(head, token="b"))
        assert {name: client.expiretime(key(name)) for name in before} == before
        made(manager, turn(head, token="c", shift=120.0))
        for name, ends in before.items():
            assert DAY - 10 < client.expiretime(key(name)) - ends < DAY + 300, name

    def test_a_list_that_is_new_has_a_life(self, manager: AtomicStateManager, client: Any):
        """An audit that begins anew, because the one before is in quarantine, ends like any other."""
        head = made(manager, turn(token="a"))
        client.delete(key("audit"))
        made(manager, turn(head, token="b"))
        assert AUDIT_LIFE < client.ttl(key("audit")) <= AUDIT_LIFE + DAY + 1

    def test_the_audit_is_bounded(self, manager: AtomicStateManager, client: Any):
        """Of an audit beyond its count, readers see the latest entries, and an append drops the others together."""
        most = AUDIT_KEPT + TRIMMED_AT_ONCE
        client.rpush(key("audit"), *(b"%d d%d body" % (version, version) for version in range(1, most)))
        head = made(manager, turn(Head(most - 1, f"d{most - 1}")))
        entries = manager.perform(ReadAudit("m"))
        assert (len(entries), client.llen(key("audit"))) == (AUDIT_KEPT, most)
        assert entries[0] == Entry(TRIMMED_AT_ONCE + 1, f"d{TRIMMED_AT_ONCE + 1}", b"body")
        head = made(manager, turn(head, token="b"))
        assert len(manager.perform(ReadAudit("m"))) == client.llen(key("audit")) == AUDIT_KEPT
        assert client.lindex(key("audit"), -1).startswith(b"%d %b " % (head.version, head.digest.encode()))

    def test_entries_of_unknown_age_are_kept_and_read(self, manager: AtomicStateManager, client: Any):
        """Entries without a timestamp, which earlier releases wrote, are kept and read, and block those behind them."""
        client.rpush(key("audit"), b'1 d1 {"a": "@1.5 "}', b"2 d2 @1.5 body", b"3 d3 @2.5 body")
        head = made(manager, turn(Head(3, "d3")))
        assert client.lindex(key("audit"), 0) == b'1 d1 {"a": "@1.5 "}'
        entries = manager.perform(ReadAudit("m"))
        assert entries[:3] == (Entry(1, "d1", b'{"a": "@1.5 "}'), Entry(2, "d2", b"body"), Entry(3, "d3", b"body"))
        client.lpop(key("audit"))
        client.hset(key("state"), "m", b"1 0 0")  # a day later
        made(manager, turn(head, token="next"))
        assert client.llen(key("audit")) == 2

    def test_an_incident_of_unknown_age_is_kept_and_told_once(self, manager: AtomicStateManager, client: Any):
        """An incident without a timestamp is kept, and a repeated report of it is not appended."""
        client.rpush(key("incidents"), b"{}")
        for body in (b"{}", b"{}", b"[]", b"[]"):
            manager.perform(RecordIncident("m", body))
        assert manager.perform(ReadIncidents("m")) == (b"{}", b"[]")
        assert client.lindex(key("incidents"), 0) == b"{}"

    def test_an_instant_in_a_frame_is_the_commits(self, manager: AtomicStateManager, client: Any):
        """The timestamp in the frame of an audit entry is the instant of its commit."""
        answer = manager.commit(turn(shift=-3600.0))
        assert isinstance(answer, Committed)
        entry = turn().entry
        assert entry is not None
        frame = b"1 %b @%.6f %b" % (entry.digest.encode(), answer.at, entry.body)
        assert client.lrange(key("audit"), 0, -1) == [frame]

    def test_a_big_version_keeps_its_digits(self, manager: AtomicStateManager, client: Any):
        """Versions up to 2**53 keep all their digits."""
        version = 2**53 - 2
        client.rpush(key("audit"), b"%d d body" % version)
        assert made(manager, turn(Head(version, "d"))).version == version + 1
        stored = manager.load("m")
        assert isinstance(stored, Stored)
        assert stored.head.version == version + 1


class TestEncoding:
    def test_a_document_over_the_limit_is_not_sent(self):
        """A document over the limit is refused before it is sent."""
        with pytest.raises(DocumentTooLarge):
            encode(turn(document=b"x" * (MAX_DOCUMENT + 1)))
        encode(turn(document=b"x" * MAX_DOCUMENT))

    def test_a_reply_of_another_request_is_not_believed(self):
        """A reply without the tag and token of its request is refused."""
        load = Load("m")
        command = encode(load)
        right = [command.tag, command.token, b"stored", b"1.000000", b"0", b"", [None, None, None, None, None]]
        assert decode(load, command, right) == Stored(NO_HEAD, None, 1.0)
        for wrong in ([b"other", *right[1:]], [right[0], b"audit", *right[2:]], b"OK", None, []):
            with pytest.raises(SenselessReply):
                decode(load, command, wrong)

    def test_documents_are_opaque_to_the_script(self):
        """The script never parses a document, and uses no call that hides errors or cuts digits."""
        code = re.sub(r"--.*", "", SCRIPT)
        assert "cjson" not in code
        assert "pcall" not in code
        assert "tostring" not in code

    def test_every_key_of_the_script_is_declared(self):
        """The script touches no key but those that are passed to it."""
        calls = re.findall(r"call\('(\w+)'(?:, *)?([^,)]*)", re.sub(r"--.*", "", SCRIPT))
        assert {name for name, first in calls if not first.startswith("KEYS[")} == {"TIME"}


# A script the server does not know ---------------------------------------------------------------------------------


class TestForgottenScript:
    def test_it_is_sent_again(self, manager: AtomicStateManager, client: Any):
        """If the server has forgotten the script, the commit is sent again with its source."""
        head = made(manager, turn(token="a"))
        client.script_flush()
        made(manager, turn(head, token="b"))
        assert client.info("commandstats")["cmdstat_eval"]["calls"] >= 1

    def test_it_is_sent_again_once_for_a_pipeline(self, server: Server, client: Any):
        """If the server has forgotten the script, its source is sent once per pipeline."""

        async def turns() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(server.url) as manager:
                await asyncio.gather(manager.load("m"), manager.load("n"))  # a lone one would let the next leave alone
                client.script_flush()
                client.config_resetstat()
                return await asyncio.gather(*(manager.commit(turn(member=f"m{i}")) for i in range(10)))

        assert all(isinstance(answer, Committed) for answer in asyncio.run(turns()))
        calls = client.info("commandstats")
        assert calls["cmdstat_eval"]["calls"] == 1
        assert calls["cmdstat_evalsha"]["calls"] == 19  # ten refused, nine again


# Lost and late replies ---------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy, None, None]:
    """Start a proxy before the server."""
    with Proxy(server.socket) as found:
        yield found


def perform(kind: str, url: str, *requests: Request, timeout: float = 2.0) -> list[Any]:
    """Return the answers of a sync or an async manager to these requests; an error takes the place of its answer."""
    if kind == "async":
        return asyncio.run(_performed(url, requests, timeout))
    answers: list[Any] = []
    with AtomicStateManager.from_url(url, timeout=timeout) as manager:
        for request in requests:
            try:
                answers.append(manager.perform(request))
            except (StoreUnavailable, CommitUnknown) as error:
                answers.append(error)
    return answers


async def _performed(url: str, requests: tuple[Request, ...], seconds: float) -> list[Any]:
    async with AsyncAtomicStateManager.from_url(url, timeout=seconds) as manager:
        return [(await asyncio.gather(manager.perform(each), return_exceptions=True))[0] for each in requests]


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
class TestLostReplies:
    def test_the_same_commit_is_sent_again_and_made_once(self, kind: str, proxy: Proxy, client: Any):
        """A commit whose reply was lost is repeated with the same token and made once."""
        proxy.plan = ["lose", "lose"]
        commit = turn()
        [answer] = perform(kind, proxy.url, commit)
        assert isinstance(answer, Committed)
        assert commit.entry is not None
        assert answer.head == Head(1, commit.entry.digest)
        assert (proxy.seen, client.llen(key("audit")), client.hget(key("state"), "t").count(b" t ")) == (3, 1, 2)

    def test_another_turn_is_a_duplicate_although_a_reply_was_lost(self, kind: str, proxy: Proxy, server: Server):
        """A duplicate with another head is not taken for the own commit whose reply was lost."""
        with AtomicStateManager.from_url(server.url) as other:
            made(other, turn(document=b"theirs"))
        proxy.plan = ["lose"]
        ours = attrs.evolve(turn(document=b"ours"), entry=Entry(1, digest(b"ours"), b"ours"))
        [answer] = perform(kind, proxy.url, ours)
        assert isinstance(answer, Duplicate)
        assert answer.current.document == b"theirs"

    def test_a_lost_load_is_repeated(self, kind: str, proxy: Proxy):
        """A load whose reply was lost is repeated."""
        proxy.plan = ["lose"]
        assert isinstance(perform(kind, proxy.url, Load("m"))[0], Stored)

    def test_after_the_last_attempt_it_is_not_known(self, kind: str, proxy: Proxy, client: Any):
        """A commit whose replies were all lost raises `CommitUnknown`, and its repeat is a duplicate."""
        proxy.plan = ["lose"] * ATTEMPTS
        commit, load = turn(), Load("m")
        error, stored = perform(kind, proxy.url, commit, load)
        assert isinstance(error, CommitUnknown)
        assert (error.member_id, error.token) == ("m", "t")
        assert str(proxy.url.removeprefix("unix://")) in error.fault
        assert (stored.head.version, client.llen(key("audit"))) == (1, 1)
        assert isinstance(perform(kind, proxy.url, commit)[0], Duplicate)

    @pytest.mark.parametrize("request_", [Load("m"), ReadAudit("m"), attrs.evolve(turn(), document=None)])
    def test_a_request_that_writes_nothing_is_never_in_doubt(self, kind: str, request_: Request, proxy: Proxy):
        """A request that writes nothing raises `StoreUnavailable` when its replies were lost."""
        proxy.plan = ["lose"] * ATTEMPTS
        assert isinstance(perform(kind, proxy.url, request_)[0], StoreUnavailable)

    def test_other_writes_are_not_known_either(self, kind: str, proxy: Proxy):
        """Any request that writes raises `CommitUnknown` when its replies were lost."""
        proxy.plan = ["lose"] * ATTEMPTS
        [error] = perform(kind, proxy.url, Quarantine("m", NO_HEAD))
        assert isinstance(error, CommitUnknown)
        assert (error.member_id, error.token) == ("m", "Quarantine")

    def test_a_reply_that_hangs_ends_within_three_timeouts(self, kind: str, proxy: Proxy):
        """Replies that hang until their timeout allow two attempts and no third."""
        proxy.plan = ["hang"] * ATTEMPTS
        [error] = perform(kind, proxy.url, turn(), timeout=0.3)
        assert isinstance(error, CommitUnknown)
        assert "imeout" in error.fault
        assert proxy.seen == 2

    def test_one_reply_that_hangs_is_made_good(self, kind: str, proxy: Proxy, client: Any):
        """A commit whose first reply hangs is repeated and made once."""
        proxy.plan = ["hang"]
        assert isinstance(perform(kind, proxy.url, turn(), timeout=0.3)[0], Committed)
        assert client.llen(key("audit")) == 1


def test_a_late_reply_never_answers_the_next_request(proxy: Proxy):
    """A reply that arrives after its timeout is not taken for the answer of the next request."""
    proxy.plan = ["hang", "hang"]
    with AtomicStateManager.from_url(proxy.url, timeout=0.1) as manager:
        with pytest.raises(CommitUnknown):
            manager.commit(turn())
        stored = manager.load("n")
        assert isinstance(stored, Stored)
        assert stored.document is None


class TestRetries:
    """Retries, decided without a server."""

    def attempts(self, request: Request | None) -> Any:
        return Attempts(request, "here", 2.0)

    @pytest.mark.parametrize("error", [BusyLoadingError("l"), ClusterDownError("d"), ReadOnlyError("r")], ids=repr)
    def test_a_server_that_will_soon_serve(self, error: Exception):
        """Refusals that are temporary are repeated with doubling waits, a bounded number of times."""
        attempts = self.attempts(turn())
        waits = [attempts.wait(error) for _ in range(ATTEMPTS - 1)]
        assert all(0.01 * 2**i <= wait <= 0.02 * 2**i for i, wait in enumerate(waits))
        with pytest.raises(StoreUnavailable, match="here"):
            attempts.wait(error)

    def test_a_refusal_after_a_lost_reply_leaves_it_unknown(self):
        """A final refusal after a lost reply does not say that the first attempt had no effect."""
        attempts = self.attempts(turn())
        attempts.wait(redis.ConnectionError("gone"))
        with pytest.raises(CommitUnknown):
            attempts.wait(NoPermissionError("no"))

    def test_a_plain_refusal_is_final(self):
        """A refusal that is not temporary is not repeated."""
        with pytest.raises(StoreUnavailable, match="here: no"):
            self.attempts(turn()).wait(NoPermissionError("no"))

    def test_an_error_without_words_is_named(self):
        """An error without a message is reported by its class."""
        with pytest.raises(StoreUnavailable, match="here: ResponseError"):
            self.attempts(Load("m")).wait(redis.ResponseError())


@KINDS
def test_a_replica_that_becomes_the_master(kind: str, server: Server, client: Any, monkeypatch):
    """A commit that a replica refuses is repeated, and made when the replica has become the primary."""
    client.replicaof("127.0.0.1", 1)
    waited: list[float] = []

    def promote(seconds: float) -> None:
        waited.append(seconds)
        client.replicaof("NO", "ONE")

    async def promote_awaited(seconds: float) -> None:
        promote(seconds)

    try:
        monkeypatch.setattr("vimbiso_fsm.store.redis_atomic.time.sleep", promote)
        if kind == "async":
            monkeypatch.setattr("vimbiso_fsm.store.redis_atomic.asyncio.sleep", promote_awaited)
        [answer] = perform(kind, server.url, turn())
    finally:
        client.replicaof("NO", "ONE")
    assert isinstance(answer, Committed)
    assert len(waited) == 1


# Nobody there ------------------------------------------------------------------------------------------------------


@KINDS
class TestNoServer:
    def test_refused(self, kind: str):
        """A refused connection raises `StoreUnavailable`, which names the address and no password."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
        [error, other] = perform(kind, f"redis://:secret@127.0.0.1:{port}/0", turn(), Load("m"))
        assert isinstance(error, StoreUnavailable)
        assert isinstance(other, StoreUnavailable)
        assert f"127.0.0.1:{port}" in str(error)
        assert "secret" not in str(error)

    def test_no_socket(self, kind: str, tmp_path):
        """A missing socket raises `StoreUnavailable`, which names the path and no password."""
        [error] = perform(kind, f"unix://{tmp_path}/none?password=secret", turn())
        assert isinstance(error, StoreUnavailable)
        assert f"unix://{tmp_path}/none" in str(error)
        assert "secret" not in str(error)

    @pytest.mark.parametrize(
        "url",
        ["", "localhost:6379", "http://u:secret@db.example:1", "redis://:secret@db.example:port", "redis://:se/cret@h"],
    )
    def test_a_url_that_is_none(self, kind: str, url: str):
        """The error for a malformed URL lists the valid forms, quotes no password and chains no other error."""
        with pytest.raises(StoreUnavailable, match=r"redis://host:port/db") as caught:
            perform(kind, url)
        assert "cret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        if "db.example" in url:
            assert "'db.example'" in str(caught.value)


@KINDS
def test_another_number_of_shards_is_refused(kind: str, server: Server, client: Any):
    """A store with another number of shards is refused with both numbers, and used once it has the right one."""
    client.set("vimbiso:shards", 512)
    [error] = perform(kind, server.url, Load("m"))
    assert isinstance(error, StoreUnavailable)
    assert "512 shards" in str(error)
    assert f"uses {SHARDS}" in str(error)
    client.set("vimbiso:shards", SHARDS)
    assert isinstance(perform(kind, server.url, Load("m"))[0], Stored)


# Keys of a wrong type ----------------------------------------------------------------------------------------------


def spoil(client: Any, name: str) -> bytes:
    """Put a string under a key of the member; return the key."""
    spoiled = key(name)
    client.set(spoiled, b"somebody's")
    return spoiled


@KINDS
@pytest.mark.parametrize(
    "make",
    [
        lambda head: turn(head, token="c", wake_at=5.0),
        lambda head: SetWakeUp("m", head, 5.0),
        lambda head: SetWakeUp("m", head),
        lambda head: Wipe("m", head, Entry(head.version + 1, "d", b"{}")),
    ],
    ids=["commit", "set a wake-up", "clear it", "wipe"],
)
def test_a_due_set_of_a_wrong_type_is_put_aside(
    kind: str, make: Callable[[Head], Request], server: Server, client: Any
):
    """A due set of a wrong type is no damage of the member that meets it: it is put aside, and the request is made.

    The empty entry in the new one is read as damage, after which all members of the shard are woken.
    """
    with AtomicStateManager.from_url(server.url) as manager:
        head = made(manager, turn(made(manager, turn(token="a")), token="b"))
    client.set(due(), b"somebody's")
    [answer] = perform(kind, server.url, make(head))
    assert answer is None or isinstance(answer, Committed)
    assert client.zscore(due(), "") == 0.0
    [aside] = [found for found in client.scan_iter() if b":aside:" in found]
    assert client.get(aside) == b"somebody's"
    assert QUARANTINE_LIFE - 60 < client.ttl(aside) <= QUARANTINE_LIFE + 1
    with AtomicStateManager.from_url(server.url) as manager, pytest.raises(DamagedKey) as error:
        manager.perform(ReadDue(shard_of("m")))
    assert error.value.entries == (b"",)


@KINDS
@pytest.mark.parametrize("name", NAMES)
class TestWrongType:
    def test_a_commit_is_broken_and_writes_nothing(self, kind: str, name: str, server: Server, client: Any):
        """A commit that meets a key of a wrong type is answered with `Broken`, and nothing is written."""
        with AtomicStateManager.from_url(server.url) as manager:
            head = made(manager, turn(token="a"))
            head = made(manager, turn(head, token="b"))
        spoil(client, name)
        before = everything(client)
        [answer] = perform(kind, server.url, turn(head, token="c", wake_at=5.0))
        assert isinstance(answer, Broken)
        assert answer.fault.startswith(f"{name} is a string, not a ")
        assert answer.head == head
        assert everything(client) == before

    def test_it_is_quarantined_whole_and_the_next_commit_is_made(
        self, kind: str, name: str, server: Server, client: Any
    ):
        """A quarantine moves the key of a wrong type whole, and the next commit is made."""
        with AtomicStateManager.from_url(server.url) as manager:
            head = made(manager, turn(made(manager, turn(token="a")), token="b"))
        spoiled = spoil(client, name)
        [answer] = perform(kind, server.url, Quarantine("m", head))
        assert isinstance(answer, Stored if name == "state" else Conflict)
        stored = answer.current if isinstance(answer, Conflict) else answer
        assert (stored.head, stored.document) == (head, None if name == "state" else b"{}")
        assert client.type(spoiled) == b"none"
        [aside] = [found for found in client.scan_iter() if b":aside:2:" in found]
        assert aside.startswith(key("aside"))
        assert aside.endswith(b":" + name.encode())
        assert client.get(aside) == b"somebody's"
        assert QUARANTINE_LIFE - 60 < client.ttl(aside) <= QUARANTINE_LIFE + 1
        [answer] = perform(kind, server.url, turn(head, token="c", wake_at=5.0))
        assert isinstance(answer, Committed)
        assert answer.head.version == 3


class TestBroken:
    def test_a_load_of_a_broken_state(self, manager: AtomicStateManager, client: Any):
        """A load that meets a state of a wrong type is answered with the head of the audit and the fault."""
        head = made(manager, turn())
        spoil(client, "state")
        answer = manager.load("m")
        assert isinstance(answer, Broken)
        assert (answer.head, answer.fault) == (head, "state is a string, not a hash")

    def test_both_state_and_audit(self, manager: AtomicStateManager, client: Any):
        """If state and audit are both of a wrong type, both faults are named and both keys are moved."""
        made(manager, turn())
        spoil(client, "state")
        spoil(client, "audit")
        answer = manager.load("m")
        assert isinstance(answer, Broken)
        assert answer.head == NO_HEAD
        assert "state is" in answer.fault
        assert "audit is" in answer.fault
        stored = manager.perform(Quarantine("m", answer.head))
        assert isinstance(stored, Stored)
        assert (stored.head, stored.document) == (NO_HEAD, None)

    @pytest.mark.parametrize("fields", [{"v": "seven", "h": "d", "d": "{}"}, {"v": "7", "d": "{}"}, {"t": " a 1 "}])
    def test_a_state_without_a_head(self, fields: dict[str, str], manager: AtomicStateManager, client: Any):
        """A state without a valid head is broken; after its quarantine the member starts again."""
        client.hset(key("state"), mapping=fields)
        answer = manager.load("m")
        assert isinstance(answer, Broken)
        assert (answer.head, answer.fault) == (NO_HEAD, "state holds no head")
        assert isinstance(manager.commit(turn()), Broken)
        assert isinstance(manager.perform(Quarantine("m", NO_HEAD)), Stored)
        assert made(manager, turn()).version == 1

    def test_an_audit_that_is_not_ours(self, manager: AtomicStateManager, client: Any):
        """An audit entry without a frame is broken for a load and damaged for a read."""
        client.rpush(key("audit"), "hello")
        answer = manager.load("m")
        assert isinstance(answer, Broken)
        assert answer.fault == "audit is not framed"
        with pytest.raises(DamagedDocument, match="no valid frame"):
            manager.perform(ReadAudit("m"))

    @pytest.mark.parametrize(
        ("request_", "fault"), [(ReadAudit("m"), "audit is a string, not a list"), (ReadRecords("m"), "state is a str")]
    )
    def test_a_key_that_cannot_be_read(self, request_: Request, fault: str, manager, client: Any):
        """A read of a key of a wrong type raises `DamagedDocument` with the fault."""
        spoil(client, fault.partition(" ")[0])
        with pytest.raises(DamagedDocument, match=fault):
            manager.perform(request_)

    @pytest.mark.parametrize("spoilt", [b"", b"hello", b"a b c", b"a b c body", b"a \xff c {}", b"a b c =0 {}"])
    def test_a_damaged_record_costs_only_itself(self, spoilt: bytes, manager: AtomicStateManager, client: Any):
        """A turn record without a frame, or one that is not what was written, is passed over; the others are read."""
        commit = turn()
        made(manager, commit)
        client.hset(key("state"), "r1", spoilt)
        [record] = manager.perform(ReadRecords("m"))
        assert (record.token, record.body) == (commit.token, commit.record)
        assert manager.perform(ReadInherited("m")).records == (record,)
        answer = manager.commit(commit)
        assert isinstance(answer, Duplicate)
        assert answer.records == (record,)

    def test_no_bit_of_a_record_flips_unnoticed(self, manager: AtomicStateManager, client: Any):
        """A record in which a bit has flipped is passed over, and makes no message one with other content."""
        commit = attrs.evolve(turn(), record=b'{"replies": ["pay 10"]}')
        made(manager, commit)
        frame = client.hget(key("state"), "r0")
        for bit in range(8 * len(frame)):
            at, mask = bit // 8, 1 << bit % 8
            client.hset(key("state"), "r0", frame[:at] + bytes([frame[at] ^ mask]) + frame[at + 1 :])
            assert manager.perform(ReadRecords("m")) == ()
            answer = manager.commit(commit)
            assert isinstance(answer, Duplicate)
            assert answer.records == ()

    def test_a_record_of_an_older_release_has_no_check(self, manager: AtomicStateManager, client: Any):
        """A record without a check is read if its body is a JSON object."""
        client.rpush(key("turns"), b'a b c {"x": 1}')
        assert manager.perform(ReadRecords("m")) == (Record("a", "b", "c", b'{"x": 1}'),)

    @pytest.mark.parametrize("field", ["v", "h", "d", "c"])
    def test_no_bit_of_a_document_or_its_head_flips_unnoticed(
        self, field: str, manager: AtomicStateManager, client: Any
    ):
        """A state in which a bit has flipped is broken for a load and a commit, and the head is that of the audit."""
        head = made(manager, turn(document=b'{"amount": "10.00"}'))
        name = key("state")
        value = client.hget(name, field)
        for bit in range(8 * len(value)):
            at, mask = bit // 8, 1 << bit % 8
            client.hset(name, field, value[:at] + bytes([value[at] ^ mask]) + value[at + 1 :])
            answer = manager.load("m")
            assert isinstance(answer, Broken)
            assert (answer.head, answer.fault[:5]) == (head, "state")
            assert isinstance(manager.commit(turn(NO_HEAD, token="other")), Broken)
        client.hset(name, field, value)
        assert isinstance(manager.load("m"), Stored)

    @pytest.mark.parametrize("field", ["v", "h", "d", "c"])
    def test_no_bit_of_a_name_in_a_state_flips_unnoticed(self, field: str, manager: AtomicStateManager, client: Any):
        """A state in which the name of a field has changed is broken, and none of an older release without a check."""
        head = made(manager, turn())
        value = client.hget(key("state"), field)
        client.hdel(key("state"), field)
        for bit in range(8):
            other = bytes([ord(field) ^ 1 << bit])
            client.hset(key("state"), other, value)
            answer = manager.load("m")
            assert isinstance(answer, Broken)
            assert (answer.head, answer.fault[:5]) == (head, "state")
            client.hdel(key("state"), other)

    def test_a_document_of_an_older_release_has_no_check(self, manager: AtomicStateManager, client: Any):
        """A state without a check is read, and the next commit writes one."""
        head = made(manager, turn(document=b"one"))
        version, digest_of_it = client.hmget(key("state"), "v", "h")
        client.delete(key("state"))
        client.hset(key("state"), mapping={"v": version, "h": digest_of_it, "d": b"one"})
        stored = manager.load("m")
        assert isinstance(stored, Stored)
        assert (stored.head, stored.document) == (head, b"one")
        made(manager, turn(head, token="next"))
        assert client.hexists(key("state"), "c")
        assert manager.load("m", previous=True).previous == b"one"

    def test_a_previous_document_that_is_not_what_was_written(self, manager: AtomicStateManager, client: Any):
        """A changed previous document is a fault of a load that asks for it, and of no other."""
        head = made(manager, turn(made(manager, turn(document=b"one")), token="next", document=b"two"))
        client.hset(key("state"), "p", client.hget(key("state"), "p").replace(b"one", b"ono"))
        assert isinstance(manager.load("m"), Stored)
        answer = manager.load("m", previous=True)
        assert isinstance(answer, Broken)
        assert (answer.head, answer.fault, answer.previous) == (head, "prev is not what was written", None)

    @pytest.mark.parametrize("latest", [b"hello", b"x2 d2 @1.5 body", b"2 d\xff @1.5 body", b""])
    def test_the_head_goes_on_past_a_damaged_entry(self, latest: bytes, manager: AtomicStateManager, client: Any):
        """Without a document, the head is that of the latest entry with a frame, a version later for each after it."""
        head = made(manager, turn())
        client.delete(key("state"))
        client.rpush(key("audit"), latest)
        stored = manager.load("m")
        assert isinstance(stored, Stored)
        assert stored.head == Head(2, head.digest)
        assert made(manager, turn(stored.head, token="next")).version == 3

    @pytest.mark.parametrize("bit", range(8))
    def test_a_token_that_has_changed_is_still_used(self, bit: int, manager: AtomicStateManager, client: Any):
        """The latest tokens are known although a bit has flipped in their field, or in its name."""
        commit = turn()
        head = made(manager, commit)
        made(manager, turn(head, token="next"))
        latest = client.hget(key("state"), "t")
        for place, byte in enumerate(latest):
            client.hset(key("state"), "t", latest[:place] + bytes([byte ^ 1 << bit]) + latest[place + 1 :])
            assert isinstance(manager.commit(commit), Duplicate), place
        client.hdel(key("state"), "t")
        client.hset(key("state"), bytes([ord("t") ^ 1 << bit]), latest)
        assert not isinstance(manager.commit(commit), Committed | Conflict)

    @pytest.mark.parametrize("place", range(0, 130, 7))
    def test_a_damaged_token_that_is_moved_to_the_set_is_still_used(
        self, place: int, manager: AtomicStateManager, client: Any
    ):
        """Every message is known although a bit of the oldest tokens of the state has flipped before they are moved."""
        head, tokens = Head(), [f"token-of-turn-{number:06}" for number in range(12)]
        for token in tokens:
            if token == tokens[-1]:
                latest = client.hget(key("state"), "t")
                client.hset(key("state"), "t", latest[:place] + bytes([latest[place] ^ 1]) + latest[place + 1 :])
            head = made(manager, turn(head, token=token))
        assert client.zcard(key("tokens")) >= 4
        assert [token for token in tokens if not isinstance(manager.commit(turn(token=token)), Duplicate)] == []

    def test_tokens_of_any_length_are_moved_to_the_set(self, manager: AtomicStateManager, client: Any):
        """Tokens that are longer or shorter than those after them stay known, and few of them stay in the state."""
        head, tokens = Head(), [f"{number}-".ljust(number * 7 % 31, "x") for number in range(40)]
        for token in tokens:
            head = made(manager, turn(head, token=token))
        assert client.zcard(key("tokens")) >= 20
        assert [token for token in tokens if not isinstance(manager.commit(turn(token=token)), Duplicate)] == []

    def test_tokens_of_a_lost_state_are_known_by_the_audit(self, manager: AtomicStateManager, client: Any):
        """A message of the latest turns takes no effect again although the state is gone."""
        body = b'{"token":"5f2cfb9c","root":"t"}'
        commit = attrs.evolve(turn(token="5f2cfb9c"), entry=Entry(1, digest(body), body))
        head = made(manager, commit)
        client.delete(key("state"))
        assert isinstance(manager.commit(commit), Duplicate)
        assert isinstance(manager.commit(turn(head, token="another")), Committed)

    def test_a_damaged_score_of_a_token_is_taken_over(self, manager: AtomicStateManager, client: Any):
        """A token whose instant is none is inherited as one that was used now."""
        made(manager, turn(token="a"))
        client.zadd(key("tokens"), {"d": float("-inf"), "b": -1e300, "c": 1e300})
        tokens = dict(manager.perform(ReadInherited("m")).tokens)
        assert {*tokens} == {"a", "b", "c", "d"}
        at = manager.load("m").at
        assert all(at - 60 < used <= at + 1 for used in tokens.values())

    @pytest.mark.parametrize("damaged", [b"a%cd", b"a%", b"\xffb", b""])
    def test_a_token_that_is_none_any_more_is_passed_over(
        self, damaged: bytes, manager: AtomicStateManager, client: Any
    ):
        """A damaged token that cannot be read, also as an escape of another byte, keeps no other from being read."""
        made(manager, turn(token="a"))
        now = manager.load("m").at
        client.zadd(key("tokens"), {damaged: now - 1.5, "b": now - 2.5})
        assert {"a", "b"} <= {*dict(manager.perform(ReadInherited("m")).tokens)}

    def test_a_damaged_name_of_a_key_of_the_members_own(self, manager: AtomicStateManager, client: Any):
        """A key whose name is no text is read, and can be dropped."""
        client.hset(key("keys"), mapping={b"~a\xe3": b"one", "~b": b"two"})
        found = manager.perform(ReadKeys("m"))
        assert sorted(each.body for each in found) == [b"one", b"two"]
        manager.perform(DropKeys("m", tuple(each.id for each in found)))
        assert not client.exists(key("keys"))

    def test_a_document_that_is_altered_on_the_way(self, manager: AtomicStateManager, client: Any, monkeypatch):
        """A reply whose document is not what was written, though the stored one is, is asked for again."""
        commit = turn(document=b"one")
        made(manager, commit)
        real = manager._call
        spoilt: list[bytes] = []

        def altered(reply: Any) -> Any:
            if reply == b"one" and not spoilt:
                spoilt.append(reply)
                return b"ono"
            return [altered(part) for part in reply] if isinstance(reply, list) else reply

        async def call(words: Any, attempts: Any) -> Any:
            reply, confirmed = await real(words, attempts)
            return altered(reply), confirmed

        monkeypatch.setattr(manager, "_call", call)
        stored = manager.load("m")
        assert isinstance(stored, Stored)
        assert (stored.document, spoilt) == (b"one", [b"one"])
        spoilt.clear()
        assert isinstance(manager.commit(commit), Committed)  # what an attempt before it may have made
        assert spoilt == [b"one"]

    @pytest.mark.parametrize("spoilt", [key("state"), due()], ids=["state", "due"])
    def test_a_key_healed_before_it_is_looked_at(self, spoilt: bytes, manager, client: Any, monkeypatch):
        """A request that meets a key of a wrong type, which another process repairs meanwhile, is made after all."""
        head = made(manager, turn())
        whole = client.dump(spoilt)
        client.delete(spoilt)
        client.rpush(spoilt, "hello")
        real, looks = manager._call, list[Any]()

        def call(words: Any, attempts: Any) -> Any:
            if {b"inspect", b"renew_due"} & {*words}:
                looks.append(words)
                client.delete(spoilt)
                if whole:
                    client.restore(spoilt, 0, whole)
            return real(words, attempts)

        monkeypatch.setattr(manager, "_call", call)
        assert isinstance(manager.commit(turn(head, token="next", wake_at=9.0)), Committed)
        assert looks

    def test_a_key_that_is_spoilt_again_and_again(self, manager: AtomicStateManager, client: Any, monkeypatch):
        """A key that has a wrong type for each attempt, and none when it is looked at, makes the store unavailable."""
        real, attempts_made = manager._call, list[Any]()

        def call(words: Any, attempts: Any) -> Any:
            client.delete(key("state"))
            if b"load" in words:
                attempts_made.append(words)
                spoil(client, "state")
            return real(words, attempts)

        monkeypatch.setattr(manager, "_call", call)
        with pytest.raises(StoreUnavailable, match="changes its type"):
            manager.load("m")
        assert len(attempts_made) == ATTEMPTS

    def test_a_key_that_is_no_members(self, manager: AtomicStateManager, client: Any):
        """A channel's key of a wrong type raises `DamagedKey` until it is put aside, where it is kept."""
        manager.perform(Link(Channel("sms", "1"), "m"))
        [name] = client.keys("*:channel:*")
        client.delete(name)
        client.rpush(name, "hello")
        request = FindOwner(Channel("sms", "1"))
        with pytest.raises(DamagedKey) as raised:
            manager.perform(request)
        assert (raised.value.request, raised.value.entries) == (request, ())
        for _ in range(2):
            manager.perform(SetAside(request))
        assert manager.perform(request).member_id is None
        [aside] = client.scan_iter("*:aside:*")
        assert client.lrange(aside, 0, -1) == [b"hello"]

    def test_a_quarantined_document_keeps_its_bytes(self, manager: AtomicStateManager, client: Any):
        """A quarantined document keeps its bytes, version and digest."""
        head = made(manager, turn(document=b"\x00 not json"))
        manager.perform(Quarantine("m", head))
        [aside] = [found for found in client.scan_iter() if b":aside:1:" in found]
        found = client.hgetall(aside)
        assert (found[b"v"], found[b"h"], found[b"d"]) == (b"1", head.digest.encode(), b"\x00 not json")


# Memory ------------------------------------------------------------------------------------------------------------


class TestNoMemory:
    @pytest.fixture
    def full(self, client: Any) -> Generator[Any, None, None]:
        yield client
        client.config_set("maxmemory", 0)

    def test_all_or_nothing(self, manager: AtomicStateManager, full: Any):
        """A server without memory refuses a whole commit; loads, repeats and the quarantine still work."""
        head = made(manager, turn(made(manager, turn(token="a")), token="b"))
        before = everything(full)
        full.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="out of memory"):
            manager.commit(turn(head, token="c", wake_at=5.0))
        with pytest.raises(StoreUnavailable, match="out of memory"):
            manager.commit(turn(member="new"))
        assert everything(full) == before
        assert isinstance(manager.load("m"), Stored)
        assert isinstance(manager.commit(turn(head, token="b")), Duplicate)
        assert isinstance(manager.perform(Quarantine("m", head)), Stored)
        full.config_set("maxmemory", 0)
        assert made(manager, turn(head, token="c")).version == 3

    def test_a_server_that_fills_up(self, manager: AtomicStateManager, full: Any):
        """While a server fills up, every commit is either made whole or refused whole."""
        full.config_set("maxmemory", full.info("memory")["used_memory"] + 1_000_000)
        heads = dict.fromkeys((f"m{i}" for i in range(10)), NO_HEAD)
        refused = 0
        for number in range(200):
            member = f"m{number % 10}"
            try:
                heads[member] = made(
                    manager,
                    turn(heads[member], member=member, token=f"t{number}", document=b"x" * MAX_DOCUMENT, wake_at=5.0),
                )
            except StoreUnavailable:
                refused += 1
        assert refused
        for member, head in heads.items():
            stored = manager.load(member)
            assert isinstance(stored, Stored)
            tokens = manager.perform(ReadInherited(member)).tokens
            assert (stored.head, len(tokens), full.llen(key("audit", member))) == (head, head.version, head.version)


# A clock that was ahead ---------------------------------------------------------------------------------------------

NINE_DAYS = 9 * DAY


class TestClockThatWasAhead:
    def test_a_lease_is_over(self, manager: AtomicStateManager, client: Any):
        """A lease of a shard that was taken while the clock was ahead does not hold after its return."""
        assert manager.perform(Lease(7, "dead", 15.0)).worker == "dead"
        assert manager.perform(Lease(7, "other", 15.0)).worker == "dead"
        client.pexpire("vimbiso:{7}:lease", int(NINE_DAYS * 1000))
        assert manager.perform(Lease(7, "other", 15.0)).worker == "other"
        assert 0 < client.pttl("vimbiso:{7}:lease") <= 15_000
        assert manager.perform(Lease(7, "dead", 15.0)).worker == "other"

    def test_a_worker_is_gone(self, manager: AtomicStateManager, server: Server):
        """A worker that was present while the clock was ahead, and is gone since, is not counted as present."""
        with AtomicStateManager.from_url(server.url, shift=NINE_DAYS) as ahead:
            assert ahead.perform(Heartbeat("dead", 15.0)) == ("dead",)
        assert manager.perform(Heartbeat("other", 15.0)) == ("other",)

    @pytest.mark.parametrize("ahead", [NINE_DAYS, -NINE_DAYS])
    def test_no_token_is_forgotten(self, manager: AtomicStateManager, server: Server, client: Any, ahead: float):
        """A token that was used before, during or after a step of the clock is known in each of these times."""
        head = made(manager, turn(token="before"))
        with AtomicStateManager.from_url(server.url, shift=ahead) as stepped:
            assert isinstance(stepped.commit(turn(head, token="before")), Duplicate)
            head = made(stepped, turn(head, token="during"))
            assert isinstance(stepped.commit(turn(head, token="before")), Duplicate)
        head = made(manager, turn(head, token="after"))
        for token in ("before", "during", "after"):
            assert isinstance(manager.commit(turn(head, token=token)), Duplicate)


# A connection out of step ------------------------------------------------------------------------------------------


class TestSenselessReply:
    def test_all_connections_are_dropped(self, manager: AtomicStateManager, client: Any, monkeypatch):
        """A reply of another request drops all connections, and the outcome of a commit is unknown."""
        made(manager, turn(member="n"))
        real = manager._call
        monkeypatch.setattr(manager, "_call", lambda _, attempts: real(encode(Load("n")).words, attempts))
        before = len(client.client_list())
        with pytest.raises(CommitUnknown, match="another request"):
            manager.commit(turn())
        assert len(client.client_list()) == before - 1
        with pytest.raises(StoreUnavailable, match="another request"):
            manager.load("m")
        monkeypatch.undo()
        stored = manager.load("m")
        assert isinstance(stored, Stored)
        assert stored.document is None

    def test_all_connections_are_dropped_awaited(self, server: Server, client: Any, monkeypatch):
        """The async manager drops all connections too."""

        async def mix_up() -> Any:
            async with AsyncAtomicStateManager.from_url(server.url) as manager:
                await manager.load("n")
                before = len(client.client_list())
                real = manager._call
                monkeypatch.setattr(manager, "_call", lambda _, attempts: real(encode(Load("n")).words, attempts))
                with pytest.raises(CommitUnknown, match="another request"):
                    await manager.commit(turn())
                monkeypatch.undo()
                return before - len(client.client_list()), await manager.load("m")

        dropped, stored = asyncio.run(mix_up())
        assert dropped == 1
        assert isinstance(stored, Stored)


# Heads -------------------------------------------------------------------------------------------------------------


def test_a_head_from_before_an_older_copy_came_back_is_refused(manager: AtomicStateManager, client: Any):
    """After an older copy was restored, a commit on a lost head is a conflict, although the version is the same."""
    head = made(manager, turn(made(manager, turn(token="a")), token="b"))
    copy = {name: client.dump(key(name)) for name in ("state", "audit")}
    lost = made(manager, turn(head, token="c", document=b"lost"))
    for name, data in copy.items():
        client.restore(key(name), 0, data, replace=True)
    made(manager, turn(head, token="d", document=b"after"))
    answer = manager.commit(turn(lost, token="e", document=b"stale"))
    assert isinstance(answer, Conflict)
    assert (answer.current.head.version, answer.current.document) == (lost.version, b"after")


def test_one_of_many_writers_wins_each_version(manager: AtomicStateManager, client: Any):
    """Of concurrent commits on one head exactly one is made."""

    def write(worker: int) -> None:
        head, number = NO_HEAD, 0
        while number < 20:
            answer = manager.commit(turn(head, token=f"{worker} {number}"))
            if isinstance(answer, Committed):
                head, number = answer.head, number + 1
            else:
                assert isinstance(answer, Conflict)
                head = answer.current.head

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = manager.perform(ReadAudit("m"))
    assert [entry.version for entry in entries] == list(range(1, 161))
    assert len(manager.perform(ReadInherited("m")).tokens) == 160


# The async manager -------------------------------------------------------------------------------------------------


class TestGroupCommit:
    def test_commits_of_one_moment_are_one_pipeline(self, server: Server, client: Any):
        """Requests of one moment go out in one pipeline on one connection."""

        async def together() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(server.url) as manager:
                await asyncio.gather(manager.load("m"), manager.load("n"))  # a lone one would let the next leave alone
                client.config_resetstat()
                return await asyncio.gather(*(manager.commit(turn(member=f"m{i}")) for i in range(50)))

        assert all(isinstance(answer, Committed) for answer in asyncio.run(together()))
        info = client.info("all")
        assert info["cmdstat_evalsha"]["calls"] == 50
        assert info["total_connections_received"] == 0
        assert info["total_reads_processed"] < 10  # 16 KiB each

    def test_many_more_than_the_pool_has_connections(self, server: Server, client: Any):
        """Many requests share the connections of the pool, and no more are made."""

        async def flood() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(server.url, connections=2) as manager:
                return await asyncio.gather(*(manager.commit(turn(member=f"m{i}")) for i in range(400)))

        before = client.info("stats")["total_connections_received"]
        assert all(isinstance(answer, Committed) for answer in asyncio.run(flood()))
        assert client.info("stats")["total_connections_received"] - before == 2

    def test_a_request_waits_for_a_connection_without_a_limit(self, server: Server):
        """A request waits for a connection without a time limit, because thousands at once are no fault."""

        async def flood() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(server.url, connections=2) as manager:
                client: Any = manager.servers.client
                client.connection_pool.timeout = 0.001
                return await asyncio.gather(*(manager.load(f"m{i}") for i in range(100 * REQUESTS_PER_PIPELINE)))

        assert all(isinstance(answer, Stored) for answer in asyncio.run(flood()))

    def test_requests_on_a_connection_that_ends_are_sent_again(self, proxy: Proxy):
        """If a connection ends before the replies, its requests are sent again on another one, with those that wait."""
        proxy.plan = ["hang"] * 1000

        async def leave() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(proxy.url, connections=1) as manager:
                tasks = [
                    asyncio.create_task(manager.commit(turn(member=f"m{n}"))) for n in range(REQUESTS_PER_PIPELINE + 1)
                ]
                await seen(proxy, 1)
                proxy.plan = []
                wire_of(manager).end(None)
                return await asyncio.gather(*tasks)

        assert [type(answer) for answer in asyncio.run(leave())] == [Committed] * (REQUESTS_PER_PIPELINE + 1)

    @pytest.mark.parametrize(("request_", "error"), [(turn(), CommitUnknown), (Load("m"), StoreUnavailable)])
    def test_a_connection_that_ends_each_time_is_an_error_of_the_store(
        self, proxy: Proxy, request_: Any, error: type[Exception]
    ):
        """If each connection ends before the reply, a commit is unknown and a load unavailable."""
        proxy.plan = ["hang"] * ATTEMPTS

        async def leave() -> None:
            async with AsyncAtomicStateManager.from_url(proxy.url, timeout=30) as manager:
                task = asyncio.create_task(manager.perform(request_))
                for attempt in range(ATTEMPTS):
                    await seen(proxy, attempt + 1)
                    wire_of(manager).end(OSError("given up"))
                with pytest.raises(error, match="the connection ended: given up"):
                    await task

        asyncio.run(leave())

    @pytest.mark.parametrize(
        ("place", "commit", "load"),
        [
            ("get_connection", StoreUnavailable, StoreUnavailable),
            ("release", Committed, Stored),
            ("reader", CommitUnknown, StoreUnavailable),
        ],
    )
    @pytest.mark.parametrize("fault", [RuntimeError, asyncio.CancelledError, TypeError])
    def test_whatever_fails_beneath_is_an_error_of_the_store(
        self, server: Server, monkeypatch: Any, place: str, commit: type, load: type, fault: type[BaseException]
    ):
        """Any failure of a connection reaches each waiter as an error of the store that says what is known."""
        if (place, fault) == ("reader", asyncio.CancelledError):
            fault = ValueError  # nothing is awaited there, so nothing can be cancelled

        async def fails(*_: object, **__: object) -> Any:
            raise fault

        class Reader:
            def feed(self, data: bytes) -> None:
                raise fault

        async def both() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(server.url, connections=2) as manager:
                await manager.load("m")
                client: Any = manager.servers.client
                with monkeypatch.context() as patch:
                    wire_of(manager).end(None)  # it is released, and another one is taken
                    if place == "reader":
                        patch.setattr("vimbiso_fsm.store.wire.hiredis", SimpleNamespace(Reader=lambda **_: Reader()))
                    else:
                        patch.setattr(client.connection_pool, place, fails)
                    return [*await asyncio.gather(manager.commit(turn()), manager.load("m"), return_exceptions=True)]

        assert [type(answer) for answer in asyncio.run(both())] == [commit, load]

    def test_threads_wait_for_a_connection_of_the_pool(self, server: Server):
        """Threads wait for a free connection instead of failing."""
        answers: list[Any] = []
        with AtomicStateManager.from_url(server.url, connections=2) as manager:

            def write(number: int) -> None:
                answers.append(manager.commit(turn(member=f"m{number}")))

            threads = [threading.Thread(target=write, args=(number,)) for number in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [type(answer) for answer in answers] == [Committed] * 50

    def test_a_cancelled_request_does_not_affect_its_pipeline(self, server: Server):
        """A cancelled request does not affect the others of its pipeline."""

        async def cancel(after: int) -> list[Any]:
            async with AsyncAtomicStateManager.from_url(server.url) as manager:
                await manager.load("m")
                tasks = [asyncio.create_task(manager.commit(turn(member=f"{after} {i}"))) for i in range(9)]
                for _ in range(after):
                    await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
                again = await asyncio.gather(*(manager.commit(turn(member=f"{after} {i}")) for i in range(9)))
                assert all(isinstance(answer, Committed | Duplicate) for answer in again)
                loads = await asyncio.gather(*(manager.load(f"{after} {i}") for i in range(9)))
                assert [load.head.version for load in loads] == [1] * 9
                return answers

        for after in range(8):  # before it is sent, while it is sent, while the answer is awaited
            answers = asyncio.run(cancel(after))
            assert all(isinstance(answer, Committed) for answer in answers[1::2])

    def test_closing_waits_for_the_requests_on_their_way(self, server: Server, client: Any):
        """`close` waits for the requests that are being sent, also for a cancelled one."""

        async def leave() -> None:
            async with AsyncAtomicStateManager.from_url(server.url) as manager:
                await manager.load("m")
                task = asyncio.create_task(manager.commit(turn()))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                task.cancel()

        asyncio.run(leave())
        assert client.hget(key("state"), "v") == b"1"

    def test_the_requests_of_a_pipeline_that_is_cut_are_repeated(self, proxy: Proxy, client: Any):
        """Requests of a pipeline that is cut are repeated, and each commit is made once."""

        async def cut() -> list[Any]:
            async with AsyncAtomicStateManager.from_url(proxy.url) as manager:
                await manager.load("m")
                proxy.plan = ["lose"]
                return await asyncio.gather(*(manager.commit(turn(member=f"m{i}")) for i in range(20)))

        assert all(isinstance(answer, Committed) for answer in asyncio.run(cut()))
        assert {client.llen(key("audit", f"m{i}")) for i in range(20)} == {1}


async def seen(proxy: Proxy, count: int) -> None:
    """Wait until a proxy has seen so many replies."""
    while proxy.seen < count:  # noqa: ASYNC110 – it is counted in a thread
        await asyncio.sleep(0.001)


def wire_of(manager: AsyncAtomicStateManager) -> Wire:
    """Return the first wire of a manager."""
    [line] = manager._loops.get()._lines()
    return line._wires[0]


class TestClients:
    def test_a_client_of_ones_own_stays_open(self, server: Server):
        """A manager leaves the client that it was given open, and reads bytes whatever the client decodes."""
        with redis.Redis(unix_socket_path=str(server.socket), decode_responses=True) as client:
            with AtomicStateManager(client) as manager:
                made(manager, turn(document=b"\xff"))
                stored = manager.load("m", previous=True)
                assert isinstance(stored, Stored)
                assert (stored.document, stored.previous) == (b"\xff", None)
            assert client.ping()

    def test_a_client_of_ones_own_stays_open_awaited(self, server: Server):
        """The async manager leaves the client that it was given open."""

        async def use() -> bool:
            async with redis.asyncio.Redis(unix_socket_path=str(server.socket), decode_responses=True) as client:
                async with AsyncAtomicStateManager(client) as manager:
                    assert isinstance(await manager.commit(turn(document=b"\xff")), Committed)
                return bool(await client.ping())

        assert asyncio.run(use())

    def test_closing_twice(self, server: Server):
        """A second `close` does nothing."""
        manager = AtomicStateManager.from_url(server.url)
        manager.load("m")
        manager.close()
        manager.close()

    def test_names_of_places(self):
        """A place is named without its password."""
        assert connecting._named(redis.Redis(host="db.example", port=7, password="x").connection_pool) == "db.example:7"
        sentinel = redis.Sentinel([("db.example", 26379)])
        assert connecting._named(sentinel.master_for("bots").connection_pool) == "the master of bots"


# Wake-ups and channels by their shard ------------------------------------------------------------------------------


def test_wake_ups_come_earliest_first_and_by_shard(manager: AtomicStateManager):
    """Due members are listed by shard, the earliest first, up to the limit."""
    members = [f"m{i}" for i in range(3_000)]
    shard = shard_of(members[0])
    same = [member for member in members if shard_of(member) == shard][:3]
    for member, at in zip(same, (30.0, 10.0, 20.5), strict=True):
        made(manager, turn(member=member, wake_at=at))
    other = next(member for member in members if shard_of(member) != shard)
    made(manager, turn(member=other, wake_at=1.0))
    assert manager.perform(ReadDue(shard, 30.0)) == (same[1], same[2], same[0])
    assert manager.perform(ReadDue(shard, 30.0, limit=1)) == (same[1],)
    assert manager.perform(ReadDue(shard, 20.0)) == (same[1],)
    manager.perform(SetWakeUp(same[1], manager.load(same[1]).head))
    assert manager.perform(ReadDue(shard, 25.0)) == (same[2],)


def test_a_channel_is_unlinked_by_its_owner_alone(manager: AtomicStateManager):
    """Only the owner of a channel can unlink it."""
    channel = Channel("sms", "1")
    assert manager.perform(Link(channel, "m")) == Linked("m")
    assert manager.perform(Unlink(channel, "n")) == Linked("m")
    assert manager.perform(Unlink(channel, "m")) == Linked(None)


# What the script leans on; these notice when an engine changes it --------------------------------------------------


class TestEngineFacts:
    def test_a_script_is_not_rolled_back(self, client: Any):
        """A script that fails keeps its earlier writes, so the script checks everything before its first write."""
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client.eval("redis.call('SET', KEYS[1], 1) redis.call('RPUSH', KEYS[1], 1)", 1, "k")
        assert client.get("k") == b"1"

    def test_memory_is_refused_at_the_first_write_only(self, client: Any):
        """After a first write that frees memory, a full server refuses no write of the script."""
        client.mset({"k": 1, "l": 2})
        client.config_set("maxmemory", 1)
        then = "return redis.call('SET', KEYS[1], ARGV[1])"
        try:
            with pytest.raises(redis.OutOfMemoryError):
                client.eval(f"redis.call('COPY', KEYS[1], KEYS[2], 'REPLACE') {then}", 2, "k", "l", "x")
            assert client.eval(f"redis.call('DEL', KEYS[2]) {then}", 2, "k", "l", "x") == b"OK"
        finally:
            client.config_set("maxmemory", 0)

    def test_pcall_hides_a_refusal(self, client: Any):
        """`redis.pcall` hides an error, so the script does not use it."""
        client.set("k", 1)
        assert client.eval("redis.pcall('RPUSH', KEYS[1], 1) return 'fine'", 1, "k") == b"fine"

    def test_cjson_changes_documents(self, client: Any):
        """The Lua library cjson does not preserve documents, so the script does not use it."""
        script = "return cjson.encode(cjson.decode(ARGV[1]))"
        assert client.eval(script, 0, '{"n":123456789012345678}') != b'{"n":123456789012345678}'
        assert client.eval(script, 0, '{"l":[]}') == b'{"l":{}}'

    def test_a_copy_takes_the_time_to_live_along(self, client: Any):
        """COPY keeps the time to live of its source."""
        client.set("k", 1, ex=100)
        client.copy("k", "l")
        assert 90 < client.ttl("l") <= 100


def test_a_command_carries_the_tag_of_its_reply():
    """A command carries the tag and the token with which its reply must start."""
    commit = turn(token="a token")
    assert encode(commit)[1:] == Command((), key("state"), b"a%20token")[1:]


# The bytes on the wire ---------------------------------------------------------------------------------------------

commands = st.lists(st.binary() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])), min_size=1).map(
    tuple
)


@given(commands)
def test_words_are_packed_as_the_protocol_has_them(words: tuple[bytes | int | str, ...]):
    """Words are packed as bulk strings with their lengths in bytes; numbers in decimal, texts in UTF-8."""
    raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    bulk = [b"$%d\r\n%b\r\n" % (len(word), word) for word in raw]
    assert pipelines.packed(words) == b"*%d\r\n" % len(words) + b"".join(bulk)


def test_a_text_that_is_no_utf_8_is_not_sent():
    """A text that UTF-8 cannot encode raises an error before anything is sent."""
    with pytest.raises(UnicodeEncodeError):
        pipelines.packed(("GET", "\ud800"))


@pytest.mark.parametrize("protocol", [2, 3])
def test_replies_are_read_in_order_whatever_protocol_a_client_speaks(server: Server, protocol: int):
    """Replies are read in order in protocol 2 and in protocol 3."""

    async def asked() -> list[Any]:
        client = redis.asyncio.Redis(unix_socket_path=str(server.socket), protocol=protocol)
        async with client, AsyncAtomicStateManager(client) as manager:
            await asyncio.gather(*(manager.commit(turn(member=f"m{i}", document=b"%d" % i)) for i in range(30)))
            return await asyncio.gather(*(manager.load(f"m{i}") for i in range(30)))

    assert [answer.document for answer in asyncio.run(asked())] == [b"%d" % i for i in range(30)]


class TestFirstAttempt:
    def test_the_servers_are_looked_for_once_by_many_that_failed_together(self, server: Server, monkeypatch):
        """Requests that failed together refresh the topology once."""
        with AtomicStateManager.from_url(server.url) as manager:
            manager.load("m")
            views: list[int] = []
            monkeypatch.setattr(manager.servers, "refresh", views.append)
            monkeypatch.setattr("vimbiso_fsm.store.attempts.FIRST_WAIT", 0.0)
            real = manager._call

            async def fails(*_: Any) -> Answer:
                manager.servers.seen += 1  # another thread looks meanwhile
                monkeypatch.setattr(manager, "_call", real)
                raise redis.ConnectionError("gone")

            monkeypatch.setattr(manager, "_call", fails)
            assert isinstance(manager.load("m"), Stored)
            assert views == [0]
