"""Write the reference of findings, `docs/reference/findings.md`, from the broken flows of the tests.

    python -m tests.check.reference

Each section has the cause, an example and the remedy. The example is a broken flow of `tests/check/declared`, so that
`test_broken.py` proves that just this finding is found in the line that the example marks.
"""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.check.test_broken import CASES, WALKED, marks
from vimbiso_fsm.check.codes import ADVICE, ALL, APPROVED, MADE, WALK

PAGE: Final = Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "findings.md"

CAUSES: Final = {
    "answer-without-transition": "A state takes an answer, and no transition `answer` says where it leads. Add one.",
    "answer-wrong-type": "A callback after a call takes `turn.answer` for the answer of another call, by `cast`. Take the answer of the call of this state.",
    "auto-loop": "States with nothing to do lead round to themselves, and nothing on the way changes what their guards see. Let one of them ask, or let a `prepare` change the data.",
    "call-without-done": "A call has no transition for its answer. Say where `done` leads.",
    "call-without-failed": "A call has no transition for its failure, or only ones for some codes, so that another failure leads out of the flow. A service can be down. Say where `failed` leads, with a last transition that has no guard.",
    "call-wrong-arguments": "The arguments of `call(…)` do not fit the method of the port. Give those that it takes.",
    "callback-async": "A callback is declared with `async def`. Callbacks decide and do not wait. What has to be awaited belongs to a service, which a state calls.",
    "callback-impure": "A callback reads a clock, depends on chance, acts outside or changes its turn. It may be called again for the same message, and must return the same. Read `turn.now`, or leave it to a service.",
    "callback-raises": "A callback names something that is not there. Correct the name.",
    "callback-returns-other": "A callback returns a value of another type than its slot takes.",
    "callback-unused": "A function takes a turn, and no flow of the package names it. Name it, or remove it.",
    "changed-without-version": "The fields, states or transitions of a flow differ from those of its approved walk, and its version is the same. Members who are in the flow began with the former declaration. Raise the version and add a migration. Where no member is in the flow, approve the walk anew.",
    "confirm-skipped": "One way to a call leads through a question that confirms, and another one leads past it. Lead both through the question.",
    "confirm-without-no": "A `yes` leads to a call with an effect, and no other answer leads on, so that the member can only leave by a global word. Say where `no` leads.",
    "data-changeable": "Values of the data class can be changed in place, so that a guard could change what is stored. Decorate the class with `@attrs.frozen`.",
    "data-class": "The data of a flow is no attrs class. Decorate it with `@attrs.frozen`.",
    "dead-end": "A state has no transition and is not final. Give it a transition, or say `final=True`.",
    "default-mutable": "The default of a field can be changed in place, and all runs share it. Give a factory, or a tuple.",
    "duplicate-state": "Two states have one name. Rename or remove one.",
    "duplicate-transition": "Two transitions of one state and trigger have the same guards, so that the later one never fires. Give them different guards.",
    "effect-twice": "An effect leads back to its own state without a word of the member, so that it would be made again and again. Lead the way through a question.",
    "effect-unasked": "A call with an effect is made as soon as its flow is opened. Ask before it, or give a call that only reads `policy=READ_ONLY`.",
    "fact-refused": "Each transition for the answer of a call, or for the end of a sub-flow, has a guard. A guard cannot refuse what has happened. Add a last one without guards.",
    "field-not-storable": "The values of a field cannot be stored and read back equal. Use one of the [types of data](data-types.md).",
    "field-without-default": "A field has no default. A run starts with no answers, so each field needs one.",
    "final-with-transition": "A final state has a transition. The run ends there. Remove one of the two.",
    "flows-same-name": "Two flows of a bot have one name. Rename one.",
    "guard-async": "A guard is declared with `async def`. See [callback-async](#callback-async).",
    "guard-impure": "A guard reads a clock, depends on chance, acts outside or changes its turn. It may be called again for the same message, and must return the same. Read `turn.now`, or leave it to a service.",
    "guard-raises": "A guard names something that is not there. Correct the name.",
    "guard-returns-other": "A guard returns something else than `True`, `False` or `Refused(…)`.",
    "home-ends": "The home flow ends after a question without a word, so that the message of the member has no answer. Let the final state say something.",
    "impossible-trigger": "A transition has a trigger that never comes to its state. Remove it.",
    "input-wrong-type": "`input=` makes other data than the sub-flow takes. Return the data class of the sub-flow.",
    "into-wrong-type": "The field of `into=` cannot hold the answer of the call, or the output of the sub-flow.",
    "late-text": "A text of a timer or a reminder may come after the window of a channel, and names no template. It then waits for the member's message. Give `Text(…, templates=…)`.",
    "loop-without-exit": "No way leads from a state to the end of its flow, and another flow waits for that end. Add a transition that leads to a final state.",
    "loop": "One message leads from call to call without a question. Let a question, or an end, stand between them.",
    "never-fired": "A walk of all conversations that it could find has never fired a transition. Remove it, or name the members and examples with which it fires.",
    "said-empty": "The words of a state are empty for data that a conversation can have. Let it say something.",
    "sent-empty": "A message of the member gets no reply. Say something in the states that it leads through.",
    "trap": "Only a global word leads out of a state, because its guards refuse each answer. Let a guard accept one, or lead past the question.",
    "may-be-empty": "A question may have nothing to choose from. Say where `empty` leads.",
    "migration-missing": "The version of a flow was raised, and there is no migration. Open runs of older versions end, and their members are thrown back. Declare a `Migration`, or silence the finding if no such run is open.",
    "misspelt-trigger": "The trigger of a transition is nearly a reserved one. It would be a button of this name. Correct it, or give the button another name.",
    "not-a-function": "A slot has no function. Name callbacks by reference.",
    "output-unused": "A sub-flow does nothing but make an output, and the flow that runs it takes no output. Name a field for it with `into=`, or take `turn.answer` in the `prepare` of `done`.",
    "plural-form": "A text that differs by number lacks a form of its language. Add the form.",
    "read-before-written": "A callback uses a field that a question fills, and no question on the way has been asked by then. The field is empty. Ask before, or leave it out.",
    "reader-raises": "A reader raises for a text that a member may write. Let it return `Refused(…)`, or use one of `vimbiso_fsm.readers`.",
    "reader-wrong-type": "A reader makes a value that its field cannot hold. Give the field that type, or use another reader.",
    "reason-misplaced": "A guard with a reason chooses between two ways after a call, a sub-flow or a timer. The member reads the reason, though the conversation goes on. Choose by a guard that returns `False`.",
    "requires-unsatisfiable": "A flow requires a login, the bot has no entry flow, and nothing logs a member in, so that nobody can enter the flow. Give `Bot(entry=…)` a flow that logs in.",
    "reserved-name": "A field has a name of the framework. Rename it.",
    "secret-is-public": "The name of a field is that of a secret, and the field is not marked so. Mark it with `SECRET`.",
    "service-missing": "The bot has no service for a call, or the service lacks the method. Give it to `Bot(services=…)` under the name of the port in snake case.",
    "shadowed-transition": "An earlier transition takes all that a later one takes, so that the later one never fires. Place it first, or guard the earlier one.",
    "shortcut-cannot-parse": "A shortcut does not read its own example. Correct one of the two.",
    "silencer-unused": "A comment silences a finding that is not on its line. Remove it.",
    "silencer-without-reason": "A comment silences a finding and gives no reason, so it silences nothing. Write the reason behind the code.",
    "slot-misplaced": "A state has an argument that does nothing in a state of its kind. Remove it.",
    "state-roles": "A state has more than one role: it is final, makes a call, runs a flow or asks. Split it.",
    "subflow-without-cancelled": "A sub-flow can be cancelled, and no transition says where that leads.",
    "subflow-without-result": "A sub-flow ends, and no transition `done` says where that leads.",
    "text-missing": "The bot says a text that a language lacks. It is a fault in the default language, and advice in another one, unless `--strict` is given.",
    "text-parameters": "A template names a parameter that it is not given, or cannot be parsed.",
    "text-unused": "No code of the package says a text. Remove it.",
    "timeout-misplaced": "A state with a call or a sub-flow has a timeout. Let the service give up, or give the questions of the sub-flow a timeout.",
    "timeout-without-transition": "A state has a timeout, and no transition `timeout`. Add it.",
    "title-is-global-word": "The title of a button is a global word. A member who types it leaves the flow in place of pressing the button. Give it another title.",
    "title-too-long": "The title of a button is longer than a channel shows: 20 characters in WhatsApp (24 in a list), 40 in an SMS, 64 in Telegram. Shorten it.",
    "titles-equal": "Two buttons of a question have the same title. Give one of them another.",
    "too-many-choices": "A question has more buttons than are shown at once, so that it has pages. Split it, or accept the pages.",
    "transition-contradicts": "A guard stands among `conditions` and `unless` of one transition, which never fires. Remove it from one of them.",
    "transition-without-timeout": "A state has a transition `timeout`, and no `timeout=`. Add it.",
    "trigger-is-global-word": "The name of a button, or one of its further words, is a global word. A member who types it presses no button. Name it otherwise.",
    "turn-of-another-flow": "A callback takes the turn of another flow, by its annotation, and that flow has fields which this one lacks.",
    "unknown-field": "A field is named that the data class lacks.",
    "unknown-state": "A state is named that the flow does not declare.",
    "unreachable-flow": "No flow, shortcut, link or reminder starts a flow of the bot. Only `manager.open` can.",
    "unreachable-state": "No transition leads to a state. Add one, or remove the state.",
    "waiting-without-input": "A question takes no answer. Say how an answer is read, or give it buttons.",
    "waiting-without-question": "A state takes an answer and asks no question. Give it `ask=`.",
    "wrong-declaration": "An argument has a wrong type or is out of range. The message says what to give.",
    "wrong-event": "A transition that another system fires (`by=`) has words, a reserved trigger or a state that does not wait.",
    "wrong-migration": "A migration leads to no state of the flow, or versions are missing between.",
    "wrong-name": "A name has capitals or other characters. Use lower-case letters, digits and underscores.",
    "wrong-signature": "A callback cannot be called with the turn alone.",
}  # fmt: skip
"""The cause and the remedy of each code."""

_HEAD = """# Findings

`vimbiso check PACKAGE` prints what it finds in a bot, one finding a line: the file and the line, a code, what is wrong
and what to do.

```text
flows/offer.py:88: unreachable-state: flow 'offer', state 'limit': no transition leads to it; add one or remove it
```

The exit status is 1 if there is a fault. Advice leaves it at 0. `--strict` makes a fault of each missing translation,
`--json` prints one object, and `--github` prints annotations of GitHub Actions. A declaration that is refused when it
is made raises a `FlowError`, which has all its faults, with the same codes.

A comment on the line silences a finding, with the reason. Without a reason it silences nothing:

```text
State("paying", call=pay),  # vimbiso: ok confirm-skipped – tips are given back within a day
```

Findings are looked for in four ways: when a declaration is *made*, in the finished *declaration*, in the *code* of
callbacks and of the functions of the same package that they call, and by *calling* a pure callback with the data that a
run begins with. While one is called, nothing can be written, sent or started. Nothing is claimed where the code does
not show it: a method of a value, an object that is named at run time, a function without source.

Each example below is marked where the finding is.
"""


_BESIDE_OTHERS: Final = {"misspelt-trigger": "a_misspelt_trigger"}
"""The examples that give other findings too, by the code that they are for."""

_LINES: Final = {
    "callback-unused": "def is_open(turn: Turn[Visit]) -> bool:  # callback-unused: no transition of the package names is_open\n    return turn.data.day.weekday() < 5",
    "changed-without-version": "clinic/visit.py:41: changed-without-version: flow 'visit': its fields, states or transitions have changed, and its version is 1 as before; raise the version and add a migration, unless no member is in the flow",
    "silencer-without-reason": 'State("paying", call=pay),  # vimbiso: ok confirm-skipped',
}
"""The examples that no single flow can show."""


def section(code: str, examples: dict[str, Callable[[], Any]]) -> str:
    """Return the section of a code."""
    kind = (
        "Found by a walk."
        if code in WALK
        else "Found by the comparison with an approved walk."
        if code in APPROVED
        else "Advice."
        if code in ADVICE
        else "Refused when it is made."
        if code in MADE
        else "A fault."
    )
    text = [
        f"## {code}\n",
        textwrap.fill(f"{kind} {CAUSES[code]}", 120, break_long_words=False, break_on_hyphens=False),
    ]
    if code in _LINES:
        text += ["", f"```text\n{_LINES[code]}\n```"]
    if code in examples:
        source = re.sub(r"# HERE ([a-z, -]+)$", r"# \1", inspect.getsource(examples[code]), flags=re.MULTILINE)
        text += ["", f"```py\n{source.rstrip()}\n```"]
    return "\n".join(text)


def page() -> str:
    """Return the text of the page."""
    examples: dict[str, Callable[[], Any]] = {}
    for make in sorted(CASES, key=lambda make: len(inspect.getsource(make))):
        codes = {code for _, code in marks(make)}
        if len(codes) == 1:
            examples.setdefault(next(iter(codes)), make)
    for make in sorted(WALKED, key=lambda make: len(marks(make))):
        for _, code in marks(make):
            examples.setdefault(code, make)
    for code, name in _BESIDE_OTHERS.items():
        examples[code] = next(make for make in CASES if make.__name__ == name)
    return _HEAD + "\n" + "\n\n".join(section(code, examples) for code in sorted(ALL)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
