"""Fences, keys and tokens: what they are made of, and what another decision shares with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import attrs
import pytest

from tests.bots import fruit_bot, member_document
from tests.digests import token_of
from vimbiso_fsm import SECRET, Bot, Call, Caller, Flow, Message, Refused, Row, State, Text, Transition, Turn, call
from vimbiso_fsm.channels import telegram
from vimbiso_fsm.document.codec import document_from_raw, document_to_raw, encode
from vimbiso_fsm.document.document import Document, Moved
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import SessionEnding, SessionExpired, StateTimeout
from vimbiso_fsm.engine.schedule import due
from vimbiso_fsm.operations.promote import promotion_token
from vimbiso_fsm.testing.chat import CHANNEL, START, Talk, choices

ANYBODY = Caller()


class Ledger(Protocol):
    """The port of the payment service."""

    def pay(self, amount: int, pin: str, note: str, *, caller: Caller = ANYBODY) -> str | Refused:
        """Pay an amount."""
        ...


@attrs.frozen
class Payment:
    """What is paid."""

    pin: str = attrs.field(default="", metadata=SECRET)
    amount: int = 0
    receipt: str = ""


def pay_bot(note: Callable[[], str] = str, *, prepare: Callable[[Turn[Payment]], Payment] | None = None) -> Bot:
    """Return a bot that asks for a PIN and an amount and pays.

    Args:
        note: Makes an argument of the payment that is no part of the data.
        prepare: Prepares the data of the payment.
    """

    def pay(turn: Turn[Payment]) -> Call[str | Refused]:
        return call(Ledger.pay, turn.data.amount, turn.data.pin, note())

    flow = Flow(
        "pay", data=Payment, initial="pin",
        states=[
            State("pin",     ask=Text("PIN?"), reads=str, into="pin"),
            State("amount",  ask=Text("how much?"), reads=int, into="amount"),
            State("confirm", ask=Text("pay?"), timeout=60),
            State("paying",  call=pay, into="receipt"),
        ],
        transitions=[
            Transition("answer",  "pin",     "amount"),
            Transition("answer",  "amount",  "confirm"),
            Transition("yes",     "confirm", "paying", prepare=prepare),
            Transition("timeout", "confirm", "amount"),
            Transition("done",    "paying",  "amount"),
            Transition("failed",  "paying",  "amount"),
        ],
    )  # fmt: skip
    return Bot([flow], services={"ledger": object()}, session=1e6)


def at_confirm(bot: Bot, *, pin: str = "1234") -> Document:
    """Return the document of a guest who is asked to confirm."""
    return Talk(bot).says("hi", pin, "5").state


def decided(bot: Bot, document: Document, id: str = "m", text: str = "yes", after: float = 10) -> Decision:
    """Decide one message."""
    return decide(bot, document, Message(CHANNEL, id, text), START + timedelta(seconds=after))


def key_of(decision: Decision) -> str:
    """Return the key of the call that a decision proposes."""
    assert decision.document.call is not None
    return decision.document.call.key


def fence_of(document: Document) -> str:
    """Return the fence of the current run."""
    assert document.run is not None
    return document.run.fence


def test_one_decision_has_one_key_and_one_fence():
    """The same message on the same document has the same key and fence, at whatever instant it is decided."""
    bot = pay_bot()
    document = at_confirm(bot)
    first, second = decided(bot, document), decided(bot, document, after=30)
    assert (key_of(first), fence_of(first.document)) == (key_of(second), fence_of(second.document))


def test_a_key_holds_no_instant_of_the_data():
    """A message that is decided at another instant has the same key, also where the data holds the instant."""

    def noted(turn: Turn[Payment]) -> Payment:
        return attrs.evolve(turn.data, receipt=turn.now.isoformat())

    bot = pay_bot(prepare=noted)
    document = at_confirm(bot)
    found = [decided(bot, document, after=seconds) for seconds in (10, 30)]
    assert len({fence_of(decision.document) for decision in found}) == 2
    assert len({key_of(decision) for decision in found}) == 1


def test_a_version_is_no_part_of_a_key_and_a_fence():
    """The same message on the same data has the same key and fence, however many commits were made before."""
    bot = pay_bot()
    document = at_confirm(bot)
    first, later = decided(bot, document), decided(bot, attrs.evolve(document, version=99))
    assert (key_of(first), fence_of(first.document)) == (key_of(later), fence_of(later.document))


def test_another_message_has_another_key_and_another_fence():
    """Each message that confirms has a key of its own, and each question that it leads to a fence of its own."""
    bot = pay_bot()
    document = at_confirm(bot)
    found = [decided(bot, document, id) for id in ("m", "n")]
    assert len({key_of(decision) for decision in found}) == 2
    assert len({fence_of(decision.document) for decision in found}) == 2


def test_other_arguments_have_another_key():
    """A call with other arguments has another key, also where the message and the data are the same."""
    notes = itertools.count()
    bot = pay_bot(lambda: f"note {next(notes)}")
    document = at_confirm(bot)
    assert key_of(decided(bot, document)) != key_of(decided(bot, document))


def test_a_secret_cannot_be_guessed_from_a_key_or_a_fence():
    """Neither a key, which services log, nor a fence, which channels see, is made of a secret field."""
    found = [decided(pay_bot(), at_confirm(pay_bot(), pin=pin)) for pin in ("1234", "9876")]
    assert len({key_of(decision) for decision in found}) == 1
    assert len({fence_of(decision.document) for decision in found}) == 1


def test_runs_that_are_asked_in_one_turn_have_fences_of_their_own():
    """A run that is suspended and the run that is begun above it in the same turn have two fences."""
    document = Talk(fruit_bot(), member_document()).says("hi", "order", "ada", "menu").state
    runs = [*document.suspended, document.run]
    fences = [run.fence for run in runs if run is not None]
    assert len(fences) > 1
    assert len({*fences}) == len(fences)


def test_a_fence_leaves_room_for_the_choice():
    """A fence has nine characters: a row with an id of 54 bytes is a button on Telegram, and a longer one is text."""

    def ways(id: str) -> list[bool]:
        flow: Flow[Any] = Flow(
            "one", initial="list",
            states=[State("list", ask=Text("Which?"), rows=lambda turn: [Row(id, "One")]), State("end", final=True)],
            transitions=[Transition("answer", "list", "end")],
        )  # fmt: skip
        talk = Talk(Bot([flow])).say("hi")
        assert len(fence_of(talk.state)) == 9
        return ["reply_markup" in payload for payload in telegram.render(CHANNEL, [talk.question])]

    assert ways("x" * 54) == [True]
    assert ways("é" * 27) == [True]
    assert ways("x" * 55) == [False]


# Documents of before the stamp ----------------------------------------------------------------------------------------


def without_stamps(document: Document) -> Document:
    """Return a document as a release without stamps has stored it."""
    raw = document_to_raw(document)
    raw["_run"] = {name: value for name, value in raw["_run"].items() if name != "stamp"}
    assert "stamp" not in repr(raw)
    return document_from_raw(raw)


def test_a_question_of_before_the_stamp_can_be_answered():
    """A button that an earlier release has shown answers its question once; the next question has a stamp."""
    bot = pay_bot()
    document = without_stamps(at_confirm(bot))
    run = document.run
    assert run is not None
    shown = f"{run.id[-8:]}.{run.entered}.yes"
    assert shown in choices(*Talk(bot, document).say("help").replies).values()
    confirmed = decide(bot, document, Message(CHANNEL, "m", choice=shown), START + timedelta(seconds=10))
    assert confirmed.document.call is not None
    asked = at_confirm(bot)
    closed = decide(bot, asked, Message(CHANNEL, "m", choice=shown), START + timedelta(seconds=10))
    assert (closed.status, closed.document) == ("ignored", asked)


def test_a_timer_of_before_the_stamp_fires():
    """A timer that an earlier release has set fires once."""
    talk = Talk(pay_bot(), without_stamps(at_confirm(pay_bot())))
    talk.now = START
    talk.wait(100).wake()
    assert talk.place == "pay.amount"
    assert talk.state.run is not None
    assert talk.state.run.due is None
    assert fence_of(talk.says("6", "6").state).startswith("!")


def test_a_question_without_choices_and_timer_has_no_stamp():
    """Nothing names the entry of a question that only takes words, so its document is shorter by a stamp."""
    bot = pay_bot()
    talk = Talk(bot, at_confirm(bot))
    shown = fence_of(talk.state) + "yes"
    talk.wait(100).wake()
    assert talk.place == "pay.amount"
    assert b'"stamp"' not in encode(talk.state)
    closed = decide(bot, talk.state, Message(CHANNEL, "late", choice=shown), talk.now)
    assert (closed.status, closed.document) == ("ignored", talk.state)


# Tokens of events -----------------------------------------------------------------------------------------------------


def test_due_work_of_two_members_has_two_tokens():
    """Two members whose sessions end at the same instant have tokens of their own, and so do their deliveries."""
    documents = [Talk(pay_bot()).say("hi").state for _ in range(2)]
    documents[1] = attrs.evolve(documents[1], member_id="m-2")
    assert documents[0].deadline == documents[1].deadline
    tokens = [token_of(event) for document in documents for _, event in due(document)]
    assert len(tokens) > 1
    assert len({*tokens}) == len(tokens)
    assert token_of(SessionExpired(START, "m")) != token_of(SessionEnding(START, "m"))


def test_a_timer_has_the_token_of_its_question():
    """Two entries of one state of one run, with timers of the same instant, have two tokens."""
    assert token_of(StateTimeout("pay:1", "!aaaaaaaa", START)) != token_of(StateTimeout("pay:1", "!bbbbbbbb", START))


@pytest.mark.parametrize("token", ["", "t"])
def test_a_promotion_has_the_token_of_its_turn(token: str):
    """A guest that becomes a member again after a copy was restored is merged again, though the version is the same."""
    other = promotion_token("guest", Moved("m-1", 3, token="another"))
    assert promotion_token("guest", Moved("m-1", 3, token=token)) != other
