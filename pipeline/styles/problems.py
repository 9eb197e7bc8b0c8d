"""What is wrong with a job map, all of it at once; and how a run of one fails.

Both belong to the tree of `pipeline.errors`: `JobMapError` is a `DefinitionError` (and so a ValueError), `JobMapFailed`
a `JobError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import DefinitionError, JobError
from ..facts import RunError


class Problem(str):
    """One thing that is wrong, as a sentence that names its place; `task` and `field` say it again for programs."""

    task: str | None
    field: str

    def __new__(cls, task: str | None, field: str, message: str) -> Problem:
        place = f"{field}: " if task is None else f"task {task!r}: {field}: "
        problem = super().__new__(cls, place + message)
        problem.task = task
        problem.field = field
        return problem


class JobMapError(DefinitionError):
    """A job map that cannot be run."""

    def __init__(self, problems: Iterable[Problem], source: str = "the job map") -> None:
        self.problems = list(problems)
        self.source = source
        count = len(self.problems)
        told = self.problems[0] if count == 1 else f"{count} problems\n" + "\n".join(f"  {p}" for p in self.problems)
        super().__init__(f"{source}: {told}")


class JobMapFailed(JobError):
    """A run of a job map that did not succeed: what had reached its outputs is no result."""

    def __init__(self, name: str, state: str, outputs: list[dict[str, Any]], error: RunError | None) -> None:
        self.name = name
        self.state = state
        self.outputs = outputs
        """Output records, in the order of the map, with whatever had reached them."""
        self.error = error
        """`.job` (the task), `.path` (its branch), `.reason`, `.traceback`."""
        super().__init__(f"job map {name!r} {'was cancelled' if state == 'cancelled' else state}{_told(error)}")


def _told(error: RunError | None) -> str:
    if error is None:
        return ""
    branch = f" {list(error.path)}" if error.path else ""
    where = f" in task {error.job!r}{branch}" if error.job is not None else ""
    return f"{where}: {error.reason}"
