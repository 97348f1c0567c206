"""Reset of a member by an operator: every open flow ends; the profile, the channels and the token stay."""

from __future__ import annotations

import itertools

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.engine.salvage import with_notice
from vimbiso_fsm.errors import MemberNotFound
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.recover import BY
from vimbiso_fsm.operations.update import commit, read, refuse_broken, updated, with_entry
from vimbiso_fsm.store.requests import Committed, Load


@attrs.frozen
class Reset:
    """The flows and the call that a reset ended.

    Attributes:
        document: The document as it is stored now.
        flows: The flows that were open, the innermost last.
        call: The call that was pending, "service.method", or empty. Its result is not awaited any more, and it may have
            had an effect.
    """

    document: Document
    flows: tuple[str, ...] = ()
    call: str = ""


async def reset(context: Context, member_id: str) -> Reset:
    """End every open flow of a member.

    Raises:
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: The document is damaged; recover it first.
        DocumentTooLarge: The changed document does not fit.
        NewerState: A newer release has stored the document.
        ForeignState: The document is of a flow that the bot never had.
        MemberNotFound: Nothing is stored of the member.
    """
    for attempt in itertools.count(1):
        stored = await Load(member_id)
        before = read(context.bot, member_id, stored)
        if before is None:
            raise MemberNotFound(member_id)
        runs = (*before.suspended, *([before.run] if before.run else []))
        ended = Reset(before, tuple(run.flow for run in runs), call_of(before))
        if not runs and not ended.call:
            return ended
        token = hashed("reset", member_id, str(stored.head.version), stored.head.digest)
        after = attrs.evolve(before, run=None, suspended=(), call=None, effects=())
        if ended.call:
            known = before.call is not None and before.call.done
            after = with_notice(context.bot, after, Text("call.done" if known else "call.unsure"), token)
        decision = updated(context.bot, before, after, token, stored.at, version=stored.head.version)
        assert decision.entry is not None
        detail = {**decision.entry.detail, "flows": ended.flows, "call": ended.call, "by": BY}
        decision = with_entry(decision, kind="reset", detail=detail)
        result = await commit(context, decision, stored.head, attempt)
        refuse_broken(member_id, result)
        if isinstance(result, Committed):
            return attrs.evolve(ended, document=decision.document)
        await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


def call_of(document: Document | None) -> str:
    """Return the pending call as "service.method"; empty when there is none."""
    call = document.call if document is not None else None
    return f"{call.service}.{call.method}" if call is not None else ""
