"""Every way in which an attempt can end."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.pipeline.answers import Choose, RetryAfter, Skip
from headrace.pipeline.errors import JobError, StoreError, Superseded
from headrace.pipeline.facts import Signs
from headrace.pipeline.payload import pack, unpack
from headrace.pipeline.task import Needs, Outcome, RunHeader
from headrace.stores.values import ValuesFolder
from headrace.workers.base import Worker
from headrace.workers.current import current
from headrace.workers.interruption import Interrupted, Interruption

Told = Callable[[Outcome], str]


class Recorder:
    """A store that remembers its calls, and fails as often as it is told to."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or OSError("disk gone")
        self.calls: list[str] = []
        self.saved: list[Any] = []
        self.info: dict[str, Any] = {}

    def retrieve(self, info: dict[str, Any]) -> Any:
        self._call("retrieve", info)
        return {key: info["data"][key] for key in info["worker_requires"]}

    def save(self, info: dict[str, Any]) -> None:
        self._call("save", info)
        self.saved.append(info["worker_result"])

    def _call(self, name: str, info: dict[str, Any]) -> None:
        self.calls.append(name)
        self.info = dict(info)
        if self.failures:
            self.failures -= 1
            raise self.error


class Double(Worker):
    requires = ["number"]

    def process(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"number": 2 * data["number"]}


# Good ends ----------------------------------------------------------------------------------------------------------


def test_an_attempt_says_when_it_ran_and_how_long(lab: Any) -> None:
    before, clock = time.time(), time.perf_counter()
    outcome = lab.run(Double, {"number": 21})
    assert unpack(outcome.result) == {"number": 42}
    assert (outcome.lease, outcome.kind, outcome.ref, outcome.signs) == (1, "success", None, None)
    assert before <= outcome.started <= time.time()
    assert 0 <= outcome.duration <= time.perf_counter() - clock
    assert outcome.size == len(outcome.result)


def test_the_data_of_the_job_lies_over_the_data_of_the_pipeline(lab: Any) -> None:
    assert lab.result(Double, {"number": 1}, data={"number": 5}) == {"number": 10}


def test_a_store_is_told_everything_about_its_attempt(lab: Any, given: Callable[..., Any]) -> None:
    store = Recorder()
    inputs = [given("before", {"x": 1})]
    lab.run(Double, {"number": 1}, store=store, job="second", path=(3,), attempt=2, round=1, inputs=inputs)
    assert store.calls == ["retrieve", "save"]
    assert store.info["upstream"]["before"] == {"x": 1}
    del store.info["upstream"]
    assert store.info == {
        "worker": "Double",
        "worker_requires": ["number"],
        "worker_optional": [],
        "data": {"number": 1},
        "pipeline": "run",
        "job": "second",
        "path": (3,),
        "attempt": 2,
        "attempt_key": "run/1/second/3",
        "fence": "0000000000000001",
        "worker_result": {"number": 2},
    }


@pytest.mark.parametrize("bind", ["args", "named", "item", "gather", "literal"])
def test_a_users_store_saves_under_every_bind(lab: Any, given: Callable[..., Any], bind: str) -> None:
    class Any1(Worker):
        def process(self, data: Any) -> str:
            return "done"

    store = Recorder()
    lab.run(Any1, store=store, bind=bind, inputs=[given("before", 1)])
    assert store.calls == ["save"]
    assert store.saved == ["done"]


def test_an_instance_is_made_once_and_only_when_it_is_needed(lab: Any) -> None:
    made = []

    class Warm(Worker):
        def __init__(self) -> None:
            made.append(self)

        def process(self, data: Any) -> int:
            return id(self)

    execution = lab.execution(Warm)
    assert not made
    header = RunHeader("run")
    first, second = (unpack(execution.run(header, lab.assignment("Warm")).result) for _ in range(2))
    assert first == second == id(made[0])
    assert len(made) == 1


def test_attempts_never_share_what_they_may_change(lab: Any, given: Callable[..., Any]) -> None:
    def change(rows: list[int]) -> list[int]:
        rows.append(len(rows))
        return rows

    execution = lab.execution(change)
    header = RunHeader("run", pack({"rows": [1]}))
    for _ in range(2):
        outcome = execution.run(header, lab.assignment("change"))
        assert unpack(outcome.result) == [1, 1]
    for _ in range(2):
        outcome = execution.run(header, lab.assignment("change", bind="item", inputs=[given("rows", [5, 6])]))
        assert unpack(outcome.result) == [5, 6, 2]


# Failures of the job ------------------------------------------------------------------------------------------------


def test_a_failure_shows_the_users_frames_only(lab: Any) -> None:
    def outer(number: int) -> None:
        inner(number)

    def inner(number: int) -> None:
        raise LookupError(f"no row {number}")

    error = lab.run(outer, {"number": 7}).error
    assert (error.type, error.message) == ("LookupError", "no row 7")
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert "in outer" in error.traceback
    assert "in inner" in error.traceback
    assert error.traceback.endswith("LookupError: no row 7")
    assert "/workers/execution.py" not in error.traceback
    assert "/workers/runnable.py" not in error.traceback


def test_a_chained_failure_shows_its_cause_without_our_frames(lab: Any) -> None:
    class Cold(Worker):
        def __init__(self) -> None:
            raise RuntimeError("no model file")

        def process(self, data: Any) -> None: ...

    outcome = lab.run(Cold)
    assert outcome.error.message == "worker 'Cold' cannot be made: RuntimeError: no model file"
    assert 'raise RuntimeError("no model file")' in outcome.error.traceback
    assert "/workers/runnable.py" not in outcome.error.traceback


def test_an_exception_is_named_with_its_module_unless_everybody_knows_it(lab: Any) -> None:
    class Strange(Exception): ...

    def raising() -> None:
        raise Strange("oh")

    assert lab.run(raising).error.type.endswith("Strange")
    assert "." in lab.run(raising).error.type


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def _raise(error: BaseException) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SystemExit(3), "failed: SystemExit: the worker called sys.exit(3)"),
        (SystemExit("bye"), "failed: SystemExit: the worker called sys.exit('bye')"),
        (KeyboardInterrupt(), "failed: KeyboardInterrupt: "),
        (GeneratorExit(), "failed: GeneratorExit: "),
        (MemoryError("all gone"), "failed: MemoryError: all gone"),
        (ValueError("\ud800 lone"), "failed: ValueError: \\ud800 lone"),
        (ValueError("x" * 100_000), "characters left out"),
        (Hostile(), "(its text cannot be made: RuntimeError)"),
        (
            ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
            "failed: ExceptionGroup: several (2 sub-exceptions)",
        ),
    ],
)
def test_whatever_is_raised_is_a_failure_and_fits_a_message(
    lab: Any, told: Told, error: BaseException, expected: str
) -> None:
    outcome = lab.run(_raise(error))
    assert outcome.kind == "failed"
    assert expected in told(outcome)
    assert len(told(outcome)) < 5000
    assert len(outcome.error.traceback) < 33 * 1024
    outcome.error.traceback.encode()


def test_the_exit_code_of_sys_exit_is_told(lab: Any) -> None:
    assert lab.run(_raise(SystemExit(3))).error.exit_code == 3


def test_endless_recursion_is_a_failure(lab: Any) -> None:
    def deeper(number: int = 0) -> int:
        return deeper(number + 1)

    def first() -> int:
        return deeper()

    outcome = lab.run(first)
    assert outcome.error.type == "RecursionError"
    assert len(outcome.error.traceback) < 33 * 1024


def test_values_that_cannot_travel_are_named_with_their_place(lab: Any, told: Told) -> None:
    loop: list[Any] = []
    loop.append(loop)
    outcome = lab.run(_return({"rows": [1, {"socket": object()}]}))
    assert told(outcome).startswith(
        "failed: ValueNotSupported: the result['rows'][1]['socket']: a value of type object"
    )
    assert "contains itself" in told(lab.run(_return({"loop": loop})))


def _return(value: Any) -> Callable[[], Any]:
    def returning() -> Any:
        return value

    return returning


def test_an_unknown_worker_is_a_failure(lab: Any, told: Told) -> None:
    outcome = lab.execution(Double).run(RunHeader("run"), lab.assignment("Doubel"))
    assert told(outcome) == "failed: NotFound: there is no worker 'Doubel'; this process has Double"


def test_data_that_is_garbage_is_a_failure(lab: Any) -> None:
    execution = lab.execution(Double)
    assert execution.run(RunHeader("run", b"\xc1"), lab.assignment("Double")).kind == "failed"


def test_ctrl_c_of_an_interactive_run_goes_through(lab: Any) -> None:
    execution = lab.execution(_raise(KeyboardInterrupt()), interactive=True)
    with pytest.raises(KeyboardInterrupt):
        execution.run(RunHeader("run"), lab.assignment("raising"))


def test_retry_after_is_a_failure_that_says_when(lab: Any) -> None:
    outcome = lab.run(_raise(RetryAfter(2.5, "rate limit")))
    assert (outcome.kind, outcome.error.type) == ("failed", "RetryAfter")
    assert outcome.signs == Signs(retry_after=2.5)


# Answers ------------------------------------------------------------------------------------------------------------


def test_a_spread_list_is_said_with_its_length_and_stays_a_list(lab: Any) -> None:
    outcome = lab.run(_return(("a", "b")), spread=True)
    assert outcome.signs == Signs(spread=2)
    assert unpack(outcome.result) == ["a", "b"]
    assert lab.run(_return([]), spread=True).signs == Signs(spread=0)


def test_a_spread_result_that_is_no_list_is_invalid(lab: Any, told: Told) -> None:
    outcome = lab.run(_return({"a": 1}), spread=True)
    assert told(outcome).endswith("worker 'returning' is spread, so it has to return a list, and it returned a dict")
    assert outcome.signs.invalid == outcome.error.message


def test_choices_and_skips_are_said_beside_the_result(lab: Any) -> None:
    outcome = lab.run(_return(Choose(["left"], {"x": 1})))
    assert (unpack(outcome.result), outcome.signs) == ({"x": 1}, Signs(chosen=("left",)))
    outcome = lab.run(_return(Skip("nothing new")))
    assert (unpack(outcome.result), outcome.signs) == (None, Signs(skip="nothing new"))


def test_a_skipped_job_saves_nothing(lab: Any) -> None:
    store = Recorder()
    lab.run(_return(Skip("nothing new")), store=store)
    assert store.calls == ["retrieve"]


def test_keys_that_a_gather_groups_by_are_said_canonically(lab: Any) -> None:
    value = {"colour": "réd", "pair": (1, 2.5), "map": {"b": None, "a": True}}
    outcome = lab.run(_return(value), report=("colour", "pair", "map"))
    assert outcome.signs.keys == {"colour": '"réd"', "pair": "[1,2.5]", "map": '{"a":true,"b":null}'}


@pytest.mark.parametrize("result", [{"shape": 1}, ["colour"], None, {"colour": object}])
def test_a_missing_or_impossible_key_is_invalid(lab: Any, result: Any) -> None:
    outcome = lab.run(_return(result), report=("colour",))
    assert outcome.kind == "failed"


def test_a_missing_key_is_told_with_what_there_is(lab: Any, told: Told) -> None:
    outcome = lab.run(_return({"shape": 1}), report=("colour",))
    assert "a gather groups by 'colour', which is not in the result" in told(outcome)
    assert "a dict with ['shape']" in told(outcome)
    assert outcome.signs.invalid


# The store's fault ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_a_store_that_recovers_harms_nobody(lab: Any, failures: int) -> None:
    store = Recorder(failures)
    assert lab.run(Double, {"number": 1}, store=store, deadline=60.0).kind == "success"
    assert store.calls == ["retrieve"] * (failures + 1) + ["save"]


def test_a_store_that_stays_broken_is_named(lab: Any, told: Told) -> None:
    outcome = lab.run(Double, {"number": 1}, store=Recorder(10**9))
    assert told(outcome) == "store: StoreError: store Recorder failed to retrieve: OSError: disk gone (tried for 0 s)"
    assert outcome.charged


def test_an_older_attempt_is_turned_away_at_once_and_uncharged(lab: Any) -> None:
    store = Recorder(0)
    store.save = lambda info: (_ for _ in ()).throw(Superseded("Recorder", "1", "2"))  # type: ignore[method-assign]
    outcome = lab.run(Double, {"number": 1}, store=store, deadline=60.0)
    assert (outcome.kind, outcome.charged, outcome.error.type) == ("store", False, "Superseded")


def test_a_store_may_say_that_it_is_the_jobs_fault(lab: Any, told: Told) -> None:
    store = Recorder(1, JobError("no such page"))
    assert told(lab.run(Double, {"number": 1}, store=store, deadline=60.0)) == "failed: JobError: no such page"
    assert store.calls == ["retrieve"]


def test_what_a_store_calls_its_own_error_keeps_its_words(lab: Any, told: Told) -> None:
    outcome = lab.run(Double, {"number": 1}, store=Recorder(9, StoreError("mine", "read", "the cable")))
    assert told(outcome) == "store: StoreError: store mine failed to read: the cable"


# A failure that is data ----------------------------------------------------------------------------------------------


def test_under_continue_the_traceback_is_saved_and_handed_on(lab: Any) -> None:
    store = Recorder()
    outcome = lab.run(_raise(ValueError("no")), store=store, on_error="continue")
    assert outcome.kind == "failed"
    assert store.saved == [{"_traceback": outcome.error.traceback}]
    record = unpack(outcome.result)
    assert record == {"_traceback": outcome.error.traceback, "_error": "ValueError: no"}


def test_without_continue_a_failure_saves_nothing(lab: Any) -> None:
    store = Recorder()
    assert lab.run(_raise(ValueError("no")), store=store).result == b""
    assert store.calls == ["retrieve"]


def test_a_store_that_cannot_keep_the_failure_is_the_failure(lab: Any) -> None:
    store = Recorder()
    store.save = _raise(OSError("full"))  # type: ignore[assignment]
    outcome = lab.run(_raise(ValueError("no")), store=store, on_error="continue")
    assert outcome.kind == "store"


# Large values --------------------------------------------------------------------------------------------------------


def test_a_large_result_lies_in_the_values_folder_before_its_outcome_is_told(lab: Any, tmp_path: Path) -> None:
    values = ValuesFolder(tmp_path)
    outcome = lab.run(_return("x" * 100), values=values, inline_limit=50)
    assert (outcome.kind, outcome.result) == ("success", b"")
    assert unpack(values.read(outcome.ref)) == "x" * 100
    assert outcome.size == len(pack("x" * 100))
    assert lab.run(_return("x" * 40), values=values, inline_limit=50).ref is None


def test_a_large_result_without_a_values_folder_is_told_as_what_it_is(lab: Any, told: Told) -> None:
    assert "102 bytes; 50 travel without a values folder" in told(lab.run(_return("x" * 100), inline_limit=50))
    assert lab.run(_return("x" * 100), inline_limit=None).kind == "success"


def test_a_values_folder_that_cannot_be_written_is_a_store_that_fails(lab: Any, tmp_path: Path, told: Told) -> None:
    class Full(ValuesFolder):
        def write(self, *_: Any) -> str:
            raise OSError(28, "No space left on device")

    outcome = lab.run(_return("x" * 100), values=Full(tmp_path), inline_limit=50, store=Recorder())
    assert told(outcome).startswith("store: StoreError: store the values folder failed to write: OSError")


# current -------------------------------------------------------------------------------------------------------------


def test_a_worker_knows_what_it_works_for(lab: Any) -> None:
    def who() -> Any:
        job = current()
        return [job.run, job.job, job.path, job.attempt, job.attempt_key, job.cancelled, job.data, repr(job)]

    told = lab.result(who, {"x": 1}, job="me", path=(1, 2), attempt=3)
    assert told[:4] == ["run", "me", (1, 2), 3]
    assert told[4] == "run/0/me/1.2"
    assert told[5:] == [False, {"x": 1}, "<job me [1, 2] of run run, attempt 3>"]


def test_a_coroutine_knows_it_too(lab: Any) -> None:
    async def who() -> str:
        return current().job

    assert lab.result(who, job="me") == "me"


def test_outside_of_a_job_current_says_so(lab: Any) -> None:
    lab.result(_return(1))
    with pytest.raises(JobError, match="outside of a running job"):
        current()


def test_progress_is_reported_but_not_too_often(lab: Any) -> None:
    reports: list[tuple[Any, ...]] = []

    def busy() -> None:
        for step in range(1000):
            current().progress(step, 999, "working")

    execution = lab.execution(busy, report=lambda *report: reports.append(report))
    execution.run(RunHeader("run"), lab.assignment("busy"))
    assert reports[0] == (1, 0.0, 999.0, "working")
    assert reports[-1] == (1, 999.0, 999.0, "working")
    assert len(reports) < 50


# Interruption --------------------------------------------------------------------------------------------------------


def test_a_stop_interrupts_user_code_that_catches_every_exception(lab: Any, told: Told) -> None:
    interruption = Interruption()

    def stubborn() -> None:
        try:
            interruption.stop(1, "timeout")
            interruption.check()
        except Exception as error:
            raise AssertionError("swallowed") from error

    execution = lab.execution(stubborn, interruption=interruption)
    outcome = execution.run(RunHeader("run"), lab.assignment("stubborn", needs=Needs(timeout=1.5)))
    assert told(outcome) == "timeout: JobTimeout: the job ran longer than its timeout of 1.5 s"
    assert "in stubborn" in outcome.error.traceback


def test_a_stop_that_came_before_its_attempt_ends_it_at_once(lab: Any, told: Told) -> None:
    interruption = Interruption()
    interruption.stop(1, "cancelled")
    ran: list[int] = []

    def mark() -> None:
        ran.append(1)

    execution = lab.execution(mark, interruption=interruption)
    outcome = execution.run(RunHeader("run"), lab.assignment("mark"))
    assert told(outcome) == "cancelled: JobCancelled: the job was stopped on request"
    assert ran == []
    assert execution.run(RunHeader("run"), lab.assignment("mark")).kind == "success"
    assert ran == [1]


def test_a_stop_turned_into_another_exception_is_still_a_stop(lab: Any) -> None:
    interruption = Interruption()

    def translating() -> None:
        try:
            interruption.stop(1, "cancelled")
            interruption.check()
        except BaseException as error:
            raise RuntimeError("cleaning up") from error

    execution = lab.execution(translating, interruption=interruption)
    outcome = execution.run(RunHeader("run"), lab.assignment("translating"))
    assert outcome.kind == "cancelled"
    assert "RuntimeError: cleaning up" in outcome.error.traceback


def test_a_worker_that_looks_sees_that_it_is_cancelled(lab: Any) -> None:
    interruption = Interruption()

    def polite() -> bool:
        with interruption.shielded():
            interruption.stop(1, "cancelled")
            seen = current().cancelled
            if not seen:
                raise AssertionError("not seen")
        return seen

    execution = lab.execution(polite, interruption=interruption)
    assert execution.run(RunHeader("run"), lab.assignment("polite")).kind == "cancelled"


def test_a_stop_for_somebody_else_is_nothing(lab: Any) -> None:
    interruption = Interruption()

    def calm() -> None:
        interruption.stop(99, "cancelled")
        interruption.check()

    execution = lab.execution(calm, interruption=interruption)
    assert execution.run(RunHeader("run"), lab.assignment("calm")).kind == "success"


def test_a_store_that_was_interrupted_is_made_anew(lab: Any) -> None:
    interruption = Interruption()
    made: list[Any] = []

    class Slow(Recorder):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)
            self.closed = False

        def retrieve(self, info: dict[str, Any]) -> Any:
            if len(made) == 1:
                interruption.stop(1, "timeout")
                interruption.check()
            return super().retrieve(info)

        def close(self) -> None:
            self.closed = True

    from headrace.workers.catalog import Catalog
    from headrace.workers.execution import Execution
    from headrace.workers.reading import Reader
    from headrace.workers.storekeeper import Storekeeper

    keeper = Storekeeper(Slow, "Slow")
    keeper.start()
    execution = Execution(Catalog.of([Double]), keeper, Reader(lab.fetch), interruption=interruption)
    header = RunHeader("run", pack({"number": 1}))
    assert execution.run(header, lab.assignment("Double")).kind == "timeout"
    assert made[0].closed
    assert execution.run(header, lab.assignment("Double")).kind == "success"
    assert len(made) == 2


def test_interrupted_is_no_exception() -> None:
    assert not issubclass(Interrupted, Exception)
