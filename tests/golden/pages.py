"""The golden files as the current code writes them.

files/<bot>/document.json   the stored document after the script `one_turn`, byte for byte
files/<bot>/record.json     its latest turn record
files/<bot>/entry.json      its latest audit entry, sealed
files/<bot>/incident.json   its latest incident
files/<bot>/due.txt         the member that is due, and the instant
files/<bot>/keys.txt        the keys that a real store has after the script `keys`
files/<bot>/<script>.txt    the page of each script: all that is said, called and stored
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tests.golden.house import due_at, fill_common_keys, latest_entry, latest_incident, latest_record, stored_document
from tests.golden.play import SCRIPTS, STAGES, Play, play, script, unpacked
from vimbiso_fsm import FlowStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["FILES", "KEYS", "PIECES", "keys_of_a_store", "page", "pages"]

FILES: Final = Path(__file__).with_name("files")
PIECES: Final = ("document.json", "record.json", "entry.json", "incident.json", "due.txt")
"""The files that are stored after the script `one_turn`."""
KEYS: Final = "keys.txt"
"""The file that needs a real store."""


def pages() -> tuple[str, ...]:
    """Yield the golden files that need no server, as `<bot>/<name>`."""
    stories = [f"{path.parent.name}/{path.name}" for path in sorted(SCRIPTS.glob("*/*.txt")) if path.name != KEYS]
    return (*(f"{stage}/{piece}" for stage in STAGES for piece in PIECES), *stories)


def page(name: str, kind: str = "sync") -> bytes:
    """Return what a golden file must hold, with a manager of a kind."""
    stage, _, file = name.partition("/")
    if file in PIECES:
        return _pieces(stage, kind)[file]
    return play(stage, file.removesuffix(".txt"), kind).encode()


@lru_cache
def _pieces(stage: str, kind: str) -> dict[str, bytes]:
    playing = Play(stage, kind)
    try:
        playing.page(script(stage, "one_turn"))
        member, ask = playing.member, playing.ask
        read: dict[str, Callable[[Any, str], bytes]] = {
            "document.json": stored_document,
            "record.json": latest_record,
            "entry.json": latest_entry,
            "incident.json": latest_incident,
            "due.txt": lambda ask, member: f"{member} {due_at(ask, member, playing.now)!r}\n".encode(),
        }
        return {name: read[name](ask, member) for name in PIECES}
    finally:
        playing.close()


# The keys of a real store ------------------------------------------------------------------------------------------


def keys_of_a_store(stage: str, url: str, client: Any) -> bytes:
    """Return the keys of a store that was empty, after the script `keys`: type, life, name and shape of each."""
    given = STAGES[stage]
    service = given.make(lambda: _server_time(client))
    with FlowStateManager.from_url(
        url, given.bot, services={given.service: service}, cache=0, secret=STORE_SECRET
    ) as manager:
        playing = Play(stage, manager=manager)
        playing.page(script(stage, "keys"))
        fill_common_keys(playing.ask, playing.member)
    lines = [line for key in sorted(client.keys("*")) for line in _key(client, key)]
    return "\n".join(lines).encode() + b"\n"


def _server_time(client: Any) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def _key(client: Any, key: bytes) -> Iterator[str]:
    kind, left = client.type(key).decode(), client.pttl(key)
    life = "no end" if left == -1 else f"{round(left / 86_400_000)} days"
    yield f"{kind}, {life}: {_shape(key)}"
    match kind:
        case "string":
            held = [client.get(key)]
        case "hash":
            held = [name + b" = " + value for name, value in sorted(client.hgetall(key).items())]
        case "zset":
            held = sorted(client.zrange(key, 0, -1))
        case _:
            held = client.lrange(key, 0, -1)
    for value in held:
        yield f"    {_shape(value)}"


def _shape(value: bytes) -> str:
    """Return a value without what differs from run to run."""
    text = unpacked(value).decode("utf-8", "backslashreplace")
    text = re.sub(r"@\d+\.\d{6} ", "@<instant> ", text)
    text = re.sub(r" \d{10}(?:\.\d+)?(?= |$)", " <instant>", text)
    text = re.sub(r"(:aside:\d+:)\d+(?=:)", r"\1<nanoseconds>", text)
    text = re.sub(r"[0-9a-f]{64}|(?<=\d )[\w-]{22}(?= )|(?<== )[\w-]{22}$", "<digest>", text)
    text = re.sub(r"(?<==| )[0-9a-f]{16}(?= |$)", "<check>", text)
    return re.sub(r'\{".*', "{…", text, flags=re.DOTALL)
