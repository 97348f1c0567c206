"""The panel "Machine"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from vimbiso_fsm.studio.desk import Desk
from vimbiso_fsm.studio.pages import Panel, page

PANEL: Final = Panel("machine", "Machine")


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the routes of the panel."""

    async def show(request: Request) -> Response:
        return page(request, "machine.html", panel=PANEL)

    return [Route(f"/{PANEL.name}", show)]
