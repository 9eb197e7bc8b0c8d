"""Which files the code of this process came from, as far as they are the user's: what to watch for changes."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")


def sources(modules: Iterable[str], folder: str) -> tuple[str, ...]:
    """Files of all loaded modules, but for installed ones and ours; and where those that are named would be."""
    outside = [Path(sysconfig.get_path(name)).resolve() for name in INSTALLED]
    found: set[str] = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and name.partition(".")[0] != __name__.partition(".")[0]:
            path = Path(file).resolve()
            if path.is_file() and not any(path.is_relative_to(one) for one in outside):
                found.add(str(path))
    for name in modules:
        if name not in sys.modules:
            place = Path(folder, *name.split(".")).resolve()
            found.update((f"{place}.py", str(place / "__init__.py")))
    return tuple(sorted(found))
