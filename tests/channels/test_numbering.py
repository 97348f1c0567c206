"""Whether a channel writes the numbers of the options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given

from tests.channels.strategies import any_reply
from vimbiso_fsm.channels import sms, telegram, terminal, whatsapp
from vimbiso_fsm.channels.numbering import writes_numbers
from vimbiso_fsm.channels.plain import options, question
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text

RENDERS: dict[str, Any] = {
    "sms": sms.render, "telegram": telegram.render, "terminal": terminal.render, "whatsapp": whatsapp.render,
}  # fmt: skip


def strings(part: Any) -> Iterator[str]:
    """Every text of a payload."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from strings(inner)


@pytest.mark.parametrize("kind", RENDERS)
@given(reply=any_reply)
def test_numbers_are_known_to_be_written(kind: str, reply: Reply) -> None:
    """A reply is known to have numbers if and only if its payloads write them."""
    words = [question(reply), *(option.line for option in options(reply))]
    assume(len(words) > 1 and not any("." in each for each in words))
    written = any(re.search(r"(?m)^1\.(?: |$)", text) for text in strings(RENDERS[kind](Channel(kind, "1"), [reply])))
    assert writes_numbers(kind, reply) == written


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (Buttons(Text("Sure?"), (Button("y", "Yes"), Button("n", "No"))), ["sms", "terminal", "ussd"]),
        (Menu(Text("Which?"), (Row("a", "A"), Row("b", "B"))), ["sms", "terminal", "ussd"]),
        (Menu(Text("Which?"), (Row("a", "A", Text("about")), Row("b", "B"))), ["sms", "telegram", "terminal", "ussd"]),
        (Menu(Text("Which?"), (Row("a", "A"), Row("b", "a"))), ["sms", "telegram", "terminal", "ussd", "whatsapp"]),
        (Menu(Text(""), (Row("a", "A"), Row("b", "B"))), ["sms", "telegram", "terminal", "ussd", "whatsapp"]),
    ],
)
def test_the_channels_that_write_numbers(reply: Reply, found: list[str]) -> None:
    """Channels with buttons write numbers where the titles look the same; a channel of an embedder may write them."""
    assert [kind for kind in sorted([*RENDERS, "ussd"]) if writes_numbers(kind, reply)] == found
