"""What a user may do to a run: cancel, pause, retry, prune; each is durable and may be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace import Job, Pipeline
from headrace.pipeline.errors import NotFound, Refused

PICKY = """
import os
from headrace import worker


def trace(folder, name):
    with open(os.path.join(folder, "trace"), "a") as file:
        file.write(name + " ")


@worker
def good(folder):
    trace(folder, "good")
    return {"good": 1}


@worker
def picky(folder):
    trace(folder, "picky")
    assert os.path.exists(os.path.join(folder, "flag")), "no flag yet"
    return {"picky": 2}


@worker
def last(good, picky):
    return good + picky
"""


def test_retry_does_again_what_failed_and_what_follows_and_keeps_the_rest(daemons: Any) -> None:
    (daemons.folder / "workers.py").write_text(PICKY)
    daemons.cluster()
    with daemons.manager() as manager:
        pipeline = Pipeline(
            {Job("good"): Job("picky"), Job("picky"): Job("last")}, data={"folder": str(daemons.folder)}
        )
        run = manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert pipeline.failed and "no flag yet" in pipeline.error.reason
        Path(daemons.folder, "flag").touch()
        assert manager.retry(run) == run
        ended = manager.wait(run, 60)
        assert ended.state == "success" and ended.results["last"] == 3
        assert (daemons.folder / "trace").read_text() == "good picky picky "
        with pytest.raises(Refused, match="has succeeded"):
            manager.retry(run)
        with pytest.raises(NotFound):
            manager.retry("0" * 32)


def test_a_paused_run_starts_nothing_even_after_a_restart_of_the_router(daemons: Any) -> None:
    daemons.cluster()
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("wait_for"): Job("nothing")}, data={"folder": str(daemons.folder)})
        run = manager.start(pipeline)
        daemons.until(lambda: manager.status(run).states["wait_for"] == "running", what="the first job runs")
        manager.pause(run)
        (daemons.folder / "go").touch()
        daemons.until(lambda: manager.status(run).states["wait_for"] == "success", what="the first job has ended")
        daemons.kill("router")
        daemons.start("router")
        assert "paused" in manager.explain(run)
        daemons.until(lambda: manager.status(run).states["nothing"] == "queued", what="it was tracked again")
        manager.resume(run)
        manager.wait(pipeline, 60)
        assert not pipeline.failed


ROLES = """
from headrace import worker


@worker(role="encode")
def encode():
    return "encoded"


@worker
def plain():
    return "done"
"""


def test_a_paused_role_and_a_paused_cluster_stay_so_over_restarts_of_the_router(daemons: Any) -> None:
    (daemons.folder / "workers.py").write_text(ROLES)
    daemons.cluster()
    daemons.joined()
    with daemons.manager() as manager:
        manager.pause(role="encode")
        run = manager.start(Pipeline({Job("encode", role="encode"): None, Job("plain"): None}))
        daemons.until(lambda: manager.status(run).states == {"encode": "queued", "plain": "success"})
        daemons.kill("router")
        daemons.start("router")
        daemons.joined()
        assert manager.cluster()["paused"] == {"cluster": False, "roles": ["encode"]}
        daemons.until(lambda: "paused: role encode" in manager.explain(run, "encode"), what="it is queued again")
        manager.pause()
        daemons.kill("router")
        daemons.start("router")
        daemons.joined()
        other = manager.start(Pipeline({Job("plain"): None}))
        daemons.until(lambda: "paused: the cluster" in manager.explain(other, "plain"), what="nothing is started")
        assert "paused: the cluster, role encode" in daemons.command("status").stdout
        assert daemons.command("resume", "--role", "encode").returncode == 0
        assert manager.status(other).states == {"plain": "queued"}
        assert daemons.command("resume", "--cluster").stdout.strip() == "the cluster goes on"
        assert manager.wait(run, 60).state == manager.wait(other, 60).state == "success"


def test_a_finished_run_stays_readable_until_it_is_pruned(daemons: Any) -> None:
    daemons.cluster()
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("add_one"): None}, data={"number": 1})
        run = manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert manager.results(run) == {"add_one": {"number": 2}}
        assert daemons.command("results", run).returncode == 0
        manager.prune(run)
        daemons.until(lambda: all(one.id != run for one in manager.list()), what="it is gone from the list")
        with pytest.raises(NotFound):
            manager.status(run)


def test_a_drained_broker_gets_nothing_new(daemons: Any) -> None:
    daemons.cluster()
    with daemons.manager() as manager:
        daemons.until(lambda: manager.cluster()["brokers"], what="the Broker has joined")
        place = manager.cluster()["brokers"][0]["place"]
        manager.drain(place)
        pipeline = Pipeline({Job("nothing"): None})
        manager.start(pipeline)
        daemons.start("broker2")
        manager.wait(pipeline, 60)
        first = [one for one in manager.cluster()["brokers"] if one["place"] == place]
        assert first and first[0]["running"] == 0
        with pytest.raises(NotFound):
            manager.drain("nowhere/0")
