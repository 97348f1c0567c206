"""The bot of the trials with vimbiso_fsm."""

from __future__ import annotations

import asyncio

import attrs

from tests.peers.worker import URL, Bank, serve
from vimbiso_fsm import (
    AsyncFlowStateManager,
    Bot,
    Call,
    Caller,
    CallPolicy,
    Channel,
    Flow,
    Message,
    State,
    Text,
    Transition,
    Turn,
    call,
    readers,
)


class Payments:
    """The service."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def pay(self, amount: int, *, caller: Caller = Caller()) -> bool:  # noqa: B008  # for type checkers
        """Pay, with the key that is the same in each attempt."""
        self._bank.pay(amount, caller.key)
        return True


@attrs.frozen
class Payment:
    """The answers."""

    amount: int = 0


SHORT = CallPolicy(timeout=5, attempts=1)


def propose(turn: Turn[Payment]) -> Call[bool]:
    """Propose the payment, which is made after the turn is stored."""
    return call(Payments.pay, turn.data.amount)


payment = Flow(
    "payment", data=Payment, initial="amount",
    states=[
        State("amount",  ask=Text("How much?"), reads=readers.number(), into="amount"),
        State("confirm", ask=Text("Pay it?")),
        State("paying",  ask=Text("One moment."), call=propose, policy=SHORT),
        State("paid",    say=Text("Paid."), final=True),
    ],
    transitions=[
        Transition("answer", "amount",  "confirm"),
        Transition("yes",    "confirm", "paying"),
        Transition("done",   "paying",  "paid"),
        Transition("failed", "paying",  "confirm"),
    ],
)  # fmt: skip


async def main() -> None:
    """Serve the bot."""
    bot = Bot(payment, services={"payments": Payments(Bank())}, texts={"payment.confirm.yes": "Yes"})
    async with AsyncFlowStateManager.from_url(URL, bot) as manager:

        async def handle(id_: int, text: str) -> list[str]:
            outcome = await manager.handle(Message(Channel("telegram", "11"), str(id_), text))
            return [reply.text for reply in outcome.replies]

        await serve(handle)


if __name__ == "__main__":
    asyncio.run(main())
