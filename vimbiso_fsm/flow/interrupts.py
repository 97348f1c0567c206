"""Exceptions that come out of an author's code and are none of it: they are meant for the process or the turn."""

from __future__ import annotations

import traceback
from itertools import pairwise
from types import FrameType


class CallbackStopped(BaseException):
    """A callback has taken too long, and the watchdog ends it. It is no `Exception`, so that no callback takes it.

    A manager raises `CallbackTimedOut` in its place, where the turn does not become a failed one.
    """


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception is meant for the process, and is not an outcome of the code that it came out of.

    `KeyboardInterrupt` is one, and so is whatever a signal handler raises, such as the `SystemExit` of a program that
    is stopped. A signal handler is told from other functions by its argument: the frame that it has interrupted.
    `CallbackStopped` is meant for the turn, which fails.

    Any other exception of an author's code is a failure of that code, also a `SystemExit`, a `GeneratorExit` or a
    `CancelledError`: code that cannot await is not cancelled.
    """
    if isinstance(error, KeyboardInterrupt | CallbackStopped):
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(_is_handler(frame, interrupted) for interrupted, frame in pairwise(frames))


def _is_handler(frame: FrameType, interrupted: FrameType) -> bool:
    """Whether a frame is that of a signal handler, which was given the frame that it has interrupted."""
    given = frame.f_locals.values()
    return any(value is interrupted or (type(value) is tuple and interrupted in value) for value in given)
