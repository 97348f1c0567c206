"""A manager that is forked after use, as a pre-loading web server forks it: `python -m tests.cases.forked URL`."""

from __future__ import annotations

import os
import sys

from tests.cases.small_flows import door
from vimbiso_fsm import Bot, Channel, FlowStateManager, Message
from vimbiso_fsm.testing.chat import words


def main(url: str) -> None:
    """Send messages, fork four children that do the same, go on, and print the results."""
    manager = FlowStateManager.from_url(url, Bot(door))

    def talk(name: str) -> bool:
        messages = [Message(Channel("sms", f"{name}-{n}"), f"{name}{n}", "hi") for n in range(40)]
        return all(words(manager.handle(message).replies) == ["Open?"] for message in messages)

    print("before", talk("before"), flush=True)  # before the fork, so that no child prints it again
    children: list[int] = []
    for child in range(4):
        if not (pid := os.fork()):
            os._exit(0 if talk(f"child{child}") else 1)
        children.append(pid)
    print("parent", talk("parent"))
    print("children", [os.waitpid(pid, 0)[1] for pid in children])
    manager.close()


if __name__ == "__main__":
    main(sys.argv[1])
