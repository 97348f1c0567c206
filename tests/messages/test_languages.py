"""The framework's own texts in six languages, and the global words of each."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from vimbiso_fsm import Bot, Channel, Commands, Flow, FlowStateManager, Message, State, Transition
from vimbiso_fsm.channels import rest, sms, telegram, terminal, web, whatsapp
from vimbiso_fsm.channels.whatsapp import BUTTON_TITLE_LENGTH
from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.catalogue import Catalogue, Plural, Template
from vimbiso_fsm.messages.languages import LANGUAGES
from vimbiso_fsm.messages.replies import Button, Buttons, Text
from vimbiso_fsm.messages.words import normalise

EACH = pytest.mark.parametrize("tag", sorted(LANGUAGES))
COMMANDS = ("menu", "cancel", "back", "help", "stop")
TITLES = (
    "choice.menu", "carry_on.offered.yes", "carry_on.offered.no", "pages.next", "pages.prev", "link.open",
    "request.contact", "request.location",
)  # fmt: skip
NAMING = ("help.words", "choice.none", "limits.menu", "failure.done", "message.too_much", "carry_on.offered")
NAMED = re.compile(
    r"(?<!\w)(?:Say|say|Dites|dites|Diga|diga|Sema|sema|Itii|itii) (\w+)|(?:: )((?:[\w?]+, )+[\w?]+)", re.UNICODE
)
"""A global word that a sentence tells the member to say, or a list of them."""


def forms(template: Template) -> list[str]:
    """Return the forms of a template."""
    return list(template.forms.values()) if isinstance(template, Plural) else [template]


def fields(template: Template) -> list[set[str]]:
    """Return the parameters of each form of a template."""
    return [{name for _, name, _, _ in string.Formatter().parse(form) if name} for form in forms(template)]


def commands(*tags: str) -> Commands:
    """Return the global words of a bot with these languages."""
    return Commands().spoken(tags)


@EACH
def test_each_language_has_each_sentence_with_its_parameters(tag: str) -> None:
    """Each language has the keys of English, with the same parameters in each form, and each plural form."""
    texts, english = LANGUAGES[tag].texts, LANGUAGES["en"].texts
    assert texts.keys() == english.keys()
    for key, template in texts.items():
        assert all(form == fields(english[key])[0] for form in fields(template)), key
        if isinstance(template, Plural):
            assert template.forms.keys() == locales.plurals(tag), key
        assert tag == "en" or key == "handed.said" or template != english[key] or key == "choice.menu", key


@EACH
def test_each_sentence_reaches_the_member_whole_on_each_channel(tag: str) -> None:
    """No channel shortens a sentence or a title of the framework."""
    catalogue = Catalogue.of({tag: {}})
    assert catalogue.default == tag
    for key in LANGUAGES["en"].texts:
        template = catalogue.template(key)
        assert template is not None
        given: dict[str, Any] = dict.fromkeys(fields(template)[0], "x" * 30) | {"seconds": 45}
        said = catalogue.say(Text(key, **given))
        assert "{" not in said.text, key
        for module in (whatsapp, telegram, sms, web, rest, terminal):
            kind = module.__name__.rpartition(".")[2]
            channel = Channel(kind, "263771234567", {"account": "1"})
            rendered = [each for each in _strings(module.render(channel, [said])) if "26377" not in each]
            assert _bare(said.text) in _bare("".join(rendered)), (kind, key)
    for key in TITLES:
        title = catalogue.say(Text(key))
        assert len(title.text) <= BUTTON_TITLE_LENGTH, key
        shown = "".join(_strings(whatsapp.render(Channel("whatsapp", "1"), [Buttons(title, (Button("a", title),))])))
        assert shown.count(title.text) == 2


def _bare(text: str) -> str:
    return "".join(text.split())


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _strings(each)
        case list() | tuple():
            for each in value:
                yield from _strings(each)
        case _:
            pass


@EACH
def test_the_words_that_a_sentence_names_are_global_words(tag: str) -> None:
    """A word that a sentence tells the member to say is understood in that language."""
    found = commands(tag)
    for key, template in LANGUAGES[tag].texts.items():
        if not key.startswith(
            ("help.words", "choice.none", "limits.menu", "failure.done", "message.too_much", "carry_on.of")
        ):
            continue
        for form in forms(template):
            words = [word for one, row in NAMED.findall(form) for word in ([one] if one else row.split(", "))]
            for word in words:
                assert found.command(normalise(word)) or found.button(normalise(word)), (key, word)
                if key == "help.words.sms":
                    assert normalise(word) not in found.stop, "on SMS, a word of the carrier is none of the bot"
            assert words or key in {"carry_on.offered.yes", "carry_on.offered.no"}, key


def test_no_word_means_two_commands_in_any_languages() -> None:
    """A word has one meaning in all languages together; it is neither a command here and a yes or no there."""
    meant: dict[str, set[str]] = {}
    every = commands(*LANGUAGES)
    for name in ("menu", "cancel", "back", "help", "yes", "no"):
        for word in getattr(every, name):
            meant.setdefault(word, set()).add(name)
    assert {word: names for word, names in meant.items() if len(names) > 1} == {}
    added = {word for language in LANGUAGES.values() for word in language.words.get("stop", ())}
    assert not added & meant.keys(), "a word of an answer or a command takes no consent back"
    for one, other in combinations([commands(tag).by_word for tag in LANGUAGES], 2):
        assert all(one[word] == other[word] for word in one.keys() & other.keys())


@pytest.mark.parametrize(
    ("tag", "word", "command"),
    [
        ("fr", "Annuler", "cancel"), ("pt", "cancelar", "cancel"), ("es", "Atrás", "back"), ("sw", "ghairi", "cancel"),
        ("sn", "kanzura", "cancel"), ("sn", "rubatsiro", "help"), ("fr-CA", "retour", "back"),
        ("fr", "cancel", "cancel"), ("en", "annuler", ""), ("de", "annuler", ""),
    ],
)  # fmt: skip
def test_a_bot_knows_the_global_words_of_its_languages(tag: str, word: str, command: str) -> None:
    """The words of a language work where the bot has texts in it, and those of English everywhere."""
    assert commands(tag).command(normalise(word)) == command


def test_the_words_of_an_author_have_priority() -> None:
    """A command whose words are replaced has these only, and a word that is taken gets no second meaning."""
    assert Commands(cancel=["ende"]).spoken(["fr"]).cancel == {"ende"}
    mine = Commands().also(yes="retour").spoken(["fr"])
    assert (mine.command("retour"), mine.button("retour"), mine.command("annuler")) == ("", "yes", "cancel")


ASKS: Flow[Any] = Flow(
    "order",
    initial="sure",
    states=[State("sure", ask=Text("order.sure")), State("done", say=Text("order.done"), final=True)],
    transitions=[Transition("yes", "sure", "done")],
)
WORDS = {
    "order.sure": "Commander ?", "order.sure.yes": "Commander", "order.done": "Commandé.", "order.title": "commande",
}  # fmt: skip


def said(bot: Bot, tag: str | None, *texts: str) -> list[str]:
    """Return the replies to the last of some texts of a member with a language tag."""
    manager = FlowStateManager.in_memory(bot)
    channel = Channel("whatsapp", "263771234567", {} if tag is None else {"language": tag})
    found: list[str] = []
    for number, text in enumerate(texts):
        found = [reply.text for reply in manager.handle(Message(channel, str(number), text)).replies]
    return found


@pytest.mark.parametrize("tag", ["fr", "fr-CA", "FR_ca", "fr-Latn-CI"])
def test_a_bot_with_texts_in_a_language_has_the_framework_in_it(tag: str) -> None:
    """Nothing is declared but the author's texts; the tag of the channel may have a territory."""
    bot = Bot(ASKS, texts={"en": {"order.sure": "Order?"}, "fr": WORDS})
    assert said(bot, tag, "hi", "blah") == ["Ce n'est pas un des choix proposés.", "Commander ?"]
    assert said(bot, tag, "hi", "aide")[0] == "Vous pouvez toujours dire : menu, retour, annuler, aide."
    assert said(bot, tag, "hi", "oui") == ["Commandé."]
    assert (
        said(bot, "xx", "hi", "blah") == said(bot, None, "hi", "blah") == ["That is not one of the choices.", "Order?"]
    )


def test_a_bot_without_english_texts_speaks_its_first_language() -> None:
    """Its default language is that of its texts, and the author's words replace those of the framework."""
    bot = Bot(ASKS, texts={"fr": WORDS | {"choice.unknown": "Comment ?"}})
    assert said(bot, None, "hi", "blah") == said(bot, "en", "hi", "blah") == ["Comment ?", "Commander ?"]
    assert Catalogue.of({"de": {"a.b": "x"}}).say(Text("cancel.done")).text == "Cancelled; nothing was sent."
    assert Catalogue.of({}).default == "en"
