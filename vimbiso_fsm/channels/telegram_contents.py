"""The contents of Telegram's messages: words, files, locations, contacts, the data of Mini Apps, and their marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vimbiso_fsm.channels.delivery import (
    LIST,
    NUMBER,
    OBJECT,
    TEXT,
    Said,
    attempted,
    carried,
    form_of,
    maybe,
    one_line,
    short,
    take,
)
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Location
from vimbiso_fsm.messages.words import slash_command

FILES: Final[Mapping[str, str]] = {
    "animation": "video",  # comes with a document of the same thing
    "video": "video",
    "live_photo": "video",  # comes with a photo of the same thing, if the member's program shows no live ones
    "video_note": "video",
    "voice": "audio",
    "audio": "audio",
    "sticker": "sticker",
    "document": "document",
}
"""Fields of a message with a file, and their kinds. All channels have the same kinds."""
TYPES: Final[Mapping[str, str]] = {"photo": "image/jpeg", "video_note": "video/mp4"}
"""The types of files whose type Telegram does not tell."""


def content_of(message: Mapping[str, Any], sender: int) -> Said:
    """Return the words or the content, or the kind of content that a bot cannot read (SG-66)."""
    text = maybe(message, "text", TEXT)
    if text is not None:
        return _words(text)
    caption = attempted(lambda: maybe(message, "caption", TEXT))
    if "photo" in message:
        return carried("image", lambda: _photo(message, caption), caption)
    for field, kind in FILES.items():
        if field in message:
            return _file(message, field, kind, caption)
    if "venue" in message:
        return carried("location", lambda: _venue(take(message, "venue", OBJECT)))
    if "location" in message:
        return carried("location", lambda: _location(take(message, "location", OBJECT)))
    if "contact" in message:
        return carried("contacts", lambda: Contacts((_contact(take(message, "contact", OBJECT), sender),)))
    if "web_app_data" in message:
        return carried("form", lambda: form_of(take(message, "web_app_data.data", TEXT)))
    return {"kind": "unsupported", "text": caption} if caption else {"kind": "unsupported"}


def _words(text: str) -> Said:
    """Return a text as typed, or the bare word of a bot command: `/menu`, `/menu@our_bot`, `/start <parameter>`."""
    spelled = slash_command(text) if text.startswith("/") else None
    if spelled is None:
        return {"text": text}
    word, rest = spelled
    if word == "start" and rest:
        return {"text": word, "payload": short(rest)}
    return {"text": word if word == "start" or not rest else text}


def _photo(message: Mapping[str, Any], caption: str | None) -> Attachment:
    """Return the largest size of a photo; Telegram sends several."""
    sizes = [each for each in take(message, "photo", LIST) if isinstance(each, dict)]
    largest = max(sizes, key=lambda each: _size(each) or 0, default={})
    return Attachment("image", take(largest, "file_id", TEXT), TYPES["photo"], _size(largest), caption=caption or "")


def _file(message: Mapping[str, Any], field: str, kind: str, caption: str | None) -> Said:
    def make() -> Attachment:
        file = take(message, field, OBJECT)
        mime_type = short(file.get("mime_type"), 255) or TYPES.get(field, "")
        name = short(file.get("file_name"))
        return Attachment(kind, take(file, "file_id", TEXT), mime_type, _size(file), name, caption or "")

    return carried(kind, make, caption)


def _size(file: Mapping[str, Any]) -> int | None:
    size = attempted(lambda: maybe(file, "file_size", NUMBER))
    return size if size is not None and size >= 0 else None


def _location(place: Mapping[str, Any], name: str = "", address: str = "") -> Location:
    latitude: Any = place.get("latitude")
    longitude: Any = place.get("longitude")
    return Location(latitude, longitude, name, address)


def _venue(venue: Mapping[str, Any]) -> Location:
    return _location(take(venue, "location", OBJECT), short(venue.get("title")), short(venue.get("address")))


def _contact(card: Mapping[str, Any], sender: int) -> Contact:
    name = one_line(f"{short(card.get('first_name'))} {short(card.get('last_name'))}")
    phone = short(card.get("phone_number"))
    return Contact(name[:2048], (phone,) if phone else (), is_sender=card.get("user_id") == sender)


def marks_of(message: Mapping[str, Any]) -> Said:
    """Return how a message came about. Broken marks are left out."""
    marks: Said = {}
    replied_to = attempted(lambda: maybe(message, "reply_to_message.message_id", NUMBER))
    if replied_to is not None:
        marks["replied_to"] = str(replied_to)[:64]
    if any(name in message for name in ("forward_origin", "forward_date", "forward_from")):
        marks["forwarded"] = True
    if burst := short(message.get("media_group_id")):
        marks["burst"] = burst
    return marks
