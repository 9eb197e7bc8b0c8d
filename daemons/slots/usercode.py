"""How the user's modules and classes are named, so that a worker process finds the same ones.

A Broker never imports them: it only passes names on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from ...pipeline.errors import ConfigError

DEFAULT_MODULE = "workers"


def module_names(workers: str | ModuleType | Iterable[str | ModuleType]) -> tuple[str, ...]:
    """Names of the modules that hold workers."""
    given = [workers] if isinstance(workers, str | ModuleType) else list(workers)
    names = tuple(one.__name__ if isinstance(one, ModuleType) else one for one in given)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"workers={workers!r}: give the name of a module, or several names")
    return names


def store_name(store: object) -> str | None:
    """`module:Class`, or `path/to/file.py:Class` for a class of the script that runs."""
    if store is None:
        return None
    if isinstance(store, str):
        if not all(store.rpartition(":")):
            raise ConfigError(f"the store {store!r} has to be given as module:Class or as path/to/file.py:Class")
        return store
    if not isinstance(store, type):
        raise ConfigError(f"store_class={store!r}: give a class, or its name as module:Class")
    name = store.__qualname__
    if "<locals>" in name:
        raise ConfigError(f"the store class {name} is made inside a function: put it at the top of its module")
    if store.__module__ != "__main__":
        return f"{store.__module__}:{name}"
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise ConfigError(f"the store class {name} is made in a session and not in a file: put it into a module")
    return f"{Path(file).absolute()}:{name}"
