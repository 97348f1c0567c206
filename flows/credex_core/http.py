"""credex-core over HTTP: the port `CredexCore` with httpx, sync and async. It needs the extra `http`.

`wire` makes the requests and interprets the responses; this module sends them. A connection that was never made had no
effect: `Unreachable("core.down")`. Any later failure leaves the effect unknown. This module repeats no call and renews
no token: the caller does, with the same key (`vimbiso_fsm.runtime.services`).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx

from flows.credex_core import wire
from flows.credex_core.port import ANYBODY, DEFAULT_DENOMINATION, LedgerEntry, Receipt, Recipient, Session
from flows.credex_core.wire import DOWN, MAX_BODY, Answer, Asked, unanswered, understood
from vimbiso_fsm import Caller, Money, Refused

R = TypeVar("R")

CONNECT: Final = 2.0
READ: Final = 5.0
"""Seconds. Their sum is less than the timeout of a call (`CallPolicy.timeout`)."""

_NEVER_SENT: Final = (
    httpx.ConnectError,  # refused, no such host, no certificate that holds
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class _TooLong(Exception):
    """A response has too many bytes, or takes too long."""


class _Address:
    """The address of credex-core, the key of the API, and the timeouts."""

    def __init__(self, url: str, api_key: str, connect: float, read: float) -> None:
        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL:
            parts = httpx.URL()
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise ValueError("url is not an address of credex-core; give https://HOST/PATH")
        if parts.userinfo:
            raise ValueError("url contains a name or a password; give only the address of credex-core, and api_key=…")
        if not (connect > 0 and read > 0):
            raise ValueError(f"connect is {connect!r} and read {read!r}; both are seconds, more than 0")
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._connect, self._read = connect, read

    def request(self, client: httpx.Client | httpx.AsyncClient, asked: Asked[object]) -> httpx.Request:
        """Build the request of a call."""
        request = client.build_request(
            "POST",
            f"{self.url}/{asked.name}",
            content=asked.content,
            headers=wire.headers(asked, self._api_key),
            timeout=httpx.Timeout(self._read, connect=self._connect, pool=self._connect),
        )
        request.headers.pop("Cookie", None)  # set by the response to another member
        return request

    def reading(self) -> _Reading:
        """Start to wait for a response."""
        return _Reading(time.monotonic() + self._connect + self._read)

    def meaning(self, asked: Asked[R], response: httpx.Response, reading: _Reading) -> R | Refused:
        """Interpret a response.

        Raises:
            ReplyLost: The call has an effect, and the response does not tell whether it took place.
        """
        kind = response.headers.get("content-type", "")
        return understood(asked, Answer(response.status_code, kind, bytes(reading.body)), self._api_key)


class _Reading:
    """A response while it arrives, chunk by chunk."""

    def __init__(self, until: float) -> None:
        self._until = until
        self.body = bytearray()

    def take(self, piece: bytes) -> None:
        """Add a chunk.

        Raises:
            _TooLong: The response has too many bytes, or takes too long.
        """
        self.body += piece
        if len(self.body) > MAX_BODY or time.monotonic() > self._until:
            raise _TooLong


def _failed(asked: Asked[object], error: Exception) -> Refused:
    """Interpret an exception of httpx.

    Raises:
        ReplyLost: The call has an effect, which may have taken place.
    """
    if isinstance(error, _NEVER_SENT):
        return DOWN
    return unanswered(asked, f"did not come ({type(error).__name__.strip('_')})")


class HttpCredexCore:
    """The port `CredexCore` over HTTP. Safe to share between threads.

    Args:
        url: The address, `https://HOST/PATH`.
        api_key: The key of the API, sent as x-client-api-key; "" for none.
        connect: Seconds to wait for a connection.
        read: Seconds to wait for the response.
        client: A client with proxies and certificates of your own, which you close yourself.

    Raises:
        ValueError: `url` is not an address, or contains a password.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        connect: float = CONNECT,
        read: float = READ,
        client: httpx.Client | None = None,
    ) -> None:
        self._address = _Address(url, api_key, connect, read)
        self._own = client is None
        self._client = httpx.Client() if client is None else client

    def __repr__(self) -> str:
        return f"HttpCredexCore({self._address.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._client.close()

    def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """See `CredexCore.login`."""
        return self._ask(wire.login(phone, caller))

    def onboard_member(
        self,
        *,
        firstname: str,
        lastname: str,
        phone: str = "",
        default_denom: str = DEFAULT_DENOMINATION,
        caller: Caller = ANYBODY,
    ) -> Session | Refused:
        """See `CredexCore.onboard_member`."""
        return self._ask(wire.onboard_member(firstname, lastname, phone, default_denom, caller))

    def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """See `CredexCore.get_account_by_handle`."""
        return self._ask(wire.get_account_by_handle(handle, caller))

    def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """See `CredexCore.create_credex`."""
        return self._ask(wire.create_credex(issuer, receiver, amount, caller))

    def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex`."""
        return self._ask(wire.accept_credex(credex_id, caller))

    def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex_bulk`."""
        return self._ask(wire.accept_credex_bulk(credex_ids, caller))

    def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.decline_credex`."""
        return self._ask(wire.decline_credex(credex_id, caller))

    def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.cancel_credex`."""
        return self._ask(wire.cancel_credex(credex_id, caller))

    def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """See `CredexCore.get_ledger`."""
        return self._ask(wire.get_ledger(account_id, start_row, num_rows, caller))

    def create_recurring(
        self,
        *,
        source_account_id: str,
        member_tier: int,
        amount: Money,
        pay_frequency: int,
        start_date: dt.date,
        caller: Caller = ANYBODY,
    ) -> Receipt | Refused:
        """See `CredexCore.create_recurring`."""
        return self._ask(
            wire.create_recurring(source_account_id, member_tier, amount, pay_frequency, start_date, caller)
        )

    def _ask(self, asked: Asked[R]) -> R | Refused:
        request = self._address.request(self._client, asked)
        reading = self._address.reading()
        failure: Exception
        try:
            response = self._client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                for piece in response.iter_raw():
                    reading.take(piece)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.StreamError, _TooLong) as error:
            failure = error
        else:
            return self._address.meaning(asked, response, reading)
        return _failed(asked, failure)


class AsyncHttpCredexCore:
    """The port `CredexCore` over HTTP, for one event loop. The arguments are those of `HttpCredexCore`."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        connect: float = CONNECT,
        read: float = READ,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._address = _Address(url, api_key, connect, read)
        self._own = client is None
        self._client = httpx.AsyncClient() if client is None else client

    def __repr__(self) -> str:
        return f"AsyncHttpCredexCore({self._address.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._own:
            await self._client.aclose()

    async def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """See `CredexCore.login`."""
        return await self._ask(wire.login(phone, caller))

    async def onboard_member(
        self,
        *,
        firstname: str,
        lastname: str,
        phone: str = "",
        default_denom: str = DEFAULT_DENOMINATION,
        caller: Caller = ANYBODY,
    ) -> Session | Refused:
        """See `CredexCore.onboard_member`."""
        return await self._ask(wire.onboard_member(firstname, lastname, phone, default_denom, caller))

    async def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """See `CredexCore.get_account_by_handle`."""
        return await self._ask(wire.get_account_by_handle(handle, caller))

    async def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """See `CredexCore.create_credex`."""
        return await self._ask(wire.create_credex(issuer, receiver, amount, caller))

    async def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex`."""
        return await self._ask(wire.accept_credex(credex_id, caller))

    async def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex_bulk`."""
        return await self._ask(wire.accept_credex_bulk(credex_ids, caller))

    async def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.decline_credex`."""
        return await self._ask(wire.decline_credex(credex_id, caller))

    async def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.cancel_credex`."""
        return await self._ask(wire.cancel_credex(credex_id, caller))

    async def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """See `CredexCore.get_ledger`."""
        return await self._ask(wire.get_ledger(account_id, start_row, num_rows, caller))

    async def create_recurring(
        self,
        *,
        source_account_id: str,
        member_tier: int,
        amount: Money,
        pay_frequency: int,
        start_date: dt.date,
        caller: Caller = ANYBODY,
    ) -> Receipt | Refused:
        """See `CredexCore.create_recurring`."""
        return await self._ask(
            wire.create_recurring(source_account_id, member_tier, amount, pay_frequency, start_date, caller)
        )

    async def _ask(self, asked: Asked[R]) -> R | Refused:
        request = self._address.request(self._client, asked)
        reading = self._address.reading()
        failure: Exception
        try:
            response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                async for piece in response.aiter_raw():
                    reading.take(piece)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.StreamError, _TooLong) as error:
            failure = error
        else:
            return self._address.meaning(asked, response, reading)
        return _failed(asked, failure)
