"""Threads that are used again. Senders are called in them, because to start a thread costs nearly as much as a turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

IDLE: Final = 8
"""The number of threads, about, that wait for further work. Others end with their work."""
LINGER: Final = 10.0
"""Seconds for which a thread waits for further work."""

_idle: list[SimpleQueue[Callable[[], object]]] = []


def in_thread(work: Callable[[], object]) -> None:
    """Do work in a daemon thread, one that waits for work or a new one. The work raises nothing.

    Raises:
        RuntimeError: No thread can be started.
    """
    try:
        given = _idle.pop()
    except IndexError:
        given = SimpleQueue()
        Thread(target=_run, args=(given,), name="vimbiso send", daemon=True).start()
    given.put(work)


def _run(given: SimpleQueue[Callable[[], object]]) -> None:
    while True:
        try:
            work = given.get(timeout=LINGER)
        except Empty:
            try:
                _idle.remove(given)
            except ValueError:  # it was taken just now, and work is coming
                continue
            return
        work()
        del work  # what it refers to is not kept while the thread waits
        if len(_idle) >= IDLE:
            return
        _idle.append(given)


def _forked() -> None:
    _idle.clear()  # a forked process has none of the threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
