"""The archive of a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from vimbiso_fsm.archive.json_lines import JsonLinesArchive
from vimbiso_fsm.errors import ArchiveUnavailable

if TYPE_CHECKING:
    from vimbiso_fsm.archive.keeping import Archive

FORMS: Final = "a folder, or a URL of SQLAlchemy such as sqlite:////srv/archive.db or postgresql+psycopg://host/name"
"""The forms of a URL, for help and errors."""


def open_archive(url: str, namespace: str = "") -> Archive:
    """Return the archive of a URL.

    Args:
        url: The path of a folder, or `file://` with an absolute path, for JSON Lines; any other URL is one of
            SQLAlchemy. It must be absolute where processes of several working directories use it.
        namespace: The namespace of the store.

    Raises:
        ArchiveUnavailable: It is no URL, or the driver of the database is not installed.
        ModuleNotFoundError: It is the URL of a database, and SQLAlchemy is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if not url.strip():
        raise ArchiveUnavailable("of an empty URL", f"give {FORMS}")
    if not separator:
        return JsonLinesArchive(url, namespace)
    if scheme.lower() == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise ArchiveUnavailable("of a file URL", "give an absolute path without a host: file:///srv/archive")
        return JsonLinesArchive(f"/{unquote(path)}", namespace)
    from vimbiso_fsm.archive.sql import SqlArchive  # an extra

    return SqlArchive(url, namespace)
