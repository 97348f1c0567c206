"""Pending calls: proposed, taken up again, given a new login token.

A call is stored with the turn that proposes it and made once that turn is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.document import Member, PendingCall, Run
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.typed_data import write
from vimbiso_fsm.engine.draft import Draft, is_entering
from vimbiso_fsm.errors import WrongCallback
from vimbiso_fsm.flow.callbacks import call_of, text_of
from vimbiso_fsm.flow.calls import READ_ONLY, Call
from vimbiso_fsm.flow.turn import Changes, settled
from vimbiso_fsm.messages.replies import Said, Text

BUSY_REST: Final = timedelta(seconds=30)
"""The time after which a pending call is taken up whose service was busy."""


def waiting_words(draft: Draft) -> Said:
    """Return the reply that a member reads while the call is pending."""
    run = draft.run
    ask = draft.state.ask if run else None
    return Text("call.waiting") if run is None or ask is None else text_of("ask", ask, draft.turn(run))


def propose(draft: Draft, run: Run, proposed: Call[Any]) -> None:
    """Store a call with the turn. The worker that commits the turn holds the lease and makes the call afterwards."""
    if draft.policy.effect:
        draft.effects = (*draft.effects, draft.place)
    proposed, arguments = _settled_arguments(proposed)
    pending = PendingCall(
        key=_key(draft, run, proposed, arguments),
        service=proposed.service,
        method=proposed.method,
        arguments=arguments,
        root=draft.roots,
        leased_until=draft.now,
        tries=run.tries + 1,
        renewed=draft.member.jwt_token not in (None, draft.before.jwt_token),  # the token is new already
    )
    make(draft, pending, proposed)


def _key(draft: Draft, run: Run, proposed: Call[Any], arguments: Mapping[str, Any]) -> str:
    """Return the idempotency key of a call: another one for each message that leads to it, and for other arguments.

    A call that only reads may be made again in a later turn of the same message, with a key of its own.
    It has a key itself, because services log it, and the answers of a member can be found from a hash by trying. The
    value of a secret field is left out of it all the same: a service may know the key of the deployment.
    """
    secrets = [run.fields.get(name) for name in draft.flow.secrets]
    known = {name: value for name, value in arguments.items() if value not in secrets} if secrets else arguments
    method = f"{proposed.service}.{proposed.method}"
    cause = draft.root if draft.policy.effect else draft.token
    words = dumps(known, "call").decode()
    return hashed("call", cause, run.id, run.step, method, words, key=draft.bot.digests.words_key)


def _settled_arguments(proposed: Call[Any]) -> tuple[Call[Any], dict[str, Any]]:
    """Return the call with its arguments as another worker would read them, and these as plain data.

    Raises:
        Misfit: An argument is not of the type that the method declares.
        UnstorableType: The method declares a type that is not stored.
    """
    typed: dict[str, object] = {}
    plain: dict[str, Any] = {}
    same = True
    for name, value in proposed.arguments.items():
        if type(value) in (str, int, bool) and proposed.types.get(name) is type(value):
            typed[name] = plain[name] = value
            continue
        kind = data_type(proposed.types.get(name, Any))
        typed[name] = kind.settled(value, f"argument {name!r} of {proposed.service}.{proposed.method}")
        plain[name] = write(typed[name], kind.kind)
        same = same and typed[name] is value
    return proposed if same else attrs.evolve(proposed, arguments=typed), plain


def take_up(draft: Draft, pending: PendingCall) -> None:
    """Take a call up again, with the same key and a new lease. If its service is busy, nothing is stored."""
    draft.kind = "call"
    make(draft, attrs.evolve(pending, again_at=None, answer=None, tries=pending.tries + 1, renewed=False))
    if draft.call is None:
        draft.ignore()


def with_token(draft: Draft, answer: Any) -> Member:
    """Return the member with the login token that a renewal returned.

    Raises:
        WrongCallback: `Tokens.renewed` did not return `Changes`.
    """
    assert draft.bot.tokens is not None
    turn = attrs.evolve(draft.turn(draft.standing), answer=answer, trigger="done")
    changes: object = draft.bot.tokens.renewed(turn)
    if not isinstance(changes, Changes):
        raise WrongCallback("Tokens.renewed", type(changes).__name__, "turn.changes(member=…)")
    return settled(turn.member, changes.member)


def make(draft: Draft, pending: PendingCall, proposed: Call[Any] | None = None, *, renews: bool = False) -> None:
    """Let the worker that commits this turn make a call. Its lease covers the longest possible call.

    A login token that expires too soon is renewed first. If the service is busy, the call rests; a call that was just
    proposed is not kept then.

    Args:
        draft: The draft of the turn.
        pending: The call as it is stored.
        proposed: The call as the flow proposed it; by default, it is made of the stored one.
        renews: Whether to renew the login token in any case.
    """
    tokens, policy = draft.bot.tokens, draft.policy
    needed = not pending.renewed and not is_entering(draft.bot, draft.standing, draft.suspended)
    draft.renews = tokens is not None and (renews or (needed and token_ends(draft, tokens.margin)))
    lease = policy.lease + (READ_ONLY.lease if draft.renews else 0)
    draft.pending = attrs.evolve(pending, leased_until=draft.now + timedelta(seconds=lease))
    if tokens is not None and draft.renews:
        draft.call = call_of(tokens.renew, draft.turn(draft.standing), "Tokens.renew")
    else:
        draft.call = proposed or Call(pending.service, pending.method, pending.arguments, stored=True)
    if draft.call.service in draft.busy:
        draft.call, draft.renews = None, False
        draft.pending = attrs.evolve(pending, leased_until=draft.now, again_at=draft.now + BUSY_REST)


def token_ends(draft: Draft, margin: float = 0) -> bool:
    """Return whether the member's login token has expired, or will within `margin` seconds, and can be renewed."""
    life = draft.before.token
    known = draft.bot.tokens is not None and life is not None
    kept = draft.member.jwt_token is not None and draft.member.jwt_token == draft.before.jwt_token
    return known and kept and life is not None and life.expires <= draft.now + timedelta(seconds=margin)
