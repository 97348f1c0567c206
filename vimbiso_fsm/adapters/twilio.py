"""Twilio: a client that sends with a `twilio.rest.Client`. The adapters `wsgi` and `django` take its webhooks."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl

import requests
from twilio.rest import Client  # pyright: ignore[reportMissingTypeStubs]  # it ships no types

from vimbiso_fsm.adapters.taking import FETCHED_BY_LIBRARY, unanswered
from vimbiso_fsm.web.client import ChannelClient
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse
from vimbiso_fsm.web.twilio_api import TwilioApi


class _Carrier:
    def __init__(self, twilio: Client) -> None:
        self._twilio = twilio

    def perform(self, request: HttpRequest, until: float) -> HttpResponse | NoResponse:
        if request.method != "POST":
            return FETCHED_BY_LIBRARY
        fields: dict[str, Any] = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        seconds = max(until - time.monotonic(), 0.25)
        try:
            given = self._twilio.request("POST", request.url, data=fields, timeout=seconds)
        except requests.RequestException as error:
            return unanswered(error)
        headers = {name.lower(): value for name, value in (given.headers or {}).items()}
        return HttpResponse(given.status_code, headers, given.text.encode())

    def close(self) -> None:
        """Leave the client open."""


def client(twilio: Client, *, sender: str = "", auth_token: str = "", **settings: Any) -> ChannelClient:
    """Return a client that sends with Twilio's own, and verifies its webhooks.

    Args:
        twilio: The client of Twilio.
        sender: The number to send from, or the id of a messaging service.
        auth_token: The token of the account, with which webhooks are signed; by default the password of the client.
        **settings: Further settings of `TwilioApi`, such as `status_callback`.
    """
    account_sid: Any = twilio.account_sid
    token: Any = auth_token or twilio.password
    api = TwilioApi(account_sid=account_sid, auth_token=token, sender=sender, **settings)
    return ChannelClient(api, carrier=_Carrier(twilio))
