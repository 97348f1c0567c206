"""`vimbiso doctor`: whether a server keeps what it stores."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import Namespace
from vimbiso_fsm.cli.store_url import FORMS, VARIABLE, checked_url
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.doctor import Durability, examine

LEVELS = get_args(Durability)
"""The levels of durability that can be promised for an answered turn."""


def doctor(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            envvar=VARIABLE,
            show_envvar=False,
            callback=checked_url,
            help="One server or several: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; "
            f"{FORMS}. By default it is that of the environment variable {VARIABLE}.",
        ),
    ],
    durability: Annotated[
        str,
        typer.Option(
            "--durability",
            metavar="|".join(LEVELS),
            help="What an answered turn must survive: a power cut (local), or the loss of a server (replicated).",
        ),
    ] = "local",
    namespace: Namespace = "",
) -> None:
    """Check that a server keeps what it stores, and that the user of the URL has the rights that the store needs.

    Each setting or condition that could lose a turn is printed with its remedy. Exit code 1 when one of them is
    refused, or when no server answers; 0 when there are only warnings.
    """
    promised = level(durability)
    from vimbiso_fsm.store.health import ask_url
    from vimbiso_fsm.store.layout import Keys

    try:
        nodes = ask_url(url, Keys(namespace).space)
    except StoreUnavailable as error:
        fail(error.fault)
    findings = examine(nodes, promised)
    for finding in findings:
        print("refused:" if finding.serious else "warning:", _line(str(finding)))
    refused = sum(finding.serious for finding in findings)
    places = ", ".join(node.place for node in nodes)
    warnings = len(findings) - refused
    print(_line(f"{promised}: asked {places}; refused {refused}, warnings {warnings}"))
    if refused:
        raise typer.Exit(1)


def level(word: str) -> Durability:
    """Read a level of durability.

    Args:
        word: The name of the level.

    Returns:
        The level.

    Raises:
        typer.BadParameter: There is no such level.
    """
    for known in LEVELS:
        if word == known:
            return known  # type: ignore[no-any-return]  # get_args tells no types
    raise typer.BadParameter(
        f"{shown(word)} is not a level of durability; give {' or '.join(LEVELS)}", param_hint="--durability"
    )


def _line(text: str) -> str:
    """Join the lines of a text that a server has sent."""
    return " ".join(text.split())
