"""`vimbiso worker`: timers, ends of sessions, calls that nobody ended and replies that wait, without a message."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import Annotated, Any

import typer

from vimbiso_fsm.cli.doctor import level
from vimbiso_fsm.cli.plain_text import clean, shown
from vimbiso_fsm.cli.store_options import Core, Data, Flows, Redis, fail, import_bot, talking_to
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.runtime.worker import EVERY, LEASE, AsyncWorker


def worker(
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    core: Core = None,
    deliver: Annotated[
        str | None,
        typer.Option(
            "--deliver",
            metavar="MODULE:NAME",
            help="A function deliver(channel, replies), sync or async. Without it replies wait for the next message.",
        ),
    ] = None,
    durability: Annotated[
        str, typer.Option("--durability", metavar="local|replicated", help="What a turn that was answered survives.")
    ] = "local",
    unsafe_store: Annotated[
        bool, typer.Option("--unsafe-store", help="Start on a server that the doctor refuses; the audit says so.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.01, help="Seconds between two looks at what is due.")
    ] = EVERY,
    lease: Annotated[
        float, typer.Option("--lease", min=0.1, help="Seconds after which another takes over from a worker that died.")
    ] = LEASE,
    metrics: Annotated[float, typer.Option("--metrics", min=0.1, help="Seconds between two lines of metrics.")] = 60.0,
) -> None:
    """Do what is due at members though nobody says anything.

    Any number may run, on any number of machines; each looks after a part of the members, and a bot may run the same
    loop in its own process. It ends in order, with exit code 0, on SIGTERM and on Ctrl-C.
    """
    if (redis is None) == (data is None):
        raise typer.BadParameter("give one of --redis URL and --data DIR")
    if data is not None and not data.is_dir():
        fail(f"there is no folder {data}")
    promised, bot, takes = level(durability), import_bot(flows), _delivery(deliver)

    def manager(bot: Bot) -> AsyncFlowStateManager:
        if data is not None:
            return AsyncFlowStateManager.embedded(data, bot, deliver=takes)
        return AsyncFlowStateManager.from_url(
            str(redis), bot, durability=promised, unsafe_store=unsafe_store, deliver=takes
        )

    try:
        with ExitStack() as closing:
            talking = talking_to(core, bot, closing)
            asyncio.run(_work(lambda: manager(talking), every, lease, metrics))
    except VimbisoError as error:
        fail(error)


def _delivery(named: str | None) -> Callable[..., Any] | None:
    """The function that `MODULE:NAME` names."""
    if named is None:
        return None
    module, _, name = named.partition(":")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        fail(f"--deliver: the module {shown(module)} cannot be imported: {clean(str(error))}")
    if not callable(found):
        raise typer.BadParameter(f"--deliver: {shown(named)} names no function; write MODULE:NAME")
    function: Callable[..., Any] = found
    return function


async def _work(make: Callable[[], AsyncFlowStateManager], every: float, lease: float, metrics: float) -> None:
    async with make() as manager:
        await manager.start()
        worker = AsyncWorker(manager, every=every, lease=lease)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        _say(worker.name, "started")
        telling = asyncio.ensure_future(_tell(worker, metrics))
        try:
            await worker.run()
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        _say(worker.name, f"stopped {worker.metrics}")


async def _tell(worker: AsyncWorker, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        _say(worker.name, str(worker.metrics))


def _say(*words: str) -> None:
    print(*words, flush=True, file=sys.stdout)
