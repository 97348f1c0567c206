"""The stores with an archive: stores around another store, which answer with both as one.

Nothing above the store knows of the archive: history, verification, explanation, export and erasure read and change
both. Work at the archive runs in a thread where the store is awaited.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import attrs

from vimbiso_fsm.archive.keeping import Archive, Archiving
from vimbiso_fsm.archive.opening import open_archive
from vimbiso_fsm.archive.procedures import CHANGED, AtArchive, Procedures
from vimbiso_fsm.operations.effects import run, run_awaited
from vimbiso_fsm.store.requests import AsyncStore, Commit, Effect, Request, Store

R = TypeVar("R")


class _Archived:
    """State shared by both stores."""

    def __init__(self, store: Store | AsyncStore, archiving: Archiving | str, now: Callable[[], float]) -> None:
        archiving = Archiving(archiving) if isinstance(archiving, str) else archiving
        given = archiving.archive
        self.archive: Archive = open_archive(given, self._namespace(store)) if isinstance(given, str) else given
        self._closes = isinstance(given, str)
        self._procedures = Procedures(attrs.evolve(archiving, archive=self.archive), now)
        self.place_of = getattr(store, "place_of", None)

    @staticmethod
    def _namespace(store: object) -> str:
        """Return the namespace of a store, which may stand around another one."""
        found = getattr(store, "namespace", None)
        inner = getattr(store, "inner", None)
        return str(found or "") if inner is None else _Archived._namespace(inner)

    def _close(self) -> None:
        if self._closes:
            self.archive.close()


class ArchivedStore(_Archived):
    """A `Store` whose older audit entries are in an archive. It may be shared between threads.

    Attributes:
        inner: The store below.
        archive: The archive.
    """

    def __init__(self, store: Store, archiving: Archiving | str, now: Callable[[], float] = time.time) -> None:
        """Put an archive beside a store.

        Args:
            store: The store. The caller closes it.
            archiving: The archive and the bounds of what stays in the store, or the URL of the archive.
            now: Returns seconds since the epoch on the store's clock.

        Raises:
            ArchiveUnavailable: The URL is none, or the driver of the database is not installed.
        """
        super().__init__(store, archiving, now)
        self.inner = store

    def perform(self, request: Effect[R], /) -> R:
        """Perform a request; its class documents the answer and the errors."""
        kind = type(request)
        if kind is Commit:
            return self.inner.perform(cast(Effect[R], self._procedures.waking(cast(Commit, request))))
        if kind not in CHANGED:
            return self.inner.perform(request)
        return cast(R, run(self._procedures.answer(request), self._perform))

    def waiting(self, member_id: str) -> int:
        """Return how many audit entries of a member in the store exceed the bounds, and wait for the archive."""
        return run(self._procedures.waiting(member_id), self._perform)

    def close(self) -> None:
        """Close the archive, if it was opened from a URL."""
        self._close()

    def _perform(self, request: Request) -> object:
        if isinstance(request, AtArchive):
            return request.work(self.archive)
        answer: Any = self.inner.perform(request)
        return answer


class AsyncArchivedStore(_Archived):
    """An `AsyncStore` whose older audit entries are in an archive; see `ArchivedStore`.

    Attributes:
        inner: The store below.
        archive: The archive.
    """

    def __init__(self, store: AsyncStore, archiving: Archiving | str, now: Callable[[], float] = time.time) -> None:
        """Put an archive beside a store; see `ArchivedStore`."""
        super().__init__(store, archiving, now)
        self.inner = store

    async def perform(self, request: Effect[R], /) -> R:
        """Perform a request; its class documents the answer and the errors."""
        kind = type(request)
        if kind is Commit:
            return await self.inner.perform(cast(Effect[R], self._procedures.waking(cast(Commit, request))))
        if kind not in CHANGED:
            return await self.inner.perform(request)
        return cast(R, await run_awaited(self._procedures.answer(request), self._perform))

    async def close(self) -> None:
        """Close the archive, if it was opened from a URL."""
        import asyncio

        await asyncio.to_thread(self._close)

    async def _perform(self, request: Request) -> object:
        if isinstance(request, AtArchive):
            import asyncio

            return await asyncio.to_thread(request.work, self.archive)
        answer: Any = await self.inner.perform(request)
        return answer
