"""Who a speaker is: by the number that the channel proves, or by a code that was sent to a number."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.vimbisopay.test_flows import ADA, GRACE, STRANGER, Talk
from vimbiso_fsm import Bot, Channel, Refused
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.proof import PROOFS, proven_phone
from vimbiso_fsm.store.requests import Load, ReadAudit, ReadRecords

NUMBER, CODE = "prove_number.number", "prove_number.code"


def telegram(who: str = ADA, **rest: Any) -> Talk:
    """Return a conversation on Telegram; the id of the account looks like a number."""
    return Talk(who, channel="telegram", **rest)


def code_of(talk: Talk) -> str:
    """Return the code that was sent last."""
    return talk.core.texts[-1][1]


def wrong(talk: Talk) -> str:
    """Return a code that is not the one that was sent last."""
    return f"{(int(code_of(talk)) + 1) % 10**6:06}"


def proving(number: str = ADA, **rest: Any) -> Talk:
    """Return a conversation on Telegram at the question for the code."""
    talk = telegram(**rest)
    talk.say("hi", f"+{number}")
    assert (talk.place, talk.core.texts[-1][0]) == (CODE, number)
    return talk


@pytest.mark.parametrize("channel", sorted(PROOFS.keys() - {"whatsapp", "sms"}))
def test_an_identifier_proves_no_number(channel: str):
    """On a channel that proves no number, its identifier logs no member in, and the speaker is asked for a number."""
    talk = Talk(ADA, channel=channel)
    talk.say("hi")
    assert (talk.place, talk.outcome.state.authenticated) == (NUMBER, False)
    assert not [call for call in talk.core.calls if call.name == "login"]


@pytest.mark.parametrize("channel", ["whatsapp", "sms"])
@pytest.mark.parametrize("prefix", ["", "+"])
def test_a_channel_that_proves_a_number_logs_in(channel: str, prefix: str):
    """WhatsApp and SMS prove the number, so the member is asked for nothing."""
    talk = Talk(prefix + ADA, channel=channel)
    talk.say("hi")
    assert talk.outcome.state.authenticated


@pytest.mark.parametrize("identifier", ["US.13491208655302741918", "1203630@g.us", "0771000001", "+", "1" * 16])
def test_an_identifier_of_whatsapp_that_is_no_number_proves_none(identifier: str):
    """A user id, a group and a number without a country code prove no number, also on WhatsApp."""
    assert proven_phone("phone", identifier) == ""
    talk = Talk(identifier)
    talk.say("hi")
    assert talk.place == NUMBER


def test_a_code_logs_in_the_member_of_the_number():
    """Who says the code that was sent to a number is its member, and stays it on this account of the platform."""
    talk = proving()
    talk.say(code_of(talk))
    assert (talk.place, talk.outcome.state.authenticated) == ("dashboard.menu", True)
    member = talk.outcome.state.member_id
    talk.at[0] += 86_400
    talk.say("hi", "hi")
    assert (talk.outcome.state.member_id, talk.outcome.state.authenticated) == (member, True)
    assert len(talk.core.texts) == 1, "a second code was sent"


def test_a_code_lets_a_stranger_register():
    """A proven number that no member has is registered with the new member."""
    talk = proving(STRANGER)
    talk.say(code_of(talk), "become_member", "Emmy", "Noether", "yes")
    assert (talk.place, STRANGER in talk.core._phones) == ("dashboard.menu", True)


def test_codes_are_bounded():
    """A code is checked three times, for ten minutes, and once with success; a number gets three in an hour."""
    talk = proving()
    talk.say(wrong(talk), wrong(talk))
    assert talk.place == CODE
    talk.say(wrong(talk))
    assert talk.place == NUMBER, "a fourth try"
    talk.say(f"+{ADA}")
    right = code_of(talk)
    talk.at[0] += 601
    talk.say("hi", f"+{ADA}", right)
    assert not talk.outcome.state.authenticated
    talk = proving()
    for _ in range(2):
        talk.send(choice=talk.button("Send a new code"))
    assert len(talk.core.texts) == 3
    talk.send(choice=talk.button("Send a new code"))
    assert (len(talk.core.texts), talk.place) == (3, NUMBER)
    core = SimulatedCredexCore()
    challenge = core.send_code(phone=ADA)
    assert isinstance(challenge, str)
    assert core.check_code(challenge=challenge, code=core.texts[0][1]) is True
    assert core.check_code(challenge=challenge, code=core.texts[0][1]) == Refused("code.spent")


def test_a_code_is_kept_nowhere():
    """A code stands in no stored data once it was checked, and never in a record or an audit; nor a number in these."""
    talk = proving(who="4711")
    code, bad = code_of(talk), wrong(talk)
    talk.say(bad, code)
    guest = talk.manager.bot.digests.guest_id(talk.channel)
    for name in (guest, talk.outcome.state.member_id):
        stored: Any = talk.manager.ask(Load(name, previous=True))
        audit = [entry.body for entry in talk.manager.ask(ReadAudit(name))]
        records = [record.body for record in talk.manager.ask(ReadRecords(name))]
        assert audit
        for kept in (*filter(None, (stored.document, stored.previous)), *records, *audit):
            assert code.encode() not in kept
            assert bad.encode() not in kept
        assert not [entry for entry in audit if ADA.encode() in entry]


def test_a_guest_does_not_keep_a_number_for_ever():
    """A number that a guest has proved counts for ten minutes, since it may get a new owner."""
    talk = proving(STRANGER)
    talk.say(code_of(talk))
    assert talk.place == "onboard.welcome"
    talk.at[0] += 601
    talk.core.onboard_member(firstname="New", lastname="Owner", phone=STRANGER)
    talk.say("hi", "hi")
    assert (talk.place, talk.outcome.state.authenticated) == (NUMBER, False)


def test_a_proof_counts_on_its_own_channel():
    """A code that was said on one account proves nothing on another account that leads to the same member."""
    talk = proving()
    talk.say(code_of(talk))
    member, other = talk.outcome.state.member_id, Channel("telegram", "999")
    talk.manager.link(member, other)
    talk.at[0] += 301
    talk.channel = other
    talk.say("hi", "menu")
    assert (talk.place, talk.outcome.state.authenticated) == (NUMBER, False)


def test_a_channel_without_any_proof_needs_a_code_for_each_login():
    """On a channel that anybody could write from, a code lasts for one login."""
    talk = Talk("visitor", channel="web")
    talk.say("hi", f"+{GRACE}")
    talk.say(code_of(talk))
    assert talk.place == "dashboard.menu"
    talk.at[0] += 3601
    talk.say("hi", "hi")
    assert (talk.place, talk.outcome.state.authenticated) == (NUMBER, False)


def test_a_number_that_moved_takes_its_account_along():
    """When a proven number has a new owner, the account of the former one is unlinked, and asked for a number again."""
    talk = proving()
    talk.say(code_of(talk))
    former, core = talk.outcome.state.member_id, talk.core
    moved = core._phones.pop(ADA)
    core._phones["263771000099"] = moved
    core.onboard_member(firstname="New", lastname="Owner", phone=ADA)
    talk.at[0] += 86_400
    talk.say("hi")
    assert (talk.place, talk.outcome.state.guest) == (NUMBER, True)
    talk.say("+263771000099")
    talk.say(code_of(talk))
    assert (talk.place, talk.outcome.state.member_id) == ("dashboard.menu", former)


def test_an_author_says_what_a_channel_proves():
    """The proof of an own type of channel is declared with it; without a declaration it proves nothing."""
    bot = attrs.evolve(flows.bot, channels={"satellite": "phone", "sms": "nothing"})
    for channel, place in (("satellite", "dashboard.menu"), ("sms", NUMBER), ("whatsapp", "dashboard.menu")):
        talk = Talk(ADA, bot=bot, channel=channel)
        talk.say("hi")
        assert talk.place == place
    assert attrs.evolve(flows.bot, channels=["satellite"]).proves(Channel("satellite", ADA)) == "nothing"


@pytest.mark.parametrize("given", [{"web": "yes"}, "web", {"web": None}])
def test_a_proof_that_is_none_is_refused(given: Any):
    """A declaration of another proof, and a text in place of a list, are refused when the bot is made."""
    with pytest.raises(FlowError):
        Bot(flows.bot.flows, channels=given)
