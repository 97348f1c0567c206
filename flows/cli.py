"""The commands of VimbisoPay: `python -m flows core` serves the simulated credex-core over HTTP."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from typing import Annotated, Final, Literal, NoReturn, TypeAlias

import typer

Kind: TypeAlias = Literal["down", "401", "lost", "slow"]

KINDS: Final[tuple[Kind, ...]] = ("down", "401", "lost", "slow")
"""The kinds of faults of `flows.credex_core.Fault`, which the command imports only when it runs."""

FORM: Final = "KIND[=SECONDS][:CALL[:TIMES]]"
"""The form of the option `--fault`."""

app = typer.Typer(
    help="The commands of VimbisoPay.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help and usage errors are plain text
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    app(prog_name="python -m flows")


@app.callback()
def _options() -> None:
    """Keep `core` a command of its own: Typer would merge a single command into the application."""


@app.command()
def core(
    port: Annotated[
        int,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="The port to listen on; 0 is any that is free."),
    ] = 0,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="A seed; the same one makes the same members, ids and faults.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar=FORM,
            help="A fault: down, 401, lost or slow=SECONDS; of one call or of all; TIMES times or without end. "
            "May be given several times. Example: lost:createCredex:2",
        ),
    ] = None,
) -> None:
    """Serve a simulated credex-core over HTTP, on this machine only.

    The address is printed on one line; `CREDEX_CORE_URL=ADDRESS vimbiso chat --flows flows --services
    flows.services:over_http` calls it. Its contents are lost when the command ends. The command ends with exit code 0
    on SIGTERM and on Ctrl-C.
    """
    try:
        from flows.credex_core import Fault, SimulatedCredexCore
        from flows.credex_core.server import address, application, listening, server
    except ModuleNotFoundError as missing:
        _fail(f"this command needs {missing.name}; run: pip install 'vimbiso_fsm[serve]'")

    faults = [Fault(*_fault(words)) for words in fault or ()]
    serving = server(application(SimulatedCredexCore(seed, faults)))
    try:
        with listening(port) as bound, ExitStack() as closing:
            for number in (signal.SIGTERM, signal.SIGINT):
                closing.callback(signal.signal, number, signal.signal(number, serving.handle_exit))
            print(f"credex-core, simulated: {address(bound)}", flush=True)
            serving.run(sockets=[bound])
    except OSError as error:
        _fail(f"port {port} is not available: {error.strerror}; give another --port")


def _fail(fault: str) -> NoReturn:
    print(f"error: {fault}", file=sys.stderr)
    raise typer.Exit(1)


def _fault(words: str) -> tuple[Kind, str, int | None, float, float]:
    """Return the attributes of the fault that an option names.

    Args:
        words: The text, `KIND[=SECONDS][:CALL[:TIMES]]`.

    Returns:
        The kind, call, times, chance and seconds of a `Fault`.

    Raises:
        typer.BadParameter: The text does not have this form.
    """
    wrong = typer.BadParameter(f"--fault is {FORM}, with a kind of {', '.join(KINDS)}; not {words!r}")
    fault, _, rest = words.partition(":")
    call, _, times = rest.partition(":")
    name, _, seconds = fault.partition("=")
    kind = next(filter(name.__eq__, KINDS), None)
    try:
        if kind is None or (kind == "slow") != bool(seconds):
            raise wrong
        count, delay = int(times) if times else None, float(seconds or 0)
    except ValueError:
        raise wrong from None
    if (count is not None and count < 1) or not 0 <= delay < 3600:
        raise wrong
    return kind, call, count, 1.0, delay
