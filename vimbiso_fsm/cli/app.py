"""The application: the commands of `vimbiso`, those of other packages, and the options before a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Final

import typer

from vimbiso_fsm.cli.archive import archive
from vimbiso_fsm.cli.audit import audit_commands
from vimbiso_fsm.cli.chat import chat
from vimbiso_fsm.cli.check import check
from vimbiso_fsm.cli.diagram import diagram
from vimbiso_fsm.cli.doctor import doctor
from vimbiso_fsm.cli.entry_points import add_commands
from vimbiso_fsm.cli.export import export
from vimbiso_fsm.cli.handover import handover_commands
from vimbiso_fsm.cli.history import history, incidents
from vimbiso_fsm.cli.import_legacy import import_legacy
from vimbiso_fsm.cli.index import index
from vimbiso_fsm.cli.link import link, merge, relink, unlink
from vimbiso_fsm.cli.members import members
from vimbiso_fsm.cli.new import new
from vimbiso_fsm.cli.owner import owner
from vimbiso_fsm.cli.recover import erase, quarantine, recover, reset, wipe
from vimbiso_fsm.cli.reencrypt import reencrypt
from vimbiso_fsm.cli.repair import repair
from vimbiso_fsm.cli.replay import replay
from vimbiso_fsm.cli.serve import serve
from vimbiso_fsm.cli.show import show
from vimbiso_fsm.cli.state import state
from vimbiso_fsm.cli.studio import studio
from vimbiso_fsm.cli.tail import tail
from vimbiso_fsm.cli.tell import tell
from vimbiso_fsm.cli.worker import worker

EXIT_CODES: Final = (
    "Exit codes: 0 success; 1 an error, printed on standard error; 2 wrong usage; "
    "130, 143 or 129 ended by Ctrl-C, SIGTERM or SIGHUP."
)

COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "new": new,
    "chat": chat,
    "check": check,
    "diagram": diagram,
    "studio": studio,
    "serve": serve,
    "worker": worker,
    "replay": replay,
    "members": members,
    "state": state,
    "show": show,
    "history": history,
    "incidents": incidents,
    "tail": tail,
    "recover": recover,
    "reset": reset,
    "wipe": wipe,
    "erase": erase,
    "export": export,
    "quarantine": quarantine,
    "link": link,
    "unlink": unlink,
    "relink": relink,
    "merge": merge,
    "tell": tell,
    "owner": owner,
    "repair": repair,
    "doctor": doctor,
    "archive": archive,
    "reencrypt": reencrypt,
    "index": index,
    "import-legacy": import_legacy,
}


def make_app() -> typer.Typer:
    """Make the application with all its commands."""
    app = typer.Typer(
        name="vimbiso",
        help="Talk to a bot, check it, run its background work, and look after the members in its store.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # help and usage errors are plain text, which reads the same in a log
        pretty_exceptions_enable=False,  # a bug prints a plain traceback, never the values in it
        callback=_options,
    )
    for name, command in COMMANDS.items():
        app.command(name, epilog=EXIT_CODES)(command)
    app.add_typer(audit_commands(EXIT_CODES))
    app.add_typer(handover_commands(EXIT_CODES))
    add_commands(app, {*COMMANDS, "audit", "handover"})
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            print("vimbiso_fsm", version("vimbiso_fsm"))
        except PackageNotFoundError:
            print("vimbiso_fsm, from a source tree that is not installed")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options before the command."""
