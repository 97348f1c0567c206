"""The records of the previous release on a Redis-compatible server, under bare telephone numbers.

They are only read: one by one for a bot (`LegacySource`, `AsyncLegacySource`), page by page for a bulk import. They are
deleted on request, each only while it is still the record that was imported. Of a key that holds no text only the type
is read. Any object with a method `read` can take the place of a source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.legacy.records import LARGEST, SIDE_KEYS, is_nearly_number, is_number
from vimbiso_fsm.operations.effects import LegacyRecord
from vimbiso_fsm.store.servers import UNREACHABLE, AsyncCluster, Cluster, async_servers_at, servers_at

TIMEOUT: Final = 5.0
"""Seconds to wait for a reply."""
PAGE: Final = 1000
"""Keys looked at in one step of a scan."""

_NO_CLUSTER: Final = "the release before kept its records on one server, not in a cluster; name that server"
_DELETE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
"""Deletes a record that is still the same."""


class LegacySource:
    """Legacy records, one at a time, for a sync manager."""

    def __init__(self, url: str) -> None:
        """Read from one server, as `store/servers.py` takes its URL. It connects when it is first used.

        Raises:
            StoreUnavailable: The URL is that of a cluster, or none.
        """
        servers = servers_at(url, timeout=TIMEOUT, connect_timeout=TIMEOUT / 2, connections=20)
        if isinstance(servers, Cluster):
            raise StoreUnavailable(_NO_CLUSTER)
        self._servers = servers

    def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            pipe: Any = self._servers.client.pipeline()  # both at one moment: the previous release may still write
            _ask(pipe, number)
            kind, data = pipe.execute(raise_on_error=False)
            return _record(number, kind, data)
        except UNREACHABLE as error:
            raise _unavailable(self._servers.place, error) from error

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncLegacySource:
    """Legacy records, one at a time or all of them, awaited."""

    def __init__(self, url: str) -> None:
        """Read from one server. See `LegacySource`."""
        servers = async_servers_at(url, timeout=TIMEOUT, connect_timeout=TIMEOUT / 2, connections=20)
        if isinstance(servers, AsyncCluster):
            raise StoreUnavailable(_NO_CLUSTER)
        self._servers = servers

    async def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        found = await self.read_all([number])
        return found[0] if found else None

    async def read_all(self, numbers: Sequence[str]) -> list[LegacyRecord]:
        """Return the records under the numbers, without those that are gone.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            pipe: Any = self._servers.client.pipeline()
            for number in numbers:
                _ask(pipe, number)
            replies = await pipe.execute(raise_on_error=False)
            found = map(_record, numbers, replies[::2], replies[1::2])
            return [record for record in found if record is not None]
        except UNREACHABLE as error:
            raise _unavailable(self._servers.place, error) from error

    async def pages(self) -> AsyncIterator[tuple[int, list[str]]]:
        """Yield the numbers under which something is kept, page by page, each with the number of keys scanned.

        A number may come twice, when the server moves its keys.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        client: Any = self._servers.client
        page: list[str] = []
        seen = 0
        try:
            async for key in client.scan_iter(match="[+(1-9]*", count=PAGE):
                seen += 1
                number = key.decode("ascii", "replace")
                if is_number(number) or is_nearly_number(number):
                    page.append(number)
                if len(page) == PAGE:
                    yield seen, page
                    page, seen = [], 0
            yield seen, page
        except UNREACHABLE as error:
            raise _unavailable(self._servers.place, error) from error

    async def count(self) -> int:
        """Return the number of keys on the server, which is the most that there can be.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            client: Any = self._servers.client
            found = await client.dbsize()
            return int(found)
        except UNREACHABLE as error:
            raise _unavailable(self._servers.place, error) from error

    async def delete(self, records: Sequence[LegacyRecord]) -> int:
        """Delete the records that are still the same, with the keys beside them; return how many there were.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            pipe: Any = self._servers.client.pipeline(transaction=False)
            for record in records:
                pipe.eval(_DELETE, 1, record.number, record.data)
            deleted = [bool(reply) for reply in await pipe.execute()]
            beside: Any = self._servers.client.pipeline(transaction=False)
            for record, gone in zip(records, deleted, strict=True):
                for name in SIDE_KEYS if gone else ():
                    beside.delete(record.number + name)
            await beside.execute()
            return sum(deleted)
        except UNREACHABLE as error:
            raise _unavailable(self._servers.place, error) from error

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        await self._servers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _ask(pipe: Any, number: str) -> None:
    pipe.type(number)
    pipe.getrange(number, 0, LARGEST)  # one byte too many says that there are more


def _record(number: str, kind: Any, data: Any) -> LegacyRecord | None:
    """Return the record of two replies. A wrong type is an answer; any other error is raised."""
    if isinstance(kind, Exception):
        raise kind
    named = kind.decode("ascii", "replace")
    if named == "none":
        return None
    if named != "string":
        return LegacyRecord(number, kind=named)
    if isinstance(data, Exception):
        raise data
    return LegacyRecord(number, data)


def _unavailable(place: str, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"{place}: the old records cannot be read: {error}")
