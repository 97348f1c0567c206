"""The outcomes of a call: its answer, an unknown outcome, a renewed token, an expired lease."""

from __future__ import annotations

from datetime import timedelta

import attrs

from vimbiso_fsm.document.document import Answer, Member, PendingCall
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import HEARD, CallReturned, LeaseExpired, ReplyRoute
from vimbiso_fsm.engine.global_words import global_word
from vimbiso_fsm.engine.interpreter import abandon, allowed, fail, fire
from vimbiso_fsm.engine.kept_answer import kept_answer
from vimbiso_fsm.engine.pending import make, take_up, waiting_words, with_token
from vimbiso_fsm.engine.refusals import say_reasons
from vimbiso_fsm.errors import Stuck
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text


def take_call_returned(draft: Draft, event: CallReturned, route: ReplyRoute) -> None:
    """Fire `done` or `failed` in the state that proposed the call."""
    pending = draft.pending
    if pending is None or pending.key != event.key or draft.run is None:
        return draft.ignore()
    had_no_effect = event.unknown or isinstance(event.result, Refused)
    if had_no_effect and event.tries != pending.tries:  # the attempt of the worker that has taken it over decides
        return draft.ignore()
    if pending.done and (had_no_effect or event.renewal):  # another attempt was answered, and its answer is kept
        return draft.ignore()
    if event.renewal:
        return _take_renewal(draft, event, pending, route)
    if event.unknown:
        return _take_no_answer(draft, pending, route)
    if isinstance(event.result, Refused):
        fail(draft, event.result)
    else:
        _take_done(draft, event.result)


def _take_done(draft: Draft, result: object) -> None:
    """Fire `done`. A fact is never called failed, but a call that only reads fails if no transition takes its result.

    Raises:
        Stuck: No transition takes the result of a call that had its effect.
    """
    run = draft.standing
    draft.answered, draft.pending, draft.from_effect = True, None, draft.policy.effect
    fired = fire(draft, "done", result)
    if fired.to is not None:
        return
    if draft.from_effect:
        raise Stuck(run.flow, run.step, "no 'done' transition accepts", "declare one without guards")
    fail(draft, fired.reasons[0] if fired.reasons else Refused("call.failed"))


def _take_kept(draft: Draft, answer: Answer) -> None:
    """Go on from the answer of a call that had its effect. Without its value there is nothing to go on from."""
    draft.kind = "call"
    if not answer.value:
        return draft.ignore()
    draft.from_effect = True  # also if the answer cannot be read
    _take_done(draft, kept_answer(draft, answer))


def _take_no_answer(draft: Draft, pending: PendingCall, route: ReplyRoute) -> None:
    """Keep a call of unknown outcome pending for a rest of the policy; after its last round, fail it."""
    policy = draft.policy
    if draft.tries < policy.rounds:
        draft.kind, draft.status = "call", "failed"
        draft.detail = {"call": f"{pending.service}.{pending.method}", "outcome": "unknown"}
        rest = timedelta(seconds=policy.rest(draft.tries))
        draft.pending = attrs.evolve(pending, leased_until=draft.now, again_at=draft.now + rest)
        if route in HEARD and draft.tries == 1:  # a later attempt answers no message
            draft.say(waiting_words(draft))
        return
    fail(draft, policy.given_up)


def _take_renewal(draft: Draft, event: CallReturned, pending: PendingCall, route: ReplyRoute) -> None:
    """Renew a login token that was not accepted, or make the call with the result of the renewal."""
    tokens, result = draft.bot.tokens, event.result
    if tokens is None or pending.renewed or event.tries != pending.tries:
        return draft.ignore()
    draft.kind = "renewal"
    logged_out = draft.member.jwt_token is None  # meanwhile, by another turn; that is final
    if event.renewal == "needed" and not logged_out:
        return make(draft, pending, renews=True)
    refused = isinstance(result, Refused)
    unavailable = event.unknown or (refused and not tokens.is_refusal(result))
    if draft.in_doubt and (logged_out or unavailable or refused or result is None):
        return _take_no_answer(draft, pending, route)
    if unavailable and not logged_out:
        fail(draft, result if isinstance(result, Refused) else Refused("call.unavailable"))
    elif logged_out or refused or result is None:
        make_renewed(draft, pending, attrs.evolve(draft.member, authenticated=False, jwt_token=None))
    else:
        make_renewed(draft, pending, with_token(draft, result))


def take_lease_expired(draft: Draft, event: LeaseExpired) -> None:
    """Take a call up again once its lease has expired."""
    pending = draft.pending
    if pending is None or (pending.key, pending.tries) != (event.key, event.tries) or draft.now < pending.leased_until:
        return draft.ignore()
    if pending.answer is not None and pending.answer.done:
        return _take_kept(draft, pending.answer)
    never_begun = not event.begun and draft.tries == 1  # so no try can have had an effect
    if (pending.tries if never_begun else draft.tries) >= draft.policy.take_ups:
        draft.kind = "call"
        return fail(draft, Refused("call.failed") if never_begun and draft.policy.effect else draft.policy.given_up)
    if never_begun:
        run = draft.standing
        draft.run = attrs.evolve(run, context={**run.context, "tries": pending.tries})
    take_up(draft, pending)


def _leave(draft: Draft, answer: Answer) -> None:
    """Leave the flow whose call was answered; its effect stays."""
    draft.kind, draft.pending, draft.leaves = "command", None, True
    draft.hear()
    if answer.done:
        draft.codes.append("call.done")
        draft.say(Text("call.done"))
    abandon(draft)


def _give_up(draft: Draft, message: Message) -> None:
    """Fail a call whose outcome could not be found out. On "menu" or "cancel", the flow is left instead."""
    draft.kind = "call"
    if global_word(draft, message) in ("menu", "cancel"):
        draft.pending = None
        say_reasons(draft, [draft.policy.given_up])
        return abandon(draft)
    fail(draft, draft.policy.given_up)


def wait_for_call(draft: Draft, pending: PendingCall, message: Message) -> None:
    """Answer a message while a call is pending. Once its lease has expired, the call is taken up again.

    A call that was answered does not hold the member: "menu" and "cancel" leave its flow at once.
    """
    answer = pending.answer
    if answer is not None:
        command = global_word(draft, message)
        if command in ("menu", "cancel") or (answer.done and not answer.value):
            draft.trigger = command
            return _leave(draft, answer)
        if answer.done:
            return _take_kept(draft, answer)
    if draft.now < pending.leased_until:
        draft.say(waiting_words(draft))
        return draft.ignore()
    if draft.tries >= draft.policy.take_ups:
        return _give_up(draft, message)
    draft.say(waiting_words(draft))
    take_up(draft, pending)


def make_renewed(draft: Draft, pending: PendingCall, member: Member) -> None:
    """Make the call with the member's new login token, if the flow's `requires` holds.

    A call in doubt is made in any case, to find out its outcome. After a login, the count of tries continues.
    """
    in_doubt, run, effects = draft.in_doubt, draft.standing, draft.effects
    draft.answered, draft.pending = True, None
    draft.take_member(member)
    draft.effects = tuple(place for place in effects if place != draft.place)  # the call was refused
    counted = attrs.evolve(run, context={**run.context, "tries": pending.tries})
    if in_doubt or allowed(draft, counted):
        draft.effects = effects
        make(draft, attrs.evolve(pending, renewed=True))
