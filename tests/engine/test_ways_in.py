"""The ways of the member into a flow: commands as a channel spells them, deep links, and shortcuts heard anywhere."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest

from vimbiso_fsm import (
    Bot,
    Channel,
    Flow,
    FlowError,
    FlowStateManager,
    Message,
    NoData,
    Refused,
    Shortcut,
    State,
    Text,
    Transition,
    authenticated,
)
from vimbiso_fsm.flow.commands import Commands
from vimbiso_fsm.messages.words import slash_command
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

YOU = Channel("telegram", "11")


@attrs.frozen
class Word:
    """The data of a flow with one question."""

    value: str = ""


def digits(text: str) -> str | Refused:
    """Read six digits."""
    return text if re.fullmatch(r"[0-9]{6}", text) else Refused("code.wrong")


def asks(name: str, reads: Any = str, **more: Any) -> Flow[Word]:
    """Return a flow that asks for a text and repeats it."""
    return Flow(
        name, data=Word, initial="ask",
        states=[
            State("ask", ask=Text(f"{name}?"), reads=reads, into="value"),
            State("end", say=lambda turn: Text(f"{name} {{value}}", value=turn.data.value), final=True),
        ],
        transitions=[Transition("answer", "ask", "end")], **more,
    )  # fmt: skip


home: Flow[NoData] = Flow(
    "home", initial="menu",
    states=[
        State("menu",  ask=Text("Menu")),
        State("offer", flow=(offer := asks("offer"))),
    ],
    transitions=[
        Transition("go",        "menu",  "offer"),
        Transition("done",      "offer", "menu"),
        Transition("cancelled", "offer", "menu"),
    ],
)  # fmt: skip
"""A home with one flow below it."""

verify = asks("verify", digits)
code = Shortcut(
    verify, lambda text: [found[1]] if (found := re.fullmatch(r"(?i)verify (\S+)", text)) else None, anywhere=True
)


class Talk:
    """A conversation on a clock in the test's hand."""

    def __init__(self, **more: Any) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock, secret=STORE_SECRET)
        self.manager = FlowStateManager(Bot([home, verify], **more), self.store, cache=0, rates=None)
        self.manager._base.clock.follow(self.clock)
        self._count = 0

    def member(self) -> str:
        """The id of the member."""
        return self.manager.bot.digests.guest_id(YOU.address)

    def says(self, text: str | None, channel: Channel = YOU, **more: Any) -> list[str]:
        """Say something, and return what is replied."""
        self._count += 1
        return words(self.manager.handle(Message(channel, str(self._count), text, **more)).replies)


# Commands -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("/help", ("help", "")),
        ("/start@our_bot ref_42", ("start", "ref_42")),
        ("/start  a b\nc ", ("start", "a b\nc")),
        ("/", None),
        ("//", None),
        ("/etc/hosts", None),
        ("help", None),
        ("see /help", None),
    ],
)
def test_a_slash_before_a_word_is_a_command(text: str, spelled: tuple[str, str] | None):
    """A command is one word after a slash, the name of a bot, and an argument."""
    assert slash_command(text) == spelled


@pytest.mark.parametrize(("type", "command"), [("telegram", "cancel"), ("whatsapp", "cancel"), ("sms", "")])
def test_a_command_has_the_spelling_of_its_channel(type: str, command: str):
    """A slash makes a global word a command on the channels that spell commands so, and is a text on others."""
    assert Commands().spelled(type, "/Cancel@our_bot") == command


def test_a_command_with_an_argument_is_the_command():
    """What follows a global word in the channel's spelling does not make it an answer."""
    talk = Talk()
    talk.says("hi")
    talk.says("go")
    assert talk.says("/cancel it, please")[0] == "Cancelled; nothing was sent."


def test_an_unknown_command_is_a_text():
    """A slash before another word leaves the text to the reader."""
    talk = Talk()
    talk.says("hi")
    talk.says("go")
    assert talk.says("/remind me") == ["offer /remind me", "Menu"]


# Shortcuts heard anywhere ---------------------------------------------------------------------------------------------


def test_the_open_flow_goes_on_after_a_shortcut():
    """A shortcut that is heard anywhere interrupts the open flow, whose question is asked again afterwards."""
    talk = Talk(shortcuts=[code])
    talk.says("hi")
    talk.says("go")
    assert talk.says("VERIFY 123456") == ["verify 123456", "offer?"]
    assert talk.says("ten") == ["offer ten", "Menu"]


def test_a_shortcut_that_is_refused_asks_again_and_can_be_repeated():
    """Each answer goes through its reader; a repeated shortcut takes the place of its own run, and no run is left."""
    talk = Talk(shortcuts=[code])
    talk.says("hi")
    talk.says("go")
    for _ in range(3):
        assert talk.says("verify x")[-1] == "verify?"
    state = talk.manager.state(talk.member())
    assert state is not None
    assert len(state.suspended) == 2
    assert talk.says("verify 123456") == ["verify 123456", "offer?"]


def test_a_shortcut_is_heard_by_a_session_that_begins_anew():
    """A shortcut answers no question of the session that has ended, so that a new session follows it."""
    talk = Talk(shortcuts=[code])
    talk.says("hi")
    talk.says("go")
    talk.clock.at += 10_000
    assert "verify 123456" in talk.says("verify 123456")


def test_other_shortcuts_are_answers_at_a_question():
    """A shortcut without `anywhere` is heard at home, and is an answer at the question of a flow."""
    talk = Talk(shortcuts=[attrs.evolve(code, anywhere=False)])
    assert talk.says("verify 123456") == ["verify 123456", "Menu"]
    talk.says("go")
    assert talk.says("verify 123456") == ["offer verify 123456", "Menu"]


def test_a_shortcut_does_not_ask_for_a_login_within_a_login():
    """While a login is asked for, a shortcut into a flow that requires one is an answer."""
    entry = asks("entry")
    guarded = asks("guarded", requires=authenticated)
    talk = Talk(entry=entry, shortcuts=[Shortcut(guarded, lambda text: [] if text == "in" else None, anywhere=True)])
    talk.says("hi")
    assert talk.says("in") == ["entry?"]
    assert talk.says("in")[0] == "entry in"


# Deep links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["pay_123456", "pay-123456"])
def test_a_link_starts_its_flow_with_the_rest_as_the_answer(payload: str):
    """A deep link is followed at every question, and the open flow goes on afterwards."""
    talk = Talk(links={"pay": verify})
    talk.says("hi")
    talk.says("go")
    assert talk.says("start", payload=payload) == ["verify 123456", "offer?"]


def test_a_link_without_a_rest_asks():
    """A link without an answer starts its flow at the first question, also as the first message."""
    assert Talk(links={"pay": verify}).says("/start pay") == ["verify?"]


def test_a_link_reads_as_its_shortcut_says():
    """`Shortcut(flow, reads)` reads the answers from what follows the name, or does not take the link."""
    reads = {"a.b": ["123456"]}.get
    talk = Talk(links={"pay": Shortcut(verify, reads)})
    assert talk.says("start", payload="pay_a.b")[0] == "verify 123456"
    assert talk.says("start", payload="pay_c") == ["Menu"]


@pytest.mark.parametrize("payload", ["", "_", "pay!", "unknown_1", "x" * 2048, "pay_\u202e{value}", "\U0001f600"])
def test_a_hostile_link_is_a_word_or_a_refused_answer(payload: str):
    """A link that is none, or whose answer is refused, leads to the menu or to a question, and nothing is lost."""
    talk = Talk(links={"pay": verify})
    talk.says("hi")
    talk.says("go")
    assert talk.says("start", payload=payload)[-1] in ("verify?", "Menu")


@pytest.mark.parametrize("links", [["pay"], {"p_y": verify}, {"": verify}, {"pay": "verify"}, {1: verify}])
def test_links_are_checked_when_the_bot_is_made(links: Any):
    """Links that are no names with flows are refused, with the remedy."""
    with pytest.raises(FlowError, match="link"):
        Bot([home], links=links)


def test_the_flow_of_a_link_need_not_be_named():
    """A bot has the flows of its links."""
    assert "verify" in Bot(home, links={"pay": verify}).machines
