"""The lifetime and the count of everything that is stored, in one table.

| what                           | bound                                | counted from                              |
| ------------------------------ | ------------------------------------ | ----------------------------------------- |
| document, document before it   | `DOCUMENT_LIFE`, `MAX_DOCUMENT`      | the member's latest commit                |
|                                | `TIMER_GRACE`                        | the latest timer in the document          |
| … and audit of a stranger      | `STRANGER_LIFE`, session             | the stranger's latest commit              |
| … notes of what was sent       | as the document, `SENT_KEPT`         | the member's latest commit                |
| … messages as which            | as the document, `MESSAGES_KEPT`     | the member's latest commit                |
| tokens                         | `TOKEN_KEPT`                         | the use of each token                     |
| turn records                   | as the document, `RECORDS_KEPT`      | the member's latest commit                |
| … of messages without a turn   | as the document, `UNTAKEN_KEPT`      | the member's latest commit                |
| audit entries                  | `AUDIT_LIFE`, `AUDIT_KEPT`           | the commit that wrote each entry          |
| … of refused messages in a row | `UNFOLDED`, `FOLD_EVERY` and one     | the commit that wrote the latest of them  |
| … the latest, if all are       | `ARCHIVED_HEAD_LIFE`                 | the move of the entries to the archive    |
| archived                       |                                      |                                           |
| incidents                      | `AUDIT_LIFE`, `INCIDENTS_KEPT`       | the report of each incident               |
| quarantined keys               | `QUARANTINE_LIFE`                    | the quarantine of each key                |
| owner of a channel             | no end                               |                                           |
| … that is a guest              | `NAME_LIFE`                          | the latest look at the channel            |
| … mark of a way                | `WAY_LIFE`                           | the change of the owner                   |
| wake-up of a member            | no end; one per member               |                                           |
| lease of a shard               | `SHARD_LEASE`, renewed by its worker | the latest renewal                        |
| presence of a worker           | `SHARD_LEASE`, renewed by the worker | the latest heartbeat                      |
| sends, by the pace of a        | `Pace.every`, `Pace.chat_every`      | each send                                 |
| channel                        |                                      |                                           |
| place in the queue of a pace   | its wait and `PACE_GRACE`            | the latest request for it                 |
| key of a member's own          | no end; until a wipe or an erasure   |                                           |
| … of a guest                   | as the document, `GUEST_KEY_LIFE`    | the latest use of the key                 |
| number of shards of the store  | no end                               |                                           |

All lifetimes are in seconds and run on the store's clock. They are lower bounds: a commit renews the lives of a member
when one would be too short, and then for a thirtieth of the life of the document more, so about once a day.
`store/layout.py` lists the keys to which they apply, and rule 7 of `store/requests.py` says how entries of a list end.
"""

from __future__ import annotations

from typing import Final

DAY: Final = 86_400
"""Seconds of a day."""

DOCUMENT_LIFE: Final = 30 * DAY
"""Seconds that a document and the one before it are kept after the member's latest commit.

A member who is silent for a month starts anew. The audit and the tokens do not depend on it. A document with a timer
that is further ahead is kept longer, see `TIMER_GRACE`.
"""
STRANGER_LIFE: Final = DAY
"""Seconds that the document, the turn records and the audit of a stranger are kept after the latest commit.

A stranger is a guest who has answered nothing, so nothing is lost with them. They are kept longer while the session is
open, and what was kept for longer before is not kept for a shorter time.
"""
CLOCK_MARGIN: Final = 20 * DAY
"""Seconds by which the clock of a server may step without the loss of a token or of a timer.

That is ten days in one direction, and then as much in the other. The server deletes by its own clock, so what must live
for some time lives for so much longer.
"""
NAME_LIFE: Final = DOCUMENT_LIFE + DAY
"""Seconds that a channel leads to a guest who has several names, after the latest look at it.

It is as long as the document of a guest is kept, whose other names lead there. A look is taken when a session begins.
"""
WAY_LIFE: Final = DAY
"""Seconds that the store remembers that the owner of a channel was changed for a way.

A process reads the note of the way just before it asks for the change, so this is how long it may stop between the two
requests.
"""
TIMER_GRACE: Final = 8 * DAY + CLOCK_MARGIN
"""Seconds that a document is kept after the instant of its latest timer.

The timer of a state can be set months ahead. Meanwhile no commit may be made, and afterwards no worker may run for a
week, and the clock may be wrong.
"""
MAX_DOCUMENT: Final = 64 * 1024
"""Bytes of a stored document.

Each turn reads and writes the whole document, so its size bounds the cost of a turn.
"""
FRAME_ROOM: Final = 1024
"""Bytes by which an encrypted document may be longer than `MAX_DOCUMENT`, for its frame."""
TOKEN_LIFE: Final = 8 * DAY
"""Seconds that the token of a message is remembered at least, also by a clock that is wrong.

WhatsApp repeats a webhook for up to seven days; one day is added for queues between the channel and the bot.
"""
TOKEN_KEPT: Final = TOKEN_LIFE + CLOCK_MARGIN
"""Seconds by the server's clock after which a token is forgotten.

A token that was used while the clock was behind, or is looked for while it is ahead, seems older than it is.
"""
TOKENS_IN_STATE: Final = 8
"""Latest tokens that stay in the state of a member, each twice, when the earlier ones are moved to a set."""
TOKENS_AT_ONCE: Final = 1_000
"""Tokens that are read, taken over or forgotten in one call of the server, at most, so that none of them takes long."""
RECORDS_KEPT: Final = 16
"""Turn records kept per member.

A repeated message is answered from its record. A repeat whose record is gone is still recognised by its token; it is
answered without the replies of its first time.
"""
UNTAKEN_KEPT: Final = 4
"""Turn records kept per member, beside `RECORDS_KEPT`, of messages that were answered and not taken.

A member who writes many such messages does not drive out the records of turns, from which a state is recovered.
"""
SENT_KEPT: Final = 16
"""Identifiers of sent replies that are noted beside a document, at most: as many as may wait in an outbox."""
MESSAGES_KEPT: Final = 32
"""Messages as which replies were sent that are noted beside a document, at most.

What a channel tells of an older one leads to no reply any more. The ids of a channel are kept as digests of 12 digits.
"""
AUDIT_LIFE: Final = 400 * DAY
"""Seconds that an audit entry or an incident is kept.

Thirteen months: a full year can still be examined during the month after it.
"""
AUDIT_KEPT: Final = 10_000
"""Audit entries kept per member: at 25 turns a day, all entries of `AUDIT_LIFE`."""
UNFOLDED: Final = 2 * RECORDS_KEPT
"""The latest audit entries of a member, which are never folded.

A recovery reads them, and each turn record that is kept belongs to one of them.
"""
FOLD_EVERY: Final = 64
"""Versions after which the audit is folded, if the member still stands at the same question."""
FOLD_LEAST: Final = 16
"""Entries that one entry takes the place of, at least."""
ARCHIVED_HEAD_LIFE: Final = 36_500 * DAY
"""Seconds that the latest audit entry of a member is kept when all entries are archived: a hundred years.

The version of a member's next entry continues from it. Without it, the entries of a member who comes back would begin
again with a number that is archived.
"""
INCIDENTS_KEPT: Final = 1_000
"""Incidents kept per member, and incidents of the store as a whole."""
TRIMMED_AT_ONCE: Final = 64
"""Entries or incidents by which a list may exceed its count before those beyond it are dropped together.

Readers of the latest ones see no more than the count. To drop one with each append would cost as much as the append.
"""
EXPIRED_AT_ONCE: Final = 64
"""Entries or incidents older than `AUDIT_LIFE` that are dropped at once, at most.

A commit does not pay for the removal of thousands of entries; the next renewal of the lives continues.
"""
QUARANTINE_LIFE: Final = 30 * DAY
"""Seconds that a quarantined key is kept for examination."""
GUEST_KEY_LIFE: Final = QUARANTINE_LIFE + CLOCK_MARGIN
"""Seconds that a guest's own key is kept for longer than the document that it encrypts, after its latest use.

It is needed as long as anything is kept that it encrypts, also in quarantine. That of a member has no end but a wipe or
an erasure.
"""
SHARD_LEASE: Final = 15.0
"""Seconds that a shard stays leased to a worker that no longer renews its lease.

It is the longest delay of timers and deliveries after a worker was lost.
"""
LONGEST_LEASE: Final = 3600.0
"""Seconds for which a shard can be leased at most.

A lease or a presence that ends later was taken while the server's clock was ahead, and counts as over.
"""
LONGEST_PACE: Final = 3600.0
"""Seconds over which a pace counts what is sent, at most.

A send that counts for longer was noted while the server's clock was ahead, and is forgotten.
"""
LONGEST_PAUSE: Final = 3_500.0
"""Seconds of a pause of an account, at most: with a wait and a place after it they are within `LONGEST_PACE`."""
PACE_WAIT: Final = 30.0
"""Seconds after which a delivery in the queue of a pace asks again, at most.

Others before it may have left the queue meanwhile. Those whose turn comes later ask at different instants of the second
half of it, so that thousands that wait do not ask together.
"""
PACE_GRACE: Final = 10.0
"""Seconds for which a place in the queue of a pace is kept after the instant at which it is to be asked for again.

The place of a delivery that is not made after all holds the others up for so long.
"""
SHARDS: Final = 1024
"""Hash tags over which members are spread. The number is recorded in the store at first use and never changes."""
