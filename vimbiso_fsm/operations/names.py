"""The owner of the names that one message or fact carries, and the joining of those that are new.

A channel may know a member by several names: WhatsApp by a number and by ids of its own, which come together or alone.
Each name is an entry of the index by itself, and all are looked up in one trip.

one member      the other names are linked to the member; the guests on them end, as by `link.py`
no member       the guests on the names become one guest, whose document lists the names. The index leads each of them
                there for a while, and the first message on a name takes it, so that of two workers one is right
several         nothing tells which of them speaks, so nothing is merged or moved: an incident is recorded at each

A guest who has begun a call is joined later, after its outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant, is_guest_id, person_of
from vimbiso_fsm.errors import CallPending, ChannelTaken, DamagedDocument, DamagedKey, MemberNotFound, NotAMember
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.guests import find_guest, is_known
from vimbiso_fsm.operations.link import join_guest, link
from vimbiso_fsm.operations.shared import find_owner
from vimbiso_fsm.store.requests import FindOwner, FindOwners, Linked, Load, RecordIncident

BY: Final = "channel"
"""The cause of a link in the audit: the channel has told that two names are one speaker's."""


@attrs.frozen(eq=False, repr=False)
class Met(Value):
    """The owner of the names.

    Attributes:
        owner: The owner; a member, a guest, or none.
        place: The name by which the owner is known, as the bot tells it from others.
    """

    owner: Linked
    place: Channel


@attrs.frozen(eq=False, repr=False)
class Several(Value):
    """The names belong to several members.

    Attributes:
        members: The members, in the order of the names.
    """

    members: tuple[str, ...]


async def meet(context: Context, names: Sequence[Channel]) -> Met | Several:
    """Return the owner of the names that a message carries, after those that are new were joined to the owner.

    Args:
        context: The context of the operation.
        names: The channel under each of its names, as the bot tells it from others.

    Raises:
        Contended: Other writers were faster until the patience was over.
        NewerState, ForeignState, EncryptedState: A document on the way cannot be read.
    """
    guest = context.bot.digests.guest_id(names[0])
    takes = guest if context.door is None or context.door.has_room() else None
    owners = [linked.member_id for linked in await _find(context, [FindOwner(name, takes) for name in names])]
    known = _known(context, names, owners)
    if isinstance(known, Several):
        return known
    if known.owner.member_id is not None and not is_guest_id(known.owner.member_id):
        return await _with_member(context, names, owners, known)
    return await _with_guest(context, names, owners, guest)


async def find_known(context: Context, names: Sequence[Channel]) -> Met | Several:
    """Return the owner of the names that a fact carries. Nothing is joined, because the member has not spoken."""
    owners = [linked.member_id for linked in await _find(context, [FindOwner(name) for name in names])]
    known = _known(context, names, owners)
    if isinstance(known, Several) or known.owner.member_id is not None:
        return known
    for name in names:
        guest, stored = await find_guest(context.bot.digests, name)
        if is_known(stored):
            return Met(Linked(guest), name)
    return known


async def record_conflict(context: Context, member_id: str, channel: Channel, cause: str) -> None:
    """Record the incident that an address could not be led to a member.

    Args:
        context: The context of the operation.
        member_id: The member.
        channel: The address.
        cause: Why: "taken", "call pending" or "several members".
    """
    shown = context.bot.digests.shown(channel)
    incident = Incident(instant(context.now), "address", member_id, shown, detail={"cause": cause})
    await RecordIncident(member_id, incident.body)


async def _find(context: Context, asked: Sequence[FindOwner]) -> Sequence[Linked]:
    """Look names up in one trip. A damaged entry of the index is put aside and restored, as it is for one name."""
    try:
        return await FindOwners(tuple(asked)) if len(asked) > 1 else [await asked[0]]
    except DamagedKey:
        return [await find_owner(context, each.channel) for each in asked]


def _known(context: Context, names: Sequence[Channel], owners: Sequence[str | None]) -> Met | Several:
    """Return the owner of the first name that has one, a member before a guest, unless these are several members."""
    members: dict[str, Met] = {}
    for name, owner in zip(names, owners, strict=True):
        if owner is not None and not is_guest_id(owner):
            members.setdefault(person_of(owner, (name.address,)), Met(Linked(owner), name))
    if len(members) > 1:
        return Several(tuple(members))
    if members:
        return next(iter(members.values()))
    guests = (Met(Linked(owner), name) for name, owner in zip(names, owners, strict=True) if owner is not None)
    return next(guests, Met(Linked(None), names[0]))


async def _with_member(
    context: Context, names: Sequence[Channel], owners: Sequence[str | None], known: Met
) -> Met | Several:
    """Lead the other names to the member. One that cannot be led there now is led there by a later message."""
    owner = known.owner.member_id
    assert owner is not None
    for name, found in zip(names, owners, strict=True):
        if found is not None and not is_guest_id(found):
            continue
        try:
            await link(context, person_of(owner, (known.place.address,)), name, by=BY)
        except ChannelTaken as error:  # another message was faster
            return Several((error.member_id, error.owner))
        except CallPending:
            await record_conflict(context, owner, name, "call pending")
        except (DamagedDocument, MemberNotFound, NotAMember):  # the handling of the message repairs it, or begins anew
            return known
    for name in names:
        context.cache.linked(name.address, owner)
    return known


async def _with_guest(context: Context, names: Sequence[Channel], owners: Sequence[str | None], own: str) -> Met:
    """Lead all names to one guest: to the one on the first name if anything is stored of it, else to the first known.

    Args:
        context: The context of the operation.
        names: The names.
        owners: The guest that each name leads to; None for the first means its own guest.
        own: The id of the guest on the first name, who may not exist yet.
    """
    led = [owners[0] or own, *owners[1:]]
    target = led[0] or own
    others = [guest for guest in led if guest not in (None, own)]
    if others and target == own and not is_known(await Load(own)):
        target = others[0] or own
    for name, guest in zip(names, led, strict=True):
        if guest not in (None, target):  # where there is no room for new guests, a name without an owner has none
            try:
                await join_guest(context, target, name.address, guest, by=BY)
            except CallPending:
                return Met(Linked(guest), name)  # its conversation goes on by itself until the outcome is known
    for name in names:
        context.cache.linked(name.address, target)
    return Met(Linked(target), names[led.index(target)])
