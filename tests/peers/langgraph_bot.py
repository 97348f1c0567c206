"""The bot of the trials with LangGraph: interrupts, and its checkpointer on SQLite."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from tests.peers.worker import FOLDER, Bank, serve

bank = Bank()


class Payment(TypedDict, total=False):
    """The state."""

    amount: int


def amount(state: Payment) -> Payment:
    """Read the amount."""
    said = interrupt("How much?")
    while not said.isdigit():
        said = interrupt("A number, please.")
    return {"amount": int(said)}


def confirm(state: Payment) -> Payment:
    """Wait for yes."""
    while interrupt("Pay it?") != "yes":
        pass
    return {}


def pay(state: Payment) -> Payment:
    """Pay."""
    bank.pay(state["amount"])
    return {}


graph: Any = StateGraph(Payment)
graph.add_node(amount)
graph.add_node(confirm)
graph.add_node(pay)
graph.add_edge(START, "amount")
graph.add_edge("amount", "confirm")
graph.add_edge("confirm", "pay")
graph.add_edge("pay", END)


async def main() -> None:
    """Serve the bot."""
    async with AsyncSqliteSaver.from_conn_string(f"{FOLDER}/checkpoints.sqlite") as saver:
        machine = graph.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "11"}}

        async def handle(id_: int, text: str) -> list[str]:
            waits = (await machine.aget_state(config)).next
            result = await machine.ainvoke(Command(resume=text) if waits else {}, config, durability="sync")
            asked = result.get("__interrupt__")
            return [str(each.value) for each in asked] if asked else ["Paid."]

        await serve(handle)


if __name__ == "__main__":
    asyncio.run(main())
