"""A hand-over to a person, attacked: damage, deploys, erasure, encryption, hostile words, two persons at once."""

from __future__ import annotations

import json

import pytest

from tests.engine.test_handover import BACK, INBOX, OVER, passed, talk
from vimbiso_fsm import Bot, Flow, Never, NoData, State, Text, Transition
from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.messages.given import FlowOpened, HandedBack
from vimbiso_fsm.operations.give import give
from vimbiso_fsm.testing.chat import Chat


def giving(chat: Chat, given: FlowOpened | HandedBack) -> str:
    """Give something to the member, and return the status of the outcome."""
    return chat.finish(chat._hold(lambda context: give(context, given, delivers=chat.delivers), None)).status


# Damage ---------------------------------------------------------------------------------------------------------------


def test_a_repair_keeps_the_hand_over_and_what_waits() -> None:
    """A member whose document is damaged stays with the person, and nothing that they have said is lost."""
    chat = talk("hi", "buy", "agent", "one", inbox=False)
    before = chat.document()
    raw = {**document_to_raw(before), "flow_data": {"id": "nowhere"}}
    chat.plant_bytes(before.member_id, json.dumps(raw, default=str).encode())
    chat.inboxes.add("support")
    assert chat.say("two").status == "recovered"
    assert chat.document().handed is not None
    chat.wait(31).wake()
    assert passed(chat) == [("begun", ""), ("said", "one"), ("said", "two")]


# What waits for the bot -----------------------------------------------------------------------------------------------


def survey_bot() -> Bot:
    """Return a bot with a flow that hands over at its end, and one that is opened from outside."""
    report: Flow[NoData] = Flow(
        "report", initial="what",
        states=[
            State("what", ask=Text("What?"), reads=str),
            State("end",  say=Text("Noted."), hands="support", final=True),
        ],
        transitions=[Transition("answer", "what", "end")],
    )  # fmt: skip
    survey: Flow[NoData] = Flow(
        "survey", initial="ask",
        states=[State("ask", ask=Text("All well?")), State("end", final=True)],
        transitions=[Transition("yes", "ask", "end")],
    )  # fmt: skip
    home: Flow[NoData] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("Menu")), State("report", flow=report)],
        transitions=[Transition("tell", "menu", "report"), Transition(["done", "cancelled"], "report", "menu")],
    )  # fmt: skip
    return Bot([home, report, survey], home=home, inboxes=[INBOX])


@pytest.mark.parametrize("how", ["member", "person", "timer", "inbox"])
def test_a_flow_that_is_next_begins_after_the_hand_over(how: str) -> None:
    """A flow that waits for the member to come home begins when the bot has the conversation back, not before."""
    chat = Chat(survey_bot())
    chat.delivers = True
    chat.inboxes.add("support")
    chat.say("hi", "tell")
    assert giving(chat, FlowOpened(member_id=chat.member_id(), flow="survey", key="1")) == "advanced"
    chat.inbox_plan = [OSError()] if how == "inbox" else []
    chat.say("it leaks")
    assert chat.words == ["Noted.", OVER], "a person has the conversation"
    if how == "member":
        chat.say("bot")
    elif how == "person":
        giving(chat, HandedBack(member_id=chat.member_id(), key="2", by="ann"))
    else:
        chat.inbox_plan = [Never("closed")]
        chat.wait(1800).wake()
    words = chat.words if how == "member" else chat.taken
    first = "No person can be reached now. You are back with the bot." if how == "inbox" else BACK
    assert words[0] == first
    assert words[-1] == "All well?"
    assert "Menu" not in words, "the question of home is not asked in between"
