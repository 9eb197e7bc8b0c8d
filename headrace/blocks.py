"""Jobs as blocks of tasks and actions: `from headrace.blocks import Job, Task, Action`."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline.styles.blocks import Action, Instance, Job, Task
    from .pipeline.styles.inputs import InputHandler
    from .pipeline.styles.jobfile import dumps, load, loads
    from .workers.roles import role

_WHERE = {
    "Action": "pipeline.styles.blocks",
    "InputHandler": "pipeline.styles.inputs",
    "Instance": "pipeline.styles.blocks",
    "Job": "pipeline.styles.blocks",
    "Task": "pipeline.styles.blocks",
    "dumps": "pipeline.styles.jobfile",
    "load": "pipeline.styles.jobfile",
    "loads": "pipeline.styles.jobfile",
    "role": "workers.roles",
}

__all__ = ["Action", "InputHandler", "Instance", "Job", "Task", "dumps", "load", "loads", "role"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'headrace.blocks' has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", "headrace"), name)


def __dir__() -> list[str]:
    return __all__
