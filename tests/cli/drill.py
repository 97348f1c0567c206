"""The ten incidents of the drill: how each is prepared, on a server, and what is done beside the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

import attrs
import pytest

from tests.bots import member_document
from tests.engines import Server, write_document
from vimbiso_fsm import (
    Bot,
    Caller,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    Migration,
    NoData,
    Reply,
    Sent,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.messages.sending import Answer
from vimbiso_fsm.runtime.worker import Worker
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Link
from vimbiso_fsm.testing.chat import STORE_SECRET

NUMBER = "263771234567"
MEMBER = "m-42"


class Bank(Protocol):
    """A port."""

    def pay(self, *, caller: Caller = Caller()) -> str:  # noqa: B008
        """Pay."""
        ...


class SimulatedBank:
    """A bank that answers as long as it is up."""

    up = True

    def pay(self, *, caller: Caller) -> str:
        """Pay."""
        if not self.up:
            raise ConnectionError("the bank does not answer")
        return "paid"


def pays(turn: Turn[NoData]) -> Any:
    """Call the bank."""
    return call(Bank.pay)


def shop(
    bank: SimulatedBank, *, wait: str = "waiting", name: str = "order", migrations: Sequence[Migration] = ()
) -> Bot:
    """Return a bot that pays, and that waits for a minute.

    Args:
        bank: The bank.
        wait: The name of the state that waits.
        name: The name of its flow.
        migrations: The migrations of the flow, each to one version more.
    """
    states: list[State[NoData]] = [
        State("ask", ask=Text("Pay or wait?")),
        State("paying", call=pays),
        State("paid", ask=Text("Paid.")),
        State(wait, ask=Text("Wait."), timeout=60),
    ]
    ways: list[Transition[NoData]] = [
        Transition("pay", "ask", "paying"),
        Transition("done", "paying", "paid"),
        Transition("failed", "paying", "ask"),
        Transition("again", "paid", "ask"),
        Transition("wait", "ask", wait),
        Transition("timeout", wait, "ask"),
    ]
    version = 1 + len(migrations)
    flow = Flow(
        name, version=version, initial="ask", states=states, transitions=ways, session=3600, migrations=migrations
    )
    titles = {"ask.pay": "Pay", "ask.wait": "Wait", "paid.again": "Again"}
    texts = {"en": {f"{name}.{key}": title for key, title in titles.items()}}
    return Bot([flow], services={"bank": bank}, texts=texts)


@attrs.define
class Night:
    """A store in which an incident is prepared.

    Attributes:
        server: The server, empty at first.
        patch: What undoes the changes of the test.
        bank: The bank of the bot.
        sends: Whether the channel takes replies.
        sent: The replies that the channel has taken.
    """

    server: Server
    patch: pytest.MonkeyPatch
    bank: SimulatedBank = attrs.field(factory=SimulatedBank)
    sends: bool = True
    sent: list[str] = attrs.field(factory=list[str])

    def deploy(self, package: str, bot: Bot) -> None:
        """Let a package export a bot."""
        module = ModuleType(package)
        module.bot = bot  # type: ignore[attr-defined]
        self.patch.setitem(sys.modules, package, module)

    def send(self, channel: Channel, replies: Sequence[Reply]) -> Answer:
        """Take replies as a channel."""
        if not self.sends:
            raise ConnectionRefusedError("the channel is away")
        self.sent += [reply.text for reply in replies]
        return Sent()

    def at(self, ago: float, act: Callable[[FlowStateManager], object], *, bot: Bot | None = None) -> None:
        """Let something happen at a manager of the bot, so many seconds ago."""
        with AtomicStateManager.from_url(self.server.url, secret=STORE_SECRET) as store:
            store.move_clock(-ago)
            with FlowStateManager(bot or shop(self.bank), store, senders={"whatsapp": self.send}) as manager:
                act(manager)

    def member(self, ago: float, *said: str) -> None:
        """Store a member with a channel, who says these things."""

        def act(manager: FlowStateManager) -> None:
            channel = Channel("whatsapp", NUMBER)
            document = member_document(member_id=MEMBER, channel=channel, channels=(channel.address,), run=None)
            manager.save(document)
            manager._store.perform(Link(channel, MEMBER))
            for number, text in enumerate(said):
                manager.handle(Message(channel, f"m{number}", text))

        self.at(ago, act)

    def work(self) -> None:
        """Run a worker for one round."""

        def act(manager: FlowStateManager) -> None:
            worker = Worker(manager)
            for waking in worker.round():
                waking.result(30)
            worker.leave()

        self.at(0, act)

    def key(self, kind: str) -> str:
        """Return a key of the member."""
        return Keys("").of_member(kind, MEMBER).decode()


# How each incident is prepared ----------------------------------------------------------------------------------------


def stuck_call(night: Night) -> None:
    """A call has had no answer for five minutes."""
    night.bank.up = False
    night.member(300, "menu", "pay")


def poisoned_document(night: Night) -> None:
    """A document cannot be read."""
    night.member(0, "menu", "wait")
    with night.server.client() as client:
        write_document(client, night.key("state"), b'{"member_id": "m-42", "flow_data": 7}')


def dead_worker(night: Night) -> None:
    """A timer is due, and no worker runs."""
    night.member(300, "menu", "wait")


def failing_sender(night: Night) -> None:
    """A channel refuses replies again and again."""
    night.sends = False
    night.member(300, "menu")
    night.at(200, lambda manager: manager.wake(MEMBER))
    night.at(100, lambda manager: manager.wake(MEMBER))


def full_server(night: Night) -> None:
    """The server has no room left."""
    night.member(0, "menu")
    with night.server.client() as client:
        client.config_set("maxmemory", str(client.info("memory")["used_memory"]))


def two_bots(night: Night) -> None:
    """Another bot is started on the store."""
    night.member(0, "menu")
    with night.server.client() as client:  # else the doctor is the first to refuse
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
    night.at(0, lambda manager: manager.start())
    night.deploy("bakery", shop(night.bank, name="bread"))


def renamed_state(night: Night) -> None:
    """A release has another name for a state at which members stand."""
    night.member(0, "menu", "wait")
    night.deploy("shop", shop(night.bank, wait="pausing"))


def lost_index(night: Night) -> None:
    """The entries of the channel index are gone."""
    night.member(0, "menu")
    with night.server.client() as client:
        client.delete(*client.keys("vimbiso:*:channel:*"))


def clock_off(night: Night) -> None:
    """The server's clock is two hours ahead, and returns."""
    night.member(0, "menu")
    night.at(-7200, lambda manager: manager.state(MEMBER))


def recycled_number(night: Night) -> None:
    """The telephone number of a member is given to another person."""
    night.member(0, "menu")


def bank_answers(night: Night) -> None:
    """The bank answers again."""
    night.bank.up = True


def channel_answers(night: Night) -> None:
    """The channel takes replies again."""
    night.sends = True


def migrated(night: Night) -> None:
    """A release with a migration is deployed."""
    night.deploy("shop", shop(night.bank, wait="pausing", migrations=[Migration(1, steps={"waiting": "pausing"})]))


MEANWHILE: dict[str, Callable[[Night], None]] = {
    "the bank answers again": bank_answers,
    "the channel answers again": channel_answers,
    "a release with a migration": migrated,
}
"""What happens beside the commands, by the comments of the page."""
PREPARED: dict[str, Callable[[Night], None]] = {
    "A call is stuck": stuck_call,
    "A document is damaged": poisoned_document,
    "No worker runs": dead_worker,
    "A channel takes no replies": failing_sender,
    "The server is full": full_server,
    "Two bots are on one store": two_bots,
    "A state was renamed": renamed_state,
    "The channel index is lost": lost_index,
    "The server's clock is off": clock_off,
    "A number has a new owner": recycled_number,
}
"""The incidents by their headings on the page."""
