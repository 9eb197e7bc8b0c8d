"""The managers against a real Router and a real Pipeliner; jobs are run by a Broker of this test, as each test says."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from headrace import AsyncPipelineManager, Gather, Job, Pipeline, PipelineManager, submit
from headrace.daemons.dispatch.values import CHUNK
from headrace.daemons.loop import Link
from headrace.daemons.pipeliner import Pipeliner
from headrace.daemons.protocol import Beat, BrokerCard, Bye, Credit, Hello, Kill, Noted, Outcomes, Run
from headrace.daemons.router import Router
from headrace.daemons.session import Session
from headrace.pipeline.errors import NotFound, Refused, Unreachable, ValueNotSupported
from headrace.pipeline.facts import Failure, Signs
from headrace.pipeline.payload import pack
from headrace.pipeline.task import Assignment, Outcome
from headrace.stores.values import ValuesFolder

SLOTS = 1000
PATIENCE = 60.0
"""Longer than anything here takes on a busy machine."""

Work = Callable[[Assignment], Outcome | None]


def succeed(assignment: Assignment) -> Outcome:
    """Every job returns its own name."""
    return Outcome(assignment.lease, "success", pack(assignment.job), duration=0.001)


class Hand:
    """A Broker without processes: `work` says how each attempt ends, None that it goes on until it is killed."""

    def __init__(self, api: str, work: Work) -> None:
        self.work = work
        self._api = api
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._leases: dict[int, Assignment] = {}
        self._highest = 0

    def __enter__(self) -> Hand:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _hello(self) -> Hello:
        return Hello("broker", "test/1", card=BrokerCard(SLOTS, ("A", "B", "C")))

    def _beat(self, now: float, _: int) -> Beat:
        return Beat(now, self._highest, tuple(self._leases))

    def _serve(self) -> None:
        session = Session(uuid.uuid4().hex, self._hello, lambda: uuid.uuid4().hex)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        link = Link(context, self._api)
        while not self._stop.is_set():
            link.socket.poll(20)
            for envelope in link.drain():
                for message in session.receive(envelope, time.monotonic()):
                    outcomes = self._received(message)
                    if outcomes:
                        link.send(session.wrap([Outcomes(outcomes)]))
                    link.send(session.wrap([Credit(SLOTS - len(self._leases), 0, self._highest)]))
            if due := session.due(time.monotonic(), self._beat):
                link.send(due)
        link.send(session.wrap([Bye()]))
        link.close(linger=1.0)
        context.term()

    def _received(self, message: object) -> list[Outcome]:
        outcomes: list[Outcome] = []
        if isinstance(message, Run):
            for assignment in message.assignments:
                self._highest = max(self._highest, assignment.lease)
                self._leases[assignment.lease] = assignment
                if outcome := self.work(assignment):
                    outcomes.append(outcome)
        elif isinstance(message, Kill):
            outcomes = [Outcome(lease, "cancelled") for lease in message.leases if lease in self._leases]
        elif isinstance(message, Noted):
            for lease in message.leases:
                self._leases.pop(lease, None)
        return outcomes


class Daemon:
    """A Router or a Pipeliner in a thread."""

    def __init__(self, machine: Router | Pipeliner) -> None:
        self.machine = machine
        self._thread = threading.Thread(target=machine.start, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.machine.stop()
        self._thread.join()


class Site:
    """A Router and a Pipeliner, with addresses and a data folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = f"ipc://{folder}/api"
        self.broadcast = f"ipc://{folder}/broadcast"
        self.router = self.new_router()
        self.pipeliner = Daemon(Pipeliner(self.api, self.broadcast))

    def new_router(self) -> Daemon:
        return Daemon(Router(self.api, self.broadcast, {}, data=self.folder / "data"))

    def restart_router(self) -> None:
        self.router.stop()
        self.router = self.new_router()

    def close(self) -> None:
        self.pipeliner.stop()
        self.router.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    opened = Site(tmp_path_factory.mktemp("site"))
    yield opened
    opened.close()


@pytest.fixture
def manager(site: Site) -> Iterator[PipelineManager]:
    with PipelineManager(site.api, site.broadcast, timeout=PATIENCE) as opened:
        yield opened


def chain(**options: Any) -> Pipeline:
    return Pipeline({Job("A"): Job("B"), Job("B"): Job("C")}, data={"id": 7}, **options)


def fail_b(assignment: Assignment) -> Outcome:
    if assignment.job != "B":
        return succeed(assignment)
    failure = Failure("ValueError", "no good", "Traceback ...\nValueError: no good")
    return Outcome(assignment.lease, "failed", error=failure, duration=0.001)


def never(_: Assignment) -> None:
    """It runs until it is killed."""


# Starting -------------------------------------------------------------------------------------------------------------


def test_a_started_pipeline_has_an_id_and_is_not_finished(manager: PipelineManager) -> None:
    pipeline = chain()
    before = time.time()
    run = manager.start(pipeline)
    assert len(run) == 32 and set(run) <= set("0123456789abcdef")
    assert pipeline.id == run and pipeline.finished is False and pipeline.duration is None
    assert before <= pipeline.started_at <= time.time()
    assert list(manager.pipelines) == [pipeline]
    assert repr(manager) == "<PipelineManager: 1 submitted, 0 finished>"


def test_a_pipeline_is_started_once(manager: PipelineManager) -> None:
    pipeline = chain()
    manager.start(pipeline)
    with pytest.raises(ValueError, match="This pipeline was already started"):
        manager.start(pipeline)
    with pytest.raises(ValueError, match="This pipeline was already started"):
        manager.start_many([pipeline])


def test_what_is_no_pipeline_is_refused_before_anything_is_sent(manager: PipelineManager) -> None:
    with pytest.raises(TypeError, match="only a Pipeline"):
        manager.start({"A": "B"})  # type: ignore[arg-type]
    with pytest.raises(ValueNotSupported, match="data"):
        manager.start(Pipeline({Job("A"): None}, data={"file": object()}))
    assert manager.started_pipelines == 0


def test_many_pipelines_are_started_together_and_get_ids_in_order(manager: PipelineManager) -> None:
    pipelines = [chain() for _ in range(1000)]
    runs = manager.start_many(iter(pipelines))
    assert runs == [pipeline.id for pipeline in pipelines] and len(set(runs)) == 1000
    assert manager.started_pipelines == 1000
    assert {one.id for one in manager.list(limit=1000)} == set(runs)


def test_of_many_pipelines_those_before_a_faulty_one_are_started(manager: PipelineManager) -> None:
    good, never_reached = chain(), chain()
    with pytest.raises(TypeError):
        manager.start_many([good, "no pipeline", never_reached])  # type: ignore[list-item]
    assert good.id is not None and never_reached.id is None
    manager.start(never_reached)


def test_an_error_in_the_row_of_pipelines_leaves_them_startable(manager: PipelineManager) -> None:
    pipeline = chain()

    def row() -> Iterator[Pipeline]:
        yield pipeline
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        manager.start_many(row())
    manager.start(pipeline)


def test_a_key_names_one_run(manager: PipelineManager) -> None:
    key = uuid.uuid4().hex
    first, same = chain(key=key), chain(key=key)
    assert manager.start(first) == manager.start(same)
    refused, fine = chain(key=key, on_duplicate="reject"), chain()
    with pytest.raises(Refused, match=key):
        manager.start_many([refused, fine])
    assert refused.id is None and fine.id is not None


def test_submit_needs_no_manager(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_API", site.api)
    run = submit(chain(title="by the way"))
    with PipelineManager() as manager:
        assert manager.api == site.api
        assert manager.list(limit=1)[0].title == "by the way"
        assert manager.status(run).state == "running"


# Ending ---------------------------------------------------------------------------------------------------------------


def test_update_tells_which_pipelines_have_ended(site: Site, manager: PipelineManager) -> None:
    pipelines = [chain() for _ in range(50)]
    with Hand(site.api, succeed):
        manager.start_many(pipelines)
        news = 0
        while manager.finished_pipelines < 50:
            news += manager.update()
    assert news == 50 and all(pipeline.finished for pipeline in pipelines)
    assert all(pipeline.duration >= 0 and not pipeline.failed and pipeline.error is None for pipeline in pipelines)
    assert all(manager.finished(pipeline) for pipeline in pipelines)
    assert repr(manager) == "<PipelineManager: 50 submitted, 50 finished>"


@pytest.fixture
def update_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that waits for as long as it usually does never comes back: no clock has to be asked."""
    monkeypatch.setattr("headrace.daemons.client.management.UPDATE", 3600.0)


@pytest.mark.usefixtures("update_takes_for_ever")
def test_update_returns_within_its_time_when_there_is_no_news(manager: PipelineManager) -> None:
    manager.start(chain())
    for timeout in (0, 0.05):
        assert manager.update(timeout) == 0


@pytest.mark.usefixtures("update_takes_for_ever")
def test_update_with_nothing_under_way_does_not_wait_long(manager: PipelineManager) -> None:
    assert manager.update() == 0


def test_a_pipeline_that_ends_before_anybody_looks_is_seen_to_end(site: Site, manager: PipelineManager) -> None:
    pipeline = chain()
    with Hand(site.api, succeed), PipelineManager(site.api, timeout=PATIENCE) as other:
        run = manager.start(pipeline)
        other.wait(run, PATIENCE)
    assert manager.update(PATIENCE) == 1 and pipeline.finished is True


def test_a_failed_pipeline_says_which_job_why_and_where(site: Site, manager: PipelineManager) -> None:
    pipeline = chain()
    with Hand(site.api, fail_b):
        manager.start(pipeline)
        run = manager.wait(pipeline, PATIENCE)
    assert run.state == "failed" and pipeline.failed is True
    assert pipeline.error is not None
    assert (pipeline.error.job, pipeline.error.path) == ("B", ())
    assert "no good" in pipeline.error.reason and "Traceback" in pipeline.error.traceback
    assert run.error == pipeline.error
    assert run.states["A"] == "success" and run.states["B"] == "failed"


def test_waiting_gives_the_run_with_its_results(site: Site, manager: PipelineManager) -> None:
    with Hand(site.api, succeed):
        pipeline = chain()
        run = manager.start(pipeline)
        ended = manager.wait(pipeline, PATIENCE)
    assert (ended.id, ended.state, ended.error) == (run, "success", None)
    assert ended.results == {"A": "A", "B": "B", "C": "C"} == manager.results(pipeline) == manager.results(run)
    assert manager.wait(pipeline).results == ended.results, "waiting again is no waiting"
    assert ended.states == dict.fromkeys("ABC", "success")


def test_a_run_of_another_process_is_known_by_its_id(site: Site, manager: PipelineManager) -> None:
    with Hand(site.api, succeed):
        run = submit(chain(), api=site.api, timeout=PATIENCE)
        assert manager.wait(run, PATIENCE).state == "success"
    assert manager.results(run) == {"A": "A", "B": "B", "C": "C"}
    assert manager.status(run).state == "success"
    assert manager.started_pipelines == 0 and list(manager.pipelines) == []


def test_waiting_too_long_is_an_error_that_leaves_the_run_going(manager: PipelineManager) -> None:
    run = manager.start(chain())
    with pytest.raises(TimeoutError, match=run):
        manager.wait(run, 0.05)
    assert manager.status(run).state == "running"


def test_a_run_that_nobody_knows_is_not_found(manager: PipelineManager) -> None:
    for operation in (manager.wait, manager.status, manager.results, manager.cancel, manager.explain, manager.facts):
        with pytest.raises(NotFound, match="nowhere"):
            operation("nowhere")


def test_a_pipeline_that_was_not_started_has_no_status(manager: PipelineManager) -> None:
    for operation in (manager.wait, manager.status, manager.results, manager.cancel):
        with pytest.raises(ValueError, match="was not started"):
            operation(chain())
    with pytest.raises(ValueError, match="not being managed by this PipelineMager"):
        manager.finished(chain())


def test_what_is_forgotten_is_counted_and_goes_on(site: Site, manager: PipelineManager) -> None:
    first, second = chain(), chain()
    with Hand(site.api, succeed):
        manager.start(first)
        manager.wait(first, PATIENCE)
    run = manager.start(second)
    manager.forget()
    assert list(manager.pipelines) == [second]
    manager.forget(second)
    assert list(manager.pipelines) == [] and manager.status(run).state == "running"
    assert (manager.started_pipelines, manager.finished_pipelines) == (2, 1)
    assert manager._client.conversation.requests.following.runs == {}


# Reading and control --------------------------------------------------------------------------------------------------


def test_the_status_of_a_run_under_way_shows_what_runs_and_what_waits(site: Site, manager: PipelineManager) -> None:
    def run_b_on(assignment: Assignment) -> Outcome | None:
        return None if assignment.job == "B" else succeed(assignment)

    with Hand(site.api, run_b_on):
        run = manager.start(chain())
        while manager.status(run).states["B"] != "running":  # the Hand has jobs of other tests' runs, too
            pass
        status = manager.status(run)
        assert status.state == "running" and status.states == {"A": "success", "B": "running", "C": "waiting"}
        assert manager.results(run) == {"A": "A"}
        manager.cancel(run, "seen enough")
        assert manager.wait(run, PATIENCE).state == "cancelled"
    manager.cancel(run)


def test_a_job_that_no_broker_has_is_queued_and_explained(manager: PipelineManager) -> None:
    run = manager.start(Pipeline({Job("Nobody"): None}))
    while not (explanation := manager.explain(run, "Nobody")).details["queued"]:
        pass
    assert "Nobody waits" in f"{explanation}"
    assert manager.status(run).states == {"Nobody": "queued"}


def test_what_a_waiting_job_waits_for_is_explained(site: Site, manager: PipelineManager) -> None:
    with Hand(site.api, never):
        run = manager.start(chain())
        while "runs on" not in (explanation := manager.explain(run)):
            pass
    assert "A runs on" in explanation and "B waits for A (running)" in explanation
    assert explanation.details["waiting"] == [["B", "A"], ["C", "B"]]
    assert "A runs" not in manager.explain(run, "B")
    manager.cancel(run)
    manager.wait(run, PATIENCE)
    assert "C has ended: cancelled" in manager.explain(run, "C")
    with pytest.raises(NotFound, match=r"run .* has A, B, C"):
        manager.explain(run, "D")


def test_a_cancelled_pipeline_ends_with_the_reason(site: Site, manager: PipelineManager) -> None:
    pipeline = chain()
    with Hand(site.api, never):
        manager.start(pipeline)
        manager.cancel(pipeline, "wrong input")
        run = manager.wait(pipeline, PATIENCE)
    assert run.state == "cancelled" and run.error is not None
    assert run.error.reason == "wrong input" and run.error.job is None
    assert pipeline.finished is True and pipeline.failed is True


def test_a_paused_run_goes_on_when_it_is_resumed(site: Site, manager: PipelineManager) -> None:
    pipeline = chain()
    manager.start(pipeline)
    manager.pause(pipeline)
    assert manager.snapshot(pipeline).told["paused"]
    with Hand(site.api, succeed):
        manager.resume(pipeline)
        assert manager.wait(pipeline, PATIENCE).state == "success"


def test_a_rerun_is_a_new_run_of_the_same_pipeline(site: Site, manager: PipelineManager) -> None:
    with Hand(site.api, succeed):
        first = manager.start(chain(title="again and again", priority=3, key=uuid.uuid4().hex))
        manager.wait(first, PATIENCE)
        second = manager.rerun(first)
        assert second != first and manager.wait(second, PATIENCE).state == "success"
    assert manager.definition(first) == manager.definition(second)
    options = [fact.options for run in (first, second) for _, fact in manager.facts(run)[:1]]
    assert [one.title for one in options] == ["again and again"] * 2
    assert [one.priority for one in options] == [3, 3]
    assert options[0].key is not None and options[1].key is None


def test_runs_are_listed_newest_first_by_state_and_in_pages(site: Site, manager: PipelineManager) -> None:
    with Hand(site.api, succeed):
        manager.start_many(chain(title=f"number {number}") for number in range(20))
        while manager.finished_pipelines < 20:
            manager.update()
    listed = manager.list("success", 20)
    assert [run.title for run in listed] == [f"number {number}" for number in reversed(range(20))]
    assert all(run.verdict == "success" and run.duration is not None for run in listed)
    assert len(manager.list("cancelled")) == len([run for run in manager.list() if run.state == "cancelled"])


def test_large_runs_are_read_in_pages(site: Site, manager: PipelineManager) -> None:
    workers = [Job("A", name=f"A{number}") for number in range(300)]
    pipeline = Pipeline({Job("B"): workers})
    with Hand(site.api, lambda one: Outcome(one.lease, "success", pack([one.job] * 2000))):
        manager.start(pipeline)
        manager.wait(pipeline, PATIENCE)
    results = manager.results(pipeline)
    assert len(results) == 301 and all(value == [job] * 2000 for job, value in results.items())


def test_a_value_in_the_values_folder_is_read_in_chunks(site: Site, manager: PipelineManager) -> None:
    large = {"rows": "x" * (2 * CHUNK + 1)}
    folder = ValuesFolder(site.folder / "data" / "values")

    def by_reference(one: Assignment) -> Outcome:
        if one.job != "B":
            return succeed(one)
        packed = pack(large)
        return Outcome(one.lease, size=len(packed), ref=folder.write(one.run, one.job, one.path, one.lease, packed))

    with Hand(site.api, by_reference):
        run = manager.start(chain())
        manager.wait(run, PATIENCE)
    assert manager.results(run) == {"A": "A", "B": large, "C": "C"}
    folder.remove_run(run)
    with pytest.raises(NotFound, match="value"):
        manager.results(run)


def test_below_a_spread_results_are_lists_in_index_order(site: Site, manager: PipelineManager) -> None:
    def branch(one: Assignment) -> Outcome:
        if one.job == "A":
            return Outcome(one.lease, result=pack(["x", "y", "z"]), signs=Signs(spread=3))
        return Outcome(one.lease, result=pack([one.job, *one.path]))

    pipeline = Pipeline({Job("A", spread=True): Job("B"), Job("B"): Job("C", gather=Gather())})
    with Hand(site.api, branch):
        run = manager.start(pipeline)
        assert manager.wait(run, PATIENCE).state == "success"
    assert manager.results(run) == {"A": ["x", "y", "z"], "B": [["B", 0], ["B", 1], ["B", 2]], "C": ["C"]}


def test_only_what_has_ended_is_retried(manager: PipelineManager) -> None:
    run = manager.start(chain())
    with pytest.raises(Refused, match=run):
        manager.retry(run)


def test_pruned_runs_are_gone(site: Site, manager: PipelineManager) -> None:
    with Hand(site.api, succeed):
        runs = manager.start_many(chain() for _ in range(3))
        for run in runs:
            manager.wait(run, PATIENCE)
    assert manager.prune(runs[0]) == 1
    with pytest.raises(NotFound, match=runs[0]):
        manager.status(runs[0])
    left = manager.wait(runs[0], PATIENCE)
    assert (left.state, left.states) == ("success", {})
    with pytest.raises(NotFound, match=runs[0]):
        _ = left.results
    assert manager.prune(older=3600.0) == 0
    assert manager.prune(older=0.0) >= 2
    assert not {run.id for run in manager.list()} & set(runs)


def test_prune_takes_a_run_or_an_age(manager: PipelineManager) -> None:
    for arguments in ({}, {"pipeline": "x", "older": 3.0}):
        with pytest.raises(ValueError, match="older"):
            manager.prune(**arguments)  # type: ignore[arg-type]


# The Router's absence -------------------------------------------------------------------------------------------------


def test_an_unreachable_router_is_a_clear_error_and_the_pipeline_can_be_started_later(site: Site) -> None:
    pipeline = chain()
    with (
        PipelineManager("tcp://127.0.0.1:9", timeout=0.2) as nowhere,
        pytest.raises(Unreachable, match=r"tcp://127\.0\.0\.1:9"),
    ):
        nowhere.start(pipeline)
    assert pipeline.id is None
    with PipelineManager(site.api, timeout=PATIENCE) as manager:
        manager.start(pipeline)


def test_a_restart_of_the_router_in_the_middle_of_update_is_survived(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        with PipelineManager(site.api, timeout=PATIENCE) as manager:
            pipelines = [chain() for _ in range(200)]
            manager.start_many(pipelines)
            restarting = threading.Thread(target=site.restart_router)
            restarting.start()
            with Hand(site.api, succeed):
                while manager.finished_pipelines < 200:
                    manager.update()
            restarting.join()
            more = chain()
            manager.start(more)
            with Hand(site.api, succeed):
                assert manager.wait(more, PATIENCE).state == "success"
            assert all(not pipeline.failed for pipeline in pipelines)
    finally:
        site.close()


def test_a_closed_manager_says_so(site: Site) -> None:
    manager = PipelineManager(site.api)
    manager.close()
    manager.close()
    with pytest.raises(RuntimeError, match="closed"):
        manager.start(chain())


# asyncio --------------------------------------------------------------------------------------------------------------


def run_async(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 2 * PATIENCE))


def test_both_managers_have_the_same_names() -> None:
    assert {name for name in dir(PipelineManager) if not name.startswith("_")} == {
        name for name in dir(AsyncPipelineManager) if not name.startswith("_")
    }


def test_the_asyncio_manager_does_the_same(site: Site) -> None:
    async def main() -> None:
        async with AsyncPipelineManager(site.api, timeout=PATIENCE) as manager:
            pipelines = [chain() for _ in range(100)]
            run = await manager.start(pipelines[0])
            assert len(await manager.start_many(pipelines[1:])) == 99
            while manager.finished_pipelines < 100:
                await manager.update()
            assert await manager.results(run) == {"A": "A", "B": "B", "C": "C"}
            status = await manager.status(run)
            assert status.state == "success" and status.states == dict.fromkeys("ABC", "success")
            with pytest.raises(RuntimeError, match=r"await manager\.results"):
                _ = status.results
            assert repr(manager) == "<AsyncPipelineManager: 100 submitted, 100 finished>"

    with Hand(site.api, succeed):
        run_async(main())


def test_many_tasks_wait_each_for_its_own_run(site: Site) -> None:
    async def main() -> None:
        async with AsyncPipelineManager(site.api, timeout=PATIENCE) as manager:

            async def one() -> str:
                run = await manager.start(chain())
                return str((await manager.wait(run, PATIENCE)).state)

            assert await asyncio.gather(*(one() for _ in range(200))) == ["success"] * 200

    with Hand(site.api, succeed):
        run_async(main())


def test_an_asyncio_wait_that_is_cancelled_leaves_the_run_going(site: Site) -> None:
    async def main() -> None:
        async with AsyncPipelineManager(site.api, timeout=PATIENCE) as manager:
            run = await manager.start(chain())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(manager.wait(run), 0.05)
            assert (await manager.status(run)).state == "running"
            await manager.cancel(run)
            assert (await manager.wait(run, PATIENCE)).state == "cancelled"

    run_async(main())
