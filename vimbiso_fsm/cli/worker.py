"""`vimbiso worker`: run due work: timers, session expiry, expired leases, pending deliveries."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Annotated

import typer

from vimbiso_fsm.archive.keeping import HOT_DAYS, HOT_KEPT
from vimbiso_fsm.cli.archive_options import Archive, HotDays, HotEntries, archiving_of
from vimbiso_fsm.cli.bot_options import Flows, import_bot, import_function
from vimbiso_fsm.cli.doctor import level
from vimbiso_fsm.cli.encryption_options import encryption_of_environment
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.services import Inboxes, Senders, Services, made, with_async_services
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, require_store, secrets_of_environment
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.runtime.worker import INTERVAL, AsyncWorker
from vimbiso_fsm.store.doctor import MEMORY_ALARM
from vimbiso_fsm.store.retention import LONGEST_LEASE, SHARD_LEASE


def worker(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    services: Services = None,
    senders: Senders = None,
    inboxes: Inboxes = None,
    deliver: Annotated[
        str | None,
        typer.Option(
            "--deliver",
            metavar="MODULE:FUNCTION",
            help="deliver(channel, replies), sync or async, sends what no sender sends. Without it that waits for "
            "the next message.",
        ),
    ] = None,
    durability: Annotated[
        str,
        typer.Option(
            "--durability", metavar="local|replicated", help="What an answered turn must survive; see doctor."
        ),
    ] = "local",
    unsafe_store: Annotated[
        bool, typer.Option("--unsafe-store", help="Start on a server that the doctor refuses; an incident records it.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.01, help="Seconds between two searches for due work.")
    ] = INTERVAL,
    lease: Annotated[
        float,
        typer.Option(
            "--lease", min=0.1, max=LONGEST_LEASE, help="Seconds after which another worker replaces one that has died."
        ),
    ] = SHARD_LEASE,
    memory_alarm: Annotated[
        float,
        typer.Option(
            "--memory-alarm", metavar="SHARE", min=0.01, max=1.0, help="Share of a server's memory from which it warns."
        ),
    ] = MEMORY_ALARM,
    archive: Archive = None,
    hot_entries: HotEntries = HOT_KEPT,
    hot_days: HotDays = HOT_DAYS,
    metrics: Annotated[float, typer.Option("--metrics", min=0.1, help="Seconds between two lines of metrics.")] = 60.0,
) -> None:
    """Run timers, session expiry and pending deliveries, and move older audit entries to an archive.

    Any number of workers may run on any number of machines; each takes a share of the members. A bot can also run the
    same loop in its own process. The worker ends in order, with exit code 0, on SIGTERM and on Ctrl-C.
    """
    require_store(redis, data)
    promised, bot, secret = level(durability), import_bot(flows), secrets_of_environment()
    encryption, archiving = encryption_of_environment(), archiving_of(archive, hot_entries, hot_days)
    deliverer = None if deliver is None else import_function("--deliver", deliver)

    async def manager(bot: Bot, closing: AsyncExitStack) -> AsyncFlowStateManager:
        sending = await made("--senders", senders, "senders", closing)
        taking = await made("--inboxes", inboxes, "inboxes", closing)
        if data is not None:
            return AsyncFlowStateManager.embedded(
                data,
                bot,
                namespace=namespace,
                secret=secret,
                deliver=deliverer,
                senders=sending,
                inboxes=taking,
                encryption=encryption,
                archive=archiving,
            )
        return AsyncFlowStateManager.from_url(
            str(redis),
            bot,
            durability=promised,
            unsafe_store=unsafe_store,
            namespace=namespace,
            secret=secret,
            deliver=deliverer,
            senders=sending,
            inboxes=taking,
            encryption=encryption,
            archive=archiving,
        )

    make_worker = partial(AsyncWorker, every=every, lease=lease, memory_alarm=memory_alarm)
    try:
        asyncio.run(_work(bot, services, manager, make_worker, metrics))
    except (VimbisoError, ModuleNotFoundError) as error:  # the extra of an archive in a database
        fail(error)


async def _work(
    bot: Bot,
    services: str | None,
    make: Callable[[Bot, AsyncExitStack], Awaitable[AsyncFlowStateManager]],
    make_worker: Callable[[AsyncFlowStateManager], AsyncWorker],
    metrics: float,
) -> None:
    async with AsyncExitStack() as closing:
        bot = await with_async_services(bot, services, closing)
        manager = await closing.enter_async_context(await make(bot, closing))
        await manager.start()
        worker = make_worker(manager)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        _print(worker.name, "started")
        printing = asyncio.ensure_future(_print_metrics(worker, metrics))
        try:
            await worker.run()
        finally:
            printing.cancel()
            with suppress(asyncio.CancelledError):
                await printing
        _print(worker.name, f"stopped {worker.metrics}")


async def _print_metrics(worker: AsyncWorker, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        _print(worker.name, str(worker.metrics))


def _print(*words: str) -> None:
    print(" ".join(words) + "\n", end="", flush=True)  # one write, because deliveries may print from another thread
