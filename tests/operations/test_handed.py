"""The list of the conversations that persons have."""

from __future__ import annotations

import attrs

from tests.engine.test_handover import INBOX, home
from vimbiso_fsm import Bot, Channel, Inbox, Later
from vimbiso_fsm.operations.handed import HandedConversations, handed
from vimbiso_fsm.testing.chat import Chat

LONG = attrs.evolve(INBOX, idle=7 * 86_400.0, limit=7 * 86_400.0)
BOT = Bot(home, inboxes=[LONG, Inbox("billing", words=["bill"])])


def listed(chat: Chat, inbox: str = "") -> HandedConversations:
    """Return the list of a store."""
    return chat.finish(chat._hold(lambda context: handed(context, inbox), None), bound=3000)


def test_all_hand_overs_are_listed_and_nothing_else() -> None:
    """Each conversation that a person has is listed, also with the longest end; those that end first come first."""
    chat = Chat(BOT)
    for number, word in enumerate(["agent", "bill", "menu"]):
        chat.channel = Channel("telegram", str(number))
        chat.say("hi", word)
    found = listed(chat).conversations
    assert [(each.inbox, each.waiting, each.tries) for each in found] == [("billing", 1, 0), ("support", 1, 0)]
    assert [each.inbox for each in listed(chat, "support").conversations] == ["support"]
    assert found[0].until is not None
    assert found[0].since == found[0].oldest


def test_what_still_waits_and_what_cannot_be_read_is_told() -> None:
    """A hand-over that has ended is listed while something of it waits, and a damaged document is counted."""
    chat = Chat(BOT)
    chat.inboxes.add("support")
    chat.inbox_plan = [Later(1000)]
    chat.say("hi", "agent", "bot")
    [found] = listed(chat).conversations
    assert (found.since, found.until, found.waiting, found.tries) == (None, None, 2, 1)
    chat.wait(1001).wake()
    assert listed(chat) == HandedConversations(())
    chat.say("agent")
    chat.plant_bytes(chat.member_id(), b"{")
    assert listed(chat) == HandedConversations((), unread=1)
