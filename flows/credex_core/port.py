"""The port to credex-core, the service that decides on all money.

Every method returns its value, or `Refused` when the call had no effect. `Unreachable` says that this attempt had no
effect; an earlier one may have had. A method raises only when the effect is unknown; a further attempt with the same
idempotency key is then safe, because a key acts once. `Refused("core.unauthorised")` means that the token was not
accepted and the call had no effect: the caller gets a new token by `login` and repeats the call with the same key
(`flows.bot`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol

import attrs

from vimbiso_fsm import Caller, Money, Refused

DECIMALS: Final[Mapping[str, int]] = {"USD": 2, "ZWG": 2, "CAD": 2, "XAU": 4, "CXX": 3}
"""The denominations, each with its number of decimals."""
DEFAULT_DENOMINATION: Final = "USD"

ANYBODY: Final = Caller()


# Results -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class PendingOffer:
    """An open offer as one of its two accounts sees it.

    Attributes:
        id: The id of the offer.
        handle: The handle of the other account.
        name: The name of the other account.
        amount: The offered amount.
    """

    id: str
    handle: str
    name: str
    amount: Money


@attrs.frozen
class Account:
    """An account.

    Attributes:
        id: The id of the account.
        handle: The handle of the account, in lower case.
        name: The name of the account.
        owned: Whether the member owns the account.
        balances: The secured balances, one for each denomination that the account has ever held.
        net_assets: The net assets in the default denomination.
        incoming: Open offers to the account, oldest first.
        outgoing: Open offers from the account, oldest first.
        incoming_count: The number of incoming offers, also when not all of them are listed.
        outgoing_count: The number of outgoing offers, also when not all of them are listed.
    """

    id: str = ""
    handle: str = ""
    name: str = ""
    owned: bool = True
    balances: tuple[Money, ...] = ()
    net_assets: Money = attrs.field(default=Money.zero(DEFAULT_DENOMINATION))
    incoming: tuple[PendingOffer, ...] = ()
    outgoing: tuple[PendingOffer, ...] = ()
    incoming_count: int = 0
    outgoing_count: int = 0

    def balance(self, currency: str) -> Money:
        """The balance in a denomination; zero when the account has none."""
        zero = Money(Decimal(0).scaleb(-DECIMALS.get(currency, 0)), currency)
        return next((money for money in self.balances if money.currency == currency), zero)

    def holds(self, amount: Money) -> bool:
        """Whether the balance is at least this amount."""
        return self.balance(amount.currency) >= amount


@attrs.frozen
class Dashboard:
    """A member with the accounts, as every action returns it.

    Attributes:
        member_id: The id of the member; "" when the action returned no dashboard.
        firstname: The first name.
        lastname: The last name.
        tier: The tier, from 1 to 5.
        remaining_usd: The amount that the member may still offer today.
        accounts: The accounts.
        told: The time of the action, where it is noted.
    """

    member_id: str = ""
    firstname: str = ""
    lastname: str = ""
    tier: int = 1
    remaining_usd: Money = attrs.field(default=Money.zero("USD"))
    accounts: tuple[Account, ...] = ()
    told: dt.datetime | None = None


@attrs.frozen
class Session:
    """A login: the token and the dashboard of the member."""

    token: str = attrs.field(repr=False)
    dashboard: Dashboard


@attrs.frozen
class Recipient:
    """The account with a handle."""

    id: str = ""
    handle: str = ""
    name: str = ""


@attrs.frozen
class Receipt:
    """The receipt of an action.

    Attributes:
        id: The id of the object that was made or changed.
        dashboard: The member's dashboard afterwards, with all accounts or the changed ones. Its `member_id` is "" when
            the service returned no dashboard.
    """

    id: str
    dashboard: Dashboard


@attrs.frozen
class LedgerEntry:
    """A movement of an account.

    Attributes:
        id: The id of the movement.
        handle: The handle of the other account.
        name: The name of the other account.
        amount: The amount; positive when the account received it.
    """

    id: str
    handle: str
    name: str
    amount: Money


class CredexCore(Protocol):
    """The port. Every method except `login` and `onboard_member` needs the token of a logged-in caller."""

    def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """Log in with a telephone number; the caller's own by default. None when no member has it."""
        ...

    def onboard_member(
        self,
        *,
        firstname: str,
        lastname: str,
        phone: str = "",
        default_denom: str = DEFAULT_DENOMINATION,
        caller: Caller = ANYBODY,
    ) -> Session | Refused:
        """Make a member with a first account."""
        ...

    def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """Find an account."""
        ...

    def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """Offer a secured credex from one account to another; both are ids."""
        ...

    def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Accept an incoming offer; the money moves."""
        ...

    def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Accept several incoming offers, all or none."""
        ...

    def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Decline an incoming offer."""
        ...

    def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Cancel an outgoing offer that is still open."""
        ...

    def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """List the movements of an account from a row on, the latest first."""
        ...

    def create_recurring(
        self,
        *,
        source_account_id: str,
        member_tier: int,
        amount: Money,
        pay_frequency: int,
        start_date: dt.date,
        caller: Caller = ANYBODY,
    ) -> Receipt | Refused:
        """Subscribe to a member tier, with a payment every `pay_frequency` days and the first one at once."""
        ...


class ReplyLost(ConnectionError):
    """The reply to a call did not arrive or is unusable, so the effect of the call is unknown.

    Attributes:
        call: The name of the call.
        fault: What is wrong with the reply.
    """

    def __init__(self, call: str, fault: str = "was lost") -> None:
        self.call, self.fault = call, fault
        super().__init__(f"the reply to {call} {fault}, so its effect is unknown; repeat the call with the same key")


def phone_of(phone: str, caller: Caller) -> str:
    """The given telephone number, or the caller's own, without the plus sign."""
    return (phone or (caller.channel.identifier if caller.channel else "")).removeprefix("+")
