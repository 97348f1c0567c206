"""The effect of a deploy on live runs: the number of runs at each place, and the way in which they continue.

Each stored document is upgraded to the flows of the bot, as it is when its member writes (`engine.upgrade.plan`), and
nothing is stored. Runs without a mapping would be lost, so a deploy has to wait until a migration maps them.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import attrs

from vimbiso_fsm.document.document import Document, Run
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.engine.upgrade import RunUpgrade, plan
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.store.ciphertext import fault_of


@attrs.frozen(order=True)
class Place:
    """A state of a version of a flow, and the way in which runs continue there.

    Attributes:
        flow: The name of the flow, as it is stored.
        version: The version of the flow, as it is stored.
        step: The state, as it is stored.
        standing: Whether the run is the current one or suspended.
        how: The way in which the runs continue, as in `engine.upgrade.RunUpgrade`.
        to: The version and the state after the deploy.
        fault: The reason why there is no mapping.
        declared: Whether the version is declared as it was when the runs were stepped; None if that is not known.
    """

    flow: str
    version: int
    step: str
    standing: Literal["current", "suspended"]
    how: str
    to: tuple[int, str] | None = None
    fault: str = ""
    declared: bool | None = attrs.field(default=None, order=False)

    @property
    def lost(self) -> bool:
        """Whether a run here has no mapping."""
        return self.how in ("lost", "foreign")

    @property
    def words(self) -> str:
        """The way in which a run here continues, in words."""
        match self.how, self.to:
            case "lost" | "foreign", _:
                return f"NO MAPPING: {self.fault}"
            case "migrated", (version, step):
                return f"goes on at {step}, version {version}"
            case "finishes", (version, step):
                at = "" if (version, step) == (self.version, self.step) else f" at {step}"
                return f"finishes on version {version}{at}"
            case "restarted", (version, step):
                return f"begins again at {step}, version {version}"
            case "restarted", None:
                return "begins again, with the flow that called it"
            case "dropped", _:
                return "ends; a flow that waits for it goes on without it"
            case _:
                return "unchanged" if self.declared is not False else "unchanged, though declared otherwise"


class Census:
    """The number of live runs at each place. It holds no value of a document.

    Attributes:
        documents: The number of documents added.
        runs: The number of runs at each place.
        calls: The number of runs at each place that have a pending call.
        broken: The first fault of each damaged document, and the number of documents with it. They are repaired with
            or without a deploy.
    """

    documents: int

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._shape = StateValidator(None, bot.validator.channel_types)
        self.documents = 0
        self.runs: Counter[Place] = Counter()
        self.calls: Counter[Place] = Counter()
        self.broken: Counter[str] = Counter()

    @property
    def lost(self) -> tuple[Place, ...]:
        """The places that have no mapping, in order."""
        return tuple(place for place in sorted(self.runs) if place.lost)

    def add(self, data: bytes) -> None:
        """Count a stored document."""
        self.documents += 1
        try:
            document = self._shape.read(loads(data))
        except Unreadable as error:
            encrypted = fault_of(data)
            self._break((encrypted,) if encrypted else error.faults)
            return
        if document.moved is not None:  # the guest's run goes on at the member
            return
        found = [self._judged(document, upgrade) for upgrade in plan(self._bot, document)]
        for upgrade in found:
            self._count(document, upgrade)
        if not any(upgrade.how in ("lost", "foreign") for upgrade in found):
            _, wrong = faults(self._bot, data)
            self._break(wrong)

    def add_broken(self, fault: str) -> None:
        """Count a member whose document the store cannot read."""
        self.documents += 1
        self._break((fault,))

    def _judged(self, document: Document, upgrade: RunUpgrade) -> RunUpgrade:
        """Return the upgrade of a run, which is "lost" also if its pending call belongs to a state without a call."""
        run = upgrade.before
        if upgrade.how != "unchanged" or run is not document.run or document.call is None:
            return upgrade
        if self._bot.definition(run)[run.step].call is not None:
            return upgrade
        return RunUpgrade(run, "lost", fault="its call is pending, and its state makes no call any more")

    def _break(self, wrong: tuple[str, ...]) -> None:
        if wrong:
            self.broken[wrong[0]] += 1

    def _count(self, document: Document, upgrade: RunUpgrade) -> None:
        run, current = upgrade.before, upgrade.before is document.run
        place = Place(
            run.flow,
            run.version,
            run.step,
            "current" if current else "suspended",
            upgrade.how,
            (upgrade.after.version, upgrade.after.step) if upgrade.after else None,
            upgrade.fault,
            self._declared(run),
        )
        self.runs[place] += 1
        self.calls[place] += current and document.call is not None

    def _declared(self, run: Run) -> bool | None:
        """Return `Place.declared` of a run."""
        known = {flow.version: flow.fingerprint for flow in self._bot.definitions(run.flow)}
        return run.fingerprint == known[run.version] if run.fingerprint and run.version in known else None
