"""Whatever lies under a member's keys, the member's next messages, `recover` and `wipe` get over it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TypeAlias

import attrs
import pytest

from tests.engines import stored_records
from tests.faults.flips import FIRST, Payments, bank_bot
from tests.hostile.kit import client_of
from vimbiso_fsm.errors import NotRecovered
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.retention import MAX_DOCUMENT
from vimbiso_fsm.store.script import DEFAULT_KEYS, _check

pytestmark = pytest.mark.embedded

QUESTIONS: Final = ("PIN?", "To whom?", "How much to", "Pay ")
KINDS: Final = ("state", "prev", "turns", "audit", "tokens", "due", "channel", "incidents", "asides")
LOST: Final = ("a string", "a list", "a set", "a hash", "a sorted set", "a stream", "gone")
"""Damages to the state after which nothing of it can be read."""
Damage: TypeAlias = Callable[[Any, bytes], object]


@pytest.fixture(autouse=True)
def quiet() -> Generator[None]:
    """Log nothing, because each recovery would be a line."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@attrs.frozen
class Case:
    """A manager, a client beside it, and the member in the middle of a payment.

    Attributes:
        manager: A manager without a cache.
        client: A client that damages keys.
    """

    manager: FlowStateManager
    client: Any
    payments: Payments

    def key(self, kind: str) -> bytes:
        """Return the key of a kind."""
        if kind == "channel":
            [found] = self.client.keys("*:channel:*")
            return bytes(found)
        if kind in ("incidents", "asides"):
            return DEFAULT_KEYS.of_member(kind, FIRST.member_id)
        return DEFAULT_KEYS.member(FIRST.member_id)[KINDS.index(kind)]

    def begin(self) -> None:
        """Bring the member to the confirmation of a payment."""
        self.client.flushdb()
        self.payments.made.clear()
        for place, text in enumerate(FIRST.texts):
            self.manager.handle(FIRST.message(str(place), text))

    def say(self, text: str, number: int) -> str:
        """Send a message; return what is answered."""
        outcome = self.manager.handle(FIRST.message(f"new {number}", text))
        return " ".join(reply.text for reply in outcome.replies)

    def pay(self, text: str) -> None:
        """Answer each question until the payment is made."""
        for number in range(10):
            text = FIRST.answer(self.say(text, number))
            if (FIRST.member_id, *FIRST.wanted) in self.payments.made.values():
                break
        payments = [(FIRST.member_id, *payment) for payment in (FIRST.first, FIRST.wanted)]
        assert [*self.payments.made.values()] == payments


@pytest.fixture
def case(valkey_url: str) -> Generator[Case]:
    """Make a manager, and a client beside it."""
    payments = Payments()
    with client_of(valkey_url) as client, AtomicStateManager.from_url(valkey_url) as store:
        manager = FlowStateManager(bank_bot(payments), store, cache=0, rates=None)
        yield Case(manager, client, payments)
        client.flushdb()


def _other_types() -> Iterator[tuple[str, Damage]]:
    yield "string", lambda client, key: client.set(key, b"\xff")
    yield "list", lambda client, key: client.rpush(key, b"\xff", b"")
    yield "set", lambda client, key: client.sadd(key, b"\xff")
    yield "hash", lambda client, key: client.hset(key, b"\xff", b"")
    yield "sorted set", lambda client, key: client.zadd(key, {b"\xff": 0.0, b"": float("inf")})
    yield "stream", lambda client, key: client.xadd(key, {b"\xff": b""})


def _replaced(damage: Damage) -> Damage:
    def replace(client: Any, key: bytes) -> None:
        client.delete(key)
        damage(client, key)

    return replace


def _too_large(client: Any, key: bytes) -> None:
    """Store a valid document that is over the limit, as another release may."""
    version, digest, document = client.hmget(key, "v", "h", "d")
    grown = document.replace(b'"profile":{}', b'"profile":{"about":"%b"}' % (b"x" * MAX_DOCUMENT))
    assert len(grown) > MAX_DOCUMENT
    client.hset(key, mapping={"d": grown, "c": _check(version, digest, grown)})


def _state(key: bytes) -> bytes:
    """Return the key of the state of the member that a key of layout 2 belongs to."""
    return key.rpartition(b":")[0] + b":state"


def _inside() -> dict[str, dict[str, Damage]]:
    """Damage to the values of keys of the right type, by kind of key."""
    fields: dict[str, Damage] = {
        "no number": lambda client, key: client.hset(key, "v", "seven"),
        "another version": lambda client, key: client.hset(key, "v", "3"),
        "a large version": lambda client, key: client.hset(key, "v", "9" * 30),
        "no digest": lambda client, key: client.hset(key, "h", b"\xff "),
        "an empty digest": lambda client, key: client.hset(key, "h", b""),
        "another check": lambda client, key: client.hset(key, "c", b"0" * 16),
        "no document": lambda client, key: client.hdel(key, "d"),
        "no version": lambda client, key: client.hdel(key, "v"),
        "no field": lambda client, key: client.hdel(key, "v", "h", "d", "c", "t"),
        "nothing but records": lambda client, key: client.hdel(key, "v", "h", "d", "c", "t", "p", "m"),
        "spoilt numbers": lambda client, key: client.hset(key, "m", b"\xff"),
        "large numbers": lambda client, key: client.hset(key, "m", b"9" * 15 + b" 7 1"),
        "an empty document": lambda client, key: client.hset(key, "d", b""),
        "no text": lambda client, key: client.hset(key, "d", b"\xff" * 100),
        "deep": lambda client, key: client.hset(key, "d", b"[" * 50_000),
        "large": lambda client, key: client.hset(key, "d", b"x" * 1_000_000),
        "spoilt tokens": lambda client, key: client.hset(key, "t", b" \xff  " + b" 1e999 nan" * 20),
        "nothing but a tail": lambda client, key: client.hset(key, "t", b" "),
    }
    before: dict[str, Damage] = {
        "no head": lambda client, key: client.hset(_state(key), "p", b"seven"),
        "another check": lambda client, key: client.hset(_state(key), "p", b"3 d " + b"0" * 16 + b" {}"),
        "empty": lambda client, key: client.hset(_state(key), "p", b""),
        "no text": lambda client, key: client.hset(_state(key), "p", b"\xff" * 100),
        "large": lambda client, key: client.hset(_state(key), "p", b"x" * 1_000_000),
        "gone": lambda client, key: client.hdel(_state(key), "p"),
    }
    records: dict[str, Damage] = {
        name: lambda client, key, value=value: client.hset(
            _state(key), mapping=dict.fromkeys(stored_records(client, _state(key)), value)
        )
        for name, value in {"no text": b"\xff", "empty": b"", "words": b"a b c d e", "no check": b"a b c =0 {}"}.items()
    } | {"gone": lambda client, key: client.hdel(_state(key), *stored_records(client, _state(key)))}
    items: dict[str, Damage] = {
        "the latest no text": lambda client, key: client.lset(key, -1, b"\xff"),
        "the first no text": lambda client, key: client.lset(key, 0, b"\xff"),
        "the latest empty": lambda client, key: client.lset(key, -1, b""),
        "more": lambda client, key: client.rpush(key, b"a b c d e", b" ", b"7 ", b"-1 x y", b"1e3 x @1 y"),
        "a large version": lambda client, key: client.rpush(key, b"9" * 400 + b" d body"),
        "all of it": lambda client, key: [client.lset(key, n, b"x" * n) for n in range(client.llen(key))],
        "gone": lambda client, key: client.delete(key),
    }
    members: dict[str, Damage] = {
        "no text": lambda client, key: client.zadd(key, {b"\xff": 1e9, b"": 1.0, b"%ff": 1.0}),
        "odd scores": lambda client, key: client.zadd(key, {b"a": float("inf"), b"b": float("-inf"), b"c": 1e300}),
        "gone": lambda client, key: client.delete(key),
    }
    entry: dict[str, Damage] = {
        "no text": lambda client, key: client.set(key, b"\xff"),
        "empty": lambda client, key: client.set(key, b""),
        "another": lambda client, key: client.set(key, b"m-another"),
        "gone": lambda client, key: client.delete(key),
    }
    whole: dict[str, Damage] = {**fields, "too large": _too_large, "gone": lambda client, key: client.delete(key)}
    return {
        "state": whole,
        "prev": before,
        "turns": records,
        "audit": items,
        "tokens": members,
        "due": members,
        "channel": entry,
    }


def damages(kind: str) -> dict[str, Damage]:
    """Return each damage to a kind of key by its name."""
    types = {f"a {name}": _replaced(damage) for name, damage in _other_types()}
    return {**types, **_inside().get(kind, {})}


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_messages_get_over_any_damage(kind: str, case: Case) -> None:
    """After any damage to a key, two messages lead to a question, and the payment that was wanted is made once."""
    for name, damage in damages(kind).items():
        case.begin()
        damage(case.client, case.key(kind))
        said = " ".join(case.say(text, 100 + number) for number, text in enumerate(("hm", "hi")))
        assert any(question in said for question in QUESTIONS), name
        case.pay("hi")


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_recovers_any_damage(kind: str, case: Case) -> None:
    """`recover` repairs any damage to a key, and a second one finds nothing to repair.

    Where the whole state is lost, nothing tells the channels of the member, and the next message repairs it.
    """
    for name, damage in damages(kind).items():
        case.begin()
        damage(case.client, case.key(kind))
        if kind == "state" and name in LOST:
            with pytest.raises(NotRecovered, match="no stored data names a channel"):
                case.manager.recover(FIRST.member_id)
            case.pay("hi")
            continue
        planned = case.manager.recover(FIRST.member_id, dry_run=True)
        made = case.manager.recover(FIRST.member_id)
        assert (planned.outcome, planned.source) == (made.outcome, made.source), name
        assert case.manager.recover(FIRST.member_id).outcome == "left alone", name
        case.pay("hi")


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_wipes_any_damage(kind: str, case: Case) -> None:
    """`wipe` ends without an error after any damage to a key, and the member begins as a stranger."""
    for name, damage in damages(kind).items():
        case.begin()
        damage(case.client, case.key(kind))
        case.manager.wipe(FIRST.member_id)
        if name == "another":
            continue  # nothing is left that says whose the channel was
        assert case.manager.state(FIRST.member_id) is None, name
        assert "PIN?" in case.say("hi", 100), name
        case.pay("4711")
