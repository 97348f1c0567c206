"""Print the table of faults: each fault, what must hold, what was counted, and the seed. `make faults` runs it.

The plan of a run (the lost replies, the points of the kills, the order of messages) is drawn from the seed, and
`--row NAME --seed N` draws it again. The interleaving of processes is not repeated. No row needs root.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import textwrap
import time
from collections.abc import Sequence

from tests.faults.rows import ROWS, Profile, Report

SHOWN = 5
"""Faults shown of a row; there may be one a member."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that the command line names; return 1 when something was wrong, else 0."""
    options = _options(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    profile = Profile(short=options.short)
    print(f"{'short' if profile.short else 'deep'} profile, seed {seed}")
    failed = 0
    for name in options.row or ROWS:
        began = time.monotonic()
        report = ROWS[name].run(profile, seed)
        failed += bool(report.wrong)
        _show(name, report, seed, time.monotonic() - began)
    print(f"\n{failed} of {len(options.row or ROWS)} rows failed")
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the profile of the tests: seconds a row, not minutes")
    parser.add_argument("--seed", type=int, help="of every plan; drawn and printed when it is not given")
    parser.add_argument(
        "--row", action="append", choices=ROWS, metavar="NAME", help=f"only this one: {', '.join(ROWS)}"
    )
    return parser.parse_args(arguments)


def _show(name: str, report: Report, seed: int, seconds: float) -> None:
    """Print one row of the table."""
    row = ROWS[name]
    counts = ", ".join(f"{count:g} {what.replace('_', ' ')}" for what, count in report.counts.items())
    print(f"\n{'FAILED' if report.wrong else 'held  '}  {name}  (seed {seed}, {seconds:.0f} s)")
    print(f"        {row.fault}: {row.holds}")
    print(textwrap.fill(counts, 118, initial_indent=" " * 8, subsequent_indent=" " * 8))
    for wrong in report.wrong[:SHOWN]:
        print(f"      ! {wrong}")
    if len(report.wrong) > SHOWN:
        print(f"      ! and {len(report.wrong) - SHOWN} more")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
