"""Typed data that may be kept in place of being read again."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from math import isfinite
from typing import Any, Literal, cast

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.document.test_typed_data import Data
from vimbiso_fsm.document.json_codec import dumps_unstructured, loads
from vimbiso_fsm.document.stable import stable
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.testing.chat import START


@attrs.frozen
class Fixed:
    """A class of which nothing can change."""

    word: str = ""
    amount: Decimal | None = None
    price: Money = attrs.field(factory=lambda: Money(Decimal(1), "USD"))
    sizes: tuple[Literal["s", "m"], ...] = ()
    numbers: tuple[tuple[int, ...], ...] = ()
    yes: bool = False
    share: float = 0.5


@attrs.define
class Open:
    """A class whose fields can be assigned."""

    word: str = ""


@attrs.frozen
class WithList:
    """A class with a list, which can change."""

    words: list[str] = attrs.field(factory=list)


@attrs.frozen
class Tree:
    """A class that contains others of its kind."""

    inner: tuple[Tree, ...] = ()


@given(st.from_type(Fixed))
def test_stable_data_is_what_would_be_read_back(data: Fixed):
    """Stable data is equal to what would be read back, and of the same types."""
    assume(isfinite(data.share) and data.price.amount.is_finite() and (data.amount is None or data.amount.is_finite()))
    assert stable(Fixed)(data)
    again = structure(loads(dumps_unstructured(unstructure(data))), Fixed)
    assert (again, repr(again)) == (data, repr(data))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Open, Open()), (WithList, WithList()), (Tree, Tree((Tree(),))), (Data, Data()), (list[str], []), (dict[str, str], {}), (Any, 1),
        (Fixed, Fixed(word=cast(Any, 5))), (Fixed, Fixed(amount=cast(Any, 1))), (Fixed, Fixed(sizes=cast(Any, ["s"]))),
        (Fixed, Fixed(sizes=cast(Any, ("l",)))), (Fixed, Fixed(yes=cast(Any, 1))), (Fixed, Fixed(share=1)), (Fixed, None),
        (Fixed, Fixed(price=cast(Any, None))), (dt.datetime, START),
    ],
)  # fmt: skip
def test_other_data_is_never_stable(kind: Any, value: Any):
    """Data that can change, that is read back as another type or that breaks its annotations is not stable."""
    assert not stable(kind)(value)
