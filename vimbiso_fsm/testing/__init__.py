"""Checks for stores: `check_store` and `LAWS` for the rules, `check_agreement` and `check_namespaces`."""

from vimbiso_fsm.testing.store_agreement import check_agreement
from vimbiso_fsm.testing.store_contract import LAWS, Law, Make, check_namespaces, check_store, waiting

__all__ = ["LAWS", "Law", "Make", "check_agreement", "check_namespaces", "check_store", "waiting"]
