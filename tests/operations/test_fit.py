"""Merges and links of documents that are too large together: what fits is kept, and the member gets in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import member_document
from tests.digests import guest_id
from tests.examples import examples
from vimbiso_fsm import Bot, Call, Channel, Flow, State, Text, Transition, Turn, call
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import (
    Document,
    Moved,
    PendingCall,
    Run,
    Suspended,
    Undelivered,
    first_document,
)
from vimbiso_fsm.engine.reading import Sound, open_document
from vimbiso_fsm.engine.room import TURN_ROOM
from vimbiso_fsm.operations.fit import fitted
from vimbiso_fsm.operations.promote import merge
from vimbiso_fsm.store.requests import Head, Stored
from vimbiso_fsm.store.retention import MAX_DOCUMENT
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat

OTHER = Channel("sms", "263771000002")
LATER = START + timedelta(hours=1)


@attrs.frozen
class Note:
    """The data of the flow that notes."""

    text: str = ""
    receipt: str = ""


class Notary:
    """A service with an effect."""

    def keep(self, text: str) -> str:
        """Keep a text."""
        return f"kept {len(text)}"


def keep(turn: Turn[Note]) -> Call[str]:
    """Keep the note."""
    return call(Notary.keep, turn.data.text)


def noting(name: str) -> Flow[Note]:
    """Make a flow that takes a long text and then makes a call."""
    return Flow(
        name, data=Note, initial="text", session=1e6,
        states=[
            State("text", ask=Text("Your note?"), reads=str, into="text"),
            State("more", ask=Text("Keep it?"), timeout=1e6),
            State("keeping", call=keep, into="receipt"),
            State("kept", say=Text("Kept."), final=True),
        ],
        transitions=[
            Transition("answer", "text", "more"),
            Transition("yes", "more", "keeping"),
            Transition("timeout", "more", "text"),
            Transition("done", "keeping", "kept"),
            Transition("failed", "keeping", "more"),
        ],
    )  # fmt: skip


BOT = Bot([noting("note"), noting("letter")], services={"notary": Notary()})


def run(name: str, size: int, *, step: str = "more", waits: Any = "", number: int = 0) -> Run:
    """Make a run that holds a text of a size in bytes."""
    flow = BOT.flow(name)
    due = LATER + timedelta(days=1) if step == "more" else None
    return Run(
        f"{name}:{number:016}",
        name,
        step,
        CHANNEL.address,
        fields={"text": "x" * size, "receipt": ""},
        version=flow.version,
        fingerprint=flow.fingerprint,
        entered=1,
        since=START,
        due=due,
        waits=waits,
    )


PENDING = PendingCall("key", "notary", "keep", {"text": "x"}, "root", START)


@attrs.frozen
class Sizes:
    """The sizes in bytes of the parts of a document.

    Attributes:
        profile: The profile.
        suspended: Each suspended run, with the reason why it waits.
        outbox: The replies that wait; None for none.
        run: The current run; None for none.
        calls: Whether a call of the run is pending.
    """

    profile: int
    suspended: tuple[tuple[int, Suspended], ...]
    outbox: int | None
    run: int | None
    calls: bool

    def parts(self, name: str, number: int) -> dict[str, Any]:
        """Return the parts. `name`: the flow of the runs. `number`: of the first of them."""
        places = enumerate(self.suspended, number)
        return {
            "profile": {"note": "p" * self.profile},
            "suspended": tuple(run(name, size, waits=waits, number=place) for place, (size, waits) in places),
            "outbox": () if self.outbox is None else (Undelivered(f"{number:016}", ({"text": "o" * self.outbox},)),),
            "run": None
            if self.run is None
            else run(name, self.run, step="keeping" if self.calls else "more", number=number + 9),
            "call": PENDING if self.calls else None,
        }


@st.composite
def sizes(draw: st.DrawFn) -> Sizes:
    """Draw the sizes of a document that fits, up to the limit."""
    room = draw(st.sampled_from((2_000, 30_000, 40_000, TURN_ROOM - 2_000)))

    def take(most: int) -> int:
        nonlocal room
        size = draw(st.integers(0, min(most, room)))
        room -= size
        return size

    profile = take(30_000)
    waits = draw(st.lists(st.sampled_from((Suspended.INTERRUPTED, Suspended.OFFERED_BACK)), max_size=2))
    suspended = tuple((take(room // 2), each) for each in waits)
    outbox = take(room // 2) if draw(st.booleans()) else None
    calls = draw(st.booleans())
    current = take(room) if calls or draw(st.booleans()) else None
    return Sizes(profile, suspended, outbox, current, calls)


def documents(guest: dict[str, Any], member: dict[str, Any]) -> tuple[Document, Document]:
    """Return the document of a guest who has logged in, and that of the member."""
    first = first_document(guest_id(OTHER), OTHER, LATER, OTHER.address)
    come = attrs.evolve(
        first, **guest, moved=Moved("m-1", 1), authenticated=True, jwt_token="token-1", version=1, last_updated=LATER
    )
    return come, member_document(version=3, **member)


@given(sizes(), sizes())
@examples(150)
def test_any_two_documents_that_fit_merge_into_one_that_fits(guest: Sizes, member: Sizes):
    """Whatever guest and member have gathered, the merged document fits, is sound, and has the call that was pending.

    What was dropped stands in the audit, and the member is told.
    """
    come, there = documents(guest.parts("note", 0), member.parts("letter", 100))
    assert len(encode(come)) <= MAX_DOCUMENT
    assert len(encode(there)) <= MAX_DOCUMENT
    decision = merge(BOT, come, there, LATER, version=3)
    assert len(decision.raw) <= MAX_DOCUMENT
    head = Head(decision.document.version, "digest")
    assert isinstance(open_document(BOT, "m-1", Stored(head, decision.raw, LATER.timestamp()), LATER), Sound)
    merged = decision.document
    assert merged.authenticated
    assert merged.channels[-1] == OTHER.address
    assert merged.call == (there.call or come.call)
    if merged.call is not None:
        assert merged.run is not None
    told = "merge.too_much" in str([waiting.replies for waiting in merged.outbox])
    assert isinstance(decision.entry, AuditEntry)
    assert told == ("dropped" in decision.entry.detail)


def test_the_least_is_dropped_and_the_oldest_first():
    """Suspended runs are dropped before replies, the current run and the profile; a run with a call stays."""
    runs = tuple(run("note", 20_000, waits=Suspended.INTERRUPTED, number=number) for number in range(4))
    whole = member_document(version=1, run=run("letter", 1_000, number=9), suspended=runs)
    kept, dropped = fitted(BOT, whole, "token")
    assert dropped == ["note"]
    assert kept.suspended == runs[1:]
    replies = (Undelivered("one", ({"text": "o" * 66_000},)),)
    kept, dropped = fitted(BOT, attrs.evolve(whole, suspended=runs[:1], outbox=replies), "token")
    assert dropped == ["note", "replies"]
    assert kept.run == whole.run
    large = attrs.evolve(whole, suspended=(), run=run("letter", 40_000), profile={"note": "p" * 30_000})
    kept, dropped = fitted(BOT, large, "token", before=member_document())
    assert (dropped, kept.run, kept.profile) == (["letter"], None, large.profile)
    calling = attrs.evolve(large, run=run("letter", 40_000, step="keeping"), call=PENDING)
    kept, dropped = fitted(BOT, calling, "token", before=member_document())
    assert (dropped, kept.run, kept.call, kept.profile) == (["profile"], calling.run, PENDING, {})


def test_what_fits_is_left_as_it_is():
    """A document that fits is returned unchanged."""
    whole = member_document(run=run("letter", 50_000), suspended=(run("note", 9_000, waits=Suspended.INTERRUPTED),))
    assert fitted(BOT, whole, "token") == (whole, [])


def test_a_run_that_waits_for_its_sub_flow_goes_with_it():
    """A suspended run is dropped together with the runs that wait for it, and none is left that waits for nothing."""
    waits = (Suspended.SUBFLOW, Suspended.INTERRUPTED, Suspended.SUBFLOW)
    runs = tuple(run("note", 25_000, waits=each, number=number) for number, each in enumerate(waits))
    whole = member_document(run=run("letter", 1_000), suspended=runs)
    kept, dropped = fitted(BOT, whole, "token")
    assert (dropped, kept.suspended) == (["note"], runs[2:])


@pytest.mark.parametrize("by", ["message", "waking"])
def test_the_member_gets_in_with_the_first_message(by: str):
    """A guest whose document does not fit beside the member's becomes the member, who can go on at once."""
    chat = Chat(BOT, channel=OTHER)
    come, there = documents({"run": run("note", 50_000)}, {"run": run("letter", 50_000, number=7), "profile": {}})
    chat.plant(there)
    chat.plant(attrs.evolve(come, moved=Moved("m-1", 1)))
    if by == "waking":
        chat.wake(come.member_id)
    said = chat.say("menu")
    assert said.state.member_id == "m-1"
    assert said.status == "advanced"
    assert chat.document("m-1").channels[-1] == OTHER.address
    chat.check()
