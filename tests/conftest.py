"""For every test: what it imported from its own folders is forgotten, and the path of imports is as it was; and how
long an example takes to be drawn or run is no failure."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """A shell starts what runs in its background deaf to Ctrl-C, and the processes of the tests would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


@pytest.fixture(autouse=True)
def imports_forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    known, path = set(sys.modules), list(sys.path)
    yield
    ours = str(tmp_path_factory.getbasetemp())
    new = set(sys.modules) - known
    # A folder's path is worked out from its parent's: all are looked at before the first one goes.
    for name in [name for name in new if any(file.startswith(ours) for file in _files(sys.modules[name]))]:
        del sys.modules[name]
    sys.path[:] = path


def _files(module: ModuleType) -> list[str]:
    """Where a module comes from; one that is only a folder has a path and no file."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return [str(Path(place)) for place in places if place]
