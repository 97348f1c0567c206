"""The options `--services`, `--senders` and `--inboxes`: functions that make what a bot calls, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, ExitStack
from inspect import isawaitable, iscoroutine
from typing import Annotated, Any, NoReturn, TypeAlias

import typer

from vimbiso_fsm.cli.bot_options import import_function
from vimbiso_fsm.cli.failures import describe, fail
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.interrupts import is_interrupt

Services: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--services",
        metavar="MODULE:FUNCTION",
        help="A function that returns services by name; they replace those of the bot.",
    ),
]
Senders: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--senders",
        metavar="MODULE:FUNCTION",
        help="A function that returns senders by type of channel, such as those of the bot's own process.",
    ),
]
Inboxes: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--inboxes",
        metavar="MODULE:FUNCTION",
        help="A function that returns the inboxes of people by name. Without it, what waits for them is left.",
    ),
]


def with_services(bot: Bot, named: str | None, closing: ExitStack) -> Bot:
    """Replace services of a bot that is used synchronously.

    Args:
        bot: The bot.
        named: `MODULE:FUNCTION`; None leaves the bot as it is. The function takes no argument and returns a mapping of
            names to services, or a context manager that does.
        closing: Leaves the context manager at the end.

    Returns:
        The bot with the services.
    """
    return bot if named is None else bot.with_services(made_now("--services", named, "services", closing))


def made_now(option: str, named: str | None, kind: str, closing: ExitStack) -> Mapping[str, Any]:
    """Return what the function of an option makes, for a command without an event loop; nothing without the option.

    Args:
        option: The option.
        named: `MODULE:FUNCTION`. The function takes no argument and returns a mapping, or a context manager that does.
        kind: What the mapping leads to, in the plural.
        closing: Leaves the context manager at the end.
    """
    if named is None:
        return {}
    function = import_function(option, named)
    try:
        given = function()
        if isinstance(given, AbstractContextManager):
            given = closing.enter_context(given)
    except BaseException as error:  # the function may raise anything
        if is_interrupt(error):
            raise
        _fail(option, named, error)
    if iscoroutine(given):
        given.close()
    if isawaitable(given) or isinstance(given, AbstractAsyncContextManager):
        fail(f"{option} {shown(named)}: the function is async, and this command calls {kind} synchronously")
    return _mapping(option, named, kind, given)


async def with_async_services(bot: Bot, named: str | None, closing: AsyncExitStack) -> Bot:
    """Replace services of a bot that is used in an event loop.

    Args:
        bot: The bot.
        named: As for `with_services`; the function, or its context manager, may be async too.
        closing: Leaves the context manager at the end.

    Returns:
        The bot with the services.
    """
    return bot if named is None else bot.with_services(await made("--services", named, "services", closing))


async def made(option: str, named: str | None, kind: str, closing: AsyncExitStack) -> Mapping[str, Any]:
    """Return what the function of an option makes, in an event loop; nothing without the option.

    Args:
        option: The option.
        named: `MODULE:FUNCTION`. The function takes no argument and returns a mapping, or a context manager that does.
            Both may be async.
        kind: What the mapping leads to, in the plural.
        closing: Leaves the context manager at the end.
    """
    if named is None:
        return {}
    function = import_function(option, named)
    try:
        given = function()
        if isawaitable(given):
            given = await given
        if isinstance(given, AbstractAsyncContextManager):
            given = await closing.enter_async_context(given)
        elif isinstance(given, AbstractContextManager):
            given = closing.enter_context(given)
    except BaseException as error:  # the function may raise anything
        task = asyncio.current_task()
        if is_interrupt(error) or (task is not None and task.cancelling()):
            raise
        _fail(option, named, error)
    return _mapping(option, named, kind, given)


def _fail(option: str, named: str, error: BaseException) -> NoReturn:
    fail(f"{option} {shown(named)}: the function failed: {describe(error)}")


def _mapping(option: str, named: str, kind: str, given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        fail(
            f"{option} {shown(named)}: the function returned a {type(given).__name__}; "
            f"return a mapping of names to {kind}"
        )
    return given
