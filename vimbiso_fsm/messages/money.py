"""Money: exact amounts, each of one currency."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs


@attrs.frozen
class Money:
    """An amount of one currency; `str()` gives "10.00 USD".

    Amounts are compared and added within one currency. An operation on two currencies raises TypeError.

    Attributes:
        amount: The amount; its decimals are kept.
        currency: The code of the currency, such as "USD".
    """

    amount: Decimal
    currency: str

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Return the amount 0 of a currency."""
        return cls(Decimal(0), currency)

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"

    def __bool__(self) -> bool:
        return self.amount != 0

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._comparable(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._comparable(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._comparable(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._comparable(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._comparable(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._comparable(other)

    def _comparable(self, other: Money) -> Decimal:
        if other.currency != self.currency:
            raise TypeError(
                f"{self.currency} and {other.currency} cannot be compared or added; convert one of them first"
            )
        return other.amount


def totals(amounts: Iterable[Money]) -> tuple[Money, ...]:
    """Return the sum of each currency, in the order in which the currencies first occur."""
    sums: dict[str, Money] = {}
    for money in amounts:
        sums[money.currency] = sums[money.currency] + money if money.currency in sums else money
    return tuple(sums.values())
