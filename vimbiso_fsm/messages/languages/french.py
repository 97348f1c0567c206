"""The framework's own texts in French."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm.messages.templates import Plural, Templates

TEXTS: Final[Templates] = {
    "address.several": (
        "Vous êtes connu ici sous plusieurs comptes de membre, et nous ne savons pas lequel est concerné. Rien n'a été "
        "modifié ; demandez-nous de corriger cela, s'il vous plaît."
    ),
    "amount.currency": "Nous ne connaissons pas {currency}. Vous pouvez utiliser {known}.",
    "amount.decimals": "{currency} a au plus {decimals} chiffres après le point.",
    "amount.digits": "Ce nombre est trop long ; {limit} chiffres au plus, s'il vous plaît.",
    "amount.format": "Veuillez écrire un montant comme 10 ou 10.50 {currency}, avec un point et sans virgule.",
    "amount.least": "C'est trop peu ; le montant minimal est {least}.",
    "amount.most": "C'est trop ; le montant maximal est {most}.",
    "amount.zero": "Le montant doit être supérieur à 0.",
    "back.earlier": "Votre réponse précédente : {answer}",
    "back.made": "Ce qui précède a déjà été envoyé ; on ne peut plus y revenir.",
    "back.nowhere": "C'est la première question ; il n'y a rien avant elle.",
    "call.again": "Cela n'est pas refait tout seul ; dites-le nous si vous le voulez encore une fois.",
    "call.busy": "Ce n'est pas possible pour le moment. Veuillez réessayer dans une minute.",
    "call.done": "C'est fait.",
    "call.failed": "Cela n'a pas marché ; veuillez réessayer.",
    "call.too_much": "Il y en a trop pour tout montrer ici.",
    "call.unavailable": "Nous ne pouvons pas le savoir pour le moment ; veuillez réessayer un peu plus tard.",
    "call.unsure": "Nous n'avons pas pu savoir si c'est fait. Veuillez vérifier avant de réessayer.",
    "call.waiting": "Nous traitons encore votre dernière réponse ; nous vous tiendrons au courant.",
    "cancel.done": "Annulé ; rien n'a été envoyé.",
    "cancel.made": "Annulé ; ce qui a été fait avant reste fait.",
    "carry_on.ask": "Vous n'avez pas terminé : {flow}. Voulez-vous continuer ?",
    "carry_on.dropped": "Nous en restons là ; rien d'autre n'a été envoyé.",
    "carry_on.offered.help": "Dites oui pour reprendre là où vous étiez, non pour laisser.",
    "carry_on.offered.no": "Non, laisser",
    "carry_on.offered.yes": "Oui, continuer",
    "carry_on.title": "reprendre",
    "choice.closed": "Cette question est close.",
    "choice.late": "Cette réponse est arrivée après la fin de sa question ; voici où vous en êtes.",
    "choice.menu": "Menu",
    "choice.none": "Il n'y a rien à choisir ici pour le moment. Dites menu pour voir les autres possibilités.",
    "choice.several": "Cela peut désigner plusieurs de ces choix ; veuillez en choisir un.",
    "choice.typed": "Ma réponse : {answer}",
    "choice.unknown": "Ce n'est pas un des choix proposés.",
    "command.back": "Revenir à la question précédente",
    "command.cancel": "Annuler ce qui est en cours",
    "command.help": "Voir ce que vous pouvez faire ici",
    "command.menu": "Aller au menu",
    "consent.given": "Vous recevez de nouveau nos messages. Répondez STOP pour ne plus en recevoir.",
    "consent.taken_back": "Vous ne recevez plus de messages de notre part. Répondez START pour en recevoir de nouveau.",
    "content.audio": "un message vocal",
    "content.contact": "un contact",
    "content.contacts": "un ou plusieurs contacts",
    "content.document": "un document",
    "content.either": "Veuillez envoyer l'un de ceux-ci :\n{wanted}",
    "content.form": "le formulaire rempli",
    "content.image": "une photo",
    "content.large": "Ce fichier est trop grand ; la limite est de {limit}.",
    "content.location": "une position",
    "content.many": "C'est plus que nous ne pouvons recevoir ; veuillez en envoyer {limit} au plus.",
    "content.order": "une commande de notre catalogue",
    "content.sticker": "un autocollant",
    "content.text": "une réponse écrite",
    "content.type": "Nous ne pouvons pas ouvrir ce type de fichier ici. Veuillez envoyer {wanted}.",
    "content.video": "une vidéo",
    "content.wanted": "Veuillez envoyer {wanted}.",
    "date.ambiguous": (
        "Cela peut être le {first} ou le {second}. Veuillez écrire la date avec le nom du mois, s'il vous plaît."
    ),
    "date.early": "C'est trop tôt ; le premier jour possible est le {earliest}.",
    "date.format": "Veuillez écrire une date comme 22 novembre 2026 ou 2026-11-22.",
    "date.late": "C'est trop tard ; le dernier jour possible est le {latest}.",
    "date.unknown": "Ce jour n'existe pas.",
    "date.weekday": "Le {date} n'est pas ce jour de la semaine.",
    "datetime.format": "Veuillez écrire une date et une heure comme 22 novembre 2026, 15:30.",
    "failure": (
        "Une erreur s'est produite de notre côté ; rien n'a été modifié. Veuillez réessayer. Référence : {reference}"
    ),
    "failure.done": (
        "C'est fait, mais une erreur s'est produite de notre côté et nous ne pouvons pas encore vous montrer le "
        "résultat. Inutile de renvoyer votre demande ; dites menu pour passer à autre chose. Référence : {reference}"
    ),
    "failure.timed_out": (
        "Cela a pris trop de temps de notre côté, et nous n'avons pas pu terminer. Veuillez le renvoyer plus tard ; "
        "cela ne compte qu'une fois. Référence : {reference}"
    ),
    "failure.unsure": (
        "Une erreur s'est produite de notre côté, et nous n'avons pas pu savoir si votre dernière demande a été faite. "
        "Veuillez vérifier avant de la renvoyer. Référence : {reference}"
    ),
    "flow.dropped": "Ce que vous aviez commencé n'est plus proposé ici ; c'est donc terminé.",
    "flow.next": "Il y a maintenant autre chose pour vous : {flow}.",
    "flow.restarted": "Nous avons changé le déroulement ({flow}) ; veuillez recommencer.",
    "handed.back": "Vous êtes de nouveau avec le robot.",
    "handed.full": (
        "Votre message n'est pas encore parvenu à une personne ; veuillez le renvoyer plus tard, ou dites {word} pour "
        "revenir au robot."
    ),
    "handed.nobody": "Personne n'est joignable pour le moment. Vous êtes de nouveau avec le robot.",
    "handed.over": "Une personne va vous répondre ici. Dites {word} pour revenir au robot.",
    "handed.said": "{words}",
    "handle.format": (
        "Un identifiant n'a que des lettres sans accent, des chiffres et _, au plus {limit} ; par exemple shop_one."
    ),
    "help.words": "Vous pouvez toujours dire : menu, retour, annuler, aide.",
    "help.words.sms": "Vous pouvez toujours dire : menu, retour, quitter, ?",
    "limits.menu": "Cela ne semble pas marcher. Dites menu pour en sortir et voir les autres possibilités.",
    "link.open": "Ouvrir",
    "member.login": "Veuillez d'abord vous connecter.",
    "menu.left": "Nous avons quitté ce qui était en cours.",
    "merge.too_much": "Nous n'avons pas pu garder tout ce que vous aviez commencé ; une partie est donc terminée.",
    "message.reused": "Ce message a déjà reçu une réponse.",
    "message.too_late": "Ce message est arrivé trop tard et n'a pas été pris en compte ; veuillez le renvoyer.",
    "message.too_long": "C'est trop long ; {limit} caractères au plus, s'il vous plaît.",
    "message.too_much": "C'est trop pour nous ; veuillez envoyer moins, ou dites menu pour en sortir.",
    "message.unsupported": "Nous ne lisons que du texte ici : veuillez écrire, ou toucher un bouton.",
    "name.format": "Un nom n'a que des lettres, des espaces, des traits d'union, des apostrophes et des points.",
    "name.length": "Veuillez écrire entre {shortest} et {longest} caractères.",
    "number.digits": "Ce nombre est trop long ; {limit} chiffres au plus, s'il vous plaît.",
    "number.format": "Veuillez écrire un nombre entier, comme 12.",
    "number.least": "C'est trop peu ; le plus petit nombre est {least}.",
    "number.most": "C'est trop ; le plus grand nombre est {most}.",
    "pages.next": "Suivant",
    "pages.prev": "Page précédente",
    "phone.format": "Veuillez écrire le numéro avec l'indicatif du pays, comme +263 77 123 4567.",
    "phone.unknown": "Ce numéro de téléphone n'existe pas.",
    "rate.address": (
        "Vous envoyez des messages plus vite que nous ne pouvons les recevoir ; le dernier n'a pas été pris en compte. "
        "Veuillez attendre une minute et le renvoyer."
    ),
    "recovered": (
        "Nous avons dû remettre en ordre nos notes sur cette conversation ; reprenons à partir d'ici. "
        "Référence : {reference}"
    ),
    "recovered.put_back": "Nous avons ramené cette conversation à une question précédente ; reprenons à partir d'ici.",
    "recovered.unsure": (
        "Nous avons dû remettre en ordre nos notes sur cette conversation, et n'avons pas pu savoir si votre dernière "
        "demande a été faite. Veuillez vérifier avant de réessayer. Référence : {reference}"
    ),
    "request.contact": "Envoyer mon numéro",
    "request.location": "Envoyer ma position",
    "session.ended": "Votre session s'est terminée après un moment de silence.",
    "session.ending": Plural(
        "seconds",
        one=(
            "Votre session se termine dans {seconds} seconde ; ce que vous n'avez pas confirmé ({flow}) ne sera pas "
            "envoyé."
        ),
        many=(
            "Votre session se termine dans {seconds} de secondes ; ce que vous n'avez pas confirmé ({flow}) ne sera "
            "pas envoyé."
        ),
        other=(
            "Votre session se termine dans {seconds} secondes ; ce que vous n'avez pas confirmé ({flow}) ne sera pas "
            "envoyé."
        ),
    ),
    "session.kept": "Ceci reste ouvert : {flow}.",
    "session.limit": "Votre session s'est terminée, car elle était ouverte depuis très longtemps.",
    "session.lost": "Votre session s'est terminée. Ce que vous n'aviez pas confirmé n'a pas été envoyé.",
    "session.unsent": "Ce que vous n'aviez pas confirmé ({flow}) n'a pas été envoyé.",
    "store.contended": (
        "Plusieurs choses sont arrivées en même temps ; celle-ci n'a pas été prise en compte. Veuillez la renvoyer. "
        "Référence : {reference}"
    ),
    "store.foreign": (
        "Votre dernière conversation ici relève d'une partie de notre service qui ne fonctionne pas en ce moment ; "
        "nous n'avons donc pas pu prendre ce message. Rien n'a été modifié. Veuillez réessayer plus tard. "
        "Référence : {reference}"
    ),
    "store.newer": (
        "Notre service est en cours de mise à jour ; rien n'a été enregistré. Veuillez renvoyer cela dans un instant. "
        "Référence : {reference}"
    ),
    "store.unavailable": (
        "Nous n'avons pas pu enregistrer cela ; rien n'a été modifié. Veuillez le renvoyer un peu plus tard. "
        "Référence : {reference}"
    ),
    "store.unknown": (
        "Nous ne savons pas si cela a été enregistré. Veuillez le renvoyer ; cela ne compte qu'une fois. "
        "Référence : {reference}"
    ),
    "text.empty": "Veuillez écrire quelque chose.",
    "text.format": "Veuillez ne pas utiliser de caractères invisibles.",
    "text.length": "C'est trop long ; {limit} caractères au plus, s'il vous plaît.",
    "time.early": "C'est trop tôt ; au plus tôt : {earliest}.",
    "time.format": "Veuillez écrire une heure comme 15:30 ou 15h30.",
    "time.late": "C'est trop tard ; au plus tard : {latest}.",
    "time.skipped": "Cette heure n'existe pas ce jour-là, car on avance les horloges. Veuillez en écrire une autre.",
    "time.twice": (
        "Cette heure revient deux fois ce jour-là, car on recule les horloges. Veuillez écrire {first} ou {second}."
    ),
    "time.unknown": "Cette heure n'existe pas.",
}
"""The texts by key."""

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "menu": ("menu", "accueil", "bonsoir"),
    "cancel": ("annuler", "quitter"),
    "back": ("retour", "précédent", "precedent"),
    "help": ("aide",),
    "yes": ("oui", "d'accord", "confirmer"),
    "no": ("non",),
    "stop": ("arrêt", "arret", "désabonner", "desabonner"),
}
"""The global words by command."""
