"""What tests of bots, flows and stores need."""

from __future__ import annotations

# A store of one's own: the laws it must obey and the model it must agree with.
from vimbiso_fsm.laws import LAWS, Law, Make, check_agreement, check_store, waiting

__all__ = ["LAWS", "Law", "Make", "check_agreement", "check_store", "waiting"]
