"""What all adapters do with what a member says: hand it to the manager, and tell the member if it was not taken."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.channels import Delivery, OtherFact, SaidElsewhere
from vimbiso_fsm.errors import InvalidMessage, NotAnswered, TooManyMessages, VimbisoError
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.web.client import AsyncChannelClient, ChannelClient
from vimbiso_fsm.web.requests import NoResponse

FETCHED_BY_LIBRARY: Final = NoResponse(may_have_arrived=False, reason="files are fetched by the library itself")
"""The answer to a request for the bytes of a file: the libraries have methods of their own for it."""
NEVER_SENT: Final = frozenset(
    {"ClientConnectorError", "ConnectError", "ConnectTimeout", "NewConnectionError", "PoolTimeout", "ProxyError"}
)
"""The errors of aiohttp, httpx and urllib3 after which no request has left."""

_log = logging.getLogger("vimbiso_fsm.adapters")


def unanswered(error: BaseException) -> NoResponse:
    """Return what an error of a connection means, by the classes of the error and of those that led to it."""
    classes, led = set[str](), [error]
    while (earlier := led[-1].__cause__ or led[-1].__context__) is not None:
        led.append(earlier)
    for each in led:
        classes.update(kind.__name__ for kind in type(each).__mro__)
    return NoResponse(not classes & NEVER_SENT, type(led[min(1, len(led) - 1)]).__name__)


def read(client: ChannelClient | AsyncChannelClient, body: bytes) -> Delivery | None:
    """Read what a library has received. Return None if it is nothing for the framework.

    A message of a group, for example, is left to the other handlers of the bot; so is what cannot be read.
    """
    try:
        delivery = client.parse(body, now=datetime.now(UTC))
    except InvalidMessage as error:
        _log.warning("an update cannot be read: %s", error)
        return None
    is_ours = delivery.messages or any(not isinstance(each, SaidElsewhere | OtherFact) for each in delivery.events)
    return delivery if is_ours else None


def _unreadable(delivery: Delivery) -> None:
    for fault in delivery.faults:
        _log.warning("a part of an update cannot be read: %s: %s", fault.place, fault.reason)


def _refused(error: InvalidMessage | NotAnswered) -> list[Text]:
    """Log why a message was not taken, and return the words for the member: the library does not deliver it again."""
    reply = error.reply if isinstance(error, NotAnswered) else ""
    _log.warning("a message was not taken: %s", error_record(error, getattr(error, "reference", "")))
    return [Text(reply).said(reply, {})] if reply else []


def _is_fault(error: InvalidMessage | NotAnswered) -> bool:
    return not isinstance(error, InvalidMessage | TooManyMessages)


async def take(manager: AsyncFlowStateManager, client: AsyncChannelClient, delivery: Delivery) -> None:
    """Hand everything that was said and told to the manager, which sends its replies.

    Raises:
        NotAnswered: Something was not taken. The member was told, and the library's own handler of errors gets this.
    """
    fault: InvalidMessage | NotAnswered | None = None
    _unreadable(delivery)
    for message in delivery.messages:
        words: list[Text] = []
        try:
            async with client.working(message):
                await manager.handle(message)
        except (InvalidMessage, NotAnswered) as error:
            fault = error if _is_fault(error) else fault
            words = _refused(error)
        if words:
            with suppress(VimbisoError):
                await client.send(message.channel, words)
    for event in delivery.events:
        await manager.handle_event(event)
    if fault is not None:
        raise fault


def take_in_thread(manager: FlowStateManager, client: ChannelClient, delivery: Delivery) -> None:
    """Hand everything that was said and told to the manager. See `take`."""
    fault: InvalidMessage | NotAnswered | None = None
    _unreadable(delivery)
    for message in delivery.messages:
        words: list[Text] = []
        try:
            with client.working(message):
                manager.handle(message)
        except (InvalidMessage, NotAnswered) as error:
            fault = error if _is_fault(error) else fault
            words = _refused(error)
        if words:
            with suppress(VimbisoError):
                client.send(message.channel, words)
    for event in delivery.events:
        manager.handle_event(event)
    if fault is not None:
        raise fault
