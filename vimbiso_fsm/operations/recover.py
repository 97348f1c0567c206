"""Recovery of a member by an operator: repair a damaged document, or put the member back to an earlier state.

A damaged document is repaired in the same way as by the member's next message. The change is a commit on the head that
was read, its audit entry names an operator, and it is tried again when another writer was faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import attrs

from vimbiso_fsm.document.document import Document, Run, needs_asking
from vimbiso_fsm.document.ids import hashed, instant, is_guest_id
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.engine import salvage as salvaging
from vimbiso_fsm.engine.reading import Absent, Encrypted, Foreign, Newer, Sound, faults, open_document
from vimbiso_fsm.engine.salvage import NoSuchState, Remains, Salvage, evicted, put_back, sub_flow_runs
from vimbiso_fsm.errors import InvalidMessage, MemberNotFound, NotRecovered, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import ACCOUNT, Channel
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.mend import (
    proven_document,
    read_remains,
    refuse_others,
    resumed_with_notice,
    store_recovery,
)
from vimbiso_fsm.store.requests import Broken, Commit, Committed, Conflict, Head, Load, Quarantine, Stored

BY = "operator"
"""The author of a change, in the audit."""


@attrs.frozen(eq=False, repr=False)
class Recovery(Value):
    """The result of a recovery, made or only planned.

    Attributes:
        member_id: The member.
        outcome: "left alone", "repaired" or "put back".
        version: The version that was found.
        faults: The faults that were found, without values.
        kept: The names of the fields that are kept.
        lost: The names of the fields, and the turns, that are lost.
        source: The source from which the member's run is restored.
        tried: The sources that did not hold the run, each with the reason.
        flow: The flow of the restored run; empty without a run.
        step: The state of the restored run; empty without a run.
    """

    member_id: str
    outcome: Literal["left alone", "repaired", "put back"]
    version: int
    faults: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    source: str = ""
    tried: tuple[tuple[str, str], ...] = ()
    flow: str = ""
    step: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The recovery in words, one line for each fact."""
        return tuple(_words(self))


def _words(recovery: Recovery) -> Iterator[str]:
    yield f"member {recovery.member_id} at version {recovery.version}: {recovery.outcome}"
    yield from (f"wrong: {fault}" for fault in recovery.faults)
    if recovery.outcome == "left alone":
        return
    yield from (f"not restored from {source}: {why}" for source, why in recovery.tried)
    yield f"from: {recovery.source}"
    yield f"kept: {', '.join(recovery.kept) or 'nothing'}"
    yield f"lost: {', '.join(recovery.lost) or 'nothing'}"
    yield f"stands at: {recovery.flow}.{recovery.step}" if recovery.flow else "stands at: no question, the way home"


@attrs.frozen(eq=False, repr=False)
class _Found(Value):
    """The stored data of a member.

    Attributes:
        head: The member's head.
        at: Seconds since the epoch on the store's clock.
        remains: The data beside the document.
        document: The stored document, if it is sound.
        data: The bytes of a damaged document.
        faults: The faults of the document and of the keys beside it.
        broken: Whether a key of the member is damaged.
        proven: Whether only the head beside the document is damaged.
        over: The reason why there is no document, if that is no fault.
    """

    head: Head
    at: float
    remains: Remains
    document: Document | None = None
    data: bytes = attrs.field(default=b"", repr=False)
    faults: tuple[str, ...] = ()
    broken: bool = False
    proven: bool = False
    over: str = ""


async def recover(context: Context, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Recovery:
    """Recover a member.

    Args:
        context: The context of the operation.
        member_id: The member.
        to: The version to which the member is put back. None repairs a damaged document and leaves a sound one alone.
        dry_run: Return the same, and change nothing.

    Raises:
        Contended: Other writers were faster until the patience was over.
        DocumentTooLarge: The recovered document does not fit.
        NewerState: A newer release has stored the member's document.
        ForeignState: The member's document is of a flow that the bot never had.
        MemberNotFound: Nothing is stored of the member.
        NotRecovered: The member cannot be recovered in this way.
    """
    for attempt in itertools.count(1):
        found = await _look(context, member_id)
        if found is not None:
            recovery, saved = _planned(context.bot, member_id, found, to)
            if saved is None or dry_run or await _save(context, member_id, found, saved, recovery):
                return recovery
        await context.pause(member_id, attempt)
    raise AssertionError("unreachable")


async def _look(context: Context, member_id: str) -> _Found | None:
    """Return the stored data of the member; None if another writer changed them meanwhile."""
    stored, remains = await read_remains(member_id)
    found = _Found(stored.head, stored.at, remains)
    if isinstance(stored, Broken):
        refuse_others(context.bot, member_id, found.remains.previous, instant(stored.at))
        found = attrs.evolve(found, faults=(stored.fault,), broken=True)
        stored = await Load(member_id)  # only the previous document may be damaged
    if isinstance(stored, Broken):
        return await _beside_its_head(context.bot, member_id, found, stored)
    match open_document(context.bot, member_id, stored, instant(stored.at)):
        case Sound(document):
            if found.broken:
                return attrs.evolve(found, document=document)
        case Absent():
            return _missing(member_id, found)
        case Newer(error) | Foreign(error) | Encrypted(error):
            raise error
        case damage:
            refuse_others(context.bot, member_id, found.remains.previous, instant(stored.at))
            return attrs.evolve(found, data=damage.data, faults=(*found.faults, *damage.faults))
    token = hashed("verify", member_id, str(stored.head.version))
    # A commit that stores nothing reads every other key of the member, and so finds one of a wrong type.
    verified = await Commit(member_id, stored.head, token, token, "", None, None)
    if isinstance(verified, Broken):
        return attrs.evolve(found, document=document, faults=(verified.fault,), broken=True)
    return attrs.evolve(found, document=document) if isinstance(verified, Committed) else None


async def _beside_its_head(bot: Bot, member_id: str, found: _Found, broken: Broken) -> _Found:
    """Return what was found, with the document if only the head beside it is damaged."""
    data = await proven_document(member_id, broken)
    match open_document(bot, member_id, Stored(broken.head, data or None, broken.at), instant(broken.at)):
        case Sound(document):
            return attrs.evolve(found, document=document, proven=True)
        case Newer(error) | Foreign(error) | Encrypted(error):
            raise error
        case _:
            remains = attrs.evolve(found.remains, unproven=broken.document or b"")
            return attrs.evolve(found, data=data, remains=remains)


def _missing(member_id: str, found: _Found) -> _Found:
    """Return the reason why there is no document, as the audit tells it."""
    entries = found.remains.entries
    if not found.head.version:
        raise MemberNotFound(member_id)
    last = entries[-1] if entries else None
    if last is not None and last.kind == "wipe":
        return attrs.evolve(found, over="it was wiped")
    if last is None or not evicted(last, instant(found.at)):
        return attrs.evolve(found, over="its time was over")
    return attrs.evolve(found, faults=("the document is not there any more: the server has evicted it",))


def _planned(bot: Bot, member_id: str, found: _Found, to: int | None) -> tuple[Recovery, Salvage | None]:
    """Return the report, and the salvage to store, if any."""
    version = found.head.version
    if found.over:
        if to is not None:
            raise NotRecovered(member_id, to, found.over, remedy="the member's next message begins with a new document")
        return Recovery(member_id, "left alone", version, (found.over,)), None
    if to is None and not found.faults:
        assert found.document is not None
        return _report(member_id, "left alone", found, Salvage(found.document, (), ())), None
    core = _core(bot, member_id, found)
    if to is not None:
        return _planned_back(bot, member_id, found, core, to)
    if found.document is not None:  # only keys beside it are broken
        return _report(member_id, "repaired", found, core), core
    saved = salvaging.recover(bot, found.data, core, found.remains)
    return _report(member_id, "repaired", found, saved), saved


def _planned_back(bot: Bot, member_id: str, found: _Found, core: Salvage, to: int) -> tuple[Recovery, Salvage | None]:
    """Return the report of putting the member back to a version, and the salvage to store, if any."""
    now = found.document
    if now is not None and now.moved is not None:
        raise NotRecovered(member_id, to, "this guest has become a member", remedy=f"recover {now.moved.to!r} instead")
    if to > found.head.version:
        raise NotRecovered(member_id, to, f"the latest version is {found.head.version}")
    bare = attrs.evolve(core.document, run=None, suspended=(), call=None)
    try:
        saved = put_back(bot, attrs.evolve(core, document=bare), found.remains, to)
    except NoSuchState as error:
        remedy = f"version {error.barrier} and later are still possible" if error.barrier else ""
        raise NotRecovered(member_id, to, error.fault, error.barrier, remedy) from None
    run = saved.document.run
    assert run is not None
    if now is not None:
        waiting = saved.document.suspended or waiting_for(now, run)
        if not waiting and run.id in sub_flow_runs(bot, found.remains.entries):
            fault = f"at version {to} they were in a flow that another had called, of which no record is kept"
            raise NotRecovered(member_id, to, fault, remedy="choose the version before that flow began")
        saved = attrs.evolve(saved, document=attrs.evolve(saved.document, suspended=waiting))
        if now.run is not None and needs_asking(now.run) and _same_place(now.run, run) and not found.faults:
            return _report(member_id, "left alone", found, attrs.evolve(saved, document=now)), None
    saved = attrs.evolve(saved, words=Text("recovered.put_back"))
    return _report(member_id, "put back", found, saved), saved


def _same_place(run: Run, wanted: Run) -> bool:
    """Return whether two runs stand at the same question, with the same answers."""
    fields = run.fields
    same = all(fields.get(name) == value for name, value in wanted.fields.items())
    return (run.id, run.step) == (wanted.id, wanted.step) and same


def waiting_for(now: Document, run: Run) -> tuple[Run, ...]:
    """Return the runs that are suspended under a run in the stored document.

    Args:
        now: The stored document.
        run: A run of the same member, which may have ended since.
    """
    ids = [open_run.id for open_run in (*now.suspended, now.run) if open_run]
    return now.suspended[: ids.index(run.id)] if run.id in ids else ()


def _core(bot: Bot, member_id: str, found: _Found) -> Salvage:
    """Return the salvage of the stored document alone, without the remains."""
    version = found.head.version
    if found.document is not None:
        names = tuple(name for name in _CORE_NAMES if getattr(found.document, name))
        return Salvage(found.document, names, (), source="document")
    channel = _channel(bot, found)
    if channel is None:
        fault = "no stored data names a channel of theirs"
        raise NotRecovered(member_id, None, fault, remedy="their next message repairs the document")
    guest = is_guest_id(member_id)
    return salvaging.salvage(
        bot, found.data, channel, instant(found.at), member_id=member_id, guest=guest, version=version
    )


_CORE_NAMES = (
    *("channel", "profile", "current_account", "jwt_token", "authenticated", "outbox", "reminders", "deadline"),
    "channels",
)


def _channel(bot: Bot, found: _Found) -> Channel | None:
    """Return a channel of the member, from the first source that names a valid one."""
    before = faults(bot, found.remains.previous)[0] if found.remains.previous is not None else None
    kept: list[Any] = [_part(loads, found.data, "channel")]
    kept += [attrs.asdict(before.channel)] if before is not None else []
    records = reversed(found.remains.records)
    kept += [_part(read_record, record.body, "flow_data", "data", "channel") for record in records]
    for raw in kept:
        try:
            channel = Channel(raw["type"], raw["identifier"]).with_account(_account(raw))
        except (TypeError, KeyError, InvalidMessage):
            continue
        if channel.type in bot.validator.channel_types:
            return channel
    return None


def _account(raw: Mapping[str, Any]) -> str:
    """Return the account of the bot that a stored channel names; empty when it names none."""
    metadata = raw.get("metadata")
    account = metadata.get(ACCOUNT) if isinstance(metadata, Mapping) else None
    return account if isinstance(account, str) else ""


def _part(read: Callable[[bytes], Any], data: bytes, *names: str) -> Any:
    """Return the value at a path of stored data; None when there is none."""
    try:
        found = read(data)
        for name in names:
            found = found[name]
    except (Unreadable, TypeError, KeyError, IndexError):
        return None
    return found


def _report(
    member_id: str, outcome: Literal["left alone", "repaired", "put back"], found: _Found, saved: Salvage
) -> Recovery:
    run = saved.document.run
    return Recovery(
        member_id,
        outcome,
        found.head.version,
        found.faults,
        saved.kept,
        saved.lost if outcome != "repaired" or found.document is None else found.faults,
        saved.source,
        tuple(saved.tried.items()),
        run.flow if run else "",
        run.step if run else "",
    )


async def _save(context: Context, member_id: str, found: _Found, saved: Salvage, recovery: Recovery) -> bool:
    """Quarantine the damage and store what was saved; False when another writer was faster."""
    head = found.head
    if found.broken or (found.document is None and found.data):
        aside = await Quarantine(member_id, head)
        if found.broken and found.data and isinstance(aside, Conflict):  # the keys are moved first, then the document
            aside = await Quarantine(member_id, head)
        if isinstance(aside, Conflict) != (found.document is not None and not found.proven):
            return False
        head = aside.current.head if isinstance(aside, Conflict) else aside.head
    document = saved.document
    if found.document is None or recovery.outcome == "put back":
        document = resumed_with_notice(context.bot, member_id, head, saved, instant(found.at))
    detail = {**saved.detail, "lost": recovery.lost, "by": BY, "outcome": recovery.outcome}
    return await store_recovery(context, member_id, head, document, found.at, detail)
