"""`vimbiso import-legacy`: import the records of the previous release."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from vimbiso_fsm.cli.bot_options import Flows, import_bot
from vimbiso_fsm.cli.display import progress_bar
from vimbiso_fsm.cli.encryption_options import encryption_of_environment
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.plain_text import clean, shown
from vimbiso_fsm.cli.services import Services, with_async_services
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, require_store, secrets_of_environment
from vimbiso_fsm.cli.store_url import FORMS, LEGACY_VARIABLE, checked_legacy_url
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.claim import claim
from vimbiso_fsm.operations.effects import run_awaited
from vimbiso_fsm.store.requests import AsyncStore

if TYPE_CHECKING:
    from vimbiso_fsm.errors import RecordNotImported


@attrs.frozen
class _Options:
    """The options of one run."""

    redis: str | None
    data: Path | None
    namespace: str
    services: str | None
    source: str
    mapping: Path | None
    look_up: bool
    dry_run: bool
    purge: bool
    rate: float | None
    accounts: tuple[str, ...]
    report: Path | None


def import_legacy(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            envvar=LEGACY_VARIABLE,
            show_envvar=False,
            callback=checked_legacy_url,
            help=f"The server of the legacy records; {FORMS}. By default it is that of the environment variable "
            f"{LEGACY_VARIABLE}, or that of --redis.",
        ),
    ] = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    services: Services = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping", metavar="FILE", help="Phone numbers with member ids, JSON Lines or CSV: number,member_id."
        ),
    ] = None,
    look_up: Annotated[
        bool, typer.Option("--look-up", help="Ask a service of the bot for the member of a number that has none.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and write nothing.")] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write what is not imported, and why, as JSON Lines."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.01, help="Import at most N records per second.")
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            metavar="NAME",
            help="An account of the bot, e.g. its phone-number id, at which members may have begun; repeatable.",
        ),
    ] = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the legacy records that are proven to be imported.")
    ] = False,
    find: Annotated[
        str | None,
        typer.Option("--find", metavar="DIGEST", help="Print the number that a report names by this digest, and end."),
    ] = None,
) -> None:
    """Import the records of the previous release.

    The import is safe beside live traffic, with several imports at once, and after one that was killed: each record is
    imported once. A record that cannot be imported stays as it is and is listed. Exit code 1 when there is one.
    """
    if data is not None and source is None:
        raise typer.BadParameter("--data needs the server of the legacy records; give --from URL")
    require_store(redis, data)
    if dry_run and purge:
        raise typer.BadParameter("--dry-run deletes nothing; leave out --dry-run or --purge")
    options = _Options(
        redis=redis,
        data=data,
        namespace=namespace,
        services=services,
        source=source or str(redis),
        mapping=mapping,
        look_up=look_up,
        dry_run=dry_run,
        purge=purge,
        rate=rate,
        accounts=tuple(account or ()),
        report=report,
    )
    try:
        sound = asyncio.run(_find(options, find) if find is not None else _import(options, _bot_of(flows, look_up)))
    except (VimbisoError, OSError) as error:
        fail(error)
    if not sound:
        raise typer.Exit(1)


def _bot_of(flows: str | None, look_up: bool) -> Bot:
    bot = import_bot(flows)
    from vimbiso_fsm.legacy import Legacy

    legacy = bot.importer
    if not isinstance(legacy, Legacy):
        fail(f"--flows {flows}: the bot declares no legacy records; give Bot(importer=Legacy(…))")
    if look_up and legacy.member_of is None:
        fail(f"--look-up: the bot of {flows} cannot look up the member of a number; give Legacy(member_of=…)")
    return bot


async def _find(options: _Options, digest: str) -> bool:
    """Print the numbers with a digest, and return whether there is one."""
    from vimbiso_fsm.legacy.bulk import find
    from vimbiso_fsm.legacy.source import AsyncLegacySource

    async with AsyncExitStack() as closing:
        records = await closing.enter_async_context(AsyncLegacySource(options.source))
        found = await find(records, await _connected(options, closing), digest.lower())
    print("\n".join(found) if found else f"no old record has the digest {shown(digest)}")
    return bool(found)


async def _import(options: _Options, bot: Bot) -> bool:
    """Import the records, and return whether all of them are imported."""
    from vimbiso_fsm.legacy import Legacy
    from vimbiso_fsm.legacy.bulk import BulkImport, Report, read_mapping
    from vimbiso_fsm.legacy.source import AsyncLegacySource

    numbers = read_mapping(options.mapping) if options.mapping else None
    member_of = bot.importer.member_of if isinstance(bot.importer, Legacy) else None
    async with AsyncExitStack() as closing:
        bot = await with_async_services(bot, options.services, closing)
        report = closing.enter_context(Report(options.report))

        def print_fault(fault: str) -> None:
            if options.report is None:
                print(clean(fault), file=sys.stderr)

        def refused(refusal: RecordNotImported) -> None:
            report.add(refusal)
            print_fault(str(refusal))

        for fault in numbers.faults if numbers else ():
            report.mapping(fault)
            print_fault(fault)
        records = await closing.enter_async_context(AsyncLegacySource(options.source))
        total = await records.count()
        bar = closing.enter_context(progress_bar("{task.completed} of {task.total} keys"))
        task = bar.add_task("keys", total=total)
        store = await _open_store(options, bot, closing)
        if not options.dry_run:
            await run_awaited(claim(bot), store.perform)
        bulk = BulkImport(
            bot,
            store,
            records,
            numbers=numbers,
            look_up=partial(member_of, bot.services) if options.look_up and member_of else None,
            dry_run=options.dry_run,
            purge=options.purge,
            rate=options.rate,
            accounts=options.accounts,
            refused=refused,
            progress=lambda keys: bar.advance(task, keys),
        )
        began = time.monotonic()
        counts = await bulk.run()
        seconds = time.monotonic() - began
        report.end(counts)
    done = f"would import {counts.possible}" if options.dry_run else f"imported {counts.converted}"
    purged = f", purged {counts.purged}" if options.purge else ""
    speed = f"{counts.seen / seconds:.0f} records per second" if seconds else ""
    print(f"{done}, imported before {counts.already}, not imported {counts.refused}{purged}; {speed}")
    return not counts.refused and not (numbers and numbers.faults)


async def _connected(options: _Options, closing: AsyncExitStack) -> AsyncStore:
    """Connect to the store, without the keys of encrypted documents."""
    from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager

    url, secret = str(options.redis), secrets_of_environment()
    if options.data is not None:
        from vimbiso_fsm.store.embedded import EmbeddedServer

        url = closing.enter_context(EmbeddedServer.start(options.data)).url
    return await closing.enter_async_context(
        AsyncAtomicStateManager.from_url(url, namespace=options.namespace, secret=secret)
    )


async def _open_store(options: _Options, bot: Bot, closing: AsyncExitStack) -> AsyncStore:
    store = await _connected(options, closing)
    encryption = encryption_of_environment()
    if encryption is None:
        return store
    from vimbiso_fsm.encryption.store import AsyncEncryptedStore

    encrypted = AsyncEncryptedStore(store, encryption, bot.secrets_of)
    closing.push_async_callback(encrypted.close)
    return encrypted
