"""The published rules of payloads, written down by hand after the vendors' message references.

A rule is a function of a value that yields what is wrong with it. `whatsapp`, `telegram` and `twilio` are the rules of
whole payloads: every field is known, required ones are there, and each text and list is within its bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Rule: TypeAlias = Callable[[Any], Iterator[str]]


def utf16(text: str) -> int:
    """Return the UTF-16 units of a text."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def text(most: int, least: int = 1, size: Callable[[str], int] = utf16) -> Rule:
    """A text within bounds, which can be encoded and is not blank."""

    def rule(value: Any) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"is no text but {type(value).__name__}"
        elif not least <= size(value) <= most:
            yield f"has {size(value)} units, not {least} to {most}"
        elif least and not value.strip():
            yield "is blank"
        elif value.encode("utf-8", "replace").decode() != value:
            yield "cannot be encoded"

    return rule


def one_of(*values: Any) -> Rule:
    """One of a few values."""

    def rule(value: Any) -> Iterator[str]:
        if not any(type(value) is type(each) and value == each for each in values):
            yield f"is {value!r}, not one of {values}"

    return rule


def number(least: float, most: float) -> Rule:
    """A number within bounds."""

    def rule(value: Any) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            yield f"is {value!r}, not a number from {least} to {most}"

    return rule


def each(item: Rule, least: int, most: int, key: str = "") -> Rule:
    """A list within bounds, of items that differ in `key`."""

    def rule(value: Any) -> Iterator[str]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            yield f"is no list of {least} to {most} items"
            return
        for place, one in enumerate(value):
            yield from (f"[{place}] {fault}" for fault in item(one))
        if key and len({one[key] for one in value}) != len(value):
            yield f"has two items with the same {key}"

    return rule


def fields(required: dict[str, Rule], optional: dict[str, Rule] | None = None) -> Rule:
    """An object with known fields."""
    known = {**required, **(optional or {})}

    def rule(value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"is no object but {type(value).__name__}"
            return
        yield from (f".{name} is missing" for name in required if name not in value)
        yield from (f".{name} is not known" for name in value if name not in known)
        for name, one in value.items():
            yield from (f".{name} {fault}" for fault in (known[name](one) if name in known else ()))

    return rule


def exactly_one(*names: str, rule: Rule) -> Rule:
    """An object of which exactly one of the fields is given, and the rest obeys `rule`."""

    def checked(value: Any) -> Iterator[str]:
        if sum(name in value for name in names) != 1:
            yield f"has not exactly one of {names}"
        yield from rule(value)

    return checked


# WhatsApp: "Messages" and "Interactive messages" of the Cloud API -----------------------------------------------------

URL = text(2000)
CAPTION = text(1024)


def _file(**more: Rule) -> Rule:
    return exactly_one("id", "link", rule=fields({}, {"id": text(1024), "link": URL, **more}))


_BODY = fields({"text": text(1024)})
_BUTTON = fields({"type": one_of("reply"), "reply": fields({"id": text(256), "title": text(20)})})
_ROW = fields({"id": text(200), "title": text(24)}, {"description": text(72)})
_LINK = fields({"display_text": text(20), "url": URL})
INTERACTIVE = {
    "button": fields({"buttons": each(_BUTTON, 1, 3)}),
    "list": fields({"button": text(20), "sections": each(fields({"rows": each(_ROW, 1, 10, "id")}), 1, 1)}),
    "cta_url": fields({"name": one_of("cta_url"), "parameters": _LINK}),
    "location_request_message": fields({"name": one_of("send_location")}),
}


def _interactive(value: Any) -> Iterator[str]:
    kind = value.get("type")
    if kind not in INTERACTIVE:
        yield f"is of type {kind!r}"
        return
    yield from fields({"type": one_of(kind), "body": _BODY, "action": INTERACTIVE[kind]})(value)
    if kind == "button":
        replies = [button["reply"] for button in value["action"]["buttons"]]
        if any(len({reply[name] for reply in replies}) != len(replies) for name in ("id", "title")):
            yield "has two buttons with the same id or title"


_PARAMETERS = each(fields({"type": one_of("text"), "text": text(32_768, least=0)}), 1, 100)
CLOUD: dict[str, Rule] = {
    "text": fields({"body": text(4096)}, {"preview_url": one_of(True, False)}),
    "interactive": _interactive,
    "image": _file(caption=CAPTION),
    "video": _file(caption=CAPTION),
    "audio": _file(),
    "sticker": _file(),
    "document": _file(caption=CAPTION, filename=text(240)),
    "location": fields(
        {"latitude": number(-90, 90), "longitude": number(-180, 180)}, {"name": text(1024), "address": text(1024)}
    ),
    "template": fields(
        {"name": text(512), "language": fields({"code": text(16)})},
        {"components": each(fields({"type": one_of("body"), "parameters": _PARAMETERS}), 1, 1)},
    ),
}


def whatsapp(value: Any) -> Iterator[str]:
    """The rule of a message of the Cloud API."""
    kind = value.get("type")
    if kind not in CLOUD:
        yield f"is of type {kind!r}"
        return
    head = {"messaging_product": one_of("whatsapp"), "recipient_type": one_of("individual"), "type": one_of(kind)}
    rule = fields({**head, kind: CLOUD[kind]}, {"to": text(32), "recipient": text(256)})
    yield from exactly_one("to", "recipient", rule=rule)(value)


# Telegram: the methods of the Bot API ---------------------------------------------------------------------------------

_KEY = exactly_one(
    "callback_data",
    "url",
    rule=fields({"text": text(64)}, {"callback_data": text(64, size=lambda data: len(data.encode())), "url": URL}),
)
_ASKS = exactly_one(
    "request_location",
    "request_contact",
    rule=fields({"text": text(64)}, {"request_location": one_of(True), "request_contact": one_of(True)}),
)


def _markup(value: Any) -> Iterator[str]:
    if "inline_keyboard" in value:
        yield from fields({"inline_keyboard": each(each(_KEY, 1, 8), 1, 100)})(value)
    else:
        flags = {"one_time_keyboard": one_of(True), "resize_keyboard": one_of(True)}
        yield from fields({"keyboard": each(each(_ASKS, 1, 1), 1, 1), **flags})(value)


_PLACE = {"message_thread_id": number(1, 2**31), "business_connection_id": text(64)}
_WORDS = {"parse_mode": one_of(None)}


def _telegram_file(field: str, *, has_caption: bool = True) -> Rule:
    captioned = {"caption": CAPTION, **_WORDS} if has_caption else {}
    required: dict[str, Rule] = {"method": text(32), "chat_id": text(64), field: text(2048)}
    inner = fields(required, {**captioned, **_PLACE})

    def rule(value: Any) -> Iterator[str]:
        yield from inner(value)
        if ("caption" in value) != ("parse_mode" in value):
            yield "names no parse mode for its caption"

    return rule


_GRADES = {"latitude": number(-90, 90), "longitude": number(-180, 180)}
_AT = {"method": text(32), "chat_id": text(64), **_GRADES}
METHODS: dict[str, Rule] = {
    "sendMessage": fields({"chat_id": text(64), "text": text(4096), **_WORDS}, {"reply_markup": _markup, **_PLACE}),
    "sendPhoto": _telegram_file("photo"),
    "sendAudio": _telegram_file("audio"),
    "sendVideo": _telegram_file("video"),
    "sendDocument": _telegram_file("document"),
    "sendSticker": _telegram_file("sticker", has_caption=False),
    "sendLocation": fields(_AT, _PLACE),
    "sendVenue": fields({**_AT, "title": text(1024), "address": text(1024)}, _PLACE),
}


def telegram(value: Any) -> Iterator[str]:
    """The rule of the parameters of a method of the Bot API."""
    method = value.get("method", "sendMessage")
    if method not in METHODS:
        yield f"is for the method {method!r}"
        return
    yield from METHODS[method](value)


# Twilio: "Messages resource" ------------------------------------------------------------------------------------------


def twilio(value: Any) -> Iterator[str]:
    """The rule of the parameters of a message of Twilio."""
    yield from fields({"To": text(64), "Body": text(1600)})(value)
    address = str(value.get("To")).removeprefix("whatsapp:")
    if not address.removeprefix("+").isdigit():
        yield f".To is {address!r}, not a number"


# REST: what docs/how-to/serve-channels.md says ------------------------------------------------------------------------

_ANY = text(1 << 20, least=0)
_CHOICE = {"id": _ANY, "title": _ANY}
REST: dict[str, Rule] = {
    "text": fields({}),
    "buttons": fields({"buttons": each(fields(_CHOICE), 0, 1000)}),
    "menu": fields({"rows": each(fields({**_CHOICE, "description": _ANY}), 0, 1000)}),
    **dict.fromkeys(("image", "audio", "video", "sticker"), fields({"source": _ANY})),
    "file": fields({"source": _ANY, "name": _ANY}),
    "link": fields({"url": URL, "title": _ANY}),
    "location": fields({"latitude": number(-90, 90), "longitude": number(-180, 180), "name": _ANY, "address": _ANY}),
    "ask_location": fields({"title": _ANY}),
    "ask_contact": fields({"title": _ANY}),
    "template": fields({"name": _ANY, "language": _ANY, "params": each(_ANY, 0, 1000)}),
}


def rest(value: Any) -> Iterator[str]:
    """The rule of a reply of the REST channel."""
    kind = value.get("type")
    if kind not in REST:
        yield f"is of type {kind!r}"
        return
    yield from _ANY(value.get("text"))
    yield from REST[kind]({name: each for name, each in value.items() if name not in ("type", "text")})
