"""The flows of a project in a pytest session: their items, one walk for all of them, and the coverage of all tests.

The package `pytest_vimbiso` registers a `FlowSession` where the project names its flows. With pytest-xdist, the worker
that comes first does the walk, and the others read what it has found.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.findings import faults, findings
from vimbiso_fsm.check.silencers import silenced
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.made import shown_path
from vimbiso_fsm.runtime.base import resolve_bot
from vimbiso_fsm.testing.approved import changed_without_version, conversations_of, differences
from vimbiso_fsm.testing.conversation import MEMBER
from vimbiso_fsm.testing.faults import fault_differences
from vimbiso_fsm.testing.flow_coverage import Seen, coverage_of, end_recording, percent, record
from vimbiso_fsm.testing.walking import TURNS, walk
from vimbiso_fsm.testing.ways import flows_of

_KINDS: Final = ("check", "walk", "approved", "faults")
_COLLECTS: Final = "vimbiso_collects"
_SEEN: Final = "vimbiso_seen"
_WALK_TIME: Final = 600.0
"""Seconds for which a worker waits for the walk of another one."""


@attrs.frozen(kw_only=True)
class Settings:
    """The table `tool.vimbiso` of pyproject.toml.

    Attributes:
        flows: The package that exports `bot`.
        who: The channels of the members who write in a walk, as "type:identifier".
        turns: The moves of the walk at most.
        walks: The folder of the approved walks.
    """

    flows: str
    who: tuple[str, ...] = attrs.field(default=(MEMBER,), converter=tuple)
    turns: int = TURNS
    walks: str = "tests/walks"


@attrs.frozen
class Found:
    """What the walk of a session has found, in a form that workers pass on.

    Attributes:
        line: The turns, the places and whether they were all.
        findings: The findings that are no advice, by flow.
        files: The approved walks as they would be written today, by flow.
    """

    line: str
    findings: Mapping[str, list[str]]
    files: Mapping[str, str]


class FlowSession:
    """The flows of a project in one pytest session."""

    def __init__(self, config: pytest.Config, settings: Mapping[str, Any]) -> None:
        try:
            self.settings = Settings(**settings)
        except TypeError:
            known = ", ".join(attrs.fields_dict(Settings))
            raise pytest.UsageError(f"[tool.vimbiso] has {', '.join(settings)}; it takes {known}") from None
        self.config = config
        self.seen: Seen = Counter()
        self._run = ""
        record(self.seen)

    @functools.cached_property
    def bot(self) -> Bot:
        """The bot of the project."""
        root = str(self.config.rootpath)
        if root not in sys.path:
            sys.path.insert(0, root)
        return resolve_bot(self.settings.flows)

    @functools.cached_property
    def _broken(self) -> bool:
        """Whether the package of the flows cannot be imported."""
        try:
            return not self.bot
        except Exception:  # noqa: BLE001  # whatever the author's code raises; the item `made` shows it
            return True

    @functools.cached_property
    def found(self) -> Found:
        """What the walk has found. It is done once for all workers."""
        run = getattr(self.config, "workerinput", {}).get("testrunuid", "")
        if not run:
            return self._walked()
        file = _file_of(run)
        try:
            os.close(os.open(file.with_suffix(".lock"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return _read(file)
        found = self._walked()
        part = file.with_suffix(".part")
        part.write_text(json.dumps(attrs.asdict(found)), encoding="utf-8")
        part.rename(file)
        return found

    @functools.cached_property
    def checked(self) -> tuple[Finding, ...]:
        """The faults that `vimbiso check` finds, without a walk."""
        return faults(findings(self.bot))

    def _walked(self) -> Found:
        bot = self.bot
        done = walk(bot, self.settings.who, turns=self.settings.turns)
        codes = {finding.code for finding in done.findings}
        found: dict[str, list[str]] = {}
        for finding in silenced(done.findings, (), frozenset()):
            if finding.code in codes and not finding.advice:
                found.setdefault(finding.flow, []).append(str(finding))
        line = str(done).partition("\n")[0]
        return Found(line, found, {flow.name: done.approved(flow.name) for flow in flows_of(bot)})

    def approved_file(self, flow: str) -> Path:
        """Return the file of the approved walk of a flow."""
        return self.config.rootpath / self.settings.walks / f"{flow}.txt"

    # Hooks ------------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist whether the items of the flows belong to the session."""
        node.workerinput[_COLLECTS] = self._collects()
        self._run = str(node.workerinput["testrunuid"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the items of the flows, unless the command names other tests."""
        if self._collects():
            items += self._items(session)

    def _collects(self) -> bool:
        told = getattr(self.config, "workerinput", {}).get(_COLLECTS)
        if told is not None:
            return bool(told)
        named = self.config.args_source is pytest.Config.ArgsSource.ARGS
        return not named or bool(self.config.getoption("--flows"))

    def _items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        root = FlowNode.from_parent(session, name="flows", nodeid="flows")
        if self._broken:
            yield FlowItem.from_parent(root, name="made", of=self, flow="")
            return
        for flow in flows_of(self.bot):
            node = FlowNode.from_parent(root, name=flow.name)
            for kind in _KINDS:
                yield FlowItem.from_parent(node, name=kind, of=self, flow=flow.name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Pass what was covered on to the process that reports it, or judge it there."""
        end_recording()
        output: dict[str, Any] | None = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[_SEEN] = [[list(key), times] for key, times in self.seen.items()]
            return
        if self._run:
            for suffix in (".json", ".lock"):
                _file_of(self._run).with_suffix(suffix).unlink(missing_ok=True)
        if self._is_short and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker of pytest-xdist has covered."""
        for key, times in getattr(node, "workeroutput", {}).get(_SEEN, ()):
            self.seen[tuple(key)] += times

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what was covered of each flow in all tests of the session."""
        if not (self.seen or self._least) or self._broken:
            return
        covered = coverage_of(self.bot, self.seen)
        if not any(each.fired for each in covered) and not self._least:
            return
        terminalreporter.section(f"flows: {percent(covered):.0f} % of the transitions fired in these tests")
        if "found" in vars(self):
            terminalreporter.line(f"walk: {self.found.line}")
        for each in covered:
            terminalreporter.line(str(each))
        for file in self._strays():
            terminalreporter.line(f"{shown_path(str(file))}: the approved walk of no flow of the bot; remove the file")
        if self._is_short:
            terminalreporter.line(f"FAILED: --flow-coverage {self._least:g} is not reached", red=True)

    def _strays(self) -> list[Path]:
        """Return the files of approved walks whose flow the bot does not have, as after a flow was renamed."""
        names = {flow.name for flow in flows_of(self.bot)}
        folder = self.config.rootpath / self.settings.walks
        return sorted(file for file in folder.glob("*.txt") if file.stem not in names)

    @property
    def _least(self) -> float:
        """The percentage of the transitions that have to fire in all tests together; 0 if the command names none."""
        return self.config.getoption("--flow-coverage") or 0.0

    @property
    def _is_short(self) -> bool:
        return bool(self._least) and not self._broken and percent(coverage_of(self.bot, self.seen)) < self._least


def _file_of(run: str) -> Path:
    """Return the file in which the worker that does the walk of a run of pytest-xdist leaves what it has found."""
    return Path(tempfile.gettempdir(), f"vimbiso-walk-{run}.json")


def _read(file: Path) -> Found:
    """Return what another worker has found, once it has."""
    until = time.monotonic() + _WALK_TIME
    while not file.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"the walk of another worker did not end within {_WALK_TIME:g} seconds")
        time.sleep(0.1)
    return Found(**json.loads(file.read_text(encoding="utf-8")))


class FlowNode(pytest.Collector):
    """A group of items of flows."""

    def collect(self) -> list[pytest.Item]:
        """Return nothing: the session makes the items."""
        return []


class FlowItem(pytest.Item):
    """One test of a flow."""

    def __init__(self, *, of: FlowSession, flow: str, **named: Any) -> None:
        super().__init__(**named)
        self._of, self._flow = of, flow

    def runtest(self) -> None:
        """Run the test."""
        getattr(self, f"_{self.name}")()

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the flow was made."""
        if not self._flow:
            return self.config.rootpath, 0, "flows::made"
        made = self._of.bot.machines[self._flow].flow.made
        return Path(shown_path(made.file)), max(made.line - 1, 0), f"flows::{self._flow}::{self.name}"

    def _made(self) -> None:
        self._of.bot  # noqa: B018  # it raises what is wrong with the package

    def _check(self) -> None:
        bot = self._of.bot
        named = (self._flow, "") if self._flow == bot.home.name else (self._flow,)  # what is of no flow is the home's
        _fail_with([str(each) for each in self._of.checked if each.flow in named])

    def _walk(self) -> None:
        _fail_with(self._of.found.findings.get(self._flow, []))

    def _approved(self) -> None:
        file = self._of.approved_file(self._flow)
        if self.config.getoption("--approve-walks"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._of.found.files[self._flow], encoding="utf-8")
        bot, text = self._of.bot, self._text()
        changes = filter(None, (changed_without_version(bot, self._flow, text), differences(bot, self._flow, text)))
        if changed := "\n\n".join(changes):
            _fail_with([f"{changed}\n\nIf this is meant: pytest --approve-walks, and read the differences."])

    def _faults(self) -> None:
        _fail_with(list(fault_differences(self._of.bot, conversations_of(self._text()))))

    def _text(self) -> str:
        file = self._of.approved_file(self._flow)
        if not file.is_file():
            pytest.skip(f"no walk of {self._flow!r} is approved yet; pytest --approve-walks writes {file.name}")
        return file.read_text(encoding="utf-8")


def _fail_with(faults: list[str]) -> None:
    if faults:
        pytest.fail("\n\n".join(faults), pytrace=False)
