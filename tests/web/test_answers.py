"""Each error of a vendor has its answer: `Sent`, `Later`, `Never`, or an unknown outcome."""

from __future__ import annotations

import traceback
from typing import Any

import attrs
import pytest

from tests.web.clients import (
    MEMBERS,
    SAID,
    TOKEN,
    TWO,
    Maker,
    api_of,
    bot_error,
    each_channel,
    graph_error,
    sync_client,
    twilio_error,
)
from tests.web.vendors import Answer, Vendors, closed_port
from vimbiso_fsm import (
    Later,
    Never,
    Sent,
)
from vimbiso_fsm.errors import SendUnknown
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.web import (
    Api,
    client,
    cloud_api,
    http,
    telegram_api,
    twilio_api,
)
from vimbiso_fsm.web.refusals import OPERATOR_PAUSE

# Refused: the tables of the vendors


def expected(kind: str, code: str, seconds: float | None) -> Sent | Later | Never | type[SendUnknown]:
    """Return what a sender answers to a kind of refusal. The reason is compared apart."""
    match kind:
        case "busy":
            return Later(seconds, address=code == "131056")
        case "operator":
            return Later(OPERATOR_PAUSE if seconds is None else seconds)
        case "unknown":
            return SendUnknown
        case _:
            return Never("", code=code, address=kind == "address")


def answered(api: Api, world: Vendors, behaviour: Answer, member: Channel) -> Any:
    """Return what a sender answers to a response, without its reason."""
    world.will(behaviour)
    try:
        with sync_client(api) as channel:
            answer = channel.send(member, SAID)
    except SendUnknown:
        return SendUnknown
    if isinstance(answer, Never):
        assert answer.reason
        assert "263771000001" not in answer.reason
        return attrs.evolve(answer, reason="")
    return answer


def test_each_error_of_the_cloud_api_has_its_answer(world: Vendors) -> None:
    """Each code of Meta's page is answered by its kind, whatever the status of HTTP; a reason quotes no member."""
    api = api_of("whatsapp", world.url)
    for code, (kind, _, seconds) in cloud_api.ERRORS.items():
        given = answered(api, world, graph_error(code), MEMBERS["whatsapp"])
        assert given == expected(kind, str(code), seconds), code


def test_each_error_of_twilio_has_its_answer(world: Vendors) -> None:
    """Each code of Twilio's dictionary is answered by its kind, whatever the status of HTTP."""
    api = api_of("sms", world.url)
    for code, (kind, _, seconds) in twilio_api.ERRORS.items():
        given = answered(api, world, twilio_error(code), MEMBERS["sms"])
        assert given == expected(kind, str(code), seconds), code


CHOSEN: list[tuple[str, Answer, Any]] = [
    # What matters most, written out: it does not follow the tables if they change by mistake.
    ("whatsapp", graph_error(131056), Later(6.0, address=True)),
    ("whatsapp", graph_error(130429, 429, is_transient=True), Later()),
    ("whatsapp", graph_error(190, 401), Later(OPERATOR_PAUSE)),
    ("whatsapp", graph_error(200, 403), Later(OPERATOR_PAUSE)),
    ("whatsapp", graph_error(131026), Never("", code="131026", address=True)),
    ("whatsapp", graph_error(131047), Never("", code="131047", address=True)),
    ("whatsapp", graph_error(132001, 404), Never("", code="132001")),
    ("whatsapp", graph_error(131000, 500), SendUnknown),
    ("whatsapp", graph_error(999_001), Never("", code="999001")),
    ("whatsapp", graph_error(999_001, 500), SendUnknown),
    ("whatsapp", graph_error(999_001, 500, is_transient=True), Later()),
    ("whatsapp", Answer(400, {"error": {"code": True}}), Later(OPERATOR_PAUSE)),
    ("telegram", bot_error(429, "Too Many Requests: retry after 34", retry_after=34), Later(34)),
    ("telegram", bot_error(403, "Forbidden: bot was blocked by the user"), Never("", code="403", address=True)),
    ("telegram", bot_error(403, "Forbidden: user is deactivated"), Never("", code="403", address=True)),
    ("telegram", bot_error(400, "Bad Request: chat not found"), Never("", code="400", address=True)),
    ("telegram", bot_error(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-9),
     Never("", code="400", address=True)),
    ("telegram", bot_error(400, "Bad Request: BUTTON_URL_INVALID"), Never("", code="400")),
    ("telegram", bot_error(400, "Bad Request: something new"), Never("", code="400")),
    ("telegram", bot_error(401, "Unauthorized"), Later(OPERATOR_PAUSE)),
    ("telegram", bot_error(404, "Not Found"), Later(OPERATOR_PAUSE)),
    ("telegram", bot_error(413, "Request Entity Too Large"), Never("", code="HTTP 413")),
    ("telegram", bot_error(500, "Internal Server Error"), SendUnknown),
    ("telegram", bot_error(502, "Bad Gateway"), SendUnknown),
    ("sms", twilio_error(20429, 429, **{"Retry-After": "7"}), Later(7)),
    ("sms", twilio_error(20003, 401), Later(OPERATOR_PAUSE)),
    ("sms", twilio_error(21610), Never("", code="21610", address=True)),
    ("sms", twilio_error(21617), Never("", code="21617")),
    ("sms", twilio_error(99_999), Never("", code="99999")),
    ("sms", twilio_error(99_999, 500), SendUnknown),
]  # fmt: skip


@pytest.mark.parametrize(("name", "behaviour", "answer"), CHOSEN, ids=[f"{i}-{row[0]}" for i, row in enumerate(CHOSEN)])
def test_a_refusal_is_answered_as_the_vendor_means_it(
    world: Vendors, name: str, behaviour: Answer, answer: Any
) -> None:
    """A limit or a fault for a time is `Later`, a blocked address or a refused message `Never`; the rest is unknown."""
    assert answered(api_of(name, world.url), world, behaviour, MEMBERS[name]) == answer


ANYBODY: list[tuple[Answer, Any]] = [
    (Answer(429, b"slow down", {"Retry-After": "12"}), Later(12)),
    (Answer(429, b"slow down", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), Later()),
    (Answer(429, b"", {"Retry-After": "9" * 30}), Later()),
    (Answer(503, b"", {"Retry-After": "30"}), Later(30)),
    (Answer(503, b""), SendUnknown),
    (Answer(500, b"<html>"), SendUnknown),
    (Answer(504, b"<html>"), SendUnknown),
    (Answer(408, b""), SendUnknown),
    (Answer(301, b"", {"Location": "http://127.0.0.1:1/elsewhere"}), Later(OPERATOR_PAUSE)),
    (Answer(307, b"", {"Location": "/elsewhere"}), Later(OPERATOR_PAUSE)),
    (Answer(403, b"<html>blocked by a proxy</html>"), Later(OPERATOR_PAUSE)),
    (Answer(404, b"no"), Later(OPERATOR_PAUSE)),
    (Answer(413, b""), Never("", code="HTTP 413")),
    (Answer(200, b"<html>log in to the network</html>"), SendUnknown),
    (Answer(200, b'{"messages": [{"id": "wam'), SendUnknown),
    (Answer(200, b"[]"), SendUnknown),
    (Answer(200, b'{"ok": true, "ok": true, "result": {"message_id": 1}}'), SendUnknown),
    (Answer(200, {"messages": [], "ok": True, "result": {}, "sid": ""}), SendUnknown),
    (Answer(200, {"messages": [{"id": 5}], "ok": True, "result": {"message_id": "1"}, "sid": 5}), SendUnknown),
    (
        Answer(201, {"sid": "SM1", "messages": [{"id": "w"}], "ok": True, "result": {"message_id": 1}}, cut=3),
        SendUnknown,
    ),
    (Answer(200, {"sid": "x" * (2 << 20)}), SendUnknown),
    (Answer(200, b"\x1f\x8b\x08", {"Content-Encoding": "gzip"}), SendUnknown),
]


@each_channel
@pytest.mark.parametrize(("behaviour", "answer"), ANYBODY, ids=map(str, range(len(ANYBODY))))
def test_a_response_that_is_none_of_the_vendor(world: Vendors, name: str, behaviour: Answer, answer: Any) -> None:
    """Proxies, cut and broken responses are `Later` where nothing was taken, and unknown where it may have been."""
    assert answered(api_of(name, world.url), world, behaviour, MEMBERS[name]) == answer
    assert len(world.seen) == 1  # no redirect was followed


@each_channel
def test_without_a_connection_nothing_was_taken(make: Maker, name: str) -> None:
    """Where no connection is made, the answer is `Later`."""
    assert make(api_of(name, closed_port())).send(MEMBERS[name], SAID) == Later()


@each_channel
def test_without_a_response_the_outcome_is_unknown(
    world: Vendors, make: Maker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a timeout or a lost connection the outcome is unknown; the error names neither token nor member."""
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.3)
    channel = make(api_of(name, world.url))
    for behaviour in (lambda seen: None, world.hangs):
        world.will(behaviour)
        with pytest.raises(SendUnknown) as raised:
            channel.send(MEMBERS[name], SAID)
        told = "".join(traceback.format_exception(raised.value))
        assert TOKEN not in told
        assert MEMBERS[name].identifier not in str(raised.value)


def test_replies_that_take_too_long_together_are_sent_later(world: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the time of a send is over, what is left is sent later, and nothing twice."""
    with sync_client(api_of("sms", world.url)) as channel:
        monkeypatch.setattr(client, "SEND_SECONDS", 0.0)
        assert channel.send(MEMBERS["sms"], TWO, key="k") == Later()
        assert world.seen == []


def test_the_words_of_a_bad_request_are_known(world: Vendors) -> None:
    """Each of the words that are known of a status 400 has its answer."""
    for words, kind, _ in telegram_api.WORDS:
        given = answered(
            api_of("telegram", world.url), world, bot_error(400, f"Bad Request: {words}"), MEMBERS["telegram"]
        )
        assert given == expected(kind, "400", None), words
