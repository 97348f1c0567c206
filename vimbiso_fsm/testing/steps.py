"""One turn without a store: the decision, and the member's document after a guest has become a member."""

from __future__ import annotations

from datetime import datetime

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import Event, ReplyRoute
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.promote import merge


def step(bot: Bot, document: Document | None, event: Event, now: datetime, *, route: ReplyRoute = "handle") -> Decision:
    """Decide one turn.

    A guest who has become a member in it is merged into a member of whom nothing is stored, so that the document of the
    decision is always the one in which the conversation goes on.

    Args:
        bot: The bot.
        document: The document; None for a first contact.
        event: The event.
        now: The instant of the turn, with a time zone.
        route: Where the replies go.

    Returns:
        The decision. Nothing was called or delivered.
    """
    decision = decide(bot, document, event, now, route=route)
    if decision.document.moved is None:
        return decision
    merged = merge(bot, decision.document, None, now, version=0)
    return attrs.evolve(decision, document=merged.document, raw=merged.raw)
