"""An archive in a database, through SQLAlchemy Core. The only module that imports SQLAlchemy.

    vimbiso_archive_members   one row per member: the version and the digest of the latest entry, the checkpoint
    vimbiso_archive_entries   one row per entry: its version, its digest, and the entry itself, byte for byte

Each change of a member is one transaction that updates the row of the member first, so two workers wait for each other,
and an entry that is erased at the same time is not brought back. The commit of a transaction is on the disk when it
returns: SQLite is told so, and PostgreSQL too, whatever its settings are.

An erasure deletes rows. SQLite overwrites them with zeros. PostgreSQL keeps the bytes of a deleted row in its files
until it is vacuumed, and in its log and backups for as long as these are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

try:
    import sqlalchemy as sql
    from sqlalchemy import event, exc
except ModuleNotFoundError as error:  # an extra
    raise ModuleNotFoundError(
        "an archive in a database needs SQLAlchemy and the driver of the database: pip install 'vimbiso_fsm[sql]'",
        name=error.name,
    ) from error

from vimbiso_fsm.archive.joining import added, continues, erased
from vimbiso_fsm.errors import ArchiveUnavailable
from vimbiso_fsm.store.requests import NO_HEAD, Entry, Head

_T = TypeVar("_T")

_ATTEMPTS: Final = 3
"""Times that a change is tried when another writer makes the same row."""
_TABLES: Final = sql.MetaData()
_MEMBERS: Final = sql.Table(
    "vimbiso_archive_members",
    _TABLES,
    sql.Column("namespace", sql.String(40), primary_key=True),
    sql.Column("member", sql.String(64), primary_key=True, comment="SHA-256 of the id, which can be any text"),
    sql.Column("member_id", sql.Text, nullable=False, comment="the id as JSON"),
    sql.Column("version", sql.BigInteger, nullable=False),
    sql.Column("digest", sql.Text, nullable=False),
)
_ENTRIES: Final = sql.Table(
    "vimbiso_archive_entries",
    _TABLES,
    sql.Column("namespace", sql.String(40), primary_key=True),
    sql.Column("member", sql.String(64), primary_key=True),
    sql.Column("version", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("digest", sql.Text, nullable=False),
    sql.Column("body", sql.LargeBinary, nullable=False),
)


class SqlArchive:
    """An `Archive` in a database. It may be shared between threads and processes."""

    def __init__(self, url: str, namespace: str = "") -> None:
        """Use a database. The tables are made when they are missing.

        Args:
            url: A URL of SQLAlchemy, such as `sqlite:////var/lib/bot/archive.db` or `postgresql+psycopg://…`.
            namespace: The namespace of the store.

        Raises:
            ArchiveUnavailable: The URL is none, or the driver of the database is not installed.
        """
        self._namespace: Final = namespace
        try:
            made = sql.make_url(url)
            self._place = str(made.set(query={}).render_as_string(hide_password=True))
            self._engine = sql.create_engine(made, hide_parameters=True, pool_pre_ping=True)
        except (exc.ArgumentError, ValueError):
            raise ArchiveUnavailable(
                "of this URL", "it is no URL of SQLAlchemy, as dialect+driver://host/name"
            ) from None
        except ModuleNotFoundError as error:
            raise ArchiveUnavailable(self._place, f"its driver is not installed: {error.name}") from error
        self._prepare(self._engine.dialect.name)
        self._has_tables = False

    def _prepare(self, dialect: str) -> None:
        """Have each connection write to the disk before a commit returns, and SQLite overwrite what it deletes."""
        settings = {
            "sqlite": ("PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON"),
            "postgresql": ("SET synchronous_commit TO on",),
        }.get(dialect, ())

        def connected(connection: Any, _: object) -> None:
            cursor = connection.cursor()
            for setting in settings:
                cursor.execute(setting)
            cursor.close()
            connection.commit()

        event.listen(self._engine, "connect", connected)

    @property
    def place(self) -> str:
        """The archive in words, without its password."""
        return self._place

    def append(self, member_id: str, entries: Sequence[Entry], /) -> None:
        """Keep entries; see `Archive.append`."""

        def append(connection: sql.Connection, member: str, checkpoint: Head) -> None:
            if continues(member_id, checkpoint, entries):
                self._insert(connection, member, entries)
            else:
                kept = self._read(connection, member)
                self._change(connection, member, kept, added(member_id, kept, entries))

        if entries:
            self._alone_at(member_id, append)

    def read(self, member_id: str, /) -> tuple[Entry, ...]:
        """Return the entries of a member; see `Archive.read`."""
        with self._begun() as connection:
            return self._read(connection, _name(member_id))

    def erase(self, member_id: str, first: int, last: int, tombstone: Entry | None, body: bytes, /) -> tuple[int, ...]:
        """Remove a range of entries; see `Archive.erase`."""

        def erase(connection: sql.Connection, member: str, _: Head) -> tuple[int, ...]:
            kept = self._read(connection, member)
            left, gone = erased(kept, first, last, tombstone, body)
            self._change(connection, member, kept, left)
            return gone

        return self._alone_at(member_id, erase)

    def members(self) -> tuple[str, ...]:
        """Return the ids of all members; see `Archive.members`."""
        ids = sql.select(_MEMBERS.c.member_id).where(_MEMBERS.c.namespace == self._namespace, _MEMBERS.c.version > 0)
        with self._begun() as connection:
            return tuple(sorted(json.loads(str(row[0])) for row in connection.execute(ids)))

    def check(self) -> None:
        """Prove that a row can be written; see `Archive.check`."""
        self._alone_at("", lambda connection, *_: connection.rollback())

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    # Transactions --------------------------------------------------------------------------------------------------

    @contextmanager
    def _begun(self) -> Generator[sql.Connection]:
        """Begin a transaction. A failure of the database becomes an error without a value of a row."""
        try:
            self._make_tables()
            with self._engine.begin() as connection:
                yield connection
        except exc.IntegrityError:
            raise
        except exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None)
            raise ArchiveUnavailable(self._place, type(cause or error).__name__) from None

    def _make_tables(self) -> None:
        if self._has_tables:
            return
        try:
            _TABLES.create_all(self._engine)
        except exc.DBAPIError:  # another process may have made them at the same moment
            _TABLES.create_all(self._engine)
        self._has_tables = True

    def _alone_at(self, member_id: str, work: Callable[[sql.Connection, str, Head], _T]) -> _T:
        """Do work in a transaction that no other one of the member overlaps. It is given the latest entry's head."""
        member = _name(member_id)
        own = (_MEMBERS.c.namespace == self._namespace) & (_MEMBERS.c.member == member)
        for _ in range(_ATTEMPTS):
            try:
                with self._begun() as connection:
                    if not connection.execute(
                        sql.update(_MEMBERS).where(own).values(version=_MEMBERS.c.version)
                    ).rowcount:
                        row = self._row(member, member_id=json.dumps(member_id), version=0, digest="")
                        connection.execute(sql.insert(_MEMBERS), row)
                    found = connection.execute(sql.select(_MEMBERS.c.version, _MEMBERS.c.digest).where(own)).one()
                    return work(connection, member, Head(int(found[0]), str(found[1])) if found[0] else NO_HEAD)
            except exc.IntegrityError:  # another worker has made the row of the member at the same moment
                continue
        raise ArchiveUnavailable(self._place, "other writers were faster")

    def _row(self, member: str, **values: object) -> dict[str, object]:
        return {"namespace": self._namespace, "member": member, **values}

    def _own(self, member: str) -> Any:
        return (_ENTRIES.c.namespace == self._namespace) & (_ENTRIES.c.member == member)

    def _read(self, connection: sql.Connection, member: str) -> tuple[Entry, ...]:
        columns = sql.select(_ENTRIES.c.version, _ENTRIES.c.digest, _ENTRIES.c.body)
        rows = connection.execute(columns.where(self._own(member)).order_by(_ENTRIES.c.version))
        return tuple(Entry(int(row[0]), str(row[1]), bytes(row[2])) for row in rows)

    def _insert(self, connection: sql.Connection, member: str, entries: Sequence[Entry]) -> None:
        rows = [self._row(member, version=each.version, digest=each.digest, body=each.body) for each in entries]
        connection.execute(sql.insert(_ENTRIES), rows)
        self._note(connection, member, Head(entries[-1].version, entries[-1].digest))

    def _note(self, connection: sql.Connection, member: str, latest: Head) -> None:
        own = (_MEMBERS.c.namespace == self._namespace) & (_MEMBERS.c.member == member)
        connection.execute(sql.update(_MEMBERS).where(own).values(version=latest.version, digest=latest.digest))

    def _change(self, connection: sql.Connection, member: str, before: Sequence[Entry], after: Sequence[Entry]) -> None:
        """Replace the entries of a member; those that stay are not touched."""
        gone = [entry.version for entry in before if entry not in after]
        for version in gone:
            connection.execute(sql.delete(_ENTRIES).where(self._own(member), _ENTRIES.c.version == version))
        new = [entry for entry in after if entry not in before]
        if new:
            self._insert(connection, member, new)
        latest = Head(after[-1].version, after[-1].digest) if after else NO_HEAD
        self._note(connection, member, latest)


def _name(member_id: str) -> str:
    return hashlib.sha256(member_id.encode("utf-8", "surrogatepass")).hexdigest()
