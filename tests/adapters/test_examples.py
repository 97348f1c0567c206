"""Each example answers a member by its real library, and keeps what it answers itself."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx2
import pytest

from tests.adapters.django_settings import configure
from tests.adapters.updates import BASE, Telegram, Twilio, WhatsApp
from tests.web.app_client import TestClient
from tests.web.clients import PLAIN, TOKEN
from tests.web.vendors import Vendors
from vimbiso_fsm import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.web import AsyncChannelClient, ChannelClient, CloudApi, TelegramApi

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "vimbiso_fsm" / "adapters").glob("*.py"))
EXAMPLES = sorted((ROOT / "examples").glob("*_bot.py"))
SHARED = {"taking", "telegram", "webhook", "__init__"}
ANSWERS = ["We are open from 9 to 5.", "Friday or Saturday?", "A haircut on Friday?"]


def clock() -> float:
    """Return the time at which the members write."""
    return 1_760_000_000.0


def example(name: str, package: str) -> Any:
    """Import an example; the test is skipped where its library is not installed."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    return importlib.import_module(f"examples.{name}")


@pytest.mark.parametrize("path", [*MODULES, *EXAMPLES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_adapter_and_an_example_are_short(path: Path) -> None:
    """An adapter has at most 60 lines, and so has an example; what adapters share is counted apart."""
    assert path.stem in SHARED or len(path.read_text(encoding="utf-8").splitlines()) <= 60


def _words(world: Vendors, updates: Any) -> list[str]:
    return [found for each in world.seen if (found := updates.words(each))]


def _on_a_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(coroutine)


def test_aiogram(world: Vendors) -> None:
    """The dispatcher of the example answers a command of its own, and leads through the flow."""
    module, updates = example("aiogram_bot", "aiogram"), Telegram()

    async def talk() -> None:
        session = importlib.import_module("aiogram.client.session.aiohttp").AiohttpSession
        api = importlib.import_module("aiogram.client.telegram").TelegramAPIServer.from_base(world.url)
        bot = module.aiogram.Bot(TOKEN, session=session(api=api))
        client = module.adapter.client(bot)
        async with AsyncFlowStateManager.in_memory(
            module.barber, clock=clock, senders={"telegram": client.send}
        ) as manager:
            dispatcher = module.dispatcher_of(manager, client)
            for text in ("/hours", "hi", "Friday"):
                await dispatcher.feed_raw_update(bot, updates.typed(text))
        await bot.session.close()

    _on_a_loop(talk())
    assert _words(world, updates) == ANSWERS


def test_python_telegram_bot(world: Vendors) -> None:
    """The application of the example answers a command of its own, and leads through the flow."""
    module, updates = example("ptb_bot", "telegram"), Telegram()

    async def talk() -> None:
        request = importlib.import_module("telegram.request").HTTPXRequest(httpx_kwargs={"verify": PLAIN})
        builder = module.ApplicationBuilder().token(TOKEN).base_url(f"{world.url}/bot").updater(None)
        application = builder.request(request).build()
        client = module.adapter.client(application.bot)
        async with AsyncFlowStateManager.in_memory(
            module.barber, clock=clock, senders={"telegram": client.send}
        ) as manager:
            module.add_barber(application, manager, client)
            async with application:
                for text in ("/hours", "hi", "Friday"):
                    update = module.Update.de_json(updates.typed(text), application.bot)
                    await application.process_update(update)

    _on_a_loop(talk())
    assert _words(world, updates) == ANSWERS


def test_pywa(world: Vendors) -> None:
    """The webhook that pywa serves answers a word of its own, and leads through the flow."""
    module, updates = example("pywa_bot", "pywa"), WhatsApp()
    server = module.FastAPI()
    with importlib.import_module("httpx").Client(verify=PLAIN) as session:
        whatsapp = module.WhatsApp(
            phone_id="106", token=TOKEN, session=session, server=server, app_secret="s", verify_token="v"
        )
        session.base_url = f"{world.url}/v26.0"
        client = module.adapter.client(whatsapp)
        with FlowStateManager.in_memory(module.barber, clock=clock, senders={"whatsapp": client.send}) as manager:
            module.serve(whatsapp, manager, client)
            web = TestClient(server)
            for text in ("hours", "hi", "Friday"):
                raw = updates.typed(text)
                assert web.post("/", content=raw, headers=updates.headers(raw)).status_code == 200
            assert web.post("/", content=updates.typed("hi")).status_code in (401, 422)  # FastAPI misses the header
    assert _words(world, updates) == ANSWERS


def test_django(world: Vendors) -> None:
    """The project of the example answers signed webhooks by its URLs, with Django's own client."""
    configure_first()
    module, updates = example("django_bot", "django"), WhatsApp()
    override: Any = importlib.import_module("django.test").override_settings
    api = CloudApi(token=TOKEN, number_id="106", app_secret="s", base=world.url)
    client = ChannelClient(api, transport=httpx2.HTTPTransport(verify=PLAIN))
    with client, FlowStateManager.in_memory(module.barber, clock=clock, senders={"whatsapp": client.send}) as manager:
        module.add_barber(client, manager, "v")
        with override(ROOT_URLCONF=module.__name__):
            web: Any = importlib.import_module("django.test").Client(enforce_csrf_checks=True)
            for text in ("hi", "Friday"):
                raw = updates.typed(text)
                answer = web.post("/whatsapp", raw, content_type="application/json", headers=updates.headers(raw))
                assert answer.status_code == 200
            assert web.post("/whatsapp", updates.typed("hi"), content_type="application/json").status_code == 403
            shake = {"hub.mode": "subscribe", "hub.verify_token": "v", "hub.challenge": "77"}
            assert web.get("/whatsapp", shake).content == b"77"
    assert _words(world, updates) == ANSWERS[1:]


def configure_first() -> None:
    """Give Django its settings where it is installed."""
    pytest.importorskip("django", reason="Django is not installed")
    configure()


def test_twilio(world: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WSGI app of the example answers signed forms, and Twilio's own client sends."""
    module, updates = example("twilio_bot", "twilio"), Twilio()
    monkeypatch.setattr("tests.adapters.updates.HOOK", "/")
    twilio = module.Client("AC1", TOKEN)
    twilio.api.base_url = world.url
    client = module.adapter.client(twilio, sender="+16505550002", base=world.url)
    manager = FlowStateManager.in_memory(module.barber, clock=clock, senders={"sms": client.send})
    with manager, _served(module.served(twilio, manager, client, BASE)) as port:
        for text in ("hours", "hi", "Friday"):
            raw = updates.typed(text)
            assert _post(port, raw, updates.headers(raw)) == 200
        assert _post(port, updates.typed("hi"), {}) == 403
    twilio.http_client.session.close()
    assert [each.partition("\n")[0] for each in _words(world, updates)] == ANSWERS


@contextmanager
def _served(app: Any) -> Generator[int]:
    """Serve an app of WSGI by the server of Python, at a port."""
    with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the class
        """Log nothing."""


def _post(port: int, raw: bytes, headers: dict[str, str]) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/", raw, headers)
    with connection.getresponse() as answer:
        status = answer.status
    connection.close()
    return status


def test_fastapi(world: Vendors) -> None:
    """The app of the example has the webhook beside a route of its own, and closes what it was given."""
    module, updates = example("fastapi_bot", "fastapi"), Telegram()
    api = TelegramApi(token=TOKEN, secret_token="s", base=world.url)

    async def client() -> AsyncChannelClient:
        return AsyncChannelClient(api, transport=httpx2.AsyncHTTPTransport(verify=PLAIN))

    found = asyncio.run(client())
    manager = AsyncFlowStateManager.in_memory(module.barber, clock=clock, senders={"telegram": found.send})
    with TestClient(module.serving(found, manager, BASE)) as web:
        for text in ("hi", "Friday"):
            update = updates.typed(text)
            headers = {"X-Telegram-Bot-Api-Secret-Token": "s"}
            assert web.post("/bot/telegram", json=update, headers=headers).status_code == 200
        assert web.post("/bot/telegram", json=updates.typed("hi")).status_code == 403
        assert web.get("/hours").json() == {"from": 9, "to": 5}
    assert _words(world, updates) == ANSWERS[1:]
