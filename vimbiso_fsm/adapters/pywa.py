"""pywa: handlers for a `pywa.WhatsApp`, and a client that sends with it. pywa verifies the signatures itself."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import httpx
from pywa import handlers
from pywa.client import WhatsApp
from pywa.errors import WhatsAppError

from vimbiso_fsm.adapters.taking import FETCHED_BY_LIBRARY, read, take_in_thread, unanswered
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.web.client import ChannelClient
from vimbiso_fsm.web.cloud_api import CloudApi
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse

KINDS: Final = ("Message", "CallbackButton", "CallbackSelection", "FlowCompletion", "MessageStatus")
LAST: Final = -1000  # the priority of the handlers: those of the bot itself are asked before


class _Carrier:
    def __init__(self, whatsapp: WhatsApp) -> None:
        self._whatsapp = whatsapp

    def perform(self, request: HttpRequest, until: float) -> HttpResponse | NoResponse:
        if not request.url.endswith("/messages"):
            return FETCHED_BY_LIBRARY
        path = "/".join(request.url.split("/")[-2:])  # the version is that of pywa
        send, seconds = self._whatsapp.api.send_raw_request, max(until - time.monotonic(), 0.25)
        try:
            taken = send("POST", f"/{path}", json=json.loads(request.content), timeout=seconds)
        except (httpx.HTTPError, ValueError) as error:
            return unanswered(error)
        except WhatsAppError as error:
            given = error.raw_response
            return unanswered(error) if given is None else HttpResponse(given.status_code, given.headers, given.content)
        return HttpResponse(200, {}, json.dumps(taken).encode())

    def close(self) -> None:
        """Leave pywa open."""


def client(whatsapp: WhatsApp) -> ChannelClient:
    """Return a client that sends with pywa. Its `send` is a sender: `senders={"whatsapp": client.send}`."""
    api = CloudApi(token="pywa", number_id=whatsapp.phone_id or "")  # noqa: S106  # the token is known to pywa alone
    return ChannelClient(api, carrier=_Carrier(whatsapp))


def attach(whatsapp: WhatsApp, manager: FlowStateManager, client: ChannelClient) -> None:
    """Let the framework take what no handler of the bot's own has taken."""

    def take(_: WhatsApp, update: Any) -> None:
        if delivery := read(client, json.dumps(update.raw).encode()):
            return take_in_thread(manager, client, delivery)
        update.continue_handling()

    whatsapp.add_handlers(*(getattr(handlers, f"{kind}Handler")(take, priority=LAST) for kind in KINDS))
