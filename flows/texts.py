"""What VimbisoPay says, in English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ENGLISH"]

ENGLISH: Final[Mapping[str, str]] = {
    # reasons
    "amount.balance": "Your account holds {held}; please offer no more than that.",
    "amount.limit": "You may offer {remaining} more today; please offer no more than that.",
    "core.down": "Sorry, we cannot reach the credex network right now; nothing was done.",
    "core.insufficient_secured_balance": "Your account holds {held}, which is not enough for this.",
    "core.key_reused": "That was answered before; please start again.",
    "core.member_exists": "This number belongs to a member already; we are logging you in.",
    "core.offer_gone": "That offer is not open any more.",
    "core.rejected": "The credex network refused it: {reason}.",
    "core.unauthorised": "The credex network has ended your session; you will be logged in again.",
    "member.tier": "That is for members of tier {tier} and above.",
    "handle.own": "That account is your own; please name another one.",
    "handle.unknown": "No account has the handle {handle}.",
    # login
    "login.account": "{name}",
    "login.account.balances": "{balances}",
    "login.asking": "One moment, we are logging you in.",
    "login.choosing": "Which account do you want to use?",
    "login.choosing.help": "Tap an account, or send its handle or its number on the list.",
    "login.unavailable": "Send anything to try again.",
    "login.unavailable.help": "Your place is kept; send anything, and we try again.",
    # onboard
    "onboard.welcome": "Welcome to VimbisoPay! With an account you can offer credex to others and accept theirs.",
    "onboard.welcome.become_member": "Become a member",
    "onboard.welcome.help": "Tap the button, or say 1, to open an account.",
    "onboard.firstname": "What is your first name?",
    "onboard.firstname.help": "Your first name, 2 to 50 letters; for example: Emmy",
    "onboard.lastname": "And your last name?",
    "onboard.lastname.help": "Your last name, 2 to 50 letters; for example: Noether",
    "onboard.confirm": "You are {firstname} {lastname}. Is that right?",
    "onboard.confirm.yes": "Yes",
    "onboard.confirm.no": "No, change it",
    "onboard.confirm.help": "Say yes to open your account, no to write your names again.",
    "onboard.creating": "We are opening your account; you will hear from us.",
    "onboard.welcomed": "Welcome, {firstname}! Your account is open.",
    # dashboard
    "dashboard.summary": (
        "{name} (@{handle})\n{balances}\nNet assets: {net_assets}\nOffers waiting: {incoming} in, {outgoing} out"
    ),
    "dashboard.limited": (
        "{name} (@{handle})\n{balances}\nNet assets: {net_assets}\nLeft to offer today: {remaining}\n"
        "Offers waiting: {incoming} in, {outgoing} out"
    ),
    "dashboard.menu.offer_secured": "Offer credex",
    "dashboard.menu.help": "Tap or say what you want to do, for example: offer. In a hurry? 0.5=>handle starts one.",
    # offer
    "offer.amount": "How much do you want to offer?",
    "offer.amount.help": "An amount, with its denomination unless it is USD; for example: 10, or 2.5 CAD",
    "offer.handle": "Who is it for? Please send their handle.",
    "offer.handle.help": "The handle of the account that gets it; for example: shop_one",
    "offer.checking": "One moment, we are looking that account up.",
    "offer.confirm": "Offer {amount}\nfrom {own} (@{own_handle})\nto {name} (@{handle})?",
    "offer.confirm.yes": "Yes, offer it",
    "offer.confirm.no": "No",
    "offer.confirm.help": "Say yes to make the offer, no to leave it, back to change it.",
    "offer.creating": "We are sending your offer; you will hear from us.",
    "offer.sent": "Your offer was made: {amount} to {name} (@{handle}).",
    "offer.unsure": "Please look at your open offers before you offer it again.",
    "offer.dropped": "Nothing was sent.",
}
