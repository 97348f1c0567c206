"""What a call has done is a fact: it is never called failed, never undone in words, and not made twice in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm import (
    READ_ONLY,
    Bot,
    Call,
    Caller,
    CallPolicy,
    Flow,
    Message,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import CallReturned, LeaseExpired, SessionExpired
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Row
from vimbiso_fsm.testing.chat import Chat, Talk

DONE = "That was done"
UNDONE = ("nothing was changed", "did not work", "not sent", "could not find out", "try again")


@attrs.frozen
class Receipt:
    """What the till answers."""

    number: int
    sum: Money
    on: date = date(2026, 11, 22)


class Till:
    """A port and its service, which keeps a book by key."""

    def __init__(self, answer: Callable[[int], Any] = lambda number: f"receipt {number}") -> None:
        self.book: list[str] = []
        self.asked = 0
        self.answer = answer

    def pay(self, *, caller: Caller = Caller()) -> Any:  # noqa: B008
        """Pay once for each key."""
        self.asked += 1
        if caller.key not in self.book:
            self.book.append(caller.key)
        return self.answer(self.book.index(caller.key) + 1)

    def receipt(self, *, caller: Caller = Caller()) -> Receipt | Refused:  # noqa: B008
        """Pay once for each key."""
        answer: Receipt | Refused = self.pay(caller=caller)
        return answer

    def look(self, *, caller: Caller = Caller()) -> Any:  # noqa: B008
        """Read."""
        self.asked += 1
        return self.answer(1)


@attrs.frozen
class Pay:
    """What the flow holds."""

    receipt: Any = None
    notes: tuple[str, ...] = ()


Callback = Callable[[Turn[Pay]], Any]


def raises(turn: Turn[Any]) -> Any:
    """Raise, as a callback with a mistake does."""
    raise ValueError("a mistake of an author")


class Switch:
    """A callback that raises until it is mended."""

    def __init__(self, good: Callback) -> None:
        self.good = good
        self.mended = False

    def __call__(self, turn: Turn[Pay]) -> Any:
        """Run the callback."""
        return self.good(turn) if self.mended else raises(turn)


def same(turn: Turn[Pay]) -> Pay:
    """Change nothing."""
    return turn.data


def pays(turn: Turn[Pay]) -> Call[Any]:
    """Propose to pay."""
    return call(Till.pay)


def pay_bot(
    till: Till,
    *,
    call_: Callable[[Turn[Pay]], Call[Any]] = pays,
    prepare: Callback | None = None,
    conditions: Sequence[Callback] = (),
    into: str | None = "receipt",
    paid: State[Any] | None = None,
    after: Sequence[Transition[Any]] = (),
    policy: CallPolicy | None = None,
    extra: Sequence[State[Any]] = (),
) -> Bot:
    """Home -> pay: sure? -> paying -> paid, where a callback may be broken."""
    pay: Flow[Pay] = Flow(
        "pay",
        data=Pay,
        initial="sure",
        states=[
            State("sure", ask=Text("Pay?")),
            State("paying", call=call_, into=into, policy=policy),
            paid or State("paid", ask=lambda turn: Text("Paid: {r}", r=turn.data.receipt)),
            State("other", ask=Text("Other")),
            State("gone", final=True, cancels=True),
            *extra,
        ],
        transitions=[
            Transition("yes", "sure", "paying"),
            Transition("done", "paying", "other", conditions=[*conditions, never]),
            Transition("done", "paying", "paid", prepare=prepare),
            Transition("failed", "paying", "sure"),
            Transition("no", "other", "gone"),
            *(after or [Transition("ok", "paid", "gone")]),
        ],
    )
    home: Flow[Any] = Flow(
        "home",
        initial="menu",
        states=[State("menu", ask=Text("Home.")), State("paying", flow=pay)],
        transitions=[Transition("pay", "menu", "paying"), Transition(["done", "cancelled"], "paying", "menu")],
    )
    return Bot([home, pay], home=home, services={"till": till})


def never(turn: Turn[Any]) -> bool:
    """Decline."""
    return False


class Odd:
    """An answer that has no plain form and no equality that helps."""

    def __eq__(self, other: object) -> bool:
        raise TypeError("not to be compared")

    __hash__ = None  # type: ignore[assignment]  # an answer need not have one


def odd(turn: Turn[Pay]) -> Any:
    """Return what no prepare may return."""
    return "no data"


def unstorable(turn: Turn[Pay]) -> Pay:
    """Return data that cannot be written."""
    return attrs.evolve(turn.data, receipt=object())


def huge(turn: Turn[Pay]) -> Pay:
    """Return data for which no document has room."""
    return attrs.evolve(turn.data, notes=("x" * 70_000,))


def no_member(turn: Turn[Pay]) -> Any:
    """Return a member that breaks the rule book."""
    return turn.changes(member=attrs.evolve(turn.member, authenticated=True))


BREAKS: dict[str, Callable[[Till], Bot]] = {
    "a guard raises": lambda till: pay_bot(till, conditions=[raises]),
    "a guard returns no verdict": lambda till: pay_bot(till, conditions=[lambda turn: 7]),
    "prepare raises": lambda till: pay_bot(till, prepare=raises),
    "prepare returns no data": lambda till: pay_bot(till, prepare=odd),
    "its data cannot be written": lambda till: pay_bot(till, prepare=unstorable),
    "its data has no room": lambda till: pay_bot(till, prepare=huge),
    "its member breaks the rules": lambda till: pay_bot(till, prepare=no_member),
    "the next question raises": lambda till: pay_bot(till, paid=State("paid", ask=raises)),
    "the next question is no text": lambda till: pay_bot(till, paid=State("paid", ask=odd)),
    "the rows raise": lambda till: pay_bot(
        till,
        paid=State("paid", ask=Text("?"), rows=raises, into="receipt"),
        after=[Transition("answer", "paid", "gone")],
    ),
    "the titles have no room": lambda till: pay_bot(
        till,
        paid=State("paid", ask=Text("?"), rows=lambda turn: [Row("a", Text("x" * 70_000))], into="receipt"),
        after=[Transition("answer", "paid", "gone")],
    ),
    "no auto accepts": lambda till: pay_bot(
        till, paid=State("paid"), after=[Transition("auto", "paid", "gone", conditions=never)]
    ),
    "auto goes round": lambda till: pay_bot(till, paid=State("paid"), after=[Transition("auto", "paid", "paid")]),
    "the next call raises": lambda till: pay_bot(
        till, paid=State("paid", call=raises), after=[Transition(["done", "failed"], "paid", "gone")]
    ),
    "the output raises": lambda till: pay_bot(till, paid=State("paid", final=True, output=raises), after=[NOWHERE]),
    "the service answers with an odd value": lambda till: pay_bot(_odd(till)),
}
NOWHERE: Transition[Any] = Transition("ok", "other", "gone")


def _odd(till: Till) -> Till:
    till.answer = lambda number: Odd()
    return till


@pytest.mark.parametrize("name", BREAKS)
def test_whatever_breaks_after_an_effect_the_member_hears_that_it_was_done(name: str):
    """After an answered effect no reply says that it failed, it is made once, and "menu" leads home at once."""
    till = Till()
    talk = Talk(BREAKS[name](till)).says("hi", "pay", "yes")
    assert len(till.book) == till.asked == 1
    assert DONE in talk.words[-1]
    assert talk.entry.status == "failed"
    assert talk.entry.detail["outcome"] == "done"
    for _ in range(3):
        talk.wait(7200).wake().say("yes")
        assert len(till.book) == till.asked == 1
        assert not [words for words in talk.words for lie in UNDONE if lie in words]
        if talk.place == "home.menu":  # nothing was kept to go on from
            break
        assert DONE in talk.words[-1]
    else:
        talk.say("menu")
    assert talk.words[-1] == "Home."
    assert talk.state.call is None


@pytest.mark.parametrize("word", ["menu", "cancel"])
def test_both_ways_out_lead_home_in_the_turn_after(word: str):
    """Right after the failure "menu" and "cancel" say that it was done and lead home."""
    talk = Talk(pay_bot(Till(), prepare=raises)).says("hi", "pay", "yes", word)
    assert talk.words == ["That was done.", "Home."]


@pytest.mark.parametrize("route", ["message", "worker"])
def test_the_flow_goes_on_from_the_answer_once_it_can(route: str):
    """When the callback is mended, the flow goes on from the kept answer, and the service is not asked again."""
    till, prepare = Till(), Switch(same)
    talk = Talk(pay_bot(till, prepare=prepare)).says("hi", "pay", "yes")
    prepare.mended = True
    if route == "message":
        talk.say("well?")
        assert talk.words == ["Paid: receipt 1"]
    else:
        talk.wait(61).wake()
        assert talk.waiting == ["Paid: receipt 1"]
    assert talk.place == "pay.paid"
    assert till.asked == 1
    assert talk.state.run is not None
    assert talk.state.run.made


def test_a_typed_answer_is_the_same_when_the_flow_goes_on():
    """The kept answer has the type that the call promises, with its amounts and dates."""
    seen: list[Any] = []
    till = Till(lambda number: Receipt(number, Money(Decimal("12.50"), "USD")))

    def reads(turn: Turn[Pay]) -> Pay:
        seen.append(turn.answer)
        return turn.data

    def receipt(turn: Turn[Pay]) -> Call[Receipt | Refused]:
        return call(Till.receipt)

    prepare = Switch(reads)
    talk = Talk(pay_bot(till, call_=receipt, prepare=prepare, into=None)).says("hi", "pay", "yes")
    prepare.mended = True
    talk.say("well?")
    assert seen[-1] == Receipt(1, Money(Decimal("12.50"), "USD"))
    assert till.asked == 1


def test_the_rests_between_the_tries_grow():
    """A worker tries after 1, 2, 4 … minutes, at most an hour; the audit is not filled."""
    talk = Talk(pay_bot(Till(), prepare=raises)).says("hi", "pay", "yes")
    assert talk.state.call is not None
    rests: list[float] = []
    for _ in range(9):
        assert talk.state.call.again_at is not None
        rests.append((talk.state.call.again_at - talk.now).total_seconds())
        talk.wait(rests[-1])
        talk.take(LeaseExpired(talk.state.call.key, talk.state.call.root, talk.state.call.tries), "keep")
    assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_an_answer_that_was_not_kept_leads_home_by_any_word():
    """An answer too odd to be kept has nothing to go on from: the fact is said, and the next word leads home."""
    talk = Talk(pay_bot(_odd(Till()))).says("hi", "pay", "yes")
    talk.wait(100_000).wake()
    talk.say("and?")
    assert talk.words == ["That was done.", "Home."]


def test_the_login_ends_although_the_answer_waits():
    """While the answer of an effect is kept, silence ends the login and loses nothing."""
    till, prepare = Till(), Switch(same)
    bot = pay_bot(till, prepare=prepare)
    talk = Talk(bot)
    talk.says("hi", "pay", "yes")
    assert talk.document is not None
    talk.document = attrs.evolve(talk.document, jwt_token="t", authenticated=True)
    talk.wait(301)
    assert talk.state.deadline is not None
    talk.take(SessionExpired(talk.state.deadline), "keep")
    assert (talk.state.authenticated, talk.state.jwt_token) == (False, None)
    prepare.mended = True
    assert talk.say("well?").words == ["Paid: receipt 1"]


def test_a_refused_effect_that_breaks_can_be_left_at_once():
    """A refusal on which the flow cannot go on is no fact: the words say that nothing was changed, and menu leaves."""
    till = Till(lambda number: Refused("core.no"))
    flow: Flow[Pay] = Flow(
        "one", data=Pay, initial="sure",
        states=[State("sure", ask=Text("Pay?")), State("paying", call=pays), State("end", final=True)],
        transitions=[
            Transition("yes", "sure", "paying"), Transition("done", "paying", "end"),
            Transition("failed", "paying", "sure", prepare=raises),
        ],
    )  # fmt: skip
    talk = Talk(Bot([flow], services={"till": till})).says("hi", "yes")
    assert "nothing was changed" in talk.words[-1]
    assert talk.say("menu").words == ["Pay?"]
    assert talk.state.call is None


def test_the_way_out_needs_no_callback_of_the_flow():
    """Menu leads home although the flow that waits for the open one raises at its end."""
    till = Till()
    inner = pay_bot(till, prepare=raises).flow("pay")
    home: Flow[Any] = Flow(
        "home",
        initial="menu",
        states=[State("menu", ask=Text("Home.")), State("paying", flow=inner)],
        transitions=[
            Transition("pay", "menu", "paying"),
            Transition("done", "paying", "menu"),
            Transition("cancelled", "paying", "menu", prepare=raises),
        ],
    )
    talk = Talk(Bot([home, inner], home=home, services={"till": till})).says("hi", "pay", "yes", "menu")
    assert talk.words == ["That was done.", "Home."]
    talk = Talk(Bot([home, inner], home=home, services={"till": till})).says("hi", "pay", "menu")
    assert talk.words == ["We have left what was open.", "Home."]


def test_cancel_after_an_effect_does_not_say_that_nothing_was_sent():
    """`cancel` in a flow that has made its effect says that it stays."""
    talk = Talk(pay_bot(Till())).says("hi", "pay", "yes", "cancel")
    assert talk.words == ["Cancelled; what was done before stays done.", "Home."]


# Effects are bounded between two words of the member ------------------------------------------------------------------


def timed(seconds: float = 60, answer: Any = "receipt") -> tuple[Bot, Till]:
    """A flow whose question times out into its effect, and whose effect leads back to the question."""
    till = Till(lambda number: answer)
    flow: Flow[Pay] = Flow(
        "hold", data=Pay, initial="hold",
        states=[
            State("hold", ask=Text("Hold?"), timeout=lambda turn: seconds),
            State("paying", call=pays, into="receipt"),
        ],
        transitions=[
            Transition(["yes", "timeout"], "hold", "paying"), Transition(["done", "failed"], "paying", "hold"),
            Transition("no", "hold", "hold", conditions=lambda turn: Refused("hold.no")),
        ],
    )  # fmt: skip
    return Bot([flow], services={"till": till}, session=1e6), till


def test_timeouts_make_one_effect_between_two_words():
    """Timeouts that lead to an effect make it once; after a word of the member, once more."""
    bot, till = timed()
    talk = Talk(bot).say("hi")
    for _ in range(5):
        talk.wait(61).wake()
    assert till.asked == 1
    assert "call.again" in talk.entry.codes
    assert "say so" in talk.waiting[-2]
    talk.says("well?", "yes")  # the first is answered with the question that waits
    assert till.asked == 2
    talk.wait(61).wake()
    assert till.asked == 2


def test_a_timeout_that_is_refused_its_effect_is_not_repeated():
    """Once a timeout has led to a second effect, its question waits for a word of the member, after which it is set."""
    bot, till = timed()
    talk = Talk(bot).say("hi")
    for _ in range(9):
        talk.wait(61).wake()
    assert [unseal(entry).kind for entry in talk.sealed].count("timer") == 2
    assert sum("say so" in words for words in talk.waiting) == 1
    assert talk.state.run is not None
    assert talk.state.run.due is None
    talk.says("well?", "yes").wait(61).wake()
    assert till.asked == 2
    assert talk.entry.kind == "timer"


@pytest.mark.parametrize("outcome", [7, Refused("seats.none")], ids=["done", "refused"])
def test_an_instant_that_has_passed_leads_to_one_effect(outcome: Any):
    """A question whose instant has passed and whose effect leads back to it is asked, in place of an error."""
    bot, till = timed(0.0, outcome)
    talk = Talk(bot).say("hi")
    assert till.asked == 1
    assert talk.last.status == "advanced"
    assert talk.words[-1] == "Hold?"
    talk.wait(61).wake()
    assert till.asked == 1
    assert talk.says("yes").last.status == "advanced"
    assert till.asked == 2


@pytest.mark.parametrize("text", ["?!", "help", "no"])
def test_a_refused_word_is_no_word(text: str):
    """A message that no transition takes, or that asks for help, does not allow another effect."""
    bot, till = timed()
    talk = Talk(bot).say("hi").wait(61).wake()
    for _ in range(3):
        talk.say(text).say(text).wait(61).wake()
    assert till.asked == 1


def test_the_bound_is_in_the_document():
    """A worker that reads the stored document decides as the one that made the effect."""
    bot, till = timed()
    chat = Chat(bot, cached=False)
    chat.say("hi")
    for _ in range(4):
        chat.wait(61)
        chat.wake()
    assert till.asked == 1


def test_new_runs_of_a_sub_flow_make_one_effect_between_two_words():
    """A loop over new runs, whose sub-flow asks by a timeout only, makes the effect of its state once."""
    till = Till()
    sub: Flow[Pay] = Flow(
        "sub", data=Pay, initial="hold",
        states=[State("hold", ask=Text("Hold?"), timeout=60), State("paying", call=pays), State("end", final=True)],
        transitions=[
            Transition("timeout", "hold", "paying"), Transition("done", "paying", "end"),
            Transition("failed", "paying", "end"), Transition("no", "hold", "end"),
        ],
    )  # fmt: skip
    home: Flow[Any] = Flow(
        "home", initial="sub", states=[State("sub", flow=sub)],
        transitions=[Transition(["done", "cancelled"], "sub", "sub")],
    )  # fmt: skip
    talk = Talk(Bot([home, sub], home=home, services={"till": till}, session=1e6)).say("hi")
    for _ in range(4):
        talk.wait(61).wake()
    assert till.asked == 1
    assert talk.says("well?", "no").wait(61).wake().state.effects == ("home.sub/sub.paying",)
    assert till.asked == 2


def test_a_sub_flow_of_two_states_makes_an_effect_for_each():
    """One word may lead through two states with the same sub-flow; the effect of each is made once."""
    till = Till()
    pay: Flow[Pay] = Flow(
        "pay", data=Pay, initial="paying",
        states=[State("paying", call=pays), State("paid", final=True), State("lost", final=True, cancels=True)],
        transitions=[Transition("done", "paying", "paid"), Transition("failed", "paying", "lost")],
    )  # fmt: skip
    shop: Flow[Pay] = Flow(
        "shop", data=Pay, initial="sure",
        states=[
            State("sure", ask=Text("Both?")), State("rent", flow=pay), State("tip", flow=pay),
            State("both", ask=Text("Both paid."), timeout=60), State("none", ask=Text("Not paid.")),
        ],
        transitions=[
            Transition("yes", "sure", "rent"), Transition("done", "rent", "tip"), Transition("done", "tip", "both"),
            Transition("cancelled", ["rent", "tip"], "none"), Transition(["again", "timeout"], "both", "rent"),
            Transition("ok", "none", "sure"),
        ],
    )  # fmt: skip
    talk = Talk(Bot([shop, pay], services={"till": till}, session=1e6)).says("hi", "yes")
    assert talk.words == ["Both paid."]
    assert till.asked == 2
    assert talk.wait(61).wake().place == "shop.none"
    assert till.asked == 2


def test_a_home_that_pays_and_ends_pays_once():
    """A home flow that begins with an effect and cancels itself, so that home starts again, makes the effect once."""
    till = Till()
    home: Flow[Pay] = Flow(
        "home", data=Pay, initial="paying",
        states=[State("paying", call=pays), State("gone", final=True, cancels=True), State("ask", ask=Text("Again?"))],
        transitions=[
            Transition("done", "paying", "gone"), Transition("failed", "paying", "ask"),
            Transition("ok", "ask", "gone"),
        ],
    )  # fmt: skip
    talk = Talk(Bot([home], services={"till": till})).say("hi")
    assert till.asked == 1
    assert talk.words[-1] == "Again?"
    assert talk.say("ok").words[-1] == "Again?"
    assert till.asked == 2


words = st.lists(
    st.one_of(st.sampled_from(["yes", "no", "go", "menu", "cancel", "back", "help", "?!"]), st.integers(1, 400)),
    max_size=12,
)


@given(words, st.lists(st.sampled_from(["done", "refused", "raise"]), max_size=6))
def test_between_two_words_each_state_makes_one_effect(script: list[Any], outcomes: list[str]):
    """Whatever the member, the clock and the service do, a state makes at most one effect for each word."""
    plan = list(outcomes)

    def answer(number: int) -> Any:
        outcome = plan.pop(0) if plan else "done"
        if outcome == "raise":
            raise ConnectionError
        return Refused("core.no") if outcome == "refused" else number

    bot, till = timed()
    till.answer = answer
    talk = Talk(bot)
    for step in ["hi", *script]:
        before = len(till.book)
        if isinstance(step, int):
            talk.wait(step).wake()
            assert len(till.book) - before <= 1
        else:
            talk.say(step)
            assert len(till.book) - before <= 1
    spoken = sum(1 for step in script if isinstance(step, str)) + 1
    assert len(till.book) <= spoken


def test_a_loop_of_reading_calls_is_bounded_as_before():
    """A call that only reads may lead back to itself; `Limits.autos` bounds it in an operation."""
    till = Till()
    flow: Flow[Pay] = Flow(
        "look", data=Pay, initial="looking",
        states=[State("looking", call=lambda turn: call(Till.look), policy=READ_ONLY), State("end", final=True)],
        transitions=[Transition("done", "looking", "looking"), Transition("failed", "looking", "end")],
    )  # fmt: skip
    chat = Chat(Bot([flow], services={"till": till}))
    chat.end(chat.begin(chat.message("hi")), bound=500)
    assert till.asked == 16


def test_deciding_the_answer_twice_keeps_it_once():
    """The answer of a second worker, for the same key, changes nothing once the first has been kept and taken."""
    till, prepare = Till(), Switch(same)
    bot = pay_bot(till, prepare=prepare)
    talk = Talk(bot).says("hi", "pay")
    talk.hold_calls = True
    talk.say("yes")
    pending = talk.state.call
    assert pending is not None
    event = CallReturned(pending.key, pending.root, "receipt 1")
    talk.take(event, "keep").take(event, "keep")
    prepare.mended = True
    talk.take(event, "keep")
    assert talk.place == "pay.paid"
    talk.take(event, "keep")
    assert talk.last.status == "ignored"


@pytest.mark.parametrize("late", [{"unknown": True}, {"result": Refused("core.no")}, {"renewal": "needed"}])
def test_no_other_attempt_undoes_a_kept_answer(late: dict[str, Any]):
    """An attempt of another worker that raises, is refused or needs a token changes nothing once one was answered."""
    prepare = Switch(same)
    talk = Talk(pay_bot(Till(), prepare=prepare, policy=CallPolicy(rounds=1))).says("hi", "pay")
    talk.hold_calls = True
    talk.say("yes")
    pending = talk.state.call
    assert pending is not None
    talk.take(CallReturned(pending.key, pending.root, "receipt 1"), "keep")
    talk.take(CallReturned(pending.key, pending.root, **late), "keep")
    assert talk.last.status == "ignored"
    prepare.mended = True
    assert talk.say("well?").words[-1] == "Paid: receipt 1"


def test_a_message_is_decided_the_same_on_the_document_of_an_earlier_release():
    """A document without the new fields is read, and has no effects and no kept answer."""
    talk = Talk(pay_bot(Till())).says("hi", "pay")
    document: Document = talk.state
    assert (document.effects, document.call) == ((), None)
    assert b"_effects" not in talk.last.raw
    decision = decide(talk.bot, document, Message(talk.channel, "x", "yes"), talk.now)
    assert decision.document.effects == ("home.paying/pay.paying",)


# Calls whose outcome is not known -------------------------------------------------------------------------------------


def unsure(till: Till, policy: CallPolicy) -> Bot:
    """A flow whose `failed` raises, in a home whose `cancelled` raises too."""
    flow: Flow[Pay] = Flow(
        "pay", data=Pay, initial="sure",
        states=[State("sure", ask=Text("Pay?")), State("paying", call=pays, policy=policy), State("end", final=True)],
        transitions=[
            Transition("yes", "sure", "paying"), Transition("done", "paying", "end"),
            Transition("failed", "paying", "sure", prepare=raises),
        ],
    )  # fmt: skip
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("Home.")), State("paying", flow=flow)],
        transitions=[
            Transition("pay", "menu", "paying"), Transition("done", "paying", "menu"),
            Transition("cancelled", "paying", "menu", prepare=raises),
        ],
    )  # fmt: skip
    return Bot([home, flow], home=home, services={"till": till})


def lost(number: int) -> Any:
    """Lose the reply."""
    raise ConnectionError


@pytest.mark.parametrize("policy", [CallPolicy(attempts=1, rounds=1), CallPolicy(attempts=1, rounds=3)])
def test_a_mistake_while_the_outcome_is_unknown_does_not_say_that_nothing_was_changed(policy: CallPolicy):
    """When `failed` raises after an unknown outcome, the words leave open whether it was done, and menu leads out."""
    till = Till(lost)
    talk = Talk(unsure(till, policy)).says("hi", "pay", "yes")
    said = list(talk.words)
    for _ in range(6):
        talk.wait(7200).wake().say("well?")
        said += talk.words
    assert not [words for words in said if "nothing was changed" in words]
    assert "could not find out whether" in said[-1]
    assert len(till.book) == 1
    assert talk.wait(7200).say("menu").words[-2:] == [
        "We could not find out whether that was done. Please check before you try again.",
        "Home.",
    ]
    assert talk.state.call is None


def test_the_tries_of_a_worker_end_although_each_raises():
    """A worker's tries that raise count, and their rests grow: no call is tried every minute without an end."""
    talk = Talk(unsure(Till(lost), CallPolicy(attempts=1, rounds=1))).says("hi", "pay", "yes")
    rests: list[float] = []
    for _ in range(12):
        pending = talk.state.call
        assert pending is not None
        assert pending.again_at is not None
        rests.append((pending.again_at - talk.now).total_seconds())
        talk.now = pending.again_at
        talk.take(LeaseExpired(pending.key, pending.root, pending.tries), "keep")
    assert rests == sorted(rests)
    assert rests[-1] == 3600
