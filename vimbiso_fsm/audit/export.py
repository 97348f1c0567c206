"""Trails as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vimbiso_fsm.audit.entries import AuditEntry, Incident, long_form
from vimbiso_fsm.audit.trail import Trail, Wanted, read_entry, read_incident
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.store.requests import long_digest


def export_lines(trail: Trail, wanted: Wanted = lambda _: True) -> Iterator[str]:
    """Yield the readable entries and incidents of a trail, oldest first, each as one line of ASCII without its end.

    An entry is `{"member": …, "digest": …, …}` with the fields of the entry in their long form, its `version` among
    them. The digest is that of the stored text, which `shorten` makes of these fields; that of an entry up to layout 3
    has 64 digits and is that of the long form. An incident is
    `{"member": …, "kind": "incident", "digest": …, "incident": {…}}`; the member is null for those of the store itself.
    An entry or incident has the same line in every export. `trail.faults` names what cannot be read.

    Args:
        trail: The trail.
        wanted: Selects the entries and incidents.
    """
    for entry in trail.entries:
        read = read_entry(entry)
        if isinstance(read, AuditEntry) and wanted(read):
            yield json.dumps({"member": trail.member_id, "digest": entry.digest, **long_form(entry)})
    for place, body in enumerate(trail.incidents, 1):
        event = read_incident(place, body)
        if isinstance(event, Incident) and wanted(event):
            yield json.dumps(
                {"member": trail.member_id, "kind": "incident", "digest": long_digest(body), "incident": loads(body)}
            )
