"""Steps: a pipeline as classes that depend on each other.

    class Add(Step):
        def run(self, left, right):
            return left + right

    total = Add(depends_on=[one, two]).materialize()

`run` gets what the steps in `depends_on` have returned, in that order. A step is known by its class's name, or by its
`name_alias`. It remembers nothing, unless it has a Context: then its result is there under its name, and neither it
nor what only it depends on runs again. Whatever is done with the steps before a last one, the head, is done here;
what runs them is the engine that runs every pipeline.

What users call their attributes is theirs: nothing in this folder calls a method of a step but `run`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DefinitionError
from .context import Context

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from .stepdrawing import StepDrawing

OWN = frozenset({"dependencies", "depends_on", "ctx", "name_alias", "job_options"})
"""Attributes that say where a step stands. All others are its settings, and travel with it."""


class Step:
    """A step: a class with `run`, which gets the results of the steps that it depends on.

    depends_on  a Step, or a list or tuple of Steps
    ctx         a Context that keeps its result
    name_alias  its name, where a class is used more than once
    """

    dependencies: Any = ()
    """The steps before this one. It may be changed until something runs; `depends_on` is the same list."""
    ctx: Context | None = None
    name_alias: str | None = None
    job_options: Mapping[str, Any] = {}
    """Options of its job, such as {'retry': Retry(3), 'timeout': 60, 'role': 'gpu'}."""

    def __init__(
        self,
        depends_on: Step | Sequence[Step] = (),
        ctx: Context | None = None,
        name_alias: str | None = None,
    ) -> None:
        self.name_alias = _name_given(self, name_alias)
        self.ctx = _context_given(self, ctx)
        self.depends_on = depends_on

    @property
    def depends_on(self) -> Any:
        return self.dependencies

    @depends_on.setter
    def depends_on(self, given: Any) -> None:
        self.dependencies = _steps_given(self, given)

    def run(self, *outputs: Any, **_: Any) -> Any:
        """Yours to write: the results of the steps before this one, in order, to the result of this one.

        (Nothing is ever given by name; with both kinds, type checkers let it be written with any parameters.)
        """
        raise NotImplementedError(f"step {name_of(self)!r}: {type(self).__name__}.run(self, *outputs) is not written")

    def materialize(
        self,
        manager: Any = None,
        *,
        executor: str | None = None,
        processes: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Run what has to run for this step's result, each step once, and return that result.

        manager    a PipelineManager: run on its cluster, for steps whose classes the Brokers have
        executor   'processes': run in processes of this machine, branches at the same time
        processes  how many of them; by default as many as there are processors
        timeout    seconds to wait for a cluster
        """
        from .materialize import materialize

        return materialize(self, manager, executor, processes, timeout)

    def execution_plan(self) -> str:
        """Print which steps would run, and which results are there; the text is returned, too."""
        from .stepplan import StepPlan

        text = StepPlan(self).text()
        sys.stdout.write(f"{text}\n")
        return text

    def dependency_graph(self) -> StepDrawing:
        """All steps before this one and itself: a drawing in notebooks, DOT text elsewhere."""
        from .stepdrawing import StepDrawing

        return StepDrawing(self)

    def depending_steps_breadth_first(self) -> list[str]:
        """Names of the steps that this one depends on: direct ones first, then those of each of them in turn."""
        from .stepgraph import StepGraph

        return StepGraph(self).breadth_first()

    def depending_steps_depth_first(self) -> list[str]:
        """Names of the steps that this one depends on, each after those that it depends on itself."""
        from .stepgraph import StepGraph

        return StepGraph(self).depth_first()

    def to_pipeline(self, *, role: str | None = None, priority: int | None = None) -> Pipeline:
        """The pipeline that computes this step on a cluster: results that are there are values in it.

        role      for steps that have none in their `job_options`
        priority  of the run: higher first
        """
        from .stepjobs import to_pipeline

        return to_pipeline(self, role, priority)

    @staticmethod
    def join(steps: Step | Sequence[Step], name_alias: str | None = None) -> Step:
        """A step that returns the results of others as a tuple."""
        return Join(steps, name_alias=name_alias)

    @staticmethod
    def noop_step(steps: Step | Sequence[Step], name_alias: str | None = None) -> Step:
        """The old name of `join`."""
        warnings.warn("Step.noop_step is called Step.join now", DeprecationWarning, stacklevel=2)
        return NoOpNode(steps, name_alias=name_alias)

    @staticmethod
    def from_data(data: Any, name_alias: str = "Data") -> Step:
        """A step that returns {'output': data}."""
        return Data(data, name_alias)

    @staticmethod
    def stepify(
        value: Any,
        depends_on: Step | Sequence[Step] = (),
        ctx: Context | None = None,
        name_alias: str | None = None,
    ) -> Step:
        """A step that returns the value, whatever it depends on."""
        return Value(value, depends_on, ctx, name_alias or Step.__name__)

    def __str__(self) -> str:
        return name_of(self)

    def __repr__(self) -> str:
        return f"<Step {name_of(self)}>"


class Declared:
    """What a class is called in catalogs, where its own name may be a user's."""

    requires: tuple[str, ...] | None = None
    role: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name


class Join(Step):
    __headrace__ = Declared("headrace.steps.Join")

    def run(self, *outputs: Any) -> Any:
        return outputs


class NoOpNode(Join):
    """What `noop_step` makes: it is called like this in plans."""


class Data(Step):
    __headrace__ = Declared("headrace.steps.Data")

    def __init__(self, data: Any, name_alias: str | None = None) -> None:
        super().__init__(name_alias=name_alias)
        self.data = data

    def run(self, *outputs: Any) -> Any:
        return {"output": self.data}


class Value(Step):
    __headrace__ = Declared("headrace.steps.Value")

    def __init__(
        self,
        value: Any,
        depends_on: Step | Sequence[Step] = (),
        ctx: Context | None = None,
        name_alias: str | None = None,
    ) -> None:
        super().__init__(depends_on, ctx, name_alias)
        self.value = value

    def run(self, *outputs: Any) -> Any:
        return self.value


BUILT_IN: tuple[type[Step], ...] = (Join, Data, Value)
"""Steps that run wherever steps run."""


def name_of(step: Step) -> str:
    return step.name_alias or type(step).__name__


def _name_given(step: Step, given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise DefinitionError(f"step {type(step).__name__!r}: name_alias must be a text, not {given!r}")
    return given


def _context_given(step: Step, given: Any) -> Context | None:
    if given is not None and not isinstance(given, Context):
        raise DefinitionError(f"step {name_of(step)!r}: ctx must be a Context, not {given!r}")
    return given


def _steps_given(step: Step, given: Any) -> list[Step]:
    several = [given] if isinstance(given, Step) else given
    if not isinstance(several, list | tuple):
        raise DefinitionError(f"step {name_of(step)!r}: depends_on must be {WANTED}, not {shown(given)}")
    for one in several:
        check_step(step, one)
    return list(several)


WANTED = "a Step, or a list or tuple of Steps"


def check_step(step: Step, before: Any) -> None:
    """Raises for what a step cannot depend on."""
    if not isinstance(before, Step):
        raise DefinitionError(f"step {name_of(step)!r}: depends_on must be {WANTED}; {shown(before)} is none")


def shown(value: Any) -> str:
    """A value in an error's text; a class instead of a step is the common slip."""
    if isinstance(value, type) and issubclass(value, Step):
        return f"the class {value.__name__} (its steps are made like this: {value.__name__}())"
    from ..checks import show

    return show(value)
