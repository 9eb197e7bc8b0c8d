"""What is said to a run by its id: from Python and, with the same effect, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline
from headrace.pipeline.errors import NotFound, Refused


class Manager:
    """The verbs, said with a manager,"""

    def __init__(self, there: Any) -> None:
        self._manager = there.manager

    def say(self, verb: str, run: str | None = None, **options: Any) -> Any:
        given = [run] if run is not None else []
        return getattr(self._manager, verb)(*given, **options)


class CommandLine:
    """and with `headrace`."""

    def __init__(self, there: Any) -> None:
        self._daemons = there.daemons

    def say(self, verb: str, run: str | None = None, **options: Any) -> Any:
        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        done = self._daemons.command(verb, *([run] if run else []), *given)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(params=[Manager, CommandLine], ids=["manager", "command"])
def user(request: pytest.FixtureRequest, there: Any) -> Any:
    return request.param(there)


def begun(there: Any, pipeline: Pipeline, job: str) -> str:
    run: str = there.manager.start(pipeline)
    there.daemons.until(lambda: there.manager.status(run).states[job] == "running", what=f"{job} runs")
    return run


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def told(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "noted").read_text().splitlines()]


def test_cancel_ends_a_run_with_its_process_trees_and_calls_its_hooks(there: Any, user: Any, tmp_path: Path) -> None:
    # The file is there when what it says is.
    echo = f"echo $! > {tmp_path}/number; mv {tmp_path}/number {tmp_path}/child"
    command = Job.shell(f"sleep 600 & {echo}; wait", name="command")
    hook = Job("told", {"folder": str(tmp_path)}, bind="named")
    run = begun(there, Pipeline({command: Job("one")}, hooks={"always": hook, "failure": hook}), "command")
    there.daemons.until((tmp_path / "child").exists, what="the command has begun")
    child = psutil.Process(int((tmp_path / "child").read_text()))
    user.say("cancel", run, reason="enough of it")
    ended = there.manager.wait(run, 60)
    assert (ended.state, ended.error.reason, ended.error.job) == ("cancelled", "enough of it", None)
    assert ended.states == {"command": "cancelled", "one": "cancelled"}
    assert is_gone(child)
    assert told(tmp_path) == [["cancelled", {}, "enough of it"]]
    user.say("cancel", run)
    assert there.manager.status(run).error.reason == "enough of it", "to say it again changes nothing"


def test_a_paused_run_starts_nothing_until_it_is_resumed(there: Any, user: Any, tmp_path: Path) -> None:
    data = {"file": str(tmp_path / "go")}
    run = begun(there, Pipeline({Job("wait_for_file"): Job("one")}, data), "wait_for_file")
    user.say("pause", run)
    (tmp_path / "go").touch()
    there.daemons.until(lambda: there.manager.status(run).states["wait_for_file"] == "success", what="it has ended")
    assert "paused" in there.manager.explain(run)
    assert there.manager.status(run).states["one"] in ("waiting", "queued")
    user.say("resume", run)
    assert there.manager.wait(run, 60).state == "success"


def test_a_run_may_be_submitted_paused(there: Any, user: Any) -> None:
    run = there.manager.start(Pipeline({Job("one"): None}, paused=True))
    assert there.manager.status(run).states == {"one": "queued"} or "paused" in there.manager.explain(run)
    user.say("resume", run)
    assert there.manager.wait(run, 60).results == {"one": 1}


def test_retry_does_again_only_what_did_not_succeed_and_what_depends_on_it(
    there: Any, user: Any, tmp_path: Path
) -> None:
    graph = {
        Job("numbers", {"count": 4}, spread=True): Job("needs_file", bind="item"),
        Job("needs_file"): Job("collect", bind="gather"),
    }
    run = there.manager.start(Pipeline(graph, {"folder": str(tmp_path)}, on_error="block"))
    failed = there.manager.wait(run, 60)
    assert failed.states == {"numbers": "success", "needs_file": "failed", "collect": "skipped"}
    (tmp_path / "file").touch()
    user.say("retry", run)
    ended = there.manager.wait(run, 60)
    assert (ended.state, ended.id, ended.results["collect"]) == ("success", run, [0, 1, 2, 3])
    assert sorted(told(tmp_path)) == [0, 1, 2, 2, 3], "only the branch that failed ran twice"
    with pytest.raises(Refused, match="has succeeded"):
        there.manager.retry(run)


def test_rerun_is_a_new_run_of_the_same(there: Any, user: Any) -> None:
    first = there.run(Pipeline({Job("one"): Job("echoed", bind="item")}, title="twice", key="the first has it"))
    second = user.say("rerun", first.id)
    assert second != first.id
    assert there.manager.wait(second, 60).results == first.results == {"one": 1, "echoed": 1}


def test_prune_takes_what_ended_long_enough_ago_and_keeps_the_id(there: Any, user: Any) -> None:
    run = there.run(Pipeline({Job("one"): None})).id
    user.say("prune", older=0)
    with pytest.raises(NotFound):
        there.manager.status(run)


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry", "rerun", "explain"])
def test_a_verb_for_a_run_that_is_not_there_says_so(there: Any, verb: str) -> None:
    with pytest.raises(NotFound, match="there is no run"):
        getattr(there.manager, verb)("0" * 32)
    assert there.daemons.command(verb, "0" * 32).returncode == 3


# Keys, and runs that wait for others ----------------------------------------------------------------------------------


def keyed(on_duplicate: Any, job: Callable[[], Job] = lambda: Job("nap", {"seconds": 600})) -> Pipeline:
    return Pipeline({job(): None}, key="nightly", on_duplicate=on_duplicate)


def test_a_key_has_one_run(there: Any) -> None:
    first = begun(there, keyed("return"), "nap")
    assert there.manager.start(keyed("return")) == first
    with pytest.raises(Refused, match="nightly"):
        there.manager.start(keyed("reject"))
    second = there.manager.start(keyed("replace", lambda: Job("one")))
    assert second != first
    assert there.manager.wait(second, 60).results == {"one": 1}
    replaced = there.manager.status(first)
    assert replaced.state == "cancelled" and "replaced" in replaced.error.reason
    assert there.manager.start(keyed("return")) == second, "a key stays with its run when that has ended"


def test_a_run_waits_for_the_success_of_others(there: Any) -> None:
    first = there.manager.start(Pipeline({Job("nap", {"seconds": 0.3}): None}))
    second = there.run(Pipeline({Job("one"): None}, after=[first]))
    assert second.state == "success" and there.manager.status(first).state == "success"
    failing = there.manager.start(Pipeline({Job("fail"): None}))
    after = there.run(Pipeline({Job("one"): None}, after=[failing]))
    assert after.state == "failed" and after.states == {"one": "cancelled"}
    assert failing in after.error.reason


def test_a_drained_broker_takes_nothing_new(there: Any, user: Any) -> None:
    """The last test here: the Broker stays drained."""
    (broker,) = (one for one in there.manager.cluster()["brokers"] if "encode" in (one["roles"] or {}))
    if isinstance(user, CommandLine):
        assert there.daemons.command("broker", "drain", broker["place"]).returncode == 0
    else:
        there.manager.drain(broker["place"])
    run = there.manager.start(Pipeline({Job("one", role="encode"): None}))
    there.daemons.until(lambda: "draining" in there.manager.explain(run), what="it is draining")
    there.manager.cancel(run)
    assert there.manager.wait(run, 60).state == "cancelled"
