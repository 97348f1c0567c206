"""`vimbiso tell`: say something to a member."""

from __future__ import annotations

import uuid
from typing import Annotated, Final

import typer

from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.member_argument import MemberArgument, member_id_of
from vimbiso_fsm.cli.plain_text import one_line, shown
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened

Words = Annotated[str, typer.Argument(metavar="TEXT", help="The words, or a key of the bot's texts.")]
Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="The name of these words at this member; the same key is said once."),
]

_REASONS: Final = {
    "key": "the key was used for other words",
    "unreachable": "they want no messages, or have no channel",
}


def tell(
    member: MemberArgument,
    text: Words,
    key: Key = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Say something to a member, once.

    The words wait for a worker that delivers, or precede the reply to the member's next message. Exit code 1 when
    nothing is stored of the member, when they want no messages or have no channel, or when the key was used for other
    words.
    """
    with opened(redis, data, namespace, flows) as bot:
        outcome = bot.manager.tell(member_id_of(bot, member), text, key=key or f"vimbiso tell {uuid.uuid4().hex}")
    if outcome.status not in ("advanced", "duplicate"):
        reason = _REASONS.get(outcome.reason, outcome.reason)
        fail(f"nothing was said to {shown(member)}: {reason or outcome.status}")
    said = "told" if outcome.status == "advanced" else "told before"
    print(f"{said}: {one_line(outcome.member_id or member)}")
    if outcome.held:
        print("the words wait for the member's next message, because the window of the channel is over")
