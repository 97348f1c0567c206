"""Write `whatsapp.jsonl`: webhook bodies as the Cloud API sends them, one JSON per line, for `vimbiso replay`.

    python tests/transcripts/make_whatsapp.py            writes the file again
    python tests/transcripts/make_whatsapp.py --check    exits with 1 if the file differs from what this script writes

Five members talk at the same time:

- Emmy, unknown, becomes a member, offers alan 10 USD and confirms: one offer.
- Ada mistypes the amount three times, offers alan 10 USD and confirms: one offer.
- Alan starts an offer, goes back once and cancels: none.
- Katherine chooses her account `katherine`, starts an offer and says no: none.
- Sophie, unknown, starts to register and has yet to give her last name.

Duplicates, late presses and pictures change nothing. All times lie within 300 s, so that no session ends. Pressed ids
are bare triggers and rows (`become_member`), or stale ones (`zz.1.yes`), because the fences of a conversation are not
known before it is replayed.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any, Final

import attrs

__all__ = ["FILE", "bodies", "lines"]

FILE: Final = Path(__file__).with_name("whatsapp.jsonl")

START: Final = 1_760_000_000
"""2025-10-09 08:53:20 UTC."""
STEP: Final = 3
"""Seconds from one message to the next."""

BUSINESS: Final = "102290129340398"
DISPLAY: Final = "263780000000"
PHONE_NUMBER_ID: Final = "106540352242922"

JSON = dict[str, Any]


@attrs.frozen
class Member:
    """A member on WhatsApp. Each message is sent a little later than the one before."""

    phone: str
    name: str
    clock: itertools.count[int]

    def message(self, kind: str, **content: Any) -> JSON:
        """One message of the webhook's `messages`."""
        at = START + STEP * next(self.clock)
        told = {"from": self.phone, "id": wamid(self.phone, f"in {at}"), "timestamp": str(at), "type": kind}
        return told | content

    def text(self, body: str) -> JSON:
        """A typed text."""
        return self.message("text", text={"body": body})

    def button(self, id: str, title: str) -> JSON:
        """A pressed button."""
        return self._pressed({"type": "button_reply", "button_reply": {"id": id, "title": title}})

    def row(self, id: str, title: str, description: str = "") -> JSON:
        """A chosen row."""
        row = {"id": id, "title": title} | ({"description": description} if description else {})
        return self._pressed({"type": "list_reply", "list_reply": row})

    def _pressed(self, interactive: JSON) -> JSON:
        return self.message("interactive", context=self._context(), interactive=interactive)

    def quick_reply(self, payload: str, text: str) -> JSON:
        """A pressed button under a template."""
        return self.message("button", context=self._context(), button={"payload": payload, "text": text})

    def media(self, kind: str, mime_type: str) -> JSON:
        """A picture, a sticker or a voice message."""
        digest = hashlib.sha256(f"{self.phone} {kind}".encode()).digest()
        number = str(int.from_bytes(digest[:6], "big"))
        return self.message(
            kind, **{kind: {"mime_type": mime_type, "sha256": base64.b64encode(digest).decode(), "id": number}}
        )

    def _context(self) -> JSON:
        return {"from": DISPLAY, "id": wamid(self.phone, "question")}

    def status(self, status: str) -> JSON:
        """The status of one of the bot's messages to this member."""
        at = START + STEP * next(self.clock)
        return {
            "id": wamid(self.phone, "reply"),
            "status": status,
            "timestamp": str(at),
            "recipient_id": self.phone,
            "conversation": {"id": wamid(self.phone, "talk")[-32:], "origin": {"type": "service"}},
            "pricing": {
                "billable": False,
                "pricing_model": "PMP",
                "category": "service",
                "type": "free_customer_service",
            },
        }

    def contact(self) -> JSON:
        """The member's entry in the webhook's `contacts`."""
        return {"profile": {"name": self.name}, "wa_id": self.phone}


def wamid(phone: str, said: str) -> str:
    """A message id in WhatsApp's shape: base64 round the phone number and 20 hexadecimal digits."""
    digits = hashlib.sha256(f"{phone} {said}".encode()).hexdigest()[:20].upper()
    raw = b"\x1c\x18\x0c" + phone.encode() + b"\x15\x02\x00\x12\x18\x14" + digits.encode() + b"\x00"
    return "wamid." + base64.b64encode(raw).decode()


def change(*messages: JSON, of: tuple[Member, ...], statuses: tuple[JSON, ...] = ()) -> JSON:
    """One entry of `changes`: the messages of the members in `of`, the statuses of our replies, or both."""
    value: JSON = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": DISPLAY, "phone_number_id": PHONE_NUMBER_ID},
    }
    if messages:
        value |= {"contacts": [member.contact() for member in of], "messages": list(messages)}
    if statuses:
        value["statuses"] = list(statuses)
    return {"value": value, "field": "messages"}


def entry(*changes: JSON) -> JSON:
    """One entry of a webhook."""
    return {"id": BUSINESS, "changes": list(changes)}


def webhook(*entries: JSON) -> JSON:
    """One body."""
    return {"object": "whatsapp_business_account", "entry": list(entries)}


def bodies() -> list[JSON]:
    """All bodies, in the order of delivery."""
    clock = itertools.count()
    ada = Member("263771000001", "Ada", clock)
    alan = Member("263771000002", "Alan Turing", clock)
    katherine = Member("263771000005", "Katherine J.", clock)
    emmy = Member("263779990001", "Emmy Noether", clock)
    sophie = Member("263779990002", "Sophie 🧮", clock)
    delivered: list[JSON] = []

    def says(member: Member, *messages: JSON) -> None:
        delivered.append(webhook(entry(change(*messages, of=(member,)))))

    def hears(member: Member, *statuses: str) -> None:
        told = tuple(member.status(status) for status in statuses)
        delivered.append(webhook(entry(change(of=(member,), statuses=told))))

    # Each member says hello.
    says(emmy, emmy.text("hi"))
    says(ada, ada.text("hi"))
    hears(ada, "sent")
    hears(ada, "delivered")
    says(alan, alan.text(" Hello "))
    says(emmy, emmy.button("become_member", "Become a member"))
    hears(emmy, "sent", "delivered", "read")
    says(emmy, emmy.media("sticker", "image/webp"))
    says(sophie, sophie.text("mhoro"))

    # Ada mistypes the amount; Emmy registers; one batch holds a message of each.
    says(ada, ada.text("offer"))
    says(ada, ada.text("abc"))
    says(ada, ada.text("1" * 310))
    says(emmy, emmy.text("Emmy"))
    says(ada, ada.text("١٠٠"))  # the digits 100 of Arabic script
    says(katherine, katherine.text("hi"))
    delivered.append(webhook(entry(change(emmy.text("Noether"), ada.text("10 USD"), of=(emmy, ada)))))
    says(emmy, emmy.text("yes"))
    says(ada, ada.text("alan"))
    says(ada, ada.text("yes"))
    delivered.append(delivered[-1])  # delivered again at once
    hears(ada, "read")
    says(ada, ada.button("zz.1.yes", "Yes"))  # of a question that was closed long ago

    # Alan starts an offer, goes back and cancels.
    says(alan, alan.row("offer_secured", "Offer", "Offer secured credex"))
    says(alan, alan.text("help"))
    says(alan, alan.text("5 zwg"))
    says(alan, alan.text("back"))
    says(alan, alan.text("2.5 zwg"))
    says(alan, alan.text("@ada"))
    says(alan, alan.text("cancel"))
    says(alan, alan.message("reaction", reaction={"message_id": wamid(alan.phone, "reply"), "emoji": "👍"}))
    says(alan, alan.message("location", location={"latitude": -17.8292, "longitude": 31.0522}))
    says(alan, alan.quick_reply("zz.9.no", "No"))

    # Emmy, now a member, offers: three messages in one batch, which comes twice.
    says(emmy, emmy.text("menu"))
    says(emmy, emmy.text("offer"), emmy.text("10 USD"), emmy.text("alan"))
    batch = delivered[-1]
    says(emmy, emmy.button("yes", "Yes"))
    delivered.append(batch)

    # Sophie begins to register.
    says(sophie, sophie.media("image", "image/jpeg"))
    says(sophie, sophie.text("become_member"))
    says(sophie, sophie.text("<b>Sophie</b>"))
    says(sophie, sophie.text("Sophie"))

    # Katherine; her first message shares a body with one of Sophie's, in an entry of its own.
    sophies, katherines = (
        change(sophie.text("help"), of=(sophie,)),
        change(katherine.text("katherine"), of=(katherine,)),
    )
    delivered.append(webhook(entry(sophies), entry(katherines)))
    says(katherine, katherine.text("offer"))
    says(katherine, katherine.text("25.50 USD"))
    says(katherine, katherine.text("alan"))
    says(katherine, katherine.button("no", "No"))
    says(katherine, katherine.row("zz.2.row_7", "Alan Turing"))

    # Out of order: what Ada said later is delivered first.
    earlier, later = ada.text("menu"), ada.media("image", "image/jpeg")
    says(ada, later)
    says(ada, earlier)

    # Other messages.
    unknown = {"code": 131051, "title": "Message type unknown", "message": "Message type unknown"}
    says(ada, ada.message("unsupported", errors=[unknown]))
    says(alan, alan.message("hologram", hologram={"id": "1"}))
    says(alan, alan.media("audio", "audio/ogg; codecs=opus"))
    delivered.append(webhook(entry({"value": {"event": "VERIFIED_ACCOUNT"}, "field": "account_update"})))
    greeting, receipt = change(emmy.text("hi"), of=(emmy,)), change(of=(ada,), statuses=(ada.status("read"),))
    delivered.append(webhook(entry(receipt, greeting)))
    delivered.append(delivered[0])  # repeated long after
    return delivered


def lines() -> str:
    """The lines of the file."""
    return "".join(json.dumps(body, ensure_ascii=False, separators=(",", ":")) + "\n" for body in bodies())


def main(arguments: list[str]) -> int:
    """Write the file, or compare it with `--check`."""
    if "--check" not in arguments:
        FILE.write_text(lines(), encoding="utf-8")
        return 0
    current = FILE.exists() and FILE.read_text(encoding="utf-8") == lines()
    if not current:
        print(f"{FILE.name} is not current; run {Path(__file__).name}", file=sys.stderr)
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
