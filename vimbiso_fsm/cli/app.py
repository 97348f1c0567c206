"""The commands of `vimbiso`, and what all of them have in common."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from flows.cli import core
from vimbiso_fsm.cli.audit import as_commands
from vimbiso_fsm.cli.chat import chat
from vimbiso_fsm.cli.check import check
from vimbiso_fsm.cli.doctor import doctor
from vimbiso_fsm.cli.members import history, incidents, state
from vimbiso_fsm.cli.migrate import migrate
from vimbiso_fsm.cli.recover import aside, recover, reset, wipe
from vimbiso_fsm.cli.replay import replay
from vimbiso_fsm.cli.worker import worker

EXIT_CODES = (
    "Exit codes: 0 done; 1 something was wrong, and said on standard error; 2 wrong usage; "
    "130, 143 or 129 ended by Ctrl-C, SIGTERM or SIGHUP."
)

app = typer.Typer(
    name="vimbiso",
    help="Conversations as declared state machines: talk to a bot, replay webhooks, look at what is stored.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help, and mistakes in usage, as plain text: it reads the same in a log
    pretty_exceptions_enable=False,  # a bug shows a plain traceback, never the values in it
)
for command in (
    chat,
    core,
    check,
    worker,
    replay,
    state,
    history,
    incidents,
    recover,
    reset,
    wipe,
    aside,
    doctor,
    migrate,
):
    app.command(epilog=EXIT_CODES)(command)
app.add_typer(as_commands(EXIT_CODES))


def _tell_version(wanted: bool) -> None:
    if wanted:
        try:
            print("vimbiso_fsm", version("vimbiso_fsm"))
        except PackageNotFoundError:
            print("vimbiso_fsm, from a source tree that is not installed")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """What can be said before the command."""
