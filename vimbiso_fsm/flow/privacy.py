"""TODO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PUBLIC: Final[Mapping[str, Any]] = {"vimbiso": "public"}
"""`attrs.field(metadata=PUBLIC)`: the field's value may stand in the audit. Any other field's may not."""


SECRET: Final[Mapping[str, Any]] = {"vimbiso": "secret"}
"""`attrs.field(metadata=SECRET)`: the field's value stands in the document only, in no turn record either."""
