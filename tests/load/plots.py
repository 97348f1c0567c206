"""Draw the latencies of a load, as an SVG file for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.ticker import LogLocator

from tests.plots import begun, saved

if TYPE_CHECKING:
    from tests.load.__main__ import Measured

__all__ = ["SHARES", "draw"]

SHARES: Final = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""The shares of the requests whose times are drawn."""


def draw(loads: Mapping[str, Measured], command: str, folder: Path) -> Path:
    """Draw the percentiles of the time until the acknowledgement.

    Args:
        loads: What was measured, by the words for its rate.
        command: The command that prints the figure.
        folder: The folder of the file.

    Returns:
        The file that was written: `<folder>/latency-percentiles.svg`.
    """
    figure, axes = begun(command)
    places = [1 / (1 - share) for share in SHARES]  # equal steps to 90 %, 99 % and 99.9 %
    for words, measured in loads.items():
        label = f"{words}, {measured.rate:,.0f} requests/s"
        axes.plot(places, [measured.at(share) for share in SHARES], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{100 * share:g} %" for share in SHARES])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("share of the requests")
    axes.set_ylabel("acknowledged within, in ms")
    axes.legend()
    return saved(figure, folder, "latency-percentiles")
