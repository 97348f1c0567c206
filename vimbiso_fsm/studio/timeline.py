"""The panel "Timeline": what happened in a member's conversation, entry by entry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from vimbiso_fsm.audit.masked_replies import ReplyMask
from vimbiso_fsm.errors import StateNotKept, VimbisoError
from vimbiso_fsm.operations.effects import Operation, run_awaited
from vimbiso_fsm.operations.timeline import document_at, find_member, read_explanation, read_state, read_timeline
from vimbiso_fsm.studio.desk import Desk
from vimbiso_fsm.studio.pages import Panel, page
from vimbiso_fsm.studio.timeline_rows import address, as_text, facts_of, rows_of

PANEL: Final = Panel("timeline", "Timeline", is_live=True)
LONGEST_NAME: Final = 500
"""Characters of the name of a member that is looked for."""

R = TypeVar("R")


class _Timeline:
    """The panel at a live store."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._mask = ReplyMask(desk.bot)

    async def search(self, request: Request) -> Response:
        """Show the field in which a member is named, or lead to the member's page."""
        name = request.query_params.get("member", "").strip()
        if not name:
            return page(request, "timeline.html", panel=PANEL, name="", problem="")
        if len(name) > LONGEST_NAME:
            return self._problem(request, name[:LONGEST_NAME], "This is too long for an id or an address.")
        try:
            member_id = await self._read(find_member(self._desk.bot, name))
        except VimbisoError as error:
            return self._problem(request, name, str(error))
        return RedirectResponse(address(member_id), 303)

    async def show(self, request: Request) -> Response:
        """Show a page of a member's timeline, or the explanation of one entry for htmx."""
        member_id: str = request.path_params["member"]
        query = request.query_params
        key, before = query.get("entry", ""), query.get("before", "")
        opened = await self._opened(member_id, key) if key else None
        if opened is not None and request.headers.get("HX-Request") == "true":
            return page(request, "timeline_entry.html", member_id=member_id, opened=opened, address=address)
        try:
            found = await self._read(read_timeline(self._desk.bot, member_id, before=before, mask=self._mask))
        except VimbisoError as error:
            return self._problem(request, member_id, str(error))
        if not found.moments and found.standing is None and not found.faults:
            return self._problem(request, member_id, "Nothing is stored of this member.")
        values: dict[str, Any] = {"found": found, "rows": tuple(rows_of(found.moments)), "opened": opened}
        return page(
            request, "timeline_member.html", panel=PANEL, member_id=member_id, before=before, address=address, **values
        )

    async def fork(self, request: Request) -> Response:
        """Begin a simulation that goes on from a version, and lead to it. The live store is only read."""
        given = parse_qs((await request.body()).decode("utf-8", "replace"))
        member_id, number = (given.get(name, [""])[0] for name in ("member", "version"))
        try:
            document = await self._read(document_at(self._desk.bot, member_id, _version(number)))
            place = await asyncio.to_thread(self._desk.simulations.fork, document)
        except StateNotKept as error:
            return self._problem(request, member_id, f"Version {number} cannot be forked: {error.fault}.")
        except VimbisoError as error:
            return self._problem(request, member_id, str(error))
        return RedirectResponse(place, 303)

    async def _opened(self, member_id: str, key: str) -> dict[str, Any]:
        """Return the explanation of an entry, and the state after it."""
        owner, _, number = key.rpartition("/")
        owner = owner or member_id
        version = _version(number)
        opened: dict[str, Any] = {"key": key, "version": version, "problem": "", "explained": None, "state": None}
        try:
            explanation = await self._read(read_explanation(self._desk.bot, owner, version))
        except VimbisoError as error:
            return {**opened, "problem": str(error)}
        opened |= {"explained": explanation, "facts": facts_of(explanation), "no_state": "", "can_fork": False}
        try:
            state = await self._read(read_state(self._desk.bot, owner, version))
        except StateNotKept as error:
            return {**opened, "no_state": error.fault}
        except VimbisoError as error:
            return {**opened, "no_state": str(error)}
        shown = [(name, as_text(value)) for name, value in state.items()]
        return {**opened, "state": shown or [("flow", "none is open")], "can_fork": owner == member_id}

    def _problem(self, request: Request, name: str, problem: str) -> Response:
        return page(request, "timeline.html", 404, panel=PANEL, name=name, problem=problem)

    async def _read(self, operation: Operation[R]) -> R:
        manager = self._desk.manager
        assert manager is not None
        return await run_awaited(operation, manager.ask)


def _version(number: str) -> int:
    """Return a version as a number; 0, which none is, for another text."""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 16 else 0


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the routes of the panel."""
    shown = _Timeline(desk)
    fork = Route(f"/{PANEL.name}/fork", shown.fork, methods=["POST"])
    return [Route(f"/{PANEL.name}", shown.search), fork, Route(f"/{PANEL.name}/{{member:path}}", shown.show)]
