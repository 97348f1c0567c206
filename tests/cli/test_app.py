"""The command `vimbiso`: at a terminal, from a pipe, and with each kind of error."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

import flows
from tests.cli_runs import (
    COMMAND,
    PROMPT,
    ROOT,
    Terminal,
    embedded,
    environment,
    fresh_flows,
    invoke,
    is_alive,
    kill_server,
    run,
    start,
    wait_until,
)
from tests.digests import guest_id
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, State, Text, Transition
from vimbiso_fsm.cli import bot_options, main, plain_text
from vimbiso_fsm.cli.app import COMMANDS
from vimbiso_fsm.errors import CommitUnknown, Contended
from vimbiso_fsm.flow.privacy import SECRET
from vimbiso_fsm.store.embedded import EmbeddedServer
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

pytestmark = [pytest.mark.embedded, embedded]

FLOWS = ("--flows", "flows")
PHONE = ("--phone", "263779990001")
CHAT = ("chat", *PHONE, *FLOWS)
CONVERSATION = "hi\nbecome_member\nEmmy\nNoether\nyes\nmenu\noffer\n10 USD\nalan\nyes\n"
EMMY = "terminal:263779990001"
GUEST = guest_id(Channel("terminal", "263779990001"))


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the current directory first
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of an embedded server."""
    return tmp_path / "data"


def version_of(data: Path, who: str = EMMY, flows: str = "flows") -> int:
    """Return the version of a member's stored document."""
    code, out, err = invoke("state", who, "--data", data, "--flows", flows)
    assert (code, err) == (0, "")
    return int(json.loads(out)["_version"])


# From a pipe ---------------------------------------------------------------------------------------------------------


def test_the_conversation_of_the_readme(tmp_path):
    """The conversation of the README runs through a pipe; each message is repeated, and its replies follow."""
    code, out, err = run(*CHAT, cwd=tmp_path, stdin=CONVERSATION)
    assert (code, err) == (0, "")
    first, *_, last = out.split("\n\n> ")
    assert first.startswith("> hi\nWelcome")
    assert "\n1. Become a member" in first
    assert last.startswith(
        "yes\nYour offer was made: 10.00 USD to Alan Turing (@alan).\n\nEmmy Noether (@emmy_noether)\n"
    )
    assert re.findall("^> (.*)$", out, re.MULTILINE) == CONVERSATION.splitlines()


def test_every_run_starts_afresh(tmp_path):
    """Without a named store, a second run prints the same as the first."""
    assert run(*CHAT, cwd=tmp_path, stdin="hi\n1\n") == run(*CHAT, cwd=tmp_path, stdin="hi\n1\n")


def test_lines_end_in_many_ways_and_blank_ones_say_nothing():
    """Lines may end in LF, CRLF or the end of the input; a blank line is no message."""
    code, out, _ = invoke("chat", *FLOWS, "--phone", "263779990009", stdin="hi\r\n\n \t\nbecome_member\nEmmy")
    assert code == 0
    assert re.findall("^> (.*)$", out, re.MULTILINE) == ["hi", "become_member", "Emmy"]
    assert out.endswith("And your last name?\n")


def test_a_language_that_the_channel_knows(tmp_path):
    """With `--language`, the first reply is in that language; a tag that is too long is wrong usage."""
    code, out, err = run(*CHAT, "--language", "sn-ZW", cwd=tmp_path, stdin="mhoro\n")
    assert (code, err) == (0, "")
    assert out.startswith("> mhoro\nMauya kuVimbisoPay!")
    assert run(*CHAT, "--language", "x" * 5000, cwd=tmp_path)[0] == 2


def test_nothing_is_said_to_nothing():
    """An empty input prints nothing."""
    assert invoke(*CHAT) == (0, "", "")


def test_input_that_is_no_text_is_answered(monkeypatch):
    """Each line gets a reply, also one that is not text or too long; nothing that a terminal obeys is printed."""
    monkeypatch.setattr(plain_text, "MAX_LINE", 10_000)
    lines = [b"\xff\xfe\xc3", b"\0", b"\x1b[2J\x07\x9b", "\u202eabc\u2029".encode(), b"x" * 9_999, b"y" * 50_000]
    code, out, err = invoke("chat", *FLOWS, "--channel", "sms:263779990009", stdin=b"hi\n" + b"\n".join(lines))
    assert (code, err) == (0, "")
    assert len(re.findall("^> ", out, re.MULTILINE)) == 1 + len(lines)
    assert out.count("That is too long") == 2
    assert f"> {'x' * plain_text.MAX_SHOWN}…\n" in out
    assert "> [2J" in out
    assert "> abc\n" in out
    assert not set(out) & {"\0", "\x1b", "\x07", "\x9b", "\u202e", "\u2029"}


def test_words_that_the_output_cannot_hold_are_replaced(tmp_path):
    """A character that the output's encoding cannot hold is replaced, and the command goes on."""
    done = subprocess.run(
        [*COMMAND, *CHAT],
        cwd=tmp_path,
        env={**environment(tmp_path), "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"},
        input=b"Zo\xc3\xab\n",
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"> Zo?\nWelcome")


def test_no_standard_input_at_all(tmp_path):
    """A closed standard input is an empty one."""
    closed = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m vimbiso_fsm.cli chat --flows flows <&-"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        check=False,
    )
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("output", "code", "said"), [("| head -n 1", 0, ""), ("> /dev/full", 1, "error: [Errno 28] No space left")]
)
def test_output_that_goes_nowhere(tmp_path, output, code, said):
    """A reader that closes the output is no error; a full disk is one line on standard error."""
    pipe = f"yes hi | head -n 50 | {sys.executable} -m vimbiso_fsm.cli chat --flows flows {output}"
    done = subprocess.run(
        ["sh", "-c", pipe], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_message_ids_are_of_this_process_alone(data):
    """Message ids are unique across processes, so the same words are new messages in the next run."""
    for _ in range(2):
        assert invoke("chat", *FLOWS, "--data", data, "--phone", "263779990007", stdin="hi\n")[0] == 0
    versions = version_of(data, "terminal:263779990007")
    invoke("chat", *FLOWS, "--data", data, "--phone", "263779990007", stdin="hi\n")
    assert version_of(data, "terminal:263779990007") > versions


@pytest.mark.parametrize(
    "words",
    [
        ("chat",),
        ("check",),
        ("replay", __file__),
        ("worker", "--redis", "redis://localhost"),
        ("state", "m-1", "--redis", "redis://localhost"),
        ("recover", "m-1", "--redis", "redis://localhost"),
        ("reset", "m-1", "--redis", "redis://localhost"),
        ("wipe", "m-1", "--redis", "redis://localhost"),
        ("quarantine", "m-1", "--redis", "redis://localhost"),
        ("import-legacy", "--redis", "redis://localhost"),
        ("audit", "explain", "m-1", "1", "--redis", "redis://localhost"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_needs_a_bot_asks_for_its_package(words):
    """No package is taken silently: without `--flows` the command ends with exit code 2 and names the option."""
    said = "error: --flows is missing: name the package that exports your bot, e.g. --flows shop\n"
    assert invoke(*words) == (2, "", said)


def test_commands_that_only_read_the_audit_need_no_bot(data):
    """`history`, `incidents`, `audit verify` and `audit export` work without `--flows`."""
    assert invoke(*CHAT, "--data", data, stdin="hi\n")[0] == 0
    where = ("--data", data)
    code, out, err = invoke("history", EMMY, *where, "--json")
    assert (code, err) == (0, "")
    assert {json.loads(line)["member_id"] for line in out.splitlines()} == {GUEST}
    assert invoke("incidents", EMMY, *where) == (0, "", "")
    assert invoke("audit", "verify", "--all", *where)[:2] == (
        0,
        f"checked 2, entries {len(out.splitlines())}, faults 0\n",
    )
    assert invoke("audit", "export", EMMY, *where, "--to", data / "audit.jsonl")[0] == 0


def test_a_channel_type_of_the_bots_own_is_known_with_its_package(tmp_path, data):
    """Without `--flows` a text of such a type is a member id; with it, a channel."""
    (tmp_path / "own.py").write_text(
        "import attrs, flows\nbot = attrs.evolve(flows.bot, channels=['pigeon'])\n", encoding="utf-8"
    )
    own = ("--flows", "own", "--data", data)
    assert run("chat", *own, "--channel", "pigeon:7", cwd=tmp_path, stdin="hi\n")[0] == 0
    assert run("history", "pigeon:7", *own, cwd=tmp_path)[0] == 0
    assert run("history", "pigeon:7", "--data", data, cwd=tmp_path)[0] == 1


# At a terminal -------------------------------------------------------------------------------------------------------


def test_a_person_at_a_terminal(tmp_path):
    """At a terminal, a number or a title answers a choice, Ctrl-D ends the chat, and no file is left."""
    with Terminal(*CHAT, cwd=tmp_path) as terminal:
        terminal.until("Ctrl-D leaves")
        assert "Nothing is kept" in terminal.shown
        terminal.until(PROMPT)
        terminal.type("hi\n")
        said = terminal.until("Become a member")
        assert re.search(r"\x1b\[[0-9;]+m *1\. ", said)  # numbered, in colour
        terminal.until(PROMPT)
        terminal.type("\n \n1\n")
        terminal.until("What is your first name?")
        terminal.type("Emmy\n")
        terminal.until("And your last name?")
        terminal.type("Noether\n")
        terminal.until("Is that right?")
        terminal.type("no, change IT\n")  # a title chooses as well
        terminal.until("What is your first name?")
        terminal.until(PROMPT)
        assert terminal.end(press="\x04") == 0
    assert terminal.shown.rstrip().endswith("Goodbye.\x1b[0m")
    assert not list((tmp_path / "tmp").iterdir())


def test_rows_say_more_and_ctrl_c_leaves(tmp_path, data):
    """Rows show their descriptions; Ctrl-C ends the chat, also in the middle of a line."""
    with Terminal("chat", *FLOWS, "--data", data, "--phone", "263771000005", cwd=tmp_path) as terminal:
        terminal.until(PROMPT)
        assert "Nothing is kept" not in terminal.shown
        terminal.type("hi\n")
        said = terminal.until("Shop Two")
        assert "250.00 USD" in said
        assert PROMPT not in said, "a prompt that is shown before the reply is overwritten by it"
        terminal.until(PROMPT)
        terminal.type("half a line")
        assert terminal.end(press="\x03") == 0
    assert "Goodbye" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_a_message_that_was_not_saved_gets_an_apology(tmp_path, data):
    """A message that could not be saved gets an apology, and makes the exit code 1."""
    with Terminal(*CHAT, "--data", data, cwd=tmp_path) as terminal:
        terminal.until(PROMPT)
        kill_server(data)
        terminal.type("hi\n")
        terminal.until("Sorry, that could not be saved.")
        terminal.until(PROMPT)
        assert terminal.end(press="\x04") == 1


# What goes wrong -----------------------------------------------------------------------------------------------------


def test_a_server_that_goes_away_in_the_middle(tmp_path, data):
    """After the loss of the server each message gets an apology, an error is printed, and nothing more is stored."""
    process = start(*CHAT, "--data", data, cwd=tmp_path)
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"hi\n")
    process.stdin.flush()
    while process.stdout.readline() != b"1. Become a member\n":
        pass
    kill_server(data)
    out, err = process.communicate(b"become_member\nEmmy\n", timeout=60)
    assert process.returncode == 1
    # A turn that was sent when the server ended may have been stored.
    said = (
        r"Sorry, (that could not be saved\. Please say it again|"
        r"we do not know whether that was saved\. Say menu to see where you are)\.\n"
    )
    assert re.fullmatch(rf"\n> become_member\n{said}\n> Emmy\n{said}", out.decode())
    logged = "a message was not answered"
    assert [line.split(":")[0] for line in err.decode().splitlines()] == [logged, "error", logged, "error"]
    assert version_of(data) == 2  # nothing came after "hi"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CommitUnknown("m-1", "token", "timeout"), "Sorry, we do not know whether that was saved."),
        (Contended("m-1", 5.0, 9), "Sorry, that could not be saved."),
    ],
)
def test_the_apology_says_whether_the_outcome_is_known(monkeypatch, error, said):
    """The apology says whether a message was not saved, or whether that is unknown."""

    def handle(self, message):
        raise error

    monkeypatch.setattr(FlowStateManager, "handle", handle)
    code, out, err = invoke(*CHAT, stdin="hi\n")
    assert code == 1
    assert out.startswith(f"> hi\n{said}")
    assert err == f"error: {error}\n"


@pytest.mark.parametrize(
    "url", ["redis://localhost:1", "nonsense", "redis://:hunter2@localhost:port/0", "unix:///no/such/socket"]
)
@pytest.mark.parametrize("command", [CHAT, ("state", "m-1", *FLOWS), ("history", "m-1")], ids=lambda words: words[0])
def test_no_server_or_a_wrong_url(url, command, tmp_path):
    """A server that cannot be reached, or a wrong URL, is one line on standard error that hides the password."""
    (tmp_path / "url").write_text(url)
    code, out, err = invoke(*command, "--redis", f"@{tmp_path / 'url'}")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: the store is not available: [^\n]+\n", err)
    assert "hunter2" not in err


def test_a_folder_that_is_none(tmp_path):
    """A `--data` that names a file is an error, and so is a missing folder for a command that only reads."""
    file = tmp_path / "file"
    file.touch()
    for command in (CHAT, ("state", "m-1", *FLOWS)):
        code, out, err = invoke(*command, "--data", file)
        assert (code, out) == (1, "")
        assert re.fullmatch(r"error: [^\n]+\n", err)
    assert invoke("state", "m-1", "--data", tmp_path / "typo")[2].startswith(
        f"error: there is no folder {tmp_path / 'typo'}; "
    )
    assert not (tmp_path / "typo").exists()


def test_a_folder_whose_data_is_damaged(data):
    """An embedded server that refuses its files is one line on standard error that names the folder."""
    assert invoke(*CHAT, "--data", data, stdin="hi\n")[0] == 0
    for file in (data / "appendonlydir").glob("*.incr.aof"):
        file.write_bytes(os.urandom(3000))
    code, out, err = invoke(*CHAT, "--data", data, stdin="hi\n")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: the embedded server in {data}: the server ended at its start")


def test_a_member_whose_document_is_damaged(data):
    """`state` reports a damaged document; `chat` repairs it and goes on."""
    assert invoke("chat", *FLOWS, "--data", data, "--channel", "sms:263779990011", stdin="hi\n")[0] == 0
    with EmbeddedServer.start(data) as engine, AtomicStateManager.from_url(engine.url, secret=STORE_SECRET) as store:
        client = store.servers.client
        (key,) = [key for key in client.scan_iter("*") if key.endswith(b":state")]
        client.hset(key, "d", "{}") if client.type(key) == b"hash" else client.set(key, "{}")
    code, out, err = invoke("state", "sms:263779990011", "--data", data, *FLOWS)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: the stored document of member 'guest-\w+' is damaged: [^\n]+\n", err)
    code, out, err = invoke("chat", *FLOWS, "--data", data, "--channel", "sms:263779990011", stdin="hi\n")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*CHAT, "--data", "d", "--redis", "redis://localhost"), "--redis and --data name two stores"),
        (("state", "m-1"), "give --redis URL or --data DIR"),
        (("history", "m-1"), "give --redis URL or --data DIR"),
        (("chat", *FLOWS, "--channel", "263771000001"), "a channel is TYPE:IDENTIFIER"),
        (("chat", *FLOWS, "--channel", "terminal: "), "is empty"),
        (("chat", *FLOWS, "--channel", "pigeon:7"), "'pigeon' is not a channel type of the bot"),
        (("history", "m-1", "--last", "0"), "--last"),
        (("talk",), "talk"),
        ((), "Usage: vimbiso"),
    ],
    ids=str,
)
def test_wrong_usage(words, said):
    """Wrong usage ends with exit code 2, and the message names the fault."""
    code, out, err = invoke(*words)
    assert code == 2
    assert said in err or (not words and said in out)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "--flows mine: the package exports no Bot; assign it to the name `bot`"),
        ("bot = 3", "--flows mine: the package exports no Bot; assign it to the name `bot`"),
        (
            "\nbot = 1 / 0",
            "--flows mine: the package cannot be imported: ZeroDivisionError: division by zero (mine.py:2)",
        ),
        ("import sys\nsys.exit(3)", "--flows mine: the package cannot be imported: SystemExit: 3 (mine.py:2)"),
        ("def f(:", "--flows mine: the package cannot be imported: SyntaxError: invalid syntax (mine.py, line 1)"),
        (
            "import no_such",
            "--flows mine: the package cannot be imported: ModuleNotFoundError: No module named 'no_such'",
        ),
        (None, "--flows mine: the package cannot be imported: ModuleNotFoundError: No module named 'mine'"),
        ("from vimbiso_fsm import Bot\nbot = Bot([])", "--flows mine: the package cannot be imported: FlowError: "),
    ],
)
def test_a_package_without_a_bot(tmp_path, source, said):
    """A package that cannot be imported or exports no bot is one line that names the fault and its place."""
    if source is not None:
        (tmp_path / "mine.py").write_text(source)
    code, out, err = run("chat", "--flows", "mine", cwd=tmp_path, stdin="hi\n")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_a_package_of_the_current_directory_comes_first(tmp_path):
    """A package of the current directory is taken before an installed one, also when it is called `flows`."""
    (tmp_path / "flows.py").write_text(
        "from vimbiso_fsm import Bot, Flow, State, Text, Transition\n"
        "ask = State('ask', ask=Text('Mine?'))\n"
        "end = State('end', say=Text('Yes.'), final=True)\n"
        "bot = Bot([Flow('mine', initial='ask', states=[ask, end], transitions=[Transition('yes', 'ask', 'end')])])\n"
    )
    code, out, err = run(*CHAT, cwd=tmp_path, stdin="hi\n")
    assert (code, err) == (0, "")
    assert "Mine?" in out


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_it_in_order(tmp_path, name, code):
    """SIGTERM and SIGHUP end the command with 128 and their number; the server stops, and no file is left."""
    process = start(*CHAT, cwd=tmp_path)
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"hi\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"> hi\n"
    assert process.stdout.readline().startswith(b"Welcome")
    (folder,) = (tmp_path / "tmp").iterdir()
    server = int((folder / "engine.pid").read_text())
    process.send_signal(getattr(signal, name))
    assert process.wait(60) == code
    wait_until(lambda: not is_alive(server))
    assert not list((tmp_path / "tmp").iterdir())
    assert process.communicate()[1] == b""


def test_without_the_embedded_engine_a_fresh_start_is_in_memory(monkeypatch):
    """Without the package of the embedded server, a chat that keeps nothing runs in memory."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(EmbeddedServer, "start", None)
    code, out, err = invoke("chat", *FLOWS, "--phone", "263779990008", stdin="hi\n")
    assert (code, err) == (0, "")
    assert "Become a member" in out


# What is stored ------------------------------------------------------------------------------------------------------


def test_the_state_of_a_member(monkeypatch, data):
    """`state` finds a guest or member by channel or id, and masks the login token."""
    package, _ = fresh_flows(monkeypatch)
    where = ("--data", data, "--flows", package)
    invoke("chat", *PHONE, *where, stdin="hi\n1\nEmmy\n")
    code, out, err = invoke("state", GUEST, *where)
    guest = json.loads(out)
    assert (code, err, guest["jwt_token"], guest["flow_data"]["step"]) == (0, "", None, "lastname")
    assert out == invoke("state", EMMY, *where)[1]  # a guest is found by the channel
    invoke("chat", *PHONE, *where, stdin="Noether\nyes\n0.5=>alan\n")
    code, out, err = invoke("state", EMMY, *where)
    member = json.loads(out)
    assert (code, err, member["jwt_token"], member["flow_data"]["step"]) == (0, "", "•••", "confirm")
    assert member["member_id"] != GUEST
    assert "_suspended" in member
    assert out == invoke("state", member["member_id"], *where)[1]


def test_where_a_member_stood(monkeypatch, data):
    """`state --at` prints an earlier state as long as its turn record is kept."""
    flows, _ = fresh_flows(monkeypatch)
    where = ("--data", data, "--flows", flows)
    invoke("chat", *PHONE, *where, stdin="hi\nbecome_member\nEmmy\nNoether\n")
    code, out, err = invoke("state", GUEST, "--at", "4", *where)
    assert (code, err) == (0, "")
    assert (json.loads(out)["step"], json.loads(out)["data"]["firstname"]) == ("lastname", "Emmy")
    code, out, err = invoke("state", GUEST, "--at", "99", *where)
    assert (code, out) == (1, "")
    assert "at version 99 is kept" in err


@attrs.frozen
class _Pin:
    pin: str = attrs.field(default="", metadata=SECRET)
    name: str = ""


def test_secrets_are_masked():
    """The token, secret fields and the arguments of a call are masked, also in suspended runs."""
    from vimbiso_fsm.cli.state import _masked

    flow = Flow(
        "pin",
        data=_Pin,
        initial="pin",
        states=[State("pin", ask=Text("Pin?"), reads=str, into="pin"), State("end", final=True)],
        transitions=[Transition("answer", "pin", "end")],
    )
    flow_data = {"id": "pin:1", "step": "pin", "data": {"flow_type": "pin", "pin": "1234", "name": "Ada"}}
    raw = {
        "member_id": "m-1",
        "jwt_token": "ey",
        "flow_data": flow_data,
        "_suspended": [{"flow_data": flow_data, "version": 1}],
        "_call": {"service": "core", "arguments": {"pin": "1234"}},
    }
    text = json.dumps(_masked(Bot([flow]), raw), ensure_ascii=False)
    assert "1234" not in text
    assert "ey" not in re.sub('"[a-z_]+":', "", text)
    assert text.count("Ada") == 2
    assert raw["jwt_token"] == "ey"  # what was given is left as it was


def test_the_history_of_a_member(monkeypatch, data):
    """`history` prints the entries of the guest and then of the member, without personal data."""
    package, _ = fresh_flows(monkeypatch)
    where = ("--data", data, "--flows", package)
    invoke("chat", *PHONE, *where, stdin="hi\n1\nEm<m>y\nEmmy\nNoether\nyes\n")
    code, out, err = invoke("history", EMMY, *where)
    assert (code, err) == (0, "")
    header, *rows = out.splitlines()
    assert " ".join(header.split()) == "version at member kind status flow from to trigger reasons"
    assert [row.split()[0] for row in rows] == [*map(str, range(1, 10)), "1"]  # the guest's, then the member's
    assert "name.format" in rows[3]
    code, lines, err = invoke("history", EMMY, *where, "--json")
    entries = list(map(json.loads, lines.splitlines()))
    assert (code, err) == (0, "")
    assert [entry["version"] for entry in entries] == [*range(1, 10), 1]
    assert entries[-1]["kind"] == "move"
    assert datetime.fromisoformat(entries[0]["at"]) < datetime.now(UTC)
    for personal in ("Emmy", "Noether", "263779990001", "Em<m>y"):
        assert personal not in lines
        assert personal not in out
    _, latest, _ = invoke("history", EMMY, *where, "--json", "--last", "2")
    assert latest.splitlines() == lines.splitlines()[-2:]
    guest = invoke("history", GUEST, *where, "--json")[1]
    assert guest.splitlines() == lines.splitlines()[:-1]


@pytest.mark.parametrize("who", ["m-1", "whatsapp:263771234567", "nobody:7", "}x", "a\nb", "['", "\x1b[2J"])
@pytest.mark.parametrize("command", ["state", "history"])
def test_an_unknown_member(data, command, who):
    """A text that names no member is an error, repeated without what a terminal would obey."""
    data.mkdir()
    code, out, err = invoke(command, who, "--data", data, *FLOWS)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: no (document|history) of [^\n\x1b]+ is stored\n", err)


def test_json_escapes_the_characters_that_a_terminal_obeys():
    """JSON escapes the characters that a terminal obeys or hides, and no others."""
    text = plain_text.as_json({"a": "é\x1b\x9b\u202e🧮\u2028"})
    assert text == '{"a": "é\\u001b\\u009b\\u202e🧮\\u2028"}'
    assert json.loads(text) == {"a": "é\x1b\x9b\u202e🧮\u2028"}


# The command itself --------------------------------------------------------------------------------------------------


def test_its_help_names_the_commands_and_the_exit_codes():
    """The help lists each command with one sentence, and the exit codes."""
    code, out, _ = invoke("--help")
    assert code == 0
    for word in (*COMMANDS, "audit", "Exit codes"):
        assert word in out
    for line in out.partition("Commands:")[2].partition("Exit codes")[0].strip().splitlines():
        assert re.fullmatch(r" *[a-z-]+  +[A-Z].*\.", line), "a command is described by one whole sentence"
    for command in ("chat", "replay", "state", "history"):
        code, out, _ = invoke(command, "--help")
        assert code == 0
        for word in ("--redis", "--data", "--flows", "Exit codes"):
            assert word in out


def test_its_version(monkeypatch):
    """`--version` prints the installed version, or that the source tree is not installed."""
    monkeypatch.setattr("vimbiso_fsm.cli.app.version", lambda name: "1.2.3")
    assert invoke("--version") == (0, "vimbiso_fsm 1.2.3\n", "")

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("vimbiso_fsm.cli.app.version", missing)
    assert invoke("--version") == (0, "vimbiso_fsm, from a source tree that is not installed\n", "")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_names_the_remedy(missing):
    """Without the extra `cli`, the command names the missing package and the remedy."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['--help']; import vimbiso_fsm.cli as c; c.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: the command vimbiso needs {missing}; run: pip install 'vimbiso_fsm[cli]'\n"


def test_another_module_that_is_missing_is_a_bug(monkeypatch):
    """A missing module that the extra does not bring is not explained away."""
    monkeypatch.setitem(sys.modules, "vimbiso_fsm.cli.app", None)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_signals_that_are_ignored_stay_so(monkeypatch):
    """A signal that is ignored at the start, as under nohup, stays ignored."""
    given: dict[int, object] = {}
    monkeypatch.setattr(sys, "argv", ["vimbiso", "--help"])
    monkeypatch.setattr(signal, "signal", given.__setitem__)
    monkeypatch.setattr(
        signal, "getsignal", lambda number: signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert list(given) == [signal.SIGTERM]
    with pytest.raises(SystemExit) as ended:
        given[signal.SIGTERM](signal.SIGTERM, None)  # type: ignore[operator]
    assert ended.value.code == 143
    assert given[signal.SIGTERM] == signal.SIG_IGN


def test_the_bot_of_a_package_is_the_one_it_exports():
    """`--flows` takes the object `bot` of the package."""
    assert bot_options.import_bot("flows") is flows.bot


@pytest.mark.parametrize("last", ["1", "9" * 20])
@pytest.mark.parametrize("command", ["history", "incidents"])
def test_last_takes_any_number(data, command, last):
    """`--last` takes any whole number above 0, also one that no list can be as long as."""
    invoke("chat", *PHONE, "--data", data, *FLOWS, stdin="hi\nhi\n")
    code, _, err = invoke(command, GUEST, "--data", data, "--last", last)
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    "command", [("state",), ("history",), ("incidents",), ("audit", "verify"), ("audit", "export"), ("wipe",)]
)
def test_a_member_that_is_no_text_is_a_usage_error(data, command):
    """A member whose name is not valid UTF-8 is refused, because no member has such a name."""
    data.mkdir()
    code, out, err = invoke(*command, "\udc80", "--data", data, *(FLOWS if command[0] != "audit" else ()))
    assert (code, out) == (2, "")
    assert "is not valid UTF-8" in err


def test_a_file_whose_name_is_no_text_is_written(data, tmp_path):
    """A file may have any name that the system knows; what is printed of it is valid UTF-8."""
    invoke("chat", *PHONE, "--data", data, *FLOWS, stdin="hi\n")
    code, out, _ = invoke("audit", "export", GUEST, "--data", data, "--to", tmp_path / "\udc80")
    assert code == 0
    assert out.endswith("lines written to " + str(tmp_path / "�") + "\n")
    assert (tmp_path / "\udc80").exists()
