"""Packed bodies: what is stored of a stranger takes a third of its bytes.

A body is a JSON object, which begins with a brace, or begins with another mark of its own. A packed body begins with
`PACKED` and is compressed with words that most documents, records and audit entries have.
"""

from __future__ import annotations

import zlib
from typing import Final

from vimbiso_fsm.store.ciphertext import FRAME
from vimbiso_fsm.store.retention import MAX_DOCUMENT

PACKED: Final = b"\x01"
"""The first byte of a packed body."""
_WORDS: Final = (
    b'"outcome":"firstname":"lastname":"sms","telegram","buttons":[["body":"refused","error","refusal","session",'
    b'"timer","codes":["before":{"after":{"changed":["detail":{"_effects":["page":"due":"_warn_at":"_channels":[["'
    b'"member_id":"guest-","channel":{"type":"whatsapp","identifier":"263","metadata":{}},"_last_updated":"2026-0'
    b'+00:00","_version":1,"_guest":true,"jwt_token":null,"authenticated":false,"profile":{},"current_account":{},'
    b'"_suspended":[{"flow_data":{"id":"dashboard:","step":"","data":{"flow_type":"","channel":{"type":"whatsapp",'
    b'"identifier":""},"_validation_context":{"attempts":},"_validation_state":{"step":"","ok":false,"code":""}}},'
    b'"fingerprint":"","entered":1,"since":"2026-","waits":"entry"}],"waits":"sub","_call":{"key":"","service":"",'
    b'"method":"login","arguments":{},"root":"","leased_until":"2026-"},"_deadline":"2026-","_session_since":"2026-",'
    b'"flow_data":{"id":"","step":"","data":{},"_run":{"fingerprint":"","entered":2,"shown":[{"choice":"","title":""}],'
    b'"since":"2026-{"status":"advanced","replies":[],"flow_data":{},"run":{"version":1,"fingerprint":"","trail":[],'
    b'"made":false,"waits":""},"called":false}{"version":1,"at":"2026-","member_id":"guest-","channel":["whatsapp",""],'
    b'"kind":"transition","kind":"command","kind":"start","status":"advanced","token":"","root":"","source":"",'
    b'"dest":"","flow":"login","run":"login:","trigger":"answer","trigger":"done","trigger":"menu","steps":[{"flow":"",'
    b'"run":"","source":"","dest":"","trigger":"start","guards":[["","declined"]],"version":1,"fingerprint":""}],'
    b'"document":"","previous":""}'
)
"""Words of the bodies, the commonest last. Never change them: what is stored could not be read. Add another mark."""


def pack(body: bytes) -> bytes:
    """Return a body as it is stored of a stranger. Encrypted data stays as it is; it was packed before."""
    if body.startswith(FRAME):
        return body
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_DEFAULT_STRATEGY, _WORDS)
    return PACKED + packer.compress(body) + packer.flush()


def unpack(body: bytes) -> bytes:
    """Return the body that was packed. Any other body, and one that is damaged, is returned as it is."""
    if body[:1] != PACKED:
        return body
    unpacker = zlib.decompressobj(15, _WORDS)
    try:
        whole = unpacker.decompress(body[1:], MAX_DOCUMENT)
    except zlib.error:
        return body
    return whole if unpacker.eof and not unpacker.unused_data else body
