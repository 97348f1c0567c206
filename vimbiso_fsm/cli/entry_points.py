"""Commands that other installed packages add to `vimbiso`.

A package declares them in its metadata, in the group `vimbiso.commands`:

    [project.entry-points."vimbiso.commands"]
    shop = "shop.cli:shop"

The name is that of the command. The object is a function, which becomes a command as Typer makes it from the
function's signature and docstring, or a `typer.Typer`, which becomes a group of commands.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import typer

from vimbiso_fsm.cli.failures import describe
from vimbiso_fsm.cli.plain_text import clean
from vimbiso_fsm.flow.interrupts import is_interrupt

GROUP: Final = "vimbiso.commands"


def add_commands(app: typer.Typer, taken: Collection[str]) -> None:
    """Add the commands of installed packages.

    A command that cannot be added is reported on standard error and left out, so that the others can be used.

    Args:
        app: The application that gets the commands.
        taken: Names of commands that it has already.
    """
    added = set(taken)
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if point.name in added:
            _leave_out(point, "the name is taken; give the entry point another one")
            continue
        try:
            found = point.load()
        except BaseException as error:  # a module being imported may raise anything
            if is_interrupt(error):
                raise
            _leave_out(point, f"it cannot be imported: {describe(error)}")
            continue
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=point.name)
        elif callable(found):
            app.command(point.name)(found)
        else:
            _leave_out(point, f"{type(found).__name__} is neither a function nor a typer.Typer")
            continue
        added.add(point.name)


def _leave_out(point: EntryPoint, fault: str) -> None:
    print(clean(f"warning: the command {point.name!r} of {point.value} is left out: {fault}"), file=sys.stderr)
