"""Share a sync manager among many threads, and count the turns that each of them made.

`make bench ARGS="--threads 40"` runs it, with `--of cluster` or `--of sentinel` on those. A fair manager lets each
thread make about as many turns as any other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from statistics import median

import attrs

from tests.bench.conversation import TILL, Conversation, advanced
from vimbiso_fsm import FlowStateManager

__all__ = ["Shares", "share_out"]


@attrs.frozen
class Shares:
    """The turns of each thread, the errors by class, and the seconds that it took."""

    turns: tuple[int, ...]
    errors: Counter[str]
    seconds: float

    @property
    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        least, most = min(self.turns), max(self.turns)
        yield f"threads   {len(self.turns)} on one manager, {self.seconds:.1f} s"
        yield f"turns     {sum(self.turns) / self.seconds:,.0f} a second"
        yield f"a thread  {least} to {most}, median {median(self.turns):.0f}; least over most {least / most:.2f}"
        yield f"errors    {', '.join(f'{number} {name}' for name, number in self.errors.items()) or 'none'}"


def share_out(url: str, threads: int, seconds: float) -> Shares:
    """Let threads make turns, each for members of its own, for a number of seconds."""
    turns, errors = [0] * threads, Counter[str]()
    ready, go = threading.Barrier(threads + 1), threading.Event()
    with FlowStateManager.from_url(url, TILL.bot, namespace=TILL.namespace, rates=None) as manager:

        def work(number: int) -> None:
            member = Conversation(TILL, number)
            for message in member.opening:
                manager.handle(message)
            ready.wait()
            go.wait()
            while time.perf_counter() < until:
                try:
                    advanced(manager.handle(next(member)))
                except Exception as error:  # errors are what is counted
                    errors[type(error).__name__] += 1
                turns[number] += 1

        workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(threads)]
        for worker in workers:
            worker.start()
        ready.wait()
        began = time.perf_counter()
        until = began + seconds
        go.set()
        for worker in workers:
            worker.join()
        return Shares(tuple(turns), errors, time.perf_counter() - began)
