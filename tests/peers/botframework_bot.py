"""The bot of the trials with the Bot Framework SDK: a waterfall of prompts, and a storage with ETags.

The SDK's own durable storages are services of Azure. This one keeps the contract of `Storage` on Redis, with ETags as
`MemoryStorage` compares them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import redis.asyncio
from botbuilder.core import ConversationState, Storage, TurnContext
from botbuilder.core.adapters import TestAdapter
from botbuilder.dialogs import DialogSet, DialogTurnStatus, WaterfallDialog
from botbuilder.dialogs.prompts import ConfirmPrompt, NumberPrompt, PromptOptions
from botbuilder.schema import Activity, ActivityTypes, ChannelAccount, ConversationAccount
from jsonpickle import decode, encode

from tests.peers.worker import URL, Bank, serve

bank = Bank()
_WRITE = """
local kept = redis.call("GET", KEYS[1])
if kept and ARGV[1] ~= "" and ARGV[1] ~= "*" and cjson.decode(kept).e_tag ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[2])
return 1
"""


class RedisStorage(Storage):
    """Keeps items on Redis. An item that was read and has changed since is not written."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._client: Any = redis.asyncio.Redis.from_url(url, protocol=2)

    async def read(self, keys: list[str]) -> dict[str, Any]:
        """Return the items that are there."""
        found = {}
        for key in keys:
            if (kept := await self._client.get(f"bf:{key}")) is not None:
                stored = json.loads(kept)
                found[key] = decode(stored["item"])
                found[key]["e_tag"] = stored["e_tag"]
        return found

    async def write(self, changes: dict[str, Any]) -> None:
        """Write items, or raise where an ETag differs."""
        for key, item in changes.items():
            tag = item.get("e_tag") or ""
            number = await self._client.incr("bf:tag")
            kept = json.dumps({"e_tag": str(number), "item": encode(item)})
            if not await self._client.eval(_WRITE, 1, f"bf:{key}", tag, kept):
                raise KeyError("Etag conflict.")

    async def delete(self, keys: list[str]) -> None:
        """Delete items."""
        for key in keys:
            await self._client.delete(f"bf:{key}")


async def amount(step: Any) -> Any:
    """Ask for the amount."""
    return await step.prompt("number", PromptOptions(prompt=Activity(type="message", text="How much?")))


async def confirm(step: Any) -> Any:
    """Keep the amount, and ask whether to pay."""
    step.values["amount"] = step.result
    return await step.prompt("confirm", PromptOptions(prompt=Activity(type="message", text="Pay it?")))


async def pay(step: Any) -> Any:
    """Pay."""
    if step.result:
        await asyncio.to_thread(bank.pay, int(step.values["amount"]))
        await step.context.send_activity("Paid.")
    return await step.end_dialog()


state = ConversationState(RedisStorage(URL))
dialogs = DialogSet(state.create_property("dialogs"))
dialogs.add(NumberPrompt("number"))
dialogs.add(ConfirmPrompt("confirm"))
dialogs.add(WaterfallDialog("payment", [amount, confirm, pay]))


async def on_turn(context: TurnContext) -> None:
    """Take one message."""
    dialog = await dialogs.create_context(context)
    result = await dialog.continue_dialog()
    if result.status == DialogTurnStatus.Empty:
        await dialog.begin_dialog("payment")
    await state.save_changes(context)


async def main() -> None:
    """Serve the bot."""

    async def handle(id_: int, text: str) -> list[str]:
        adapter = TestAdapter(on_turn)
        activity = Activity(
            type=ActivityTypes.message,
            id=str(id_),
            text=text,
            channel_id="test",
            locale="en-us",
            from_property=ChannelAccount(id="11"),
            recipient=ChannelAccount(id="bot"),
            conversation=ConversationAccount(id="11"),
            service_url="https://test.example",
        )
        context = TurnContext(adapter, activity)
        await adapter.run_pipeline(context, on_turn)
        return [each.text.partition(" (1)")[0] for each in adapter.activity_buffer]

    await serve(handle)


if __name__ == "__main__":
    asyncio.run(main())
