"""Where the records of the previous release stand: bare telephone numbers on a Redis-compatible server.

They are only read, a number at a time for the bot (`LegacySource`, `AsyncLegacySource`), page by page for a migration, and
deleted when asked for, each only while it is still the record that was converted. What is no text under such a name is
read as far as it can be said what it is. Anything with a method `read` can take their place.
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
    """Old records, one at a time. `url`: as in `connecting.py`, but of no cluster; connects when first used."""

    def __init__(self, url: str) -> None:
        """Raises: StoreUnavailable for a URL that is none of one server."""
        servers = servers_at(url, timeout=TIMEOUT, connect_timeout=TIMEOUT / 2, connections=20)
        if isinstance(servers, Cluster):
            raise StoreUnavailable(_NO_CLUSTER)
        self._servers = servers

    def read(self, number: str, /) -> LegacyRecord | None:
        """The record under a number. Raises: StoreUnavailable."""
        try:
            pipe: Any = self._servers.client.pipeline()  # both at one moment: the old release may be at work
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
    """The same, awaited, and all of them."""

    def __init__(self, url: str) -> None:
        """Raises: StoreUnavailable for a URL that is none of one server."""
        servers = async_servers_at(url, timeout=TIMEOUT, connect_timeout=TIMEOUT / 2, connections=20)
        if isinstance(servers, AsyncCluster):
            raise StoreUnavailable(_NO_CLUSTER)
        self._servers = servers

    async def read(self, number: str, /) -> LegacyRecord | None:
        """The record under a number. Raises: StoreUnavailable."""
        found = await self.read_all([number])
        return found[0] if found else None

    async def read_all(self, numbers: Sequence[str]) -> list[LegacyRecord]:
        """The records under the numbers, without those that are gone. Raises: StoreUnavailable."""
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
        """The numbers that something stands under, page by page, each with how many keys were looked at. A number may
        come twice, when the server moves its keys about. Raises: StoreUnavailable."""
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
        """How many keys there are at most, others among them. Raises: StoreUnavailable."""
        try:
            client: Any = self._servers.client
            found = await client.dbsize()
            return int(found)
        except UNREACHABLE as error:
            raise _unavailable(self._servers.place, error) from error

    async def delete(self, records: Sequence[LegacyRecord]) -> int:
        """Delete records that are still the same, with the keys beside them -> how many there were. Raises:
        StoreUnavailable."""
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
    """What two replies say. A wrong type is an answer; any other error is none."""
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
