"""Trying again, and the limits of time: the same in both engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline, Retry


def tries(folder: Path) -> list[float]:
    """When each attempt began, by a clock that nobody sets."""
    return [monotonic for monotonic, _ in noted(folder)]


def noted(folder: Path) -> list[Any]:
    file = folder / "noted"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def flaky(folder: Path, fails: int, error: str = "ConnectionError", **options: Any) -> Job:
    return Job("flaky", {"folder": str(folder), "fails": fails, "error": error}, **options)


# Retry ----------------------------------------------------------------------------------------------------------------


def test_tries_count_the_first_attempt_too(engine: Any, tmp_path: Path) -> None:
    run = engine.run(Pipeline({flaky(tmp_path, 2, retry=Retry(3)): None}))
    assert run.results == {"flaky": "attempt 3"}
    assert len(tries(tmp_path)) == 3


def test_the_last_attempt_says_why_it_failed(engine: Any, tmp_path: Path) -> None:
    run = engine.run(Pipeline({flaky(tmp_path, 9, retry=Retry(2)): None}))
    assert (run.state, run.error.reason) == ("failed", "ConnectionError: attempt 2")
    assert len(tries(tmp_path)) == 2


def test_a_job_without_a_retry_is_tried_once(engine: Any, tmp_path: Path) -> None:
    assert engine.run(Pipeline({flaky(tmp_path, 1): None})).error.reason == "ConnectionError: attempt 1"


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        ({"on": [ConnectionError]}, 3),
        ({"on": "ConnectionError"}, 3),
        ({"on": ["TimeoutError"]}, 1),
        ({"never": ["ConnectionError"]}, 1),
        ({"on": ["ConnectionError"], "never": ["ConnectionError"]}, 1),
        ({"never": [ValueError]}, 3),
    ],
    ids=str,
)
def test_exceptions_by_name_are_tried_again_or_never(engine: Any, tmp_path: Path, rule: Any, count: int) -> None:
    engine.run(Pipeline({flaky(tmp_path, 9, retry=Retry(3, **rule)): None}))
    assert len(tries(tmp_path)) == count


@pytest.mark.parametrize(("rule", "count"), [({"on": [3]}, 3), ({"never": [3]}, 1), ({"on": [4]}, 1)], ids=str)
def test_exit_codes_of_commands_too(engine: Any, tmp_path: Path, rule: Any, count: int) -> None:
    job = Job.shell(f"echo '[1, 1]' >> {tmp_path}/noted; exit 3", name="command", retry=Retry(3, **rule))
    run = engine.run(Pipeline({job: None}))
    assert (run.state, run.error.job) == ("failed", "command")
    assert len(tries(tmp_path)) == count


def test_delays_grow_up_to_their_cap(engine: Any, tmp_path: Path) -> None:
    rule = Retry(4, delay=0.1, factor=3, cap=0.2, jitter=False)
    engine.run(Pipeline({flaky(tmp_path, 3, retry=rule): None}))
    first, second, third, fourth = tries(tmp_path)
    assert second - first >= 0.1 and third - second >= 0.2 and fourth - third >= 0.2


def test_a_worker_says_itself_when_to_try_again(engine: Any, tmp_path: Path) -> None:
    run = engine.run(Pipeline({Job("later", {"folder": str(tmp_path), "seconds": 0.2}): None}))
    assert run.results == {"later": 2}
    first, second = tries(tmp_path)
    assert second - first >= 0.2


def test_retry_after_counts_among_the_tries(engine: Any, tmp_path: Path) -> None:
    job = Job("later", {"folder": str(tmp_path), "seconds": 0.01}, retry=Retry(1))
    run = engine.run(Pipeline({job: None}))
    assert run.error.reason == "RetryAfter: asked to be tried again after 0.01 s: busy"


def test_a_job_that_kills_its_process_is_quarantined_after_three_deaths_whatever_its_tries(
    engine: Any, tmp_path: Path
) -> None:
    job = Job("poison", {"folder": str(tmp_path)}, retry=Retry(9))
    run = engine.run(Pipeline({job: None}), processes=1)
    assert run.states == {"poison": "failed"}
    assert run.error.reason.startswith("quarantined: its process died 3 times")
    assert len(tries(tmp_path)) == 3


LONG = 3.0
"""Seconds in which a short job begins and ends, on a busy machine too."""


def limited(file: Path, run: Callable[[float], Any]) -> tuple[Any, float]:
    """What comes of a limit of time that is long enough for this file to be made; and the limit. How long that takes is
    known only afterwards."""
    for limit in (0.4, 4.0, 40.0):
        ended = run(limit)
        if file.exists():
            return ended, limit
    raise AssertionError(f"nobody made {file}")


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Timeouts -------------------------------------------------------------------------------------------------------------


def test_a_job_is_told_that_its_time_is_over_and_may_clean_up(engine: Any, tmp_path: Path) -> None:
    def tidy_nap(limit: float) -> Any:
        return engine.run(Pipeline({Job("tidy_nap", {"folder": str(tmp_path)}, timeout=limit): Job("one")}))

    run, limit = limited(tmp_path / "begun", tidy_nap)
    assert run.states == {"tidy_nap": "failed", "one": "cancelled"}
    assert run.error.reason == f"JobTimeout: the job ran longer than its timeout of {limit:g} s"
    assert (tmp_path / "tidied").exists()


def test_a_command_that_is_too_long_is_killed_with_everything_that_it_started(engine: Any, tmp_path: Path) -> None:
    echo = f"echo $! > {tmp_path}/number; mv {tmp_path}/number {tmp_path}/child"

    def command(limit: float) -> Any:
        return engine.run(Pipeline({Job.shell(f"sleep 600 & {echo}; wait", name="command", timeout=limit): None}))

    run, limit = limited(tmp_path / "child", command)
    assert run.error.reason.endswith(f"longer than its timeout of {limit:g} s")
    assert not lives(int((tmp_path / "child").read_text()))


def test_a_timeout_is_one_of_the_tries(engine: Any, tmp_path: Path) -> None:
    job = Job("slow_at_first", {"folder": str(tmp_path)}, timeout=LONG, retry=Retry(2))
    assert engine.run(Pipeline({job: None})).results == {"slow_at_first": 2}


def test_a_job_that_waits_too_long_for_a_place_fails_with_that_reason(engine: Any) -> None:
    """One slot for jobs of this role; locally, one process. It is taken for far longer, however late that begins."""
    first = Job("nap", {"seconds": LONG}, name="first", role="encode", priority=1)
    late = Job("nap", {"seconds": 0.0}, name="late", role="encode", queue_timeout=0.3)
    run = engine.run(Pipeline({late: None, first: None}, on_error="block"), processes=1)
    assert run.states == {"late": "failed", "first": "success"}
    assert "longer than its queue_timeout of 0.3 s" in run.error.reason


def test_a_deadline_of_the_run_ends_all_of_it(engine: Any, tmp_path: Path) -> None:
    nap = Job("begin_and_nap", {"folder": str(tmp_path)}, name="nap")
    graph = {Job("one"): nap, nap: Job("two")}
    run, _ = limited(tmp_path / "begun", lambda limit: engine.run(Pipeline(graph, deadline=limit)))
    assert (run.state, run.error.reason) == ("cancelled", "deadline exceeded")
    assert run.states == {"one": "success", "nap": "cancelled", "two": "cancelled"}
    assert run.results == {"one": 1}


def test_a_run_starts_not_before_its_time(engine: Any, tmp_path: Path) -> None:
    when = datetime.now(UTC) + timedelta(seconds=0.7)
    engine.run(Pipeline({flaky(tmp_path, 0): None}, not_before=when))
    ((_, began),) = noted(tmp_path)
    assert began >= when.timestamp()
