"""The simulated credex-core over HTTP, for `HttpCredexCore`. It needs the extra `serve`.

The table `CALLS` and `response_to` are the counterpart of `wire`: a request becomes a call of the port, and the result
becomes a status and a body. A lost reply breaks the connection within the response. `GET /` shows the calls that were
received. The server listens on this machine only. It accepts any key of the API, and requests from web pages.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn, TypeAlias, TypeVar

import attrs
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.credex_core import (
    Account,
    CredexCore,
    Dashboard,
    LedgerEntry,
    PendingOffer,
    Receipt,
    Recipient,
    ReplyLost,
    Session,
    SimulatedCredexCore,
)
from flows.credex_core.wire import exact
from vimbiso_fsm import Caller, Money, Refused

__all__ = ["CALLS", "address", "application", "listening", "response_to", "running", "served", "server"]

T = TypeVar("T")
Body: TypeAlias = Mapping[str, object]

MAX_BODY: Final = 1 << 20
"""The largest size of a request in bytes."""


# Requests ------------------------------------------------------------------------------------------------------


class _Invalid(ValueError):
    """A request has a fault, which the message names."""


@attrs.frozen
class Endpoint:
    """A call of the API.

    Attributes:
        ask: Calls the port with the body of a request.
        does: The type of action that reports success.
    """

    ask: Callable[[CredexCore, Body, Caller], object]
    does: str


def _get(body: Body, name: str, kind: type[T]) -> T:
    value = body.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _Invalid(f"{name} is missing or wrong")
    return value


def _amount(body: Body, name: str, currency: str) -> Money:
    """Return an amount that is given as a number or as a text."""
    value = body.get(name)
    try:
        if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
            return exact(Decimal(value), _get(body, currency, str))
    except InvalidOperation:
        pass
    raise _Invalid(f"{name} is missing or wrong")


def _require(body: Body, **values: object) -> None:
    """Check that fields of a request have these values.

    Raises:
        _Invalid: A field has another value.
    """
    for name, value in values.items():
        if body.get(name) != value:
            raise _Invalid(f"{name} is not {value!r}")


def _onboard(core: CredexCore, body: Body, caller: Caller) -> object:
    return core.onboard_member(
        firstname=_get(body, "firstname", str),
        lastname=_get(body, "lastname", str),
        phone=_get(body, "phone", str),
        default_denom=_get(body, "defaultDenom", str),
        caller=caller,
    )


def _create(core: CredexCore, body: Body, caller: Caller) -> object:
    _require(body, credexType="PURCHASE", OFFERSorREQUESTS="OFFERS", securedCredex=True)
    return core.create_credex(
        issuer=_get(body, "issuerAccountID", str),
        receiver=_get(body, "receiverAccountID", str),
        amount=_amount(body, "InitialAmount", "Denomination"),
        caller=caller,
    )


def _subscribe(core: CredexCore, body: Body, caller: Caller) -> object:
    _require(body, templateType="MEMBERTIER_SUBSCRIPTION", securedCredex=True)
    try:
        start_date = dt.date.fromisoformat(_get(body, "startDate", str))
    except ValueError:
        raise _Invalid("startDate is missing or wrong") from None
    return core.create_recurring(
        source_account_id=_get(body, "sourceAccountID", str),
        member_tier=_get(body, "memberTier", int),
        amount=_amount(body, "amount", "denomination"),
        pay_frequency=_get(body, "payFrequency", int),
        start_date=start_date,
        caller=caller,
    )


def _ids(body: Body) -> list[str]:
    ids = _get(body, "credexIDs", list)
    if not all(isinstance(item, str) for item in ids):
        raise _Invalid("credexIDs is missing or wrong")
    return ids


CALLS: Final[Mapping[str, Endpoint]] = {
    "login": Endpoint(
        lambda core, body, caller: core.login(phone=_get(body, "phone", str), caller=caller), "MEMBER_LOGIN"
    ),
    "sendCode": Endpoint(
        lambda core, body, caller: core.send_code(phone=_get(body, "phone", str), caller=caller), "CODE_SENT"
    ),
    "checkCode": Endpoint(
        lambda core, body, caller: core.check_code(
            challenge=_get(body, "codeID", str), code=_get(body, "code", str), caller=caller
        ),
        "CODE_ACCEPTED",
    ),
    "onboardMember": Endpoint(_onboard, "MEMBER_ONBOARDED"),
    "getAccountByHandle": Endpoint(
        lambda core, body, caller: core.get_account_by_handle(_get(body, "accountHandle", str), caller=caller),
        "ACCOUNT_FOUND",
    ),
    "createCredex": Endpoint(_create, "CREDEX_CREATED"),
    "acceptCredex": Endpoint(
        lambda core, body, caller: core.accept_credex(_get(body, "credexID", str), caller=caller), "CREDEX_ACCEPTED"
    ),
    "acceptCredexBulk": Endpoint(
        lambda core, body, caller: core.accept_credex_bulk(_ids(body), caller=caller), "CREDEX_ACCEPTED"
    ),
    "declineCredex": Endpoint(
        lambda core, body, caller: core.decline_credex(_get(body, "credexID", str), caller=caller), "CREDEX_DECLINED"
    ),
    "cancelCredex": Endpoint(
        lambda core, body, caller: core.cancel_credex(_get(body, "credexID", str), caller=caller), "CREDEX_CANCELLED"
    ),
    "getLedger": Endpoint(
        lambda core, body, caller: core.get_ledger(
            _get(body, "accountID", str),
            start_row=_get(body, "startRow", int),
            num_rows=_get(body, "numRows", int),
            caller=caller,
        ),
        "LEDGER_RETRIEVED",
    ),
    "createRecurring": Endpoint(_subscribe, "RECURRING_CREATED"),
}
"""The calls of the API by name."""


def _read(content: bytes) -> Body:
    try:
        body = json.loads(content.decode(), parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise _Invalid("the body is not a JSON object")
    return body


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no numbers of JSON")


# Responses --------------------------------------------------------------------------------------------------

_REFUSALS: Final = {
    "amount.balance": (400, "CREDEX_CREATE_FAILED", "INSUFFICIENT_SECURED_BALANCE"),
    "amount.limit": (400, "CREDEX_CREATE_FAILED", "DAILY_LIMIT_EXCEEDED"),
    "code.spent": (410, "ERROR_VALIDATION", "CODE_SPENT"),
    "code.too_often": (400, "ERROR_VALIDATION", "TOO_MANY_CODES"),
    "code.wrong": (400, "ERROR_VALIDATION", "CODE_WRONG"),
    "core.down": (503, "ERROR_INTERNAL", "SERVICE_UNAVAILABLE"),
    "core.insufficient_secured_balance": (400, "ERROR_VALIDATION", "INSUFFICIENT_SECURED_BALANCE"),
    "core.key_reused": (422, "ERROR_VALIDATION", "IDEMPOTENCY_KEY_REUSED"),
    "core.member_exists": (409, "ERROR_VALIDATION", "MEMBER_EXISTS"),
    "core.not_done": (503, "ERROR_INTERNAL", "SERVICE_UNAVAILABLE"),
    "core.offer_gone": (404, "ERROR_NOT_FOUND", "CREDEX_NOT_FOUND"),
    "core.rejected": (400, "ERROR_VALIDATION", "REJECTED"),
    "core.unauthorised": (401, "ERROR_UNAUTHORIZED", "INVALID_TOKEN"),
    "handle.unknown": (404, "ERROR_NOT_FOUND", "ACCOUNT_NOT_FOUND"),
}
"""The status, the type of action and the code of each refusal."""


def response_to(name: str, result: object) -> tuple[int, Body]:
    """Return the status and the body of the response to a call, from the result of the port."""
    if result is None:
        return 404, _message("ERROR_NOT_FOUND", {"code": "NOT_FOUND", "reason": "Member not found"})
    if isinstance(result, Refused):
        status, failed, code = _REFUSALS[result.code]
        if name == "createCredex" and failed == "ERROR_VALIDATION":
            failed = "CREDEX_CREATE_FAILED"
        return status, _message(failed, {"code": code, "reason": _reason(result), **_amounts(result)})
    does = CALLS[name].does
    match result:
        case Session(token=token, dashboard=dashboard):
            details: Body = {"memberID": dashboard.member_id, "token": token}
            return 200, _message(does, details, dashboard.member_id, _dashboard(dashboard))
        case Receipt(id=id, dashboard=dashboard):
            return 200, _message(does, {}, id, _dashboard(dashboard))
        case Recipient(id=id, handle=handle, name=account):
            details = {"accountID": id, "accountHandle": handle, "accountName": account}
            return 200, _message(does, details, id)
        case str() as challenge:
            return 200, _message(does, {"codeID": challenge}, challenge)
        case True:
            return 200, _message(does, {})
        case tuple():
            return 200, _message(
                does, {"ledger": [_entry(entry) for entry in result if isinstance(entry, LedgerEntry)]}
            )
        case _:
            raise TypeError(f"{name} returned a {type(result).__name__}, which is not a result of the port")


def _reason(refused: Refused) -> str:
    return str(refused.params.get("reason", refused.code))


def _amounts(refused: Refused) -> Body:
    match refused.params:
        case {"held": Money() as held}:
            return {"available": str(held)}
        case {"remaining": Money() as remaining}:
            return {"remainingAvailableUSD": float(remaining.amount)}
        case _:
            return {}


def _message(type: str, details: Body, id: str | None = None, dashboard: Body | None = None) -> Body:
    action = {"id": id, "type": type, "timestamp": dt.datetime.now(dt.UTC).isoformat(), "details": details}
    return {"message": type.replace("_", " ").capitalize(), "data": {"action": action, "dashboard": dashboard or {}}}


def _dashboard(dashboard: Dashboard) -> Body:
    return {
        "member": {
            "memberID": dashboard.member_id,
            "memberTier": dashboard.tier,
            "firstname": dashboard.firstname,
            "lastname": dashboard.lastname,
            "remainingAvailableUSD": float(dashboard.remaining_usd.amount),
        },
        "accounts": [_account(account) for account in dashboard.accounts],
    }


def _account(account: Account) -> Body:
    return {
        "accountID": account.id,
        "accountHandle": account.handle,
        "accountName": account.name,
        "isOwnedAccount": account.owned,
        "balanceData": {
            "securedNetBalancesByDenom": [str(balance) for balance in account.balances],
            "netCredexAssetsInDefaultDenom": str(account.net_assets),
        },
        "pendingInData": [_pending(offer) for offer in account.incoming],
        "pendingOutData": [_pending(offer) for offer in account.outgoing],
    }


def _pending(offer: PendingOffer) -> Body:
    return {
        "credexID": offer.id,
        "formattedInitialAmount": str(offer.amount),
        "counterpartyAccountHandle": offer.handle,
        "counterpartyAccountName": offer.name,
    }


def _entry(entry: LedgerEntry) -> Body:
    return {
        "credexID": entry.id,
        "formattedAmount": str(entry.amount),
        "counterpartyAccountHandle": entry.handle,
        "counterpartyAccountName": entry.name,
    }


# Server --------------------------------------------------------------------------------------------------------


class _BrokenResponse(Response):
    """A response that ends after its headers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def application(core: SimulatedCredexCore) -> Starlette:
    """Return the ASGI application. Its `state.core` may be replaced by another simulator at any time."""
    pages = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["*"])
    routes = [Route("/", _overview), Route("/{name}", _call, methods=["POST"])]
    app = Starlette(routes=routes, middleware=[pages])
    app.state.core = core
    return app


async def _call(request: Request) -> Response:
    """Serve a call."""
    name, core = request.path_params["name"], request.app.state.core
    if name not in CALLS:
        raise HTTPException(404)
    headers = request.headers
    token = headers.get("authorization", "").removeprefix("Bearer ")
    try:
        body = _read(await _content(request))
        caller = Caller(headers.get("idempotency-key", ""), str(body.get("memberID", "")), token or None)
        status, message = response_to(name, await run_in_threadpool(CALLS[name].ask, core, body, caller))
    except _Invalid as invalid:
        status, message = 400, _message("ERROR_VALIDATION", {"code": "INVALID_REQUEST", "reason": str(invalid)})
    except ReplyLost:
        return _BrokenResponse()
    return JSONResponse(message, status)


async def _content(request: Request) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY:
            raise HTTPException(413)
    return bytes(content)


async def _overview(request: Request) -> Response:
    """Return the calls of the API, and the calls, offers and faults so far."""
    core: SimulatedCredexCore = request.app.state.core
    seen = {
        "calls": list(CALLS),
        "received": [attrs.asdict(received) for received in core.calls],
        "offers": [{**attrs.asdict(offer), "amount": str(offer.amount)} for offer in core.offers],
        "faults": [attrs.asdict(fault) for fault in core.faults],
    }
    return JSONResponse(seen)


def listening(port: int = 0) -> socket.socket:
    """Return a socket that listens on this machine.

    Args:
        port: The port; 0 for any free port.

    Raises:
        OSError: The port is in use.
    """
    bound = socket.create_server(("127.0.0.1", port))
    bound.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, True
    )  # connections inherit it; head and body are sent at once
    return bound


def address(bound: socket.socket) -> str:
    """Return the URL of a listening socket."""
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


def server(app: ASGIApp) -> uvicorn.Server:
    """Return a server of the application that logs nothing."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


@contextmanager
def served(core: SimulatedCredexCore, port: int = 0) -> Generator[str]:
    """Serve the simulator over HTTP, in a thread, while the block lasts.

    Yields:
        The URL.
    """
    with listening(port) as bound, running(application(core), bound) as url:
        yield url


@contextmanager
def running(app: ASGIApp, bound: socket.socket) -> Generator[str]:
    """Serve an application at a socket, in a thread, while the block lasts.

    Yields:
        The URL.
    """
    serving = server(app)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [bound]}, name="credex-core", daemon=True)
    thread.start()
    try:
        yield address(bound)
    finally:
        serving.should_exit = True
        thread.join()
