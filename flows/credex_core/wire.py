"""What goes over the wire to credex-core and back, as data: no socket, no clock.

A call is an `Asked`: a name, a body, and how to read what comes back. `understood` says what an answer means:

    2xx, the action that was asked for   what the call is for
    401                                  `Refused("core.unauthorised")`, nothing was done
    4xx, or an action that failed        `Refused` with credex-core's own reason, nothing was done
    4xx that is not credex-core's        `Unreachable("core.down")`: somebody on the way refused it, nothing was done
    409 without a reason we know,        nobody knows: `ReplyLost` where the call has an effect; a question is
    3xx, 5xx, nonsense, nothing          simply not answered, `Unreachable("core.down")`

Amounts come as words ("1,000.00 USD") and as numbers; either becomes a `Decimal` digit by digit.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Generic, NoReturn, TypeVar

import attrs

from flows.credex_core.port import (
    DECIMALS,
    Account,
    Dashboard,
    LedgerEntry,
    PendingOffer,
    Receipt,
    Recipient,
    ReplyLost,
    Session,
    phone_of,
)
from vimbiso_fsm import Caller, Money, Refused, Unreachable

__all__ = [
    "DOWN",
    "MAX_BODY",
    "UNAUTHORISED",
    "Answer",
    "Asked",
    "accept_credex",
    "accept_credex_bulk",
    "cancel_credex",
    "create_credex",
    "create_recurring",
    "decline_credex",
    "exact",
    "get_account_by_handle",
    "get_ledger",
    "headers",
    "login",
    "onboard_member",
    "unanswered",
    "understood",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

MAX_BODY: Final = 4 << 20
"""Bytes that an answer may have; a longer one is not read to its end."""
DOWN: Final = Unreachable("core.down")
UNAUTHORISED: Final = Refused("core.unauthorised")

LONGEST_REASON: Final = 200
"""Characters of credex-core's reason that a member is shown."""


@attrs.frozen
class Answer:
    """What came back: the status, what it says it is, and the body."""

    status: int
    content_type: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Action:
    """What credex-core says that it did, and the dashboard after it."""

    id: str
    details: Mapping[str, Any] = attrs.field(repr=False)
    dashboard: Mapping[str, Any] = attrs.field(repr=False)


def _rejected(reason: str) -> Refused:
    return Refused("core.rejected", reason=reason)


@attrs.frozen
class Asked(Generic[R_co]):
    """A call as it goes over the wire.

    `name`: in the API. `does`: the types of action that answer it. `read`: what such an action is for. `missing`: what
    it means that something was not found, given the reason. `short`: code and field of the refusal when the balance
    does not do. `effect`: whether it changes anything. `public`: whether it needs no token.
    """

    name: str
    body: Mapping[str, Any] = attrs.field(repr=False)
    caller: Caller = attrs.field(repr=False)
    does: frozenset[str]
    read: Callable[[Action], R_co] = attrs.field(repr=False)
    missing: Callable[[str], R_co | Refused] = attrs.field(default=_rejected, repr=False)
    short: tuple[str, str | None] = ("core.insufficient_secured_balance", None)
    effect: bool = True
    public: bool = False

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return json.dumps(self.body, allow_nan=False).encode()


def headers(asked: Asked[object], api_key: str = "") -> Mapping[str, str]:
    """What is said above the body: who asks, for whom, and the key under which it is done once."""
    said = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    token = asked.caller.token or ""
    for name, value, template in (
        ("Authorization", "" if asked.public else token, "Bearer {}"),
        ("Idempotency-Key", asked.caller.key, "{}"),
        ("x-client-api-key", api_key, "{}"),
    ):
        if value and value.isascii() and value.isprintable():  # what is no header would be refused in any case
            said[name] = template.format(value)
    return said


# The calls ---------------------------------------------------------------------------------------------------------


def login(phone: str, caller: Caller) -> Asked[Session | None]:
    """See `CredexCore.login`."""
    return Asked(
        "login",
        {"phone": phone_of(phone, caller)},
        caller,
        frozenset({"MEMBER_LOGIN"}),
        _session,
        missing=lambda _: None,
        effect=False,
        public=True,
    )


def onboard_member(firstname: str, lastname: str, phone: str, default_denom: str, caller: Caller) -> Asked[Session]:
    """See `CredexCore.onboard_member`."""
    body = {
        "firstname": firstname,
        "lastname": lastname,
        "phone": phone_of(phone, caller),
        "defaultDenom": default_denom,
    }
    does = frozenset({"MEMBER_ONBOARDED", "MEMBER_CREATED"})
    return Asked("onboardMember", body, caller, does, _session, public=True)


def get_account_by_handle(handle: str, caller: Caller) -> Asked[Recipient]:
    """See `CredexCore.get_account_by_handle`."""
    return Asked(
        "getAccountByHandle",
        {"accountHandle": handle},
        caller,
        frozenset({"ACCOUNT_FOUND"}),
        _recipient,
        missing=lambda _: Refused("handle.unknown", field="handle", handle=handle),
        effect=False,
    )


def create_credex(issuer: str, receiver: str, amount: Money, caller: Caller) -> Asked[Receipt]:
    """See `CredexCore.create_credex`."""
    body = {
        "issuerAccountID": issuer,
        "receiverAccountID": receiver,
        "Denomination": amount.currency,
        "InitialAmount": _number(amount.amount),
        "credexType": "PURCHASE",
        "OFFERSorREQUESTS": "OFFERS",
        "securedCredex": True,
    }
    short = ("amount.balance", "amount")
    return Asked("createCredex", body, caller, frozenset({"CREDEX_CREATED"}), _receipt, short=short)


def accept_credex(credex_id: str, caller: Caller) -> Asked[Receipt]:
    """See `CredexCore.accept_credex`."""
    return _answering("acceptCredex", {"credexID": credex_id}, caller, "CREDEX_ACCEPTED")


def accept_credex_bulk(credex_ids: Sequence[str], caller: Caller) -> Asked[Receipt]:
    """See `CredexCore.accept_credex_bulk`."""
    return _answering("acceptCredexBulk", {"credexIDs": list(credex_ids)}, caller, "CREDEX_ACCEPTED")


def decline_credex(credex_id: str, caller: Caller) -> Asked[Receipt]:
    """See `CredexCore.decline_credex`."""
    return _answering("declineCredex", {"credexID": credex_id}, caller, "CREDEX_DECLINED")


def cancel_credex(credex_id: str, caller: Caller) -> Asked[Receipt]:
    """See `CredexCore.cancel_credex`."""
    return _answering("cancelCredex", {"credexID": credex_id}, caller, "CREDEX_CANCELLED")


def get_ledger(account_id: str, start_row: int, num_rows: int, caller: Caller) -> Asked[tuple[LedgerEntry, ...]]:
    """See `CredexCore.get_ledger`."""
    body = {"accountID": account_id, "startRow": start_row, "numRows": num_rows}
    return Asked("getLedger", body, caller, frozenset({"LEDGER_RETRIEVED"}), _ledger, effect=False)


def create_recurring(
    source_account_id: str, member_tier: int, amount: Money, pay_frequency: int, start_date: dt.date, caller: Caller
) -> Asked[Receipt]:
    """See `CredexCore.create_recurring`."""
    body = {
        "sourceAccountID": source_account_id,
        "memberID": caller.member_id,
        "templateType": "MEMBERTIER_SUBSCRIPTION",
        "payFrequency": pay_frequency,
        "startDate": start_date.isoformat(),
        "memberTier": member_tier,
        "securedCredex": True,
        "amount": f"{amount.amount:f}",
        "denomination": amount.currency,
    }
    return Asked("createRecurring", body, caller, frozenset({"RECURRING_CREATED"}), _receipt)


def _answering(name: str, body: Mapping[str, Any], caller: Caller, does: str) -> Asked[Receipt]:
    """An answer to an offer that waits."""
    return Asked(name, body, caller, frozenset({does}), _receipt, missing=lambda _: Refused("core.offer_gone"))


def _number(amount: Decimal) -> float | str:
    """The amount as a number that says the very same; one that no double holds stays a text, for credex-core to
    refuse."""
    number = float(amount) if amount.is_finite() else math.inf
    return number if Decimal(repr(number)) == amount else str(amount)


# What an answer means ----------------------------------------------------------------------------------------------


class _Unclear(ValueError):
    """An answer that says nothing; why, in words that quote nothing of it."""


def understood(asked: Asked[R], answer: Answer, api_key: str = "") -> R | Refused:
    """What the answer means; a reason in it is given without what was confided, the key of the API too.

    Raises: ReplyLost when the call has an effect, and nobody knows whether it was done.
    """
    try:
        return _meaning(asked, answer, api_key)
    except _Unclear as unclear:
        fault = str(unclear)
    return unanswered(asked, fault)


def unanswered(asked: Asked[object], fault: str) -> Refused:
    """What it means that the call was sent, or may have been, and nothing came back that says what became of it.

    Raises: ReplyLost when the call has an effect.
    """
    if asked.effect:
        raise ReplyLost(asked.name, fault)
    return DOWN


def _meaning(asked: Asked[R], answer: Answer, api_key: str) -> R | Refused:
    status = answer.status
    if status == 401:
        return UNAUTHORISED
    if status == 429:
        return DOWN
    if not (200 <= status < 300 or 400 <= status < 500):
        raise _Unclear(f"is HTTP {status}")
    try:
        message = _message(answer)
        data = _object(message.get("data", {}), "data")
        action = _object(data.get("action", {}), "data.action")
    except _Unclear:
        if 400 <= status < 500 and status != 409:
            return DOWN
        raise
    type, details = _words(action.get("type")), action.get("details", {})
    if status < 300 and type in asked.does:
        return asked.read(
            Action(_words(action.get("id")), _object(details, "data.action.details"), _dashboard_of(data))
        )
    if type in asked.does or (status < 300 and not _FAILED.search(type)):
        raise _Unclear(f"is HTTP {status} and about another action")
    details = details if isinstance(details, dict) else {}
    secrets = (asked.caller.token, asked.body.get("phone"), api_key)
    return _refusal(asked, status, type, details, _reason(details.get("reason") or message.get("message"), secrets))


_FAILED: Final = re.compile("^ERROR_|_FAILED$")


def _refusal(asked: Asked[R], status: int, type: str, details: Mapping[str, Any], reason: str) -> R | Refused:
    """What was refused, and why: it is known that nothing was done."""
    if type == "ERROR_INTERNAL":
        raise _Unclear("tells of an internal error")
    match details.get("code"):
        case "IDEMPOTENCY_KEY_REUSED":
            return Refused("core.key_reused")
        case "MEMBER_EXISTS":
            return Refused("core.member_exists")
        case "INSUFFICIENT_SECURED_BALANCE":
            held = _held(details)
            if held is None:
                return Refused("core.balance_short")
            return Refused(asked.short[0], field=asked.short[1], held=held)
        case "DAILY_LIMIT_EXCEEDED":
            remaining = _usd(details.get("remainingAvailableUSD"))
            if remaining is not None:
                return Refused("amount.limit", field="amount", remaining=remaining)
        case _:
            if status == 409:  # the same call may be on its way still
                raise _Unclear("is HTTP 409")
    if type == "ERROR_NOT_FOUND" or (status in (400, 404) and "member not found" in reason.lower()):
        return asked.missing(reason)
    return _rejected(reason)


def _reason(said: object, secrets: Iterable[str | None]) -> str:
    """credex-core's reason as a member may read it: on one line, not long, and nothing in it that was confided."""
    words = said if isinstance(said, str) else ""
    for secret in secrets:
        words = words.replace(secret, "…") if secret else words
    line = "".join(letter for letter in " ".join(words.split()) if letter.isprintable()).rstrip(" .")
    return (line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…") or "it gave no reason"


def _held(details: Mapping[str, Any]) -> Money | None:
    """What the account holds: as a field, or as the last words of the reason."""
    for said in (details.get("available"), details.get("reason")):
        found = _TRAILING.search(said) if isinstance(said, str) else None
        if found:
            return _amount(found[0].rstrip("."), "available")
    return None


# Reading -----------------------------------------------------------------------------------------------------------

_MONEY: Final = re.compile(r"(-?[0-9][0-9,]{0,17}(?:\.[0-9]{1,18})?) ([A-Z]{3,8})")
_TRAILING: Final = re.compile(rf"{_MONEY.pattern}\.?$")


def _message(answer: Answer) -> Mapping[str, Any]:
    """The JSON object that an answer is."""
    kind = answer.content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise _Unclear("is no JSON")
    try:
        message = json.loads(answer.body.decode(), parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        message = None
    return _object(message, "its top")


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no numbers of JSON")


def _object(raw: object, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise _Unclear(f"has no object at {where}")
    return raw


def _list(raw: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    value = raw.get(name)
    if not isinstance(value, list):
        raise _Unclear(f"has no list {name}")
    return [_object(one, name) for one in value]


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise _Unclear(f"has no text {name}")
    return value


def _words(value: object) -> str:
    """A text that may be missing."""
    return value if isinstance(value, str) else ""


def _amount(words: object, name: str) -> Money:
    """Amount and denomination, with the decimals that it has."""
    found = _MONEY.fullmatch(words) if isinstance(words, str) else None
    if found is None:
        raise _Unclear(f"has no amount {name}")
    return exact(Decimal(found[1].replace(",", "")), found[2])


def _usd(value: object) -> Money | None:
    """So many dollars, as a number or as words; None where it does not say."""
    if isinstance(value, str):
        return _amount(f"{value} USD", "remainingAvailableUSD")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return exact(number, "USD") if number.is_zero() or -10 < number.adjusted() < 18 else None


def exact(amount: Decimal, currency: str) -> Money:
    """With all the decimals that its denomination has; finer ones are kept."""
    decimals, exponent = DECIMALS.get(currency, 0), amount.as_tuple().exponent
    coarse = isinstance(exponent, int) and -exponent < decimals
    return Money(amount.quantize(Decimal(1).scaleb(-decimals)) if coarse else amount, currency)


def _dashboard_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    value = data.get("dashboard")
    return value if isinstance(value, dict) else {}


def _session(action: Action) -> Session:
    return Session(_text(action.details, "token"), _dashboard(action))


def _receipt(action: Action) -> Receipt:
    """What was done stays done, also where it is answered without a dashboard."""
    return Receipt(action.id, _dashboard(action) if action.dashboard else Dashboard())


def _recipient(action: Action) -> Recipient:
    details = action.details
    handle = _text(details, "accountHandle").lower()
    return Recipient(_text(details, "accountID"), handle, _text(details, "accountName"))


def _ledger(action: Action) -> tuple[LedgerEntry, ...]:
    return tuple(
        LedgerEntry(
            id=_text(entry, "credexID"),
            handle=_words(entry.get("counterpartyAccountHandle")),
            name=_words(entry.get("counterpartyAccountName")),
            amount=_amount(entry.get("formattedAmount"), "formattedAmount"),
        )
        for entry in _list(action.details, "ledger")
    )


def _dashboard(action: Action) -> Dashboard:
    """The member with their accounts. A tier that is missing counts as 1, a limit as nothing left."""
    member = _object(action.dashboard.get("member"), "data.dashboard.member")
    tier = member.get("memberTier")
    return Dashboard(
        member_id=_text({**action.details, **member}, "memberID"),
        firstname=_words(member.get("firstname")),
        lastname=_words(member.get("lastname")),
        tier=tier if isinstance(tier, int) and not isinstance(tier, bool) and 1 <= tier <= 5 else 1,
        remaining_usd=_usd(member.get("remainingAvailableUSD")) or exact(Decimal(0), "USD"),
        accounts=tuple(map(_account, _list(action.dashboard, "accounts"))),
    )


def _account(raw: Mapping[str, Any]) -> Account:
    balances = _object(raw.get("balanceData"), "balanceData")
    held = balances.get("securedNetBalancesByDenom")
    net = balances.get("netCredexAssetsInDefaultDenom")
    incoming, outgoing = _pending(raw, "pendingInData"), _pending(raw, "pendingOutData")
    return Account(
        id=_text(raw, "accountID"),
        handle=_text(raw, "accountHandle").lower(),
        name=_text(raw, "accountName"),
        owned=raw.get("isOwnedAccount") is True,
        balances=tuple(_amount(one, "securedNetBalancesByDenom") for one in held) if isinstance(held, list) else (),
        net_assets=_amount(net, "netCredexAssetsInDefaultDenom"),
        incoming=incoming,
        outgoing=outgoing,
        incoming_count=len(incoming),
        outgoing_count=len(outgoing),
    )


def _pending(raw: Mapping[str, Any], name: str) -> tuple[PendingOffer, ...]:
    return tuple(
        PendingOffer(
            id=_text(one, "credexID"),
            handle=_words(one.get("counterpartyAccountHandle")),
            name=_words(one.get("counterpartyAccountName")),
            amount=_amount(one.get("formattedInitialAmount"), "formattedInitialAmount"),
        )
        for one in _list(raw, name)
    )
