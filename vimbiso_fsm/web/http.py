"""The connections to the API of a channel: the only import of httpx2.

Requests are made by a transport, without a client around it: a client follows no rule that is wanted here, and logs
each URL, which holds the token of a Telegram bot.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, TypeAlias

try:
    import httpx2
except ModuleNotFoundError as error:  # an extra
    raise ModuleNotFoundError(
        "channels with their connections need httpx2: pip install 'vimbiso_fsm[http]'", name=error.name
    ) from error

from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse

Transport: TypeAlias = httpx2.BaseTransport
AsyncTransport: TypeAlias = httpx2.AsyncBaseTransport

CONNECT_TIMEOUT: Final = 2.0
"""Seconds within which a connection is made."""
READ_TIMEOUT: Final = 5.0
"""Seconds within which the next part of a response comes."""
LEAST_TIME: Final = 0.25
"""Seconds that must be left for a request to be made."""

_NEVER_SENT: Final = (
    httpx2.ConnectError,  # refused, an unknown host or an invalid certificate
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
_NO_TIME: Final = NoResponse(may_have_arrived=False, reason="no time is left")


class _TooLong(Exception):
    """A response exceeds its size or its time."""


class _Body:
    """The body of a response while it is received."""

    def __init__(self, limit: int, until: float) -> None:
        self._limit, self._until = limit, until
        self.content = bytearray()

    def take(self, piece: bytes) -> None:
        """Add a part.

        Raises:
            _TooLong: The body exceeds its size or its time.
        """
        self.content += piece
        if len(self.content) > self._limit or time.monotonic() > self._until:
            raise _TooLong


def _made(request: HttpRequest, seconds: float) -> httpx2.Request:
    """Return a request of the library."""
    read, connect = min(READ_TIMEOUT, seconds), min(CONNECT_TIMEOUT, seconds)
    timeout = {"connect": connect, "read": read, "write": read, "pool": connect}
    headers = {"Accept-Encoding": "identity", "User-Agent": "vimbiso_fsm", **request.headers}
    return httpx2.Request(
        request.method, request.url, headers=headers, content=request.content, extensions={"timeout": timeout}
    )


def _whole(response: httpx2.Response, body: _Body) -> HttpResponse:
    """Return a response as a value."""
    headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
    is_plain = headers.get("content-encoding", "identity") == "identity"
    return HttpResponse(response.status_code, headers, bytes(body.content) if is_plain else b"")


def _failed(error: Exception) -> NoResponse:
    """Return what an exception of the library means. It is not chained: it knows the URL."""
    name = "the response is too long" if isinstance(error, _TooLong) else type(error).__name__
    return NoResponse(not isinstance(error, _NEVER_SENT), name)


class Connection:
    """The connections of threads.

    Args:
        transport: A transport of httpx2, with a proxy or certificates for example. It is closed with the connection.
    """

    def __init__(self, transport: Transport | None = None) -> None:
        self._transport = httpx2.HTTPTransport() if transport is None else transport

    def perform(self, request: HttpRequest, until: float) -> HttpResponse | NoResponse:
        """Make a request.

        Args:
            request: The request.
            until: The instant at which a response must be there, on the monotonic clock.
        """
        seconds = until - time.monotonic()
        if seconds < LEAST_TIME:
            return _NO_TIME
        try:
            body = _Body(request.limit, until)
            response = self._transport.handle_request(_made(request, seconds))
            try:
                if response.is_stream_consumed:  # by a transport of tests
                    body.take(response.content)
                else:
                    for piece in response.iter_raw():
                        body.take(piece)
            finally:
                response.close()
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, _TooLong) as error:
            return _failed(error)
        return _whole(response, body)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class AsyncConnection:
    """The connections of one event loop. See `Connection`."""

    def __init__(self, transport: AsyncTransport | None = None) -> None:
        self._transport = httpx2.AsyncHTTPTransport() if transport is None else transport

    async def perform(self, request: HttpRequest, until: float) -> HttpResponse | NoResponse:
        """Make a request. See `Connection.perform`."""
        seconds = until - time.monotonic()
        if seconds < LEAST_TIME:
            return _NO_TIME
        try:
            body = _Body(request.limit, until)
            response = await self._transport.handle_async_request(_made(request, seconds))
            try:
                if response.is_stream_consumed:
                    body.take(response.content)
                else:
                    async for piece in response.aiter_raw():
                        body.take(piece)
            finally:
                await response.aclose()
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, _TooLong) as error:
            return _failed(error)
        return _whole(response, body)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
