"""The table of Twilio's forms: SMS, MMS and WhatsApp; what is said, told and unreadable, and what a bot gets."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.channels.table import Row, classes, got, row
from vimbiso_fsm.channels import sms
from vimbiso_fsm.messages.contents import Attachment, Form, Location, Referral
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.told import Called, OptedOut, OtherFact, Reacted, StatusChanged

ACCOUNT, WHATSAPP = "+15550001111", "whatsapp:+15550001111"
YOU = Channel("sms", "16505550001").with_account(ACCOUNT)
THEM = Channel("whatsapp", "16505550001").with_account(WHATSAPP)
URL = "https://api.twilio.example/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME"


def form(**changes: str | None) -> dict[str, str]:
    """Return the form of an SMS, with fields changed, or left out where the change is None."""
    fields: dict[str, str | None] = {
        "MessageSid": "SM1", "SmsSid": "SM1", "SmsMessageSid": "SM1", "AccountSid": "AC1", "From": "+16505550001",
        "To": ACCOUNT, "Body": "hi", "NumMedia": "0", "NumSegments": "1", "SmsStatus": "received", "ApiVersion": "2010-04-01",
        **changes,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def media(*types: str, body: str = "") -> dict[str, str]:
    """Return the form of an MMS with files of these types."""
    files = {f"MediaContentType{n}": kind for n, kind in enumerate(types)} | {
        f"MediaUrl{n}": f"{URL}{n}" for n in range(len(types))
    }
    return form(Body=body, NumMedia=str(len(types)), **files)


def chat(**changes: str | None) -> dict[str, str]:
    """Return the form of a message by WhatsApp."""
    return form(
        **{
            "From": "whatsapp:+16505550001",
            "To": WHATSAPP,
            "WaId": "16505550001",
            "ProfileName": "Pat",
            "MessageType": "text",
            **changes,
        }
    )


def report(status: str, **changes: str | None) -> dict[str, str]:
    """Return the form of a report about a message of the bot."""
    sent = {
        "From": ACCOUNT,
        "To": "+16505550001",
        "MessageStatus": status,
        "SmsStatus": status,
        "Body": None,
        "NumMedia": None,
    }
    return form(**{**sent, **changes})


def status(name: str, **more: Any) -> StatusChanged:
    """Return the status of the message SM1."""
    return StatusChanged(id=f"SM1/{name}", channel=YOU, account=ACCOUNT, message_id="SM1", status=name, **more)


def failed(status_name: str, code: str) -> Row:
    """Return the row of a message that was not delivered."""
    return row(f"{status_name} {code}", report(status_name, ErrorCode=code), status("failed", code=code))


def photo(number: int = 0, **more: Any) -> Attachment:
    """Return the photo of an MMS."""
    return Attachment("image", f"{URL}{number}", "image/jpeg", **more)


SM1: dict[str, Any] = {"id": "SM1", "channel": YOU, "account": ACCOUNT}
REFERRAL = {
    "ReferralSourceType": "ad",
    "ReferralSourceId": "ad-1",
    "ReferralSourceUrl": "https://fb.example/x",
    "ReferralHeadline": "Tea",
    "ReferralCtwaClid": "click-1",
}

SAID = [
    row("a text", form(), {"text": "hi"}),
    row("a text in Shona", form(Body="Mhoroi, zvakanaka — ✓"), {"text": "Mhoroi, zvakanaka — ✓"}),
    row("an empty text", form(Body=""), {"text": ""}),
    row("a text with spaces", form(Body="  hi "), {"text": "  hi "}),
    row("a text of many segments", form(Body="a" * 1600, NumSegments="11"), {"text": "a" * 1600}),
    row("a text without a count of files", form(NumMedia=None), {"text": "hi"}),
    row("a count that is none", form(NumMedia="many"), {"text": "hi"}),
    row("a count of other digits", form(NumMedia="٢"), {"text": "hi"}),
    row("a place of the sender", form(FromCity="HARARE", FromCountry="ZW", FromState="", FromZip=""), {"text": "hi"}),
    row("stop without an answer of Twilio", form(Body="STOP"), {"text": "STOP"}),
    row("an opt-out of tomorrow", form(OptOutType="DREAM"), {"text": "hi"}),
    row("a short code", form(From="33733"), {"text": "hi"}),
    row("a name in place of a number", form(From="BANK"), {"text": "hi"}),
    row("a text by RCS", form(From="rcs:+16505550001", To="rcs:brand_agent"), {"text": "hi"}),
    row(
        "a suggested reply by RCS",
        form(From="rcs:+16505550001", To="rcs:brand_agent", ButtonText="Yes", ButtonPayload="yes", Body="Yes"),
        {"choice": "yes"},
    ),
    row("a text to a service", form(MessagingServiceSid="MG1", ChannelMetadata='{"type": "rcs"}'), {"text": "hi"}),
    row("a photo", media("image/jpeg"), {"content": photo()}),
    row("a photo with words", media("image/jpeg", body="10 USD"), {"content": photo(caption="10 USD")}),
    row("a photo with blank words", media("image/jpeg", body=" "), {"content": photo()}),
    row(
        "two photos",
        media("image/jpeg", "image/jpeg"),
        {"content": photo(), "burst": "SM1"},
        {"content": photo(1), "burst": "SM1"},
    ),
    row(
        "two photos with words",
        media("image/jpeg", "image/jpeg", body="look"),
        {"content": photo(caption="look"), "burst": "SM1"},
        {"content": photo(1), "burst": "SM1"},
    ),
    row("a sound", media("audio/amr"), {"content": Attachment("audio", f"{URL}0", "audio/amr")}),
    row("a video", media("video/3gpp"), {"content": Attachment("video", f"{URL}0", "video/3gpp")}),
    row("a document", media("application/pdf"), {"content": Attachment("document", f"{URL}0", "application/pdf")}),
    row("a business card", media("text/vcard"), {"content": Attachment("document", f"{URL}0", "text/vcard")}),
    row("a file of an unknown type", media(""), {"content": Attachment("document", f"{URL}0")}),
    row("a type in capitals", media("IMAGE/JPEG"), {"content": Attachment("image", f"{URL}0", "IMAGE/JPEG")}),
    row("a file without an address", form(Body="", NumMedia="1", MediaContentType0="image/jpeg"), {"kind": "image"}),
    row(
        "words with a file without an address",
        form(Body="look", NumMedia="1", MediaContentType0="image/jpeg"),
        {"kind": "image", "text": "look"},
    ),
    row(
        "an address of 10 kB",
        form(Body="", NumMedia="1", MediaContentType0="image/jpeg", MediaUrl0="x" * 10_000),
        {"kind": "image"},
    ),
    row("a text by WhatsApp", chat(), {"text": "hi"}),
    row(
        "a button",
        chat(Body="Yes!", ButtonText="Yes!", ButtonPayload="!aaaaaaaayes", MessageType="button"),
        {"choice": "!aaaaaaaayes"},
    ),
    row(
        "a row of a list",
        chat(Body="Tea", ListId="!aaaaaaaa=tea", ListTitle="Tea", MessageType="interactive"),
        {"choice": "!aaaaaaaa=tea"},
    ),
    row("a button without a payload", chat(Body="Yes!", ButtonText="Yes!", MessageType="button"), {"text": "Yes!"}),
    row(
        "a location",
        chat(Body="", Latitude="-17.8292", Longitude="31.0522", MessageType="location"),
        {"content": Location(-17.8292, 31.0522)},
    ),
    row(
        "a named location",
        chat(Body="", Latitude="1", Longitude="2", Label="Shop", Address="1 First St", MessageType="location"),
        {"content": Location(1, 2, "Shop", "1 First St")},
    ),
    row(
        "a location off the map",
        chat(Body="", Latitude="91", Longitude="2", MessageType="location"),
        {"kind": "location"},
    ),
    row(
        "a location that is no number",
        chat(Body="", Latitude="north", Longitude="2", MessageType="location"),
        {"kind": "location"},
    ),
    row(
        "a location without an end",
        chat(Body="", Latitude="nan", Longitude="inf", MessageType="location"),
        {"kind": "location"},
    ),
    row("half a location", chat(Body="", Latitude="1", MessageType="location"), {"kind": "location"}),
    row(
        "a form",
        chat(Body="", InteractiveData='{"flow_token": "t-1", "amount": "12.50"}', MessageType="interactive"),
        {"content": Form({"amount": "12.50"}, token="t-1")},
    ),
    row(
        "a form in its other field",
        chat(Body="", FlowData='{"amount": "12.50"}'),
        {"content": Form({"amount": "12.50"})},
    ),
    row("a form that is no JSON", chat(Body="", InteractiveData="sent"), {"content": Form({"data": "sent"})}),
    row(
        "a photo by WhatsApp",
        chat(Body="", NumMedia="1", MediaContentType0="image/jpeg", MediaUrl0=f"{URL}0", MessageType="image"),
        {"content": photo()},
    ),
    row(
        "a sticker by WhatsApp",
        chat(Body="", NumMedia="1", MediaContentType0="image/webp", MediaUrl0=f"{URL}0", MessageType="sticker"),
        {"content": Attachment("image", f"{URL}0", "image/webp")},
    ),
    row(
        "a contact by WhatsApp",
        chat(Body="", NumMedia="1", MediaContentType0="text/vcard", MediaUrl0=f"{URL}0", MessageType="contacts"),
        {"content": Attachment("document", f"{URL}0", "text/vcard")},
    ),
    row("a kind that Twilio does not pass on", chat(Body="", MessageType="unsupported"), {"kind": "unsupported"}),
    row("a kind of tomorrow", chat(Body="", MessageType="hologram"), {"kind": "unsupported"}),
    row("a kind of tomorrow with words", chat(MessageType="hologram"), {"text": "hi"}),
    row(
        "a reply",
        chat(OriginalRepliedMessageSid="SM0", OriginalRepliedMessageSender=WHATSAPP),
        {"text": "hi", "replied_to": "SM0"},
    ),
    row("a forwarded text", chat(Forwarded="true"), {"text": "hi", "forwarded": True}),
    row("a text forwarded often", chat(FrequentlyForwarded="true"), {"text": "hi", "forwarded": True}),
    row("a text that was not forwarded", chat(Forwarded="false"), {"text": "hi"}),
    row(
        "a click on an advertisement",
        chat(**REFERRAL),
        {"text": "hi", "referral": Referral("ad", "ad-1", "https://fb.example/x", "Tea", "click-1")},
    ),
]

TOLD = [
    row("stop", form(Body="STOP", OptOutType="STOP"), OptedOut(**SM1, wish="stop")),
    row("start", form(Body="START", OptOutType="START"), OptedOut(**SM1, wish="start")),
    row("help", form(Body="HELP", OptOutType="HELP"), OptedOut(**SM1, wish="help")),
    row("stop in small letters", form(Body="Stop.", OptOutType="stop"), OptedOut(**SM1, wish="stop")),
    row(
        "a reaction",
        chat(Body="👍", MessageType="reaction", OriginalRepliedMessageSid="SM0"),
        Reacted(id="SM1", channel=THEM, account=WHATSAPP, message_id="SM0", emoji="👍"),
    ),
    *(
        row(name, report(name), status(name))
        for name in ("accepted", "scheduled", "queued", "sending", "sent", "delivered", "read", "tomorrow")
    ),
    row("a canceled message", report("canceled"), status("failed")),
    *(
        failed(name, code)
        for name, code in (
            ("undelivered", "30003"),
            ("undelivered", "30005"),
            ("failed", "21610"),
            ("failed", "30007"),
            ("undelivered", "63016"),
        )
    ),
    row(
        "a failure in words",
        report("failed", ErrorCode="63024", ErrorMessage="Invalid recipient"),
        status("failed", code="63024", reason="Invalid recipient"),
    ),
    row(
        "a failure by WhatsApp",
        report("failed", From=WHATSAPP, To="whatsapp:+16505550001", ChannelStatusMessage="Refused"),
        StatusChanged(
            id="SM1/failed", channel=THEM, account=WHATSAPP, message_id="SM1", status="failed", reason="Refused"
        ),
    ),
    row("a report with the former name of its id", report("sent", MessageSid=None), status("sent")),
    row(
        "a report without a member",
        report("sent", To=None),
        StatusChanged(id="SM1/sent", account=ACCOUNT, message_id="SM1", status="sent"),
    ),
    row(
        "a call",
        {"CallSid": "CA1", "From": "+16505550001", "To": ACCOUNT, "CallStatus": "ringing"},
        Called(id="CA1/ringing", channel=YOU, account=ACCOUNT, call_id="CA1", status="ringing"),
    ),
    row(
        "the end of a call",
        {"CallSid": "CA1", "From": "+16505550001", "To": ACCOUNT, "CallStatus": "completed"},
        Called(id="CA1/completed", channel=YOU, account=ACCOUNT, call_id="CA1", status="completed"),
    ),
    row(
        "an event of another product",
        {"EventType": "onMessageAdded", "ConversationSid": "CH1"},
        OtherFact(id="onMessageAdded", kind="onMessageAdded"),
    ),
    row(
        "an error",
        {"Sid": "NO1", "ErrorCode": "11200", "Level": "ERROR"},
        OtherFact(id="NO1", kind="error", code="11200"),
    ),
]

UNREADABLE = [
    row("no id", form(MessageSid=None), "message MessageSid: is missing"),
    row("no id at all", form(MessageSid=None, SmsSid=None), "message MessageSid: is missing"),
    row("an empty id", form(MessageSid=""), "message id: is empty; every message needs one"),
    row("no sender", form(From=None), "message From: is missing"),
    row("an empty sender", form(From="+"), "message channel identifier: is empty; every message needs one"),
    row("no receiver", form(To=None), "message To: is missing"),
    row("no words", form(Body=None), "message Body: is missing"),
    row("an id of 10 kB", form(MessageSid="x" * 10_000), "message id: has 10000 characters, the limit is 512"),
]
ROWS = [*SAID, *TOLD, *UNREADABLE]


def parse(body: Any) -> Any:
    """Parse a form."""
    return lambda: sms.parse(urlencode(body).encode())


@pytest.mark.parametrize("each", ROWS, ids=lambda each: each.name)
def test_each_row_of_the_table(each: Row) -> None:
    """A form is said, told or unreadable, and a bot gets all that it holds."""
    assert got(parse(each.body)) == each.got


def test_the_table_is_long_enough() -> None:
    """The table has at least sixty rows that differ."""
    assert len(ROWS) >= 60
    assert len({each.name for each in ROWS}) == len(ROWS)


def test_each_file_of_a_message_is_a_message_of_its_own() -> None:
    """The files of one MMS are messages with ids of their own, the same ones when Twilio sends the form again."""
    told = media(*["image/jpeg"] * 12)
    first, again = (parse(told)().messages for _ in range(2))
    assert [message.id for message in first] == ["SM1", *(f"SM1/{number}" for number in range(1, 10))]
    assert first == again


@given(
    st.sampled_from(ROWS).flatmap(
        lambda each: st.tuples(st.just(each), st.sampled_from(sorted(each.body)), st.none() | st.text(max_size=20))
    )
)
def test_a_broken_form_is_never_of_another_class(case: tuple[Row, str, str | None]) -> None:
    """A form with any field replaced or left out makes no crash, and what is told does not become a word of a member.

    The fields that name the kind of a form make another form of it, so they are left as they are.
    """
    each, name, value = case
    body = {**each.body, name: value} if value is not None else {k: v for k, v in each.body.items() if k != name}
    found = classes(parse(body))
    if name not in ("OptOutType", "MessageType", "MessageStatus", "CallSid", "EventType", "ErrorCode"):
        assert ("said" in found) <= ("said" in classes(parse(each.body)) or each in UNREADABLE)


def test_no_repr_shows_who_it_is_about() -> None:
    """The `repr` of a delivery shows no number of a member and none of their words."""
    for each in ROWS:
        try:
            shown = repr(parse(each.body)())
        except ValueError as error:
            shown = str(error)
        assert not [secret for secret in ("16505550001", "Pat", "10 USD", "Mhoroi") if secret in shown], each.name
