"""The timeline of a member, and the states at its versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.credex_core import Fault, SimulatedCredexCore
from tests.examples import examples
from tests.studio import members
from tests.studio.members import HIDDEN, NAME, WHATSAPP, Channels, Till, everything, talk
from vimbiso_fsm import Bot, Channel, FlowStateManager
from vimbiso_fsm.archive.json_lines import JsonLinesArchive
from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.archive.procedures import MoveToArchive
from vimbiso_fsm.archive.store import ArchivedStore
from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.audit.timeline import Moment
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import EntryNotFound, StateNotKept
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.timeline import Page, document_at, read_state, read_timeline
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import ReadAudit, RecordIncident


class Store:
    """A manager on a store in memory, with a clock that the test sets."""

    def __init__(self, bot: Bot = members.bot) -> None:
        self.at = 1_800_000_000.0
        self.till, self.core, self.store = Till(), SimulatedCredexCore(), MemoryStore(lambda: self.at)
        self.core.clock = lambda: self.at
        services = {"till": self.till} if bot is members.bot else {"credex_core": self.core}
        options: dict[str, Any] = {"services": services, "senders": {"whatsapp": Channels()}}
        self.manager = FlowStateManager(bot, self.store, rates=None, paces={}, cache=0, **options)

    def later(self, seconds: float) -> None:
        """Set the clock forward."""
        self.at += seconds

    def page(self, member_id: str, limit: int = 1_000, before: str = "") -> Page:
        """Read a page."""
        return run(read_timeline(self.manager.bot, member_id, limit=limit, before=before), self.manager.ask)


@pytest.fixture(scope="module")
def lived() -> tuple[Store, str]:
    """A store with a member to whom everything has happened. Tests only read it."""
    store = Store()
    return store, everything(store.manager, store.till, store.later)


def of(page: Page, words: str) -> Moment:
    """Return the first moment with these words."""
    return next(moment for moment in page.moments if words in moment.words)


def test_a_timeline_tells_what_happened(lived: tuple[Store, str]):
    """It has the refused PIN with its guard, the tries of the call, the refused delivery, and the recovery."""
    store, member_id = lived
    page = store.page(member_id)
    refused = of(page, "and was refused")
    assert refused.refusals == (("right_pin", "refused pin.wrong"),)
    assert (refused.codes, refused.source, refused.dest) == (("pin.wrong",), "pin", "pin")
    tries = [(moment.cause, moment.tries) for moment in page.moments if moment.call == "payment.paying"]
    assert tries == [("member", 1), *[("service", each) for each in (1, 2, 2, 3, 3)]]
    assert of(page, "no answer in time").words.startswith("the call till.pay had no answer")
    assert of(page, "the channel refused").words == "the channel refused the replies: blocked: • (code 131026)"
    assert (of(page, "repaired").cause, of(page, "repaired").dest) == ("operator", "to")
    answered = next(moment for moment in page.moments if moment.dest == "pin" and moment.replies)
    assert [reply.text for reply in answered.replies or ()] == ["Your PIN, to pay •?"]
    assert [(each.name, each.before, each.after) for each in answered.changed] == [("to", None, "•")]
    assert page.standing is not None
    assert (page.standing.flow, page.standing.state, page.older, page.newer) == ("payment", "to", "", False)


def test_a_timeline_of_vimbisopay_joins_the_guest_and_the_member():
    """An offer begins with the guest that the member was, and shows the amount, which is public, and no name."""
    store = Store(flows.bot)
    channel = Channel("whatsapp", "263771000001")
    talk(store.manager, "hi", "offer", "99 USD", "10 USD", "ada", "alan", channel=channel)
    store.core.faults = [Fault("lost", "", times=9)]
    member_id = talk(store.manager, "yes", channel=channel)
    page = store.page(member_id)
    assert [moment.member_id.partition("-")[0] for moment in page.moments[:4]] == ["guest", "guest", "guest", "member"]
    assert of(page, "this id became").cause == "bot"
    amount = next(moment for moment in page.moments if any(each.name == "amount" for each in moment.changed))
    assert amount.changed[0].after == {"amount": "10.00", "currency": "USD"}
    assert page.standing is not None
    assert page.standing.call == ("credex_core.create_credex", 1)
    shown = json.dumps(attrs.asdict(page), default=str)
    assert [each for each in ("Ada", "Alan", "alan", "263771000001", "ada)") if each in shown] == []


def test_a_timeline_shows_no_secret(lived: tuple[Store, str]):
    """Neither secrets nor personal data are in a timeline, or in the states at its versions."""
    store, member_id = lived
    page = store.page(member_id)
    states = [
        run(read_state(store.manager.bot, member_id, moment.version), store.manager.ask)
        for moment in page.moments
        if moment.has_state
    ]
    assert len(states) > 10
    shown = json.dumps([attrs.asdict(page), states], default=str, ensure_ascii=False)
    assert [each for each in HIDDEN if each in shown] == []
    assert "10 USD" in shown  # what is public is shown


@given(st.integers(1, 30))
@examples(5)
def test_each_entry_is_on_one_page_in_order(lived: tuple[Store, str], limit: int):
    """The pages have each entry of the audit exactly once, in order, and tell the same of it at any size."""
    store, member_id = lived
    whole = store.page(member_id)
    found: list[Moment] = []
    before = ""
    while True:
        page = store.page(member_id, limit, before)
        assert len([moment for moment in page.moments if moment.version]) <= limit
        assert page.newer == bool(before)
        found = [*page.moments, *found]
        before = page.older
        if not before:
            break
    entries = store.manager.ask(ReadAudit(member_id))
    assert [moment.version for moment in found] == [entry.version for entry in entries]
    assert tuple(found) == whole.moments


def test_incidents_and_unreadable_entries_stand_between_the_others():
    """An incident stands once, by its instant. An entry that cannot be read has its place and a sentence."""
    store = Store()
    member_id = ""
    for word in ("hi", "1", NAME):
        member_id = talk(store.manager, word)
        store.later(10)
    versions = [moment.version for moment in store.page(member_id).moments]
    store.manager.ask(RecordIncident(member_id, Incident(instant(store.at - 15), "mismatch", member_id).body))
    store.manager.ask(RecordIncident(member_id, b"no incident"))
    stored = store.store._members[member_id]
    first, (at, second), *others = stored.audit
    stored.audit = (first, (at, attrs.evolve(second, body=b"\xff")), *others)
    page = store.page(member_id)
    assert [moment.version for moment in page.moments if moment.version] == versions
    place = next(place for place, moment in enumerate(page.moments) if moment.kind == "incident")
    assert page.moments[place].words == "incident: mismatch"
    assert page.moments[place + 1].version == versions[-1]
    assert page.moments[1].words.startswith("entry 2: it cannot be read")
    assert len(page.faults) == 1
    pages = [store.page(member_id, 1, before) for before in ("", *map(str, versions[1:]))]
    assert sum(moment.kind == "incident" for page in pages for moment in page.moments) == 1


def test_a_page_before_an_unknown_key_is_refused(lived: tuple[Store, str]):
    """The key of a page is that of an entry."""
    store, member_id = lived
    for before in ("99", "x", "guest-1/1", f"{member_id}/0", "²", "9" * 5_000):
        with pytest.raises(EntryNotFound, match="give the version"):
            store.page(member_id, before=before)


def test_nothing_is_known_of_a_stranger():
    """The timeline of an unknown member is empty."""
    assert Store().page("m-9") == Page("m-9")


def test_a_trial_goes_on_from_an_earlier_version(lived: tuple[Store, str]):
    """The document at a version has the state of it, and not what came after. Where a call was on its way, none can."""
    store, member_id = lived
    bot, ask = store.manager.bot, store.manager.ask
    page = store.page(member_id)
    asked = next(moment for moment in page.moments if moment.dest == "pin" and moment.has_state)
    before = run(document_at(bot, member_id, asked.version), ask)
    assert before.run is not None
    assert (before.version, before.run.step, before.run.fields["to"]) == (asked.version, "pin", NAME)
    assert before.channel == WHATSAPP
    called = next(moment for moment in page.moments if moment.dest == "paying" and moment.has_state)
    with pytest.raises(StateNotKept, match="a call was on its way"):
        run(document_at(bot, member_id, called.version), ask)
    with pytest.raises(StateNotKept, match="no state of version 1 is kept"):
        run(document_at(bot, member_id, 1), ask)
    with pytest.raises(StateNotKept, match="missing"):
        run(document_at(bot, "m-9", 1), ask)


def test_archived_entries_are_part_of_a_timeline(tmp_path: Path):
    """The entries of the archive and those of the store are one timeline."""
    store = Store()
    member_id = everything(store.manager, store.till, store.later)
    whole = store.page(member_id)
    archived = ArchivedStore(store.store, Archiving(JsonLinesArchive(tmp_path), entries=4), lambda: store.at)
    archived.perform(MoveToArchive(member_id))
    assert len(store.page(member_id).moments) < len(whole.moments)
    assert run(read_timeline(members.bot, member_id), archived.perform) == whole
