"""Tokens of messages are keyed, and a message takes effect once although the keys change."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeAlias
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.digests import token_of
from tests.engines import Server
from tests.hostile.kit import MemoryLedger, message, pay_bot, replies
from tests.operations.test_recycled import check_apart, recycled
from vimbiso_fsm import Channel, FlowStateManager, Message
from vimbiso_fsm.engine import commit, decide
from vimbiso_fsm.engine.events import Event, other_tokens, turn_token
from vimbiso_fsm.messages.digests import UNKEYED, Digests
from vimbiso_fsm.messages.told import ChatOpened
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import Pause, RunCall
from vimbiso_fsm.testing.chat import START, Chat, words

OLD, NEW = "the-secret-of-last-year", "the-secret-of-this-year"
KEYS = [b"the first key", b"the second key", b"the third key", UNKEYED]


def keyed(chat: Chat, *keys: bytes) -> Chat:
    """Let the next operations of a chat be those of a worker with these keys, the current one first."""
    chat._bot = chat.bot.with_digests(Digests(keys))
    return chat


@contextmanager
def as_an_earlier_release() -> Generator[None]:
    """Make tokens without a key meanwhile."""

    def unkeyed(event: Event, key: bytes) -> str:
        return turn_token(event, b"")

    with mock.patch.object(decide, "turn_token", unkeyed), mock.patch.object(commit, "turn_token", unkeyed):
        yield


# The tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_without_a_key_is_that_of_earlier_releases():
    """The tokens that earlier releases have stored are found: they are the unkeyed hashes of messages and facts."""
    sent = Message(Channel("whatsapp", "263771000001").with_account("100200"), "wamid.A", "hi")
    opened = ChatOpened(id="e1", at=START, account="100200", channel=Channel("telegram", "77"))
    assert token_of(sent, Digests()) == "920f3273ff7cf25fb1e84b1977fb3d81"
    assert other_tokens(sent, Digests((b"a key", UNKEYED))) == ("920f3273ff7cf25fb1e84b1977fb3d81",)
    assert other_tokens(opened, Digests((b"a key", UNKEYED))) == (token_of(opened, Digests()),)


@given(st.lists(st.sampled_from(KEYS), min_size=1, unique=True), st.integers(0, 9), st.integers(0, 9))
def test_each_key_gives_a_token_of_its_own(keys: list[bytes], one: int, other: int):
    """No two keys, and no two messages, have a token in common."""
    sent = [Message(Channel("whatsapp", "263771000001"), f"m{number}", "hi") for number in dict.fromkeys((one, other))]
    digests = Digests(tuple(keys))
    tokens = [token for each in sent for token in (token_of(each, digests), *other_tokens(each, digests))]
    assert len({*tokens}) == len(sent) * len(keys)
    assert digests.token_key not in keys or digests.token_key == UNKEYED


# Redelivery after a rotation ------------------------------------------------------------------------------------------


@pytest.mark.embedded
@pytest.mark.parametrize("rings", [(OLD, [NEW, OLD]), (None, OLD, [OLD, NEW], [NEW, OLD]), ([OLD, NEW], [NEW, OLD])])
def test_a_message_of_before_a_rotation_is_a_duplicate_after_it(rings: tuple[Any, ...], valkey_url: str):
    """Each message has its first answer after each rotation, by a member and by a guest, and is paid once."""
    ledger = MemoryLedger()
    said: list[tuple[Message, list[str]]] = []
    for secret in rings:
        with FlowStateManager.from_url(valkey_url, pay_bot(ledger), secret=secret) as manager:
            for sent, answered in said:
                again = manager.handle(sent)
                assert (again.status, replies(again)) == ("duplicate", answered)
            for text in ("5", "yes") if said else ("hi", "5", "yes"):
                sent = message(text)
                said.append((sent, replies(manager.handle(sent))))
    assert ledger.amounts == [5] * len(rings)


@pytest.mark.embedded
def test_a_message_that_an_earlier_release_has_handled_is_a_duplicate(valkey_url: str, valkey_server: Server):
    """Tokens without a key, in a store of an earlier release, are found; and nothing else of a new store has one."""
    ledger, said = MemoryLedger(), [message(text) for text in ("hi", "5", "yes")]
    with as_an_earlier_release(), FlowStateManager.from_url(valkey_url, pay_bot(ledger)) as manager:
        answered = [replies(manager.handle(each)) for each in said]
        assert not manager.bot.digests.of_tokens
    client: Any
    with valkey_server.client() as client:
        form, *keys = client.get("vimbiso:index").decode().split()
        client.set("vimbiso:index", " ".join(["2", *keys]))
    with FlowStateManager.from_url(valkey_url, pay_bot(ledger)) as manager:
        found = [manager.handle(each) for each in said]
        assert [(again.status, replies(again)) for again in found] == [("duplicate", first) for first in answered]
        sent = message("6")
        assert manager.handle(sent).status == "advanced"
        [entry] = manager.history(found[0].state.member_id, last=1)
        assert entry.token == token_of(sent, manager.bot.digests) != token_of(sent, Digests())
    with as_an_earlier_release(), FlowStateManager.from_url(valkey_url, pay_bot(ledger)) as manager:
        assert manager.handle(sent).status == "duplicate"  # while processes are replaced
    assert ledger.amounts == [5]
    with valkey_server.client() as client:
        assert client.get("vimbiso:index").decode().startswith(f"{form} {keys[0]} tokens@")


@pytest.mark.embedded
def test_a_worker_that_has_only_the_earlier_key_finds_a_message_of_another(valkey_url: str):
    """While a secret is being introduced, a worker without it finds that a message of its member was handled."""
    ledger = MemoryLedger()
    with FlowStateManager.from_url(valkey_url, pay_bot(ledger)) as earlier:
        earlier.handle(message("hi"))
        with FlowStateManager.from_url(valkey_url, pay_bot(ledger), secret=NEW) as later:
            said = [message(text) for text in ("5", "yes")]
            assert [later.handle(each).status for each in said] == ["advanced", "advanced"]
        assert [earlier.handle(each).status for each in said] == ["duplicate", "duplicate"]
    assert ledger.amounts == [5]


def test_a_pending_call_keeps_its_key_over_a_rotation():
    """A message whose call was lost is delivered again after a rotation: the call is taken up with its first key."""
    ledger = MemoryLedger()
    chat = keyed(Chat(pay_bot(ledger)), b"old")
    chat.say("hi", "5")
    sent = chat.message("yes")
    held = chat.begin(sent)
    while not isinstance(held.request, RunCall):
        chat.step(held)
    key = held.request.caller.key
    chat.wait(120)
    outcome = keyed(chat, b"new", b"old").handle(sent)
    assert (outcome.status, "paid 5" in replies(outcome), [*ledger.paid]) == ("duplicate", True, [key])
    for ring in ((b"new", b"old"), (b"old", b"new"), (b"new", b"old", b"older")):
        again = keyed(chat, *ring).handle(sent)
        assert (again.status, "paid 5" in replies(again)) == ("duplicate", True)
    assert ledger.calls == 1


@pytest.mark.parametrize("ring", [(b"new", b"old"), (b"old", b"new")])
def test_a_repeated_message_waits_for_the_call_that_another_key_names(ring: tuple[bytes, ...]):
    """A message that is delivered again while its call is made waits for it, also at a worker with other keys."""
    chat = keyed(Chat(pay_bot(MemoryLedger())), b"new", b"old")
    chat.say("hi", "5")
    sent = chat.message("yes")
    held = chat.begin(sent)
    while not isinstance(held.request, RunCall):
        chat.step(held)
    again = keyed(chat, *ring).begin(sent)
    while not isinstance(again.request, Pause):
        chat.step(again)
    chat.finish(held)
    assert "paid 5" in words(chat.finish(again).replies)
    assert keyed(chat, *ring).handle(sent).status == "duplicate"


@pytest.mark.parametrize("newer", ["m-new", None])
def test_a_login_that_unlinks_is_finished_after_a_rotation(newer: str | None):
    """The message whose login unlinks a number is the stranger's once, whatever keys its deliveries are named with."""
    effects, is_whole = 0, False
    while not is_whole:
        chat, _ = recycled(newer)
        keyed(chat, b"new", *chat.bot.digests.keys)
        sent = chat.message("hi")
        held = chat.begin(sent, cache=Cache(0))
        for _ in range(effects):
            if held.request is not None:
                chat.step(held)
        is_whole = held.request is None
        chat.wait(60)
        keyed(chat, chat.bot.digests.keys[1], b"new").handle(sent)
        if newer is None:
            assert chat.say("ada").replies[-1].text == "hello, the name of m-ada", effects
        elif chat.words != ["hello, the name of m-new"]:
            assert chat.say("hi").replies[-1].text == "hello, the name of m-new", effects
        check_apart(chat, chat.words, newer or "m-ada")
        effects += 1
    assert effects > 15


# Any order ------------------------------------------------------------------------------------------------------------

DELIVERIES = st.lists(
    st.tuples(st.integers(0, 7), st.permutations(KEYS[:3]), st.integers(1, 3), st.booleans()), min_size=1, max_size=25
)
"""The number of a message, the order of the keys of the worker, the number of keys that are known by then at least, and
whether the worker dies with a call."""
Delivery: TypeAlias = tuple[int, list[bytes], int, bool]


def heard_of(deliveries: list[Delivery], *, rotates: bool) -> tuple[list[object], list[int], int]:
    """Return what is answered to each delivery, the amounts that were paid, and the number of calls.

    Args:
        deliveries: The deliveries.
        rotates: Whether each worker has the keys that are known by then, in an order of its own; else all have one key.
    """
    ledger, known = MemoryLedger(), 1
    chat = Chat(pay_bot(ledger))
    heard: list[object] = []
    for number, order, more, dies in deliveries:
        known = max(known, more)
        keyed(chat, *([key for key in order if key in KEYS[:known]] if rotates else KEYS[:1]))
        held = chat.begin(chat.message("yes" if number % 2 else "5", id=f"m{number}"))
        while held.request is not None and not (dies and isinstance(held.request, RunCall)):
            chat.step(held)
        heard.append(held.outcome and (held.outcome.status, words(held.outcome.replies)))
        chat.wait(120)
    chat.check()
    return heard, ledger.amounts, ledger.calls


@example([(0, KEYS[:3], 1, False), (1, KEYS[:3], 1, True), (1, KEYS[2::-1], 3, False), (0, KEYS[:3], 3, False)])
@given(DELIVERIES)
def test_messages_take_effect_once_at_workers_of_any_keys(deliveries: list[Delivery]):
    """Messages in any order and number, at workers with the same keys in any order, are answered as with one key.

    Keys are added on the way, as by rotations, and workers die with the call of a message.
    """
    assert heard_of(deliveries, rotates=True) == heard_of(deliveries, rotates=False)
