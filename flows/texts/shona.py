"""The texts of VimbisoPay in Shona."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm import Plural, Templates

SHONA: Final[Templates] = {
    # reasons
    "amount.balance": "Muakaundi yenyu mune {held}; ndapota musapfuure ipapo.",
    "amount.limit": "Nhasi musasiyirwa {remaining} yamungapa; ndapota musapfuure ipapo.",
    "core.balance_short": "Zviri muakaundi yenyu hazvikwani pane izvi.",
    "core.down": "Tine urombo, hatisi kukwanisa kusvika panetwork ye credex parizvino.",
    "core.insufficient_secured_balance": "Muakaundi yenyu mune {held}, hazvikwani pane izvi.",
    "core.key_reused": "Izvozvo zvakatopindurwa; ndapota tangai patsva.",
    "core.member_exists": "Nhamba iyi yatova yenhengo; tiri kukupindisai.",
    "core.not_done": "Tine urombo, hatisi kukwanisa kusvika panetwork ye credex parizvino; hapana chaitwa.",
    "core.offer_gone": "Ofa iyoyo haichavhurika.",
    "core.rejected": "Network ye credex yazviramba: {reason}.",
    "core.unauthorised": "Network ye credex yapedza hurukuro yenyu; muchapindiswa patsva.",
    "member.tier": "Izvozvo ndezvenhengo dzechikamu {tier} zvichikwira.",
    "handle.own": "Akaundi iyoyo ndeyenyu; ndapota tumirai imwe.",
    "handle.unknown": "Hapana akaundi ine handle inonzi {handle}.",
    # login
    "login.asking": "Mirai zvishoma, tiri kukupindisai.",
    "login.unavailable": "Tumirai chero chipi kuti muedze zvakare.",
    "login.unavailable.help": "Nzvimbo yenyu yakachengetwa; tumirai chero chipi, toedza zvakare.",
    # prove_number
    "prove_number.number": "Nhamba yenyu yefoni ndeipi? Tinotumira kodhi kwairi.",
    "prove_number.number.help": "Nhamba yenyu ine kodhi yenyika; semuenzaniso: +263 77 123 4567",
    "prove_number.sending": "Mirai zvishoma, tiri kutumira kodhi.",
    "prove_number.code": "Tatumira kodhi kunhamba yenyu inopera na {last}. Ndapota titumirei manhamba ayo {digits}.",
    "prove_number.code.help": "Kodhi iri mumeseji yefoni yenyu; inoshanda kwemaminitsi gumi.",
    "prove_number.code.new_code": "Tumirai imwe kodhi",
    "prove_number.code.other_number": "Imwe nhamba",
    "prove_number.checking": "Mirai zvishoma, tiri kutarisa kodhi.",
    "code.format": "Kodhi ine manhamba {digits}.",
    "code.wrong": "Iyoyo haisi kodhi yacho.",
    "code.spent": "Kodhi iyoyo haichashandi.",
    "code.too_often": "Nhamba iyoyo yatumirwa kodhi dzakawanda; ndapota edzai zvakare mushure meawa.",
    # accounts
    "account.name": "{name}",
    "account.about": "@{handle}: {balances}",
    "account.empty": "hapana parizvino",
    "choose_account.choosing": "Munoda kushandisa akaundi ipi?",
    "choose_account.choosing.help": "Dzvanyai akaundi, kana kutumira handle yayo kana nhamba yayo iri parondedzero.",
    "choose_account.none": "Hapana akaundi yenyu ingashandiswa pane izvi.",
    "refresh.asking": "Mirai zvishoma, tiri kutarisa akaundi yenyu.",
    # onboard
    "onboard.welcome": "Mauya kuVimbisoPay! Neakaundi munogona kupa vamwe credex nekugamuchira dzavo.",
    "onboard.welcome.become_member": "Ivai nhengo",
    "onboard.welcome.help": "Dzvanyai bhatani, kana kuti 1, kuti muvhure akaundi.",
    "onboard.firstname": "Zita renyu rekutanga ndiani?",
    "onboard.firstname.help": "Zita renyu rekutanga, mabhii 2 kusvika 50; semuenzaniso: Emmy",
    "onboard.lastname": "Zvino zita remhuri yenyu?",
    "onboard.lastname.help": "Zita remhuri yenyu, mabhii 2 kusvika 50; semuenzaniso: Noether",
    "onboard.confirm": "Muri {firstname} {lastname}. Ndizvo here?",
    "onboard.confirm.yes": "Hongu",
    "onboard.confirm.no": "Kwete, chinja",
    "onboard.confirm.help": "Itii hongu kuti muvhure akaundi, kwete kuti munyore mazita enyu patsva.",
    "onboard.creating": "Tiri kuvhura akaundi yenyu; tichakuzivisai.",
    "onboard.welcomed": "Mauya, {firstname}! Akaundi yenyu yavhurwa.",
    # dashboard
    "dashboard.summary": (
        "{name} (@{handle})\n{balances}\nZvose pamwe chete: {net_assets}\n"
        "Maofa akamirira: {incoming} auya, {outgoing} aenda"
    ),
    "dashboard.limited": (
        "{name} (@{handle})\n{balances}\nZvose pamwe chete: {net_assets}\nZvasara kupa nhasi: {remaining}\n"
        "Maofa akamirira: {incoming} auya, {outgoing} aenda"
    ),
    "dashboard.menu.offer_secured": "Ipa credex",
    "dashboard.menu.accept_offer": "Gamuchira ofa",
    "dashboard.menu.decline_offer": "Ramba ofa",
    "dashboard.menu.cancel_offer": "Dzosa ofa",
    "dashboard.menu.view_ledger": "Ona nhoroondo",
    "dashboard.menu.upgrade_membertier": "Kwira chikamu",
    "dashboard.menu.switch_account": "Chinja akaundi",
    "dashboard.menu.help": (
        "Dzvanyai kana kutaura zvamunoda kuita, semuenzaniso: offer. Muchikurumidza? 0.5=>handle inotanga ofa. "
        "In English? Say: English."
    ),
    # offer
    "offer.nothing": "Muakaundi yenyu hamuna chamungapa nhasi.",
    "offer.amount": "Munoda kupa marii?",
    "offer.amount.help": "Mari, nerudzi rwayo kana isiri USD; semuenzaniso: 10, kana 2.5 CAD",
    "offer.handle": "Ndeyani? Ndapota tumirai handle yake.",
    "offer.handle.help": "Handle yeakaundi ichapiwa; semuenzaniso: shop_one",
    "offer.checking": "Mirai zvishoma, tiri kutsvaga akaundi iyoyo.",
    "offer.confirm": "Kupa {amount}\nkubva kuna {own} (@{own_handle})\nkuenda kuna {name} (@{handle})?",
    "offer.confirm.yes": "Hongu, ipa",
    "offer.confirm.no": "Kwete",
    "offer.confirm.other_account": "Imwe akaundi",
    "offer.confirm.help": "Itii hongu kuti mupe, kwete kuti musiye, back kuti muchinje.",
    "offer.creating": "Tiri kutumira ofa yenyu; tichakuzivisai.",
    "offer.sent": "Ofa yenyu yaitwa: {amount} kuna {name} (@{handle}).",
    "offer.unsure": "Ndapota tarisai maofa enyu akavhurika musati mapa zvakare.",
    "offer.dropped": "Hapana chatumirwa.",
    # offers that wait
    "offers.none": "Hapachina ofa yakadaro yakavhurika.",
    "offers.row": "{amount} @{handle}",
    "offers.row.name": "{name}",
    # accept
    "accept_offer.list": "Munoda kugamuchira ofa ipi?",
    "accept_offer.list.accept_all": "Gamuchira ose",
    "accept_offer.list.help": (
        "Dzvanyai ofa, kana kutumira nhamba yayo iri parondedzero. Ose here? Itii: gamuchira ose."
    ),
    "accept_offer.confirm": "Kugamuchira {amount} kubva kuna {name} (@{handle})?",
    "accept_offer.confirm_all": Plural(
        "count",
        one="Kugamuchira ofa {count}? Pamwe chete:\n{total}",
        other="Kugamuchira maofa ose {count}? Pamwe chete:\n{total}",
    ),
    "accept_offer.confirm.yes": "Hongu, gamuchira",
    "accept_offer.confirm.no": "Kwete",
    "accept_offer.confirm.help": "Itii hongu kuti mugamuchire, kwete kuti muone maofa zvakare.",
    "accept_offer.answering": "Tiri kutumira mhinduro yenyu; tichakuzivisai.",
    "accept_offer.answered": "Magamuchira {amount} kubva kuna {name} (@{handle}).",
    "accept_offer.answered_all": Plural(
        "count",
        one="Magamuchira ofa {count}. Pamwe chete:\n{total}",
        other="Magamuchira maofa {count}. Pamwe chete:\n{total}",
    ),
    # decline
    "decline_offer.list": "Munoda kuramba ofa ipi?",
    "decline_offer.list.help": "Dzvanyai ofa, kana kutumira nhamba yayo iri parondedzero.",
    "decline_offer.confirm": "Kuramba {amount} kubva kuna {name} (@{handle})?",
    "decline_offer.confirm.yes": "Hongu, ramba",
    "decline_offer.confirm.no": "Kwete",
    "decline_offer.confirm.help": "Itii hongu kuti murambe, kwete kuti muone maofa zvakare.",
    "decline_offer.answering": "Tiri kutumira mhinduro yenyu; tichakuzivisai.",
    "decline_offer.answered": "Maramba {amount} kubva kuna {name} (@{handle}).",
    # cancel
    "cancel_offer.list": "Munoda kudzosa ofa yenyu ipi?",
    "cancel_offer.list.help": "Dzvanyai ofa, kana kutumira nhamba yayo iri parondedzero.",
    "cancel_offer.confirm": "Kudzosa ofa yenyu ye {amount} kuna {name} (@{handle})?",
    "cancel_offer.confirm.yes": "Hongu, idzose",
    "cancel_offer.confirm.no": "Kwete",
    "cancel_offer.confirm.help": "Itii hongu kuti muidzose, kwete kuti muone maofa enyu zvakare.",
    "cancel_offer.answering": "Tiri kuidzosa; tichakuzivisai.",
    "cancel_offer.answered": "Madzosa ofa yenyu ye {amount} kuna {name} (@{handle}).",
    # ledger
    "ledger.reading": "Mirai zvishoma, tiri kuverenga nhoroondo yenyu.",
    "ledger.entries": "Nhoroondo ya {name} (@{handle}), {first} kusvika {last}:\n{entries}",
    "ledger.empty": "Nhoroondo ya {name} (@{handle}): hapana chati chafamba.",
    "ledger.account": "{name} (@{handle})",
    "ledger.received": "{amount} kubva kuna {other}",
    "ledger.given": "{amount} kuna {other}",
    "ledger.page.prev": "Kumashure",
    "ledger.page.next": "Kumberi",
    "ledger.page.dashboard": "Peji rekutanga",
    "ledger.page.help": "Itii next kana prev kuti muvhure mapeji, dashboard kuti mubude.",
    "ledger.unread": "Nhoroondo yenyu haina kuverengeka.",
    "ledger.unread.again": "Edza zvakare",
    "ledger.unread.dashboard": "Peji rekutanga",
    "ledger.unread.help": "Itii again kuti muedze zvakare, dashboard kuti mubude.",
    # upgrade
    "upgrade.confirm": Plural(
        "days",
        one=(
            "Ivai Hustler (chikamu {tier}): hapana muganhu wezuva. Zvinoita {price} zuva roga roga, "
            "zvichibhadharwa kubva kuna {own} (@{own_handle}). Toita here?"
        ),
        other=(
            "Ivai Hustler (chikamu {tier}): hapana muganhu wezuva. Zvinoita {price} pamazuva {days} ega ega, "
            "zvichibhadharwa kubva kuna {own} (@{own_handle}). Toita here?"
        ),
    ),
    "upgrade.confirm.yes": "Hongu, kwira",
    "upgrade.confirm.no": "Kwete",
    "upgrade.confirm.help": "Itii hongu kuti mubhadhare mukwire, kwete kuti musiye.",
    "upgrade.paying": "Tiri kukukwidzai chikamu; tichakuzivisai.",
    "upgrade.upgraded": "Mava Hustler zvino (chikamu {tier}).",
    "upgrade.short": "Kukwira kunoda {price} yakachengetedzwa muakaundi; mumwe munhu anogona kukupai.",
    "upgrade.unsure": "Ndapota tarisai nhoroondo yenyu musati maedza zvakare.",
    "upgrade.dropped": "Hapana chabhadharwa.",
    # language
    "language.naming": "Tingataura mutauro upi? Itii: English, kana Shona.",
    "language.naming.help": "Zita remutauro; semuenzaniso: Shona",
    "language.speaking": "Tava kutaura chiShona.",
    # what each conversation is called where it is offered back
    "accept_offer.title": "kugamuchira ofa",
    "cancel_offer.title": "kudzosa ofa",
    "choose_account.title": "kusarudza akaundi",
    "dashboard.title": "peji rekutanga",
    "decline_offer.title": "kuramba ofa",
    "language.title": "kusarudza mutauro",
    "ledger.title": "nhoroondo",
    "login.title": "kupinda",
    "offer.title": "ofa",
    "onboard.title": "kuva nhengo",
    "prove_number.title": "kuratidza nhamba yenyu",
    "refresh.title": "kutarisa akaundi",
    "upgrade.title": "kukwira chikamu",
}
"""The texts by key. A member reads them if the profile or the channel names Shona."""
