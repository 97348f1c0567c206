"""The faults in the data of a flow: its class, the marks of its fields, and the fields that are made from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from vimbiso_fsm.document.data_types import DataType, data_type
from vimbiso_fsm.document.shape import RESERVED
from vimbiso_fsm.errors import FlowFault, UnstorableType
from vimbiso_fsm.flow.spelling import did_you_mean
from vimbiso_fsm.flow.state import Declared, sequence
from vimbiso_fsm.made import Made, made_of_class, made_of_field


def class_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the faults of the data class without which nothing else of the flow can be judged."""
    kind: object = flow.data
    if not (isinstance(kind, type) and attrs.has(kind)):
        yield _fault(flow, "data-class", "it is not an attrs class", "decorate it with @attrs.frozen", made=flow.made)
        return
    for field in attrs.fields(flow.data):
        if field.default is attrs.NOTHING:
            fault, remedy = f"field {field.name!r} has no default", "give it one: a run starts with no answers"
            yield _fault(flow, "field-without-default", fault, remedy, made=_line(flow, field.name))


def field_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the faults of the fields, and of a class whose values can be changed in place."""
    for field in attrs.fields(flow.data):
        if field.name in RESERVED | {"member_id"} or field.name.startswith("_"):
            fault = f"field {field.name!r} has a reserved name"
            yield _fault(flow, "reserved-name", fault, "rename the field", made=_line(flow, field.name))
    yield from _changeable(flow)


def _changeable(flow: Declared) -> Iterator[FlowFault]:
    """A guard that changes its turn would change what is stored, also when it declines."""
    values, fields = flow.data(), attrs.fields(flow.data)
    for field in fields[:1]:
        try:
            setattr(values, field.name, getattr(values, field.name))
        except attrs.exceptions.FrozenInstanceError:
            return
        fault = f"values of {flow.data.__name__} can be changed in place"
        remedy = "decorate it with @attrs.frozen, and change a copy by attrs.evolve"
        yield _fault(flow, "data-changeable", fault, remedy)


def proven_data(flow: Declared, faults: list[FlowFault]) -> DataType[Any] | None:
    """Return the data class of a flow, proven to be read back equal.

    Args:
        flow: The flow.
        faults: Takes the fault of a field whose values cannot be stored and read back; the result is None then.
    """
    try:
        return data_type(flow.data)
    except UnstorableType as error:
        place = f"field {error.path!r}" if error.path else flow.data.__name__
        name = error.path.partition(".")[0]
        fault = f"{place} {error.fault}"
        faults.append(_fault(flow, "field-not-storable", fault, error.remedy, made=_line(flow, name)))
        return None


def mark_faults(flow: Declared, public: frozenset[str], secrets: frozenset[str]) -> Iterator[FlowFault]:
    """Yield the fields that are to be shown and have a secret inside."""
    for name in sorted(public & secrets):
        fault = f"field {name!r} is marked PUBLIC, and a field within it is marked SECRET"
        yield _fault(flow, "secret-is-public", fault, "remove one of the marks")


def depends_faults(flow: Declared) -> Iterator[FlowFault]:
    """Yield the faults of `depends`: unknown fields, and fields that depend on themselves."""
    given: object = flow.depends
    if not isinstance(given, Mapping):
        yield _depends(flow, "wrong-declaration", f"it is a {type(given).__name__}", "give {field: field or fields}")
        return
    for name, given_sources in flow.depends.items():
        sources: tuple[str, ...] = sequence(given_sources)
        if not sources:
            yield _depends(
                flow, "wrong-declaration", f"field {name!r} depends on nothing", "name its sources or remove it"
            )
        for field in (name, *sources):
            if field not in flow.fields:
                fault = f"it names field {field!r}, which {flow.data.__name__} lacks"
                yield _depends(flow, "unknown-field", fault, did_you_mean(str(field), flow.fields))
    for name in flow.depends:
        if name in made_from(flow, name):
            remedy = "name only the fields that it is made from directly"
            yield _depends(flow, "wrong-declaration", f"field {name!r} depends on itself", remedy)


def made_from(flow: Declared, name: str) -> set[str]:
    """Return the fields that a field was made from, directly or by way of others."""
    found: set[str] = set()
    fresh = [name]
    while fresh:
        sources: tuple[str, ...] = sequence(flow.depends.get(fresh.pop()))
        fresh += set(sources) - found
        found.update(sources)
    return found


def _line(flow: Declared, name: str) -> Made:
    """Return the line of a field, or of the class; that of the flow if the source is not available."""
    made = made_of_field(flow.data, name)
    return made if made.file else flow.made


def _fault(flow: Declared, code: str, fault: str, remedy: str, *, made: Made | None = None) -> FlowFault:
    known = made_of_class(flow.data) if made is None else made
    return FlowFault(flow.name, "data", fault, remedy, code, known if known.file else flow.made)


def _depends(flow: Declared, code: str, fault: str, remedy: str) -> FlowFault:
    return FlowFault(flow.name, "depends", fault, remedy, code, flow.made)
