"""The studio: a web app on this machine, in which the conversations of a bot are seen. It needs the extra `studio`.

The modules, from the app down:

    app.py          the app: the panels behind the access
    board.py, machine.py, timeline.py, simulator.py
                    the panels
    board_view.py   what the board shows, computed
    processes.py    the figures of the processes that serve a bot
    read_only.py    a store that refuses what would change it
    machine_view.py what the panel of a flow shows, computed
    access.py       the token and the cookie, the checks of a request, and the headers of a response
    pages.py        templates, and texts of members on a page
    desk.py         what the studio looks at
    simulations.py  the simulations of a studio, and the fork of a live member
    simulation.py   a simulation: members, a store in memory, the clock and the faults
    member_view.py  the state of a member, as it is shown beside a chat
    looks.py        replies in the look of a channel
"""

from vimbiso_fsm.studio.app import studio_app
from vimbiso_fsm.studio.desk import Desk

__all__ = ["Desk", "studio_app"]
