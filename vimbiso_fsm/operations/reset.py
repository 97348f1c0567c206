"""TODO."""

from __future__ import annotations

import itertools

import attrs

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.engine.commit import commit_of
from vimbiso_fsm.engine.salvage import (
    told,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.effects import Pause
from vimbiso_fsm.operations.recover import BY, NothingStored
from vimbiso_fsm.operations.update import read, refuse_unstorable, updated
from vimbiso_fsm.operations.work import Done, Work
from vimbiso_fsm.store.requests import (
    Broken,
    Committed,
    Load,
    Stored,
)


@attrs.frozen
class Reset:
    """What was ended. `document`: as it is stored now. `flows`: those that were open, the innermost last. `call`: one
    that was on its way, "service.method", or ""; nobody waits for its answer any more, and it may have been made."""

    document: Document
    flows: tuple[str, ...] = ()
    call: str = ""


def resetting(bot: Bot, member_id: str) -> Work[Reset]:
    """End every open flow of a member; the rest of the document stays.

    Raises: NothingStored; DamagedDocument, which is to be recovered first; DocumentTooLarge; NewerState.
    """
    for attempt in itertools.count(1):
        stored: Stored | Broken = yield Load(member_id)
        before = read(bot, member_id, stored)
        if before is None:
            raise NothingStored(member_id)
        runs = (*before.suspended, *([before.run] if before.run else []))
        reset = Reset(before, tuple(run.flow for run in runs), call_of(before))
        if not runs and not reset.call:
            return Done(reset)
        token = hashed("reset", member_id, str(stored.head.version), stored.head.digest)
        after = attrs.evolve(before, run=None, suspended=(), call=None)
        if reset.call:
            after = told(bot, after, Text("call.unsure"), token)
        decision = updated(bot, before, after, token, stored.at, version=stored.head.version)
        assert decision.entry is not None
        detail = {**decision.entry.detail, "flows": reset.flows, "call": reset.call, "by": BY}
        entry = attrs.evolve(decision.entry, kind="reset", detail=detail)
        result = yield commit_of(attrs.evolve(decision, entry=entry), stored.head)
        refuse_unstorable(member_id, result)
        if isinstance(result, Committed):
            reset = attrs.evolve(reset, document=decision.document)
            return Done(reset, (CommitEvent(entry, attempt, result.head.digest),))
        yield Pause(attempt)
    raise AssertionError("unreachable")


def call_of(document: Document | None) -> str:
    call = document.call if document is not None else None
    return f"{call.service}.{call.method}" if call is not None else ""
