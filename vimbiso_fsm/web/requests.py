"""Requests over HTTP to the API of a channel, and what comes back, as values without I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final, Protocol

import attrs

from vimbiso_fsm.channels.delivery import attempted, read_object
from vimbiso_fsm.store.requests import Effect

MAX_RESPONSE: Final = 1 << 20
"""Bytes of a response that are read, unless a request names another limit."""
LONGEST_SECONDS: Final = 6
"""Digits of a number of seconds that a header may name."""


@attrs.frozen
class HttpResponse:
    """A response.

    Attributes:
        status: The HTTP status.
        headers: The headers, with their names in lower case.
        body: The bytes of the body. Empty if they are encoded, which was not asked for.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the request was taken."""
        return 200 <= self.status < 300

    def data(self) -> Mapping[str, Any] | None:
        """Return the JSON object in the body; None if it is none, or was cut."""
        return attempted(lambda: read_object(self.body))

    @property
    def retry_after(self) -> int | None:
        """The seconds that the header `Retry-After` asks to wait; None if it names none. A date counts as none."""
        digits = self.headers.get("retry-after", "").strip()
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_SECONDS else None


@attrs.frozen
class NoResponse:
    """No whole response came.

    Attributes:
        may_have_arrived: Whether the request may have had its effect.
        reason: The type of the fault, such as "ReadTimeout".
    """

    may_have_arrived: bool
    reason: str


@attrs.frozen(eq=False, repr=False)
class HttpRequest(Effect[HttpResponse | NoResponse]):
    """A request. No redirect is followed, and no cookie is kept.

    Attributes:
        method: "GET" or "POST".
        url: The address. It may hold a secret.
        headers: The headers.
        content: The bytes of the body.
        limit: Bytes of the response that are read. A longer one counts as none.
    """

    method: str
    url: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    content: bytes = attrs.field(default=b"", repr=False)
    limit: int = MAX_RESPONSE


class Carrier(Protocol):
    """What makes the requests of a client: the connections of `web.http`, or the client of another library."""

    def perform(self, request: HttpRequest, until: float, /) -> HttpResponse | NoResponse:
        """Make a request.

        Args:
            request: The request.
            until: The instant at which a response must be there, on the monotonic clock.
        """
        ...

    def close(self) -> None:
        """Close what it has opened."""
        ...


class AsyncCarrier(Protocol):
    """What makes the requests of an async client. See `Carrier`."""

    def perform(self, request: HttpRequest, until: float, /) -> Awaitable[HttpResponse | NoResponse]:
        """Make a request. See `Carrier.perform`."""
        ...

    def close(self) -> Awaitable[None]:
        """Close what it has opened."""
        ...
