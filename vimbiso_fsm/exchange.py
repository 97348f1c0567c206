"""All that one message causes, step by step, without doing any of it: load, decide, commit, call, move.

`Exchange` is a protocol without input and output. It names the next `request`; the shell performs it and gives the
result to `take`. The sync and the async shell run the very same exchange. The way of a message:

    whose channel is it   LookUp, unless known
    what is stored        Load, unless in the worker's cache
    decide                pure
    commit                Conflict, Late: decide again on what came back, bounded in time
                          Duplicate: the first result again
    guest became member   ReadInherited, Load, Commit at the member, Link, Settle: each may be repeated
    the call              RunCall; its answer is decided and committed as a second turn
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import decode, encode, loads, replies_from_raw
from vimbiso_fsm.conversation import hashed
from vimbiso_fsm.decision import (
    Answered,
    Decision,
    Event,
    Stray,
    caller,
    commit_of,
    content_digest,
    current_question,
    decide,
    failure,
    first_document,
    turn_token,
)
from vimbiso_fsm.errors import Contended, DocumentTooLarge
from vimbiso_fsm.flow_audit import AuditEntry, Details
from vimbiso_fsm.messages import Message, Reply, Text
from vimbiso_fsm.moving import Move
from vimbiso_fsm.recovery import Salvage, faults, salvage
from vimbiso_fsm.state import Address, Document, guest_id
from vimbiso_fsm.store import (
    Broken,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    Head,
    Late,
    Linked,
    Load,
    LookUp,
    Mismatch,
    Record,
    Request,
    Result,
    SetAside,
    Stored,
)
from vimbiso_fsm.turn import Call, Caller
from vimbiso_fsm.update import updated

__all__ = ["Cache", "Exchange", "Outcome", "Pause", "RunCall"]


@attrs.frozen
class Outcome:
    """What a message came to.

    `status`: "advanced", "refused", "duplicate", "recovered", "ignored" or "failed". `replies`: what is said to the
    member, each with its final words in `.text`.
    """

    status: str
    replies: tuple[Reply, ...]
    _document: Document = attrs.field(repr=False)

    @cached_property
    def state(self) -> Document:
        """The member's document now; a copy, so that whatever is done to it stays with the caller."""
        return decode(encode(self._document))


@attrs.frozen
class RunCall:
    """Run a service's method -> what it returned, or the exception it raised."""

    call: Call[Any]
    caller: Caller


@attrs.frozen
class Pause:
    """Wait a moment before the next attempt, longer the more there were, with jitter."""

    attempt: int


Step: TypeAlias = Request | RunCall | Pause


@attrs.frozen
class _Known:
    head: Head
    document: Document


class Cache:
    """The latest documents of recent members, and whose their channels are. Stale copies are harmless: a commit made
    on one is a `Conflict`. `size` members; 0 keeps none."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._documents: dict[str, _Known] = {}
        self._members: dict[tuple[str, str], str] = {}

    def document(self, member_id: str) -> _Known | None:
        """The latest known document of a member."""
        return self._documents.get(member_id)

    def member(self, address: tuple[str, str]) -> str | None:
        """The member a channel was linked to when last heard of."""
        return self._members.get(address)

    def keep(self, member_id: str, head: Head, document: Document) -> None:
        """Remember a document; the one unused longest makes room."""
        self._put(self._documents, member_id, _Known(head, document))

    def linked(self, address: tuple[str, str], member_id: str) -> None:
        """Remember whose channel it is."""
        self._put(self._members, address, member_id)

    def forget(self, member_id: str, address: tuple[str, str] | None = None) -> None:
        """Ask the store next time."""
        self._documents.pop(member_id, None)
        if address is not None:
            self._members.pop(address, None)

    def _put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        if not self._size:
            return
        table.pop(key, None)
        table[key] = value
        while len(table) > self._size:
            table.pop(next(iter(table)), None)


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


class Exchange:
    """One message on its way. Perform `request` and give the result to `take`, until `outcome` is there.

    `now`: the store's clock as far as the worker knows it, seconds since the epoch. `patience`: seconds of
    conflicts after which it gives up, on the worker's own steady clock. `told`: what observers are to be told;
    `errors`: what callbacks raised, by reference.

    Raises (from `take`): Contended.
    """

    def __init__(self, bot: Bot, cache: Cache, message: Message, now: float, *, patience: float = 5.0) -> None:
        self.bot = bot
        self.cache = cache
        self.message = message
        self.event: Event = message
        self.now = now
        self.waited = 0.0
        self.patience = patience
        self.outcome: Outcome | None = None
        self.told: list[Details] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.request: Step | None = None
        self._then: Callable[[Any], None] = self._looked_up
        self._member_id = ""
        self._linked = False
        self._head = Head()
        self._document: Document | None = None
        self._salvage: Salvage | None = None
        self._decision: Decision | None = None
        self._status = ""
        self._replies: list[Reply] = []
        self._attempts = self._calls = 0
        self._repeating = self._hearsay = False
        self._begin()

    def take(self, result: Result | BaseException | object, now: float, waited: float = 0.0) -> None:
        """Go on with the result of `request`. `waited`: seconds since the exchange began. A `DocumentTooLarge` is a
        result too: the turn then fails."""
        self.now, self.waited = now, waited
        self.request = None
        self._then(result)

    def _do(self, request: Step, then: Callable[[Any], None]) -> None:
        self.request, self._then = request, then

    # Whose channel, what is stored --------------------------------------------------------------------------------

    def _begin(self) -> None:
        address = self.message.channel.address
        member_id = self.cache.member(address)
        guest = guest_id(self.message.channel)
        if member_id is not None:
            self._hearsay = True  # it was the member's when last heard of
            self._with(member_id, linked=True)
        elif self.cache.document(guest):
            self._with(guest, linked=False)
        else:
            self._do(LookUp(self.message.channel), self._looked_up)

    def _looked_up(self, found: Linked) -> None:
        self._hearsay = False
        if not found.member_id:
            return self._with(guest_id(self.message.channel), linked=False)
        self.cache.linked(self.message.channel.address, found.member_id)
        self._with(found.member_id, linked=True)

    def _with(self, member_id: str, *, linked: bool) -> None:
        self._member_id, self._linked = member_id, linked
        known = self.cache.document(member_id)
        if known is None:
            return self._do(Load(member_id), self._loaded)
        self._head, self._document = known.head, known.document
        self._decide()

    def _loaded(self, stored: Stored | Broken) -> None:
        """Read what is stored; what is broken is set aside whole, and what is left of it saved."""
        self._head = stored.head
        now = _instant(max(stored.at, self.now))
        if isinstance(stored, Broken):
            self._salvage = self._saved(b"", now)
            return self._do(SetAside(self._member_id, stored.head), self._set_aside)
        if stored.document is None:
            self._document = self._fresh(now)
            return self._decide()
        document, _ = faults(self.bot, stored.document)
        if document is None or document.member_id != self._member_id:
            self._salvage = self._saved(stored.document, now)
            return self._do(SetAside(self._member_id, stored.head), self._set_aside)
        self._document = document
        if self._hearsay and Address(*self.message.channel.address) not in document.channels:
            self.cache.forget(self._member_id, self.message.channel.address)
            return self._do(LookUp(self.message.channel), self._looked_up)
        self._decide()

    def _fresh(self, now: datetime) -> Document:
        return first_document(
            self.message.channel,
            now,
            member_id=self._member_id if self._linked else "",
            version=self._head.version,
        )

    def _saved(self, data: bytes, now: datetime) -> Salvage:
        return salvage(
            self.bot,
            data,
            self.message.channel,
            now,
            member_id=self._member_id,
            guest=not self._linked,
            version=self._head.version,
        )

    def _set_aside(self, stored: Stored | Conflict) -> None:
        """The broken bytes are safe; go on with what was saved, unless somebody else was quicker."""
        if isinstance(stored, Conflict):
            self._salvage = None
            return self._again(stored)
        assert self._salvage is not None
        self._head = stored.head
        self._document = attrs.evolve(self._salvage.document, version=stored.head.version)
        self._decide()

    def _restore(self, saved: Salvage) -> None:
        """The message brings nothing new, so its turn stores nothing; what was saved is stored by itself, and the
        message looked at again."""
        self._salvage = None
        token = hashed("recovery", self._member_id, str(self._head.version), self._head.digest)
        detail = {"kept": saved.kept, "lost": saved.lost}
        decision = updated(self.bot, None, saved.document, token, self.now, version=self._head.version)
        assert decision.entry is not None
        entry = attrs.evolve(decision.entry, kind="recovery", status="recovered", detail=detail)
        restored = commit_of(attrs.evolve(decision, entry=entry), self._head)
        self._do(restored, lambda result: self._restored(entry, result))

    def _restored(self, entry: AuditEntry, result: Any) -> None:
        if isinstance(result, Committed):
            self.told.append(Details(entry, 1, result.head.digest))
        self._do(Load(self._member_id), self._loaded)

    # Decide and commit --------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        document = self._document
        assert document is not None
        if self._repeating and isinstance(self.event, Message):
            return self._repeat(document)
        if document.moved is not None and isinstance(self.event, Message):
            return self._follow()
        decision = decide(self.bot, document, self.event, _instant(self.now), recovered=self._salvage is not None)
        if self._salvage is not None and decision.entry is not None:
            detail = {"kept": self._salvage.kept, "lost": self._salvage.lost, **decision.entry.detail}
            decision = attrs.evolve(decision, entry=attrs.evolve(decision.entry, detail=detail))
        self._commit(decision)

    def _commit(self, decision: Decision) -> None:
        self._decision = decision
        self._attempts += 1
        self._do(commit_of(decision, self._head), self._committed)

    def _committed(self, result: Any) -> None:
        if self._salvage is not None and isinstance(result, Duplicate | Mismatch):
            return self._restore(self._salvage)
        match result:
            case Committed():
                self._stored(result)
            case Duplicate():
                self._repeated(result)
            case Mismatch():
                self._status, self._replies = "refused", [*self._said(Text("message.reused"))]
                self._finish(self._current(result.current))
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
        self._commit(failure(self.bot, self._document, self.event, _instant(self.now), error))

    def _stored(self, committed: Committed) -> None:
        """It is stored: remember it, then move, call, or be done."""
        decision = self._decision
        assert decision is not None
        if decision.changed:
            self._keep(decision.document, committed.head)
        if decision.entry is not None:
            self.told.append(Details(decision.entry, self._attempts, committed.head.digest))
        if decision.error is not None:
            self.errors.append((decision.token[:10], decision.error))
        self._salvage = None
        self._attempts = 0
        self._status = decision.status if not self._status or decision.status == "failed" else self._status
        self._replies += decision.replies
        if decision.changed and decision.document.moved is not None:
            return self._move(decision.document)
        self._go_on()

    def _keep(self, document: Document, head: Head) -> None:
        self._head, self._document = head, document
        self.cache.keep(document.member_id, head, document)

    def _go_on(self) -> None:
        """Run the call that was proposed; without one, this is the end."""
        decision, document = self._decision, self._document
        assert decision is not None
        assert document is not None
        proposed, pending = decision.document.call, document.call
        if decision.call is None or proposed is None or pending is None or proposed.key != pending.key:
            return self._finish(document)
        self._calls += 1
        if self._calls > self.bot.limits.autos:  # a flow that only calls: the member's next message takes it up
            return self._finish(document)
        self._do(RunCall(decision.call, caller(document, pending)), self._called)

    def _called(self, result: object) -> None:
        """The call is back: its answer is the next turn, under the same root."""
        assert self._document is not None
        pending = self._document.call
        assert pending is not None
        unknown = isinstance(result, BaseException)
        if isinstance(result, BaseException):
            self.errors.append((pending.key[:10], result))
        self.event = Answered(pending.key, pending.root, None if unknown else result, unknown, pending.tries)
        self._decide()

    def _again(self, result: Conflict | Late) -> None:
        """Somebody was quicker, or the moment has passed: decide again on what is stored now."""
        if self.waited > self.patience:
            raise Contended(self._member_id, self.patience, self._attempts)
        self.cache.forget(self._member_id)
        if self._attempts < 2:
            return self._loaded(result.current)
        self._do(Pause(self._attempts), lambda _: self._loaded(result.current))

    def _repeated(self, duplicate: Duplicate) -> None:
        """This turn was made before: its first result again."""
        if isinstance(self.event, Message):
            self._status = "duplicate"
            self._replies = []
        self._replies += self._first(duplicate.records)
        self._repeating = True
        self._repeat(self._current(duplicate.current))

    def _repeat(self, document: Document) -> None:
        """The first result is only whole when the call it made has been answered: wait for whoever makes it, and take
        it up when nobody does."""
        if document.moved is not None:
            return self._follow_on(document)
        call = document.call
        if call is None or call.root != turn_token(self.message) or not isinstance(self.event, Message):
            return self._finish(document)
        if _instant(self.now) >= call.leased_until:
            self.event = Stray(call.key, call.root, call.tries)
            return self._decide()
        if self.waited > self.patience:
            return self._finish(document)
        self._attempts += 1
        self._do(Pause(self._attempts), lambda _: self._do(self._verify(), self._committed))

    def _verify(self) -> Commit:
        """Ask whether this message was handled before, and store nothing."""
        token = turn_token(self.message)
        return Commit(self._member_id, self._head, token, token, content_digest(self.message), None, None)

    def _first(self, records: tuple[Record, ...]) -> tuple[Reply, ...]:
        """The replies of records, said again."""
        replies: list[Reply] = []
        for record in records:
            replies += replies_from_raw(loads(record.body)["replies"])
        return self.bot.catalogue.replies(replies)

    def _current(self, stored: Stored) -> Document:
        """What is stored now, as a document; the rest of the exchange builds on it."""
        document = faults(self.bot, stored.document)[0] if stored.document is not None else None
        self._head = stored.head
        self._document = document or self._fresh(_instant(self.now))
        if document is not None:
            self.cache.keep(document.member_id, stored.head, document)
        return self._document

    def _said(self, *texts: Text) -> tuple[Reply, ...]:
        return self.bot.catalogue.replies(texts)

    def _finish(self, document: Document) -> None:
        """The end. Nobody is left without an answer: when there is none, it is what is asked now."""
        replies = tuple(self._replies) or current_question(self.bot, document, _instant(self.now))
        self.outcome = Outcome(self._status, replies, document)

    # A guest becomes a member -------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """The guest has become a member: was this message theirs already? Then the move is finished all the same."""
        self._decision = None
        self._do(self._verify(), self._followed)

    def _followed(self, result: Any) -> None:
        assert self._document is not None
        if isinstance(result, Committed):
            return self._follow_on(self._document)
        self._committed(result)

    def _follow_on(self, guest: Document) -> None:
        self._document = guest
        self._do(LookUp(self.message.channel), self._found)

    def _found(self, found: Linked) -> None:
        assert self._document is not None
        if found.member_id is None:
            return self._move(self._document)
        self.cache.forget(self._document.member_id)
        self._looked_up(found)

    def _move(self, guest: Document) -> None:
        move = Move(self.bot, guest)
        assert move.request is not None
        self._do(move.request, lambda result: self._moving(move, guest, result))

    def _moving(self, move: Move, guest: Document, result: Any) -> None:
        move.take(result, _instant(self.now))
        if move.conflicts and self.waited > self.patience:
            raise Contended(guest.member_id, self.patience, move.conflicts)
        if move.request is not None:
            return self._do(move.request, lambda result: self._moving(move, guest, result))
        self.told += move.told
        self._arrived(move, guest)

    def _arrived(self, move: Move, guest: Document) -> None:
        """The move is done. A message that only met it is decided now, at the member."""
        self.cache.forget(guest.member_id)
        if move.document is None:
            return self._looked_up(Linked(move.owner)) if move.owner else self._start_over(guest)
        self._member_id, self._linked = move.document.member_id, True
        self.cache.linked(guest.channel.address, self._member_id)
        self._keep(move.document, move.head)
        if self._repeating:
            self._repeat(move.document)
        elif self._decision is None:
            self._decide()
        else:
            self._go_on()

    def _start_over(self, guest: Document) -> None:
        """The channel was taken from the member since: whoever writes there now is a guest again."""
        self._member_id, self._linked = guest.member_id, False
        self._document = self._fresh(_instant(self.now))
        self._decide()
