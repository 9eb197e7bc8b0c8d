"""`python -m tests.simulation --seeds 1000 --first 1`; `--seed 17 --replay` tells everything that happens."""

from .command import main

main()
