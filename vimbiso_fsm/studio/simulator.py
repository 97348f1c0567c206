"""The panel "Simulator": members who talk to the bot on a store of the studio's own.

    GET  /simulator                  the simulation that begins empty
    GET  /simulator/NAME             a fork of a live member
    POST /simulator/NAME/VERB        one verb, with its fields as a form: say, press, again, wait, open, close, save,
                                     restart, and check for changed flows

A verb answers htmx with the changed part of the page, and a browser without scripts with the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from vimbiso_fsm.studio.desk import Desk
from vimbiso_fsm.studio.member_view import MemberView, span, view_of
from vimbiso_fsm.studio.pages import Panel, page
from vimbiso_fsm.studio.simulation import Fault, Phone, Simulation
from vimbiso_fsm.studio.simulations import OWN
from vimbiso_fsm.testing.saved import saved_as

PANEL: Final = Panel("simulator", "Simulator")
FAULTS: Final[Mapping[str, str]] = {
    Fault.NONE: "arrives as it should",
    Fault.TWICE: "is delivered twice",
    Fault.LOST: "meets a store whose reply is lost after the commit",
    Fault.DIES: "meets a worker that dies after its commit",
    Fault.UNSENT: "meets a worker that dies before it sends",
}
"""What can happen to the next message, in words."""
SPANS: Final = (0, 60, 360, 3_600, 86_400)
"""The spans of the buttons of the clock, in seconds; 0 lets time pass until the next thing is due."""

FIELDS: Final = 20
"""Fields of a form at most."""

Form: TypeAlias = Mapping[str, str]


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the routes of the panel."""

    async def show(request: Request) -> Response:
        return await run_in_threadpool(_page, desk, request, "simulator.html")

    async def act(request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        try:
            given = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=FIELDS))
        except ValueError:
            raise HTTPException(400) from None
        return await run_in_threadpool(_acted, desk, request, given)

    return [
        Route(f"/{PANEL.name}", show),
        Route(f"/{PANEL.name}/{{name}}", show),
        Route(f"/{PANEL.name}/{{name}}/{{verb}}", act, methods=["POST"]),
    ]


def _page(desk: Desk, request: Request, template: str, problem: str = "", told: str = "") -> Response:
    """Return the page of a simulation, or the part of it that changes."""
    name = request.path_params.get("name", OWN)
    told = "; ".join(filter(None, [told, desk.simulations.reload()]))
    try:
        with desk.simulations.using(name) as simulation:
            return page(request, template, panel=PANEL, **_values(desk, simulation, name, problem, told))
    except KeyError:
        raise HTTPException(404) from None


def _values(desk: Desk, simulation: Simulation, name: str, problem: str, told: str) -> dict[str, Any]:
    return {
        "name": name,
        "own": OWN,
        "address": f"/{PANEL.name}/{name}",
        "forks": desk.simulations.forks,
        "simulation": simulation,
        "phones": [(phone, _view(simulation, phone)) for phone in simulation.phones.values()],
        "channel_types": sorted(simulation.bot.validator.channel_types),
        "faults": FAULTS,
        "spans": [(seconds, span(seconds) if seconds else "until something is due") for seconds in SPANS],
        "problem": problem or simulation.problem,
        "told": told,
        "reloads": bool(desk.package),
    }


def _view(simulation: Simulation, phone: Phone) -> MemberView | None:
    document = simulation.document(phone)
    return view_of(simulation.bot, document, simulation.now) if document is not None else None


def _acted(desk: Desk, request: Request, fields: Form) -> Response:
    """Do a verb, and return what it has changed."""
    name, verb = request.path_params["name"], request.path_params["verb"]
    problem = told = ""
    if verb == "check":
        told = desk.simulations.reload()
        if not told:
            return Response(status_code=204)
    elif verb == "restart":
        desk.simulations.restart(name)
        if name != OWN:
            return _gone(request)
    elif verb in _VERBS:
        try:
            with desk.simulations.using(name) as simulation:
                told = _VERBS[verb](simulation, fields)
        except KeyError:
            raise HTTPException(404) from None
        except ValueError as error:
            problem = str(error)
    else:
        raise HTTPException(404)
    if "hx-request" in request.headers:
        return _page(desk, request, "simulation.html", problem, told)
    if problem or told:
        return _page(desk, request, "simulator.html", problem, told)
    return RedirectResponse(f"/{PANEL.name}/{name}", 303)


def _gone(request: Request) -> Response:
    """Go to the simulation that begins empty."""
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": f"/{PANEL.name}"})
    return RedirectResponse(f"/{PANEL.name}", 303)


# Verbs ----------------------------------------------------------------------------------------------------------------


def _phone(simulation: Simulation, fields: Form) -> Phone:
    phone = simulation.phones.get(fields.get("phone", ""))
    if phone is None:
        raise ValueError("this chat is not open any more; open it again")
    return phone


def _fault(fields: Form) -> Fault:
    try:
        return Fault(fields.get("fault", ""))
    except ValueError:
        raise ValueError("there is no such fault") from None


def _say(simulation: Simulation, fields: Form) -> str:
    text = fields.get("text", "")
    if not text.strip():
        raise ValueError("type a message first")
    simulation.say(_phone(simulation, fields), text, _fault(fields))
    return ""


def _press(simulation: Simulation, fields: Form) -> str:
    """Press a choice by its id, or the button of the current question that fires a trigger.

    A press that names no chat is made in the only one that is open.
    """
    only = next(iter(simulation.phones), "") if len(simulation.phones) == 1 else ""
    phone = _phone(simulation, {"phone": only, **fields})
    if "trigger" in fields:
        simulation.fire(phone, fields["trigger"], _fault(fields))
    else:
        simulation.press(phone, fields.get("choice", ""), _fault(fields))
    return ""


def _again(simulation: Simulation, fields: Form) -> str:
    simulation.again(_phone(simulation, fields))
    return ""


def _wait(simulation: Simulation, fields: Form) -> str:
    try:
        seconds = float(fields.get("seconds", ""))
    except ValueError:
        raise ValueError("give a span in seconds, such as 360") from None
    simulation.wait(seconds)
    return ""


def _open(simulation: Simulation, fields: Form) -> str:
    simulation.open(f"{fields.get('type', '')}:{fields.get('identifier', '').strip()}")
    return ""


def _close(simulation: Simulation, fields: Form) -> str:
    simulation.close(_phone(simulation, fields))
    return ""


def _save(simulation: Simulation, fields: Form) -> str:
    try:
        transcript = simulation.transcript()
    except ValueError:
        raise
    except (Exception, AssertionError) as error:  # noqa: BLE001  # a callback of the bot may raise anything
        raise ValueError(f"it cannot be played again: {str(error).splitlines()[0]}") from None
    try:
        path = saved_as(fields.get("name", "").strip(), transcript, source="the studio")
    except OSError as error:
        raise ValueError(f"the test cannot be written: {error.strerror}") from None
    return f"Wrote {path}. Run it with: pytest {path}"


_VERBS: Final[Mapping[str, Callable[[Simulation, Form], str]]] = {
    "say": _say, "press": _press, "again": _again, "wait": _wait, "open": _open, "close": _close, "save": _save,
}  # fmt: skip
