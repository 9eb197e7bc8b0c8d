"""Materializing: a plan is run, and the result of its head returned.

In this process the steps' own objects run, in the engine of all local runs: dependencies from left to right, depth
first. What a step returns stays here as an object and is handed to the next steps as it is; to the engine the job says
None. Only what a step in another process has to see is packed: with `executor='processes'`, and beside a step that has
a timeout. On a cluster the classes of the steps are looked up by the Brokers, and everything travels.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from inspect import iscoroutine, iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..answers import Choose, Graft, Skip
from ..errors import DefinitionError, JobError, NotFound
from .record import readable, readable_throughout
from .stepjobs import for_anywhere, job_of, options_of, pipeline_of
from .stepplan import StepPlan
from .steps import BUILT_IN, Step, name_of

if TYPE_CHECKING:
    from ..job import Job
    from ..manager import PipelineManager
    from ..run import Run

EXECUTORS = ("inline", "processes")


class StepFailed(JobError):
    """A step failed in another process, where its exception stays: `.step`, `.reason`, `.traceback`, `.run`."""

    def __init__(self, step: str | None, reason: str, traceback: str, run: str) -> None:
        self.step = step
        self.reason = reason
        self.traceback = traceback
        self.run = run
        super().__init__(f"step {step!r} failed: {reason}" if step is not None else f"the run {run} ended: {reason}")
        if traceback:
            self.add_note(traceback)


def materialize(head: Step, manager: Any, executor: str | None, processes: int | None, timeout: float | None) -> Any:
    """See `Step.materialize`."""
    count = _processes(manager, executor, processes, timeout)
    plan = StepPlan(head)
    if plan.is_here(head):
        assert head.ctx is not None
        return head.ctx[name_of(head)]
    for step in plan.steps:
        if not plan.is_here(step) and type(step).run is Step.run and "run" not in vars(step):
            Step.run(step)  # says that it is not written, before anything runs
    if manager is not None:
        return _on_cluster(plan, manager, timeout)
    return _on_this_machine(plan, count)


def _processes(manager: Any, executor: str | None, processes: int | None, timeout: float | None) -> int:
    """How many processes; 0 is this one."""
    if executor not in (None, *EXECUTORS):
        raise DefinitionError(f"materialize: executor must be 'inline' or 'processes', not {executor!r}")
    if processes is not None and (not isinstance(processes, int) or processes < 1 or executor == "inline"):
        raise DefinitionError(f"materialize: processes must be a number from 1 on, for processes, not {processes!r}")
    if manager is not None and (executor is not None or processes is not None):
        raise DefinitionError(
            "materialize: with a manager its cluster runs the steps: leave executor and processes out"
        )
    if manager is None and timeout is not None:
        raise DefinitionError(
            "materialize: timeout is for waiting for a cluster; a step is limited by job_options = {'timeout': seconds}"
        )
    if executor == "processes" or processes is not None:
        return processes or _processors()
    return 0


def _processors() -> int:
    """How many this process may use. macOS does not say it of a process."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Here ---------------------------------------------------------------------------------------------------------------


def _on_this_machine(plan: StepPlan, processes: int) -> Any:
    from ..local import run_pipeline

    bench = Bench(plan, processes)
    try:
        run = run_pipeline(pipeline_of(plan.steps, plan.needs, bench.job), processes=processes)
        return _result(plan, run, bench)
    finally:
        plan.settle()


class Bench:
    """What steps that run in this process share: the objects that they have returned, and what they have raised."""

    def __init__(self, plan: StepPlan, processes: int = 0) -> None:
        self.objects: dict[str, Any] = {}
        self.errors: dict[str, tuple[BaseException, TracebackType | None]] = {}
        self._plan = plan
        self._process = os.getpid()
        forked = {id(step) for step in plan.steps if processes or options_of(step).get("timeout") is not None}
        self._packed = forked | {id(one) for step in plan.steps if id(step) in forked for one in plan.needs(step)}
        """Steps whose results other processes have to see."""
        self._wanted = Counter(name_of(one) for step in plan.steps for one in _once_each(plan.needs(step)))
        """How many steps have still to run with an object."""
        self._turns = {id(step): -turn for turn, step in enumerate(plan.steps)}
        """Priorities: of the steps that could run, the first one in the order of the plan's steps does."""
        for step in plan.steps:
            if plan.is_here(step):
                assert step.ctx is not None
                self.objects[name_of(step)] = step.ctx[name_of(step)]

    def job(self, step: Step) -> Job:
        from ..job import Job

        if self._plan.is_here(step):
            return Job(_Given(name_of(step)), name=name_of(step), bind="args")
        call = _Call(self, step, [name_of(one) for one in self._plan.needs(step)])
        return job_of(step, call, priority=self._turns[id(step)])

    def take(self, names: Sequence[str], values: Sequence[Any]) -> list[Any]:
        """The arguments of a step: the objects themselves where they are here, else what the engine has handed over."""
        objects = self.objects
        pairs = zip(names, values, strict=True)
        return [objects[name] if name in objects else readable_throughout(value) for name, value in pairs]

    def put(self, step: Step, answer: Any) -> Any:
        """Keep what a step has returned; what the engine is told of it."""
        if os.getpid() != self._process or isinstance(answer, Choose | Graft | Skip):
            return answer
        self.objects[name_of(step)] = result = readable(answer)
        self._plan.keep(step, result)
        for one in _once_each(self._plan.needs(step)):
            self._wanted[name_of(one)] -= 1
            if not self._wanted[name_of(one)] and one.ctx is None:
                self.objects.pop(name_of(one), None)
        return answer if id(step) in self._packed else None


def _once_each(steps: Sequence[Step]) -> Iterable[Step]:
    """Without repetitions. Steps may be equal by what their users say, or unhashable: they count by what they are."""
    return {id(step): step for step in steps}.values()


class _Given:
    """A step whose result is here: there is nothing to do."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self) -> None:
        return None


class _Call:
    """A step as the function that the engine calls."""

    def __init__(self, bench: Bench, step: Step, before: Sequence[str]) -> None:
        self.__name__ = name_of(step)
        self._bench = bench
        self._step = step
        self._before = before

    def __call__(self, *values: Any) -> Any:
        outputs = self._bench.take(self._before, values)
        try:
            answer = self._step.run(*outputs)
        except BaseException as error:
            self._failed(error)
            raise
        return self._awaited(answer) if iscoroutine(answer) else self._bench.put(self._step, answer)

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            answer = await coroutine
        except BaseException as error:
            self._failed(error)
            raise
        return self._bench.put(self._step, answer)

    def _failed(self, error: BaseException) -> None:
        """Keep the exception, with the part of its traceback that is the user's."""
        behind = error.__traceback__.tb_next if error.__traceback__ is not None else None
        self._bench.errors[self.__name__] = error, behind


# On a cluster -------------------------------------------------------------------------------------------------------


def _on_cluster(plan: StepPlan, manager: PipelineManager, timeout: float | None) -> Any:
    wait = getattr(manager, "wait", None)
    if not callable(wait) or iscoroutinefunction(wait):
        raise DefinitionError(
            f"materialize: {manager!r} is no PipelineManager; with an AsyncPipelineManager start step.to_pipeline()"
        )
    running = [step for step in plan.steps if not plan.is_here(step)]
    for step in running:
        _check_class(step)
    pipeline = for_anywhere(plan)
    _check_offered(running, manager)
    manager.start(pipeline)
    return _result(plan, manager.wait(pipeline, timeout), None)


def _check_class(step: Step) -> None:
    if "<locals>" in type(step).__qualname__:
        raise DefinitionError(
            f"step {name_of(step)!r}: its class {type(step).__qualname__} is defined inside a function, where no "
            "Broker finds it: move it to the top of a module that the Brokers serve"
        )


def _check_offered(running: Sequence[Step], manager: PipelineManager) -> None:
    """Steps that no Broker has would wait for ever. While there is none, or one that starts, they wait for it."""
    from ..names import name_of as worker_of

    offers = [broker["workers"] for broker in manager.cluster()["brokers"]]
    if not offers or not all(offers):
        return
    offered = {name for offer in offers for name in offer}
    for step in running:
        worker = worker_of(type(step)) or ""
        if worker not in offered and not isinstance(step, BUILT_IN):
            raise NotFound(
                "worker", worker, f"step {name_of(step)!r} needs it: start Brokers with the module that has this class"
            )


# The end ------------------------------------------------------------------------------------------------------------


def _result(plan: StepPlan, run: Run, bench: Bench | None) -> Any:
    """The head's result; every result that there is goes into its step's Context first, also of a run that failed."""
    objects = bench.objects if bench is not None else {}
    errors = bench.errors if bench is not None else {}
    for step in plan.steps:
        name = name_of(step)
        kept = name in objects or plan.is_here(step)
        if step.ctx is not None and not kept and run.states.get(name) == "success":
            plan.keep(step, readable_throughout(run.results.get(name)))
    head = name_of(plan.head)
    failed = run.error.job if run.error is not None else head if run.states.get(head) == "failed" else None
    if run.ok and failed is None:
        return objects[head] if head in objects else readable_throughout(run.results.get(head))
    if failed in errors:
        error, traceback = errors[failed]
        raise _named(error, failed).with_traceback(traceback)
    reason, told = (run.error.reason, run.error.traceback) if run.error is not None else (run.state, "")
    raise StepFailed(failed, reason, told, run.id)


def _named(error: BaseException, step: str) -> BaseException:
    """The step's own exception, with the step's name attached."""
    note = f"while running step {step!r}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error
