"""A flow that is declared otherwise than in its approved walk, under the same version."""

from __future__ import annotations

import attrs
import pytest

from vimbiso_fsm import Bot, Flow, Migration, State, Text, Transition, readers
from vimbiso_fsm.testing import walk
from vimbiso_fsm.testing.approved import changed_without_version


@attrs.frozen
class Visit:
    """What the flow gathers."""

    day: str = ""


@attrs.frozen
class Longer:
    """The same with a field that no conversation shows."""

    day: str = ""
    note: str = ""


def bot_of(data: type = Visit, question: str = "Which day?", version: int = 1) -> Bot:
    """Return a bot with one flow."""
    flow = Flow(
        "visit", version=version, data=data, initial="day",
        states=[
            State("day", ask=Text(question), reads=readers.choice("friday", "sunday"), into="day"),
            State("end", say=Text("Bye."), final=True),
        ],
        transitions=[Transition("answer", "day", "end")],
        migrations=[Migration(1, data=dict)] if version == 2 else [],
    )  # fmt: skip
    return Bot([flow])


@pytest.mark.parametrize(
    ("bot", "is_found"),
    [(bot_of(), False), (bot_of(question="Day?"), False), (bot_of(Longer), True), (bot_of(Longer, version=2), False)],
    ids=["the same", "other words", "another field", "another field, another version"],
)
def test_a_changed_declaration_needs_a_version(bot: Bot, is_found: bool) -> None:
    """Fields, states and transitions count, words do not; a new version says that runs are migrated."""
    text = walk(bot_of(), turns=200).approved("visit")
    found = changed_without_version(bot, "visit", text)
    assert ("changed-without-version: flow 'visit'" in found) is is_found
    assert (__file__.rpartition("/")[2] in found) is is_found
    assert changed_without_version(bot, "visit", "\n".join(text.splitlines()[2:])) == ""
