"""URLs of servers on the command line, which hold no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli_runs import invoke
from vimbiso_fsm.cli.store_url import LEGACY_VARIABLE, VARIABLE

SECRET = "redis://bot:CANARY@127.0.0.1:1/0"
"""A URL with a password. Nothing listens there."""
COMMANDS = {
    "doctor": ("doctor", "--redis", "{}"),
    "worker": ("worker", "--flows", "flows", "--redis", "{}"),
    "state": ("state", "m-1", "--flows", "flows", "--redis", "{}"),
    "history": ("history", "m-1", "--redis", "{}"),
    "audit verify": ("audit", "verify", "m-1", "--redis", "{}"),
    "recover": ("recover", "m-1", "--flows", "flows", "--redis", "{}"),
    "check": ("check", "--flows", "flows", "--redis", "{}"),
    "chat": ("chat", "--flows", "flows", "--redis", "{}"),
    "import-legacy": ("import-legacy", "--from", "{}", "--redis", "redis://127.0.0.1:1", "--find", "7a5b0c1d2e3f4a5b"),
}
"""Commands with a place for the URL of a server."""


def given(command: str, url: str) -> list[str]:
    """Return the words of a command with a URL."""
    return [word.format(url) for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        "rediss://:CANARY@h",
        "redis://:CAN/ARY@h",
        "redis://:CAN?ARY@h",
        "redis+sentinel://h/bots?sentinel_password=CANARY",
        "unix:///s?db=0&password=CANARY",
        "redis+cluster://u:CANARY@a,b",
    ],
)
def test_a_password_on_the_command_line_is_refused(command: str, url: str):
    """A URL with a password on the command line is refused before it is used, with the remedy and not quoted."""
    code, out, err = invoke(*given(command, url))
    assert (code, out) == (2, "")
    assert "in a file (@FILE), or at a prompt (-)" in " ".join(err.split())
    assert "ARY" not in err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_url_with_a_password_comes_from_a_file_or_a_prompt(command: str, tmp_path: Path):
    """A URL with a password is used when a file or a prompt gives it; what is printed shows the host alone."""
    file = tmp_path / "url"
    file.write_text(SECRET + "\n")
    for word, stdin in (f"@{file}", ""), ("-", SECRET + "\n"):
        code, out, err = invoke(*given(command, word), stdin=stdin)
        assert (code, "127.0.0.1:1" in err) == (1, True), err
        assert "CANARY" not in out + err


def test_the_store_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    """The environment names the store of commands that need one, and of no others."""
    monkeypatch.setenv(VARIABLE, SECRET)
    for words in (("doctor",), ("history", "m-1"), ("worker", "--flows", "flows")):
        code, out, err = invoke(*words)
        assert (code, "127.0.0.1:1" in err, "CANARY" in out + err) == (1, True, False)
    assert invoke("check", "--flows", "flows")[0] == 0
    monkeypatch.delenv(VARIABLE)
    assert invoke("history", "m-1")[0] == 2


@pytest.mark.embedded
def test_the_source_of_an_import_is_that_of_the_environment(valkey_url: str, monkeypatch: pytest.MonkeyPatch):
    """The environment names the source of an import, beside the store."""
    monkeypatch.setenv(LEGACY_VARIABLE, SECRET)
    code, out, err = invoke("import-legacy", "--redis", valkey_url, "--find", "7a5b0c1d2e3f4a5b")
    assert (code, "127.0.0.1:1" in err, "CANARY" in out + err) == (1, True, False)


@pytest.mark.embedded
@pytest.mark.parametrize("command", ["chat", "history"])
def test_a_folder_on_the_command_line_comes_before_the_environment(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`--data` names the store, whatever the environment says; a chat without a store never takes one from there."""
    monkeypatch.setenv(VARIABLE, SECRET)
    where = ("--data", str(tmp_path))
    code, _, err = invoke(*(("chat", "--flows", "flows", *where) if command == "chat" else ("history", "m-1", *where)))
    assert (code, "127.0.0.1" in err) == (0 if command == "chat" else 1, False)
    assert invoke("chat", "--flows", "flows")[0] == 0


@pytest.mark.parametrize(("content", "fault"), [(None, "No such file"), (b"\xff\xfe", "it is no UTF-8")])
def test_a_file_without_a_url_is_refused(content: bytes | None, fault: str, tmp_path: Path):
    """A file that cannot be read is a usage error, which names the file and the fault."""
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    code, _, err = invoke("doctor", "--redis", f"@{file}")
    assert code == 2
    assert fault in " ".join(err.split())
