"""Names of flows and states that options give, with a hint where one is misspelt."""

from __future__ import annotations

import typer

from vimbiso_fsm.cli.bot_options import import_bot
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.spelling import did_you_mean


def checked_flow(flows: str | None, name: str | None) -> None:
    """Check that a bot has a flow, as far as the bot is given.

    Args:
        flows: The package of the bot; None for none.
        name: The name of the flow; None for any.

    Raises:
        typer.BadParameter: The bot never had the flow.
    """
    if flows is not None and name is not None:
        check_place(import_bot(flows), name, "--flow")


def check_place(bot: Bot, place: str, option: str) -> tuple[str, str]:
    """Return a flow and a state that are given as `FLOW` or `FLOW.STATE`; the state is empty for all.

    Raises:
        typer.BadParameter: The bot has no such flow or state.
    """
    flow, _, state = place.partition(".")
    states: dict[str, set[str]] = {}
    for (name, _), version in bot.versions.items():
        states.setdefault(name, set()).update(version.flow.by_name)
    if flow not in states:
        raise typer.BadParameter(
            f"the bot has no flow {shown(flow)!r}; {did_you_mean(flow, states)}", param_hint=option
        )
    if state and state not in states[flow]:
        fault = f"the flow {flow!r} has no state {shown(state)!r}; {did_you_mean(state, states[flow])}"
        raise typer.BadParameter(fault, param_hint=option)
    return flow, state
