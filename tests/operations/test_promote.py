"""A guest becomes a member who is there already: met on another channel, in the middle of something."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import bot
from flows.credex_core import Fault, SimulatedCredexCore
from tests.bots import Chat as Talking
from tests.bots import fruit_bot, member_document
from tests.flow.test_tokens import Office, a_bot, a_token
from vimbiso_fsm import Channel, FlowStateManager, Message, Outcome
from vimbiso_fsm.audit.entries import AuditEntry, life_of_guest, unseal
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import Address, Document, Moved, PendingCall, TokenLife, first_document
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.errors import Contended, DamagedDocument, StoreUnavailable
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import RunCall, answered
from vimbiso_fsm.operations.promote import Promoted, Unlinked, merge, promote, promotion_token
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    FindOwner,
    Head,
    Inherited,
    Late,
    Link,
    Linked,
    Load,
    Mismatch,
    Quarantine,
    ReadRecords,
    Request,
    SetWakeUp,
    Stored,
    Unlink,
    Wipe,
)
from vimbiso_fsm.testing.chat import Held

NOW = datetime(2026, 11, 22, 9, 15, 2, tzinfo=UTC)
ADA = "263771000001"
SMS = Channel("sms", ADA)
WHATSAPP = Channel("whatsapp", ADA)


class Chat:
    """One phone, several channels, one manager."""

    def __init__(self) -> None:
        self.at = NOW.timestamp()
        self.core = SimulatedCredexCore(clock=lambda: self.at)
        self.store = MemoryStore(lambda: self.at)
        self.manager = self.worker()
        self._ids = itertools.count(1)

    def worker(self) -> FlowStateManager:
        return FlowStateManager(bot, self.store, services={"credex_core": self.core})

    def say(self, channel: Channel, *texts: str) -> Outcome:
        return [self.manager.handle(Message(channel, f"id-{next(self._ids)}", text)) for text in texts][-1]


def place(outcome: Outcome) -> str:
    run = outcome.state.run
    return f"{run.flow}.{run.step}" if run else ""


def test_an_offer_goes_on_from_another_channel():
    """Begun on WhatsApp, confirmed by SMS: the same member, one offer, and each channel keeps its own identifier."""
    chat = Chat()
    member = chat.say(WHATSAPP, "hi", "offer", "10").state.member_id
    first = chat.say(SMS, "hi")
    assert first.state.member_id == member
    assert place(first) == "offer.handle"
    done = chat.say(SMS, "alan", "yes")
    assert "was made" in done.replies[0].text
    assert done.state.channel.address == SMS.address
    assert {address.type for address in done.state.channels} == {"whatsapp", "sms"}
    assert len([made for made in chat.core.offers if made.issuer == "ada" and made.amount == 10]) == 1
    assert place(chat.say(WHATSAPP, "menu")) == "dashboard.menu"


def test_without_answers_the_guests_dashboard_is_shown():
    """Nothing was open at the member: what the guest saw last is where they stand."""
    chat = Chat()
    chat.say(WHATSAPP, "hi")
    assert place(chat.say(SMS, "hi")) == "dashboard.menu"
    assert place(chat.say(SMS, "offer")) == "offer.amount"


def test_history_follows_the_guests():
    """The audit of both guests precedes that of the member."""
    chat = Chat()
    member = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi", "offer")
    kinds = [entry.kind for entry in chat.manager.history(member)]
    assert kinds.count("move") == 2
    assert len(chat.manager.history(member, channel=SMS)) >= 3
    assert len(chat.manager.history(member, flow="offer")) == 1


def test_a_channel_taken_away_is_a_guests_again():
    """Unlinked since: the guest's old `moved` does not give the channel back."""
    chat = Chat()
    member = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi")
    chat.manager.update(
        member, lambda document: attrs.evolve(document, channels=(Address(*WHATSAPP.address),), channel=WHATSAPP)
    )
    chat.store.perform(Unlink(SMS, member))
    outcome = chat.say(SMS, "help")
    assert outcome.replies
    assert chat.manager.member_of(WHATSAPP) == member


def test_nothing_of_a_guest_stays_behind():
    """No token, no name, no answer, no wake-up; the audit says where they went."""
    chat = Chat()
    chat.say(SMS, "hi", "offer", "10")
    guest_id = first_document(SMS, NOW).member_id
    left = chat.store.perform(Load(guest_id, previous=True))
    assert isinstance(left, Stored)
    assert (left.document, left.previous) == (None, None)
    assert chat.store.perform(ReadRecords(guest_id)) == ()
    audit = chat.manager.history(guest_id)
    assert (audit[-1].kind, audit[-1].detail) == ("wipe", {"moved_to": chat.manager.member_of(SMS)})
    assert [entry.version for entry in audit] == list(range(1, len(audit) + 1))


@pytest.mark.parametrize("days", [0, 7, 8, 12, 29])
def test_a_channel_taken_away_stays_away(days: int):
    """However long ago: whoever writes there is a guest, asked to log in; nothing of the member comes back to life."""
    chat = Chat()
    member = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi", "offer", "10")
    chat.manager.update(
        member, lambda document: attrs.evolve(document, channels=(Address(*WHATSAPP.address),), channel=WHATSAPP)
    )
    chat.store.perform(Unlink(SMS, member))
    chat.at += days * 86_400
    chat.core.faults = [Fault("down", call="login")]
    before = chat.manager.state(member)
    chat.manager = chat.worker()
    outcome = chat.say(SMS, "help")
    assert (outcome.state.guest, outcome.state.jwt_token) == (True, None)
    assert (chat.manager.state(member), chat.manager.member_of(SMS)) == (before, None)


def test_a_message_that_meets_a_guest_on_the_way_out_finds_the_member():
    """It was looked up just before the move, and read just after it."""
    chat = Chat()
    chat.core.faults = [Fault("down", call="login", times=1)]
    chat.say(SMS, "hi")
    late = chat.worker()
    meddled = itertools.count()

    class Between:
        def perform(self, request: Request) -> Any:
            if isinstance(request, Load) and next(meddled) == 0:
                chat.say(SMS, "again")  # the login, and the move
            return chat.store.perform(request)

    late._store = Between()
    outcome = late.handle(Message(SMS, "late", "offer"))
    assert (outcome.state.guest, place(outcome)) == (False, "offer.amount")


# The steps, by hand ---------------------------------------------------------------------------------------------------


def guest(**changes: Any) -> Document:
    document = first_document(SMS, NOW, version=3)
    return attrs.evolve(document, moved=Moved("m-1", 3), authenticated=True, jwt_token="t", **changes)


def member(**changes: Any) -> Document:
    return attrs.evolve(member_document(), **{"member_id": "m-1", "last_updated": NOW, **changes})


Promotion: TypeAlias = Held[Promoted | Unlinked]


def stored(document: Document | None) -> Stored:
    if document is None:
        return Stored(Head(), None, NOW.timestamp())
    return Stored(Head(document.version, "d" * 64), encode(document), NOW.timestamp())


def promotion() -> Promotion:
    """The promotion of the guest, up to its first effect."""
    context = Context(fruit_bot(), Cache(), NOW.timestamp())
    return Held(context, partial(promote, guest=guest(), head=Head(3, "g")))


def at_commit(present: Document | None = None) -> tuple[Promotion, Commit]:
    held = promotion()
    held.take(Inherited((("t", 1.0),)))
    assert isinstance(held.request, Load)
    held.take(stored(present))
    assert isinstance(held.request, Commit)
    return held, held.request


def test_the_merging_commit_carries_tokens_and_records():
    """One commit at the member, under a token made of the guest's id and version, brings everything of the guest.

    Then the channel is linked, and the guest's data deleted.
    """
    held, commit = at_commit()
    assert commit.inherited == Inherited((("t", 1.0),))
    assert commit.token == promotion_token(guest().member_id, 3)
    assert (commit.member_id, commit.expected) == ("m-1", Head())
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    assert held.request == Link(SMS, "m-1")
    held.take(Linked("m-1"))
    wipe = held.request
    assert isinstance(wipe, Wipe)
    assert (wipe.member_id, wipe.expected, wipe.entry.version) == (guest().member_id, Head(3, "g"), 4)
    held.take(Committed(Head(4, wipe.entry.digest), NOW.timestamp()))
    assert held.request is None
    document = promoted(held)
    assert (document.member_id, document.guest, document.moved) == ("m-1", False, None)
    assert [details.entry.kind for details in held.told] == ["move", "wipe"]
    assert held.told[-1].entry.detail == {"moved_to": "m-1"}


def promoted(held: Promotion) -> Document:
    """The member's document after the promotion."""
    assert isinstance(held.outcome, Promoted)
    return held.outcome.document


def test_what_was_quarantined_of_a_guest_stays():
    """Damaged data of a guest stays for an operator, and the guest with it; but nothing is due there."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    held.take(Linked("m-1"))
    held.take(Conflict(stored(None)))
    assert held.request == SetWakeUp(guest().member_id, Head(3, "g"))
    held.take(None)
    assert promoted(held).member_id == "m-1"


def test_a_guest_stays_until_the_merger_is_confirmed():
    """An unconfirmed merger may still be lost: the guest's wake-up stays, so that a worker tries again."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp(), confirmed=False))
    assert not held.context.confirmed
    held.take(Linked("m-1"))
    assert held.request is None
    assert promoted(held).member_id == "m-1"


def test_what_was_committed_before_an_error_is_reported():
    """A merger that was committed is told to observers, also when the store is lost before the promotion ends."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    with pytest.raises(StoreUnavailable):
        held.take(StoreUnavailable("gone"))
    assert [details.entry.kind for details in held.told] == ["move"]


def test_a_guest_whose_token_is_forgotten_is_not_merged():
    """Whether an older guest was merged before, and what has become of the member since, is not known."""
    held = promotion()
    held.take(Inherited(), (NOW + timedelta(days=8)).timestamp())
    held.take(stored(member(version=5)))
    assert isinstance(held.request, Wipe)
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert held.outcome == Unlinked()


@pytest.mark.parametrize("result", [Conflict, Late])
def test_another_writer_of_the_member_was_faster(result: Any):
    """The guest is merged again, into what is stored now."""
    held, _ = at_commit()
    held.take(result(stored(member(version=5))))
    assert isinstance(held.request, Commit)
    assert held.request.expected.version == 5
    held.take(Committed(Head(6, "x"), NOW.timestamp()))
    assert held.told[-1].attempts == 2


def test_merged_before():
    """When a worker died after the merger, the channel is linked all the same, and observers are not told twice."""
    held, _ = at_commit()
    adopted = member(version=5, channels=(Address(*SMS.address),))
    held.take(Duplicate((), stored(adopted)))
    assert held.request == Link(SMS, "m-1")
    assert not held.told
    held.take(Linked("m-1"))
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert promoted(held) == adopted


@pytest.mark.parametrize("present", [None, member(version=5), member(version=5, member_id="m-3")])
def test_merged_and_unlinked_since(present: Document | None):
    """The channel has no owner now when the member's document does not name it, or is not the member's."""
    held, _ = at_commit()
    held.take(Duplicate((), stored(present)))
    assert isinstance(held.request, Wipe)
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert held.outcome == Unlinked()


def test_the_channel_belongs_to_another_member():
    """A channel is never taken from its owner."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    held.take(Linked("m-2"))
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert held.outcome == Unlinked("m-2")


DAMAGE = [
    Broken(Head(4, "x"), "state is a list", 0.0),
    Stored(Head(4, "x"), b"{", 0.0),
    Stored(Head(4, "x"), encode(member(version=4, member_id="m-3")), 0.0),
]


@pytest.mark.parametrize("damage", DAMAGE, ids=["wrong type", "no JSON", "another member's"])
def test_a_damaged_member_is_quarantined(damage: Any):
    """The damage is moved away whole before anything is written, also when it appears in the middle of the promotion.

    Nothing of another member's document is merged.
    """
    held = promotion()
    held.take(Inherited())
    held.take(damage)
    assert held.request == Quarantine("m-1", Head(4, "x"))
    held.take(Conflict(stored(None)))
    merging = held.request
    assert isinstance(merging, Commit)
    if isinstance(damage, Broken):
        held.take(damage)
        assert held.request == Quarantine("m-1", Head(4, "x"))


def test_other_content_under_the_token_is_a_fault():
    """It cannot be: the token is a hash of the guest's own."""
    held, _ = at_commit()
    with pytest.raises(DamagedDocument, match="token of a move"):
        held.take(Mismatch(stored(None)))


def decision(of: Document, into: Document | None) -> Decision:
    return merge(fruit_bot(), of, into, NOW, version=into.version if into else 0)


def pending(key: str) -> PendingCall:
    return PendingCall(key, "bank", "pay", {}, "root", NOW + timedelta(seconds=30))


def test_a_call_on_its_way_at_the_member_is_not_lost():
    """Whatever the guest has: the answer must find its run."""
    there = member(call=pending("theirs"))
    for own in (None, pending("own")):
        adopted = decision(guest(call=own), there).document
        assert adopted.call == there.call
        assert adopted.run == there.run


def test_a_guests_call_moves_with_them():
    """And is made for the member."""
    adopted = decision(guest(call=pending("own")), None).document
    assert adopted.call == pending("own")


def test_time_never_goes_back():
    """The member's clock may be ahead of the guest's."""
    later = NOW + timedelta(hours=1)
    assert decision(guest(), member(last_updated=later)).document.last_updated == later


def test_who_is_looked_up_first():
    """A guest whose move is done is met at the member: the index is asked, nothing is adopted again."""
    chat = Chat()
    chat.say(SMS, "hi")
    asked: list[object] = []

    class Watched:
        def perform(self, request: Request) -> Any:
            asked.append(type(request))
            return chat.store.perform(request)

    chat.manager = FlowStateManager(bot, Watched(), services={"credex_core": chat.core})
    chat.say(SMS, "menu")
    assert asked == [FindOwner, Load, Commit]


# Whose session goes on ------------------------------------------------------------------------------------------------


SESSION = ("authenticated", "jwt_token", "token", "deadline", "session_since", "warn_at")
LATER = NOW + timedelta(minutes=4)


def session(document: Document) -> list[object]:
    return [getattr(document, name) for name in SESSION]


@pytest.mark.parametrize("token", [None, "newer"])
def test_a_logout_since_is_final(token: str | None):
    """The guest logged in, and nobody finished their move; the member has logged out meanwhile, or in again."""
    own = member(last_updated=LATER, jwt_token=token, authenticated=token is not None, deadline=LATER)
    adopted = decision(guest(deadline=NOW), own).document
    assert session(adopted) == session(own)


def test_a_login_since_is_the_members():
    """The member's session is older: the guest's is theirs now."""
    own = member(last_updated=NOW - timedelta(seconds=1), jwt_token="old", deadline=NOW)
    adopted = decision(guest(deadline=LATER, session_since=NOW), own).document
    assert session(adopted) == session(guest(deadline=LATER, session_since=NOW))


def test_a_token_that_ran_out_on_the_way_is_over():
    """Nobody finished the move in time."""
    life = TokenLife(NOW, NOW + timedelta(minutes=5))
    adopted = merge(fruit_bot(), guest(token=life), None, NOW + timedelta(minutes=6), version=0).document
    assert (adopted.authenticated, adopted.jwt_token) == (False, "t")


def test_what_is_not_confirmed_calls_nobody():
    """The guest's last turn is safe, its adoption at the member is not: the call waits for whoever takes it up."""
    office = Office()
    chat = Talking(a_bot(office))
    exchange = chat.begin(chat.message("hi"))
    for _ in range(40):
        if exchange.request is None:
            break
        request = exchange.request
        result = chat.perform(request)
        if isinstance(request, Commit) and request.member_id == "m-1" and isinstance(result, Committed):
            result = attrs.evolve(result, confirmed=False)
        exchange.take(result, chat.clock.at, 0.0)
    assert exchange.outcome is not None
    assert not exchange.outcome.confirmed
    guest_id = first_document(chat.channel, NOW).member_id
    assert chat.stored(guest_id).document is not None, "it may have to be adopted again"
    chat.wake(guest_id)
    assert chat.stored(guest_id).document is None
    chat.check()


# Any worker, at any step ----------------------------------------------------------------------------------------------


def moving() -> tuple[Talking, Office]:
    """Somebody who has never written; their first word logs them in."""
    office = Office()
    return Talking(a_bot(office), cached=False), office


def settled(chat: Talking, office: Office) -> None:
    """The move is done, once; nothing is left behind, nothing is due, and the chains are whole."""
    chat.check()
    guest_id = first_document(chat.channel, NOW).member_id
    assert chat.member_id() == "m-1"
    left_behind = chat.store.perform(Load(guest_id, previous=True))
    assert isinstance(left_behind, Stored)
    assert (left_behind.document, left_behind.previous) == (None, None)
    assert chat.wakes_at(guest_id) is None
    kinds = [unseal(entry).kind for entry in chat.entries(guest_id)]
    assert (kinds.count("wipe"), kinds[-1]) == (1, "wipe")
    assert [unseal(entry).kind for entry in chat.entries("m-1")].count("move") == 1
    assert len(office.paid) <= 1


@pytest.mark.parametrize("steps", range(1, 14))
@pytest.mark.parametrize("heir", ["wake", "same", "other"])
def test_a_worker_that_dies_at_any_step_of_a_move(steps: int, heir: str):
    """Whoever comes next finishes it: the timer, the same message again, or another one."""
    chat, office = moving()
    first = chat.message("hi")
    dead = chat.begin(first)
    for _ in range(steps):
        if dead.request is not None:
            chat.step(dead)
    chat.wait(100)
    guest_id = first_document(chat.channel, NOW).member_id
    for _ in range(3):
        if heir == "wake":
            chat.wait(30).wake(guest_id)
        else:
            chat.wait(30).handle(first if heir == "same" else chat.message("menu"))
    if heir == "wake" and chat.member_id() != "m-1":
        chat.handle(first)  # nothing was stored before it died
    chat.wake(guest_id)
    settled(chat, office)


@given(order=st.lists(st.integers(0, 3), min_size=20, max_size=120), same=st.booleans())
@settings(max_examples=120, deadline=None)
def test_any_workers_at_once(order: list[int], same: bool):
    """Two messages, or one that is delivered twice, a wake and a late redelivery: each order of steps settles.

    A message that has waited for the others as long as its patience lasts may end as `Contended`.
    """
    chat, office = moving()
    guest_id = first_document(chat.channel, NOW).member_id
    first, second = chat.message("hi"), chat.message("help")
    works: list[Any] = [chat.begin(first), chat.begin(first if same else second)]
    works += [chat.waking(guest_id), chat.begin(first)]
    for turn in order:
        if works[turn].request is not None:
            chat.clock.at += 0.5
            with suppress(Contended):
                chat.step(works[turn])
    for work in works:
        for _ in range(400):
            if work.request is None:
                break
            with suppress(Contended):
                chat.step(work)
        assert work.request is None
    chat.wait(60).wake(guest_id)
    chat.wake("m-1")
    settled(chat, office)


def test_an_answer_for_a_guest_whose_channel_is_somebody_elses_now():
    """Wiped, unlinked, and a new guest is there: the answer is not theirs."""
    chat, office = moving()
    dead = chat.begin(chat.message("hi"))
    while not isinstance(dead.request, RunCall):
        chat.step(dead)
    request = dead.request
    guest_id = first_document(chat.channel, NOW).member_id
    chat.wait(100).wake(guest_id)
    settled(chat, office)
    chat.store.perform(Unlink(chat.channel, "m-1"))
    own = chat.document("m-1")
    chat.plant_bytes("m-1", encode(attrs.evolve(own, channels=(), version=own.version + 1)))
    office.answers["login"] = [Refused("down")]
    chat.wait(100).say("hi")
    before = chat.document(guest_id)
    assert before.guest
    chat.wake(guest_id, answer=answered(request, a_token()))
    assert chat.document(guest_id) == before
    assert chat.document("m-1").channels == ()


# History --------------------------------------------------------------------------------------------------------------


def test_history_follows_a_guest_only_for_as_long_as_they_were_theirs():
    """The channel was taken from them and given to somebody else: neither sees what the other said there."""
    chat = Chat()
    ada = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi")
    chat.manager.update(
        ada, lambda document: attrs.evolve(document, channels=(Address(*WHATSAPP.address),), channel=WHATSAPP)
    )
    chat.store.perform(Unlink(SMS, ada))
    chat.manager = chat.worker()
    again = chat.say(SMS, "hi", "hi")
    assert again.state.member_id == ada
    history = chat.manager.history(ada)
    told = [(entry.member_id, entry.version) for entry in history]
    assert len(told) == len({*told}), "each is told once"
    assert [entry.kind for entry in history].count("move") == 3


def entry_at(version: int, kind: str) -> AuditEntry:
    return AuditEntry(
        version=version,
        at=NOW,
        member_id="guest-1",
        channel=("sms", ""),
        kind=kind,
        status="advanced",
        token="t",
        root="t",
    )


def test_the_life_of_a_guest_is_from_wipe_to_wipe():
    entries = [
        entry_at(n, kind) for n, kind in enumerate(("start", "move", "wipe", "start", "move", "wipe", "start"), 1)
    ]
    assert [entry.version for entry in life_of_guest(entries, 2)] == [1, 2, 3]
    assert [entry.version for entry in life_of_guest(entries, 5)] == [4, 5, 6]
    assert [entry.version for entry in life_of_guest(entries[1:], 2)] == [2, 3]
    assert [entry.version for entry in life_of_guest(entries[:5], 5)] == [4, 5]
