"""Requests that a cluster refuses while it hands a hash slot over to another node, made anew.

A slot is handed over key by key. Meanwhile its old node, the source, has the keys that were not moved yet, and its new
node, the goal, has those that were. A node refuses a script when it has only some of its KEYS, and it cannot tell a key
that was moved from one that never was: a member has no key for what the member does not have. So the store asks both
nodes for each key of a refused request, and makes the request anew at the node that has them, with only those as KEYS.

A key that neither node has can be made at the goal alone. The one key that turns make beside older keys, that of
earlier tokens, is made by a later turn instead. Another request that needs a new key at the source waits until the keys
are at the goal, and so does a request whose keys are on both nodes.

The due set belongs to a shard and not to a member, and may be at the other node. A commit that sets a wake-up then sets
it first, at least `WAKE_MARGIN` from now, and is not made after that instant. No worker reads the wake-up before it is
known whether the commit was made, so it is not lost (rule 9 of `requests.py`). A `SetWakeUp` then sets an earlier one
only: it cannot tell whether the head is still the expected one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast

import attrs
from redis.exceptions import AskError, MovedError, TryAgainError

from vimbiso_fsm.store import requests
from vimbiso_fsm.store.script import Command, Words, earlier_wake_up

Served: TypeAlias = (
    requests.Commit
    | requests.Load
    | requests.ReadAudit
    | requests.ReadOldest
    | requests.ReadRecords
    | requests.ReadInherited
    | requests.UseTokens
    | requests.SetWakeUp
    | requests.FindOwner
    | requests.Link
    | requests.RecordIncident
)
"""Requests that are made anew. In the script, their first write to a key that may be missing precedes all others.

Other requests, which operators make, are repeated as they are.
"""
WAKE_MARGIN: Final = 5.0
"""Seconds by which a wake-up may be late if the due set is at another node than the member."""

Has: TypeAlias = Callable[[bytes, AskError | None], Awaitable[bool]]
"""Returns whether a node has a key: the source, or the goal that the redirect names."""
SetFirst: TypeAlias = Callable[[Command, AskError | None], Awaitable[float]]
"""Sends the command that sets a wake-up to the node that a redirect names, and returns the instant of the answer."""
_Node: TypeAlias = Literal["source", "goal", "none"]


@attrs.frozen
class _Places:
    """Where the keys of a request are.

    Attributes:
        nodes: The node that has each key.
        goal: The redirect that names the goal; None if the slot is not handed over any more.
    """

    nodes: Mapping[bytes, _Node]
    goal: AskError | None

    @property
    def due(self) -> bytes:
        """The due set of a request about a member."""
        return next(filter(_is_due, self.nodes))

    @property
    def node(self) -> _Node | None:
        """The node that has the keys without the due set or, if neither has any, can make them; None if both have."""
        found: set[_Node] = {node for key, node in self.nodes.items() if node != "none" and not _is_due(key)}
        return None if len(found) > 1 else found.pop() if found else "goal"

    @property
    def node_of_due(self) -> _Node:
        """The node that has the due set or, if neither has it, can make it."""
        return "source" if self.nodes[self.due] == "source" else "goal"

    def redirect(self, node: _Node) -> AskError | None:
        """Return the redirect to a node; None for the source, to which requests go by themselves."""
        return None if node == "source" else self.goal


async def restate(
    request: Served, words: Words, has: Has, set_first: SetFirst, encode: Callable[[requests.Commit], Words]
) -> tuple[Words, AskError | None]:
    """Return the words of a refused request for the node that has its keys, and the redirect to the node, if any.

    Args:
        request: The request.
        words: Its words.
        has: Returns whether a node has a key.
        set_first: Sends the words that set a wake-up and returns the instant of the answer.
        encode: Returns the words of a commit.

    Raises:
        MovedError: The hand-over has ended.
        TryAgainError: Both nodes have some of the keys.
    """
    places = await _find(words, has)
    if places.goal is None:
        return words, None
    if isinstance(request, requests.SetWakeUp) and places.node_of_due != places.node:
        wake = _at_due_set(earlier_wake_up(request, words, margin=0.0), places)
        return wake.words, places.redirect(places.node_of_due)
    if places.node is None:
        raise TryAgainError("both nodes have keys of the member, because the cluster is handing their slot over")
    if isinstance(request, requests.Commit) and request.wake_at is not None and places.node_of_due != places.node:
        wake = _at_due_set(earlier_wake_up(request, words, margin=WAKE_MARGIN), places)
        latest = await set_first(wake, places.redirect(places.node_of_due)) + WAKE_MARGIN
        if request.not_after is not None:
            latest = min(latest, request.not_after)
        words = encode(attrs.evolve(request, wake_at=None, not_after=latest))
    declared = [key for key in places.nodes if places.nodes[key] == places.node] or _keys(words)[:1]
    return _apart(words, declared, places.node), places.redirect(places.node)


async def _find(words: Words, has: Has) -> _Places:
    """Ask both nodes for each key.

    A key that the source does not have comes there no more. A key that is moved afterwards is refused with the request.
    """
    nodes: dict[bytes, _Node] = {}
    goal = None
    for key in _keys(words):
        try:
            nodes[key] = "source" if await has(key, None) else "none"
        except MovedError:
            raise
        except AskError as redirect:
            goal = redirect
            nodes[key] = "goal" if await has(key, goal) else "none"
    return _Places(nodes, goal)


def _at_due_set(wake: Command, places: _Places) -> Command:
    """Return the command that sets a wake-up for the node of the due set."""
    return wake._replace(words=_apart(wake.words, [places.due], places.node_of_due))


def _apart(words: Words, declared: Sequence[bytes], node: _Node) -> Words:
    """Return the words of a request with only some of its keys as KEYS; the script finds the others in ARGV."""
    keys = _keys(words)
    return (*words[:2], len(declared), *declared, b"apart", node, len(keys), *keys, *words[3 + len(keys) :])


def _keys(words: Words) -> tuple[bytes, ...]:
    return cast(tuple[bytes, ...], words[3 : 3 + cast(int, words[2])])


def _is_due(key: bytes) -> bool:
    return key.endswith(b"}:due")
