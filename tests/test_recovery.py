"""What is saved of a broken document."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import CHANNEL, START, fruit_bot
from tests.strategies import json_values
from tests.test_state_validator import FULL
from vimbiso_fsm.codec import document_to_raw, dumps, encode
from vimbiso_fsm.recovery import Salvage, faults, salvage

BOT = fruit_bot()
NOW = START + timedelta(hours=1)


def saved(data: bytes, *, guest: bool = False, version: int = 4) -> Salvage:
    """What is saved; always a valid document of the member at that version, without a run."""
    found = salvage(BOT, data, CHANNEL, NOW, member_id="m-1", guest=guest, version=version)
    document = found.document
    assert BOT.validator.validate(document).valid
    assert faults(BOT, encode(document)) == (document, ())
    assert (document.member_id, document.version) == ("m-1", version)
    assert document.run is None
    assert document.suspended == ()
    assert document.call is None
    return found


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[]", b"5", b"null", b'"x"', b"[" * 9999])
def test_what_is_no_document_is_lost_whole(data: bytes):
    """A fresh document for the member; the bytes are the store's to set aside."""
    found = saved(data)
    assert (found.kept, found.lost) == ((), ("document",))
    assert found.document.channel == CHANNEL
    assert not found.document.guest
    assert saved(data, guest=True).document.guest


def test_core_fields_that_still_obey_are_kept():
    """Profile, account, token and channel survive a broken run."""
    raw = document_to_raw(FULL)
    raw["flow_data"] = {**raw["flow_data"], "step": "nowhere"}
    found = saved(dumps(raw))
    document = found.document
    assert (document.profile, document.current_account) == (FULL.profile, FULL.current_account)
    assert (document.jwt_token, document.authenticated) == (FULL.jwt_token, True)
    assert (document.channels, document.deadline, document.last_updated) == (
        FULL.channels,
        FULL.deadline,
        FULL.last_updated,
    )
    assert {"flow_data", "_suspended", "_call"} <= set(found.lost)
    assert {"profile", "current_account", "jwt_token", "authenticated", "channel"} <= set(found.kept)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"profile": []}, {"profile"}),
        ({"jwt_token": 5}, {"jwt_token", "authenticated"}),
        ({"authenticated": "yes"}, {"jwt_token", "authenticated"}),
        ({"channel": {"type": "pigeon"}}, {"channel"}),
        ({"current_account": {"account_id": 5}}, {"current_account"}),
        ({"_last_updated": "soon"}, {"_last_updated"}),
        ({"_channels": "x"}, {"_channels"}),
    ],
)
def test_a_broken_field_is_lost_alone(changes: dict[str, Any], lost: set[str]):
    """The others are kept; a token and what it vouches for only together."""
    found = saved(dumps(document_to_raw(FULL) | changes))
    assert lost <= set(found.lost)
    assert not lost & set(found.kept)
    assert {"profile", "current_account", "_channels", "channel"} - lost <= set(found.kept)


@given(json_values)
def test_anything_is_salvaged(raw: Any):
    """Any JSON gives a valid document."""
    saved(json.dumps(raw).encode())


@given(st.sampled_from(sorted(document_to_raw(FULL))), json_values)
def test_a_document_broken_anywhere_is_salvaged(name: str, value: Any):
    """Any JSON in place of any field."""
    saved(json.dumps({**json.loads(encode(FULL)), name: value}).encode())


def test_data_that_does_not_fit_its_flow_is_found():
    """The rule book knows no fields; reading them does, and says which flow's."""
    raw = document_to_raw(FULL)
    raw["flow_data"] = {**raw["flow_data"], "data": {**raw["flow_data"]["data"], "visits": "many"}}
    document, found = faults(BOT, dumps(raw))
    assert document is None
    assert all(fault.startswith("data of flow 'order'") for fault in found)
    assert not any("many" in fault for fault in found)
