"""Play a script to a bot in memory, on a clock that is moved by hand, and write down what is said and stored.

A script, `scripts/<bot>/<name>.txt`, has a line for each event:

    # a comment
    @ ada                       the member that speaks from now on; `@ ada on telegram`: from another channel
    > offer                     typed; `> [Yes please]` is pressed; `> (image)` is not text
    >> yes                      the message before once more, with its id; with other words it is another content
    * 301 seconds pass
    * the member is woken
    * the delivery fails        the next one, not those after it
    * the service: down pay     from now on; `* the service: well` ends it
    * the document is damaged

The page that is written has the lines of the script again, and under each its results:

    <                           the status of the outcome and each reply, with the ids of what can be chosen
    <<                          a delivery
    !                           a call that the service received, with its idempotency key
    write 3: Commit             a request that changes the store: the keys and the arguments of the script's call

A digest of something on the page is shown as what it is a digest of, so a change in one place shows in one place.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import attrs

from tests.golden.house import Fault, SimulatedCredexCore, commit_parts, damage, member_of, tapped, vimbisopay, words_of
from tests.golden.stall import Till, stall
from vimbiso_fsm import Bot, Buttons, Channel, Menu, Message, Reply
from vimbiso_fsm.store.packing import PACKED, unpack

__all__ = ["SCRIPTS", "STAGES", "Play", "Stage", "laid_out", "play", "script", "unpacked"]

SCRIPTS: Final = Path(__file__).with_name("scripts")
PACE: Final = 5.0
"""Seconds between a message and the next."""
PHONES: Final = {"ada": "263771000001", "alan": "263771000002", "grace": "263771000003"}
NEWCOMER: Final = "263770000001"
"""The number of anyone else."""


# The bots ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Stage:
    """A bot with its service.

    Attributes:
        start: The first instant of the clock; one of the bots has a fraction of a second.
    """

    bot: Bot
    service: str
    start: float
    make: Callable[[Callable[[], float]], Any]
    spoil: Callable[[Any, str, str], None]
    calls: Callable[[Any], Sequence[tuple[str, str]]]


def _spoil_till(till: Till, kind: str, call: str) -> None:
    till.fault = (kind, call)


def _spoil_core(core: SimulatedCredexCore, kind: str, call: str) -> None:
    core.faults = [] if kind == "well" else [Fault(kind, call=call)]  # type: ignore[arg-type]  # a script's word


STAGES: Final = {
    "stall": Stage(stall, "till", 1_795_338_902.0, lambda clock: Till(), _spoil_till, lambda till: till.calls),
    "vimbisopay": Stage(
        vimbisopay,
        "credex_core",
        1_795_338_902.123456,
        lambda clock: SimulatedCredexCore(clock=clock),
        _spoil_core,
        lambda core: [(call.name, call.key) for call in core.calls],
    ),
}


def script(stage: str, name: str) -> str:
    """Return the text of a script."""
    return (SCRIPTS / stage / f"{name}.txt").read_text(encoding="utf-8")


# How bytes are written down ----------------------------------------------------------------------------------------


def laid_out(data: bytes, depth: int = 3) -> str:
    """Return JSON bytes on several lines. No byte is changed; only line ends and indentation are put between values."""
    text, level, quoted, escaped = "", 0, False, False
    for sign in data.decode("utf-8", "backslashreplace"):
        if not quoted and sign in "}]":
            level -= 1
            text += "\n" if level == 0 else ""
        text += sign
        if quoted:
            quoted, escaped = escaped or sign != '"', not escaped and sign == "\\"
        elif sign == '"':
            quoted = True
        elif sign in "{[":
            level += 1
            text += "\n  " if level == 1 else ""
        elif sign == "," and 1 <= level <= depth:
            text += "\n" + "  " * level
    return text


def unpacked(word: bytes) -> bytes:
    """Return a word with its packed body unpacked, because the bytes of a packed one depend on the release of zlib."""
    head, mark, rest = word.partition(PACKED)
    body = unpack(mark + rest)
    return word if body == mark + rest else head + b"packed " + body


def _shown(word: bytes) -> str:
    word = unpacked(word)
    return laid_out(word) if b'{"' in word else word.decode("utf-8", "backslashreplace")


def _indented(text: str, by: str) -> str:
    return text.replace("\n", "\n" + by)


# Playing -----------------------------------------------------------------------------------------------------------


@attrs.define
class Speaker:
    """A member at a channel.

    Attributes:
        options: The ids of the latest choices, by title.
    """

    channel: Channel
    options: dict[str, str] = attrs.field(factory=dict[str, str])


class Play:
    """A script that is played line by line.

    Attributes:
        kind: The manager, "sync" or "async".
        ask: Performs a request on the store.
        member: The member of the latest message.
        writes: The requests that have changed the store.
    """

    def __init__(self, name: str, kind: str = "sync", manager: Any = None) -> None:
        self.stage = STAGES[name]
        self.now = self.stage.start
        self.service = self.stage.make(lambda: self.now)
        self.writes: list[Any] = []
        self._runner = asyncio.Runner() if kind == "async" else None
        if manager is None:
            options = {"services": {self.stage.service: self.service}, "cache": 0, "patience": 60.0, "call_wait": 60.0}
            deliver = self._deliver_async if kind == "async" else self._deliver
            self.manager, tap = tapped(kind, self.stage.bot, lambda: self.now, deliver=deliver, **options)
            self.writes = tap.writes
        else:
            self.manager = manager
        self._speakers: dict[str, Speaker] = {}
        self._ids = itertools.count(1)
        self._message: Message | None = None
        self._guest = ""
        self._failing = False
        self._delivered: list[str] = []
        self._digests: dict[str, str] = {}
        self._commits = itertools.count(1)

    def page(self, text: str) -> str:
        """Play a whole script; return its page."""
        lines = [line for said in text.splitlines() for line in self.line(said)]
        return "\n".join(lines) + "\n"

    def line(self, line: str) -> Iterator[str]:
        """Play one line of a script; yield the lines of the page that it causes."""
        written, called = len(self.writes), len(self.stage.calls(self.service))
        yield line
        mark, _, rest = line.partition(" ")
        if mark == "@":
            name, _, channel = rest.partition(" on ")
            self._speaker = self._speakers.setdefault(rest, Speaker(_channel(name, channel or "whatsapp")))
        elif mark == "*":
            self._happen(rest)
        elif mark in (">", ">>"):
            yield from self._say(rest, again=mark == ">>")
        yield from self._delivered
        self._delivered.clear()
        for name, key in self.stage.calls(self.service)[called:]:
            yield f"! {name} {key}".rstrip()
        for request in self.writes[written:]:
            yield from self._written(request)

    @property
    def member(self) -> str:
        """The member of the latest message, as the store knows them."""
        linked = member_of(self.ask, self._speaker.channel)
        assert linked or self._guest, "nobody has said anything"
        return linked or self._guest

    def ask(self, request: Any) -> Any:
        """Perform a request on the store."""
        return self._run(self.manager.ask(request))

    def close(self) -> None:
        """Close the manager."""
        self._run(self.manager.close())
        if self._runner is not None:
            self._runner.close()

    def _run(self, result: Any) -> Any:
        return self._runner.run(result) if self._runner is not None and inspect.iscoroutine(result) else result

    def _happen(self, what: str) -> None:
        if match := re.fullmatch(r"(\d+) seconds pass", what):
            self.now += int(match[1])
        elif what == "the member is woken":
            self._run(self.manager.wake(self.member))
        elif what == "the delivery fails":
            self._failing = True
        elif what == "the document is damaged":
            damage(self.ask, self.member)
        elif match := re.fullmatch(r"the service: (\w+) ?(\w*)", what):
            self.stage.spoil(self.service, match[1], match[2])
        else:
            raise ValueError(f"a script says {what!r}; see the top of this module for what it may say")

    def _say(self, said: str, *, again: bool) -> Iterator[str]:
        speaker = self._speaker
        content: dict[str, Any] = {"text": said}
        if said == "(image)":
            content = {"kind": "image"}
        elif said.startswith("["):
            if said[1:-1] not in speaker.options:
                raise ValueError(f"{said} cannot be pressed; there are {', '.join(speaker.options)}")
            content = {"choice": speaker.options[said[1:-1]]}
        identity = self._message.id if again and self._message else f"id-{next(self._ids)}"
        self._message = Message(speaker.channel, identity, **content)
        outcome = self._run(self.manager.handle(self._message))
        self._guest = outcome.state.member_id
        self.now += PACE
        yield f"< {outcome.status}"
        for reply in outcome.replies:
            speaker.options.update({title: identity for identity, title, _ in _options(reply)})
            yield from _reply("<", reply)

    def _deliver(self, channel: Channel, replies: Sequence[Reply], *, key: str) -> None:
        failing, self._failing = self._failing, False
        self._delivered.append(f"<< {channel.type} {channel.identifier} {key}" + (" (fails)" if failing else ""))
        self._delivered += [line for reply in replies for line in _reply("<<", reply)]
        if failing:
            raise ConnectionError("the delivery failed")

    async def _deliver_async(self, channel: Channel, replies: Sequence[Reply], *, key: str) -> None:
        self._deliver(channel, replies, key=key)

    def _written(self, request: Any) -> Iterator[str]:
        """Return a request as the script is called with it."""
        number = next(self._commits)
        if parts := commit_parts(request):
            for what, data in zip(("document", "entry"), parts, strict=True):
                self._digests[hashlib.sha256(data).hexdigest()] = f"<sha256 of the {what} of write {number}>"
        yield f"write {number}"
        keys, arguments = words_of(request)
        for kind, words in (("KEYS", keys), ("ARGV", arguments)):
            for place, word in enumerate(words, 1):
                yield f"  {kind}[{place}] {self._named(_indented(_shown(word), ' ' * 4))}".rstrip()

    def _named(self, text: str) -> str:
        """Return a text without digests of what stands on the page, and the nanoseconds of a quarantined key."""
        text = re.sub("[0-9a-f]{64}", lambda found: self._digests.get(found[0], found[0]), text)
        return re.sub(r"(:aside:\d+:)\d+(?=:)", r"\1<nanoseconds>", text)


def _channel(name: str, type: str) -> Channel:
    return Channel(type, PHONES.get(name, NEWCOMER), {"name": name, "language": "en"} if type == "telegram" else {})


def _options(reply: Reply) -> list[tuple[str, str, str]]:
    """Return the id, the title and the description of each choice."""
    if isinstance(reply, Buttons):
        return [(button.id, button.title.text, "") for button in reply.buttons]
    if isinstance(reply, Menu):
        return [(row.id, row.title.text, row.description.text if row.description else "") for row in reply.rows]
    return []


def _reply(mark: str, reply: Reply) -> Iterator[str]:
    yield f"{mark} {type(reply).__name__}: {_indented(reply.text, '      ')}"
    for identity, title, about in _options(reply):
        yield f"    [{identity}] {title}" + (f" | {about}" if about else "")


def play(stage: str, name: str, kind: str = "sync") -> str:
    """Return the page of a script. Errors on it name no lines of code, which each change of the code moves."""
    playing = Play(stage, kind)
    try:
        with patch("vimbiso_fsm.audit.redaction.traceback.extract_tb", return_value=[]):
            return playing.page(script(stage, name))
    finally:
        playing.close()
