"""`vimbiso index`: the entries of the channel index under their current names."""

from __future__ import annotations

from typing import Annotated

import typer

from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.rename import rename


def index(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Forget the earlier secrets, if no entry and no guest is named with one of them."
        ),
    ] = False,
    lose: Annotated[
        bool, typer.Option("--lose", help="Forget them all the same: these members and guests begin as new guests.")
    ] = False,
    restore: Annotated[
        bool,
        typer.Option("--restore", help="Write the entries anew that are not found, from the documents of the members."),
    ] = False,
) -> None:
    """Name the channels of all members with the current secret.

    VIMBISO_SECRET has the current secret and the earlier ones after it. Each document is read, and the entries of its
    channels are moved to their current names, beside live traffic. An entry whose member has no document any more
    cannot be moved, because its name does not tell the channel. After `vimbiso repair` has put the keys of the index
    aside, --restore makes the members found again; guests begin anew. Exit code 1 when the earlier secrets were to be
    forgotten and are still needed.
    """
    if lose and not forget:
        raise typer.BadParameter("--lose is for --forget", param_hint="--lose")
    with opened(redis, data, namespace, flows) as bot:
        bot.manager.start()
        context = Context(bot.manager.bot, Cache(0), bot.manager.now())
        done = run(rename(context, forget=forget, lose=lose, restore=restore), bot.store.perform)
    counts = f"channels {done.channels}, other entries {done.unknown}, earlier guests {done.guests}"
    print(f"members {done.members}, {counts}, earlier keys {done.earlier}")
    if restore:
        print(f"entries restored {done.restored}")
    if done.forgotten:
        print("the earlier keys are forgotten; only the current secret is needed")
    elif forget and done.earlier:
        fail(
            f"the earlier keys are kept: {done.unknown} entries may be named with one of them, and no document tells "
            f"their channels; {done.guests} guests are named with one of them; the tokens of {done.recent} of them are "
            "kept, for 28 days after it was the current one. Wait until the members have written, the guests have "
            "expired and the tokens are forgotten, or give --lose"
        )
