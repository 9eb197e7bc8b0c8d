"""A pipeline as a versioned document: plain lists, dicts, texts and numbers, for files and other programs.

    {"version": 1, "title": "report", "data": {"id": 7},
     "jobs": [{"worker": "Load"}, {"worker": "Send", "name": "SendHome", "retry": {"tries": 3}}],
     "edges": [["Load", "SendHome"]]}

What is not said has its default. What is said and not known is refused, with its place and the nearest name: a
misspelt option would otherwise be a promise that nobody keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .checks import fault, show, unknown
from .compile import run_ids
from .definition import HookKind
from .errors import DefinitionError
from .graph import joined
from .group import Group
from .job import Job, from_options
from .options import JOB_OPTIONS, plain
from .plain import from_plain, to_plain

if TYPE_CHECKING:
    from .pipeline import Pipeline

P = TypeVar("P", bound="Pipeline")
VERSION = 1
MAX_NESTED = 16
"""How deep pipelines may stand inside jobs of pipelines."""
_RUN_OPTIONS = (
    "title",
    "key",
    "on_duplicate",
    "priority",
    "on_error",
    "deadline",
    "not_before",
    "max_active",
    "paused",
)
_KEYS = frozenset({"version", "jobs", "edges", "data", "after", "hooks", "groups", *_RUN_OPTIONS})
_JOB_KEYS = frozenset({"worker", "name", "data", "gate", "pipeline", *JOB_OPTIONS})
_GROUP_KEYS = frozenset({"title", "jobs", "hooks", "on_error"})


def to_document(pipeline: Pipeline) -> dict[str, Any]:
    names = [job.name for job in pipeline.jobs]
    document: dict[str, Any] = {"version": VERSION}
    document.update((o, pipeline.options[o]) for o in _RUN_OPTIONS if o in pipeline.options)
    if pipeline.after:
        document["after"] = list(run_ids(pipeline))
    if pipeline.data is not None:
        document["data"] = to_plain(pipeline.data, "data")
    document["jobs"] = [_job_document(job) for job in pipeline.jobs]
    document["edges"] = [
        [names[source], None if target is None else names[target]] for source, target in pipeline.edges
    ]
    if pipeline.hooks:
        document["hooks"] = {kind: _job_document(job) for kind, job in pipeline.hooks.items()}
    if pipeline.groups:
        document["groups"] = [_group_document(group) for group in pipeline.groups]
    return document


def from_document(document: Any, kind: type[P], where: str = "pipeline", depth: int = 0) -> P:
    given = _map(document, where, _KEYS)
    version = given.get("version")
    if version != VERSION or isinstance(version, bool):
        raise fault(where, "version", f"{VERSION} (the only one this Headrace knows)", version)
    if depth > MAX_NESTED:
        raise DefinitionError(f"{where}: pipelines are nested more than {MAX_NESTED} deep")
    jobs = [_job(one, f"{where}: jobs[{at}]", kind, depth) for at, one in enumerate(_list(given, "jobs", where))]
    edges = [_edge(one, f"{where}: edges[{at}]") for at, one in enumerate(_list(given, "edges", where))]
    options = {option: given[option] for option in (*_RUN_OPTIONS, "after") if given.get(option) is not None}
    if given.get("hooks") is not None:
        options["hooks"] = _hooks(given["hooks"], f"{where}: hooks", kind, depth)
    if given.get("groups") is not None:
        groups = enumerate(_list(given, "groups", where))
        options["groups"] = [_group(one, f"{where}: groups[{at}]", kind, depth) for at, one in groups]
    data = from_plain(given.get("data"), f"{where}: data")
    return kind(joined(jobs, edges, where), data, **options)


def _job_document(job: Job) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if job.kind == "gate":
        return {"name": job.name, "gate": True}
    if job.kind == "pipeline":
        document["pipeline"] = job.worker.to_dict()
        document["name"] = job.name
    else:
        document["worker"] = job.worker_name
        if job.name != job.worker_name:
            document["name"] = job.name
    if job.own_data is not None:
        document["data"] = to_plain(job.own_data, f"data of job {job.name!r}")
    document.update((option, plain(value)) for option, value in job.options.items())
    return document


def _group_document(group: Group) -> dict[str, Any]:
    document: dict[str, Any] = {"title": group.title, "jobs": list(group.members)}
    if group.on_error is not None:
        document["on_error"] = group.on_error
    if group.hooks:
        document["hooks"] = {kind: [_job_document(job) for job in jobs] for kind, jobs in group.hooks.items()}
    return document


def _job(document: Any, where: str, kind: type[Pipeline], depth: int) -> Job:
    given = dict(_map({"worker": document} if isinstance(document, str) else document, where, _JOB_KEYS))
    worker, name, data = given.pop("worker", None), given.pop("name", None), given.pop("data", None)
    gate, inner = given.pop("gate", False), given.pop("pipeline", None)
    for key, value in (("worker", worker), ("name", name)):
        if value is not None and not isinstance(value, str):
            raise fault(where, key, "a text", value)
    if gate:
        if gate is not True or name is None or worker or data or inner or given:
            raise DefinitionError(f"{where}: a gate has a name and nothing else, not {show(document)}")
        return Job.gate(name)
    if inner is not None:
        if worker is not None:
            raise DefinitionError(f"{where}: a job runs a worker or a pipeline, not both")
        worker = from_document(inner, _plain_kind(kind), f"{where}.pipeline", depth + 1)
    try:
        return from_options(worker, from_plain(data, "data"), name, given, where)
    except DefinitionError as error:
        raise error if str(error).startswith(where) else DefinitionError(f"{where}: {error}") from None


def _plain_kind(kind: type[Pipeline]) -> type[Pipeline]:
    """Inner pipelines are plain ones, whatever the outer one is."""
    return next(base for base in reversed(kind.__mro__) if base.__name__ == "Pipeline")


def _edge(edge: Any, where: str) -> tuple[str, str | None]:
    fits = isinstance(edge, list | tuple) and len(edge) == 2 and isinstance(edge[0], str)
    if not fits or not (edge[1] is None or isinstance(edge[1], str)):
        raise DefinitionError(
            f"{where} must be a pair of job names such as ['A', 'B'] (or ['A', null]), not {show(edge)}"
        )
    return edge[0], edge[1]


def _hooks(document: Any, where: str, kind: type[Pipeline], depth: int) -> dict[HookKind, Job]:
    if not isinstance(document, dict):
        raise DefinitionError(
            f"{where} must be a map such as {{'failure': {{'worker': 'Notify'}}}}, not {show(document)}"
        )
    return {way: _job(job, f"{where}[{way!r}]", kind, depth) for way, job in document.items()}


def _group(document: Any, where: str, kind: type[Pipeline], depth: int) -> Group:
    given = _map(document, where, _GROUP_KEYS)
    hooks = given.get("hooks") or {}
    if not isinstance(hooks, dict):
        raise fault(where, "hooks", "a map of lists of jobs", hooks)
    several = {
        way: [_job(job, f"{where}.hooks[{way!r}][{at}]", kind, depth) for at, job in enumerate(_jobs(jobs))]
        for way, jobs in hooks.items()
    }
    return Group(given.get("title", ""), _list(given, "jobs", where), hooks=several, on_error=given.get("on_error"))


def _jobs(jobs: Any) -> list[Any]:
    return list(jobs) if isinstance(jobs, list | tuple) else [jobs]


def _map(document: Any, where: str, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise DefinitionError(f"{where} must be a map, not {show(document)}")
    for key in document:
        if key not in known:
            raise unknown(where, key, known, "key")
    return document


def _list(given: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = given.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise fault(where, key, "a list", value)
    return list(value)
