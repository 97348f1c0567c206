"""All findings in a bot."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator, Iterable, Iterator

from vimbiso_fsm.check.code import code_findings
from vimbiso_fsm.check.codes import ALSO_WALK, FOUND
from vimbiso_fsm.check.declaration import declaration_findings
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.guard_code import guard_findings
from vimbiso_fsm.check.package import package_findings
from vimbiso_fsm.check.parts import callbacks_of, flows_of
from vimbiso_fsm.check.probe import probe_findings
from vimbiso_fsm.check.silencers import silenced
from vimbiso_fsm.check.unanswered import unanswered_findings
from vimbiso_fsm.check.unwritten import unwritten_findings
from vimbiso_fsm.check.words import word_findings
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.made import made_of


def findings(bot: Bot, more: Iterable[Finding] = (), *, also: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
    """Return what is found in a bot, in the order of files and lines, without what its author has silenced.

    Args:
        bot: The bot.
        more: Findings of another check, such as a walk. They can be silenced too.
        also: The codes that the other check has looked for.
    """
    with _uncollected():
        found = [*declaration_findings(bot), *unanswered_findings(bot), *word_findings(bot), *package_findings(bot)]
        found += [*code_findings(bot), *guard_findings(bot), *unwritten_findings(bot), *probe_findings(bot), *more]
        return tuple(sorted(silenced(found, _files(bot), (FOUND - ALSO_WALK) | also)))


@contextlib.contextmanager
def _uncollected() -> Generator[None]:
    """Stop the collection of garbage for a while: syntax trees are many objects, and none of them is garbage yet.

    They are kept for the next check, so they count as old afterwards. Freezing and unfreezing moves them there without
    a look at each. It is left out where a process has frozen objects of its own.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on and not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        if was_on:
            gc.enable()


def faults(found: Iterable[Finding], *, strict: bool = False) -> tuple[Finding, ...]:
    """Return the findings that are faults: those that are no advice, and with `strict` the missing translations too."""
    translations = ("text-missing", "plural-form")
    return tuple(each for each in found if not each.advice or (strict and each.code in translations))


def _files(bot: Bot) -> Iterator[str]:
    """Yield the files in which the parts of a bot and their callbacks are."""
    yield bot.made.file
    for flow in flows_of(bot):
        yield flow.made.file
        yield from (state.made.file for state in flow.states)
    for named in callbacks_of(bot):
        yield made_of(named.callback).file
