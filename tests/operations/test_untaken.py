"""Messages that were answered and not taken: delivered again, each gets its first answer and has no effect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import attrs
import pytest

from tests.digests import token_of
from vimbiso_fsm import Bot, Call, Caller, Flow, Limits, Refused, State, Text, Transition, Turn, call
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.events import CallReturned
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import RunCall
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.store.requests import ReadInherited, ReadRecords
from vimbiso_fsm.store.retention import MAX_DOCUMENT, TOKEN_KEPT, UNTAKEN_KEPT
from vimbiso_fsm.testing.chat import Chat, choices, words


class Ledger(Protocol):
    """The port of the payment service."""

    def pay(self, amount: int, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Pay an amount."""
        ...


class Payments:
    """The payments that were made, by key."""

    def __init__(self) -> None:
        self.amounts: dict[str, int] = {}

    def pay(self, amount: int, *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Pay an amount once for each key."""
        self.amounts.setdefault(caller.key, amount)
        return "receipt"


@attrs.frozen
class Payment:
    """What is paid."""

    amount: int = 0
    receipt: str = ""


def number(text: str) -> int | Refused:
    """Read an amount."""
    return int(text) if text.isdecimal() else Refused("number.format")


def pay(turn: Turn[Payment]) -> Call[str | Refused]:
    """Propose to pay."""
    return call(Ledger.pay, turn.data.amount)


def pay_chat() -> tuple[Chat, Payments]:
    """Return a chat that asks for an amount, and the payments."""
    flow = Flow(
        "pay", data=Payment, initial="amount", late_text="close",
        states=[
            State("amount",  ask=Text("how much?"), reads=number, into="amount"),
            State("confirm", ask=lambda turn: Text("pay {n}?", n=turn.data.amount)),
            State("paying",  ask=Text("working"), call=pay, into="receipt"),
        ],
        transitions=[
            Transition("answer", "amount",  "confirm"),
            Transition("yes",    "confirm", "paying"),
            Transition("no",     "confirm", "amount"),
            Transition("done",   "paying",  "amount"),
            Transition("failed", "paying",  "confirm"),
        ],
    )  # fmt: skip
    payments = Payments()
    bot = Bot([flow], services={"ledger": payments}, session=1e6, limits=Limits(age=60))
    return Chat(bot), payments


def yes_of(asked: Outcome) -> str:
    """Return the id of the button "yes"."""
    [found] = [choice for choice in choices(*asked.replies).values() if choice.endswith("yes")]
    return found


# Each kind of message that is answered and not taken ------------------------------------------------------------------


def said_while_a_call_is_pending(chat: Chat) -> Message:
    """Say "yes" to the text that a call is pending."""
    chat.say("hi", "100")
    confirming = chat.begin(chat.message("yes"), cache=Cache())
    while not isinstance(confirming.request, RunCall):
        chat.step(confirming)
    message = chat.message("yes")
    chat.handle(message)
    assert chat.words == ["working"]
    chat.finish(confirming)
    return message


def pressed_after_its_question(chat: Chat) -> Message:
    """Press the button of a question that is over."""
    asked = chat.say("hi", "100")
    chat.say("no")
    message = chat.message(choice=yes_of(asked))
    chat.handle(message)
    assert chat.words[0].startswith("That question is closed")
    return message


def sent_before_its_question(chat: Chat) -> Message:
    """Type a text that was sent before the question was asked."""
    chat.say("hi")
    message = chat.message("yes")
    waiting = chat.begin(message, cache=Cache())
    chat.wait(2).say("100")
    chat._paused += 3  # seconds it has waited when it is decided
    chat.wait(1)
    chat.outcome = chat.finish(waiting)
    assert chat.words[0].startswith("That came when the question before was over")
    return message


def sent_too_long_ago(chat: Chat) -> Message:
    """Type a text that its channel sent too long ago."""
    chat.say("hi")
    message = chat.message("yes", sent_at=instant(chat.clock()) - timedelta(seconds=61))
    chat.handle(message)
    assert len(chat.words) == 2
    return message


def sent_without_room(chat: Chat) -> Message:
    """Type a text when the document has room for nothing, and free it afterwards."""
    chat.say("hi", "100", *["no", "100"] * 3)
    document = chat.document()  # of version 8: the next one has room, and the one after it needs one digit more
    emptied = attrs.evolve(document, version=document.version + 1, profile={"x": ""})
    chat.plant(attrs.evolve(emptied, profile={"x": "y" * (MAX_DOCUMENT - len(encode(emptied)))}))
    message = chat.message("yes")
    chat.handle(message)
    assert "nothing was changed" in chat.words[0]
    chat.plant(attrs.evolve(document, version=document.version + 2))
    return message


UNTAKEN = [
    said_while_a_call_is_pending,
    pressed_after_its_question,
    sent_before_its_question,
    sent_too_long_ago,
    sent_without_room,
]


@pytest.mark.parametrize("untaken", UNTAKEN, ids=lambda kind: kind.__name__)
def test_a_message_that_was_not_taken_keeps_its_first_answer(untaken: Callable[[Chat], Message]):
    """A message that was not taken changes nothing when it comes again, though its words would fit the question now."""
    chat, payments = pay_chat()
    message = untaken(chat)
    first = chat.words
    run = chat.document().run
    chat.say(*["no"] * (run is not None and run.step == "confirm"), "999")
    assert chat.words == ["pay 999?"]
    before, paid = chat.stored(), dict(payments.amounts)
    again = chat.handle(message)
    assert (again.status, words(again.replies)) == ("duplicate", first)
    assert (attrs.evolve(chat.stored(), at=before.at), payments.amounts) == (before, paid)


@pytest.mark.parametrize("untaken", UNTAKEN, ids=lambda kind: kind.__name__)
def test_a_message_that_was_not_taken_changes_no_document(untaken: Callable[[Chat], Message]):
    """Of a message that was not taken, only its token and its record are stored: no version, no audit entry."""
    chat, _ = pay_chat()
    message = untaken(chat)
    kept = [record for record in chat.store.perform(ReadRecords(chat.member_id())) if not record.root]
    assert [record.token for record in kept] == [token_of(message)]
    assert token_of(message) in dict(chat.store.perform(ReadInherited(chat.member_id())).tokens)
    assert all(token_of(message).encode() not in entry.body for entry in chat.entries())
    assert len(chat.entries()) == chat.stored().head.version


def test_the_words_of_a_message_that_was_not_taken_cannot_be_exchanged():
    """A message id that was answered and not taken is refused with other content, like that of a turn."""
    chat, payments = pay_chat()
    message = said_while_a_call_is_pending(chat)
    chat.say("999")
    assert chat.handle(attrs.evolve(message, text="YES")).status == "refused"
    assert list(payments.amounts.values()) == [100]


def test_many_messages_that_were_not_taken_leave_the_records_of_turns():
    """Messages that were not taken keep few records, and their tokens live as long as those of turns."""
    chat, _ = pay_chat()
    asked = chat.say("hi", "100")
    chat.say("no")
    turns = [record.token for record in chat.store.perform(ReadRecords(chat.member_id()))]
    pressed = [chat.message(choice=yes_of(asked)) for _ in range(30)]
    for message in pressed:
        assert chat.handle(message).status == "ignored"
    records = chat.store.perform(ReadRecords(chat.member_id()))
    assert [record.token for record in records if record.root] == turns
    assert len(records) == len(turns) + UNTAKEN_KEPT
    assert [chat.handle(message).status for message in pressed] == ["duplicate"] * 30
    chat.wait(TOKEN_KEPT + 1)
    assert chat.handle(pressed[0]).status == "ignored"


def test_an_event_that_is_ignored_is_not_remembered():
    """The answer of a call that is not the pending one stores nothing, so that it can still be the right one later."""
    chat, _ = pay_chat()
    chat.say("hi")
    before = chat.store.perform(ReadInherited(chat.member_id()))
    chat.wake(answer=CallReturned("another call", "its root"))
    assert chat.store.perform(ReadInherited(chat.member_id())) == before
