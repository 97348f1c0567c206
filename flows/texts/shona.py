"""The texts of VimbisoPay in Shona, and those of the framework."""

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
    "carry_on.title": "kuenderera mberi",
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
    # what was typed, and why it is no answer (vimbiso_fsm.messages.readers)
    "amount.currency": "Hatizivi {currency}. Munogona kushandisa {known}.",
    "amount.decimals": "{currency} ine manhamba anosvika {decimals} chete mushure me poindi.",
    "amount.digits": "Nhamba iyoyo yakareba; ndapota isai manhamba asingapfuure {limit}.",
    "amount.format": "Ndapota nyorai mari yakaita se 10 kana 10.50 {currency}, pasina makoma.",
    "amount.least": "Mari iyoyo ishoma; mari shoma inobvira ndi {least}.",
    "amount.most": "Mari iyoyo yakawanda; mari yakawanda inobvira ndi {most}.",
    "amount.zero": "Mari inofanira kupfuura 0.",
    "choice.unknown": "Icho hachisi chimwe chezvamungasarudza.",
    "number.digits": "Nhamba iyoyo yakareba; ndapota isai manhamba asingapfuure {limit}.",
    "number.format": "Ndapota nyorai nhamba yakazara, yakaita se 12.",
    "number.least": "Nhamba iyoyo idiki; nhamba diki inobvira ndi {least}.",
    "number.most": "Nhamba iyoyo yakura; nhamba huru inobvira ndi {most}.",
    "date.early": "Zuva iroro rinokurumidza; zuva rekutanga rinobvira ndi {earliest}.",
    "date.format": "Ndapota nyorai zuva rakaita se 2026-11-22 kana 22 November 2026.",
    "date.late": "Zuva iroro rinononoka; zuva rekupedzisira rinobvira ndi {latest}.",
    "date.unknown": "Hapana zuva rakadaro.",
    "handle.format": "Handle ine mabhii, manhamba na _ chete, asingapfuure {limit}; semuenzaniso shop_one.",
    "name.format": "Zita rine mabhii, mipata, tudhashi, maapositirofi nemapoindi chete.",
    "name.length": "Ndapota nyorai mabhii ari pakati pe {shortest} ne {longest}.",
    "phone.format": "Ndapota nyorai nhamba nekodhi yenyika, se +263 77 123 4567.",
    "phone.unknown": "Hapana nhamba yenhare yakadaro.",
    "text.empty": "Ndapota nyorai chimwe chinhu.",
    "text.format": "Ndapota siyai mabhii asingaonekwi.",
    "text.length": "Zvakarebesa; ndapota musapfuure mabhii {limit}.",
    # what every conversation says (vimbiso_fsm.messages.catalogue)
    "back.earlier": "Mhinduro yenyu yekutanga: {answer}",
    "back.made": "Zvanga zviri mberi kweizvi zvakatotumirwa, saka hapana nzira yekudzokera.",
    "back.nowhere": "Uyu ndiwo mubvunzo wekutanga; hapana kwekudzokera.",
    "call.again": "Hatizviiti kechipiri toga; ndapota tiudzei kana muchizvida zvakare.",
    "call.busy": "Hazvigoneki parizvino. Ndapota edzai zvakare mushure meminiti imwe.",
    "call.done": "Zvaitwa.",
    "call.failed": "Hazvina kushanda; ndapota edzai zvakare.",
    "call.too_much": "Zvakawandisa zvekuti zviratidzwe pano.",
    "call.unavailable": "Hatisi kukwanisa kuzviziva parizvino; ndapota edzai zvakare mushure mechinguva.",
    "call.unsure": "Hatina kukwanisa kuziva kana zvaitwa. Ndapota tarisai musati maedza zvakare.",
    "call.waiting": "Tichiri kushanda pamhinduro yenyu yekupedzisira; tichakuzivisai.",
    "content.audio": "meseji yezwi",
    "content.contact": "nhamba yemunhu kubva mufoni yenyu",
    "content.contacts": "nhamba dzevanhu kubva mufoni yenyu",
    "content.document": "gwaro",
    "content.either": "Ndapota tumirai chimwe cheizvi:\n{wanted}",
    "content.form": "fomu rakazadzwa",
    "content.image": "mufananidzo",
    "content.large": "Faira iroro rakakura; rinobvumirwa rinosvika {limit}.",
    "content.location": "nzvimbo yamuri pamepu",
    "content.many": "Zvakawandisa; ndapota tumirai zvisingapfuure {limit}.",
    "content.order": "odha kubva mukatarogi yedu",
    "content.sticker": "chisitika",
    "content.text": "mhinduro yakanyorwa",
    "content.type": "Hatigoni kuvhura faira remhando iyoyo pano. Ndapota tumirai {wanted}.",
    "content.video": "vhidhiyo",
    "content.wanted": "Ndapota tumirai {wanted}.",
    "choice.closed": "Mubvunzo iwoyo wavharwa.",
    "choice.late": "Izvozvo zvasvika mubvunzo wekutanga wapera; hezvino zvamuri zvino.",
    "choice.menu": "Menu",
    "choice.none": "Hapana zvekusarudza pano parizvino. Itii menu kuti muone zvimwe zvamungaita.",
    "choice.several": "Izvozvo zvinogona kureva zvinopfuura chimwe cheizvi; ndapota sarudzai chimwe.",
    "choice.typed": "Mhinduro yangu: {answer}",
    "carry_on.ask": "Hamuna kupedza: {flow}. Moenderera mberi here?",
    "carry_on.dropped": "Tazvisiya ipapo; hapana chimwe chatumirwa.",
    "carry_on.offered.help": "Itii hongu kuti muenderere mberi pamanga muri, kwete kuti muzvisiye.",
    "carry_on.offered.yes": "Hongu, enderera",
    "carry_on.offered.no": "Kwete, zvisiye",
    "command.back": "Dzokerai kumubvunzo wapfuura",
    "command.cancel": "Kanzurai zvakavhurika",
    "command.help": "Onai zvamungaita pano",
    "command.menu": "Endai kumenu",
    "cancel.done": "Zvakanzurwa; hapana chatumirwa.",
    "cancel.made": "Zvakanzurwa; zvanga zvatoitwa zvinoramba zvakadaro.",
    "flow.next": "Pane chimwe chinhu chenyu iye zvino: {flow}.",
    "flow.restarted": "Tachinja mashandiro azvo ({flow}); ndapota tangai patsva.",
    "flow.dropped": "Zvamanga matanga hazvichawanikwi pano, saka zvapera.",
    "failure": "Pane chakanganisika kwatiri; hapana chachinjwa. Ndapota edzai zvakare. Referensi: {reference}",
    "failure.done": (
        "Zvaitwa, asi pane chakanganisika kwatiri uye hatisati takwanisa kukuratidzai mhedzisiro yacho. Hamufaniri "
        "kuzvitumira zvakare; itii menu kuti mupfuurire nezvimwe. Referensi: {reference}"
    ),
    "failure.timed_out": (
        "Zvatora nguva yakareba kwatiri, uye hatina kuzvipedza. Ndapota zvitumirei zvakare gare gare; "
        "zvinoverengwa kamwe chete. Referensi: {reference}"
    ),
    "failure.unsure": (
        "Pane chakanganisika kwatiri, uye hatina kukwanisa kuziva kana chikumbiro chenyu chekupedzisira chakaitwa. "
        "Ndapota tarisai musati machitumira zvakare. Referensi: {reference}"
    ),
    "consent.given": "Muchatanga kugamuchira mameseji edu zvakare. Pindurai STOP kuti musagamuchira.",
    "handed.said": "{words}",
    "handed.over": "Munhu achakupindurai pano. Taurai {word} kuti mudzokere kubhoti.",
    "handed.back": "Madzokera kubhoti.",
    "handed.nobody": "Hapana munhu anowanikwa iye zvino. Madzokera kubhoti.",
    "handed.full": (
        "Izvi hazvisati zvasvika kumunhu; tumirai zvakare gare gare, kana kuti taurai {word} kuti mudzokere kubhoti."
    ),
    "consent.taken_back": "Hamuchagamuchiri mameseji edu. Pindurai START kuti mugamuchire zvakare.",
    "help.words": "Nguva dzose munogona kuti: menu, dzokera, kanzura, rubatsiro.",
    "help.words.sms": "Nguva dzose munogona kuti: menu, dzokera, kanzura, rubatsiro.",
    "link.open": "Vhura",
    "limits.menu": "Zvinoita sezvisiri kushanda. Itii menu kuti mubude muone zvimwe zvamungaita.",
    "member.login": "Ndapota pindai kutanga.",
    "menu.left": "Tasiya zvanga zvakavhurika.",
    "address.several": (
        "Munozivikanwa pano nenhengo dzinopfuura imwe, uye hatigoni kuziva kuti ndeipi iri kureva. Hapana chachinjwa; "
        "ndapota tikumbirei kuti tigadzirise."
    ),
    "message.reused": "Meseji iyoyo yakatopindurwa.",
    "message.too_late": "Meseji iyoyo yasvika yanonoka zvikuru, haina kutorwa; ndapota itumirei zvakare.",
    "message.too_long": "Zvakarebesa; ndapota musapfuure mabhii {limit}.",
    "merge.too_much": "Hatina kukwanisa kuchengeta zvese zvamanga matanga, saka zvimwe zvacho zvamiswa.",
    "message.too_much": "Zvakawandisa zvekuti tizvichengete; ndapota tumirai zvishoma, kana kuti itii menu mubude.",
    "message.unsupported": "Tinogona kuverenga mashoko chete pano: ndapota nyorai, kana kudzvanya bhatani.",
    "pages.next": "Kumberi",
    "pages.prev": "Kumashure",
    "rate.address": (
        "Muri kutumira mameseji nekukurumidza zvatisingakwanise; yekupedzisira haina kutorwa. "
        "Ndapota mirai kwemineti moitumira zvakare."
    ),
    "recovered": (
        "Taifanira kugadzirisa zvatakanyora pamusoro pehurukuro iyi; ngatitangei patsva kubva pano. "
        "Referensi: {reference}"
    ),
    "recovered.put_back": "Tadzosera hurukuro iyi pamubvunzo wekutanga; ngatienderere mberi kubva pano.",
    "recovered.unsure": (
        "Taifanira kugadzirisa zvatakanyora pamusoro pehurukuro iyi, uye hatina kukwanisa kuziva kana chikumbiro "
        "chenyu chekupedzisira chakaitwa. Ndapota tarisai musati maedza zvakare. Referensi: {reference}"
    ),
    "store.newer": (
        "Basa redu riri kuvandudzwa parizvino; hapana chachengetwa. Ndapota itumirei zvakare mushure mechinguva. "
        "Referensi: {reference}"
    ),
    "store.foreign": (
        "Hurukuro yenyu yekupedzisira pano ndeyechikamu chebasa redu chisiri kushanda parizvino, saka meseji iyoyo "
        "haina kutorwa. Hapana chachinjwa. Ndapota edzai zvakare pashure. Referensi: {reference}"
    ),
    "store.contended": (
        "Zvinhu zvakawanda zvauya panguva imwe chete; icho hachina kutorwa. Ndapota itumirei zvakare. "
        "Referensi: {reference}"
    ),
    "store.unavailable": (
        "Hatina kukwanisa kuzvichengeta; hapana chachinjwa. Ndapota itumirei zvakare mushure mechinguva. "
        "Referensi: {reference}"
    ),
    "store.unknown": (
        "Hatizivi kana zvachengetwa. Ndapota itumirei zvakare; zvinoverengwa kamwe chete. Referensi: {reference}"
    ),
    "request.contact": "Tumira nhamba yangu",
    "request.location": "Tumira pandiri",
    "session.ended": "Hurukuro yenyu yapera mushure mekunyarara kwechinguva.",
    "session.ending": Plural(
        "seconds",
        one="Hurukuro yenyu inopera mukati mesekondi {seconds}; zvamusina kusimbisa ({flow}) hazvizotumirwa.",
        other="Hurukuro yenyu inopera mukati memasekondi {seconds}; zvamusina kusimbisa ({flow}) hazvizotumirwa.",
    ),
    "session.kept": "Izvi zvichiri zvakavhurika: {flow}.",
    "session.limit": "Hurukuro yenyu yapera, nokuti yanga yavhurika kwenguva refu.",
    "session.lost": "Hurukuro yenyu yapera. Zvamanga musati masimbisa hazvina kutumirwa.",
    "session.unsent": "Zvamanga musati masimbisa ({flow}) hazvina kutumirwa.",
}
"""The texts by key. A member reads them if the profile or the channel names Shona."""
