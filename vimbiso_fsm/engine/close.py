"""The end of a turn: a draft as its `Decision`.

The new document is written once. What the turn has not changed is the same object as before, and is neither written,
judged nor compared again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.redaction import changed_fields, redacted
from vimbiso_fsm.document.codec import is_intact, keep_judged, rewrite
from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.document import (
    Document,
    Fields,
    Member,
    Moved,
    StoredProfile,
    at_all_names,
    united,
    with_address,
)
from vimbiso_fsm.document.json_codec import dumps, dumps_unstructured, loads
from vimbiso_fsm.engine.commit import Decision, drops_token, life_of, record_of, record_of_replies
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.events import (
    HEARD,
    Event,
    ReplyRoute,
    SessionExpired,
    content_digest,
    earlier_contents,
)
from vimbiso_fsm.engine.outbox import drop_asked, drop_warning, hold_notices, lease_replies, put_in_outbox, take_overdue
from vimbiso_fsm.engine.room import MEMBER_ROOM, check_room
from vimbiso_fsm.engine.session import session_after, session_bound
from vimbiso_fsm.engine.stranger import is_stranger
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.engine.windows import note_heard
from vimbiso_fsm.errors import InvalidState, WrongMember
from vimbiso_fsm.messages.given import GivenFact
from vimbiso_fsm.messages.message import MAX_NAMES, NAMES, Address, Channel, Message
from vimbiso_fsm.messages.told import AddressChanged, Fact

_ANY: Final = data_type(Any)
_PLAIN: Final = data_type(dict[str, Any])


def close(draft: Draft, event: Event, route: ReplyRoute) -> Decision:
    """Return the decision of a turn.

    Raises:
        DocumentTooLarge: The new document is larger than the turn may make it.
        InvalidState: The new document breaks the rule book.
        NotStorable: A value in it cannot be written as JSON.
    """
    digests = draft.bot.digests
    content = content_digest(event, digests.words_key)
    contents = earlier_contents(event, digests) if digests.of_tokens else ()
    if not draft.changed and route == "send" and draft.replies and isinstance(event, Message):
        draft.changed = draft.stands = True
        draft.kind = "refusal"
    if not draft.changed:
        said = draft.said
        record = b""
        if isinstance(event, Message):
            record = record_of_replies(draft.status, said)
        token, root, earlier = draft.token, draft.root, draft.earlier
        return Decision(
            draft.status,
            draft.before,
            said,
            token,
            root,
            content,
            changed=False,
            record=record,
            earlier=earlier,
            contents=contents,
        )
    if draft.outbox and isinstance(event, Message | SessionExpired) and draft.kind != "error":
        drop_warning(draft)
    if isinstance(event, Message) and event.channel.type in draft.bot.windows:
        note_heard(draft, event)
    if isinstance(event, Message) and draft.kind != "error":
        unproven = draft.is_unproven if draft.suspended or draft.before.suspended else False  # else no login waits
        if draft.before.handed is not None and unproven:
            pass  # the speaker talks to a person, and the notices wait for the member
        elif unproven and (draft.pending is not None or draft.was_asked_to_log_in):
            hold_notices(draft)
        elif draft.outbox:
            draft.replies = [*take_overdue(draft), *draft.replies]
            drop_asked(draft)
    elif route not in HEARD:
        put_in_outbox(draft, event, route)
    elif draft.outbox and draft.was_asked_to_log_in and not (draft.is_unproven or draft.parts or draft.kind == "error"):
        draft.replies = [*take_overdue(draft), *draft.replies]
    replies = draft.said
    if replies and route == "send" and not draft.parts:
        lease_replies(draft)
    document = _document(draft, event)
    raw, written = rewrite(document, draft.before)
    rules, judged = draft.bot.validator, draft.before.judged
    _, faults = rules.judged(raw, written if judged is not None and judged.rules is rules else None, document.run)
    if faults:
        raise InvalidState(faults)
    data = dumps_unstructured(raw)
    if len(data) > MEMBER_ROOM:  # no part is larger than the whole
        check_room(draft, event, raw, len(data))
    shown = redacted(draft.bot, document.run)
    keep_judged(document, raw, rules, draft.before, _lasting_member(draft, document), shown)
    stranger = document.guest and is_stranger(draft.bot, document)
    return Decision(
        status=draft.status,
        document=document,
        replies=replies,
        token=draft.token,
        earlier=draft.earlier,
        root=draft.root,
        content=content,
        contents=contents,
        raw=data,
        # What another system gives is answered with its first status when it comes again, also at a stranger.
        record=record_of(
            draft.bot, draft.status, replies, document, stranger=stranger and not isinstance(event, GivenFact)
        ),
        entry=_entry(draft, document, shown),
        call=draft.call,
        renews=draft.renews,
        forgets=draft.before.jwt_token is not None and drops_token(draft.before, document),
        stranger=stranger,
        delivery=draft.delivery,
        not_after=session_bound(draft, event),
    )


def _lasting_member(draft: Draft, document: Document) -> Member[Any] | None:
    """The member of the new document, if the turn has changed nothing of them and what was read cannot change.

    The id of a conversation with one of several accounts is not the member's, so that the member is made anew.
    """
    member, before = draft.member, draft.before
    if (
        member is not draft.met
        or document.profile is not before.profile
        or document.current_account is not before.current_account
        or document.authenticated != member.authenticated
        or "@" in document.member_id
    ):
        return None
    profile = member._profile
    if isinstance(profile, StoredProfile) and not (before.judged and before.judged.member is member):
        kind: Any = profile.kind
        return member if data_type(kind).stable(profile.read_before) else None
    return member


def _document(draft: Draft, event: Event) -> Document:
    """The new document. After an error, or where the member stays, only its version, instant and outbox are new."""
    before, intact = draft.before, is_intact(draft.before)
    salt = before.salt or draft.bot.digests.salt_of(before.member_id)
    if draft.kind == "error" or draft.stands:
        return attrs.evolve(
            before,
            version=draft.version,
            last_updated=draft.now,
            outbox=draft.outbox,
            heard=draft.heard,
            salt=salt,
            upgraded=(),
            ahead=0.0,
        ).at(draft.now)
    member, profile, account = draft.member, before.profile, before.current_account
    if member is not draft.met or not intact:
        profile = _as_stored(profile, member.stored_profile, "profile", intact)
        account = _as_stored(account, member.current_account, "current_account", intact)
    channel = draft.channel if intact or draft.channel is not before.channel else attrs.evolve(draft.channel)
    if isinstance(event, Fact) and before.version and not draft.begun:  # the member has not spoken there
        channel = before.channel if intact else attrs.evolve(before.channel)
    channels = _channels(draft, channel) if before.channels or NAMES in channel.metadata else ()
    names = before.names if NAMES not in draft.channel.metadata or before.guest else _told_names(draft, channels)
    token = life_of(draft.bot, before, member, draft.now) if member.jwt_token and draft.bot.tokens is not None else None
    session = session_after(draft, event)
    after = Document(
        member_id=before.member_id,
        channel=channel,
        last_updated=draft.now,
        version=draft.version,
        guest=before.guest,
        jwt_token=member.jwt_token,
        authenticated=member.authenticated and (token is None or token.expires > draft.now),
        token=token,
        profile=profile,
        current_account=account,
        run=draft.run,
        suspended=draft.suspended,
        call=draft.pending,
        outbox=draft.outbox,
        reminders=draft.reminders,
        deadline=session.deadline,
        session_since=session.since,
        warn_at=session.warn_at,
        channels=channels,
        effects=draft.effects,
        leaving=before.leaving,
        moved=before.moved if member is draft.met else _moved(draft),
        opted_out=draft.opted_out if names is before.names else at_all_names(draft.opted_out, names),
        heard=draft.heard,
        names=names,
        handed=draft.handed,
        passing=draft.passing,
        salt=salt,
    )
    if not draft.parts:
        return after
    left = [draft.bot.route(name).address for name in draft.channel.names]  # all of them are the speaker's
    if isinstance(event, AddressChanged):
        told = (Channel(channel.type, name).with_account(draft.channel.account) for name in event.all_new)
        new = [draft.bot.route(each).address for each in told]
        after = attrs.evolve(after, names=united(names, new, channels))
        left = [each for each in left if each not in new]
    known = dict.fromkeys(known for address in left for known in after.linked(address))
    undone = "" if isinstance(event, Fact) else draft.roots
    return after.parted((*known,) or (*left[:1],), token=draft.token, undone=undone)


def _channels(draft: Draft, channel: Channel) -> tuple[Address, ...]:
    """The linked channels. One that was linked before its account was known takes the account of the message.

    Of a guest, these are the names that the channel has told, as long as they are few.
    """
    channels = draft.before.channels
    if draft.before.guest:
        told = tuple(draft.bot.route(name).address for name in channel.names) if NAMES in channel.metadata else ()
        return (*(known for known in channels if known not in told), *told)[-2 * MAX_NAMES :]
    if not channel.account:
        return channels
    address = draft.bot.route(channel).address
    return with_address(channels, address) if address.account and address.without_account in channels else channels


def _told_names(draft: Draft, channels: Sequence[Address]) -> tuple[tuple[Address, ...], ...]:
    """The names of one speaker, with those that the message or fact carries together."""
    return united(draft.before.names, [draft.bot.route(name).address for name in draft.channel.names], channels)


def _as_stored(before: Mapping[str, Any], after: Mapping[str, Any], name: str, intact: bool) -> Mapping[str, Any]:
    """A field as it will be read back. If `intact`, the old value was not changed in place.

    Raises:
        Misfit: A value of it would be read back as another one.
    """
    if after is before and intact:
        return before
    for key, value in after.items():
        _ANY.settled(value, f"{name}.{key}")
    stored: dict[str, Any] = loads(dumps(_PLAIN.settled(after, name), name))
    return stored


def _moved(draft: Draft) -> Moved | None:
    """The member that a guest has become in this turn or an earlier one."""
    before = draft.before
    if draft.member.id == before.person:
        return before.moved
    if not before.guest:
        raise WrongMember(before.person)
    return Moved(draft.member.id, draft.version, token=draft.token)


def _entry(draft: Draft, document: Document, shown: Fields) -> AuditEntry:
    """The audit entry of this turn. `shown`: the data of the run after it, redacted."""
    if draft.lapsed:
        draft.detail = {**draft.detail, "lapsed": [*draft.lapsed]}
    before, after = draft.before.run, document.run
    first = draft.steps[0] if draft.steps else None
    stood = before or after
    goes_on = before is not None and after is not None and before.id == after.id
    known, stood_with = draft.before.judged, None
    if known is not None and known.rules is draft.bot.validator:
        stood_with = known.shown
    return AuditEntry(
        version=draft.version,
        at=draft.now,
        member_id=document.member_id,
        channel=draft.bot.digests.shown(draft.channel),
        kind=draft.kind,
        status=draft.status,
        token=draft.token,
        root=draft.root,
        source=first.source if first else before.step if before else "",
        dest=after.step if after else "",
        flow=first.flow if first else stood.flow if stood else "",
        run=first.run if first else stood.id if stood else "",
        trigger=draft.trigger or (first.trigger if first else ""),
        steps=tuple(draft.steps),
        codes=tuple(draft.codes),
        before=redacted(draft.bot, before) if stood_with is None else stood_with,
        after=shown if goes_on else {},
        changed=changed_fields(before, after) if goes_on else (),
        verdict=after.verdict if after else {},
        detail=draft.detail | migrated(draft.before) if draft.before.upgraded or draft.before.ahead else draft.detail,
    )
