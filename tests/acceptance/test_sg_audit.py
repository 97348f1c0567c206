"""Scenarios of the audit and of the replies to internal failures, beside those of `test_sg.py`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.acceptance.test_sg import (
    COUNTER,
    Chat,
    Note,
    accept_writes,
    exploding_bot,
    fields,
    note_bot,
    refuse_writes,
    state_of,
    step,
    words,
)
from tests.cli_runs import embedded
from tests.digests import channel_digest, digests_at
from tests.engines import Server, running, valkey_program
from vimbiso_fsm.audit.entries import AuditEntry, seal
from vimbiso_fsm.audit.trail import faults, read_trail
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.embedded import EmbeddedServer
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.retention import AUDIT_KEPT, AUDIT_LIFE, EXPIRED_AT_ONCE, TRIMMED_AT_ONCE
from vimbiso_fsm.store.script import DEFAULT_KEYS
from vimbiso_fsm.testing.chat import START

pytestmark = pytest.mark.embedded

HERE = Channel("whatsapp", "263771000009")


# SG-49: the audit is shared and bounded ------------------------------------------------------------------------------


@embedded
@pytest.mark.asyncio
async def test_sg49_audit_is_shared(tmp_path: Path):
    """All workers read the same audit.

    Given two workers, when they and the server are restarted, then each returns the same history. The original system
    wrote a local file per process folder.
    """
    with EmbeddedServer.start(tmp_path, fsync="always") as engine:
        one, two = (FlowStateManager.from_url(engine.url, COUNTER) for _ in range(2))
        with one, two:
            chat = Chat(one, HERE)
            member = chat.say("hi", "1").state.member_id
            chat.manager = two
            chat.say("2", "no number")
            chat.manager = one
            chat.say("3")
            history = one.history(member)
            assert two.history(member) == history
        pid = engine.pid
    assert [entry.version for entry in history] == [1, 2, 3, 4, 5]
    with EmbeddedServer.start(tmp_path, fsync="always") as engine:
        assert engine.pid != pid
        with FlowStateManager.from_url(engine.url, COUNTER) as later:
            assert later.history(member) == history
            chat.manager = later
            chat.say("4")
            longer = later.history(member)
        async with AsyncFlowStateManager.from_url(engine.url, COUNTER) as awaited:
            assert await awaited.history(member) == longer
        with AtomicStateManager.from_url(engine.url) as store:
            assert faults(read_trail(store, member)) == ()
    assert longer[:-1] == history


def old_audit(server: Server, member_id: str, count: int, ends: float | None = None) -> None:
    """Return this number of old entries, oldest first.

    `ends`: the entries were appended a minute apart, the latest a minute before this instant. Without it, their frames
    have no timestamp, as in earlier releases.
    """
    frames, previous = [], ""
    for version in range(1, count + 1):
        at = START - timedelta(days=300) + timedelta(minutes=version)
        entry = AuditEntry(version, at, member_id, channel_digest(HERE), "transition", "advanced", "t", "t")
        sealed = seal(entry, b"document", previous)
        previous = sealed.digest
        dated = b"" if ends is None else b"@%.6f " % (ends - 60 * (count + 1 - version))
        frames.append(b"%d %b %b%b" % (version, previous.encode(), dated, sealed.body))
    with server.client() as client:
        client.rpush(DEFAULT_KEYS.member(member_id)[3], *frames)


def test_sg49_audit_is_bounded(valkey_server: Server, valkey_url: str):
    """The audit of a member is bounded by count.

    Given a member with as many entries as are kept, when more messages come, then the oldest entries are dropped, each
    worker reads the same, and the chain is whole from the first entry that is kept.
    """
    member = digests_at(valkey_url).guest_id(HERE)
    old_audit(valkey_server, member, AUDIT_KEPT - 2)
    with (
        FlowStateManager.from_url(valkey_url, COUNTER) as one,
        FlowStateManager.from_url(valkey_url, COUNTER) as two,
        AtomicStateManager.from_url(valkey_url) as store,
    ):
        chat = Chat(one, HERE)
        chat.say("hi", "1", "2", "3", "4")
        trail = read_trail(store, member)
        versions = [entry.version for entry in one.history(member)]
        assert versions == list(range(4, AUDIT_KEPT + 4))
        assert [entry.version for entry in two.history(member)] == versions
        assert [entry.version for entry in two.history(member, last=3)] == versions[-3:]
        assert (len(trail.entries), faults(trail)) == (AUDIT_KEPT, ())
    with valkey_server.client() as client:
        assert client.llen(DEFAULT_KEYS.member(member)[3]) <= AUDIT_KEPT + TRIMMED_AT_ONCE


def test_sg49_audit_ends_by_age(valkey_server: Server, valkey_url: str):
    """The audit of a member is bounded by age.

    Given a member who is active for longer than an entry is kept, when more messages come, then some entries that are
    too old are dropped whenever the lives are renewed, every worker reads the same, and the chain is whole from the
    first entry that is kept.
    """
    member = digests_at(valkey_url).guest_id(HERE)
    too_old = EXPIRED_AT_ONCE + 5
    old_audit(valkey_server, member, too_old + 3, ends=time.time() - AUDIT_LIFE + 3.5 * 60)
    with (
        FlowStateManager.from_url(valkey_url, COUNTER) as one,
        FlowStateManager.from_url(valkey_url, COUNTER) as two,
        AtomicStateManager.from_url(valkey_url) as store,
    ):
        assert faults(read_trail(store, member)) == ()
        chat = Chat(one, HERE)
        for place, first in enumerate((EXPIRED_AT_ONCE + 1, too_old + 1, too_old + 1)):
            chat.say(str(place))
            versions = [entry.version for entry in one.history(member)]
            assert versions == list(range(first, too_old + 5 + place))
            assert [entry.version for entry in two.history(member)] == versions
            assert faults(read_trail(store, member)) == ()


# SG-58: no internals -------------------------------------------------------------------------------------------------


def explodes(*_: Any) -> Any:
    """A callback with a bug, whose message holds private data."""
    raise RuntimeError("canary {'jwt_token': 'abc'} at 0x7f")


def nonsense(*_: Any) -> Any:
    """A callback that returns a value of a wrong type."""
    return {"canary": object()}


def too_much(turn: Turn[Note]) -> Note:
    """Data that is larger than a document may be."""
    return attrs.evolve(turn.data, more="canary" * 20_000)


def live(turn: Turn[Note]) -> Changes[Note]:
    """A member with a value that cannot be stored."""
    return turn.changes(member=attrs.evolve(turn.member, profile={"canary": object()}))


INTERNAL: dict[str, Callable[[], Bot]] = {
    "a guard raises": lambda: note_bot(conditions=explodes),
    "a guard says nonsense": lambda: note_bot(conditions=nonsense),
    "prepare raises": lambda: note_bot(prepare=explodes),
    "prepare gives nonsense": lambda: note_bot(prepare=nonsense),
    "prepare gives a live object": lambda: note_bot(prepare=live),
    "a reader raises": lambda: note_bot(reads=explodes),
    "a reader gives nonsense": lambda: note_bot(reads=nonsense),
    "a question raises": lambda: note_bot(explodes),
    "a question is nonsense": lambda: note_bot(nonsense),
}
PLAIN = re.compile(r"[A-Z][^{}<>_]*[.:] Reference: ([a-z2-7]{10})", re.DOTALL)
"""A sentence of plain words, and a reference."""


def reference_in(said: str) -> str:
    """Return the reference in the reply that the member reads."""
    found = PLAIN.fullmatch(said)
    assert found, said
    for internal in ("canary", "Error", "Exception", "object", "Traceback", "None", "redis", "socket", "0x"):
        assert internal not in said
    return found[1]


def logged(caplog: pytest.LogCaptureFixture, reference: str) -> list[str]:
    """Return the lines of the library's log that contain a reference."""
    lines = [record.getMessage() for record in caplog.records if record.name == "vimbiso_fsm"]
    return [line for line in lines if reference in line]


@pytest.mark.parametrize("bot", INTERNAL.values(), ids=list(INTERNAL))
def test_sg58_no_internals(bot: Callable[[], Bot], valkey_url: str, caplog: pytest.LogCaptureFixture):
    """A reply to an internal failure contains no internal terms.

    Given any internal failure, when the member is answered, then the reply has plain words, a way on, and a reference
    that the log and the audit have too. The original system showed the text of a `KeyError`, or a printed message
    object.
    """
    with FlowStateManager.from_url(valkey_url, bot()) as manager:
        chat = Chat(manager, HERE)
        before = chat.say("hi").state
        outcome = chat.say("an answer")
        assert outcome.status == "failed"
        reference = reference_in(words(outcome))
        assert logged(caplog, reference)
        found = [entry for entry in manager.history(before.member_id) if entry.token.startswith(reference)]
        assert [(entry.kind, entry.detail["reference"]) for entry in found] == [("error", reference)]
        assert step(state_of(manager, before.member_id)) == step(before)
        assert fields(outcome.state) == fields(before)
        assert "try again" in words(outcome).lower()
        assert chat.say("help").status == "advanced"  # and the way on is there


def test_sg58_no_internals_of_a_service(valkey_url: str, caplog: pytest.LogCaptureFixture):
    """After an error of a service the member is told in plain words that the outcome is unknown."""
    with FlowStateManager.from_url(valkey_url, exploding_bot()) as manager:
        chat = Chat(manager, HERE)
        member = chat.say("hi").state.member_id
        outcomes = [chat.say("call canary"), chat.say("and now?"), chat.say("cancel")]
        for outcome in outcomes:
            said = words(outcome)
            assert re.fullmatch(r"[A-Z][^{}<>_]*[.?!]", said), said
            assert "canary" not in said
            assert "Error" not in said
        assert [entry for entry in manager.history(member) if entry.detail.get("outcome") == "unknown"]
        assert [record for record in caplog.records if record.name == "vimbiso_fsm"]


def test_sg58_no_internals_of_the_store(caplog: pytest.LogCaptureFixture):
    """A refusal of the store has plain words for the member in its error.

    The log has their reference, and so has the audit when the same message has been handled.
    """
    with running(valkey_program()) as server, FlowStateManager.from_url(server.url, COUNTER) as manager:
        chat = Chat(manager, HERE)
        member = chat.say("hi").state.member_id
        refuse_writes(server)
        message = chat.message("5")
        with pytest.raises(StoreUnavailable) as caught:
            manager.handle(message)
        assert caught.value.reply
        reference = reference_in(caught.value.reply)
        assert reference == caught.value.reference
        assert logged(caplog, reference)
        assert "send it again" in caught.value.reply
        accept_writes(server)
        assert manager.handle(message).status == "advanced"
        assert manager.history(member)[-1].token.startswith(reference)


@pytest.mark.asyncio
async def test_sg58_no_internals_of_the_store_awaited(caplog: pytest.LogCaptureFixture):
    """The error of the async manager has plain words for the member too."""
    with running(valkey_program()) as server:
        async with AsyncFlowStateManager.from_url(server.url, COUNTER) as manager:
            refuse_writes(server)
            with pytest.raises(StoreUnavailable) as caught:
                await manager.handle(Message(HERE, "m1", "hi"))
            assert caught.value.reply
            assert logged(caplog, reference_in(caught.value.reply))


DAMAGE = (b"", b"canary{", b'{"canary": 1}', b"[" * 50_000, b"\xff\xfe")


@pytest.mark.parametrize("damage", DAMAGE, ids=[str(data[:12]) for data in DAMAGE])
def test_sg58_no_internals_of_damage(damage: bytes, valkey_server: Server, valkey_url: str):
    """A member is told of damaged data in plain words, and asked again.

    The audit names the lost fields.
    """
    with FlowStateManager.from_url(valkey_url, note_bot()) as manager:
        member = Chat(manager, HERE).say("hi", "an answer").state.member_id
    with valkey_server.client() as client:
        client.hset(DEFAULT_KEYS.member(member)[0], "d", damage)
    with FlowStateManager.from_url(valkey_url, note_bot()) as manager:
        outcome: Outcome = Chat(manager, HERE).say("what is my name")
        told = outcome.replies[0].text
        assert re.fullmatch(r"We had to tidy up [^{}<>_]*[.]( Reference: [a-z2-7]{10})?", told), told
        assert len(outcome.replies) == 2  # and the question
        (entry,) = (entry for entry in manager.history(member) if entry.kind == "recovery")
        assert entry.detail["lost"]
        assert "canary" not in str(entry) + words(outcome)


@pytest.mark.parametrize("prepare", [None, too_much])
def test_sg58_no_internals_of_too_large_a_document(prepare: Callable[[Turn[Note]], Note] | None, valkey_url: str):
    """A member is told in plain words when the document would become too large, and the audit knows the sizes."""
    with FlowStateManager.from_url(valkey_url, note_bot(prepare=prepare)) as manager:
        chat = Chat(manager, HERE)
        before = chat.say("hi").state
        manager.update(before.member_id, lambda document: attrs.evolve(document, profile={"bulk": "x" * 47_000}))
        outcome = chat.say("y" * 4000)
        assert outcome.status == "refused"
        assert outcome.replies[0].text.startswith("That is too much for us to keep")
        assert step(outcome.state) == step(before)
        entry = manager.history(before.member_id)[-1]
        assert (entry.kind, entry.codes) == ("refusal", ("message.too_much",))
        assert entry.detail["size"] > entry.detail["limit"]
        assert "canary" not in str(entry)
        assert chat.say("menu").status == "advanced"
