"""Steps in other processes: forks of this one, `headrace run`, and a real cluster."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace.pipeline.errors import DefinitionError, NotFound, ValueNotSupported
from headrace.pipeline.local import run_pipeline
from headrace.pipeline.styles.materialize import StepFailed
from headrace.steps import Context, Step

ACCEPTANCE = Path(__file__).parents[1] / "acceptance" / "conftest.py"
PASTA = '''
import os
from headrace.steps import Context, Step


class Cook(Step):
    """A base class: it has no `run`, and is no worker."""


class Chop(Cook):
    def __init__(self, what, pieces=2, **options):
        super().__init__(**options)
        self.what = what
        self.pieces = pieces

    def run(self, *before):
        return {"output": [self.what] * self.pieces, "pid": os.getpid()}


class Mix(Step):
    def run(self, *bowls):
        return {"output": [piece for bowl in bowls for piece in bowl.output], "name": str(self)}


class Burn(Step):
    def run(self, *before):
        raise ValueError("too hot")


ctx = Context()
onions = Chop("onion", ctx=ctx)
tomatoes = Chop("tomato", pieces=1, name_alias="Tomatoes", depends_on=onions)
sauce = Mix(depends_on=[tomatoes, onions])
'''


def loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Forks --------------------------------------------------------------------------------------------------------------


class Pid(Step):
    def run(self, *before: Any) -> Any:
        return {"output": os.getpid(), "before": [one.output for one in before]}


class Meets(Step):
    """Waits for another step that runs at the same time, and only then."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(**options)
        self.folder = folder

    def run(self, *before: Any) -> Any:
        import time

        (self.folder / str(self)).touch()
        deadline = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2:
            assert time.monotonic() < deadline, "nobody came"
            time.sleep(0.01)
        return str(self)


def test_processes_run_branches_at_the_same_time(tmp_path: Path) -> None:
    both = Step.join([Meets(tmp_path, name_alias="one"), Meets(tmp_path, name_alias="other")])
    assert both.materialize(processes=2) == ("one", "other")


def test_processes_are_other_processes_and_their_results_come_here() -> None:
    ctx = Context()
    head = Pid(Pid(name_alias="first", ctx=ctx), ctx=ctx)
    result = head.materialize(executor="processes")
    assert result.output != os.getpid()
    assert result.before == [ctx.first.output]
    assert ctx.Pid is not None
    assert head.materialize().output == result.output


def test_what_is_in_the_context_is_there_in_the_processes_too() -> None:
    class Calls(Step):
        def run(self, function: Any) -> Any:
            return function(3)

    ctx = Context(Square=lambda number: number * number)
    assert Calls(Pid(name_alias="Square", ctx=ctx)).materialize(processes=1) == 9


def test_a_result_that_cannot_leave_its_process_is_a_failure_with_a_name() -> None:
    class Opaque(Step):
        def run(self) -> Any:
            return object()

    with pytest.raises(StepFailed, match=r"step 'Opaque' failed: .*type object cannot travel"):
        Opaque().materialize(processes=1)


def test_a_failure_in_another_process_tells_step_reason_and_traceback() -> None:
    class Burns(Step):
        def run(self, before: Any) -> Any:
            raise ValueError("too hot")

    ctx = Context()
    with pytest.raises(StepFailed, match="step 'Burns' failed: ValueError: too hot") as caught:
        Burns(Pid(name_alias="first", ctx=ctx)).materialize(processes=2)
    assert caught.value.step == "Burns"
    assert 'raise ValueError("too hot")' in caught.value.traceback
    assert "first" in ctx


def test_a_step_with_a_timeout_is_ended_and_the_others_stay_here() -> None:
    class Sleeps(Step):
        job_options = {"timeout": 0.2}

        def run(self, before: Any) -> Any:
            import time

            time.sleep(60)

    with pytest.raises(StepFailed, match=r"step 'Sleeps' failed: .*timeout") as caught:
        Sleeps(Step.stepify(1)).materialize()
    assert caught.value.step == "Sleeps"


def test_steps_with_and_without_a_timeout_hand_over_to_each_other() -> None:
    class Timed(Step):
        job_options = {"timeout": 60}

        def run(self, *before: Any) -> Any:
            return {"output": os.getpid(), "before": [one.output for one in before]}

    here = Pid(Timed(Pid(name_alias="a"), name_alias="b"), name_alias="c")
    last = Timed([here, Pid(name_alias="d")], name_alias="e").materialize()
    assert last.output != os.getpid()
    assert last.before == [os.getpid(), os.getpid()]


# As a file ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pasta(tmp_path: Path) -> Path:
    (tmp_path / "pasta.py").write_text(PASTA)
    return tmp_path


SAUCE = {"output": ["tomato", "onion", "onion"], "name": "Mix"}


def headrace(folder: Path, *arguments: str) -> str:
    line = [sys.executable, "-m", "headrace", *arguments]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_a_file_of_steps_runs_from_the_command_line(pasta: Path) -> None:
    import json

    run = json.loads(headrace(pasta, "run", "pasta.py", "--json"))["run"]
    assert run["state"] == "success"
    assert run["results"]["Mix"] == SAUCE
    assert '"Tomatoes" -> "Mix";' in headrace(pasta, "dot", "pasta.py")
    assert "Mix" not in headrace(pasta, "dot", "pasta.py:tomatoes")


def test_the_pipeline_of_steps_gives_the_same_results_in_any_engine(pasta: Path) -> None:
    module = loaded(pasta / "pasta.py", "pasta")
    assert module.sauce.materialize() == SAUCE
    for processes in (0, 2):
        assert run_pipeline(module.sauce.to_pipeline(), processes=processes).results["Mix"] == SAUCE


def test_results_that_are_there_are_values_in_the_pipeline(pasta: Path) -> None:
    module = loaded(pasta / "pasta.py", "pasta")
    module.ctx.Chop = {"output": ["shallot"]}
    pipeline = module.sauce.to_pipeline(role="kitchen", priority=3)
    assert {job.name: job.worker_name for job in pipeline.jobs} == {
        "Chop": "headrace.steps.Value",
        "Tomatoes": "Chop",
        "Mix": "Mix",
    }
    assert {job.name: job.role for job in pipeline.jobs} == {"Chop": None, "Tomatoes": "kitchen", "Mix": "kitchen"}
    assert pipeline.priority == 3
    assert module.sauce.to_pipeline().run().results["Mix"]["output"] == ["tomato", "shallot"]


# On a cluster -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("steps")
    daemons = loaded(ACCEPTANCE, "steps_acceptance").Daemons(folder)
    (folder / "workers.py").write_text(PASTA)
    try:
        daemons.start("up")
        with daemons.manager() as manager:
            daemons.until(
                lambda: any("Mix" in broker["workers"] for broker in manager.cluster()["brokers"]),
                what="a Broker has the steps",
            )
        yield daemons
    finally:
        daemons.stop()


@pytest.fixture
def kitchen(daemons: Any) -> ModuleType:
    return loaded(daemons.folder / "workers.py", "workers")


def test_steps_run_on_a_cluster(daemons: Any, kitchen: ModuleType) -> None:
    with daemons.manager() as manager:
        result = kitchen.sauce.materialize(manager, timeout=60)
    assert result == SAUCE
    assert result.output == SAUCE["output"]
    assert kitchen.ctx.Chop.pid != os.getpid()
    assert kitchen.sauce.execution_plan().splitlines()[2:] == [" [*] ( ) Chop", " [x] (>) Tomatoes", " [x] (H) Mix"]


def test_results_of_a_context_and_ready_made_steps_travel(daemons: Any, kitchen: ModuleType) -> None:
    kitchen.ctx.Chop = {"output": ["shallot"]}
    mix = kitchen.Mix([Step.from_data(["salt"]), Step.stepify({"output": ["oil"]}), kitchen.onions])
    with daemons.manager() as manager:
        both = Step.join([mix, kitchen.onions]).materialize(manager, timeout=60)
    assert both == ({"output": ["salt", "oil", "shallot"], "name": "Mix"}, {"output": ["shallot"]})


def test_a_failure_on_a_cluster_tells_step_reason_and_traceback(daemons: Any, kitchen: ModuleType) -> None:
    with daemons.manager() as manager, pytest.raises(StepFailed, match="step 'Burn' failed: ValueError") as caught:
        kitchen.Burn(kitchen.onions).materialize(manager, timeout=60)
    assert caught.value.step == "Burn"
    assert "too hot" in caught.value.traceback
    assert "Chop" in kitchen.ctx


def test_what_no_broker_has_or_cannot_travel_is_refused_before_anything_runs(daemons: Any, kitchen: ModuleType) -> None:
    class Local(Step):
        def run(self) -> None: ...

    with daemons.manager() as manager:
        with pytest.raises(DefinitionError, match="defined inside a function"):
            Local().materialize(manager)
        with pytest.raises(NotFound, match="step 'Pid' needs it"):
            Pid().materialize(manager)
        with pytest.raises(ValueNotSupported, match="step 'Chop': attribute what"):
            kitchen.Chop(object()).materialize(manager)
        kitchen.ctx.Chop = object()
        with pytest.raises(ValueNotSupported, match="the result of step 'Chop' in its Context"):
            kitchen.sauce.materialize(manager)
        assert not [run for run in manager.list() if run.title == "Pid"]


def test_a_file_of_steps_is_submitted(daemons: Any) -> None:
    shown = daemons.command("submit", "workers.py", "--wait", "--json", "--timeout", "60")
    assert shown.returncode == 0, shown.stderr
    assert '"success"' in shown.stdout
