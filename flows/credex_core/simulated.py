"""A simulated credex-core in this process, for tests and demonstrations.

It has members, accounts, offers and a ledger, and is deterministic under a seed. Faults can be set: it is slow, down,
returns 401, or loses the reply of a call that it made. Money moves only between accounts, and an idempotency key acts
once.
"""

from __future__ import annotations

import datetime as dt
import hmac
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final, Literal, TypeAlias, TypeVar

import attrs
import jwt

from flows.credex_core.port import (
    ANYBODY,
    DECIMALS,
    DEFAULT_DENOMINATION,
    NO_PHONE,
    Account,
    Dashboard,
    LedgerEntry,
    PendingOffer,
    Receipt,
    Recipient,
    ReplyLost,
    Session,
    phone_of,
    unreached,
)
from vimbiso_fsm import Caller, Money, Refused

__all__ = ["Fault", "Offer", "Received", "SimulatedCredexCore"]

R = TypeVar("R")

Status: TypeAlias = Literal["pending", "accepted", "declined", "cancelled"]


@attrs.frozen
class Offer:
    """An offer as credex-core keeps it; `issuer` and `receiver` are handles."""

    id: str
    issuer: str
    receiver: str
    amount: Decimal
    denom: str
    status: Status = "pending"

    @property
    def money(self) -> Money:
        """The amount with its denomination."""
        return Money(self.amount, self.denom)


@attrs.frozen
class Received:
    """A call that arrived.

    Attributes:
        name: The name of the call in the API.
        key: The idempotency key; empty if there is none.
    """

    name: str
    key: str


@attrs.frozen
class Fault:
    """A fault of credex-core.

    Attributes:
        kind: "down" (no effect), "401" (no effect), "lost" (the effect happens, the reply is lost) or "slow".
        call: The name of the calls with the fault; empty for all.
        times: The number of calls with the fault; None for no limit.
        chance: The probability of the fault, from 0 to 1; the seed decides.
        seconds: The delay of a slow call in seconds.
    """

    kind: Literal["down", "401", "lost", "slow"]
    call: str = ""
    times: int | None = None
    chance: float = 1.0
    seconds: float = 0.0


@attrs.frozen
class _Transfer:
    id: str
    source: str
    target: str
    money: Money


@attrs.define
class _Account:
    """An account; `incoming` and `outgoing` hold the ids of its open offers, oldest first."""

    id: str
    handle: str
    name: str
    owner: str
    balances: dict[str, Decimal] = attrs.field(factory=dict[str, Decimal])
    incoming: dict[str, None] = attrs.field(factory=dict[str, None])
    outgoing: dict[str, None] = attrs.field(factory=dict[str, None])
    transfers: list[_Transfer] = attrs.field(factory=list[_Transfer])


@attrs.define
class _Member:
    id: str
    phone: str
    firstname: str
    lastname: str
    tier: int
    remaining: Decimal
    accounts: list[_Account] = attrs.field(factory=list[_Account])


@attrs.define
class _Code:
    """A code that was sent to a telephone number at an instant, in seconds since the epoch."""

    id: str
    phone: str
    code: str = attrs.field(repr=False)
    at: float
    tries: int = 0


_CODE_LIFE: Final = 600.0
"""The seconds for which a code can be checked."""
_CODE_TRIES: Final = 3
"""The number of times that a code can be checked."""
_CODES: Final = 3
"""The number of codes that a telephone number gets within `_CODES_TIME`."""
_CODES_TIME: Final = 3600.0
"""Seconds."""

_RATES: Final = {"USD": "1", "ZWG": "0.04", "CAD": "0.70", "XAU": "2500", "CXX": "1"}
"""The value of one unit in US dollars, for net assets."""

_MEMBERS: Final = (
    ("263771000001", "Ada", "Lovelace", 1, "25.00", (("ada", "Ada Lovelace", "100.00 USD"),)),
    ("263771000002", "Alan", "Turing", 3, "0.00", (("alan", "Alan Turing", "500.00 USD, 1000.00 ZWG, 2.0000 XAU"),)),
    ("263771000003", "Grace", "Hopper", 2, "100.00", (("grace", "Grace Hopper", "0.00 USD"),)),
    (
        "263771000005",
        "Katherine",
        "Johnson",
        5,
        "0.00",
        (
            ("katherine", "Katherine Johnson", "50.00 USD"),
            ("shop_one", "Shop One", "250.00 USD"),
            ("shop_two", "Shop Two", "0.00 USD"),
        ),
    ),
)
_OFFERS: Final = (("ada", "alan", "5.00"), ("shop_one", "alan", "7.50"))

_OPENING_BALANCE: Final = Money(Decimal("20.00"), "USD")
_DAILY_LIMIT: Final = Decimal("25.00")
_TOKEN_LIFE: Final = 300.0
"""The lifetime of a token in seconds."""

_UNAUTHORISED: Final = Refused("core.unauthorised")
"""The refusal of a token that is unknown or has expired."""


class SimulatedCredexCore:
    """A credex-core in this process, with a few members and accounts.

    An offer moves no money but binds it: an account of a member below tier 5 cannot offer more than it holds beyond
    its open offers. Money moves only by transfers between accounts, so the sum of all balances stays 0
    (`check_conservation`). A token is a JSON Web Token that lives 300 seconds. Threads may share the object.

    Args:
        seed: The seed of ids and faults.
        faults: The faults. They may be replaced at any time.
        clock: Returns the seconds since the epoch.
    """

    def __init__(
        self, seed: int = 0, faults: Iterable[Fault] | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._random = random.Random(seed)  # noqa: S311  # a simulation must be repeatable
        self._dice = random.Random(seed)  # noqa: S311  # separate, so that faults change no ids
        self._digits = random.Random(seed)  # noqa: S311  # as above, so that codes change neither
        self._codes: dict[str, _Code] = {}
        self._faults: list[Fault] = []
        self.faults = tuple(faults or ())
        # Opening balances come from the treasury and subscriptions go to it; its balances go below zero.
        self._treasury = _Account("treasury", "", "credex", "")
        self._accounts: dict[str, _Account] = {}
        self._handles: dict[str, _Account] = {}
        self._phones: dict[str, _Member] = {}
        self._secret = f"{self._random.getrandbits(256):064x}"
        self._made = Counter[str]()
        self._tokens: dict[str, tuple[_Member, float]] = {}
        self._offers: dict[str, Offer] = {}
        self._transfers: list[_Transfer] = []
        self._calls: list[Received] = []
        self._results: dict[str, tuple[object, object]] = {}
        for phone, firstname, lastname, tier, remaining, accounts in _MEMBERS:
            member = self._new_member(phone, firstname, lastname, tier, Decimal(remaining))
            for handle, name, balances in accounts:
                account = self._new_account(member, handle, name)
                for balance in balances.split(", "):
                    amount, denom = balance.split()
                    self._transfer(self._treasury, account, Money(Decimal(amount), denom))
        for issuer, receiver, amount in _OFFERS:
            self._new_offer(self._handles[issuer], self._handles[receiver], Money(Decimal(amount), "USD"))

    # Inspection and control ---------------------------------------------------------------------------------------

    @property
    def offers(self) -> tuple[Offer, ...]:
        """All offers that were made, oldest first."""
        with self._lock:
            return tuple(self._offers.values())

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """The codes that were sent, each as the number and the code, oldest first."""
        with self._lock:
            return tuple((code.phone, code.code) for code in self._codes.values())

    @property
    def calls(self) -> tuple[Received, ...]:
        """All calls that arrived, oldest first."""
        with self._lock:
            return tuple(self._calls)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that are set."""
        with self._lock:
            return tuple(self._faults)

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._faults = list(faults)

    def expire_tokens(self) -> None:
        """Let all tokens expire."""
        with self._lock:
            self._tokens.clear()

    def check_conservation(self) -> None:
        """Check that each balance is the sum of its transfers, and that the balances of a denomination sum to 0.

        Raises:
            AssertionError: They do not. The message names the account or the denomination.
        """
        with self._lock:
            moved: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
            for transfer in self._transfers:
                moved[transfer.source, transfer.money.currency] -= transfer.money.amount
                moved[transfer.target, transfer.money.currency] += transfer.money.amount
            accounts = [self._treasury, *self._accounts.values()]
            for account in accounts:
                for denom, amount in account.balances.items():
                    if amount != moved[account.id, denom]:
                        raise AssertionError(
                            f"account {account.handle!r} holds {amount} {denom}, which is not the sum of its transfers"
                        )
            for denom in DECIMALS:
                if total := sum(account.balances.get(denom, Decimal(0)) for account in accounts):
                    raise AssertionError(f"the balances sum to {total} {denom}, not to 0")

    # The port -----------------------------------------------------------------------------------------------------

    def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """See `CredexCore.login`."""
        phone = phone_of(phone, caller)
        work = (lambda: self._session(phone)) if phone else lambda: NO_PHONE
        return self._serve("login", caller, work, effect=False)

    def send_code(self, *, phone: str, caller: Caller = ANYBODY) -> str | Refused:
        """See `CredexCore.send_code`."""

        def send() -> str | Refused:
            now = self.clock()
            lately = [code for code in self._codes.values() if code.phone == phone and code.at > now - _CODES_TIME]
            if len(lately) >= _CODES:
                return Refused("code.too_often", field="phone")
            code = _Code(self._id("code"), phone, f"{self._digits.randrange(10**6):06}", now)
            self._codes[code.id] = code
            return code.id

        return self._serve("sendCode", caller, send, about=phone)

    def check_code(self, *, challenge: str, code: str, caller: Caller = ANYBODY) -> bool | Refused:
        """See `CredexCore.check_code`."""

        def check() -> bool | Refused:
            sent = self._codes.get(challenge)
            if sent is None or sent.tries >= _CODE_TRIES or sent.at <= self.clock() - _CODE_LIFE:
                return Refused("code.spent")
            sent.tries += 1
            if hmac.compare_digest(code.encode(), sent.code.encode()):
                sent.tries = _CODE_TRIES
                return True
            return Refused("code.wrong" if sent.tries < _CODE_TRIES else "code.spent", field="code")

        return self._serve("checkCode", caller, check, about=(challenge, code))

    def onboard_member(
        self,
        *,
        firstname: str,
        lastname: str,
        phone: str = "",
        default_denom: str = DEFAULT_DENOMINATION,
        caller: Caller = ANYBODY,
    ) -> Session | Refused:
        """See `CredexCore.onboard_member`."""
        phone = phone_of(phone, caller)

        def onboard() -> _Member | Refused:
            if not phone:
                return NO_PHONE
            if phone in self._phones:
                return Refused("core.member_exists")
            if default_denom not in DECIMALS:
                return Refused("core.rejected", reason="unknown denomination")
            member = self._new_member(phone, firstname, lastname, 1, _DAILY_LIMIT)
            account = self._new_account(member, self._free_handle(firstname, lastname), f"{firstname} {lastname}")
            self._transfer(self._treasury, account, _OPENING_BALANCE)
            return member

        member = self._serve("onboardMember", caller, onboard, about=(firstname, lastname, phone, default_denom))
        if isinstance(member, Refused):
            return member
        with self._lock:  # a repeated call, whose first reply was lost, gets a session too
            return Session(self._new_token(member), self._dashboard(member))

    def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """See `CredexCore.get_account_by_handle`."""

        def find(_: _Member) -> Recipient | Refused:
            account = self._handles.get(handle.lower())
            if account is None:
                return Refused("handle.unknown", field="handle", handle=handle)
            return Recipient(account.id, account.handle, account.name)

        return self._for_member("getAccountByHandle", caller, find, effect=False)

    def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """See `CredexCore.create_credex`."""

        def create(member: _Member) -> Receipt | Refused:
            source, target = self._own(member, issuer), self._accounts.get(receiver)
            if source is None or target is None or source is target:
                return Refused("core.rejected", reason="no such account")
            if not _payable(amount):
                return Refused("core.rejected", reason="invalid amount")
            limited = member.tier == 1 and amount.currency == "USD"
            if limited and amount.amount > member.remaining:
                return Refused("amount.limit", field="amount", remaining=Money(member.remaining, "USD"))
            free = self._free(source, amount.currency)
            if member.tier < 5 and free < amount:
                return Refused("amount.balance", field="amount", held=free)
            if limited:
                member.remaining -= amount.amount
            return Receipt(self._new_offer(source, target, amount).id, self._dashboard(member))

        return self._for_member("createCredex", caller, create, about=(issuer, receiver, amount))

    def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex`."""
        return self._for_member(
            "acceptCredex", caller, lambda member: self._accept(member, [credex_id]), about=credex_id
        )

    def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex_bulk`."""
        ids = list(credex_ids)
        return self._for_member("acceptCredexBulk", caller, lambda member: self._accept(member, ids), about=tuple(ids))

    def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.decline_credex`."""

        def decline(member: _Member) -> Receipt | Refused:
            if self._open_offer(member, credex_id, "receiver") is None:
                return Refused("core.offer_gone")
            self._close(credex_id, "declined")
            return Receipt(credex_id, self._dashboard(member))

        return self._for_member("declineCredex", caller, decline, about=credex_id)

    def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.cancel_credex`."""

        def cancel(member: _Member) -> Receipt | Refused:
            if self._open_offer(member, credex_id, "issuer") is None:
                return Refused("core.offer_gone")
            self._close(credex_id, "cancelled")
            return Receipt(credex_id, self._dashboard(member))

        return self._for_member("cancelCredex", caller, cancel, about=credex_id)

    def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """See `CredexCore.get_ledger`."""

        def read(member: _Member) -> tuple[LedgerEntry, ...] | Refused:
            account = self._own(member, account_id)
            if account is None:
                return Refused("core.rejected", reason="no such account")
            latest_first = account.transfers[::-1]
            return tuple(self._entry(t, account) for t in latest_first[max(0, start_row) :][: max(0, num_rows)])

        return self._for_member("getLedger", caller, read, effect=False)

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
        """See `CredexCore.create_recurring`."""

        def subscribe(member: _Member) -> Receipt | Refused:
            account = self._own(member, source_account_id)
            if account is None or pay_frequency < 1 or not _payable(amount):
                return Refused("core.rejected", reason="no such account or no such payment")
            if not member.tier < member_tier <= 5:
                return Refused("core.rejected", reason="the member has this tier already")
            if self._free(account, amount.currency) < amount:
                return Refused("core.insufficient_secured_balance", held=self._free(account, amount.currency))
            payment = self._transfer(account, self._treasury, amount)
            member.tier = member_tier
            return Receipt(payment.id, self._dashboard(member))

        about = (source_account_id, member_tier, amount, pay_frequency, start_date)
        return self._for_member("createRecurring", caller, subscribe, about=about)

    # Serving a call -------------------------------------------------------------------------------------------

    def _for_member(
        self,
        name: str,
        caller: Caller,
        work: Callable[[_Member], R | Refused],
        *,
        effect: bool = True,
        about: object = None,
    ) -> R | Refused:
        """Serve a call that needs a token."""

        def with_token() -> R | Refused:
            member, until = self._tokens.get(caller.token or "", (None, 0.0))
            return _UNAUTHORISED if member is None or until <= self.clock() else work(member)

        return self._serve(name, caller, with_token, effect=effect, about=about)

    def _serve(
        self, name: str, caller: Caller, work: Callable[[], R | Refused], *, effect: bool = True, about: object = None
    ) -> R | Refused:
        """Serve one call: apply the faults, and act once for its key."""
        key = caller.key if effect else ""
        with self._lock:
            self._calls.append(Received(name, caller.key))
            faults = self._take_faults(name)
        if slow := sum(fault.seconds for fault in faults if fault.kind == "slow"):
            time.sleep(slow)
        kinds = {fault.kind for fault in faults}
        if "down" in kinds:
            return unreached(effect=effect)
        if "401" in kinds:
            return _UNAUTHORISED
        with self._lock:
            result = self._once(key, (name, about), work)
        if "lost" in kinds:
            if effect:
                raise ReplyLost(name)
            return unreached(effect=False)
        return result

    def _once(self, key: str, what: object, work: Callable[[], R | Refused]) -> R | Refused:
        """Do the work, or return the first result of the same key."""
        if key in self._results:
            before, result = self._results[key]
            return result if before == what else Refused("core.key_reused")  # type: ignore[return-value]
        result = work()
        if key and result is not _UNAUTHORISED:
            self._results[key] = what, result
        return result

    def _take_faults(self, name: str) -> list[Fault]:
        """Return the faults of this call, and count them."""
        taken: list[Fault] = []
        for place, fault in enumerate(self._faults):
            if fault.call in ("", name) and fault.times != 0 and self._dice.random() < fault.chance:
                taken.append(fault)
                if fault.times is not None:
                    self._faults[place] = attrs.evolve(fault, times=fault.times - 1)
        return taken

    # Contents --------------------------------------------------------------------------------------------------

    def _id(self, kind: str) -> str:
        """Return the next id of a kind. It does not depend on the ids of other kinds."""
        self._made[kind] += 1
        chance = random.Random(f"{self._secret} {kind} {self._made[kind]}")  # noqa: S311  # as above
        return f"{kind}-{chance.getrandbits(64):016x}"

    def _new_member(self, phone: str, firstname: str, lastname: str, tier: int, remaining: Decimal) -> _Member:
        member = self._phones[phone] = _Member(self._id("member"), phone, firstname, lastname, tier, remaining)
        return member

    def _new_account(self, member: _Member, handle: str, name: str) -> _Account:
        account = _Account(self._id("account"), handle, name, member.id)
        self._accounts[account.id] = self._handles[handle] = account
        member.accounts.append(account)
        return account

    def _new_offer(self, issuer: _Account, receiver: _Account, money: Money) -> Offer:
        offer = Offer(self._id("credex"), issuer.handle, receiver.handle, money.amount, money.currency)
        self._offers[offer.id] = offer
        issuer.outgoing[offer.id] = receiver.incoming[offer.id] = None
        return offer

    def _new_token(self, member: _Member) -> str:
        issued = self.clock()
        claims = {"sub": member.id, "iat": issued, "exp": issued + _TOKEN_LIFE, "jti": self._id("token")}
        token = jwt.encode(claims, self._secret, algorithm="HS256")
        self._tokens[token] = member, issued + _TOKEN_LIFE
        return token

    def _free_handle(self, firstname: str, lastname: str) -> str:
        wanted = re.sub("[^a-z0-9_]", "", f"{firstname}_{lastname}".lower())[:24].strip("_") or "member"
        handle, number = wanted, 1
        while handle in self._handles:
            number += 1
            handle = f"{wanted}_{number}"
        return handle

    def _transfer(self, source: _Account, target: _Account, money: Money) -> _Transfer:
        """Transfer money between two accounts. Balances change nowhere else."""
        transfer = _Transfer(self._id("transfer"), source.id, target.id, money)
        self._transfers.append(transfer)
        for account, amount in ((source, -money.amount), (target, money.amount)):
            account.balances[money.currency] = account.balances.get(money.currency, Decimal(0)) + amount
            if amount:
                account.transfers.append(transfer)
        return transfer

    def _own(self, member: _Member, account_id: str) -> _Account | None:
        account = self._accounts.get(account_id)
        return account if account and account.owner == member.id else None

    def _free(self, account: _Account, denom: str) -> Money:
        """Return the balance that open offers do not bind."""
        bound = sum((o.amount for o in map(self._offers.__getitem__, account.outgoing) if o.denom == denom), Decimal(0))
        return Money(max(account.balances.get(denom, Decimal(0)) - bound, Decimal(0)), denom)

    def _open_offer(self, member: _Member, credex_id: str, side: Literal["issuer", "receiver"]) -> Offer | None:
        """Return the offer, if it is open and the member owns the account on that side of it."""
        offer = self._offers.get(credex_id)
        if offer is None or offer.status != "pending":
            return None
        handle = offer.issuer if side == "issuer" else offer.receiver
        return offer if self._handles[handle].owner == member.id else None

    def _close(self, credex_id: str, status: Status) -> None:
        offer = self._offers[credex_id] = attrs.evolve(self._offers[credex_id], status=status)
        del self._handles[offer.issuer].outgoing[credex_id]
        del self._handles[offer.receiver].incoming[credex_id]

    def _accept(self, member: _Member, credex_ids: Sequence[str]) -> Receipt | Refused:
        offers = {credex_id: self._open_offer(member, credex_id, "receiver") for credex_id in credex_ids}
        if not offers or None in offers.values():
            return Refused("core.offer_gone")
        for offer in filter(None, offers.values()):
            self._close(offer.id, "accepted")
            self._transfer(self._handles[offer.issuer], self._handles[offer.receiver], offer.money)
        return Receipt(",".join(offers), self._dashboard(member))

    def _entry(self, transfer: _Transfer, account: _Account) -> LedgerEntry:
        given = transfer.source == account.id
        other = self._accounts.get(transfer.target if given else transfer.source, self._treasury)
        return LedgerEntry(transfer.id, other.handle, other.name, -transfer.money if given else transfer.money)

    def _session(self, phone: str) -> Session | None:
        member = self._phones.get(phone)
        return None if member is None else Session(self._new_token(member), self._dashboard(member))

    def _dashboard(self, member: _Member) -> Dashboard:
        return Dashboard(
            member_id=member.id,
            firstname=member.firstname,
            lastname=member.lastname,
            tier=member.tier,
            remaining_usd=Money(member.remaining, "USD"),
            accounts=tuple(map(self._account, member.accounts)),
        )

    def _account(self, account: _Account) -> Account:
        balances = tuple(Money(amount, denom) for denom, amount in account.balances.items())
        net = sum((m.amount * Decimal(_RATES[m.currency]) for m in balances), Decimal(0))
        return Account(
            id=account.id,
            handle=account.handle,
            name=account.name,
            balances=balances,
            net_assets=Money(net.quantize(Decimal("0.01")), "USD"),
            incoming_count=len(account.incoming),
            outgoing_count=len(account.outgoing),
            incoming=tuple(
                self._pending(offer, offer.issuer) for offer in map(self._offers.__getitem__, account.incoming)
            ),
            outgoing=tuple(
                self._pending(offer, offer.receiver) for offer in map(self._offers.__getitem__, account.outgoing)
            ),
        )

    def _pending(self, offer: Offer, other: str) -> PendingOffer:
        return PendingOffer(offer.id, other, self._handles[other].name, offer.money)


def _payable(money: Money) -> bool:
    """Return whether an amount is positive, in a known denomination, with no more decimal places than it has."""
    exponent = money.amount.as_tuple().exponent
    if not isinstance(exponent, int) or money.currency not in DECIMALS:
        return False
    return money.amount > 0 and -exponent <= DECIMALS[money.currency]
