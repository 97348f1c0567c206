"""Every question of VimbisoPay and the messages that lead to it, for tests of rules that hold at all of them."""

from __future__ import annotations

from typing import Any, Final

import attrs

import flows
from flows.credex_core import Fault
from tests.vimbisopay.test_flows import ADA, ALAN, GRACE, KATHERINE, STRANGER, Talk

__all__ = ["ASKED", "PLACES", "Place", "kept", "talking"]


@attrs.frozen
class Place:
    """A question, `flow.state`, with the member and the messages that lead to it.

    Attributes:
        fault: The fault of the service on the way; "" for none.
    """

    phone: str
    words: tuple[str, ...]
    fault: Fault | None = None


def _by(phone: str, words: str, fault: Fault | None = None) -> Place:
    return Place(phone, tuple(words.split()), fault)


PLACES: Final = {
    "login.unavailable": _by(ADA, "hi", Fault("down", times=1)),
    "onboard.welcome": _by(STRANGER, "hi"),
    "onboard.firstname": _by(STRANGER, "hi become_member"),
    "onboard.lastname": _by(STRANGER, "hi become_member Emmy"),
    "onboard.confirm": _by(STRANGER, "hi become_member Emmy Noether"),
    "dashboard.menu": _by(ALAN, "hi"),
    "offer.amount": _by(ADA, "hi offer"),
    "offer.handle": _by(ADA, "hi offer 10"),
    "offer.confirm": _by(ADA, "hi offer 10 alan"),
    "accept_offer.list": _by(ALAN, "hi accept"),
    "accept_offer.confirm": _by(ALAN, "hi accept 1"),
    "decline_offer.list": _by(ALAN, "hi decline"),
    "decline_offer.confirm": _by(ALAN, "hi decline 1"),
    "cancel_offer.list": _by(ADA, "hi cancel_offer"),
    "cancel_offer.confirm": _by(ADA, "hi cancel_offer 1"),
    "ledger.page": _by(ALAN, "hi ledger"),
    "ledger.unread": _by(ALAN, "hi ledger", Fault("down", call="getLedger", times=1)),
    "upgrade.confirm": _by(GRACE, "hi upgrade"),
    "choose_account.choosing": _by(KATHERINE, "hi"),
    "carry_on.offered": _by(ADA, "hi offer 10 menu"),
    "language.naming": _by(ADA, "hi language"),
}
"""How each question is come to."""

ASKED: Final = {
    f"{flow.name}.{state.name}"
    for flow in flows.bot.flows
    for state in flow.states
    if state.asks and not state.call and flow.name != "prove_number"
}
"""All questions but those that prove a number, which no member of WhatsApp is asked; `test_numbers.py` has them."""


def talking(name: str, **rest: Any) -> Talk:
    """Return a conversation in which the member has just been asked the question."""
    place = PLACES[name]
    talk = Talk(place.phone, **rest)
    talk.core.faults = [place.fault] if place.fault else []
    talk.say(*place.words)
    talk.core.faults = []
    assert talk.place == name
    return talk


def kept(talk: Talk) -> tuple[Any, ...]:
    """Return where a member stands and what is stored of them, without the counts of refusals."""
    state = talk.outcome.state
    run = state.run
    return (
        run and attrs.evolve(run, context={}, verdict={}),
        state.suspended,
        state.member_id,
        state.jwt_token,
        state.profile,
        state.current_account,
    )
