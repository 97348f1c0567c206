"""The source code of an author's callbacks, and of the functions of the same package that they call.

The texts and calls of a callback are known when it runs. Its source shows most of them before: the keys of texts,
and the methods of services. A function without source, or an object that is named at run time, is not seen.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType

import attrs


@attrs.frozen(eq=False)
class Source:
    """The source code of one function.

    Attributes:
        nodes: All nodes of its syntax tree; none if the source is not available.
        closure: The objects of its closure, by name.
        module: The objects of its module, by name.
        file: The path of the file; the lines of the nodes are those of the file.
    """

    nodes: tuple[ast.AST, ...]
    closure: Mapping[str, object] = attrs.field(repr=False)
    module: Mapping[str, object] = attrs.field(repr=False)
    file: str = ""

    @property
    def values(self) -> Iterator[object]:
        """The objects outside the function that its names stand for, with those of its closure."""
        yield from self.closure.values()
        for node in self.nodes:
            if isinstance(node, ast.Name | ast.Attribute):
                yield self.resolve(node)

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """Yield the calls of functions and classes that have one of these names."""
        for node in self.nodes:
            if isinstance(node, ast.Call) and _name(node.func) in names:
                yield node

    def resolve(self, node: ast.expr) -> object:
        """Return the object that a name stands for, also in a module or a class; None if it is not known."""
        if isinstance(node, ast.Name):
            return self.closure[node.id] if node.id in self.closure else self.module.get(node.id)
        if isinstance(node, ast.Attribute):
            place = self.resolve(node.value)
            return getattr(place, node.attr, None) if isinstance(place, ModuleType | type) else None
        return None


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
        thing = inspect.unwrap(getattr(thing, "__func__", thing)) if callable(thing) else thing
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, FunctionType):
            source = Source(_nodes(thing), _closure(thing), thing.__globals__, thing.__code__.co_filename)
            yield source
            waiting += [value for value in source.values if _is_near(value, thing)]
        elif isinstance(thing, type) and classes:
            waiting += [part.fget if isinstance(part, property) else part for part in vars(thing).values()]


def _closure(function: FunctionType) -> Mapping[str, object]:
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=True) if _is_filled(cell)}


def _nodes(function: FunctionType) -> tuple[ast.AST, ...]:
    linecache.getlines(function.__code__.co_filename, function.__globals__)  # a loader may have the source
    return _nodes_of(function.__code__.co_filename, function.__code__)


@functools.lru_cache(maxsize=65_536)
def _nodes_of(file: str, code: CodeType) -> tuple[ast.AST, ...]:
    """Return the nodes of a function. Code of another file can be equal, on other lines within."""
    text = "".join(linecache.getlines(file))
    found = _functions(text).get((code.co_name, code.co_firstlineno), ())
    return tuple(node for function in found for node in ast.walk(function))


@functools.lru_cache(maxsize=256)
def _functions(text: str) -> Mapping[tuple[str, int], tuple[ast.AST, ...]]:
    """Return the functions of a file by name and first line. Several lambdas can begin on one line."""
    table: dict[tuple[str, int], tuple[ast.AST, ...]] = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # it was changed since it was imported
        return table
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            table[node.name, first] = (node,)
        elif isinstance(node, ast.Lambda):
            key = "<lambda>", node.lineno
            table[key] = (*table.get(key, ()), node)
    return table


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _is_filled(cell: object) -> bool:
    try:
        return hasattr(cell, "cell_contents")
    except ValueError:
        return False


def _is_near(found: object, function: FunctionType) -> bool:
    """Whether an object is a function or a class of the same package as a function."""
    package = function.__module__.partition(".")[0]
    module = getattr(found, "__module__", None)
    return isinstance(found, FunctionType | type) and isinstance(module, str) and module.partition(".")[0] == package
