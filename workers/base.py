"""Worker: the base class of user code.

    class GetLinks(Worker):
        requires = ["html"]

        def process(self, data):
            return {"links": find(data["html"])}

A process makes one instance of a class, the first time that a job needs it, and keeps it warm: whatever is slow to make
(a model, a connection) belongs into `__init__`. An instance works on one job at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Worker:
    """User code with a name (the class's), what it requires, and `process`, which may be an `async def`."""

    requires: Iterable[str] = ()
    """Keys that the store has to put into the input."""

    role: str | None = None
    """Only Brokers that serve this role run it; None is any Broker."""

    version: str | int = ""
    """Another version counts as another worker for the cache (`Job(..., cache='content')`)."""

    def process(self, data: Any) -> Any:
        """The input, made by the job's `bind`, to the result: any value that `headrace` can carry.

        Under `bind='args'` it is called with one positional argument per upstream result instead.
        """
        raise NotImplementedError(f"{type(self).__name__}.process(self, data) is not written yet")
