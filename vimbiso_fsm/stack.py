"""The trail of questions within a run: each once, in the order they were reached. `back` walks it; answers on it are
what would be lost."""

from __future__ import annotations

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.state import Run

__all__ = ["has_answers", "trail", "until"]


def trail(steps: tuple[str, ...], step: str) -> tuple[str, ...]:
    """The trail after `step` was answered."""
    return (*until(steps, step), step)


def until(steps: tuple[str, ...], step: str) -> tuple[str, ...]:
    """The trail up to `step`, which is being asked (again)."""
    return steps[: steps.index(step)] if step in steps else steps


def has_answers(bot: Bot, run: Run) -> bool:
    """Whether the run holds answers that would be lost with it."""
    flow = bot.flow(run.flow)
    return any(flow[step].into for step in run.trail if step in flow.by_name)
