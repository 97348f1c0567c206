"""The table of WhatsApp's webhooks: what is said, told and unreadable, and what a bot gets."""

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
from vimbiso_fsm.channels import whatsapp
from vimbiso_fsm.messages.contents import (
    Attachment,
    Contact,
    Contacts,
    Form,
    Location,
    Order,
    OrderItem,
    Referral,
)
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.told import (
    AddressChanged,
    Called,
    ChatOpened,
    Deleted,
    Edited,
    OptedOut,
    OtherFact,
    Paid,
    Reacted,
    SaidElsewhere,
    StatusChanged,
)

PAT, USER, ACCOUNT = "16505550001", "US.10000000000000000001", "1001"
AT = datetime.fromtimestamp(1_758_000_000, UTC)
YOU = Channel("whatsapp", PAT).with_account(ACCOUNT)
THEM = Channel("whatsapp", PAT, {"name": "Pat Doe"}).with_account(ACCOUNT)
VALUE = "entry[0].changes[0].value"


def change(field: str = "messages", **value: Any) -> dict[str, Any]:
    """Return a body with one change."""
    told = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550001111", "phone_number_id": ACCOUNT},
        **value,
    }
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": field, "value": told}]}],
    }


def message(**said: Any) -> dict[str, Any]:
    """Return a message of Pat."""
    whole = {"from": PAT, "id": "wamid.A", "timestamp": "1758000000", **said}
    return {name: value for name, value in whole.items() if value is not None}


def says(**said: Any) -> dict[str, Any]:
    """Return a body with one message of Pat."""
    return change(contacts=[{"profile": {"name": "Pat Doe"}, "wa_id": PAT}], messages=[message(**said)])


def reports(**status: Any) -> dict[str, Any]:
    """Return a body with one status report."""
    whole = {"id": "wamid.H", "timestamp": "1758000000", "recipient_id": PAT, **status}
    return change(statuses=[whole])


def fact(**more: Any) -> dict[str, Any]:
    """Return what the facts among the messages have."""
    return {"id": "wamid.A", "channel": THEM, "account": ACCOUNT, "at": AT, **more}


def named(member: str, *ids: str, name: str = "") -> Channel:
    """Return the channel of a member with further names."""
    metadata = {**({"name": name} if name else {}), "names": [*ids]}
    return Channel("whatsapp", member, metadata).with_account(ACCOUNT)


def status(name: str, **more: Any) -> StatusChanged:
    """Return the status of the message wamid.H."""
    whole: dict[str, Any] = {"channel": YOU, "account": ACCOUNT, "at": AT, "message_id": "wamid.H", **more}
    return StatusChanged(id=f"wamid.H/{name}", status=name, **whole)


def failed(code: int, reason: str) -> Row:
    """Return the row of a failed message."""
    errors = [{"code": code, "title": reason, "message": reason, "error_data": {"details": reason}}]
    return row(
        f"failed {code}", reports(status="failed", errors=errors), status("failed", code=str(code), reason=reason)
    )


def pressed(kind: str, **reply: Any) -> dict[str, Any]:
    """Return a body with an interactive reply."""
    return says(type="interactive", interactive={"type": kind, kind: reply})


def other(kind: str, place: str = "entry[0].changes[0]", **more: Any) -> OtherFact:
    """Return a fact without a class of its own."""
    return OtherFact(id=f"{place}/{kind}", account=ACCOUNT, kind=kind, **more)


JPEG = {"mime_type": "image/jpeg", "sha256": "x", "id": "m1"}
FORM = {"flow_token": "t-1", "amount": "12.50", "days": [1, 2], "agree": True}
PRODUCT = {"product_retailer_id": "tea", "quantity": 2, "item_price": 2.5, "currency": "USD"}
CARD = {
    "name": {"formatted_name": "Ada Lovelace", "first_name": "Ada"},
    "phones": [{"phone": "+263 77 100 0001", "wa_id": "263771000001", "type": "CELL"}],
    "emails": [{"email": "ada@example.org"}],
}
ADA = Contact("Ada Lovelace", ("+263 77 100 0001",), ("ada@example.org",))
REFERRAL = {
    "source_url": "https://fb.example/x", "source_id": "ad-1", "source_type": "ad", "headline": "Tea", "body": "Buy tea",
    "media_type": "image", "ctwa_clid": "click-1",
}  # fmt: skip
BURST = {"burst": "1758000000"}

SAID = [
    row("a text", says(type="text", text={"body": "hi"}), {"text": "hi"}),
    row("an empty text", says(type="text", text={"body": ""}), {"text": ""}),
    row("a lone surrogate", says(type="text", text={"body": "a\ud800"}), {"text": "a\ufffd"}),
    row("a reply to a message", says(type="text", text={"body": "yes"}, context={"from": "15550001111", "id": "wamid.Q"}), {"text": "yes", "replied_to": "wamid.Q"}),
    row("a forwarded text", says(type="text", text={"body": "hi"}, context={"forwarded": True}), {"text": "hi", "forwarded": True}),
    row("a text forwarded often", says(type="text", text={"body": "hi"}, context={"frequently_forwarded": True}), {"text": "hi", "forwarded": True}),
    row("a question about a product", says(type="text", text={"body": "hi"}, context={"from": "1", "id": "wamid.Q", "referred_product": {"catalog_id": "c", "product_retailer_id": "tea"}}), {"text": "hi", "replied_to": "wamid.Q"}),
    row("a click on an advertisement", says(type="text", text={"body": "hi"}, referral=REFERRAL), {"text": "hi", "referral": Referral("ad", "ad-1", "https://fb.example/x", "Tea", "click-1")}),
    row("a broken context", says(type="text", text={"body": "hi"}, context="x", referral=[]), {"text": "hi"}),
    row("a button of a template", says(type="button", button={"payload": "yes", "text": "Yes!"}), {"choice": "yes"}),
    row("a button", pressed("button_reply", id="!aaaaaaaayes", title="Yes"), {"choice": "!aaaaaaaayes"}),
    row("a row", pressed("list_reply", id="!aaaaaaaa=tea", title="Tea"), {"choice": "!aaaaaaaa=tea"}),
    row("a form", pressed("nfm_reply", name="flow", body="Sent", response_json=json.dumps(FORM)), {"content": Form({"amount": "12.50", "days": [1, 2], "agree": True}, "flow", "t-1")}),
    row("an address form", pressed("nfm_reply", name="address_message", response_json='{"values": {"city": "Harare"}}'), {"content": Form({"values": {"city": "Harare"}}, "address_message")}),
    row("a form that is no JSON", pressed("nfm_reply", name="flow", response_json="sent"), {"content": Form({"data": "sent"}, "flow")}),
    row("a form without values", pressed("nfm_reply", name="flow"), {"kind": "interactive"}),
    row("a form of 100 kB", pressed("nfm_reply", response_json=json.dumps({"a": "x" * 100_000})), {"kind": "interactive"}),
    row("a permission to call", pressed("call_permission_reply", response="accept"), {"kind": "interactive"}),
    row("a photo", says(type="image", image=JPEG), {"content": Attachment("image", "m1", "image/jpeg"), **BURST}),
    row("a photo with words", says(type="image", image={**JPEG, "caption": "10 USD"}), {"content": Attachment("image", "m1", "image/jpeg", caption="10 USD"), **BURST}),
    row("a voice message", says(type="audio", audio={"id": "m1", "mime_type": "audio/ogg; codecs=opus", "voice": True}), {"content": Attachment("audio", "m1", "audio/ogg; codecs=opus"), **BURST}),
    row("a video", says(type="video", video={"id": "m1", "mime_type": "video/mp4", "caption": "look"}), {"content": Attachment("video", "m1", "video/mp4", caption="look"), **BURST}),
    row("a document", says(type="document", document={"id": "m1", "mime_type": "application/pdf", "filename": "a.pdf"}), {"content": Attachment("document", "m1", "application/pdf", name="a.pdf"), **BURST}),
    row("a sticker", says(type="sticker", sticker={"id": "m1", "mime_type": "image/webp", "animated": False}), {"content": Attachment("sticker", "m1", "image/webp"), **BURST}),
    row("a file whose size is told", says(type="image", image={**JPEG, "file_size": 1000}), {"content": Attachment("image", "m1", "image/jpeg", 1000), **BURST}),
    row("a photo without an id", says(type="image", image={"caption": "look"}), {"kind": "image", "text": "look"}),
    row("an id of 10 kB", says(type="image", image={"id": "x" * 10_000}), {"kind": "image"}),
    row("a location", says(type="location", location={"latitude": -17.83, "longitude": 31, "name": "Shop", "address": "1 First St", "url": "https://x"}), {"content": Location(-17.83, 31.0, "Shop", "1 First St")}),
    row("a bare location", says(type="location", location={"latitude": 0, "longitude": 0}), {"content": Location(0, 0)}),
    row("a location off the map", says(type="location", location={"latitude": 91, "longitude": 0}), {"kind": "location"}),
    row("a contact", says(type="contacts", contacts=[CARD]), {"content": Contacts((ADA,))}),
    row("two contacts", says(type="contacts", contacts=[CARD, CARD]), {"content": Contacts((ADA, ADA))}),
    row("the member's own contact", says(type="contacts", contacts=[{"phones": [{"phone": "+1", "wa_id": PAT}]}]), {"content": Contacts((Contact(phones=("+1",), is_sender=True),))}),
    row("a contact that the bot asked for", says(type="contacts", origin="contact_request/other", contacts=[{"vcard": "BEGIN:VCARD", "phones": [{"phone": "+16505550001"}]}]), {"content": Contacts((Contact(phones=("+16505550001",)),))}),
    row("no contact", says(type="contacts", contacts=[]), {"kind": "contacts"}),
    row("an order", says(type="order", order={"catalog_id": "c1", "text": "soon, please", "product_items": [PRODUCT]}), {"content": Order((OrderItem("tea", 2, Money(Decimal("2.5"), "USD")),), "c1", "soon, please")}),
    row("an order of digits", says(type="order", order={"product_items": [{**PRODUCT, "quantity": "3", "item_price": "x"}]}), {"content": Order((OrderItem("tea", 3),))}),
    row("an empty order", says(type="order", order={"catalog_id": "c1", "product_items": []}), {"kind": "order"}),
    row("a kind that WhatsApp does not pass on", says(type="unsupported", errors=[{"code": 131051}]), {"kind": "unsupported"}),
    row("a kind of tomorrow", says(type="hologram", hologram={"id": "1"}), {"kind": "hologram"}),
    row("a kind that is no name", says(type="a new\nkind"), {"kind": "unsupported"}),
    row("a user without a number", change(messages=[message(**{"from": "", "from_user_id": USER}, type="text", text={"body": "hi"})]), {"text": "hi"}),
    row("a user with a name of their choice", change(contacts=[{"profile": {"name": "Pat Doe", "username": "@pat"}, "user_id": USER}], messages=[message(**{"from": None}, from_user_id=USER, from_parent_user_id="US.ENT.11815799212886844830", type="text", text={"body": "hi"})]), {"text": "hi"}),
    row("two messages", change(messages=[message(type="text", text={"body": "1"}), message(id="wamid.B", type="text", text={"body": "2"})]), {"text": "1"}, {"text": "2"}),
]  # fmt: skip

TOLD = [
    row("a reaction", says(type="reaction", reaction={"message_id": "wamid.Q", "emoji": "👍"}), Reacted(**fact(), message_id="wamid.Q", emoji="👍")),
    row("a reaction taken back", says(type="reaction", reaction={"message_id": "wamid.Q"}), Reacted(**fact(), message_id="wamid.Q")),
    row("an opened chat", says(type="request_welcome"), ChatOpened(**fact())),
    row("an edited message", says(type="edit", edit={"original_message_id": "wamid.Q", "message": {"type": "text", "text": {"body": "20"}}}), Edited(**fact(), message_id="wamid.Q", text="20")),
    row("an edited photo", says(type="edit", edit={"original_message_id": "wamid.Q"}), Edited(**fact(), message_id="wamid.Q")),
    row("a message taken back", says(type="revoke", revoke={"original_message_id": "wamid.Q"}), Deleted(**fact(), message_id="wamid.Q")),
    row("a changed number", says(type="system", system={"body": "…", "wa_id": "16505550002", "type": "user_changed_number"}), AddressChanged(**fact(), new="16505550002")),
    row("a changed number of earlier", says(type="system", system={"new_wa_id": "16505550002", "type": "user_changed_number"}), AddressChanged(**fact(), new="16505550002")),
    row("a changed user id", says(type="system", system={"user_id": USER, "type": "user_changed_user_id"}), AddressChanged(**fact(), new=USER)),
    row("a changed number and its ids", says(from_user_id=USER, type="system", system={"wa_id": "16505550002", "user_id": "US.2", "parent_user_id": "US.92", "previous_user_id": USER, "previous_parent_user_id": "US.91", "type": "user_changed_number"}), AddressChanged(**fact(channel=named(PAT, USER, "US.91", name="Pat Doe")), new="16505550002", names=("US.2", "US.92"))),
    row("a changed user id without a number", change(messages=[message(**{"from": None}, type="system", system={"user_id": "US.2", "previous_user_id": USER, "type": "user_changed_user_id"})]), AddressChanged(**fact(channel=named(USER, USER)), new="US.2")),
    row("a changed number that is told nowhere", says(type="system", system={"type": "user_changed_number"}), OtherFact(**fact(), kind="user_changed_number")),
    row("a changed identity", says(type="system", system={"type": "customer_identity_changed", "identity": "x"}), OtherFact(**fact(), kind="customer_identity_changed")),
    row("a notice without a kind", says(type="system"), OtherFact(**fact(), kind="system")),
    row("a message in a group", says(group_id="g1", type="text", text={"body": "yes"}), SaidElsewhere(**fact(), place="group", place_id="g1")),
    row("a person who joins a group", change("group_participants_update", groups=[{"timestamp": "1758000000", "group_id": "g1", "type": "group_participants_add", "added_participants": [{"wa_id": PAT}]}]), other("group_participants_update")),
    row("a group that is suspended", change("group_status_update", groups=[{"timestamp": "1758000000", "group_id": "g1", "type": "group_suspend"}]), other("group_status_update")),
    row("sent", reports(status="sent", conversation={"id": "c"}, pricing={"billable": True}), status("sent")),
    row("delivered", reports(status="delivered"), status("delivered")),
    row("read", reports(status="read"), status("read")),
    row("played", reports(status="played"), status("played")),
    row("a status of tomorrow", reports(status="dreamt"), status("dreamt")),
    failed(131026, "Message undeliverable"),
    failed(131047, "Re-engagement message"),
    failed(131049, "Not delivered for a healthy ecosystem"),
    row("failed with a bare code", reports(status="failed", errors=[{"code": 1, "title": "Oops"}]), status("failed", code="1", reason="Oops")),
    row("failed with broken errors", reports(status="failed", errors="x"), status("failed")),
    row("delivered in a group", reports(status="delivered", recipient_type="group"), status("delivered", channel=None)),
    row("delivered to a user without a number", reports(status="delivered", recipient_id="", recipient_user_id=USER), status("delivered", channel=named(USER, USER))),
    row("delivered to a number and its user", reports(status="delivered", recipient_user_id=USER, recipient_parent_user_id="ZW.9"), status("delivered", channel=named(PAT, USER, "ZW.9"))),
    row("a payment", reports(type="payment", status="captured", payment={"reference_id": "r1", "amount": {"value": 1250, "offset": 100}, "currency": "INR"}), Paid(id="wamid.H/captured", channel=YOU, account=ACCOUNT, at=AT, status="paid", amount=Money(Decimal("12.5"), "INR"), reference="r1", charge="wamid.H")),
    row("a payment that failed", reports(type="payment", status="failed", payment={"reference_id": "r1"}), Paid(id="wamid.H/failed", channel=YOU, account=ACCOUNT, at=AT, status="failed", reference="r1", charge="wamid.H")),
    row("an error", change(errors=[{"code": 130429, "title": "Rate limit hit"}]), OtherFact(id=f"{VALUE}/error/130429", account=ACCOUNT, kind="error", code="130429")),
    row("nothing", change(), other("nothing", VALUE)),
    row("a call", change("calls", calls=[{"id": "wacid.1", "from": PAT, "to": "1", "event": "connect", "timestamp": "1758000000", "direction": "USER_INITIATED"}]), Called(id="wacid.1/connect", channel=YOU, account=ACCOUNT, at=AT, call_id="wacid.1", status="connect")),
    row("the end of a call", change("calls", calls=[{"id": "wacid.1", "from": "1", "to": PAT, "event": "terminate", "timestamp": "1758000000", "direction": "BUSINESS_INITIATED"}]), Called(id="wacid.1/terminate", channel=YOU, account=ACCOUNT, at=AT, call_id="wacid.1", status="terminate")),
    row("a ringing call", change("calls", statuses=[{"id": "wacid.1", "type": "call", "status": "RINGING", "recipient_id": PAT, "timestamp": "1758000000"}]), Called(id="wacid.1/ringing", channel=YOU, account=ACCOUNT, at=AT, call_id="wacid.1", status="ringing")),
    row("no more marketing", change("user_preferences", user_preferences=[{"wa_id": PAT, "category": "marketing_messages", "value": "stop", "timestamp": 1758000000}]), OptedOut(id=f"{PAT}/marketing_messages/stop/1758000000", channel=YOU, account=ACCOUNT, at=AT, wish="stop", topic="marketing messages")),
    row("marketing again", change("user_preferences", user_preferences=[{"wa_id": PAT, "category": "marketing_messages", "value": "resume", "timestamp": 1758000000}]), OptedOut(id=f"{PAT}/marketing_messages/resume/1758000000", channel=YOU, account=ACCOUNT, at=AT, wish="start", topic="marketing messages")),
    row("a preference of tomorrow", change("user_preferences", user_preferences=[{"wa_id": PAT, "value": "less", "timestamp": 1758000000}]), OtherFact(id=f"{PAT}//less/1758000000", channel=YOU, account=ACCOUNT, at=AT, kind="user_preferences")),
    row("another user id", change("user_id_update", user_id_update=[{"wa_id": PAT, "user_id": {"previous": USER, "current": "US.2"}, "timestamp": "1758000000"}]), AddressChanged(id=f"{USER}/US.2", channel=Channel("whatsapp", USER).with_account(ACCOUNT), account=ACCOUNT, at=AT, new="US.2")),
    row("another user id and parent id", change("user_id_update", user_id_update=[{"user_id": {"previous": USER, "current": "US.2"}, "parent_user_id": {"previous": "US.91", "current": "US.92"}, "timestamp": "1758000000"}]), AddressChanged(id=f"{USER}/US.2", channel=named(USER, "US.91"), account=ACCOUNT, at=AT, new="US.2", names=("US.92",))),
    *(row(kind, change(kind, event="X"), other(kind)) for kind in (
        "account_alerts", "account_review_update", "account_update", "automatic_events", "business_capability_update",
        "flows", "group_lifecycle_update", "group_participants_update", "group_settings_update", "group_status_update",
        "history", "message_template_components_update", "message_template_quality_update",
        "message_template_status_update", "messaging_handovers", "partner_solutions", "payment_configuration_update",
        "phone_number_name_update", "phone_number_quality_update", "security", "smb_app_state_sync",
        "smb_message_echoes", "template_category_update", "tomorrow", "tracking_events",
    )),
    row("a field that is no name", change("a\nb"), other("unknown")),
]  # fmt: skip

UNREADABLE = [
    row("no id", says(id=None, type="text", text={"body": "hi"}), "message id: is missing"),
    row("an empty id", says(id="", type="text", text={"body": "hi"}), "message id: is empty; every message needs one"),
    row("no sender", says(**{"from": None}, type="text", text={"body": "hi"}), "message from: is missing"),
    row("an empty sender", says(**{"from": ""}, type="text", text={"body": "hi"}), "message channel identifier: is empty; every message needs one"),
    row("a sender of another type", says(**{"from": 5}, type="text", text={"body": "hi"}), "message from: must be text, not int"),
    row("no kind", says(), "message type: is missing"),
    row("a text without words", says(type="text"), "message text.body: is missing"),
    row("a reaction to nothing", says(type="reaction"), "message reaction: is missing"),
    row("a button without an id", pressed("button_reply", title="Yes"), "message interactive.button_reply.id: is missing"),
    row("an interactive reply without a kind", says(type="interactive"), "message interactive.type: is missing"),
    row("a message that is none", change(messages=["hi"]), "message part: must be an object, not str"),
    row("a status that is none", change(statuses=[5]), "message part: must be an object, not int"),
    row("another product", {"object": "page", "entry": []}, "message object: must be 'whatsapp_business_account'; this is no WhatsApp webhook"),
]  # fmt: skip
ROWS = [*SAID, *TOLD, *UNREADABLE]


def parse(body: Any) -> Any:
    """Parse a body."""
    return lambda: whatsapp.parse(json.dumps(body).encode(), now=NOW)


@pytest.mark.parametrize("each", ROWS, ids=lambda each: each.name)
def test_each_row_of_the_table(each: Row) -> None:
    """A body is said, told or unreadable, and a bot gets all that it holds."""
    assert got(parse(each.body)) == each.got


def test_the_table_is_long_enough() -> None:
    """The table has at least sixty rows, of all three classes."""
    assert len(ROWS) >= 60
    assert len({each.name for each in ROWS}) == len(ROWS)


def test_who_is_who() -> None:
    """A member is known by their number, and by their business-scoped id where no number is told."""
    known = [message.channel for each in SAID for message in parse(each.body)().messages]
    assert {channel.identifier for channel in known} == {PAT, USER}
    assert {channel.account for channel in known} == {ACCOUNT}


def test_a_user_without_a_number_is_the_recipient() -> None:
    """A payload to a business-scoped id names it as the recipient, and one to a number has it in `to`."""
    (to_user,) = whatsapp.render(Channel("whatsapp", USER), [Text("hi")])
    (to_number,) = whatsapp.render(YOU, [Text("hi")])
    assert (to_user.get("recipient"), to_user.get("to")) == (USER, None)
    assert (to_number.get("recipient"), to_number.get("to")) == (None, PAT)


@given(st.sampled_from(ROWS).flatmap(lambda each: st.tuples(st.just(each), broken(each.body))))
def test_a_broken_body_is_never_of_another_class(case: tuple[Row, bytes]) -> None:
    """A body with any part replaced makes no crash, and what is told does not become a word of the member.

    A replaced kind is another body, so only bodies whose kinds are as they were are compared.
    """
    each, body = case
    found = classes(lambda: whatsapp.parse(body, now=NOW))
    if "said" in found and _kinds(json.loads(body)) == _kinds(each.body):
        assert "said" in classes(parse(each.body))


def _kinds(body: Any) -> Any:
    """Return what decides of the class of a message in a body: its kind, its group and its field."""
    try:
        change = body["entry"][0]["changes"][0]
        said = change["value"].get("messages") or [{}]
        return body["object"], change.get("field"), [(each.get("type"), each.get("group_id")) for each in said]
    except (AttributeError, IndexError, KeyError, TypeError):
        return None


def test_files_sent_together_are_one_burst() -> None:
    """Files of one sender within two seconds have one name of a burst; others have names of their own."""
    photos = [
        message(id=f"wamid.{n}", type="image", image=JPEG, timestamp=str(1758000000 + s))
        for n, s in enumerate((0, 1, 2, 60))
    ]
    told = parse(change(messages=photos))().messages
    assert [each.burst for each in told] == ["1758000000"] * 3 + ["1758000060"]
    words = message(id="wamid.W", type="text", text={"body": "hi"})
    apart = parse(change(messages=[photos[0], words, photos[3]]))().messages
    assert [each.burst for each in apart] == ["1758000000", "", "1758000060"]
    undated = [{**photo, "timestamp": None} for photo in photos[:2]]
    assert [each.burst for each in parse(change(messages=undated))().messages] == ["wamid.0", "wamid.0"]


def test_no_repr_shows_who_it_is_about() -> None:
    """The `repr` of a delivery shows no number, no name and no word of a member."""
    for each in ROWS:
        try:
            shown = repr(parse(each.body)())
        except ValueError as error:
            shown = str(error)
        assert not [secret for secret in (PAT, USER, "Pat", "Ada", "16505550002", "10 USD") if secret in shown], (
            each.name
        )
