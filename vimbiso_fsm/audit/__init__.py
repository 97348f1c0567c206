"""The audit trail: entries, their chain, explanation and export."""
