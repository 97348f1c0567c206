"""The language flow, in which the member chooses the language of the replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from vimbiso_fsm import Changes, Flow, Refused, State, Text, Transition, Turn, readers

TAGS: Final[Mapping[str, str]] = {"english": "en", "shona": "sn", "chishona": "sn"}
"""Language tags by the names that members use."""

ASKED: Final = frozenset({"language", "mutauro"})
"""The words that start the flow without naming a language."""

known: Final = readers.choice(*TAGS)
"""Reads the name of a language."""


@attrs.frozen
class Language:
    """The data of the language flow.

    Attributes:
        name: The name of the language that the member chose.
    """

    name: str = ""


def speaking(turn: Turn[Language]) -> Changes[Language]:
    """Prepare: store the language in the member's profile."""
    return turn.changes(member=attrs.evolve(turn.member, language=TAGS[turn.data.name]))


language = Flow(
    "language", data=Language, initial="naming",
    states=[
        State("naming",   ask=Text("language.naming"), reads=known, into="name"),
        State("speaking", say=Text("language.speaking"), final=True),
    ],
    transitions=[
        Transition("answer", "naming", "speaking", prepare=speaking),
    ],
)  # fmt: skip


def named(text: str) -> Sequence[str] | None:
    """Read the shortcut: the name of a language, which answers the question, or a word that asks for it."""
    if text.strip().lower() in ASKED:
        return []
    return None if isinstance(known(text), Refused) else [text]
