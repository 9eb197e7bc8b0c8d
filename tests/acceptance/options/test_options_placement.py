"""Where and when jobs run: roles, resources, limits, priority; and what is said about what does not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace import Job, Pipeline
from headrace.pipeline.facts import Returned


def spans(folder: Path) -> list[tuple[str, float, float]]:
    """Who ran from when to when, in the order of their starts."""
    lines = [json.loads(line) for line in (folder / "noted").read_text().splitlines()]
    return sorted((tuple(line) for line in lines), key=lambda span: span[1])  # type: ignore[arg-type,return-value]


def most_at_once(folder: Path) -> int:
    moments = sorted([(begun, 1) for _, begun, _ in spans(folder)] + [(ended, -1) for _, _, ended in spans(folder)])
    now = most = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most


def worked(folder: Path, number: int, together: int = 0, **options: Any) -> list[Job]:
    """Jobs of which none ends before so many have begun."""
    data = {"folder": str(folder), "seconds": 0.1, "together": together}
    return [Job("span", data, name=f"job {n}", **options) for n in range(number)]


def alone(jobs: list[Job], **options: Any) -> Pipeline:
    return Pipeline(dict.fromkeys(jobs), **options)


def place_of(there: Any, run: str, job: str) -> str:
    (fact,) = (fact for _, fact in there.manager.facts(run) if isinstance(fact, Returned) and fact.job == job)
    return str(fact.place)


# Both engines ---------------------------------------------------------------------------------------------------------


def test_max_active_is_the_most_that_runs_at_once(engine: Any, tmp_path: Path) -> None:
    run = engine.run(alone(worked(tmp_path, 6), max_active=2), processes=4)
    assert run.state == "success" and len(spans(tmp_path)) == 6
    assert most_at_once(tmp_path) <= 2


def test_higher_priority_is_first(engine: Any, tmp_path: Path) -> None:
    """One after the other: the role has one slot, and locally there is one process."""
    data = {"folder": str(tmp_path), "seconds": 0.05}
    by = {"low": -5, "plain": 0, "high": 5, "highest": 9}
    jobs = [Job("span", data, name=name, priority=priority, role="encode") for name, priority in by.items()]
    first = Job("span", {**data, "seconds": 0.3}, name="first", role="encode", priority=100)
    engine.run(alone([*jobs, first]))
    assert [name for name, *_ in spans(tmp_path)] == ["first", "highest", "high", "plain", "low"]


def test_a_role_that_a_local_run_has_no_broker_for_changes_nothing_there(engine: Any) -> None:
    job = Job("one", role="render", resources={"cpu": 1}, limits=["licence"])
    assert engine.run(Pipeline({job: None})).results == {"one": 1}


# The cluster ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "role"),
    [(Job("one", role="render"), "render"), (Job("rendered"), "render"), (Job("rendered", role="plain"), "plain")],
    ids=["job", "worker", "job-over-worker"],
)
def test_a_role_of_a_job_or_else_of_its_worker_says_which_broker_runs_it(there: Any, job: Job, role: str) -> None:
    run = there.run(Pipeline({job: None}))
    place = place_of(there, run.id, job.name)
    (broker,) = (one for one in there.manager.cluster()["brokers"] if role in (one["roles"] or {}))
    assert broker["place"] == place


def test_a_role_has_as_many_slots_as_its_broker_says(there: Any, tmp_path: Path) -> None:
    there.run(alone(worked(tmp_path, 6, together=2, role="render")))
    assert most_at_once(tmp_path) == 2


def test_a_limit_counts_on_the_whole_cluster(there: Any, tmp_path: Path) -> None:
    there.run(alone(worked(tmp_path, 5, limits=["licence"])))
    assert most_at_once(tmp_path) == 1
    assert there.manager.cluster()["limits"] == {"licence": [0, 1], "seat": [0, 2]}


def test_a_failed_or_cancelled_job_gives_its_limit_back(there: Any) -> None:
    there.run(Pipeline({Job("fail", limits=["licence"]): None}))
    there.run(Pipeline({Job("nap", {"seconds": 30}, limits=["licence"], timeout=0.3): None}))
    run = there.manager.start(Pipeline({Job("nap", {"seconds": 600}, limits=["licence"]): None}))
    there.daemons.until(lambda: there.manager.status(run).states["nap"] == "running", what="it holds the licence")
    there.manager.cancel(run)
    assert there.manager.wait(run, 60).state == "cancelled"
    assert there.manager.cluster()["limits"]["licence"] == [0, 1]


def test_a_run_that_has_begun_goes_before_one_that_is_newer(there: Any, tmp_path: Path) -> None:
    """Within a priority, and although the newer one's jobs were in the queue first."""
    manager, until = there.manager, there.daemons.until
    data = {"folder": str(tmp_path), "seconds": 0.05}

    def five(of: str, **more: Any) -> list[Job]:
        return [Job("span", {**data, **more}, name=f"{of} {n}", role="encode") for n in range(5)]

    def queued(run: str) -> int:
        """At the Router: as a Pipeliner sees it, a job is queued as soon as nothing is before it."""
        return len(manager.snapshot(run).told["queued"])

    root = Job("span", {**data, "file": str(tmp_path / "go")}, name="root", role="encode")
    older = manager.start(Pipeline({root: five("older")}))
    until(lambda: manager.status(older).states["root"] == "running", what="the older run has begun")
    newer = manager.start(alone(five("newer", file=str(tmp_path / "go on"))))
    until(lambda: queued(newer) == 5, what="the newer run waits")
    (tmp_path / "go").touch()
    # A free slot is given away at once: one of the newer run may start before the older one's jobs are queued.
    until(lambda: queued(older) >= 4 or manager.status(older).state == "success", what="the older one's are queued")
    (tmp_path / "go on").touch()
    assert manager.wait(newer, 60).state == manager.wait(older, 60).state == "success"
    names = [name.split()[0] for name, *_ in spans(tmp_path)]
    assert names[-4:] == ["newer"] * 4, names


@pytest.mark.parametrize(
    ("job", "options", "words"),
    [
        (Job("one", role="nowhere"), {}, ["role nowhere"]),
        (Job("no_such_worker"), {}, ["no_such_worker"]),
        (Job("one", resources={"unobtainium": 2}), {}, ["unobtainium"]),
        (Job("one", limits=["nobody knows it"]), {}, ["nobody knows it"]),
        (Job("one"), {"paused": True}, ["paused"]),
        (Job("one"), {"not_before": 4103000000.0}, ["2100"]),
    ],
    ids=["role", "worker", "resource", "limit", "paused", "not-before"],
)
def test_explain_says_why_a_job_does_not_run(there: Any, job: Job, options: Any, words: list[str]) -> None:
    run = there.manager.start(Pipeline({job: None}, **options))
    manager, daemons = there.manager, there.daemons
    daemons.until(lambda: all(word in manager.explain(run) for word in words), what=f"{words} are said")
    shown = daemons.command("explain", run)
    assert shown.returncode == 0 and all(word in shown.stdout for word in words)
    assert all(word in manager.explain(run, job.name) for word in words)
    manager.cancel(run)
    assert manager.wait(run, 60).state == "cancelled"


def test_explain_names_who_holds_a_limit_and_how_long_a_backoff_lasts(there: Any, tmp_path: Path) -> None:
    manager, until = there.manager, there.daemons.until
    holder = manager.start(Pipeline({Job("nap", {"seconds": 600}, limits=["licence"]): None}))
    until(lambda: manager.status(holder).states["nap"] == "running", what="it holds the licence")
    waiting = manager.start(Pipeline({Job("one", limits=["licence"]): None}))
    until(lambda: "licence" in manager.explain(waiting), what="the limit is named")
    assert holder[:8] in manager.explain(waiting)
    manager.cancel(holder)
    assert manager.wait(waiting, 60).state == "success"
    later = manager.start(Pipeline({Job("later", {"folder": str(tmp_path), "seconds": 600}): None}))
    until(lambda: "it is to start in" in manager.explain(later, "later"), what="the backoff is named")
    assert "as attempt 2" in manager.explain(later)
    manager.cancel(later)
    assert manager.wait(later, 60).state == "cancelled"


def test_explain_names_the_job_to_which_a_place_is_promised(there: Any, tmp_path: Path) -> None:
    manager, until = there.manager, there.daemons.until
    file = tmp_path / "go"
    blockers = {Job("wait_for_file", {"file": str(file)}, name=f"blocker{number}"): None for number in range(5)}
    blocking = manager.start(Pipeline(blockers))
    until(lambda: set(manager.status(blocking).states.values()) == {"running"}, what="every slot is taken")
    large = manager.start(Pipeline({Job("one", name="large", resources={"cpu": 2}): None}))
    small = manager.start(Pipeline({Job("one", name="small", resources={"cpu": 1}): None}))
    kept = f"is promised to large of run {large[:8]}, which needs worker one, 2 cpu, for "
    until(lambda: kept in manager.explain(small, "small"), what="a place is promised to the older run")
    until(lambda: "is promised to it, for " in manager.explain(large, "large"), what="who it is promised to is told")
    file.touch()
    for run in (blocking, large, small):
        assert manager.wait(run, 60).state == "success"
