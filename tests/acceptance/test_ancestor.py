"""pypelinin's scripts and its README, moved to Python 3: they run when nothing but the import line has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline, PipelineForPipeliner, PipelineManager, Worker

ROUTER = """
import logging
from headrace import Router

logger = logging.getLogger('My Router')
logger.setLevel(logging.DEBUG)
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter('%(asctime)s - %(name)s - %(levelname)s - %(message)s'))
logger.addHandler(handler)
api_host_port = ('127.0.0.1', {api})
broadcast_host_port = ('127.0.0.1', {broadcast})
config = {{'store': {{'monitoring filename': '{folder}/monitoring.log'}},
          'monitoring interval': 0.5,
          'data': '{folder}/data'}}
router = Router(api_host_port, broadcast_host_port, config, logger)
router.start()
"""
BROKER = """
import logging
from headrace import Broker
from file_store import SimpleFileStore

if __name__ == '__main__':
    logger = logging.getLogger('My Broker')
    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter('%(asctime)s - %(name)s - %(levelname)s - %(message)s'))
    logger.addHandler(handler)
    broker = Broker(api='tcp://localhost:{api}', broadcast='tcp://localhost:{broadcast}',
                    store_class=SimpleFileStore, workers='workers', logger=logger, number_of_workers=2)
    broker.start()
"""
PIPELINER = """
import logging
from headrace import Pipeliner

logger = logging.getLogger('Pipeliner')
logger.setLevel(logging.DEBUG)
logger.addHandler(logging.StreamHandler())
pipeliner = Pipeliner(api='tcp://localhost:{api}', broadcast='tcp://localhost:{broadcast}', logger=logger)
pipeliner.start()
"""
STORE = """
import json

class SimpleFileStore(object):
    def __init__(self, **configuration):
        self.monitoring_filename = configuration['monitoring filename']

    def _note(self, call, info):
        with open(self.monitoring_filename + '.calls', 'a') as fp:
            fp.write(json.dumps([call, sorted(info), info['worker'], sorted(info['worker_requires'])]) + '\\n')

    def retrieve(self, info):
        self._note('retrieve', info)
        with open(info['data']['filename']) as fp:
            data = json.loads(fp.read())
        return {key: data[key] for key in info['worker_requires']}

    def save(self, info):
        self._note('save', info)
        with open(info['data']['filename']) as fp:
            data = json.loads(fp.read())
        data['_result-from-' + info['worker']] = info['worker_result']
        data.update(info['worker_result'])
        with open(info['data']['filename'], 'w') as fp:
            fp.write(json.dumps(data))

    def save_monitoring(self, data):
        with open(self.monitoring_filename, 'a') as fp:
            fp.write(json.dumps(data) + '\\n')
"""
WORKERS = """
import os
import time
from headrace import Worker

__all__ = ['Upper', 'Length', 'Fails', 'Pid', 'Naps']

class Upper(Worker):
    requires = ['text']

    def process(self, data):
        return {'upper': data['text'].upper()}

class Length(Worker):
    requires = ['upper']

    def process(self, data):
        return {'length': len(data['upper'])}

class Fails(Worker):
    requires = ['text']

    def process(self, data):
        raise ValueError('spam and eggs')

class Pid(Worker):
    def process(self, data):
        return {'pid': os.getpid()}

class Naps(Worker):
    def process(self, data):
        while not os.path.exists('morning'):
            time.sleep(0.02)
        return {'slept': True}
"""
CLIENT = """
from headrace import Pipeline, Job, PipelineManager

pipeline = Pipeline({{Job('Upper'): Job('Length')}}, data={{'filename': '{folder}/result.data'}})
print(str(pipeline))
pipeline.save_dot('{folder}/filename.dot')
manager = PipelineManager(api='tcp://localhost:{api}', broadcast='tcp://localhost:{broadcast}')
manager.start(pipeline) # send it to the cluster to execute
while not pipeline.finished: # wait for pipeline to finish
    manager.update()
print('done')
"""


class Scripts:
    """The three daemons of the tutorial, as three scripts."""

    def __init__(self, stage: Any) -> None:
        self.folder: Path = stage.folder
        self.api, self.broadcast = stage.api, stage.broadcast
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (self.folder / "workers.py").write_text(WORKERS)
        (self.folder / "file_store.py").write_text(STORE)

    def filled(self, text: str) -> str:
        ports = {"api": self.api.rpartition(":")[2], "broadcast": self.broadcast.rpartition(":")[2]}
        return text.format(folder=self.folder, **ports)

    def start(self, name: str, text: str) -> None:
        (self.folder / name).write_text(self.filled(text))
        environment = os.environ | {"XDG_DATA_HOME": str(self.folder / "user")}
        with (self.folder / f"{name}.log").open("ab") as log:
            line = [sys.executable, name]
            process = subprocess.Popen(line, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.processes[name] = process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def manager(self) -> PipelineManager:
        return PipelineManager(api=self.api, broadcast=self.broadcast, timeout=60)

    def file(self, name: str, **data: Any) -> str:
        path = self.folder / f"{name}.data"
        path.write_text(json.dumps(data))
        return str(path)

    def run(self, graph: Any, filename: str, **options: Any) -> Pipeline:
        """As the README does it: start, and update until it has finished."""
        pipeline = Pipeline(graph, data={"filename": filename}, **options)
        with self.manager() as manager:
            manager.start(pipeline)
            deadline = time.monotonic() + 60
            while not pipeline.finished:
                assert time.monotonic() < deadline, "it does not finish"
                manager.update()
        return pipeline


@pytest.fixture(scope="module")
def scripts(stage: Any) -> Iterator[Scripts]:
    scripts = Scripts(stage)
    try:
        scripts.start("my_router.py", ROUTER)
        scripts.start("my_broker.py", BROKER)
        scripts.start("my_pipeliner.py", PIPELINER)
        with scripts.manager() as manager:
            stage.until(lambda: any(one["workers"] for one in manager.cluster()["brokers"]), what="the Broker is there")
            stage.until(lambda: manager.cluster()["pipeliners"], what="the Pipeliner is there")
        stage.until(lambda: len(busy_or_idle(scripts)) == 2, what="both worker processes are there")
        yield scripts
    finally:
        for process in scripts.processes.values():
            process.terminate()
        for process in scripts.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(40)
            process.kill()


def read(filename: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(filename).read_text())
    return data


# The README ---------------------------------------------------------------------------------------------------------


def test_the_clients_script_runs_to_its_end(scripts: Scripts) -> None:
    filename = scripts.file("result", text="spam")
    (scripts.folder / "send.py").write_text(scripts.filled(CLIENT))
    done = subprocess.run(
        [sys.executable, "send.py"], cwd=scripts.folder, capture_output=True, text=True, timeout=60, check=True
    )
    dot, _, last = done.stdout.strip().rpartition("\n")
    assert last == "done"
    lines = ["digraph graphname {", '    "Upper";', '    "Length";', "", '    "Upper" -> "Length";', "}"]
    assert dot.splitlines() == lines
    assert (scripts.folder / "filename.dot").read_text() == dot + "\n"
    assert read(filename)["length"] == 4


def test_the_store_is_called_as_ever_and_told_more(scripts: Scripts, tmp_path: Path) -> None:
    filename = scripts.file("store", text="eggs")
    scripts.run({Job("Upper"): Job("Length")}, filename)
    assert read(filename) == {
        "text": "eggs",
        "upper": "EGGS",
        "_result-from-Upper": {"upper": "EGGS"},
        "length": 4,
        "_result-from-Length": {"length": 4},
    }
    calls = [json.loads(line) for line in (scripts.folder / "monitoring.log.calls").read_text().splitlines()][-4:]
    assert [(call, worker, requires) for call, _, worker, requires in calls] == [
        ("retrieve", "Upper", ["text"]),
        ("save", "Upper", ["text"]),
        ("retrieve", "Length", ["upper"]),
        ("save", "Length", ["upper"]),
    ]
    for call, keys, _, _ in calls:
        known = {"worker", "worker_requires", "data"} | ({"worker_result"} if call == "save" else set())
        assert known <= set(keys)
        assert {"pipeline", "job", "path", "attempt", "attempt_key", "fence", "upstream"} <= set(keys)


def test_a_worker_exception_is_data_where_the_pipeline_goes_on_as_it_did(scripts: Scripts) -> None:
    filename = scripts.file("fails", text="spam")
    pipeline = scripts.run({Job("Fails"): Job("Upper")}, filename, on_error="continue")
    saved = read(filename)
    assert "ValueError: spam and eggs" in saved["_result-from-Fails"]["_traceback"]
    assert saved["upper"] == "SPAM", "what depends on it has run"
    assert pipeline.finished and not pipeline.failed


def test_a_worker_exception_fails_the_pipeline_otherwise(scripts: Scripts) -> None:
    filename = scripts.file("failed", text="spam")
    pipeline = scripts.run({Job("Fails"): Job("Upper")}, filename)
    assert pipeline.finished and pipeline.failed
    assert "spam and eggs" in pipeline.error.reason and "upper" not in read(filename)


def test_the_same_processes_run_all_jobs(scripts: Scripts) -> None:
    before = workers_of(scripts)
    pids = set()
    for number in range(10):
        filename = scripts.file(f"pid{number}")
        scripts.run({Job("Pid"): None}, filename)
        pids.add(read(filename)["pid"])
    assert pids <= before and workers_of(scripts) == before


def workers_of(scripts: Scripts) -> set[int]:
    broker = psutil.Process(scripts.processes["my_broker.py"].pid)
    return {child.pid for child in broker.children(recursive=True)}


def monitored(scripts: Scripts) -> list[dict[str, Any]]:
    """The records so far. The last line may be half of one: it is being written."""
    file = scripts.folder / "monitoring.log"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def busy_or_idle(scripts: Scripts) -> list[dict[str, Any]]:
    """The worker processes of the newest record."""
    records = monitored(scripts)
    return [process for process in records[-1]["processes"] if process["type"] == "worker"] if records else []


def test_monitoring_is_saved_at_its_interval_with_what_it_always_had(scripts: Scripts, stage: Any) -> None:
    before = len(monitored(scripts))
    stage.until(lambda: len(monitored(scripts)) >= before + 4, what="four more records")
    records = monitored(scripts)[before : before + 4]
    stamps = [datetime.fromisoformat(record["timestamp"]) for record in records]
    assert stamps == sorted(stamps) and 1.0 < (stamps[3] - stamps[0]).total_seconds() < 60.0
    host, processes = records[-1]["host"], records[-1]["processes"]
    assert {"cpu", "memory", "swap", "network", "storage", "uptime"} <= set(host)
    assert {"number of cpus", "cpu percent"} <= set(host["cpu"])
    assert {"cluster ip", "interfaces"} <= set(host["network"])
    assert [process["type"] for process in processes] == ["broker", "worker", "worker"]
    assert {"number of workers", "active workers"} <= set(processes[0])
    for process in processes:
        assert {"cpu percent", "resident memory", "virtual memory", "pid", "started at"} <= set(process)


def test_a_busy_worker_says_in_the_monitoring_what_it_does(scripts: Scripts, stage: Any) -> None:
    filename = scripts.file("naps")
    (scripts.folder / "morning").unlink(missing_ok=True)
    pipeline = Pipeline({Job("Naps"): None}, data={"filename": filename})
    with scripts.manager() as manager:
        manager.start(pipeline)

        def busy() -> list[dict[str, Any]]:
            return [process for process in busy_or_idle(scripts) if process.get("worker") == "Naps"]

        stage.until(busy, what="a record of the busy worker")
        assert busy()[0]["data"] == {"filename": filename}
        (scripts.folder / "morning").touch()
        manager.wait(pipeline, 60)


def test_the_log_lines_have_their_names_and_words(scripts: Scripts) -> None:
    assert " - My Router - INFO - Entering main loop" in scripts.log("my_router.py")
    broker = scripts.log("my_broker.py")
    life = ("Starting worker processes", "Broker started", "Trying to connect to router...", "Entering main loop")
    for words in life:
        assert f" - My Broker - INFO - {words}" in broker
    assert "Pipeliner started" in scripts.log("my_pipeliner.py")


@pytest.mark.parametrize("which", [0, 1], ids=["api", "broadcast"])
def test_a_router_for_all_the_world_is_refused_with_what_to_write(tmp_path: Path, which: int) -> None:
    """The one line of the tutorial that has to change."""
    addresses = [("127.0.0.1", 5555), ("127.0.0.1", 5556)]
    addresses[which] = ("*", addresses[which][1])
    text = f"from headrace import Router\nRouter({addresses[0]!r}, {addresses[1]!r}, {{'data': 'data'}}).start()\n"
    (tmp_path / "my_router.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "my_router.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "127.0.0.1" in done.stderr and "insecure" in done.stderr


# Objects of the client ----------------------------------------------------------------------------------------------


def test_jobs_and_pipelines_compare_and_show_themselves_as_ever() -> None:
    assert Job("A") == Job("A", data={"z": 1}) and hash(Job("A")) == hash(Job("A", data={"z": 1}))
    assert repr(Job("ABC")) == "<Job worker=ABC>"
    assert repr(Job("ABC", data={"z": 1})) == "<Job worker=ABC, data=...>"
    pipeline = Pipeline({Job("A"): Job("B")}, data={"z": 1})
    assert repr(pipeline) == "<Pipeline: A, B, data=...>"
    assert set(pipeline.jobs) == {Job("A"), Job("B")} and tuple(pipeline.starters) == (Job("A"),)
    assert Pipeline.deserialize(pipeline.serialize()) == pipeline
    assert list(Worker().requires) == []


@pytest.mark.parametrize(
    "graph",
    [{Job("A"): Job("A")}, {Job("A"): [Job("B")], Job("B"): [Job("A")]}, {}, {(): Job("A")}],
    ids=["itself", "a cycle", "nothing", "no starter"],
)
def test_a_graph_without_an_order_is_a_value_error(graph: Any) -> None:
    with pytest.raises(ValueError):
        Pipeline(graph)


def test_a_pipeline_for_the_pipeliner_counts_as_ever() -> None:
    pipeline = PipelineForPipeliner({Job("A"): Job("B")}, data={"z": 1})
    assert pipeline.available_jobs() == {Job("A")}
    pipeline.add_finished_job(Job("A"))
    assert pipeline.available_jobs() == {Job("B")} and not pipeline.finished()
    with pytest.raises(RuntimeError, match="already declared as finished"):
        pipeline.add_finished_job(Job("A"))
    with pytest.raises(ValueError, match="not in pipeline"):
        pipeline.add_finished_job(Job("C"))
    pipeline.add_finished_job(Job("B"))
    assert pipeline.finished()


def test_a_manager_counts_and_refuses_as_ever(scripts: Scripts) -> None:
    filename = scripts.file("counted", text="spam")
    with scripts.manager() as manager:
        assert repr(manager) == "<PipelineManager: 0 submitted, 0 finished>"
        pipeline = Pipeline({Job("Upper"): None}, data={"filename": filename})
        assert pipeline.id is None
        run = manager.start(pipeline)
        assert pipeline.id == run and isinstance(run, str) and len(run) == 32
        assert pipeline.started_at <= time.time()
        assert list(manager.pipelines) == [pipeline]
        with pytest.raises(ValueError, match="already started"):
            manager.start(pipeline)
        while not pipeline.finished:
            manager.update(0.5)
        assert pipeline.duration >= 0
        assert manager.finished(pipeline) is True
        assert repr(manager) == "<PipelineManager: 1 submitted, 1 finished>"
        with pytest.raises(ValueError, match="not being managed"):
            manager.finished(Pipeline({Job("Upper"): None}))
