"""A seat that is held for a limited time, at the terminal. A worker gives it back when the time is over.

pip install "vimbiso_fsm[embedded]"
python examples/held_seat.py [FOLDER] [SECONDS]
"""

import sys
import threading
import uuid
from collections.abc import Sequence

from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, NoData, Reply, State, Text, Transition, Worker
from vimbiso_fsm.channels import terminal


def seat(seconds: float) -> Flow[NoData]:
    """Return a flow that holds the seat for some seconds."""
    return Flow(
        "seat", initial="free",
        states=[
            State("free", ask=Text("Seat 4A is free.")),
            State("held", ask=Text("Seat 4A is held for you."), timeout=seconds),
            State("taken", say=Text("Have a good journey."), final=True),
            State("lost", say=Text("Your time is over."), final=True),
        ],
        transitions=[
            Transition("hold", "free", "held"),
            Transition("take", "held", "taken"),
            Transition("timeout", "held", "lost"),
        ],
    )  # fmt: skip


def show(channel: Channel, replies: Sequence[Reply], /) -> None:
    """Print replies."""
    print(*terminal.render(channel, replies), sep="\n", flush=True)


if __name__ == "__main__":
    folder, seconds = (sys.argv[1:] + ["data", "20"][len(sys.argv) - 1 :])[:2]
    you = Channel("terminal", "you")
    bot = Bot(seat(float(seconds)), texts={"seat.free.hold": "Hold it", "seat.held.take": "Take it"})
    with FlowStateManager.embedded(folder, bot, deliver=show) as manager:
        worker = Worker(manager, every=0.2)
        thread = threading.Thread(target=worker.run)
        thread.start()
        for line in sys.stdin:
            show(you, manager.handle(Message(you, id=uuid.uuid4().hex, text=line.strip())).replies)
        worker.stop()
        thread.join()
