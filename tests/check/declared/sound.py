"""Unusual flows of other domains that are correct. Each public function makes one."""

# mypy: ignore-errors
from __future__ import annotations

import functools
from datetime import date, datetime, time, timedelta
from operator import attrgetter

import attrs

from vimbiso_fsm import (
    PUBLIC, READ_ONLY, SECRET, Bot, CallPolicy, Commands, FinishOnOld, Flow, Migration, NoData, Refused, ReplacedBy, Row,
    Shortcut, State, Text, Transition, Turn, authenticated, call, failed_with, readers, remind,
)  # fmt: skip

ASK = Text("Well?")


@attrs.frozen
class Order:
    table: int = 0
    dish: str = ""
    other: str = ""
    when: date | None = None
    rounds: int = 0
    dishes: tuple[str, ...] = ()


class Kitchen:
    def cook(self, dish: str, *, rounds: int = 1) -> str | Refused:
        return dish

    def menu(self) -> tuple[str, ...]:
        return ("sadza",)


class Till:
    def price(self, dish: str) -> int | Refused:
        return 1


END = State("end", say=Text("Done."), final=True)


def one(*states, ways, data=Order, initial=None, **more):
    """Return a flow of these states, with an end."""
    return Flow(more.pop("name", "order"), data=data, initial=initial or states[0].name, states=[*states, END], transitions=ways, **more)


def a_list_that_is_taken_in_a_callback():
    def rows(turn: Turn[Order]) -> list[Row]:
        found = []
        found.append(Row("a", Text("A")))
        found.extend(Row(dish, Text(dish)) for dish in turn.data.dishes)
        return found
    return one(State("pick", ask=ASK, rows=rows, into="dish"), ways=[Transition("answer", "pick", "end"), Transition("empty", "pick", "end")])


def a_guard_on_data_that_is_not_there_yet():
    def soon(turn: Turn[Order]) -> bool:
        return turn.data.when.year > 2020 and turn.data.dishes[0] != ""
    return one(State("when", ask=ASK, reads=readers.date(), into="when"), ways=[Transition("answer", "when", "end", conditions=soon), Transition("answer", "when", "end")])


def a_default_that_means_none():
    def words(turn: Turn[Order]) -> Text:
        return Text("Cook {dish}", dish=turn.data.other or turn.data.dish)
    return one(State("dish", ask=ASK, reads=readers.name(), into="dish"), State("sure", ask=words), ways=[Transition("answer", "dish", "sure"), Transition("yes", "sure", "end"), Transition("no", "sure", "dish")])


def a_retry_that_the_member_asks_for():
    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, turn.data.dish)
    return one(
        State("dish", ask=ASK, reads=readers.name(), into="dish"), State("sure", ask=ASK),
        State("cooking", call=cook, policy=CallPolicy(rounds=2)), State("again", ask=ASK),
        ways=[
            Transition("answer", "dish", "sure"), Transition("yes", "sure", "cooking"), Transition("no", "sure", "dish"),
            Transition("done", "cooking", "end"), Transition("failed", "cooking", "end", conditions=failed_with("kitchen.closed")),
            Transition("failed", "cooking", "again"), Transition("again", "again", "cooking"), Transition("leave", "again", "end"),
        ])


def a_call_by_keyword_and_one_of_two():
    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, turn.data.dish, rounds=2) if turn.data.rounds else call(Till.price, turn.data.dish)
    return one(
        State("dish", ask=ASK, reads=readers.name(), into="dish"), State("cooking", call=cook),
        ways=[Transition("answer", "dish", "cooking"), Transition("done", "cooking", "end"), Transition("failed", "cooking", "dish")])


def a_call_with_arguments_that_are_unpacked():
    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, **{"dish": turn.data.dish})
    return one(
        State("dish", ask=ASK, reads=readers.name(), into="dish"), State("cooking", call=cook),
        ways=[Transition("answer", "dish", "cooking"), Transition("done", "cooking", "end"), Transition("failed", "cooking", "dish")])


def a_round_that_counts():
    def more(turn: Turn[Order]) -> Order:
        return attrs.evolve(turn.data, rounds=turn.data.rounds + 1)

    def enough(turn: Turn[Order]) -> bool:
        return turn.data.rounds > 2
    return one(State("ask", ask=ASK), State("round"), ways=[Transition("go", "ask", "round"), Transition("auto", "round", "end", conditions=enough), Transition("auto", "round", "round", prepare=more)])


def guards_of_prepared_data():
    def doubled(turn: Turn[Order]) -> Order:
        return attrs.evolve(turn.data, table=turn.data.table * 2)

    def large(turn: Turn[Order]) -> bool:
        return turn.data.table > 10
    return one(
        State("table", ask=ASK, reads=readers.number(), into="table"), State("hall", say=ASK, final=True),
        ways=[Transition("answer", "table", "hall", conditions=large), Transition("answer", "table", "end", prepare=doubled, conditions=[large, authenticated]), Transition("answer", "table", "end")])


def partials_and_attrgetters():
    def at_least(count: int, turn: Turn[Order]) -> bool:
        return turn.data.table >= count
    return one(
        State("table", ask=ASK, reads=readers.number(), into="table"), State("told", say=lambda turn: Text("{n}", n=attrgetter("data.table")(turn)), final=True),
        ways=[Transition("answer", "table", "told", conditions=functools.partial(at_least, 4)), Transition("answer", "table", "end")])


def states_of_a_comprehension():
    names = ["soup", "main", "sweet"]
    states = [State(name, ask=ASK, reads=readers.name(), into="dish") for name in names]
    ways = [Transition("answer", here, there) for here, there in zip(names, [*names[1:], "end"], strict=True)]
    return one(*states, ways=ways)


def the_clock_of_the_turn():
    def late(turn: Turn[Order]) -> bool:
        return turn.now.hour > 20 or turn.local.time() > time(20) or turn.today > date(2030, 1, 1) or turn.now < datetime.fromtimestamp(0, turn.now.tzinfo)
    return one(State("ask", ask=ASK), State("closed", say=ASK, final=True), ways=[Transition("go", "ask", "closed", conditions=late), Transition("go", "ask", "end")])


def a_reminder_that_starts_a_flow():
    later = one(State("rate", ask=ASK, reads=readers.number(), into="table"), ways=[Transition("answer", "rate", "end")], name="rating")

    def planned(turn: Turn[Order]) -> object:
        return remind(turn.now + timedelta(days=1), "rate", flow=later)
    first = one(State("ask", ask=ASK, reminds=planned), ways=[Transition("go", "ask", "end")])
    return Bot([first, later], texts={"order.ask.go": "Go"})


def a_version_that_was_migrated():
    old = Flow("order", data=Order, initial="ask", states=[State("ask", ask=ASK), END], transitions=[Transition("go", "ask", "end")])
    flow = one(
        State("asked", ask=ASK), ways=[Transition("go", "asked", "end")], version=3,
        migrations=[Migration(1, others=FinishOnOld(old)), Migration(2, steps={"ask": ReplacedBy("asked")})])
    return Bot(flow, texts={"order.ask.go": "Go", "order.asked.go": "Go"})


def a_version_that_needs_no_migration():
    return Flow("order", initial="ask", version=2,  # vimbiso: ok migration-missing – version 1 was never in use
        states=[State("ask", ask=ASK), END], transitions=[Transition("go", "ask", "end")])


def secrets_and_numbers_that_are_none():
    @attrs.frozen
    class Card:
        pin: str = attrs.field(default="", metadata=SECRET)
        tries_of_pin: int = 0
        pin_tries: str = attrs.field(default="", metadata=PUBLIC)
        token_count: int = attrs.field(default=0, metadata=PUBLIC)
        secret_garden: str = ""
    return one(State("pin", ask=ASK, reads=readers.name(), into="pin"), data=Card, ways=[Transition("answer", "pin", "end")])


def titles_of_which_one_is_shown():
    def member(turn: Turn[NoData]) -> bool:
        return turn.member.authenticated
    flow = Flow("order", initial="ask", states=[State("ask", ask=ASK), END],
        transitions=[Transition("pay", "ask", "end", conditions=member), Transition("log_in", "ask", "end", unless=member), Transition("later", "ask", "end")])
    return Bot(flow, texts={"order.ask.pay": "Pay", "order.ask.log_in": "Pay", "order.ask.later": "Later"})


def words_of_an_own_language():
    flow = Flow("order", initial="ask", states=[State("ask", ask=ASK), END], transitions=[Transition("hi", "ask", "end"), Transition("go", "ask", "end", words="menu")])
    return Bot(flow, commands=Commands(menu=["start"]), texts={"order.ask.hi": "Hi", "order.ask.go": "Menu"})


def a_home_that_says_something_before_its_end():
    flow = Flow("order", initial="ask",
        states=[State("ask", ask=ASK), State("told", say=Text("Bye.")), State("over", final=True)],
        transitions=[Transition("go", "ask", "told"), Transition("auto", "told", "over")])
    return Bot(flow, texts={"order.ask.go": "Go"})


def an_effect_behind_a_reading_call_and_a_question():
    def look(turn: Turn[Order]):
        return call(Kitchen.menu)

    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, turn.data.dish)
    flow = one(
        State("looking", call=look, policy=READ_ONLY, into="dishes"), State("dish", ask=ASK, reads=readers.name(), into="dish"), State("cooking", call=cook),
        ways=[
            Transition(["done", "failed"], "looking", "dish"), Transition("answer", "dish", "cooking"),
            Transition("done", "cooking", "end"), Transition("failed", "cooking", "dish"),
        ])
    return Bot(flow, services={"kitchen": Kitchen()})


def a_shortcut_with_an_example():
    flow = one(State("table", ask=ASK, reads=readers.number(), into="table"), ways=[Transition("answer", "table", "end")])
    return Bot(flow, shortcuts=[Shortcut(flow, lambda text: [text.removeprefix("table ")] if text.startswith("table ") else None, examples=["table 7"])])


def keys_that_are_made_at_run_time():
    def words(turn: Turn[Order]) -> Text:
        return Text(f"order.{turn.state}.asked", dish=turn.data.dish)
    flow = one(State("dish", ask=words, reads=readers.name(), into="dish"), ways=[Transition("answer", "dish", "end")])
    return Bot(flow, texts={"order.dish.asked": "Which?", "order.dish.help": "Name a dish."})


def rows_that_are_always_there():
    def tables(turn: Turn[Order]) -> list[Row]:
        return [Row(str(number), Text(str(number)), value=number) for number in range(1, 5)]
    return one(State("table", ask=ASK, rows=tables, into="table"), ways=[Transition("answer", "table", "end")])


def fields_that_may_be_empty_or_were_asked_elsewhere():
    def words(turn: Turn[Order]) -> Text:
        return Text("Again {dish}?", dish=turn.data.dish) if turn.data.dish else Text("Which?")
    def chosen(turn: Turn[Order]) -> bool:
        return turn.data.dish == ""
    def is_known(turn: Turn[Order]) -> bool:
        if turn.data.dish == "sadza":
            return True
        return False
    return one(
        State("dish", ask=words, reads=readers.name(), into="dish"),
        ways=[
            Transition("answer", "dish", "dish", conditions=chosen),
            Transition("answer", "dish", "end", conditions=is_known),
            Transition("answer", "dish", "end"),
        ],
    )


def a_reason_for_an_answer_before_another_way():
    def small(turn: Turn[Order]) -> bool | Refused:
        return len(turn.data.dish) < 9 or Refused("That is long; we look for it.")
    return one(
        State("dish", ask=ASK, reads=readers.name(), into="dish"),
        State("looking", ask=ASK, reads=str),
        ways=[
            Transition("answer", "dish", "end", conditions=small),
            Transition("answer", "dish", "looking"),
            Transition("answer", "looking", "end"),
        ],
    )


def failures_of_which_one_of_two_is_taken():
    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, turn.data.dish)
    closed = failed_with("kitchen.closed")
    return one(
        State("dish", ask=ASK, reads=readers.name(), into="dish"), State("sure", ask=ASK), State("cooking", call=cook),
        ways=[
            Transition("answer", "dish", "sure"), Transition("yes", "sure", "cooking"), Transition("change", "sure", "dish"),
            Transition("done", "cooking", "end"),
            Transition("failed", "cooking", "end", conditions=closed), Transition("failed", "cooking", "sure", unless=closed),
        ])


def a_yes_before_something_that_is_only_read():
    def menu(turn: Turn[Order]):
        return call(Kitchen.menu)
    return one(
        State("start", ask=ASK), State("reading", call=menu, policy=READ_ONLY, into="dishes"),
        ways=[Transition("yes", "start", "reading"), Transition(["done", "failed"], "reading", "end")])


def an_output_beside_an_effect():
    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, turn.data.dish)
    def dish(turn: Turn[Order]) -> str:
        return turn.data.dish
    cooking = Flow("cook", data=Order, initial="dish",
        states=[State("dish", ask=ASK, reads=readers.name(), into="dish"), State("cooking", call=cook), State("cooked", final=True, output=dish)],
        transitions=[Transition("answer", "dish", "cooking"), Transition("done", "cooking", "cooked"), Transition("failed", "cooking", "dish")])
    return one(State("first", ask=ASK), State("running", flow=cooking), ways=[Transition("go", "first", "running"), Transition("done", "running", "end")])


def failures_that_guards_of_the_author_tell_apart():
    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, turn.data.dish)
    def was_tried(turn: Turn[Order]) -> bool:
        return turn.data.rounds > 0
    def was_not_tried(turn: Turn[Order]) -> bool:
        return not turn.data.rounds
    return one(
        State("dish", ask=ASK, reads=readers.name(), into="dish"), State("cooking", call=cook),
        ways=[
            Transition("answer", "dish", "cooking"), Transition("done", "cooking", "end"),
            Transition("failed", "cooking", "end", conditions=was_tried), Transition("failed", "cooking", "dish", conditions=was_not_tried),
        ])


def a_failure_by_which_a_part_is_cancelled():
    def cook(turn: Turn[Order]):
        return call(Kitchen.cook, turn.data.dish)
    cooking = Flow("cook", data=Order, initial="dish",
        states=[State("dish", ask=ASK, reads=readers.name(), into="dish"), State("cooking", call=cook), State("cooked", final=True)],
        transitions=[
            Transition("answer", "dish", "cooking"), Transition("done", "cooking", "cooked"),
            Transition("failed", "cooking", "dish", conditions=failed_with("kitchen.no_such_dish")),
        ])
    return one(State("first", ask=ASK), State("running", flow=cooking), ways=[Transition("go", "first", "running"), Transition(["done", "cancelled"], "running", "end")])
