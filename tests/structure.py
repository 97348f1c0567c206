"""Print how the package is built: its rooms, import levels, arrows and circles.

    python -m tests.structure [CHECKOUT…]

A room is a module or package directly in `vimbiso_fsm`. An arrow leads from an importing room or module to an imported
one. A level is a step of the longest chain of arrows; a circle counts as one step. An arrow leads upwards when it
goes against the layers that the checkout's `pyproject.toml` declares for import-linter.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import attrs
import grimp

PACKAGE = "vimbiso_fsm"
ROOT = Path(__file__).resolve().parent.parent
Arrows = Mapping[str, frozenset[str]]
"""The imports of each name."""


@attrs.frozen
class Structure:
    """The structure of a package.

    Attributes:
        rooms: The arrows between rooms.
        modules: The arrows between modules.
        layers: The rooms of each declared layer, the highest layer first.
    """

    rooms: Arrows
    modules: Arrows
    layers: tuple[frozenset[str], ...] = ()

    @property
    def upward(self) -> tuple[tuple[str, str], ...]:
        """The arrows between rooms that lead to a higher layer."""
        height = {room: -place for place, rooms in enumerate(self.layers) for room in rooms}
        arrows = ((source, target) for source in sorted(self.rooms) for target in sorted(self.rooms[source]))
        return tuple(
            (source, target)
            for source, target in arrows
            if source in height and target in height and height[source] < height[target]
        )


def read(checkout: Path) -> Structure:
    """Read the structure of the package in a checkout, without importing it.

    Args:
        checkout: The folder that holds the package.

    Returns:
        The structure.
    """
    imported = sys.modules.pop(PACKAGE, None)  # grimp would read the files of the imported package instead
    sys.path.insert(0, str(checkout))
    try:
        graph = grimp.build_graph(PACKAGE, cache_dir=None)
    finally:
        sys.path.remove(str(checkout))
        if imported is not None:
            sys.modules[PACKAGE] = imported
    modules = {module: frozenset(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    rooms = {module: set[str]() for module in graph.find_children(PACKAGE)}
    for source, targets in modules.items():
        for target in targets:
            if _room(source) in rooms and _room(target) in rooms and _room(source) != _room(target):
                rooms[_room(source)].add(_room(target))
    return Structure({room: frozenset(targets) for room, targets in rooms.items()}, modules, _layers(checkout))


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _layers(checkout: Path) -> tuple[frozenset[str], ...]:
    project = checkout / "pyproject.toml"
    tools = tomllib.loads(project.read_text(encoding="utf-8")).get("tool", {}) if project.is_file() else {}
    for contract in tools.get("importlinter", {}).get("contracts", ()):
        if contract["type"] == "layers":
            return tuple(frozenset(name.strip() for name in layer.split("|")) for layer in contract["layers"])
    return ()


def arrows(graph: Arrows) -> int:
    """Count the arrows."""
    return sum(map(len, graph.values()))


def circles(graph: Arrows) -> list[frozenset[str]]:
    """Find the circles: the largest sets of names in which each leads to every other."""
    return [group for group in _components(graph) if len(group) > 1]


def levels(graph: Arrows) -> int:
    """Count the names on the longest chain of arrows."""
    group_of = {name: group for group in _components(graph) for name in group}
    below = {
        group: {group_of[target] for name in group for target in graph[name]} - {group} for group in group_of.values()
    }
    height: dict[frozenset[str], int] = {}
    for group in TopologicalSorter(below).static_order():
        height[group] = 1 + max((height[other] for other in below[group]), default=0)
    return max(height.values(), default=0)


def _components(graph: Arrows) -> list[frozenset[str]]:
    """Find the strongly connected components; Kosaraju's algorithm."""
    importers = {name: {source for source in graph if name in graph[source]} for name in graph}
    order: list[str] = []
    seen: set[str] = set()
    for name in sorted(graph):
        order += _finished(name, graph, seen)
    seen.clear()
    return [frozenset(found) for name in reversed(order) if (found := _finished(name, importers, seen))]


def _finished(start: str, graph: Mapping[str, Iterable[str]], seen: set[str]) -> list[str]:
    """Walk from a name, and return the names that were not seen before, each after those that it leads to."""
    if start in seen:
        return []
    seen.add(start)
    finished: list[str] = []
    path = [(start, iter(sorted(graph[start])))]
    while path:
        name, targets = path[-1]
        target = next((target for target in targets if target not in seen), None)
        if target is None:
            finished.append(name)
            path.pop()
        else:
            seen.add(target)
            path.append((target, iter(sorted(graph[target]))))
    return finished


def lines(structure: Structure) -> Iterator[str]:
    """Yield the report."""
    both = (structure.rooms, structure.modules)
    yield f"{'':<18}{'rooms':>8}{'modules':>10}"
    for title, count in (("number", len), ("import levels", levels), ("arrows", arrows)):
        yield f"{title:<18}{count(both[0]):>8}{count(both[1]):>10}"
    found = [circles(graph) for graph in both]
    yield f"{'circles':<18}{len(found[0]):>8}{len(found[1]):>10}"
    yield f"{'arrows upwards':<18}{len(structure.upward) if structure.layers else 'no layers':>8}"
    for circle in (*found[0], *found[1]):
        yield f"circle: {', '.join(sorted(circle))}"
    for source, target in structure.upward:
        yield f"upwards: {source} imports {target}"


def main(checkouts: list[str]) -> None:
    """Print the structure of each checkout, or of this one."""
    for place, checkout in enumerate(map(Path, checkouts or [str(ROOT)])):
        print(f"{chr(10) if place else ''}{PACKAGE} in {checkout}")
        print("\n".join(lines(read(checkout.resolve()))))


if __name__ == "__main__":
    main(sys.argv[1:])
