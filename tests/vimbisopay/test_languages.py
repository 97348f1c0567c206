"""Replies are in the member's language."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import flows
from flows.credex_core import Fault, SimulatedCredexCore
from flows.texts.english import ENGLISH
from flows.texts.shona import SHONA
from tests.vimbisopay.test_flows import ADA, ALAN, Talk, known
from vimbiso_fsm import (
    Bot,
    Channel,
    Commands,
    Flow,
    FlowStateManager,
    Message,
    Refused,
    Reply,
    State,
    Text,
    Transition,
    Turn,
)
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.flow.session import SessionLife
from vimbiso_fsm.messages.languages.shona import TEXTS as FRAMEWORK
from vimbiso_fsm.messages.replies import Buttons, Menu
from vimbiso_fsm.store.memory import MemoryStore

SN, EN = "sn", "en"


@attrs.frozen
class Name:
    said: str = ""


def greeted(turn: Turn[Name]) -> Text:
    """Return a text with the typed name."""
    return Text("greet.sure", name=turn.data.said)


def short(text: str) -> str | Refused:
    """Reader that refuses long texts."""
    return text if len(text) < 5 else Refused("greet.long")


def broken(turn: Turn[Name]) -> bool:
    """Guard that raises an exception for one text."""
    if turn.data.said == "bang":
        raise ZeroDivisionError
    return True


greet = Flow(
    "greet", data=Name, initial="asking",
    states=[
        State("asking", ask=Text("greet.asking"), reads=short, into="said"),
        State("sure",   ask=greeted, timeout=60),
        State("over",   say=Text("greet.over"), final=True),
    ],
    transitions=[
        Transition("answer",  "asking", "sure", conditions=broken),
        Transition("yes",     "sure",   "over"),
        Transition("timeout", "sure",   "over"),
    ],
)  # fmt: skip

WORDS = {
    SN: {
        "greet.asking": "Zita?", "greet.long": "Rakareba.", "greet.sure": "Muri {name}?", "greet.sure.yes": "Hongu",
        "greet.over": "Zvapera.", "failure": "Zvakanganisika.", "message.reused": "Yakapindurwa.",
        "store.unavailable": "Hazvina kuchengetwa.", "choice.unknown": "Hazvizivikanwe.",
    },
    EN: {
        "greet.asking": "Name?", "greet.long": "Too long.", "greet.sure": "Are you {name}?", "greet.sure.yes": "Yes",
        "greet.over": "Over.",
    },
}  # fmt: skip
BOT = Bot([greet], texts=WORDS, session=SessionLife(300))


class Person:
    """A conversation on a channel that reports a language."""

    def __init__(self, metadata: dict[str, Any], bot: Bot = BOT, **options: Any) -> None:
        self.now = 1_760_000_000.0
        self.store = MemoryStore(lambda: self.now)
        self.manager = FlowStateManager(bot, self.store, **options)
        self.channel = Channel("telegram", "4711", metadata)

    def say(self, text: str, id: str = "") -> list[str]:
        outcome = self.manager.handle(Message(self.channel, id or text, text))
        return [reply.text for reply in outcome.replies]


@pytest.mark.parametrize(
    ("metadata", "question"),
    [({"language": "sn"}, "Zita?"), ({"language": "sn-ZW"}, "Zita?"), ({"language": "fr"}, "Name?"), ({}, "Name?"),
     ({"language": 7}, "Name?"), ({"language": "\x00" * 300}, "Name?")],
)  # fmt: skip
def test_the_channel_says_which(metadata: dict[str, Any], question: str) -> None:
    """The channel's language decides, in any form of its tag, as far as there are texts."""
    assert Person(metadata).say("hi") == [question]


def test_the_profile_says_it_louder() -> None:
    """The language of the profile has priority over that of the channel."""
    person = Person({"language": "en"})
    document = person.manager.handle(Message(person.channel, "1", "hi")).state
    person.manager.save(attrs.evolve(document, profile={"language": "sn"}))
    assert person.say("much too long") == ["Rakareba.", "Zita?"]


def test_everything_that_is_said_is_in_it() -> None:
    """Refusals, questions, titles, failures and duplicates are in the member's language.

    A title can be typed in that language.
    """
    person = Person({"language": "sn"})
    assert person.say("hi") == ["Zita?"]
    assert person.say("longer") == ["Rakareba.", "Zita?"]
    assert person.say("bang") == ["Zvakanganisika."]
    assert person.say("Ada") == ["Muri Ada?"]
    assert person.say("longer") == ["Rakareba.", "Zita?"], "said again as it was said"
    assert person.say("other", id="Ada") == ["Yakapindurwa."]
    assert person.say("what?") == ["Hazvizivikanwe.", "Muri Ada?"]
    assert person.say("HONGU")[0] == "Zvapera."


def test_texts_of_timers_are_in_it() -> None:
    """Texts of timers are in the member's language, delivered or waiting."""
    heard: list[str] = []

    def deliver(channel: Channel, replies: tuple[Reply, ...]) -> None:
        heard.extend(reply.text for reply in replies)

    for delivering in (True, False):
        person = Person({"language": "sn"}, deliver=deliver if delivering else None)
        person.say("hi")
        person.say("Ada")
        person.now += 61
        person.manager.wake(person.manager.handle(Message(person.channel, "Ada", "Ada")).state.member_id)
        if delivering:
            assert heard[0] == "Zvapera."
        else:
            assert person.say("hello")[0] == "Zvapera."


def test_an_error_is_said_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply of an error is in the language of the member, or of the channel if the member is unknown."""
    person = Person({})
    document = person.manager.handle(Message(person.channel, "1", "hi")).state
    person.manager.save(attrs.evolve(document, profile={"language": "sn"}))
    person.say("much too long")

    def gone(*_: Any) -> Any:
        raise StoreUnavailable("it is gone")

    monkeypatch.setattr(person.store, "perform", gone)
    for channel in (person.channel, Channel("telegram", "4712", {"language": "sn"})):
        with pytest.raises(StoreUnavailable) as raised:
            person.manager.handle(Message(channel, "x", "Ada"))
        assert raised.value.reply
        assert raised.value.reply == "Hazvina kuchengetwa."


def test_further_words_of_a_command_work() -> None:
    """Further words of a command work beside the known ones; an unknown command is refused."""
    commands = Commands().also(back="Dzokera", yes=["hongu", "ehe"])
    assert [commands.command(word) for word in ("back", "dzokera")] == ["back", "back"]
    assert [commands.button(word) for word in ("yes", "hongu", "ehe", "no")] == ["yes", "yes", "yes", "no"]
    with pytest.raises(TypeError, match="'bakc' is not a command; known are menu, cancel, back"):
        Commands().also(bakc="x")


# VimbisoPay --------------------------------------------------------------------------------------------------------


def keys(replies: tuple[Reply, ...]) -> set[str]:
    """Return the keys of all texts that were replied."""
    texts: list[Text | None] = []
    for reply in replies:
        if isinstance(reply, Text):
            texts.append(reply)
        elif isinstance(reply, Buttons | Menu):
            parts = reply.buttons if isinstance(reply, Buttons) else reply.rows
            texts += [reply.body, *(part.title for part in parts)]
            texts += [row.description for row in reply.rows] if isinstance(reply, Menu) else []
    return {text.key for text in texts if text is not None}


CONVERSATION = (
    "hi", "shona", "?", "offer", "x", "10", "back", "10", "nobody_there", "alan", "help", "menu", "hongu", "kwete",
    "accept", "ledger", "dashboard", "upgrade", "kwete", "cancel_offer", "1", "hongu", "5=>alan", "hongu", "nonsense",
)  # fmt: skip


def test_a_whole_conversation_has_its_words_in_both_languages() -> None:
    """Each text of a conversation has a key, and its Shona differs from its English."""
    core = SimulatedCredexCore()
    talk = Talk(ADA, core=core)
    said: set[str] = set()
    for typed in CONVERSATION:
        core.faults = [Fault("down", call="getLedger")] if typed == "ledger" else []
        talk.say(typed)
        said |= keys(talk.outcome.replies)
    catalogue = flows.bot.catalogue
    assert said <= {*SHONA, *FRAMEWORK}
    assert all(
        catalogue.template(key, SN) != catalogue.template(key, EN) for key in said - {"offers.row", "offers.row.name"}
    )
    assert len(said) > 30, "enough to mean something"


def test_a_language_once_chosen_is_kept() -> None:
    """A chosen language survives the session, on any channel, and can be changed again."""
    talk = known(ALAN)
    talk.say("shona")
    assert talk.outcome.state.profile["language"] == "sn"
    talk.at[0] += 301
    talk.say("hi")
    assert talk.outcome.state.profile["language"] == "sn"
    assert "Maofa akamirira" in talk.said[-1]
    talk.say("English")
    assert talk.said[0] == ENGLISH["language.speaking"]
    assert "Offers waiting" in talk.said[-1]


def test_a_name_of_a_language_is_a_quick_command_only_at_home() -> None:
    """Within a flow, the name of a language is an answer like any other."""
    talk = known(ADA)
    talk.say("offer", "10", "shona")
    assert (talk.place, talk.said) == ("offer.handle", ["No account has the handle shona.", ENGLISH["offer.handle"]])
    talk.say("menu", "no", "language", "cancel")
    assert talk.place == "dashboard.menu"
