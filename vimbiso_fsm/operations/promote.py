"""Promotion of a guest to a member, and the merge of the guest's document into the member's.

An operator joins a guest, or a second id of the same person, to a member in the same steps. The member's own profile,
login and run stay then.

    ReadInherited   read the guest's turn records and tokens, in portions
    Commit          without a document: read the member's, and whether the guest is merged into it
    UseTokens       store all portions of the tokens but the first at the member
    Commit          store the guest's state, tokens and records at the member, in one
    Link            link the channel to the member; where it is another member's, take it from the list (`unlist.py`)
    Wipe            delete the guest's data; keep the tokens and the audit, which names the member

The guest's last commit names the member (`Document.moved`). Each step is idempotent, so any worker that finds a
promoted guest repeats them from the first one.

The member's document merges the guest's run, session and profile under a token made of the guest's id and version. A
repeated merge is a duplicate for as long as tokens are kept, and an older guest is not merged any more. The store says
so together with the member's document, so a guest is merged only into a document that does not contain it. Where the
tokens are lost, the runs tell: a run that both documents hold was merged before, and the member's is kept. A run of the
member that is open with answers, for example on another channel, stays, and the guest's run is dropped. A run with a
timer is never dropped, and neither is one of the member's that is suspended with answers: they stay suspended. Of the
two sessions, that of the later activity goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, entry_for, seal
from vimbiso_fsm.document.document import Document, Moved, OptOut, at_all_names, first_document, united
from vimbiso_fsm.document.ids import conversation_id, hashed, instant
from vimbiso_fsm.engine.commit import Decision, as_stored, commit_of, decision_of
from vimbiso_fsm.engine.draft import has_answers, held_runs
from vimbiso_fsm.engine.handover import as_if_stood_still
from vimbiso_fsm.engine.passing import handed_over, merged_handing
from vimbiso_fsm.engine.reading import Absent, Encrypted, Foreign, Newer, Sound, open_document
from vimbiso_fsm.engine.reminders import merged_reminders
from vimbiso_fsm.engine.salvage import with_notice
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.engine.windows import merged_heard
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.fit import fitted
from vimbiso_fsm.operations.shared import change_owner
from vimbiso_fsm.operations.unlist import unlist
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.retention import TOKEN_KEPT, TOKENS_AT_ONCE


@attrs.frozen(eq=False, repr=False)
class Promoted(Value):
    """The guest's state is merged into the member's document.

    Attributes:
        head: The head of the member's document.
        document: The member's document.
        confirmed: Whether the store has confirmed the merge with the required durability.
        size: The number of bytes of the document in the store.
    """

    head: requests.Head
    document: Document
    confirmed: bool = True
    size: int = 0


@attrs.frozen(eq=False, repr=False)
class Unlinked(Value):
    """The guest is gone, and the channel is not linked to the member any more.

    Attributes:
        owner: The member to whom the channel is linked now. None when it is linked to none, so that the next message on
            it is a guest's.
    """

    owner: str | None = None


def promotion_token(guest_id: str, moved: Moved) -> str:
    """Return the token under which a guest is merged."""
    return hashed("move", guest_id, str(moved.version), *([moved.token] if moved.token else []))


async def promote(context: Context, guest: Document, head: requests.Head) -> Promoted | Unlinked:
    """Complete the promotion of a guest.

    Args:
        context: The context of the operation.
        guest: The guest's last document, which names the member.
        head: The head of that document.

    Raises:
        Contended: Other writers of the member were faster until the patience was over.
        DamagedDocument: Other content was stored under the token of the promotion.
        InvalidState: The merged document is invalid.
        NewerState: A newer release has stored the member's document.
        ForeignState: The member's document is of a flow that the bot never had.
    """
    merged = await _merge_at_member(context, guest)
    if merged is None:
        assert guest.moved is not None
        await _delete(context, guest, head, guest.moved.to)
        return Unlinked()
    member_id = merged.document.member_id
    if context.notes_sent:  # a message that was sent to the guest is known at the member
        stored = await requests.Load(guest.member_id)
        known = stored.messages if isinstance(stored, requests.Stored) else ()
        context.sent.carry(guest.member_id, member_id, merged.head, merged.document, known)
    context.confirmed = context.confirmed and merged.confirmed
    addresses = addresses_of(context.bot, guest)
    owners = [await _link(context, guest, merged.document, address) for address in addresses]
    for address, owner in zip(addresses, owners, strict=True):
        if owner not in (None, member_id) and not merged.document.guest:
            await unlist(context, member_id, address)
    if merged.confirmed:  # else the guest's wake-up stays, and the worker that wakes the guest tries again
        await _delete(context, guest, head, member_id)
    others = [owner for owner in owners if owner != member_id]
    return Unlinked(others[0]) if others else merged


def addresses_of(bot: Bot, document: Document) -> tuple[Address, ...]:
    """Return the channels that lead to a document: the linked ones of a member, or those of a guest."""
    if not document.guest:
        return document.channels
    return tuple(dict.fromkeys((bot.route(document.channel).address, *document.channels)))


async def _link(context: Context, source: Document, member: Document, address: Address) -> str | None:
    """Lead a channel to the member, unless it was taken from the member since the merge; return its owner."""
    assert source.moved is not None
    channel, own = address.channel, source.member_id
    way = promotion_token(own, source.moved)
    if not (source.guest or member.has(address)):
        request: requests.Link | requests.Unlink = requests.Unlink(channel, own, way)
    else:
        request = requests.Link(channel, member.member_id, own, guest=member.guest, way=way)
    return (await change_owner(context, request)).member_id


async def _merge_at_member(context: Context, guest: Document) -> Promoted | None:
    """Merge the guest into the member's stored document.

    Where that is the conversation with another account of the bot, the guest becomes a conversation of its own, under
    an id of its own (`conversation_id`).

    Returns:
        The member's document. None when the guest is too old to be merged, or when it was merged and the channel was
        taken from the member since.
    """
    assert guest.moved is not None
    bot, address = context.bot, context.bot.route(guest.channel).address
    inherited = await requests.ReadInherited(guest.member_id)
    member_id, stored = await _find_unmerged(context, guest)
    conflicts, given_to = 0, ""
    while True:
        if isinstance(stored, requests.Duplicate):
            promoted = _merged_before(context, guest, member_id, stored.current)
            if promoted is None:
                await _let_go(context, guest, member_id, stored.current)
            return promoted
        now = instant(context.now)
        if not isinstance(stored, requests.Broken) and now - guest.last_updated >= timedelta(seconds=TOKEN_KEPT):
            return None  # its token has expired, so an earlier merge cannot be recognised
        match open_document(bot, member_id, stored, now):
            case Sound(document) if _is_with_another(document, address):  # that account was faster
                member_id, stored = await _find_unmerged(context, guest)
                continue
            case Sound(document) if document.moved is not None and _yields(guest, document):
                await promote(context, document, stored.head)
                if document.moved.to == guest.member_id:
                    return None  # both were joined to each other; the member with the lower id stays
                member_id, stored = await _find_unmerged(context, guest)
                continue
            case Sound(document):
                member: Document | None = document
            case Absent():
                member = None
            case Newer(error) | Foreign(error) | Encrypted(error):
                raise error
            case _:
                await requests.Quarantine(member_id, stored.head)
                stored = await _read_unmerged(guest, member_id)  # another worker may have merged it meanwhile
                continue
        if given_to != member_id and await take_over_tokens(guest.member_id, member_id, inherited):
            given_to = member_id
        decision = merge(bot, guest, member, now, version=stored.head.version, member_id=member_id)
        result = await attrs.evolve(commit_of(decision, stored.head), inherited=inherited)
        if isinstance(result, requests.Committed):
            assert decision.entry is not None
            context.stored.append((decision.entry, conflicts + 1, result.head.digest))
            return Promoted(result.head, decision.document, result.confirmed, len(decision.raw))
        if isinstance(result, requests.Conflict | requests.Late):
            conflicts += 1
            context.check_patience(guest.member_id, conflicts)
        stored = _unmerged(result, member_id)


async def take_over_tokens(source: str, target: str, first: requests.Inherited, undone: Collection[str] = ()) -> bool:
    """Use the tokens of a source at its target in portions, but for the first one, which goes with the commit.

    Until the commit, a message of the source is looked up there, where its token stays. So the portions may end at any
    place and be repeated from the first.

    Args:
        source: The guest, or the member that a channel leaves.
        target: The one that gets the tokens.
        first: The first portion.
        undone: Tokens that are not used at the target.

    Returns:
        Whether all are stored. If not, the commit meets the same damaged key, and has it put aside.
    """
    tokens = first.tokens
    while len(tokens) >= TOKENS_AT_ONCE and tokens[0][1] < tokens[-1][1]:
        tokens = (await requests.ReadInherited(source, tokens[-1][1])).tokens
        if not await requests.UseTokens(target, tuple(used for used in tokens if used[0] not in undone)):
            return False
    return True


_Unmerged: TypeAlias = requests.Stored | requests.Broken | requests.Duplicate
"""The stored data of a member into which a guest is not merged, or a `Duplicate` if it is."""
_Read = TypeVar("_Read", requests.Stored | requests.Broken, _Unmerged)


async def _read_unmerged(guest: Document, member_id: str) -> _Unmerged:
    """Read the stored data of a member, unless the guest is merged into it."""
    assert guest.moved is not None
    token = promotion_token(guest.member_id, guest.moved)
    result = await requests.Commit(member_id, requests.NO_HEAD, token, token, "", None, None)
    if isinstance(result, requests.Committed):
        return requests.Stored(requests.NO_HEAD, None, result.at)
    return _unmerged(result, member_id)


def _unmerged(result: requests.CommitResult, member_id: str) -> _Unmerged:
    """Return the stored data in the answer to a commit that stored nothing.

    Raises:
        DamagedDocument: Other content was stored under the token of the promotion.
    """
    match result:
        case requests.Conflict() | requests.Late():
            return result.current
        case requests.Duplicate() | requests.Broken():
            return result
        case _:
            raise DamagedDocument(member_id, "other content was stored under the token of its promotion")


async def _find_unmerged(context: Context, guest: Document) -> tuple[str, _Unmerged]:
    """Return the id of the member's conversation with the account of a guest, and its stored data."""
    assert guest.moved is not None
    address = context.bot.route(guest.channel).address
    return await find_conversation(context, guest.moved.to, address, partial(_read_unmerged, guest))


async def find_conversation(
    context: Context, person: str, address: Address, read: Callable[[str], Awaitable[_Read]]
) -> tuple[str, _Read]:
    """Return the id of the member's conversation with an account of the bot, and its stored data.

    It is the member's id, unless that is the conversation with another account, or such an id was given out before.

    Args:
        context: The context of the operation.
        person: The member.
        address: The channel, with the account.
        read: Reads the stored data of an id: `Load`, or `_read_unmerged`, whose `Duplicate` ends the search.
    """
    stored = await read(person)
    if not address.account or isinstance(stored, requests.Duplicate):
        return person, stored
    match open_document(context.bot, person, stored, instant(context.now)):
        case Sound(document):
            if not _is_with_another(document, address):
                return person, stored
            given = True
        case Absent():
            given = False
        case _:
            return person, stored
    member_id = conversation_id(person, address)
    found = await read(member_id)
    is_there = isinstance(found, requests.Duplicate) or found.head.version > 0
    return (member_id, found) if given or is_there else (person, stored)


def _is_with_another(document: Document, address: Address) -> bool:
    """Whether a member's document is the conversation with another account of the bot on that type of channel."""
    accounts = {known.account for known in document.channels if known.type == address.type and known.account}
    return bool(address.account and accounts) and address.account not in accounts


def _yields(source: Document, target: Document) -> bool:
    """Return whether a document that ends itself ends before another is merged into it."""
    assert target.moved is not None
    return target.moved.to != source.member_id or source.member_id < target.member_id


def _merged_before(context: Context, guest: Document, member_id: str, current: requests.Stored) -> Promoted | None:
    """Return the member's document, if the channel is still linked to the member."""
    reading = open_document(context.bot, member_id, current, instant(context.now))
    address = context.bot.route(guest.channel).address
    if isinstance(reading, Sound) and {address, address.without_account} & {*reading.document.channels}:
        return Promoted(current.head, reading.document, size=len(current.document or b""))
    return None


async def _let_go(context: Context, source: Document, member_id: str, current: requests.Stored) -> None:
    """Take the channels that the member has no more from a source that was merged, and lead the others to the member.

    The way of the source is marked as done so: no process that has stopped on it leads a channel to the member later.
    """
    reading = open_document(context.bot, member_id, current, instant(context.now))
    match reading:
        case Sound(document) if document.moved is None:
            member: Document | None = document
        case Absent():
            member = None
        case _:
            return
    assert source.moved is not None
    way = promotion_token(source.member_id, source.moved)
    for address in addresses_of(context.bot, source):
        if member is not None and member.has(address):
            await _link(context, source, member, address)
        else:
            await change_owner(context, requests.Unlink(address.channel, source.member_id, way))


async def _delete(context: Context, guest: Document, head: requests.Head, member_id: str) -> None:
    """Delete the guest's data, and keep the tokens and the audit, whose last entry names the member."""
    entry = _last_entry(context.bot, guest, head, instant(context.now), member_id)
    sealed = seal(entry, b"", head.digest)
    wiped = await requests.Wipe(guest.member_id, head, sealed)
    if isinstance(wiped, requests.Committed):
        context.stored.append((entry, 1, sealed.digest))
    else:  # another worker was faster, or quarantined data of the guest is kept for an operator
        await requests.SetWakeUp(guest.member_id, head)


def merge(
    bot: Bot, guest: Document, member: Document | None, now: datetime, *, version: int, member_id: str = ""
) -> Decision:
    """Merge a guest's state into the member's document, as much of both as fits.

    Args:
        bot: The bot.
        guest: The guest's last document.
        member: The member's document; None when there is none.
        now: The time of the merge.
        version: The version of the member's head.
        member_id: The id of the member's conversation; by default the member's id.

    Raises:
        InvalidState: The merged document is invalid.
    """
    moved = guest.moved
    assert moved is not None
    now = max(now, guest.last_updated)
    token = promotion_token(guest.member_id, moved)
    first, then = (guest, member) if moved.joined else (member, guest)
    handed, passing = merged_handing(first, then, token, now)
    if handed is not None:
        guest = as_if_stood_still(guest, handed.since, now)
        member = None if member is None else as_if_stood_still(member, handed.since, now)
    whole = attrs.evolve(
        _merged(bot, guest, member, member_id or moved.to, now, version), handed=handed, passing=passing
    )
    if handed is not None and then is not None and then.handed is None and handed.inbox in bot.inbox_names:
        whole = with_notice(bot, whole, handed_over(bot.inbox_names[handed.inbox]), hashed("handed", token))
    kept, dropped = fitted(bot, whole, token, before=member)
    document, data = as_stored(bot, kept)
    return decision_of(bot, document, data, _entry(bot, guest, member, document, token, dropped))


def _merged(
    bot: Bot, guest: Document, member: Document | None, member_id: str, now: datetime, version: int
) -> Document:
    """Return the guest's document with those fields of the member's that stay."""
    if member is not None:
        guest = _without_runs_of(member, guest)
        now = max(now, member.last_updated)
    assert guest.moved is not None
    if guest.moved.joined:
        return _joined(bot, guest, member, member_id, now, version)
    channels, names, wishes = _names_and_wishes(bot, member, guest)
    merged = attrs.evolve(
        guest,
        member_id=member_id,
        guest=False,
        moved=None,
        version=version + 1,
        last_updated=now,
        channels=channels,
        names=names,
        opted_out=wishes,
        upgraded=(),
        ahead=0.0,
    )
    if member is not None:
        merged = attrs.evolve(
            merged,
            outbox=(*member.outbox, *guest.outbox),
            reminders=merged_reminders(member.reminders, guest.reminders),
            heard=merged_heard(member.heard, guest.heard),
        )
        keeps = _keeps_run(bot, guest, member)
        if keeps:
            merged = attrs.evolve(
                merged, run=member.run, suspended=member.suspended, call=member.call, effects=member.effects
            )
        held = held_runs(bot, guest) if keeps else held_runs(bot, member, answers=True)
        if held:
            merged = attrs.evolve(merged, suspended=(*held, *merged.suspended))
        if member.last_updated > guest.last_updated:  # the later session goes on; a logout since is final
            merged = attrs.evolve(
                merged, authenticated=member.authenticated, jwt_token=member.jwt_token, token=member.token
            ).with_session(member.session)
    return merged.at(now)


def _joined(
    bot: Bot, source: Document, member: Document | None, member_id: str, now: datetime, version: int
) -> Document:
    """Return the member's document with the channels of another one, its timers, and the replies that wait there."""
    addresses = addresses_of(bot, source)
    if member is None:
        channel = addresses[-1].channel if addresses else source.channel
        member = first_document(member_id, channel, now, channel.address)
    channels, names, wishes = _names_and_wishes(bot, member, source)
    return attrs.evolve(
        member,
        moved=None,
        version=version + 1,
        last_updated=now,
        channel=member.channel if member.is_reachable or not addresses else addresses[-1].channel,
        channels=channels,
        names=names,
        outbox=(*member.outbox, *(() if source.guest else source.outbox)),
        reminders=merged_reminders(() if source.guest else source.reminders, member.reminders),
        suspended=(*(() if source.guest else held_runs(bot, source)), *member.suspended),
        opted_out=wishes,
        heard=merged_heard(member.heard, source.heard),
        upgraded=(),
        ahead=0.0,
    ).at(now)


def _names_and_wishes(
    bot: Bot, member: Document | None, source: Document
) -> tuple[tuple[Address, ...], tuple[tuple[Address, ...], ...], tuple[OptOut, ...]]:
    """Return the channels of a member and of a source that is merged, their names, and where they want no messages."""
    added = addresses_of(bot, source)
    known = {*added, *(address.without_account for address in added)}
    before = () if member is None else member.channels
    channels = (*(address for address in before if address not in known), *added)
    names = () if member is None else member.names
    for group in (added,) if source.guest else source.names:
        names = united(names, group, channels)
    wishes = dict.fromkeys((*(() if member is None else member.opted_out), *source.opted_out))
    return channels, names, at_all_names((*wishes,), names)


def _without_runs_of(member: Document, guest: Document) -> Document:
    """Return a guest's document without the runs that the member's document contains."""
    own = {run.id for run in (*member.suspended, member.run) if run is not None}
    if guest.run is not None and guest.run.id in own:
        guest = attrs.evolve(guest, run=None, call=None)
    return attrs.evolve(guest, suspended=tuple(run for run in guest.suspended if run.id not in own))


def _keeps_run(bot: Bot, guest: Document, member: Document) -> bool:
    """Return whether the member's own run stays, and the guest's is dropped."""
    if member.run is None or member.call is not None:
        return member.call is not None
    return guest.call is None and (guest.run is None or has_answers(bot, member.run))


def _last_entry(bot: Bot, guest: Document, head: requests.Head, now: datetime, member_id: str) -> AuditEntry:
    """Return the last audit entry of a guest, which names the member."""
    return entry_for(
        "wipe",
        hashed("farewell", guest.member_id, str(head.version), guest.moved.token if guest.moved else ""),
        member_id=guest.member_id,
        version=head.version + 1,
        at=max(now, guest.last_updated),
        channel=bot.digests.shown(guest.channel),
        detail={"moved_to": member_id},
    )


def _entry(
    bot: Bot, guest: Document, member: Document | None, document: Document, token: str, dropped: list[str]
) -> AuditEntry:
    return entry_for(
        "move",
        token,
        member_id=document.member_id,
        version=document.version,
        at=document.last_updated,
        channel=bot.digests.shown(document.channel),
        stands=document.run,
        detail={"guest": guest.member_id, "guest_version": guest.moved.version if guest.moved else 0}
        | migrated(guest, member)
        | ({"dropped": dropped} if dropped else {}),
    )
