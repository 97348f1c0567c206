"""Files, locations, links, requests and templates: as each channel writes them, and in words where it has them not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.channels.strategies import any_json, bare, long_words
from vimbiso_fsm import Bot, Flow, FlowError, NoData, State, Transition, Turn
from vimbiso_fsm.channels import sms, telegram, terminal, whatsapp
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_keep, replies_to_raw
from vimbiso_fsm.errors import Unreadable, WrongCallback
from vimbiso_fsm.messages import readers
from vimbiso_fsm.messages.catalogue import Catalogue
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import (
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
from vimbiso_fsm.testing.chat import Talk

MAP, PDF, PAY = "https://x.example/map.png", "https://x.example/r.pdf", "https://x.example/pay"
SHOP = Location(-17.83, 31.05, "Shop", "1 First St")
LINK = "https://maps.google.com/?q=-17.830000,31.050000"
CATALOGUE = Catalogue.of({"map": "Here we are", "pay": "Please pay"})
ANY: Any = "Ada"
PHONE, CHAT = Channel("whatsapp", "16505550001"), Channel("telegram", "11")


def final(reply: Reply) -> Reply:
    """Return a reply with its final words."""
    return CATALOGUE.reply(reply)


def cloud(reply: Reply) -> list[Any]:
    """Return the payloads of WhatsApp without their head."""
    payloads = whatsapp.render(PHONE, [final(reply)])
    head = {"messaging_product", "recipient_type", "to"}
    return [{name: value for name, value in payload.items() if name not in head} for payload in payloads]


def api(reply: Reply) -> list[Any]:
    """Return the payloads of Telegram without their chat and their parse mode."""
    payloads = telegram.render(CHAT, [final(reply)])
    return [{name: value for name, value in each.items() if name not in ("chat_id", "parse_mode")} for each in payloads]


def asked(kind: str, words: str, action: dict[str, Any]) -> dict[str, Any]:
    """Return an interactive message of WhatsApp."""
    return {"type": "interactive", "interactive": {"type": kind, "body": {"text": words}, "action": action}}


def button(**key: Any) -> dict[str, Any]:
    """Return the markup of Telegram's keyboard with one button."""
    return {"keyboard": [[key]], "one_time_keyboard": True, "resize_keyboard": True}


def text(words: str) -> dict[str, Any]:
    """Return a text of WhatsApp."""
    return {"type": "text", "text": {"preview_url": False, "body": words}}


PLACE = {"latitude": -17.83, "longitude": 31.05}
SEAT = {"name": "seat", "language": {"code": "en"}}
ROWS: list[tuple[Reply, list[Any], list[Any], str]] = [
    (
        Media("image", MAP, Text("map")),
        [{"type": "image", "image": {"link": MAP, "caption": "Here we are"}}],
        [{"method": "sendPhoto", "photo": MAP, "caption": "Here we are"}],
        f"Here we are\n{MAP}",
    ),
    (
        Media("video", "m1"),
        [{"type": "video", "video": {"id": "m1"}}],
        [{"method": "sendVideo", "video": "m1"}],
        "",
    ),
    (
        Media("audio", MAP, Text("map")),
        [{"type": "audio", "audio": {"link": MAP}}, text("Here we are")],
        [{"method": "sendAudio", "audio": MAP, "caption": "Here we are"}],
        f"Here we are\n{MAP}",
    ),
    (
        Media("sticker", "m1", Text("map")),
        [{"type": "sticker", "sticker": {"id": "m1"}}, text("Here we are")],
        [{"method": "sendSticker", "sticker": "m1"}, {"text": "Here we are"}],
        "Here we are",
    ),
    (
        File(PDF, "r.pdf", Text("map")),
        [{"type": "document", "document": {"link": PDF, "filename": "r.pdf", "caption": "Here we are"}}],
        [{"method": "sendDocument", "document": PDF, "caption": "Here we are"}],
        f"Here we are\nr.pdf\n{PDF}",
    ),
    (
        SHOP,
        [{"type": "location", "location": {**PLACE, "name": "Shop", "address": "1 First St"}}],
        [{"method": "sendVenue", **PLACE, "title": "Shop", "address": "1 First St"}],
        f"Shop\n1 First St\n{LINK}",
    ),
    (
        attrs.evolve(SHOP, address=""),
        [{"type": "location", "location": {**PLACE, "name": "Shop"}}],
        [{"method": "sendLocation", **PLACE}, {"text": "Shop"}],
        f"Shop\n{LINK}",
    ),
    (
        WebLink(Text("pay"), PAY),
        [asked("cta_url", "Please pay", {"name": "cta_url", "parameters": {"display_text": "Open", "url": PAY}})],
        [{"text": "Please pay", "reply_markup": {"inline_keyboard": [[{"text": "Open", "url": PAY}]]}}],
        f"Please pay\n{PAY}",
    ),
    (WebLink("", PAY), [text(PAY)], [{"text": PAY}], PAY),
    (
        LocationRequest(Text("map")),
        [asked("location_request_message", "Here we are", {"name": "send_location"})],
        [{"text": "Here we are", "reply_markup": button(text="Send my location", request_location=True)}],
        "Here we are",
    ),
    (
        ContactRequest(Text("pay")),
        [text("Please pay")],
        [{"text": "Please pay", "reply_markup": button(text="Send my number", request_contact=True)}],
        "Please pay",
    ),
    (
        Template("seat", Text("map"), ("Ada",)),
        [
            {
                "type": "template",
                "template": {
                    **SEAT,
                    "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ada"}]}],
                },
            }
        ],
        [{"text": "Here we are"}],
        "Here we are",
    ),
    (Template("seat", Text("map")), [{"type": "template", "template": SEAT}], [{"text": "Here we are"}], "Here we are"),
]


@pytest.mark.parametrize(("reply", "of_whatsapp", "of_telegram", "in_words"), ROWS, ids=map(str, range(len(ROWS))))
def test_each_channel_writes_it_or_says_it(
    reply: Reply, of_whatsapp: list[Any], of_telegram: list[Any], in_words: str
) -> None:
    """A channel writes a reply in its own format, or in words with the address where it has no format for it."""
    assert cloud(reply) == of_whatsapp
    assert api(reply) == of_telegram
    assert terminal.render(Channel("terminal", "you"), [final(reply)]) == ([in_words] if in_words else [])
    bodies = [payload["Body"] for payload in sms.render(Channel("sms", "16505550001"), [final(reply)])]
    assert bodies == ([in_words] if in_words else [])
    assert final(reply).text == in_words


@pytest.mark.parametrize("reply", [row[0] for row in ROWS], ids=map(str, range(len(ROWS))))
def test_a_reply_in_the_outbox_is_read_back(reply: Reply) -> None:
    """A reply is stored in the outbox with keys and parameters, and read back equal."""
    (back,) = replies_from_raw(replies_to_keep([reply]))
    assert back == reply
    assert final(back) == final(reply)
    assert replies_to_raw([back]) == replies_to_raw([reply])


@given(st.sampled_from([row[0] for row in ROWS]), st.data())
def test_a_reply_of_another_shape_is_refused(reply: Reply, data: st.DataObject) -> None:
    """A stored reply with any field replaced, added or lost is read as a reply that has words, or is `Unreadable`."""
    ((name, fields),) = json.loads(json.dumps(replies_to_raw([reply])))[0].items()
    fields = {**fields, data.draw(st.sampled_from([*fields, "other"])): data.draw(any_json)}
    fields.pop(data.draw(st.sampled_from([*fields, "none"])), None)
    try:
        (back,) = replies_from_raw([{name: fields}])
    except Unreadable:
        return
    assert isinstance(back.text, str)


rich: st.SearchStrategy[Reply] = st.one_of(
    st.builds(Media, st.sampled_from(["image", "audio", "video", "sticker"]), st.sampled_from([MAP, "m1"]), long_words),
    st.builds(File, st.sampled_from([PDF, "m1"]), st.text(max_size=300), long_words),
    st.builds(WebLink, long_words, st.just(PAY), long_words),
    st.builds(LocationRequest, long_words, long_words),
    st.builds(ContactRequest, long_words, long_words),
    st.builds(Location, st.floats(-90, 90), st.floats(-180, 180), st.text(max_size=80), st.text(max_size=80)),
    st.builds(Template, st.just("seat"), long_words),
)


@given(rich)
def test_any_reply_can_be_sent_and_loses_no_words(reply: Reply) -> None:
    """Any reply is within the limits of each channel, can be encoded, and says all of its words."""
    for render in (cloud, api):
        payloads = render(reply)
        shown = json.dumps(payloads, ensure_ascii=False)
        shown.encode()
        words = "" if isinstance(reply, Text | Location | Template) else reply.body.text
        assert bare(words.encode("utf-8", "replace").decode()) in bare("".join(map(_words, payloads)))
        assert all(len(found.encode("utf-16-le")) <= 2 * 4096 for payload in payloads for found in _strings(payload))
    assert all(sms.segments(payload["Body"]) <= 3 for payload in sms.render(CHAT, [final(reply)]))


def _words(value: Any, name: str = "") -> str:
    """Return the words of a payload, in order."""
    if isinstance(value, str):
        return value if name in ("body", "text", "caption") else ""
    if isinstance(value, list):
        return "".join(map(_words, value))
    return "".join(_words(inner, key) for key, inner in value.items()) if isinstance(value, dict) else ""


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for each in inner for found in _strings(each)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Media("hologram", MAP),
        lambda: Media("image", ""),
        lambda: Media("image", "x" * 3000),
        lambda: Media("image", "a\nb"),
        lambda: File(""),
        lambda: WebLink("Pay", "x.example/pay"),
        lambda: WebLink("Pay", "javascript:alert(1)"),
        lambda: Template("seat", "words", ANY),
    ],
    ids=map(str, range(8)),
)
def test_a_reply_that_cannot_be_sent_is_refused(make: Callable[[], object]) -> None:
    """A reply whose kind, source or address is none is refused when it is made."""
    with pytest.raises(FlowError):
        make()


# In a conversation


@attrs.frozen
class Visit:
    """The data of the flow."""

    place: Location | None = None


def _shop(turn: Turn[Visit]) -> Location:
    return attrs.evolve(SHOP, name="Ours")


visit = Flow(
    "visit", data=Visit, initial="hello",
    states=[
        State("hello", say=Media("image", MAP, Text("map"))),
        State("where", ask=LocationRequest(Text("Where are you?")), reads=readers.location, into="place"),
        State("end",   say=_shop, final=True),
    ],
    transitions=[Transition("auto", "hello", "where"), Transition("answer", "where", "end")],
)  # fmt: skip


def test_a_state_says_and_asks_with_more_than_words() -> None:
    """A state says a picture and a location, and asks for a location with a request."""
    talk = Talk(Bot(visit, texts={"map": "Here we are"})).say("hi")
    picture, request = talk.replies
    assert isinstance(picture, Media)
    assert picture.text == f"Here we are\n{MAP}"
    assert isinstance(request, LocationRequest)
    assert request.title.text == "Send my location"
    assert talk.say("here").words == ["Please send a location.", "Where are you?"]
    assert talk.send(content=SHOP).replies[0] == attrs.evolve(SHOP, name="Ours")


def test_a_button_has_its_words_though_the_text_is_final() -> None:
    """The words on a button are those of the catalogue, also where the words above it are the author's own."""
    shop: Flow[NoData] = Flow(
        "shop", initial="pay",
        states=[State("pay", say=WebLink("Please pay here.", PAY), final=True)],
        transitions=[],
    )  # fmt: skip
    link = Talk(Bot(shop)).say("hi").replies[0]
    assert isinstance(link, WebLink)
    assert (link.text, link.title.text) == (f"Please pay here.\n{PAY}", "Open")


def test_a_request_with_buttons_is_its_words_above_them() -> None:
    """A question with buttons is shown with the words of a request or a link above them."""
    door: Flow[NoData] = Flow(
        "door", initial="shut",
        states=[State("shut", ask=WebLink(Text("Read first."), PAY)), State("open", say=Text("Open."), final=True)],
        transitions=[Transition("yes", "shut", "open")],
    )  # fmt: skip
    (question,) = Talk(Bot(door)).say("hi").replies
    assert isinstance(question, Buttons)
    assert question.text == f"Read first.\n{PAY}"


@pytest.mark.parametrize("slot", ["ask", "say"])
def test_a_slot_that_is_given_something_else_is_refused(slot: str) -> None:
    """A picture is no question, and a bare string is neither: the flow is refused when it is made."""
    wrong: Any = {slot: Media("image", MAP) if slot == "ask" else "words"}
    states = [State("shut", **wrong), State("open", say=Text("Open."), final=True)]
    with pytest.raises(FlowError, match=f"{slot} is a"):
        Flow("door", initial="shut", states=states, transitions=[Transition("yes", "shut", "open")])


def test_a_callback_that_asks_with_a_picture_fails() -> None:
    """A function of `ask` that returns a picture fails the turn, and the error names it."""

    def picture(turn: Any) -> Any:
        return Media("image", MAP)

    door: Flow[NoData] = Flow(
        "door", initial="shut",
        states=[State("shut", ask=picture), State("open", say=Text("Open."), final=True)],
        transitions=[Transition("yes", "shut", "open")],
    )  # fmt: skip
    talk = Talk(Bot(door)).say("hi")
    assert isinstance(talk.last.error, WrongCallback)
