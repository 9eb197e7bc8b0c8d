"""Job maps: pipelines as JSON, made of function tasks that stand in namespaces."""

from .pipeline.styles.jobmap import JobMapError, JobMapFailed, load, run, submit, validate

__all__ = ["JobMapError", "JobMapFailed", "load", "run", "submit", "validate"]
