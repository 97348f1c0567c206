"""Interpret a message in the member's current state.

A message is compared with these cases, in this order; the first that applies decides:

    each message    a hand-over to a person, too old, a pending call, a parked session, a question to be asked again, a
                    state that has timed out, a button of an earlier question, the end of the session
    a press         a choice of the question
    a content       an answer that was sent too early, the reader of the state if it is made for such a content; of
                    another content, the caption is a typed text
    a typed text    a word for a person, a deep link, a global word, a shortcut, an answer that was sent too early, the
                    choices of the question, and last the reader of the state; of several choices, the member is asked
                    which

A refused answer leaves the member in the state. The reason is said, the question is asked again, and the refusal is
counted. Of a burst, such as an album of pictures, one message is refused and counted; the others of the same burst are
passed over. Where no flow is open, nothing is refused for its kind: the conversation begins. A session that begins anew
interprets nothing but a word for a person, a deep link and a shortcut that is heard anywhere, which answer no question.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from vimbiso_fsm.document.document import Suspended, is_of_burst, narrowed, needs_asking, whole
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.engine import question
from vimbiso_fsm.engine.calls import wait_for_call
from vimbiso_fsm.engine.consent import take_words
from vimbiso_fsm.engine.draft import Draft, is_entering, with_answers
from vimbiso_fsm.engine.global_words import follow_global_word, global_word
from vimbiso_fsm.engine.handover import asked_for, take_passed_message
from vimbiso_fsm.engine.interpreter import (
    BUSY,
    allowed,
    ask_question,
    enter_again,
    fire,
    go_home,
    run_to_completion,
    start_above,
    time_out,
)
from vimbiso_fsm.engine.meaning import meanings, pressed_bare
from vimbiso_fsm.engine.outbox import is_among, overdue
from vimbiso_fsm.engine.passing import hand_over
from vimbiso_fsm.engine.refusals import count_refusal, global_words, say_help, say_reasons
from vimbiso_fsm.engine.session import end_session, is_login_over, is_session_over, log_out, reopen
from vimbiso_fsm.engine.timers import is_timeout_due, take_too_late, time_out_overdue
from vimbiso_fsm.flow.commands import Shortcut, linked, payload_of
from vimbiso_fsm.flow.machine import AnyPosition
from vimbiso_fsm.messages import presses
from vimbiso_fsm.messages.consent import BY_WORD
from vimbiso_fsm.messages.content_readers import ContentReader, bytes_in_words
from vimbiso_fsm.messages.contents import Attachment, Content, as_json
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.readers import TurnReader
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text


def interpret(draft: Draft, message: Message, *, recovered: Text | None, arrived: datetime) -> None:
    """Interpret a message.

    Args:
        draft: The draft of the turn.
        message: The message.
        recovered: The text that tells the member that the document was recovered; None if it was not.
        arrived: The instant at which the message came in, by the store's clock.
    """
    if (draft.opted_out or message.channel.type in BY_WORD) and take_words(draft, message):
        return None
    if recovered is not None:
        draft.status = "recovered"
        draft.say(Text(recovered.key, **recovered.params, reference=draft.token[:10]))
    if draft.handed is not None:
        return take_passed_message(draft, message)
    if message.sent_at is not None and _is_too_old(draft, message.sent_at):
        return _closed(draft, "message.too_late")
    if draft.pending is not None:
        wait_for_call(draft, draft.pending, message)
        return give_answers_after_call(draft)
    pressed = None if message.choice is None else presses.pressed(message.choice)
    stale = pressed is not None and recovered is None and _is_stale(draft, pressed)
    told = len(draft.replies)
    if draft.session_since is None:
        if is_login_over(draft):
            log_out(draft)
        if time_out_overdue(draft):
            if stale:
                draft.replies.insert(told, Text("choice.closed"))
            return take_too_late(draft, message)
    if draft.run is None and draft.suspended:
        draft.kind = "session"
        draft.hear()
        if stale:
            draft.say(Text("choice.closed"))
        return None if _follow_anywhere(draft, message) else reopen(draft)
    if draft.run is not None and draft.run.context and needs_asking(draft.run) and not is_session_over(draft):
        return _ask_again(draft, message)
    told = len(draft.replies)
    if draft.run is not None and draft.run.due is not None and is_timeout_due(draft, draft.run.due) and time_out(draft):
        if pressed is not None:
            draft.replies.insert(told, Text("choice.closed"))
        if not is_session_over(draft):
            return take_too_late(draft, message)
    elif stale:
        return _closed(draft)
    if draft.is_late and is_session_over(draft):
        end_session(draft)
        if time_out_overdue(draft):
            return None
        draft.hear()
        return None if _follow_anywhere(draft, message) else reopen(draft)
    if draft.run is not None and draft.run.waits == Suspended.LOGIN:
        return _enter(draft, message)
    if recovered is not None and draft.run is not None:
        return _ask_after_repair(draft, message)
    words = message.choice if message.choice is not None else message.text
    draft.burst = message.burst
    if message.content is not None and (words is None or _is_for_reader(draft, message.content)):
        return _typed(draft, message, None, arrived)
    if words is None:
        if message.payload and _follow_anywhere(draft, message):
            return None
        return begin(draft) if draft.run is None else _refuse(draft, [Refused("message.unsupported")])
    limit = draft.bot.limits.text
    if len(words) > limit:
        return _refuse(draft, [Refused("message.too_long", limit=limit)])
    if message.choice is not None:
        return _press(draft, words, pressed)
    _typed(draft, message, words, arrived)


# Typed and pressed ------------------------------------------------------------------------------------------------


def _typed(draft: Draft, message: Message, text: str | None, arrived: datetime) -> None:
    """Interpret a typed text, or a content if the text is None.

    A global word has precedence over the reader of the state. The caption of a content that the reader takes is part of
    the answer, and no global word.
    """
    if text is not None:
        if draft.bot.is_heard_anywhere and _follow_anywhere(draft, message):
            return None
        command = global_word(draft, message)
        if command:
            return follow_global_word(draft, command)
        shortcuts = draft.bot.shortcuts
        for shortcut in shortcuts if shortcuts and (draft.run is None or draft.at_home) else ():
            answers = shortcut.reads(text)
            if answers is not None:
                return _follow(draft, shortcut, answers)
    run = draft.run
    if run is None:
        return begin(draft)
    here = draft.bot.versions[run.flow, run.version].positions[run.step]
    if here.flow.late_text == "close" and run.since is not None and arrived < run.since:
        return _closed(draft, "choice.late")
    if draft.outbox:
        asked = _as_kept(draft)
        if is_among(asked, draft.outbox):  # the member has not read the question, so no text can be its answer
            return _show(draft, asked)
    if text is None:
        return _read_content(draft, message)
    if not ((run.shown or here.state.rows) and _take(draft, meanings(draft, text))):
        _read(draft, here, text)


def _is_for_reader(draft: Draft, content: Content) -> bool:
    """Whether the reader of the current state is made for a content."""
    reads = draft.reader if draft.run is not None else None
    return isinstance(reads, ContentReader) and reads.takes(content)


def _read_content(draft: Draft, message: Message) -> None:
    """Read the content of a message with the state's reader."""
    content, reads, limits = message.content, draft.reader, draft.bot.limits
    if content is None or not isinstance(reads, ContentReader):
        return _refuse(draft, [Refused("message.unsupported")])
    if isinstance(content, Attachment) and content.size is not None and content.size > limits.file:
        return _refuse(draft, [Refused("content.large", limit=bytes_in_words(limits.file))])
    if len(as_json(content)) > limits.content:
        return _refuse(draft, [Refused("message.too_much")])
    answer = reads.of(content)
    if isinstance(answer, Refused):
        return _refuse(draft, [answer])
    _try(draft, "answer", answer)


def _as_kept(draft: Draft) -> Any:
    """Return the current question as the outbox keeps it."""
    run = draft.standing
    reply = question.build(draft.bot, draft.here, run, draft.turn(run)).reply
    [asked] = replies_to_keep(draft.bot.say([reply], draft.member.stored_profile, draft.channel, draft.zone))
    return asked


def _show(draft: Draft, asked: Any) -> None:
    """Reply with the question that waits in the outbox. The text is not interpreted.

    A question whose delivery is on its way, or rests after a failure, does not precede the reply, and is asked again.
    """
    draft.status = "refused"
    draft.codes.append("choice.late")
    if not is_among(asked, overdue(draft)):
        draft.say(Text("choice.late"))
        draft.ask()


def _press(draft: Draft, choice: str, pressed: presses.Pressed | None) -> None:
    """Interpret a pressed button or row. A bare id counts as if it were typed, but never as a global word."""
    if draft.run is None:
        return begin(draft)
    if not _take(draft, pressed_bare(draft, choice) if pressed is None else (pressed.choice,)):
        _refuse(draft, [Refused("choice.unknown")])


def _take(draft: Draft, choices: Sequence[str]) -> bool:
    """Take the one choice that a message means. Of several, ask which; with none, return False.

    More choices than a question shows are asked with the whole question.
    """
    draft.run = run = whole(draft.standing)
    if len(choices) == 1:
        _choose(draft, choices[0])
    elif choices:
        if len(choices) <= draft.bot.limits.rows:
            draft.run = narrowed(run, choices)
        _refuse(draft, [Refused("choice.several")])
    return bool(choices)


def begin(draft: Draft) -> None:
    """Start the home flow."""
    draft.kind = "start"
    draft.hear()
    go_home(draft)


def _is_stale(draft: Draft, pressed: presses.Pressed) -> bool:
    """Whether a press belongs to another question than the current one."""
    run = draft.run
    return run is None or pressed.fence != run.fence


def _closed(draft: Draft, words: str = "choice.closed") -> None:
    """Say that the message answers an earlier question, and ask the current one again.

    Where no flow is open, the global words are the way on.

    The document stays as it is, so that the session is not renewed either.
    """
    draft.say(Text(words))
    if draft.run is None and words == "choice.closed":
        draft.say(global_words(draft))
    if draft.pending is None:
        draft.ask()
    draft.ignore()


def _choose(draft: Draft, choice: str) -> None:
    """Take a choice of the current question."""
    run = draft.standing
    if choice in (question.NEXT, question.PREV):
        draft.kind = "page"
        draft.run = attrs.evolve(run, page=run.page + (1 if choice == question.NEXT else -1))
        return ask_question(draft)
    if choice == question.MENU:
        return follow_global_word(draft, "menu")
    if choice.startswith(question.TYPED):
        return _read(draft, draft.here, choice[len(question.TYPED) :])
    if choice in draft.flow.buttons.get(run.step, ()):
        return _try(draft, choice)
    if choice.startswith(question.ROW):
        for row in question.rows_of(draft.state, draft.turn(run)):
            if row.id == choice[len(question.ROW) :]:
                return _try(draft, "answer", row.id if row.value is None else row.value)
    _refuse(draft, [Refused("choice.unknown")])


def _read(draft: Draft, here: AnyPosition, text: str) -> None:
    """Read a typed answer with the reader of the current state."""
    reads = here.state.reads
    if isinstance(reads, TurnReader):
        reads = draft.reader
    answer = Refused("choice.unknown") if reads is None else reads(text)
    if isinstance(answer, Refused):
        return _refuse(draft, [answer])
    _try(draft, "answer", answer)


def _try(draft: Draft, trigger: str, answer: object = None) -> None:
    """Fire a trigger. If no transition accepts it, say the reasons and ask again."""
    draft.stays = draft.root == draft.token and draft.before.run is not None and draft.before.call is None
    effects, draft.effects = draft.effects, ()  # as `hear` does
    fired = fire(draft, trigger, answer)
    if fired.to is None:
        draft.effects = effects
        _refuse(draft, fired.reasons or [Refused("choice.unknown")])
    elif draft.pending is None and draft.run is not None and draft.run.context:
        give_queued_answers(draft)


def _refuse(draft: Draft, reasons: Sequence[Refused]) -> None:
    """Say the reasons, ask again and count the refusal. Of a burst, this is done once."""
    if draft.burst and is_of_burst(draft.before.run, draft.burst, draft.bot.digests.words_key):
        return draft.ignore()
    draft.kind, draft.status = "refusal", "refused"
    say_reasons(draft, reasons)
    if draft.run is None:
        return go_home(draft)
    count_refusal(draft, reasons[0], draft.run.attempts)
    ask_question(draft)


def refuse_busy(draft: Draft) -> None:
    """Keep the member at the question, because a service takes no call now. It is not counted as a refused answer."""
    draft.kind, draft.status = "refusal", "refused"
    say_reasons(draft, [BUSY])
    draft.ask()


def _follow_anywhere(draft: Draft, message: Message) -> bool:
    """Follow a word for a person, a link or a shortcut that is heard everywhere; return whether the message is one.

    While a login is asked for, one whose flow requires it is not followed, because that leads to the same login.
    """
    bot, text = draft.bot, message.text
    if bot.inbox_words and (inbox := asked_for(draft, message)) is not None:
        draft.kind, draft.trigger = "handed", "hand over"
        draft.hear()
        hand_over(draft, inbox)
        return True
    if not (bot.everywhere or bot.linked):
        return False
    found = linked(bot.linked, payload_of(message.channel.type, message.payload, text)) if bot.linked else None
    if found is None and text is not None and len(text) <= bot.limits.text and not global_word(draft, message):
        read = ((shortcut, shortcut.reads(text)) for shortcut in bot.everywhere)
        found = next(((shortcut, answers) for shortcut, answers in read if answers is not None), None)
    run = draft.run
    if found is None or (run is not None and found[0].flow.requires and is_entering(bot, run, draft.suspended)):
        return False
    if run is not None and run.flow == found[0].flow.name:
        _leave_for(draft)
    _follow(draft, *found)
    return True


def _leave_for(draft: Draft) -> None:
    """Leave a run for another one of its flow, so that a command that is repeated makes no heap of runs."""
    below = draft.suspended[-1] if draft.suspended else None
    if below is None:
        draft.run = None
    elif below.waits == Suspended.INTERRUPTED:
        draft.pop()
        draft.run = attrs.evolve(below, waits="")


def _follow(draft: Draft, shortcut: Shortcut, answers: Sequence[str]) -> None:
    """Start the flow of a shortcut and answer its first questions, as far as the answers are accepted."""
    draft.kind = "command"
    draft.hear()
    if start_above(draft, shortcut.flow):
        return _answer_all(draft, answers)
    waiting = draft.suspended[-1] if draft.suspended else None
    if waiting is not None and waiting.flow == shortcut.flow.name:  # it waits until the member has logged in
        draft.suspended = (*draft.suspended[:-1], with_answers(waiting, answers))


def give_answers_after_call(draft: Draft) -> None:
    """Give the queued answers once a call is over."""
    if draft.changed and draft.before.call is not None and draft.pending is None and not draft.leaves:
        give_queued_answers(draft)


def give_queued_answers(draft: Draft) -> None:
    """Give the current run the answers that a shortcut has queued in it."""
    answers = draft.run.context.get("answers") if draft.run else None
    if draft.run is not None and answers and draft.state.asks:
        draft.run = with_answers(draft.run, ())
        _answer_all(draft, answers)


def _answer_all(draft: Draft, answers: Sequence[str]) -> None:
    """Answer the questions of the current run, until an answer is refused or the run ends or calls."""
    run = draft.standing
    for answer in answers:
        if draft.status == "refused" or draft.handed or draft.pending or draft.run is None or draft.run.id != run.id:
            return
        draft.replies.pop()  # the question that this answers
        _read(draft, draft.here, answer)


# Messages that answer no question ---------------------------------------------------------------------------------


def _ask_after_repair(draft: Draft, message: Message) -> None:
    """Ask again after a recovery. Only a global word counts, because the member may have read another question."""
    command = global_word(draft, message)
    if command:
        return follow_global_word(draft, command)
    ask_question(draft)


def _ask_again(draft: Draft, message: Message) -> None:
    """Ask a question that has not been shown yet. Only a global word counts."""
    run = draft.standing
    enter_again(draft, run)
    command = global_word(draft, message)
    if command == "help":
        say_help(draft)
    elif command:
        return follow_global_word(draft, command)
    elif all(waiting.is_recorded for waiting in draft.outbox):  # a notice in the outbox tells the reason itself
        draft.say(Text("choice.late" if message.choice is None else "choice.closed"))
    if run.waits != Suspended.LOGIN or allowed(draft, draft.standing):
        run_to_completion(draft)


def _is_too_old(draft: Draft, sent: datetime) -> bool:
    """Whether the message was sent longer ago than `Limits.age`."""
    age = draft.bot.limits.age
    return age is not None and (draft.now - sent).total_seconds() > age


def _enter(draft: Draft, message: Message) -> None:
    """Log the member in before an imported run goes on.

    After the login, a typed text answers the question of the imported run. A pressed choice has to be made again.
    """
    text = message.text if message.choice is None and len(message.text or "") <= draft.bot.limits.text else None
    command = global_word(draft, message) if text else ""
    run = draft.run = attrs.evolve(draft.standing, waits="")
    if command in ("menu", "cancel"):
        return follow_global_word(draft, command)
    if text and not command and draft.state.reads is not None:
        run = draft.run = with_answers(run, [text])
    if allowed(draft, run):
        ask_question(draft)
        give_queued_answers(draft)
