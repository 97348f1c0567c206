"""The laws of `store.py` as checks that any store can be put to.

`check_store(make)` puts a store to each law; `LAWS` lists them, so that a test can be made of each.
`check_agreement(make)` runs generated programs on a store and on the model in memory and demands the same answers.
Neither needs an empty store: every check works on members of its own.
"""

# ruff: noqa: S106 – a token here names a message, it is no secret

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from secrets import token_hex
from typing import Any, Final, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.errors import DocumentTooLarge
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store.requests import (
    AUDIT_LIFE,
    DOCUMENT_LIFE,
    DROPPED_AT_ONCE,
    MAX_DOCUMENT,
    NO_HEAD,
    RECORDS_KEPT,
    TOKEN_LIFE,
    AsyncStore,
    Commit,
    Committed,
    Conflict,
    Duplicate,
    Entry,
    FindOwner,
    Head,
    Heartbeat,
    Inherited,
    Late,
    Lease,
    Leased,
    Link,
    Linked,
    Load,
    Mismatch,
    Quarantine,
    Quarantined,
    ReadAudit,
    ReadDue,
    ReadIncidents,
    ReadInherited,
    ReadQuarantine,
    ReadRecords,
    Record,
    RecordIncident,
    Request,
    Result,
    SetWakeUp,
    ShowQuarantined,
    Store,
    Stored,
    Unlink,
    Wipe,
    digest,
    shard_of,
)

Make: TypeAlias = Callable[[], Store | AbstractContextManager[Store]]
"""Makes the store to be checked; what it returns may be a context manager, which is left afterwards."""
Law: TypeAlias = Callable[[Store], None]
_Kind = TypeVar("_Kind")

HOUR: Final = 3600.0


def check_store(make: Make) -> None:
    """Put a store, made anew for each, to every law.

    Raises: AssertionError naming the law that does not hold and the answer that broke it.
    """
    for law in LAWS:
        with opened(make) as store:
            law(store)


@contextmanager
def waiting(make: Callable[[], AsyncStore]) -> Generator[Store, None, None]:
    """An async store as a sync one, on an event loop of its own; closed afterwards if it has `close`.

    `check_store(lambda: waiting(lambda: AsyncAtomicStateManager.from_url(url)))`
    """
    with asyncio.Runner() as runner:
        store = make()
        yield _Waiting(store, runner)
        close: Callable[[], Awaitable[None]] | None = getattr(store, "close", None)
        if close is not None:
            runner.run(_wait(close()))


async def _wait(what: Awaitable[None]) -> None:
    await what


@attrs.frozen
class _Waiting:
    store: AsyncStore
    runner: asyncio.Runner

    def perform(self, request: Request) -> Result:
        """Do what `request` says and wait for it."""
        return self.runner.run(self.store.perform(request))


@contextmanager
def opened(make: Make) -> Generator[Store, None, None]:
    made = make()
    if isinstance(made, AbstractContextManager):
        with made as store:
            yield store
    else:
        yield made


# One member, tried on ----------------------------------------------------------------------------------------


@attrs.define
class _Trial:
    """A member nobody else has, with what a turn would send for them."""

    store: Store
    member_id: str = attrs.field(factory=lambda: f"law {token_hex(8)}")
    count: int = 0

    def draft(self, expected: Head, document: bytes | None = b"{}", **given: Any) -> Commit:
        """A commit on `expected`, with a token of its own unless one is given."""
        self.count += 1
        token = given.pop("token", f"token-{self.count}")
        body = b"entry %d of %b" % (self.count, self.member_id.encode("utf-8", "replace"))
        entry = None if document is None else Entry(expected.version + 1, digest(body), body)
        draft = Commit(self.member_id, expected, token, token, "said", document, entry, b"record of " + token.encode())
        return attrs.evolve(draft, **given)

    def commit(self, expected: Head, document: bytes | None = b"{}", **given: Any) -> Result:
        """Perform such a commit."""
        return self.store.perform(self.draft(expected, document, **given))

    def advance(self, expected: Head, document: bytes = b"{}", **given: Any) -> Head:
        """Perform one that must be made; the new head."""
        return is_answer(Committed, self.commit(expected, document, **given), "a commit on the current head").head

    def load(self) -> Stored:
        """What is stored, with the document before."""
        return is_answer(Stored, self.store.perform(Load(self.member_id, previous=True)), "a load")

    def kept(self) -> tuple[Any, ...]:
        """Everything that is kept of the member, but not the time."""
        stored = attrs.evolve(self.load(), at=0.0)
        reads = (ReadRecords(self.member_id), ReadAudit(self.member_id), ReadInherited(self.member_id))
        return stored, *(self.store.perform(read) for read in reads), self.wakes(float("inf"))

    def wakes(self, until: float) -> bool:
        """Whether the member has a wake-up not later than `until`."""
        due = self.store.perform(ReadDue(shard_of(self.member_id), until, most=1_000_000))
        return self.member_id in cast(tuple[str, ...], due)


def is_answer(kind: type[_Kind], answer: object, what: str) -> _Kind:
    holds(isinstance(answer, kind), f"{what} must answer {kind.__name__}, it answered {answer}")
    return cast(_Kind, answer)


def holds(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def _same(found: object, wanted: object, what: str) -> None:
    holds(found == wanted, f"{what}: wanted {wanted}, found {found}")


# The laws ----------------------------------------------------------------------------------------------------


def law_1_a_commit_writes_all(store: Store) -> None:
    """Document, previous document, record, entry and token stand there after a commit."""
    trial = _Trial(store)
    one = trial.draft(trial.load().head, b"one", token="a")
    two = trial.draft(Head(1, one.entry.digest if one.entry else ""), b"two", token="b", content="else")
    first = is_answer(Committed, store.perform(one), "a first commit")
    second = is_answer(Committed, store.perform(two), "a second commit")
    _same(first.head, two.expected, "the head a commit answers")
    stored = trial.load()
    _same((stored.document, stored.previous, stored.head), (b"two", b"one", second.head), "what is stored")
    _same(store.perform(ReadAudit(trial.member_id)), (one.entry, two.entry), "the audit")
    _same(store.perform(ReadAudit(trial.member_id, last=1)), (two.entry,), "the latest entry")
    _same(store.perform(ReadAudit(trial.member_id, last=0)), (), "no entries, when none are asked for")
    records = (Record("a", "a", "said", one.record), Record("b", "b", "else", two.record))
    _same(store.perform(ReadRecords(trial.member_id)), records, "the records")
    inherited = is_answer(Inherited, store.perform(ReadInherited(trial.member_id)), "a read of what is inherited")
    _same(dict(inherited.tokens), {"a": first.at, "b": second.at}, "the tokens")
    _same(inherited.records, records, "the records to be inherited")
    plain = is_answer(Stored, store.perform(Load(trial.member_id)), "a load")
    _same((plain.document, plain.previous), (b"two", None), "what a load that did not ask for the previous one gives")


def law_1_a_commit_may_forget(store: Store) -> None:
    """What was there before it is not kept; all else is as ever."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(NO_HEAD, b"one"), b"secret")
    head = trial.advance(head, b"three", forgets=True)
    stored = trial.load()
    _same((stored.document, stored.previous, stored.head), (b"three", None, head), "what is stored")
    _same(len(cast(tuple[Entry, ...], store.perform(ReadAudit(trial.member_id)))), 3, "the audit")
    trial.advance(head, b"four")
    _same(trial.load().previous, b"three", "the document before the next one")
    fresh = _Trial(store)
    fresh.advance(NO_HEAD, b"one", forgets=True)
    _same(fresh.load().previous, None, "the document before a first one")


def law_1_a_refused_commit_writes_nothing(store: Store) -> None:
    """A commit that is not made leaves every key as it was."""
    trial = _Trial(store)
    head = trial.advance(trial.load().head, b"one", token="used")
    before = trial.kept()
    now = trial.load().at
    refused: list[tuple[type[Duplicate | Mismatch | Conflict | Late], dict[str, Any]]] = [
        (Duplicate, {"token": "used"}),
        (Mismatch, {"token": "used", "content": "else"}),
        (Conflict, {"expected": Head(7, head.digest)}),
        (Late, {"not_after": now - HOUR}),
    ]
    for kind, given in refused:
        inherited = Inherited((("old", now),), (Record("old", "old", "", b""),))
        expected = given.pop("expected", head)
        answer = trial.commit(expected, b"two", wake_at=now, inherited=inherited, **given)
        current = is_answer(kind, answer, "a commit that must be refused").current
        _same((current.head, current.document), (head, b"one"), f"what {kind.__name__} says is stored")
        _same(trial.kept(), before, f"all that is kept, after {kind.__name__}")


def law_2_size_before_token(store: Store) -> None:
    """A document over the limit is refused, whatever else is true of the commit; one at the limit is stored."""
    trial = _Trial(store)
    head = trial.advance(NO_HEAD, b"x" * MAX_DOCUMENT, token="used")
    try:
        answer = trial.commit(head, b"x" * (MAX_DOCUMENT + 1), token="used")
    except DocumentTooLarge as error:
        _same((error.size, error.limit), (MAX_DOCUMENT + 1, MAX_DOCUMENT), "what the error says")
    else:
        raise AssertionError(f"a document over the limit must raise DocumentTooLarge, it answered {answer}")
    _same(trial.load().document, b"x" * MAX_DOCUMENT, "the document at the limit")


def law_2_token_before_head_before_deadline(store: Store) -> None:
    """A commit that is wrong in several ways is told the first: token, then head, then deadline."""
    trial = _Trial(store)
    now = trial.load().at
    head = trial.advance(NO_HEAD, token="used")
    trial.advance(head)
    late = now - HOUR
    is_answer(Duplicate, trial.commit(NO_HEAD, token="used", not_after=late), "a used token on an old head, late,")
    is_answer(Conflict, trial.commit(head, not_after=late), "an old head, late,")
    is_answer(Late, trial.commit(trial.load().head, not_after=late), "a late commit")


def law_2_an_entry_must_come_with_a_document(store: Store) -> None:
    """A document without the audit entry of its version is the caller's mistake and reaches no key."""
    trial = _Trial(store)
    before = trial.kept()
    for entry in (None, Entry(7, digest(b"seven"), b"seven")):
        try:
            answer = trial.commit(NO_HEAD, entry=entry)
        except ValueError:
            _same(trial.kept(), before, "all that is kept")
        else:
            raise AssertionError(f"a commit with entry {entry} must raise ValueError, it answered {answer}")


def law_3_a_token_works_once(store: Store) -> None:
    """The same commit again answers its first result, however often, and what has been stored since."""
    trial = _Trial(store)
    commit = trial.draft(NO_HEAD, b"one", token="root")
    head = is_answer(Committed, store.perform(commit), "a first commit").head
    record = Record("root", "root", "said", commit.record)
    again = is_answer(Duplicate, store.perform(commit), "the same commit again")
    _same((again.records, again.current.document), ((record,), b"one"), "the first result")
    answer = trial.draft(head, b"two", token="answer", root="root")
    is_answer(Committed, store.perform(answer), "the commit of a call's answer")
    trial.advance(trial.load().head, b"three", token="other")
    later = Record("answer", "root", "said", answer.record)
    again = is_answer(Duplicate, store.perform(commit), "the same commit later")
    _same(again.records, (record, later), "every record under the root token, in order")
    _same(again.current.document, b"three", "what is stored now")
    again = is_answer(Duplicate, store.perform(answer), "the answer's commit again")
    _same(again.records, (later,), "the record of the answer alone")


def law_3_a_token_belongs_to_its_content(store: Store) -> None:
    """The same token with other content is told apart, before the head is looked at."""
    trial = _Trial(store)
    trial.advance(NO_HEAD, token="root")
    answer = is_answer(Mismatch, trial.commit(NO_HEAD, b"two", token="root", content="else"), "other content")
    _same(answer.current.document, b"{}", "what is stored")


def law_3_inherited_tokens_are_used(store: Store) -> None:
    """What a guest was answered, the member they become is answered: tokens and records move with the commit."""
    guest, trial = _Trial(store), _Trial(store)
    head = guest.advance(NO_HEAD, b"guest", token="hi", content="said hi")
    guest.advance(head, b"guest", token="old", shift=0.0)
    inherited = is_answer(Inherited, store.perform(ReadInherited(guest.member_id)), "a read of what is inherited")
    own = trial.advance(NO_HEAD, b"member", token="own")
    moved = trial.draft(own, b"both", token="move", inherited=inherited)
    is_answer(Committed, store.perform(moved), "a commit that inherits")
    order = [record.token for record in _records(trial)]
    _same(order, ["own", "hi", "old", "move"], "the records: the member's, the guest's in order, the new one")
    again = is_answer(Duplicate, trial.commit(NO_HEAD, token="hi", content="said hi"), "a token of the guest")
    _same([record.body for record in again.records], [b"record of hi"], "the guest's first result")
    is_answer(Mismatch, trial.commit(NO_HEAD, token="hi", content="else"), "a token of the guest with other content")
    instant = dict(inherited.tokens)["hi"]
    newer = Inherited((("hi", instant + HOUR),))
    trial.advance(trial.load().head, inherited=newer, token="again")
    tokens = is_answer(Inherited, store.perform(ReadInherited(trial.member_id)), "a read of what is inherited").tokens
    _same(dict(tokens)["hi"], instant, "the instant of a token that is already there")


def law_4_the_head_is_compared(store: Store) -> None:
    """Another version or another digest is a conflict that brings what is stored."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(NO_HEAD, b"one"), b"two")
    for stale in (NO_HEAD, Head(1, head.digest), Head(3, head.digest), Head(2, digest(b"a restored copy")), Head(2)):
        current = is_answer(Conflict, trial.commit(stale, b"stale"), f"a commit on {stale}").current
        _same((current.head, current.document), (head, b"two"), "what the conflict brings")
    is_answer(Conflict, _Trial(store).commit(head), "a commit of a member who has no document")


def law_4_versions_count(store: Store) -> None:
    """One by one, with no gap."""
    trial = _Trial(store)
    head = trial.load().head
    _same(head, NO_HEAD, "the head of a member nobody has stored")
    versions: list[int] = []
    for _ in range(5):
        head = trial.advance(head)
        versions.append(head.version)
    _same(versions, [1, 2, 3, 4, 5], "the versions of five commits")


def law_4_versions_outlive_the_document(store: Store) -> None:
    """When the document has ended the audit still knows the head: a slow worker cannot begin again at 1."""
    trial = _Trial(store)
    first = trial.draft(NO_HEAD, b"one", token="one")
    head = is_answer(Committed, store.perform(first), "a commit").head
    head = trial.advance(head, b"two", shift=-DOCUMENT_LIFE - HOUR)
    stored = trial.load()
    _same((stored.document, stored.previous, stored.head), (None, None, head), "what is left of an ended document")
    is_answer(Conflict, trial.commit(NO_HEAD, b"stale"), "a commit on no head")
    is_answer(Conflict, trial.commit(first.expected, b"stale"), "a commit on an older head")
    _same(trial.advance(head, b"three").version, 3, "the version after the document ended")


def law_5_a_late_commit_is_not_made(store: Store) -> None:
    """The deadline is an instant on the store's clock, which `shift` moves."""
    trial = _Trial(store)
    now = trial.load().at
    head = trial.advance(NO_HEAD, b"one", not_after=now + HOUR)
    answer = is_answer(
        Late, trial.commit(head, b"two", not_after=now + HOUR, shift=2 * HOUR), "a commit after its deadline"
    )
    _same((answer.current.head, answer.current.document), (head, b"one"), "what is stored")
    holds(now + 2 * HOUR <= answer.current.at < now + 3 * HOUR, f"the shifted clock shows {answer.current.at}")
    made = is_answer(
        Committed, trial.commit(head, b"two", not_after=now - HOUR, shift=-2 * HOUR), "one on a clock set back"
    )
    holds(now - 2 * HOUR <= made.at < now - HOUR, f"the clock set back shows {made.at}")


def law_6_without_a_document_it_only_verifies(store: Store) -> None:
    """The same checks in the same order, and nothing written."""
    trial = _Trial(store)
    _same(
        is_answer(Committed, trial.commit(NO_HEAD, None), "verifying that nothing is stored").head, NO_HEAD, "the head"
    )
    head = trial.advance(NO_HEAD, b"one", token="used")
    before, now = trial.kept(), trial.load().at
    verified = is_answer(Committed, trial.commit(head, None, token="new", wake_at=now), "verifying the current head")
    _same(verified.head, head, "the head that is still true")
    is_answer(Committed, trial.commit(head, None, token="new"), "verifying again with the same token")
    is_answer(Duplicate, trial.commit(head, None, token="used"), "verifying with a used token")
    is_answer(
        Mismatch, trial.commit(head, None, token="used", content="else"), "verifying a used token's other content"
    )
    is_answer(Conflict, trial.commit(NO_HEAD, None), "verifying an old head")
    is_answer(Late, trial.commit(head, None, not_after=now - HOUR), "verifying after the deadline")
    _same(trial.kept(), before, "all that is kept")


def law_7_tokens_live_eight_days(store: Store) -> None:
    """A token is known until `TOKEN_LIFE` after its use, whatever else happened, and then forgotten."""
    trial = _Trial(store)
    head = trial.advance(NO_HEAD, token="old")
    head = trial.advance(head, token="later", shift=2 * HOUR)
    is_answer(Duplicate, trial.commit(head, token="old", shift=TOKEN_LIFE - HOUR), "a token of nearly eight days")
    head = trial.advance(head, token="old", shift=TOKEN_LIFE + HOUR)
    inherited = is_answer(Inherited, store.perform(ReadInherited(trial.member_id)), "a read of what is inherited")
    _same(sorted(token for token, _ in inherited.tokens), ["later", "old"], "the tokens that live")
    trial.advance(head, token="new", shift=TOKEN_LIFE + 3 * HOUR)
    inherited = is_answer(Inherited, store.perform(ReadInherited(trial.member_id)), "a read of what is inherited")
    _same(sorted(token for token, _ in inherited.tokens), ["new", "old"], "the tokens that live two hours later")


def law_7_the_latest_records_are_kept(store: Store) -> None:
    """`RECORDS_KEPT` of them; an older token is still known, without its result."""
    trial = _Trial(store)
    head = NO_HEAD
    for number in range(RECORDS_KEPT + 3):
        head = trial.advance(head, token=f"t{number}")
    kept = [record.token for record in _records(trial)]
    _same(kept, [f"t{number}" for number in range(3, RECORDS_KEPT + 3)], "the records kept")
    old = is_answer(Duplicate, trial.commit(head, token="t0"), "a token whose record is gone")
    _same((old.records, old.current.head), ((), head), "its answer")


def law_7_each_thing_has_its_life(store: Store) -> None:
    """Counted from the latest commit: records and tokens end first, then both documents, then the audit."""
    lives = {
        DOCUMENT_LIFE - HOUR: (True, True, False, True),
        DOCUMENT_LIFE + HOUR: (False, False, False, True),
        TOKEN_LIFE - HOUR: (True, True, True, True),
        TOKEN_LIFE + HOUR: (True, True, False, True),
        AUDIT_LIFE - HOUR: (False, False, False, True),
        AUDIT_LIFE + HOUR: (False, False, False, False),
    }
    for age, wanted in lives.items():
        trial = _Trial(store)
        trial.advance(trial.advance(NO_HEAD, b"one"), b"two", shift=-age)
        stored = trial.load()
        audit = store.perform(ReadAudit(trial.member_id))
        found = (stored.document is not None, stored.previous is not None, bool(_records(trial)), bool(audit))
        _same(found, wanted, f"document, previous, records, audit {age / 86_400:.2f} days after the latest commit")


def law_7_audit_entries_end_one_by_one(store: Store) -> None:
    """Each `AUDIT_LIFE` after its commit, with a later one: the oldest first, a few at once, never the latest."""
    trial = _Trial(store)
    head = NO_HEAD
    hours = range(DROPPED_AT_ONCE + 3)
    for hour in hours:
        head = trial.advance(head, shift=hour * HOUR)
    _same(_versions(trial), [hour + 1 for hour in hours], "the entries of which none is too old")
    last = hours[-1]
    for age, first in ((1.5, 3), (last, 3 + DROPPED_AT_ONCE), (last + 1, last + 2), (30_000, last + 5)):
        head = trial.advance(head, shift=AUDIT_LIFE + age * HOUR)
        what = f"the entries kept by a commit {age} hours after the first is too old"
        _same(_versions(trial), list(range(first, head.version + 1)), what)


def law_8_bytes_come_back_as_they_went(store: Store) -> None:
    """Documents, records and entries are opaque; ids and tokens may be any text."""
    every = bytes(range(256))
    trial = _Trial(store, member_id=f"}}x {{1}} \n:state é \ud800 {token_hex(4)}")
    neighbour = _Trial(store, member_id=f"{trial.member_id}:state")
    entry = Entry(1, "a digest\n", every + b" 7 x ")
    commit = Commit(trial.member_id, NO_HEAD, "a token\n", "root é", "", every, entry, every)
    head = is_answer(Committed, store.perform(commit), "a commit of every byte").head
    _same(head, Head(1, "a digest\n"), "the head")
    _same(trial.load().document, every, "the document")
    _same(_records(trial), (Record("a token\n", "root é", "", every),), "the record")
    _same(store.perform(ReadAudit(trial.member_id)), (entry,), "the audit entry")
    is_answer(Duplicate, store.perform(commit), "the commit again")
    _same(neighbour.kept()[1:4], ((), (), Inherited()), "what is kept of a member with a similar id")
    empty = trial.advance(head, b"", record=b"", entry=Entry(2, "dated", b"@1.5 @2.5 "))
    _same(store.perform(ReadAudit(trial.member_id, 1)), (Entry(2, "dated", b"@1.5 @2.5 "),), "an entry like a frame")
    _same((trial.load().document, trial.load().head), (b"", empty), "an empty document")


def law_9_only_an_earlier_wake_up_is_written(store: Store) -> None:
    """One per member, the earliest; it stays until it is settled."""
    trial = _Trial(store)
    head = trial.advance(NO_HEAD, wake_at=200.0)
    holds(not trial.wakes(199.0), "a wake-up came before its time")
    holds(trial.wakes(200.0), "a wake-up is not there at its instant")
    head = trial.advance(head, wake_at=300.0)
    holds(trial.wakes(200.0), "a later wake-up was written over an earlier one")
    head = trial.advance(head)
    holds(trial.wakes(200.0), "a commit without a wake-up touched the one there")
    head = trial.advance(head, wake_at=100.5)
    holds(trial.wakes(100.5), "an earlier wake-up was not written")
    stale = SetWakeUp(trial.member_id, Head(head.version - 1, head.digest))
    _same(store.perform(stale), None, "the answer of Settle")
    holds(trial.wakes(100.5), "a wake-up was settled on a head that had passed")
    store.perform(SetWakeUp(trial.member_id, attrs.evolve(head, digest="another")))
    holds(trial.wakes(100.5), "a wake-up was settled on a head of another digest")
    store.perform(SetWakeUp(trial.member_id, head, 400.0))
    holds(not trial.wakes(399.0) and trial.wakes(400.0), "a wake-up was not set to a later instant")
    for _ in range(2):
        store.perform(SetWakeUp(trial.member_id, head))
        holds(not trial.wakes(float("inf")), "a settled wake-up is still there")
    head = trial.advance(head, wake_at=-1e9)
    _same(store.perform(ReadDue(shard_of(trial.member_id), -1e9, most=1)), (trial.member_id,), "the earliest one")
    store.perform(SetWakeUp(trial.member_id, head))


def law_10_a_broken_document_is_set_aside(store: Store) -> None:
    """Only at its head, only once; the version goes on and the document before it stays."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(NO_HEAD, b"good"), b"broken")
    older = Quarantine(trial.member_id, Head(1, head.digest))
    kept = is_answer(Conflict, store.perform(older), "setting aside a document of an older head").current
    _same((kept.head, kept.document), (head, b"broken"), "what is stored after that")
    for _ in range(2):
        moved = is_answer(Stored, store.perform(Quarantine(trial.member_id, head)), "setting a document aside")
        _same((moved.head, moved.document), (head, None), "what is stored after it was set aside")
    _same((trial.load().document, trial.load().previous), (None, b"good"), "what is left")
    _same(len(_records(trial)), 2, "the records left")
    head = trial.advance(head, b"new")
    _same((head.version, trial.load().previous), (3, b"good"), "the version and the previous document")


def law_10_what_was_set_aside_can_be_looked_at(store: Store) -> None:
    """It is named, in order, and shown as it was."""
    trial = _Trial(store)
    _same(store.perform(ReadQuarantine(trial.member_id)), (), "what was set aside of nobody")
    head = trial.advance(trial.advance(NO_HEAD, b"good"), b"broken \x00\xff")
    store.perform(Quarantine(trial.member_id, head))
    store.perform(Quarantine(trial.member_id, trial.advance(head, b"broken again")))
    found = _aside(trial)
    _same(found, (Quarantined(2, "state", ""), Quarantined(3, "state", "")), "what was set aside")
    for one, wanted in zip(found, (b"broken \x00\xff", b"broken again"), strict=True):
        shown = cast(tuple[bytes, ...], store.perform(ShowQuarantined(trial.member_id, one)))
        _same(shown[shown.index(b"d") + 1], wanted, "what is shown of it")


def law_12_a_wiped_member_is_gone(store: Store) -> None:
    """Document, previous, records, wake-up and what was set aside; tokens and audit stay, and the version goes on."""
    trial = _Trial(store)
    head = trial.advance(trial.advance(NO_HEAD, b"one", token="used"), b"two")
    store.perform(Quarantine(trial.member_id, head))
    head = trial.advance(trial.advance(head, b"three"), b"four", wake_at=100.0)
    store.perform(RecordIncident(trial.member_id, b"incident"))
    aside, before = _aside(trial), trial.kept()
    wiped = Entry(head.version + 1, digest(b"wiped"), b"wiped")
    refused = (
        Wipe(trial.member_id, attrs.evolve(head, version=3), wiped, aside),
        Wipe(trial.member_id, attrs.evolve(head, digest="another"), wiped, aside),
        Wipe(trial.member_id, head, wiped),
        Wipe(_Trial(store).member_id, head, wiped),
    )
    for wipe in refused:
        is_answer(
            Conflict, store.perform(wipe), f"{wipe}, on another head or with something set aside that it does not name"
        )
    _same((trial.kept(), _aside(trial)), (before, aside), "what is kept after a wipe that was not made")
    done = is_answer(Committed, store.perform(Wipe(trial.member_id, head, wiped, aside)), "a wipe")
    _same(done.head, Head(wiped.version, wiped.digest), "the head after a wipe")
    left = trial.load()
    _same((left.document, left.previous, left.head), (None, None, done.head), "what is stored after a wipe")
    _same((_records(trial), _aside(trial), trial.wakes(float("inf"))), ((), (), False), "what else is left")
    for one in aside:
        _same(store.perform(ShowQuarantined(trial.member_id, one)), (), "what is left of what was set aside")
    audit = cast(tuple[Entry, ...], store.perform(ReadAudit(trial.member_id)))
    _same((len(audit), audit[-1]), (5, wiped), "the audit after a wipe")
    _same(store.perform(ReadIncidents(trial.member_id)), (b"incident",), "the incidents after a wipe")
    again = is_answer(Committed, store.perform(Wipe(trial.member_id, head, wiped, aside)), "the wipe again")
    _same(again.head, done.head, "its head")
    _same(len(cast(tuple[Entry, ...], store.perform(ReadAudit(trial.member_id)))), 5, "the audit after that")
    known = is_answer(Duplicate, trial.commit(head, token="used"), "a token from before the wipe")
    _same(known.records, (), "its records")
    is_answer(Conflict, trial.commit(head), "a commit on the head before the wipe")
    is_answer(Conflict, trial.commit(NO_HEAD), "a commit that begins anew")
    _same(trial.advance(done.head, b"new").version, wiped.version + 1, "the version after a wipe")


def law_11_a_shard_has_one_worker(store: Store) -> None:
    """Until it gives it back; workers that are there are known to each other."""
    one, two = f"one-{token_hex(6)}", f"two-{token_hex(6)}"
    shard = shard_of(one)

    def held(worker: str, seconds: float) -> str | None:
        return is_answer(Leased, store.perform(Lease(shard, worker, seconds)), "a lease").worker

    _same(held(one, HOUR), one, "who holds a free shard")
    _same(held(two, HOUR), one, "who holds a shard that another asks for")
    _same(held(two, 0), one, "who holds a shard that another gives back")
    _same(held(one, HOUR), one, "who holds a shard on")
    _same(held(one, 0), None, "who holds a shard that was given back")
    _same(held(two, HOUR), two, "who holds it next")
    _same(held(two, 0), None, "who holds it then")

    def there(worker: str, seconds: float) -> set[str]:
        return {one, two} & set(cast(tuple[str, ...], store.perform(Heartbeat(worker, seconds))))

    _same((there(one, HOUR), there(two, HOUR)), ({one}, {one, two}), "the workers that are there")
    _same((there(one, 0), there(two, 0)), ({two}, set[str]()), "the workers that are left")


def law_7_incidents_are_kept_beside_the_chain(store: Store) -> None:
    """In their order, the latest, each once; they touch nothing else of the member."""
    trial = _Trial(store)
    trial.advance(NO_HEAD)
    before = trial.kept()
    bodies = (b"incident \n\x00\xff", b"@1.5 x", b"@1.5 @1.5 x")
    for body in (*bodies, bodies[-1]):
        _same(store.perform(RecordIncident(trial.member_id, body)), None, "the answer of Report")
    _same(store.perform(ReadIncidents(trial.member_id)), bodies, "the incidents")
    _same(store.perform(ReadIncidents(trial.member_id, 2)), bodies[1:], "the latest two")
    _same(store.perform(ReadIncidents(trial.member_id, 0)), (), "the latest none")
    _same(trial.kept(), before, "what else is kept")
    mark = token_hex(8).encode()
    store.perform(RecordIncident(None, mark))
    _same(store.perform(ReadIncidents(None, 1)), (mark,), "the store's own latest")


def law_a_channel_has_one_owner(store: Store) -> None:
    """Channels are given, kept and taken back by their owner's id; type and identifier together make one."""
    tail = token_hex(8)
    channel, other = Channel("sms", f"}}x {tail}"), Channel(f"sms:}}x {tail}", "1")
    owners: list[tuple[Request, str | None]] = [
        (FindOwner(channel), None),
        (Unlink(channel, "m"), None),
        (Link(channel, "m é\n"), "m é\n"),
        (Link(channel, "m é\n"), "m é\n"),
        (Link(channel, "thief"), "m é\n"),
        (FindOwner(other), None),
        (Unlink(channel, "thief"), "m é\n"),
        (FindOwner(Channel("sms", channel.identifier, {"lang": "sn"})), "m é\n"),
        (Unlink(channel, "m é\n"), None),
        (FindOwner(channel), None),
    ]
    for request, owner in owners:
        _same(store.perform(request), Linked(owner), f"the answer to {request}")


def _records(trial: _Trial) -> tuple[Record, ...]:
    return cast(tuple[Record, ...], trial.store.perform(ReadRecords(trial.member_id)))


def _versions(trial: _Trial) -> list[int]:
    """Of the audit entries kept."""
    return [entry.version for entry in cast(tuple[Entry, ...], trial.store.perform(ReadAudit(trial.member_id)))]


def _aside(trial: _Trial) -> tuple[Quarantined, ...]:
    return cast(tuple[Quarantined, ...], trial.store.perform(ReadQuarantine(trial.member_id)))


LAWS: Final[tuple[Law, ...]] = (
    law_1_a_commit_writes_all,
    law_1_a_commit_may_forget,
    law_1_a_refused_commit_writes_nothing,
    law_2_size_before_token,
    law_2_token_before_head_before_deadline,
    law_2_an_entry_must_come_with_a_document,
    law_3_a_token_works_once,
    law_3_a_token_belongs_to_its_content,
    law_3_inherited_tokens_are_used,
    law_4_the_head_is_compared,
    law_4_versions_count,
    law_4_versions_outlive_the_document,
    law_5_a_late_commit_is_not_made,
    law_6_without_a_document_it_only_verifies,
    law_7_tokens_live_eight_days,
    law_7_the_latest_records_are_kept,
    law_7_each_thing_has_its_life,
    law_7_audit_entries_end_one_by_one,
    law_7_incidents_are_kept_beside_the_chain,
    law_8_bytes_come_back_as_they_went,
    law_9_only_an_earlier_wake_up_is_written,
    law_10_a_broken_document_is_set_aside,
    law_10_what_was_set_aside_can_be_looked_at,
    law_11_a_shard_has_one_worker,
    law_12_a_wiped_member_is_gone,
    law_a_channel_has_one_owner,
)
"""Every law, as a function that takes a store."""


# Agreement with the model ------------------------------------------------------------------------------------
