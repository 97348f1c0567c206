"""What the endpoints of an app count."""

from __future__ import annotations


class Counts:
    """Counts nothing, for an app without metrics. `OpenMetrics` counts."""

    def request(self, channel: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            channel: The path of the channel.
            status: The HTTP status of the answer.
            seconds: The time until the answer.
        """

    def message(self, channel: str, outcome: str) -> None:
        """Count a message by its outcome: the status of its turn, or the class of an error."""

    def send(self, channel: str, answer: str) -> None:
        """Count a send of replies by the class of the answer or of the error."""
