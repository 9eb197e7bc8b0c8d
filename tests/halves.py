"""All tests, in two processes side by side: those with real daemons, which mostly wait, and all others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
WAITING = str(TESTS / "acceptance")


def main() -> int:
    """Run both; show the one as it goes and the other after it. The code is 0 when both have passed."""
    pytest = [sys.executable, "-m", "pytest", "--color=no"]
    with tempfile.TemporaryFile("w+") as told:
        waiting = subprocess.Popen([*pytest, WAITING], stdout=told, stderr=subprocess.STDOUT, cwd=TESTS.parent)
        try:
            others = subprocess.run([*pytest, str(TESTS), f"--ignore={WAITING}"], cwd=TESTS.parent).returncode
            waited = waiting.wait()
        except KeyboardInterrupt:
            waiting.wait()
            return 130
        told.seek(0)
        print(f"\nWith real daemons:\n{told.read()}", flush=True)
    for what, code in (("with real daemons", waited), ("all others", others)):
        print(f"tests {what}: {'passed' if code == 0 else f'exit code {code}'}")
    return waited or others


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
