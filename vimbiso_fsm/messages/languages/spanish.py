"""The framework's own texts in Spanish."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm.messages.templates import Plural, Templates

TEXTS: Final[Templates] = {
    "address.several": (
        "Aquí conocemos más de una cuenta de miembro suya, y no sabemos cuál de ellas es la correcta. No se ha "
        "cambiado nada; por favor, pídanos que lo corrijamos."
    ),
    "amount.currency": "No conocemos {currency}. Puede usar {known}.",
    "amount.decimals": "{currency} tiene como máximo {decimals} cifras después del punto.",
    "amount.digits": "Ese número es demasiado largo; por favor, use como máximo {limit} cifras.",
    "amount.format": "Por favor, escriba un importe como 10 o 10.50 {currency}, con punto y sin comas.",
    "amount.least": "Es muy poco; el importe mínimo es {least}.",
    "amount.most": "Es demasiado; el importe máximo es {most}.",
    "amount.zero": "El importe debe ser mayor que 0.",
    "back.earlier": "Su respuesta anterior: {answer}",
    "back.made": "Lo anterior ya se envió; no es posible volver atrás.",
    "back.nowhere": "Esta es la primera pregunta; no hay nada antes de ella.",
    "call.again": "Eso no se repite solo; por favor, díganos si lo quiere una vez más.",
    "call.busy": "No es posible en este momento. Por favor, inténtelo de nuevo en un minuto.",
    "call.done": "Ya está hecho.",
    "call.failed": "No ha funcionado; por favor, inténtelo de nuevo.",
    "call.too_much": "Es demasiado para mostrarlo todo aquí.",
    "call.unavailable": "No podemos averiguarlo en este momento; por favor, inténtelo de nuevo más tarde.",
    "call.unsure": "No hemos podido averiguar si se hizo. Por favor, compruébelo antes de intentarlo de nuevo.",
    "call.waiting": "Seguimos trabajando en su última respuesta; le avisaremos.",
    "cancel.done": "Cancelado; no se ha enviado nada.",
    "cancel.made": "Cancelado; lo que se hizo antes queda hecho.",
    "carry_on.ask": "No ha terminado: {flow}. ¿Quiere continuar?",
    "carry_on.dropped": "Lo dejamos aquí; no se ha enviado nada más.",
    "carry_on.offered.help": "Diga sí para continuar donde estaba, no para dejarlo.",
    "carry_on.offered.no": "No, dejarlo",
    "carry_on.offered.yes": "Sí, continuar",
    "carry_on.title": "continuar",
    "choice.closed": "Esa pregunta está cerrada.",
    "choice.late": "Esa respuesta llegó cuando la pregunta ya había terminado; aquí es donde está ahora.",
    "choice.menu": "Menú",
    "choice.none": "No hay nada que elegir aquí en este momento. Diga menú para ver qué más puede hacer.",
    "choice.several": "Eso puede ser más de una de estas opciones; por favor, elija una.",
    "choice.typed": "Mi respuesta: {answer}",
    "choice.unknown": "Esa no es una de las opciones.",
    "command.back": "Volver a la pregunta anterior",
    "command.cancel": "Cancelar lo que está abierto",
    "command.help": "Mostrar lo que puede hacer aquí",
    "command.menu": "Ir al menú",
    "consent.given": "Vuelve a recibir nuestros mensajes. Responda STOP para no recibir más.",
    "consent.taken_back": "Ya no recibe mensajes nuestros. Responda START para volver a recibirlos.",
    "content.audio": "un mensaje de voz",
    "content.contact": "un contacto",
    "content.contacts": "uno o más contactos",
    "content.document": "un documento",
    "content.either": "Por favor, envíe uno de estos:\n{wanted}",
    "content.form": "el formulario rellenado",
    "content.image": "una foto",
    "content.large": "Ese archivo es demasiado grande; el límite es {limit}.",
    "content.location": "una ubicación",
    "content.many": "Es más de lo que podemos recibir; por favor, envíe como máximo {limit}.",
    "content.order": "un pedido de nuestro catálogo",
    "content.sticker": "una pegatina",
    "content.text": "una respuesta escrita",
    "content.type": "No podemos abrir ese tipo de archivo aquí. Por favor, envíe {wanted}.",
    "content.video": "un vídeo",
    "content.wanted": "Por favor, envíe {wanted}.",
    "date.ambiguous": "Eso puede ser el {first} o el {second}. Por favor, escriba la fecha con el nombre del mes.",
    "date.early": "Es demasiado pronto; el primer día posible es el {earliest}.",
    "date.format": "Por favor, escriba una fecha como 22 de noviembre de 2026 o 2026-11-22.",
    "date.late": "Es demasiado tarde; el último día posible es el {latest}.",
    "date.unknown": "Ese día no existe.",
    "date.weekday": "El {date} no es ese día de la semana.",
    "datetime.format": "Por favor, escriba una fecha y una hora como 22 de noviembre de 2026, 15:30.",
    "failure": (
        "Algo ha fallado por nuestra parte; no se ha cambiado nada. Por favor, inténtelo de nuevo. "
        "Referencia: {reference}"
    ),
    "failure.done": (
        "Ya está hecho, pero algo ha fallado por nuestra parte y aún no podemos mostrarle el resultado. No hace falta "
        "que lo envíe de nuevo; diga menú para seguir con otra cosa. Referencia: {reference}"
    ),
    "failure.timed_out": (
        "Ha tardado demasiado por nuestra parte, y no hemos podido terminarlo. Por favor, envíelo de nuevo más tarde; "
        "cuenta una sola vez. Referencia: {reference}"
    ),
    "failure.unsure": (
        "Algo ha fallado por nuestra parte, y no hemos podido averiguar si su última petición se hizo. Por favor, "
        "compruébelo antes de enviarla de nuevo. Referencia: {reference}"
    ),
    "flow.dropped": "Lo que había empezado ya no se ofrece aquí, así que ha terminado.",
    "flow.next": "Ahora hay otra cosa para usted: {flow}.",
    "flow.restarted": "Hemos cambiado cómo funciona esto ({flow}); por favor, empiécelo de nuevo.",
    "handed.back": "Está de nuevo con el bot.",
    "handed.full": (
        "El mensaje todavía no ha llegado a una persona; por favor, envíelo de nuevo más tarde, o diga {word} para "
        "volver al bot."
    ),
    "handed.nobody": "No hay nadie disponible en este momento. Está de nuevo con el bot.",
    "handed.over": "Una persona le responderá aquí. Diga {word} para volver al bot.",
    "handed.said": "{words}",
    "handle.format": (
        "Un identificador solo tiene letras sin acento, cifras y _, como máximo {limit}; por ejemplo shop_one."
    ),
    "help.words": "Siempre puede decir: menú, volver, cancelar, ayuda.",
    "help.words.sms": "Siempre puede decir: menú, volver, salir, ?",
    "limits.menu": "Parece que esto no funciona. Diga menú para salir y ver qué más puede hacer.",
    "link.open": "Abrir",
    "member.login": "Por favor, inicie sesión primero.",
    "menu.left": "Hemos dejado lo que estaba abierto.",
    "merge.too_much": "No hemos podido guardar todo lo que había empezado, así que una parte ha terminado.",
    "message.reused": "Ese mensaje ya se respondió.",
    "message.too_late": "Ese mensaje llegó demasiado tarde y no se tuvo en cuenta; por favor, envíelo de nuevo.",
    "message.too_long": "Es demasiado largo; por favor, use como máximo {limit} caracteres.",
    "message.too_much": "Es demasiado para nosotros; por favor, envíe menos, o diga menú para salir.",
    "message.unsupported": "Aquí solo leemos texto: por favor, escriba o toque un botón.",
    "name.format": "Un nombre solo tiene letras, espacios, guiones, apóstrofos y puntos.",
    "name.length": "Por favor, escriba entre {shortest} y {longest} caracteres.",
    "number.digits": "Ese número es demasiado largo; por favor, use como máximo {limit} cifras.",
    "number.format": "Por favor, escriba un número entero, como 12.",
    "number.least": "Es muy poco; el número más pequeño es {least}.",
    "number.most": "Es demasiado; el número más grande es {most}.",
    "pages.next": "Siguiente",
    "pages.prev": "Anterior",
    "phone.format": "Por favor, escriba el número con el código del país, como +263 77 123 4567.",
    "phone.unknown": "Ese número de teléfono no existe.",
    "rate.address": (
        "Envía mensajes más rápido de lo que podemos recibirlos; el último no se tuvo en cuenta. Por favor, espere un "
        "minuto y envíelo de nuevo."
    ),
    "recovered": (
        "Hemos tenido que ordenar nuestras notas sobre esta conversación; empecemos de nuevo desde aquí. "
        "Referencia: {reference}"
    ),
    "recovered.put_back": "Hemos devuelto esta conversación a una pregunta anterior; sigamos desde aquí.",
    "recovered.unsure": (
        "Hemos tenido que ordenar nuestras notas sobre esta conversación, y no hemos podido averiguar si su última "
        "petición se hizo. Por favor, compruébelo antes de intentarlo de nuevo. Referencia: {reference}"
    ),
    "request.contact": "Enviar mi número",
    "request.location": "Enviar mi ubicación",
    "session.ended": "Su sesión ha terminado tras un rato de silencio.",
    "session.ending": Plural(
        "seconds",
        one="Su sesión termina en {seconds} segundo; lo que no ha confirmado ({flow}) no se enviará.",
        many="Su sesión termina en {seconds} de segundos; lo que no ha confirmado ({flow}) no se enviará.",
        other="Su sesión termina en {seconds} segundos; lo que no ha confirmado ({flow}) no se enviará.",
    ),
    "session.kept": "Esto sigue abierto: {flow}.",
    "session.limit": "Su sesión ha terminado, porque llevaba mucho tiempo abierta.",
    "session.lost": "Su sesión ha terminado. Lo que no había confirmado no se envió.",
    "session.unsent": "Lo que no había confirmado ({flow}) no se envió.",
    "store.contended": (
        "Han llegado muchas cosas a la vez; esa no se tuvo en cuenta. Por favor, envíela de nuevo. "
        "Referencia: {reference}"
    ),
    "store.foreign": (
        "Su última conversación aquí pertenece a una parte de nuestro servicio que no funciona en este momento, así "
        "que no pudimos aceptar ese mensaje. No se ha cambiado nada. Por favor, inténtelo de nuevo más tarde. "
        "Referencia: {reference}"
    ),
    "store.newer": (
        "Nuestro servicio se está actualizando; no se ha guardado nada. Por favor, envíelo de nuevo en un momento. "
        "Referencia: {reference}"
    ),
    "store.unavailable": (
        "No hemos podido guardarlo; no se ha cambiado nada. Por favor, envíelo de nuevo más tarde. "
        "Referencia: {reference}"
    ),
    "store.unknown": (
        "No sabemos si se ha guardado. Por favor, envíelo de nuevo; cuenta una sola vez. Referencia: {reference}"
    ),
    "text.empty": "Por favor, escriba algo.",
    "text.format": "Por favor, no use caracteres invisibles.",
    "text.length": "Es demasiado largo; por favor, use como máximo {limit} caracteres.",
    "time.early": "Es demasiado pronto; lo más pronto posible: {earliest}.",
    "time.format": "Por favor, escriba una hora como 15:30.",
    "time.late": "Es demasiado tarde; lo más tarde posible: {latest}.",
    "time.skipped": "Esa hora no existe ese día, porque los relojes se adelantan. Por favor, escriba otra.",
    "time.twice": ("Esa hora se repite ese día, porque los relojes se atrasan. Por favor, escriba {first} o {second}."),
    "time.unknown": "Esa hora no existe.",
}
"""The texts by key."""

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "menu": ("menú", "inicio", "buenos días", "buenas", "buenas tardes", "buenas noches"),
    "cancel": ("cancelar", "salir"),
    "back": ("volver", "atrás", "atras"),
    "help": ("ayuda",),
    "yes": ("sí", "si", "confirmar"),
    "no": ("no",),
    "stop": ("parar", "desuscribir"),
}
"""The global words by command."""
