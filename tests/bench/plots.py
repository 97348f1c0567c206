"""Draw what the benchmark measured, as SVG files for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.growth import Growth, Point
from tests.plots import begun, saved

__all__ = ["draw"]


def draw(growth: Growth, points: Sequence[Point], folder: Path) -> Path:
    """Draw the factors of a growth with their quartiles.

    Returns:
        The file that was written: `<folder>/cost-by-<name>.svg`.
    """
    sizes = [point.size for point in points]
    factors = [point.factor.median for point in points]
    spread = [
        [point.factor.median - point.factor.lower for point in points],
        [point.factor.upper - point.factor.median for point in points],
    ]
    more = "" if tuple(sizes) == growth.sizes else f" --sizes {' '.join(map(str, sizes))}"
    figure, axes = begun(f'make bench ARGS="--growth {growth.name}{more}"')
    axes.errorbar(sizes, factors, yerr=spread, marker="o", capsize=4)
    axes.set_xscale("symlog" if sizes[0] == 0 else "log")
    axes.set_ylim(0, max(1.5, *(point.factor.upper * 1.1 for point in points)))
    axes.set_xlabel(growth.unit)
    axes.set_ylabel(f"time of a turn, over that at {sizes[0]:,}")
    return saved(figure, folder, f"cost-by-{growth.name}")
