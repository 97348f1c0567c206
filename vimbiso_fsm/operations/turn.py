"""Turns of one member, step by step, without doing any of it: decide, commit, call, deliver, move.

`Turns` is a protocol without input and output. It names the next `request`; the shell performs it and gives the result
to `take`. The sync and the async shell run the very same turns. Two things cause turns: a message (`exchange.py`), and
what is due though nobody says anything (`waking.py`). Both go this way:

    decide                pure
    commit                Conflict, Late: decide again on what came back, bounded in time
                          Duplicate: it was done before
    guest became member   ReadInherited, Load, Commit at the member, Link, Settle: each may be repeated
    the call              RunCall; its answer is decided and committed as a second turn
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import attrs

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.engine.commit import Decision, caller, commit_of
from vimbiso_fsm.engine.decide import failure
from vimbiso_fsm.engine.draft import is_entering
from vimbiso_fsm.engine.events import Event, ReplyRoute
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.errors import Contended, DocumentTooLarge
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import Pause, RunCall, Step, answered, never
from vimbiso_fsm.operations.promote import Move
from vimbiso_fsm.store.requests import (
    Broken,
    Committed,
    Conflict,
    Duplicate,
    Head,
    Late,
    Load,
    Mismatch,
    Stored,
)


class Turns(ABC):
    """Turns of one member on their way. Perform `request` and give the result to `take`, until there is none.

    `now`: the store's clock as far as the worker knows it, seconds since the epoch. `waited`: seconds since what causes
    the turns came, on the worker's own steady clock; `patience`: seconds of conflicts from now on, after which it gives
    up. `told`: what observers are to be told; `errors`: what callbacks raised, by reference.

    Raises (from `take`): Contended.
    """

    event: Event
    route: ReplyRoute = "handle"

    def __init__(self, bot: Bot, cache: Cache, now: float, *, patience: float = 5.0, waited: float = 0.0) -> None:
        self.bot = bot
        self.cache = cache
        self.now = now
        self.waited = waited
        self.patience = patience
        self._until = waited + patience
        self.told: list[CommitEvent] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.request: Step | None = None
        self._then: Callable[[Any], None]
        self._member_id = ""
        self._head = Head()
        self._document: Document | None = None
        self._decision: Decision | None = None
        self._attempts = self._calls = 0
        self._confirmed = True

    def take(self, result: object, now: float, waited: float = 0.0) -> None:
        """Go on with the result of `request`. `waited`: seconds since it all began. A `DocumentTooLarge` is a result
        too: the turn then fails."""
        self.now, self.waited = now, waited
        self.request = None
        self._then(result)

    def _do(self, request: Step, then: Callable[[Any], None]) -> None:
        self.request, self._then = request, then

    # What the two kinds do in their own way -----------------------------------------------------------------------

    @abstractmethod
    def _loaded(self, stored: Stored | Broken) -> None:
        """Read what is stored."""

    @abstractmethod
    def _decide(self) -> None:
        """Decide the event on the document, and commit."""

    @abstractmethod
    def _heard(self, decision: Decision) -> None:
        """What a stored decision says to the member."""

    @abstractmethod
    def _repeated(self, duplicate: Duplicate) -> None:
        """This was done before."""

    @abstractmethod
    def _mismatched(self, mismatch: Mismatch) -> None:
        """The token was used for something else."""

    @abstractmethod
    def _arrived(self, move: Move, guest: Document) -> None:
        """A guest's move is done."""

    @abstractmethod
    def _finish(self, document: Document) -> None:
        """The turn is over."""

    # Commit -------------------------------------------------------------------------------------------------------

    def _commit(self, decision: Decision) -> None:
        self._decision = decision
        self._attempts += 1
        self._do(commit_of(decision, self._head), self._committed)

    def _committed(self, result: Any) -> None:
        match result:
            case Committed():
                self._stored(result)
            case Duplicate():
                self._repeated(result)
            case Mismatch():
                self._mismatched(result)
            case Conflict() | Late():
                self._again(result)
            case Broken():
                self._loaded(result)
            case DocumentTooLarge():
                self._too_large(result)
            case _:
                raise TypeError(f"a store answered a commit with a {type(result).__name__}")

    def _too_large(self, error: DocumentTooLarge) -> None:
        """The turn fails: the document as it was, and a plain sentence."""
        assert self._document is not None
        if self._decision is not None and isinstance(self._decision.error, DocumentTooLarge):
            raise error  # even the document as it was does not fit
        now = instant(self.now)
        self._commit(failure(self.bot, self._document, self.event, now, error, route=self.route))

    def _stored(self, committed: Committed) -> None:
        """It is stored: remember it, then move, call, or be done."""
        decision = self._decision
        assert decision is not None
        if decision.changed:
            self._keep(decision.document, committed.head)
        if decision.entry is not None:
            self.told.append(CommitEvent(decision.entry, self._attempts, committed.head.digest))
        if decision.error is not None:
            self.errors.append((decision.token[:10], decision.error))
        self._attempts = 0
        self._confirmed = committed.confirmed
        self._heard(decision)
        if decision.changed and decision.document.moved is not None:
            return self._move(decision.document)
        self._go_on()

    def _keep(self, document: Document, head: Head) -> None:
        self._head, self._document = head, document
        self.cache.keep(document.member_id, head, document)

    def _again(self, result: Conflict | Late) -> None:
        """Somebody was quicker, or the moment has passed: decide again on what is stored now. After a pause that is not
        what it was before: who decided on the older document would lose to busy writers each time."""
        if self.waited > self._until:
            raise Contended(self._member_id, self.patience, self._attempts)
        self.cache.forget(self._member_id)
        if self._attempts < 2:
            return self._loaded(result.current)
        self._do(Pause(self._attempts), lambda _: self._do(Load(self._member_id), self._loaded))

    def _read(self, stored: Stored) -> Document | None:
        """What is stored now, as a document, if it is one."""
        document = faults(self.bot, stored.document)[0] if stored.document is not None else None
        return document if document is not None and document.member_id == self._member_id else None

    # The call -----------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Run the call that was proposed; without one, this is the end. What may still be lost (a replica has not
        confirmed it) calls nobody: whoever takes the call up when its lease has ended commits first."""
        decision, document = self._decision, self._document
        assert decision is not None
        assert document is not None
        proposed, pending = decision.document.call, document.call
        if decision.call is None or proposed is None or pending is None:
            return self._finish(document)
        if (proposed.key, proposed.tries) != (pending.key, pending.tries):  # it is in other hands by now
            return self._finish(document)
        self._calls += 1
        if not self._confirmed or self._calls > self.bot.limits.autos:  # a flow that only calls is taken up later
            return self._finish(document)
        assert document.run is not None
        who, tokens = caller(document, pending), self.bot.tokens
        if decision.renews:
            who = attrs.evolve(who, key=hashed("renewal", pending.key, str(pending.tries)))
            step = RunCall(decision.call, who, READ_ONLY, pending, renews=True)
        else:
            policy = self.bot.definition(document.run)[document.run.step].call_policy
            entering = is_entering(self.bot, document.run, document.suspended)
            step = RunCall(
                decision.call,
                who,
                policy,
                pending,
                refuses=tokens.is_refusal if tokens is not None else never,
                curable=who.token is not None and not pending.renewed and not entering,
                in_doubt=policy.effect and document.tries > 1,
            )
        self._do(step, lambda result: self._called(step, result))

    def _called(self, step: RunCall, result: object) -> None:
        """The call is back: its answer is the next turn, under the same root."""
        if isinstance(result, BaseException):
            self.errors.append((step.pending.root[:10], result))
        self.event = answered(step, result)
        self._decide()

    # A guest becomes a member -------------------------------------------------------------------------------------

    def _move(self, guest: Document) -> None:
        move = Move(self.bot, guest, self._head)
        assert move.request is not None
        self._do(move.request, lambda result: self._moving(move, guest, result))

    def _moving(self, move: Move, guest: Document, result: Any) -> None:
        move.take(result, instant(self.now))
        if move.conflicts and self.waited > self._until:
            raise Contended(guest.member_id, self.patience, move.conflicts)
        if move.request is not None:
            return self._do(move.request, lambda result: self._moving(move, guest, result))
        self.told += move.told
        self._confirmed = self._confirmed and move.confirmed
        self.cache.forget(guest.member_id)
        if move.document is not None:
            self._member_id = move.document.member_id
            self.cache.linked(guest.channel.address, self._member_id)
            self._keep(move.document, move.head)
        self._arrived(move, guest)
