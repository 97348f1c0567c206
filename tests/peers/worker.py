"""A worker process of a bot under trial: messages come as lines of JSON, and replies go out as lines of JSON.

The bank is a service outside the process, as a real one is. It stays when a worker is killed, and recognises a payment
whose key it has seen. A payment without a key is a payment each time.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis

Handle = Callable[[int, str], Awaitable[list[str]]]
URL = os.environ.get("TRIAL_URL", "redis://localhost")
"""The server of the trial, for the bank and for a bot that keeps its state there."""
FOLDER = os.environ.get("TRIAL_FOLDER", ".")
"""The folder of the trial, for a bot that keeps its state in files."""
TOGETHER = float(os.environ.get("TRIAL_TOGETHER", "3"))
"""Seconds for which a payment waits for the other worker in a race; a worker that is held by a lock never comes."""


class Bank:
    """Takes payments, and plays the fault of the trial.

    Attributes:
        fault: "" for none; "race": a payment waits until the other worker pays too; "kill": the worker is killed after
            the payment.
    """

    def __init__(self) -> None:
        self._client = redis.Redis.from_url(URL, protocol=2)
        self.fault = os.environ.get("FAULT", "")

    def pay(self, amount: int, key: str = "") -> None:
        """Take a payment, once for each key that is given."""
        if self.fault == "race":
            self._client.incr("bank:waiting")
            limit = time.monotonic() + TOGETHER
            while time.monotonic() < limit and int(self._client.get("bank:waiting") or 0) < 2:
                time.sleep(0.01)
        if not key or self._client.set(f"bank:key:{key}", amount, nx=True):
            self._client.rpush("bank:payments", amount)
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)


async def serve(handle: Handle) -> None:
    """Answer each line until the input ends. What a bot raises is answered as such."""
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        message: dict[str, Any] = json.loads(line)
        try:
            said = await handle(message["id"], message["text"])
        except Exception as error:
            said = [f"({type(error).__name__})"]
        print(json.dumps({"replies": said}), flush=True)
