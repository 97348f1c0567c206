"""The options of the commands that run a worker, and the manager that they name."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer

from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.cli.doctor import level
from vimbiso_fsm.cli.encryption_options import encryption_of_environment
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import secrets_of_environment
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.runtime.logs import JSONFormatter, LineFormatter
from vimbiso_fsm.store.retention import LONGEST_LEASE

M = TypeVar("M", bound=AsyncFlowStateManager)

Deliver: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--deliver",
        metavar="MODULE:FUNCTION",
        help="deliver(channel, replies), sync or async, sends what no sender sends. Without it that waits for the "
        "next message.",
    ),
]
Durable: TypeAlias = Annotated[
    str,
    typer.Option("--durability", metavar="local|replicated", help="What an answered turn must survive; see doctor."),
]
UnsafeStore: TypeAlias = Annotated[
    bool, typer.Option("--unsafe-store", help="Start on a server that the doctor refuses; an incident records it.")
]
Every: TypeAlias = Annotated[
    float, typer.Option("--every", min=0.01, help="Seconds between two searches for due work.")
]
ShardLease: TypeAlias = Annotated[
    float,
    typer.Option(
        "--lease", min=0.1, max=LONGEST_LEASE, help="Seconds after which another worker replaces one that has died."
    ),
]
MemoryAlarm: TypeAlias = Annotated[
    float,
    typer.Option(
        "--memory-alarm", metavar="SHARE", min=0.01, max=1.0, help="Share of a server's memory from which it warns."
    ),
]
LogForm: TypeAlias = Annotated[
    str,
    typer.Option("--log", metavar="text|json", envvar="VIMBISO_LOG", show_envvar=False, help="The form of the log."),
]

METRICS_TOKEN: Final = "VIMBISO_METRICS_TOKEN"  # noqa: S105  # the name of a variable
"""The environment variable with the token with which `/metrics` is read."""


def manager_maker(
    kind: type[M],
    redis: str | None,
    data: Path | None,
    namespace: str,
    durability: str,
    unsafe_store: bool,
    archiving: Archiving | None,
) -> Callable[..., M]:
    """Return what makes a manager of a kind at the named store. Wrong settings of the environment end the command."""
    common: dict[str, Any] = {
        "namespace": namespace,
        "secret": secrets_of_environment(),
        "encryption": encryption_of_environment(),
        "archive": archiving,
    }
    promised = level(durability)
    if data is not None:
        return partial(kind.embedded, data, **common)
    return partial(kind.from_url, str(redis), durability=promised, unsafe_store=unsafe_store, **common)


@contextmanager
def log_to_stderr(form: str) -> Generator[None]:
    """Write the log of the library and of its server to standard error, one record a line, while the block runs.

    Raises:
        typer.BadParameter: There is no such form.
    """
    forms: dict[str, type[logging.Formatter]] = {"text": LineFormatter, "json": JSONFormatter}
    if form not in forms:
        raise typer.BadParameter(f"{shown(form)} is no form; give text or json", param_hint="--log")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(forms[form]())
    with ExitStack() as closing:
        lowests = {"vimbiso_fsm": logging.INFO, "uvicorn": logging.WARNING, "opentelemetry": logging.WARNING}
        for name, lowest in lowests.items():
            log = logging.getLogger(name)
            closing.callback(log.setLevel, log.level)
            closing.callback(log.removeHandler, handler)
            log.setLevel(lowest)
            log.addHandler(handler)
        yield
