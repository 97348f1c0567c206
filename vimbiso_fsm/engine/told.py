"""The turn of a fact that the channel tells.

The reaction that the flow of the open state declares decides, otherwise that of the bot. Some facts have a rule of
their own beside it: an opened chat begins the conversation as a first message does, a changed address ends the session
on the former one, whose number may be another person's by now, an opt-out or a block ends deliveries, and the failure
of a reply that was sent is audited. A fact answers no question, is never refused to the member and renews no session.
Without a reaction and a rule, nothing is stored.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from vimbiso_fsm.engine.consent import take_fact
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.handover import drop_hand_over
from vimbiso_fsm.engine.interpret import begin
from vimbiso_fsm.engine.reminders import change_reminders, checked_changes
from vimbiso_fsm.engine.session import end_session, is_login_over, is_session_over, log_out
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import reason_shown
from vimbiso_fsm.flow.reactions import Reacted, Reaction, react
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.sending import MAX_REASON
from vimbiso_fsm.messages.told import AddressChanged, Blocked, ChatOpened, OfReply, OptedOut, StatusChanged, Told

RULED: Final = frozenset({AddressChanged, Blocked, ChatOpened, OptedOut})
"""The facts that have a rule beside the reactions."""


def is_of_interest(bot: Bot, fact: Told) -> bool:
    """Return whether a fact may lead to a turn: it has a rule, or the bot or one of its flows declares a reaction."""
    return type(fact) in RULED or type(fact) in bot.reacts or (isinstance(fact, StatusChanged) and fact.failed)


def take_told(draft: Draft, fact: Told) -> None:
    """React to a fact.

    Args:
        draft: The draft of the turn.
        fact: The fact.
    """
    draft.kind = "event"
    reaction, turn = _reaction(draft, fact)
    if reaction is not None:
        take_reacted(draft, react(reaction, turn, fact), turn)
    does = take_fact(draft, fact) or bool(draft.replies or draft.codes) or draft.member is not draft.met
    does = does or draft.reminders is not draft.before.reminders
    if isinstance(fact, ChatOpened) and draft.status != "refused" and not draft.opted_out and _is_idle(draft):
        begin(draft)
        does = True
    if isinstance(fact, AddressChanged):
        _leave_address(draft)
        does = True
    if isinstance(fact, OfReply) and fact.reply:
        draft.detail |= {"reply": fact.reply[:10]}
        if isinstance(fact, StatusChanged) and fact.failed:
            draft.detail |= {"answer": "failed", "code": fact.code, "reason": reason_shown(fact.reason)[:MAX_REASON]}
            does = does or bool(fact.message_id)  # else the channel has not taken the reply, which is audited before
    if not does:
        return draft.ignore()
    draft.detail = {**draft.detail, "event": type(fact).__name__}


def take_reacted(draft: Draft, reacted: Reacted, turn: Turn[Any]) -> None:
    """Take over the result of a reaction that has seen `turn`."""
    if reacted.refused is not None:
        draft.status = "refused"
        draft.codes.append(reacted.refused.code)
        return
    if reacted.member is not turn.member:
        draft.take_member(reacted.member)
    if reacted.reminders:
        changes = checked_changes(reacted.reminders, "a reaction")
        change_reminders(draft, changes, turn, "a reaction")
    for words in reacted.says:
        draft.say(words)


def of_bot(draft: Draft) -> Turn[Any]:
    """Return the turn as a reaction of the bot sees it. A session that is over has no login."""
    _end_login(draft)
    bot = draft.bot
    return Turn(
        None,
        draft.member,
        draft.channel,
        draft.now,
        "",
        "",
        zone_of=bot.zone_for,
        proof_of=bot.proves,
        language_of=bot.language,
    )


def _end_login(draft: Draft) -> None:
    if (is_session_over(draft) or is_login_over(draft)) and draft.member.jwt_token is not None:
        log_out(draft)


def _reaction(draft: Draft, fact: Told) -> tuple[Reaction | None, Turn[Any]]:
    """Return the reaction to a fact, and the turn as it sees it. A session that is over has no login."""
    run, bot = draft.run, draft.bot
    own = bot.machine(run).flow.on.get(type(fact)) if run is not None else None
    if run is None or own is None:
        return bot.on.get(type(fact)), of_bot(draft)
    _end_login(draft)
    return own, draft.turn(run)


def _is_idle(draft: Draft) -> bool:
    """Whether nothing is open, parked or on its way, so that a first message would begin the conversation."""
    return draft.run is None and not draft.suspended and draft.pending is None


def _leave_address(draft: Draft) -> None:
    """End the session on the former address, and unlink it. A guest, who is known by it alone, keeps nothing."""
    said = list(draft.replies)
    drop_hand_over(draft, "channel")
    if draft.pending is None and draft.session_since is not None and not draft.before.guest:
        end_session(draft)
    else:  # the outcome of a call is stored where it was begun
        draft.session_since = None
        log_out(draft)
    draft.replies = said
    draft.kind = "unlink"
    draft.detail = {**draft.detail, "channels": [draft.bot.digests.shown(draft.channel)], "by": "channel"}
    draft.parts = not draft.before.guest
    if draft.before.guest:
        if draft.pending is None:
            draft.run, draft.suspended = None, ()
        draft.outbox, draft.reminders = (), ()
        draft.passing = tuple(item for item in draft.passing if item.kind == "ended")
        draft.member = attrs.evolve(draft.member, profile={}, current_account={}, language=None)
