"""A pipeline: a graph of jobs, the data they share, and how the run of it is to be treated.

It can be made, checked, compared, drawn and stored without any daemon. Submitted, it becomes a run: from then on it
has an `id`, and the manager that started it keeps `finished`, `failed`, `error` and `duration` up to date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .compile import check_definition, definition_of
from .definition import HookKind, OnError
from .dot import dot_text
from .errors import DefinitionError
from .graph import Graph
from .group import Group
from .job import Job
from .options import Option
from .run_options import UNSET, checked
from .tuples import data_item, data_of

if TYPE_CHECKING:
    from .facts import RunError
    from .run import Run

OnDuplicate = Literal["return", "reject", "replace"]


class Pipeline:
    """Jobs and what comes after what: `Pipeline({Job('A'): [Job('B'), Job('C')]}, data={'id': 7})`.

    data          what the jobs of the run share; a job's own data is laid over it
    title         for people
    key           one run per key: a second submission of it is treated as `on_duplicate` says
    on_duplicate  'return' the first run, 'reject' the second, or 'replace' the first by it
    priority      higher runs first
    on_error      'fail' (cancel the rest), 'block' (only what depends on it), 'continue' (the failure is data)
    deadline      seconds after its start, when it is cancelled
    not_before    an aware datetime or epoch seconds, before which it does not start
    after         runs (ids, or pipelines that were started) that have to end well first
    max_active    how many of its jobs may run at the same time
    paused        it is accepted and starts nothing until it is resumed
    hooks         jobs to run at the end: {'success': job, 'failure': job, 'always': job}
    groups        `Group`s of its jobs
    """

    id: str | None = None
    """The run's id, 32 hex characters, from its start on."""
    finished: Any = False
    """True when the run has ended. (A method in `PipelineForPipeliner`, as it always was.)"""
    failed: bool = False
    duration: float | None = None
    error: RunError | None = None
    """What made the run fail: `.job`, `.path`, `.reason`, `.traceback`."""
    started_at: Any = None

    title = Option[str | None](None)
    key = Option[str | None](None)
    on_duplicate = Option[OnDuplicate]("return")
    priority = Option(0)
    on_error = Option[OnError]("fail")
    deadline = Option[float | None](None)
    not_before = Option[float | None](None)
    after = Option[tuple[Any, ...]](())
    max_active = Option[int | None](None)
    paused = Option(False)
    hooks = Option[Mapping[HookKind, Job]]({})
    groups = Option[tuple[Group, ...]](())

    def __init__(
        self,
        graph: Any,
        data: Any = None,
        *,
        title: str | None = None,
        key: str | None = None,
        on_duplicate: OnDuplicate = "return",
        priority: int = 0,
        on_error: OnError = "fail",
        deadline: float | None = None,
        not_before: datetime | float | None = None,
        after: Iterable[str | Pipeline] = (),
        max_active: int | None = None,
        paused: bool = False,
        hooks: Mapping[HookKind, Job] | None = None,
        groups: Iterable[Group] = (),
    ) -> None:
        given = {
            "title": title,
            "key": key,
            "on_duplicate": on_duplicate,
            "priority": priority,
            "on_error": on_error,
            "deadline": deadline,
            "not_before": not_before,
            "after": after,
            "max_active": max_active,
            "paused": paused,
            "hooks": hooks,
            "groups": groups,
        }
        if not isinstance(graph, Graph):
            graph = Graph.of(graph)
        self.data = data
        self.jobs: tuple[Job, ...] = tuple([job.bound(self, data) for job in graph.jobs])
        self.edges: tuple[tuple[int, int | None], ...] = graph.edges
        """Pairs of positions in `jobs`; to None: the job is there, and nothing comes after it."""
        self.starters: tuple[Job, ...] = tuple([self.jobs[position] for position in graph.starters])
        self.sent_jobs: set[Job] = set()
        self.options: dict[str, Any] = {} if given == UNSET else checked(given, self.jobs)
        check_definition(self)

    @property
    def _graph(self) -> list[tuple[Job, Job | None]]:
        jobs = self.jobs
        return [(jobs[source], None if target is None else jobs[target]) for source, target in self.edges]

    @property
    def workers(self) -> tuple[Any, ...]:
        """The functions and classes that jobs were given directly: a local run needs no module to find them."""
        hooks = (job for group in self.groups for several in group.hooks.values() for job in several)
        found: dict[Any, None] = {}
        for job in (*self.jobs, *self.hooks.values(), *hooks):
            if job.worker is not None:
                found.update(dict.fromkeys(job.worker.workers if job.kind == "pipeline" else (job.worker,)))
        return tuple(found)

    def definition(self) -> bytes:
        """The compiled form, packed: what travels and what is journaled."""
        return definition_of(self)

    def run(self, workers: Any = None, store: Any = None, processes: int = 0, **options: Any) -> Run:
        """Run it here and now, in this process or with a pool of `processes`, without any daemon."""
        from .local import run_pipeline

        return run_pipeline(self, workers=workers, store=store, processes=processes, **options)

    def save_dot(self, filename: str | Path, encoding: str = "utf-8") -> None:
        """Write the DOT text into a file."""
        Path(filename).write_text(f"{self}\n", encoding=encoding)

    def to_svg(self) -> str:
        """A drawing of it. Needs graphviz; a `ConfigError` says so when it is not installed."""
        from .drawing import svg

        return svg(str(self))

    def _repr_svg_(self) -> str | None:
        """For notebooks, which fall back to the repr when there is no graphviz."""
        from .drawing import svg_if_possible

        return svg_if_possible(str(self))

    def to_dict(self) -> dict[str, Any]:
        """The versioned form for files and other programs: clean for JSON and msgpack."""
        from .document import to_document

        return to_document(self)

    @classmethod
    def from_dict(cls, document: Any) -> Pipeline:
        """The pipeline that `to_dict` has written, or a person; whatever is wrong in it is named with its place."""
        from .document import from_document

        return from_document(document, cls)

    def serialize(self) -> tuple[tuple[str, Any], ...]:
        """A tuple of items, `graph` and `data`, hashable when the data is. Options of the run are not in it."""
        jobs = [job.serialize() for job in self.jobs]
        graph = tuple((jobs[source], None if target is None else jobs[target]) for source, target in self.edges)
        return (("graph", graph), ("data", None) if self.data is None else data_item("data", "value", self.data))

    @classmethod
    def deserialize(cls, information: Any) -> Pipeline:
        """The pipeline again, from anything that `dict` takes. Without a `graph` it is a KeyError."""
        given = dict(information)
        graph = list(given["graph"])
        data = data_of(given, "data", "value")
        bound = data is not None
        # A pipeline repeats a job in every edge of it, as one object: read each once.
        read: dict[int, Job] = {}
        return cls([(_read(source, read, bound), _read(target, read, bound)) for source, target in graph], data)

    def __repr__(self) -> str:
        data = "" if self.data is None else ", data=..."
        return f"<Pipeline: {', '.join(job.name for job in self.jobs)}{data}>"

    def __str__(self) -> str:
        return dot_text(self)

    def __eq__(self, other: object) -> bool:
        """The same edges between jobs of the same names, in whatever order, and the same data."""
        if not isinstance(other, Pipeline):
            return NotImplemented
        return bool(self.data == other.data) and self._edge_counts() == other._edge_counts()

    def __hash__(self) -> int:
        data = frozenset(self.data.items()) if isinstance(self.data, dict) else self.data
        return hash((frozenset(self._edge_counts().items()), data))

    def _edge_counts(self) -> Counter[tuple[str, str | None]]:
        names = [job.name for job in self.jobs]
        return Counter((names[source], None if target is None else names[target]) for source, target in self.edges)


class PipelineForPipeliner(Pipeline):
    """A pipeline that counts its own progress: which jobs have finished, which may start now."""

    def __init__(self, graph: Any, data: Any = None, **options: Any) -> None:
        super().__init__(graph, data, **options)
        self._position = {job: position for position, job in enumerate(self.jobs)}
        self._followers: list[list[int]] = [[] for _ in self.jobs]
        self._waiting = [0] * len(self.jobs)
        for source, target in self.edges:
            if target is not None:
                self._followers[source].append(target)
                self._waiting[target] += 1
        self._finished: set[Job] = set()
        self._available = set(self.starters)

    def add_finished_job(self, job: Job) -> None:
        position = self._position.get(job)
        if position is None:
            raise DefinitionError(f"Job {job} not in pipeline")
        if job in self._finished:
            raise RuntimeError(f"Job {job} was already declared as finished")
        self._finished.add(job)
        self._available.discard(job)
        for target in self._followers[position]:
            self._waiting[target] -= 1
            if not self._waiting[target] and self.jobs[target] not in self._finished:
                self._available.add(self.jobs[target])

    def finished_job(self, job: Job) -> bool:
        return job in self._finished

    def finished(self) -> bool:
        return len(self._finished) == len(self.jobs)

    def available_jobs(self) -> set[Job]:
        """Jobs with every job before them finished, less those that have finished; running ones are among them."""
        return set(self._available)


def _read(information: Any, read: dict[int, Job], within_data: bool) -> Job | None:
    if information is None:
        return None
    job = read.get(id(information))
    if job is None:
        job = read[id(information)] = Job.deserialize(information, within_data=within_data)
    return job
