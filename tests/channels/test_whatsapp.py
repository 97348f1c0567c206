"""WhatsApp: webhook bodies in, Cloud API payloads out, and the recorded transcript."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.channels.strategies import NOW, any_json, any_reply, broken, reachable, says_all
from tests.transcripts import make_whatsapp
from vimbiso_fsm.channels import ChannelFormat, Delivery, Note, whatsapp
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row, Text

ADA = Channel("whatsapp", "263771000001")
HI: dict[str, Any] = {
    "from": "263771000001",
    "id": "wamid.1",
    "timestamp": "1760000000",
    "type": "text",
    "text": {"body": "hi"},
}


def webhook(*messages: Any, **value: Any) -> dict[str, Any]:
    """Return the body of a webhook with the given messages."""
    told = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "263780000000", "phone_number_id": "106540352242922"},
        "contacts": [{"profile": {"name": " Ada \n L."}, "wa_id": "263771000001"}],
        "messages": list(messages),
        **value,
    }
    entry = {"id": "1", "changes": [{"field": "messages", "value": told}]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def parsed(body: Any, now: datetime | None = NOW) -> Delivery:
    """Parse the body of a webhook."""
    return whatsapp.parse(json.dumps(body).encode(), now=now)


def said(**changes: Any) -> dict[str, Any]:
    """Return a text message with fields changed, or left out where the change is None."""
    return {name: value for name, value in (HI | changes).items() if value is not None}


# Webhook bodies


def test_a_typed_text():
    """A text message has the sender's number and name, the id, the account and the time."""
    (message,) = parsed(webhook(HI)).messages
    assert (message.channel, message.id, message.text, message.choice) == (
        Channel("whatsapp", "263771000001", {"name": "Ada L.", "account": message.account}),
        "wamid.1",
        "hi",
        None,
    )
    assert (message.kind, message.account) == ("text", "106540352242922")
    assert message.sent_at == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "choice"),
    [
        (
            {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "a.1.yes"}}},
            "a.1.yes",
        ),
        ({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "row"}}}, "row"),
        ({"type": "button", "button": {"payload": "yes", "text": "Yes!"}}, "yes"),
    ],
)
def test_a_pressed_button_or_row(content, choice):
    """A pressed button or row is a choice."""
    (message,) = parsed(webhook(said(**content))).messages
    assert (message.choice, message.text) == (choice, None)


def test_a_type_that_is_no_name_is_unsupported():
    """A type that is no short identifier is not repeated: the kind is "unsupported"."""
    assert parsed(webhook(said(type="a new\ntype"))).messages[0].kind == "unsupported"


def test_every_message_of_a_batch_is_handled_in_order():
    """All messages of a body are read in order, over its entries and changes."""
    body = webhook(said(id="1"), said(id="2"))
    body["entry"][0]["changes"] += webhook(said(id="3"))["entry"][0]["changes"]
    body["entry"] += webhook(said(id="4"), said(id="5"))["entry"]
    assert [message.id for message in parsed(body).messages] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (said(id=None), "message id: is missing"),
        (said(id=""), "message id: is empty; every message needs one"),
        (said(id="a\nb"), "message id: holds control characters"),
        (said(**{"from": None}), "message from: is missing"),
        (said(**{"from": 263771000001}), "message from: must be text, not int"),
        (said(type=None), "message type: is missing"),
        (said(text=None), "message text.body: is missing"),
        (said(text={"body": 5}), "message text.body: must be text, not int"),
        (said(type="interactive"), "message interactive.type: is missing"),
        (said(type="interactive", interactive={"type": "list_reply"}), "message interactive.list_reply.id: is missing"),
        (said(type="button", button={"text": "Yes"}), "message button.payload: is missing"),
        ("hi", "message part: must be an object, not str"),
    ],
)
def test_a_broken_message_is_a_fault_and_the_rest_is_handled(bad, fault):
    """A broken message is a fault of the delivery, and the others are read."""
    delivery = parsed(webhook(said(id="1"), bad, said(id="2")))
    assert [message.id for message in delivery.messages] == ["1", "2"]
    assert delivery.faults == (Note("entry[0].changes[0].value.messages[1]", fault),)


def test_statuses_are_counted():
    """Status reports are counted and are no messages."""
    delivery = parsed(webhook(statuses=[{"id": "wamid.9", "status": status} for status in ("sent", "read")]))
    assert (delivery.statuses, delivery.messages, len(delivery.events), delivery.faults) == (2, (), 2, ())


@pytest.mark.parametrize(
    "contacts",
    [
        None,
        "Ada",
        [5],
        [{}],
        [{"profile": {"name": "Ada"}, "wa_id": 5}],
        [{"profile": {"name": " "}, "wa_id": ADA.identifier}],
    ],
)
def test_a_message_needs_no_name_of_its_sender(contacts):
    """A message without contacts, or with broken ones, is read without a name."""
    (message,) = parsed(webhook(HI, contacts=contacts)).messages
    assert message.channel.metadata == {"account": message.account}


def test_a_broken_contact_removes_no_other_name():
    """A broken contact does not remove the names of the others."""
    contacts = [{"wa_id": "1"}, {"profile": {"name": "A" * 200 + "\ud800"}, "wa_id": ADA.identifier}]
    (message,) = parsed(webhook(HI, contacts=contacts)).messages
    assert message.channel.metadata == {"name": "A" * 99 + "…", "account": message.account}


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        "",
        "soon",
        "١٧٦٠٠٠٠٠٠٠",
        "-1760000000",
        "1760000000.5",
        "0",
        "9" * 400,
        1e308,
        True,
        [],
        str(int((NOW + timedelta(days=1)).timestamp())),
    ],
)
def test_a_time_that_is_nonsense_or_to_come_is_kept_out(timestamp):
    """A time that is wrong or in the future is not used."""
    (message,) = parsed(webhook(said(timestamp=timestamp))).messages
    assert message.sent_at is None


def test_no_time_is_believed_without_a_clock():
    """Without `now` no time of a message is used."""
    assert parsed(webhook(HI), now=None).messages[0].sent_at is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"hi", "body"),
        (b"\xff\xfe\x00", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"object": NaN}', "body"),
        (b'{"a": 1, "a": 2}', "body"),
        (b"[" * 200_000, "body"),
        (b'{"entry":' * 200_000, "body"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "body"),
        (b"{}", "object"),
        (b'{"object": "page", "entry": []}', "object"),
        (b'{"object": "whatsapp_business_account"}', "entry"),
        (b'{"object": "whatsapp_business_account", "entry": {}}', "entry"),
    ],
)
def test_a_body_that_is_no_webhook_is_refused(body, field):
    """A body that is no WhatsApp webhook is refused."""
    with pytest.raises(InvalidMessage) as raised:
        whatsapp.parse(body)
    assert raised.value.field == field


def test_a_megabyte_of_text_is_read():
    """A long text is read whole."""
    (message,) = parsed(webhook(said(text={"body": "a" * 1_000_000}))).messages
    assert message.text is not None
    assert len(message.text) == 1_000_000


@given(st.binary() | any_json.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(body):
    """Any bytes are read or refused with `InvalidMessage`."""
    with suppress(InvalidMessage):
        whatsapp.parse(body, now=NOW)


PRESSED = said(type="interactive", interactive={"type": "button_reply", "button_reply": {"id": "yes"}})


@given(broken(webhook(HI, PRESSED, statuses=[{"status": "sent"}])))
def test_any_broken_webhook_is_read_or_refused(body):
    """A webhook with any part replaced is read or refused with `InvalidMessage`."""
    try:
        delivery = whatsapp.parse(body, now=NOW)
    except InvalidMessage:
        return
    assert len(delivery.messages) <= 2


def test_an_error_does_not_quote_the_member():
    """Faults and errors do not quote the words of a member."""
    with pytest.raises(InvalidMessage) as raised:
        whatsapp.parse(b'{"body": "my secret"')
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert "secret" not in str(raised.value)


# Signatures and the challenge


def test_only_the_holder_of_the_app_secret_can_sign():
    """Only a signature with the app secret over the exact body is accepted."""
    body = json.dumps(webhook(HI)).encode()
    signature = "sha256=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    name = "X-Hub-Signature-256"
    assert whatsapp.verify({name: signature}, body, secret="secret")
    for header in ("", "sha256=", signature[:-1], signature.removeprefix("sha256="), "sha256=é", "\ud800"):
        assert not whatsapp.verify({name: header}, body, secret="secret")
    assert not whatsapp.verify({"X-Hub-Signature": signature}, body, secret="secret")
    assert not whatsapp.verify({name: signature}, body + b" ", secret="secret")
    assert not whatsapp.verify({name: signature}, body, secret="other")
    unset = "sha256=" + hmac.new(b"", body, hashlib.sha256).hexdigest()
    assert not whatsapp.verify({name: unset}, body, secret="")


def test_the_challenge_is_returned_for_the_right_token_only():
    """The challenge is returned only with the right verify token."""
    params = {"hub.mode": "subscribe", "hub.verify_token": "token", "hub.challenge": "1158201444"}
    assert whatsapp.verify_subscription(params, "token") == "1158201444"
    assert whatsapp.verify_subscription(params, "other") is None
    assert whatsapp.verify_subscription(params | {"hub.verify_token": ""}, "") is None
    assert whatsapp.verify_subscription(params | {"hub.mode": "unsubscribe"}, "token") is None
    assert whatsapp.verify_subscription({}, "token") is None


# Payloads


def test_a_text():
    """A text is sent as a text message without a link preview."""
    assert whatsapp.render(ADA, [Text("Welcome.")]) == [
        {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": "263771000001",
            "type": "text",
            "text": {"preview_url": False, "body": "Welcome."},
        }
    ]


def test_up_to_three_buttons():
    """Up to three buttons are buttons."""
    (payload,) = whatsapp.render(ADA, [Buttons(Text("Send it?"), (Button("yes", "Yes"), Button("no", "No")))])
    assert payload["interactive"] == {
        "type": "button",
        "body": {"text": "Send it?"},
        "action": {
            "buttons": [
                {"type": "reply", "reply": {"id": "yes", "title": "Yes"}},
                {"type": "reply", "reply": {"id": "no", "title": "No"}},
            ]
        },
    }


def test_more_buttons_are_a_list():
    """More than three buttons are a list."""
    (payload,) = whatsapp.render(ADA, [Buttons(Text("Which?"), tuple(Button(c, c) for c in "abcd"))])
    assert payload["interactive"]["type"] == "list"


def test_a_list():
    """A menu is a list with one section."""
    menu = Menu(Text("Offers"), (Row("a", "Alan Turing", Text("5.00 USD")), Row("b", "Ada, Countess of Lovelace")))
    (payload,) = whatsapp.render(ADA, [menu], list_button="Choose one of the offers")
    assert payload["interactive"]["action"] == {
        "button": "Choose one of the o…",
        "sections": [
            {
                "rows": [
                    {"id": "a", "title": "Alan Turing", "description": "5.00 USD"},
                    {"id": "b", "title": "Ada, Countess of Lovela…", "description": "Ada, Countess of Lovelace"},
                ]
            }
        ],
    }


def test_fifteen_offers_with_long_names():
    """More options than a list holds are numbered text."""
    menu = Menu(Text("Offers"), tuple(Row(str(n), f"An offer from somebody, {n}") for n in range(15)))
    (payload,) = whatsapp.render(ADA, [menu])
    assert payload["text"]["body"].splitlines()[15] == "15. An offer from somebody, 14"
    (payload,) = whatsapp.render(ADA, [Menu(menu.body, menu.rows[:10])])
    rows = payload["interactive"]["action"]["sections"][0]["rows"]
    assert [row["title"] for row in rows][8:] == ["9. An offer from somebo…", "10. An offer from someb…"]


@pytest.mark.parametrize(
    ("id", "kind"), [("i" * 256, "interactive"), ("i" * 257, "text"), (" i", "text"), ("", "text"), ("\ud800", "text")]
)
def test_an_id_that_no_button_can_carry_becomes_a_number(id, kind):
    """Options whose ids WhatsApp does not return unchanged are numbered text."""
    (payload,) = whatsapp.render(ADA, [Buttons(Text("Send it?"), (Button(id, "Yes"), Button("no", "No")))])
    assert payload["type"] == kind
    assert kind == "interactive" or payload["text"]["body"] == "Send it?\n1. Yes\n2. No"


def test_a_row_id_is_shorter():
    """A row whose id is over the limit of rows is numbered text."""
    (payload,) = whatsapp.render(ADA, [Menu(Text("Which?"), (Row("i" * 201, "One"),))])
    assert payload["type"] == "text"


def test_a_long_question_goes_ahead_of_its_buttons():
    """A question that is too long is sent ahead; its end stands with the options."""
    body = "First paragraph. " * 100 + "\n\n" + "Send it? " * 20
    first, last = whatsapp.render(ADA, [Buttons(Text(body), (Button("yes", "Yes"),))])
    assert first["text"]["body"].startswith("First paragraph.")
    assert last["interactive"]["body"]["text"].endswith("Send it?")


def test_nothing_is_sent_for_a_reply_without_words():
    """A reply without words and options is left out."""
    assert whatsapp.render(ADA, [Text(" \n"), Menu(Text(""), ())]) == []
    (payload,) = whatsapp.render(ADA, [Buttons(Text(""), (Button("yes", "Yes"),))])
    assert payload["text"]["body"] == "1. Yes"


@given(any_reply)
@example(Buttons(Text("Which?"), (Button("a", "👩🏽‍🚀" * 9), Button("b", "👩🏽‍🚀" * 9))))
def test_any_reply_fits_and_keeps_its_options(reply):
    """Any reply is within the limits and keeps all its options."""
    payloads = whatsapp.render(ADA, [reply])
    json.dumps(payloads, ensure_ascii=False).encode()
    shown: list[str] = []
    said = [LIMITS[payload["type"]](payload[payload["type"]], shown) for payload in payloads]
    assert says_all(reply, said)
    assert reachable(reply, shown, said)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _check_text(content: dict[str, Any], _: list[str]) -> str:
    body: str = content["body"]
    assert 1 <= _units(body.strip()) <= 4096
    return body


def _check_interactive(content: dict[str, Any], shown: list[str]) -> str:
    action: dict[str, Any] = content["action"]
    body: str = content["body"]["text"]
    if content["type"] == "button":
        options, title, id = [button["reply"] for button in action["buttons"]], 20, 256
        assert 1 <= len(options) <= 3
    else:
        options, title, id = [row for section in action["sections"] for row in section["rows"]], 24, 200
        assert 1 <= len(options) <= 10
        assert 1 <= _units(action["button"]) <= 20
    assert 1 <= _units(body.strip()) <= 1024
    assert all(1 <= _units(option["title"].strip()) <= title for option in options)
    assert all(1 <= _units(option["id"]) <= id for option in options)
    assert all(1 <= _units(option.get("description", "-")) <= 72 for option in options)
    for name in ("id", "title"):
        assert len({option[name] for option in options}) == len(options)
    shown += [option["id"] for option in options]
    return body


LIMITS: dict[str, Callable[[dict[str, Any], list[str]], str]] = {"text": _check_text, "interactive": _check_interactive}


def test_the_module_is_a_channel_format():
    """The module is a `ChannelFormat`."""
    channel_format: ChannelFormat = whatsapp
    assert channel_format.render(ADA, []) == []


# The transcript


def recorded() -> list[dict[str, Any]]:
    """Return the recorded replies."""
    return [json.loads(line) for line in make_whatsapp.FILE.read_text(encoding="utf-8").splitlines()]


def test_the_stored_transcript_is_that_of_its_script(tmp_path, monkeypatch, capsys):
    """The stored transcript is what its script generates."""
    assert make_whatsapp.main(["--check"]) == 0
    monkeypatch.setattr(make_whatsapp, "FILE", tmp_path / "other.jsonl")
    assert make_whatsapp.main(["--check"]) == 1
    assert "not current" in capsys.readouterr().err
    assert make_whatsapp.main([]) == 0
    assert make_whatsapp.main(["--check"]) == 0


def test_the_transcript_is_read_without_a_fault():
    """Every body of the transcript is read without a fault."""
    deliveries = [parsed(body) for body in recorded()]
    assert len(deliveries) >= 45
    assert not [fault for delivery in deliveries for fault in delivery.faults]
    messages = [message for delivery in deliveries for message in delivery.messages]
    assert len({message.channel.identifier for message in messages}) == 5
    assert {message.kind for message in messages} >= {"text", "image", "sticker", "unsupported", "hologram"}
    assert all(message.sent_at for message in messages)
    ids = [message.id for message in messages]
    assert len(ids) - len(set(ids)) == 5  # one body of one message, one of three, and the very first
    assert sum(delivery.statuses for delivery in deliveries) == 7
    assert sum(len(delivery.events) - delivery.statuses for delivery in deliveries) == 2  # a notice and a reaction


def test_the_transcript_holds_batches_and_a_message_that_comes_late():
    """The transcript contains batches and a message that arrives late."""
    deliveries = [parsed(body) for body in recorded()]
    assert max(len(delivery.messages) for delivery in deliveries) == 3
    assert any(len({m.channel.address for m in delivery.messages}) == 2 for delivery in deliveries)
    first_seen = dict.fromkeys((m.id, m.sent_at) for delivery in deliveries for m in delivery.messages)
    times = [sent_at for _, sent_at in first_seen if sent_at]
    assert sum(later < earlier for earlier, later in pairwise(times)) == 1


def test_a_parsed_body_is_not_changed_by_reading_it_again():
    """The same body gives the same messages every time."""
    body = webhook(HI)
    assert parsed(copy.deepcopy(body)) == parsed(body)


@pytest.mark.parametrize(
    ("told", "identifier", "names"),
    [
        ({"from": "16505550001"}, "16505550001", ["16505550001"]),
        ({"from": "16505550001", "from_user_id": "US.1"}, "16505550001", ["16505550001", "US.1"]),
        ({"from": "", "from_user_id": "US.1", "from_parent_user_id": "US.9"}, "US.1", ["US.1", "US.9"]),
        ({"from_parent_user_id": "US.9"}, "US.9", ["US.9"]),
        ({"from": "16505550001", "from_user_id": [], "from_parent_user_id": ""}, "16505550001", ["16505550001"]),
    ],
)
def test_a_speaker_has_all_the_names_that_are_told(told: dict[str, Any], identifier: str, names: list[str]):
    """The number is the identifier where it is told, the ids are further names, and a broken one is left out."""
    said = {**told, "id": "wamid.A", "timestamp": "1758000000", "type": "text", "text": {"body": "hi"}}
    value = {"metadata": {"phone_number_id": "1001"}, "messages": [said]}
    body = {
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}],
    }
    [message] = whatsapp.parse(json.dumps(body).encode()).messages
    assert message.channel.identifier == identifier
    assert [each.identifier for each in message.channel.names] == names
    assert {each.account for each in message.channel.names} == {"1001"}


@pytest.mark.parametrize("told", [None, "x", [1, "", "a\x00b", None, "x" * 513], {"a": 1}, ["US.1"] * 50])
def test_names_that_are_none_are_left_out(told: Any):
    """Only texts that can be an address count as further names, each once, and only a few of them."""
    found = Channel("whatsapp", "1", {"names": told}).names
    assert [each.identifier for each in found] == (["1", "US.1"] if told == ["US.1"] * 50 else ["1"])
    many = Channel("whatsapp", "1", {"names": [f"US.{number}" for number in range(50)]})
    assert len(many.names) == 5
