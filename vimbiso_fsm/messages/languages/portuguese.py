"""The framework's own texts in Portuguese, in words that are used on both sides of the Atlantic and in Africa."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm.messages.templates import Plural, Templates

TEXTS: Final[Templates] = {
    "address.several": (
        "Aqui conhecemos mais de uma conta de membro sua, e não sabemos qual delas é a certa. Nada foi alterado; por "
        "favor, peça-nos para corrigir isso."
    ),
    "amount.currency": "Não conhecemos {currency}. Pode usar {known}.",
    "amount.decimals": "{currency} tem no máximo {decimals} algarismos depois do ponto.",
    "amount.digits": "Esse número é demasiado longo; por favor, use no máximo {limit} algarismos.",
    "amount.format": "Por favor, escreva um valor como 10 ou 10.50 {currency}, com ponto e sem vírgulas.",
    "amount.least": "É muito pouco; o valor mínimo é {least}.",
    "amount.most": "É demasiado; o valor máximo é {most}.",
    "amount.zero": "O valor deve ser maior que 0.",
    "back.earlier": "A sua resposta anterior: {answer}",
    "back.made": "O que veio antes já foi enviado; não é possível voltar atrás.",
    "back.nowhere": "Esta é a primeira pergunta; não há nada antes dela.",
    "call.again": "Isso não se repete sozinho; por favor, diga se o quer mais uma vez.",
    "call.busy": "Não é possível neste momento. Por favor, tente de novo dentro de um minuto.",
    "call.done": "Está feito.",
    "call.failed": "Não funcionou; por favor, tente de novo.",
    "call.too_much": "É demasiado para mostrar tudo aqui.",
    "call.unavailable": "Não conseguimos saber isso neste momento; por favor, tente de novo mais tarde.",
    "call.unsure": "Não conseguimos saber se isso foi feito. Por favor, verifique antes de tentar de novo.",
    "call.waiting": "Ainda estamos a tratar da sua última resposta; daremos notícias.",
    "cancel.done": "Cancelado; nada foi enviado.",
    "cancel.made": "Cancelado; o que foi feito antes continua feito.",
    "carry_on.ask": "Não terminou: {flow}. Quer continuar?",
    "carry_on.dropped": "Ficamos por aqui; nada mais foi enviado.",
    "carry_on.offered.help": "Diga sim para continuar onde estava, não para deixar.",
    "carry_on.offered.no": "Não, deixar",
    "carry_on.offered.yes": "Sim, continuar",
    "carry_on.title": "continuar",
    "choice.closed": "Essa pergunta está encerrada.",
    "choice.late": "Essa resposta chegou depois do fim da pergunta; é aqui que está agora.",
    "choice.menu": "Menu",
    "choice.none": "Não há nada para escolher aqui neste momento. Diga menu para ver o que mais pode fazer.",
    "choice.several": "Isso pode ser mais de uma destas opções; por favor, escolha uma.",
    "choice.typed": "A minha resposta: {answer}",
    "choice.unknown": "Essa não é uma das opções.",
    "command.back": "Voltar à pergunta anterior",
    "command.cancel": "Cancelar o que está aberto",
    "command.help": "Mostrar o que pode fazer aqui",
    "command.menu": "Ir para o menu",
    "consent.given": "Volta a receber as nossas mensagens. Responda STOP para não receber mais.",
    "consent.taken_back": "Não recebe mais mensagens nossas. Responda START para as voltar a receber.",
    "content.audio": "uma mensagem de voz",
    "content.contact": "um contacto",
    "content.contacts": "um ou mais contactos",
    "content.document": "um documento",
    "content.either": "Por favor, envie um destes:\n{wanted}",
    "content.form": "o formulário preenchido",
    "content.image": "uma foto",
    "content.large": "Esse ficheiro é demasiado grande; o limite é {limit}.",
    "content.location": "uma localização",
    "content.many": "É mais do que podemos receber; por favor, envie no máximo {limit}.",
    "content.order": "uma encomenda do nosso catálogo",
    "content.sticker": "um autocolante",
    "content.text": "uma resposta escrita",
    "content.type": "Não podemos abrir esse tipo de ficheiro aqui. Por favor, envie {wanted}.",
    "content.video": "um vídeo",
    "content.wanted": "Por favor, envie {wanted}.",
    "date.ambiguous": "Isso pode ser {first} ou {second}. Por favor, escreva a data com o nome do mês.",
    "date.early": "É demasiado cedo; o primeiro dia possível é {earliest}.",
    "date.format": "Por favor, escreva uma data como 22 de novembro de 2026 ou 2026-11-22.",
    "date.late": "É demasiado tarde; o último dia possível é {latest}.",
    "date.unknown": "Esse dia não existe.",
    "date.weekday": "{date} não é esse dia da semana.",
    "datetime.format": "Por favor, escreva uma data e uma hora como 22 de novembro de 2026, 15:30.",
    "failure": "Algo correu mal do nosso lado; nada foi alterado. Por favor, tente de novo. Referência: {reference}",
    "failure.done": (
        "Está feito, mas algo correu mal do nosso lado e ainda não podemos mostrar o resultado. Não precisa de enviar "
        "de novo; diga menu para continuar com outra coisa. Referência: {reference}"
    ),
    "failure.timed_out": (
        "Demorou demasiado do nosso lado, e não conseguimos terminar. Por favor, envie de novo mais tarde; conta uma "
        "só vez. Referência: {reference}"
    ),
    "failure.unsure": (
        "Algo correu mal do nosso lado, e não conseguimos saber se o seu último pedido foi feito. Por favor, verifique "
        "antes de o enviar de novo. Referência: {reference}"
    ),
    "flow.dropped": "O que tinha começado já não existe aqui, por isso terminou.",
    "flow.next": "Agora há outra coisa para si: {flow}.",
    "flow.restarted": "Mudámos a forma como isto funciona ({flow}); por favor, comece de novo.",
    "handed.back": "Está de novo com o robô.",
    "handed.full": (
        "A mensagem ainda não chegou a uma pessoa; por favor, envie-a de novo mais tarde, ou diga {word} para voltar "
        "ao robô."
    ),
    "handed.nobody": "Não há ninguém disponível neste momento. Está de novo com o robô.",
    "handed.over": "Uma pessoa vai responder-lhe aqui. Diga {word} para voltar ao robô.",
    "handed.said": "{words}",
    "handle.format": (
        "Um identificador só tem letras sem acento, algarismos e _, no máximo {limit}; por exemplo shop_one."
    ),
    "help.words": "Pode sempre dizer: menu, voltar, cancelar, ajuda.",
    "help.words.sms": "Pode sempre dizer: menu, voltar, sair, ?",
    "limits.menu": "Parece que isto não funciona. Diga menu para sair e ver o que mais pode fazer.",
    "link.open": "Abrir",
    "member.login": "Por favor, inicie sessão primeiro.",
    "menu.left": "Deixámos o que estava aberto.",
    "merge.too_much": "Não conseguimos guardar tudo o que tinha começado, por isso uma parte terminou.",
    "message.reused": "Essa mensagem já teve resposta.",
    "message.too_late": "Essa mensagem chegou demasiado tarde e não foi aceite; por favor, envie-a de novo.",
    "message.too_long": "É demasiado longo; por favor, use no máximo {limit} caracteres.",
    "message.too_much": "É demasiado para nós; por favor, envie menos, ou diga menu para sair.",
    "message.unsupported": "Aqui só lemos texto: por favor, escreva ou toque num botão.",
    "name.format": "Um nome só tem letras, espaços, hífenes, apóstrofos e pontos.",
    "name.length": "Por favor, escreva entre {shortest} e {longest} caracteres.",
    "number.digits": "Esse número é demasiado longo; por favor, use no máximo {limit} algarismos.",
    "number.format": "Por favor, escreva um número inteiro, como 12.",
    "number.least": "É muito pouco; o menor número é {least}.",
    "number.most": "É demasiado; o maior número é {most}.",
    "pages.next": "Seguinte",
    "pages.prev": "Anterior",
    "phone.format": "Por favor, escreva o número com o código do país, como +263 77 123 4567.",
    "phone.unknown": "Esse número de telefone não existe.",
    "rate.address": (
        "Envia mensagens mais depressa do que as podemos receber; a última não foi aceite. Por favor, espere um minuto "
        "e envie-a de novo."
    ),
    "recovered": (
        "Tivemos de arrumar as nossas notas sobre esta conversa; vamos recomeçar a partir daqui. "
        "Referência: {reference}"
    ),
    "recovered.put_back": "Voltámos a pôr esta conversa numa pergunta anterior; vamos continuar a partir daqui.",
    "recovered.unsure": (
        "Tivemos de arrumar as nossas notas sobre esta conversa, e não conseguimos saber se o seu último pedido foi "
        "feito. Por favor, verifique antes de tentar de novo. Referência: {reference}"
    ),
    "request.contact": "Enviar o meu número",
    "request.location": "Enviar localização",
    "session.ended": "A sua sessão terminou depois de algum tempo de silêncio.",
    "session.ending": Plural(
        "seconds",
        one="A sua sessão termina em {seconds} segundo; o que não confirmou ({flow}) não será enviado.",
        many="A sua sessão termina em {seconds} de segundos; o que não confirmou ({flow}) não será enviado.",
        other="A sua sessão termina em {seconds} segundos; o que não confirmou ({flow}) não será enviado.",
    ),
    "session.kept": "Isto continua aberto: {flow}.",
    "session.limit": "A sua sessão terminou, porque estava aberta há muito tempo.",
    "session.lost": "A sua sessão terminou. O que não tinha confirmado não foi enviado.",
    "session.unsent": "O que não tinha confirmado ({flow}) não foi enviado.",
    "store.contended": (
        "Muitas coisas chegaram ao mesmo tempo; essa não foi aceite. Por favor, envie-a de novo. "
        "Referência: {reference}"
    ),
    "store.foreign": (
        "A sua última conversa aqui pertence a uma parte do nosso serviço que não está a funcionar neste momento, por "
        "isso não pudemos aceitar essa mensagem. Nada foi alterado. Por favor, tente de novo mais tarde. "
        "Referência: {reference}"
    ),
    "store.newer": (
        "O nosso serviço está a ser atualizado; nada foi guardado. Por favor, envie isso de novo dentro de momentos. "
        "Referência: {reference}"
    ),
    "store.unavailable": (
        "Não conseguimos guardar isso; nada foi alterado. Por favor, envie de novo mais tarde. Referência: {reference}"
    ),
    "store.unknown": (
        "Não sabemos se isso foi guardado. Por favor, envie de novo; conta uma só vez. Referência: {reference}"
    ),
    "text.empty": "Por favor, escreva alguma coisa.",
    "text.format": "Por favor, não use caracteres invisíveis.",
    "text.length": "É demasiado longo; por favor, use no máximo {limit} caracteres.",
    "time.early": "É demasiado cedo; o mais cedo possível: {earliest}.",
    "time.format": "Por favor, escreva uma hora como 15:30 ou 15h30.",
    "time.late": "É demasiado tarde; o mais tarde possível: {latest}.",
    "time.skipped": "Essa hora não existe nesse dia, porque os relógios avançam. Por favor, escreva outra.",
    "time.twice": (
        "Essa hora repete-se nesse dia, porque os relógios atrasam. Por favor, escreva {first} ou {second}."
    ),
    "time.unknown": "Essa hora não existe.",
}
"""The texts by key."""

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "menu": ("menu", "início", "olá", "ola", "oi", "bom dia", "boa tarde", "boa noite"),
    "cancel": ("cancelar", "sair"),
    "back": ("voltar",),
    "help": ("ajuda",),
    "yes": ("sim", "confirmar"),
    "no": ("não", "nao"),
    "stop": ("parar", "descadastrar"),
}
"""The global words by command."""
