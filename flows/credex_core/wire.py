"""Requests and responses of credex-core as data, without a socket or a clock.

A call is an `Asked`: a name, a body, and the reading of the response. `understood` interprets a response:

    2xx with the requested action      the value of the call
    401                                `Refused("core.unauthorised")`; the call had no effect
    4xx, or a failed action            `Refused` with the reason of credex-core; the call had no effect
    4xx of another origin              `Unreachable("core.down")`: a proxy refused the call, which had no effect
    409 without a known reason,        unknown: `ReplyLost` for a call with an effect, `Unreachable("core.down")` for
    3xx, 5xx, unreadable, none         one without

Amounts arrive as text ("1,000.00 USD") and as numbers; both become a `Decimal` with the same digits.
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

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

MAX_BODY: Final = 4 << 20
"""Bytes of a response that are read; a longer one counts as unreadable."""
DOWN: Final = Unreachable("core.down")
UNAUTHORISED: Final = Refused("core.unauthorised")

LONGEST_REASON: Final = 200
"""Characters of a reason of credex-core that a member is shown."""


@attrs.frozen
class Answer:
    """A response: its status, the value of Content-Type, and its body."""

    status: int
    content_type: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Action:
    """The action that a response reports, and the dashboard after it."""

    id: str
    details: Mapping[str, Any] = attrs.field(repr=False)
    dashboard: Mapping[str, Any] = attrs.field(repr=False)


def _rejected(reason: str) -> Refused:
    return Refused("core.rejected", reason=reason)


@attrs.frozen
class Asked(Generic[R_co]):
    """A call as it is sent.

    Attributes:
        name: The name of the call in the API.
        body: The body of the request.
        caller: The caller.
        does: The types of actions that report success.
        read: Reads the value from such an action.
        missing: The result for an object that was not found, given the reason.
        short: The code and the field of the refusal when the balance is too low.
        effect: Whether the call changes anything.
        public: Whether the call needs no token.
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
        """The body as bytes."""
        return json.dumps(self.body, allow_nan=False).encode()


def headers(asked: Asked[object], api_key: str = "") -> Mapping[str, str]:
    """The headers of a request: the token, the idempotency key and the key of the API."""
    said = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    token = asked.caller.token or ""
    for name, value, template in (
        ("Authorization", "" if asked.public else token, "Bearer {}"),
        ("Idempotency-Key", asked.caller.key, "{}"),
        ("x-client-api-key", api_key, "{}"),
    ):
        if (
            value and value.isascii() and value.isprintable()
        ):  # a value that cannot be a header would be refused in any case
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
    """Make the call that answers an open offer."""
    return Asked(name, body, caller, frozenset({does}), _receipt, missing=lambda _: Refused("core.offer_gone"))


def _number(amount: Decimal) -> float | str:
    """The amount as a JSON number, or as text when no double is equal to it, for credex-core to refuse."""
    number = float(amount) if amount.is_finite() else math.inf
    return number if Decimal(repr(number)) == amount else str(amount)


# Interpreting a response -------------------------------------------------------------------------------------------


class _Unclear(ValueError):
    """A response that cannot be interpreted. The message says why and quotes nothing of it."""


def understood(asked: Asked[R], answer: Answer, api_key: str = "") -> R | Refused:
    """Interpret a response.

    Args:
        asked: The call.
        answer: The response.
        api_key: The key of the API, which is removed from a reason like the other secrets of the call.

    Returns:
        The value of the call, or a refusal.

    Raises:
        ReplyLost: The call has an effect, and the response does not tell whether it took place.
    """
    try:
        return _meaning(asked, answer, api_key)
    except _Unclear as unclear:
        fault = str(unclear)
    return unanswered(asked, fault)


def unanswered(asked: Asked[object], fault: str) -> Refused:
    """The result of a call that was or may have been sent, without a usable response.

    Args:
        asked: The call.
        fault: What is wrong with the response, as the end of a sentence.

    Returns:
        A refusal, for a call without an effect.

    Raises:
        ReplyLost: The call has an effect.
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
    """The refusal of a call that had no effect."""
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
            if status == 409:  # the same call may still be in progress
                raise _Unclear("is HTTP 409")
    if type == "ERROR_NOT_FOUND" or (status in (400, 404) and "member not found" in reason.lower()):
        return asked.missing(reason)
    return _rejected(reason)


def _reason(said: object, secrets: Iterable[str | None]) -> str:
    """A reason of credex-core as a member may read it: one short line without secrets."""
    words = said if isinstance(said, str) else ""
    for secret in secrets:
        words = words.replace(secret, "…") if secret else words
    line = "".join(letter for letter in " ".join(words.split()) if letter.isprintable()).rstrip(" .")
    return (line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…") or "it gave no reason"


def _held(details: Mapping[str, Any]) -> Money | None:
    """The balance, from its field or from the end of the reason."""
    for said in (details.get("available"), details.get("reason")):
        found = _TRAILING.search(said) if isinstance(said, str) else None
        if found:
            return _amount(found[0].rstrip("."), "available")
    return None


# Reading -----------------------------------------------------------------------------------------------------------

_MONEY: Final = re.compile(r"(-?[0-9][0-9,]{0,17}(?:\.[0-9]{1,18})?) ([A-Z]{3,8})")
_TRAILING: Final = re.compile(rf"{_MONEY.pattern}\.?$")


def _message(answer: Answer) -> Mapping[str, Any]:
    """Decode the JSON object of a response."""
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
    """A text, or "" when it is missing."""
    return value if isinstance(value, str) else ""


def _amount(words: object, name: str) -> Money:
    """Read an amount with its denomination and its decimals."""
    found = _MONEY.fullmatch(words) if isinstance(words, str) else None
    if found is None:
        raise _Unclear(f"has no amount {name}")
    return exact(Decimal(found[1].replace(",", "")), found[2])


def _usd(value: object) -> Money | None:
    """Read an amount of US dollars from a number or a text; None when there is neither."""
    if isinstance(value, str):
        return _amount(f"{value} USD", "remainingAvailableUSD")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return exact(number, "USD") if number.is_zero() or -10 < number.adjusted() < 18 else None


def exact(amount: Decimal, currency: str) -> Money:
    """Make an amount with at least the decimals of its denomination; further ones are kept."""
    decimals, exponent = DECIMALS.get(currency, 0), amount.as_tuple().exponent
    coarse = isinstance(exponent, int) and -exponent < decimals
    return Money(amount.quantize(Decimal(1).scaleb(-decimals)) if coarse else amount, currency)


def _dashboard_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    value = data.get("dashboard")
    return value if isinstance(value, dict) else {}


def _session(action: Action) -> Session:
    return Session(_text(action.details, "token"), _dashboard(action))


def _receipt(action: Action) -> Receipt:
    """Read a receipt. A success without a dashboard is still a success."""
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
    """Read a member with the accounts. A missing tier counts as 1, a missing limit as nothing left."""
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
