"""Compare a whole turn with a bare GET and SET, on the same server and in the same minute. `make bench` runs it.

Client and server are pinned, both to one CPU and then each to its own; the two placements are never mixed. `--fsync
always` measures the disk; the default measures the code. `--length` measures instead what is stored and how long a turn
takes, early and late in a long conversation (`length.py`), and `--members` handles many members at once and counts what
is wrong afterwards (`members.py`).
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

import attrs

from tests.bench.contenders import AT_ONCE, Bare, BareAsync, Contender, Turns, TurnsAsync
from tests.bench.conversation import OFFER, TILL
from tests.bench.length import CASES, EARLY, HEADING, NOTES, line, stages
from tests.bench.measure import Row, measure
from tests.bench.members import talk
from tests.bench.server import Placement, Server, placements


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 when something was wrong with the members, else 0."""
    options = _options(arguments)
    logging.getLogger("vimbiso_fsm").setLevel(logging.ERROR)  # that everysec can lose a second is meant here
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs before it began; much more than 0 disturbs the figures"
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        with ExitStack() as stack:
            server = stack.enter_context(Server.start(options.fsync))
            if options.length:
                return _lengths(server, options, load)
            if options.members:
                return _members(server, options, load)
            contenders: list[Contender] = [
                Bare(server.url),
                Turns(server.url, TILL),
                Turns(server.url, OFFER),
                BareAsync(server.url),
                TurnsAsync(server.url, TILL),
                TurnsAsync(server.url, OFFER),
            ]
            for contender in contenders:
                stack.callback(contender.close)
            places = placements()
            rows = [
                row
                for place in places or (None,)
                for row in measure(server, contenders, place, options.seconds, options.blocks)
            ]
            facts = {**_facts(options, server, contenders, places), "load": load}
    finally:
        if own is not None:
            os.sched_setaffinity(0, own)
    if options.json:
        print(json.dumps({"facts": facts, "rows": [attrs.asdict(row) for row in rows]}, indent=2))
    else:
        print(*_table(facts, rows), sep="\n")
    return 0


def _members(server: Server, options: argparse.Namespace, load: str) -> int:
    """Print the results of many members at once."""
    logging.getLogger("vimbiso_fsm").setLevel(logging.CRITICAL)  # what is not answered is counted, and shown at the end
    print(f"server    {server}", f"load      {load}", f"seed      {options.seed}", sep="\n", flush=True)
    report = talk(server, options.members, options.seed)
    print(*report.lines, sep="\n")
    return 1 if report.wrong else 0


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
    parser.add_argument(
        "--length", type=int, nargs="?", const=10_000, metavar="TURNS", help="instead: of so many turns"
    )
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
        "client": f"Python {platform.python_version()}, redis-py {version('redis')}, hiredis {version('hiredis')}",
        "documents": ", ".join(f"{name} {size} bytes" for name, size in sizes.items()),
        "run": f"{options.blocks} interleaved blocks of {options.seconds:g} s; async: {AT_ONCE} conversations at once",
        "pinned": "; ".join(map(str, places)) or "not pinned: this system cannot",
        **({"note": "only one CPU may be used here: two cores not measured"} if len(places) == 1 else {}),
    }


HEADINGS = ("", "a second", "ratio", "(least–most)", "to sync", "trips", "commands", "client µs", "server µs")


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
        f"({row.ratio.least:.2f}–{row.ratio.most:.2f})",
        f"{row.ratio_to_sync.median:.2f}",
        f"{row.round_trips.median:.2f}",
        f"{row.commands.median:.2f}",
        f"{row.client_cpu.median:.0f}",
        f"{row.server_cpu.median:.0f}",
    )


def _line(cells: Sequence[str]) -> str:
    first, *others = cells
    return f"  {first:<27}" + "".join(f"{cell:>13}" if "–" in cell else f"{cell:>10}" for cell in others)


if __name__ == "__main__":
    sys.exit(main())
