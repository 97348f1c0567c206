"""TODO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from vimbiso_fsm.messages.replies import NOTHING, Text


@attrs.frozen(init=False)
class Refused:
    """A reason not to go on: returned, never raised. `code` is the key of its words, `field` the data field it is
    about, `params` what the words need: `Refused("amount.balance", field="amount", held="5.00 USD")`."""

    code: str
    field: str | None
    params: Mapping[str, Any] = attrs.field(hash=False)

    def __init__(self, code: str, /, field: str | None = None, **params: Any) -> None:
        for name, value in (("code", code), ("field", field), ("params", params or NOTHING)):
            object.__setattr__(self, name, value)

    def __bool__(self) -> bool:
        """False, so that `a or Refused(…)` and `if verdict` read as they should."""
        return False

    @property
    def words(self) -> Text:
        """The reason as a text."""
        return Text(self.code, **self.params)


class Unreachable(Refused):
    """The reason that a service could not be reached. It did nothing this time, and that says nothing of an earlier try
    of the same call: where that may have been made, nobody hears that nothing was done."""
