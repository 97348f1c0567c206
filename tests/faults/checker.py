"""The conditions that must hold after any fault, checked by the store, the ledger and the journal. All rows share them.

- Versions are unique and gapless; the audit is a whole chain 1…v with one token each.
- Each answered turn is stored, and each unanswered one at most once.
- Digest and step of version v are those of audit entry v, and likewise for the version before. Each retained turn
  record names the step that its entry led to, and the latest reproduces `flow_data`.
- Sales and confirmations are equal: each confirmed number has one key in the ledger, and there are no others.
- Nothing is left to do: no call and no undelivered reply.
- No member received the bytes of another; no PIN is in a log, an audit, an incident or a turn record.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from tests.digests import token_of
from tests.faults.bot import TALLY, till_bot
from tests.faults.clock import Clock, Clocked
from tests.faults.members import PAST_LEASE, Person
from tests.faults.records import Folder, LedgerTill
from tests.faults.row import Report
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.folding import first_of
from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.document.turn_record import read_record
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.engine.events import other_tokens
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import ReadAudit, ReadRecords, Record, Stored, names_document
from vimbiso_fsm.store.retention import AUDIT_KEPT, RECORDS_KEPT, UNTAKEN_KEPT
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["check", "check_tally"]

_SECRETS = ("pin", "card", "cards", "named", "pair", "by")
"""The fields of a sale that are secret or have a secret inside."""
_MADE = ("advanced", "refused", "recovered")
"""Statuses of an answer that say: this was stored."""


def check(
    url: str,
    folder: Folder,
    people: Sequence[Person],
    report: Report,
    *,
    whole: bool = True,
    encryption: Encryption | None = None,
    secrets: Sequence[str] = (STORE_SECRET,),
) -> None:
    """Check all conditions for members of the till.

    Args:
        url: The store.
        folder: The records of the row.
        people: The members.
        report: Receives what is wrong.
        whole: Whether each member has sent all messages. Due work is run first, as by a worker.
        encryption: The encryption of the store, if it is encrypted.
        secrets: The secrets of the store, the current one first.
    """
    bot = till_bot(LedgerTill(folder))
    if whole:
        drain(url, folder, people, encryption, secrets)
    answered, sales = _answered(folder), folder.sales()
    with (
        AtomicStateManager.from_url(url, secret=secrets) as store,
        FlowStateManager(bot, store, rates=None, encryption=encryption) as manager,
    ):
        told: list[object] = [*manager.incidents()]
        for person in people:
            _check_person(store, manager, person, sales.get(person.member_id, {}), answered, report, whole=whole)
            told += manager.history(person.member_id) + manager.incidents(person.member_id)
    report.wrong += [line["what"] for line in folder.noted("wrong")]
    _check_ledger(sales, people, report, whole=whole)
    _check_deliveries(folder, report)
    log = folder.log.read_text() if folder.log.exists() else ""
    report.demand("canary-" not in log, "a PIN is in the log")
    report.demand("canary-" not in repr(told), "a PIN is in an incident or in the history")
    report.count(
        answers=folder.count("answered"),
        unanswered=folder.count("unanswered"),
        calls=folder.calls(),
    )


def drain(
    url: str,
    folder: Folder,
    people: Iterable[Person],
    encryption: Encryption | None = None,
    secrets: Sequence[str] = (STORE_SECRET,),
) -> None:
    """Wake the members for whom work is due, or will be when leases have expired."""
    clock = Clock()
    with (
        AtomicStateManager.from_url(url, secret=secrets) as store,
        FlowStateManager(
            till_bot(LedgerTill(folder)),
            Clocked(store, clock),
            deliver=folder.deliverer,
            rates=None,
            encryption=encryption,
        ) as manager,
    ):
        for person in people:
            who = person.guest_id if manager.member_of(person.channel) is None else person.member_id
            for _ in range(3):
                document = manager.state(who)
                if document is None or not (document.call or document.outbox or document.moved):
                    break
                clock.ahead = max(0.0, document.last_updated.timestamp() - time.time()) + PAST_LEASE
                manager.state(who)  # which tells the manager what time it is
                manager.wake(who)


def check_tally(url: str, person: Person, report: Report, *, said: Mapping[str, int]) -> None:
    """Check that each number that a member of the tally sent was counted once, and nothing else."""
    with (
        AtomicStateManager.from_url(url, secret=STORE_SECRET) as store,
        FlowStateManager(TALLY, store, rates=None) as manager,
    ):
        entries = _check_member(store, manager, person, person.guest_id, report)
        document = manager.state(person.guest_id)
    assert document is not None
    assert document.run is not None
    fields = document.run.fields
    found = (fields["count"], fields["n"])
    report.demand(
        found == (len(said), sum(said.values())), f"{found} were counted of {len(said)}, {sum(said.values())}"
    )
    if len(entries) < AUDIT_KEPT:
        tokens = {entry.token for entry in entries}
        lost = sum(token not in tokens for token in said)
        report.demand(not lost, f"{lost} of {len(said)} turns are not in the audit")


def _answered(folder: Folder) -> Mapping[int, Mapping[str, set[str]]]:
    """Return the statuses that were answered, by person and token."""
    found: dict[int, dict[str, set[str]]] = {}
    for line in folder.noted("answered"):
        found.setdefault(line["who"], {}).setdefault(line["token"], set()).add(line["status"])
    return found


def _check_person(
    store: AtomicStateManager,
    manager: FlowStateManager,
    person: Person,
    sales: Mapping[int, set[str]],
    answered: Mapping[int, Mapping[str, set[str]]],
    report: Report,
    *,
    whole: bool,
) -> None:
    entries: list[AuditEntry] = []
    digests = manager.bot.digests
    for member_id in (*digests.guest_ids(person.channel), person.member_id):
        entries += _check_member(store, manager, person, member_id, report)
    name_of = {  # journals name a message by its token of one key
        token: token_of(message)
        for message in person.messages
        for token in (token_of(message, digests), *other_tokens(message, digests))
    }
    made = Counter(name_of.get(entry.token, entry.token) for entry in entries)
    for token, statuses in answered.get(person.number, {}).items():
        if statuses & {*_MADE, "duplicate"} and made[token] != 1:
            report.wrong.append(f"{person.number}: a turn answered {sorted(statuses)} is stored {made[token]} times")
    confirmed = [cast(int, entry.before["number"]) for entry in entries if _fired(entry, "yes")]
    settled = [entry for entry in entries if _fired(entry, "done")]
    if whole:
        numbers = list(range(1, person.confirmations + 1))
        report.demand(confirmed == numbers, f"{person.number}: {confirmed} were confirmed, not {numbers}")
        report.demand(
            len(settled) == len(confirmed), f"{person.number}: {len(confirmed)} calls, {len(settled)} answers"
        )
        document = manager.state(person.member_id)
        sold = document.run.fields["sold"] if document and document.run else None
        report.demand(sold == person.confirmations, f"{person.number}: the document counts {sold} sales")
    for number, count in Counter(confirmed).items():
        keys = len(sales.get(number, ()))
        report.demand(keys == count, f"{person.number}: number {number} confirmed {count} times, sold {keys} times")
    report.demand(not sales.keys() - set(confirmed), f"{person.number}: sold without a confirmation")
    report.count(confirmations=len(confirmed))
    if whole:  # otherwise not all of them are expected
        report.count(missing=max(0, person.confirmations - len(set(confirmed))))


def _check_ledger(
    sales: Mapping[str, Mapping[int, set[str]]], people: Iterable[Person], report: Report, *, whole: bool
) -> None:
    twice = sum(len(keys) > 1 for numbers in sales.values() for keys in numbers.values())
    report.count(sales=sum(map(len, sales.values())), twice=twice)
    report.demand(not twice, f"{twice} numbers were sold twice")
    if whole:
        strangers = sales.keys() - {person.member_id for person in people}
        report.demand(not strangers, f"{len(strangers)} strangers in the ledger")


def _check_deliveries(folder: Folder, report: Report) -> None:
    delivered = folder.noted("delivered")
    keys = Counter(line["key"] for line in delivered)
    report.demand(all(count == 1 for count in keys.values()), f"{len(delivered)} deliveries of {len(keys)} replies")
    for line in delivered:
        strangers = {who for text in line["texts"] for who in re.findall(r"\[(\d+)\]", text)} - {line["to"]}
        report.demand(not strangers, f"{strangers} were told to {line['to']}")
    report.count(deliveries=len(delivered))


def _fired(entry: AuditEntry, trigger: str) -> bool:
    return any(step.trigger == trigger and step.dest is not None for step in entry.steps)


def _check_member(
    store: AtomicStateManager, manager: FlowStateManager, person: Person, member_id: str, report: Report
) -> Sequence[AuditEntry]:
    """Check what is stored of one member id; return its audit."""
    stored = store.load(member_id, previous=True)
    sealed = store.perform(ReadAudit(member_id))
    records = manager.ask(ReadRecords(member_id))
    if not isinstance(stored, Stored) or not sealed:
        report.demand(
            not sealed and isinstance(stored, Stored) and not stored.head.version, f"{member_id}: no document"
        )
        return ()
    wrong = [*FlowAuditLogger.faults(sealed)]
    entries = FlowAuditLogger.read(sealed)
    version, latest = stored.head.version, entries[-1]
    gone = latest.kind == "wipe"  # a guest who has become a member
    covered = [number for entry in sealed for number in range(first_of(entry), entry.version + 1)]  # a fold has several
    begins = covered[0] if len(sealed) == AUDIT_KEPT else 1
    if covered != [*range(begins, version + 1)]:
        wrong.append(f"version {version} has {len(sealed)} audit entries, {sealed[0].version}…{sealed[-1].version}")
    repeated = [token for token, count in Counter(entry.token for entry in entries).items() if count > 1]
    wrong += [f"{len(repeated)} tokens were used twice"] if repeated else []
    is_named = names_document(latest.document, stored.document or b"")
    if stored.head.digest != sealed[-1].digest or not is_named:
        wrong.append(f"the digests of version {version} are not those of its audit entry")
    if gone:
        wrong += ["something was left of a guest who is gone"] if stored.document or stored.previous or records else []
    else:
        wrong += _kept(manager, stored, entries, records)
    texts = (*(entry.body for entry in sealed), *(record.body for record in records))
    if any(person.canary.encode() in text for text in texts):
        wrong.append("the PIN is in the audit or in a turn record")
    report.wrong += [f"{person.number}, {member_id[:5]}: {fault}" for fault in wrong]
    return entries


def _kept(
    manager: FlowStateManager, stored: Stored, entries: Sequence[AuditEntry], records: Sequence[Record]
) -> list[str]:
    """Yield what is wrong with a member's document, the one before it and their turn records."""
    document = manager.state(entries[-1].member_id)
    if document is None:
        return ["it cannot be read"]
    wrong = _reproduced(document, entries, records)
    if stored.previous is None:
        forgets = (
            entries[-1].kind == "session" and document.jwt_token is None
        )  # the token was dropped, and all that had it
        wrong += ["the previous document is gone"] if len(entries) > 1 and not forgets else []
    elif not names_document(entries[-2].document, stored.previous):
        wrong.append("the previous document is not that of the audit entry before")
    return wrong


def _reproduced(document: Document, entries: Sequence[AuditEntry], records: Sequence[Record]) -> list[str]:
    """Yield what is wrong with steps and turn records, and what is left to do."""
    wrong: list[str] = []
    step = document.run.step if document.run else ""
    latest = entries[-1]
    if (document.version, step) != (latest.version, latest.dest):
        wrong.append(f"the document is at {document.version} {step!r}, its audit at {latest.version} {latest.dest!r}")
    if document.call is not None and document.moved is None:
        wrong.append("a call was left")
    if document.outbox and document.moved is None:
        wrong.append("replies were left")
    by_token = {entry.token: entry for entry in entries}
    own = [(record, by_token[record.token]) for record in records if record.token in by_token]
    if len(records) > RECORDS_KEPT + UNTAKEN_KEPT:
        wrong.append(f"{len(records)} turn records are kept")
    if [record.token for record, _ in own] != [entry.token for entry in entries][-len(own) :]:
        wrong.append("the turn records are not those of the latest turns")
    for record, entry in own:
        step = read_record(record.body)["flow_data"].get("step", "")
        if step != entry.dest and (step or not is_guest_id(entry.member_id)):  # the record of a stranger has no run
            wrong.append(f"the turn record of version {entry.version} does not lead where its audit entry does")
    kept = read_record(own[-1][0].body)["flow_data"] if own else {}
    has_run = kept or not is_guest_id(latest.member_id)  # the record of a stranger has none
    if own and has_run and _open(kept) != _open(document_to_raw(document)["flow_data"]):
        wrong.append("the latest turn record does not reproduce flow_data")
    return wrong


def _open(flow_data: Any) -> Any:
    """Return a run's state without its secret fields."""
    if not flow_data:
        return {}
    data = {name: value for name, value in flow_data["data"].items() if name not in _SECRETS}
    return {**flow_data, "data": data}
