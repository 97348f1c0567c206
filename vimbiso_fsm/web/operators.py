"""The pages for operators: whether a process lives, whether it is ready, and its figures."""

from __future__ import annotations

import logging
from asyncio import timeout
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels.delivery import header, same_secret
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.runtime.worker import AsyncWorker
from vimbiso_fsm.web.settings import Fault

if TYPE_CHECKING:
    from vimbiso_fsm.web.metrics import OpenMetrics

READY_SECONDS: Final = 2.0
"""Seconds within which a store that is ready answers."""
SECRET_LENGTH: Final = 16
"""Characters of the shortest token that these pages are given."""
PATHS: Final = frozenset({"healthz", "readyz", "metrics"})
"""The paths of the pages."""

_log = logging.getLogger("vimbiso_fsm.web")


def fault_of_token(name: str, token: str) -> Fault | None:
    """Return what is wrong with the token of the metrics; None without a fault or a token."""
    if not token or len(token) >= SECRET_LENGTH:
        return None
    return Fault(name, f"has less than {SECRET_LENGTH} characters", "give a random one")


def pages(
    manager: AsyncFlowStateManager,
    *,
    worker: AsyncWorker | None = None,
    metrics: OpenMetrics | None = None,
    metrics_token: str = "",
) -> Sequence[Route]:
    """Return the routes of the pages.

    Args:
        manager: The manager whose store is asked.
        worker: The worker of the process, if it has one.
        metrics: The figures.
        metrics_token: The token with which they are read. Without one they are not served.

    Raises:
        ValueError: The token is too short.
    """
    if fault := fault_of_token("metrics_token", metrics_token):
        raise ValueError(str(fault))

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        if worker is not None and worker.is_stalled():
            _log.error("the process is not ready: its worker makes no progress")
            return PlainTextResponse(f"not ready: the worker made no progress for {worker.stalled_for():.0f} s", 503)
        try:
            async with timeout(READY_SECONDS):
                await manager.start()
                await manager.state("readyz")  # a member without data: the store is asked, and nothing is changed
        except Exception as error:  # noqa: BLE001  # whatever it is, the process cannot take a message
            _log.error("the process is not ready: %s", error_record(error, ""))
            return PlainTextResponse("not ready: the store does not answer", 503)
        return PlainTextResponse("ready")

    routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    if metrics is None or not metrics_token:
        return routes

    async def figures(request: Request) -> Response:
        if not same_secret(header(request.headers, "authorization"), f"Bearer {metrics_token}"):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        from vimbiso_fsm.web.metrics import CONTENT_TYPE

        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return [*routes, Route("/metrics", figures)]


def operator_app(
    manager: AsyncFlowStateManager, worker: AsyncWorker, metrics: OpenMetrics | None, metrics_token: str
) -> Starlette:
    """Make an ASGI app with the pages alone, for the process of a worker. See `pages`."""
    return Starlette(routes=pages(manager, worker=worker, metrics=metrics, metrics_token=metrics_token))
