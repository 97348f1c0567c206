"""The way of a channel from its member to another one, or back to a guest.

    Commit          at the member: unlink the channel in the document, and note where it goes (`Document.leaving`)
    ReadInherited   read the member's tokens
    Commit          at the guest or the other member, which gets the tokens: what was handled stays handled
    Load            see whether the note is still there: it may be done already, and the channel come back
    Unlink or Link  take the channel from the member in the index, or give it to the other one; this is made once
    Commit          at the member: clear the note

The first commit decides: from then on no turn of the channel is stored at the member, also not by a worker with an old
copy, whose commit is answered with the document that has the note. Each further step is idempotent and is repeated
by the next reader of the note: a message, a worker, or the operator. A channel that leaves a member before the index
leads there first arrives, so that the changes of the index keep the order of the commits. Tokens are handed on, which
are hashes, and whether the address wants no messages, which is a state of the address. The next speaker on the channel
gets nothing else of the member.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import attrs

from vimbiso_fsm.audit.entries import entry_for, seal
from vimbiso_fsm.document.document import Document, Leaving, first_document
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.engine.passing import end_of
from vimbiso_fsm.engine.reading import Absent, Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.fit import fitted
from vimbiso_fsm.operations.guests import find_guest
from vimbiso_fsm.operations.promote import find_conversation, promote, take_over_tokens
from vimbiso_fsm.operations.recover import BY
from vimbiso_fsm.operations.shared import change_owner, find_owner
from vimbiso_fsm.operations.update import commit, read, refuse_broken, updated, with_entry
from vimbiso_fsm.store.requests import (
    Broken,
    Committed,
    Duplicate,
    Head,
    Inherited,
    Link,
    Load,
    Quarantine,
    ReadInherited,
    Stored,
    Unlink,
    Wipe,
)


async def part(
    context: Context,
    document: Document,
    stored: Stored,
    addresses: tuple[Address, ...],
    *,
    to: str | None = None,
    kind: str = "unlink",
    detail: Mapping[str, object] | None = None,
) -> bool:
    """Begin the way of channels in the document of their member, and complete it.

    Args:
        context: The context of the operation.
        document: The member's document; a new one where it has expired.
        stored: The stored data that it was read from.
        addresses: The channels.
        to: The member that gets them; None for guests.
        kind: The kind of the audit entry.
        detail: Further facts for the audit entry.

    Returns:
        Whether it was done. If not, another writer was faster, and nothing was changed.
    """
    member_id, head = document.member_id, stored.head
    token = hashed("part", member_id, str(head.version), head.digest)
    after = attrs.evolve(document, version=head.version + 1).parted(addresses, to, token=token)
    handed, ends = document.handed, dict[str, object]()
    if handed is not None and (not after.channels or after.channel != document.channel):
        end = end_of(handed, token, instant(stored.at))
        after = attrs.evolve(after, handed=None, passing=(*after.passing, end))
        ends = {"inbox": handed.inbox, "handed": "back", "ended": "channel"}
    decision = updated(context.bot, document, after, token, stored.at, version=head.version)
    digests = [context.bot.digests.shown(address) for address in addresses]
    facts = {"channels": digests, **(detail or {}), **ends, "by": BY}
    result = await commit(context, with_entry(decision, kind=kind, detail=facts), head)
    refuse_broken(member_id, result)
    if not isinstance(result, Committed):
        return False
    await leave(context, decision.document, result.head)
    return True


async def leave(context: Context, document: Document, head: Head) -> None:
    """Complete the way of the channels that are leaving a member.

    Args:
        context: The context of the operation.
        document: The member's document.
        head: Its head.

    Raises:
        Contended: Other writers were faster until the patience was over.
        NewerState: A newer release has stored a document on the way.
        ForeignState: A document on the way is of a flow that the bot never had.
    """
    for leaving in document.leaving:
        context.cache.forget(document.member_id, leaving.address)
        await _arrive(context, document.member_id, leaving.address)
        await _go(context, document, leaving)
    await _clear(context, document, head)


async def _arrive(context: Context, member_id: str, address: Address) -> None:
    """Complete the way of a channel to a member, whose document has it before the index leads there.

    Else the index would lead there after the channel has left.
    """
    owner = (await find_owner(context, address.channel)).member_id
    if owner == member_id:
        return
    if owner is None:
        source, stored = await find_guest(context.bot.digests, address)
    else:
        source, stored = owner, await Load(owner)
    reading = open_document(context.bot, source, stored, instant(context.now))
    if not isinstance(reading, Sound):
        return
    if reading.document.moved is not None:
        await promote(context, reading.document, stored.head)
    for leaving in reading.document.leaving:
        if leaving.address == address:
            await _go(context, reading.document, leaving)


async def _go(context: Context, document: Document, leaving: Leaving) -> None:
    """Hand a channel that is leaving a member to the next one, and change the index."""
    member_id, channel = document.member_id, leaving.address.channel
    if (await find_owner(context, channel)).member_id != member_id:
        return  # done before
    tokens = await ReadInherited(member_id)
    heir = None
    if leaving.to is not None:
        heir = await _hand_to_member(context, document, leaving, leaving.to, tokens)
    else:
        await _hand_to_guest(context, document, leaving, tokens)
    if not await _is_leaving(context, member_id, leaving):
        return  # done before, and the channel has come back since
    way = hashed("way", member_id, str(leaving.version), leaving.token)
    if heir is None:
        await change_owner(context, Unlink(channel, member_id, way))
        return
    await change_owner(context, Link(channel, heir, instead_of=member_id, way=way))
    if channel.account:  # the entry without one would answer for other accounts
        await change_owner(context, Unlink(channel.with_account(""), member_id, way))


async def _is_leaving(context: Context, member_id: str, leaving: Leaving) -> bool:
    """Return whether the note of a channel is still there. A document that cannot be read has it as before."""
    reading = open_document(context.bot, member_id, await Load(member_id), instant(context.now))
    return not isinstance(reading, Sound) or leaving in reading.document.leaving


async def _clear(context: Context, document: Document, head: Head) -> None:
    """Remove the notes of channels that have left, and with them what the addresses want."""
    member_id, done = document.member_id, document.leaving
    gone = {leaving.address for leaving in done}
    for attempt in itertools.count(1):
        left = tuple(leaving for leaving in document.leaving if leaving not in done)
        if left == document.leaving:
            return
        token = hashed("left", member_id, str(head.version), head.digest)
        wishes = tuple(out for out in document.opted_out if document.has(out.address) or out.address not in gone)
        after = attrs.evolve(document, leaving=left, opted_out=wishes)
        decision = updated(context.bot, document, after, token, context.now, version=head.version)
        result = await commit(
            context, with_entry(decision, kind="unlink", detail={"done": len(done), "by": _by(*done)}), head
        )
        refuse_broken(member_id, result)
        if isinstance(result, Committed):
            return
        await context.pause(member_id, attempt)
        stored = await Load(member_id)
        current = read(context.bot, member_id, stored)
        if current is None:
            return
        document, head = current, stored.head


def _by(*leaving: Leaving) -> str:
    """Return the cause of the way: a login, or an operator."""
    return "login" if any(each.undone for each in leaving) else BY


def _token(context: Context, member_id: str, leaving: Leaving) -> str:
    guest = context.bot.digests.guest_id(leaving.address)  # no token is a digest of the address without a key
    return hashed("leave", member_id, str(leaving.version), guest, *([leaving.token] if leaving.token else []))


def _with_wish(document: Document, source: Document, leaving: Leaving) -> Document:
    """Return the document that gets a channel, with the note of its source that the address wants no messages."""
    wishes = (out for out in source.opted_out if out.address == leaving.address)
    return attrs.evolve(document, opted_out=tuple(dict.fromkeys((*document.opted_out, *wishes))))


async def _hand_to_guest(context: Context, source: Document, leaving: Leaving, tokens: Inherited) -> None:
    """Give the tokens to the guest on the channel, who may not exist yet."""
    member_id = source.member_id
    token = _token(context, member_id, leaving)
    for attempt in itertools.count(1):
        guest, stored = await find_guest(context.bot.digests, leaving.address)
        match open_document(context.bot, guest, stored, instant(context.now)):
            case Sound(document) if document.moved is not None:  # left over from the promotion to the member
                await promote(context, document, stored.head)
            case Sound(document):
                after = _with_wish(document, source, leaving)
                if await _gave(context, member_id, document, stored, token, tokens, after, leaving):
                    return await _forget(context, guest, _by(leaving))
            case Absent():
                channel = leaving.address.channel
                now, version = instant(context.now), stored.head.version
                first = first_document(guest, channel, now, leaving.address, version=version)
                first = _with_wish(first, source, leaving)
                if await _gave(context, member_id, None, stored, token, tokens, first, leaving):
                    return await _forget(context, guest, _by(leaving))
            case Newer(error) | Foreign(error) | Encrypted(error):
                raise error
            case _:
                await Quarantine(guest, stored.head)
        await context.pause(guest, attempt)


async def _forget(context: Context, guest: str, by: str) -> None:
    """Remove the document of a guest who has said nothing yet: it was only made to take the tokens, which stay."""
    stored = await Load(guest)
    reading = open_document(context.bot, guest, stored, instant(context.now))
    if not isinstance(reading, Sound):
        return
    document = reading.document
    place = context.bot.route(document.channel)
    blank = first_document(guest, document.channel, document.last_updated, place.address)
    if attrs.evolve(document, version=0, effects=()) != blank:
        return
    version = stored.head.version + 1
    token = hashed("forget", guest, str(version), stored.head.digest)
    at = max(instant(context.now), document.last_updated)
    channel = context.bot.digests.shown(document.channel)
    entry = entry_for(
        "wipe", token, member_id=guest, version=version, at=at, channel=channel, detail={"removed": ["state"], "by": by}
    )
    sealed = seal(entry, b"", stored.head.digest)
    if isinstance(await Wipe(guest, stored.head, sealed), Committed):
        context.stored.append((entry, 1, sealed.digest))


async def _hand_to_member(context: Context, source: Document, leaving: Leaving, to: str, tokens: Inherited) -> str:
    """Link the channel in the document of the member that gets it, with the tokens; return the id of the document."""
    member_id = source.member_id
    address, token = leaving.address, _token(context, member_id, leaving)
    for attempt in itertools.count(1):
        other, stored = await find_conversation(context, to, address, Load)
        match open_document(context.bot, other, stored, instant(context.now)):
            case Sound(document) if document.moved is not None:
                await promote(context, document, stored.head)
            case Sound(document):
                after = _with_wish(linked_to(document, (address,)), source, leaving)
                if await _gave(context, member_id, document, stored, token, tokens, after, leaving):
                    return other
            case Absent():
                now = instant(context.now)
                channel, version = address.channel, stored.head.version
                first = _with_wish(first_document(other, channel, now, address, version=version), source, leaving)
                if await _gave(context, member_id, None, stored, token, tokens, first, leaving):
                    return other
            case Newer(error) | Foreign(error) | Encrypted(error):
                raise error
            case _:
                await Quarantine(other, stored.head)
        await context.pause(other, attempt)
    raise AssertionError("unreachable")


def linked_to(document: Document, addresses: tuple[Address, ...]) -> Document:
    """Return a member's document with further channels."""
    added = {*addresses, *(address.without_account for address in addresses)}
    channels = (*(known for known in document.channels if known not in added), *addresses)
    channel = document.channel if document.is_reachable else addresses[-1].channel
    leaving = tuple(note for note in document.leaving if note.address not in added)  # it has left, and come back
    return attrs.evolve(document, channels=channels, channel=channel, leaving=leaving)


async def _gave(
    context: Context,
    member_id: str,
    before: Document | None,
    stored: Stored | Broken,
    token: str,
    tokens: Inherited,
    after: Document,
    leaving: Leaving,
) -> bool:
    """Store tokens with a document; return whether they are stored."""
    assert isinstance(stored, Stored)
    undone = frozenset(leaving.undone.split())
    undone |= {kept.token for kept in tokens.records if kept.root in undone}
    after, dropped = fitted(context.bot, after, token, before=before)
    decision = updated(context.bot, before, after, token, stored.at, version=stored.head.version)
    await take_over_tokens(member_id, after.member_id, tokens, undone)
    tokens = Inherited(tuple(used for used in tokens.tokens if used[0] not in undone))
    detail: dict[str, object] = {
        "channels": [context.bot.digests.shown(after.channel)],
        "tokens": len(tokens.tokens),
        "by": _by(leaving),
        **({"dropped": dropped} if dropped else {}),
    }
    decision = with_entry(decision, kind="unlink" if after.guest else "link", detail=detail)
    result = await commit(context, decision, stored.head, inherited=tokens)
    refuse_broken(after.member_id, result)
    context.cache.forget(after.member_id)
    return isinstance(result, Committed | Duplicate)
