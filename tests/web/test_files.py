"""Files, the sign of work, read marks, versions and settings of the vendors' APIs."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import pytest

from tests.web.clients import (
    MEMBERS,
    SAID,
    TOKEN,
    Maker,
    api_of,
    async_client,
    bot_error,
    each_channel,
    graph_error,
    sync_client,
)
from tests.web.vendors import LIMIT, Answer, Vendors, closed_port, vendors
from vimbiso_fsm import (
    Message,
)
from vimbiso_fsm.errors import RequestRefused, SendUnknown
from vimbiso_fsm.messages.contents import Attachment
from vimbiso_fsm.web import (
    Api,
    ChannelClient,
    CloudApi,
    TelegramApi,
    TwilioApi,
    cloud_api,
)

# Files


PICTURE = b"\x89PNG" + bytes(range(256)) * 40


def test_a_file_of_whatsapp_is_fetched_with_its_digest(world: Vendors, make: Maker) -> None:
    """The address of a file is asked for, the token goes along, and the digest is compared."""
    channel = make(api_of("whatsapp", world.url))
    told = {"url": f"{world.url}/file", "mime_type": "image/png", "file_size": len(PICTURE)}
    told["sha256"] = hashlib.sha256(PICTURE).hexdigest()
    world.will(Answer(200, told), Answer(200, PICTURE))
    file = channel.fetch(Attachment("image", "media-9"))
    assert (file.content, file.mime_type) == (PICTURE, "image/png")
    assert [each.path for each in world.seen] == [f"/{cloud_api.VERSION}/media-9", "/file"]
    assert {each.headers["authorization"] for each in world.seen} == {f"Bearer {TOKEN}"}
    world.will(Answer(200, told), Answer(200, PICTURE[:-1] + b"x"))
    with pytest.raises(RequestRefused, match="not the one"):
        channel.fetch("media-9")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/file",
        "http://lookaside.fbsbx.com/file",
        "https://lookaside.fbsbx.com.evil.example/",
        "https://evil-fbsbx.com/",
        "https://lookaside.fbsbx.com:8443/",
        "file:///etc/passwd",
        "//127.0.0.1/",
    ],
)
def test_the_token_goes_to_no_stranger(world: Vendors, make: Maker, url: str) -> None:
    """The address of a file that is none of Meta is not asked."""
    world.will(Answer(200, {"url": url}))
    with pytest.raises(RequestRefused, match="not one of Meta"):
        make(api_of("whatsapp", world.url)).fetch("media-9")
    assert len(world.seen) == 1


def test_a_file_of_telegram_is_fetched_by_its_path(world: Vendors, make: Maker) -> None:
    """`getFile` tells the path, from which the bytes are fetched."""
    channel = make(api_of("telegram", world.url))
    world.will(
        Answer(200, {"ok": True, "result": {"file_id": "f", "file_path": "photos/a b.jpg"}}), Answer(200, PICTURE)
    )
    assert channel.fetch("f").content == PICTURE
    assert world.seen[1].path == f"/file/bot{TOKEN}/photos/a%20b.jpg"
    world.will(bot_error(400, "Bad Request: file is too big"))
    with pytest.raises(RequestRefused) as raised:
        channel.fetch("f")
    assert (raised.value.kind, TOKEN in str(raised.value)) == ("content", False)


def test_a_file_of_twilio_is_fetched_where_it_leads_to_without_the_credentials(world: Vendors, make: Maker) -> None:
    """Twilio leads to another host, which gets no credentials; an address that is none of Twilio is not asked."""
    channel = make(api_of("sms", world.url))
    with vendors() as store:
        world.will(Answer(307, b"", {"Location": f"{store.url}/signed?x=1"}))
        store.will(Answer(200, PICTURE, {"Content-Type": "image/png"}))
        file = channel.fetch(f"{world.url}/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1")
        assert (file.content, file.mime_type) == (PICTURE, "image/png")
        assert ("authorization" in world.seen[0].headers, "authorization" in store.seen[0].headers) == (True, False)
        with pytest.raises(RequestRefused, match="not one of Twilio"):
            channel.fetch(f"{store.url}/2010-04-01/x")


@pytest.mark.parametrize("name", ["whatsapp", "telegram", "sms"])
def test_a_file_that_is_too_large_or_gone_is_refused(world: Vendors, make: Maker, name: str) -> None:
    """A file above the limit is not read to its end, and one that is gone is told."""
    channel, id = make(api_of(name, world.url)), f"{world.url}/file" if name == "sms" else "f"
    told: Sequence[Answer] = {
        "whatsapp": [Answer(200, {"url": f"{world.url}/file"})],
        "telegram": [Answer(200, {"ok": True, "result": {"file_path": "a"}})],
        "sms": [],
    }[name]
    world.will(*told, Answer(200, PICTURE))
    with pytest.raises(RequestRefused, match="too long"):
        channel.fetch(id, limit=100)
    world.will(*told, Answer(404, b""))
    with pytest.raises(RequestRefused, match="gone"):
        channel.fetch(id)


def test_a_file_is_stored(world: Vendors, make: Maker) -> None:
    """A file is stored at WhatsApp and Telegram as a form, and its id comes back; Twilio stores none."""
    assert make(api_of("whatsapp", world.url)).store(PICTURE, "image/png", 'a"\r\nb.png') == "media-1"
    bot = TelegramApi(token=TOKEN, store_chat="99", base=world.url)
    assert make(bot).store(PICTURE, "image/png", "a.png") == "file-2"
    for seen, field in zip(world.seen, (b'name="messaging_product"', b'name="chat_id"'), strict=True):
        kind, _, boundary = seen.headers["content-type"].partition("; boundary=")
        parts = seen.body.split(f"--{boundary}".encode())
        assert kind == "multipart/form-data"
        assert field in parts[1]
        head, _, content = parts[-2].partition(b"\r\n\r\n")
        assert content == PICTURE + b"\r\n"
        assert b"Content-Type: image/png" in head
        assert head.count(b"\r\n") == 2
    for api in (api_of("telegram", world.url), api_of("sms", world.url)):
        with pytest.raises(RequestRefused):
            make(api).store(PICTURE, "image/png")


# The sign of work, and read marks


def test_a_long_call_shows_that_a_reply_is_being_prepared(world: Vendors) -> None:
    """A block that takes longer shows the sign of work; WhatsApp marks the message as read with it."""
    said = {name: Message(member, "wamid.7", "hi") for name, member in MEMBERS.items()}
    for name in ("whatsapp", "telegram"):
        with sync_client(api_of(name, world.url)) as channel:
            world.came.clear()
            with channel.working(said[name], after=0.0):
                assert world.came.wait(LIMIT)

    async def shown() -> None:
        async with async_client(api_of("sms", world.url)) as channel:
            world.came.clear()
            message = Message(MEMBERS["whatsapp"], "SM7/1", "hi")
            async with channel.working(message, after=0.0):
                await asyncio.to_thread(world.came.wait, LIMIT)

    asyncio.run(shown())
    cloud, bot, twilio = world.seen
    assert cloud.json == {
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": "wamid.7",
        "typing_indicator": {"type": "text"},
    }
    assert (bot.path, bot.json) == (f"/bot{TOKEN}/sendChatAction", {"chat_id": "11", "action": "typing"})
    assert (twilio.path, twilio.form) == ("/v2/Indicators/Typing.json", {"messageId": "SM7", "channel": "whatsapp"})


def _signs() -> set[threading.Thread]:
    """Return the threads that show the sign of work."""
    return {each for each in threading.enumerate() if each.name.endswith("(_show)")}


def test_a_short_call_shows_nothing(world: Vendors) -> None:
    """A block that ends before the time shows nothing, and its thread ends; an SMS has no sign of work."""
    before, said = _signs(), Message(MEMBERS["telegram"], "1", "a")
    with sync_client(api_of("telegram", world.url)) as channel, channel.working(said, after=10 * LIMIT):
        (thread,) = _signs() - before
    thread.join(LIMIT)
    assert not thread.is_alive()
    said = Message(MEMBERS["sms"], "SM1", "a")
    with sync_client(api_of("sms", world.url)) as channel, channel.working(said, after=0.0):
        assert _signs() <= before
    assert world.seen == []


def test_a_message_is_marked_as_read(world: Vendors, make: Maker) -> None:
    """WhatsApp marks a message as read; the others have no such mark. A refusal is an error with its facts."""
    channel = make(api_of("whatsapp", world.url))
    message = Message(MEMBERS["whatsapp"], "wamid.7", "hi")
    assert channel.read(message) is True
    assert world.seen[0].json == {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.7"}
    world.will(graph_error(131056))
    with pytest.raises(RequestRefused) as raised:
        channel.read(message)
    assert (raised.value.code, raised.value.kind, raised.value.retry_after) == ("131056", "busy", 6.0)
    assert make(api_of("telegram", world.url)).read(Message(MEMBERS["telegram"], "1", "a")) is False
    assert len(world.seen) == 2


# Versions and settings


def test_operators_are_warned_before_a_version_ends(caplog: pytest.LogCaptureFixture) -> None:
    """From 90 days before the end of the version, a warning is logged once a day."""
    ends = cloud_api.VERSIONS["v24.0"]
    days = [ends - timedelta(days=91)]
    api = CloudApi(token="t", number_id="1", version="v24.0", base=closed_port())
    with caplog.at_level(logging.WARNING, "vimbiso_fsm.web"), ChannelClient(api, today=lambda: days[-1]) as channel:
        assert caplog.messages == []
        days.append(ends - timedelta(days=90))
        for _ in range(3):
            channel.send(MEMBERS["whatsapp"], SAID)
        assert [f"ends on {ends}" in each for each in caplog.messages] == [True]
        days.append(ends)
        channel.send(MEMBERS["whatsapp"], SAID)
        assert len(caplog.messages) == 2


def test_the_default_version_is_the_newest_and_each_has_an_end() -> None:
    """The default is the newest version that is known, and ends no earlier than another."""
    assert max(cloud_api.VERSIONS, key=lambda name: float(name[1:])) == cloud_api.VERSION
    assert max(cloud_api.VERSIONS.values()) == cloud_api.VERSIONS[cloud_api.VERSION]
    CloudApi(token="t", number_id="1", version="v99.0", version_until=date(2040, 1, 1))
    with pytest.raises(ValueError, match="version_until"):
        CloudApi(token="t", number_id="1", version="v99.0")


BAD: list[tuple[Callable[[], Api], str]] = [
    (lambda: CloudApi(token=""), "token is empty"),
    (lambda: CloudApi(token="a b-secret"), "token is no text"),
    (lambda: CloudApi(token="t", app_secret="x\n-secret"), "app_secret is no text"),
    (lambda: CloudApi(token="t", version="26"), "version"),
    (lambda: CloudApi(token="t", base="graph.facebook.com"), "base is not"),
    (lambda: TelegramApi(token="t", base="https://user:x-secret@host"), "base is not"),
    (lambda: TelegramApi(token="é-secret"), "token is no text"),
    (lambda: TwilioApi(account_sid="AC1", auth_token=""), "auth_token is empty"),
    (lambda: TwilioApi(account_sid="AC1", auth_token="t", key_sid="SK1"), "belong together"),
]


@pytest.mark.parametrize(("make_api", "fault"), BAD, ids=map(str, range(len(BAD))))
def test_a_setting_that_is_none_is_refused_and_not_quoted(make_api: Callable[[], Api], fault: str) -> None:
    """A setting that cannot work is refused when the API is made, and the error does not quote a secret."""
    with pytest.raises(ValueError, match=fault) as raised:
        make_api()
    assert "-secret" not in str(raised.value)


@each_channel
def test_no_secret_and_no_member_appears_in_a_log_or_a_repr(
    world: Vendors, make: Maker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the logs of the libraries, nor the repr of a client, hold a token or the address of a member."""
    with caplog.at_level(logging.DEBUG):
        channel = make(api_of(name, world.url))
        world.will(Answer(500, b""))
        with pytest.raises(SendUnknown):
            channel.send(MEMBERS[name], SAID)
        channel.send(MEMBERS[name], SAID)
    for told in (*caplog.messages, repr(channel)):
        assert TOKEN not in told
        assert MEMBERS[name].identifier not in told or name == "telegram"
