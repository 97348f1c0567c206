"""Guests and audits whose names were made with an earlier key, and names that say nothing without the key."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.credex_core import SimulatedCredexCore
from tests.cli_runs import invoke
from tests.engines import Server
from tests.hostile.kit import pay_bot
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, State, Text, Transition
from vimbiso_fsm.messages.digests import UNKEYED, Digests
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.guests import find_guest
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Load, ReadDigests, Scan

PHONE = Channel("whatsapp", "263771734512")
OLD, NEW = "the-first-secret", "the-second-secret"
TRIED = range(263771734500, 263771734525)
"""The numbers that an attacker tries; that of `PHONE` is among them."""


def counting() -> Bot:
    """Return a bot whose guests say numbers, one after another."""
    return Bot(
        Flow(
            "count",
            initial="one",
            states=[State("one", ask=Text("one?"), reads=str), State("two", ask=Text("two?"), reads=str)],
            transitions=[Transition("answer", "one", "two"), Transition("answer", "two", "one")],
        )
    )


class Rekeyed:
    """A store in memory whose keys can be replaced, as those of a server are by a start with another secret."""

    def __init__(self, *keys: bytes) -> None:
        self.store = MemoryStore(lambda: 1e9)
        self.digests = Digests(keys)

    def perform(self, request: Any, /) -> Any:
        """Perform a request."""
        return self.digests if isinstance(request, ReadDigests) else self.store.perform(request)


def said(manager: FlowStateManager, number: int, channel: Channel = PHONE) -> Any:
    """Send message `number`, and return the outcome."""
    return manager.handle(Message(channel, f"m{number}", f"text {number}"))


@pytest.mark.parametrize("earlier", [UNKEYED, b"the old key"], ids=["without a key", "with another key"])
@pytest.mark.parametrize("account", ["", "100200"])
def test_a_guest_of_an_earlier_key_goes_on(earlier: bytes, account: str):
    """A guest who began under an earlier key goes on under their id, and what they said takes effect once."""
    store, place = Rekeyed(earlier), PHONE.with_account(account)
    with FlowStateManager(counting(), store) as manager:
        before = said(manager, 1, place)
    store.digests = Digests((b"the new key", earlier))
    with FlowStateManager(counting(), store) as manager:
        assert said(manager, 1, place).status == "duplicate"
        after = said(manager, 2, place)
        assert (after.state.member_id, after.state.version) == (before.state.member_id, 2)
        assert after.state.flow_data.step == "two"
        assert [entry.version for entry in manager.history(after.state.member_id, channel=place)] == [1, 2]
        stranger = said(manager, 3, Channel("whatsapp", "263771000009")).state.member_id
    assert stranger == Digests((b"the new key",)).guest_id(Channel("whatsapp", "263771000009"))


def test_an_earlier_guest_is_linked_and_unlinked():
    """A guest of an earlier key is joined to a member by an operator, and the channel leads back to one guest."""
    store = Rekeyed(b"the old key")
    with FlowStateManager(
        flows.bot, store, services={"credex_core": SimulatedCredexCore(clock=lambda: 1e9)}
    ) as manager:
        guest = said(manager, 1).state.member_id
        member = said(manager, 2, Channel("whatsapp", "263771000001")).state.member_id
    store.digests = Digests((b"the new key", b"the old key"))
    with FlowStateManager(
        flows.bot, store, services={"credex_core": SimulatedCredexCore(clock=lambda: 1e9)}
    ) as manager:
        assert manager.link(member, PHONE).flow == "onboard"
        assert manager.state(guest) is None
        assert manager.member_of(PHONE) == member
        manager.unlink(member, PHONE)
        assert said(manager, 1).status == "duplicate"
        assert said(manager, 3).state.member_id == guest


@pytest.mark.parametrize("kind", [FlowStateManager, AsyncFlowStateManager])
def test_a_manager_takes_the_digests_before_its_first_message(kind: Any):
    """The first message of a manager, and its place in the queue, have the id of the store's key."""
    store = Rekeyed(b"the key")
    if kind is FlowStateManager:
        with FlowStateManager(counting(), store) as manager:
            guest = said(manager, 1).state.member_id
    else:
        import asyncio

        class Awaited:
            async def perform(self, request: Any, /) -> Any:
                return store.perform(request)

        async def speak() -> str:
            async with AsyncFlowStateManager(counting(), Awaited()) as manager:
                return (await manager.handle(Message(PHONE, "m1", "hi"))).state.member_id

        guest = asyncio.run(speak())
    assert guest == Digests((b"the key",)).guest_id(PHONE)


# Rotation -----------------------------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_a_store_of_an_earlier_release_gets_a_key(valkey_server: Server, valkey_url: str):
    """Guests of a release without keys are found; a new store has no names without a key, and none is looked for."""
    with FlowStateManager.from_url(valkey_url, counting()) as manager:
        said(manager, 1)
        assert UNKEYED not in manager.bot.digests.keys
    with valkey_server.client() as client:
        client.flushall()
        client.set("vimbiso:shards", 1024)
        client.set("vimbiso:index", f"random:{'ab' * 32}")
    with FlowStateManager.from_url(valkey_url, counting()) as manager:
        said(manager, 1)
        assert manager.bot.digests.keys == (bytes.fromhex("ab" * 32), UNKEYED)


@pytest.mark.embedded
def test_a_secret_is_rotated_beside_traffic(valkey_url: str):
    """While some processes have the old secret first and others the new one, every guest has one id."""
    with (
        FlowStateManager.from_url(valkey_url, counting(), secret=OLD) as oldest,
        FlowStateManager.from_url(valkey_url, counting(), secret=[OLD, NEW]) as older,
        FlowStateManager.from_url(valkey_url, counting(), secret=[NEW, OLD]) as newer,
    ):
        first = said(oldest, 1).state.member_id
        assert {said(manager, 2 + n).state.member_id for n, manager in enumerate([newer, older, newer])} == {first}
        other = Channel("whatsapp", "263771000009")
        second = said(newer, 1, other).state.member_id
        assert {said(manager, 2 + n, other).state.member_id for n, manager in enumerate([older, newer])} == {second}
        assert second == Digests((NEW.encode(),)).guest_id(other)
    with AtomicStateManager.from_url(valkey_url, secret=[NEW, OLD]) as store:
        assert len(store.perform(Scan())) == 2


@given(st.lists(st.sampled_from([UNKEYED, b"a", b"b", b"c"]), min_size=1, max_size=4, unique=True), st.integers(0, 5))
def test_the_guest_that_is_known_is_found(keys: list[bytes], known: int):
    """Of the ids that a guest may have, the current one is taken unless only an earlier one is known."""
    digests = Digests(tuple(keys))
    store = Rekeyed(keys[known % len(keys)])
    with FlowStateManager(counting(), store) as manager:
        guest = said(manager, 1).state.member_id
    assert run(find_guest(digests, PHONE), store.perform)[0] == guest
    assert run(find_guest(digests, Channel("sms", "1")), store.perform)[0] == digests.guest_id(Channel("sms", "1"))


# What leaves the store ----------------------------------------------------------------------------------------------


def found(shown: str, keys: Iterable[bytes]) -> list[int]:
    """Return the numbers of `TRIED` whose digests are in a text, or that stand in it; made with any of the keys."""
    words = set(re.findall(r"[0-9a-f]{8,}", shown))
    starts = {word[:16] for word in words if len(word) >= 16}

    def gives(number: int, key: bytes) -> bool:
        place, digests = Channel("whatsapp", str(number)), Digests((key,))
        named = {digests.guest_id(place).removeprefix("guest-"), digests.shown(place)[1]}
        named.update(digests.index_names(place.address))
        for words in (b"%d" % number, b"8:whatsapp:%d" % number, b"whatsapp:%d" % number):
            named.add((hmac.digest(key, words, "sha256") if key else hashlib.sha256(words).digest()).hex())
        return not starts.isdisjoint(name[:16] for name in named)

    return [number for number in TRIED if str(number) in shown or any(gives(number, key) for key in keys)]


class Log(logging.Handler):
    """A handler that keeps each line with all that the record holds."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.lines.append(f"{self.format(record)} {vars(record)}")


@pytest.fixture
def logged() -> Generator[Callable[[], str]]:
    """Return a function that returns what was logged."""
    log, logger = Log(), logging.getLogger("vimbiso_fsm")
    level = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    yield lambda: "\n".join(log.lines)
    logger.removeHandler(log)
    logger.setLevel(level)


def spoken(url: str, secret: str | None) -> str:
    """Let the member of `PHONE` speak, be linked, damaged and wiped; return what observers were told."""
    told: list[Any] = []
    with FlowStateManager.from_url(url, pay_bot(), secret=secret, observers=[told.append]) as manager:
        guest = manager.handle(Message(PHONE, "wamid.HBgM7f1Q", "hi")).state.member_id
        manager.handle(Message(PHONE, "wamid.HBgM7f1Q", "another content"))
        with AtomicStateManager.from_url(url, secret=secret) as store:
            store.perform(Load(guest))
        manager.reset(guest)
        manager.wipe(guest)
    return "\n".join(map(repr, told))


@pytest.mark.embedded
@pytest.mark.parametrize("secret", [None, OLD])
def test_no_number_is_found_in_what_leaves_the_store(
    secret: str | None,
    valkey_url: str,
    valkey_server: Server,
    logged: Callable[[], str],
    monkeypatch: Any,
    tmp_path: Any,
):
    """Log, observers, audit and exports give no number to an attacker who tries all of them without the key.

    With a secret of the deployment, the keys of the store and all values but documents and records give none either.
    """
    told = spoken(valkey_url, secret)
    if secret:
        monkeypatch.setenv("VIMBISO_SECRET", secret)
    shown = [logged(), told]
    for number, command in enumerate((["audit", "export", "--all"], ["doctor"], ["incidents"])):
        where = ["--redis", valkey_url]
        to = ["--to", tmp_path / f"{number}.jsonl"] if command[0] == "audit" else []
        shown += invoke(*command, *where, *to)[1:]
        shown += [path.read_text() for path in tmp_path.iterdir()]
    text = "\n".join(shown)
    assert '"channel"' in text, "nothing was exported"
    assert found(text, [UNKEYED]) == []
    with valkey_server.client() as client:
        client.config_set("rdbcompression", "no")
        kept: Any = client.get("vimbiso:index")
        record, names_in_store = str(kept, "ascii"), list[Any](client.keys("*"))
        stored = {key: bytes(client.dump(key) or b"") for key in names_in_store}
    random = [word.removeprefix("random:") for word in record.split() if word.startswith("random:")]
    in_store = [bytes.fromhex(word.partition(".")[0]) for word in random]
    assert not any(key.hex() in text for key in in_store)
    assert [key for key, value in stored.items() if PHONE.identifier.encode() in key + value] == [], "after the wipe"
    names = "\n".join(key.decode() for key in stored)
    assert found(names + text, [UNKEYED, *in_store]) == ([263771734512] if secret is None else [])


def test_the_attack_finds_a_number_whose_key_is_known():
    """The attack of the test above has teeth: it finds the number in digests without a key, and with a key it knows."""
    for key in (UNKEYED, b"known"):
        digests = Digests((key,))
        assert found(json.dumps(digests.shown(PHONE)), [UNKEYED, b"known"]) == [263771734512]
        assert found(digests.guest_id(PHONE), [UNKEYED, b"known"]) == [263771734512]
        assert found(digests.guest_id(PHONE), [b"another"]) == []
