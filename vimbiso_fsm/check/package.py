"""The files of a bot's package, and what nothing in them uses."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.parts import callbacks_of, flows_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.made import made_of

_MOST_FILES: Final = 300
"""The number of files of a package above which nothing is said of what nothing uses."""


def package_findings(bot: Bot) -> Iterator[Finding]:
    """Yield functions of a turn that no file of the package names, in the files of the bot's callbacks."""
    files = package_files(bot)
    named = frozenset[str]().union(*map(_names, files))
    for file in sorted({made_of(each.callback).file for each in callbacks_of(bot)} & set(files)):
        for name, line in _of_a_turn(file):
            if name not in named:
                fault, remedy = f"{name!r} takes a turn, and no flow names it", "name it in a flow, or remove it"
                yield Finding(file, line, "callback-unused", fault, remedy, advice=True)


@functools.lru_cache(maxsize=_MOST_FILES)
def _names(file: str) -> frozenset[str]:
    """Return the names that a file uses or exports. A name that a file imports is used where the file uses it."""
    exports = Path(file).name == "__init__.py"
    nodes = (node for node in ast.walk(_tree(file)) if exports or not isinstance(node, ast.alias))
    return names_in(nodes)


def names_in(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Return the names that nodes of a file use, import or export."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return frozenset(found)


def _of_a_turn(file: str) -> Iterator[tuple[str, int]]:
    """Yield the functions of a file whose only argument is a turn by its annotation, with their lines."""
    for node in _tree(file).body:
        if isinstance(node, ast.FunctionDef) and len(node.args.args) == 1 and not node.decorator_list:
            annotation = node.args.args[0].annotation
            kind = annotation.value if isinstance(annotation, ast.Subscript) else annotation
            if isinstance(kind, ast.Name) and kind.id == "Turn":
                yield node.name, node.lineno


def _tree(file: str) -> ast.Module:
    try:
        return ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def package_files(bot: Bot) -> tuple[str, ...]:
    """Return the files of the folders in which the bot and its flows are; nothing if there are too many."""
    made = {Path(each) for each in (bot.made.file, *(flow.made.file for flow in flows_of(bot))) if each}
    folders = {file.parent for file in made if file.exists()}
    if len(folders) != 1:
        return ()
    files = sorted(str(file) for file in next(iter(folders)).rglob("*.py"))
    return tuple(files) if len(files) <= _MOST_FILES else ()


@functools.lru_cache(maxsize=_MOST_FILES)
def strings(file: str) -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """Return the strings of a file that are no keys of a dict, and the patterns of those that are made at run time."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return frozenset(), (re.compile(".*"),)
    keys = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    constants: set[str] = set()
    patterns: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in node.values]
            patterns.add("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys:
            constants.add(node.value)
            if node.value.endswith("."):
                patterns.add(re.escape(node.value) + ".+")
    return frozenset(constants), tuple(re.compile(pattern) for pattern in patterns if pattern.strip(".+"))
