"""Figures as SVG files for the documentation, each with the command that prints it below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["begun", "saved"]


def begun(command: str) -> tuple[Figure, Axes]:
    """Return an empty figure and its axes.

    Args:
        command: The command that prints it.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    figure.supxlabel(command, fontsize=8, family="monospace", color="#52606d")
    axes = figure.subplots()
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def saved(figure: Figure, folder: Path, name: str) -> Path:
    """Write a figure, and return its file. The same figures give the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path
