"""The test client of Starlette, also of its lowest declared version."""

from __future__ import annotations

import sys

import httpx2

try:
    from starlette.testclient import TestClient
except RuntimeError:  # an older one asks for httpx, whose names httpx2 has
    sys.modules["httpx"] = httpx2
    from starlette.testclient import TestClient

__all__ = ["TestClient"]
