"""Findings in the words of a bot: missing and unused texts, and titles that cannot be told apart or typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from vimbiso_fsm.channels import sms, telegram
from vimbiso_fsm.channels.whatsapp import BUTTON_TITLE_LENGTH, BUTTONS, ROW_TITLE_LENGTH
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.package import package_files, strings
from vimbiso_fsm.check.parts import at, flows_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.text_check import TextUse, text_faults, text_uses
from vimbiso_fsm.messages.languages.english import TEXTS
from vimbiso_fsm.messages.words import normalise


def word_findings(bot: Bot) -> Iterator[Finding]:
    """Yield what is found in the words of a bot."""
    uses = text_uses(bot)
    yield from _texts(bot, uses)
    yield from _unused(bot, uses)
    for flow in flows_of(bot):
        for state in flow.states:
            for language in bot.catalogue.languages:
                yield from _titles(bot, flow, state.name, language)


def _texts(bot: Bot, uses: Sequence[TextUse]) -> Iterator[Finding]:
    lines = {use.key: use for use in reversed(uses)}
    own = {flow.name for flow in flows_of(bot)}
    framework: Counter[str] = Counter()
    for fault in text_faults(bot, uses):
        use = lines.get(fault.key)
        is_own = fault.key not in TEXTS
        if not is_own or (use is not None and use.flow and use.flow not in own):
            framework[fault.language] += 1
            continue
        made = use.made if use is not None and use.made.line else bot.made
        translated = fault.language != bot.catalogue.default and fault.code != "text-parameters"
        remedy = f"add it to the texts in {fault.language!r}" if fault.code == "text-missing" else ""
        yield Finding.at(
            made, fault.code, f"text {fault.key!r} in {fault.language!r}: {fault.fault}", remedy,
            flow=use.flow if use is not None else "", advice=translated,
        )  # fmt: skip
    for language, count in framework.items():
        fault_of_all = f"{count} texts of the framework have no words in {language!r}, or not all forms"
        remedy = "add them to the texts of the bot; members read English in between"
        yield Finding.at(bot.made, "text-missing", fault_of_all, remedy, advice=True)


def _titles(bot: Bot, flow: AnyFlow, name: str, language: str) -> Iterator[Finding]:
    """Yield the buttons of a state whose titles are equal, are global words or are too long, in one language."""
    buttons = flow.buttons.get(name, ())
    if not buttons:
        return
    titles: dict[str, str] = {}
    limit = BUTTON_TITLE_LENGTH if len(buttons) <= BUTTONS and flow.by_name[name].rows is None else ROW_TITLE_LENGTH
    for trigger in buttons:
        way = flow.ways(name, trigger)[0]
        place = f"transition {trigger!r}"
        key = flow.button_title(name, trigger).key
        if bot.catalogue.languages[language].get(key) is None:
            continue  # it is said to be missing
        title = bot.catalogue.say(flow.button_title(name, trigger), language).text
        word = normalise(title)
        if command := bot.commands.command(word):
            fault = (
                f"its title {title!r} in {language!r} is a global word ({command}), so that typing it presses no button"
            )
            yield at(flow, way.made, place, "title-is-global-word", fault, "give it another title")
        earlier = titles.setdefault(word, trigger)
        if earlier != trigger and not any(
            each.guards for each in (*flow.ways(name, earlier), *flow.ways(name, trigger))
        ):
            fault = f"its title in {language!r} is that of button {earlier!r}, {title!r}"
            yield at(flow, way.made, place, "titles-equal", fault, "give one of them another title")
        if len(title) > limit:
            fault = f"its title in {language!r} has {len(title)} characters, and {_cuts(title, limit)}"
            yield at(flow, way.made, place, "title-too-long", fault, "shorten it")


def _cuts(title: str, limit: int) -> str:
    """Return which channels cut a title, each with its limit."""
    limits = {"WhatsApp": limit, "SMS": sms.TITLE_LENGTH, "Telegram": telegram.TITLE_LENGTH}
    return ", ".join(f"{channel} shows {most}" for channel, most in limits.items() if len(title) > most)


def _unused(bot: Bot, uses: Sequence[TextUse]) -> Iterator[Finding]:
    """Yield the texts of the default language that no code of the bot's package names, not even in part."""
    known = bot.catalogue.languages.get(bot.catalogue.default, {})
    names = {flow.name for flow in bot.flows}
    own = {key for key in known if key not in TEXTS}
    titles = {f"{name}.title" for name in names}
    helps = {f"{flow.name}.{state.name}.help" for flow in bot.flows for state in flow.states}
    left = own - titles - helps - {use.key for use in uses}
    left = {key for key in left if not key.startswith("command.")}
    files = package_files(bot) if left else ()
    if not left or not files:
        return
    for file in files:
        constants, patterns = strings(file)
        left = {key for key in left if key not in constants and not any(each.fullmatch(key) for each in patterns)}
    for key in sorted(left):
        fault = f"text {key!r} is said nowhere"
        yield Finding.at(bot.made, "text-unused", fault, "remove it, or say it", advice=True)
