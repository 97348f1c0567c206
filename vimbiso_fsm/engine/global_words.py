"""The global words: "menu", "cancel", "back" and "help".

`global_word` says which of them a message is. It wins over the reader of a state; a pressed button is never one.
"""

from __future__ import annotations

from typing import Any

import attrs

from vimbiso_fsm.document.document import narrowed_to, whole
from vimbiso_fsm.engine import question
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.interpreter import abandon, ask_question, enter, fire, go_home, offer_back, run_to_completion
from vimbiso_fsm.engine.refusals import say_help
from vimbiso_fsm.flow.calls import STANDARD
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.words import normalise


def global_word(draft: Draft, message: Message) -> str:
    """Return the global word that a message is: "menu", "cancel", "back" or "help"; "" if it is none.

    Only the part of the text within `Limits.text` counts. A pressed button is no global word.
    """
    commands, text = draft.bot.commands, (message.text or "")[: draft.bot.limits.text]
    command = commands.by_word.get(normalise(text))
    return command or (commands.spelled(message.channel.type, text) if "/" in text else "")


def follow_global_word(draft: Draft, command: str) -> None:
    """Carry out a global word."""
    draft.trigger = command
    draft.kind = "command"
    draft.leaves = True
    if command != "help":
        draft.hear()
    _COMMANDS[command](draft)


def leave_all(draft: Draft, message: Message) -> bool:
    """End everything that is open and start home, if the message is "menu" or "cancel"; return whether it is.

    This way out runs no callback of the flows that it ends. A call whose outcome may still be found out keeps its flow.
    """
    command, call = global_word(draft, message), draft.pending
    words = Text("menu.left")
    if call is not None and call.answer is None:
        policy = draft.policy if draft.run is not None else STANDARD  # without a run nothing waits for the answer
        if draft.run is not None and (draft.now < call.leased_until or draft.tries < policy.take_ups):
            return False
        words = policy.given_up.words
    elif call is not None and call.done:
        words = Text("call.done")
    if command not in ("menu", "cancel"):
        return False
    draft.trigger, draft.kind, draft.leaves = command, "command", True
    draft.hear()
    draft.say(words)
    draft.pending = None
    go_home(draft)
    return True


def _menu(draft: Draft) -> None:
    """Go home. A flow that holds answers is offered back first; a second "menu" declines the offer."""
    run = draft.run
    if run is None:
        go_home(draft)
    elif run.flow == CARRY_ON.name:
        fire(draft, "no")
    elif draft.holds_answers(run):
        offer_back(draft, run)
    else:
        abandon(draft)


def _cancel(draft: Draft) -> None:
    """End the open flow without an effect."""
    if draft.run is None or draft.at_home:
        return _menu(draft)
    if draft.run.flow != CARRY_ON.name:
        made = any(run.made for run in draft.called_by(draft.run))
        draft.say(Text("cancel.made" if made else "cancel.done"))
    abandon(draft)


def _back(draft: Draft) -> None:
    """Ask the previous question again, with its earlier answer. Later answers are kept until they are changed.

    From a question that was narrowed, the way back is the whole question.
    The latest question of the calling flow precedes the first question of a sub-flow. A sub-flow that has ended counts
    as one question and begins again.
    """
    if draft.run is None:
        return go_home(draft)
    if narrowed_to(draft.run):
        draft.run = whole(draft.run)
        return ask_question(draft)
    chain = draft.called_by(draft.run)
    left = next((place for place, run in enumerate(chain) if run.trail or run.made), 0)
    run = chain[left]
    if not run.trail:
        crosses = run.made and run.step != draft.bot.definition(run).initial
        draft.say(Text("back.made" if crosses else "back.nowhere"))
        return ask_question(draft)
    for _ in range(left):
        draft.pop()
    enter(draft, attrs.evolve(run, waits=""), run.trail[-1])
    earlier = _earlier_answer(draft)
    if earlier is not None:
        draft.say(Text("back.earlier", answer=earlier))
    if draft.state.flow:
        return run_to_completion(draft)
    ask_question(draft)


def _earlier_answer(draft: Draft) -> Any:
    """The earlier answer to the current question, as the text shows it; None if there is none to show."""
    flow, state, into = draft.flow, draft.state, draft.state.into
    if into is None or into in flow.secrets:
        return None
    turn = draft.turn(draft.standing)
    answer = getattr(turn.data, into)
    if answer in (None, "") or (into in flow.depends and answer == getattr(flow.data(), into)):
        return None
    for row in question.rows_of(state, turn):
        if answer == (row.id if row.value is None else row.value):
            return row.title
    return answer if _has_words(type(answer)) else None


def _has_words(kind: type[Any]) -> bool:
    """Whether `str` gives words for people: never for a collection; for an author's class if it defines `__str__`."""
    if issubclass(kind, list | tuple | dict | set | frozenset):
        return False
    return not attrs.has(kind) or any("__str__" in vars(base) for base in kind.__mro__[:-1])


def _help(draft: Draft) -> None:
    """Say the help of the current question, then ask it again."""
    if draft.run is None:
        return go_home(draft)
    say_help(draft)
    ask_question(draft)


_COMMANDS = {"menu": _menu, "cancel": _cancel, "back": _back, "help": _help}
