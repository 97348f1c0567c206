"""The timeline of a member: what happened, entry by entry, in words for operators.

A moment is made of an audit entry and, where it is kept, the turn record of the same turn. Neither contains what the
member wrote. A moment shows a field as the audit does, and a reply with a mask for all that the author has not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.audit.entries import ERASED, AuditEntry, AuditStep, Incident
from vimbiso_fsm.audit.folding import FOLDED, first_instant, first_version
from vimbiso_fsm.audit.masked_replies import MaskedReply, ReplyMask
from vimbiso_fsm.audit.trail import read_entry
from vimbiso_fsm.document.document import Fields
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import Entry, Record

Cause: TypeAlias = Literal["member", "service", "clock", "channel", "system", "person", "operator", "bot", "unknown"]
"""Who or what caused a moment."""

LOOK_BACK: Final = 64
"""Entries before the first moment that are read as well, so that the tries of a call are counted from its beginning."""

_CAUSES: Final[Mapping[str, Cause]] = {
    **dict.fromkeys(("transition", "refusal", "command", "page", "start", "folded", "error", "handed"), "member"),
    **dict.fromkeys(("call", "renewal"), "service"),
    **dict.fromkeys(("timer", "session", "reminder", "clock"), "clock"),
    **dict.fromkeys(("delivery", "event", "consent", "address"), "channel"),
    **dict.fromkeys(("tell", "open", "trigger"), "system"),
    "person": "person",
    **dict.fromkeys(("recovery", "reset", "wipe", "erase", "update"), "operator"),
    **dict.fromkeys(("move", "link", "unlink", "merge", "migration", "passing"), "bot"),
}
_WORDS: Final[Mapping[str, str]] = {
    "page": "asked for another page of the list",
    "start": "began a conversation",
    "timer": "the timer of the question passed",
    "session": "the session ended, or its end was announced",
    "reminder": "a reminder was due",
    "clock": "the clock of the store was found to be wrong",
    "consent": "the member's consent to messages changed",
    "event": "the channel told of an event",
    "tell": "another system told the member something",
    "open": "another system opened a flow",
    "trigger": "another system pulled a trigger",
    "handed": "wrote to the person who has the conversation",
    "person": "the person who has the conversation wrote, or gave it back",
    "passing": "what waited for an inbox was passed on",
    "recovery": "the document was repaired, or put back",
    "reset": "all open flows were ended",
    "wipe": "the data of this id was removed",
    "erase": "earlier entries were erased",
    "update": "the document was changed by the application",
    "migration": "a record of the previous release was imported",
    "move": "the guest became this member",
    "link": "a channel was linked",
    "unlink": "a channel was unlinked",
    "merge": "another member was merged into this one",
    "renewal": "the login was renewed",
}


@attrs.frozen(eq=False, repr=False)
class Changed(Value):
    """A field of the flow's data that has another value after the turn.

    Attributes:
        name: Its name.
        before: Its value before, as the audit shows it.
        after: Its value after, as the audit shows it.
    """

    name: str
    before: Any
    after: Any


@attrs.frozen(eq=False, repr=False)
class Moment(Value):
    """One entry of the timeline: a commit, an incident, or an entry that cannot be read.

    Attributes:
        member_id: The id under which it is stored: the member, or a guest or member that the member was.
        version: The version of the document that the commit made; 0 for an incident.
        at: The instant; None of an entry that cannot be read.
        kind: The kind of the entry, "incident", or "unreadable".
        cause: Who or what caused it.
        words: What happened, as a sentence without its end.
        first: The first version that it stands for; another than `version` where entries were folded or erased.
        since: The instant of the first of them.
        status: The status of the outcome.
        channel: The type of the channel, and a digest of its identifier.
        flow: The flow of the run.
        run: The id of the run.
        source: The state before.
        dest: The state after.
        trigger: The trigger that was fired first.
        steps: The triggers that were tried, with the verdicts of their guards.
        codes: The codes of the refusals that were given to the member.
        changed: The fields that have another value after it.
        replies: What was answered; None where the turn record is not kept.
        call: The state whose call this moment is about, as `flow.state`; "" if it is about none.
        tries: The number of tries of this call that have begun.
        detail: Further facts about the commit, or about the incident.
        reference: The reference that the member received if something failed.
        has_state: Whether the state at this version is kept, so that it can be shown and forked.
    """

    member_id: str
    version: int
    at: datetime | None
    kind: str
    cause: Cause
    words: str
    first: int = 0
    since: datetime | None = None
    status: str = ""
    channel: tuple[str, str] = ("", "")
    flow: str = ""
    run: str = ""
    source: str = ""
    dest: str = ""
    trigger: str = ""
    steps: tuple[AuditStep, ...] = ()
    codes: tuple[str, ...] = ()
    changed: tuple[Changed, ...] = ()
    replies: tuple[MaskedReply, ...] | None = None
    call: str = ""
    tries: int = 0
    detail: Fields = attrs.field(factory=dict)
    reference: str = ""
    has_state: bool = False

    @property
    def key(self) -> str:
        """The name of the moment among those of a timeline, by which a page begins before it; "" of an incident."""
        return f"{self.member_id}/{self.version}" if self.version else ""

    @property
    def refusals(self) -> tuple[tuple[str, str], ...]:
        """The guards that did not accept, each with its verdict."""
        return tuple(found for step in self.steps for found in step.guards if found[1] != "accepted")


@attrs.frozen
class Told:
    """What is kept of one entry: the entry as it is stored, and its turn record.

    Attributes:
        member_id: The id under which the entry is stored.
        entry: The entry.
        record: The record of its turn; None where it is not kept.
        has_state: Whether the state after it is kept.
    """

    member_id: str
    entry: Entry
    record: Record | None = None
    has_state: bool = False


def timeline(
    bot: Bot, mask: ReplyMask, told: Iterable[Told], incidents: Iterable[Incident] = (), *, skip: int = 0
) -> tuple[Moment, ...]:
    """Return moments, oldest first.

    Args:
        bot: The bot.
        mask: Masks the replies of the bot.
        told: What is kept of each entry, oldest first.
        incidents: The incidents between the entries, oldest first. Each stands before the first entry that is later.
        skip: The number of entries at the beginning that have no moment. The tries of calls are counted from them.
    """
    found: list[Moment] = []
    waiting = list(incidents)
    counts = _Tries(bot)
    for place, each in enumerate(told):
        read = read_entry(each.entry)
        if isinstance(read, str):
            moment = Moment(each.member_id, each.entry.version, None, "unreadable", "unknown", read)
        else:
            moment = counts.counted(_moment(mask, each, read))
        if place < skip:
            continue
        while waiting and moment.at is not None and waiting[0].at < moment.at:
            found.append(_of_incident(waiting.pop(0)))
        found.append(moment)
    return (*found, *map(_of_incident, waiting))


def _moment(mask: ReplyMask, told: Told, entry: AuditEntry) -> Moment:
    cause = _cause(entry)
    return Moment(
        member_id=told.member_id,
        version=entry.version,
        at=entry.at,
        kind=entry.kind,
        cause=cause,
        words=_words(entry, cause),
        first=first_version(entry),
        since=first_instant(entry),
        status=entry.status,
        channel=entry.channel,
        flow=entry.flow,
        run=entry.run,
        source=entry.source,
        dest=entry.dest,
        trigger=entry.trigger,
        steps=entry.steps,
        codes=entry.codes,
        changed=tuple(_changes(entry)),
        replies=_replies(mask, told.record),
        detail=entry.detail,
        reference=entry.token[:10] if entry.status == "failed" else "",
        has_state=told.has_state,
    )


def _cause(entry: AuditEntry) -> Cause:
    if entry.trigger in ("done", "failed") and entry.token != entry.root:
        return "service"
    by = entry.detail.get("by")
    if by == "operator":
        return "operator"
    if "moved_to" in entry.detail:
        return "bot"
    return _CAUSES.get(entry.kind, "unknown")


def _words(entry: AuditEntry, cause: Cause) -> str:
    """Say what happened."""
    detail, trigger = entry.detail, entry.trigger
    if entry.kind == FOLDED:
        return f"wrote {detail.get('count')} messages that left the conversation at the same question"
    if entry.kind == ERASED:
        return f"{detail.get('erased')} entries were erased"
    if entry.kind == "delivery":
        return _delivery_words(entry)
    if cause == "service":
        return _call_words(entry)
    if entry.kind == "wipe" and "moved_to" in detail:
        return f"this id became the member {detail['moved_to']}"
    if entry.kind == "command" and trigger == "menu" and not entry.source:
        return "began the conversation"
    if entry.kind == "command":
        return f'said "{trigger}"' if trigger else "used a word that is understood everywhere"
    if cause == "member" and entry.kind in ("transition", "refusal"):
        return _answer_words(entry)
    if entry.kind == "error":
        return f"something failed ({detail.get('type', 'no type is kept')})"
    return _WORDS.get(entry.kind, entry.kind)


def _answer_words(entry: AuditEntry) -> str:
    refused = " and was refused" if entry.status == "refused" else ""
    if not entry.trigger:
        return "wrote something that is no answer to the question" if refused else "wrote"
    return f"answered the question{refused}" if entry.trigger == "answer" else f'chose "{entry.trigger}"{refused}'


def _call_words(entry: AuditEntry) -> str:
    if entry.trigger == "done":
        return "the call was answered"
    if entry.trigger == "failed":
        return "the call failed"
    if entry.kind == "renewal":
        return _WORDS["renewal"]
    name = entry.detail.get("call", "")
    if entry.detail.get("outcome") == "unknown":
        return f"the call {name} had no answer in time; whether it took effect is not known"
    return f"the call {name} took effect" if entry.detail.get("outcome") == "done" else "the call is tried again"


def _delivery_words(entry: AuditEntry) -> str:
    detail = entry.detail
    match detail.get("answer"):
        case "never":
            code = f" (code {detail['code']})" if detail.get("code") else ""
            return f"the channel refused the replies: {detail.get('reason') or 'no reason is given'}{code}"
        case "later":
            return "the channel asked to wait before the replies are sent"
        case _ if entry.status == "failed":
            why = f" ({detail['reason']})" if detail.get("reason") else ""
            return f"the delivery failed{why}; whether the replies arrived is not known"
        case _:
            return "the replies were sent, or are being sent"


def _changes(entry: AuditEntry) -> Iterator[Changed]:
    for name in entry.changed:
        yield Changed(name, entry.before.get(name), entry.after.get(name))


def _replies(mask: ReplyMask, record: Record | None) -> tuple[MaskedReply, ...] | None:
    if record is None:
        return None
    try:
        return mask.masked(read_record(record.body)["replies"])
    except Unreadable:
        return None


def _of_incident(incident: Incident) -> Moment:
    return Moment(
        member_id=incident.member_id or "",
        version=0,
        at=incident.at,
        kind="incident",
        cause="unknown",
        words=f"incident: {incident.kind}",
        channel=incident.channel,
        flow=incident.flow,
        run=incident.run,
        detail=incident.detail,
    )


class _Tries:
    """Counts the tries of calls over the moments of a member."""

    __slots__ = ("_bot", "_call", "_run", "_tries")

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._call, self._run, self._tries = "", "", 0

    def counted(self, moment: Moment) -> Moment:
        """Return the moment with the call that it is about."""
        if moment.kind == "call" and moment.source == moment.dest and not moment.steps:
            self._tries += moment.status != "failed"  # a failed try has ended, any other moment begins the next
            self._call = self._call or f"{moment.flow}.{moment.dest}"
            return attrs.evolve(moment, call=self._call, tries=max(self._tries, 1))
        if moment.steps and moment.cause == "service":
            moment = attrs.evolve(moment, call=self._call, tries=self._tries)
        if moment.steps:
            self._begin(moment.steps[-1])
            if self._call:
                moment = attrs.evolve(moment, call=moment.call or self._call, tries=moment.tries or self._tries)
        return moment

    def _begin(self, step: AuditStep) -> None:
        self._call, self._tries = "", 0
        if step.dest is not None and (step.effect or self._calls(step.flow, step.dest)):
            self._call, self._run, self._tries = f"{step.flow}.{step.dest}", step.run, 1

    def _calls(self, flow: str, name: str) -> bool:
        """Return whether a state of a flow makes a call."""
        return any(
            name in found.by_name and found.by_name[name].call is not None for found in self._bot.definitions(flow)
        )


# A state --------------------------------------------------------------------------------------------------------------


def shown_state(bot: Bot, record: Record) -> Fields:
    """Return the state that a turn record holds, as the audit shows it.

    Args:
        bot: The bot.
        record: The record.

    Returns:
        "flow", "state", "version", "data", "questions" and "attempts"; empty where no flow was open.

    Raises:
        Unreadable: The record cannot be read.
    """
    found = read_record(record.body)
    try:
        return _shown(bot, found["flow_data"], found["run"])
    except (AttributeError, LookupError, TypeError) as error:
        raise Unreadable([f"a part of the turn record has a wrong form: {type(error).__name__}"]) from None


_OURS: Final = ("flow_type", "channel", "_validation_context", "_validation_state")
"""The fields of the data of a run that are the framework's."""


def _shown(bot: Bot, flow_data: Mapping[str, Any], run: Mapping[str, Any]) -> Fields:
    if not flow_data:
        return {}
    data = flow_data["data"]
    name = data["flow_type"]
    own = {field: value for field, value in data.items() if field not in _OURS}
    return {
        "flow": name,
        "state": flow_data["step"],
        "run": flow_data["id"],
        "version": run.get("version", 1),
        "data": masked_fields(bot, name, run.get("version", 1), own),
        "questions": list(run.get("trail", ())),
        "attempts": data["_validation_context"].get("attempts", 0),
    }


def masked_fields(bot: Bot, flow: str, version: int, values: Fields) -> Fields:
    """Return the data of a run as the audit shows it; all of it is masked where the bot has the declaration no more.

    Args:
        bot: The bot.
        flow: The name of the run's flow.
        version: The version of its declaration.
        values: The data by field.
    """
    declared: Sequence[Any] = [each for each in bot.definitions(flow) if each.version == version]
    public = declared[0].public if declared else ()
    return {
        name: value if name in public else None if value is None or value in ("", [], {}) else MASK
        for name, value in values.items()
    }
