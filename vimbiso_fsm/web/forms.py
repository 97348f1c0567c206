"""Bodies of requests in the formats of forms."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def multipart(
    fields: Mapping[str, str], file_field: str, name: str, mime_type: str, content: bytes
) -> tuple[str, bytes]:
    """Return the content type and the body of a form with a file.

    Args:
        fields: The fields before the file.
        file_field: The field of the file.
        name: The name of the file.
        mime_type: Its type.
        content: Its bytes.
    """
    boundary = hashlib.sha256(content + b"boundary").hexdigest()  # no file holds its own hash
    parts = [_part(boundary, f'name="{_quoted(key)}"', value.encode()) for key, value in fields.items()]
    disposition = f'name="{_quoted(file_field)}"; filename="{_quoted(name or "file")}"'
    typed = f"{disposition}\r\nContent-Type: {_line(mime_type)}"
    body = b"".join((*parts, _part(boundary, typed, content), f"--{boundary}--\r\n".encode()))
    return f"multipart/form-data; boundary={boundary}", body


def _part(boundary: str, head: str, content: bytes) -> bytes:
    return f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"


def _quoted(text: str) -> str:
    """Return a name as browsers write it into a form."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _line(text: str) -> str:
    return "".join(each for each in text if "!" <= each <= "~") or "application/octet-stream"
