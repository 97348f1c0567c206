"""Agreement of a store with the store in memory, on generated programs.

`check_agreement(make)` runs each program on both and compares every answer. It needs no empty store: each program works
on members of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING, Final, cast

import attrs

from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.retention import (
    AUDIT_LIFE,
    DOCUMENT_LIFE,
    LONGEST_PACE,
    LONGEST_PAUSE,
    MAX_DOCUMENT,
    PACE_WAIT,
    STRANGER_LIFE,
    TOKEN_KEPT,
)
from vimbiso_fsm.testing.store_contract import HOUR, Make, holds, is_answer, opened

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_MEMBERS: Final = ("m", "m:state", "}x{1} \n", "é")
_ACCOUNTS: Final = ("", "1001", "é: {2}")
_TOKENS: Final = ("t0", "t1", "t2", "t3", "a token\n")
_SHIFTS: Final = (
    *(0.0,) * 6,
    *(sign * (life + margin) for sign in (1, -1) for life in (0, TOKEN_KEPT) for margin in (-HOUR, HOUR)),
    DOCUMENT_LIFE + HOUR,
    -DOCUMENT_LIFE - HOUR,
    -AUDIT_LIFE - HOUR,
    AUDIT_LIFE + 2 * HOUR,
)
_FORGED: Final = 3
"""Added to the choice of a head: its version with the digest of no entry."""
_LARGE: Final = (b"x" * MAX_DOCUMENT, b"x" * (MAX_DOCUMENT + 1))


@attrs.frozen
class _Step:
    """One request of a program, as choices that are valid on any store.

    `head` counts back from the latest head seen.
    """

    kind: str
    member: int
    other: int
    token: str
    root: str
    content: str
    head: int
    document: bytes = attrs.field(repr=lambda document: f"{len(document)} bytes")
    shift: float
    deadline: float | None
    wake: float | None
    inherits: bool
    forgets: bool
    life: int = DOCUMENT_LIFE
    stranger: bool = False
    earlier: tuple[str, ...] = ()


_STEP: Final = _Step("commit", 0, 0, "t0", "t0", "said", 0, b"{}", 0.0, None, None, inherits=False, forgets=False)
_AGED: Final = [_STEP, attrs.evolve(_STEP, token="t1", shift=AUDIT_LIFE + 2 * HOUR)]  # noqa: S106 – the token names a message
"""A program in which an audit entry expires; generated programs seldom contain one."""
_AHEAD: Final = [_STEP, attrs.evolve(_STEP, token="t1", shift=TOKEN_KEPT + HOUR), _STEP]  # noqa: S106 – likewise
"""A program in which the clock is ahead for a moment, so that a token is dropped which is noted beside the document."""


def check_agreement(
    make: Make, model: Callable[[Callable[[], float]], requests.Store] = MemoryStore, *, examples: int | None = None
) -> None:
    """Run generated programs on a store and on a model; every answer must be the same.

    Needs Hypothesis.

    Args:
        make: Makes the store, or a context manager of it.
        model: Makes the model from a clock that follows the clock of the store, so that instants are compared too.
        examples: The number of programs; by default that of Hypothesis's profile.

    Raises:
        AssertionError: The answers differ; Hypothesis shows the shortest such program that it found.
    """
    from hypothesis import HealthCheck, example, given, settings
    from hypothesis import strategies as st

    with opened(make) as store:

        def agree(program: list[_Step]) -> None:
            _Pair(store, model).run(program)

        chosen = settings(deadline=None, suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large))
        if examples is not None:
            chosen = settings(chosen, max_examples=examples)
        chosen(example(_AGED)(example(_AHEAD)(given(st.lists(_steps(), max_size=30))(agree))))()


def _steps() -> SearchStrategy[_Step]:
    from hypothesis import strategies as st

    reads = ("load", "audit", "oldest", "records", "inherited", "wake_ups", "incidents", "aside", "scan")
    kinds = (
        *("commit",) * 8,
        "verify",
        *("remember",) * 2,
        "set_aside",
        "wipe",
        "erase",
        "fold",
        "drop",
        "look_up",
        "look_up_all",
        "link",
        "unlink",
        "free",
        "settle",
        "mark",
        "report",
        "lease",
        *("pace",) * 2,
        *reads,
    )
    documents = st.one_of(st.binary(max_size=40), st.sampled_from(_LARGE))
    return st.builds(
        _Step,
        kind=st.sampled_from(kinds),
        member=st.integers(0, len(_MEMBERS) - 1),
        other=st.integers(0, len(_MEMBERS) - 1),
        token=st.sampled_from(_TOKENS),
        root=st.sampled_from(_TOKENS),
        content=st.sampled_from(("said", "else")),
        head=st.sampled_from((0, 0, 0, 0, 1, 2, _FORGED)),
        document=documents,
        shift=st.sampled_from(_SHIFTS),
        deadline=st.sampled_from((None, None, HOUR, -HOUR)),
        wake=st.sampled_from((None, 100.0, 200.5, 300.0)),
        inherits=st.sampled_from((False, False, True)),
        forgets=st.sampled_from((False, False, True)),
        life=st.sampled_from((DOCUMENT_LIFE, DOCUMENT_LIFE, 2 * DOCUMENT_LIFE, STRANGER_LIFE)),
        stranger=st.sampled_from((False, False, True)),
        earlier=st.lists(st.sampled_from(_TOKENS), max_size=2).map(tuple),
    )


class _Pair:
    """The store and the model. The clock of the model shows the instant of the store's latest answer."""

    def __init__(self, store: requests.Store, model: Callable[[Callable[[], float]], requests.Store]) -> None:
        self._store = store
        self._model = model(lambda: self._now)
        self._tail = token_hex(6)
        stored = is_answer(requests.Stored, store.perform(requests.Load(self._member(0))), "a load")
        self._now = stored.at
        self._heads: dict[str, list[requests.Head]] = {}
        self._made = 0

    def run(self, program: list[_Step]) -> None:
        """Perform each step on both and compare the answers. What is left that another program may meet is cleared."""
        try:
            for step in program:
                self._compare(self._request(step))
            for member in map(self._member, range(len(_MEMBERS))):
                self._compare(requests.ReadAudit(member))
        finally:
            self._clear()

    def _clear(self) -> None:
        """Clear the wake-ups, and return the leases: two programs can have members in one shard."""
        for member in map(self._member, range(len(_MEMBERS))):
            stored = _answer(self._store, requests.Load(member))
            if isinstance(stored, requests.Stored):
                _answer(self._store, requests.SetWakeUp(member, stored.head))
            for token in _TOKENS:
                _answer(self._store, requests.Lease(requests.shard_of(member), f"{token} {self._tail}", 0.0))

    def _compare(self, request: requests.Request) -> None:
        if isinstance(request, requests.TakePace):
            self._compare(requests.Load(self._member(0)))  # its answer has no instant
        found = _answer(self._store, request)
        self._follow(request, found)
        wanted = _answer(self._model, request)
        if isinstance(found, float) and isinstance(wanted, float):
            alike = (found > 0) == (wanted > 0) and abs(found - wanted) < PACE_WAIT
            found = wanted if alike else found
        if isinstance(request, requests.ReadDue | requests.Scan):
            found = self._own(found)
        holds(found == wanted, f"{request}: the model answers {wanted}, the store {found}")

    def _member(self, number: int) -> str:
        return f"{_MEMBERS[number]} {self._tail}"

    def _way(self, step: _Step) -> str:
        return f"{step.token} {self._tail}" if step.forgets else ""

    def _guest(self, step: _Step) -> str | None:
        return self._member(step.head) if step.forgets else None

    def _request(self, step: _Step) -> requests.Request:
        member = self._member(step.member)
        channel = Channel("sms", self._member(step.other).replace("\n", " ")).with_account(_ACCOUNTS[step.head % 3])
        match step.kind:
            case "commit" | "verify" | "remember":
                return self._commit(step, member)
            case "load":
                return requests.Load(member, previous=step.inherits)
            case "set_aside":
                return requests.Quarantine(member, self._head(member, step.head))
            case "aside":
                return requests.ReadQuarantine(member)
            case "wipe":
                return self._wipe(step, member)
            case "erase":
                return requests.Erase(member, 0, step.head + 1, b"tombstone", all=step.inherits)
            case "fold":
                return requests.Fold(member, step.other, step.head + 1, b"fold")
            case "free":
                return requests.FreeChannels(member)
            case "audit":
                return requests.ReadAudit(member, last=None if step.inherits else step.head)
            case "oldest":
                return requests.ReadOldest(member, step.head)
            case "drop":
                return self._drop(step, member)
            case "records":
                return requests.ReadRecords(member)
            case "inherited":
                return requests.ReadInherited(member)
            case "look_up":
                return requests.FindOwner(channel, self._guest(step))
            case "look_up_all":
                bare = channel.with_account("")
                asked = (requests.FindOwner(channel, self._guest(step)), requests.FindOwner(bare, member))
                return requests.FindOwners(asked[: step.head + 1])
            case "link":
                instead_of = self._member(step.head) if step.inherits else None
                return requests.Link(channel, member, instead_of, guest=step.head % 2 == 1, way=self._way(step))
            case "unlink":
                return requests.Unlink(channel, member, self._way(step))
            case "settle":
                return requests.SetWakeUp(member, self._head(member, step.head), step.wake)
            case "mark":
                ids, waiting = (step.token,), (step.root, *_TOKENS[: step.other])
                messages = ((step.content, step.token), ("=", step.root)) if step.inherits else ()
                return requests.MarkSent(member, self._head(member, step.head), ids, waiting, step.wake, messages)
            case "report":
                return requests.RecordIncident(member, b"incident %d" % step.head)
            case "incidents":
                return requests.ReadIncidents(member, last=None if step.inherits else step.head)
            case "scan":
                return requests.Scan()
            case "lease":
                return requests.Lease(
                    requests.shard_of(member), f"{step.token} {self._tail}", HOUR if step.inherits else 0.0
                )
            case "pace":
                return self._pace(step)
            case _:
                return requests.ReadDue(requests.shard_of(member), step.wake or 0.0, limit=1_000_000)

    def _pace(self, step: _Step) -> requests.TakePace:
        """Return a request whose sends, rates and pauses end long after the program."""
        account = f"{_ACCOUNTS[step.head % 3]}{self._tail}"
        name, order = f"{step.root.strip()} {step.member}", float(step.other - step.member)
        pause = LONGEST_PAUSE if step.inherits and step.forgets else 0.0
        chat_every = 1_000.0 if step.forgets else 0.0
        return requests.TakePace("sms", account, name, order, step.head + 1, LONGEST_PACE, 2, chat_every, pause)

    def _drop(self, step: _Step, member: str) -> requests.DropOldest:
        count = step.other
        kept = self._model.perform(requests.ReadOldest(member, count + 1))[count:]
        left = requests.Head(kept[0].version, kept[0].digest) if kept else requests.NO_HEAD
        left = attrs.evolve(left, digest="of another entry") if step.head >= _FORGED else left
        return requests.DropOldest(member, count, left, step.life if step.inherits else None)

    def _head(self, member: str, back: int) -> requests.Head:
        heads = self._heads.setdefault(member, [requests.NO_HEAD])
        head = heads[max(len(heads) - 1 - back % _FORGED, 0)]
        return attrs.evolve(head, digest="of another entry") if back >= _FORGED else head

    def _commit(self, step: _Step, member: str) -> requests.Commit:
        self._made += 1
        expected = self._head(member, step.head)
        body = b"entry %d" % self._made
        inherited = self._model.perform(requests.ReadInherited(self._member(step.other))) if step.inherits else None
        return requests.Commit(
            member,
            expected,
            step.token,
            step.root,
            step.content,
            step.document if step.kind == "commit" else None,
            requests.Entry(expected.version + 1, requests.digest(body), body),
            b"" if step.kind == "verify" else b"record %d" % self._made,
            None if step.deadline is None else self._now + step.shift + step.deadline,
            step.wake,
            inherited,
            step.forgets,
            step.shift,
            step.life,
            step.stranger,
            step.earlier,
        )

    def _wipe(self, step: _Step, member: str) -> requests.Wipe:
        self._made += 1
        expected, body = self._head(member, step.head), b"entry %d" % self._made
        quarantined = self._store.perform(requests.ReadQuarantine(member))
        entry = requests.Entry(expected.version + 1, requests.digest(body), body)
        return requests.Wipe(member, expected, entry, () if step.inherits else quarantined)

    def _follow(self, request: requests.Request, answer: object) -> None:
        """Set the model's clock to the instant of the answer, and remember the head in it."""
        stored = getattr(answer, "current", answer)
        if not isinstance(stored, requests.Stored | requests.Committed | requests.Broken):
            return
        self._now = stored.at - (request.shift if isinstance(request, requests.Commit) else 0.0)
        member: str = getattr(request, "member_id", "")
        heads = self._heads.setdefault(member, [requests.NO_HEAD])
        if heads[-1] != stored.head:
            heads.append(stored.head)

    def _own(self, due: object) -> object:
        """Return the due members of this program only: others may be due in the same store."""
        own = {self._member(number) for number in range(len(_MEMBERS))}
        return tuple(name for name in cast(tuple[str, ...], due) if name in own)


def _answer(store: requests.Store, request: requests.Request) -> object:
    """Perform a request; an error is an answer too."""
    try:
        return cast(object, store.perform(request))
    except VimbisoError as error:
        return type(error), str(error)
