"""`vimbiso worker`: run due work: timers, session expiry, expired leases, pending deliveries."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from vimbiso_fsm.archive.keeping import HOT_DAYS, HOT_KEPT
from vimbiso_fsm.cli.archive_options import Archive, HotDays, HotEntries, archiving_of
from vimbiso_fsm.cli.bot_options import Flows, import_bot, import_function
from vimbiso_fsm.cli.failures import fail, misuse
from vimbiso_fsm.cli.otel import Otel, exported
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.services import Inboxes, Senders, Services, made, with_async_services
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, require_store
from vimbiso_fsm.cli.worker_options import (
    METRICS_TOKEN,
    Deliver,
    Durable,
    Every,
    LogForm,
    MemoryAlarm,
    ShardLease,
    UnsafeStore,
    log_to_stderr,
    manager_maker,
)
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.runtime.worker import INTERVAL, AsyncWorker
from vimbiso_fsm.store.doctor import MEMORY_ALARM
from vimbiso_fsm.store.retention import SHARD_LEASE

if TYPE_CHECKING:
    from vimbiso_fsm.runtime.measures import Measures
    from vimbiso_fsm.web.metrics import OpenMetrics

_log = logging.getLogger("vimbiso_fsm.worker")


def worker(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    services: Services = None,
    senders: Senders = None,
    inboxes: Inboxes = None,
    deliver: Deliver = None,
    durability: Durable = "local",
    unsafe_store: UnsafeStore = False,
    every: Every = INTERVAL,
    lease: ShardLease = SHARD_LEASE,
    memory_alarm: MemoryAlarm = MEMORY_ALARM,
    archive: Archive = None,
    hot_entries: HotEntries = HOT_KEPT,
    hot_days: HotDays = HOT_DAYS,
    metrics: Annotated[float, typer.Option("--metrics", min=0.1, help="Seconds between two lines of metrics.")] = 60.0,
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="[HOST:]PORT", help="Serve /healthz, /readyz and /metrics there."),
    ] = None,
    otel: Otel = False,
    log: LogForm = "text",
) -> None:
    """Run timers, session expiry and pending deliveries, and move older audit entries to an archive.

    Any number of workers may run on any number of machines; each takes a share of the members. A bot can also run the
    same loop in its own process. The worker ends in order, with exit code 0, on SIGTERM and on Ctrl-C. With --http,
    VIMBISO_METRICS_TOKEN is the token of /metrics, and a second signal ends it at once. With --otel, spans and metrics
    go to the collector that the variables of OpenTelemetry name.
    """
    require_store(redis, data)
    bot, archiving = import_bot(flows), archiving_of(archive, hot_entries, hot_days)
    deliverer = None if deliver is None else import_function("--deliver", deliver)
    pages = None if http is None else _pages(http)
    kind: type[AsyncFlowStateManager] = AsyncFlowStateManager
    measures: list[Measures] = [] if pages is None else [pages.figures]
    if otel or measures:
        from vimbiso_fsm.runtime.measured import AsyncMeasuredManager

        kind = AsyncMeasuredManager
    make_manager = manager_maker(kind, redis, data, namespace, durability, unsafe_store, archiving)

    async def manager(bot: Bot, closing: AsyncExitStack) -> AsyncFlowStateManager:
        sending = await made("--senders", senders, "senders", closing)
        taking = await made("--inboxes", inboxes, "inboxes", closing)
        measured = {"measures": measures} if measures else {}
        return make_manager(bot, deliver=deliverer, senders=sending, inboxes=taking, **measured)

    make_worker = partial(AsyncWorker, every=every, lease=lease, memory_alarm=memory_alarm)

    async def work() -> None:
        async with AsyncExitStack() as closing:
            made_bot = await with_async_services(bot, services, closing)
            opened = await closing.enter_async_context(await manager(made_bot, closing))
            await opened.start()
            worker = make_worker(opened)
            logging_metrics = asyncio.ensure_future(_log_metrics(worker, metrics))
            try:
                await (_run(worker) if pages is None else pages.run(opened, worker))
            finally:
                logging_metrics.cancel()
                with suppress(asyncio.CancelledError):
                    await logging_metrics
            _log.info("%s stopped: %s", worker.name, str(worker.metrics))

    try:
        with log_to_stderr(log), exported(otel) as telemetry:
            measures += telemetry
            asyncio.run(work())
    except (VimbisoError, ModuleNotFoundError) as error:  # the extra of an archive in a database
        fail(error)


async def _run(worker: AsyncWorker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    _log.info("%s started", worker.name)
    await worker.run()


@attrs.frozen
class _Pages:
    """The pages for operators of a worker."""

    figures: OpenMetrics
    token: str = attrs.field(repr=False)
    listening: Any
    bound: Any

    async def run(self, manager: AsyncFlowStateManager, worker: AsyncWorker) -> None:
        """Run the worker, and serve the pages meanwhile."""
        from vimbiso_fsm.web.operators import operator_app
        from vimbiso_fsm.web.serving import Stop, serve

        self.figures.watch_worker(worker)
        stop = Stop()
        with stop.signals():
            _log.info("%s started", worker.name)
            _log.info("%s serves %s", worker.name, self.listening.address(self.bound))
            app = operator_app(manager, worker, self.figures, self.token)
            await serve(app, worker, self.bound, self.listening, stop)


def _pages(http: str) -> _Pages:
    """Return the pages at an address. What is wrong with it ends the command."""
    try:
        from vimbiso_fsm.web.metrics import OpenMetrics
        from vimbiso_fsm.web.operators import fault_of_token
        from vimbiso_fsm.web.serving import Listening
        from vimbiso_fsm.web.settings import Fault, secret_of
    except ModuleNotFoundError as missing:
        fail(f"--http needs {missing.name}; run: pip install 'vimbiso_fsm[serve]'")
    host, _, port = http.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise typer.BadParameter(f"{shown(http)} is not [HOST:]PORT", param_hint="--http")
    token = secret_of(METRICS_TOKEN, os.environ)
    fault = token if isinstance(token, Fault) else fault_of_token(METRICS_TOKEN, token)
    if fault:
        misuse(fault)
    listening = Listening(host.strip("[]") or "127.0.0.1", int(port))
    try:
        return _Pages(OpenMetrics(), str(token), listening, listening.bind())
    except OSError as error:
        fail(f"--http {shown(http)} cannot be listened at: {error.strerror}; give another one")


async def _log_metrics(worker: AsyncWorker, seconds: float) -> None:
    """Log the counts of a worker again and again, as a warning when work has failed since the line before."""
    failed = 0
    while True:
        await asyncio.sleep(seconds)
        metrics, before = worker.metrics, failed
        failed = metrics.failed + metrics.undelivered.total()
        _log.log(logging.WARNING if failed > before else logging.INFO, "%s: %s", worker.name, str(metrics))
