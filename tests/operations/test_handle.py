"""The handling of one message, driven step by step on a `MemoryStore`.

Conflicts, late and damaged documents, duplicates, crashes at every step, two workers interleaved at every pair of
steps, and the promotion of a guest.
"""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import bot as vimbiso
from flows.credex_core import SimulatedCredexCore
from tests.bots import Bank, fruit_bot, member_document, one_flow
from tests.digests import guest_id
from tests.strategies import texts
from vimbiso_fsm import NoData, State, Text, Transition, Turn
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.errors import Contended, DocumentTooLarge
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Address, Channel, Message
from vimbiso_fsm.messages.sending import Never, Sent
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import Deliver, LegacyRecord, Pause, RunCall
from vimbiso_fsm.operations.handle import Handling, Outcome, handle
from vimbiso_fsm.operations.sent_notes import SentNotes
from vimbiso_fsm.operations.update import save
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    Committed,
    Conflict,
    Head,
    Late,
    Link,
    Linked,
    Load,
    Mismatch,
    Quarantine,
    Stored,
    Unlink,
)
from vimbiso_fsm.testing.chat import CHANNEL, START, STORE_SECRET, Chat, Held, choices, words

MEMBER = "m-1"


def member_chat(bank: Bank | None = None, **options: Any) -> Chat:
    """Return a chat of a member who is logged in. Unless told otherwise it has a cache, as a manager has."""
    options.setdefault("cached", True)
    chat = Chat(fruit_bot(bank), **options)
    chat.plant(member_document(version=1))
    return chat


def until(chat: Chat, exchange: Held[Outcome], kind: type[Any]) -> Any:
    """Go on to the first effect of this kind, which is not performed."""
    for _ in range(50):
        if isinstance(exchange.request, kind):
            return exchange.request
        chat.step(exchange)
    raise AssertionError(f"no {kind.__name__} was asked for")


def names(chat: Chat, message: Message) -> list[str]:
    """Perform the effects of a message, and return their names."""
    exchange, found = chat.begin(message), []
    while exchange.outcome is None:
        found.append(type(exchange.request).__name__)
        chat.step(exchange)
    chat.outcome = exchange.outcome
    return found


# The way of a message ------------------------------------------------------------------------------------------------


def test_a_turn_is_one_round_trip_once_the_member_is_known():
    """The first message finds the owner and loads; later ones only commit; a call adds one commit."""
    chat = member_chat()
    assert names(chat, chat.message("hi")) == ["FindOwner", "Load", "Commit"]
    assert names(chat, chat.message("order")) == ["Commit"]
    assert names(chat, chat.message("stock")) == ["Commit"]
    chat.say("cancel")
    assert names(chat, chat.message("stock")) == ["Commit", "RunCall", "Commit"]
    chat.check()


def test_without_a_cache_everything_is_asked_each_time():
    """A manager without a cache comes to the same result with more requests."""
    kept, bare = member_chat(), member_chat(cached=False)
    for text in ("hi", "order", "ada", "1234", "fruit02", "yes", "menu"):
        assert kept.say(text) == bare.say(text)
    assert kept.stored().document == bare.stored().document
    bare.check()


def test_the_outcome():
    """An outcome has the status, the replies with their final words, and the stored document."""
    chat = member_chat()
    outcome = chat.say("hi")
    assert (outcome.status, words(outcome.replies)) == ("advanced", ["What now?"])
    assert outcome.state == chat.document()
    assert chat.say("nonsense").status == "refused"


def test_observers_and_errors_are_gathered():
    """Each commit is reported once, and each exception of a callback or call with the reference of its turn."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi")
    bank.script = [OSError("private")]
    exchange = chat.begin(chat.message("stock"))
    outcome = chat.finish(exchange)
    assert outcome.status == "failed"
    assert [details.entry.version for details in exchange.told] == [3, 4]
    assert [type(error).__name__ for _, error in exchange.errors] == ["OSError"]


# Conflict, Late, Mismatch, Duplicate ------------------------------------------------------------------------------------


def test_a_conflict_is_decided_again_on_its_document():
    """After a conflict the message is decided again on the document that the other worker stored."""
    chat = member_chat()
    chat.say("hi")
    stale = Cache()
    stale.keep(MEMBER, chat.cache.document(MEMBER).head, chat.cache.document(MEMBER).document, 0)  # type: ignore[union-attr]
    stale.linked(CHANNEL.address, MEMBER)
    chat.say("order")
    exchange = chat.begin(chat.message("ada"), cache=stale)
    outcome = chat.finish(exchange)
    assert outcome.state.run is not None
    assert outcome.state.run.step == "pin"
    assert exchange.told[-1].attempts == 2
    chat.check()


def test_conflicts_without_end_are_contended():
    """Endless conflicts end with `Contended` after the patience, with pauses between, and nothing is stored."""
    chat = member_chat()
    chat.say("hi")
    before = chat.stored()
    exchange = chat.begin(chat.message("order"), patience=1.0)
    pauses, waited = 0, 0.0
    with pytest.raises(Contended, match="nothing of this message was stored"):  # noqa: PT012
        for _ in range(100):
            pauses += isinstance(exchange.request, Pause)
            chat.clock.at += 0.1
            waited += 0.1
            request = exchange.request
            result = Conflict(before) if isinstance(request, Commit) else chat.perform(request)
            exchange.take(result, chat.clock.at, waited)
    assert pauses > 2
    assert chat.stored().document == before.document


def test_late_is_decided_again():
    """A confirmation that is decided before the session's deadline and committed after it has no effect."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02")
    exchange = chat.begin(chat.message("yes"))
    until(chat, exchange, Commit)
    chat.clock.at += 301
    assert isinstance(chat.perform(exchange.request), Late)
    outcome = chat.finish(exchange)
    assert bank.calls == []
    assert words(outcome.replies)[:3] == ["Too slow.", "What now?", "Your session ended after a while of silence."]
    chat.check()


def test_a_lost_call_is_taken_up_after_the_session():
    """The next message takes up a pending call even after the deadline of the session."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02")
    exchange = chat.begin(chat.message("yes"))
    until(chat, exchange, RunCall)
    chat.clock.at += 10_000
    outcome = chat.finish(chat.begin(chat.message("well?")), bound=40)
    assert len(bank.calls) == 1
    assert "Paid: receipt-1" in words(outcome.replies)
    chat.check()


def test_an_error_when_the_session_is_over_is_stored():
    """A failed turn after the deadline of the session is stored; it has no deadline itself."""
    broken: list[bool] = []

    def asked(_: Turn[NoData]) -> Text:
        if broken:
            raise ValueError
        return Text("go on?")

    flow = one_flow([State("asking", ask=asked)], [Transition("again", "asking", "asking")])
    chat = Chat(Bot(flow, session=300.0), cached=True)
    chat.say("hi")
    broken.append(True)
    chat.clock.at += 400
    outcome = chat.finish(chat.begin(chat.message("hi")), bound=40)
    assert outcome.status == "failed"


def test_a_duplicate_gets_the_first_result():
    """A duplicate gets the first replies, has no effect, and stores nothing."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02")
    message = chat.message("yes")
    first = chat.handle(message)
    before = chat.stored()
    again = chat.handle(message)
    assert (again.status, words(again.replies)) == ("duplicate", words(first.replies))
    assert again.state == first.state
    assert chat.stored().document == before.document
    assert len(bank.calls) == 1


def test_an_old_duplicate_gets_the_question_of_now():
    """A duplicate whose record is no longer kept gets the current question, and has no effect."""
    chat = member_chat()
    old = chat.message("hi")
    chat.handle(old)
    for _ in range(20):
        chat.say("help")
    again = chat.handle(old)
    assert (again.status, words(again.replies)) == ("duplicate", ["What now?"])


def test_an_id_used_for_other_words_is_refused():
    """A message with a used id and other content is refused."""
    chat = member_chat()
    chat.say("hi")
    chat.handle(chat.message("order", id="twice"))
    before = chat.stored().document
    outcome = chat.handle(chat.message("menu", id="twice"))
    assert (outcome.status, words(outcome.replies)) == ("refused", ["That message was answered before."])
    assert chat.stored().document == before


def test_a_press_of_an_old_button_commits_no_document():
    """A press of an old button commits no document, and is decided again on a stale copy."""
    chat = member_chat()
    chat.say("hi")
    assert chat.outcome is not None
    button = choices(chat.outcome.replies[-1])["Order fruit"]
    chat.say("order", "ada")
    exchange = chat.begin(chat.message(choice=button))
    commit = until(chat, exchange, Commit)
    assert commit.document is None
    version = chat.document().version
    outcome = chat.finish(exchange)
    assert outcome.status == "ignored"
    assert words(outcome.replies) == ["That question is closed.", "Your PIN?"]
    assert chat.document().version == version


# Broken and too large -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\xff\0", b"{}", b"[]", b"null", b'{"member_id": "m-1"}'])
def test_a_broken_document_is_quarantined_and_repaired(data: bytes):
    """A damaged document is quarantined whole, the member gets a notice, and the audit goes on without a gap."""
    chat = member_chat()
    chat.say("hi")
    version = chat.document().version
    chat.plant_bytes(MEMBER, data)
    chat.cache.forget(MEMBER)
    outcome = chat.say("hi")
    assert outcome.status == "recovered"
    assert words(outcome.replies)[0].startswith("We had to tidy up")
    assert chat.document().version == version + 2
    kept: Any = chat.store._members[MEMBER].quarantine
    assert [state.document for state in kept] == [data]
    chat.check()


def test_a_document_with_an_unknown_step_keeps_its_core():
    """A document with an unknown state keeps its profile and token; the audit names the kept and lost fields."""
    chat = member_chat()
    chat.say("hi", "order", "ada")
    broken = encode(chat.document()).replace(b'"step":"pin"', b'"step":"gone"')
    chat.plant_bytes(MEMBER, broken)
    chat.cache.forget(MEMBER)
    outcome = chat.say("hello")
    assert outcome.status == "recovered"
    assert outcome.state.authenticated
    entry = chat.entries()[-1].body.decode()
    assert '"kept":[' in entry
    assert "flow_data" in entry


def test_the_document_of_another_member_is_none_of_ours():
    """A document of another member under this member's key counts as damaged."""
    chat = member_chat()
    chat.plant_bytes(MEMBER, encode(member_document(member_id="m-2", version=2)))
    outcome = chat.say("hi")
    assert outcome.status == "recovered"
    assert outcome.state.member_id == MEMBER


def test_a_duplicate_shows_nothing_of_another_members_document():
    """A duplicate neither shows nor caches a document of another member."""
    chat = member_chat()
    message = chat.message("hi")
    chat.handle(message)
    other = member_document(member_id="m-2", version=2, profile={"name": "Grace"})
    chat.plant_bytes(MEMBER, encode(other))
    again = chat.handle(message)
    assert (again.status, again.state.member_id) == ("duplicate", MEMBER)
    assert again.state.profile != other.profile
    assert chat.cache.document("m-2") is None


def test_a_wipe_names_no_channel_of_another_members_document():
    """The audit entry of a wipe names no channel of another member's document."""
    chat = member_chat()
    chat.say("hi")
    manager = FlowStateManager(chat.bot, chat.store)
    other = member_document(member_id="m-2", version=2, channel=Channel("sms", "263771000009"))
    chat.plant_bytes(MEMBER, encode(other))
    assert "state" in manager.wipe(MEMBER).removed
    assert manager.history(MEMBER)[-1].channel == ("", "")


def test_a_key_of_a_wrong_type():
    """A key of a wrong type is quarantined and repaired, whether the load or the commit finds it."""
    chat = member_chat()
    exchange = chat.begin(chat.message("hi"))
    until(chat, exchange, Load)
    head = chat.stored().head
    exchange.take(Broken(head, "state is a list", chat.clock.at), chat.clock.at)
    assert exchange.request == Quarantine(MEMBER, head)
    outcome = chat.finish(exchange)
    assert outcome.status == "recovered"
    chat.check()
    exchange = chat.begin(chat.message("order"))
    until(chat, exchange, Commit)
    exchange.take(Broken(chat.stored().head, "audit is a hash", chat.clock.at), chat.clock.at)
    assert isinstance(exchange.request, Quarantine)
    assert chat.finish(exchange).status == "recovered"
    chat.check()


def test_another_worker_has_repaired_it_first():
    """If another worker has repaired the document, the message is decided on it without a notice."""
    chat = member_chat()
    chat.say("hi")
    exchange = chat.begin(chat.message("order"), cache=Cache())
    until(chat, exchange, Load)
    exchange.take(Broken(Head(), "x", chat.clock.at), chat.clock.at)
    outcome = chat.finish(exchange)
    assert outcome.status == "advanced"
    assert outcome.state.run is not None
    assert outcome.state.run.flow == "order"
    chat.check()


def test_a_plain_turn_is_one_commit_and_no_coroutine():
    """The answer to its commit ends the turn of a cached member who goes on, or is refused. Other turns go on."""
    chat = member_chat()
    chat.say("hi", "order")
    for text, status in (("", "refused"), ("ada", "advanced")):
        handling = Handling(Context(chat.bot, chat.cache, chat.clock.at), chat.message(text or "x" * 5_000))
        commit = handling.first()
        assert isinstance(commit, Commit)
        outcome = handling.answered(chat.store.perform(commit))
        assert isinstance(outcome, Outcome)
        assert (outcome.status, outcome.state) == (status, chat.document())
    stale = Handling(Context(chat.bot, chat.cache, chat.clock.at), chat.message("menu"))
    commit = stale.first()
    chat.say("help")
    assert commit is not None
    assert stale.answered(chat.store.perform(commit)) is None
    assert Handling(Context(chat.bot, Cache(), chat.clock.at), chat.message("menu")).first() is None
    chat.check()


def test_the_replies_of_a_plain_turn_are_sent_without_a_coroutine():
    """A sender's `Sent` ends the turn whose replies are next in the outbox. Another answer is left to the coroutine."""
    chat = member_chat()
    chat.say("hi", "order")
    for text, answer in (("ada", Sent()), ("help", Never("blocked"))):
        context = Context(chat.bot, chat.cache, chat.clock.at)
        context.senders, context.sent = {CHANNEL.type}, SentNotes()
        handling = Handling(context, chat.message(text))
        commit = handling.first()
        assert isinstance(commit, Commit)
        delivery = handling.answered(chat.store.perform(commit))
        assert isinstance(delivery, Deliver)
        assert (delivery.channel.address, delivery.is_reply) == (CHANNEL.address, True)
        outcome = handling.answered(answer)
        if isinstance(answer, Never):
            assert outcome is None
            continue
        assert isinstance(outcome, Outcome)
        assert (outcome.sent, outcome.replies) == (True, tuple(delivery.replies))
        assert context.sent.is_sent(MEMBER, delivery.key)
        assert not outcome.state.outbox


def test_a_document_too_large_fails_the_turn():
    """A turn whose document is too large fails: nothing of it is stored, and the member stays where they were."""
    chat = member_chat()
    chat.say("hi", "order")
    step = chat.document().run
    exchange = chat.begin(chat.message("ada"))
    until(chat, exchange, Commit)
    exchange.take(DocumentTooLarge(70_000, 65_536), chat.clock.at)
    outcome = chat.finish(exchange)
    assert outcome.status == "failed"
    assert chat.document().run == step
    assert [type(error).__name__ for _, error in exchange.errors] == ["DocumentTooLarge"]
    chat.check()


def test_a_document_that_is_always_too_large_ends():
    """If even the failed turn does not fit, the error is raised."""
    chat = member_chat()
    exchange = chat.begin(chat.message("hi"))
    until(chat, exchange, Commit)
    with pytest.raises(DocumentTooLarge):  # noqa: PT012
        for _ in range(20):
            assert isinstance(exchange.request, Commit)
            exchange.take(DocumentTooLarge(70_000, 65_536), chat.clock.at)


def test_calls_that_follow_calls_end():
    """A flow that makes one reading call after another is stopped after `Limits.autos` calls."""
    from tests.bots import one_flow
    from vimbiso_fsm.flow.calls import READ_ONLY, call
    from vimbiso_fsm.flow.state import State, Transition
    from vimbiso_fsm.messages.replies import Text

    flow = one_flow(
        [State("ask", ask=Text("?")), State("calling", call=lambda _: call(Bank.stock), policy=READ_ONLY)],
        [
            Transition("go", "ask", "calling"),
            Transition("done", "calling", "calling"),
            Transition("failed", "calling", "ask"),
        ],
    )
    chat = Chat(Bot(flows=flow, services={"bank": Bank()}))
    chat.say("hi")
    exchange = chat.begin(chat.message("go"))
    assert chat.finish(exchange, bound=500)


def test_a_store_that_answers_nonsense_is_named():
    """An answer of a wrong type raises a `TypeError` that names it."""
    chat = member_chat()
    exchange = chat.begin(chat.message("hi"))
    until(chat, exchange, Commit)
    with pytest.raises(TypeError, match="a store answered a commit with a NoneType"):
        exchange.take(None, chat.clock.at)


# The channel ------------------------------------------------------------------------------------------------------------


def test_an_unlinked_channel_has_no_owner():
    """A cached owner of a channel that was unlinked since is not used (rule 10).

    Unlinking commits at the old member first, so a stale cache gets `Conflict`, and the owner is read again.
    """
    chat = member_chat()
    chat.say("hi")
    document = chat.document()
    chat.plant_bytes(MEMBER, encode(attrs.evolve(document, channels=(), version=document.version + 1)))
    chat.store.perform(Unlink(CHANNEL, MEMBER))
    outcome = chat.say("order")
    assert outcome.state.member_id != MEMBER
    assert not outcome.state.authenticated


# A guest becomes a member -------------------------------------------------------------------------------------------------


PHONE = Channel("whatsapp", "263779000111")
ONBOARDING = ("hi", "become_member", "Emmy", "Noether")


def stranger(*, cached: bool = True) -> tuple[Chat, SimulatedCredexCore]:
    """Return a chat of a guest who is asked to confirm a name."""
    core = SimulatedCredexCore()
    chat = Chat(vimbiso.with_services({"credex_core": core}), channel=PHONE, cached=cached)
    chat.say(*ONBOARDING)
    return chat, core


def onboarded(core: SimulatedCredexCore) -> list[str]:
    """Return the onboardings that the service received."""
    return [received.key for received in core.calls if received.name == "onboardMember"]


def arrived(chat: Chat, outcome: Outcome) -> None:
    """Check that the guest is one linked member at the dashboard with no due work."""
    document = outcome.state
    assert not document.guest
    assert document.authenticated
    assert document.member_id == chat.member_id() != guest_id(PHONE)
    assert document.run is not None
    assert document.run.flow == "dashboard"
    assert [address.identifier for address in document.channels] == [PHONE.identifier]
    assert chat.document() == document
    chat.check()


def test_the_saga():
    """A promotion is: the guest's commit, inherited data, read, merge, link, wipe; the history stays readable."""
    chat, core = stranger()
    steps = names(chat, chat.message("yes"))
    assert steps == ["Commit", "RunCall", "Commit", "ReadInherited", "Commit", "Commit", "Link", "Wipe"]
    assert chat.outcome is not None
    arrived(chat, chat.outcome)
    assert len(onboarded(core)) == 1
    assert "Welcome, Emmy! Your account is open." in chat.words
    assert guest_id(PHONE) not in chat.store._due
    entry = chat.entries()[0].body.decode()
    assert guest_id(PHONE) in entry


@pytest.mark.parametrize("crash", range(9))
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("performed", [True, False])
def test_a_crash_at_each_step_of_the_saga(crash: int, cached: bool, performed: bool):
    """After a crash before or after any step of a promotion, the next message completes it with one onboarding."""
    chat, core = stranger(cached=cached)
    exchange = chat.begin(chat.message("yes"))
    for _ in range(crash):
        if exchange.outcome is not None:
            break
        chat.step(exchange)
    if performed and exchange.outcome is None:
        assert exchange.request is not None
        chat.perform(exchange.request)
    chat.cache = Cache(100)
    chat.clock.at += 31
    for text in ("yes", "menu", "menu"):
        outcome = chat.say(text)
        assert outcome.replies
    arrived(chat, chat.say("hi"))
    assert len(set(onboarded(core))) == 1


@pytest.mark.parametrize("crash", range(9))
@pytest.mark.parametrize("late", [0, 31, 3600])
def test_a_duplicate_after_a_crash_at_each_step(crash: int, late: int):
    """A redelivered confirmation after a crash has one effect, and the same replies once it was stored."""
    chat, core = stranger()
    message = chat.message("yes")
    exchange = chat.begin(message)
    for _ in range(crash):
        if exchange.outcome is not None:
            break
        chat.step(exchange)
    chat.cache = Cache(100)
    chat.clock.at += late
    for _ in range(3):
        again = chat.handle(message)
        assert again.replies, "a duplicate got no reply"
    chat.clock.at += 31
    chat.say("menu")
    chat.say("menu")
    document = chat.say("hi").state
    assert len(set(onboarded(core))) <= 1
    assert document.run is not None
    chat.check()


@pytest.mark.parametrize("crash", range(3, 9))
def test_a_duplicate_of_the_guests_last_message_gets_its_words(crash: int):
    """Once the guest's last commit is stored, a duplicate gets its replies, wherever the worker has died."""
    chat, _ = stranger()
    message = chat.message("yes")
    exchange = chat.begin(message)
    for _ in range(crash):
        if exchange.outcome is None:
            chat.step(exchange)
    chat.cache = Cache(100)
    again = chat.handle(message)
    assert again.status == "duplicate"
    assert "Welcome, Emmy! Your account is open." in words(again.replies)


def test_two_messages_at_the_move_in_any_order():
    """A second worker that meets a promotion at any step comes to the same single member."""
    for first_steps in range(1, 9):  # before its first commit, the second is simply the first
        chat, core = stranger()
        first = chat.begin(chat.message("yes"))
        for _ in range(first_steps):
            if first.outcome is None:
                chat.step(first)
        second = chat.begin(chat.message("menu"), cache=Cache())
        chat.finish(second)
        chat.finish(first)
        chat.clock.at += 31
        chat.say("menu")
        arrived(chat, chat.say("hi"))
        assert len(set(onboarded(core))) == 1


def test_a_member_whose_document_is_broken_when_the_guest_moves_in():
    """A damaged document of the member is quarantined during a promotion, unless another worker was faster."""
    chat, _ = stranger()
    exchange = chat.begin(chat.message("yes"))
    for _ in range(4):
        chat.step(exchange)
    reading = until(chat, exchange, Commit)
    assert reading.document is None
    exchange.take(Broken(Head(), "state is a list", chat.clock.at), chat.clock.at)
    assert exchange.request == Quarantine(reading.member_id, Head())
    mended = chat.stored(reading.member_id)
    exchange.take(Conflict(mended), chat.clock.at)
    assert exchange.request == reading
    arrived(chat, chat.finish(exchange))


def test_a_conflict_when_the_guest_moves_in():
    """A promotion that loses a race merges again, and ends with `Contended` if the races never end."""
    chat, _ = stranger()
    exchange = chat.begin(chat.message("yes"))
    for _ in range(5):
        chat.step(exchange)
    adoption = until(chat, exchange, Commit)
    current = chat.stored(adoption.member_id)
    exchange.take(Conflict(current), chat.clock.at)
    assert isinstance(exchange.request, Commit)
    arrived(chat, chat.finish(exchange))
    chat, _ = stranger()
    exchange = chat.begin(chat.message("yes"))
    for _ in range(5):
        chat.step(exchange)
    until(chat, exchange, Commit)
    with pytest.raises(Contended):  # noqa: PT012
        for waited in range(100):
            exchange.take(Conflict(current), chat.clock.at, float(waited))


def test_a_member_that_breaks_while_the_guest_moves_in():
    """A member's document that is damaged during a promotion is quarantined, and the promotion begins again."""
    chat, _ = stranger()
    exchange = chat.begin(chat.message("yes"))
    for _ in range(5):
        chat.step(exchange)
    until(chat, exchange, Commit)
    exchange.take(Broken(Head(), "x", chat.clock.at), chat.clock.at)
    assert isinstance(exchange.request, Quarantine)
    arrived(chat, chat.finish(exchange))


def test_a_channel_taken_away_makes_a_guest_again():
    """A promoted guest whose channel was unlinked since is a new guest at the next message."""
    chat, _ = stranger()
    outcome = chat.say("yes")
    member = outcome.state
    chat.plant_bytes(member.member_id, encode(attrs.evolve(member, channels=(), version=member.version + 1)))
    chat.store.perform(Unlink(PHONE, member.member_id))
    chat.cache = Cache()
    again = chat.say("hi")
    assert again.state.member_id == guest_id(PHONE) or not again.state.guest
    chat.check()


# Two exchanges at every pair of steps -----------------------------------------------------------------------------------------


def confirming() -> tuple[Chat, Bank]:
    """Return a chat of a member who is asked to confirm, with a bank that counts payments."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02")
    return chat, bank


@pytest.mark.parametrize("texts", [("yes", "yes"), ("yes", "no"), ("no", "yes"), ("yes", "menu"), ("yes", "nonsense")])
@pytest.mark.parametrize("same_message", [False, True])
def test_two_workers_at_every_pair_of_steps(texts: tuple[str, str], same_message: bool):
    """Two workers interleaved at every pair of steps make at most one payment and answer both messages.

    The audit is whole, and the document is that of some order of the two messages.
    """
    for first_steps in range(5):
        for second_steps in range(5):
            chat, bank = confirming()
            one = chat.message(texts[0])
            two = one if same_message else chat.message(texts[1])
            first, second = chat.begin(one, cache=Cache()), chat.begin(two, cache=Cache())
            for exchange, steps in ((first, first_steps), (second, second_steps)):
                for _ in range(steps):
                    if exchange.outcome is None:
                        chat.step(exchange)
            outcomes = [chat.finish(first), chat.finish(second)]
            assert len({key for name, key in bank.calls if name == "pay"}) <= 1
            assert all(outcome.replies for outcome in outcomes), (first_steps, second_steps)
            chat.check()


@given(st.lists(st.booleans(), max_size=14), st.sampled_from(["yes", "no", "menu", "back", "x", "stock"]))
def test_two_workers_in_any_order(order: list[bool], text: str):
    """Any interleaving of a confirmation and another message makes at most one payment."""
    chat, bank = confirming()
    pair = chat.begin(chat.message("yes"), cache=Cache()), chat.begin(chat.message(text), cache=Cache())
    for which in order:
        if pair[which].outcome is None:
            chat.step(pair[which])
    assert all(chat.finish(exchange).replies for exchange in pair)
    assert len({key for name, key in bank.calls if name == "pay"}) <= 1
    chat.check()


def test_a_duplicate_at_any_point():
    """A duplicate during any step of the first delivery makes no second payment, and is answered."""
    for steps in range(6):
        chat, bank = confirming()
        message = chat.message("yes")
        first = chat.begin(message)
        for _ in range(steps):
            if first.outcome is None:
                chat.step(first)
        again = chat.finish(chat.begin(message, cache=Cache()))
        assert again.replies, steps
        chat.finish(first)
        assert len({key for _, key in bank.calls}) == 1
        chat.check()


# Properties on the real bot -----------------------------------------------------------------------------------------------


PHONES = ("263771000001", "263771000002", "263771000003", "263771000005", "263779000222")
SAID = (
    "hi", "menu", "become_member", "Emmy", "Noether", "yes", "no", "back", "cancel", "help", "offer", "offer_secured", "1", "2", "3", "10 USD",
    "1000000 USD", "5.00", "alan", "ada", "@shop_one", "nobody", "0.5=>alan", "0.5=>ada", "x",
)  # fmt: skip


@given(
    st.sampled_from(PHONES),
    st.lists(
        st.tuples(st.sampled_from(SAID) | st.sampled_from(SAID) | texts, st.sampled_from([0, 1, 31, 301])), max_size=14
    ),
    st.sampled_from([(), ("down",), ("lost",), ("401",)]),
    st.booleans(),
)
def test_any_conversation_with_vimbisopay(
    phone: str, said: list[tuple[str, int]], faults: tuple[Any, ...], cached: bool
):
    """Any conversation with VimbisoPay is answered, with valid documents, whole audits and conserved money.

    "menu" leads home, to the offer to carry on, or to the login.
    """
    from flows.credex_core import Fault

    core = SimulatedCredexCore(faults=[Fault(kind, times=2) for kind in faults])
    chat = Chat(vimbiso.with_services({"credex_core": core}), channel=Channel("whatsapp", phone), cached=cached)
    for text, seconds in said:
        chat.clock.at += seconds
        message = chat.message(text)
        assert chat.handle(message).replies
        if seconds == 1:
            assert chat.handle(message).replies
    chat.check()
    core.check_conservation()
    document = None
    for _ in range(6):
        chat.clock.at += 31
        document = chat.say("menu").state
        if document.call is None:
            break
    assert document is not None
    assert document.call is None
    assert document.run is None or document.run.flow in ("dashboard", "carry_on", "login", "onboard", "choose_account")


def test_the_cache_makes_room():
    """The cache drops the member stored the longest ago; a size of 0 keeps none."""
    cache = Cache(2)
    for name in ("a", "b", "c"):
        cache.keep(name, Head(), member_document(member_id=name), 10)
        cache.linked(Address(name, name), name)
    assert cache.document("a") is None
    assert cache.member(Address("a", "a")) is None
    assert cache.document("c") is not None
    cache.forget("c", Address("c", "c"))
    assert cache.document("c") is None
    assert cache.member(Address("c", "c")) is None
    nothing = Cache(0)
    nothing.keep("a", Head(), member_document(), 10)
    assert nothing.document("a") is None


def test_the_cache_is_bounded_by_bytes():
    """Members and guests each fill at most the given bytes, by what is kept now; the latest documents stay."""
    cache = Cache(5_000, most=1_000)

    def kept(names: Iterable[str]) -> list[str]:
        return [name for name in names if cache.document(name) is not None]

    members, guests = [f"m-{number}" for number in range(40)], [f"guest-{number}" for number in range(40)]
    for name, guest in zip(members, guests, strict=True):
        cache.keep(name, Head(), member_document(member_id=name), 300)
        cache.keep(guest, Head(), member_document(member_id=guest, guest=True), 300)
    assert (kept(members), kept(guests)) == (members[-3:], guests[-3:])
    for _ in range(2_500):
        cache.keep(members[-1], Head(), member_document(member_id=members[-1]), 100)
    assert kept(members) == members[-3:], "a document that is replaced counts once"
    cache.keep("m-x", Head(), member_document(member_id="m-x"), 1_001)
    cache.forget(members[-3])
    cache.keep("m-y", Head(), member_document(member_id="m-y"), 500)
    assert kept([*members, "m-x", "m-y"]) == [*members[-2:], "m-y"]
    cache.keep("m-y", Head(), member_document(member_id="m-y"), 1_001)
    assert kept(["m-y"]) == [], "an older copy of it is not kept either"


def test_the_results_of_a_store_compare_equal():
    """The results of a store are values that compare equal."""
    stored = Stored(Head(), None, START.timestamp())
    assert Mismatch(stored) == Mismatch(stored)
    assert Linked(None) != Linked("m")
    assert Committed(Head(), 1.0).head == Head()
    assert Link(CHANNEL, "m") != Link(CHANNEL, "n")


@pytest.mark.parametrize("said", ["again", "reused", "stale"])
def test_a_salvaged_document_is_stored_by_any_message(said: str):
    """A salvaged document is stored even if the message itself stores nothing."""
    chat = member_chat()
    first = chat.message("hi")
    chat.handle(first)
    document = attrs.evolve(chat.document(), profile={"name": "Ada"})
    raw = encode(document).replace(b'"step":"', b'"step":"gone_')
    chat.plant_bytes(MEMBER, raw)
    chat.cache = Cache()
    if said == "again":
        outcome = chat.handle(first)
    elif said == "reused":
        outcome = chat.handle(attrs.evolve(first, text="something else"))
    else:
        outcome = chat.handle(chat.message(choice="00000000.1.yes"))
    assert outcome.replies
    chat.cache = Cache()
    assert chat.document().profile == {"name": "Ada"}
    assert chat.document().authenticated
    assert [unseal(entry).kind for entry in chat.entries()][-1] == "recovery"


# The importer ------------------------------------------------------------------------------------------------------------


class Importing:
    """An importer that stores a document for the members it knows."""

    def __init__(self, known: Document | None = None) -> None:
        self.known = known
        self.asked: list[str] = []

    def check(self, bot: Bot, /) -> None:
        """Accept any bot."""

    async def import_record(self, context: Context, member_id: str, channel: Channel, /) -> bool:
        """Store the document, and link the channel."""
        self.asked.append(member_id)
        if self.known is None:
            return False
        await Link(channel, self.known.member_id)
        await save(context, self.known, "import")
        return True


def handled(chat: Chat, message: Message, *, imports: bool = True) -> Held[Outcome]:
    """Return the outcome of a message that is handled with or without records of the previous release."""
    held = Held(Context(chat.bot, chat.cache, chat.clock.at), partial(handle, message=message, imports=imports))
    while held.outcome is None:
        held.take(chat.perform(held.request), chat.clock.at)
    return held


def test_the_importer_is_awaited_where_nothing_was_ever_stored():
    """The message is decided on the imported document, and the importer is awaited once."""
    importing = Importing(member_document(version=0))
    chat = Chat(attrs.evolve(fruit_bot(), importer=importing))
    held = handled(chat, chat.message("hi"))
    assert held.outcome is not None
    assert (held.outcome.state.member_id, held.outcome.state.version) == (MEMBER, 2)
    assert [event.entry.kind for event in held.told][:1] == ["update"]
    chat.cache = Cache()
    handled(chat, chat.message("order"))
    assert importing.asked == [guest_id(CHANNEL)]


@pytest.mark.parametrize("imports", [True, False])
def test_a_member_whom_the_importer_does_not_know_is_new(imports: bool):
    """The importer is awaited once, and only if the shell can read records."""
    importing = Importing()
    chat = Chat(attrs.evolve(fruit_bot(), importer=importing))
    held = handled(chat, chat.message("hi"), imports=imports)
    assert held.outcome is not None
    assert (held.outcome.status, held.outcome.state.version) == ("advanced", 1)
    assert importing.asked == ([guest_id(CHANNEL)] if imports else [])


def test_a_manager_with_legacy_records_needs_an_importer():
    """A manager with `legacy=` refuses a bot without an importer."""
    with pytest.raises(ValueError, match=r"give Bot\(importer=Legacy\(…\)\) too"):
        FlowStateManager(fruit_bot(), MemoryStore(time.time, secret=STORE_SECRET), legacy=NoRecords())


class NoRecords:
    def read(self, number: str, /) -> LegacyRecord | None:
        """Return no record."""
        return None
