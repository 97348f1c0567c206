"""Records as the previous release wrote them, in both shapes, and invalid ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["BROKEN", "offered", "registering", "text"]


def text(record: Mapping[str, Any]) -> bytes:
    """Return a record as it is stored."""
    return json.dumps(record).encode()


def offered(number: str, member_id: str | None, *, step: Any = 1, channel: bool = False, **data: Any) -> dict[str, Any]:
    """Return the record of a member in the middle of an offer. `channel`: of the later shape. `data`: of the flow."""
    account = {
        "accountID": f"account of {number}",
        "accountHandle": f"h{number}",
        "accountName": "Ada Lovelace",
        "isOwnedAccount": True,
        "balanceData": {"securedNetBalancesByDenom": ["10.00 USD"], "netCredexAssetsInDefaultDenom": "10.00 USD"},
        "pendingInData": [],
        "pendingOutData": [],
    }
    gathered = {"amount_denom": {"amount": 5.0, "denomination": "USD"}, "phone": number, "account_id": "a", **data}
    state = {
        "member_id": member_id,
        "account_id": account["accountID"],
        "jwt_token": "old.token.of-unknown-age",
        "authenticated": True,
        "profile": {
            "action": {"id": "x", "type": "LOGIN", "details": {}},
            "dashboard": {
                "member": {"memberID": member_id, "firstname": "Ada", "lastname": "Lovelace", "memberTier": 2},
                "accounts": [account],
            },
        },
        "current_account": account,
        "flow_data": {
            "id": f"offer_{member_id}",
            "step": step,
            "data": gathered,
            "flow_type": "offer",
            "kwargs": {"flow_type": "offer"},
            "_previous_data": {},
        },
        "_validation_context": {},
        "_validation_state": {},
        "_version": 1734718000,
        "_last_updated": "2024-12-20T18:26:40.123456",
    }
    if channel:
        state["channel"] = {"type": "whatsapp", "identifier": number, "metadata": {}}
    else:
        state["mobile_number"] = number
    return {**state, "_previous_state": {**state, "flow_data": None}}


def registering(number: str, *, step: Any = 1, **data: Any) -> dict[str, Any]:
    """Return the record of a person who is registering."""
    gathered = {"first_name": {"first_name": "Grace"}, **data}
    return {
        "mobile_number": number,
        "member_id": None,
        "jwt_token": None,
        "authenticated": False,
        "profile": {},
        "current_account": None,
        "flow_data": {"id": "member_registration", "flow_type": "registration", "step": step, "data": gathered},
    }


def _with(field: str, value: Any) -> Callable[[str], bytes]:
    return lambda number: text({**offered(number, f"m-{number}"), field: value})


def _with_flow(field: str, value: Any) -> Callable[[str], bytes]:
    def broken(number: str) -> bytes:
        record = offered(number, f"m-{number}")
        return text({**record, "flow_data": {**record["flow_data"], field: value}})

    return broken


BROKEN: Final[Mapping[str, tuple[Callable[[str], bytes], str]]] = {
    "empty": (lambda number: b"", "JSON"),
    "cut off": (lambda number: text(offered(number, "m"))[:-20], "JSON"),
    "no JSON": (lambda number: b"\x80\x04pickle", "JSON"),
    "another encoding": (lambda number: text(offered(number, "m")).decode().encode("utf-16"), "JSON"),
    "latin-1": (lambda number: b'{"mobile_number": "\xe9"}', "JSON"),
    "not a number": (lambda number: b'{"mobile_number": NaN}', "JSON"),
    "a list": (lambda number: b"[1, 2]", "a list, not an object"),
    "a text": (lambda number: b'"hello"', "a text, not an object"),
    "too long": (_with("padding", "x" * 65_536), "more than 65536 bytes"),
    "nested": (lambda number: b"[" * 30_000 + b"]" * 30_000, "JSON"),
    "nested less": (_with("profile", json.loads('{"a":' * 60 + "1" + "}" * 60)), "profile is nested more than 50 deep"),
    "foreign": (lambda number: b'{"cart": [1, 2]}', "neither mobile_number nor channel"),
    "another number": (_with("mobile_number", "263770000000"), "mobile_number is not the number"),
    "a channel of another number": (
        _with("channel", {"type": "whatsapp", "identifier": "263770000000"}),
        "channel.identifier is not the number",
    ),
    "a channel that is a text": (_with("channel", "whatsapp"), "channel is a text, not an object"),
    "an unknown channel": (_with("channel", {"type": "pigeon", "identifier": "7"}), "channel.type is no type"),
    "a channel of nobody": (_with("channel", {"type": "sms", "identifier": None}), "channel is none"),
    "metadata": (_with("channel", {"type": "sms", "identifier": "7", "metadata": [1]}), "channel.metadata is a list"),
    "a member that is a number": (_with("member_id", 42), "member_id is a number, not a member's id"),
    "a profile that is a list": (_with("profile", [1]), "profile is a list, not an object"),
    "an account that is a text": (_with("current_account", "ada"), "current_account is a text, not an object"),
    "flow data that is a list": (_with("flow_data", ["offer"]), "flow_data is a list, not an object"),
    "a flow without a name": (_with("flow_data", {"step": 1, "data": {}}), "flow_data.id is missing"),
    "no step": (_with("flow_data", {"id": "offer_m", "data": {}}), "flow_data.step is missing"),
    "an unknown flow": (_with("flow_data", {"id": "lottery_m", "step": 0, "data": {}}), "does not declare"),
    "answers that are a list": (_with_flow("data", [5]), "flow_data.data is a list, not an object"),
    "a step that is true": (_with_flow("step", True), "flow_data.step is true or false"),
    "a step of 999": (_with_flow("step", 999), "flow_data.step is 999, and the old flow 'offer' had 3 steps"),
    "a negative step": (_with_flow("step", -1), "flow_data.step is -1"),
    "a step that is a list": (_with_flow("step", [1]), "flow_data.step is a list"),
    "a step of no name": (_with_flow("step", "paying"), "flow_data.step names no step"),
    "an amount that is a list": (_with_flow("data", {"amount": [5]}), "amount is a list, not a number"),
    "an amount of nothing known": (_with_flow("data", {"amount": "5 BTC"}), "would be refused today (amount.currency)"),
    "a handle that is a number": (_with_flow("data", {"amount": 5, "handle": 7}), "handle is a int, not a text"),
    "two members": (_with_flow("data", {"member_id": "somebody else"}), "names another member than member_id does"),
}
"""Faults of records, each with a record of a number and with words of its refusal."""
