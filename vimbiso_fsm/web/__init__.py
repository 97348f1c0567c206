"""Channels with their connections: the APIs of WhatsApp, Telegram and Twilio, and the clients that call them.

They need the extra `http`; `app`, which serves channels, needs the extra `serve`. Each API knows what is particular to
its vendor and does no I/O; a client does the requests of any of them:

    whatsapp = ChannelClient(CloudApi(token=…, number_id=…, app_secret=…))
    manager = FlowStateManager.redis(url, bot, senders={"whatsapp": whatsapp.send})
"""

from vimbiso_fsm.web.api import Api, Fetched
from vimbiso_fsm.web.client import AsyncChannelClient, ChannelClient
from vimbiso_fsm.web.cloud_api import CloudApi
from vimbiso_fsm.web.telegram_api import TelegramApi
from vimbiso_fsm.web.twilio_api import TwilioApi

__all__ = ["Api", "AsyncChannelClient", "ChannelClient", "CloudApi", "Fetched", "TelegramApi", "TwilioApi"]
