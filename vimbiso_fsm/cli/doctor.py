"""`vimbiso doctor`: whether a server keeps what it stores."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from typing import Annotated, Final, get_args

import typer

from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.archive.store import ArchivedStore
from vimbiso_fsm.audit.trail import members
from vimbiso_fsm.cli.archive_options import Archive, archiving_of, with_archive
from vimbiso_fsm.cli.encryption_options import KEYS, encryption_of_environment
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.reencrypt import survey_of
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, require_store, secrets_of_environment, server_of
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.errors import ArchiveUnavailable, StoreUnavailable
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.shared import damaged_records
from vimbiso_fsm.store.ciphertext import OWN
from vimbiso_fsm.store.doctor import MEMORY_ALARM, Durability, examine
from vimbiso_fsm.store.retention import AUDIT_KEPT, AUDIT_LIFE, DAY

LOOKED_AT: Final = 1000
"""Members whose data is looked at for the keys in use."""
GROWTH: Final = (
    f"meanwhile they stay in the store, which drops those of a member that are more than {AUDIT_KEPT:,} or older than "
    f"{AUDIT_LIFE // DAY} days"
)
"""The bound of what waits for an archive that refuses."""
LEVELS = get_args(Durability)
"""The levels of durability that can be promised for an answered turn."""


def doctor(
    redis: Redis = None,
    data: Data = None,
    durability: Annotated[
        str,
        typer.Option(
            "--durability",
            metavar="|".join(LEVELS),
            help="What an answered turn must survive: a power cut (local), or the loss of a server (replicated).",
        ),
    ] = "local",
    namespace: Namespace = "",
    memory_alarm: Annotated[
        float,
        typer.Option(
            "--memory-alarm", metavar="SHARE", min=0.01, max=1.0, help="Share of a server's memory from which it warns."
        ),
    ] = MEMORY_ALARM,
    archive: Archive = None,
) -> None:
    """Check that a server keeps what it stores, and that the user of the URL has the rights that the store needs.

    Damage to a record that the store keeps once is named too. With a key ring in VIMBISO_KEYS, the keys in use are
    printed, and what is stored plain, of 1000 members at most. With --archive, or an archive in VIMBISO_ARCHIVE, it is
    checked that the archive can be written, and whether entries of these members wait for it. Each setting or condition
    that could lose a turn is printed with its remedy. Exit code 1 when one of them is refused, or when no server
    answers; 0 when there are only warnings.
    """
    promised = level(durability)
    require_store(redis, data)
    with server_of(redis, data) as url:
        _examine(url, promised, namespace, memory_alarm, archive)


def _examine(url: str, promised: Durability, namespace: str, memory_alarm: float, archive: str | None) -> None:
    """Print what is found at a server. Exit code 1 when it is refused."""
    from vimbiso_fsm.store.health import ask_url
    from vimbiso_fsm.store.layout import Keys

    try:
        nodes = ask_url(url, Keys(namespace).space)
    except StoreUnavailable as error:
        fail(error.fault)
    findings = examine(nodes, promised, memory=memory_alarm)
    for finding in findings:
        print("refused:" if finding.serious else "warning:", _line(str(finding)))
    refused = sum(finding.serious for finding in findings)
    places = ", ".join(node.place for node in nodes)
    warnings = len(findings) - refused
    print(_line(f"{promised}: asked {places}; refused {refused}, warnings {warnings}"))
    damaged = _damaged_records(url, namespace) if all(not node.fault for node in nodes) else ()
    for name in damaged:
        print(f"refused: the record {name!r} of the store cannot be read, so no manager starts; remedy: vimbiso repair")
    encryption = encryption_of_environment()
    if encryption is not None and not damaged:
        try:
            _look_at_members(url, namespace, encryption)
        except StoreUnavailable as error:
            fail(error)
    archiving = archiving_of(archive)
    if archiving is not None and not damaged:
        refused += not _is_archive_sound(url, namespace, archiving)
    if refused or damaged:
        raise typer.Exit(1)


def _damaged_records(url: str, namespace: str) -> tuple[str, ...]:
    """Return the names of the records of the store that cannot be read."""
    from vimbiso_fsm.store.redis_atomic import AtomicStateManager

    with suppress(StoreUnavailable), AtomicStateManager.from_url(url, namespace=namespace) as store:
        return tuple(run(damaged_records(), store.perform))
    return ()  # a finding says why the store does not answer


def _is_archive_sound(url: str, namespace: str, archiving: Archiving) -> bool:
    """Print whether the archive can be written, and the bound of what waits in the store until it can."""
    from vimbiso_fsm.store.redis_atomic import AtomicStateManager

    with (
        ExitStack() as closing,
        AtomicStateManager.from_url(url, namespace=namespace, secret=secrets_of_environment()) as store,
    ):
        archived = with_archive(store, archiving, closing)
        assert isinstance(archived, ArchivedStore)
        try:
            archived.archive.check()
        except ArchiveUnavailable as error:
            print("refused:", _line(f"{error.fault}; {GROWTH}"))
            return False
        try:
            names = members(store)
            waiting = [surplus for name in names[:LOOKED_AT] if (surplus := archived.waiting(name))]
        except StoreUnavailable as error:
            fail(error)
    looked = min(len(names), LOOKED_AT)
    print(_line(f"archive: {archived.archive.place} can be written; looked at {looked} of {len(names)} members"))
    if waiting:
        counts = f"{sum(waiting)} audit entries of {len(waiting)} members wait for the archive, {max(waiting)} at most"
        print(f"warning: {counts}; {GROWTH}; remedy: run a worker with --archive, or vimbiso archive --all")
    return True


def _look_at_members(url: str, namespace: str, encryption: Encryption) -> None:
    """Print the keys with which members' data is encrypted, and warnings about data that is plain or closed."""
    from vimbiso_fsm.encryption.store import EncryptedStore
    from vimbiso_fsm.store.redis_atomic import AtomicStateManager

    with AtomicStateManager.from_url(url, namespace=namespace, secret=secrets_of_environment()) as store:
        names = members(store)
        if not names:
            return
        with closing(EncryptedStore(store, encryption)) as encrypted:
            survey = survey_of(encrypted, names[:LOOKED_AT], dry_run=True)
    keys = ", ".join(f"{key} {parts}" for key, parts, _ in survey.rows if key != "plain")
    looked = min(len(names), LOOKED_AT)
    print(f"encryption: looked at {looked} of {len(names)} members; parts by key: {keys or 'none'}")
    current = encryption.ring().current
    old = sorted(key for key in survey.found if key not in ("plain", current) and not key.startswith(OWN))
    if survey.found["plain"] and encryption.scope != "plain":
        print(f"warning: {survey.found['plain']} parts are plain; remedy: vimbiso reencrypt")
    if old and encryption.scope != "plain":
        print(f"warning: {', '.join(old)} is in use beside the current key {current}; remedy: vimbiso reencrypt")
    for key, count in sorted(survey.closed.items()):
        print(f"warning: {count} parts are encrypted with {key}, which was not given; remedy: give it in {KEYS}")


def level(word: str) -> Durability:
    """Read a level of durability.

    Args:
        word: The name of the level.

    Returns:
        The level.

    Raises:
        typer.BadParameter: There is no such level.
    """
    for known in LEVELS:
        if word == known:
            return known  # type: ignore[no-any-return]  # get_args tells no types
    raise typer.BadParameter(
        f"{shown(word)} is not a level of durability; give {' or '.join(LEVELS)}", param_hint="--durability"
    )


def _line(text: str) -> str:
    """Join the lines of a text that a server has sent."""
    return " ".join(text.split())
