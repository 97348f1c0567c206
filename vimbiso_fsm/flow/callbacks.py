"""Callbacks of an author: the faults that can be seen when they are declared, and the check of what they return.

`callback_faults` judges a callback without calling it. The other functions call one, and raise `WrongCallback` if it
returns a value of a wrong type. The error names the callback, the flow and the state.
"""

from __future__ import annotations

import collections.abc
import dis
import inspect
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from types import FunctionType
from typing import Any, Final, Never, get_args, get_origin

from vimbiso_fsm.document.typed_data import name_of as annotation_name
from vimbiso_fsm.errors import WrongCallback
from vimbiso_fsm.flow.annotations import lacks, parts_of, returned, takes_kind
from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.flow.turn import Changes, Guard, Turn
from vimbiso_fsm.messages.examples import TextReader
from vimbiso_fsm.messages.readers import ContentReader, TurnReader
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import ASKED, SAID, Row, Said, Text

VERDICT: Final = "True, False or Refused(…)"
TEXT: Final = "a Text, such as Text('…')"
ASK: Final = "a Text, such as Text('…'), a WebLink, or a request for a location or contact"
SAY: Final = "a Text, such as Text('…'), or another reply without choices"
ROWS: Final = "a list of rows, each made with Row(…)"
CALL: Final = "a call, made with call(Port.method, …)"

_RETURNS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "guard": ((bool, Refused), VERDICT),
    "ask": (ASKED, ASK),
    "say": (SAID, SAY),
    "rows": ((collections.abc.Iterable,), ROWS),
    "call": ((Call,), CALL),
    "timeout": ((float, timedelta, datetime), "seconds, a timedelta or a datetime"),
}
"""The types that a callback of a slot may return, and their words."""


def name_of(callback: Callable[..., object]) -> str:
    """Return the name of a callback in audit entries and errors."""
    return getattr(callback, "__name__", type(callback).__name__)


# Declared -------------------------------------------------------------------------------------------------------------


def callback_faults(slot: str, callback: Callable[..., Any], data: type) -> Iterator[tuple[str, str, str]]:
    """Yield the faults of a callback that show without calling it, each as its code, what is wrong and what to do.

    A callback is a pure function of one argument that returns a value. Its annotations are compared with its slot and
    with the data of its flow; a callback without annotations, or behind a decorator, is judged when it is called.

    Args:
        slot: The slot: "guard", "prepare" or the name of an attribute of a state.
        callback: The callback.
        data: The class of the flow's data.
    """
    place = f"{slot} {name_of(callback)!r}"
    given, kind = "text" if slot == "reads" else "turn", "guard" if slot == "guard" else "callback"
    if inspect.iscoroutinefunction(callback) or inspect.isasyncgenfunction(callback):
        yield f"{kind}-async", f"{place} is async", "declare it with def; what has to be awaited belongs to a service"
        return
    if (parameters := _unfit(callback)) is not None:
        remedy = f"let it take the {given} alone"
        if slot == "call" and parameters.startswith("(self"):
            remedy = f"give a function of the turn that returns call({callback.__qualname__}, …)"
        yield "wrong-signature", f"{place} takes {parameters}, and is called with the {given}", remedy
        return
    if _returns_nothing(callback):
        yield f"{kind}-returns-other", f"{place} never returns a value", "is a return missing?"
        return
    yield from _annotation_faults(slot, place, callback, data)


def _unfit(callback: Callable[..., Any]) -> str | None:
    """Return the parameters of a callback that cannot be called with one argument; None if it can, as far as known."""
    try:
        signature = inspect.signature(callback, follow_wrapped=False)
    except (TypeError, ValueError):  # a function in C that does not say
        return None
    try:
        signature.bind(None)
    except TypeError:
        return str(signature.replace(return_annotation=inspect.Signature.empty))
    return None


def _returns_nothing(callback: Callable[..., Any]) -> bool:
    """Whether each end of a function returns None."""
    function = getattr(callback, "__func__", callback)
    if not isinstance(function, FunctionType) or inspect.isgeneratorfunction(function):
        return False
    code = function.__code__
    operations, arguments = code.co_code[::2], code.co_code[1::2]
    if dis.EXTENDED_ARG in operations:  # a long function: its constants are not told by one byte
        return False
    ends: list[bool] = []
    for place, operation in enumerate(operations):
        if operation == _RETURN_CONST:
            ends.append(code.co_consts[arguments[place]] is None)
        elif operation == _RETURN_VALUE:
            loads = place > 0 and operations[place - 1] == _LOAD_CONST
            ends.append(loads and code.co_consts[arguments[place - 1]] is None)
    return bool(ends) and all(ends)


_LOAD_CONST: Final = dis.opmap["LOAD_CONST"]
_RETURN_VALUE: Final = dis.opmap["RETURN_VALUE"]
_RETURN_CONST: Final = dis.opmap.get("RETURN_CONST", -1)


def _annotation_faults(
    slot: str, place: str, callback: Callable[..., Any], data: type
) -> Iterator[tuple[str, str, str]]:
    answer, wanted = returned(callback), _RETURNS.get(slot)
    code = "guard-returns-other" if slot == "guard" else "callback-returns-other"
    if slot == "prepare":
        wanted = (data, Changes), f"a {data.__name__}"
    if answer is None or answer is type(None):
        yield code, f"{place} returns None", f"let it return {wanted[1]}" if wanted else "let it return a value"
    elif _is_reader_or_function(answer):
        yield code, f"{place} returns a function", f"call it, so that the slot has the function: {name_of(callback)}(…)"
    elif wanted and not takes_kind(wanted[0], answer):
        yield code, f"{place} returns {annotation_name(answer)}", f"let it return {wanted[1]}"
    elif slot == "rows" and (wrong := _other_rows(answer)):
        yield code, f"{place} returns {wrong}", f"let it return {ROWS}"
    taking = callback.make if isinstance(callback, TurnReader) else callback
    for wanted_data, lacking in lacks(taking, data) if slot != "reads" or taking is not callback else ():
        fault = f"{place} takes a Turn[{wanted_data}], which has field {lacking!r}; {data.__name__} has none"
        yield "turn-of-another-flow", fault, f"let it take a Turn[{data.__name__}]"


def _is_reader_or_function(answer: object) -> bool:
    """Whether an annotation is that of a function, as a function that makes readers has it."""
    kind = get_origin(answer) or answer
    return kind in (collections.abc.Callable, TextReader, TurnReader, ContentReader)


def _other_rows(answer: object) -> str:
    """Return the annotation of a list of other things than rows; "" if it may be a list of rows."""
    for part in parts_of(answer):
        if part is str or not all(takes_kind((Row,), item) for item in get_args(part)[:1]):
            return annotation_name(part)
    return ""


# Called ---------------------------------------------------------------------------------------------------------------


def verdict_of(guard: Guard[Any], turn: Turn[Any]) -> bool | Refused:
    """Return the verdict of a guard.

    Raises:
        WrongCallback: It is neither a bool nor a `Refused`.
    """
    verdict: object = guard(turn)
    return verdict if isinstance(verdict, bool | Refused) else no_verdict(guard, turn, verdict)


def no_verdict(guard: Guard[Any], turn: Turn[Any], value: object) -> Never:
    """Raise the error of a guard that returned a value that is no verdict."""
    raise wrong("guard", guard, turn, value, VERDICT)


def text_of(slot: str, says: Said | Callable[[Turn[Any]], object], turn: Turn[Any]) -> Said:
    """Return the text of a slot `ask` or `say`, or another reply that the slot takes.

    Raises:
        WrongCallback: The function returned something else.
    """
    text: object = says(turn) if callable(says) else says
    if isinstance(text, Text):
        return text
    taken, wanted = (ASKED, ASK) if slot == "ask" else (SAID, SAY)
    if not isinstance(text, taken):
        assert callable(says)
        raise wrong(slot, says, turn, text, wanted)
    return text


def rows_of(rows: Callable[[Turn[Any]], object], turn: Turn[Any]) -> tuple[Row, ...]:
    """Return the rows that a state offers. One that is there twice counts once.

    Raises:
        WrongCallback: The function did not return rows, or two different ones with one id, so that a press of one
            could not be told from a press of the other.
    """
    given: object = rows(turn)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise wrong("rows", rows, turn, given, ROWS)
    found: dict[str, Row] = {}
    row: object
    for row in given:
        if not isinstance(row, Row):
            returned = f"{type(given).__name__} with a {type(row).__name__}"
            raise WrongCallback(called("rows", rows, turn), returned, ROWS)
        before = found.setdefault(row.id, row)
        if before is not row and (before != row or before.value != row.value):
            returned = f"{type(given).__name__} with two different rows of one id"
            raise WrongCallback(called("rows", rows, turn), returned, f"{ROWS} and an id of its own")
    return tuple(found.values())


def call_of(proposes: Callable[[Turn[Any]], object], turn: Turn[Any], slot: str = "call") -> Call[Any]:
    """Return the call that a function proposes.

    Raises:
        WrongCallback: The function did not return a `Call`.
    """
    proposed: object = proposes(turn)
    if not isinstance(proposed, Call):
        raise wrong(slot, proposes, turn, proposed, CALL)
    return proposed


def wrong(kind: str, callback: Callable[..., Any], turn: Turn[Any], value: object, wanted: str) -> WrongCallback:
    """Return the error of a callback that returned a value of a wrong type."""
    return WrongCallback(called(kind, callback, turn), type(value).__name__, wanted)


def called(kind: str, callback: Callable[..., Any], turn: Turn[Any]) -> str:
    """Return the kind, the name and the place of a callback, as an error names them."""
    return f"{kind} {name_of(callback)!r} of flow {turn.flow!r}, state {turn.state!r},"
