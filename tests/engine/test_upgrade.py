"""Changes of a flow under live runs: the declaration of the author, and the upgrade of each run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import member_document
from tests.changed_flows import ANSWERS, FROM_1, WAYS, Errand2, Till, bot_of, errand, errand_1, pick
from tests.digests import guest_id
from tests.shells import Shell
from tests.strategies import plain_values
from vimbiso_fsm import Bot, FinishOnOld, Flow, Migration, ReplacedBy, Restart, State, Text, Transition
from vimbiso_fsm.audit.entries import AuditEntry, unseal
from vimbiso_fsm.document.codec import document_to_raw, encode
from vimbiso_fsm.document.document import (
    Answer,
    Document,
    Moved,
    PendingCall,
    Run,
    Shown,
    Suspended,
    first_document,
    needs_asking,
)
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.reading import NEWER_STATE_GRACE, faults
from vimbiso_fsm.engine.upgrade import plan, upgrade
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.promote import merge
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat, words


def standing(step: str, *, till: Till | None = None, more: tuple[str, ...] = ()) -> Chat:
    """A member at a step of version 1, with the call on its way if the step has one."""
    till = till or Till()
    if step == "paying":
        till.lost.add("@ada")
    chat = Chat(bot_of(errand_1, till))
    chat.plant(member_document(version=1))
    chat.say(*WAYS[step], *more)
    return chat


def deploy(chat: Chat, flow: Flow[Any], **options: Any) -> Chat:
    """The same members, met by workers with the new flow."""
    till = chat.bot.services["till"]
    assert isinstance(till, Till)
    chat.bot, chat.cache = bot_of(flow, till, **options), Cache(100)
    return chat


def place(chat: Chat) -> str:
    """The state in which the member stands, and the version of the run."""
    run = chat.document().run
    return f"{run.flow}.{run.step} {run.version}" if run else ""


def last(chat: Chat) -> AuditEntry:
    """The latest audit entry; the chain is checked."""
    chat.check()
    return unseal(chat.entries()[-1])


def to_the_end(chat: Chat) -> list[str]:
    """Answer each question until home is reached, and return all that was said."""
    said: list[str] = []
    for _ in range(20):
        assert chat.outcome is not None
        said += chat.words
        if chat.words[-1] == "At home.":
            return said
        chat.say(ANSWERS[chat.words[-1]])
        assert chat.outcome.status not in ("failed", "recovered"), chat.words
    raise AssertionError(f"stranded: {said}")


# What becomes of a step --------------------------------------------------------------------------------------------


def test_a_renamed_step_understands_the_answer_to_its_old_question():
    """An answer to a renamed question is taken, and the audit records the upgrade once."""
    chat = deploy(standing("handle"), errand())
    due = chat.document().run.due  # type: ignore[union-attr]
    assert faults(chat.bot, encode(chat.document()))[0].run.due == due  # type: ignore[union-attr]
    chat.say("@bea")
    assert (chat.words, place(chat)) == (["Their given name?"], "errand.given 2")
    entry = last(chat)
    run = chat.document().run
    assert run is not None
    note = {"flow": "errand", "run": run.id, "how": "migrated", "versions": [1, 2], "steps": ["handle", "recipient"]}
    assert entry.detail == {"migrated": [note]}
    assert (entry.source, entry.dest, entry.trigger) == ("recipient", "given", "answer")
    chat.say("Bea")
    assert last(chat).detail == {}
    assert [entry.version for entry in chat.entries()] == list(range(1, chat.document().version + 1))


def test_a_button_of_an_unchanged_question_is_still_understood():
    """A button that was shown before the deploy still works at an unchanged question."""
    chat = deploy(standing("confirm"), errand())
    chat.press("Pay now")
    assert chat.words == ["Paid.", "At home."]


@pytest.mark.parametrize("text", ["yes", "red", "1", "pear"])
def test_a_text_for_a_removed_question_answers_no_other(text: str):
    """A text for a removed question is not taken as the answer to its replacement."""
    chat = deploy(standing("colour"), errand())
    chat.say(text)
    late = "That came when the question before was over; here is where you are now."
    assert (chat.words, place(chat)) == ([late, "Which fruit?"], "pick.fruit 1")
    chat.say("pear")
    assert chat.words == ["Pay it?"]
    assert to_the_end(chat)[-2:] == ["Paid.", "At home."]


def test_a_button_of_a_question_that_is_gone_is_closed():
    """A button of a removed question is closed, even if the replacement has a button of that name."""
    to_confirm = errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "colour": ReplacedBy("confirm")})])
    chat = standing("colour")
    assert chat.outcome is not None
    old = chat.outcome.replies[-1].buttons[0].id  # type: ignore[union-attr]
    deploy(chat, to_confirm)
    for _ in range(2):
        chat.handle(chat.message(choice=old))
        assert (chat.words, place(chat)) == (["That question is closed.", "Pay it?"], "errand.confirm 2")
    assert chat.say("yes").replies[0].text == "Paid."


def test_a_question_put_in_place_of_another_gets_its_own_time():
    """The timer of a replacement begins when it is asked."""
    chat = deploy(standing("name"), errand())
    chat.wait(100).say("Ada Byron")
    assert place(chat) == "errand.given 2"
    run = chat.document().run
    assert run is not None
    assert run.due is not None
    assert (run.due - START).total_seconds() == 3700
    assert not needs_asking(run)


@pytest.mark.parametrize("word", ["help", "back", "menu", "cancel"])
def test_the_words_that_always_work_do_so_at_a_new_question(word: str):
    """Global words work at a question that has not been shown yet."""
    chat = deploy(standing("colour"), errand())
    chat.say(word)
    chat.check()
    assert chat.outcome is not None
    assert chat.outcome.status == "advanced"
    assert to_the_end(chat)[-1] == "At home."


def test_a_split_step_goes_on_where_the_data_says():
    """A split step goes on at the step that its function chooses from the data."""
    chat = deploy(standing("name"), errand())
    assert chat.say("whatever").replies[-1].text == "Their given name?"
    chat = deploy(standing("colour", more=("back",)), errand())
    assert chat.say("whatever").replies[-1].text == "Their family's name?"
    assert chat.document().run.fields["given"] == "Ada"  # type: ignore[union-attr]


def test_back_walks_the_trail_of_the_new_version():
    """`back` knows renamed and split questions by their new names, with their answers, and skips removed ones."""
    chat = deploy(
        standing("confirm"), errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "gift": ReplacedBy("confirm")})])
    )
    steps = []
    while (chat.say("back").replies[0].text) != "This is the first question; there is nothing to go back to.":
        steps.append(place(chat).split()[0])
    assert steps == ["pick.fruit", "errand.family", "errand.recipient"]
    assert chat.document().run.trail == ()  # type: ignore[union-attr]
    chat.say("back")
    assert to_the_end(chat)[-2:] == ["Paid.", "At home."]


def test_a_step_may_end_on_the_old_definition():
    """A run with `FinishOnOld` is stepped by the old definition to its end, and the audit records it once."""
    chat = deploy(standing("wrap"), errand())
    chat.say("paper")
    assert (chat.words, place(chat)) == (["Is it a gift?"], "errand.gift 1")
    assert [note["how"] for note in last(chat).detail["migrated"]] == ["finishes"]
    chat.cache = Cache(0)
    chat.say("yes")  # at `gift` another run would begin again
    assert chat.words == ["Pay it?"]
    assert last(chat).detail == {}
    assert "Paid, as of old." in to_the_end(chat)


def test_a_whole_version_may_end_on_the_old_definition():
    """A kept version steps its runs, sub-flows, calls and `back` by the old definition."""
    for step in WAYS:
        chat = deploy(standing(step), errand([Migration(1, others=FinishOnOld(errand_1))]))
        chat.say("back" if step not in ("paying", "handle") else "help")
        said = to_the_end(chat)
        assert "Paid, as of old." in said, (step, said)
        chat.check()


def test_a_run_stands_in_the_definition_of_its_version_or_else_in_the_current_one():
    """A run of a version that is kept stands in the kept definition, and one of any other version in the current."""
    chat = standing("gift")
    run, current = chat.document().run, errand([Migration(1, others=FinishOnOld(errand_1))])
    assert run is not None
    bot = deploy(chat, current).bot
    for version, flow in ((1, errand_1), (current.version, current), (77, current)):
        found = attrs.evolve(run, version=version, step=flow.initial)
        assert bot.definition(found) is bot.machine(found).flow is bot.position(found).flow is flow
    with pytest.raises(KeyError):
        bot.machine(attrs.evolve(run, flow="gone"))


def test_a_restart_is_told_once_before_the_reply():
    """A restart is told once, before the first question; earlier answers and the message itself are not taken."""
    chat = deploy(standing("gift"), errand())
    chat.say("yes")
    assert chat.words == ["Gifts are other than they were; please begin again.", "Who gets it?"]
    document = chat.document()
    assert document.run is not None
    assert (document.outbox, document.run.fields) == ((), attrs.asdict(Errand2()))
    assert last(chat).detail["migrated"][-1]["how"] in ("dropped", "restarted")
    assert to_the_end(chat)[-2:] == ["Paid.", "At home."]


def test_a_restart_has_words_of_the_frameworks_own():
    """A restart without words uses the framework's own text."""
    chat = deploy(
        standing("gift"), errand([attrs.evolve(FROM_1, others=None, steps={**FROM_1.steps, "gift": Restart()})])
    )
    chat.say("yes")
    assert chat.words[0] == "We have changed how this works (your errand); please begin it again."


@pytest.mark.parametrize("choice", [False, True])
def test_a_restart_is_told_by_the_worker_too_and_then_not_again(choice: bool):
    """A worker may deliver the notice of a restart; the next message is then asked the first question."""
    chat = standing("gift")
    assert chat.outcome is not None
    old = chat.outcome.replies[-1].buttons[0].id  # type: ignore[union-attr]
    deploy(chat, errand())
    chat.delivers = True
    chat.wake()
    assert chat.taken == ["Gifts are other than they were; please begin again."]
    assert [unseal(entry).detail for entry in chat.entries()][-2]["migrated"]
    chat.handle(chat.message(choice=old) if choice else chat.message("yes"))
    assert len(chat.words) == 2
    assert chat.words[1] == "Who gets it?"
    chat.check()


def test_a_duplicate_after_the_deploy_shows_the_question_and_closes_no_door():
    """A duplicate whose first result is gone shows the current question and stores nothing."""
    chat = standing("colour")
    message = chat.message("again", id="seen")
    chat.handle(message)  # answers colour
    chat.say("back")
    deploy(chat, errand())
    before = chat.document().version
    chat.store._members["m-1"].turns = ()
    chat.handle(message)
    assert chat.outcome is not None
    assert (chat.outcome.status, chat.words, chat.document().version) == ("duplicate", ["Which fruit?"], before)
    chat.say("pear")
    assert chat.words[-1] == "Which fruit?"


# The stack of runs -------------------------------------------------------------------------------------------------


def test_a_run_below_its_sub_flow_is_upgraded():
    """A run below an unchanged sub-flow is upgraded, and takes its output."""
    chat = deploy(standing("picking"), errand())
    chat.say("pear")
    assert (chat.words, place(chat)) == (["Pay it?"], "errand.confirm 2")
    assert chat.document().run.fields["fruit"] == "fresh pear"  # type: ignore[union-attr]


def test_a_sub_flow_whose_caller_no_longer_waits_ends():
    """A sub-flow whose calling state is gone ends, and the replacement is asked."""
    gone = errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "picking": ReplacedBy("confirm")})])
    chat = deploy(standing("picking"), gone)
    chat.say("pear")
    assert (chat.words[-1], place(chat)) == ("Pay it?", "errand.confirm 2")
    assert [(note["flow"], note["how"]) for note in last(chat).detail["migrated"]] == [
        ("errand", "migrated"),
        ("pick", "dropped"),
    ]


def test_a_caller_that_begins_again_takes_its_sub_flow_along():
    """A restarted caller drops its sub-flow, with one notice and one first question."""
    chat = deploy(standing("picking"), errand([Migration(1, others=Restart())]))
    chat.say("pear")
    assert chat.words == ["We have changed how this works (your errand); please begin it again.", "Who gets it?"]
    assert to_the_end(chat)[-2:] == ["Paid.", "At home."]


def test_a_parked_run_is_upgraded_and_asked_when_it_is_resumed():
    """A parked run is upgraded and asked when it is resumed; its old buttons are closed."""
    chat = standing("colour")
    assert chat.outcome is not None
    old = chat.outcome.replies[-1].buttons[0].id  # type: ignore[union-attr]
    chat.say("menu")
    deploy(chat, errand())
    chat.say("yes")
    assert chat.words == ["Which fruit?"]
    chat.handle(chat.message(choice=old))
    assert chat.words == ["That question is closed.", "Which fruit?"]


def test_an_old_button_presses_nothing_in_a_run_that_was_carried_on():
    """An old button does nothing in a resumed run, even if the replacement has a button of that name."""
    to_confirm = errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "colour": ReplacedBy("confirm")})])
    chat = standing("colour")
    assert chat.outcome is not None
    old = chat.outcome.replies[-1].buttons[0].id  # type: ignore[union-attr]
    chat.say("menu")
    deploy(chat, to_confirm).say("yes")
    assert chat.words == ["Pay it?"]
    chat.handle(chat.message(choice=old))
    assert chat.words == ["That question is closed.", "Pay it?"]


def test_a_restarted_sub_flow_gets_its_input_again():
    """A restarted sub-flow gets its input from its caller again, and the member is told."""
    fresh = attrs.evolve(pick, version=2, migrations=[Migration(1, others=Restart())])
    states = [attrs.evolve(state, flow=fresh) if state.flow else state for state in errand_1.states]
    chat = deploy(standing("picking"), attrs.evolve(errand_1, states=states))
    chat.say("pear")
    assert chat.words == ["We have changed how this works (pick); please begin it again.", "Which fruit?"]
    chat.say("pear")
    assert chat.words == ["How is it wrapped?"]
    assert chat.document().run.fields["fruit"] == "fresh pear"  # type: ignore[union-attr]


def test_a_session_that_ended_before_the_deploy():
    """A run that was parked before the deploy is offered back at the current version."""
    chat = standing("colour").wait(10_000)
    deploy(chat, errand())
    chat.say("red")
    chat.say("yes")
    assert chat.words[-1] == "Which fruit?"


# A call on its way -------------------------------------------------------------------------------------------------


def test_a_call_on_its_way_is_settled_in_the_step_its_own_became():
    """A pending call of a renamed step is settled once, with its key, by a message or by the worker."""
    for by_worker in (False, True):
        till = Till()
        chat = standing("paying", till=till)
        deploy(chat, errand()).wait(5)
        if by_worker:
            chat.wake()
            assert place(chat).startswith("home.menu")
        else:
            chat.say("hello?")
        assert len(till.asked) == 2
        assert len(till.paid) == 1
        chat.check()


@pytest.mark.parametrize("rule", [ReplacedBy("confirm"), Restart(), "confirm"])
def test_a_migration_that_would_lose_a_call_is_damage(rule: Any):
    """A migration that would lose a pending call counts as damage, and recovery does not make the call again."""
    till = Till()
    chat = standing("paying", till=till)
    deploy(chat, errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "paying": rule})])).wait(5)
    document = chat.document()
    assert [upgrade.how for upgrade in plan(chat.bot, document)].count("lost") == 1
    chat.say("yes")
    assert chat.outcome is not None
    assert chat.outcome.status == "recovered"
    assert "could not find out whether your last request was done" in chat.words[0]
    for _ in range(3):
        chat.say("yes")
    assert len(till.asked) == 1


@pytest.mark.parametrize("rule", [ReplacedBy("confirm"), Restart(), "confirm"])
def test_a_call_whose_answer_is_kept_is_known_to_be_done(rule: Any):
    """Where a migration leaves the step of a kept answer, the member is told that it was done, and it is not redone."""
    till = Till()
    chat = standing("paying", till=till)
    document = chat.document()
    assert document.call is not None
    kept = attrs.evolve(document.call, answer=Answer(True, {"value": "receipt"}, 1))
    chat.plant(attrs.evolve(document, version=document.version + 1, call=kept))
    deploy(chat, errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "paying": rule})])).wait(5)
    chat.say("and?")
    assert chat.outcome is not None
    assert chat.outcome.status == "advanced"
    assert chat.words[0] == "That was done."
    assert chat.document().call is None
    assert chat.say("back").status != "failed"
    assert "That was done." not in chat.words
    assert len(till.asked) == 1
    chat.check()


# What is no version of today's -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_without_a_migration_is_not_acted_upon(version: int):
    """A version without a migration, or a newer one of a deploy that was rolled back, goes to recovery.

    The message itself is not taken.
    """
    chat = standing("confirm")
    flow = errand([], version=2) if version == 1 else errand_1
    if version == 3:
        deploy(chat, errand([FROM_1, Migration(2)], version=3)).say("help")
        assert place(chat) == "errand.confirm 3"
        chat.wait(NEWER_STATE_GRACE)
    deploy(chat, flow)
    chat.say("yes")
    assert chat.outcome is not None
    assert chat.outcome.status == "recovered"
    assert chat.bot.services["till"].paid == {}  # type: ignore[attr-defined]
    _, wrong = faults(chat.bot, encode(chat.document()))
    assert wrong == ()


def test_a_changed_declaration_of_the_same_version_is_believed():
    """A changed declaration of the same version is used if the step exists and the data can be read.

    The run gets the new fingerprint with its next step.
    """
    chat = deploy(standing("confirm"), errand(version=2))
    chat.say("help")
    run = chat.document().run
    assert run is not None
    planted = attrs.evolve(chat.document(), run=attrs.evolve(run, fingerprint="another"))
    planted = attrs.evolve(planted, version=planted.version + 1)
    chat.plant(planted)
    chat.cache = Cache(100)
    chat.say("yes")
    assert chat.words[0] == "Paid."


def test_a_run_without_a_version_counts_as_current():
    """A run without a version, as in the seed's document, counts as current if no migration leads from version 1."""
    run = Run("errand:1", "errand", "confirm", CHANNEL.address)
    chat = Chat(bot_of(errand([])))
    chat.plant(member_document(version=1, run=run))
    chat.say("help", "yes")
    assert chat.words[0] == "Paid."


@pytest.mark.parametrize(
    ("flow", "stands", "source"), [(errand(), "recipient", "turns"), (errand([]), "menu", "turns")]
)
def test_recovery_reads_the_records_of_an_older_version(flow: Flow[Any], stands: str, source: str):
    """Recovery upgrades a turn record of an older version.

    If none fits, it takes the one before, unless a call with an effect was made since.
    """
    chat = standing("handle")
    member = chat.store._members["m-1"]
    assert member.state is not None
    member.state = type(member.state)(member.state.head, b"{")
    member.previous = None
    deploy(chat, flow).say("yes")
    run = chat.document().run
    assert run is not None
    assert (run.step, last(chat).status, last(chat).detail["from"]) == (stands, "recovered", source)


def test_recovery_does_not_take_a_record_of_the_current_version_for_an_older_one():
    """Recovery does not upgrade a turn record of the current version again."""
    chat = deploy(standing("handle"), errand())
    chat.say("@ada", "Ada")
    member = chat.store._members["m-1"]
    assert member.state is not None
    member.state = type(member.state)(member.state.head, b"{")
    member.previous, chat.cache = None, Cache(100)
    chat.say("yes")
    assert (place(chat), last(chat).detail["from"]) == ("errand.family 2", "turns")
    assert chat.document().run.fields["given"] == "Ada"  # type: ignore[union-attr]


# Data --------------------------------------------------------------------------------------------------------------


def _raises(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ValueError(fields["handle"])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (_raises, "data raised ValueError"),
        (lambda fields: None, "data returned no mapping of fields"),
        (lambda fields: {1: 2}, "data returned no mapping of fields"),
        (lambda fields: {"channel": ""}, "data returned a reserved field"),
        (lambda fields: {"recipient": 5}, "expected str"),
        (lambda fields: {"recipient": object()}, "expected str"),
    ],
    ids=["raises", "nothing", "no names", "reserved", "another type", "no value of JSON"],
)
def test_data_that_cannot_be_upgraded_is_damage_and_quotes_nothing(data: Any, fault: str):
    """Data that cannot be upgraded is a fault with flow and version, and without the value."""
    chat = deploy(standing("confirm"), errand([attrs.evolve(FROM_1, data=data)]))
    document, wrong = faults(chat.bot, encode(chat.document()))
    assert document is None
    assert fault in wrong[0]
    assert "flow 'errand', step 'confirm'" in wrong[0]
    assert "@ada" not in str(wrong)


def test_a_question_that_has_become_a_call_is_damage():
    """A question that was replaced by a call is damage, because the member did not confirm the call."""
    document = standing("confirm").document()
    flow = errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "confirm": "sending"})])
    assert [upgrade.fault for upgrade in plan(bot_of(flow), document)] == [
        "",
        "its step has become a call, and none is on its way",
    ]


def test_the_choices_of_a_replaced_question_are_removed():
    """The choices of a replaced question are removed, its timer holds, and the new one is not on its own trail."""
    flow = errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "handle": ReplacedBy("given")})])
    before = standing("handle").document().run
    found, _ = faults(bot_of(flow), encode(standing("handle").document()))
    assert found is not None
    assert found.run is not None
    assert before is not None
    assert before.due is not None
    assert (found.run.due, found.run.since, found.run.shown) == (before.due, None, ())
    flow = errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "colour": ReplacedBy("recipient")})])
    found, _ = faults(bot_of(flow), encode(standing("colour").document()))
    assert found is not None
    assert found.run is not None
    assert (found.run.shown, found.run.trail) == ((), ())


def test_a_chain_of_migrations():
    """Migrations form a chain from version 1 through 2 to 3, each with its own names and data."""
    third = errand(
        [
            attrs.evolve(FROM_1, steps={**FROM_1.steps, "handle": "whom", "paying": "sending"}),
            Migration(2, steps={"whom": "recipient", "given": ReplacedBy("family")}),
        ],
        version=3,
    )
    assert place_after(standing("handle"), third) == "errand.given 3"
    assert place_after(standing("name"), third) == "errand.family 3"


def place_after(chat: Chat, flow: Flow[Any]) -> str:
    """The state in which the member stands after one message to the new flow."""
    deploy(chat, flow).say("anything")
    chat.check()
    return place(chat)


# Faults of declarations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("migrations", "said"),
    [
        (["x"], "migrations: holds a str"),
        ([Migration(2)], "migration from 2: its version 2 is not below the flow's, 2"),
        ([Migration(0)], "migration from 0"),
        ([Migration(True)], "migration from True"),
        ([Migration(1), Migration(1)], "declared twice"),
        ([Migration(1, steps={"handle": "recipent"})], "step 'handle': it leads to 'recipent', which is not a state"),
        ([Migration(1, steps={"colour": ReplacedBy("colour")})], "it leads to 'colour'"),
        ([Migration(1, steps={"name": ReplacedBy(str, steps=["given", "x"])})], "it leads to 'x'"),
        ([Migration(1, steps={"name": ReplacedBy(str, steps=["given"])})], "by a function with 1 steps"),
        ([Migration(1, steps={"name": ReplacedBy(5, steps=["given", "family"])})], "is replaced by a int"),  # type: ignore[arg-type]
        ([Migration(1, steps={"name": ReplacedBy("given", steps=["given"])})], "replaced by a name and has steps="),
        ([Migration(1, steps={"name": 5})], "step 'name' becomes a int"),  # type: ignore[dict-item]
        ([Migration(1, steps=["name"])], "steps is a list"),  # type: ignore[arg-type]
        ([Migration(1, data={})], "data is a dict"),  # type: ignore[arg-type]
        ([Migration(1, others="confirm")], "others is a str"),  # type: ignore[arg-type]
        ([Migration(1, others=Restart("x"))], "Restart says a str"),  # type: ignore[arg-type]
        ([Migration(1, steps={"colour": ReplacedBy("sending")})], "a call that was not proposed"),
        ([Migration(1, others=FinishOnOld("x"))], "FinishOnOld takes a str"),  # type: ignore[arg-type]
        ([Migration(1, others=FinishOnOld(errand()))], "FinishOnOld takes Flow('errand', version=2)"),
        (
            [Migration(1, steps={"nme": "given"}, others=FinishOnOld(errand_1))],
            "version 1 has no step 'nme'; did you mean",
        ),
        (
            [Migration(1, steps={"wrap": FinishOnOld(errand_1)})],
            "step 'colour': it leads to 'colour', which is not a state",
        ),
    ],
)
def test_a_migration_that_leads_nowhere_is_refused_when_the_flow_is_made(migrations: Any, said: str):
    """A migration to an unknown step is refused when the flow is made, with flow, place, fault and remedy."""
    with pytest.raises(FlowError) as error:
        errand(migrations)
    assert said in str(error.value)
    assert error.value.flow == "errand"
    assert error.value.remedy


def test_a_gap_in_the_chain_is_refused():
    """A gap in the chain of migrations is refused."""
    with pytest.raises(FlowError, match="none leads from version 2 to 3"):
        errand([FROM_1, Migration(3)], version=4)


def test_two_kept_definitions_of_one_version_are_refused():
    """Two kept definitions of one version are refused, because a run could be of either."""
    twin = attrs.evolve(errand_1)
    with pytest.raises(FlowError, match="two definitions of version 1"):
        bot_of(errand([attrs.evolve(FROM_1, steps={**FROM_1.steps, "gift": FinishOnOld(twin)})]))


def test_a_kept_definition_brings_its_own_sub_flows():
    """A kept definition brings its own sub-flows, also those that the current flows lack or have in another version."""
    inner: dict[int, Flow[Any]] = {
        version: Flow(
            "inner", version=version, initial="q",
            states=[State("q", ask=Text(f"Inner {version}?")), State("end", final=True)],
            transitions=[Transition("yes", "q", "end")],
            migrations=[Migration(1, others=Restart())] if version == 2 else [],
        )
        for version in (1, 2)
    }  # fmt: skip
    gone: Flow[Any] = Flow(
        "gone", initial="q", states=[State("q", ask=Text("Gone?")), State("end", final=True)],
        transitions=[Transition("yes", "q", "end")],
    )  # fmt: skip

    def outer(version: int, below: list[Flow[Any]], migrations: tuple[Migration, ...] = ()) -> Flow[Any]:
        states: list[State[Any]] = [State("start", ask=Text("Start?"))]
        ways: list[Transition[Any]] = []
        at = "start"
        for flow in below:
            ways += [Transition("yes" if at == "start" else "done", at, flow.name)]
            ways += [Transition("cancelled", flow.name, "end")]
            states.append(State(flow.name, flow=flow))
            at = flow.name
        ways.append(Transition("done", at, "end"))
        return Flow(
            "outer",
            version=version,
            initial="start",
            states=[*states, State("end", say=Text(f"Ended {version}."), final=True)],
            transitions=ways,
            migrations=migrations,
        )

    old = outer(1, [inner[1], gone])
    chat = Chat(Bot([old]))
    chat.plant(member_document(version=1))
    chat.say("hi")
    chat.bot, chat.cache = Bot([outer(2, [inner[2]], (Migration(1, others=FinishOnOld(old)),))]), Cache(0)
    assert {flow.name for flow in chat.bot.flows} == {"outer", "inner", "carry_on", "gone"}
    assert chat.say("yes").replies[-1].text == "Inner 1?"
    assert chat.say("yes").replies[-1].text == "Gone?"
    assert chat.say("yes").replies[-1].text == "Ended 1."
    assert chat.say("hi").replies[-1].text == "Start?"
    assert chat.say("yes").replies[-1].text == "Inner 2?"
    chat.check()


# An operator's change, a guest's move ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_change_of_another_kind_stores_and_says_it_too(kind: Any):
    """Both managers read an upgraded document, and the next commit of any kind records the upgrade."""
    chat = standing("gift")
    document = chat.document()
    with Shell(kind, bot_of(errand()), chat.store) as shell:
        assert shell.state().run.flow_data.step == "recipient"  # type: ignore[union-attr]
        assert chat.document() == document
        shell.do("update", "m-1", lambda found: attrs.evolve(found, profile={"a": 1}))
        entry = unseal(chat.entries()[-1])
        assert (entry.kind, entry.detail["fields"]) == ("update", ["profile"])
        assert [note["how"] for note in entry.detail["migrated"]] == ["restarted"]
        said = words(shell.say("yes").replies)
        assert said == ["Gifts are other than they were; please begin again.", "Who gets it?"]


def test_a_member_that_a_guest_becomes_is_upgraded():
    """The entry of a promotion records the upgrade of the member."""
    bot = bot_of(errand())
    member, _ = faults(bot, encode(standing("gift").document()))
    assert member is not None
    assert member.upgraded
    guest = first_document(guest_id(CHANNEL), CHANNEL, START, CHANNEL.address, version=3)
    guest = attrs.evolve(guest, moved=Moved("m-1", 3))
    adopted = merge(bot, guest, member, START, version=member.version)
    assert adopted.entry is not None
    assert adopted.entry.detail["migrated"] == [*member.upgraded]
    assert adopted.document.upgraded == ()


# Any run, any data -------------------------------------------------------------------------------------------------

OLD_STEPS = [state.name for state in errand_1.states]
FIELDS = sorted(errand_1.fields)


@st.composite
def old_documents(draw: st.DrawFn) -> Document:
    """A member anywhere in version 1 with any data, perhaps with a sub-flow or a call."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    values = text if draw(st.integers(0, 4)) else plain_values
    fields = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, values)))
    step = draw(st.sampled_from(OLD_STEPS))
    trail = draw(st.lists(st.sampled_from(OLD_STEPS), unique=True, max_size=4))
    address = CHANNEL.address
    run = Run(
        "errand:0123456789abcdef",
        "errand",
        step,
        address,
        fields=fields,
        version=draw(st.sampled_from([1, 1, 1, 1, 2, 3])),
        fingerprint=draw(st.sampled_from([errand_1.fingerprint, "other"])),
        entered=4,
        trail=tuple(trail),
        shown=(Shown("yes", "Pay now"),),
    )
    above = draw(st.booleans()) and step == "picking"
    sub = Run("pick:0123456789abcdef", "pick", "fruit", address, entered=4)
    call = PendingCall("k", "till", "pay", {"to": "a", "fruit": "b"}, "r", START) if draw(st.booleans()) else None
    return member_document(
        version=5,
        run=sub if above else run,
        suspended=(attrs.evolve(run, waits=Suspended.SUBFLOW),) if above else (),
        call=call if step == "paying" or not draw(st.integers(0, 3)) else None,
    )


@given(old_documents(), st.sampled_from(["yes", "1", "menu", "back", "Ada", "help"]))
def test_any_run_of_an_older_version_is_upgraded_or_a_named_fault(document: Document, text: str):
    """Any old run is upgraded to a valid one or is a named fault.

    An upgraded run can be spoken to, is not upgraded twice, and keeps the key of its call.
    """
    bot = bot_of(errand())
    before = encode(document)
    found, wrong = faults(bot, before)
    assert encode(document) == before
    assert (found is None) == bool(wrong)
    assert (found is None) >= any(upgrade.how == "lost" for upgrade in plan(bot, document))
    if found is None:
        return
    assert bot.validator.validate(found).valid
    assert found.call == document.call
    assert faults(bot, encode(found)) == (found, ())
    assert upgrade(bot, document_to_raw(found)) == (document_to_raw(found), ())
    decision = decide(bot, found, Message(CHANNEL, "m", text), START)
    assert decision.status != "failed", decision.error
    assert decide(bot, found, Message(CHANNEL, "m", text), START) == decision
    if decision.changed and decision.entry is not None:
        assert bool(found.upgraded) == ("migrated" in decision.entry.detail)
        assert decision.document.upgraded == ()


@given(plain_values)
def test_data_that_is_no_document_is_returned_unchanged(raw: Any):
    """Data that is no document is returned unchanged."""
    bot = bot_of(errand())
    assert upgrade(bot, raw) == (raw, ())
    for broken in (
        {"flow_data": raw},
        {"flow_data": {"data": {"flow_type": "errand"}}, "_run": raw},
        {"_suspended": raw},
    ):
        document, wrong = faults(bot, dumps({**document_to_raw(member_document()), **broken}))
        assert document is not None or wrong
