"""Below: what a worker process does for jobs that are pipelines. The child itself runs elsewhere, job by job.

`PREPARE` makes the child's data of what comes before the job, as its `bind` says; `COLLECT` makes the job's result of
the results of the child. Both are attempts of the job; neither has anything to do with the user's code or store.
"""

from __future__ import annotations

from typing import Any

from ..pipeline.definition import Bind
from ..pipeline.subruns import PREPARE, SUBRUN, bind_data
from .inputs import Attempt, bound_value
from .runnable import Runnable, Subject


class Below(Runnable):
    """In every worker process, whatever the user's modules are."""

    kind = "below"

    def __init__(self) -> None:
        super().__init__(SUBRUN, (), None, None)

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        """What this step makes."""
        assert isinstance(subject, Attempt)
        if subject.assignment.worker == PREPARE:
            return bind_data(bind, subject.own_data, bound_value(subject))
        (results,) = subject.upstream_values()
        return results


BELOW = Below()
