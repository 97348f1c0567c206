"""The working copy of one document for one turn.

A run stands in a state. Runs form a stack: below the current run are those that wait for it, each for a reason
(`Run.waits`, a `Suspended`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import attrs

from vimbiso_fsm.audit.entries import AuditStep
from vimbiso_fsm.document.document import (
    Document,
    Fields,
    Handed,
    Heard,
    Member,
    OptOut,
    Passing,
    PendingCall,
    Reminder,
    Run,
    Suspended,
    Undelivered,
    asked,
)
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.engine import question
from vimbiso_fsm.errors import WrongMember
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, CallPolicy
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.machine import AnyPosition
from vimbiso_fsm.flow.state import Declared, State
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Address, Channel, Message
from vimbiso_fsm.messages.readers import TurnReader
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Said, Text


class NotNow(Exception):
    """The answer of the member leads to a call of a service that takes none now. The turn is not taken."""


class NotTheMembers(Exception):
    """A service knows the channel of the turn as another member's, or as that of no member. The turn ends here."""


class Draft:
    """A working copy of one document; discarded after the turn.

    Attributes:
        bot: The bot.
        before: The document at the beginning of the turn.
        channel: The channel of the turn.
        now: The store's clock. It never goes back behind the latest commit.
        version: The version of the new document.
        token: The token of the turn, from which the ids of runs and calls are made.
        root: The token of the message that caused the turn.
        earlier: The tokens of other keys under which the event may have been handled.
        roots: All tokens of the message that caused the turn, separated by spaces, `root` first.
        member: The member as callbacks see them.
        is_late: Whether the end of the session, or of a login without one, is over. A hand-over suspends it.
        met: The member at the beginning of the turn. It is the same object as `member` unless the turn changes it.
        run: The current run; None when no flow is open.
        suspended: The suspended runs, the next to go on last.
        pending: The call on its way.
        outbox: The replies that wait for delivery.
        reminders: The reminders that wait for their instants.
        effects: The places whose calls with an effect were made since the member's last word.
        opted_out: The addresses at which the member wants no messages.
        heard: When the member was heard at each address whose channel has a window.
        handed: The hand-over to a person; None while the bot has the conversation.
        passing: What passes to inboxes.
        stood: The time for which the runs and the session stood still, if this turn ends a hand-over.
        session_since: The instant at which the session began.
        off_session: Whether a run goes on without a session of the member, because a timer fired or a call returned.
        call: The call to make once the turn is stored.
        leaves: Whether the member leads the turn by a global word, which takes no answer in.
        answered: Whether the turn goes on from the answer of a service.
        from_effect: Whether the turn goes on from the answer of a call that had its effect.
        parts: Whether the channel is taken from the member, because a service knows it as another one's.
        renews: Whether the call asks for a new login token, before the call itself.
        delivery: The replies to deliver once the turn is stored.
        replies: The replies so far.
        asked: The latest question among them.
        lapsed: The identifiers of replies in the outbox that are not said any more, because they hold no longer.
        steps: The steps on the machine, for the audit.
        codes: The codes of the reasons that were said, for the audit.
        kind: The kind of the audit entry.
        status: The status of the turn.
        trigger: The first trigger that was accepted, or the global word.
        detail: Facts for the audit entry.
        changed: Whether there is a new document to store.
        sends: Whether the process that decides the turn sends its replies.
        stands: Whether it differs from the one before in its outbox alone, because the message is not taken.
        typed: The typed data by the id of its run.
        ended: The run that ended last.
        begun: The number of runs that began in this turn.
        passed: The number of states that were passed without a question.
        busy: The services that take no call now.
        stays: Whether the member answers a question, and stays there if a service is busy.
        notices: The number of first replies that tell what happened before the message, such as the end of a session.
        burst: The name of the burst that the message belongs to; empty without one.
        message: The message of the turn; None if it is of another event.
        by: The name of the system that pulled a trigger.
        named: The address that the event names; None of one that names none.
    """

    # What few turns change has its default in the class, so that no turn has to set it.
    earlier: tuple[str, ...] = ()
    stood: timedelta | None = None
    off_session: bool = False
    leaves: bool = False
    answered: bool = False
    from_effect: bool = False
    parts: bool = False
    call: Call[Any] | None = None
    renews: bool = False
    delivery: Undelivered | None = None
    asked: Reply | None = None
    lapsed: tuple[str, ...] = ()
    kind: str = "transition"
    status: str = "advanced"
    trigger: str = ""
    changed: bool = True
    stands: bool = False
    sends: bool = False
    ended: Run | None = None
    begun: int = 0
    passed: int = 0
    busy: frozenset[str] = frozenset()
    stays: bool = False
    notices: int = 0
    burst: str = ""
    message: Message | None = None
    by: str = ""
    named: Address | None = None

    def __init__(self, bot: Bot, document: Document, channel: Channel, now: datetime, token: str, root: str) -> None:
        self.bot: Bot = bot
        self.before: Document = document
        self.channel: Channel = channel
        self.now: datetime = max(now, document.last_updated)
        deadline = document.deadline
        self.is_late: bool = deadline is not None and self.now > deadline and document.handed is None
        self.version: int = document.version + 1
        self.token: str = token
        self.root: str = root
        self.roots: str = root
        self.member: Member = _known(bot, document, self.now)
        self.met: Member = self.member
        self.run: Run | None = document.run
        self.suspended: tuple[Run, ...] = document.suspended
        self.pending: PendingCall | None = document.call
        self.outbox: tuple[Undelivered, ...] = document.outbox
        self.reminders: tuple[Reminder, ...] = document.reminders
        self.effects: tuple[str, ...] = document.effects
        self.opted_out: tuple[OptOut, ...] = document.opted_out
        self.heard: tuple[Heard, ...] = document.heard
        self.handed: Handed | None = document.handed
        self.passing: tuple[Passing, ...] = document.passing
        self.session_since: datetime | None = document.session_since
        self.replies: list[Reply] = []
        self.steps: list[AuditStep] = []
        self.codes: list[str] = []
        self.detail: dict[str, Any] = {}
        self.typed: dict[str, Any] = {}

    def take_member(self, member: Member[Any]) -> None:
        """Take over the member that a callback made.

        Raises:
            NotTheMembers: It is not the member of the document, and a service has just said so.
            WrongMember: It is not the member of the document, and no service has said so.
        """
        if not self.before.guest and member.id != self.before.person:
            raise NotTheMembers if self.answered else WrongMember(self.before.person)
        self.member = member

    @property
    def was_asked_to_log_in(self) -> bool:
        """Whether the member was asked for a login before this turn, so that the speaker was not proven."""
        before = self.before
        return not (before.guest or before.authenticated) and _waits_for_login(before.suspended)

    @property
    def is_unproven(self) -> bool:
        """Whether another person than the member may be the speaker, because a login is asked for and not made."""
        if self.before.guest or self.member.authenticated:
            return False
        return self.was_asked_to_log_in or _waits_for_login(self.suspended)

    # The current run ----------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Run:
        """The current run, in places where one is open."""
        assert self.run is not None
        return self.run

    @property
    def flow(self) -> Flow[Any]:
        """The definition of the flow by which the current run is stepped."""
        return self.bot.definition(self.standing)

    @property
    def here(self) -> AnyPosition:
        """The state in which the current run stands, prepared."""
        run = self.run
        assert run is not None
        return self.bot.versions[run.flow, run.version].positions[run.step]

    @property
    def state(self) -> State[Any]:
        """The current run's state."""
        return self.here.state

    @property
    def place(self) -> str:
        """The current state as `flow.state`, after those of the runs that wait for it as their sub-flow."""
        runs = [self.standing]
        for below in reversed(self.suspended):
            if below.waits != Suspended.SUBFLOW:
                break
            runs.insert(0, below)
        return "/".join(f"{run.flow}.{run.step}" for run in runs)

    @property
    def reader(self) -> Callable[[str], object] | None:
        """The reader of the current state in this turn."""
        run = self.run
        assert run is not None
        reads = self.bot.versions[run.flow, run.version].positions[run.step].state.reads
        return reads.at(self.turn(run)) if isinstance(reads, TurnReader) else reads

    @property
    def policy(self) -> CallPolicy:
        """The retry policy of the current state's call."""
        return self.state.call_policy

    @property
    def tries(self) -> int:
        """The tries of the call on its way, without those that are known to have had no effect."""
        return attrs.evolve(self.before, run=self.run, call=self.pending).tries

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier try of the call on its way may have taken effect."""
        return self.policy.effect and self.tries > 1

    @property
    def at_home(self) -> bool:
        """Whether the member stands in the home flow itself."""
        return self.run is not None and self.run.flow == self.bot.home.name

    def data(self, run: Run) -> Any:
        """The run's typed data."""
        data = self.typed.get(run.id)
        if data is None:
            kept, kind = run.typed, self.bot.versions[run.flow, run.version].flow.data
            # The data may have been kept by another definition of the flow.
            data = kept if type(kept) is kind else structure(run.fields, kind)
            self.typed[run.id] = data
        return data

    def turn(self, run: Run) -> Turn[Any]:
        """Return the turn as a callback of the run sees it."""
        bot, data = self.bot, self.typed.get(run.id)
        return Turn(
            self.data(run) if data is None else data, self.member, self.channel, self.now, run.flow, run.step,
            message=self.message, zone_of=bot.zone_for, proof_of=bot.proves, language_of=bot.language,
        )  # fmt: skip

    def zone(self) -> tzinfo:
        """Return the time zone of the member."""
        return self.bot.zone_for(self.member)

    # The replies --------------------------------------------------------------------------------------------------

    def say(self, text: Said) -> None:
        """Reply with a text, or with another reply without choices."""
        self.replies.append(text)

    @property
    def said(self) -> tuple[Reply, ...]:
        """The replies with their final words, in the member's language. Those of a question have them already."""
        for reply in self.replies:
            if not (reply.text if isinstance(reply, Text) else isinstance(reply, Buttons | Menu) and reply.body.text):
                break
        else:
            return tuple(self.replies)
        return self.bot.say(self.replies, self.member.stored_profile, self.channel, self.zone)

    def ask(self) -> None:
        """Ask the current state's question. If the member can answer nothing, say so first.

        While a person has the conversation, it is not asked; the end of the hand-over does so.
        """
        if self.run is None or self.handed is not None:
            return
        run = asked(self.run) if self.run.context else self.run
        here = self.bot.versions[run.flow, run.version].positions[run.step]
        language = self.bot.language(self.member.stored_profile, self.channel)
        if here.has_choices:
            built = question.build(self.bot, here, run, self.turn(run), language)
            reply, shown, page = built.reply, built.shown, built.page
            if built.empty:
                self.say(Text("choice.none"))
        else:  # where its words are the same in each turn, no callback sees the turn
            reply = here.words[language] if here.words else question.body_of(self.bot, here, self.turn(run), language)
            shown, page = (), 0
        if (shown, page) != (run.shown, run.page):
            run = attrs.evolve(run, shown=shown, page=page)
        self.run = run
        self.asked = reply
        self.replies.append(reply)

    def hear(self) -> None:
        """Take a word of the member, after which each effect may be made again."""
        self.effects = ()

    def ignore(self) -> None:
        """Leave the document as it is. A message is remembered with its replies, so that it has no effect later."""
        self.status, self.changed = "ignored", False

    # The stack of runs --------------------------------------------------------------------------------------------

    def holds_answers(self, run: Run) -> bool:
        """Return whether the run, or a run that waits for it, holds answers that would be lost."""
        return holds_answers(self.bot, run, self.suspended)

    def keeps(self, run: Run) -> bool:
        """Return whether the run outlives the session: it has a timer, or answers that would be lost with it."""
        return outlives(self.bot, run, self.suspended)

    def called_by(self, run: Run) -> tuple[Run, ...]:
        """Return the run, then the runs that wait for it as their sub-flow, up to home."""
        return callers_of(self.bot, run, self.suspended)

    def pop(self) -> Run | None:
        """Take the topmost run that waits for the current one; None if there is none. A next run waits for home."""
        for place in range(len(self.suspended) - 1, -1, -1):
            run = self.suspended[place]
            if run.waits != Suspended.NEXT:
                self.suspended = (*self.suspended[:place], *self.suspended[place + 1 :])
                return run
        return None

    @property
    def waiting(self) -> tuple[Run, ...]:
        """The suspended runs that wait for the current one; the last one goes on first."""
        return tuple(run for run in self.suspended if run.waits != Suspended.NEXT)

    @property
    def nexts(self) -> tuple[Run, ...]:
        """The runs that begin when the member has come home, the first one first."""
        return tuple(run for run in self.suspended if run.waits == Suspended.NEXT) if self.suspended else ()


def is_entering(bot: Bot, run: Run, suspended: Sequence[Run]) -> bool:
    """Return whether a run belongs to the entry flow or to a sub-flow of it, whose calls are made to get a token."""
    return bot.entry is not None and bot.entry.name in [each.flow for each in (run, *suspended)]


def has_answers(bot: Bot, run: Run) -> bool:
    """Return whether the run holds answers that would be lost with it."""
    flow = bot.definition(run)
    return any(flow[step].into for step in run.trail if step in flow.by_name)


def holds_answers(bot: Bot, run: Run, suspended: Sequence[Run]) -> bool:
    """Return whether the run, or a run that waits for it as its sub-flow, holds answers that would be lost."""
    return any(has_answers(bot, each) for each in callers_of(bot, run, suspended))


def outlives(bot: Bot, run: Run, suspended: Sequence[Run]) -> bool:
    """Return whether a run outlives the session.

    It has a timer, waits for another system or is a next one, or it has answers that would be lost with the session.
    """
    entry = bot.entry.name if bot.entry else ""
    if run.due is not None or run.waits == Suspended.NEXT or bot.position(run).events:
        return True
    return run.flow not in (CARRY_ON.name, entry) and holds_answers(bot, run, suspended)


def callers_of(bot: Bot, run: Run, suspended: Sequence[Run]) -> tuple[Run, ...]:
    """Return the run, then the runs that wait for it as their sub-flow, up to home."""
    chain = [run]
    for below in reversed(suspended):
        if below.waits != Suspended.SUBFLOW or below.flow == bot.home.name:
            break
        chain.append(below)
    return tuple(chain)


def held_runs(bot: Bot, document: Document, *, answers: bool = False) -> tuple[Run, ...]:
    """Return the runs that have a timer, each with the runs that wait for it, suspended as if interrupted.

    Args:
        bot: The bot.
        document: The document whose runs they are.
        answers: Whether to return those that hold answers, too.
    """
    runs = (*document.suspended, *([document.run] if document.run else []))
    found: list[Run] = []
    for place, run in enumerate(runs):
        if run.waits == Suspended.SUBFLOW or not (run.due or (answers and outlives(bot, run, runs[:place]))):
            continue
        first = place
        while first and runs[first - 1].waits == Suspended.SUBFLOW:
            first -= 1
        waits = run.waits if run.waits == Suspended.NEXT else Suspended.INTERRUPTED
        found += [*runs[first:place], attrs.evolve(run, waits=waits)]
    return tuple(found)


def with_answers(run: Run, answers: Sequence[str]) -> Run:
    """Return the run with answers to give as soon as it asks; with none, without queued answers."""
    context = {name: value for name, value in run.context.items() if name != "answers"}
    return attrs.evolve(run, context={**context, "answers": [*answers]} if answers else context)


def settle(flow: Declared, data: Any) -> tuple[Any, Fields, Any]:
    """Return typed data as it will be read back, its plain data, and the typed data that may stay with the run.

    Typed data that a callback could change later does not stay.

    Raises:
        Misfit: A value does not fit its field.
    """
    kind = flow.data_type
    if kind.stable(data):
        return data, kind.plain(data), data
    data = kind.settled(data, f"data of flow {flow.name!r}")
    return data, unstructure(data), data if kind.stable(data) else None


def _known(bot: Bot, document: Document, now: datetime) -> Member:
    """The member now. A token whose life is not known does not count if the bot reads tokens."""
    judged = document.judged
    if document.authenticated:
        document = document.at(now)
    if judged is not None and judged.member is not None and judged.rules is bot.validator and document.judged is judged:
        return judged.member
    member = bot.typed(document.member)
    if bot.tokens is None or document.jwt_token is None or document.token is not None:
        return member
    return attrs.evolve(member, authenticated=False, jwt_token=None)


def _waits_for_login(suspended: tuple[Run, ...]) -> bool:
    return any(run.waits == Suspended.LOGIN for run in suspended)
