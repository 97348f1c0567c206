"""The walk: what it covers, what it finds, and that it is the same everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import flows
from tests.bots import Bank, fruit_bot
from vimbiso_fsm import READ_ONLY, Bot, Call, Flow, Refused, State, Text, Transition, Turn, call, failed_with, readers
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.flow.triggers import Trigger
from vimbiso_fsm.messages.told import Paid
from vimbiso_fsm.testing import Conversation, Verdicts, Way, walk
from vimbiso_fsm.testing.approved import approved, conversations_of, differences
from vimbiso_fsm.testing.moments import LATE, Moment, emptied
from vimbiso_fsm.testing.walk_findings import conversation

WHO = [f"whatsapp:26377{number}" for number in ("1000001", "1000002", "1000003", "1000005", "0000001")]


@attrs.frozen
class Data:
    word: str = ""
    times: int = 0


def one(states: list[State[Any]], transitions: list[Transition[Any]], **options: Any) -> Bot:
    """A bot with one flow, whose first state is the initial one."""
    flow = Flow("visit", data=Data, initial=states[0].name, states=states, transitions=transitions, **options)
    return Bot([flow], services={"bank": Bank()})


def codes(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    """The codes and places of findings that are no advice about transitions."""
    return [(each.code, each.place) for each in findings if each.code != "never-fired"]


# What it covers ---------------------------------------------------------------------------------------------------


def test_a_walk_covers_a_bot() -> None:
    """With nothing given but who writes, four of five transitions of VimbisoPay fire, and nothing is found in them."""
    found = walk(flows.bot, [*WHO, "telegram:77"], turns=2_500)
    assert sum(times > 0 for times in found.transitions.values()) >= 105
    assert len(found.never) <= 27
    assert [each for each in found.findings if not each.advice] == []
    assert found.turns == 2_500
    assert not found.exhausted
    assert all(moves > 0 for moves in found.cut.values())
    assert "cut at 2500 turns" in str(found)


def test_a_call_is_answered_with_nothing_to_choose_from() -> None:
    """A call that only reads is answered with empty lists too: each transition of the new bot of an author fires."""
    found = walk("vimbiso_fsm.cli.starter", turns=1_500)
    assert found.never == ()
    assert "* call 1 answers call.empty" in found.approved("visit")


def test_an_answer_without_items() -> None:
    """The items go from the outer lists of an answer, or from the lists within them; no other value changes."""

    @attrs.frozen
    class Shelf:
        name: str = ""
        fruits: tuple[str, ...] = ()

    shelves = (Shelf("left", ("fig",)), Shelf("right"))
    assert emptied(shelves, within=False) == ()
    assert emptied(shelves, within=True) == (Shelf("left"), Shelf("right"))
    assert emptied(["fig"], within=True) == emptied(["fig"], within=False) == []
    for value in ("fig", None, 7, Shelf("left")):
        assert emptied(value, within=True) == emptied(value, within=False) == value


def test_a_walk_reaches_what_a_member_can_reach() -> None:
    """Each transition of a bot with timers, calls, a login, sub-flows and guards fires, and each guard is covered."""
    found = walk(fruit_bot(), turns=1_500)
    assert found.never == ()
    assert found.guards["order", "not_taken"].why == {
        "name.taken": found.guards["order", "not_taken"].why["name.taken"]
    }
    assert found.guards["order", "not_taken"].is_covered
    assert [each for each in found.findings if not each.advice] == []


def test_the_shortest_conversation_leads_to_each_transition() -> None:
    """The conversation of a transition is the shortest, and played by hand it fires the same."""
    bot = one(
        [
            State("first", ask=Text("First?"), reads=str, into="word", examples="one"),
            State("second", ask=Text("Second?")),
            State("end", say=Text("End."), final=True),
        ],
        [
            Transition("answer", "first", "second"),
            Transition("yes", "second", "end"),
        ],
    )
    found = walk(bot)
    assert found.exhausted
    moment = found.conversations[Way("visit", "second", "yes", "end")]
    assert conversation(moment) == ("> hi", "> one", "> [yes]")
    talk = Conversation(bot).say("hi", "one")
    assert talk.place == "visit.second"
    assert talk.press(*talk.shown).said == "End."


def test_a_walk_is_not_exhausted_where_no_typed_answer_passes_a_guard() -> None:
    """It made each move, and says of which guard an example is missing."""

    def is_known(turn: Turn[Any]) -> bool:
        return bool(turn.data.word == "two")

    states: list[State[Any]] = [
        State("first", ask=Text("First?"), reads=str, into="word", examples="one"),
        State("end", say=Text("End."), final=True),
    ]
    ways: list[Transition[Any]] = [Transition("answer", "first", "end", conditions=is_known)]
    found = walk(one(states, ways))
    assert (found.cut, found.declined, found.exhausted) == ({}, (("visit", "is_known"),), False)
    assert "not exhausted" in str(found)
    assert "declined: is_known of visit accepts no answer that was typed; name one in State(examples=…)" in str(found)
    states[0] = State("first", ask=Text("First?"), reads=str, into="word", examples=["one", "two"])
    assert walk(one(states, ways)).exhausted


def test_what_a_channel_tells_and_what_other_systems_pull_are_moves() -> None:
    """A fact of each class that the bot reacts to, and each of its triggers, is told where the member stands."""

    def paid(turn: Turn[Any], fact: Paid) -> Text:
        return Text("Thank you for paying.")

    def broken(turn: Turn[Any], data: object) -> Text:
        return Text(f"It costs {1 // len(turn.flow.removeprefix('visit'))}.")

    flow: Flow[Data] = Flow(
        "visit", data=Data, initial="first",
        states=[State("first", ask=Text("First?")), State("end", say=Text("End."), final=True)],
        transitions=[Transition("go", "first", "end")],
    )  # fmt: skip
    bot = Bot([flow], texts={"visit.first.go": "Go"}, on={Paid: paid}, triggers=[Trigger("price", broken, by="shop")])
    seen: list[Moment] = []
    walk(bot, turns=60, each=seen.append)
    told = next(each for each in seen if each.move is not None and each.move.kind == "tell")
    assert told.keys == ("Thank you for paying.",)
    assert told.place == "visit.first"
    pulled = next(each for each in seen if each.move is not None and each.move.kind == "pull")
    assert isinstance(pulled.error, ZeroDivisionError)
    text = approved(bot, "visit", [told])
    assert "* the channel tells Paid" in text
    assert differences(bot, "visit", text) == ""


def test_an_answer_comes_after_the_time_out() -> None:
    """The call waits for its next round or is given up, and then the answer comes; the effect is made once."""
    seen: list[Moment] = []
    walk(fruit_bot(), turns=1_500, each=seen.append)
    late = [each for each in seen if each.move is not None and (0, LATE) in each.move.answers]
    taken = [each for each in late if any(step.trigger == "done" and step.dest for step in each.steps)]
    assert taken
    assert all(each.error is None for each in late)


def test_two_processes_take_the_same_walk() -> None:
    """The walk depends on neither hash seed nor process."""
    code = (
        "import flows; from vimbiso_fsm.testing import walk; from vimbiso_fsm.testing.walk_findings import *;"
        f"w = walk(flows.bot, {WHO!r}, turns=300); print(w, w.guards, w.findings);"
        "print([(str(way), conversation(at)) for way, at in w.conversations.items()])"
    )
    said = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        said.append(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
    assert said[0] == said[1]
    assert len(said[0]) > 1000


def test_a_walk_is_approved(tmp_path: Path) -> None:
    """`approve` writes a file for each flow, and the conversations in it go the same way when they are played again."""
    bot = fruit_bot()
    files = walk(bot, turns=1_500).approve(tmp_path / "walks")
    assert [file.name for file in files] == ["home.txt", "order.txt", "sign_in.txt", "pick.txt"]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert len(conversations_of(text)) > 0
        assert differences(bot, file.stem, text) == ""
    text = files[1].read_text(encoding="utf-8")
    assert "    x name.taken\n" in text
    assert "-    x name.taken" in differences(bot, "order", text.replace("> taken", "> ada"))
    with pytest.raises(ValueError, match="line 1 is 'nonsense'"):
        conversations_of("nonsense")


# What it finds ----------------------------------------------------------------------------------------------------


def never(_: Turn[Data]) -> bool | Refused:
    """Refuse everything."""
    return Refused("visit.never")


def broken(turn: Turn[Data]) -> bool:
    """Raise where the word is odd."""
    return bool(1 // (turn.data.word != "odd"))


def nothing(turn: Turn[Data]) -> Text:
    """Say nothing where the word is odd."""
    return Text("" if turn.data.word == "odd" else "Well.")


def pay(_: Turn[Data]) -> Call[str | Refused]:
    """Propose to pay."""
    return call(Bank.pay, name="ada", fruit="apple")


def stock(_: Turn[Data]) -> Call[int | Refused]:
    """Propose to read the stock."""
    return call(Bank.stock)


ASK: Any = State("ask", ask=Text("Which?"), reads=str, into="word", examples=["even", "odd"])
END: Any = State("end", say=Text("End."), final=True)


def test_a_trap_is_found() -> None:
    """A question that no answer leads out of is a trap, and the conversation says why the answers were refused."""
    bot = one(
        [ASK, State("stuck", ask=Text("Now?"), reads=str, examples="x"), END],
        [Transition("answer", "ask", "stuck"), Transition("answer", "stuck", "end", conditions=never)],
    )
    (trap,) = [each for each in walk(bot).findings if each.code == "trap"]
    assert (trap.flow, trap.place, trap.advice) == ("visit", "state 'stuck'", False)
    assert trap.line == bot.home["stuck"].made.line
    assert trap.conversation[0] == "> hi"
    assert len(trap.conversation) == 2


def test_a_trap_is_advice_where_the_walk_knows_no_answer() -> None:
    """Without examples of its own, a state may take an answer that the walk does not know."""
    bot = one(
        [State("ask", ask=Text("Amount?"), reads=readers.amount({"USD": 2})), END],
        [Transition("answer", "ask", "end", conditions=never)],
    )
    (trap,) = [each for each in walk(bot).findings if each.code == "trap"]
    assert trap.advice
    assert "State(examples=…)" in trap.remedy


def test_a_transition_that_never_fires_is_named() -> None:
    """It is advice, at the line of the transition."""
    bot = one([ASK, END], [Transition("answer", "ask", "end"), Transition("more", "ask", "end", conditions=never)])
    (found,) = walk(bot).findings
    assert (found.code, found.place, found.advice) == ("never-fired", "more ask -> end", True)
    assert found.line == bot.home.transitions[1].made.line


def test_empty_words_are_found() -> None:
    """A text without words is found where it is said, and so is a message without any reply."""
    says = one([ASK, State("end", say=nothing, final=True)], [Transition("answer", "ask", "end")])
    assert [each.code for each in walk(says).findings] == ["said-empty"]
    silent = one([ASK, State("end", final=True)], [Transition("answer", "ask", "end")])
    assert [each.code for each in walk(silent).findings] == ["sent-empty"]


def test_a_guard_that_raises_is_found() -> None:
    """The finding names the guard, stands at its transition, and shows the answer at which it raises."""
    bot = one([ASK, END], [Transition("answer", "ask", "end", conditions=broken)])
    (found,) = walk(bot).findings
    assert (found.code, found.line) == ("guard-raises", bot.home.transitions[0].made.line)
    assert "guard 'broken' raises ZeroDivisionError" in found.fault
    assert found.conversation == ("> hi", "> odd")


def test_a_callback_that_raises_is_found() -> None:
    """So is another callback, at its state."""
    bot = one([ASK, State("end", say=lambda turn: Text(str(1 // 0)), final=True)], [Transition("answer", "ask", "end")])
    (found,) = [each for each in walk(bot).findings if each.code != "never-fired"]
    assert (found.code, found.place) == ("callback-raises", "state 'ask'")
    assert "say '<lambda>' raises ZeroDivisionError" in found.fault


def test_a_row_of_calls_without_a_question_is_found() -> None:
    """One message that leads from call to call without an end is a loop."""
    bot = one(
        [ASK, State("looking", ask=Text("…"), call=stock, policy=READ_ONLY),
         State("again", ask=Text("…"), call=stock, policy=READ_ONLY), END],
        [
            Transition("answer", "ask", "looking"),
            Transition("done", "looking", "again"), Transition("failed", "looking", "end"),
            Transition("done", "again", "looking"), Transition("failed", "again", "end"),
        ],
    )  # fmt: skip
    assert "loop" in [code for code, _ in codes(walk(bot).findings)]


def test_an_effect_that_happens_twice_is_found() -> None:
    """One message that leads to the same call twice, with two keys, is found."""
    bot = one(
        [ASK, State("paying", ask=Text("…"), call=pay), State("more", ask=Text("…"), call=pay), END],
        [
            Transition("answer", "ask", "paying"),
            Transition("done", "paying", "more"), Transition("failed", "paying", "end"),
            Transition("done", "more", "end"), Transition("failed", "more", "end"),
        ],
    )  # fmt: skip
    assert codes(walk(bot).findings) == [("effect-twice", "state 'more'")]


def test_the_answers_of_calls_are_tried() -> None:
    """The walk refuses a call with each code that a transition names, with another one, and loses the answer."""
    bot = one(
        [ASK, State("paying", ask=Text("…"), call=pay), State("gone", ask=Text("Gone.")), END],
        [
            Transition("answer", "ask", "paying"),
            Transition("done", "paying", "end"),
            Transition("failed", "paying", "gone", conditions=failed_with("bank.gone")),
            Transition("failed", "paying", "ask"),
            Transition("on", "gone", "end"),
        ],
    )  # fmt: skip
    found = walk(bot)
    assert found.never == ()
    assert isinstance(found.guards["visit", "because bank.gone"], Verdicts)
    assert found.guards["visit", "because bank.gone"].is_covered


class Strict(Bank):
    """A bank that refuses everybody."""

    def stock(self, *, caller: Any = None) -> int | Refused:
        return Refused("bank.closed")


def test_a_call_that_the_service_refuses_is_also_done() -> None:
    """Where the service refuses, the walk goes on with an answer of the annotated type as well."""
    flow = Flow(
        "visit", data=Data, initial="ask",
        states=[ASK, State("looking", ask=Text("…"), call=stock, policy=READ_ONLY, into="times"), END],
        transitions=[
            Transition("answer", "ask", "looking"),
            Transition("done", "looking", "end"), Transition("failed", "looking", "ask"),
        ],
    )  # fmt: skip
    found = walk(Bot([flow], services={"bank": Strict()}))
    assert found.never == ()
    assert "x bank.closed" in (text := found.approved("visit"))
    assert "* call 1 answers call.done" in text


@pytest.mark.parametrize("turns", [0, 1, 7])
def test_the_bound_holds(turns: int) -> None:
    """A walk makes at most the moves that it is bound to, and names what was left over."""
    found = walk(fruit_bot(), turns=turns)
    assert found.turns == turns
    assert found.cut
    assert sum(found.fired.values()) <= 5 * turns


def test_a_walk_leaves_the_bot_as_it_is() -> None:
    """The services of the bot receive no call of a walk."""
    bank = Bank()
    walk(fruit_bot(bank), turns=300)
    assert bank.calls == []


def test_a_moment_knows_its_way() -> None:
    """A moment has the moves from the beginning, and the keys of what was said."""
    found = walk(one([ASK, END], [Transition("answer", "ask", "end")]))
    moment: Moment = found.conversations[Way("visit", "ask", "answer", "end")]
    assert [move.what for move in moment.moves] == ["hi", "even"]
    assert moment.keys[0] == "End."
