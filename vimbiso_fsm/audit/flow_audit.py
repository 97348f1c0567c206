"""The audit logger: reads entries, verifies their chain, finds stored states, and tells observers.

An entry is part of the decision and is stored by the same script as the document, so a success in the audit is a
success in the store. The value of a field is shown only when its author marked it `PUBLIC`; an error is shown as its
type and the places in the code that it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, Incident, unseal
from vimbiso_fsm.audit.folding import first_instant, first_of, is_whole
from vimbiso_fsm.document.document import Fields
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.store.requests import Entry, Record


@attrs.frozen
class CommitEvent:
    """A stored turn, as observers are told of it. Later releases may add attributes.

    Attributes:
        entry: The entry as it was decided, without the digests that it is sealed with.
        attempts: The number of commits that were tried.
        digest: The digest of the sealed entry.
    """

    entry: AuditEntry
    attempts: int = 1
    digest: str = ""


class Observer(Protocol):
    """A function that is told of each stored turn. An exception of it is logged and has no other effect."""

    def __call__(self, details: CommitEvent, /) -> None:
        """Take notice of a stored turn."""
        ...


class FlowAuditLogger:
    """The audit logger.

    Args:
        observers: The functions that are told of each stored turn.
        report: Called with the name of an observer and the exception that it raised.

    Attributes:
        is_observed: Whether there are observers.
    """

    def __init__(
        self,
        observers: Sequence[Observer] = (),
        report: Callable[[str, BaseException], None] = lambda name, error: None,
    ) -> None:
        self._observers = tuple(observers)
        self.is_observed: Final = bool(self._observers)
        self._report = report

    def tell(self, details: CommitEvent) -> None:
        """Tell all observers of a stored turn. An exception of one does not keep it from the others."""
        for observer in self._observers:
            try:
                observer(details)
            except BaseException as error:  # an observer can never veto or break a turn
                if is_interrupt(error):
                    raise
                self._report(getattr(observer, "__name__", type(observer).__name__), error)

    @staticmethod
    def read(entries: Iterable[Entry]) -> tuple[AuditEntry, ...]:
        """Return stored entries as objects, in their order.

        Raises:
            Unreadable: The bytes of an entry hold no entry.
        """
        return tuple(map(unseal, entries))

    @staticmethod
    def fits(
        entry: AuditEntry | Incident,
        *,
        channels: Collection[tuple[str, str]] | None = None,
        flow: str | None = None,
        run: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> bool:
        """Return whether an entry or an incident matches all filters that are given.

        An entry that stands for a row of messages matches a time if one of them may.

        Args:
            entry: The entry or the incident.
            channels: The channel of the member, as the audit may show it (`Digests.all_shown`).
            flow: The flow of the run, or of a step.
            run: The id of the run, or of the run of a step.
            since: The earliest instant, included. An instant without a time zone is UTC.
            until: The latest instant, included. An instant without a time zone is UTC.
        """
        steps = entry.steps if isinstance(entry, AuditEntry) else ()
        at = _in_utc(entry.at)
        began = _in_utc(first_instant(entry)) if isinstance(entry, AuditEntry) else at
        return (
            (channels is None or entry.channel in channels)
            and (flow is None or flow in {entry.flow, *(step.flow for step in steps)})
            and (run is None or run in {entry.run, *(step.run for step in steps)})
            and (since is None or at >= _in_utc(since))
            and (until is None or began <= _in_utc(until))
        )

    @staticmethod
    def faults(entries: Sequence[Entry]) -> tuple[str, ...]:
        """Return the faults of a chain of entries; none when it is whole.

        Faults are gaps, digests that do not fit, and texts that are no entry. No value is quoted.
        """
        found: list[str] = []
        before: Entry | None = None
        for entry in entries:
            if not is_whole(entry):
                found.append(f"entry {entry.version}: its digest does not fit its text")
            first = first_of(entry)
            if before is not None and first != before.version + 1:
                found.append(f"entry {entry.version} follows entry {before.version}")
            found += _text_faults(entry, before)
            before = entry
        return tuple(found)

    @staticmethod
    def state_at(version: int, entries: Sequence[Entry], records: Sequence[Record]) -> Fields | None:
        """Return the `flow_data` of a version, without fields marked secret; None when it is no longer kept.

        Args:
            version: The version of the document.
            entries: The entries of the member.
            records: The turn records of the member.

        Raises:
            Unreadable: The entry of this version cannot be read.
        """
        tokens = {unseal(entry).token for entry in entries if entry.version == version}
        return FlowAuditLogger.last_valid_state(
            [record for record in records if record.token in tokens], lambda _: True
        )

    @staticmethod
    def last_valid_state(records: Sequence[Record], valid: Callable[[Fields], bool]) -> Fields | None:
        """Return the `flow_data` of the latest turn record that `valid` accepts; None when it accepts none."""
        for record in reversed(records):
            try:
                flow_data = read_record(record.body)["flow_data"]
            except (Unreadable, AttributeError):
                continue
            if flow_data and valid(flow_data):
                return dict(flow_data)
        return None


def _text_faults(entry: Entry, before: Entry | None) -> Iterator[str]:
    """Yield the faults of an entry's text, apart from its digest."""
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
