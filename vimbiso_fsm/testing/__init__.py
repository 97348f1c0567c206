"""Tests of bots and of stores.

For bots: `Conversation` holds a conversation with a bot in a test, `walk` tries all the conversations that it can find,
and `step` takes a single turn. For stores: `check_store` and `LAWS` for the rules, `check_agreement` and
`check_namespaces`.
"""

from vimbiso_fsm.testing.conversation import Called, Conversation
from vimbiso_fsm.testing.steps import step
from vimbiso_fsm.testing.store_agreement import check_agreement
from vimbiso_fsm.testing.store_contract import LAWS, Law, Make, check_namespaces, check_store, waiting
from vimbiso_fsm.testing.strategies import machine_of, texts_for
from vimbiso_fsm.testing.walking import Verdicts, Walk, walk
from vimbiso_fsm.testing.ways import Way

__all__ = [
    "LAWS",
    "Called",
    "Conversation",
    "Law",
    "Make",
    "Verdicts",
    "Walk",
    "Way",
    "check_agreement",
    "check_namespaces",
    "check_store",
    "machine_of",
    "step",
    "texts_for",
    "waiting",
    "walk",
]
