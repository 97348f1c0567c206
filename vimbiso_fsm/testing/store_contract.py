"""The contract of a store: the rules of `store/requests.py` as checks that any store can be put to.

`check_store(make)` checks every rule. `LAWS` lists the checks, so that a test suite can make a test of each. No check
needs an empty store: each works on members of its own.
"""

# ruff: noqa: S106 – a token here names a message; it is no secret

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from secrets import token_hex
from typing import Any, Final, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store import requests
from vimbiso_fsm.store.retention import (
    AUDIT_LIFE,
    DOCUMENT_LIFE,
    EXPIRED_AT_ONCE,
    MAX_DOCUMENT,
    MESSAGES_KEPT,
    RECORDS_KEPT,
    SENT_KEPT,
    SHARDS,
    STRANGER_LIFE,
    TOKEN_KEPT,
    TOKENS_AT_ONCE,
    UNTAKEN_KEPT,
)

Make: TypeAlias = Callable[[], requests.Store | AbstractContextManager[requests.Store]]
"""Makes the store to be checked. It may return a context manager of the store, which is exited after the check."""
Law: TypeAlias = Callable[[requests.Store], None]
"""Checks one rule on a store; raises AssertionError if the store breaks it."""
_R = TypeVar("_R")
_Kind = TypeVar("_Kind")

HOUR: Final = 3600.0
"""Seconds by which a check keeps clear of the end of a lifetime."""


def check_store(make: Make, laws: Sequence[Law] | None = None) -> None:
    """Check rules, each on a store that `make` makes anew.

    Args:
        make: Makes the store, or a context manager of it.
        laws: The rules to check; all of `LAWS` by default.

    Raises:
        AssertionError: A rule does not hold; the message gives the answer that breaks it.
    """
    for law in LAWS if laws is None else laws:
        with opened(make) as store:
            law(store)


def check_namespaces(make: Callable[[str], requests.Store | AbstractContextManager[requests.Store]]) -> None:
    """Check that two namespaces of one server do not see each other: no member, link, lease, due work or owner.

    Args:
        make: Makes a store on the server, or a context manager of it, for a namespace.

    Raises:
        AssertionError: One store answers with what the other was given.
    """
    one, other = (f"n{token_hex(8)}" for _ in range(2))
    with opened(lambda: make(one)) as here, opened(lambda: make(other)) as there:
        trial, channel = _Trial(here), Channel("sms", token_hex(8)).with_account("1001")
        shard = requests.shard_of(trial.member_id)
        questions: list[requests.Request] = [
            requests.Load(trial.member_id),
            requests.ReadAudit(trial.member_id),
            requests.ReadRecords(trial.member_id),
            requests.ReadInherited(trial.member_id),
            requests.ReadIncidents(trial.member_id),
            requests.ReadIncidents(None),
            requests.ReadDue(shard, until=9e12),
            requests.ReadDueShards((shard,), until=9e12),
            requests.FindOwner(channel),
            requests.Scan(),
            requests.ReadOwner(),
        ]
        before = [_without_instant(there.perform(question)) for question in questions]
        head = trial.advance(requests.NO_HEAD)
        here.perform(requests.SetWakeUp(trial.member_id, head, 1.0))
        given: list[requests.Request] = [
            requests.Link(channel, trial.member_id),
            requests.RecordIncident(trial.member_id, b"incident"),
            requests.RecordIncident(None, b"incident"),
            requests.Claim(b"owner", None),
            requests.Lease(shard, "here", HOUR),
            requests.Heartbeat("here", HOUR),
        ]
        for request in given:
            here.perform(request)
        _same(there.perform(requests.Lease(shard, "there", HOUR)), requests.Leased("there"), "a lease of the other")
        _same(there.perform(requests.Heartbeat("there", HOUR)), ("there",), "the workers of the other")
        after = [_without_instant(there.perform(question)) for question in questions]
        _same(after, before, "what the other namespace answers")


def _without_instant(answer: object) -> object:
    return attrs.evolve(answer, at=0.0) if isinstance(answer, requests.Stored) else answer


@contextmanager
def waiting(make: Callable[[], requests.AsyncStore]) -> Generator[requests.Store, None, None]:
    """Present an async store as a sync one, on an event loop of its own.

    `check_store(lambda: waiting(lambda: AsyncAtomicStateManager.from_url(url)))` checks an async store.

    Args:
        make: Makes the async store. It is closed afterwards if it has a method `close`.

    Yields:
        The sync store.
    """
    with asyncio.Runner() as runner:
        store = make()
        yield _Waiting(store, runner)
        close: Callable[[], Awaitable[None]] | None = getattr(store, "close", None)
        if close is not None:
            runner.run(_wait(close()))


async def _wait(awaitable: Awaitable[_R]) -> _R:
    return await awaitable


@attrs.frozen
class _Waiting:
    store: requests.AsyncStore
    runner: asyncio.Runner

    def perform(self, request: requests.Effect[_R], /) -> _R:
        """Perform a request and wait for its answer."""
        return self.runner.run(_wait(self.store.perform(request)))


@contextmanager
def opened(make: Make) -> Generator[requests.Store, None, None]:
    """Yield the store that `make` makes; exit its context manager, if it is one, afterwards."""
    made = make()
    if isinstance(made, AbstractContextManager):
        with made as store:
            yield store
    else:
        yield made


# One member of a check -----------------------------------------------------------------------------------------


@attrs.define
class _Trial:
    """A member that no other check uses, with the commits that turns of that member would send."""

    store: requests.Store
    member_id: str = attrs.field(factory=lambda: f"law {token_hex(8)}")
    count: int = 0

    def draft(self, expected: requests.Head, document: bytes | None = b"{}", **given: Any) -> requests.Commit:
        """Make a commit on `expected`, with a new token unless one is given."""
        self.count += 1
        token = given.pop("token", f"token-{self.count}")
        body = b"entry %d of %b" % (self.count, self.member_id.encode("utf-8", "replace"))
        entry = None if document is None else requests.Entry(expected.version + 1, requests.digest(body), body)
        draft = requests.Commit(
            self.member_id, expected, token, token, "said", document, entry, b"record of " + token.encode()
        )
        return attrs.evolve(draft, **given)

    def commit(self, expected: requests.Head, document: bytes | None = b"{}", **given: Any) -> object:
        """Perform a commit that `draft` makes."""
        return self.store.perform(self.draft(expected, document, **given))

    def verify(self, expected: requests.Head, **given: Any) -> object:
        """Perform a commit without a document and a record."""
        return self.commit(expected, None, record=b"", **given)

    def advance(self, expected: requests.Head, document: bytes = b"{}", **given: Any) -> requests.Head:
        """Perform a commit that must succeed; return the new head."""
        return is_answer(
            requests.Committed, self.commit(expected, document, **given), "a commit on the current head"
        ).head

    def load(self) -> requests.Stored:
        """Read what is stored, with the document before."""
        return is_answer(requests.Stored, self.store.perform(requests.Load(self.member_id, previous=True)), "a load")

    def kept(self) -> tuple[Any, ...]:
        """Read everything that is kept of the member, without the instant of the answer."""
        stored = attrs.evolve(self.load(), at=0.0)
        records = self.store.perform(requests.ReadRecords(self.member_id))
        audit = self.store.perform(requests.ReadAudit(self.member_id))
        inherited = self.store.perform(requests.ReadInherited(self.member_id))
        return stored, records, audit, inherited, self.wakes(float("inf"))

    def wakes(self, until: float) -> bool:
        """Return whether the member has a wake-up at or before `until`."""
        due = self.store.perform(requests.ReadDue(requests.shard_of(self.member_id), until, limit=1_000_000))
        return self.member_id in due


def is_answer(kind: type[_Kind], answer: object, what: str) -> _Kind:
    """Return `answer`, which must be of `kind`. `what` names the request in the error."""
    holds(isinstance(answer, kind), f"{what} must answer {kind.__name__}, it answered {answer}")
    return cast(_Kind, answer)


def holds(condition: bool, otherwise: str) -> None:
    """Raise AssertionError with the message `otherwise` unless `condition` is true."""
    if not condition:
        raise AssertionError(otherwise)


def _same(found: object, wanted: object, what: str) -> None:
    holds(found == wanted, f"{what}: wanted {wanted}, found {found}")


# The laws ----------------------------------------------------------------------------------------------------


def law_1_a_commit_writes_all(store: requests.Store) -> None:
    """A commit writes document, previous document, record, entry and token."""
    trial = _Trial(store)
    one = trial.draft(trial.load().head, b"one", token="a")
    two = trial.draft(requests.Head(1, one.entry.digest if one.entry else ""), b"two", token="b", content="else")
    first = is_answer(requests.Committed, store.perform(one), "a first commit")
    second = is_answer(requests.Committed, store.perform(two), "a second commit")
    _same(first.head, two.expected, "the head a commit answers")
    stored = trial.load()
    _same((stored.document, stored.previous, stored.head), (b"two", b"one", second.head), "the stored data")
    _same(store.perform(requests.ReadAudit(trial.member_id)), (one.entry, two.entry), "the audit")
    _same(store.perform(requests.ReadAudit(trial.member_id, last=1)), (two.entry,), "the latest entry")
    _same(store.perform(requests.ReadAudit(trial.member_id, last=0)), (), "no entries, when none are asked for")
    records = (requests.Record("a", "a", "said", one.record), requests.Record("b", "b", "else", two.record))
    _same(store.perform(requests.ReadRecords(trial.member_id)), records, "the records")
    inherited = is_answer(
        requests.Inherited, store.perform(requests.ReadInherited(trial.member_id)), "a read of what is inherited"
    )
    _same(dict(inherited.tokens), {"a": math.ceil(first.at), "b": math.ceil(second.at)}, "the tokens")
    _same(inherited.records, records, "the records to be inherited")
    plain = is_answer(requests.Stored, store.perform(requests.Load(trial.member_id)), "a load")
    _same((plain.document, plain.previous), (b"two", None), "a load without `previous`")


def law_1_a_commit_may_forget(store: requests.Store) -> None:
    """A commit with `forgets` keeps no previous document and changes nothing else."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(requests.NO_HEAD, b"one"), b"secret")
    head = trial.advance(head, b"three", forgets=True)
    stored = trial.load()
    _same((stored.document, stored.previous, stored.head), (b"three", None, head), "the stored data")
    _same(len(store.perform(requests.ReadAudit(trial.member_id))), 3, "the audit")
    trial.advance(head, b"four")
    _same(trial.load().previous, b"three", "the document before the next one")
    fresh = _Trial(store)
    fresh.advance(requests.NO_HEAD, b"one", forgets=True)
    _same(fresh.load().previous, None, "the document before a first one")


def law_1_a_refused_commit_writes_nothing(store: requests.Store) -> None:
    """A refused commit leaves everything as it was."""
    trial = _Trial(store)
    head = trial.advance(trial.load().head, b"one", token="used")
    before = trial.kept()
    now = trial.load().at
    refused: list[
        tuple[type[requests.Duplicate | requests.Mismatch | requests.Conflict | requests.Late], dict[str, Any]]
    ] = [
        (requests.Duplicate, {"token": "used"}),
        (requests.Mismatch, {"token": "used", "content": "else"}),
        (requests.Conflict, {"expected": requests.Head(7, head.digest)}),
        (requests.Late, {"not_after": now - HOUR}),
    ]
    for kind, given in refused:
        inherited = requests.Inherited((("old", now),), (requests.Record("old", "old", "", b""),))
        expected = given.pop("expected", head)
        answer = trial.commit(expected, b"two", wake_at=now, inherited=inherited, **given)
        current = is_answer(kind, answer, "a commit that must be refused").current
        _same((current.head, current.document), (head, b"one"), f"the stored data in {kind.__name__}")
        _same(trial.kept(), before, f"all that is kept, after {kind.__name__}")


def law_2_size_before_token(store: requests.Store) -> None:
    """The size is checked first: a document over the limit is refused even with a used token, one at it is stored."""
    trial = _Trial(store)
    head = trial.advance(requests.NO_HEAD, b"x" * MAX_DOCUMENT, token="used")
    try:
        answer = trial.commit(head, b"x" * (MAX_DOCUMENT + 1), token="used")
    except DocumentTooLarge as error:
        _same((error.size, error.limit), (MAX_DOCUMENT + 1, MAX_DOCUMENT), "the size and the limit of the error")
    else:
        raise AssertionError(f"a document over the limit must raise DocumentTooLarge, it answered {answer}")
    _same(trial.load().document, b"x" * MAX_DOCUMENT, "the document at the limit")


def law_2_token_before_head_before_deadline(store: requests.Store) -> None:
    """A commit with several faults is answered by the first of token, head and deadline."""
    trial = _Trial(store)
    now = trial.load().at
    head = trial.advance(requests.NO_HEAD, token="used")
    trial.advance(head)
    late = now - HOUR
    is_answer(
        requests.Duplicate,
        trial.commit(requests.NO_HEAD, token="used", not_after=late),
        "a used token on an old head, late,",
    )
    is_answer(requests.Conflict, trial.commit(head, not_after=late), "an old head, late,")
    is_answer(requests.Late, trial.commit(trial.load().head, not_after=late), "a late commit")


def law_2_an_entry_must_come_with_a_document(store: requests.Store) -> None:
    """A document without the audit entry of its version raises ValueError, and nothing is written."""
    trial = _Trial(store)
    before = trial.kept()
    for entry in (None, requests.Entry(7, requests.digest(b"seven"), b"seven")):
        try:
            answer = trial.commit(requests.NO_HEAD, entry=entry)
        except ValueError:
            _same(trial.kept(), before, "all that is kept")
        else:
            raise AssertionError(f"a commit with entry {entry} must raise ValueError, it answered {answer}")


def law_3_a_token_works_once(store: requests.Store) -> None:
    """A repeated commit is answered with its first result and what is stored now, every time."""
    trial = _Trial(store)
    commit = trial.draft(requests.NO_HEAD, b"one", token="root")
    head = is_answer(requests.Committed, store.perform(commit), "a first commit").head
    record = requests.Record("root", "root", "said", commit.record)
    again = is_answer(requests.Duplicate, store.perform(commit), "the same commit again")
    _same((again.records, again.current.document), ((record,), b"one"), "the first result")
    answer = trial.draft(head, b"two", token="answer", root="root")
    is_answer(requests.Committed, store.perform(answer), "the commit of a call's answer")
    trial.advance(trial.load().head, b"three", token="other")
    later = requests.Record("answer", "root", "said", answer.record)
    again = is_answer(requests.Duplicate, store.perform(commit), "the same commit later")
    _same(again.records, (record, later), "every record under the root token, in order")
    _same(again.current.document, b"three", "the stored data in the answer")
    again = is_answer(requests.Duplicate, store.perform(answer), "the answer's commit again")
    _same(again.records, (later,), "the record of the answer alone")


def law_3_a_token_belongs_to_its_content(store: requests.Store) -> None:
    """A used token with other content is a mismatch, also on an old head."""
    trial = _Trial(store)
    trial.advance(requests.NO_HEAD, token="root")
    answer = is_answer(
        requests.Mismatch, trial.commit(requests.NO_HEAD, b"two", token="root", content="else"), "other content"
    )
    _same(answer.current.document, b"{}", "the stored data")


def law_3_a_commit_has_tokens_of_other_keys(store: requests.Store) -> None:
    """Each token of a commit counts as used if one of them is, and all are used by it, of turns and of messages."""
    for made in ({}, {"stranger": True, "life": STRANGER_LIFE, "forgets": True}, {"document": None}):
        trial = _Trial(store)
        given: dict[str, Any] = {"document": b"one", **made}
        commit = trial.draft(requests.NO_HEAD, token="new", earlier=("old", "older"), **given)
        is_answer(requests.Committed, store.perform(commit), "a commit with three tokens")
        for own, *others in (("new",), ("old",), ("older",), ("newer", "old"), ("newer", "newest", "older")):
            verified = trial.verify(requests.NO_HEAD, token=own, earlier=tuple(others))
            is_answer(requests.Duplicate, verified, f"a commit with the tokens {[own, *others]}")
        inherited = is_answer(requests.Inherited, store.perform(requests.ReadInherited(trial.member_id)), "the tokens")
        _same({name for name, _ in inherited.tokens}, {"new", "old", "older"}, "the tokens that are used")
        kept = requests.Record("new", "" if "document" in made else "new", "said", commit.record)
        again = trial.verify(requests.NO_HEAD, token="newer", earlier=("new",))
        _same(is_answer(requests.Duplicate, again, "a later token").records, (kept,), "the first result")
        other = trial.verify(requests.NO_HEAD, token="newer", earlier=("new",), content="else")
        is_answer(requests.Mismatch, other, "other content under a later token")
        head = trial.load().head
        is_answer(
            requests.Committed, trial.verify(head, token="newer", earlier=("newest",)), "tokens that are not used"
        )


def law_3_inherited_tokens_are_used(store: requests.Store) -> None:
    """A commit takes over a guest's tokens and records: a repeated message of the guest gets its first result."""
    guest, trial = _Trial(store), _Trial(store)
    head = guest.advance(requests.NO_HEAD, b"guest", token="hi", content="said hi")
    guest.advance(head, b"guest", token="old", shift=0.0)
    inherited = is_answer(
        requests.Inherited, store.perform(requests.ReadInherited(guest.member_id)), "a read of what is inherited"
    )
    own = trial.advance(requests.NO_HEAD, b"member", token="own")
    moved = trial.draft(own, b"both", token="move", inherited=inherited)
    is_answer(requests.Committed, store.perform(moved), "a commit that inherits")
    order = [record.token for record in _records(trial)]
    _same(order, ["own", "hi", "old", "move"], "the records: the member's, the guest's in order, the new one")
    again = is_answer(
        requests.Duplicate, trial.commit(requests.NO_HEAD, token="hi", content="said hi"), "a token of the guest"
    )
    _same([record.body for record in again.records], [b"record of hi"], "the guest's first result")
    is_answer(
        requests.Mismatch,
        trial.commit(requests.NO_HEAD, token="hi", content="else"),
        "a token of the guest with other content",
    )
    instant = dict(inherited.tokens)["hi"]
    newer = requests.Inherited((("hi", instant + HOUR),))
    trial.advance(trial.load().head, inherited=newer, token="again")
    tokens = is_answer(
        requests.Inherited, store.perform(requests.ReadInherited(trial.member_id)), "a read of what is inherited"
    ).tokens
    _same(dict(tokens)["hi"], instant, "the instant of a token that is already there")


def law_3_tokens_are_taken_over_in_portions(store: requests.Store) -> None:
    """Tokens are read in portions, from an instant on, and those that are taken over without a commit count as used."""
    trial, other = _Trial(store), _Trial(store)
    head = trial.advance(requests.NO_HEAD)
    now = trial.load().at
    tokens = tuple((f"many {number}", now - HOUR + number) for number in range(2 * TOKENS_AT_ONCE + 5))
    for first in range(0, len(tokens), TOKENS_AT_ONCE):
        portion = requests.UseTokens(trial.member_id, tokens[first : first + TOKENS_AT_ONCE])
        _same((store.perform(portion), store.perform(portion)), (True, True), "taking over a portion, and again")
    is_answer(requests.Duplicate, trial.commit(head, token="many 2004"), "a token that was taken over")
    found: list[tuple[str, float]] = []
    since: float | None = None
    for _ in range(4):
        read = store.perform(requests.ReadInherited(trial.member_id, since)).tokens
        holds(len(read) <= TOKENS_AT_ONCE, f"{len(read)} tokens were read at once")
        found += [token for token in read if token not in found[-1:]]
        since = read[-1][1]
    _same([name for name, _ in found if name.startswith("many")], [name for name, _ in tokens], "all portions")
    store.perform(requests.UseTokens(other.member_id, (("early", now),)))
    _same((other.load().head, other.load().document), (requests.NO_HEAD, None), "a member that has only tokens")
    is_answer(requests.Duplicate, other.commit(requests.NO_HEAD, token="early"), "a token before the first commit")


def law_4_the_head_is_compared(store: requests.Store) -> None:
    """A commit on another version or another digest is a conflict that holds what is stored."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(requests.NO_HEAD, b"one"), b"two")
    for stale in (
        requests.NO_HEAD,
        requests.Head(1, head.digest),
        requests.Head(3, head.digest),
        requests.Head(2, requests.digest(b"a restored copy")),
        requests.Head(2),
    ):
        current = is_answer(requests.Conflict, trial.commit(stale, b"stale"), f"a commit on {stale}").current
        _same((current.head, current.document), (head, b"two"), "the stored data in the conflict")
    is_answer(requests.Conflict, _Trial(store).commit(head), "a commit of a member who has no document")


def law_4_versions_count(store: requests.Store) -> None:
    """Versions go up by one per commit."""
    trial = _Trial(store)
    head = trial.load().head
    _same(head, requests.NO_HEAD, "the head of a member of whom nothing is stored")
    versions: list[int] = []
    for _ in range(5):
        head = trial.advance(head)
        versions.append(head.version)
    _same(versions, [1, 2, 3, 4, 5], "the versions of five commits")


def law_4_versions_outlive_the_document(store: requests.Store) -> None:
    """When the document has expired, the audit still holds the head: a slow worker cannot start again at version 1."""
    trial = _Trial(store)
    ago = -1.1 * DOCUMENT_LIFE
    first = trial.draft(requests.NO_HEAD, b"one", token="one", shift=ago)
    head = is_answer(requests.Committed, store.perform(first), "a commit").head
    head = trial.advance(head, b"two", shift=ago)
    stored = trial.load()
    _same((stored.document, stored.previous, stored.head), (None, None, head), "the rest of an expired document")
    is_answer(requests.Conflict, trial.commit(requests.NO_HEAD, b"stale"), "a commit on no head")
    is_answer(requests.Conflict, trial.commit(requests.Head(1, head.digest), b"stale"), "a commit on an older head")
    _same(trial.advance(head, b"three").version, 3, "the version after the document expired")


def law_5_a_late_commit_is_not_made(store: requests.Store) -> None:
    """A commit after its deadline, on the store's clock moved by `shift`, is late."""
    trial = _Trial(store)
    now = trial.load().at
    head = trial.advance(requests.NO_HEAD, b"one", not_after=now + HOUR)
    answer = is_answer(
        requests.Late, trial.commit(head, b"two", not_after=now + HOUR, shift=2 * HOUR), "a commit after its deadline"
    )
    _same((answer.current.head, answer.current.document), (head, b"one"), "the stored data")
    holds(now + 2 * HOUR <= answer.current.at < now + 3 * HOUR, f"the shifted clock shows {answer.current.at}")
    made = is_answer(
        requests.Committed, trial.commit(head, b"two", not_after=now - HOUR, shift=-2 * HOUR), "one on a clock set back"
    )
    holds(now - 2 * HOUR <= made.at < now - HOUR, f"the clock set back shows {made.at}")


def law_6_without_document_and_record_it_only_verifies(store: requests.Store) -> None:
    """A commit without a document and a record makes the same checks in the same order and writes nothing."""
    trial = _Trial(store)
    _same(
        is_answer(requests.Committed, trial.verify(requests.NO_HEAD), "verifying that nothing is stored").head,
        requests.NO_HEAD,
        "the head",
    )
    head = trial.advance(requests.NO_HEAD, b"one", token="used")
    before, now = trial.kept(), trial.load().at
    verified = is_answer(requests.Committed, trial.verify(head, token="new", wake_at=now), "verifying the current head")
    _same(verified.head, head, "the head that is still true")
    is_answer(requests.Committed, trial.verify(head, token="new"), "verifying again with the same token")
    _refused_without_a_document(trial, head, b"")
    _same(trial.kept(), before, "all that is kept")


def law_6_without_a_document_it_remembers_a_message(store: requests.Store) -> None:
    """A commit with a record and no document makes the same checks, and writes its token and its record alone."""
    trial = _Trial(store)
    head = trial.advance(requests.NO_HEAD, b"one", token="used")
    stored, records, audit, _, _ = trial.kept()
    commit = trial.draft(head, None, token="untaken", root="another", wake_at=trial.load().at)
    made = is_answer(requests.Committed, store.perform(commit), "remembering a message")
    _same(made.head, head, "the head, which stays")
    kept = requests.Record("untaken", "", "said", commit.record)
    before = trial.kept()
    _same((*before[:3], before[4]), (stored, (*records, kept), audit, False), "all that is kept but the tokens")
    _same(dict(before[3].tokens)["untaken"], math.ceil(made.at), "the instant of the token")
    again = is_answer(requests.Duplicate, store.perform(commit), "the same message again")
    _same((again.records, again.current.document), ((kept,), b"one"), "its first result")
    is_answer(requests.Duplicate, trial.commit(head, token="untaken"), "a turn under the same token")
    is_answer(requests.Mismatch, trial.commit(head, token="untaken", content="else"), "the token with other content")
    _refused_without_a_document(trial, head, b"record")
    _same(trial.kept(), before, "all that is kept")
    trial.advance(head, b"two")
    fresh = _Trial(store)
    is_answer(requests.Committed, fresh.commit(requests.NO_HEAD, None, token="first"), "remembering a first message")
    _same((fresh.load().head, len(_records(fresh))), (requests.NO_HEAD, 1), "the head and the number of records")


def law_6_few_messages_without_a_turn_are_kept(store: requests.Store) -> None:
    """The latest `UNTAKEN_KEPT` records of messages that were not taken are kept, beside those of turns."""
    trial = _Trial(store)
    head = requests.NO_HEAD
    for number in range(RECORDS_KEPT):
        head = trial.advance(head, token=f"t{number}")
    for number in range(UNTAKEN_KEPT + 2):
        is_answer(requests.Committed, trial.commit(head, None, token=f"u{number}"), "remembering a message")
    turns = [f"t{number}" for number in range(RECORDS_KEPT)]
    untaken = [f"u{number}" for number in range(2, UNTAKEN_KEPT + 2)]
    _same([record.token for record in _records(trial)], [*turns, *untaken], "the records kept")
    old = is_answer(requests.Duplicate, trial.commit(head, token="u0"), "a token whose record is gone")
    _same((old.records, old.current.head), ((), head), "its answer")


def law_6_a_message_without_a_turn_has_its_life(store: requests.Store) -> None:
    """A message that was not taken is remembered for `TOKEN_KEPT`, also where nothing else is stored."""
    for age, kind in ((TOKEN_KEPT - HOUR, requests.Duplicate), (TOKEN_KEPT + HOUR, requests.Committed)):
        trial = _Trial(store)
        trial.commit(requests.NO_HEAD, None, token="untaken", shift=-age)
        is_answer(kind, trial.commit(requests.NO_HEAD, token="untaken"), f"its token after {age} seconds")


def _refused_without_a_document(trial: _Trial, head: requests.Head, record: bytes) -> None:
    """Check the answers to commits without a document that are refused; the token "used" is used."""
    now = trial.load().at
    refused: list[tuple[type[object], requests.Head, dict[str, Any]]] = [
        (requests.Duplicate, head, {"token": "used"}),
        (requests.Mismatch, head, {"token": "used", "content": "else"}),
        (requests.Conflict, requests.NO_HEAD, {}),
        (requests.Late, head, {"not_after": now - HOUR}),
    ]
    for kind, expected, given in refused:
        is_answer(kind, trial.commit(expected, None, record=record, **given), "a commit without a document")


def law_7_tokens_have_their_life(store: requests.Store) -> None:
    """A token is kept for `TOKEN_KEPT` after its use, whatever else is committed, and then forgotten."""
    trial = _Trial(store)
    head = trial.advance(requests.NO_HEAD, token="old")
    head = trial.advance(head, token="later", shift=2 * HOUR)
    is_answer(
        requests.Duplicate, trial.commit(head, token="old", shift=TOKEN_KEPT - HOUR), "a token that is still kept"
    )
    head = trial.advance(head, token="old", shift=TOKEN_KEPT + HOUR)
    late = TOKEN_KEPT + 3 * HOUR
    is_answer(requests.Committed, trial.verify(head, token="later", shift=late), "a token that is forgotten")
    is_answer(requests.Duplicate, trial.verify(head, token="old", shift=late), "a token that was used again")
    old = _Trial(store)
    head = old.advance(requests.NO_HEAD, token="first", shift=-TOKEN_KEPT - HOUR)
    for number in range(20):
        head = old.advance(head, token=f"t{number}")
    inherited = is_answer(
        requests.Inherited, store.perform(requests.ReadInherited(old.member_id)), "a read of what is inherited"
    )
    _same(
        sorted(token for token, _ in inherited.tokens),
        sorted(f"t{number}" for number in range(20)),
        "the tokens that live",
    )
    is_answer(requests.Duplicate, old.verify(head, token="t0"), "the earliest token that lives")
    is_answer(requests.Committed, old.verify(head, token="first"), "a token that is forgotten")


def law_7_the_latest_records_are_kept(store: requests.Store) -> None:
    """The latest `RECORDS_KEPT` records are kept; an older token is still known, without its result."""
    trial = _Trial(store)
    head = requests.NO_HEAD
    for number in range(RECORDS_KEPT + 3):
        head = trial.advance(head, token=f"t{number}")
    kept = [record.token for record in _records(trial)]
    _same(kept, [f"t{number}" for number in range(3, RECORDS_KEPT + 3)], "the records kept")
    old = is_answer(requests.Duplicate, trial.commit(head, token="t0"), "a token whose record is gone")
    _same((old.records, old.current.head), ((), head), "its answer")


def law_7_each_thing_has_its_life(store: requests.Store) -> None:
    """Documents, records and audit are kept for their lifetimes and a thirtieth of the document's, then forgotten."""
    day = DOCUMENT_LIFE / 30
    lives = {
        DOCUMENT_LIFE - HOUR: (True, True, True, True),
        DOCUMENT_LIFE + day + HOUR: (False, False, False, True),
        AUDIT_LIFE - HOUR: (False, False, False, True),
        AUDIT_LIFE + day + HOUR: (False, False, False, False),
    }
    for age, wanted in lives.items():
        trial = _Trial(store)
        for document in (b"one", b"two"):
            trial.advance(trial.load().head, document, shift=-age)
        stored = trial.load()
        audit = store.perform(requests.ReadAudit(trial.member_id))
        found = (stored.document is not None, stored.previous is not None, bool(_records(trial)), bool(audit))
        _same(found, wanted, f"document, previous, records, audit {age / 86_400:.2f} days after the latest commit")
    for age, gap in ((DOCUMENT_LIFE - HOUR, day), (DOCUMENT_LIFE - HOUR, 2 * day), (DOCUMENT_LIFE - HOUR, day - HOUR)):
        trial = _Trial(store)
        trial.advance(trial.advance(requests.NO_HEAD, b"one", shift=-age - gap), b"two", shift=-age)
        holds(
            trial.load().document == b"two",
            f"the document is gone {age / 86_400:.2f} days after the latest commit, {gap / 86_400:.2f} after another",
        )


def law_7_a_commit_sets_the_life_of_its_document(store: requests.Store) -> None:
    """A document whose commit asks for it is kept longer, and so is the one before it; no commit shortens that."""
    long = 2 * DOCUMENT_LIFE
    for age, kept in {DOCUMENT_LIFE + HOUR: True, long - HOUR: True, 1.04 * long: False}.items():
        trial = _Trial(store)
        trial.advance(trial.advance(requests.NO_HEAD, b"one", life=long, shift=-age), b"two", life=long, shift=-age)
        stored = trial.load()
        found = (stored.document is not None, stored.previous is not None)
        _same(
            found, (kept, kept), f"document and previous {age / 86_400:.2f} days after a commit of {long / 86_400} days"
        )
    trial = _Trial(store)
    first = trial.advance(requests.NO_HEAD, b"one", life=long, shift=-1.5 * DOCUMENT_LIFE)
    trial.advance(first, b"two", shift=-1.5 * DOCUMENT_LIFE)
    _same(trial.load().document, b"two", "a document that an earlier commit keeps for longer")


def law_7_what_is_kept_of_a_stranger_ends_with_the_document(store: requests.Store) -> None:
    """Records and audit of a stranger end with the document, and never earlier than they would have without it."""
    body = b'{"a":"' + bytes(range(256)) + b'"}'
    trial = _Trial(store)
    head = trial.advance(requests.NO_HEAD, body, record=body, stranger=True, forgets=True, life=2 * HOUR, wake_at=200.0)
    trial.advance(head, body, record=b"", stranger=True, forgets=True, life=2 * HOUR)
    _same((trial.load().document, trial.load().previous), (body, None), "the documents of a stranger")
    records = store.perform(requests.ReadRecords(trial.member_id))
    _same([record.body for record in records], [body], "the records of a stranger, without empty ones")
    _same(trial.wakes(300.0), False, "whether a wake-up is left that the latest commit does not set")
    for age, kept in {2 * HOUR - 60: True, 2.2 * HOUR: False}.items():
        trial = _Trial(store)
        given: dict[str, Any] = {"token": "first", "stranger": True, "life": 2 * HOUR, "shift": -age}
        head = trial.advance(requests.NO_HEAD, b"one", **given)
        found = (
            trial.load().document is not None,
            bool(store.perform(requests.ReadRecords(trial.member_id))),
            bool(store.perform(requests.ReadAudit(trial.member_id))),
        )
        _same(found, (kept,) * 3, f"document, records and audit of a stranger after {age} seconds")
        is_answer(requests.Duplicate, trial.commit(head, None, token="first"), "the token of a stranger, used again")
    trial = _Trial(store)
    head = trial.advance(requests.NO_HEAD, b"one", shift=-3 * HOUR)
    trial.advance(head, b"two", stranger=True, life=2 * HOUR, shift=-3 * HOUR)
    _same(trial.load().document, b"two", "the document of one who has become a stranger")
    _same(_versions(trial), [1, 2], "the audit of before, which is kept as long as before")
    _same(len(store.perform(requests.ReadRecords(trial.member_id))), 2, "the records of before")


def law_7_audit_entries_end_one_by_one(store: requests.Store) -> None:
    """A commit that renews the lives drops expired entries: the oldest first, `EXPIRED_AT_ONCE` at most."""
    trial = _Trial(store)
    head = requests.NO_HEAD
    hours = range(EXPIRED_AT_ONCE + 3)
    for hour in hours:
        head = trial.advance(head, shift=hour * HOUR)
    _same(_versions(trial), [hour + 1 for hour in hours], "the entries of which none is too old")
    last = hours[-1]
    day = DOCUMENT_LIFE / 30 / HOUR
    ages = ((1.5, 3), (last, 3 + EXPIRED_AT_ONCE), (last + day / 2, 3 + EXPIRED_AT_ONCE), (last + 2 * day, last + 2))
    for age, first in ages:
        head = trial.advance(head, shift=AUDIT_LIFE + age * HOUR)
        what = f"the entries kept by a commit {age} hours after the first is too old"
        _same(_versions(trial), list(range(first, head.version + 1)), what)
    for age in (30_000, 60_000):
        head = trial.advance(head, shift=AUDIT_LIFE + age * HOUR)
    _same(_versions(trial)[-1], head.version, "the latest entry, which is never dropped")


def law_8_bytes_come_back_as_they_went(store: requests.Store) -> None:
    """Documents, records and entries are returned byte for byte; ids and tokens may be any text."""
    every = bytes(range(256))
    trial = _Trial(store, member_id=f"}}x {{1}} \n:state é \ud800 {token_hex(4)}")
    neighbour = _Trial(store, member_id=f"{trial.member_id}:state")
    entry = _entry(1, every + b" 7 x ")
    commit = requests.Commit(trial.member_id, requests.NO_HEAD, "a token\n", "root é", "", every, entry, every)
    head = is_answer(requests.Committed, store.perform(commit), "a commit of every byte").head
    _same(head, requests.Head(1, entry.digest), "the head")
    _same(trial.load().document, every, "the document")
    _same(_records(trial), (requests.Record("a token\n", "root é", "", every),), "the record")
    _same(store.perform(requests.ReadAudit(trial.member_id)), (entry,), "the audit entry")
    is_answer(requests.Duplicate, store.perform(commit), "the commit again")
    _same(neighbour.kept()[1:4], ((), (), requests.Inherited()), "the data of a member with a similar id")
    empty = trial.advance(head, b"", record=b"", entry=_entry(2, b"@1.5 @2.5 "))
    _same(
        store.perform(requests.ReadAudit(trial.member_id, 1)),
        (_entry(2, b"@1.5 @2.5 "),),
        "an entry like a frame",
    )
    _same((trial.load().document, trial.load().head), (b"", empty), "an empty document")


def law_9_only_an_earlier_wake_up_is_written(store: requests.Store) -> None:
    """A member has one wake-up, the earliest, until `SetWakeUp` replaces it on the current head."""
    trial = _Trial(store)
    head = trial.advance(requests.NO_HEAD, wake_at=200.0)
    holds(not trial.wakes(199.0), "a wake-up came before its time")
    holds(trial.wakes(200.0), "a wake-up is not there at its instant")
    head = trial.advance(head, wake_at=300.0)
    holds(trial.wakes(200.0), "a later wake-up was written over an earlier one")
    head = trial.advance(head)
    holds(trial.wakes(200.0), "a commit without a wake-up touched the one there")
    head = trial.advance(head, wake_at=100.5)
    holds(trial.wakes(100.5), "an earlier wake-up was not written")
    stale = requests.SetWakeUp(trial.member_id, requests.Head(head.version - 1, head.digest))
    _same(store.perform(stale), None, "the answer of SetWakeUp")
    holds(trial.wakes(100.5), "a wake-up was cleared on an old head")
    store.perform(requests.SetWakeUp(trial.member_id, attrs.evolve(head, digest="another")))
    holds(trial.wakes(100.5), "a wake-up was cleared on a head of another digest")
    store.perform(requests.SetWakeUp(trial.member_id, head, 400.0))
    holds(not trial.wakes(399.0) and trial.wakes(400.0), "a wake-up was not set to a later instant")
    for _ in range(2):
        store.perform(requests.SetWakeUp(trial.member_id, head))
        holds(not trial.wakes(float("inf")), "a cleared wake-up is still there")
    head = trial.advance(head, wake_at=-1e9)
    shard = requests.shard_of(trial.member_id)
    for until in (-1e9, None):
        found = store.perform(requests.ReadDueShards((shard, (shard + 1) % SHARDS), until))
        holds(shard in found, f"a shard with a wake-up that is due is not among {found}")
    _same(store.perform(requests.ReadDueShards(())), (), "the due ones of no shard")
    _same(
        store.perform(requests.ReadDue(requests.shard_of(trial.member_id), -1e9, limit=1)),
        (trial.member_id,),
        "the earliest one",
    )
    store.perform(requests.SetWakeUp(trial.member_id, head))


def law_17_what_was_sent_is_noted_beside_the_document(store: requests.Store) -> None:
    """What was sent is noted on any head, comes with each answer, and outlives commits; the wake-up needs the head."""
    trial = _Trial(store)
    nothing = requests.MarkSent(trial.member_id, requests.NO_HEAD, ("gone",), wake_at=5.0)
    _same(store.perform(nothing), None, "the answer of MarkSent")
    holds(not trial.wakes(float("inf")), "a wake-up was set where no document is stored")
    first = trial.advance(requests.NO_HEAD, wake_at=100.0)
    _same(trial.load().sent, (), "what is noted where nothing was sent")
    store.perform(requests.MarkSent(trial.member_id, first, ("one",), ("two",), 300.0))
    _same(trial.load().sent, ("one",), "what is noted")
    holds(not trial.wakes(299.0) and trial.wakes(300.0), "a wake-up was not set to a later instant")
    second = trial.advance(first, wake_at=300.0)
    store.perform(requests.MarkSent(trial.member_id, first, ("two", "one"), (), None))
    _same(trial.load().sent, ("two", "one"), "what is noted on a head of before, and after a commit")
    holds(trial.wakes(300.0), "a wake-up was cleared on an old head")
    lost = trial.commit(first)
    _same(is_answer(requests.Conflict, lost, "a commit on an old head").current.sent, ("two", "one"), "with a conflict")
    many = tuple(f"m{number}" for number in range(SENT_KEPT))
    store.perform(requests.MarkSent(trial.member_id, attrs.evolve(second, digest="another"), many, (), None))
    _same(trial.load().sent, many, "the latest that are noted")
    told = tuple((f"wamid {number}", f"m{number}") for number in range(MESSAGES_KEPT))
    for messages, kept in ((told[:2], told[:2]), ((told[1],), told[:2]), ((told[0],), told[1::-1]), (told, told)):
        store.perform(requests.MarkSent(trial.member_id, first, ("one",), (), None, messages))
        _same(trial.load().messages, kept, "the latest messages as which replies were sent")
    lost = is_answer(requests.Conflict, trial.commit(first), "a commit on an old head").current
    _same(lost.messages, (), "the messages with a conflict")
    for _ in range(2):
        store.perform(requests.MarkSent(trial.member_id, second, ("last",), ("m1",), None))
        _same(trial.load().sent, ("m1", "last"), "what is noted of a document where all others wait no more")
        holds(not trial.wakes(float("inf")), "a cleared wake-up is still there")


def law_10_a_broken_document_is_quarantined(store: requests.Store) -> None:
    """A document is quarantined only at its head and only once; the version goes on and the previous document stays."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(requests.NO_HEAD, b"good"), b"broken")
    older = requests.Quarantine(trial.member_id, requests.Head(1, head.digest))
    kept = is_answer(requests.Conflict, store.perform(older), "the quarantine of a document of an older head").current
    _same((kept.head, kept.document), (head, b"broken"), "the stored data after that")
    for _ in range(2):
        moved = is_answer(
            requests.Stored, store.perform(requests.Quarantine(trial.member_id, head)), "the quarantine of a document"
        )
        _same((moved.head, moved.document), (head, None), "the stored data after the quarantine")
    _same((trial.load().document, trial.load().previous), (None, b"good"), "the remaining data")
    _same(len(_records(trial)), 2, "the records left")
    head = trial.advance(head, b"new")
    _same((head.version, trial.load().previous), (3, b"good"), "the version and the previous document")


def law_10_the_quarantine_can_be_read(store: requests.Store) -> None:
    """Quarantined documents are listed in order and shown as they were."""
    trial = _Trial(store)
    _same(
        store.perform(requests.ReadQuarantine(trial.member_id)),
        (),
        "the quarantine of a member of whom nothing is stored",
    )
    head = trial.advance(trial.advance(requests.NO_HEAD, b"good"), b"broken \x00\xff")
    store.perform(requests.Quarantine(trial.member_id, head))
    store.perform(requests.Quarantine(trial.member_id, trial.advance(head, b"broken again")))
    found = _quarantine(trial)
    _same(found, (requests.Quarantined(2, "state", ""), requests.Quarantined(3, "state", "")), "the quarantine")
    for one, wanted in zip(found, (b"broken \x00\xff", b"broken again"), strict=True):
        shown = store.perform(requests.ShowQuarantined(trial.member_id, one))
        _same(shown[shown.index(b"d") + 1], wanted, "the quarantined value")


def law_12_a_wiped_member_is_gone(store: requests.Store) -> None:
    """A wipe removes documents, records, wake-up and quarantine; tokens and audit stay, and the version goes on."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(requests.NO_HEAD, b"one", token="used"), b"two")
    store.perform(requests.Quarantine(trial.member_id, head))
    head = trial.advance(trial.advance(head, b"three"), b"four", wake_at=100.0)
    store.perform(requests.RecordIncident(trial.member_id, b"incident"))
    quarantine, before = _quarantine(trial), trial.kept()
    wiped = requests.Entry(head.version + 1, requests.digest(b"wiped"), b"wiped")
    refused = (
        requests.Wipe(trial.member_id, attrs.evolve(head, version=3), wiped, quarantine),
        requests.Wipe(trial.member_id, attrs.evolve(head, digest="another"), wiped, quarantine),
        requests.Wipe(trial.member_id, head, wiped),
        requests.Wipe(_Trial(store).member_id, head, wiped),
    )
    for wipe in refused:
        what = f"{wipe}, on another head or without a quarantined key,"
        is_answer(requests.Conflict, store.perform(wipe), what)
    _same((trial.kept(), _quarantine(trial)), (before, quarantine), "the data after a wipe that was not made")
    done = is_answer(
        requests.Committed, store.perform(requests.Wipe(trial.member_id, head, wiped, quarantine)), "a wipe"
    )
    _same(done.head, requests.Head(wiped.version, wiped.digest), "the head after a wipe")
    left = trial.load()
    _same((left.document, left.previous, left.head), (None, None, done.head), "the stored data after a wipe")
    _same(
        (_records(trial), _quarantine(trial), trial.wakes(float("inf"))), ((), (), False), "the other data after a wipe"
    )
    for one in quarantine:
        _same(store.perform(requests.ShowQuarantined(trial.member_id, one)), (), "a quarantined key after a wipe")
    audit = store.perform(requests.ReadAudit(trial.member_id))
    _same((len(audit), audit[-1]), (5, wiped), "the audit after a wipe")
    _same(store.perform(requests.ReadIncidents(trial.member_id)), (b"incident",), "the incidents after a wipe")
    again = is_answer(
        requests.Committed, store.perform(requests.Wipe(trial.member_id, head, wiped, quarantine)), "the wipe again"
    )
    _same(again.head, done.head, "its head")
    _same(len(_versions(trial)), 5, "the audit after that")
    known = is_answer(requests.Duplicate, trial.commit(head, token="used"), "a token from before the wipe")
    _same(known.records, (), "its records")
    is_answer(requests.Conflict, trial.commit(head), "a commit on the head before the wipe")
    is_answer(requests.Conflict, trial.commit(requests.NO_HEAD), "a commit that begins anew")
    _same(trial.advance(done.head, b"new").version, wiped.version + 1, "the version after a wipe")


def law_11_a_shard_has_one_worker(store: requests.Store) -> None:
    """A shard has one worker until that worker returns it, and each worker sees the others that are present."""
    one, two = f"one-{token_hex(6)}", f"two-{token_hex(6)}"
    shard = requests.shard_of(one)

    def held(worker: str, seconds: float) -> str | None:
        return is_answer(requests.Leased, store.perform(requests.Lease(shard, worker, seconds)), "a lease").worker

    _same(held(one, HOUR), one, "the holder of a free shard")
    _same(held(two, HOUR), one, "the holder of a shard that another worker requests")
    _same(held(two, 0), one, "the holder of a shard that another worker returns")
    _same(held(one, HOUR), one, "the holder that renews its lease")
    _same(held(one, 0), None, "the holder of a shard that was returned")
    _same(held(two, HOUR), two, "the next holder")
    _same(held(two, 0), None, "the holder after the last return")

    def present(worker: str, seconds: float) -> set[str]:
        workers = store.perform(requests.Heartbeat(worker, seconds))
        return {one, two}.intersection(workers)

    _same((present(one, HOUR), present(two, HOUR)), ({one}, {one, two}), "the workers that are present")
    _same((present(one, 0), present(two, 0)), ({two}, set[str]()), "the workers that are left")


def law_11_a_pace_is_kept_by_all_together(store: requests.Store) -> None:
    """Of one pace no more is allowed than its limit, the smallest order first; an address has a rate of its own."""
    account = token_hex(6)

    def waits(name: str, order: float, limit: int, **more: float) -> bool:
        every = more.get("every", 0.0)
        asked = requests.TakePace("sms", account, name, order, limit, HOUR, chat_burst=2, chat_every=every)
        answer: object = store.perform(asked)
        if not isinstance(answer, float) or not 0 <= answer <= HOUR:
            raise AssertionError(f"the answer to TakePace is {answer!r}, no number of seconds")
        return answer > 0

    _same([waits(name, 5.0, 2) for name in ("a", "b", "c", "d")], [False, False, True, True], "the waits at a limit")
    _same(waits("urgent", -5.0, 2), True, "the wait of an urgent one")
    _same([waits("c", 5.0, 3), waits("d", 4.0, 3)], [True, True], "the waits behind the urgent one")
    _same([waits("urgent", 7.0, 3), waits("c", 5.0, 4)], [False, True], "the waits when one more may be sent")
    _same([waits("d", 9.0, 4), waits("c", 5.0, 5)], [False, False], "the waits in the order of the first requests")
    _same([waits("e", 5.0, 9, every=HOUR / 2) for _ in range(3)], [False, False, True], "the waits of one address")
    _same(waits("f", 9.0, 8), False, "the wait behind an address that waits for its own rate")
    other = requests.TakePace("sms", account + "x", "a", 5.0, 1, HOUR)
    _same(store.perform(other), 0.0, "the wait at another account")
    pause = requests.TakePace("sms", account, "g", 0.0, 99, HOUR, pause=1_000.0)
    _same([900 < store.perform(each) <= 1_000 for each in (pause, attrs.evolve(pause, pause=1.0))], [True, True],
          "the pause of an account, and a shorter one")  # fmt: skip
    _same([waits("g", 0.0, 99), waits("h", 9.0, 99)], [True, True], "the waits in a pause")
    _same(store.perform(attrs.evolve(other, limit=9, name="b")), 0.0, "the wait at another account in the pause")


def law_7_incidents_are_kept_beside_the_chain(store: requests.Store) -> None:
    """Incidents are kept in order, the latest, each once; nothing else of the member changes."""
    trial = _Trial(store)
    trial.advance(requests.NO_HEAD)
    before = trial.kept()
    bodies = (b"incident \n\x00\xff", b"@1.5 x", b"@1.5 @1.5 x")
    for body in (*bodies, bodies[-1]):
        _same(store.perform(requests.RecordIncident(trial.member_id, body)), None, "the answer of RecordIncident")
    _same(store.perform(requests.ReadIncidents(trial.member_id)), bodies, "the incidents")
    _same(store.perform(requests.ReadIncidents(trial.member_id, 2)), bodies[1:], "the latest two")
    _same(store.perform(requests.ReadIncidents(trial.member_id, 0)), (), "the latest none")
    _same(trial.kept(), before, "the other data")
    mark = token_hex(8).encode()
    store.perform(requests.RecordIncident(None, mark))
    _same(store.perform(requests.ReadIncidents(None, 1)), (mark,), "the store's own latest")


def law_a_channel_has_one_owner(store: requests.Store) -> None:
    """A channel, which is its type and identifier, has one owner, and only the owner's id takes it back."""
    tail = token_hex(8)
    channel, other = Channel("sms", f"}}x {tail}"), Channel(f"sms:}}x {tail}", "1")
    owners: list[tuple[requests.Request, str | None]] = [
        (requests.FindOwner(channel), None),
        (requests.Unlink(channel, "m"), None),
        (requests.Link(channel, "m é\n"), "m é\n"),
        (requests.Link(channel, "m é\n"), "m é\n"),
        (requests.Link(channel, "thief"), "m é\n"),
        (requests.Link(channel, "thief", instead_of="n"), "m é\n"),
        (requests.Link(channel, "n", instead_of="m é\n"), "n"),
        (requests.Link(channel, "n", instead_of="m é\n"), "n"),
        (requests.Link(channel, "m é\n", instead_of="n"), "m é\n"),
        (requests.FindOwner(other), None),
        (requests.Unlink(channel, "thief"), "m é\n"),
        (requests.FindOwner(Channel("sms", channel.identifier, {"lang": "sn"})), "m é\n"),
        (requests.Unlink(channel, "m é\n"), None),
        (requests.FindOwner(channel), None),
    ]
    for request, owner in owners:
        _same(store.perform(request), requests.Linked(owner), f"the answer to {request}")


def law_18_a_change_for_a_way_is_made_once(store: requests.Store) -> None:
    """A change for a way is made once: its repeat changes nothing, also where the channel has come back since."""
    tail = token_hex(8)
    channel, other = Channel("sms", f"way {tail}"), Channel("sms", f"another {tail}")
    ours, bare = (Channel("whatsapp", f"way {tail}").with_account(account) for account in ("1001", ""))
    owners: list[tuple[requests.Request, str | None]] = [
        (requests.Link(channel, "m"), "m"),
        (requests.Link(channel, "n", instead_of="m", way=f"1 {tail}"), "n"),
        (requests.Link(channel, "n", instead_of="m", way=f"1 {tail}"), "n"),
        (requests.Link(channel, "m", instead_of="n", way=f"2 {tail}"), "m"),
        (requests.Link(channel, "n", instead_of="m", way=f"1 {tail}"), "m"),
        (requests.Link(other, "n", way=f"1 {tail}"), "n"),
        (requests.Link(channel, "n", instead_of="l", way=f"3 {tail}"), "m"),
        (requests.Link(channel, "n", instead_of="m", way=f"3 {tail}"), "n"),
        (requests.Unlink(channel, "n", way=f"4 {tail}"), None),
        (requests.Link(channel, "n", instead_of="m", way=f"1 {tail}"), None),
        (requests.Link(channel, "n"), "n"),
        (requests.Unlink(channel, "n", way=f"4 {tail}"), "n"),
        (requests.Unlink(channel, "m", way=f"5 {tail}"), "n"),
        (requests.Unlink(channel, "n", way=f"5 {tail}"), "n"),
        (requests.Unlink(channel, "n"), None),
        (requests.Link(bare, "m"), "m"),
        (requests.Link(ours, "m"), "m"),
        (requests.Unlink(ours, "m", way=f"6 {tail}"), None),
        (requests.FindOwner(bare), None),
        (requests.Link(bare, "m"), "m"),
        (requests.Link(ours, "m"), "m"),
        (requests.Unlink(ours, "m", way=f"6 {tail}"), "m"),
        (requests.Unlink(bare, "m", way=f"6 {tail}"), None),
    ]
    for request, owner in owners:
        _same(store.perform(request), requests.Linked(owner), f"the answer to {request}")


def law_the_names_of_a_speaker_are_looked_up_together(store: requests.Store) -> None:
    """Names are found in order, each by itself; one without an owner goes to the guest who asks first, until a link."""
    tail = token_hex(8)
    number, user, parent = (Channel("whatsapp", f"{name} {tail}").with_account("1001") for name in "abc")
    guest, other = f"guest-{'1' * 24}", f"guest-{'2' * 24}"
    _same(store.perform(requests.FindOwners(())), (), "the owners of no name")
    asked = (requests.FindOwner(number), requests.FindOwner(user, guest), requests.FindOwner(parent))
    found = tuple(map(requests.Linked, (None, guest, None)))
    for _ in range(2):
        _same(store.perform(requests.FindOwners(asked)), found, "the owners of the names")
    owners: list[tuple[requests.Request, str | None]] = [
        (requests.FindOwner(user, other), guest),
        (requests.FindOwner(user), guest),
        (requests.FindOwner(number), None),
        (requests.Link(user, "m"), guest),
        (requests.Link(user, other, instead_of=guest, guest=True), other),
        (requests.Link(user, "m", instead_of=other), "m"),
        (requests.FindOwner(user, guest), "m"),
        (requests.Link(number.with_account(""), "n"), "n"),
        (requests.Unlink(user, "m"), None),
        (requests.FindOwner(user), None),
    ]
    for request, owner in owners:
        _same(store.perform(request), requests.Linked(owner), f"the answer to {request}")
    bare = requests.Linked("n", own=False)  # the entry without an account answers, and no guest takes its place
    _same(store.perform(requests.FindOwner(number, guest)), bare, "the owner by the entry without an account")


def law_13_an_erasure_keeps_the_head_and_the_chain(store: requests.Store) -> None:
    """An erasure leaves one tombstone with the version and digest of the last entry, and no other data."""
    trial = _Trial(store)
    heads = [trial.advance(requests.NO_HEAD)]
    for _ in range(3):
        heads.append(trial.advance(heads[-1]))
    store.perform(requests.RecordIncident(trial.member_id, b"incident"))
    found = store.perform(requests.Erase(trial.member_id, 2, 3, b"first"))
    _same(found, requests.Erased(2), "the answer to an erasure of a range")
    audit = store.perform(requests.ReadAudit(trial.member_id))
    _same([entry.version for entry in audit], [1, 3, 4], "the versions that are left")
    _same((audit[1].digest, audit[1].body), (heads[2].digest, b"first"), "the tombstone")
    is_answer(
        requests.Conflict,
        store.perform(requests.Erase(trial.member_id, 0, 4, b"all", all=True)),
        "an erasure while a document is stored",
    )
    entry = requests.Entry(5, requests.digest(b"wiped"), b"wiped")
    store.perform(requests.Wipe(trial.member_id, heads[-1], entry))
    for entries in (4, 1):
        found = store.perform(requests.Erase(trial.member_id, 0, 5, b"all", all=True))
        _same(found, requests.Erased(entries), "the answer to an erasure of all")
    head = requests.Head(5, entry.digest)
    stored = is_answer(requests.Stored, store.perform(requests.Load(trial.member_id)), "a load")
    _same((stored.head, stored.document), (head, None), "what is stored after an erasure")
    _same(store.perform(requests.ReadInherited(trial.member_id)), requests.Inherited(), "the tokens and records")
    _same(store.perform(requests.ReadIncidents(trial.member_id)), (), "the incidents")
    trial.advance(head)


def law_13_a_fold_keeps_the_head_and_the_chain(store: requests.Store) -> None:
    """A fold puts one entry in the place of a range, and leaves all other entries and the head."""
    trial = _Trial(store)
    heads = [trial.advance(requests.NO_HEAD)]
    for _ in range(4):
        heads.append(trial.advance(heads[-1]))
    before = store.perform(requests.ReadAudit(trial.member_id))
    _same(store.perform(requests.Fold(trial.member_id, 2, 4, b"folded")), 3, "the number of entries folded")
    for _ in range(2):
        audit = store.perform(requests.ReadAudit(trial.member_id))
        wanted = (before[0], requests.Entry(4, heads[3].digest, b"folded"), before[4])
        _same(audit, wanted, "the entries after a fold")
        _same(store.perform(requests.Fold(trial.member_id, 2, 3, b"late")), 0, "a fold of what was folded")
        _same(store.perform(requests.Fold(trial.member_id, 2, 4, b"folded")), 1, "a fold made again")
    head = trial.advance(heads[-1])
    stored = is_answer(requests.Stored, store.perform(requests.Load(trial.member_id)), "a load")
    _same(stored.head, head, "the head after a fold")


def law_14_bytes_are_replaced_where_they_are(store: requests.Store) -> None:
    """A rewrite replaces the document, the one before and records in place, and leaves what has changed meanwhile."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(requests.NO_HEAD, b"one"), b"two")
    stored = is_answer(requests.Stored, store.perform(requests.Load(trial.member_id, True)), "a load")
    if stored.ciphertext is not None:
        return  # around a store that encrypts, only that store knows the bytes
    given = stored.document or b"", stored.previous or b""
    records = _records(trial)
    replaced = tuple((record, attrs.evolve(record, body=record.body + b" again\n")) for record in records)
    rewrite = requests.Rewrite(trial.member_id, (given[0], b"2\n"), (given[1], b"\0"), replaced)
    _same(store.perform(rewrite), 2 + len(records), "the parts that were replaced")
    _same(store.perform(rewrite), 0, "the parts that were replaced again")
    after = is_answer(requests.Stored, store.perform(requests.Load(trial.member_id, True)), "a load")
    _same((after.head, after.document, after.previous), (head, b"2\n", b"\0"), "what is stored after a rewrite")
    _same(_records(trial), tuple(after for _, after in replaced), "the records after a rewrite")
    _same(store.perform(requests.Rewrite(trial.member_id)), 0, "a rewrite of nothing")
    trial.advance(head)


def law_14_keys_of_a_member_are_kept_until_they_are_dropped(store: requests.Store) -> None:
    """Keys are kept by id; one that was dropped is not replaced."""
    member, other = f"m {token_hex(8)}", f"m {token_hex(8)}"
    one, two = requests.MemberKey("~1 \xe9", b"one\0\n"), requests.MemberKey("~2", b"two")
    again = attrs.evolve(one, body=b"again")
    for request in (requests.KeepKey(member, two), requests.KeepKey(member, one), requests.KeepKey(other, again)):
        store.perform(request)
    _same(store.perform(requests.ReadKeys(member)), (one, two), "the keys of a member")
    store.perform(requests.KeepKey(member, again, replaces=True))
    store.perform(requests.DropKeys(member, (two.id, "another")))
    store.perform(requests.KeepKey(member, two, replaces=True))
    _same(store.perform(requests.ReadKeys(member)), (again,), "the keys that are left")
    store.perform(requests.DropKeys(member, (one.id,)))
    _same(store.perform(requests.ReadKeys(member)), (), "the keys after the last was dropped")
    _same(store.perform(requests.ReadKeys(other)), (again,), "the keys of another member")


def law_16_the_oldest_entries_are_dropped_before_a_named_one(store: requests.Store) -> None:
    """The oldest entries are dropped if the named entry is the next one; otherwise, and of the latest, none is."""
    trial = _Trial(store)
    heads = [requests.NO_HEAD]
    for _ in range(4):
        heads.append(trial.advance(heads[-1]))
    audit = store.perform(requests.ReadAudit(trial.member_id))
    for count in (0, 1, 3, 9):
        _same(store.perform(requests.ReadOldest(trial.member_id, count)), audit[:count], f"the oldest {count} entries")
    others = (heads[2], attrs.evolve(heads[3], digest="another"), requests.Head(4, heads[3].digest))
    refused = [*((2, left) for left in others), (4, heads[4]), (4, requests.NO_HEAD), (5, heads[4])]
    for count, left in refused:
        found = store.perform(requests.DropOldest(trial.member_id, count, left))
        _same((found, _versions(trial)), (False, [1, 2, 3, 4]), f"what is left before {left} in place {count}")
    drop = requests.DropOldest(trial.member_id, 2, heads[3])
    _same((store.perform(drop), _versions(trial)), (True, [3, 4]), "what is left of two entries less")
    _same((store.perform(drop), _versions(trial)), (False, [3, 4]), "what is left after a repeat")
    _same(store.perform(requests.DropOldest(trial.member_id, 1, heads[4])), True, "the answer for all but the latest")
    _same((trial.load().head, _versions(trial)), (heads[4], [4]), "the head and what is left")
    trial.advance(heads[4])


def law_16_a_lifetime_of_the_entries_that_are_left_can_be_set(store: requests.Store) -> None:
    """A drop can set the lifetime of the entries that are left, also one of no entry; without one, it stays."""
    trial, other = _Trial(store), _Trial(store)
    for each, life, versions in ((trial, None, [2]), (trial, 10 * AUDIT_LIFE, [2]), (other, -9, [])):
        if each.load().head == requests.NO_HEAD:
            each.advance(each.advance(requests.NO_HEAD))
            store.perform(requests.DropOldest(each.member_id, 1, each.load().head))
        store.perform(requests.DropOldest(each.member_id, 0, each.load().head, life))
        _same(_versions(each), versions, f"the entries that are kept for {life} seconds")


def law_a_member_is_freed_of_all_channels(store: requests.Store) -> None:
    """Every channel of a member is free after `FreeChannels`, and no other member's."""
    member, other = f"m {token_hex(8)}", f"n {token_hex(8)}"
    own = [Channel("sms", f"1 {token_hex(8)}"), Channel("sms", f"2 {token_hex(8)}").with_account("1001")]
    another = Channel("sms", f"3 {token_hex(8)}")
    for channel in own:
        store.perform(requests.Link(channel, member))
    store.perform(requests.Link(another, other))
    before = store.perform(requests.ReadIndexKeys(forget=True)).entries
    _same(store.perform(requests.FreeChannels(member)), 2, "the channels that were freed")
    _same(store.perform(requests.ReadIndexKeys()), requests.IndexKeys(before - 2, 0), "the entries that are left")
    _same(store.perform(requests.FreeChannels(member)), 0, "the channels that were freed again")
    for channel in own:
        _same(store.perform(requests.FindOwner(channel)).member_id, None, "the owner of a freed channel")
    _same(store.perform(requests.FindOwner(another)).member_id, other, "the owner of another channel")


def law_an_account_has_owners_of_its_own(store: requests.Store) -> None:
    """A link is one account's; one without an account answers for every account that has none, and says so."""
    bare = Channel("sms", f"}}x {token_hex(8)}")
    ours, theirs = bare.with_account("1001"), bare.with_account("2: {é}")
    owners: list[tuple[requests.Request, requests.Linked]] = [
        (requests.FindOwner(ours), requests.Linked(None)),
        (requests.Link(theirs, "m-1"), requests.Linked("m-1")),
        (requests.FindOwner(ours), requests.Linked(None)),
        (requests.FindOwner(bare), requests.Linked(None)),
        (requests.Link(bare, "m-2"), requests.Linked("m-2")),
        (requests.FindOwner(ours), requests.Linked("m-2", own=False)),
        (requests.FindOwner(theirs), requests.Linked("m-1")),
        (requests.Link(ours, "m-3"), requests.Linked("m-3")),
        (requests.Unlink(ours, "m-1"), requests.Linked("m-3")),
        (requests.Unlink(ours, "m-3"), requests.Linked("m-2", own=False)),
        (requests.Unlink(ours, "m-2"), requests.Linked(None)),
        (requests.FindOwner(bare), requests.Linked(None)),
        (requests.FindOwner(theirs), requests.Linked("m-1")),
        (requests.Unlink(theirs, "m-1"), requests.Linked(None)),
    ]
    for request, owner in owners:
        _same(store.perform(request), owner, f"the answer to {request}")


def law_a_store_has_one_owner(store: requests.Store) -> None:
    """A claim counts only in place of the record that was read; the record is opaque, and can be taken away."""
    before = store.perform(requests.ReadOwner())
    first, second = b'{"owner": "\xc3\xa9"}', b"two\n"
    owners: list[tuple[requests.Request, bytes | None]] = [
        (requests.Claim(first, before), first),
        (requests.ReadOwner(), first),
        (requests.Claim(first, before), first),
        (requests.Claim(second, b"other"), first),
        (requests.Claim(second, first), second),
        (requests.Claim(None, first), second),
        (requests.Claim(None, second), None),
        (requests.ReadOwner(), None),
        (requests.Claim(before, None), before),
    ]
    for request, owner in owners:
        _same(store.perform(request), owner, f"the answer to {request}")


def law_a_store_keeps_the_keys_of_its_digests(store: requests.Store) -> None:
    """The digests have a key, the same in each answer, so that a channel has one name."""
    digests = store.perform(requests.ReadDigests())
    holds(bool(digests.keys and digests.keys[0]), "the digests of channels have no key")
    _same(store.perform(requests.ReadDigests()).keys, digests.keys, "the keys of the digests, read again")


def law_a_scan_finds_every_member(store: requests.Store) -> None:
    """A member is found by a document, by an audit, also after a wipe, and by incidents; no other member is."""
    kept, told, wiped, absent = trials = [_Trial(store) for _ in range(4)]
    ids = sorted(trial.member_id for trial in trials)
    kept.advance(requests.NO_HEAD)
    store.perform(requests.RecordIncident(told.member_id, b"incident"))
    head = wiped.advance(requests.NO_HEAD)
    entry = requests.Entry(head.version + 1, requests.digest(b"wiped"), b"wiped")
    store.perform(requests.Wipe(wiped.member_id, head, entry))
    absent.load()
    found = [member_id for member_id in store.perform(requests.Scan()) if member_id in ids]
    _same(found, [member_id for member_id in ids if member_id != absent.member_id], "the members that a scan finds")


def law_the_parts_of_a_scan_find_every_document(store: requests.Store) -> None:
    """The parts of a scan find each member of whom a document is kept, and no member without one."""
    kept, told, *others = trials = [_Trial(store) for _ in range(5)]
    ids = {trial.member_id for trial in trials}
    for trial in (kept, *others):
        trial.advance(requests.NO_HEAD)
    store.perform(requests.RecordIncident(told.member_id, b"incident"))
    found, cursor, begun = set[str](), "", False
    while cursor or not begun:
        part = store.perform(requests.ScanPart(cursor, 100))
        found, cursor, begun = found | {*part.members}, part.cursor, True
    _same(found & ids, ids - {told.member_id}, "the members that the parts of a scan find")


def law_a_tolerant_read_gives_sound_entries(store: requests.Store) -> None:
    """A list without damage is read alike by both kinds of `ReadAudit`."""
    trial = _Trial(store)
    trial.advance(trial.advance(requests.NO_HEAD))
    entries = store.perform(requests.ReadAudit(trial.member_id))
    _same(len(entries), 2, "the number of entries")
    _same(store.perform(requests.ReadAudit(trial.member_id, tolerant=True)), entries, "a tolerant read")
    latest = store.perform(requests.ReadAudit(trial.member_id, 1, tolerant=True))
    _same(latest, entries[1:], "the latest that a tolerant read gives")


def _entry(version: int, body: bytes) -> requests.Entry:
    return requests.Entry(version, requests.digest(body), body)


def _records(trial: _Trial) -> tuple[requests.Record, ...]:
    return trial.store.perform(requests.ReadRecords(trial.member_id))


def _versions(trial: _Trial) -> list[int]:
    """Return the versions of the audit entries kept."""
    return [entry.version for entry in trial.store.perform(requests.ReadAudit(trial.member_id))]


def _quarantine(trial: _Trial) -> tuple[requests.Quarantined, ...]:
    return trial.store.perform(requests.ReadQuarantine(trial.member_id))


LAWS: Final[tuple[Law, ...]] = tuple(found for name, found in [*globals().items()] if name.startswith("law_"))
"""The checks of every rule; each takes a store."""
