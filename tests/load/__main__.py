"""Load an app over real HTTP on this machine: `make load`.

Two processes of `vimbiso serve` share an embedded server, which forces each turn to the disk. Webhooks of WhatsApp,
signed and each of another message, come to both; their replies go to a server that stands for WhatsApp's API. Printed
are the requests per second at most, and the time until the acknowledgement, which comes after the commit, at half of
that: the requests then begin at fixed instants, and a request's time counts from its instant, so that a server that
stalls is not asked less. Their percentiles are drawn as an SVG (`plots.py`). All numbers and times are bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import attrs

from tests.load.http import Connection, request_of, vendor
from tests.web.served import Served, served, settings

AIM: Final = 0.025
"""Seconds of the median at half of the maximum that are aimed at."""
SECONDS: Final = 120.0
"""Seconds for each measurement at most."""


@attrs.frozen
class Measured:
    """What became of requests.

    Attributes:
        seconds: The time until each acknowledgement.
        statuses: The number of answers by status; 0 for none.
        rate: Answers per second.
    """

    seconds: Sequence[float]
    statuses: Counter[int]
    rate: float

    @property
    def errors(self) -> int:
        """The number of requests that were not acknowledged."""
        return sum(count for status, count in self.statuses.items() if status != 200)

    def at(self, share: float) -> float:
        """Return the time within which a share of the requests was acknowledged, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def webhooks(count: int, members: int, first: int) -> Iterator[bytes]:
    """Yield signed webhooks of WhatsApp: each member greets, and then answers the question that they were asked.

    Args:
        count: How many.
        members: How many members they come from, in turn.
        first: The number of the first one; no number is used twice.
    """
    for number in range(first, first + count):
        turn, member = divmod(number, members)
        text = "hi" if turn == 0 else ("yes", "back")[turn % 2 == 0]
        said = {"from": f"26377{member:07d}", "id": f"wamid.{number}", "type": "text", "text": {"body": text}}
        value = {"metadata": {"phone_number_id": "106"}, "messages": [said]}
        change = {"field": "messages", "value": value}
        raw = json.dumps({"object": "whatsapp_business_account", "entry": [{"changes": [change]}]}).encode()
        digest = hmac.new(b"s", raw, hashlib.sha256).hexdigest()
        yield request_of("/whatsapp", raw, {"X-Hub-Signature-256": f"sha256={digest}"})


async def load(urls: Sequence[str], requests: Sequence[bytes], connections: int, rate: float | None) -> Measured:
    """Make requests.

    Args:
        urls: The processes, which get the connections in turn.
        requests: The requests.
        connections: How many are on their way at once at most.
        rate: Requests that begin per second; None begins each as soon as a connection is free.
    """
    opened = [await Connection.open(urls[number % len(urls)]) for number in range(connections)]
    waiting = iter(enumerate(requests))
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    began = time.monotonic()

    async def work(connection: Connection) -> None:
        for number, request in waiting:
            due = time.monotonic() if rate is None else began + number / rate
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            try:
                statuses[await connection.ask(request)] += 1
            except (OSError, asyncio.IncompleteReadError):
                statuses[0] += 1
                return
            seconds.append(time.monotonic() - due)

    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*map(work, opened))
    finally:
        for each in opened:
            each.close()
    return Measured(seconds, statuses, len(seconds) / (time.monotonic() - began))


async def measure(options: argparse.Namespace, stack: ExitStack) -> int:
    """Measure, print the figures, and return 1 if a request was not acknowledged."""
    async with vendor() as (address, taken):
        variables = {name: value for name, value in settings(address).items() if "WHATSAPP" in name}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir)))
        begun: list[Served] = []
        for _ in range(options.processes):
            context = served(folder, variables, "--data", "data")
            begun.append(await asyncio.to_thread(stack.enter_context, context))
        urls = [each.url for each in begun]
        numbers = iter(range(10**9))

        def some(count: int) -> list[bytes]:
            first = next(numbers)
            for _ in range(count - 1):
                next(numbers)
            return list(webhooks(count, options.members, first))

        await load(urls, some(options.members), options.connections, None)  # the members greet, and caches fill
        most = await load(urls, some(options.requests), options.connections, None)
        half = await load(urls, some(options.requests), options.connections, most.rate / 2)
        print(
            f"{options.processes} processes, {options.connections} connections, {options.members} members, "
            f"{options.requests} requests each; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
            f"maximum          {most.rate:7.0f} requests/s   median {most.at(0.5):7.1f} ms   "
            f"99 % {most.at(0.99):7.1f} ms   errors {most.errors}",
            f"half of it       {half.rate:7.0f} requests/s   median {half.at(0.5):7.1f} ms   "
            f"99 % {half.at(0.99):7.1f} ms   errors {half.errors}",
            f"sent             {taken[0]} messages; aim: a median of {1000 * AIM:.0f} ms at half of the maximum",
            sep="\n",
            flush=True,
        )
        for each in begun:
            assert await asyncio.to_thread(each.stop) == 0, each.text
        from tests.load.plots import draw  # loads a library that nothing else here needs

        drawn = draw({"maximum": most, "half of it": half}, options.command, options.plots)
        print(f"drawn            {drawn}", flush=True)
        return 1 if most.errors or half.errors else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Load an app as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--dir", default=None, help="the folder of the store; by default a temporary one")
    parser.add_argument("--plots", type=Path, default=Path("build/plots"), help="the folder of the SVG (%(default)s)")
    options = parser.parse_args(arguments)
    if not all(0 < each <= 100_000 for each in (options.processes, options.connections, options.requests)):
        parser.error("each number is from 1 to 100,000")
    numbers = {name: getattr(options, name) for name in ("processes", "connections", "members", "requests")}
    given = [f"--{name} {number}" for name, number in numbers.items() if number != parser.get_default(name)]
    options.command = f'make load ARGS="{" ".join(given)}"' if given else "make load"
    with ExitStack() as stack:
        return asyncio.run(measure(options, stack))


if __name__ == "__main__":
    sys.exit(main())
