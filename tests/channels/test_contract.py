"""The contract that every channel obeys: it verifies, parses, renders and sends.

A channel is held to the published rules of its vendor (`payload_rules.py`), and to the models of libraries where they
are installed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.channels import payload_rules
from tests.channels.strategies import NOW, any_reply, texts
from vimbiso_fsm.channels import ChannelFormat, Delivery, rest, sms, telegram, web, whatsapp
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import (
    Button,
    Buttons,
    ContactRequest,
    File,
    LocationRequest,
    Media,
    Reply,
    Template,
    Text,
    WebLink,
)

URL = "https://bot.example.org/hook?a=1"
SECRET = "5ecret-of-the-channel"
ADDRESSES = st.sampled_from(["https://x.example/a.png", "http://x.example/b", "file-id", "é" * 40])
PLACES = st.sampled_from(["", " ", "Shop", "\n", "a\nb"])
rich_replies: st.SearchStrategy[Reply] = st.one_of(
    st.builds(Media, st.sampled_from(["image", "audio", "video", "sticker"]), ADDRESSES, texts),
    st.builds(File, ADDRESSES, st.sampled_from(["", "a.pdf", "é" * 300, "\n", "a\tb"]), texts),
    st.builds(WebLink, texts, st.just("https://x.example/pay"), texts),
    st.builds(LocationRequest, texts, texts),
    st.builds(ContactRequest, texts, texts),
    st.builds(Location, st.just(-17.8), st.just(31.0), PLACES, PLACES),
    st.builds(Template, st.just("seat"), texts, st.lists(st.sampled_from(["", "Ada", "<b>"]), max_size=3).map(tuple)),
)
MARKS = Buttons(Text("1 < 2 & <b>Ada_Lovelace</b> *5* [a](b)"), (Button("yes", "_Yes_"), Button("no", "<No")))


@attrs.frozen
class Subject:
    """A channel under test.

    Attributes:
        format: The module of the channel.
        member: A member on the channel.
        rule: The published rule of its payloads.
        sign: Returns the headers of a request with a body.
        body: The body of a webhook request.
        is_signed: Whether the body is part of what is signed.
    """

    format: ChannelFormat
    member: Channel
    rule: payload_rules.Rule
    sign: Callable[[bytes], Mapping[str, str]]
    body: bytes
    is_signed: bool = True


def _meta(raw: bytes) -> Mapping[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()}


def _twilio(raw: bytes) -> Mapping[str, str]:
    fields = dict(each.split("=") for each in raw.decode().split("&"))
    signed = URL + "".join(name + fields[name] for name in sorted(fields))
    return {
        "X-Twilio-Signature": base64.b64encode(hmac.new(SECRET.encode(), signed.encode(), "sha1").digest()).decode()
    }


class Rest:
    """The REST channel at the instant of the tests."""

    parse, render = staticmethod(rest.parse), staticmethod(rest.render)

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str, *, secret: str) -> bool:
        """Return whether a request is signed."""
        return rest.verify(headers, raw, url, secret=secret, now=NOW)


VISITOR = Channel("web", "Yx3-visitor_0123456789")


class Web:
    """The web chat, at the instant of the tests, with one visitor."""

    render = staticmethod(web.render)

    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """Read a frame of the visitor."""
        return web.parse(body, VISITOR, now=now)

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str, *, secret: str) -> bool:
        """Return whether a request has the cookie of a visitor."""
        return web.verify(headers, raw, url, secret=secret, now=NOW)


def _cookie(raw: bytes) -> Mapping[str, str]:
    return {"Cookie": f"vimbiso-chat={web.sign(VISITOR.identifier, secret=SECRET, at=int(NOW.timestamp()))}"}


_FORM = b"MessageSid=SM1&From=16505550001&To=16505550002&Body=hi"
SUBJECTS = {
    "whatsapp": Subject(
        whatsapp,
        Channel("whatsapp", "263771000001"),
        payload_rules.whatsapp,
        _meta,
        b'{"object": "whatsapp_business_account", "entry": []}',
    ),
    "telegram": Subject(
        telegram,
        Channel("telegram", "11", {"reply_to": {"topic": 5, "business": "b1"}}),
        payload_rules.telegram,
        lambda raw: {"X-Telegram-Bot-Api-Secret-Token": SECRET},
        b'{"update_id": 1}',
        is_signed=False,
    ),
    "rest": Subject(
        Rest(),
        Channel("rest", "ada"),
        payload_rules.rest,
        lambda raw: {"X-Vimbiso-Signature": rest.sign(raw, secret=SECRET, at=int(NOW.timestamp()))},
        b'{"sender": "ada", "id": "1", "text": "hi"}',
    ),
    "web": Subject(
        Web(), VISITOR, payload_rules.rest, _cookie, b'{"type": "say", "id": "1", "text": "hi"}', is_signed=False
    ),
    "sms": Subject(sms, Channel("sms", "263771000001"), payload_rules.twilio, _twilio, _FORM),
    "twilio-whatsapp": Subject(sms, Channel("whatsapp", "263771000001"), payload_rules.twilio, _twilio, _FORM),
}
each_channel = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS.keys())


# verify


@each_channel
def test_the_request_of_the_channel_is_accepted_whatever_the_case_of_its_headers(subject: Subject) -> None:
    """A request that the channel has signed is accepted, with the names of its headers in any case."""
    headers = subject.sign(subject.body)
    for spelled in (headers, {name.lower(): value for name, value in headers.items()}):
        assert subject.format.verify({**spelled, "Host": "bot"}, subject.body, URL, secret=SECRET)


@each_channel
def test_no_other_request_is_accepted(subject: Subject) -> None:
    """A request without its proof, with another one, or with another secret is refused; so is one without a secret."""
    ((name, proof),) = subject.sign(subject.body).items()

    def accepts(headers: Mapping[str, str], secret: str = SECRET) -> bool:
        return subject.format.verify(headers, subject.body, URL, secret=secret)

    assert not accepts({})
    for other in ("", proof[:-1], proof + "0", proof.swapcase(), proof + "\n", "\ud800", "é", f"{proof},{proof}"):
        assert not accepts({name: other})
    for place in range(0, len(proof), 7):
        assert not accepts({name: f"{proof[:place]}{chr(ord(proof[place]) ^ 1)}{proof[place + 1 :]}"})
    assert not accepts({name: proof}, secret="")
    assert not accepts({name: ""}, secret="")
    assert not accepts({name: proof}, secret=SECRET[:-1])


@each_channel
def test_a_proof_that_is_given_twice_is_none(subject: Subject) -> None:
    """A header that counts and stands twice in a request is refused: two readers could take another one each."""
    ((name, proof),) = subject.sign(subject.body).items()
    assert not subject.format.verify({name: proof, name.lower(): proof}, subject.body, URL, secret=SECRET)


@each_channel
def test_the_proof_of_another_body_is_refused(subject: Subject) -> None:
    """A signature counts for the exact bytes of its body."""
    headers = subject.sign(subject.body)
    for raw in (subject.body + b" ", subject.body[:-1], b"", subject.body.replace(b"1", b"2")):
        assert subject.format.verify(headers, raw, URL, secret=SECRET) is not (
            subject.is_signed and raw != subject.body
        )


@each_channel
def test_a_secret_is_compared_in_constant_time(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison with the proof of a request is made by `hmac.compare_digest`."""
    compared: list[bytes] = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append(given)
        return False

    monkeypatch.setattr("hmac.compare_digest", compare)
    headers = subject.sign(subject.body)
    assert not subject.format.verify(headers, subject.body, URL, secret=SECRET)
    (proof,) = headers.values()
    assert proof.encode() in compared


# parse


@each_channel
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(subject: Subject, raw: bytes) -> None:
    """Any bytes are a delivery, or are refused with `InvalidMessage`."""
    with suppress(InvalidMessage):
        assert isinstance(subject.format.parse(raw, now=NOW), Delivery)


# render


@each_channel
@given(replies=st.lists(any_reply | rich_replies, max_size=3))
@example(replies=[MARKS])
def test_each_payload_obeys_the_published_rules(subject: Subject, replies: Sequence[Reply]) -> None:
    """Each payload of any replies obeys the rules of the vendor, and can be written as JSON."""
    for payload in subject.format.render(subject.member, replies):
        assert [*subject.rule(payload)] == [], payload
        json.dumps(payload, allow_nan=False).encode()


@each_channel
@given(replies=st.lists(any_reply | rich_replies, max_size=3))
def test_replies_are_rendered_one_by_one_in_order(subject: Subject, replies: Sequence[Reply]) -> None:
    """The payloads of replies are those of each one, in their order."""
    alone = [payload for reply in replies for payload in subject.format.render(subject.member, [reply])]
    assert subject.format.render(subject.member, replies) == alone


# The models of libraries


def _aiogram(payload: Mapping[str, Any]) -> Any:
    """Return the method of aiogram that a payload is for."""
    methods = pytest.importorskip("aiogram.methods", reason="aiogram is not installed")
    name = payload.get("method", "sendMessage")
    method = getattr(methods, name[0].upper() + name[1:])
    return method(**{key: value for key, value in payload.items() if key != "method"})


@given(replies=st.lists(any_reply | rich_replies, max_size=3))
@example(replies=[MARKS])
def test_aiogram_takes_each_payload_and_marks_nothing(replies: Sequence[Reply]) -> None:
    """Aiogram takes each payload as a method with known fields, and no default of the bot marks up its words."""
    pytest.importorskip("aiogram", reason="aiogram is not installed")
    for payload in telegram.render(SUBJECTS["telegram"].member, replies):
        method = _aiogram(payload)
        assert not method.model_extra
        if "text" in payload or "caption" in payload:
            assert method.parse_mode is None


def test_a_parse_mode_of_the_bot_would_mark_words_up_without_this() -> None:
    """Aiogram fills in the default of its bot where a payload names no parse mode."""
    pytest.importorskip("aiogram", reason="aiogram is not installed")
    default = importlib.import_module("aiogram.client.default")
    assert isinstance(_aiogram({"chat_id": 1, "text": "a"}).parse_mode, default.Default)
