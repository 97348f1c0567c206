"""`vimbiso import-legacy`, in this process and at a terminal."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flows
from tests.cli_runs import Terminal, embedded, invoke
from tests.digests import digests_at
from tests.engines import Server
from tests.legacy.bulk.bot import bot
from tests.legacy.bulk.records import offered, text
from tests.legacy.bulk.run import migrate_many
from vimbiso_fsm import cli
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.legacy import Legacy
from vimbiso_fsm.legacy.records import record_digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.runtime.flow_state import FlowStateManager

pytestmark = [pytest.mark.embedded, embedded]

NUMBER, OTHER = "263771234567", "263771234568"
BOT = ("--flows", "tests.legacy.bulk.bot")


@pytest.fixture
def client(valkey_server: Server, valkey_url: str) -> Generator[Any, None, None]:
    """A plain client of the server, to write legacy records."""
    with valkey_server.client() as client:
        yield client


def at(url: str) -> tuple[str, ...]:
    """Return the words of the command for a server."""
    return ("import-legacy", "--redis", url, *BOT)


def test_records_are_imported_and_counted(valkey_url: str, client: Any, tmp_path: Path):
    """Records are imported and counted; a second run imports none and ends with exit code 0 too."""
    client.set(NUMBER, text(offered(NUMBER, f"m-{NUMBER}")))
    code, out, err = invoke(*at(valkey_url))
    assert (code, err) == (0, "")
    assert out.startswith("imported 1, imported before 0, not imported 0; ")
    assert out.endswith(" records per second\n")
    assert invoke(*at(valkey_url))[1].startswith("imported 0, imported before 1, not imported 0; ")
    with FlowStateManager.from_url(valkey_url, bot) as manager:
        assert manager.member_of(Channel("whatsapp", NUMBER)) == f"m-{NUMBER}"


def test_records_that_are_not_imported_are_listed(valkey_url: str, client: Any, tmp_path: Path):
    """A record that is not imported is listed on standard error or in the report, and makes the exit code 1.

    Its number is printed only for `--find`.
    """
    client.set(NUMBER, text(offered(NUMBER, f"m-{NUMBER}", step=999)))
    [digest] = record_digests(digests_at(valkey_url), NUMBER)
    code, out, err = invoke(*at(valkey_url))
    assert (code, out.split(";")[0]) == (1, "imported 0, imported before 0, not imported 1")
    assert err == (f"record •••567 ({digest}): flow_data.step is 999, and the old flow 'offer' had 3 steps\n")
    code, out, err = invoke(*at(valkey_url), "--report", tmp_path / "report.jsonl")
    assert (code, err) == (1, "")
    report = (tmp_path / "report.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["kind"] for line in report.splitlines()] == ["record", "summary"]
    assert NUMBER not in report
    assert NUMBER not in out
    assert invoke(*at(valkey_url), "--find", digest)[:2] == (0, f"{NUMBER}\n")
    assert invoke(*at(valkey_url), "--find", "0" * 16)[0] == 1


def test_a_dry_run_only_says_so(valkey_url: str, client: Any):
    """A dry run counts what would be imported and writes nothing."""
    client.set(NUMBER, text(offered(NUMBER, f"m-{NUMBER}")))
    code, out, _ = invoke(*at(valkey_url), "--dry-run")
    assert code == 0
    assert out.startswith("would import 1, imported before 0, not imported 0; ")
    assert invoke(*at(valkey_url))[1].startswith("imported 1,")


def test_purge_deletes_afterwards(valkey_url: str, client: Any):
    """Legacy records are deleted with `--purge` only."""
    client.set(NUMBER, text(offered(NUMBER, f"m-{NUMBER}")))
    assert invoke(*at(valkey_url))[0] == 0
    assert client.exists(NUMBER)
    code, out, _ = invoke(*at(valkey_url), "--purge")
    assert code == 0
    assert out.startswith("imported 0, imported before 1, not imported 0, purged 1; ")
    assert not client.exists(NUMBER)


def test_a_mapping_with_faults_is_used_as_far_as_it_goes(valkey_url: str, client: Any, tmp_path: Path):
    """The valid lines of a mapping are used; a faulty line is named and makes the exit code 1."""
    client.set(NUMBER, text(offered(NUMBER, None)))
    (tmp_path / "numbers.csv").write_text(f"number,member_id\n{NUMBER},m-7\nnonsense\n", encoding="utf-8")
    code, out, err = invoke(*at(valkey_url), "--mapping", tmp_path / "numbers.csv")
    assert code == 1
    assert out.startswith("imported 1, ")
    assert err == "mapping line 3: has 1 cells, not number and member_id\n"
    code, _, err = invoke(*at(valkey_url), "--mapping", tmp_path / "nowhere.csv")
    assert code == 1
    assert err.startswith("error: ")


def test_the_service_names_the_member_of_a_number(valkey_url: str, client: Any, monkeypatch: pytest.MonkeyPatch):
    """With `--look-up`, the bot's service names the member of a number."""
    client.set(NUMBER, text(offered(NUMBER, None)))
    assert invoke(*at(valkey_url), "--look-up")[0] == 0
    with FlowStateManager.from_url(valkey_url, bot) as manager:
        assert manager.member_of(Channel("whatsapp", NUMBER)) == f"m-{NUMBER}"


def test_old_records_may_be_on_another_server(valkey_url: str, client: Any, tmp_path: Path):
    """Records can be imported from a server into a folder; what is stored outlives the command."""
    client.set(NUMBER, text(offered(NUMBER, f"m-{NUMBER}")))
    (tmp_path / "data").mkdir()
    words = ("import-legacy", "--from", valkey_url, "--data", tmp_path / "data", *BOT)
    assert invoke(*words)[1].startswith("imported 1,")
    assert invoke(*words)[1].startswith("imported 0, imported before 1")
    assert client.keys("*") == [NUMBER.encode()]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--redis", "redis://localhost", "--data", "."),
        ("--data", "."),
        ("--redis", "redis://localhost", "--purge", "--dry-run"),
        ("--redis", "redis://localhost", "--rate", "0"),
    ],
    ids=["nowhere", "two stores", "no source", "a dry purge", "no rate"],
)
def test_wrong_usage(words: tuple[str, ...]):
    """Options that miss or contradict one another are wrong usage."""
    assert invoke("import-legacy", *BOT, *words)[0] == 2


def test_a_fault_before_the_first_record_is_one_line(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fault before the first record is one line that says what is missing, with exit code 1."""

    def package(name: str, legacy: Legacy | None) -> tuple[str, str]:
        module = ModuleType(name)
        module.bot = Bot(flows.bot.flows[:1], home=flows.bot.flows[0], importer=legacy)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
        return "--flows", name

    for words, said in [
        (package("without_legacy", None), "declares no legacy records"),
        ((*package("without_look_up", Legacy()), "--look-up"), "cannot look up the member of a number"),
        ((*BOT, "--from", f"unix://{tmp_path}/nobody"), "the legacy records cannot be read"),
        ((*BOT, "--report", str(tmp_path / "no" / "report")), "No such file"),
    ]:
        code, _, err = invoke("import-legacy", "--redis", valkey_url, *words)
        assert code == 1
        assert said in err
        assert err.startswith("error: ")
    code, _, err = invoke("import-legacy", "--data", tmp_path / "nowhere", "--from", valkey_url, *BOT)
    assert (code, "there is no folder" in err) == (1, True)


def test_at_a_terminal_a_bar_shows_how_far_it_is(valkey_url: str, client: Any, tmp_path: Path):
    """A terminal shows a progress bar; Ctrl-C ends the import, and a later run completes it."""
    client.mset({f"26377{n:07}": text(offered(f"26377{n:07}", None)) for n in range(300)})
    with Terminal(*at(valkey_url), "--rate", "1", cwd=tmp_path) as terminal:
        terminal.until("keys")
        assert terminal.end(press="\x03") == 130
    assert invoke(*at(valkey_url))[0] == 0


def test_no_other_command_pays_for_the_import():
    """The package `legacy` is imported inside the functions of this command, and by no other module of the command."""
    imports = {
        file.name: [
            node.lineno
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if "vimbiso_fsm.legacy" in ast.unparse(node)
            and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ]
        for file in Path(cli.__file__).parent.glob("*.py")
    }
    assert {name: places for name, places in imports.items() if places} == {}
    mentioned = {
        file.name for file in Path(cli.__file__).parent.glob("*.py") if "vimbiso_fsm.legacy" in file.read_text()
    }
    assert mentioned == {"import_legacy.py"}


def test_many_records_and_a_runner_that_is_killed():
    """An import that is killed twice beside live traffic imports each valid record once and lists each broken one.

    It is the fault row of 100,000 records, shortened.
    """
    figures = migrate_many(2_000)
    assert figures.sound, str(figures)
    assert (figures.records, figures.broken, figures.kills) == (2_000, 40, 2)
    assert figures.messages > 0
    assert figures.unanswered == 0
