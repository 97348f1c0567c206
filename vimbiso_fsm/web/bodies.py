"""The bodies of requests: read in time, and within bounds for each and for all of them together."""

from __future__ import annotations

from asyncio import timeout
from typing import Final

from starlette.requests import ClientDisconnect, Request

from vimbiso_fsm.web.settings import MAX_BODY

SMALL_BODY: Final = 64 << 10
"""Bytes of a body for which there is always room."""
MAX_HELD: Final = 64 << 20
"""Bytes above `SMALL_BODY` of all bodies that are being read at the same time."""
BODY_SECONDS: Final = 10.0
"""Seconds within which a body comes."""


class Rejected(Exception):  # it is an answer, and no fault
    """A request is refused with a status of HTTP.

    Attributes:
        status: The status.
        wait: Seconds after which the request may come again; None if it is not told.
    """

    def __init__(self, status: int, wait: float | None = None) -> None:
        super().__init__(status)
        self.status, self.wait = status, wait


class Bodies:
    """The bodies that an app is reading. Requests whose bodies come slowly do not keep others from theirs.

    It belongs to one event loop.

    Attributes:
        held: The bytes above `SMALL_BODY` of all bodies that are being read.
    """

    def __init__(self) -> None:
        self.held = 0

    async def read(self, request: Request) -> bytes:
        """Read the body of a request.

        Raises:
            Rejected: It is too large, does not come in time, ends before its end, or there is no room for it.
        """
        length = request.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or len(length) > 9 or int(length) > MAX_BODY:
            raise Rejected(413)
        found = bytearray()
        try:
            async with timeout(BODY_SECONDS):
                async for piece in request.stream():
                    self._hold(len(found), len(piece))
                    found += piece
        except TimeoutError:
            raise Rejected(408) from None
        except ClientDisconnect:
            raise Rejected(400) from None
        finally:
            self.held -= max(len(found) - SMALL_BODY, 0)
        return bytes(found)

    def _hold(self, size: int, more: int) -> None:
        """Take room for more bytes of a body.

        Raises:
            Rejected: The body is too large, or there is no room.
        """
        if size + more > MAX_BODY:
            raise Rejected(413)
        above = max(size + more - SMALL_BODY, 0) - max(size - SMALL_BODY, 0)
        if self.held + above > MAX_HELD and above:
            raise Rejected(503, 1.0)
        self.held += above
