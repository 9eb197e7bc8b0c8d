"""Job maps: a pipeline as a JSON map of tasks, data and workflow, made of functions that stand in namespaces.

    {"name": "shout",
     "datasource": {"source": "direct", "content": {"text": "hello"}},
     "tasks": [{"name": "in", "type": "input"},
               {"name": "upper", "type": "function", "namespace": "main", "method": "upper",
                "consumes": "string", "produces": "string", "init_args": {}},
               {"name": "out", "type": "output"}],
     "workflow": [["in", "upper"], ["upper", "out"]]}

A map is a dict, or the path of a JSON file. Namespaces are looked for below the current folder, files of data sources
first beside the map's own file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..pipeline import Pipeline
from ..run import Run
from .files import parse_json
from .jobmap_document import JobMap, read_map
from .jobmap_jobs import is_tracked, record_of
from .problems import JobMapError, JobMapFailed, Problem

if TYPE_CHECKING:
    from ..manager import PipelineManager

Map = Mapping[str, Any] | str | os.PathLike[str]

__all__ = ["JobMapError", "JobMapFailed", "Problem", "load", "run", "submit", "validate"]


def validate(map: Map) -> None:
    """Check a map. Raises `JobMapError` with all `.problems`; nothing is run, and no data source is read."""
    _read(map)


def load(map: Map) -> Pipeline:
    """The pipeline of a map, to be started by a manager or drawn. Raises `JobMapError`."""
    return _read(map).to_pipeline()


def run(
    map: Map, manager: PipelineManager | None = None, *, processes: int = 0, timeout: float | None = None
) -> list[dict[str, Any]]:
    """Run a map to its end, and return the records of its outputs, in the order of the map.

    manager    a PipelineManager: run on its cluster, and wait; by default it is run here and now
    processes  how many processes run tasks here; 0 is this one
    timeout    seconds to wait for the cluster: a `TimeoutError` leaves the run going

    Raises `JobMapError` for a map that is wrong, and `JobMapFailed` when a task has failed.
    """
    if (manager is not None and processes) or (manager is None and timeout is not None):
        raise ConfigError("run: processes are of a run in this process, and timeout of one with a manager")
    jobmap = _read(map)
    pipeline = jobmap.to_pipeline()
    if manager is None:
        ended = pipeline.run(processes=processes)
    else:
        manager.start(pipeline)
        ended = manager.wait(pipeline, timeout)
    records = list(_records(jobmap, ended))
    if not ended.ok:
        raise JobMapFailed(jobmap.name, ended.state, records, ended.error)
    return records


def submit(map: Map, *, api: str | None = None, broadcast: str | None = None, timeout: float = 10.0) -> str:
    """Give a map to a cluster and return the run's id. The result of an output task's job is its record."""
    from ..manager import submit as start

    return start(load(map), api=api, broadcast=broadcast, timeout=timeout)


def of_map(document: Any, path: Path) -> JobMap:
    """The map that stands in a file. Files of its data source are looked for beside it first."""
    return read_map(document, str(path), (path.absolute().parent, Path.cwd()))


def _read(map: Map) -> JobMap:
    if isinstance(map, Mapping):
        return read_map(map, "the job map", (Path.cwd(),))
    if not isinstance(map, str | os.PathLike):
        raise JobMapError([Problem(None, "map", f"must be a dict or the path of a file, not a {type(map).__name__}")])
    path = Path(map)
    try:
        document = parse_json(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"the job map {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise JobMapError([Problem(None, "map", f"it cannot be read: {error}")], str(path)) from None
    return of_map(document, path)


def _records(jobmap: JobMap, ended: Run) -> Iterator[dict[str, Any]]:
    """The records of the outputs; one that has none (a failed run, everything skipped) holds what was there."""
    for task in jobmap.tasks.values():
        if task.kind == "output":
            found = ended.results.get(task.name)
            yield found if isinstance(found, dict) else record_of(jobmap, task, _came(jobmap, ended, task.parents))


def _came(jobmap: JobMap, ended: Run, parents: list[str]) -> list[Any]:
    results = ended.results
    items = [item for parent in parents for item in flat(results.get(parent, []))]
    return [item["data"] for item in items] if is_tracked(jobmap) else items


def flat(value: Any) -> Iterator[Any]:
    """The maps in what tasks have returned: lists of lists, as deep as branches are."""
    if isinstance(value, list):
        for one in value:
            yield from flat(one)
    else:
        yield value
