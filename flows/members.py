"""The member of VimbisoPay, and the guards and prepares that several flows share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeVar, cast

import attrs

from flows.credex_core import DECIMALS, Account, Dashboard, Receipt, Session
from vimbiso_fsm import Changes, Guard, Member, Money, Refused, Turn

D = TypeVar("D")

FRESH: Final = timedelta(seconds=10)
"""The time for which a dashboard is current. A second "menu" within it requests no other."""

KEPT: Final = 60
"""The number of incoming offers, and of outgoing offers, that a profile keeps for all accounts; the oldest ones.

The bound keeps a document within its size when a member receives very many offers.
"""


@attrs.frozen
class Me:
    """The member's dashboard and the account in use.

    Attributes:
        dashboard: The profile.
        account: The account in use.
    """

    dashboard: Dashboard
    account: Account

    @property
    def tier(self) -> int:
        """The member tier: 1 Open, 2 Verified, 3 Hustler, 4, or 5, with several accounts."""
        return self.dashboard.tier

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts that the member owns."""
        return tuple(account for account in self.dashboard.accounts if account.owned)

    @property
    def limited_daily(self) -> bool:
        """Whether the member's offers of a day are limited."""
        return self.tier <= 2

    def owns(self, handle: str) -> bool:
        """Return whether the member owns an account with that handle."""
        return handle in [account.handle.lower() for account in self.accounts]

    def owned(self, handle: str) -> Account:
        """Return the member's account with that handle, otherwise the account in use."""
        return next((account for account in self.accounts if account.handle == handle), self.account)

    def payers(self, amount: Money) -> tuple[Account, ...]:
        """Return the accounts that can pay the amount."""
        return tuple(account for account in self.accounts if self._pays(account, amount))

    def covers(self, amount: Money) -> bool:
        """Return whether the account in use can pay the amount."""
        account = self.account
        return account in self.dashboard.accounts and account.owned and self._pays(account, amount)

    def _pays(self, account: Account, amount: Money) -> bool:
        return self.dashboard.tier >= 5 or account.holds(amount)

    @property
    def may_offer(self) -> bool:
        """Whether there is an amount that the member can offer now: held, and within the limit of the day."""
        smallest = [
            Money(Decimal(1).scaleb(-DECIMALS.get(held.currency, 0)), held.currency)
            for account in self.accounts
            for held in account.balances
            if held > Money.zero(held.currency)
        ]
        return self.dashboard.tier >= 5 or any(map(self.within_limit, smallest))

    def within_limit(self, amount: Money) -> bool:
        """Return whether the member may still offer the amount today."""
        return self.tier > 1 or amount.currency != "USD" or amount <= self.dashboard.remaining_usd


def me(turn: Turn[object, Dashboard]) -> Me:
    """Return the member's dashboard and the account in use."""
    member = turn.member
    dashboard = member.profile
    return Me(dashboard, _in_use(dashboard, member.current_account.get("handle")))


def _in_use(dashboard: Dashboard, handle: str | None) -> Account:
    """Return the member's account with that handle, otherwise their first."""
    first = None
    for account in dashboard.accounts:
        if account.owned and account.handle == handle:
            return account
        if account.owned and first is None:
            first = account
    return first or Account()


def logged_in(turn: Turn[D, Dashboard]) -> Changes[D]:
    """Prepare: identify the member and log them in."""
    session = cast(Session, turn.answer)
    member = attrs.evolve(
        turn.member, id=session.dashboard.member_id, guest=False, authenticated=True, jwt_token=session.token
    )
    return turn.changes(member=_with(member, attrs.evolve(session.dashboard, told=turn.now)))


def of_nobody(turn: Turn[D, Dashboard]) -> Changes[D]:
    """Prepare: no member has the number, so it is not the number of a member that it may be linked to."""
    return turn.unlink()


def tier(at_least: int) -> Guard[object]:
    """Return a guard that accepts members of at least that tier."""

    def of_tier(turn: Turn[object, Dashboard]) -> bool | Refused:
        return me(turn).tier >= at_least or Refused("member.tier", tier=at_least)

    of_tier.__name__ = f"tier_{at_least}"
    return of_tier


def upgradable(turn: Turn[object, Dashboard]) -> bool:
    """Guard: the member may subscribe to a higher tier."""
    return me(turn).tier <= 2


def may_offer(turn: Turn[object, Dashboard]) -> bool:
    """Guard: the member can offer an amount."""
    return me(turn).may_offer


def lately_told(turn: Turn[object, Dashboard]) -> bool:
    """Guard: the dashboard is current."""
    told = me(turn).dashboard.told
    return told is not None and turn.now - told <= FRESH


def owns_several(turn: Turn[object, Dashboard]) -> bool:
    """Guard: the member owns more than one account."""
    return len(me(turn).accounts) > 1


def refreshed(turn: Turn[D, Dashboard]) -> Changes[D]:
    """Prepare: update the accounts that the receipt of a call names."""
    before, after = me(turn).dashboard, cast(Receipt, turn.answer).dashboard
    if not after.member_id:
        return turn.changes()
    changed = {account.id: account for account in after.accounts}
    known = tuple(changed.pop(account.id, account) for account in before.accounts)
    dashboard = attrs.evolve(after, accounts=(*known, *changed.values()), told=turn.now)
    return turn.changes(member=_with(turn.member, dashboard))


def using(turn: Turn[D, Dashboard]) -> Changes[D]:
    """Prepare: take the chosen account into use."""
    return turn.changes(member=_with(turn.member, me(turn).dashboard, handle=str(turn.answer)))


def _with(member: Member[Dashboard], dashboard: Dashboard, *, handle: str | None = None) -> Member[Dashboard]:
    """Return the member with this dashboard, and with the account of that handle in use.

    Without a handle, the account in use stays. If the dashboard lacks the account, it is the member's first.
    """
    share = _share([max(len(account.incoming), len(account.outgoing)) for account in dashboard.accounts])
    accounts = tuple(
        attrs.evolve(account, incoming=account.incoming[:share], outgoing=account.outgoing[:share])
        for account in dashboard.accounts
    )
    dashboard = attrs.evolve(dashboard, accounts=accounts, proof=member.profile.proof)
    account = _in_use(dashboard, handle or member.current_account.get("handle"))
    current = {"id": account.id, "handle": account.handle, "name": account.name}
    return attrs.evolve(member, profile=dashboard, current_account=current)


def _share(waiting: Sequence[int]) -> int:
    """Return the limit of offers for each account with which all accounts together keep at most `KEPT`."""
    return next((limit for limit in range(KEPT, 0, -1) if sum(min(limit, count) for count in waiting) <= KEPT), 0)
