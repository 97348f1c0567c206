"""TODO."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from vimbiso_fsm.engine.draft import Draft, with_step_data
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text


def say_reasons(draft: Draft, reasons: Iterable[Refused]) -> None:
    """Say reasons, each once."""
    for reason in reasons:
        draft.codes.append(reason.code)
        if reason.words not in draft.replies:
            draft.say(reason.words)


def count_refusal(draft: Draft, reason: Refused, before: int) -> None:
    """Note a refused answer at the current question, one more than `before` in a row. Every so many lead to help,
    then to the menu."""
    run, attempts, limits = draft.standing, before + 1, draft.bot.limits
    data = run.flow_data.data
    verdict = {"step": run.step, "ok": False, "code": reason.code}
    draft.run = with_step_data(run, attrs.evolve(data, context={**data.context, "attempts": attempts}, verdict=verdict))
    if attempts % limits.menu == 0:
        draft.say(Text("limits.menu"))
    elif attempts % limits.help == 0:
        say_help(draft)


def say_help(draft: Draft) -> None:
    """The current question's own help, when the catalogue has it, and the words that always work."""
    key = f"{draft.standing.flow}.{draft.standing.step}.help"
    if key in draft.bot.catalogue:
        draft.say(Text(key))
    draft.say(Text("help.words"))
