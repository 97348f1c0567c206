"""The import of VimbisoPay's records of the previous release.

The previous release stored the answers of an offer as `amount_denom` (or `amount`) and `handle`, and those of a
registration as `first_name` and `last_name`, each as a text or in an object. Balances and open offers were copies from
credex-core, and are requested again. The flows that accept, decline and cancel offers begin again, because the lists
that they began with are no longer shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from flows.credex_core import Account, CredexCore, Dashboard, Recipient, Session
from flows.offer import money, offer
from flows.onboard import onboard
from vimbiso_fsm import Refused, Unreadable, readers, unstructure
from vimbiso_fsm.legacy import Legacy, LegacyFlow

T = TypeVar("T")

_person = readers.name()


def _text(value: object, field: str, inner: str) -> str:
    """Return a text that is stored as it is or in a field of an object; empty if there is none.

    Raises:
        Unreadable: The value is not a text.
    """
    found = value.get(inner) if isinstance(value, dict) else value
    if found is not None and not isinstance(found, str):
        raise Unreadable([f"{field} is a {type(found).__name__}, not a text"])
    return found or ""


def _offered(answers: Mapping[str, object]) -> Mapping[str, object]:
    """Return the data of an offer."""
    known: dict[str, object] = {}
    amount = _amount(answers)
    if amount:
        known["amount"] = _accepted(money(amount), "amount")
    found = answers.get("handle")
    typed = _text(found, "handle", "handle")
    if typed:
        known["handle"] = handle = _accepted(readers.handle(typed), "handle")
        account = found if isinstance(found, dict) else {}
        account_id = _text(account.get("account_id"), "handle.account_id", "")
        if account_id:
            name = _text(account.get("name"), "handle.name", "")
            known["to"] = Recipient(account_id, handle, name or handle)
    return known


def _amount(answers: Mapping[str, object]) -> str:
    """Return the amount and its denomination as a member would type them; empty if there is none yet."""
    found = answers.get("amount_denom", answers.get("amount"))
    denomination = found.get("denomination") if isinstance(found, dict) else answers.get("denomination")
    number = found.get("amount") if isinstance(found, dict) else found
    if isinstance(number, bool) or not isinstance(number, int | float | str | None):
        raise Unreadable([f"amount is a {type(number).__name__}, not a number"])
    if not number:
        return ""
    whole = isinstance(number, float) and number.is_integer()
    return f"{int(number) if whole else number} {_text(denomination, 'denomination', '')}".strip()


def _accepted(answer: T | Refused, field: str) -> T:
    """Return what a reader made of a text.

    Raises:
        Unreadable: The reader refused the text.
    """
    if isinstance(answer, Refused):
        raise Unreadable([f"{field} would be refused today ({answer.code})"])
    return answer


def _named(answers: Mapping[str, object]) -> Mapping[str, object]:
    """Return the data of a registration."""
    known: dict[str, object] = {}
    for ours, theirs in (("firstname", "first_name"), ("lastname", "last_name")):
        typed = _text(answers.get(theirs, answers.get(ours)), theirs, theirs)
        if typed:
            known[ours] = _accepted(_person(typed), theirs)
    return known


# Profile and account -----------------------------------------------------------------------------------------------


def _profile(record: Mapping[str, object]) -> Mapping[str, object]:
    """Return the member's dashboard as plain values, as far as the record has it."""
    profile = _object(record, "profile")
    found = _object(profile, "dashboard") or _object(_object(profile, "data"), "dashboard")
    member = _object(found, "member")
    tier = member.get("memberTier")
    accounts = found.get("accounts")
    dashboard = Dashboard(
        member_id=_word(member, "memberID") or _word(record, "member_id"),
        firstname=_word(member, "firstname"),
        lastname=_word(member, "lastname"),
        tier=tier if type(tier) is int and 1 <= tier <= 5 else 1,
        accounts=tuple(_account_of(account) for account in accounts if isinstance(account, dict))
        if isinstance(accounts, list)
        else (),
    )
    kept: Mapping[str, object] = unstructure(dashboard)
    return kept


def _account_of(account: Mapping[str, object]) -> Account:
    """Return an account without its balances, which credex-core reports."""
    return Account(
        _word(account, "accountID"),
        _word(account, "accountHandle"),
        _word(account, "accountName"),
        owned=account.get("isOwnedAccount") is not False,
    )


def _account(record: Mapping[str, object]) -> Mapping[str, object]:
    """Return the account in use."""
    found = _object(record, "current_account")
    if not found:
        return {}
    account = _account_of(found)
    return {
        "id": account.id or _word(found, "id") or _word(record, "account_id"),
        "handle": account.handle or _word(found, "handle"),
        "name": account.name or _word(found, "name"),
    }


def _object(raw: Mapping[str, object], field: str) -> Mapping[str, object]:
    value = raw.get(field)
    return value if isinstance(value, dict) else {}


def _word(raw: Mapping[str, object], field: str) -> str:
    value = raw.get(field)
    return value if isinstance(value, str) else ""


# The member of a number ----------------------------------------------------------------------------------------------


def _member_of(services: Mapping[str, Any], number: str) -> str | None:
    """Return the member id that credex-core has for a telephone number; None if it has none.

    Raises:
        ConnectionError: credex-core did not answer.
    """
    core: CredexCore = services["credex_core"]
    found = core.login(phone=number)
    if isinstance(found, Refused):
        raise ConnectionError(f"credex-core did not say which member has the number ({found.code})")
    return found.dashboard.member_id if isinstance(found, Session) else None


legacy: Final = Legacy(
    flows=[
        LegacyFlow(
            "offer", also=["credex_offer"], flow=offer, answers=_offered,
            steps={"amount": "amount", "handle": "handle", "confirm": "confirm"},
        ),
        LegacyFlow(
            "registration", also=["member_registration"], flow=onboard, answers=_named,
            steps={"first_name": "firstname", "last_name": "lastname", "confirm": "confirm"},
        ),
    ],
    dropped=[
        "accept", "decline", "cancel", "cancel_credex", "credex_accept", "credex_decline", "credex_cancel_credex",
        "upgrade", "member_upgrade", "dashboard", "menu", "auth", "greeting", "user_state",
    ],
    profile=_profile, account=_account, member_of=_member_of,
)  # fmt: skip
"""The rules of the import."""
