"""The audit: one entry a commit, made, redacted, sealed, read back and explained.

Its modules:

    redaction    what the audit may show
    entries      the entries and incidents
    flow_audit   `FlowAuditLogger`: read back, checked, told to observers
    trail        all that is kept of one member, verified
    explain      which transitions were candidates, and what each guard said
    export       trails as JSON Lines
"""
