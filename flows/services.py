"""The services for `vimbiso chat --services flows.services:over_http`: credex-core at the address in the environment.

    CREDEX_CORE_URL   the address, https://HOST/PATH
    CREDEX_API_KEY    the key of the API, if there is one

The settings are variables, because each user of a machine can read the command lines of all processes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from flows.credex_core.http import AsyncHttpCredexCore, HttpCredexCore

URL: Final = "CREDEX_CORE_URL"
"""The variable with the address."""

API_KEY: Final = "CREDEX_API_KEY"
"""The variable with the key."""


@contextmanager
def over_http() -> Generator[dict[str, object]]:
    """Connect to credex-core, for commands that call services synchronously.

    Yields:
        The services of VimbisoPay by name.

    Raises:
        ValueError: The environment names no address.
    """
    url, api_key = _settings()
    with HttpCredexCore(url, api_key=api_key) as core:
        yield {"credex_core": core}


@asynccontextmanager
async def over_async_http() -> AsyncGenerator[dict[str, object]]:
    """Connect to credex-core, for `vimbiso worker`.

    Yields:
        The services of VimbisoPay by name.

    Raises:
        ValueError: The environment names no address.
    """
    url, api_key = _settings()
    async with AsyncHttpCredexCore(url, api_key=api_key) as core:
        yield {"credex_core": core}


def _settings() -> tuple[str, str]:
    url = os.environ.get(URL, "")
    if not url:
        raise ValueError(f"{URL} is not set; set it to the address of credex-core, https://HOST/PATH")
    return url, os.environ.get(API_KEY, "")
