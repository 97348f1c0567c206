"""The public names of `vimbiso_fsm`: the cost of their import, their list, and their use by authors."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vimbiso_fsm
from vimbiso_fsm import errors

ROOT = Path(__file__).resolve().parent.parent
DOORS = {
    *("vimbiso_fsm", "vimbiso_fsm.channels", "vimbiso_fsm.legacy", "vimbiso_fsm.testing"),
    *("vimbiso_fsm.adapters", "vimbiso_fsm.adapters.django", "vimbiso_fsm.web", "vimbiso_fsm.web.app"),
}
AUTHORS = [
    path
    for path in sorted([*ROOT.glob("flows/**/*.py"), *ROOT.glob("examples/*.py")])
    if path.parent.name != "credex_core" and path.name not in ("cli.py", "__main__.py")
]
"""Files as an author writes them: flows and examples, but neither the command nor the simulated service."""
ELSEWHERE = {
    "EntryNotFound": "explaining an audit is a tool beside the bot",
    "StateNotKept": "looking back at a member is a tool beside the bot",
    "RequestRefused": "a client of `vimbiso_fsm.web` raises it to the embedder",
    "SendUnknown": "the manager takes it for an unknown outcome, and sends again",
    "RecordNotImported": "the import of legacy records has a front door of its own",
}
"""Errors that no method of a manager raises, and why."""
INTERNAL = {
    "Altered": "the store looks at the keys of the member, and answers with `Broken` or `DamagedDocument`",
    "CallbackStopped": "the engine takes it for a failed callback, and the manager for `CallbackTimedOut`",
    "Changed": "the store that decrypts hands out a note in place of the data",
    "NotTheMembers": "the engine unlinks the channel",
    "Misshapen": "the converter turns it into a fault with a path",
    "NoSuchState": "recovery turns it into `NotRecovered`",
    "NotNow": "the engine refuses the answer of the member",
    "Rejected": "the app answers the request with a status of HTTP",
    "SenselessReply": "the store turns it into `CommitUnknown` or `StoreUnavailable`",
    "NotSent": "the store turns it into `StoreUnavailable`",
    "Unharmed": "it is caught as `StoreUnavailable`",
    "WrongType": "the store answers with `Broken` or `DamagedDocument`",
}
"""Exceptions that no caller of the package sees, and what becomes of them."""


def test_importing_is_cheap():
    """`import vimbiso_fsm` loads no client of a server, no event loop and nothing that only some bots need."""
    needless = {"redis", "asyncio", "hiredis", "jwt", "httpx2", "cryptography", "opentelemetry", "wcwidth", "zoneinfo"}
    needless |= {"vimbiso_fsm.channels.telegram", "vimbiso_fsm.channels.whatsapp"}
    code = f"import sys, vimbiso_fsm; print(sorted({needless} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_loads_nothing_of_the_legacy_import():
    """A bot that imports no records of the previous release does not pay for the package that does."""
    code = (
        "import sys, vimbiso_fsm; print(sorted(name for name in sys.modules if name.startswith('vimbiso_fsm.legacy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    """Each name of `__all__` can be imported, and each imported public name is in `__all__`, once."""
    assert all(hasattr(vimbiso_fsm, name) for name in vimbiso_fsm.__all__)
    assert sorted(vimbiso_fsm.__all__) == sorted(set(vimbiso_fsm.__all__))
    source = ast.parse(inspect.getsource(vimbiso_fsm))
    imported = {
        name.asname or name.name for node in source.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert imported == set(vimbiso_fsm.__all__)


def test_names_stand_in_groups():
    """The groups are in the order in which an author needs them."""
    groups = re.findall(r"^# ([A-Z]\w+): ", inspect.getsource(vimbiso_fsm), re.MULTILINE)
    assert groups == ["Declare", "Decide", "Call", "Say", "Embed", "Fail"]


def exceptions() -> Iterator[type[BaseException]]:
    """Return the exception classes that the modules of the package define, without the private ones."""
    for module in pkgutil.walk_packages(vimbiso_fsm.__path__, "vimbiso_fsm."):
        if not module.name.endswith("__main__"):
            try:
                found = importlib.import_module(module.name)
            except ModuleNotFoundError:  # of an extra
                continue
            for name, value in vars(found).items():
                defined_here = isinstance(value, type) and value.__module__ == module.name
                if defined_here and issubclass(value, BaseException) and not name.startswith("_"):
                    yield value


def test_errors_stand_on_one_page():
    """Each exception class is in `vimbiso_fsm.errors`, except the private ones and those that no caller sees."""
    elsewhere = {error.__name__ for error in exceptions() if error.__module__ != errors.__name__}
    assert elsewhere == INTERNAL.keys()


def test_errors_have_one_base():
    """Each error of the package can be caught as `VimbisoError`, also one that is a `ValueError` too."""
    assert all(issubclass(error, errors.VimbisoError) for error in exceptions() if error.__name__ not in INTERNAL)


@pytest.mark.parametrize(
    "error", [value for value in vars(errors).values() if getattr(value, "__module__", "") == errors.__name__]
)
def test_errors_document_their_facts(error: type):
    """The attributes that a class of `vimbiso_fsm.errors` annotates are those that its docstring describes."""
    described = re.findall(r"^    (\w+): ", (inspect.getdoc(error) or "").partition("Attributes:\n")[2], re.MULTILINE)
    assert described == list(inspect.get_annotations(error))


def test_every_error_of_a_manager_can_be_imported():
    """Each error that a method of a manager raises can be imported from `vimbiso_fsm`."""
    found = {error.__name__: error for error in exceptions() if error.__name__ not in INTERNAL}
    missing = {name for name, error in found.items() if getattr(vimbiso_fsm, name, None) is not error}
    assert missing == ELSEWHERE.keys()


@pytest.mark.parametrize("path", AUTHORS, ids=lambda path: str(path.relative_to(ROOT)))
def test_authors_import_from_the_front_door(path: Path):
    """Flows and examples import no inner module of the framework."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    ours = {name for name in named if name.partition(".")[0] == "vimbiso_fsm"}
    legacy = (
        {name for name in ours if name.startswith("vimbiso_fsm.legacy")} if path.name == "legacy_records.py" else set()
    )
    assert ours - legacy <= DOORS
    assert path.name == "legacy_records.py" or "vimbiso_fsm.legacy" not in ours


def test_the_flows_are_read():
    """The list of checked files holds the flows and the examples."""
    assert {"offer.py", "bot.py", "legacy_records.py", "english.py", "terminal.py"} <= {path.name for path in AUTHORS}
