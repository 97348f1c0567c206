"""Measure what a sender can make the store keep: `make bounds`. It prints a row for each, with bytes and seconds.

The server is a new one in a folder of its own; the bot is VimbisoPay.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import flows
from flows.credex_core import SimulatedCredexCore
from tests.engines import valkey_program
from tests.faults.server import own_server
from vimbiso_fsm import Channel, FlowStateManager, Message, TooManyMessages

SAMPLE = 100
"""Senders or messages that each number is the mean of."""
ADA = "263771000001"
"""A member of the simulated credex-core."""

_ids = itertools.count(1)


def _message(number: str, text: str, id: str = "") -> Message:
    return Message(Channel("whatsapp", number), id or f"b{next(_ids)}", text)


def _kept(client: Any) -> tuple[int, int]:
    """Return the bytes of all keys, and the seconds until the last of them ends."""
    keys = list(client.scan_iter(count=1_000))
    return sum(client.memory_usage(key, samples=0) for key in keys), max(map(client.ttl, keys), default=0)


def _measured(client: Any, manager: FlowStateManager, messages: list[Message]) -> tuple[float, int]:
    """Handle messages; return the bytes that each adds, and how many were taken."""
    before, taken = _kept(client)[0], 0
    for message in messages:
        try:
            manager.handle(message)
            taken += 1
        except TooManyMessages:
            pass
    return (_kept(client)[0] - before) / len(messages), taken


def rows(url: str, client: Any) -> Iterator[tuple[str, str]]:
    """Yield what is measured, and the result."""
    services = {"credex_core": SimulatedCredexCore()}
    with FlowStateManager.from_url(url, flows.bot, services=services) as manager:
        strangers = [_message(f"9{number:09}", "hi") for number in range(SAMPLE)]
        each, _ = _measured(client, manager, strangers)
        yield "one message of a stranger", f"{each:,.0f} bytes, the longest for {_kept(client)[1] / 86_400:.0f} days"
        again = [Message(each.channel, each.id, each.text) for each in strangers]
        each, _ = _measured(client, manager, again)
        yield "the same message, delivered again", f"{each:,.0f} bytes"
        manager.handle(_message(ADA, "hi"))
        each, taken = _measured(client, manager, [_message(ADA, "Z" * 4_000) for _ in range(10_000)])
        yield "10,000 refused messages of a member", f"{each * 10_000:,.0f} bytes; {taken} were taken"
    with FlowStateManager.from_url(url, flows.bot, services=services, rates=None) as manager:
        each, _ = _measured(client, manager, [_message(ADA, "Z") for _ in range(1_000)])
        yield "a refused message, without rates", f"{each:,.0f} bytes"
        manager.handle(_message(ADA, "menu"))
        member_id = manager.handle(_message(ADA, "Z")).state.member_id
        entries = len(manager.history(member_id))
        each, taken = _measured(client, manager, [_message(ADA, "Z") for _ in range(10_000)])
        more = len(manager.history(member_id)) - entries
        yield f"{taken:,} refused messages in a row, without rates", f"{each * taken:,.0f} bytes, {more} audit entries"
        manager.handle(_message(ADA, "1", "same"))
        each, _ = _measured(client, manager, [_message(ADA, str(n), "same") for n in range(1_000)])
        yield "a message with a used id and other content, without rates", f"{each:,.0f} bytes"


def main() -> int:
    """Print the table."""
    with own_server(valkey_program()) as server, server.client() as client:
        for what, result in rows(server.url, client):
            print(f"{what:<60} {result}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
