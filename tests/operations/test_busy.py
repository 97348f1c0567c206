"""Services that take no call: an answer is refused before its turn is stored, and due work rests."""

from __future__ import annotations

from typing import Any

from tests.flow.test_tokens import shopping
from tests.hostile.kit import MemoryLedger, pay_bot
from vimbiso_fsm.audit.entries import AuditEntry, unseal
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, CallPolicy, call
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.refusals import Refused, Unreachable
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import DELIVERY, RunCall
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.testing.chat import Chat, Held, choices

BUSY = "That is not possible right now. Please try again in a minute."


def asked(**policy: Any) -> tuple[Chat, MemoryLedger]:
    """Return a chat whose member is asked to confirm a payment, and the ledger."""
    ledger = MemoryLedger()
    chat = Chat(pay_bot(ledger, policy=CallPolicy(**policy)))
    chat.say("hi", "5")
    return chat, ledger


def step(chat: Chat) -> str:
    """Return the state of the member's run."""
    run = chat.document().run
    assert run is not None
    return run.step


def calls(chat: Chat, service: str) -> list[str]:
    """Return the calls that a service has received."""
    found: Any = chat.bot.services[service]
    return list(found.calls)


def latest(chat: Chat) -> AuditEntry:
    """Return the latest audit entry."""
    return unseal(chat.entries()[-1])


# A member who answers a question --------------------------------------------------------------------------------------


def test_a_confirmation_is_refused_before_the_commit_and_its_button_stays_valid():
    """While the service is busy, a confirmation is answered with "not now"; the same button confirms later."""
    chat, ledger = asked()
    assert chat.outcome is not None
    before, button = chat.document(), choices(*chat.outcome.replies)["pay.confirm.yes"]
    chat.busy = {"ledger"}
    outcome = chat.handle(chat.message(choice=button))
    assert outcome.status == "refused"
    assert chat.words == [BUSY, "pay 5?"]
    assert choices(*outcome.replies)["pay.confirm.yes"] == button
    after = chat.document()
    assert (after.call, after.run, after.effects) == (None, before.run, before.effects)
    assert (latest(chat).kind, latest(chat).codes) == ("refusal", ("call.busy",))
    assert ledger.calls == 0
    chat.busy = set()
    chat.handle(chat.message(choice=button))
    assert ledger.amounts == [5]
    chat.check()


def test_a_confirmation_that_was_refused_is_not_taken_when_it_is_delivered_again():
    """A confirmation that was answered with "not now" gets the same answer again, also when the service is there."""
    chat, ledger = asked()
    chat.busy = {"ledger"}
    message = chat.message("yes")
    chat.handle(message)
    chat.busy = set()
    assert chat.handle(message).status == "duplicate"
    assert chat.words == [BUSY, "pay 5?"]
    assert ledger.calls == 0


def test_a_service_that_is_busy_is_no_refused_answer():
    """However often the service is busy, the member is neither given help nor offered the menu for it."""
    chat, _ = asked()
    chat.busy = {"ledger"}
    for _ in range(8):
        chat.say("yes")
        assert chat.words == [BUSY, "pay 5?"]
    run = chat.document().run
    assert run is not None
    assert run.attempts == 0


def test_other_services_are_called_meanwhile():
    """A busy service keeps no call from another one."""
    chat, ledger = asked()
    chat.busy = {"bank"}
    chat.say("yes")
    assert ledger.amounts == [5]


# Two calls in a row ---------------------------------------------------------------------------------------------------


class Shop:
    """A service."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def price(self) -> str:
        """Return a price."""
        self.calls.append("price")
        return "5"


class Till:
    """Another service."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pay(self) -> str:
        """Pay."""
        self.calls.append("pay")
        return "receipt"

    def look(self) -> str:
        """Read something."""
        self.calls.append("look")
        return "seen"


def _price(turn: Turn[NoData]) -> Call[str]:
    return call(Shop.price)


def _pay(turn: Turn[NoData]) -> Call[str]:
    return call(Till.pay)


def _look(turn: Turn[NoData]) -> Call[str]:
    return call(Till.look)


def two_calls() -> Bot:
    """A bot that asks, reads a price and pays."""
    flow = Flow(
        "buy",
        initial="ask",
        states=[
            State("ask", ask=Text("Buy?")),
            State("pricing", ask=Text("Reading."), call=_price, policy=READ_ONLY),
            State("paying", ask=Text("Paying."), call=_pay),
            State("missed", ask=Text("Not bought. Again?")),
            State("bought", say=Text("Bought."), final=True),
        ],
        transitions=[
            Transition("yes", ["ask", "missed"], "pricing"),
            Transition("done", "pricing", "paying"),
            Transition("failed", "pricing", "missed"),
            Transition("done", "paying", "bought"),
            Transition("failed", "paying", "missed"),
        ],
    )
    return Bot([flow], services={"shop": Shop(), "till": Till()})


def test_an_answer_that_leads_to_a_reading_call_is_refused():
    """A call that only reads is not begun either: the member stays at the question."""
    chat = Chat(two_calls())
    chat.say("hi")
    chat.busy = {"shop"}
    chat.say("yes")
    assert chat.words == [BUSY, "Buy?"]
    assert calls(chat, "shop") == []


def test_a_call_that_follows_another_one_fails_with_the_reason():
    """The answer of a call is a fact and is taken; the next call is not made, and its flow gets `failed`."""
    chat = Chat(two_calls())
    chat.say("hi")
    chat.busy = {"till"}
    chat.say("yes")
    assert chat.words == [BUSY, "Not bought. Again?"]
    assert (calls(chat, "shop"), calls(chat, "till")) == (["price"], [])
    assert (chat.document().call, chat.document().effects) == (None, ())
    chat.busy = set()
    chat.say("yes")
    assert chat.words[-1:] != [BUSY]
    assert calls(chat, "till") == ["pay"]
    chat.check()


def test_a_flow_that_leads_back_to_a_busy_service_is_stopped():
    """A flow whose `failed` leads to the same busy service again and again fails, and does not go on for ever."""
    flow = Flow(
        "again",
        initial="ask",
        states=[
            State("ask", ask=Text("Buy?")),
            State("pricing", ask=Text("Reading."), call=_price, policy=READ_ONLY),
            State("paying", ask=Text("Looking."), call=_look, policy=READ_ONLY),
            State("bought", say=Text("Bought."), final=True),
        ],
        transitions=[
            Transition("yes", "ask", "pricing"),
            Transition(["done", "failed"], "pricing", "paying"),
            Transition("failed", "paying", "paying"),
            Transition("done", "paying", "bought"),
        ],
    )
    chat = Chat(Bot([flow], services={"shop": Shop(), "till": Till()}))
    chat.say("hi")
    chat.busy = {"till"}
    held = chat.end(chat.begin(chat.message("yes")))
    assert [type(error).__name__ for _, error in held.errors] == ["Stuck"]
    assert calls(chat, "till") == []


# Calls that are pending, and due work ---------------------------------------------------------------------------------


def test_a_message_while_the_call_rests_is_answered_and_takes_nothing_up():
    """A message takes a call of unknown outcome up again only if the service takes it; nothing is stored otherwise."""
    chat, ledger = asked(attempts=1)
    ledger._hook = _fails
    chat.say("yes")
    chat.wait(5)
    before, calls = chat.document(), ledger.calls
    chat.busy = {"ledger"}
    chat.say("hello?")
    assert chat.words == ["working"]
    assert (chat.document(), ledger.calls) == (before, calls)


def test_a_call_that_is_due_rests_while_its_service_is_busy():
    """A worker takes a call up when its service is there; what is not made is not counted as a round."""
    chat, ledger = asked(attempts=1, rounds=2)
    ledger._hook = _fails
    chat.say("yes")
    before = chat.document()
    chat.busy = {"ledger"}
    for _ in range(5):
        chat.wait(100)
        chat.wake()
        at = chat.wakes_at()
        assert at is not None
        assert at.timestamp() > chat.clock.at
    assert chat.document() == before
    ledger._hook = _accepts
    chat.busy = set()
    chat.wait(100)
    chat.wake()
    assert ledger.amounts == [5]
    assert step(chat) == "amount"


def test_a_timer_that_leads_to_a_call_rests_while_the_service_is_busy():
    """A timer whose transition leads to a busy service stays due, and fires once when the service is there."""
    flow = Flow(
        "late",
        initial="ask",
        states=[
            State("ask", ask=Text("Buy?"), timeout=60),
            State("paying", ask=Text("Paying."), call=_pay),
            State("bought", say=Text("Bought."), final=True),
        ],
        transitions=[
            Transition(["yes", "timeout"], "ask", "paying"),
            Transition("done", "paying", "bought"),
            Transition("failed", "paying", "ask"),
        ],
    )
    chat = Chat(Bot([flow], services={"till": Till()}, session=1e6))
    chat.say("hi")
    before = chat.document()
    chat.busy = {"till"}
    chat.wait(61)
    chat.wake()
    assert chat.document() == before
    chat.busy = set()
    chat.wait(61)
    chat.wake()
    assert calls(chat, "till") == ["pay"]


def test_the_first_message_goes_the_way_of_a_failed_call():
    """Where the member has no question to stay at, the call that the first state makes fails with the reason."""
    flow = Flow(
        "home",
        initial="reading",
        states=[
            State("reading", ask=Text("Reading."), call=_price, policy=READ_ONLY),
            State("shown", ask=Text("Here you are."), reads=str),
            State("dark", ask=Text("We cannot show it."), reads=str),
        ],
        transitions=[
            Transition("done", "reading", "shown"),
            Transition("failed", "reading", "dark"),
            Transition("answer", ["shown", "dark"], "reading"),
        ],
    )
    chat = Chat(Bot([flow], services={"shop": Shop()}))
    chat.busy = {"shop"}
    chat.say("hi")
    assert chat.words == [BUSY, "We cannot show it."]
    chat.busy = set()
    chat.say("again")
    assert chat.words[-1] == "Here you are."


def test_a_login_token_that_cannot_be_renewed_now_refuses_the_answer():
    """If the service that renews the login token is busy, the answer that needs the renewal is refused."""
    chat, office = shopping()
    chat.wait(400)
    chat.busy = {"office"}
    chat.say("pay")
    assert chat.words[0] == BUSY
    assert (office.asked, chat.document().call) == ([], None)
    chat.busy = set()
    chat.say("pay")
    assert office.asked == ["login", "pay"]


# Calls that were not begun --------------------------------------------------------------------------------------------


def begun(chat: Chat) -> Held[Outcome]:
    """Confirm the payment, up to the call."""
    held = chat.begin(chat.message("yes"), cache=Cache(0))
    while not isinstance(held.request, RunCall):
        chat.step(held)
    return held


def test_a_call_that_was_not_begun_leaves_no_doubt():
    """A worker that comes to its call after the lease takes it up again, and is the only one that tries it."""
    chat, ledger = asked(attempts=1)
    held = begun(chat)
    for _ in range(3):
        chat.wait(10_000)
        chat.step(held)  # the lease is over, and the call is taken up again
        while not isinstance(held.request, RunCall):
            chat.step(held)
        assert not held.request.in_doubt
    ledger._hook = lambda: Unreachable("call.failed")
    chat.finish(held)
    assert (chat.document().call, step(chat)) == (None, "confirm")
    assert ledger.amounts == []


def test_a_call_of_a_worker_that_died_stays_in_doubt():
    """Another worker cannot tell whether the call was begun, so a try without an effect says nothing of it."""
    chat, ledger = asked(attempts=1)
    begun(chat)
    ledger._hook = lambda: Unreachable("call.failed")
    chat.wait(10_000).wake()
    assert chat.document().call is not None


# Deliveries -----------------------------------------------------------------------------------------------------------


def told_late() -> Chat:
    """Return a chat with a member whose timer has replies, and a worker that delivers."""
    flow: Flow[NoData] = Flow(
        "late",
        initial="ask",
        states=[State("ask", ask=Text("Buy?"), timeout=60), State("gone", ask=Text("Gone. Again?"))],
        transitions=[Transition("timeout", "ask", "gone"), Transition("yes", ["ask", "gone"], "ask")],
    )
    chat = Chat(Bot([flow], session=1e6))
    chat.delivers = True
    chat.say("hi")
    chat.wait(61)
    return chat


def test_a_delivery_without_a_free_thread_is_no_try():
    """While no thread is free, replies wait without a try, a lease or a turn; they are delivered once one is free."""
    chat = told_late()
    chat.busy = {DELIVERY}
    chat.wake()
    waiting = chat.document()
    assert [(each.tries, each.leased_until) for each in waiting.outbox] == [(0, None)]
    assert latest(chat).kind == "timer"
    for _ in range(2 * DELIVERY_TRIES):
        at = chat.wakes_at()
        assert at is not None
        assert at.timestamp() > chat.clock.at
        chat.wait(at.timestamp() - chat.clock.at).wake()
    assert chat.document() == waiting
    chat.busy = set()
    chat.wait(60).wake()
    assert chat.taken == ["Gone. Again?"]
    assert chat.document().outbox == ()
    chat.check()


def test_a_delivery_that_failed_rests_without_a_further_try_while_no_thread_is_free():
    """What is due again counts its tries on from the last one that was made."""
    chat = told_late()
    chat.plan = [ConnectionError("nothing was sent")]
    chat.wake()
    assert [each.tries for each in chat.document().outbox] == [1]
    chat.busy = {DELIVERY}
    chat.wait(3600).wake()
    assert [each.tries for each in chat.document().outbox] == [1]
    chat.busy = set()
    chat.wait(60).wake()
    assert chat.taken == ["Gone. Again?"]


def _fails() -> Refused | None:
    raise ConnectionError


def _accepts() -> Refused | None:
    return None
