"""Fixtures of the tests of channels with their connections."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.web.clients import Maker, Threaded, sync_client
from tests.web.vendors import Vendors, vendors
from vimbiso_fsm.web import Api


@pytest.fixture
def world() -> Generator[Vendors]:
    """The vendors on this machine."""
    with vendors() as found:
        yield found


@pytest.fixture(params=[sync_client, Threaded], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Maker]:
    """Makes clients, which are closed with the test."""
    made: list[Any] = []

    def maker(api: Api) -> Any:
        made.append(request.param(api))
        return made[-1]

    yield maker
    for each in made:
        each.close()
