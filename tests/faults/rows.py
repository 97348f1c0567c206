"""All rows. Each of these modules adds its own to the table, in this order."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from tests.faults.row import ROWS, Profile, Report

__all__ = ["ROWS", "Profile", "Report"]

PARTS: Final = (
    "replies",
    "repeats",
    "steps",
    "restores",
    "writers",
    "kills",
    "given",
    "rotations",
    "archives",
    "wakes",
    "sendings",
    "handovers",
    "clinics",
    "broken_entries",
    "servers",
    "deployments",
    "sessions",
    "neighbours",
    "services",
    "identities",
    "senders",
    "flips",
    "teeth",
)

for part in PARTS:
    import_module(f"tests.faults.{part}")
