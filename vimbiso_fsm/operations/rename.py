"""The entries of the channel index under their current names, so that an earlier key can be forgotten.

A name is a keyed digest, from which no address can be told. The addresses stand in the documents of the members, and
looking one up moves its entry to its current name. The id of a guest is such a digest too. It cannot change, so an
earlier key is needed as long as the document of a guest that is named with it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant, is_guest_id
from vimbiso_fsm.engine.reading import Sound, open_document
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.shared import find_owner, restore_owner
from vimbiso_fsm.store.requests import Link, Load, ReadIndexKeys, Scan


@attrs.frozen
class Renaming:
    """The result of a renaming.

    Attributes:
        members: The number of members whose documents were read.
        channels: The number of entries of the index that stand under their current names.
        unknown: The number of other entries. No document that can be read has their channels.
        guests: The number of guests that are named with an earlier key.
        earlier: The number of earlier keys.
        recent: The number of earlier keys with which tokens may have been made that are kept.
        forgotten: Whether these keys were forgotten.
        restored: The number of entries that were written anew.
    """

    members: int
    channels: int
    unknown: int
    guests: int
    earlier: int
    forgotten: bool = False
    restored: int = 0
    recent: int = 0


async def rename(context: Context, *, forget: bool = False, lose: bool = False, restore: bool = False) -> Renaming:
    """Move the entries of the channels that documents name to their current names.

    Args:
        context: The context of the operation.
        forget: Whether the earlier keys are forgotten then, if no other entry, no guest and no token needs them.
        lose: Whether they are forgotten although other entries or tokens may need them, or guests do.
        restore: Whether the entry of a channel that leads to no member is written anew. It leads to the member whose
            document names it then, the latest one if there are several.
    """
    known: set[Address] = set()
    claimed: list[Document] = []
    guests = 0
    members = await Scan()
    for member_id in members:
        reading = open_document(context.bot, member_id, await Load(member_id), instant(context.now))
        if isinstance(reading, Sound):
            document = reading.document
            known.update(await _found(context, document.channels))
            place = context.bot.route(document.channel)
            guests += is_guest_id(member_id) and member_id != context.bot.digests.guest_id(place)
            if restore and not document.moved and not known.issuperset(document.channels):
                claimed.append(attrs.evolve(document, profile={}, run=None, suspended=()))
    restored = 0
    for document in sorted(claimed, key=lambda document: document.last_updated, reverse=True):
        for address in document.channels:
            if not document.is_leaving(address) and (await find_owner(context, address.channel)).member_id is None:
                request = Link(address.channel, document.member_id, guest=document.guest)
                if (await restore_owner(context, request)).member_id is not None:
                    known.add(address)
                    restored += 1
    keys = await ReadIndexKeys()
    unknown = max(0, keys.entries - len(known))
    found = Renaming(len(members), len(known), unknown, guests, keys.earlier, restored=restored, recent=keys.recent)
    if not (forget and keys.earlier and (lose or not (unknown or guests or keys.recent))):
        return found
    await ReadIndexKeys(forget=True)
    return attrs.evolve(found, forgotten=True)


async def _found(context: Context, addresses: Iterable[Address]) -> list[Address]:
    """Return the addresses whose entries stand in the index, each under its current name now."""
    found: list[Address] = []
    for address in addresses:
        linked = await find_owner(context, address.channel)
        if linked.member_id is not None:
            found.append(address if linked.own else address.without_account)
    return found
