"""Django: the webhook of a channel as a sync view."""

# pyright: reportMissingTypeStubs=false
# Django ships no types.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from vimbiso_fsm.adapters.webhook import Webhook
from vimbiso_fsm.channels import WebChannel
from vimbiso_fsm.runtime.flow_state import FlowStateManager

View: TypeAlias = Callable[..., HttpResponse]


def view(manager: FlowStateManager, channel: WebChannel, **settings: Any) -> View:
    """Make the view of a channel. Name it in the URLs: `path("whatsapp", made)`.

    The signature of the channel stands in the place of Django's CSRF token. `DATA_UPLOAD_MAX_MEMORY_SIZE` bounds the
    body; Meta's have up to 3 MB, and Django's own bound is 2.5 MB.

    Args:
        manager: The manager, with a sender for the channel.
        channel: The channel.
        **settings: Those of `Webhook`: `base`, `verify_token` and `own`.

    Raises:
        ValueError: A setting is missing; see `Webhook`.
    """
    webhook = Webhook(manager, channel, **settings)

    def answer(request: Any) -> HttpResponse:
        if request.method == "GET":
            status, words = webhook.challenge(request.GET.dict())
            return HttpResponse(words.encode(), status=status, content_type="text/plain")
        if request.method != "POST":
            return HttpResponse(status=405)
        try:
            raw = request.body
        except RequestDataTooBig:
            return HttpResponse(status=413)
        except UnreadablePostError:
            return HttpResponse(status=400)
        return HttpResponse(status=webhook.answer(request.headers, raw, request.get_full_path()))

    return cast("View", csrf_exempt(answer))
