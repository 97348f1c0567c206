"""WSGI: the webhook of a channel as an app, for any server of WSGI, or to be mounted in Flask. It needs no extra."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

from vimbiso_fsm.adapters.webhook import Webhook
from vimbiso_fsm.channels import WebChannel
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.web.settings import MAX_BODY


def app(
    manager: FlowStateManager, channel: WebChannel, **settings: Any
) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Return a WSGI app that answers at each path of its mount.

    Args:
        manager: The manager, with a sender for the channel.
        channel: The channel.
        **settings: Those of `Webhook`: `base`, `verify_token` and `own`.

    Raises:
        ValueError: A setting is missing; see `Webhook`.
    """
    webhook = Webhook(manager, channel, **settings)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, words = 405, ""
        if environ["REQUEST_METHOD"] == "GET":
            status, words = webhook.challenge(dict(parse_qsl(environ.get("QUERY_STRING", ""))))
        elif environ["REQUEST_METHOD"] == "POST":
            status = _taken(webhook, environ)
        start_response(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "text/plain; charset=utf-8")])
        return [words.encode()]

    return answer


def _taken(webhook: Webhook, environ: dict[str, Any]) -> int:
    """Read a request and take it."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isascii() or not length.isdigit() or int(length[:9]) > MAX_BODY or len(length) > 9:
        return 413
    raw = environ["wsgi.input"].read(int(length))
    called = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    path = quote(called.encode("latin-1"), safe="/:@!$&'()*+,;=~")  # a server has decoded it
    query = environ.get("QUERY_STRING", "")
    headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    return webhook.answer(headers, raw, f"{path}?{query}" if query else path)
