"""Steps in a worker process: the class is in the catalog, everything else came with the job.

An attempt makes an instance without `__init__`, as a copy of the step that the user has made: its attributes are the
job's data. Then it runs with the results of the jobs before it. What it changes of itself is gone afterwards; what it
returns is the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..pipeline.definition import Bind
from ..pipeline.errors import JobError
from ..pipeline.names import DECLARED, name_of
from ..pipeline.styles.record import readable_throughout
from ..pipeline.styles.steps import BUILT_IN, Step
from .functions import names
from .runnable import NOTHING, Runnable, Subject

__all__ = ["BUILT_IN", "StepRunnable", "is_step"]

_OWN_DATA = frozenset({"store", "literal"})
"""Under these a job gets no results, so that its step is called without any."""


def is_step(target: Any) -> bool:
    """A class of steps that can run: not `Step` itself, nor a base class that leaves `run` to others."""
    return isinstance(target, type) and issubclass(target, Step) and target.run is not Step.run


class StepRunnable(Runnable):
    """A class of steps."""

    kind = "step"

    def __init__(self, cls: type[Step]) -> None:
        declared = getattr(cls, DECLARED, None)
        requires = names(getattr(declared, "requires", None) or (), f"{cls.__qualname__}.requires")
        super().__init__(name_of(cls) or cls.__name__, requires, getattr(declared, "role", None), cls)

    def inputs(self, bind: Bind, value: Any, subject: Subject) -> dict[str, Any]:
        own = {"step": subject.data}
        return own if bind in _OWN_DATA or value is NOTHING else {"input": value, **own}

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        step = self._made(subject)
        if bind in _OWN_DATA:
            return step.run()
        outputs = value if bind == "args" else [] if value is NOTHING else [value]
        return step.run(*(readable_throughout(output) for output in outputs))

    def _made(self, subject: Subject) -> Step:
        given = {} if subject.data is None else subject.data
        if not isinstance(given, Mapping):
            kind = type(given).__name__
            raise JobError(f"the data of a step is a dict of its attributes, and that of {self.name!r} is a {kind}")
        step: Step = self.target.__new__(self.target)
        for name, attribute in given.items():
            object.__setattr__(step, name, attribute)
        step.name_alias = subject.assignment.job
        return step
