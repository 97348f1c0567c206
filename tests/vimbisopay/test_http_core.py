"""credex-core over HTTP: the client with the served simulator, and with faulty servers."""

import asyncio
import contextlib
import inspect
import json
import logging
import socket
import subprocess
import sys
import threading
import traceback
from decimal import Decimal
from typing import Any

import attrs
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.credex_core import (
    CredexCore,
    Dashboard,
    Fault,
    Receipt,
    Recipient,
    ReplyLost,
    Session,
    SimulatedCredexCore,
)
from flows.credex_core import wire as core_wire
from flows.credex_core.http import AsyncHttpCredexCore, HttpCredexCore
from flows.credex_core.server import CALLS, application, listening, response_to, running, served
from flows.credex_core.wire import MAX_BODY, ApiResponse, interpret
from tests.examples import examples
from tests.vimbisopay.test_credex_core import ADA, ALAN, DAY, FAULTS, GRACE, KATHERINE, PHONES, STEPS, act
from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused, Unreachable
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager

NOW = 1_790_000_000.0
DOWN, NOT_DONE, UNAUTHORISED = Unreachable("core.down"), Unreachable("core.not_done"), Refused("core.unauthorised")
LIMIT = 60.0
"""Seconds after which something that must happen has failed."""

TOKEN, API_KEY, PHONE = "eyJ0b2tlbg.confided.token", "key-of-the-api", "263779123456"
CALLER = Caller("key-1", "member-1", TOKEN, Channel("whatsapp", PHONE), PHONE)
TEN = Money(Decimal("10.00"), "USD")


def calls(core, caller=CALLER):
    """Return each call of the port, by its name in the API."""
    return {
        "sendCode": lambda: core.send_code(phone=PHONE, caller=caller),
        "checkCode": lambda: core.check_code(challenge="c", code="123456", caller=caller),
        "login": lambda: core.login(caller=caller),
        "onboardMember": lambda: core.onboard_member(firstname="Emmy", lastname="Noether", caller=caller),
        "getAccountByHandle": lambda: core.get_account_by_handle("alan", caller=caller),
        "createCredex": lambda: core.create_credex(issuer="a", receiver="b", amount=TEN, caller=caller),
        "acceptCredex": lambda: core.accept_credex("c", caller=caller),
        "acceptCredexBulk": lambda: core.accept_credex_bulk(["c", "d"], caller=caller),
        "declineCredex": lambda: core.decline_credex("c", caller=caller),
        "cancelCredex": lambda: core.cancel_credex("c", caller=caller),
        "getLedger": lambda: core.get_ledger("a", start_row=7, caller=caller),
        "createRecurring": lambda: core.create_recurring(
            source_account_id="a",
            member_tier=3,
            amount=Money(Decimal("1.00"), "USD"),
            pay_frequency=28,
            start_date=DAY,
            caller=caller,
        ),
    }


QUESTIONS = {"login", "getAccountByHandle", "getLedger"}
EFFECTS = CALLS.keys() - QUESTIONS
NEVER_SENT = {name: NOT_DONE if name in EFFECTS else DOWN for name in CALLS}


# The served simulator ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site():
    """A server whose simulator can be replaced, and a client of it."""
    app = application(SimulatedCredexCore())
    with listening() as bound, running(app, bound) as url, HttpCredexCore(url) as client:
        yield app, client


@pytest.fixture
def core(site):
    """A fresh simulator behind the client."""
    site[0].state.core = SimulatedCredexCore(clock=lambda: NOW)
    return site[0].state.core


@pytest.fixture
def client(site, core):
    """A client of the served simulator."""
    return site[1]


def logged_in(core, phone, key=""):
    """Return a caller with a token."""
    session = core.login(phone=phone)
    assert isinstance(session, Session)
    return Caller(key, session.dashboard.member_id, session.token, Channel("whatsapp", phone), phone)


def port(core: HttpCredexCore) -> CredexCore:
    """Return the client as the port, for the type checkers."""
    return core


@pytest.mark.parametrize("adapter", [HttpCredexCore, AsyncHttpCredexCore])
def test_the_client_fits_the_port_word_for_word(adapter):
    """The clients' methods have the signatures of the port."""
    for name, method in inspect.getmembers(CredexCore, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(adapter, name)) == inspect.signature(method)


class Over:
    """The port through the client, and the contents of the simulator behind it."""

    def __init__(self, client, core):
        self._client, self._core = client, core

    def __getattr__(self, name):
        return getattr(self._client if hasattr(CredexCore, name) else self._core, name)


def came_to(call):
    """Return the result of a call, or `ReplyLost` if it raised that."""
    try:
        return call()
    except ReplyLost:
        return ReplyLost


@examples(25)
@given(steps=STEPS, faults=FAULTS, seed=st.integers(0, 5))
def test_the_client_agrees_with_the_simulator(site, steps, faults, seed):
    """Any program of calls has the results of the simulator, or `ReplyLost` if the core was down."""
    here, there = (SimulatedCredexCore(seed, clock=lambda: NOW) for _ in range(2))
    site[0].state.core = there
    over = Over(site[1], there)
    ids = {account.handle: account.id for account in here._handles.values()}
    tokens = {phone: logged_in(here, phone).token for phone in PHONES}
    assert tokens == {phone: logged_in(over, phone).token for phone in PHONES}
    here.faults = there.faults = faults
    for place, (step, phone, mine, yours, amount, denom, number) in enumerate(steps):
        caller = Caller(str(place), "m", tokens[phone], Channel("sms", phone))

        def asked(core, *, caller=caller, mine=mine, yours=yours, phone=phone, number=number, step=step):
            money = Money(amount, denom)  # noqa: B023  # called before the next step
            return [
                came_to(lambda: act(core, step, ids[mine], ids[yours], money, number, caller)),
                came_to(lambda: core.get_account_by_handle(yours, caller=caller)),
                came_to(lambda: core.get_ledger(ids[mine], num_rows=3, caller=caller)),
                came_to(lambda: core.login(phone=phone)),
            ]

        for one, other in zip(asked(here), asked(over), strict=True):
            assert other == one or (other is ReplyLost and one == NOT_DONE)
    assert there.calls == here.calls
    assert there.offers == here.offers
    there.check_conservation()


def test_the_async_client_says_the_same(core, site):
    """The async client returns the results of the sync client for each call."""
    url = site[1]._settings.url
    callers = [logged_in(core, ADA, "k"), CALLER, Caller(), Caller("l", phone=ADA)]

    async def answers():
        async with AsyncHttpCredexCore(url) as client:
            return [await call() for caller in callers for call in calls(client, caller).values()]

    before = core
    over_there = asyncio.run(answers())
    assert isinstance(over_there[2], Session)
    site[0].state.core = SimulatedCredexCore(clock=lambda: NOW)
    assert logged_in(site[1], ADA, "k") == callers[0]
    assert [call() for caller in callers for call in calls(site[1], caller).values()] == over_there
    assert site[0].state.core.calls == before.calls


def test_money_comes_back_as_it_is_written(client):
    """Amounts keep their digits on the way to credex-core and back."""
    alan = logged_in(client, ALAN)
    session = client.login(phone=ALAN)
    assert [str(money) for money in session.dashboard.accounts[0].balances] == [
        "500.00 USD",
        "1000.00 ZWG",
        "2.0000 XAU",
    ]
    grace = client.get_account_by_handle("grace", caller=alan)
    receipt = client.create_credex(
        issuer=session.dashboard.accounts[0].id,
        receiver=grace.id,
        amount=Money(Decimal("0.3333"), "XAU"),
        caller=attrs.evolve(alan, key="k"),
    )
    assert str(receipt.dashboard.accounts[0].outgoing[0].amount) == "0.3333 XAU"


def test_every_refusal_has_the_simulators_code(client, core):
    """Each refusal keeps its code and its parameters."""
    ada, grace = logged_in(client, ADA, "1"), logged_in(client, GRACE, "2")
    mine, yours = (client.login(phone=phone).dashboard.accounts[0].id for phone in (ADA, GRACE))

    def offered(amount, caller=ada, issuer=mine, receiver=yours):
        return client.create_credex(issuer=issuer, receiver=receiver, amount=amount, caller=caller)

    assert offered(Money(Decimal("25.01"), "USD")) == Refused(
        "amount.limit", field="amount", remaining=Money(Decimal("25.00"), "USD")
    )
    assert offered(Money(Decimal("25.02"), "USD")) == Refused("core.key_reused")
    assert offered(TEN, grace, yours, mine) == Refused(
        "amount.balance", field="amount", held=Money(Decimal("0.00"), "USD")
    )
    assert offered(TEN, attrs.evolve(ada, key="3"), yours) == Refused("core.rejected", reason="no such account")
    assert offered(Money(Decimal("NaN"), "USD"), attrs.evolve(ada, key="4")).code == "core.rejected"
    assert offered(Money(Decimal("0.12345678901234567890"), "USD"), attrs.evolve(ada, key="5")).code == "core.rejected"
    assert client.get_account_by_handle("no_one", caller=ada) == Refused(
        "handle.unknown", field="handle", handle="no_one"
    )
    assert client.accept_credex(core.offers[0].id, caller=attrs.evolve(grace, key="6")) == Refused("core.offer_gone")
    assert client.onboard_member(firstname="A", lastname="L", phone=ADA) == Refused("core.member_exists")
    assert client.create_recurring(
        source_account_id=yours,
        member_tier=3,
        amount=Money(Decimal("1.00"), "USD"),
        pay_frequency=28,
        start_date=DAY,
        caller=attrs.evolve(grace, key="7"),
    ) == Refused("core.insufficient_secured_balance", held=Money(Decimal("0.00"), "USD"))
    assert client.login(phone="263779999999") is None
    assert client.get_ledger(mine, caller=Caller()) == UNAUTHORISED


# One key acts once -------------------------------------------------------------------------------------------------


def test_a_lost_reply_is_asked_for_again_with_its_key(client, core):
    """After a lost reply, the call with the same key returns the receipt of the one offer."""
    katherine = logged_in(client, KATHERINE, "k")
    alan = client.get_account_by_handle("alan", caller=katherine)
    issuer = client.login(phone=KATHERINE).dashboard.accounts[1].id
    core.faults = [Fault("lost", call="createCredex", times=2)]

    def offered():
        return client.create_credex(issuer=issuer, receiver=alan.id, amount=TEN, caller=katherine)

    for _ in range(2):
        with pytest.raises(ReplyLost, match="repeat it with the same key") as raised:
            offered()
        assert raised.value.call == "createCredex"
        assert raised.value.fault == "did not come (RemoteProtocolError)", "the connection was not broken"
    receipt = offered()
    assert isinstance(receipt, Receipt)
    assert [offer.id for offer in core.offers[2:]] == [receipt.id]
    assert offered() == receipt


def test_a_key_acts_once_for_many_threads(client, core):
    """A key acts once, even if several threads use it at the same time."""
    ada = logged_in(client, ADA, "k")
    issuer, receiver = (client.get_account_by_handle(handle, caller=ada).id for handle in ("ada", "alan"))
    start, receipts = threading.Barrier(8), []

    def offered():
        start.wait()
        receipts.append(client.create_credex(issuer=issuer, receiver=receiver, amount=TEN, caller=ada))

    threads = [threading.Thread(target=offered) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receipts) == 8
    assert {receipt.id for receipt in receipts} == {core.offers[2].id}
    assert len(core.offers) == 3


def test_a_core_that_is_slow_is_not_waited_for(core, site):
    """A slow call ends with `ReplyLost`, and a call with the same key finds its outcome."""
    client = HttpCredexCore(site[1]._settings.url, read=0.1)
    ada = logged_in(site[1], ADA, "k")
    core.faults = [Fault("slow", seconds=1.0, times=2)]
    with client:
        assert client.login(phone=ADA) == DOWN
        with pytest.raises(ReplyLost, match="ReadTimeout"):
            client.cancel_credex(core.offers[0].id, caller=ada)
    assert isinstance(site[1].cancel_credex(core.offers[0].id, caller=ada), Receipt)


# What is sent ------------------------------------------------------------------------------------------------------


class Wrong:
    """A server that gives one response to every request; `got` holds the requests."""

    def __init__(self, answer, *, hangs_up=True):
        self._answer, self._hangs_up = answer, hangs_up
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.got = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        with contextlib.suppress(OSError), socket.create_connection(self._listening.getsockname()):
            pass
        self._thread.join()
        self._listening.close()

    def _serve(self):
        while True:
            connection, _ = self._listening.accept()
            if self._over.is_set():
                connection.close()
                return
            with connection, contextlib.suppress(OSError):
                self._one(connection)

    def _one(self, connection):
        connection.settimeout(LIMIT)
        request = b""
        while b"\r\n\r\n" not in request or len(request) < _length(request):
            piece = connection.recv(65536)
            if not piece:
                return
            request += piece
        self.got.append(request)
        for piece in [self._answer] if isinstance(self._answer, bytes) else self._answer():
            connection.sendall(piece)
        if not self._hangs_up:
            connection.recv(1)  # until the client does


def _length(request):
    head, _, _ = request.partition(b"\r\n\r\n")
    lines = [line.split(b":") for line in head.lower().splitlines()[1:]]
    return len(head) + 4 + next((int(value) for name, value, *_ in lines if name == b"content-length"), 0)


def http(body: object = b"", *, status="200 OK", type="application/json", length=None, more=""):
    """Return a response of HTTP/1.1."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = f"Content-Type: {type}\r\n" if type else ""
    size = len(body) if length is None else length
    head = (
        f"HTTP/1.1 {status}\r\n{kind}Content-Length: {size}\r\nConnection: close\r\n{more}\r\n"  # it hangs up after it
    )
    return head.encode() + body


BODIES = {
    "sendCode": {"phone": PHONE},
    "checkCode": {"codeID": "c", "code": "123456"},
    "login": {"phone": PHONE},
    "onboardMember": {"firstname": "Emmy", "lastname": "Noether", "phone": PHONE, "defaultDenom": "USD"},
    "getAccountByHandle": {"accountHandle": "alan"},
    "createCredex": {
        "issuerAccountID": "a",
        "receiverAccountID": "b",
        "Denomination": "USD",
        "InitialAmount": 10.0,
        "credexType": "PURCHASE",
        "OFFERSorREQUESTS": "OFFERS",
        "securedCredex": True,
    },
    "acceptCredex": {"credexID": "c"},
    "acceptCredexBulk": {"credexIDs": ["c", "d"]},
    "declineCredex": {"credexID": "c"},
    "cancelCredex": {"credexID": "c"},
    "getLedger": {"accountID": "a", "startRow": 7, "numRows": 8},
    "createRecurring": {
        "sourceAccountID": "a",
        "memberID": "member-1",
        "templateType": "MEMBERTIER_SUBSCRIPTION",
        "payFrequency": 28,
        "startDate": "2026-11-22",
        "memberTier": 3,
        "securedCredex": True,
        "amount": "1.00",
        "denomination": "USD",
    },
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_each_call_is_sent_as_the_api_wants_it(name):
    """Each call has the path, the body and the headers of the API; a public call has no token."""
    with Wrong(http(status="401 Unauthorized")) as core, HttpCredexCore(f"{core.url}/v1/", api_key=API_KEY) as client:
        assert calls(client)[name]() == UNAUTHORISED
    (request,) = core.got
    head, _, body = request.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first == f"POST /v1/{name} HTTP/1.1"
    assert json.loads(body) == BODIES[name]
    assert headers["content-type"] == "application/json"
    assert (headers["idempotency-key"], headers["x-client-api-key"]) == ("key-1", API_KEY)
    public = name in ("sendCode", "checkCode", "login", "onboardMember")
    assert headers.get("authorization") == (None if public else f"Bearer {TOKEN}")


def test_no_cookie_of_one_member_goes_out_with_another():
    """A cookie of a response is not sent with a later request."""
    cookie = "Set-Cookie: session=of-somebody; Path=/\r\n"
    with Wrong(http(ACCEPTED, more=cookie)) as core, HttpCredexCore(core.url) as client:
        assert isinstance(client.accept_credex("c", caller=CALLER), Receipt)
        assert isinstance(client.accept_credex("c", caller=CALLER), Receipt)
    assert len(core.got) == 2
    assert not [request for request in core.got if b"of-somebody" in request]


@pytest.mark.parametrize("token", ["a\r\nb: c", "ä", "\0", "", None])
def test_a_token_that_is_no_header_is_not_sent(token):
    """A token that cannot be a header is not sent."""
    with Wrong(http(status="401 Unauthorized")) as core, HttpCredexCore(core.url) as client:
        assert client.accept_credex("c", caller=Caller(token=token)) == UNAUTHORISED
    assert b"authorization" not in core.got[0].lower()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "core",
        "ftp://core",
        "http://",
        "https://user:secret-word@core",
        "http://core/?a=secret-word",
        "http://core#a",
        "http://core:secret-word",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(url):
    """A wrong address is refused, and the error quotes no password."""
    for adapter in (HttpCredexCore, AsyncHttpCredexCore):
        with pytest.raises(ValueError, match="url") as raised:
            adapter(url)
        assert "secret-word" not in str(raised.value)
    with pytest.raises(ValueError, match="seconds"):
        HttpCredexCore("http://core", read=0)


def test_a_client_of_ones_own_is_used_and_left_open(site, core):
    """A client that the caller passes is used and not closed."""
    with httpx2.Client(headers={"X-Of-Mine": "1"}, follow_redirects=True) as own:
        with HttpCredexCore(site[1]._settings.url, client=own) as client:
            assert isinstance(client.login(phone=ADA), Session)
        assert not own.is_closed

    async def twice():
        async with httpx2.AsyncClient() as own:
            async with AsyncHttpCredexCore(site[1]._settings.url, client=own) as client:
                assert isinstance(await client.login(phone=ADA), Session)
            assert not own.is_closed

    asyncio.run(twice())


# What comes back ---------------------------------------------------------------------------------------------------

DASHBOARD = {"member": {"memberID": "member-1"}, "accounts": []}


def message(type, details=None, *, dashboard=None, id="c", words=""):
    """Return the body of a response."""
    action = {"id": id, "type": type, "details": details or {}}
    return {"message": words, "data": {"action": action, "dashboard": DASHBOARD if dashboard is None else dashboard}}


def drops():
    """Return a body that arrives too slowly, though each part of it is in time."""
    yield http(b"{", length=MAX_BODY)
    pause = threading.Event()
    while True:
        pause.wait(0.02)
        yield b" "


ACCEPTED = message("CREDEX_ACCEPTED")
UNKNOWN = {
    "500": http(message("ERROR_INTERNAL", {"reason": "oh"}), status="500 Internal Server Error"),
    "500 with a success": http(ACCEPTED, status="500 Internal Server Error"),
    "500 that tells of a refusal": http(message("CREDEX_CREATE_FAILED", {"reason": "no"}), status="500 Oh"),
    "502 of a proxy": http(b"<html>", status="502 Bad Gateway", type="text/html"),
    "503": http(status="503 Service Unavailable"),
    "an internal error as 400": http(message("ERROR_INTERNAL", {"reason": "oh"}), status="400 Bad Request"),
    "still on its way": http(message("ERROR_VALIDATION", {"reason": "wait"}), status="409 Conflict"),
    "409 of a proxy": http(b"<html>", status="409 Conflict", type="text/html"),
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01\x02\0\x01\0\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "half a body": http(json.dumps(ACCEPTED).encode()[:40], length=4000),
    "an empty body": http(),
    "204": b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    "no JSON": http(b"{'data': 1}"),
    "no UTF-8": http(b'{"message": "\xff"}'),
    "a list": http([ACCEPTED]),
    "a number": http(b"1e999999999"),
    "too many digits": http(b'{"data": ' + b"9" * 10_000 + b"}"),
    "not a number": http(b'{"data": NaN}'),
    "too deep": http(b"[" * 200_000),
    "too long": http(b" " * (MAX_BODY + 1) + b"{}"),
    "another type of content": http(ACCEPTED, type="text/html"),
    "no type of content": http(ACCEPTED, type=""),
    "encoded though nobody asked": http(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", more="Content-Encoding: gzip\r\n"),
    "a redirect": http(status="307 Temporary Redirect", more="Location: /elsewhere\r\n"),
    "see other": http(status="303 See Other", more="Location: http://127.0.0.1:1/\r\n"),
    "another action": http(message("CREDEX_SEEN")),
    "an action that is a number": http(message(7)),
    "no action": http({"data": {}}),
    "data that is a list": http({"data": []}),
    "details that are a text": http(
        {"data": {"action": {"type": "CREDEX_ACCEPTED", "details": "x"}, "dashboard": DASHBOARD}}
    ),
    "a dashboard without accounts": http(message("CREDEX_ACCEPTED", dashboard={"member": {"memberID": "m"}})),
    "accounts that are none": http(message("CREDEX_ACCEPTED", dashboard={**DASHBOARD, "accounts": [1]})),
    "an account without an id": http(message("CREDEX_ACCEPTED", dashboard={**DASHBOARD, "accounts": [{}]})),
    "a balance that is none": http(
        message(
            "CREDEX_ACCEPTED",
            dashboard={
                **DASHBOARD,
                "accounts": [
                    {
                        "accountID": "a",
                        "accountHandle": "a",
                        "accountName": "a",
                        "balanceData": {
                            "securedNetBalancesByDenom": ["1e5 USD"],
                            "netCredexAssetsInDefaultDenom": "1 USD",
                        },
                        "pendingInData": [],
                        "pendingOutData": [],
                    }
                ],
            },
        )
    ),
    "drop by drop": drops,
}
"""Answers to acceptCredex that leave open whether it was done."""


@pytest.mark.parametrize("row", UNKNOWN)
def test_an_unreadable_response_leaves_the_outcome_open(row):
    """After an unreadable response an effect raises `ReplyLost`, and a call that only reads is `Unreachable`."""
    with Wrong(UNKNOWN[row]) as core, HttpCredexCore(core.url, read=0.3 if row == "drop by drop" else 5.0) as client:
        with pytest.raises(ReplyLost, match="the reply to acceptCredex") as raised:
            client.accept_credex("c", caller=CALLER)
        assert raised.value.call == "acceptCredex"
        assert client.get_account_by_handle("alan", caller=CALLER) == DOWN
        assert client.login(caller=CALLER) == DOWN
    assert len(core.got) == 3, "it was asked more than once, or somewhere else"


def test_a_success_without_a_dashboard_is_a_receipt():
    """A success without a dashboard is a receipt with an empty one; a login needs it."""
    with Wrong(http(message("CREDEX_ACCEPTED", dashboard={}))) as core, HttpCredexCore(core.url) as client:
        receipt = client.accept_credex("c", caller=CALLER)
        assert isinstance(receipt, Receipt)
        assert receipt.dashboard == Dashboard()
        assert client.login(caller=CALLER) == DOWN


@pytest.mark.parametrize("row", UNKNOWN)
def test_the_async_client_is_left_as_open(row):
    """The async client too raises `ReplyLost` for an effect with an unknown outcome."""

    async def asked(url):
        async with AsyncHttpCredexCore(url, read=0.3 if row == "drop by drop" else 5.0) as client:
            with pytest.raises(ReplyLost):
                await client.accept_credex("c", caller=CALLER)
            assert await client.login(caller=CALLER) == DOWN

    with Wrong(UNKNOWN[row]) as core:
        asyncio.run(asked(core.url))


REFUSED = {
    "404 of a proxy": (http(b"<html>", status="404 Not Found", type="text/html"), NOT_DONE),
    "400 with nonsense in it": (http({"data": [{"action": 1}]}, status="400 Bad Request"), NOT_DONE),
    "413": (http(status="413 Content Too Large", type=""), NOT_DONE),
    "too many requests": (http(message("ERROR_RATE", {"reason": "slowly"}), status="429 Too Many Requests"), NOT_DONE),
    "401 of anybody": (http(b"<html>", status="401 Unauthorized", type="text/html"), UNAUTHORISED),
    "not allowed": (
        http(message("ERROR_UNAUTHORIZED", {"code": "FORBIDDEN", "reason": "Not yours."}), status="403 Forbidden"),
        Refused("core.rejected", reason="Not yours"),
    ),
    "a message alone": (
        http({"message": "Bad id"}, status="400 Bad Request"),
        Refused("core.rejected", reason="Bad id"),
    ),
    "no reason": (http({}, status="400 Bad Request"), Refused("core.rejected", reason="it gave no reason")),
    "refused with 200": (
        http(message("CREDEX_CREATE_FAILED", {"reason": "No\r\n\twith\u202e \x1b[2J" + "x" * 999})),
        Refused("core.rejected", reason="No with [2J" + "x" * 188 + "…"),
    ),
    "it repeats what was confided": (
        http(message("ERROR_VALIDATION", {"reason": f"{TOKEN} is not of {API_KEY}"}), status="400 Bad Request"),
        Refused("core.rejected", reason="… is not of …"),
    ),
    "gone": (http(message("ERROR_NOT_FOUND"), status="404 Not Found"), Refused("core.offer_gone")),
    "short, by its reason": (
        http(
            message(
                "ERROR_VALIDATION",
                {
                    "code": "INSUFFICIENT_SECURED_BALANCE",
                    "reason": "Your secured credex for 1.00 USD cannot be issued because your maximum securable USD "
                    "balance is 1,000.5 USD.",
                },
            ),
            status="400 Bad Request",
        ),
        Refused("core.insufficient_secured_balance", held=Money(Decimal("1000.50"), "USD")),
    ),
    "short, by nothing": (
        http(message("ERROR_VALIDATION", {"code": "INSUFFICIENT_SECURED_BALANCE", "reason": "No"}), status="400 No"),
        Refused("core.balance_short"),
    ),
    "a limit without a number": (
        http(message("CREDEX_CREATE_FAILED", {"code": "DAILY_LIMIT_EXCEEDED", "remainingAvailableUSD": True})),
        Refused("core.rejected", reason="it gave no reason"),
    ),
}
"""Answers to acceptCredex that say that nothing was done."""


@pytest.mark.parametrize("row", REFUSED)
def test_a_refusal_is_returned_with_its_reason(row):
    """A refusal of credex-core is returned with its reason."""
    answer, meaning = REFUSED[row]
    with Wrong(answer) as core, HttpCredexCore(core.url, api_key=API_KEY) as client:
        assert client.accept_credex("c", caller=CALLER) == meaning


def test_a_success_with_the_status_of_a_refusal_leaves_it_open():
    """A success action with status 400 leaves the outcome unknown."""
    with (
        Wrong(http(ACCEPTED, status="400 Bad Request")) as core,
        HttpCredexCore(core.url) as client,
        pytest.raises(ReplyLost),
    ):
        client.accept_credex("c", caller=CALLER)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (http(message("ERROR_NOT_FOUND", {"code": "NOT_FOUND"}), status="404 Not Found"), None),
        (http({"message": "Member not found"}, status="400 Bad Request"), None),
        (http(message("ERROR_VALIDATION", {"reason": "Member Not Found."}), status="400 Bad Request"), None),
        (http({"message": "Not found"}, status="404 Not Found"), Refused("core.rejected", reason="Not found")),
        (http(b"not found", status="404 Not Found", type="text/plain"), DOWN),
        (http(message("ERROR_VALIDATION", {"reason": f"{PHONE} is bad"}), status="400 Bad Request"), "… is bad"),
    ],
)
def test_only_credex_core_reports_an_unknown_member(answer, meaning):
    """A login reports an unknown member only if credex-core says so, and not after a 404 of another server."""
    with Wrong(answer) as core, HttpCredexCore(core.url) as client:
        said = client.login(caller=CALLER)
    assert (said.params["reason"] if isinstance(said, Refused) and isinstance(meaning, str) else said) == meaning


@pytest.mark.parametrize(
    ("member", "tier", "remaining"),
    [
        ({}, 1, "0.00 USD"),
        ({"memberTier": 5, "remainingAvailableUSD": None}, 5, "0.00 USD"),
        ({"memberTier": 9, "remainingAvailableUSD": 12.5}, 1, "12.50 USD"),
        ({"memberTier": True, "remainingAvailableUSD": "1,000"}, 1, "1000.00 USD"),
        ({"memberTier": "3", "remainingAvailableUSD": 1e300}, 1, "0.00 USD"),
        ({"memberTier": 2, "remainingAvailableUSD": 7}, 2, "7.00 USD"),
    ],
)
def test_a_missing_tier_or_limit_has_a_default(member, tier, remaining):
    """A missing tier counts as 1, and a missing limit as 0."""
    dashboard = {"member": {"memberID": "m", **member}, "accounts": []}
    with Wrong(http(message("CREDEX_ACCEPTED", dashboard=dashboard))) as core, HttpCredexCore(core.url) as client:
        receipt = client.accept_credex("c", caller=CALLER)
    expected = Dashboard("m", tier=tier, remaining_usd=Money(Decimal(remaining.split()[0]), "USD"))
    assert isinstance(receipt, Receipt)
    assert receipt == Receipt("c", expected)
    assert str(receipt.dashboard.remaining_usd) == remaining


def test_a_connection_that_was_never_made_did_nothing():
    """A call without a connection is `Unreachable`; one with an effect says that nothing was done."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with Wrong(http(ACCEPTED)) as plain:
        for url in (closed, plain.url.replace("http:", "https:")):
            with HttpCredexCore(url, connect=0.2) as client:
                assert {name: call() for name, call in calls(client).items()} == NEVER_SENT

            async def asked(url=url):
                async with AsyncHttpCredexCore(url, connect=0.2) as client:
                    return {name: await call() for name, call in calls(client).items()}

            assert asyncio.run(asked()) == NEVER_SENT
    assert plain.got == []
    with HttpCredexCore("http://core.invalid") as client:
        assert client.accept_credex("c", caller=CALLER) == NOT_DONE


def test_a_redirect_is_not_followed(site, core):
    """A redirect is not followed, so the token goes to no other address."""
    with (
        Wrong(http(ACCEPTED)) as elsewhere,
        Wrong(http(status="307 Go", more=f"Location: {elsewhere.url}/\r\n")) as first,
        httpx2.Client(follow_redirects=True) as own,
        HttpCredexCore(first.url, client=own) as client,
        pytest.raises(ReplyLost, match="HTTP 307"),
    ):
        client.accept_credex("c", caller=CALLER)
    assert elsewhere.got == []


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw):
    """Generate responses with one value replaced or left out."""
    core = SimulatedCredexCore(clock=lambda: NOW)
    session = core.login(phone=ALAN)
    assert isinstance(session, Session)
    name, result = draw(
        st.sampled_from(
            [
                ("login", session),
                ("acceptCredex", Receipt("c", session.dashboard)),
                ("getAccountByHandle", Recipient("a", "b", "c")),
                ("getLedger", core.get_ledger(session.dashboard.accounts[0].id, caller=Caller(token=session.token))),
                ("createCredex", Refused("amount.balance", held=TEN)),
                ("createCredex", Refused("amount.limit", remaining=TEN)),
            ]
        )
    )
    status, body = response_to(name, result)
    body = json.loads(json.dumps(body))
    node: Any = body
    path: list[Any] = []
    while isinstance(node, dict | list) and node and (not path or draw(st.booleans())):
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        path.append((node, key))
        node = node[key]
    holder, key = path[-1]
    if draw(st.booleans()):
        holder[key] = draw(ANY_JSON)
    else:
        del holder[key]
    return name, ApiResponse(
        draw(st.sampled_from([status, 200, 400, 404, 409, 422])), "application/json", json.dumps(body).encode()
    )


ASKED = {
    "login": core_wire.login("", CALLER),
    "acceptCredex": core_wire.accept_credex("c", CALLER),
    "getAccountByHandle": core_wire.get_account_by_handle("b", CALLER),
    "getLedger": core_wire.get_ledger("a", 0, 8, CALLER),
    "createCredex": core_wire.create_credex("a", "b", TEN, CALLER),
}
SORTS = {
    "login": Session | None,
    "acceptCredex": Receipt,
    "getAccountByHandle": Recipient,
    "getLedger": tuple,
    "createCredex": Receipt,
}


@examples(300)
@given(damaged())
def test_whatever_comes_back_means_something(said):
    """Any response becomes a result of the right type, a refusal or `ReplyLost`."""
    name, answer = said
    meaning = came_to(lambda: interpret(ASKED[name], answer))
    assert meaning is ReplyLost or isinstance(meaning, SORTS[name] | Refused)
    assert name in EFFECTS or meaning is not ReplyLost
    str(meaning)


@given(st.integers(100, 599), st.sampled_from(["application/json", "text/html", ""]), st.binary(max_size=200))
def test_bytes_mean_something_too(status, type, body):
    """No response raises anything but `ReplyLost`."""
    for asked in ASKED.values():
        came_to(lambda asked=asked: interpret(asked, ApiResponse(status, type, body)))


# What was confided -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["500", "nothing", "half a body", "no JSON", "another action", "a redirect", "closed"])
def test_nothing_that_was_confided_gets_out(row, caplog):
    """Token, key of the API and telephone number are in no log, no repr and no traceback."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    chained: list[object] = []
    with Wrong(UNKNOWN.get(row, b"")) as core:
        url = core.url if row != "closed" else "http://127.0.0.1:1"
        with HttpCredexCore(url, api_key=API_KEY) as client:
            shown += [repr(client), repr(vars(client)), repr(AsyncHttpCredexCore(url, api_key=API_KEY))]
            for call in calls(client).values():
                try:
                    shown.append(repr(call()))
                except ReplyLost as lost:
                    shown += traceback.format_exception(lost)
                    chained.append((lost.__cause__, lost.__context__))
    assert set(chained) <= {(None, None)}
    assert row == "closed" or any("ReplyLost" in line for line in shown)
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    shown += [repr(asked) for asked in ASKED.values()]
    for secret in (TOKEN, API_KEY, PHONE):
        assert not [line for line in [*shown, caplog.text] if secret in line]


def test_httpx2_is_imported_when_a_client_is_used():
    """The library httpx2 is imported when a client is first used, not with the flows."""
    code = (
        "import sys, flows, flows.credex_core as core; print('httpx2' in sys.modules); "
        "core.HttpCredexCore, core.AsyncHttpCredexCore; print('httpx2' in sys.modules, 'starlette' in sys.modules); "
        "print(hasattr(core, 'NoSuchCore'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.split() == ["False", "True", "False", "False"]


# What the served simulator says ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_request_that_is_none_is_refused(name, client, core):
    """The server refuses malformed requests, and makes no call."""
    url = f"{client._settings.url}/{name}"
    for content in (b"", b"[]", b"{}", b"\xff", b'{"a": NaN}', b"[" * 100_000, *_wrong(BODIES[name])):
        answer = httpx2.post(url, content=content)
        assert answer.status_code == 400
        assert answer.json()["data"]["action"]["details"]["code"] == "INVALID_REQUEST"
    assert httpx2.post(url, content=b" " * (2 << 20)).status_code == 413
    assert core.calls == ()


def _wrong(body):
    """Return the body with each of its fields missing or wrong."""
    for name in body.keys() - {"memberID"}:
        yield json.dumps({key: value for key, value in body.items() if key != name}).encode()
        wrong: tuple[object, ...] = (None, {}, "2026-13-01x" if name == "startDate" else False, [7])
        for value in wrong:
            yield json.dumps({**body, name: value}).encode()


def test_a_browser_may_look_and_ask(client, core):
    """The server shows what it received and accepts requests of web pages."""
    url = client._settings.url
    logged_in(client, ADA)
    seen = httpx2.get(url).json()
    assert seen["received"] == [{"name": "login", "key": ""}]
    assert [offer["amount"] for offer in seen["offers"]] == ["5.00", "7.50"]
    asks = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    allowed = httpx2.options(f"{url}/login", headers=asks)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "*")
    assert httpx2.post(f"{url}/no_such_call", json={}).status_code == 404
    assert httpx2.get(f"{url}/login").status_code == 405


def test_it_is_served_while_the_block_lasts():
    """The simulator is served until the block ends."""
    with served(SimulatedCredexCore()) as url, HttpCredexCore(url) as client:
        assert isinstance(client.login(phone=ADA), Session)
    with HttpCredexCore(url) as client:
        assert client.login(phone=ADA) == DOWN


# Whole conversations -----------------------------------------------------------------------------------------------


class Talk:
    """A conversation of one member with a bot that calls credex-core over HTTP."""

    def __init__(self, client, core, phone):
        core.clock = lambda: NOW
        bot = flows.bot.with_services({"credex_core": client})
        self.manager = FlowStateManager.in_memory(bot, clock=lambda: NOW)
        self.channel, self.number = Channel("whatsapp", phone), 0

    def say(self, *lines):
        """Return the reply to the last of these texts."""
        for line in lines:
            self.number += 1
            self.outcome = self.manager.handle(Message(self.channel, f"m{self.number}", text=line))
        return "\n".join(reply.text for reply in self.outcome.replies)


def test_a_guest_becomes_a_member_and_their_offer_is_accepted(client, core):
    """A guest becomes a member over HTTP, and their offer is accepted."""
    emmy = Talk(client, core, "263770000001")
    assert "Welcome, Emmy!" in emmy.say("hi", "become_member", "Emmy", "Noether", "yes")
    assert "10.00 USD" in emmy.say("menu", "offer", "10", "alan")
    assert "Your offer was made: 10.00 USD" in emmy.say("yes")
    assert [(o.issuer, o.receiver, str(o.money)) for o in core.offers[2:]] == [("emmy_noether", "alan", "10.00 USD")]
    alan = logged_in(client, ALAN, "k")
    receipt = client.accept_credex(core.offers[2].id, caller=alan)
    assert str(receipt.dashboard.accounts[0].balances[0]) == "510.00 USD"
    core.check_conservation()


@pytest.mark.parametrize(
    "fault", [Fault("lost", "createCredex", 2), Fault("down", "createCredex", 1), Fault("401", "createCredex", 1)]
)
def test_one_offer_is_made_whatever_goes_wrong_once(client, core, fault):
    """After a lost reply, an outage or a 401, one offer is made, with one key."""
    ada = Talk(client, core, ADA)
    ada.say("hi", "offer", "10", "alan")
    core.faults = [fault]
    assert "Your offer was made: 10.00 USD" in ada.say("yes")
    assert [str(offer.money) for offer in core.offers[2:]] == ["10.00 USD"]
    keys = [call.key for call in core.calls if call.name == "createCredex"]
    assert len(keys) == 1 + (fault.times or 0)
    assert len(set(keys)) == 1
    core.check_conservation()


def test_a_core_that_is_away_is_one_apology(client, core):
    """If nothing listens at the address, the reply apologises and does not offer a membership."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with HttpCredexCore(closed) as nobody:
        said = Talk(nobody, core, ADA).say("hi")
    assert "cannot reach the credex network" in said
    assert "Become" not in said


def test_the_async_manager_talks_to_the_async_client(site, core):
    """The async manager makes an offer through the async client, once in spite of a lost reply."""

    async def talked():
        async with AsyncHttpCredexCore(site[1]._settings.url) as client:
            bot = flows.bot.with_services({"credex_core": client})
            core.clock = lambda: NOW
            manager = AsyncFlowStateManager.in_memory(bot, clock=lambda: NOW)
            core.faults = [Fault("lost", "createCredex", 1)]
            return [
                (await manager.handle(Message(Channel("whatsapp", ADA), f"m{number}", text=line))).replies[0].text
                for number, line in enumerate(["hi", "offer", "10", "alan", "yes"])
            ]

    assert "Your offer was made: 10.00 USD" in asyncio.run(talked())[-1]
    assert len(core.offers) == 3
