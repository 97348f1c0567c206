"""What a message means where the member stands, and doing it.

    a call on its way?  ->  session parked?  ->  the state's time over?  ->  an old button?  ->  session over?
    pressed
    typed          ->  command  ->  shortcut  ->  sent too early, or asked and not shown?  ->  a choice  ->  the reader

Whatever is refused costs nobody their place: why, the question again, counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from vimbiso_fsm import question
from vimbiso_fsm.codec import replies_to_keep
from vimbiso_fsm.commands import CARRY_ON, Shortcut, normal
from vimbiso_fsm.conversation import Conversation
from vimbiso_fsm.flow import SECRET
from vimbiso_fsm.messages import Message, Text
from vimbiso_fsm.state import PendingCall
from vimbiso_fsm.turn import Refused
from vimbiso_fsm.versions import is_unasked

__all__ = ["end_session", "go_on", "hear", "time_out", "waiting_words"]


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
        return talk.go_home()
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
        return talk.go_home()
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
    fired = talk.pull(trigger, answer)
    if fired.to is None:
        _refuse(talk, fired.reasons or [Refused("choice.unknown")])
    elif talk.pending is None:
        go_on(talk)


def _refuse(talk: Conversation, reasons: Sequence[Refused]) -> None:
    """Say why, ask again, count it; nothing else changes. Refusals in a row lead to help, then to the menu."""
    talk.kind, talk.status = "refusal", "refused"
    talk.give(reasons)
    if talk.run is None:
        return talk.go_home()
    talk.count_refusal(reasons[0], talk.run.flow_data.data.attempts)
    talk.ask()


def _follow(talk: Conversation, shortcut: Shortcut, answers: Sequence[str]) -> None:
    """A quick command: start its flow and answer its first questions, as far as they are accepted."""
    talk.kind = "command"
    if talk.start(shortcut.flow):
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


def _obey(talk: Conversation, command: str) -> None:
    """Do what one of the words says."""
    talk.trigger = command
    talk.kind = "command"
    _COMMANDS[command](talk)


def _menu(talk: Conversation) -> None:
    """The way home. A flow with answers in it is first offered back; who says so again does not want it back."""
    run = talk.run
    if run is None:
        talk.go_home()
    elif run.flow == CARRY_ON.name:
        talk.pull("no")
    elif talk.gathered(run):
        talk.offer_back(run)
    else:
        talk.abandon()


def _cancel(talk: Conversation) -> None:
    """End the open flow; nothing is sent."""
    if talk.run is None or talk.at_home:
        return _menu(talk)
    if talk.run.flow != CARRY_ON.name:
        talk.say(Text("cancel.done"))
    talk.abandon()


def _back(talk: Conversation) -> None:
    """The previous question, with its earlier answer; later answers are kept until they are changed. Before the first
    question of a sub-flow comes the latest of the flow that called it. A sub-flow that has ended is one question: it
    begins again."""
    if talk.run is None:
        return talk.go_home()
    chain = talk.called_by(talk.run)
    left = next((place for place, run in enumerate(chain) if run.trail or run.made), 0)
    run = chain[left]
    if not run.trail:
        crosses = run.made and run.step != talk.bot.definition(run).initial
        talk.say(Text("back.made" if crosses else "back.nowhere"))
        return talk.ask()
    for _ in range(left):
        talk.pop()
    talk.enter(attrs.evolve(run, waits=""), run.trail[-1])
    earlier = _earlier_answer(talk)
    if earlier is not None:
        talk.say(Text("back.earlier", answer=earlier))
    if talk.state.flow:
        return talk.settle()
    talk.ask()


def _earlier_answer(talk: Conversation) -> Any:
    """What the current question was answered with, in words; None where there is nothing to show."""
    flow, state, into = talk.flow, talk.state, talk.state.into
    if into is None or flow.fields[into].metadata.get("vimbiso") == SECRET["vimbiso"]:
        return None
    turn = talk.turn(talk.standing)
    answer = getattr(turn.data, into)
    if answer in (None, "") or (into in flow.depends and answer == getattr(flow.data(), into)):
        return None
    for row in question.rows_of(state, turn):
        if answer == (row.id if row.value is None else row.value):
            return row.title
    return answer if _has_words(type(answer)) else None


def _has_words(kind: type[Any]) -> bool:
    """Whether `str` gives words for people: never of a collection; of a class of an author's, when they have said
    which."""
    if issubclass(kind, list | tuple | dict | set | frozenset):
        return False
    return not attrs.has(kind) or any("__str__" in vars(base) for base in kind.__mro__[:-1])


def _help(talk: Conversation) -> None:
    """What can be said here, then the question again."""
    if talk.run is None:
        return talk.go_home()
    talk.say_help()
    talk.ask()


_COMMANDS = {"menu": _menu, "cancel": _cancel, "back": _back, "help": _help}


# Waiting, and coming back too late --------------------------------------------------------------------------------


def waiting_words(talk: Conversation) -> Text:
    """What the state of a call on its way says meanwhile."""
    run = talk.run
    ask = talk.state.ask if run else None
    return Text("call.waiting") if run is None or ask is None else question.text_of(ask, talk.turn(run))


def _give_up(talk: Conversation, message: Message) -> None:
    """Nobody could find out what became of the call. The flow hears of it; a flow that fails at that, too, can at
    least be left."""
    talk.kind = "call"
    if talk.bot.commands.command(normal((message.text or "")[: talk.bot.limits.text])) in ("menu", "cancel"):
        talk.pending = None
        talk.give([talk.policy.given_up])
        return talk.abandon()
    talk.fail(talk.policy.given_up)


def _wait(talk: Conversation, pending: PendingCall, message: Message) -> None:
    """Something was said while a call is on its way. Once its lease has ended it is taken up again."""
    if talk.now < pending.leased_until:
        talk.say(waiting_words(talk))
        return talk.ignore()
    if talk.tries >= talk.policy.take_ups:
        return _give_up(talk, message)
    talk.say(waiting_words(talk))
    talk.take_up(pending)


def _is_time_over(talk: Conversation) -> bool:
    """Whether the state's timer should have fired before now, and before the session's end."""
    due, deadline = talk.run.due if talk.run else None, talk.before.deadline
    return due is not None and talk.now >= due and (deadline is None or due <= deadline)


def time_out(talk: Conversation) -> bool:
    """The state's time is over. A timer that nothing takes is cleared -> whether it was taken."""
    run = talk.standing
    if talk.pull("timeout").to is None:
        talk.run = attrs.evolve(run, due=None)
        return False
    talk.kind = "timer"
    return True


def _too_late(talk: Conversation, message: Message) -> None:
    """The message met a state whose time was over. What it answered is gone; only a word that always works is heard."""
    command = talk.bot.commands.command(normal((message.text or "")[: talk.bot.limits.text]))
    if command and talk.pending is None:
        _obey(talk, command)


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
    talk.enter(run, run.step)
    command = talk.bot.commands.command(normal((message.text or "")[: talk.bot.limits.text]))
    if command == "help":
        talk.say_help()
    elif command:
        return _obey(talk, command)
    elif not talk.outbox:  # else what waits there says what has happened
        talk.say(Text("choice.late" if message.choice is None else "choice.closed"))
    if run.waits != "entry" or talk.allowed(talk.standing):
        talk.settle()


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
    if talk.allowed(run):
        talk.ask()
        go_on(talk)


def _is_session_over(talk: Conversation) -> bool:
    """Whether the session's end has passed; a call on its way, also one that has just been proposed, suspends it."""
    deadline = talk.before.deadline
    return talk.pending is None and deadline is not None and talk.now > deadline


def end_session(talk: Conversation) -> None:
    """Say that the session ended and what was not sent. An open flow with answers in it is parked, the token is
    dropped."""
    run, since = talk.run, talk.session_since
    talk.kind, talk.session_since = "session", None
    if run is not None:
        limit = timedelta(seconds=talk.bot.session.limit)
        long = since is not None and talk.before.deadline is not None and since + limit <= talk.before.deadline
        talk.say(Text("session.limit" if long else "session.ended"))
    talk.member = attrs.evolve(talk.member, authenticated=False, jwt_token=None)
    entry = talk.bot.entry.name if talk.bot.entry else ""
    while run is not None and (run.flow in (CARRY_ON.name, entry) or not talk.gathered(run)):
        run = talk.pop()
    talk.run = None
    if run is not None:
        talk.say(Text("session.unsent", flow=Text(f"{run.flow}.title")))
        talk.park(run)


def _reopen(talk: Conversation) -> None:
    """After the end of a session: the way home, through the entry flow, where what was parked is offered back. The
    message itself is not acted upon: it answered a question of another time."""
    parked = talk.pop()
    if parked is None:
        return talk.go_home()
    talk.offer_back(parked)
