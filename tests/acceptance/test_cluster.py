"""A cluster's life: daemons come and go at any time, runs are large and many, and what users were promised holds."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline, Retry
from headrace.pipeline.errors import NotFound, Unreachable


def naps(count: int, seconds: float = 0.05, **options: Any) -> Pipeline:
    jobs = [Job("nap", {"seconds": seconds}, name=f"nap{number}") for number in range(count)]
    return Pipeline({Job("nothing"): jobs}, **options)


def traces(folder: Path) -> Counter[str]:
    file = folder / "executions"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def recorded(folder: Path, count: int) -> Pipeline:
    """Every job leaves a line; a join at the end."""
    jobs = [Job("record", {"name": f"job{number}"}, name=f"job{number}") for number in range(count)]
    return Pipeline({tuple(jobs): Job("nothing", name="last")}, data={"folder": str(folder)})


def stop(daemons: Any, name: str, number: int = signal.SIGTERM) -> None:
    """A stop by a signal ends a daemon well, and leaves no child of it."""
    children = daemons.children(name)
    process = daemons.processes.pop(name)
    process.send_signal(number)
    assert process.wait(40) == 0, daemons.log(name)[-3000:]
    daemons.until(lambda: not any(one.is_running() and one.status() != "zombie" for one in children), 15)


# Coming and going ---------------------------------------------------------------------------------------------------


def test_daemons_may_start_in_any_order(daemons: Any) -> None:
    daemons.start("broker")
    daemons.until(lambda: "connect" in daemons.log("broker"), what="the Broker looks for its Router")
    daemons.start("pipeliner")
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("nothing"): None})
        thread = threading.Thread(target=manager.start, args=(pipeline,))
        thread.start()
        daemons.start("router")
        thread.join(60)
        assert manager.wait(pipeline, 60).state == "success"


def test_brokers_and_pipeliners_join_and_leave_in_the_middle_of_a_run(daemons: Any) -> None:
    """Nothing is lost, nothing counts twice, and nothing that was running in an orderly stop runs again."""
    daemons.cluster()
    with daemons.manager() as manager:
        pipeline = recorded(daemons.folder, 300)
        run = manager.start(pipeline)
        daemons.until(lambda: sum(traces(daemons.folder).values()) >= 20, what="the run is under way")
        daemons.start("broker2")
        daemons.start("pipeliner2")
        daemons.joined(brokers=2, pipeliners=2)
        stop(daemons, "broker")
        stop(daemons, "pipeliner")
        daemons.until(lambda: sum(traces(daemons.folder).values()) >= 100, what="others have taken over")
        daemons.start("broker3")
        daemons.joined(brokers=2, pipeliners=1)
        stop(daemons, "broker2", signal.SIGINT)
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error
        attempts = Counter(fact.job for _, fact in manager.facts(run) if getattr(fact, "kind", "") == "success")
    assert traces(daemons.folder) == Counter(f"job{number}" for number in range(300))
    assert set(attempts.values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stopped_daemon_leaves_no_child(daemons: Any, number: int) -> None:
    daemons.cluster()
    daemons.joined()
    for name in ("broker", "pipeliner", "router"):
        stop(daemons, name, number)


def test_a_stopping_broker_gives_running_jobs_their_grace(daemons: Any) -> None:
    """What runs may end; what waits goes to somebody else; both are one attempt."""
    daemons.cluster()
    begun = daemons.folder / "begun"
    with daemons.manager() as manager:
        jobs = [Job("nap_visibly", {"name": f"nap{number}"}, name=f"nap{number}") for number in range(6)]
        pipeline = Pipeline(dict.fromkeys(jobs), data={"folder": str(daemons.folder), "seconds": 1.0})
        run = manager.start(pipeline)
        daemons.until(lambda: begun.exists() and len(begun.read_text().split()) == 2, what="two are running")
        stop(daemons, "broker")
        states = manager.status(run).states
        ended = {name for name, state in states.items() if state == "success"}
        assert set(begun.read_text().split()) == ended and len(ended) in (2, 3)
        daemons.start("broker2")
        manager.wait(pipeline, 60)
        attempts = [(fact.attempt, fact.kind) for _, fact in manager.facts(run) if getattr(fact, "job", None)]
    assert attempts == [(1, "success")] * 6
    assert len(begun.read_text().split()) == 6


def test_a_grace_that_is_over_hands_the_job_on_uncharged(daemons: Any) -> None:
    daemons.start("router")
    daemons.start("pipeliner")
    daemons.start("broker", "--grace", "0.2")
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("nap", {"seconds": 3.0}): None})
        run = manager.start(pipeline)
        daemons.until(lambda: manager.status(run).states == {"nap": "running"})
        stop(daemons, "broker")
        daemons.start("broker2")
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error
        ends = [(fact.kind, fact.charged) for _, fact in manager.facts(run) if getattr(fact, "job", None)]
    assert ends == [("lost", False), ("success", True)]


def test_a_second_router_on_one_data_folder_is_refused_with_the_pid_of_the_first(daemons: Any) -> None:
    first = daemons.start("router")
    with daemons.manager() as manager:
        manager.cluster()
    line = [sys.executable, "-m", "headrace", "router", "--api", f"ipc://{daemons.folder}/api2"]
    line += ["--broadcast", f"ipc://{daemons.folder}/broadcast2", "--data", str(daemons.data)]
    second = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode != 0
    assert str(first.pid) in second.stderr and str(daemons.data) in second.stderr
    assert "Traceback" not in second.stderr


def test_a_router_on_a_port_that_is_taken_says_so(daemons: Any) -> None:
    daemons.start("router")
    with daemons.manager() as manager:
        manager.cluster()
    line = [sys.executable, "-m", "headrace", "router", "--api", daemons.api, "--data", str(daemons.folder / "other")]
    second = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode != 0
    assert f"cannot listen on {daemons.api}" in second.stderr and "Traceback" not in second.stderr


def test_a_restart_of_the_router_is_survived_by_a_client_that_waits_in_update(daemons: Any) -> None:
    daemons.cluster()
    with daemons.manager() as manager:
        pipelines = [recorded(daemons.folder, 20) for _ in range(5)]
        manager.start_many(pipelines)
        restarts = 0
        while not all(pipeline.finished for pipeline in pipelines):
            manager.update()
            if restarts < 2 and sum(traces(daemons.folder).values()) >= 20 * (restarts + 1):
                restarts += 1
                daemons.kill("router")
                daemons.start("router")
        assert restarts == 2 and manager.finished_pipelines == 5
        assert not any(pipeline.failed for pipeline in pipelines)


def test_a_router_that_goes_away_is_an_error_after_the_deadline_and_no_hang(daemons: Any) -> None:
    daemons.cluster()
    daemons.joined()
    with daemons.manager(timeout=1.0) as manager:
        pipeline = naps(4, 0.5)
        run = manager.start(pipeline)
        daemons.kill("router")
        began = time.monotonic()
        with pytest.raises(Unreachable):
            manager.status(run)
        with pytest.raises(Unreachable):
            while not pipeline.finished:
                manager.update()
        assert time.monotonic() - began < 30
        daemons.start("router")
        manager.wait(pipeline, 60)
        assert not pipeline.failed
    done = daemons.command("status", "--api", f"ipc://{daemons.folder}/nobody", "--answer-timeout", "0.5")
    assert done.returncode == 4 and "Traceback" not in done.stderr


# Large and many -----------------------------------------------------------------------------------------------------


def test_starting_costs_the_same_however_many_there_are(serving: Any) -> None:
    """A small one of the 30,000 that the ancestor's benchmark started."""
    with serving.manager() as manager:
        took: list[float] = []
        for _ in range(6):
            began = time.monotonic()
            for _ in range(250):
                manager.start(Pipeline({Job("nothing"): None}))
            took.append(time.monotonic() - began)
        while manager.finished_pipelines < 1500:
            manager.update()
        assert manager.started_pipelines == 1500
        assert sum(took[3:]) < 3 * sum(took[:3]) + 1.0
        manager.forget()
        assert not list(manager.pipelines)


@pytest.mark.timeout(240)
def test_a_pipeline_of_a_hundred_thousand_jobs_and_a_chain_ten_thousand_deep(serving: Any) -> None:
    with serving.manager(timeout=60) as manager:
        leaves = [Job("nothing", name=f"leaf{number}") for number in range(100_000)]
        wide = Pipeline({Job("nothing"): leaves})
        links = [Job("nothing", name=f"link{number}") for number in range(10_000)]
        deep = Pipeline(dict(pairwise(links)))
        manager.start_many([wide, deep])
        assert manager.wait(wide, 200).state == "success"
        assert manager.wait(deep, 200).state == "success"
        assert set(manager.status(wide).states.values()) == {"success"}
        assert len(manager.status(deep).states) == 10_000


def test_failures_with_long_tracebacks_move_to_another_pipeliner(daemons: Any) -> None:
    """All of them together are more than one message may be."""
    daemons.cluster()
    with daemons.manager(timeout=60) as manager:
        failing = Job("fail_at_length", bind="named", on_error="continue")
        pipeline = Pipeline(
            {Job("list_of", {"count": 2000}, spread=True): failing, Job("wait_for"): None},
            data={"folder": str(daemons.folder)},
        )
        run = manager.start(pipeline)
        daemons.until(lambda: manager.status(run).states["fail_at_length"] == "failed", what="all have failed")
        daemons.kill("pipeliner")
        daemons.start("pipeliner2")
        (daemons.folder / "go").touch()
        ended = manager.wait(pipeline, 100)
        assert ended.state == "success", ended.error
        facts = [fact for _, fact in manager.facts(run) if getattr(fact, "job", None) == "fail_at_length"]
        assert sum(len(fact.error.message) + len(fact.error.traceback) for fact in facts) > 64 << 20


# What users were promised -------------------------------------------------------------------------------------------


def test_results_are_read_by_another_process_with_only_an_id(serving: Any) -> None:
    with serving.manager() as manager:
        pipeline = Pipeline({Job("add_one"): None}, data={"number": 1})
        run = manager.start(pipeline)
        manager.wait(pipeline, 60)
    text = "import sys; from headrace import PipelineManager; print(PipelineManager().results(sys.argv[1]))"
    line = [sys.executable, "-c", text, run]
    told = subprocess.run(line, env=serving.env(), capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "{'add_one': {'number': 2}}\n"
    assert '"number": 2' in serving.command("results", run, "--json").stdout


def test_short_jobs_do_not_wait_behind_a_long_one_while_a_worker_is_idle(serving: Any) -> None:
    """They may be prefetched behind it; then they are handed back."""
    with serving.manager() as manager:
        short = [Job("nothing", name=f"short{number}") for number in range(300)]
        pipeline = Pipeline({Job("nothing"): [Job("wait_for"), *short]}, data={"folder": str(serving.folder)})
        (serving.folder / "go").unlink(missing_ok=True)
        run = manager.start(pipeline)
        serving.until(
            lambda: Counter(manager.status(run).states.values()) == Counter(success=301, running=1),
            what="all short ones have ended, and the long one runs",
        )
        (serving.folder / "go").touch()
        manager.wait(pipeline, 60)
        assert not pipeline.failed


def test_the_end_of_its_output_travels_with_a_failure(serving: Any) -> None:
    with serving.manager() as manager:
        pipeline = Pipeline({Job.shell("echo first; echo last >&2; exit 7", name="script"): None})
        run = manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert pipeline.error.job == "script" and "7" in pipeline.error.reason
        (error,) = [fact.error for _, fact in manager.facts(run) if getattr(fact, "job", None)]
    assert error.exit_code == 7 and "last" in error.log_tail


def test_a_quarantined_job_leaves_the_evidence(serving: Any) -> None:
    with serving.manager() as manager:
        pipeline = Pipeline({Job("poison", retry=Retry(10)): None})
        run = manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert "quarantined" in pipeline.error.reason and "exit code 42" in pipeline.error.reason
        assert pipeline.error.reason.count("attempt ") == 3, "every death is named"
    shown = serving.command("show", run).stdout
    assert "quarantined" in shown and "exit code 42" in shown


def test_pruned_runs_are_gone_with_their_values_and_their_ids_are_not_free(serving: Any) -> None:
    with serving.manager() as manager:
        pipeline = Pipeline({Job("text_of", {"size": 200_000}): None})
        run = manager.start(pipeline)
        manager.wait(pipeline, 60)
        values = serving.data / "values" / run
        assert list(values.rglob("*"))
        assert manager.prune(run) == 1
        with pytest.raises(NotFound):
            manager.status(run)
        serving.until(lambda: not values.exists(), what="its values are removed")
        assert serving.command("show", run).returncode == 3
        with pytest.raises(NotFound):
            manager.prune(run)


def test_idle_daemons_cost_next_to_nothing(serving: Any) -> None:
    """Under a twentieth of a core, and 200 MB for everything."""
    with serving.manager() as manager:
        assert manager.cluster()["router"]["open_runs"] == 0
    everything = [psutil.Process(process.pid) for process in serving.processes.values()]
    everything += [child for process in everything for child in process.children(recursive=True)]
    before, began = sum(sum(one.cpu_times()[:2]) for one in everything), time.monotonic()
    heard = serving.log("router").count("\n")
    serving.until(lambda: time.monotonic() - began > 3.0, what="time passes: it is what is measured")
    used = sum(sum(one.cpu_times()[:2]) for one in everything) - before
    assert used / (time.monotonic() - began) < 0.05
    assert serving.log("router").count("\n") == heard, "nothing is said when nothing happens"
    assert sum(memory_of(one) for one in everything) < 250 << 20


def memory_of(process: psutil.Process) -> int:
    """What is shared is counted once, where the system can tell."""
    info = process.memory_full_info()
    return int(getattr(info, "pss", info.uss))
