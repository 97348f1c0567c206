"""How a turn is decided: `decide(bot, document, event, now) -> Decision`. Pure: it knows no store, no clock, no chance.

An event is a `Message`, an `Answered` call, or something that is `due` though nobody says anything. `hearing.py` says
what a message means, `conversation.py` does it on the stack of runs; here it begins and ends. Whatever an author's
callback raises, the decision is then: the document as before, a plain sentence with a reference for the member, an
error entry for the audit. Ids are hashes of the event's token, so deciding twice decides the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from vimbiso_fsm.audit.entries import error_record
from vimbiso_fsm.document.codec import (
    is_intact,
    restored,
)
from vimbiso_fsm.document.document import (
    Document,
    first_document,
    is_unasked,
)
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.engine.calls import _take_answer, _take_stray
from vimbiso_fsm.engine.commit import Decision, _close
from vimbiso_fsm.engine.draft import Conversation
from vimbiso_fsm.engine.events import Answered, Due, Ending, Event, Listener, Send, Sent, Silence, Stray, turn_token
from vimbiso_fsm.engine.interpret import hear
from vimbiso_fsm.engine.interpreter import run_to_completion
from vimbiso_fsm.engine.outbox import _take_send, _take_sent
from vimbiso_fsm.engine.pending import waiting_words
from vimbiso_fsm.engine.session import _take_ending, _take_silence
from vimbiso_fsm.engine.timers import _take_timer
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text

POSTPONED = timedelta(seconds=60)
"""When what was due and failed is tried again."""


def decide(
    bot: Bot,
    document: Document | None,
    event: Event,
    now: datetime,
    *,
    recovered: Text | None = None,
    arrived: datetime | None = None,
    listener: Listener = "handle",
) -> Decision:
    """Decide one turn. Never raises for anything a message, a document of this bot or a callback can do.

    `document`: the stored one, None for a first contact. `now`: the store's clock, with time zone. `recovered`: what
    the member is told when the document was mended just now. `arrived`: when the message came in; `now`, if not given.

    Raises: TypeError when there is no document and the event is no message.
    """
    if document is None:
        if not isinstance(event, Message):
            raise TypeError("only a message can be the first event of a conversation")
        document = first_document(event.channel, now)
    talk = _open(bot, document, event, now)
    try:
        match event:
            case Message():
                hear(talk, event, recovered=recovered, arrived=arrived or now)
                talk.kind = talk.kind if recovered is None else "recovery"
            case Answered():
                _take_answer(talk, event, listener)
            case Due():
                _take_timer(talk, event)
            case Silence():
                _take_silence(talk, event)
            case Ending():
                _take_ending(talk, event)
            case Stray():
                _take_stray(talk, event)
            case Send():
                _take_send(talk, event)
            case Sent():
                _take_sent(talk, event)
        return _close(talk, event, listener)
    except Exception as error:  # noqa: BLE001  # whatever an author's callback raises, the member keeps their place
        return failure(bot, document, event, now, error, listener=listener)


def failure(
    bot: Bot, document: Document, event: Event, now: datetime, error: BaseException, *, listener: Listener = "handle"
) -> Decision:
    """The decision when something raised: the document as before, also where a callback changed it in place, and an
    error entry. A member who said something gets a
    plain sentence; what was due by itself is tried again later."""
    document = document if is_intact(document) else restored(document)
    talk = _open(bot, document, event, now)
    reference = talk.token[:10]
    talk.kind, talk.status, talk.detail = "error", "failed", error_record(error, reference)
    if listener == "handle":
        talk.say(Text("failure", reference=reference))
    talk.before = _postponed(document, event, talk.now)
    if not isinstance(event, Message):  # it may come again, and must not meet its own failure as a repeat
        talk.token = hashed("failure", talk.token, str(talk.version))
    return attrs.evolve(_close(talk, event, listener), error=error)


def _postponed(document: Document, event: Event, now: datetime) -> Document:
    """The document with what raised due again later: a timer, also one that a message met; a call's answer; the end of
    the session, unless somebody says something before."""
    run, call, deadline, until = document.run, document.call, document.deadline, now + POSTPONED
    if run and run.due and run.due <= now:
        run = attrs.evolve(run, due=until)
    if call and isinstance(event, Answered | Stray):
        call = attrs.evolve(call, leased_until=now, again_at=until)
    if isinstance(event, Silence):
        deadline = until
    warn_at = None if isinstance(event, Ending) else document.warn_at
    return attrs.evolve(document, run=run, call=call, deadline=deadline, warn_at=warn_at)


def current_question(bot: Bot, document: Document, now: datetime) -> tuple[Reply, ...]:
    """What the member is being asked now; nothing when no flow is open or the question cannot be drawn."""
    talk = _open(bot, document, Silence(now), now)
    try:
        if document.call:
            talk.say(waiting_words(talk))
        elif is_unasked(talk.run):
            run_to_completion(talk)
        else:
            talk.ask()
    except Exception:  # noqa: BLE001  # a question that cannot be drawn is met, said and reported when the next message comes
        return ()
    return talk.said


# Answers and timers -----------------------------------------------------------------------------------------------


# Opening and closing ----------------------------------------------------------------------------------------------


def _open(bot: Bot, document: Document, event: Event, now: datetime) -> Conversation:
    token = turn_token(event)
    root = event.root if isinstance(event, Answered | Stray) else token
    return Conversation(bot, document, _channel(document.channel, event), now, token, root)


def _channel(stored: Channel, event: Event) -> Channel:
    """The channel of this turn. What is known of it stays known, as long as there is room."""
    if not isinstance(event, Message) or event.channel == stored:
        return stored
    if event.channel.address != stored.address:
        return event.channel
    try:
        return attrs.evolve(stored, metadata={**stored.metadata, **event.channel.metadata})
    except InvalidMessage:
        return event.channel
