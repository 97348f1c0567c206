"""Replies as plain data, and back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from tests.strategies import json_values
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_raw
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text

REPLIES: list[Reply] = [
    Text("plain"),
    Text("k", a=1, b="x"),
    Buttons(Text("q", n=1), (Button("b1", Text("t")), Button("b2", Text("t", x="y")))),
    Menu(Text("q"), (Row("r1", Text("t"), Text("d", z=1)), Row("r2", Text("t")))),
]


def test_replies_are_stored_as_keys_and_parameters():
    """Replies are read back equal through JSON."""
    assert replies_from_raw(json.loads(dumps(replies_to_raw(REPLIES)))) == tuple(REPLIES)


@given(json_values)
def test_replies_of_another_shape_are_refused(raw: Any):
    """Any JSON is replies or `Unreadable`; reading raises no other error."""
    try:
        replies_from_raw([raw])
    except Unreadable as error:
        assert error.faults  # noqa: PT017
