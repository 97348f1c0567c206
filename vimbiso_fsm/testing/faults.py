"""Faults on approved conversations: messages that are delivered twice, and workers that die.

Neither may change where the conversation leads, or which effects it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.testing.conversation import Conversation
from vimbiso_fsm.testing.moments import Move

_HELD: Final = frozenset({"say", "press", "content", "link", "wait"})


def fault_differences(bot: Bot, conversations: Sequence[tuple[Channel, Sequence[Move]]]) -> Iterator[str]:
    """Yield what a fault has changed in a conversation, each as text with the transcript.

    Conversations in which calls are refused on purpose, or other systems act, are passed over.
    """
    for channel, moves in conversations:
        if any(move.kind not in _HELD or move.answers for move in moves):
            continue
        wanted = _result(_held(bot, channel, moves))
        for place, move in enumerate(moves):
            for fault in ("is delivered twice", "meets a worker that dies") if move.kind != "wait" else ():
                talk = _held(bot, channel, moves, place, fault)
                found = _result(talk)
                if talk is not None and found != wanted:
                    what = f"message {place + 1} {fault}, and the conversation leads to {found}, not to {wanted}"
                    yield f"{what}\n\n{talk.transcript}"


def _held(bot: Bot, channel: Channel, moves: Sequence[Move], at: int = -1, fault: str = "") -> Conversation | None:
    """Hold a conversation, with a fault at one message; None where the fault takes the time of a timer."""
    talk = Conversation(bot, channel)
    for place, move in enumerate(moves):
        if place == at and fault == "meets a worker that dies":
            talk.dies()
        before = talk.now
        _take(talk, move)
        if place == at and fault == "is delivered twice":
            talk.again()
        run = talk.state.run
        if place == at and talk.now != before and run is not None and (run.due is not None or move.kind == "wait"):
            return None
    return talk


def _take(talk: Conversation, move: Move) -> None:
    match move.kind:
        case "wait":
            talk.wait()
        case "press":
            run = talk.state.run
            talk.send(choice=(run.fence if run else "") + move.what)
        case "content" if move.content is not None:
            talk.send(content=move.content)
        case "content":
            talk.send(kind=move.what)
        case "link":
            talk.send("/start", payload=move.what)
        case _:
            talk.say(move.what)


def _result(talk: Conversation | None) -> tuple[str, tuple[str, ...]]:
    """Return where a conversation has led, and the effects that it had, each once for its key."""
    if talk is None:
        return "", ()
    effects = {call.key: f"{call.method} {sorted(call.arguments)}" for call in talk.calls if call.effect}
    return talk.place, tuple(effects.values())
