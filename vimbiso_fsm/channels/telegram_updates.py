"""The updates of Telegram's Bot API: what a member says in the private chat, and what Telegram tells."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from vimbiso_fsm.channels import plain
from vimbiso_fsm.channels.delivery import (
    LIST,
    NUMBER,
    OBJECT,
    TEXT,
    Delivery,
    Said,
    attempted,
    instant,
    is_name,
    maybe,
    one_line,
    price,
    short,
    take,
)
from vimbiso_fsm.channels.telegram_contents import content_of, marks_of
from vimbiso_fsm.channels.telegram_presses import FENCE, MESSAGE, QUERY
from vimbiso_fsm.messages.contents import MAX_INTEGER
from vimbiso_fsm.messages.message import MAX_ID, REPLY_TO, Channel, Message
from vimbiso_fsm.messages.presses import pressed
from vimbiso_fsm.messages.told import (
    Blocked,
    BusinessConnected,
    Deleted,
    Edited,
    OtherFact,
    Paid,
    Reacted,
    SaidElsewhere,
    Told,
)

NAME_LENGTH: Final = 100
"""Characters of a profile name, and of a language tag, that are kept."""

ELSEWHERE: Final[Mapping[str, str]] = {
    "channel_post": "channel",
    "edited_channel_post": "channel",
    "business_message": "business",
    "edited_business_message": "business",
    "deleted_business_messages": "business",
    "guest_message": "guest",
}
"""Updates of messages that are not said to the bot, and where they are said."""

BUSINESS: Final = frozenset({"business_message", "edited_business_message", "deleted_business_messages"})
"""Updates of the chats of a connected business account."""
MOST_DELETED: Final = 100
"""Messages of one update that are told to be deleted; Telegram deletes at most so many at once."""

NOTICES: Final = frozenset({
    "boost_added", "channel_chat_created", "chat_background_set", "chat_owner_changed", "chat_owner_left",
    "checklist_tasks_added", "checklist_tasks_done", "community_chat_added", "community_chat_removed",
    "connected_website", "delete_chat_photo", "direct_message_price_changed", "forum_topic_closed",
    "forum_topic_created", "forum_topic_edited", "forum_topic_reopened", "general_forum_topic_hidden",
    "general_forum_topic_unhidden", "gift", "gift_upgrade_sent", "giveaway_completed", "giveaway_created",
    "group_chat_created", "invoice", "left_chat_member", "managed_bot_created",
    "message_auto_delete_timer_changed", "migrate_from_chat_id", "migrate_to_chat_id", "new_chat_members",
    "new_chat_photo", "new_chat_title", "paid_message_price_changed", "passport_data", "pinned_message",
    "poll_option_added", "poll_option_deleted", "proximity_alert_triggered",
    "suggested_post_approval_failed", "suggested_post_approved", "suggested_post_declined",
    "suggested_post_paid", "suggested_post_refunded", "supergroup_chat_created", "unique_gift",
    "video_chat_ended", "video_chat_participants_invited", "video_chat_scheduled", "video_chat_started",
    "write_access_allowed",
})  # fmt: skip
"""Fields of a message that Telegram writes itself. Such a message is no word of the member."""


@attrs.frozen
class Reader:
    """Reads one update.

    Attributes:
        id: The id of the update, which is that of the message or fact in it.
        account: The name of the bot.
        now: The current instant.
        business: Whether what is said in the chats of a connected business account is said to the bot.
    """

    id: str
    account: str
    now: datetime | None
    business: bool = False

    def update(self, update: Mapping[str, Any]) -> Delivery:
        """Read what an update says or tells.

        Raises:
            InvalidMessage: The update is broken.
        """
        message, query = maybe(update, "message", OBJECT), maybe(update, "callback_query", OBJECT)
        if message is not None:
            return self._message(message)
        if query is not None:
            return self._query(query)
        kind = next((name for name in update if name != "update_id"), "nothing")
        content = update.get(kind)
        told: Mapping[str, Any] = content if isinstance(content, dict) else {}
        if self.business and kind in BUSINESS:
            return self._of_business(kind, told)
        return Delivery(events=(self._told(kind, told),))

    # Said -------------------------------------------------------------------------------------------------------------

    def _message(self, message: Mapping[str, Any]) -> Delivery:
        if elsewhere := self._elsewhere(message.get("chat"), message):
            return Delivery(events=(elsewhere,))
        told = self._notice(message)
        if told is not None:
            return Delivery(events=(told,))
        content: Said = {**content_of(message, take(message, "from.id", NUMBER)), **marks_of(message)}
        return self._said(message, content, _answered(message))

    def _query(self, query: Mapping[str, Any]) -> Delivery:
        """Read a pressed button. That of a game carries no choice."""
        message = attempted(lambda: maybe(query, "message", OBJECT)) or {}
        if elsewhere := self._elsewhere(message.get("chat"), query):
            return Delivery(events=(elsewhere,))
        if "business_connection_id" in message:
            connection = _connection(message)
            if not self.business or not connection:  # a broken one is not none: the member did not speak to the bot
                place_id = short(attempted(lambda: maybe(message, "chat.id", NUMBER)))
                return Delivery(events=(SaidElsewhere(**self._fact(query), place="business", place_id=place_id),))
            return attrs.evolve(self, account=connection)._said(
                query, {"choice": take(query, "data", TEXT)}, _pressed(query, message)
            )
        if maybe(query, "data", TEXT) is None and maybe(query, "game_short_name", TEXT) is not None:
            return Delivery(events=(self._other("game", query),))
        return self._said(query, {"choice": take(query, "data", TEXT)}, _pressed(query, message))

    def _said(self, said: Mapping[str, Any], content: Said, place: Mapping[str, Any]) -> Delivery:
        sent_at = instant(said.get("date"), self.now)
        sender: Mapping[str, Any] = take(said, "from", OBJECT)
        channel = _channel(sender, place)
        return Delivery((Message(channel, self.id, account=self.account, sent_at=sent_at, **content),))

    def _of_business(self, kind: str, told: Mapping[str, Any]) -> Delivery:
        """Read what happened in the chat of a customer with a connected business account, as whose the bot speaks.

        The account is that of the connection, since the customer speaks to it. What its owner says, themselves or by a
        bot, is told.
        """
        connection = _connection(told)
        customer = take(told, "chat.id", NUMBER)
        here = attrs.evolve(self, account=connection)
        if kind == "deleted_business_messages":
            chat = Channel("telegram", str(customer)).with_account(connection)
            numbers = [number for number in take(told, "message_ids", LIST)[:MOST_DELETED] if short(number)]
            fact: dict[str, Any] = {"channel": chat, "account": connection}
            return Delivery(
                events=tuple(Deleted(id=f"{self.id}/{number}", message_id=short(number), **fact) for number in numbers)
            )
        speaker = attempted(lambda: maybe(told, "from.id", NUMBER))
        if speaker != customer or "sender_business_bot" in told:
            return Delivery(events=(here._told(kind, told),))
        return Delivery(events=(here._edited(told),)) if kind == "edited_business_message" else here._message(told)

    # Told -------------------------------------------------------------------------------------------------------------

    def _fact(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return what all facts have."""
        person = told.get("from") or told.get("user")
        channel = attempted(lambda: _channel(person).with_account(self.account)) if isinstance(person, dict) else None
        return {"id": self.id, "channel": channel, "account": self.account, "at": instant(told.get("date"), self.now)}

    def _other(self, kind: str, told: Mapping[str, Any]) -> OtherFact:
        return OtherFact(**self._fact(told), kind=kind if is_name(kind) else "unknown")

    def _elsewhere(self, chat: object, told: Mapping[str, Any]) -> SaidElsewhere | None:
        """Return the fact that this was said in another chat or by another bot; None if it was said to the bot."""
        known: Mapping[str, Any] = chat if isinstance(chat, dict) else {}
        kind, place_id = known.get("type"), short(known.get("id"))
        if kind not in (None, "private"):
            place = "channel" if kind == "channel" else "group"
            return SaidElsewhere(**self._fact(told), place=place, place_id=place_id)
        speaker = told.get("from")
        if isinstance(speaker, dict) and speaker.get("is_bot") is True:
            return SaidElsewhere(**self._fact(told), place="bot", place_id=place_id)
        return None

    def _notice(self, message: Mapping[str, Any]) -> Told | None:
        """Return the fact of a message that Telegram writes itself; None if the member wrote it."""
        for name, status in (("successful_payment", "paid"), ("refunded_payment", "refunded")):
            paid = message.get(name)
            if isinstance(paid, dict):
                return self._paid(status, paid, self._fact(message))
        kind = next((name for name in message if name in NOTICES), None)
        return None if kind is None else self._other(kind, message)

    def _told(self, kind: str, told: Mapping[str, Any]) -> Told:
        """Return the fact of an update that is no message."""
        match kind:
            case "edited_message":
                return self._edited(told)
            case "message_reaction":
                return self._reacted(told)
            case "my_chat_member":
                return self._membership(told)
            case "pre_checkout_query" | "shipping_query":
                return self._paid("requested", told, self._fact(told))
            case "business_connection":
                return self._connected(told)
            case "purchased_paid_media":
                return self._paid("paid", {**told, "invoice_payload": told.get("paid_media_payload")}, self._fact(told))
            case _ if kind in ELSEWHERE:
                place_id = short(attempted(lambda: maybe(told, "chat.id", NUMBER)))
                return SaidElsewhere(**self._fact(told), place=ELSEWHERE[kind], place_id=place_id)
            case _:
                return self._other(kind, told)

    def _connected(self, told: Mapping[str, Any]) -> Told:
        """Read that the owner of a business account connected the bot to it, changed its rights, or disconnected it."""
        rights = told.get("rights")
        may = rights.get("can_reply") if isinstance(rights, dict) else told.get("can_reply")
        return BusinessConnected(
            **self._fact(told),
            connection=short(told.get("id")),
            enabled=told.get("is_enabled") is True,
            can_reply=may is True,
        )

    def _edited(self, told: Mapping[str, Any]) -> Told:
        if elsewhere := self._elsewhere(told.get("chat"), told):
            return elsewhere
        words = short(told.get("text") or told.get("caption"), 4096)
        return Edited(**self._fact(told), message_id=short(told.get("message_id")), text=words)

    def _reacted(self, told: Mapping[str, Any]) -> Told:
        if elsewhere := self._elsewhere(told.get("chat"), told):
            return elsewhere
        new = told.get("new_reaction")
        first = new[0] if isinstance(new, list) and new else None
        emoji = short(first.get("emoji") or first.get("type")) if isinstance(first, dict) else ""
        return Reacted(**self._fact(told), message_id=short(told.get("message_id")), emoji=emoji)

    def _membership(self, told: Mapping[str, Any]) -> Told:
        """Read that the member blocked the bot, or let it in again. In another chat it is no fact about the member."""
        if self._elsewhere(told.get("chat"), {}) is not None:
            return self._other("my_chat_member", told)
        status = attempted(lambda: maybe(told, "new_chat_member.status", TEXT))
        if status in ("kicked", "member"):
            return Blocked(**self._fact(told), blocked=status == "kicked")
        return self._other("my_chat_member", told)

    def _paid(self, status: str, paid: Mapping[str, Any], fact: Mapping[str, Any]) -> Paid:
        """Read a payment. Telegram tells amounts in the smallest parts of the currency, and stars as they are."""
        currency = paid.get("currency")
        return Paid(
            **fact,
            status=status,
            amount=price(paid.get("total_amount"), currency, PARTS.get(short(currency), 100)),
            reference=short(paid.get("invoice_payload")),
            charge=short(paid.get("telegram_payment_charge_id")) or short(paid.get("id")),
        )


PARTS: Final[Mapping[str, int]] = {
    **dict.fromkeys(["CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XTR", "XAF", "XOF", "RWF"], 1),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "TND"], 1000),
}
"""The parts of one unit of a currency in which Telegram tells amounts, where these are not 100."""


def _connection(message: Mapping[str, Any]) -> str:
    """Return the business connection by which a message came; empty if it came by none."""
    return short(message.get("business_connection_id"), MAX_ID)


def _topic(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the topic of the private chat in which a message stands, and the business connection by which it came."""
    topic = attempted(lambda: maybe(message, "message_thread_id", NUMBER))
    place: dict[str, Any] = {"topic": topic} if message.get("is_topic_message") is True and _is_id(topic) else {}
    connection = _connection(message)
    return {**place, "business": connection} if connection else place


def _pressed(query: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the place of a pressed button: its query, its message, its question, and the topic of the message."""
    place: dict[str, Any] = {QUERY: short(query.get("id"), 64)} if query.get("id") else {}
    number = attempted(lambda: maybe(message, "message_id", NUMBER))
    if _is_id(number):
        place[MESSAGE] = number
    if (choice := pressed(short(query.get("data"), 64))) is not None:
        place[FENCE] = choice.fence
    return {**place, **_topic(message)}


def _answered(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the place of a message, and whether it is what the button of a keyboard sends, which is then over."""
    keyed = {"keyboard": True} if "location" in message or "contact" in message else {}
    return {**keyed, **_topic(message)}


def _is_id(number: int | None) -> bool:
    return number is not None and 0 < number <= MAX_INTEGER


def _channel(user: Mapping[str, Any], place: Mapping[str, Any] | None = None) -> Channel:
    """Return the private chat of a user, which has the user's id, and the place in it of what the user says."""
    name = plain.shorten(one_line(maybe(user, "first_name", TEXT) or ""), NAME_LENGTH)
    language = plain.shorten(one_line(maybe(user, "language_code", TEXT) or ""), NAME_LENGTH)
    metadata = {known: value for known, value in (("name", name), ("language", language)) if value}
    at = {REPLY_TO: dict(place)} if place else {}
    return Channel("telegram", str(take(user, "id", NUMBER)), {**metadata, **at})
