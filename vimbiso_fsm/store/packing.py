"""Packed bodies: what is stored of a stranger takes a third of its bytes.

A body is a JSON object, which begins with a brace, or begins with another mark of its own. A packed body begins with
`PACKED`, or with the mark of an earlier release, and is compressed with words that most documents, records and audit
entries have.
"""

from __future__ import annotations

import zlib
from typing import Final

from vimbiso_fsm.store.ciphertext import FRAME
from vimbiso_fsm.store.retention import MAX_DOCUMENT

PACKED: Final = b"\x02"
"""The first byte of a packed body."""
_WORDS: Final = (
    b'"outcome":"firstname":"lastname":"sms","telegram","whatsapp","error","session","timer","page":"due":"_warn_at":'
    b'"_channels":[["_effects":["before":{"after":{"detail":{"recovery","service":"method":"login","arguments":{"phone":'
    b'"263"changed":["amount":"currency":"name":"help","back","yes","no","confirm","menu":"home":"answer","timeout",'
    b'"failed","unknown","known",{"status":"refused","replies":["choice.unknown",["number.format",{"buttons":[["!",'
    b'"onboard.welcome.help"]],"body":"welcome","menu"}],"called":true,"flow_data":{}}{"replies":[{"buttons":[["!'
    b'"_suspended":[{"flow_data":{"id":"dashboard:","step":"arriving","data":{"flow_type":"dashboard","channel":{"type":'
    b'"whatsapp","identifier":"263"},"_validation_context":{},"_validation_state":{}}},"fingerprint":"","entered":1,'
    b'"since":"2027-0+00:00","waits":"entry","stamp":""},{"flow_data":{"id":"login:","step":"onboarding","data":'
    b'{"flow_type":"login","channel":{"type":"waits":"sub","stamp":""}],"_call":{"key":"","service":"","root":"",'
    b'"leased_until":"2026-12-{"member_id":"guest-","channel":{"type":"telegram","identifier":"","metadata":{}},'
    b'"_last_updated":"2026-1+00:00","_version":1,"_guest":true,"jwt_token":null,"authenticated":false,"profile":{},'
    b'"current_account":{},"_deadline":"2026-1+00:00","_session_since":"2026-1+00:00","flow_data":{"id":"","step":"",'
    b'"data":{"flow_type":"","channel":{"type":"whatsapp","identifier":"263"},"_validation_context":{"attempts":1},'
    b'"_validation_state":{"step":"welcome","ok":false,"code":"choice.unknown"}}},"_run":{"fingerprint":"","entered":2,'
    b'"shown":[{"choice":"","title":"Yes"}],"since":"2026-1+00:00","stamp":""data":{"firstname":null,"lastname":null},'
    b'"codes":["choice.unknown"],"verdict":{"step":"","ok":false,"code":"choice.unknown"},{"v":2,"at":"2026-1Z",'
    b'"member":"guest-","channel":["whatsapp",""],"token":"","root":"","kind":"refusal","status":"refused","source":"'
    b'"kind":"command","run":"dashboard:","trigger":"menu","steps":[["","start","arriving"],["","start","",{"run":'
    b'"onboard:","flow":"","version":1,"fingerprint":""}]],["arriving","auto","asking",["known"],{"run":"login:","flow":'
    b'"login","version":1,"fingerprint":""}]],["asking","done","onboarding",[["known","declined"]]],"by":[1,""],'
    b'"document":"","previous":""}'
)
"""Words of the bodies, the commonest last. Never change them: what is stored could not be read. Add another mark."""
_EARLIER_WORDS: Final = (
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
"""Words of the bodies before audit entries and turn records had a short form."""
_MARKS: Final = {PACKED: _WORDS, b"\x01": _EARLIER_WORDS}
BEGINNINGS: Final = (b"{", *_MARKS)
"""The first bytes of bodies, packed or not."""


def pack(body: bytes) -> bytes:
    """Return a body as it is stored of a stranger. Encrypted data stays as it is; it was packed before."""
    return _packed(body, PACKED)


def all_packed(body: bytes) -> tuple[bytes, ...]:
    """Return a body in each form in which it may be stored of a stranger; one for each mark."""
    return tuple(_packed(body, mark) for mark in _MARKS)


def _packed(body: bytes, mark: bytes) -> bytes:
    if body.startswith(FRAME):
        return body
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_DEFAULT_STRATEGY, _MARKS[mark])
    return mark + packer.compress(body) + packer.flush()


def unpack(body: bytes) -> bytes:
    """Return the body that was packed. Any other body, and one that is damaged, is returned as it is."""
    words = _MARKS.get(body[:1])
    if words is None:
        return body
    unpacker = zlib.decompressobj(15, words)
    try:
        whole = unpacker.decompress(body[1:], MAX_DOCUMENT)
    except zlib.error:
        return body
    return whole if unpacker.eof and not unpacker.unused_data else body
