"""A water board that takes reports of leaks: a location, or the street in words, and a photo.

The recorded webhooks stand for what WhatsApp sends. A file is named in the message and fetched by the adapter when it
is needed: `GET https://graph.facebook.com/v23.0/<id>` for WhatsApp.

pip install vimbiso_fsm
python examples/report_a_leak.py
"""

import json
from typing import Any

import attrs

from vimbiso_fsm import (
    Attachment,
    Bot,
    Flow,
    FlowStateManager,
    Location,
    LocationRequest,
    State,
    Text,
    Transition,
    Turn,
    readers,
)  # fmt: skip
from vimbiso_fsm.channels import terminal, whatsapp


@attrs.frozen
class Leak:
    """The data of the flow."""

    place: Location | str | None = None
    photo: Attachment | None = None


def thanks(turn: Turn[Leak]) -> Text:
    """Thank the member with what was read."""
    place, photo = turn.data.place, turn.data.photo
    where = f"{place.latitude:.2f}, {place.longitude:.2f}" if isinstance(place, Location) else place
    note = f" ({photo.caption})" if photo and photo.caption else ""
    return Text("Thank you. A team goes to {where}{note}.", where=where, note=note)


leak = Flow(
    "leak", data=Leak, initial="place",
    states=[
        State("place", ask=LocationRequest(Text("Where is the leak?")), into="place",
              reads=readers.either(readers.location, readers.free_text(200))),
        State("photo", ask=Text("Please send a photo of it."), into="photo",
              reads=readers.file("image", most=10_000_000)),
        State("end", say=thanks, final=True),
    ],
    transitions=[
        Transition("answer", "place", "photo"),
        Transition("answer", "photo", "end"), Transition("no_photo", "photo", "end"),
    ],
)  # fmt: skip
board = Bot(leak, texts={"leak.photo.no_photo": "No photo"})


def webhook(**said: Any) -> bytes:
    """Return the body of a webhook as WhatsApp sends it."""
    value = {"messages": [{"from": "263771000001", "timestamp": "1758000000", **said}]}
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


RECORDED = [
    webhook(id="wamid.1", type="text", text={"body": "hi"}),
    webhook(id="wamid.2", type="sticker", sticker={"id": "901", "mime_type": "image/webp"}),
    webhook(id="wamid.3", type="location", location={"latitude": -17.83, "longitude": 31.05}),
    webhook(id="wamid.4", type="reaction", reaction={"message_id": "wamid.Q", "emoji": "👍"}),
    webhook(id="wamid.5", type="image", image={"id": "902", "mime_type": "image/jpeg", "caption": "by the school"}),
]

if __name__ == "__main__":
    manager = FlowStateManager.in_memory(board)
    for body in RECORDED:
        delivery = whatsapp.parse(body)
        for event in delivery.events:
            print(f"({type(event).__name__})")
        for message in delivery.messages:
            print(f"> {message.kind}")
            print(*terminal.render(message.channel, manager.handle(message).replies), sep="\n")
