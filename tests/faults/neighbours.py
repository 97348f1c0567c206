"""Two bots, each with two accounts and a namespace of its own, on one server, and the same people at all four.

Both bots have the same flow and the same name, so that nothing but the namespace tells them apart. A person tells each
of the four a mark, and each reply, delivery, call and stored byte must show the mark of its own conversation alone.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Literal

import attrs

from tests.engines import valkey_program
from tests.faults.clock import Clock, Clocked
from tests.faults.members import PERSEVERANCE, Person
from tests.faults.proxy import Plan, proxied
from tests.faults.records import Folder
from tests.faults.replies import people_for
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import OwnServer, own_server
from tests.faults.worker import logged
from vimbiso_fsm.errors import NotAnswered, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, Caller, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Load, ReadDue, Scan, Stored
from vimbiso_fsm.store.retention import SHARDS
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["neighbours"]

_MARK = re.compile(r"mark-\d+-\w+-\w+")
_ACCOUNTS = ("1001", "2002")
_TIMEOUT = 60.0
_PATIENCE = 90.0
"""Seconds after which timers and leases are over."""


@attrs.frozen
class _Order:
    """The data of a run: the mark of the conversation."""

    mark: str = ""
    done: str = ""


class Desk:
    """The port, and the service: each call is noted with the bot that made it."""

    def __init__(self, bot: str, records: Folder) -> None:
        self._bot, self._records = bot, records

    def serve(self, mark: str, *, caller: Caller = Caller()) -> str:  # noqa: B008  # a port is declared so
        """Serve a mark, once per key."""
        account = caller.channel.account if caller.channel else ""
        self._records.note("served", mark=mark, bot=self._bot, account=account, key=caller.key, who=caller.member_id)
        return f"served {mark}"


def _known(turn: Turn[_Order]) -> Changes[_Order]:
    """Prepare: a guest who has told the mark is a member."""
    member = attrs.evolve(turn.member, id=f"m-{turn.channel.identifier}", guest=False)
    return turn.changes(data=turn.data, member=member)


def _serve(turn: Turn[_Order]) -> Call[str]:
    return call(Desk.serve, turn.data.mark)


def _says(key: str) -> Any:
    return lambda turn: Text(key, mark=turn.data.mark, account=turn.channel.account)


def _bot(bot: str, records: Folder, accounts: Literal["separate", "shared"]) -> Bot:
    flow: Flow[_Order] = Flow(
        "desk", data=_Order, initial="mark",
        states=[
            State("mark",  ask=Text("desk.mark"), reads=str, into="mark"),
            State("sure",  ask=_says("desk.sure"), timeout=_TIMEOUT),
            State("doing", call=_serve, into="done"),
            State("late",  say=_says("desk.late")),
            State("given", say=_says("desk.given")),
        ],
        transitions=[
            Transition("answer",  "mark",  "sure", prepare=_known),
            Transition("yes",     "sure",  "doing"),
            Transition("timeout", "sure",  "late"),
            Transition("done",    "doing", "given"),
            Transition("failed",  "doing", "sure"),
            Transition("auto",    ["late", "given"], "sure"),
        ],
    )  # fmt: skip
    texts = {f"desk.{name}": f"{name} {{mark}} at {{account}}." for name in ("sure", "late", "given")}
    texts["desk.mark"] = "Which mark?"
    services = {"desk": Desk(bot, records)}
    return Bot([flow], name="desk", texts=texts, services=services, session=30 * 86_400.0, accounts=accounts)


@attrs.frozen
class _Party:
    """One of the four: a bot and one of its accounts."""

    bot: str
    account: str
    managers: Sequence[FlowStateManager]

    def mark(self, person: Person) -> str:
        """Return what the person tells this party, and no other."""
        return f"mark-{person.number}-{self.bot}-{self.account}"


def _judge(report: Report, own: str, account: str, replies: Sequence[Reply], what: str) -> None:
    """Check that replies show the mark and the account of their own conversation alone."""
    said = " ".join(reply.text for reply in replies)
    strange = {*_MARK.findall(said)} - {own}
    report.demand(not strange, f"{what} for {own} has words of another: {sorted(strange)}")
    accounts = {*re.findall(r" at (\w+)\.", said)} - {account}
    report.demand(not accounts, f"{what} for {own} names another account: {sorted(accounts)}")


def _talk(party: _Party, person: Person, rounds: int, clock: Clock, report: Report, chance: random.Random) -> None:
    """Send a person's messages to one party, each until it is answered."""
    own = party.mark(person)
    texts = ["hi", own, *["yes"] * rounds]
    for place, text in enumerate(texts):
        id = f"{person.number}.{place}"  # the same ids at all parties
        message = Message(person.channel, id, text, account=party.account)
        until = time.monotonic() + PERSEVERANCE
        while time.monotonic() < until:
            try:
                outcome = chance.choice(party.managers).handle(message)
            except NotAnswered:
                report.count(unanswered=1)
                time.sleep(0.01)
                continue
            except VimbisoError as error:
                report.wrong.append(f"{own}: message {id} raised {type(error).__name__}: {error}")
                break
            _judge(report, own, party.account, outcome.replies, "a reply")
            if outcome.state.call is None:
                break
            clock.forward(_PATIENCE)
        else:
            report.wrong.append(f"{own}: message {id} was never answered")
        report.count(messages=1)


def _wake(party_of: dict[str, _Party], clock: Clock, report: Report) -> None:
    """Run the due work of each bot by a manager of its own."""
    for party in party_of.values():
        manager = party.managers[0]
        now = time.time() + clock.ahead
        due = [member for shard in range(SHARDS) for member in manager.ask(ReadDue(shard, now))]
        for member in due:
            for _ in range(20):
                try:
                    manager.wake(member)
                    break
                except NotAnswered:
                    time.sleep(0.01)
                except VimbisoError as error:
                    report.wrong.append(f"a waking raised {type(error).__name__}")
                    break
        report.count(woken=len(due))


def _stored(server: OwnServer, spaces: dict[str, str]) -> Iterator[tuple[str, set[str]]]:
    """Yield for each key of the server its bot, and the marks in its value."""
    with server.client() as client:
        for key in client.scan_iter("vimbiso*"):
            yield spaces[key.decode().partition(":")[0]], {*_MARK.findall(repr(_value(client, key)))}


def _value(client: Any, key: bytes) -> Any:
    kind = client.type(key).decode()
    if kind == "hash":
        return client.hgetall(key)
    if kind == "list":
        return client.lrange(key, 0, -1)
    return client.zrange(key, 0, -1) if kind == "zset" else client.get(key)


def neighbours(
    people: int,
    seed: int,
    *,
    rounds: int = 3,
    namespaces: Sequence[str] = ("", "clinic"),
    accounts: Literal["separate", "shared"] = "separate",
) -> Report:
    """Let the same people talk to two bots at two accounts each, through a proxy that loses replies.

    Args:
        people: How many people there are.
        seed: The seed of all chances.
        rounds: How often each confirms.
        namespaces: The namespaces of the two bots.
        accounts: What the bots say of their accounts.
    """
    report, chance, clock = Report(), random.Random(seed), Clock()
    crowd = people_for(people, 1)
    with folder() as records, own_server(valkey_program()) as server, logged(records), ExitStack() as stack:
        network = stack.enter_context(ExitStack())
        proxy = network.enter_context(proxied(server.socket, Plan(seed, drop=0.1, reset=0.05)))
        parties: list[_Party] = []
        for bot, namespace in zip(("bank", "clinic"), namespaces, strict=True):

            def deliver(channel: Channel, replies: Sequence[Reply], /, account: str = "", bot: str = bot) -> None:
                person = int(channel.identifier.removeprefix("2637"))
                _judge(report, f"mark-{person}-{bot}-{account}", account, replies, "a delivery")
                report.count(delivered=1)

            stores = [
                AtomicStateManager.from_url(proxy.url, namespace=namespace, secret=STORE_SECRET) for _ in range(2)
            ]
            made = [
                FlowStateManager(_bot(bot, records, accounts), Clocked(store, clock), deliver=deliver, rates=None)
                for store in map(stack.enter_context, stores)
            ]
            for manager in made:
                stack.enter_context(manager)
            parties += [_Party(bot, account, made) for account in _ACCOUNTS]
        with ThreadPoolExecutor(8) as pool:
            jobs = [
                pool.submit(_talk, party, person, rounds, clock, report, random.Random(chance.random()))
                for person in crowd
                for party in chance.sample(parties, len(parties))
            ]
            for job in jobs:
                job.result()
        for _ in range(2):  # the timer of each question, and what it leads to
            clock.forward(_PATIENCE)
            _wake({party.bot: party for party in parties}, clock, report)
        _check(server, records, parties, crowd, namespaces, rounds, report)
        network.close()  # the proxy tells at its end what it did
        report.count(lost=proxy.lost)
    return report


def _check(
    server: OwnServer,
    records: Folder,
    parties: Sequence[_Party],
    crowd: Sequence[Person],
    namespaces: Sequence[str],
    rounds: int,
    report: Report,
) -> None:
    """Check what was called and what is stored."""
    wanted = {party.mark(person): (party.bot, party.account) for party in parties for person in crowd}
    keys: dict[str, set[str]] = {mark: set() for mark in wanted}
    for line in records.noted("served"):
        report.demand(
            wanted.get(line["mark"]) == (line["bot"], line["account"]), f"{line['mark']} was served by another"
        )
        keys.setdefault(line["mark"], set()).add(line["key"])
    for mark, made in keys.items():
        report.demand(len(made) == rounds, f"{mark} was served {len(made)} times, not {rounds}")
    spaces = {
        f"vimbiso/{name}" if name else "vimbiso": bot for bot, name in zip(("bank", "clinic"), namespaces, strict=True)
    }
    seen = set[str]()
    for bot, marks in _stored(server, spaces):
        report.demand(len(marks) <= 1, f"a key of {bot} holds bytes of several conversations: {sorted(marks)}")
        report.demand(all(wanted[mark][0] == bot for mark in marks), f"a key of {bot} holds bytes of another bot")
        seen |= marks
        report.count(keys=1)
    report.demand(seen == wanted.keys(), f"{len(wanted.keys() - seen)} conversations left no trace")
    for party in parties[::2]:
        members = party.managers[0].ask(Scan())
        documents = [party.managers[0].ask(Load(member)) for member in members]
        kept = [stored for stored in documents if isinstance(stored, Stored) and stored.document is not None]
        report.demand(len(kept) == 2 * len(crowd), f"{party.bot} has {len(kept)} documents, not {2 * len(crowd)}")
        report.count(documents=len(kept))


@row(
    "neighbours",
    "two bots, two accounts, two namespaces on one server, replies lost",
    "no word, document, call or timer of one meets another",
)
def beside_each_other(profile: Profile, seed: int) -> Report:
    """The same people talk to all four at once, with the same message ids."""
    report = neighbours(profile.of(12, 150), seed)
    report.demand(report.counts.get("delivered", 0) >= 4 * profile.of(12, 150), "too few timers fired")
    report.demand(report.counts["lost"] >= profile.of(12, 150), f"only {report.counts['lost']:.0f} replies were lost")
    return report
