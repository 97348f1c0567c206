"""The port to credex-core, which keeps accounts and offers and decides on all money.

A method returns its result, or `Refused` if the call certainly had no effect. It returns `unreached(…)` if credex-core
could not be reached: this attempt had no effect, an earlier one may have had. It raises only if the outcome is unknown.
The call may then be repeated with the same idempotency key, under which it acts once. If a token is not accepted, the
result is `Refused("core.unauthorised")`, without an effect; the managers request a new token by `login` and repeat the
call with the same key (`flows.bot`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Protocol

import attrs

from vimbiso_fsm import Caller, Money, Refused, Unreachable

__all__ = [
    "ANYBODY",
    "DECIMALS",
    "DEFAULT_DENOMINATION",
    "NO_PHONE",
    "Account",
    "CredexCore",
    "Dashboard",
    "LedgerEntry",
    "NumberProof",
    "PendingOffer",
    "Receipt",
    "Recipient",
    "ReplyLost",
    "Session",
    "phone_of",
    "unreached",
]

DECIMALS: Final[Mapping[str, int]] = {"USD": 2, "ZWG": 2, "CAD": 2, "XAU": 4, "CXX": 3}
"""The number of decimal places, by denomination."""

DEFAULT_DENOMINATION: Final = "USD"

NO_PHONE: Final = Refused("core.rejected", reason="no telephone number was proved")
"""The refusal of a login or a registration without a telephone number."""

ANYBODY: Final = Caller()
"""The caller of a call without a member."""


@attrs.frozen
class PendingOffer:
    """An open offer, from the view of one of its two accounts.

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
        handle: The handle, in lower case.
        name: The name.
        owned: Whether the member owns the account.
        balances: The secured balances, one for each denomination that the account has ever held.
        net_assets: The net assets, in the account's default denomination.
        incoming: Open offers to the account, oldest first; possibly not all of them.
        outgoing: Open offers from the account, oldest first; possibly not all of them.
        incoming_count: The number of all open offers to the account.
        outgoing_count: The number of all open offers from the account.
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
        """Return the balance in a denomination."""
        for money in self.balances:
            if money.currency == currency:
                return money
        return Money(Decimal(0).scaleb(-DECIMALS.get(currency, 0)), currency)

    def holds(self, amount: Money) -> bool:
        """Return whether the balance covers an amount."""
        return self.balance(amount.currency) >= amount


def _check_zone(_: object, attribute: attrs.Attribute[Any], value: dt.datetime | None) -> None:
    """Check that an instant has a time zone: one without cannot be compared with the store's clock."""
    if value is not None and value.utcoffset() is None:
        raise ValueError(f"{attribute.name} is an instant without a time zone; give it one")


@attrs.frozen
class NumberProof:
    """The proof that the speaker on a channel has a telephone number: they said a code that was sent to it.

    Attributes:
        phone: The number, as digits with the country code.
        channel: The type of the channel on which the code was said.
        identifier: The identifier of that channel.
        at: The instant at which it was said.
    """

    phone: str = attrs.field(repr=False)
    channel: str
    identifier: str = attrs.field(repr=False)
    at: dt.datetime = attrs.field(validator=_check_zone)


@attrs.frozen
class Dashboard:
    """A member with their accounts, as each action returns it.

    Attributes:
        member_id: The member id; empty if unknown.
        firstname: The first name.
        lastname: The last name.
        tier: The member tier, from 1 to 5.
        remaining_usd: The amount that the member may still offer today.
        accounts: The accounts that the member may act for.
        told: The instant at which credex-core reported the dashboard, if it was noted.
        proof: The latest proof of a number by a code, if there was one. credex-core does not report it.
    """

    member_id: str = ""
    firstname: str = ""
    lastname: str = ""
    tier: int = 1
    remaining_usd: Money = attrs.field(default=Money.zero("USD"))
    accounts: tuple[Account, ...] = ()
    told: dt.datetime | None = attrs.field(default=None, validator=_check_zone)
    proof: NumberProof | None = None


@attrs.frozen
class Session:
    """The session of a member at credex-core.

    Attributes:
        token: The login token.
        dashboard: The member's dashboard.
    """

    token: str = attrs.field(repr=False)
    dashboard: Dashboard


@attrs.frozen
class Recipient:
    """The account with a handle.

    Attributes:
        id: The id of the account.
        handle: The handle, in lower case.
        name: The name.
    """

    id: str = ""
    handle: str = ""
    name: str = ""


@attrs.frozen
class Receipt:
    """The receipt of an effect.

    Attributes:
        id: The id of the offer or payment that was made or changed.
        dashboard: The member's dashboard after it, with the changed accounts or all of them; empty if not reported.
    """

    id: str
    dashboard: Dashboard


@attrs.frozen
class LedgerEntry:
    """An entry in the ledger of an account.

    Attributes:
        id: The id of the transfer.
        handle: The handle of the other account.
        name: The name of the other account.
        amount: The amount; positive if the account received it.
    """

    id: str
    handle: str
    name: str
    amount: Money


class CredexCore(Protocol):
    """The port. Each method but the first four needs a caller with a token.

    credex-core takes the telephone number of a login or a registration for proven. Without a `phone`, it is the one
    that the channel of the caller proves.
    """

    def send_code(self, *, phone: str, caller: Caller = ANYBODY) -> str | Refused:
        """Send a code to a telephone number, and return the id of the code.

        It can be checked for ten minutes, a few times. It is refused as `code.too_often` if the number has got several
        codes lately.
        """
        ...

    def check_code(self, *, challenge: str, code: str, caller: Caller = ANYBODY) -> bool | Refused:
        """Check a code; True if it is right, which is answered once.

        Otherwise it is refused: as `code.wrong`, or as `code.spent` if the code cannot be checked any more.
        """
        ...

    def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """Log a member in by telephone number; None if no member has the number."""
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
        """Register a member, with a first account."""
        ...

    def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """Find the account with a handle."""
        ...

    def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """Offer a secured credex, from the account with one id to the account with another."""
        ...

    def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Accept an incoming offer, which transfers the money."""
        ...

    def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Accept several incoming offers, all or none of them."""
        ...

    def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Decline an incoming offer."""
        ...

    def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """Cancel an open offer that the caller made."""
        ...

    def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """Read `num_rows` entries of an account's ledger, latest first, from row `start_row` on."""
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
        """Subscribe to a member tier for a payment every `pay_frequency` days; the first one is made at once."""
        ...


def unreached(*, effect: bool) -> Unreachable:
    """Return the result of a call that did not reach credex-core.

    Only of a call with an effect it says that nothing was done: a call that reads may follow one whose outcome is
    unknown, and would deny an effect that was made.
    """
    return Unreachable("core.not_done" if effect else "core.down")


class ReplyLost(ConnectionError):
    """The reply to a call was lost or cannot be read, so the outcome of the call is unknown.

    Attributes:
        call: The name of the call in the API.
        fault: The fault of the reply.
    """

    def __init__(self, call: str, fault: str = "was lost") -> None:
        self.call, self.fault = call, fault
        super().__init__(f"the reply to {call} {fault}, so its outcome is unknown; repeat it with the same key")


def phone_of(phone: str, caller: Caller) -> str:
    """Return a telephone number without its plus sign; without one, that which the caller's channel proves."""
    return (phone or caller.phone).removeprefix("+")
