"""Approved walks: conversations that an author has read and approved, and that must go the same way from then on.

The file of a flow has the shortest conversation to each of its transitions. A line begins with `@` for the channel of a
new conversation, `>` for what is typed (`> text`), pressed (`> [yes]`) or sent (`> (location)`), and `*` for what else
happens. Under it stands what it leads to:

    = offer.confirm; amount, handle       the place of the member, and the fields that the run has gathered
    - offer: done checking -> confirm     each transition, with its flow and trigger
    x handle.own                          the code of each refusal
    ! get_account_by_handle: core.down    each call, with the code that it was refused with
    & login, profile.accounts             what has changed of the member
    " offer.confirm                       the key of each text
    [yes] [no]                            the buttons

No word of a text is in it, so that a new wording, or another language, is no difference. What a conversation shares
with one above it is not repeated.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.testing.conversation import channel_of
from vimbiso_fsm.testing.moments import Moment, Move, World
from vimbiso_fsm.testing.moves import CONTENTS

_HEAD: Final = (
    '# Approved walk of the flow "{flow}". `pytest --approve-walks` writes this file. Read the differences.\n'
    "# Version {version} is declared as {fingerprint}.\n"
)
_DECLARED: Final = re.compile(r"^# Version (\d+) is declared as ([0-9a-f]+)\.$", re.MULTILINE)
_TELLS: Final = "the channel tells "
_IMPOSSIBLE: Final = "    ? this cannot happen here"


def approved(bot: Bot, flow: str, ends: Iterable[Moment]) -> str:
    """Return the file of a flow.

    Args:
        bot: The bot.
        flow: The name of the flow.
        ends: The last moments of conversations. One that is the beginning of another is left out.
    """
    moves = {at: at.moves for at in ends}
    inner = {(at.channel, made[:length]) for at, made in moves.items() for length in range(1, len(made))}
    found = dict.fromkeys((at.channel, made) for at, made in moves.items() if (at.channel, made) not in inner)
    return written(bot, flow, list(found))


def written(bot: Bot, flow: str, conversations: Sequence[tuple[Channel, Sequence[Move]]]) -> str:
    """Return the file of a flow with these conversations, as they go today."""
    declared = bot.flow(flow)
    head = _HEAD.format(flow=flow, version=declared.version, fingerprint=declared.fingerprint)
    world, lines = World(bot), [head]
    shown: set[tuple[Channel, tuple[Move, ...]]] = set()
    for channel, moves in conversations:
        lines.append(f"@ {channel.type}:{channel.identifier}")
        moment: Moment | None = world.beginning(channel)
        for length, move in enumerate(moves, 1):
            lines += _said(move)
            moment = world.after(moment, move) if moment is not None else None
            if moment is None:
                lines.append(_IMPOSSIBLE)
            elif (channel, tuple(moves[:length])) not in shown:
                shown.add((channel, tuple(moves[:length])))
                lines += led_to(bot, moment)
        lines.append("")
    return "\n".join(lines)


def differences(bot: Bot, flow: str, text: str) -> str:
    """Return how the conversations of a file go otherwise today, as a unified diff; "" if they go the same way."""
    before = _uncommented(text)
    today = _uncommented(written(bot, flow, conversations_of(text)))
    return "\n".join(difflib.unified_diff(before, today, "approved", "today", lineterm="", n=6))


def changed_without_version(bot: Bot, flow: str, text: str) -> str:
    """Return what is wrong if a flow is declared otherwise than in its file, under the same version; "" if nothing is.

    Runs of members that began before the change are of the version, and are taken for runs of the new declaration.
    """
    declared, before = bot.flow(flow), _DECLARED.search(text)
    if before is None or (int(before[1]), before[2]) == (declared.version, declared.fingerprint):
        return ""
    if int(before[1]) != declared.version:
        return ""
    return (
        f"{declared.made}: changed-without-version: flow {flow!r}: its fields, states or transitions have changed, and "
        f"its version is {declared.version} as before; raise the version and add a migration, unless no member is in "
        "the flow"
    )


def _uncommented(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("# ")]


def conversations_of(text: str) -> list[tuple[Channel, list[Move]]]:
    """Return the conversations of a file.

    Raises:
        ValueError: A line is none of such a file.
    """
    found: list[tuple[Channel, list[Move]]] = []
    answers: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        mark, rest = line[:2], line[2:]
        if mark == "@ ":
            found.append((channel_of(rest), []))
        elif mark in ("> ", "* ") and found:
            if rest.startswith("call "):
                _, place, _, code = rest.split()
                answers.append((int(place) - 1, code))
                continue
            found[-1][1].append(_move(mark, rest, tuple(answers)))
            answers = []
        elif line and mark not in ("# ", "  "):
            raise ValueError(f"line {number} is {line!r}, which is no line of an approved walk; write the file anew")
    return found


def _said(move: Move) -> Iterator[str]:
    for place, code in move.answers:
        yield f"* call {place + 1} answers {code}"
    match move.kind:
        case "press":
            yield f"> [{move.what}]"
        case "content":
            yield f"> ({move.what})"
        case "wait":
            yield "* time passes"
        case "pull":
            yield f"* {move.by} pulls {move.what}"
        case "tell":
            yield f"* the channel tells {move.what}"
        case "link":
            yield f"* link {move.what}"
        case _:
            plain = (
                move.what.isprintable() and move.what.strip() == move.what and move.what[:1] not in ("", "[", "(", '"')
            )
            yield f"> {move.what if plain else json.dumps(move.what)}"


def _move(mark: str, rest: str, answers: tuple[tuple[int, str], ...]) -> Move:
    if mark == "* ":
        if rest == "time passes":
            return Move("wait", answers=answers)
        if rest.startswith(_TELLS):
            return Move("tell", rest.removeprefix(_TELLS), answers=answers)
        if rest.startswith("link "):
            return Move("link", rest[5:], answers=answers)
        by, _, name = rest.partition(" pulls ")
        return Move("pull", name, by=by, answers=answers)
    if rest.startswith("[") and rest.endswith("]"):
        return Move("press", rest[1:-1], answers=answers)
    if rest.startswith("(") and rest.endswith(")"):
        content = next((each for each in CONTENTS if each.kind == rest[1:-1]), None)
        return Move("content", rest[1:-1], answers=answers, content=content)
    return Move("say", json.loads(rest) if rest.startswith('"') else rest, answers=answers)


def led_to(bot: Bot, moment: Moment) -> Iterator[str]:
    """Yield what a move has led to, in the lines of an approved walk."""
    run = moment.document.run if moment.document is not None else None
    gathered = _gathered(bot, run) if run is not None else []
    yield f"    = {moment.place or 'no flow'}" + (f"; {', '.join(gathered)}" if gathered else "")
    for step in moment.steps:
        if step.dest is not None:
            way = f"{step.trigger} {step.source} -> {step.dest}" if step.source else f"{step.trigger} -> {step.dest}"
            yield f"    - {step.flow}: {way}"
    for code in moment.codes:
        yield f"    x {code}"
    for call in moment.calls:
        yield f"    ! {call.method}" + (f": {call.code}" if call.code else "")
    if changed := _changed(moment):
        yield f"    & {', '.join(changed)}"
    for key in moment.keys:
        yield f'    " {key.splitlines()[0] if key else ""}'
    buttons = [shown.choice for shown in run.shown if shown.choice[0] not in "=#~"] if run is not None else []
    if buttons:
        yield "    " + " ".join(f"[{trigger}]" for trigger in buttons)
    if moment.error is not None:
        yield f"    ? {type(moment.error).__name__}"


def _gathered(bot: Bot, run: Run) -> list[str]:
    """Return the names of the fields that the run has gathered."""
    flow = bot.definition(run)
    data, fresh = structure(run.fields, flow.data), flow.data()
    return [name for name in flow.fields if getattr(data, name) != getattr(fresh, name)]


def _changed(moment: Moment) -> list[str]:
    """Return what a move has changed of the member: the login, and the names of the profile."""
    before, after = moment.before.document if moment.before is not None else None, moment.document
    if after is None:
        return []
    login = ["login"] if after.authenticated and not (before is not None and before.authenticated) else []
    logout = ["logout"] if before is not None and before.authenticated and not after.authenticated else []
    account = ["account"] if after.current_account != (before.current_account if before is not None else {}) else []
    known = before.profile if before is not None else {}
    profile = [name for name in after.profile if name not in known or known[name] != after.profile[name]]
    return [*login, *logout, *account, *(f"profile.{name}" for name in sorted(profile))]
