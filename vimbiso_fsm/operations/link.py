"""Changes of the channels of members by an operator: link, unlink, relink, and the merge of two members.

A channel leads to one member at any time. Each change begins with a commit at the document that the channel leads to,
which ends the turns of the channel there: at the member (`leave.py`), or at the guest or the second member, whose
document ends and is merged into that of the first (`promote.py`). The index follows. Each operation may be repeated
after a failure at any point; it then completes what was begun, or finds that all is done.
"""

from __future__ import annotations

import itertools
from typing import Literal

import attrs

from vimbiso_fsm.document.document import Document, Moved, first_document
from vimbiso_fsm.document.ids import conversation_id, hashed, instant, is_guest_id
from vimbiso_fsm.engine.reading import Absent, Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.errors import CallPending, ChannelTaken, MemberNotFound, NotAMember, VimbisoError
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.guests import find_guest
from vimbiso_fsm.operations.history import merged_before
from vimbiso_fsm.operations.leave import leave, linked_to, part
from vimbiso_fsm.operations.promote import promote
from vimbiso_fsm.operations.recover import BY
from vimbiso_fsm.operations.reset import call_of
from vimbiso_fsm.operations.shared import find_owner
from vimbiso_fsm.operations.update import commit, read, refuse_broken, updated, with_entry
from vimbiso_fsm.store.requests import Committed, Head, Load, Quarantine, Stored


@attrs.frozen(eq=False, repr=False)
class Linking(Value):
    """The result of a link, unlink or relink.

    Attributes:
        member_id: The member.
        outcome: "linked", "unlinked", or "unchanged" if there was nothing to do.
        before: The member that the channel was taken from by a relink; None without one.
        flow: The flow of the guest on the channel that ended; empty without one.
    """

    member_id: str
    outcome: Literal["linked", "unlinked", "unchanged"]
    before: str | None = None
    flow: str = ""


@attrs.frozen(eq=False, repr=False)
class Merging(Value):
    """The result of a merge.

    Attributes:
        member_id: The member that ended.
        into: The member that goes on.
        outcome: "merged", or "unchanged" if that was done before.
        channels: The number of channels that were taken over.
        flow: The flow of the member that ended with it; empty without one.
    """

    member_id: str
    into: str
    outcome: Literal["merged", "unchanged"]
    channels: int = 0
    flow: str = ""


async def link(context: Context, member_id: str, channel: Channel, *, takes: bool = False, by: str = BY) -> Linking:
    """Link a channel to a member. The conversation of the guest on it ends.

    Args:
        context: The context of the operation.
        member_id: The member.
        channel: The channel.
        takes: Whether the channel is taken from another member (a relink).
        by: The cause, for the audit.

    Raises:
        CallPending: The guest on the channel waits for the outcome of a call.
        ChannelTaken: The channel is linked to another member, and `takes` is false.
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: The document of the member or of the present owner is damaged.
        MemberNotFound: Nothing is stored of the member.
        NotAMember: The id is that of a guest, or of a member that was merged into another.
        NewerState, ForeignState: A document is of a newer release, or of another bot.
    """
    place, before, flow, was_done = context.bot.route(channel), None, "", True
    address = place.address
    for attempt in itertools.count(1):
        own, stored = await _member(context, member_id)
        owner = (await find_owner(context, place)).member_id
        if owner is None or is_guest_id(owner):
            flow, was_done = await join_guest(context, member_id, address, owner, by=by), False
        elif owner in (member_id, conversation_id(member_id, address)):
            if owner != member_id or own is None or own.has(address) or await _list(context, own, stored, address, by):
                return Linking(member_id, "unchanged" if was_done else "linked", before, flow)
        elif await _take(context, owner, member_id, address, takes=takes):
            before, was_done = owner, False
        context.cache.forget(member_id, address)
        if attempt > 1:
            await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


async def unlink(context: Context, member_id: str, channel: Channel) -> Linking:
    """Take a channel from a member. The next message on it is a guest's.

    Raises:
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: The document is damaged.
        MemberNotFound: Nothing is stored of the member.
        NotAMember: The id is that of a guest, or of a member that was merged into another.
        NewerState, ForeignState: A document is of a newer release, or of another bot.
    """
    place = context.bot.route(channel)
    was_done = True
    for attempt in itertools.count(1):
        document, stored = await _member(context, member_id)
        addresses = document.linked(place.address) if document is not None else ()
        if not addresses and (await find_owner(context, place)).member_id == member_id:
            addresses = (place.address,)  # the document has lost it, or has expired
        if not addresses:
            return Linking(member_id, "unchanged" if was_done else "unlinked")
        was_done = False
        known = document or first_document(member_id, place, instant(stored.at), place.address)
        if not await part(context, known, stored, addresses):
            await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


async def merge(context: Context, member_id: str, into: str) -> Merging:
    """Merge a member, or a guest, into another member of the same person, and end it.

    Its channels lead to the other member then, whose profile, login and open flow stay. Its audit is a part of the
    other's history. Messages handled before stay handled.

    Raises:
        CallPending: The member waits for the outcome of a call.
        Contended: Other writers were faster until the patience was over.
        DamagedDocument: A document is damaged.
        MemberNotFound: Nothing is stored of one of the two, or the first has no document any more.
        NotAMember: The two are one, the second id is a guest's, or one was merged into another member before.
        NewerState, ForeignState: A document is of a newer release, or of another bot.
    """
    if member_id == into:
        raise NotAMember(member_id, "is to be merged into itself", "give two members")
    for attempt in itertools.count(1):
        source, stored = await _complete(context, member_id)
        if source is None and await merged_before(member_id) == into:
            return Merging(member_id, into, "unchanged")
        await _member(context, into)
        if source is None:
            raise await _refusal(member_id, stored) or MemberNotFound(member_id)
        if source.call is not None:
            raise CallPending(member_id, call_of(source))
        if await _end(context, source, stored.head, into, "merge"):
            for gone in (member_id, into):
                context.cache.forget(gone)
            flow = source.run.flow if source.run else ""
            return Merging(member_id, into, "merged", 1 if source.guest else len(source.channels), flow)
        await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


# The documents on both sides ------------------------------------------------------------------------------------------


async def _member(context: Context, member_id: str) -> tuple[Document | None, Stored]:
    """Return the document of a member, None if it has expired.

    Raises:
        MemberNotFound, NotAMember: The id names no member, or one that was merged into another.
    """
    if is_guest_id(member_id):
        raise NotAMember(member_id, "is the id of a guest, who has no linked channels", "give the id of a member")
    document, stored = await _complete(context, member_id)
    if document is None and (refusal := await _refusal(member_id, stored)) is not None:
        raise refusal
    return document, stored


async def _complete(context: Context, member_id: str) -> tuple[Document | None, Stored]:
    """Return what is stored of a member or guest, after what was begun there is complete."""
    for attempt in itertools.count(1):
        stored = await Load(member_id)
        document = read(context.bot, member_id, stored)
        assert isinstance(stored, Stored)
        if document is not None and document.moved is not None:
            await promote(context, document, stored.head)
        elif document is not None and document.leaving:
            await leave(context, document, stored.head)
        else:
            return document, stored
        await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


async def _refusal(member_id: str, stored: Stored) -> VimbisoError | None:
    """Return the error for a member without a document; None if it has only expired."""
    if not stored.head.version:
        return MemberNotFound(member_id)
    other = await merged_before(member_id)
    return NotAMember(member_id, f"was merged into member {other!r}", "give that one") if other is not None else None


async def _list(context: Context, document: Document, stored: Stored, address: Address, by: str) -> bool:
    """Link a channel in the document of the member that the index leads to; return whether it is stored."""
    token = hashed("link", document.member_id, str(stored.head.version), stored.head.digest)
    after = linked_to(document, (address,))
    decision = updated(context.bot, document, after, token, stored.at, version=stored.head.version)
    detail = {"channels": [context.bot.digests.shown(after.channel)], "by": by}
    result = await commit(context, with_entry(decision, kind="link", detail=detail), stored.head)
    refuse_broken(document.member_id, result)
    return isinstance(result, Committed)


async def _take(context: Context, owner: str, member_id: str, address: Address, *, takes: bool) -> bool:
    """Take a channel from the member that it is linked to; return whether that was done now."""
    document, stored = await _complete(context, owner)
    channel = address.channel
    if (await find_owner(context, channel)).member_id != owner:
        return False  # what was begun there has moved it
    if not takes:
        raise ChannelTaken(address.type, member_id, owner)
    addresses = (document.linked(address) if document is not None else ()) or (address,)
    known = document or first_document(owner, channel, instant(stored.at), address)
    return await part(context, known, stored, addresses, to=member_id)


async def join_guest(
    context: Context, member_id: str, address: Address, named: str | None = None, *, by: str = BY
) -> str:
    """End the conversation of the guest on a channel, and lead the channel to a member; return the guest's flow.

    The guest's document may not exist yet. It is made then, so that no first message is stored meanwhile.

    Args:
        context: The context of the operation.
        member_id: The member, or another guest.
        address: The channel.
        named: The guest to whom the index leads the channel; None if it leads to none.
        by: The cause, for the audit.

    Raises:
        CallPending: The guest waits for the outcome of a call.
    """
    if named is None:
        guest, stored = await find_guest(context.bot.digests, address)
    else:
        guest, stored = named, await Load(named)
    match open_document(context.bot, guest, stored, instant(context.now)):
        case Sound(document):
            if document.moved is not None:
                await promote(context, document, stored.head)
                return ""
        case Absent():
            channel = address.channel
            document = first_document(guest, channel, instant(context.now), address, version=stored.head.version)
        case Newer(error) | Foreign(error) | Encrypted(error):
            raise error
        case _:
            await Quarantine(guest, stored.head)
            return ""
    if document.call is not None:
        raise CallPending(guest, call_of(document))
    ended = await _end(context, document, stored.head, member_id, "link", by)
    return document.run.flow if ended and document.run else ""


async def _end(context: Context, document: Document, head: Head, into: str, kind: str, by: str = BY) -> bool:
    """End a document and merge it into that of a member; return whether no other writer was faster."""
    member_id = document.member_id
    token = hashed("join", member_id, str(head.version), head.digest)
    after = attrs.evolve(document, moved=Moved(into, head.version + 1, joined=True, token=token))
    decision = updated(context.bot, document, after, token, context.now, version=head.version)
    result = await commit(context, with_entry(decision, kind=kind, detail={"by": by}), head)
    refuse_broken(member_id, result)
    if not isinstance(result, Committed):
        return False
    await promote(context, decision.document, result.head)
    context.cache.forget(member_id)
    return True
