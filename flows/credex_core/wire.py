"""Requests to credex-core and its responses, as data, without I/O.

An `ApiCall` holds the name and the body of a call, and the rules to read its response. `interpret` applies them:

    2xx with the expected action       the result of the call
    401                                `Refused("core.unauthorised")`; no effect
    4xx, or an action that failed      `Refused` with credex-core's reason; no effect
    4xx of another server on the way   `unreached(…)`; no effect
    409 with an unknown reason, 3xx,   the outcome is unknown: `ReplyLost` for a call with an effect,
    5xx, an unreadable response        `unreached(effect=False)` for one that only reads

Amounts come as texts ("1,000.00 USD") and as numbers. Both become a `Decimal` with the same digits.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Generic, NoReturn, TypeVar

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
    unreached,
)
from vimbiso_fsm import Caller, Money, Refused

__all__ = [
    "MAX_BODY",
    "UNAUTHORISED",
    "ApiCall",
    "ApiResponse",
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
    "interpret",
    "login",
    "onboard_member",
    "outcome_unknown",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

MAX_BODY: Final = 4 << 20
"""The largest size of a response in bytes. The rest of a larger one is not read."""

UNAUTHORISED: Final = Refused("core.unauthorised")

LONGEST_REASON: Final = 200
"""The most characters of credex-core's reason that a member reads."""

_FAILED: Final = re.compile("^ERROR_|_FAILED$")
_MONEY: Final = re.compile(r"(-?[0-9][0-9,]{0,17}(?:\.[0-9]{1,18})?) ([A-Z]{3,8})")
_TRAILING: Final = re.compile(rf"{_MONEY.pattern}\.?$")


@attrs.frozen
class ApiResponse:
    """A response of credex-core.

    Attributes:
        status: The HTTP status.
        content_type: The header Content-Type.
        body: The body.
    """

    status: int
    content_type: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Action:
    """The action that a response reports.

    Attributes:
        id: The id of the action's object.
        details: The details of the action.
        dashboard: The member's dashboard after it; empty if not reported.
    """

    id: str
    details: Mapping[str, object] = attrs.field(repr=False)
    dashboard: Mapping[str, object] = attrs.field(repr=False)


def _rejected(reason: str) -> Refused:
    return Refused("core.rejected", reason=reason)


@attrs.frozen
class ApiCall(Generic[R_co]):
    """A call of the API.

    Attributes:
        name: The name of the call in the API.
        body: The body of the request.
        caller: The member for whom the call is made.
        does: The types of action that report success.
        read: Returns the result of the call from such an action.
        missing: Returns the result if an object was not found, from credex-core's reason.
        short: The code and the field of the refusal if the balance is too small.
        effect: Whether the call changes anything.
        public: Whether the call needs no token.
    """

    name: str
    body: Mapping[str, object] = attrs.field(repr=False)
    caller: Caller = attrs.field(repr=False)
    does: frozenset[str]
    read: Callable[[Action], R_co] = attrs.field(repr=False)
    missing: Callable[[str], R_co | Refused] = attrs.field(default=_rejected, repr=False)
    short: tuple[str, str | None] = ("core.insufficient_secured_balance", None)
    effect: bool = True
    public: bool = False

    @property
    def content(self) -> bytes:
        """The body of the request in bytes."""
        return json.dumps(self.body, allow_nan=False).encode()


def headers(call: ApiCall[object], api_key: str = "") -> Mapping[str, str]:
    """Return the headers of a request, with the token, the idempotency key and the key of the API."""
    found = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    token = call.caller.token or ""
    for name, value, template in (
        ("Authorization", "" if call.public else token, "Bearer {}"),
        ("Idempotency-Key", call.caller.key, "{}"),
        ("x-client-api-key", api_key, "{}"),
    ):
        if value and value.isascii() and value.isprintable():  # credex-core would refuse another value in any case
            found[name] = template.format(value)
    return found


# Calls ---------------------------------------------------------------------------------------------------------


def login(phone: str, caller: Caller) -> ApiCall[Session | None]:
    """See `CredexCore.login`."""
    return ApiCall(
        "login",
        {"phone": phone_of(phone, caller)},
        caller,
        frozenset({"MEMBER_LOGIN"}),
        _session,
        missing=lambda _: None,
        effect=False,
        public=True,
    )


def send_code(phone: str, caller: Caller) -> ApiCall[str]:
    """See `CredexCore.send_code`."""
    return ApiCall("sendCode", {"phone": phone}, caller, frozenset({"CODE_SENT"}), _challenge, public=True)


def check_code(challenge: str, code: str, caller: Caller) -> ApiCall[bool]:
    """See `CredexCore.check_code`."""
    body = {"codeID": challenge, "code": code}
    return ApiCall("checkCode", body, caller, frozenset({"CODE_ACCEPTED"}), lambda _: True, public=True)


def onboard_member(firstname: str, lastname: str, phone: str, default_denom: str, caller: Caller) -> ApiCall[Session]:
    """See `CredexCore.onboard_member`."""
    body = {
        "firstname": firstname,
        "lastname": lastname,
        "phone": phone_of(phone, caller),
        "defaultDenom": default_denom,
    }
    does = frozenset({"MEMBER_ONBOARDED", "MEMBER_CREATED"})
    return ApiCall("onboardMember", body, caller, does, _session, public=True)


def get_account_by_handle(handle: str, caller: Caller) -> ApiCall[Recipient]:
    """See `CredexCore.get_account_by_handle`."""
    return ApiCall(
        "getAccountByHandle",
        {"accountHandle": handle},
        caller,
        frozenset({"ACCOUNT_FOUND"}),
        _recipient,
        missing=lambda _: Refused("handle.unknown", field="handle", handle=handle),
        effect=False,
    )


def create_credex(issuer: str, receiver: str, amount: Money, caller: Caller) -> ApiCall[Receipt]:
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
    return ApiCall("createCredex", body, caller, frozenset({"CREDEX_CREATED"}), _receipt, short=short)


def accept_credex(credex_id: str, caller: Caller) -> ApiCall[Receipt]:
    """See `CredexCore.accept_credex`."""
    return _answering("acceptCredex", {"credexID": credex_id}, caller, "CREDEX_ACCEPTED")


def accept_credex_bulk(credex_ids: Sequence[str], caller: Caller) -> ApiCall[Receipt]:
    """See `CredexCore.accept_credex_bulk`."""
    return _answering("acceptCredexBulk", {"credexIDs": list(credex_ids)}, caller, "CREDEX_ACCEPTED")


def decline_credex(credex_id: str, caller: Caller) -> ApiCall[Receipt]:
    """See `CredexCore.decline_credex`."""
    return _answering("declineCredex", {"credexID": credex_id}, caller, "CREDEX_DECLINED")


def cancel_credex(credex_id: str, caller: Caller) -> ApiCall[Receipt]:
    """See `CredexCore.cancel_credex`."""
    return _answering("cancelCredex", {"credexID": credex_id}, caller, "CREDEX_CANCELLED")


def get_ledger(account_id: str, start_row: int, num_rows: int, caller: Caller) -> ApiCall[tuple[LedgerEntry, ...]]:
    """See `CredexCore.get_ledger`."""
    body = {"accountID": account_id, "startRow": start_row, "numRows": num_rows}
    return ApiCall("getLedger", body, caller, frozenset({"LEDGER_RETRIEVED"}), _ledger, effect=False)


def create_recurring(
    source_account_id: str, member_tier: int, amount: Money, pay_frequency: int, start_date: dt.date, caller: Caller
) -> ApiCall[Receipt]:
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
    return ApiCall("createRecurring", body, caller, frozenset({"RECURRING_CREATED"}), _receipt)


def _answering(name: str, body: Mapping[str, object], caller: Caller, does: str) -> ApiCall[Receipt]:
    """Return a call that answers an open offer."""
    return ApiCall(name, body, caller, frozenset({does}), _receipt, missing=lambda _: Refused("core.offer_gone"))


def _number(amount: Decimal) -> float | str:
    """Return an amount as a number of the same digits; as a text, which credex-core refuses, if no double has them."""
    number = float(amount) if amount.is_finite() else math.inf
    return number if Decimal(repr(number)) == amount else str(amount)


# Results ----------------------------------------------------------------------------------------------


class _Unclear(ValueError):
    """The outcome cannot be read from a response. The message quotes nothing of the response."""


def interpret(call: ApiCall[R], response: ApiResponse, api_key: str = "") -> R | Refused:
    """Return the result of a call, read from the response to it.

    A reason in the result holds no token, no telephone number and no key of the API.

    Raises:
        ReplyLost: The call has an effect, and its outcome is unknown.
    """
    try:
        return _interpret(call, response, api_key)
    except _Unclear as unclear:
        fault = str(unclear)
    return outcome_unknown(call, fault)


def outcome_unknown(call: ApiCall[object], fault: str) -> Refused:
    """Return the result of a call that may have been sent and has no readable response.

    Raises:
        ReplyLost: The call has an effect.
    """
    if call.effect:
        raise ReplyLost(call.name, fault)
    return unreached(effect=False)


def _interpret(call: ApiCall[R], response: ApiResponse, api_key: str) -> R | Refused:
    status = response.status
    if status == 401:
        return UNAUTHORISED
    if status == 429:
        return unreached(effect=call.effect)
    if not (200 <= status < 300 or 400 <= status < 500):
        raise _Unclear(f"is HTTP {status}")
    try:
        message = _message(response)
        data = _object(message.get("data", {}), "data")
        action = _object(data.get("action", {}), "data.action")
    except _Unclear:
        if 400 <= status < 500 and status != 409:
            return unreached(effect=call.effect)
        raise
    type, details = _words(action.get("type")), action.get("details", {})
    if status < 300 and type in call.does:
        return call.read(Action(_words(action.get("id")), _object(details, "data.action.details"), _dashboard_of(data)))
    if type in call.does or (status < 300 and not _FAILED.search(type)):
        raise _Unclear(f"is HTTP {status} and about another action")
    details = details if isinstance(details, dict) else {}
    secrets = (call.caller.token, _words(call.body.get("phone")), _words(call.body.get("code")), api_key)
    return _refusal(call, status, type, details, _reason(details.get("reason") or message.get("message"), secrets))


def _refusal(call: ApiCall[R], status: int, type: str, details: Mapping[str, object], reason: str) -> R | Refused:
    """Return the refusal of a call that certainly had no effect."""
    if type == "ERROR_INTERNAL":
        raise _Unclear("reports an internal error")
    match details.get("code"):
        case "IDEMPOTENCY_KEY_REUSED":
            return Refused("core.key_reused")
        case "MEMBER_EXISTS":
            return Refused("core.member_exists")
        case "INSUFFICIENT_SECURED_BALANCE":
            held = _held(details)
            if held is None:
                return Refused("core.balance_short")
            return Refused(call.short[0], field=call.short[1], held=held)
        case "TOO_MANY_CODES":
            return Refused("code.too_often", field="phone")
        case "CODE_WRONG":
            return Refused("code.wrong", field="code")
        case "CODE_SPENT":
            return Refused("code.spent")
        case "DAILY_LIMIT_EXCEEDED":
            remaining = _usd(details.get("remainingAvailableUSD"))
            if remaining is not None:
                return Refused("amount.limit", field="amount", remaining=remaining)
        case _:
            if status == 409:  # an earlier attempt may still be in progress
                raise _Unclear("is HTTP 409")
    if type == "ERROR_NOT_FOUND" or (status in (400, 404) and "member not found" in reason.lower()):
        return call.missing(reason)
    return _rejected(reason)


def _reason(said: object, secrets: Iterable[str | None]) -> str:
    """Return credex-core's reason for a member: one line of limited length, without the secrets."""
    words = said if isinstance(said, str) else ""
    for secret in secrets:
        words = words.replace(secret, "…") if secret else words
    line = "".join(letter for letter in " ".join(words.split()) if letter.isprintable()).rstrip(" .")
    return (line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…") or "it gave no reason"


def _held(details: Mapping[str, object]) -> Money | None:
    """Return the balance of the account, from its field or from the end of the reason."""
    for said in (details.get("available"), details.get("reason")):
        found = _TRAILING.search(said) if isinstance(said, str) else None
        if found:
            return _amount(found[0].rstrip("."), "available")
    return None


# Readers -----------------------------------------------------------------------------------------------------------


def _message(response: ApiResponse) -> Mapping[str, object]:
    """Return the body of a response, which must be a JSON object."""
    kind = response.content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise _Unclear("is not JSON")
    try:
        message = json.loads(response.body.decode(), parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        message = None
    return _object(message, "its top")


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no numbers of JSON")


def _object(raw: object, where: str) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise _Unclear(f"has no object at {where}")
    return raw


def _list(raw: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    value = raw.get(name)
    if not isinstance(value, list):
        raise _Unclear(f"has no list {name}")
    return [_object(item, name) for item in value]


def _text(raw: Mapping[str, object], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise _Unclear(f"has no text {name}")
    return value


def _words(value: object) -> str:
    """Return a text; empty if it is missing."""
    return value if isinstance(value, str) else ""


def _amount(words: object, name: str) -> Money:
    """Return an amount from its text, such as "1,000.00 USD"."""
    found = _MONEY.fullmatch(words) if isinstance(words, str) else None
    if found is None:
        raise _Unclear(f"has no amount {name}")
    return exact(Decimal(found[1].replace(",", "")), found[2])


def _usd(value: object) -> Money | None:
    """Return an amount in US dollars from a number or a text; None if it is neither."""
    if isinstance(value, str):
        return _amount(f"{value} USD", "remainingAvailableUSD")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return exact(number, "USD") if number.is_zero() or -10 < number.adjusted() < 18 else None


def exact(amount: Decimal, currency: str) -> Money:
    """Return an amount with at least as many decimal places as its denomination has."""
    decimals, exponent = DECIMALS.get(currency, 0), amount.as_tuple().exponent
    coarse = isinstance(exponent, int) and -exponent < decimals
    return Money(amount.quantize(Decimal(1).scaleb(-decimals)) if coarse else amount, currency)


def _dashboard_of(data: Mapping[str, object]) -> Mapping[str, object]:
    value = data.get("dashboard")
    return value if isinstance(value, dict) else {}


def _session(action: Action) -> Session:
    return Session(_text(action.details, "token"), _dashboard(action))


def _challenge(action: Action) -> str:
    return _text(action.details, "codeID")


def _receipt(action: Action) -> Receipt:
    """Return the receipt; its dashboard is empty if the response has none, because the effect has happened."""
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
    """Return the dashboard. A missing tier counts as 1, a missing limit as 0."""
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


def _account(raw: Mapping[str, object]) -> Account:
    balances = _object(raw.get("balanceData"), "balanceData")
    held = balances.get("securedNetBalancesByDenom")
    net = balances.get("netCredexAssetsInDefaultDenom")
    incoming, outgoing = _pending(raw, "pendingInData"), _pending(raw, "pendingOutData")
    return Account(
        id=_text(raw, "accountID"),
        handle=_text(raw, "accountHandle").lower(),
        name=_text(raw, "accountName"),
        owned=raw.get("isOwnedAccount") is True,
        balances=tuple(_amount(balance, "securedNetBalancesByDenom") for balance in held)
        if isinstance(held, list)
        else (),
        net_assets=_amount(net, "netCredexAssetsInDefaultDenom"),
        incoming=incoming,
        outgoing=outgoing,
        incoming_count=len(incoming),
        outgoing_count=len(outgoing),
    )


def _pending(raw: Mapping[str, object], name: str) -> tuple[PendingOffer, ...]:
    return tuple(
        PendingOffer(
            id=_text(offer, "credexID"),
            handle=_words(offer.get("counterpartyAccountHandle")),
            name=_words(offer.get("counterpartyAccountName")),
            amount=_amount(offer.get("formattedInitialAmount"), "formattedInitialAmount"),
        )
        for offer in _list(raw, name)
    )
