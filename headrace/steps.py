"""Steps that depend on each other, with a memory: `from headrace.steps import Step, Context`."""

from importlib import import_module
from typing import TYPE_CHECKING

from .pipeline.styles.context import Context
from .pipeline.styles.steps import Step

if TYPE_CHECKING:
    from .pipeline.styles.materialize import StepFailed

__all__ = ["Context", "Step", "StepFailed"]


def __getattr__(name: str) -> object:
    if name == "StepFailed":
        return import_module(".pipeline.styles.materialize", "headrace").StepFailed
    raise AttributeError(f"module 'headrace.steps' has no attribute {name!r}")
