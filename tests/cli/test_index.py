"""`vimbiso index`: channels get their current names, and an earlier secret can be forgotten."""

from __future__ import annotations

import hashlib
import re
import time

import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.cli_runs import invoke
from tests.hostile.kit import ADA, client_of, message
from vimbiso_fsm import Channel, FlowStateManager, MissingSecret
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import FindOwner, Link, Linked, ReadIndexKeys, ReadOwner
from vimbiso_fsm.store.retention import TOKEN_KEPT

pytestmark = pytest.mark.embedded
OLD, NEW = "the-secret-of-last-year", "the-secret-of-this-year"
YOU, GONE = Channel("whatsapp", ADA), Channel("whatsapp", "263771000009")


@pytest.fixture
def member(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let a member log in on a store that is keyed with the earlier secret; the commands are given both."""
    monkeypatch.setenv("VIMBISO_SECRET", f"{NEW} {OLD}")
    services = {"credex_core": SimulatedCredexCore()}
    with FlowStateManager.from_url(valkey_url, flows.bot, services=services, secret=OLD) as manager:
        return manager.handle(message("hi")).state.member_id


def test_an_earlier_secret_can_be_forgotten(valkey_url: str, member: str):
    """After the entries of all members have their current names, the current secret alone finds them."""
    with AtomicStateManager.from_url(valkey_url, secret=OLD) as running:
        assert running.perform(FindOwner(YOU)) == Linked(member)
        code, out, _ = invoke("index", "--redis", valkey_url, "--flows", "flows")
        assert (code, "channels 1, other entries 0, earlier guests 0, earlier keys 1" in out) == (0, True)
        with pytest.raises(MissingSecret), AtomicStateManager.from_url(valkey_url, secret=NEW) as store:
            store.perform(FindOwner(YOU))
        code, _, err = invoke("index", "--forget", "--redis", valkey_url, "--flows", "flows")
        assert (code, "the tokens of 1 of them are kept" in err) == (1, True)
        with client_of(valkey_url) as client:
            ended = f"{time.time() - TOKEN_KEPT - 1:.0f}"  # rounding adds up to half a second
            dated = f"@{ended}.{hashlib.sha1(ended.encode()).hexdigest()[:8]}"
            client.set("vimbiso:index", re.sub(r"@\S+", dated, client.get("vimbiso:index").decode()))
        code, out, _ = invoke("index", "--forget", "--redis", valkey_url, "--flows", "flows")
        assert (code, "forgotten" in out) == (0, True)
        with pytest.raises(MissingSecret):  # asked each minute; it would name new entries with a forgotten key
            running.perform(ReadOwner())
    with AtomicStateManager.from_url(valkey_url, secret=NEW) as store:
        assert store.perform(FindOwner(YOU)) == Linked(member)
        assert store.perform(ReadIndexKeys()).earlier == 0


def test_a_secret_that_an_entry_may_need_is_kept(valkey_url: str, member: str):
    """An entry whose channel no document tells keeps the earlier secret, unless its loss is accepted."""
    with AtomicStateManager.from_url(valkey_url, secret=OLD) as store:
        store.perform(Link(GONE, "m-gone"))
    code, _, err = invoke("index", "--forget", "--redis", valkey_url, "--flows", "flows")
    assert code == 1
    assert "1 entries may be named with one of them" in err
    with AtomicStateManager.from_url(valkey_url, secret=(NEW, OLD)) as store:
        assert store.perform(FindOwner(GONE)) == Linked("m-gone")  # which moves it
        store.perform(Link(Channel("whatsapp", "263771000008"), "m-8"))
    code, _, err = invoke("index", "--forget", "--lose", "--redis", valkey_url, "--flows", "flows")
    assert code == 0
    with AtomicStateManager.from_url(valkey_url, secret=NEW) as store:
        assert store.perform(FindOwner(YOU)) == Linked(member)


def test_lose_is_for_forget(valkey_url: str, member: str):
    """`--lose` without `--forget` is a wrong usage."""
    assert invoke("index", "--lose", "--redis", valkey_url, "--flows", "flows")[0] == 2
