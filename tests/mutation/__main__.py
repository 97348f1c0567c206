"""Print which mutants of the flows in `flows/` are found, by what.

    python -m tests.mutation [--only FLOW] [--without-tests] [--processes 2]

The stages: the declaration is refused when it is made; `vimbiso check --walk` finds what it does not find in the flows
as they are (declaration alone); an approved walk goes otherwise; one turn of the whole walk goes otherwise; a test of
the flows fails. "All tests" are those of `flows/`, in tests/vimbisopay and tests/transcripts, because the tests of the
library say nothing of these flows; they are tried only on what is left. Mutants that change nothing a member can see
are set apart, each with its reason, in `equivalent.py`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.mutation import stages
from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.report import lines

_FORK: Final = multiprocessing.get_context("fork")


def main() -> None:
    """Look at each mutant, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="FLOW", help="the mutants of one flow")
    parser.add_argument("--without-tests", action="store_true", help="leave the tests of the flows out")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="processes at a time")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "basis"))
        with _FORK.Pool(1) as pool:
            pool.apply(stages.basis, (file,))
        with _FORK.Pool(1) as pool:
            names = [
                str(mutant) for mutant in pool.apply(stages.known_mutants, (file,)) if asked.only in ("", mutant.flow)
            ]
        with _FORK.Pool(asked.processes, maxtasksperchild=1) as pool:
            looked = pool.starmap(stages.look_at, [(name, file) for name in names], chunksize=1)
    shown: dict[str, dict[str, str]] = dict(zip(names, looked, strict=True))
    if not asked.without_tests:
        left = [name for name in names if not {"made", "approved", "walked"} & shown[name].keys()]
        with ThreadPoolExecutor(asked.processes) as threads:
            for name, failed in zip(left, threads.map(stages.tested, left), strict=True):
                shown[name] |= {"tested": failed} if failed else {}
    results: Mapping[str, Mapping[str, str]] = shown
    print(*lines(results, EQUIVALENT, tested=not asked.without_tests), sep="\n")


if __name__ == "__main__":
    main()
