"""The adapters under test, each with its real library, and the vendors on this machine."""

from __future__ import annotations

import asyncio
import importlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import httpx2
import pytest

from tests.adapters.updates import BASE, HOOK, Telegram, Twilio, Updates, WhatsApp
from tests.web.app_client import TestClient
from tests.web.clients import PLAIN, TOKEN
from tests.web.vendors import Seen, Vendors, closed_port
from vimbiso_fsm import AsyncFlowStateManager, AsyncWorker, Bot, FlowStateManager, Worker
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.web import ChannelClient, CloudApi

R = TypeVar("R")


class Subject(ABC):
    """An adapter in a bot that has a command `own` of its own."""

    channel: ClassVar[Channel]
    updates: Updates
    business: ClassVar[bool] = False
    passed: list[Any]
    """What has reached a handler of the bot's own that stands after the framework."""

    def __init__(self, world: Vendors, bot: Bot) -> None:
        self.world, self.passed, self.now = world, [], 1_760_000_000.0
        self.errors: list[BaseException] = []
        self._make(bot)

    def clock(self) -> float:
        """Return the time of the test."""
        return self.now

    @abstractmethod
    def _make(self, bot: Bot) -> None:
        """Make the bot of the library."""

    @abstractmethod
    def deliver(self, update: Any) -> int:
        """Hand an update to the library, and return the status of the answer; 200 where there is none."""

    @abstractmethod
    def send(self, replies: list[Reply]) -> Any:
        """Send replies by the client of the adapter, and return its answer."""

    @abstractmethod
    def work(self) -> None:
        """Let a worker do one round."""

    @abstractmethod
    def break_store(self, error: Exception) -> None:
        """Let the manager take nothing more."""

    @abstractmethod
    def unplug(self) -> None:
        """Lead the library to an address at which nothing listens."""

    @abstractmethod
    def close(self) -> None:
        """Close everything."""

    def said(self, update: Any) -> list[str]:
        """Deliver an update, and return the words that were sent for it."""
        before = len(self.world.seen)
        self.deliver(update)
        return self.words(self.world.seen[before:])

    def words(self, seen: list[Seen]) -> list[str]:
        """Return the words of messages that were sent."""
        return [found for each in seen if (found := self.updates.words(each))]


class _Async(Subject):
    manager: AsyncFlowStateManager

    def __init__(self, world: Vendors, bot: Bot) -> None:
        self._runner = asyncio.Runner()
        super().__init__(world, bot)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the loop of the subject."""
        return self._runner.run(coroutine)

    def send(self, replies: list[Reply]) -> Any:
        """Send replies."""
        return self.run(self.client.send(self.channel, replies))  # type: ignore[attr-defined]  # each has one

    def work(self) -> None:
        """Let a worker do one round."""

        async def one() -> None:
            await asyncio.gather(*await AsyncWorker(self.manager).round())

        self.run(one())

    def break_store(self, error: Exception) -> None:
        """Let the manager take nothing more."""

        async def handle(*_: Any, **__: Any) -> Any:
            raise error

        self.manager.handle = handle  # type: ignore[method-assign]  # the store is behind it

    def close(self) -> None:
        """Close everything."""
        self.run(self._close())
        self._runner.close()

    @abstractmethod
    async def _close(self) -> None: ...


class Aiogram(_Async):
    """aiogram: a dispatcher with three routers, and a bot whose default would mark words up."""

    channel = Channel("telegram", "11")

    def _make(self, bot: Bot) -> None:
        self.updates = Telegram()
        self.run(self._made(bot))

    async def _made(self, bot: Bot) -> None:
        aiogram: Any = importlib.import_module("aiogram")
        adapter: Any = importlib.import_module("vimbiso_fsm.adapters.aiogram")
        session: Any = importlib.import_module("aiogram.client.session.aiohttp").AiohttpSession
        server: Any = importlib.import_module("aiogram.client.telegram").TelegramAPIServer
        defaults: Any = importlib.import_module("aiogram.client.default").DefaultBotProperties
        command: Any = importlib.import_module("aiogram.filters").Command
        api = server.from_base(self.world.url)
        self._bot = aiogram.Bot(TOKEN, session=session(api=api), default=defaults(parse_mode="HTML"))
        self.client = adapter.client(self._bot, business=self.business)
        self.manager = AsyncFlowStateManager.in_memory(bot, clock=self.clock, senders={"telegram": self.client.send})
        before, after = aiogram.Router(), aiogram.Router()

        async def own(message: Any) -> None:
            await message.answer("own")

        async def later(event: Any) -> None:
            self.passed.append(event)

        async def failed(event: Any) -> None:
            self.errors.append(event.exception)

        before.message(command("own"))(own)
        after.message()(later)
        after.callback_query()(later)
        self._dispatcher = aiogram.Dispatcher()
        self._dispatcher.include_routers(before, adapter.router(self.manager, self.client), after)
        self._dispatcher.errors()(failed)

    def deliver(self, update: Any) -> int:
        """Feed an update to the dispatcher."""
        self.run(self._dispatcher.feed_raw_update(self._bot, update))
        return 200

    def unplug(self) -> None:
        """Lead the session to another address."""
        server: Any = importlib.import_module("aiogram.client.telegram").TelegramAPIServer
        self._bot.session.api = server.from_base(closed_port())

    async def _close(self) -> None:
        if self._bot.session._session is not None:  # the close of the library waits a quarter of a second
            await self._bot.session._session.close()
        await self.manager.close()


class Ptb(_Async):
    """python-telegram-bot: an application with handlers before and after."""

    channel = Channel("telegram", "11")

    def _make(self, bot: Bot) -> None:
        self.updates = Telegram()
        self.run(self._made(bot))

    async def _made(self, bot: Bot) -> None:
        telegram: Any = importlib.import_module("telegram")
        ext: Any = importlib.import_module("telegram.ext")
        adapter: Any = importlib.import_module("vimbiso_fsm.adapters.ptb")
        self._update = telegram.Update
        defaults = ext.Defaults(parse_mode="HTML")
        url = f"{self.world.url}/bot"
        request: Any = importlib.import_module("telegram.request").HTTPXRequest(httpx_kwargs={"verify": PLAIN})
        self._app = (
            ext.ApplicationBuilder()
            .token(TOKEN)
            .base_url(url)
            .defaults(defaults)
            .request(request)
            .updater(None)
            .build()
        )
        self.client = adapter.client(self._app.bot, business=self.business)
        self.manager = AsyncFlowStateManager.in_memory(bot, clock=self.clock, senders={"telegram": self.client.send})

        async def own(update: Any, context: Any) -> None:
            await update.message.reply_text("own")

        async def later(update: Any, context: Any) -> None:
            self.passed.append(update)

        async def failed(update: Any, context: Any) -> None:
            self.errors.append(context.error)

        # Without a user of the bot, which getMe tells, the command has no name to be compared with.
        self._app.add_handler(ext.MessageHandler(ext.filters.Regex("^/own$"), own))
        self._app.add_handler(adapter.handler(self.manager, self.client))
        self._app.add_handler(ext.TypeHandler(telegram.Update, later))
        self._app.add_error_handler(failed)
        self._app._initialized = True  # without getMe
        await self._app.bot.request.initialize()

    def deliver(self, update: Any) -> int:
        """Let the application process an update."""
        self.run(self._app.process_update(self._update.de_json(update, self._app.bot)))
        return 200

    def unplug(self) -> None:
        """Lead the bot to another address."""
        self._app.bot._base_url = f"{closed_port()}/bot{TOKEN}"

    async def _close(self) -> None:
        await self._app.bot.request.shutdown()
        await self.manager.close()


class _Sync(Subject):
    manager: FlowStateManager
    client: ChannelClient

    def send(self, replies: list[Reply]) -> Any:
        """Send replies."""
        return self.client.send(self.channel, replies)

    def work(self) -> None:
        """Let a worker do one round."""
        worker = Worker(self.manager)
        for each in worker.round():
            each.result()

    def break_store(self, error: Exception) -> None:
        """Let the manager take nothing more."""

        def handle(*_: Any, **__: Any) -> Any:
            raise error

        self.manager.handle = handle  # type: ignore[method-assign]  # the store is behind it

    def _manager(self, bot: Bot) -> FlowStateManager:
        senders = {"whatsapp": self.client.send, "sms": self.client.send}
        return FlowStateManager.in_memory(bot, clock=self.clock, senders=senders)

    def close(self) -> None:
        """Close everything."""
        self.manager.close()
        self.client.close()


class Pywa(_Sync):
    """pywa: a client whose webhook is served by a FastAPI app."""

    channel = Channel("whatsapp", "263771000001")

    def _make(self, bot: Bot) -> None:
        self.updates = WhatsApp()
        pywa: Any = importlib.import_module("pywa")
        adapter: Any = importlib.import_module("vimbiso_fsm.adapters.pywa")
        httpx: Any = importlib.import_module("httpx")
        server: Any = importlib.import_module("fastapi").FastAPI()
        self._session = httpx.Client(verify=PLAIN)
        self._whatsapp = pywa.WhatsApp(
            phone_id="106", token=TOKEN, session=self._session, server=server, app_secret="s", verify_token="v"
        )
        self._session.base_url = f"{self.world.url}/v26.0"
        self.client = adapter.client(self._whatsapp)
        self.manager = self._manager(bot)
        self._whatsapp.on_message(pywa.filters.matches("own"))(self._own)
        adapter.attach(self._whatsapp, self.manager, self.client)
        self._whatsapp.on_message(priority=-2000)(lambda _, update: self.passed.append(update))
        self._web = TestClient(server)

    def _own(self, _: Any, message: Any) -> None:
        message.reply("own")

    def deliver(self, update: Any) -> int:
        """Post a webhook to the app of pywa."""
        headers = WhatsApp().headers(update)
        return self._web.post("/", content=update, headers=headers).status_code

    def unplug(self) -> None:
        """Lead the session to another address."""
        self._session.base_url = closed_port()

    def close(self) -> None:
        """Close everything."""
        super().close()
        self._session.close()


class _Webhook(_Sync):
    signs: WhatsApp | Twilio

    @abstractmethod
    def post(self, raw: bytes, headers: dict[str, str], method: str = "POST", path: str = HOOK) -> tuple[int, str]:
        """Make a request, and return the status and the body of the answer."""

    def unplug(self) -> None:
        """Lead the client to another address."""
        object.__setattr__(self.client.api, "base", closed_port())  # a frozen class

    def deliver(self, update: Any) -> int:
        """Make a signed request."""
        return self.post(update, self.signs.headers(update))[0]

    def own(self, message: Any) -> bool:
        """Answer the word "own"."""
        if message.text != "own":
            return False
        self.client.send(message.channel, [self.reply("own")])
        return True

    def reply(self, words: str) -> Any:
        """Return words."""
        from vimbiso_fsm import Text

        return Text(words).said(words, {})


class Django(_Webhook):
    """A sync view of Django, for the Cloud API."""

    channel = Channel("whatsapp", "263771000001")

    def _make(self, bot: Bot) -> None:
        self.updates = self.signs = WhatsApp()
        from tests.adapters.django_settings import configure

        configure()
        adapter: Any = importlib.import_module("vimbiso_fsm.adapters.django")
        self._requests: Any = importlib.import_module("django.test").RequestFactory()
        api = CloudApi(token=TOKEN, number_id="106", app_secret="s", base=self.world.url)
        self.client = ChannelClient(api, transport=httpx2.HTTPTransport(verify=PLAIN))
        self.manager = self._manager(bot)
        self._view = adapter.view(self.manager, self.client, base=BASE, verify_token="v", own=self.own)

    def post(self, raw: bytes, headers: dict[str, str], method: str = "POST", path: str = HOOK) -> tuple[int, str]:
        """Call the view."""
        request = self._requests.generic(method, path, raw, "application/json", headers=headers)
        answer = self._view(request)
        return answer.status_code, answer.content.decode()


class TwilioWsgi(_Webhook):
    """Twilio's own client, and a WSGI app."""

    channel = Channel("sms", "263771000001")

    def _make(self, bot: Bot) -> None:
        self.updates = self.signs = Twilio()
        rest: Any = importlib.import_module("twilio.rest")
        adapter: Any = importlib.import_module("vimbiso_fsm.adapters.twilio")
        wsgi: Any = importlib.import_module("vimbiso_fsm.adapters.wsgi")
        self._twilio = rest.Client("AC1", TOKEN)
        self.client = adapter.client(self._twilio, sender="+16505550002", base=self.world.url)
        self.manager = self._manager(bot)
        self._app = wsgi.app(self.manager, self.client, base=BASE, own=self.own)

    def post(self, raw: bytes, headers: dict[str, str], method: str = "POST", path: str = HOOK) -> tuple[int, str]:
        """Call the app."""
        where, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": where,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(raw)),
            "wsgi.input": io.BytesIO(raw),
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        }
        status: list[str] = []
        body = b"".join(self._app(environ, lambda line, headers: status.append(line)))
        return int(status[0].split()[0]), body.decode()

    def close(self) -> None:
        """Close everything."""
        super().close()
        self._twilio.http_client.session.close()


SUBJECTS: dict[str, tuple[str, Callable[[Vendors, Bot], Subject]]] = {
    "aiogram": ("aiogram", Aiogram),
    "ptb": ("telegram", Ptb),
    "pywa": ("pywa", Pywa),
    "django": ("django", Django),
    "twilio": ("twilio", TwilioWsgi),
}
"""The adapters by name: the package of the library, and how it is made."""


def made(name: str, world: Vendors, bot: Bot) -> Subject:
    """Make an adapter; the test is skipped where its library is not installed."""
    package, maker = SUBJECTS[name]
    pytest.importorskip(package, reason=f"{package} is not installed")
    return maker(world, bot)
