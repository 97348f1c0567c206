"""The keys of the store in one table, and the layouts of the store so far.

Keys. The number of a member's shard is the hash tag, so all keys of a member are in one slot. Ids are percent-encoded:
no id can close a tag or equal another member's key. `TABLE` names each kind of key; `Keys` makes the keys of one
namespace from it. Keys of the default namespace start with `vimbiso:`, those of the namespace `bank` with
`vimbiso/bank:`, so that each namespace has an ACL pattern of its own and none contains another.

Lifetimes are lower bounds, in the server's time. "each": list items expire one by one, by the timestamp in their frame
(rule 7 of `requests.py`).

Layouts. A store records the number of its layout with its owner. A change of the table, of a frame or of the fields of
a document adds a layout to `LAYOUTS`, with the digest of what it changes and what becomes of older stores.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote
from zlib import crc32

import attrs

from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store.requests import shard_of
from vimbiso_fsm.store.retention import SHARDS


@attrs.frozen(eq=False, repr=False)
class Kind(Value):
    """A kind of key.

    Attributes:
        pattern: The pattern of its keys.
        holds: The type of its values, and what they mean.
        life: How long it lives.
    """

    pattern: str
    holds: str
    life: str


_MEMBER: Final = "{space}:{{{shard}}}:member:{member}:"
_SHARD: Final = "{space}:{{{shard}}}:"
_CHANNEL: Final = _SHARD + "channel:"
_PACE: Final = "{space}:{{pace:{place}}}:"
TABLE: Final = {
    "owner": Kind("{space}:owner", "string: layout and owner of the store as JSON", "no end"),
    "shards": Kind("{space}:shards", "string: number of shards, written once", "no end"),
    "state": Kind(
        _MEMBER + "state",
        "hash; v, h, d, c: version, digest, document, check; p: version digest check and the document before; "
        "t: latest tokens, each twice with its instant; r0 to r15, q0 to q3: token root content =check body; "
        "m: numbers of records of turns and of other messages, instant of the end; s: ids of sent replies; "
        "i: digest=reply of the messages as which replies were sent",
        "DOCUMENT_LIFE",
    ),
    "prev": Kind(_MEMBER + "prev", "of layout 2, moved when it is met: the document before", "DOCUMENT_LIFE"),
    "turns": Kind(_MEMBER + "turns", "of layout 2, moved when it is met: records", "TOKEN_KEPT"),
    "audit": Kind(
        _MEMBER + "audit",
        "list, AUDIT_KEPT: version digest @instant body, in the short form",
        "AUDIT_LIFE each",
    ),
    "tokens": Kind(_MEMBER + "tokens", "sorted set: token by the instant of its use", "TOKEN_KEPT"),
    "due": Kind("{space}:{{{shard}}}:due", "sorted set: member id by earliest wake-up", "no end"),
    "aside": Kind(_MEMBER + "aside:{version}:{nanoseconds}:{name}", "a quarantined key", "QUARANTINE_LIFE"),
    "set_aside": Kind("{space}:{{{shard}}}:aside:{nanoseconds}:{place}", "a key of no member", "QUARANTINE_LIFE"),
    "asides": Kind(_MEMBER + "asides", "sorted set: quarantined keys by their expiry", "QUARANTINE_LIFE"),
    "keys": Kind(
        _MEMBER + "keys",
        "hash: keys of the member's own, encrypted, by id",
        "until a wipe; a guest's: GUEST_KEY_LIFE",
    ),
    "incidents": Kind(_MEMBER + "incidents", "list, INCIDENTS_KEPT: @instant body", "AUDIT_LIFE each"),
    "all_incidents": Kind("{space}:incidents", "the same of the whole store", "AUDIT_LIFE each"),
    "lease": Kind("{space}:{{{shard}}}:lease", "string: worker that holds the shard", "as leased"),
    "sends": Kind(
        _PACE + "sends", "sorted set: sends that a pace counts, by the instant from which not", "LONGEST_PACE"
    ),
    "chats": Kind(_PACE + "chats", "sorted set: addresses and places in the queue by their ends", "LONGEST_PACE"),
    "queue": Kind(_PACE + "queue", "sorted set: addresses that wait for their turn, by order", "LONGEST_PACE"),
    "workers": Kind("{space}:workers", "sorted set: worker by the end of its presence", "no end"),
    "index": Kind("{space}:index", "string: the keys of the digests of channels (`index.py`)", "no end"),
    "channel": Kind(_CHANNEL + "{digest}", "string: id of the owner, by a keyed digest of the address", "no end"),
    "way": Kind(_SHARD + "way:{digest}:{way}", "string: a mark that the owner was changed for a way", "WAY_LIFE"),
    "plain": Kind(_CHANNEL + "{type}:{identifier}", "the same of layout 1, moved when it is met", "no end"),
    "plain_account": Kind(_CHANNEL + "{type}:{identifier}:{account}", "the same with an account", "no end"),
}
"""Every kind of key. The shard of a channel is that of its address without an account.

`state` to `due`, in this order, are KEYS of most modes of the script.
"""

_OF_COMMIT: Final = ("state", "prev", "turns", "audit", "tokens", "due")


@attrs.frozen(eq=False, repr=False)
class Layout(Value):
    """A layout of the store.

    Attributes:
        number: Its number; each is one more than the last.
        digest: The digest of its table of keys and of the fields of its documents.
        change: What differs from the layout before, and what becomes of a store of that layout.
    """

    number: int
    digest: str
    change: str


LAYOUTS: Final = (
    Layout(1, "", "no owner is recorded"),
    Layout(
        2,
        "7d2465fbadf36ee0",
        "The owner and the layout are recorded, channels and guests are named by keyed digests, the account of the bot "
        "belongs to an address, and a check stands beside a document and in a turn record. The first bot that starts "
        "on a store of layout 1 becomes its owner; an entry of the index is moved when it is met; a document takes the "
        "account of the member's next message; documents and records without a check are read, and the next commit "
        "writes one.",
    ),
    Layout(
        3,
        "dfc4ebe36c6efacd",
        "The document before, the records and the latest tokens are fields of the state. A member's data of layout 1 "
        "or 2 is moved there by the first request that reads it.",
    ),
    Layout(
        4,
        "34f70dc58c26f6b9",
        "An audit entry and a turn record are stored in a short form, and the digest of an entry has 22 characters. "
        "Entries and records of an earlier layout stay as they are, are read, and form one chain with new ones. A "
        "document may hold reminders, the addresses that have opted out, and a hand-over to a person with what waits "
        "for the inbox; one without them is as before. A document holds a salt, which the next commit adds, and the "
        "digest of a content in a record has 15 characters and a key; one of before is not compared with it. "
        "Replies of a turn wait in the outbox until they are sent, which is noted beside the document with the "
        "messages as which they were sent; they may be urgent. A change of the index for a way leaves a mark, so that "
        "it is made once. What a pace counts has keys of its own, which end after an hour.",
    ),
)
"""Every layout so far. Work that has not been released yet changes the last one; later work adds one."""
OLDEST_LAYOUT: Final = 1
"""The oldest layout that this release converts as it goes."""
LAYOUT: Final = LAYOUTS[-1].number
"""The layout that this release writes."""


def table_digest(fields: Iterable[str]) -> str:
    """Return the digest of a layout: of the table of keys, and of the fields of documents."""
    keys = (f"{name} {kind.pattern} {kind.holds}" for name, kind in TABLE.items())
    return hashlib.sha256("\n".join([*keys, *sorted(fields)]).encode()).hexdigest()[:16]


_is_plain: Final = re.compile(r"[A-Za-z0-9_-]*").fullmatch
"""Whether a text is its own word, as `quote` would find."""


def word(text: str) -> bytes:
    """Encode `text` as one word that is safe in a key and in a frame; hashes and plain ids stay as they are."""
    if _is_plain(text):
        return text.encode()
    return quote(text, safe="", errors="surrogatepass").encode()


def words_of(*texts: str) -> list[bytes]:
    """Encode each of some texts as `word` does, such as the words of a commit, which are plain as a rule."""
    return [*map(str.encode if _is_plain("".join(texts)) else word, texts)]


def unword(encoded: bytes) -> str:
    """Decode a word that `word` encoded."""
    return unquote(encoded.decode("ascii"), errors="surrogatepass")


_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


@attrs.frozen(eq=False, repr=False)
class Keys(Value):
    """The keys of one namespace.

    Attributes:
        namespace: Its name, of letters, digits, "_", "." and "-", at most 40; empty for the default one.
        space: The part of every key before the first colon.

    Raises:
        ValueError: The name has another form.
    """

    namespace: str = ""
    space: str = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.namespace and not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError(
                f"namespace={self.namespace!r}: give at most 40 letters and digits of ASCII, '_', '.' and '-', "
                "since it is a part of every key"
            )
        object.__setattr__(self, "space", f"vimbiso/{self.namespace}" if self.namespace else "vimbiso")

    @property
    def acl_pattern(self) -> str:
        """The pattern of all keys of the namespace, and of none of another one, for `ACL SETUSER`."""
        return f"~{self.space}:*"

    @property
    def members(self) -> bytes:
        """The glob pattern of the keys of members."""
        return f"{self.space}:*:member:*".encode()

    @property
    def documents(self) -> bytes:
        """The glob pattern of the keys of documents."""
        return f"{self.space}:*:member:*:state".encode()

    @property
    def channels(self) -> bytes:
        """The glob pattern of the keys of channels in the index."""
        return f"{self.space}:*:channel:*".encode()

    def one(self, name: str) -> bytes:
        """Return the key of a kind of which a namespace has one."""
        return _key(self.space, name)

    def of_shard(self, name: str, shard: int) -> bytes:
        """Return the key of a kind of which a shard has one."""
        return _key(self.space, name, shard=shard)

    def of_member(self, name: str, member_id: str) -> bytes:
        """Return the key of a kind of which a member has one."""
        return _key(self.space, name, shard=shard_of(member_id), member=word(member_id).decode())

    def member(self, member_id: str) -> tuple[bytes, ...]:
        """Return the keys state, prev, turns, audit, tokens and due: KEYS of the script, in its order."""
        return member_keys(self.space, member_id)

    def incidents(self, member_id: str | None) -> bytes:
        """Return the key of a member's incidents, or of the whole store's if `member_id` is None."""
        return self.one("all_incidents") if member_id is None else self.of_member("incidents", member_id)

    def incidents_aside(self, member_id: str | None) -> bytes:
        """Return the key to which `incidents` of another type are moved. It replaces what was moved there before."""
        if member_id is None:
            return self.set_aside(self.incidents(None), 0, 0)
        return self.of_member("asides", member_id).removesuffix(b"s") + b":0:0:incidents"

    def quarantined(self, member_id: str, version: int, nanoseconds: int) -> tuple[bytes, ...]:
        """Return the keys to which the keys of a member are moved."""
        aside = self.of_member("asides", member_id).removesuffix(b"s")
        return tuple(b"%b:%d:%d:%b" % (aside, version, nanoseconds, name.encode()) for name in _OF_COMMIT)

    def set_aside(self, key: bytes, nanoseconds: int, place: int) -> bytes:
        """Return the key to which a damaged key, or an entry of one, is moved; it is in the same slot."""
        tag = (key.partition(b"{")[2].partition(b"}")[0] or key).decode()
        return _key(self.space, "set_aside", shard=tag, nanoseconds=nanoseconds, place=place)

    def pace(self, type: str, account: str) -> tuple[bytes, ...]:
        """Return the keys of the pace of a channel and an account: sends, chats and queue, in one slot."""
        place = "@".join(word(part).decode() for part in (type, account) if part)
        return tuple(_key(self.space, name, place=place) for name in ("sends", "chats", "queue"))

    def channel(self, address: Address, digests: Sequence[str]) -> tuple[bytes, ...]:
        """Return the keys under which the own entry of a channel may stand in the index, the current one first.

        The shard is that of the address without an account, so all of them are in one slot: one call of the script
        finds an entry under an earlier name too, and moves it. The number says little: many channels share it.

        Args:
            address: The address of the channel.
            digests: The keyed digests of the address, the current one first.
        """
        words, shard = _names_of(address)
        found = [_key(self.space, "channel", shard=shard, digest=digest) for digest in digests]
        if address.account:
            account = word(address.account).decode()
            return *found, _key(self.space, "plain_account", shard=shard, account=account, **words)
        return *found, _key(self.space, "plain", shard=shard, **words)

    def ways(self, address: Address, digests: Sequence[str], way: str) -> tuple[bytes, ...]:
        """Return the keys under which a way of a channel may be marked as done, the current one first.

        Args:
            address: The address of the channel.
            digests: The keyed digests of the address, the current one first.
            way: The token of the way.
        """
        _, shard = _names_of(address)
        named = word(way).decode()
        return tuple(_key(self.space, "way", shard=shard, digest=digest, way=named) for digest in digests)

    def members_of(self, keys: Iterable[bytes]) -> tuple[str, ...]:
        """Return the members whose documents, audits or incidents stand under these keys, in the order of their ids.

        Keys that the store would not have written are left out.
        """
        return tuple(sorted({member_id for member_id in map(self._member_of, keys) if member_id}))

    def _member_of(self, key: bytes) -> str:
        match = _MEMBER_KEY.fullmatch(key.removeprefix(f"{self.space}:".encode()))
        try:
            member_id = unword(match[1]) if match else ""
        except UnicodeError:
            return ""
        return member_id if key in (*self.member(member_id), self.incidents(member_id)) else ""


DEFAULT_SPACE: Final = Keys().space
"""The part before the first colon of the keys of the default namespace."""

_MEMBER_KEY: Final = re.compile(rb"\{\d+\}:member:([^:]+):(?:state|audit|incidents)")


def _names_of(address: Address) -> tuple[dict[str, str], int]:
    """Return the words of a channel's address without an account, and the shard of the channel."""
    words = {"type": word(address.type).decode(), "identifier": word(address.identifier).decode()}
    return words, crc32("{type}:{identifier}".format(**words).encode()) % SHARDS


def _key(space: str, name: str, **words: str | int) -> bytes:
    return TABLE[name].pattern.format(space=space, **words).encode()


@lru_cache(maxsize=4096)
def member_keys(space: str, member_id: str) -> tuple[bytes, ...]:
    """Return `Keys.member` of the keys whose `space` this is, without a call of Python if the member is known."""
    shard, member = shard_of(member_id), word(member_id).decode()
    return tuple(_key(space, name, shard=shard, member=member) for name in _OF_COMMIT)
