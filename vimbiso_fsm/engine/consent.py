"""The consent of a member to messages, by address: taken back by a word of the carrier or as the channel tells.

Without it nothing is delivered to the address, and a message from it is not answered, but for the one confirmation of
a word. The conversation itself stands where it stood. `Document.reaches` is the one check before a delivery. What was
told of one name of a speaker counts at all of them.
"""

from __future__ import annotations

from vimbiso_fsm.document.document import OptOut, at_all_names
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.handover import drop_hand_over
from vimbiso_fsm.engine.outbox import here_of, take_overdue
from vimbiso_fsm.messages.consent import wish_in_fact, wish_in_words
from vimbiso_fsm.messages.message import Address, Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.told import Blocked, Told


def take_words(draft: Draft, message: Message) -> bool:
    """Take in what a message says about the consent; return whether the message is done with.

    A member who had blocked the bot and writes again has let it in. After a word of the carrier, only the word that
    ends it is heard: the carrier delivers nothing before, whatever else the member writes.
    """
    out = _opt_out(draft)
    words = draft.bot.commands
    wish = wish_in_words(
        message.channel.type, message.text, stop=words.stop, start=words.start, stopped=out is not None
    )
    if out is not None and (out.blocked or wish == "start"):
        _give(draft)
        if out.blocked:
            return False
        draft.kind, draft.trigger = "command", "start"
        draft.say(Text("consent.given"))
        if draft.outbox and not draft.is_unproven:
            draft.replies += take_overdue(draft)  # else they would precede the confirmation
        if draft.pending is None:
            draft.ask()
        return True
    if out is not None:
        draft.replies = []
        if (wishes := at_all_names(draft.opted_out, [_names(draft)])) == draft.opted_out:
            draft.ignore()
        else:  # a name that was not known when it was told
            draft.kind, draft.opted_out = "consent", wishes
        return True
    if wish != "stop":
        return False
    _take_back(draft, blocked=False)
    draft.kind, draft.trigger = "command", "stop"
    draft.replies = []
    draft.say(Text("consent.taken_back"))
    return True


def take_fact(draft: Draft, fact: Told) -> bool:
    """Take in what a fact tells about the consent, and return whether that is new. Without consent, nothing is said."""
    wish, before = wish_in_fact(fact), _opt_out(draft)
    if wish == "stop" and before is None:
        _take_back(draft, blocked=isinstance(fact, Blocked))
    elif wish == "start" and before is not None:
        _give(draft)
    after = _opt_out(draft)
    if after is not None:
        draft.replies = []
    return (before is None) != (after is None)


def _opt_out(draft: Draft) -> OptOut | None:
    """Return the note that the member wants no messages at the address of the turn; None if they consent."""
    if not draft.opted_out:
        return None
    names = _names(draft)
    return next((out for out in draft.opted_out if out.address in names), None)


def _names(draft: Draft) -> tuple[Address, ...]:
    """Return the address of the turn under each name of its speaker: those that it carries, and those known before."""
    told = [draft.bot.route(name).address for name in draft.channel.names]
    known = draft.before.channels if draft.before.guest else [n for each in told for n in draft.before.names_of(each)]
    return tuple(dict.fromkeys((*told, *known)))


def _take_back(draft: Draft, *, blocked: bool) -> None:
    names, here = _names(draft), here_of(draft)
    draft.opted_out = (*draft.opted_out, *(OptOut(address, blocked) for address in names))
    draft.outbox = tuple(waiting for waiting in draft.outbox if not (waiting.to or here).is_among(names))
    if here.is_among(names):
        drop_hand_over(draft, "consent")
    draft.detail = {**draft.detail, "consent": "blocked" if blocked else "taken back"}


def _give(draft: Draft) -> None:
    names = _names(draft)
    draft.opted_out = tuple(out for out in draft.opted_out if out.address not in names)
    draft.detail = {**draft.detail, "consent": "given"}
