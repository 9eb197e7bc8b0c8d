"""The doors that users stand at: what cannot work, module, store, file or value, is told so at once and clearly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace import Job, Pipeline, PipelineManager
from headrace.pipeline.errors import DefinitionError, Unreachable, ValueNotSupported

GOOD = "from headrace import worker\n\n\n@worker\ndef nothing():\n    return None\n"

BROKEN_MODULES = {
    "a syntax error": ("def nothing(:\n", "SyntaxError"),
    "an import of what is not there": ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
    "an error of its own": ("raise RuntimeError('not today')\n", "not today"),
    "an exit": ("import sys\nsys.exit(3)\n", "exit"),
    "a name in __all__ that is missing": ("__all__ = ['Missing']\n", "Missing"),
    "one that prints a lot before it fails": ("print('x' * 1_000_000)\nraise RuntimeError('at last')\n", "at last"),
}
BROKEN_STORES = {
    "no such module": ("nowhere:Store", "nowhere"),
    "no such class": ("stores:Missing", "Missing"),
    "no name": ("stores", "module:Class"),
    "a class without its methods": ("stores:Useless", "retrieve"),
    "a class that cannot be made": ("stores:Stubborn", "I will not"),
    "a class that takes no configuration": ("stores:Narrow", "folder"),
}
STORES = '''
import os, time


class Useless:
    pass


class Stubborn:
    def __init__(self, **config):
        raise RuntimeError("I will not")

    def retrieve(self, info): ...
    def save(self, info): ...


class Narrow:
    def __init__(self):
        pass

    def retrieve(self, info): ...
    def save(self, info): ...


class Weak:
    """Fails a few times each, as files in its folder say, and hangs when asked to."""

    def __init__(self, folder):
        self.folder = folder

    def _trouble(self, call):
        left = [name for name in os.listdir(self.folder) if name.startswith(call)]
        if left:
            os.remove(os.path.join(self.folder, left[0]))
            raise ConnectionError(f"no {call} today")

    def retrieve(self, info):
        self._trouble("retrieve")
        if info["data"].get("hang"):
            time.sleep(600)
        return {key: info["data"][key] for key in info["worker_requires"]}

    def save(self, info):
        self._trouble("save")
        with open(os.path.join(self.folder, "saved"), "a") as file:
            file.write(f"{info['worker']}={info['worker_result']}\\n")
'''


@pytest.fixture(scope="module")
def routed(stage: Any) -> Any:
    """A Router that waits for Brokers."""
    (stage.folder / "stores.py").write_text(STORES)
    (stage.folder / "headrace.toml").write_text('[router]\nstore-config = {folder = "somewhere"}\n')
    stage.start("router")
    return stage


@pytest.mark.parametrize("what", BROKEN_MODULES)
def test_a_module_that_cannot_work_ends_its_broker_with_the_reason(routed: Any, what: str) -> None:
    text, reason = BROKEN_MODULES[what]
    name = f"broken{list(BROKEN_MODULES).index(what)}"
    (routed.folder / f"{name}.py").write_text(text)
    refused(routed, reason, "--workers", name)


def test_without_a_router_it_is_told_all_the_same(daemons: Any) -> None:
    (daemons.folder / "workers.py").write_text("raise RuntimeError('not today')\n")
    refused(daemons, "not today")


def test_a_module_that_was_named_has_to_be_there(routed: Any) -> None:
    refused(routed, "elsewhere", "--workers", "elsewhere")


def test_two_modules_with_a_worker_of_the_same_name_are_refused(routed: Any) -> None:
    for name in ("one", "two"):
        (routed.folder / f"{name}.py").write_text(GOOD)
    refused(routed, "nothing", "--workers", "one,two")


def test_a_module_without_workers_is_a_warning(daemons: Any) -> None:
    (daemons.folder / "workers.py").write_text("number = 5\n")
    daemons.cluster()
    daemons.until(lambda: "no workers" in daemons.log("broker"), what="the warning")
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("echo", {"text": "hello"}): None})
        manager.start(pipeline)
        assert manager.wait(pipeline, 60).state == "success", "the roles that every Broker has are there"


STUCK = """
from headrace import Worker


class Stuck(Worker):
    def __init__(self):
        raise RuntimeError("no hands")

    def process(self, data):
        return None
"""


def test_a_worker_that_cannot_be_made_fails_its_jobs_and_no_others(daemons: Any) -> None:
    with (daemons.folder / "workers.py").open("a") as file:
        file.write(STUCK)
    daemons.cluster()
    with daemons.manager() as manager:
        pipeline = Pipeline({Job("Stuck"): None})
        manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert "'Stuck' cannot be made: RuntimeError: no hands" in pipeline.error.reason
    daemons.serves()


@pytest.mark.parametrize("what", BROKEN_STORES)
def test_a_store_that_cannot_work_ends_its_broker_with_the_reason(routed: Any, what: str) -> None:
    store, reason = BROKEN_STORES[what]
    refused(routed, reason, "--store", store)


def refused(daemons: Any, reason: str, *arguments: str) -> None:
    """The Broker ends by itself, soon, with a code that is not 0 and a clear sentence."""
    before = len(daemons.log("broker")) if (daemons.folder / "broker.log").exists() else 0
    broker = daemons.start("broker", *arguments)
    code = broker.wait(120)
    daemons.processes.pop("broker")
    said = daemons.log("broker")[before:]
    assert code not in (0, None) and reason in said, said
    assert [line for line in said.splitlines() if line.startswith("headrace: ")], said


def test_up_ends_with_the_reason_when_the_workers_cannot_be_imported(daemons: Any) -> None:
    (daemons.folder / "workers.py").write_text("import nowhere_to_be_found\n")
    up = daemons.start("up")
    assert up.wait(120) == 2
    assert "nowhere_to_be_found" in daemons.log("up")


# A store that fails is no failed job --------------------------------------------------------------------------------


@pytest.fixture
def weak(daemons: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cluster whose store is weak. The folder says what it fails at."""
    daemons.trouble = tmp_path_factory.mktemp("store")
    (daemons.folder / "stores.py").write_text(STORES)
    (daemons.folder / "headrace.toml").write_text(f'[router]\nstore-config = {{folder = "{daemons.trouble}"}}\n')
    daemons.start("router")
    daemons.start("pipeliner")
    daemons.start("broker", "--store", "stores:Weak")
    daemons.joined()
    return daemons


@pytest.mark.parametrize("call", ["retrieve", "save"])
def test_a_store_that_fails_a_few_times_is_asked_again(weak: Any, call: str) -> None:
    for number in range(3):
        (weak.trouble / f"{call}{number}").touch()
    with weak.manager() as manager:
        pipeline = Pipeline({Job("add_one"): None}, data={"number": 1})
        run = manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error
        attempts = [fact.attempt for _, fact in manager.facts(run) if getattr(fact, "job", None)]
    assert attempts == [1], "the store's faults are not the job's"
    assert (weak.trouble / "saved").read_text() == "add_one={'number': 2}\n"


def test_a_store_that_hangs_is_ended_by_the_timeout_of_the_job(weak: Any) -> None:
    with weak.manager() as manager:
        stuck = Pipeline({Job("add_one", timeout=0.3): None}, data={"number": 1, "hang": True})
        manager.start(stuck)
        manager.wait(stuck, 60)
        assert "timeout of 0.3 s" in stuck.error.reason
        good = Pipeline({Job("add_one"): None}, data={"number": 1})
        manager.start(good)
        assert manager.wait(good, 60).state == "success"


# Pipelines ----------------------------------------------------------------------------------------------------------


def test_values_that_cannot_travel_are_refused_before_anything_is_sent(serving: Any) -> None:
    with serving.manager() as manager:
        pipeline = Pipeline({Job("nothing"): None}, data={"rows": [1, {"file": object()}]})
        with pytest.raises(ValueNotSupported, match=r"data\['rows'\]\[1\]\['file'\].*object"):
            manager.start(pipeline)
        assert pipeline.id is None
    serving.serves()


def test_ten_megabytes_of_text_reach_the_job(serving: Any) -> None:
    with serving.manager() as manager:
        pipeline = Pipeline({Job("Counter"): Job("nothing")}, data={"text": "spam " * (2 << 20)})
        manager.start(pipeline)
        assert manager.wait(pipeline, 60).results["Counter"] == {"length": 10 << 20}


def test_what_is_too_large_for_the_wire_is_refused_with_what_to_do(serving: Any) -> None:
    with serving.manager() as manager:
        pipeline = Pipeline({Job("nothing"): None}, data={"text": "x" * (70 << 20)})
        with pytest.raises(DefinitionError, match="put large data into a store or a file"):
            manager.start(pipeline)
    serving.serves()


def test_results_of_many_megabytes_in_all_meet_in_one_job(serving: Any) -> None:
    """Each is small enough to travel with its message; all together are more than one message may be."""
    with serving.manager() as manager:
        parts = [Job("text_of", {"size": 60_000}, name=f"part{number}") for number in range(1150)]
        joins = [Job("total", name=f"total{number}", bind="args") for number in range(2)]
        pipeline = Pipeline({tuple(parts): joins})
        manager.start(pipeline)
        ended = manager.wait(pipeline, 100)
        assert ended.state == "success", ended.error
        assert [manager.results(pipeline)[join.name] for join in joins] == [1150 * 60_000] * 2


def test_large_own_data_below_a_spread_does_not_multiply_into_one_message(serving: Any) -> None:
    with serving.manager() as manager:
        work = Job("size_of_both", {"text": "x" * 200_000}, bind="named")
        pipeline = Pipeline({Job("list_of", {"count": 1000}, spread=True): work})
        manager.start(pipeline)
        ended = manager.wait(pipeline, 100)
        assert ended.state == "success", ended.error
        assert manager.results(pipeline)["size_of_both"] == [200_000 + number for number in range(1000)]


def test_a_worker_that_nobody_has_waits_visibly_and_not_longer_than_its_queue_timeout(serving: Any) -> None:
    with serving.manager() as manager:
        patient, hasty = Pipeline({Job("absent"): None}), Pipeline({Job("absent", queue_timeout=0.3): None})
        manager.start_many([patient, hasty])
        manager.wait(hasty, 60)
        assert "no Broker offers worker absent" in hasty.error.reason
        serving.until(
            lambda: "no Broker offers worker absent" in str(manager.explain(patient)),
            what="the other one says what it waits for, as soon as it is queued",
        )
        manager.cancel(patient)
        manager.wait(patient, 60)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def (\n", "SyntaxError"),
        ("raise RuntimeError('not today')\n", "not today"),
        ("number = 5\n", "holds no Pipeline"),
        (
            "from headrace import Job, Pipeline\npipeline = Pipeline({Job('A'): Job('B'), Job('B'): Job('A')})\n",
            "cycle",
        ),
        ("import sys\nsys.exit(0)\n", "SystemExit"),
    ],
    ids=["a syntax error", "an error", "no pipeline", "a cycle", "an exit"],
)
def test_a_file_that_holds_no_pipeline_is_a_usage_error(serving: Any, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    done = serving.command("submit", str(tmp_path / "bad.py"))
    assert done.returncode == 2, done
    assert reason in done.stderr and "headrace/daemons" not in done.stderr and not done.stdout


def test_a_router_that_is_not_there_is_a_clear_error_after_the_deadline(tmp_path: Path) -> None:
    with PipelineManager(api=f"ipc://{tmp_path}/nobody", timeout=0.5) as manager:
        pipeline = Pipeline({Job("nothing"): None})
        with pytest.raises(Unreachable, match="nobody"):
            manager.start(pipeline)
        assert pipeline.id is None
