"""`vimbiso archive`: move audit entries to the archive now."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from vimbiso_fsm.archive.keeping import HOT_DAYS, HOT_KEPT
from vimbiso_fsm.archive.procedures import MoveToArchive
from vimbiso_fsm.audit.trail import members
from vimbiso_fsm.cli.archive_options import ARCHIVE, Archive, HotDays, HotEntries, archiving_of
from vimbiso_fsm.cli.bot_options import OptionalFlows
from vimbiso_fsm.cli.display import progress_bar
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.member_argument import MemberArguments, member_id_of
from vimbiso_fsm.cli.plain_text import one_line
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened_store
from vimbiso_fsm.store.requests import Load, SetWakeUp


def archive(
    named: MemberArguments = None,
    all_members: Annotated[bool, typer.Option("--all", help="All members of the store.")] = False,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: OptionalFlows = None,
    archive: Archive = None,
    hot_entries: HotEntries = HOT_KEPT,
    hot_days: HotDays = HOT_DAYS,
) -> None:
    """Move audit entries that exceed the bounds from the store to the archive.

    A worker with --archive does so by itself. Run this once with --all when a store gets an archive: it also has the
    workers look at each member, so that the entries of silent members are moved when they are old. It is safe beside
    live traffic and workers, and after one that was killed. Exit code 1 when entries could not be moved; they stay in
    the store.
    """
    if bool(named) == all_members:
        raise typer.BadParameter("give either members or --all")
    archiving = archiving_of(archive, hot_entries, hot_days)
    if archiving is None:
        fail(f"no archive is named; give --archive URL, or set the environment variable {ARCHIVE}")
    moved, refusals = 0, list[str]()
    with opened_store(redis, data, namespace, flows, archiving) as at:
        names = [member_id_of(at, name) for name in named] if named else [*members(at.store)]
        with progress_bar("{task.completed} of {task.total}") as progress:
            for name in progress.track(names, description="archive"):
                done = at.store.perform(MoveToArchive(name))
                moved += done.entries
                if done.refused:
                    refusals.append(f"{name}: {done.refused}")
                at.store.perform(SetWakeUp(name, at.store.perform(Load(name)).head, time.time()))
    print(f"members {len(names)}, entries archived {moved}, refused {len(refusals)}")
    for refusal in dict.fromkeys(refusals):
        print(one_line(refusal), file=sys.stderr)
    if refusals:
        raise typer.Exit(1)
