"""Refused answers: the reasons are said, the refusals are counted, and several in a row lead to help or the menu."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.messages.consent import BY_WORD
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text


def say_reasons(draft: Draft, reasons: Iterable[Refused]) -> None:
    """Say each reason once."""
    for reason in reasons:
        draft.codes.append(reason.code)
        if reason.words not in draft.replies:
            draft.say(reason.words)


def count_refusal(draft: Draft, reason: Refused, before: int) -> None:
    """Count a refused answer to the current question.

    `Limits.help` refusals in a row lead to help, `Limits.menu` to an offer of the menu.

    Args:
        draft: The draft of the turn.
        reason: The reason of the refusal.
        before: The number of refusals in a row before this one.
    """
    run, attempts, limits = draft.standing, before + 1, draft.bot.limits
    verdict = {"step": run.step, "ok": False, "code": reason.code}
    draft.run = attrs.evolve(run, context={**run.context, "attempts": attempts}, verdict=verdict)
    if attempts % limits.menu == 0:
        draft.say(Text("limits.menu"))
    elif attempts % limits.help == 0:
        say_help(draft)


def say_help(draft: Draft) -> None:
    """Say the current question's own help, if the catalogue has one, and the global words."""
    key = f"{draft.standing.flow}.{draft.standing.step}.help"
    if key in draft.bot.catalogue:
        draft.say(Text(key))
    draft.say(global_words(draft))


def global_words(draft: Draft) -> Text:
    """Return the text that names the global words. On SMS it names none that belongs to the carrier."""
    return Text("help.words.sms" if draft.channel.type in BY_WORD else "help.words")
