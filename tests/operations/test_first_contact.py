"""A guest whom the worker does not know is presumed to be new, and the commit says whether that is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest

from tests.hostile.kit import pay_bot
from vimbiso_fsm import Bot, Channel, FlowStateManager, Message, Rate, Rates, TooManyMessages
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Commit, FindOwner, Link, Load, Request
from vimbiso_fsm.testing.chat import STORE_SECRET

CHANNEL: Final = Channel("whatsapp", "263771000001")


@attrs.define
class Counted:
    """A store in memory, and the requests for one message that changes or reads a member."""

    store: MemoryStore = attrs.field(factory=lambda: MemoryStore(lambda: 1.7e9, secret=STORE_SECRET))
    asked: list[type[Request]] = attrs.field(factory=list)

    def perform(self, request: Any) -> Any:
        """Perform a request, and note its kind."""
        kind = type(request)
        if issubclass(kind, FindOwner | Load | Commit):
            self.asked.append(kind)
        return self.store.perform(request)


def message(number: int, text: str, channel: Channel = CHANNEL) -> Message:
    """Return a message with an id of its own."""
    return Message(channel, f"{channel.identifier}.{number}", text)


def requests_for(manager: FlowStateManager, store: Counted, sent: Message) -> list[str]:
    """Handle a message; return the names of its requests."""
    store.asked.clear()
    manager.handle(sent)
    return [kind.__name__ for kind in store.asked]


def manager_of(store: Counted, bot: Bot | None = None, **options: Any) -> FlowStateManager:
    """Return a manager on the store, as after a restart of its process."""
    return FlowStateManager(bot or pay_bot(session=300.0), store, **options)


def test_a_first_contact_is_two_requests():
    """A new guest costs the owner of the channel and the commit, and each further message the commit."""
    store = Counted()
    manager = manager_of(store)
    assert requests_for(manager, store, message(1, "hi")) == ["FindOwner", "Commit"]
    assert requests_for(manager, store, message(2, "5")) == ["Commit"]


def test_a_guest_of_before_goes_on_where_they_were():
    """A guest whom a restarted worker takes for a new one is answered at their question, by one commit more."""
    store = Counted()
    for number, text in enumerate(("hi", "5"), 1):
        manager_of(store).handle(message(number, text))
    manager = manager_of(store)
    assert requests_for(manager, store, message(3, "yes"))[:3] == ["FindOwner", "Commit", "Commit"]
    steps = [entry.dest for entry in manager.history(manager.handle(message(4, "?")).state.member_id)]
    alone = manager_of(Counted())
    for number, text in enumerate(("hi", "5", "yes"), 1):
        alone.handle(message(number, text))
    assert steps == [entry.dest for entry in alone.history(alone.handle(message(4, "?")).state.member_id)]


@pytest.mark.parametrize("text", ["hi", "5"])
def test_a_message_of_before_takes_no_effect_again(text: str):
    """A message that is delivered again after a restart is a duplicate with its first replies."""
    store = Counted()
    said = [manager_of(store).handle(message(number, each)) for number, each in enumerate(("hi", "5"), 1)]
    number = ["hi", "5"].index(text)
    again = manager_of(store).handle(message(number + 1, text))
    assert again.status == "duplicate"
    assert [reply.text for reply in again.replies] == [reply.text for reply in said[number].replies]


@pytest.mark.parametrize(
    "asks",
    [
        lambda store: manager_of(store, cache=0),
        lambda store: manager_of(store, rates=Rates(guests=Rate(10, every=1.0))),
    ],
    ids=["a worker that remembers nobody", "few new guests may come"],
)
def test_what_is_stored_is_read_first(asks: Callable[[Counted], FlowStateManager]):
    """A worker without a cache, and one that can take few new guests, read the guest before they decide."""
    store = Counted()
    assert requests_for(asks(store), store, message(1, "hi")) == ["FindOwner", "Load", "Commit"]


def test_a_member_is_read_first():
    """The document of a channel's owner is read before anything is decided."""
    store = Counted()
    store.perform(Link(CHANNEL, "m-1"))
    assert requests_for(manager_of(store), store, message(1, "hi"))[:2] == ["FindOwner", "Load"]


def test_guests_of_before_are_not_counted_as_new_ones():
    """However many guests come back after a restart, as many new ones are taken in as the rate allows."""
    store, burst = Counted(), 300
    channels = [Channel("sms", f"2637710{number:05}") for number in range(burst)]
    first = manager_of(store, rates=None)
    for channel in channels:
        first.handle(message(1, "5", channel))
    manager = manager_of(store, rates=Rates(guests=Rate(burst, every=3600.0)))
    for channel in channels:
        assert manager.handle(message(2, "5", channel)).status != "duplicate"
    new = [message(3, "hi", Channel("sms", f"2637720{number:05}")) for number in range(burst + 2)]
    for each in new[:burst]:
        manager.handle(each)
    with pytest.raises(TooManyMessages):
        [manager.handle(each) for each in new[burst:]]
