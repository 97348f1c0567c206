"""Conversations as explicit finite state machines: one member, many channels, every turn exactly once.

What an author and an embedder need is here; everything else is imported from its module.
"""

from vimbiso_fsm.bot import Bot, Limits
from vimbiso_fsm.commands import Commands, Shortcut
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.exchange import Outcome
from vimbiso_fsm.flow import PUBLIC, SECRET, Flow, NoData, State, Transition
from vimbiso_fsm.flow_audit import AuditEntry, Details, FlowAuditLogger, Incident, Observer
from vimbiso_fsm.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.legacy import Legacy, LegacyFlow
from vimbiso_fsm.messages import Button, Buttons, Channel, Menu, Message, Reply, Row, Text
from vimbiso_fsm.state import Document
from vimbiso_fsm.state_validator import StateValidator
from vimbiso_fsm.texts import Plural
from vimbiso_fsm.turn import (
    QUESTION,
    Becomes,
    Call,
    Caller,
    CallPolicy,
    Guard,
    Member,
    Refused,
    Turn,
    Unreached,
    authenticated,
    because,
    call,
)
from vimbiso_fsm.versions import Finish, Instead, Migration, Restart, Split

__all__ = [
    "PUBLIC",
    "QUESTION",
    "SECRET",
    "AsyncFlowStateManager",
    "AuditEntry",
    "Becomes",
    "Bot",
    "Button",
    "Buttons",
    "Call",
    "CallPolicy",
    "Caller",
    "Channel",
    "Commands",
    "Details",
    "Document",
    "Finish",
    "Flow",
    "FlowAuditLogger",
    "FlowStateManager",
    "Guard",
    "Incident",
    "Instead",
    "Legacy",
    "LegacyFlow",
    "Limits",
    "Member",
    "Menu",
    "Message",
    "Migration",
    "NoData",
    "Observer",
    "Outcome",
    "Plural",
    "Refused",
    "Reply",
    "Restart",
    "Row",
    "Shortcut",
    "Split",
    "State",
    "StateValidator",
    "Text",
    "Transition",
    "Turn",
    "Unreached",
    "VimbisoError",
    "authenticated",
    "because",
    "call",
]
