"""Replies on a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.channels.strategies import any_reply, reachable
from vimbiso_fsm.channels import terminal
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text

ADA = Channel("terminal", "ada")


def test_texts_buttons_and_menus():
    """Texts are printed as they are, options as a numbered list."""
    replies: list[Reply] = [
        Text("Welcome."),
        Buttons(Text("Send it?"), (Button("yes", "Yes"), Button("no", "No"))),
        Menu(Text("Your account"), (Row("offer_secured", "Offer", Text("send credex")), Row("view_ledger", "Ledger"))),
    ]
    assert terminal.render(ADA, replies) == [
        "Welcome.",
        "Send it?\n1. Yes\n2. No",
        "Your account\n1. Offer - send credex\n2. Ledger",
    ]


def test_a_terminal_is_given_no_control_characters():
    """Control characters of a text do not reach the terminal."""
    assert terminal.render(ADA, [Text("a\x1b[2Jb\tc\nd\x9be")]) == ["a[2Jb\tc\nde"]


@given(st.lists(any_reply, max_size=3))
def test_any_reply_is_printable_with_all_its_options(replies):
    """Any reply is printed with all its options."""
    for reply in replies:
        said = terminal.render(ADA, [reply])
        assert all(text.encode() for text in said)
        assert reachable(reply, (), said)
