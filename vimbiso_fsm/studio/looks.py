"""Replies in the look of a channel: what its renderer writes, as bubbles.

Nothing is shortened, split or numbered here. The words are those of the payloads that the channel would be sent, so a
title that the channel cuts is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import attrs

from vimbiso_fsm.channels import sms, telegram, terminal, web, whatsapp
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply

Payload: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Choice:
    """A button or a row of a list.

    Attributes:
        id: What is sent when it is pressed; empty for a button that sends nothing, such as one that opens a page.
        title: Its title, as the channel shows it.
        about: The words under the title of a row.
    """

    id: str
    title: str
    about: str = ""


@attrs.frozen
class Bubble:
    """One message as a channel shows it.

    Attributes:
        text: The words.
        choices: The buttons or rows.
        opens: The words on the button that opens the list of the choices; empty where they are buttons.
        note: What cannot be seen in the words: the kind of a file, or the segments of an SMS.
    """

    text: str
    choices: tuple[Choice, ...] = ()
    opens: str = ""
    note: str = ""


def look(channel: Channel, replies: Iterable[Reply]) -> list[Bubble]:
    """Return replies as a channel shows them.

    Args:
        channel: The channel. Of a type without a renderer of this library, the replies look as at a terminal.
        replies: The replies with their final words.
    """
    replies = (*replies,)
    make = _LOOKS.get(channel.type)
    return make(channel, replies) if make else [Bubble(text) for text in terminal.render(channel, replies)]


def _whatsapp(channel: Channel, replies: Sequence[Reply]) -> list[Bubble]:
    return [_of_whatsapp(payload) for payload in whatsapp.render(channel, replies)]


def _of_whatsapp(payload: Payload) -> Bubble:
    kind: str = payload["type"]
    content: Payload = payload[kind]
    match kind:
        case "text":
            return Bubble(content["body"])
        case "interactive":
            return _interactive(content)
        case "template":
            values = [value["text"] for part in content.get("components", ()) for value in part["parameters"]]
            return Bubble("\n".join(values), note=f"template {content['name']}")
        case "location":
            return _located(content)
        case _:
            words = [content.get("caption", ""), content.get("filename", "") or content.get("link", "")]
            return Bubble("\n".join(filter(None, words)), note=kind)


def _interactive(content: Payload) -> Bubble:
    text, action = content["body"]["text"], content["action"]
    match content["type"]:
        case "button":
            pressed = [button["reply"] for button in action["buttons"]]
            return Bubble(text, tuple(Choice(each["id"], each["title"]) for each in pressed))
        case "list":
            rows = [row for section in action["sections"] for row in section["rows"]]
            choices = (Choice(row["id"], row["title"], row.get("description", "")) for row in rows)
            return Bubble(text, tuple(choices), opens=action["button"])
        case "cta_url":
            link = action["parameters"]
            return Bubble(text, (Choice("", link["display_text"], link["url"]),))
        case _:
            return Bubble(text, (Choice("", "Send location"),))


def _telegram(channel: Channel, replies: Sequence[Reply]) -> list[Bubble]:
    return [_of_telegram(payload) for payload in telegram.render(channel, replies)]


def _of_telegram(payload: Payload) -> Bubble:
    method: str = payload.get("method", "sendMessage")
    markup: Payload = payload.get("reply_markup", {})
    keys: list[Payload] = [
        key for row in (*markup.get("inline_keyboard", ()), *markup.get("keyboard", ())) for key in row
    ]
    choices = tuple(Choice(key.get("callback_data", ""), key["text"], key.get("url", "")) for key in keys)
    if method == "sendMessage":
        return Bubble(payload["text"], choices)
    if method in ("sendVenue", "sendLocation"):
        named = {"name": payload.get("title", ""), "address": payload.get("address", "")}
        return _located({**payload, **named})
    kind = method.removeprefix("send").lower()
    return Bubble("\n".join(filter(None, [payload.get("caption", ""), str(payload.get(kind, ""))])), choices, note=kind)


def _located(content: Payload) -> Bubble:
    named = [content.get("name", ""), content.get("address", ""), f"{content['latitude']}, {content['longitude']}"]
    return Bubble("\n".join(filter(None, named)), note="location")


def _sms(channel: Channel, replies: Sequence[Reply]) -> list[Bubble]:
    bodies: list[str] = [payload["Body"] for payload in sms.render(channel, replies)]
    return [Bubble(body, note=_segments(body)) for body in bodies]


def _segments(body: str) -> str:
    """Return the number of segments of an SMS, with what decides it: its characters and their alphabet."""
    count, basic = sms.segments(body), sms.GSM.issuperset(body)
    return f"{count} segment{'s' if count != 1 else ''} · {len(body)} characters · {'GSM-7' if basic else 'UCS-2'}"


def _web(channel: Channel, replies: Sequence[Reply]) -> list[Bubble]:
    return [_of_web(payload) for payload in web.render(channel, replies)]


def _of_web(payload: Payload) -> Bubble:
    choices: list[Payload] = [*payload.get("buttons", ()), *payload.get("rows", ())]
    shown = (Choice(each["id"], each["title"], each.get("description", "")) for each in choices)
    kind: str = payload["type"]
    return Bubble(cast("str", payload["text"]), tuple(shown), note="" if kind in _PLAIN else kind.replace("_", " "))


_PLAIN: Final = ("text", "buttons", "menu")
_LOOKS: Final[Mapping[str, Callable[[Channel, Sequence[Reply]], list[Bubble]]]] = {
    "whatsapp": _whatsapp, "telegram": _telegram, "sms": _sms, "web": _web,
}  # fmt: skip
