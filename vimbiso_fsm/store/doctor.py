"""Whether a server keeps what it is given: what to ask it, and what its answers mean.

Pure. `nodes.py` asks the `QUESTIONS`; `examine` says what is wrong and what to do about it; `insist` refuses to go on.
Two levels can be promised of a turn that was answered:

`local`
    It is on this server's disk: the log is forced there before the answer.
`replicated`
    A second server has it. Each forces its log once a second, so only a power cut at both loses anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.errors import StoreUnavailable

Durability: TypeAlias = Literal["local", "replicated"]
"""What a turn that was answered survives: the end of the process and of the power, or of a whole server."""

OLDEST: Final = (7, 0)
"""The first release with all the commands the store sends (SET with NX and GET). Every Valkey calls itself newer."""
MAX_LAG: Final = 10
"""Most seconds of `min-replicas-max-lag`: so long a primary that is cut off goes on taking turns which a failover
throws away. Replicas report once a second, so less than 1 would refuse writes at random, and 0 switches it off."""
FULL: Final = 0.9
"""Share of `maxmemory` from which on there is a warning."""
WAIVER: Final = "unsafe_store=True starts nevertheless, and the audit says so"
"""How to go on against advice, as an error says it."""

_SECTIONS: Final = ("server", "memory", "persistence", "replication")
_SETTINGS: Final = (
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "aof-load-truncated",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "save",
    "stop-writes-on-bgsave-error",
)
QUESTIONS: Final[tuple[tuple[str, ...], ...]] = (
    *(("INFO", section) for section in _SECTIONS),
    *(("CONFIG", "GET", name) for name in _SETTINGS),
)
"""The commands a server is asked, one by one: it may refuse some, and before 7.0 takes one setting at a time."""


@attrs.frozen
class Node:
    """What one server said. `answers`: to `QUESTIONS`, in order, as text or as a client has parsed them; an exception
    stands where one was refused. `replica`: it is expected to be one. `fault`: why it said nothing at all."""

    place: str
    answers: Sequence[Any] = attrs.field(default=(), repr=False)
    replica: bool = False
    fault: str = ""


@attrs.frozen
class Finding:
    """One thing that is not as it should be. `serious`: answered turns can be lost, or none can be taken; else it is
    a warning. `why` and `remedy` are half sentences; a remedy starts with the very command, where one helps."""

    place: str
    setting: str
    found: str
    wanted: str
    why: str
    remedy: str
    serious: bool = True

    def __str__(self) -> str:
        return f"{self.place}: {self.setting} is {self.found}, not {self.wanted}: {self.why}; remedy: {self.remedy}"


class UnsafeStore(StoreUnavailable):
    """The store would lose what it was given. Attributes: `findings`, the serious ones."""

    def __init__(self, findings: tuple[Finding, ...], waiver: str = WAIVER) -> None:
        self.findings = findings
        lines = "".join(f"\n  {finding}" for finding in findings)
        super().__init__(f"it would not keep what it is given ({waiver}):{lines}\nuntil then it is not used")


def examine(nodes: Iterable[Node], durability: Durability) -> tuple[Finding, ...]:
    """What is wrong with these servers, at a level; the serious first."""
    findings = [finding for node in nodes for finding in _examine_one(node, durability)]
    return tuple(sorted(findings, key=lambda finding: not finding.serious))


def insist(findings: Iterable[Finding], waiver: str = WAIVER) -> None:
    """Go on only when nothing serious was found. `waiver`: how to go on all the same, for the message.

    Raises: UnsafeStore.
    """
    serious = tuple(finding for finding in findings if finding.serious)
    if serious:
        raise UnsafeStore(serious, waiver)


# What a server said ------------------------------------------------------------------------------------------


class _Patient:
    """A node's answers by name. What was not answered is "" and remembered in `unseen`."""

    def __init__(self, node: Node) -> None:
        self.place, self.replica = node.place, node.replica
        self.unseen: list[str] = []
        self._info: dict[str, str] = {}
        self._settings: dict[str, str] = {}
        for (kind, *_), answer in zip(QUESTIONS, node.answers, strict=True):
            if not isinstance(answer, Exception):
                (self._info if kind == "INFO" else self._settings).update(_pairs(answer))

    def info(self, name: str) -> str:
        """A field of INFO."""
        return self._info.get(name, "")

    def number(self, name: str) -> int:
        """A field of INFO; 0 when there is none."""
        return _number(self.info(name))

    def setting(self, name: str) -> str:
        """A setting, from INFO where CONFIG is forbidden and INFO has it."""
        found = self._settings.get(name) or self.info(name.replace("-", "_"))
        if name == "appendonly" and not found:
            found = {"1": "yes", "0": "no"}.get(self.info("aof_enabled"), "")
        if not found and name not in self._settings:
            self.unseen.append(name)
        return found

    def is_replica(self) -> bool:
        """Whether it follows another server."""
        return self.info("role") in ("slave", "replica")

    def replicas(self) -> int:
        """How many replicas follow it now."""
        fields = (self.info(f"slave{i}") for i in range(self.number("connected_slaves")))
        return sum("online" in field for field in fields)

    def set(self, name: str, value: str) -> str:
        """How to change a setting."""
        if name in self._settings:
            return f'CONFIG SET {name} {value}, and the line "{name} {value}" in its configuration file'
        return f"set {name} to {value} where this server is administered"

    def finding(
        self,
        setting: str,
        found: str,
        wanted: str,
        why: str,
        remedy: str = "",
        *,
        value: str = "",
        serious: bool = True,
    ) -> Finding:
        """A finding here. `value`: the setting's right one, where `wanted` is not itself one."""
        remedy = remedy or self.set(setting, value or wanted)
        return Finding(self.place, setting, found, wanted, why, remedy, serious)


def _pairs(answer: Any) -> Iterator[tuple[str, str]]:
    """What an answer says, whether or not a client has parsed it."""
    if isinstance(answer, Mapping):
        yield from ((_text(name), _text(value)) for name, value in answer.items())
    elif isinstance(answer, str | bytes):
        lines = (line.partition(":") for line in _text(answer).splitlines())
        yield from ((name, value) for name, colon, value in lines if colon)
    elif isinstance(answer, Sequence):
        yield from zip(map(_text, answer[::2]), map(_text, answer[1::2]), strict=False)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


# What it means -----------------------------------------------------------------------------------------------


def _examine_one(node: Node, durability: Durability) -> Iterator[Finding]:
    if node.fault:
        remedy = "start it, or take it out of the configuration of the others"
        why = "what it would keep is not kept" if not node.replica else "a failover could not turn to it"
        yield Finding(
            node.place, "the server", "silent", "answering", f"{why} ({node.fault})", remedy, not node.replica
        )
        return
    patient = _Patient(node)
    yield from _server(patient)
    yield from _memory(patient)
    yield from _log(patient, durability)
    yield from _replication(patient, durability)
    yield from _unseen(patient)


def _server(patient: _Patient) -> Iterator[Finding]:
    version = patient.info("redis_version")
    major, minor = (*map(_number, version.split(".")), 0, 0)[:2]
    if version and (major, minor) < OLDEST:
        wanted = "{}.{} or newer".format(*OLDEST)
        why = "the store sends commands it does not know"
        yield patient.finding("the version", version, wanted, why, f"install Redis {wanted}, or any Valkey")
    if patient.is_replica() and not patient.replica:
        primary = f"{patient.info('master_host')}:{patient.info('master_port')}"
        why = "nothing can be written to it"
        yield patient.finding("the role", "that of a replica", "that of a primary", why, f"give the URL of {primary}")


def _memory(patient: _Patient) -> Iterator[Finding]:
    policy = patient.setting("maxmemory-policy")
    if policy and policy != "noeviction":
        why = "when memory ends it deletes members instead of refusing a write"
        yield patient.finding("maxmemory-policy", policy, "noeviction", why)
    limit = patient.setting("maxmemory")
    if limit == "0":
        why = "when memory ends the kernel kills the server; with a limit, only writes are refused"
        half = patient.number("total_system_memory") // 2**21  # writing the log anew may take as much again
        remedy = patient.set("maxmemory", f"{half or 1024}mb")
        yield patient.finding("maxmemory", "0", "a limit", why, remedy, serious=False)
    elif limit and patient.number("used_memory") > FULL * _number(limit):
        found = f"{patient.number('used_memory'):,} of {limit} bytes"
        remedy = patient.set("maxmemory", str(2 * _number(limit)))
        why = "soon every write is refused"
        yield patient.finding("used_memory", found, f"under {FULL:.0%} of maxmemory", why, remedy, serious=False)


def _log(patient: _Patient, durability: Durability) -> Iterator[Finding]:
    if patient.setting("appendonly") == "no":
        snapshots = patient.setting("save")
        found = f"no (snapshots only: save {snapshots})" if snapshots else "no"
        yield patient.finding("appendonly", found, "yes", "a restart loses what came since the last snapshot, or all")
    fsync = patient.setting("appendfsync")
    if durability == "local" and fsync not in ("", "always"):
        why = "a power cut loses turns that were answered"
        yield patient.finding("appendfsync", fsync, "always", why)
    elif fsync == "no":
        why = "a power cut at both servers loses half a minute of turns, not a second"
        yield patient.finding("appendfsync", "no", "everysec or always", why, value="everysec")
    if patient.setting("no-appendfsync-on-rewrite") == "yes":
        why = "while the log is written anew, it is not forced to the disk"
        yield patient.finding("no-appendfsync-on-rewrite", "yes", "no", why)
    if patient.info("aof_last_write_status") == "err":
        remedy = "make room on its disk; it goes on by itself"
        why = "it could not write its log and refuses every write"
        yield patient.finding("aof_last_write_status", "err", "ok", why, remedy)
    if patient.info("aof_last_bgrewrite_status") == "err":
        remedy = "see its log for the cause, then BGREWRITEAOF"
        why = "the log could not be written anew, and grows"
        yield patient.finding("aof_last_bgrewrite_status", "err", "ok", why, remedy, serious=False)
    if patient.info("rdb_last_bgsave_status") == "err":
        stops = patient.setting("stop-writes-on-bgsave-error") != "no" and bool(patient.setting("save"))
        remedy = (
            'CONFIG SET save "", and the line \'save ""\' in its configuration file: the log makes snapshots needless'
        )
        why = "its snapshot failed" + (", and it refuses every write" if stops else "")
        yield patient.finding("rdb_last_bgsave_status", "err", "ok", why, remedy, serious=stops)
    if patient.setting("aof-load-truncated") == "no":
        why = (
            "a power cut leaves half a command that nobody was answered for, and the server will not start until "
            "somebody repairs its log"
        )
        yield patient.finding("aof-load-truncated", "no", "yes", why, serious=False)


def _replication(patient: _Patient, durability: Durability) -> Iterator[Finding]:
    """A replica is asked for the same settings as its primary: it takes its place one day."""
    replicas = patient.replicas()
    follows = patient.is_replica()
    if durability == "replicated" and not follows and patient.info("role") and not replicas:
        why = "nobody else has what it holds"
        remedy = "REPLICAOF with this server's host and port, at a server on another machine"
        yield patient.finding("the number of replicas in step", "0", "1 or more", why, remedy)
    least = patient.setting("min-replicas-to-write")
    if durability == "replicated" or follows or replicas:
        why = "cut off from its replicas it goes on taking turns, which a failover throws away"
        if least == "0":
            yield patient.finding("min-replicas-to-write", "0", "1 or more", why, value="1")
        lag = patient.setting("min-replicas-max-lag")
        if lag and not 1 <= _number(lag) <= MAX_LAG:
            wanted = f"1 to {MAX_LAG} seconds"
            yield patient.finding("min-replicas-max-lag", lag, wanted, why, value=str(MAX_LAG))
    elif _number(least) and not follows:
        why = "it refuses every write until replicas follow it"
        yield patient.finding("min-replicas-to-write", least, "0 without replicas", why, value="0")


def _unseen(patient: _Patient) -> Iterator[Finding]:
    if patient.unseen:
        why = "its answers do not say how safe it is"
        remedy = (
            "ACL SETUSER <the user of the URL> +info +config|get; where that cannot be, compare these settings where "
            "the server is administered"
        )
        found = "not allowed, " + ", ".join(patient.unseen) + " not seen"
        yield patient.finding("CONFIG GET or INFO", found, "allowed", why, remedy, serious=False)
