"""Play a script of messages to VimbisoPay on one channel, and write its transcript.

A script, `scripts/<name>.txt`, has one line for each event:

    # a comment
    @ ada                       the member of the next messages; `@ ada on sms`: on another channel
    > offer                     typed; `> [Yes, offer it]` pressed (typed, where nothing can be pressed);
                                `> (image)` a message without text
    * core: down createCredex   a fault from here on; `* core: well` ends it
    * 301 seconds pass

The transcript repeats these lines. Under each message stand the replies as the channel shows them, the member's state
with the answers so far (`=`), and the calls that credex-core received (`!`). Messages come in as webhook bodies of the
channel, and replies go out as its payloads. Between two messages, the document is written and read back by a bot that
knows only the store.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import attrs

import flows
from flows.credex_core import Fault, SimulatedCredexCore
from vimbiso_fsm.channels import ChannelFormat, sms, telegram, whatsapp
from vimbiso_fsm.document.codec import document_from_raw, encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.memory import MemoryStore

__all__ = ["CHANNELS", "SCRIPTS", "Play", "play", "transcript_of"]

SCRIPTS: Final = Path(__file__).with_name("scripts")
START: Final = 1_760_000_000.0
PACE: Final = 5.0
"""Seconds between a message and the next."""

PHONES: Final = {"ada": "263771000001", "alan": "263771000002", "grace": "263771000003", "katherine": "263771000005"}
NEWCOMER: Final = "263770000001"
"""The name of any other member."""

JSON = dict[str, Any]


# What the channels send and show -----------------------------------------------------------------------------------


def whatsapp_body(phone: str, number: int, said: str, choice: str | None) -> bytes:
    content: JSON = {"type": "text", "text": {"body": said}}
    if said == "(image)":
        content = {"type": "image", "image": {}}
    if choice is not None:
        content = {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": choice}}}
    message = {"from": phone, "id": f"wamid.{number}", **content}
    value = {"metadata": {"phone_number_id": "1"}, "messages": [message]}
    change = {"field": "messages", "value": value}
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}).encode()


def telegram_body(phone: str, number: int, said: str, choice: str | None) -> bytes:
    sender, chat = {"id": int(phone)}, {"id": int(phone), "type": "private"}
    message: JSON = {"from": sender, "chat": chat, **({"photo": []} if said == "(image)" else {"text": said})}
    if choice is None:
        return json.dumps({"update_id": number, "message": message}).encode()
    query = {"id": "1", "from": sender, "message": {"chat": chat}, "data": choice}
    return json.dumps({"update_id": number, "callback_query": query}).encode()


def sms_body(phone: str, number: int, said: str, choice: str | None) -> bytes:
    image = {"Body": "", "NumMedia": "1", "MediaContentType0": "image/png"}
    fields = {"MessageSid": f"SM{number}", "From": f"+{phone}", "To": "+1", "Body": said}
    return urlencode({**fields, **(image if said == "(image)" else {})}).encode()


def whatsapp_shows(payload: JSON) -> tuple[str, list[tuple[str, str, str]]]:
    """The words of a payload, and the title, description and id of each option."""
    if payload["type"] == "text":
        return payload["text"]["body"], []
    asked = payload["interactive"]
    if asked["type"] == "button":
        replies = [button["reply"] for button in asked["action"]["buttons"]]
        return asked["body"]["text"], [(reply["title"], "", reply["id"]) for reply in replies]
    rows = [row for section in asked["action"]["sections"] for row in section["rows"]]
    return asked["body"]["text"], [(row["title"], row.get("description", ""), row["id"]) for row in rows]


def telegram_shows(payload: JSON) -> tuple[str, list[tuple[str, str, str]]]:
    keys = [key for line in payload.get("reply_markup", {}).get("inline_keyboard", ()) for key in line]
    return payload["text"], [(key["text"], "", key["callback_data"]) for key in keys]


def sms_shows(payload: JSON) -> tuple[str, list[tuple[str, str, str]]]:
    return payload["Body"], []


@attrs.frozen
class Shape:
    """The form in which the provider of a channel sends and receives."""

    format: ChannelFormat
    body: Any
    shows: Any


CHANNELS: Final = {
    "whatsapp": Shape(whatsapp, whatsapp_body, whatsapp_shows),
    "telegram": Shape(telegram, telegram_body, telegram_shows),
    "sms": Shape(sms, sms_body, sms_shows),
}


# Playing -----------------------------------------------------------------------------------------------------------


@attrs.define
class Speaker:
    """A member on one channel, with the reply that was shown last."""

    phone: str
    channel: str
    options: dict[str, str] = attrs.field(factory=dict[str, str])


BOT: Final = attrs.evolve(flows.bot, channels={"telegram": "phone"})
"""VimbisoPay as if Telegram proved numbers, so that one script says the same on every channel."""


class Play:
    """One script while it is played."""

    def __init__(self, channel: str, encryption: Encryption | None = None) -> None:
        self.channel = channel
        self.encryption = encryption
        self.now = START
        self.core = SimulatedCredexCore(clock=lambda: self.now)
        self.store = MemoryStore(lambda: self.now)
        self.speakers: dict[tuple[str, str], Speaker] = {}
        self.numbers = itertools.count(1)
        self.keys: set[str] = set()

    def line(self, line: str) -> Iterator[str]:
        """The lines of the transcript that a line of the script causes."""
        yield line
        mark, _, rest = line.partition(" ")
        if mark == "@":
            self.turn_to(rest)
        elif mark == "*":
            self.happen(rest)
        elif mark == ">":
            yield from self.say(rest)

    def turn_to(self, who: str) -> None:
        name, _, channel = who.partition(" on ")
        key = name, channel or self.channel
        self.speaker = self.speakers.setdefault(key, Speaker(PHONES.get(name, NEWCOMER), key[1]))

    def happen(self, what: str) -> None:
        subject, _, rest = what.partition(" ")
        if rest == "seconds pass":
            self.now += int(subject)
            return
        kind, _, call = rest.partition(" ")
        self.core.faults = [] if kind == "well" else [Fault(kind, call=call)]  # type: ignore[arg-type]  # a script's

    def say(self, said: str) -> Iterator[str]:
        speaker, shape = self.speaker, CHANNELS[self.speaker.channel]
        pressed = said[1:-1] if said.startswith("[") else ""
        choice = speaker.options[pressed] if pressed and speaker.options else None
        body = shape.body(speaker.phone, next(self.numbers), pressed or said, choice)
        (message,) = shape.format.parse(body).messages
        before = len(self.core.calls)
        document, payloads = self.turn(message, shape)
        self.now += PACE
        for payload in payloads:
            words, options = shape.shows(payload)
            speaker.options = {title: identity for title, _, identity in options}
            yield from (f"    {line}".rstrip() for line in words.splitlines())
            yield from (f"    [{title}]" + (f" {about}" if about else "") for title, about, _ in options)
        if document is not None:
            yield f"= {_place(document)}"
        yield from map(self.called, self.core.calls[before:])

    def turn(self, message: Message, shape: Shape) -> tuple[Document | None, list[JSON]]:
        """Handle one message with a bot that knows only the store."""
        services = {"credex_core": self.core}
        manager = FlowStateManager(BOT, self.store, services=services, rates=None, encryption=self.encryption)
        outcome = manager.handle(message)
        self.core.check_conservation()
        if outcome.state is not None:
            assert document_from_raw(loads(encode(outcome.state))) == outcome.state
        return outcome.state, shape.format.render(message.channel, outcome.replies)

    def called(self, call: Any) -> str:
        again = " again, with the same key" if call.key and call.key in self.keys else ""
        self.keys.add(call.key)
        return f"! {call.name}{again}"


def _place(document: Document) -> str:
    """The state of the member, and the answers so far."""
    run = document.run
    if run is None:
        return "nowhere"
    definition = flows.bot.definition(run)
    data, fresh = structure(run.fields, definition.data), definition.data()
    held = {name: getattr(data, name) for name in definition.fields}
    gathered = [f"{name}: {_brief(value)}" for name, value in held.items() if value != getattr(fresh, name)]
    return f"{run.flow}.{run.step}" + "".join(f"; {each}" for each in gathered)


def _brief(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    return str(value) if isinstance(value, str | int | Money) else str(value.name)


def play(script: str, channel: str) -> str:
    """The transcript of a script on a channel."""
    return transcript_of(script, Play(channel))


def transcript_of(script: str, stage: Play) -> str:
    """The transcript of a script that is played on a stage."""
    lines = [line for said in script.splitlines() for line in stage.line(said)]
    return "\n".join([f"# On {stage.channel}.", *lines]) + "\n"
