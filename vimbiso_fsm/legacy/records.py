"""Records of the previous release, and their validation.

The previous release kept one JSON text for each person, under the bare telephone number. Two shapes were published:

    phone     `mobile_number` at the top level, no `channel`, with or without `member_id`
    channel   `channel` with `type` and `identifier` at the top level, mostly with `member_id`

Both have `profile`, `current_account`, `jwt_token` and `flow_data`, in which `step` is the number of a question of the
flow, or its name. Keys beside a record, which are its number with `_stage`, `_option` or `_direction` after it, are not
needed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.errors import InvalidMessage, RecordNotImported, Unreadable
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.effects import LegacyRecord

CHANNEL: Final = "whatsapp"
"""The type of the channel of all records."""
LARGEST: Final = 64 * 1024
"""The maximum size of a record in bytes. The previous release wrote none that was longer."""
DEEPEST: Final = 50
"""The maximum depth of nested objects and lists."""
SIDE_KEYS: Final = ("_stage", "_option", "_direction")
"""The endings of the keys beside a record."""

JSONObject: TypeAlias = Mapping[str, Any]
"""An object that was read from JSON."""

_NUMBER: Final = re.compile("[1-9][0-9]{6,14}")


def is_number(text: str) -> bool:
    """Return whether a text may be the key of a record: a telephone number of 7 to 15 digits with the country code."""
    return _NUMBER.fullmatch(text) is not None


def is_nearly_number(text: str) -> bool:
    """Return whether a text is a number with a plus, blanks, dots, dashes or brackets. No record has such a key."""
    return not is_number(text) and is_number(re.sub(r"[+ .()-]", "", text))


def masked(number: str) -> str:
    """Return a number masked but for its last three digits."""
    return f"•••{number[-3:]}"


def record_digests(digests: Digests, number: str) -> tuple[str, ...]:
    """Return the names of a number in reports: the digests of its WhatsApp channel as in audits, the current first."""
    return tuple(digest for _, digest in digests.all_shown(Channel(CHANNEL, number)))


def not_imported(number: str, field: str, fault: str) -> RecordNotImported:
    """Return the error of a record that is not imported. The number itself is not part of it.

    Args:
        number: The number of the record.
        field: The invalid field; may be empty.
        fault: The reason.
    """
    return RecordNotImported(masked(number), field, fault)


@attrs.frozen
class LegacyState:
    """A valid record.

    Attributes:
        number: The telephone number that is its key.
        shape: "phone" or "channel".
        channel: Its channel.
        member_id: The member that it names, or None.
        flow: The names of its open flow; empty when none is open.
        step: The step of the old flow, a number counted from 0 or a name.
        answers: The answers of the old flow, as they are stored.
        record: The whole record.
    """

    number: str = attrs.field(repr=False)
    shape: str
    channel: Channel
    member_id: str | None = None
    flow: tuple[str, ...] = ()
    step: int | str = 0
    answers: JSONObject = attrs.field(factory=dict, repr=False)
    record: JSONObject = attrs.field(factory=dict, repr=False)


def read(record: LegacyRecord) -> LegacyState:
    """Read and validate a record.

    Raises:
        RecordNotImported: It has neither of the two shapes.
    """
    if not is_number(record.number):
        fault = "is kept under a number with other characters than digits; the previous release kept none of these"
        raise not_imported(record.number, "", fault)
    raw = _object(record)

    def wrong(field: str, fault: str) -> RecordNotImported:
        return not_imported(record.number, field, fault)

    for name in ("profile", "current_account", "flow_data"):
        if not isinstance(raw.get(name) or {}, dict):
            raise wrong(name, f"is {_kind(raw[name])}, not an object")
    shape, channel = _channel(record.number, raw)
    flow_data = raw.get("flow_data") or {}
    answers = flow_data.get("data") or {}
    if not isinstance(answers, dict):
        raise wrong("flow_data.data", f"is {_kind(answers)}, not an object")
    return LegacyState(
        record.number,
        shape,
        channel,
        _member_id(record.number, raw, answers),
        _flow_names(record.number, flow_data, answers),
        _step(record.number, flow_data),
        answers,
        raw,
    )


def _object(record: LegacyRecord) -> JSONObject:
    """Return the record's JSON object.

    Raises:
        RecordNotImported: It is not a JSON object, too long or nested too deep.
    """
    if record.kind != "string":
        raise not_imported(record.number, "", f"is a {record.kind}, not a text")
    if len(record.data) > LARGEST:
        raise not_imported(
            record.number, "", f"has more than {LARGEST} bytes; the previous release wrote none that long"
        )
    try:
        raw = loads(record.data)
    except Unreadable as error:
        fault = str(error).removeprefix("it ")
        raise not_imported(record.number, "", f"{fault} in UTF-8; it is damaged, cut off or no record") from None
    if not isinstance(raw, dict):
        raise not_imported(record.number, "", f"is {_kind(raw)}, not an object")
    place = _too_deep({name: value for name, value in raw.items() if name != "_previous_state"})
    if place:
        raise not_imported(record.number, place, f"is nested more than {DEEPEST} deep")
    return raw


def _too_deep(raw: JSONObject) -> str:
    """Return the name of a top-level field that is nested too deep, or an empty text."""
    for name, value in raw.items():
        level = [value]
        for _ in range(DEEPEST):
            level = [inner for outer in level for inner in _inner(outer)]
        if level:
            return str(name)[:40]
    return ""


def _inner(value: Any) -> Collection[Any]:
    """Return the values in an object or a list."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _channel(number: str, raw: JSONObject) -> tuple[str, Channel]:
    """Return the record's shape and channel.

    Raises:
        RecordNotImported: It has no valid channel, or not that of its number.
    """
    mobile, found = raw.get("mobile_number"), raw.get("channel")
    if mobile is None and found is None:
        raise not_imported(number, "", "has neither mobile_number nor channel, one of which every record has")
    if mobile is not None and (isinstance(mobile, bool) or str(mobile) != number):
        raise not_imported(number, "mobile_number", "is not the number that the record is kept under")
    if found is None:
        return "phone", Channel(CHANNEL, number)
    if not isinstance(found, dict):
        raise not_imported(number, "channel", f"is {_kind(found)}, not an object")
    metadata = found.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise not_imported(number, "channel.metadata", f"is {_kind(metadata)}, not an object")
    if found.get("type", CHANNEL) == CHANNEL and found.get("identifier") != number:
        raise not_imported(number, "channel.identifier", "is not the number that the record is kept under")
    try:
        return "channel", Channel(found.get("type", CHANNEL), found.get("identifier"), metadata)  # type: ignore[arg-type]  # Channel checks
    except InvalidMessage as error:
        raise not_imported(number, "channel", f"is none: {error.field} {error.fault}") from None


def _member_id(number: str, raw: JSONObject, answers: JSONObject) -> str | None:
    """Return the member that the record names.

    Raises:
        RecordNotImported: It names two members, or the id is invalid.
    """
    found: dict[str, str] = {}
    for field, value in (("member_id", raw.get("member_id")), ("flow_data.data.member_id", answers.get("member_id"))):
        if value is None:
            continue
        if not isinstance(value, str) or not value or len(value) > 200:
            raise not_imported(number, field, f"is {_kind(value)}, not a member's id")
        found[field] = value
    if len(set(found.values())) > 1:
        raise not_imported(number, "flow_data.data.member_id", "names another member than member_id does")
    return next(iter(found.values()), None)


def _flow_names(number: str, flow_data: JSONObject, answers: JSONObject) -> tuple[str, ...]:
    """Return the names of the open flow: its type, its id, and the id without the member's.

    Raises:
        RecordNotImported: The open flow has no name.
    """
    if not flow_data:
        return ()
    names: list[str] = []
    for value in (flow_data.get("flow_type"), answers.get("flow_type"), flow_data.get("id")):
        if isinstance(value, str) and value and value not in names:
            names.append(value)
    run = flow_data.get("id")
    if isinstance(run, str) and "_" in run:
        names.append(run.partition("_")[0])
    if not names:
        raise not_imported(number, "flow_data.id", "is missing, so the open flow has no name")
    return tuple(names)


def _step(number: str, flow_data: JSONObject) -> int | str:
    """Return the step, which has one of three names.

    Raises:
        RecordNotImported: The step of the open flow is missing, or is neither a number nor a name.
    """
    for field in ("step", "current_step", "current_state"):
        step = flow_data.get(field)
        if step is None:
            continue
        if isinstance(step, bool) or not isinstance(step, int | str):
            raise not_imported(number, f"flow_data.{field}", f"is {_kind(step)}, not a number or a name")
        return step
    if flow_data:
        raise not_imported(number, "flow_data.step", "is missing")
    return 0


def _kind(value: object) -> str:
    """Return the name of a value's type in JSON."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
