"""Which boot of this machine is this? Tells a power cut from the end of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def boot_id() -> str:
    """The same text until the machine is started anew; empty where the system does not say."""
    if sys.platform == "darwin":
        answer = subprocess.run(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True)
        return answer.stdout.strip()
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
