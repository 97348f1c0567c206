"""The framework's own texts in Swahili."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm.messages.templates import Plural, Templates

TEXTS: Final[Templates] = {
    "address.several": (
        "Unajulikana hapa kwa uanachama zaidi ya mmoja, na hatujui ni upi unaohusika. Hakuna kilichobadilishwa; "
        "tafadhali tuombe turekebishe."
    ),
    "amount.currency": "Hatuijui {currency}. Unaweza kutumia {known}.",
    "amount.decimals": "{currency} ina tarakimu zisizozidi {decimals} baada ya nukta.",
    "amount.digits": "Nambari hiyo ni ndefu mno; tafadhali isizidi tarakimu {limit}.",
    "amount.format": "Tafadhali andika kiasi kama 10 au 10.50 {currency}, bila mkato.",
    "amount.least": "Hicho ni kidogo mno; kiasi cha chini ni {least}.",
    "amount.most": "Hicho ni kikubwa mno; kiasi cha juu ni {most}.",
    "amount.zero": "Kiasi lazima kizidi 0.",
    "back.earlier": "Jibu lako la awali: {answer}",
    "back.made": "Yaliyotangulia yameshatumwa, kwa hiyo haiwezekani kuyarudia.",
    "back.nowhere": "Hili ni swali la kwanza; hakuna la kurudia.",
    "call.again": "Hilo halirudiwi lenyewe; tafadhali sema ukilitaka tena.",
    "call.busy": "Haiwezekani kwa sasa. Tafadhali jaribu tena baada ya dakika moja.",
    "call.done": "Imefanyika.",
    "call.failed": "Haikufaulu; tafadhali jaribu tena.",
    "call.too_much": "Ni mengi mno kuonyeshwa hapa.",
    "call.unavailable": "Hatuwezi kulijua hilo kwa sasa; tafadhali jaribu tena baadaye.",
    "call.unsure": "Hatukuweza kujua kama imefanyika. Tafadhali hakikisha kabla ya kujaribu tena.",
    "call.waiting": "Bado tunashughulikia jibu lako la mwisho; tutakujulisha.",
    "cancel.done": "Imeghairiwa; hakuna kilichotumwa.",
    "cancel.made": "Imeghairiwa; yaliyofanyika kabla yanabaki.",
    "carry_on.ask": "Hujamaliza: {flow}. Ungependa kuendelea?",
    "carry_on.dropped": "Tumeishia hapo; hakuna kingine kilichotumwa.",
    "carry_on.offered.help": "Sema ndiyo kuendelea ulipokuwa, hapana kuacha.",
    "carry_on.offered.no": "Hapana, acha",
    "carry_on.offered.yes": "Ndiyo, endelea",
    "carry_on.title": "kuendelea",
    "choice.closed": "Swali hilo limefungwa.",
    "choice.late": "Jibu hilo limefika swali likiwa limekwisha; hapa ndipo ulipo sasa.",
    "choice.menu": "Menyu",
    "choice.none": "Hakuna cha kuchagua hapa kwa sasa. Sema menyu kuona mengine unayoweza kufanya.",
    "choice.several": "Hilo linaweza kumaanisha zaidi ya moja kati ya haya; tafadhali chagua moja.",
    "choice.typed": "Jibu langu: {answer}",
    "choice.unknown": "Hilo si mojawapo ya machaguo.",
    "command.back": "Rudi kwenye swali lililotangulia",
    "command.cancel": "Ghairi kilicho wazi",
    "command.help": "Onyesha unachoweza kufanya hapa",
    "command.menu": "Nenda kwenye menyu",
    "consent.given": "Utapokea tena ujumbe wetu. Jibu STOP ili usipokee.",
    "consent.taken_back": "Hutapokea tena ujumbe kutoka kwetu. Jibu START ili kuupokea tena.",
    "content.audio": "ujumbe wa sauti",
    "content.contact": "mwasiliani mmoja",
    "content.contacts": "mwasiliani mmoja au zaidi",
    "content.document": "hati",
    "content.either": "Tafadhali tuma mojawapo ya hivi:\n{wanted}",
    "content.form": "fomu iliyojazwa",
    "content.image": "picha",
    "content.large": "Faili hiyo ni kubwa mno; kikomo ni {limit}.",
    "content.location": "mahali ulipo",
    "content.many": "Hizo ni nyingi mno kwetu; tafadhali tuma zisizozidi {limit}.",
    "content.order": "agizo kutoka kwenye katalogi yetu",
    "content.sticker": "stika",
    "content.text": "jibu la maandishi",
    "content.type": "Hatuwezi kufungua faili ya aina hiyo hapa. Tafadhali tuma {wanted}.",
    "content.video": "video",
    "content.wanted": "Tafadhali tuma {wanted}.",
    "date.ambiguous": "Hiyo inaweza kuwa {first} au {second}. Tafadhali andika tarehe kwa jina la mwezi.",
    "date.early": "Hiyo ni mapema mno; siku ya kwanza inayowezekana ni {earliest}.",
    "date.format": "Tafadhali andika tarehe kama 22 Novemba 2026 au 2026-11-22.",
    "date.late": "Hiyo ni kuchelewa mno; siku ya mwisho inayowezekana ni {latest}.",
    "date.unknown": "Hakuna siku kama hiyo.",
    "date.weekday": "{date} si siku hiyo ya wiki.",
    "datetime.format": "Tafadhali andika tarehe na saa kama 22 Novemba 2026, 15:30.",
    "failure": ("Kuna hitilafu upande wetu; hakuna kilichobadilishwa. Tafadhali jaribu tena. Kumbukumbu: {reference}"),
    "failure.done": (
        "Imefanyika, lakini kuna hitilafu upande wetu na bado hatuwezi kukuonyesha matokeo. Huhitaji kutuma tena; "
        "sema menyu kuendelea na jambo jingine. Kumbukumbu: {reference}"
    ),
    "failure.timed_out": (
        "Imechukua muda mrefu mno upande wetu, na hatukuweza kumaliza. Tafadhali tuma tena baadaye; itahesabiwa mara "
        "moja. Kumbukumbu: {reference}"
    ),
    "failure.unsure": (
        "Kuna hitilafu upande wetu, na hatukuweza kujua kama ombi lako la mwisho limefanyika. Tafadhali hakikisha "
        "kabla ya kulituma tena. Kumbukumbu: {reference}"
    ),
    "flow.dropped": "Ulichokuwa umeanza hakitolewi tena hapa, kwa hiyo kimekwisha.",
    "flow.next": "Kuna jambo jingine kwako sasa: {flow}.",
    "flow.restarted": "Tumebadilisha utaratibu huu ({flow}); tafadhali anza upya.",
    "handed.back": "Umerudi kwa roboti.",
    "handed.full": ("Ujumbe huo bado haujamfikia mtu; tafadhali utume tena baadaye, au sema {word} kurudi kwa roboti."),
    "handed.nobody": "Hakuna mtu anayepatikana kwa sasa. Umerudi kwa roboti.",
    "handed.over": "Mtu atakujibu hapa. Sema {word} kurudi kwa roboti.",
    "handed.said": "{words}",
    "handle.format": ("Kitambulisho kina herufi, tarakimu na _ pekee, zisizozidi {limit}; kwa mfano shop_one."),
    "help.words": "Unaweza kusema wakati wowote: menyu, rudi, ghairi, msaada.",
    "help.words.sms": "Unaweza kusema wakati wowote: menyu, rudi, ghairi, ?",
    "limits.menu": "Inaonekana hili halifaulu. Sema menyu kutoka na kuona mengine unayoweza kufanya.",
    "link.open": "Fungua",
    "member.login": "Tafadhali ingia kwanza.",
    "menu.left": "Tumeacha kilichokuwa wazi.",
    "merge.too_much": "Hatukuweza kuhifadhi yote uliyokuwa umeanza, kwa hiyo baadhi yamekwisha.",
    "message.reused": "Ujumbe huo ulishajibiwa.",
    "message.too_late": "Ujumbe huo umechelewa mno kufika na haukupokelewa; tafadhali utume tena.",
    "message.too_long": "Ni ndefu mno; tafadhali isizidi herufi {limit}.",
    "message.too_much": "Hayo ni mengi mno kwetu; tafadhali tuma machache, au sema menyu kutoka.",
    "message.unsupported": "Tunaweza kusoma maandishi tu hapa: tafadhali andika, au gusa kitufe.",
    "name.format": "Jina lina herufi, nafasi, vistari, vibainishi na nukta pekee.",
    "name.length": "Tafadhali andika herufi kati ya {shortest} na {longest}.",
    "number.digits": "Nambari hiyo ni ndefu mno; tafadhali isizidi tarakimu {limit}.",
    "number.format": "Tafadhali andika nambari nzima, kama 12.",
    "number.least": "Hiyo ni ndogo mno; nambari ya chini ni {least}.",
    "number.most": "Hiyo ni kubwa mno; nambari ya juu ni {most}.",
    "pages.next": "Mbele",
    "pages.prev": "Iliyotangulia",
    "phone.format": "Tafadhali andika nambari pamoja na msimbo wa nchi, kama +263 77 123 4567.",
    "phone.unknown": "Hakuna nambari ya simu kama hiyo.",
    "rate.address": (
        "Unatuma ujumbe haraka kuliko tunavyoweza kupokea; wa mwisho haukupokelewa. Tafadhali subiri dakika moja kisha "
        "uutume tena."
    ),
    "recovered": ("Ilibidi tupange upya kumbukumbu zetu za mazungumzo haya; tuanze tena hapa. Kumbukumbu: {reference}"),
    "recovered.put_back": "Tumeyarudisha mazungumzo haya kwenye swali la awali; tuendelee kutoka hapa.",
    "recovered.unsure": (
        "Ilibidi tupange upya kumbukumbu zetu za mazungumzo haya, na hatukuweza kujua kama ombi lako la mwisho "
        "limefanyika. Tafadhali hakikisha kabla ya kujaribu tena. Kumbukumbu: {reference}"
    ),
    "request.contact": "Tuma nambari yangu",
    "request.location": "Tuma mahali nilipo",
    "session.ended": "Kipindi chako kimekwisha baada ya kimya cha muda.",
    "session.ending": Plural(
        "seconds",
        one="Kipindi chako kitakwisha baada ya sekunde {seconds}; ambacho hujathibitisha ({flow}) hakitatumwa.",
        other="Kipindi chako kitakwisha baada ya sekunde {seconds}; ambacho hujathibitisha ({flow}) hakitatumwa.",
    ),
    "session.kept": "Hili linabaki wazi: {flow}.",
    "session.limit": "Kipindi chako kimekwisha, kwa kuwa kilikuwa wazi kwa muda mrefu mno.",
    "session.lost": "Kipindi chako kimekwisha. Ambacho hukuwa umethibitisha hakikutumwa.",
    "session.unsent": "Ambacho hukuwa umethibitisha ({flow}) hakikutumwa.",
    "store.contended": (
        "Mambo mengi yamefika kwa wakati mmoja; hilo halikupokelewa. Tafadhali litume tena. Kumbukumbu: {reference}"
    ),
    "store.foreign": (
        "Mazungumzo yako ya mwisho hapa ni ya sehemu ya huduma yetu ambayo haifanyi kazi kwa sasa, kwa hiyo "
        "hatukuweza kupokea ujumbe huo. Hakuna kilichobadilishwa. Tafadhali jaribu tena baadaye. "
        "Kumbukumbu: {reference}"
    ),
    "store.newer": (
        "Huduma yetu inasasishwa kwa sasa; hakuna kilichohifadhiwa. Tafadhali tuma tena baada ya muda mfupi. "
        "Kumbukumbu: {reference}"
    ),
    "store.unavailable": (
        "Hatukuweza kuhifadhi hilo; hakuna kilichobadilishwa. Tafadhali tuma tena baadaye. Kumbukumbu: {reference}"
    ),
    "store.unknown": (
        "Hatujui kama limehifadhiwa. Tafadhali tuma tena; litahesabiwa mara moja. Kumbukumbu: {reference}"
    ),
    "text.empty": "Tafadhali andika kitu.",
    "text.format": "Tafadhali usitumie herufi zisizoonekana.",
    "text.length": "Ni ndefu mno; tafadhali isizidi herufi {limit}.",
    "time.early": "Hiyo ni mapema mno; mapema zaidi inayowezekana: {earliest}.",
    "time.format": "Tafadhali andika saa kama 15:30.",
    "time.late": "Hiyo ni kuchelewa mno; mwisho unaowezekana: {latest}.",
    "time.skipped": "Saa hiyo haipo siku hiyo, kwa sababu saa husogezwa mbele. Tafadhali andika nyingine.",
    "time.twice": (
        "Saa hiyo inatokea mara mbili siku hiyo, kwa sababu saa hurudishwa nyuma. Tafadhali andika {first} au {second}."
    ),
    "time.unknown": "Hakuna saa kama hiyo.",
}
"""The texts by key."""

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "menu": ("menyu", "mwanzo", "hujambo", "habari"),
    "cancel": ("ghairi", "batilisha"),
    "back": ("rudi", "rudi nyuma"),
    "help": ("msaada",),
    "yes": ("ndiyo", "ndio", "sawa", "thibitisha"),
    "no": ("hapana",),
    "stop": ("sitisha",),
}
"""The global words by command."""
