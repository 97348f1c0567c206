"""What an operator does to one member without waiting for a message: recover, reset, wipe.

    recovering   a damaged document is mended as a message would have it mended; with `to`, the member is put back to a
                 state that is still kept
    resetting    the flow is gone; who they are, their channel and their token stay
    wiping       all that is stored of them is gone but for what keeps the past true: tokens and audit

Each is a `Work`: the sync and the async manager perform the very same ones. What is done is done by an ordinary commit
on the head that was read, has an entry in the audit that names an operator, and is begun anew when somebody else was
quicker.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from typing import Any, Literal

import attrs

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.codec import Unreadable, loads
from vimbiso_fsm.document.document import Document, Run, needs_asking
from vimbiso_fsm.document.ids import guest_id, hashed, instant
from vimbiso_fsm.engine.commit import commit_of
from vimbiso_fsm.engine.reading import faults, leave_to_newer
from vimbiso_fsm.engine.salvage import (
    NoSuchState,
    Remains,
    Salvage,
    called,
    evicted,
    put_back,
    recover,
    resumed,
    salvage,
    told,
)
from vimbiso_fsm.errors import DocumentTooLarge, InvalidMessage, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.effects import Pause
from vimbiso_fsm.operations.update import updated
from vimbiso_fsm.operations.work import Done, Work
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    Committed,
    Conflict,
    Head,
    Load,
    Quarantine,
    ReadAudit,
    ReadRecords,
    Request,
    Stored,
)
from vimbiso_fsm.store.retention import RECORDS_KEPT

BY = "operator"
"""Who did it, in the audit."""


class NothingStored(VimbisoError, LookupError):
    """Nothing is stored of a member. Attributes: `member_id`."""

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(f"nothing is stored of member {member_id!r}; see whether that is their id")


class NotRecovered(VimbisoError):
    """A member was not recovered, and nothing was changed. Attributes: `member_id`, `to` (a version, or None), `fault`,
    `barrier` (the version of the turn that stands between, or None), `remedy`."""

    def __init__(
        self, member_id: str, to: int | None, fault: str, barrier: int | None = None, remedy: str = ""
    ) -> None:
        self.member_id, self.to, self.fault, self.barrier, self.remedy = member_id, to, fault, barrier, remedy
        what = "recovered" if to is None else f"put back to version {to}"
        super().__init__(f"member {member_id!r} was not {what}: {fault}" + (f"; {remedy}" if remedy else ""))


# Recover -------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Recovery:
    """What was done, or would be, to recover a member; the same for both.

    `outcome`: "left alone", "mended" or "put back". `version`: the one that was found. `faults`: what was wrong there;
    no value is quoted. `kept`, `lost`: names of fields, and turns. `source`: where it is known from where they stood;
    `tried`: where that was looked for in vain, and why. `flow`, `step`: where they stand then; "" at no question.
    """

    member_id: str
    outcome: Literal["left alone", "mended", "put back"]
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
        """All of it in words, a line each."""
        return tuple(_words(self))


def _words(recovery: Recovery) -> Iterator[str]:
    yield f"member {recovery.member_id} at version {recovery.version}: {recovery.outcome}"
    yield from (f"wrong: {fault}" for fault in recovery.faults)
    if recovery.outcome == "left alone":
        return
    yield from (f"looked at {source} in vain: {why}" for source, why in recovery.tried)
    yield f"from: {recovery.source}"
    yield f"kept: {', '.join(recovery.kept) or 'nothing'}"
    yield f"lost: {', '.join(recovery.lost) or 'nothing'}"
    yield f"stands at: {recovery.flow}.{recovery.step}" if recovery.flow else "stands at: no question, the way home"


@attrs.frozen
class _Found:
    """What there is of a member. `document`: the stored one, when it is sound; `data`: the bytes, else. `broken`: a key
    of theirs is of a wrong type. `over`: their time is over, or they were wiped."""

    head: Head
    at: float
    remains: Remains
    document: Document | None = None
    data: bytes = attrs.field(default=b"", repr=False)
    faults: tuple[str, ...] = ()
    broken: bool = False
    over: str = ""


def recovering(bot: Bot, member_id: str, *, to: int | None = None, dry_run: bool = False) -> Work[Recovery]:
    """Recover a member, or say only what would be done.

    Raises: NothingStored; NotRecovered; DocumentTooLarge; NewerState.
    """
    for attempt in itertools.count(1):
        found = yield from _look(bot, member_id)
        if found is not None:
            recovery, saved = _planned(bot, member_id, found, to)
            if saved is None or dry_run:
                return Done(recovery)
            told = yield from _save(bot, member_id, found, saved, recovery)
            if told is not None:
                return Done(recovery, (told,))
        yield Pause(attempt)
    raise AssertionError("unreachable")


def _look(bot: Bot, member_id: str) -> Generator[Request | Pause, Any, _Found | None]:
    """What there is of the member; None when it changed meanwhile."""
    stored: Stored | Broken = yield Load(member_id, previous=True)
    records = yield ReadRecords(member_id)
    entries = yield ReadAudit(member_id, 2 * RECORDS_KEPT)
    found = _Found(stored.head, stored.at, Remains.of(stored.previous, records, entries))
    if isinstance(stored, Broken):
        found = attrs.evolve(found, faults=(stored.fault,), broken=True)
        stored = yield Load(member_id)  # it may be the document before alone
    if isinstance(stored, Broken):
        return found
    if stored.document is None:
        return _missing(member_id, found)
    document, wrong = faults(bot, stored.document)
    if document is not None and document.member_id != member_id:
        document, wrong = None, ("it is another member's",)
    if document is None:
        for data in (stored.document, found.remains.previous):
            leave_to_newer(bot, member_id, data, instant(stored.at))
        return attrs.evolve(found, data=stored.document, faults=(*found.faults, *wrong))
    if found.broken:
        return attrs.evolve(found, document=document)
    token = hashed("verify", member_id, str(stored.head.version))
    verified = yield Commit(member_id, stored.head, token, token, "", None, None)  # it looks at the other keys' types
    if isinstance(verified, Broken):
        return attrs.evolve(found, document=document, faults=(verified.fault,), broken=True)
    return attrs.evolve(found, document=document) if isinstance(verified, Committed) else None


def _missing(member_id: str, found: _Found) -> _Found:
    entries = found.remains.entries
    if not found.head.version:
        raise NothingStored(member_id)
    last = entries[-1] if entries else None
    if last is not None and last.kind == "wipe":
        return attrs.evolve(found, over="it was wiped")
    if last is None or not evicted(last, instant(found.at)):
        return attrs.evolve(found, over="its time was over")
    return attrs.evolve(found, faults=("the document is not there any more: the server has evicted it",))


def _planned(bot: Bot, member_id: str, found: _Found, to: int | None) -> tuple[Recovery, Salvage | None]:
    """What is to be done: the report, and what is to be stored, if anything."""
    version = found.head.version
    if found.over:
        if to is not None:
            raise NotRecovered(member_id, to, found.over, remedy="the member's next message begins anew")
        return Recovery(member_id, "left alone", version, (found.over,)), None
    if to is None and not found.faults:
        return _report(member_id, "left alone", found, Salvage(found.document, (), ())), None  # type: ignore[arg-type]
    core = _core(bot, member_id, found)
    if to is not None:
        return _planned_back(bot, member_id, found, core, to)
    if found.document is not None:  # only keys beside it are broken
        return _report(member_id, "mended", found, core), core
    saved = recover(bot, found.data, core, found.remains)
    return _report(member_id, "mended", found, saved), saved


def _planned_back(bot: Bot, member_id: str, found: _Found, core: Salvage, to: int) -> tuple[Recovery, Salvage | None]:
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
        waiting = saved.document.suspended or _waiting_for(now, run)
        if not waiting and run.id in called(bot, found.remains.entries):
            fault = f"at version {to} they were in a flow that another had called, of which no record is kept"
            raise NotRecovered(member_id, to, fault, remedy="choose the version before that flow began")
        saved = attrs.evolve(saved, document=attrs.evolve(saved.document, suspended=waiting))
        if now.run is not None and needs_asking(now.run) and _same_place(now.run, run) and not found.faults:
            return _report(member_id, "left alone", found, attrs.evolve(saved, document=now)), None
    saved = attrs.evolve(saved, words=Text("recovered.put_back"))
    return _report(member_id, "put back", found, saved), saved


def _same_place(one: Run, other: Run) -> bool:
    """Whether two runs stand at the same question with the same answers."""
    fields = one.flow_data.data.fields, other.flow_data.data.fields
    same = all(fields[0].get(name) == value for name, value in fields[1].items())
    return (one.id, one.step) == (other.id, other.step) and same


def _waiting_for(now: Document, run: Run) -> tuple[Run, ...]:
    """The runs that wait below `run`, as far as that is known from where the member stands now."""
    stack = [*now.suspended, *([now.run] if now.run else [])]
    places = [place for place, each in enumerate(stack) if each.id == run.id]
    return tuple(stack[: places[0]]) if places else ()


def _core(bot: Bot, member_id: str, found: _Found) -> Salvage:
    """What is saved of the stored document by itself."""
    version = found.head.version
    if found.document is not None:
        names = tuple(name for name in _CORE_NAMES if getattr(found.document, name))
        return Salvage(found.document, names, (), source="document")
    channel = _channel(bot, found)
    if channel is None:
        fault = "nothing that is kept says by which channel they are reached"
        raise NotRecovered(member_id, None, fault, remedy="their next message will mend it")
    guest = member_id == guest_id(channel)
    return salvage(bot, found.data, channel, instant(found.at), member_id=member_id, guest=guest, version=version)


_CORE_NAMES = ("channel", "profile", "current_account", "jwt_token", "authenticated", "outbox", "deadline", "channels")


def _channel(bot: Bot, found: _Found) -> Channel | None:
    """A channel of the member, from wherever one is kept."""
    before = faults(bot, found.remains.previous)[0] if found.remains.previous is not None else None
    kept: list[Any] = [_part(found.data, "channel")]
    kept += [{"type": before.channel.type, "identifier": before.channel.identifier}] if before is not None else []
    kept += [_part(record.body, "flow_data", "data", "channel") for record in reversed(found.remains.records)]
    for raw in kept:
        try:
            channel = Channel(raw["type"], raw["identifier"])
        except (TypeError, KeyError, InvalidMessage):
            continue
        if channel.type in bot.validator.channel_types:
            return channel
    return None


def _part(data: bytes, *names: str) -> Any:
    """What stands there in stored JSON, if anything does."""
    try:
        found = loads(data)
        for name in names:
            found = found[name]
    except (Unreadable, TypeError, KeyError, IndexError):
        return None
    return found


def _report(
    member_id: str, outcome: Literal["left alone", "mended", "put back"], found: _Found, saved: Salvage
) -> Recovery:
    run = saved.document.run
    return Recovery(
        member_id,
        outcome,
        found.head.version,
        found.faults,
        saved.kept,
        saved.lost if outcome != "mended" or found.document is None else found.faults,
        saved.source,
        tuple(saved.tried.items()),
        run.flow if run else "",
        run.step if run else "",
    )


def _save(
    bot: Bot, member_id: str, found: _Found, saved: Salvage, recovery: Recovery
) -> Generator[Request | Pause, Any, CommitEvent | None]:
    """Store it; None when somebody else was quicker."""
    head = found.head
    if found.broken or (found.document is None and found.data):
        aside = yield Quarantine(member_id, head)
        if found.broken and found.data and isinstance(aside, Conflict):  # the keys are moved first, then the document
            aside = yield Quarantine(member_id, head)
        current = aside.current if isinstance(aside, Conflict) else aside
        if isinstance(aside, Conflict) != (found.document is not None):
            return None
        head = current.head
    token = hashed("recovery", member_id, str(head.version), head.digest)
    document = saved.document
    if found.document is None or recovery.outcome == "put back":
        document = told(bot, resumed(bot, document, head.version + 1, instant(found.at)), saved.words, token)
    decision = updated(bot, document, document, token, found.at, version=head.version)
    detail = {**saved.detail, "lost": recovery.lost, "by": BY, "outcome": recovery.outcome}
    assert decision.entry is not None
    entry = attrs.evolve(decision.entry, kind="recovery", status="recovered", detail=detail)
    result = yield commit_of(attrs.evolve(decision, entry=entry), head)
    if isinstance(result, DocumentTooLarge):
        raise result
    return CommitEvent(entry, 1, result.head.digest) if isinstance(result, Committed) else None


# Reset ---------------------------------------------------------------------------------------------------------------


# Wipe ----------------------------------------------------------------------------------------------------------------
