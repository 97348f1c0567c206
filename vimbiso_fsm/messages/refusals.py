"""Refusals: the reasons not to go on, as values that guards, readers and services return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from vimbiso_fsm.messages.replies import Text


@attrs.frozen(init=False)
class Refused:
    """A reason not to go on: `Refused("amount.balance", field="amount", held="5.00 USD")`.

    It is returned, never raised, and it is false: `a or Refused(…)` and `if verdict` read as they should.

    Attributes:
        code: The key of the words.
        field: The data field that the reason is about.
        params: The parameters of the words.
    """

    code: str
    field: str | None
    params: Mapping[str, Any] = attrs.field(hash=False)

    def __init__(self, code: str, /, field: str | None = None, **params: Any) -> None:
        """Make a reason; `params` are the parameters of its words."""
        for name, value in (("code", code), ("field", field), ("params", params)):
            object.__setattr__(self, name, value)

    def __bool__(self) -> bool:
        """Return False."""
        return False

    @property
    def words(self) -> Text:
        """The reason as a text."""
        return Text(self.code, **self.params)


class Unreachable(Refused):
    """The service was unreachable. This attempt had no effect; an earlier one of the same call may have had."""
