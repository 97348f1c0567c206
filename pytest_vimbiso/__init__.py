"""The pytest plugin of vimbiso_fsm: tests of flows without a line of test code, and the fixture `conversation`.

    [tool.vimbiso]
    flows = "clinic"                          # the package that exports `bot`
    who = ["whatsapp:263771000001"]           # the members who write in a walk

Each flow gets the items `check`, `walk`, `approved` and `faults`. Without these lines, and without `--flows`, the
plugin imports nothing of the library and does nothing. It is a package of its own for that reason.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from vimbiso_fsm.testing.conversation import Conversation

_FLOWS: Final = "vimbiso-flows"
_TALKS: Final = pytest.StashKey[list[Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("vimbiso_fsm", "flows of vimbiso_fsm")
    group.addoption("--flows", metavar="PACKAGE", help="test the flows of the package that exports `bot`")
    group.addoption("--approve-walks", action="store_true", help="write the approved walks anew; read the differences")
    group.addoption(
        "--flow-coverage", type=float, metavar="PERCENT", help="fail if fewer transitions fired in all tests together"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take up the flows that the project names, if it names any."""
    settings = _settings(config)
    if settings is not None:
        from vimbiso_fsm.testing.flow_session import FlowSession

        config.pluginmanager.register(FlowSession(config, settings), _FLOWS)


def _settings(config: pytest.Config) -> dict[str, Any] | None:
    """Return the table `tool.vimbiso` with the option `--flows`; None if both are missing."""
    file, flows = config.rootpath / "pyproject.toml", config.getoption("--flows")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    settings = tomllib.loads(text).get("tool", {}).get("vimbiso") if "[tool.vimbiso]" in text else None
    if flows:
        settings = {**(settings or {}), "flows": flows}
    return settings


@pytest.fixture
def conversation(request: pytest.FixtureRequest) -> Callable[..., Conversation]:
    """Begin conversations: `conversation("whatsapp:263771000001")`, with the arguments of `Conversation`.

    The bot is that of `tool.vimbiso`, unless `bot=` names another. Without a channel, the first of its `who` speaks. A
    test that fails shows the transcripts.
    """
    from vimbiso_fsm.testing.conversation import MEMBER, Conversation

    talks: list[Any] = request.node.stash.setdefault(_TALKS, [])

    def begin(who: Any = None, *, bot: Any = None, **options: Any) -> Conversation:
        session: Any = request.config.pluginmanager.get_plugin(_FLOWS)
        if who is None:
            who = next(iter(session.settings.who), MEMBER) if session and bot is None else MEMBER
        bot = bot or (session and session.bot)
        if bot is None:
            raise pytest.UsageError("no bot: give bot=…, or name the package in [tool.vimbiso] flows")
        talk = Conversation(bot, who, **options)
        talks.append(talk)
        return talk

    return begin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the transcripts of the conversations of a test that has failed."""
    report = yield
    if report.when == "call" and report.failed:
        for talk in item.stash.get(_TALKS, []):
            report.sections.append(("conversation", talk.transcript))
    return report
