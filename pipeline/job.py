"""A job: a node of a pipeline. Which worker, under which name, with which data and options.

Two jobs with one name are equal, whatever their options: a graph is written with names, and a job that stands in it
several times is written out once and bare elsewhere. Options are checked when the job is made and fixed from then on.
A pipeline keeps copies of the jobs it is given, so one job may be used in many pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os.path import basename
from typing import Any, Literal, Protocol, runtime_checkable

from .checks import fault, show, unknown
from .definition import Bind, CommandLine, OnError, When
from .errors import DefinitionError
from .names import check_names, name_of
from .options import JOB_OPTIONS, Gather, Option, Retry, plain
from .tuples import data_item, data_of, frozen, thawed

Kind = Literal["job", "gate", "pipeline"]


@runtime_checkable
class SubPipeline(Protocol):
    """What a job can run instead of a worker: a whole pipeline (`job` does not import `pipeline`)."""

    title: Any
    data: Any

    def definition(self) -> bytes: ...
    def to_dict(self) -> dict[str, Any]: ...


class _SAME:
    """Stands for: a job's own data is its data, for no pipeline has laid any under it. (A class survives copying.)"""


class Job:
    """A job for the worker of that name; a function or a worker class names itself, a pipeline is run as a sub-run.

    data           laid over the pipeline's data, for this job only
    name           to use a worker twice in a pipeline; by default the worker's name
    bind           how the input is made: 'store' (by the Store), 'args', 'named', 'item', 'gather', 'literal'
    spread         the result is a list: what follows runs once per element, until a gather
    gather         Gather(...): close branches into a list
    when           'success', 'failure' or 'always': how the jobs before it have to end
    retry          Retry(...): try again
    timeout        seconds that an attempt may run
    queue_timeout  seconds that it may wait for a worker
    role           only where this role is served; or an expression, such as 'gpu && !shared'
    resources      what it needs there: {'cpu': 2, 'gpu': 1}
    limits         names of cluster-wide limits that it counts against
    priority       higher runs first
    on_error       'fail', 'block' or 'continue'; by default what the pipeline says
    cache          'content': reuse the result of the same code on the same input
    command        a list of arguments to run instead of a worker
    """

    __slots__ = ("_own", "data", "kind", "name", "options", "pipeline", "worker", "worker_name")

    spread = Option(False)
    gather = Option[Gather | None](None)
    when = Option[When]("success")
    retry = Option[Retry | None](None)
    timeout = Option[float | None](None)
    queue_timeout = Option[float | None](None)
    role = Option[str | None](None)
    resources = Option[Mapping[str, float]]({})
    limits = Option[tuple[str, ...]](())
    priority = Option(0)
    on_error = Option[OnError | None](None)
    cache = Option[str | None](None)

    worker: Any
    """The function, class or pipeline itself, where it was given; None for a worker known by name only."""
    pipeline: Any
    """The pipeline that this job is a part of; there only when that pipeline has data."""

    def __init__(
        self,
        worker_name: Any = None,
        data: Any = None,
        *,
        name: str | None = None,
        bind: Bind | None = None,
        spread: bool = False,
        gather: Gather | None = None,
        when: When = "success",
        retry: Retry | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        role: str | None = None,
        resources: Mapping[str, float] | None = None,
        limits: Iterable[str] = (),
        priority: int = 0,
        on_error: OnError | None = None,
        cache: Literal["content"] | None = None,
        command: CommandLine | Iterable[str] | None = None,
    ) -> None:
        given = {
            "bind": bind,
            "spread": spread,
            "gather": gather,
            "when": when,
            "retry": retry,
            "timeout": timeout,
            "queue_timeout": queue_timeout,
            "role": role,
            "resources": resources,
            "limits": limits,
            "priority": priority,
            "on_error": on_error,
            "cache": cache,
            "command": command,
        }
        if type(worker_name) is str:
            self.worker, self.worker_name = None, worker_name
            self.name = worker_name if name is None else name
            self.kind: Kind = "job"
        else:
            self._name_after(worker_name, name, command)
        check_names(self.name, self.worker_name)
        self.data = data
        self._own = _SAME
        self.options: Mapping[str, Any] = {} if given == _UNSET else _checked(self.name, given)

    @classmethod
    def command(
        cls,
        argv: Iterable[str],
        data: Any = None,
        *,
        name: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Job:
        """A job that runs a program with a list of arguments: input as JSON on its standard input, no shell."""
        if isinstance(argv, str | bytes):
            raise fault("Job.command", "the command", "a list of arguments (for shell text: Job.shell)", argv)
        line: dict[str, Any] = {"argv": list(argv), "cwd": cwd, "env": env}
        default = basename(str(line["argv"][0])) if line["argv"] else "command"
        return cls(None, data, name=name or default, command=_present(line), **options)

    @classmethod
    def shell(
        cls,
        text: str,
        data: Any = None,
        *,
        name: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Job:
        """A job that runs shell text; by default it is named after the text's first word."""
        words = text.split() if isinstance(text, str) else []
        line = {"shell": text, "cwd": cwd, "env": env}
        return cls(
            None, data, name=name or (basename(words[0]) if words else "shell"), command=_present(line), **options
        )

    @classmethod
    def gate(cls, name: str) -> Job:
        """A node without work: a group of n before a group of m costs n+m edges through it instead of n*m."""
        gate = cls(name)
        gate.kind = "gate"
        return gate

    @property
    def bind(self) -> Bind:
        given: Bind | None = self.options.get("bind")
        return given or ("gather" if "gather" in self.options else "store")

    @property
    def command_line(self) -> CommandLine | None:
        line: CommandLine | None = self.options.get("command")
        return line

    @property
    def own_data(self) -> Any:
        """The data that this job was given itself; in a pipeline with data, `data` has both."""
        return self.data if self._own is _SAME else self._own

    @property
    def bare(self) -> bool:
        """It says a name and nothing else: where the job stands a second time, this is enough."""
        return not self.options and self.data is None and self.worker_name == self.name and self.kind == "job"

    def bound(self, pipeline: Any, data: Any) -> Job:
        """A copy that belongs to a pipeline; when that has data, merged with it."""
        copy = Job.__new__(Job)
        copy.name, copy.worker_name, copy.worker = self.name, self.worker_name, self.worker
        copy.kind, copy.options = self.kind, self.options
        own = self.data if self._own is _SAME else self._own
        if data is None:
            copy.data, copy._own = own, _SAME
        else:
            copy.data, copy._own = merged(data, own), own
            copy.pipeline = pipeline
        return copy

    def serialize(self) -> tuple[tuple[str, Any], ...]:
        """A tuple of items, hashable when the data is. Only what is not the default is in it."""
        items: list[tuple[str, Any]] = [("worker_name", self.worker_name)]
        if self.data is not None:
            items.append(data_item("data", "value", self.data))
        if self._own is not _SAME and self._own is not None:
            items.append(data_item("own_data", "own_value", self._own))
        if self.name != self.worker_name:
            items.append(("name", self.name))
        if self.kind == "gate":
            items.append(("gate", True))
        if self.kind == "pipeline":
            raise DefinitionError(f"job {self.name!r} runs a pipeline: this form has no place for it; use to_dict()")
        items.extend((option, frozen(plain(value))) for option, value in self.options.items())
        return tuple(items)

    @classmethod
    def deserialize(cls, information: Any, *, within_data: bool = False) -> Job:
        """The job again, from anything that `dict` takes.

        `within_data`: it stood in a pipeline with data, so that only what is said to be its own is its own.
        """
        given = dict(information)
        if "worker_name" not in given:
            raise DefinitionError(
                f"`worker_name` was not specified: there is {', '.join(map(str, given)) or 'nothing'}"
            )
        worker, name = given.pop("worker_name"), given.pop("name", None)
        has_own = "own_data" in given or "own_value" in given
        data, own = data_of(given, "data", "value"), data_of(given, "own_data", "own_value")
        if given.pop("gate", False):
            return cls.gate(name or worker)
        options = {option: thawed(option, value) for option, value in given.items()}
        job = from_options(worker, own if within_data else data, name, options, where=f"job {name or worker!r}")
        if has_own and not within_data:
            job._own = own
        return job

    def __repr__(self) -> str:
        name = "" if self.name == self.worker_name else f", name={self.name}"
        data = "" if self.data is None else ", data=..."
        return f"<Job worker={self.worker_name}{name}{data}>"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def _name_after(self, worker: Any, name: str | None, command: Any) -> None:
        self.kind = "job"
        self.worker = worker
        if isinstance(worker, str) or (worker is None and name is not None and command is not None):
            self.worker = None
            own_name: Any = worker or name
        elif isinstance(worker, SubPipeline) and not isinstance(worker, type):
            self.kind = "pipeline"
            own_name = name or worker.title
        elif callable(worker):
            own_name = name_of(worker)
        else:
            own_name = None
        if not own_name:
            raise DefinitionError(
                "a job needs a worker: its name, a function with a name, a class, or a pipeline with a title or name=, "
                f"not {show(worker)}"
            )
        self.worker_name = own_name
        self.name = own_name if name is None else name


def merged(data: Any, own: Any) -> Any:
    """What a job has in the end: its own data over the pipeline's when both are dicts, else its own if it has any."""
    if own is None:
        return data
    if isinstance(data, Mapping) and isinstance(own, Mapping):
        return {**data, **own}
    return own


def from_options(worker: Any, data: Any, name: str | None, options: Mapping[str, Any], where: str) -> Job:
    """A job from options that a file or a peer gave: an unknown one is refused with the nearest name."""
    for option in options:
        if option not in JOB_OPTIONS:
            raise unknown(where, option, JOB_OPTIONS)
    return Job(worker, data, name=name, **options)


def _checked(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something, checked. None says nothing, as does an option's default."""
    where = f"job {name!r}"
    checked = {o: JOB_OPTIONS[o](where, o, value) for o, value in given.items() if value is not None}
    return {option: value for option, value in checked.items() if value != _UNSET[option] and value != {}}


def _present(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if part is not None}


_UNSET: dict[str, Any] = {**dict.fromkeys(JOB_OPTIONS), "spread": False, "when": "success", "limits": (), "priority": 0}
