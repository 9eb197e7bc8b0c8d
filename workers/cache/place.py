"""Where the content cache is when nobody says where, and how much it keeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

NAME = "cache"
"""Of the folder, below a data folder."""
VARIABLE = "HEADRACE_CACHE"
LARGEST = 10 * 1024**3
"""Bytes of all entries."""
LONGEST = 30 * 86400.0
"""Seconds that an entry is kept without being used."""


def user_cache(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The cache of local runs: `HEADRACE_CACHE`, else a folder among the user's caches."""
    environ = os.environ if environ is None else environ
    if named := environ.get(VARIABLE, ""):
        return Path(named).expanduser().absolute()
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if platform == "darwin":
        return home / "Library" / "Caches" / "headrace"
    caches = environ.get("XDG_CACHE_HOME", "")
    return (Path(caches) if os.path.isabs(caches) else home / ".cache") / "headrace"
