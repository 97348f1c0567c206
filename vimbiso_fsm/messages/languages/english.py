"""The framework's own texts in English."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm.messages.readers import ANSWER_TEXTS
from vimbiso_fsm.messages.templates import Plural, Templates

ENGLISH: Final[Templates] = {
    "back.earlier": "Your earlier answer: {answer}",
    "back.made": "What came before this was already sent, so there is no way back over it.",
    "back.nowhere": "This is the first question; there is nothing to go back to.",
    "call.again": "That is not done a second time by itself; please say so if you want it once more.",
    "call.busy": "That is not possible right now. Please try again in a minute.",
    "call.done": "That was done.",
    "call.failed": "That did not work; please try again.",
    "call.too_much": "There is too much of that to show it here.",
    "call.unavailable": "We cannot find that out at the moment; please try again in a while.",
    "call.unsure": "We could not find out whether that was done. Please check before you try again.",
    "call.waiting": "We are still working on your last answer; you will hear from us.",
    "choice.closed": "That question is closed.",
    "choice.late": "That came when the question before was over; here is where you are now.",
    "choice.menu": "Menu",
    "choice.none": "There is nothing to choose from here at the moment. Say menu to see what else you can do.",
    "choice.several": "That can mean more than one of these; please choose one.",
    "choice.typed": "My answer: {answer}",
    "choice.unknown": "That is not one of the choices.",
    "carry_on.ask": "You have not finished: {flow}. Carry on with it?",
    "carry_on.dropped": "Left it there; nothing more was sent.",
    "carry_on.offered.help": "Say yes to carry on where you were, no to leave it.",
    "carry_on.offered.yes": "Yes, carry on",
    "carry_on.offered.no": "No, leave it",
    "carry_on.title": "carry on",
    "cancel.done": "Cancelled; nothing was sent.",
    "cancel.made": "Cancelled; what was done before stays done.",
    "flow.next": "There is something else for you now: {flow}.",
    "flow.restarted": "We have changed how this works ({flow}); please begin it again.",
    "flow.dropped": "What you had begun is no longer offered here, so it has ended.",
    "failure": "Something went wrong on our side; nothing was changed. Please try again. Reference: {reference}",
    "failure.done": (
        "That was done, but something went wrong on our side and we cannot show you the result yet. You need not send "
        "it again; say menu to go on with something else. Reference: {reference}"
    ),
    "failure.timed_out": (
        "That took too long on our side, and we could not finish it. Please send it again later; it counts once. "
        "Reference: {reference}"
    ),
    "failure.unsure": (
        "Something went wrong on our side, and we could not find out whether your last request was done. Please check "
        "before you send it again. Reference: {reference}"
    ),
    "command.back": "Go back to the question before",
    "command.cancel": "Cancel what is open",
    "command.help": "Show what you can do here",
    "command.menu": "Go to the menu",
    "consent.given": "You get our messages again. Reply STOP to get none.",
    "consent.taken_back": "You get no more messages from us. Reply START to get them again.",
    "handed.said": "{words}",
    "handed.over": "A person will answer you here. Say {word} to come back to the bot.",
    "handed.back": "You are back with the bot.",
    "handed.nobody": "No person can be reached now. You are back with the bot.",
    "handed.full": (
        "That did not reach a person yet; please send it again later, or say {word} to come back to the bot."
    ),
    "help.words": "You can always say: menu, back, cancel, help.",
    "help.words.sms": "You can always say: menu, back, exit, ?",
    "link.open": "Open",
    "limits.menu": "This does not seem to work. Say menu to leave it and see what else you can do.",
    "member.login": "Please log in first.",
    "menu.left": "We have left what was open.",
    "address.several": (
        "You are known here under more than one membership, and we cannot tell which of them is meant. Nothing was "
        "changed; please ask us to put that right."
    ),
    "message.reused": "That message was answered before.",
    "message.too_late": "That message reached us too late and was not taken; please send it again.",
    "message.too_long": "That is too long; please keep it to {limit} characters.",
    "merge.too_much": "We could not keep everything that you had begun, so some of it was ended.",
    "message.too_much": "That is too much for us to keep; please send less, or say menu to leave it.",
    "message.unsupported": "We can only read text here: please write, or tap a button.",
    "pages.next": "Next",
    "pages.prev": "Previous",
    "rate.address": (
        "You send messages faster than we take them; the latest was not taken. Please wait a minute and send it again."
    ),
    "recovered": (
        "We had to tidy up our notes about this conversation; let us start again from here. Reference: {reference}"
    ),
    "recovered.put_back": "We put this conversation back to an earlier question; let us go on from here.",
    "recovered.unsure": (
        "We had to tidy up our notes about this conversation, and could not find out whether your last request was "
        "done. Please check before you try again. Reference: {reference}"
    ),
    "store.newer": (
        "Our service is being updated just now; nothing was saved. Please send that again in a moment. "
        "Reference: {reference}"
    ),
    "store.foreign": (
        "Your last conversation here belongs to a part of our service that is not running just now, so we could not "
        "take that message. Nothing was changed. Please try again later. Reference: {reference}"
    ),
    "store.contended": "Many things came at once; that one was not taken. Please send it again. Reference: {reference}",
    "store.unavailable": (
        "We could not save that; nothing was changed. Please send it again in a while. Reference: {reference}"
    ),
    "store.unknown": (
        "We cannot tell whether that was saved. Please send it again; it counts once. Reference: {reference}"
    ),
    "request.contact": "Send my number",
    "request.location": "Send my location",
    "session.ended": "Your session ended after a while of silence.",
    "session.ending": Plural(
        "seconds",
        one="Your session ends in {seconds} second; what you have not confirmed ({flow}) is then not sent.",
        other="Your session ends in {seconds} seconds; what you have not confirmed ({flow}) is then not sent.",
    ),
    "session.kept": "This stays open: {flow}.",
    "session.limit": "Your session ended, for it had been open very long.",
    "session.lost": "Your session ended. What you had not confirmed was not sent.",
    "session.unsent": "What you had not confirmed ({flow}) was not sent.",
}
"""The words of the framework. The texts of a bot may replace any of them."""

TEXTS: Final[Templates] = {**ENGLISH, **ANSWER_TEXTS}
"""The texts by key, with those of the readers."""
