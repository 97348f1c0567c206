"""The turn as a whole: `decide(bot, document, event, now) -> Decision`.

The event is a message, a fact that the channel tells, what another system gives, the answer of a call, or an event that
is due without a message.
If a callback of an author raises, `failure` decides: the document stays as it was, the member reads a plain sentence
with a reference, and the audit gets an error entry. The effect of a call is a fact even then: its answer is kept
(`kept_answer.py`). Identifiers are hashes of the event's token, so that two decisions of the same turn are the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.document.codec import is_intact, restored
from vimbiso_fsm.document.document import Document, Run, first_document, needs_asking, with_burst
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.engine.calls import take_call_returned, take_lease_expired
from vimbiso_fsm.engine.close import close
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.draft import Draft, NotNow, NotTheMembers
from vimbiso_fsm.engine.events import (
    HEARD,
    CallReturned,
    ClockReturned,
    Delivered,
    DeliveryDue,
    Event,
    HandOverEnded,
    LeaseExpired,
    PassingDone,
    PassingDue,
    ReminderDue,
    ReplyRoute,
    SessionEnding,
    SessionExpired,
    StateTimeout,
    other_tokens,
    turn_token,
)
from vimbiso_fsm.engine.given import hindrance, take_given, take_reminder_due
from vimbiso_fsm.engine.global_words import leave_all
from vimbiso_fsm.engine.handover import take_hand_over_ended, take_passing_done, take_passing_due
from vimbiso_fsm.engine.interpret import give_answers_after_call, interpret, refuse_busy
from vimbiso_fsm.engine.interpreter import begin_next, run_to_completion
from vimbiso_fsm.engine.kept_answer import failed_again, rest_after, with_answer, without_value
from vimbiso_fsm.engine.outbox import take_delivered, take_delivery_due
from vimbiso_fsm.engine.pending import waiting_words
from vimbiso_fsm.engine.reminders import postponed
from vimbiso_fsm.engine.room import refuse_for_size
from vimbiso_fsm.engine.session import part, take_session_ending, take_session_expired
from vimbiso_fsm.engine.timers import take_state_timeout
from vimbiso_fsm.engine.told import take_told
from vimbiso_fsm.engine.windows import drop_lapsed
from vimbiso_fsm.errors import DocumentTooLarge, InvalidMessage
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import CallbackStopped, is_interrupt
from vimbiso_fsm.flow.raised_in import note_callback
from vimbiso_fsm.messages.given import (
    FlowOpened,
    Given,
    GivenFact,
    HandedBack,
    HandedOver,
    PersonSaid,
    TriggerPulled,
    WordsGiven,
)
from vimbiso_fsm.messages.message import NAMES, REPLY_TO, Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.messages.told import ChatOpened, Fact

POSTPONED: Final = timedelta(seconds=60)
"""The time after which a due event that raised is decided again."""
_LEADS_HOME: Final = (
    Message,
    CallReturned,
    LeaseExpired,
    StateTimeout,
    HandedBack,
    HandOverEnded,
    PassingDone,
)
"""The events after which a next run begins, if they have led the member home, or the bot has the conversation back."""


def decide(
    bot: Bot,
    document: Document | None,
    event: Event,
    now: datetime,
    *,
    recovered: Text | None = None,
    arrived: datetime | None = None,
    route: ReplyRoute = "handle",
    busy: frozenset[str] = frozenset(),
) -> Decision:
    """Decide one turn. An exception of a callback becomes a decision, and so does a document without room.

    Args:
        bot: The bot.
        document: The stored document; None for a first contact.
        event: The event.
        now: The store's clock, with a time zone.
        recovered: The text that tells the member that the document was recovered; None if it was not.
        arrived: The instant at which the message came in; `now` by default.
        route: Where the replies go.
        busy: The services that take no call now. The decision proposes none to them: an answer of the member that
            leads to one is refused, a call that is pending rests, and any other call fails.

    Returns:
        The decision. Nothing has been stored, called or delivered yet.

    Raises:
        TypeError: There is no document, and the event is no message.
    """
    if document is None:
        if not isinstance(event, Message):
            raise TypeError("only a message can be the first event of a conversation")
        address = bot.route(event.channel).address
        document = first_document(bot.digests.guest_id(address), event.channel, now, address)
    draft = _open(bot, document, event, now)
    draft.busy, draft.sends = busy, route == "send"
    try:
        match event:
            case Message():
                if draft.outbox:
                    drop_lapsed(draft)
                interpret(draft, event, recovered=recovered, arrived=arrived or now)
                if event.burst and draft.changed and draft.run is not None:
                    draft.run = with_burst(draft.run, event.burst, bot.digests.words_key)
                draft.kind = draft.kind if recovered is None else "recovery"
            case CallReturned():
                take_call_returned(draft, event, route)
                give_answers_after_call(draft)
            case StateTimeout():
                take_state_timeout(draft, event)
            case SessionExpired():
                take_session_expired(draft, event)
            case SessionEnding():
                take_session_ending(draft, event)
            case LeaseExpired():
                take_lease_expired(draft, event)
                give_answers_after_call(draft)
            case DeliveryDue():
                take_delivery_due(draft, event)
            case Delivered():
                take_delivered(draft, event)
            case ClockReturned():
                draft.kind = "clock"
            case ReminderDue():
                take_reminder_due(draft, event)
            case PassingDone():
                take_passing_done(draft, event)
            case HandOverEnded():
                take_hand_over_ended(draft, event)
            case PassingDue():
                take_passing_due(draft, event)
            case WordsGiven() | FlowOpened() | TriggerPulled() | HandedOver() | HandedBack() | PersonSaid():
                take_given(draft, event)
            case _:
                take_told(draft, event)
        if draft.suspended and draft.changed and draft.nexts and isinstance(event, _LEADS_HOME):
            begin_next(draft)
        return close(draft, event, route)
    except NotTheMembers:
        draft = _open(bot, document if is_intact(document) else restored(document), event, now)
        part(draft, event)
        return close(draft, event, "handle")
    except BaseException as error:  # whatever an author's callback raises, the member keeps their place
        if _is_for_the_process(error):
            raise
        _name_callback(bot, error, draft.run or document.run)
        return _without(bot, document, event, now, error, draft, route)


def _name_callback(bot: Bot, error: BaseException, run: Run | None) -> None:
    """Let an exception name the callback that has raised it."""
    if not isinstance(error, NotNow | DocumentTooLarge):  # these are raised by the turn itself
        flows = [machine.flow for machine in (*bot.machines.values(), *bot.kept.values())]
        note_callback(flows, error, run.flow if run else "", run.step if run else "")


def _is_for_the_process(error: BaseException) -> bool:
    """Whether an exception of a callback is no failure of it. One that the watchdog has ended has failed."""
    return is_interrupt(error) and not isinstance(error, CallbackStopped)


def _without(
    bot: Bot, document: Document, event: Event, now: datetime, error: BaseException, draft: Draft, route: ReplyRoute
) -> Decision:
    """Return the decision after an error: the event goes another way, or the turn has failed.

    An answer that leads to a call of a busy service is refused.

    A "menu" or "cancel" whose own way raises, or has no room, ends everything that is open. Another turn that has no
    room is refused in words. The turn has failed if there is no other way, or if it raises too.
    """
    other = _open(bot, document if is_intact(document) else restored(document), event, now)
    try:
        if isinstance(error, NotNow):
            refuse_busy(other)
            return close(other, event, route)
        if isinstance(event, Message) and leave_all(other, event):
            other.detail = error_record(error, draft.token[:10])
            return attrs.evolve(close(other, event, route), error=error)
        if isinstance(error, DocumentTooLarge) and not draft.from_effect and refuse_for_size(other, event):
            other.detail = {"size": error.size, "limit": error.limit}
            return close(other, event, route)
    except BaseException as worse:  # the first error is the cause, and is reported
        if _is_for_the_process(worse):
            raise
        worse.__context__ = None
    return failure(bot, document, event, now, error, route=route)


def failure(
    bot: Bot, document: Document, event: Event, now: datetime, error: BaseException, *, route: ReplyRoute = "handle"
) -> Decision:
    """Return the decision after an error: the document as before, and an error entry.

    A change that a callback made in place is undone. The reply to a message is a plain sentence with a reference. After
    a call that had its effect, the sentence says so, and the answer is kept. An event that was due without a message is
    decided again later.

    Raises:
        DocumentTooLarge: An event that answers no message cannot be stored.
    """
    document = document if is_intact(document) else restored(document)
    before = _postponed(bot, document, event, max(now, document.last_updated))
    try:
        return _failed(bot, before, event, now, error, route)
    except DocumentTooLarge:
        if before.call is None or not before.call.done:
            return _unstored(bot, document, event, now, error, route)
    before = attrs.evolve(before, call=without_value(before.call, max(now, document.last_updated)))
    try:
        return _failed(bot, before, event, now, error, route)
    except DocumentTooLarge:
        return _unstored(bot, document, event, now, error, route)


def _failed(
    bot: Bot, before: Document, event: Event, now: datetime, error: BaseException, route: ReplyRoute
) -> Decision:
    draft = _open(bot, before, event, now)
    reference, call = draft.token[:10], before.call
    draft.kind, draft.status, draft.detail = "error", "failed", error_record(error, reference)
    done = call is not None and call.done
    if call is not None and done:
        draft.detail |= {"call": f"{call.service}.{call.method}", "outcome": "done"}
    heard = route in HEARD and not isinstance(event, Fact)
    if heard or (done and isinstance(event, CallReturned)):  # the member waits for this answer
        draft.say(_failure_words(draft, reference))
    if not isinstance(event, Message):  # the event comes again, and must not count as a repetition of its failure
        draft.token, draft.earlier = hashed("failure", draft.token, str(draft.version)), ()
    return attrs.evolve(close(draft, event, route), error=error)


def _failure_words(draft: Draft, reference: str) -> Text:
    """Return the text for the member after an error. It is true of a call that had its effect, or may have had it."""
    call = draft.pending
    if call is not None and call.done:
        return Text("failure.done", reference=reference)
    unsure = call is not None and call.answer is None and draft.run is not None and draft.policy.effect
    return Text("failure.unsure" if unsure else "failure", reference=reference)


def _unstored(
    bot: Bot, document: Document, event: Event, now: datetime, error: BaseException, route: ReplyRoute
) -> Decision:
    """The decision after an error that cannot be stored either: the member is told, and the document stays."""
    if route not in HEARD or isinstance(event, Fact):
        raise error
    draft = _open(bot, document, event, now)
    draft.say(_failure_words(draft, draft.token[:10]))
    draft.ignore()
    return attrs.evolve(close(draft, event, "handle"), status="failed", error=error)


def _postponed(bot: Bot, document: Document, event: Event, now: datetime) -> Document:
    """The document with the event that raised due again later, and the answer of a call kept.

    The event is a timer, also one that was due when a message came in, the answer of a call, or the end of the session.
    """
    current, call, deadline, until = document.run, document.call, document.deadline, now + POSTPONED
    if current and call and isinstance(event, CallReturned) and event.key == call.key and event.is_answer:
        call = with_answer(bot, current, call, event.result, now)
    elif call and call.done and isinstance(event, Message | LeaseExpired):
        call = failed_again(call, now)
    elif call and isinstance(event, CallReturned):
        call = attrs.evolve(call, leased_until=now, again_at=until)
    elif call and isinstance(event, LeaseExpired):  # it counts as a try, so that the tries end and their rests grow
        most = bot.definition(current)[current.step].call_policy.take_ups if current else call.tries
        rest = rest_after(max(call.tries - most, 0) + 1)
        call = attrs.evolve(call, leased_until=now, again_at=now + rest, tries=call.tries + 1)
    run = _with_later_timer(current, now, until) if current else None
    suspended = document.suspended
    if any(each.due for each in suspended):
        suspended = tuple(_with_later_timer(each, now, until) for each in suspended)
    if isinstance(event, SessionExpired):
        deadline = until
    warn_at = None if isinstance(event, SessionEnding) else document.warn_at
    document = attrs.evolve(document, run=run, suspended=suspended, call=call, deadline=deadline, warn_at=warn_at)
    if isinstance(event, ReminderDue):
        document = attrs.evolve(document, reminders=postponed(document.reminders, event, until))
    return document


def _with_later_timer(run: Run, now: datetime, until: datetime) -> Run:
    return attrs.evolve(run, due=until) if run.due is not None and run.due <= now else run


def hindered(bot: Bot, document: Document, given: Given, now: datetime) -> str:
    """Return why something that another system gives cannot be taken in now; "" if nothing hinders it.

    See `engine.given.hindrance`.
    """
    return hindrance(_open(bot, document, given, now), given)


def current_question(bot: Bot, document: Document, now: datetime) -> tuple[Reply, ...]:
    """Return the question that the member is asked now; no replies if no flow is open or the question raises."""
    if document.handed is not None:  # a person has the conversation
        return ()
    draft = _open(bot, document, SessionExpired(now), now)
    try:
        if document.call:
            draft.say(waiting_words(draft))
        elif needs_asking(draft.run):
            run_to_completion(draft)
        else:
            draft.ask()
    except BaseException as error:  # the next message meets the same exception and reports it
        if _is_for_the_process(error):
            raise
        return ()
    return draft.said


def _open(bot: Bot, document: Document, event: Event, now: datetime) -> Draft:
    """A draft for the turn of an event."""
    digests = bot.digests
    token = turn_token(event, digests.token_key)
    roots = event.root if isinstance(event, CallReturned | LeaseExpired) else token
    here, stored = event.channel if isinstance(event, Message | Fact) else None, document.channel
    channel = stored if here is None or here == stored else _channel(stored, here, stays=isinstance(event, Fact))
    draft = Draft(bot, document, channel, now, token, roots.partition(" ")[0])
    if (
        digests.of_tokens
        or len(document.channels) > 1
        or (here is not None and NAMES in here.metadata)
        or (isinstance(event, GivenFact) and document.channels)
    ):
        draft.earlier = other_tokens(event, digests, document.channels)
        roots = " ".join((roots, *draft.earlier))
    draft.roots = roots
    draft.message = event if isinstance(event, Message) else None
    if isinstance(event, GivenFact):
        draft.named = event.at
    elif isinstance(event, Fact):
        draft.named = draft.channel.address
    draft.off_session = document.session_since is None and not isinstance(event, Message | ChatOpened)
    return draft


def _channel(stored: Channel, here: Channel, *, stays: bool) -> Channel:
    """The channel of a turn on another one than the stored. Known metadata is kept, as long as there is room.

    Args:
        stored: The stored channel.
        here: The channel of the event.
        stays: Whether the place of an earlier message is kept: a fact is told of the member, and stands nowhere.
    """
    if here.address.without_account != stored.address.without_account:
        return here
    kept = {name: value for name, value in stored.metadata.items() if stays or name != REPLY_TO}
    try:
        return attrs.evolve(stored, metadata={**kept, **here.metadata})
    except InvalidMessage:
        return here
