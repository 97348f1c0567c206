"""The doctor: its findings, its questions to real servers, and the page about servers."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError

from tests.cli_runs import fresh_flows, invoke, wait_until
from tests.engines import Server, free_port, redis_program, running, valkey_program
from vimbiso_fsm import Channel, FlowStateManager, Message
from vimbiso_fsm.cli.doctor import LEVELS
from vimbiso_fsm.errors import Finding, NotAnswered, StoreUnavailable, UnsafeStore
from vimbiso_fsm.store.doctor import QUESTIONS, RIGHTS, Durability, Node, examine, insist
from vimbiso_fsm.store.health import ask_nodes_awaited, ask_url
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Committed, Entry, ReadOwner, digest
from vimbiso_fsm.store.script import SCRIPT
from vimbiso_fsm.store.servers import async_servers_at
from vimbiso_fsm.testing.store_contract import (
    LAWS,
    check_store,
    law_a_member_is_freed_of_all_channels,
    law_a_scan_finds_every_member,
    law_the_parts_of_a_scan_find_every_document,
)

PROGRAMS = [
    pytest.param(valkey_program, marks=pytest.mark.embedded, id="valkey"),
    pytest.param(redis_program, marks=pytest.mark.redis, id="redis"),
]
LIMITS: dict[str, Any] = {"timeout": 2.0, "connect_timeout": 1.0, "connections": 1}

OF_AN_OPERATOR = (
    law_a_scan_finds_every_member,
    law_the_parts_of_a_scan_find_every_document,
    law_a_member_is_freed_of_all_channels,
)
LAWS_OF_A_BOT = [law for law in LAWS if law not in OF_AN_OPERATOR]
"""A bot has no right to list keys; an operator has."""


# What it makes of answers --------------------------------------------------------------------------------------------

HEALTHY = {
    "redis_version": "7.2.4",
    "role": "master",
    "connected_slaves": "0",
    "maxmemory": "1000000",
    "maxmemory_policy": "noeviction",
    "used_memory": "1000",
    "total_system_memory": str(2**33),
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
}
SET = {
    "maxmemory": "1000000",
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "aof-load-truncated": "yes",
    "min-replicas-to-write": "0",
    "min-replicas-max-lag": "10",
    "save": "",
    "stop-writes-on-bgsave-error": "yes",
}
FOLLOWED = {"connected_slaves": "1", "slave0": "ip=10.0.0.2,port=6379,state=online,offset=9,lag=0"}
FORBIDDEN = NoPermissionError("User bot has no permissions to run the 'config|get' command")


def node(*, replica: Any = False, forbidden: Any = False, **changed: Any) -> Node:
    """Return the answers of a healthy server with `changed` fields of INFO and settings, with _ for -."""
    settings = {name: changed.pop(name.replace("-", "_"), value) for name, value in SET.items()}
    info = {**HEALTHY, "maxmemory_policy": settings["maxmemory-policy"], "maxmemory": settings["maxmemory"], **changed}
    said = "# All\r\n" + "".join(f"{name}:{value}\r\n" for name, value in info.items())
    answers: list[Any] = []
    for kind, *words in QUESTIONS:
        if kind == "INFO":
            answers.append(said.encode())
        elif kind == "EVAL":
            answers.append([])
        else:
            answers.append(FORBIDDEN if forbidden else [words[-1].encode(), settings[words[-1]].encode()])
    return Node("db:6379", answers, replica)


def serious(findings: tuple[Finding, ...]) -> set[str]:
    """Return the settings of the serious findings."""
    return {finding.setting for finding in findings if finding.serious}


def warned(findings: tuple[Finding, ...]) -> set[str]:
    """Return the settings of the warnings."""
    return {finding.setting for finding in findings if not finding.serious}


REPLICATED = {**FOLLOWED, "appendfsync": "everysec", "min_replicas_to_write": "1"}
"""The settings of a primary of that level that differ from those of a healthy server."""


def test_nothing_is_found_where_all_is_well():
    """A server with the recommended settings has no finding at its level."""
    assert examine([node()], "local") == ()
    assert examine([node(**REPLICATED)], "replicated") == ()


@pytest.mark.parametrize(
    ("ahead", "found"), [(9 * 86_400, "777,600 seconds ahead of"), (-61, "61 seconds behind"), (60, "")]
)
def test_a_clock_that_differs_is_named(ahead: float, found: str):
    """A server whose clock differs by more than a minute has a warning with the difference."""
    server = attrs.evolve(node(server_time_usec=str(round((1.8e9 + ahead) * 1e6))), at=1.8e9)
    findings = examine([server], "local")
    assert [finding.found for finding in findings] == ([f"{found} this process's"] if found else [])
    assert warned(findings) == ({"the clock"} if found else set())


_ODD: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.just(FORBIDDEN)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


@given(st.data())
def test_answers_that_make_no_sense_are_judged(data: st.DataObject):
    """Whatever a server answers, in place of any of its answers, the doctor returns findings."""
    server = node()
    answers = [*server.answers]
    for place in data.draw(st.sets(st.integers(0, len(answers) - 1), min_size=1)):
        answers[place] = data.draw(_ODD)
    assert all(isinstance(found, Finding) for found in examine([Node("db", answers, at=1.8e9)], "replicated"))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("maxmemory-policy", {"maxmemory_policy": "allkeys-lru"}),
        ("maxmemory-policy", {"maxmemory_policy": "volatile-ttl"}),
        ("appendonly", {"appendonly": "no"}),
        ("appendfsync", {"appendfsync": "no"}),
        ("no-appendfsync-on-rewrite", {"no_appendfsync_on_rewrite": "yes"}),
        ("min-replicas-to-write", {"min_replicas_to_write": "0"}),
        ("min-replicas-max-lag", {"min_replicas_max_lag": "0"}),
        ("min-replicas-max-lag", {"min_replicas_max_lag": "60"}),
        ("aof_last_write_status", {"aof_last_write_status": "err"}),
        ("rdb_last_bgsave_status", {"rdb_last_bgsave_status": "err", "save": "60 1"}),
        ("the version", {"redis_version": "6.2.14"}),
        ("the role", {"role": "slave", "master_host": "db0", "master_port": "6380"}),
    ],
)
def test_findings_that_are_serious_at_both_levels(level: Durability, setting: str, changed: dict[str, str]):
    """Each of these settings and states is serious at both levels."""
    basis = REPLICATED if level == "replicated" else {**FOLLOWED, "min_replicas_to_write": "1"}
    findings = examine([node(**{**basis, **changed})], level)
    assert serious(findings) == {setting}


def test_fsync_once_a_second_is_enough_with_a_replica_alone():
    """`appendfsync everysec` is serious at "local" and accepted at "replicated"."""
    assert serious(examine([node(appendfsync="everysec")], "local")) == {"appendfsync"}
    assert serious(examine([node(**{**REPLICATED, "appendfsync": "always"})], "replicated")) == set()


def test_a_replica_must_be_in_step():
    """A replica that is still synchronising, or a missing one, is serious at "replicated"."""
    behind = {**REPLICATED, "slave0": FOLLOWED["slave0"].replace("online", "wait_bgsave")}
    assert serious(examine([node(**behind)], "replicated")) == {"the number of replicas in step"}
    assert serious(examine([node(appendfsync="everysec")], "replicated")) == {
        "the number of replicas in step",
        "min-replicas-to-write",
    }


def test_alone_a_server_must_not_wait_for_replicas():
    """`min-replicas-to-write` on a server without replicas is serious: it refuses every write."""
    assert serious(examine([node(min_replicas_to_write="1")], "local")) == {"min-replicas-to-write"}


def test_a_replica_is_judged_as_the_primary_it_will_be():
    """A replica needs the same settings as its primary."""
    follower = {"role": "slave", "maxmemory_policy": "allkeys-lru", "appendonly": "no"}
    found = examine([node(replica=True, **follower)], "replicated")
    assert serious(found) == {"maxmemory-policy", "appendonly", "min-replicas-to-write"}


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("maxmemory", {"maxmemory": "0"}),
        ("used_memory", {"used_memory": "950000"}),
        ("aof_last_bgrewrite_status", {"aof_last_bgrewrite_status": "err"}),
        ("rdb_last_bgsave_status", {"rdb_last_bgsave_status": "err"}),
        ("aof-load-truncated", {"aof_load_truncated": "no"}),
    ],
)
def test_findings_that_are_warnings(setting: str, changed: dict[str, str]):
    """A state that loses no answered turn is a warning, and the server is accepted."""
    findings = examine([node(**changed)], "local")
    assert (serious(findings), warned(findings)) == (set(), {setting})
    insist(findings)


def test_info_is_used_without_the_right_to_config():
    """Without the right to CONFIG, INFO is used, and the remedy for the rest is no command that is forbidden too."""
    assert warned(examine([node(forbidden=True)], "local")) == {"CONFIG GET or INFO"}
    found = examine([node(forbidden=True, aof_enabled="0", maxmemory_policy="allkeys-lru")], "local")
    assert serious(found) == {"appendonly", "maxmemory-policy"}
    assert [finding.remedy for finding in found if finding.serious] == [
        "set maxmemory-policy to noeviction where this server is administered",
        "set appendonly to yes where this server is administered",
    ]
    assert "appendfsync" in found[-1].found
    assert "appendonly" not in found[-1].found


def test_a_server_that_says_nothing_of_itself_is_warned_of():
    """A server that refuses every question has one warning."""
    found = examine([Node("db:6379", [FORBIDDEN] * len(QUESTIONS))], "replicated")
    assert (serious(found), warned(found)) == (set(), {"CONFIG GET or INFO"})


@pytest.mark.parametrize("replica", [False, True])
def test_a_silent_server(replica: bool):
    """A silent primary of a cluster is serious, and a silent replica is a warning."""
    (found,) = examine([Node("db:6379", (), replica, "Timeout")], "local")
    assert (found.setting, found.serious) == ("the server", not replica)


def test_the_serious_come_first():
    """Serious findings of all servers come before warnings."""
    found = examine([node(maxmemory="0", appendonly="no"), node(maxmemory="0", appendonly="no")], "local")
    assert [finding.serious for finding in found] == [True, True, False, False]


def test_answers_may_have_been_parsed_by_a_client():
    """Answers are read as bytes or text, and as lists or mappings."""
    raw = node(**REPLICATED).answers
    info: Any = {**HEALTHY, **REPLICATED, "connected_slaves": 1, "slave0": {"state": "online", "port": 6379}}
    parsed: list[Any] = [info if isinstance(answer, bytes) else {answer[0].decode(): answer[1]} for answer in raw[:-1]]
    parsed.append([])
    assert examine([Node("db:6379", parsed)], "replicated") == ()


def test_the_error_holds_every_serious_finding():
    """The error holds every serious finding and the waiver."""
    found = examine([node(appendonly="no", appendfsync="no")], "local")
    with pytest.raises(UnsafeStore) as error:
        insist(found, "say please")
    assert isinstance(error.value, StoreUnavailable)
    assert error.value.findings == found
    assert all(str(finding) in str(error.value) for finding in found)
    assert "(say please)" in str(error.value)


def test_a_finding_is_one_plain_line():
    """A finding is one line with the place, the setting, the reason and the remedy."""
    (found,) = examine([node(appendfsync="everysec")], "local")
    assert str(found) == (
        "db:6379: appendfsync is everysec, not always: a power cut loses turns that were answered; remedy: "
        'CONFIG SET appendfsync always, and the line "appendfsync always" in its configuration file'
    )


# What it asks real servers -------------------------------------------------------------------------------------------


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """Return the program of the server."""
    found: str = request.param()
    return found


def check_remedies(server: Server, level: Durability) -> None:
    """Follow the remedy of each finding, until none is serious."""
    with server.client() as client:
        for finding in examine(ask_url(server.url), level):
            command = re.match(r"CONFIG SET (\S+) (\S+),", finding.remedy)
            assert command, str(finding)
            client.config_set(command[1], command[2])
    assert examine(ask_url(server.url), level) == ()


def test_remedies_help(program: str):
    """On real servers each remedy removes its finding."""
    options = ("--maxmemory-policy", "allkeys-lru", "--no-appendfsync-on-rewrite", "yes", "--aof-load-truncated", "no")
    with running(program, *options) as server:
        found = examine(ask_url(server.url), "local")
        assert serious(found) == {"maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite"}
        assert warned(found) == {"maxmemory", "aof-load-truncated"}
        check_remedies(server, "local")


def test_a_pair(program: str):
    """Primary and replica both need `min-replicas-to-write`, and the URL of the replica is refused."""
    port = free_port()
    safe = ("--appendonly", "yes", "--maxmemory", "1gb", "--repl-diskless-sync-delay", "0")
    with (
        running(program, *safe, port=port) as primary,
        running(program, *safe, "--replicaof", f"127.0.0.1 {port}") as replica,
    ):
        wait_until(lambda: "the number of replicas in step" not in serious(examine(ask_url(primary.url), "replicated")))
        assert serious(examine(ask_url(primary.url), "local")) == {"appendfsync", "min-replicas-to-write"}
        check_remedies(primary, "replicated")
        found = examine(ask_url(replica.url), "replicated")
        assert serious(found) == {"the role", "min-replicas-to-write"}
        assert f"give the URL of 127.0.0.1:{port}" in {finding.remedy for finding in found}


def test_a_user_who_may_not_see_the_configuration(program: str):
    """Without the right to CONFIG or INFO there are warnings, and no error."""
    with running(program, "--appendonly", "yes") as server, server.client() as client:
        client.execute_command("ACL", "SETUSER", "bot", "on", ">secret", "+info")
        url = f"{server.url.replace('unix://', 'unix://bot:secret@')}"
        assert warned(examine(ask_url(url), "local")) == {"maxmemory", "CONFIG GET or INFO"}
        client.execute_command("ACL", "SETUSER", "bot", "-info")
        assert warned(examine(ask_url(url), "local")) == {"CONFIG GET or INFO"}


def ask_awaited(url: str) -> tuple[Node, ...]:
    """Ask the servers at a URL through the async client."""

    async def ask() -> tuple[Node, ...]:
        servers = async_servers_at(url, **LIMITS)
        try:
            return await ask_nodes_awaited(servers)
        finally:
            await servers.close()

    return asyncio.run(ask())


def test_asking_is_the_same_awaited(program: str):
    """The async way of asking has the same findings."""
    with running(program) as server:
        assert examine(ask_awaited(server.url), "local") == examine(ask_url(server.url), "local") != ()


@pytest.mark.parametrize("ask", [ask_url, ask_awaited])
@pytest.mark.parametrize(
    "kind", ["redis://127.0.0.1:{}", "redis+cluster://127.0.0.1:{}", "redis+sentinel://127.0.0.1:{}/x"]
)
def test_no_server_answers(ask: Callable[[str], object], kind: str):
    """If no server answers, the error is `StoreUnavailable` and names the place."""
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1|the cluster|the master of x"):
        ask(kind.format(free_port()))


@attrs.frozen
class OneShard:
    """The primary of a cluster, which has all slots, and its replica. Both have the bot's user of the page."""

    primary: Server
    replica: Server

    @property
    def url(self) -> str:
        return f"redis+cluster://bot:secret@127.0.0.1:{self.primary.port}"


def plain(server: Server) -> Any:
    """Return a client. redis-py has types for few of the commands that are sent here."""
    return server.client()


@pytest.fixture
def shard(program: str) -> Generator[OneShard, None, None]:
    """Start a cluster of one shard: a primary and a replica, with a user of the bot's rights."""
    rights = [f"+{command}" for command in granted("bot")]
    with ExitStack() as closing:
        servers = [closing.enter_context(running(program, "--cluster-enabled", "yes", port=free_port())) for _ in "ab"]
        primary, replica = (closing.enter_context(plain(server)) for server in servers)
        for client in (primary, replica):
            client.execute_command("ACL", "SETUSER", "bot", "on", ">secret", "~vimbiso:*", *rights)
            client.config_set("repl-diskless-sync-delay", 0)
        primary.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        replica.execute_command("CLUSTER MEET", "127.0.0.1", servers[0].port)
        name = primary.execute_command("CLUSTER MYID").decode()

        def follows() -> bool:
            with suppress(redis.ResponseError):  # it has not heard of the other yet
                return bool(replica.execute_command("CLUSTER REPLICATE", name))
            return False

        def wrote() -> bool:
            with suppress(redis.ResponseError):  # it does not serve yet
                return bool(primary.set("k", "x"))  # a replica that has nothing is not told of
            return False

        wait_until(follows)
        wait_until(wrote)
        wait_until(lambda: str(servers[1].port) in str(primary.execute_command("CLUSTER SLOTS")))
        wait_until(lambda: "online" in str(primary.info("replication").get("slave0")))
        yield OneShard(*servers)
        assert refused_to_bots(primary) == set()


def test_every_node_of_a_cluster_is_asked(shard: OneShard):
    """Each node of a cluster is asked, and a silent one is named."""
    places = [f"127.0.0.1:{server.port}" for server in (shard.primary, shard.replica)]
    for ask in (ask_url, ask_awaited):
        nodes = ask(shard.url)
        assert [(node.place, node.replica) for node in nodes] == list(zip(places, (False, True), strict=True))
        assert {(finding.place, finding.setting) for finding in examine(nodes, "replicated") if finding.serious} == {
            (place, setting) for place in places for setting in ("appendonly", "min-replicas-to-write")
        }
    shard.replica.process.kill()
    shard.replica.process.wait()
    for ask in (ask_url, ask_awaited):
        assert [node.place for node in ask(shard.url) if node.fault] == places[1:]


def test_the_bots_rights_are_enough_in_a_cluster(shard: OneShard):
    """Every rule of the store holds in a cluster with the rights of the page."""
    check_store(lambda: AtomicStateManager.from_url(shard.url), LAWS_OF_A_BOT)


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_prints_each_finding_with_its_remedy(program: str):
    """`vimbiso doctor` prints each finding with its remedy."""
    with running(program) as server, server.client() as client:
        code, out, err = invoke("doctor", "--redis", server.url)
        assert (code, err) == (1, "")
        *findings, sum_ = out.splitlines()
        assert [line.split(":")[0] for line in findings] == ["refused", "refused", "warning"]
        assert all("; remedy: CONFIG SET " in line for line in findings)
        assert sum_ == f"local: asked {server.url}; refused 2, warnings 1"
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
        code, out, err = invoke("doctor", "--redis", server.url)
        assert (code, err) == (0, "")
        assert out.startswith("warning: ")
        assert invoke("doctor", "--redis", server.url, "--durability", "replicated")[0] == 1


def test_the_command_says_no_password(program: str, monkeypatch: pytest.MonkeyPatch):
    """`vimbiso doctor` prints no password of the URL."""

    def examined(url: str) -> tuple[int, str, str]:
        monkeypatch.setenv("VIMBISO_REDIS", url)
        return invoke("doctor")

    port = free_port()
    for kind in ("redis", "redis+cluster", "redis+sentinel", "http"):
        code, out, err = examined(f"{kind}://bot:sesame@127.0.0.1:{port}/{'x' * (kind == 'redis+sentinel')}")
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
        assert "sesame" not in err
    with running(program, port=port) as server:
        server_says = examined(f"redis://bot:sesame@127.0.0.1:{port}")
        assert server_says[:2] == (1, "")
        assert "sesame" not in server_says[2]
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "bot", "on", ">sesame", "+info", "+config|get")
        code, out, err = examined(f"redis://bot:sesame@127.0.0.1:{port}")
        assert (code, err) == (1, "")
        assert "sesame" not in out


def test_a_level_there_is_not():
    """`vimbiso doctor` refuses an unknown level."""
    code, _, err = invoke("doctor", "--redis", "redis://x", "--durability", "eternal")
    assert code == 2
    assert "give local or replicated" in err


# The page on servers -------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "run-redis.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))


def block(mark: str) -> str:
    """Return the commands after a mark of the page."""
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found, mark
    return found[1]


@attrs.frozen
class Folder:
    """A copy of the page's folder. `ports`: the ports that replace those of the page."""

    path: Path
    ports: dict[str, int]

    def here(self, text: str) -> str:
        """Return a text of the page with the paths and ports of this folder."""
        text = text.replace("/etc/vimbiso", str(self.path)).replace("/var/lib/vimbiso", str(self.path / "data"))
        for port, ours in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(ours), text)
        return text

    def password(self, user: str) -> str:
        return (self.path / f"{user}.password").read_text().strip()

    def sh(self, commands: str) -> tuple[int, str]:
        """Run commands of the page; return the exit code and the output."""
        vimbiso = f'vimbiso() {{ "{sys.executable}" -m vimbiso_fsm.cli "$@"; }}\n'
        done = subprocess.run(
            ["sh", "-eu", "-c", vimbiso + self.here(commands)],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def client(self, user: str, port: int | None = None) -> Any:
        """Return a client of one server, over TLS."""
        tls: Any = {"ssl": True, "ssl_ca_certs": str(self.path / "ca.crt"), "protocol": 2}
        return redis.Redis("localhost", port or self.ports["6379"], username=user, password=self.password(user), **tls)

    @contextmanager
    def serving(self, *command: str) -> Generator[subprocess.Popen[bytes], None, None]:
        with (self.path / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.path, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def answers(self, process: subprocess.Popen[bytes], client: Any) -> None:
        """Wait until a server replies."""

        def answered() -> bool:
            assert process.poll() is None, (self.path / "log").read_text()
            with suppress(redis.ConnectionError), client:
                return client.ping() is True
            return False

        wait_until(answered)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Make the files of the page, with passwords and certificates as it describes."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl")
    found = Folder(tmp_path, {"6379": free_port(), "26379": free_port()})
    (tmp_path / "data").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(found.here(text))
    code, out = found.sh(block("run"))
    assert code == 0, out
    assert not re.search("_OF_", "".join((tmp_path / name).read_text() for name in FILES))
    return found


def tls_program() -> str:
    """Return a server program with TLS; skip the test without one."""
    program = redis_program()
    if "libssl" not in subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout:
        pytest.skip("this redis-server does not speak TLS")
    return program


def talk(url: str, patch: pytest.MonkeyPatch) -> list[str]:
    """Make a few turns, and return the result of each."""
    package, _ = fresh_flows(patch)
    with FlowStateManager.from_url(url, flows=package) as manager:
        words = enumerate(("hi", "become_member", "Emmy", "Noether", "yes", "menu"))
        channel = Channel("whatsapp", "263771000001")
        return [manager.handle(Message(channel=channel, id=f"m{i}", text=word)).status for i, word in words]


def granted(user: str) -> set[str]:
    """Return the commands that the page grants to a user."""
    line = next(line for line in FILES["users.acl"].splitlines() if line.startswith(f"user {user} "))
    return {word[1:] for word in line.split() if word.startswith("+")}


def refused_to_bots(admin: Any) -> set[str]:
    """Return the commands that a server has refused to a user for lack of rights."""
    return {entry["object"] for entry in admin.acl_log()} - {"client|setinfo"}  # the client's name: it goes on without


def check_rights(admin: Any) -> None:
    """Check that no command was refused, and that all rights were used.

    Rights for damage, clusters, replicas and documents of layout 1 are not.
    """
    assert refused_to_bots(admin) == set()
    used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert granted("bot") - used <= {"rename", "hlen", "wait", "cluster|slots", "command", "asking"}


def test_the_pages_rights_are_those_of_the_script():
    """The page grants exactly the commands that the script, the client and the doctor send."""
    called = {command.lower() for command in re.findall(r"\bcall\('([A-Z]+)'", SCRIPT.decode())}
    client = {"evalsha", "eval", "get", "set", "wait", "info", "config|get", "cluster|slots", "command", "asking"}
    assert granted("bot") == called | client
    assert granted("bot") == {*RIGHTS, "wait", "info", "config|get", "cluster|slots", "command", "asking"}


@contextmanager
def as_bot(program: str, *rights: str) -> Generator[tuple[str, Any]]:
    """Start a server whose user of the bot has some rights; return the user's URL, and a client with all rights."""
    safe = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "1gb")
    with running(program, *safe) as server, server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "bot", "on", ">secret", *rights)
        yield server.url.replace("unix://", "unix://bot:secret@"), admin


LEAST = tuple(f"+{command}" for command in granted("bot"))


@pytest.mark.parametrize("namespace", ["", "bank"])
def test_the_rights_of_the_page_are_enough_in_a_namespace_and_end_there(program: str, namespace: str):
    """With the page's rights on the pattern of a namespace every law holds, and no other namespace can be reached."""
    with as_bot(program, Keys(namespace).acl_pattern, *LEAST) as (url, admin):
        check_store(lambda: AtomicStateManager.from_url(url, namespace=namespace), LAWS_OF_A_BOT)
        assert examine(ask_url(url, Keys(namespace).space), "local") == ()
        assert refused_to_bots(admin) == set()
        for other in {"", "bank", "bank2", "ban"} - {namespace}:
            before = admin.dbsize()
            with AtomicStateManager.from_url(url, namespace=other) as store, pytest.raises(StoreUnavailable):
                store.perform(ReadOwner())
            assert admin.dbsize() == before
            key = Keys(other).one("owner")
            with redis.Redis.from_url(url) as bot, pytest.raises(NoPermissionError):
                bot.eval("return redis.call('GET', KEYS[1])", 1, key)
            (found,) = examine(ask_url(url, Keys(other).space), "local")
            assert (found.setting, found.serious) == ("the user", True)
            assert found.remedy.startswith(f"ACL SETUSER <the user of the URL> {Keys(other).acl_pattern}")


@pytest.mark.parametrize("right", RIGHTS)
def test_a_right_that_is_missing_is_named(program: str, right: str):
    """The doctor names a command that the user may not send, and its remedy, followed, ends the finding."""
    with as_bot(program, "~vimbiso:*", *LEAST, f"-{right}") as (url, admin):
        (found,) = examine(ask_url(url), "local")
        assert (found.found, found.serious) == (f"without +{right} on ~vimbiso:*", True)
        admin.execute_command(*found.remedy.replace("<the user of the URL>", "bot").split())
        assert examine(ask_url(url), "local") == ()


@pytest.mark.parametrize("pattern", ["~vimbiso:{*", "~vimbiso:*:member:*", "%R~vimbiso:*"])
def test_a_pattern_that_is_too_narrow_is_named(program: str, pattern: str):
    """A pattern without some of the keys, or that allows reading alone, is serious, and its remedy ends the finding."""
    with as_bot(program, pattern, *LEAST) as (url, admin):
        (found,) = examine(ask_url(url), "local")
        assert "~vimbiso:*" in found.found
        admin.execute_command(*found.remedy.replace("<the user of the URL>", "bot").split())
        assert examine(ask_url(url), "local") == ()


@pytest.mark.redis
def test_the_page_with_tls(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """One server at the level `local`: turns, all laws of the store, the doctor's output; nothing is refused."""
    with folder.serving(tls_program(), str(folder.path / "vimbiso.conf")) as process, folder.client("admin") as admin:
        folder.answers(process, admin)
        secret = folder.password("bot")
        url = f"rediss://bot:{secret}@localhost:{folder.ports['6379']}/0?ssl_ca_certs={folder.path}/ca.crt"
        assert talk(url, monkeypatch)[-1] == "advanced"
        check_store(lambda: AtomicStateManager.from_url(url), LAWS_OF_A_BOT)
        shown = re.search(r"<!-- doctor: local -->.*?```text\n(.*?)```", PAGE, re.DOTALL)
        assert shown
        assert folder.sh(block("doctor: local")) == (0, folder.here(shown[1]))
        check_rights(admin)
        if shutil.which("redis-cli"):
            code, out = folder.sh(block("prints"))
            assert code == 0, out
            assert "hash" in out
        with folder.client("bot") as bot, pytest.raises(NoPermissionError):
            bot.flushall()
        with pytest.raises(StoreUnavailable):
            ask_url(url.replace("rediss", "redis").partition("?")[0])


@pytest.mark.embedded
def test_the_page_without_tls(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """The page holds on a Valkey server without TLS."""
    port = folder.ports["6379"]
    conf = re.sub("^tls-.*\n", "", (folder.path / "vimbiso.conf").read_text(), flags=re.MULTILINE)
    (folder.path / "plain.conf").write_text(conf.replace("port 0", f"port {port}"))
    with (
        folder.serving(valkey_program(), str(folder.path / "plain.conf")) as process,
        redis.Redis("localhost", port, username="admin", password=folder.password("admin"), protocol=2) as admin,
    ):
        folder.answers(process, admin)
        url = f"redis://bot:{folder.password('bot')}@localhost:{port}"
        assert talk(url, monkeypatch)[-1] == "advanced"
        check_store(lambda: AtomicStateManager.from_url(url), LAWS_OF_A_BOT)
        assert examine(ask_url(url), "local") == ()
        check_rights(admin)
        assert admin.acl_log() == []


@pytest.mark.redis
def test_the_page_with_replicas_and_a_sentinel(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """At the level `replicated` the doctor asks all three servers, and turns go on after the primary is lost."""
    program, primary = tls_program(), folder.ports["6379"]
    configuration = str(folder.path / "replicated.conf")
    sentinel = folder.path / "sentinel.conf"
    sooner = sentinel.read_text().replace(f"{primary} 2", f"{primary} 1").replace("5000", "500")
    sentinel.write_text(sooner)
    with ExitStack() as closing:
        first = closing.enter_context(folder.serving(program, configuration))
        folder.answers(first, folder.client("admin"))
        for number in (1, 2):
            (folder.path / f"data{number}").mkdir()
            port = free_port()
            words = ("--replicaof", "localhost", str(primary), "--tls-port", str(port))
            data = str(folder.path / f"data{number}")
            replica = closing.enter_context(folder.serving(program, configuration, *words, "--dir", data))
            folder.answers(replica, folder.client("admin", port))
        with folder.client("admin") as admin:
            wait_until(lambda: "online" in str(admin.info("replication").get("slave1")))
        closing.enter_context(folder.serving(program, str(sentinel), "--sentinel"))
        url = (
            f"rediss+sentinel://bot:{folder.password('bot')}@localhost:{folder.ports['26379']}/vimbiso"
            f"?ssl_ca_certs={folder.path}/ca.crt&sentinel_password={folder.password('asking')}"
        )

        def found() -> bool:
            with suppress(StoreUnavailable):
                return len(ask_url(url)) == 3
            return False

        wait_until(found)
        code, out = folder.sh(block("doctor: replicated"))
        assert code == 0, out
        assert re.fullmatch(f"replicated: asked localhost:{primary}, (\\S+, )\\S+; refused 0, warnings 0\n", out)
        assert ask_awaited(url)[0].place == f"localhost:{primary}"
        assert talk(url, monkeypatch)[-1] == "advanced"
        with AtomicStateManager.from_url(url, durability="replicated") as store:
            body = b"1"
            entry = Entry(1, digest(body), body)
            made = store.commit(Commit("m", NO_HEAD, "t", "t", "said", b"{}", entry, b"record"))
            assert isinstance(made, Committed)
            assert made.confirmed
        with folder.client("admin") as admin:
            assert refused_to_bots(admin) == set()
        first.kill()

        def goes_on() -> bool:
            with suppress(NotAnswered):
                return talk(url, monkeypatch)[-1] == "duplicate"
            return False

        wait_until(goes_on)
