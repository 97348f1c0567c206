"""Classes that `attrs.make_class` makes, as the data of a flow."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from vimbiso_fsm import Flow, FlowError, State, Text, Transition


def flow_of(field: Any) -> Flow[Any]:
    """Return a flow whose data class has one field."""
    return Flow(
        "made",
        data=attrs.make_class("Made", {"n": field}, frozen=True),
        initial="one",
        states=[State("one", ask=Text("one?"), reads=str), State("end", final=True)],
        transitions=[Transition("answer", "one", "end")],
    )


def test_a_made_class_is_taken_and_a_field_without_a_type_is_named():
    """A made class is taken like any other; a field without a type is named if its default would be another value."""
    default = Decimal("1.50")
    assert flow_of(attrs.field(type=Decimal, default=default)).data().n == default
    assert flow_of(attrs.field(default=0)).data().n == 0
    with pytest.raises(FlowError, match=r"default in 'n'.*declare the type of the field \(attrs.field\(type=…\)\)"):
        flow_of(attrs.field(default=default))
