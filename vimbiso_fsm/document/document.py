"""The stored state of a member: the document, as attrs classes.

`codec.py` reads and writes them and judges their shape, `state_validator.py` their rules. A flow's own data stands in
`StepData.fields`; everything that the framework adds to the seed's document starts with `_` on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Literal, cast

import attrs
from typing_extensions import TypeVar

from vimbiso_fsm.document.ids import guest_id
from vimbiso_fsm.messages.message import Channel


@attrs.frozen
class Address:
    """Type and identifier of a channel, without what it knows of the member."""

    type: str
    identifier: str = attrs.field(repr=False)


@attrs.frozen
class StepData:
    """The data of a run.

    Attributes:
        flow_type: The name of the flow.
        channel: The address of the member when the run began.
        context: Counts and marks of the framework.
        verdict: The latest verdict on an answer: step, ok, code.
        fields: The flow's data as plain data.
        typed: The flow's data as its class, where that is at hand. It is not stored.
    """

    flow_type: str
    channel: Address
    context: Mapping[str, Any] = attrs.field(factory=dict)
    verdict: Mapping[str, Any] = attrs.field(factory=dict)
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    typed: Any = attrs.field(default=None, eq=False, repr=False)

    @property
    def attempts(self) -> int:
        """Refusals in a row at this question."""
        return int(self.context.get("attempts", 0))

    @property
    def tries(self) -> int:
        """Tries of this state's call that are known to have done nothing, before the login that it waits for."""
        return int(self.context.get("tries", 0))


@attrs.frozen
class FlowData:
    """A run and the state in which it stands, its `step`."""

    id: str
    step: str
    data: StepData


@attrs.frozen
class Shown:
    """A choice that was shown, and its title as the member read it."""

    choice: str
    title: str


class Suspended(StrEnum):
    """Why a run is suspended. The values are the words on the wire."""

    SUBFLOW = "sub"
    """The run began another flow as its sub-flow, and goes on by `done` or `cancelled`."""
    INTERRUPTED = "under"
    """A quick command's flow lies above the run, which is asked again afterwards."""
    OFFERED_BACK = "asked"
    """The member wanted something else; the flow `carry_on` offers the run back."""
    LOGIN = "entry"
    """The run waits until the member is known. It goes on when its `requires` holds then, else it is dropped."""


@attrs.frozen
class Run:
    """A run with its bookkeeping.

    `version`, `fingerprint`: of the flow's declaration the run was last stepped with. `entered`: the document's
    version at which the state was entered (fences buttons and timers). The seed's document has none of the three.
    `trail`: the questions answered so far, for `back`, a sub-flow being one; `made`: whether a call with an effect was
    made before them, or may have been. `page`: of a long list. `shown`: the choices shown, in order.
    `since`: when the state was entered. `due`: when its timer fires.
    `waits`: why it is suspended, "" for the current run. A current run that was imported may wait for the login.
    """

    flow_data: FlowData
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

    @property
    def id(self) -> str:
        """The run's id."""
        return self.flow_data.id

    @property
    def flow(self) -> str:
        """The flow's name."""
        return self.flow_data.data.flow_type

    @property
    def step(self) -> str:
        """The state the run stands in."""
        return self.flow_data.step


@attrs.frozen
class PendingCall:
    """A call on its way.

    Attributes:
        key: The idempotency key.
        service: The name of the service.
        method: The name of its method.
        arguments: The arguments by name, as plain data.
        root: The token of the message that caused the call.
        leased_until: The end of the lease of the worker that makes it.
        tries: How often it has been taken up.
        again_at: The instant at which it is taken up again after an unknown outcome.
        renewed: Whether the token was renewed for this try.
        again: How often a recovery has gone back to it.
    """

    key: str
    service: str
    method: str
    arguments: Mapping[str, Any] = attrs.field(repr=False)
    root: str
    leased_until: datetime
    tries: int = 1
    again_at: datetime | None = None
    renewed: bool = False
    again: int = 0


@attrs.frozen
class TokenLife:
    """The instants at which a token was issued and expires, by its own claims."""

    issued: datetime
    expires: datetime


@attrs.frozen
class Undelivered:
    """Replies that answer no message: a timer's, the session's end, a late call's.

    Attributes:
        id: The identifier in the outbox.
        replies: The replies, as `replies_to_raw` makes them.
        leased_until: The end of the lease of the worker that delivers them, or of a rest; None without either.
        tries: How often a delivery has begun.
    """

    id: str
    replies: tuple[Any, ...] = attrs.field(repr=False)
    leased_until: datetime | None = None
    tries: int = 0


@attrs.frozen
class Session:
    """The life of a member's session.

    Attributes:
        deadline: The instant at which it ends unless the member says something; None when no session is open.
        since: The instant at which it began.
        warn_at: The instant at which the member is to be warned of the end; None when no warning is due.
    """

    deadline: datetime | None = None
    since: datetime | None = None
    warn_at: datetime | None = None


@attrs.frozen
class Moved:
    """The member that a guest has become, and the guest's version at which it happened."""

    to: str
    version: int


@attrs.frozen
class Judged:
    """What is known of a document that was judged valid.

    `plain`: its plain data; `rules`: the validator that judged it; `exposed`: the bytes of those mutable values that
    callbacks see, or None.
    """

    plain: Mapping[str, Any]
    rules: object
    exposed: bytes | None


@attrs.frozen
class Document:
    """The stored state of a member.

    Attributes:
        member_id: The member.
        channel: The channel of the latest turn.
        last_updated: The instant of the latest commit; it never goes back.
        version: The number of commits.
        guest: Whether the member is not known yet.
        jwt_token: The member's token.
        authenticated: Whether the member is logged in.
        token: The life of the token, where it is known.
        profile: The embedder's own data of the member.
        current_account: The embedder's own data of the account in use.
        run: The current run; None when no flow is open.
        suspended: Runs to come back to, the next one last.
        call: A call on its way.
        outbox: Replies that wait.
        deadline: The end of the session unless the member says something.
        session_since: The instant at which the session began.
        warn_at: The instant at which the member is to be warned of the end.
        channels: The linked channels.
        moved: Where a guest has gone.
        upgraded: Runs upgraded on read. Not stored; recorded by the next audit entry.
        judged: What is known of the document once it was found valid. Not stored.
    """

    member_id: str
    channel: Channel
    last_updated: datetime
    version: int = 0
    guest: bool = True
    jwt_token: str | None = attrs.field(default=None, repr=False)
    authenticated: bool = False
    token: TokenLife | None = None
    profile: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    current_account: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    run: Run | None = None
    suspended: tuple[Run, ...] = ()
    call: PendingCall | None = None
    outbox: tuple[Undelivered, ...] = ()
    deadline: datetime | None = None
    session_since: datetime | None = None
    warn_at: datetime | None = None
    channels: tuple[Address, ...] = ()
    moved: Moved | None = None
    upgraded: tuple[Mapping[str, Any], ...] = attrs.field(default=(), eq=False, repr=False)
    judged: Judged | None = attrs.field(init=False, default=None, eq=False, repr=False)

    def keep_judged(self, judged: Judged) -> None:
        """Remember that the document was found valid.

        It is a note, no part of the value: two equal documents may differ in it, and `attrs.evolve` drops it.
        """
        object.__setattr__(self, "judged", judged)

    @property
    def flow_data(self) -> FlowData | None:
        """The current run's state and data; None when no flow is open."""
        return self.run.flow_data if self.run else None

    @property
    def session(self) -> Session:
        """The member's session."""
        return Session(self.deadline, self.session_since, self.warn_at)

    def with_session(self, session: Session) -> Document:
        """Return this document with another session."""
        return attrs.evolve(self, deadline=session.deadline, session_since=session.since, warn_at=session.warn_at)

    @property
    def tries(self) -> int:
        """Tries of the call on its way, but for those that are known to have done nothing."""
        return self.call.tries - (self.run.flow_data.data.tries if self.run else 0) if self.call else 0

    @property
    def member(self) -> Member:
        """The person, as callbacks see them."""
        return Member(
            self.member_id,
            self.guest,
            self.authenticated,
            self.jwt_token,
            self.profile,
            self.current_account,
            language_of(self.profile),
        )

    def at(self, now: datetime) -> Document:
        """Return the document as it is at an instant: an expired token does not authenticate."""
        lapsed = self.authenticated and self.token is not None and self.token.expires <= now
        return attrs.evolve(self, authenticated=False) if lapsed else self

    def with_member(self, member: Member) -> Document:
        """Return the document with another state of the member. The id stays; `operations/promote.py` changes it."""
        return attrs.evolve(
            self,
            authenticated=member.authenticated,
            jwt_token=member.jwt_token,
            profile=member.stored_profile,
            current_account=member.current_account,
        )


def trail_before(trail: Sequence[str], step: str) -> tuple[str, ...]:
    """Return the trail up to a step; the whole trail when the step is not on it."""
    return (*trail[: trail.index(step)],) if step in trail else (*trail,)


def first_document(channel: Channel, now: datetime, *, member_id: str = "", version: int = 0) -> Document:
    """Return the document of a new member of a channel: a guest, unless `member_id` names the owner."""
    return Document(
        member_id=member_id or guest_id(channel),
        channel=channel,
        last_updated=now,
        version=version,
        guest=not member_id,
        channels=(Address(*channel.address),) if member_id else (),
    )


P_co = TypeVar("P_co", covariant=True, default=Mapping[str, Any])


@attrs.frozen
class StoredProfile(Generic[P_co]):
    """A profile as it is stored, read as the bot's profile class when it is first used.

    Attributes:
        fields: The profile as plain values by field.
        kind: The profile class.
        read: Makes an instance of a class from plain values.
    """

    fields: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    kind: type[P_co]
    read: Callable[[Mapping[str, Any], type[Any]], Any] = attrs.field(eq=False, repr=False)
    _typed: Any = attrs.field(default=None, eq=False, repr=False)

    @property
    def typed(self) -> P_co:
        """The profile as an instance of the profile class; it is read once."""
        if self._typed is None:
            object.__setattr__(self, "_typed", self.read(self.fields, self.kind))
        return cast(P_co, self._typed)


@attrs.frozen
class Member(Generic[P_co]):
    """The member that a turn is about, as callbacks see them.

    Attributes:
        id: The member id; a guest has a provisional one.
        guest: Whether the member is not identified yet.
        authenticated: Whether the member is logged in with a live token.
        jwt_token: The member's token, if there is one.
        profile: An instance of the bot's profile class; the stored mapping if the bot has none.
        current_account: The account in use, as the embedder describes it. Storable.
        language: The language tag that the profile names, None if it names none. A `prepare` changes it here.
    """

    id: str
    guest: bool = True
    authenticated: bool = False
    jwt_token: str | None = attrs.field(default=None, repr=False)
    _profile: P_co | StoredProfile[P_co] = attrs.field(alias="profile", factory=cast(Any, dict), repr=False, hash=False)
    current_account: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)
    language: str | None = None

    @property
    def profile(self) -> P_co:
        """The profile, typed if the bot has a profile class. It is structured once a turn, when it is first used."""
        profile = self._profile
        return cast(P_co, profile.typed if isinstance(profile, StoredProfile) else profile)

    @property
    def stored_profile(self) -> Mapping[str, Any]:
        """The profile as plain values by field, as the document holds it."""
        profile: Any = self._profile
        return cast("Mapping[str, Any]", profile.fields if isinstance(profile, StoredProfile) else profile)


def language_of(profile: object) -> str | None:
    """Return the language tag that a stored profile names, None if it names none."""
    language = profile.get("language") if isinstance(profile, Mapping) else None
    return language if isinstance(language, str) else None


_UNASKED, FINISHING = "unasked", "finishing"
"""Marks in a run's validation context: its question must be asked before an answer is taken; the run ends on the old
definition of its flow."""


def finishing(run: Run) -> Run:
    """Return the run as one that ends on the old definition of its version."""
    context = run.flow_data.data.context
    return run if FINISHING in context else _with_context(run, {**context, FINISHING: True})


def needs_asking(run: Run | None) -> bool:
    """Return whether the run's question must be asked before an answer is taken."""
    return run is not None and _UNASKED in run.flow_data.data.context


def asked(run: Run) -> Run:
    """Return the run with its question asked."""
    if not needs_asking(run):
        return run
    return _with_context(run, {name: v for name, v in run.flow_data.data.context.items() if name != _UNASKED})


def to_be_asked(run: Run) -> Run:
    """Return the run with its question to be asked; what was shown, and its timer, belong to another question."""
    context = {name: value for name, value in run.flow_data.data.context.items() if name != "attempts"}
    return attrs.evolve(_with_context(run, {**context, _UNASKED: True}), shown=(), page=0, since=None, due=None)


def _with_context(run: Run, context: Mapping[str, Any]) -> Run:
    data = attrs.evolve(run.flow_data.data, context=context)
    return attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, data=data))
