"""A turn record is stored in a short form, from which its long form is read."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import runs
from vimbiso_fsm.document.codec import run_to_raw
from vimbiso_fsm.document.document import Run
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.replies_codec import replies_to_raw
from vimbiso_fsm.document.turn_record import read_record, shorten
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row, Text, WebLink

REPLIES = (
    Text("offer.who"),
    Text("offer.sent", amount="10.00 USD"),
    Text("Hello.").said("Hello.", {}),
    Buttons(Text("text"), (Button("!abcdefghyes", Text("words")),)),
    Menu(Text("body"), (Row("1", Text("rows"), Text("buttons")), Row("2", Text("text")))),
    WebLink(Text("link"), "https://example.org", Text("words")),
)


def long_form(status: str, replies: list[Any], run: Run | None, *, called: bool) -> dict[str, Any]:
    """The record as releases before layout 4 have stored it."""
    notes: dict[str, Any] = {}
    if run is not None:
        notes = {"version": run.version, "fingerprint": run.fingerprint}
        notes |= {name: value for name in ("trail", "made", "waits") if (value := getattr(run, name))}
    return {
        "status": status,
        "replies": replies,
        "flow_data": {} if run is None else run_to_raw(run)[0],
        "run": notes,
        "called": called,
    }


@given(
    status=st.sampled_from(["advanced", "refused", "failed"]),
    replies=st.lists(st.sampled_from(REPLIES), max_size=3),
    run=st.none() | runs(),
    called=st.booleans(),
    trail=st.sampled_from([(), ("who",), ("who", "much"), ("much", "who")]),
    verdict=st.sampled_from(
        [
            {},
            {"step": "who", "ok": True, "code": ""},
            {"step": "who", "ok": False, "code": "x"},
            {"step": "who", "ok": 1, "code": ""},
            {"ok": True, "code": ""},
            {"step": None, "ok": True, "code": ""},
        ]
    ),
)
def test_the_long_form_is_read_from_the_short_one(
    status: str, replies: list[Any], run: Run | None, called: bool, trail: tuple[str, ...], verdict: dict[str, Any]
) -> None:
    """No value of a record is lost in its short form, and an earlier release's record is read as it is."""
    if run is not None:
        run = attrs.evolve(run, verdict=verdict, trail=trail)
    raw = replies_to_raw(replies)
    long = dumps(long_form(status, raw, run, called=called))
    short = dumps(shorten(status, raw, run, run.fields if run else {}, called=called))
    assert dumps(read_record(short)) == long
    assert read_record(long) == loads(long)
    assert len(short) < len(long)


def test_what_follows_from_the_rest_is_left_out() -> None:
    """A record names each fact once: no flow beside the run's id, no empty part, no status of a turn that advanced."""
    run = Run("till:1ab9b1375f3ea724", "till", "goods", Address("sms", "+263771234567"), fingerprint="50fc984300ba")
    assert shorten("advanced", [{"text": "price.none"}], run, {"goods": ""}, called=False) == {
        "run": "till:1ab9b1375f3ea724",
        "step": "goods",
        "by": (1, "50fc984300ba"),
        "channel": ("sms", "+263771234567"),
        "data": {"goods": ""},
        "replies": ["price.none"],
    }
    assert shorten("refused", [], None, {}, called=False) == {"status": "refused"}
    accepted = {"step": "price", "ok": True, "code": ""}
    run = attrs.evolve(run, trail=("price",), verdict=accepted)
    assert "verdict" not in shorten("advanced", [], run, {}, called=False)
    assert shorten("advanced", [], attrs.evolve(run, trail=()), {}, called=False)["verdict"] == "price"


@pytest.mark.parametrize(
    "body",
    [b"[]", b"1", b"null", b"{", b'{"run":1}', b'{"run":"a:1","step":"b"}', b'{"replies":[1]}', b'{"replies":7}'],
)
def test_another_form_is_refused(body: bytes) -> None:
    """Bytes that hold no record raise `Unreadable`."""
    with pytest.raises(Unreadable):
        read_record(body)
