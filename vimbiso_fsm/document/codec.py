"""Documents as plain data and as bytes, and back.

A document has exactly the shape of the seed's. What the framework adds starts with `_` and is left out while it has
nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from itertools import compress
from operator import attrgetter, is_not
from typing import Any, Final, Literal, NamedTuple, get_args

import attrs

from vimbiso_fsm.document.document import (
    Answer,
    Document,
    Fields,
    Handed,
    Heard,
    Judged,
    Member,
    Moved,
    Passing,
    PendingCall,
    Reminder,
    Run,
    Suspended,
    Undelivered,
)
from vimbiso_fsm.document.json_codec import dumps, loads, snapshot
from vimbiso_fsm.document.shape import SECONDS_OF_HOUR, SEED_OF_RUN, WIRE_NAMES, parts_of, wire_name
from vimbiso_fsm.document.typed_data import converter, object_writer
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.messages.message import Address

_set: Final = object.__setattr__
"""Sets an attribute of a document that is no part of its value, while the class is frozen."""


def encode(document: Document) -> bytes:
    """Return a document as bytes.

    Raises:
        NotStorable: A value cannot be written; the error names the field.
    """
    return dumps(document_to_raw(document))


def decode(data: bytes) -> Document:
    """Return the document in bytes, which is not validated against the rule book.

    Raises:
        Unreadable: The bytes hold no document; the error has a sentence for each fault.
    """
    raw = loads(data)
    if not isinstance(raw, dict):
        raise Unreadable([f"it is a {type(raw).__name__}, not an object"])
    return document_from_raw(raw)


def document_from_raw(raw: Fields) -> Document:
    """Return the document in plain data of the wire's shape.

    Raises:
        Unreadable: The data is not of this shape; the error has a sentence for each fault.
    """
    parts, faults = parts_of(raw)
    if faults:
        raise Unreadable(map(str, faults))
    return Document(**parts)


def document_to_raw(document: Document) -> dict[str, Any]:
    """Return a document as plain data of the wire's shape."""
    raw = {
        part.wire: part.write(value)
        for part, value in zip(_PARTS, _values_of(document), strict=True)
        if not part.omitted or value != part.default
    }
    raw["flow_data"] = {}
    if document.run is not None:
        raw["flow_data"], raw["_run"] = run_to_raw(document.run)
    return raw


def rewrite(document: Document, before: Document) -> tuple[dict[str, Any], Collection[str] | None]:
    """Return a document as plain data, where it was made from another one.

    An attribute that is the same object in both is not written again if the plain data of `before` is known. Instants
    stay instants, for `dumps_unstructured`.

    Args:
        document: The document to write.
        before: The document that it was made from.

    Returns:
        The plain data, and the names of the parts that were written; None if that are all of them.
    """
    if before.judged is None:
        return document_to_raw(document), None
    known, values = before.judged.plain, _values_of(document)
    raw, written = {**known}, list[str]()
    for part, value in compress(zip(_PARTS, values, strict=True), map(is_not, values, _values_of(before))):
        if part.omitted and value == part.default:
            raw.pop(part.wire, None)
            continue
        kind = type(value)
        plain = kind is int or (kind is datetime and value.tzinfo is UTC)
        raw[part.wire] = value if plain else part.write_changed(value)
        written.append(part.wire)
    if document.run is not before.run:
        raw.pop("_run", None)
        raw["flow_data"] = {}
        if document.run is not None:
            raw["flow_data"], raw["_run"] = run_to_raw(document.run, keeps_instants=True)
        written.append("flow_data")
    if not raw.keys() <= known.keys():
        unordered, raw = raw, {}
        for wire in _ORDER:
            if wire in unordered:
                raw[wire] = unordered[wire]
    return raw, written


def keep_judged(
    document: Document,
    raw: Fields,
    rules: object,
    before: Document | None = None,
    member: Member[Any] | None = None,
    shown: Fields | None = None,
) -> None:
    """Note on a document that its plain data was found valid.

    Args:
        document: The document.
        raw: Its plain data.
        rules: The validator that judged it.
        before: The intact document that it was made from; what callbacks see may be the same objects in both.
        member: The member, if all that callbacks see of them is the same in the next turn.
        shown: The data of its run as the audit shows it, where it is known.
    """
    if (
        before is not None
        and before.judged is not None
        and document.profile is before.profile
        and document.current_account is before.current_account
        and document.channel is before.channel
    ):
        exposed = before.judged.exposed
    else:
        exposed = snapshot((document.profile, document.current_account, document.channel.metadata))
    _set(document, "judged", Judged(raw, rules, exposed, member, shown))


def without_sent(document: Document, ids: Collection[str]) -> Document:
    """Return a document without replies of its outbox that were sent. What is known of it stays known."""
    left = list[Undelivered]()
    for waiting in document.outbox:
        if waiting.id not in ids:
            left.append(waiting)  # a comprehension is one call more
    if len(left) == len(document.outbox):
        return document
    outbox = tuple(left)
    values = [*_all_of(document)]  # `attrs.evolve` costs four times as much, and each turn with a sender comes here
    values[_OUTBOX_AT] = outbox
    after, judged = Document(*values), document.judged
    if judged is not None:
        plain = {**judged.plain}
        plain.pop(_OUTBOX, None)
        if outbox:
            plain[_OUTBOX] = [_write_waiting(waiting) for waiting in outbox]
        _set(after, "judged", Judged(plain, judged.rules, judged.exposed, judged.member, judged.shown))
    return after


def is_intact(document: Document) -> bool:
    """Return whether the values that callbacks are given to read are what they were when the document was judged.

    A document is a value, but its profile, current account and channel metadata are plain dictionaries. A callback that
    changes one in place would go unnoticed where the same object counts as unchanged.
    """
    judged = document.judged
    if judged is None:
        return True
    exposed = snapshot((document.profile, document.current_account, document.channel.metadata))
    return exposed is not None and judged.exposed == exposed


def restored(document: Document) -> Document:
    """Return a document without the changes that callbacks made in place, as far as they are known."""
    if document.judged is None or document.judged.exposed is None:
        return document
    profile, current_account, metadata = loads(document.judged.exposed)
    channel = attrs.evolve(document.channel, metadata=metadata)
    return attrs.evolve(document, profile=profile, current_account=current_account, channel=channel)


# The attributes of a document as plain data --------------------------------------------------------------------------


class _Part(NamedTuple):
    """How an attribute of a document is written.

    Attributes:
        name: The name of the attribute.
        wire: Its name on the wire.
        omitted: Whether it is left out when it is the default.
        default: The default.
        write: Writes a value with instants as text.
        write_changed: Writes a value with instants as instants.
    """

    name: str
    wire: str
    omitted: bool
    default: object
    write: Callable[[Any], Any]
    write_changed: Callable[[Any], Any]


class _Note(NamedTuple):
    """How an attribute of a run is written that stands beside its part of the seed's document.

    Attributes:
        name: The name of the attribute, also on the wire.
        default: The default. An attribute that has it is left out.
        plain: Its type, if that is one of plain data.
        write: Writes a value with instants as text.
    """

    name: str
    default: object
    plain: type | None
    write: Callable[[Any], Any]


def _parts() -> Iterator[_Part]:
    for field in attrs.fields(Document):
        if not field.init or field.name in ("run", "upgraded", "ahead"):
            continue
        default: Any = field.default
        plain = field.name in ("profile", "current_account")
        write = _same if plain else converter.get_unstructure_hook(field.type)
        yield _Part(
            field.name,
            wire_name(field.name),
            field.name in WIRE_NAMES and field.name not in ("guest", "version", "last_updated"),
            default.factory() if hasattr(default, "factory") else default,
            write,
            _writes_changed.get(field.name) or (_instant if datetime in (field.type, *get_args(field.type)) else write),
        )


def _same(value: object) -> object:
    return value


def _instant(value: datetime | None) -> datetime | str | None:
    """Leave an instant to orjson, which writes it as `isoformat` does if its time zone has no seconds."""
    return value if value is None or value.tzinfo is UTC else value.isoformat()


def run_to_raw(run: Run, *, keeps_instants: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run as plain data: the part that stands in the seed's document, and what the framework adds to it.

    Args:
        run: The run.
        keeps_instants: Whether instants stay instants, for `dumps_unstructured`.
    """
    data = {
        "flow_type": run.flow,
        "channel": {"type": run.channel.type, "identifier": run.channel.identifier},
        "_validation_context": run.context,
        "_validation_state": run.verdict,
        **run.fields,
    }
    notes: dict[str, Any] = {}
    for note, value in zip(_NOTES, _notes_of(run), strict=True):
        if value == note.default:
            continue
        kind = type(value)
        if kind is note.plain or (keeps_instants and kind is datetime and value.tzinfo is UTC):
            notes[note.name] = value
        else:
            notes[note.name] = note.write(value)
    return {"id": run.id, "step": run.step, "data": data}, notes


def _run_to_raw(run: Run) -> dict[str, Any]:
    flow_data, notes = run_to_raw(run)
    return {"flow_data": flow_data, **notes}


def _heard_to_raw(heard: Heard) -> list[Any]:
    """Return a note as its hour and its address, which is short: it stands in each document of a channel with one."""
    address = heard.address
    hour = int(heard.at.timestamp() // SECONDS_OF_HOUR)
    return [hour, address.type, address.identifier, *([address.account] if address.account else [])]


converter.register_unstructure_hook(Heard, _heard_to_raw)
converter.register_unstructure_hook_func(lambda kind: kind == Suspended | Literal[""], str)
converter.register_unstructure_hook(Run, _run_to_raw)
for _class in (Address, Answer, Handed, Moved, Passing, PendingCall, Reminder, Undelivered):
    converter.register_unstructure_hook(_class, object_writer(_class))
_write_waiting: Final[Callable[[Undelivered], Any]] = converter.get_unstructure_hook(Undelivered)
_write_changed_waiting: Final = object_writer(Undelivered, leased_until=_instant)
_OUTBOX: Final = wire_name("outbox")


def _write_changed_outbox(outbox: tuple[Undelivered, ...]) -> list[Any]:
    return [*map(_write_changed_waiting, outbox)]


_writes_changed: Final[Mapping[str, Callable[[Any], Any]]] = {"outbox": _write_changed_outbox}
"""The functions that write changed values with instants as instants, where the type alone does not say it."""
_FIELDS: Final = tuple(field.name for field in attrs.fields(Document) if field.init)
_OUTBOX_AT: Final = _FIELDS.index("outbox")
_all_of: Final = attrgetter(*_FIELDS)

_PARTS: Final = sorted(_parts(), key=lambda part: part.omitted)
_ORDER: Final = (*[part.wire for part in _PARTS], "flow_data", "_run")
_values_of: Final = attrgetter(*[part.name for part in _PARTS])
attrs.resolve_types(Run)
_NOTES: Final = tuple(
    _Note(
        field.name,
        field.default,
        field.type if field.type in (str, int, bool) else None,
        converter.get_unstructure_hook(field.type),
    )
    for field in attrs.fields(Run)
    if field.name not in SEED_OF_RUN
)
_notes_of: Final = attrgetter(*[note.name for note in _NOTES])
