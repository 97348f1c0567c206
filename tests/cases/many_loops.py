"""A manager that is used under several event loops in turn, as with one `asyncio.run()` per request.

`python -m tests.cases.many_loops URL`.

It is a separate program, so that nothing but the manager ends what a loop leaves.
"""

from __future__ import annotations

import asyncio
import sys

from tests.cases.small_flows import door
from vimbiso_fsm import AsyncFlowStateManager, Bot, Channel, Message, VimbisoError


def main(url: str) -> None:
    """Handle four messages in four event loops, and print the result of each."""
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
