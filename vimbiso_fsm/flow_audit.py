"""The audit: one entry a commit, redacted, chained; read back, and told to observers.

An entry is part of the decision and is stored by the same script as the document, so a success in the audit is a
success in the store. It names each transition tried and each guard's verdict. It never holds what a member wrote:
a data field's value stands in it only when its author marked it `flow.PUBLIC`, an address only as a digest, an
error only as its type and the places in the code.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Final, Protocol

import attrs

from vimbiso_fsm.codec import Unreadable, dumps, dumps_unstructured, loads, structure
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow import Flow
from vimbiso_fsm.messages import Channel
from vimbiso_fsm.state import FlowData
from vimbiso_fsm.store import Entry, Record, digest

__all__ = [
    "AuditEntry",
    "AuditStep",
    "Details",
    "FlowAuditLogger",
    "Incident",
    "Observer",
    "channel_digest",
    "error_record",
    "life_of_guest",
    "redacted",
    "seal",
    "unseal",
]


@attrs.frozen
class AuditStep:
    """One trigger tried. `dest` is None when nothing accepted it. `guards`: what each guard said, in order. A run that
    begins is a step from "" by "start". `version`, `fingerprint`: of the flow's declaration that decided; 0 and "" in
    an entry from before they were kept. `effect`: whether `dest` was a call with an effect then, whatever is declared
    of it later; known where the version is."""

    flow: str
    run: str
    source: str
    dest: str | None
    trigger: str
    guards: tuple[tuple[str, str], ...] = ()
    version: int = 0
    fingerprint: str = ""
    effect: bool = False


@attrs.frozen
class AuditEntry:
    """What one commit did.

    `kind`: "transition", "refusal", "command", "page", "start", "call", "timer", "session", "delivery", "recovery",
    "move", "update", "migration", "reset", "wipe" or "error". `before`, `after`: the run's data, redacted by field;
    `changed`: fields that differ. `codes`: the refusals said. `verdict`: the latest verdict on an answer. `channel`:
    type, and a digest of the identifier. `document`: digest of the stored bytes; `previous`: digest of the entry
    before, "" for the first.
    """

    version: int
    at: datetime
    member_id: str
    channel: tuple[str, str]
    kind: str
    status: str
    token: str
    root: str
    source: str = ""
    dest: str = ""
    flow: str = ""
    run: str = ""
    trigger: str = ""
    steps: tuple[AuditStep, ...] = ()
    codes: tuple[str, ...] = ()
    before: Mapping[str, Any] = attrs.field(factory=dict)
    after: Mapping[str, Any] = attrs.field(factory=dict)
    changed: tuple[str, ...] = ()
    verdict: Mapping[str, Any] = attrs.field(factory=dict)
    detail: Mapping[str, Any] = attrs.field(factory=dict)
    document: str = ""
    previous: str = ""

    @property
    def guards(self) -> tuple[tuple[str, str], ...]:
        """The verdicts of all guards, in the order they were asked."""
        return tuple(verdict for step in self.steps for verdict in step.guards)


@attrs.frozen
class Incident:
    """What happened and changed no document: it stands beside the chain of entries, not in it.

    `kind`: "mismatch" (a used token came with other content), "waiver" (a start on a store that the doctor refuses),
    "legacy" (a record of the release before that could not be taken over).
    `member_id` is None for what concerns the store as a whole. `channel`: type, and a digest of the identifier.
    """

    at: datetime
    kind: str
    member_id: str | None = None
    channel: tuple[str, str] = ("", "")
    token: str = ""
    flow: str = ""
    run: str = ""
    detail: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def body(self) -> bytes:
        """The incident as it is stored."""
        return dumps({**attrs.asdict(self), "at": self.at.isoformat()}, "incident")

    @classmethod
    def read(cls, body: bytes) -> Incident:
        """A stored incident.

        Raises: Unreadable.
        """
        return structure(loads(body), cls)


_NAMES = tuple(attrs.fields_dict(AuditEntry))


def channel_digest(channel: Channel) -> tuple[str, str]:
    """A channel as it stands in the audit: its type, and a digest that finds it again but does not show it."""
    return _channel_digest(channel.type, channel.identifier)


@lru_cache(maxsize=4096)
def _channel_digest(type: str, identifier: str) -> tuple[str, str]:
    return type, hashlib.sha256(f"{len(type)}:{type}:{identifier}".encode()).hexdigest()[:16]


_EMPTY: Final[Sequence[Any]] = ("", [], {})


def redacted(flow: Flow[Any], flow_data: FlowData) -> dict[str, Any]:
    """A run's data as it stands in the audit: public values, a mark for any other that is set."""
    public = flow.public
    return {
        name: value if name in public else None if value is None or value in _EMPTY else "•"
        for name, value in flow_data.data.fields.items()
    }


def error_record(error: BaseException, reference: str) -> dict[str, Any]:
    """What the audit keeps of an exception: its type and where it came from. Its message may quote what a member
    wrote and is left out, but for this library's own errors, which quote nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "reference": reference,
        "type": type(error).__name__,
        "message": str(error) if isinstance(error, VimbisoError) else "",
        "where": [f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in frames[-8:]],
    }


def life_of_guest(entries: Iterable[AuditEntry], version: int) -> list[AuditEntry]:
    """Of a guest's entries, oldest first, those of the life that ended when they became a member at `version`: before
    it, and since, their channel may have been somebody else's."""
    known = list(entries)
    begins = max((entry.version for entry in known if entry.kind == "wipe" and entry.version <= version), default=0)
    ends = min((entry.version for entry in known if entry.kind == "wipe" and entry.version > version), default=version)
    return [entry for entry in known if begins < entry.version <= ends]


def _step_to_raw(step: AuditStep) -> dict[str, Any]:
    """A step as it is stored. Fields that older releases do not know are left out while they are empty."""
    raw: dict[str, Any] = {
        "flow": step.flow,
        "run": step.run,
        "source": step.source,
        "dest": step.dest,
        "trigger": step.trigger,
        "guards": step.guards,
    }
    if step.version:
        raw["version"] = step.version
    if step.fingerprint:
        raw["fingerprint"] = step.fingerprint
    if step.effect:
        raw["effect"] = True
    return raw


def seal(entry: AuditEntry, document: bytes, previous: str) -> Entry:
    """The entry as it is stored: with the digest of the document and of the entry before."""
    raw = {name: value for name in _NAMES if (value := getattr(entry, name))}
    raw["version"] = entry.version
    raw["at"] = entry.at.isoformat()
    raw["steps"] = [_step_to_raw(step) for step in entry.steps]
    raw["document"] = digest(document)
    raw["previous"] = previous
    body = dumps_unstructured(raw, "audit entry")
    return Entry(entry.version, digest(body), body)


def unseal(entry: Entry) -> AuditEntry:
    """A stored entry, read.

    Raises: Unreadable.
    """
    raw = loads(entry.body)
    if not isinstance(raw, dict):
        raise Unreadable(["an audit entry must be an object"])
    return structure(raw, AuditEntry)


def _text_faults(entry: Entry, before: Entry | None) -> Iterator[str]:
    """What is wrong with an entry's text, beside its digest."""
    try:
        read = unseal(entry)
    except Unreadable as error:
        yield f"entry {entry.version}: it cannot be read: {error}"
        return
    if read.version != entry.version:
        yield f"entry {entry.version}: its text is that of entry {read.version}"
    if before is not None and read.previous != before.digest:
        yield f"entry {entry.version}: it does not continue entry {before.version}"


def _in_utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@attrs.frozen
class Details:
    """What observers are told after a commit. It grows by attributes.

    `entry`: as it was decided; its digests are added when it is sealed. `attempts`: commits it took. `digest`: of the
    sealed entry.
    """

    entry: AuditEntry
    attempts: int = 1
    digest: str = ""


class Observer(Protocol):
    """Is told of each commit once it is stored. What it raises is logged and goes no further."""

    def __call__(self, details: Details, /) -> None: ...


class FlowAuditLogger:
    """Reads the audit back, finds the last valid state, tells observers.

    `report` is told of an observer's exception: `report(observer's name, exception)`.
    """

    def __init__(
        self,
        observers: Sequence[Observer] = (),
        report: Callable[[str, BaseException], None] = lambda name, error: None,
    ) -> None:
        self._observers = tuple(observers)
        self._report = report

    def tell(self, details: Details) -> None:
        """Tell every observer, each on its own."""
        for observer in self._observers:
            try:
                observer(details)
            except Exception as error:  # noqa: BLE001  # an observer can never veto or break a turn
                self._report(getattr(observer, "__name__", type(observer).__name__), error)

    @staticmethod
    def read(entries: Iterable[Entry]) -> tuple[AuditEntry, ...]:
        """Stored entries as objects, in their order."""
        return tuple(map(unseal, entries))

    @staticmethod
    def fits(
        entry: AuditEntry | Incident,
        *,
        channel: Channel | None = None,
        flow: str | None = None,
        run: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> bool:
        """Whether an entry, or an incident, is one of those asked for; what is not asked for fits. `since`, `until`:
        both included. An instant without a zone is UTC."""
        steps = entry.steps if isinstance(entry, AuditEntry) else ()
        at = _in_utc(entry.at)
        return (
            (channel is None or entry.channel == channel_digest(channel))
            and (flow is None or flow in {entry.flow, *(step.flow for step in steps)})
            and (run is None or run in {entry.run, *(step.run for step in steps)})
            and (since is None or at >= _in_utc(since))
            and (until is None or at <= _in_utc(until))
        )

    @staticmethod
    def faults(entries: Sequence[Entry]) -> tuple[str, ...]:
        """What is wrong with the chain: a gap, a digest that does not fit, a text that is no entry. Empty when it is
        whole. No value is quoted."""
        found: list[str] = []
        before: Entry | None = None
        for entry in entries:
            if digest(entry.body) != entry.digest:
                found.append(f"entry {entry.version}: its digest does not fit its text")
            if before is not None and entry.version != before.version + 1:
                found.append(f"entry {entry.version} follows entry {before.version}")
            found += _text_faults(entry, before)
            before = entry
        return tuple(found)

    @staticmethod
    def state_at(version: int, entries: Sequence[Entry], records: Sequence[Record]) -> Mapping[str, Any] | None:
        """The `flow_data` as the turn record of a version keeps it (without fields marked secret); None when it is not
        kept any more.

        Raises: Unreadable when the entry of that version cannot be read.
        """
        tokens = {unseal(entry).token for entry in entries if entry.version == version}
        return FlowAuditLogger.last_valid_state(
            [record for record in records if record.token in tokens], lambda _: True
        )

    @staticmethod
    def last_valid_state(
        records: Sequence[Record], valid: Callable[[Mapping[str, Any]], bool]
    ) -> Mapping[str, Any] | None:
        """The `flow_data` of the latest turn record that `valid` accepts; None when none does."""
        for record in reversed(records):
            try:
                flow_data = loads(record.body).get("flow_data")
            except (Unreadable, AttributeError):
                continue
            if flow_data and valid(flow_data):
                return dict(flow_data)
        return None
