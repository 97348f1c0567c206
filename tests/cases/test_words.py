"""Global words, commands with an argument, and languages."""

from __future__ import annotations

import re

import pytest

from tests.cases.small_flows import YOU, Answer
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, NoData, Shortcut, State, Text, Transition, Turn
from vimbiso_fsm.messages.locales import looked_up
from vimbiso_fsm.messages.readers import free_text
from vimbiso_fsm.testing.chat import words


def kept(turn: Turn[Answer]) -> Text:
    """Return the text of the note."""
    return Text("Kept: {words}", words=turn.data.value)


note = Flow(
    "note", data=Answer, initial="words",
    states=[
        State("words", ask=Text("Your note?"), reads=free_text(200), into="value"),
        State("kept",  say=kept, final=True),
    ],
    transitions=[Transition("answer", "words", "kept")],
)  # fmt: skip


@pytest.mark.parametrize("word", ["/cancel", "/help", "/menu", "/back", "/start ref_42", "/start@our_bot"])
def test_a_slash_command_is_no_answer(word: str):
    """A global word as a slash command, as Telegram spells it, is never the answer to a free text (Case 27)."""
    manager, you = FlowStateManager.in_memory(Bot(note)), Channel("telegram", "11")
    manager.handle(Message(you, "1", "hi"))
    assert not [text for text in words(manager.handle(Message(you, "2", word)).replies) if "Kept" in text]


def asks(name: str) -> Flow[Answer]:
    """Return a flow that asks for a text and repeats it."""

    def named(turn: Turn[Answer]) -> Text:
        return Text(name + " {value}", value=turn.data.value)

    return Flow(
        name, data=Answer, initial="ask",
        states=[
            State("ask", ask=Text(name + "?"), reads=str, into="value"),
            State("end", say=named, final=True),
        ],
        transitions=[Transition("answer", "ask", "end")],
    )  # fmt: skip


def code(text: str) -> list[str] | None:
    """The code of `VERIFY 123456`."""
    found = re.fullmatch(r"(?i)verify\s+(\d{6})", text.strip())
    return [found[1]] if found else None


def test_a_command_with_an_argument_is_heard_at_every_question():
    """A shortcut such as "VERIFY 123456" also works at a question for text (Case 32)."""
    verify, offer = asks("verified"), asks("offered")
    home: Flow[NoData] = Flow(
        "home", initial="menu",
        states=[
            State("menu",  ask=Text("Menu")),
            State("offer", flow=offer),
        ],
        transitions=[
            Transition("go",        "menu",  "offer"),
            Transition("done",      "offer", "menu"),
            Transition("cancelled", "offer", "menu"),
        ],
    )  # fmt: skip
    manager = FlowStateManager.in_memory(Bot([home, verify], shortcuts=[Shortcut(verify, code, anywhere=True)]))
    manager.handle(Message(YOU, "m0", "hi"))
    manager.handle(Message(YOU, "m1", "go"))
    assert "verified 123456" in words(manager.handle(Message(YOU, "m2", "VERIFY 123456")).replies)


@pytest.mark.parametrize(
    ("tag", "available"),
    [
        ("zh-TW", "zh-Hant"),
        ("zh-CN", "zh-Hans"),
        ("pt", "pt-BR"),
        ("nb", "no"),
        ("no", "nb"),
        ("iw", "he"),
        ("in", "id"),
    ],
)
def test_a_language_matches_one_that_means_the_same(tag: str, available: str):
    """A language tag of Telegram finds a catalogue in a language that means the same (Case 43)."""
    assert looked_up([tag], ["en", available]) == available
