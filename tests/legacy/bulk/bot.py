"""VimbisoPay with a credex-core that makes each number the member `m-<number>`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import flows
from flows.credex_core import ANYBODY, Session, SimulatedCredexCore
from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.messages.refusals import Refused

__all__ = ["Everybody", "bot"]


class Everybody(SimulatedCredexCore):
    """A credex-core that makes a member of each number that logs in."""

    def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """See `CredexCore.login`."""
        found = super().login(phone=phone, caller=caller)
        if found is None:
            number = phone or (caller.channel.identifier if caller.channel else "")
            super().onboard_member(firstname="Some", lastname="Body", phone=number)
            found = super().login(phone=phone, caller=caller)
        return found

    def _new_member(self, phone: str, firstname: str, lastname: str, tier: int, remaining: Decimal) -> Any:
        member = super()._new_member(phone, firstname, lastname, tier, remaining)
        member.id = f"m-{phone}"
        return member


bot = flows.bot.with_services({"credex_core": Everybody()})
