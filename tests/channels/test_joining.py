"""Texts of one turn, joined where they fit: no word is lost, and no message costs more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm.channels import sms, telegram, whatsapp
from vimbiso_fsm.channels.joining import joined
from vimbiso_fsm.channels.sms import TYPOGRAPHY, segments
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, Reply, Text

ASK = Buttons(Text("Yes?").said("Yes?", {}), (Button("yes", Text("Yes").said("Yes", {})),))


def texts(*words: str) -> list[Reply]:
    """Return texts with these final words."""
    return [Text(each).said(each, {}) for each in words]


def said(replies: tuple[Reply, ...]) -> list[str]:
    """Return the words of replies."""
    return [reply.text for reply in replies]


@pytest.mark.parametrize(
    ("type", "words", "messages"),
    [
        ("whatsapp", ["a" * 2000, "b" * 2094], 1),
        ("whatsapp", ["a" * 2000, "b" * 2095], 2),
        ("telegram", ["a" * 2000, "\U0001f600" * 1047], 1),
        ("telegram", ["a" * 2000, "\U0001f600" * 1048], 2),
        ("terminal", ["a" * 500, "b" * 499], 2),
        ("terminal", ["a" * 500, "b" * 498], 1),
        ("sms", ["a" * 79, "b" * 79], 1),
        ("sms", ["a" * 160, "b" * 140], 1),  # two segments, as before
        ("sms", ["a" * 160, "b" * 146], 2),  # three segments for two
        ("sms", ["a" * 150, "\U0001f600"], 2),  # an emoji alone is one segment, and makes three of the whole
        ("sms", ["a" * 60, "\u2019"], 1),  # which is written as an apostrophe
        ("sms", ["a" * 300, "b" * 300], 2),
    ],
)
def test_texts_are_joined_where_they_fit(type: str, words: list[str], messages: int):
    """Two texts are one message up to the limit of the channel, and on SMS where that costs no segment more."""
    assert len(joined(texts(*words), type)) == messages


def test_a_question_stays_the_last():
    """Buttons are never joined: what is said before them is one text, and they come after it."""
    assert said(joined([*texts("one", "two"), ASK], "whatsapp")) == ["one\n\ntwo", "Yes?"]
    assert said(joined([*texts("one"), ASK, *texts("two")], "whatsapp")) == ["one", "Yes?", "two"]


WORDS = st.text(st.sampled_from("ab \n{\u20ac\u2019\u00e9\u4f60\U0001f600"), min_size=1, max_size=400)


@given(st.lists(WORDS, max_size=6), st.sampled_from(["sms", "whatsapp", "telegram", "terminal"]))
def test_nothing_is_lost_and_nothing_costs_more(words: list[str], type: str):
    """The joined texts have the same words in the same order, and an SMS has no segment more than the texts apart."""
    replies = texts(*words)
    found = joined(replies, type)
    assert "\n\n".join(said(found)) == "\n\n".join(words)
    if type == "sms":
        cost = [sum(segments(each.translate(TYPOGRAPHY).strip()) for each in some) for some in (said(found), words)]
        assert cost[0] <= cost[1]
        channel = Channel("sms", "263771234567")
        assert len(sms.render(channel, found)) <= len(sms.render(channel, replies))


@pytest.mark.parametrize(("type", "module"), [("whatsapp", whatsapp), ("telegram", telegram)])
def test_a_joined_text_is_one_message_of_its_channel(type: str, module: object):
    """A text that is joined up to the limit is not split again when it is rendered."""
    (one,) = joined(texts("a" * 2000, "b" * 2094), type)
    render = module.render  # type: ignore[attr-defined]  # each module of a channel has it
    assert len(render(Channel(type, "263771234567"), [one])) == 1
