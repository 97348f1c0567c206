"""Reactions to what a channel tells: `Bot(on={ChatOpened: …})` and `Flow(on={Paid: …})`.

A reaction is a pure function of the turn and the fact. What it may do is bounded, because a fact is no word of the
member and proves nothing of who acts: it says something, changes the member, or refuses. It logs no member in and
leaves the data of the open flow as they are, on which the member has been asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, get_args

import attrs

from vimbiso_fsm.document.document import Member
from vimbiso_fsm.errors import FlowError, WrongCallback
from vimbiso_fsm.flow.callbacks import called, name_of
from vimbiso_fsm.flow.turn import Changes, Turn, settled
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import SAID, Said
from vimbiso_fsm.messages.told import Told

Answer: TypeAlias = Said | Changes[Any] | Refused | None
"""What a reaction returns: words, a change of the member, the reason why it does nothing, or None without a reason."""

Reaction: TypeAlias = Callable[[Turn[Any, Any], Any], Answer | Sequence[Said | Changes[Any]]]
"""A pure function of the turn and the fact. It returns an `Answer`, or a list of words and of one change.

In a reaction of the bot, `turn.data` is None; in one of a flow, it is the data of the open run.
"""

Reactions: TypeAlias = Mapping[type[Told], Reaction]
"""Reactions by the class of the fact."""

FACTS: Final[tuple[type, ...]] = get_args(Told)
"""The classes of facts."""

WANTED: Final = "a Text, turn.changes(member=…), a list of them, Refused(…) or None"


@attrs.frozen
class Reacted:
    """The result of a reaction.

    Attributes:
        says: The words.
        member: The member, as the reaction has changed them; the same object if it has not.
        refused: The reason why it does nothing.
        reminders: What it has changed of the member's reminders.
    """

    says: tuple[Said, ...]
    member: Member[Any]
    refused: Refused | None = None
    reminders: Sequence[Any] = ()


def declared_reactions(given: Reactions, flow: str = "") -> Reactions:
    """Return the reactions that a bot or a flow declares.

    Args:
        given: The reactions.
        flow: The name of the flow; empty for the bot.

    Raises:
        FlowError: They are no mapping of the classes of facts to functions of the turn and the fact.
    """
    place = "flow" if flow else "bot"
    shape: Any = given
    if not isinstance(shape, Mapping):
        remedy = "give {ChatOpened: a function of the turn and the fact}"
        raise FlowError(flow, place, f"on is a {type(shape).__name__}", remedy)
    for kind, reaction in shape.items():
        if not isinstance(kind, type) or kind not in FACTS:
            remedy = f"name a class of a fact: {', '.join(sorted(fact.__name__ for fact in FACTS))}"
            raise FlowError(flow, place, f"on names {kind!r}, which is no fact", remedy)
        check_reaction(reaction, flow, place, f"the reaction to {kind.__name__}")
    return dict(shape)


def check_reaction(reaction: object, flow: str, place: str, what: str) -> None:
    """Check that a reaction is a function of the turn and of what happened.

    Raises:
        FlowError: It is none.
    """
    if not callable(reaction) or inspect.iscoroutinefunction(reaction) or not _takes_two(reaction):
        fault = f"{what} is no plain function of two arguments"
        raise FlowError(flow, place, fault, "give a function of the turn and the fact, declared with def")


def _takes_two(reaction: Callable[..., object]) -> bool:
    """Whether a function can be called with two arguments, as far as is known."""
    try:
        inspect.signature(reaction, follow_wrapped=False).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a function in C that does not say
        return True
    return True


def react(reaction: Reaction, turn: Turn[Any, Any], fact: object) -> Reacted:
    """Return the result of a reaction.

    Raises:
        WrongCallback: It returned something else, another member, a login, or other data of the flow.
        Misfit: A value of the profile is not of its field's type.
    """
    answer: object = reaction(turn, fact)
    if answer is None:
        return Reacted((), turn.member)
    if isinstance(answer, Refused):
        return Reacted((), turn.member, answer)
    says: list[Said] = []
    member = turn.member
    reminders: Sequence[Any] = ()
    each: object
    for each in answer if isinstance(answer, list | tuple) else (answer,):
        if isinstance(each, Changes) and member is turn.member:
            member, reminders = _changed(reaction, turn, each), each.reminders
        elif isinstance(each, SAID):
            says.append(each)
        else:
            raise _wrong(reaction, turn, type(each).__name__)
    return Reacted(tuple(says), member, reminders=reminders)


def _changed(reaction: Reaction, turn: Turn[Any, Any], changes: Changes[Any]) -> Member[Any]:
    """Return the member that a reaction has changed."""
    before, after = turn.member, changes.member
    if changes.data is not turn.data:
        raise _wrong(reaction, turn, "a change of the data, and the member has been asked on the data as they are")
    if after.id != before.id:
        raise _wrong(reaction, turn, "another member, and a fact proves nothing of who acts")
    if (after.authenticated and not before.authenticated) or after.jwt_token not in (None, before.jwt_token):
        raise _wrong(reaction, turn, "a login, and a fact proves nothing of who acts")
    return settled(before, after)


def _wrong(reaction: Reaction, turn: Turn[Any, Any], returned: str) -> WrongCallback:
    place = called("reaction", reaction, turn) if turn.flow else f"reaction {name_of(reaction)!r}"
    return WrongCallback(place, returned, WANTED)
