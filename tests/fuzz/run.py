"""Attack real daemons with malformed messages: `python tests/fuzz/run.py [COUNT] [SEED]`, a million by default."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from attack import Attack, Target

ROUND = 50_000


def main(count: int = 1_000_000, seed: int = 1) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder, Target(Path(folder)) as target:
        began = time.monotonic()
        for start in range(0, count, ROUND):
            attack = Attack(target, seed + start // ROUND)
            try:
                attack.run(min(ROUND, count - start))
            except AssertionError:
                print(target.tail("router"), file=sys.stderr)
                raise
            finally:
                attack.close()
            done = min(start + ROUND, count)
            print(f"{done} messages in {time.monotonic() - began:.0f} s: {target.counted()}", flush=True)
        target.check()
        print(f"the daemons still serve (seeds {seed} to {seed + (count - 1) // ROUND})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
