"""The settings of Django, which a process has once."""

from __future__ import annotations

import importlib
from typing import Any


def configure() -> None:
    """Give Django its settings, unless it has them."""
    settings: Any = importlib.import_module("django.conf").settings
    if not settings.configured:
        settings.configure(SECRET_KEY="s", ROOT_URLCONF=(), ALLOWED_HOSTS=["*"])
