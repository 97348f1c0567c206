"""The entries of the audit and the incidents beside it: made, sealed, read.

An entry names each transition tried and each guard's verdict. It never holds what a member wrote: an address stands in
it only as a digest, data only as `redaction.py` lets through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.document.ids import channel_digest
from vimbiso_fsm.document.json_codec import dumps, dumps_unstructured, loads
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store.requests import Entry, digest


@attrs.frozen
class AuditStep:
    """One trigger tried. `dest` is None when nothing accepted it. `guards`: what each guard said, in order. A run that
    begins is a step from "" by "start". `version`, `fingerprint`: of the flow's declaration that decided; 0 and "" in
    an entry from before they were kept. `effect`: whether `dest` was a call with an effect then, whatever is declared
    of it later; known where the version is.
    """

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


def entry_for(
    kind: str,
    token: str,
    *,
    member_id: str,
    version: int,
    at: datetime,
    channel: Channel | None,
    run: Run | None = None,
    source: str = "",
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Make the entry of one commit. Every entry is made here.

    Args:
        kind: What the commit is, as in `AuditEntry`.
        token: The token of the commit, which is its own root.
        member_id: The member whose document is stored or removed.
        version: The version that the commit makes.
        at: The instant of the commit, with a time zone.
        channel: The member's channel, None where it is not known. The entry keeps a digest of it.
        run: The run in which the member stands after the commit, None at none.
        source: The state in which the member stood before.
        detail: Facts about the commit; they quote no data of the member.
    """
    return AuditEntry(
        version=version,
        at=at,
        member_id=member_id,
        channel=channel_digest(channel) if channel is not None else ("", ""),
        kind=kind,
        status="advanced",
        token=token,
        root=token,
        source=source,
        dest=run.step if run is not None else "",
        flow=run.flow if run is not None else "",
        run=run.id if run is not None else "",
        detail=detail or {},
    )


def life_of_guest(entries: Iterable[AuditEntry], version: int) -> list[AuditEntry]:
    """Of a guest's entries, oldest first, those of the life that ended when they became a member at `version`: before
    it, and since, their channel may have been somebody else's.
    """
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
