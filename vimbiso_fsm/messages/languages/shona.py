"""The framework's own texts in Shona."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm.messages.templates import Plural, Templates

TEXTS: Final[Templates] = {
    "address.several": (
        "Munozivikanwa pano nenhengo dzinopfuura imwe, uye hatigoni kuziva kuti ndeipi iri kureva. Hapana chachinjwa; "
        "ndapota tikumbirei kuti tigadzirise."
    ),
    "amount.currency": "Hatizivi {currency}. Munogona kushandisa {known}.",
    "amount.decimals": "{currency} ine manhamba anosvika {decimals} chete mushure me poindi.",
    "amount.digits": "Nhamba iyoyo yakareba; ndapota isai manhamba asingapfuure {limit}.",
    "amount.format": "Ndapota nyorai mari yakaita se 10 kana 10.50 {currency}, pasina makoma.",
    "amount.least": "Mari iyoyo ishoma; mari shoma inobvira ndi {least}.",
    "amount.most": "Mari iyoyo yakawanda; mari yakawanda inobvira ndi {most}.",
    "amount.zero": "Mari inofanira kupfuura 0.",
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
    "cancel.done": "Zvakanzurwa; hapana chatumirwa.",
    "cancel.made": "Zvakanzurwa; zvanga zvatoitwa zvinoramba zvakadaro.",
    "carry_on.ask": "Hamuna kupedza: {flow}. Moenderera mberi here?",
    "carry_on.dropped": "Tazvisiya ipapo; hapana chimwe chatumirwa.",
    "carry_on.offered.help": "Itii hongu kuti muenderere mberi pamanga muri, kwete kuti muzvisiye.",
    "carry_on.offered.no": "Kwete, zvisiye",
    "carry_on.offered.yes": "Hongu, enderera",
    "carry_on.title": "kuenderera mberi",
    "choice.closed": "Mubvunzo iwoyo wavharwa.",
    "choice.late": "Izvozvo zvasvika mubvunzo wekutanga wapera; hezvino zvamuri zvino.",
    "choice.menu": "Menu",
    "choice.none": "Hapana zvekusarudza pano parizvino. Itii menu kuti muone zvimwe zvamungaita.",
    "choice.several": "Izvozvo zvinogona kureva zvinopfuura chimwe cheizvi; ndapota sarudzai chimwe.",
    "choice.typed": "Mhinduro yangu: {answer}",
    "choice.unknown": "Icho hachisi chimwe chezvamungasarudza.",
    "command.back": "Dzokerai kumubvunzo wapfuura",
    "command.cancel": "Kanzurai zvakavhurika",
    "command.help": "Onai zvamungaita pano",
    "command.menu": "Endai kumenu",
    "consent.given": "Muchatanga kugamuchira mameseji edu zvakare. Pindurai STOP kuti musagamuchira.",
    "consent.taken_back": "Hamuchagamuchiri mameseji edu. Pindurai START kuti mugamuchire zvakare.",
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
    "date.ambiguous": "Izvozvo zvinogona kureva {first} kana {second}. Ndapota nyorai zuva nezita remwedzi.",
    "date.early": "Zuva iroro rinokurumidza; zuva rekutanga rinobvira ndi {earliest}.",
    "date.format": "Ndapota nyorai zuva rakaita se 22 Mbudzi 2026 kana 2026-11-22.",
    "date.late": "Zuva iroro rinononoka; zuva rekupedzisira rinobvira ndi {latest}.",
    "date.unknown": "Hapana zuva rakadaro.",
    "date.weekday": "{date} harisi zuva iroro revhiki.",
    "datetime.format": "Ndapota nyorai zuva nenguva zvakaita se 22 Mbudzi 2026, 15:30.",
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
    "flow.dropped": "Zvamanga matanga hazvichawanikwi pano, saka zvapera.",
    "flow.next": "Pane chimwe chinhu chenyu iye zvino: {flow}.",
    "flow.restarted": "Tachinja mashandiro azvo ({flow}); ndapota tangai patsva.",
    "handed.back": "Madzokera kubhoti.",
    "handed.full": (
        "Izvi hazvisati zvasvika kumunhu; tumirai zvakare gare gare, kana kuti taurai {word} kuti mudzokere kubhoti."
    ),
    "handed.nobody": "Hapana munhu anowanikwa iye zvino. Madzokera kubhoti.",
    "handed.over": "Munhu achakupindurai pano. Taurai {word} kuti mudzokere kubhoti.",
    "handed.said": "{words}",
    "handle.format": "Handle ine mabhii, manhamba na _ chete, asingapfuure {limit}; semuenzaniso shop_one.",
    "help.words": "Nguva dzose munogona kuti: menu, dzokera, kanzura, rubatsiro.",
    "help.words.sms": "Nguva dzose munogona kuti: menu, dzokera, kanzura, rubatsiro.",
    "limits.menu": "Zvinoita sezvisiri kushanda. Itii menu kuti mubude muone zvimwe zvamungaita.",
    "link.open": "Vhura",
    "member.login": "Ndapota pindai kutanga.",
    "menu.left": "Tasiya zvanga zvakavhurika.",
    "merge.too_much": "Hatina kukwanisa kuchengeta zvese zvamanga matanga, saka zvimwe zvacho zvamiswa.",
    "message.reused": "Meseji iyoyo yakatopindurwa.",
    "message.too_late": "Meseji iyoyo yasvika yanonoka zvikuru, haina kutorwa; ndapota itumirei zvakare.",
    "message.too_long": "Zvakarebesa; ndapota musapfuure mabhii {limit}.",
    "message.too_much": "Zvakawandisa zvekuti tizvichengete; ndapota tumirai zvishoma, kana kuti itii menu mubude.",
    "message.unsupported": "Tinogona kuverenga mashoko chete pano: ndapota nyorai, kana kudzvanya bhatani.",
    "name.format": "Zita rine mabhii, mipata, tudhashi, maapositirofi nemapoindi chete.",
    "name.length": "Ndapota nyorai mabhii ari pakati pe {shortest} ne {longest}.",
    "number.digits": "Nhamba iyoyo yakareba; ndapota isai manhamba asingapfuure {limit}.",
    "number.format": "Ndapota nyorai nhamba yakazara, yakaita se 12.",
    "number.least": "Nhamba iyoyo idiki; nhamba diki inobvira ndi {least}.",
    "number.most": "Nhamba iyoyo yakura; nhamba huru inobvira ndi {most}.",
    "pages.next": "Kumberi",
    "pages.prev": "Kumashure",
    "phone.format": "Ndapota nyorai nhamba nekodhi yenyika, se +263 77 123 4567.",
    "phone.unknown": "Hapana nhamba yenhare yakadaro.",
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
    "store.contended": (
        "Zvinhu zvakawanda zvauya panguva imwe chete; icho hachina kutorwa. Ndapota itumirei zvakare. "
        "Referensi: {reference}"
    ),
    "store.foreign": (
        "Hurukuro yenyu yekupedzisira pano ndeyechikamu chebasa redu chisiri kushanda parizvino, saka meseji iyoyo "
        "haina kutorwa. Hapana chachinjwa. Ndapota edzai zvakare pashure. Referensi: {reference}"
    ),
    "store.newer": (
        "Basa redu riri kuvandudzwa parizvino; hapana chachengetwa. Ndapota itumirei zvakare mushure mechinguva. "
        "Referensi: {reference}"
    ),
    "store.unavailable": (
        "Hatina kukwanisa kuzvichengeta; hapana chachinjwa. Ndapota itumirei zvakare mushure mechinguva. "
        "Referensi: {reference}"
    ),
    "store.unknown": (
        "Hatizivi kana zvachengetwa. Ndapota itumirei zvakare; zvinoverengwa kamwe chete. Referensi: {reference}"
    ),
    "text.empty": "Ndapota nyorai chimwe chinhu.",
    "text.format": "Ndapota siyai mabhii asingaonekwi.",
    "text.length": "Zvakarebesa; ndapota musapfuure mabhii {limit}.",
    "time.early": "Nguva iyoyo inokurumidza; nguva yekutanga inobvira: {earliest}.",
    "time.format": "Ndapota nyorai nguva yakaita se 15:30.",
    "time.late": "Nguva iyoyo inononoka; nguva yekupedzisira inobvira: {latest}.",
    "time.skipped": "Nguva iyoyo haipo pazuva iroro, nokuti wachi dzinofambiswa mberi. Ndapota nyorai imwe.",
    "time.twice": (
        "Nguva iyoyo inouya kaviri pazuva iroro, nokuti wachi dzinodzoserwa shure. "
        "Ndapota nyorai {first} kana {second}."
    ),
    "time.unknown": "Hapana nguva yakadaro.",
}
"""The texts by key."""

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "menu": ("menyu", "mamuka sei", "masikati", "manheru"),
    "cancel": ("kanzura",),
    "back": ("dzokera", "dzokera shure"),
    "help": ("rubatsiro", "batsirai"),
    "yes": ("hongu", "ehe"),
    "no": ("kwete", "aiwa"),
    "stop": ("misa mameseji",),
}
"""The global words by command."""
