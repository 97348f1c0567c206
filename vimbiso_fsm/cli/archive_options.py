"""The options that name the archive of older audit entries, and the opening of it."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import Annotated, Final, TypeAlias

import typer

from vimbiso_fsm.archive.keeping import HOT_DAYS, HOT_KEPT, Archiving
from vimbiso_fsm.archive.opening import FORMS
from vimbiso_fsm.archive.store import ArchivedStore
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.errors import ArchiveUnavailable, FlowError
from vimbiso_fsm.store.requests import Store

ARCHIVE: Final = "VIMBISO_ARCHIVE"
"""The environment variable with the archive, for each command that opens a named store."""

Archive: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--archive",
        metavar="URL",
        help=f"The archive of older audit entries: {FORMS}. By default it is that of the environment variable "
        f"{ARCHIVE}; without one there is no archive.",
    ),
]
HotEntries: TypeAlias = Annotated[
    int, typer.Option("--hot-entries", metavar="N", help="Audit entries of a member that stay in the store.")
]
HotDays: TypeAlias = Annotated[
    float, typer.Option("--hot-days", metavar="DAYS", help="Days for which an audit entry stays in the store.")
]


def archiving_of(archive: str | None, entries: int = HOT_KEPT, days: float = HOT_DAYS) -> Archiving | None:
    """Return the archive that an option or the environment names, with its bounds; None without one.

    Wrong bounds end the command.
    """
    url = archive or os.environ.get(ARCHIVE, "").strip()
    try:
        return Archiving(url, entries, days) if url else None
    except FlowError as error:
        fail(f"--hot-entries, --hot-days: {error.fault}; {error.remedy}")


def with_archive(store: Store, archiving: Archiving | None, closing: ExitStack) -> Store:
    """Return the store with its archive, if there is one. An archive that cannot be opened ends the command."""
    if archiving is None:
        return store
    try:
        archived = ArchivedStore(store, archiving, time.time)
    except (ArchiveUnavailable, ModuleNotFoundError) as error:
        fail(error)
    closing.callback(archived.close)
    return archived
