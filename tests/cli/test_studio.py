"""`vimbiso studio` as a process: the address that it prints, who gets in, and its end."""

from __future__ import annotations

import http.client
import signal
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import flows
from tests.cli_runs import LIMIT, ROOT, embedded, invoke, start
from vimbiso_fsm import FlowStateManager, Message
from vimbiso_fsm.messages.message import Channel

pytestmark = [pytest.mark.embedded, embedded]


def ask(address: str, path: str, cookie: str = "") -> tuple[int, str, bytes]:
    """Ask the studio for a page; return the status, the cookie that is set, and the body."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=LIMIT)) as connection:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        return answer.status, str(answer.headers["set-cookie"]).partition(";")[0], answer.read()


def test_the_token_of_the_printed_address_opens_the_studio(tmp_path: Path):
    """The address leads in once, the board reads the store, and the process ends in order when it is told to."""
    data = tmp_path / "data"
    with FlowStateManager.embedded(data, flows.bot) as manager:
        manager.handle(Message(Channel("whatsapp", "263771000001"), "1", "hi"))
    (tmp_path / "flows").symlink_to(ROOT / "flows")
    process = start("studio", "--flows", "flows", "--data", data, "--no-open", cwd=tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    address = line.removeprefix("studio: ").strip()
    assert address.startswith("http://127.0.0.1:")
    path = f"/?{urlsplit(address).query}"
    status, cookie, _ = ask(address, path)
    assert status == 303
    assert ask(address, path)[0] == 403
    assert ask(address, "/board")[0] == 403
    assert b"live store, read only" in ask(address, "/board", cookie)[2]
    assert b"<strong>1</strong> member," in ask(address, "/board/members", cookie)[2]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out, err) == (0, b"", b"")
    assert not [*(tmp_path / "tmp").iterdir()]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--metrics", "localhost:8000"], "is no address"),
        (["--redis", "redis://127.0.0.1:1", "--data", "."], "name two stores"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--redis", "redis://127.0.0.1:1"], "127.0.0.1:1"),
    ],
)
def test_wrong_options_are_told(words: list[str], wrong: str):
    """What is wrong ends the command with a sentence, before anything is served."""
    code, out, err = invoke("studio", "--flows", "flows", "--no-open", *words)
    assert code in (1, 2)
    assert out == ""
    assert wrong in " ".join(err.split())
