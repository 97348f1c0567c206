"""What another system gives to a member: words, a flow and a trigger, each once per key, with a clear answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from tests.engines import running, valkey_program
from tests.shells import Shell
from vimbiso_fsm import (
    READ_ONLY,
    Bot,
    Caller,
    Channel,
    Flow,
    FlowError,
    FlowStateManager,
    InvalidMessage,
    Message,
    NoData,
    Refused,
    State,
    Text,
    Transition,
    Trigger,
    Turn,
    authenticated,
    call,
)
from vimbiso_fsm.document.document import Suspended
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import RunCall, TakePlace, run
from vimbiso_fsm.operations.give import give
from vimbiso_fsm.operations.handle_event import EventOutcome
from vimbiso_fsm.runtime.giving import trigger_pulled, words_given
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Scan
from vimbiso_fsm.testing.chat import CHANNEL, STORE_SECRET, Clock, words


@attrs.frozen
class Payment:
    """The data of the trigger."""

    amount: int = 0


@attrs.frozen
class Order:
    """The data of the flow."""

    item: str = ""
    paid: int = 0


class Shop:
    """A service that counts what it ships."""

    def __init__(self) -> None:
        self.shipped: list[str] = []

    def ship(self, item: str, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a frozen value
        """Ship an item."""
        self.shipped.append(caller.key)
        return item


def enough(turn: Turn[Order]) -> bool | Refused:
    """Refuse less than ten."""
    return turn.answer.amount >= 10 or Refused("order.little")


def credited(turn: Turn[Order]) -> Order:
    """Take the amount in."""
    return attrs.evolve(turn.data, paid=turn.answer.amount)


order = Flow(
    "order", data=Order, initial="item",
    states=[
        State("item",     ask=Text("Which item?"), reads=str, into="item"),
        State("waiting",  ask=Text("Waiting for your payment.")),
        State("shipping", call=lambda turn: call(Shop.ship, turn.data.item)),
        State("thanks",   ask=Text("Shipped. Was it easy?")),
        State("end",      say=Text("Thank you."), final=True),
    ],
    transitions=[
        Transition("answer", "item",     "waiting"),
        Transition("paid",   "waiting",  "shipping", by=["billing", "bank"], takes=Payment, prepare=credited,
                   conditions=enough),
        Transition(["done", "failed"], "shipping", "thanks"),
        Transition("yes",    "thanks",   "end"),
    ],
)  # fmt: skip
"""An order that waits for a payment."""

survey = Flow(
    "survey", data=Order, initial="item",
    states=[
        State("item", ask=Text("How was the {item}?"), reads=str, into="item"),
        State("end",  say=Text("Noted."), final=True),
    ],
    transitions=[Transition("answer", "item", "end")],
)  # fmt: skip
alarm = attrs.evolve(survey, name="alarm", opens="now")

home: Flow[NoData] = Flow(
    "home", initial="menu",
    states=[
        State("menu",  ask=Text("Menu")),
        State("order", flow=order),
    ],
    transitions=[
        Transition("go",        "menu",  "order"),
        Transition("done",      "order", "menu"),
        Transition("cancelled", "order", "menu"),
    ],
)  # fmt: skip


def greeted(turn: Turn[None, Any], data: Any) -> Any:
    """Greet, and keep who greeted."""
    if data == "no":
        return Refused("greeting.refused")
    if data == "raise":
        raise RuntimeError("secret")
    return [
        Text("Hello from {by}", by=turn.by),
        turn.changes(member=attrs.evolve(turn.member, profile={**turn.member.profile, "greeted": data})),
    ]


class World:
    """A manager that delivers, with the words that were delivered."""

    def __init__(self, kind: Any = "sync", *, delivers: bool = True, **more: Any) -> None:
        self.shop, self.clock, self.sent = Shop(), Clock(), [""]
        self.sent.clear()
        more.setdefault("triggers", [Trigger("greet", greeted, by="crm", takes=str)])
        self.bot = Bot([home, survey, alarm], services={"shop": self.shop}, session=300.0, **more)
        self.store = MemoryStore(self.clock, secret=STORE_SECRET)
        self.shell = Shell(kind, self.bot, self.store, deliver=self._deliver(kind) if delivers else None)
        self.shell.manager._base.clock.follow(self.clock)
        self.member_id = ""

    def _deliver(self, kind: str) -> Any:
        def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
            self.sent += words(replies)

        async def deliver_async(channel: Channel, replies: Sequence[Reply]) -> None:
            deliver(channel, replies)

        return deliver if kind == "sync" else deliver_async

    def says(self, *texts: str) -> list[str]:
        """Say something; return what is replied to the last."""
        outcome = self.shell.say(*texts)
        self.member_id = outcome.state.member_id
        return words(outcome.replies)

    def gives(self, how: str, *arguments: Any, **named: Any) -> tuple[str, str]:
        """Give something to the member; return the status and the reason."""
        outcome: EventOutcome = self.shell.do(how, self.member_id, *arguments, **named)
        assert outcome.replies == ()
        return outcome.status, outcome.reason

    def heard(self) -> list[str]:
        """Return what was delivered since the last time."""
        heard = [*self.sent]
        self.sent.clear()
        return heard

    @property
    def state(self) -> Any:
        """The document of the member."""
        return self.shell.state(self.member_id)

    @property
    def kinds(self) -> list[str]:
        """The kinds and statuses of the audit."""
        return [f"{entry.kind} {entry.status}" for entry in self.shell.do("history", self.member_id)]


@pytest.fixture(params=["sync", "async"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A member at home, at a sync and at an async manager."""
    world = World(request.param)
    world.says("hi")
    yield world
    world.shell.close()


def paying(world: World) -> World:
    """Lead the member to the state that waits for a payment."""
    world.says("go", "tea")
    return world


# Words ----------------------------------------------------------------------------------------------------------------


def test_words_are_said_once(world: World):
    """Words under a key are delivered once, and change neither the question nor the session."""
    paying(world)
    before = world.state
    assert [world.gives("tell", "We close at {time}.", key="k") for _ in range(3)] == [
        ("advanced", ""), ("duplicate", "advanced"), ("duplicate", "advanced"),
    ]  # fmt: skip
    assert world.heard() == ["We close at {time}."]
    assert (world.state.run, world.state.session) == (before.run, before.session)


def test_words_wait_where_none_are_delivered():
    """Without a delivery, the words precede the reply to the member's next message."""
    world = World(delivers=False)
    world.says("hi")
    assert world.gives("tell", Text("We close."), key="k") == ("advanced", "")
    assert world.says("go") == ["We close.", "Which item?"]


def test_a_key_that_is_used_for_two_things_is_refused(world: World):
    """Another thing under a known key has no effect, and an incident records it."""
    assert world.gives("tell", "one", key="k")[0] == "advanced"
    for given in (
        ("tell", "two"),
        ("open", "survey"),
        ("trigger", "greet", "x"),
    ):
        named = {"by": "crm"} if given[0] == "trigger" else {}
        assert world.gives(*given, key="k", **named) == ("refused", "key")
    assert world.heard() == ["one"]
    assert {each.kind for each in world.shell.do("incidents", world.member_id)} == {"mismatch"}


def test_a_key_is_that_of_one_member(world: World):
    """The same key at another member is another thing."""
    world.gives("tell", "one", key="k")
    other = world.shell.handle(Message(Channel("whatsapp", "99"), "x", "hi")).state.member_id
    assert world.shell.do("tell", other, "one", key="k").status == "advanced"


@pytest.mark.parametrize("member_id", ["nobody", "m-\U0001f600", "x" * 512, "{a}", "../etc"])
def test_an_unknown_member_is_answered_clearly(world: World, member_id: str):
    """What is given to an unknown member has no effect and stores nothing."""
    before = world.shell.do("ask", Scan())
    outcome = world.shell.do("tell", member_id, "hi", key="k")
    assert (outcome.status, outcome.reason) == ("ignored", "unknown member")
    assert world.shell.do("ask", Scan()) == before


@pytest.mark.parametrize(
    ("how", "arguments", "named"),
    [
        ("tell", ("m", "hi"), {"key": ""}),
        ("tell", ("m", "hi"), {"key": 3}),
        ("tell", ("m", "hi"), {"key": "a\x00b"}),
        ("tell", ("m", "hi"), {"key": "k" * 513}),
        ("tell", ("", "hi"), {"key": "k"}),
        ("tell", ("m" * 10_000, "hi"), {"key": "k"}),
        ("tell", ("m\ud800", "hi"), {"key": "k"}),
        ("tell", ("m", " "), {"key": "k"}),
        ("tell", ("m", None), {"key": "k"}),
        ("tell", ("m", b"hi"), {"key": "k"}),
        ("tell", ("m", "x" * 9000), {"key": "k"}),
        ("open", ("m", None), {"key": "k"}),
        ("open", ("m", "f" * 65), {"key": "k"}),
        ("open", ("m", "survey", {"item": float("nan")}), {"key": "k"}),
        ("open", ("m", "survey", {"item": "x" * 9000}), {"key": "k"}),
        ("open", ("m", "survey", object()), {"key": "k"}),
        ("trigger", ("m", ""), {"key": "k", "by": "bank"}),
        ("trigger", ("m", "paid"), {"key": "k", "by": ""}),
    ],
)
def test_a_value_of_the_wrong_form_is_an_error(how: str, arguments: Any, named: Any):
    """A value that is empty, too long, or of the wrong type is refused with the name of its field; none is quoted."""
    world = World()
    with pytest.raises(InvalidMessage) as refused:
        world.shell.do(how, *arguments, **named)
    assert refused.value.field
    assert "xxx" not in str(refused.value)


@pytest.mark.parametrize("text", ["{0.__class__}", "\u202e{value}", "a\nb\x00", "\ud83d", "${jndi}", "%s" * 50])
def test_hostile_words_are_said_as_they_are(world: World, text: str):
    """No words of another system are a template, and none break a turn."""
    assert world.gives("tell", text, key="k")[0] == "advanced"
    assert len(world.heard()) == 1


# Triggers -------------------------------------------------------------------------------------------------------------


def test_a_trigger_of_the_state_goes_on_once(world: World):
    """The state that declares a trigger takes it once: its guard, data and call, and the answer is delivered."""
    paying(world)
    outcomes = [world.gives("trigger", "paid", Payment(10), key="p", by="bank") for _ in range(2)]
    assert outcomes == [("advanced", ""), ("duplicate", "advanced")]
    assert world.heard() == ["Shipped. Was it easy?"]
    assert len(world.shop.shipped) == 1
    assert world.state.run.fields["paid"] == 10
    entry = next(each for each in world.shell.do("history", world.member_id) if each.kind == "trigger")
    assert (entry.trigger, entry.status, entry.detail) == ("paid", "advanced", {"by": "bank"})
    assert entry.guards == (("enough", "accepted"),)


def test_a_trigger_is_no_button_and_no_answer(world: World):
    """The member cannot fire a trigger of another system, by its name or as a choice."""
    paying(world)
    assert world.says("paid") == ["That is not one of the choices.", "Waiting for your payment."]
    assert world.state.run.step == "waiting"


def test_a_guard_refuses_a_trigger(world: World):
    """A refusal of a guard is audited under the key, changes nothing, and the member hears nothing."""
    paying(world)
    assert world.gives("trigger", "paid", {"amount": 1}, key="p", by="bank") == ("refused", "order.little")
    assert world.gives("trigger", "paid", {"amount": 1}, key="p", by="bank") == ("duplicate", "refused")
    assert (world.heard(), world.state.run.step) == ([], "waiting")
    assert world.kinds.count("trigger refused") == 1


def test_a_system_without_the_right_is_refused_and_uses_no_key(world: World):
    """A system that is not declared is refused, which the audit records. The key stays free for one that is."""
    paying(world)
    assert world.gives("trigger", "paid", Payment(10), key="p", by="crm") == ("refused", "trigger.right")
    assert world.gives("trigger", "greet", "x", key="g", by="bank") == ("refused", "trigger.right")
    assert world.kinds.count("trigger refused") == 2
    assert world.shop.shipped == []
    assert world.gives("trigger", "paid", Payment(10), key="p", by="billing") == ("advanced", "")


def test_a_trigger_that_is_not_declared_here_may_come_again(world: World):
    """A trigger of a state where the member does not stand is ignored, and the same key counts when it does."""
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("ignored", "no transition")
    assert "trigger ignored" not in world.kinds
    paying(world)
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("advanced", "")
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("duplicate", "advanced")


def test_an_unknown_trigger_is_refused(world: World):
    """A trigger that nothing declares is refused, and so is a flow that the bot does not have."""
    assert world.gives("trigger", "pay", Payment(10), key="p", by="bank") == ("refused", "unknown trigger")
    assert world.gives("trigger", "answer", "x", key="p", by="bank") == ("refused", "unknown trigger")
    assert world.gives("open", "surveys", key="p") == ("refused", "unknown flow")
    assert world.gives("open", "carry_on", key="p") == ("refused", "unknown flow")


@pytest.mark.parametrize("data", [None, 3, {"amount": "10"}, {"amount": 1.5}, ["x"], {"amount": None}])
def test_data_of_another_form_is_refused(world: World, data: Any):
    """Data that is not of the declared type is refused with what is wrong and without its value, and uses no key."""
    paying(world)
    status, reason = world.gives("trigger", "paid", data, key="p", by="bank")
    assert (status, reason[:5]) == ("refused", "data ")
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("advanced", "")


def test_a_trigger_of_the_bot_reacts_wherever_the_member_stands(world: World):
    """A trigger of the bot says something and changes the member; its refusal and its exception change nothing."""
    paying(world)
    assert world.gives("trigger", "greet", "Ann", key="g1", by="crm") == ("advanced", "")
    assert world.heard() == ["Hello from crm"]
    assert world.gives("trigger", "greet", "no", key="g2", by="crm") == ("refused", "greeting.refused")
    assert world.gives("trigger", "greet", "raise", key="g3", by="crm") == ("failed", "")
    assert (world.state.profile, world.state.run.step, world.heard()) == ({"greeted": "Ann"}, "waiting", [])
    assert "secret" not in str(world.shell.do("history", world.member_id))


def test_a_payment_reaches_an_order_whose_session_is_over(world: World):
    """A run that waits for another system outlives the session, and goes on without one when the trigger comes."""
    paying(world)
    world.clock.at += 10_000
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("advanced", "")
    assert world.state.session_since is None
    assert world.heard()[-1] == "Shipped. Was it easy?"
    assert world.says("yes") == ["Thank you.", "Menu"]


def test_a_trigger_for_a_run_below_another_one_is_busy(world: World):
    """In a session, the trigger of a run that waits under another one may come again when that one has ended."""
    paying(world)
    world.gives("open", "alarm", key="a")
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("ignored", "busy")
    world.says("good")
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("advanced", "")


def test_while_a_call_is_on_its_way_a_trigger_is_busy():
    """A trigger and a flow that come while another worker makes a call are not taken; words are."""
    world = World()
    world.says("hi")
    paying(world)
    context = Context(world.bot.with_digests(world.shell.manager.bot.digests), Cache(0), world.clock())
    operation = give(context, trigger_pulled(world.member_id, "paid", Payment(10), "p", "bank"), delivers=False)
    answer: object = None
    while not isinstance(effect := operation.send(answer), RunCall):
        answer = True if isinstance(effect, TakePlace) else world.store.perform(effect)
    operation.close()  # the worker dies at the call
    assert world.gives("trigger", "paid", Payment(10), key="p2", by="bank") == ("ignored", "busy")
    assert world.gives("open", "survey", key="s") == ("ignored", "busy")
    assert world.gives("tell", "Please wait.", key="t") == ("advanced", "")
    world.clock.at += 10_000
    world.shell.wake(world.member_id)
    assert len(world.shop.shipped) == 1
    assert world.gives("trigger", "paid", Payment(10), key="p", by="bank") == ("duplicate", "advanced")


# Flows ----------------------------------------------------------------------------------------------------------------


def test_a_flow_begins_at_home(world: World):
    """At home a flow begins at once, with its input, and home asks again afterwards."""
    assert [world.gives("open", survey, Order("tea"), key="s") for _ in range(2)] == [
        ("advanced", ""), ("duplicate", "advanced"),
    ]  # fmt: skip
    assert world.heard() == ["How was the {item}?"]
    assert world.state.run.fields["item"] == "tea"
    assert world.says("good") == ["Noted.", "Menu"]


def test_a_flow_waits_until_the_open_one_has_ended(world: World):
    """A flow that comes after the open one begins when the member has come home, and not before."""
    paying(world)
    assert world.gives("open", "survey", {"item": "tea"}, key="s") == ("advanced", "")
    assert (world.heard(), world.state.run.step) == ([], "waiting")
    world.gives("trigger", "paid", Payment(10), key="p", by="bank")
    assert world.says("yes") == ["Thank you.", "There is something else for you now: survey.", "How was the {item}?"]
    assert world.says("good") == ["Noted.", "Menu"]


@pytest.mark.parametrize("word", ["menu", "cancel"])
def test_a_next_flow_is_not_lost_with_the_open_one(world: World, word: str):
    """A flow that waits begins also after the open one was left, and it can be left itself."""
    world.says("go")
    world.gives("open", "survey", key="s")
    assert world.says(word)[-1] == "How was the {item}?"
    assert world.says("cancel")[-1] == "Menu"
    assert world.state.suspended == ()


def test_a_next_flow_outlives_the_session(world: World):
    """A flow that waits begins with the member's next session."""
    world.says("go")
    world.gives("open", "survey", key="s")
    world.clock.at += 10_000
    world.shell.wake(world.member_id)
    world.heard()
    assert world.says("hi")[-1] == "How was the {item}?"


def test_an_urgent_flow_interrupts(world: World):
    """A flow that opens now interrupts the open one, which asks again afterwards."""
    paying(world)
    assert world.gives("open", "alarm", key="a") == ("advanced", "")
    assert world.heard() == ["How was the {item}?"]
    assert world.says("fine") == ["Noted.", "Waiting for your payment."]


def test_a_flow_reaches_a_member_who_is_away(world: World):
    """Without a session a flow begins, asks, and takes the member's next message for the answer."""
    world.clock.at += 10_000
    world.shell.wake(world.member_id)
    world.heard()
    assert world.gives("open", "survey", key="s") == ("advanced", "")
    assert (world.heard(), world.state.session_since) == (["How was the {item}?"], None)
    assert world.says("good")[0] == "Noted."


def test_only_a_few_flows_wait(world: World):
    """More flows than may wait are busy, and may come again."""
    world.says("go")
    outcomes = [world.gives("open", "survey", key=f"s{number}") for number in range(5)]
    assert outcomes == [("advanced", "")] * 4 + [("ignored", "busy")]
    assert [run.waits for run in world.state.suspended].count(Suspended.NEXT) == 4


def test_a_flow_that_requires_a_login_leads_to_it():
    """A flow that is opened for a member who is not logged in asks for the login first, and interrupts none."""
    entry = attrs.evolve(survey, name="entry", requires=())
    guarded = attrs.evolve(survey, name="guarded", requires=authenticated, opens="now")
    world = World(entry=entry, shortcuts=[])
    world.bot = attrs.evolve(world.bot, flows=[home, guarded])
    world.shell = Shell("sync", world.bot, world.store, deliver=world._deliver("sync"))
    world.shell.manager._base.clock.follow(world.clock)
    world.says("hi")
    assert world.gives("open", "guarded", key="g1") == ("advanced", "")
    assert world.state.run.flow == "entry"
    assert world.gives("open", "guarded", key="g2") == ("advanced", "")
    assert world.state.run.flow == "entry"


# Declarations ---------------------------------------------------------------------------------------------------------


def waits(**more: Any) -> Flow[NoData]:
    """Return a flow that waits for another system."""
    return Flow(
        "w", initial="a",
        states=[State("a", ask=Text("?")), State("b", final=True)],
        transitions=[Transition(more.pop("trigger", "paid"), "a", "b", **more)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"by": ""}, "names no system"),
        ({"by": []}, "names no system"),
        ({"by": [3]}, "names no system"),
        ({"by": "x" * 65}, "names no system"),
        ({"by": "bank", "trigger": "answer"}, "reserved"),
        ({"by": "bank", "words": ["x"]}, "no button"),
        ({"by": "bank", "takes": complex}, "takes"),
        ({"takes": int}, "no system may fire it"),
    ],
)
def test_a_transition_of_another_system_is_checked(more: Any, fault: str):
    """A declaration that could not work is refused when the flow is made."""
    with pytest.raises(FlowError, match=fault):
        waits(**more)


def test_the_transitions_of_one_trigger_have_one_right():
    """Two transitions of one state and trigger name the same systems and data."""
    with pytest.raises(FlowError, match="differ in by"):
        Flow(
            "w", initial="a",
            states=[State("a", ask=Text("?")), State("b", final=True)],
            transitions=[
                Transition("paid", "a", "b", by="bank", conditions=lambda turn: False),
                Transition("paid", "a", "a", by="crm"),
            ],
        )  # fmt: skip


def test_a_state_that_does_not_wait_takes_no_trigger():
    """Another system fires a transition of a question only."""
    with pytest.raises(FlowError, match="does not wait"):
        Flow(
            "w", initial="a",
            states=[State("a", call=lambda turn: call(Shop.ship, "x"), policy=READ_ONLY), State("b", final=True)],
            transitions=[Transition(["done", "failed"], "a", "b"), Transition("paid", "a", "b", by="bank")],
        )  # fmt: skip


@pytest.mark.parametrize(
    "triggers",
    [
        3,
        ["greet"],
        [Trigger("", greeted, by="crm")],
        [Trigger("greet", greeted, by=())],
        [Trigger("greet", lambda turn: None, by="crm")],  # type: ignore[arg-type,misc]  # too few arguments
        [Trigger("greet", greeted, by="crm", takes=complex)],
        [Trigger("greet", greeted, by="crm")] * 2,
    ],
)
def test_triggers_of_a_bot_are_checked(triggers: Any):
    """A trigger that could not work is refused when the bot is made."""
    with pytest.raises(FlowError):
        Bot(home, triggers=triggers)


@pytest.mark.parametrize("opens", ["later", None, True])
def test_what_a_flow_opens_is_checked(opens: Any):
    """`opens` is "after" or "now"."""
    with pytest.raises(FlowError, match="opens"):
        attrs.evolve(survey, opens=opens)


# Races ----------------------------------------------------------------------------------------------------------------


def test_a_key_that_two_processes_give_at_once_counts_once():
    """On a real server, the same trigger from two managers and a message at the same instant: one ship, one answer."""
    with running(valkey_program()) as server:
        shop, sent = Shop(), [""]
        stores = [AtomicStateManager.from_url(server.url, secret=STORE_SECRET) for _ in range(2)]
        bot = Bot([home, survey, alarm], services={"shop": shop})
        managers = [
            FlowStateManager(bot, store, rates=None, deliver=lambda channel, replies: sent.extend(words(replies)))
            for store in stores
        ]
        for text in ("hi", "go"):
            managers[0].handle(Message(CHANNEL, text, text))
        member_id = managers[0].handle(Message(CHANNEL, "tea", "tea")).state.member_id
        with ThreadPoolExecutor(5) as pool:
            pulled = [
                pool.submit(managers[number % 2].trigger, member_id, "paid", Payment(10), key="p", by="bank")
                for number in range(4)
            ]
            said = pool.submit(managers[1].handle, Message(CHANNEL, "m", "hello?"))
            outcomes = [each.result() for each in pulled]
            said.result()
        for manager in managers:
            manager.close()
        assert sorted(each.status for each in outcomes) == ["advanced", *["duplicate"] * 3]
        assert len(shop.shipped) == 1


def test_a_promoted_guest_is_followed():
    """What is given under the id of a guest who has become a member meanwhile reaches the member, once."""

    def login(turn: Turn[Order]) -> Any:
        return turn.changes(
            member=attrs.evolve(turn.member, id="m-ann", guest=False, authenticated=True, jwt_token="t")
        )

    enters = attrs.evolve(survey, name="enters", transitions=[Transition("answer", "item", "end", prepare=login)])
    world = World()
    bot = Bot(enters)
    manager = FlowStateManager(bot, world.store, rates=None)
    guest = manager.handle(Message(CHANNEL, "1", "hi")).state.member_id
    assert manager.tell(guest, "one", key="k").status == "advanced"
    assert manager.handle(Message(CHANNEL, "2", "ann")).state.member_id == "m-ann"
    assert manager.tell(guest, "one", key="k") == EventOutcome("duplicate", member_id="m-ann", reason="advanced")
    assert manager.tell(guest, "two", key="k2").member_id == "m-ann"


def test_the_operation_answers_without_a_manager():
    """The coroutine asks for its effects only, so that it runs on any store."""
    world = World(delivers=False)
    world.says("hi")
    context = Context(world.shell.manager.bot, Cache(0), world.clock())
    outcome = run(give(context, words_given(world.member_id, "hi", "k"), delivers=False), world.store.perform)
    assert outcome == EventOutcome("advanced", member_id=world.member_id)


@pytest.mark.parametrize("how", ["open", "tell"])
def test_a_key_that_comes_again_has_its_first_status_also_at_a_stranger(how: str):
    """A guest who has answered nothing is no exception: the first status of a key is told, with and without a reply."""
    world = World()
    world.says("hi")
    for key in ("first", "second"):  # the second flow waits for the first one, and nothing is said
        assert world.gives(how, "survey", key=key)[0] == "advanced"
    for key in ("first", "second"):
        assert world.gives(how, "survey", key=key) == ("duplicate", "advanced")
