"""The records of the previous release on a Redis-compatible server, under bare telephone numbers.

Records are read one by one for a bot (`LegacySource`, `AsyncLegacySource`), and page by page for a bulk import. They
are written only by `delete`, which removes records that have not changed since they were read. Of a key that holds no
string only the type is read. A manager accepts any object with a method `read` as a source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.legacy.records import LARGEST, SIDE_KEYS, is_nearly_number, is_number
from vimbiso_fsm.operations.effects import LegacyRecord
from vimbiso_fsm.store.loops import PerLoop
from vimbiso_fsm.store.servers import UNREACHABLE, AsyncCluster, AsyncServer, Cluster, async_servers_at, servers_at

REPLY_TIMEOUT: Final = 5.0
"""Seconds to wait for a reply."""
PAGE: Final = 1000
"""The number of keys in one step of a scan."""

_NO_CLUSTER: Final = "the previous release kept its records on one server, not in a cluster; name that server"
_DELETE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
"""Deletes a record that has not changed."""


class LegacySource:
    """Legacy records, one at a time, for a sync manager."""

    def __init__(self, url: str) -> None:
        """Make a source on one server, to which it connects at its first use.

        Args:
            url: The URL, as `FlowStateManager.from_url` takes it.

        Raises:
            StoreUnavailable: The URL is invalid or that of a cluster.
        """
        servers = servers_at(url, timeout=REPLY_TIMEOUT, connect_timeout=REPLY_TIMEOUT / 2, connections=20)
        if isinstance(servers, Cluster):
            raise StoreUnavailable(_NO_CLUSTER)
        self._servers = servers

    def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            pipe: Any = self._servers.client.pipeline()  # a transaction, because the previous release may still write
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
    """Legacy records, one at a time or all of them, for an async manager and bulk imports."""

    def __init__(self, url: str) -> None:
        """Make a source on one server. See `LegacySource`."""

        def make() -> AsyncServer:
            servers = async_servers_at(url, timeout=REPLY_TIMEOUT, connect_timeout=REPLY_TIMEOUT / 2, connections=20)
            if isinstance(servers, AsyncCluster):
                raise StoreUnavailable(_NO_CLUSTER)
            return servers

        self._place = make().place
        self._loops = PerLoop(make)

    async def read(self, number: str, /) -> LegacyRecord | None:
        """Return the record under a number, or None.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        found = await self.read_all([number])
        return found[0] if found else None

    async def read_all(self, numbers: Sequence[str]) -> list[LegacyRecord]:
        """Return the records under the numbers; those that do not exist are left out.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            pipe: Any = self._loops.get().client.pipeline()
            for number in numbers:
                _ask(pipe, number)
            replies = await pipe.execute(raise_on_error=False)
            found = map(_record, numbers, replies[::2], replies[1::2])
            return [record for record in found if record is not None]
        except UNREACHABLE as error:
            raise _unavailable(self._place, error) from error

    async def pages(self) -> AsyncIterator[tuple[int, list[str]]]:
        """Yield pages of the numbers that are keys, each with the number of keys scanned for it.

        A number may be on two pages if the server moves its keys meanwhile.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        client: Any = self._loops.get().client
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
            raise _unavailable(self._place, error) from error

    async def count(self) -> int:
        """Return the number of keys on the server, an upper bound of the number of records.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            client: Any = self._loops.get().client
            found = await client.dbsize()
            return int(found)
        except UNREACHABLE as error:
            raise _unavailable(self._place, error) from error

    async def delete(self, records: Sequence[LegacyRecord]) -> int:
        """Delete the records that have not changed, with the keys beside them, and return their number.

        Raises:
            StoreUnavailable: The server cannot be reached.
        """
        try:
            pipe: Any = self._loops.get().client.pipeline(transaction=False)
            for record in records:
                pipe.eval(_DELETE, 1, record.number, record.data)
            deleted = [bool(reply) for reply in await pipe.execute()]
            beside: Any = self._loops.get().client.pipeline(transaction=False)
            for record, gone in zip(records, deleted, strict=True):
                for name in SIDE_KEYS if gone else ():
                    beside.delete(record.number + name)
            await beside.execute()
            return sum(deleted)
        except UNREACHABLE as error:
            raise _unavailable(self._place, error) from error

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        await self._loops.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _ask(pipe: Any, number: str) -> None:
    """Add the two commands that read a record to a pipeline."""
    pipe.type(number)
    pipe.getrange(number, 0, LARGEST)  # one byte more than the maximum tells that a record is too long


def _record(number: str, kind: bytes | Exception, data: bytes | Exception) -> LegacyRecord | None:
    """Return the record of two replies. The error of a wrong type is expected; any other one is raised."""
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
    return StoreUnavailable(f"{place}: the legacy records cannot be read: {error}")
