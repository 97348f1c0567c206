"""Readers of typed answers that depend on the turn, such as one whose bound is a function of the turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.errors import FlowError, WrongCallback
from vimbiso_fsm.messages.bounds import check_range
from vimbiso_fsm.messages.examples import TextReader
from vimbiso_fsm.messages.refusals import Refused

T = TypeVar("T")
R = TypeVar("R")

Reader: TypeAlias = Callable[[str], T | Refused]
"""Reads a typed answer: returns its value, or the reason why it is refused."""

Bound: TypeAlias = T | Callable[[Any], T] | None
"""A bound of a reader: a value, a function of the turn that returns one, or None for no bound."""


@attrs.frozen
class TurnReader(Generic[T]):
    """A reader that is made anew for each answer, because its bounds are functions of the turn.

    Attributes:
        make: Makes the reader of a turn. It is pure.
        returns: The type of the values that it returns, to compare with the field that takes them; `Any` if unknown.
        examples: Texts that it accepts, if some are accepted in each turn. `reader.at(turn)` has those of a turn.
        near: Texts that it refuses in each turn.
        plain: Reads without a turn what needs none; None if each text needs one.
    """

    make: Callable[[Any], Reader[T]]
    returns: object = Any
    examples: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    plain: Reader[T] | None = None

    def at(self, turn: object) -> Reader[T]:
        """Return the reader of a turn.

        Raises:
            WrongCallback: The function of `of_turn` returned no reader, or one of a bound no bound.
        """
        made: object = self.make(turn)
        if not callable(made) or isinstance(made, TurnReader):
            raise WrongCallback("of_turn(…)", type(made).__name__, "a reader of texts")
        return made

    def __call__(self, text: str) -> T | Refused:
        """Read a text without a turn.

        Raises:
            TypeError: The bounds are functions of the turn, so nothing can be read without one.
        """
        if self.plain is not None:
            return self.plain(text)
        raise TypeError("the bounds of this reader are functions of the turn; read with reader.at(turn)(text)")


def of_turn(make: Callable[[Any], Reader[T]]) -> Reader[T]:
    """Make a reader that depends on the turn: `of_turn(lambda turn: date(earliest=turn.today))`.

    Args:
        make: Makes the reader of a turn. It is pure, and is called for each answer.
    """
    return TurnReader(make)


def bounded(
    name: str,
    kind: type[R],
    bounds: Mapping[str, Any],
    make: Callable[..., TextReader[R]],
    fault: Callable[[Any], str | None],
) -> TextReader[R]:
    """Make a reader with two bounds, at once if both are fixed, otherwise of each turn.

    Args:
        name: The name of the reader, for errors.
        kind: The type of its values.
        bounds: The lower bound and the upper one, by name; None for no bound.
        make: Makes the reader of fixed bounds, by name.
        fault: Returns what a bound must be, None if the value is one.

    Raises:
        FlowError: A fixed bound is none, or the lower one is above the upper one.
    """
    low, high = bounds
    fixed = {key: bound for key, bound in bounds.items() if bound is not None and not callable(bound)}
    for key, bound in fixed.items():
        if wanted := fault(bound):
            raise FlowError("", f"{name}()", f"{key} is {bound!r}", f"give {wanted}, or a function of the turn")
    check_range(f"{name}()", (low, fixed.get(low)), (high, fixed.get(high)))
    if not any(map(callable, bounds.values())):
        return make(**bounds)

    def at_turn(turn: object) -> Reader[R]:
        found: dict[str, Any] = {low: None, high: None, **fixed}
        for key, bound in bounds.items():
            if callable(bound):
                value = found[key] = bound(turn)
                if wanted := fault(value):
                    raise WrongCallback(f"{name}({key}=…)", type(value).__name__, wanted)
        if found[low] is not None and found[high] is not None and found[low] > found[high]:
            raise WrongCallback(f"{name}({low}=…, {high}=…)", "a lower bound above the upper one", "bounds in order")
        made = make(**found)
        return made.at(turn) if isinstance(made, TurnReader) else made

    return TurnReader(at_turn, kind)
