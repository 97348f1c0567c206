"""All that one message causes: whose channel is it, what is stored, then its turns; repeated, it changes nothing.

whose channel is it   LookUp, unless known
what is stored        Load, unless in the worker's cache; what is broken is set aside and mended; where nothing ever
                      was, a record of the release before is taken over (converting.py)
its turns             turns.py
done before           the first result again; where its call is still on its way, wait for it
a guest who moved     finish the move; the message is decided at the member
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property
from typing import Any

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.codec import decode, encode, loads
from vimbiso_fsm.document.document import Address, Document, first_document
from vimbiso_fsm.document.ids import channel_digest, guest_id, hashed, instant
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.commit import Decision, commit_of
from vimbiso_fsm.engine.decide import current_question, decide
from vimbiso_fsm.engine.events import Event, LeaseExpired, content_digest, turn_token
from vimbiso_fsm.engine.reading import faults, leave_to_newer
from vimbiso_fsm.engine.salvage import Remains, Salvage, evicted, readable, recover, resumed, salvage, told
from vimbiso_fsm.errors import NewerState
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.legacy.convert import Conversion
from vimbiso_fsm.legacy.records import NotConverted, is_number
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import STILL_RUNNING, LegacyRecord, Pause, ReadLegacy, RunCall
from vimbiso_fsm.operations.promote import Move
from vimbiso_fsm.operations.turn import Turns
from vimbiso_fsm.operations.update import updated
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    FindOwner,
    Head,
    Linked,
    Load,
    Mismatch,
    Quarantine,
    ReadAudit,
    ReadRecords,
    Record,
    RecordIncident,
    Stored,
)
from vimbiso_fsm.store.retention import RECORDS_KEPT


@attrs.frozen
class Outcome:
    """What a message came to.

    `status`: "advanced", "refused", "duplicate", "recovered", "ignored" or "failed". `replies`: what is said to the
    member, each with its final words in `.text`. `confirmed`: False when the store could not confirm in time that it
    is kept as safely as was asked for (durability "replicated"); calls then wait.
    """

    status: str
    replies: tuple[Reply, ...]
    _document: Document = attrs.field(repr=False)
    confirmed: bool = True

    @cached_property
    def state(self) -> Document:
        """The member's document now; a copy, so that whatever is done to it stays with the caller."""
        return decode(encode(self._document))


class Exchange(Turns):
    """One message on its way. Perform `request` and give the result to `take`, until `outcome` is there.

    Raises (from `take`): Contended; NewerState.
    """

    def __init__(
        self,
        bot: Bot,
        cache: Cache,
        message: Message,
        now: float,
        *,
        patience: float = 5.0,
        waited: float = 0.0,
        legacy: bool = False,
    ) -> None:
        """`legacy`: whether there is anything to be read of the release before."""
        super().__init__(bot, cache, now, patience=patience, waited=waited)
        self._legacy = legacy and is_number(message.channel.identifier)
        self.message = message
        self.event: Event = message
        self.outcome: Outcome | None = None
        self._linked = False
        self._salvage: Salvage | None = None
        self._status = ""
        self._replies: list[Reply] = []
        self._repeating = self._hearsay = self._looked_again = False
        self._begin()

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
            self._do(FindOwner(self.message.channel), self._looked_up)

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
        now = instant(max(stored.at, self.now))
        if isinstance(stored, Broken):
            self._salvage = self._saved(b"", now)
            return self._do(Quarantine(self._member_id, stored.head), self._set_aside_first)
        if stored.document is None:
            self._document = self._fresh()
            if self._legacy and not self._salvage and not stored.head.version:
                return self._ask_old()
            return self._decide() if self._salvage or not stored.head.version else self._missing(stored)
        document, _ = faults(self.bot, stored.document)
        if document is None or document.member_id != self._member_id:
            if self._is_left_to_newer(stored.document, now):
                return None
            aside = Quarantine(self._member_id, stored.head)
            core = self._saved(stored.document, now)
            return self._search(stored.head, stored.document, core, lambda: self._do(aside, self._set_aside))
        self._document, self._salvage = document, None
        if self._hearsay and Address(*self.message.channel.address) not in document.channels:
            self.cache.forget(self._member_id, self.message.channel.address)
            return self._do(FindOwner(self.message.channel), self._looked_up)
        self._decide()

    def _is_left_to_newer(self, data: bytes, now: datetime) -> bool:
        """Whether a newer release goes on with what this message began: then what was said so far is its answer.

        Raises: NewerState when this message has begun nothing.
        """
        try:
            leave_to_newer(self.bot, self._member_id, data, now)
        except NewerState:
            if not self._status or self._document is None:
                raise
            self._finish(self._document)
            return True
        return False

    # A record of the release before -------------------------------------------------------------------------------

    def _ask_old(self) -> None:
        """Nobody has begun here: the release before may know them."""
        self._legacy = False  # it is asked once
        self._do(ReadLegacy(self.message.channel.identifier), self._old_found)

    def _old_found(self, record: LegacyRecord | None) -> None:
        conversion = Conversion(self.bot, record) if record else None
        if conversion is None or conversion.channel not in (None, self.message.channel.address):
            return self._decide()
        self._convert(conversion)

    def _convert(self, conversion: Conversion) -> None:
        """Take the record over; one that cannot be stays as it is, an incident says why, and the member begins anew."""
        if conversion.request is not None:
            return self._do(conversion.request, lambda result: self._converting(conversion, result))
        self.told += conversion.told
        if conversion.refusal is not None:
            self._do(
                RecordIncident(self._member_id, self._refused(conversion.refusal).body), lambda _: self._look_again()
            )
        elif conversion.document is not None:
            self._member_id, self._linked = conversion.document.member_id, not conversion.document.guest
            if self._linked:
                self.cache.linked(self.message.channel.address, self._member_id)
            self._keep(conversion.document, conversion.head)
            self._decide()
        else:  # somebody else has done it
            self._look_again()

    def _converting(self, conversion: Conversion, result: Any) -> None:
        conversion.take(result)
        self._convert(conversion)

    def _look_again(self) -> None:
        self._do(FindOwner(self.message.channel), self._looked_up)

    def _refused(self, refusal: NotConverted) -> Incident:
        detail = {"field": refusal.field, "fault": refusal.fault}
        channel = channel_digest(self.message.channel)
        return Incident(instant(self.now), "legacy", self._member_id, channel, detail=detail)

    # What is broken -----------------------------------------------------------------------------------------------

    def _search(self, head: Head, damaged: bytes, core: Salvage, then: Callable[[], None]) -> None:
        """Look for where the member stood, beside the `damaged` bytes; `then` go on with what was saved."""
        member_id = self._member_id

        def previous(found: Any) -> None:
            before = found.previous if isinstance(found, Stored) and found.head == head else None
            if damaged:  # else it has been set aside by now
                leave_to_newer(self.bot, member_id, before, instant(self.now))
            self._do(ReadRecords(member_id), lambda records: turns(before, records))

        def turns(before: bytes | None, records: Any) -> None:
            self._do(ReadAudit(member_id, 2 * RECORDS_KEPT), lambda entries: recovered(before, records, entries))

        def recovered(before: bytes | None, records: Any, entries: Any) -> None:
            self._salvage = recover(self.bot, damaged, core, Remains.of(before, records, entries))
            then()

        self._do(Load(member_id, previous=True), previous)

    def _missing(self, stored: Stored) -> None:
        """There was a document. It was a guest's who has become a member meanwhile; or its time is over, or the server
        has thrown it away: the audit knows which."""
        self._unless_moved(lambda: self._do(ReadAudit(self._member_id, 1), lambda latest: self._missed(latest, stored)))

    def _unless_moved(self, then: Callable[[], None]) -> None:
        """What was a guest is gone: has their channel a member now? Asked once."""
        if self._linked or self._looked_again:
            return then()
        self._looked_again = True
        self.cache.forget(self._member_id)
        self._do(FindOwner(self.message.channel), lambda found: self._looked_up(found) if found.member_id else then())

    def _missed(self, latest: Any, stored: Stored) -> None:
        assert self._document is not None
        last = readable(latest)
        if last and evicted(last[-1], instant(stored.at)):
            self._salvage = Salvage(self._document, (), ("document",), Text("session.lost"))
        self._decide()

    def _fresh(self) -> Document:
        return first_document(
            self.message.channel,
            instant(self.now),
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

    def _set_aside_first(self, stored: Stored | Conflict) -> None:
        """Keys of a wrong type are out of the way: now the rest can be read."""
        if isinstance(stored, Conflict) or self._salvage is None:
            return self._set_aside(stored)
        self._search(stored.head, b"", self._salvage, lambda: self._set_aside(stored))

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
        """The message brings nothing new, so its turn stores nothing; what was saved is stored by itself, the member is
        told as soon as something answers them, and the message looked at again."""
        self._salvage = None
        token = hashed("recovery", self._member_id, str(self._head.version), self._head.digest)
        detail = saved.detail
        document = resumed(self.bot, saved.document, self._head.version + 1, instant(self.now))
        document = told(self.bot, document, saved.words, token)
        decision = updated(self.bot, document, document, token, self.now, version=self._head.version)
        assert decision.entry is not None
        entry = attrs.evolve(decision.entry, kind="recovery", status="recovered", detail=detail)
        restored = commit_of(attrs.evolve(decision, entry=entry), self._head)
        self._do(restored, lambda result: self._restored(entry, result))

    def _restored(self, entry: AuditEntry, result: Any) -> None:
        if isinstance(result, Committed):
            self.told.append(CommitEvent(entry, 1, result.head.digest))
        self._do(Load(self._member_id), self._loaded)

    # Decide -------------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        document = self._document
        assert document is not None
        if self._repeating and isinstance(self.event, Message):
            return self._repeat(document)
        if document.moved is not None and isinstance(self.event, Message):
            return self._follow()
        decision = decide(
            self.bot,
            document,
            self.event,
            instant(self.now),
            recovered=self._salvage.words if self._salvage else None,
            arrived=instant(self.now - self.waited),
        )
        if self._salvage is not None and not decision.changed:
            return self._restore(self._salvage)
        if self._salvage is not None and decision.entry is not None:
            detail = {**self._salvage.detail, **decision.entry.detail}
            decision = attrs.evolve(decision, entry=attrs.evolve(decision.entry, detail=detail))
        self._commit(decision)

    def _committed(self, result: Any) -> None:
        if self._salvage is not None and isinstance(result, Duplicate | Mismatch):
            return self._restore(self._salvage)
        super()._committed(result)

    def _heard(self, decision: Decision) -> None:
        self._salvage = None
        self._status = decision.status if not self._status or decision.status == "failed" else self._status
        self._replies += decision.replies

    def _called(self, step: RunCall, result: object) -> None:
        if result is not STILL_RUNNING:
            return super()._called(step, result)
        assert self._document is not None
        self._replies += current_question(self.bot, self._document, instant(self.now))
        self._finish(self._document)

    def _finish(self, document: Document) -> None:
        """The end. Nobody is left without an answer: when there is none, it is what is asked now."""
        replies = tuple(self._replies) or current_question(self.bot, document, instant(self.now))
        self.outcome = Outcome(self._status, replies, document.at(instant(self.now)), self._confirmed)

    # The same message again ---------------------------------------------------------------------------------------

    def _mismatched(self, mismatch: Mismatch) -> None:
        """Another content under a token that was used: nothing is done, and the incident kept."""
        document = self._current(mismatch.current)
        self._status, self._replies = "refused", [*self._said([Text("message.reused")], document)]
        incident = Incident(
            instant(mismatch.current.at),
            "mismatch",
            self._member_id,
            channel_digest(self.message.channel),
            turn_token(self.message),
            document.run.flow if document.run else "",
            document.run.id if document.run else "",
        )
        self._do(RecordIncident(self._member_id, incident.body), lambda _: self._finish(document))

    def _repeated(self, duplicate: Duplicate) -> None:
        """This turn was made before: its first result again."""
        if duplicate.current.document is None and isinstance(self.event, Message):
            return self._unless_moved(lambda: self._say_again(duplicate))
        self._say_again(duplicate)

    def _say_again(self, duplicate: Duplicate) -> None:
        if isinstance(self.event, Message):
            self._status = "duplicate"
            self._replies = []
        document = self._current(duplicate.current)
        self._replies += self._first(duplicate.records, document)
        self._repeating = True
        self._repeat(document)

    def _repeat(self, document: Document) -> None:
        """The first result is only whole when the call it made has been answered: wait for whoever makes it, and take
        it up when nobody does."""
        if document.moved is not None:
            return self._follow_on(document)
        call = document.call
        if call is None or call.root != turn_token(self.message) or not isinstance(self.event, Message):
            return self._finish(document)
        if instant(self.now) >= call.leased_until:
            self.event = LeaseExpired(call.key, call.root, call.tries)
            return self._decide()
        if self.waited > self._until:
            return self._finish(document)
        self._attempts += 1
        self._do(Pause(self._attempts), lambda _: self._do(self._verify(), self._committed))

    def _verify(self) -> Commit:
        """Ask whether this message was handled before, and store nothing."""
        token = turn_token(self.message)
        return Commit(self._member_id, self._head, token, token, content_digest(self.message), None, None)

    def _first(self, records: tuple[Record, ...], document: Document) -> tuple[Reply, ...]:
        """The replies of records, said again."""
        replies: list[Reply] = []
        for record in records:
            replies += replies_from_raw(loads(record.body)["replies"])
        return self._said(replies, document)

    def _said(self, replies: Iterable[Reply], document: Document) -> tuple[Reply, ...]:
        return self.bot.say(replies, document.profile, document.channel)

    def _current(self, stored: Stored) -> Document:
        """What is stored now, as a document; the rest of the exchange builds on it."""
        document = faults(self.bot, stored.document)[0] if stored.document is not None else None
        self._head = stored.head
        self._document = document or self._fresh()
        if document is not None:
            self.cache.keep(document.member_id, stored.head, document)
        return self._document

    # A guest who has become a member ------------------------------------------------------------------------------

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
        self._do(FindOwner(self.message.channel), self._found)

    def _found(self, found: Linked) -> None:
        assert self._document is not None
        if found.member_id is None:
            return self._move(self._document)
        self.cache.forget(self._document.member_id)
        self._looked_up(found)

    def _arrived(self, move: Move, guest: Document) -> None:
        """The move is done. A message that only met it is decided now, at the member."""
        if move.document is None:
            return self._looked_up(Linked(move.owner)) if move.owner else self._start_over(guest)
        self._linked = True
        if self._repeating:
            self._repeat(move.document)
        elif self._decision is None:
            self._decide()
        else:
            if _run_id(move.document) != _run_id(guest):  # in the middle of something: that is what they answer next
                self._replies += current_question(self.bot, move.document, instant(self.now))
            self._go_on()

    def _start_over(self, guest: Document) -> None:
        """The channel was taken from the member since: whoever writes there now is a guest again."""
        self._member_id, self._linked = guest.member_id, False
        self._document = self._fresh()
        self._decide()


def _run_id(document: Document) -> str:
    return document.run.id if document.run else ""
