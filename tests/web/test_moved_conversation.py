"""One conversation over several channels of the app: it goes with the member, and not with a number."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Generator
from typing import Any
from urllib.parse import urlencode

import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.web.app_client import TestClient
from tests.web.clients import TOKEN, api_of, async_client
from tests.web.signed import BASE
from tests.web.vendors import Seen, Vendors
from vimbiso_fsm import AsyncFlowStateManager, Channel
from vimbiso_fsm.testing.chat import Clock
from vimbiso_fsm.web.app import app

PHONE = "263771000001"
"""The number of the member, Ada, and later of another person."""
CHAT = 11
"""The id of Ada's account of Telegram."""
NAMES = ("whatsapp", "sms", "telegram")


class Members:
    """The members of an app with VimbisoPay, who speak by signed webhooks as the vendors send them.

    Attributes:
        core: The accounts of the members.
        manager: The manager.
    """

    def __init__(self, world: Vendors) -> None:
        self._world, self._count = world, 0
        self.clock = Clock()
        self.core = SimulatedCredexCore(clock=lambda: self.clock.at)
        channels = {name: async_client(api_of(name, world.url)) for name in NAMES}
        senders = {name: channel.send for name, channel in channels.items()}
        self.manager = AsyncFlowStateManager.in_memory(
            flows.bot, clock=self.clock, services={"credex_core": self.core}, senders=senders
        )
        self.web = TestClient(app(self.manager, channels, base=BASE, verify_token="t0ken"), BASE)

    def say(self, name: str, text: str) -> str:
        """Say something on a channel, and return what the bot has sent there."""
        self._count += 1
        before = len(self._world.seen)
        raw, headers = getattr(self, f"_{name}")(text, str(self._count))
        assert self.web.post(f"/{name}", content=raw, headers=headers).status_code == 200
        return "\n".join(found for found in map(_words, self._world.seen[before:]) if found)

    def do(self, name: str, *arguments: Any) -> Any:
        """Call a method of the manager, in the event loop of the app."""
        assert self.web.portal is not None
        return self.web.portal.call(getattr(self.manager, name), *arguments)

    def _whatsapp(self, text: str, id: str) -> tuple[bytes, dict[str, str]]:
        message = {"from": PHONE, "id": f"wamid.{id}", "type": "text", "text": {"body": text}}
        value = {"metadata": {"phone_number_id": "106"}, "messages": [message]}
        body = {
            "object": "whatsapp_business_account",
            "entry": [{"changes": [{"field": "messages", "value": value}]}],
        }
        raw = json.dumps(body).encode()
        return raw, {"X-Hub-Signature-256": "sha256=" + hmac.new(b"s", raw, hashlib.sha256).hexdigest()}

    def _sms(self, text: str, id: str) -> tuple[bytes, dict[str, str]]:
        form = {"Body": text, "From": f"+{PHONE}", "MessageSid": f"SM{id}", "To": "+16505550002"}
        signed = f"{BASE}/sms" + "".join(name + form[name] for name in sorted(form))
        digest = hmac.new(TOKEN.encode(), signed.encode(), "sha1").digest()
        return urlencode(form).encode(), {"X-Twilio-Signature": base64.b64encode(digest).decode()}

    def _telegram(self, text: str, id: str) -> tuple[bytes, dict[str, str]]:
        chat = {"id": CHAT, "type": "private"}
        message = {"message_id": int(id), "date": 1, "chat": chat, "from": {"id": CHAT}, "text": text}
        raw = json.dumps({"update_id": int(id), "message": message}).encode()
        return raw, {"X-Telegram-Bot-Api-Secret-Token": "s"}


def _words(seen: Seen) -> str:
    """Return everything in a request that a member reads; empty if it sends no message."""
    if seen.path.endswith("/Messages.json"):
        return seen.form["Body"]
    if not seen.path.endswith(("/messages", "/sendMessage")) or "status" in seen.json:
        return ""
    return json.dumps(seen.json, ensure_ascii=False)


@pytest.fixture
def members(world: Vendors) -> Generator[Members]:
    """The members of an app."""
    found = Members(world)
    with found.web:
        yield found


def moved(members: Members) -> str:
    """Let the member begin an offer on WhatsApp and go on by SMS, with all three channels linked; return their id."""
    members.say("whatsapp", "hi")
    assert "How much do you want to offer?" in members.say("whatsapp", "offer")
    member_id: str = members.do("member_of", Channel("whatsapp", PHONE).with_account("106"))
    for channel in (Channel("sms", PHONE), Channel("telegram", str(CHAT))):
        members.do("link", member_id, channel)
    assert "Who is it for?" in members.say("sms", "5")
    return member_id


def test_one_conversation_moves_from_whatsapp_to_sms_to_telegram(members: Members) -> None:
    """A linked member begins an offer on one channel, goes on by another, and ends it on a third: it is one offer."""
    before = len(members.core.offers)
    member_id = moved(members)
    assert "Offer 5.00 USD" in members.say("telegram", "alan")
    assert "Your offer was made: 5.00 USD to Alan Turing" in members.say("telegram", "yes")
    assert [(offer.issuer, offer.receiver) for offer in members.core.offers[before:]] == [("ada", "alan")]
    document = members.do("state", member_id)
    assert {channel.type for channel in document.channels} == {*NAMES}


@pytest.mark.parametrize("owner", ["Grace Hopper", ""])
@pytest.mark.parametrize("names", [("whatsapp", "sms"), ("sms", "whatsapp")], ids=" ".join)
def test_a_stranger_with_a_recycled_number_sees_nothing_of_it(
    members: Members, names: tuple[str, str], owner: str
) -> None:
    """The next owner of the number, a member or none, sees no word of the offer; the former one is told by Telegram."""
    before, member_id = len(members.core.offers), moved(members)
    members.core._phones["263771000099"] = members.core._phones.pop(PHONE)
    if owner:
        members.core._phones[PHONE] = members.core._phones["263771000003"]
    members.clock.at += 3600
    for name in names:
        heard = [members.say(name, text) for text in ("hi", "yes", "menu", "back", "help", "alan", "5")]
        assert all(heard)
        for words in heard:
            assert not any(secret in words for secret in ("Ada", "@ada", "5.00 USD", "ession", "not confirmed"))
        assert (owner or "Welcome to VimbisoPay!") in heard[0]
    assert len(members.core.offers) == before
    assert {channel.type for channel in members.do("state", member_id).channels} == {"telegram"}
    told = members.say("telegram", "hi")
    assert "What you had not confirmed (offer) was not sent." in told
    assert "Ada" not in told  # who has the account of Telegram now is asked for a proof first
