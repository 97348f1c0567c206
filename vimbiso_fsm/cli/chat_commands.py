"""The commands of an author within `vimbiso chat`: lines that begin with a colon."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Final, TypeAlias

from vimbiso_fsm.audit.explain import explain
from vimbiso_fsm.audit.trail import read_entries, read_trail
from vimbiso_fsm.check.diagram import declared_flows, flow_diagram
from vimbiso_fsm.check.findings import findings
from vimbiso_fsm.check.mermaid import mermaid
from vimbiso_fsm.cli.chat_session import ChatSession
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.testing.saved import NAME, saved_as
from vimbiso_fsm.testing.transcript import Transcript

Heard: TypeAlias = Sequence[tuple[Channel, Sequence[Reply]]]
Answer: TypeAlias = tuple[list[str], Heard]
"""Lines, and replies that came meanwhile."""

_LINE: Final = re.compile(r":([a-z]+)(?:\s+(.*))?\s*", re.IGNORECASE)
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d)?")
_SECONDS: Final = {None: 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}


def answer(session: ChatSession, line: str) -> Answer | None:
    """Do what a line says if it is a command.

    Args:
        session: The conversation.
        line: What was typed.

    Returns:
        What is to be shown; None for a line that is no command.
    """
    found = _LINE.fullmatch(line.strip())
    if found is None:
        return None
    name, argument = found[1].lower(), (found[2] or "").strip()
    command = COMMANDS.get(name)
    if command is None:
        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean :{near[0]}?" if near else f"there are {', '.join(f':{each}' for each in COMMANDS)}"
        return [f":{shown(name)} is no command; {hint}"], ()
    try:
        return command(session, argument)
    except (VimbisoError, ValueError, OSError) as error:
        return [f"error: {error}"], ()


def _state(session: ChatSession, _: str) -> Answer:
    document = session.document
    if document is None:
        return [f"nothing is stored of {session.name}"], ()
    place = Transcript()
    place.stands(session.bot, document.run)
    waiting = [f"  waits: {run.flow}.{run.step}" for run in document.suspended]
    return [f"{session.name}, {document.member_id}, version {document.version}", str(place).strip(), *waiting], ()


def _back(session: ChatSession, _: str) -> Answer:
    recovery = session.back()
    if recovery is None:
        return ["nothing was said yet"], ()
    return [*recovery.lines, *_state(session, "")[0]], ()


def _history(session: ChatSession, _: str) -> Answer:
    entries, _unreadable = read_entries(read_trail(session.store, session.member_id))
    return [
        f"{entry.version:>4}  {entry.kind:<8} {entry.status:<9} {entry.source} -> {entry.dest or entry.source}"
        f"  {entry.trigger}  {', '.join(entry.codes)}".rstrip()
        for entry in entries
    ] or ["nothing has happened"], ()


def _why(session: ChatSession, _: str) -> Answer:
    trail = read_trail(session.store, session.member_id)
    if not trail.entries:
        return ["nothing has happened"], ()
    return list(explain(session.bot, trail, trail.entries[-1].version).lines), ()


def _diagram(session: ChatSession, argument: str) -> Answer:
    name = argument or session.place.partition(".")[0] or session.bot.home.name
    names = [flow.name for flow in declared_flows(session.bot)]
    if name not in names:
        return [f"the bot has no flow {shown(name)}; it has {', '.join(names)}"], ()
    return mermaid(flow_diagram(session.bot.flow(name))).splitlines(), ()


def _wait(session: ChatSession, argument: str) -> Answer:
    found = _SPAN.fullmatch(argument)
    if found is None:
        return ["say for how long, such as :wait 90s, :wait 6m, :wait 2h or :wait 3d"], ()
    seconds = float(found[1]) * _SECONDS[found[2]]
    return [f"{argument} pass"], session.wait(seconds)


def _as(session: ChatSession, argument: str) -> Answer:
    if not argument:
        return [f"you are {session.name}; name another member, such as :as 263771000002"], ()
    kind, colon, identifier = argument.partition(":")
    if not colon:
        kind, identifier = session.channel.type, argument
    if kind not in session.bot.validator.channel_types:
        known = ", ".join(sorted(session.bot.validator.channel_types))
        return [f"{shown(kind)} is no type of channel of the bot; there are {known}"], ()
    session.turn_to(Channel(kind, identifier, metadata=session.channel.metadata))
    return [f"you are {session.name}"], ()


def _findings(session: ChatSession, _: str) -> Answer:
    return [str(found) for found in findings(session.bot)] or ["no finding"], ()


def _save(session: ChatSession, argument: str) -> Answer:
    if not NAME.fullmatch(argument):
        return ["give the test a name of small letters, digits and _, such as :save an_offer"], ()
    try:
        transcript = session.rehearsed()
    except Exception as error:  # noqa: BLE001  # a callback of the bot may raise anything
        return [f"it cannot be played again: {error}"], ()
    try:
        return [f"wrote {saved_as(argument, transcript, source='`vimbiso chat`')}"], ()
    except ValueError as error:
        return [str(error)], ()


def _help(_session: ChatSession, _: str) -> Answer:
    return [f":{name:<9} {about}" for name, about in ABOUT.items()], ()


COMMANDS: Final[dict[str, Callable[[ChatSession, str], Answer]]] = {
    "state": _state, "back": _back, "history": _history, "why": _why, "diagram": _diagram, "wait": _wait, "as": _as,
    "on": _as, "findings": _findings, "save": _save, "help": _help,
}  # fmt: skip

ABOUT: Final = {
    "state": "where you stand, and what the flow has gathered",
    "back": "back to before your latest message, unless a service has acted on it",
    "history": "the audit entries, oldest first",
    "why": "how the latest entry came about: transitions, guards, the commit",
    "diagram": "the open flow for Mermaid; :diagram FLOW for another",
    "wait": "let time pass: 90s, 6m, 2h or 3d",
    "as": "be another member: :as IDENTIFIER",
    "on": "write from another channel: :on TYPE:IDENTIFIER",
    "findings": "what vimbiso check finds",
    "save": "write what was said as a test: :save NAME",
    "help": "these lines",
}
