"""`vimbiso link`, `unlink`, `relink` and `merge`: change which channels lead to a member."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.member_argument import EXAMPLE, MEMBER_HELP, MemberArgument, channel_of, member_id_of
from vimbiso_fsm.cli.plain_text import one_line
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened
from vimbiso_fsm.operations.link import Linking

ChannelArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="CHANNEL", help=f"A channel as TYPE:IDENTIFIER, e.g. {EXAMPLE}.")
]


def link(
    member: MemberArgument,
    channel: ChannelArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Link a channel to a member.

    The conversation of the guest on the channel ends; the member's own goes on. Exit code 1 when the channel is linked
    to another member, when the guest waits for a call, and when nothing is stored of the member.
    """
    with opened(redis, data, namespace, flows) as bot:
        _report(bot.manager.link(member_id_of(bot, member), channel_of(channel)))


def unlink(
    member: MemberArgument,
    channel: ChannelArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Take a channel from a member.

    The next message on it is a guest's. Messages handled before stay handled. Exit code 1 when nothing is stored of
    the member.
    """
    with opened(redis, data, namespace, flows) as bot:
        _report(bot.manager.unlink(member_id_of(bot, member), channel_of(channel)))


def relink(
    member: MemberArgument,
    channel: ChannelArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Link a channel to a member, and take it from another member that has it.

    Exit code 1 when the guest on the channel waits for a call, and when nothing is stored of the member.
    """
    with opened(redis, data, namespace, flows) as bot:
        _report(bot.manager.relink(member_id_of(bot, member), channel_of(channel)))


def merge(
    member: MemberArgument,
    into: Annotated[
        str, typer.Argument(metavar="INTO", help=f"The member of the same person that goes on. {MEMBER_HELP}")
    ],
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
) -> None:
    """Merge a member into another member of the same person.

    The channels and the history go over; the profile, the login and the open flow of the other member stay. Exit code 1
    when the member waits for a call, and when nothing is stored of one of them.
    """
    with opened(redis, data, namespace, flows) as bot:
        done = bot.manager.merge(member_id_of(bot, member), member_id_of(bot, into))
        print(one_line(f"{done.outcome}: {done.member_id} into {done.into}, channels taken over: {done.channels}"))
        _report_flow(done.flow)


def _report(done: Linking) -> None:
    before = f", taken from {done.before}" if done.before is not None else ""
    print(one_line(f"{done.outcome}: {done.member_id}{before}"))
    _report_flow(done.flow)


def _report_flow(flow: str) -> None:
    if flow:
        print(one_line(f"a flow that was open has ended: {flow}"))
