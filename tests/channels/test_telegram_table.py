"""The table of Telegram's updates: what is said, told and unreadable, and what a bot gets."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.channels.strategies import NOW, broken
from tests.channels.table import Row, classes, got, row
from vimbiso_fsm.channels import telegram
from vimbiso_fsm.channels.telegram_updates import NOTICES
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Form, Location
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.told import (
    Blocked,
    BusinessConnected,
    Deleted,
    Edited,
    OtherFact,
    Paid,
    Reacted,
    SaidElsewhere,
)

BOT = "our_bot"
AT = datetime.fromtimestamp(1_758_000_000, UTC)
PAT = {"id": 11, "is_bot": False, "first_name": "Pat", "language_code": "en"}
CHAT = {"id": 11, "type": "private", "first_name": "Pat"}
GROUP = {"id": -100, "type": "supergroup", "title": "Friends"}
NEWS = {"id": -200, "type": "channel", "title": "News"}
YOU = Channel("telegram", "11", {"name": "Pat", "language": "en"}).with_account(BOT)


def update(kind: str, content: Any) -> dict[str, Any]:
    """Return an update."""
    return {"update_id": 7, kind: content}


def message(**content: Any) -> dict[str, Any]:
    """Return an update with a message of Pat."""
    return update("message", {"message_id": 5, "from": PAT, "chat": CHAT, "date": 1_758_000_000, **content})


def pressed(**content: Any) -> dict[str, Any]:
    """Return an update with a pressed button."""
    asked = {"message_id": 4, "chat": CHAT, "date": 1_758_000_000, "text": "Open?"}
    return update("callback_query", {"id": "1", "from": PAT, "message": asked, "chat_instance": "-3", **content})


def fact(**more: Any) -> dict[str, Any]:
    """Return what the facts of a message have."""
    return {"id": "7", "channel": YOU, "account": BOT, "at": AT, **more}


def undated(**more: Any) -> dict[str, Any]:
    """Return what the facts of an update without a date have."""
    return fact(at=None, **more)


def elsewhere(place: str, place_id: str, **more: Any) -> SaidElsewhere:
    """Return the fact that something was said in another place."""
    return SaidElsewhere(**fact(**more), place=place, place_id=place_id)


def membership(status: str, chat: Any = CHAT) -> dict[str, Any]:
    """Return an update about the membership of the bot in a chat."""
    changed = {"chat": chat, "from": PAT, "date": 1_758_000_000, "old_chat_member": {"status": "member"}}
    return update("my_chat_member", {**changed, "new_chat_member": {"status": status}})


def reaction(*new: Any, chat: Any = CHAT) -> dict[str, Any]:
    """Return an update about a reaction."""
    told = {"chat": chat, "message_id": 4, "user": PAT, "date": 1_758_000_000, "old_reaction": []}
    return update("message_reaction", {**told, "new_reaction": [*new]})


def connection(**told: Any) -> dict[str, Any]:
    """Return an update about a business connection."""
    whole = {"id": "b", "user": PAT, "user_chat_id": 11, "date": 1_758_000_000, **told}
    return update("business_connection", whole)


SIZES = [
    {"file_id": "s", "file_size": 900, "width": 90, "height": 51},
    {"file_id": "l", "file_size": 70_000, "width": 800, "height": 450},
]
PAYMENT = {
    "currency": "USD",
    "total_amount": 1250,
    "invoice_payload": "r1",
    "telegram_payment_charge_id": "c1",
    "provider_payment_charge_id": "p1",
}
USD = Money(Decimal("12.5"), "USD")
CARD = {"phone_number": "+263771000001", "first_name": "Ada", "last_name": "Lovelace", "user_id": 12}

SAID = [
    row("a text", message(text="hi"), {"text": "hi"}),
    row("an empty text", message(text=""), {"text": ""}),
    row(
        "a command",
        message(text="/menu", entities=[{"type": "bot_command", "offset": 0, "length": 5}]),
        {"text": "menu"},
    ),
    row("a command with the bot's name", message(text="/menu@our_bot"), {"text": "menu"}),
    row("a command with an argument", message(text="/verify 123456"), {"text": "/verify 123456"}),
    row("start", message(text="/start"), {"text": "start"}),
    row("start by a deep link", message(text="/start ref_42"), {"text": "start", "payload": "ref_42"}),
    row(
        "start by a deep link in a group's way",
        message(text="/start@our_bot ref_42"),
        {"text": "start", "payload": "ref_42"},
    ),
    row("start with a space", message(text="/start "), {"text": "start"}),
    row(
        "a reply",
        message(text="yes", reply_to_message={"message_id": 4, "text": "Open?"}),
        {"text": "yes", "replied_to": "4"},
    ),
    row("a broken reply", message(text="yes", reply_to_message=[]), {"text": "yes"}),
    row("a forwarded text", message(text="hi", forward_origin={"type": "user"}), {"text": "hi", "forwarded": True}),
    row(
        "a text forwarded in the former way",
        message(text="hi", forward_date=1_758_000_000, forward_from=PAT),
        {"text": "hi", "forwarded": True},
    ),
    row("a text by an inline bot", message(text="hi", via_bot={"id": 9, "is_bot": True}), {"text": "hi"}),
    row("a text in a topic", message(text="hi", message_thread_id=77, is_topic_message=True), {"text": "hi"}),
    row("a button", pressed(data="!aaaaaaaayes"), {"choice": "!aaaaaaaayes"}),
    row(
        "a button of an old message",
        pressed(data="yes", message={"message_id": 4, "date": 0, "chat": CHAT}),
        {"choice": "yes"},
    ),
    row(
        "a button of an inline message",
        update("callback_query", {"id": "1", "from": PAT, "inline_message_id": "i", "data": "yes"}),
        {"choice": "yes"},
    ),
    row("a photo", message(photo=SIZES), {"content": Attachment("image", "l", "image/jpeg", 70_000)}),
    row(
        "a photo with words",
        message(photo=SIZES, caption="10 USD"),
        {"content": Attachment("image", "l", "image/jpeg", 70_000, caption="10 USD")},
    ),
    row(
        "a photo of an album",
        message(photo=SIZES, media_group_id="99"),
        {"content": Attachment("image", "l", "image/jpeg", 70_000), "burst": "99"},
    ),
    row("a photo without sizes", message(photo=[], caption="look"), {"kind": "image", "text": "look"}),
    row(
        "a photo whose size is not told",
        message(photo=[{"file_id": "s"}]),
        {"content": Attachment("image", "s", "image/jpeg")},
    ),
    row(
        "a document",
        message(document={"file_id": "d", "mime_type": "application/pdf", "file_name": "a.pdf", "file_size": 9}),
        {"content": Attachment("document", "d", "application/pdf", 9, "a.pdf")},
    ),
    row(
        "a photo sent as a document",
        message(document={"file_id": "d", "mime_type": "image/png"}),
        {"content": Attachment("document", "d", "image/png")},
    ),
    row(
        "a voice message",
        message(voice={"file_id": "v", "duration": 3, "mime_type": "audio/ogg"}),
        {"content": Attachment("audio", "v", "audio/ogg")},
    ),
    row(
        "a song",
        message(audio={"file_id": "a", "duration": 3, "mime_type": "audio/mpeg"}),
        {"content": Attachment("audio", "a", "audio/mpeg")},
    ),
    row(
        "a video",
        message(video={"file_id": "v", "mime_type": "video/mp4"}),
        {"content": Attachment("video", "v", "video/mp4")},
    ),
    row(
        "a round video",
        message(video_note={"file_id": "n", "length": 240}),
        {"content": Attachment("video", "n", "video/mp4")},
    ),
    row(
        "an animation",
        message(animation={"file_id": "g", "mime_type": "video/mp4"}, document={"file_id": "g"}),
        {"content": Attachment("video", "g", "video/mp4")},
    ),
    row("a sticker", message(sticker={"file_id": "s", "emoji": "👍"}), {"content": Attachment("sticker", "s")}),
    row("a file without an id", message(voice={}), {"kind": "audio"}),
    row("an id of 10 kB", message(voice={"file_id": "x" * 10_000}), {"kind": "audio"}),
    row("a location", message(location={"latitude": -17.83, "longitude": 31.05}), {"content": Location(-17.83, 31.05)}),
    row(
        "a live location",
        message(location={"latitude": 1, "longitude": 2, "live_period": 900}),
        {"content": Location(1, 2)},
    ),
    row(
        "a venue",
        message(
            venue={"location": {"latitude": 1, "longitude": 2}, "title": "Shop", "address": "1 First St"},
            location={"latitude": 1, "longitude": 2},
        ),
        {"content": Location(1, 2, "Shop", "1 First St")},
    ),
    row("a location off the map", message(location={"latitude": 91, "longitude": 0}), {"kind": "location"}),
    row("a contact", message(contact=CARD), {"content": Contacts((Contact("Ada Lovelace", ("+263771000001",)),))}),
    row(
        "the member's own contact",
        message(contact={"phone_number": "+1", "first_name": "Pat", "user_id": 11}),
        {"content": Contacts((Contact("Pat", ("+1",), is_sender=True),))},
    ),
    row(
        "the data of a Mini App",
        message(web_app_data={"button_text": "Order", "data": '{"tea": 2}'}),
        {"content": Form({"tea": 2})},
    ),
    row(
        "other data of a Mini App",
        message(web_app_data={"button_text": "Order", "data": "tea"}),
        {"content": Form({"data": "tea"})},
    ),
    row(
        "a live photo",
        message(photo=SIZES, live_photo={"file_id": "p", "mime_type": "video/mp4"}),
        {"content": Attachment("image", "l", "image/jpeg", 70_000)},
    ),
    row(
        "a live photo alone",
        message(live_photo={"file_id": "p", "mime_type": "video/mp4", "file_size": 9}),
        {"content": Attachment("video", "p", "video/mp4", 9)},
    ),
    row("shared users", message(users_shared={"request_id": 1, "users": [{"user_id": 12}]}), {"kind": "unsupported"}),
    row("a shared chat", message(chat_shared={"request_id": 1, "chat_id": -5}), {"kind": "unsupported"}),
    row("a poll", message(poll={"id": "1", "question": "?"}), {"kind": "unsupported"}),
    row("a die", message(dice={"emoji": "🎲", "value": 6}), {"kind": "unsupported"}),
    row("a story", message(story={"chat": CHAT, "id": 1}), {"kind": "unsupported"}),
    row("a checklist", message(checklist={"title": "x"}), {"kind": "unsupported"}),
    row(
        "paid media with words",
        message(paid_media={"star_count": 1}, caption="look"),
        {"kind": "unsupported", "text": "look"},
    ),
    row("a kind of tomorrow", message(hologram={"id": "1"}), {"kind": "unsupported"}),
]

TOLD = [
    row("an edited message", update("edited_message", {"message_id": 5, "from": PAT, "chat": CHAT, "date": 1_758_000_000, "edit_date": 1_758_000_100, "text": "20"}), Edited(**fact(), message_id="5", text="20")),
    row("a moved live location", update("edited_message", {"message_id": 5, "from": PAT, "chat": CHAT, "date": 1_758_000_000, "location": {"latitude": 1, "longitude": 2}}), Edited(**fact(), message_id="5")),
    row("an edited message in a group", update("edited_message", {"message_id": 5, "from": PAT, "chat": GROUP, "date": 1_758_000_000, "text": "20"}), elsewhere("group", "-100")),
    row("a reaction", reaction({"type": "emoji", "emoji": "👍"}), Reacted(**fact(), message_id="4", emoji="👍")),
    row("a reaction with a custom emoji", reaction({"type": "custom_emoji", "custom_emoji_id": "1"}), Reacted(**fact(), message_id="4", emoji="custom_emoji")),
    row("a reaction taken back", reaction(), Reacted(**fact(), message_id="4")),
    row("a reaction in a group", reaction({"type": "emoji", "emoji": "👍"}, chat=GROUP), elsewhere("group", "-100")),
    row("blocked", membership("kicked"), Blocked(**fact(), blocked=True)),
    row("let in again", membership("member"), Blocked(**fact(), blocked=False)),
    row("added to a group", membership("member", GROUP), OtherFact(**fact(), kind="my_chat_member")),
    row("a membership of tomorrow", membership("dreaming"), OtherFact(**fact(), kind="my_chat_member")),
    row("a message in a group", message(chat=GROUP, text="yes"), elsewhere("group", "-100")),
    row("a message of another bot", message(**{"from": {"id": 9, "is_bot": True, "first_name": "Bot"}}, text="yes"), elsewhere("bot", "11", channel=Channel("telegram", "9", {"name": "Bot"}).with_account(BOT))),
    row("a button in a group", pressed(data="yes", message={"message_id": 4, "chat": GROUP}), elsewhere("group", "-100", at=None)),
    row("a post of a channel", update("channel_post", {"message_id": 5, "chat": NEWS, "date": 1_758_000_000, "text": "News"}), elsewhere("channel", "-200", channel=None)),
    row("an edited post", update("edited_channel_post", {"message_id": 5, "chat": NEWS, "date": 1_758_000_000, "text": "News"}), elsewhere("channel", "-200", channel=None)),
    row("a message to a person", update("business_message", {"message_id": 5, "from": PAT, "chat": CHAT, "date": 1_758_000_000, "business_connection_id": "b", "text": "hi"}), elsewhere("business", "11")),
    row("an edited message to a person", update("edited_business_message", {"message_id": 5, "from": PAT, "chat": CHAT, "date": 1_758_000_000, "text": "hi"}), elsewhere("business", "11")),
    row("deleted messages of a person", update("deleted_business_messages", {"business_connection_id": "b", "chat": CHAT, "message_ids": [5]}), elsewhere("business", "11", channel=None, at=None)),
    row("a call of the bot into another chat", update("guest_message", {"message_id": 5, "from": PAT, "chat": {"id": 12, "type": "private"}, "date": 1_758_000_000, "guest_query_id": "g", "text": "@our_bot hi"}), elsewhere("guest", "12")),
    row("a call of the bot into a group", update("guest_message", {"message_id": 5, "from": PAT, "chat": GROUP, "date": 1_758_000_000, "guest_query_id": "g", "text": "@our_bot hi"}), elsewhere("guest", "-100")),
    row("a bot that is managed", update("managed_bot", {"user": PAT, "bot": {"id": 9, "is_bot": True}}), OtherFact(**undated(), kind="managed_bot")),
    row("a button in a chat of a business", update("callback_query", {"id": "1", "from": PAT, "data": "yes", "message": {"message_id": 4, "chat": CHAT, "business_connection_id": "b"}}), elsewhere("business", "11", at=None)),
    row("a connected business", connection(is_enabled=True, rights={"can_reply": True}), BusinessConnected(**fact(), connection="b", can_reply=True)),
    row("a business of before", connection(is_enabled=True, can_reply=False), BusinessConnected(**fact(), connection="b")),
    row("a disconnected business", connection(is_enabled=False), BusinessConnected(**fact(), connection="b", enabled=False)),
    row("a connection that tells nothing", update("business_connection", {"rights": "x"}), BusinessConnected(id="7", account=BOT, enabled=False)),
    row("a button of a game", pressed(game_short_name="g"), OtherFact(**undated(), kind="game")),
    row("a payment", message(successful_payment=PAYMENT), Paid(**fact(), status="paid", amount=USD, reference="r1", charge="c1")),
    row("a payment of stars", message(successful_payment={**PAYMENT, "currency": "XTR", "total_amount": 50}), Paid(**fact(), status="paid", amount=Money(Decimal(50), "XTR"), reference="r1", charge="c1")),
    row("a payment without decimals", message(successful_payment={**PAYMENT, "currency": "JPY", "total_amount": 50}), Paid(**fact(), status="paid", amount=Money(Decimal(50), "JPY"), reference="r1", charge="c1")),
    row("a refund", message(refunded_payment=PAYMENT), Paid(**fact(), status="refunded", amount=USD, reference="r1", charge="c1")),
    row("a payment to be confirmed", update("pre_checkout_query", {"id": "q1", "from": PAT, "currency": "USD", "total_amount": 1250, "invoice_payload": "r1"}), Paid(**undated(), status="requested", amount=USD, reference="r1", charge="q1")),
    row("a shipping address", update("shipping_query", {"id": "q1", "from": PAT, "invoice_payload": "r1", "shipping_address": {}}), Paid(**undated(), status="requested", reference="r1", charge="q1")),
    row("bought media", update("purchased_paid_media", {"from": PAT, "paid_media_payload": "r1"}), Paid(**undated(), status="paid", reference="r1")),
    *(row(kind, update(kind, {"id": "1", "from": PAT}), OtherFact(**undated(), kind=kind)) for kind in (
        "chat_boost", "chat_join_request", "chat_member", "chosen_inline_result", "inline_query",
        "message_reaction_count", "poll", "poll_answer", "removed_chat_boost", "subscription", "tomorrow",
    )),
    *(row(f"notice {kind}", message(**{kind: {"x": 1}}), OtherFact(**fact(), kind=kind)) for kind in sorted(NOTICES)),
    row("an update that is no name", update("a\nb", {}), OtherFact(id="7", account=BOT, kind="unknown")),
    row("an update without content", {"update_id": 7}, OtherFact(id="7", account=BOT, kind="nothing")),
    row("an update of a text", update("tomorrow_text", "x"), OtherFact(id="7", account=BOT, kind="tomorrow_text")),
]  # fmt: skip

UNREADABLE = [
    row("no id", {"message": {"text": "hi"}}, "message update_id: is missing"),
    row(
        "an id that is no number",
        {"update_id": "7", "message": {}},
        "message update_id: must be a whole number, not str",
    ),
    row("no sender", update("message", {"chat": CHAT, "text": "hi"}), "message from.id: is missing"),
    row(
        "a sender of another type",
        message(**{"from": {"id": "11"}}, text="hi"),
        "message from.id: must be a whole number, not str",
    ),
    row("a text of another type", message(text=5), "message text: must be text, not int"),
    row("a message that is none", update("message", "hi"), "message message: must be an object, not str"),
    row("a button without data", pressed(), "message data: is missing"),
    row("a body that is a list", [], "message body: must be an object, not list"),
]
ROWS = [*SAID, *TOLD, *UNREADABLE]

OWNER = {"id": 500, "is_bot": False, "first_name": "Owner"}


def customer(kind: str = "business_message", /, **told: Any) -> dict[str, Any]:
    """Return an update about the chat of Pat, a customer, with a business."""
    whole = {"message_id": 5, "from": PAT, "chat": CHAT, "date": 1_758_000_000, "business_connection_id": "b", **told}
    return update(kind, whole)


def of_business(**more: Any) -> dict[str, Any]:
    """Return what the facts of that chat have."""
    return fact(**{"channel": YOU.with_account("b"), "account": "b", **more})


OF_BUSINESS = [
    row("a customer's text", customer(text="hi"), {"text": "hi"}),
    row("a customer's location", customer(location={"latitude": 1, "longitude": 2}), {"content": Location(1.0, 2.0)}),
    row("the owner's text", customer(**{"from": OWNER}, text="hi"), elsewhere("business", "11", channel=Channel("telegram", "500", {"name": "Owner"}).with_account("b"), account="b")),
    row("the bot's own text", customer(**{"from": OWNER}, sender_business_bot={"id": 9}, text="hi"), elsewhere("business", "11", channel=Channel("telegram", "500", {"name": "Owner"}).with_account("b"), account="b")),
    row("a customer's edit", customer("edited_business_message", text="20"), Edited(**of_business(), message_id="5", text="20")),
    row("the owner's edit", customer("edited_business_message", **{"from": OWNER}, text="20"), elsewhere("business", "11", channel=Channel("telegram", "500", {"name": "Owner"}).with_account("b"), account="b")),
    row("deleted messages", update("deleted_business_messages", {"business_connection_id": "b", "chat": CHAT, "message_ids": [5, 6, "x"]}),
        *(Deleted(**of_business(id=f"7/{number}", at=None, channel=Channel("telegram", "11").with_account("b")), message_id=number) for number in ("5", "6", "x"))),
    row("deleted messages without a chat", update("deleted_business_messages", {"message_ids": [5]}), "message chat.id: is missing"),
    row("a customer's payment", customer(successful_payment=PAYMENT), Paid(**of_business(), status="paid", amount=USD, reference="r1", charge="c1")),
    row("a customer's button", update("callback_query", {"id": "q", "from": PAT, "data": "yes", "message": {"message_id": 4, "chat": CHAT, "business_connection_id": "b"}}), {"choice": "yes"}),
]  # fmt: skip
"""Rows of a bot that answers as a connected business."""


@pytest.mark.parametrize("each", OF_BUSINESS, ids=lambda each: each.name)
def test_each_row_of_a_connected_business(each: Row) -> None:
    """Customers speak to the bot, the owner does not, and edits and deletions are told with the messages they are about."""
    body = json.dumps(each.body).encode()
    assert got(lambda: telegram.parse(body, account=BOT, now=NOW, business=True)) == each.got


def test_replies_to_a_customer_go_out_by_the_connection() -> None:
    """The connection stands in the place of the message, and so in each payload; a private message has none."""
    for body, connected in ((customer(text="hi"), True), (OF_BUSINESS[-1].body, True), (message(text="hi"), False)):
        delivery = telegram.parse(json.dumps(body).encode(), account=BOT, now=NOW, business=True)
        [said] = delivery.messages
        assert said.account == ("b" if connected else BOT)
        [payload] = telegram.render(said.channel, [Text("Hello")])
        assert payload.get("business_connection_id") == ("b" if connected else None)


def parse(body: Any) -> Any:
    """Parse an update."""
    return lambda: telegram.parse(json.dumps(body).encode(), account=BOT, now=NOW)


@pytest.mark.parametrize("each", ROWS, ids=lambda each: each.name)
def test_each_row_of_the_table(each: Row) -> None:
    """An update is said, told or unreadable, and a bot gets all that it holds."""
    assert got(parse(each.body)) == each.got


def test_the_table_is_long_enough() -> None:
    """The table has at least sixty rows that differ, without the notices."""
    assert len(ROWS) - len(NOTICES) >= 60
    assert len({each.name for each in ROWS}) == len(ROWS)


def test_each_message_is_of_the_member_and_has_the_id_of_its_update() -> None:
    """Each message is of the private chat, and has the id that stays the same when Telegram sends the update again."""
    for each in SAID:
        (message,) = parse(each.body)().messages
        assert (message.channel.identifier, message.id, message.account) == ("11", "7", BOT)


@pytest.mark.parametrize("broken_id", [None, 5, "", [], {}])
def test_a_button_by_a_broken_connection_is_no_word_to_the_bot(broken_id: Any) -> None:
    """A button in a chat of a business is not pressed for the bot, whatever the id of the connection is."""
    (each,) = (row for row in ROWS if row.name == "a button in a chat of a business")
    body = json.loads(json.dumps(each.body))
    body["callback_query"]["message"]["business_connection_id"] = broken_id
    assert classes(parse(body)) == ["told"]


@given(st.sampled_from(ROWS).flatmap(lambda each: st.tuples(st.just(each), broken(each.body))))
def test_a_broken_update_is_never_of_another_class(case: tuple[Row, bytes]) -> None:
    """An update with any part replaced makes no crash, and what is told does not become a word of the member.

    A replaced kind of update or chat is another update, so only those are compared whose kinds are as they were.
    """
    each, body = case
    found = classes(lambda: telegram.parse(body, account=BOT, now=NOW))
    if "said" in found and _kinds(json.loads(body)) == _kinds(each.body):
        assert "said" in classes(parse(each.body))


def _kinds(update: Any) -> Any:
    """Return what decides of the class of an update: its fields, those of its message, and the chat."""
    if not isinstance(update, dict):
        return None
    found: list[Any] = [sorted(update)]
    for name in ("message", "callback_query"):
        inner = update.get(name)
        if isinstance(inner, dict):
            holder = inner.get("message", {}) if name == "callback_query" else inner
            speaker = inner.get("from")
            chat = holder.get("chat") if isinstance(holder, dict) else None
            paid = [isinstance(inner.get(field), dict) for field in ("successful_payment", "refunded_payment")]
            found += [sorted(inner), paid, chat, speaker]
    return found


def test_no_repr_shows_who_it_is_about() -> None:
    """The `repr` of a delivery shows no name, no number and no word of a member."""
    for each in ROWS:
        try:
            shown = repr(parse(each.body)())
        except ValueError as error:
            shown = str(error)
        assert not [secret for secret in ("Pat", "Ada", "263771", "10 USD", "ref_42") if secret in shown], each.name
