"""What members say and press, in the words of each channel, and what a bot has sent to the vendors."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from itertools import count
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

from tests.web.clients import TOKEN
from tests.web.vendors import Seen

BASE = "https://bot.example.org"
HOOK = "/hook?a=1"
_ids = count(1)


class Updates(Protocol):
    """Makes the requests and updates of one channel."""

    def typed(self, text: str, language: str = "en") -> Any:
        """Return a typed message of the member."""
        ...

    def located(self) -> Any:
        """Return a location of the member."""
        ...

    def words(self, seen: Seen) -> str:
        """Return the words of a message that was sent; empty if the request sent none."""
        ...


class Telegram:
    """Updates of the Bot API."""

    def _message(self, language: str = "en", **content: Any) -> dict[str, Any]:
        number = next(_ids)
        person = {"id": 11, "is_bot": False, "first_name": "Ada", "language_code": language}
        chat = {"id": 11, "type": "private", "first_name": "Ada"}
        told = {"message_id": number, "from": person, "chat": chat, "date": 1_760_000_000}
        return {"update_id": number, "message": {**told, **content}}

    def typed(self, text: str, language: str = "en") -> Any:
        """Return a typed message."""
        marks = {"entities": [{"type": "bot_command", "offset": 0, "length": len(text)}]} if text[:1] == "/" else {}
        return self._message(language, text=text, **marks)

    def located(self) -> Any:
        """Return a location."""
        return self._message(location={"latitude": -17.8, "longitude": 31.0})

    def of_long_ago(self, text: str) -> Any:
        """Return a message that was sent nine days before."""
        return self._message(text=text, date=1_760_000_000 - 9 * 86_400)

    def of_customer(self, text: str) -> Any:
        """Return a message of a customer to a connected business account."""
        update = self._message(text=text, business_connection_id="b1")
        return {"update_id": update["update_id"], "business_message": update["message"]}

    def in_topic(self, text: str) -> Any:
        """Return a message in topic 5 of the private chat."""
        return self._message(text=text, message_thread_id=5, is_topic_message=True)

    def in_group(self, text: str) -> Any:
        """Return a message in a group."""
        return self._message(text=text, chat={"id": -100, "type": "group", "title": "All"})

    def pressed(self, data: str) -> Any:
        """Return a pressed button of message 70."""
        update = self._message(text="Which?", message_id=70)
        asked = update.pop("message")
        query = {"id": "q1", "from": asked["from"], "message": asked, "chat_instance": "-3", "data": data}
        return {**update, "callback_query": query}

    def words(self, seen: Seen) -> str:
        """Return the words of a message."""
        return str(parameters(seen).get("text", ""))


class WhatsApp:
    """Webhooks of the Cloud API, with their signature."""

    def _message(self, **content: Any) -> bytes:
        person = {"from": "263771000001", "from_user_id": "ZW.1"}
        told = {**person, "id": f"wamid.{next(_ids)}", "timestamp": "1760000000", **content}
        profile = {"wa_id": "263771000001", "user_id": "ZW.1", "profile": {"name": "Ada"}}
        return self.value(messages=[told], contacts=[profile])

    def value(self, field: str = "messages", **value: Any) -> bytes:
        """Return a webhook of a field."""
        number = {"display_phone_number": "263780000000", "phone_number_id": "106"}
        change = {"field": field, "value": {"messaging_product": "whatsapp", "metadata": number, **value}}
        return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "7", "changes": [change]}]}).encode()

    def typed(self, text: str, language: str = "en") -> Any:
        """Return a typed message."""
        return self._message(type="text", text={"body": text})

    def located(self) -> Any:
        """Return a location."""
        return self._message(type="location", location={"latitude": -17.8, "longitude": 31.0})

    def headers(self, raw: bytes) -> dict[str, str]:
        """Return the signature of a body."""
        return {"X-Hub-Signature-256": "sha256=" + hmac.new(b"s", raw, hashlib.sha256).hexdigest()}

    def words(self, seen: Seen) -> str:
        """Return the words of a message."""
        payload = json.loads(seen.body or b"{}")
        return str(
            payload.get("text", {}).get("body") or payload.get("interactive", {}).get("body", {}).get("text", "")
        )


class Twilio:
    """Forms of Twilio's webhooks, with their signature."""

    def _form(self, **fields: str) -> bytes:
        told = {"MessageSid": f"SM{next(_ids)}", "From": "+263771000001", "To": "+16505550002", **fields}
        return urlencode(told).encode()

    def typed(self, text: str, language: str = "en") -> Any:
        """Return a typed message."""
        return self._form(Body=text)

    def located(self) -> Any:
        """Return a location, which members of WhatsApp can send."""
        place = {"Latitude": "-17.8", "Longitude": "31.0", "Body": ""}
        return self._form(**{**place, "From": "whatsapp:+263771000001", "To": "whatsapp:+16505550002"})

    def headers(self, raw: bytes) -> dict[str, str]:
        """Return the signature of a form at the address of the webhook."""
        fields = parse_qsl(raw.decode(), keep_blank_values=True)
        signed = BASE + HOOK + "".join(name + value for name, value in sorted(fields))
        digest = hmac.new(TOKEN.encode(), signed.encode(), "sha1").digest()
        return {"X-Twilio-Signature": base64.b64encode(digest).decode()}

    def words(self, seen: Seen) -> str:
        """Return the words of a message."""
        return seen.form.get("Body", "")


def parameters(seen: Seen) -> dict[str, Any]:
    """Return the parameters of a method of the Bot API, however a library has written them."""
    kind = seen.headers.get("content-type", "")
    if kind.startswith("application/json"):
        return seen.json
    found: dict[str, Any] = dict(seen.form)
    return {name: json.loads(value) if value[:1] in ("{", "[") else value for name, value in found.items()}


def methods(seen: list[Seen]) -> list[str]:
    """Return the methods of the Bot API that were called."""
    return [each.path.rsplit("/", 1)[1] for each in seen]
