"""What a callback of a flow sees and may answer.

A callback gets a `Turn`: one message being decided. It is pure. A guard answers `True` (accepts), `False` (declines,
silently) or `Refused` (declines, with a reason that is said). `call` proposes an effect on the outside world, which
is run after the turn is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.document.document import Member
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.refusals import Refused

D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")


@attrs.frozen
class Changes(Generic[D_co]):
    """What `prepare` returns when more than the data changes: the new data and the new member."""

    data: D_co
    member: Member


@attrs.frozen
class Turn(Generic[D_co]):
    """One message being decided.

    `data`: the flow's typed data, the answer already in its field. `answer`: what was read, chosen, returned by a
    call or by a sub-flow. `reason`: why a call failed (on trigger `failed`). `now`: the store's clock, UTC.
    """

    data: D_co
    member: Member
    channel: Channel
    now: datetime
    flow: str
    state: str
    trigger: str = ""
    answer: Any = attrs.field(default=None, repr=False)
    reason: Refused | None = None

    def becomes(self, *, data: D | None = None, member: Member | None = None) -> Changes[D]:
        """The result of a `prepare` that changes the member (login, onboarding, account switch)."""
        return Changes(cast(D, self.data) if data is None else data, self.member if member is None else member)


Guard: TypeAlias = Callable[[Turn[D]], bool | Refused]
"""A pure callback that accepts, declines or refuses."""


def authenticated(turn: Turn[object]) -> bool | Refused:
    """Guard: the member is logged in. Refused leads to the bot's entry flow, and back."""
    return turn.member.authenticated or Refused("member.login")


def failed_with(*codes: str) -> Guard[object]:
    """Guard for `failed`: the call failed for one of these reasons, `failed_with("call.unsure")`."""

    def failed(turn: Turn[object]) -> bool:
        return turn.reason is not None and turn.reason.code in codes

    failed.__name__ = f"because {' or '.join(codes)}"
    return failed
