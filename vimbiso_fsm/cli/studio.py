"""`vimbiso studio`: a web app on this machine, in which the conversations of a bot are seen."""

from __future__ import annotations

import asyncio
import os
import webbrowser
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import attrs
import typer

from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.cli.archive_options import Archive, archiving_of
from vimbiso_fsm.cli.bot_options import Flows, import_bot
from vimbiso_fsm.cli.encryption_options import encryption_of_environment
from vimbiso_fsm.cli.failures import fail, misuse
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, require_store, secrets_of_environment
from vimbiso_fsm.cli.worker_options import METRICS_TOKEN, LogForm, log_to_stderr
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.requests import AsyncStore

if TYPE_CHECKING:
    import socket

    from vimbiso_fsm.studio.access import Access
    from vimbiso_fsm.studio.processes import Processes
    from vimbiso_fsm.web.serving import Listening

HOST: Final = "127.0.0.1"
"""The only address at which the studio listens."""


def studio(
    flows: Flows = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    archive: Archive = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="ADDRESS",
            help="The metrics of a process of the bot, such as http://10.0.0.2:8000/metrics; once for each process. "
            f"They are read with the token of {METRICS_TOKEN}.",
        ),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Let the studio change the live store.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for a free one.")] = 0,
    opens: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    log: LogForm = "text",
) -> None:
    """Show the conversations of a bot in the browser: a simulator, the machines, the timeline of a member, and a board.

    Without --redis or --data there is the simulator alone, with a store of its own. The studio listens on this machine
    only. It prints an address with a token, which lets one browser in. A live store is not changed, unless --write is
    given; what would change it is refused. The studio ends in order on Ctrl-C and on SIGTERM.
    """
    try:
        from vimbiso_fsm.studio.access import Access
        from vimbiso_fsm.studio.processes import Processes
        from vimbiso_fsm.web.serving import Listening
        from vimbiso_fsm.web.settings import Fault, secret_of
    except ModuleNotFoundError as missing:
        fail(f"the command studio needs {missing.name}; run: pip install 'vimbiso_fsm[studio]'")
    bot, live = import_bot(flows), None
    if redis is not None or data is not None:
        require_store(redis, data)
        live = _LiveStore(redis, data, namespace, archiving_of(archive), write)
    for address in metrics or ():
        if urlsplit(address).scheme not in ("http", "https"):
            misuse(f"--metrics {shown(address)} is no address; give one such as http://127.0.0.1:8000/metrics")
    token = secret_of(METRICS_TOKEN, os.environ)
    if isinstance(token, Fault):
        misuse(str(token))
    processes = Processes(metrics, token) if metrics else None
    listening = Listening(HOST, port, grace=1.0)
    try:
        bound = listening.bind()
    except OSError as error:
        fail(f"--port {port} cannot be listened at: {error.strerror}; give another one")
    number = bound.getsockname()[1]
    access = Access(hosts=(f"{HOST}:{number}", f"localhost:{number}"), cookie=f"vimbiso-studio-{number}")
    process = _Process(bot, flows or "", live, processes, access, listening, opens)
    try:
        with bound, log_to_stderr(log):
            asyncio.run(process.run(bound))
    except (VimbisoError, ModuleNotFoundError) as error:  # the extra of an archive in a database
        fail(error)


@attrs.frozen
class _LiveStore:
    """The store that is looked at."""

    redis: str | None
    data: Path | None
    namespace: str
    archiving: Archiving | None
    write: bool

    async def open(self, bot: Bot, closing: AsyncExitStack) -> AsyncFlowStateManager:
        """Open the store, and return the manager of the bot at it.

        Raises:
            VimbisoError: The store cannot be reached, or is another bot's.
        """
        from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
        from vimbiso_fsm.studio.read_only import ReadOnlyStore

        url = self.redis
        if self.data is not None:
            from vimbiso_fsm.store.embedded import EmbeddedServer

            url = closing.enter_context(EmbeddedServer.start(self.data)).url
        store = AsyncAtomicStateManager.from_url(str(url), namespace=self.namespace, secret=secrets_of_environment())
        closing.push_async_callback(store.close)
        seen: AsyncStore = store if self.write else ReadOnlyStore(store)
        manager = AsyncFlowStateManager(
            bot,
            seen,
            rates=None,
            check_services=False,  # no turn is made here, so no service is called
            encryption=encryption_of_environment(),
            archive=self.archiving,
        )
        await closing.enter_async_context(manager)
        await manager.start()
        return manager


@attrs.frozen
class _Process:
    """What is run, once all settings are known."""

    bot: Bot
    package: str
    live: _LiveStore | None
    processes: Processes | None
    access: Access
    listening: Listening
    opens: bool

    async def run(self, bound: socket.socket) -> None:
        """Serve the studio until the process is told to stop."""
        from vimbiso_fsm.studio.app import studio_app
        from vimbiso_fsm.studio.desk import Desk
        from vimbiso_fsm.web.serving import Stop, serve

        stop = Stop()
        with stop.signals():
            async with AsyncExitStack() as closing:
                live = self.live
                manager = None if live is None else await live.open(self.bot, closing)
                desk = Desk(
                    self.bot,
                    manager,
                    write=live is not None and live.write,
                    package=self.package,
                    processes=self.processes,
                )
                address = f"{self.listening.address(bound)}/?token={self.access.token}"
                print(f"studio: {address}", flush=True)
                if self.opens:
                    await asyncio.to_thread(webbrowser.open, address)
                await serve(studio_app(desk, self.access), None, bound, self.listening, stop)
