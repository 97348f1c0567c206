"""Findings in the code of callbacks, read and not run: the functions, and those of the same package that they call.

Nothing is claimed of a call whose function is not known: a method of a value, or an object that is named at run time.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any, Final, cast

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.parts import Named, at, callbacks_of, flows_of
from vimbiso_fsm.errors import WrongCall
from vimbiso_fsm.flow.annotations import called, fits
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import call, port_signature, service_of
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.source import Source, sources_near
from vimbiso_fsm.flow.spelling import did_you_mean
from vimbiso_fsm.made import Made

_CLOCKS: Final = {
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"),
    ("time", "time_ns"), ("time", "monotonic"), ("time", "perf_counter"), ("time", "localtime"), ("time", "gmtime"),
    ("time", "sleep"),
}  # fmt: skip
"""The functions that read the clock or wait, by the module or the class and by the name."""
_CHANCE: Final = frozenset({"random", "secrets", "_random"})
_OUTSIDE: Final = frozenset(
    {
        "socket",
        "subprocess",
        "requests",
        "httpx",
        "httpx2",
        "aiohttp",
        "urllib",
        "http",
        "smtplib",
        "sqlite3",
        "redis",
        "shutil",
    }
)
_CHANGING: Final = frozenset(
    {
        "append",
        "extend",
        "insert",
        "remove",
        "pop",
        "clear",
        "add",
        "discard",
        "update",
        "setdefault",
        "sort",
        "reverse",
    }
)
"""The methods of lists, sets and dicts that change them."""


def code_findings(bot: Bot) -> Iterator[Finding]:
    """Yield what the code of the callbacks of a bot shows."""
    seen: set[tuple[int, str]] = set()
    for named in callbacks_of(bot):
        if (id(named.callback), named.slot) not in seen:
            seen.add((id(named.callback), named.slot))
            yield from _impure(named)
            if named.slot == "call":
                yield from _wrong_calls(bot, named)
    for flow in flows_of(bot):
        yield from _wrong_answers(flow)


def is_pure(callback: Callable[..., Any]) -> bool:
    """Return whether the source of a callback is known and shows nothing impure."""
    return _impurities(callback) == ()


def looks_at_nothing(callback: Callable[..., Any]) -> bool:
    """Return whether a callback does not use what it is given, so that it always returns the same."""
    taken = set(getattr(getattr(callback, "__code__", None), "co_varnames", ())[:1])
    used = {node.id for source in sources_near(callback) for node in source.of(ast.Name)}
    return is_pure(callback) and bool(taken) and not taken & used


def _impure(named: Named) -> Iterator[Finding]:
    for what, made in _impurities(named.callback) or ():
        name = getattr(named.callback, "__name__", named.slot)
        fault = f"{named.slot} {name!r} {what}, and a callback is decided again after a conflict"
        remedy = _REMEDIES.get(what, "leave it to a service, and let a state call it")
        yield named.finding(f"{named.kind}-impure", fault, remedy, made)


_REMEDIES: Final = {
    "reads the clock": "read turn.now",
    "changes the data of the turn": "return a changed copy from a prepare: attrs.evolve(turn.data, …)",
}


@functools.lru_cache(maxsize=65_536)
def _impurities(callback: Callable[..., Any]) -> tuple[tuple[str, Made], ...] | None:
    """Return what a callback does beside deciding, each with its line; None if its source is not known."""
    found: dict[Made, str] = {}
    known = False
    for source in sources_near(callback):
        known = known or bool(source.nodes)
        for node in (node for kind in _DOING for node in source.of(kind)):
            what = _impurity(source, node)
            if what:
                found.setdefault(Made(source.file, node.lineno), what)
    return tuple((what, made) for made, what in sorted(found.items())) if known else None


_DOING: Final[tuple[type[ast.stmt | ast.expr], ...]] = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete, ast.Attribute, ast.Call,
)  # fmt: skip
"""The kinds of nodes that can do something beside deciding."""


def _impurity(source: Source, node: ast.AST) -> str:
    """Return what a node does that no callback may do; "" if it does nothing of the kind."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
        return "changes the data of the turn" if any(_of_turn(target) for target in targets) else ""
    if isinstance(node, ast.Attribute) and _is_environment(source, node):
        return "reads the environment"
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING and _of_turn(node.func.value):
        return "changes the data of the turn"
    function = source.resolve(node.func)
    if function is None and isinstance(node.func, ast.Name) and node.func.id not in source.module:
        function = getattr(builtins, node.func.id, None)
    return _outside(function) if function is not None else ""


def _of_turn(node: ast.AST) -> bool:
    """Whether an expression is a part of `turn.data` or of `turn.member`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute) and node.attr in ("data", "member"):
            return isinstance(node.value, ast.Name) and node.value.id == "turn"
        node = node.value
    return False


def _is_environment(source: Source, node: ast.Attribute) -> bool:
    if node.attr != "environ":
        return False
    place = source.resolve(node.value)
    return isinstance(place, ModuleType) and place.__name__ == "os"


def _outside(function: object) -> str:
    """Return what a function does outside of the turn, by its module; "" if nothing is known of it."""
    owner = getattr(function, "__self__", None)
    place = owner.__name__ if isinstance(owner, type | ModuleType) else type(owner).__name__.lower()
    module = str(getattr(function, "__module__", None) or getattr(owner, "__name__", ""))
    name = str(getattr(function, "__name__", ""))
    top = module.partition(".")[0]
    if (place, name) in _CLOCKS or (module, name) in _CLOCKS:
        return "waits" if name == "sleep" else "reads the clock"
    if (
        top in _CHANCE
        or (owner is not None and type(owner).__module__ in _CHANCE)
        or (top == "uuid" and name in ("uuid1", "uuid4"))
    ):
        return "depends on chance"
    if function is builtins.open or (top in ("pathlib", "_io") and name in ("open", "read_text", "write_text")):
        return "opens a file"
    if function is builtins.print or function is builtins.input:
        return "writes to the terminal" if function is builtins.print else "reads from the terminal"
    if (
        top in ("os", "posix", "nt") and name in ("getenv", "system", "remove", "listdir", "urandom", "popen")
    ) or top in _OUTSIDE:
        return "reads the environment" if name == "getenv" else "acts outside"
    return ""


def _wrong_answers(flow: AnyFlow) -> Iterator[Finding]:
    """Yield callbacks that take the answer of another call, such as a `cast(Receipt, turn.answer)` of a `Session`."""
    for way in flow.transitions:
        callbacks = [("prepare", way.prepare), *(("guard", guard) for guard in way.guards)]
        for state in (flow.by_name[name] for name in way.sources if "done" in way.triggers):
            for slot, callback in callbacks if state.call is not None else ():
                for kind, made in _casts(callback) if callback is not None else ():
                    answer = called(state.call) if state.call is not None else Any
                    if not fits(answer, kind) and not fits(kind, answer):
                        name = getattr(callback, "__name__", slot)
                        fault = f"{slot} {name!r} takes a {kind.__name__}, but the call of {state.name!r} gives none"
                        remedy = "take the answer of this call"
                        yield at(flow, made, f"transition {way.trigger!r}", "answer-wrong-type", fault, remedy)


def _casts(callback: Callable[..., Any]) -> Iterator[tuple[type, Made]]:
    """Yield the classes that a callback takes `turn.answer` for, each with its line."""
    for source in sources_near(callback):
        for node in source.of(ast.Call):
            if len(node.args) == 2 and source.resolve(node.func) is cast:
                kind, value = source.resolve(node.args[0]), node.args[1]
                if isinstance(kind, type) and isinstance(value, ast.Attribute) and value.attr == "answer":
                    yield kind, Made(source.file, node.lineno)


def _wrong_calls(bot: Bot, named: Named) -> Iterator[Finding]:
    """Yield calls of methods that no service of the bot has, and calls whose arguments do not fit the method."""
    for source in sources_near(named.callback):
        for node in source.of(ast.Call):
            if node.args and source.resolve(node.func) is call:
                made = Made(source.file, node.lineno)
                method, written = source.resolve(node.args[0]), node.args[0]
                if isinstance(method, FunctionType):
                    yield from _misfits(bot, named, method, node, made)
                elif isinstance(written, ast.Attribute):
                    yield from _misspelt(named, source, written, made)


def _misspelt(named: Named, source: Source, method: ast.Attribute, made: Made) -> Iterator[Finding]:
    """Yield the method of a port that the class of the port does not have."""
    port = source.resolve(method.value)
    if isinstance(port, type) and not hasattr(port, method.attr):
        fault = f"{port.__name__} has no method {method.attr!r}"
        methods = [name for name in dir(port) if not name.startswith("_")]
        yield named.finding("service-missing", fault, did_you_mean(method.attr, methods), made)


def _misfits(bot: Bot, named: Named, method: FunctionType, node: ast.Call, made: Made) -> Iterator[Finding]:
    try:
        service, name = service_of(method)
        signature = port_signature(method)
    except WrongCall as error:
        yield named.finding("call-wrong-arguments", error.fault, error.remedy, made)
        return
    known = bot.services.get(service)
    if bot.services and known is None:
        fault = f"the bot has no service {service!r}, whose method {name!r} is called"
        yield named.finding("service-missing", fault, did_you_mean(service, bot.services), made)
    elif known is not None and not callable(getattr(known, name, None)):
        fault = f"service {service!r} is a {type(known).__name__}, which has no method {name!r}"
        yield named.finding("service-missing", fault, "give it the method, or name another service", made)
    starred = any(isinstance(each, ast.Starred) for each in node.args) or any(
        each.arg is None for each in node.keywords
    )
    if starred:
        return
    given: dict[str, object] = {each.arg: None for each in node.keywords if each.arg is not None}
    try:
        signature.bind(*(None for _ in node.args[1:]), **given)
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "nothing"
        fault = f"call({method.__qualname__}, …) does not fit the method: {error}"
        yield named.finding("call-wrong-arguments", fault, f"it takes {takes}", made)
