"""Compare a whole turn with a bare GET and SET, on the same server and in the same minute. `make bench` runs it.

Client and server are pinned: both to one CPU, then each to its own, then each to its own with a delay between them as
of a network (`network.py`). The placements are never mixed. `--fsync always` measures the disk; the default measures
the code. Other figures instead of these: `--counts`, those that do not depend on the machine (`counts.py`); `--length`,
what is stored and how long a turn takes, early and late in a long conversation (`length.py`); `--members`, many members
at once and a count of what is wrong afterwards (`members.py`); `--threads`, how many turns each
of many threads on one manager makes (`threads.py`); `--sending`, turns whose replies the manager sends itself beside
turns whose replies its caller sends; `--pace`, timers that are due at once (`pace.py`); `--growth`, a turn's cost as a
deployment grows (`growth.py`), also drawn as an SVG in the folder `--plots` (`plots.py`); `--sizing`, the machines that
a number of members needs (`sizing.py`).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import attrs

from tests.bench.contenders import AT_ONCE, Bare, BareAsync, Contender, Turns, TurnsAsync, recorded_late
from tests.bench.conversation import OFFER, TILL
from tests.bench.counts import table
from tests.bench.growth import GROWTHS, grow, lines
from tests.bench.length import CASES, EARLY, HEADING, NOTES, line, stages
from tests.bench.measure import Row, measure
from tests.bench.members import talk
from tests.bench.network import DELAY, network
from tests.bench.pace import keep_pace
from tests.bench.server import Placement, Server, placements
from tests.bench.sizing import MEMBERS, Habits, cost
from tests.bench.sizing import lines as sizes
from tests.bench.threads import share_out
from tests.deployments import cluster, watched
from tests.engines import valkey_program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 when something was wrong with the members, else 0."""
    options = _options(arguments)
    logging.getLogger("vimbiso_fsm").setLevel(logging.ERROR)  # that everysec can lose a second is meant here
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs before it began; much more than 0 disturbs the figures"
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        if options.growth:
            return _growth(options, load)
        if options.sizing is not None:
            return _sizing(options, load)
        with ExitStack() as stack:
            server = stack.enter_context(Server.start(options.fsync))
            if options.counts:
                print(f"server    {server}", f"client    {_client()}", *table(server), sep="\n", flush=True)
                return 0
            if options.sending:
                return _sending(server, options, load)
            if options.pace:
                print(f"server    {server}", f"load      {load}", sep="\n", flush=True)
                for kind in ("sync", "async"):
                    print(*keep_pace(server.url, kind, options.pace).lines, sep="\n", flush=True)
                return 0
            if options.threads:
                return _threads(server, options, load)
            if options.length:
                return _lengths(server, options, load)
            if options.members:
                return _members(server, options, load)
            contenders: list[Contender] = [
                *_sync(server.url),
                *(each for tasks in (AT_ONCE, 1) for each in _async(server.url, tasks)),
            ]
            for contender in contenders:
                stack.callback(contender.close)
            places = placements()
            rows = [
                row
                for place in places or (None,)
                for row in measure(server, contenders, place, options.seconds, options.blocks)
            ]
            distance, over_network = _over_network(server, places, options)
            rows += over_network
            facts = {**_facts(options, server, contenders, places), "network": distance, "load": load}
    finally:
        if own is not None:
            os.sched_setaffinity(0, own)
    if options.json:
        print(json.dumps({"facts": facts, "rows": [attrs.asdict(row) for row in rows]}, indent=2))
    else:
        print(*_table(facts, rows), sep="\n")
    return 0


def _sync(url: str, first: int = 0) -> tuple[Contender, ...]:
    return Bare(url), Turns(url, TILL, first), Turns(url, OFFER, first)


def _async(url: str, tasks: int) -> tuple[Contender, ...]:
    return BareAsync(url, tasks), TurnsAsync(url, TILL, tasks), TurnsAsync(url, OFFER, tasks)


def _over_network(server: Server, places: Sequence[Placement], options: argparse.Namespace) -> tuple[str, list[Row]]:
    """Return the delay that was reached, and the rows of the sync contenders behind it.

    The proxy is beside the server, so that the client has a CPU of its own where there are two.
    """
    place = attrs.evolve(places[-1], name="network") if places else None
    with ExitStack() as stack:
        between = stack.enter_context(network(server.url))
        contenders = _sync(between.url, first=AT_ONCE * AT_ONCE * 2)
        for contender in contenders:
            stack.callback(contender.close)
        rows = measure(server, contenders, place, options.seconds, options.blocks, [between.pid])
    return f"TCP with {DELAY * 1e3:g} ms each way; a PING took {between.round_trip * 1e3:.2f} ms", rows


def _members(server: Server, options: argparse.Namespace, load: str) -> int:
    """Print the results of many members at once."""
    logging.getLogger("vimbiso_fsm").setLevel(logging.CRITICAL)  # what is not answered is counted, and shown at the end
    print(f"server    {server}", f"load      {load}", f"seed      {options.seed}", sep="\n", flush=True)
    report = talk(server, options.members, options.seed)
    print(*report.lines, sep="\n")
    return 1 if report.wrong else 0


def _threads(server: Server, options: argparse.Namespace, load: str) -> int:
    """Print how the turns of many threads were shared out."""
    with ExitStack() as stack:
        if options.of == "cluster":
            place, url = "a cluster of three nodes", stack.enter_context(cluster(valkey_program())).url
        elif options.of == "sentinel":
            place, url = "a primary that Sentinels watch", stack.enter_context(watched(valkey_program())).url
        else:
            place, url = str(server), server.url
        print(f"server    {place}", f"load      {load}", sep="\n", flush=True)
        shares = share_out(url, options.threads, options.seconds * options.blocks)
        print(*shares.lines, sep="\n")
        return 1 if shares.errors else 0


def _growth(options: argparse.Namespace, load: str) -> int:
    """Print what a turn costs at each size, and draw it."""
    growth = GROWTHS[options.growth]
    print(f"client    {_client()}", f"load      {load}", sep="\n", flush=True)
    points = grow(growth, options.sizes or growth.sizes, options.seconds, options.blocks)
    print(*lines(growth, points), sep="\n")
    from tests.bench.plots import draw  # loads a library that nothing else here needs

    print(draw(growth, points, options.plots))
    return 0


def _sending(server: Server, options: argparse.Namespace, load: str) -> int:
    """Print turns whose replies the manager sends beside those without, of one style after the other."""
    print(f"server    {server}", f"client    {_client()}", f"load      {load}", sep="\n", flush=True)
    with recorded_late(), ExitStack() as stack:
        contenders: list[Contender] = [
            *(Turns(server.url, TILL, AT_ONCE * AT_ONCE * 3 * sends, sends=sends) for sends in (False, True)),
            *(TurnsAsync(server.url, TILL, tasks, sends=sends) for tasks in (AT_ONCE, 1) for sends in (False, True)),
        ]
        for contender in contenders:
            stack.callback(contender.close)
        for place in placements() or (None,):
            print(f"\n{place.name if place else 'not pinned'}", _line(HEADINGS), sep="\n")
            rows = measure(server, contenders, place, options.seconds, options.blocks)
            print(*(_line(_cells(row)) for row in rows), sep="\n", flush=True)
    print("\nratio: to the turn of the same style whose replies the caller sends; to sync: to that of sync.")
    return 0


def _sizing(options: argparse.Namespace, load: str) -> int:
    """Print the machines that numbers of members need."""
    print(f"client    {_client()}", f"load      {load}", sep="\n", flush=True)
    print(*sizes(cost(options.seconds, options.blocks), options.sizing or MEMBERS, Habits()), sep="\n")
    return 0


def _lengths(server: Server, options: argparse.Namespace, load: str) -> int:
    """Print the costs of a long conversation."""
    if places := placements():
        server.place(places[0])
    milestones = sorted({EARLY, *(max(EARLY, options.length * tenths // 10) for tenths in (1, 10, 11))})
    measured = stages(server, CASES, milestones, options.rounds)
    if options.json:
        rows = [attrs.asdict(stage) for stage in measured]
        print(json.dumps({"facts": {"server": str(server), "load": load}, "rows": rows}, indent=2))
        return 0
    print(f"server    {server}", f"load      {load}", sep="\n")
    print(f"timed     {options.rounds} rounds at each milestone, in turn with rounds of members at turn {EARLY}\n")
    print(HEADING, flush=True)
    for stage in measured:
        print(line(stage), flush=True)
    print(f"\n{NOTES}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one block (%(default)s)")
    parser.add_argument("--blocks", type=int, default=11, help="of each contender at each placement (%(default)s)")
    parser.add_argument("--fsync", choices=["everysec", "always", "no"], default="everysec", help="(%(default)s)")
    parser.add_argument("--counts", action="store_true", help="instead: figures that do not depend on the machine")
    parser.add_argument("--sending", action="store_true", help="instead: with and without a sender, side by side")
    parser.add_argument("--threads", type=int, metavar="NUMBER", help="instead: so many threads on one manager")
    parser.add_argument("--pace", type=int, nargs="?", const=600, metavar="TIMERS", help="instead: at a pace, for 10 s")
    parser.add_argument("--of", choices=["server", "cluster", "sentinel"], default="server", help="for --threads")
    parser.add_argument(
        "--length", type=int, nargs="?", const=10_000, metavar="TURNS", help="instead: of so many turns"
    )
    parser.add_argument("--growth", choices=[*GROWTHS], help="instead: the cost of a turn as this grows")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="SIZE", help="of --growth, the smallest first")
    parser.add_argument(
        "--plots", type=Path, default=Path("build/plots"), metavar="FOLDER", help="of the SVG of --growth (%(default)s)"
    )
    parser.add_argument("--sizing", type=int, nargs="*", metavar="MEMBERS", help="instead: what so many members need")
    parser.add_argument("--members", type=int, metavar="NUMBER", help="instead: so many at once, 2 or more")
    parser.add_argument("--seed", type=int, default=0, help="of what the members say (%(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="timed at each milestone of --length (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, with every figure")
    parser.add_argument("--smoke", action="store_true", help="very short: only to see that it runs")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.seconds, options.blocks, options.rounds = 0.04, 2, 1
    return options


def _facts(
    options: argparse.Namespace, server: Server, contenders: Sequence[Contender], places: Sequence[Placement]
) -> dict[str, str]:
    """Return the facts that the figures depend on."""
    sizes = {contender.name: contender.bytes for contender in contenders}
    return {
        "server": f"{server}{'' if options.fsync == 'always' else ': the code is measured, not the disk'}",
        "client": _client(),
        "documents": ", ".join(f"{name} {size} bytes" for name, size in sizes.items()),
        "run": f"{options.blocks} interleaved blocks of {options.seconds:g} s; async: {AT_ONCE} conversations at once",
        "pinned": "; ".join(map(str, places)) or "not pinned: this system cannot",
        **({"note": "only one CPU may be used here: two cores not measured"} if len(places) == 1 else {}),
    }


def _client() -> str:
    return f"Python {platform.python_version()}, redis-py {version('redis')}, hiredis {version('hiredis')}"


HEADINGS = ("", "a second", "ratio", "(quartiles)", "to sync", "trips", "commands", "client µs", "server µs")


def _table(facts: dict[str, str], rows: Sequence[Row]) -> Iterator[str]:
    """Yield the facts, then for each placement a row per contender, with medians over the blocks."""
    yield from (f"{name:<10}{fact}" for name, fact in facts.items())
    placement = ""
    for row in rows:
        if row.placement != placement:
            placement = row.placement
            yield f"\n{placement}"
            yield _line(HEADINGS)
        yield _line(_cells(row))
    yield "\nratio: to GET+SET of the same style; to sync: to that of sync. Client and server: CPU time of one."


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.style} {row.name}",
        f"{row.rate.median:.0f}",
        f"{row.ratio.median:.2f}",
        f"({row.ratio.lower:.2f}–{row.ratio.upper:.2f})",
        f"{row.ratio_to_sync.median:.2f}",
        f"{row.round_trips.median:.2f}",
        f"{row.commands.median:.2f}",
        f"{row.client_cpu.median:.0f}",
        f"{row.server_cpu.median:.0f}",
    )


def _line(cells: Sequence[str]) -> str:
    first, *others = cells
    return f"  {first:<31}" + "".join(f"{cell:>13}" if "(" in cell else f"{cell:>10}" for cell in others)


if __name__ == "__main__":
    sys.exit(main())
