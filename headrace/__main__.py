"""`python -m headrace` is the same as the `headrace` command."""

from .daemons.cli import main

main()
