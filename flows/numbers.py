"""The telephone number of a speaker, by which credex-core knows them: proven by the channel, or by a code."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

import attrs

from flows.credex_core import Dashboard, NumberProof
from vimbiso_fsm import Changes, Turn

D = TypeVar("D")

PROOF_LIFE: Final = timedelta(minutes=10)
"""The time for which a code has proved a number, on a channel that does not stay its speaker's."""


def proven_number(turn: Turn[object, Dashboard]) -> str:
    """Return the telephone number that the speaker has proved, as digits with the country code; empty without one.

    The channel proves it, or a code that was said on this very channel. An account of a platform stays its owner's, so
    the proof of a member lasts there; of a guest, and on other channels, it lasts for `PROOF_LIFE`, because the number
    may get a new owner.
    """
    if turn.phone:
        return turn.phone
    proof = turn.member.profile.proof
    if proof is None or (proof.channel, proof.identifier) != (turn.channel.type, turn.channel.identifier):
        return ""
    lasts = turn.proves == "account" and not turn.member.guest
    return proof.phone if lasts or turn.now - proof.at <= PROOF_LIFE else ""


def has_number(turn: Turn[object, Dashboard]) -> bool:
    """Guard: the speaker has proved a number."""
    return bool(proven_number(turn))


def proved(turn: Turn[D, Dashboard]) -> Changes[D]:
    """Prepare: keep the number that was proved on this channel."""
    member, channel = turn.member, turn.channel
    proof = NumberProof(str(turn.answer).removeprefix("+"), channel.type, channel.identifier, turn.now)
    return turn.changes(member=attrs.evolve(member, profile=attrs.evolve(member.profile, proof=proof)))
