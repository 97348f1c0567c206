"""Random conversations with Hypothesis, for tests that want more than a walk tries.

    TestClinic = machine_of(bot).TestCase

Hypothesis is imported when a function is called, so that the other parts of `vimbiso_fsm.testing` do without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.messages.examples import examples_of, near_of
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.testing.conversation import MEMBER, Conversation

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine
    from hypothesis.strategies import DataObject, SearchStrategy

HOSTILE: Final = (
    " ", "\n", "\x00", "\u202eabc", "0", "-1", "1e309", "{key}", "<b>", "'; --", "٣", "%s" * 20, "x" * 4096, "🙂" * 300,
)  # fmt: skip
"""Texts that break what was not made for them."""


def texts_for(state: AnyState) -> SearchStrategy[str]:
    """Return a strategy of what a member may type at a question: accepted, nearly accepted, and hostile texts.

    Args:
        state: The state. Its examples, and those of its reader, are the accepted texts. A reader that depends on the
            turn has none of its own.
    """
    from hypothesis import strategies as st

    valid = tuple(dict.fromkeys((*state.examples, *examples_of(state.reads))))
    near = near_of(state.reads)
    kinds = [st.sampled_from(each) for each in (valid, near, HOSTILE) if each]
    return st.one_of(*kinds, st.text(max_size=50))


def machine_of(
    bot: Bot | AnyFlow | str, who: str | Channel | Sequence[str | Channel] = MEMBER
) -> type[RuleBasedStateMachine]:
    """Return a state machine of Hypothesis that holds conversations with a bot.

    Its rules type, press, wait, and deliver the latest message again. After each of them the store must hold a valid
    document, a whole audit, and the wake-up of what is due. An exception of a callback fails the test. A subclass may
    add invariants of its own; `self.talk` is the conversation.

    Args:
        bot: The bot, a flow that is to be its only one, or the name of a package that exports `bot`.
        who: The channels of the members; each run takes one of them.
    """
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

    channels = [who] if isinstance(who, str | Channel) else list(who)

    class ConversationMachine(RuleBasedStateMachine):
        talk: Conversation

        @initialize(channel=st.sampled_from(channels))
        def begin(self, channel: str | Channel) -> None:
            self.talk = Conversation(bot, channel)
            self.talk.say("hi")

        @rule(data=st.data())
        def say(self, data: DataObject) -> None:
            run = self.talk.state.run
            at = self.talk.bot.definition(run)[run.step] if run is not None else None
            self.talk.say(data.draw(texts_for(at) if at is not None else st.just("hi")))

        @rule(command=st.sampled_from(["menu", "back", "cancel", "help"]))
        def command(self, command: str) -> None:
            self.talk.say(command)

        @precondition(lambda self: bool(self.talk.shown))
        @rule(data=st.data())
        def press(self, data: DataObject) -> None:
            self.talk.press(data.draw(st.sampled_from(list(self.talk.shown))))

        @rule()
        def wait(self) -> None:
            self.talk.wait()

        @rule()
        def again(self) -> None:
            effects = _effects(self.talk)
            self.talk.again()
            assert _effects(self.talk) == effects, "a message that was delivered again had another effect"

        @invariant()
        def the_store_is_sound(self) -> None:
            self.talk.check()

    return ConversationMachine


def _effects(talk: Conversation) -> set[str]:
    return {call.key for call in talk.calls if call.effect}
