"""Findings by calling a callback with the data that a run begins with, and a guest.

Only callbacks whose source shows nothing impure are called, and while one is called, nothing can be written, sent or
started. An exception is a finding only where no data could make it right: a name that is not defined, or an attribute
that the turn or its data never have.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import attrs

from vimbiso_fsm.check.code import is_pure, looks_at_nothing
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.guard_code import returns_nothing_at
from vimbiso_fsm.check.parts import Named, at, callbacks_of, flows_of
from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.errors import Misfit, UnstorableType, VimbisoError, WrongCallback
from vimbiso_fsm.flow.annotations import field_type
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import call_of, rows_of, text_of, verdict_of
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.flow.state_checks import may_be_empty
from vimbiso_fsm.flow.timeouts import fires_at
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages import readers
from vimbiso_fsm.messages.examples import examples_of
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.readers import ContentReader, TurnReader
from vimbiso_fsm.messages.refusals import Refused

NOW: Final = datetime(2027, 1, 4, 9, 30, tzinfo=UTC)
"""The instant of a probe."""
_GUESSES: Final = ("1", "hello", "x" * 40, "", "0.5", "2027-01-04", "yes")
"""Texts that a member may write; each reader takes or refuses them."""
_REACHING: Final = ("socket.", "subprocess.", "os.", "shutil.", "urllib.", "http.", "ftplib.", "smtplib.", "sqlite3.")


_PROBES: Final = ContextVar("vimbiso_fsm.check.probes", default=0)
"""The number of callbacks that this thread probes, one within another."""
_NOTHING: Final[Callable[[str, tuple[Any, ...]], object]] = dict[str, tuple[Any, ...]]().get
"""A function of C that takes an event with its arguments, and does nothing."""


class _Blocked(BaseException):
    """A callback that is probed tries to act outside. It is no `Exception`, so that no callback takes it for one."""


class _Gate:
    """Stops what a probed callback does outside, while it is closed. What other threads do meanwhile goes on.

    An audit hook cannot be removed once it is set. While no callback is probed, this one calls a function of C alone: a
    hook in Python would slow the process down for ever, and lets another thread run in the middle of `sys.settrace`,
    which Python 3.11 then refuses in that thread, so that under coverage a thread does not start now and then.
    """

    def __init__(self) -> None:
        self._hook = partial(_NOTHING)
        self._set = False
        self._probes = 0

    def __enter__(self) -> None:
        if not self._set:
            self._set = True
            sys.addaudithook(self._hook)
        self._probes += 1
        _PROBES.set(_PROBES.get() + 1)
        self._let_hook_call(_judge)

    def __exit__(self, *_: object) -> None:
        _PROBES.set(_PROBES.get() - 1)
        self._probes -= 1
        if not self._probes:
            self._let_hook_call(_NOTHING)

    def _let_hook_call(self, function: Callable[[str, tuple[Any, ...]], object]) -> None:
        self._hook.__setstate__((function, (), {}, None))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # typeshed leaves out what copy and pickle use


def _judge(event: str, arguments: tuple[Any, ...]) -> None:
    """Stop an event that acts outside, if this thread probes a callback."""
    if not _PROBES.get():
        return
    writes = event == "open" and len(arguments) > 1 and any(each in str(arguments[1] or "") for each in "wax+")
    if writes or (event.startswith(_REACHING) and event not in ("os.listdir", "os.scandir")):
        raise _Blocked(event)


_GATE: Final = _Gate()


def probe_findings(bot: Bot) -> Iterator[Finding]:
    """Yield what calling the callbacks of a bot shows."""
    seen: set[tuple[int, str, str]] = set()
    for named in callbacks_of(bot):
        key = id(named.callback), named.slot, named.flow.name
        if key not in seen and is_pure(named.callback):
            seen.add(key)
            yield from _probed(bot, named)
    for flow in flows_of(bot):
        for name in may_be_empty(flow):
            state = flow.by_name[name]
            if not (state.rows and looks_at_nothing(state.rows) and _called(state.rows, None)):
                fault, remedy = "it may have nothing to choose from", "say where 'empty' leads"
                yield at(flow, state.made, f"state {name!r}", "may-be-empty", fault, remedy)
        for state in flow.states:
            if callable(state.reads):
                yield from _read(Named(flow, f"state {state.name!r}", "reads", state.reads, state.made, state))
    yield from _shortcuts(bot)


def _probed(bot: Bot, named: Named) -> Iterator[Finding]:
    if named.slot in ("reads", "prepare", "input", "output", "reminds"):
        judge: Callable[[Turn[Any]], object] | None = None if named.slot == "reads" else named.callback
    else:
        judge = _judges(named)
    if judge is None:
        return
    found = _called(judge, _turn(bot, named))
    name = getattr(named.callback, "__name__", named.slot)
    if isinstance(found, WrongCallback) and named.slot == "guard" and returns_nothing_at(named.callback) is not None:
        return  # it is found in the code, in its line
    if isinstance(found, WrongCallback):
        fault = f"{named.slot} {name!r} returned a {found.returned}"
        yield named.finding(f"{named.kind}-returns-other", fault, f"let it return {found.wanted}")
    elif isinstance(found, NameError) or (isinstance(found, AttributeError) and _is_of_turn(found)):
        fault = f"{named.slot} {name!r} raises {type(found).__name__}: {found}"
        yield named.finding(f"{named.kind}-raises", fault, "correct the name")


def _judges(named: Named) -> Callable[[Turn[Any]], object]:
    callback, slot = named.callback, named.slot
    match slot:
        case "guard":
            return lambda turn: verdict_of(callback, turn)
        case "rows":
            return lambda turn: rows_of(callback, turn)
        case "call":
            return lambda turn: call_of(callback, turn)
        case "timeout":
            return lambda turn: fires_at(callback, turn)
        case _:
            return lambda turn: text_of(slot, callback, turn)


def _is_of_turn(error: AttributeError) -> bool:
    """Whether the attribute is missing at the turn, its member, its channel or data of a flow."""
    owner: object = error.obj
    return isinstance(owner, Turn | Member | Channel) or (owner is not None and attrs.has(type(owner)))


def _called(callback: Callable[..., object], *arguments: object) -> object:
    """Return the result of a callback, or the exception that it raises; None if it tries to act outside."""
    try:
        with _GATE:
            return callback(*arguments)
    except _Blocked:
        return None
    except BaseException as error:  # a callback may raise anything
        if is_interrupt(error):
            raise
        return error


def _turn(bot: Bot, named: Named) -> Turn[Any]:
    flow = named.flow
    member: Member[Any] = bot.typed(Member("guest"))
    return Turn(
        flow.data(), member, Channel("whatsapp", "263770000000"), NOW, flow.name, named.state.name,
        zone_of=bot.zone_for, proof_of=bot.proves, language_of=bot.language,
    )  # fmt: skip


def _read(named: Named) -> Iterator[Finding]:
    """Yield a reader that raises, or whose values its field cannot hold."""
    reader, state = named.callback, named.state
    if isinstance(reader, TurnReader | ContentReader) or not (is_pure(reader) or isinstance(reader, type)):
        return
    guesses = _GUESSES if getattr(reader, "__module__", "") != readers.__name__ else ()  # ours raise for no text
    for text in (*examples_of(reader), *state.examples, *guesses):
        value = _called(reader, text)
        name = getattr(reader, "__name__", "reads")
        if isinstance(value, BaseException):
            if not isinstance(value, VimbisoError):
                fault = f"reads {name!r} raises {type(value).__name__} for {text!r}"
                yield named.finding(
                    "reader-raises", fault, "let it return Refused(…), or take one of vimbiso_fsm.readers"
                )
            return
        if value is not None and not isinstance(value, Refused) and not _fits(named, state, value):
            wanted = getattr(field_type(named.flow.data, state.into or ""), "__name__", "another type")
            fault = (
                f"reads {name!r} makes a {type(value).__name__} of {text!r}, and field {state.into!r} takes {wanted}"
            )
            yield named.finding("reader-wrong-type", fault, "give the field that type, or the answer", named.made)
            return


def _fits(named: Named, state: AnyState, value: object) -> bool:
    wanted: Any = field_type(named.flow.data, state.into) if state.into else Any
    if wanted is Any:
        return True
    with contextlib.suppress(UnstorableType, TypeError):
        try:
            data_type(wanted).settled(value, state.into or "")
        except Misfit:
            return False
    return True


def _shortcuts(bot: Bot) -> Iterator[Finding]:
    """Yield shortcuts that do not read their own examples."""
    for shortcut in (*bot.shortcuts, *bot.linked.values()):
        if shortcut.flow not in flows_of(bot):
            continue
        for example in shortcut.examples:
            answers = _called(shortcut.reads, example)
            if answers is None or isinstance(answers, BaseException | str):
                problem = (
                    "does not read it"
                    if answers is None
                    else "raises"
                    if isinstance(answers, BaseException)
                    else "returns a text"
                )
                fault = f"its example is {example!r}, and reads {problem}"
                remedy = "let reads return a list of answers for it, or correct the example"
                flow = shortcut.flow.name
                yield Finding.at(shortcut.made, "shortcut-cannot-parse", fault, remedy, flow=flow, place="shortcut")
                break
