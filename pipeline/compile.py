"""From a pipeline to its compiled form: the definition, the run's options and the run's data.

The definition holds nothing that changes from run to run but the jobs' own data; what the Router has to know of a run
stands in its options, and the data shared by all jobs travels once, beside both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .definition import Definition, EdgeKind, Group, Node, RunOptions, pack_definition
from .errors import DefinitionError
from .group import Group as WrittenGroup
from .job import Job, merged
from .payload import pack

if TYPE_CHECKING:
    from .pipeline import Pipeline

_HANDED = frozenset({"args", "named", "item", "gather"})
"""A job that makes its input in one of these ways is handed the results of the jobs right before it."""
_PLAIN_RUN = RunOptions()
_TRANSLATED = frozenset({"bind", "gather", "retry", "command"})


def compile_pipeline(pipeline: Pipeline) -> Definition:
    """The pipeline as a `Definition`. Raises `ValueNotSupported` for data that cannot travel."""
    jobs = pipeline.jobs
    nodes = tuple([node_of(job) for job in jobs])
    edges = _edges(jobs, pipeline.edges)
    if not pipeline.options:
        return Definition(nodes=nodes, edges=edges)
    return Definition(
        nodes=nodes,
        edges=edges,
        on_error=pipeline.on_error,
        hooks={kind: node_of(job) for kind, job in pipeline.hooks.items()},
        groups=_groups(pipeline.groups, {job.name: at for at, job in enumerate(jobs)}, "Pipeline"),
    )


def definition_of(pipeline: Pipeline) -> bytes:
    return pack_definition(compile_pipeline(pipeline))


def data_of(pipeline: Pipeline) -> bytes | None:
    """The run's data, packed."""
    return None if pipeline.data is None else pack(pipeline.data, "data")


def options_of(pipeline: Pipeline) -> RunOptions:
    if not pipeline.options:
        return _PLAIN_RUN
    return RunOptions(
        title=pipeline.title,
        key=pipeline.key,
        on_duplicate=pipeline.on_duplicate,
        priority=pipeline.priority,
        deadline=pipeline.deadline,
        not_before=pipeline.not_before,
        after=run_ids(pipeline),
        max_active=pipeline.max_active,
        paused=pipeline.paused,
    )


def run_ids(pipeline: Pipeline) -> tuple[str, ...]:
    """The ids of the runs that this one waits for."""
    ids = []
    for other in pipeline.after:
        run = other if isinstance(other, str) else other.id
        if run is None:
            raise DefinitionError(
                f"{pipeline!r} is to run after {other!r}, which was not started yet: start that one first"
            )
        ids.append(run)
    return tuple(ids)


def check_definition(pipeline: Pipeline) -> None:
    """What only shows in the whole: inputs that cannot be made, branches that cannot meet."""
    special = [job for job in pipeline.jobs if job.options]
    for job in special:
        if job.kind == "pipeline":
            _check_sub_run(job)
    if any(job.bind == "item" for job in special):
        _check_items(pipeline)
    if any(job.spread or job.bind == "gather" or job.gather for job in special):
        from .scopes import check_levels, check_scopes

        definition = compile_pipeline(pipeline)
        check_levels(definition)
        check_scopes(definition)


def compile_graft(jobs: Sequence[Job], edges: Iterable[tuple[str, str]], groups: Iterable[WrittenGroup] = ()) -> bytes:
    """What a worker grafts: new nodes, then as `outside` the names of nodes that the run has already."""
    positions: dict[str, int] = {}
    for job in jobs:
        if type(job) is not Job:
            raise DefinitionError(f"Graft: Only `Job` objects are accepted, not {job!r}")
        if job.name in positions:
            raise DefinitionError(f"Graft: two jobs are named {job.name!r}")
        positions[job.name] = len(positions)
    outside: dict[str, int] = {}
    pairs = []
    for edge in edges:
        source, target = (
            positions[name] if name in positions else len(jobs) + outside.setdefault(name, len(outside))
            for name in edge
        )
        if source >= len(jobs) and target >= len(jobs):
            raise DefinitionError(f"Graft: the edge {edge} touches none of the new jobs")
        pairs.append((source, target))
    nodes = tuple(node_of(job) for job in jobs)
    every = [*jobs, *(Job(name) for name in outside)]
    made = _groups(groups, positions, "Graft")
    return pack_definition(Definition(nodes=nodes, edges=_edges(every, pairs), outside=tuple(outside), groups=made))


def node_of(job: Job) -> Node:
    name, worker, own = job.name, job.worker_name, job.own_data
    if job.kind == "pipeline":
        return _sub_run(job)
    if job.kind == "gate":
        return Node(name=name, kind="gate")
    data = None if own is None else pack(own, f"data of job {name!r}")
    worker = "" if worker == name else worker
    if not job.options:
        return Node(name=name, worker=worker, data=data)
    return Node(name=name, worker=worker, data=data, **_node_options(job))


def _sub_run(job: Job) -> Node:
    """A sub-run's data is its pipeline's, under the job's own."""
    data, inside = merged(job.worker.data, job.own_data), _options_inside(job.worker)
    _check_sub_run(job)
    return Node(
        name=job.name,
        kind="pipeline",
        data=None if data is None else pack(data, f"data of job {job.name!r}"),
        definition=job.worker.definition(),
        options=None if inside == _PLAIN_RUN else inside,
        **_node_options(job),
    )


def _options_inside(pipeline: Pipeline) -> RunOptions:
    """Of a pipeline's options those that mean something below another run: the others are about its submission."""
    return RunOptions(
        title=pipeline.title,
        priority=pipeline.priority,
        deadline=pipeline.deadline,
        max_active=pipeline.max_active,
    )


def _check_sub_run(job: Job) -> None:
    """It begins when its job is ready, and takes no place of its own: its jobs do."""
    for option in ("role", "resources", "limits", "cache"):
        if option in job.options:
            where = f"job {job.name!r} runs a pipeline"
            raise DefinitionError(f"{where}: give `{option}` to the jobs in it, not to the job that it is")


def _node_options(job: Job) -> dict[str, Any]:
    options: dict[str, Any] = {o: value for o, value in job.options.items() if o not in _TRANSLATED}
    bind, gather, retry = job.bind, job.gather, job.retry
    if bind != "store":
        options["bind"] = bind
    if gather is not None:
        options["gather"] = gather.rule()
    if retry is not None:
        options["retry"] = retry.rule()
    if job.command_line is not None:
        options["command"] = job.command_line
    return options


def _edges(jobs: Sequence[Job], edges: Iterable[tuple[int, int | None]]) -> tuple[tuple[int, int, EdgeKind], ...]:
    """Edges with their kinds. One that is written twice counts twice for positional arguments only."""
    kinds: list[EdgeKind] = ["value" if job.bind in _HANDED else "order" for job in jobs]
    placed = [(source, target, kinds[target]) for source, target in edges if target is not None]
    if len(set(placed)) == len(placed):
        return tuple(placed)
    seen: set[tuple[int, int, EdgeKind]] = set()
    kept = []
    for edge in placed:
        if edge not in seen or jobs[edge[1]].bind == "args":
            seen.add(edge)
            kept.append(edge)
    return tuple(kept)


def _groups(groups: Iterable[WrittenGroup], positions: Mapping[str, int], where: str) -> tuple[Group, ...]:
    made = []
    for group in groups:
        if not isinstance(group, WrittenGroup):
            raise DefinitionError(f"{where}: groups are made of Group objects, not {group!r}")
        for name in group.members:
            if name not in positions:
                raise DefinitionError(f"{where}: group {group.title!r} names {name!r}, which is none of its jobs")
        members = tuple(positions[name] for name in group.members)
        hooks = {kind: tuple(node_of(job) for job in jobs) for kind, jobs in group.hooks.items()}
        made.append(Group(title=group.title, members=members, hooks=hooks, on_error=group.on_error))
    return tuple(made)


def _check_items(pipeline: Pipeline) -> None:
    before: dict[int, set[int]] = {}
    for source, target in pipeline.edges:
        if target is not None:
            before.setdefault(target, set()).add(source)
    for position, job in enumerate(pipeline.jobs):
        sources = before.get(position, set())
        if job.bind == "item" and len(sources) > 1:
            names = ", ".join(pipeline.jobs[source].name for source in sorted(sources))
            raise DefinitionError(
                f"job {job.name!r}: bind='item' takes one job's result, and {len(sources)} come before it ({names}): "
                "bind='args' or 'named' takes several"
            )
