"""The clients of credex-core over HTTP, sync and async. They need the extra `http`.

The module `wire` makes the requests and reads the responses; this module sends them. A call without a connection had
no effect: its result is `unreached(…)` of the port. After any later fault the outcome is unknown. The clients neither
retry a call nor renew a token; the managers do, with the same key (`vimbiso_fsm.runtime.services`).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx2

from flows.credex_core import wire
from flows.credex_core.port import ANYBODY, DEFAULT_DENOMINATION, LedgerEntry, Receipt, Recipient, Session, unreached
from flows.credex_core.wire import MAX_BODY, ApiCall, ApiResponse, interpret, outcome_unknown
from vimbiso_fsm import Caller, Money, Refused

__all__ = ["AsyncHttpCredexCore", "HttpCredexCore"]

R = TypeVar("R")

CONNECT_TIMEOUT: Final = 2.0
"""Seconds within which a connection is made."""

READ_TIMEOUT: Final = 5.0
"""Seconds within which a response is read. With both timeouts a call ends before `CallPolicy.timeout`."""

_NEVER_SENT: Final = (
    httpx2.ConnectError,  # refused, an unknown host or an invalid certificate
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


class _TooLong(Exception):
    """A response exceeds its size or its time."""


class _Settings:
    """The address of credex-core, the key of its API and the timeouts."""

    def __init__(self, url: str, api_key: str, connect: float, read: float) -> None:
        try:
            parts = httpx2.URL(url)
        except httpx2.InvalidURL:
            parts = httpx2.URL()
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise ValueError("url is not an address of credex-core; give https://HOST/PATH")
        if parts.userinfo:
            raise ValueError("url holds a user name or a password; give the address alone, and api_key=…")
        if not (connect > 0 and read > 0):
            raise ValueError(f"connect is {connect!r} and read {read!r}; both are seconds, more than 0")
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._connect, self._read = connect, read

    def request(self, client: httpx2.Client | httpx2.AsyncClient, call: ApiCall[object]) -> httpx2.Request:
        """Return the HTTP request of a call."""
        request = client.build_request(
            "POST",
            f"{self.url}/{call.name}",
            content=call.content,
            headers=wire.headers(call, self._api_key),
            timeout=httpx2.Timeout(self._read, connect=self._connect, pool=self._connect),
        )
        request.headers.pop("Cookie", None)  # a response to another member may have set it
        return request

    def body(self) -> _Body:
        """Return the empty body of a response whose time begins now."""
        return _Body(time.monotonic() + self._connect + self._read)

    def result(self, call: ApiCall[R], response: httpx2.Response, body: _Body) -> R | Refused:
        """Return the result of a call.

        Raises:
            ReplyLost: The call has an effect, and its outcome is unknown.
        """
        kind = response.headers.get("content-type", "")
        return interpret(call, ApiResponse(response.status_code, kind, bytes(body.content)), self._api_key)


class _Body:
    """The body of a response while it is received."""

    def __init__(self, until: float) -> None:
        self._until = until
        self.content = bytearray()

    def take(self, piece: bytes) -> None:
        """Add a part of the body.

        Raises:
            _TooLong: The body exceeds its size or its time.
        """
        self.content += piece
        if len(self.content) > MAX_BODY or time.monotonic() > self._until:
            raise _TooLong


def _failed(call: ApiCall[object], error: Exception) -> Refused:
    """Return the result of a call that ended in an exception.

    Raises:
        ReplyLost: The call has an effect, and its outcome is unknown.
    """
    if isinstance(error, _NEVER_SENT):
        return unreached(effect=call.effect)
    return outcome_unknown(call, f"did not come ({type(error).__name__.strip('_')})")


class HttpCredexCore:
    """A client of credex-core, or of `python -m flows core`, with the methods of `CredexCore`.

    Threads may share it.

    Args:
        url: The address, `https://HOST/PATH`.
        api_key: The key of the API, sent as `x-client-api-key`.
        connect: Seconds within which a connection is made.
        read: Seconds within which a response is read.
        client: An httpx2 client, with proxies or certificates for example. It is not closed with this one.

    Raises:
        ValueError: `url` is not an address or holds a password, or a timeout is not positive.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        connect: float = CONNECT_TIMEOUT,
        read: float = READ_TIMEOUT,
        client: httpx2.Client | None = None,
    ) -> None:
        self._settings = _Settings(url, api_key, connect, read)
        self._own = client is None
        self._client = httpx2.Client() if client is None else client

    def __repr__(self) -> str:
        return f"HttpCredexCore({self._settings.url!r})"

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

    def send_code(self, *, phone: str, caller: Caller = ANYBODY) -> str | Refused:
        """See `CredexCore.send_code`."""
        return self._send(wire.send_code(phone, caller))

    def check_code(self, *, challenge: str, code: str, caller: Caller = ANYBODY) -> bool | Refused:
        """See `CredexCore.check_code`."""
        return self._send(wire.check_code(challenge, code, caller))

    def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """See `CredexCore.login`."""
        return self._send(wire.login(phone, caller))

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
        return self._send(wire.onboard_member(firstname, lastname, phone, default_denom, caller))

    def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """See `CredexCore.get_account_by_handle`."""
        return self._send(wire.get_account_by_handle(handle, caller))

    def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """See `CredexCore.create_credex`."""
        return self._send(wire.create_credex(issuer, receiver, amount, caller))

    def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex`."""
        return self._send(wire.accept_credex(credex_id, caller))

    def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex_bulk`."""
        return self._send(wire.accept_credex_bulk(credex_ids, caller))

    def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.decline_credex`."""
        return self._send(wire.decline_credex(credex_id, caller))

    def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.cancel_credex`."""
        return self._send(wire.cancel_credex(credex_id, caller))

    def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """See `CredexCore.get_ledger`."""
        return self._send(wire.get_ledger(account_id, start_row, num_rows, caller))

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
        return self._send(
            wire.create_recurring(source_account_id, member_tier, amount, pay_frequency, start_date, caller)
        )

    def _send(self, call: ApiCall[R]) -> R | Refused:
        request = self._settings.request(self._client, call)
        body = self._settings.body()
        failure: Exception
        try:
            response = self._client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                for piece in response.iter_raw():
                    body.take(piece)
            finally:
                response.close()
        except (httpx2.HTTPError, httpx2.StreamError, _TooLong) as error:
            failure = error
        else:
            return self._settings.result(call, response, body)
        return _failed(call, failure)


class AsyncHttpCredexCore:
    """The same client for an `AsyncFlowStateManager`. It belongs to one event loop."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        connect: float = CONNECT_TIMEOUT,
        read: float = READ_TIMEOUT,
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        self._settings = _Settings(url, api_key, connect, read)
        self._own = client is None
        self._client = httpx2.AsyncClient() if client is None else client

    def __repr__(self) -> str:
        return f"AsyncHttpCredexCore({self._settings.url!r})"

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

    async def send_code(self, *, phone: str, caller: Caller = ANYBODY) -> str | Refused:
        """See `CredexCore.send_code`."""
        return await self._send(wire.send_code(phone, caller))

    async def check_code(self, *, challenge: str, code: str, caller: Caller = ANYBODY) -> bool | Refused:
        """See `CredexCore.check_code`."""
        return await self._send(wire.check_code(challenge, code, caller))

    async def login(self, *, phone: str = "", caller: Caller = ANYBODY) -> Session | Refused | None:
        """See `CredexCore.login`."""
        return await self._send(wire.login(phone, caller))

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
        return await self._send(wire.onboard_member(firstname, lastname, phone, default_denom, caller))

    async def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        """See `CredexCore.get_account_by_handle`."""
        return await self._send(wire.get_account_by_handle(handle, caller))

    async def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        """See `CredexCore.create_credex`."""
        return await self._send(wire.create_credex(issuer, receiver, amount, caller))

    async def accept_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex`."""
        return await self._send(wire.accept_credex(credex_id, caller))

    async def accept_credex_bulk(self, credex_ids: Sequence[str], *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.accept_credex_bulk`."""
        return await self._send(wire.accept_credex_bulk(credex_ids, caller))

    async def decline_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.decline_credex`."""
        return await self._send(wire.decline_credex(credex_id, caller))

    async def cancel_credex(self, credex_id: str, *, caller: Caller = ANYBODY) -> Receipt | Refused:
        """See `CredexCore.cancel_credex`."""
        return await self._send(wire.cancel_credex(credex_id, caller))

    async def get_ledger(
        self, account_id: str, *, start_row: int = 0, num_rows: int = 8, caller: Caller = ANYBODY
    ) -> tuple[LedgerEntry, ...] | Refused:
        """See `CredexCore.get_ledger`."""
        return await self._send(wire.get_ledger(account_id, start_row, num_rows, caller))

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
        return await self._send(
            wire.create_recurring(source_account_id, member_tier, amount, pay_frequency, start_date, caller)
        )

    async def _send(self, call: ApiCall[R]) -> R | Refused:
        request = self._settings.request(self._client, call)
        body = self._settings.body()
        failure: Exception
        try:
            response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                async for piece in response.aiter_raw():
                    body.take(piece)
            finally:
                await response.aclose()
        except (httpx2.HTTPError, httpx2.StreamError, _TooLong) as error:
            failure = error
        else:
            return self._settings.result(call, response, body)
        return _failed(call, failure)
