"""The audit: one entry per commit, redacted, chained, stored with the document, and read back.

Its modules:

    redaction    data and exceptions as the audit may show them
    entries      audit entries and incidents: made, sealed, unsealed
    flow_audit   `FlowAuditLogger`: reads entries, verifies their chain, tells observers
    trail        all that is kept of one member, and its faults
    explain      the candidates and verdicts behind an entry
    export       trails as JSON Lines
"""
