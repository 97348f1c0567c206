"""Conversations as explicit finite state machines: one member, many channels, every turn exactly once.

What an author and an embedder need is here; everything else is imported from its module.
"""

from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger, Observer
from vimbiso_fsm.document.document import Document, Member
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot, Limits
from vimbiso_fsm.flow.calls import READ_ONLY, Call, Caller, CallPolicy, call
from vimbiso_fsm.flow.commands import Commands, Shortcut
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.migrations import FinishOnOld, Instead, Migration, Restart, Split
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Guard, Turn, authenticated, failed_with
from vimbiso_fsm.legacy.declare import Legacy, LegacyFlow
from vimbiso_fsm.messages.catalogue import Plural
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused, Unreachable
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager

__all__ = [
    "PUBLIC",
    "READ_ONLY",
    "SECRET",
    "AsyncFlowStateManager",
    "AuditEntry",
    "Bot",
    "Button",
    "Buttons",
    "Call",
    "CallPolicy",
    "Caller",
    "Changes",
    "Channel",
    "Commands",
    "CommitEvent",
    "Document",
    "FinishOnOld",
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
    "Money",
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
    "Unreachable",
    "VimbisoError",
    "authenticated",
    "call",
    "failed_with",
]
