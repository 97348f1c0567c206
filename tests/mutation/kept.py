"""Results that are kept in a file, so that a run of the command goes on where another has ended.

A result belongs to a stage and to what that stage depends on: after a change of `vimbiso_fsm/check` only "declared" is
looked at again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_DECLARING: Final = (
    "flows", "vimbiso_fsm/made.py", "vimbiso_fsm/flow", "vimbiso_fsm/messages", "vimbiso_fsm/document",
    "tests/mutation/making.py", "tests/mutation/mutants.py", "tests/mutation/stages.py",
)  # fmt: skip
_DECIDING: Final = (*_DECLARING, "vimbiso_fsm/engine", "vimbiso_fsm/operations", "vimbiso_fsm/testing")
SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "made": _DECLARING,
    "declared": (*_DECIDING, "vimbiso_fsm/check"),
    "approved": (*_DECIDING, "tests/walks"),
    "walked": _DECIDING,
    "tested": ("flows", "vimbiso_fsm", "tests/mutation/making.py", "tests/mutation/mutants.py", "tests/vimbisopay",
               "tests/transcripts"),
}  # fmt: skip
"""The files and folders on which each stage depends."""


def digest(stage: str, root: Path = ROOT) -> str:
    """Return the digest of all files on which a stage depends."""
    made = hashlib.sha256()
    for source in SOURCES[stage]:
        place = root / source
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and file.suffix not in (".pyc", ".pyo"):
                made.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return made.hexdigest()[:16]


@attrs.frozen
class Kept:
    """A file of results, a line each.

    Attributes:
        file: The file. It is made when the first result is added.
        digests: The digests of the stages today. A result of another digest is passed over.
    """

    file: Path
    digests: Mapping[str, str]

    def read(self) -> dict[str, dict[str, str]]:
        """Return what each stage shows of each mutant, "" for nothing, as far as it is known."""
        known: dict[str, dict[str, str]] = {}
        if self.file.exists():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                stage, digest_then, mutant, shows = json.loads(line)
                if self.digests.get(stage) == digest_then:
                    known.setdefault(mutant, {})[stage] = shows
        return known

    def add(self, mutant: str, shown: Mapping[str, str]) -> None:
        """Keep what stages show of a mutant."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as written:
            written.writelines(
                json.dumps([stage, self.digests[stage], mutant, shows]) + "\n" for stage, shows in shown.items()
            )
