"""The webhooks of channels and the REST channel as an ASGI app. It needs the extra `serve`.

A request is verified over the bytes of its body before anything is read from it, and is answered after the commit. Of
its headers, only the proof of the channel and the length of the body count.
"""

from __future__ import annotations

import logging
import re
import time
from asyncio import timeout
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels import AsyncWebChannel
from vimbiso_fsm.channels.delivery import header, same_secret
from vimbiso_fsm.flow.rates import Rate
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.web.client import AsyncChannelClient
from vimbiso_fsm.web.cloud_api import CloudApi
from vimbiso_fsm.web.endpoints import Endpoint, RestEndpoint, Shared, Webhook
from vimbiso_fsm.web.metrics import CONTENT_TYPE
from vimbiso_fsm.web.peers import DEFAULT_REFUSALS, Peers
from vimbiso_fsm.web.rest import RestChannel

READY_SECONDS: Final = 2.0
"""Seconds within which a store that is ready answers."""
SECRET_LENGTH: Final = 16
"""Characters of the shortest token that this app is given."""
TAKEN: Final = frozenset({"healthz", "readyz", "metrics"})
"""The paths of the app that are no channels."""

_log = logging.getLogger("vimbiso_fsm.web")


def app(
    manager: AsyncFlowStateManager,
    channels: Mapping[str, AsyncWebChannel | RestChannel],
    *,
    base: str,
    verify_token: str = "",
    metrics_token: str = "",
    refusals: Rate | None = DEFAULT_REFUSALS,
) -> Starlette:
    """Make an ASGI app with the endpoints of channels.

    It can be mounted in another app. The caller starts and closes the manager and the channels.

    Args:
        manager: The manager, with senders for the channels of vendors. A REST channel needs none.
        channels: The channels by their path, of lower-case letters, digits and "-": `{"whatsapp": …}` is at
            `/whatsapp`.
        base: The address of the app as channels call it, such as "https://bot.example.org". An app that is mounted at a
            path has it without that path.
        verify_token: The token of Meta's handshake.
        metrics_token: The token with which `/metrics` is read: `Authorization: Bearer …`. Without one it is not served.
        refusals: The rate of refused requests of one public network address. Above it, its requests are refused
            unread. None for no bound.

    Raises:
        ValueError: `base` is no address, a path is none, or a secret is missing without which a channel would refuse
            all of its requests.
    """
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("base is not the address of the app; give https://HOST")
    if metrics_token and len(metrics_token) < SECRET_LENGTH:
        raise ValueError(f"metrics_token has less than {SECRET_LENGTH} characters; give a random one")
    shared = Shared(manager, base.rstrip("/"), Peers(refusals, time.monotonic))
    routes = [_route(name, shared, channel, verify_token) for name, channel in channels.items()]

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        try:
            async with timeout(READY_SECONDS):
                await manager.start()
                await manager.state("readyz")  # a member without data: the store is asked, and nothing is changed
        except Exception as error:  # noqa: BLE001  # whatever it is, the process cannot take a message
            _log.error("the app is not ready: %s", error_record(error, ""))
            return PlainTextResponse("not ready", 503)
        return PlainTextResponse("ready")

    async def metrics(request: Request) -> Response:
        if not same_secret(header(request.headers, "authorization"), f"Bearer {metrics_token}"):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return Response(shared.metrics.text(), media_type=CONTENT_TYPE)

    routes += [Route("/healthz", healthz), Route("/readyz", readyz)]
    made = Starlette(routes=[*routes, Route("/metrics", metrics)] if metrics_token else routes)
    made.state.bodies = shared.bodies
    return made


def _route(name: str, shared: Shared, channel: AsyncWebChannel | RestChannel, verify_token: str) -> Route:
    """Make the route of a channel.

    Raises:
        ValueError: The path is none, or a secret is missing.
    """
    if not re.fullmatch("[a-z0-9][a-z0-9-]*", name) or name in TAKEN:
        fault = "is no path of a channel; give lower-case letters, digits and '-'"
        raise ValueError(f"{name!r} {fault}, and none of {', '.join(sorted(TAKEN))}")
    endpoint: Endpoint
    if isinstance(channel, RestChannel):
        endpoint = RestEndpoint(name, shared, channel)
        return Route(f"/{name}", endpoint.answer, methods=["POST"])
    api = channel.api if isinstance(channel, AsyncChannelClient) else None
    missing = list(api.missing_secrets) if api is not None else []
    shakes_hands = isinstance(api, CloudApi)
    if shakes_hands and not verify_token:
        missing.append("verify_token")
    if missing:
        raise ValueError(
            f"channel {name!r} has no {' and no '.join(missing)}; without it each request would be refused"
        )
    endpoint = Webhook(name, shared, channel, verify_token if shakes_hands else "")
    return Route(f"/{name}", endpoint.answer, methods=["GET", "POST"] if shakes_hands else ["POST"])
