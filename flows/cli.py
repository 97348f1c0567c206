"""`vimbiso core`: the simulated credex-core over HTTP, to try a bot, a client or a page against."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import Annotated, Final, Literal, TypeAlias

import typer

from vimbiso_fsm.cli.store_options import fail

Kind: TypeAlias = Literal["down", "401", "lost", "slow"]
KINDS: Final[tuple[Kind, ...]] = ("down", "401", "lost", "slow")

FORM: Final = "KIND[=SECONDS][:CALL[:TIMES]]"


def core(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where it listens; 0 is any that is free.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same members, ids and faults.")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar=FORM,
            help="What goes wrong: down, 401, lost or slow=SECONDS, with one call or with all, so often or for ever; "
            "may be given several times. lost:createCredex:2",
        ),
    ] = None,
) -> None:
    """Serve a simulated credex-core over HTTP, on this machine alone.

    It says where, on one line; `chat --core URL` talks to it. It forgets everything when it ends, which it does in
    order, with exit code 0, on SIGTERM and on Ctrl-C.
    """
    try:
        from flows.credex_core import Fault, SimulatedCredexCore
        from flows.credex_core.server import address, application, listening, server
    except ModuleNotFoundError as missing:
        fail(f"vimbiso core needs {missing.name}; run: pip install 'vimbiso_fsm[serve]'")

    faults = [Fault(*_fault(words)) for words in fault or ()]
    serving = server(application(SimulatedCredexCore(seed, faults)))
    try:
        with listening(port) as bound, ExitStack() as closing:
            for number in (signal.SIGTERM, signal.SIGINT):
                closing.callback(signal.signal, number, signal.signal(number, serving.handle_exit))
            print(f"credex-core, simulated: {address(bound)}", flush=True)
            serving.run(sockets=[bound])
    except OSError as error:
        fail(f"port {port} cannot be had: {error.strerror}")


def _fault(words: str) -> tuple[Kind, str, int | None, float, float]:
    """Kind, call, times, chance and seconds of a fault.

    Raises: typer.BadParameter.
    """
    wrong = typer.BadParameter(f"--fault is {FORM}, with a kind of {', '.join(KINDS)}; not {words!r}")
    what, _, rest = words.partition(":")
    call, _, times = rest.partition(":")
    name, _, seconds = what.partition("=")
    kind = next(filter(name.__eq__, KINDS), None)
    try:
        if kind is None or (kind == "slow") != bool(seconds):
            raise wrong
        often, long = int(times) if times else None, float(seconds or 0)
    except ValueError:
        raise wrong from None
    if (often is not None and often < 1) or not 0 <= long < 3600:
        raise wrong
    return kind, call, often, 1.0, long
