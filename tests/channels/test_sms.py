"""SMS by Twilio: forms in, messages of at most 3 segments out."""

from __future__ import annotations

import base64
import hmac
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.channels.strategies import NOW, any_reply, bare, reachable
from vimbiso_fsm.channels import ChannelFormat, sms
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row, Text

ADA = Channel("sms", "263771000001")
FIELDS = {
    "MessageSid": "SM9f",
    "AccountSid": "AC1",
    "From": "+263771000001",
    "To": "+263780000000",
    "Body": "10 USD",
    "NumMedia": "0",
}


def body(**changes: str | None) -> bytes:
    """Return the form that Twilio sends, with fields changed, or left out where the change is None."""
    fields: dict[str, Any] = {**FIELDS, **changes}
    return urlencode({name: value for name, value in fields.items() if value is not None}).encode()


def test_a_text():
    """A text message has the sender's digits, Twilio's id and the bot's number."""
    (said,) = sms.parse(body(Body="10 USD für alan ✓"), now=NOW).messages
    assert (said.channel, said.id, said.text) == (ADA.with_account(said.account), "SM9f", "10 USD für alan ✓")
    assert (said.account, said.sent_at, said.kind) == ("+263780000000", None, "text")


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"Body": "", "NumMedia": "1", "MediaContentType0": "image/jpeg"}, "image", None),
        ({"Body": " ", "NumMedia": "1", "MediaContentType0": "application/pdf"}, "document", None),
        ({"Body": "look", "NumMedia": "1", "MediaContentType0": "image/jpeg"}, "image", "look"),
        ({"Body": "", "NumMedia": None}, "text", ""),
    ],
)
def test_pictures(changes, kind, text):
    """A message without text is of the kind of its first attachment."""
    (said,) = sms.parse(body(**changes)).messages
    assert (said.kind, said.text) == (kind, text)


def test_a_status_callback_is_counted():
    """A status report is counted and is no message."""
    delivery = sms.parse(body(Body=None, MessageStatus="delivered"))
    assert (delivery.messages, delivery.statuses) == ((), 1)


@pytest.mark.parametrize(
    ("given_body", "field"),
    [
        (b"{}", "body"),
        (b"\xff=1", "body"),
        (b"Body=%ff", "body"),
        (b"&".join(b"a%d=1" % n for n in range(1001)), "body"),
        (body() + b"&Body=other", "body"),
        (body(MessageSid=None), "MessageSid"),
        (body(MessageSid=""), "id"),
        (body(From=None), "From"),
        (body(From="+"), "channel identifier"),
        (body(To=None), "To"),
        (body(Body=None), "Body"),
    ],
)
def test_a_broken_form_is_refused(given_body, field):
    """A body that is no complete form is refused, and the error names the field."""
    with pytest.raises(InvalidMessage) as raised:
        sms.parse(given_body)
    assert raised.value.field == field


@given(
    st.binary()
    | st.dictionaries(st.sampled_from(list(FIELDS)) | st.text(), st.text()).map(lambda d: urlencode(d).encode())
)
def test_any_bytes_are_read_or_refused(given_body):
    """Any bytes are read or refused with `InvalidMessage`."""
    with suppress(InvalidMessage):
        sms.parse(given_body)


URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FORM = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
JSON = b'{"property": "value", "boolean": true}'
JSON_URL = f"{URL}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
SIGNED = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def is_signed(signature: str | None, raw: bytes = FORM, url: str = URL, secret: str = "12345", **more: str) -> bool:
    """Return whether a request with a signature of Twilio is accepted."""
    headers = {**({} if signature is None else {"X-Twilio-Signature": signature}), **more}
    return sms.verify(headers, raw, url, secret=secret)


@pytest.mark.parametrize(
    ("url", "raw", "signature"),
    [
        (URL, FORM, SIGNED),
        (URL.replace(".com", ".com:1234"), FORM, SIGNED),  # behind a proxy with another port
        (URL.replace("https", "http").replace(".com", ".com:1234"), FORM, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
        (URL, FORM, "kvajT1Ptam85bY51eRf/AJRuM3w="),  # signed with :443
        (URL.replace("https", "http"), FORM, "0ZXoZLH/DfblKGATFgpif+LLRf4="),  # signed with :80
        (URL, b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234", "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (URL, b"Digits=1234&SidAccount=AC123&Digits=5678&Digits=1234&Sid=CA123", "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (JSON_URL, JSON, "a9nBmqA0ju/hNViExpshrM61xv4="),
    ],
    ids=["example", "port", "http-port", "signed-443", "signed-80", "twice", "twice-in-any-order", "body"],
)
def test_twilios_own_examples_of_a_signature(url: str, raw: bytes, signature: str) -> None:
    """The signatures of Twilio's own tests are accepted, and any change of the request is refused."""
    assert is_signed(signature, raw, url)
    changed = raw.replace(b"1234", b"1235") if raw != JSON else JSON.replace(b"true", b"false")
    assert not is_signed(signature, changed, url)
    assert not is_signed(signature, raw, url.replace("foo=1", "foo=2"))
    assert not is_signed(signature, raw, url, secret="12346")
    assert not is_signed(signature, raw, url, secret="")
    assert not is_signed(None, raw, url)


@pytest.mark.parametrize("url", ["https://x.example:port/", "https://[::1", "", "no url", "https://[::1]:8443/hook"])
@pytest.mark.parametrize("raw", [b"", b"Body=%ff", b"\xff", b"Body"])
def test_a_request_that_cannot_be_signed_is_refused(url: str, raw: bytes) -> None:
    """A URL or a body that is none is refused and raises nothing."""
    assert not is_signed(SIGNED, raw, url)


def test_a_signature_with_a_shared_key_needs_that_key() -> None:
    """A header with the settings of a signature is obeyed: another algorithm with the shared key, and no other one."""
    signed = URL + "".join(sorted(["CallSidCA1"]))
    signature = base64.b64encode(hmac.new(b"shared", signed.encode(), "sha256").digest()).decode()
    headers = {
        "x-twilio-signature": signature,
        "X-Twilio-Webhooks-Signature-Settings": "key=CR1,algorithm=HMAC_SHA256",
    }
    assert sms.verify(headers, b"CallSid=CA1", URL, secret="12345", shared_key="shared")
    assert not sms.verify(headers, b"CallSid=CA1", URL, secret="12345", shared_key="other")
    assert not sms.verify(headers, b"CallSid=CA1", URL, secret="shared")
    for settings in ("", "key=CR1", "key=CR1,algorithm=MD5", "algorithm"):
        other = {**headers, "X-Twilio-Webhooks-Signature-Settings": settings}
        assert not sms.verify(other, b"CallSid=CA1", URL, secret="shared", shared_key="shared")


def test_the_form_that_is_signed_is_the_form_that_is_read():
    """The signature is verified over the same fields that are parsed."""
    assert sms.form(body()) == FIELDS


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 459, 3),
        ("a" * 460, 4),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # the euro does not fit the last place of the first segment
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("👩" * 35, 1),
        ("👩" * 67, 3),
    ],
)
def test_segments(text, count):
    """A text is counted in segments as the GSM standards define them."""
    assert sms.segments(text) == count


def test_options_are_numbered():
    """Options are sent as a numbered list."""
    (payload,) = sms.render(ADA, [Buttons(Text("Send it?"), (Button("yes", "Yes"), Button("no", "No")))])
    assert payload == {"To": "+263771000001", "Body": "Send it?\n1. Yes\n2. No"}


def test_a_short_code_takes_no_plus():
    """A short code is addressed without a plus sign."""
    assert sms.render(Channel("sms", "33733"), [Text("hi")])[0]["To"] == "33733"


def test_whatsapp_by_twilio_is_whatsapp():
    """A sender with Twilio's prefix is a member on WhatsApp, and is answered there in messages without segments."""
    (said,) = sms.parse(body(From="whatsapp:+263771000001", To="whatsapp:+263780000000")).messages
    assert said.channel == Channel("whatsapp", "263771000001").with_account("whatsapp:+263780000000")
    rows = tuple(Row(str(number), f"Title {number} " + "ü" * 40, "and a description") for number in range(20))
    (first, *rest) = sms.render(said.channel, [Text("…", text="…"), Menu(Text("", text="Which?"), rows)])
    assert first == {"To": "whatsapp:+263771000001", "Body": "…"}
    assert all(len(payload["Body"]) <= 1600 for payload in rest)
    assert "20. Title 20" in rest[-1]["Body"] or "20. Title 19" in rest[-1]["Body"]


def test_typography_does_not_cost_a_segment():
    """Typographic characters are replaced by their plain forms."""
    (payload,) = sms.render(ADA, [Text("It’s “done” – all of it…")])
    assert payload["Body"] == 'It\'s "done" - all of it...'


def test_descriptions_are_left_out_before_a_fourth_segment():
    """Descriptions are left out if they would cost a fourth segment."""
    menu = Menu(Text("Offers"), tuple(Row(str(n), f"Offer {n}", Text("from somebody " * 5)) for n in range(10)))
    (payload,) = sms.render(ADA, [menu])
    assert payload["Body"].splitlines()[1] == "1. Offer 0"


def test_a_long_list_is_split_between_lines():
    """A list that is too long is split between lines, and no option is lost."""
    menu = Menu(Text("Offers"), tuple(Row(str(n), f"Offer {n} from somebody with a long name") for n in range(30)))
    bodies = [payload["Body"] for payload in sms.render(ADA, [menu])]
    assert len(bodies) > 1
    lines = [line for text in bodies for line in text.splitlines()]
    assert lines == ["Offers", *(f"{n}. Offer {n - 1} from somebody with a long name" for n in range(1, 31))]


@given(any_reply)
def test_any_reply_fits_and_keeps_its_options(reply):
    """Any reply fits into the segments and keeps all its options."""
    bodies = [payload["Body"] for payload in sms.render(ADA, [reply])]
    assert all(text.strip() and text.encode() and sms.segments(text) <= 3 for text in bodies)
    assert reachable(reply, (), bodies)


@given(st.text(st.sampled_from("ab é\n€яю🇿")))
def test_a_text_loses_nothing(text):
    """Any text is sent whole."""
    said = "".join(payload["Body"] for payload in sms.render(ADA, [Text(text * 50)]))
    assert bare(said) == bare(text * 50)


def test_the_module_is_a_channel_format():
    """The module is a `ChannelFormat`."""
    channel_format: ChannelFormat = sms
    assert channel_format.render(ADA, []) == []
