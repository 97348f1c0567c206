"""The life of a session: its renewal, its end, and the warning before it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.credex_core import SimulatedCredexCore
from tests.bots import fruit_bot, member_document, one_flow
from tests.examples import examples
from tests.flow.test_tokens import TOKENS, a_token, shopping
from vimbiso_fsm.document.document import Document, TokenLife
from vimbiso_fsm.engine.events import SessionEnding, SessionExpired
from vimbiso_fsm.engine.schedule import DELIVERY_TRIES, due
from vimbiso_fsm.errors import FlowError, InvalidMessage
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import NoData
from vimbiso_fsm.flow.session import Limits, SessionLife
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.retention import TOKEN_LIFE
from vimbiso_fsm.testing.chat import START, Chat, Talk

LIMITED = SessionLife(idle=300, limit=1000)
WARNED = SessionLife(warning=60)
ENDED = "Your session ended after a while of silence."
LONG = "Your session ended, for it had been open very long."
UNSENT = "What you had not confirmed (order) was not sent."


def ordering(**options: Any) -> Talk:
    """A member with an answer that is not confirmed."""
    return Talk(fruit_bot(**options), member_document()).says("hi", "order", "ada")


# How long it lasts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "life",
    [
        {"idle": 0},
        {"idle": -1},
        {"idle": 301, "limit": 300},
        {"warning": -1},
        {"warning": 300},
        {"idle": float("nan")},
    ],
)
def test_bounds_that_are_none_are_refused(life: dict[str, Any]):
    """The bounds of a session are finite, more than 0, and fit each other."""
    with pytest.raises(FlowError, match=r"SessionLife: (idle|warning) is"):
        SessionLife(**life)


def test_a_bot_may_just_name_the_silence():
    """A number of seconds as `session` is the idle time; the limit is never below it."""
    assert fruit_bot(session=120).session == SessionLife(idle=120)
    assert fruit_bot(session=1_000_000).session == SessionLife(idle=1_000_000, limit=1_000_000)


def test_it_ends_though_it_is_never_silent():
    """A session ends at its absolute limit, counted from its first message, and the words name the limit."""
    talk = ordering(session=LIMITED)
    began = talk.now
    while talk.now + timedelta(seconds=250) <= began + timedelta(seconds=1000):
        talk.wait(250).say("help")
        assert talk.state.session_since == began
    assert talk.state.deadline == began + timedelta(seconds=1000)
    talk.wait(1).say("help")
    assert talk.words[:2] == [LONG, UNSENT]
    assert talk.state.session_since == talk.now


def test_silence_is_silence_though_the_limit_is_near():
    """A session that ended by silence is reported as such, even if the limit is near."""
    talk = ordering(session=LIMITED)
    talk.wait(301).say("hi")
    assert talk.words[0] == ENDED


def test_a_flow_has_its_own_silence_and_the_limit_holds_all_the_same():
    """A flow's own idle time does not exceed the limit of the bot."""
    flow = one_flow([State("ask", ask=Text("Well?"), reads=str)], [Transition("answer", "ask", "ask")], session=2_000)
    talk = Talk(Bot([flow], session=LIMITED)).say("hi")
    assert talk.state.deadline == START + timedelta(seconds=1000)


def test_a_call_on_its_way_suspends_the_limit():
    """While a call is pending, the session does not end, so that no member reads "not sent" of a call in doubt."""
    talk = ordering(session=SessionLife(idle=300, limit=310))
    talk.says("1234", "1")
    talk.hold_calls = True
    talk.say("yes")
    assert talk.state.call is not None
    assert not [event for _, event in due(talk.state) if isinstance(event, SessionExpired)]
    talk.wait(400).say("well?")
    assert ENDED not in talk.words
    assert LONG not in talk.words


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
@examples(60)
def test_no_session_outlives_its_limits(pauses: list[int]):
    """A deadline is never later than idle time and limit allow, and a message after it is told of the end."""
    talk = ordering(session=LIMITED)
    for pause in pauses:
        deadline, since = talk.state.deadline, talk.state.session_since
        assert deadline is not None
        assert since is not None
        assert deadline <= min(talk.now + timedelta(seconds=300), since + timedelta(seconds=1000))
        talk.wait(pause).say("help")
        over = talk.now > deadline
        assert (talk.words[0] in (ENDED, LONG)) == (over and talk.words[0] != "")
        assert (talk.state.session_since == since) == (not over)


# What does not renew it -----------------------------------------------------------------------------------------------


def test_a_message_sent_too_long_ago_is_ignored():
    """A message that is too old is answered and stores nothing, so that it does not renew the session."""
    talk = ordering(limits=Limits(age=60))
    before = talk.state
    talk.wait(285).send(text="bob", sent_at=talk.now - timedelta(seconds=61))
    assert (talk.last.status, talk.last.changed, talk.state) == ("ignored", False, before)
    assert talk.words[0] == "That message reached us too late and was not taken; please send it again."
    talk.send(text="1234", sent_at=talk.now - timedelta(seconds=60))
    assert talk.last.changed


def test_without_a_bound_no_message_is_too_old():
    """With `Limits(age=None)`, a message of any age is taken."""
    talk = ordering(limits=Limits(age=None))
    talk.send(text="1234", sent_at=talk.now - timedelta(days=700))
    assert talk.last.status == "advanced"


@pytest.mark.parametrize(("seconds", "status"), [(TOKEN_LIFE, "advanced"), (TOKEN_LIFE + 1, "ignored")])
def test_a_message_older_than_tokens_are_kept_is_not_taken(seconds: int, status: str):
    """By default a message that was sent longer ago than tokens are remembered is not taken, since it may be known."""
    talk = ordering()
    talk.send(text="1234", sent_at=talk.now - timedelta(seconds=seconds))
    assert (talk.last.status, talk.last.changed) == (status, status == "advanced")


def test_a_message_from_the_future_is_of_unknown_age():
    """A message whose time is later than the store's clock is taken, because its time says nothing."""
    talk = ordering()
    talk.send(text="1234", sent_at=talk.now + timedelta(days=4000))
    assert talk.last.status == "advanced"


def test_a_message_that_was_taken_gets_its_first_answer_however_old_it_is():
    """A message that was taken in time and is delivered again after its age gets its first answer."""
    chat = Chat(fruit_bot(limits=Limits(age=60)))
    taken = chat.message("hi", sent_at=START)
    first = chat.handle(taken)
    again = chat.wait(61).handle(taken)
    assert (again.status, again.replies) == ("duplicate", first.replies)


def test_a_message_too_old_is_no_answer_while_a_call_is_on_its_way():
    """While a call is pending, a message that is too old gets one reply and no question."""
    talk = ordering(limits=Limits(age=60)).says("1234", "1")
    talk.hold_calls = True
    talk.say("yes")
    talk.send(text="menu", sent_at=talk.now - timedelta(seconds=61))
    assert (len(talk.words), talk.last.changed) == (1, False)


def test_an_instant_without_a_time_zone_is_none():
    """`Message.sent_at` needs a time zone."""
    with pytest.raises(InvalidMessage, match="time zone"):
        Message(Channel("sms", "1"), "m", "hi", sent_at=START.replace(tzinfo=None))


# Who is warned and told -----------------------------------------------------------------------------------------------


def test_a_member_with_answers_is_warned_before_the_end():
    """A member whose answers would be lost is warned once, `warning` seconds before the end."""
    talk = ordering(session=WARNED)
    assert talk.state.warn_at == talk.now + timedelta(seconds=240)
    talk.wait(239.9).wake(delivers=True)
    assert talk.delivered == []
    talk.wait(0.1).wake(delivers=True)
    assert talk.delivered == ["Your session ends in 60 seconds; what you have not confirmed (order) is then not sent."]
    talk.wait(30).wake(delivers=True)
    assert len(talk.delivered) == 1
    talk.wait(30.1).wake(delivers=True)
    assert talk.delivered[1:] == [f"{ENDED}", UNSENT] or talk.delivered[1:] == [ENDED, UNSENT]


def test_a_warning_does_not_renew_the_session():
    """A warning does not move the deadline."""
    talk = ordering(session=WARNED)
    deadline = talk.state.deadline
    talk.wait(240).wake(delivers=True)
    assert talk.state.deadline == deadline
    assert talk.state.warn_at is None


def test_a_message_after_a_warning_leads_to_a_new_warning():
    """A message after a warning sets a new deadline with a new warning."""
    talk = ordering(session=WARNED).wait(240).wake(delivers=True).say("help")
    assert talk.state.warn_at == talk.now + timedelta(seconds=240)
    talk.wait(240).wake(delivers=True)
    assert len(talk.delivered) == 2


def test_a_member_without_answers_is_not_warned():
    """A member without answers gets no warning."""
    talk = Talk(fruit_bot(session=WARNED), member_document()).says("hi")
    assert talk.state.warn_at is None


def test_no_warning_without_delivery():
    """A worker that does not deliver leaves the warning alone."""
    talk = ordering(session=WARNED).wait(240).wake()
    assert talk.waiting == []
    assert not [event for _, event in due(talk.state, delivers=False) if isinstance(event, SessionEnding)]


def test_a_warning_that_comes_after_the_end_is_none():
    """After the end of the session, a worker announces the end and no longer warns of it."""
    talk = ordering(session=WARNED).wait(500).wake(delivers=True)
    assert talk.delivered == [ENDED, UNSENT]


def test_a_warning_is_of_this_deadline_only():
    """A warning of an earlier deadline is ignored."""
    talk = ordering(session=WARNED)
    old = talk.state.deadline
    assert old is not None
    talk.wait(200).say("help").wait(100).take(SessionEnding(old), "deliver")
    assert not talk.last.changed


def test_no_warning_is_due_by_default():
    """Without `SessionLife.warning`, no warning is due."""
    assert ordering().state.warn_at is None


def test_the_end_may_be_left_to_the_next_message():
    """With `announced=False`, the end is not delivered; the next message is told of it."""
    talk = ordering(session=SessionLife(announced=False)).wait(301).wake(delivers=True)
    assert talk.delivered == []
    assert [waiting.tries for waiting in talk.state.outbox] == [DELIVERY_TRIES]
    assert due(talk.state) == []
    talk.say("hi")
    assert talk.words[:2] == [ENDED, UNSENT]


# Woken for nothing, told in vain -------------------------------------------------------------------------------------


def waked(chat: Chat) -> Chat:
    """Run what is due, and check that nothing due is left."""
    chat.wake()
    chat.check()
    at = chat.wakes_at()
    assert at is None or at.timestamp() > chat.clock.at, "woken for nothing"
    return chat


def chatting(**options: Any) -> Chat:
    """A member with an answer that is not confirmed, and a worker that delivers."""
    chat = Chat(fruit_bot(**options))
    chat.delivers = True
    chat.plant(member_document(version=1))
    chat.say("hi", "order", "ada")
    return chat


def test_at_the_limit_one_warning_is_enough():
    """A message that cannot move the deadline causes no second warning and no wake-up."""
    chat = chatting(session=SessionLife(idle=300, limit=500, warning=60))
    chat.wait(250).say("help")
    waked(chat.wait(190))
    assert len(chat.taken) == 1
    chat.wait(10).say("help")
    assert chat.document().deadline == START + timedelta(seconds=500)
    waked(chat)
    waked(chat.wait(20))
    assert len(chat.taken) == 1
    waked(chat.wait(31))
    assert chat.taken[1:] == [LONG, UNSENT]


def test_a_member_whose_flow_was_reset_is_not_warned():
    """After a reset there are no answers to lose: no warning is sent, and the wake-up does not repeat."""
    chat = chatting(session=WARNED)
    document = chat.document()
    assert document.warn_at is not None
    chat.plant(attrs.evolve(document, run=None, suspended=(), version=document.version + 1))
    waked(chat.wait(241))
    assert chat.taken == []
    waked(chat.wait(60))
    assert chat.document().deadline is None


def test_a_member_with_nothing_to_lose_is_not_warned():
    """After a timeout that led home, no warning is sent."""
    talk = ordering(session=WARNED).says("1234", "1").wait(60).wake(delivers=True)
    assert talk.place == "home.menu"
    said = len(talk.delivered)
    talk.wait(200).wake(delivers=True)
    assert talk.delivered[said:] == []
    assert talk.state.warn_at is None


def test_a_warning_is_delivered_though_the_end_is_not_announced():
    """With `announced=False`, the warning is delivered all the same."""
    talk = ordering(session=SessionLife(warning=60, announced=False)).wait(240).wake(delivers=True)
    assert [word[:23] for word in talk.delivered] == ["Your session ends in 60"]
    talk.wait(61).wake(delivers=True)
    assert len(talk.delivered) == 1
    talk.say("hi")
    assert talk.words[:2] == [ENDED, UNSENT]


@pytest.mark.parametrize("then", ["message", "silence"])
def test_a_warning_that_could_not_be_delivered_in_time_is_none(then: str):
    """A warning that was not delivered in time is dropped, before a reply as well as before the end."""
    talk = ordering(session=WARNED).wait(240).wake(delivers=True, fails=True)
    assert [waiting.tries for waiting in talk.state.outbox] == [1]
    if then == "message":
        talk.wait(30).say("help")
        assert not [word for word in talk.words if "session ends in" in word]
    else:
        talk.wait(61).wake(delivers=True)
        assert talk.delivered == [ENDED, UNSENT]
    assert not talk.state.outbox


@given(
    st.lists(
        st.tuples(st.sampled_from(["say", "wake", "wake", "answer"]), st.integers(1, 320)), min_size=1, max_size=14
    ),
    st.integers(300, 1200),
    st.booleans(),
)
@examples(80)
def test_each_wake_up_has_due_work(moves: list[tuple[str, int]], limit: int, announced: bool):
    """Each wake-up has due work, leaves none behind, and warns of an end at most once and never after it."""
    chat = chatting(session=SessionLife(idle=300, limit=limit, warning=60, announced=announced))
    warned: list[Any] = []
    for move, pause in moves:
        chat.wait(pause)
        before, deadline = len(chat.taken), chat.document().deadline
        if move == "wake":
            waked(chat)
        else:
            chat.say("help" if move == "say" else "bob")
        for word in chat.taken[before:]:
            if "session ends in" in word:
                assert deadline is not None
                assert deadline.timestamp() > chat.clock.at
                assert deadline not in warned
                warned.append(deadline)
    chat.check()


# Nobody is taken for logged in longer than they are -----------------------------------------------------------------


def test_a_member_put_off_by_a_failure_is_not_authenticated_for_it():
    """A turn that fails after the login token has expired stores and shows the member as not authenticated."""

    def fails(turn: Turn[NoData]) -> bool:
        raise ValueError("of ours")

    flow = one_flow(
        [State("ask", ask=Text("Well?"), reads=str)], [Transition("answer", "ask", "ask", conditions=fails)]
    )
    life = TokenLife(START, START + timedelta(seconds=100))
    talk = Talk(Bot([flow], tokens=TOKENS, session=100_000), member_document(token=life))
    talk.say("hi").wait(101).say("a")
    assert talk.last.status == "failed"
    assert (talk.state.authenticated, talk.state.jwt_token) == (False, "token-0")


def test_the_outcome_of_an_ignored_message_shows_the_member_now():
    """The outcome of an ignored message shows the member as of now: an expired token does not authenticate."""
    life = TokenLife(START, START + timedelta(seconds=100))
    flow = one_flow([State("ask", ask=Text("Well?"), reads=str)], [Transition("answer", "ask", "ask")])
    chat = Chat(Bot([flow], tokens=TOKENS, session=100_000, limits=Limits(age=60)))
    chat.plant(member_document(token=life, version=1))
    chat.say("hi")
    assert chat.outcome is not None
    assert chat.outcome.state.authenticated
    sent = START
    outcome = chat.wait(101).handle(chat.message("old", sent_at=sent))
    assert (outcome.status, outcome.state.authenticated) == ("ignored", False)


def test_a_token_taken_within_the_leeway_is_over_all_the_same():
    """A token that expired within the leeway is accepted at login, and renewed before it is used."""
    chat, office = shopping()
    office.answers["login"] = [a_token(datetime.fromtimestamp(chat.clock.at + 397, UTC), life=0.0, iat=None)]
    exchange = chat.begin(chat.wait(400).message("pay"))
    over = []
    while exchange.request is not None:
        chat.step(exchange)
        document = chat.document()
        over.append(document.token is not None and document.token.expires <= document.last_updated)
        assert not (over[-1] and document.authenticated)
    assert any(over)
    assert len(office.paid) == 0


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_worker_whose_clock_is_an_hour_off_counts_by_the_servers(
    monkeypatch: pytest.MonkeyPatch, valkey_url: str, hours: int
):
    """Sessions and tokens are judged by the server's clock, whatever the worker's clock shows."""
    off = SimpleNamespace(time=lambda: time.time() + hours * 3600, monotonic=time.monotonic)
    monkeypatch.setattr("vimbiso_fsm.runtime.clock.time", off)
    service, ada = SimulatedCredexCore(), Channel("whatsapp", "263771000001")

    def say(text: str) -> Document:
        """Say a text to a worker that has not read the clock yet."""
        with FlowStateManager.from_url(valkey_url, "flows", services={"credex_core": service}) as manager:
            return manager.handle(Message(ada, f"m {text}", text)).state

    state = [say(text) for text in ("hi", "offer", "5", "alan", "yes")][-1]
    assert [call.name for call in service.calls] == ["login", "getAccountByHandle", "createCredex"]
    assert state.authenticated
    assert state.deadline is not None
    assert abs(state.deadline.timestamp() - time.time() - 300) < 120


# One formula ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Named:
    """The data of the short flow."""

    name: str = ""


def short_session(**options: Any) -> Chat:
    """A member who has answered the first question of a flow whose session lasts 30 seconds."""
    flow = one_flow(
        [State("name", ask=Text("Name?"), reads=str, into="name"), State("sure", ask=Text("Sure?"))],
        [Transition("answer", "name", "sure"), Transition("yes", "sure", "name")],
        data=Named, session=30,
    )  # fmt: skip
    chat = Chat(Bot([flow], **options))
    chat.say("hi")
    chat.say("ada")
    return chat


def put_back(chat: Chat, to: int) -> Document:
    """The member's document after an operator has put the member back to a version."""
    chat.cache.forget(chat.member_id())
    with FlowStateManager(chat.bot, chat.store) as manager:
        assert manager.recover(chat.member_id(), to=to).outcome == "put back"
    return chat.document()


def test_a_flow_that_is_put_back_keeps_its_own_session():
    """`Flow(session=30)` holds for a flow that an operator puts back as for one that a message enters."""
    chat = short_session()
    chat.wait(31).wake()
    assert chat.document().deadline is None
    put_back(chat, 2)
    now = datetime.fromtimestamp(chat.clock.at, UTC)
    assert chat.document().deadline == now + timedelta(seconds=30)
    assert chat.document().session_since == now


def test_putting_back_does_not_prolong_a_session():
    """An operator who puts a member back does not prolong an open session."""
    chat = short_session()
    before = chat.document()
    chat.wait(20)
    after = put_back(chat, 1)
    assert (after.deadline, after.session_since) == (before.deadline, before.session_since)


def test_a_flow_that_is_put_back_warns_of_its_own_end():
    """A flow that was put back warns of the end, because its answers are not confirmed."""
    chat = short_session(session=SessionLife(warning=20))
    chat.wait(31).wake()
    after = put_back(chat, 2)
    assert after.deadline is not None
    assert after.warn_at == after.deadline - timedelta(seconds=20)


def test_a_put_back_session_obeys_the_limit():
    """The absolute limit holds for a session that begins when the member is put back."""
    chat = short_session(session=SessionLife(idle=10, limit=20))
    chat.wait(31).wake()
    after = put_back(chat, 2)
    assert after.deadline is not None
    assert after.deadline - (after.session_since or after.deadline) == timedelta(seconds=20)
