"""Amounts of money: their words, their arithmetic and what is stored of them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.messages.money import Money, totals


def usd(amount: str) -> Money:
    """Return an amount in US dollars."""
    return Money(Decimal(amount), "USD")


def test_totals_are_of_each_currency():
    """Amounts are summed by currency, in the order in which the currencies first occur."""
    amounts = [usd("1.00"), Money(Decimal("2.0000"), "XAU"), usd("0.50")]
    assert totals(amounts) == (usd("1.50"), Money(Decimal("2.0000"), "XAU"))
    assert totals([]) == ()


def test_money_is_said_with_all_its_decimals():
    """The words of an amount keep its trailing zeros and use no exponent."""
    assert str(usd("10.00")) == "10.00 USD"
    assert str(Money(Decimal("0E-4"), "XAU")) == "0.0000 XAU"
    assert str(Money(Decimal("1E+2"), "USD")) == "100 USD"


def test_money_is_compared_and_added_as_its_amounts_are():
    """Equal amounts are equal money, whatever their decimals; zero is false."""
    assert usd("1") < usd("2") <= usd("2.00")
    assert usd("3") > usd("2.99") >= usd("2.99")
    assert usd("2.0") == usd("2.00")
    assert hash(usd("2.0")) == hash(usd("2.00"))
    assert usd("1") + usd("2.50") - usd("0.25") == usd("3.25")
    assert -usd("1") == usd("-1")
    assert not Money.zero("USD")
    assert usd("1") != Money(Decimal(1), "CAD")


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a + b,
        lambda a, b: a - b,
    ],
    ids=["<", "<=", ">", ">=", "+", "-"],
)
def test_two_currencies_are_neither_compared_nor_added(operation: Callable[[Money, Money], Any]):
    """An operation on two currencies raises an error that names both."""
    with pytest.raises(TypeError, match="USD and CAD"):
        operation(usd("1"), Money(Decimal(1), "CAD"))


def test_money_is_storable():
    """An amount is stored as text, so that no decimal is lost."""
    raw = loads(dumps(unstructure(usd("10.00"))))
    assert raw == {"amount": "10.00", "currency": "USD"}
    assert str(structure(raw, Money)) == "10.00 USD"
