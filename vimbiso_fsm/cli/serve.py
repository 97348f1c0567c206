"""`vimbiso serve`: the webhooks of the channels and the worker in one process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
import typer

from vimbiso_fsm.archive.keeping import HOT_DAYS, HOT_KEPT
from vimbiso_fsm.cli.archive_options import Archive, HotDays, HotEntries, archiving_of
from vimbiso_fsm.cli.bot_options import Flows, import_bot, import_function
from vimbiso_fsm.cli.failures import fail, misuse
from vimbiso_fsm.cli.otel import Otel, exported
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.services import Inboxes, Senders, Services, made, with_async_services
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, require_one_store
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
from vimbiso_fsm.runtime.worker import INTERVAL
from vimbiso_fsm.store.doctor import MEMORY_ALARM
from vimbiso_fsm.store.retention import SHARD_LEASE

if TYPE_CHECKING:
    from vimbiso_fsm.runtime.measured import AsyncMeasuredManager
    from vimbiso_fsm.runtime.measures import Measures
    from vimbiso_fsm.web.deployment import Deployed
    from vimbiso_fsm.web.serving import Listening

BASE_URL: Final = "VIMBISO_BASE_URL"
"""The environment variable with the address of the app, as channels call it."""

_log = logging.getLogger("vimbiso_fsm.serve")


def serve(
    flows: Flows = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url",
            metavar="URL",
            envvar=BASE_URL,
            show_envvar=False,
            help="The address as channels call it, such as https://bot.example.org.",
        ),
    ] = "",
    host: Annotated[
        str, typer.Option("--host", envvar="VIMBISO_HOST", show_envvar=False, help="The address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", envvar="VIMBISO_PORT", show_envvar=False, min=0, max=65535, help="The port; 0 for a free one."
        ),
    ] = 8000,
    proxies: Annotated[
        str,
        typer.Option(
            "--proxies",
            metavar="ADDRESSES",
            envvar="VIMBISO_PROXIES",
            show_envvar=False,
            help="Addresses or networks of proxies whose X-Forwarded-For counts, separated by commas.",
        ),
    ] = "",
    grace: Annotated[
        float, typer.Option("--grace", min=1, help="Seconds for the requests on their way when it is told to stop.")
    ] = 30.0,
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
    otel: Otel = False,
    log: LogForm = "text",
) -> None:
    """Serve the webhooks of channels, and run the worker, in one process.

    A channel is served if its variables are set: VIMBISO_WHATSAPP_…, VIMBISO_TELEGRAM_…, VIMBISO_TWILIO_…,
    VIMBISO_REST_SECRETS and VIMBISO_CHAT_SECRETS. Secrets stand in the environment, or in a file that it names as
    @FILE. VIMBISO_METRICS_TOKEN is the token of /metrics. With --otel, spans and metrics go to the collector that the
    variables of OpenTelemetry name. The folder of --data is made. It ends in order, with exit code 0, on SIGTERM and on
    Ctrl-C; a second one ends it at once. Exit code 2 means wrong settings, with which it need not be started again.
    """
    try:
        from vimbiso_fsm.runtime.measured import AsyncMeasuredManager
        from vimbiso_fsm.web.deployment import deployed
        from vimbiso_fsm.web.serving import Listening
    except ModuleNotFoundError as missing:
        fail(f"the command serve needs {missing.name}; run: pip install 'vimbiso_fsm[serve]'")
    require_one_store(redis, data)
    bot, found = import_bot(flows), deployed(os.environ)
    settings = _settings(found, base_url)
    if deliver is not None and found.chat is not None:
        misuse("--deliver and VIMBISO_CHAT_SECRETS name two ways to deliver; give --senders for types of your own")
    archiving = archiving_of(archive, hot_entries, hot_days)
    deliverer = None if deliver is None else import_function("--deliver", deliver)
    make = manager_maker(AsyncMeasuredManager, redis, data, namespace, durability, unsafe_store, archiving)
    listening = Listening(host, port, proxies, grace)
    try:
        bound = listening.bind()
    except OSError as error:
        fail(f"--host {shown(host)} --port {port} cannot be listened at: {error.strerror}; give another one")
    process = _Process(
        found, settings, listening, bound, make, deliverer, services, senders, inboxes, every, lease, memory_alarm
    )
    try:
        with bound, log_to_stderr(log), exported(otel) as telemetry:
            process.telemetry.extend(telemetry)
            if data is not None:
                _log.info("the store is the folder %s, of this machine; --redis URL is one for several machines", data)
            asyncio.run(process.run(bot))
    except (VimbisoError, ModuleNotFoundError) as error:  # the extra of an archive in a database
        fail(error)


@attrs.frozen
class _Settings:
    """The settings of the app beside its channels."""

    base_url: str
    metrics_token: str = attrs.field(repr=False)


def _settings(found: Deployed, base_url: str) -> _Settings:
    """Return the settings of the app. What is missing or wrong of all settings ends the command, by name and remedy."""
    from vimbiso_fsm.web.deployment import OFFERED
    from vimbiso_fsm.web.operators import fault_of_token
    from vimbiso_fsm.web.settings import Fault, is_app_address, secret_of

    faults = [*found.faults]
    if not found.offered and not faults:
        names = "; ".join(f"{each.title}: {', '.join(v.name for v in each.variables if v.needed)}" for each in OFFERED)
        misuse(f"no channel is asked for, so nothing would be served; set the variables of one – {names}")
    if base_url and not is_app_address(base_url):
        faults.append(Fault(BASE_URL, "is not the address of the app", "set it to https://HOST"))
    elif not base_url and found.signs_address:
        faults.append(
            Fault(BASE_URL, "is missing, and Twilio and the web chat prove themselves by it", "set it to https://HOST")
        )
    token = secret_of(METRICS_TOKEN, os.environ)
    wrong = token if isinstance(token, Fault) else fault_of_token(METRICS_TOKEN, token)
    if wrong is not None:
        faults.append(wrong)
    if faults:
        number = "one setting is" if len(faults) == 1 else f"{len(faults)} settings are"
        misuse("\n  ".join((f"{number} missing or wrong:", *map(str, faults))))
    return _Settings(base_url, token if isinstance(token, str) else "")


@attrs.frozen
class _Process:
    """What is run, once all settings are known."""

    found: Deployed
    settings: _Settings
    listening: Listening
    bound: socket.socket
    make: Callable[..., AsyncMeasuredManager]
    deliver: Callable[..., Any] | None
    services: str | None
    senders: str | None
    inboxes: str | None
    every: float
    lease: float
    memory_alarm: float
    telemetry: list[Measures] = attrs.field(factory=list["Measures"])

    async def run(self, bot: Bot) -> None:
        """Serve until the process is told to stop."""
        from vimbiso_fsm.web.serving import Stop

        stop, task = Stop(), asyncio.current_task()
        assert task is not None
        try:
            with stop.signals():
                async with AsyncExitStack() as closing:
                    stop.then(task.cancel)
                    await self._run(bot, stop, closing)
        except asyncio.CancelledError:  # told to stop before it has begun
            if not stop.told:
                raise
        _log.info("stopped")

    async def _run(self, bot: Bot, stop: Any, closing: AsyncExitStack) -> None:
        from vimbiso_fsm.runtime.worker import AsyncWorker
        from vimbiso_fsm.web.app import app
        from vimbiso_fsm.web.chat import WebChat
        from vimbiso_fsm.web.client import AsyncChannelClient
        from vimbiso_fsm.web.metrics import OpenMetrics
        from vimbiso_fsm.web.rest import RestChannel
        from vimbiso_fsm.web.serving import serve

        channels: dict[str, AsyncChannelClient | RestChannel | WebChat] = {}
        sends: dict[str, Any] = {}
        for path, api in self.found.channels.items():
            if isinstance(api, RestChannel | WebChat):
                channels[path] = api
            else:
                channels[path] = client = await closing.enter_async_context(AsyncChannelClient(api))
                sends[path] = client.send
        bot = await with_async_services(bot, self.services, closing)
        own = await made("--senders", self.senders, "senders", closing)
        metrics, chat = OpenMetrics(), self.found.chat
        manager = await closing.enter_async_context(
            self.make(
                bot,
                measures=[metrics, *self.telemetry],
                deliver=chat or self.deliver,
                senders={**self.found.senders(sends), **own},
                inboxes=await made("--inboxes", self.inboxes, "inboxes", closing),
            )
        )
        if chat is not None:
            closing.push_async_callback(chat.close)
        worker = AsyncWorker(manager, every=self.every, lease=self.lease, memory_alarm=self.memory_alarm)
        metrics.watch_worker(worker)
        here = self.listening.address(self.bound)
        base = self.settings.base_url.rstrip("/") or here
        token = self.settings.metrics_token
        served = app(
            manager,
            channels,
            base=base,
            verify_token=self.found.verify_token,
            metrics_token=token,
            metrics=metrics,
            worker=worker,
        )
        await manager.start()
        for path, offered in self.found.offered.items():
            _log.info("%s is at %s", offered.title, f"{base}/{path}")
        if not token:
            _log.info("the figures are not served; set %s for them", METRICS_TOKEN)
        _log.info("serving at %s", here)
        await serve(served, worker, self.bound, self.listening, stop)
