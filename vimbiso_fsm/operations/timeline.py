"""Reading the timeline of a member, page by page, and the state at one of its versions.

The entries are those of the store and the archive, with those of the guests and members that the member was before.
Only the entries of the page are read as objects, so a page of a long conversation costs little more than one of a
short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.audit.explain import Explanation, explain
from vimbiso_fsm.audit.masked_replies import ReplyMask
from vimbiso_fsm.audit.timeline import LOOK_BACK, Moment, Told, masked_fields, shown_state, timeline
from vimbiso_fsm.audit.trail import Trail, read_entry, read_incident
from vimbiso_fsm.channels.written import as_stored
from vimbiso_fsm.document.codec import decode
from vimbiso_fsm.document.document import Document, Fields
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.reading import Encrypted, Foreign, Newer, Sound, open_document, refuse_encrypted
from vimbiso_fsm.engine.salvage import NoSuchState, Salvage, kept_state, sub_flow_runs
from vimbiso_fsm.errors import DamagedDocument, EntryNotFound, StateNotKept, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.operations.guests import find_guest
from vimbiso_fsm.operations.history import read_lives
from vimbiso_fsm.operations.mend import read_remains
from vimbiso_fsm.operations.recover import waiting_for
from vimbiso_fsm.store.requests import (
    Broken,
    Entry,
    FindOwner,
    Load,
    ReadAudit,
    ReadDigests,
    ReadIncidents,
    ReadRecords,
    Record,
    Stored,
)
from vimbiso_fsm.store.retention import RECORDS_KEPT

PAGE: Final = 50
"""Moments of a page, unless another number is asked for."""


@attrs.frozen(eq=False, repr=False)
class Standing(Value):
    """Where a member stands now.

    Attributes:
        version: The version of the document.
        flow: The flow of the open run; "" without one.
        state: The state in which it stands.
        call: The service and the method of the pending call, and the number of its tries; None without one.
        waiting: The number of replies that wait for their delivery, and the most tries of one of them.
        timer: The instant at which the timer of the question passes; "" without one.
        ends: The instant at which the session ends; "" without one.
        inbox: The inbox whose person has the conversation; "" if none has.
        channels: The types of the member's channels.
    """

    version: int
    flow: str = ""
    state: str = ""
    call: tuple[str, int] | None = None
    waiting: tuple[int, int] = (0, 0)
    timer: str = ""
    ends: str = ""
    inbox: str = ""
    channels: tuple[str, ...] = ()


@attrs.frozen(eq=False, repr=False)
class Page(Value):
    """A page of a timeline.

    Attributes:
        member_id: The member.
        moments: The moments, oldest first.
        older: The key before which the next older page ends; "" on the oldest one.
        newer: Whether there are newer moments.
        standing: Where the member stands now; None if no document is stored, or it cannot be read.
        faults: A sentence for each part that cannot be read.
    """

    member_id: str
    moments: tuple[Moment, ...] = ()
    older: str = ""
    newer: bool = False
    standing: Standing | None = None
    faults: tuple[str, ...] = ()


async def read_timeline(
    bot: Bot, member_id: str, *, limit: int = PAGE, before: str = "", mask: ReplyMask | None = None
) -> Page:
    """Return a page of a member's timeline.

    Args:
        bot: The bot.
        member_id: The member.
        limit: The number of entries on the page, at least 1. Incidents between them are added.
        before: The key of a moment, as `Page.older` and `Moment.key`: the page has what was before it. A number is a
            version of the member. Empty for the latest page.
        mask: Masks the replies of the bot; made anew if not given.

    Raises:
        EntryNotFound: No entry has the key `before`.
        EncryptedState: The member's data is encrypted, and its key is not at hand.
        StoreUnavailable: The store did not answer.
    """
    faults: list[str] = []
    stored = await Load(member_id, previous=True)
    own = await _audit(member_id, faults)
    told = [Told(life.member_id, entry) for life in await _lives(member_id, own, faults) for entry in life.entries]
    told += [Told(member_id, entry) for entry in own]
    end = _place(member_id, told, before)
    begin = max(end - max(limit, 1), 0)
    context = max(begin - LOOK_BACK, 0)
    kept = await _kept(member_id, stored, faults)
    shown = [_with_kept(each, kept, own=each.member_id == member_id) for each in told[context:end]]
    incidents = await _incidents(member_id, told, begin, end, faults)
    moments = timeline(bot, mask or ReplyMask(bot), shown, incidents, skip=begin - context)
    older = f"{told[begin].member_id}/{told[begin].entry.version}" if begin else ""
    return Page(member_id, moments, older, end < len(told), _standing(stored, faults), tuple(faults))


async def find_member(bot: Bot, name: str) -> str:
    """Return the id of the member that a text names; the text itself if it names no channel.

    Args:
        bot: The bot.
        name: An id, or a channel as `TYPE:IDENTIFIER` or `TYPE/ACCOUNT:IDENTIFIER`.

    Raises:
        InvalidMessage: The text has the form of a channel, and is none.
        StoreUnavailable: The store did not answer.
    """
    route, colon, identifier = name.partition(":")
    type, _, account = route.partition("/")
    if not colon or type not in bot.validator.channel_types:
        return name
    channel = Channel(type, as_stored(type, identifier)).with_account(account)
    owner = (await FindOwner(channel)).member_id
    if owner:
        return owner
    guest, _ = await find_guest(await ReadDigests(), channel)
    return guest


async def read_explanation(bot: Bot, member_id: str, version: int) -> Explanation:
    """Explain the entry of a version. See `audit.explain.explain`.

    Raises:
        DamagedDocument: The audit cannot be read as a whole.
        EntryNotFound: No entry of this version is kept.
        Unreadable: The entry cannot be read.
    """
    entries = await ReadAudit(member_id, tolerant=True)
    return explain(bot, Trail(member_id, None, tuple(entry for entry in entries if entry.version)), version)


async def read_state(bot: Bot, member_id: str, version: int) -> Fields:
    """Return the state of a member at a version, as the audit shows it. See `audit.timeline.shown_state`.

    Raises:
        StateNotKept: The state at this version is not kept.
        EncryptedState: The member's data is encrypted, and its key is not at hand.
        StoreUnavailable: The store did not answer.
    """
    stored = await Load(member_id, previous=True)
    document = _documents(stored).get(version)
    if document is not None:
        return state_of(bot, document)
    try:
        records = await ReadRecords(member_id)
        entries = await ReadAudit(member_id, tolerant=True)
    except DamagedDocument as error:
        raise StateNotKept(member_id, version, error.fault) from None
    refuse_encrypted(member_id, *(record.body for record in records))
    read = next((read_entry(entry) for entry in reversed(entries) if entry.version == version), "")
    for record in records:
        if not isinstance(read, str) and record.token == read.token:
            with suppress(Unreadable):
                return shown_state(bot, record)
    raise StateNotKept(member_id, version, f"it is not kept; the states of the latest {RECORDS_KEPT} turns are")


def state_of(bot: Bot, document: Document) -> Fields:
    """Return the state in a document as the audit shows it; see `shown_state`. It also has what waits and is pending.

    Args:
        bot: The bot.
        document: The document.
    """
    run = document.run
    found: dict[str, Any] = {}
    if run is not None:
        found = {
            "flow": run.flow,
            "state": run.step,
            "run": run.id,
            "version": run.version,
            "data": masked_fields(bot, run.flow, run.version, run.fields),
            "questions": list(run.trail),
            "attempts": run.attempts,
        }
    if document.suspended:
        found["suspended"] = [f"{each.flow}.{each.step}" for each in document.suspended]
    if document.call is not None:
        found["call"] = {"name": f"{document.call.service}.{document.call.method}", "tries": document.call.tries}
    if document.outbox:
        found["waiting"] = [{"tries": each.tries, "rest": each.rest} for each in document.outbox]
    if document.reminders:
        found["reminders"] = [each.at.isoformat() for each in document.reminders]
    return found


async def document_at(bot: Bot, member_id: str, version: int) -> Document:
    """Return the document of a member at a version, for a trial of what would come after it.

    Its state is that of the version; all else, such as the profile, is that of now. Fields that are marked secret are
    kept at the latest version and the one before it only, so at others their questions are asked again.

    Args:
        bot: The bot.
        member_id: The member.
        version: The version.

    Raises:
        StateNotKept: The state at this version is not kept, or nothing can go on from it.
        EncryptedState: The member's data is encrypted, and its key is not at hand.
        StoreUnavailable: The store did not answer.
    """
    stored, remains = await read_remains(member_id)
    if isinstance(stored, Broken):
        raise StateNotKept(member_id, version, stored.fault)
    match open_document(bot, member_id, stored, instant(stored.at)):
        case Sound(now):
            pass
        case Newer(error) | Foreign(error) | Encrypted(error):
            raise error
        case _:
            raise StateNotKept(member_id, version, "the stored document is missing or damaged")
    if version == now.version:
        return now
    bare = attrs.evolve(now, run=None, suspended=(), call=None)
    try:
        found, _, _ = kept_state(bot, Salvage(bare, (), (), source="document"), remains, version)
    except NoSuchState as error:
        raise StateNotKept(member_id, version, error.fault) from None
    assert found.run is not None
    waiting = found.suspended or waiting_for(now, found.run)
    if not waiting and found.run.id in sub_flow_runs(bot, remains.entries):
        fault = "the member was in a flow that another had called, of which no state is kept"
        raise StateNotKept(member_id, version, fault)
    return attrs.evolve(found, suspended=waiting, version=version)


# The parts ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Kept:
    """What is kept of states: the records by their token, and the versions of the documents."""

    records: dict[str, Record]
    versions: frozenset[int]


async def _audit(member_id: str, faults: list[str]) -> tuple[Entry, ...]:
    try:
        found = await ReadAudit(member_id, tolerant=True)
    except DamagedDocument as error:
        faults.append(f"{member_id}: the audit cannot be read: {error.fault}")
        return ()
    lost = sum(not entry.version for entry in found)
    if lost:
        faults.append(f"{member_id}: places of the audit that hold no entry: {lost}")
    return tuple(entry for entry in found if entry.version)


async def _lives(member_id: str, own: Sequence[Entry], faults: list[str]) -> tuple[Any, ...]:
    promotions = [entry for entry in own if b'"move"' in entry.body]  # the others need not be read as objects
    try:
        return await read_lives(member_id, promotions)
    except DamagedDocument as error:
        faults.append(f"{member_id}: the entries before the promotion cannot be read: {error.fault}")
        return ()


def _place(member_id: str, told: Sequence[Told], before: str) -> int:
    """Return the number of entries that stand before a key."""
    if not before:
        return len(told)
    owner, _, number = before.rpartition("/")
    owner = owner or member_id
    for place, each in enumerate(told):
        if each.member_id == owner and str(each.entry.version) == number:
            return place
    version = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else 0
    raise EntryNotFound(owner, version, "give the version of an entry, as the timeline shows it")


async def _kept(member_id: str, stored: Stored | Broken, faults: list[str]) -> _Kept:
    try:
        records = await ReadRecords(member_id)
    except DamagedDocument as error:
        faults.append(f"{member_id}: the turn records cannot be read: {error.fault}")
        records = ()
    refuse_encrypted(member_id, *(record.body for record in records))
    return _Kept({record.token: record for record in records}, frozenset(_documents(stored)))


def _with_kept(told: Told, kept: _Kept, *, own: bool) -> Told:
    """Add what is kept of a turn. The member has inherited the records of the guest that it was, but no state."""
    read = read_entry(told.entry)
    record = None if isinstance(read, str) else kept.records.get(read.token)
    has_state = own and (record is not None or told.entry.version in kept.versions)
    return attrs.evolve(told, record=record, has_state=has_state)


def _documents(stored: Stored | Broken) -> dict[int, Document]:
    """Return the latest document and the one before it, by version, as far as they can be read."""
    found: dict[int, Document] = {}
    for data in (stored.previous, stored.document) if isinstance(stored, Stored) else ():
        with suppress(Unreadable):
            if data:
                document = decode(data)
                found[document.version] = document
    return found


async def _incidents(
    member_id: str, told: Sequence[Told], begin: int, end: int, faults: list[str]
) -> tuple[Incident, ...]:
    """Return the incidents between the entries of a page."""
    found: list[Incident] = []
    since = _instant(told, begin) if begin else None
    until = _instant(told, end) if end < len(told) else None
    for place, body in enumerate(await ReadIncidents(member_id), 1):
        read = read_incident(place, body)
        if isinstance(read, str):
            faults.append(read)
        elif (since is None or read.at >= since) and (until is None or read.at < until):
            found.append(read)
    return tuple(sorted(found, key=lambda incident: incident.at))


def _instant(told: Sequence[Told], place: int) -> datetime:
    """Return the instant of the first entry from a place on that can be read."""
    read = (read_entry(each.entry) for each in told[place:])
    return next((found.at for found in read if not isinstance(found, str)), datetime.max.replace(tzinfo=UTC))


def _standing(stored: Stored | Broken, faults: list[str]) -> Standing | None:
    if isinstance(stored, Broken):
        faults.append(stored.fault)
        return None
    if not stored.document:
        return None
    document = _documents(stored).get(stored.head.version)
    if document is None:
        faults.append("the stored document is damaged")
        return None
    run, call, outbox = document.run, document.call, document.outbox
    return Standing(
        version=document.version,
        flow=run.flow if run else "",
        state=run.step if run else "",
        call=None if call is None else (f"{call.service}.{call.method}", call.tries),
        waiting=(len(outbox), max((each.tries for each in outbox), default=0)),
        timer=run.due.isoformat() if run and run.due else "",
        ends=document.deadline.isoformat() if document.deadline else "",
        inbox=document.handed.inbox if document.handed else "",
        channels=tuple(dict.fromkeys(each.type for each in document.channels or (document.channel.address,))),
    )
