"""`vimbiso studio`: a web app on this machine, in which the conversations of a bot are seen."""

from __future__ import annotations

import asyncio
import webbrowser
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vimbiso_fsm.cli.archive_options import Archive, archiving_of
from vimbiso_fsm.cli.bot_options import Flows, import_bot
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, require_one_store, require_store
from vimbiso_fsm.cli.worker_options import LogForm, log_to_stderr, manager_maker
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from vimbiso_fsm.web.serving import Listening

HOST: Final = "127.0.0.1"
"""The only address at which the studio listens."""


def studio(
    flows: Flows = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    archive: Archive = None,
    write: Annotated[bool, typer.Option("--write", help="Let the studio change the live store.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for a free one.")] = 0,
    opens: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    log: LogForm = "text",
) -> None:
    """Show the conversations of a bot in the browser: a simulator, the machines, the timeline of a member, and a board.

    Without --redis or --data there is the simulator alone, with a store of its own. The studio listens on this machine
    only. It prints an address with a token, which lets one browser in. With a live store it changes nothing, unless
    --write is given. It ends on Ctrl-C.
    """
    try:
        from vimbiso_fsm.studio.access import Access
        from vimbiso_fsm.studio.app import studio_app
        from vimbiso_fsm.web.serving import Listening
    except ModuleNotFoundError as missing:
        fail(f"the command studio needs {missing.name}; run: pip install 'vimbiso_fsm[studio]'")
    is_live = redis is not None or data is not None
    if is_live:
        require_one_store(redis, data)
        require_store(redis, data)
    bot, listening = import_bot(flows), Listening(HOST, port)
    make = manager_maker(AsyncFlowStateManager, redis, data, namespace, "local", True, archiving_of(archive))
    try:
        bound = listening.bind()
    except OSError as error:
        fail(f"--port {port} cannot be listened at: {error.strerror}; give another one")
    number = bound.getsockname()[1]
    access = Access(hosts=(f"{HOST}:{number}", f"localhost:{number}"), cookie=f"vimbiso-studio-{number}")
    address = f"http://{HOST}:{number}/?token={access.token}"
    served = partial(studio_app, access=access)
    try:
        with bound, log_to_stderr(log):
            asyncio.run(
                _run(bot, flows or "", make if is_live else None, write, served, bound, listening, address, opens)
            )
    except VimbisoError as error:
        fail(error)


async def _run(
    bot: Bot,
    package: str,
    make: Callable[..., AsyncFlowStateManager] | None,
    write: bool,
    app_of: Callable[..., ASGIApp],
    bound: socket.socket,
    listening: Listening,
    address: str,
    opens: bool,
) -> None:
    """Serve the studio until the process is told to stop."""
    from vimbiso_fsm.studio.desk import Desk
    from vimbiso_fsm.web.serving import Stop, serve

    stop = Stop()
    with stop.signals():
        async with AsyncExitStack() as closing:
            manager = None
            if make is not None:
                manager = await closing.enter_async_context(make(bot))
            app = app_of(Desk(bot, manager, write=write, package=package))
            print(f"studio: {address}", flush=True)
            if opens:
                await asyncio.to_thread(webbrowser.open, address)
            await serve(app, None, bound, listening, stop)
