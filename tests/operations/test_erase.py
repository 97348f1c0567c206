"""Erasure: nothing that says anything about the member is left, the audit stays whole, and messages stay handled."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest
import redis

from tests.digests import guest_id
from tests.operations.test_link import OTHER, SMS, TELEGRAM, WHATSAPP, a_chat, owner, paid, read, run, say, turns
from vimbiso_fsm import Bot, Changes, Channel, Flow, FlowStateManager, Message, NoData, State, Text, Transition, Turn
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.trail import erasures, faults, read_trail
from vimbiso_fsm.errors import MemberNotFound
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.erase import erase
from vimbiso_fsm.operations.history import read_history
from vimbiso_fsm.operations.link import link, merge, unlink
from vimbiso_fsm.operations.wipe import wipe

PHONE, NAME, AMOUNT = "263771000001", "Lovelace", "18.00"
ERASE = partial(erase, member_id="m-1")


def test_messages_stay_handled_and_the_next_speaker_is_a_stranger():
    """After an erasure a message of before is a duplicate, each channel is a guest's, and the other member is whole."""
    chat = a_chat()
    cache = Cache(10)
    say(chat, WHATSAPP, "1", cache=cache)
    say(chat, OTHER, "2")
    done = run(chat, ERASE)
    assert done.entries > 3
    assert (done.removed[0], done.member_id) == ("state", "m-1")
    for channel in (WHATSAPP, SMS):
        assert owner(chat, channel) is None
    assert "m-1" not in say(chat, WHATSAPP, "1", cache=cache)
    assert "<stranger>" in say(chat, SMS, "3")
    assert "<m-2>" in say(chat, OTHER, "4")
    assert (turns(chat)["1"], paid(chat)["1"]) == (0, 1), "the turn is erased and its effect was made once"
    chat.check()


def test_the_chain_stays_whole_and_names_the_erasure():
    """The audit of an erased member verifies, says that it was erased, and goes on from the tombstone."""
    chat = a_chat()
    say(chat, WHATSAPP, "1")
    head = chat.stored("m-1").head
    run(chat, ERASE)
    trail = read_trail(chat.store, "m-1")
    assert faults(trail) == ()
    assert len(trail.entries) == 1
    assert chat.stored("m-1").head.version > head.version
    [said] = erasures(trail)
    assert said.startswith("erased by operator at ")
    assert run(chat, ERASE).entries == 0
    with pytest.raises(MemberNotFound):
        run(chat, partial(erase, member_id="m-9"))


def test_an_erasure_may_end_at_any_effect():
    """After a crash at any effect, a repeat leaves what an erasure without a crash leaves."""
    whole = a_chat()
    say(whole, WHATSAPP, "1")
    held = whole._hold(ERASE, Cache(0))
    count = 0
    while held.request is not None:
        whole.step(held)
        count += 1
    assert count > 20
    for crash in range(count):
        chat = a_chat()
        say(chat, WHATSAPP, "1")
        held = chat._hold(ERASE, Cache(0))
        for _ in range(crash):
            chat.step(held)
        run(chat, ERASE)
        assert [owner(chat, channel) for channel in (WHATSAPP, SMS)] == [None, None]
        entries = chat.entries("m-1")
        assert (len(entries), FlowAuditLogger.faults(entries)) == (1, ()), crash
        assert chat.stored("m-1").document is None
        assert "m-1" not in say(chat, WHATSAPP, "1")
        assert paid(chat) == {"1": 1}, crash


def test_each_life_of_a_guest_and_of_a_merged_member_is_erased():
    """A guest that was linked twice, and the guest of a merged member, leave no entry of the member behind."""
    chat = a_chat()
    for number in range(2):
        say(chat, TELEGRAM, f"visit {number}")
        run(chat, partial(link, member_id="m-2", channel=TELEGRAM))
        run(chat, partial(unlink, member_id="m-2", channel=TELEGRAM))
    run(chat, partial(merge, member_id="m-2", into="m-1"))
    history = run(chat, lambda context: read_history(context, "m-1", {}))
    assert [entry.kind for entry in history if entry.member_id == guest_id(TELEGRAM)].count("link") == 2
    assert run(chat, ERASE).guests == 2
    kept = {entry.kind for name in ("m-1", "m-2", guest_id(TELEGRAM)) for entry in read(chat, name)}
    assert kept <= {"erase", "unlink", "wipe"}
    assert read_trail(chat.store, "m-2").entries[-1].version == chat.stored("m-2").head.version
    for name in ("m-1", "m-2", guest_id(TELEGRAM)):
        assert faults(read_trail(chat.store, name)) == ()


def test_a_wipe_ends_the_life_of_a_guest_and_not_of_a_member():
    """What a merged member did before a wipe is the person's too; before that of a guest it may be another's."""
    chat = a_chat()
    say(chat, OTHER, "before")
    run(chat, partial(wipe, member_id="m-2"))
    run(chat, partial(link, member_id="m-2", channel=OTHER))
    say(chat, OTHER, "after")
    run(chat, partial(merge, member_id="m-2", into="m-1"))
    first = read(chat, "m-2")[0]
    assert first in run(chat, lambda context: read_history(context, "m-1", {}))
    run(chat, ERASE)
    assert {entry.kind for entry in read(chat, "m-2")} == {"erase"}


@pytest.mark.embedded
def test_no_stored_byte_says_anything_about_an_erased_member(valkey_url: str):
    """After an erasure no key and no value of the server holds the number, the name, an answer or an amount."""

    def known(turn: Turn[NoData]) -> Changes[NoData]:
        member: Any = turn.member
        profile = {"name": NAME, "balance": AMOUNT, "language": "en"}
        return turn.changes(member=attrs.evolve(member, id="m-1", guest=False, profile=profile))

    welcome: Flow[NoData] = Flow(
        "welcome", initial="greeted",
        states=[State("greeted", ask=Text("Is that you?")), State("known", ask=Text(f"Welcome {NAME}, {AMOUNT}."))],
        transitions=[Transition("yes", "greeted", "known", prepare=known), Transition("leave", "known", "greeted")],
    )  # fmt: skip
    you = Channel("whatsapp", PHONE)
    with FlowStateManager.from_url(valkey_url, Bot(welcome)) as manager:
        for number, text in enumerate(("hi", "yes", "what")):
            manager.handle(Message(you, f"m{number}", text))
        manager.link("m-1", Channel("telegram", PHONE))
        manager.handle(Message(Channel("telegram", PHONE), "m1", "reused"))
        manager.handle(Message(you, "m1", "another content"))
        assert manager.incidents("m-1")
        done = manager.erase("m-1")
        assert done.entries > 6
        assert done.guests == 2
        again = manager.handle(Message(you, "m1", "yes"))
        assert (again.status, again.state.guest) == ("duplicate", True)
        assert manager.erase("m-1").entries == 0
    with redis.Redis.from_url(valkey_url) as client:
        stored = b"\n".join(key + b" " + _value(client, key) for key in client.scan_iter())
        for said in (PHONE, NAME, AMOUNT):
            assert said.encode() not in stored
        left = {key.decode() for key in client.scan_iter("*m-1*")}
        assert {key.rpartition(":")[2] for key in left} == {"audit"}


def _value(client: Any, key: bytes) -> bytes:
    kind = client.type(key)
    if kind == b"hash":
        return b" ".join(client.hgetall(key).values())
    if kind == b"list":
        return b" ".join(client.lrange(key, 0, -1))
    if kind == b"zset":
        return b" ".join(client.zrange(key, 0, -1))
    return bytes(client.get(key) or b"")
