"""The promotion of a guest to a member who exists already, on another channel or in the middle of a flow."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeAlias

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flows import bot
from flows.credex_core import Fault, SimulatedCredexCore
from tests.bots import fruit_bot, member_document
from tests.digests import guest_id
from tests.examples import examples
from tests.flow.test_tokens import Office, a_bot, a_token
from vimbiso_fsm import Channel, FlowStateManager, Message, Outcome
from vimbiso_fsm.audit.entries import AuditEntry, life_of_guest, unseal
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import Document, Moved, PendingCall, TokenLife, first_document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.errors import Contended, DamagedDocument, StoreUnavailable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import LEASE_OVER, RunCall, answered
from vimbiso_fsm.operations.promote import Promoted, Unlinked, merge, promote, promotion_token
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    Effect,
    FindOwner,
    Head,
    Inherited,
    Late,
    Link,
    Linked,
    Load,
    Mismatch,
    Quarantine,
    ReadDigests,
    ReadInherited,
    ReadOwner,
    ReadRecords,
    Request,
    SetWakeUp,
    Stored,
    Unlink,
    Wipe,
)
from vimbiso_fsm.store.retention import TOKEN_KEPT
from vimbiso_fsm.testing.chat import STORE_SECRET, Held
from vimbiso_fsm.testing.chat import Chat as Talking

NOW = datetime(2026, 11, 22, 9, 15, 2, tzinfo=UTC)
ADA = "263771000001"
SMS = Channel("sms", ADA)
WHATSAPP = Channel("whatsapp", ADA)


class Chat:
    """One telephone with several channels on one manager."""

    def __init__(self) -> None:
        self.at = NOW.timestamp()
        self.core = SimulatedCredexCore(clock=lambda: self.at)
        self.store = MemoryStore(lambda: self.at, secret=STORE_SECRET)
        self.manager = self.worker()
        self._ids = itertools.count(1)

    def worker(self) -> FlowStateManager:
        return FlowStateManager(bot, self.store, services={"credex_core": self.core})

    def say(self, channel: Channel, *texts: str) -> Outcome:
        return [self.manager.handle(Message(channel, f"id-{next(self._ids)}", text)) for text in texts][-1]


def place(outcome: Outcome) -> str:
    """Return the flow and the step of the run, joined by a dot, or an empty text without a run."""
    run = outcome.state.run
    return f"{run.flow}.{run.step}" if run else ""


def test_an_offer_goes_on_from_another_channel():
    """An offer begun on WhatsApp is confirmed by SMS: one member, one offer, and each channel keeps its identifier."""
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
    """If the member's run has no answers, the guest's run is taken over."""
    chat = Chat()
    chat.say(WHATSAPP, "hi")
    assert place(chat.say(SMS, "hi")) == "dashboard.menu"
    assert place(chat.say(SMS, "offer")) == "offer.amount"


def test_history_follows_the_guests():
    """The member's history begins with the entries of both guests."""
    chat = Chat()
    member = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi", "offer")
    kinds = [entry.kind for entry in chat.manager.history(member)]
    assert kinds.count("move") == 2
    assert len(chat.manager.history(member, channel=SMS)) >= 3
    assert len(chat.manager.history(member, flow="offer")) == 1


def test_a_channel_taken_away_is_a_guests_again():
    """The old document of a promoted guest does not link the channel again after it was unlinked."""
    chat = Chat()
    member = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi")
    chat.manager.update(member, lambda document: attrs.evolve(document, channels=(WHATSAPP.address,), channel=WHATSAPP))
    chat.store.perform(Unlink(SMS, member))
    outcome = chat.say(SMS, "help")
    assert outcome.replies
    assert chat.manager.member_of(WHATSAPP) == member


def test_nothing_of_a_guest_stays_behind():
    """After a promotion no token, name, answer or wake-up of the guest is kept; the audit names the member."""
    chat = Chat()
    chat.say(SMS, "hi", "offer", "10")
    guest = guest_id(SMS)
    left = chat.store.perform(Load(guest, previous=True))
    assert isinstance(left, Stored)
    assert (left.document, left.previous) == (None, None)
    assert chat.store.perform(ReadRecords(guest)) == ()
    audit = chat.manager.history(guest)
    assert (audit[-1].kind, audit[-1].detail) == ("wipe", {"moved_to": chat.manager.member_of(SMS)})
    assert [entry.version for entry in audit] == list(range(1, len(audit) + 1))


@pytest.mark.parametrize("days", [0, 7, 8, 12, 29])
def test_a_channel_taken_away_stays_away(days: int):
    """After a channel was unlinked, a message on it is a guest's, however much later it comes."""
    chat = Chat()
    member = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi", "offer", "10")
    chat.manager.update(member, lambda document: attrs.evolve(document, channels=(WHATSAPP.address,), channel=WHATSAPP))
    chat.store.perform(Unlink(SMS, member))
    chat.at += days * 86_400
    chat.core.faults = [Fault("down", call="login")]
    before = chat.manager.state(member)
    chat.manager = chat.worker()
    outcome = chat.say(SMS, "help")
    assert (outcome.state.guest, outcome.state.jwt_token) == (True, None)
    assert (chat.manager.state(member), chat.manager.member_of(SMS)) == (before, None)


def test_a_message_that_meets_a_guest_on_the_way_out_finds_the_member():
    """A message whose owner was read before a promotion, and whose document after it, goes to the member."""
    chat = Chat()
    chat.core.faults = [Fault("down", call="login", times=1)]
    chat.say(SMS, "hi")
    late = chat.worker()
    meddled = itertools.count()

    class Between:
        def perform(self, request: Request) -> Any:
            if isinstance(request, Load | Commit) and next(meddled) == 0:
                chat.say(SMS, "again")  # the login, and the move
            return chat.store.perform(request)

    late._store = Between()
    outcome = late.handle(Message(SMS, "late", "offer"))
    assert (outcome.state.guest, place(outcome)) == (False, "offer.amount")


# The steps, by hand ---------------------------------------------------------------------------------------------------


def guest(**changes: Any) -> Document:
    """Return the document of a guest that has become member m-1."""
    document = first_document(guest_id(SMS), SMS, NOW, SMS.address, version=3)
    return attrs.evolve(document, moved=Moved("m-1", 3), authenticated=True, jwt_token="t", **changes)


def member(**changes: Any) -> Document:
    """Return the document of member m-1."""
    return attrs.evolve(member_document(), **{"member_id": "m-1", "last_updated": NOW, **changes})


Promotion: TypeAlias = Held[Promoted | Unlinked]


def stored(document: Document | None) -> Stored:
    """Return a document as the store answers it."""
    if document is None:
        return Stored(Head(), None, NOW.timestamp())
    return Stored(Head(document.version, "d" * 64), encode(document), NOW.timestamp())


def unmerged(document: Document | None) -> Committed | Conflict:
    """Return the answer of the store to the question for a document into which the guest is not merged."""
    return Conflict(stored(document)) if document is not None else Committed(Head(), NOW.timestamp())


def promotion() -> Promotion:
    """Return the promotion of the guest, up to its first effect."""
    context = Context(fruit_bot(), Cache(), NOW.timestamp())
    return Held(context, partial(promote, guest=guest(), head=Head(3, "g")))


def at_commit(present: Document | None = None) -> tuple[Promotion, Commit]:
    """Run a promotion up to its commit, and return both."""
    held = promotion()
    held.take(Inherited((("t", 1.0),)))
    token = promotion_token(guest().member_id, Moved("m-1", 3))
    assert held.request == Commit("m-1", Head(), token, token, "", None, None)
    held.take(unmerged(present))
    assert isinstance(held.request, Commit)
    return held, held.request


def test_the_merging_commit_carries_tokens_and_records():
    """One commit at the member, under a token of the guest's id and version, brings all data of the guest.

    Then the channel is linked, and the guest's data is deleted.
    """
    held, commit = at_commit()
    assert commit.inherited == Inherited((("t", 1.0),))
    assert commit.token == promotion_token(guest().member_id, Moved("m-1", 3))
    assert (commit.member_id, commit.expected) == ("m-1", Head())
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    assert held.request == Link(SMS, "m-1", instead_of=guest_id(SMS), way=commit.token)
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
    """Return the member's document after the promotion."""
    assert isinstance(held.outcome, Promoted)
    return held.outcome.document


def test_a_guest_with_quarantined_data_is_kept():
    """A guest with quarantined data is kept for an operator, without a wake-up."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    held.take(Linked("m-1"))
    held.take(Conflict(stored(None)))
    assert held.request == SetWakeUp(guest().member_id, Head(3, "g"))
    held.take(None)
    assert promoted(held).member_id == "m-1"


def test_a_guest_stays_until_the_merger_is_confirmed():
    """A guest keeps its wake-up until a replica has confirmed the merge, so that a worker tries again."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp(), confirmed=False))
    assert not held.context.confirmed
    held.take(Linked("m-1"))
    assert held.request is None
    assert promoted(held).member_id == "m-1"


def test_a_merge_before_an_error_is_reported():
    """A committed merge is reported to observers even if the store fails before the promotion ends."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    with pytest.raises(StoreUnavailable):
        held.take(StoreUnavailable("gone"))
    assert [details.entry.kind for details in held.told] == ["move"]


def test_a_guest_whose_token_is_forgotten_is_not_merged():
    """A guest older than `TOKEN_KEPT` is not merged, because an earlier merge could not be recognised."""
    held = promotion()
    held.take(Inherited(), (NOW + timedelta(seconds=TOKEN_KEPT)).timestamp())
    held.take(unmerged(member(version=5)))
    assert isinstance(held.request, Wipe)
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert held.outcome == Unlinked()


@pytest.mark.parametrize("result", [Conflict, Late])
def test_another_writer_of_the_member_was_faster(result: Any):
    """After a conflict the guest is merged into the document that is stored then."""
    held, _ = at_commit()
    held.take(result(stored(member(version=5))))
    assert isinstance(held.request, Commit)
    assert held.request.expected.version == 5
    held.take(Committed(Head(6, "x"), NOW.timestamp()))
    assert held.told[-1].attempts == 2


def test_merged_before():
    """A merge that was committed before is completed without a second report to observers."""
    held, _ = at_commit()
    adopted = member(version=5, channels=(SMS.address,))
    held.take(Duplicate((), stored(adopted)))
    assert isinstance(held.request, Link)
    assert attrs.evolve(held.request, way="") == Link(SMS, "m-1", instead_of=guest_id(SMS))
    assert not held.told
    held.take(Linked("m-1"))
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert promoted(held) == adopted


@pytest.mark.parametrize(
    ("present", "is_let_go"), [(None, True), (member(version=5), True), (member(version=5, member_id="m-3"), False)]
)
def test_merged_and_unlinked_since(present: Document | None, is_let_go: bool):
    """The channel has no owner if the member's document does not name it, or is not the member's.

    Where the document tells it, the way is marked as done, so that no process leads the channel to the member later.
    """
    held, _ = at_commit()
    held.take(Duplicate((), stored(present)))
    if is_let_go:
        assert held.request == Unlink(SMS, guest_id(SMS), promotion_token(guest().member_id, Moved("m-1", 3)))
        held.take(Linked(None))
    assert isinstance(held.request, Wipe)
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert held.outcome == Unlinked()


def test_the_channel_belongs_to_another_member():
    """A promotion never takes a channel from its owner."""
    held, _ = at_commit()
    held.take(Committed(Head(1, "x"), NOW.timestamp()))
    held.take(Linked("m-2"))
    assert held.request == Load("m-1")  # the list is looked at, and has the channel no more
    held.take(stored(None))
    held.take(Committed(Head(4, "w"), NOW.timestamp()))
    assert held.outcome == Unlinked("m-2")


DAMAGE = [
    Broken(Head(4, "x"), "state is a list", 0.0),
    Stored(Head(4, "x"), b"{", 0.0),
    Stored(Head(4, "x"), encode(member(version=4, member_id="m-3")), 0.0),
]


@pytest.mark.parametrize("damage", DAMAGE, ids=["wrong type", "no JSON", "another member's"])
def test_a_damaged_member_is_quarantined(damage: Any):
    """A damaged document of the member is quarantined whole before anything is written.

    Nothing of another member's document is merged.
    """
    held = promotion()
    held.take(Inherited())
    asking = held.request
    held.take(damage if isinstance(damage, Broken) else Conflict(damage))
    assert held.request == Quarantine("m-1", Head(4, "x"))
    held.take(Stored(Head(4, "x"), None, 0.0))
    assert held.request == asking, "another worker may have merged it meanwhile"
    held.take(unmerged(None))
    merging = held.request
    assert isinstance(merging, Commit)
    assert merging.document is not None
    if isinstance(damage, Broken):
        held.take(damage)
        assert held.request == Quarantine("m-1", Head(4, "x"))


def test_other_content_under_the_token_is_a_fault():
    """Other content under the token of the promotion raises `DamagedDocument`."""
    held, _ = at_commit()
    with pytest.raises(DamagedDocument, match="token of its promotion"):
        held.take(Mismatch(stored(None)))


def decision(of: Document, into: Document | None) -> Decision:
    """Merge the document of a guest into that of a member."""
    return merge(fruit_bot(), of, into, NOW, version=into.version if into else 0)


def pending(key: str) -> PendingCall:
    """Return a pending call with a key."""
    return PendingCall(key, "bank", "pay", {}, "root", NOW + timedelta(seconds=30))


def test_a_call_on_its_way_at_the_member_is_not_lost():
    """A pending call of the member stays with its run, whatever run the guest has."""
    there = member(call=pending("theirs"))
    for own in (None, pending("own")):
        adopted = decision(guest(call=own), there).document
        assert adopted.call == there.call
        assert adopted.run == there.run


@pytest.mark.parametrize("due", [None, NOW + timedelta(minutes=1)])
@pytest.mark.parametrize("call", [None, pending("own")])
@pytest.mark.parametrize("waits", [False, True])
def test_a_run_that_both_hold_is_the_members(due: datetime | None, call: PendingCall | None, waits: bool):
    """A run of the guest that the member has as well, current or suspended, was merged before and is not doubled."""
    talk = Talking(fruit_bot())
    run = attrs.evolve(talk.say("hi").state.run or pytest.fail("no run"), due=due)
    further = attrs.evolve(run, entered=9)
    other = attrs.evolve(run, id=f"{run.flow}:other", due=None)
    there = member(run=other, suspended=(further,)) if waits else member(run=further, suspended=(other,))
    merged = decision(guest(run=run, call=call), there).document
    assert (merged.run, merged.suspended, merged.call) == (there.run, there.suspended, None)


def test_a_guests_call_moves_with_them():
    """A pending call of the guest is made for the member."""
    adopted = decision(guest(call=pending("own")), None).document
    assert adopted.call == pending("own")


def test_time_never_goes_back():
    """The merged document is not older than the member's, even if the member's clock is ahead."""
    later = NOW + timedelta(hours=1)
    assert decision(guest(), member(last_updated=later)).document.last_updated == later


def test_a_promoted_channel_reads_its_owner_first():
    """A message on the channel of a promoted guest reads the owner, and does not merge again."""
    chat = Chat()
    chat.say(SMS, "hi")
    asked: list[object] = []

    class Watched:
        def perform(self, request: Request) -> Any:
            asked.append(type(request))
            return chat.store.perform(request)

    chat.manager = FlowStateManager(bot, Watched(), services={"credex_core": chat.core})
    chat.manager._base.clock.follow(lambda: chat.at)
    chat.say(SMS, "menu")
    assert asked == [ReadOwner, ReadDigests, FindOwner, Load, Commit]


# Whose session goes on ------------------------------------------------------------------------------------------------


SESSION = ("authenticated", "jwt_token", "token", "deadline", "session_since", "warn_at")
LATER = NOW + timedelta(minutes=4)


def session(document: Document) -> list[object]:
    """Return the values of the session's fields."""
    return [getattr(document, name) for name in SESSION]


@pytest.mark.parametrize("token", [None, "newer"])
def test_a_logout_since_is_final(token: str | None):
    """A logout or login of the member after the guest's login is kept by the merge."""
    own = member(last_updated=LATER, jwt_token=token, authenticated=token is not None, deadline=LATER)
    adopted = decision(guest(deadline=NOW), own).document
    assert session(adopted) == session(own)


def test_a_login_since_is_the_members():
    """A guest's session that is later than the member's is taken over."""
    own = member(last_updated=NOW - timedelta(seconds=1), jwt_token="old", deadline=NOW)
    adopted = decision(guest(deadline=LATER, session_since=NOW), own).document
    assert session(adopted) == session(guest(deadline=LATER, session_since=NOW))


def test_a_token_that_ran_out_on_the_way_is_over():
    """A login token that expires before the merge does not authenticate the member."""
    life = TokenLife(NOW, NOW + timedelta(minutes=5))
    adopted = merge(fruit_bot(), guest(token=life), None, NOW + timedelta(minutes=6), version=0).document
    assert (adopted.authenticated, adopted.jwt_token) == (False, "t")


def test_a_merge_that_is_not_confirmed_makes_no_call():
    """A call is not made before the merge is confirmed; a worker makes it later."""
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
    guest = guest_id(chat.channel)
    assert chat.stored(guest).document is not None, "it may have to be adopted again"
    chat.wake(guest)
    assert chat.stored(guest).document is None
    chat.check()


# Any worker, at any step ----------------------------------------------------------------------------------------------


def moving() -> tuple[Talking, Office]:
    """Return a chat of a guest whose first message logs them in."""
    office = Office()
    return Talking(a_bot(office), cached=False), office


def settled(chat: Talking, office: Office) -> None:
    """Check that the promotion is complete once, no data or due work is left, and the chains are whole."""
    chat.check()
    guest = guest_id(chat.channel)
    assert chat.member_id() == "m-1"
    left_behind = chat.store.perform(Load(guest, previous=True))
    assert isinstance(left_behind, Stored)
    assert (left_behind.document, left_behind.previous) == (None, None)
    assert chat.wakes_at(guest) is None
    kinds = [unseal(entry).kind for entry in chat.entries(guest)]
    assert (kinds.count("wipe"), kinds[-1]) == (1, "wipe")
    assert [unseal(entry).kind for entry in chat.entries("m-1")].count("move") == 1
    assert len(office.paid) <= 1


@pytest.mark.parametrize("steps", range(1, 14))
@pytest.mark.parametrize("heir", ["wake", "same", "other"])
def test_a_worker_that_dies_at_any_step_of_a_move(steps: int, heir: str):
    """After a crash at any step, a timer, the same message or another one completes the promotion."""
    chat, office = moving()
    first = chat.message("hi")
    dead = chat.begin(first)
    for _ in range(steps):
        if dead.request is not None:
            chat.step(dead)
    chat.wait(100)
    guest = guest_id(chat.channel)
    for _ in range(3):
        if heir == "wake":
            chat.wait(30).wake(guest)
        else:
            chat.wait(30).handle(first if heir == "same" else chat.message("menu"))
    if heir == "wake" and chat.member_id() != "m-1":
        chat.handle(first)  # nothing was stored before it died
    chat.wake(guest)
    settled(chat, office)


@given(order=st.lists(st.integers(0, 3), min_size=20, max_size=120), same=st.booleans())
@examples(120)
def test_any_workers_at_once(order: list[int], same: bool):
    """Messages, a waking and a redelivery during a promotion come to the same result in any order.

    A message that waited longer than its patience may end with `Contended`.
    """
    chat, office = moving()
    guest = guest_id(chat.channel)
    first, second = chat.message("hi"), chat.message("help")
    works: list[Any] = [chat.begin(first), chat.begin(first if same else second)]
    works += [chat.waking(guest), chat.begin(first)]
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
    chat.wait(60).wake(guest)
    chat.wake("m-1")
    settled(chat, office)


def test_an_answer_for_a_guest_whose_channel_has_another_owner_now():
    """The late result of a wiped guest is not given to the next guest on the channel."""
    chat, office = moving()
    dead = chat.begin(chat.message("hi"))
    while not isinstance(dead.request, RunCall):
        chat.step(dead)
    request = dead.request
    guest = guest_id(chat.channel)
    chat.wait(100).wake(guest)
    settled(chat, office)
    chat.store.perform(Unlink(chat.channel, "m-1"))
    own = chat.document("m-1")
    chat.plant_bytes("m-1", encode(attrs.evolve(own, channels=(), version=own.version + 1)))
    office.answers["login"] = [Refused("down")]
    chat.wait(100).say("hi")
    before = chat.document(guest)
    assert before.guest
    chat.wake(guest, answer=answered(request, a_token()))
    assert chat.document(guest) == before
    assert chat.document("m-1").channels == ()


# Two channels, and workers that find the member further on ------------------------------------------------------------


@attrs.frozen
class Mark:
    """The data of a run at the desk."""

    mark: str = ""


def known(turn: Turn[Mark]) -> Changes[Mark]:
    """Prepare: whoever has told a mark is member m-1."""
    return turn.changes(data=turn.data, member=attrs.evolve(turn.member, id="m-1", guest=False))


def served(turn: Turn[Mark]) -> Call[str]:
    """Return the call of a confirmed mark."""
    return call(SimulatedDesk.serve)


class SimulatedDesk:
    """A port and its service, which acts once for each key."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def serve(self, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a port is declared so
        """Serve once per key."""
        self.keys.add(caller.key)
        return "served"


class Called(Talking):
    """A chat that keeps which calls were made, as the documents held them, and when."""

    def __init__(self, bot: Bot, channel: Channel) -> None:
        super().__init__(bot, channel=channel)
        self.calls: list[tuple[PendingCall, datetime]] = []

    def perform(self, effect: Effect[Any]) -> object:
        """Perform an effect."""
        answer = super().perform(effect)
        if isinstance(effect, RunCall) and answer is not LEASE_OVER:
            self.calls.append((effect.pending, instant(self.clock.at)))
        return answer


def desk_bot(desk: SimulatedDesk, accounts: Literal["separate", "shared"] = "separate") -> Bot:
    """Return a bot that makes a guest a member in the middle of a run, whose next question has a timer."""
    desk_flow: Flow[Mark] = Flow(
        "desk", data=Mark, initial="mark",
        states=[
            State("mark",  ask=Text("Which mark?"), reads=str, into="mark"),
            State("sure",  ask=Text("Sure?"), timeout=60.0),
            State("doing", call=served),
            State("late",  say=Text("Late.")),
            State("given", say=Text("Given.")),
        ],
        transitions=[
            Transition("answer",  "mark",  "sure", prepare=known),
            Transition("yes",     "sure",  "doing"),
            Transition("timeout", "sure",  "late"),
            Transition("done",    "doing", "given"),
            Transition("failed",  "doing", "sure"),
            Transition("auto",    ["late", "given"], "sure"),
        ],
    )  # fmt: skip
    return Bot([desk_flow], services={"simulated_desk": desk}, session=100_000.0, accounts=accounts)


def desk_messages(channel: Channel) -> list[Message]:
    """Return the messages of one telephone at the desk, in their order."""
    return [
        Message(channel, f"desk-{channel.account}-{n}", text) for n, text in enumerate(("hi", "mark", "yes", "yes"))
    ]


def test_a_merge_that_is_repeated_after_the_member_went_on():
    """A worker that read the guest before the promotion, and promotes it again after the member went on, finds both.

    The member's run is the guest's, further on; it is not merged a second time.
    """
    desk = SimulatedDesk()
    chat = Talking(desk_bot(desk), channel=WHATSAPP)
    hi, mark, yes, _ = desk_messages(WHATSAPP)
    chat.handle(hi)
    first = chat.begin(mark)
    while not isinstance(first.request, ReadInherited):  # the guest is promoted, and not merged yet
        chat.step(first)
    late = chat.waking()
    while not isinstance(late.request, ReadInherited):
        chat.step(late)
    chat.finish(first)
    chat.handle(yes)
    standing = chat.document("m-1")
    chat.end(late)
    assert chat.document("m-1") == standing
    assert len(desk.keys) == 1
    chat.check()


WORKS = st.tuples(st.integers(0, 1), st.sampled_from(["message", "guest", "member"]), st.integers(0, 3))
"""At one of two places: a message, the first or a later one, or the waking of the guest or of the member."""
AT_ACCOUNTS = [WHATSAPP.with_account("1001"), WHATSAPP.with_account("2002")]


@pytest.mark.parametrize(
    ("places", "accounts"),
    [([WHATSAPP, SMS], "separate"), (AT_ACCOUNTS, "separate"), (AT_ACCOUNTS, "shared")],
    ids=["two channels", "two accounts", "shared accounts"],
)
@given(
    works=st.lists(WORKS, min_size=2, max_size=6),
    order=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8)), max_size=40),
    told=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    pause=st.sampled_from([0.0, 0.5, 20.0]),
)
@example(works=[(0, "message", 2)] * 2, order=[(1, 2)] * 2, told=(2, 0), pause=20.0)  # an answer comes after the lease
@examples(100)
def test_two_places_and_any_workers_at_once(
    places: list[Channel],
    accounts: Literal["separate", "shared"],
    works: list[tuple[int, str, int]],
    order: list[tuple[int, int]],
    told: tuple[int, int],
    pause: float,
):
    """Workers in any order promote the guests of one person at two places: each merge, run and effect is there once.

    Messages come at both places, also repeated ones, while timers are due. A message that waited longer than its
    patience may end with `Contended`; no other error is raised. A call is made again only under the same key, and only
    after its lease has ended without a stored answer.
    """
    desk = SimulatedDesk()
    chat = Called(desk_bot(desk, accounts), places[0])
    guests = [guest_id(chat.bot.route(place)) for place in places]

    def owner(place: Channel) -> str:
        return chat.store.perform(FindOwner(chat.bot.route(place))).member_id or "m-1"

    for place, count in zip(places, told, strict=True):
        for message in desk_messages(place)[:count]:
            chat.handle(message)
    held: list[Any] = []
    for number, work, count in works:
        if work == "message":
            held.append(chat.begin(desk_messages(places[number])[count]))
        else:
            held.append(chat.waking(guests[number] if work == "guest" else owner(places[number])))
    for turn, steps in order:
        for _ in range(steps):
            if held[turn % len(held)].request is not None:
                with suppress(Contended):
                    chat.step(held[turn % len(held)])
        chat.clock.at += pause
    for each in held:
        with suppress(Contended):
            chat.end(each)
    for place in places:
        for message in desk_messages(place):
            chat.wait(100.0).handle(message)
    owners = {owner(place) for place in places}
    assert len(owners) == len({place.account for place in places} if accounts == "separate" else [1])
    assert "m-1" in owners
    for name in (*guests, *owners):
        chat.wait(1.0).wake(name)
    chat.check()
    assert [chat.stored(name).document for name in guests] == [None] * len(guests)
    moves = [
        entry.detail["guest"] for name in owners for entry in map(unseal, chat.entries(name)) if entry.kind == "move"
    ]
    assert sorted(moves) == sorted({*guests})
    for (earlier, _), (later, at) in itertools.combinations(chat.calls, 2):
        assert later.key != earlier.key or at >= earlier.leased_until
    assert len({made.root for made, _ in chat.calls}) == len(desk.keys), "a message has one effect at most"
    for name in owners:
        runs = (chat.document(name).run, *chat.document(name).suspended)
        assert [run.flow for run in runs if run].count("desk") <= len(places)


# History --------------------------------------------------------------------------------------------------------------


def test_history_follows_a_guest_only_for_as_long_as_they_were_theirs():
    """A history holds a guest's entries only from the time in which the guest was that member."""
    chat = Chat()
    ada = chat.say(WHATSAPP, "hi").state.member_id
    chat.say(SMS, "hi")
    chat.manager.update(ada, lambda document: attrs.evolve(document, channels=(WHATSAPP.address,), channel=WHATSAPP))
    chat.store.perform(Unlink(SMS, ada))
    chat.manager = chat.worker()
    again = chat.say(SMS, "hi", "hi")
    assert again.state.member_id == ada
    history = chat.manager.history(ada)
    told = [(entry.member_id, entry.version) for entry in history]
    assert len(told) == len({*told}), "each is told once"
    assert [entry.kind for entry in history].count("move") == 3


def entry_at(version: int, kind: str) -> AuditEntry:
    """Return an audit entry of the guest at a version."""
    return AuditEntry(
        version=version,
        at=NOW,
        member_id="guest-" + 24 * "0",
        channel=("sms", ""),
        kind=kind,
        status="advanced",
        token="t",
        root="t",
    )


def test_the_life_of_a_guest_is_from_wipe_to_wipe():
    """The entries of one life of a guest are those between two wipes."""
    entries = [
        entry_at(n, kind) for n, kind in enumerate(("start", "move", "wipe", "start", "move", "wipe", "start"), 1)
    ]
    assert [entry.version for entry in life_of_guest(entries, 2)] == [1, 2, 3]
    assert [entry.version for entry in life_of_guest(entries, 5)] == [4, 5, 6]
    assert [entry.version for entry in life_of_guest(entries[1:], 2)] == [2, 3]
    assert [entry.version for entry in life_of_guest(entries[:5], 5)] == [4, 5]
