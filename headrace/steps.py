"""Steps that depend on each other, with a memory: `from headrace.steps import Step, Context`."""

from .pipeline.styles.context import Context
from .pipeline.styles.steps import Step

__all__ = ["Context", "Step"]
