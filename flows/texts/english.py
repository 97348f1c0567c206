"""The texts of VimbisoPay in English. Each key has a text in Shona too (`shona.py`)."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm import Plural, Templates

ENGLISH: Final[Templates] = {
    # reasons
    "amount.balance": "Your account holds {held}; please offer no more than that.",
    "amount.limit": "You may offer {remaining} more today; please offer no more than that.",
    "core.balance_short": "Your secured balance is not enough for this.",
    "core.down": "Sorry, we cannot reach the credex network right now.",
    "core.insufficient_secured_balance": "Your account holds {held}, which is not enough for this.",
    "core.key_reused": "That was answered before; please start again.",
    "core.member_exists": "This number belongs to a member already; we are logging you in.",
    "core.not_done": "Sorry, we cannot reach the credex network right now; nothing was done.",
    "core.offer_gone": "That offer is not open any more.",
    "core.rejected": "The credex network refused it: {reason}.",
    "core.unauthorised": "The credex network has ended your session; you will be logged in again.",
    "member.tier": "That is for members of tier {tier} and above.",
    "handle.own": "That account is your own; please name another one.",
    "handle.unknown": "No account has the handle {handle}.",
    # login
    "login.asking": "One moment, we are logging you in.",
    "login.unavailable": "Send anything to try again.",
    "login.unavailable.help": "Your place is kept; send anything, and we try again.",
    # prove_number
    "prove_number.title": "proving your number",
    "prove_number.number": "What is your phone number? We send a code to it.",
    "prove_number.number.help": "Your number with the country code; for example: +263 77 123 4567",
    "prove_number.sending": "One moment, we are sending a code.",
    "prove_number.code": "We have sent a code to your number that ends in {last}. Please send us its {digits} digits.",
    "prove_number.code.help": "The code is in a text message to your phone; it counts for ten minutes.",
    "prove_number.code.new_code": "Send a new code",
    "prove_number.code.other_number": "Another number",
    "prove_number.checking": "One moment, we are checking the code.",
    "code.format": "A code has {digits} digits.",
    "code.wrong": "That is not the code.",
    "code.spent": "That code does not count any more.",
    "code.too_often": "That number has got several codes already; please try again in an hour.",
    # accounts
    "account.name": "{name}",
    "account.about": "@{handle}: {balances}",
    "account.empty": "nothing yet",
    "choose_account.choosing": "Which account do you want to use?",
    "choose_account.choosing.help": "Tap an account, or send its handle or its number on the list.",
    "choose_account.none": "None of your accounts can be used for this.",
    "choose_account.title": "choosing an account",
    "refresh.asking": "One moment, we are looking at your account.",
    # onboard
    "onboard.title": "becoming a member",
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
    "dashboard.menu.accept_offer": "Accept an offer",
    "dashboard.menu.decline_offer": "Decline an offer",
    "dashboard.menu.cancel_offer": "Cancel an offer",
    "dashboard.menu.view_ledger": "View ledger",
    "dashboard.menu.upgrade_membertier": "Upgrade",
    "dashboard.menu.switch_account": "Switch account",
    "dashboard.menu.help": (
        "Tap or say what you want to do, for example: offer. In a hurry? 0.5=>handle starts one. "
        "NechiShona? Itii: Shona."
    ),
    # offer
    "offer.nothing": "Your account holds nothing that you can offer today.",
    "offer.amount": "How much do you want to offer?",
    "offer.amount.help": "An amount, with its denomination unless it is USD; for example: 10, or 2.5 CAD",
    "offer.handle": "Who is it for? Please send their handle.",
    "offer.handle.help": "The handle of the account that gets it; for example: shop_one",
    "offer.checking": "One moment, we are looking that account up.",
    "offer.confirm": "Offer {amount}\nfrom {own} (@{own_handle})\nto {name} (@{handle})?",
    "offer.confirm.yes": "Yes, offer it",
    "offer.confirm.no": "No",
    "offer.confirm.other_account": "Other account",
    "offer.confirm.help": "Say yes to make the offer, no to leave it, back to change it.",
    "offer.creating": "We are sending your offer; you will hear from us.",
    "offer.sent": "Your offer was made: {amount} to {name} (@{handle}).",
    "offer.unsure": "Please look at your open offers before you offer it again.",
    "offer.dropped": "Nothing was sent.",
    # offers that wait
    "offers.none": "There is no such offer open any more.",
    "offers.row": "{amount} @{handle}",
    "offers.row.name": "{name}",
    # accept
    "accept_offer.title": "accepting an offer",
    "accept_offer.list": "Which offer do you want to accept?",
    "accept_offer.list.accept_all": "Accept all",
    "accept_offer.list.help": "Tap an offer, or send its number on the list. All of them? Say: accept all.",
    "accept_offer.confirm": "Accept {amount} from {name} (@{handle})?",
    "accept_offer.confirm_all": Plural(
        "count", one="Accept {count} offer? In all:\n{total}", other="Accept all {count} offers? In all:\n{total}"
    ),
    "accept_offer.confirm.yes": "Yes, accept",
    "accept_offer.confirm.no": "No",
    "accept_offer.confirm.help": "Say yes to accept, no to see the offers again.",
    "accept_offer.answering": "We are sending your answer; you will hear from us.",
    "accept_offer.answered": "You accepted {amount} from {name} (@{handle}).",
    "accept_offer.answered_all": Plural(
        "count",
        one="You accepted {count} offer. In all:\n{total}",
        other="You accepted {count} offers. In all:\n{total}",
    ),
    # decline
    "decline_offer.title": "declining an offer",
    "decline_offer.list": "Which offer do you want to decline?",
    "decline_offer.list.help": "Tap an offer, or send its number on the list.",
    "decline_offer.confirm": "Decline {amount} from {name} (@{handle})?",
    "decline_offer.confirm.yes": "Yes, decline",
    "decline_offer.confirm.no": "No",
    "decline_offer.confirm.help": "Say yes to decline, no to see the offers again.",
    "decline_offer.answering": "We are sending your answer; you will hear from us.",
    "decline_offer.answered": "You declined {amount} from {name} (@{handle}).",
    # cancel
    "cancel_offer.title": "cancelling an offer",
    "cancel_offer.list": "Which of your offers do you want to take back?",
    "cancel_offer.list.help": "Tap an offer, or send its number on the list.",
    "cancel_offer.confirm": "Take back your offer of {amount} to {name} (@{handle})?",
    "cancel_offer.confirm.yes": "Yes, take it back",
    "cancel_offer.confirm.no": "No",
    "cancel_offer.confirm.help": "Say yes to take it back, no to see your offers again.",
    "cancel_offer.answering": "We are taking it back; you will hear from us.",
    "cancel_offer.answered": "You took back your offer of {amount} to {name} (@{handle}).",
    # ledger
    "ledger.reading": "One moment, we are reading your ledger.",
    "ledger.entries": "Ledger of {name} (@{handle}), {first} to {last}:\n{entries}",
    "ledger.empty": "Ledger of {name} (@{handle}): nothing has moved yet.",
    "ledger.account": "{name} (@{handle})",
    "ledger.received": "{amount} from {other}",
    "ledger.given": "{amount} to {other}",
    "ledger.page.prev": "Previous",
    "ledger.page.next": "Next",
    "ledger.page.dashboard": "Dashboard",
    "ledger.page.help": "Say next or prev to turn the pages, dashboard to leave.",
    "ledger.unread": "Your ledger could not be read.",
    "ledger.unread.again": "Try again",
    "ledger.unread.dashboard": "Dashboard",
    "ledger.unread.help": "Say again to try once more, dashboard to leave.",
    # upgrade
    "upgrade.title": "upgrading your membership",
    "upgrade.confirm": Plural(
        "days",
        one=(
            "Become a Hustler (tier {tier}): no daily limit. It costs {price} every day, "
            "paid from {own} (@{own_handle}). Shall we?"
        ),
        other=(
            "Become a Hustler (tier {tier}): no daily limit. It costs {price} every {days} days, "
            "paid from {own} (@{own_handle}). Shall we?"
        ),
    ),
    "upgrade.confirm.yes": "Yes, upgrade",
    "upgrade.confirm.no": "No",
    "upgrade.confirm.help": "Say yes to pay and upgrade, no to leave it.",
    "upgrade.paying": "We are upgrading your membership; you will hear from us.",
    "upgrade.upgraded": "You are a Hustler now (tier {tier}).",
    "upgrade.short": "An upgrade takes a secured balance of {price}; somebody can offer it to you.",
    "upgrade.unsure": "Please look at your ledger before you try again.",
    "upgrade.dropped": "Nothing was paid.",
    # language
    "language.naming": "Which language shall we speak? Say English, or Shona.",
    "language.naming.help": "The name of a language; for example: English",
    "language.speaking": "We speak English now.",
    "language.title": "choosing a language",
}
