"""Rows that try the suite itself: run on something broken, it must fail. These rows hold when it does."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.faults.mutants import mutated
from tests.faults.neighbours import neighbours
from tests.faults.proxy import Plan
from tests.faults.repeats import restored_store
from tests.faults.replies import lost_replies
from tests.faults.row import Profile, Report, row
from tests.faults.servers import killed_server

__all__: list[str] = []


def _bitten(broken: Callable[[], Report], proof: str) -> Report:
    """Return the report of the suite on something broken; it holds when `proof` is among what was found wrong."""
    found = broken()
    proofs = [wrong for wrong in found.wrong if re.search(proof, wrong)]
    report = Report(counts=dict(found.counts))
    report.count(found=len(proofs))
    report.demand(proofs, f"it went unnoticed; found were {found.wrong[:3]}")
    return report


@row("teeth-no-token", "30 % of commit replies lost, a commit without the token", "found out")
def no_token(profile: Profile, seed: int) -> Report:
    """Repeated commits meet their own work and take it for the work of another worker."""
    plan = Plan(seed, drop=0.2, reset=0.1)
    return _bitten(
        lambda: lost_replies(profile.of(50, 200), plan, workers=2, mutant="no token"),
        "conflicts without another writer",
    )


@row("teeth-no-append-only", "server kill −9 without an append-only file", "found out")
def no_append_only(profile: Profile, seed: int) -> Report:
    """Everything that was acknowledged is lost."""
    return _bitten(lambda: killed_server(profile.of(50, 200), 2, seed, "--appendonly", "no"), "is stored 0 times")


@row("teeth-no-digest", "an older copy of the store, a head without its digest", "found out")
def no_digest(profile: Profile, seed: int) -> Report:
    """The version of the stale worker has the number of the stored one."""

    def broken() -> Report:
        with mutated("no digest"):
            return restored_store(profile.of(50, 200), seed)

    return _bitten(broken, "does not continue|were counted of")


@row("teeth-one-namespace", "two bots under one name in one namespace", "found out")
def one_namespace(profile: Profile, seed: int) -> Report:
    """The bots share each member, and each replies with what the member told the other."""
    return _bitten(lambda: neighbours(profile.of(4, 20), seed, namespaces=("", "")), "has words of another")


@row("teeth-shared-accounts", "two accounts of a bot that count as one", "found out")
def shared_accounts(profile: Profile, seed: int) -> Report:
    """A confirmation at one account is taken for the question of the other."""
    return _bitten(lambda: neighbours(profile.of(4, 20), seed, accounts="shared"), "has words of another")
