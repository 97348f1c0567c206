"""Replies as plain data: keys and parameters, which become words when they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.errors import FlowError, Unreadable
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.replies import (
    Button,
    Buttons,
    ContactRequest,
    File,
    LocationRequest,
    Media,
    Menu,
    Reply,
    Row,
    Template,
    Text,
    TextTemplate,
    WebLink,
)

_KINDS: Final[Mapping[str, Any]] = {
    "media": Media,
    "file": File,
    "location": Location,
    "link": WebLink,
    "asks_location": LocationRequest,
    "asks_contact": ContactRequest,
    "template": Template,
}
"""The classes of replies that are more than words, by the name of each in the data."""
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def replies_to_raw(replies: Iterable[Reply]) -> list[Any]:
    """Return replies as plain data, without their final words."""
    raw: list[Any] = []
    for reply in replies:
        raw.append({"text": _text_to_raw(reply)} if type(reply) is Text else _reply_to_raw(reply))  # noqa: PERF401  # each turn does this
    return raw


def replies_to_keep(replies: Iterable[Reply]) -> tuple[Any, ...]:
    """Return replies as the plain data that is read back from a document.

    Raises:
        NotStorable: JSON cannot hold a parameter.
    """
    return tuple(loads(dumps(replies_to_raw(replies), "replies")))


def replies_from_raw(raw: Iterable[Any]) -> tuple[Reply, ...]:
    """Return the replies in plain data.

    Raises:
        Unreadable: The data does not have the shape that `replies_to_raw` makes.
    """
    try:
        return tuple(_reply_from_raw(reply) for reply in raw)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError, FlowError) as error:
        raise Unreadable([f"no replies: {type(error).__name__}"]) from None


def _reply_to_raw(reply: Reply) -> object:
    if isinstance(reply, Text):
        return {"text": _text_to_raw(reply)}
    if isinstance(reply, Buttons):
        return {
            "buttons": [[button.id, _text_to_raw(button.title)] for button in reply.buttons],
            "body": _text_to_raw(reply.body),
        }
    if isinstance(reply, Menu):
        return {
            "rows": [
                [row.id, _text_to_raw(row.title), _text_to_raw(row.description) if row.description else None]
                for row in reply.rows
            ],
            "body": _text_to_raw(reply.body),
        }
    fields = {field.name: getattr(reply, field.name) for field in attrs.fields(type(reply))}
    raw = {name: _text_to_raw(value) if isinstance(value, Text) else value for name, value in fields.items()}
    return {_NAMES[type(reply)]: raw}


def _text_to_raw(text: Text) -> object:
    if text.templates or text.holds is not None:
        return _late_to_raw(text)
    if not text.params and text.text == text.key:
        return {"words": text.key}  # words, not a key
    return [text.key, dict(text.params)] if text.params else text.key


def _reply_from_raw(raw: Any) -> Reply:
    if "text" in raw:
        return _text_from_raw(raw["text"])
    if "body" not in raw:
        [(name, fields)] = raw.items()
        found: Reply = _KINDS[name](**{key: _field_from_raw(key, value) for key, value in fields.items()})
        return found
    body = _text_from_raw(raw["body"])
    if "buttons" in raw:
        return Buttons(body, tuple(Button(id, _text_from_raw(title)) for id, title in raw["buttons"]))
    return Menu(
        body,
        tuple(Row(id, _text_from_raw(title), about and _text_from_raw(about)) for id, title, about in raw["rows"]),
    )


def _field_from_raw(name: str, value: Any) -> Any:
    return _text_from_raw(value) if name in ("body", "title") else value


def _late_to_raw(text: Text) -> object:
    """Return a text with the templates that it goes as where it is late, and the seconds for which it holds."""
    raw: dict[str, object] = {"key": text.key}
    if text.params:
        raw["params"] = dict(text.params)
    if text.templates:
        raw["templates"] = {
            type: [template.name, list(template.params), list(template.languages)]
            for type, template in text.templates.items()
        }
    if text.holds is not None:
        raw["holds"] = text.holds.total_seconds()
    return raw


def _late_from_raw(raw: dict[str, Any]) -> Text:
    templates = {type: TextTemplate(*template) for type, template in raw.get("templates", {}).items()}
    holds = timedelta(seconds=raw["holds"]) if "holds" in raw else None
    return Text(raw["key"], templates=templates, holds=holds, **raw.get("params", {}))


def _text_from_raw(raw: Any) -> Text:
    if isinstance(raw, dict) and "key" in raw:
        return _late_from_raw(raw)
    if isinstance(raw, dict):
        return Text(raw["words"]).said(raw["words"], {})
    return Text(raw) if isinstance(raw, str) else Text(raw[0], **raw[1])
