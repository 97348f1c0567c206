"""The watchdog: it reports callbacks that take long, and ends those that never end.

An operation runs pure code between two effects: it decides, and calls the callbacks of the author. A manager notes such
a stretch in `RUNNING`, which is one assignment, and a thread of the process looks at the notes several times a second
while there are any. A stretch that it sees again and again is late. The callback is then found in the frames of the
thread that runs it, so that a turn that is not late pays nothing for it.

A callback that takes too long is ended by an exception that is raised in its thread, `CallbackStopped`. It may come at
any instruction of the stretch. That is safe, because a stretch is pure: nothing of it is stored yet. `decide` takes it
for the failure of a callback; elsewhere it ends the operation. It must not come after the stretch, so both sides follow
a protocol:

    the watchdog, with `_striking`   marks the stretch, then looks whether it is still the one that runs, then raises
    the thread, after the stretch    notes that none runs, then looks whether the stretch is marked. If it is, it waits
                                     for `_striking`, and then for the exception (`settle`)

Either the watchdog sees that the stretch is over, or the thread sees the mark. An instruction in C is not interrupted:
a callback that sleeps is ended when it wakes, and is reported again and again until then.

Time is counted in looks and not by a clock, so that a process that was stopped, or gets no time, is not late.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from types import FrameType
from typing import Any, Final, TypeAlias
from weakref import WeakSet

import attrs

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.flow.interrupts import CallbackStopped, is_interrupt
from vimbiso_fsm.messages.bounds import check_seconds
from vimbiso_fsm.messages.value import Value

INTERVAL: Final = 0.25
"""Seconds between two looks."""
IDLE_END: Final = 10.0
"""Seconds without any stretch after which the thread ends. The next stretch starts another one."""
LONGEST_SILENCE: Final = 60.0
"""The longest time between two reports of the same callback, in seconds."""

_log = logging.getLogger("vimbiso_fsm")


@attrs.frozen(eq=False, repr=False)
class SlowCallback(Value):
    """A callback that takes long.

    Attributes:
        callback: The name of the function as it is in the code.
        slot: What it is in the flow, such as "guard", "ask" or "reads"; "" where that is not known.
        flow: The name of the flow, and `state` the state, "" where they are not known.
        state: The name of the state.
        where: The places in the code where it is now, the innermost last.
        seconds: The seconds for which it has run, at least.
        stopped: Whether it is being ended.
    """

    callback: str
    slot: str
    flow: str
    state: str
    where: tuple[str, ...]
    seconds: float
    stopped: bool


def _untold(slow: SlowCallback) -> None:
    return None


@attrs.frozen(eq=False, repr=False)
class Watchdog(Value):
    """The bounds of the time that callbacks may take: `FlowStateManager(…, watchdog=Watchdog(warn=0.5))`.

    Attributes:
        warn: Seconds after which a callback is reported to the log, and again after twice the time.
        stop: Seconds after which it is ended and the turn fails; None never ends it. An end may come in the middle of
            any code that the callback runs, as that of Ctrl-C does; a lock that it holds by `acquire()` stays held.
        told: Called with each report, in a thread of its own.

    Raises:
        FlowError: A bound is no number or out of range.
    """

    warn: float = 1.0
    stop: float | None = 10.0
    told: Callable[[SlowCallback], None] = _untold

    def __attrs_post_init__(self) -> None:
        check_seconds("Watchdog", "warn", self.warn)
        if self.stop is not None:
            check_seconds("Watchdog", "stop", self.stop)


class Watched:
    """A manager whose callbacks are watched.

    Attributes:
        bounds: The bounds.
        count: Called with each report, for a metric.
    """

    __slots__ = ("__weakref__", "bounds", "count")

    def __init__(self, bounds: Watchdog) -> None:
        self.bounds = bounds
        self.count: Callable[[SlowCallback], None] = _untold


Stretch: TypeAlias = list[Any]
"""A stretch of pure code: the `Watched` manager, and whether the watchdog has marked it; each one is a new list."""

NO_STRETCH: Final[Stretch] = [None, False]
RUNNING: Final[dict[int, Stretch]] = {}
"""The stretch that each thread runs, by the thread's identifier; `NO_STRETCH` between two of them."""

_striking = threading.Lock()


def settle() -> None:
    """Let the exception come that the watchdog may have raised in this thread. To be called after a marked stretch.

    The interpreter raises it at the next call or jump. It is not withdrawn: CPython would go on looking for it for
    ever, which slows every call down, and where a tracer runs, no call would begin any more.

    Raises:
        CallbackStopped: It had not come yet.
    """
    with _striking:
        pass
    for _ in range(8):
        _nothing()


def _nothing() -> None:
    return None


def _raise_in(ident: int, error: type[BaseException]) -> None:
    """Raise an exception in a thread at its next instruction."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error))


@contextmanager
def watching(watched: Watched | None) -> Generator[None]:
    """Let the watchdog look at the code of a block, which is one stretch. It changes nothing that would stay halfway.

    Raises:
        CallbackStopped: The block took longer than the bound `stop`.
    """
    if watched is None:
        yield
        return
    if not LOOKER.runs:
        LOOKER.start()
    ident, stretch = threading.get_ident(), [watched, False]
    RUNNING[ident] = stretch
    try:
        yield
    finally:
        RUNNING[ident] = NO_STRETCH
        if stretch[1]:
            settle()


class _Late:
    """A stretch that was seen more than once.

    Attributes:
        stretch: The stretch.
        looks: How often it was seen since.
        report_at: The seconds after which it is reported next.
        strike_at: The seconds after which it is ended next.
    """

    __slots__ = ("looks", "report_at", "stretch", "strike_at")

    def __init__(self, stretch: Stretch) -> None:
        bounds = stretch[0].bounds
        self.stretch, self.looks = stretch, 0
        self.report_at: float = bounds.warn
        self.strike_at: float | None = bounds.stop


def _frames() -> Mapping[int, FrameType]:
    """Return the current frame of each thread, by the thread's identifier.

    The interpreter holds its lock of all threads meanwhile. A collection of garbage that begins there can free a
    `threading.local`, which waits for the same lock, so that the process stands still for ever.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if collects:
            gc.enable()


class _Looker:
    """The thread that looks at the stretches of all managers of the process.

    Attributes:
        runs: Whether the thread runs.
    """

    def __init__(self) -> None:
        self.runs = False
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._open: WeakSet[Watched] = WeakSet()
        self._late: dict[int, _Late] = {}

    def watch(self, bounds: Watchdog | None) -> Watched | None:
        """Return the note of a manager whose callbacks are watched; None if they are not."""
        if bounds is None:
            return None
        watched = Watched(bounds)
        self._open.add(watched)
        return watched

    def leave(self, watched: Watched | None) -> None:
        """Take note that a manager is closed. The last one ends the thread."""
        if watched is not None:
            self._open.discard(watched)
            if not self._open:
                self._stop()

    def start(self) -> None:
        """Start the thread, unless it runs. If it cannot be started, the next stretch tries it again."""
        with self._guard:
            if self.runs:
                return
            self._wake = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._wake,), name="vimbiso watchdog", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the process can start no further thread
                return
            self.runs = True

    def _stop(self) -> None:
        """End the thread, and wait for its end. A stretch that begins starts another one."""
        with self._guard:
            thread, self._thread = self._thread, None
            if not self.runs or thread is None:
                return
            self.runs = False
            self._wake.set()
        if thread is not threading.current_thread():
            thread.join()

    def _run(self, ends: threading.Event) -> None:
        idle = 0.0
        while not ends.wait(INTERVAL):
            try:
                self.look()
            except Exception:  # noqa: BLE001  # a look at the frames of other threads must not end the thread
                _log.exception("the watchdog failed at a look")
            idle = 0.0 if self._is_needed() else idle + INTERVAL
            if idle >= IDLE_END and self._ends():
                return

    def _is_needed(self) -> bool:
        return any(stretch is not NO_STRETCH for stretch in list(RUNNING.values()))

    def _ends(self) -> bool:
        """End the thread, unless a stretch has begun meanwhile, which has seen that the thread runs."""
        with self._guard:
            if self._wake.is_set():
                return True
            self.runs = False
            if self._is_needed():
                self.runs = True
            return not self.runs

    def look(self) -> None:
        """Look once at all stretches: report the late ones, and end those that take too long."""
        threads = _frames()
        for ident, stretch in list(RUNNING.items()):
            late = self._late.get(ident)
            if stretch is NO_STRETCH:
                self._late.pop(ident, None)
                if ident not in threads and RUNNING.get(ident) is NO_STRETCH:
                    RUNNING.pop(ident, None)
            elif late is None or late.stretch is not stretch:
                self._late[ident] = _Late(stretch)
            else:
                late.looks += 1
                self._judge(ident, late, threads.get(ident))

    def _judge(self, ident: int, late: _Late, frame: FrameType | None) -> None:
        seconds = late.looks * INTERVAL
        strikes = late.strike_at is not None and seconds >= late.strike_at
        if not strikes and seconds < late.report_at:
            return
        slow = _described(frame, seconds, stopped=strikes)
        if strikes:
            late.strike_at = seconds + late.stretch[0].bounds.stop
            slow = attrs.evolve(slow, stopped=_strike(ident, late.stretch))
        late.report_at = seconds + min(seconds, LONGEST_SILENCE)
        _report(late.stretch[0], slow)


def _strike(ident: int, stretch: Stretch) -> bool:
    """End a stretch, unless it is over; return whether it was not."""
    with _striking:
        stretch[1] = True
        runs = RUNNING.get(ident) is stretch
        if runs:
            _raise_in(ident, CallbackStopped)
    return runs


def _report(watched: Watched, slow: SlowCallback) -> None:
    facts = attrs.asdict(slow)
    _log.warning("a callback is ended: %s" if slow.stopped else "a callback takes long: %s", facts)
    for told in (watched.bounds.told, watched.count):
        try:
            told(slow)
        except BaseException as error:  # a report can break nothing
            if is_interrupt(error):
                raise
            _log.error("the observer of slow callbacks failed: %s", error_record(error, ""))


# The callback in the frames -------------------------------------------------------------------------------------------

_PACKAGE: Final = __name__.partition(".")[0]
_LIBRARIES: Final = frozenset({_PACKAGE, "transitions", "attr", "attrs", "cattrs", "functools", "contextlib"})
_SLOTS: Final = {
    "verdict_of": "guard",
    "judge": "guard",
    "text_of": "",
    "call_of": "",
    "rows_of": "rows",
    "_made": "prepare",
    "_read": "reads",
    "fires_at": "timeout",
    "member_zone": "zone_of",
    "update": "change",
    "tell": "observer",
}
"""What a callback is, by the function of this library that calls it; "" if its argument `slot` says it."""


def _described(frame: FrameType | None, seconds: float, *, stopped: bool) -> SlowCallback:
    """Return what is known of the callback that a thread runs, from its innermost frame."""
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    ours = [number for number, each in enumerate(frames) if _package(each) == _PACKAGE]
    frames = frames[ours[0] :] if ours else frames
    slot = flow = state = ""
    author: list[FrameType] = []
    for each in frames:
        if _package(each) not in _LIBRARIES:
            author.append(each)
        elif not author:
            slot = _SLOTS.get(each.f_code.co_name, slot) or str(each.f_locals.get("slot", ""))
            flow, state = _place(each) or (flow, state)
    found = author or frames[-1:]
    return SlowCallback(
        callback=found[0].f_code.co_qualname if found else "",
        slot=slot,
        flow=flow,
        state=state,
        where=tuple(f"{PurePath(f.f_code.co_filename).name}:{f.f_lineno} {f.f_code.co_name}" for f in found[-4:]),
        seconds=seconds,
        stopped=stopped,
    )


def _package(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""


def _place(frame: FrameType) -> tuple[str, str] | None:
    """Return the flow and the state that a frame of this library works on, by its turn or its draft."""
    known = frame.f_locals
    turn = known.get("turn")
    if turn is not None and hasattr(turn, "flow") and hasattr(turn, "state"):
        return str(turn.flow), str(turn.state)
    run = getattr(known.get("draft"), "run", None)
    return (run.flow, run.step) if run is not None else None


# The process ----------------------------------------------------------------------------------------------------------

LOOKER: Final = _Looker()


def _forget() -> None:
    """Forget the threads of the parent process, which do not run in a forked one."""
    global _striking  # noqa: PLW0603  # a lock that was held when the process forked is never released
    _striking = threading.Lock()
    RUNNING.clear()
    LOOKER.__init__()  # type: ignore[misc]  # it begins anew, and all managers refer to it


os.register_at_fork(after_in_child=_forget)
