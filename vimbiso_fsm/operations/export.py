"""Export of all that is stored of a member, for the person that it is about.

The document, the one before it, the history, the incidents and the turn records are given in clear, without login
tokens, tokens of turns, keys of calls and the fields that an author has marked `SECRET`. Of a pending call only the
names of the arguments are given, because a secret may be among their values. Quarantined data is damaged, so its
secrets cannot be told from the rest: it is named with its size.

An export reads and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from vimbiso_fsm.audit.entries import Incident, ends_of_lives, long_form, unseal
from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.document.document import Document, Fields
from vimbiso_fsm.document.ids import instant, is_guest_id
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.engine.reading import faults, refuse_encrypted
from vimbiso_fsm.engine.salvage import intact_entries
from vimbiso_fsm.errors import DamagedDocument, MemberNotFound, NotAMember, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import without
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.history import merged_before, read_lives
from vimbiso_fsm.operations.update import read
from vimbiso_fsm.store.requests import (
    Entry,
    Load,
    ReadAudit,
    ReadIncidents,
    ReadQuarantine,
    ReadRecords,
    Scan,
    ShowQuarantined,
    Stored,
)

_DIGESTS: Final = ("token", "root", "document", "previous")
"""Fields of an audit entry that are left out: the tokens, and the digests of a document with its secrets, from which a
short secret could be guessed."""

_CHOICES: Final = ("shown",)
"""The choices of the question that is open. Where it asks for a secret, its value is among them."""


@attrs.frozen
class Exported:
    """All that is stored of a member.

    Attributes:
        member_id: The member.
        value: The data as JSON holds it: "member", "at" (the instant of the export), and "conversations", a list with
            one object for each account of the bot. Each has "id", "channels", "document" and "previous" (null where
            none is kept), "history", "incidents", "turns" and "quarantine", which are lists with the oldest first.
        faults: A sentence for each part that cannot be read and is therefore missing; none when the export is whole.
            No value is quoted.
    """

    member_id: str
    value: Fields = attrs.field(repr=False)
    faults: tuple[str, ...] = ()


async def export(context: Context, member_id: str) -> Exported:
    """Return all that is stored of a member, or of a guest, in all conversations with accounts of the bot.

    Args:
        context: The context of the operation.
        member_id: The member; the id of one of the conversations names it too.

    Raises:
        DamagedDocument: A document is damaged.
        MemberNotFound: Nothing is stored of the member.
        NewerState, ForeignState: A document is of a newer release, or of another bot.
        NotAMember: The member was merged into another one, or the guest became one, which the error names.
    """
    stored = await Load(member_id)
    document = read(context.bot, member_id, stored)
    moved_to = (
        document.moved.to if document and document.moved else None if document else await merged_before(member_id)
    )
    if moved_to is not None:
        raise NotAMember(member_id, f"became member {moved_to!r}", "give that one")
    person = document.person if document is not None else member_id
    conversations: list[Fields] = []
    wrong: list[str] = []
    for name in await _conversations(context.bot, person):
        found = await _conversation(context.bot, person, name, wrong)
        if found is not None:
            conversations.append(found)
    if not conversations:
        raise MemberNotFound(member_id)
    value = {"member": person, "at": instant(context.now).isoformat(), "conversations": conversations}
    return Exported(person, value, tuple(wrong))


async def _conversations(bot: Bot, person: str) -> tuple[str, ...]:
    """Return the ids under which conversations of a member may be stored. Each server is asked for all of its keys."""
    if is_guest_id(person):
        return (person,)
    types = "|".join(map(re.escape, bot.validator.channel_types))
    further = re.compile(rf"{re.escape(person)}@(?:{types}):.+", re.DOTALL)
    return (person, *(name for name in await Scan() if further.fullmatch(name)))


async def _conversation(bot: Bot, person: str, name: str, wrong: list[str]) -> Fields | None:
    """Return what is stored of one conversation; None if it is nothing, or another person's."""
    stored = await Load(name, previous=True)
    document = read(bot, name, stored)
    if document is not None and document.person != person:
        return None
    assert isinstance(stored, Stored)
    entries = await _audit(name, wrong)
    began = None
    if is_guest_id(name):  # earlier entries and incidents may be those of another person on the channel
        entries = _current_life(entries)
        began = min((entry.at for entry in intact_entries(entries)), default=instant(stored.at))
    history = [*await _earlier(name, entries, wrong), *((name, entry) for entry in entries)]
    parts: dict[str, Any] = {
        "document": document_without_secrets(bot, document) if document is not None else None,
        "previous": _previous(bot, name, stored, wrong),
        "history": [found for owner, entry in history if (found := _entry(owner, entry, wrong)) is not None],
        "incidents": await _incidents(name, began, wrong),
        "turns": await _turns(bot, name, [entry for _, entry in history], wrong),
        "quarantine": await _quarantine(name),
    }
    if not any(parts.values()):
        return None
    channels = () if document is None else (document.channel.address,) if document.guest else document.channels
    return {"id": name, "channels": [attrs.asdict(address) for address in channels], **parts}


# The parts ------------------------------------------------------------------------------------------------------------


def document_without_secrets(bot: Bot, document: Document) -> dict[str, Any]:
    """Return a document as plain data of the wire's shape, without what the export leaves out.

    Args:
        bot: The bot with the flows of the document.
        document: The document.
    """
    raw = document_to_raw(document)
    found: dict[str, Any] = {**without(raw, ("jwt_token", "_salt")), "profile": without(raw["profile"], bot.secrets)}
    found["flow_data"] = _flow_data_without_secrets(bot, raw["flow_data"])
    if "_run" in raw:
        found["_run"] = without(raw["_run"], _CHOICES)
    if "_suspended" in raw:
        found["_suspended"] = [
            {**without(run, _CHOICES), "flow_data": _flow_data_without_secrets(bot, run["flow_data"])}
            for run in raw["_suspended"]
        ]
    if "_call" in raw:
        call = without(raw["_call"], ("key", "root", "answer"))
        found["_call"] = {**call, "arguments": sorted(raw["_call"]["arguments"])}
    if "_outbox" in raw:
        found["_outbox"] = [without(waiting, ("id",)) for waiting in raw["_outbox"]]
    if "_reminders" in raw:
        found["_reminders"] = [_reminder_without_secrets(bot, reminder) for reminder in raw["_reminders"]]
    if "_passing" in raw:
        found["_passing"] = [without(item, ("id",)) for item in raw["_passing"]]
    if "_leaving" in raw:
        found["_leaving"] = [without(leaving, ("to", "token")) for leaving in raw["_leaving"]]
    return found


def _reminder_without_secrets(bot: Bot, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    data, flow = raw.get("data"), raw.get("flow")
    shown = without(raw, ("id", "data"))
    return {**shown, "data": without(data, bot.secrets_of(flow))} if data and flow else shown


def _flow_data_without_secrets(bot: Bot, flow_data: Mapping[str, Any]) -> Mapping[str, Any]:
    if not flow_data:
        return flow_data
    data = flow_data["data"]
    return {**flow_data, "data": without(data, bot.secrets_of(data["flow_type"]))}


def _previous(bot: Bot, name: str, stored: Stored, wrong: list[str]) -> Fields | None:
    if stored.previous is None:
        return None
    refuse_encrypted(name, stored.previous)
    document, found = faults(bot, stored.previous)
    if document is None or document.member_id != name:
        wrong.append(f"{name}: the document before the latest is damaged: {'; '.join(found[:3]) or 'it is of another'}")
        return None
    return document_without_secrets(bot, document)


async def _audit(name: str, wrong: list[str]) -> tuple[Entry, ...]:
    try:
        found = await ReadAudit(name, tolerant=True)
    except DamagedDocument as error:
        wrong.append(f"{name}: the audit cannot be read: {error.fault}")
        return ()
    lost = sum(not entry.version for entry in found)
    if lost:
        wrong.append(f"{name}: places of the audit that hold no entry: {lost}")
    return tuple(entry for entry in found if entry.version)


def _current_life(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries of the person who speaks on a guest's channel now."""
    began = max(ends_of_lives(intact_entries(entries)), default=0)
    return tuple(entry for entry in entries if entry.version > began)


async def _earlier(name: str, entries: Sequence[Entry], wrong: list[str]) -> list[tuple[str, Entry]]:
    """Return the entries of the guests and members that the member was, each with the id."""
    try:
        lives = await read_lives(name, entries)
    except DamagedDocument as error:
        wrong.append(f"{name}: the history before the promotion cannot be read: {error.fault}")
        return []
    return [(life.member_id, entry) for life in lives for entry in life.entries]


def _entry(name: str, entry: Entry, wrong: list[str]) -> Fields | None:
    try:
        unseal(entry)
    except Unreadable as error:
        wrong.append(f"{name}: entry {entry.version} cannot be read: {error}")
        return None
    return without(long_form(entry), _DIGESTS)


async def _incidents(name: str, began: datetime | None, wrong: list[str]) -> list[Fields]:
    found: list[Fields] = []
    for place, body in enumerate(await ReadIncidents(name), 1):
        try:
            event = Incident.read(body)
        except Unreadable as error:
            wrong.append(f"{name}: incident {place} cannot be read: {error}")
            continue
        if began is None or event.at >= began:
            found.append(without(loads(body), _DIGESTS))
    return found


async def _turns(bot: Bot, name: str, entries: Sequence[Entry], wrong: list[str]) -> list[Fields]:
    """Return the turn records, each with the instant of its turn; null where its entry is not kept."""
    try:
        records = await ReadRecords(name)
    except DamagedDocument as error:
        wrong.append(f"{name}: the turn records cannot be read: {error.fault}")
        return []
    refuse_encrypted(name, *(record.body for record in records))
    at = {entry.token: entry.at.isoformat() for entry in intact_entries(entries)}
    found: list[Fields] = []
    for place, record in enumerate(records, 1):
        try:
            body = read_record(record.body)
            flow_data = _flow_data_without_secrets(bot, body["flow_data"])
        except (Unreadable, KeyError, TypeError):
            wrong.append(f"{name}: turn record {place} cannot be read")
            continue
        found.append({"at": at.get(record.token), **body, "flow_data": flow_data})
    return found


async def _quarantine(name: str) -> list[Fields]:
    found: list[Fields] = []
    for item in await ReadQuarantine(name):
        size = sum(map(len, await ShowQuarantined(name, item)))
        found.append({"what": item.what, "version": item.version, "bytes": size})
    return found
