"""The contents of WhatsApp's messages: words, choices, files, locations, contacts, forms, orders, and their marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vimbiso_fsm.channels.delivery import (
    LIST,
    NUMBER,
    OBJECT,
    TEXT,
    Said,
    attempted,
    carried,
    form_of,
    is_name,
    maybe,
    one_line,
    price,
    short,
    take,
)
from vimbiso_fsm.messages.contents import (
    MAX_REFERENCE,
    Attachment,
    Contact,
    Contacts,
    Form,
    Location,
    Order,
    OrderItem,
    Referral,
)


def content_of(kind: str, said: Mapping[str, Any], sender: str) -> Said:
    """Return the words, the choice or the content, or the kind of content that a bot cannot read (SG-66)."""
    match kind:
        case "text":
            return {"text": take(said, "text.body", TEXT)}
        case "button":  # a quick reply under a template
            return {"choice": take(said, "button.payload", TEXT)}
        case "interactive":
            return _interactive(said)
        case "image" | "audio" | "video" | "document" | "sticker":
            caption = attempted(lambda: maybe(said, f"{kind}.caption", TEXT))
            return carried(kind, lambda: _file(kind, take(said, kind, OBJECT), caption), caption)
        case "location":
            return carried(kind, lambda: _location(take(said, kind, OBJECT)))
        case "contacts":
            return carried(kind, lambda: _contacts(take(said, kind, LIST), sender))
        case "order":
            note = attempted(lambda: maybe(said, "order.text", TEXT))
            return carried(kind, lambda: _order(take(said, kind, OBJECT), note), note)
        case _:
            return {"kind": kind if is_name(kind) else "unsupported"}


def _interactive(said: Mapping[str, Any]) -> Said:
    """Return the pressed button or row, or the form that was filled in."""
    pressed = take(said, "interactive.type", TEXT)
    if pressed in ("button_reply", "list_reply"):
        return {"choice": take(said, f"interactive.{pressed}.id", TEXT)}
    if pressed == "nfm_reply":
        return carried("interactive", lambda: _form(take(said, "interactive.nfm_reply", OBJECT)))
    return {"kind": "interactive"}


def _form(reply: Mapping[str, Any]) -> Form:
    return form_of(reply.get("response_json"), short(reply.get("name")))


def _file(kind: str, file: Mapping[str, Any], caption: str | None) -> Attachment:
    return Attachment(
        kind,
        take(file, "id", TEXT),
        short(file.get("mime_type"), 255),
        attempted(lambda: maybe(file, "file_size", NUMBER)),
        short(file.get("filename")),
        caption or "",
    )


def _location(place: Mapping[str, Any]) -> Location:
    latitude: Any = place.get("latitude")
    longitude: Any = place.get("longitude")
    return Location(latitude, longitude, short(place.get("name")), short(place.get("address")))


def _contacts(cards: list[Any], sender: str) -> Contacts:
    return Contacts(tuple(_contact(card, sender) for card in cards))


def _contact(card: Any, sender: str) -> Contact:
    phones = [each for each in maybe(card, "phones", LIST) or () if isinstance(each, dict)]
    emails = [each for each in maybe(card, "emails", LIST) or () if isinstance(each, dict)]
    name = attempted(lambda: maybe(card, "name.formatted_name", TEXT))
    return Contact(
        one_line(name or "")[:MAX_REFERENCE],
        tuple(filter(None, (short(each.get("phone")) or short(each.get("wa_id")) for each in phones))),
        tuple(filter(None, (short(each.get("email")) for each in emails))),
        is_sender=any(each.get("wa_id") == sender for each in phones),
    )


def _order(order: Mapping[str, Any], note: str | None) -> Order:
    items = [each for each in take(order, "product_items", LIST) if isinstance(each, dict)]
    return Order(tuple(map(_item, items)), short(order.get("catalog_id")), note or "")


def _item(item: Mapping[str, Any]) -> OrderItem:
    told: Any = item.get("quantity", 1)
    digits = short(told, 10)
    quantity = int(digits) if digits.isascii() and digits.isdigit() else told
    return OrderItem(
        take(item, "product_retailer_id", TEXT), quantity, price(item.get("item_price"), item.get("currency"))
    )


def marks_of(said: Mapping[str, Any]) -> Said:
    """Return how a message came about. Broken marks are left out."""
    marks: Said = {}
    context = attempted(lambda: maybe(said, "context", OBJECT)) or {}
    if replied_to := short(context.get("id")):
        marks["replied_to"] = replied_to
    if context.get("forwarded") is True or context.get("frequently_forwarded") is True:
        marks["forwarded"] = True
    referral = attempted(lambda: maybe(said, "referral", OBJECT))
    if referral:
        marks["referral"] = Referral(
            short(referral.get("source_type")),
            short(referral.get("source_id")),
            short(referral.get("source_url")),
            short(referral.get("headline")),
            short(referral.get("ctwa_clid")),
        )
    return marks
