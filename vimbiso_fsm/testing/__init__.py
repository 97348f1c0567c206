"""Helpers for tests of bots, flows and stores."""

from vimbiso_fsm.testing.store_agreement import check_agreement
from vimbiso_fsm.testing.store_contract import LAWS, Law, Make, check_store, waiting

__all__ = ["LAWS", "Law", "Make", "check_agreement", "check_store", "waiting"]
