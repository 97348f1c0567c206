"""The language flow: the member says the name of a language, or "language" to be asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from vimbiso_fsm import Changes, Flow, Refused, State, Text, Transition, Turn, readers

TAGS: Final[Mapping[str, str]] = {"english": "en", "shona": "sn", "chishona": "sn"}
"""Language tags by the names that members use."""

ASKED: Final = frozenset({"language", "mutauro"})
"""The words after which the member is asked for the name of a language."""

known = readers.choice(*TAGS)


@attrs.frozen
class Language:
    """The data of the language flow.

    Attributes:
        name: The name of the language that the member chose.
    """

    name: str = ""


def speaking(turn: Turn[Language]) -> Changes[Language]:
    """Prepare: the language is stored in the member's profile."""
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
    """Read the quick command: the name of a language answers the flow's question."""
    if text.strip().lower() in ASKED:
        return []
    return None if isinstance(known(text), Refused) else [text]
