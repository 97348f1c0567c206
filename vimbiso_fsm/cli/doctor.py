"""`vimbiso doctor`: whether a server keeps what it is given."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import fail
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.doctor import Durability, examine

LEVELS = get_args(Durability)
"""What a turn that was answered can be promised to survive."""


def doctor(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="The servers: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://."
        ),
    ],
    durability: Annotated[
        str,
        typer.Option(
            "--durability",
            metavar="|".join(LEVELS),
            help="What a turn that was answered must survive: a power cut, or the loss of a whole server.",
        ),
    ] = "local",
) -> None:
    """Say what about a server would lose a turn, each with its remedy.

    Exit code 1 when anything is refused, or no server answers; warnings alone are 0.
    """
    promised = level(durability)
    from vimbiso_fsm.store.health import ask_url

    try:
        nodes = ask_url(url)
    except StoreUnavailable as error:
        fail(error.fault)
    findings = examine(nodes, promised)
    for finding in findings:
        print("refused:" if finding.serious else "warning:", _line(str(finding)))
    refused = sum(finding.serious for finding in findings)
    places = ", ".join(node.place for node in nodes)
    warnings = len(findings) - refused
    print(_line(f"{promised}: asked {places}; {refused} refused, {warnings} to be warned of"))
    if refused:
        raise typer.Exit(1)


def level(word: str) -> Durability:
    """The level of durability that a word names.

    Raises: typer.BadParameter.
    """
    for known in LEVELS:
        if word == known:
            return known  # type: ignore[no-any-return]  # get_args tells no types
    raise typer.BadParameter(f"{shown(word)} is no level; say {' or '.join(LEVELS)}", param_hint="--durability")


def _line(text: str) -> str:
    """One line, whatever a server said of itself."""
    return " ".join(text.split())
