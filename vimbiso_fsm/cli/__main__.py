"""`python -m vimbiso_fsm.cli` is `vimbiso`."""

from vimbiso_fsm.cli import main

main()
