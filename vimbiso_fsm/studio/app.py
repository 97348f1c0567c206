"""The app of the studio: its panels, behind the access."""

from __future__ import annotations

import logging
from collections.abc import Collection
from types import ModuleType
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.studio import board, machine, simulator, timeline
from vimbiso_fsm.studio.access import Access, Guard
from vimbiso_fsm.studio.desk import Desk
from vimbiso_fsm.studio.pages import page, static

PANELS: Final[Collection[ModuleType]] = (board, machine, timeline, simulator)
"""The panels, in the order of the navigation. Each has a `PANEL` and returns its `routes(desk)`."""

_log = logging.getLogger("vimbiso_fsm.studio")


def studio_app(desk: Desk, access: Access) -> Starlette:
    """Make the app of the studio.

    Args:
        desk: What the studio looks at.
        access: Who may use it.
    """
    shown = [module for module in PANELS if desk.manager is not None or not module.PANEL.is_live]

    async def start(_: Request) -> Response:
        return RedirectResponse(f"/{shown[0].PANEL.name}", 303)

    async def not_found(request: Request, _: Exception) -> Response:
        return page(request, "message.html", 404, title="Not found", words="There is no such page.")

    async def failed(request: Request, error: Exception) -> Response:
        _log.error("a page of the studio failed: %s", error_record(error, ""))
        words = f"The page could not be made ({type(error).__name__}). The log of the command tells more."
        return page(request, "message.html", 500, title="Not made", words=words)

    routes = [Route("/", start), Route("/static/{name}", static)]
    routes += [route for module in shown for route in module.routes(desk)]
    made = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={404: not_found, Exception: failed},
    )
    made.state.desk, made.state.panels = desk, [module.PANEL for module in shown]
    return made
