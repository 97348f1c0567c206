"""The board on a real server: what it shows of members, workers, what is due and incidents."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import attrs
import pytest

from tests.bots import fruit_bot
from tests.engines import Server
from tests.web.app_client import TestClient
from vimbiso_fsm import AsyncFlowStateManager, Channel, FlowStateManager, Message
from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import Heartbeat, Lease, Load, RecordIncident, SetWakeUp, Stored
from vimbiso_fsm.store.retention import SHARDS
from vimbiso_fsm.studio import Desk, board, studio_app
from vimbiso_fsm.studio.access import Access
from vimbiso_fsm.studio.processes import Processes
from vimbiso_fsm.studio.read_only import ReadOnlyStore

HOST = "127.0.0.1:8080"
ORIGIN = {"origin": f"http://{HOST}"}
HOSTILE = "<script>alert(1)</script>\u202e' onerror=x \" " + "x" * 10_000
BOT = fruit_bot()


class Studio:
    """A studio at a server, and the manager with which a test fills the store.

    Attributes:
        live: The manager.
    """

    def __init__(self, server: Server, *, write: bool = False, processes: Processes | None = None) -> None:
        self.server = server
        self.store = AtomicStateManager.from_url(server.url)
        self.live = FlowStateManager(BOT, self.store, rates=None)
        store = AsyncAtomicStateManager.from_url(server.url)
        manager = AsyncFlowStateManager(BOT, store if write else ReadOnlyStore(store), rates=None)
        access = Access(hosts=(HOST,))
        app = studio_app(Desk(BOT, manager, write=write, processes=processes), access)
        self.client = TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)
        self.client.__enter__()
        assert self.client.get("/", params={"token": access.token}).status_code == 303

    def text(self, path: str) -> str:
        """Return a part of the board."""
        answer = self.client.get(path)
        assert answer.status_code == 200
        return answer.text

    def guest(self, identifier: str, *texts: str) -> str:
        """Let a guest say something, and return their id."""
        sent = (Message(Channel("telegram", identifier), f"{identifier} {at}", text) for at, text in enumerate(texts))
        return [self.live.handle(message) for message in sent][-1].member_id

    def close(self) -> None:
        """Close what was opened."""
        self.client.__exit__(None, None, None)
        self.live.close()
        self.store.close()


@pytest.fixture
def server(valkey_server: Server, valkey_url: str) -> Server:
    """An empty server."""
    assert valkey_server.url == valkey_url
    return valkey_server


@pytest.fixture
def studio(server: Server) -> Generator[Studio]:
    """A studio that only reads."""
    found = Studio(server)
    yield found
    found.close()


def test_the_board_asks_for_its_parts(studio: Studio):
    """The page itself reads nothing, and has no part of figures without processes."""
    text = studio.text("/board")
    assert 'hx-get="/board/members"' in text
    assert 'hx-get="/board/store"' in text
    assert "/board/figures" not in text


def test_members_by_state_and_stuck_ones_first(studio: Studio):
    """Members are counted by state; one who was refused often stands in the list, with a link to their timeline."""
    for number in range(3):
        studio.guest(str(number), "hi")
    stuck = studio.guest("9", "hi", "order", *["two words"] * 3)
    text = studio.text("/board/members")
    assert "<strong>4</strong> members" in text
    assert "refused 3 times in a row" in text
    assert f'href="/timeline/{stuck.replace(":", "%3A")}"' in text
    assert text.index("Stuck") < text.index("By state")


def test_a_damaged_document_is_stuck(studio: Studio):
    """A damaged document is named, with no button where the studio only reads."""
    member = studio.guest("9", "hi", "order", "ada")
    damage(studio, member)
    text = studio.text("/board/members")
    assert "its document is damaged" in text
    assert "Repair" not in text
    answer = studio.client.post(f"/board/recover/{member}", headers=ORIGIN)
    assert answer.status_code == 403
    assert "--write" in answer.text


def damage(studio: Studio, member: str) -> None:
    """Damage the document of a member."""
    with studio.server.client() as client:
        [key] = client.scan_iter("*:state")
        client.hset(key, "d", b"{")
    assert studio.store.perform(Load(member))


def test_with_write_a_damaged_document_is_repaired(server: Server):
    """The button repairs the document; a request from another page does not."""
    studio = Studio(server, write=True)
    member = studio.guest("9", "hi", "order", "ada")
    damage(studio, member)
    assert "Repair" in studio.text("/board/members")
    assert studio.client.post(f"/board/recover/{member}").status_code == 403
    answer = studio.client.post(f"/board/recover/{member}", headers=ORIGIN)
    assert answer.status_code == 200
    assert "repaired" in answer.text
    assert "No member is stuck" in studio.text("/board/members?again=1")
    studio.close()


def test_a_large_store_is_counted_part_by_part(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    """An answer ends when its time is over, and asks for the next one; all members are counted then."""
    monkeypatch.setattr(board, "PART_SECONDS", 0.0)
    for number in range(10):
        studio.guest(str(number), "hi")
    with studio.server.client() as client:  # keys that are no members, so that a part does not see all of the store
        client.mset({f"other:{number}": 1 for number in range(3_000)})
    texts = [studio.text("/board/members")]
    while "so far" in texts[-1]:
        texts.append(studio.text("/board/members"))
    assert len(texts) > 1
    assert "<strong>10</strong> members" in texts[-1]
    assert texts[-1] == studio.text("/board/members")
    assert "so far" in studio.text("/board/members?again=1")


def test_workers_with_their_shards_and_what_is_due(studio: Studio):
    """Workers that are present, those that have died, and members who are late are shown; nothing is changed by it."""
    member = studio.guest("1", "hi")
    studio.store.perform(Heartbeat("here", 60.0))
    for shard in range(SHARDS):
        studio.store.perform(Lease(shard, "here" if shard else "dead", 60.0))
    stored = studio.store.perform(Load(member))
    assert isinstance(stored, Stored)
    studio.store.perform(SetWakeUp(member, stored.head, stored.at - 100))
    before = dump(studio.server)
    text = studio.text("/board/store")
    assert "The worker dead holds 1 shard and is not present." in text
    assert '<td class="said">here</td><td class="number">1023</td>' in text
    assert "1 member has been due for more than 1 min." in text
    assert "0 of 1,024 shards have no worker" in text
    assert "MB, without a limit" in text
    assert dump(studio.server) == before


def dump(server: Server) -> set[bytes]:
    """Return the names of all keys of a server that hold something."""
    with server.client() as client:
        return {key for key in client.scan_iter() if not key.endswith(b":workers")}


def test_a_store_without_a_worker_is_told(studio: Studio):
    """A store at which no worker is present is a finding, and one without incidents says so."""
    text = studio.text("/board/store")
    assert "No worker is present" in text
    assert "None is kept." in text


def test_what_others_have_written_is_shown_as_text(studio: Studio):
    """Names and facts from the store are text on the page, cut and with hidden characters as numbers."""
    studio.store.perform(Heartbeat(HOSTILE, 60.0))
    at = instant(1e9)
    studio.store.perform(RecordIncident(None, Incident(at, HOSTILE, detail={HOSTILE: HOSTILE}).body))
    text = studio.text("/board/store")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text
    assert len(text) < 20_000


def test_a_member_with_a_hostile_id(studio: Studio):
    """The id of a member is text on the page, and one part of the address of the timeline."""
    document = studio.live.state(studio.guest("9", "hi", "order", *["two words"] * 3))
    assert document is not None
    hostile = "m/../<b>\u202e?x=1#'\""
    studio.live.save(attrs.evolve(document, member_id=hostile, guest=False, version=0, channels=()))
    text = studio.text("/board/members")
    assert "<b>" not in text
    assert 'href="/timeline/m%2F..%2F%3Cb%3E%E2%80%AE%3Fx%3D1%23%27%22"' in text


def test_a_store_that_does_not_answer_is_told(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    """A part of the board says why it cannot be read, and has a button to try again."""

    async def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("the server sleeps")

    monkeypatch.setattr(AsyncFlowStateManager, "members", fails)
    text = studio.text("/board/members")
    assert "the server sleeps" in text
    assert 'hx-get="/board/members"' in text


def test_figures_of_processes(server: Server):
    """The figures of processes are read with the token, and added; one that refuses is named."""
    httpx2 = pytest.importorskip("httpx2")
    from vimbiso_fsm.runtime.measures import CONFLICTS, HANDLED
    from vimbiso_fsm.web.metrics import OpenMetrics

    metrics = OpenMetrics()
    metrics.record(HANDLED, 0.004, {})
    metrics.add(CONFLICTS, 3, {})

    def answer(request: Any) -> Any:
        if request.headers["authorization"] != "Bearer secret" or request.url.path == "/closed":
            return httpx2.Response(401)
        return httpx2.Response(200, text="no figures <b>" if request.url.path == "/wrong" else metrics.text())

    names = ["metrics", "metrics2", "closed", "wrong"]
    processes = Processes([f"http://10.0.0.1/{name}" for name in names], "secret", httpx2.MockTransport(answer))
    studio = Studio(server, processes=processes)
    assert 'hx-get="/board/figures"' in studio.text("/board")
    text = " ".join(studio.text("/board/figures").split())
    assert '<td>Commits that lost a race (conflicts)</td><td class="number">6</td>' in text
    assert "http://10.0.0.1/closed answers with the status 401" in text
    assert "http://10.0.0.1/wrong has no figures as OpenMetrics." in text
    assert '<td>Messages, from handing over to the answer</td><td class="number">2</td>' in text
    assert "secret" not in repr(processes)
    studio.close()


def test_two_windows_share_one_count(studio: Studio):
    """Requests of two windows at the same moment count each member once."""
    for number in range(5):
        studio.guest(str(number), "hi")
    manager = AsyncFlowStateManager(BOT, AsyncAtomicStateManager.from_url(studio.server.url), rates=None)

    async def both() -> int:
        counted = board.Board(manager)
        await asyncio.gather(counted.count_on(), counted.count_on())
        await manager.close()
        return counted.count.members

    assert asyncio.run(both()) == 5
