"""kill -9 of every kind of process in the middle of a run: everything accepted completes, and nothing counts twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline
from headrace.daemons.journal.archive import Archive
from headrace.pipeline.facts import Returned, unpack_fact


def slow_pipeline(folder: Path, jobs: int = 40) -> Pipeline:
    """A root, many jobs that leave traces, and a join."""
    middle = [Job("record", {"name": f"job{index}"}, name=f"job{index}") for index in range(jobs)]
    first, last = Job("nothing", name="first"), Job("nothing", name="last")
    return Pipeline({first: middle, tuple(middle): last}, data={"folder": str(folder)})


def executions(folder: Path) -> Counter[str]:
    trace = folder / "executions"
    return Counter(trace.read_text().split()) if trace.exists() else Counter()


def committed(data: Path, run: str) -> Counter[tuple[str, int]]:
    """Successes in the journal, by job and attempt path."""
    archive = Archive(data / "journal.db")
    try:
        facts = [unpack_fact(body) for _, body in archive.facts(run)]
    finally:
        archive.close()
    return Counter((fact.job, fact.round) for fact in facts if isinstance(fact, Returned) and fact.kind == "success")


def held(folder: Path, count: int) -> Pipeline:
    """Jobs that run until they are let go; so nothing ends before it was struck, however slow this machine is."""
    jobs = [Job("wait_for", name=f"held{index}") for index in range(count)]
    return Pipeline(dict.fromkeys(jobs), data={"folder": str(folder)})


def let_go(daemons: Any) -> None:
    (daemons.folder / "go").touch()


def states(manager: Any, run: str) -> list[str]:
    return list(manager.status(run).states.values())


PATIENT = """
import logging, sys
from headrace import Router
from headrace.daemons.dispatch.cluster import Rules

logging.basicConfig(level=logging.INFO)
api, broadcast, data = sys.argv[1:]
Router(api, broadcast, data=data, rules=Rules(lease_time=120.0)).start()
"""
"""A Router whose leases outlast the start of any process."""


def start_patient_router(daemons: Any) -> None:
    script = daemons.folder / "patient_router.py"
    script.write_text(PATIENT)
    line = [sys.executable, str(script), daemons.api, daemons.broadcast, str(daemons.data)]
    with (daemons.folder / "router.log").open("ab") as log:
        daemons.processes["router"] = subprocess.Popen(line, cwd=daemons.folder, stdout=log, stderr=log)


def is_gone(pid: int) -> bool:
    """It may go while it is looked at."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("victim", ["router", "pipeliner", "broker", "worker"])
def test_an_accepted_run_completes_when_any_process_is_killed(daemons: Any, victim: str) -> None:
    daemons.cluster()
    with daemons.manager() as manager:
        pipeline = slow_pipeline(daemons.folder)
        run = manager.start(pipeline)
        daemons.until(lambda: sum(executions(daemons.folder).values()) >= 5, what="the run is under way")
        if victim == "worker":
            (warden,) = [one for one in daemons.children("broker") if one.children()]
            warden.children()[0].send_signal(signal.SIGKILL)
        else:
            daemons.kill(victim)
            daemons.start(victim)
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error
    counts = committed(daemons.data, run)
    assert set(counts.values()) == {1}
    assert len(counts) == 42
    assert set(executions(daemons.folder)) == {f"job{index}" for index in range(40)}


def test_a_killed_router_keeps_what_runs(daemons: Any) -> None:
    """The Broker holds its leases over the restart: nothing that was running runs twice."""
    start_patient_router(daemons)
    daemons.start("pipeliner")
    daemons.start("broker")
    with daemons.manager() as manager:
        pipeline = held(daemons.folder, 2)
        run = manager.start(pipeline)
        daemons.until(lambda: states(manager, run) == ["running"] * 2, what="both are running")
        daemons.kill("router")
        start_patient_router(daemons)
        daemons.joined()
        let_go(daemons)
        manager.wait(pipeline, 60)
        assert not pipeline.failed
    archive = Archive(daemons.data / "journal.db")
    attempts = [fact for _, body in archive.facts(run) if isinstance(fact := unpack_fact(body), Returned)]
    archive.close()
    assert sorted((fact.attempt, fact.kind, fact.lease >> 40) for fact in attempts) == [(1, "success", 1)] * 2


def test_a_poison_job_is_quarantined_and_the_others_go_on(daemons: Any) -> None:
    daemons.cluster()
    with daemons.manager() as manager:
        poison = Pipeline({Job("poison"): None})
        good = [Pipeline({Job("nothing"): None}) for _ in range(20)]
        manager.start(poison)
        manager.start_many(good)
        manager.wait(poison, 60)
        for pipeline in good:
            manager.wait(pipeline, 60)
        assert poison.failed and poison.error.job == "poison"
        assert "42" in poison.error.reason
        assert not any(pipeline.failed for pipeline in good)


def test_a_stopped_broker_leaves_its_work_to_another_one(daemons: Any) -> None:
    """SIGSTOP: it cannot renew, its warden ends its jobs, and the Router hands them on."""
    daemons.cluster(brokers=2)
    with daemons.manager() as manager:
        daemons.joined(brokers=2)
        pipeline = held(daemons.folder, 4)
        run = manager.start(pipeline)
        daemons.until(lambda: states(manager, run) == ["running"] * 4, what="all four are running")
        daemons.note_children()
        broker = psutil.Process(daemons.processes["broker"].pid)
        broker.suspend()
        daemons.until(lambda: len(manager.cluster()["brokers"]) == 1, what="the Router has given it up")
        let_go(daemons)
        manager.wait(pipeline, 60)
        assert not pipeline.failed
        broker.resume()
    assert set(committed(daemons.data, run).values()) == {1}


def test_the_jobs_of_a_killed_broker_do_not_wait_for_its_leases_when_its_successor_saw_its_end(
    daemons: Any,
) -> None:
    """By itself this Router would hand on after two minutes without a heartbeat; the journal tells why it did."""
    start_patient_router(daemons)
    daemons.start("pipeliner")
    daemons.start("broker")
    with daemons.manager() as manager:
        pipeline = held(daemons.folder, 1)
        run = manager.start(pipeline)
        daemons.until(lambda: states(manager, run) == ["running"], what="it is running")
        daemons.kill("broker")
        let_go(daemons)
        daemons.start("broker")
        manager.wait(pipeline, 60)
        assert not pipeline.failed
    archive = Archive(daemons.data / "journal.db")
    ends = [fact for _, body in archive.facts(run) if isinstance(fact := unpack_fact(body), Returned)]
    archive.close()
    assert [(fact.attempt, fact.kind) for fact in ends] == [(1, "lost"), (2, "success")]
    assert "found nothing left of it" in ends[0].error.message


def test_cancel_ends_the_whole_process_tree(daemons: Any) -> None:
    daemons.cluster()
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("spawn_and_sleep"): None}, data={"folder": str(daemons.folder)})
        run = manager.start(pipeline)
        child = daemons.folder / "child"
        daemons.until(lambda: child.exists() and child.read_text(), what="the job has a child of its own")
        pid = int(child.read_text())
        manager.cancel(run, "enough")
        manager.wait(pipeline, 60)
        assert pipeline.error.reason == "enough"
        assert manager.status(run).state == "cancelled"
        daemons.until(lambda: is_gone(pid), what="the child is gone")


def children_of(up: int, kind: str) -> list[psutil.Process]:
    """The daemons of this kind that run under `up`."""
    found = []
    for child in psutil.Process(up).children():
        try:
            if kind in child.cmdline():
                found.append(child)
        except psutil.Error:
            continue  # it ended while we looked
    return found


def test_up_starts_again_whatever_dies(daemons: Any) -> None:
    up = daemons.start("up")
    daemons.joined()
    with daemons.manager() as manager:
        pipeline = slow_pipeline(daemons.folder)
        run = manager.start(pipeline)
        for kind in ("router", "pipeliner", "broker"):
            daemons.until(lambda kind=kind: len(children_of(up.pid, kind)) == 1, what=f"a {kind}")
            (victim,) = children_of(up.pid, kind)
            daemons.note_children()
            victim.send_signal(signal.SIGKILL)
            daemons.until(
                lambda kind=kind, gone=victim.pid: [one for one in children_of(up.pid, kind) if one.pid != gone],
                what=f"a new {kind}",
            )
        manager.wait(pipeline, 60)
        assert not pipeline.failed
    assert set(committed(daemons.data, run).values()) == {1}
