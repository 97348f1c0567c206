"""The stages by which a mutant is looked at, each in a process of its own: made, declared, approved, walked, tested."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tests.mutation.kept import ROOT
from tests.mutation.making import VARIABLE, all_mutants, mutate
from tests.mutation.mutants import Mutant
from tests.mutation.unnamed import unused
from vimbiso_fsm.check.findings import findings
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.testing.approved import differences, led_to
from vimbiso_fsm.testing.moments import Moment, Move, World
from vimbiso_fsm.testing.walking import walk

SETTINGS: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "vimbiso"
]
DECLARED_TURNS: Final = 1_500
"""The moves of the walk whose findings count for "declaration alone"."""
TESTS: Final = (
    "flows", "answers", "domain", "bad_input", "languages", "numbers", "recovery",
)  # fmt: skip
"""The tests of `flows/`, beside the transcripts."""
_PATIENCE: Final = 600
"""Seconds for one mutant."""


@attrs.frozen
class Turned:
    """One move of the whole walk: the place of the moment that it leads from, the move, and what it has led to."""

    before: int
    move: Move
    lines: tuple[str, ...]


@attrs.frozen
class Basis:
    """What the flows do as they are.

    Attributes:
        mutants: The mutants of the flows.
        found: The findings of the check and of the short walk, as code and place.
        who: The channels at which the whole walk begins; their places are the negative ones of `Turned.before`.
        turned: The moves of the whole walk.
    """

    mutants: tuple[Mutant, ...]
    found: frozenset[tuple[str, str, str]]
    who: tuple[Any, ...]
    turned: tuple[Turned, ...]


def basis(file: str) -> None:
    """Write the `Basis` into a file."""
    import flows  # it is not imported in the process that starts the others

    places: dict[int, int] = {}
    kept: list[Moment] = []  # so that no id is used twice
    turned: list[Turned] = []
    channels: list[Any] = []

    def note(moment: Moment) -> None:
        before = moment.before
        assert before is not None
        assert moment.move is not None
        if before.before is None and before.channel not in channels:
            channels.append(before.channel)
        place = places[id(before)] if before.before is not None else -1 - channels.index(before.channel)
        places[id(moment)] = len(turned)
        kept.append(moment)
        turned.append(Turned(place, moment.move, tuple(led_to(flows.bot, moment))))

    walk(flows.bot, SETTINGS["who"], each=note)
    done = Basis(tuple(all_mutants()), _found(flows.bot), tuple(channels), tuple(turned))
    Path(file).write_bytes(pickle.dumps(done))


def _found(bot: Bot) -> frozenset[tuple[str, str, str]]:
    walked = walk(bot, SETTINGS["who"], turns=DECLARED_TURNS).findings
    return frozenset((each.code, each.flow, each.place) for each in (*findings(bot), *walked))


def look_at(mutant: str, file: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return what each stage shows of a mutant, "" for nothing. The stages that are known are left out.

    The others are left out where the flow is refused when it is made, and the whole walk where an approved one shows
    the mutant.
    """
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(_PATIENCE)
    mutate(mutant)
    try:
        import flows  # it is made with the mutant
    except VimbisoError as error:
        return {"made": str(error).partition("\n")[0]}
    basis_of_all: Basis = pickle.loads(Path(file).read_bytes())  # this process's parent has written it
    shown: dict[str, str] = {"made": ""}
    for stage, look in (("declared", _declared), ("approved", _approved), ("walked", _walked)):
        if stage in known:
            continue
        if stage == "walked" and {**known, **shown}["approved"]:
            break
        try:
            shown[stage] = look(flows.bot, basis_of_all, mutant.partition(":")[0])
        except Exception as error:  # whatever a mutant raises shows it
            shown[stage] = f"{type(error).__name__}: {error}"
    return shown


def _too_long(*_: object) -> None:
    raise TimeoutError(f"it took longer than {_PATIENCE} s")


def _declared(bot: Bot, known: Basis, _: str) -> str:
    codes = {(each.code, each.flow, each.place) for each in (*findings(bot), *unused(bot))} - known.found
    more = codes or (_found(bot) - known.found)
    return ", ".join(sorted({code for code, _, _ in more}))


def _approved(bot: Bot, _: Basis, flow: str) -> str:
    folder = ROOT / "tests/walks"
    for file in sorted(folder.glob("*.txt"), key=lambda file: file.stem != flow):
        changed = differences(bot, file.stem, file.read_text(encoding="utf-8"))
        if changed:
            return file.stem
    return ""


def _walked(bot: Bot, known: Basis, _: str) -> str:
    world = World(bot)
    moments: dict[int, Moment] = {-1 - place: world.beginning(channel) for place, channel in enumerate(known.who)}
    for place, turned in enumerate(known.turned):
        moment = world.after(moments[turned.before], turned.move)
        lines = () if moment is None else tuple(led_to(bot, moment))
        if moment is None or lines != turned.lines:
            return f"turn {place + 1} of {len(known.turned)}"
        moments[place] = moment
    return ""


def tested(mutant: str) -> str:
    """Return the first test of the flows that fails; "" if all pass."""
    files = [f"tests/vimbisopay/test_{name}.py" for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "tests.mutation.making", "-p", "no:cacheprovider"]
    with tempfile.TemporaryFile("w+") as output:
        subprocess.run(
            [*command, *files, "tests/transcripts"], cwd=ROOT, stdout=output, stderr=output, check=False,
            env={**os.environ, VARIABLE: mutant, "HYPOTHESIS_PROFILE": "same"},
        )  # fmt: skip
        output.seek(0)
        failed = [line for line in output if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].split()[1] if failed else ""


def known_mutants(file: str) -> tuple[Mutant, ...]:
    """Return the mutants of the flows."""
    known: Basis = pickle.loads(Path(file).read_bytes())  # as above
    return known.mutants
