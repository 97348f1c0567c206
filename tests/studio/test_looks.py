"""Replies in the look of each channel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.channels.strategies import any_reply
from tests.examples import examples
from vimbiso_fsm.channels import sms, whatsapp
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import (
    Button,
    Buttons,
    ContactRequest,
    File,
    LocationRequest,
    Media,
    Menu,
    Reply,
    Row,
    Template,
    Text,
    WebLink,
)
from vimbiso_fsm.studio.looks import Bubble, Choice, look

NUMBER = "263771234567"
LONG = "Send all of the money back to Ada"
OFFER = Buttons(Text("Offer it?"), (Button("yes", Text(LONG)), Button("no", Text("No"))))
RICH: list[Reply] = [
    Media("image", "https://example.org/map.png", Text("The map")),
    Media("sticker", "sticker-1"),
    File("https://example.org/receipt.pdf", "receipt.pdf", Text("Your receipt")),
    WebLink(Text("Pay here"), "https://pay.example.org/1", Text("Pay")),
    LocationRequest(Text("Where are you?"), Text("Here")),
    ContactRequest(Text("Who are you?"), Text("Me")),
    Location(-17.8, 31.0, "Shop", "1 First Street"),
    Template("seat", Text("Your seat is kept"), ("12",)),
]


def of(type: str, *replies: Reply) -> list[Bubble]:
    """Return replies as a channel shows them."""
    return look(Channel(type, NUMBER), replies)


def test_a_title_that_whatsapp_cuts_looks_cut() -> None:
    """The button has the title that WhatsApp is sent; Telegram shows more of it, and an SMS has no button."""
    cut = Choice("yes", "Send all of the mon…")
    assert of("whatsapp", OFFER) == [Bubble("Offer it?", (cut, Choice("no", "No")))]
    assert len(cut.title) == whatsapp.BUTTON_TITLE_LENGTH
    assert of("telegram", OFFER)[0].choices[0] == Choice("yes", LONG)
    assert of("web", OFFER)[0].choices[0] == Choice("yes", LONG)
    bubble = of("sms", OFFER)[0]
    assert (bubble.choices, bubble.text) == ((), f"Offer it?\n1. {LONG}\n2. No")


def test_a_list_is_opened_by_a_button() -> None:
    """Four options are a list on WhatsApp, with the whole of a cut title under it."""
    menu = Menu(Text("What?"), tuple(Row(f"r{number}", Text(f"{LONG} {number}")) for number in range(4)))
    bubble = of("whatsapp", menu)[0]
    assert bubble.opens == "Menu"
    assert bubble.choices[0].about == f"{LONG} 0"
    assert of("telegram", menu)[0].opens == ""


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("hi", "1 segment · 2 characters · GSM-7"),
        ("x" * 161, "2 segments · 161 characters · GSM-7"),
        ("ж" * 71, "2 segments · 71 characters · UCS-2"),
    ],
)
def test_an_sms_shows_its_segments(text: str, note: str) -> None:
    """The segments are counted as they are charged."""
    assert of("sms", Text(text)) == [Bubble(text, note=note)]


@pytest.mark.parametrize("type", ["whatsapp", "telegram", "sms", "web", "terminal", "rest", "satellite"])
def test_whatever_is_not_words_has_a_look(type: str) -> None:
    """Files, places, links and requests have words or a note on each channel, none of them empty."""
    for reply in RICH:
        for bubble in of(type, reply):
            assert bubble.text or bubble.note or bubble.choices


@examples(40)
@given(st.sampled_from(["whatsapp", "telegram", "sms", "web", "satellite"]), st.lists(any_reply, max_size=3))
def test_any_reply_has_a_look(type: str, replies: list[Reply]) -> None:
    """No reply breaks a look, and nothing is shown that the channel would not be sent."""
    bubbles = of(type, *replies)
    if type == "sms":
        assert [each.text for each in bubbles] == [each["Body"] for each in sms.render(Channel(type, NUMBER), replies)]
    if type == "whatsapp":
        assert all(len(each.title.encode("utf-16-le")) <= 48 for bubble in bubbles for each in bubble.choices)
