"""TODO."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any, Final

import attrs

from vimbiso_fsm.document.codec import Unreadable, dumps, dumps_unstructured, loads, structure
from vimbiso_fsm.document.document import FlowData
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.store.requests import Entry, digest


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
