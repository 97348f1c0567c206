"""Missing texts of a bot, and differences between its languages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

import flows
from tests.changed_flows import bot_of, errand
from vimbiso_fsm import Bot, Call, Flow, Refused, Row, State, Text, Transition, Turn, call
from vimbiso_fsm.flow.text_check import TextFault, text_faults
from vimbiso_fsm.messages.catalogue import Catalogue, Plural, Templates
from vimbiso_fsm.messages.languages.english import ENGLISH

NONE, BETWEEN = "there is none; members would read the key", "there is none; members would read 'en' in between"


def missing(bot: Bot, language: str = "en") -> list[str]:
    """Return the keys that a language lacks."""
    return [fault.key for fault in text_faults(bot) if fault.language == language and fault.fault in (NONE, BETWEEN)]


def test_vimbisopay_lacks_no_text() -> None:
    """VimbisoPay has all texts, without differences, in each language."""
    assert text_faults(flows.bot) == ()


def test_declared_keys_and_titles_are_looked_up() -> None:
    """Keys and titles of buttons in declarations are looked up, in kept definitions too; plain texts are not."""
    assert missing(bot_of(errand())) == [
        "errand.colour.yes",
        "errand.confirm.no",
        "errand.gift.no",
        "errand.gift.yes",
        "home.menu.go",
        "line.empty",
        "pick.fruit.none",
    ]
    flow: Flow[Any] = Flow(
        "f", initial="a", states=[State("a", ask=Text("f.ask")), State("b", say=Text("Well. Done."), final=True)],
        transitions=[Transition("yes", "a", "b")],
    )  # fmt: skip
    assert missing(Bot([flow])) == ["f.a.yes", "f.ask"]
    assert text_faults(Bot([flow], texts={"f.ask": "?", "f.a.yes": "Yes"})) == ()
    assert {"f.a.yes", "f.ask", "carry_on.ask"} <= set(missing(Bot([flow], texts=Catalogue())))


# What the code says ------------------------------------------------------------------------------------------------

GONE = Refused("shop.gone")


@attrs.frozen
class Cart:
    thing: str = ""


class Shop:
    """A service."""

    def buy(self, thing: str) -> str | Refused:
        return self._bought if thing else GONE

    @property
    def _bought(self) -> str | Refused:
        return Refused("shop.closed")


def helped() -> Text:
    """Return a text from a function that another callback calls."""
    return Text("cart.helped")


def asked(turn: Turn[Cart]) -> Text:
    """Return one of two texts, with a text as a parameter."""
    return Text("cart.again" if turn.data.thing else "cart.first", more=helped())


def things(turn: Turn[Cart]) -> list[Row]:
    """Return rows with a key and with a plain text."""
    return [Row("pen", Text("cart.pen")), Row("other", "said as it stands")]


def buys(turn: Turn[Cart]) -> Call[str | Refused]:
    """Propose to buy the thing."""
    return call(Shop.buy, turn.data.thing)


def at_least(least: int) -> Callable[[Turn[Cart]], bool | Refused]:
    """Return a guard that refuses short texts."""

    def is_enough(turn: Turn[Cart]) -> bool | Refused:
        return len(turn.data.thing) >= least or Refused("cart.least", least=least)

    return is_enough


def reads(text: str) -> str | Refused:
    """Reader that refuses an empty text."""
    return text or Refused("cart.empty")


def result(turn: Turn[Cart]) -> Text:
    """Return a refusal with a known key, a key built at run time or a plain text."""
    return Text(f"cart.{turn.state}.made", and_=Text("Bought it."))


cart = Flow(
    "cart", data=Cart, initial="choosing",
    states=[
        State("choosing", ask=asked, rows=things, reads=reads, into="thing"),
        State("buying",   call=buys),
        State("bought",   say=result, final=True),
    ],
    transitions=[
        Transition("answer", "choosing", "buying", conditions=at_least(2)),
        Transition("done",   "buying",   "bought"),
        Transition("failed", "buying",   "choosing"),
    ],
)  # fmt: skip


def test_the_keys_that_code_names_are_looked_for() -> None:
    """Keys are found in callbacks and in the functions, services and values that they use."""
    assert missing(Bot([cart], services={"shop": Shop()})) == [
        "cart.again",
        "cart.empty",
        "cart.first",
        "cart.helped",
        "cart.least",
        "cart.pen",
        "shop.closed",
        "shop.gone",
    ]


def test_code_that_cannot_be_read_is_passed_over() -> None:
    """A function without source is skipped."""
    made: dict[str, Any] = {}
    exec("def ask(turn): return Text('hidden.key')", {"Text": Text, "__name__": __name__}, made)
    flow: Flow[Any] = Flow(
        "f", initial="a", states=[State("a", ask=made["ask"], reads=str), State("b", final=True)],
        transitions=[Transition("answer", "a", "b")],
    )  # fmt: skip
    assert text_faults(Bot([flow])) == ()


# Between languages -------------------------------------------------------------------------------------------------


def faults(english: Templates, other: Templates, language: str = "sn") -> list[TextFault]:
    """Return the faults of a second language that has all texts of the framework."""
    flow: Flow[Any] = Flow("f", initial="a", states=[State("a", final=True)], transitions=[])
    given = Catalogue.of({}).languages["en"]
    catalogue = Catalogue.of({"en": english, language: {**given, **other}}, [])
    return list(text_faults(Bot([flow], texts=catalogue)))


def test_a_second_language_needs_each_text_of_the_first() -> None:
    """A second language needs each text of the first; those of the framework ship in six languages."""
    flow: Flow[Any] = Flow("f", initial="a", states=[State("a", final=True)], transitions=[])
    lacking = missing(Bot([flow], texts={"en": {"one": "1"}, "sn": {}}), "sn")
    assert set(lacking) == {"one", "f.title"}
    assert {"one", "f.title", *ENGLISH} <= set(missing(Bot([flow], texts={"en": {"one": "1"}, "de": {}}), "de"))
    [fault] = [each for each in text_faults(Bot([flow], texts={"de": {}})) if each.key == "cancel.done"]
    assert fault.fault == "there is none; members would read English in between"
    assert faults({"one": "1"}, {}) == [TextFault("sn", "one", BETWEEN)]


@pytest.mark.parametrize(
    ("english", "other", "fault"),
    [
        ("{held}", "{hold}", "it names {hold}, which the one in 'en' does not"),
        (
            "held",
            "{held",
            "it is not a valid template (expected '}' before end of string); members would read it as it stands",
        ),
        ("{n}", Plural("n", one="1", other="{n} {m}"), "it names {m}, which the one in 'en' does not"),
        ("{n}", Plural("n", other="{n}"), "it lacks the plural 'one'"),
        ("{held} of {n}", "{n}", ""),  # it need not say all
        ("{n}", Plural("n", one="{n}", other="{n}"), ""),
    ],
)
def test_a_text_that_cannot_be_said_is_found(english: Any, other: Any, fault: str) -> None:
    """An unknown parameter, a broken template and a missing plural are found."""
    assert [found.fault for found in faults({"k": english}, {"k": other})] == ([fault] if fault else [])


def test_plurals_are_counted_as_the_language_does() -> None:
    """A plural needs the forms of its language, which may be more than English has."""
    days = Plural("n", one="{n} day", other="{n} days")
    found = faults({"k": days}, {"k": days}, "cs")
    assert [str(fault) for fault in found if fault.key == "k"] == [
        "k in 'cs': it lacks the plural 'few'",
        "k in 'cs': it lacks the plural 'many'",
    ]


def test_a_broken_template_of_the_default_language_is_found_once() -> None:
    """A broken template of the default language is reported for that language only."""
    assert [fault.language for fault in faults({"k": "{"}, {"k": "fine"})] == ["en"]
