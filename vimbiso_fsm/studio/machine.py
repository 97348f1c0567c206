"""The panel "Machine": the flows drawn, the place of one conversation, and the counts of all of them.

The page draws by WebAssembly (Viz.js), so its policy allows that, and no other page's does.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.trail import read_entry
from vimbiso_fsm.check.diagram import bot_diagram, declared_flows
from vimbiso_fsm.check.dot import dot
from vimbiso_fsm.errors import DamagedDocument, EncryptedState, ForeignState, NewerState
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.operations.census import Census
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.store.requests import Broken, Load, ReadAudit, ScanPart
from vimbiso_fsm.studio.access import POLICY
from vimbiso_fsm.studio.desk import Desk
from vimbiso_fsm.studio.machine_view import NO_CONVERSATION, Conversation, MachineView, Tally, machine_view
from vimbiso_fsm.studio.pages import Panel, page
from vimbiso_fsm.studio.simulations import OWN, Simulations

PANEL: Final = Panel("machine", "Machine")
DRAWING_POLICY: Final = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")
"""The policy of the pages of this panel: they may compile WebAssembly."""
DAY: Final = timedelta(days=1)
"""The time whose transitions are counted."""
MOST_COUNTED: Final = 500
"""The members that are counted at most."""
ENTRIES: Final = 64
"""The latest entries of each member of which the transitions are counted."""

_AT_ONCE: Final = 50
"""Members that are read at once for the counts."""
_REST: Final = 20
"""For so many times the time that they took, counts are shown before they are made anew."""
_LATEST: Final = 8
"""The latest entries of a member among which that of a turn is looked for."""


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the routes of the panel."""
    counts = Counts(desk.manager) if desk.manager is not None else None
    names = [flow.name for flow in declared_flows(desk.bot)]

    async def overview(request: Request) -> Response:
        drawn = bot_diagram(desk.bot)
        return _drawing(page(request, "machine_flows.html", panel=PANEL, diagram=drawn, dot=dot(drawn), names=names))

    async def show(request: Request) -> Response:
        asked = dict(request.query_params)
        other = asked.pop("flow", "")
        if other:  # the form has one address, and the flow among its fields
            return RedirectResponse(f"/{PANEL.name}/{quote(other, safe='')}?{urlencode(asked)}", 303)
        values = await _values(desk, request)
        view: MachineView = values["view"]
        chosen = request.query_params.get("edge", "")
        edge = view.edges[int(chosen)] if chosen.isdecimal() and int(chosen) < len(view.edges) else None
        return _drawing(page(request, "machine.html", panel=PANEL, names=names, edge=edge, **values))

    async def marks(request: Request) -> Response:
        """The tables and marks, with counts. Nothing is sent if the page shows the same already."""
        values = await _values(desk, request, await counts.tally() if counts is not None else None)
        return page(request, "machine_marks.html", **values) if values["changed"] else Response(status_code=204)

    async def edge(request: Request) -> Response:
        return await _edge(desk, request)

    async def press(request: Request) -> Response:
        """Press the button of an edge in a simulation. The page then asks for the new marks."""
        trigger = parse_qs((await request.body()).decode("utf-8", "replace")).get("trigger", [""])[0]
        chat = request.query_params.get("chat", "")
        problem = await asyncio.to_thread(pressed, desk.simulations, Chat.named(chat), trigger)
        if problem:
            return PlainTextResponse(problem, 409)
        if "hx-request" not in request.headers:
            asked = urlencode({"chat": chat, "edge": request.path_params["place"]})
            return RedirectResponse(f"{request.url.path.partition('/edges/')[0]}?{asked}", 303)
        response = await _edge(desk, request)
        response.headers["HX-Trigger"] = "pressed"
        return response

    return [
        Route(f"/{PANEL.name}", overview),
        Route(f"/{PANEL.name}/{{flow}}", show),
        Route(f"/{PANEL.name}/{{flow}}/marks", marks),
        Route(f"/{PANEL.name}/{{flow}}/edges/{{place:int}}", edge, methods=["GET"]),
        Route(f"/{PANEL.name}/{{flow}}/edges/{{place:int}}", press, methods=["POST"]),
    ]


async def _values(desk: Desk, request: Request, tally: Tally | None = None) -> dict[str, Any]:
    """Return the values that the templates of a flow show."""
    name: str = request.path_params["flow"]
    member, chat = (request.query_params.get(each, "").strip() for each in ("member", "chat"))
    bot, followed, problem = desk.bot, NO_CONVERSATION, ""
    if chat:
        member = ""
        bot, followed, problem = await asyncio.to_thread(simulated, desk, Chat.named(chat))
    elif member and desk.manager is not None:
        followed, problem = await conversation_of(desk.manager, member)
    flow = next((each for each in declared_flows(bot) if each.name == name), None)
    if flow is None:
        raise HTTPException(404)
    view = machine_view(flow, followed, tally)
    who = {"chat": chat} if chat else {"member": member} if member else {}
    awaited = ["load"] if tally is None and desk.manager is not None else []
    awaited += ["every 2s", "pressed from:body"] if who and not problem else []
    seen = hashlib.sha256(repr((view.dot, view.states, view.edges, followed.version)).encode("utf-8", "replace"))
    return {
        "view": view,
        "member": member,
        "chat": chat,
        "chats": await asyncio.to_thread(chats, desk.simulations),
        "who": who,
        "query": f"?{urlencode(who)}" if who else "",
        "followed": followed,
        "problem": problem,
        "tally": tally,
        "awaited": ", ".join(awaited),
        "digest": seen.hexdigest()[:16],
        "changed": request.query_params.get("seen", "") != seen.hexdigest()[:16],
    }


async def _edge(desk: Desk, request: Request) -> Response:
    """Return an edge with its guards."""
    values = await _values(desk, request)
    place, view = request.path_params["place"], values["view"]
    if place >= len(view.edges):
        raise HTTPException(404)
    return page(request, "machine_edge.html", edge=view.edges[place], **values)


def _drawing(response: Response) -> Response:
    """Let a page draw."""
    response.headers["Content-Security-Policy"] = DRAWING_POLICY
    return response


# Simulations ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Chat:
    """A chat of a simulation.

    Attributes:
        simulation: The name of the simulation.
        phone: The name of the chat, "type:identifier".
    """

    simulation: str
    phone: str

    @classmethod
    def named(cls, name: str) -> Chat:
        """Return the chat with a name, as `str` returns it."""
        simulation, _, phone = name.partition("/")
        return cls(simulation, phone)

    def __str__(self) -> str:
        return f"{self.simulation}/{self.phone}"


def chats(simulations: Simulations) -> tuple[Chat, ...]:
    """Return the chats of all simulations."""
    found: list[Chat] = []
    for name in (OWN, *simulations.forks):
        with suppress(KeyError), simulations.using(name) as simulation:
            found += [Chat(name, phone) for phone in simulation.phones]
    return tuple(found)


def simulated(desk: Desk, chat: Chat) -> tuple[Bot, Conversation, str]:
    """Return the bot of a simulation, what is shown of a chat, and a sentence if there is nothing to show.

    The bot is another than that of the desk once its flows were loaded anew.
    """
    try:
        with desk.simulations.using(chat.simulation) as simulation:
            phone, bot = simulation.phones[chat.phone], simulation.bot
            document, found = simulation.document(phone), map(read_entry, simulation.entries(phone))
    except KeyError:
        return desk.bot, NO_CONVERSATION, "There is no such chat in the simulator."
    if document is None:
        return bot, NO_CONVERSATION, "Nothing was said in this chat yet."
    return bot, Conversation.of(document, _turn([entry for entry in found if isinstance(entry, AuditEntry)])), ""


def pressed(simulations: Simulations, chat: Chat, trigger: str) -> str:
    """Press a button of the current question of a chat. Return why it was not pressed; empty if it was."""
    try:
        with simulations.using(chat.simulation) as simulation:
            simulation.fire(simulation.phones[chat.phone], trigger)
    except KeyError:
        return "There is no such chat in the simulator."
    except ValueError as error:
        return f"Not pressed: {error}."
    return ""


# The live store -------------------------------------------------------------------------------------------------------


async def conversation_of(manager: AsyncFlowStateManager, member_id: str) -> tuple[Conversation, str]:
    """Return what is shown of a member's conversation, and a sentence if there is nothing to show.

    Args:
        manager: The manager of a live store or of a simulator.
        member_id: The member.
    """
    try:
        document = await manager.state(member_id)
    except (DamagedDocument, NewerState, ForeignState, EncryptedState) as error:
        return NO_CONVERSATION, f"The document of this member cannot be shown ({type(error).__name__})."
    if document is None:
        return NO_CONVERSATION, "The store has no conversation of this member."
    latest = await _entries(manager, member_id, _LATEST)
    return Conversation.of(document, _turn(latest)), ""


async def _entries(manager: AsyncFlowStateManager, member_id: str, count: int) -> list[AuditEntry]:
    """Return the latest entries of a member that can be read, oldest first."""
    try:
        found = await manager.ask(ReadAudit(member_id, last=count, tolerant=True))
    except DamagedDocument:
        return []
    return [read for entry in found if isinstance(read := read_entry(entry), AuditEntry)]


def _turn(entries: Sequence[AuditEntry]) -> AuditEntry | None:
    """Return the latest entry in which a trigger was tried."""
    return next((entry for entry in reversed(entries) if entry.steps), None)


@attrs.define
class Counts:
    """The counts of the live members. They are kept for a while, so that counting takes a small part of the time only.

    Attributes:
        manager: The manager of the live store.
    """

    manager: AsyncFlowStateManager
    _lock: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _latest: Tally | None = attrs.field(default=None, init=False)
    _until: float = attrs.field(default=0.0, init=False)

    async def tally(self) -> Tally:
        """Return the counts."""
        async with self._lock:
            began = time.monotonic()
            if self._latest is None or began >= self._until:
                self._latest, ended = await self._count(self.manager.now()), time.monotonic()
                self._until = ended + _REST * (ended - began)
            return self._latest

    async def _count(self, now: float) -> Tally:
        tally = Tally(Census(self.manager.bot), datetime.fromtimestamp(now, UTC) - DAY)
        counted, cursor = set[str](), None
        while cursor != "" and tally.is_complete:
            part = await self.manager.ask(ScanPart(cursor or ""))
            found = [member_id for member_id in part.members if member_id not in counted]
            chosen, cursor = found[: MOST_COUNTED - len(counted)], part.cursor
            tally.is_complete = len(chosen) == len(found)
            for first in range(0, len(chosen), _AT_ONCE):
                await asyncio.gather(*(self._add(tally, each) for each in chosen[first : first + _AT_ONCE]))
            counted.update(chosen)
        return tally

    async def _add(self, tally: Tally, member_id: str) -> None:
        stored = await self.manager.ask(Load(member_id))
        if isinstance(stored, Broken):
            tally.census.add_broken(stored.fault)
        elif stored.document is not None:
            tally.census.add(stored.document)
        tally.add(await _entries(self.manager, member_id, ENTRIES))
