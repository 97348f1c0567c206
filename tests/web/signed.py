"""Requests as the channels sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from tests.web.clients import TOKEN
from vimbiso_fsm.channels import rest

BASE = "https://bot.example.org"
REST_SECRET = "secret-of-the-system-in-the-back-0"
CLOUD = {
    "object": "whatsapp_business_account",
    "entry": [
        {
            "changes": [
                {
                    "field": "messages",
                    "value": {
                        "metadata": {"phone_number_id": "106"},
                        "messages": [
                            {
                                "from": "263771000001",
                                "id": "wamid.in",
                                "type": "text",
                                "text": {"body": "hi"},
                            }
                        ],
                    },
                }
            ]
        }
    ],
}
CHAT = {"id": 11, "type": "private"}
UPDATE = {"update_id": 1, "message": {"message_id": 2, "date": 1, "chat": CHAT, "from": {"id": 11}, "text": "hi"}}
FORM = b"MessageSid=SM0&From=%2B263771000001&To=%2B16505550002&Body=hi"


def signed(name: str) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request of a channel."""
    match name:
        case "whatsapp":
            raw = json.dumps(CLOUD).encode()
            return raw, {"X-Hub-Signature-256": "sha256=" + hmac.new(b"s", raw, hashlib.sha256).hexdigest()}
        case "telegram":
            return json.dumps(UPDATE).encode(), {"X-Telegram-Bot-Api-Secret-Token": "s"}
        case "rest":
            raw = json.dumps({"sender": "ada", "id": "1", "text": "hi"}).encode()
            return raw, {"X-Vimbiso-Signature": rest.sign(raw, secret=REST_SECRET, at=int(time.time()))}
        case _:
            text = f"{BASE}/sms?a=1" + "Bodyhi" + "From+263771000001" + "MessageSidSM0" + "To+16505550002"
            digest = hmac.new(TOKEN.encode(), text.encode(), "sha1").digest()
            return FORM, {"X-Twilio-Signature": base64.b64encode(digest).decode()}
