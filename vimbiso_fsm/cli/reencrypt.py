"""`vimbiso reencrypt`: encrypt what is stored with the current key, beside live traffic."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import attrs
import typer

from vimbiso_fsm.audit.trail import members
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.display import print_table, progress_bar
from vimbiso_fsm.cli.encryption_options import require_encryption
from vimbiso_fsm.cli.plain_text import one_line
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.ciphertext import OWN
from vimbiso_fsm.store.requests import ReadQuarantine, Store


def reencrypt(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is found, and change nothing.")] = False,
) -> None:
    """Encrypt documents, turn records and members' own keys with the current key and in the scope of now.

    The key ring comes from the environment variable VIMBISO_KEYS. Plain data is encrypted too. This is safe beside live
    traffic, with several at once, and after one that was killed. Exit code 1 when something is encrypted with a key
    that was not given, is damaged, or could not be reached; such data is left as it is.
    """
    require_encryption()
    with opened(redis, data, namespace, flows) as bot:
        names = members(bot.store)
        with progress_bar("{task.completed} of {task.total}") as progress:
            survey = survey_of(bot.store, progress.track(names, description="reencrypt"), dry_run=dry_run)
    print_table(("found", "parts", "key not given"), survey.rows, numbers=("parts", "key not given"))
    done = "nothing was changed" if dry_run else f"encrypted again: {survey.rewritten}"
    kept = f"quarantined keys left as they are {survey.quarantined}"
    print(f"members {len(names)}, {done}, damaged {survey.broken}, {kept}")
    for failure in survey.failures:
        print(one_line(failure), file=sys.stderr)
    if survey.closed or survey.broken or survey.failures:
        raise typer.Exit(1)


@attrs.define
class Survey:
    """What was found of members.

    Attributes:
        found: The number of parts by the id of their key; "plain" for those that are not encrypted.
        closed: The number of parts whose key was not given, by its id.
        rewritten: The number of parts that were encrypted again.
        broken: The number of damaged parts.
        quarantined: The number of quarantined keys.
        failures: A sentence for each member that could not be reached.
    """

    found: Counter[str] = attrs.field(factory=Counter[str])
    closed: Counter[str] = attrs.field(factory=Counter[str])
    rewritten: int = 0
    broken: int = 0
    quarantined: int = 0
    failures: list[str] = attrs.field(factory=list[str])

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The rows of a table: the key, the number of its parts, and of those whose key was not given.

        The keys of the members' own are one row.
        """
        rows: dict[str, tuple[int, int]] = {}
        for key, count in self.found.items():
            name = "members' own keys" if key.startswith(OWN) else key
            parts, closed = rows.get(name, (0, 0))
            rows[name] = parts + count, closed + self.closed[key]
        return [(name, str(parts), str(closed)) for name, (parts, closed) in sorted(rows.items())]


def survey_of(store: Store, names: Iterable[str], *, dry_run: bool) -> Survey:
    """Encrypt what is stored of members again, or only look at it.

    Args:
        store: The store that encrypts.
        names: The members.
        dry_run: Whether nothing is changed.
    """
    from vimbiso_fsm.encryption.procedures import Reencrypt

    survey = Survey()
    for name in names:
        try:
            done = store.perform(Reencrypt(name, dry_run))
            survey.quarantined += len(store.perform(ReadQuarantine(name)))
        except StoreUnavailable as error:
            survey.failures.append(f"{name}: {error.fault}")
            continue
        survey.found.update(done.found)
        survey.closed.update(done.closed)
        survey.rewritten += done.rewritten
        survey.broken += done.broken
    return survey
