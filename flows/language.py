"""The language a member is spoken to in: they say its name, or "language" to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.readers import choice
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

__all__ = ["Language", "language", "named"]

TAGS: Final[Mapping[str, str]] = {"english": "en", "shona": "sn", "chishona": "sn"}
"""By the names that people call them."""

ASKED: Final = frozenset({"language", "mutauro"})
"""Who says this is asked for the name."""

known = choice(*TAGS)


@attrs.frozen
class Language:
    """The name that was said."""

    name: str = ""


def speaking(turn: Turn[Language]) -> Changes[Language]:
    """Prepare: it is kept with the member."""
    profile = {**turn.member.profile, "language": TAGS[turn.data.name]}
    return turn.becomes(member=attrs.evolve(turn.member, profile=profile))


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
    """The quick command: the name of a language is the answer to its question."""
    if text.strip().lower() in ASKED:
        return []
    return None if isinstance(known(text), Refused) else [text]
