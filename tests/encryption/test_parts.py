"""The parts of a document that the scope "fields" hides."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import documents
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.encryption.parts import Parts, all_hidden, cut, joined

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SECRET = "pin-4711"


def secrets(_: str) -> tuple[str, ...]:
    """Return the names of secret fields."""
    return ("pin", "fruit")


@given(documents())
def test_a_document_comes_back_byte_for_byte(document: Document):
    """Any document is put together again to the byte, and its token and profile are not readable."""
    data = encode(document)
    parts = cut(data, secrets)
    assert joined(parts) == data
    readable = loads(parts.readable.replace(b"\0", b"null"))
    assert (readable["member_id"], readable["jwt_token"]) == (document.member_id, None)
    assert not readable["profile"]
    for run in ([readable["flow_data"]] if document.run else []) + [
        each["flow_data"] for each in readable.get("_suspended", ())
    ]:
        assert not run["data"].get("fruit")


@given(values, st.sampled_from(["jwt_token", "profile", "flow_data", "_run", "_suspended", "_call", "channel", "x"]))
def test_any_data_comes_back(value: object, name: str):
    """Data of any shape comes back to the byte: what is no document is hidden as a whole."""
    short = {"run": value, "channel": value, "data": {"pin": value}}
    for raw in (value, {name: value}, {"flow_data": {"data": {"flow_type": "f", "pin": value}}}, short):
        data = dumps(raw)
        assert joined(cut(data, secrets)) == data
    assert cut(b"no JSON", secrets) == all_hidden(b"no JSON")


def test_everything_that_may_quote_a_secret_is_hidden():
    """A secret in each place where a document or a record can hold it is not readable."""
    data: dict[str, Any] = {
        "flow_type": "f",
        "channel": {"type": "sms", "identifier": "263"},
        "_validation_context": {"attempts": 1, "which": [SECRET]},
        "_validation_state": {},
        "pin": SECRET,
        "open": "said",
    }
    run = {"flow_data": {"id": "f:1", "step": "s", "data": data}, "shown": [{"choice": SECRET, "title": SECRET}]}
    document = {
        "member_id": "m-1",
        "channel": {"type": "sms", "identifier": "263", "metadata": {"name": SECRET}},
        "jwt_token": SECRET,
        "profile": {"name": SECRET},
        "current_account": {"id": SECRET},
        "_suspended": [run],
        "_call": {"service": "s", "arguments": {"pin": SECRET}, "answer": {"value": SECRET}},
        "_outbox": [{"id": "o", "replies": [SECRET]}],
        "flow_data": run["flow_data"],
        "_run": {"shown": run["shown"], "version": 1},
    }
    record = {"status": "advanced", "replies": [SECRET], "flow_data": run["flow_data"], "run": {}, "called": False}
    short = {
        "run": "f:1",
        "context": {"which": [SECRET]},
        "data": {"pin": SECRET, "open": "said"},
        "replies": [SECRET],
    }
    untaken = {"status": "refused", "replies": [SECRET]}
    for raw in (document, record, short, untaken):
        parts = cut(dumps(raw), secrets)
        assert joined(parts) == dumps(raw)
        assert SECRET.encode() not in parts.readable
        assert b'"open":"said"' in parts.readable or raw is untaken


def test_a_text_that_is_written_like_a_hole_hides_all():
    """A member cannot write a text that is taken for a hidden value."""
    for said in ("\ue000hidden\ue000", "\0", "\\u0000", "encrypted:1 "):
        data = dumps({"profile": {"name": SECRET}, "said": said})
        parts = cut(data, secrets)
        assert joined(parts) == data
        assert SECRET.encode() not in parts.readable
    assert not cut(dumps({"profile": {"a": 1}, "said": "\ue000hidden\ue000"}), secrets).readable
    assert joined(Parts(b"", b"all")) == b"all"
