"""Whether the options of a reply were written with the numbers that choose them."""

from __future__ import annotations

from vimbiso_fsm.messages.replies import Reply


def writes_numbers(channel_type: str, reply: Reply) -> bool:
    """Return whether a member on a channel of this type may have read a number beside each option of a reply.

    A channel with buttons of its own writes numbers only where it has no button. Every other channel may write them.
    """
    # The modules of channels are imported when they are needed: they take a tenth of the time of `import vimbiso_fsm`.
    match channel_type:
        case "telegram":
            from vimbiso_fsm.channels import telegram

            return telegram.writes_numbers(reply)
        case "whatsapp":
            from vimbiso_fsm.channels import whatsapp

            return whatsapp.writes_numbers(reply)
        case _:
            return True
