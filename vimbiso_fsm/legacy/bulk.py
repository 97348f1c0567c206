"""Import of all records of the previous release, beside live traffic, by any number of processes.

A run reads the keys page by page, imports each record (`convert.py`) and reports those that stay as they are. It has no
state of its own, because a record that was imported before is recognised by its token. A run that was killed is started
again, and several runs at the same time share the work. The records stay until a run with `purge`, which deletes those
that are proven to be imported and have not changed since.

The owner of a number is the member that the record names. A mapping file (`read_mapping`) or a look-up may name the
owner where the record names none. Without an owner a record becomes a guest until the member logs in.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeAlias

import attrs

from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.errors import DamagedDocument, RecordNotImported, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.legacy.convert import ImportRecord
from vimbiso_fsm.legacy.records import is_number, masked, not_imported, record_digests
from vimbiso_fsm.legacy.source import AsyncLegacySource
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import LegacyRecord, run_awaited
from vimbiso_fsm.store.requests import AsyncStore, Commit, Link, ReadDigests, Request

AT_ONCE: Final = 256
"""The number of records that are imported at the same time."""
LOOK_UPS: Final = 16
"""The number of look-ups that are made at the same time."""
LONGEST_LINE: Final = 4096
"""The maximum size of a line of a mapping, in bytes."""

LookUpNumber: TypeAlias = Callable[[str], str | None]
"""Returns the owner of a number, or None. It raises if the owner cannot be determined, and is called in a thread."""


# Mapping -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class MemberMapping:
    """The owners of numbers, from a mapping file.

    Attributes:
        members: The member of each number.
        ambiguous: The numbers that have several members, each with its lines.
        faults: One sentence for each line that is not used.
    """

    members: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    ambiguous: Mapping[str, tuple[int, ...]] = attrs.field(factory=dict, repr=False)
    faults: tuple[str, ...] = ()


def read_mapping(path: Path) -> MemberMapping:
    """Read a mapping of numbers to members.

    The file is JSON Lines of `{"number": "…", "member_id": "…"}`, or CSV with the same two columns and an optional
    header. A `+` before a number is ignored.

    Raises:
        OSError: The file cannot be read.
    """
    found: dict[str, dict[str, int]] = {}
    faults: list[str] = []
    for place, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip() or (place == 1 and line.strip().lower() == b"number,member_id"):
            continue
        try:
            number, member_id = _pair(line)
        except ValueError as error:
            faults.append(f"mapping line {place}: {error}")
            continue
        given = found.setdefault(number, {})
        if member_id in given:
            faults.append(f"mapping line {place}: says the same of {masked(number)} as line {given[member_id]}")
        elif given:
            first = next(iter(given.values()))
            faults.append(f"mapping line {place}: {masked(number)} was given to another member in line {first}")
        given.setdefault(member_id, place)
    members = {number: next(iter(given)) for number, given in found.items() if len(given) == 1}
    ambiguous = {number: tuple(given.values()) for number, given in found.items() if len(given) > 1}
    return MemberMapping(members, ambiguous, tuple(faults))


def _pair(line: bytes) -> tuple[str, str]:
    """Return the number and the member of a line.

    Raises:
        ValueError: The line is invalid.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"has more than {LONGEST_LINE} bytes")
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is not in UTF-8") from None
    number, member_id = _from_json(line) if text.startswith("{") else _from_csv(text)
    number = number.strip().removeprefix("+")
    if not is_number(number):
        raise ValueError("number is not a telephone number: 7 to 15 digits with the country code")
    if not member_id or member_id != member_id.strip() or not member_id.isprintable() or len(member_id) > 200:
        raise ValueError("member_id is empty, too long, or has blanks or control characters at its ends or in it")
    return number, member_id


def _from_json(line: bytes) -> tuple[str, str]:
    try:
        found = loads(line)
    except Unreadable as error:
        raise ValueError(str(error)) from None
    number, member_id = found.get("number"), found.get("member_id")
    if not isinstance(number, str) or not isinstance(member_id, str):
        raise ValueError("needs number and member_id, both texts")  # noqa: TRY004  # a line of a file, not an argument
    return number, member_id


def _from_csv(text: str) -> tuple[str, str]:
    try:
        cells = next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(f"is not CSV: {error}") from None
    if len(cells) != 2:
        raise ValueError(f"has {len(cells)} cells, not number and member_id")
    return cells[0], cells[1].strip()


# Report ------------------------------------------------------------------------------------------------------------


@attrs.define
class Counts:
    """The numbers of records, by outcome.

    Attributes:
        converted: Records imported by this run.
        already: Records imported before, by an earlier run, another process or a message.
        possible: Records that would be imported, in a dry run.
        refused: Records that stay as they are.
        purged: Records deleted.
        seen: Records read.
        keys: Keys scanned.
    """

    converted: int = 0
    already: int = 0
    possible: int = 0
    refused: int = 0
    purged: int = 0
    seen: int = 0
    keys: int = 0


class Report:
    """A file of the records that were not imported, as JSON Lines that only the file's owner can read.

    Each run writes the file anew. A line names a record by the last digits of its number and by the digest of its
    channel, as in the audit; `find` returns the number of a digest. The last line, of the kind "summary", has the
    counts. A report without it is of a run that was interrupted.
    """

    def __init__(self, path: Path | None) -> None:
        """Open a report. `path`: the file, or None for no report.

        Raises:
            OSError: The file cannot be written.
        """
        self._file = (
            None if path is None else os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")
        )

    def add(self, refusal: RecordNotImported) -> None:
        """Add a record that stays as it is."""
        facts = {"record": refusal.record, "digest": refusal.digest, "field": refusal.field, "reason": refusal.fault}
        self._write({"kind": "record", **facts})

    def mapping(self, fault: str) -> None:
        """Add a line of the mapping that was not used."""
        self._write({"kind": "mapping", "reason": fault})

    def end(self, counts: Counts) -> None:
        """Add the last line, with the counts."""
        self._write({"kind": "summary", **attrs.asdict(counts)})

    def _write(self, line: Mapping[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


# Run ---------------------------------------------------------------------------------------------------------------


class BulkImport:
    """One run over all records of the previous release.

    Attributes:
        counts: The counts so far.
    """

    counts: Counts

    def __init__(
        self,
        bot: Bot,
        store: AsyncStore,
        records: AsyncLegacySource,
        *,
        numbers: MemberMapping | None = None,
        look_up: LookUpNumber | None = None,
        dry_run: bool = False,
        purge: bool = False,
        rate: float | None = None,
        accounts: Sequence[str] = (),
        refused: Callable[[RecordNotImported], None] = lambda refusal: None,
        progress: Callable[[int], None] = lambda keys: None,
    ) -> None:
        """Prepare a run.

        Args:
            bot: The bot, whose importer declares the conversion.
            store: The store of the documents.
            records: The source of the records.
            numbers: A mapping of numbers to members.
            look_up: Returns the members of numbers whose record names none; it must not contradict the mapping. With a
                mapping or a look-up each record must have a member, unless its open flow has no requirements.
            dry_run: Write nothing.
            purge: Delete the records that are proven to be imported.
            rate: The maximum number of imports a second; None for no limit.
            accounts: The accounts of the bot at which members may have begun conversations.
            refused: Called with the refusal of each record that stays as it is.
            progress: Called with the number of keys scanned on each page.

        Raises:
            ValueError: Both `dry_run` and `purge` are given.
        """
        if dry_run and purge:
            raise ValueError("a dry run deletes nothing; leave out dry_run or purge")
        self._bot, self._store, self._records = bot, store, records
        self._numbers, self._look_up = numbers or MemberMapping(), look_up
        self._known_only = numbers is not None or look_up is not None
        self._dry, self._purge = dry_run, purge
        self._pace = _Pace(rate)
        self._accounts = tuple(accounts)
        self._asking = asyncio.Semaphore(LOOK_UPS)
        self._refused, self._progress = refused, progress
        self._cache = Cache(0)
        self.counts = Counts()

    async def run(self) -> Counts:
        """Import all records.

        Raises:
            StoreUnavailable, CommitUnknown: Nothing is lost; run it again.
        """
        self._bot = self._bot.with_digests(await self._store.perform(ReadDigests()))
        seen: set[str] = set()
        async for keys, page in self._records.pages():
            numbers = [number for number in dict.fromkeys(page) if number not in seen]
            seen.update(numbers)
            for first in range(0, len(numbers), AT_ONCE):
                await self._convert_all(numbers[first : first + AT_ONCE])
            self.counts.keys += keys
            self._progress(keys)
        return self.counts

    async def _convert_all(self, numbers: Sequence[str]) -> None:
        records = await self._records.read_all(numbers)
        _check_cancelled()
        done = await asyncio.gather(*map(self._convert, records), return_exceptions=True)
        proven: list[LegacyRecord] = []
        for record, outcome in zip(records, done, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            self.counts.seen += 1
            setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
            if outcome in ("converted", "already"):
                proven.append(record)
        if self._purge and proven:
            self.counts.purged += await self._records.delete(proven)

    async def _convert(self, record: LegacyRecord) -> str:
        """Import one record, and return its outcome, the name of a field of `Counts`."""
        paced = False
        failure: Exception | None = None

        async def perform(effect: Request) -> object:
            nonlocal paced, failure
            if not paced and (isinstance(effect, Link) or (isinstance(effect, Commit) and effect.document)):
                await self._pace.wait()
                paced = True
            try:
                answer: object = await self._store.perform(effect)
            except Exception as error:
                failure = error
                raise
            return answer

        try:
            importing = await self._read(record)
            imported = await run_awaited(importing.run(Context(self._bot, self._cache, time.time())), perform)
        except RecordNotImported as refusal:
            self._refused(refusal.with_digest(record_digests(self._bot.digests, record.number)[0]))
            return "refused"
        except Exception as error:  # whatever is wrong at one record or member, the others are imported
            if error is failure and not isinstance(error, DamagedDocument):
                raise
            self._refused(not_imported(record.number, "", f"could not be stored: {type(error).__name__}"))
            return "refused"
        return imported.outcome

    async def _read(self, record: LegacyRecord) -> ImportRecord:
        """Read a record, with the owner of its number.

        Raises:
            RecordNotImported: The record cannot be read, or its owner is uncertain.
        """
        places = self._numbers.ambiguous.get(record.number)
        if places:
            lines = ", ".join(map(str, places))
            raise not_imported(
                record.number, "member_id", f"is not known: the mapping names several members (lines {lines})"
            )
        mapped = self._numbers.members.get(record.number)
        if self._look_up is None or self._import(record, None).named is not None:
            return self._import(record, mapped)
        found = await self._looked_up(record.number, self._look_up)
        if mapped is not None and found != mapped:
            other = "a member whom the look-up does not know" if found is None else "another member than the look-up"
            raise not_imported(record.number, "member_id", f"is not known: the mapping names {other}")
        return self._import(record, found)

    def _import(self, record: LegacyRecord, mapped: str | None) -> ImportRecord:
        return ImportRecord(
            self._bot,
            record,
            mapped=mapped,
            known_only=self._known_only,
            dry=self._dry,
            accounts=self._accounts,
        )

    async def _looked_up(self, number: str, look_up: LookUpNumber) -> str | None:
        def ask() -> str | None:
            try:
                return look_up(number)
            except BaseException as error:  # an exception of the author's function must not end the run
                fault = f"could not be looked up: {type(error).__name__}"
                raise not_imported(number, "member_id", fault) from error

        async with self._asking:
            return await asyncio.to_thread(ask)


class _Pace:
    """A bound on the number of imports that begin in a second."""

    def __init__(self, rate: float | None) -> None:
        self._apart = 1 / rate if rate else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        """Wait until the next import may begin."""
        if self._apart:
            now = time.monotonic()
            begin = max(now, self._next)
            self._next = begin + self._apart
            await _sleep(begin - now)


_sleep = asyncio.sleep


def _check_cancelled() -> None:
    """Stop a task that was cancelled.

    redis-py takes a cancellation during its check of an idle connection for a timeout of its own, and goes on.

    Raises:
        CancelledError: The task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def find(records: AsyncLegacySource, store: AsyncStore, digest: str) -> tuple[str, ...]:
    """Return the unmasked numbers of the records that a report names by a digest, of which the beginning suffices.

    Args:
        records: The source of the records.
        store: The store of the documents, whose keys the digests have.
        digest: The digest, or its beginning.
    """
    digests, found = await store.perform(ReadDigests()), list[str]()
    async for _, page in records.pages():
        for number in page:
            if number not in found and any(each.startswith(digest) for each in record_digests(digests, number)):
                found.append(number)
    return tuple(found)
