"""A channel is taken from the list of a member that the index does not lead it to.

The list of a member and the index are changed by two requests. A promotion that was decided while the channel had no
owner adds it to the list, and its `Link` is refused, because the channel was linked to another member meanwhile.
"""

from __future__ import annotations

import itertools

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.engine.reading import Absent, Sound, open_document
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.shared import find_owner
from vimbiso_fsm.operations.update import commit, refuse_broken, updated, with_entry
from vimbiso_fsm.store.requests import Committed, Load


async def unlist(context: Context, member_id: str, address: Address) -> None:
    """Take a channel from the list of a member, if it is another member's.

    A channel that is on its way from that other member stays: the way may lead here. It is looked at after the list was
    read, and the commit is made on what was read, so it loses against a way that has led here since.

    Args:
        context: The context of the operation.
        member_id: The member.
        address: The channel.

    Raises:
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: A key beside the document is damaged.
    """
    for attempt in itertools.count(1):
        stored = await Load(member_id)
        reading = open_document(context.bot, member_id, stored, instant(context.now))
        if not isinstance(reading, Sound) or reading.document.moved is not None or not reading.document.has(address):
            return
        if not await _is_of_another(context, member_id, address):
            return
        document, head = reading.document, stored.head
        token = hashed("unlist", member_id, str(head.version), head.digest)
        decision = updated(context.bot, document, _without(document, address), token, stored.at, version=head.version)
        detail = {"channels": [context.bot.digests.shown(address)], "by": "link"}
        result = await commit(context, with_entry(decision, kind="unlink", detail=detail), head)
        refuse_broken(member_id, result)
        context.cache.forget(member_id, address)
        if isinstance(result, Committed):
            return
        await context.pause(member_id, attempt)


async def _is_of_another(context: Context, member_id: str, address: Address) -> bool:
    """Return whether the index leads a channel to another member, where it stays."""
    owner = (await find_owner(context, address.channel)).member_id
    if owner is None or owner == member_id:
        return False
    match open_document(context.bot, owner, await Load(owner), instant(context.now)):
        case Sound(document):
            return document.moved is None and document.has(address) and not document.is_leaving(address)
        case Absent():
            return True
        case _:
            return False


def _without(document: Document, address: Address) -> Document:
    gone = {address, address.without_account}
    channels = tuple(known for known in document.channels if known not in gone)
    after = attrs.evolve(document, channels=channels)
    if channels and not after.has(after.channel.address):
        after = attrs.evolve(after, channel=channels[-1].channel)
    return after
