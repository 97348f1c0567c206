"""Folds: a row of messages that left the member at the same question is one audit entry, and nothing else is lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli_runs import embedded, invoke
from tests.examples import examples
from tests.operations.test_untaken import Payments, pay_chat
from vimbiso_fsm import AsyncFlowStateManager, FlowStateManager, Message
from vimbiso_fsm.audit.entries import AuditEntry, AuditStep, seal, unseal
from vimbiso_fsm.audit.explain import explain
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.folding import FOLDED, first_instant, first_of, folds, is_fold_due, is_whole
from vimbiso_fsm.audit.trail import faults, read_trail
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.operations.erase import erase
from vimbiso_fsm.operations.fold import READ
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import DropOldest, Entry, Fold, Head, ReadAudit, ReadRecords
from vimbiso_fsm.store.retention import FOLD_EVERY, FOLD_LEAST, RECORDS_KEPT, UNFOLDED
from vimbiso_fsm.testing.chat import CHANNEL, START, STORE_SECRET, Chat

MOST = UNFOLDED + FOLD_EVERY + 1
"""Entries that a row of any length leaves."""
REFUSED = AuditEntry(
    1, START, "m-1", ("sms", "d"), "refusal", "refused", "", "", "amount", "amount", "pay", "pay:1", "answer",
    (AuditStep("pay", "pay:1", "amount", None, "answer", (("positive", "declined"),)),), ("number.format",),
)  # fmt: skip
KINDS = {
    "refused": REFUSED,
    "too much": attrs.evolve(REFUSED, codes=("amount.balance", "number.format")),
    "help": attrs.evolve(REFUSED, kind="command", trigger="help", steps=(), codes=()),
    "page": attrs.evolve(REFUSED, kind="page", steps=(), codes=()),
    "elsewhere": attrs.evolve(REFUSED, source="confirm", dest="confirm"),
    "on": attrs.evolve(REFUSED, kind="transition", status="advanced", source="amount", dest="confirm", codes=()),
    "aside": attrs.evolve(REFUSED, source="amount", dest="confirm", steps=()),
    "menu": attrs.evolve(REFUSED, kind="command", trigger="menu", codes=()),
    "upgraded": attrs.evolve(REFUSED, detail={"migrated": ["pay 1"]}),
}
"""Entries by what they are; the first four leave the member at the same question."""
STAYS = ("refused", "too much", "help", "page")


def chain(kinds: Sequence[str]) -> list[Entry]:
    """Return a chain of entries, a minute apart."""
    entries: list[Entry] = []
    for version, kind in enumerate(kinds, 1):
        at, token = START + timedelta(minutes=version), f"t{version}"
        entry = attrs.evolve(KINDS[kind], version=version, at=at, token=token, root=token)
        entries.append(seal(entry, b"d%d" % version, entries[-1].digest if entries else ""))
    return entries


def apply(entries: Sequence[Entry], fold: Fold) -> list[Entry]:
    """Return the entries after a fold."""
    return [
        Entry(entry.version, entry.digest, fold.body) if entry.version == fold.last else entry
        for entry in entries
        if not fold.first <= entry.version < fold.last
    ]


def kept(entries: Sequence[Entry]) -> list[Entry]:
    """Return what is kept of a chain that is folded whenever it is due."""
    found: list[Entry] = []
    for entry in entries:
        found.append(entry)
        if is_fold_due(unseal(entry)):
            for fold in folds("m-1", found[-READ:]):
                found = apply(found, fold)
    return found


def counted(entries: Sequence[Entry]) -> Counter[str]:
    """Return how often each reason was given."""
    found: Counter[str] = Counter()
    for read in map(unseal, entries):
        found.update(read.detail["codes"] if read.kind == FOLDED else read.codes)
    return found


rows = st.lists(
    st.tuples(st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=2), st.integers(1, 50)), min_size=1, max_size=5
).map(lambda parts: [kind for kinds, times in parts for kind in kinds * times])


@examples(30)
@given(rows)
def test_a_fold_loses_no_more_than_the_guards_of_what_it_stands_for(kinds):
    """The chain stays whole, each version has one entry, other entries stay the same, and all reasons are counted."""
    entries = chain(kinds)
    found = kept(entries)
    assert FlowAuditLogger.faults(found) == ()
    covered = [version for entry in found for version in range(first_of(entry), entry.version + 1)]
    assert covered == [*range(1, len(entries) + 1)]
    assert found[-UNFOLDED:] == entries[-UNFOLDED:]
    assert counted(found) == counted(entries)
    for entry in found:
        read = unseal(entry)
        if read.kind == FOLDED:
            row = entries[first_of(entry) - 1 : entry.version]
            assert {kinds[each.version - 1] for each in row} <= {*STAYS, "elsewhere"}
            assert len({unseal(each).dest for each in row}) == 1
            assert (read.detail["count"], first_instant(read), read.at) == (
                len(row),
                unseal(row[0]).at,
                unseal(row[-1]).at,
            )
            assert (read.previous, read.document, read.token) == (
                unseal(row[0]).previous, unseal(row[-1]).document, unseal(row[-1]).token,
            )  # fmt: skip
        else:
            assert entry == entries[entry.version - 1]
    again = found
    for fold in folds("m-1", found):
        again = apply(again, fold)
    assert folds("m-1", again) == ()


@examples(20)
@given(st.permutations(STAYS), st.integers(1, 150))
def test_a_row_of_any_length_leaves_a_bounded_number_of_entries(kinds, times):
    """Any number of messages at one question leaves at most one fold and the latest entries."""
    assert len(kept(chain(kinds * times))) <= MOST


def test_a_short_row_and_the_latest_entries_stay_as_they_are():
    """A row is folded from 16 entries on, and none of the latest 32 entries belongs to it."""
    assert folds("m-1", chain(["refused"] * (UNFOLDED + FOLD_LEAST - 1))) == ()
    [fold] = folds("m-1", chain(["refused"] * (UNFOLDED + FOLD_LEAST)))
    assert (fold.first, fold.last) == (1, FOLD_LEAST)


@pytest.mark.parametrize("spoil", [b"amount.balance", b"2026", b"pay:1"])
def test_damage_is_not_folded_away_and_a_spoilt_fold_is_named(spoil):
    """A damaged entry stays as it is, and damage to any part of a fold is a fault of the audit."""
    entries = chain(["too much"] * 100)
    place = 30
    entries[place] = attrs.evolve(entries[place], body=entries[place].body.replace(spoil, spoil.swapcase()[:-1] + b"~"))
    found = entries
    for fold in folds("m-1", entries):
        found = apply(found, fold)
    assert [first_of(entry) for entry in found[:3]] == [1, place + 1, place + 2]
    assert found[1] == entries[place]
    whole = found[0]
    assert is_whole(whole)
    broken = attrs.evolve(whole, body=whole.body.replace(spoil, spoil[:-1] + b"~"))
    assert any("its digest does not fit its text" in fault for fault in FlowAuditLogger.faults([broken]))


def test_a_filter_by_time_finds_a_fold_by_the_first_and_the_last_message_that_it_stands_for():
    """A fold matches each span in which one of its messages may have come."""
    [fold] = [unseal(entry) for entry in kept(chain(["refused"] * 192)) if unseal(entry).kind == FOLDED]
    first, last = first_instant(fold), fold.at
    assert FlowAuditLogger.fits(fold, since=last, until=last)
    assert FlowAuditLogger.fits(fold, since=first, until=first)
    assert not FlowAuditLogger.fits(fold, until=first - timedelta(seconds=1))
    assert not FlowAuditLogger.fits(fold, since=last + timedelta(seconds=1))
    assert FlowAuditLogger.fits(fold, flow="pay", run="pay:1")


# On a store --------------------------------------------------------------------------------------------------------


def asked() -> tuple[Chat, Payments]:
    """Return a chat with a guest who has answered, is no stranger any more, and is asked for an amount."""
    chat, payments = pay_chat()
    chat.say("hi", "5")
    chat.say("no")
    return chat, payments


def refuse(chat: Chat, times: int) -> None:
    """Send texts that are no amount."""
    for _ in range(times):
        assert chat.say("no amount").status == "refused"


def test_refused_messages_leave_a_bounded_audit_that_explains_each_of_them():
    """After 1,000 refused messages the audit is short and whole, and the explanation of each version names its fold."""
    chat, _ = asked()
    refuse(chat, 1_000)
    chat.check()
    trail = read_trail(chat.store, chat.member_id())
    assert faults(trail) == ()
    assert len(trail.entries) <= MOST + 3
    lines = explain(chat.bot, trail, 500).lines
    assert lines[0].startswith(f"entries 4 to {trail.entries[3].version} of member ")
    assert "number.format (" in lines[2]
    assert explain(chat.bot, trail, 1_003).lines[0].startswith("entry 1003 of member ")


def test_each_message_of_a_fold_stays_handled_and_the_conversation_goes_on():
    """A message whose entry was folded is a duplicate, states of kept records are found, and the flow goes on."""
    chat, payments = asked()
    first = chat.message("no amount")
    assert chat.handle(first).status == "refused"
    refuse(chat, 400)
    assert chat.handle(first).status == "duplicate"
    member_id = chat.member_id()
    entries, records = chat.store.perform(ReadAudit(member_id)), chat.store.perform(ReadRecords(member_id))
    latest = entries[-1].version
    for version in range(latest - RECORDS_KEPT + 1, latest + 1):
        state = FlowAuditLogger.state_at(version, entries, records)
        assert state is not None
        assert state["data"]["_validation_context"]["attempts"] == version - 3
    chat.say("5")
    chat.say("yes")
    assert sum(payments.amounts.values()) == 5


def test_an_erasure_takes_a_fold_with_the_entries():
    """The tombstone of an erasure stands for the first version of the fold, so the audit stays whole."""
    chat, _ = asked()
    refuse(chat, 300)
    member_id = chat.member_id()
    entries = chat.store.perform(ReadAudit(member_id))
    assert chat.store.perform(DropOldest(member_id, 3, Head(entries[3].version, entries[3].digest)))
    chat.finish(chat._hold(lambda context: erase(context, member_id), None))
    trail = read_trail(chat.store, member_id)
    assert faults(trail) == ()
    assert [first_of(entry) for entry in trail.entries] == [4]


class _Unfolding:
    """A store that fails when it is asked to fold."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.asked = 0

    def perform(self, request):
        """Perform a request."""
        if isinstance(request, Fold):
            self.asked += 1
            raise StoreUnavailable("it is gone")
        return self.store.perform(request)


def test_a_fold_that_fails_costs_the_message_nothing():
    """Where the store fails after the turn, the message has its reply, and a later fold takes the entries."""
    store = MemoryStore(time.time)
    failing = _Unfolding(store)
    bot = asked()[0].bot
    number = iter(range(10_000))

    def say(manager, times):
        texts = (Message(CHANNEL, f"m{next(number)}", "no amount") for _ in range(times))
        return [manager.handle(text).status for text in texts]

    with FlowStateManager(bot, failing, services={"ledger": Payments()}, rates=None) as manager:
        assert say(manager, 300)[1:] == ["refused"] * 299
    assert failing.asked >= 2
    with FlowStateManager(bot, store, services={"ledger": Payments()}, rates=None) as manager:
        say(manager, 2 * FOLD_EVERY)
        entries = store.perform(ReadAudit(manager.handle(Message(CHANNEL, "last", "no amount")).state.member_id))
    assert FlowAuditLogger.faults(entries) == ()
    assert len(entries) < 300


# On a server --------------------------------------------------------------------------------------------------------


def texts(times: int) -> list[Message]:
    """Return a message that begins a conversation, then texts that are no amount."""
    return [Message(CHANNEL, f"s{number}", "no amount" if number else "hi") for number in range(times)]


@pytest.mark.embedded
@embedded
def test_a_server_keeps_a_bounded_audit_that_the_commands_read(valkey_url, monkeypatch):
    """On a server the entries are folded as in memory, `verify` finds no fault, and `explain` tells of each version."""
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)
    services = {"ledger": Payments()}
    bot = pay_chat()[0].bot
    with FlowStateManager.from_url(valkey_url, bot, services=services, rates=None, secret=STORE_SECRET) as manager:
        statuses = [manager.handle(message).status for message in texts(260)]
        assert statuses[1:] == ["refused"] * 259
        assert manager.handle(texts(9)[8]).status == "duplicate"
        member_id = manager.handle(texts(1)[0]).state.member_id
        assert len(manager.history(member_id)) <= MOST + 1
    code, out, _ = invoke("audit", "verify", member_id, "--redis", valkey_url)
    assert (code, out.splitlines()[-1].endswith("faults 0")) == (0, True)


@pytest.mark.embedded
@embedded
def test_the_async_manager_folds_too(valkey_url):
    """The async manager folds as the sync one does."""
    bot = pay_chat()[0].bot
    services = {"ledger": Payments()}

    async def talk() -> tuple[AuditEntry, ...]:
        async with AsyncFlowStateManager.from_url(valkey_url, bot, services=services, rates=None) as manager:
            first, *others = texts(260)
            member_id = (await manager.handle(first)).state.member_id
            for message in others:
                await manager.handle(message)
            return await manager.history(member_id)

    history = asyncio.run(talk())
    assert len(history) <= MOST + 1
    assert [entry.detail["count"] for entry in history if entry.kind == FOLDED] == [256 - UNFOLDED - 1]
