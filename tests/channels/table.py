"""Rows of the tables of the channels: a body as the channel sends it, and what a bot gets of it.

The bodies have the shapes of the channels' references. All names, numbers and ids are invented.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm.channels import Delivery
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.told import Told

Got: TypeAlias = list[Mapping[str, Any] | Told | str]
"""What a bot gets of a body: messages, as the fields that differ from their defaults, events, and faults."""

_BESIDE = ("channel", "id", "account", "sent_at")
"""The fields of a message that the rows do not repeat."""


@attrs.frozen
class Row:
    """A row of a table.

    Attributes:
        name: What the member or the channel did.
        body: The body, before it is written as bytes.
        got: What a bot gets of it.
    """

    name: str
    body: Any
    got: Got


def row(name: str, body: Any, *got: Mapping[str, Any] | Told | str) -> Row:
    """Return a row."""
    return Row(name, body, [*got])


def said(message: Message) -> dict[str, Any]:
    """Return the fields of a message that differ from their defaults."""
    fields = {field.name: field.default for field in attrs.fields(Message) if field.name not in _BESIDE}
    found = {name: getattr(message, name) for name in fields}
    if found["content"] is not None:  # they follow from the content
        del found["kind"], found["text"]
    return {name: value for name, value in found.items() if value != fields[name]}


def got(parse: Callable[[], Delivery]) -> Got:
    """Return what a bot gets of a delivery: its messages, its events and the reasons of its faults."""
    try:
        delivery = parse()
    except InvalidMessage as error:
        return [str(error)]
    return [*map(said, delivery.messages), *delivery.events, *(fault.reason for fault in delivery.faults)]


def classes(parse: Callable[[], Delivery]) -> list[str]:
    """Return the class of each part of a delivery: "said", "told" or "unreadable"."""
    names: dict[type, str] = {dict: "said", str: "unreadable"}
    return [names.get(type(each), "told") for each in got(parse)]
