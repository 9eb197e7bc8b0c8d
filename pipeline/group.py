"""A group: jobs of a pipeline that fail, end and are hooked together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from .checks import any_text, fault, one_of, unknown
from .definition import HookKind, OnError
from .errors import DefinitionError
from .job import Job

Hooks = Mapping[HookKind, Job]
HOOK_KINDS: tuple[HookKind, ...] = ("success", "failure", "always")


class Group:
    """Some jobs of a pipeline, by job or by name, with hooks and an `on_error` of their own.

    A hook is a job that runs when the group has ended that way; several for one way are given as a list.
    """

    __slots__ = ("hooks", "members", "on_error", "title")

    def __init__(
        self,
        title: str,
        jobs: Iterable[Job | str],
        *,
        hooks: Mapping[HookKind, Job | Iterable[Job]] | None = None,
        on_error: OnError | None = None,
    ) -> None:
        self.title = any_text("Group", "title", title)
        where = f"group {title!r}"
        if isinstance(jobs, str) or not isinstance(jobs, Iterable):
            raise fault(where, "jobs", "a list of jobs or their names", jobs)
        self.members: tuple[str, ...] = tuple(dict.fromkeys(_name(where, job) for job in jobs))
        self.on_error = None if on_error is None else cast(OnError, _on_error(where, "on_error", on_error))
        self.hooks = {kind: _several(job) for kind, job in hooks_of(where, hooks, several=True).items()}

    def __repr__(self) -> str:
        return f"<Group: {self.title!r}, {', '.join(self.members)}>"


def hooks_of(where: str, hooks: Any, *, several: bool = False) -> dict[HookKind, Any]:
    """Hooks by the way of ending, checked."""
    if hooks is None:
        return {}
    if not isinstance(hooks, Mapping):
        raise fault(where, "hooks", "a dict such as {'failure': Job('Notify')}", hooks)
    for kind, job in hooks.items():
        if kind not in HOOK_KINDS:
            raise unknown(where, kind, HOOK_KINDS, "hook")
        jobs = _several(job) if several else (job,)
        for one in jobs:
            if type(one) is not Job:
                raise fault(where, f"hooks[{kind!r}]", "a Job", one)
            _check_hook(where, kind, one)
    return dict(hooks)


def _check_hook(where: str, kind: str, job: Job) -> None:
    """A hook stands alone: what says how it hangs together with other jobs has no meaning for it."""
    for option in ("spread", "gather", "when"):
        if option in job.options:
            raise DefinitionError(f"{where}: hooks[{kind!r}] {job!r} has {option}=, which means nothing for a hook")
    if job.kind == "gate":
        raise fault(where, f"hooks[{kind!r}]", "a job with a worker, a command or a pipeline", job)


def _several(jobs: Any) -> tuple[Any, ...]:
    return tuple(jobs) if isinstance(jobs, list | tuple) else (jobs,)


def _name(where: str, job: Any) -> str:
    if type(job) is Job:
        return job.name
    if isinstance(job, str) and job:
        return job
    raise fault(where, "a member", "a job or its name", job)


_on_error = one_of("fail", "block", "continue")
