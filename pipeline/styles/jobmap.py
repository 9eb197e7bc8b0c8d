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
from typing import Any

from ..errors import ConfigError
from ..pipeline import Pipeline
from ..run import Run
from .files import parse_json
from .jobmap_document import JobMap, read_map
from .jobmap_jobs import compiled, is_tracked, record_of
from .problems import JobMapError, JobMapFailed, Problem

Map = Mapping[str, Any] | str | os.PathLike[str]

__all__ = ["JobMapError", "JobMapFailed", "Problem", "load", "run", "submit", "validate"]


def validate(map: Map) -> None:
    """Check a map. Raises `JobMapError` with all `.problems`; nothing is run, and no data source is read."""
    _read(map, content=False)


def load(map: Map) -> Pipeline:
    """The pipeline of a map, to be started by a manager or drawn. Raises `JobMapError`."""
    return compiled(_read(map))


def run(map: Map, *, processes: int = 0) -> list[dict[str, Any]]:
    """Run a map here and now, and return the records of its outputs, in the order of the map.

    processes  how many processes run tasks; 0 is this one

    Raises `JobMapError` for a map that is wrong, and `JobMapFailed` when a task has failed.
    """
    jobmap = _read(map)
    ended = compiled(jobmap).run(processes=processes)
    if not ended.ok:
        raise JobMapFailed(jobmap.name, ended.state, list(_reached(jobmap, ended)), ended.error)
    return [ended.results[task.name] for task in jobmap.tasks.values() if task.kind == "output"]


def submit(map: Map, *, api: str | None = None, broadcast: str | None = None, timeout: float = 10.0) -> str:
    """Give a map to a cluster and return the run's id. The result of an output task's job is its record."""
    from ..manager import submit as start

    return start(load(map), api=api, broadcast=broadcast, timeout=timeout)


def of_map(document: Any, path: Path) -> Pipeline:
    """The pipeline of a map that stands in a file."""
    return compiled(_checked(document, path))


def _read(map: Map, *, content: bool = True) -> JobMap:
    if isinstance(map, Mapping):
        return read_map(map, "the job map", (Path.cwd(),), content=content)
    if not isinstance(map, str | os.PathLike):
        raise JobMapError([Problem(None, "map", f"must be a dict or the path of a file, not a {type(map).__name__}")])
    path = Path(map)
    try:
        document = parse_json(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"the job map {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise JobMapError([Problem(None, "map", f"it cannot be read: {error}")], str(path)) from None
    return _checked(document, path, content=content)


def _checked(document: Any, path: Path, *, content: bool = True) -> JobMap:
    """Files of the data source are looked for beside the map first."""
    return read_map(document, str(path), (path.absolute().parent, Path.cwd()), content=content)


def _reached(jobmap: JobMap, ended: Run) -> Iterator[dict[str, Any]]:
    """The records of a run that did not end well: with what was there when it ended."""
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
