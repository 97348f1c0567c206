"""The figures of the processes that serve a bot: `vimbiso serve` and `vimbiso worker`, read from their `/metrics`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs

from vimbiso_fsm.studio.board_view import Sample
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from vimbiso_fsm.web.http import AsyncTransport

SECONDS: Final = 2.0
"""Seconds within which a process answers."""


@attrs.frozen
class Processes:
    """The processes whose figures the board shows.

    Attributes:
        addresses: The addresses of their metrics, such as "http://127.0.0.1:8000/metrics".
        token: The token with which they are read.
        transport: How they are reached; None for the usual way.
    """

    addresses: Sequence[str]
    token: str = attrs.field(default="", repr=False)
    transport: AsyncTransport | None = None

    async def read(self) -> tuple[Sequence[Sample], Sequence[str]]:
        """Return the samples of all processes, and a sentence for each process that did not tell its own."""
        found = await asyncio.gather(*map(self._read, self.addresses))
        samples = [sample for each in found if not isinstance(each, str) for sample in each]
        return samples, [each for each in found if isinstance(each, str)]

    async def _read(self, address: str) -> Sequence[Sample] | str:
        from vimbiso_fsm.web.http import AsyncConnection  # a studio that reads no figures needs no client
        from vimbiso_fsm.web.metrics import samples_of

        connection = AsyncConnection(self.transport)
        try:
            request = HttpRequest("GET", address, headers={"Authorization": f"Bearer {self.token}"})
            answer = await connection.perform(request, time.monotonic() + SECONDS)
        finally:
            await connection.close()
        if not isinstance(answer, HttpResponse):
            return f"{address} does not answer: {answer.reason}."
        if not answer.is_success:
            return f"{address} answers with the status {answer.status}. Is the token that of the process?"
        try:
            return samples_of(answer.body.decode())
        except ValueError:
            return f"{address} has no figures as OpenMetrics."
