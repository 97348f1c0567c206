"""`flows` imported with one mutant; as a plugin of pytest (`-p tests.mutation.making`), that of the environment."""

from __future__ import annotations

import os
from typing import Any

from tests.mutation.mutants import Mutant, mutants_of
from vimbiso_fsm.flow.flow import Flow

VARIABLE = "VIMBISO_MUTANT"
"""The variable of the environment with the mutant, as it is printed."""


def mutate(mutant: str) -> None:
    """Let the flow of that name be made with the change when `flows` is imported."""
    made = Flow.__attrs_post_init__

    def made_otherwise(flow: Flow[Any]) -> None:
        made(flow)
        if mutant.startswith(f"{flow.name}: "):
            parts = next((parts for each, parts in mutants_of(flow) if str(each) == mutant), None)
            if parts is not None:
                for name, value in zip(("states", "transitions", "requires"), parts, strict=True):
                    object.__setattr__(flow, name, tuple(value))
                made(flow)

    setattr(Flow, made.__name__, made_otherwise)


def all_mutants() -> list[Mutant]:
    """Return the mutants of all flows of the bot."""
    import flows  # it is imported after `mutate`, where there is a mutant

    return [mutant for flow in flows.bot.flows if flow.name != "carry_on" for mutant, _ in mutants_of(flow)]


if VARIABLE in os.environ:
    mutate(os.environ[VARIABLE])
