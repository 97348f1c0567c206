"""WhatsApp in the formats of Meta's Cloud API: webhook bodies to messages, replies to `POST /<number>/messages`.

Meta delivers at least once, repeats a webhook for days, puts several entries, changes and messages into one body and
keeps no order. The formats and limits are those of Meta's webhook and message reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from vimbiso_fsm.channels import plain, whatsapp_parts
from vimbiso_fsm.channels.delivery import LIST, Delivery, Findings, header, one_line, read_object, same_secret, take
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import (
    Buttons,
    File,
    LocationRequest,
    Media,
    Menu,
    Reply,
    Template,
    Text,
    WebLink,
    is_address,
)

Payload: TypeAlias = dict[str, Any]

PLATFORM: Final = "whatsapp_business_account"
SIGNATURE: Final = "x-hub-signature-256"
"""The header with the signature of a request."""

# Lengths are in UTF-16 units, the strictest reading of "characters".
MESSAGE_LENGTH: Final = 4096
BODY_LENGTH: Final = 1024
"""Of a message with buttons or a list."""
BUTTONS: Final = 3
BUTTON_TITLE_LENGTH: Final = 20
BUTTON_ID_LENGTH: Final = 256
ROWS: Final = 10
"""Rows of a list over all its sections. Only one section is sent, which then needs no title."""
ROW_TITLE_LENGTH: Final = 24
ROW_DESCRIPTION_LENGTH: Final = 72
ROW_ID_LENGTH: Final = 200
LIST_BUTTON_LENGTH: Final = 20
FILE_NAME_LENGTH: Final = 240


def verify(headers: Mapping[str, str], raw: bytes, url: str = "", *, secret: str) -> bool:
    """Return whether a webhook request is signed by Meta (SG-61).

    Args:
        headers: The headers of the request. `X-Hub-Signature-256` is the HMAC-SHA256 of the body.
        raw: The bytes of the body as they came.
        url: Not used: the URL is no part of what Meta signs.
        secret: The app secret. Without one no request is accepted.
    """
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    return bool(secret) and same_secret(header(headers, SIGNATURE), f"sha256={digest}")


def verify_subscription(params: Mapping[str, str], token: str) -> str | None:
    """Return the challenge with which Meta's GET is answered; None, for a 403, if the verify token is wrong (SG-62)."""
    if params.get("hub.mode") != "subscribe" or not same_secret(params.get("hub.verify_token"), token):
        return None
    return params.get("hub.challenge")


def parse(body: bytes, *, now: datetime | None = None) -> Delivery:
    """Read what one webhook body says and tells, in order over all its entries and changes (SG-63).

    A member is known by the telephone number, and by the business-scoped id where WhatsApp tells no number. What is
    said in a group is no word of the member to the bot. A broken part of the body is a fault of the delivery.

    Args:
        body: The bytes of the body.
        now: The current instant, with a time zone; see `delivery.instant`.

    Raises:
        InvalidMessage: The body is no WhatsApp webhook.
    """
    webhook = read_object(body)
    if webhook.get("object") != PLATFORM:
        raise InvalidMessage("object", f"must be {PLATFORM!r}; this is no WhatsApp webhook")
    reader = whatsapp_parts.Reader(Findings(), now)
    reader.found.each("entry", take(webhook, "entry", LIST), reader.entry)
    return reader.found.delivery()


def render(channel: Channel, replies: Iterable[Reply], *, list_button: str = "Menu") -> list[Payload]:
    """Write the payloads that send `replies`, each within WhatsApp's limits (SG-67).

    Up to three buttons are buttons, more options are a list of up to ten rows, and options that neither can hold are
    numbered text. A text that is too long is split; of a question that is too long, the end stands with the options and
    the rest is sent ahead. Titles and descriptions that are too long are shortened. A reply without words and options
    is left out, because WhatsApp refuses it. A request for a contact, which WhatsApp does not have, is its words.

    Args:
        channel: The channel of the member.
        replies: The replies with their final words.
        list_button: The words on the button that opens a list.
    """
    to = "recipient" if whatsapp_parts.USER_ID.fullmatch(channel.identifier) else "to"
    head = {"messaging_product": "whatsapp", "recipient_type": "individual", to: channel.identifier}
    return [{**head, **content} for reply in replies for content in _contents(reply, list_button)]


def writes_numbers(reply: Reply) -> bool:
    """Return whether `render` writes the numbers of the options."""
    choices = plain.options(reply)
    limit = BUTTON_TITLE_LENGTH if _are_buttons(reply, choices) else ROW_TITLE_LENGTH
    return not _is_interactive(reply, choices) or plain.alike(choices, limit)


def _are_buttons(reply: Reply, choices: Sequence[plain.Option]) -> bool:
    return isinstance(reply, Buttons) and len(choices) <= BUTTONS


def _is_interactive(reply: Reply, choices: Sequence[plain.Option]) -> bool:
    """Whether the options are buttons or a list, rather than numbered text."""
    most, id_limit = (BUTTONS, BUTTON_ID_LENGTH) if _are_buttons(reply, choices) else (ROWS, ROW_ID_LENGTH)
    return bool(plain.question(reply)) and plain.pressable(choices, most, id_limit, plain.utf16)


def _contents(reply: Reply, list_button: str) -> Iterator[Payload]:
    if not isinstance(reply, Text | Buttons | Menu):
        yield from _rich(reply)
        return
    body, choices = plain.question(reply), plain.options(reply)
    if not _is_interactive(reply, choices):
        yield from _texts(plain.numbered(body, choices))
        return
    buttons = _are_buttons(reply, choices)
    ahead, asked = plain.split_off_end(body, BODY_LENGTH)
    yield from _texts(ahead)
    kind, action = ("button", _buttons(choices)) if buttons else ("list", _list(choices, list_button))
    yield {"type": "interactive", "interactive": {"type": kind, "body": {"text": asked}, "action": action}}


def _rich(reply: Reply) -> Iterator[Payload]:
    """Write a file, a location, a link, a request or a template. WhatsApp has no request for a contact."""
    match reply:
        case Media() | File():
            yield from _file(reply)
        case Location(latitude, longitude, name, address):
            told = {"latitude": latitude, "longitude": longitude, "name": one_line(name), "address": one_line(address)}
            yield {"type": "location", "location": {key: value for key, value in told.items() if value != ""}}
        case WebLink() if plain.body(reply):
            parameters = {"display_text": plain.title(reply, BUTTON_TITLE_LENGTH), "url": reply.url}
            yield from _asked(reply, "cta_url", {"name": "cta_url", "parameters": parameters})
        case LocationRequest() if plain.body(reply):
            yield from _asked(reply, "location_request_message", {"name": "send_location"})
        case Template(name, _, params, language):
            template: Payload = {"name": name, "language": {"code": language}}
            if params:
                values = [{"type": "text", "text": value} for value in params]
                template["components"] = [{"type": "body", "parameters": values}]
            yield {"type": "template", "template": template}
        case _:
            yield from _texts(plain.question(reply))


def _file(reply: Media | File) -> Iterator[Payload]:
    """Write a file. A caption that is too long, or that the kind does not have, follows as a text."""
    kind, name = ("document", one_line(reply.name)) if isinstance(reply, File) else (reply.kind, "")
    file = {"link" if is_address(reply.source) else "id": reply.source}
    words = plain.body(reply)
    if name:
        file["filename"] = plain.shorten(name, FILE_NAME_LENGTH)
    if words and kind not in ("audio", "sticker") and plain.utf16(words) <= BODY_LENGTH:
        file["caption"], words = words, ""
    yield {"type": kind, kind: file}
    yield from _texts(words)


def _asked(reply: WebLink | LocationRequest, kind: str, action: Payload) -> Iterator[Payload]:
    """Write a question with one button of its own. What is too long for it is sent ahead."""
    ahead, asked = plain.split_off_end(plain.body(reply), BODY_LENGTH)
    yield from _texts(ahead)
    yield {"type": "interactive", "interactive": {"type": kind, "body": {"text": asked}, "action": action}}


def _texts(text: str) -> Iterator[Payload]:
    for piece in plain.split(text, MESSAGE_LENGTH):
        yield {"type": "text", "text": {"preview_url": False, "body": piece}}


def _buttons(choices: Sequence[plain.Option]) -> Payload:
    named = zip(choices, plain.titles(choices, BUTTON_TITLE_LENGTH), strict=True)
    return {"buttons": [{"type": "reply", "reply": {"id": choice.id, "title": title}} for choice, title in named]}


def _list(choices: Sequence[plain.Option], list_button: str) -> Payload:
    rows = [_row(choice, title) for choice, title in zip(choices, plain.titles(choices, ROW_TITLE_LENGTH), strict=True)]
    return {"button": plain.shorten(list_button, LIST_BUTTON_LENGTH), "sections": [{"rows": rows}]}


def _row(choice: plain.Option, title: str) -> Payload:
    """Write a row. The whole of a shortened title becomes the description, unless the row has one."""
    description = choice.description or (choice.title if title != choice.title else "")
    row = {"id": choice.id, "title": title}
    return {**row, "description": plain.shorten(description, ROW_DESCRIPTION_LENGTH)} if description else row
