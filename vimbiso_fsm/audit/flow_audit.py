"""The audit: one entry a commit, redacted, chained; read back, and told to observers.

An entry is part of the decision and is stored by the same script as the document, so a success in the audit is a
success in the store. It names each transition tried and each guard's verdict. It never holds what a member wrote:
a data field's value stands in it only when its author marked it `flow.PUBLIC`, an address only as a digest, an
error only as its type and the places in the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident, unseal
from vimbiso_fsm.document.ids import channel_digest
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store.requests import Entry, Record, digest


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
class CommitEvent:
    """What observers are told after a commit. It grows by attributes.

    `entry`: as it was decided; its digests are added when it is sealed. `attempts`: commits it took. `digest`: of the
    sealed entry.
    """

    entry: AuditEntry
    attempts: int = 1
    digest: str = ""


class Observer(Protocol):
    """A function that receives each commit after it is stored. Its exceptions are logged and have no other effect."""

    def __call__(self, details: CommitEvent, /) -> None:
        """Receive a commit."""
        ...


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

    def tell(self, details: CommitEvent) -> None:
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
        both included. An instant without a zone is UTC.
        """
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
        whole. No value is quoted.
        """
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
        """The `flow_data` as the turn record of a version keeps it (without fields marked secret).

        None when it is not kept any more.

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
