"""The audit looked at from outside: read whatever is damaged, verified, exported, explained; `vimbiso audit` does it.

`read_trail` reads what is kept of one member; all that follows works on that value alone.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import Unreadable, loads
from vimbiso_fsm.errors import DamagedDocument, StoreUnavailable, VimbisoError
from vimbiso_fsm.flow import Flow, Transition
from vimbiso_fsm.flow_audit import AuditEntry, AuditStep, FlowAuditLogger, Incident, life_of_guest, unseal
from vimbiso_fsm.machine import name_of
from vimbiso_fsm.store import Broken, Entry, Head, Load, ReadAudit, ReadIncidents, Store, Stored, digest
from vimbiso_fsm.wire import entry_of, incidents_key, keys_of, unword

__all__ = [
    "Candidate",
    "Explained",
    "Explanation",
    "Export",
    "NoExport",
    "NotKept",
    "Trail",
    "Wanted",
    "earlier",
    "explain",
    "faults",
    "guests",
    "members",
    "read_entries",
    "read_incidents",
    "read_trail",
]

T = TypeVar("T")
Wanted: TypeAlias = Callable[[AuditEntry | Incident], bool]
"""Says which entries and incidents are asked for; `functools.partial(FlowAuditLogger.fits, flow="pay")`, say."""


class NotKept(VimbisoError, LookupError):
    """There is no entry of this version. Attributes: `member_id`, `version`, `fault`."""

    def __init__(self, member_id: str, version: int, fault: str) -> None:
        self.member_id, self.version, self.fault = member_id, version, fault
        super().__init__(f"entry {version} of member {member_id!r} is not there: {fault}")


class NoExport(VimbisoError, ValueError):
    """A file that an export cannot go on with; it was left as it was. Attributes: `path`, `fault`."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path, self.fault = path, fault
        super().__init__(f"{path}: {fault}; name a new file, or one that an export has written")


# Reading -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Trail:
    """What is kept of one member, or (`member_id` None) the incidents of the store itself.

    `stored`: the document now, read before the entries. `damaged`: what of the lists could not be read, and where.
    """

    member_id: str | None
    stored: Stored | Broken | None
    entries: tuple[Entry, ...] = ()
    incidents: tuple[bytes, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Whose it is, in words."""
        return "the store" if self.member_id is None else self.member_id

    @property
    def empty(self) -> bool:
        """Whether nothing at all is kept."""
        stored = isinstance(self.stored, Broken) or (self.stored is not None and self.stored.document is not None)
        return not (stored or self.entries or self.incidents or self.damaged)


def read_trail(store: Store, member_id: str | None) -> Trail:
    """All that is kept of a member, or (None) of the store itself. What is damaged is said in the trail.

    Raises: StoreUnavailable when the store does not answer.
    """
    stored: Stored | Broken | None = None
    entries: tuple[Entry, ...] = ()
    damaged: list[str] = []
    if member_id is not None:
        stored = cast(Stored | Broken, store.perform(Load(member_id)))
        try:
            entries = cast("tuple[Entry, ...]", store.perform(ReadAudit(member_id)))
        except DamagedDocument as error:
            entries, damaged = _sound_entries(store, member_id, error.fault)
    try:
        incidents = cast("tuple[bytes, ...]", store.perform(ReadIncidents(member_id)))
    except StoreUnavailable as error:
        if "WRONGTYPE" not in error.fault:
            raise
        incidents = ()
        damaged.append("the key of the incidents is no list")
    return Trail(member_id, stored, entries, incidents, tuple(damaged))


def _sound_entries(store: Store, member_id: str, fault: str) -> tuple[tuple[Entry, ...], list[str]]:
    """The entries of a list that has others too, and the places of those, counted from 1."""
    client = _client(store)
    key = keys_of(member_id)[3]
    if _asked(lambda: client.type(key)) != b"list":
        return (), [fault]
    entries: list[Entry] = []
    damaged: list[str] = []
    for place, frame in enumerate(_asked(lambda: client.lrange(key, 0, -1)), 1):
        try:
            entries.append(entry_of(frame))
        except ValueError:
            damaged.append(f"place {place} of the audit holds no entry")
    return tuple(entries), damaged


def members(store: Store) -> tuple[str, ...]:
    """Every member of whom the store keeps a document, an audit or incidents, in order; each server is asked.

    Raises: StoreUnavailable; TypeError for a store that is on no server.
    """
    client = _client(store)
    found = _asked(lambda: set(map(_member_of, client.scan_iter(match=b"vimbiso:*:member:*", count=1000))))
    return tuple(sorted(member_id for member_id in found if member_id))


_KEY: Final = re.compile(rb"vimbiso:\{\d+\}:member:([^:]+):(?:state|audit|incidents)")


def _member_of(key: bytes) -> str | None:
    """Whose key it is; None for a key that the store would not have written."""
    match = _KEY.fullmatch(key)
    try:
        member_id = unword(match[1]) if match else ""
    except UnicodeError:
        return None
    own = (*keys_of(member_id), incidents_key(member_id))
    return member_id if key in own else None


def _client(store: Store) -> Any:
    from vimbiso_fsm.redis_atomic import AtomicStateManager  # not at the top: it loads redis

    if not isinstance(store, AtomicStateManager):
        raise TypeError(f"a {type(store).__name__} is on no server that could be asked for its keys")
    return store._client


def _asked(ask: Callable[[], T]) -> T:
    from vimbiso_fsm.connecting import UNREACHABLE

    try:
        return ask()
    except UNREACHABLE as error:
        raise StoreUnavailable(str(error) or type(error).__name__) from error


def guests(trail: Trail) -> tuple[str, ...]:
    """The guests that the member was, as far as the entries of their moves are kept."""
    return tuple(dict.fromkeys(str(move.detail["guest"]) for move in _moves(trail)))


def earlier(store: Store, trail: Trail) -> Iterator[Trail]:
    """The trail of each guest that the member was, for as long as they were that guest; what cannot be read is in it.

    Raises: StoreUnavailable.
    """
    for move in _moves(trail):
        guest = read_trail(store, str(move.detail["guest"]))
        life = life_of_guest(read_entries(guest)[0], int(move.detail.get("guest_version", 0)))
        others = {entry.version for entry in read_entries(guest)[0]} - {entry.version for entry in life}
        yield attrs.evolve(guest, entries=tuple(entry for entry in guest.entries if entry.version not in others))


def _moves(trail: Trail) -> list[AuditEntry]:
    found = (entry for entry in map(_readable, trail.entries) if isinstance(entry, AuditEntry))
    return [entry for entry in found if entry.kind == "move" and "guest" in entry.detail]


def read_entries(trail: Trail) -> tuple[tuple[AuditEntry, ...], tuple[str, ...]]:
    """The entries that can be read, oldest first, and of the others why they cannot be."""
    return _parted(AuditEntry, map(_readable, trail.entries))


def read_incidents(trail: Trail) -> tuple[tuple[Incident, ...], tuple[str, ...]]:
    """The incidents that can be read, oldest first, and of the others why they cannot be."""
    found = (_incident(body) for body in trail.incidents)
    return _parted(Incident, (_placed(place, read) for place, read in enumerate(found, 1)))


def _parted(kind: type[T], found: Iterable[T | str]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    read = tuple(found)
    return tuple(one for one in read if isinstance(one, kind)), tuple(one for one in read if isinstance(one, str))


def _placed(place: int, read: Incident | str) -> Incident | str:
    return f"incident {place}: {read}" if isinstance(read, str) else read


def _readable(entry: Entry) -> AuditEntry | str:
    """An entry, read, or why it cannot be."""
    try:
        read = unseal(entry)
    except Unreadable as error:
        return f"entry {entry.version}: it cannot be read: {error}"
    if read.version != entry.version:
        return f"entry {entry.version}: its text is that of entry {read.version}"
    return read if read.at.tzinfo else f"entry {entry.version}: its instant has no time zone"


# Verifying ---------------------------------------------------------------------------------------------------


def faults(trail: Trail) -> tuple[str, ...]:
    """What is broken in a trail, a line each; empty when nothing is. No value is quoted.

    The chain of the entries from the first that is kept, whose entries they are, that the document stored now is the
    one its entry names, and that each incident can be read.
    """
    found = [*trail.damaged, *FlowAuditLogger.faults(trail.entries), *_strangers(trail), *_document_faults(trail)]
    found += read_incidents(trail)[1]
    return tuple(dict.fromkeys(found))  # a key of a wrong type is met twice


def _strangers(trail: Trail) -> Iterator[str]:
    for entry in trail.entries:
        read = _readable(entry)
        if isinstance(read, AuditEntry) and read.member_id != trail.member_id:
            yield f"entry {entry.version}: its text is of another member"


def _document_faults(trail: Trail) -> Iterator[str]:
    stored = trail.stored
    if isinstance(stored, Broken):
        yield stored.fault
    if not isinstance(stored, Stored) or stored.document is None:
        return  # it has expired; then the head is that of the latest entry
    version = stored.head.version
    entry = next((entry for entry in reversed(trail.entries) if entry.version == version), None)
    if entry is None:
        yield f"the stored document is of version {version}, and there is no such entry"
        return
    if entry.digest != stored.head.digest:
        yield f"the stored document names another entry {version} as the one that made it"
    read = _readable(entry)
    if isinstance(read, AuditEntry) and read.document != digest(stored.document):
        yield f"the stored document is not the one that entry {version} names"


def _incident(body: bytes) -> Incident | str:
    try:
        read = Incident.read(body)
    except Unreadable as error:
        return f"it cannot be read: {error}"
    return read if read.at.tzinfo else "its instant has no time zone"


# Exporting ---------------------------------------------------------------------------------------------------

_BEGIN: Final = b'{"member": '
"""How each line of an export begins."""


class Export:
    """A file of JSON Lines that trails are added to; a context manager.

    An entry is `{"member": …, "digest": …, …}` with the fields of the entry, its `version` among them; an incident is
    `{"member": …, "kind": "incident", "digest": …, "incident": {…}}`, with member null for the store's own. A file
    that is there is gone on with: what it holds is not written again, and a last line that was cut is taken off.
    It is only ever appended to, so whenever the process ends the file can be gone on with.

    Raises: NoExport when the file holds anything else, or another process exports to it; OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heads: dict[str, Head] = {}
        self._incidents: set[tuple[str | None, str]] = set()
        self._file = self._opened()
        try:
            self._lock()
            whole = self._read()
            self._file.truncate(whole)
            self._file.seek(whole)
        except BaseException:
            self._file.close()
            raise

    def add(self, trail: Trail, wanted: Wanted = lambda one: True) -> tuple[int, tuple[str, ...]]:
        """Append what the file does not hold yet -> how many lines that are, and what is wrong.

        Of a member whose entries do not continue those of the file, nothing is appended: the store has been put back.

        Raises: OSError; what was written before can be gone on with.
        """
        wrong = [*trail.damaged, *self._gaps(trail)]
        put_back = self._put_back(trail)
        lines = (
            [] if put_back else [*self._new_entries(trail, wanted, wrong), *self._new_incidents(trail, wanted, wrong)]
        )
        self._file.write(b"".join(lines))
        self._file.flush()
        return len(lines), (*wrong, *put_back)

    def lost(self, trail: Trail) -> tuple[str, ...]:
        """What was dropped from the store since the file was written, and so will never be in it. To be asked before
        `add`, and only when all entries are wanted."""
        head = self._heads.get(trail.member_id) if trail.member_id is not None else None
        first = trail.entries[0].version if trail.entries else 0
        if head is None or first <= head.version + 1:
            return ()
        return (f"entries {head.version + 1} to {first - 1} are not kept any more, and not in the file",)

    def close(self) -> None:
        """Force what was written to the disk, and let the file go."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _opened(self) -> BinaryIO:
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise NoExport(self._path, "it is no regular file")
        return file

    def _lock(self) -> None:
        import fcntl  # not at the top: Windows has none

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoExport(self._path, "another process exports to it") from None

    def _read(self) -> int:
        """Learn what the file holds -> bytes of its whole lines."""
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                if not line.startswith(_BEGIN) and not _BEGIN.startswith(line):
                    raise NoExport(self._path, f"line {number} is none of an export")
                break
            self._learn(number, line)
            whole += len(line)
        return whole

    def _learn(self, number: int, line: bytes) -> None:
        try:
            raw = loads(line)
        except Unreadable:
            raw = None
        match raw:
            case {"member": str() | None as member, "kind": "incident", "digest": str(name)}:
                self._incidents.add((member, name))
            case {"member": str(member), "version": int(version), "digest": str(name)}:
                self._heads[member] = Head(version, name)
            case _:
                raise NoExport(self._path, f"line {number} is none of an export")

    def _put_back(self, trail: Trail) -> tuple[str, ...]:
        head = self._heads.get(trail.member_id) if trail.member_id is not None else None
        if head is None or not trail.entries:
            return ()
        here = next((entry for entry in trail.entries if entry.version == head.version), None)
        if here.digest == head.digest if here else trail.entries[-1].version > head.version:
            return ()
        return (f"entry {head.version} is another than in the file: the store was put back, or started anew",)

    def _gaps(self, trail: Trail) -> Iterator[str]:
        """Where entries are missing between those that are new to the file."""
        known = self._heads.get(trail.member_id or "", Head()).version
        for before, entry in pairwise(trail.entries):
            if entry.version > max(known, before.version + 1):
                yield f"entry {entry.version} follows entry {before.version}: what was between is missing"

    def _new_entries(self, trail: Trail, wanted: Wanted, wrong: list[str]) -> Iterator[bytes]:
        if trail.member_id is None:
            return
        for entry in trail.entries:
            if entry.version <= self._heads.get(trail.member_id, Head()).version:
                continue
            read = _readable(entry)
            if isinstance(read, str):
                wrong.append(read)
            elif wanted(read):
                self._heads[trail.member_id] = Head(entry.version, entry.digest)
                yield _line({"member": trail.member_id, "digest": entry.digest, **loads(entry.body)})

    def _new_incidents(self, trail: Trail, wanted: Wanted, wrong: list[str]) -> Iterator[bytes]:
        for place, body in enumerate(trail.incidents, 1):
            read, name = _placed(place, _incident(body)), digest(body)
            if isinstance(read, str):
                wrong.append(read)
            elif (trail.member_id, name) not in self._incidents and wanted(read):
                self._incidents.add((trail.member_id, name))
                yield _line({"member": trail.member_id, "kind": "incident", "digest": name, "incident": loads(body)})


def _line(raw: Mapping[str, Any]) -> bytes:
    """One line, whatever stands in it: ASCII alone, so no character is an end of line to anybody."""
    return json.dumps(raw).encode() + b"\n"


# Explaining --------------------------------------------------------------------------------------------------


@attrs.frozen
class Candidate:
    """One transition of the trigger from where the run stood. `verdicts`: what its guards said, in order; those after
    the first that held it back were not asked. `outcome`: "fired", "held back", or "not asked" after one had fired."""

    dest: str
    verdicts: tuple[tuple[str, str], ...]
    outcome: Literal["fired", "held back", "not asked"]


@attrs.frozen
class Explained:
    """A step, and the transitions that were candidates, in the order of the declaration that decided it, where the bot
    still keeps it, or else of today's. `changed`: in which way that is not what was stepped; then there are no
    candidates. `decided`: by which declaration it was decided, when today's is another; `kept`: whether the candidates
    are of that very one."""

    step: AuditStep
    candidates: tuple[Candidate, ...] = ()
    changed: str = ""
    decided: str = ""
    kept: bool = False


@attrs.frozen
class Explanation:
    """What one commit came to be by. `digest`: of the entry."""

    entry: AuditEntry
    digest: str
    steps: tuple[Explained, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words, a line each."""
        return tuple(_words(self))


def explain(bot: Bot, trail: Trail, version: int) -> Explanation:
    """Which transitions were candidates, what each guard said, and what was committed, at a version of a member.

    An entry names guards and their verdicts, and of the declaration the version and the fingerprint; which guard stood
    at which transition is read from that declaration, where the bot keeps it (runs finish on it), or else from today's.
    Where today's is another, it is said; where it does not fit what was said, the verdicts alone are there.

    Raises: NotKept; codec.Unreadable.
    """
    entry = next((entry for entry in trail.entries if entry.version == version), None)
    if entry is None:
        raise NotKept(trail.name, version, _why_not(trail, version))
    read = unseal(entry)
    return Explanation(read, entry.digest, tuple(_explained(bot, step) for step in read.steps))


def _why_not(trail: Trail, version: int) -> str:
    if not trail.entries:
        return "no entry is kept"
    first, last = trail.entries[0].version, trail.entries[-1].version
    if version < 1:
        return "versions count 1, 2, 3 …"
    if version > last:
        return f"the latest is {last}"
    return f"it is not kept any more, the first is {first}" if version < first else "it is missing from the audit"


def _explained(bot: Bot, step: AuditStep) -> Explained:
    return attrs.evolve(_matched(bot, step), decided=_decided(bot, step))


def _matched(bot: Bot, step: AuditStep) -> Explained:
    """The step beside the declaration that decided it, where the bot still has it, or else today's."""
    if not step.source:
        return Explained(step)  # a run that begins: nothing was tried
    flow = next((flow for flow in bot.definitions(step.flow) if _declares(flow, step)), None)
    kept = flow is not None
    if flow is None and step.flow not in bot.machines:
        return Explained(step, changed=f"the bot has no flow {step.flow!r} any more")
    flow = flow or bot.flow(step.flow)
    if step.source not in flow.by_name:
        return Explained(step, changed=f"the flow has no state {step.source!r} any more")
    candidates = _candidates(flow, step)
    if candidates is None:
        return Explained(step, changed="its transitions and guards there are not those that were tried")
    return Explained(step, candidates, kept=kept)


def _declares(flow: Flow[Any], step: AuditStep) -> bool:
    return (flow.version, flow.fingerprint) == (step.version, step.fingerprint)


def _decided(bot: Bot, step: AuditStep) -> str:
    """By which declaration a step was decided; "" when it is today's, or not known."""
    if not step.version:
        return ""
    today = "there is none today"
    if step.flow in bot.machines:
        flow = bot.flow(step.flow)
        if _declares(flow, step):
            return ""
        today = f"today's is version {flow.version} (fingerprint {flow.fingerprint})"
    return f"decided by {step.flow} version {step.version} (fingerprint {step.fingerprint}), {today}"


def _candidates(flow: Flow[Any], step: AuditStep) -> tuple[Candidate, ...] | None:
    """The transitions with what their guards said; None when they are not those that were tried."""
    said = list(step.guards)
    found: list[Candidate] = []
    for transition in flow.ways(step.source, step.trigger):
        if any(candidate.outcome == "fired" for candidate in found):
            found.append(Candidate(transition.dest, (), "not asked"))
            continue
        candidate = _replayed(transition, said)
        if candidate is None:
            return None
        found.append(candidate)
    fired = next((candidate.dest for candidate in found if candidate.outcome == "fired"), None)
    return None if said or fired != step.dest else tuple(found)


def _replayed(transition: Transition[Any], said: list[tuple[str, str]]) -> Candidate | None:
    """Take what the transition's guards said off the list; None when the next words are not theirs."""
    verdicts: list[tuple[str, str]] = []
    conditions = len(cast(Any, transition.conditions))
    for place, guard in enumerate(transition.guards):
        if not said or said[0][0] != name_of(guard):
            return None
        verdicts.append(said.pop(0))
        if verdicts[-1][1] != ("accepted" if place < conditions else "declined"):
            return Candidate(transition.dest, tuple(verdicts), "held back")
    return Candidate(transition.dest, tuple(verdicts), "fired")


def _words(explanation: Explanation) -> Iterator[str]:
    entry = explanation.entry
    yield f"entry {entry.version} of member {entry.member_id}: {entry.kind}, {entry.status}"
    yield f"at {entry.at.isoformat()}, on {entry.channel[0] or 'no channel'} {entry.channel[1]}".rstrip()
    for explained in explanation.steps:
        yield from _step_words(explained)
    if not explanation.steps:
        yield "no trigger was tried"
    for name in sorted({*entry.changed, *entry.before, *entry.after}):
        if name in entry.changed:
            yield f"changed {name}: {_shown(entry.before, name)} -> {_shown(entry.after, name)}"
    if entry.codes:
        yield f"said: {', '.join(entry.codes)}"
    if entry.detail:
        yield f"detail: {json.dumps(entry.detail, ensure_ascii=False)}"
    yield f"committed: document {entry.document}"
    yield f"           as entry {explanation.digest}"
    yield f"           after {entry.previous or 'none, it is the first'}"


def _step_words(explained: Explained) -> Iterator[str]:
    step = explained.step
    went = f"to {step.dest}" if step.dest is not None else "nothing accepted it"
    went += ", a call with an effect" if step.effect else ""
    began = f"run {step.run} began in {step.dest}"
    yield f"{step.trigger} in {step.source} of run {step.run}: {went}" if step.source else began
    if explained.decided:
        yield f"  {explained.decided}"
    if not step.source:
        return
    if explained.changed:
        yield f"  the flow has changed since: {explained.changed}"
        yield from (f"  {guard}: {verdict}" for guard, verdict in step.guards)
    elif not explained.candidates:
        yield "  no transition was a candidate"
    elif explained.decided and not explained.kept:
        yield "  which fits what is declared today:"
    for place, candidate in enumerate(explained.candidates, 1):
        yield f"  {place}. to {candidate.dest}: {candidate.outcome}"
        yield from (f"     {guard}: {verdict}" for guard, verdict in candidate.verdicts)


def _shown(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if value == "•" else json.dumps(value, ensure_ascii=False)
