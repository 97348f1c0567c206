"""`vimbiso migrate`: the records of the release before become documents."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import attrs
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vimbiso_fsm.cli.plain_text import clean, shown
from vimbiso_fsm.cli.store_options import Data, Flows, Redis, fail, import_bot
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.legacy.records import NotConverted
from vimbiso_fsm.store.requests import AsyncStore


@attrs.frozen
class _Wanted:
    """What was asked for."""

    redis: str | None
    data: Path | None
    old: str | None
    mapping: Path | None
    look_up: bool
    dry_run: bool
    purge: bool
    rate: float | None
    report: Path | None


def migrate(
    old: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Where the old records are; the server of --redis, if not given."),
    ] = None,
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", metavar="FILE", help="Numbers and member ids, JSON Lines or CSV: number,member_id."),
    ] = None,
    look_up: Annotated[
        bool, typer.Option("--look-up", help="Ask the bot's service whose a number is that no record says.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, only say what would be done.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="JSON Lines of what stays as it is, and why.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.01, help="At most so many conversions a second.")
    ] = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the old records that are proven to be converted.")
    ] = False,
    find: Annotated[
        str | None, typer.Option("--find", metavar="DIGEST", help="Say which number a report means, and do nothing.")
    ] = None,
) -> None:
    """Take the records of the release before over.

    It may be run beside live traffic, several times at once, and again however it ended before: each record is
    converted once. What cannot be converted stays as it is and is listed. Exit code 1 when there is anything like that.
    """
    if (redis is None) == (data is None):
        raise typer.BadParameter("give one of --redis URL and --data DIR")
    if data is not None and not data.is_dir():
        fail(f"there is no folder {data}")
    if data is not None and old is None:
        raise typer.BadParameter("with --data, say where the old records are: --from URL")
    if dry_run and purge:
        raise typer.BadParameter("--dry-run deletes nothing; leave out one of --dry-run and --purge")
    bot = import_bot(flows)
    if bot.legacy is None:
        fail(f"the bot of {flows!r} declares nothing of old records; give Bot(legacy=…)")
    if look_up and bot.legacy.member_of is None:
        fail(f"the bot of {flows!r} cannot be asked whose a number is; give Legacy(member_of=…)")
    wanted = _Wanted(redis, data, old, mapping, look_up, dry_run, purge, rate, report)
    try:
        sound = asyncio.run(_find(wanted, find) if find is not None else _migrate(wanted, bot))
    except (VimbisoError, OSError) as error:
        fail(error)
    if not sound:
        raise typer.Exit(1)


async def _find(wanted: _Wanted, digest: str) -> bool:
    from vimbiso_fsm.legacy.bulk import find
    from vimbiso_fsm.legacy.source import AsyncLegacySource

    async with AsyncLegacySource(wanted.old or str(wanted.redis)) as records:
        found = await find(records, digest.lower())
    print("\n".join(found) if found else f"no old record has the digest {shown(digest)}")
    return bool(found)


async def _migrate(wanted: _Wanted, bot: Bot) -> bool:
    """Run it -> whether nothing was left over."""
    from vimbiso_fsm.legacy.bulk import BulkImport, Report, read_mapping
    from vimbiso_fsm.legacy.source import AsyncLegacySource

    numbers = read_mapping(wanted.mapping) if wanted.mapping else None
    member_of = bot.legacy.member_of if bot.legacy else None
    async with AsyncExitStack() as closing:
        report = closing.enter_context(Report(wanted.report))

        def tell(fault: str) -> None:
            if wanted.report is None:
                print(clean(fault), file=sys.stderr)

        def refused(refusal: NotConverted) -> None:
            report.add(refusal)
            tell(str(refusal))

        for fault in numbers.faults if numbers else ():
            report.mapping(fault)
            tell(fault)
        records = await closing.enter_async_context(AsyncLegacySource(wanted.old or str(wanted.redis)))
        total = await records.count()
        notes = Console(stderr=True, highlight=False)
        columns = (TextColumn("keys"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = closing.enter_context(Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal))
        task = bar.add_task("keys", total=total)
        store = await _store(wanted, closing)
        migration = BulkImport(
            bot,
            store,
            records,
            numbers=numbers,
            look_up=partial(member_of, bot.services) if wanted.look_up and member_of else None,
            dry_run=wanted.dry_run,
            purge=wanted.purge,
            rate=wanted.rate,
            refused=refused,
            progress=lambda keys: bar.advance(task, keys),
        )
        began = time.monotonic()
        counts = await migration.run()
        seconds = time.monotonic() - began
        report.end(counts)
    done = f"would convert {counts.possible}" if wanted.dry_run else f"converted {counts.converted}"
    purged = f", purged {counts.purged}" if wanted.purge else ""
    each = f"{counts.seen / seconds:.0f} records a second" if seconds else ""
    print(f"{done}, converted before {counts.already}, not converted {counts.refused}{purged}; {each}")
    return not counts.refused and not (numbers and numbers.faults)


async def _store(wanted: _Wanted, closing: AsyncExitStack) -> AsyncStore:
    from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

    if wanted.data is not None:
        from vimbiso_fsm.store.embedded import EmbeddedServer

        engine = closing.enter_context(EmbeddedServer.start(wanted.data))
        return await closing.enter_async_context(AsyncAtomicStateManager.from_url(engine.url))
    return await closing.enter_async_context(AsyncAtomicStateManager.from_url(str(wanted.redis)))
