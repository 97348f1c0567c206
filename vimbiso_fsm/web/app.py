"""The webhooks of channels, the REST channel and web chats as an ASGI app. It needs the extra `serve`.

A request is verified over the bytes of its body before anything is read from it, and is answered after the commit. Of
its headers, only the proof of the channel and the length of the body count.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from vimbiso_fsm.channels import AsyncWebChannel
from vimbiso_fsm.flow.rates import Rate
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.runtime.worker import AsyncWorker
from vimbiso_fsm.web.chat import WebChat
from vimbiso_fsm.web.chat_connection import serve
from vimbiso_fsm.web.chat_page import FILES, ChatPage, cookie_of
from vimbiso_fsm.web.client import AsyncChannelClient
from vimbiso_fsm.web.counts import Counts
from vimbiso_fsm.web.endpoints import Endpoint, InboxEndpoint, RestEndpoint, Shared, Webhook
from vimbiso_fsm.web.inbox import HttpInbox
from vimbiso_fsm.web.operators import PATHS, pages
from vimbiso_fsm.web.peers import DEFAULT_REFUSALS, Peers
from vimbiso_fsm.web.rest import RestChannel
from vimbiso_fsm.web.settings import is_app_address, missing_settings

if TYPE_CHECKING:
    from vimbiso_fsm.web.metrics import OpenMetrics


def app(
    manager: AsyncFlowStateManager,
    channels: Mapping[str, AsyncWebChannel | RestChannel | WebChat | HttpInbox],
    *,
    base: str,
    verify_token: str = "",
    metrics_token: str = "",
    refusals: Rate | None = DEFAULT_REFUSALS,
    metrics: OpenMetrics | None = None,
    worker: AsyncWorker | None = None,
) -> Starlette:
    """Make an ASGI app with the endpoints of channels.

    It can be mounted in another app. The caller starts and closes the manager and the channels.

    Args:
        manager: The manager, with senders for the channels of vendors. A REST channel needs none, and a web chat is
            what it delivers by: `deliver=chat`.
        channels: The channels by their path, of lower-case letters, digits and "-": `{"whatsapp": …}` is at
            `/whatsapp`. An `HttpInbox` stands among them: the help desk acts there.
        base: The address of the app as channels call it, such as "https://bot.example.org". An app that is mounted at a
            path has it without that path.
        verify_token: The token of Meta's handshake.
        metrics_token: The token with which `/metrics` is read: `Authorization: Bearer …`. Without one it is not served.
        refusals: The rate of refused requests of one public network address. Above it, its requests are refused
            unread. None for no bound.
        metrics: The figures that `/metrics` shows. A `MeasuredManager` with them among its measures adds its own; by
            default the page has those of the app alone.
        worker: The worker of the process. Without progress of it, the app is not ready.

    Raises:
        ValueError: `base` is no address, a path is none, a secret is missing without which a channel would refuse all
            of its requests, or the manager does not deliver by a web chat.
    """
    if not is_app_address(base):
        raise ValueError("base is not the address of the app; give https://HOST")
    counts = _counts(metrics, metrics_token)
    shared = Shared(manager, base.rstrip("/"), Peers(refusals, time.monotonic), counts or Counts())
    routes = [route for name, channel in channels.items() for route in _routes(name, shared, channel, verify_token)]

    routes += pages(manager, worker=worker, metrics=counts, metrics_token=metrics_token)
    made = Starlette(routes=routes)
    made.state.bodies = shared.bodies
    return made


def _counts(metrics: OpenMetrics | None, token: str) -> OpenMetrics | None:
    """Return the figures of the app; None if it shows none."""
    if metrics is not None or not token:
        return metrics
    from vimbiso_fsm.web.metrics import OpenMetrics  # an app without figures needs no prometheus_client

    return OpenMetrics()


def _routes(
    name: str, shared: Shared, channel: AsyncWebChannel | RestChannel | WebChat | HttpInbox, verify_token: str
) -> list[BaseRoute]:
    """Make the routes of a channel.

    Raises:
        ValueError: The path is none, a secret is missing, or the manager does not deliver by a web chat.
    """
    if not re.fullmatch("[a-z0-9][a-z0-9-]*", name) or name in PATHS:
        fault = "is no path of a channel; give lower-case letters, digits and '-'"
        raise ValueError(f"{name!r} {fault}, and none of {', '.join(sorted(PATHS))}")
    endpoint: Endpoint
    if isinstance(channel, WebChat):
        return _chat_routes(name, shared, channel)
    if isinstance(channel, HttpInbox):
        return [Route(f"/{name}", InboxEndpoint(name, shared, channel).answer, methods=["POST"])]
    if isinstance(channel, RestChannel):
        endpoint = RestEndpoint(name, shared, channel)
        return [Route(f"/{name}", endpoint.answer, methods=["POST"])]
    if missing := missing_settings(channel, verify_token):
        raise ValueError(
            f"channel {name!r} has no {' and no '.join(missing)}; without it each request would be refused"
        )
    shakes_hands = isinstance(channel, AsyncChannelClient) and channel.api.shakes_hands
    endpoint = Webhook(name, shared, channel, verify_token if shakes_hands else "")
    return [Route(f"/{name}", endpoint.answer, methods=["GET", "POST"] if shakes_hands else ["POST"])]


def _chat_routes(name: str, shared: Shared, chat: WebChat) -> list[BaseRoute]:
    """Make the routes of a web chat: its page, the files of the page, and its web socket.

    Raises:
        ValueError: The manager delivers by nothing, or by another chat, so that no words of timers would be pushed.
    """
    delivers = shared.manager._base.deliver
    if delivers is None or (isinstance(delivers, WebChat) and delivers is not chat):
        raise ValueError(f"the manager does not deliver by the web chat {name!r}; make it with deliver=chat")
    page, cookie = ChatPage(name, shared, chat), cookie_of(name, shared.base)

    async def socket(connection: WebSocket) -> None:
        await serve(name, shared, chat, cookie, connection)

    routes: list[BaseRoute] = [Route(f"/{name}", page.answer), WebSocketRoute(f"/{name}/socket", socket)]
    return [*routes, *(Route(f"/{name}/{each}", page.file) for each in FILES)]
