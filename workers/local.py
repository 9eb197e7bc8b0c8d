"""Workers of a local run: what the pipeline, the caller and the module `workers` offer, and what runs it.

Attempts run in this thread (`run`), or in forks of this process (`start`, `wait`, `stop`); both by the same `Execution`
as in the worker process of a Broker.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from ..pipeline.definition import Definition, Node
from ..pipeline.errors import ConfigError, NotFound
from ..pipeline.facts import Ended, Signs
from ..pipeline.payload import pack
from ..pipeline.plan import Plan
from ..pipeline.task import Assignment, Given, Outcome, Ready, RunHeader, Want, unpack_task
from ..stores.pipeline import PipelineStore
from .answers import InvalidAnswer, understand
from .cache.cache import Cache
from .cache.place import user_cache
from .catalog import Catalog
from .channel import Channel
from .execution import Execution
from .failures import failure_of
from .interruption import Interruption
from .messages import Progress
from .pools.forked import ForkedPool
from .pools.lent import Lender, LentStore
from .reading import Reader
from .roles import BUILT_IN
from .storeclass import store_class
from .storekeeper import DEADLINE, Storekeeper
from .upstream import Upstream

DEFAULT_MODULE = "workers"
LONGEST_WAIT = 60.0
ROLES = frozenset(one.__name__ for one in BUILT_IN)

Fetch = Callable[[Sequence[Want]], list[Given]]
Report = Callable[[Assignment, float, float | None, str], None]


class LocalWorkers:
    """A catalog and a store; `runner` makes what runs attempts of one run with them."""

    def __init__(self, catalog: Catalog, store: Any, cache_folder: str | os.PathLike[str] | None = None) -> None:
        self._catalog = catalog
        self._store = store
        self._cache = Cache(cache_folder or user_cache())
        self._name = _store_name(store)
        if store is not None and not isinstance(store, type | str):
            _check_store(store, self._name)
        self._keepers: list[Storekeeper] = []

    @classmethod
    def of(
        cls, own: Iterable[Any], given: Any, store: Any, cache_folder: str | os.PathLike[str] | None = None
    ) -> LocalWorkers:
        """`own` are the pipeline's; `given` as the caller said it. Raises `ConfigError` for what cannot be used."""
        things: list[Any] = list(own)
        if given is not None:
            things += _several(given)
        for thing in things:
            if isinstance(thing, str):
                _look_here()
        return cls(Catalog.of(things), store, cache_folder)

    def check(self, definition: Definition) -> None:
        """Raises `NotFound` naming a worker that a job needs and nobody offers."""
        needed = _needed(definition)
        self._add_default({node.worker_name for node in needed if not self._catalog.has_own(node.worker_name)})
        missing = [node for node in needed if self._catalog.get(node.worker_name) is None]
        if not missing:
            return
        self._catalog.add_namespaces(Path.cwd(), [node.worker_name.rpartition(".")[0] for node in missing])
        for node in missing:
            if self._catalog.get(node.worker_name) is None:
                known = sorted(card.name for card in self._catalog.cards() if ":" not in card.name)
                near = get_close_matches(node.worker_name, known, n=1)
                told = f"did you mean {near[0]!r}? " if near else ""
                hint = f"job {node.name!r} needs it. {told}Known here: {', '.join(known) or 'none'}"
                hint = "; ".join([f"{hint}; give others with workers=...", *self._catalog.warnings])
                raise NotFound("worker", node.worker_name, hint)

    def _add_default(self, needed: Collection[str]) -> None:
        """The user's module `workers`, if there is one: what was given by the caller goes before it.

        It may have its own function for a built-in role, as on a Broker.
        """
        if not any(self._catalog.get(name) is None or name in ROLES for name in needed):
            return
        _look_here()
        spec = find_spec(DEFAULT_MODULE)
        if spec is not None and spec.origin != str(Path(__file__).parent / "__init__.py"):
            self._catalog.fill(Catalog.load((DEFAULT_MODULE,)))

    def runner(self, fetch: Fetch, size: int, report: Report) -> LocalRunner:
        return LocalRunner(self._catalog, self.keeper, self._lender, fetch, size, report, self._cache)

    def answered(self, ready: Ready, results: dict[str, Any], started: float, duration: float) -> Outcome:
        """The results of a sub-run as the outcome of its job."""
        try:
            result, signs = understand(results, unpack_task(ready.task))
        except InvalidAnswer as error:
            failure = failure_of(error, "")
            return Outcome(0, "failed", b"", started, duration, signs=Signs(invalid=failure.message), error=failure)
        packed = pack(result, f"the results of {ready.job!r}")
        return Outcome(0, "success", packed, started, duration, len(packed), signs=signs)

    def keeper(self, lent: LentStore | None = None) -> Storekeeper:
        """The store as an `Execution` wants it: made when it is first needed, or the one that was given."""
        store = self._store
        if store is None:
            return Storekeeper(PipelineStore, self._name, saves=False)
        if lent is not None:
            keeper = Storekeeper(lambda: lent, self._name, DEADLINE)
        elif isinstance(store, str):
            keeper = Storekeeper(store_class(store), self._name, DEADLINE)
        elif isinstance(store, type):
            keeper = Storekeeper(store, self._name, DEADLINE)
        else:
            return Storekeeper(lambda: _Kept(store), self._name, DEADLINE)
        self._keepers.append(keeper)
        return keeper

    def _lender(self, upstream: Callable[[Assignment], Mapping[str, Any]]) -> Lender | None:
        if self._store is None or isinstance(self._store, type | str):
            return None
        return Lender(self._store, upstream)

    def close(self) -> None:
        """Close the stores that were made here; one that was given is its owner's."""
        for keeper in self._keepers:
            keeper.close()


class LocalRunner:
    """Runs the attempts of one run."""

    def __init__(
        self,
        catalog: Catalog,
        keeper: Callable[[LentStore | None], Storekeeper],
        lender: Callable[[Callable[[Assignment], Mapping[str, Any]]], Lender | None],
        fetch: Fetch,
        size: int,
        report: Report,
        cache: Cache,
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._keeper = keeper
        self._reader = Reader(fetch)
        self._report = report
        self._inline: Execution | None = None
        self._assignment: Assignment | None = None
        self._pool = ForkedPool(size, self._in_child, fetch, self._reported, lender(self._upstream))

    def run(self, header: RunHeader, assignment: Assignment) -> Outcome:
        """Run an attempt here and now. Ctrl-C goes through."""
        if self._inline is None:
            self._inline = Execution(
                self._catalog,
                self._keeper(None),
                self._reader,
                cache=self._cache,
                inline_limit=None,
                report=self._reported_here,
                interactive=True,
            )
        self._assignment = assignment
        return self._inline.run(header, assignment)

    def has_room(self) -> bool:
        return self._pool.has_room()

    def start(self, header: RunHeader, assignment: Assignment) -> None:
        """Run an attempt in a fork; `wait` tells how it ended."""
        self._pool.start(header, assignment)

    def stop(self, lease: int, why: Ended) -> None:
        self._pool.stop(lease, why)

    def wait(self, until: float) -> list[Outcome]:
        """Outcomes of forks, as soon as there are any; none when that time (monotonic) has come."""
        left = min(until, self._pool.next_deadline()) - time.monotonic()
        return self._pool.poll(min(max(0.0, left), LONGEST_WAIT))

    def close(self) -> None:
        self._pool.close()
        if self._inline is not None:
            self._inline.close()

    def _in_child(self, channel: Channel, interruption: Interruption, lent: LentStore | None) -> Execution:
        return Execution(
            self._catalog,
            self._keeper(lent),
            Reader(channel.fetch),
            cache=self._cache,
            inline_limit=None,
            interruption=interruption,
            report=channel.report,
        )

    def _upstream(self, assignment: Assignment) -> Upstream:
        return Upstream(self._reader, assignment, unpack_task(assignment.task).complete)

    def _reported(self, assignment: Assignment, progress: Progress) -> None:
        self._report(assignment, progress.done, progress.total, progress.message)

    def _reported_here(self, lease: int, done: float, total: float | None, message: str) -> None:
        if self._assignment is not None and self._assignment.lease == lease:
            self._report(self._assignment, done, total, message)


class _Kept:
    """A store that was given as an object: it is used, and never closed here."""

    def __init__(self, store: Any) -> None:
        self.retrieve = store.retrieve
        self.save = store.save


def _several(given: Any) -> list[Any]:
    if isinstance(given, str | type | ModuleType) or callable(given):
        return [given]
    if not isinstance(given, Iterable):
        raise ConfigError(f"workers={given!r}: give a module, its name, or a list of classes and functions")
    return list(given)


def _look_here() -> None:
    """Modules that are given by name are looked for in the current folder first, as Brokers do."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())


def _needed(definition: Definition) -> list[Node]:
    """The nodes of a definition, its hooks and its sub-runs that need a worker of a catalog."""
    nodes = [*definition.nodes, *definition.hooks.values()]
    for group in definition.groups:
        nodes += [node for several in group.hooks.values() for node in several]
    needed = [node for node in nodes if node.kind == "job" and node.command is None]
    for node in nodes:
        if node.kind == "pipeline":
            needed += _needed(Plan.load(node.definition or b"").definition)
    return needed


def _store_name(store: Any) -> str:
    if store is None:
        return "PipelineStore"
    if isinstance(store, str):
        return store.rpartition(":")[2]
    return store.__name__ if isinstance(store, type) else type(store).__name__


def _check_store(store: Any, name: str) -> None:
    for method in ("retrieve", "save"):
        if not callable(getattr(store, method, None)):
            raise ConfigError(f"store={name} cannot be used: it has no {method}(self, info)")
