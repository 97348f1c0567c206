"""The codes of findings: the word for each kind, how it is found, and whether it is a fault or advice."""

from __future__ import annotations

from typing import Final

WALK: Final = frozenset({"loop", "never-fired", "said-empty", "sent-empty", "trap"})
"""Codes that only a walk finds. A silencer of one of them is not judged where no walk was made."""

ALSO_WALK: Final = frozenset({"callback-raises", "guard-raises"})
"""Codes that a walk finds too. A silencer of one of them may be for what only a walk finds."""

ADVICE: Final = frozenset(
    {
        "callback-unused",
        "late-text",
        "may-be-empty",
        "output-unused",
        "text-unused",
        "title-too-long",
        "too-many-choices",
        "unreachable-flow",
    }
)
"""Codes of findings that leave the exit status of `vimbiso check` at 0."""

MADE: Final = frozenset(
    {
        "answer-without-transition", "call-without-done", "call-without-failed", "callback-async",
        "callback-returns-other", "data-changeable", "data-class", "dead-end", "duplicate-state",
        "duplicate-transition", "effect-twice", "fact-refused", "field-not-storable", "field-without-default",
        "final-with-transition", "flows-same-name", "guard-async", "guard-returns-other", "impossible-trigger",
        "input-wrong-type", "into-wrong-type", "loop-without-exit", "misspelt-trigger", "not-a-function",
        "reader-wrong-type", "reserved-name", "secret-is-public", "shadowed-transition", "slot-misplaced",
        "state-roles", "subflow-without-cancelled", "subflow-without-result", "timeout-misplaced",
        "timeout-without-transition", "transition-without-timeout", "turn-of-another-flow", "unknown-field",
        "unknown-state", "unreachable-state", "waiting-without-input", "waiting-without-question",
        "wrong-declaration", "wrong-event", "wrong-migration", "wrong-name", "wrong-signature",
    }
)  # fmt: skip
"""Codes for which a declaration is refused when it is made."""

FOUND: Final = frozenset(
    {
        "answer-wrong-type", "auto-loop", "call-without-failed", "call-wrong-arguments", "callback-impure",
        "callback-raises",
        "callback-returns-other", "confirm-skipped", "confirm-without-no", "default-mutable", "effect-unasked",
        "guard-impure",
        "guard-raises", "guard-returns-other",
        "home-ends", "loop-without-exit", "migration-missing", "plural-form", "read-before-written",
        "reader-raises", "reader-wrong-type",
        "reason-misplaced", "requires-unsatisfiable",
        "secret-is-public", "service-missing", "shadowed-transition", "shortcut-cannot-parse", "silencer-unused",
        "silencer-without-reason", "text-missing", "text-parameters", "title-is-global-word", "titles-equal",
        "transition-contradicts", "trigger-is-global-word",
    }
) | ADVICE  # fmt: skip
"""Codes that `vimbiso check` finds in a bot that was made."""

APPROVED: Final = frozenset({"changed-without-version"})
"""Codes that only the comparison with an approved walk finds."""

ALL: Final = MADE | FOUND | WALK | APPROVED
"""All codes."""
