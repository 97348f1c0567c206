"""`vimbiso export`: all that is stored of a member, as one JSON value."""

from __future__ import annotations

import json
import sys

import typer

from vimbiso_fsm.cli.archive_options import Archive
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.member_argument import MemberArgument, member_id_of
from vimbiso_fsm.cli.new_file import To, output
from vimbiso_fsm.cli.plain_text import one_line
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened


def export(
    member: MemberArgument,
    to: To = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    archive: Archive = None,
) -> None:
    """Export all that is stored of a member as one JSON value, for the person that it is about.

    Login tokens, tokens of turns and fields marked SECRET are left out, and quarantined data is named with its size.
    Parts that cannot be read are named on standard error. Exit code 1 in that case, when nothing is stored, and when
    the document is damaged.
    """
    with opened(redis, data, namespace, flows, archive=archive) as bot:
        done = bot.manager.export(member_id_of(bot, member))
        with output(to) as file:
            print(json.dumps(done.value, indent=2), file=file)
        if to is not None:
            print(one_line(f"{done.member_id} written to {to}"))
        for fault in done.faults:
            print(one_line(fault), file=sys.stderr)
        if done.faults:
            raise typer.Exit(1)
