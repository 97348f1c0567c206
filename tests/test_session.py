"""The life of a session: what keeps it alive, what ends it, who is warned and told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bots import START, Talk, fruit_bot, member_document, one_flow
from vimbiso_fsm.bot import Bot, Limits, SessionLife
from vimbiso_fsm.decision import DELIVERY_TRIES, Ending, Silence, due
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.flow import State, Transition
from vimbiso_fsm.messages import Channel, Message, Text

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
    with pytest.raises(ValueError, match="idle is more than 0"):
        SessionLife(**life)


def test_a_bot_may_just_name_the_silence():
    assert fruit_bot(session=120).session == SessionLife(idle=120)
    assert fruit_bot(session=1_000_000).session == SessionLife(idle=1_000_000, limit=1_000_000)


def test_it_ends_though_it_is_never_silent():
    """At the absolute limit, counted from its first message; the words say so."""
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
    talk = ordering(session=LIMITED)
    talk.wait(301).say("hi")
    assert talk.words[0] == ENDED


def test_a_flow_has_its_own_silence_and_the_limit_holds_all_the_same():
    flow = one_flow([State("ask", ask=Text("Well?"), reads=str)], [Transition("answer", "ask", "ask")], session=2_000)
    talk = Talk(Bot([flow], session=LIMITED)).say("hi")
    assert talk.state.deadline == START + timedelta(seconds=1000)


def test_a_call_on_its_way_suspends_the_limit():
    """Nobody is told "not sent" while it may have been; once it is back, the session is over at once."""
    talk = ordering(session=SessionLife(idle=300, limit=310))
    talk.says("1234", "1")
    talk.hold_calls = True
    talk.say("yes")
    assert talk.state.call is not None
    assert not [event for _, event in due(talk.state) if isinstance(event, Silence)]
    talk.wait(400).say("well?")
    assert ENDED not in talk.words
    assert LONG not in talk.words


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_session_outlives_its_limits(pauses: list[int]):
    """Whatever the pauses: a deadline is never later than silence and limit allow, and a message after it is told."""
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
    """It is answered, and changes nothing: neither the state nor the session's end."""
    talk = ordering(limits=Limits(age=60))
    before = talk.state
    talk.wait(285).send(text="bob", sent_at=talk.now - timedelta(seconds=61))
    assert (talk.last.status, talk.last.changed, talk.state) == ("ignored", False, before)
    assert talk.words[0] == "That message reached us too late and was not taken; please send it again."
    talk.send(text="1234", sent_at=talk.now - timedelta(seconds=60))
    assert talk.last.changed


def test_without_a_bound_no_message_is_too_old():
    talk = ordering()
    talk.send(text="1234", sent_at=talk.now - timedelta(days=7))
    assert talk.last.status == "advanced"


def test_a_message_too_old_is_no_answer_while_a_call_is_on_its_way():
    talk = ordering(limits=Limits(age=60)).says("1234", "1")
    talk.hold_calls = True
    talk.say("yes")
    talk.send(text="menu", sent_at=talk.now - timedelta(seconds=61))
    assert (len(talk.words), talk.last.changed) == (1, False)


def test_an_instant_without_a_time_zone_is_none():
    with pytest.raises(InvalidMessage, match="time zone"):
        Message(Channel("sms", "1"), "m", "hi", sent_at=START.replace(tzinfo=None))


# Who is warned and told -----------------------------------------------------------------------------------------------


def test_whoever_has_something_to_lose_is_warned_before_the_end():
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
    talk = ordering(session=WARNED)
    deadline = talk.state.deadline
    talk.wait(240).wake(delivers=True)
    assert talk.state.deadline == deadline
    assert talk.state.warn_at is None


def test_whoever_says_something_is_warned_anew():
    talk = ordering(session=WARNED).wait(240).wake(delivers=True).say("help")
    assert talk.state.warn_at == talk.now + timedelta(seconds=240)
    talk.wait(240).wake(delivers=True)
    assert len(talk.delivered) == 2


def test_nobody_is_warned_who_has_nothing_to_lose():
    talk = Talk(fruit_bot(session=WARNED), member_document()).says("hi")
    assert talk.state.warn_at is None


def test_nobody_is_warned_where_nobody_delivers():
    talk = ordering(session=WARNED).wait(240).wake()
    assert talk.waiting == []
    assert not [event for _, event in due(talk.state, delivers=False) if isinstance(event, Ending)]


def test_a_warning_that_comes_after_the_end_is_none():
    """The worker slept: the member hears of the end, not that it will come."""
    talk = ordering(session=WARNED).wait(500).wake(delivers=True)
    assert talk.delivered == [ENDED, UNSENT]


def test_a_warning_is_of_this_deadline_only():
    talk = ordering(session=WARNED)
    old = talk.state.deadline
    assert old is not None
    talk.wait(200).say("help").wait(100).take(Ending(old), "deliver")
    assert not talk.last.changed


def test_nobody_is_warned_by_default():
    assert ordering().state.warn_at is None


def test_the_end_may_be_left_to_the_next_message():
    """`announced=False`: nothing is delivered, the member hears of it when they come back."""
    talk = ordering(session=SessionLife(announced=False)).wait(301).wake(delivers=True)
    assert talk.delivered == []
    assert [waiting.tries for waiting in talk.state.outbox] == [DELIVERY_TRIES]
    assert due(talk.state) == []
    talk.say("hi")
    assert talk.words[:2] == [ENDED, UNSENT]
