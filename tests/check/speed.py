"""Print the CPU seconds that it takes to make 200 flows of 30 states, and to look for findings in them.

    python -m tests.check.speed [FLOWS [STATES]]

Each flow is a module of its own with its own callbacks: a guard, a `prepare` and a question for each state.
"""

# ruff: noqa: E501  # the generated source reads best unwrapped

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from vimbiso_fsm import Bot, Flow, State, Text, Transition
from vimbiso_fsm.check.findings import findings

_HEAD = """
import attrs

from vimbiso_fsm import Flow, Refused, State, Text, Transition, Turn, readers


@attrs.frozen
class Data:
    name: str = "you"
    count: int = 0


"""
_STATE = """
def asks_{n}(turn: Turn[Data]) -> Text:
    return Text("Question {n} to {{name}}?", name=turn.data.name)


def enough_{n}(turn: Turn[Data]) -> bool | Refused:
    return turn.data.count <= {n} or Refused("number.most", most={n})


def counted_{n}(turn: Turn[Data]) -> Data:
    return attrs.evolve(turn.data, count=turn.data.count + 1)


"""


def _module(name: str, states: int) -> str:
    """Return the source of a flow."""
    declared = [f'State("s{n}", ask=asks_{n}, reads=readers.name(), into="name")' for n in range(states - 1)]
    ways = [
        f'Transition("answer", "s{n}", "s{n + 1}", prepare=counted_{n}, conditions=enough_{n})'
        for n in range(states - 1)
    ]
    parts = [_HEAD, *(_STATE.format(n=n) for n in range(states - 1)), f'flow = Flow({name!r}, data=Data, initial="s0",']
    end = f'State("s{states - 1}", say=Text("Over."), final=True)'
    parts += [f"    states=[{', '.join([*declared, end])}],\n", f"    transitions=[{', '.join(ways)}],\n)\n"]
    return "".join(parts)


def _write(folder: Path, flows: int, states: int) -> Iterator[str]:
    for number in range(flows):
        name = f"speed_{number}"
        (folder / f"{name}.py").write_text(_module(name, states), encoding="utf-8")
        yield name


def main(flows: int = 200, states: int = 30) -> None:
    """Write the flows into a folder, import them and look for findings."""
    with tempfile.TemporaryDirectory() as folder:
        names = list(_write(Path(folder), flows, states))
        sys.path.insert(0, folder)
        began = time.process_time()
        made = [import_module(name).flow for name in names]
        runs: list[State[object]] = [State(f"runs_{n}", flow=flow) for n, flow in enumerate(made)]
        ways: list[Transition[object]] = [Transition(f"go_{n}", "menu", f"runs_{n}") for n in range(flows)]
        ways.append(Transition(["done", "cancelled"], [state.name for state in runs], "menu"))
        home: Flow[object] = Flow(
            "home", initial="menu", states=[State("menu", ask=Text("Well?")), *runs], transitions=ways
        )
        bot = Bot(home, texts={f"home.menu.go_{n}": f"Go {n}" for n in range(flows)})
        imported = time.process_time()
        found = findings(bot)
        print(
            f"{flows} flows of {states} states: made {imported - began:.2f} s, checked {time.process_time() - imported:.2f} s CPU"
        )
        print(f"{len(found)} findings: {', '.join(sorted({each.code for each in found}))}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
