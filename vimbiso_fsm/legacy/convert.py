"""A record of the previous release becomes a document: what is kept, and the steps in which it is stored.

    LookUp     whose the channel is
    Commit     without a document: was this very record converted before, has the member begun already?
    Load       has somebody begun on the channel as a guest?
    Link       the channel is the member's
    Commit     the document, under a token made of the record's number and bytes

Each step may be repeated, by anybody, so a record that two convert at once is converted once. Nobody who has a document
is touched, and no two members are made one: where record, mapping and channel name different members, or somebody has
begun, the record stays as it is and the refusal says why.

Who a record does not name is a guest until they log in; credex-core, not the number, then says who they are. A kept
flow stands at a question, never in a call, and without the old token, whose age nobody knows: what a member says next
first leads through the entry flow (`Run.waits`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger
from vimbiso_fsm.document.codec import Unreadable, dumps, loads, structure, unstructure
from vimbiso_fsm.document.document import Address, Document, FlowData, Run, StepData, Suspended
from vimbiso_fsm.document.ids import guest_id, hashed, instant
from vimbiso_fsm.engine.commit import Decision, commit_of
from vimbiso_fsm.engine.session import renewed
from vimbiso_fsm.errors import DocumentTooLarge, InvalidState, NotStorable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.legacy.declare import LegacyFlow
from vimbiso_fsm.legacy.records import LegacyState, NotConverted, read
from vimbiso_fsm.operations.effects import LegacyRecord
from vimbiso_fsm.operations.update import updated
from vimbiso_fsm.store.requests import (
    Broken,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    FindOwner,
    Head,
    Link,
    Linked,
    Load,
    ReadAudit,
    Request,
    digest,
)


def conversion_token(record: LegacyRecord) -> str:
    """The token under which a record is converted; of another content under the same number it is another."""
    return hashed("legacy", record.number, digest(record.data))


# The document ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Converted:
    """What becomes of a record. `dropped`: the name of an open flow that the bot does not go on with. `moved`: the old
    step, where an answer before it was missing and is asked for again."""

    document: Document
    shape: str
    dropped: str = ""
    moved: str = ""

    @property
    def detail(self) -> dict[str, Any]:
        """What the audit says of it."""
        notes = {"shape": self.shape, "dropped": self.dropped, "moved": self.moved}
        return {name: note for name, note in notes.items() if note}


def convert(bot: Bot, old: LegacyState, now: datetime, *, member_id: str | None = None) -> Converted:
    """The document of what a record says, for a member, or for the guest on its channel.

    Raises: NotConverted naming the field that the bot can make nothing of.
    """
    legacy = bot.legacy
    if legacy is None:
        raise NotConverted(old.number, "", "is of the old release, and the bot declares nothing of it; Bot(legacy=…)")
    run, dropped, moved = None, "", ""
    if old.flow:
        try:
            flow = legacy.flow(old.flow)
        except KeyError:
            raise NotConverted(old.number, "flow_data", "names a flow that the bot does not know of") from None
        if flow is None:
            dropped = old.flow[0]
        else:
            run, moved = _run(bot, flow, old, now)
    document = Document(
        member_id=member_id or guest_id(old.channel),
        channel=old.channel,
        last_updated=now,
        guest=member_id is None,
        profile=_kept(old, "profile", legacy.profile),
        current_account=_kept(old, "current_account", legacy.account),
        run=run,
        channels=(Address(*old.channel.address),) if member_id else (),
    )
    return Converted(_with_session(bot, document, now), old.shape, dropped, moved)


def _with_session(bot: Bot, document: Document, now: datetime) -> Document:
    """A flow that is open ends with its session, as any other does."""
    run = document.run
    if run is None:
        return document
    return document.with_session(renewed(document.session, bot.flow(run.flow), bot.session, now, warns=False))


def _kept(old: LegacyState, field: str, kept: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the bot keeps of a field, as it will be read back."""
    found = _declared(old, field, lambda: kept(old.record))
    try:
        plain: Mapping[str, Any] = loads(dumps(found, field))
    except (NotStorable, Unreadable) as error:
        raise NotConverted(old.number, field, f"cannot be kept: {error}") from None
    return plain


def _declared(old: LegacyState, field: str, function: Callable[[], Any]) -> Any:
    """What a function of the bot's declaration makes of a record.

    Raises: NotConverted, whatever it raises: a record it does not understand is no reason to stop.
    """
    try:
        found = function()
    except Unreadable as error:
        raise NotConverted(old.number, field, f"cannot be read: {error}") from None
    except Exception as error:  # an author's function, on data that nobody vouches for
        raise NotConverted(
            old.number, field, f"is not understood: {type(error).__name__} in the bot's Legacy"
        ) from error
    if not isinstance(found, Mapping):
        raise NotConverted(old.number, field, f"became a {type(found).__name__} in the bot's Legacy, not a mapping")
    return found


# The open flow -----------------------------------------------------------------------------------------------------


def _run(bot: Bot, legacy: LegacyFlow, old: LegacyState, now: datetime) -> tuple[Run, str]:
    """The run where the old flow stood, and the old step, if it now stands earlier."""
    flow = legacy.flow
    known = _declared(old, "flow_data.data", lambda: legacy.answers(old.answers))
    try:
        fields = loads(dumps(unstructure(flow.data(**known))))
        structure(fields, flow.data)
    except Exception as error:  # noqa: BLE001  # an author's class may check as it likes
        ours = isinstance(error, Unreadable | NotStorable)  # anybody else's words may quote the answer
        fault = f"does not fit the data of flow {flow.name!r}: {error if ours else type(error).__name__}"
        raise NotConverted(old.number, "flow_data.data", fault) from None
    wanted = _wanted(legacy, old)
    step, trail = _stand(legacy, wanted, known)
    timeout = flow[step].timeout
    run = Run(
        FlowData(
            f"{flow.name}:{hashed('legacy run', old.number, dumps(fields).decode())[:16]}",
            step,
            StepData(flow.name, Address(*old.channel.address), fields=fields),
        ),
        flow.version,
        flow.fingerprint,
        1,
        trail,
        since=now,
        due=now + timedelta(seconds=timeout) if timeout else None,
        waits=Suspended.LOGIN if bot.entry is not None and flow.required else "",
    )
    return run, str(old.step) if step != wanted else ""


def _wanted(legacy: LegacyFlow, old: LegacyState) -> str:
    """Our question for the old step. Past the last one the call was on its way: that is confirmed again.

    Raises: NotConverted for a step that the old flow had not.
    """
    steps, step = [*legacy.steps.values()], old.step
    if isinstance(step, str):
        if step not in legacy.steps:
            raise NotConverted(old.number, "flow_data.step", f"names no step of the old flow {legacy.name!r}")
        return legacy.steps[step]
    if not 0 <= step <= len(steps):
        raise NotConverted(
            old.number, "flow_data.step", f"is {step}, and the old flow {legacy.name!r} had {len(steps)} steps"
        )
    return steps[min(step, len(steps) - 1)]


def _stand(legacy: LegacyFlow, wanted: str, known: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The question `wanted`, or the first before it whose answer, or what was made of it, is not known; and the
    questions that lead there."""
    ours, trail = set(legacy.steps.values()), list[str]()
    for state in _before(legacy.flow, wanted):
        if state.into and state.into not in known:
            if state.name in ours:
                return state.name, tuple(trail)
            if state.call and trail:
                return trail[-1], tuple(trail[:-1])
        if state.name in ours:
            trail.append(state.name)
    return wanted, tuple(trail)


def _before(flow: Flow[Any], wanted: str) -> list[Any]:
    """The states declared before one."""
    names = [state.name for state in flow.states]
    return list(flow.states[: names.index(wanted)])


# The steps ---------------------------------------------------------------------------------------------------------


class Conversion:
    """One record on its way. Perform `request` and give the result to `take`, until `request` is None.

    Then `outcome` is "converted", "already" (this very record was, before), "possible" (it would be, of a dry run), or
    "refused", and `refusal` says why. `document`, at `head`: what was stored, after "converted". `told`: what observers
    are to be told.
    """

    def __init__(
        self,
        bot: Bot,
        record: LegacyRecord,
        *,
        mapped: str | None = None,
        known_only: bool = False,
        dry: bool = False,
    ) -> None:
        """`mapped`: the member that a mapping names for the number. `known_only`: whoever is not named is no guest,
        unless the open flow requires nothing. `dry`: nothing is written."""
        self._bot, self._record, self._known_only, self._dry = bot, record, known_only, dry
        self._token = conversion_token(record)
        self._content = digest(record.data)[:16]
        self._old: LegacyState | None = None
        self._named: str | None = None
        self._owner: str | None = None
        self._member_id = ""
        self._decision: Decision
        self.outcome = ""
        self.refusal: NotConverted | None = None
        self.document: Document | None = None
        self.head = Head()
        self.told: list[CommitEvent] = []
        self.request: Request | None = None
        self._then: Callable[[Any], None]
        try:
            self._old = old = self._read()
            self._named = self._one_of(old.member_id, mapped, "member_id", "the mapping")
        except NotConverted as error:
            self._refuse(error)
        else:
            self._do(FindOwner(old.channel), self._looked_up)

    def take(self, result: object) -> None:
        """Go on with the result of `request`; a `DocumentTooLarge` is one too."""
        self.request = None
        try:
            self._then(result)
        except NotConverted as error:
            self._refuse(error)

    @property
    def channel(self) -> tuple[str, str] | None:
        """The address that the record belongs to; None for what is no record."""
        return self._old.channel.address if self._old else None

    @property
    def unnamed(self) -> bool:
        """Whether neither the record nor the mapping names a member."""
        return self.request is not None and self._named is None

    @property
    def _state(self) -> LegacyState:
        assert self._old is not None
        return self._old

    def _read(self) -> LegacyState:
        old = read(self._record)
        if old.channel.type not in self._bot.validator.channel_types:
            raise self._wrong("channel.type", "is no type of channel that the bot knows")
        return old

    def _do(self, request: Request, then: Callable[[Any], None]) -> None:
        self.request, self._then = request, then

    def _refuse(self, error: NotConverted) -> None:
        self.outcome, self.refusal = "refused", error

    def _wrong(self, field: str, fault: str) -> NotConverted:
        return NotConverted(self._record.number, field, fault)

    def _one_of(self, own: str | None, other: str | None, field: str, who: str) -> str | None:
        """The member that both name, or one of them does.

        Raises: NotConverted when they name two.
        """
        if own is not None and other is not None and own != other:
            raise self._wrong(field, f"names another member than {who}; a number alone makes no two members one")
        return own or other

    def _looked_up(self, found: Linked) -> None:
        owner = self._one_of(self._named, found.member_id, "member_id", "the channel index")
        self._owner = owner
        self._member_id = owner or guest_id(self._state.channel)
        verify = Commit(self._member_id, Head(), self._token, self._token, self._content, None, None)
        self._do(verify, self._verified)

    def _verified(self, result: Any) -> None:
        match result:
            case Committed():
                self._decide(result.at)
            case Duplicate():
                self.outcome = "already"
            case Conflict():
                self._do(ReadAudit(self._member_id), self._remembered)
            case Broken():
                raise self._wrong("", "cannot be stored: what its member has is damaged; `vimbiso recover` mends it")
            case _:
                raise self._wrong("", "was converted before, with another content")

    def _decide(self, at: float) -> None:
        """Nothing is known of the record here. `at`: the store's clock."""
        converted = convert(self._bot, self._state, instant(at), member_id=self._owner)
        document, run = converted.document, converted.document.run
        if self._owner is None and self._known_only and (run is None or self._bot.flow(run.flow).required):
            raise self._wrong("member_id", "is not known: neither the record nor what was asked names a member")
        try:
            decision = updated(self._bot, None, document, self._token, at, version=0)
        except InvalidState as error:
            raise self._wrong("", f"would break the rule book: {'; '.join(map(str, error.faults[:3]))}") from None
        except NotStorable as error:
            raise self._wrong("", f"cannot be stored: {error}") from None
        assert decision.entry is not None
        entry = attrs.evolve(decision.entry, kind="migration", detail=converted.detail)
        self._decision = attrs.evolve(decision, entry=entry, content=self._content)
        if document.guest:
            self._possible()
        else:
            self._do(Load(guest_id(document.channel)), self._loaded)

    def _remembered(self, entries: Any) -> None:
        """The member has begun. Was it with this record, so long ago that its token is forgotten?"""
        if self._is_among(entries):
            self.outcome = "already"
        else:
            self._do(ReadAudit(guest_id(self._state.channel)), self._remembered_as_guest)

    def _remembered_as_guest(self, entries: Any) -> None:
        """Or was it the guest they were?"""
        if not self._is_among(entries):
            raise self._begun()
        self.outcome = "already"

    def _is_among(self, entries: Any) -> bool:
        """Whether one of the entries is that of this conversion."""
        found = FlowAuditLogger.read(entries) if isinstance(entries, tuple) else ()
        return any(entry.kind == "migration" and entry.token == self._token for entry in found)

    def _begun(self) -> NotConverted:
        return self._wrong("", "comes too late: its member has begun a conversation here, which is not overwritten")

    def _loaded(self, guest: Any) -> None:
        """Whoever was a guest here has begun, also when nothing of them is left: they were wiped, say."""
        if isinstance(guest, Broken) or guest.document is not None:
            raise self._begun()
        if guest.head.version:
            return self._do(ReadAudit(guest_id(self._state.channel)), self._remembered_as_guest)
        self._possible()

    def _possible(self) -> None:
        """Nothing speaks against it."""
        document = self._decision.document
        if self._dry:
            self.outcome = "possible"
        elif document.guest:
            self._store()
        else:
            self._do(Link(document.channel, document.member_id), self._linked)

    def _linked(self, found: Linked) -> None:
        self._one_of(self._member_id, found.member_id, "member_id", "the channel index")
        self._store()

    def _store(self) -> None:
        self._do(commit_of(self._decision, Head()), self._stored)

    def _stored(self, result: Any) -> None:
        match result:
            case Committed():
                self.outcome, self.head, self.document = "converted", result.head, self._decision.document
                assert self._decision.entry is not None
                self.told.append(CommitEvent(self._decision.entry, 1, result.head.digest))
            case Duplicate():
                self.outcome = "already"
            case DocumentTooLarge():
                raise self._wrong("", f"cannot be stored: {result}")
            case _:
                raise self._begun()
