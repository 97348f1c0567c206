"""The decision of a turn.

The rules of flows, refusals, errors, the global words, the stack of runs, and the session. `Talk` checks each turn
besides: the document is valid and one version on, the decision is the same twice and from the document as read back,
and the audit is whole.
"""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.bots import Bank, fruit_bot, home, member_document, one_flow, order, pick, sign_in
from tests.digests import token_of
from tests.strategies import actions, documents, messages
from tests.strategies import bots as any_bots
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.codec import decode, document_to_raw, encode, keep_judged, rewrite
from vimbiso_fsm.document.document import Document, OptOut, Reminder, Undelivered
from vimbiso_fsm.document.json_codec import dumps_unstructured
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.decide import current_question, decide
from vimbiso_fsm.engine.events import (
    CallReturned,
    Delivered,
    DeliveryDue,
    LeaseExpired,
    ReplyRoute,
    SessionExpired,
    StateTimeout,
    content_digest,
)
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES, due, wake_at
from vimbiso_fsm.errors import InvalidState, Misfit, NotStorable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import STANDARD, Call, call
from vimbiso_fsm.flow.commands import Shortcut
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Address, Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Buttons, Menu, Row, Text
from vimbiso_fsm.testing.chat import CHANNEL, START, Talk, check_decision, words


def member(bank: Bank | None = None, **options: Any) -> Talk:
    """A member who is logged in and stands at home."""
    return Talk(fruit_bot(bank, **options), member_document()).say("hi")


def at_pin(**options: Any) -> Talk:
    """A member who is asked for the PIN."""
    return member(**options).says("order", "ada")


def at_confirm(name: str = "ada", fruit: str = "fruit02", bank: Bank | None = None) -> Talk:
    """A member who is asked to confirm."""
    return member(bank).says("order", name, "1234", fruit)


def one(*states: State[Any], ways: list[Transition[Any]], **options: Any) -> Talk:
    """A conversation with a bot of one flow, begun."""
    return Talk(Bot(flows=one_flow(states, ways, **options), services={"bank": Bank()})).say("hi")


# The table of design §3 ---------------------------------------------------------------------------------------------


def test_rule_reserved_triggers_answer():
    """`answer` takes a typed text or a chosen row."""
    talk = at_pin()
    assert talk.place == "order.pin"
    assert talk.entry.trigger == "answer"
    talk.says("1234", "fruit03")
    assert talk.place == "order.confirm"
    assert talk.fields["fruit"] == "fruit03"


def test_rule_reserved_triggers_done_and_failed():
    """A call fires `done`, or `failed` with its reason said."""
    bank = Bank()
    talk = at_confirm(bank=bank)
    bank.script = [Refused("bank.closed")]
    talk.say("yes")
    assert talk.place == "order.confirm"
    assert talk.words[0] == "bank.closed"
    assert talk.fields["receipt"] == ""
    talk.say("yes")
    assert talk.words[:2] == ["Paid: receipt-2", "What now?"]
    assert talk.place == "home.menu"


def test_rule_reserved_triggers_cancelled():
    """A sub-flow that ends in a state that `cancels` fires `cancelled` in its caller."""
    talk = at_pin().say("1234").press("None of them")
    assert talk.place == "order.name"


def test_rule_auto_passes_a_state_with_nothing_to_do():
    """`auto` passes a state with nothing to do within the same turn, and its `say` is said."""
    talk = at_pin().says("1234", "fruit01")
    assert talk.words[0] == "Sorting."
    assert [step.trigger for step in talk.entry.steps][-1] == "auto"


@pytest.mark.parametrize(("count", "fits"), [(15, True), (16, True), (17, False)])
def test_rule_at_most_sixteen_autos_in_a_turn(count: int, fits: bool):
    """A turn that passes more than `Limits.autos` states fails, and the document stays."""
    states: list[State[Any]] = [
        State("ask", ask=Text("?")),
        *[State(f"s{n}") for n in range(count)],
        State("stop", ask=Text("!")),
    ]
    ways: list[Transition[Any]] = [Transition("go", "ask", "s0"), Transition("go", "stop", "ask")]
    ways += [Transition("auto", f"s{n}", f"s{n + 1}" if n + 1 < count else "stop") for n in range(count)]
    talk = one(*states, ways=ways).say("go")
    assert (talk.last.status == "advanced") == fits
    assert talk.place == ("one.stop" if fits else "one.ask")


def test_rule_a_circle_of_autos_ends():
    """A cycle of `auto` transitions fails in bounded time."""
    talk = one(State("a"), State("b"), ways=[Transition("auto", "a", "b"), Transition("auto", "b", "a")])
    assert talk.last.status == "failed"
    assert talk.entry.detail["type"] == "Stuck"


def test_rule_any_other_trigger_is_a_button():
    """The title of a button is the key `<flow>.<state>.<trigger>`."""
    talk = member()
    assert isinstance(talk.question, Buttons)
    assert [button.title.key for button in talk.question.buttons] == ["home.menu.order", "home.menu.stock"]
    assert list(talk.shown) == ["Order fruit", "See the stock"]


def test_rule_one_guard_shows_hides_and_explains():
    """A button is shown while its guard accepts, hidden when it declines, and explained when it refuses.

    The same guard decides a press.
    """
    talk = at_confirm("ada")
    assert list(talk.shown) == ["Yes please", "No", "Express"]
    vip = at_confirm("bob")
    assert list(vip.shown) == ["Yes please", "No", "Express"]
    vip.press("Express")
    assert vip.words[0] == "Express is only for ada, not for bob."
    assert vip.place == "order.confirm"
    hidden = next(iter(vip.shown.values()))[:9] + "gift"
    vip.send(choice=hidden)
    assert vip.words[0] == "That is not one of the choices."
    vip.send(choice="gift").say("gift")
    assert vip.place == "order.confirm"


def test_rule_a_hidden_button_is_shown_when_its_guard_accepts():
    """Whether a button is hidden depends on the data of the run."""
    talk = member().says("order", "a", "1234")
    assert list(talk.shown) == ["A apple", "None of them"]
    talk.say("apple")
    assert list(talk.shown) == ["Yes please", "No", "As a gift", "Express"]
    talk.press("As a gift")
    assert talk.words[:2] == ["Given.", "What now?"]


def test_rule_ask_and_say():
    """`ask` and `say` are texts or pure functions of the turn; `say` is said on entry, before the question."""
    talk = at_pin().says("1234", "fruit01")
    assert talk.words == ["Sorting.", "fruit01 for ada?"]


def test_rule_reads():
    """The value that `reads` returns is the answer; a `Refused` is said."""
    talk = member().says("order", "two words")
    assert talk.words == ["One word, please.", "Your name?"]
    talk.say("@home")
    assert talk.fields["name"] == "home"


def test_rule_into():
    """`into` takes an answer, the result of a call, or the output of a sub-flow."""
    talk = at_confirm()
    assert talk.fields == {"name": "ada", "pin": "1234", "fruit": "fruit02", "receipt": "", "visits": 1}
    talk.hold_calls = True
    talk.say("yes")
    talk.answer()
    assert "Paid: receipt-1" in talk.words


def test_rule_into_is_seen_by_guards():
    """A guard sees the answer in its field, and a refusal removes it again."""
    talk = member().says("order", "taken")
    assert talk.words == ["taken is taken.", "Your name?"]
    assert talk.fields["name"] == ""


def test_rule_rows_any_number():
    """Twenty-five rows are paged, and each can be chosen by number, id, title or press."""
    talk = at_pin().say("1234")
    assert isinstance(talk.question, Menu)
    assert len(talk.question.rows) <= 10
    assert list(talk.shown)[-2:] == ["Next", "None of them"]
    talk.say("next").press("Next").say("next")
    assert "A pear" in talk.shown
    assert "Next" not in talk.shown
    assert talk.entry.kind == "page"
    talk.say("PREVIOUS").say("next").say("a PEAR")
    assert talk.fields["fruit"] == "pear"


def test_rule_rows_are_checked_against_the_current_rows():
    """A row that is gone or never was is refused, and the list is shown again."""
    offered = ["a", "b"]
    talk = one(
        State("list", ask=Text("?"), rows=lambda _: [Row(id, f"Row {id}") for id in offered]),
        State("end", ask=Text("!")),
        ways=[Transition("answer", "list", "end"), Transition("go", "end", "list")],
    )
    old = talk.shown["Row b"]
    offered.remove("b")
    talk.send(choice=old)
    assert talk.words == ["That is not one of the choices.", "?"]
    assert list(talk.shown) == ["Row a"]
    talk.send(choice=old.replace("=b", "=zzz"))
    assert talk.place == "one.list"
    talk.press("Row a")
    assert talk.place == "one.end"


def test_rule_a_row_may_carry_a_value():
    """`into` takes a row's value in place of its id."""

    @attrs.frozen
    class Chosen:
        price: int = 0

    talk = one(
        State("list", ask=Text("?"), rows=lambda _: [Row("a", "A", value=5)], into="price"),
        State("end", ask=Text("!")),
        ways=[Transition("answer", "list", "end"), Transition("go", "end", "list")],
        data=Chosen,
    ).say("1")
    assert talk.fields == {"price": 5}


def test_rule_prepare_is_dropped():
    """The data of `prepare` is dropped if its transition does not fire, and the next candidate does not see it."""

    @attrs.frozen
    class Count:
        n: int = 0

    seen: list[int] = []

    def adds(turn: Turn[Count]) -> Count:
        return Count(turn.data.n + 1)

    def sees(turn: Turn[Count]) -> bool:
        seen.append(turn.data.n)
        return False

    def is_never(turn: Turn[Count]) -> bool:
        return False

    talk = one(
        State("ask", ask=Text("?"), reads=str),
        State("end", ask=Text("!")),
        ways=[
            Transition("answer", "ask", "end", prepare=adds, conditions=sees),
            Transition("answer", "ask", "end", prepare=adds, conditions=[sees, is_never]),
            Transition("go", "ask", "end"),
            Transition("go", "end", "ask"),
        ],
        data=Count,
    ).say("anything")
    assert set(seen) == {1}
    assert talk.fields == {"n": 0}
    assert talk.last.status == "refused"


def test_rule_the_first_that_accepts_wins():
    """Transitions are tried in the order of declaration; `unless` blocks only its own."""
    assert member().says("order", "vip").place == "pick.list"
    assert member().says("order", "ada").place == "order.pin"
    nobody = member().says("order", "nobody")
    assert nobody.place == "order.name"
    assert nobody.words[0] == "That is not one of the choices."


def test_rule_a_reason_on_the_way_is_said():
    """The reason of a transition that refused is said once, also if a later one fires."""

    def refuses(turn: Turn[Any]) -> bool | Refused:
        return Refused("too.bad")

    def again(turn: Turn[Any]) -> bool | Refused:
        return Refused("too.bad")

    talk = one(
        State("ask", ask=Text("?")),
        State("next", ask=Text("!")),
        ways=[
            Transition("go", "ask", "next", conditions=refuses),
            Transition("go", "ask", "next", conditions=again),
            Transition("go", "ask", "next"),
            Transition("go", "next", "ask"),
        ],
    ).say("go")
    assert talk.words == ["too.bad", "!"]
    assert talk.place == "one.next"
    assert talk.entry.codes == ("too.bad", "too.bad")


def test_rule_call_is_proposed_and_written_down():
    """The commit stores a call with its lease; it runs afterwards, and its key is made of run, state and entry."""
    talk = at_confirm()
    talk.hold_calls = True
    talk.say("yes")
    pending = talk.state.call
    assert pending is not None
    assert (pending.service, pending.method, pending.arguments) == ("bank", "pay", {"name": "ada", "fruit": "fruit02"})
    assert pending.leased_until > talk.now
    assert pending.root == talk.last.token
    assert talk.last.call == Call("bank", "pay", {"name": "ada", "fruit": "fruit02"})
    assert wake_at(talk.state) == pending.leased_until
    talk.answer()
    assert talk.state.call is None


def test_rule_a_call_that_raises_is_taken_up_again_and_fails_at_last():
    """A call that raises is in doubt and is never said to be not sent.

    It is taken up with the same key each time and fails in the end.
    """
    bank = Bank()
    talk = at_confirm(bank=bank)
    bank.script = [ConnectionError("lost")] * 30
    talk.say("yes")
    assert talk.state.call is not None
    for _ in range(10):
        talk.wait(61).say("well?")
        if talk.state.call is None:
            break
    assert talk.state.call is None
    assert talk.place == "order.confirm"
    assert any(words.startswith("We could not find out") for words in talk.words)
    assert len({key for _, key in bank.calls}) == 1
    assert len(bank.calls) == STANDARD.rounds


def test_rule_given_and_result():
    """A sub-flow starts with the caller's `input`, and its `output` is stored in the caller's field."""
    talk = member().says("order", "a", "1234")
    assert list(talk.shown) == ["A apple", "None of them"]
    talk.say("1")
    assert talk.fields["fruit"] == "apple"


def test_rule_timeout():
    """`timeout` fires after its seconds in the state, and neither before nor after the state was left."""
    talk = at_confirm()
    run = talk.state.run
    assert run is not None
    assert run.due == talk.now + timedelta(seconds=60)
    assert wake_at(talk.state) == run.due
    assert run.due is not None
    due = StateTimeout(run.id, run.fence, run.due)
    talk.wait(59).take(due)
    assert talk.last.status == "ignored"
    talk.take(StateTimeout(run.id, "!another1", run.due)).take(StateTimeout("order:other", run.fence, run.due))
    assert talk.last.status == "ignored"
    talk.wait(2).take(due)
    assert talk.words[:2] == ["Too slow.", "What now?"]
    talk.take(due)
    assert talk.last.status == "ignored"


def test_rule_a_refusal_does_not_kill_the_timer():
    """A refused answer leaves the timer of the state as it is."""
    talk = at_confirm()
    run = talk.state.run
    assert run is not None
    assert run.due is not None
    talk.wait(30).say("nonsense")
    assert wake_at(talk.state) == run.due
    talk.wait(31).take(StateTimeout(run.id, run.fence, run.due))
    assert talk.place == "home.menu"


def test_rule_requires_at_start():
    """A refusing `requires` leads through the entry flow and back to the flow that was started."""
    talk = Talk(fruit_bot()).says("hi", "order")
    assert talk.place == "sign_in.asking"
    talk.say("wrong")
    assert talk.place == "sign_in.asking"
    talk.say("sesame")
    assert talk.words == ["Welcome.", "Your name?"]
    assert talk.place == "order.name"
    assert talk.state.authenticated


def test_rule_requires_and_an_entry_that_is_left():
    """A member who leaves the entry flow is at home, which requires nothing."""
    talk = Talk(fruit_bot()).says("hi", "order").press("Leave")
    assert talk.place == "home.menu"
    assert not talk.state.authenticated


def test_rule_requires_before_each_call():
    """A member whose login has ended logs in before a call; the answers are kept and the call is made after it."""
    bank = Bank()
    talk = at_confirm(bank=bank)
    talk.document = attrs.evolve(talk.state, authenticated=False, jwt_token=None)
    talk.say("yes")
    assert talk.place == "sign_in.asking"
    assert bank.calls == []
    talk.say("sesame")
    assert len(bank.calls) == 1
    assert "Paid: receipt-1" in talk.words


def test_rule_requires_at_resume():
    """A resumed flow asks for the login again if it has ended."""
    talk = at_pin().say("menu")
    assert talk.place == "carry_on.offered"
    talk.document = attrs.evolve(talk.state, authenticated=False, jwt_token=None)
    talk.say("yes")
    assert talk.place == "sign_in.asking"
    talk.say("sesame")
    assert talk.place == "order.pin"
    assert talk.fields["name"] == "ada"


def test_rule_requires_without_an_entry_flow():
    """Without an entry flow, the reason is said and the member stays in the state."""
    talk = Talk(fruit_bot(entry=None)).says("hi", "order")
    assert talk.words[0] == "Please log in first."
    assert talk.place == "home.menu"
    assert talk.last.status == "refused"


# Refused input -------------------------------------------------------------------------------------------------------


def test_refused_input_costs_nothing():
    """A refusal says the reasons, asks again, is counted and audited, and changes nothing else."""
    talk = at_pin()
    before = talk.state
    talk.say("abc")
    assert talk.words == ["Four digits, please.", "Your PIN?"]
    assert talk.last.status == "refused"
    entry = talk.entry
    assert (entry.kind, entry.status, entry.codes) == ("refusal", "refused", ("pin.format",))
    assert entry.verdict == {"step": "pin", "ok": False, "code": "pin.format"}
    assert entry.changed == ()
    run, was = talk.state.run, before.run
    assert run is not None
    assert was is not None
    assert run.attempts == 1
    assert run.fields == was.fields
    assert (run.entered, run.step, run.trail, run.shown) == (was.entered, was.step, was.trail, was.shown)
    undone = attrs.evolve(run, context=was.context, verdict=was.verdict)
    changes: dict[str, Any] = {
        "run": undone,
        "version": before.version,
        "last_updated": before.last_updated,
        "deadline": before.deadline,
    }
    assert attrs.evolve(talk.state, **changes) == before


def test_help_after_three_and_the_menu_after_six():
    """Three refusals in a row at one question lead to help, six to the menu; an accepted answer ends the row."""
    talk = member().say("order")
    said = [talk.say("two words").words for _ in range(6)]
    assert [len(words) for words in said] == [2, 2, 4, 2, 2, 3]
    assert "One word, for example: ada" in said[2]
    assert any("Say menu" in words for words in said[5])
    talk.say("ada").say("x1")
    assert talk.state.run is not None
    assert talk.state.run.attempts == 1


def test_attempts_are_counted_for_one_question():
    """Refusals are counted for each question anew."""
    talk = at_pin().says("a1", "a2", "back")
    assert talk.place == "order.name"
    assert len(talk.say("two words").words) == 2


@pytest.mark.parametrize("kind", ["image", "audio", "location", "sticker"])
def test_an_image_is_refused_politely(kind: str):
    """An image is refused and the question asked again; as a first message it leads home."""
    talk = at_pin().send(kind=kind)
    assert talk.words == ["We can only read text here: please write, or tap a button.", "Your PIN?"]
    assert talk.last.status == "refused"
    assert Talk(fruit_bot()).send(kind=kind).words[-1] == "What now?"


@pytest.mark.parametrize("size", [4096, 4097, 1_000_000])
def test_a_text_that_is_too_long(size: int):
    """A text above the limit is refused with the limit, and is neither read nor stored."""
    talk = at_pin().send(text="9" * size)
    too_long = talk.words[0].startswith("That is too long")
    assert too_long == (size > 4096)
    assert talk.words[-1] == "Your PIN?"
    assert "99999" not in talk.last.raw.decode()
    talk.send(choice="9" * size)
    assert talk.words[-1] == "Your PIN?"


# What callbacks raise ----------------------------------------------------------------------------------------------------


class PrivateError(Exception):
    """An error that quotes what a member wrote."""


def broken(place: str) -> Bot:
    """A bot whose callback of one kind raises while `armed`."""

    def breaks(*args: Any) -> Any:
        if ARMED:
            raise PrivateError("what the member wrote")
        return True

    @attrs.frozen
    class Data:
        a: str = ""

    def given(turn: Turn[Data]) -> Data:
        breaks(turn)
        return Data()

    def text(turn: Turn[Data]) -> Text:
        breaks(turn)
        return Text("said")

    def reads(typed: str) -> str:
        breaks(typed)
        return typed

    def rows(turn: Turn[Data]) -> list[Row]:
        breaks(turn)
        return [Row("a", "A")]

    def prepares(turn: Turn[Data]) -> Data:
        breaks(turn)
        return turn.data

    def calls(turn: Turn[Data]) -> Call[Any]:
        breaks(turn)
        return call(Bank.stock)

    def result(turn: Turn[Data]) -> str:
        breaks(turn)
        return "r"

    inner = Flow(
        "inner", data=Data, initial="ask",
        states=[State("ask", ask=Text("inner")), State("end", final=True, output=result if place == "result" else None)],
        transitions=[Transition("go", "ask", "end")],
    )  # fmt: skip
    start: State[Any] = State("start", ask=Text("start"), reads=reads if place == "reads" else str, into="a")
    second: dict[str, State[Any]] = {
        "ask": State("second", ask=text),
        "say": State("second", ask=Text("second"), say=text),
        "rows": State("second", ask=Text("second"), rows=rows),
        "call": State("second", call=calls),
        "given": State("second", flow=inner, input=given),
        "result": State("second", flow=inner),
    }
    state = second.get(place, State("second", ask=Text("second")))
    triggers = (
        ["done", "failed"]
        if state.call
        else ["done", "cancelled"]
        if state.flow
        else ["answer"]
        if state.rows
        else ["go"]
    )
    guarded: dict[str, Any] = {
        "conditions": {"conditions": breaks},
        "unless": {"unless": breaks},
        "prepare": {"prepare": prepares},
    }
    ways = [Transition("answer", "start", "second", **guarded.get(place, {}))]
    ways += [Transition(trigger, "second", "start") for trigger in triggers]
    requires = breaks if place == "requires" else ()
    main = one_flow([start, state], ways, data=Data, requires=requires)
    shortcut = [Shortcut(inner, breaks)] if place == "shortcut" else []
    return Bot(flows=[main, inner], services={"bank": Bank()}, shortcuts=shortcut)


ARMED: list[bool] = []


@pytest.mark.parametrize(
    "place",
    [
        "ask",
        "say",
        "reads",
        "rows",
        "call",
        "given",
        "result",
        "conditions",
        "prepare",
        "unless",
        "requires",
        "shortcut",
    ],
)
def test_an_exception_in_a_callback(place: str):
    """After an exception in a callback, the document changes only in version and instant.

    The member reads a plain sentence with a reference, the audit records type and places, and the exception's message
    appears nowhere.
    """
    ARMED.clear()
    talk = Talk(broken(place)).say("hi")
    assert talk.place == "one.start"
    if place == "result":
        talk.say("anything")
    before = talk.state
    ARMED.append(True)
    if place == "requires":
        talk.say("anything")
        talk.say("menu")
    else:
        talk.say("go" if place == "result" else "anything")
    ARMED.clear()
    assert talk.last.status == "failed"
    assert isinstance(talk.last.error, PrivateError)
    entry = talk.entry
    reference = entry.detail["reference"]
    assert talk.words == [
        f"Something went wrong on our side; nothing was changed. Please try again. Reference: {reference}"
    ]
    assert (entry.kind, entry.status, entry.detail["type"]) == ("error", "failed", "PrivateError")
    assert entry.detail["where"][-1].startswith("test_decide.py:")
    assert entry.detail["message"] == ""
    everything = [talk.sealed[-1].body, talk.last.raw, talk.last.record, repr(talk.last.replies).encode()]
    assert not [data for data in everything if b"member wrote" in data]
    if place != "requires":
        assert attrs.evolve(talk.state, version=before.version, last_updated=before.last_updated) == before
    talk.say("menu")
    assert talk.last.status != "failed"


def test_an_exception_in_done_strands_no_member():
    """If the answer of a call cannot be taken, the member still gets home.

    A message passes the wait once the lease has expired.
    """

    def breaks(turn: Turn[Any]) -> Any:
        raise PrivateError

    talk = one(
        State("ask", ask=Text("?")),
        State("calling", call=lambda _: call(Bank.stock)),
        State("end", ask=Text("!")),
        ways=[
            Transition("go", "ask", "calling"),
            Transition("done", "calling", "end", prepare=breaks),
            Transition("failed", "calling", "ask"),
            Transition("go", "end", "ask"),
        ],
    ).say("go")
    assert talk.last.status == "failed"
    for _ in range(12):
        talk.wait(45).say("menu")
        if talk.state.call is None:
            break
    assert talk.state.call is None, "the call is never settled: every message is told to wait"
    assert talk.place == "one.ask"


def test_data_that_cannot_be_stored_fails_the_turn():
    """A live object in the data, or an invalid member id, fails the turn, and the member stays in the state."""

    @attrs.frozen
    class Data:
        x: Any = None

    def live(turn: Turn[Data]) -> Data:
        return Data(object())

    talk = one(
        State("ask", ask=Text("?")),
        State("end", ask=Text("!")),
        ways=[Transition("go", "ask", "end", prepare=live), Transition("go", "end", "ask")],
        data=Data,
    ).say("go")
    assert talk.last.status == "failed"
    assert talk.entry.detail["type"] == "NotStorable"
    assert talk.place == "one.ask"


@pytest.mark.parametrize("wrong", ["", 5, None])
def test_a_guest_does_not_become_an_invalid_member(wrong: Any):
    """A change to an invalid member id is refused before anything is stored."""

    def becomes(turn: Turn[Any]) -> Any:
        return turn.changes(member=attrs.evolve(turn.member, id=wrong))

    talk = one(
        State("ask", ask=Text("?")),
        State("end", ask=Text("!")),
        ways=[Transition("go", "ask", "end", prepare=becomes), Transition("go", "end", "ask")],
    ).say("go")
    assert talk.last.status == "failed"
    assert talk.state.moved is None


def test_a_member_cannot_become_another():
    """Only a guest can become another member."""

    def becomes(turn: Turn[Any]) -> Any:
        return turn.changes(member=attrs.evolve(turn.member, id="m-2"))

    flow = one_flow(
        [State("ask", ask=Text("?")), State("end", ask=Text("!"))],
        [Transition("go", "ask", "end", prepare=becomes), Transition("go", "end", "ask")],
    )
    talk = Talk(Bot(flows=flow), member_document()).says("hi", "go")
    assert talk.entry.detail["type"] == "WrongMember"
    assert Talk(Bot(flows=flow)).says("hi", "go").state.moved is not None


# The words that always work -------------------------------------------------------------------------------------------


def test_menu_without_answers_leads_home():
    """`menu` leads home without a question if no answers would be lost."""
    talk = member().says("order", "menu")
    assert talk.place == "home.menu"
    assert talk.state.suspended == ()


def test_menu_in_the_middle_is_offered_back():
    """`menu` offers a flow with answers back; "yes" asks the same question, with the answers kept."""
    talk = at_pin().say("hello")
    assert talk.place == "carry_on.offered"
    assert talk.words == ["You have not finished: order. Carry on with it?"]
    talk.say("y")
    assert talk.words == ["Your PIN?"]
    assert talk.place == "order.pin"
    assert talk.fields["name"] == "ada"
    talk.says("1234", "fruit01", "yes")
    assert talk.place == "home.menu"


@pytest.mark.parametrize("word", ["no", "menu", "hello"])
def test_menu_in_the_middle_and_no(word: str):
    """`no` to the offer drops the flow and leads home. A second "menu" does the same."""
    bank = Bank()
    talk = at_confirm(bank=bank).says("menu", word)
    assert talk.words == ["Left it there; nothing more was sent.", "What now?"]
    assert talk.place == "home.menu"
    assert bank.calls == []
    assert talk.state.suspended == ()


def test_menu_in_a_sub_flow_offers_its_caller_back():
    """`menu` in a sub-flow offers back the flow that called it, if that one holds answers."""
    talk = at_pin().say("1234")
    assert talk.place == "pick.list"
    talk.say("menu")
    assert talk.place == "carry_on.offered"
    talk.say("yes")
    assert talk.place == "pick.list"
    talk.say("fruit01")
    assert talk.fields["name"] == "ada"


def test_cancel_ends_the_open_flow():
    """`cancel` ends the open flow without an effect and leads home; at home it asks the home question."""
    bank = Bank()
    talk = at_confirm(bank=bank).say("STOP")
    assert talk.words == ["Cancelled; nothing was sent.", "What now?"]
    assert bank.calls == []
    assert talk.say("cancel").words == ["What now?"]


def test_cancel_inside_a_sub_flow():
    """`cancel` in a sub-flow also ends the flows that called it."""
    talk = at_pin().says("1234", "cancel")
    assert talk.place == "home.menu"
    assert talk.state.suspended == ()


def test_cancel_at_the_offer_to_carry_on():
    """`cancel` at the offer to carry on drops the offered flow."""
    talk = at_pin().says("menu", "cancel")
    assert talk.place == "home.menu"
    assert talk.state.suspended == ()


def test_back_shows_the_earlier_answer():
    """`back` shows the earlier answer of the previous question; later answers are kept until they are changed."""
    talk = at_confirm().say("back")
    assert (talk.place, talk.words[0]) == ("pick.list", "Your earlier answer: fruit02")
    talk.say("back")
    assert talk.place == "order.pin"
    talk.say("back")
    assert talk.words == ["Your earlier answer: ada", "Your name?"]
    assert talk.fields["fruit"] == "fruit02"
    talk.say("back")
    assert talk.words[0] == "This is the first question; there is nothing to go back to."
    assert talk.place == "order.name"


def test_back_shows_no_secret():
    """A field marked secret appears in the document only: neither in a reply nor in a turn record."""
    talk = at_confirm().says("back", "back")
    assert talk.place == "order.pin"
    assert "1234" not in " ".join(talk.words)
    assert b"1234" not in talk.last.record.replace(CHANNEL.identifier.encode(), b"")


def test_records_hold_no_secret():
    """No turn record holds a secret, also while its flow is suspended."""
    talk = member()
    for text in ("order", "ada", "1234", "fruit02", "help", "menu", "yes", "nonsense", "yes"):
        talk.say(text)
        for decision in talk.decisions:
            assert b'"1234"' not in decision.record


def test_help_says_the_global_words_and_asks_again():
    """`help` says the state's help and the global words, asks again, and changes nothing else."""
    talk = member().says("order", "?")
    assert talk.words == ["One word, for example: ada", "You can always say: menu, back, cancel, help.", "Your name?"]
    assert at_pin().say("HELP").words == ["You can always say: menu, back, cancel, help.", "Your PIN?"]


def test_a_typed_word_beats_a_reader_and_at_home_gets_through():
    """A global word has precedence over a reader; the answer `home` is written `@home`."""
    assert member().says("order", "home").place == "home.menu"
    talk = member().says("order", "@home")
    assert talk.fields["name"] == "home"


def test_a_press_is_never_a_global_word():
    """A pressed button is never a global word. A bare id is a choice of the question or none."""
    flow = one_flow(
        [State("ask", ask=Text("?")), State("end", ask=Text("!"))],
        [Transition("cancel", "ask", "end"), Transition("go", "end", "ask")],
    )
    talk = Talk(Bot(flows=flow)).say("hi").send(choice="cancel")
    assert talk.place == "one.end"
    talk.send(choice="menu")
    assert talk.words == ["That is not one of the choices.", "!"]


@pytest.mark.parametrize(
    ("word", "place"),
    [("yes", "home.menu"), ("OK", "home.menu"), ("y", "home.menu"), ("n", "home.menu"), ("No", "home.menu")],
)
def test_yes_and_no_words(word: str, place: str):
    """Words for yes and no press the buttons `yes` and `no` if these are shown."""
    talk = at_confirm().say(word)
    assert talk.place == place
    assert ("Dropped." in talk.words) == word.lower().startswith("n")


def test_words_of_a_transition():
    """A transition's `words` press its button."""
    assert member().say("BUY").place == "order.name"
    assert "Paid: receipt-1" in at_confirm().say("at once").words


def test_anything_begins_a_conversation():
    """The first message of a member leads home, whatever it is."""
    contents: list[dict[str, Any]] = [{"choice": "x"}, {"kind": "image"}]
    contents += [{"text": text} for text in ("order", "", "back", "?")]
    for content in contents:
        assert Talk(fruit_bot()).send(**content).place == "home.menu"


def test_quick_commands():
    """A shortcut at home starts its flow and answers its first questions; the first refused answer is asked again."""
    talk = member().say("ada/1234")
    assert talk.place == "pick.list"
    assert talk.words == ["Which fruit?"]
    talk.says("fruit02", "yes")
    assert talk.place == "home.menu"
    assert "Paid: receipt-1" in talk.words
    refused = member().say("ada/12")
    assert refused.place == "order.pin"
    assert refused.words == ["Four digits, please.", "Your PIN?"]
    assert member().say("taken/1234").words == ["taken is taken.", "Your name?"]
    assert member().says("order", "ada/1234").words[0] == "One word, please."


def test_a_shortcut_of_a_member_without_a_login():
    """A shortcut of a member who is not logged in leads through the entry flow first."""
    assert Talk(fruit_bot()).says("hi", "ada/1234").place == "sign_in.asking"


# Old buttons, the session, the channel -----------------------------------------------------------------------------------


def test_an_old_button_is_closed():
    """An old button is reported as closed, the current question is asked again, and nothing is stored."""
    talk = member()
    old = talk.shown["Order fruit"]
    talk.says("order", "ada")
    before = talk.state
    talk.send(choice=old)
    assert talk.words == ["That question is closed.", "Your PIN?"]
    assert talk.last.status == "ignored"
    assert not talk.last.changed
    assert talk.state == before


def test_a_button_counts_after_a_refusal():
    """The buttons of a question still work after a refused answer."""
    talk = at_confirm()
    button = talk.shown["No"]
    talk.say("nonsense").send(choice=button)
    assert talk.place == "home.menu"


def test_a_double_press_is_closed():
    """The second press of a confirmation meets another question and is closed."""
    bank = Bank()
    talk = at_confirm(bank=bank)
    button = talk.shown["Yes please"]
    talk.send(choice=button).send(choice=button)
    assert talk.words[0] == "That question is closed."
    assert len(bank.calls) == 1


def test_a_press_without_an_open_flow_is_closed():
    """A press of a question that is over starts nothing: the member reads so, with the words that always work."""
    closing = ["That question is closed.", "You can always say: menu, back, cancel, help."]
    end = State[Any]("end", say=Text("Bye."), final=True)
    talk = one(State("ask", ask=Text("?")), end, ways=[Transition("go", "ask", "end")])
    button = talk.shown["one.ask.go"]
    before = talk.press("one.ask.go").state
    assert before.run is None
    for _ in range(2):
        talk.send(choice=button)
        assert (talk.words, talk.last.status, talk.last.changed) == (closing, "ignored", False)
    assert talk.state == before
    assert talk.say("hi").place == "one.ask"
    assert Talk(fruit_bot()).send(choice=button).words == closing


def test_a_press_on_a_question_that_has_timed_out_is_closed():
    """A press that comes after the timeout of its question is reported as closed, also if the timeout says nothing."""
    talk = one(
        State("ask", ask=Text("Sure?"), timeout=60),
        State("end", ask=Text("Next.")),
        ways=[Transition(["yes", "timeout"], "ask", "end"), Transition("go", "end", "ask")],
    )
    talk.wait(61).press("one.ask.yes")
    assert talk.words == ["That question is closed.", "Next."]


def test_a_press_after_the_end_of_a_session_is_closed():
    """Where a session has ended, a press is reported as closed before the flow is offered back."""
    talk = member().says("order", "ada", "1234")
    button = talk.shown["A fruit02"]
    talk.wait(301).wake()
    assert talk.state.run is None
    assert talk.state.suspended
    talk.send(choice=button)
    assert talk.words[2:] == ["That question is closed.", "You have not finished: pick. Carry on with it?"]


def test_the_session_ends():
    """After the end of a session, the member is told of it and of the answers that were not sent.

    The flow is offered back after the entry flow, and an old confirmation is never executed.
    """
    talk = at_pin().wait(301).say("1234")
    assert talk.words[:2] == [
        "Your session ended after a while of silence.",
        "What you had not confirmed (order) was not sent.",
    ]
    assert talk.place == "sign_in.asking"
    assert not talk.state.authenticated
    talk.say("sesame")
    assert talk.place == "carry_on.offered"
    talk.say("yes")
    assert talk.place == "order.pin"


def test_the_session_ends_at_a_question_with_a_timer():
    """A timer that was due before the end of the session fires first, so that an old confirmation is not executed."""
    bank = Bank()
    talk = at_confirm(bank=bank).wait(301).say("yes")
    assert talk.words == ["Too slow.", "What now?", "Your session ended after a while of silence.", "What now?"]
    assert talk.place == "home.menu"
    assert bank.calls == []


def test_the_session_ends_without_answers():
    """Without answers, the end of a session leads home."""
    talk = member().wait(301).say("order")
    assert talk.words == ["Your session ended after a while of silence.", "What now?"]


def test_the_session_ends_while_the_member_signs_in():
    """A flow that waits for a login is offered back after the end of the session."""
    talk = at_pin()
    talk.document = attrs.evolve(talk.state, authenticated=False, jwt_token=None)
    talk.says("1234", "fruit01", "yes")
    assert talk.place == "sign_in.asking"
    talk.wait(301).say("sesame")
    assert talk.place in ("sign_in.asking", "carry_on.offered")
    talk.say("sesame")
    assert talk.place == "carry_on.offered"


def test_every_message_renews_the_session_but_not_an_ignored_one():
    """Accepted and refused answers renew the session; an old button does not."""
    talk = member()
    old = talk.shown["Order fruit"]
    talk.says("order", "ada").wait(290).say("wrong").wait(290).send(choice=old).wait(11).say("1234")
    assert talk.words[0].startswith("Your session ended")


def test_a_flow_may_have_its_own_session():
    """A flow's own idle time may be longer or shorter than the bot's."""
    flow = one_flow(
        [State("ask", ask=Text("?")), State("end", ask=Text("!"))],
        [Transition("go", "ask", "end"), Transition("go", "end", "ask")],
        session=10,
    )
    talk = Talk(Bot(flows=flow)).say("hi").wait(11).say("go")
    assert talk.words == ["Your session ended after a while of silence.", "?"]


def test_a_decision_is_worth_nothing_after_the_session():
    """`not_after` is the earlier end of session and state.

    A decision that ends the session, or waits for a call, has no bound in the past.
    """
    bank = Bank()
    talk = at_confirm(bank=bank)
    run, deadline = talk.state.run, talk.state.deadline
    assert run is not None
    talk.hold_calls = True
    talk.say("yes")
    assert talk.last.not_after == run.due
    assert run.due is not None
    assert deadline is not None
    assert run.due < deadline
    talk.wait(400).say("hello?")
    assert talk.last.changed
    assert talk.last.not_after is None or talk.last.not_after >= talk.now


def test_a_failure_after_the_session_can_be_stored():
    """A failure while the end of the session is decided can be stored after that end."""

    def breaks(turn: Turn[Any]) -> Text:
        if ARMED:
            raise PrivateError
        return Text("?")

    ARMED.clear()
    talk = one(
        State("ask", ask=breaks),
        State("end", ask=Text("!")),
        ways=[Transition("go", "ask", "end"), Transition("go", "end", "ask")],
    )
    ARMED.append(True)
    talk.wait(400).say("hi")
    ARMED.clear()
    assert talk.last.status == "failed"
    assert talk.last.not_after is None or talk.last.not_after >= talk.now


def test_a_message_while_a_call_is_on_its_way():
    """A message while a call is pending gets the text of the state or a general one, and stores nothing."""
    talk = at_confirm()
    talk.hold_calls = True
    talk.say("yes")
    pending = talk.state.call
    assert pending is not None
    for word in ("yes", "menu", "cancel"):
        talk.say(word)
        assert talk.words == ["We are still working on your last answer; you will hear from us."]
        assert talk.last.status == "ignored"
    talk.wait(31).say("well?")
    again = talk.state.call
    assert again is not None
    assert (again.key, again.tries) == (pending.key, 2)
    assert talk.last.call is not None
    assert talk.last.call.stored
    stock = member()
    stock.hold_calls = True
    assert stock.say("stock").say("well?").words == ["Looking …"]


def test_an_answer_of_a_settled_call():
    """A late answer of a call that was settled changes nothing."""
    talk = at_confirm().say("yes")
    talk.take(CallReturned("other", "root", "receipt"))
    assert talk.last.status == "ignored"
    assert not talk.last.changed


def test_the_channel_of_the_latest_turn():
    """The document holds the channel of the latest turn; known metadata is kept."""
    talk = Talk(fruit_bot(), channel=Channel("whatsapp", "1", {"name": "Ada"})).say("hi")
    talk.channel = Channel("whatsapp", "1", {"language": "en"})
    talk.say("hi")
    assert talk.state.channel.metadata == {"name": "Ada", "language": "en"}
    talk.channel = Channel("sms", "1")
    talk.say("hi")
    assert talk.state.channel == Channel("sms", "1")


def test_the_clock_may_go_back():
    """`last_updated` never goes back."""
    talk = member().wait(-3600).say("order")
    assert talk.state.last_updated >= START


def test_recovered_is_said_first():
    """A member whose document was repaired is told so first, and led home."""
    decision = decide(
        fruit_bot(), member_document(), Message(CHANNEL, "m", "hello"), START, recovered=Text("recovered")
    )
    assert decision.status == "recovered"
    assert words(decision.replies)[0].startswith("We had to tidy up")
    assert decision.entry is not None
    assert decision.entry.kind == "recovery"


def test_the_question_as_it_is_now():
    """`current_question` is the question now, or no reply if the question raises."""
    talk = at_pin()
    assert words(current_question(talk.bot, talk.state, talk.now)) == ["Your PIN?"]
    assert current_question(talk.bot, member_document(), talk.now) == ()
    talk = at_confirm()
    talk.hold_calls = True
    talk.say("yes")
    assert words(current_question(talk.bot, talk.state, talk.now))[0].startswith("We are still working")
    ARMED.clear()
    talk = Talk(broken("reads")).say("hi")
    other = Talk(broken("ask")).says("hi", "anything")
    ARMED.append(True)
    assert current_question(other.bot, other.state, other.now) == ()
    ARMED.clear()
    assert current_question(talk.bot, talk.state, talk.now) != ()


def test_only_a_message_begins():
    """A timer or an answer without a document raises `TypeError`."""
    with pytest.raises(TypeError):
        decide(fruit_bot(), None, StateTimeout("x", "!12345678", START), START)


def test_tokens():
    """A message has one token for channel type, account, sender and id.

    An answer has the token of its call, and a repeated try its own.
    """
    base = Message(CHANNEL, "m", "hi")
    others: list[Any] = [
        Message(CHANNEL, "n", "hi"),
        Message(Channel("sms", CHANNEL.identifier), "m", "hi"),
        Message(Channel(CHANNEL.type, "1"), "m", "hi"),
        Message(CHANNEL, "m", "hi", account="ours"),
        CallReturned("k", "r"), CallReturned("k", "r", unknown=True), CallReturned("k", "r", unknown=True, tries=2), StateTimeout("m", "!12345678", START),
    ]  # fmt: skip
    tokens = [token_of(event) for event in (base, *others)]
    assert len(set(tokens)) == len(tokens)
    assert token_of(base) == token_of(Message(CHANNEL, "m", "other words"))
    assert content_digest(base, b"") != content_digest(Message(CHANNEL, "m", "other words"), b"")
    assert content_digest(base, b"") != content_digest(Message(CHANNEL, "m", choice="hi"), b"")
    assert token_of(CallReturned("k", "r", 1)) == token_of(CallReturned("k", "r", 2))


def test_any_profile_is_read_back_equal():
    """Any storable profile is read back equal, so that each worker goes on from the same document."""

    def becomes(turn: Turn[Any]) -> Any:
        from decimal import Decimal

        profile = {"limit": Decimal("5.00"), "tags": ("a", "b"), "since": START}
        return turn.changes(member=attrs.evolve(turn.member, profile=profile))

    one(
        State("ask", ask=Text("?")),
        State("end", ask=Text("!")),
        ways=[Transition("go", "ask", "end", prepare=becomes), Transition("go", "end", "ask")],
    ).say("go")


# Properties -------------------------------------------------------------------------------------------------------------


def act(talk: Talk, bank: Bank, what: str, value: Any, seen: list[str], sent: list[Message]) -> None:
    """Perform one action of `strategies.actions`."""
    shown = list(talk.shown.values())
    seen += shown
    if what == "wait":
        talk.wait(value)
    elif what == "bank":
        scripts: dict[str, list[Any]] = {"refuse": [Refused("bank.closed")], "raise": [OSError()] * 3}
        bank.script = scripts.get(value, [])
    elif what == "image":
        talk.send(kind=value)
    elif what == "press" and shown:
        talk.send(choice=shown[value % len(shown)])
    elif what == "old" and seen:
        talk.send(choice=seen[value * 7 % len(seen)])
    elif what == "choice":
        talk.send(choice=value)
    elif what == "say":
        talk.say(value)


@given(any_bots(), actions, st.booleans())
def test_any_sequence_of_messages(bot: Bot, acts: list[tuple[str, Any]], known: bool):
    """Any sequence of messages to any flow keeps the rules that `Talk` checks, and each message is answered."""
    talk = Talk(bot, member_document() if known else None)
    bank: Any = bot.services["bank"]
    seen: list[str] = []
    for what, value in acts:
        act(talk, bank, what, value, seen, [])
        run = talk.document.run if talk.document else None
        if run and run.due and value == 61:
            talk.take(StateTimeout(run.id, run.fence, run.due))
    assert [entry.version for entry in map(unseal, talk.sealed)] == list(range(1, len(talk.sealed) + 1))


@given(actions, st.booleans())
def test_menu_leads_home(acts: list[tuple[str, Any]], known: bool):
    """`menu` leads home, to the offer to carry on or to the entry flow, unless a call is pending."""
    bank = Bank()
    talk = Talk(fruit_bot(bank), member_document() if known else None)
    for what, value in acts:
        act(talk, bank, what, value, [], [])
    bank.script = []
    for _ in range(12):
        if talk.document and talk.state.call:
            talk.wait(31).say("menu")
    talk.say("menu")
    assert talk.place in ("home.menu", "carry_on.offered", "sign_in.asking")


@given(documents(), messages(), st.integers(-10, 10**6))
def test_any_document_and_any_message(document: Document, message: Message, later: int):
    """Deciding a message on any valid document never raises, and the decision is valid and repeatable."""
    bot = fruit_bot()
    now = document.last_updated + timedelta(seconds=later)
    decision = decide(bot, document, message, now)
    check_decision(bot, document, message, now, decision)
    assert decision.replies


# Nobody says anything ---------------------------------------------------------------------------------------------------


def hearsay(talk: Talk) -> list[Any]:
    """Return events that are due, were due earlier, or will never be due."""
    document = talk.state
    run, call = document.run, document.call
    events: list[Any] = [event for _, event in due(document)]
    if run is not None:
        events += [
            StateTimeout(run.id, run.fence, talk.now),
            StateTimeout(run.id, "!another1", run.due or talk.now),
        ]
    if call is not None:
        events += [
            LeaseExpired(call.key, call.root, call.tries + 1),
            CallReturned(call.key, call.root, unknown=True, tries=99),
        ]
    for one in document.outbox:
        events += [DeliveryDue(one.id, one.tries + 1), Delivered(one.id, one.tries + 1, False), DeliveryDue("gone", 1)]
    return [
        *events,
        LeaseExpired("gone", "root", 1),
        CallReturned("gone", "root", "receipt"),
        Delivered("gone", 1, True),
        SessionExpired(START),
    ]


unattended = st.lists(
    st.one_of(
        st.tuples(st.just("wake"), st.sampled_from(["", "delivers", "fails"])),
        st.tuples(st.just("wait"), st.sampled_from([1, 29, 60, 61, 300, 5_000])),
        st.tuples(st.just("hold"), st.booleans()),
        st.tuples(st.just("hearsay"), st.integers(0, 20)),
    )
)
"""Actions with their arguments: wakings, time, workers that die, events that come too early, too late or twice."""


def timing_out() -> Bot:
    """A bot whose second question leads to a third one by its timeout."""
    states: list[State[Any]] = [
        State("first", ask=Text("First?"), reads=str),
        State("second", ask=Text("Second?"), timeout=60),
        State("third", ask=Text("Third?"), reads=str),
        State("fourth", ask=Text("Fourth?"), reads=str),
    ]
    ways: list[Transition[Any]] = [
        Transition("answer", "first", "second"),
        Transition("yes", "second", "fourth"),
        Transition("timeout", "second", "third"),
        Transition("answer", "third", "fourth"),
        Transition("answer", "fourth", "fourth"),
    ]
    return Bot(one_flow(states, ways), services={"bank": Bank()})


@given(any_bots(), st.lists(st.one_of(actions, unattended), max_size=6), st.booleans())
@example(  # the word comes while the delivery of the question rests after a failure
    bot=timing_out(),
    acts=[[("say", "hi"), ("say", "yes"), ("wait", 60), ("wake", "fails"), ("say", "yes")]],
    known=False,
)
def test_any_sequence_of_messages_and_silence(bot: Bot, acts: list[list[tuple[str, Any]]], known: bool):
    """In any sequence of messages and due events, no reply is lost.

    A due event acts and is due no more, and other events change nothing.
    """
    talk = Talk(bot, member_document() if known else None)
    bank: Any = bot.services["bank"]
    seen: list[str] = []
    for what, value in [one for some in acts for one in some]:
        if what == "wake":
            talk.wake(delivers=value != "", fails=value == "fails")
        elif what == "hold":
            talk.hold_calls = value
        elif what == "hearsay" and talk.document is not None:
            events = hearsay(talk)
            event = events[value % len(events)]
            is_due = event in [each for at, each in due(talk.state) if at <= talk.now]
            resting = talk.state.call  # a message takes the call up at once if no worker holds its lease
            is_due = is_due or (
                isinstance(event, LeaseExpired) and resting is not None and resting.leased_until <= talk.now
            )
            version = talk.state.version
            talk.take(event, "keep")
            answers = isinstance(event, Delivered | CallReturned) and talk.last.changed
            assert is_due or answers or talk.state.version == version, event
        else:
            act(talk, bank, what, value, seen, [])
    assert [entry.version for entry in map(unseal, talk.sealed)] == list(range(1, len(talk.sealed) + 1))


@pytest.mark.parametrize("delivery", ["rests", "is on its way", "waits for a message"])
def test_a_question_that_was_not_delivered_is_asked_and_then_answered(delivery: str):
    """A text at a question that the member has not read is answered with the question, and the next text answers it."""
    talk = Talk(timing_out()).says("hi", "a").wait(60)
    talk.hold_calls = delivery == "is on its way"
    talk.wake(delivers=delivery != "waits for a message", fails=True)
    assert (talk.place, len(talk.state.outbox)) == ("one.third", 1)
    late = ["That came when the question before was over; here is where you are now."]
    assert talk.say("yes").words == [*(late if delivery != "waits for a message" else []), "Third?"]
    assert talk.place == "one.third"
    assert talk.state.outbox == ()
    assert talk.say("c").words == ["Fourth?"]


def test_a_question_that_was_asked_meanwhile_is_not_delivered_again():
    """The words before a question whose delivery failed are still delivered, and the question is answered at once."""
    states: list[State[Any]] = [
        State("first", ask=Text("First?"), timeout=60),
        State("slow", say=Text("Too slow.")),
        State("second", ask=Text("Second?"), reads=str),
        State("end", say=Text("Done."), final=True),
    ]
    ways: list[Transition[Any]] = [
        Transition("yes", "first", "end"),
        Transition("timeout", "first", "slow"),
        Transition("auto", "slow", "second"),
        Transition("answer", "second", "end"),
    ]
    talk = Talk(Bot(one_flow(states, ways))).say("hi").wait(60).wake(delivers=True, fails=True)
    assert talk.say("help").words[-1] == "Second?"
    assert talk.waiting == ["Too slow."]
    assert "Done." in talk.say("b").words
    assert talk.wait(60).wake(delivers=True).delivered == ["Too slow."]


@given(documents(), st.integers(-10, 10**6), st.sampled_from(["handle", "deliver", "keep"]))
def test_a_due_event_on_any_document_never_raises(document: Document, later: int, route: ReplyRoute):
    """Deciding a due event on any valid document never raises.

    The decision is valid and repeatable, and a due event acts.
    """
    bot = fruit_bot()
    now = document.last_updated + timedelta(seconds=later)
    for at, event in due(document):
        decision = decide(bot, document, event, now, route=route)
        check_decision(bot, document, event, now, decision, route)
        # A call that rests is taken up later without a message, and at once by a message.
        begins = document.call.leased_until if isinstance(event, LeaseExpired) and document.call else at
        assert decision.changed == (begins <= max(now, document.last_updated)) or decision.status == "failed"


def test_no_reply_overtakes_another():
    """Replies behind a failed delivery wait until it succeeds or is given up."""
    first = Undelivered("first", ({"text": "call.waiting"},), START + timedelta(hours=1), 1)
    second = Undelivered("second", ({"text": "call.waiting"},))
    document = member_document(outbox=(first, second))
    assert due(document) == [(START + timedelta(hours=1), DeliveryDue("first", 1))]
    heard = decide(fruit_bot(), document, Message(CHANNEL, "m", "help"), START)
    assert heard.document.outbox == (first, second)
    given_up = attrs.evolve(document, outbox=(attrs.evolve(first, tries=DELIVERY_TRIES), second))
    assert [event for _, event in due(given_up)] == [DeliveryDue("second", 0)]


FLOWS: tuple[Flow[Any], ...] = (home, order, pick, sign_in)


def test_the_bot_of_the_tests_has_every_kind_of_state():
    """The bot of these tests has a state of each kind."""
    states: list[State[Any]] = [state for flow in FLOWS for state in flow.states]
    kinds: list[Callable[[State[Any]], Any]] = [
        lambda s: s.reads, lambda s: s.rows, lambda s: s.call, lambda s: s.flow, lambda s: s.input, lambda s: s.output,
        lambda s: s.cancels, lambda s: s.idle, lambda s: s.timeout, lambda s: s.say, lambda s: s.into,
    ]  # fmt: skip
    assert all(any(kind(state) for state in states) for kind in kinds)
    assert any(flow.requires for flow in FLOWS)
    metadata = [field.metadata for flow in FLOWS for field in flow.fields.values()]
    assert PUBLIC in metadata
    assert SECRET in metadata


# Callbacks that change what they are given ----------------------------------------------------------------------------


def changing(change: Callable[[dict[str, Any]], object], *, fails: bool = False) -> tuple[Document, Decision]:
    """Return a member at a question whose guard changes the profile in place, and the decision of that turn."""

    def guard(turn: Turn[Any]) -> bool:
        change(cast("dict[str, Any]", turn.member.profile))
        if fails:
            raise ArithmeticError
        return True

    states: list[State[Any]] = [State("ask", ask=Text("?"), reads=str), State("end", final=True)]
    bot = Bot(one_flow(states, [Transition("answer", "ask", "end", conditions=[guard])]))
    before = Talk(bot, member_document(profile={"accounts": ["a"], "name": "Ada"})).say("hi").document
    assert before is not None
    return before, decide(bot, before, Message(CHANNEL, "m", "go"), START)


def test_a_decision_keeps_the_parts_to_compare():
    """A decision keeps the parts with which the next document is compared."""
    before, decision = changing(dict.copy)
    assert before.judged is not None
    assert decision.document.judged is not None
    assert decision.document.judged.rules is before.judged.rules
    assert decision.document.judged.plain["profile"] is before.judged.plain["profile"]
    assert dumps_unstructured(decision.document.judged.plain) == decision.raw == encode(decision.document)


def test_a_profile_that_was_changed_in_place_is_judged_again():
    """A profile that was changed in place is validated again, although it is the same object."""
    _, decision = changing(lambda profile: profile.update(accounts="none"))
    assert isinstance(decision.error, InvalidState)
    assert decision.document.profile == {"accounts": ["a"], "name": "Ada"}
    assert decode(decision.raw) == decision.document


@pytest.mark.parametrize("value", [float("nan"), object()], ids=["nan", "object"])
def test_a_profile_that_was_changed_in_place_is_stored_only_where_it_can_be(value: object):
    """A profile that was changed in place to a value that JSON cannot hold, such as NaN, fails the turn."""
    _, decision = changing(lambda profile: profile.update(name=value))
    assert isinstance(decision.error, NotStorable)
    assert decision.document.profile == {"accounts": ["a"], "name": "Ada"}
    assert decode(decision.raw) == decision.document


def test_a_sound_change_in_place_is_stored_as_it_will_be_read():
    """A change in place is stored, but a callback should rather return `turn.changes(member=…)`."""
    _, decision = changing(lambda profile: profile.update(name="Eve", sizes=(1, 2)))
    assert decision.error is None
    assert decision.document.profile == {"accounts": ["a"], "name": "Eve", "sizes": [1, 2]}
    assert decode(decision.raw) == decision.document


def test_a_value_of_an_untyped_profile_that_is_not_read_back_fails_the_turn():
    """An instant in a profile without a class would be a text for the next turn, so that this turn fails."""
    _, decision = changing(lambda profile: profile.update(born=START))
    assert isinstance(decision.error, Misfit)
    assert (decision.error.place, decision.error.path) == ("profile.born", "")
    assert decision.document.profile == {"accounts": ["a"], "name": "Ada"}


def test_a_change_in_place_does_not_outlast_a_failure():
    """After an error only the version and the instant of the document are new."""
    _, decision = changing(lambda profile: profile.update(name="Eve"), fails=True)
    assert isinstance(decision.error, ArithmeticError)
    assert decision.document.profile == {"accounts": ["a"], "name": "Ada"}
    assert decode(decision.raw) == decision.document


@attrs.frozen
class Words:
    """Data with a list, which a callback can change."""

    said: list[str] = attrs.field(factory=list)
    word: str = ""


@attrs.frozen
class Word:
    """Data without mutable values."""

    said: tuple[str, ...] = ()
    word: str = ""


def listening(data: type[Any]) -> tuple[Bot, list[Any]]:
    """Return a bot whose guard sees the flow's data, declines, and appends to the list in it, if there is one."""
    seen: list[Any] = []

    def guard(turn: Turn[Any]) -> bool:
        seen.append(attrs.evolve(turn.data, said=tuple(turn.data.said)))
        if isinstance(turn.data.said, list):
            turn.data.said.append(turn.data.word)
        return False

    states: list[State[Any]] = [State("ask", ask=Text("?"), reads=str, into="word"), State("end", final=True)]
    return Bot(one_flow(states, [Transition("answer", "ask", "end", conditions=[guard])], data=data)), seen


def test_typed_data_that_was_changed_in_place_is_gone_with_the_turn():
    """The next turn reads the stored data, whether the document is cached or not."""
    bot, seen = listening(Words)
    document = Talk(bot, member_document()).say("hi").document
    assert document is not None
    assert document.run is not None
    assert document.run.typed is None
    for number in range(3):
        document = decide(bot, document, Message(CHANNEL, f"m{number}", f"w{number}"), START).document
    assert [data.said for data in seen] == [(), (), ()]


def test_typed_data_that_cannot_change_is_kept():
    """Immutable typed data is kept for the next turn of the same worker, which need not read it again."""
    bot, _ = listening(Word)
    run = Talk(bot, member_document()).say("hi").last.document.run
    assert run is not None
    assert run.typed == Word()


@attrs.frozen
class Aged:
    """A profile with a required age."""

    age: int = 0


def test_a_document_of_another_bot_is_judged_as_a_whole():
    """A document that another bot found valid is validated as a whole."""
    states: list[State[Any]] = [State("ask", ask=Text("?"), reads=str), State("end", final=True)]
    flow = one_flow(states, [Transition("answer", "ask", "end", conditions=[lambda turn: False])])
    document = Talk(Bot(flow), member_document(profile={"age": "old"})).say("hi").document
    with pytest.raises(InvalidState, match="profile is no Aged"):
        decide(Bot(flow, profile=Aged), document, Message(CHANNEL, "m", "x"), START)


PARTS = [field.name for field in attrs.fields(Document) if field.init]


@given(documents(), documents(), st.sets(st.sampled_from(PARTS)))
def test_known_valid_parts_change_no_verdict(one: Document, other: Document, changed: set[str]):
    """A document that shares parts with a valid one has the same faults as without that knowledge."""
    rules = fruit_bot().validator
    assume(rules.validate(one).valid)
    keep_judged(one, document_to_raw(one), rules)
    after = attrs.evolve(one, **{name: getattr(other, name) for name in changed})
    raw, written = rewrite(after, one)
    assert written is not None
    for run in (None, after.run):
        assert rules.validate(raw, written, run) == rules.validate(raw)
    for name in raw:
        broken = {**raw, name: object()}
        assert rules.validate(broken, {*written, name.replace("_run", "flow_data")}) == rules.validate(broken)


def test_every_attribute_of_a_document_outlasts_a_turn():
    """A decision keeps each attribute of the document."""
    kept = {"member_id", "guest", "jwt_token", "authenticated", "profile", "current_account", "channels", "moved"}
    kept |= {"leaving", "opted_out", "reminders", "names", "salt"}
    made = {"channel", "last_updated", "version", "token", "run", "suspended", "call", "outbox", "effects"}
    made |= {"upgraded", "judged", "ahead", "handed", "passing", "heard"}
    session = {"deadline", "session_since", "warn_at"}
    assert {field.name for field in attrs.fields(Document)} == kept | made | session
    document = member_document(
        profile={"name": "Ada"}, current_account={"account_id": "a"}, channels=(Address("sms", "1"),), salt="s",
        names=((Address("sms", "1"), Address("sms", "2")),),
    )  # fmt: skip
    reminder = Reminder("visit", "0", START + timedelta(days=9), ({"text": "x"},))
    document = attrs.evolve(document, opted_out=(OptOut(Address("sms", "1")),), reminders=(reminder,))
    after = Talk(fruit_bot(), document).say("hi").document
    assert after is not None
    assert all(getattr(after, name) == getattr(document, name) for name in kept)
