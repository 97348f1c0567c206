"""Managers whose store is encrypted: what is stored, which keys are needed, and what happens without them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
import redis

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.digests import guest_id
from tests.engines import Server
from vimbiso_fsm import (
    SECRET,
    AsyncFlowStateManager,
    Bot,
    Call,
    Caller,
    Changes,
    Channel,
    EncryptedState,
    Encryption,
    Flow,
    FlowStateManager,
    KeyRing,
    Message,
    Row,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.audit.trail import faults, read_trail
from vimbiso_fsm.encryption.procedures import LONGEST_LIFE, Procedures, Reencrypt
from vimbiso_fsm.encryption.settings import SCOPES
from vimbiso_fsm.encryption.store import EncryptedStore
from vimbiso_fsm.engine.events import content_digest
from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, StoreUnavailable
from vimbiso_fsm.messages.readers import free_text
from vimbiso_fsm.operations.census import Census
from vimbiso_fsm.store.ciphertext import frame_of
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import (
    NO_HEAD,
    Commit,
    Committed,
    Entry,
    Erase,
    Head,
    KeepKey,
    Load,
    Quarantine,
    ReadAudit,
    ReadKeys,
    ReadRecords,
    Scan,
    ShowQuarantined,
    Stored,
    Wipe,
    digest,
)
from vimbiso_fsm.store.retention import DAY, DOCUMENT_LIFE, GUEST_KEY_LIFE
from vimbiso_fsm.testing.chat import STORE_SECRET

ONE, TWO, THREE = (bytes(range(start, start + 32)) for start in (0, 32, 64))
OLD, NEW, BOTH = KeyRing({"one": ONE}), KeyRing({"two": TWO}), KeyRing({"two": TWO, "one": ONE})
PIN, NAME, BALANCE, TOKEN = "pin-4711-pin", "Lovelace", "18.00-ZWG", "jwt-header.payload.signature"
PHONE = Channel("whatsapp", "263771000001")
ENCRYPTED = [scope for scope in SCOPES if scope != "plain"]


@attrs.frozen
class Card:
    """The data of the flow: a secret, and an answer that is none."""

    pin: str = attrs.field(default="", metadata=SECRET)
    goods: str = ""


class Bank:
    """A service that takes the PIN, and says nothing of it."""

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.hook: Callable[[], None] = lambda: None

    def pay(self, pin: str, *, caller: Caller = Caller()) -> str:  # noqa: B008  # the manager gives its own
        self.hook()
        if caller.key not in self.paid:
            self.paid.append(caller.key)
        return f"receipt for {pin}"


BANK = Bank()


def logged_in(turn: Turn[Card]) -> Changes[Card]:
    """Make the guest a member, with a profile and a login token."""
    profile = {"name": NAME, "language": "en"}
    member = attrs.evolve(
        turn.member, id="m-1", guest=False, authenticated=True, jwt_token=TOKEN, profile=profile,
        current_account={"balance": BALANCE},
    )  # fmt: skip
    return turn.changes(member=member)


def rows(turn: Turn[Card]) -> list[Row]:
    """Show choices that quote the secret."""
    return [Row(str(n), f"row {turn.data.pin} {n}") for n in range(3)]


def paying(turn: Turn[Card]) -> Call[str]:
    """Give the secret to the service."""
    return call(Bank.pay, pin=turn.data.pin)


card = Flow(
    "card", data=Card, initial="pin",
    states=[
        State("pin", ask=Text("Which PIN?"), reads=free_text(40), into="pin"),
        State("goods", ask=lambda turn: Text(f"Your PIN is {turn.data.pin}. For what?"), rows=rows, into="goods"),
        State("paying", call=paying),
        State("done", ask=lambda turn: Text(f"Paid with {turn.data.pin}, {turn.member.profile['name']}.")),
    ],
    transitions=[
        Transition("answer", "pin", "goods", prepare=logged_in),
        Transition("answer", "goods", "paying"),
        Transition(["done", "failed"], "paying", "done"),
        Transition("again", "done", "goods"),
    ],
)  # fmt: skip


@attrs.frozen
class Count:
    """The number of messages."""

    count: int = 0


def one_more(turn: Turn[Count]) -> Count:
    """Count a message."""
    return attrs.evolve(turn.data, count=turn.data.count + 1)


counted = Flow(
    "counted", data=Count, initial="counting",
    states=[State("counting", ask=Text("Go on."), reads=free_text(40))],
    transitions=[Transition("answer", "counting", "counting", prepare=one_more)],
)  # fmt: skip
BOT = Bot(card, services={"bank": BANK})


def said(number: int, text: str) -> Message:
    """Make a message."""
    return Message(PHONE, f"w{number}", text)


CONVERSATION = ["hi", PIN, f"row {PIN} 1", "again", f"row {PIN} 2", "again"]


def talk(manager: FlowStateManager, *, start: int = 0, texts: list[str] = CONVERSATION) -> list[str]:
    """Let the member say texts, and return the replies."""
    return [
        str(reply) for number, text in enumerate(texts, start) for reply in manager.handle(said(number, text)).replies
    ]


def on(store: Any, encryption: Encryption | None, **options: Any) -> FlowStateManager:
    """Return a manager without a cache on a store."""
    return FlowStateManager(BOT, store, encryption=encryption, cache=0, **options)


def dump(client: redis.Redis) -> dict[bytes, bytes]:
    """Return every key of a server with its bytes, as `RESTORE` takes them."""
    found: Any = {key: client.dump(key) for key in client.scan_iter()}
    return dict(found)


def values(client: Any) -> bytes:
    """Return every key and every value of a server."""
    found: list[bytes] = []
    for key in client.scan_iter():
        match client.type(key):
            case b"hash":
                found += [key, *client.hgetall(key), *client.hgetall(key).values()]
            case b"list":
                found += [key, *client.lrange(key, 0, -1)]
            case b"zset":
                found += [key, *client.zrange(key, 0, -1)]
            case _:
                found += [key, client.get(key) or b""]
    return b"\n".join(found)


def state_of(store: Any, member_id: str = "m-1") -> Stored:
    """Return what is stored of a member."""
    stored = store.perform(Load(member_id, previous=True))
    assert isinstance(stored, Stored)
    return stored


# What is stored -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True], ids=["ring", "own"])
@pytest.mark.parametrize("scope", ENCRYPTED)
def test_no_stored_byte_holds_a_secret(scope: Any, own: bool, server: Server):
    """At no time does a key or value hold a secret, or an unkeyed digest of one: not while a call is pending either."""
    seen: list[bytes] = []
    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store, server.client() as client:
        manager = on(store, Encryption(OLD, scope, own))
        BANK.hook = lambda: seen.append(values(client))
        for number, text in enumerate(CONVERSATION):
            manager.handle(said(number, text))
            seen.append(values(client))
        BANK.hook = lambda: None
        assert manager.state("m-1").profile["name"] == NAME  # type: ignore[union-attr]  # it is there
        document = state_of(EncryptedStore(store, Encryption(OLD, scope, own))).document or b""
        assert PIN.encode() in document
        secrets = [PIN, NAME, BALANCE, TOKEN, "receipt", digest(document)]
        secrets += [content_digest(said(number, text), b"") for number, text in enumerate(CONVERSATION)]
        secrets += [PHONE.identifier, "Which PIN?"] if scope == "whole" else []
        for text in secrets:
            assert not any(text.encode() in each for each in seen), text
        if scope == "fields":
            assert b'"step":"goods"' in seen[-1]
        assert faults(read_trail(store, "m-1")) == faults(read_trail(manager._store, "m-1")) == ()


@pytest.mark.parametrize("scope", SCOPES)
def test_what_was_plain_is_encrypted_with_the_next_turn(scope: Any):
    """A store of before is read; the next turn writes in the new scope, and what was handled stays handled."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    plain = on(store, None)
    replies = talk(plain)
    for encryption in (Encryption(OLD, scope), Encryption(BOTH, "whole"), Encryption(BOTH, scope)):
        manager = on(store, encryption)
        outcome = manager.handle(said(1, PIN))
        assert (outcome.status, [str(reply) for reply in outcome.replies]) == ("duplicate", replies[1:2])
        assert manager.handle(said(1, "another")).status == "refused"
        assert manager.handle(said(1000 + id(encryption), f"row {PIN} 0")).status == "advanced"
        assert manager.handle(said(2000 + id(encryption), "again")).status == "advanced"
        stored = state_of(store).document or b""
        assert stored.startswith(b"{") == (encryption.scope == "plain")
        assert state_of(manager._store).ciphertext == (stored if encryption.scope != "plain" else None)
    assert [record.content for record in store.perform(ReadRecords("m-1"))][-1:] != [""] or scope != "plain"


@pytest.mark.parametrize("scope", ENCRYPTED)
def test_a_flipped_bit_is_mended_from_the_document_before(scope: Any):
    """A changed byte, a document of another version and one of another member are damage, and are mended as such."""
    for damage in ("bit", "version", "member"):
        store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
        manager = on(store, Encryption(OLD, scope))
        talk(manager)
        state: Any = store._members["m-1"].state
        data = state.document
        if damage == "bit":
            data = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
        elif damage == "version":
            data = store._members["m-1"].previous or b""
        else:
            other = EncryptedStore(MemoryStore(lambda: 1e9, secret=STORE_SECRET), Encryption(OLD, scope))
            commit = Commit("m-2", NO_HEAD, "t", "t", "", b"{}", Entry(1, "d", b"{}"))
            other.perform(attrs.evolve(commit, entry=Entry(1, digest(b"e"), b"e")))
            data = state_of(other.inner, "m-2").document or b""
        store._members["m-1"].state = attrs.evolve(state, document=data)
        with pytest.raises(DamagedDocument, match="changed or moved"):
            manager.state("m-1")
        outcome = manager.handle(said(99, "again"))
        assert outcome.status in ("recovered", "advanced", "refused")
        [kept] = manager.quarantined("m-1")
        assert data in store.perform(ShowQuarantined("m-1", kept))
        assert manager.state("m-1").profile["name"] == NAME  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("scope", ENCRYPTED)
def test_what_is_stored_of_a_stranger_is_packed(scope: Any):
    """In each scope, the document of a guest who has answered nothing takes less than half of its bytes."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    manager = on(store, Encryption(OLD, scope))
    talk(manager, texts=["hi"])
    plain = state_of(manager._store, guest_id(PHONE)).document or b""
    kept = state_of(store, guest_id(PHONE)).document or b""
    assert plain.startswith(b"{")
    assert 0 < len(kept) < len(plain) / 2 + 150  # the frame
    assert manager.handle(said(1, PIN)).status == "advanced"


def test_quarantined_data_is_shown_decrypted():
    """An operator sees quarantined documents as they were, where they can be decrypted."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    manager = on(store, Encryption(OLD))
    talk(manager)
    document = state_of(manager._store).document
    store.perform(Quarantine("m-1", state_of(store).head))
    [kept] = manager.quarantined("m-1")
    assert document in manager.ask(ShowQuarantined("m-1", kept))
    assert document not in on(store, Encryption(NEW)).ask(ShowQuarantined("m-1", kept))


# Without the key ------------------------------------------------------------------------------------------------------

MISSING = {
    "none": None,
    "another": Encryption(NEW),
    "another of the same name": Encryption(KeyRing({"one": TWO})),
}


@pytest.mark.parametrize("given", MISSING)
@pytest.mark.parametrize("scope", ENCRYPTED)
def test_without_the_key_nothing_is_changed(scope: Any, given: str, caplog: pytest.LogCaptureFixture):
    """Each message and operation is answered clearly, nothing is changed, and with the key all goes on."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    cache = on(store, Encryption(OLD, scope))
    talk(cache)
    before = attrs.asdict(store._members["m-1"])
    manager = on(store, MISSING[given])
    operations: list[Callable[[], object]] = [
        lambda: manager.handle(said(99, "again")),
        lambda: manager.handle(said(1, PIN)),
        lambda: manager.wake("m-1"),
        lambda: manager.state("m-1"),
        lambda: manager.recover("m-1"),
        lambda: manager.recover("m-1", to=2),
        lambda: manager.reset("m-1"),
        lambda: manager.export("m-1"),
        lambda: manager.update("m-1", lambda document: document),
        lambda: manager.link("m-1", Channel("telegram", "1")),
    ]
    for operation in operations:
        with pytest.raises(EncryptedState) as error:
            operation()
        assert (error.value.member_id, error.value.key) == ("m-1", OLD.current)
        assert error.value.key in str(error.value)
    with pytest.raises(EncryptedState) as refused:
        manager.handle(said(99, "again"))
    assert "nothing was changed. Please send it again in a while." in refused.value.reply
    assert "a message was not answered" in caplog.text
    assert PIN not in caplog.text + str(refused.value)
    assert attrs.asdict(store._members["m-1"]) == before
    census = Census(BOT)
    census.add(state_of(manager._store).document or b"")
    [fault] = census.broken
    assert OLD.current in fault
    assert on(store, Encryption(BOTH, scope)).handle(said(99, "again")).status == "refused"


@pytest.mark.parametrize("given", MISSING)
def test_without_the_key_a_member_can_be_wiped_and_erased(given: str):
    """A key that is lost for good leaves a way: the member is wiped or erased, and begins anew."""
    for operation in ("wipe", "erase"):
        store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
        talk(on(store, Encryption(OLD, "whole", member_keys=True)))
        manager = on(store, MISSING[given])
        getattr(manager, operation)("m-1")
        assert state_of(store).document is None
        outcome = manager.handle(said(99, "hi"))
        assert (outcome.status, outcome.state.guest) == ("advanced", True)


def test_a_ring_that_changes_while_the_manager_runs_is_followed():
    """A key that is added later is found when data names it, and the next turn writes with the new current key."""
    rings = [OLD]
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    manager = on(store, Encryption(lambda: rings[-1]))
    talk(manager, texts=CONVERSATION[:2])
    rings.append(BOTH)
    manager.handle(said(2, CONVERSATION[2]))
    assert f" {NEW.current} ".encode() in (state_of(store).document or b"")
    rings.append(NEW)
    assert manager.state("m-1") is not None
    with pytest.raises(EncryptedState, match="give the key that was used"):
        manager.handle(said(1, PIN))


# Encrypting again -----------------------------------------------------------------------------------------------------


def kinds_of(store: Any, member_id: str = "m-1") -> set[str]:
    """Return the keys with which anything of the member is encrypted."""
    stored = state_of(store, member_id)
    bodies = [stored.document, stored.previous, *(record.body for record in store.perform(ReadRecords(member_id)))]
    frames = [frame_of(body) if body is not None else None for body in bodies]
    return {frame.key if frame else "plain" for frame, body in zip(frames, bodies, strict=True) if body is not None}


@pytest.mark.parametrize("scope", ENCRYPTED)
@pytest.mark.parametrize("before", [None, Encryption(OLD), Encryption(OLD, "fields"), Encryption(OLD, "whole", True)])
def test_all_of_a_member_is_encrypted_again(before: Encryption | None, scope: Any):
    """After it no part needs an old key, is plain or is encrypted; the audit is whole and a repeat does nothing."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    first = on(store, before)
    replies = talk(first)
    document, trail = state_of(first._store).document, store.perform(ReadAudit("m-1"))
    manager = on(store, Encryption(BOTH, scope))
    looked = manager.ask(Reencrypt("m-1", dry_run=True))
    done = manager.ask(Reencrypt("m-1"))
    assert looked.found == done.found
    assert done.rewritten > 3
    assert (looked.rewritten, done.closed, done.broken) == (0, {}, 0)
    after = on(store, Encryption(NEW, scope))
    assert kinds_of(store) == {NEW.current}
    assert (state_of(after._store).document, store.perform(ReadAudit("m-1"))) == (document, trail)
    assert faults(read_trail(after._store, "m-1")) == faults(read_trail(store, "m-1")) == ()
    again = manager.ask(Reencrypt("m-1"))
    assert (again.rewritten, {*again.found}) == (0, {NEW.current})
    outcome = after.handle(said(1, PIN))
    assert (outcome.status, [str(reply) for reply in outcome.replies]) == ("duplicate", replies[1:2])
    assert after.handle(said(99, f"row {PIN} 0")).status == "advanced"


def test_a_part_that_changes_meanwhile_is_left_alone():
    """Whatever turn is stored between two steps of an encryption, it stays, and nothing of before takes its place."""

    class Racing:
        """A store in which a turn is made before one of the requests."""

        def __init__(self) -> None:
            self.store, self.at, self.steps = MemoryStore(lambda: 1e9, secret=STORE_SECRET), -1, 0

        def perform(self, request: Any) -> Any:
            if self.at >= 0:
                self.steps += 1
                if self.steps == self.at:
                    self.at = -1
                    turn(self.store)
            return self.store.perform(request)

    def turn(store: Any) -> None:
        on(store, Encryption(BOTH, member_keys=own)).handle(said(50, f"row {PIN} 0"))

    for own in (False, True):
        for at in range(1, 9):
            racing = Racing()
            talk(on(racing.store, Encryption(OLD, member_keys=own)))
            racing.at = at
            store = EncryptedStore(racing, Encryption(BOTH, member_keys=own))
            store.perform(Reencrypt("m-1"))
            if racing.at != -1:
                turn(racing.store)
            racing.at = -1
            manager = on(racing.store, Encryption(BOTH, member_keys=own))
            document = manager.state("m-1")
            assert document is not None
            assert document.run is not None
            assert document.run.step == "done", (own, at)
            assert faults(read_trail(racing.store, "m-1")) == ()
            assert manager.handle(said(1, PIN)).status == "duplicate"
            store.perform(Reencrypt("m-1"))
            assert on(racing.store, Encryption(NEW, member_keys=own)).handle(said(1, PIN)).status == "duplicate"


class Crash(Exception):
    """The end of a process."""


class Crashing:
    """A store of a process that ends after some requests."""

    def __init__(self, store: MemoryStore, after: int = -1) -> None:
        self.store, self.left = store, after

    def perform(self, request: Any) -> Any:
        if self.left == 0:
            raise Crash
        self.left -= 1
        return self.store.perform(request)


def test_an_encryption_may_end_at_any_request():
    """After a crash at any request everything can be read, and a repeat does the rest."""
    for own in (False, True):
        for after in range(9):
            store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
            talk(on(store, Encryption(OLD, member_keys=own)))
            document = state_of(on(store, Encryption(OLD, member_keys=own))._store).document
            with suppress(Crash):
                EncryptedStore(Crashing(store, after), Encryption(BOTH, member_keys=own)).perform(Reencrypt("m-1"))
            both = EncryptedStore(store, Encryption(BOTH, member_keys=own))
            assert state_of(both).document == document
            both.perform(Reencrypt("m-1"))
            assert state_of(EncryptedStore(store, Encryption(NEW, member_keys=own))).document == document


@pytest.mark.parametrize("own", [False, True], ids=["ring", "own"])
def test_keys_rotate_under_load(own: bool, server: Server):
    """Threads send turns, keys are rotated and members are encrypted again at once: each turn takes effect once."""
    rings = [OLD]
    encryption = Encryption(lambda: rings[-1], member_keys=own)
    members = [Channel("whatsapp", f"26377100{number:04}") for number in range(6)]
    errors: list[BaseException] = []

    def chats(manager: FlowStateManager, channel: Channel) -> None:
        for number in range(26):
            outcome = manager.handle(Message(channel, f"c{number}", f"say {number}"))
            assert outcome.status in ("advanced", "duplicate"), outcome

    def rotates(manager: FlowStateManager, store: Any) -> None:
        for ring in (BOTH, KeyRing({"three": THREE, "two": TWO, "one": ONE})):
            rings.append(ring)
            for name in store.perform(Scan()):
                manager.ask(Reencrypt(name))

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store:
        managers = [FlowStateManager(Bot(counted), store, encryption=encryption, cache=cache) for cache in (0, 100)]
        works = [partial(chats, manager, channel) for manager in managers for channel in members]
        threads = [
            threading.Thread(target=guarded, args=(work,)) for work in (*works, partial(rotates, managers[0], store))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        for name in store.perform(Scan()):
            managers[0].ask(Reencrypt(name))
        rings.append(KeyRing({"three": THREE}))
        for name in map(guest_id, members):
            document = managers[0].state(name)
            assert document is not None
            assert document.flow_data is not None
            assert document.flow_data.data.fields["count"] == 25, "each message but the first counts once"
            assert faults(read_trail(store, name)) == ()
            assert kinds_of(store, name).isdisjoint({OLD.current, NEW.current})


# A member's own key ---------------------------------------------------------------------------------------------------


def test_an_erased_member_is_unreadable_in_a_restored_copy(server: Server):
    """With the keys elsewhere, a copy of the store from before an erasure holds nothing that can be decrypted."""
    encryption = Encryption(OLD, member_keys=f"{server.url}?db=1")
    other = Channel("whatsapp", "263771000002")
    with AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store, server.client() as client:
        with on(store, encryption) as manager:
            talk(manager)
            manager.handle(Message(other, "o1", "hi"))
            copied = dump(client)
            assert manager.erase("m-1").entries > 3
            client.flushdb()
            for key, data in copied.items():
                client.restore(key, 0, data)
        with on(store, encryption) as manager:
            for operation in (lambda: manager.state("m-1"), lambda: manager.handle(said(99, "again"))):
                with pytest.raises(EncryptedState, match="wiped or erased since"):
                    operation()
            assert store.perform(ReadRecords("m-1"))
            assert manager.handle(Message(other, "o1", "hi")).status == "duplicate"
            manager.erase("m-1")
            outcome = manager.handle(said(99, "hi"))
            assert (outcome.status, outcome.state.guest) == ("advanced", True)
            assert manager.ask(ReadKeys("m-1")) == ()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_erasure_drops_every_key_also_after_two_crashes(elsewhere: bool):
    """An erasure that ends at any two requests and is repeated leaves no key of the member, and none of the guest."""

    def erased(*ends: int) -> tuple[Any, bool]:
        """Erase the member in a process that ends after some requests, once for each number; then once more."""
        crashing = Crashing(MemoryStore(lambda: 1e9, secret=STORE_SECRET))
        keys = Crashing(MemoryStore(lambda: 1e9, secret=STORE_SECRET)) if elsewhere else crashing
        manager = on(EncryptedStore(crashing, Encryption(OLD, member_keys=True), keys=keys), None)
        talk(manager, texts=CONVERSATION[:2])
        ended = True
        for end in ends:
            crashing.left = keys.left = end
            with suppress(Crash):
                manager.erase("m-1")
                ended = False
        crashing.left = keys.left = -1
        left = keys.store.perform(ReadKeys("m-1"))
        manager.erase("m-1")
        for name in ("m-1", guest_id(PHONE)):
            assert keys.store.perform(ReadKeys(name)) == (), (ends, name)
        assert manager.handle(said(99, "hi")).status == "advanced"
        return left, ended

    first, ended = 0, True
    while ended:
        left, ended = erased(first)
        second = 0
        while left and ended and second < 60:
            _, again = erased(first, second)
            second = second + 1 if again else 60
        first += 1
    assert first > 10


def test_a_turn_beside_a_wipe_or_an_erasure_loses_nothing():
    """A turn that is stored between any two requests of a wipe or an erasure can be read afterwards."""
    encryption = Encryption(OLD, member_keys=True)
    for operation in ("wipe", "erase"):
        for at in range(1, 40):
            store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
            talk(on(store, encryption))
            other = FlowStateManager(BOT, store, encryption=encryption)
            racing = Racing(store, at, partial(other.handle, said(70, "hi")))
            getattr(on(racing, encryption), operation)("m-1")
            for name in ("m-1", guest_id(PHONE)):
                on(store, encryption).state(name)
            assert other.handle(said(71, "menu")).status in ("advanced", "refused"), (operation, at)


SAYS, ERASES, WIPES, ENCRYPTS = "a turn", "an erasure", "a wipe", "an encryption"


def begun(what: str, store: Any, procedures: Procedures, number: int) -> Any:
    """Begin a procedure at the guest, on what is stored now."""
    guest = guest_id(PHONE)
    head = state_of(store, guest).head
    version = head.version + 1
    body = b'{"document":"","at":%d}' % number
    entry = Entry(version, digest(body), body)
    match what:
        case "a turn":
            return procedures.answer(Commit(guest, head, f"t{number}", f"t{number}", "", b"{}", entry, b"{}"))
        case "an erasure":
            return procedures.answer(Erase(guest, 0, 99, b"{}", all=True))
        case "a wipe":
            return procedures.answer(Wipe(guest, head, entry))
        case _:
            return procedures.answer(Reencrypt(guest))


@pytest.mark.parametrize("stored", [False, True], ids=["nothing stored", "a document"])
@pytest.mark.parametrize(
    ("one", "other"), [(SAYS, SAYS), (SAYS, ERASES), (SAYS, WIPES), (SAYS, ENCRYPTS), (WIPES, ENCRYPTS)]
)
def test_any_two_procedures_in_any_order_lose_nothing_and_leave_no_key(one: str, other: str, stored: bool):
    """However the requests of two processes alternate, what is stored can be read, and a wiped key stays dropped."""
    guest = guest_id(PHONE)

    def play(choices: list[int]) -> None:
        """Let two processes take their steps as chosen; further steps are of the first, and are appended."""
        store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
        first = EncryptedStore(store, Encryption(OLD, member_keys=True))
        head = NO_HEAD
        for number in range(2 if stored else 1):
            entry = Entry(head.version + 1, digest(b"%d" % number), b"%d" % number)
            first.perform(Commit(guest, head, f"s{number}", f"s{number}", "", b"{}", entry, b"{}"))
            head = state_of(store, guest).head
        if not stored:
            entry = Entry(head.version + 1, digest(b"w"), b"w")
            first.perform(Wipe(guest, head, entry))
        known = {key.id for key in store.perform(ReadKeys(guest))}
        working: list[Any] = []
        for number, what in enumerate((one, other)):
            procedures = EncryptedStore(store, Encryption(BOTH, member_keys=True))._procedures
            operation = begun(what, store, procedures, number)
            working.append([operation, operation.send(None), what])
        place, wiped = 0, False
        while working:
            if place == len(choices):
                choices.append(0)
            taken = working[choices[place] if len(working) > 1 else 0]
            place += 1
            operation, request, what = taken
            answer = store.perform(request)
            wiped = wiped or (isinstance(request, Wipe) and isinstance(answer, Committed))
            try:
                taken[1] = operation.send(answer)
            except StopIteration:
                working.remove(taken)
        del choices[place:]
        document = state_of(EncryptedStore(store, Encryption(BOTH, member_keys=True)), guest).document
        assert document in (None, b"{}"), choices
        if wiped:
            assert known.isdisjoint(key.id for key in store.perform(ReadKeys(guest))), choices

    choices, played = list[int](), 0
    while True:
        play(choices)
        played += 1
        while choices and choices[-1] == 1:
            choices.pop()
        if not choices:
            break
        choices[-1] = 1
    assert played > 5


def test_a_late_answer_does_not_bring_a_dropped_key_back():
    """A load that is answered late, after a wipe, does not tell the key of the next turn."""
    guest, store = guest_id(PHONE), MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    encrypted = EncryptedStore(store, Encryption(OLD, member_keys=True))
    on(encrypted, None).handle(said(0, "hi"))
    late: Any = encrypted._procedures.answer(Load(guest))
    answer = store.perform(late.send(None))
    on(EncryptedStore(store, Encryption(OLD, member_keys=True)), None).wipe(guest)
    head = state_of(encrypted, guest).head
    with suppress(StopIteration):
        late.send(answer)
    entry = Entry(head.version + 1, digest(b"e"), b"e")
    encrypted.perform(Commit(guest, head, "t", "t", "", b"{}", entry, b"{}"))
    assert state_of(EncryptedStore(store, Encryption(OLD, member_keys=True)), guest).document == b"{}"


class Racing:
    """A store in which another process does something before one of the requests."""

    def __init__(self, store: MemoryStore, at: int, act: Callable[[], object]) -> None:
        self.store, self.left, self.act = store, at, act

    def perform(self, request: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            self.act()
        return self.store.perform(request)


@pytest.mark.parametrize("cache", [0, 100])
def test_a_stranger_has_no_key_of_their_own(cache: int):
    """Nothing of a stranger outlives them: their data has the key of the ring, and the first answer makes their own."""
    store, guest = MemoryStore(lambda: 1e9, secret=STORE_SECRET), guest_id(PHONE)
    manager = FlowStateManager(Bot(counted), store, encryption=Encryption(OLD, member_keys=True), cache=cache)

    def key_of_document() -> str:
        frame = frame_of(state_of(store, guest).document or b"")
        assert frame is not None
        return frame.key

    manager.handle(said(0, "hi"))
    assert store.perform(ReadKeys(guest)) == ()
    assert key_of_document() == OLD.current
    for number in (1, 2):
        assert manager.handle(said(number, "one")).status == "advanced"
        [own] = store.perform(ReadKeys(guest))
        assert key_of_document() == own.id
    assert [manager.handle(said(number, text)).status for number, text in ((0, "hi"), (1, "one"))] == 2 * ["duplicate"]
    state = manager.state(guest)
    assert state is not None
    assert state.run is not None
    manager.erase(guest)
    assert store.perform(ReadKeys(guest)) == ()


def test_a_turn_that_is_stored_is_answered_though_the_keys_cannot_be_reached():
    """After the commit no failure of the store of the keys says that nothing was stored."""

    class Failing:
        """A store that cannot be reached for one kind of request, apart from the first of `KeepKey`."""

        def __init__(self) -> None:
            self.store, self.kept, self.fails = MemoryStore(lambda: 1e9, secret=STORE_SECRET), 0, "KeepKey"

        def perform(self, request: Any) -> Any:
            self.kept += isinstance(request, KeepKey)
            if type(request).__name__ == self.fails and self.kept != 1:
                raise StoreUnavailable("the keys cannot be reached")
            return self.store.perform(request)

    keys = Failing()
    store = EncryptedStore(MemoryStore(lambda: 1e9, secret=STORE_SECRET), Encryption(OLD, member_keys=True), keys=keys)
    manager = FlowStateManager(Bot(counted), store, cache=0)
    for number, text in enumerate(("hi", "one")):
        assert manager.handle(said(number, text)).status == "advanced"
    assert keys.kept == 2
    keys.fails = "DropKeys"
    with pytest.raises(CommitUnknown):
        manager.wipe(guest_id(PHONE))


def test_a_turn_asks_the_store_once():
    """A turn of a member whose document is cached is one request, with a key of the member's own too."""

    class Counting:
        """A store that notes what it is asked."""

        def __init__(self) -> None:
            self.store, self.asked = MemoryStore(lambda: 1e9, secret=STORE_SECRET), list[str]()

        def perform(self, request: Any) -> Any:
            self.asked.append(type(request).__name__)
            return self.store.perform(request)

    for encryption in (None, Encryption(OLD), Encryption(OLD, "fields"), Encryption(OLD, member_keys=True)):
        counting = Counting()
        manager = FlowStateManager(BOT, counting, encryption=encryption, cache=100)
        talk(manager, texts=CONVERSATION[:2])
        counting.asked.clear()
        manager.handle(said(9, "what"))
        manager.handle(said(10, "what"))
        assert counting.asked == ["Commit", "Commit"]


# The async manager and the settings -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_async_manager_encrypts_as_the_sync_one_does(server: Server):
    """Both managers read what the other has written, with keys of the members' own elsewhere."""
    encryption = Encryption(OLD, "fields", member_keys=f"{server.url}?db=1")
    async with AsyncFlowStateManager.from_url(server.url, BOT, encryption=encryption, secret=STORE_SECRET) as manager:
        for number, text in enumerate(CONVERSATION):
            await manager.handle(said(number, text))
        document = await manager.state("m-1")
        assert (await manager.ask(Reencrypt("m-1"))).rewritten == 0
    with FlowStateManager.from_url(server.url, BOT, encryption=encryption, secret=STORE_SECRET) as sync:
        assert sync.state("m-1") == document
        assert sync.handle(said(1, PIN)).status == "duplicate"
        sync.erase("m-1")
    with server.client() as client:
        assert PIN.encode() not in values(client)


def test_settings_that_are_none_are_refused():
    """A scope or a ring that is none is refused when the settings are made, and no key is shown."""
    with pytest.raises(ValueError, match="'whole', 'fields', 'plain'"):
        Encryption(OLD, "all")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match="a str; give a KeyRing"):
        Encryption("one:00")  # type: ignore[arg-type]  # what is tested
    shown = repr(Encryption(OLD, member_keys="redis://:password@host/0"))
    assert ONE.hex() not in shown
    assert "password" not in shown


@pytest.mark.parametrize("engine", ["memory", pytest.param("valkey", marks=pytest.mark.embedded)])
def test_the_key_of_a_guest_ends_with_the_guest(engine: str, request: pytest.FixtureRequest):
    """A guest's own key outlives the document and what is in quarantine, and no more; that of a member has no end."""
    guest, at = guest_id(PHONE), [1e9]
    store: Any = MemoryStore(lambda: at[0], secret=STORE_SECRET)
    client: Any = None
    if engine == "valkey":
        store = AtomicStateManager.from_url(request.getfixturevalue("valkey_url"), secret=STORE_SECRET)
        client = request.getfixturevalue("valkey_server").client()

    def lives(member_id: str) -> float:
        """Return the seconds for which the keys are kept."""
        if client is None:
            ends = store._member(member_id).keys_expire
            return math.inf if ends is None else ends - at[0]
        left = client.pttl(Keys().of_member("keys", member_id))
        return math.inf if left == -1 else left / 1000

    def wait(seconds: float) -> None:
        """Let time pass, as the store tells it."""
        at[0] += seconds
        if client is not None:
            key = Keys().of_member("keys", guest)
            client.pexpire(key, client.pttl(key) - int(1000 * seconds))

    def write(head: Head, number: int, member_id: str, life: int = DOCUMENT_LIFE) -> None:
        """Store a document by a process that knows no key."""
        encrypted = EncryptedStore(store, Encryption(OLD, member_keys=True))
        entry = Entry(head.version + 1, digest(b"%d" % number), b"%d" % number)
        commit = Commit(member_id, head, f"t{number}", f"t{number}", "", b"{}", entry, b"{}", life=life)
        assert isinstance(encrypted.perform(commit), Committed)

    least = DOCUMENT_LIFE + DOCUMENT_LIFE // 30 + GUEST_KEY_LIFE
    write(NO_HEAD, 0, "m-1")
    write(NO_HEAD, 1, guest)
    assert lives("m-1") == math.inf
    assert lives(guest) == pytest.approx(least, abs=60)
    wait(9 * DAY)
    write(state_of(store, guest).head, 2, guest)  # it reads the key to go on with it
    assert lives(guest) == pytest.approx(least, abs=60)
    write(state_of(store, guest).head, 3, guest, life=900 * DAY)  # a timer that is far ahead
    assert lives(guest) == pytest.approx(930 * DAY + GUEST_KEY_LIFE, abs=60)
    wait(9 * DAY)
    assert state_of(EncryptedStore(store, Encryption(OLD, member_keys=True)), guest).document == b"{}"
    assert lives(guest) == pytest.approx(921 * DAY + GUEST_KEY_LIFE, abs=60)
    other = guest_id(Channel("whatsapp", "263771000009"))
    for number, member_id in ((4, other), (5, "m-2")):  # stored plain, and encrypted by a command
        entry = Entry(1, digest(b"%d" % number), b"%d" % number)
        store.perform(Commit(member_id, NO_HEAD, f"t{number}", f"t{number}", "", b"{}", entry, b"{}"))
        EncryptedStore(store, Encryption(OLD, member_keys=True)).perform(Reencrypt(member_id))
    assert lives(other) == pytest.approx(LONGEST_LIFE + LONGEST_LIFE // 30 + GUEST_KEY_LIFE, abs=60)
    assert lives("m-2") == math.inf
    if client is None:
        wait(GUEST_KEY_LIFE + 931 * DAY)
        assert store.perform(ReadKeys(guest)) == ()
        assert store.perform(ReadKeys("m-1")) != ()
    else:
        store.close()
        client.close()
