"""Measure the studio: `python -m tests.studio MEMBERS` prints the memory of its process and the times of its pages.

The memory is compared with that of a process that has a manager at the same store and does nothing.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import flows
from tests.engines import running, valkey_program
from vimbiso_fsm import Channel, FlowStateManager, Message
from vimbiso_fsm.store.redis_atomic import AtomicStateManager

PAGES: Final = ("/board", "/board/store", "/machine", "/timeline", "/simulator")
BARE: Final = """
import asyncio, sys, flows
from vimbiso_fsm import AsyncFlowStateManager
async def main():
    async with AsyncFlowStateManager.from_url(sys.argv[1], flows.bot) as manager:
        await manager.state("m-1")
        print("ready", flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


def megabytes(process: subprocess.Popen[str]) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def ask(place: str, path: str, headers: Mapping[str, str]) -> tuple[str, bytes, float]:
    """Ask for a page; return the cookie that is set, the body and the seconds."""
    began = time.perf_counter()
    with closing(http.client.HTTPConnection(place)) as connection:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read()
        return str(answer.headers["set-cookie"]).partition(";")[0], body, time.perf_counter() - began


def main(members: int) -> None:
    """Measure a studio at a store of so many members."""
    with running(valkey_program()) as server:
        with AtomicStateManager.from_url(server.url) as store:
            manager = FlowStateManager(flows.bot, store, rates=None)
            for number in range(members):
                manager.handle(Message(Channel("whatsapp", f"2637{number:08}"), str(number), "hi"))
        bare = subprocess.Popen([sys.executable, "-c", BARE, server.url], stdout=subprocess.PIPE, text=True)
        command = (sys.executable, "-m", "vimbiso_fsm.cli", "studio", "--flows", "flows", "--no-open")
        studio = subprocess.Popen([*command, "--redis", server.url], stdout=subprocess.PIPE, text=True)
        assert bare.stdout is not None
        assert studio.stdout is not None
        bare.stdout.readline()
        address = urlsplit(studio.stdout.readline().removeprefix("studio: ").strip())
        cookie, _, _ = ask(address.netloc, f"/?{address.query}", {})
        print(f"memory when it has begun: {megabytes(studio):.1f} MB; bare manager {megabytes(bare):.1f} MB")
        for path in PAGES:
            print(f"{path}: {ask(address.netloc, path, {'Cookie': cookie})[2] * 1000:.0f} ms")
        times, counted = list[float](), False
        while not counted:
            _, body, seconds = ask(address.netloc, "/board/members", {"Cookie": cookie})
            times.append(seconds)
            counted = b"so far" not in body
        print(f"{members} members counted by {len(times)} requests; the longest took {max(times) * 1000:.0f} ms")
        print(f"memory after that: {megabytes(studio):.1f} MB; bare manager {megabytes(bare):.1f} MB")
        studio.send_signal(signal.SIGINT)
        studio.communicate()
        bare.kill()
        bare.communicate()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
