"""The monitoring record: what it holds, and that nothing can make it fail."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from headrace.daemons.monitoring import Monitor, WorkerProcess, collect


@pytest.fixture
def child() -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def test_the_record_has_exactly_the_documented_fields(child: "subprocess.Popen[bytes]") -> None:
    record = collect([WorkerProcess(child.pid, "Words", {"id": 7})], "10.0.0.1")
    assert record.keys() == {"timestamp", "host", "processes"}
    host = record["host"]
    assert host.keys() == {"cpu", "memory", "swap", "network", "storage", "uptime"}
    assert host["cpu"].keys() == {"number of cpus", "cpu percent"}
    assert host["memory"].keys() == set(psutil.virtual_memory()._fields)
    assert host["swap"].keys() == set(psutil.swap_memory()._fields)
    assert host["network"]["cluster ip"] == "10.0.0.1"
    for counters in host["network"]["interfaces"].values():
        assert counters.keys() == {"bytes sent", "bytes received", "packets sent", "packets received"}
    for device in host["storage"].values():
        assert device.keys() == {
            "mount point",
            "file system",
            "total bytes",
            "total used bytes",
            "total free bytes",
            "percent used",
        }
    assert host["uptime"] > 0
    broker, worker = record["processes"]
    figures = {"cpu percent", "resident memory", "virtual memory", "pid", "started at", "type"}
    assert broker.keys() == {*figures, "number of workers", "active workers"}
    assert worker.keys() == {*figures, "worker", "data"}


def test_the_broker_stands_first_and_busy_workers_say_what_they_do(child: "subprocess.Popen[bytes]") -> None:
    busy = WorkerProcess(child.pid, "Words", {"id": 7})
    broker, worker, idle = collect([busy, WorkerProcess(os.getpid())])["processes"]
    assert (broker["type"], broker["pid"]) == ("broker", os.getpid())
    assert (broker["number of workers"], broker["active workers"]) == (2, 1)
    assert (worker["type"], worker["pid"], worker["worker"], worker["data"]) == (
        "worker",
        child.pid,
        "Words",
        {"id": 7},
    )
    assert "worker" not in idle and "data" not in idle


def test_a_job_without_data_is_still_a_busy_worker(child: "subprocess.Popen[bytes]") -> None:
    _, worker = collect([WorkerProcess(child.pid, "Words")])["processes"]
    assert (worker["worker"], worker["data"]) == ("Words", None)


def test_times_are_utc_and_the_record_is_plain_data(child: "subprocess.Popen[bytes]") -> None:
    record = json.loads(json.dumps(collect([WorkerProcess(child.pid)])))
    times = [record["timestamp"], *(process["started at"] for process in record["processes"])]
    for text in times:
        moment = datetime.fromisoformat(text)
        assert moment.utcoffset() == timedelta(0)
        assert moment <= datetime.now(UTC) + timedelta(seconds=5)


def test_a_process_that_has_gone_is_left_out(child: "subprocess.Popen[bytes]") -> None:
    monitor = Monitor()
    assert len(monitor.collect([WorkerProcess(child.pid)])["processes"]) == 2
    child.kill()
    child.wait()
    (broker,) = monitor.collect([WorkerProcess(child.pid, "Words", {})])["processes"]
    assert broker["number of workers"] == 1


def test_a_monitor_measures_cpu_use_between_two_looks() -> None:
    monitor = Monitor()
    (first,) = monitor.collect([])["processes"]
    began = time.process_time()
    while time.process_time() < began + 0.1:  # the system counts in hundredths
        sum(range(10_000))
    (second,) = monitor.collect([])["processes"]
    assert first["cpu percent"] == 0.0
    assert second["cpu percent"] > 0.0


def test_figures_that_this_system_does_not_give_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not in this container")

    for name in ("virtual_memory", "swap_memory", "net_io_counters", "disk_partitions", "boot_time", "cpu_percent"):
        monkeypatch.setattr(psutil, name, refuse)
    host = collect([])["host"]
    assert host["memory"] == host["swap"] == host["storage"] == host["network"]["interfaces"] == {}
    assert host["uptime"] is host["cpu"]["cpu percent"] is None
