"""Senders and inboxes that hang: an attempt is left behind as soon as it hangs, and no span of time is waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Final
from unittest import mock

from vimbiso_fsm.runtime import async_shell, services, shell
from vimbiso_fsm.runtime.services import NO_PLACE, Place, Places, Raised, take

__all__ = ["hang", "hang_awaited", "hanging_at_once"]

_HANGS: Final = ContextVar[threading.Event]("hangs")
"""Set by an attempt that hangs, or has ended."""
_HANGS_AWAITED: Final = ContextVar[asyncio.Event]("hangs awaited")
"""The same of an attempt of an async function."""


def hang(let_go: threading.Event) -> None:
    """Hang until it is let go, which the caller of the attempt does not wait for."""
    _HANGS.get().set()
    let_go.wait()


async def hang_awaited() -> None:
    """Hang until the attempt is cancelled."""
    _HANGS_AWAITED.get().set()
    await asyncio.Event().wait()


def _attempt(place: Place, method: Callable[[], object], _: float) -> object:
    hangs = threading.Event()
    _HANGS.set(hangs)
    running = place.start(method)
    running.add_done_callback(lambda _: hangs.set())
    hangs.wait()
    if running.done():
        return running.result()
    place.leave_behind(running)
    return Raised(TimeoutError("it hangs"))


def _attempt_at(places: Places, method: Callable[[], object], seconds: float) -> object:
    place = take(places, 0)
    if place is None:
        return NO_PLACE
    try:
        return _attempt(place, method, seconds)
    finally:
        place.leave()


async def _attempt_awaited(place: Place, method: Callable[[], object], _: float) -> object:
    hangs = asyncio.Event()
    _HANGS_AWAITED.set(hangs)
    answering, hanging = asyncio.ensure_future(services._answer(method)), asyncio.ensure_future(hangs.wait())
    await asyncio.wait({answering, hanging}, return_when=asyncio.FIRST_COMPLETED)
    hanging.cancel()
    if answering.done():
        return answering.result()
    answering.cancel()
    await asyncio.wait({answering})
    return Raised(TimeoutError("it hangs"))


async def _attempt_awaited_at(places: Places, method: Callable[[], object], seconds: float) -> object:
    return NO_PLACE if places.is_stuck else await _attempt_awaited(Place(places), method, seconds)


@contextmanager
def hanging_at_once() -> Generator[None]:
    """Leave attempts to deliver and to pass on behind as soon as they hang."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(shell, "attempt", _attempt))
        stack.enter_context(mock.patch.object(Places, "attempt", _attempt_at))
        stack.enter_context(mock.patch.object(Places, "attempt_awaited", _attempt_awaited_at))
        stack.enter_context(mock.patch.object(async_shell, "attempt_awaited", _attempt_awaited))
        yield
