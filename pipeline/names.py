"""What jobs and workers may be called, and what a function or class calls itself."""

from __future__ import annotations

from typing import Any

from .checks import clean, fault

HOOK_PREFIX = "hook:"
"""Hooks run under names that begin with this, so no job may."""
SYSTEM_PREFIX = "!"
"""Worker names that begin with this are kept for what is no worker of a catalog, such as command lines."""
DECLARED = "__headrace__"
"""Where `@worker(name=...)` leaves what it was told."""


def check_names(name: Any, worker_name: Any) -> None:
    for option, value in (("name", name), ("worker", worker_name)):
        if not isinstance(value, str) or not value:
            raise fault("Job", option, "a text that is not empty", value)
        clean("Job", option, value)
    if name.startswith(HOOK_PREFIX):
        raise fault(
            "Job", "name", f"a text that does not begin with {HOOK_PREFIX!r} (hooks run under such names)", name
        )
    if worker_name.startswith(SYSTEM_PREFIX):
        raise fault(
            "Job", "worker", f"a text that does not begin with {SYSTEM_PREFIX!r} (the system's own)", worker_name
        )


def name_of(worker: Any) -> str | None:
    """What a function or a class is called in a Broker's catalog; a lambda has no name there."""
    name = getattr(getattr(worker, DECLARED, None), "name", None) or getattr(worker, "__name__", None)
    return name if isinstance(name, str) and name != "<lambda>" else None
