"""A manager under one event loop after the other, as with one asyncio.run() a request.

`python -m tests.cases.many_loops URL`.

This is a program of its own because the connections of an event loop that has ended can no longer be closed.
"""

from __future__ import annotations

import asyncio
import sys

from tests.cases.small_flows import door
from vimbiso_fsm import AsyncFlowStateManager, Bot, Channel, Message, VimbisoError


def main(url: str) -> None:
    """Handle four messages in four event loops, and print what became of each."""
    manager = AsyncFlowStateManager.from_url(url, Bot(door))
    for number in range(4):
        message = Message(Channel("whatsapp", f"1650555000{number}"), f"m{number}", "hi")
        try:
            print(asyncio.run(manager.handle(message)).status)
        except asyncio.CancelledError:
            print("cancelled")
        except (VimbisoError, RuntimeError) as error:
            print(error)


if __name__ == "__main__":
    main(sys.argv[1])
