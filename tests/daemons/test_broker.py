"""A Broker with real processes, beside a real Router and a real Pipeliner."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.daemons.broker import Broker
from headrace.daemons.dispatch import promises
from headrace.daemons.dispatch.cluster import Rules
from headrace.daemons.journal.archive import Archive
from headrace.daemons.pipeliner import Pipeliner
from headrace.daemons.router import Router
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.facts import Returned, unpack_fact
from headrace.pipeline.job import Job
from headrace.pipeline.manager import PipelineManager
from headrace.pipeline.options import Retry
from headrace.pipeline.pipeline import Pipeline
from headrace.workers import trees

WORKERS = """
import json, os, pathlib, signal, time
import headrace
from headrace import Worker, worker

AT_IMPORT = os.environ.get("CUDA_VISIBLE_DEVICES")

@worker(requires=[])
def pid():
    return os.getpid()

@worker
def echo(text):
    print("echo says", len(text), flush=True)
    return {"text": text}

@worker
def size(text):
    return len(text)

@worker
def nap(seconds, mark):
    pathlib.Path(mark).write_text(str(os.getpid()))
    time.sleep(seconds)
    return "slept"

@worker(requires=[])
def devices():
    began = time.time()
    time.sleep(0.05)
    told = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "HEADRACE_GPU", "HEADRACE_KEY")}
    return [AT_IMPORT, told, headrace.current().resources, began, time.time(), os.getpid()]

@worker
def die(mark):
    with open(mark, "a") as file:
        file.write("x")
    print("so it ends", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)

class Store:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def retrieve(self, info):
        return info["data"]

    def save(self, info):
        (self.folder / info["job"]).write_text(json.dumps(info["worker_result"]))

    def save_monitoring(self, record):
        with open(self.folder / "monitoring", "a") as file:
            file.write(json.dumps(record) + "\\n")
"""


def free_address() -> str:
    """Of a port that the system gives to nobody by itself, so that it is free a moment later, too."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return f"tcp://127.0.0.1:{port}"


class Site:
    """Daemons in threads of this process; the Broker's own processes are real ones."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        self.folder = folder
        (folder / "workers.py").write_text(WORKERS)
        self.api, self.broadcast = f"ipc://{sockets}/api", f"ipc://{sockets}/broadcast"
        self.rules = Rules(heartbeat=0.2, lease_time=100.0, hand_on=110.0, silent=100.0)
        self.config: dict[str, Any] = {}
        self.threads: list[tuple[threading.Thread, Any]] = []
        self.failures: list[BaseException] = []

    def add(self, daemon: Any) -> Any:
        def run() -> None:
            try:
                daemon.start()
            except ConfigError as error:
                self.failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append((thread, daemon))
        thread.start()
        return daemon

    def router(self) -> Router:
        router: Router = self.add(
            Router(self.api, self.broadcast, self.config, data=self.folder / "data", rules=self.rules)
        )
        return router

    def broker(self, **options: Any) -> Broker:
        options = {"number_of_workers": 2, "data": self.folder / "data", **options}
        broker: Broker = self.add(Broker(self.api, self.broadcast, **options))
        return broker

    def whole(self, **options: Any) -> Broker:
        self.router()
        self.add(Pipeliner(self.api, self.broadcast))
        return self.broker(**options)

    def manager(self) -> PipelineManager:
        return PipelineManager(self.api, self.broadcast, timeout=60)

    def run(self, *jobs: Job, **options: Any) -> Pipeline:
        pipeline = Pipeline(dict.fromkeys(jobs), **options)
        with self.manager() as manager:
            manager.start(pipeline)
            manager.wait(pipeline, 60)
        return pipeline

    def end(self, daemon: Any) -> None:
        thread = next(thread for thread, one in self.threads if one is daemon)
        daemon.stop()
        thread.join(60)
        assert not thread.is_alive()

    def close(self) -> None:
        for thread, daemon in reversed(self.threads):
            if thread.is_alive():
                self.end(daemon)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    others = {one.pid for one in psutil.Process().children(recursive=True)}  # servers of the whole session
    sockets = Path(tempfile.mkdtemp(prefix="hr-"))  # a short path, as sockets need it; a free port may be taken
    site = Site(tmp_path, sockets)
    yield site
    site.close()
    shutil.rmtree(sockets, ignore_errors=True)
    mine = [one for one in psutil.Process().children(recursive=True) if one.pid not in others]
    left = [one for one in mine if trees.alive([one])]
    assert left == [], "the Broker has left processes behind"


def until(fact: Callable[[], Any]) -> Any:
    end = threading.Event()
    for _ in range(12_000):
        if found := fact():
            return found
        end.wait(0.005)
    raise AssertionError("it has not happened within 60 s")


def test_a_broker_offers_the_processors_and_the_memory_of_its_machine(tmp_path: Path) -> None:
    plain = Broker(f"ipc://{tmp_path}/api", data=tmp_path / "data", number_of_workers=3)
    offered = plain._slots.hello(0.0).card.resources  # type: ignore[union-attr]
    assert offered["slots"] == 3 and offered["cpu"] >= 1 and offered["memory"] > 0.1
    told = Broker(f"ipc://{tmp_path}/api", data=tmp_path / "data", resources={"cpu": 0.5, "memory": 2})
    assert {"cpu": 0.5, "memory": 2.0}.items() <= told._slots.hello(0.0).card.resources.items()  # type: ignore[union-attr]


def test_processes_are_kept_for_all_jobs(site: Site) -> None:
    site.whole(number_of_workers=1)
    jobs = [Job("pid", name=f"pid{number}") for number in range(50)]
    pipeline = site.run(*jobs)
    with site.manager() as manager:
        assert len({manager.results(pipeline)[job.name] for job in jobs}) == 1


def test_large_values_pass_through_the_values_folder(site: Site) -> None:
    site.whole()
    text = "x" * 1_000_000
    echo = Job("echo", {"text": text})
    pipeline = Pipeline({echo: Job("size", bind="named")})
    with site.manager() as manager:
        manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error
        assert manager.results(pipeline)["size"] == len(text) or manager.results(pipeline)["echo"] == {"text": text}
    logs = list((site.folder / "data" / "logs").glob("broker-*/worker-*.log"))
    assert any("echo says 1000000" in log.read_text() for log in logs)


def test_the_routers_configuration_makes_the_store_and_the_monitoring(site: Site) -> None:
    kept = site.folder / "kept"
    kept.mkdir()
    site.config = {"store": {"folder": str(kept)}, "monitoring interval": 0.2}
    site.api, site.broadcast = free_address(), free_address()  # it is told by which address it is reached
    site.whole(store_class="workers:Store")
    site.run(Job("pid", bind="store"))

    def records() -> list[Any]:
        """Those of which the whole line is written."""
        text = (kept / "monitoring").read_text() if (kept / "monitoring").exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    until(lambda: len(records()) >= 3 and len(records()[-1]["processes"]) == 3)
    assert json.loads((kept / "pid").read_text()) > 0
    record = next(one for one in records() if len(one["processes"]) == 3)
    assert [one["type"] for one in record["processes"]] == ["broker", "worker", "worker"]
    assert record["host"]["network"]["cluster ip"] == "127.0.0.1"


def test_jobs_with_indexed_resources_have_them_for_themselves(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    site.whole(number_of_workers=3, resources={"gpu": 2, "key": ["left", "right"]})
    ones = [Job("devices", name=f"one{number}", resources={"gpu": 1}) for number in range(6)]
    both = Job("devices", name="both", resources={"gpu": 2, "key": 1})
    none = Job("devices", name="none")
    command = Job.shell("echo $CUDA_VISIBLE_DEVICES", name="command", resources={"gpu": 1})
    pipeline = site.run(*ones, both, none, command)
    assert not pipeline.failed, pipeline.error
    with site.manager() as manager:
        results = manager.results(pipeline)
    uses: dict[str, list[tuple[float, float]]] = {"0": [], "1": []}
    for job in (*ones, both):
        at_import, told, resources, began, ended, _ = results[job.name]
        assert at_import == told["CUDA_VISIBLE_DEVICES"] == told["HEADRACE_GPU"]
        assert tuple(told["HEADRACE_GPU"].split(",")) == resources["gpu"]
        for unit in resources["gpu"]:
            uses[unit].append((began, ended))
    for spans in uses.values():
        spans.sort()
        assert all(one[1] <= after[0] for one, after in itertools.pairwise(spans)), f"two jobs had one unit: {spans}"
    assert results["both"][1]["HEADRACE_GPU"] == "0,1" and results["both"][2]["key"] in (("left",), ("right",))
    assert results["none"][1] == {"CUDA_VISIBLE_DEVICES": None, "HEADRACE_GPU": None, "HEADRACE_KEY": None}
    assert results["command"] in (0, 1)


def test_a_job_that_does_not_end_in_time_is_stopped(site: Site) -> None:
    """It may have been stopped before it could make its mark; the process that it had is not used again."""
    site.whole(number_of_workers=1)
    with site.manager() as manager:
        pid = manager.results(site.run(Job("pid")))["pid"]
        pipeline = site.run(Job("nap", {"seconds": 600.0, "mark": str(site.folder / "mark")}, timeout=0.3))
        assert pipeline.failed and "0.3" in pipeline.error.reason
        until(lambda: not psutil.pid_exists(pid))


def test_a_poisonous_job_is_given_up_with_the_evidence(site: Site) -> None:
    site.whole()
    mark = site.folder / "mark"
    pipeline = site.run(Job("die", {"mark": str(mark)}))
    assert mark.read_text() == "xxx"
    assert pipeline.failed and "SIGSEGV" in pipeline.error.reason


def test_jobs_end_when_the_router_is_away_for_too_long(site: Site) -> None:
    """On a slow machine a lease may lapse before that, too: then the mark is of another process, and that ends."""
    site.rules = Rules(heartbeat=0.2, lease_time=2.0, hand_on=2.5, silent=1.0)
    router = site.router()
    site.add(Pipeliner(site.api, site.broadcast))
    site.broker()
    mark = site.folder / "mark"
    with site.manager() as manager:
        manager.start(Pipeline({Job("nap", {"seconds": 600.0, "mark": str(mark)}): None}))
        until(lambda: mark.exists() and mark.read_text())
        site.end(router)
        until(lambda: (told := mark.read_text()) and not psutil.pid_exists(int(told)))
        pid = int(mark.read_text())
        mark.unlink()
        site.router()
        assert int(until(lambda: mark.exists() and mark.read_text())) != pid, "the job runs again"


def test_a_stop_gives_running_jobs_their_grace(site: Site) -> None:
    broker = site.whole(grace=30.0)
    mark = site.folder / "mark"
    pipeline = Pipeline({Job("nap", {"seconds": 0.5, "mark": str(mark)}): None})
    with site.manager() as manager:
        manager.start(pipeline)
        until(lambda: mark.exists() and mark.read_text())
        site.end(broker)
        manager.wait(pipeline, 60)
        assert manager.results(pipeline) == {"nap": "slept"}


def test_a_stop_without_grace_gives_the_work_to_another_broker(site: Site) -> None:
    broker = site.whole(grace=0.0)
    mark = site.folder / "mark"
    pipeline = Pipeline({Job("nap", {"seconds": 1.0, "mark": str(mark)}, retry=Retry(tries=1)): None})
    with site.manager() as manager:
        manager.start(pipeline)
        pid = int(until(lambda: mark.exists() and mark.read_text()))
        site.end(broker)
        assert not psutil.pid_exists(pid)
        site.broker()
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error


def test_an_idle_process_that_is_killed_is_replaced(site: Site) -> None:
    site.whole(number_of_workers=1)
    pids = []
    for _ in range(3):
        with site.manager() as manager:
            pipeline = site.run(Job("pid"))
            pids.append(manager.results(pipeline)["pid"])
        os.kill(pids[-1], signal.SIGKILL)
    assert len(set(pids)) == 3


def test_workers_that_cannot_be_made_are_an_error_of_the_start(site: Site) -> None:
    site.router()
    site.broker(workers="nowhere")
    (failure,) = until(lambda: site.failures)
    assert "nowhere" in str(failure)


def test_they_are_an_error_of_the_start_without_a_router_too(site: Site) -> None:
    (site.folder / "workers.py").write_text("__all__ = ['Missing']")
    site.broker()
    (failure,) = until(lambda: site.failures)
    assert "Could not find worker 'Missing'" in str(failure)


def test_a_broker_waits_for_its_router(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site.broker()
    until(lambda: "No answer from a Router" in caplog.text)
    site.router()
    site.add(Pipeliner(site.api, site.broadcast))
    assert not site.run(Job("pid")).failed
    assert "Available workers: 2" in caplog.text and "Trying to connect to router..." in caplog.text


def test_nothing_is_logged_per_job(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site.whole()
    site.run(Job("pid"))
    before = len([line for line in caplog.records if line.name == "Broker"])
    site.run(*[Job("pid", name=f"pid{number}") for number in range(20)])
    assert len([line for line in caplog.records if line.name == "Broker"]) == before


def test_jobs_can_be_followed_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "Broker")
    site.whole()
    site.run(Job("pid"))
    assert "Started job" in caplog.text and "Job finished" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"number_of_workers": 0}, "at least one"),
        ({"workers": ""}, "name of a module"),
        ({"workers": []}, "name of a module"),
        ({"store_class": "Store"}, "module:Class"),
        ({"store_class": 7}, "give a class"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Broker(**options)


def test_slots_follow_roles_when_nothing_else_is_said(tmp_path: Path) -> None:
    assert Broker(roles={"shell": 2, "encode": 1}, data=tmp_path).number_of_workers == 3
    assert Broker(data=tmp_path).number_of_workers >= 1


def test_changed_code_is_picked_up_and_broken_code_is_not(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    source = site.folder / "workers.py"

    def write(answer: str) -> None:
        whole = site.folder / "whole"  # what is half written would be tried, too
        whole.write_text(f"{WORKERS}\n@worker(requires=[])\ndef which():\n    return {answer}\n")
        whole.replace(source)

    def which() -> tuple[Any, str]:
        """What the worker answers, and the digest of the code that did."""
        pipeline = site.run(Job("which"))
        archive = Archive(site.folder / "data" / "journal.db")
        facts = [unpack_fact(body) for _, body in archive.facts(str(pipeline.id))]
        archive.close()
        (code,) = [fact.code for fact in facts if isinstance(fact, Returned)]
        with site.manager() as manager:
            return manager.results(pipeline)["which"], code

    def told(text: str) -> bool:
        return any(text in record.getMessage() for record in caplog.records)

    write("'old'")
    site.whole(number_of_workers=2, reload=True)
    old, code = which()
    assert old == "old" and len(code) == 12
    mark = site.folder / "mark"
    with site.manager() as manager:
        running = Pipeline({Job("nap", {"seconds": 2.0, "mark": str(mark)}): None})
        manager.start(running)
        until(mark.exists)
        write("'new and longer'")
        until(lambda: told("Reloaded"))
        assert which()[0] == "new and longer" and which()[1] != code
        manager.wait(running, 60)
        assert not running.failed, "what runs ends as it began"
    write("1 +")
    until(lambda: told("jobs go on with the old one"))
    assert any("SyntaxError" in record.getMessage() for record in caplog.records)
    assert which()[0] == "new and longer"
    caplog.clear()
    write("'repaired'")
    until(lambda: told("Reloaded"))
    assert which()[0] == "repaired"


def test_a_job_that_needs_everything_is_not_starved_by_small_ones(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small ones come first in the order of the queues, and there are enough of them for a long time."""
    monkeypatch.setattr(promises, "AGED", 0.5)
    site.whole(number_of_workers=2, resources={"cpu": 2})
    mark = site.folder / "mark"
    small = Pipeline(dict.fromkeys(
        Job("nap", {"seconds": 0.05, "mark": str(mark)}, name=f"nap{number}", resources={"cpu": 1})
        for number in range(2000)
    ))  # fmt: skip
    large = Pipeline({Job("pid", resources={"cpu": 2}): None})
    with site.manager() as manager:
        manager.start(small)
        until(mark.exists)
        manager.start(large)
        manager.wait(large, 60)
        assert not large.failed
        assert manager.status(small.id).state == "running", "the large one had to wait for all the small ones"
        manager.cancel(small, "enough")
        manager.wait(small, 60)
