"""Attributes of measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.hostile.kit import message, pay_bot, require

pytest.importorskip("opentelemetry.metrics")

from opentelemetry.metrics import NoOpCounter, NoOpMeter, NoOpMeterProvider

from vimbiso_fsm.runtime.telemetry import ObservedManager, Telemetry


class KeepingProvider(NoOpMeterProvider):
    """A meter provider that keeps the attributes of each count, and a copy of them."""

    def __init__(self) -> None:
        self.kept: list[tuple[Mapping[str, Any], dict[str, Any]]] = []

    def get_meter(self, name: str, *args: Any, **options: Any) -> NoOpMeter:
        """Return a meter whose counters keep the attributes."""
        kept = self.kept

        class Counter(NoOpCounter):
            def add(self, amount: float, attributes: Mapping[str, Any] | None = None, *_: Any, **__: Any) -> None:
                if attributes is not None:
                    kept.append((attributes, dict(attributes)))

        class Meter(NoOpMeter):
            def create_counter(self, name: str, unit: str = "", description: str = "") -> NoOpCounter:
                return Counter(name, unit, description)

        return Meter(name)


def test_the_attributes_of_a_measurement_stay_as_they_were_handed_over():
    """Attributes that were given to a counter are not changed afterwards, since it may keep them."""
    provider = KeepingProvider()
    with ObservedManager.in_memory(pay_bot(), telemetry=Telemetry(meter_provider=provider)) as manager:
        twice = message("hi")
        statuses = [manager.handle(twice).status for _ in range(2)]
    require(statuses == ["advanced", "duplicate"] and provider.kept, "the duplicate was not counted")
    assert [(given, said) for given, said in provider.kept if given != said] == []
