"""`vimbiso handover`: the conversations that persons have: list them, take one, speak in it, give it back."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, TypeAlias

import attrs
import typer

from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.display import print_table
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.member_argument import MemberArgument, member_id_of
from vimbiso_fsm.cli.plain_text import as_json, one_line, shown
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened
from vimbiso_fsm.operations.handed import HandedConversation
from vimbiso_fsm.operations.handle_event import EventOutcome

By: TypeAlias = Annotated[str, typer.Option("--by", metavar="NAME", help="Your name, for the audit and the inbox.")]
Key: TypeAlias = Annotated[
    str | None, typer.Option(metavar="KEY", help="The name of this; the same key has its effect once at this member.")
]
InboxArgument: TypeAlias = Annotated[str, typer.Argument(metavar="INBOX", help="An inbox of the bot.")]
InboxOption: TypeAlias = Annotated[str, typer.Option("--inbox", metavar="NAME", help="Only those of this inbox.")]
Words: TypeAlias = Annotated[str, typer.Argument(metavar="TEXT", help="The words, which are said as they are.")]

_REASONS = {
    "handed": "a person has the conversation already",
    "not handed": "the bot has the conversation",
    "unknown inbox": "the bot has no such inbox",
    "key": "the key was used for something else",
    "unreachable": "they want no messages, or have no channel",
}


def handover_commands(epilog: str) -> typer.Typer:
    """Make the group of commands.

    Args:
        epilog: The text below each help.

    Returns:
        The group, to be added to the application.
    """
    group = typer.Typer(
        name="handover",
        help="List the conversations that persons have, take one, speak in it, or give it back.",
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("list", epilog=epilog)(list_handed)
    group.command("take", epilog=epilog)(take)
    group.command("say", epilog=epilog)(say)
    group.command("back", epilog=epilog)(back)
    return group


def list_handed(
    inbox: InboxOption = "",
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """List the conversations that persons have, and those of which something still waits for an inbox.

    The documents of members for whom something is due within seven days are read. No conversation is changed, and the
    command is safe beside live traffic. No words are shown.
    """
    with opened(redis, data, namespace, flows) as bot:
        found = bot.manager.handed(inbox)
    if json:
        raw = {"conversations": [_raw(each) for each in found.conversations], "unread": found.unread}
        print(as_json(raw, indent=2))
        return
    names = ("member", "inbox", "since", "until", "waiting", "oldest", "tries")
    print_table(names, map(_cells, found.conversations), numbers=("waiting", "tries"))
    if found.unread:
        print(f"members whose documents cannot be read now: {found.unread}")


def take(
    member: MemberArgument,
    inbox: InboxArgument,
    by: By,
    key: Key = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Hand a member's conversation over to an inbox.

    Exit code 1 when nothing is stored of the member, when a person has the conversation already, and when the bot has
    no such inbox.
    """
    with opened(redis, data, namespace, flows) as bot:
        _report(member, "taken", bot.manager.hand_over(member_id_of(bot, member), inbox, key=_key(key), by=by))


def say(
    member: MemberArgument,
    text: Words,
    by: By,
    key: Key = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Say something to a member whose conversation a person has, once.

    The words wait for a worker that delivers. Exit code 1 when nothing is stored of the member, and when the bot has
    the conversation.
    """
    with opened(redis, data, namespace, flows) as bot:
        _report(member, "said", bot.manager.say(member_id_of(bot, member), text, key=_key(key), by=by))


def back(
    member: MemberArgument,
    by: By,
    key: Key = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Give a member's conversation back to the bot.

    The question of the open flow is asked again. Exit code 1 when nothing is stored of the member, and when the bot has
    the conversation.
    """
    with opened(redis, data, namespace, flows) as bot:
        _report(member, "given back", bot.manager.hand_back(member_id_of(bot, member), key=_key(key), by=by))


def _key(key: str | None) -> str:
    return key or f"vimbiso handover {uuid.uuid4().hex}"


def _report(member: str, done: str, outcome: EventOutcome) -> None:
    if outcome.status not in ("advanced", "duplicate"):
        fail(f"nothing was done at {shown(member)}: {_REASONS.get(outcome.reason, outcome.reason or outcome.status)}")
    print(f"{done if outcome.status == 'advanced' else f'{done} before'}: {one_line(outcome.member_id or member)}")
    if outcome.held:
        print("the words wait for the member's next message, because the window of the channel is over")


def _raw(each: HandedConversation) -> dict[str, Any]:
    raw = attrs.asdict(each)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in raw.items()}


def _cells(each: HandedConversation) -> tuple[str, ...]:
    return tuple("" if value is None else str(value) for value in _raw(each).values())
