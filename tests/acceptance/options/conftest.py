"""The two engines, behind one name: what a job can ask for has to mean the same in this process and on real daemons.

A test that takes `engine` runs twice, against the same expectations. The cluster has two Brokers that serve different
roles, and run whatever asks for none, and two limits at the Router.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

WORKERS = Path(__file__).with_name("option_workers.py")


class Here:
    """The local engine: jobs run in this process, or in `processes`."""

    name = "local"

    def __init__(self, workers: ModuleType, processes: int = 0) -> None:
        self._workers = workers
        self._processes = processes

    def run(self, pipeline: Any, processes: int | None = None) -> Any:
        wanted = self._processes if processes is None else processes
        return pipeline.run(workers=self._workers, processes=wanted)


class There:
    """The cluster: the same pipelines, submitted."""

    name = "cluster"

    def __init__(self, manager: Any, daemons: Any) -> None:
        self.manager = manager
        self.daemons = daemons

    def run(self, pipeline: Any, processes: int | None = None) -> Any:
        run = self.manager.wait(self.manager.start(pipeline), 200)
        assert run.results is not None
        return run


@pytest.fixture(scope="session")
def workers() -> ModuleType:
    """The workers that both engines have."""
    spec = importlib.util.spec_from_file_location("option_workers", WORKERS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["option_workers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def there(stage: Any) -> Iterator[There]:
    """A cluster of its own for a module that leaves it serving."""
    shutil.copy(WORKERS, stage.folder / "workers.py")
    stage.start("router", "--limits", "licence:1,seat:2")
    stage.start("pipeliner")
    stage.start("broker", "--roles", "plain:2", "--resources", "cpu:2")
    stage.start("broker2", "--roles", "render:2,encode:1", "--processes", "3", "--resources", "cpu:1")
    stage.joined(brokers=2)
    with stage.manager(60) as manager:
        yield There(manager, stage)


@pytest.fixture(params=["local", "cluster"])
def engine(request: pytest.FixtureRequest, workers: ModuleType) -> Any:
    """Both of them, one after the other."""
    return Here(workers) if request.param == "local" else request.getfixturevalue("there")
