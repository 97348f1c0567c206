"""The shape of a stored document, which is judged here and nowhere else.

A document has the fields of the seed, all of them, and of the framework's bookkeeping, which start with `_`; each has a
value of its type, and there is no other field. Numbers that count are not negative, and instants have a time zone. The
rules that shape alone cannot state are in `state_validator.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, Literal, cast

import attrs

from vimbiso_fsm.document.document import Document, Fields, FlowData, Heard, Run, StepData, Suspended, Undelivered
from vimbiso_fsm.document.typed_data import (
    READ_ERRORS,
    Misshapen,
    exactly,
    faults_in,
    is_object,
    kind_of,
    mapping,
    new_converter,
)
from vimbiso_fsm.errors import Fault
from vimbiso_fsm.messages.message import Address, Channel

SEED: Final = frozenset(
    {
        "member_id",
        "channel",
        "jwt_token",
        "authenticated",
        "profile",
        "current_account",
        "flow_data",
        "_version",
        "_last_updated",
    }
)
"""The fields of the seed's document; each must be there."""
RESERVED: Final = frozenset({"flow_type", "channel", "_validation_context", "_validation_state"})
"""Names in `flow_data.data` that belong to the framework; a field of a flow's data must have another name."""
WIRE_NAMES: Final[Mapping[str, str]] = {
    "guest": "_guest",
    "call": "_call",
    "outbox": "_outbox",
    "reminders": "_reminders",
    "token": "_token",
    "deadline": "_deadline",
    "session_since": "_session_since",
    "warn_at": "_warn_at",
    "channels": "_channels",
    "effects": "_effects",
    "leaving": "_leaving",
    "moved": "_moved",
    "opted_out": "_opted_out",
    "heard": "_heard",
    "names": "_names",
    "handed": "_handed",
    "passing": "_passing",
    "salt": "_salt",
    "suspended": "_suspended",
    "version": "_version",
    "last_updated": "_last_updated",
}
"""Names on the wire, by attribute of a document. `run` is split into `flow_data` and `_run`; other names are equal."""
BOOKKEEPING: Final = frozenset({"_run", *WIRE_NAMES.values()}) - SEED
"""The fields that the framework adds to the seed's."""
SEED_OF_RUN: Final = frozenset({"id", "flow", "step", "channel", "context", "verdict", "fields", "typed"})
"""The attributes of a run that stand in the seed's `flow_data`, or are not stored. The others stand beside it."""

SECONDS_OF_HOUR: Final = 3_600
LAST_HOUR: Final = 253_402_300_799 // SECONDS_OF_HOUR
"""The last hour of the year 9999."""

_ADDRESS: Final = frozenset({"type", "identifier"})
_CHANNEL: Final = _ADDRESS | {"metadata"}
_LEASED: Final = {"id", "leased_until", "tries"}
_SUSPENDED: Final = frozenset({"", *Suspended})
_MISSING: Final = object()


def wire_name(attribute: str) -> str:
    """Return the name on the wire of a document's attribute."""
    return WIRE_NAMES.get(attribute, attribute)


def parts_of(
    raw: Fields, written: Collection[str] | None = None, run: Run | None = None
) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """Read a document in plain data, part by part.

    Args:
        raw: Plain data of the wire's shape.
        written: The names of the parts to read, where the others are known to be well shaped; all by default.
        run: The run that the plain data was written from, where it is at hand. It is read only if its attributes do not
            show that it is well shaped.

    Returns:
        The parts that are well shaped, by the name of the document's attribute, and what is wrong with the others.
    """
    parts: dict[str, Any] = {}
    faults: list[Fault] = []
    if written is None:
        faults += [Fault(name, "is missing") for name in sorted(SEED - raw.keys())]
        faults += [Fault(str(name)[:40], "is not a field of a document") for name in raw.keys() - SEED - BOOKKEEPING]
        written = _NAMES
    for wire in written:
        if wire not in raw or wire == "flow_data":
            continue
        name, read, kind = _READERS[wire]
        value = raw[wire]
        just = type(value)
        if _JUST.get(wire) is just and (value.tzinfo is UTC if just is datetime else value >= 0):
            parts[name] = value
            continue
        try:
            parts[name] = read(value, kind)
        except READ_ERRORS as error:
            faults += _faults_of(error, wire)
    if "flow_data" in written:
        if run is not None and _is_plainly_shaped(run):
            parts["run"] = run
            return parts, tuple(faults)
        found, wrong = _run_part(raw.get("flow_data", _MISSING), raw.get("_run", _MISSING))
        faults += wrong
        if not wrong:
            parts["run"] = found
    return parts, tuple(faults)


def _faults_of(error: Exception, place: str) -> list[Fault]:
    """Return the faults that reading the part at `place` has raised."""
    return [Fault(place + path, fault) for path, fault in faults_in(error)]


def _run_part(flow_data: object, notes: object) -> tuple[Run | None, list[Fault]]:
    """Read the current run, which stands in two parts on the wire.

    Returns:
        The run, None when no flow is open, and what is wrong with it.
    """
    if flow_data is _MISSING:
        return None, []  # it is named as missing
    if not is_object(flow_data):
        return None, [Fault("flow_data", f"must be an object, not {kind_of(flow_data)}")]
    if notes is _MISSING:
        notes = {}
    elif not (flow_data and is_object(notes) and "flow_data" not in notes):
        return None, [Fault("_run", "must be an object, there only with flow_data, and not hold it")]
    if not flow_data:
        return None, []
    try:
        run = _run({**notes, "flow_data": flow_data}, Run)
    except READ_ERRORS as error:
        wrong = _faults_of(error, "_run")
        return None, [attrs.evolve(each, path=each.path.replace("_run.flow_data", "flow_data", 1)) for each in wrong]
    return run, []


def _is_plainly_shaped(run: Run) -> bool:
    """Whether each attribute of a run is of just its type, so that what is written of it need not be read.

    False says nothing: reading names the faults, if there are any.
    """
    for instant in (run.since, run.due):
        if instant is not None and (type(instant) is not datetime or instant.tzinfo is not UTC):
            return False
    texts: list[object] = [run.id, run.flow, run.step, run.channel.type, run.channel.identifier, run.fingerprint]
    for shown in run.shown:
        texts += (shown.choice, shown.title)
    parts: tuple[tuple[type, tuple[object, ...]], ...] = (
        (str, (*texts, *run.trail, run.stamp)),
        (int, (run.version, run.entered, run.page)),
        (dict, (run.context, run.verdict, run.fields)),
        (bool, (run.made,)),
    )
    for kind, values in parts:
        if {*map(type, values)} != {kind}:
            return False
    return (
        min(run.version, run.entered, run.page) >= 0
        and (run.waits == "" or type(run.waits) is Suspended)
        and RESERVED.isdisjoint(run.fields)
    )


def _count(value: object, _: object) -> int:
    if type(value) is not int or value < 0:
        raise Misshapen("must be a whole number, not negative")
    return value


def _instant(value: object, _: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise Misshapen("is not an instant") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Misshapen("must be an instant with a time zone")
    return value


def _outbox(value: object, kind: object) -> Any:
    """Read an outbox. One reply that a turn has just leased is read at once: each turn with a sender stores that."""
    if type(value) is list and len(value) == 1:
        one = value[0]
        if type(one) is dict and one.keys() == _LEASED:
            id, until, tries = one["id"], one["leased_until"], one["tries"]
            is_plain = (type(id), type(until), type(tries)) == (str, datetime, int)
            if is_plain and until.tzinfo is UTC and tries >= 0:
                return (Undelivered(id, (), until, tries),)
    return _read_outbox(value, kind)


def _waits(value: object, _: object) -> Suspended | Literal[""]:
    if not isinstance(value, str) or value not in _SUSPENDED:
        raise Misshapen("is not a known reason to wait")
    return Suspended(value) if value else ""


def _heard(value: object, _: object) -> Heard:
    """Read a note: the hour, counted from the beginning of 1970, the type, the identifier, and the account if any."""
    raw = cast("list[object]", value) if isinstance(value, list) else []
    texts = [each for each in raw[1:] if isinstance(each, str)]
    if not 3 <= len(raw) <= 4 or len(texts) < len(raw) - 1 or not all(texts):
        raise Misshapen("must be a list of an hour, a type, an identifier and perhaps an account")
    hour = _count(raw[0], None)
    if hour > LAST_HOUR:
        raise Misshapen("has an hour that no calendar has")
    return Heard(Address(*texts), datetime.fromtimestamp(hour * SECONDS_OF_HOUR, UTC))


def _channel(value: object, _: object) -> Channel:
    raw = mapping(value)
    if raw.keys() != _CHANNEL:
        raise Misshapen("must have exactly type, identifier and metadata")
    return Channel(raw["type"], raw["identifier"], raw["metadata"])


def _step_data(value: object, _: object) -> StepData:
    raw = mapping(value)
    if missing := RESERVED - raw.keys():
        raise Misshapen(f"lacks {', '.join(sorted(missing))}")
    flow, context, verdict = raw["flow_type"], raw["_validation_context"], raw["_validation_state"]
    if not isinstance(flow, str):
        raise Misshapen("has a flow_type that is not text")
    if not (is_object(context) and is_object(verdict)):
        raise Misshapen("has a _validation_context or _validation_state that is not an object")
    fields = {name: part for name, part in raw.items() if name not in RESERVED}
    return StepData(flow, _address(raw["channel"]), context, verdict, fields)


def _address(value: object) -> Address:
    """Read the address in a run's data. The seed's documents may hold metadata there too, which is not kept."""
    if not is_object(value) or not _ADDRESS <= value.keys() <= _CHANNEL:
        raise Misshapen("has a channel without type and identifier, or with more")
    kind, identifier = value["type"], value["identifier"]
    if not (isinstance(kind, str) and isinstance(identifier, str)):
        raise Misshapen("has a channel whose type or identifier is not text")
    return Address(kind, identifier)


attrs.resolve_types(Run)
_NOTES: Final = tuple(field for field in attrs.fields(Run) if field.name not in SEED_OF_RUN)
_WireRun: Final[Any] = attrs.make_class(
    "_WireRun",
    {
        "flow_data": attrs.field(type=FlowData),
        **{note.name: attrs.field(default=note.default, type=note.type) for note in _NOTES},
    },
)
"""A run as it stands on the wire: the part of the seed's document, and what the framework adds to it."""
_notes_of: Final = attrgetter(*[note.name for note in _NOTES])


def _run(value: object, _: object) -> Run:
    wire = _read_wire(value, _WireRun)
    place: FlowData = wire.flow_data
    data = place.data
    seed = place.id, data.flow_type, place.step, data.channel, data.context, data.verdict, data.fields
    return Run(*seed, None, *_notes_of(wire))


_reader: Final = new_converter(forbid_extra_keys=True)
for _kind in (str, bool):
    _reader.register_structure_hook(_kind, exactly(_kind))
_reader.register_structure_hook(int, _count)
_reader.register_structure_hook(datetime, _instant)
_reader.register_structure_hook_func(lambda kind: kind == Suspended | Literal[""], _waits)
_reader.register_structure_hook(Channel, _channel)
_reader.register_structure_hook(Heard, _heard)
_reader.register_structure_hook(StepData, _step_data)

_reader.register_structure_hook(Run, _run)

attrs.resolve_types(Document)
_read_wire: Final = _reader.get_structure_hook(_WireRun)
_read_outbox: Final[Callable[[object, Any], Any]] = _reader.get_structure_hook(tuple[Undelivered, ...])
_READERS: Final[Mapping[str, tuple[str, Callable[[object, Any], Any], Any]]] = {
    wire_name(field.name): (
        field.name,
        _outbox if field.name == "outbox" else _reader.get_structure_hook(field.type),
        field.type,
    )
    for field in attrs.fields(Document)
    if field.init and field.name not in ("run", "upgraded", "ahead")
}
"""Of each attribute of a document but `run`, by its name on the wire: its own name, how it is read, its type."""
_NAMES: Final = (*_READERS, "flow_data")
"""The names of all parts."""
_JUST: Final = {
    "_version": int,
    **dict.fromkeys(("_last_updated", "_deadline", "_session_since", "_warn_at"), datetime),
}
"""The types of the parts that most turns write. A count, and an instant in UTC, is read as it is."""
