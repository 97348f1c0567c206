"""The answer of a call on which the flow could not go on, because a callback raised or the document had no room.

An effect stays, even if the turn of its answer fails. The answer of a call that had its effect is kept in place of the
call's arguments. The call is not made again. The flow goes on from the answer as soon as it can, and the member can
leave it at once. A refused call and a call that only reads have changed nothing, so they are made again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Answer, Fields, PendingCall, Run
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.flow.annotations import field_type, result_type
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.messages.refusals import Refused, Unreachable

FIRST_REST: Final = timedelta(seconds=60)
"""The rest after the first failure to go on from an answer. The rests double, up to `LONGEST_REST`."""

LONGEST_REST: Final = timedelta(hours=1)
"""The longest rest between two tries to go on from an answer."""


def rest_after(failures: int) -> timedelta:
    """Return the rest after that many failures."""
    return min(FIRST_REST * (1 << min(failures - 1, 10)), LONGEST_REST)


def with_answer(bot: Bot, run: Run, pending: PendingCall, result: object, now: datetime) -> PendingCall:
    """Return a call with the answer on which the flow could not go on. A call that had its effect is not made again."""
    state = bot.definition(run)[run.step]
    if isinstance(result, Unreachable):  # an earlier attempt may have had the effect
        return attrs.evolve(pending, leased_until=now, again_at=now + FIRST_REST)
    if isinstance(result, Refused) or not state.call_policy.effect:
        return _resting(pending, Answer(done=False), now)
    return _resting(attrs.evolve(pending, arguments={}), Answer(True, _as_kept(bot, run, result)), now)


def without_value(pending: PendingCall, now: datetime) -> PendingCall:
    """Return a call that had its effect without its answer, for which there is no room."""
    assert pending.answer is not None
    return _resting(pending, attrs.evolve(pending.answer, value={}), now)


def failed_again(pending: PendingCall, now: datetime) -> PendingCall:
    """Return a call that had its effect after one more failure to go on from its answer."""
    assert pending.answer is not None
    return _resting(pending, attrs.evolve(pending.answer, failures=pending.answer.failures + 1), now)


def _resting(pending: PendingCall, answer: Answer, now: datetime) -> PendingCall:
    """The call after a failure to go on from its answer. Without the answer of an effect there is no next try."""
    again_at = now + rest_after(answer.failures) if answer.value or not answer.done else None
    return attrs.evolve(pending, answer=answer, leased_until=now, again_at=again_at)


def _as_kept(bot: Bot, run: Run, result: object) -> Fields:
    """The answer in plain data, if it can be read back as it is; otherwise empty."""
    try:
        plain = loads(dumps(unstructure(result), "answer"))
        return {"value": plain} if structure(plain, _type_of_answer(bot, run)) == result else {}
    except BaseException as error:  # an answer of any class, which may raise anything when it is written or compared
        if is_interrupt(error):
            raise
        return {}


def kept_answer(draft: Draft, answer: Answer) -> Any:
    """Return the answer of a call that was kept.

    Raises:
        Unreadable: It is not of the type that the flow expects now.
    """
    return structure(answer.value["value"], _type_of_answer(draft.bot, draft.standing))


def _type_of_answer(bot: Bot, run: Run) -> Any:
    """The type of the answer of the state's call, as far as annotations tell."""
    flow = bot.definition(run)
    state = flow[run.step]
    kind = result_type(state.call) if state.call else Any
    return field_type(flow.data, state.into) if kind is Any and state.into else kind
