"""The hand-over of a conversation to a person.

While it lasts, what the member says passes to the inbox (`passing.py`), and no flow hears it: the open run, its timers
and the session stand still. It begins by a word of the member, a state of a flow or a person, and ends by a word of the
member, a person or the timer. Then the run goes on where it stood, and its question is asked again.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Document, Handed, Passing, Run, needs_asking
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import HandOverEnded, PassingDone, PassingDue
from vimbiso_fsm.engine.interpreter import enter_again, run_to_completion
from vimbiso_fsm.engine.passing import PASSING_LEASE, fits, hand_over, item_of, pass_on, until_of
from vimbiso_fsm.flow.calls import STANDARD
from vimbiso_fsm.flow.inboxes import Inbox
from vimbiso_fsm.flow.privacy import reason_shown
from vimbiso_fsm.messages import presses
from vimbiso_fsm.messages.contents import as_json
from vimbiso_fsm.messages.given import HandedBack, HandedOver, PersonSaid
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.sending import Later, Never
from vimbiso_fsm.messages.words import normalise

PASSING_TRIES: Final = 100
"""The number of attempts after which an inbox counts as one that takes nothing."""

HANDED: Final = "handed"
"""The reason why a conversation is not handed over: it is already."""
NOT_HANDED: Final = "not handed"
"""The reason why a person has no say: the bot has the conversation."""
UNREACHABLE: Final = "unreachable"
"""The reason why something is not said or asked: the member wants no messages, or has no channel."""


# The beginning and the end --------------------------------------------------------------------------------------------


def asked_for(draft: Draft, message: Message) -> Inbox | None:
    """Return the inbox that a typed word of the member asks for; None if it asks for none."""
    return draft.bot.inbox_words.get(_word(draft, message))


def hand_back(draft: Draft, how: str, by: str = "", words: str = "handed.back") -> None:
    """Take the conversation back. The run goes on where it stood, with the time that was left to it.

    Args:
        draft: The draft of the turn.
        how: The cause of the end, for the audit: "member", "person", "timer", "inbox", "consent" or "channel".
        by: The name of the person; empty if it is another one.
        words: The text that tells the member; empty if nothing is said.
    """
    handed = end_hand_over(draft)
    draft.detail = {
        **draft.detail,
        "inbox": handed.inbox,
        "handed": "back",
        "ended": how,
        "since": handed.since.isoformat(),
    }
    pass_on(draft, handed.inbox, "ended", by=by)
    if not words:
        return
    draft.say(Text(words))
    if draft.run is None or draft.pending is not None:
        return
    if needs_asking(draft.run):
        enter_again(draft, draft.run)
        run_to_completion(draft)
    else:
        draft.ask()


def end_hand_over(draft: Draft) -> Handed:
    """End the hand-over. The timers of the runs and the session go on with what was left of them."""
    handed = draft.handed
    assert handed is not None
    draft.handed, draft.stood = None, draft.now - handed.since
    draft.run = None if draft.run is None else _later(draft.run, draft.stood)
    draft.suspended = tuple(_later(run, draft.stood) for run in draft.suspended)
    if draft.session_since is not None:
        draft.session_since += draft.stood
    return handed


def as_if_stood_still(document: Document, since: datetime, now: datetime) -> Document:
    """Return a document whose timers and session have the same time left after a hand-over that began at `since`.

    Args:
        document: A document of the member, which may have gone on until now.
        since: The beginning of the hand-over.
        now: The time of the merge.
    """
    by = since - (now if document.handed is None else document.handed.since)
    run = None if document.run is None else _later(document.run, by)
    suspended = tuple(_later(waiting, by) for waiting in document.suspended)
    return attrs.evolve(document, run=run, suspended=suspended).with_session(document.session.later(by))


def _later(run: Run, by: timedelta) -> Run:
    return run if run.due is None else attrs.evolve(run, due=run.due + by)


# The member's messages ------------------------------------------------------------------------------------------------


def take_passed_message(draft: Draft, message: Message) -> None:
    """Pass a message of the member on. Only a word that leads back, or an end that is due, ends the hand-over.

    All other words pass, also "menu" and "cancel": they are meant for the person, and must not end what stands still.
    An inbox that the bot does not declare may be one of a newer process beside this one, so the conversation is left to
    it until its end, which is not put off here.
    """
    handed = draft.handed
    assert handed is not None
    inbox = draft.bot.inbox_names.get(handed.inbox)
    draft.kind = "handed"
    draft.hear()
    if draft.now >= handed.until:
        return hand_back(draft, "timer")
    if inbox is not None and _word(draft, message) in inbox.back:
        draft.trigger = "back"
        return hand_back(draft, "member")
    refused = _refusal(draft, message)
    if refused is None:
        text, content = _text_of(draft, message), _content_of(message)
        item = item_of(draft, handed.inbox, "said", text=text, content=content)
        if fits(draft, item):
            draft.detail = {**draft.detail, "inbox": handed.inbox}
            draft.passing = (*draft.passing, item)
            if inbox is not None:
                draft.handed = attrs.evolve(handed, until=until_of(draft.now, handed.since, inbox))
            return None
        if inbox is None:
            return hand_back(draft, "inbox", words="handed.nobody")
        refused = Text("handed.full", word=inbox.back[0])
    draft.kind, draft.status = "refusal", "refused"
    draft.codes.append(refused.key)
    draft.say(refused)


def _refusal(draft: Draft, message: Message) -> Text | None:
    """Return why a message is too large to be passed on; None if it is not."""
    limits = draft.bot.limits
    if len(message.text or "") > limits.text:
        return Text("message.too_long", limit=limits.text)
    if message.content is not None and len(as_json(message.content)) > limits.content:
        return Text("message.too_much")
    return None


def _word(draft: Draft, message: Message) -> str:
    """Return the typed text as words are compared; empty for a press and for the caption of a content."""
    typed = message.text is not None and message.choice is None and message.content is None
    return normalise(message.text[: draft.bot.limits.text]) if typed and message.text else ""


def _text_of(draft: Draft, message: Message) -> str:
    """Return the words of a message. Those of a pressed button are its title, where the run has shown it."""
    if message.choice is None:
        return message.text or ""
    pressed, run = presses.pressed(message.choice), draft.run
    if pressed is None or run is None:
        return message.choice
    return next((shown.title for shown in run.shown if shown.choice == pressed.choice), pressed.choice)


def _content_of(message: Message) -> dict[str, Any]:
    """Return the content of a message as plain data, with its kind; that of a kind that no bot reads is the kind."""
    if message.content is None:
        return {} if message.text is not None or message.choice is not None else {"kind": message.kind}
    return {**json.loads(as_json(message.content)), "kind": message.kind}


def take_passing_due(draft: Draft, event: PassingDue) -> None:
    """Take a lease on what is to be passed on, so that no other worker passes it meanwhile."""
    item = next((each for each in draft.passing if each.id == event.id), None)
    if item is None or item.again_at != event.at:
        return draft.ignore()
    draft.kind, draft.detail = "passing", {"inbox": item.inbox}
    _replace(draft, item, attrs.evolve(item, again_at=draft.now + PASSING_LEASE))


def take_passing_done(draft: Draft, event: PassingDone) -> None:
    """Take the answer of an inbox. What it has taken or will never take is struck off; the rest is passed again."""
    item = next((each for each in draft.passing if each.id == event.id), None)
    if item is None or (not event.done and item.tries != event.tries):
        return draft.ignore()
    draft.kind, draft.detail = "passing", {"inbox": item.inbox}
    if event.done:
        return _replace(draft, item, None)
    draft.status = "failed"
    tries, usual = item.tries + 1, STANDARD.rest(item.tries + 1)
    answer = Never("unreachable") if tries >= PASSING_TRIES and not isinstance(event.answer, Never) else event.answer
    if not isinstance(answer, Never):
        rest = answer.pause(usual) if isinstance(answer, Later) else usual
        return _replace(draft, item, attrs.evolve(item, tries=tries, again_at=draft.now + timedelta(seconds=rest)))
    draft.detail = {**draft.detail, "answer": "never", "reason": reason_shown(answer.reason), "code": answer.code}
    _replace(draft, item, None)
    if draft.handed is not None and draft.handed.inbox == item.inbox:
        hand_back(draft, "inbox", words="handed.nobody")


def _replace(draft: Draft, item: Passing, by: Passing | None) -> None:
    kept = (by if each is item else each for each in draft.passing)
    draft.passing = tuple(each for each in kept if each is not None)


# People and the timer -------------------------------------------------------------------------------------------------


def hinders_person(draft: Draft, given: HandedOver | HandedBack | PersonSaid) -> str:
    """Return why a person cannot do this now; "" if nothing hinders it."""
    if not isinstance(given, HandedOver) and draft.handed is None:
        return NOT_HANDED
    if not isinstance(given, HandedOver) and draft.handed is not None and given.inbox not in ("", draft.handed.inbox):
        return NOT_HANDED  # to this inbox
    if isinstance(given, HandedOver):
        if given.inbox not in draft.bot.inbox_names:
            return "unknown inbox"
        if draft.handed is not None:
            return HANDED
    return ""


def take_person(draft: Draft, given: HandedOver | HandedBack | PersonSaid) -> None:
    """Take in the act of a person, which `hinders_person` allows. The audit has the name of the person."""
    draft.detail = {"by": given.by}
    match given:
        case HandedOver():
            draft.kind = "handed"
            hand_over(draft, draft.bot.inbox_names[given.inbox], given.by)
        case HandedBack():
            draft.kind = "handed"
            hand_back(draft, "person", given.by)
        case PersonSaid():
            draft.kind = "person"
            handed = draft.handed
            assert handed is not None
            draft.detail = {**draft.detail, "inbox": handed.inbox}
            draft.say(given.text)
            if (inbox := draft.bot.inbox_names.get(handed.inbox)) is not None:
                draft.handed = attrs.evolve(handed, until=until_of(draft.now, handed.since, inbox))


def take_hand_over_ended(draft: Draft, event: HandOverEnded) -> None:
    """Take the conversation back, unless it went on or has ended since."""
    handed = draft.handed
    if handed is None or handed.until != event.until or event.until > draft.now:
        return draft.ignore()
    draft.kind = "handed"
    hand_back(draft, "timer")


def drop_hand_over(draft: Draft, how: str) -> None:
    """End the hand-over without a word: the channel is not the member's any more, or they want no messages."""
    if draft.handed is not None:
        hand_back(draft, how, words="")
