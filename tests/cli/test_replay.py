"""`vimbiso replay`: recorded webhooks, also a second time, and with faults of the file or the store."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.cli_runs import TRANSCRIPT, Terminal, embedded, fresh_flows, invoke, kill_server, run, start
from tests.transcripts.make_whatsapp import PHONE_NUMBER_ID
from vimbiso_fsm import FlowStateManager
from vimbiso_fsm.cli import plain_text, replay
from vimbiso_fsm.errors import DamagedDocument

FLOWS = ("--flows", "flows")
pytestmark = [pytest.mark.embedded, embedded]

EMMY, SOPHIE, ADA, ALAN, KATHERINE = MEMBERS = (
    "263779990001",
    "263779990002",
    "263771000001",
    "263771000002",
    "263771000005",
)


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the current directory first


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of an embedded server."""
    return tmp_path / "data"


def webhook(*texts: tuple[str, str, str]) -> str:
    """Return one body with messages, each of a phone number, a message id and a text."""
    messages = [
        {"from": phone, "id": id, "timestamp": "1760000000", "type": "text", "text": {"body": text}}
        for phone, id, text in texts
    ]
    value = {"metadata": {"phone_number_id": PHONE_NUMBER_ID}, "messages": messages}
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]})


def counts(out: str) -> dict[str, float]:
    """Return the counts of the summary."""
    return {name: float(count) for name, count in re.findall(r"^([a-z ]+?) +([0-9.]+)$", out, re.MULTILINE)}


def said(file: Path) -> list[dict[str, object]]:
    """Return the lines that `--replies` has written."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def stored(phone: str, *where: str | Path) -> dict[str, object]:
    """Return the stored document of the member with a phone number."""
    code, out, err = invoke("state", f"whatsapp/{PHONE_NUMBER_ID}:{phone}", *where)
    assert (code, err) == (0, "")
    return dict(json.loads(out))


def test_a_recorded_day_twice(monkeypatch, data, tmp_path):
    """A second replay of a file answers alike and changes nothing: no document, no version, no call."""
    package, core = fresh_flows(monkeypatch)
    where = ("--data", data, "--flows", package)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"

    code, out, err = invoke("replay", TRANSCRIPT, *where, "--any-age", "--replies", first)
    assert (code, err) == (0, "")
    once = counts(out)
    assert (once["bodies"], once["messages"], once["statuses"], once["other parts"]) == (54, 54, 7, 2)
    assert sum(once[status] for status in replay.STATUSES) == once["messages"]
    assert (once["duplicate"], once["recovered"], once["failed"], once["members"]) == (5, 0, 0, 5)

    documents = {phone: stored(phone, *where) for phone in MEMBERS}
    steps = {phone: document["flow_data"]["step"] for phone, document in documents.items()}  # type: ignore[index]
    assert steps == {EMMY: "menu", ADA: "menu", ALAN: "menu", KATHERINE: "menu", SOPHIE: "lastname"}
    assert {phone for phone, document in documents.items() if document["_guest"]} == {SOPHIE}
    made = [(offer.issuer, offer.receiver, str(offer.money)) for offer in core.offers[2:]]
    assert sorted(made) == [("ada", "alan", "10.00 USD"), ("emmy_noether", "alan", "10.00 USD")]
    core.check_conservation()
    calls = core.calls

    code, out, err = invoke("replay", TRANSCRIPT, *where, "--any-age", "--replies", second)
    assert (code, err) == (0, "")
    twice = counts(out)
    assert (twice["advanced"], twice["refused"], twice["failed"]) == (0, 0, 0)
    assert twice["duplicate"] + twice["ignored"] == 54
    assert {phone: stored(phone, *where) for phone in MEMBERS} == documents  # versions and all
    assert core.calls == calls
    assert [(one["id"], one["texts"]) for one in said(second)] == [(one["id"], one["texts"]) for one in said(first)]


def test_an_old_message_is_ignored_in_a_store_that_is_kept(data, tmp_path):
    """Without `--any-age`, a message older than the bot takes is ignored, and nothing of it is stored."""
    file = tmp_path / "old.jsonl"
    file.write_text(webhook((EMMY, "wamid.1", "hi")) + "\n")
    code, out, _ = invoke("replay", file, *FLOWS, "--data", data)
    assert (code, counts(out)["ignored"], counts(out)["messages"]) == (0, 1, 1)
    code, out, _ = invoke("replay", file, *FLOWS)
    assert (code, counts(out)["advanced"]) == (0, 1)


def test_from_another_process_as_well(data, tmp_path):
    """A second replay in another process makes no call, although its service does not know the members."""
    body = TRANSCRIPT.read_bytes()
    first = run("replay", "-", *FLOWS, "--data", data, "--any-age", "--replies", "first", cwd=tmp_path, stdin=body)
    second = run("replay", TRANSCRIPT, *FLOWS, "--data", data, "--any-age", "--replies", "second", cwd=tmp_path)
    assert (first[0], first[2], second[0], second[2]) == (0, "", 0, "")
    assert counts(second[1])["duplicate"] + counts(second[1])["ignored"] == 54
    texts = [[one["texts"] for one in said(tmp_path / name)] for name in ("first", "second")]
    assert texts[0] == texts[1]


def test_a_duplicate_without_its_record_gets_the_current_question(data, tmp_path):
    """A duplicate whose turn record is gone is answered with the current question."""
    file = tmp_path / "long.jsonl"
    texts = ["hi", "become_member", *(f"{number}" for number in range(2, 22))]
    file.write_text("\n".join(webhook((EMMY, f"wamid.{number}", text)) for number, text in enumerate(texts)) + "\n")
    invoke("replay", file, *FLOWS, "--data", data, "--any-age", "--replies", tmp_path / "first")
    version = stored(EMMY, *FLOWS, "--data", data)["_version"]
    code, out, _ = invoke("replay", file, *FLOWS, "--data", data, "--any-age", "--replies", tmp_path / "second")
    assert (code, counts(out)["duplicate"]) == (0, 22)
    assert stored(EMMY, *FLOWS, "--data", data)["_version"] == version
    first, second = said(tmp_path / "first"), said(tmp_path / "second")
    assert [one["texts"] for one in second[:6]] == [["What is your first name?"]] * 6
    assert [one["texts"] for one in second[6:]] == [one["texts"] for one in first[6:]]


def test_broken_lines_are_named_and_the_rest_is_handled(monkeypatch, tmp_path):
    """Each broken line or part is named with its place, and all other messages are handled."""
    monkeypatch.setattr(plain_text, "MAX_LINE", 1000)
    monkeypatch.setattr(replay, "MAX_LINE", 1000)
    file = tmp_path / "broken.jsonl"
    lines = [
        webhook((EMMY, "wamid.1", "hi")),
        "{not json",
        "",
        "[]",
        '{"object": "page"}',
        "\0\ufffd",
        "x" * 3000,
        json.dumps({"object": "whatsapp_business_account", "entry": [{"changes": [7]}]}),
        webhook((EMMY, "", "no id"), (EMMY, "wamid.2", "become_member")),
        webhook((EMMY, "wamid.3", "Emmy")),
    ]
    file.write_bytes("\n".join(lines).encode() + b"\r\n\xff\xfe\n")
    code, out, err = invoke("replay", file, *FLOWS)
    assert code == 1
    assert [line.split(":")[0] for line in err.splitlines()] == [
        "line 2 is not a webhook",
        "line 4 is not a webhook",
        "line 5 is not a webhook",
        "line 6 is not a webhook",
        "line 7 is not a webhook",
        "line 8, entry[0].changes[0]",
        "line 9, entry[0].changes[0].value.messages[0]",
        "line 11 is not a webhook",
    ]
    assert "has more than 1000 bytes" in err
    told = counts(out)
    assert (told["bodies"], told["no webhook"], told["broken parts"], told["messages"]) == (4, 6, 2, 3)
    assert told["advanced"] == 3
    assert out.endswith("nothing was kept; --data DIR or --redis URL keeps it\n")


def test_a_server_that_goes_away_ends_the_run(data, tmp_path):
    """A loss of the server ends the run with the line's number, and the file can be replayed again."""
    process = start("replay", "-", *FLOWS, "--data", data, "--any-age", "--replies", "replies", cwd=tmp_path)
    assert process.stdin
    process.stdin.write(b"broken\n" + webhook((EMMY, "wamid.1", "hi")).encode() + b"\nbroken\n")
    process.stdin.flush()
    assert process.stderr
    assert process.stderr.readline().startswith(b"line 1 is not a webhook")
    assert process.stderr.readline().startswith(b"line 3 is not a webhook")  # so the message before is handled
    kill_server(data)
    lines = "\n".join(webhook((EMMY, f"wamid.{number}", "become_member")) for number in range(2, 5))
    out, err = process.communicate(lines.encode(), timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(  # whether the commit had left before the end was noticed is the system's business
        r"a message was not answered: [^\n]+\n"
        r"error: line 4: (the store is not available: [^\n]+; nothing was stored|"
        r"it is not known whether turn [^\n]+; handle the same message again, it takes effect once); "
        r"the run ends here, and the file may be replayed again\n",
        err.decode(),
    )
    assert counts(out.decode())["messages"] == 1
    assert len(said(tmp_path / "replies")) == 1
    (tmp_path / "all").write_bytes(webhook((EMMY, "wamid.1", "hi")).encode() + b"\n" + lines.encode())
    code, out_again, _ = invoke("replay", tmp_path / "all", *FLOWS, "--data", data, "--any-age")
    assert (code, counts(out_again)["duplicate"]) == (0, 1)


def test_a_broken_document_delays_no_other_member(monkeypatch, tmp_path):
    """A message that cannot be handled is reported, and the messages of other members are handled."""
    handle = FlowStateManager.handle

    def handle_all_but_ada(self, message):
        if message.channel.identifier == ADA:
            raise DamagedDocument("m-1", "it is not JSON")
        return handle(self, message)

    monkeypatch.setattr(FlowStateManager, "handle", handle_all_but_ada)
    file = tmp_path / "two.jsonl"
    file.write_text(webhook((ADA, "wamid.1", "hi"), (SOPHIE, "wamid.2", "hi")))
    code, out, err = invoke("replay", file, *FLOWS)
    assert (code, err) == (
        1,
        "line 1: the stored document of member 'm-1' is damaged: it is not JSON; recover the member first\n",
    )
    assert (counts(out)["messages"], counts(out)["not handled"]) == (1, 1)


def test_files_that_cannot_be_used(tmp_path):
    """A file that cannot be read or written is one line; `--replies` cannot name the file that is replayed."""
    file, missing = tmp_path / "file", tmp_path / "missing"
    file.write_text(webhook((EMMY, "wamid.1", "hi")))
    assert invoke("replay", missing, *FLOWS) == (1, "", f"error: {missing} cannot be read: No such file or directory\n")
    assert invoke("replay", tmp_path, *FLOWS)[2] == f"error: {tmp_path} cannot be read: Is a directory\n"
    assert (
        invoke("replay", file, *FLOWS, "--replies", tmp_path)[2]
        == f"error: {tmp_path} cannot be written: Is a directory\n"
    )
    code, _, err = invoke("replay", file, *FLOWS, "--replies", file)
    assert code == 2
    assert "it would be overwritten" in err
    assert file.stat().st_size
    assert invoke("replay", file, *FLOWS, "--replies", "/dev/full")[2].startswith("error: [Errno 28]")


def test_an_empty_file(tmp_path):
    """An empty file or input is replayed without an error."""
    (tmp_path / "empty").touch()
    for words in (("empty",), ("-",)):
        code, out, err = run("replay", *FLOWS, *words, cwd=tmp_path)
        assert (code, err) == (0, "")
        assert counts(out)["bodies"] == counts(out)["messages"] == 0


def test_a_progress_bar_at_a_terminal(tmp_path):
    """A terminal shows a progress bar, and the summary after it."""
    with Terminal("replay", TRANSCRIPT, *FLOWS, cwd=tmp_path) as terminal:
        assert terminal.end() == 0
    assert re.search(r"messages .*%", terminal.shown)
    assert counts(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", terminal.shown))["messages"] == 54


def test_ctrl_c_ends_it_with_the_summary(tmp_path):
    """Ctrl-C ends the run with the summary of what was handled, and leaves no file."""
    process = start("replay", "-", *FLOWS, cwd=tmp_path)
    assert process.stdin
    assert process.stderr
    process.stdin.write(b"broken\n")
    process.stdin.flush()
    assert process.stderr.readline().startswith(b"line 1")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")
    assert counts(out.decode())["no webhook"] == 1
    assert not list((tmp_path / "tmp").iterdir())
