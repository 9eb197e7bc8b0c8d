"""Steps as jobs: the pipeline that a plan comes to.

Every step that is reached is a job with `bind='args'`: it gets the results of the steps in its `depends_on`, in that
order. Its worker is its class, which Brokers look up by name; its settings are the job's data. A step whose result is
in its Context is a job that returns this result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import DefinitionError
from ..graph import joined
from ..job import Job, from_options
from ..payload import pack
from ..pipeline import Pipeline
from .settings import settings_of
from .stepgraph import StepGraph
from .stepplan import StepPlan
from .steps import Step, Value, name_of

_NOT_FOR_STEPS = {
    "bind": "a step always gets the results of the steps before it as arguments",
    "spread": "a step has one result",
    "gather": "a step has one result",
    "cache": "a Context keeps results",
    "command": "a step runs its class",
}


def to_pipeline(head: Step, role: str | None = None, priority: int | None = None) -> Pipeline:
    """What has to run for this step now, for any engine. Raises for settings and values that cannot travel."""
    return for_anywhere(StepPlan(head), role, priority)


def for_anywhere(plan: StepPlan, role: str | None = None, priority: int | None = None) -> Pipeline:
    return pipeline_of(
        plan.steps,
        plan.needs,
        lambda step: _value_job(step) if plan.is_here(step) else _class_job(step, role),
        priority or 0,
    )


def whole(graph: StepGraph) -> Pipeline:
    """All steps, whatever the Contexts hold, as something to be drawn."""
    return pipeline_of(graph.steps, graph.before, lambda step: Job(type(step), name=name_of(step)))


def pipeline_of(
    steps: Sequence[Step],
    before: Callable[[Step], Iterable[Step]],
    job_of: Callable[[Step], Job],
    priority: int = 0,
) -> Pipeline:
    edges = [(name_of(one), name_of(step)) for step in steps for one in before(step)]
    head = name_of(steps[-1])
    graph = joined([job_of(step) for step in steps], edges, f"the steps of {head!r}")
    return Pipeline(graph, title=head, priority=priority)


def job_of(step: Step, worker: Any, data: Any = None, role: str | None = None, priority: int = 0) -> Job:
    """The step's job, with the options that it asks for; `role` and `priority` are for one that asks for none."""
    name = name_of(step)
    options = {"role": role, "priority": priority, "bind": "args", **options_of(step)}
    return from_options(worker, data, name, options, f"step {name!r}: job_options")


def options_of(step: Step) -> dict[str, Any]:
    where, given = f"step {name_of(step)!r}: job_options", step.job_options
    if not isinstance(given, Mapping):
        raise DefinitionError(f"{where} must be a dict of options, such as {{'timeout': 60}}, not {given!r}")
    for option, why in _NOT_FOR_STEPS.items():
        if option in given:
            raise DefinitionError(f"{where}: {option!r} is not for steps: {why}")
    return dict(given)


def _class_job(step: Step, role: str | None) -> Job:
    settings = settings_of(step)
    for name, value in settings.items():
        pack(value, f"step {name_of(step)!r}: attribute {name}")
    return job_of(step, type(step), settings or None, role)


def _value_job(step: Step) -> Job:
    name = name_of(step)
    assert step.ctx is not None  # its result is there
    result = step.ctx[name]
    pack(result, f"the result of step {name!r} in its Context")
    return Job(Value, {"value": result}, name=name, bind="args")
