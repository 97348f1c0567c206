"""Audit entries, and the incidents that stand beside them.

An entry names each transition tried and the verdict of each guard. It never contains what a member wrote: an address
stands in it as a digest, and data as `redaction.py` shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypedDict, Unpack

import attrs

from vimbiso_fsm.audit.short_form import AuditEntry as AuditEntry  # noqa: PLC0414  # exported
from vimbiso_fsm.audit.short_form import AuditStep as AuditStep  # noqa: PLC0414  # exported
from vimbiso_fsm.audit.short_form import lengthen, shorten
from vimbiso_fsm.document.document import Fields, Run
from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.document.json_codec import dumps, dumps_unstructured, loads
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import Entry, digest


@attrs.frozen(eq=False, repr=False)
class Incident(Value):
    """An event that changed no document. It is no part of the chain of entries.

    Attributes:
        at: The instant of the event.
        kind: "mismatch" (a used token came with other content), "waiver" (a start on a store that the doctor refuses),
            "legacy" (a record of the previous release that could not be imported), "damage" (a damaged key that
            belongs to no single member was put aside or restored, or a worker met a damaged document), "waking" (a
            waking of the member failed) or "clock" (the store's clock and that of a process differ by more than an
            hour, or do no longer), "archive" (the archive refuses, has another entry of the same version, or a damaged
            entry cannot be moved to it) or "address" (the channel tells of a new address of the member that could not
            be linked).
        member_id: The member; None for an incident of the store as a whole.
        channel: The type of the channel, and a digest of its identifier.
        token: The token of the message.
        flow: The flow in which the member stood.
        run: The id of the run.
        detail: Further facts about the event. They quote no data of the member.
    """

    at: datetime
    kind: str
    member_id: str | None = None
    channel: tuple[str, str] = ("", "")
    token: str = ""
    flow: str = ""
    run: str = ""
    detail: Fields = attrs.field(factory=dict)

    @property
    def body(self) -> bytes:
        """The incident as it is stored."""
        return dumps({**attrs.asdict(self), "at": self.at.isoformat()}, "incident")

    @classmethod
    def read(cls, body: bytes) -> Incident:
        """Return a stored incident.

        Raises:
            Unreadable: The bytes hold no incident.
        """
        return structure(loads(body), cls)


class Facts(TypedDict, total=False):
    """Attributes of an `AuditEntry` that not every commit has, by name."""

    status: str
    root: str
    source: str
    dest: str
    flow: str
    run: str
    trigger: str
    steps: tuple[AuditStep, ...]
    codes: tuple[str, ...]
    before: Fields
    after: Fields
    changed: tuple[str, ...]
    verdict: Fields
    detail: Fields


def entry_for(
    kind: str,
    token: str,
    *,
    member_id: str,
    version: int,
    at: datetime,
    channel: tuple[str, str],
    stands: Run | None = None,
    **facts: Unpack[Facts],
) -> AuditEntry:
    """Make the entry of one commit that is no turn. `engine.close.close` makes those of turns.

    Args:
        kind: What the commit is, as in `AuditEntry`.
        token: The token of the commit, which is its own root unless `facts` name another.
        member_id: The member whose document is stored or removed.
        version: The version of the document that the commit makes.
        at: The instant of the commit, with a time zone.
        channel: The member's channel as `Digests.shown` shows it; two empty texts where it is not known.
        stands: The run in which the member stands after the commit; None without one.
        **facts: Further attributes of the entry. They precede what is said here.
    """
    known: Facts = {"status": "advanced", "root": token}
    if stands is not None:
        known |= {"dest": stands.step, "flow": stands.flow, "run": stands.id}
    return AuditEntry(
        version=version,
        at=at,
        member_id=member_id,
        channel=channel,
        kind=kind,
        token=token,
        **known | facts,
    )


def failure_of_delivery(entry: AuditEntry) -> tuple[str, str]:
    """Return why replies of a member were not sent, or an inbox did not take what was passed on.

    Args:
        entry: The entry.

    Returns:
        The answer ("later", "never" or "unknown") and its reason: the code or the words of the channel, or the class of
        the exception of the sender; two empty texts of any other entry.
    """
    answer = entry.detail.get("answer") if entry.status == "failed" else None
    if answer not in ("later", "never", "unknown"):
        return "", ""
    return answer, entry.detail.get("code") or entry.detail.get("reason") or ""


def life_of_guest(entries: Iterable[AuditEntry], version: int) -> list[AuditEntry]:
    """Return the entries of the guest, or of the merged member, that a promotion ended.

    Before the latest wipe and after the promotion, the id of a guest may have belonged to another person on the
    channel. That of a member belongs to one person.

    Args:
        entries: The entries of the id, oldest first.
        version: The version of its document at which the promotion happened.
    """
    known = list(entries)
    all_ends = ends_of_lives(known)
    begins = max((end for end in all_ends if end <= version), default=0)
    ends = min((end for end in all_ends if end > version), default=version)
    if known and not is_guest_id(known[0].member_id):
        begins = 0
    return [entry for entry in known if begins < entry.version <= ends]


def ends_of_lives(entries: Iterable[AuditEntry]) -> list[int]:
    """Return the versions after which the id of a guest may belong to another person on the channel."""
    return [entry.version for entry in entries if entry.kind in ("wipe", ERASED)]


def seal(entry: AuditEntry, document: bytes, previous: str) -> Entry:
    """Return an entry as it is stored.

    Args:
        entry: The entry, without its digests.
        document: The bytes of the document that is stored with it.
        previous: The digest of the previous entry; "" for the first.

    Raises:
        NotStorable: JSON cannot hold a value.
    """
    body = dumps_unstructured(shorten(entry, digest(document), previous), "audit entry")
    return Entry(entry.version, digest(body), body)


def body_of(entry: AuditEntry, document: str, previous: str) -> bytes:
    """Return the body of an entry.

    Args:
        entry: The entry, without its digests.
        document: The digest of the document that is stored with it.
        previous: The digest of the previous entry; "" for the first.

    Raises:
        NotStorable: JSON cannot hold a value.
    """
    return dumps_unstructured(shorten(entry, document, previous), "audit entry")


ERASED: Final = "erase"
"""The kind of an entry that stands for others, whose content was erased."""


def tombstone(entry: AuditEntry, previous: str) -> bytes:
    """Return the body that stands for erased entries. It has the digest of the last of them, not one of its own.

    Args:
        entry: The entry of the erasure, with the version of the last entry that it stands for.
        previous: The digest of the entry before the first of them; "" without one.
    """
    return seal(entry, b"", previous).body


def is_erased(entry: Entry) -> bool:
    """Return whether a stored entry stands for others that were erased."""
    try:
        return unseal(entry).kind == ERASED
    except Unreadable:
        return False


def unseal(entry: Entry) -> AuditEntry:
    """Return a stored entry as an object.

    Raises:
        Unreadable: Its bytes hold no entry.
    """
    return structure(long_form(entry), AuditEntry)


def long_form(entry: Entry) -> Mapping[str, Any]:
    """Return a stored entry as plain data, with each field by the name of its attribute.

    Raises:
        Unreadable: Its bytes hold no object, or its short form is damaged.
    """
    raw = loads(entry.body)
    if not isinstance(raw, dict):
        raise Unreadable(["an audit entry must be an object"])
    return lengthen(raw)
