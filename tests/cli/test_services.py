"""`--services MODULE:FUNCTION`: the services of a bot, and the errors of a function that fails."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli_runs import LIMIT, embedded, run, start

pytestmark = [pytest.mark.embedded, embedded]

SHOP = """
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from vimbiso_fsm import Bot, Caller, Flow, NoData, State, Text, Transition, Turn, call


class Oven(Protocol):
    def bake(self, *, caller: Caller = Caller()) -> str: ...


class Small:
    def __init__(self, name):
        self.name = name

    def bake(self, *, caller):
        return self.name


def bake(turn: Turn[NoData]):
    return call(Oven.bake)


flow = Flow(
    "shop", initial="ready",
    states=[
        State("ready", ask=Text("Shall I bake?")),
        State("baking", ask=Text("Baking."), call=bake),
        State("end", say=Text("Baked."), final=True),
    ],
    transitions=[
        Transition("bake", "ready", "baking"),
        Transition("done", "baking", "end"),
        Transition("failed", "baking", "ready"),
    ],
)
bot = Bot([flow], texts={"shop.ready.bake": "Bake"}, services={"oven": Small("own")})


class Noisy(Small):
    def bake(self, *, caller):
        print("baked by", self.name)
        return self.name


def plain():
    return {"oven": Noisy("plain")}


@contextmanager
def managed():
    print("opened")
    yield {"oven": Noisy("managed")}
    print("closed")


class Broken(Small):
    def bake(self, *, caller):
        raise RuntimeError("the oven is cold")


def broken():
    return {"oven": Broken("broken")}


def misnamed():
    return {"stove": Small("stove")}


async def later():
    return {"oven": Noisy("later")}


@asynccontextmanager
async def managed_later():
    yield {"oven": Noisy("managed later")}


def failing():
    raise KeyError("OVEN_URL")


def exiting():
    raise SystemExit(3)


def wrong():
    return ["oven"]
"""
CHAT = ("chat", "--flows", "shop", "--services")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The current directory of the command, with the package `shop`."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    return tmp_path


def test_a_function_returns_the_services(here: Path):
    """The services of the function replace those of the bot that have the same names."""
    code, out, err = run(*CHAT, "shop:plain", cwd=here, stdin="hi\nbake\n")
    assert (code, err) == (0, "")
    assert "baked by plain\n" in out
    assert "Baked.\n" in out


def test_a_function_returns_a_context_manager(here: Path):
    """A context manager that the function returns is exited when the command ends."""
    code, out, err = run(*CHAT, "shop:managed", cwd=here, stdin="hi\nbake\n")
    assert (code, err) == (0, "")
    assert out.startswith("opened\n")
    assert "baked by managed\n" in out
    assert out.endswith("closed\n")


def test_the_chat_shows_the_exception_of_a_service(here: Path):
    """An exception of the application is on standard error with its traceback; the member reads nothing of it."""
    process = start(*CHAT, "shop:broken", cwd=here)
    out, err = (stream.decode() for stream in process.communicate(b"hi\nbake\n", timeout=LIMIT))
    assert process.returncode == 0
    assert "Traceback" in err
    assert 'raise RuntimeError("the oven is cold")' in err
    assert "the oven is cold" not in out


def test_the_chat_compares_the_services_with_the_calls(here: Path):
    """The command ends before the first message when a service that the bot calls is missing."""
    (here / "shop.py").write_text(SHOP.replace(', services={"oven": Small("own")}', ""), encoding="utf-8")
    code, out, err = run(*CHAT, "shop:misnamed", cwd=here)
    assert (code, out) == (1, "")
    assert err == (
        "error: service 'oven': it is missing, and flow 'shop', state 'baking', calls Oven.bake; "
        "give services={'oven': …}; given are 'stove'\n"
    )
    assert run("check", "--flows", "shop", cwd=here)[0] == 0  # the services may be given at the start
    code, out, err = run("state", "--flows", "shop", "--data", here / "data", "m-1", cwd=here)
    assert "oven" not in err


@pytest.mark.parametrize("function", ["later", "managed_later"])
def test_an_async_function_is_refused_by_a_command_that_is_not(here: Path, function: str):
    """A sync command refuses an async function, and leaves no coroutine unawaited."""
    code, out, err = run(*CHAT, f"shop:{function}", cwd=here)
    assert (code, out) == (1, "")
    assert err == (
        f"error: --services shop:{function}: the function is async, and this command calls services synchronously\n"
    )


@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        ("shop", 2, "shop is not MODULE:FUNCTION"),
        (":plain", 2, ":plain is not MODULE:FUNCTION"),
        ("no_such:plain", 1, "the module cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
        ("shop:no_such", 1, "the module has no function of this name; write MODULE:FUNCTION"),
        ("shop:failing", 1, "the function failed: KeyError: 'OVEN_URL' (shop.py:"),
        ("shop:exiting", 1, "the function failed: SystemExit: 3 (shop.py:"),
        ("shop:wrong", 1, "the function returned a list; return a mapping of names to services"),
    ],
)
@pytest.mark.parametrize("command", ["chat", "worker"])
def test_a_function_that_cannot_be_used(here: Path, command: str, function: str, code: int, said: str):
    """The error names the option, the function, the fault and the remedy, for sync and async commands."""
    (here / "data").mkdir()
    words = ("--data", "data", "--flows", "shop", "--services", function)
    ended, out, err = run(command, *words, cwd=here)
    assert (ended, out) == (code, "")
    assert "--services" in err
    assert said in err


def test_a_worker_awaits_the_function(here: Path):
    """An async function is called in the event loop of the worker."""
    (here / "data").mkdir()
    for function in ("later", "managed_later"):
        words = ("--data", "data", "--flows", "shop", "--services", f"shop:{function}")
        worker = start("worker", *words, cwd=here)
        assert worker.stderr is not None
        assert b"started" in worker.stderr.readline()
        worker.send_signal(signal.SIGTERM)
        assert b"ERROR" not in worker.communicate(timeout=LIMIT)[1]
        assert worker.returncode == 0
