"""Blocks: each contender runs for a short while in turn, again and again, so that a slow minute affects all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import quantiles

import attrs

from tests.bench.contenders import Contender
from tests.bench.server import Placement, Server

__all__ = ["Row", "Sample", "Spread", "measure"]


@attrs.frozen
class Sample:
    """One contender in one block. Times are microseconds of one repetition; `rate` is repetitions per second."""

    rate: float
    round_trips: float
    commands: float
    client_cpu: float
    server_cpu: float


@attrs.frozen
class Spread:
    """The spread of a figure over all blocks: its median, and the quartiles below and above it."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        if len(figures) == 1:
            return cls(figures[0], figures[0], figures[0])
        lower, middle, upper = quantiles(figures, n=4, method="inclusive")
        return cls(middle, lower, upper)


@attrs.frozen
class Row:
    """One contender at one placement.

    Attributes:
        ratio: Its rate over that of the bare loop of the same style, block by block.
        ratio_to_sync: Its rate over that of the sync bare loop.
    """

    placement: str
    style: str
    name: str
    rate: Spread
    ratio: Spread
    ratio_to_sync: Spread
    round_trips: Spread
    commands: Spread
    client_cpu: Spread
    server_cpu: Spread


def measure(
    server: Server,
    contenders: Sequence[Contender],
    placement: Placement | None,
    seconds: float,
    blocks: int,
    beside: Sequence[int] = (),
) -> list[Row]:
    """Return a row for each contender. The first of a style is the one that its ratios refer to.

    Args:
        server: The server.
        contenders: The contenders, those of one style together.
        placement: The CPUs; None does not pin.
        seconds: The length of a block.
        blocks: The number of blocks of each contender.
        beside: The processes that are pinned to the CPU of the server.
    """
    if placement:
        server.place(placement, *beside)
    for contender in contenders:
        contender.run(seconds / 5)
    samples: list[list[Sample]] = [[] for _ in contenders]
    for block in range(blocks):
        for turn in range(len(contenders)):
            place = (block + turn) % len(contenders)  # no contender always follows the same other
            samples[place].append(_sample(server, contenders[place], seconds))
    rates = [[sample.rate for sample in of_one] for of_one in samples]
    first: dict[str, list[float]] = {}
    for contender, own in zip(contenders, rates, strict=True):
        first.setdefault(contender.style, own)
    return [
        Row(
            placement=placement.name if placement else "not pinned",
            style=contender.style,
            name=contender.name,
            ratio=_ratio(own, first[contender.style]),
            ratio_to_sync=_ratio(own, first["sync"]),
            **{field: Spread.of([getattr(sample, field) for sample in of_one]) for field in attrs.fields_dict(Sample)},
        )
        for contender, of_one, own in zip(contenders, samples, rates, strict=True)
    ]


def _ratio(own: Sequence[float], bare: Sequence[float]) -> Spread:
    return Spread.of([mine / its for mine, its in zip(own, bare, strict=True)])


def _sample(server: Server, contender: Contender, seconds: float) -> Sample:
    before = server.counters()
    cpu, began = time.process_time(), time.perf_counter()
    done = contender.run(seconds)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    counted = server.counters().since(before)
    return Sample(
        rate=done / took,
        round_trips=counted.round_trips / done,
        commands=counted.commands / done,
        client_cpu=cpu / done * 1e6,
        server_cpu=counted.cpu / done * 1e6,
    )
