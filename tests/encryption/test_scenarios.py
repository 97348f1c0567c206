"""VimbisoPay on an encrypted store, and the cost of a turn."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.bench.conversation import TILL, Conversation
from tests.transcripts.player import SCRIPTS, Play, transcript_of
from vimbiso_fsm import Encryption, FlowStateManager, KeyRing
from vimbiso_fsm.store.ciphertext import FRAME

RING = KeyRing({"one": bytes(range(32))})
SETTINGS = {
    "whole": Encryption(RING, "whole", member_keys=True),
    "fields": Encryption(RING, "fields"),
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.txt")))
def test_each_conversation_is_as_in_its_transcript(name: str, settings: str):
    """Each reply, state and call on an encrypted store is that of the plain one, and nothing is stored plain."""
    stage = Play("whatsapp", SETTINGS[settings])
    played = transcript_of((SCRIPTS / f"{name}.txt").read_text(encoding="utf-8"), stage)
    written = (SCRIPTS.with_name("whatsapp") / f"{name}.txt").read_text(encoding="utf-8")
    assert played.splitlines() == written.splitlines()
    for member in stage.store._members.values():
        bodies = [member.previous, *(record.body for record in member.records)]
        bodies.append(member.state.document if member.state is not None else None)
        assert all(body.startswith(FRAME) for body in bodies if body)


def calls_of_a_turn(encryption: Encryption | None) -> tuple[int, int]:
    """Return the Python calls of a plain turn, and those of the package `encryption` among them."""
    manager = FlowStateManager.in_memory(TILL.bot, cache=4096, encryption=encryption)
    conversation = Conversation(TILL, 1)
    for message in (*conversation.opening, *(next(conversation) for _ in range(6))):
        manager.handle(message)
    message, counted = next(conversation), [0, 0]

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            counted[0] += 1
            counted[1] += "/vimbiso_fsm/encryption/" in frame.f_code.co_filename.replace("\\", "/")

    sys.setprofile(count)
    try:
        manager.handle(message)
    finally:
        sys.setprofile(None)
    return counted[0], counted[1]


def test_a_plain_turn_pays_nothing():
    """A manager without encryption makes no call of it, and one with it makes few."""
    plain, of_encryption = calls_of_a_turn(None)
    assert of_encryption == 0
    for name, most in (("whole", 60), ("fields", 100)):
        calls, of_encryption = calls_of_a_turn(SETTINGS[name])
        assert 0 < of_encryption <= calls - plain <= most, name
