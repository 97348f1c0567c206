"""The types that data may have: proven when they are declared, refused with a remedy, and tested in each turn."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import datetime as dt
import enum
import re
import typing
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    TypedDict,
    TypeVar,
    cast,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.data_strategies import described
from tests.document.test_typed_data import Data
from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.json_codec import dumps_unstructured, loads
from vimbiso_fsm.document.typed_data import read, structure, unstructure, write
from vimbiso_fsm.errors import Misfit, NotStorable, UnstorableType
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.testing.chat import START

if TYPE_CHECKING:
    from vimbiso_fsm.flow.flow import Flow

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "data-types.md"
T = TypeVar("T")


class Size(enum.Enum):
    """An enum of texts."""

    SMALL = "small"
    LARGE = "large"


class Level(enum.IntEnum):
    """An enum of numbers."""

    LOW = 1
    HIGH = 2


class Shade(enum.StrEnum):
    """An enum whose members are texts."""

    LIGHT = "light"
    DARK = "dark"


class Rights(enum.Flag):
    """Flags."""

    READ = 1
    WRITE = 2


class Place(enum.Enum):
    """An enum of values that are no plain data."""

    HOME = (0, 0)
    SHOP = (1, Decimal("1.5"))


@attrs.frozen
class Order:
    """A class of fields."""

    count: int = 0
    size: Size = Size.SMALL


@attrs.frozen
class Gift(Order):
    """A class that extends another one."""

    note: str = ""


@attrs.frozen
class Page(Generic[T]):
    """A generic class."""

    item: T


@attrs.frozen
class Card:
    """One way to pay."""

    number: str = ""


@attrs.frozen
class Cash:
    """Another way to pay."""

    currency: str = ""


@dataclasses.dataclass(frozen=True)
class Point:
    """A dataclass."""

    x: int
    y: int = 0


class Pair(NamedTuple):
    """A tuple with names."""

    number: int
    word: str = ""


class Entry(TypedDict):
    """A dictionary with names."""

    day: date
    note: NotRequired[str]


Handle = NewType("Handle", str)


@attrs.frozen
class Odd:
    """A class that reads its own values as other ones."""

    number: int = attrs.field(default=0, converter=lambda number: number + 1)


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


@attrs.frozen
class Branch:
    """A class that maps words to others of its kind."""

    inner: dict[str, Branch] = attrs.field(factory=dict)


@attrs.frozen
class Twice:
    """A class of two fields of the same class."""

    first: Card = attrs.field(factory=Card)
    second: Card = attrs.field(factory=Card)


@given(st.from_type(Fixed))
def test_stable_data_is_equal_to_its_round_trip(data: Fixed):
    """Stable data is equal to what would be read back, and of the same types."""
    assume(isfinite(data.share) and data.price.amount.is_finite() and (data.amount is None or data.amount.is_finite()))
    assert data_type(Fixed).stable(data)
    again = structure(loads(dumps_unstructured(unstructure(data))), Fixed)
    assert (again, repr(again)) == (data, repr(data))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Open, Open()), (WithList, WithList()), (Tree, Tree((Tree(),))), (Data, Data()), (list[str], []), (dict[str, str], {}), (Any, 1),
        (Fixed, Fixed(word=cast(Any, 5))), (Fixed, Fixed(amount=cast(Any, 1))), (Fixed, Fixed(sizes=cast(Any, ["s"]))),
        (Fixed, Fixed(sizes=cast(Any, ("l",)))), (Fixed, Fixed(yes=cast(Any, 1))), (Fixed, Fixed(share=1)), (Fixed, None),
        (Fixed, Fixed(price=cast(Any, None))), (dt.datetime, START.astimezone(ZoneInfo("Africa/Harare"))), (dt.datetime, START.replace(fold=1)),
    ],
)  # fmt: skip
def test_other_data_is_never_stable(kind: Any, value: Any):
    """Data that can change, that is read back as another type or that breaks its annotations is not stable."""
    assert not data_type(kind).stable(value)


# The tables of the reference -----------------------------------------------------------------------------------------


def rows(title: str) -> Iterator[list[str]]:
    """Yield the cells of a table below a title of the reference, of which the quoted part counts."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE):
        cells = re.split(r"(?<!\\) \| ", line)
        yield [cell.split("`")[1].replace("\\|", "|") if "`" in cell else cell for cell in cells]


NAMES = {
    **vars(typing), **vars(collections), **vars(collections.abc), **vars(dt), "Decimal": Decimal, "Money": Money, "UUID": UUID, "Fraction": Fraction,
    **globals(),
}  # fmt: skip
"""The names that stand in the tables."""


@pytest.mark.parametrize(("kind", "example", "plain"), list(rows("Types that are stored")))
def test_each_type_of_the_reference_is_stored_as_it_says(kind: str, example: str, plain: str):
    """Each type of the table is taken, its example fits, is stored as shown, and is read back equal."""
    annotation, value = eval(kind, NAMES), eval(example, NAMES)
    proven = data_type(annotation)
    assert proven.fits(value)
    raw = write(value, annotation)
    assert dumps_unstructured(raw).decode() == plain
    assert loads(plain.encode()) == raw
    assert described(read(loads(plain.encode()), annotation)) == described(value)


@pytest.mark.parametrize(("kind", "reason", "remedy"), list(rows("Types that are refused")))
def test_each_type_that_the_reference_excludes_is_refused(kind: str, reason: str, remedy: str):
    """Each type of the table is refused for the reason that stands there, with a remedy."""
    with pytest.raises(UnstorableType, match=reason) as caught:
        data_type(eval(kind, NAMES))
    assert caught.value.fault in str(caught.value)
    assert caught.value.remedy in str(caught.value)
    if remedy.isascii() and "[" in remedy:
        data_type(eval(remedy, NAMES))


@pytest.mark.parametrize(("kind", "given", "stored"), list(rows("Values that do not fit")))
def test_each_conversion_of_the_reference_is_made(kind: str, given: str, stored: str):
    """Each value of the table does not fit, and is settled to the one that will be read back."""
    proven = data_type(eval(kind, NAMES))
    assert not proven.fits(eval(given, NAMES))
    settled = proven.settled(eval(given, NAMES), "data")
    assert described(settled) == described(eval(stored, NAMES))
    assert described(read(loads(dumps_unstructured(write(settled, proven.kind))), proven.kind)) == described(settled)


# Refusals ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Late:
    """A class whose field has a type that is known to type checkers only."""

    flow: Flow[Any] | None = None


@attrs.frozen
class Wrong:
    """A class with a default that is not of the field's type."""

    price: Decimal = cast(Any, None)  # noqa: RUF009  # it returns its argument


@attrs.frozen
class Outer:
    """A class with a class that cannot be stored."""

    inners: tuple[Wrong, ...] = ()


@attrs.frozen
class Maybe:
    """A class whose empty value is stored like that of another one."""

    number: int | None = None


@attrs.frozen
class Perhaps:
    """See `Maybe`."""

    number: str | None = None


class Answer(enum.Enum):
    """An enum with a member that is stored like `None`."""

    YES = "yes"
    UNKNOWN = None


@attrs.frozen
class Old:
    """A class that may have lost and gained fields since it was stored."""

    name: str = ""
    age: int = 0


@pytest.mark.parametrize(
    ("kind", "path", "fault"),
    [
        (Late, "", "names 'Flow' in an annotation"), (Wrong, "", "the default in 'price' must be a decimal number"), (Outer, "inners", "the default in 'price'"),
        (Maybe | Perhaps, "", "stored alike"), (dict[str, Any] | Order, "", "stored alike"), (dict[Wrong, int], "", "the default in 'price'"),
        (dict[dict[str, int], int], "", "can change"), (T, "", "type variable"), (Order | str | bytes, "", "stored alike"), (Size | Shade | Literal["dark"], "", "stored alike"),
        (Answer | None, "", "stored alike"),
    ],
)  # fmt: skip
def test_a_type_is_refused_with_the_field_at_fault(kind: Any, path: str, fault: str):
    """A type that cannot be read back is refused; the error names the path of the field and what is wrong."""
    with pytest.raises(UnstorableType) as caught:
        data_type(kind)
    assert (caught.value.path, fault in caught.value.fault) == (path, True), caught.value


def test_a_class_of_a_union_is_found_by_its_names_after_a_change():
    """Data stored before a class of a union lost or gained a field is read as that class."""
    kind: Any = Card | Old
    data_type(kind)
    assert read({"name": "Ada", "gone": 1}, kind) == Old("Ada")
    assert read({"number": "1", "gone": 1}, kind) == Card("1")


# Values that do not fit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (Order, Order(cast(Any, "1")), "count"), (Order, Order(size=cast(Any, "huge")), "size"), (Order, Gift(1), ""), (Order, None, ""), (Order, {"count": 1}, ""),
        (tuple[Order, ...], (Order(), Order(cast(Any, 1.5))), "1.count"), (dict[int, Order], {1: Order(cast(Any, None))}, ""), (dict[int, int], {"1": 1}, "key"),
        (dict[str, int], {1: 1}, "key"), (Any, Order(), ""), (Any, [START], "0"), (Any, {"at": START}, "0"), (dict, {"sum": Decimal(1)}, "0"), (list, [{1}], "0"),
        (int, True, ""), (float, (1 << 60) + 1, ""), (float, 1 << 2000, ""), (float, "1", ""), (Decimal, 1, ""), (date, START, ""), (datetime, date(2026, 3, 4), ""), (Entry, {}, ""),
        (Entry, {"day": date(2026, 3, 4), "more": 1}, ""), (Pair, (1,), ""), (Pair, Pair(1, cast(Any, 2)), ""), (tuple[int, str], (1,), ""), (list[int], "12", "0"), (list[str], "12", ""),
        (list[int], iter([1]), ""), (Level, 2, ""), (Shade, Size.SMALL, ""), (Card | Cash, Order(), ""), (Literal[1], True, ""), (Page[int], Page("a"), "item"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_a_misfit(kind: Any, value: Any, path: str):
    """A value that would be read back as another one, or not at all, is refused with the path, and no value is quoted."""
    with pytest.raises(Misfit) as caught:
        data_type(kind).settled(value, "data of flow 'one'")
    assert (caught.value.place, caught.value.path) == ("data of flow 'one'", path)
    assert caught.value.fault in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), "\ud800", [float("inf")]])
def test_a_value_that_no_json_holds_is_not_storable(value: Any):
    """A value that no JSON can hold is `NotStorable`, whatever the type."""
    with pytest.raises(NotStorable):
        dumps_unstructured(unstructure(data_type(Any).settled(value, "data")))


def test_a_time_zone_is_settled_to_its_offset():
    """An instant in a zone with a name is settled to the offset that is read back, so that each worker sees the same."""
    given = START.astimezone(ZoneInfo("Africa/Harare"))
    settled: datetime = data_type(datetime).settled(given, "data")
    assert settled == given
    assert settled.tzinfo == dt.timezone(timedelta(hours=2))


def test_a_value_that_contains_itself_is_refused():
    """A list that contains itself cannot be stored, and is no error of recursion."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises((Misfit, NotStorable)):
        data_type(Any).settled(loop, "data")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Branch, Branch({"a": Branch({"b": Branch()})})),
        (dict[Card, Card], {Card("1"): Card("2")}),
        (dict[str, dict[str, Branch]], {"a": {"b": Branch()}}),
        (tuple[Card, dict[Card, Cash], list[Cash]], (Card("1"), {Card("2"): Cash("USD")}, [Cash("ZWG")])),
    ],
    ids=str,
)
def test_a_class_may_stand_more_than_once_in_a_type(kind: Any, value: Any):
    """A class that a type names again, or that contains itself, is proven as at its first place."""
    proven = data_type(kind)
    assert proven.fits(value)
    assert proven.settled(value, "data") == value


def test_a_class_is_as_stable_at_its_second_place_as_at_its_first():
    """Two fields of one frozen class are as stable as one."""
    assert data_type(Twice).stable(Twice(Card("1"), Card("2")))
