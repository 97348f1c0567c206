"""A member of VimbisoPay as the flows see them: who they are, what their accounts hold, what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, TypeVar, cast

import attrs

from flows.credex_core import Account, Dashboard, Receipt, Session
from vimbiso_fsm.document.codec import structure, unstructure
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.flow.turn import Changes, Guard, Turn
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused

__all__ = ["Me", "lately_told", "logged_in", "me", "owns_several", "refreshed", "tier", "upgradable", "using"]

D = TypeVar("D")

FRESH: Final = timedelta(seconds=10)
"""For so long, what credex-core says of a member is taken to be so: it is not asked again for a second "menu"."""
KEPT: Final = 60
"""Offers waiting in, and as many out, that a member's profile keeps of all accounts, the oldest: whoever is flooded
with offers must not outgrow what can be stored."""


@attrs.frozen
class Me:
    """The member's dashboard, and the account they are using."""

    dashboard: Dashboard
    account: Account

    @property
    def tier(self) -> int:
        """1 Open, 2 Verified, 3 Hustler, 4, 5 (several accounts)."""
        return self.dashboard.tier

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts they own."""
        return tuple(account for account in self.dashboard.accounts if account.owned)

    @property
    def limited_daily(self) -> bool:
        """Whether their offers of a day are limited."""
        return self.tier <= 2

    def owns(self, handle: str) -> bool:
        """Whether an account of that handle is theirs."""
        return handle in [account.handle.lower() for account in self.accounts]

    def owned(self, handle: str) -> Account:
        """Their account of that handle; without one, the account they are using."""
        return next((account for account in self.accounts if account.handle == handle), self.account)

    def payers(self, amount: Money) -> tuple[Account, ...]:
        """Their accounts that hold the amount, or need not."""
        return tuple(account for account in self.accounts if self.tier >= 5 or account.holds(amount))

    def covers(self, amount: Money) -> bool:
        """Whether the account they are using is one of those."""
        return self.account in self.payers(amount)

    def within_limit(self, amount: Money) -> bool:
        """Whether they may still offer the amount today."""
        return self.tier > 1 or amount.currency != "USD" or amount <= self.dashboard.remaining_usd


def me(turn: Turn[object]) -> Me:
    """The member, once logged in."""
    return _me(turn.member)


def _me(member: Member) -> Me:
    dashboard = structure(dict(member.profile), Dashboard)
    handle = member.current_account.get("handle")
    accounts = [account for account in dashboard.accounts if account.owned]
    using = next((account for account in accounts if account.handle == handle), accounts[0] if accounts else Account())
    return Me(dashboard, using)


def logged_in(turn: Turn[D]) -> Changes[D]:
    """Prepare: the member has a session now, and is known."""
    session = cast(Session, turn.answer)
    member = attrs.evolve(
        turn.member, id=session.dashboard.member_id, guest=False, authenticated=True, jwt_token=session.token
    )
    return turn.becomes(member=_with(member, attrs.evolve(session.dashboard, told=turn.now)))


def tier(at_least: int) -> Guard[object]:
    """Guard: the member is of that tier, or a higher one."""

    def of_tier(turn: Turn[object]) -> bool | Refused:
        return me(turn).tier >= at_least or Refused("member.tier", tier=at_least)

    of_tier.__name__ = f"tier_{at_least}"
    return of_tier


def upgradable(turn: Turn[object]) -> bool:
    """Guard: the member may subscribe to a higher tier."""
    return me(turn).tier <= 2


def lately_told(turn: Turn[object]) -> bool:
    """Guard: what is known of the member's accounts is as good as new."""
    told = me(turn).dashboard.told
    return told is not None and turn.now - told <= FRESH


def owns_several(turn: Turn[object]) -> bool:
    """Guard: the member has accounts to choose from."""
    return len(me(turn).accounts) > 1


def refreshed(turn: Turn[D]) -> Changes[D]:
    """Prepare: the member's accounts as they are after what was just done; those that nothing is said of are as they
    were."""
    before, after = me(turn).dashboard, cast(Receipt, turn.answer).dashboard
    if not after.member_id:
        return turn.becomes()
    said = {account.id: account for account in after.accounts}
    kept = tuple(said.pop(account.id, account) for account in before.accounts)
    now = attrs.evolve(after, accounts=(*kept, *said.values()), told=turn.now)
    return turn.becomes(member=_with(turn.member, now))


def using(turn: Turn[D]) -> Changes[D]:
    """Prepare: the account whose handle was chosen is the one in use."""
    return turn.becomes(member=_with(turn.member, me(turn).dashboard, handle=str(turn.answer)))


def _with(member: Member, dashboard: Dashboard, *, handle: str | None = None) -> Member:
    """The member with this dashboard, using the account of that handle, the same as before or else their first."""
    share = _share([max(len(account.incoming), len(account.outgoing)) for account in dashboard.accounts])
    accounts = tuple(
        attrs.evolve(account, incoming=account.incoming[:share], outgoing=account.outgoing[:share])
        for account in dashboard.accounts
    )
    profile = {**member.profile, **unstructure(attrs.evolve(dashboard, accounts=accounts))}
    current = {"handle": handle} if handle else member.current_account
    member = attrs.evolve(member, profile=profile, current_account=current)
    account = _me(member).account
    return attrs.evolve(member, current_account={"id": account.id, "handle": account.handle, "name": account.name})


def _share(waiting: Sequence[int]) -> int:
    """How many offers of each account are kept, so that all of them together are at most `KEPT`."""
    return next((most for most in range(KEPT, 0, -1) if sum(min(most, each) for each in waiting) <= KEPT), 0)
