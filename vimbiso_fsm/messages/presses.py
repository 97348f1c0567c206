"""The ids of choices: what is sent when a button or a row is pressed.

An id is the fence of the question and a choice. The fence (`Run.fence`) is `!` and eight characters that no other entry
of a state has, so that a press on an old message is recognised.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from vimbiso_fsm.messages.value import Value


@attrs.frozen(eq=False, repr=False)
class Pressed(Value):
    """A choice that was pressed.

    Attributes:
        fence: The fence of the run that showed it.
        choice: The choice.
    """

    fence: str
    choice: str


_PRESSED: Final = re.compile(r"(![A-Za-z0-9+/]{8}|[^.]*\.[0-9]{1,15}\.)(.+)", re.ASCII | re.DOTALL)
"""The fence and the choice in what is sent when a button is pressed. Fences of before the stamp have two dots."""


def pressed(choice: str) -> Pressed | None:
    """Parse the id of a pressed button or row; None if it has another form, for example that of a bare trigger."""
    found = _PRESSED.fullmatch(choice)
    return Pressed(*found.groups()) if found else None
