"""Clients of the Router: `PipelineManager` for scripts and threads, `AsyncPipelineManager` for asyncio.

    with PipelineManager() as manager:
        manager.start(pipeline)
        manager.wait(pipeline)

Both have the same names and mean the same by them: every operation is written once, as a flow (`daemons.management`),
and stands here twice as a name. Where the Router is comes from the argument, else from `HEADRACE_API` and
`HEADRACE_BROADCAST`, else it is this machine.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from ..daemons.addresses import Address, connect_address
from ..daemons.client.asynchronous import AsyncClient
from ..daemons.client.blocking import Client, new_id
from ..daemons.client.book import Book
from ..daemons.client.conversation import Flow
from ..daemons.client.events import Cursor, Event, Watch
from ..daemons.client.management import Management
from ..daemons.client.output import Piece
from ..daemons.client.wire import heard, subscribed
from .pipeline import Pipeline

API = "tcp://localhost:5555"
BROADCAST = "tcp://localhost:5556"
LOOK_AGAIN = 0.25
QUIET = 2.0
"""Seconds without a broadcast until the api is asked whether there was nothing."""
"""Seconds between looks at output that is being written."""

P = ParamSpec("P")
T = TypeVar("T")


class _Manager:
    """What needs no Router: addresses, the pipelines that were started here, and how many have finished."""

    _management: Management

    def __init__(self, api: Address | None, broadcast: Address | None) -> None:
        self.api = api or os.environ.get("HEADRACE_API") or API
        self.broadcast = broadcast or os.environ.get("HEADRACE_BROADCAST") or BROADCAST
        """Where the Router tells watchers what happens. A manager learns what it has to know from the api."""
        self._book = Book(new_id)

    @property
    def pipelines(self) -> Iterator[Pipeline]:
        """The pipelines that were started here and are not forgotten."""
        return iter(self._book)

    @property
    def started_pipelines(self) -> int:
        return self._book.started

    @property
    def finished_pipelines(self) -> int:
        return self._book.finished

    def finished(self, pipeline: Pipeline) -> bool:
        """Has this pipeline finished, as far as is known? `pipeline.finished` says the same."""
        if not self._book.holds(pipeline):
            raise ValueError("This pipeline is not being managed by this PipelineMager")
        return bool(pipeline.finished)

    def forget(self, pipeline: Pipeline | str | None = None) -> None:
        """Keep a pipeline in mind no longer, or (without one) all that have finished. Runs go on all the same."""
        self._management.forget(pipeline)

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name}: {self.started_pipelines} submitted, {self.finished_pipelines} finished>"


def _blocking(operation: Callable[Concatenate[Management, P], Flow[T]]) -> Callable[Concatenate[PipelineManager, P], T]:
    @wraps(operation)
    def method(self: PipelineManager, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._client.run(operation(self._management, *args, **kwargs))

    return method


def _awaiting(
    operation: Callable[Concatenate[Management, P], Flow[T]],
) -> Callable[Concatenate[AsyncPipelineManager, P], Coroutine[Any, Any, T]]:
    @wraps(operation)
    async def method(self: AsyncPipelineManager, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._client.run(operation(self._management, *args, **kwargs))

    return method


class PipelineManager(_Manager):
    """Starts pipelines and learns what becomes of them. Any thread may use it.

    poll_time  milliseconds: how long one thread may keep the others waiting
    timeout    seconds until a request without an answer is an `Unreachable`; until then it is repeated
    """

    def __init__(
        self,
        api: Address | None = None,
        broadcast: Address | None = None,
        poll_time: float = 50,
        *,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(api, broadcast)
        seconds = poll_time / 1000
        self._client = Client(self.api, self._book.ended, timeout=timeout, poll_time=seconds)
        self._management = Management(self._book, self._client.conversation, self._client.run, seconds)

    start = _blocking(Management.start)
    start_many = _blocking(Management.start_many)
    update = _blocking(Management.update)
    wait = _blocking(Management.wait)
    status = _blocking(Management.status)
    snapshot = _blocking(Management.snapshot)
    results = _blocking(Management.results)
    definition = _blocking(Management.definition)
    facts = _blocking(Management.facts)
    explain = _blocking(Management.explain)
    cache_explain = _blocking(Management.cache_explain)
    cluster = _blocking(Management.cluster)
    config = _blocking(Management.config)
    cancel = _blocking(Management.cancel)
    pause = _blocking(Management.pause)
    resume = _blocking(Management.resume)
    drain = _blocking(Management.drain)
    retry = _blocking(Management.retry)
    rerun = _blocking(Management.rerun)
    prune = _blocking(Management.prune)
    list = _blocking(Management.list_runs)

    def logs(self, pipeline: Pipeline | str, job: str | None = None, *, follow: bool = False) -> Iterator[Piece]:
        """What the attempts of a run (or of one job) have written, piece by piece.

        With `follow` also what they are writing, until the run has ended.
        """
        reader = self._management.output(pipeline, job)
        while True:
            pieces = self._client.run(reader.read(live=follow))
            yield from pieces
            if reader.ended or not follow:
                return
            if not pieces:
                time.sleep(LOOK_AGAIN)

    def events(
        self, since: str | None = None, *, run: str | None = None, follow: bool = True, signals: bool = False
    ) -> Iterator[Event]:
        """What happens in the cluster: every fact from `since` (the cursor of an event; "0-0": the beginning) on.

        Without `since` only what happens from now on. With `follow` it goes on for ever; `signals` are how far running
        jobs are, and may be missing.
        """
        watch = Watch(None if since is None else Cursor.parse(since), run, signals=signals)
        socket = subscribed(connect_address(self.broadcast)) if follow else None
        try:
            while True:
                while watch.behind:
                    yield from self._client.run(watch.read(self._client.conversation))
                if socket is None:
                    return
                quiet = True
                for frames in heard(socket, QUIET):
                    quiet = False
                    yield from watch.hear(frames)
                watch.behind = watch.behind or quiet
        finally:
            if socket is not None:
                socket.close()

    def close(self) -> None:
        """Let go of the Router. What was started runs on."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncPipelineManager(_Manager):
    """The same for asyncio: `await manager.start(pipeline)`. It belongs to the event loop of its first use.

    The results of a run are read with `await manager.results(id)`; `status(id).results` would have to block.
    """

    def __init__(
        self,
        api: Address | None = None,
        broadcast: Address | None = None,
        poll_time: float = 50,
        *,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(api, broadcast)
        self._client = AsyncClient(self.api, self._book.ended, timeout=timeout)
        self._management = Management(self._book, self._client.conversation, _not_here, poll_time / 1000)

    start = _awaiting(Management.start)
    start_many = _awaiting(Management.start_many)
    update = _awaiting(Management.update)
    wait = _awaiting(Management.wait)
    status = _awaiting(Management.status)
    snapshot = _awaiting(Management.snapshot)
    results = _awaiting(Management.results)
    definition = _awaiting(Management.definition)
    facts = _awaiting(Management.facts)
    explain = _awaiting(Management.explain)
    cache_explain = _awaiting(Management.cache_explain)
    cluster = _awaiting(Management.cluster)
    config = _awaiting(Management.config)
    cancel = _awaiting(Management.cancel)
    pause = _awaiting(Management.pause)
    resume = _awaiting(Management.resume)
    drain = _awaiting(Management.drain)
    retry = _awaiting(Management.retry)
    rerun = _awaiting(Management.rerun)
    prune = _awaiting(Management.prune)
    list = _awaiting(Management.list_runs)

    async def logs(
        self, pipeline: Pipeline | str, job: str | None = None, *, follow: bool = False
    ) -> AsyncIterator[Piece]:
        """What the attempts of a run (or of one job) have written, piece by piece.

        With `follow` also what they are writing, until the run has ended.
        """
        reader = self._management.output(pipeline, job)
        while True:
            pieces = await self._client.run(reader.read(live=follow))
            for piece in pieces:
                yield piece
            if reader.ended or not follow:
                return
            if not pieces:
                await asyncio.sleep(LOOK_AGAIN)

    async def events(
        self, since: str | None = None, *, run: str | None = None, follow: bool = True, signals: bool = False
    ) -> AsyncIterator[Event]:
        """What happens in the cluster: every fact from `since` (the cursor of an event; "0-0": the beginning) on.

        Without `since` only what happens from now on. With `follow` it goes on for ever; `signals` are how far running
        jobs are, and may be missing.
        """
        watch = Watch(None if since is None else Cursor.parse(since), run, signals=signals)
        socket = subscribed(connect_address(self.broadcast)) if follow else None
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        try:
            while True:
                while watch.behind:
                    for event in await self._client.run(watch.read(self._client.conversation)):
                        yield event
                    silent_since = loop.time()
                if socket is None:
                    return
                found = [event for frames in heard(socket, 0.0) for event in watch.hear(frames)]
                for event in found:
                    yield event
                if found:
                    silent_since = loop.time()
                elif not watch.behind:
                    await asyncio.sleep(LOOK_AGAIN)
                    watch.behind = loop.time() - silent_since > QUIET
        finally:
            if socket is not None:
                socket.close()

    async def close(self) -> None:
        """Let go of the Router. What was started runs on."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _not_here(flow: Flow[Any]) -> Any:
    flow.close()
    raise RuntimeError("this was read with an AsyncPipelineManager: use `await manager.results(id)` instead")


def submit(
    pipeline: Any,
    *,
    api: Address | None = None,
    broadcast: Address | None = None,
    timeout: float = 10.0,
    **options: Any,
) -> str:
    """Start one pipeline and return its run's id. It is in the Router's journal then, and runs without this process.

    It may be written in any style; `options` are those of its `to_pipeline`, such as `priority` and `role` of a block
    job.
    """
    from .loading import as_pipeline

    made = as_pipeline(pipeline, **options)
    with PipelineManager(api, broadcast, timeout=timeout) as manager:
        return manager.start(made)
