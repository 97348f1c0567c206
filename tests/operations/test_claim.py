"""The owner of a store: who becomes it, who is refused, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shells import Shell, Watched
from vimbiso_fsm import (
    AnotherBotsStore,
    Bot,
    Channel,
    Flow,
    FlowError,
    FlowStateManager,
    Message,
    State,
    StoreUnavailable,
    Text,
    Transition,
    UnknownLayout,
)
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.operations.claim import claim, decode_owner, encode_owner, owner_of
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.store.layout import LAYOUT
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Claim, ReadOwner, Request
from vimbiso_fsm.testing.chat import CHANNEL, Clock


def asking(name: str) -> Flow[Any]:
    """Make a flow with one question."""
    return Flow(
        name, initial="ask",
        states=[State("ask", ask=Text("?")), State("end", say=Text("Done."), final=True)],
        transitions=[Transition("yes", "ask", "end")],
    )  # fmt: skip


FLOWS = {name: asking(name) for name in ("menu", "pay", "book", "loan")}


def bot(*names: str, **options: Any) -> Bot:
    """Make a bot with these flows."""
    return Bot([FLOWS[name] for name in names], **options)


def owner(store: MemoryStore) -> dict[str, Any]:
    """Return the record of the owner."""
    record = store.perform(ReadOwner())
    assert record is not None
    return dict(loads(record))


def test_the_first_bot_becomes_the_owner():
    """The record has the layout, the name and the flows; a second start of the same bot changes nothing."""
    store = MemoryStore(Clock())
    run(claim(bot("menu", "pay", name="bank")), store.perform)
    assert owner(store) == {"layout": LAYOUT, "bot": "bank", "flows": ["menu", "pay"]}
    asked: list[Request] = []

    def perform(request: Request) -> object:
        asked.append(request)
        return store.perform(request)

    run(claim(bot("menu", "pay", name="bank")), perform)
    assert asked == [ReadOwner()]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (bot("menu", name="bank"), bot("book", name="bank"), True),
        (bot("menu", name="bank"), bot("menu", name="clinic"), False),
        (bot("menu", "pay"), bot("menu", "pay", "loan"), True),
        (bot("menu", "pay"), bot("menu"), True),
        (bot("menu", "pay"), bot("menu", "book"), False),
        (bot("menu", "pay"), bot("menu", "book", dropped=["pay"]), True),
        (bot("menu", "pay"), bot("book"), False),
        (bot("menu", "pay"), bot("menu", "pay", name="bank"), True),
        (bot("menu", "pay", name="bank"), bot("menu", "pay", "loan"), True),
        (bot("menu", "pay", name="bank"), bot("book"), False),
    ],
)
def test_the_name_decides_or_else_the_flows(first: Bot, second: Bot, same: bool):
    """Two names are compared; without one, a bot that knows all flows of the owner, or has none beyond them, is it."""
    store = MemoryStore(Clock())
    run(claim(first), store.perform)
    before = store.perform(ReadOwner())
    if same:
        run(claim(second), store.perform)
        assert owner(store)["bot"] == (first.name or second.name)
        run(claim(first), store.perform)
    else:
        with pytest.raises(AnotherBotsStore) as error:
            run(claim(second), store.perform)
        assert "namespace" in str(error.value)
        assert error.value.owner in str(error.value)
        assert store.perform(ReadOwner()) == before


def test_the_refusal_says_what_to_do():
    """The sentence names both bots, and the flows that the second would have to declare as dropped."""
    store = MemoryStore(Clock())
    run(claim(bot("menu", "pay")), store.perform)
    with pytest.raises(AnotherBotsStore) as error:
        run(claim(bot("menu", "book")), store.perform)
    assert error.value.flows == ("pay",)
    assert "a bot without a name, with the flows menu, pay" in str(error.value)
    assert "Bot(dropped=['pay'])" in str(error.value)


@given(st.lists(st.sets(st.sampled_from([*FLOWS]), min_size=1), min_size=1, max_size=6))
def test_no_bot_with_flows_of_its_own_beside_foreign_ones_gets_in(releases: list[set[str]]):
    """Whatever bots come: one is let in only if it knows all flows of the owner, or has no others."""
    store, known = MemoryStore(Clock()), set[str]()
    for names in releases:
        fits = not known or known <= names or names <= known
        try:
            run(claim(bot(*sorted(names))), store.perform)
        except AnotherBotsStore:
            assert not fits
        else:
            assert fits
            known |= names
        assert {*owner(store)["flows"]} == known


def test_two_bots_that_start_at_once_are_not_both_the_owner():
    """A claim that comes between the read and the claim of another bot is judged again."""
    store = MemoryStore(Clock())
    late = claim(bot("book", name="clinic"))
    assert late.send(None) == ReadOwner()
    asked = late.send(None)
    assert isinstance(asked, Claim)
    run(claim(bot("menu", name="bank")), store.perform)
    with pytest.raises(AnotherBotsStore):
        late.send(store.perform(asked))
    assert owner(store)["bot"] == "bank"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            dumps({"layout": LAYOUT + 1, "bot": "", "flows": ["menu"], "more": 1}),
            "of a newer release",
        ),
        (dumps({"layout": 0, "bot": "", "flows": ["menu"]}), "cannot be read"),
        (b"{", "cannot be read"),
        (dumps({"layout": "2", "bot": "", "flows": []}), "cannot be read"),
        (dumps({"layout": LAYOUT, "bot": ""}), "cannot be read"),
    ],
)
def test_a_layout_that_is_not_known_is_refused(record: bytes, words: str):
    """A newer layout, and a record that cannot be read, are refused in words; nothing is stored."""
    store = MemoryStore(Clock())
    store.perform(Claim(record, None))
    with pytest.raises(UnknownLayout, match=words):
        run(claim(bot("menu")), store.perform)
    assert store.perform(ReadOwner()) == record


def test_an_older_layout_is_converted():
    """A store of layout 1 gets the number of this release; its record of today is read back as it was written."""
    store = MemoryStore(Clock())
    store.perform(Claim(dumps({"layout": 1, "bot": "", "flows": ["menu"]}), None))
    run(claim(bot("menu", "pay")), store.perform)
    assert owner(store) == {"layout": LAYOUT, "bot": "", "flows": ["menu", "pay"]}
    mine = owner_of(bot("menu", name="a bank"))
    assert decode_owner(encode_owner(mine)) == mine


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_another_bots_manager_stores_nothing(kind: Any):
    """A manager of another bot raises at every use, and the member reads that nothing was changed."""
    store = MemoryStore(Clock())
    with Shell(kind, bot("menu", name="bank"), store) as first:
        member = first.do("handle", first.message("hi")).state.member_id
    before = store.perform(ReadOwner()), dict(store._members), dict(store._channels), dict(store._due)
    with Shell(kind, bot("menu", name="clinic"), store) as other:
        uses: list[tuple[Any, ...]] = [
            ("handle", other.message("yes")),
            ("wake", member),
            ("state", member),
            ("recover", member),
            ("reset", member),
            ("wipe", member),
            ("history", member),
            ("incidents",),
            ("member_of", CHANNEL),
            ("start",),
        ]
        for name, *arguments in uses:
            with pytest.raises(AnotherBotsStore) as error:
                other.do(name, *arguments)
            if name == "handle":
                assert "nothing was changed" in error.value.reply
    assert (store.perform(ReadOwner()), dict(store._members), dict(store._channels), dict(store._due)) == before


def test_a_manager_asks_once():
    """Only the first use reads whose the store is; no turn after it does."""
    store, asked = MemoryStore(Clock()), list[str]()

    class Counting:
        def perform(self, request: Any) -> Any:
            asked.append(type(request).__name__)
            return store.perform(request)

    manager = FlowStateManager(bot("menu"), Counting())
    for place in range(3):
        manager.handle(Message(Channel("sms", "1"), f"m{place}", "hi"))
    assert (asked.count("ReadOwner"), asked.count("Claim")) == (1, 1)
    assert asked[:2] == ["ReadOwner", "Claim"]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("record", "error"),
    [
        (dumps({"layout": LAYOUT + 1, "bot": "bank", "flows": ["menu"]}), UnknownLayout),
        (dumps({"layout": LAYOUT, "bot": "clinic", "flows": ["book"]}), AnotherBotsStore),
    ],
    ids=["a newer layout", "another bot"],
)
def test_a_running_manager_asks_again_whose_the_store_is(
    kind: Any, record: bytes, error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    """A manager that runs is refused when the store is no longer its bot's, and goes on when it is again."""
    store = MemoryStore(Clock())
    with Shell(kind, bot("menu", name="bank"), store) as shell:
        member = shell.handle(shell.message("hi")).state.member_id
        mine = store.perform(ReadOwner())
        store.perform(Claim(record, mine))
        assert shell.handle(shell.message("yes")).status == "advanced"
        for shells in ("shell", "async_shell"):
            monkeypatch.setattr(f"vimbiso_fsm.runtime.{shells}.OWNER_KNOWN", 0.0)
        shell.manager._ready_until = 0.0  # as when the time is over
        for name, *arguments in (("handle", shell.message("hi")), ("wake", member), ("state", member)):
            with pytest.raises(error):
                shell.do(name, *arguments)
        assert store.perform(ReadOwner()) == record
        store.perform(Claim(mine, record))
        assert shell.handle(shell.message("hi")).status == "advanced"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_turn_does_not_fail_because_the_owner_cannot_be_read_again(kind: Any):
    """A store that does not say whose it is, when it is asked again, hinders no turn that it can store."""
    store = Watched(MemoryStore(Clock()))
    with Shell(kind, bot("menu", name="bank"), store) as shell:
        shell.handle(shell.message("hi"))
        asked: list[Request] = []

        def down(request: Request) -> None:
            if isinstance(request, ReadOwner):
                asked.append(request)
                raise StoreUnavailable("down")

        store.before = down
        shell.manager._ready_until = 0.0  # as when the time is over
        assert shell.handle(shell.message("yes")).status == "advanced"
        assert shell.handle(shell.message("hi")).status == "advanced"
        assert asked == [ReadOwner()]


@pytest.mark.parametrize("name", [" ", "a" * 41, "é", 7, None, "a:b"])
def test_a_name_has_a_form(name: Any):
    """A name that is no short word is refused when the bot is made."""
    with pytest.raises(FlowError, match="name is"):
        bot("menu", name=name)
