"""A guest with many tokens becomes a member in portions, and no message takes effect twice meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.digests import guest_id, token_of
from tests.faults.bot import till_bot
from tests.hostile.kit import ANYBODY
from vimbiso_fsm import Caller, Channel, FlowStateManager, Message, StoreUnavailable
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Commit, Effect, ReadInherited, UseTokens
from vimbiso_fsm.store.retention import TOKENS_AT_ONCE
from vimbiso_fsm.testing.chat import STORE_SECRET

NOW = 1.7e9
CHANNEL = Channel("whatsapp", "263771000001")
GUEST = guest_id(CHANNEL.address)
MANY = 3 * TOKENS_AT_ONCE + 7


class Shop:
    """A till that sells nothing."""

    def sell(self, number: int, *, caller: Caller = ANYBODY) -> str:
        """Sell a number."""
        return f"receipt {number}"


class Failing(MemoryStore):
    """A store that is away for the request with this number, counted from the first of `UseTokens`; 0 for never."""

    def __init__(self, fails: int = 0) -> None:
        super().__init__(lambda: NOW, secret=STORE_SECRET)
        self.fails, self.seen = fails, 0
        self.largest = 0

    def perform(self, request: Effect[Any], /) -> Any:
        if isinstance(request, UseTokens) or self.seen:
            self.seen += 1
            if self.seen == self.fails:
                raise StoreUnavailable("away")
        if isinstance(request, UseTokens):
            self.largest = max(self.largest, len(request.tokens))
        if isinstance(request, Commit) and request.inherited:
            self.largest = max(self.largest, len(request.inherited.tokens))
        return super().perform(request)


def message(id: str, text: str) -> Message:
    """Return a message of the guest."""
    return Message(CHANNEL, id, text)


def fill(store: MemoryStore) -> list[str]:
    """Let the guest have used many tokens, and return them."""
    tokens = [(f"{number:032x}", NOW - MANY + number) for number in range(MANY)]
    for first in range(0, MANY, TOKENS_AT_ONCE):
        store.perform(UseTokens(GUEST, tuple(tokens[first : first + TOKENS_AT_ONCE])))
    return [token for token, _ in tokens]


def used(store: MemoryStore, member_id: str) -> set[str]:
    """Return all tokens of a member, read in portions."""
    found: set[str] = set()
    since: float | None = None
    while True:
        portion = store.perform(ReadInherited(member_id, since)).tokens
        if {token for token, _ in portion} <= found:
            return found
        found |= {token for token, _ in portion}
        since = portion[-1][1]


@pytest.mark.parametrize("fails", range(9))
def test_a_promotion_in_portions_may_end_at_any_request(fails: int):
    """Each token of the guest is used at the member in the end, and a redelivered message has no effect meanwhile."""
    store = Failing()
    tokens = fill(store)
    store.seen, store.fails = 0, fails
    with FlowStateManager(till_bot(Shop()), store, cache=0) as manager:
        first = manager.handle(message("one", "hi"))
        try:
            manager.handle(message("two", "1234"))
        except StoreUnavailable:
            again = manager.handle(message("one", "hi"))
            assert again.status == "duplicate"
        outcome = manager.handle(message("two", "1234"))
        assert outcome.status == "duplicate"
        member = outcome.state.member_id
        assert (first.status, member) == ("advanced", "m-263771000001")
        assert {*tokens, token_of(message("one", "hi")), token_of(message("two", "1234"))} <= used(store, member)
        assert store.largest <= TOKENS_AT_ONCE
        assert manager.handle(message("one", "hi")).status == "duplicate"
        assert manager.handle(message("three", "7")).status == "advanced"


@pytest.mark.parametrize("linked", [False, True])
def test_a_channel_leaves_its_member_in_portions(linked: bool):
    """Many tokens of a member go with a channel that is unlinked or relinked, and none of them works again."""
    store = Failing()
    with FlowStateManager(till_bot(Shop()), store, cache=0) as manager:
        for id, text in (("one", "hi"), ("two", "1234")):
            manager.handle(message(id, text))
        member = manager.member_of(CHANNEL)
        assert member is not None
        tokens = [(f"{number:032x}", NOW - MANY + number) for number in range(MANY)]
        for first in range(0, MANY, TOKENS_AT_ONCE):
            store.perform(UseTokens(member, tuple(tokens[first : first + TOKENS_AT_ONCE])))
        if linked:
            for id, text in (("three", "hi"), ("four", "1234")):
                manager.handle(Message(Channel("whatsapp", "263771000002"), id, text))
            manager.relink("m-263771000002", CHANNEL)
        else:
            manager.unlink(member, CHANNEL)
        owner = "m-263771000002" if linked else GUEST
        assert {token for token, _ in tokens} <= used(store, owner)
        assert store.largest <= TOKENS_AT_ONCE
        assert manager.handle(message("one", "hi")).status == "duplicate"
