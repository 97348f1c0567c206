"""The commands of an author within `vimbiso chat`, the reload of changed flows, and `vimbiso new`."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_runs import PROMPT, ROOT, Terminal, embedded, environment, invoke, run
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, State, Text, Transition
from vimbiso_fsm.cli.chat_session import ChatSession
from vimbiso_fsm.cli.store_options import OpenBot
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.reloading import Reloading

pytestmark = [pytest.mark.embedded, embedded]

STARTER = ("chat", "--flows", "vimbiso_fsm.cli.starter")
BOOKED = "hi\nbook\n2099-01-05\n11:00\nyes\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a new bot by the command in an empty folder, and go there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the current directory first
    code, out, err = invoke("new", "shop_bot")
    assert (code, err) == (0, "")
    assert "vimbiso chat --flows shop_bot" in out
    yield tmp_path / "shop_bot"
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop_bot"]:
        del sys.modules[name]


def chat(lines: str) -> str:
    """Let a person say lines through a pipe, and return what is printed."""
    code, out, err = invoke(*STARTER, stdin=lines)
    assert (code, err) == (0, "")
    return out


def test_the_state_and_what_led_there() -> None:
    """`:state`, `:history` and `:why` show where the member stands, the entries, and the transitions of the latest."""
    out = chat("hi\nbook\n2099-01-05\n:state\n:history\n:why\n")
    assert "= visit.hour; day: 2099-01-05; hours: 2 of them" in out
    assert "  waits: home.visit" in out
    assert "   4  transition advanced  looking -> hour  done" in out
    assert "done in looking of run visit:" in out
    assert "1. to hour: fired" in out


def test_time_passes_when_it_is_told_to() -> None:
    """`:wait` moves the clock of the store, and shows what came meanwhile."""
    out = chat("hi\nbook\n:wait 4m\n:state\n:wait 2m\n:state\n:wait soon\n")
    before, after = out.split("> :wait 2m")
    assert "= visit.day" in before
    assert "~ Your session ended after a while of silence." in after
    assert "= no flow" in after
    assert "say for how long, such as :wait 90s" in after


def test_the_clock_of_a_kept_store_stands(tmp_path: Path) -> None:
    """The clock of a store that is kept is not moved, since others may use the store."""
    code, out, _ = invoke(*STARTER, "--data", tmp_path / "data", stdin="hi\n:wait 6m\n")
    assert code == 0
    assert "error: the clock of a store that is kept is not moved" in out


def test_back_to_before_a_message() -> None:
    """`:back` puts the member to before the latest message, and again to the one before, until no flow was open."""
    out = chat("hi\nbook\n2099-01-05\n11:00\n:back\n:back\n:back\n")
    first, second, third = out.split("> :back\n")[1:]
    assert "= visit.hour; day: 2099-01-05" in first
    assert "= visit.day" in second
    assert "was not put back to version 1: at version 1 no flow was open" in third


def test_an_effect_is_not_undone() -> None:
    """`:back` does not go behind a call with an effect, and nothing of what was said is forgotten."""
    out = chat(f":back\n{BOOKED}:back\n")
    assert "nothing was said yet" in out
    assert "was not put back to version" in out.split("Your number is")[1]


def test_another_member_and_another_channel() -> None:
    """`:as` is another member on the same type of channel, and `:on` names the channel."""
    out = chat(
        ":as\nhi\nbook\n:as ada\n:state\n:on whatsapp:263771000001\nhi\n:on pigeon:7\n:as terminal:you\n:state\n"
    )
    assert "you are terminal:you; name another member" in out
    assert "nothing is stored of terminal:ada" in out
    assert "you are whatsapp:263771000001" in out
    assert "pigeon is no type of channel of the bot; there are" in out
    assert out.rstrip().endswith("waits: home.visit")


def test_a_misspelt_command_is_no_message() -> None:
    """A line with a colon and a word is never sent; the nearest command is named. `:)` is a message."""
    out = chat(":stat\n:xyzzy\n:)\n")
    assert ":stat is no command; did you mean :state?" in out
    assert ":xyzzy is no command; there are :state, :back" in out
    assert "What can we do for you?" in out.split("> :)")[1]


def test_findings_help_and_the_diagram() -> None:
    """`:findings`, `:diagram` and `:help` print what the commands of the same names do."""
    out = chat(":findings\n:diagram\n:diagram visit\n:diagram nowhere\n:help\n")
    assert "no finding" in out
    assert "    menu --> visit : book" in out
    assert "    hour --> confirm : answer" in out
    assert "the bot has no flow nowhere; it has home, visit" in out
    assert ":save      write what was said as a test" in out


def test_a_new_bot_is_complete(shop: Path) -> None:
    """The new bot has no finding, and its tests, which walk all its conversations, pass."""
    code, out, err = run("check", "--flows", "shop_bot", cwd=shop)
    assert (code, err) == (0, "")
    assert "no finding" in out
    done = pytest_in(shop)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "starter" not in "".join(
        path.read_text() for path in shop.rglob("*") if path.is_file() and path.suffix != ".pyc"
    )


def test_a_saved_conversation_is_a_test(shop: Path) -> None:
    """What was said becomes a test that passes, and that fails when the flow says something else."""
    said = f"{BOOKED}book\n:back\n:save booked\n:save booked\n"
    code, out, _ = run("chat", "--flows", "shop_bot", cwd=shop, stdin=said)
    assert code == 0
    assert "wrote tests/test_booked.py" in out
    assert "tests/test_booked.py exists; give another name" in out
    assert pytest_in(shop, "tests/test_booked.py").returncode == 0
    texts = shop / "shop_bot" / "texts.py"
    texts.write_text(texts.read_text().replace("At what time?", "When?"))
    assert pytest_in(shop, "tests/test_booked.py").returncode == 1


def test_a_name_that_is_no_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that Python cannot import, or has already, is refused, as is a folder that exists."""
    monkeypatch.chdir(tmp_path)
    for name in ("7up", "a-b", "Shop", "class", "json", "tests", "pytest", "vimbiso_fsm", "../up", ""):
        code, out, err = invoke("new", name)
        assert (code, out) == (1, ""), name
        assert err.startswith("error: ")
    (tmp_path / "shop").mkdir()
    code, _, err = invoke("new", "shop")
    assert (code, err) == (1, "error: shop: it exists; name a new folder\n")
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_changed_flow_is_loaded_anew(shop: Path) -> None:
    """The chat goes on where the member was with changed words, and with the flows of before after a mistake."""
    texts, flow = shop / "shop_bot" / "texts.py", shop / "shop_bot" / "visit.py"
    with Terminal("chat", "--flows", "shop_bot", cwd=shop) as terminal:
        terminal.until(PROMPT)
        terminal.type("hi\n")
        terminal.until("Book an appointment")
        terminal.until(PROMPT)
        terminal.type("book\n")
        terminal.until("On which day?")
        terminal.until(PROMPT)
        rewrite(texts, "At what time?", "When shall it be, please?")
        terminal.type("2099-01-05\n")
        terminal.until("the flows were loaded anew")
        terminal.until("When shall it be, please?")
        terminal.until(PROMPT)
        rewrite(flow, '"hour",    "confirm"', '"hour",    "confrim"')
        terminal.type("11:00\n")
        terminal.until("confrim")
        terminal.until("The flows of before go on.")
        terminal.until("Shall we book that?")
        terminal.until(PROMPT)
        assert terminal.end(press="\x04") == 0


def test_a_state_that_is_gone_is_named(shop: Path) -> None:
    """A member whose state is gone is put to a question before, and the chat says so."""
    flow = shop / "shop_bot" / "visit.py"
    with Terminal("chat", "--flows", "shop_bot", cwd=shop) as terminal:
        terminal.until(PROMPT)
        for line, shown in (
            ("hi", "Book an app"),
            ("book", "which day"),
            ("2099-01-05", "11:00"),
            ("11:00", "Shall we"),
        ):
            terminal.type(f"{line}\n")
            terminal.until(shown)
            terminal.until(PROMPT)
        rewrite(flow, '"confirm"', '"agreed"')
        terminal.type(":state\n")
        terminal.until("visit.confirm is gone, you stand at visit.")
        assert terminal.end(press="\x04") == 0


def test_services_keep_what_they_hold(shop: Path) -> None:
    """After a reload a service holds what it held, unless the file of its class has changed."""
    sys.path.insert(0, str(shop))
    bot = importlib.import_module("shop_bot").bot
    reloading = Reloading("shop_bot")
    held = bot.services["diary"]
    rewrite(shop / "shop_bot" / "texts.py", "At what time?", "When?")
    assert reloading.changed()
    assert not reloading.changed()
    after = reloading.reload(bot)
    assert after.services["diary"] is held
    rewrite(shop / "shop_bot" / "diary.py", '"11:00"', '"12:00"')
    assert reloading.changed()
    assert reloading.reload(after).services["diary"] is not held


def rewrite(path: Path, old: str, new: str) -> None:
    """Change a file as an editor does, at a later time."""
    text = path.read_text()
    assert old in text
    changed = path.stat().st_mtime_ns + 2_000_000_000
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(changed, changed))


def pytest_in(shop: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of the new bot as its author does."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_vimbiso", "-p", "no:cacheprovider", *words],
        cwd=shop,
        env={**environment(shop), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_members_who_talk_elsewhere_are_left_to_their_workers(valkey_url: str) -> None:
    """On a kept store, the chat does what is due at its own members, and delivers to no other one."""
    seat = Flow(
        "seat",
        initial="held",
        states=[State("held", ask=Text("Held."), timeout=0.01), State("lost", say=Text("Lost."), final=True)],
        transitions=[Transition("timeout", "held", "lost")],
    )
    with AtomicStateManager.from_url(valkey_url) as store, FlowStateManager(Bot([seat]), store) as elsewhere:
        there = elsewhere.handle(Message(Channel("whatsapp", "263771000001"), "1", "hi"))
        opened = OpenBot(store, elsewhere.bot.validator.channel_types, elsewhere, kept=True)
        session = ChatSession(opened, Channel("terminal", "you"), Reloading("vimbiso_fsm.cli.starter"))
        session.say("hi")
        heard = session.heard()
        while not heard:
            heard = session.heard()
        assert [(channel.type, reply.text) for channel, replies in heard for reply in replies] == [
            ("terminal", "Lost.")
        ]
        assert elsewhere.state(there.member_id) == there.state
