"""The contract of a Store: it makes the input of a worker, and keeps what the worker returned.

A store lives inside a worker process, one instance per process, made with the `store` section of the Router's
configuration as keyword arguments. So stores of many processes run at the same time, on several machines. A class of
your own need not inherit from `Store`; `save_monitoring` and `close` may be missing.

Every call gets `info`, a dict:

    worker, worker_requires    the worker's name and the keys that it asks for
    worker_optional            keys that it takes when they are there (parameters with a default)
    data                       the pipeline's data with the job's own data laid over it
    pipeline, job, path        which instance this is: run id, job name, index path below spreads
    attempt, attempt_key       which try it is; the key is the same for every try of an instance
    fence                      a text that sorts in the order of leases: a save with a smaller one comes too late
    upstream                   results of the jobs upstream by name, nearest first, read when they are asked for;
                               its attribute `direct` names the direct ones that came along
    worker_result              in `save`: what the worker returned

Saves may repeat and may come in any order: after a crash an attempt runs again, and one that was given up can still be
on its way. Our stores compare `fence` and raise `Superseded`; a store that ignores it sees at-least-once.
A store that raises is no failed job: the call is repeated with growing pauses until the store's deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Info = Mapping[str, Any]


class Store:
    """Base class for stores of your own. The default `save`, `save_monitoring` and `close` do nothing."""

    def __init__(self, **config: Any) -> None:
        self.config = config

    def retrieve(self, info: Info) -> Any:
        """The input of `info['worker']`."""
        raise NotImplementedError(f"{type(self).__name__} has no retrieve()")

    def save(self, info: Info) -> None:
        """Keep `info['worker_result']`."""

    def save_monitoring(self, data: dict[str, Any]) -> None:
        """Keep a record of the machine and its processes."""

    def close(self) -> None:
        """The process ends."""
