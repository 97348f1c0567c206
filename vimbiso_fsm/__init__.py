"""Conversations as explicit finite state machines, for bots whose members hold money, health data or an identity.

Everything that the author of a flow and the embedder of a bot need is imported from here:

    from vimbiso_fsm import Bot, Flow, State, Text, Transition, Turn, readers

The packages `vimbiso_fsm.channels`, `vimbiso_fsm.legacy` and `vimbiso_fsm.testing` export the names of their subjects.
"""

# The imports are grouped by the purpose of the names, not by module.
# ruff: isort: skip_file

# Declare: flows and the bot
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.commands import Commands, Shortcut
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.inboxes import Inbox
from vimbiso_fsm.flow.migrations import FinishOnOld, Migration, ReplacedBy, Restart
from vimbiso_fsm.flow.privacy import PUBLIC, SECRET
from vimbiso_fsm.flow.reminders import cancel_reminder, remind
from vimbiso_fsm.flow.session import Limits, SessionLife
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.tokens import Tokens
from vimbiso_fsm.flow.triggers import Trigger

# Decide: what callbacks see and return
from vimbiso_fsm.flow.turn import Changes, Guard, Turn, authenticated, failed_with
from vimbiso_fsm.messages.refusals import Refused, Unreachable

# Call: effects on the outside world
from vimbiso_fsm.flow.calls import READ_ONLY, Call, Caller, CallPolicy, ServiceLimits, call

# Say: replies, and readers of answers
from vimbiso_fsm.messages import readers
from vimbiso_fsm.messages.catalogue import Plural, Templates
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Form, Location, Order, OrderItem, Referral
from vimbiso_fsm.messages.money import Money, totals
from vimbiso_fsm.messages.replies import (
    Button,
    Buttons,
    ContactRequest,
    File,
    LocationRequest,
    Media,
    Menu,
    Reply,
    Row,
    Template,
    Text,
    TextTemplate,
    WebLink,
)

# Embed: messages in, outcomes out
from vimbiso_fsm.archive.keeping import Archiving
from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger, Observer
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.encryption.keys import KeyFile, KeyRing
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.flow.rates import CHANNEL_PACES, Pace, Rate, Rates
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.sending import Later, Never, Sent
from vimbiso_fsm.messages.windows import CHANNEL_WINDOWS
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.runtime.watchdog import SlowCallback, Watchdog
from vimbiso_fsm.runtime.worker import AsyncWorker, Worker

# Fail: every error that the managers raise
from vimbiso_fsm.errors import (
    AnotherBotsStore,
    ArchiveConflict,
    ArchiveUnavailable,
    BadToken,
    BotNotFound,
    CallPending,
    CallbackTimedOut,
    ChannelTaken,
    CommitUnknown,
    DamagedKey,
    Contended,
    DamagedDocument,
    DamagedRecord,
    DocumentTooLarge,
    EmbeddedServerError,
    EncryptedState,
    FlowError,
    ForeignState,
    InvalidMessage,
    InvalidState,
    MemberNotFound,
    Misfit,
    NewerState,
    NotAMember,
    NotAnswered,
    NotRecovered,
    NotStorable,
    ServiceError,
    StoreUnavailable,
    Stuck,
    TooManyMessages,
    MissingSecret,
    UnknownLayout,
    Unreadable,
    UnsafeStore,
    UnstorableType,
    VersionConflict,
    VimbisoError,
    WrongArgument,
    WrongCall,
    WrongCallback,
    WrongMember,
)

__all__ = [
    "CHANNEL_PACES",
    "CHANNEL_WINDOWS",
    "PUBLIC",
    "READ_ONLY",
    "SECRET",
    "AnotherBotsStore",
    "ArchiveConflict",
    "ArchiveUnavailable",
    "Archiving",
    "AsyncFlowStateManager",
    "AsyncWorker",
    "Attachment",
    "AuditEntry",
    "BadToken",
    "Bot",
    "BotNotFound",
    "Button",
    "Buttons",
    "Call",
    "CallPending",
    "CallPolicy",
    "CallbackTimedOut",
    "Caller",
    "Changes",
    "Channel",
    "ChannelTaken",
    "Commands",
    "CommitEvent",
    "CommitUnknown",
    "Contact",
    "ContactRequest",
    "Contacts",
    "Contended",
    "DamagedDocument",
    "DamagedKey",
    "DamagedRecord",
    "Document",
    "DocumentTooLarge",
    "EmbeddedServerError",
    "EncryptedState",
    "Encryption",
    "File",
    "FinishOnOld",
    "Flow",
    "FlowAuditLogger",
    "FlowError",
    "FlowStateManager",
    "ForeignState",
    "Form",
    "Guard",
    "Inbox",
    "Incident",
    "InvalidMessage",
    "InvalidState",
    "KeyFile",
    "KeyRing",
    "Later",
    "Limits",
    "Location",
    "LocationRequest",
    "Media",
    "Member",
    "MemberNotFound",
    "Menu",
    "Message",
    "Migration",
    "Misfit",
    "MissingSecret",
    "Money",
    "Never",
    "NewerState",
    "NoData",
    "NotAMember",
    "NotAnswered",
    "NotRecovered",
    "NotStorable",
    "Observer",
    "Order",
    "OrderItem",
    "Outcome",
    "Pace",
    "PassedOn",
    "Plural",
    "Rate",
    "Rates",
    "Referral",
    "Refused",
    "ReplacedBy",
    "Reply",
    "Restart",
    "Row",
    "Sent",
    "ServiceError",
    "ServiceLimits",
    "SessionLife",
    "Shortcut",
    "SlowCallback",
    "State",
    "StateValidator",
    "StoreUnavailable",
    "Stuck",
    "Template",
    "Templates",
    "Text",
    "TextTemplate",
    "Tokens",
    "TooManyMessages",
    "Transition",
    "Trigger",
    "Turn",
    "UnknownLayout",
    "Unreachable",
    "Unreadable",
    "UnsafeStore",
    "UnstorableType",
    "VersionConflict",
    "VimbisoError",
    "Watchdog",
    "WebLink",
    "Worker",
    "WrongArgument",
    "WrongCall",
    "WrongCallback",
    "WrongMember",
    "authenticated",
    "call",
    "cancel_reminder",
    "failed_with",
    "readers",
    "remind",
    "structure",
    "totals",
    "unstructure",
]
