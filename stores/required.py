"""Which of the things at hand a worker gets: one rule for all of our stores.

A worker with `requires` gets exactly those keys. Each comes from the nearest job upstream whose result is a dict that
has it; then from the data. So a job that changes `url` changes it for everything below it, whatever the pipeline's
data says. Of two equally near jobs the first in edge order counts. Keys under `worker_optional` may be missing.

A worker without `requires` gets the data with the dict results of its direct parents laid over it; data that is no dict
is handed over as it is. (Of a job with very many parents only the data: it has to say what it requires.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..pipeline.errors import MissingInput
from .base import Info

_NAMED = 10


def required_input(info: Info, results: Mapping[str, Any], elsewhere: Callable[[], Iterable[Any]] | None = None) -> Any:
    """The worker's input. `elsewhere` gives results that count when neither upstream nor the data has a key."""
    required = info.get("worker_requires") or ()
    optional = info.get("worker_optional") or ()
    if not required and not optional:
        return _everything(info.get("data"), results)
    found: dict[str, Any] = {}
    wanted = {*required, *optional}
    _take(wanted, found, (results.get(name) for name in results))
    _take(wanted, found, (info.get("data"),))
    if elsewhere is not None:
        _take(wanted, found, elsewhere())
    for key in required:
        if key in wanted:
            raise MissingInput(key, info.get("worker", "?"), _looked_in(info.get("data"), results))
    return {key: found[key] for key in (*required, *optional) if key in found}


def _take(wanted: set[str], found: dict[str, Any], sources: Iterable[Any]) -> None:
    """Move what the sources have from `wanted` to `found`; read no further source than needed."""
    if not wanted:
        return
    for source in sources:
        if isinstance(source, dict):
            for key in wanted & source.keys():
                found[key] = source[key]
                wanted.remove(key)
            if not wanted:
                return


def _everything(data: Any, results: Mapping[str, Any]) -> Any:
    if data is not None and not isinstance(data, dict):
        return data
    given = dict(data) if data else {}
    for name in reversed(tuple(getattr(results, "direct", results))):
        result = results.get(name)
        if isinstance(result, dict):
            given.update(result)
    return given


def _looked_in(data: Any, results: Mapping[str, Any]) -> str:
    jobs = _list(results) or "none"
    if not isinstance(data, dict):
        return f"the results of the jobs upstream ({jobs}); the pipeline has no data"
    return f"the results of the jobs upstream ({jobs}) nor in the data (keys: {_list(data) or 'none'})"


def _list(names: Iterable[Any]) -> str:
    shown = [str(name) for name in names]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return ", ".join(shown[:_NAMED]) + more
