"""Logs, one record a line: formatters for the logger "vimbiso_fsm", and an observer that logs each turn.

A line holds only the fields in `FIELDS`. The message of an exception is left out, because it may quote or name a
member; its type and the places in the code are kept. Each record is one line of ASCII, and long texts are cut.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.document.ids import instant

FIELDS: Final[tuple[str, ...]] = (
    *("time", "level", "logger", "event"),
    *("reference", "type", "where"),  # of an error
    *("kind", "status", "channel", "flow", "source", "dest", "codes", "attempts"),  # of a turn
)
"""All fields of a line, in this order. A field without a value is left out."""
MAX_TEXT: Final = 1000
"""The number of characters to which a text is cut."""
MAX_ITEMS: Final = 32
"""The number of items to which a list is cut."""

_FACTS: Final = frozenset(FIELDS[4:])
_log = logging.getLogger("vimbiso_fsm.turns")


def log_turn(details: CommitEvent) -> None:
    """Log a commit as "turn" on the logger "vimbiso_fsm.turns", at the level INFO.

    It is an observer: pass it to a manager's `observers`.
    """
    entry = details.entry
    facts = {
        "reference": entry.token[:10],
        "kind": entry.kind,
        "status": entry.status,
        "channel": entry.channel[0],
        "flow": entry.flow,
        "source": entry.source,
        "dest": entry.dest,
        "codes": entry.codes,
        "attempts": details.attempts,
    }
    _log.info("turn: %s", {name: value for name, value in facts.items() if value})


class JSONFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line, and never raises."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        return json.dumps(_fields(record))


class LineFormatter(logging.Formatter):
    """Formats a record as one line for people: time, level, logger, event and facts. It never raises."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        time, level, logger, event, *facts = _fields(record).items()
        begun = f"{time[1]} {str(level[1]).upper():<7} {logger[1]}: {_escaped(str(event[1]))}"
        return " ".join((begun, *(f"{name}={_escaped(json.dumps(value))}" for name, value in facts)))


def _escaped(text: str) -> str:
    """Return a text as printable ASCII, so that it cannot begin a line of its own or steer a terminal."""
    return "".join(each if " " <= each <= "~" else each.encode("unicode_escape").decode("ascii") for each in text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a line."""
    event, facts = _event(record)
    if record.exc_info and record.exc_info[1] is not None:
        facts = {**error_record(record.exc_info[1], ""), **facts}
    line = {
        "time": instant(record.created).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event,
        **{name: facts[name] for name in FIELDS if name in _FACTS and facts.get(name)},
    }
    return {name: _plain(value) for name, value in line.items()}


def _event(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    """Return the message of a record without its facts, and the facts."""
    given = record.args
    arguments = given if isinstance(given, tuple) else (given,) if given else ()
    facts: dict[str, object] = {}
    words: list[object] = []
    for argument in arguments:
        if isinstance(argument, Mapping):
            facts.update(argument)
            words.append("")
        elif isinstance(argument, BaseException):
            facts = {**error_record(argument, ""), **facts}
            words.append(type(argument).__name__)
        else:
            words.append(argument if isinstance(argument, int | float) else _text(argument))
    template = _text(record.msg)
    try:
        event = template % tuple(words) if words else template
    except (TypeError, ValueError, KeyError):  # the arguments do not fit the template
        event = template
    return event.rstrip(": "), facts


def _text(value: object) -> str:
    """Return a value as text, or the name of its type if it is an exception or cannot be converted."""
    if isinstance(value, BaseException):
        return type(value).__name__
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # a logged value must not break the program that logs it
        return type(value).__name__


def _plain(value: object) -> object:
    """Return a value as JSON can hold it, cut to its limits."""
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    if isinstance(value, list | tuple):
        return [_short(_text(item)) for item in value[:MAX_ITEMS]]
    return _short(_text(value))


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
