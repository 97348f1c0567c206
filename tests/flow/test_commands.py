"""Global words as words. Their effects are tested with the engine."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import pytest
from hypothesis import given

from tests.strategies import texts
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.commands import Commands
from vimbiso_fsm.messages.words import normalise

DOMAIN = {
    "menu": ["hi", "hie", "hy", "hey", "hello", "start", "menu", "home", "mhoro", "makadii", "sawubona", "jambo", "habari", "bonjour", "salut", "hola", "buenos dias"],
    "cancel": ["cancel", "stop", "exit", "x"],
    "back": ["back"],
    "help": ["help", "?"],
}  # fmt: skip


@pytest.mark.parametrize(("word", "command"), [(word, name) for name, words in DOMAIN.items() for word in words])
def test_every_word_of_the_domain(word: str, command: str):
    """Each word of the domain is recognised, in any case and with white space around it."""
    for said in (word, word.upper(), f"  {word}\n", word.title()):
        assert Commands().command(normalise(said)) == command


@pytest.mark.parametrize("said", ["@home", "homes", "my home", "", " ", "yes", "xx", "h i"])
def test_only_the_whole_message_is_a_command(said: str):
    """A word within a message is an answer, and so is `@home`."""
    assert Commands().command(normalise(said)) == ""


def test_yes_and_no():
    """The words of yes and no stand for the triggers of these names."""
    assert {word: Commands().button(word) for word in ["yes", "y", "ok", "confirm", "no", "n", "maybe"]} == {
        "yes": "yes", "y": "yes", "ok": "yes", "confirm": "yes", "no": "no", "n": "no", "maybe": "",
    }  # fmt: skip


def test_a_bot_may_have_its_own_words():
    """A bot can replace the words of a command, by a single word or by several."""
    commands = Commands(menu="Start Over", cancel=["STOP", "Ende"])
    assert commands.command(normalise("start  over")) == "menu"
    assert commands.command(normalise("ende")) == "cancel"
    assert commands.command("hi") == ""


@given(texts)
def test_any_text_is_a_command_or_none(text: str):
    """Any text is one of the commands or none, and never raises."""
    assert Commands().command(normalise(text)) in {"", "menu", "cancel", "back", "help"}


def test_carry_on_is_a_flow_like_any_other():
    """The framework's own flow has the buttons yes and no, and no cancels."""
    assert CARRY_ON.buttons["offered"] == ("yes", "no")
    assert CARRY_ON["dropped"].cancels
    assert not CARRY_ON["taken"].cancels
