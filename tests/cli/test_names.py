"""One way to name a store and a member in all commands, and hints where a name is misspelt."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from tests.bots import fruit_bot, member_document
from tests.cli_runs import embedded, invoke
from tests.engines import Server
from vimbiso_fsm import Bot, Flow, FlowStateManager, Inbox, State, Text, Transition
from vimbiso_fsm.cli.app import COMMANDS, make_app
from vimbiso_fsm.cli.member_argument import MEMBER_HELP, channel_of, member_id_of
from vimbiso_fsm.cli.store_options import OpenStore
from vimbiso_fsm.cli.store_url import FOLDER_VARIABLE, VARIABLE
from vimbiso_fsm.document.state_validator import CHANNEL_TYPES
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Link
from vimbiso_fsm.testing.chat import STORE_SECRET


def _leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command with its words."""
    if not getattr(command, "commands", None):
        yield name, command
        return
    for word, below in command.commands.items():
        yield from _leaves(below, f"{name} {word}".strip())


OWN = {*COMMANDS, "audit", "handover"}
ALL = {name: command for name, command in _leaves(get_command(make_app())) if name.split()[0] in OWN}
"""The commands of this library; other installed packages may add some."""
WITHOUT_STORE = {"new"}
"""Commands that read no store."""
OPTIONAL = {"chat", "replay", "check", "diagram"}
"""Commands that need no store, for which the environment names none."""
PLACES = ("MEMBER", "[MEMBER]", "[MEMBER]...", "INTO")
"""The arguments that name a member."""
NUMBER = "263771234567"
_VOLATILE = re.compile(
    r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+00:00)?|\b[0-9a-f]{16,}\b|(?<![\w-])[\w-]{22}(?![\w-])|[0-9a-f]{10}"
)
"""Instants and digests."""
NAMES = ("m-42", f"whatsapp:{NUMBER}", f"whatsapp:+{NUMBER}", "whatsapp:+263 (77) 123-4567")
"""What one member may be called."""


def arguments(name: str) -> list[Any]:
    """Return the arguments of a command."""
    return [each for each in ALL[name].params if not each.opts[0].startswith("-")]


@pytest.mark.parametrize("name", sorted(ALL.keys() - WITHOUT_STORE))
def test_each_command_names_its_store_in_one_way(name: str) -> None:
    """Each command that reads a store has `--redis`, `--data` and `--namespace`, and the variables of both."""
    known = {option: each for each in ALL[name].params for option in each.opts}
    assert {"--redis", "--data", "--namespace"} <= known.keys()
    assert {each.opts[0] for each in ALL[name].params if each.metavar == "URL"} <= {
        *("--redis", "--archive", "--from", "--base-url", "--metrics"),  # that of a page of figures
    }
    variables = (None, None) if name in OPTIONAL else (VARIABLE, FOLDER_VARIABLE)
    assert (known["--redis"].envvar, known["--data"].envvar) == variables


def seats() -> Bot:
    """Return a bot with an inbox."""
    states: list[State[Any]] = [State("held", ask=Text("Held.")), State("lost", ask=Text("Lost."))]
    moves: list[Transition[Any]] = [Transition("lose", "held", "lost"), Transition("hold", "lost", "held")]
    return Bot([Flow("seat", initial="held", states=states, transitions=moves)], inboxes=[Inbox("support")])


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package with a bot."""
    module = ModuleType("names_bot")
    module.bot = seats()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "names_bot", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)
    return "names_bot"


def store_members(server: Server) -> None:
    """Store two members in an empty store, each with a conversation of one message."""
    with server.client() as client:
        client.flushall()
    with (
        AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store,
        FlowStateManager(seats(), store) as manager,
    ):
        for member_id, number in (("m-42", NUMBER), ("m-43", "263779999998")):
            channel = Channel("whatsapp", number)
            document = member_document(member_id=member_id, channel=channel, channels=(channel.address,), run=None)
            manager.save(document)
            store.perform(Link(channel, member_id))
            manager.handle(Message(channel, f"{number}-1", "hi"))


def words(name: str, member: str, package: str) -> list[str]:
    """Return the words of a command about a member."""
    fill = {"VERSION": "2", "CHANNEL": "sms:+263779990000", "INTO": "m-43", "TEXT": "hello", "INBOX": "support"}
    given = [member if each.metavar in PLACES[:3] else fill[each.metavar] for each in arguments(name)]
    known = {option for each in ALL[name].params for option in each.opts}
    options = {"--by": "ann", "--key": "k-1", "--flows": package, "--archive": None}
    named = [word for option, value in options.items() if option in known and value for word in (option, value)]
    return [*name.split(), *given, *named]


@pytest.mark.embedded
@embedded
@pytest.mark.parametrize("name", [name for name in ALL if any(each.metavar in PLACES for each in arguments(name))])
def test_each_command_names_a_member_in_one_way(
    name: str, package: str, valkey_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command finds one member by the id and by the channel, with the number as people write it."""
    monkeypatch.setenv("VIMBISO_ARCHIVE", str(tmp_path / "archive"))
    assert all(each.help.endswith(MEMBER_HELP) for each in arguments(name) if each.metavar in PLACES)
    found = []
    for member in (NAMES[0], NAMES[2]):
        store_members(valkey_server)
        code, out, err = invoke(*words(name, member, package), "--redis", valkey_server.url)
        found.append((code, _plain(out, member), _plain(err, member)))
    assert found[0] == found[1]
    assert "hint" not in found[0][2]


def _plain(text: str, member: str) -> str:
    """Return what was printed without the name that was given, instants and digests."""
    kept = (line for line in text.replace(member, "m-42").splitlines())
    return "\n".join(_VOLATILE.sub("…", line) for line in kept)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_is_found_as_people_write_it(name: str) -> None:
    """A telephone number is found with its plus and with the signs between its digits."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    FlowStateManager(fruit_bot(), store).save(member_document(member_id="m-42", channel=Channel("whatsapp", NUMBER)))
    store.perform(Link(Channel("whatsapp", NUMBER), "m-42"))
    assert member_id_of(OpenStore(store, CHANNEL_TYPES), name) == "m-42"


def test_only_numbers_lose_their_signs() -> None:
    """An identifier that is no telephone number stays as it is, and so does one of another type of channel."""
    for text in ("whatsapp:US.13491208655302741918", "telegram:+263771234567", "signal:+263771234567", "sms:+1 a 2"):
        assert channel_of(text).identifier == text.partition(":")[2]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("whatsap:263771234567", "hint: 'whatsap' is no type of channel; did you mean whatsapp:263771234567?"),
        ("+263771234567", "hint: a channel has its type before it, such as whatsapp:+263771234567"),
        ("sms:+263771234567", "hint: nothing is stored of this channel; did you mean whatsapp:263771234567?"),
        ("sms:+263770000000", ""),
        ("m-43", ""),
        ("m-42", ""),
        ("whatsapp:263771234567", ""),
    ],
)
def test_a_misspelt_member_is_hinted_at(said: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A text that names nothing stored is told with the channel that it probably means; other members are not."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    FlowStateManager(fruit_bot(), store).save(member_document(member_id="m-42", channel=Channel("whatsapp", NUMBER)))
    store.perform(Link(Channel("whatsapp", NUMBER), "m-42"))
    member_id_of(OpenStore(store, CHANNEL_TYPES), said)
    assert capsys.readouterr().err.strip() == hint


def test_the_hint_repeats_a_hostile_text_in_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What a hint repeats steers no terminal and is short."""
    store = MemoryStore(lambda: 1e9, secret=STORE_SECRET)
    member_id_of(OpenStore(store, CHANNEL_TYPES), "whatsap:\x1b[2J\u202e" + "x" * 10_000)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert len(said) < 300
    assert not {"\x1b", "\u202e"} & {*said}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("histroy", "m-42"), "Did you mean 'history'?"),
        (("audit", "verfy"), "Did you mean 'verify'?"),
        (("diagram", "offr", "--flows", "flows"), "did you mean 'offer'?"),
    ],
)
def test_a_misspelt_command_or_flow_is_hinted_at(words: tuple[str, ...], said: str) -> None:
    """The command or the flow that is probably meant is named."""
    code, out, err = invoke(*words)
    assert code in (1, 2)
    assert out == ""
    assert said in " ".join(err.split())


def test_the_folder_of_the_environment_gives_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--redis` on the command line precedes the folder of the environment, and two stores of it are refused."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    code, _, err = invoke("history", "m-1", "--redis", "redis://127.0.0.1:1")
    assert (code, "127.0.0.1:1" in err) == (1, True)
    monkeypatch.setenv(VARIABLE, "redis://127.0.0.1:1")
    code, _, err = invoke("history", "m-1")
    assert code == 2
    assert "name two stores" in " ".join(err.split())
