"""How keys become words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import texts
from vimbiso_fsm.messages import catalogue as catalogues
from vimbiso_fsm.messages.catalogue import Catalogue, Plural
from vimbiso_fsm.messages.languages.english import ENGLISH
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row, Text


def said(template: str, /, **params: Any) -> str:
    """A template with parameters, said."""
    return Catalogue.of({"k": template}).say(Text("k", **params)).text


def test_a_key_without_an_entry_is_said_as_it_stands():
    """Rule of `ask` and `say`: a bot without catalogue speaks too."""
    assert Catalogue.of({}).say(Text("How much?")).text == "How much?"
    assert Catalogue.of({}).say(Text("50% {off} }{")).text == "50% {off} }{"


def test_a_template_takes_its_parameters_by_name():
    """Texts, numbers, decimals and anything else with `str()`."""
    assert said("You hold {held} of {n:03}.", held=Decimal("5.00"), n=7) == "You hold 5.00 of 007."
    assert said("{yes}", yes=True) == "True"
    assert said("{{literally}} {a}", a=1) == "{literally} 1"
    assert said("{{literally}}") == "{literally}"


def test_of_a_list_each_is_on_a_line_of_its_own():
    """Also texts, in their own words; of an empty one nothing is said."""
    lines = [Text("line", n=1), Text("line", n=2)]
    assert Catalogue.of({"k": "All:\n{a}", "line": "no. {n}"}).say(Text("k", a=lines)).text == "All:\nno. 1\nno. 2"
    assert said("{a}.{b}", a=(Decimal("1.0"), "x"), b=[]) == "1.0\nx."


def test_the_words_of_a_member_are_never_a_template():
    """Braces in a parameter stay braces; no attribute of a parameter is reached."""
    assert said("Hello {name}", name="{secret}") == "Hello {secret}"
    assert said("Hello {name.__class__}", name="x") == "Hello {name.__class__}"
    assert said("Hello {name[0]}", name="x") == "Hello {name[0]}"


@pytest.mark.parametrize(
    "template",
    ["{missing}", "{", "}", "{}", "{0}", "{a!z}", "{a:q}", "{a:{b}}", "{a:c}", "{a:{a:{a}}}", "{a:.99999999999d}"],
)
def test_a_broken_template_is_said_as_it_stands(template: str):
    """A template that cannot be filled is sent as it is, so that the member gets a reply."""
    assert said(template, a=-1) == template


@given(
    st.text(max_size=20) | st.text("{}a:!.[]0", max_size=12),
    st.dictionaries(st.sampled_from("ab"), texts | st.integers(), max_size=2),
)
def test_saying_never_raises(template: str, params: dict[str, Any]):
    """Any template with any parameters gives words."""
    text = Catalogue.of({"k": template}).say(Text("k", **params))
    assert isinstance(text.text, str)
    assert text == Text("k", **params)


def test_parameters_are_kept_as_they_were_said():
    """A reply is stored as its key and plain parameters, so it has the same words when it is sent again."""
    catalogue = Catalogue.of({"k": "{a} {b}"})
    once = catalogue.say(Text("k", a=Decimal("1.50"), b=3))
    assert once.params == {"a": "1.50", "b": 3}
    assert catalogue.say(once) == once
    assert catalogue.say(once).text == once.text == "1.50 3"


def test_languages_fall_back_to_the_default():
    """A key that a language lacks is said in the default one."""
    catalogue = Catalogue.of({"sn": {"hello": "Mhoro"}, "en": {"hello": "Hello", "bye": "Bye"}})
    assert catalogue.say(Text("hello"), "sn").text == "Mhoro"
    assert catalogue.say(Text("bye"), "sn").text == "Bye"
    assert catalogue.say(Text("hello"), "xx").text == "Hello"
    assert catalogue.template("nothing", "sn") is None


def test_a_text_may_differ_by_number():
    """The form is that of the language's own rule; one that is not given is "other"; so is what is no whole number."""
    days = Plural("n", one="{n} day", other="{n} days")
    czech = Plural("n", one="{n} den", few="{n} dny", many="{n} dne", other="{n} dní")
    catalogue = Catalogue.of({"en": {"k": days, "only": days}, "cs": {"k": czech}})

    def spoken(language: str, key: str = "k") -> list[str]:
        return [catalogue.say(Text(key, n=n), language).text for n in (0, 1, 2, 5)]

    assert spoken("en") == ["0 days", "1 day", "2 days", "5 days"]
    assert spoken("cs") == ["0 dní", "1 den", "2 dny", "5 dní"]
    assert spoken("cs", "only") == spoken("en"), "a text that is lacking is said, and counted, in the default language"
    assert Catalogue.of({"k": Plural("n", other="{n} days")}).say(Text("k", n=1)).text == "1 days"
    assert [catalogue.say(Text("k", n=n)).text for n in ("1", True, Decimal(1))] == ["1 days", "True days", "1 days"]
    assert catalogue.say(Text("k")).text == "{n} days", "a parameter that is not there"
    once = catalogue.say(Text("k", n=1))
    assert catalogue.say(Text(once.key, **once.params)).text == "1 day", "said again from what is stored"


def test_money_is_written_as_the_language_does():
    """Also in a list; with its currency's code, and all the decimals it has."""
    catalogue = Catalogue.of({"en": {"k": "{held}"}, "de": {"k": "{held}"}})
    held = [Money(Decimal("1234.50"), "USD"), Money(Decimal("2.0000"), "XAU")]
    assert catalogue.say(Text("k", held=held[0])).text == "1,234.50 USD"
    assert catalogue.say(Text("k", held=held), "de").text == "1.234,50 USD\n2,0000 XAU"


def test_the_language_is_the_first_that_there_is():
    """A tag finds the language that its readers understand; without one, the default language is spoken."""
    catalogue = Catalogue.of({"sn": {}, "pt-BR": {}, "en": {}})
    assert [catalogue.language(tags) for tags in (["sn"], ["SN_zw"], ["sn-Latn-ZW"], ["fr", "sn"])] == ["sn"] * 4
    assert catalogue.language(["pt-br"]) == "pt-BR"
    assert [catalogue.language(tags) for tags in (["pt"], ["sna"])] == ["pt-BR", "sn"]
    assert [catalogue.language(tags) for tags in ([], ["s"], [""], ["-"], ["fr"])] == ["en"] * 5


def test_a_bot_may_replace_the_frameworks_words():
    """Its own entry wins; the others stay."""
    catalogue = Catalogue.of({"failure": "Oops {reference}"})
    assert catalogue.say(Text("failure", reference="r")).text == "Oops r"
    assert catalogue.say(Text("cancel.done")).text == ENGLISH["cancel.done"]
    assert "failure" in catalogue
    assert "nothing" not in catalogue
    assert Catalogue.of(catalogue) is catalogue


def test_all_of_a_reply_is_said():
    """Body, titles and descriptions get their final words."""
    catalogue = Catalogue.of({"q": "Well?", "t": "Title", "d": "About"})
    menu = catalogue.reply(Menu(Text("q"), (Row("a", Text("t"), Text("d")), Row("b", Text("t")))))
    buttons = catalogue.reply(Buttons(Text("q"), (Button("a", Text("t")),)))
    assert isinstance(menu, Menu)
    assert isinstance(buttons, Buttons)
    assert [menu.text, menu.rows[0].title.text, str(menu.rows[0].description), menu.rows[1].description] == [
        "Well?",
        "Title",
        "About",
        None,
    ]
    assert [buttons.text, buttons.buttons[0].title.text] == ["Well?", "Title"]
    assert [reply.text for reply in catalogue.replies([Text("q"), menu])] == ["Well?", "Well?"]


def test_every_text_of_the_framework_can_be_said():
    """No template of the framework's own misses a parameter that is not named in it, and none is empty."""
    for key, template in ENGLISH.items():
        forms = template.forms.values() if isinstance(template, Plural) else [template]
        assert all(form.strip() for form in forms)
        assert key == key.lower()


# Templates are taken apart once ------------------------------------------------------------------------------------

pieces = st.sampled_from(
    ["{a}", "{b}", "{c}", "{{", "}}", "{", "}", "{a!r}", "{a:>5}", "{}", "{0}", "{a.b}", "{a[0]}", "{a:{b}}", " ", "é"]
)


def filled(fill: Callable[[str, Mapping[str, str | int]], str], template: str) -> str | None:
    """Return the filled template, or None if filling it raises an error."""
    try:
        return fill(template, {"a": "one", "b": 2})
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


@given(st.lists(pieces, max_size=5).map("".join))
def test_a_template_is_filled_as_the_formatter_fills_it(template: str):
    """With its braces, its conversions and its format specifications; refused where the formatter refuses it."""
    whole = filled(lambda words, params: catalogues._FORMATTER.vformat(words, (), params), template)
    assert filled(catalogues._filled, template) == whole
