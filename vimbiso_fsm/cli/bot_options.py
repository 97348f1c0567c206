"""The options that name code of the application: the package of the bot, and functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeAlias

import typer

from vimbiso_fsm.cli.failures import describe, fail, misuse
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import is_interrupt
from vimbiso_fsm.runtime.base import resolve_bot

Flows: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--flows", metavar="PACKAGE", help="The package that exports your bot as `bot`; looked up here first. Required."
    ),
]
OptionalFlows: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--flows", metavar="PACKAGE", help="The package of the bot; only needed for channel types of the bot's own."
    ),
]


def import_bot(flows: str | None, refused: Callable[[FlowError], NoReturn] | None = None) -> Bot:
    """Import the bot of a package in the current directory, or of an installed package.

    Args:
        flows: The name of the package.
        refused: Is told of a declaration that is refused when the package makes it; by default the command fails.
    """
    if flows is None:
        misuse("--flows is missing: name the package that exports your bot, e.g. --flows shop")
    _search_here_first()
    try:
        import_module(flows)
    except BaseException as error:  # a package being imported may raise anything
        if is_interrupt(error):
            raise
        if refused is not None and isinstance(error, FlowError):
            refused(error)
        fail(f"--flows {shown(flows)}: the package cannot be imported: {describe(error)}")
    try:
        return resolve_bot(flows)
    except TypeError:
        fail(f"--flows {shown(flows)}: the package exports no Bot; assign it to the name `bot`")


def import_function(option: str, named: str) -> Callable[..., Any]:
    """Import the function that an option names as `MODULE:FUNCTION`."""
    module, _, name = named.partition(":")
    if not module or not name:
        raise typer.BadParameter(f"{shown(named)} is not MODULE:FUNCTION", param_hint=option)
    _search_here_first()
    try:
        found = getattr(import_module(module), name, None)
    except BaseException as error:  # a module being imported may raise anything
        if is_interrupt(error):
            raise
        fail(f"{option} {shown(named)}: the module cannot be imported: {describe(error)}")
    if not callable(found):
        fail(f"{option} {shown(named)}: the module has no function of this name; write MODULE:FUNCTION")
    function: Callable[..., Any] = found
    return function


def _search_here_first() -> None:
    here = str(Path.cwd())
    if sys.path[0] != here:
        sys.path.insert(0, here)
