"""The words of the bot. Another language is another mapping of the same keys: `texts={"en": ENGLISH, "fr": FRENCH}`."""

from __future__ import annotations

from typing import Final

ENGLISH: Final = {
    "home.menu": "What can we do for you?",
    "home.menu.book": "Book an appointment",
    "visit.booked": "See you on {day} at {hour}. Your number is {number}.",
    "visit.closed": "We are open from Monday to Friday.",
    "visit.confirm": "On {day} at {hour}. Shall we book that?",
    "visit.confirm.no": "No",
    "visit.confirm.yes": "Yes",
    "visit.day": "On which day?",
    "visit.dropped": "Nothing was booked.",
    "visit.full": "We have no hour left on that day.",
    "visit.full.again": "Another day",
    "visit.hour": "At what time?",
    "visit.taken": "Somebody was faster: that hour is taken.",
    "visit.wait": "One moment, please: we are looking into the diary.",
}
