"""The turn record: the replies of a turn and the run after it, in the short form in which it is stored.

A value that follows from another one is left out; the table in `docs/how-to/read-the-audit.md` lists these rules. Each
record can be read alone. Records of earlier releases are stored in the long form, in which readers get every record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vimbiso_fsm.document.document import Fields, Run
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.errors import Unreadable

_NOTES: Final = ("trail", "made", "waits")
"""The fields of a run that are in both forms alike. `back` and the login need them."""


def shorten(status: str, replies: Sequence[Any], run: Run | None, data: Fields, *, called: bool) -> dict[str, Any]:
    """Return the short form of a turn record.

    It is made with each commit, so it is written without calls where that reads as well.

    Args:
        status: The status of the turn.
        replies: Its replies, as `replies_to_raw` makes them.
        run: The run after it; None where no flow is open, and for a message that was not taken.
        data: The data of the run, without the fields marked secret.
        called: Whether a call is pending after it.
    """
    short: dict[str, Any] = {}
    if status != "advanced":
        short["status"] = status
    if run is not None:
        short["run"], short["step"] = run.id, run.step
        if run.flow != run.id.rpartition(":")[0]:
            short["flow"] = run.flow
        short["by"] = (run.version, run.fingerprint)
        short["channel"] = (run.channel.type, run.channel.identifier)
        if run.context:
            short["context"] = run.context
        trail, step = run.trail, run.verdict.get("step")
        accepted = {"step": step, "ok": True, "code": ""}
        is_accepted = isinstance(step, str) and run.verdict == accepted and run.verdict["ok"] is True
        verdict = step if is_accepted else run.verdict
        if verdict != (trail[-1] if trail else {}):
            short["verdict"] = verdict
        if data:
            short["data"] = data
        if trail:
            short["trail"] = trail
        if run.made:
            short["made"] = True
        if run.waits:
            short["waits"] = run.waits
    if called:
        short["called"] = True
    if replies:
        short["replies"] = said = []
        for reply in replies:
            said.append(reply.get("text", reply))  # noqa: PERF401  # a comprehension is one call more
    return short


def read_record(body: bytes) -> dict[str, Any]:
    """Return the long form of the record in bytes: `status`, `replies`, `flow_data`, `run` and `called`.

    `called` is missing in a record of a release that did not store it.

    Raises:
        Unreadable: The bytes hold no record.
    """
    stored = loads(body)
    try:
        return dict(stored) if "flow_data" in stored else _long(stored)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Unreadable([f"a part of the turn record has a wrong form: {type(error).__name__}"]) from None


def flow_of(short: Mapping[str, Any]) -> str:
    """Return the name of the flow of a record's run, from its short form."""
    return str(short["flow"] if "flow" in short else short["run"].rpartition(":")[0])


def _long(short: Mapping[str, Any]) -> dict[str, Any]:
    replies = [{"text": each} if _is_text(each) else each for each in short.get("replies", ())]
    record = {"status": short.get("status", "advanced"), "replies": replies, "flow_data": {}, "run": {}}
    record["called"] = short.get("called", False)
    if "run" not in short:
        return record
    (version, fingerprint), (kind, identifier) = short["by"], short["channel"]
    trail = short.get("trail")
    verdict = short.get("verdict", trail[-1] if trail else {})
    data = {
        "flow_type": flow_of(short),
        "channel": {"type": kind, "identifier": identifier},
        "_validation_context": short.get("context", {}),
        "_validation_state": _accepted(verdict) if isinstance(verdict, str) else verdict,
        **short.get("data", {}),
    }
    notes = {name: short[name] for name in _NOTES if name in short}
    record["flow_data"] = {"id": short["run"], "step": short["step"], "data": data}
    record["run"] = {"version": version, "fingerprint": fingerprint, **notes}
    return record


def _accepted(step: str) -> dict[str, Any]:
    return {"step": step, "ok": True, "code": ""}


def _is_text(reply: Any) -> bool:
    """Return whether a reply of the short form is a text, which is a key, a key with parameters, or words."""
    return isinstance(reply, str | list) or "words" in reply
