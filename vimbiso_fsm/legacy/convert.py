"""Conversion of a record of the previous release to a document, and its import.

    FindOwner  find the owner of the record's channel
    Commit     verify, without a document, that the record was not imported and the member has no document
    Load       check that there is no guest on the channel
    Link       link the channel to the member
    Commit     store the document, under a token made of the record's number and bytes
    Unlink     if nothing was stored: take the link back where the stored document does not have the channel

Each step is idempotent, so a record that two processes import at the same time is imported once. A member who has a
document is left alone, and two members are never merged. Where record, mapping and channel name different members, or
the member has a document, the record stays as it is and a refusal has the reason.

A record that names no member becomes a guest until a login proves who the member is, because a number alone does not.
An imported run resumes at a question without a login, which comes first (`Run.waits`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Literal

import attrs

from vimbiso_fsm.document.document import Document, Run, Suspended
from vimbiso_fsm.document.ids import hashed, instant
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.engine.commit import Decision
from vimbiso_fsm.engine.session import renewed
from vimbiso_fsm.errors import DamagedKey, DocumentTooLarge, InvalidState, NotStorable, RecordNotImported, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.flow.timeouts import fires_at
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.legacy.declare import Declaration, LegacyFlow
from vimbiso_fsm.legacy.records import JSONObject, LegacyState, not_imported, read
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import LegacyRecord
from vimbiso_fsm.operations.guests import earlier_guest, find_guest, is_known
from vimbiso_fsm.operations.history import read_legible
from vimbiso_fsm.operations.shared import change_owner, find_owner, restore_owner
from vimbiso_fsm.operations.update import commit, updated, with_entry
from vimbiso_fsm.store import requests


def import_token(record: LegacyRecord, key: bytes) -> str:
    """Return the token under which a record is imported. Each number and each content has its own.

    Args:
        record: The record.
        key: The key of the tokens, `Digests.token_key`.
    """
    return hashed("legacy", record.number, requests.long_digest(record.data), key=key)


# Conversion --------------------------------------------------------------------------------------------------------


@attrs.frozen
class Converted:
    """The document of a record.

    Attributes:
        document: The document.
        shape: The shape of the record, "phone" or "channel".
        dropped: The name of the open flow whose run is ended, or empty.
        moved: The old step, if an answer before it is missing and is asked for again, or empty.
    """

    document: Document
    shape: str
    dropped: str = ""
    moved: str = ""

    @property
    def detail(self) -> dict[str, str]:
        """The detail of the audit entry."""
        notes = {"shape": self.shape, "dropped": self.dropped, "moved": self.moved}
        return {name: note for name, note in notes.items() if note}


def convert(bot: Bot, old: LegacyState, now: datetime, *, member_id: str | None = None) -> Converted:
    """Convert a record.

    Args:
        bot: The bot, whose importer declares the conversion.
        old: The record.
        now: The time of the import.
        member_id: The member, or None for the guest on the record's channel.

    Raises:
        RecordNotImported: The bot cannot use a field of the record.
    """
    legacy: object = bot.importer
    if not isinstance(legacy, Declaration):
        fault = "is of the previous release, and the bot declares no conversion; give Bot(importer=Legacy(…))"
        raise not_imported(old.number, "", fault)
    run, dropped, moved = None, "", ""
    if old.flow:
        try:
            flow = legacy.flow(old.flow)
        except KeyError:
            raise not_imported(old.number, "flow_data", "names a flow that the bot does not declare") from None
        if flow is None:
            dropped = old.flow[0]
        else:
            run, moved = _run(bot, flow, old, now)
    document = Document(
        member_id=member_id or bot.digests.guest_id(old.channel),
        channel=old.channel,
        last_updated=now,
        guest=member_id is None,
        profile=_kept(old, "profile", legacy.profile),
        current_account=_kept(old, "current_account", legacy.account),
        run=run,
        channels=(old.channel.address,) if member_id else (),
    )
    return Converted(_with_session(bot, _with_timer(bot, document, old, now), now), old.shape, dropped, moved)


def _with_timer(bot: Bot, document: Document, old: LegacyState, now: datetime) -> Document:
    """Set the timer of the state in which an open flow stands.

    Raises:
        RecordNotImported: The function that the flow declares failed.
    """
    run = document.run
    state = bot.flow(run.flow)[run.step] if run is not None else None
    if run is None or state is None or state.timeout is None:
        return document
    data = structure(run.fields, bot.flow(run.flow).data)
    member = bot.typed(document.member)
    turn = Turn(
        data,
        member,
        document.channel,
        now,
        run.flow,
        run.step,
        zone_of=bot.zone_for,
        proof_of=bot.proves,
        language_of=bot.language,
    )
    try:
        due = fires_at(state.timeout, turn)
    except BaseException as error:  # a function of the author, called with data of any shape
        if is_interrupt(error):
            raise
        fault = f"leads to state {run.step!r}, whose timeout raised {type(error).__name__}"
        raise not_imported(old.number, "flow_data.step", fault) from error
    return attrs.evolve(document, run=attrs.evolve(run, due=due))


def _with_session(bot: Bot, document: Document, now: datetime) -> Document:
    """Give an open flow a session, so that it expires like any other."""
    run = document.run
    if run is None:
        return document
    return document.with_session(renewed(None, None, bot.flow(run.flow), bot.session, now, warns=False))


def _kept(old: LegacyState, field: str, kept: Callable[[JSONObject], Mapping[str, object]]) -> JSONObject:
    """Return the part of a field that the bot keeps, as it will be read back."""
    found = _declared(old, field, lambda: kept(old.record))
    try:
        plain: JSONObject = loads(dumps(found, field))
    except (NotStorable, Unreadable) as error:
        raise not_imported(old.number, field, f"cannot be kept: {error}") from None
    return plain


def _declared(old: LegacyState, field: str, function: Callable[[], Mapping[str, object]]) -> Mapping[str, object]:
    """Return the result of a function that the bot declares.

    Raises:
        RecordNotImported: The function raised an exception, or returned no mapping.
    """
    try:
        found: object = function()
    except Unreadable as error:
        raise not_imported(old.number, field, f"cannot be read: {error}") from None
    except BaseException as error:  # a function of the author, called with data of any shape
        if is_interrupt(error):
            raise
        raise not_imported(
            old.number, field, f"is not understood: {type(error).__name__} in the bot's Legacy"
        ) from error
    if not isinstance(found, Mapping):
        raise not_imported(old.number, field, f"became a {type(found).__name__} in the bot's Legacy, not a mapping")
    return found


# The open flow -----------------------------------------------------------------------------------------------------


def _run(bot: Bot, legacy: LegacyFlow, old: LegacyState, now: datetime) -> tuple[Run, str]:
    """Return the run that resumes the old flow, and the old step if the run stands at an earlier one."""
    flow = legacy.flow
    known = _declared(old, "flow_data.data", lambda: legacy.answers(old.answers))
    try:
        fields = loads(dumps(unstructure(flow.data(**known))))
        structure(fields, flow.data)
    except BaseException as error:  # the author's class may raise any exception
        if is_interrupt(error):
            raise
        quotes_nothing = isinstance(error, Unreadable | NotStorable)  # another exception may quote the answer
        fault = f"does not fit the data of flow {flow.name!r}: {error if quotes_nothing else type(error).__name__}"
        raise not_imported(old.number, "flow_data.data", fault) from None
    wanted = _wanted(legacy, old)
    step, trail = _stand(legacy, wanted, known)
    run = Run(
        f"{flow.name}:{hashed('legacy run', old.number, dumps(fields).decode(), key=bot.digests.token_key)[:16]}",
        flow.name,
        step,
        old.channel.address,
        fields=fields,
        version=flow.version,
        fingerprint=flow.fingerprint,
        entered=1,
        trail=trail,
        since=now,
        waits=Suspended.LOGIN if bot.entry is not None and flow.required else "",
    )
    return run, str(old.step) if step != wanted else ""


def _wanted(legacy: LegacyFlow, old: LegacyState) -> str:
    """Return the question for the old step. After the last step a call was pending, and is confirmed again.

    Raises:
        RecordNotImported: The old flow has no such step.
    """
    steps, step = [*legacy.steps.values()], old.step
    if isinstance(step, str):
        if step not in legacy.steps:
            raise not_imported(old.number, "flow_data.step", f"names no step of the old flow {legacy.name!r}")
        return legacy.steps[step]
    if not 0 <= step <= len(steps):
        raise not_imported(
            old.number, "flow_data.step", f"is {step}, and the old flow {legacy.name!r} had {len(steps)} steps"
        )
    return steps[min(step, len(steps) - 1)]


def _stand(legacy: LegacyFlow, wanted: str, known: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    """Return the question at which the run resumes, and the questions before it.

    It is `wanted`, or the first question before it whose answer, or the result of the call on it, is missing.
    """
    questions, trail = set(legacy.steps.values()), list[str]()
    for state in takewhile(lambda state: state.name != wanted, legacy.flow.states):
        if state.into and state.into not in known:
            if state.name in questions:
                return state.name, tuple(trail)
            if state.call and trail:
                return trail[-1], tuple(trail[:-1])
        if state.name in questions:
            trail.append(state.name)
    return wanted, tuple(trail)


# Import ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Imported:
    """The result of an import.

    Attributes:
        outcome: "converted", "already" (the same record was imported before) or "possible" (in a dry run).
        document: The stored document, after "converted".
    """

    outcome: Literal["converted", "already", "possible"]
    document: Document | None = None


class ImportRecord:
    """The import of one record.

    Attributes:
        state: The record.
        named: The member that the record or the mapping names, or None.
    """

    named: str | None

    def __init__(
        self,
        bot: Bot,
        record: LegacyRecord,
        *,
        mapped: str | None = None,
        known_only: bool = False,
        dry: bool = False,
        accounts: Sequence[str] = (),
    ) -> None:
        """Read a record.

        Args:
            bot: The bot, whose importer declares the conversion.
            record: The record.
            mapped: The member that a mapping names for the number.
            known_only: Import no guest, unless the open flow has no requirements.
            dry: Write nothing.
            accounts: The accounts of the bot at which the member may have begun a conversation.

        Raises:
            RecordNotImported: The record cannot be read, or it names another member than the mapping.
        """
        self._bot, self._record, self._known_only, self._dry = bot, record, known_only, dry
        self._accounts = accounts
        self._token = import_token(record, bot.digests.token_key)
        self._earlier = tuple(import_token(record, key) for key in bot.digests.earlier_token_keys)
        self.state: LegacyState = read(record)
        if self.state.channel.type not in bot.validator.channel_types:
            raise self._refusal("channel.type", "is no type of channel that the bot knows")
        self.named = self._one_of(self.state.member_id, mapped, "member_id", "the mapping")

    async def run(self, context: Context) -> Imported:
        """Import the record.

        Raises:
            RecordNotImported: The record stays as it is.
        """
        channel = self.state.channel
        indexed = (await self._owner(context, channel)).member_id
        owner = self._one_of(self.named, indexed, "member_id", "the channel index")
        guest_id = self._bot.digests.guest_id(channel)
        member_id = owner or guest_id
        verified = await requests.Commit(
            member_id, requests.NO_HEAD, self._token, self._token, "", None, None, earlier=self._earlier
        )
        match verified:
            case requests.Committed(at=at):
                for account in self._accounts:
                    await self._check_account(context, account)
                decision = self._decide(owner, at)
            case requests.Conflict():  # the token of an earlier import may have expired
                return await self._imported_before(member_id, guest_id)
            case requests.Broken():
                fault = "cannot be stored: the member's stored data is damaged; `vimbiso recover` repairs it"
                raise self._refusal("", fault)
            case _:  # the token is of every byte of the record
                return Imported("already")
        document = decision.document
        if (earlier := await earlier_guest(self._bot.digests, channel)) is not None:
            return await self._imported_before(earlier[0])
        if not document.guest:
            guest = await requests.Load(guest_id)
            if not isinstance(guest, requests.Stored) or guest.document is not None:
                raise self._too_late()
            if guest.head.version:  # a guest was here, and was wiped or promoted
                return await self._imported_before(guest_id)
        if self._dry:
            return Imported("possible")
        if not document.guest:
            linked = await change_owner(context, requests.Link(document.channel, document.member_id))
            self._one_of(document.member_id, linked.member_id, "member_id", "the channel index")
        try:
            imported = await self._store(context, decision)
        except RecordNotImported:
            await self._look_again(context, document, indexed)
            raise
        if imported.document is None:
            await self._look_again(context, document, indexed)
        return imported

    async def _look_again(self, context: Context, document: Document, indexed: str | None) -> None:
        """Take the link back if the stored document, which is not this one, does not have the channel.

        An import that stopped before it linked may link after others have imported the record and the channel has left.

        Args:
            context: The context of the operation.
            document: The document that was not stored.
            indexed: The owner that the index named before; None for none.
        """
        if not document.guest and indexed is None:
            await restore_owner(context, requests.Link(document.channel, document.member_id))

    async def _owner(self, context: Context, channel: Channel) -> requests.Linked:
        """Return the owner of a channel. A dry run puts no damage aside."""
        if not self._dry:
            return await find_owner(context, channel)
        try:
            return await requests.FindOwner(channel)
        except DamagedKey:
            raise self._refusal("", "has a channel whose entry in the index is damaged; an import mends it") from None

    async def _check_account(self, context: Context, account: str) -> None:
        """Check that no conversation with an account of the bot has begun. Its guest has an id of its own.

        Raises:
            RecordNotImported: One has.
        """
        place = self._bot.route(self.state.channel.with_account(account))
        linked = await self._owner(context, place)
        _, stored = await find_guest(self._bot.digests, place)
        if is_known(stored) or (linked.own and linked.member_id and is_known(await requests.Load(linked.member_id))):
            raise self._too_late()

    async def _store(self, context: Context, decision: Decision) -> Imported:
        try:
            result = await commit(context, decision, requests.NO_HEAD)
        except DocumentTooLarge as error:
            raise self._refusal("", f"cannot be stored: {error}") from None
        match result:
            case requests.Committed():
                return Imported("converted", decision.document)
            case requests.Duplicate():
                return Imported("already")
            case _:
                raise self._too_late()

    def _decide(self, owner: str | None, at: float) -> Decision:
        """Return the decision that stores the record's document. `at`: seconds since the epoch on the store's clock."""
        converted = convert(self._bot, self.state, instant(at), member_id=owner)
        document, run = converted.document, converted.document.run
        if owner is None and self._known_only and (run is None or self._bot.flow(run.flow).required):
            raise self._refusal(
                "member_id", "is not known: neither the record nor the mapping or look-up names a member"
            )
        try:
            decision = updated(self._bot, None, document, self._token, at, version=0)
        except InvalidState as error:
            fault = f"would break the rule book: {'; '.join(map(str, error.faults[:3]))}"
            raise self._refusal("", fault) from None
        except NotStorable as error:
            raise self._refusal("", f"cannot be stored: {error}") from None
        return attrs.evolve(with_entry(decision, kind="migration", detail=converted.detail), earlier=self._earlier)

    async def _imported_before(self, *member_ids: str) -> Imported:
        """Return "already" if the audit of one of the members has the entry of this import.

        Raises:
            RecordNotImported: No audit has it. The member has a document that was not imported.
        """
        tokens = {import_token(self._record, key) for key in self._bot.digests.every_token_key}
        for member_id in member_ids:
            for entry in await read_legible(member_id):
                if entry.kind == "migration" and entry.token in tokens:
                    return Imported("already")
        raise self._too_late()

    def _one_of(self, own: str | None, other: str | None, field: str, source: str) -> str | None:
        """Return the member that both sources name, or the one that one of them names. `source`: of `other`.

        Raises:
            RecordNotImported: They name different members.
        """
        if own is not None and other is not None and own != other:
            raise self._refusal(
                field, f"names another member than {source}; a number alone does not prove that they are one"
            )
        return own or other

    def _too_late(self) -> RecordNotImported:
        return self._refusal("", "comes too late: its member has begun a conversation here, which is not overwritten")

    def _refusal(self, field: str, fault: str) -> RecordNotImported:
        return not_imported(self._record.number, field, fault)
