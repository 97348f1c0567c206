"""Renewal of login tokens under faults: no call is made twice, and no call in doubt is reported as "not done"."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.flow.test_tokens import Office, a_bot, log_in, logged_in, login, paid, shopping
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.codec import decode
from vimbiso_fsm.engine.commit import commit_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import CallPolicy
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.tokens import Tokens
from vimbiso_fsm.flow.turn import Turn, authenticated
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.update import updated
from vimbiso_fsm.runtime.services import with_retries, with_retries_async
from vimbiso_fsm.store.requests import Load, Stored
from vimbiso_fsm.testing.chat import Chat, words

LOST = ConnectionError("the answer was lost")
NO = Refused("unauthorised")
NOT_DONE = ("was not sent", "unauthorised", "cannot do that")


class PaysAndLoses(Office):
    """A service that makes payments and loses the replies of the first `lost`."""

    lost = 1

    def _paid(self, key: str) -> str:
        super()._paid(key)
        self.lost -= 1
        if self.lost >= 0:
            raise LOST
        return "paid"


@attrs.frozen
class Amount:
    """The amount to be paid."""

    amount: str = ""


def confirming(office: Office, **options: Any) -> Chat:
    """A member who has just logged in and is about to confirm a payment."""
    flow: Flow[Any] = Flow(
        "shop", data=Amount, initial="amount", requires=[authenticated],
        states=[
            State("amount", ask=Text("How much?"), reads=str, into="amount"),
            State("confirm", ask=Text("Sure?")),
            State("paying", call=paid),
            State("unsure", ask=Text("Perhaps."), reads=str),
            State("done", say=Text("Done."), final=True),
        ],
        transitions=[
            Transition("answer", "amount", "confirm"),
            Transition("yes", "confirm", "paying"),
            Transition("done", "paying", "done"),
            Transition("failed", "paying", "unsure", conditions=is_unsure),
            Transition("failed", "paying", "confirm"),
            Transition("answer", "unsure", "unsure"),
        ],
    )  # fmt: skip
    settings: dict[str, Any] = {"session": 100_000, **options}
    chat = Chat(attrs.evolve(a_bot(office), flows=[flow, login], home=flow, **settings))
    chat.say("hi", "5")
    office.calls.clear()
    return chat


def is_unsure(turn: Turn[Any]) -> bool:
    """Accept if the outcome of the call is unknown."""
    return turn.reason is not None and turn.reason.code == "call.unsure"


def pays(office: Office) -> set[str]:
    """The keys with which payments were requested."""
    return {key for name, key, _ in office.calls if name == "pay"}


# What may have been made ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["nobody", NO, Refused("core.down"), ConnectionError("down"), "no token"])
def test_a_call_that_may_have_been_made_is_completed(answer: Any):
    """A payment in doubt is not reported as "not sent" when no token can be had. No second payment is confirmed."""
    office = PaysAndLoses()
    chat = confirming(office, session=300.0)
    chat.say("yes")
    assert len(office.paid) == 1
    office.answers["login"] = [answer] * 40
    chat.wait(400)
    for _ in range(12):
        chat.wait(100).wake()
    office.answers.clear()
    told = [*chat.words, *chat.taken]
    for _ in range(4):
        told += words(chat.wait(400).say("yes").replies)
    assert not [word for word in told if any(lie in word for lie in NOT_DONE)]
    assert (len(office.paid), pays(office)) == (1, office.paid)


def test_a_401_with_a_new_token_says_nothing_of_an_earlier_try():
    """A 401 after a renewal leaves the outcome of an earlier try unknown."""
    office = PaysAndLoses()
    chat = confirming(office)
    chat.say("yes")
    office.answers["pay"] = [NO, NO]
    chat.wait(10).wake()
    assert office.asked == ["pay", "pay", "login", "pay"]
    assert chat.document().call is not None
    chat.wait(60).wake()
    assert chat.document().call is None
    assert (len(office.paid), pays(office)) == (1, office.paid)


def test_repeated_401s_after_an_unknown_outcome_end_in_doubt():
    """A call in doubt that is always answered 401 fails with `policy.given_up`."""
    office = PaysAndLoses()
    chat = confirming(office)
    chat.say("yes")
    office.answers["pay"] = [NO] * 100
    for _ in range(20):
        chat.wait(100).wake()
    document = chat.document()
    assert document.call is None
    assert document.run is not None
    assert document.run.step == "unsure"


def test_requires_does_not_stop_the_question_about_a_call_in_doubt():
    """The outcome of a call in doubt is asked for with its key, even if the flow's `requires` no longer holds."""
    office = PaysAndLoses()

    def renewed(turn: Turn[Any]) -> Any:
        return turn.changes(member=attrs.evolve(logged_in(turn).member, profile={"of_age": False}))

    chat = Chat(attrs.evolve(a_bot(office), tokens=Tokens(log_in, renewed)))
    chat.say("hi", "pay")
    assert chat.document().call is not None
    chat.wait(400).wake()
    assert chat.document().call is None
    assert (office.asked[-2:], pays(office)) == (["login", "pay"], office.paid)
    assert [entry for entry in map(unseal, chat.entries()) if "too.young" in entry.codes] == []


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("fate", [[LOST, NO], [LOST, NO, NO], [LOST, LOST, NO]])
def test_a_401_says_nothing_of_an_earlier_attempt(kind: str, fate: list[Any]):
    """A 401 after an attempt that raised leaves the outcome unknown, also within one try."""
    waiting = [*fate]

    def pay() -> Any:
        answer = waiting.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    policy = CallPolicy(pause=0)

    def refuses(result: object) -> bool:
        return result == NO

    def go() -> object:
        return asyncio.run(with_retries_async(pay, policy, refuses))

    assert (with_retries(pay, policy, refuses) if kind == "sync" else go()) is LOST


def test_a_401_at_the_first_attempt_is_one():
    """A 401 at the first attempt is the outcome of the call."""
    assert with_retries(lambda: NO, CallPolicy(), lambda result: result == NO) == NO


def test_an_old_401_does_not_end_the_call_of_another_worker():
    """A late worker whose call was answered 401 does not end a call that another worker has taken up."""
    chat, office = shopping()
    slow = chat.begin(chat.wait(400).message("pay"))
    while office.asked != ["login"]:
        chat.step(slow)
    while type(slow.request).__name__ != "RunCall":
        chat.step(slow)
    chat.wait(100)
    quick = chat.waking(cache=None)
    while type(quick.request).__name__ != "RunCall":
        chat.step(quick)
    office.answers["pay"] = [NO]
    chat.finish(slow)
    document = chat.document()
    assert (document.call and document.call.tries) == 2
    chat.end(quick)
    assert chat.document().call is None
    assert len(office.paid) == 1


# Logged out meanwhile, logged in just now ----------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["late", "refused"])
def test_a_logout_in_the_middle_of_a_renewal_is_final(when: str):
    """After a logout during a renewal, the new token is not stored."""
    chat, office = shopping()
    if when == "late":
        chat.wait(400)
    else:
        office.answers["pay"] = [NO]
    exchange = chat.begin(chat.message("pay"))
    while not (type(exchange.request).__name__ == "RunCall" and getattr(exchange.request, "renews", False)):
        chat.step(exchange)
    log_out(chat)
    office.answers["login"] = [None, Refused("core.down")]  # the renewal's answer is a token
    chat.finish(exchange)
    document = chat.document()
    assert (document.jwt_token, document.authenticated, office.paid) == (None, False, set())


def test_a_logout_before_a_401_renews_nothing():
    """After a logout, a 401 causes no renewal."""
    chat, office = shopping()
    exchange = chat.begin(chat.message("pay"))
    while type(exchange.request).__name__ != "RunCall":
        chat.step(exchange)
    log_out(chat)
    office.answers["pay"] = [NO]
    office.answers["login"] = [Refused("core.down")]
    chat.finish(exchange)
    assert chat.document().jwt_token is None
    assert [name for name, key, _ in office.calls if name == "login" and key == office.calls[1][1]] == ["login"]


def log_out(chat: Chat) -> None:
    """Clear the login token, as an operator does."""
    found = chat.store.perform(Load("m-1"))
    assert isinstance(found, Stored)
    assert found.document is not None
    before = decode(found.document)
    after = attrs.evolve(before, jwt_token=None, authenticated=False)
    decision = updated(
        chat.bot, before, after, f"logout-{found.head.version}", chat.clock.at, version=found.head.version
    )
    assert type(chat.store.perform(commit_of(decision, found.head))).__name__ == "Committed"


def test_a_token_from_the_login_just_now_is_not_renewed():
    """A token of a login in the same turn is not renewed; the flow reads the reason, and the loop ends."""
    chat, office = shopping()
    office.answers["pay"] = [NO] * 100
    office.answers["login"] = [NO, None] * 50
    chat.say("pay")
    for _ in range(5):
        chat.wait(100).wake()
    assert chat.document().call is None
    assert office.asked == ["pay", "login", "login", "pay"]
    assert "unauthorised" in chat.words


asking_login: Flow[Any] = Flow(
    "login", initial="pin",
    states=[
        State("pin", ask=Text("Your PIN?"), reads=str),
        State("asking", call=log_in, policy=CallPolicy(rounds=1, effect=False)),
        State("told", ask=Text("Read this."), reads=str),
        State("known", final=True),
    ],
    transitions=[
        Transition("answer", "pin", "asking"),
        Transition("done", "asking", "told", prepare=logged_in),
        Transition("failed", "asking", "pin"),
        Transition("answer", "told", "known"),
    ],
)  # fmt: skip


def asking_shop(office: Office) -> Chat:
    """A member who is asked for a PIN, and has to confirm a notice before the login ends."""
    bot = Bot([a_bot(office).home, asking_login], entry=asking_login, services={"office": office}, session=100_000)
    chat = Chat(attrs.evolve(bot, tokens=Tokens(log_in, logged_in)))
    chat.say("hi", "1234", "read")
    office.calls.clear()
    return chat


@pytest.mark.parametrize("fate", [[NO, NO], [NO, LOST, LOST, LOST], [NO, LOST]])
@pytest.mark.parametrize("trigger", ["pay", "look"])
def test_a_call_made_again_after_the_login_goes_on_counting(fate: list[Any], trigger: str):
    """A call that is made again after a login has another try number, so an old answer is not taken for its own."""
    office = Office()
    chat = asking_shop(office)
    office.answers[trigger] = [*fate]
    office.answers["login"] = [NO]
    chat.say(trigger)
    assert chat.words[-1] == "Your PIN?"
    chat.say("1234", "read")
    for _ in range(12):
        chat.wait(100).wake()
        chat.check()
        at, now = chat.wakes_at(), chat.clock.at
        assert at is None or at.timestamp() > now, "woken for nothing"
    assert chat.document().call is None
    assert trigger == "look" or len(office.paid) <= 1


def test_a_worker_that_dies_before_a_refused_renewal_is_replaced():
    """A call that was taken up and then led through the login is taken up again after a second death."""
    office = Office()
    chat = asking_shop(office)
    dead = chat.begin(chat.message("look"))
    while type(dead.request).__name__ != "RunCall":
        chat.step(dead)
    office.answers["login"] = [NO]
    chat.wait(400).wake()
    assert chat.document().call is None
    chat.say("well?")  # without a delivery the PIN is asked for only now
    chat.say("1234")
    dead = chat.begin(chat.message("read"))
    while type(dead.request).__name__ != "RunCall":
        chat.step(dead)
    chat.wait(100).wake()
    assert chat.document().call is None
    assert office.asked[-1] == "look"


def test_a_wrong_pin_is_asked_for_once():
    """A refusal of a call of the entry flow is its answer, and causes no renewal of an old token."""
    office = Office()
    chat = asking_shop(office)
    chat.bot = attrs.evolve(chat.bot, home=asking_login)
    chat.plant(attrs.evolve(chat.document(), run=None, suspended=(), version=chat.document().version + 1))
    chat.cache.forget("m-1")
    office.answers["login"] = [NO, NO, NO]
    chat.say("hi", "0000")
    assert office.asked == ["login"]


# Nobody gets stuck ----------------------------------------------------------------------------------------------------


def test_a_renewal_that_never_gives_a_token_lets_the_member_out():
    """A renewal without a token counts as a failure of the bot; after the last try the flow fails the call."""
    office = Office()
    chat = confirming(office)
    office.answers["login"] = ["no token"] * 100
    chat.wait(400).say("yes")
    for _ in range(12):
        chat.wait(100).wake()
    document = chat.document()
    assert document.call is None
    assert document.run is not None
    assert (document.run.step, office.paid) == ("unsure", set())
    assert len(office.asked) <= 6


# Anything at all ------------------------------------------------------------------------------------------------------


class Unsteady(Office):
    """`fate`.

    What the next calls come to, by method: "ok"; "401"; "down" is an answer; "lost" raises before anything is done,
    "late" after it; "nonsense" is no token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fate: dict[str, str] = {}

    def _serve(self, name: str, caller: Any, usual: Any) -> Any:
        self.calls.append((name, caller.key, caller.token))
        fate = self.fate.get(name, "ok")
        if fate == "401" or (name != "login" and self._lapsed(caller.token)):
            return NO
        if fate == "lost":
            raise LOST
        if fate == "down" and caller.key not in self.paid:
            return Refused("core.down")
        found = "nonsense" if fate == "nonsense" and name == "login" else usual()
        if fate == "late":
            raise LOST
        return found


FATES = st.sampled_from(["ok", "ok", "401", "down", "lost", "late", "nonsense"])
MOVES = st.one_of(
    st.tuples(st.just("pay"), FATES),
    st.tuples(st.just("login"), FATES),
    st.tuples(st.just("wait"), st.sampled_from([1, 3, 30, 61, 301, 400])),
    st.tuples(st.just("say"), st.sampled_from(["yes", "5", "help", "menu"])),
    st.tuples(st.just("begin"), st.sampled_from(["yes", "5", ""])),
    st.tuples(st.just("step"), st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 5, 40]))),
    st.tuples(st.just("logout"), st.just(0)),
)

TO_ITS_END = [("step", (number, 40)) for number in (1, 0)]
"""Both of the first two works."""


@given(first=FATES, moves=st.lists(MOVES, min_size=4, max_size=40), session=st.sampled_from([300.0, 100_000.0]))
@example(
    first="late", moves=[*TO_ITS_END, ("login", "down"), ("wait", 400), ("begin", ""), TO_ITS_END[0]], session=300.0
)
@example(
    first="late", moves=[*TO_ITS_END, ("login", "401"), ("wait", 400), ("begin", ""), TO_ITS_END[0]], session=300.0
)
@example(  # a refusal of the first attempt is stored after the second attempt has been taken up
    first="down",
    moves=[("step", (0, 2)), ("pay", "ok"), ("wait", 30), ("begin", "yes"), ("step", (1, 1))],
    session=300.0,
)
@example(  # the first attempt is begun after the second one was refused
    first="down",
    moves=[("step", (0, 1)), ("wait", 30), ("begin", "yes"), ("step", (1, 40)), ("pay", "ok"), ("step", (0, 40))],
    session=300.0,
)
@examples(400)
def test_whatever_happens_each_payment_is_known_of(first: str, moves: list[tuple[str, Any]], session: float):
    """Before a second payment is made, the member was told of the first or that its outcome is unknown.

    This holds under any faults of service, issuer and workers, and any logout.
    """
    office = Unsteady()
    chat = confirming(office, session=session)
    office.calls.clear()
    office.fate["pay"] = first
    works: list[Any] = [chat.begin(chat.message("yes"))]

    def check() -> None:
        steps = [step for entry in chat.entries("m-1") for step in unseal(entry).steps]
        told = [step for step in steps if step.source == "paying" and step.dest in ("done", "unsure")]
        assert len(office.paid) <= len(told) + 1
        document = chat.document("m-1")
        if document.call is None:
            assert len(office.paid) <= len(told), "paid, and nobody was told"
        assert not (document.authenticated and document.token and document.token.expires <= document.last_updated)

    for move, what in moves:
        if move in ("pay", "login"):
            office.fate[move] = what
        elif move == "wait":
            chat.wait(what)
        elif move == "say":
            chat.say(what)
        elif move == "begin":
            works.append(chat.begin(chat.message(what)) if what else chat.waking("m-1"))
        elif move == "logout":
            log_out(chat)
        else:
            place, times = what
            for _ in range(times):
                if works[place % len(works)].request is not None:
                    chat.step(works[place % len(works)])
        check()
    for work in works:
        chat.wait(1)
        for _ in range(400):
            if work.request is not None:
                chat.step(work)
        check()
    for _ in range(12):
        chat.wait(100).wake("m-1")
        check()
    assert chat.document("m-1").call is None
    chat.check()
