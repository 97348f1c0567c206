"""The audit logger: entries are sealed, chained, redacted and read back, and observers are told."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import fruit_bot, member_document
from tests.digests import DIGESTS, channel_digest
from vimbiso_fsm.audit.entries import AuditEntry, AuditStep, Incident, seal, unseal
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger
from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.audit.short_form import shorten
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.errors import InvalidMessage, NotStorable, Unreadable
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.store.requests import Entry, Record, digest, long_digest
from vimbiso_fsm.testing.chat import CHANNEL, START, Talk


def chain(count: int) -> list[Entry]:
    """Return a chain of `count` entries."""
    entries: list[Entry] = []
    for version in range(1, count + 1):
        entry = AuditEntry(version, START, "m-1", ("sms", "x"), "transition", "advanced", f"t{version}", f"t{version}")
        entries.append(seal(entry, b"document", entries[-1].digest if entries else ""))
    return entries


def test_an_entry_is_read_back_as_it_was_sealed():
    """A sealed entry is read back equal, with both digests; empty fields are left out of its bytes."""
    step = AuditStep("f", "f:1", "a", "b", "go", (("guard", "accepted"),))
    entry = AuditEntry(
        7, START, "m-1", channel_digest(CHANNEL), "transition", "advanced", "t", "r", "a", "b", "f", "f:1", "go", (step,),
        ("code",), {"x": 1}, {"x": 2}, ("x",), {"ok": True}, {"k": ["v"]},
    )  # fmt: skip
    sealed = seal(entry, b"document", "before")
    read = unseal(sealed)
    assert read == attrs.evolve(entry, document=digest(b"document"), previous="before")
    assert read.guards == (("guard", "accepted"),)
    assert sealed.digest == digest(sealed.body)
    empty = seal(AuditEntry(1, START, "m", ("sms", ""), "start", "advanced", "t", "t"), b"", "")
    assert set(loads(empty.body)) >= {"v", "previous"}
    assert "codes" not in loads(empty.body)


def test_a_whole_chain_has_no_faults():
    """A whole chain has no faults, nor has one whose oldest entries are gone."""
    entries = chain(5)
    assert FlowAuditLogger.faults(entries) == ()
    assert FlowAuditLogger.faults(entries[2:]) == ()
    assert FlowAuditLogger.faults([]) == ()
    assert [entry.version for entry in FlowAuditLogger.read(entries)] == [1, 2, 3, 4, 5]


def test_a_gap_is_found():
    """A missing entry is found by its version and by the chain."""
    entries = chain(4)
    found = FlowAuditLogger.faults([*entries[:1], *entries[2:]])
    assert found == ("entry 3 follows entry 1", "entry 3: it does not continue entry 1")


@given(st.integers(0, 3), st.binary(max_size=5), st.sampled_from(["cut", "add", "flip", "replace"]))
def test_a_changed_entry_is_found(place: int, other: bytes, how: str):
    """Any change to the text of an entry is a fault, and raises no exception."""
    entries = chain(4)
    body = entries[place].body
    changed = {"cut": body[:-1], "add": body + b"x" + other, "flip": bytes([body[0] ^ 1]) + body[1:], "replace": other}[
        how
    ]
    entries[place] = Entry(place + 1, entries[place].digest, changed)
    assert any(f"entry {place + 1}: its digest" in fault for fault in FlowAuditLogger.faults(entries))


def test_an_entry_replaced_with_its_digest_is_found():
    """An entry that was replaced together with its digest is found by the next entry."""
    entries = chain(3)
    body = entries[1].body.replace(b"t2", b"t9")
    entries[1] = Entry(2, digest(body), body)
    assert FlowAuditLogger.faults(entries) == ("entry 3: it does not continue entry 2",)


def test_an_entry_that_is_none_or_another_is_found():
    """Bytes that are no entry, or another entry, are found also where they stand first."""
    entries = chain(2)
    (fault,) = FlowAuditLogger.faults([Entry(1, digest(b"[]"), b"[]")])
    assert fault.startswith("entry 1: it cannot be read: ")
    (fault,) = FlowAuditLogger.faults([Entry(5, entries[0].digest, entries[0].body)])
    assert fault == "entry 5: its text is that of entry 1"


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"{}", b'{"version": "x"}', b"\xff"])
def test_bytes_that_are_no_entry(body: bytes):
    """Bytes that hold no entry are `Unreadable`, and raise no other error."""
    with pytest.raises(Unreadable):
        unseal(Entry(1, digest(body), body))


def test_the_last_valid_state():
    """The last valid state is in the latest readable record that the judge accepts."""
    records = [
        Record("t1", "t1", "", dumps({"flow_data": {"id": "f:1", "step": "a"}})),
        Record("t2", "t2", "", dumps({"flow_data": {"id": "f:1", "step": "b"}})),
        Record("t3", "t3", "", dumps({"flow_data": {}})),
        Record("t4", "t4", "", b"\xff"),
        Record("t5", "t5", "", b"[]"),
    ]
    last = FlowAuditLogger.last_valid_state
    assert last(records, lambda state: True) == {"id": "f:1", "step": "b"}
    assert last(records, lambda state: state["step"] == "a") == {"id": "f:1", "step": "a"}
    assert last(records, lambda state: False) is None
    assert last([], lambda state: True) is None


def test_observers_are_isolated():
    """An observer that raises is reported by name; the others are told, and the caller sees no exception."""
    told: list[Any] = []
    reported: list[tuple[str, str]] = []

    class Broken:
        def __call__(self, details: CommitEvent) -> None:
            raise LookupError("x")

    def breaks(details: CommitEvent) -> None:
        raise ValueError("x")

    logger = FlowAuditLogger(
        [breaks, told.append, Broken(), told.append], lambda name, error: reported.append((name, type(error).__name__))
    )
    details = CommitEvent(unseal(chain(1)[0]), attempts=2)
    logger.tell(details)
    assert told == [details, details]
    assert reported == [("breaks", "ValueError"), ("Broken", "LookupError")]
    FlowAuditLogger([breaks]).tell(details)


def test_filters():
    """Entries are selected by channel, flow, run and time. Flows and runs of steps count as well."""
    step = AuditStep("inner", "inner:1", "a", "b", "go")
    entry = AuditEntry(
        1, START, "m", channel_digest(CHANNEL), "k", "s", "t", "r", flow="outer", run="outer:1", steps=(step,)
    )
    fits, hour = FlowAuditLogger.fits, timedelta(hours=1)
    assert fits(entry)
    assert fits(entry, channels=DIGESTS.all_shown(Channel(CHANNEL.type, CHANNEL.identifier, {"x": 1})))
    assert not fits(entry, channels=DIGESTS.all_shown(Channel("sms", "1")))
    assert fits(entry, flow="outer")
    assert fits(entry, flow="inner")
    assert not fits(entry, flow="other")
    assert fits(entry, run="inner:1")
    assert not fits(entry, run="other:1")
    assert fits(entry, since=START, until=START)
    assert not fits(entry, since=START + hour)
    assert not fits(entry, until=START - hour)
    incident = Incident(START, "mismatch", "m", channel_digest(CHANNEL), flow="outer", run="outer:1")
    here = DIGESTS.all_shown(CHANNEL)
    assert fits(incident, channels=here, flow="outer", run="outer:1", since=START, until=START)
    assert not fits(incident, flow="inner")
    assert not fits(incident, run="inner:1")


def test_an_error_record_quotes_nothing():
    """The record of an exception has its type and places, and its message only for errors of this library."""
    with pytest.raises(ValueError, match="private") as caught:
        int("263771234567 wrote something private")
    record = error_record(caught.value, "ref")
    assert record["type"] == "ValueError"
    assert record["message"] == ""
    assert record["reference"] == "ref"
    assert record["where"][-1].endswith("test_an_error_record_quotes_nothing")
    assert "private" not in dumps(record).decode()
    assert error_record(InvalidMessage("id", "is empty"), "")["message"] == "message id: is empty"


def test_the_audit_holds_no_words_of_members():
    """The audit shows public fields by value, other fields by the mask, and an address by a digest."""
    talk = Talk(fruit_bot(), member_document()).says("hi", "order", "ada", "1234", "fruit02", "yes")
    text = b"\n".join(entry.body for entry in talk.sealed).decode()
    assert "1234" not in text.replace(CHANNEL.identifier, "") or '"1234"' not in text
    assert "fruit02" not in text
    assert CHANNEL.identifier not in text
    assert '"name":"ada"' in text
    assert '"pin":"•"' in text
    assert Digests().shown(CHANNEL)[1] in text


plain_fields = st.dictionaries(
    st.text(max_size=4), st.none() | st.integers() | st.text(max_size=4) | st.lists(st.integers())
)
steps = st.builds(
    AuditStep, st.text(), st.text(), st.text(), st.none() | st.text(), st.text(),
    st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple), st.integers(0, 3), st.text(max_size=2), st.booleans(),
)  # fmt: skip
few_texts = st.sampled_from(["", "f", "f:1", "a", "answer", "b", "advanced", "transition", "•"]) | st.text(max_size=2)
few_steps = st.builds(
    AuditStep, few_texts, few_texts, few_texts, st.none() | few_texts, few_texts,
    st.lists(st.tuples(few_texts, st.sampled_from(["accepted", "declined"]) | few_texts), max_size=2).map(tuple),
    st.integers(0, 1), few_texts, st.booleans(),
)  # fmt: skip
few_values: st.SearchStrategy[Any] = st.sampled_from([None, "•", "", 1, 1.0, True, 0, False, [1], [True], {}])
few_fields = st.dictionaries(st.sampled_from("xyz"), few_values, max_size=3)
verdicts = few_fields | st.builds(
    lambda step, ok, code: {"step": step, "ok": ok, "code": code}, few_texts, few_values, few_texts
)
kept_entries = st.builds(
    AuditEntry, st.integers(0, 9), st.datetimes(timezones=st.just(UTC)), few_texts, st.tuples(few_texts, few_texts),
    *[few_texts] * 4, source=few_texts, dest=few_texts, flow=few_texts, run=few_texts, trigger=few_texts,
    steps=st.lists(steps | few_steps, max_size=3).map(tuple), codes=st.lists(st.text()).map(tuple),
    before=plain_fields | few_fields, after=plain_fields | few_fields, changed=st.lists(st.text()).map(tuple),
    verdict=plain_fields | verdicts, detail=plain_fields | few_fields,
)  # fmt: skip


def written_before(entry: AuditEntry, document: bytes, previous: str) -> bytes:
    """Return the long form of an entry, in which releases up to layout 3 stored it."""
    known_since = ("version", "fingerprint", "effect")
    raw = {name: value for name in attrs.fields_dict(AuditEntry) if (value := getattr(entry, name))}
    raw["version"] = entry.version
    raw["at"] = entry.at.isoformat()
    raw["steps"] = [
        attrs.asdict(step, recurse=False, filter=lambda field, value: bool(value) or field.name not in known_since)
        for step in entry.steps
    ]
    raw["document"] = long_digest(document)
    raw["previous"] = previous
    return dumps(raw)


def exactly(value: object) -> str:
    """Return a text that tells 1, 1.0 and True apart, and says nothing of the order of names."""
    if isinstance(value, dict):
        return str(sorted((name, exactly(each)) for name, each in value.items()))
    if isinstance(value, datetime):
        return value.isoformat()
    return str([exactly(each) for each in value]) if isinstance(value, list | tuple) else repr(value)


@given(kept_entries, st.binary(), st.text())
def test_any_entry_is_read_back_from_both_forms(entry: AuditEntry, document: bytes, previous: str):
    """Any entry is read back equal from both forms, and its bytes are made again of its long form."""
    try:
        sealed = seal(entry, document, previous)
    except NotStorable:
        with pytest.raises(NotStorable):
            written_before(entry, document, previous)
        return
    assert dumps(shorten(unseal(sealed), digest(document), previous)) == sealed.body
    known = attrs.evolve(entry, document=digest(document), previous=previous)
    assert exactly(attrs.asdict(unseal(sealed))) == exactly(attrs.asdict(known))
    always_there: dict[str, Any] = {
        name: getattr(entry, name) or "x" for name in ("member_id", "kind", "status", "token", "root")
    }
    long = attrs.evolve(known, document=long_digest(document), **always_there)
    body = written_before(long, document, previous)
    assert exactly(attrs.asdict(unseal(Entry(entry.version, long_digest(body), body)))) == exactly(attrs.asdict(long))


@given(kept_entries, st.data())
def test_a_damaged_short_form_is_unreadable_or_an_entry(entry: AuditEntry, data: st.DataObject):
    """A short form with a part of another type is read as an entry or is `Unreadable`, and raises nothing else."""
    try:
        raw = loads(seal(entry, b"", "").body)
    except NotStorable:
        return
    name = data.draw(st.sampled_from(sorted(raw)))
    raw[name] = data.draw(st.sampled_from([None, 1, "x", [], [1], [[1]], [[]], [["a", "b", "c", 1, 2]], {}, {"x": 1}]))
    body = dumps(raw)
    with suppress(Unreadable):
        assert isinstance(unseal(Entry(1, digest(body), body)), AuditEntry)


def test_a_short_form_says_nothing_twice():
    """An entry of an accepted answer names each fact once; what it does not name follows from the rest."""
    step = AuditStep("till", "till:1", "price", "goods", "answer", (("affordable", "accepted"),), 1, "50fc")
    entry = AuditEntry(
        9, START, "m-1", ("sms", "x"), "transition", "advanced", "t", "t", "price", "goods", "till", "till:1", "answer",
        (step,), before={"price": "•"}, after={"price": "•"}, verdict={"step": "price", "ok": True, "code": ""},
    )  # fmt: skip
    assert loads(seal(entry, b"", "before").body) == {
        "v": 9, "at": START.isoformat().replace("+00:00", "Z"), "member": "m-1", "channel": ["sms", "x"],
        "token": "t", "run": "till:1", "steps": [["price", "answer", "goods", ["affordable"]]], "by": [1, "50fc"],
        "data": ["price"], "document": digest(b""), "previous": "before",
    }  # fmt: skip


def test_entries_of_both_forms_are_one_chain():
    """An entry of an earlier release and one of this release verify as one chain, and damage to each is found."""
    first = AuditEntry(1, START, "m-1", ("sms", "x"), "transition", "advanced", "t1", "t1")
    body = written_before(first, b"document", "")
    old = Entry(1, long_digest(body), body)
    new = seal(attrs.evolve(first, version=2, token="t2", root="t2"), b"document", old.digest)
    assert FlowAuditLogger.faults([old, new]) == ()
    for place in range(2):
        for at in range(len((old, new)[place].body)):
            entries = [old, new]
            entry = entries[place]
            entries[place] = attrs.evolve(
                entry, body=entry.body[:at] + bytes([entry.body[at] ^ 1]) + entry.body[at + 1 :]
            )
            assert FlowAuditLogger.faults(entries)
