"""`python -m flows`: the commands of VimbisoPay."""

from flows.cli import main

main()
