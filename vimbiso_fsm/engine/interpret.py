"""What a message means where the member stands, and doing it.

    a call on its way?  ->  session parked?  ->  the state's time over?  ->  an old button?  ->  session over?
    pressed
    typed          ->  command  ->  shortcut  ->  sent too early, or asked and not shown?  ->  a choice  ->  the reader

Whatever is refused costs nobody their place: why, the question again, counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from vimbiso_fsm.document.document import is_unasked
from vimbiso_fsm.document.replies_codec import replies_to_keep
from vimbiso_fsm.engine import question
from vimbiso_fsm.engine.calls import _wait
from vimbiso_fsm.engine.draft import Conversation
from vimbiso_fsm.engine.global_words import _obey
from vimbiso_fsm.engine.interpreter import allowed, enter, fire, go_home, run_to_completion, start
from vimbiso_fsm.engine.refusals import count_refusal, say_help, say_reasons
from vimbiso_fsm.engine.session import _is_session_over, _reopen, end_session
from vimbiso_fsm.engine.timers import _is_time_over, _too_late, time_out
from vimbiso_fsm.flow.commands import Shortcut, normal
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text


def hear(talk: Conversation, message: Message, *, recovered: Text | None, arrived: datetime) -> None:
    """Take a message into the conversation. `recovered`: said first when the document was mended just now.
    `arrived`: when the message came in, on the store's clock."""
    if recovered is not None:
        talk.status = "recovered"
        talk.say(Text(recovered.key, **recovered.params, reference=talk.token[:10]))
    if _is_too_old(talk, message):
        return _closed(talk, "message.too_late")
    if talk.pending is not None:
        return _wait(talk, talk.pending, message)
    if talk.run is None and talk.suspended:
        talk.kind = "session"
        return _reopen(talk)
    if is_unasked(talk.run) and not _is_session_over(talk):
        return _ask_anew(talk, message)
    if _is_time_over(talk) and time_out(talk):
        if not _is_session_over(talk):
            return _too_late(talk, message)
    elif message.choice is not None and recovered is None and _is_stale(talk, message.choice):
        return _closed(talk)
    if _is_session_over(talk):
        end_session(talk)
        return _reopen(talk)
    if talk.run is not None and talk.run.waits == "entry":
        return _enter(talk, message)
    if recovered is not None and talk.run is not None:
        return _take_heart(talk, message)
    content = message.choice if message.choice is not None else message.text
    if content is None:
        return _refuse(talk, [Refused("message.unsupported")])
    limit = talk.bot.limits.text
    if len(content) > limit:
        return _refuse(talk, [Refused("message.too_long", limit=limit)])
    if message.choice is not None:
        return _press(talk, content)
    _listen(talk, content, arrived)


# Typed and pressed ------------------------------------------------------------------------------------------------


def _listen(talk: Conversation, text: str, arrived: datetime) -> None:
    """Typed words."""
    command = talk.bot.commands.command(normal(text))
    if command:
        return _obey(talk, command)
    for shortcut in talk.bot.shortcuts if talk.run is None or talk.at_home else ():
        answers = shortcut.reads(text)
        if answers is not None:
            return _follow(talk, shortcut, answers)
    if talk.run is None:
        talk.kind = "start"
        return go_home(talk)
    if talk.flow.late_text == "close" and talk.run.since is not None and arrived < talk.run.since:
        return _closed(talk, "choice.late")
    if _is_unseen(talk):
        return _show(talk)
    choice = question.chosen(talk.bot, talk.flow, talk.run, text)
    if choice:
        return _choose(talk, choice)
    _read(talk, text)


def _is_unseen(talk: Conversation) -> bool:
    """Whether what is asked now still waits in the outbox, because a call has come home since: no text answers it."""
    if not talk.outbox:
        return False
    reply = question.build(talk.bot, talk.bot.machine(talk.standing), talk.standing, talk.turn(talk.standing)).reply
    [asked] = replies_to_keep(talk.bot.say([reply], talk.member.profile, talk.channel))
    return any(asked in waiting.replies for waiting in talk.outbox)


def _show(talk: Conversation) -> None:
    """What waits in the outbox is the answer; the text is not taken."""
    talk.status = "refused"
    talk.codes.append("choice.late")


def _press(talk: Conversation, choice: str) -> None:
    """A pressed button or row. A bare id counts as if it were typed, but never as a command."""
    run = talk.run
    pressed = question.pressed(choice)
    if run is None:
        talk.kind = "start"
        return go_home(talk)
    if pressed is not None:
        return _choose(talk, pressed.choice)
    known = question.chosen(talk.bot, talk.flow, run, choice)
    if known:
        return _choose(talk, known)
    _refuse(talk, [Refused("choice.unknown")])


def _is_stale(talk: Conversation, choice: str) -> bool:
    """Whether a press comes from an earlier question."""
    run, pressed = talk.run, question.pressed(choice)
    return run is not None and pressed is not None and (pressed.run, pressed.entered) != (run.id[-8:], run.entered)


def _closed(talk: Conversation, words: str = "choice.closed") -> None:
    """An answer to an earlier question: say so and repeat what is asked now. Nothing changes, the session is not
    renewed either."""
    talk.say(Text(words))
    if talk.pending is None:
        talk.ask()
    talk.ignore()


def _choose(talk: Conversation, choice: str) -> None:
    """A choice of the current question."""
    run = talk.standing
    if choice in (question.NEXT, question.PREV):
        talk.kind = "page"
        talk.run = attrs.evolve(run, page=run.page + (1 if choice == question.NEXT else -1))
        return talk.ask()
    if choice in talk.flow.buttons.get(run.step, ()):
        return _try(talk, choice)
    if choice.startswith(question.ROW):
        for row in question.rows_of(talk.state, talk.turn(run)):
            if row.id == choice[len(question.ROW) :]:
                return _try(talk, "answer", row.id if row.value is None else row.value)
    _refuse(talk, [Refused("choice.unknown")])


def _read(talk: Conversation, text: str) -> None:
    """An answer for the state's reader."""
    reads = talk.state.reads
    answer = Refused("choice.unknown") if reads is None else reads(text)
    if isinstance(answer, Refused):
        return _refuse(talk, [answer])
    _try(talk, "answer", answer)


def _try(talk: Conversation, trigger: str, answer: object = None) -> None:
    """Pull a trigger for the member; when nothing accepts it, say why and ask again."""
    fired = fire(talk, trigger, answer)
    if fired.to is None:
        _refuse(talk, fired.reasons or [Refused("choice.unknown")])
    elif talk.pending is None:
        go_on(talk)


def _refuse(talk: Conversation, reasons: Sequence[Refused]) -> None:
    """Say why, ask again, count it; nothing else changes. Refusals in a row lead to help, then to the menu."""
    talk.kind, talk.status = "refusal", "refused"
    say_reasons(talk, reasons)
    if talk.run is None:
        return go_home(talk)
    count_refusal(talk, reasons[0], talk.run.flow_data.data.attempts)
    talk.ask()


def _follow(talk: Conversation, shortcut: Shortcut, answers: Sequence[str]) -> None:
    """A quick command: start its flow and answer its first questions, as far as they are accepted."""
    talk.kind = "command"
    if start(talk, shortcut.flow):
        return _answer_all(talk, answers)
    waiting = talk.suspended[-1] if talk.suspended else None
    if waiting is not None and waiting.flow == shortcut.flow.name:  # until the member is known
        talk.suspended = (*talk.suspended[:-1], talk.with_answers(waiting, answers))


def go_on(talk: Conversation) -> None:
    """Give the current run the answers that a quick command left with it."""
    answers = talk.run.flow_data.data.context.get("answers") if talk.run else None
    if talk.run is not None and answers and talk.state.asks:
        talk.run = talk.with_answers(talk.run, ())
        _answer_all(talk, answers)


def _answer_all(talk: Conversation, answers: Sequence[str]) -> None:
    run = talk.standing
    for answer in answers:
        if talk.status == "refused" or talk.pending or talk.run is None or talk.run.id != run.id:
            return
        talk.replies.pop()  # the question that this answers
        _read(talk, answer)


# The words that always work ---------------------------------------------------------------------------------------


# Waiting, and coming back too late --------------------------------------------------------------------------------


def _take_heart(talk: Conversation, message: Message) -> None:
    """The member stands where the mended document says, which need not be where they thought: they are asked again, and
    only a word that always works is heard."""
    command = talk.bot.commands.command(normal((message.text or "")[: talk.bot.limits.text]))
    if command:
        return _obey(talk, command)
    talk.ask()


def _ask_anew(talk: Conversation, message: Message) -> None:
    """A deploy has put another question in the place of the one that this answers: it is asked, and only a word that
    always works is heard."""
    run = talk.standing
    enter(talk, run, run.step)
    command = talk.bot.commands.command(normal((message.text or "")[: talk.bot.limits.text]))
    if command == "help":
        say_help(talk)
    elif command:
        return _obey(talk, command)
    elif not talk.outbox:  # else what waits there says what has happened
        talk.say(Text("choice.late" if message.choice is None else "choice.closed"))
    if run.waits != "entry" or allowed(talk, talk.standing):
        run_to_completion(talk)


def _is_too_old(talk: Conversation, message: Message) -> bool:
    """Whether the message was sent too long ago to be taken."""
    age, sent = talk.bot.limits.age, message.sent_at
    return age is not None and sent is not None and (talk.now - sent).total_seconds() > age


def _enter(talk: Conversation, message: Message) -> None:
    """The current run waits until the member is known: it was taken over from elsewhere. The way in comes first; then
    what was typed answers the question it was meant for, but for a choice, which is asked for anew."""
    text = message.text if message.choice is None and len(message.text or "") <= talk.bot.limits.text else None
    command = talk.bot.commands.command(normal(text or ""))
    run = talk.run = attrs.evolve(talk.standing, waits="")
    if command in ("menu", "cancel"):
        return _obey(talk, command)
    if text and not command and talk.state.reads is not None:
        run = talk.run = talk.with_answers(run, [text])
    if allowed(talk, run):
        talk.ask()
        go_on(talk)
