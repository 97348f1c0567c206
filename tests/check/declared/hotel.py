"""Broken flows and bots of a hotel."""

# mypy: ignore-errors
from __future__ import annotations

import attrs

from vimbiso_fsm import PUBLIC, Bot, Flow, NoData, Refused, Row, Shortcut, State, Text, Transition, Turn, call, readers

ASK = Text("Well?")


@attrs.frozen
class Stay:
    nights: int = 0
    room: str = ""


class Front:
    def book(self, nights: int) -> str | Refused:
        return "12"


def book(turn: Turn[Stay]):
    return call(Front.book, turn.data.nights)


def long(turn: Turn[Stay]) -> bool:
    return turn.data.nights > 7


def rich(turn: Turn[Stay]) -> bool:
    return turn.data.room != ""


def a_stay(*transitions: Transition, name="stay", **more):
    return Flow(name, data=Stay, initial="nights", **more,
        states=[
            State("nights", ask=ASK, reads=readers.number(least=1, most=99), into="nights"),
            State("suite", say=Text("A suite."), final=True),
            State("room", say=Text("A room."), final=True),
        ],
        transitions=transitions)


def a_way_that_an_earlier_one_takes():
    return a_stay(
        Transition("answer", "nights", "suite", conditions=long),
        Transition("answer", "nights", "room", conditions=[long, rich]),  # HERE shadowed-transition
        Transition("answer", "nights", "room"),
    )


def a_way_that_contradicts_itself():
    return a_stay(
        Transition("answer", "nights", "suite", conditions=long, unless=long),  # HERE transition-contradicts
        Transition("answer", "nights", "room"),
    )


def a_version_without_a_migration():
    return Flow("stay", version=2, initial="asked",  # HERE migration-missing
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("book", "asked", "room")])


def a_round_without_an_end():
    return Flow("stay", initial="asked",
        states=[
            State("asked", ask=ASK),
            State("looking"),  # HERE auto-loop
            State("waiting"),
            State("room", say=Text("A room."), final=True),
        ],
        transitions=[
            Transition("book", "asked", "looking"),
            Transition("auto", "looking", "room", conditions=lambda turn: turn.member.authenticated),
            Transition("auto", "looking", "waiting"),
            Transition("auto", "waiting", "looking"),
        ])


def a_part_without_an_exit():
    return Flow("stay", initial="asked",
        states=[
            State("asked", ask=ASK),
            State("paying", ask=ASK),  # HERE loop-without-exit
            State("paid", ask=ASK),
            State("room", say=Text("A room."), final=True),
        ],
        transitions=[
            Transition("book", "asked", "room"),
            Transition("pay", "asked", "paying"),
            Transition("card", "paying", "paid"),
            Transition("again", "paid", "paying"),
        ])


def a_confirmation_that_is_passed_by():
    return Flow("stay", data=Stay, initial="nights",
        states=[
            State("nights", ask=ASK, reads=readers.number(least=1, most=99), into="nights"),
            State("confirm", ask=ASK),
            State("booking", call=book),
            State("room", say=Text("A room."), final=True),
        ],
        transitions=[
            Transition("answer", "nights", "confirm", conditions=long),
            Transition("answer", "nights", "booking"),  # HERE confirm-skipped
            Transition("yes", "confirm", "booking"),
            Transition("no", "confirm", "nights"),
            Transition("done", "booking", "room"),
            Transition("failed", "booking", "confirm"),
        ])


def a_button_that_is_a_global_word():
    return Flow("stay", initial="asked",
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[
            Transition("book", "asked", "room"),
            Transition("help", "asked", "room"),  # HERE trigger-is-global-word, title-is-global-word
        ])


def a_word_of_a_button_that_is_a_global_word():
    return Flow("stay", initial="asked",
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[
            Transition("leave", "asked", "room", words=["exit"]),  # HERE trigger-is-global-word
            Transition("book", "asked", "room"),
        ])


def a_public_pin():
    @attrs.frozen
    class Guest:
        name: str = ""
        door_pin: str = attrs.field(default="", metadata=PUBLIC)  # HERE secret-is-public

    return Flow("stay", data=Guest, initial="name",
        states=[State("name", ask=ASK, reads=readers.name(), into="name"), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("answer", "name", "room")])


def a_password_that_is_not_marked():
    @attrs.frozen
    class Guest:
        password: str = ""  # HERE secret-is-public

    return Flow("stay", data=Guest, initial="asked",
        states=[State("asked", ask=ASK, reads=readers.name(), into="password"), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("answer", "asked", "room")])


def two_titles_that_are_equal():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[
            Transition("single", "asked", "room"),
            Transition("double", "asked", "room"),  # HERE titles-equal
        ])
    return Bot(flow, texts={"stay.asked.single": "Room", "stay.asked.double": "room"})


def a_title_that_is_a_global_word():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])  # HERE title-is-global-word
    return Bot(flow, texts={"stay.asked.leave": "Cancel"})


def a_title_that_is_too_long():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])  # HERE title-too-long
    return Bot(flow, texts={"stay.asked.leave": "Leave the hotel by the back door"})


def a_title_that_is_missing():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])  # HERE text-missing
    return Bot(flow)


def a_text_that_is_missing():
    def words(turn: Turn[NoData]) -> Text:
        return Text("stay.asked")  # HERE text-missing
    return Flow("stay", initial="asked",
        states=[State("asked", ask=words), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])


def a_question_with_the_key_of_a_title():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=Text("stay.title"), reads=str), State("room", say=Text("A room."), final=True)],  # HERE text-missing
        transitions=[Transition("answer", "asked", "room")])
    return Bot(flow, texts={})


def a_text_without_its_parameter():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=Text("stay.asked")), State("room", say=Text("A room."), final=True)],  # HERE text-parameters
        transitions=[Transition("leave", "asked", "room")])
    return Bot(flow, texts={"stay.asked": "For {nights} nights?", "stay.asked.leave": "Leave"})


def a_translation_that_is_missing():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=Text("stay.asked")), State("room", say=Text("A room."), final=True)],  # HERE text-missing
        transitions=[Transition("leave", "asked", "room")])
    return Bot(flow, texts={"en": {"stay.asked": "Stay?", "stay.asked.leave": "No"}, "fr": {"stay.asked.leave": "Non"}})  # HERE text-missing


def a_home_that_ends_without_a_word():
    flow = Flow("stay", initial="asked",
        states=[State("asked", ask=ASK), State("room", final=True)],  # HERE home-ends
        transitions=[Transition("leave", "asked", "room")])
    return Bot(flow, texts={"stay.asked.leave": "Leave"})


def an_effect_that_was_not_asked_for():
    flow = Flow("stay", data=Stay, initial="booking",
        states=[State("booking", call=book), State("room", say=Text("A room."), final=True)],  # HERE effect-unasked
        transitions=[Transition(["done", "failed"], "booking", "room")])
    return Bot(flow)


def a_flow_that_nothing_starts():
    home = Flow("home", initial="asked",
        states=[State("asked", ask=ASK), State("left", say=ASK, final=True)],
        transitions=[Transition("leave", "asked", "left")])
    other = Flow("stay", initial="asked",  # HERE unreachable-flow
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])
    return Bot([home, other], texts={"home.asked.leave": "Leave", "stay.asked.leave": "Leave"})


def a_service_that_is_missing():
    def booked(turn: Turn[Stay]):
        return call(Front.book, turn.data.nights)  # HERE service-missing
    flow = Flow("stay", data=Stay, initial="nights",
        states=[
            State("nights", ask=ASK, reads=readers.number(least=1, most=99), into="nights"),
            State("booking", call=booked),
            State("room", say=Text("A room."), final=True),
        ],
        transitions=[
            Transition("answer", "nights", "booking"),
            Transition("done", "booking", "room"),
            Transition("failed", "booking", "nights"),
        ])
    return Bot(flow, services={"frnt": Front()})


def a_misspelt_method_of_a_port():
    def booked(turn: Turn[Stay]):
        return call(Front.boook, turn.data.nights)  # HERE service-missing
    flow = Flow("stay", data=Stay, initial="nights",
        states=[
            State("nights", ask=ASK, reads=readers.number(least=1, most=99), into="nights"),
            State("booking", call=booked),
            State("room", say=Text("A room."), final=True),
        ],
        transitions=[
            Transition("answer", "nights", "booking"),
            Transition("done", "booking", "room"),
            Transition("failed", "booking", "nights"),
        ])
    return Bot(flow, services={"front": Front()})


def a_service_without_the_method():
    def booked(turn: Turn[Stay]):
        return call(Front.book, turn.data.nights)  # HERE service-missing
    flow = Flow("stay", data=Stay, initial="nights",
        states=[
            State("nights", ask=ASK, reads=readers.number(least=1, most=99), into="nights"),
            State("booking", call=booked),
            State("room", say=Text("A room."), final=True),
        ],
        transitions=[
            Transition("answer", "nights", "booking"),
            Transition("done", "booking", "room"),
            Transition("failed", "booking", "nights"),
        ])
    return Bot(flow, services={"front": object()})


def a_shortcut_that_does_not_read_its_example():
    flow = Flow("stay", data=Stay, initial="nights",
        states=[State("nights", ask=ASK, reads=readers.number(least=1, most=99), into="nights"), State("room", say=ASK, final=True)],
        transitions=[Transition("answer", "nights", "room")])
    quick = Shortcut(flow, lambda text: text.split("=>") if "=>" in text else None, examples=["7 nights"])  # HERE shortcut-cannot-parse
    return Bot(flow, shortcuts=[quick])


def a_list_that_may_be_empty():
    def free(turn: Turn[Stay]) -> list[Row]:
        return [Row(room, Text(room)) for room in turn.data.room.split()]
    return Flow("stay", data=Stay, initial="rooms",
        states=[State("rooms", ask=ASK, rows=free, into="room"), State("room", say=ASK, final=True)],  # HERE may-be-empty
        transitions=[Transition("answer", "rooms", "room")])


def two_flows_of_one_name():
    first = a_stay(Transition("answer", "nights", "suite", conditions=long), Transition("answer", "nights", "room"))
    second = Flow("stay", initial="asked",  # HERE flows-same-name
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])
    return Bot([first, second])


def a_silencer_without_a_reason():
    flow = Flow("stay", initial="asked", version=2,  # vimbiso: ok migration-missing  # HERE migration-missing, silencer-without-reason
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])
    return Bot(flow, texts={"stay.asked.leave": "Leave"})


def a_silencer_of_nothing():
    flow = Flow("stay", initial="asked",  # vimbiso: ok migration-missing – no run is open  # HERE silencer-unused
        states=[State("asked", ask=ASK), State("room", say=Text("A room."), final=True)],
        transitions=[Transition("leave", "asked", "room")])
    return Bot(flow, texts={"stay.asked.leave": "Leave"})
