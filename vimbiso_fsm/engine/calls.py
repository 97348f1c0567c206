"""TODO."""

from __future__ import annotations

from datetime import timedelta

import attrs

from vimbiso_fsm.document.document import (
    Member,
    PendingCall,
)
from vimbiso_fsm.engine.draft import Conversation, _with_data
from vimbiso_fsm.engine.events import Answered, Listener, Stray
from vimbiso_fsm.engine.interpret import go_on
from vimbiso_fsm.engine.interpreter import abandon, allowed, fail, fire
from vimbiso_fsm.engine.pending import make, renew_for, take_up, waiting_words, with_token
from vimbiso_fsm.engine.refusals import say_reasons
from vimbiso_fsm.flow.commands import normal
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.refusals import Refused


def _take_answer(talk: Conversation, answered: Answered, listener: Listener) -> None:
    """A call came back: `done` or `failed` in the state that proposed it."""
    pending = talk.pending
    if pending is None or pending.key != answered.key or talk.run is None:
        return talk.ignore()
    tokens = talk.bot.tokens
    silent = answered.unknown or (tokens is not None and tokens.is_refusal(answered.result))
    if silent and answered.tries != pending.tries:  # somebody else has taken it up since
        return talk.ignore()
    if answered.renewal:
        return _take_renewal(talk, answered, pending, listener)
    if answered.unknown:
        return _take_no_answer(talk, pending, listener)
    talk.pending = None
    if isinstance(answered.result, Refused):
        fail(talk, answered.result)
    else:
        fired = fire(talk, "done", answered.result)
        if fired.to is None:  # no way for this result: the flow hears why
            fail(talk, fired.reasons[0] if fired.reasons else Refused("call.failed"))
    go_on(talk)


def _take_no_answer(talk: Conversation, pending: PendingCall, listener: Listener) -> None:
    """Nobody knows whether the call was made: it stays on its way for a while, then the flow hears so."""
    policy = talk.policy
    if talk.tries < policy.rounds:
        talk.kind, talk.status = "call", "failed"
        talk.detail = {"call": f"{pending.service}.{pending.method}", "outcome": "unknown"}
        rest = timedelta(seconds=policy.rest(talk.tries))
        talk.pending = attrs.evolve(pending, leased_until=talk.now, again_at=talk.now + rest)
        if listener == "handle" and talk.tries == 1:  # whoever had it taken up again has heard so
            talk.say(waiting_words(talk))
        return
    fail(talk, policy.given_up)
    go_on(talk)


def _take_renewal(talk: Conversation, answered: Answered, pending: PendingCall, listener: Listener) -> None:
    """The call's token was not accepted, or a new one is there, or there is none."""
    tokens, result = talk.bot.tokens, answered.result
    if tokens is None or pending.renewed or answered.tries != pending.tries:
        return talk.ignore()
    talk.kind = "renewal"
    logged_out = talk.member.jwt_token is None  # by somebody else meanwhile; that is final
    if answered.renewal == "needed" and not logged_out:
        return renew_for(talk, pending)
    refused = isinstance(result, Refused)
    unavailable = answered.unknown or (refused and not tokens.is_refusal(result))
    if talk.in_doubt and (logged_out or unavailable or refused or result is None):
        return _take_no_answer(talk, pending, listener)
    if unavailable and not logged_out:
        fail(talk, result if isinstance(result, Refused) else Refused("call.unavailable"))
    elif logged_out or refused or result is None:
        make_renewed(talk, pending, attrs.evolve(talk.member, authenticated=False, jwt_token=None))
    else:
        make_renewed(talk, pending, with_token(talk, result))
    if talk.pending is None:
        go_on(talk)


def _take_stray(talk: Conversation, stray: Stray) -> None:
    """Take up a call that nobody is making."""
    pending = talk.pending
    if pending is None or (pending.key, pending.tries) != (stray.key, stray.tries) or talk.now < pending.leased_until:
        return talk.ignore()
    if talk.tries >= talk.policy.take_ups:
        talk.kind = "call"
        return fail(talk, talk.policy.given_up)
    take_up(talk, pending)


def _give_up(talk: Conversation, message: Message) -> None:
    """Nobody could find out what became of the call. The flow hears of it; a flow that fails at that, too, can at
    least be left."""
    talk.kind = "call"
    if talk.bot.commands.command(normal((message.text or "")[: talk.bot.limits.text])) in ("menu", "cancel"):
        talk.pending = None
        say_reasons(talk, [talk.policy.given_up])
        return abandon(talk)
    fail(talk, talk.policy.given_up)


def _wait(talk: Conversation, pending: PendingCall, message: Message) -> None:
    """Something was said while a call is on its way. Once its lease has ended it is taken up again."""
    if talk.now < pending.leased_until:
        talk.say(waiting_words(talk))
        return talk.ignore()
    if talk.tries >= talk.policy.take_ups:
        return _give_up(talk, message)
    talk.say(waiting_words(talk))
    take_up(talk, pending)


def make_renewed(draft: Conversation, pending: PendingCall, member: Member) -> None:
    """Make the call with the token that the member has now; unless what the flow requires does not hold for it.
    What may have been made is asked for all the same. What is made after a login goes on counting its tries."""
    sure, draft.member, draft.pending, run = not draft.in_doubt, member, None, draft.standing
    data = run.flow_data.data
    counted = _with_data(run, attrs.evolve(data, context={**data.context, "tries": pending.tries}))
    if not sure or allowed(draft, counted):
        make(draft, attrs.evolve(pending, renewed=True))
