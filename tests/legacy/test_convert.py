"""The conversion of records of the previous release to documents, without a store or a clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from tests.legacy.bulk.records import BROKEN, offered, registering, text
from vimbiso_fsm.document.codec import document_to_raw, encode
from vimbiso_fsm.errors import FlowError, RecordNotImported
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.legacy import Legacy, LegacyFlow
from vimbiso_fsm.legacy.convert import Converted, Imported, ImportRecord, convert, import_token
from vimbiso_fsm.legacy.records import LARGEST, is_number, masked, read
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import LegacyRecord
from vimbiso_fsm.store.requests import Committed, FindOwner, Head, Linked
from vimbiso_fsm.testing.chat import Held

NUMBER = "263771234567"
NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)


def converted(raw: Any, *, member_id: str | None = None, bot: Bot = flows.bot) -> Converted:
    """Convert a raw record for a member."""
    old = read(LegacyRecord(NUMBER, text(raw)))
    return convert(bot, old, NOW, member_id=member_id or old.member_id)


def stands(found: Converted) -> tuple[str, str, tuple[str, ...]]:
    """Return the flow, the step and the trail of the converted run."""
    run = found.document.run
    assert run is not None
    return run.flow, run.step, run.trail


def fields(found: Converted) -> Any:
    """Return the fields of the data of the converted run."""
    assert found.document.run is not None
    return found.document.run.fields


# The two shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("member_id", ["m-42", None])
def test_both_shapes_are_read(channel: bool, member_id: str | None):
    """Number, member, channel, flow, step and answers are read from both shapes."""
    old = read(LegacyRecord(NUMBER, text(offered(NUMBER, member_id, channel=channel))))
    assert (old.shape, old.member_id) == ("channel" if channel else "phone", member_id)
    assert old.channel.address == Channel("whatsapp", NUMBER).address
    assert (old.flow[0], old.step) == ("offer", 1)


@pytest.mark.parametrize("channel", [False, True])
def test_a_record_becomes_a_document(channel: bool):
    """A document keeps member, channel, profile, account, step and answers, and not the login token."""
    found = converted(offered(NUMBER, "m-42", channel=channel))
    document = found.document
    assert flows.bot.validator.validate(document).valid
    assert (document.member_id, document.guest) == ("m-42", False)
    assert document.channel.address == Channel("whatsapp", NUMBER).address
    assert [address.identifier for address in document.channels] == [NUMBER]
    assert (document.jwt_token, document.authenticated) == (None, False)
    assert document.profile["firstname"] == "Ada"
    assert document.profile["accounts"][0]["handle"] == f"h{NUMBER}"
    assert document.current_account["id"] == f"account of {NUMBER}"
    assert stands(found) == ("offer", "handle", ("amount",))
    assert fields(found)["amount"] == {"amount": "5.00", "currency": "USD"}
    assert document.deadline == NOW + timedelta(seconds=flows.bot.session.idle)
    assert b"token" not in encode(document).replace(b'"jwt_token":null', b"")
    assert set(document_to_raw(document)) <= {
        "member_id", "channel", "jwt_token", "authenticated", "profile", "current_account", "flow_data",
        "_version", "_last_updated", "_run", "_guest", "_deadline", "_channels", "_session_since",
    }  # fmt: skip


def test_a_record_that_names_no_member_becomes_a_guest():
    """A record without a member id becomes a guest with the open flow."""
    document = converted(registering(NUMBER)).document
    assert (document.member_id, document.guest, document.channels) == (Digests().guest_id(document.channel), True, ())
    assert document.run is not None
    assert (document.run.step, document.run.waits, document.run.trail) == ("lastname", "", ("firstname",))
    assert document.run.fields["firstname"] == "Grace"


def test_a_flow_that_needs_a_member_waits_until_there_is_one():
    """A run of a flow with requirements waits for the login."""
    run = converted(offered(NUMBER, "m-42")).document.run
    assert run is not None
    assert run.waits == "entry"


@pytest.mark.parametrize("empty", [None, {}])
def test_without_an_open_flow_there_is_no_run_and_no_session(empty: Any):
    """A record without an open flow has no run and no session."""
    document = converted({**offered(NUMBER, "m-42"), "flow_data": empty}).document
    assert (document.run, document.deadline) == (None, None)


@pytest.mark.parametrize("name", ["accept", "cancel_credex", "upgrade"])
def test_a_flow_that_is_no_more_is_dropped_by_name(name: str):
    """The run of a dropped flow ends, and the audit names it; the profile is kept."""
    record = offered(NUMBER, "m-42")
    found = converted({**record, "flow_data": {"id": f"{name}_m-42", "flow_type": name, "step": 0, "data": {}}})
    assert (found.document.run, found.detail["dropped"]) == (None, name)
    assert found.document.profile["firstname"] == "Ada"


# Where it stands -----------------------------------------------------------------------------------------------------

TO = {"handle": {"handle": "Alan", "account_id": "account-7", "name": "Alan Turing"}}


@pytest.mark.parametrize(
    ("step", "data", "expected"),
    [
        (0, {"amount_denom": {"amount": 0, "denomination": "USD"}}, ("amount", ())),
        (1, {}, ("handle", ("amount",))),
        ("handle", {}, ("handle", ("amount",))),
        (2, TO, ("confirm", ("amount", "handle"))),
        ("confirm", TO, ("confirm", ("amount", "handle"))),
        (3, TO, ("confirm", ("amount", "handle"))),
    ],
)
def test_the_step_is_kept(step: Any, data: Any, expected: Any):
    """A run resumes at its step; after the last step it is confirmed again, without a call."""
    found = converted(offered(NUMBER, "m-42", step=step, **data))
    assert stands(found)[1:] == expected
    assert found.document.call is None
    assert found.moved == ""


@pytest.mark.parametrize(
    ("step", "data", "expected"),
    [
        (1, {"amount_denom": None}, ("amount", ())),
        (2, {}, ("handle", ("amount",))),
        (2, {"handle": "alan"}, ("handle", ("amount",))),  # whose it is was never looked up
        (2, {**TO, "amount_denom": {}}, ("amount", ())),
    ],
)
def test_an_answer_that_is_missing_is_asked_for(step: int, data: Any, expected: Any):
    """A run resumes at the first question whose answer is missing, and the audit has the old step."""
    found = converted(offered(NUMBER, "m-42", step=step, **data))
    assert stands(found)[1:] == expected
    assert found.detail["moved"] == str(step)


def test_step_goes_by_other_names():
    """The step is read under its other names."""
    record = offered(NUMBER, "m-42")
    for field in ("current_step", "current_state"):
        flow_data = {**record["flow_data"], field: 1}
        del flow_data["step"]
        assert stands(converted({**record, "flow_data": flow_data}))[1] == "handle"


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ({"amount_denom": {"amount": 5.0, "denomination": "USD"}}, "5.00 USD"),
        ({"amount": {"amount": 5, "denomination": "CAD"}}, "5.00 CAD"),
        ({"amount": 5, "denomination": "USD"}, "5.00 USD"),
        ({"amount": "7.25 ZWG"}, "7.25 ZWG"),
        ({"amount": 99.99}, "99.99 USD"),
        ({"amount_denom": {"amount": 0.1234, "denomination": "XAU"}}, "0.1234 XAU"),
    ],
)
def test_amounts_are_read_as_they_were_written(amount: Any, expected: str):
    """An amount is read from each form in which the previous release wrote it."""
    record = offered(NUMBER, "m-42")
    record["flow_data"]["data"] = amount
    found = fields(converted(record))["amount"]
    assert f"{found['amount']} {found['currency']}" == expected


# What is none --------------------------------------------------------------------------------------------------------


def importing_of(data: bytes) -> Held[Imported]:
    """Return the import of a record, up to its first request."""
    return Held(Context(flows.bot, Cache(), NOW.timestamp()), ImportRecord(flows.bot, LegacyRecord(NUMBER, data)).run)


@pytest.mark.parametrize("name", BROKEN)
def test_a_refusal_names_the_record_the_field_and_the_fault(name: str):
    """A refusal names the masked record, the field and the fault."""
    make, words = BROKEN[name]
    with pytest.raises(RecordNotImported) as raised:  # noqa: PT012  # a record is refused when it is read, or a step later
        importing = importing_of(make(NUMBER))
        for answer in (Linked(None), Committed(Head(), NOW.timestamp())):
            importing.take(answer)
    refused = raised.value
    said = str(refused)
    assert words in said
    assert said.startswith(f"record {masked(NUMBER)}: ")
    assert NUMBER not in said
    assert NUMBER not in repr(refused.args)


def test_a_key_of_another_type_is_refused():
    """A key that holds no string is refused."""
    with pytest.raises(RecordNotImported, match="it is a hash, not a text"):
        read(LegacyRecord(NUMBER, kind="hash"))


def test_a_record_of_the_largest_size_is_read():
    """A record of the maximum size is read."""
    record = {"mobile_number": NUMBER, "member_id": "m-42", "padding": ""}
    record["padding"] = "x" * (LARGEST - len(text(record)))
    assert read(LegacyRecord(NUMBER, text(record))).member_id == "m-42"
    record["padding"] += "x"
    with pytest.raises(RecordNotImported, match="more than"):
        read(LegacyRecord(NUMBER, text(record)))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_any_spoilt_record_is_converted_to_a_valid_document_or_refused(data: st.DataObject):
    """A record with any value in a field becomes a valid document, or raises `RecordNotImported`."""
    record = offered(NUMBER, "m-42", step=2, channel=data.draw(st.booleans()), **TO)
    place: Any = record
    for _ in range(data.draw(st.integers(0, 3))):
        inner = [value for value in place.values() if isinstance(value, dict) and value]
        place = data.draw(st.sampled_from(inner)) if inner else place
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(_JSON)
    try:
        old = read(LegacyRecord(NUMBER, json.dumps(record).encode()))
        document = convert(flows.bot, old, NOW, member_id=old.member_id).document
    except RecordNotImported:
        return
    verdict = flows.bot.validator.validate(document)
    assert verdict.valid or old.channel.type not in flows.bot.validator.channel_types
    assert document.call is None
    assert document.jwt_token is None


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data: bytes):
    """Any bytes are refused with `RecordNotImported`, or read."""
    try:
        importing = importing_of(data)
    except RecordNotImported:
        return
    assert isinstance(importing.request, FindOwner)


# Names of records ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NUMBER, True), ("1234567", True), ("123456", False), ("0771234567", False), ("1234567890123456", False),
        (f"{NUMBER}_stage", False), ("+263771234567", False), ("٢٦٣٧٧١٢٣٤٥٦٧", False), ("", False),
    ],
)  # fmt: skip
def test_a_number_has_seven_to_fifteen_digits(name: str, expected: bool):
    """A number is 7 to 15 digits with the country code, without other characters."""
    assert is_number(name) is expected


def test_the_token_is_of_the_number_and_of_every_byte():
    """The token of an import depends on the number and on each byte of the record."""
    record = LegacyRecord(NUMBER, b"{}")
    assert import_token(record, b"a key") == import_token(LegacyRecord(NUMBER, b"{}"), b"a key")
    assert import_token(record, b"a key") != import_token(LegacyRecord(NUMBER, b"{ }"), b"a key")
    assert import_token(record, b"a key") != import_token(LegacyRecord("263771234568", b"{}"), b"a key")


# What a bot declares -------------------------------------------------------------------------------------------------


class Service:
    def ask(self) -> int:
        return 1


def small(**options: Any) -> Flow[Any]:
    """Make a flow with one question and one call."""

    @attrs.frozen
    class Said:
        word: str = ""

    return Flow(
        "small", data=Said, initial="word",
        states=[
            State("word", ask=Text("Which?"), reads=str, into="word", timeout=60),
            State("asking", ask=Text("One moment."), call=lambda turn: call(Service.ask)),
            State("end", final=True),
        ],
        transitions=[
            Transition("answer", "word", "asking"), Transition("done", "asking", "end"),
            Transition("failed", "asking", "word"), Transition("timeout", "word", "end"),
        ],
        **options,
    )  # fmt: skip


def old_small(flow: Flow[Any], **changes: Any) -> LegacyFlow:
    """Declare an old flow that is resumed as the given one."""
    options: dict[str, Any] = {"flow": flow, "steps": {"word": "word"}, "answers": lambda answers: {}, **changes}
    return LegacyFlow("offer", **options)


@pytest.mark.parametrize("steps", [{}, {"word": "nowhere"}, {"word": "asking"}, {"word": "end"}])
def test_an_old_step_must_be_a_question(steps: dict[str, str]):
    """A declaration with a step that is no question of the flow raises `FlowError`."""
    with pytest.raises(FlowError):
        old_small(small(), steps=steps)


def test_an_old_flow_must_be_one_of_the_bot():
    """A declaration with a flow that the bot does not have raises `FlowError`."""
    with pytest.raises(FlowError, match="no such flow"):
        Bot([small()], importer=Legacy([old_small(small())]))


def test_a_flow_that_requires_nothing_is_taken_up_at_once():
    """The next message answers the question of a flow without requirements, whose timer runs."""
    flow = small()
    document = converted(offered(NUMBER, "m"), bot=Bot([flow], importer=Legacy([old_small(flow)]))).document
    assert document.run is not None
    assert (document.run.waits, document.run.due) == ("", NOW + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (lambda answers: {"nothing": 1}, "does not fit the data of flow 'small'"),
        (lambda answers: {"word": 1}, "does not fit the data of flow 'small'"),
        (lambda answers: {"word": object()}, "does not fit the data of flow 'small'"),
        (lambda answers: answers["nowhere"], "is not understood: KeyError in the bot's Legacy"),
        (lambda answers: "word", "became a str in the bot's Legacy, not a mapping"),
    ],
    ids=["no field", "wrong type", "no value", "raises", "no mapping"],
)
def test_a_declaration_that_fails_is_a_refusal(answers: Any, words: str):
    """A function of the declaration that raises, or returns no mapping, refuses the record."""
    flow = small()
    with pytest.raises(RecordNotImported, match=words):
        converted(offered(NUMBER, "m"), bot=Bot([flow], importer=Legacy([old_small(flow, answers=answers)])))


class Fussy(Exception):
    """The exception of an author's check."""


def fussy(instance: object, attribute: object, value: str) -> None:
    """Raise, with the answer in the message."""
    if value:
        raise Fussy(value) if value == "my secret" else ValueError(f"no word: {value}")


def test_a_refusal_does_not_repeat_an_authors_exception():
    """A refusal has the type of an author's exception and not its message, which may quote the answer."""

    @attrs.frozen
    class Said:
        word: str = attrs.field(default="", validator=fussy)

    flow = Flow(
        "small", data=Said, initial="word",
        states=[State("word", ask=Text("Which?"), reads=str, into="word"), State("end", final=True)],
        transitions=[Transition("answer", "word", "end")],
    )  # fmt: skip
    for said in ("my secret", "my other secret"):
        legacy = Legacy([old_small(flow, answers=lambda answers, said=said: {"word": said})])
        with pytest.raises(RecordNotImported, match="does not fit the data of flow 'small'") as error:
            converted(offered(NUMBER, "m"), bot=Bot([flow], importer=legacy))
        assert "secret" not in str(error.value)


def test_profile_and_account_are_kept_as_they_are_unless_it_is_said_how():
    """Profile and account are kept unchanged by default."""
    flow = small()
    record = {**offered(NUMBER, "m"), "profile": {"name": "Ada"}, "current_account": {"account_id": "a"}}
    document = converted(record, bot=Bot([flow], importer=Legacy([old_small(flow)]))).document
    assert (document.profile, document.current_account) == ({"name": "Ada"}, {"account_id": "a"})


def test_a_lone_surrogate_is_refused():
    """A lone surrogate, which UTF-8 cannot hold, is refused."""
    flow = small()
    record = {**offered(NUMBER, "m"), "profile": {"name": "\ud800"}}
    with pytest.raises(RecordNotImported, match="profile cannot be kept"):
        converted(record, bot=Bot([flow], importer=Legacy([old_small(flow)])))


def test_a_bot_that_declares_nothing_converts_nothing():
    """A bot without an importer refuses a record."""
    with pytest.raises(RecordNotImported, match=r"Bot\(importer=Legacy\(…\)\)"):
        converted(offered(NUMBER, "m"), bot=Bot([small()]))
