"""A collector of OpenTelemetry on this machine, which keeps what it is sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs


@attrs.define
class Collector:
    """A collector.

    Attributes:
        url: Its address.
        bodies: The bodies by the path of the request, as protobuf.
    """

    url: str
    bodies: dict[str, list[bytes]] = attrs.field(factory=dict[str, list[bytes]])

    def has(self, path: str, words: bytes) -> bool:
        """Return whether something with these words was sent to a path."""
        return any(words in body for body in self.bodies.get(path, []))


@contextmanager
def collecting() -> Generator[Collector]:
    """Run a collector until the block ends."""
    found = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            found.bodies.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that the base class has
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
