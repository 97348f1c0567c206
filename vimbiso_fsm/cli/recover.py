"""`vimbiso recover`, `vimbiso reset`, `vimbiso wipe` and `vimbiso aside`: what an operator does to one member."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vimbiso_fsm.cli.members import Who, member_id_of
from vimbiso_fsm.cli.plain_text import clean, shown
from vimbiso_fsm.cli.store_options import Data, Flows, Redis, fail, opened
from vimbiso_fsm.store.requests import Quarantined, ShowQuarantined


def recover(
    who: Who,
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    to: Annotated[
        int | None, typer.Option("--to", metavar="VERSION", min=1, help="Put them back to this version, sound or not.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say the same, and change nothing.")] = False,
) -> None:
    """Mend a member's damaged document without waiting for a message; a sound one is left alone.

    What is damaged is set aside whole. With --to, the member is put back to a state that is still kept, unless a call
    with an effect was made since: it would be made again. Exit code 1 when that is so, or nothing is stored.
    """
    with opened(redis, data, flows) as bot:
        for line in bot.manager.recover(member_id_of(bot, who), to=to, dry_run=dry_run).lines:
            print(_plain(line))


def reset(who: Who, redis: Redis = None, data: Data = None, flows: Flows = "flows") -> None:
    """End every open flow of a member; who they are, their channels, their token and their session stay.

    Exit code 1 when nothing is stored of them, or what is stored is damaged.
    """
    with opened(redis, data, flows) as bot:
        done = bot.manager.reset(member_id_of(bot, who))
        print(_plain(f"ended: {', '.join(done.flows) or 'nothing, no flow was open'}"))
        _tell_of_call(done.call)


def wipe(who: Who, redis: Redis = None, data: Data = None, flows: Flows = "flows") -> None:
    """Remove what is stored of a member, damaged or not, with what was set aside; tokens and audit stay.

    Exit code 1 when nothing was ever stored of them.
    """
    with opened(redis, data, flows) as bot:
        done = bot.manager.wipe(member_id_of(bot, who))
        print(_plain(f"removed: {', '.join(done.removed) or 'nothing, nothing was left'}"))
        _tell_of_call(done.call)


def aside(
    who: Who,
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    unmasked: Annotated[
        int | None,
        typer.Option("--unmasked", metavar="N", min=1, help="Write number N as it is, with all secrets in it."),
    ] = None,
) -> None:
    """List what was set aside of a member because it was damaged, oldest first.

    With --unmasked, write all that one of them holds, byte for byte, a line each: a token and answers may stand in it.
    Exit code 1 when there is nothing.
    """
    with opened(redis, data, flows) as bot:
        member_id = member_id_of(bot, who)
        found: tuple[Quarantined, ...] = bot.manager.aside(member_id)
        if len(found) < (unmasked or 1):
            fail(f"{f'only {len(found)} are' if found else 'nothing is'} set aside of {shown(who)}")
        if unmasked is None:
            for place, one in enumerate(found, 1):
                print(f"{place}. {one.what}, at version {one.version}")
            return
        for part in bot.manager.ask(ShowQuarantined(member_id, found[unmasked - 1])):
            sys.stdout.buffer.write(part + b"\n")
        sys.stdout.buffer.flush()


def _tell_of_call(call: str) -> None:
    if call:
        print(_plain(f"a call was on its way, and may have been made: {call}"))


def _plain(text: str) -> str:
    """One line, whatever stands in it."""
    return " ".join(clean(text).splitlines())
