"""The source code of an author's callbacks, and of the functions of the same package that they call.

The texts and calls of a callback are known when it runs. Its source shows most of them before: the keys of texts,
and the methods of services. A function without source, or an object that is named at run time, is not seen.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Final, TypeAlias, TypeVar, cast

import attrs

N = TypeVar("N", bound=ast.AST)


class Code:
    """The syntax tree of a function, read once for all that look at it.

    Attributes:
        nodes: All nodes, the outer ones first; none if the source is not available.
        paths: The dotted names in it, each once and as its parts.
    """

    def __init__(self, nodes: Sequence[ast.AST] = ()) -> None:
        self.nodes = tuple(nodes)
        self._by_kind: dict[type[ast.AST], list[ast.AST]] = {}
        for node in self.nodes:
            self._by_kind.setdefault(type(node), []).append(node)
        named = (path_of(node) for node in (*self.of(ast.Name), *self.of(ast.Attribute)))
        self.paths = tuple(dict.fromkeys(path for path in named if path))

    def of(self, kind: type[N]) -> Sequence[N]:
        """Return the nodes of a kind."""
        return cast("Sequence[N]", self._by_kind.get(kind, ()))


def path_of(node: ast.expr) -> tuple[str, ...]:
    """Return the parts of a dotted name; empty if an expression is none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()


@attrs.frozen(eq=False)
class Source:
    """The source code of one function.

    Attributes:
        code: Its syntax tree.
        closure: The objects of its closure, by name.
        module: The objects of its module, by name.
        file: The path of the file; the lines of the nodes are those of the file.
    """

    code: Code = attrs.field(repr=False)
    closure: Mapping[str, object] = attrs.field(repr=False)
    module: Mapping[str, object] = attrs.field(repr=False)
    file: str = ""

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of its syntax tree; none if the source is not available."""
        return self.code.nodes

    def of(self, kind: type[N]) -> Sequence[N]:
        """Return the nodes of a kind."""
        return self.code.of(kind)

    @property
    def values(self) -> Iterator[object]:
        """The objects outside the function that its names stand for, with those of its closure."""
        yield from self.closure.values()
        for path in self.code.paths:
            yield self._at(path)

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """Yield the calls of functions and classes that have one of these names."""
        for node in self.of(ast.Call):
            if _name(node.func) in names:
                yield node

    def resolve(self, node: ast.expr) -> object:
        """Return the object that a name stands for, also in a module or a class; None if it is not known."""
        path = path_of(node)
        return self._at(path) if path else None

    def _at(self, path: tuple[str, ...]) -> object:
        first, *others = path
        found = self.closure[first] if first in self.closure else self.module.get(first)
        for name in others:
            if not isinstance(found, ModuleType | type):
                return None
            found = getattr(found, name, None)
        return found


def sources(things: Iterable[object], *, classes: bool = True) -> Iterator[Source]:
    """Yield the sources of functions, and of those that they call in the same package, each once.

    Args:
        things: Functions and other objects.
        classes: Whether all methods of a class that is among the objects, or is named in a function, are read too.
    """
    seen: set[int] = set()
    waiting = list(things)
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, functools.partial):
            thing = thing.func
        thing = getattr(thing, "__func__", thing)
        if hasattr(thing, "__wrapped__") and callable(thing):
            thing = inspect.unwrap(thing)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, FunctionType):
            source = Source(_code(thing), _closure(thing), thing.__globals__, thing.__code__.co_filename)
            yield source
            package = thing.__module__.partition(".")[0]
            waiting += [value for value in source.values if _is_of(package, value)]
        elif isinstance(thing, type) and classes:
            waiting += [part.fget if isinstance(part, property) else part for part in vars(thing).values()]


@functools.lru_cache(maxsize=65_536)
def sources_near(function: Callable[..., object]) -> tuple[Source, ...]:
    """Return the sources of a function, and of those that it calls in the same package, read once."""
    return tuple(sources([function], classes=False))


def _closure(function: FunctionType) -> Mapping[str, object]:
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=True) if _is_filled(cell)}


@functools.lru_cache(maxsize=65_536)
def _code(function: FunctionType) -> Code:
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)  # a loader may have the source
    known = _FILES.get(code.co_filename)
    if known is None or known[0] is not lines:
        if len(_FILES) >= _MOST_FILES:
            _FILES.pop(next(iter(_FILES)), None)
        known = _FILES[code.co_filename] = (lines, _functions("".join(lines)))
    return Code(known[1].get((code.co_name, code.co_firstlineno), ()))


Table: TypeAlias = Mapping[tuple[str, int], Sequence[ast.AST]]
"""The nodes of the functions of a file, by name and first line."""

_FILES: Final[dict[str, tuple[list[str], Table]]] = {}
"""The functions of the files that were read last, with the lines of the file as they were then."""
_MOST_FILES: Final = 256

_NO_NODES: Final = frozenset({"arg", "attr", "ctx", "id", "kind", "name", "op", "ops", "type_comment"})
"""Fields of nodes that hold no expression and no statement."""
_CHILDREN: Final[dict[type[ast.AST], tuple[str, ...]]] = {ast.Constant: ()}
"""The fields of each kind of node that hold nodes."""


def _functions(text: str) -> Table:
    """Return the functions of a file. Several lambdas can begin on one line."""
    table: dict[tuple[str, int], list[ast.AST]] = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # it was changed since it was imported
        return table
    waiting: list[tuple[ast.AST, tuple[list[ast.AST], ...]]] = [(tree, ())]
    while waiting:
        node, within = waiting.pop()
        kind = type(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            own = table[node.name, first] = []
            within = (*within, own)
        elif kind is ast.Lambda:
            within = (*within, table.setdefault(("<lambda>", getattr(node, "lineno", 0)), []))
        for nodes in within:
            nodes.append(node)
        fields = _CHILDREN.get(kind)
        if fields is None:
            fields = _CHILDREN[kind] = tuple(name for name in kind._fields if name not in _NO_NODES)
        for name in fields:
            value = getattr(node, name)
            if isinstance(value, list):
                waiting += [(each, within) for each in reversed(value) if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                waiting.append((value, within))
    return table


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _is_filled(cell: object) -> bool:
    try:
        return hasattr(cell, "cell_contents")
    except ValueError:
        return False


def _is_of(package: str, found: object) -> bool:
    """Whether an object is a function or a class of a package."""
    if not isinstance(found, FunctionType | type):
        return False
    module: object = getattr(found, "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] == package
