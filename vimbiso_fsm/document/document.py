"""The document, which is the stored state of a member, as attrs classes.

`codec.py` writes and reads it, `shape.py` judges its shape, and `state_validator.py` judges its rules. A flow's own
data stands in `StepData.fields`. Everything that the framework adds to the seed's document starts with `_` on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Literal, TypeAlias, cast

import attrs
from typing_extensions import TypeVar

from vimbiso_fsm.document.ids import is_guest_id, person_of, stamp
from vimbiso_fsm.messages.message import MAX_NAMES, Address, Channel
from vimbiso_fsm.messages.value import Value

Fields: TypeAlias = Mapping[str, Any]
"""Plain data by name, as JSON holds it: texts, numbers, true, false, null, lists and objects."""


@attrs.frozen
class Shown:
    """A choice that was shown.

    Attributes:
        choice: The choice.
        title: Its title as the member read it.
    """

    choice: str
    title: str


class Suspended(StrEnum):
    """Why a run is suspended. The values are the words on the wire."""

    SUBFLOW = "sub"
    """The run started another flow as its sub-flow, and goes on by `done` or `cancelled`."""
    INTERRUPTED = "under"
    """The flow of a shortcut interrupted the run. Its question is asked again afterwards."""
    OFFERED_BACK = "asked"
    """The member started another flow. The flow `carry_on` offers the run back."""
    LOGIN = "entry"
    """The run waits for the login. It goes on when its `requires` holds afterwards; otherwise it is dropped."""
    NEXT = "next"
    """Another system opened the run while a flow was open. It begins when that flow has led home."""


@attrs.frozen
class StepData:
    """The data of a run as the seed's document groups it; the attributes are those of `Run`."""

    flow_type: str
    channel: Address
    context: Fields
    verdict: Fields
    fields: Fields = attrs.field(repr=False)


@attrs.frozen
class FlowData:
    """A run as it stands in the seed's document; the attributes are those of `Run`."""

    id: str
    step: str
    data: StepData


@attrs.frozen(eq=False, repr=False)
class Run(Value):
    """A run with its bookkeeping.

    Attributes:
        id: The id of the run: the name of its flow, a colon and a hash.
        flow: The name of the flow.
        step: The state in which it stands.
        channel: The address of the member when the run began, without the account.
        context: Counts and marks of the framework.
        verdict: The latest verdict on an answer, with `step`, `ok` and `code`; empty before the first.
        fields: The flow's data as plain data.
        typed: The flow's data as an instance of its class; None where it was not read. It is not stored.
        version: The version of the flow's declaration that the run was last stepped with.
        fingerprint: The fingerprint of this declaration.
        entered: The document's version at which the state was entered.
        trail: The questions answered so far, for `back`. A sub-flow counts as one.
        made: Whether a call with an effect was made before these questions, or may have been.
        page: The page of a long list that is shown, from 0.
        shown: The choices that were shown, in order.
        since: The instant at which the state was entered.
        due: The instant at which its timer fires; None without a timer.
        waits: The reason why the run is suspended, "" for the current run. A current run that was imported may wait
            for the login.
        stamp: A short hash of the turn in which the state was entered and of the data then; empty if the state has
            neither choices nor a timer nor a call, and in documents of before it was introduced.
    """

    id: str
    flow: str
    step: str
    channel: Address
    context: Fields = attrs.field(factory=dict)
    verdict: Fields = attrs.field(factory=dict)
    fields: Fields = attrs.field(factory=dict, repr=False)
    typed: Any = attrs.field(default=None, eq=False, repr=False)
    version: int = 1
    fingerprint: str = ""
    entered: int = 0
    trail: tuple[str, ...] = ()
    made: bool = False
    page: int = 0
    shown: tuple[Shown, ...] = ()
    since: datetime | None = None
    due: datetime | None = None
    waits: Suspended | Literal[""] = ""
    stamp: str = ""

    @property
    def fence(self) -> str:
        """The name of this entry of the state. It stands before each choice, and names the timer and the call.

        A version counts again after an older copy of the store was restored; the hash of a message does not.
        """
        return f"!{self.stamp}" if self.stamp else f"{self.id[-8:]}.{self.entered}."

    @property
    def attempts(self) -> int:
        """The number of refusals in a row at this question."""
        return int(self.context.get("attempts", 0))

    @property
    def tries(self) -> int:
        """The tries of this state's call that are known to have had no effect, before the login that it waits for."""
        return int(self.context.get("tries", 0))

    @property
    def flow_data(self) -> FlowData:
        """The part of the run that stands in the seed's document."""
        return FlowData(self.id, self.step, StepData(self.flow, self.channel, self.context, self.verdict, self.fields))


@attrs.frozen(eq=False, repr=False)
class Answer(Value):
    """The answer of a call on which the flow could not go on.

    Attributes:
        done: Whether the call had its effect. False for a refused call and for one that only reads; nothing is lost
            with their answers, so they are made again.
        value: The answer as `{"value": …}` in plain data; empty where it was not kept.
        failures: How often the flow has failed to go on.
    """

    done: bool
    value: Fields = attrs.field(factory=dict, repr=False)
    failures: int = 1


@attrs.frozen(eq=False, repr=False)
class PendingCall(Value):
    """A call that is stored and whose answer the flow has not taken yet.

    Attributes:
        key: The idempotency key.
        service: The name of the service.
        method: The name of its method.
        arguments: The arguments by name, as plain data.
        root: The token of the message that caused the call, and after spaces its tokens of other keys.
        leased_until: The end of the lease of the worker that makes it.
        tries: The number of tries that have begun.
        again_at: The instant of the next try after an unknown outcome.
        renewed: Whether the login token was renewed for this try.
        again: The number of recoveries that went back to it.
        answer: Its answer, where the flow could not go on from it; None while the call is made.
    """

    key: str
    service: str
    method: str
    arguments: Fields = attrs.field(repr=False)
    root: str
    leased_until: datetime
    tries: int = 1
    again_at: datetime | None = None
    renewed: bool = False
    again: int = 0
    answer: Answer | None = None

    @property
    def done(self) -> bool:
        """Whether it had its effect and is not to be made again; the flow has yet to go on from its answer."""
        return self.answer is not None and self.answer.done


@attrs.frozen(eq=False, repr=False)
class TokenLife(Value):
    """The instants at which a login token was issued and expires, by its own claims."""

    issued: datetime
    expires: datetime


@attrs.frozen(eq=False, repr=False)
class Undelivered(Value):
    """Replies that are to be sent: those of a message, or of a timer, the end of a session or a late call.

    Attributes:
        id: The identifier in the outbox, which is the beginning of the token of their turn.
        replies: The replies, as `replies_to_raw` makes them; empty where the record of their turn holds them.
        leased_until: The end of the lease of the process that sends them, or of the pause before the next try; None
            without either.
        tries: The number of deliveries that have begun.
        rest: Why they rest: "asked" if the channel has asked to wait until `leased_until`, "retry" if the outcome of
            the latest delivery is unknown, "held" if the channel sends the member nothing now, so that they wait for
            the member's next message; "" otherwise.
        urgent: Whether the member waits for them: they answer a message or bring the result of a call. Where a channel
            has a pace, they are sent before others.
        until: The instant from which they are not said any more; None without one.
        asks: The fence of the state whose question the last of them is, on a channel with a window; "" if it is none.
        to: The address that they are for; None for that of the member's latest turn, whichever that is.
    """

    id: str
    replies: tuple[Any, ...] = attrs.field(default=(), repr=False)
    leased_until: datetime | None = None
    tries: int = 0
    rest: Literal["", "asked", "retry", "held", "window"] = ""
    urgent: bool = False
    until: datetime | None = None
    asks: str = ""
    to: Address | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether the record of the turn holds the replies."""
        return not self.replies


@attrs.frozen(eq=False, repr=False)
class Reminder(Value):
    """A reminder that waits for its instant.

    Attributes:
        key: Its name at the member.
        id: A hash of the turn that has set it, and of the key.
        at: The instant at which it is due.
        replies: What is said, as `replies_to_raw` makes it.
        flow: The name of the flow that is opened; empty if none is.
        data: The data with which the flow begins, as plain data; empty for its defaults.
        until: The instant after which it is dropped; None without one.
    """

    key: str
    id: str
    at: datetime
    replies: tuple[Any, ...] = attrs.field(default=(), repr=False)
    flow: str = ""
    data: Fields = attrs.field(factory=dict, repr=False)
    until: datetime | None = None


@attrs.frozen(eq=False, repr=False)
class Handed(Value):
    """The hand-over of a conversation to a person.

    Attributes:
        inbox: The name of the inbox.
        since: The instant at which it began. The runs and the session stand still from then on.
        until: The instant at which the bot takes the conversation back without a word.
    """

    inbox: str
    since: datetime
    until: datetime


@attrs.frozen(eq=False, repr=False)
class Passing(Value):
    """What passes to an inbox and was not taken there yet.

    Attributes:
        id: Its name, which is the same in each attempt: the beginning of the token of its turn.
        inbox: The name of the inbox.
        kind: As in `PassedOn`.
        at: The instant at which it happened.
        again_at: The instant from which a worker passes it.
        tries: The number of attempts that have ended without being taken.
        text: The words of the member.
        content: What the message carries beside words, as plain data.
        by: The person that has begun or ended the hand-over.
    """

    id: str
    inbox: str
    kind: Literal["begun", "said", "ended"]
    at: datetime
    again_at: datetime
    tries: int = 0
    text: str = attrs.field(default="", repr=False)
    content: Fields = attrs.field(factory=dict, repr=False)
    by: str = ""


@attrs.frozen(eq=False, repr=False)
class Session(Value):
    """The life of a member's session.

    Attributes:
        deadline: The instant at which it ends without another message of the member; None when no session is open.
        since: The instant at which it began.
        warn_at: The instant at which the member is warned of the end; None when no warning is due.
    """

    deadline: datetime | None = None
    since: datetime | None = None
    warn_at: datetime | None = None

    def later(self, by: timedelta) -> Session:
        """Return the session with all its instants moved by a time."""
        return Session(*(at and at + by for at in (self.deadline, self.since, self.warn_at)))


@attrs.frozen(eq=False, repr=False)
class Moved(Value):
    """The end of a document: it is merged into that of a member.

    Attributes:
        to: The id of the member that a guest became, or that it is joined to.
        version: The version at which it happened.
        joined: Whether an operator joined it to the member, whose own profile, login and run stay. A guest that became
            the member by a flow hands them over.
        token: The token of the turn in which it happened; empty in documents that were stored before it was introduced.
    """

    to: str
    version: int
    joined: bool = False
    token: str = ""


@attrs.frozen(eq=False, repr=False)
class Leaving(Value):
    """A channel that is on its way from a member to another one, or back to a guest.

    Attributes:
        address: The channel. The index may still lead to the member.
        to: The member that gets it; None if it becomes a guest's.
        version: The member's version at which it was unlinked.
        token: The token of that change; empty in documents that were stored before it was introduced.
        undone: The token of the message whose login found that the channel is not the member's, and after spaces its
            tokens of other keys. They and the tokens of its turns are not handed on, so that the message is decided at
            the next speaker, at whom it is new.
    """

    address: Address
    to: str | None
    version: int
    token: str = ""
    undone: str = ""


@attrs.frozen(eq=False, repr=False)
class OptOut(Value):
    """A note that a member wants no messages at an address.

    Attributes:
        address: The address, as the bot tells it from others.
        blocked: Whether the member has blocked the bot there, so that their next message ends it.
    """

    address: Address
    blocked: bool = False


@attrs.frozen(eq=False, repr=False)
class Heard(Value):
    """A note of when the member was heard at an address whose channel has a window.

    Attributes:
        address: The address.
        at: The beginning of the hour of the latest message from there, so that one document in an hour has a new one.
            The window that is counted from it ends an hour early at most, and never late.
    """

    address: Address
    at: datetime


@attrs.frozen(eq=False, repr=False)
class Judged(Value):
    """A note that a document was found valid.

    Attributes:
        plain: Its plain data.
        rules: The validator that judged it.
        exposed: The bytes of its mutable values that callbacks see; None where they cannot be compared.
        member: The member, as the turn that made it has known them; None where the turn has changed them, or where
            what callbacks have read of them could change.
        shown: The data of its run as the audit shows it; None where it was not asked for.
    """

    plain: Fields
    rules: object
    exposed: bytes | None
    member: Member[Any] | None = None
    shown: Fields | None = None


@attrs.frozen(eq=False, repr=False)
class Document(Value):
    """The stored state of a member.

    Attributes:
        member_id: The id under which the document is stored. It is the member's id, unless the member has another
            conversation with another account of the bot (`person`).
        channel: The channel of the latest turn.
        last_updated: The instant of the latest commit; it never goes back.
        version: The number of commits.
        guest: Whether the member is a guest.
        jwt_token: The member's login token.
        authenticated: Whether the member is logged in.
        token: The life of the login token, where it is known.
        profile: The embedder's own data of the member.
        current_account: The embedder's own data of the account in use.
        run: The current run; None when no flow is open.
        suspended: The suspended runs; the last one goes on first.
        call: The pending call.
        outbox: Replies that wait for delivery.
        reminders: The reminders that wait for their instants, the next one first.
        deadline: The end of the session, as in `Session`.
        session_since: The instant at which the session began.
        warn_at: The instant at which the member is warned of the end of the session.
        channels: The linked channels.
        effects: The places whose calls with an effect were made since the member's last word: a state as `flow.state`,
            after those of the runs that wait for it as their sub-flow, as in "home.shopping/pay.paying".
        leaving: Channels that were linked. The document is done with them, and the index may not be yet.
        moved: The member that this document is merged into.
        opted_out: The addresses at which the member wants no messages.
        heard: When the member was heard at each address whose channel has a window.
        names: The linked channels that are names of one speaker, as far as the channel has told them together. Each
            stands in one group at most. All channels of a guest are names of one speaker.
        handed: The hand-over to a person; None while the bot has the conversation.
        passing: What passes to inboxes and was not taken there yet, in order.
        salt: A text that no reader of the audit can guess, so that the digest of a document in an audit entry tells
            nothing of it (`Digests.salt_of`). The next commit makes it where it is empty.
        ahead: Seconds by which the clock was ahead when the document was stored, if its instants have been corrected
            since (`engine.ahead`). They are not stored; the next audit entry has them.
        upgraded: The upgrades of runs that were made when the document was read. They are not stored; the next audit
            entry records them.
        judged: The note that the document was found valid. It is not stored, and no part of the value: two equal
            documents may differ in it, and `attrs.evolve` drops it. `codec` makes it.
    """

    member_id: str
    channel: Channel
    last_updated: datetime
    version: int = 0
    guest: bool = True
    jwt_token: str | None = attrs.field(default=None, repr=False)
    authenticated: bool = False
    token: TokenLife | None = None
    profile: Fields = attrs.field(factory=dict, repr=False)
    current_account: Fields = attrs.field(factory=dict, repr=False)
    run: Run | None = None
    suspended: tuple[Run, ...] = ()
    call: PendingCall | None = None
    outbox: tuple[Undelivered, ...] = ()
    reminders: tuple[Reminder, ...] = ()
    deadline: datetime | None = None
    session_since: datetime | None = None
    warn_at: datetime | None = None
    channels: tuple[Address, ...] = ()
    effects: tuple[str, ...] = ()
    leaving: tuple[Leaving, ...] = ()
    moved: Moved | None = None
    opted_out: tuple[OptOut, ...] = ()
    heard: tuple[Heard, ...] = ()
    names: tuple[tuple[Address, ...], ...] = ()
    handed: Handed | None = None
    passing: tuple[Passing, ...] = ()
    salt: str = attrs.field(default="", eq=False, repr=False)
    upgraded: tuple[Fields, ...] = attrs.field(default=(), eq=False, repr=False)
    ahead: float = attrs.field(default=0.0, eq=False, repr=False)
    judged: Judged | None = attrs.field(init=False, default=None, eq=False, repr=False)

    @property
    def person(self) -> str:
        """The id of the member, which all conversations of the member with accounts of the bot have in common."""
        return (
            person_of(self.member_id, (self.channel.address, *self.channels))
            if "@" in self.member_id
            else self.member_id
        )

    def speaks_to(self, address: Address) -> bool:
        """Return whether this is the conversation with the account of an address.

        An address without an account is that of any, and a document that knows no account of the member's address takes
        that of the next message.
        """
        here = (self.channel.address,) if self.guest else self.channels
        bare = address.without_account
        accounts = {known.account for known in here if known.without_account == bare}
        return not (address.account and accounts) or bool(accounts & {address.account, ""})

    def has(self, address: Address) -> bool:
        """Return whether a channel is linked to this member, by its address with or without the account."""
        return not {address, address.without_account}.isdisjoint(self.channels)

    def is_leaving(self, address: Address) -> bool:
        """Return whether a channel was linked to this member, and the index may still lead here."""
        names = {address, address.without_account}
        return any(
            leaving.address in names or (not address.account and leaving.address.without_account == address)
            for leaving in self.leaving
        )

    def linked(self, address: Address) -> tuple[Address, ...]:
        """Return the linked channels that an address names; without an account, those of every account."""
        names = {address, address.without_account}
        return tuple(
            known
            for known in self.channels
            if known in names or (not address.account and known.without_account == address)
        )

    def parted(self, addresses: Sequence[Address], to: str | None = None, *, token: str, undone: str = "") -> Document:
        """Return the document without some of its channels, which leave for another member or for guests.

        Replies that answer no message, or were for one of these channels, go to a channel that is left. Without any,
        they wait.

        Args:
            addresses: The channels.
            to: The member that gets them; None for guests.
            token: The token of the change.
            undone: As in `Leaving`.
        """
        leaving = tuple(Leaving(address, to, self.version, token, undone) for address in addresses)
        channels = tuple(known for known in self.channels if known not in addresses)
        names = tuple(group for each in self.names if len(group := (*(n for n in each if n in channels),)) > 1)
        outbox = (
            attrs.evolve(each, to=None) if each.to and each.to.is_among(addresses) else each for each in self.outbox
        )
        after = attrs.evolve(
            self, channels=channels, leaving=(*self.leaving, *leaving), names=names, outbox=tuple(outbox)
        )
        if channels and not after.has(after.channel.address):
            after = attrs.evolve(after, channel=channels[-1].channel)
        return after

    @property
    def is_reachable(self) -> bool:
        """Whether replies may be sent to the channel of the latest turn: it is linked, and the member consents."""
        return (self.guest or bool(self.channels)) and not (self.opted_out and self.is_opted_out(self.channel.address))

    def reaches(self, address: Address) -> bool:
        """Return whether replies may be sent to an address: it leads to the member, and they consent there."""
        if address.meets(self.channel.address):
            return self.is_reachable
        return bool(self.linked(address)) and not (self.opted_out and self.is_opted_out(address))

    def reached_at(self, named: Address | None = None) -> Address | None:
        """Return the address to which words for the member go; None if they can be reached at none.

        It is the named one. Without one it is that of the latest turn, or, where the member wants no messages there,
        the last of the linked channels at which they do not say so.
        """
        if named is not None:
            return named if self.reaches(named) else None
        if self.is_reachable:
            return self.channel.address
        return next(filter(self.reaches, reversed(self.channels)), None) if not self.guest else None

    def channel_at(self, address: Address | None) -> Channel:
        """Return the channel of an address; that of the latest turn for None."""
        return self.channel if address is None or address.meets(self.channel.address) else address.channel

    def names_of(self, address: Address) -> tuple[Address, ...]:
        """Return the addresses of the speaker at an address, as far as the channel has told them; itself first."""
        if self.guest:
            group = self.channels if address in self.channels or address == self.channel.address else ()
        else:
            group = next((each for each in self.names if address in each), ())
        return tuple(dict.fromkeys((address, *group)))

    def heard_at(self, address: Address) -> datetime | None:
        """Return when the member was heard at an address, as `Heard` has it; None if that is not known."""
        return next((note.at for note in self.heard if note.address == address), None)

    def is_opted_out(self, address: Address) -> bool:
        """Return whether the member wants no messages at an address, with its account or on all accounts."""
        return any(out.address in (address, address.without_account) for out in self.opted_out)

    @property
    def flow_data(self) -> FlowData | None:
        """The current run's state and data; None when no flow is open."""
        return self.run.flow_data if self.run else None

    @property
    def session(self) -> Session:
        """The member's session."""
        return Session(self.deadline, self.session_since, self.warn_at)

    def waits(self, id: str) -> bool:
        """Return whether replies stand in the outbox."""
        return any(waiting.id == id for waiting in self.outbox)

    def with_session(self, session: Session) -> Document:
        """Return this document with another session."""
        return attrs.evolve(self, deadline=session.deadline, session_since=session.since, warn_at=session.warn_at)

    @property
    def tries(self) -> int:
        """The tries of the pending call, without those that are known to have had no effect."""
        return self.call.tries - (self.run.tries if self.run else 0) if self.call else 0

    @property
    def member(self) -> Member:
        """The member, as callbacks see them."""
        return Member(
            self.person,
            self.guest,
            self.authenticated,
            self.jwt_token,
            self.profile,
            self.current_account,
            language_of(self.profile),
        )

    def at(self, now: datetime) -> Document:
        """Return the document as it is at an instant: an expired login token no longer authenticates."""
        lapsed = self.authenticated and self.token is not None and self.token.expires <= now
        return attrs.evolve(self, authenticated=False) if lapsed else self


def trail_before(trail: Sequence[str], step: str) -> tuple[str, ...]:
    """Return the trail up to a step; the whole trail when the step is not on it."""
    return (*trail[: trail.index(step)],) if step in trail else (*trail,)


def first_document(member_id: str, channel: Channel, now: datetime, address: Address, *, version: int = 0) -> Document:
    """Return the document of a new member of a channel.

    Args:
        member_id: The owner of the channel, or the guest on it.
        channel: The channel.
        now: The store's clock.
        address: The address by which the bot tells the channel from others.
        version: The version of the head on which the document is stored.
    """
    guest = is_guest_id(member_id)
    return Document(member_id, channel, now, version=version, guest=guest, channels=() if guest else (address,))


def with_address(channels: Sequence[Address], address: Address) -> tuple[Address, ...]:
    """Return linked channels with an address that is known now, in place of the same one without its account."""
    if address in channels:
        return (*channels,)
    replaced = (known for known in channels if known != address.without_account)
    return (*replaced, address)


def united(
    groups: tuple[tuple[Address, ...], ...], told: Iterable[Address], channels: Collection[Address]
) -> tuple[tuple[Address, ...], ...]:
    """Return groups of names of one speaker with names that a channel has told together.

    Args:
        groups: The groups, as in `Document.names`.
        told: The names.
        channels: The linked channels; other names are left out.
    """
    group = dict.fromkeys(each for each in told if each in channels)
    if len(group) < 2 or any(group.keys() <= {*each} for each in groups):
        return groups
    others = [each for each in groups if group.keys().isdisjoint(each)]
    joined = dict.fromkeys((*(name for each in groups if each not in others for name in each), *group))
    return (*others, (*joined,)[-2 * MAX_NAMES :])


def at_all_names(opted_out: tuple[OptOut, ...], groups: Iterable[Sequence[Address]]) -> tuple[OptOut, ...]:
    """Return wishes for no messages, each at all names of its speaker."""
    found = {out.address: out for out in opted_out}
    for group in groups:
        out = next((found[name] for name in group if name in found), None)
        if out is not None:
            found |= {name: OptOut(name, out.blocked) for name in group if name not in found}
    return tuple(found.values()) if len(found) > len(opted_out) else opted_out


P_co = TypeVar("P_co", covariant=True, default=Fields)


@attrs.frozen(eq=False, repr=False)
class StoredProfile(Value, Generic[P_co]):
    """A profile as it is stored, read as the bot's profile class when it is first used.

    Attributes:
        fields: The profile as plain values by field.
        kind: The profile class.
        read: Makes an instance of a class from plain values.
    """

    fields: Fields = attrs.field(repr=False, hash=False)
    kind: type[P_co]
    read: Callable[[Fields, type[P_co]], P_co] = attrs.field(eq=False, repr=False)
    _typed: P_co | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def read_before(self) -> P_co | None:
        """The instance that was read; None before the first use of it."""
        return self._typed

    @property
    def typed(self) -> P_co:
        """The profile as an instance of the profile class; it is read once."""
        typed = self._typed
        if typed is None:
            typed = self.read(self.fields, self.kind)
            object.__setattr__(self, "_typed", typed)
        return typed


@attrs.frozen
class Member(Generic[P_co]):
    """The member that a turn is about, as callbacks see them.

    Attributes:
        id: The member id; a guest has a provisional one.
        guest: Whether the member is not identified yet.
        authenticated: Whether the member is logged in with a login token that has not expired.
        jwt_token: The member's login token, if there is one.
        profile: An instance of the bot's profile class; the stored mapping if the bot has none.
        current_account: The account in use, as the embedder describes it. Storable.
        language: The language tag that the profile names, None without one. A `prepare` callback changes it here.
    """

    id: str
    guest: bool = True
    authenticated: bool = False
    jwt_token: str | None = attrs.field(default=None, repr=False)
    _profile: P_co | StoredProfile[P_co] = attrs.field(alias="profile", factory=cast(Any, dict), repr=False, hash=False)
    current_account: Fields = attrs.field(factory=dict, repr=False, hash=False)
    language: str | None = None

    @property
    def profile(self) -> P_co:
        """The profile, typed if the bot has a profile class. It is read once per turn, when it is first used."""
        profile: Any = self._profile
        typed: P_co = profile.typed if isinstance(profile, StoredProfile) else profile
        return typed

    @property
    def stored_profile(self) -> Fields:
        """The profile as plain values by field, as the document holds it."""
        profile: Any = self._profile
        fields: Fields = profile.fields if isinstance(profile, StoredProfile) else profile
        return fields


def language_of(profile: object) -> str | None:
    """Return the language tag that a stored profile names, None if it names none."""
    language = profile.get("language") if isinstance(profile, Mapping) else None
    return language if isinstance(language, str) else None


_UNASKED, FINISHING, NARROWED, _BURST = "unasked", "finishing", "which", "burst"
"""Marks in a run's validation context: the run's question must be asked before an answer is read; the run finishes on
an old definition of its flow; the question is asked with these choices only; a message of this burst was answered."""


def finishing(run: Run) -> Run:
    """Return the run with the mark that it finishes on the old definition of its version."""
    context = run.context
    return run if FINISHING in context else _with_context(run, {**context, FINISHING: True})


def needs_asking(run: Run | None) -> bool:
    """Return whether the run's question must be asked before an answer is read."""
    return run is not None and _UNASKED in run.context


def asked(run: Run) -> Run:
    """Return the run with its question asked."""
    if not needs_asking(run):
        return run
    return _with_context(run, _without(run.context, _UNASKED))


def narrowed_to(run: Run) -> tuple[str, ...]:
    """Return the choices to which the run's question is narrowed; none if it is asked whole."""
    choices = run.context.get(NARROWED)
    if not isinstance(choices, list | tuple):
        return ()
    return tuple(choice for choice in cast("Sequence[object]", choices) if isinstance(choice, str))


def narrowed(run: Run, choices: Iterable[str]) -> Run:
    """Return the run with its question narrowed to some choices."""
    return _with_context(run, {**run.context, NARROWED: [*choices]})


def whole(run: Run) -> Run:
    """Return the run with its question asked whole."""
    if NARROWED not in run.context:
        return run
    return _with_context(run, _without(run.context, NARROWED))


def is_of_burst(run: Run | None, burst: str, key: bytes) -> bool:
    """Return whether a message of this burst was answered while the run was the current one.

    Args:
        run: The run.
        burst: The name of the burst, which the channel may make of the sender.
        key: The key of the note, `Digests.words_key`.
    """
    return run is not None and run.context.get(_BURST) == stamp(burst, key=key)


def with_burst(run: Run, burst: str, key: bytes) -> Run:
    """Return the run with the note that a message of this burst was answered, as `is_of_burst` reads it."""
    return _with_context(run, {**run.context, _BURST: stamp(burst, key=key)})


def to_be_asked(run: Run) -> Run:
    """Return the run with its question to be asked, without the choices and the timer of its previous question."""
    context = _without(run.context, "attempts", NARROWED)
    return attrs.evolve(_with_context(run, {**context, _UNASKED: True}), shown=(), page=0, since=None, due=None)


def _without(context: Fields, *names: str) -> Fields:
    return {name: value for name, value in context.items() if name not in names}


def _with_context(run: Run, context: Fields) -> Run:
    return attrs.evolve(run, context=context)
