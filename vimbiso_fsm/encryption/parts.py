"""The values within a document and a turn record that are encrypted in the scope "fields".

A document is cut into a readable part and the hidden values. Each hidden value leaves one NUL byte in the readable
part, which JSON text never holds, so the two are put together again byte for byte, without reading JSON.

| in a document                             | because it holds                                        |
| ----------------------------------------- | ------------------------------------------------------- |
| `jwt_token`                               | the login token                                         |
| `profile`, `current_account`              | the embedder's data of the member                       |
| `channel.metadata`                        | what the channel tells about the member, such as a name |
| fields of a run that are marked `SECRET`  | secrets                                                 |
| `_validation_context` of a run            | choices, which can be made of secrets                   |
| `shown` of a run                          | titles that were shown, which can quote secrets         |
| `_call.arguments`, `_call.answer`         | what was made of secrets, or answers to it              |
| `_outbox`, `_reminders`, `_passing`       | words and data, which can quote secrets                 |
| `_salt`                                   | it keeps a digest of the document from telling them     |

In a turn record the replies and the context are hidden. Everything else stays readable: ids, addresses of channels,
names of flows and states, instants, and the fields of a run that are not marked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.document.json_codec import dumps, dumps_unstructured, loads
from vimbiso_fsm.document.turn_record import flow_of
from vimbiso_fsm.errors import NotStorable, Unreadable

SecretsOf: TypeAlias = Callable[[str], Collection[str]]
"""Returns the names of the secret fields of a flow, by the name of the flow."""

_HOLE: Final = "\ue000hidden\ue000"
_WRITTEN: Final = dumps(_HOLE)
_HIDDEN: Final = frozenset(
    {"jwt_token", "profile", "current_account", "_outbox", "_reminders", "_passing", "_salt", "replies"}
)
_OF_CALL: Final = frozenset({"arguments", "answer"})
_Place: TypeAlias = tuple[dict[str, Any], str]


@attrs.frozen
class Parts:
    """Data in two parts.

    Attributes:
        readable: The readable part, with a NUL byte for each hidden value; empty if all is hidden.
        hidden: The hidden values, joined by NUL bytes; all of the data if nothing is readable.
    """

    readable: bytes
    hidden: bytes


def all_hidden(data: bytes) -> Parts:
    """Return data as a whole, hidden."""
    return Parts(b"", data)


def cut(data: bytes, secrets_of: SecretsOf) -> Parts:
    """Cut a document or the body of a turn record in two parts. Data of another shape is hidden as a whole."""
    try:
        raw = loads(data)
        places = list(_places(raw, secrets_of))
        hidden = b"\0".join(dumps_unstructured(holder[name]) for holder, name in places)
        for holder, name in places:
            holder[name] = _HOLE
        readable = dumps_unstructured(raw).replace(_WRITTEN, b"\0")
    except (Unreadable, NotStorable, AttributeError, TypeError, KeyError):
        return all_hidden(data)
    parts = Parts(readable, hidden)
    # A text that is written like a hole, or bytes that are written in another way, would not be put together again.
    return parts if readable.count(b"\0") == len(places) and joined(parts) == data else all_hidden(data)


def joined(parts: Parts) -> bytes:
    """Return the data of two parts.

    Raises:
        ValueError: The parts do not fit.
    """
    if not parts.readable:
        return parts.hidden
    first, *rest = parts.readable.split(b"\0")
    values = parts.hidden.split(b"\0") if rest else []
    return first + b"".join(value + text for value, text in zip(values, rest, strict=True))


def _places(raw: dict[str, Any], secrets_of: SecretsOf) -> Iterator[_Place]:
    """Yield the places of hidden values in the order in which they are written. Empty values are not hidden."""
    is_record = "flow_data" not in raw and "run" in raw
    for name, value in raw.items():
        if not value:
            continue
        if name in _HIDDEN or (is_record and name == "context"):
            yield raw, name
        elif is_record:
            if name == "data":
                yield from _of(value, secrets_of(flow_of(raw)))
        elif name == "channel":
            yield from _of(value, ("metadata",))
        elif name == "flow_data":
            yield from _of_data(value["data"], secrets_of)
        elif name == "_run":
            yield from _of(value, ("shown",))
        elif name == "_suspended":
            for run in value:
                yield from _of_run(run, secrets_of)
        elif name == "_call":
            yield from _of(value, _OF_CALL)


def _of_run(run: dict[str, Any], secrets_of: SecretsOf) -> Iterator[_Place]:
    for name, value in run.items():
        if name == "flow_data":
            yield from _of_data(value["data"], secrets_of)
        elif name == "shown" and value:
            yield run, name


def _of_data(data: dict[str, Any], secrets_of: SecretsOf) -> Iterator[_Place]:
    return _of(data, {*secrets_of(data["flow_type"]), "_validation_context"})


def _of(holder: dict[str, Any], names: Collection[str]) -> Iterator[_Place]:
    return ((holder, name) for name, value in holder.items() if name in names and value)
