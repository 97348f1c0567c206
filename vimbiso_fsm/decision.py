"""How a turn is decided: `decide(bot, document, event, now) -> Decision`. Pure: it knows no store, no clock, no chance.

An event is a `Message`, an `Answered` call or a `Due` timer. The way of a message:

    session over?  ->  a call on its way?  ->  command  ->  shortcut  ->  choice shown  ->  the state's reader
                   ->  trigger  ->  machine.fire  ->  the new state is settled: say, call, sub-flow, auto, question

Whatever an author's callback raises, the decision is then: the document as before, a plain sentence with a reference
for the member, and an error entry for the audit. Ids are hashes of the event's token, so deciding twice decides the
same.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs

from vimbiso_fsm import question, stack
from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import document_to_raw, dumps, replies_to_raw, structure, unstructure
from vimbiso_fsm.commands import CARRY_ON, CarryOn, Shortcut, normal
from vimbiso_fsm.errors import InvalidState, VimbisoError
from vimbiso_fsm.flow import SECRET, Flow, State
from vimbiso_fsm.flow_audit import AuditEntry, AuditStep, channel_digest, error_record, redacted
from vimbiso_fsm.machine import Fired
from vimbiso_fsm.messages import Channel, Message, Reply, Text
from vimbiso_fsm.state import Address, Document, FlowData, Moved, PendingCall, Run, StepData, guest_id
from vimbiso_fsm.turn import Call, Caller, Refused, Turn

__all__ = [
    "Answered",
    "Decision",
    "Due",
    "Event",
    "caller",
    "content_digest",
    "current_question",
    "decide",
    "failure",
    "first_document",
    "hashed",
    "turn_token",
]

CALL_LEASE = timedelta(seconds=30)
"""How long a call is in the hands of whoever committed it, before another may take it up."""
CALL_TRIES = 5
"""How often a call whose outcome stays unknown is taken up, before the flow hears `failed`."""


@attrs.frozen
class Answered:
    """A call has come back. `result` is what the service returned, a `Refused` among it; `unknown`: it raised, and
    nobody knows whether it was done. `tries`: how often the call has been taken up."""

    key: str
    root: str
    result: Any = attrs.field(default=None, repr=False)
    unknown: bool = False
    tries: int = 1


@attrs.frozen
class Due:
    """A timer has come. It does nothing unless `run` still stands in the state it entered at version `entered`."""

    run: str
    entered: int


Event: TypeAlias = Message | Answered | Due


@attrs.frozen
class Decision:
    """What a turn comes to.

    `status`: "advanced", "refused", "ignored", "recovered" or "failed". `document`: the new one; the old one when
    `changed` is false, and then there is nothing to store but to verify. `raw`, `record`: document and turn record
    as bytes. `entry`: for the audit, still to be sealed. `call`: to be run once it is stored. `not_after`: instant
    after which the decision is worth nothing. `error`: what a callback raised.
    """

    status: str
    document: Document
    replies: tuple[Reply, ...]
    token: str
    root: str
    content: str
    changed: bool = True
    raw: bytes = attrs.field(default=b"", repr=False)
    record: bytes = attrs.field(default=b"", repr=False)
    entry: AuditEntry | None = None
    call: Call[Any] | None = None
    not_after: datetime | None = None
    error: BaseException | None = attrs.field(default=None, eq=False)

    @property
    def wake_at(self) -> datetime | None:
        """The earliest instant at which something is due although nobody says anything."""
        document = self.document
        timers = [run.due for run in (document.run, *document.suspended) if run and run.due]
        if document.call:
            timers.append(document.call.leased_until)
        if document.moved:
            timers.append(document.last_updated)
        return min(timers, default=None)


def hashed(*parts: str) -> str:
    """32 hex digits; no two lists of parts share them."""
    return hashlib.sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:32]


def turn_token(event: Event) -> str:
    """What makes two deliveries the same turn: channel type, our account, sender and message id; or the call."""
    match event:
        case Message(channel=channel):
            return hashed("message", channel.type, event.account, channel.identifier, event.id)
        case Answered(unknown=True):
            return hashed("no answer", event.key, str(event.tries))
        case Answered():
            return hashed("answer", event.key)
        case Due():
            return hashed("due", event.run, str(event.entered))


def content_digest(event: Event) -> str:
    """A digest of what was said: the same token with another one is no repetition."""
    if isinstance(event, Message):
        return hashed(event.kind, event.text or "", event.choice or "")[:16]
    return ""


def first_document(channel: Channel, now: datetime, *, member_id: str = "", version: int = 0) -> Document:
    """The document of somebody new on a channel: a guest, unless the channel is known to be a member's."""
    return Document(
        member_id=member_id or guest_id(channel),
        channel=channel,
        last_updated=now,
        version=version,
        guest=not member_id,
        channels=(Address(*channel.address),) if member_id else (),
    )


def decide(bot: Bot, document: Document | None, event: Event, now: datetime, *, recovered: bool = False) -> Decision:
    """Decide one turn. Never raises for anything a message, a document of this bot or a callback can do.

    `document`: the stored one, None for a first contact. `now`: the store's clock, with time zone. `recovered`: the
    document was mended just now, which the member is told.
    """
    if document is None:
        if not isinstance(event, Message):
            raise TypeError("only a message can be the first event of a conversation")
        document = first_document(event.channel, now)
    desk = _Desk(bot, document, event, now)
    try:
        desk.take(event, recovered)
        return desk.decision()
    except Exception as error:
        return failure(bot, document, event, now, error)


def failure(bot: Bot, document: Document, event: Event, now: datetime, error: BaseException) -> Decision:
    """The decision when something raised: the document as before, a plain sentence, an error entry."""
    desk = _Desk(bot, document, event, now)
    reference = desk.token[:10]
    desk.kind, desk.status = "error", "failed"
    desk.detail = error_record(error, reference)
    desk.say(Text("failure", reference=reference))
    return attrs.evolve(desk.decision(), error=error)


def current_question(bot: Bot, document: Document, now: datetime) -> tuple[Reply, ...]:
    """What the member is being asked now; nothing when no flow is open or the question cannot be drawn."""
    desk = _Desk(bot, document, Due("", 0), now)
    try:
        if document.call:
            desk.say(desk.waiting_words())
        else:
            desk.ask()
    except Exception:  # the member gets no words of a failing callback; the next message meets and reports it
        return ()
    return bot.texts.replies(desk.replies)


class _Desk:
    """One turn on the desk: the parts of the document while they change, and what is to be said of them."""

    def __init__(self, bot: Bot, document: Document, event: Event, now: datetime) -> None:
        self.bot = bot
        self.before = document
        self.now = max(now, document.last_updated)
        self.version = document.version + 1
        self.token = turn_token(event)
        self.root = event.root if isinstance(event, Answered) else self.token
        self.content = content_digest(event)
        self.channel = _channel(document.channel, event)
        self.member = document.member
        self.run = document.run
        self.suspended = document.suspended
        self.pending = document.call
        self.call: Call[Any] | None = None
        self.typed: dict[str, Any] = {}
        self.replies: list[Reply] = []
        self.steps: list[AuditStep] = []
        self.codes: list[str] = []
        self.kind, self.status, self.changed = "transition", "advanced", True
        self.detail: dict[str, Any] = {}
        self.trigger = ""
        self.started = 0
        self.autos = 0
        self.spoken = isinstance(event, Message)
        self.renewed = not isinstance(event, Due)

    # What came in -------------------------------------------------------------------------------------------------

    def take(self, event: Event, recovered: bool) -> None:
        """Decide the event."""
        match event:
            case Answered():
                self.take_answer(event)
            case Due():
                self.take_timer(event)
            case Message():
                self.take_message(event, recovered)

    def take_answer(self, answered: Answered) -> None:
        """A call came back: `done` or `failed` in the state that proposed it."""
        pending, run = self.pending, self.run
        if pending is None or pending.key != answered.key or run is None:
            return self.ignore()
        if answered.unknown and pending.tries < CALL_TRIES:
            self.kind, self.status = "call", "failed"
            self.detail = {"call": f"{pending.service}.{pending.method}", "outcome": "unknown"}
            self.pending = attrs.evolve(pending, leased_until=self.now)
            return self.say(self.waiting_words())
        self.pending = None
        result = Refused("call.unsure") if answered.unknown else answered.result
        if isinstance(result, Refused):
            self.fail(result)
        elif not self.pull("done", result):
            self.fail(Refused("call.failed"))

    def fail(self, reason: Refused) -> None:
        """Route a failed call; a flow that has no way for it is left, for nobody may be stranded."""
        self.give(reason)
        if not self.pull("failed", reason=reason):
            self.leave(cancelled=True)

    def take_timer(self, due: Due) -> None:
        """A state's time is over, if the run still stands where the timer was set."""
        run = self.run
        if run is None or (run.id, run.entered) != (due.run, due.entered) or not run.due or run.due > self.now:
            return self.ignore()
        if not self.pull("timeout"):
            self.ignore()

    def take_message(self, message: Message, recovered: bool) -> None:
        """A member said something."""
        if self.pending:
            return self.wait(self.pending)
        if recovered:
            self.kind, self.status = "recovery", "recovered"
            self.say(Text("recovered"))
        if self.over():
            return self.end_session()
        if message.text is None and message.choice is None:
            return self.refuse([Refused("message.unsupported")])
        said = message.choice if message.choice is not None else message.text or ""
        if len(said) > self.bot.limits.text:
            return self.refuse([Refused("message.too_long", limit=self.bot.limits.text)])
        if message.choice is not None:
            return self.press(message.choice)
        self.hear(said)

    def hear(self, text: str) -> None:
        """Typed words: a command, a shortcut, a choice, or an answer for the state's reader."""
        command = self.bot.commands.command(normal(text))
        if command:
            self.kind, self.trigger = ("recovery" if self.status == "recovered" else "command"), command
            return self.obey(command)
        if self.run is None:
            self.kind = "start" if self.kind == "transition" else self.kind
            return self.go_home()
        for shortcut in self.bot.shortcuts if self.at_home() else ():
            answers = shortcut.reads(text)
            if answers is not None:
                return self.follow(shortcut, answers)
        choice = question.chosen(self.bot, self.flow, self.run, text)
        if choice:
            return self.choose(choice)
        self.read(text)

    def press(self, choice: str) -> None:
        """A pressed button or row. One of an earlier question is closed; a bare id counts as if it were typed, but
        never as a command."""
        pressed = question.pressed(choice)
        run = self.run
        if pressed is None:
            if run is None:
                return self.go_home()
            known = question.chosen(self.bot, self.flow, run, choice)
            return self.choose(known) if known else self.refuse([Refused("choice.unknown")])
        if run is None or (pressed.run, pressed.entered) != (run.id[-8:], run.entered):
            return self.closed()
        self.choose(pressed.choice)

    def closed(self) -> None:
        """An old button: say so and repeat what is asked now; nothing changes."""
        self.say(Text("choice.closed"))
        if self.run is None:
            return self.go_home()
        self.ask()
        self.ignore()

    def ignore(self) -> None:
        """Nothing is stored of this."""
        self.status, self.changed = "ignored", False

    def wait(self, pending: PendingCall) -> None:
        """Something was said while a call is on its way. Once its lease has ended it is taken up again."""
        self.say(self.waiting_words())
        if self.now < pending.leased_until:
            return self.ignore()
        self.kind = "call"
        self.pending = attrs.evolve(pending, leased_until=self.now + CALL_LEASE, tries=pending.tries + 1)
        self.call = Call(pending.service, pending.method, pending.arguments, stored=True)

    def waiting_words(self) -> Text:
        """What the call's state says meanwhile."""
        run = self.run
        ask = self.flow[run.step].ask if run else None
        return Text("call.waiting") if ask is None or run is None else question.text_of(ask, self.turn(run))

    # Commands and shortcuts -----------------------------------------------------------------------------------------

    def obey(self, command: str) -> None:
        """One of the words that always work."""
        if command == "help":
            return self.help()
        if command == "back":
            return self.back()
        if command == "cancel":
            return self.cancel()
        self.menu()

    def menu(self) -> None:
        """The way home. A flow with answers in it is first offered back."""
        run = self.run
        if run is None:
            self.go_home()
        elif run.flow == CARRY_ON.name:
            self.ask()
        elif stack.has_answers(self.bot, run):
            self.set_aside(run)
        else:
            self.abandon()

    def cancel(self) -> None:
        """End the open flow; nothing is sent."""
        if self.run is None or self.at_home():
            return self.menu()
        if self.run.flow != CARRY_ON.name:
            self.say(Text("cancel.done"))
        self.abandon()

    def abandon(self) -> None:
        """End the current run and the flows that called it, up to home."""
        while self.suspended and self.suspended[-1].waits == "sub" and self.suspended[-1].flow != self.bot.home.name:
            self.pop()
        self.leave(cancelled=True)

    def back(self) -> None:
        """The previous question, with its earlier answer; later answers are kept until they are changed."""
        run = self.run
        if run is None:
            return self.go_home()
        if not run.trail:
            self.say(Text("back.nowhere"))
            return self.ask()
        step = run.trail[-1]
        self.enter(attrs.evolve(run, trail=run.trail[:-1]), step, keep_trail=True)
        into = self.flow[step].into
        earlier = into and self.run and getattr(self.data(self.run), into)
        if earlier not in (None, ""):
            self.say(Text("back.earlier", answer=str(earlier)))
        self.ask()

    def help(self) -> None:
        """What can be said here, then the question again."""
        run = self.run
        if run is None:
            return self.go_home()
        self.say_help(run)
        self.ask()

    def say_help(self, run: Run) -> None:
        """The state's own help, when the catalogue has it, and the words that always work."""
        key = f"{run.flow}.{run.step}.help"
        if key in self.bot.texts:
            self.say(Text(key))
        self.say(Text("help.words"))

    def follow(self, shortcut: Shortcut, answers: Any) -> None:
        """A quick command: start its flow and answer its first questions."""
        run = self.run
        if run is None or not self.start(shortcut.flow):
            return
        for answer in answers:
            if self.run is None or self.run.flow != shortcut.flow.name or self.pending or self.status == "refused":
                return
            self.replies.pop()  # the question that this answers
            self.read(answer)

    # Choices and answers ----------------------------------------------------------------------------------------------

    def choose(self, choice: str) -> None:
        """A choice of the current question."""
        run = self.run
        if run is None:
            return self.go_home()
        if choice in (question.NEXT, question.PREV):
            self.kind = "page"
            self.run = attrs.evolve(run, page=run.page + (1 if choice == question.NEXT else -1))
            return self.ask()
        if choice.startswith(question.ROW):
            rows = {row.id: row for row in question.rows_of(self.flow[run.step], self.turn(run))}
            row = rows.get(choice[len(question.ROW) :])
            if row is not None:
                return self.try_pull("answer", row.id if row.value is None else row.value)
        elif choice in self.flow.buttons.get(run.step, ()):
            return self.try_pull(choice)
        self.refuse([Refused("choice.unknown")])

    def read(self, text: str) -> None:
        """An answer for the state's reader."""
        run = self.run
        reads = self.flow[run.step].reads if run else None
        if reads is None:
            return self.refuse([Refused("choice.unknown")])
        answer = reads(text)
        if isinstance(answer, Refused):
            return self.refuse([answer])
        self.try_pull("answer", answer)

    def try_pull(self, trigger: str, answer: Any = None) -> None:
        """Pull a trigger for the member; when nothing accepts it, say why and ask again."""
        if not self.pull(trigger, answer):
            reasons = self.reasons or [Refused("choice.unknown")]
            self.refuse(reasons)

    def refuse(self, reasons: list[Refused]) -> None:
        """Say why, ask again, count it; nothing else changes."""
        run = self.run
        self.kind, self.status = "refusal", "refused"
        for reason in reasons:
            self.give(reason)
        if run is None:
            self.go_home()
            return
        data = run.flow_data.data
        attempts = data.attempts + 1
        verdict = {"step": run.step, "ok": False, "code": reasons[0].code}
        self.run = _with_data(run, attrs.evolve(data, context={**data.context, "attempts": attempts}, verdict=verdict))
        if attempts % self.bot.limits.menu == 0:
            self.say(Text("limits.menu"))
        elif attempts % self.bot.limits.help == 0:
            self.say_help(run)
        self.ask()

    # The machine --------------------------------------------------------------------------------------------------------

    def pull(self, trigger: str, answer: Any = None, *, reason: Refused | None = None) -> bool:
        """Pull a trigger in the current state and settle the new one. False when nothing accepted it; then only
        `self.reasons` tells of it."""
        run = self.run
        assert run is not None
        flow = self.flow
        state, data = flow[run.step], self.data(run)
        if state.into and trigger in ("answer", "done"):
            data = attrs.evolve(data, **{state.into: answer})
        turn = attrs.evolve(self.turn(run), data=data, trigger=trigger, answer=answer, reason=reason)
        fired = self.bot.machines[flow.name].fire(turn)
        self.steps.append(AuditStep(flow.name, run.id, run.step, fired.to, trigger, fired.verdicts))
        self.reasons = list(fired.reasons)
        if fired.to is None:
            return False
        self.trigger = self.trigger or trigger
        for met in fired.reasons:
            self.give(met)
        self.move(run, state, fired, trigger)
        self.settle()
        return True

    reasons: list[Refused] = []  # noqa: RUF012  # replaced as a whole by each pull, never changed in place

    def move(self, run: Run, state: State[Any], fired: Fired[Any], trigger: str) -> None:
        """Take over what a fired transition made."""
        assert fired.to is not None
        self.typed[run.id] = fired.data
        self.member = fired.member
        if state.asks and not state.call and trigger != "timeout":
            run = attrs.evolve(run, trail=stack.trail(run.trail, run.step))
        data = run.flow_data.data
        verdict = {"step": run.step, "ok": True, "code": ""} if trigger == "answer" else data.verdict
        fields = unstructure(fired.data)
        context = {name: value for name, value in data.context.items() if name != "attempts"}
        run = _with_data(run, attrs.evolve(data, fields=fields, verdict=verdict, context=context))
        self.enter(run, fired.to)

    def enter(self, run: Run, step: str, *, keep_trail: bool = False) -> None:
        """Stand in a state from this version on."""
        state = self.bot.flow(run.flow)[step]
        due = self.now + timedelta(seconds=state.timeout) if state.timeout else None
        trail = run.trail if keep_trail else stack.until(run.trail, step)
        self.run = attrs.evolve(
            run,
            flow_data=attrs.evolve(run.flow_data, step=step),
            entered=self.version,
            page=0,
            shown=(),
            due=due,
            trail=trail,
        )

    def settle(self) -> None:
        """Do what the current state has to do, and go on until one waits."""
        run = self.run
        if run is None:
            return
        state = self.flow[run.step]
        if state.say is not None:
            self.say(question.text_of(state.say, self.turn(run)))
        if state.final:
            result = state.result(self.turn(run)) if state.result else None
            self.leave(cancelled=state.cancels, result=result)
        elif state.call:
            self.propose(run, state)
        elif state.flow:
            self.descend(run, state, state.flow)
        elif state.idle:
            self.go_on(run)
        else:
            self.ask()

    def go_on(self, run: Run) -> None:
        """Pass a state with nothing to do."""
        self.autos += 1
        if self.autos > self.bot.limits.autos:
            raise Stuck(run.flow, run.step, f"more than {self.bot.limits.autos} states without a question in one turn")
        if not self.pull("auto"):
            raise Stuck(run.flow, run.step, "no 'auto' transition accepts")

    def propose(self, run: Run, state: State[Any]) -> None:
        """Write the call down; it is run once the turn is stored."""
        assert state.call is not None
        if not self.allowed(run):
            return
        proposed = state.call(self.turn(run))
        self.call = proposed
        self.pending = PendingCall(
            key=hashed("call", run.id, run.step, str(run.entered)),
            service=proposed.service,
            method=proposed.method,
            arguments={name: unstructure(value) for name, value in proposed.arguments.items()},
            root=self.root,
            leased_until=self.now + CALL_LEASE,
        )

    def ask(self) -> None:
        """Ask the current state's question."""
        run = self.run
        if run is None:
            return
        asked = question.build(self.bot, self.bot.machines[run.flow], run, self.turn(run))
        self.run = attrs.evolve(run, shown=asked.shown, page=asked.page)
        self.replies.append(asked.reply)

    # The stack of runs ------------------------------------------------------------------------------------------------

    def start(self, flow: Flow[Any], data: Any = None, *, settle: bool = True) -> bool:
        """Begin a run of `flow` over the current one, which is suspended as it stands. False when `requires` refused
        and something else was begun."""
        if self.run is not None:
            self.suspended = (*self.suspended, self.run if self.run.waits else attrs.evolve(self.run, waits="sub"))
            self.run = None
        run = self.new_run(flow, flow.data() if data is None else data)
        self.run = run
        if not self.allowed(run):
            return False
        if settle:
            self.settle()
        return True

    def new_run(self, flow: Flow[Any], data: Any) -> Run:
        """A run at its first state."""
        if not isinstance(data, flow.data):
            raise TypeError(f"flow {flow.name!r} is given a {type(data).__name__}, it takes a {flow.data.__name__}")
        self.started += 1
        if self.started > self.bot.limits.autos:
            raise Stuck(flow.name, flow.initial, f"more than {self.bot.limits.autos} flows were begun in one turn")
        run_id = f"{flow.name}:{hashed('run', self.token, str(self.started))[:16]}"
        step_data = StepData(flow.name, Address(*self.channel.address), fields=unstructure(data))
        flow_data = FlowData(run_id, flow.initial, step_data)
        self.typed[run_id] = data
        self.enter(Run(flow_data, flow.version, flow.fingerprint, self.version), flow.initial)
        assert self.run is not None
        return self.run

    def descend(self, run: Run, state: State[Any], flow: Flow[Any]) -> None:
        """Run a sub-flow."""
        data = state.given(self.turn(run)) if state.given else None
        self.start(flow, data)

    def set_aside(self, run: Run) -> None:
        """Suspend the current run and offer it back."""
        self.run = attrs.evolve(run, waits="asked")
        self.start(CARRY_ON, CarryOn(left=run.flow))

    def leave(self, *, cancelled: bool, result: Any = None) -> None:
        """The current run is over; whoever waited below it goes on."""
        ended = self.run
        self.run = None
        below = self.pop()
        if below is None:
            if ended is not None and ended.flow == self.bot.home.name and not cancelled:
                return  # home itself has ended: the next message begins it anew
            self.go_home()
        elif below.waits == "sub":
            self.run = attrs.evolve(below, waits="")
            if not self.pull("cancelled" if cancelled else "done", result):
                raise Stuck(below.flow, below.step, "no transition takes the end of its sub-flow")
        elif below.waits == "asked" and cancelled:
            self.run = below
            self.abandon()
        elif below.waits == "entry" and cancelled:
            self.leave(cancelled=True)
        else:
            self.resume(attrs.evolve(below, waits=""), after_entry=below.waits == "entry")

    def pop(self) -> Run | None:
        """The run below, taken from the stack."""
        if not self.suspended:
            return None
        self.suspended, run = self.suspended[:-1], self.suspended[-1]
        return run

    def resume(self, run: Run, *, after_entry: bool = False) -> None:
        """Go on with a suspended run where it stands. After an entry that did not help it is dropped: asking again
        would only go round."""
        self.run = run
        refusals = self.refusals(run)
        if not refusals:
            return self.settle()
        if not after_entry:
            self.allowed(run)
            return
        for refusal in refusals:
            self.give(refusal)
        self.run = None
        self.suspended = ()

    def go_home(self) -> None:
        """Begin the home flow, everything else being over."""
        self.suspended = ()
        self.run = None
        self.start(self.bot.home)

    def at_home(self) -> bool:
        """Whether the member stands in the home flow itself."""
        return self.run is not None and self.run.flow == self.bot.home.name

    # What flows require -------------------------------------------------------------------------------------------------

    def refusals(self, run: Run) -> list[Refused]:
        """What the run's flow requires and does not get; for an offer to carry on, what the flow left open requires."""
        if run.flow == CARRY_ON.name and self.suspended:
            run = self.suspended[-1]
        turn = self.turn(run)
        found: list[Refused] = []
        for guard in self.bot.flow(run.flow).requires:  # type: ignore[union-attr]  # a tuple by its converter
            verdict = guard(turn)
            if verdict is not True:
                found.append(verdict if isinstance(verdict, Refused) else Refused("choice.unknown"))
        return found

    def allowed(self, run: Run) -> bool:
        """Whether the run may go on. If not: through the entry flow and back when the member is not known yet, else
        the reason is said and the run is over."""
        refusals = self.refusals(run)
        if not refusals:
            return True
        entry = self.bot.entry
        if entry is not None and not self.member.authenticated and run.flow != entry.name:
            self.run = attrs.evolve(run, waits="entry")
            self.start(entry)
            return False
        for refusal in refusals:
            self.give(refusal)
        self.status = "refused"
        if self.suspended:
            self.leave(cancelled=True)
        else:
            self.run = None
        return False

    # The session --------------------------------------------------------------------------------------------------------

    def over(self) -> bool:
        """Whether the session ended before this message."""
        deadline = self.before.deadline
        return deadline is not None and self.now > deadline

    def end_session(self) -> None:
        """Say that the session ended and what was not sent; then the way home, through the entry flow, where an open
        flow is offered back."""
        run = self.run
        self.kind = "session"
        if run is not None:
            self.say(Text("session.ended"))
        self.member = attrs.evolve(self.member, authenticated=False, jwt_token=None)
        while run is not None and run.flow in (CARRY_ON.name, self.bot.entry and self.bot.entry.name):
            run = self.pop()
        if run is None or not stack.has_answers(self.bot, run):
            return self.go_home()
        self.say(Text("session.unsent", flow=run.flow))
        self.run = attrs.evolve(run, waits="asked")
        self.start(CARRY_ON, CarryOn(left=run.flow))

    # Small things -------------------------------------------------------------------------------------------------------

    @property
    def flow(self) -> Flow[Any]:
        """The current run's flow."""
        assert self.run is not None
        return self.bot.flow(self.run.flow)

    def data(self, run: Run) -> Any:
        """The run's typed data."""
        data = self.typed.get(run.id)
        if data is None:
            data = self.typed[run.id] = structure(run.flow_data.data.fields, self.bot.flow(run.flow).data)
        return data

    def turn(self, run: Run) -> Turn[Any]:
        """What a callback of the run sees."""
        return Turn(self.data(run), self.member, self.channel, self.now, run.flow, run.step)

    def say(self, text: Text) -> None:
        """Reply with a text."""
        self.replies.append(text)

    def give(self, reason: Refused) -> None:
        """Say a reason, once."""
        self.codes.append(reason.code)
        if reason.words not in self.replies:
            self.say(reason.words)

    # The decision -------------------------------------------------------------------------------------------------------

    def decision(self) -> Decision:
        """What all this comes to.

        Raises: InvalidState, NotStorable.
        """
        replies = self.bot.texts.replies(self.replies)
        if not self.changed:
            return Decision(
                self.status, self.before, replies, self.token, self.root, self.content, changed=False
            )
        document = self.document()
        raw = document_to_raw(document)
        verdict = self.bot.validator.validate(raw)
        if not verdict.valid:
            raise InvalidState(verdict.faults)
        record = {"status": self.status, "replies": replies_to_raw(replies), "flow_data": self.kept(document)}
        return Decision(
            status=self.status,
            document=document,
            replies=replies,
            token=self.token,
            root=self.root,
            content=self.content,
            raw=dumps(raw),
            record=dumps(record, "turn record"),
            entry=self.entry(document),
            call=self.call,
            not_after=self.before.deadline if self.spoken and self.kind != "session" else None,
        )

    def document(self) -> Document:
        """The new document."""
        failed = self.kind == "error"
        changes: dict[str, Any] = {"last_updated": self.now, "version": self.version}
        if not failed:
            session = self.session()
            changes |= {
                "channel": self.channel,
                "run": self.run,
                "suspended": self.suspended,
                "call": self.pending,
                "deadline": self.now + timedelta(seconds=session) if self.renewed else self.before.deadline,
                "moved": self.moved(),
            }
        document = attrs.evolve(self.before, **changes)
        return document if failed or self.member is self.before.member else document.with_member(self.member)

    def session(self) -> float:
        """Seconds of silence that the current flow allows."""
        session = self.flow.session if self.run else None
        return self.bot.session if session is None else session

    def moved(self) -> Moved | None:
        """A guest who has become a member.

        Raises: WrongMember when a member would become another one.
        """
        if self.member.id == self.before.member_id:
            return self.before.moved
        if not self.before.guest:
            raise WrongMember(self.before.member_id)
        return Moved(self.member.id, self.version)

    def kept(self, document: Document) -> Any:
        """The run's state as the turn record keeps it: verbatim, but for fields marked secret."""
        if document.run is None:
            return {}
        flow = self.bot.flow(document.run.flow)
        raw = unstructure(document.run.flow_data)
        for name, field in flow.fields.items():
            if field.metadata.get("vimbiso") == SECRET["vimbiso"]:
                raw["data"].pop(name, None)
        return raw

    def entry(self, document: Document) -> AuditEntry:
        """The audit entry of this turn."""
        before, after = self.before.run, document.run
        stood = before or after
        first = self.steps[0] if self.steps else None
        same = after if before and after and before.id == after.id else None
        return AuditEntry(
            version=self.version,
            at=self.now,
            member_id=document.member_id,
            channel=channel_digest(self.channel),
            kind=self.kind,
            status=self.status,
            token=self.token,
            root=self.root,
            source=first.source if first else before.step if before else "",
            dest=after.step if after else "",
            flow=first.flow if first else stood.flow if stood else "",
            run=first.run if first else stood.id if stood else "",
            trigger=self.trigger or (first.trigger if first else ""),
            steps=tuple(self.steps),
            codes=tuple(self.codes),
            before=self.redacted(before) if before else {},
            after=self.redacted(same) if same else {},
            changed=_changed(before, same),
            verdict=after.flow_data.data.verdict if after else {},
            detail=self.detail,
        )

    def redacted(self, run: Run) -> dict[str, Any]:
        """A run's data as the audit may show it."""
        flow = self.bot.machines.get(run.flow)
        return redacted(flow.flow, run.flow_data) if flow else {}


class Stuck(VimbisoError):
    """A flow that cannot go on by its own declaration. Attributes: `flow`, `state`, `fault`."""

    def __init__(self, flow: str, state: str, fault: str) -> None:
        self.flow, self.state, self.fault = flow, state, fault
        super().__init__(f"flow {flow!r} is stuck in state {state!r}: {fault}")


class WrongMember(VimbisoError):
    """A flow made one member into another; only a guest becomes a member. Attributes: `member_id`."""

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(f"member {member_id!r} cannot become another member; only a guest can; leave member.id as it is")


def _with_data(run: Run, data: StepData) -> Run:
    return attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, data=data))


def _changed(before: Run | None, after: Run | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    old, new = before.flow_data.data.fields, after.flow_data.data.fields
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


def _channel(stored: Channel, event: Event) -> Channel:
    """The channel of this turn. What is known of it stays known."""
    if not isinstance(event, Message):
        return stored
    if event.channel.address != stored.address:
        return event.channel
    if event.channel.metadata == stored.metadata or not event.channel.metadata:
        return stored
    return attrs.evolve(stored, metadata={**stored.metadata, **event.channel.metadata})


def caller(document: Document, pending: PendingCall) -> Caller:
    """For whom a pending call acts."""
    return Caller(pending.key, document.member_id, document.jwt_token, document.channel)
