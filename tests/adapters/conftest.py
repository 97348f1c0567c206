"""Fixtures of the tests of adapters."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.web.vendors import Vendors, vendors


@pytest.fixture
def world() -> Generator[Vendors]:
    """The vendors on this machine."""
    with vendors() as found:
        yield found
