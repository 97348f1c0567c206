"""Tests of bots and of stores.

For bots: `Conversation` holds a conversation with a bot in a test. For stores: `check_store` and `LAWS` for the rules,
`check_agreement` and `check_namespaces`.
"""

from vimbiso_fsm.testing.conversation import Called, Conversation
from vimbiso_fsm.testing.store_agreement import check_agreement
from vimbiso_fsm.testing.store_contract import LAWS, Law, Make, check_namespaces, check_store, waiting

__all__ = [
    "LAWS",
    "Called",
    "Conversation",
    "Law",
    "Make",
    "check_agreement",
    "check_namespaces",
    "check_store",
    "waiting",
]
