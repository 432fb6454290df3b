"""`python -m vidlabel` is the command `vidlabel`."""

from vidlabel.cli import main

main()
