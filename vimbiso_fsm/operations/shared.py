"""Reading of keys that belong to no single member: due sets, leases and the index of channels.

Damage to one of them stops no work but its own. It is put aside, an incident of the store records it, and what can be
known from elsewhere is restored: the wake-ups of a shard from its documents, the owner of a channel from the audit of
the guest that became the owner.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, TypeVar, cast

import attrs

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.reading import Absent, Sound, open_document
from vimbiso_fsm.errors import DamagedKey, UnknownLayout
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.claim import decode_owner
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.history import read_legible
from vimbiso_fsm.store.index import is_record
from vimbiso_fsm.store.requests import (
    Effect,
    FindOwner,
    Heartbeat,
    Lease,
    Leased,
    Link,
    Linked,
    Load,
    ReadDue,
    ReadStoreRecord,
    RecordIncident,
    Scan,
    SetAside,
    StoreRecord,
    Unlink,
    shard_of,
)
from vimbiso_fsm.store.retention import SHARDS

R = TypeVar("R")

MENDED_AT_MOST = 3
"""Times that damage is put aside for one request: a key may be damaged again before the request is repeated."""
BYTES_SHOWN = 64
"""Bytes of a damaged entry that its incident shows, as hexadecimal digits."""


async def heartbeat(context: Context, request: Heartbeat) -> tuple[str, ...]:
    """Report a worker as present, and return the workers that are present.

    The answer to a load tells the shell the store's time. An idle worker asks nothing else that does.
    """
    workers = await _mended(context, request)
    await Load(request.worker)  # no member has this id
    return workers


async def lease(context: Context, request: Lease) -> Leased:
    """Take, renew or return the lease of a shard."""
    return await _mended(context, request)


async def due_members(context: Context, request: ReadDue) -> tuple[str, ...]:
    """Return the members of a shard who are to be woken, those of the request and after damage all of the shard.

    A damaged entry named a member, and nothing tells which. A member who is woken without need gets the wake-up that
    their document says.
    """
    try:
        return await request
    except DamagedKey as error:
        await _set_aside(context, error)
    return tuple(member_id for member_id in await Scan() if shard_of(member_id) == request.shard)


async def change_owner(context: Context, request: Link | Unlink) -> Linked:
    """Link or unlink a channel. A damaged entry of the index is put aside and counts as none."""
    return await _mended(context, request)


async def find_owner(context: Context, channel: Channel) -> Linked:
    """Return the owner of a channel. A damaged entry of the index is put aside and restored."""
    try:
        return await FindOwner(channel)
    except DamagedKey as error:
        await _set_aside(context, error)
    return await proven_owner(context, channel, None) or Linked(None)


async def proven_owner(context: Context, channel: Channel, instead_of: str | None) -> Linked | None:
    """Restore the entry of a channel in the index, if two sides agree on another owner than it names.

    These are the audit of the channel's guest, which says who the guest has become, and the document of that member,
    which has the channel.

    Args:
        context: The context of the operation.
        channel: The channel.
        instead_of: The owner that the index names; None for none.

    Returns:
        The owner that is linked now; None where there is no such member.
    """
    latest = [await read_legible(guest, 1) for guest in context.bot.digests.guest_ids(channel)]
    member_id = next((entry.detail.get("moved_to") for [entry] in filter(None, latest)), None)
    if not isinstance(member_id, str) or member_id == instead_of:
        return None
    reading = open_document(context.bot, member_id, await Load(member_id), instant(context.now))
    address = channel.address
    if not isinstance(reading, Sound) or not reading.document.has(address) or reading.document.is_leaving(address):
        return None
    linked = await restore_owner(context, Link(channel, member_id, instead_of))
    await record_damage(context, "index", member_id, context.bot.digests.shown(channel))
    return linked


async def restore_owner(context: Context, request: Link) -> Linked:
    """Write the entry of a channel anew, because the document of a member has the channel and the index does not.

    No way leads there that would note the change, and the channel may have left the member since the document was read.
    So the document is read again, and an entry that it does not have is taken back.

    Args:
        context: The context of the operation.
        request: The change of the index.
    """
    linked = await change_owner(context, request)
    while linked.member_id == request.member_id and not await _is_listed(context, request.member_id, request.channel):
        linked = await change_owner(context, Unlink(request.channel, request.member_id))
        if linked.member_id is None and await _is_listed(context, request.member_id, request.channel):
            linked = await change_owner(context, attrs.evolve(request, instead_of=None))
    return linked


async def _is_listed(context: Context, member_id: str, channel: Channel) -> bool:
    """Return whether the document of a member has a channel. One that cannot be read has what it had."""
    reading = open_document(context.bot, member_id, await Load(member_id), instant(context.now))
    if isinstance(reading, Absent):
        return False
    address = channel.address
    return not isinstance(reading, Sound) or (
        reading.document.has(address) and not reading.document.is_leaving(address)
    )


# Records of the store ------------------------------------------------------------------------------------------------

STORE_RECORDS: Final[tuple[StoreRecord, ...]] = ("index", "shards", "owner")
"""The records that a store keeps once. Without one of them, the next manager that starts writes it anew."""


async def damaged_records(also: Collection[StoreRecord] = ()) -> dict[StoreRecord, tuple[bytes, ...]]:
    """Return the records of the store that cannot be read, with the bytes of each; none for one of another type.

    Args:
        also: Records that are returned although they can be read.
    """
    found: dict[StoreRecord, tuple[bytes, ...]] = {}
    for name in STORE_RECORDS:
        try:
            record = await ReadStoreRecord(name)
        except DamagedKey:
            found[name] = ()
        else:
            if record is not None and (name in also or not await _is_sound(name, record)):
                found[name] = (record,)
    return found


async def _is_sound(name: StoreRecord, record: bytes) -> bool:
    """Whether a record can be read. The members that are found say that the store has the shards of this release."""
    if name == "index":
        return is_record(record)
    if name == "shards":
        return record == b"%d" % SHARDS or (record.isdigit() and not await Scan())
    try:
        decode_owner(record)
    except UnknownLayout:
        return False
    return True


async def repair_records(now: float, also: Collection[StoreRecord] = ()) -> tuple[StoreRecord, ...]:
    """Put the records of the store aside that cannot be read, and record an incident for each; return their names.

    Args:
        now: Seconds since the epoch.
        also: Records that are put aside although they can be read.
    """
    damaged = await damaged_records(also)
    for name, entries in damaged.items():
        await SetAside(ReadStoreRecord(name), entries)
    for name in damaged:
        await RecordIncident(None, Incident(instant(now), "damage", detail={"key": name}).body)
    return tuple(damaged)


# Damaged keys ---------------------------------------------------------------------------------------------------------


async def _mended(context: Context, request: Effect[R]) -> R:
    for _ in range(MENDED_AT_MOST):
        try:
            return await request
        except DamagedKey as error:
            await _set_aside(context, error)
    return await request


async def _set_aside(context: Context, error: DamagedKey) -> None:
    """Put what is damaged aside and record an incident for each entry, or for the key as a whole."""
    request = cast("ReadDue | Heartbeat | Lease | FindOwner | Link | Unlink", error.request)
    await SetAside(request, error.entries)
    shard = getattr(request, "shard", None)
    place = request.channel if isinstance(request, FindOwner | Link | Unlink) else None
    channel = ("", "") if place is None else context.bot.digests.shown(place)
    for entry in error.entries or (b"",):
        facts = {"shard": shard, "entry": entry[:BYTES_SHOWN].hex()}
        await record_damage(context, type(request).__name__, None, channel, **facts)


async def record_damage(
    context: Context, key: str, member_id: str | None, channel: tuple[str, str] = ("", ""), **facts: str | int | None
) -> None:
    """Record the incident that damage was met.

    Args:
        context: The context of the operation.
        key: What is damaged: "document", "index", or the name of the request that met it.
        member_id: The member whose incidents it belongs to; None for those of the store.
        channel: The channel, as an incident has it.
        **facts: Further facts, of which None is left out. They quote no data of a member.
    """
    detail = {"key": key, **{name: fact for name, fact in facts.items() if fact is not None}}
    incident = Incident(instant(context.now), "damage", member_id, channel, detail=detail)
    await RecordIncident(member_id, incident.body)
