"""Late texts of random conversations: inside the window, as a template, or held, and each of them ends in one way."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.operations.test_sending import CHANNEL, KINDS, Kind, said
from tests.operations.test_window import DAY, HOUR, Late, seat
from vimbiso_fsm.messages.replies import Template, Text, TextTemplate

HOLDS = st.sampled_from([None, HOUR, 2 * DAY])
WAITS = st.sampled_from([1.0, HOUR - 1, HOUR, 23 * HOUR, DAY - 61, DAY, 2 * DAY, 7 * DAY])
STEPS = st.one_of(
    st.tuples(st.just("late"), st.booleans(), HOLDS),
    st.tuples(st.just("wait"), WAITS),
    st.tuples(st.just("say")),
)


@KINDS
@examples(15)
@given(steps=st.lists(STEPS, max_size=12))
def test_each_late_text_ends_in_one_way(kind: Kind, steps: list[Any]):
    """No free words go outside the window, none held after their end, none twice, and none is lost without a trace."""
    scene = Late(kind, seat(Text("Too late."), after=300 * DAY))
    heard, told, seen = scene.at, dict[str, tuple[float, float]](), Counter[str]()

    def look(*, answers: bool) -> None:
        for reply in scene.post.sent:
            for name in re.findall(r"late\d+", reply.text):
                seen[name] += 1
                if not isinstance(reply, Template):
                    assert answers or scene.at < heard // HOUR * HOUR + DAY - 60
                    assert scene.at < sum(told[name])
        scene.post.sent.clear()

    def speak(text: str) -> None:
        nonlocal heard
        heard = scene.at
        scene.one.handle(said(text))
        look(answers=True)

    for number, step in enumerate(steps):
        if step[0] == "late":
            name, holds = f"late{number}", step[2]
            told[name] = (scene.at, holds or 7 * DAY)
            templates = {"whatsapp": TextTemplate("late")} if step[1] else {}
            text = Text(name, templates=templates, holds=holds and timedelta(seconds=holds))
            scene.one.do("tell", CHANNEL, text, key=name)
            look(answers=False)
        elif step[0] == "wait":
            scene.after(step[1])
            look(answers=False)
        else:
            speak(f"m{number}")
        scene.record(scene.one)
    scene.at += 1.0
    speak("last")
    lapsed = [id for detail in scene.audited() for id in detail.get("lapsed", ())]
    assert set(seen.values()) <= {1}
    assert len(lapsed) == len(told) - len(seen)
    scene.one.close()
