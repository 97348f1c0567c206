"""The callback of an author in which an exception was raised, found by the code that the traceback passes through."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any, Final

from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.state import Declared
from vimbiso_fsm.messages.content_readers import ContentReader
from vimbiso_fsm.messages.readers import TurnReader

_SLOTS: Final = ("ask", "say", "reads", "rows", "call", "input", "output", "timeout", "reminds")
_PLACE: Final = "vimbiso_callback"
"""The name under which an exception carries the place of its callback."""


def note_callback(flows: Iterable[Declared], error: BaseException, flow: str, state: str) -> None:
    """Add a note to an exception that names the slot, the callback, the flow and the state in which it was raised.

    Args:
        flows: The flows of the bot.
        error: The exception. Without a callback of a flow in its traceback, it gets no note.
        flow: The flow that was open. A callback of several places is named as that of the open one, if it is one.
        state: The state in which the run was.
    """
    if callback_place(error):
        return
    raised = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    found = [place for each in flows for code, *place in _places(each) if code in raised]
    if not found:
        return
    its_flow, its_state, slot, name = min(found, key=lambda place: (place[0] != flow, place[1] not in (state, "")))
    place = f"{slot} {name!r} of flow {its_flow!r}, state {its_state or state!r}"
    with contextlib.suppress(Exception):  # an exception of an author's class may take no attributes
        vars(error)[_PLACE] = place
        error.add_note(f"It was raised in {place}.")


def callback_place(error: BaseException) -> str:
    """Return the callback in which an exception was raised, as errors name it; "" if it is not known."""
    place: object = vars(error).get(_PLACE, "")
    return place if isinstance(place, str) else ""


def _places(flow: Declared) -> Iterator[tuple[CodeType, str, str, str, str]]:
    """Yield the code of each callback of a flow, with the flow, the state, the slot and the name."""
    for state in flow.states:
        for slot in _SLOTS:
            for callback in _parts(getattr(state, slot)):
                yield from _coded(callback, flow.name, state.name, slot)
    for way in flow.transitions:
        for source in way.sources:
            for guard in way.guards:
                yield from _coded(guard, flow.name, source, "guard")
            if way.prepare is not None:
                yield from _coded(way.prepare, flow.name, source, "prepare")
    required: Any = getattr(flow, "required", ())
    for guard in required:
        yield from _coded(guard, flow.name, "", "guard")


def _parts(slot: object) -> Iterator[object]:
    if isinstance(slot, TurnReader):
        yield slot.make
    elif isinstance(slot, ContentReader):
        yield from (*slot.texts, *(way.read for way in slot.ways))
    elif callable(slot):
        yield slot


def _coded(callback: object, flow: str, state: str, slot: str) -> Iterator[tuple[CodeType, str, str, str, str]]:
    named: Any = callback
    while isinstance(callback, functools.partial):
        callback = callback.func
    function = getattr(callback, "__func__", callback)
    called: Any = function if hasattr(function, "__code__") else vars(type(function)).get("__call__")
    code = getattr(called, "__code__", None)
    if isinstance(code, CodeType):
        yield code, flow, state, slot, name_of(named)
