"""Processes of `vimbiso serve` and `vimbiso worker`, and requests to them over HTTP on this machine."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from tests.cli_runs import LIMIT, environment
from tests.web.clients import TOKEN
from tests.web.signed import BASE, REST_SECRET, signed
from vimbiso_fsm.channels import rest

METRICS = "token-of-the-metrics"
CHAT_SECRET = "secret-of-the-cookies-of-visitors"
MAIN = "from vimbiso_fsm.cli import main; main()"

BOT = '''
import os
import socket
from typing import Protocol

from vimbiso_fsm import Bot, Caller, Flow, NoData, State, Text, Transition, Turn, call


class Gate(Protocol):
    def wait(self, *, caller: Caller = Caller()) -> str: ...


class Connected:
    """A call that connects to the test, and lasts until the test ends the connection."""

    def wait(self, *, caller):
        with socket.create_connection(("127.0.0.1", int(os.environ["GATE"]))) as line:
            line.recv(1)
        return "done"


def wait(turn: Turn[NoData]):
    return call(Gate.wait)


greeting = Flow(
    "greeting", initial="ask",
    states=[
        State("ask", ask=Text("Shall we?")),
        State("waiting", call=wait),
        State("begun", ask=Text("So.")),
        State("over", say=Text("Over."), final=True),
    ],
    transitions=[
        Transition("yes", "ask", "begun"),
        Transition("wait", "ask", "waiting"),
        Transition("done", "waiting", "begun"),
        Transition("failed", "waiting", "ask"),
        Transition("end", "begun", "over"),
    ],
)
bot = Bot([greeting], services={"gate": Connected()})
'''


def settings(vendors: str) -> dict[str, str]:
    """Return the variables of all channels, whose vendors are at an address of this machine."""
    return {
        "VIMBISO_BASE_URL": BASE,
        "VIMBISO_CHAT_SECRETS": CHAT_SECRET,
        "VIMBISO_METRICS_TOKEN": METRICS,
        "VIMBISO_REST_SECRETS": REST_SECRET,
        "VIMBISO_TELEGRAM_BASE": vendors,
        "VIMBISO_TELEGRAM_SECRET_TOKEN": "s",
        "VIMBISO_TELEGRAM_TOKEN": TOKEN,
        "VIMBISO_TWILIO_ACCOUNT_SID": "AC1",
        "VIMBISO_TWILIO_AUTH_TOKEN": TOKEN,
        "VIMBISO_TWILIO_BASE": vendors,
        "VIMBISO_TWILIO_SENDER": "+16505550002",
        "VIMBISO_WHATSAPP_APP_SECRET": "s",
        "VIMBISO_WHATSAPP_BASE": vendors,
        "VIMBISO_WHATSAPP_NUMBER_ID": "106",
        "VIMBISO_WHATSAPP_TOKEN": TOKEN,
        "VIMBISO_WHATSAPP_VERIFY_TOKEN": "t0ken",
    }


def webhook(name: str) -> tuple[str, bytes, dict[str, str]]:
    """Return the path, the body and the headers of a recorded request of a vendor, signed as the vendor does."""
    if name != "twilio":
        return f"/{name}", *signed(name)
    text = f"{BASE}/twilio" + "Bodyhi" + "From+263771000001" + "MessageSidSM0" + "To+16505550002"
    digest = hmac.new(TOKEN.encode(), text.encode(), "sha1").digest()
    return "/twilio", signed("sms")[0], {"X-Twilio-Signature": base64.b64encode(digest).decode()}


@attrs.frozen
class Answer:
    """The answer to a request."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def texts(self) -> list[str]:
        """The texts of the replies of the REST channel."""
        return [reply["text"] for reply in self.json["replies"]]


def ask(url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Make a request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.read(), dict(response.getheaders()))
    finally:
        connection.close()


def rest_body(sender: str, id: str, text: str) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a message of the REST channel."""
    raw = json.dumps({"sender": sender, "id": id, "text": text}).encode()
    return raw, {"X-Vimbiso-Signature": rest.sign(raw, secret=REST_SECRET, at=int(time.time()))}


class Served:
    """A process, and the lines that it writes.

    Attributes:
        process: The process.
        lines: The lines of both of its outputs.
        url: Where it serves.
    """

    url = ""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=(pipe,)) for pipe in (process.stdout, process.stderr)]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                with self._more:
                    self.lines.append(line.decode().rstrip("\n"))
                    self._more.notify_all()
        with self._more:
            self._more.notify_all()

    @property
    def text(self) -> str:
        """All that it has written."""
        return "\n".join(self.lines)

    def until(self, words: str) -> str:
        """Wait for a line with these words."""

        def found() -> str | None:
            return next((line for line in self.lines if words in line), None)

        with self._more:
            ready = self._more.wait_for(lambda: found() or not any(each.is_alive() for each in self._readers), LIMIT)
        assert ready, self.text
        line = found()
        assert line, f"it ended without {words!r}: {self.text}"
        return line

    def say(self, id: str, text: str, sender: str = "ada") -> Answer:
        """Hand in a message of the REST channel."""
        return ask(self.url, "POST", "/rest", *rest_body(sender, id, text))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait(LIMIT)
        for reader in self._readers:
            reader.join(LIMIT)
        return code


@contextmanager
def served(
    folder: Path,
    variables: Mapping[str, str],
    *words: str | Path,
    command: str = "serve",
    flows: str = "greeter",
    before: str = "",
    waits: bool = True,
) -> Generator[Served]:
    """Run the command until the block ends.

    Args:
        folder: The working directory, which has the package of the bot.
        variables: Further variables of its environment.
        words: Its options, beside the bot and the address.
        command: The name of the command.
        flows: The package of the bot.
        before: Python that runs in the process before the command.
        waits: Whether it is waited for until it serves.
    """
    if not (folder / f"{flows}.py").exists():
        (folder / f"{flows}.py").write_text(BOT)
    where: Sequence[str] = () if "--port" in words else ("--port", "0") if command == "serve" else ("--http", "0")
    line = [sys.executable, "-c", f"{before}\n{MAIN}", command, "--flows", flows, *where, *map(str, words)]
    pipe = subprocess.PIPE
    begun = subprocess.Popen(
        line, cwd=folder, env={**environment(folder), **variables}, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    found = Served(begun)
    try:
        if waits:
            words_of_address = "serving at http" if command == "serve" else "serves http"
            found.url = found.until(words_of_address).rsplit(" ", 1)[-1]
        yield found
    finally:
        begun.terminate()  # in order, so that its server ends too
        try:
            found.ended()
        except subprocess.TimeoutExpired:
            begun.kill()
            found.ended()
