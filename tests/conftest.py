"""For every test: what it imported from its own folders is forgotten, and the path of imports is as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def imports_forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    known, path = set(sys.modules), list(sys.path)
    yield
    ours = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - known:
        if any(file.startswith(ours) for file in _files(sys.modules[name])):
            del sys.modules[name]
    sys.path[:] = path


def _files(module: ModuleType) -> list[str]:
    """Where a module comes from; one that is only a folder has a path and no file."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return [str(Path(place)) for place in places if place]
