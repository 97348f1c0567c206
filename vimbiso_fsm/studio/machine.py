"""The panel "Machine": the flows drawn, the place of one conversation, and the counts of all of them.

The page draws by WebAssembly (Viz.js), so its policy allows that, and no other page's does.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.trail import read_entry
from vimbiso_fsm.check.diagram import bot_diagram, declared_flows
from vimbiso_fsm.check.dot import dot
from vimbiso_fsm.errors import DamagedDocument, EncryptedState, ForeignState, NewerState
from vimbiso_fsm.operations.census import Census
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.requests import Broken, Load, ReadAudit, ScanPart
from vimbiso_fsm.studio.access import POLICY
from vimbiso_fsm.studio.desk import Desk
from vimbiso_fsm.studio.machine_view import NO_CONVERSATION, Conversation, MachineView, Tally, machine_view
from vimbiso_fsm.studio.pages import Panel, page

PANEL: Final = Panel("machine", "Machine")
DRAWING_POLICY: Final = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")
"""The policy of the pages of this panel: they may compile WebAssembly."""
DAY: Final = timedelta(days=1)
"""The time whose transitions are counted."""
MOST_COUNTED: Final = 500
"""The members that are counted at most."""
ENTRIES: Final = 64
"""The latest entries of each member of which the transitions are counted."""

_AT_ONCE: Final = 50
"""Members that are read at once for the counts."""
_REST: Final = 20
"""For so many times the time that they took, counts are shown before they are made anew."""
_LATEST: Final = 8
"""The latest entries of a member among which that of a turn is looked for."""


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the routes of the panel."""
    counts = Counts(desk.manager) if desk.manager is not None else None
    names = [flow.name for flow in declared_flows(desk.bot)]

    async def overview(request: Request) -> Response:
        drawn = bot_diagram(desk.bot)
        return _drawing(page(request, "machine_flows.html", panel=PANEL, diagram=drawn, dot=dot(drawn), names=names))

    async def show(request: Request) -> Response:
        asked = dict(request.query_params)
        other = asked.pop("flow", "")
        if other:  # the form has one address, and the flow among its fields
            return RedirectResponse(f"/{PANEL.name}/{quote(other, safe='')}?{urlencode(asked)}", 303)
        values = await _values(desk, request)
        view: MachineView = values["view"]
        chosen = request.query_params.get("edge", "")
        edge = view.edges[int(chosen)] if chosen.isdecimal() and int(chosen) < len(view.edges) else None
        return _drawing(page(request, "machine.html", panel=PANEL, names=names, edge=edge, **values))

    async def marks(request: Request) -> Response:
        """The tables and marks, with counts. Nothing is sent if the page shows the same already."""
        values = await _values(desk, request, await counts.tally() if counts is not None else None)
        return page(request, "machine_marks.html", **values) if values["changed"] else Response(status_code=204)

    async def edge(request: Request) -> Response:
        values = await _values(desk, request)
        place, view = request.path_params["place"], values["view"]
        if place >= len(view.edges):
            raise HTTPException(404)
        return page(request, "machine_edge.html", edge=view.edges[place], **values)

    return [
        Route(f"/{PANEL.name}", overview),
        Route(f"/{PANEL.name}/{{flow}}", show),
        Route(f"/{PANEL.name}/{{flow}}/marks", marks),
        Route(f"/{PANEL.name}/{{flow}}/edges/{{place:int}}", edge),
    ]


async def _values(desk: Desk, request: Request, tally: Tally | None = None) -> dict[str, Any]:
    """Return the values that the templates of a flow show."""
    name: str = request.path_params["flow"]
    flow = next((each for each in declared_flows(desk.bot) if each.name == name), None)
    if flow is None:
        raise HTTPException(404)
    member = request.query_params.get("member", "").strip()
    followed, problem = NO_CONVERSATION, ""
    if member and desk.manager is not None:
        followed, problem = await conversation_of(desk.manager, member)
    view = machine_view(flow, followed, tally)
    awaited = ["load"] if tally is None and desk.manager is not None else []
    awaited += ["every 2s"] if member and not problem else []
    seen = hashlib.sha256(repr((view.dot, view.states, view.edges, followed.version)).encode("utf-8", "replace"))
    return {
        "view": view,
        "member": member,
        "query": f"?{urlencode({'member': member})}" if member else "",
        "followed": followed,
        "problem": problem,
        "tally": tally,
        "awaited": ", ".join(awaited),
        "digest": seen.hexdigest()[:16],
        "changed": request.query_params.get("seen", "") != seen.hexdigest()[:16],
    }


def _drawing(response: Response) -> Response:
    """Let a page draw."""
    response.headers["Content-Security-Policy"] = DRAWING_POLICY
    return response


async def conversation_of(manager: AsyncFlowStateManager, member_id: str) -> tuple[Conversation, str]:
    """Return what is shown of a member's conversation, and a sentence if there is nothing to show.

    Args:
        manager: The manager of a live store or of a simulator.
        member_id: The member.
    """
    try:
        document = await manager.state(member_id)
    except (DamagedDocument, NewerState, ForeignState, EncryptedState) as error:
        return NO_CONVERSATION, f"The document of this member cannot be shown ({type(error).__name__})."
    if document is None:
        return NO_CONVERSATION, "The store has no conversation of this member."
    latest = await _entries(manager, member_id, _LATEST)
    turn = next((entry for entry in reversed(latest) if entry.steps), None)
    return Conversation.of(document, turn), ""


async def _entries(manager: AsyncFlowStateManager, member_id: str, count: int) -> list[AuditEntry]:
    """Return the latest entries of a member that can be read, oldest first."""
    try:
        found = await manager.ask(ReadAudit(member_id, last=count, tolerant=True))
    except DamagedDocument:
        return []
    return [read for entry in found if isinstance(read := read_entry(entry), AuditEntry)]


@attrs.define
class Counts:
    """The counts of the live members. They are kept for a while, so that counting takes a small part of the time only.

    Attributes:
        manager: The manager of the live store.
    """

    manager: AsyncFlowStateManager
    _lock: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _latest: Tally | None = attrs.field(default=None, init=False)
    _until: float = attrs.field(default=0.0, init=False)

    async def tally(self) -> Tally:
        """Return the counts."""
        async with self._lock:
            began = time.monotonic()
            if self._latest is None or began >= self._until:
                self._latest, ended = await self._count(self.manager.now()), time.monotonic()
                self._until = ended + _REST * (ended - began)
            return self._latest

    async def _count(self, now: float) -> Tally:
        tally = Tally(Census(self.manager.bot), datetime.fromtimestamp(now, UTC) - DAY)
        counted, cursor = set[str](), None
        while cursor != "" and tally.is_complete:
            part = await self.manager.ask(ScanPart(cursor or ""))
            found = [member_id for member_id in part.members if member_id not in counted]
            chosen, cursor = found[: MOST_COUNTED - len(counted)], part.cursor
            tally.is_complete = len(chosen) == len(found)
            for first in range(0, len(chosen), _AT_ONCE):
                await asyncio.gather(*(self._add(tally, each) for each in chosen[first : first + _AT_ONCE]))
            counted.update(chosen)
        return tally

    async def _add(self, tally: Tally, member_id: str) -> None:
        stored = await self.manager.ask(Load(member_id))
        if isinstance(stored, Broken):
            tally.census.add_broken(stored.fault)
        elif stored.document is not None:
            tally.census.add(stored.document)
        tally.add(await _entries(self.manager, member_id, ENTRIES))
