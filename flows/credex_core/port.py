"""The port to credex-core, the judge of all money: what the conversations ask it, and what it answers.

Every method returns what it is for, or `Refused` when it is known that nothing was done; when credex-core cannot be
reached, `Unreachable`, which speaks of this try alone. It raises only when nobody knows whether the effect took place;
the same idempotency key may then be tried again, it acts once. A token that is not accepted is
`Refused("core.unauthorised")`, and nothing was done: whoever asks gets a new one by `login` and asks again with the
same key (`flows.bot`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol

import attrs

from vimbiso_fsm import Caller, Money, Refused

__all__ = [
    "ANYBODY",
    "DECIMALS",
    "DEFAULT_DENOMINATION",
    "Account",
    "CredexCore",
    "Dashboard",
    "LedgerEntry",
    "PendingOffer",
    "Receipt",
    "Recipient",
    "ReplyLost",
    "Session",
    "phone_of",
]

DECIMALS: Final[Mapping[str, int]] = {"USD": 2, "ZWG": 2, "CAD": 2, "XAU": 4, "CXX": 3}
"""The denominations and how many digits each has after the point."""
DEFAULT_DENOMINATION: Final = "USD"

ANYBODY: Final = Caller()


# What it answers ---------------------------------------------------------------------------------------------------


@attrs.frozen
class PendingOffer:
    """An offer not answered yet, as one of the two accounts sees it: who stands on the other side, and how much."""

    id: str
    handle: str
    name: str
    amount: Money


@attrs.frozen
class Account:
    """An account: its secured balances, one for each denomination it ever held, and the offers waiting, oldest first.
    `incoming_count`, `outgoing_count`: how many there are, also where not all of them are listed."""

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
        """What it holds of a denomination."""
        zero = Money(Decimal(0).scaleb(-DECIMALS.get(currency, 0)), currency)
        return next((money for money in self.balances if money.currency == currency), zero)

    def holds(self, amount: Money) -> bool:
        """Whether it holds at least that much."""
        return self.balance(amount.currency) >= amount


@attrs.frozen
class Dashboard:
    """A member with their accounts, as every action answers it. `remaining_usd`: what may still be offered today.
    `told`: when credex-core said so, where it was noted."""

    member_id: str = ""
    firstname: str = ""
    lastname: str = ""
    tier: int = 1
    remaining_usd: Money = attrs.field(default=Money.zero("USD"))
    accounts: tuple[Account, ...] = ()
    told: dt.datetime | None = None


@attrs.frozen
class Session:
    """A member who is logged in."""

    token: str = attrs.field(repr=False)
    dashboard: Dashboard


@attrs.frozen
class Recipient:
    """The account that has a handle."""

    id: str = ""
    handle: str = ""
    name: str = ""


@attrs.frozen
class Receipt:
    """Something was done: the id of what was made or changed, and the member's dashboard after it: the accounts that it
    touched, or all; of nobody (`member_id` is "") where nothing is said of it."""

    id: str
    dashboard: Dashboard


@attrs.frozen
class LedgerEntry:
    """One movement of an account, money received positive. `handle`, `name`: the other side."""

    id: str
    handle: str
    name: str
    amount: Money


class CredexCore(Protocol):
    """The port. Every method of it but `login` and `onboard_member` needs a caller who is logged in."""

    def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """Log in with a telephone number, the caller's own when none is named; None when nobody has it."""
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
        """Make a new member with a first account."""
        ...

    def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """Find an account."""
        ...

    def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """Offer a secured credex, from account id to account id."""
        ...

    def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Accept an offer that came in; the money moves."""
        ...

    def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Accept several offers, all or none."""
        ...

    def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Decline an offer that came in."""
        ...

    def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Take back an offer not answered yet."""
        ...

    def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """An account's movements, the latest first, from a row on."""
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
        """Subscribe to a member tier, paid every `pay_frequency` days; the first payment is due at once."""
        ...


class ReplyLost(ConnectionError):
    """The work may have been done; its reply did not arrive, or says nothing. Attributes: `call`, `fault`."""

    def __init__(self, call: str, fault: str = "was lost") -> None:
        self.call, self.fault = call, fault
        super().__init__(f"the reply to {call} {fault}; nobody knows whether it was done, ask again with the same key")


def phone_of(phone: str, caller: Caller) -> str:
    """The telephone number that is meant, without its +: the caller's own when none is named."""
    return (phone or (caller.channel.identifier if caller.channel else "")).removeprefix("+")
