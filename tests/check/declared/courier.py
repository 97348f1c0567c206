"""Broken flows of a courier and of a school."""

# mypy: ignore-errors
from __future__ import annotations

from datetime import timedelta
from typing import cast

import attrs

from vimbiso_fsm import (
    Bot, Call, Flow, Migration, NoData, Plural, Refused, State, Text, Transition, Turn, authenticated, call,
    failed_with, readers,
)

ASK = Text("Well?")


@attrs.frozen
class Parcel:
    to: str = ""
    weight: int = 0


@attrs.frozen
class Place:
    street: str = ""


class Van:
    def collect(self, to: str) -> str | Refused:
        return to


def collect(turn: Turn[Parcel]):
    return call(Van.collect, turn.data.to)


def street(turn: Turn[Place]) -> str:
    return turn.data.street


where = Flow("where", data=Place, initial="street",
    states=[
        State("street", ask=ASK, reads=readers.name(), into="street"),
        State("known", final=True, output=street),
        State("unknown", final=True, cancels=True),
    ],
    transitions=[Transition("answer", "street", "known"), Transition("nowhere", "street", "unknown")])


def a_part_whose_end_is_not_awaited():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", flow=where, into="to"), State("sent", final=True)],  # HERE subflow-without-cancelled
        transitions=[Transition("done", "to", "sent")])


def a_part_whose_result_is_not_awaited():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", flow=where, into="to"), State("sent", final=True)],  # HERE subflow-without-result
        transitions=[Transition("cancelled", "to", "sent")])


def a_part_that_gives_another_type():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", flow=where, into="weight"), State("sent", final=True)],  # HERE into-wrong-type
        transitions=[Transition(["done", "cancelled"], "to", "sent")])


def a_part_that_is_given_another_type():
    def given(turn: Turn[Parcel]) -> Parcel:
        return turn.data
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", flow=where, input=given, into="to"), State("sent", final=True)],  # HERE input-wrong-type
        transitions=[Transition(["done", "cancelled"], "to", "sent")])


def an_answer_that_leads_nowhere():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", final=True)],  # HERE answer-without-transition
        transitions=[Transition("send", "to", "sent")])


def a_trigger_that_never_comes():
    return Flow("parcel", data=Parcel, initial="to",
        states=[
            State("to", ask=ASK, reads=readers.name(), into="to"),
            State("collecting", call=collect),  # HERE impossible-trigger
            State("sent", final=True),
        ],
        transitions=[
            Transition("answer", "to", "collecting"),
            Transition("done", "collecting", "sent"),
            Transition("failed", "collecting", "to"),
            Transition("cancelled", "collecting", "to"),
        ])


def a_call_that_is_never_done():
    return Flow("parcel", data=Parcel, initial="to",
        states=[
            State("to", ask=ASK, reads=readers.name(), into="to"),
            State("collecting", call=collect),  # HERE call-without-done
            State("sent", final=True),
        ],
        transitions=[
            Transition("answer", "to", "collecting"),
            Transition("failed", "collecting", "sent"),
        ])


def a_field_that_is_not_there():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="too"), State("sent", final=True)],  # HERE unknown-field
        transitions=[Transition("answer", "to", "sent")])


def a_field_that_cannot_be_stored():
    @attrs.frozen
    class Load:
        to: str = ""
        van: Van | None = None  # HERE field-not-storable

    return Flow("parcel", data=Load, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", final=True)],
        transitions=[Transition("answer", "to", "sent")])


def a_field_without_a_default():
    @attrs.frozen
    class Load:
        to: str  # HERE field-without-default

    return Flow("parcel", data=Load, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", final=True)],
        transitions=[Transition("answer", "to", "sent")])


def data_that_can_be_changed():
    @attrs.define  # HERE data-changeable
    class Load:
        to: str = ""

    return Flow("parcel", data=Load, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", final=True)],
        transitions=[Transition("answer", "to", "sent")])


def data_of_no_attrs_class():
    return Flow("parcel", data=dict, initial="to",  # HERE data-class
        states=[State("to", ask=ASK, reads=readers.name()), State("sent", final=True)],
        transitions=[Transition("answer", "to", "sent")])


def a_default_that_all_runs_share():
    @attrs.frozen
    class Load:
        to: str = ""
        stops: list[str] = []  # HERE default-mutable

    return Flow("parcel", data=Load, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", say=ASK, final=True)],
        transitions=[Transition("answer", "to", "sent")])


def a_callback_that_is_a_name():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", final=True)],
        transitions=[Transition("answer", "to", "sent", conditions="is_known")])  # HERE not-a-function


def a_policy_without_a_call():
    from vimbiso_fsm import READ_ONLY

    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to", policy=READ_ONLY), State("sent", final=True)],  # HERE slot-misplaced
        transitions=[Transition("answer", "to", "sent")])


def a_call_with_a_timeout():
    return Flow("parcel", data=Parcel, initial="to",
        states=[
            State("to", ask=ASK, reads=readers.name(), into="to"),
            State("collecting", call=collect, timeout=30),  # HERE timeout-misplaced
            State("sent", final=True),
        ],
        transitions=[
            Transition("answer", "to", "collecting"),
            Transition(["done", "failed"], "collecting", "sent"),
        ])


def a_name_in_capitals():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("To", ask=ASK, reads=readers.name(), into="to"), State("sent", final=True)],  # HERE wrong-name
        transitions=[Transition("answer", "To", "sent")])


def a_field_of_the_framework():
    @attrs.frozen
    class Load:
        member_id: str = ""  # HERE reserved-name

    return Flow("parcel", data=Load, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="member_id"), State("sent", final=True)],
        transitions=[Transition("answer", "to", "sent")])


def a_migration_to_an_unknown_step():
    return Flow("lesson", initial="asked", version=2,
        states=[State("asked", ask=ASK), State("over", final=True)],
        transitions=[Transition("go", "asked", "over")],
        migrations=[Migration(1, steps={"ask": "askd"})])  # HERE wrong-migration


def a_setting_out_of_range():
    return Flow("lesson", initial="asked", version=0,  # HERE wrong-declaration
        states=[State("asked", ask=ASK), State("over", final=True)],
        transitions=[Transition("go", "asked", "over")])


def an_event_with_words():
    return Flow("lesson", data=NoData, initial="asked",
        states=[State("asked", ask=ASK), State("over", final=True)],
        transitions=[Transition("paid", "asked", "over", by="bank", words="paid")])  # HERE wrong-event


@attrs.frozen
class Receipt:
    number: str = ""


@attrs.frozen
class Route:
    stops: int = 0


class Depot:
    def route(self, to: str) -> Route | Refused:
        return Route()


def route(turn: Turn[Parcel]) -> Call[Route | Refused]:
    return call(Depot.route, turn.data.to)


def a_prepare_that_takes_the_answer_of_another_call():
    def kept(turn: Turn[Parcel]) -> Parcel:
        return attrs.evolve(turn.data, to=cast(Receipt, turn.answer).number)  # HERE answer-wrong-type
    return Flow("parcel", data=Parcel, initial="to",
        states=[
            State("to", ask=ASK, reads=readers.name(), into="to"),
            State("routing", call=route),
            State("sent", say=ASK, final=True),
        ],
        transitions=[
            Transition("answer", "to", "routing"),
            Transition("done", "routing", "sent", prepare=kept),
            Transition("failed", "routing", "to"),
        ])


def of_a_place(turn: Turn[Place]):
    return readers.name(most=len(turn.data.street))


def a_reader_of_another_flow():
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=ASK, reads=readers.of_turn(of_a_place), into="to"), State("sent", final=True)],  # HERE turn-of-another-flow
        transitions=[Transition("answer", "to", "sent")])


def a_question_that_is_async():
    async def words(turn: Turn[Parcel]) -> Text:  # HERE callback-async
        return Text("Where to?")
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=words, reads=readers.name(), into="to"), State("sent", final=True)],
        transitions=[Transition("answer", "to", "sent")])


def a_question_with_a_wrong_field():
    def words(turn):  # HERE callback-raises
        return Text("To {to}?", to=turn.data.too)
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=words, reads=readers.name(), into="to"), State("sent", say=ASK, final=True)],
        transitions=[Transition("answer", "to", "sent")])


def a_plural_without_all_forms():
    flow = Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", say=Text("parcel.sent", n=1), final=True)],  # HERE plural-form
        transitions=[Transition("answer", "to", "sent")])
    return Bot(flow, texts={"parcel.sent": Plural("n", other="{n} parcels")})


def too_many_buttons():
    return Flow("parcel", initial="size",
        states=[State("size", ask=ASK), State("sent", say=ASK, final=True)],  # HERE too-many-choices
        transitions=[Transition(f"size_{number}", "size", "sent") for number in range(12)])


def a_late_text_without_a_template():
    return Flow("parcel", initial="held",
        states=[
            State("held", ask=ASK, timeout=timedelta(days=3)),
            State("returned", say=Text("It goes back."), final=True),  # HERE late-text
        ],
        transitions=[Transition("collect", "held", "returned"), Transition("timeout", "held", "returned")])


def a_text_that_is_said_nowhere():
    flow = Flow("parcel", data=Parcel, initial="to",
        states=[State("to", ask=ASK, reads=readers.name(), into="to"), State("sent", say=ASK, final=True)],
        transitions=[Transition("answer", "to", "sent")])
    return Bot(flow, texts={"parcel.forgotten": "Left over"})  # HERE text-unused


def a_question_that_quotes_an_answer_to_come():
    def asked(turn: Turn[Parcel]) -> Text:
        return Text("How heavy is the parcel to {to}?", to=turn.data.to)  # HERE read-before-written
    return Flow("parcel", data=Parcel, initial="weight",
        states=[
            State("weight", ask=asked, reads=readers.number(), into="weight"),
            State("to", ask=ASK, reads=readers.name(), into="to"),
            State("sent", say=ASK, final=True),
        ],
        transitions=[Transition("answer", "weight", "to"), Transition("answer", "to", "sent")])


def a_guard_of_an_answer_to_come():
    def is_far(turn: Turn[Parcel]) -> bool:
        return turn.data.to != "Harare"  # HERE read-before-written
    return Flow("parcel", data=Parcel, initial="weight",
        states=[
            State("weight", ask=ASK, reads=readers.number(), into="weight"),
            State("to", ask=ASK, reads=readers.name(), into="to"),
            State("sent", say=ASK, final=True),
        ],
        transitions=[
            Transition("answer", "weight", "to", conditions=is_far),
            Transition("answer", "weight", "sent"),
            Transition("answer", "to", "sent"),
        ])


def a_reason_that_only_chooses_a_way():
    def is_light(turn: Turn[Parcel]) -> bool | Refused:
        return turn.data.weight < 5 or Refused("That is heavy.")
    return Flow("parcel", data=Parcel, initial="weight",
        states=[
            State("weight", ask=ASK, reads=readers.number(), into="weight"),
            State("weighed"),
            State("bicycle", say=ASK, final=True),
            State("van", say=ASK, final=True),
        ],
        transitions=[
            Transition("answer", "weight", "weighed"),
            Transition("auto", "weighed", "bicycle", conditions=is_light),  # HERE reason-misplaced
            Transition("auto", "weighed", "van"),
        ])


def a_guard_that_forgets_to_answer():
    def is_light(turn: Turn[Parcel]) -> bool:
        if turn.data.weight < 5:  # HERE guard-returns-other
            return True
    return Flow("parcel", data=Parcel, initial="weight",
        states=[State("weight", ask=ASK, reads=readers.number(), into="weight"), State("sent", say=ASK, final=True)],
        transitions=[Transition("answer", "weight", "sent", conditions=is_light)])


def a_guard_that_answers_nothing_for_some():
    def is_light(turn: Turn[Parcel]):
        if not turn.data.weight:
            return None  # HERE guard-returns-other
        return turn.data.weight < 5
    return Flow("parcel", data=Parcel, initial="weight",
        states=[State("weight", ask=ASK, reads=readers.number(), into="weight"), State("sent", say=ASK, final=True)],
        transitions=[Transition("answer", "weight", "sent", conditions=is_light)])


def a_login_that_nothing_makes():
    return Flow("parcel", initial="asked", requires=authenticated,  # HERE requires-unsatisfiable
        states=[State("asked", ask=ASK), State("sent", say=ASK, final=True)],
        transitions=[Transition("send", "asked", "sent")])


def a_failure_that_no_way_takes():
    return Flow("parcel", data=Parcel, initial="to",
        states=[
            State("to", ask=ASK, reads=readers.name(), into="to"), State("sure", ask=ASK),
            State("collecting", call=collect),  # HERE call-without-failed
            State("end", say=ASK, final=True), State("full", say=ASK, final=True),
            State("dropped", say=ASK, final=True, cancels=True),
        ],
        transitions=[
            Transition("answer", "to", "sure"), Transition("yes", "sure", "collecting"),
            Transition("no", "sure", "dropped"),
            Transition("done", "collecting", "end"),
            Transition("failed", "collecting", "full", conditions=failed_with("van.full")),
        ])


def a_yes_without_a_no():
    return Flow("parcel", data=Parcel, initial="to",
        states=[
            State("to", ask=ASK, reads=readers.name(), into="to"), State("sure", ask=ASK),
            State("collecting", call=collect), State("end", say=ASK, final=True),
        ],
        transitions=[
            Transition("answer", "to", "sure"),
            Transition("yes", "sure", "collecting"),  # HERE confirm-without-no
            Transition(["done", "failed"], "collecting", "end"),
        ])


def an_output_that_nothing_takes():
    asked = Flow("asked", data=Place, initial="street",
        states=[
            State("street", ask=ASK, reads=readers.name(), into="street"),
            State("known", final=True, output=street),
        ],
        transitions=[Transition("answer", "street", "known")])
    return Flow("parcel", data=Parcel, initial="to",
        states=[State("to", flow=asked), State("end", say=ASK, final=True)],  # HERE output-unused
        transitions=[Transition("done", "to", "end")])
