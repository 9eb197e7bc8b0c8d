"""A Router that is full after `CHAOS_OPEN_RUNS` runs: what would take minutes to reach is reached in moments."""

from __future__ import annotations

import logging
import os
import sys

from headrace import Router
from headrace.daemons.dispatch.cluster import Rules

if __name__ == "__main__":
    given = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    logging.basicConfig(level=logging.INFO)
    rules = Rules(open_runs=int(os.environ["CHAOS_OPEN_RUNS"]))
    Router(given["--api"], given["--broadcast"], data=given["--data"], rules=rules).start()
