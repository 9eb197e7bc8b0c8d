"""A cluster's life: daemons come and go at any time, runs are large and many, and what users were promised holds."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline, Retry
from headrace.pipeline.errors import NotFound, Unreachable


def traces(folder: Path) -> Counter[str]:
    file = folder / "executions"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def recorded(folder: Path, count: int) -> Pipeline:
    """Every job leaves a line; a join at the end."""
    jobs = [Job("record", {"name": f"job{number}"}, name=f"job{number}") for number in range(count)]
    return Pipeline({tuple(jobs): Job("nothing", name="last")}, data={"folder": str(folder)})


HOLD = """

@worker
def hold(folder, name):
    '''Says that it has begun, and ends when it may.'''
    with open(os.path.join(folder, "begun"), "a") as file:
        file.write(f"{name}\\n")
    wait_for(folder)
"""


def stop(daemons: Any, name: str, number: int = signal.SIGTERM) -> None:
    """A stop by a signal ends a daemon well, and leaves no child of it."""
    children = daemons.children(name)
    daemons.processes[name].send_signal(number)
    stopped(daemons, name, children)


def stopped(daemons: Any, name: str, children: list[psutil.Process]) -> None:
    assert daemons.processes.pop(name).wait(60) == 0, daemons.log(name)[-3000:]
    daemons.until(lambda: not any(map(is_alive, children)), what=f"nothing is left of the {name}")


def is_alive(process: psutil.Process) -> bool:
    """It may end while it is looked at."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# Coming and going ---------------------------------------------------------------------------------------------------


def test_daemons_may_start_in_any_order(daemons: Any) -> None:
    daemons.start("broker")
    daemons.until(lambda: "connect" in daemons.log("broker"), what="the Broker looks for its Router")
    daemons.start("pipeliner")
    with daemons.manager(timeout=60) as manager:
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
    with (daemons.folder / "workers.py").open("a") as file:
        file.write(HOLD)
    daemons.cluster()
    begun = daemons.folder / "begun"
    with daemons.manager() as manager:
        jobs = [Job("hold", {"name": f"job{number}"}, name=f"job{number}") for number in range(6)]
        pipeline = Pipeline(dict.fromkeys(jobs), data={"folder": str(daemons.folder)})
        run = manager.start(pipeline)
        daemons.until(lambda: begun.exists() and len(begun.read_text().split()) == 2, what="two are running")
        children = daemons.children("broker")
        daemons.processes["broker"].terminate()
        daemons.until(lambda: "Stopping" in daemons.log("broker"), what="the Broker knows that it has to stop")
        daemons.until(lambda: manager.cluster()["router"]["running"] == 2, what="what waits was handed back")
        (daemons.folder / "go").touch()
        stopped(daemons, "broker", children)
        running = set(begun.read_text().split())
        assert len(running) == 2
        daemons.until(lambda: succeeded(manager, run) == running, what="what ran has ended, and nothing else")
        daemons.start("broker2")
        manager.wait(pipeline, 60)
        attempts = [(fact.attempt, fact.kind) for _, fact in manager.facts(run) if getattr(fact, "job", None)]
    assert attempts == [(1, "success")] * 6
    assert len(begun.read_text().split()) == 6


def succeeded(manager: Any, run: str) -> set[str]:
    return {name for name, state in manager.status(run).states.items() if state == "success"}


def test_a_grace_that_is_over_hands_the_job_on_uncharged(daemons: Any) -> None:
    daemons.start("router")
    daemons.start("pipeliner")
    daemons.start("broker", "--grace", "0.2")
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("wait_for"): None}, data={"folder": str(daemons.folder)})
        run = manager.start(pipeline)
        daemons.until(lambda: manager.status(run).states == {"wait_for": "running"}, what="it is running")
        stop(daemons, "broker")
        (daemons.folder / "go").touch()
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
        last = Pipeline({Job("wait_for"): None}, data={"folder": str(daemons.folder)})
        pipelines = [*(recorded(daemons.folder, 20) for _ in range(5)), last]
        manager.start_many(pipelines)
        restarts = 0
        while not all(pipeline.finished for pipeline in pipelines):
            manager.update()
            if restarts < 2 and sum(traces(daemons.folder).values()) >= 20 * (restarts + 1):
                restarts += 1
                daemons.kill("router")
                daemons.start("router")
                if restarts == 2:
                    (daemons.folder / "go").touch()
        assert restarts == 2 and manager.finished_pipelines == 6
        assert not any(pipeline.failed for pipeline in pipelines)


def patiently(call: Callable[..., object], *arguments: object) -> bool:
    """Is the Router there now?"""
    try:
        call(*arguments)
    except Unreachable:
        return False
    return True


def test_a_router_that_goes_away_is_an_error_after_the_deadline_and_no_hang(daemons: Any) -> None:
    daemons.cluster()
    daemons.joined()
    pipeline = Pipeline({Job("wait_for"): None}, data={"folder": str(daemons.folder)})
    with daemons.manager(timeout=1.0) as manager:
        # An answer may take longer than this manager waits: then it is the same request again.
        daemons.until(lambda: patiently(manager.start, pipeline) and pipeline.id, what="it is accepted")
        daemons.kill("router")
        with pytest.raises(Unreachable):
            manager.status(pipeline)
        with pytest.raises(Unreachable):
            while not pipeline.finished:
                manager.update()
        daemons.start("router")
        (daemons.folder / "go").touch()
        daemons.until(lambda: patiently(manager.update) and pipeline.finished, what="the same manager hears its end")
        assert not pipeline.failed, pipeline.error
    done = daemons.command("status", "--api", f"ipc://{daemons.folder}/nobody", "--answer-timeout", "0.5")
    assert done.returncode == 4 and "Traceback" not in done.stderr


# Large and many -----------------------------------------------------------------------------------------------------


def test_starting_costs_the_same_however_many_there_are(serving: Any) -> None:
    """A small one of the 30,000 that the ancestor's benchmark started."""
    with serving.manager() as manager:
        costs: list[float] = []
        router = psutil.Process(serving.processes["router"].pid)
        for _ in range(6):
            before = time.process_time() + sum(router.cpu_times()[:2])
            for _ in range(250):
                manager.start(Pipeline({Job("nothing"): None}))
            costs.append(time.process_time() + sum(router.cpu_times()[:2]) - before)
        while manager.finished_pipelines < 1500:
            manager.update()
        assert manager.started_pipelines == 1500
        assert sum(costs[3:]) < 3 * sum(costs[:3]) + 1.0, "processor time, because this machine may be busy"
        manager.forget()
        assert not list(manager.pipelines)


@pytest.mark.timeout(600)
def test_a_pipeline_of_a_hundred_thousand_jobs_and_a_chain_ten_thousand_deep(serving: Any) -> None:
    with serving.manager(timeout=200) as manager:
        leaves = [Job("nothing", name=f"leaf{number}") for number in range(100_000)]
        wide = Pipeline({Job("nothing"): leaves})
        links = [Job("nothing", name=f"link{number}") for number in range(10_000)]
        deep = Pipeline(dict(pairwise(links)))
        manager.start_many([wide, deep])
        assert manager.wait(wide, 500).state == "success"
        assert manager.wait(deep, 500).state == "success"
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
        daemons.until(lambda: manager.status(run).states["fail_at_length"] == "failed", 200, "all have failed")
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
    text = "import sys; from headrace import PipelineManager; print(PipelineManager(timeout=60).results(sys.argv[1]))"
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
    """Under a twentieth of a core, and 250 MB for everything, once they have come to rest."""
    with serving.manager() as manager:
        assert manager.cluster()["router"]["open_runs"] == 0
    serving.until(lambda: rests(serving), what="for three seconds next to nothing is done, and nothing is said")
    assert sum(memory_of(one) for one in everything(serving)) < 250 << 20


def everything(serving: Any) -> list[psutil.Process]:
    daemons = [psutil.Process(process.pid) for process in serving.processes.values()]
    return daemons + [child for process in daemons for child in process.children(recursive=True)]


def rests(serving: Any) -> bool:
    """What came before may have an end that takes a while: whoever left is missed only then."""
    processes, said, began = everything(serving), serving.log("router"), time.monotonic()
    before = used(processes)
    serving.until(lambda: time.monotonic() - began > 3.0, what="time passes: it is what is measured")
    share = (used(processes) - before) / (time.monotonic() - began)
    return share < 0.05 and serving.log("router") == said


def used(processes: list[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def memory_of(process: psutil.Process) -> int:
    """What is shared is counted once, where the system can tell."""
    info = process.memory_full_info()
    return int(getattr(info, "pss", info.uss))
