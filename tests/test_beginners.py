"""The corpus of beginners' mistakes: each is found by name, with its remedy, as early as it can be.

The page `docs/how-to/when-something-is-wrong.md` shows this corpus as a table, and the limits of the checks.
"""

# The mistakes are also mistakes to the type checkers.
# mypy: ignore-errors
# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import logging
import re
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
import pytest

from vimbiso_fsm.errors import (
    BotNotFound,
    FlowError,
    InvalidMessage,
    NotStorable,
    ServiceError,
    VimbisoError,
    WrongCall,
    WrongCallback,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.text_check import text_faults
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.readers import amount
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "when-something-is-wrong.md"
HERE = Channel("terminal", "263771234567")
Kind: TypeAlias = Literal["sync", "async"]
Found: TypeAlias = Literal["made", "check", "start", "first message"]


# A bot without a mistake ----------------------------------------------------------------------------------------------


@attrs.frozen
class Order:
    """The data of the flow."""

    size: str = ""
    count: int = 0
    receipt: str = ""
    live: Any = None


@attrs.frozen
class Other:
    """The data of another flow."""

    colour: str = ""


class Bank:
    """The port, and a service."""

    def pay(self, size: str, caller: Caller) -> str | Refused:
        """Pay. The parameter `caller` has no default: the framework fills it."""
        assert caller.key
        return f"paid {size}"


class Async:
    """A service that the sync manager cannot await."""

    async def pay(self, size: str) -> str:
        """Pay."""
        return "paid"


class Nothing:
    """A service without the method."""

    def pays(self, size: str) -> str:
        """Pay, under another name."""
        return "paid"


class Less:
    """A service whose method lacks a parameter."""

    def pay(self) -> str:
        """Pay."""
        return "paid"


class More:
    """A service whose method needs more than the port has."""

    def pay(self, size: str, price: int) -> str:
        """Pay."""
        return "paid"


class Counts:
    """A service whose method takes another type."""

    def pay(self, size: int) -> str:
        """Pay."""
        return "paid"


class Breaks:
    """A service that raises."""

    def pay(self, size: str) -> str:
        """Raise."""
        raise RuntimeError("the bank is on fire")


def pay(turn: Turn[Order]) -> Call[str | Refused]:
    """Propose the payment."""
    return call(Bank.pay, size=turn.data.size)


def guard(turn: Turn[Order]) -> bool:
    """Accept."""
    return True


TEXTS = {"order.ask.big": "Big", "order.sent": "Sent {size}."}


def order(
    *,
    name: str = "order",
    ask: dict[str, Any] | None = None,
    paying: dict[str, Any] | None = None,
    more: Sequence[State[Any]] = (),
    ways: Sequence[Transition[Any]] = (),
    big: dict[str, Any] | None = None,
    done: dict[str, Any] | None = None,
    **flow: Any,
) -> Flow[Any]:
    """Return a flow that asks for a size, pays, and says so. The arguments bring a mistake in."""
    return Flow(
        name,
        **{"data": Order, "initial": "ask", **flow},
        states=[
            State("ask", **{"ask": Text("Which size?"), "reads": str, "into": "size", **(ask or {})}),
            State("paying", **{"call": pay, "into": "receipt", **(paying or {})}),
            State("sent", say=lambda turn: Text("order.sent", size=turn.data.size), final=True),
            *more,
        ],
        transitions=[
            Transition("answer", "ask", "paying"),
            Transition("big", "ask", "paying", **(big or {})),
            Transition("done", "paying", "sent", **(done or {})),
            Transition("failed", "paying", "ask"),
            *ways,
        ],
    )


def bot_of(flow: Flow[Any] | None = None, *, services: Any = None, **options: Any) -> Bot:
    """Return a bot of a flow, with its service."""
    flow = flow or order()
    return Bot(flow, **{"services": {"bank": Bank()} if services is None else services, "texts": TEXTS, **options})


# The mistakes ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Mistake:
    """A mistake of an author.

    Attributes:
        what: The mistake, as the page names it.
        found: When it is found.
        error: The class of the error; None for a finding of `vimbiso check`.
        remedy: A part of the message that says what to do.
        make: Makes the bot, or what else has the mistake.
        texts: What the member types, for a mistake that is found at the first message.
        start: The further arguments of the manager.
        kinds: The managers that find it.
    """

    what: str
    found: Found
    error: type[BaseException] | None
    remedy: str
    make: Callable[[], Any]
    texts: tuple[str, ...] = ("hi", "10", "menu")
    start: dict[str, Any] = attrs.field(factory=dict)
    kinds: tuple[Kind, ...] = ("sync", "async")


def no_return(turn: Turn[Order]) -> bool:
    """A guard whose author forgot `return`."""
    _ = turn.data.size == "big"


async def waits(turn: Turn[Order]) -> Text:
    """An async question."""
    return Text("Which size?")


def no_turn() -> bool:
    """A guard without a parameter."""
    return True


def words(turn: Turn[Order]) -> str:
    """A question as plain text."""
    return "Which size?"


def strings(turn: Turn[Order]) -> list[str]:
    """Rows as plain texts."""
    return ["small", "big"]


def of_other(turn: Turn[Other]) -> bool:
    """A guard of another flow."""
    return turn.data.colour == "red"


def unannotated(value: object) -> Callable[[Turn[Any]], Any]:
    """Return a callback without annotations that returns a value."""

    def careless(turn):
        return value

    return careless


def raises(turn: Turn[Order]) -> bool:
    """A guard with a mistake of its own."""
    sizes: dict[str, int] = {}
    return sizes[turn.data.size] > 0


def calls_itself(turn):
    """A `call` that calls the service, in place of proposing the call."""
    return Bank().pay(turn.data.size, Caller("k"))


def two_of_one_name() -> Bot:
    """Two flows under one name."""
    return Bot([order(), order()], texts=TEXTS)


class Plain:
    """Data that is no attrs class."""

    size = ""


@attrs.frozen
class Required:
    """Data without a default."""

    size: str


class Live:
    """An object that cannot be stored."""


@attrs.define
class Mutable:
    """Data that can be changed in place."""

    size: str = ""
    receipt: str = ""


@attrs.frozen
class Alive:
    """Data with a field of a type that is not stored."""

    size: str = ""
    receipt: str = ""
    live: Live | None = None


def loop() -> Flow[Any]:
    """Return a flow with a payment that leads to itself."""
    again = [("more", "ask"), ("done", "again"), ("failed", "again")]
    return order(more=[State("again", call=pay)], ways=[Transition(name, source, "again") for name, source in again])


MISTAKES = (
    # When the flow or the bot is made
    Mistake("`ask` is a plain string", "made", FlowError, "give ask=Text(…) or a function that returns one",
            lambda: order(ask={"ask": "Which size?"})),
    Mistake("an `ask` function is annotated to return a string", "made", FlowError, "let it return a Text",
            lambda: order(ask={"ask": words})),
    Mistake("a callback has no `return`", "made", FlowError, "is a return missing?",
            lambda: order(big={"conditions": no_return})),
    Mistake("a callback is `async`", "made", FlowError, "what has to be awaited belongs to a service",
            lambda: order(ask={"ask": waits})),
    Mistake("a callback does not take the turn", "made", FlowError, "let it take the turn alone",
            lambda: order(big={"conditions": no_turn})),
    Mistake("a callback is not a function", "made", FlowError, "name callbacks by reference",
            lambda: order(big={"conditions": "guard"})),
    Mistake("a guard takes the data of another flow", "made", FlowError, "let it take a Turn[Order]",
            lambda: order(big={"conditions": of_other})),
    Mistake("`call=` is the method of the service itself", "made", FlowError, "that returns call(Bank.pay, …)",
            lambda: order(paying={"call": Bank.pay})),
    Mistake("`rows` returns strings", "made", FlowError, "a list of rows, each made with Row(…)",
            lambda: order(ask={"reads": None, "rows": strings})),
    Mistake("`reads` is a function that makes a reader, such as `amount`", "made", FlowError, "call it",
            lambda: order(ask={"reads": amount})),
    Mistake("a transition names a state that is not declared", "made", FlowError, "did you mean 'sent'?",
            lambda: order(ways=[Transition("small", "ask", "send")])),
    Mistake("a reserved trigger is misspelled", "made", FlowError, "did you mean 'timeout'?",
            lambda: order(ways=[Transition("timout", "ask", "sent")])),
    Mistake("`into` names a field that the data lacks", "made", FlowError, "did you mean 'size'?",
            lambda: order(ask={"into": "siez"})),
    Mistake("`into` names a field of another type than the answer", "made", FlowError, "give the field that type",
            lambda: order(ask={"into": "count"})),
    Mistake("the data class is not an attrs class", "made", FlowError, "decorate it with @attrs.frozen",
            lambda: order(data=Plain)),
    Mistake("a field of the data has no default", "made", FlowError, "a run starts with no answers",
            lambda: order(data=Required)),
    Mistake("the data class is not frozen", "made", FlowError, "decorate it with @attrs.frozen, and change a copy",
            lambda: order(data=Mutable)),
    Mistake("a field of the data has a type that is not stored", "made", FlowError, "keep a text, a number or an attrs",
            lambda: order(data=Alive)),
    Mistake("no transition leads to a state", "made", FlowError, "add one or remove it",
            lambda: order(more=[State("lost", final=True)])),
    Mistake("no transition leaves a state", "made", FlowError, "give it a transition or say final=True",
            lambda: order(more=[State("stop", ask=Text("And now?"))], ways=[Transition("halt", "ask", "stop")])),
    Mistake("a question reads an answer that leads nowhere", "made", FlowError, "say where an answer leads",
            lambda: order(more=[State("why", ask=Text("Why?"), reads=str)],
                          ways=[Transition("halt", "ask", "why"), Transition("back_on", "why", "ask")])),
    Mistake("a state with a call has no `failed`", "made", FlowError, "say where 'failed' leads",
            lambda: order(more=[State("again", call=pay)],
                          ways=[Transition("more", "ask", "again"), Transition("done", "again", "sent")])),
    Mistake("two transitions can never be told apart", "made", FlowError, "give the earlier one a guard",
            lambda: order(ways=[Transition("big", "ask", "sent")])),
    Mistake("a guard can refuse the answer of an effect", "made", FlowError, "add a last one without guards",
            lambda: order(done={"conditions": guard})),
    Mistake("an effect leads back to itself without a question", "made", FlowError, "lead the way through a question",
            loop),
    Mistake("a state has a `timeout=` that leads nowhere", "made", FlowError, "add the missing one",
            lambda: order(ask={"timeout": 60})),
    Mistake("two flows have one name", "made", FlowError, "rename one", two_of_one_name),
    Mistake("`services=` is no mapping", "made", FlowError, "give {name: service}", lambda: bot_of(services=[Bank()])),
    # By `vimbiso check`
    Mistake("the key of a text is misspelled", "check", None, "there is none; members would read the key",
            lambda: bot_of(order(ask={"ask": Text("order.aks")}))),
    Mistake("a button has no title", "check", None, "there is none; members would read the key",
            lambda: bot_of(order(ways=[Transition("small", "ask", "sent")]))),
    Mistake("a text is said without a parameter that it names", "check", None, "give it as Text('order.sent', size=…)",
            lambda: bot_of(order(ask={"ask": Text("order.sent")}))),
    Mistake("a language lacks a text", "check", None, "members would read 'en' in between",
            lambda: bot_of(texts={"en": TEXTS, "sn": {"order.sent": "{size} yatumirwa."}})),
    # When the manager is made
    Mistake("a service is missing", "start", ServiceError, "give services={'bank': …}; none are given",
            lambda: bot_of(services={})),
    Mistake("a service has another name than its port", "start", ServiceError, "given are 'Bank'",
            lambda: bot_of(services={"Bank": Bank()})),
    Mistake("a service is a class in place of an object", "start", ServiceError, "give an object: Bank(…)",
            lambda: bot_of(services={"bank": Bank})),
    Mistake("a service lacks the method", "start", ServiceError, "did you mean 'pays'?",
            lambda: bot_of(services={"bank": Nothing()})),
    Mistake("a service's method lacks a parameter of the port", "start", ServiceError, "take the same parameters",
            lambda: bot_of(services={"bank": Less()})),
    Mistake("a service's method needs more than the port has", "start", ServiceError, "give it a default",
            lambda: bot_of(services={"bank": More()})),
    Mistake("a service's method takes another type than the port", "start", ServiceError, "have the same type",
            lambda: bot_of(services={"bank": Counts()})),
    Mistake("a service is async, and the manager is not", "start", ServiceError, "use AsyncFlowStateManager",
            lambda: bot_of(services={"bank": Async()}), kinds=("sync",)),
    Mistake("`deliver` takes other arguments", "start", ServiceError, "let it take these two",
            bot_of, start={"deliver": no_turn}),
    Mistake("an observer is not a function", "start", FlowError, "give functions that take a CommitEvent",
            bot_of, start={"observers": ["log"]}),
    Mistake("`flows=` is no bot", "start", BotNotFound, "it takes a Bot, or the name of a package",
            types.SimpleNamespace),
    # At the first message
    Mistake("an `ask` function without annotations returns a string", "first message", WrongCallback,
            "it must return a Text", lambda: bot_of(order(ask={"ask": unannotated("Which size?")}))),
    Mistake("a `rows` function without annotations returns strings", "first message", WrongCallback,
            "it must return a list of rows", lambda: bot_of(order(ask={"reads": None, "rows": unannotated(["big"])}))),
    Mistake("a guard returns neither True, False nor `Refused`", "first message", WrongCallback,
            "it must return True, False or Refused(…)", lambda: bot_of(order(big={"conditions": unannotated("yes")}))),
    Mistake("a guard of `requires` returns None", "first message", WrongCallback, "is a return missing?",
            lambda: bot_of(order(requires=unannotated(None)))),
    Mistake("a `prepare` returns something else than the data", "first message", WrongCallback,
            "such as attrs.evolve(turn.data, …)", lambda: bot_of(order(big={"prepare": unannotated({})})),
            texts=("hi", "big")),
    Mistake("a `call` callback calls the service itself", "first message", WrongCallback,
            "it must return a call, made with call(Port.method, …)",
            lambda: bot_of(order(paying={"call": calls_itself}))),
    Mistake("the arguments of `call(…)` do not fit the method", "first message", WrongCall, "it takes size",
            lambda: bot_of(order(paying={"call": lambda turn: call(Bank.pay, sise="")}))),
    Mistake("`call(…)` is given the parameter `caller`", "first message", WrongCall, "the framework fills it",
            lambda: bot_of(order(paying={"call": lambda turn: call(Bank.pay, size="", caller=Caller())}))),
    Mistake("`call(…)` is given the method of an object", "first message", WrongCall, "name it by its class",
            lambda: bot_of(order(paying={"call": lambda turn: call(Bank().pay, size="")}))),
    Mistake("`call(…)` is given a plain function", "first message", WrongCall, "declare it in a class",
            lambda: bot_of(order(paying={"call": lambda turn: call(guard, turn)}))),
    Mistake("a callback puts a live object into the data", "first message", NotStorable, "keep plain values",
            lambda: bot_of(order(big={"prepare": lambda turn: attrs.evolve(turn.data, live=Live())})),
            texts=("hi", "big")),
    Mistake("a callback raises", "first message", KeyError, "return sizes[turn.data.size] > 0",
            lambda: bot_of(order(big={"conditions": raises}))),
    Mistake("a service raises", "first message", RuntimeError, "the bank is on fire",
            lambda: bot_of(services={"bank": Breaks()})),
    Mistake("a method is named at run time, and no service has it", "first message", ServiceError,
            "give the manager a service of this name",
            lambda: bot_of(order(paying={"call": unannotated(Call("till", "pay", {}))}))),
    Mistake("`handle` is given plain text", "first message", InvalidMessage, "handle() takes a Message, not a str",
            lambda: (bot_of(), "hi")),
    Mistake("a message comes from a channel type that the bot lacks", "first message", InvalidMessage,
            "name it in Bot(channels=…)", lambda: (bot_of(), Message(Channel("pigeon", "1"), "1", "hi"))),
)  # fmt: skip


def named(mistake: Mistake) -> str:
    """Return the name of a test."""
    return re.sub(r"\W+", "-", mistake.what)


def at(*found: Found) -> Any:
    """Parametrize a test by the mistakes that are found at a time."""
    return pytest.mark.parametrize("mistake", [m for m in MISTAKES if m.found in found], ids=named)


def manager_of(kind: Kind, bot: Any, **options: Any) -> Any:
    """Return a manager in memory."""
    return (FlowStateManager if kind == "sync" else AsyncFlowStateManager).in_memory(bot, **options)


def settled(result: Any) -> Any:
    """Return a result, awaited if it is a coroutine."""
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_bot_without_a_mistake_is_sound(kind: Kind):
    """The bot of the corpus has no fault of its own, so that each error is that of the mistake."""
    assert text_faults(bot_of()) == ()
    manager = manager_of(kind, bot_of())
    for number, text in enumerate(["hi", "10"]):
        outcome = settled(manager.handle(Message(HERE, str(number), text)))
    assert outcome.replies[0].text == "Sent 10."


@at("made")
def test_a_mistake_is_found_when_the_part_is_made(mistake: Mistake):
    """A declaration with the mistake raises, and the error names the remedy."""
    assert mistake.error is not None
    with pytest.raises(mistake.error) as caught:
        mistake.make()
    assert isinstance(caught.value, VimbisoError)
    assert mistake.remedy in str(caught.value)


@at("check")
def test_a_mistake_is_found_by_check(mistake: Mistake):
    """`vimbiso check` names the mistake, with the key and the remedy."""
    assert any(mistake.remedy in str(fault) for fault in text_faults(mistake.make()))


@at("start")
def test_a_mistake_is_found_when_the_manager_is_made(mistake: Mistake):
    """A manager, sync or async, is not made with the mistake, and the error names the remedy."""
    assert mistake.error is not None
    for kind in mistake.kinds:
        with pytest.raises(mistake.error) as caught:
            manager_of(kind, mistake.make(), **mistake.start)
        assert isinstance(caught.value, VimbisoError)
        assert mistake.remedy in str(caught.value)


@pytest.mark.parametrize("kind", ["sync", "async"])
@at("first message")
def test_a_mistake_is_found_at_the_first_message(mistake: Mistake, kind: Kind, caplog: pytest.LogCaptureFixture):
    """The message that meets the mistake shows the whole error to the developer, and no word of it to the member."""
    assert mistake.error is not None
    made = mistake.make()
    if isinstance(made, tuple):
        with pytest.raises(mistake.error, match=re.escape(mistake.remedy)):
            settled(manager_of(kind, made[0]).handle(made[1]))
        return
    manager = manager_of(kind, made)
    said = []
    for number, text in enumerate(mistake.texts):
        outcome = settled(manager.handle(Message(HERE, str(number), text)))
        said += [reply.text for reply in outcome.replies]
    shown = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert {type(error) for error in shown} == {mistake.error}
    traceback = "".join(map(logging.Formatter().format, caplog.records))
    assert mistake.remedy in traceback
    assert mistake.error is KeyError or issubclass(mistake.error, VimbisoError | RuntimeError)
    assert not any(mistake.remedy in text for text in said)


def test_the_page_names_each_mistake():
    """The table of the page is the corpus: each mistake with the time at which it is found, and its error."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    table = [row for row in rows[2:] if not set(row[0]) <= set("-")]
    errors = {None: "a finding", KeyError: "its own", RuntimeError: "its own"}
    expected = [(m.what, m.found, errors.get(m.error) or f"`{getattr(m.error, '__name__', '')}`") for m in MISTAKES]
    assert [row for row in table if row in expected] == expected
