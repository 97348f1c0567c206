"""All that is due at a member though nobody says anything: stray calls, replies to deliver, timers, the session's end.

`Waking` reads the document, which says what is due (`decision.due`), and makes one turn after the other until nothing
is; then it sets the member's wake-up to what comes next. It may be run by anybody at any time, twice at once too: each
turn has a token of its own, and each is made on the head that was read. It also brings home the answer of a call that
nobody could wait for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from vimbiso_fsm.document.document import Document, Undelivered
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import CallReturned, Delivered, turn_token
from vimbiso_fsm.engine.reading import leave_to_newer
from vimbiso_fsm.engine.salvage import readable
from vimbiso_fsm.engine.schedule import due, wake_at
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import Deliver
from vimbiso_fsm.operations.promote import Move
from vimbiso_fsm.operations.turn import Turns
from vimbiso_fsm.store.requests import Broken, Conflict, Duplicate, Late, Load, Mismatch, ReadAudit, SetWakeUp, Stored

TURNS_PER_WAKE = 32
"""Turns made in one go; what is due then still is left for the next time."""
LATER = timedelta(seconds=60)
"""When to look again at what is due although it was done."""


class Waking(Turns):
    """A member being woken. Perform `request` and give the result to `take`, until there is none.

    `delivers`: whether the shell can deliver replies. `answer`: the answer of a call, to be taken first.

    Raises (from `take`): Contended; NewerState.
    """

    def __init__(
        self,
        bot: Bot,
        cache: Cache,
        member_id: str,
        now: float,
        *,
        delivers: bool,
        answer: CallReturned | None = None,
        patience: float = 5.0,
    ) -> None:
        super().__init__(bot, cache, now, patience=patience)
        self.route = "deliver" if delivers else "nobody"
        self._delivers = delivers
        self._in_hand: CallReturned | Delivered | None = answer
        self._announced: Decision | None = None
        self._turns = 0
        self._known: set[str] = set()
        self._member_id = member_id
        self._do(Load(member_id), self._loaded)

    def _loaded(self, stored: Stored | Broken) -> None:
        self._head = stored.head
        if self._in_hand is not None and isinstance(stored, Stored) and stored.document is None and stored.head.version:
            return self._do(ReadAudit(self._member_id, 1), self._went)
        document = self._read(stored) if isinstance(stored, Stored) else None
        if isinstance(stored, Stored) and document is None:
            leave_to_newer(self.bot, self._member_id, stored.document, instant(self.now))
        if document is None:  # nothing can be due that cannot be read; the member's next message has it mended
            return self._do(SetWakeUp(self._member_id, stored.head), lambda _: None)
        self._document = document
        self._next(document)

    def _went(self, latest: Any) -> None:
        """Who is not here any more may have become a member, and what they asked for with them."""
        entry = next(iter(readable(latest)), None)
        member_id = entry.detail.get("moved_to") if entry else None
        if isinstance(member_id, str):
            self._member_id = member_id
            self._do(Load(member_id), self._loaded)

    def _next(self, document: Document) -> None:
        """The next turn, or when to come again."""
        if document.moved is not None:
            return self._move(document)
        self._turns += 1
        if self._in_hand is not None:
            self.event, self._in_hand = self._in_hand, None
            return self._decide()
        waiting = [one for one in due(document, delivers=self._delivers) if turn_token(one[1]) not in self._known]
        if waiting and waiting[0][0] <= instant(self.now) and self._turns <= TURNS_PER_WAKE:
            self.event = waiting[0][1]
            return self._decide()
        wake = wake_at(document, delivers=self._delivers)
        if wake is not None and self._known:
            wake = max(wake, instant(self.now) + LATER)
        self._do(SetWakeUp(self._member_id, self._head, wake.timestamp() if wake else None), lambda _: None)

    def _decide(self) -> None:
        assert self._document is not None
        self._commit(decide(self.bot, self._document, self.event, instant(self.now), route=self.route))

    def _again(self, result: Conflict | Late) -> None:
        if isinstance(
            self.event, CallReturned | Delivered
        ):  # what has happened outside is stored, whatever was meanwhile
            self._in_hand = self.event
        super()._again(result)

    def _repeated(self, duplicate: Duplicate) -> None:
        """It was done; were it due all the same, it would be taken again and again."""
        self._known.add(turn_token(self.event))
        self._loaded(duplicate.current)

    def _mismatched(self, mismatch: Mismatch) -> None:
        self._loaded(mismatch.current)

    def _go_on(self) -> None:
        """Deliver what was said, then make the call that was proposed."""
        decision = self._decision
        assert decision is not None
        if decision.delivery is not None and self._confirmed:
            self._announced = decision
            return self._deliver(decision, decision.delivery)
        if self._announced is not None:
            self._decision, self._announced = attrs.evolve(self._announced, delivery=None), None
        super()._go_on()

    def _heard(self, decision: Decision) -> None:
        """Nobody waits for it: it stands in the outbox."""

    def _finish(self, document: Document) -> None:
        self._next(document)

    def _deliver(self, decision: Decision, waiting: Undelivered) -> None:
        document = decision.document
        replies = self.bot.say(replies_from_raw(waiting.replies), document.profile, document.channel)
        step = Deliver(document.channel, replies, waiting.id)
        self._do(step, lambda result: self._delivered(waiting, result))

    def _delivered(self, waiting: Undelivered, result: Any) -> None:
        if isinstance(result, BaseException):
            self.errors.append((waiting.id[:10], result))
        self.event = Delivered(waiting.id, waiting.tries, not isinstance(result, BaseException))
        self._decide()

    def _arrived(self, move: Move, guest: Document) -> None:
        """The guest's replies and their call are the member's now."""
        if move.document is None:
            self.request = None
        elif self._decision is None:
            self._next(move.document)
        else:
            self._go_on()
