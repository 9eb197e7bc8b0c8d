"""Headrace: durable pipelines of jobs, over ZeroMQ, on one machine or a small cluster.

This module is the public face. It holds no logic: every name is looked up in the module that defines it, the first
time it is asked for, so that `import headrace` loads neither zmq nor anything else that a script may not need.
"""

from importlib import import_module

_WHERE = {
    "AsyncPipelineManager": "pipeline.manager",
    "Broker": "daemons.broker",
    "Choose": "pipeline.answers",
    "Gather": "pipeline.options",
    "Graft": "pipeline.answers",
    "HeadraceError": "pipeline.errors",
    "Job": "pipeline.job",
    "Pipeline": "pipeline.pipeline",
    "PipelineForPipeliner": "pipeline.pipeline",
    "PipelineManager": "pipeline.manager",
    "Pipeliner": "daemons.pipeliner",
    "Retry": "pipeline.options",
    "RetryAfter": "pipeline.answers",
    "Router": "daemons.router",
    "Run": "pipeline.run",
    "Skip": "pipeline.answers",
    "Store": "stores.base",
    "Worker": "workers.base",
    "current": "workers.current",
    "submit": "pipeline.manager",
    "worker": "workers.functions",
}

_PARTS = frozenset({"alfscript", "blocks", "jobmap", "steps", "stores"})
"""Modules that `import headrace` alone is enough for: `headrace.jobmap.run(...)`."""

__all__ = [*sorted(_WHERE), "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in _PARTS:
        return import_module(f".{name}", __name__)
    try:
        module = import_module(f".{_WHERE[name]}", __name__)
    except KeyError:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}") from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
