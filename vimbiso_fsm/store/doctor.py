"""The doctor: whether a server keeps what it is given.

The module is pure. `health.py` asks each server the `QUESTIONS`; `examine` judges the answers and says what to do;
`insist` refuses a server that would lose data. A turn that was answered is kept at one of two levels:

`local`
    It is on the server's disk: the log is forced there before the reply.
`replicated`
    It is also on a second server. Each server forces its log once a second, so only a power cut at both loses data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.errors import Finding, UnsafeStore
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.layout import DEFAULT_SPACE, TABLE
from vimbiso_fsm.store.requests import Usage

Durability: TypeAlias = Literal["local", "replicated"]
"""The loss that an answered turn survives: the end of the process and a power cut ("local"), or the loss of a whole
server ("replicated")."""

OLDEST_VERSION: Final = (7, 0)
"""The first release with all commands that the store sends (SET with NX and GET). Every Valkey reports a newer one."""
MAX_REPLICA_LAG: Final = 10
"""Seconds of `min-replicas-max-lag` at most.

For so long a primary that is cut off goes on accepting turns, which a failover discards. Replicas report once a second,
so less than 1 would refuse writes at random; 0 switches the check off.
"""
CLOCK_DIFFERENCE: Final = 60.0
"""Seconds by which the clock of a server may differ from that of the process that asks, without a warning.

Servers that take over from each other must have the same time, and timers and sessions run on the server's.
"""
MEMORY_ALARM: Final = 0.8
"""Share of `maxmemory` from which there is a warning."""
WAIVER: Final = "unsafe_store=True starts nevertheless, and the audit says so"
"""The advice on how to start all the same, as an error gives it."""

_REPLICAS: Final = ("slave", "replica")
"""The roles of a server that follows another one."""
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
RIGHTS: Final = (
    *("del", "eval", "evalsha", "exists", "expireat", "expiretime", "get", "hdel", "hexists", "hget"),
    *("hgetall", "hlen", "hmget", "hset"),
    *(
        "lindex",
        "llen",
        "lrange",
        "ltrim",
        "pexpire",
        "pttl",
        "rename",
        "rpush",
        "set",
        "time",
        "type",
        "unlink",
        "zadd",
        "zcard",
        "zcount",
    ),
    *("zrange", "zrank", "zrem", "zremrangebyrank", "zremrangebyscore", "zscore"),
)
"""The commands that the store sends to any server."""
_MISSING_RIGHTS: Final = """
local missing = {}
for i, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '%S+') do words[#words + 1] = word end
  if not redis.acl_check_cmd(unpack(words)) then missing[#missing + 1] = line end
end
return missing
"""
"""Returns those of the commands in ARGV that its user may not send. It sends none of them."""


def _as_sent(command: str, key: str) -> str:
    """Return a command with a key, as a server would judge it."""
    match command:
        case "time":
            return command
        case "eval" | "evalsha":
            return f"{command} x 1 {key}"
        case "copy" | "rename" | "del" | "unlink" | "exists":  # each of their words is a key
            return f"{command} {key} {key}"
        case _:
            return f"{command} {key} 0 0"


def _samples(space: str) -> tuple[str, ...]:
    """Return a key of each kind in a namespace."""
    words = defaultdict(lambda: "0", space=space)
    return tuple(kind.pattern.format_map(words) for kind in TABLE.values())


def questions(space: str = DEFAULT_SPACE) -> tuple[tuple[str, ...], ...]:
    """Return the commands that a server is asked about itself, and about the rights of the user in a namespace.

    CONFIG GET has one name each, because before 7.0 it takes one only. A server may refuse any of them.

    Args:
        space: The part of every key before the first colon, as `Keys.space`.
    """
    sent = dict.fromkeys(_as_sent(command, key) for command in RIGHTS for key in _samples(space))
    return (
        *(("INFO", section) for section in _SECTIONS),
        *(("CONFIG", "GET", name) for name in _SETTINGS),
        ("EVAL", _MISSING_RIGHTS, "0", *sent),
    )


ABOUT_MEMORY: Final = (("INFO", "memory"), ("INFO", "replication"))
"""The questions about the memory of a server."""
QUESTIONS: Final = questions()
"""The questions about the default namespace."""


@attrs.frozen(eq=False, repr=False)
class Node(Value):
    """The answers of one server.

    Attributes:
        place: Its address.
        answers: The answers to `QUESTIONS`, in order, as text or parsed by a client; an exception for one refused.
        replica: Whether the server is expected to be a replica.
        fault: Why it did not answer at all.
        space: The part before the first colon of the keys that the user's rights were asked for.
        at: The time at which they came, in seconds since the epoch on the clock of the process; None if not known.
    """

    place: str
    answers: Sequence[Any] = attrs.field(default=(), repr=False)
    replica: bool = False
    fault: str = ""
    space: str = DEFAULT_SPACE
    at: float | None = None


def usage_of(nodes: Iterable[Node]) -> tuple[Usage, ...]:
    """Return the memory of each server that takes writes, from its answers to `ABOUT_MEMORY`."""
    found: list[Usage] = []
    for node in nodes:
        info: dict[str, str] = {}
        for answer in node.answers:
            info.update(() if isinstance(answer, Exception) else _pairs(answer))
        if "used_memory" in info and info.get("role") not in _REPLICAS:
            found.append(Usage(node.place, _number(info["used_memory"]), _number(info.get("maxmemory", ""))))
    return tuple(found)


def examine(nodes: Iterable[Node], durability: Durability, *, memory: float = MEMORY_ALARM) -> tuple[Finding, ...]:
    """Judge the answers of servers.

    Args:
        nodes: The answers of each server.
        durability: The level that is promised.
        memory: The share of `maxmemory` from which there is a warning.

    Returns:
        What is wrong, serious findings first.
    """
    findings = [finding for node in nodes for finding in _examine_one(node, durability, memory)]
    return tuple(sorted(findings, key=lambda finding: not finding.serious))


def insist(findings: Iterable[Finding], waiver: str = WAIVER) -> None:
    """Refuse servers with serious findings.

    Args:
        findings: The result of `examine`.
        waiver: How to start all the same, for the message of the error.

    Raises:
        UnsafeStore: A finding is serious.
    """
    serious = tuple(finding for finding in findings if finding.serious)
    if serious:
        raise UnsafeStore(serious, waiver)


# The answers of a server --------------------------------------------------------------------------------------


class _Answers:
    """The answers of one server by name. A setting that was not answered is "" and noted in `unseen`."""

    def __init__(self, node: Node) -> None:
        self.place, self.replica, self.at = node.place, node.replica, node.at
        self.unseen: list[str] = []
        self._info: dict[str, str] = {}
        self._settings: dict[str, str] = {}
        self.space, self._rights = node.space, node.answers[-1]
        for (kind, *_), answer in zip(QUESTIONS[:-1], node.answers[:-1], strict=True):
            if not isinstance(answer, Exception):
                (self._info if kind == "INFO" else self._settings).update(_pairs(answer))

    def info(self, name: str) -> str:
        """Return a field of INFO, or ""."""
        return self._info.get(name, "")

    def number(self, name: str) -> int:
        """Return a numeric field of INFO, or 0."""
        return _number(self.info(name))

    def setting(self, name: str) -> str:
        """Return a setting, from INFO if CONFIG is forbidden and INFO has it."""
        found = self._settings.get(name) or self.info(name.replace("-", "_"))
        if name == "appendonly" and not found:
            found = {"1": "yes", "0": "no"}.get(self.info("aof_enabled"), "")
        if not found and name not in self._settings:
            self.unseen.append(name)
        return found

    def refused_rights(self) -> tuple[list[str], bool]:
        """Return the commands that the user may send for no key, and whether others are refused for some keys."""
        if isinstance(self._rights, Exception):
            return (["eval"] if "'eval'" in str(self._rights) else []), False
        missing = set(map(_text, self._rights)) if isinstance(self._rights, list | tuple) else set[str]()
        sent = {command: {_as_sent(command, key) for key in _samples(self.space)} for command in RIGHTS}
        refused = [command for command in RIGHTS if sent[command] <= missing]
        return refused, any(sent[command] & missing for command in RIGHTS if command not in refused)

    def is_replica(self) -> bool:
        """Return whether the server follows another one."""
        return self.info("role") in _REPLICAS

    def replicas(self) -> int:
        """Return the number of replicas in step."""
        fields = (self.info(f"slave{i}") for i in range(self.number("connected_slaves")))
        return sum("online" in field for field in fields)

    def set(self, name: str, value: str) -> str:
        """Say how to change a setting."""
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
        """Make a finding about this server. `value` is the right value of the setting, if `wanted` is a description."""
        remedy = remedy or self.set(setting, value or wanted)
        return Finding(self.place, setting, found, wanted, why, remedy, serious)


def _pairs(answer: Any) -> Iterator[tuple[str, str]]:
    """Yield the names and values of an answer, parsed by a client or not."""
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


# The judgement ------------------------------------------------------------------------------------------------


def _examine_one(node: Node, durability: Durability, memory: float) -> Iterator[Finding]:
    if node.fault:
        remedy = "start it, or take it out of the configuration of the others"
        why = "its data is not available" if not node.replica else "a failover could not turn to it"
        yield Finding(
            node.place, "the server", "silent", "answering", f"{why} ({node.fault})", remedy, not node.replica
        )
        return
    server = _Answers(node)
    yield from _version_and_role(server)
    yield from _clock(server)
    yield from _memory(server, memory)
    yield from _log(server, durability)
    yield from _replication(server, durability)
    yield from _rights(server)
    yield from _unseen(server)


def _version_and_role(server: _Answers) -> Iterator[Finding]:
    version = server.info("redis_version")
    major, minor = (*map(_number, version.split(".")), 0, 0)[:2]
    if version and (major, minor) < OLDEST_VERSION:
        wanted = "{}.{} or newer".format(*OLDEST_VERSION)
        why = "the store sends commands it does not know"
        yield server.finding("the version", version, wanted, why, f"install Redis {wanted}, or any Valkey")
    if server.is_replica() and not server.replica:
        primary = f"{server.info('master_host')}:{server.info('master_port')}"
        why = "nothing can be written to it"
        yield server.finding("the role", "that of a replica", "that of a primary", why, f"give the URL of {primary}")


def _clock(server: _Answers) -> Iterator[Finding]:
    now = server.number("server_time_usec") / 1e6
    if not now or server.at is None or abs(now - server.at) <= CLOCK_DIFFERENCE:
        return
    found = f"{abs(now - server.at):,.0f} seconds {'ahead of' if now > server.at else 'behind'} this process's"
    why = "one of the two is wrong; timers, sessions and the life of all that is stored run on the server's"
    remedy = "set both by NTP, and let them slew: a step of more than ten days forgets what was handled"
    yield server.finding("the clock", found, "the same", why, remedy, serious=False)


def _memory(server: _Answers, alarm: float) -> Iterator[Finding]:
    policy = server.setting("maxmemory-policy")
    if policy and policy != "noeviction":
        why = "when memory ends it deletes members instead of refusing a write"
        yield server.finding("maxmemory-policy", policy, "noeviction", why)
    limit = server.setting("maxmemory")
    if limit == "0":
        why = "when memory ends the kernel kills the server; with a limit, only writes are refused"
        half = server.number("total_system_memory") // 2**21  # rewriting the log may take as much again
        remedy = server.set("maxmemory", f"{half or 1024}mb")
        yield server.finding("maxmemory", "0", "a limit", why, remedy, serious=False)
    elif limit and server.number("used_memory") >= alarm * _number(limit):
        found = f"{server.number('used_memory'):,} of {limit} bytes"
        remedy = server.set("maxmemory", str(2 * _number(limit)))
        why = "at the limit every write is refused, and members are told to try again"
        yield server.finding("used_memory", found, f"under {alarm:.0%} of maxmemory", why, remedy, serious=False)


def _log(server: _Answers, durability: Durability) -> Iterator[Finding]:
    if server.setting("appendonly") == "no":
        snapshots = server.setting("save")
        found = f"no (snapshots only: save {snapshots})" if snapshots else "no"
        yield server.finding("appendonly", found, "yes", "a restart loses what came since the last snapshot, or all")
    fsync = server.setting("appendfsync")
    if durability == "local" and fsync not in ("", "always"):
        why = "a power cut loses turns that were answered"
        yield server.finding("appendfsync", fsync, "always", why)
    elif fsync == "no":
        why = "a power cut at both servers loses half a minute of turns, not a second"
        yield server.finding("appendfsync", "no", "everysec or always", why, value="everysec")
    if server.setting("no-appendfsync-on-rewrite") == "yes":
        why = "while the log is written anew, it is not forced to the disk"
        yield server.finding("no-appendfsync-on-rewrite", "yes", "no", why)
    if server.info("aof_last_write_status") == "err":
        remedy = "make room on its disk; it goes on by itself"
        why = "it could not write its log and refuses every write"
        yield server.finding("aof_last_write_status", "err", "ok", why, remedy)
    if server.info("aof_last_bgrewrite_status") == "err":
        remedy = "see its log for the cause, then BGREWRITEAOF"
        why = "the log could not be written anew, and grows"
        yield server.finding("aof_last_bgrewrite_status", "err", "ok", why, remedy, serious=False)
    if server.info("rdb_last_bgsave_status") == "err":
        stops = server.setting("stop-writes-on-bgsave-error") != "no" and bool(server.setting("save"))
        remedy = (
            'CONFIG SET save "", and the line \'save ""\' in its configuration file: the log makes snapshots needless'
        )
        why = "its snapshot failed" + (", and it refuses every write" if stops else "")
        yield server.finding("rdb_last_bgsave_status", "err", "ok", why, remedy, serious=stops)
    if server.setting("aof-load-truncated") == "no":
        why = (
            "a power cut leaves half a command, which was not answered, and the server does not start until its log is "
            "repaired"
        )
        yield server.finding("aof-load-truncated", "no", "yes", why, serious=False)


def _replication(server: _Answers, durability: Durability) -> Iterator[Finding]:
    """Judge replication. A replica needs the same settings as its primary, because it may take its place."""
    replicas = server.replicas()
    follows = server.is_replica()
    if durability == "replicated" and not follows and server.info("role") and not replicas:
        why = "no other server has its data"
        remedy = "REPLICAOF with this server's host and port, at a server on another machine"
        yield server.finding("the number of replicas in step", "0", "1 or more", why, remedy)
    least = server.setting("min-replicas-to-write")
    if durability == "replicated" or follows or replicas:
        why = "cut off from its replicas it goes on taking turns, which a failover throws away"
        if least == "0":
            yield server.finding("min-replicas-to-write", "0", "1 or more", why, value="1")
        lag = server.setting("min-replicas-max-lag")
        if lag and not 1 <= _number(lag) <= MAX_REPLICA_LAG:
            wanted = f"1 to {MAX_REPLICA_LAG} seconds"
            yield server.finding("min-replicas-max-lag", lag, wanted, why, value=str(MAX_REPLICA_LAG))
    elif _number(least) and not follows:
        why = "it refuses every write until replicas follow it"
        yield server.finding("min-replicas-to-write", least, "0 without replicas", why, value="0")


def _rights(server: _Answers) -> Iterator[Finding]:
    """Judge the rights of the user. A server that cannot tell them is too old, or a service that allows no EVAL.

    A command is refused for lack of the command or of the keys, and the server does not say of which, so the remedy
    grants both.
    """
    refused, some_keys = server.refused_rights()
    if not (refused or some_keys):
        return
    keys, rights = f"~{server.space}:*", " ".join(f"+{command}" for command in refused)
    found = f"without {rights} on {keys}" if refused else f"without some keys of {keys}"
    remedy = " ".join(["ACL SETUSER <the user of the URL>", keys, *([rights] if rights else [])])
    why = "the store sends these commands, and turns fail"
    yield server.finding("the user", found, "one with these rights", why, remedy)


def _unseen(server: _Answers) -> Iterator[Finding]:
    if server.unseen:
        why = "its answers do not say how safe it is"
        remedy = (
            "ACL SETUSER <the user of the URL> +info +config|get; where that cannot be, compare these settings where "
            "the server is administered"
        )
        found = "not allowed, " + ", ".join(server.unseen) + " not seen"
        yield server.finding("CONFIG GET or INFO", found, "allowed", why, remedy, serious=False)
