"""A slice of the attack: `make fuzz` is the whole of it. Whatever comes, the daemons serve on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from attack import WORKERS, Attack, Target
from pretender import Pretender

from headrace import Job, Pipeline, PipelineManager
from headrace.pipeline.errors import HeadraceError

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Target(tmp_path_factory.mktemp("fuzz")) as target:
        yield target


def test_garbage_at_the_api_is_answered_or_dropped_and_counted(target: Target) -> None:
    router = psutil.Process(target.daemons["router"].pid)
    before = router.memory_info().rss
    attack = Attack(target, seed=1)
    try:
        attack.run(20_000)
    finally:
        attack.close()
    counted = target.counted()
    assert counted["malformed"] > 10_000
    assert counted["failures"] == 0, target.tail("router")
    assert attack.answers > 10_000, "rubbish is answered, so that whoever sent it can find out"
    assert router.memory_info().rss - before < 100 * MEGABYTE
    target.check()


@pytest.mark.parametrize("welcome", [False, True], ids=["before the welcome", "after the welcome"])
def test_garbage_from_the_router_ends_no_daemon(tmp_path: Path, welcome: bool) -> None:
    """Broker and Pipeliner stand it, and work with the real Router as soon as that is there."""
    (tmp_path / "workers.py").write_text(WORKERS)
    api = f"ipc://{tmp_path}/api"
    target = Target(tmp_path)
    with Pretender(api, seed=1, welcome=welcome) as pretender:
        target.start("pipeliner")
        target.start("broker")
        pretender.listen(2)
        pretender.answer(2000)
        for name, daemon in target.daemons.items():
            assert daemon.poll() is None, target.tail(name)
    target.start("router")
    with target:
        target.check()


def test_garbage_from_the_router_is_an_error_in_the_client(tmp_path: Path) -> None:
    api = f"ipc://{tmp_path}/api"
    with Pretender(api, seed=1, welcome=False) as pretender, PipelineManager(api, timeout=2.0) as manager:
        asked: list[object] = []

        def ask() -> None:
            try:
                asked.append(manager.start(Pipeline({Job("one"): None})))
            except HeadraceError as error:
                asked.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        pretender.listen(1)
        while thread.is_alive():
            pretender.answer(50)
        thread.join()
        assert isinstance(asked[0], HeadraceError), "nobody can have accepted it"
