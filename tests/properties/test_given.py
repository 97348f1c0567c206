"""What other systems give, in any order with the messages of the member, agrees with a model of its keys."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.operations.test_give import Payment, World

SAYS = st.sampled_from(["hi", "go", "tea", "yes", "menu", "cancel", "back", "good"]).map(lambda text: ("say", text))
GIVES = st.tuples(
    st.sampled_from(["tell", "survey", "alarm", "paid", "greet"]), st.integers(1, 3), st.sampled_from([5, 10])
)
WAITS = st.sampled_from([60, 1_000]).map(lambda seconds: ("wait", seconds))


def _give(world: World, how: str, key: str, amount: int) -> tuple[str, str]:
    """Give one of several things. The amount is part of a payment, so that a key may come with another content."""
    if how == "tell":
        return world.gives("tell", f"words {key}", key=key)
    if how in ("survey", "alarm"):
        return world.gives("open", how, key=key)
    if how == "paid":
        return world.gives("trigger", "paid", Payment(amount), key=key, by="bank")
    return world.gives("trigger", "greet", "Ann", key=key, by="crm")


@examples(25)
@given(st.lists(st.one_of(SAYS, GIVES, WAITS), max_size=14))
def test_each_key_counts_once_in_any_order(program: list[tuple[object, ...]]) -> None:
    """A key is taken in once and known from then on; with another content it is refused; nothing told is lost."""
    world = World()
    world.says("hi")
    taken: dict[str, tuple[str, int, str]] = {}
    for step in program:
        match step:
            case ("say", str(text)):
                world.says(text)
            case ("wait", int(seconds)):
                world.clock.at += seconds
                world.shell.wake(world.member_id)
            case (str(how), int(number), int(amount)):
                key, content = f"{how if number < 3 else 'any'}-{number}", (how, amount if how == "paid" else 0)
                status, reason = _give(world, how, key, amount)
                if key not in taken:
                    assert status in ("advanced", "refused", "ignored"), (step, status)
                    if status == "advanced" or reason == "order.little":
                        taken[key] = (*content, status)
                elif taken[key][:2] == content:
                    assert (status, reason) == ("duplicate", taken[key][2])
                else:
                    assert (status, reason) == ("refused", "key")
            case _:
                raise AssertionError(step)
    world.shell.wake(world.member_id)
    counts = Counter(how for how, _, status in taken.values() if status == "advanced")
    entries = Counter(entry.kind for entry in world.shell.do("history", world.member_id) if entry.status == "advanced")
    assert (entries["tell"], entries["open"], entries["trigger"]) == (
        counts["tell"], counts["survey"] + counts["alarm"], counts["paid"] + counts["greet"],
    )  # fmt: skip
    heard = world.heard()
    assert len([words for words in heard if words.startswith("words")]) == counts["tell"]
    assert len(world.shop.shipped) == counts["paid"]
    assert len(set(world.shop.shipped)) == counts["paid"]
