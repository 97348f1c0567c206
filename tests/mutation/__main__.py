"""Print which mutants of the flows in `flows/` are found, by what.

    python -m tests.mutation [--only FLOW] [--without-tests] [--processes 2]

The stages: the declaration is refused when it is made; `vimbiso check --walk` finds what it does not find in the flows
as they are (declaration alone); an approved walk goes otherwise; one turn of the whole walk goes otherwise; a test of
the flows fails. "All tests" are those of `flows/`, in tests/vimbisopay and tests/transcripts, because the tests of the
library say nothing of these flows; they are tried only on what is left. Mutants that change nothing a member can see
are set apart, each with its reason, in `equivalent.py`. What is found is kept in build/mutation.jsonl, a line for each
mutant and stage, so that a run that was ended goes on, and so that only the stages that depend on a change are looked
at again.
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
from tests.mutation.kept import ROOT, SOURCES, Kept, digest
from tests.mutation.report import lines

_FORK: Final = multiprocessing.get_context("fork")


def main() -> None:
    """Look at each mutant, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="FLOW", help="the mutants of one flow")
    parser.add_argument("--without-tests", action="store_true", help="leave the tests of the flows out")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="processes at a time")
    asked = parser.parse_args()
    kept = Kept(ROOT / "build/mutation.jsonl", {stage: digest(stage) for stage in SOURCES})
    shown = _looked_at(kept, asked.only, asked.processes)
    if not asked.without_tests:
        walks = ("made", "approved", "walked")
        left = [name for name, by in shown.items() if not any(map(by.get, walks)) and "tested" not in by]
        with ThreadPoolExecutor(asked.processes) as threads:
            for name, failed in zip(left, threads.map(stages.tested, left), strict=True):
                kept.add(name, {"tested": failed})
                shown[name] |= {"tested": failed}
    results = {name: {stage: shows for stage, shows in by.items() if shows} for name, by in shown.items()}
    print(*lines(results, EQUIVALENT, tested=not asked.without_tests), sep="\n")


def _looked_at(kept: Kept, only: str, processes: int) -> dict[str, dict[str, str]]:
    """Return what the stages before the tests show of each mutant. What is not kept is looked at, and kept."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "basis"))
        with _FORK.Pool(1) as pool:
            pool.apply(stages.basis, (file,))
        with _FORK.Pool(1) as pool:
            names = [str(mutant) for mutant in pool.apply(stages.known_mutants, (file,)) if only in ("", mutant.flow)]
        known = kept.read()
        shown = {name: known.get(name, {}) for name in names}
        left = [(name, file, by) for name, by in shown.items() if _is_left(by)]
        with _FORK.Pool(processes, maxtasksperchild=1) as pool:
            for (name, *_), looked in zip(left, pool.imap(_look_at, left), strict=True):
                kept.add(name, looked)
                shown[name] = {**shown[name], **looked}
    return shown


def _is_left(by: Mapping[str, str]) -> bool:
    """Whether a stage before the tests has not looked at a mutant."""
    stages_to_look = {"made", "declared", "approved", *(() if by.get("approved") else ("walked",))}
    return not by.get("made") and not stages_to_look <= by.keys()


def _look_at(left: tuple[str, str, Mapping[str, str]]) -> dict[str, str]:
    return stages.look_at(*left)


if __name__ == "__main__":
    main()
