"""Replies of a server that make no sense: shortened, lengthened, of wrong types, with spoilt numbers."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import types
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from tests.engines import running, valkey_program
from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, DamagedKey, NotAnswered, StoreUnavailable
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import attempts as attempts_of
from vimbiso_fsm.store.index import RECORD
from vimbiso_fsm.store.pipeline import Answer
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import (
    NO_HEAD,
    Claim,
    Commit,
    Committed,
    DropKeys,
    DropOldest,
    Duplicate,
    Entry,
    Erase,
    FindOwner,
    Fold,
    Head,
    Heartbeat,
    Inherited,
    KeepKey,
    Lease,
    Link,
    Load,
    MarkSent,
    MemberKey,
    Quarantine,
    ReadAudit,
    ReadDue,
    ReadDueShards,
    ReadIncidents,
    ReadInherited,
    ReadKeys,
    ReadOldest,
    ReadOwner,
    ReadQuarantine,
    ReadRecords,
    Record,
    RecordIncident,
    Rewrite,
    SetAside,
    SetWakeUp,
    ShowQuarantined,
    TakePace,
    Unlink,
    UseTokens,
    Wipe,
    digest,
    shard_of,
)
from vimbiso_fsm.store.script import (
    SCRIPT,
    Altered,
    Command,
    SenselessReply,
    decode,
    earlier_wake_up,
    encode,
    freeing,
    index_record,
    inspected,
    inspection,
    instant_of,
    recorded,
    renewal,
    shards_recorded,
    was_freed,
    was_renewed,
)

pytestmark = pytest.mark.embedded

INDEX: Final = Digests((b"a key",))
DOCUMENTED: Final = (SenselessReply, Altered, DamagedDocument, DamagedKey)
CHANNEL: Final = Channel("whatsapp", "263771000001", {"account": "main"})


def _entry(version: int, token: str) -> Entry:
    body = b"%d %b" % (version, token.encode())
    return Entry(version, digest(body), body)


def _turn(head: Head = NO_HEAD, *, token: str = "t", member: str = "m", **given: Any) -> Commit:
    entry = _entry(head.version + 1, token)
    return Commit(member, head, token, token, "said", b"{}", entry, b"record", **given)


@attrs.frozen
class Exchange:
    """A request with the reply that a real server gave to it."""

    request: Any
    command: Command
    reply: list[Any]

    @property
    def status(self) -> bytes:
        """The word by which the script says what became of the request."""
        return bytes(self.reply[2])

    def decoded(self, reply: object) -> Any:
        """Decode a reply as the store does."""
        match self.request:
            case "inspect":
                return inspected(Load("m"), "m", self.command, reply, "a place")
            case "index":
                return recorded(self.command, reply)
            case "free":
                return was_freed(self.command, reply)
            case "renew":
                return was_renewed(self.command, reply)
            case "wake":
                return instant_of(self.command, reply)
            case _:
                return decode(self.request, self.command, reply)


def _head(version: int, token: str) -> Head:
    return Head(version, _entry(version, token).digest)


def _requests() -> Iterator[Any]:
    """Yield requests that together have every reply that the script knows."""
    first, second = _head(1, "t"), _head(2, "u")
    yield from (Load("m"), Load("m", previous=True), _turn(), _turn(), _turn(token="x"), _turn(first, token="u"))
    yield from (_turn(second, token="late", not_after=1.0), _turn(second, token="w", wake_at=5.0))
    third = _head(3, "w")
    for record in (b"", b"record"):
        yield attrs.evolve(_turn(third, token="v"), document=None, entry=None, record=record)
    yield from (Load("m"), Load("m", previous=True), ReadAudit("m"), ReadAudit("m", tolerant=True), ReadRecords("m"))
    yield from (ReadInherited("m"), UseTokens("m", (("t", 5.0),)), UseTokens("m", ()))
    yield from (
        ReadInherited("m", 4.0),
        ReadDue(shard_of("m")),
        ReadDueShards((shard_of("m"), 7)),
        Heartbeat("worker", 9),
        Lease(1, "worker", 9),
    )
    yield from (
        Lease(1, "worker", 0),
        SetWakeUp("m", third, 7.0),
        MarkSent("m", third, ("r",)),
        RecordIncident("m", b"{}"),
        ReadIncidents("m"),
    )
    yield from (FindOwner(CHANNEL), Link(CHANNEL.with_account(""), "m"), FindOwner(CHANNEL), Link(CHANNEL, "m"))
    yield from (FindOwner(CHANNEL), Unlink(CHANNEL, "m"), ReadOwner(), Claim(b"{}", None), ReadOwner())
    yield from (TakePace("sms", "", name, 1.0, 1) for name in ("one", "two"))
    yield SetAside(ReadDue(shard_of("m")), (b"m",))
    yield from (ReadOldest("m", 2), DropOldest("m", 0, first, life=9), DropOldest("m", 1, first))
    yield from (
        Erase("m", 1, 2, b"{}"),
        Erase("m", 1, 2, b"{}", all=True),
        Fold("m", 1, 2, b"{}"),
        Wipe("m", NO_HEAD, _entry(1, "t")),
    )
    key = MemberKey("~1", b"key")
    yield from (Rewrite("n"), KeepKey("n", key), ReadKeys("n"), DropKeys("n", ("~1",)), ReadKeys("n"))
    yield from (Quarantine("m", NO_HEAD), Quarantine("m", third), ReadQuarantine("m"))
    inherited = Inherited((("old", 1.7e9),), (Record("old", "old", "said", b"{}"),))
    yield _turn(member="n", inherited=inherited)
    yield Wipe("n", _head(1, "t"), _entry(2, "gone"))


@cache
def _exchanges() -> tuple[Exchange, ...]:
    found: list[Exchange] = []
    with running(valkey_program()) as server, server.client() as client:

        def ask(request: Any, command: Command) -> Exchange:
            reply: Any = client.execute_command("EVAL", SCRIPT, *command.words[2:], NEVER_DECODE=True)
            found.append(Exchange(request, command, reply))
            return found[-1]

        for request in _requests():
            ask(request, encode(request, INDEX))
        quarantined = [each for each in found if isinstance(each.request, ReadQuarantine)][-1]
        aside = quarantined.decoded(quarantined.reply)[0]
        ask(ShowQuarantined("m", aside), encode(ShowQuarantined("m", aside), INDEX))
        ask("inspect", inspection("m"))
        client.set(encode(Load("broken"), INDEX).tag, "no hash")
        ask("inspect", inspection("broken"))
        ask("index", index_record("", "random:" + "0a" * 32))
        ask("free", freeing(b"vimbiso:{1}:channel:x", "m"))
        ask("renew", renewal("m"))
        turn = _turn(member="n", wake_at=5.0)
        ask("wake", earlier_wake_up(turn, encode(turn, INDEX).words, margin=1.0))
    return tuple(found)


# What may be returned ------------------------------------------------------------------------------------------------


def _fits(value: object, kind: Any) -> bool:
    """Return whether a value is of the type of its annotation, numbers are possible, and so on inside."""
    if kind is Any:
        return True
    if get_origin(kind) in (Union, types.UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, tuple):
            return False
        if inner[-1:] == (...,):
            return all(_fits(each, inner[0]) for each in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if type(value) is not kind:
        return False
    if attrs.has(kind):
        hints = get_type_hints(kind)
        return all(_fits(getattr(value, field.name), hints[field.name]) for field in attrs.fields(kind))
    return not isinstance(value, int | float) or (math.isfinite(value) and value >= 0)


def _answer_type(request: Any) -> Any:
    """Return the type of the answer that the class of a request promises."""
    own = {"inspect": "Broken", "index": "tuple[str, float]", "free": "bool", "renew": "bool", "wake": "float"}
    from vimbiso_fsm.store import requests

    if isinstance(request, str):
        return eval(own[request], vars(requests).copy())
    [base] = [base for base in type(request).__orig_bases__ if get_origin(base) is requests.Effect]
    [answer] = get_args(base)
    answer = getattr(answer, "__forward_arg__", answer)
    return eval(answer, vars(requests).copy()) if isinstance(answer, str) else answer


# The damage -------------------------------------------------------------------------------------------------------


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=12),
    st.sampled_from([b"nan", b"inf", b"-1.000000", b"1e999", b"1_7.000000", b" 1.000000", b"9" * 5000, b"", b"\xff"]),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.integers(), st.binary(max_size=5)), max_size=4),
    st.builds(ValueError, st.text(max_size=5)),
)


def _places(reply: list[Any]) -> list[tuple[int, ...]]:
    """Return the way to each item of a reply."""
    found: list[tuple[int, ...]] = []
    for place, item in enumerate(reply):
        found.append((place,))
        if isinstance(item, list):
            found += [(place, *inner) for inner in _places(item)]
    return found


def _replaced(reply: list[Any], way: tuple[int, ...], item: object) -> list[Any]:
    place, *inner = way
    changed = [*reply]
    changed[place] = _replaced(reply[place], tuple(inner), item) if inner else item
    return changed


def _item(reply: Any, way: tuple[int, ...]) -> Any:
    for place in way:
        reply = reply[place]
    return reply


@st.composite
def _misshapen(draw: st.DrawFn) -> tuple[Exchange, object]:
    """Draw a real exchange, and a reply of another shape: too short, too long, of wrong types, of another request."""
    exchange = draw(st.sampled_from(_exchanges()))
    reply = exchange.reply
    match draw(st.integers(0, 4)):
        case 0:
            return exchange, reply[: draw(st.integers(0, len(reply) - 1))]
        case 1:
            return exchange, [*reply, draw(ODD)]
        case 2:
            way = draw(st.sampled_from(_places(reply)))
            kinds = (bytes, type(None)) if not isinstance(_item(reply, way), list) else (bytes, list, type(None))
            odd = draw(ODD.filter(lambda odd: not isinstance(odd, (*kinds, type(_item(reply, way))))))
            return exchange, _replaced(reply, way, odd)
        case 3:
            other = draw(st.sampled_from(_exchanges()).filter(lambda other: other.command[1:] != exchange.command[1:]))
            return exchange, other.reply
        case _:
            return exchange, draw(ODD)


@st.composite
def _spoilt(draw: st.DrawFn) -> tuple[Exchange, list[Any]]:
    """Draw a real exchange, and its reply with one item that is replaced, or with two that have changed places."""
    exchange = draw(st.sampled_from(_exchanges()))
    reply = exchange.reply
    way = draw(st.sampled_from(_places(reply)))
    if draw(st.booleans()):
        return exchange, _replaced(reply, way, draw(ODD))
    other = (*way[:-1], draw(st.integers(0, len(_item(reply, way[:-1])) - 1)))
    swapped = _replaced(reply, way, _item(reply, other))
    return exchange, _replaced(swapped, other, _item(reply, way))


# The rules --------------------------------------------------------------------------------------------------------


def test_every_mode_of_the_script_is_tried():
    """The replies below are those of all modes of the script, with each word that a reply can have."""
    modes = set(re.findall(rb"mode == '(\w+)'", SCRIPT))
    asked = {exchange.command.words[3 + int(exchange.command.words[2])] for exchange in _exchanges()}
    assert modes <= asked, modes - asked
    statuses = {exchange.status for exchange in _exchanges()}
    assert statuses == {b"committed", b"conflict", b"late", b"duplicate", b"stored", b"read", b"erased", b"broken"}


def test_a_real_reply_has_the_promised_type():
    """The reply of a server is decoded to a value of the type that the class of its request promises."""
    for exchange in _exchanges():
        if exchange.request == "inspect" and not exchange.reply[6]:
            continue
        result = exchange.decoded(exchange.reply)
        assert _fits(result, _answer_type(exchange.request)), (exchange.request, result)


@given(_misshapen())
def test_a_reply_of_another_shape_is_refused(drawn: tuple[Exchange, object]):
    """A reply that is too short, too long, of wrong types or of another request is refused, whatever was asked."""
    exchange, reply = drawn
    with pytest.raises(DOCUMENTED):
        exchange.decoded(reply)


@given(_spoilt())
def test_a_spoilt_reply_is_refused_or_has_the_promised_type(drawn: tuple[Exchange, list[Any]]):
    """A reply with a spoilt item is refused with a documented error, or is a value of the promised type."""
    exchange, reply = drawn
    try:
        result = exchange.decoded(reply)
    except DOCUMENTED:
        return
    except StoreUnavailable:
        assert exchange.request == "inspect"  # "changed its type meanwhile"
        return
    assert _fits(result, _answer_type(exchange.request)), (exchange.request, reply, result)


@given(ODD)
def test_a_number_of_shards_is_none_or_digits(reply: object):
    """The recorded number of shards is nothing or digits; anything else is refused."""
    try:
        found = shards_recorded(reply)
    except SenselessReply:
        assert reply is not None
        return
    assert found is None or found.isdigit()


def test_a_record_of_the_index_has_one_form():
    """A record of the keys of the index is made of whole words; a spoilt one is refused before it is used."""
    word = "random:" + "0a" * 32
    assert RECORD.fullmatch(word)
    assert RECORD.fullmatch(f"secret:{'0' * 16} {word}")
    for wrong in ("", word[:-1], word + " ", word.upper(), f"{word}  {word}", "secret:xyz", "random:zz" + "0" * 62):
        assert not RECORD.fullmatch(wrong)


# The managers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    """Return the URL of a server."""
    with running(valkey_program()) as server:
        yield server.url


def _performed(url: str, exchange: Exchange, reply: object, *, is_async: bool, times: int) -> object:
    """Perform a request at a manager that gets `reply` so many times; return the answer or the error."""
    left = [times]

    def spoil(store: Any) -> None:
        real = store._call

        async def call(words: Any, attempts: Any) -> Answer:
            answer: Answer = await real(words, attempts)
            if not left[0]:
                return answer
            left[0] -= 1
            return reply, True

        store._call = call

    async def awaited() -> object:
        async with AsyncAtomicStateManager.from_url(url) as store:
            await store.load("n")
            spoil(store)
            answer: object = await store.perform(exchange.request)
            return answer

    def plainly() -> object:
        with AtomicStateManager.from_url(url) as store:
            store.load("n")
            spoil(store)
            answer: object = store.perform(exchange.request)
            return answer

    try:
        return asyncio.run(awaited()) if is_async else plainly()
    except Exception as error:
        return error


LASTING: Final = (
    UseTokens,
    *(Quarantine, Link, Unlink, SetWakeUp, MarkSent, RecordIncident, SetAside, Wipe, Erase, Fold, Claim),
    *(Rewrite, KeepKey, DropKeys, DropOldest),
)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_says_whether_anything_may_be_stored(url: str, is_async: bool, monkeypatch: pytest.MonkeyPatch):
    """A request whose replies never make sense raises `CommitUnknown` if it writes, and else `StoreUnavailable`."""
    monkeypatch.setattr(attempts_of, "FIRST_WAIT", 0.0)
    for exchange in _exchanges():
        if isinstance(exchange.request, str):
            continue
        request = exchange.request
        writes = isinstance(request, LASTING) or (isinstance(request, Commit) and request.document is not None)
        for reply in (exchange.reply[:2], [*exchange.reply, b"more"], 7):
            error = _performed(url, exchange, reply, is_async=is_async, times=100)
            assert type(error) is (CommitUnknown if writes else StoreUnavailable), (request, reply, error)


def test_connections_that_are_dropped_raise_documented_errors_in_every_thread(url: str):
    """While all connections are dropped again and again, each thread's commits are made once or raise `NotAnswered`."""
    threads, turns, over = 4, 40, threading.Event()

    def write(store: AtomicStateManager, member: str) -> list[BaseException]:
        head, raised = NO_HEAD, list[BaseException]()
        for number in range(turns):
            while True:
                try:
                    made = store.commit(_turn(head, token=f"t{number}", member=member))
                except Exception as error:
                    raised.append(error)
                else:
                    head = made.head if isinstance(made, Committed) else _known_head(made)
                    break
        return raised

    def drop(store: AtomicStateManager) -> None:
        while not over.wait(0.001):
            store.servers.disconnect()

    with AtomicStateManager.from_url(url) as store, ThreadPoolExecutor(threads + 1) as pool:
        dropping = pool.submit(drop, store)
        writing = [pool.submit(write, store, f"dropped-{place}") for place in range(threads)]
        try:
            raised = [error for each in writing for error in each.result()]
        finally:
            over.set()
            dropping.result()
        assert [error for error in raised if not isinstance(error, NotAnswered)] == []
        counts = [len(store.perform(ReadAudit(f"dropped-{place}"))) for place in range(threads)]
    assert counts == [turns] * threads


def _known_head(made: object) -> Head:
    """Return the head after a commit that was made before, in an attempt whose answer was lost."""
    assert isinstance(made, Duplicate)
    return made.current.head


@pytest.mark.parametrize("is_async", [False, True])
def test_a_connection_that_does_not_close_hides_no_outcome(url: str, is_async: bool, monkeypatch: pytest.MonkeyPatch):
    """A failure to close the connections after a senseless reply changes nothing of what the caller is told."""
    monkeypatch.setattr(attempts_of, "FIRST_WAIT", 0.0)
    kind = AsyncAtomicStateManager if is_async else AtomicStateManager

    async def disconnect(_: object) -> None:
        raise redis.TimeoutError("timed out closing the connection")

    monkeypatch.setattr(kind, "_disconnect", disconnect)
    commit = _turn(member=f"open-{is_async}")
    [exchange] = [each for each in _exchanges() if each.request == _turn()][:1]
    spoilt = attrs.evolve(exchange, request=commit)
    assert isinstance(_performed(url, spoilt, [b"?"], is_async=is_async, times=2), Committed)
    assert isinstance(_performed(url, spoilt, [b"?"], is_async=is_async, times=100), CommitUnknown)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_commit_is_resolved_after_a_senseless_reply(url: str, is_async: bool, monkeypatch: pytest.MonkeyPatch):
    """A commit whose first reply makes no sense is sent again under its token, and stored once."""
    monkeypatch.setattr(attempts_of, "FIRST_WAIT", 0.0)
    commit = _turn(member=f"once-{is_async}")
    [exchange] = [each for each in _exchanges() if each.request == _turn()][:1]
    answer = _performed(url, attrs.evolve(exchange, request=commit), [b"?"], is_async=is_async, times=2)
    assert isinstance(answer, Committed)
    assert answer.head == _head(1, "t")
    with AtomicStateManager.from_url(url) as store:
        assert len(store.perform(ReadAudit(commit.member_id))) == 1
