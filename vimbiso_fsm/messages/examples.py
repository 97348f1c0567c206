"""Examples of what a reader accepts, and of what it refuses by little.

The readers of `messages/readers.py` have `examples` and `near`. A help text may quote an example, and a walk
(`vimbiso_fsm.check`) types both. An author's own reader gets them by `exemplified`, or by `State(examples=…)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from vimbiso_fsm.messages.refusals import Refused

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class TextReader(Protocol[T_co]):
    """A reader of typed answers that has examples."""

    @property
    def examples(self) -> tuple[str, ...]:
        """Texts that the reader accepts, the plainest first."""
        ...

    @property
    def near(self) -> tuple[str, ...]:
        """Texts that it refuses, and that a member may well write."""
        ...

    def __call__(self, text: str, /) -> T_co | Refused:
        """Read a typed text: return its value, or the reason why it is refused."""
        ...


def exemplified(*examples: str, near: tuple[str, ...] = ()) -> Callable[[Callable[[str], T | Refused]], TextReader[T]]:
    """Give a reader its examples.

    Args:
        *examples: Texts that it accepts, the plainest first.
        near: Texts that it refuses.
    """

    def give(read: Callable[[str], T | Refused]) -> TextReader[T]:
        vars(read).update(examples=examples, near=near)  # attributes, so that a reader stays one call
        return cast("TextReader[T]", read)

    return give


def examples_of(reader: Callable[..., object] | None) -> tuple[str, ...]:
    """Return the examples of a reader; nothing if it has none."""
    return _texts(reader, "examples")


def near_of(reader: Callable[..., object] | None) -> tuple[str, ...]:
    """Return the texts that a reader is known to refuse; nothing if it names none."""
    return _texts(reader, "near")


def _texts(reader: object, name: str) -> tuple[str, ...]:
    found: Any = getattr(reader, name, ())
    return found if isinstance(found, tuple) else ()
