"""The forms of Twilio's webhooks: messages by SMS, MMS and WhatsApp, reports, and words that Twilio answers itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vimbiso_fsm.channels.delivery import TEXT, Delivery, Said, attempted, carried, form_of, short, take
from vimbiso_fsm.messages.contents import Attachment, Location, Referral
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.told import Called, OptedOut, OtherFact, Reacted, StatusChanged, Told

MOST_FILES: Final = 10
"""Files of one message; Twilio sends at most ten."""
WHATSAPP: Final = "whatsapp:"
"""The prefix of an address that Twilio reaches by WhatsApp."""
STATUSES: Final[Mapping[str, str]] = {"undelivered": "failed", "canceled": "failed"}
"""Twilio's names of statuses that have another one here."""
WISHES: Final[Mapping[str, Any]] = {"STOP": "stop", "START": "start", "HELP": "help"}


def read_form(fields: Mapping[str, str]) -> Delivery:
    """Read what a form says or tells.

    Raises:
        InvalidMessage: The message has no id or no sender.
    """
    if "MessageSid" not in fields and "SmsSid" not in fields:
        told = _told_without_message(fields)
        if told is not None:
            return Delivery(events=(told,))
    if "MessageStatus" in fields and "Body" not in fields:
        return Delivery(events=(_status(fields),))
    return _said(fields)


def _said(fields: Mapping[str, str]) -> Delivery:
    """Read a message, or the fact that stands in the place of one."""
    id, account = take(fields, "MessageSid", TEXT), take(fields, "To", TEXT)
    channel = _member(take(fields, "From", TEXT)).with_account(account)
    words = take(fields, "Body", TEXT)
    fact: dict[str, Any] = {"id": id, "channel": channel, "account": account}
    wish = WISHES.get(fields.get("OptOutType", "").upper())
    if wish is not None:
        return Delivery(events=(OptedOut(**fact, wish=wish),))
    replied_to = short(fields.get("OriginalRepliedMessageSid"))
    if fields.get("MessageType") == "reaction":
        return Delivery(events=(Reacted(**fact, message_id=replied_to, emoji=short(words)),))
    marks = _marks(fields, replied_to)
    contents = _contents(fields, words)
    if len(contents) > 1:
        marks["burst"] = short(id)
    names = [id, *(f"{id}/{number}" for number in range(1, len(contents)))]
    said: list[Said] = [{**content, **marks} for content in contents]
    return Delivery(tuple(Message(channel, name, **each) for name, each in zip(names, said, strict=True)))


def _member(sender: str) -> Channel:
    """Return the channel of a sender: the digits of a number, which is one of WhatsApp with the prefix `whatsapp:`."""
    address = sender.strip()
    number = address.removeprefix(WHATSAPP)
    return Channel("sms" if number == address else "whatsapp", number.removeprefix("+"))


def _contents(fields: Mapping[str, str], words: str) -> list[Said]:
    """Return what each message of a form says: one, or one for each file (SG-66)."""
    choice = fields.get("ButtonPayload") or fields.get("ListId")
    if choice:
        return [{"choice": choice}]
    if fields.get("Latitude") or fields.get("Longitude"):
        return [carried("location", lambda: _location(fields), words)]
    for name in ("InteractiveData", "FlowData"):
        if filled_in := fields.get(name):
            return [carried("form", lambda: form_of(filled_in), words)]
    count = fields.get("NumMedia", "0")
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 5 else 0
    if number:
        return [*_files(fields, words, min(number, MOST_FILES))]
    known = fields.get("MessageType", "text") in ("", "text", "button", "interactive")
    return [{"text": words} if words or known else {"kind": "unsupported"}]


def _files(fields: Mapping[str, str], words: str, number: int) -> Iterator[Said]:
    """Yield what each file says. The words stand with the first one."""
    for place in range(number):
        mime_type = fields.get(f"MediaContentType{place}", "")
        kind = mime_type.partition("/")[0].lower()
        kind = kind if kind in ("image", "audio", "video") else "document"
        address, caption = fields.get(f"MediaUrl{place}", ""), "" if place or not words.strip() else words
        yield _file(kind, address, mime_type, caption)


def _file(kind: str, address: str, mime_type: str, caption: str) -> Said:
    return carried(kind, lambda: Attachment(kind, address, short(mime_type, 255), caption=caption), caption)


def _location(fields: Mapping[str, str]) -> Location:
    latitude, longitude = (_degrees(fields.get(name, "")) for name in ("Latitude", "Longitude"))
    return Location(latitude, longitude, short(fields.get("Label")), short(fields.get("Address")))


def _degrees(digits: str) -> Any:
    """Return a number of degrees, or the text if it is none, which the content refuses."""
    try:
        return float(digits) if len(digits) < 40 else digits
    except ValueError:
        return digits


def _marks(fields: Mapping[str, str], replied_to: str) -> Said:
    """Return how a message came about."""
    marks: Said = {}
    if replied_to:
        marks["replied_to"] = replied_to
    if "true" in (fields.get("Forwarded"), fields.get("FrequentlyForwarded")):
        marks["forwarded"] = True
    names = ("ReferralSourceType", "ReferralSourceId", "ReferralSourceUrl", "ReferralHeadline", "ReferralCtwaClid")
    if any(fields.get(name) for name in names):
        marks["referral"] = Referral(*(short(fields.get(name)) for name in names))
    return marks


# Told -----------------------------------------------------------------------------------------------------------------


def _status(fields: Mapping[str, str]) -> StatusChanged:
    """Read a report about a message of the bot. `To` is the member."""
    id, account = short(fields.get("MessageSid") or fields.get("SmsSid")), short(fields.get("From"))
    told = short(fields["MessageStatus"], 64)
    status = STATUSES.get(told, told)
    channel = attempted(lambda: _member(fields.get("To", "")).with_account(account))
    return StatusChanged(
        id=f"{id}/{status}",
        channel=channel,
        account=account,
        message_id=id,
        status=status,
        code=short(fields.get("ErrorCode"), 64),
        reason=short(fields.get("ErrorMessage") or fields.get("ChannelStatusMessage")),
    )


def _told_without_message(fields: Mapping[str, str]) -> Told | None:
    """Return the fact in a form that is about no message: a call, or an event of another product; None without one."""
    account = short(fields.get("To"))
    if call_id := short(fields.get("CallSid")):
        status = short(fields.get("CallStatus"), 64)
        channel = attempted(lambda: _member(fields.get("From", "")).with_account(account))
        return Called(id=f"{call_id}/{status}", channel=channel, account=account, call_id=call_id, status=status)
    if kind := short(fields.get("EventType"), 64):
        return OtherFact(id=short(fields.get("MessageSid")) or kind, account=account, kind=kind)
    if code := short(fields.get("ErrorCode"), 64):
        return OtherFact(id=short(fields.get("Sid")) or code, account=account, kind="error", code=code)
    return None
