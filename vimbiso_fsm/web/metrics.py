"""Counts of an app, written as OpenMetrics 1.0. No member, address or text is among them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The media type of the text."""
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the buckets of durations, in seconds."""

_COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "vimbiso_web_requests": ("Requests by channel and HTTP status.", ("channel", "status")),
    "vimbiso_web_messages": ("Messages by channel and outcome.", ("channel", "outcome")),
    "vimbiso_web_sends": ("Sends of replies by channel and answer.", ("channel", "answer")),
}
_DURATION: Final = "vimbiso_web_request_seconds"


class Metrics:
    """Counts requests, messages and sends. It belongs to one event loop."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in _COUNTERS}
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(SECONDS) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def request(self, channel: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            channel: The path of the channel.
            status: The HTTP status of the answer.
            seconds: The time until the answer.
        """
        self._counts["vimbiso_web_requests"][channel, str(status)] += 1
        self._buckets[channel][sum(seconds > bound for bound in SECONDS)] += 1
        self._seconds[channel] += seconds

    def message(self, channel: str, outcome: str) -> None:
        """Count a message by its outcome: the status of its turn, or the class of an error."""
        self._counts["vimbiso_web_messages"][channel, outcome] += 1

    def send(self, channel: str, answer: str) -> None:
        """Count a send of replies by the class of the answer or of the error."""
        self._counts["vimbiso_web_sends"][channel, answer] += 1

    def text(self) -> str:
        """Return all counts as OpenMetrics."""
        return "\n".join((*self._lines(), "# EOF\n"))

    def _lines(self) -> Iterator[str]:
        for name, (help_text, labels) in _COUNTERS.items():
            yield f"# TYPE {name} counter"
            yield f"# HELP {name} {help_text}"
            for values, count in sorted(self._counts[name].items()):
                yield f"{name}_total{_labelled(dict(zip(labels, values, strict=True)))} {count}"
        yield f"# TYPE {_DURATION} histogram"
        yield f"# UNIT {_DURATION} seconds"
        yield f"# HELP {_DURATION} Time until the answer to a request."
        for channel, buckets in sorted(self._buckets.items()):
            for bound, count in zip([*map(str, SECONDS), "+Inf"], accumulate(buckets), strict=True):
                yield f"{_DURATION}_bucket{_labelled({'channel': channel, 'le': bound})} {count}"
            yield f"{_DURATION}_count{_labelled({'channel': channel})} {sum(buckets)}"
            yield f"{_DURATION}_sum{_labelled({'channel': channel})} {self._seconds[channel]:.6f}"


def _labelled(values: Mapping[str, str]) -> str:
    """Return labels. The names of channels, statuses and classes need no escapes."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"
