"""The access to the studio: a token that opens it once, and the checks of each request.

The studio listens on this machine alone, but every page that a browser has open can send requests to this machine. So
a request needs the cookie of the browser that has used the token; its `Host` is an address of the studio, because a
foreign name may lead to this machine too; and a request that changes something names the studio as its `Origin`.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qs

import attrs
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "vimbiso-studio"
"""The name of the cookie, before the port: the cookies of a host are those of all of its ports."""
BODY: Final = 64 << 10
"""Bytes of the body of a request."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The policy of the pages: their own scripts, styles and server, and nothing else; nothing inline."""
SAFE: Final = frozenset({"GET", "HEAD"})
"""The methods that change nothing."""

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # with "no-referrer", a browser names no origin when it sends a form
    "X-Content-Type-Options": "nosniff",
}


@attrs.define
class Access:
    """Who may use the studio.

    Attributes:
        hosts: The addresses of the studio without the scheme, such as "127.0.0.1:8080".
        token: The token that opens the studio, once; empty once it was used.
        cookie: The name of the cookie.
    """

    hosts: Collection[str]
    token: str = attrs.field(factory=lambda: secrets.token_urlsafe(24), repr=False)
    cookie: str = COOKIE
    _session: str = attrs.field(factory=lambda: secrets.token_urlsafe(24), init=False, repr=False)

    def refusal(self, request: Request) -> Response | None:
        """Return the response to a request that is refused, or that opens the studio; None for one that may pass."""
        if request.headers.get("host", "") not in self.hosts:
            return PlainTextResponse("This is not an address of the studio.", 421)
        token = parse_qs(request.url.query).get("token", [""])[0]
        if token and request.method == "GET" and request.url.path == "/":
            return self._opened(token)
        if not _same(request.cookies.get(self.cookie, ""), self._session):
            return PlainTextResponse("Open the address that the command has printed. It opens one browser.", 403)
        if request.method not in SAFE:
            return self._refused_change(request)
        return None

    def _opened(self, token: str) -> Response:
        """Let the browser in that has the token."""
        if not self.token or not _same(token, self.token):
            return PlainTextResponse("This token is not valid, or was used. Start the command again for another.", 403)
        self.token = ""
        response = RedirectResponse("/", 303)
        response.set_cookie(self.cookie, self._session, httponly=True, samesite="strict")
        return response

    def _refused_change(self, request: Request) -> Response | None:
        origin = request.headers.get("origin", "")
        if origin != f"http://{request.headers['host']}":
            return PlainTextResponse("This request comes from another page.", 403)
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or "transfer-encoding" in request.headers:
            return PlainTextResponse("The length of the request is not known.", 411)
        return PlainTextResponse("The request is too large.", 413) if int(length) > BODY else None


class Guard:
    """An app that only those with access can use. Each response has the headers of the pages."""

    def __init__(self, app: ASGIApp, access: Access, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Guard an app. `headers`: further headers of each response, in place of those of the same name."""
        self._app, self._access = app, access
        named = {**_HEADERS, **dict(headers)}
        self._headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in named.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":  # no page has one, and the checks here are of requests
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] += [header for header in self._headers if header[0] not in given]
                if b"cache-control" not in given:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        refusal = self._access.refusal(Request(scope))
        await (refusal or self._app)(scope, receive, with_headers)


def _same(given: str, wanted: str) -> bool:
    return compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())
