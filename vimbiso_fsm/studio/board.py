"""The panel "Board": members by state and what is stuck, the workers and what is due, incidents, and figures.

A page is there at once; its parts are read when it asks for them. No request reads more than a part of the members:
while they are counted, each answer asks for the next part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.doctor import MEMORY_ALARM
from vimbiso_fsm.store.requests import Heartbeat, Lease, ReadDue, ReadUsage
from vimbiso_fsm.store.retention import SHARDS
from vimbiso_fsm.studio.board_view import (
    DUE_PER_SHARD,
    WAITS,
    Attendance,
    Count,
    Late,
    attendance,
    figures,
    findings,
    lag,
    late,
)
from vimbiso_fsm.studio.desk import Desk
from vimbiso_fsm.studio.pages import Panel, page

PANEL: Final = Panel("board", "Board", is_live=True)
PART_SECONDS: Final = 0.2
"""Seconds for which one request counts members, until the part in which they are over has ended."""
PART_KEYS: Final = 200
"""Keys of one part, about. A page is answered between two parts."""
INCIDENTS: Final = 20
"""The latest incidents that are shown."""
READER: Final = "studio"
"""The name under which the studio asks who is present. It is a worker that leaves, and holds nothing."""

Show = Callable[[Request], Coroutine[Any, Any, Response]]


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the routes of the panel."""
    manager = desk.manager
    assert manager is not None  # it is a panel of a live store
    board = Board(manager)

    async def show(request: Request) -> Response:
        return page(request, "board.html", panel=PANEL)

    async def members(request: Request) -> Response:
        await board.count_on(again="again" in request.query_params)
        return page(request, "board_members.html", count=board.count, now=instant(manager.now()), part=_part)

    async def store(request: Request) -> Response:
        workers, rows = await attendance_of(manager), await late_of(manager)
        usage = await manager.ask(ReadUsage())
        found = findings(workers, rows, max((each.share for each in usage), default=0.0), MEMORY_ALARM)
        incidents = (await manager.incidents(last=INCIDENTS))[::-1]
        values: dict[str, Any] = {"workers": workers, "rows": rows, "lag": lag(rows), "usage": usage, "findings": found}
        return page(request, "board_store.html", incidents=incidents, now=instant(manager.now()), **values)

    async def numbers(request: Request) -> Response:
        assert desk.processes is not None
        samples, faults = await desk.processes.read()
        return page(request, "board_figures.html", figures=figures(samples), faults=faults)

    async def recover(request: Request) -> Response:
        if not desk.write:
            return page(request, "board_fault.html", 403, words="The studio was started without --write.", again=False)
        found = await manager.recover(request.path_params["member"])
        return page(request, "board_recovery.html", recovery=found)

    shown = [
        Route(f"/{PANEL.name}", show),
        Route(f"/{PANEL.name}/members", _told(members)),
        Route(f"/{PANEL.name}/store", _told(store)),
        Route(f"/{PANEL.name}/recover/{{member:path}}", _told(recover), methods=["POST"]),
    ]
    return [*shown, Route(f"/{PANEL.name}/figures", numbers)] if desk.processes is not None else shown


class Board:
    """The count of the members, which the windows of the board share.

    Attributes:
        count: The count so far.
    """

    def __init__(self, manager: AsyncFlowStateManager) -> None:
        """Begin no count yet."""
        self.count = Count()
        self._manager, self._cursor = manager, ""
        self._lock = asyncio.Lock()

    async def count_on(self, *, again: bool = False) -> None:
        """Count some more members; with `again`, begin anew if the count has ended.

        Raises:
            VimbisoError: The store does not answer. The count goes on from here when it is asked for again.
        """
        async with self._lock:
            if self.count.ended is not None and again:
                self.count, self._cursor = Count(), ""
            end = time.monotonic() + PART_SECONDS
            while self.count.ended is None:
                part = await self._manager.members(self._cursor, keys=PART_KEYS)
                now = instant(self._manager.now())
                self.count.begun = self.count.begun or now
                self.count.add(part.members)
                self._cursor = part.cursor
                if not part.cursor:
                    self.count.ended = now
                elif time.monotonic() >= end:
                    break


async def attendance_of(manager: AsyncFlowStateManager) -> Attendance:
    """Ask which workers are present, and which shards each of them holds."""
    present = await manager.ask(Heartbeat(READER, 0.0))
    leases = await asyncio.gather(*(manager.ask(Lease(shard, READER, 0.0)) for shard in range(SHARDS)))
    return attendance(present, (leased.worker for leased in leases))


async def late_of(manager: AsyncFlowStateManager) -> Sequence[Late]:
    """Count the members who have been due for a time, for each time of `WAITS` until no member is left."""
    now, shards, rows = manager.now(), [*range(SHARDS)], list[Late]()
    for seconds in WAITS:
        asked = (manager.ask(ReadDue(shard, now - seconds, DUE_PER_SHARD)) for shard in shards)
        due = await asyncio.gather(*asked)
        rows.append(late(seconds, due))
        shards = [shard for shard, members in zip(shards, due, strict=True) if members]
    return rows


def _told(show: Show) -> Show:
    """Let a part of the board tell of an error of the store in its place."""

    async def shown(request: Request) -> Response:
        try:
            return await show(request)
        except VimbisoError as error:
            return page(
                request, "board_fault.html", words=str(error), again=request.method == "GET", path=request.url.path
            )

    return shown


def _part(text: str) -> str:
    """Return a text as one part of an address."""
    return quote(text, safe="", errors="surrogatepass")
