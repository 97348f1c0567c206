"""The rule book: valid documents are accepted, and all other data is refused without an exception."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import fruit_bot, member_document
from tests.strategies import documents, json_values
from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.document.document import (
    Document,
    Moved,
    PendingCall,
    Run,
    Shown,
    Suspended,
    Undelivered,
)
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.shape import SEED
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.errors import InvalidState
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.testing.chat import CHANNEL, START

BOT = fruit_bot()

RUN = Run(
    "order:1",
    "order",
    "pin",
    Address("whatsapp", "1"),
    context={"attempts": 1},
    verdict={"step": "pin", "ok": False, "code": "pin.format"},
    fields={"name": "ada", "pin": "1234", "fruit": "", "receipt": "", "visits": 0},
    version=2,
    fingerprint="abc",
    entered=3,
    trail=("name",),
    page=1,
    shown=(Shown("yes", "Yes"),),
    since=START,
    due=START,
)
FULL = member_document(
    version=9,
    profile={"name": "Ada", "accounts": []},
    current_account={"account_id": "a-1"},
    run=RUN,
    suspended=(attrs.evolve(RUN, id="order:2", waits=Suspended.OFFERED_BACK),),
    call=PendingCall("k", "bank", "pay", {"name": "ada"}, "root", START, 2, START),
    outbox=(Undelivered("o", ({"text": "call.waiting"}, {"text": ["a", {"b": 1}]}), START, 2),),
    deadline=START,
    moved=Moved("m-2", 3),
)
"""A document with everything in it."""

WRONG: tuple[Any, ...] = (None, True, 5, -1, 1.5, "", "words", [], ["x"], [[]], {}, {"a": 1}, {"a": []})
"""A value of every type that JSON has."""


def _verdict(raw: Any) -> tuple[str, ...]:
    return tuple(map(str, BOT.validator.validate(raw).faults))


@given(documents())
def test_documents_of_the_framework_are_valid(document: Document):
    """A document of the framework is valid as objects and as plain data, and validating changes nothing."""
    raw = document_to_raw(document)
    before = copy.deepcopy(raw)
    assert _verdict(document) == _verdict(raw) == ()
    assert raw == before
    assert faults(BOT, dumps(raw)) == (document, ())


def test_the_full_document_is_valid():
    """The document that the following tests change in one place is valid itself."""
    assert _verdict(FULL) == ()
    assert faults(BOT, dumps(document_to_raw(FULL)))[0] == FULL


def _places(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document."""
    inner = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list | tuple) else ()
    for name, value in inner:
        yield (*path, name)
        yield from _places(value, (*path, name))


FREE = ("profile", "current_account", "metadata", "arguments", "_validation_context", "_validation_state", "replies")
"""Objects whose content no rule judges."""


def _changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(document_to_raw(FULL))
    place = raw
    for name in path[:-1]:
        inner = place[name]
        if isinstance(inner, tuple):
            inner = place[name] = list(inner)
        place = inner
    place[path[-1]] = value
    return raw


def _at(path: tuple[Any, ...]) -> Any:
    value: Any = document_to_raw(FULL)
    for name in path:
        value = value[name]
    return value


def _kind(value: Any) -> str:
    return "list" if isinstance(value, tuple) else type(value).__name__


PLACES = [path for path in _places(document_to_raw(FULL)) if not any(name in FREE for name in path[:-1])]
OPTIONAL = {
    ("jwt_token",), ("_deadline",), ("_call",), ("_moved",), ("_call", "again_at"), ("_outbox", 0, "leased_until"),
    *((*run, name) for run in (("_run",), ("_suspended", 0)) for name in ("since", "due")),
}  # fmt: skip
"""The places where null is allowed."""


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_any_one_field_of_a_wrong_type_is_refused(path: tuple[Any, ...]):
    """A value of another type in any one place of a full document is refused (SG-11), and no judge raises."""
    for wrong in WRONG:
        if _kind(wrong) == _kind(_at(path)) or (wrong is None and path in OPTIONAL):
            continue
        raw = _changed(path, wrong)
        _verdict(raw)
        document, found = faults(BOT, dumps(raw))
        assert document is None, f"{path} = {wrong!r} is accepted"
        assert found


BOOK = [path for path in PLACES if path[:4] != ("flow_data", "data") or path[-1] not in RUN.fields]


@pytest.mark.parametrize(
    "path",
    [path for path in BOOK if path[-1] not in RUN.fields],
    ids=lambda path: ".".join(map(str, path)),
)
def test_the_rule_book_alone_refuses_it(path: tuple[Any, ...]):
    """The rule book refuses it before anything is stored, not only when a document is read."""
    for wrong in WRONG:
        if _kind(wrong) == _kind(_at(path)) or (wrong is None and path in OPTIONAL):
            continue
        assert _verdict(_changed(path, wrong)), f"{path} = {wrong!r} is valid"


@pytest.mark.parametrize(
    "name",
    sorted(
        document_to_raw(FULL).keys()
        - {"_run", "_guest", "_call", "_deadline", "_channels", "_moved", "_suspended", "_outbox"}
    ),
)
def test_a_missing_field_is_refused(name: str):
    """A document without one of the seed's fields is refused."""
    raw = document_to_raw(FULL)
    del raw[name]
    assert any(name in fault for fault in _verdict(raw))


def test_the_seeds_document_is_valid():
    """A document with the fields of the seed alone, and with a run, is valid."""
    raw = {name: value for name, value in document_to_raw(FULL).items() if name in SEED}
    assert _verdict(raw) == ()
    assert faults(BOT, dumps(raw))[1] == ()


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("extra", {"extra": 1}, "extra is not a field of a document"),
    ("member id empty", {"member_id": ""}, "member_id must be text, not empty"),
    ("token empty", {"jwt_token": ""}, "jwt_token must be text, not empty"),
    ("authenticated without token", {"jwt_token": None}, "authenticated is true without a token"),
    ("authenticated as text", {"authenticated": "true"}, "authenticated must be true or false"),
    ("accounts", {"profile": {"accounts": {}}}, "profile has accounts that are no list"),
    ("account id", {"current_account": {"account_id": ""}}, "current_account has an account_id that is not text"),
    ("account id null", {"current_account": {"account_id": None}}, "current_account has an account_id that is not text"),
    ("version negative", {"_version": -1}, "_version must be a whole number, not negative"),
    ("version true", {"_version": True}, "_version must be a whole number"),
    ("no time zone", {"_last_updated": "2026-11-22T09:15:02"}, "_last_updated must be an instant with a time zone"),
    ("no instant", {"_last_updated": "yesterday"}, "_last_updated is not an instant"),
    ("deadline", {"_deadline": "2026-11-22"}, "_deadline must be an instant with a time zone"),
    ("channel type", {"channel": {"type": "pigeon", "identifier": "1", "metadata": {}}}, "channel.type is no known channel type"),
    ("channel type list", {"channel": {"type": [], "identifier": "1", "metadata": {}}}, "channel cannot be read: its type must be text, not list"),
    ("no identifier", {"channel": {"type": "sms", "metadata": {}}}, "channel must have exactly type, identifier and metadata"),
    ("no metadata", {"channel": {"type": "sms", "identifier": "1"}}, "channel must have exactly type, identifier and metadata"),
    ("more of a channel", {"channel": {"type": "sms", "identifier": "1", "metadata": {}, "x": 1}}, "channel must have exactly type, identifier and metadata"),
    ("flow_data without _run", {"_run": None}, "_run"),
    ("flow_data null", {"flow_data": None}, "flow_data must be an object, not null"),
    ("suspended", {"_suspended": {}}, "_suspended must be a list"),
    ("suspended run", {"_suspended": [5]}, "_suspended.0"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "fault"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_fault_of_each_rule_names_its_place(changes: dict[str, Any], fault: str):
    """The fault of each rule names the place and what is wrong there."""
    found = _verdict(document_to_raw(FULL) | changes)
    assert any(fault in each for each in found), found


RUN_CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("more than id, step, data", {"x": 1}, {}, "flow_data has a field that is not known"),
    ("data null", {"data": None}, {}, "flow_data.data must be an object, not null"),
    ("member id inside", {}, {"member_id": "m-1"}, "flow_data.data.member_id must stand at the top level only"),
    ("run of another flow", {"id": "pick:1"}, {}, "flow_data.id must be text that begins with the flow's name"),
    ("id no text", {"id": []}, {}, "flow_data.id must be text"),
    ("step no text", {"step": []}, {}, "flow_data.step must be text, not list"),
    ("unknown step", {"step": "nowhere"}, {}, "flow_data.step names no state of flow 'order'"),
    ("unknown flow", {"id": "old:1"}, {"flow_type": "old"}, "flow_data.data.flow_type names no declared flow"),
    (
        "context",
        {},
        {"_validation_context": []},
        "flow_data.data has a _validation_context or _validation_state that is not an object",
    ),
    ("attempts", {}, {"_validation_context": {"attempts": "x"}}, "_validation_context"),
    (
        "verdict",
        {},
        {"_validation_state": None},
        "flow_data.data has a _validation_context or _validation_state that is not an object",
    ),
    ("channel", {}, {"channel": "sms"}, "flow_data.data has a channel without type and identifier"),
]


@pytest.mark.parametrize(
    ("flow_data", "data", "fault"), [case[1:] for case in RUN_CASES], ids=[case[0] for case in RUN_CASES]
)
def test_each_rule_of_a_run(flow_data: dict[str, Any], data: dict[str, Any], fault: str):
    """The rules of a run hold for the current run and for a suspended one."""
    raw = document_to_raw(FULL)
    run = raw["flow_data"]
    changed = {**run, "data": {**run["data"], **data}, **flow_data}
    assert any(fault in each for each in _verdict({**raw, "flow_data": changed}))
    below = [{**raw["_suspended"][0], "flow_data": changed}]
    assert any(
        fault.replace("flow_data", "_suspended.0.flow_data", 1) in each or fault in each
        for each in _verdict({**raw, "_suspended": below})
    )


def test_a_run_is_there_once():
    """A document in which one run is both current and suspended is refused."""
    twice = attrs.evolve(FULL, suspended=(RUN,))
    assert any("is there twice" in fault for fault in _verdict(twice))


@given(json_values)
def test_the_validator_never_raises_on_any_json(raw: Any):
    """Any JSON that is no document is refused without an exception."""
    assert _verdict(raw)
    document, found = faults(BOT, dumps(raw) if _encodable(raw) else b"")
    assert document is None
    assert found


def _encodable(raw: Any) -> bool:
    try:
        dumps(raw)
    except TypeError:
        return False
    return True


@given(st.data(), json_values)
def test_any_json_anywhere_gets_a_verdict(data: st.DataObject, value: Any):
    """Any JSON in any one place of a full document gets a verdict, and a document that is valid can be read."""
    raw = _changed(data.draw(st.sampled_from(list(_places(document_to_raw(FULL))))), value)
    if not _encodable(raw):
        _verdict(raw)
        return
    document, found = faults(BOT, dumps(raw))
    assert (document is None) == bool(found)
    if document is not None:
        assert _verdict(document) == ()


def test_check_raises_with_every_fault():
    """The error of `check` names all broken rules and quotes no value."""
    raw = document_to_raw(FULL) | {"member_id": "", "jwt_token": "", "secretkey": "s3cret"}
    with pytest.raises(InvalidState) as caught:
        BOT.validator.check(raw)
    assert len(caught.value.faults) == 3
    assert "s3cret" not in str(caught.value)
    BOT.validator.check(FULL)
    assert _verdict([]) == ("document is a list, not an object",)


def test_without_flows_the_shape_alone_is_judged():
    """A validator that knows no flows judges all rules but those about flows."""
    raw = document_to_raw(FULL)
    raw["flow_data"] = {**raw["flow_data"], "step": "nowhere"}
    assert StateValidator().validate(raw).valid
    assert StateValidator(channel_types={"sms"}).validate(raw).faults
    assert CHANNEL.type in StateValidator().channel_types


@attrs.frozen
class Person:
    """The profile class of the tests."""

    name: str = ""
    age: int = 0


def test_a_profile_fits_its_class():
    """A profile is empty or can be read as the profile class; further fields are allowed, and no value is quoted."""
    validator = StateValidator(profile=Person)
    for profile in ({}, {"name": "Ada"}, {"age": 36, "language": "sn"}):
        assert validator.validate(document_to_raw(FULL) | {"profile": profile}).valid
    faults = validator.validate(document_to_raw(FULL) | {"profile": {"age": "s3cret"}}).faults
    assert [fault.path for fault in faults] == ["profile"]
    assert str(faults[0]).startswith("profile is no Person: ")
    assert "s3cret" not in str(faults[0])
    assert validator.validate(document_to_raw(FULL) | {"profile": "Ada"}).faults == (
        StateValidator().validate(document_to_raw(FULL) | {"profile": "Ada"}).faults
    )


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Run) if field.name != "typed"])
def test_a_run_at_hand_changes_no_verdict(name: str):
    """A document is judged alike whether its run is read from the plain data or is at hand as an object."""
    rules, judged = BOT.validator, 0
    no_text: Any = 5
    values: tuple[Any, ...] = (
        *WRONG,
        Address(no_text, "1"),
        (Shown("yes", no_text),),
        (Shown(no_text, "Yes"),),
        ("name", 5),
        START.replace(tzinfo=None),
        {"flow_type": "other"},
        {"member_id": "m"},
    )
    for value in values:
        run = attrs.evolve(RUN, **{name: value})
        try:
            raw = document_to_raw(attrs.evolve(FULL, run=run))
        except (AttributeError, TypeError, ValueError):
            continue
        judged += 1
        assert rules.validate(raw, run=run) == rules.validate(raw), value
    assert judged
