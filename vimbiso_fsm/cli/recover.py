"""`vimbiso recover`, `reset`, `wipe` and `quarantine`: repairs of one member by an operator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from vimbiso_fsm.cli.archive_options import Archive
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.member_argument import MemberArgument, member_id_of
from vimbiso_fsm.cli.plain_text import one_line, shown
from vimbiso_fsm.cli.services import Inboxes
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened
from vimbiso_fsm.store.requests import Quarantined, ShowQuarantined


def recover(
    member: MemberArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="VERSION", min=1, help="Put the member back to this version, damaged or not."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")] = False,
) -> None:
    """Repair a member's damaged document.

    The valid fields are kept, and the damaged document goes to quarantine. A sound document is left alone. With --to,
    the member returns to an earlier state that is still kept, unless a call with an effect was made since, because it
    would be made again. Exit code 1 in that case, and when nothing is stored.
    """
    with opened(redis, data, namespace, flows) as bot:
        for line in bot.manager.recover(member_id_of(bot, member), to=to, dry_run=dry_run).lines:
            print(one_line(line))


def reset(
    member: MemberArgument, redis: Redis = None, data: Data = None, namespace: Namespace = "", flows: Flows = None
) -> None:
    """End all open flows of a member.

    The profile, the channels, the token and the session stay. Exit code 1 when nothing is stored, or when the document
    is damaged.
    """
    with opened(redis, data, namespace, flows) as bot:
        done = bot.manager.reset(member_id_of(bot, member))
        print(one_line(f"ended: {', '.join(done.flows) or 'no flow was open'}"))
        _report_call(done.call)


def wipe(
    member: MemberArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    inboxes: Inboxes = None,
) -> None:
    """Delete the stored data of a member.

    The document and the quarantine are deleted, damaged or not; the audit and the message tokens stay. With --inboxes,
    a person who has the conversation is told that it has ended. Exit code 1 when nothing was ever stored of the member.
    """
    with opened(redis, data, namespace, flows, inboxes=inboxes) as bot:
        done = bot.manager.wipe(member_id_of(bot, member))
        print(one_line(f"removed: {', '.join(done.removed) or 'nothing was left'}"))
        _report_call(done.call)
        _report_untold(done.untold)


def erase(
    member: MemberArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    archive: Archive = None,
    inboxes: Inboxes = None,
) -> None:
    """Erase a member: remove all that says anything about the person.

    What a wipe removes, the links of channels, the incidents, and the entries of the audit, also in the archive, and
    those of the guests that the member was. One tombstone stays in the audit; hashed message tokens stay for eight
    days. With --inboxes, a person who has the conversation is told that it has ended. Exit code 1 when nothing was ever
    stored of the member.
    """
    with opened(redis, data, namespace, flows, archive=archive, inboxes=inboxes) as bot:
        done = bot.manager.erase(member_id_of(bot, member))
        print(
            one_line(f"erased: {done.entries} audit entries; removed: {', '.join(done.removed) or 'nothing was left'}")
        )
        _report_call(done.call)
        _report_untold(done.untold)
        print("the server's log and copies hold the erased data until they are rewritten: run BGREWRITEAOF and BGSAVE,")
        print("and delete older backups")


def quarantine(
    member: MemberArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    unmasked: Annotated[
        int | None,
        typer.Option("--unmasked", metavar="N", min=1, help="Print entry N of the list as it is, secrets included."),
    ] = None,
) -> None:
    """List a member's damaged documents that are in quarantine.

    The oldest comes first. With --unmasked, one of them is printed byte for byte, one stored value per line; it may
    contain a token and answers of the member. Exit code 1 when there is none.
    """
    with opened(redis, data, namespace, flows) as bot:
        member_id = member_id_of(bot, member)
        found: tuple[Quarantined, ...] = bot.manager.quarantined(member_id)
        if not found:
            fail(f"nothing of {shown(member)} is in quarantine")
        if unmasked is None:
            for number, item in enumerate(found, 1):
                print(f"{number}. {item.what}, at version {item.version}")
            return
        if unmasked > len(found):
            fail(f"--unmasked {unmasked}: the quarantine of {shown(member)} ends with number {len(found)}")
        for part in bot.manager.ask(ShowQuarantined(member_id, found[unmasked - 1])):
            sys.stdout.buffer.write(part + b"\n")
        sys.stdout.buffer.flush()


def _report_untold(inboxes: Sequence[str]) -> None:
    for name in inboxes:
        print(one_line(f"a person in inbox {name} had the conversation: tell them that it has ended"))


def _report_call(call: str) -> None:
    if call:
        print(one_line(f"a call was on its way and may have been made: {call}"))
