"""TODO."""

from __future__ import annotations

from typing import Any

import attrs

from vimbiso_fsm.engine import question
from vimbiso_fsm.engine.draft import Conversation
from vimbiso_fsm.engine.interpreter import abandon, enter, fire, go_home, offer_back, run_to_completion
from vimbiso_fsm.engine.refusals import say_help
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.privacy import SECRET
from vimbiso_fsm.messages.replies import Text


def _obey(talk: Conversation, command: str) -> None:
    """Do what one of the words says."""
    talk.trigger = command
    talk.kind = "command"
    _COMMANDS[command](talk)


def _menu(talk: Conversation) -> None:
    """The way home. A flow with answers in it is first offered back; who says so again does not want it back."""
    run = talk.run
    if run is None:
        go_home(talk)
    elif run.flow == CARRY_ON.name:
        fire(talk, "no")
    elif talk.gathered(run):
        offer_back(talk, run)
    else:
        abandon(talk)


def _cancel(talk: Conversation) -> None:
    """End the open flow; nothing is sent."""
    if talk.run is None or talk.at_home:
        return _menu(talk)
    if talk.run.flow != CARRY_ON.name:
        talk.say(Text("cancel.done"))
    abandon(talk)


def _back(talk: Conversation) -> None:
    """The previous question, with its earlier answer; later answers are kept until they are changed. Before the first
    question of a sub-flow comes the latest of the flow that called it. A sub-flow that has ended is one question: it
    begins again."""
    if talk.run is None:
        return go_home(talk)
    chain = talk.called_by(talk.run)
    left = next((place for place, run in enumerate(chain) if run.trail or run.made), 0)
    run = chain[left]
    if not run.trail:
        crosses = run.made and run.step != talk.bot.definition(run).initial
        talk.say(Text("back.made" if crosses else "back.nowhere"))
        return talk.ask()
    for _ in range(left):
        talk.pop()
    enter(talk, attrs.evolve(run, waits=""), run.trail[-1])
    earlier = _earlier_answer(talk)
    if earlier is not None:
        talk.say(Text("back.earlier", answer=earlier))
    if talk.state.flow:
        return run_to_completion(talk)
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
        return go_home(talk)
    say_help(talk)
    talk.ask()


_COMMANDS = {"menu": _menu, "cancel": _cancel, "back": _back, "help": _help}
