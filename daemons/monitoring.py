"""What a Broker tells its store about the machine and its processes, once per monitoring interval.

A `Monitor` is kept for the life of a Broker, because CPU use is measured between two looks. A process that has gone
when it is looked at is left out, and a figure that this system does not give is left out too: monitoring never fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psutil

_UNREADABLE = (psutil.Error, OSError, RuntimeError, NotImplementedError, AttributeError)


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker process as its Broker sees it: `worker` is None when it is idle, `data` is the job's data."""

    pid: int
    worker: str | None = None
    data: Any = None


class Monitor:
    """`cluster_ip` is the address by which this machine takes part in the cluster."""

    def __init__(self, cluster_ip: str | None = None) -> None:
        self._cluster_ip = cluster_ip
        self._known: dict[int, psutil.Process] = {}
        _figure(psutil.cpu_percent)

    def collect(self, workers: Iterable[WorkerProcess], broker_pid: int | None = None) -> dict[str, Any]:
        """One record: plain data, ready for `save_monitoring`. Times are UTC."""
        workers = list(workers)
        return {
            "timestamp": _utc(time.time()),
            "host": _host(self._cluster_ip),
            "processes": self._processes(workers, broker_pid or os.getpid()),
        }

    def _processes(self, workers: list[WorkerProcess], broker_pid: int) -> list[dict[str, Any]]:
        pids = {broker_pid, *(worker.pid for worker in workers)}
        self._known = {pid: process for pid, process in self._known.items() if pid in pids}
        found = []
        broker = self._figures(broker_pid, "broker")
        if broker is not None:
            busy = sum(worker.worker is not None for worker in workers)
            found.append({**broker, "number of workers": len(workers), "active workers": busy})
        for worker in workers:
            figures = self._figures(worker.pid, "worker")
            if figures is not None and worker.worker is not None:
                figures |= {"worker": worker.worker, "data": worker.data}
            if figures is not None:
                found.append(figures)
        return found

    def _figures(self, pid: int, kind: str) -> dict[str, Any] | None:
        """None when the process has gone."""
        try:
            process = self._known.get(pid)
            if process is None or not process.is_running():  # a new process can have an old one's number
                process = self._known[pid] = psutil.Process(pid)
            with process.oneshot():
                memory = process.memory_info()
                return {
                    "cpu percent": process.cpu_percent(),
                    "resident memory": memory.rss,
                    "virtual memory": memory.vms,
                    "pid": pid,
                    "started at": _utc(process.create_time()),
                    "type": kind,
                }
        except _UNREADABLE:
            self._known.pop(pid, None)
            return None


def collect(
    workers: Iterable[WorkerProcess], cluster_ip: str | None = None, broker_pid: int | None = None
) -> dict[str, Any]:
    """A single record. A process's CPU use is 0.0 in it: only a `Monitor` has an earlier look to compare with."""
    return Monitor(cluster_ip).collect(workers, broker_pid)


def _host(cluster_ip: str | None) -> dict[str, Any]:
    booted = _figure(psutil.boot_time)
    return {
        "cpu": {"number of cpus": os.cpu_count(), "cpu percent": _figure(psutil.cpu_percent)},
        "memory": _fields(psutil.virtual_memory),
        "swap": _fields(psutil.swap_memory),
        "network": {"cluster ip": cluster_ip, "interfaces": _interfaces()},
        "storage": _storage(),
        "uptime": None if booted is None else max(0.0, time.time() - booted),
    }


def _interfaces() -> dict[str, dict[str, int]]:
    counters = _figure(psutil.net_io_counters, pernic=True) or {}
    return {
        name: {
            "bytes sent": counter.bytes_sent,
            "bytes received": counter.bytes_recv,
            "packets sent": counter.packets_sent,
            "packets received": counter.packets_recv,
        }
        for name, counter in counters.items()
    }


def _storage() -> dict[str, dict[str, Any]]:
    found = {}
    for partition in _figure(psutil.disk_partitions, all=False) or ():
        usage = _figure(psutil.disk_usage, partition.mountpoint)
        if usage is not None:
            found[partition.device] = {
                "mount point": partition.mountpoint,
                "file system": partition.fstype,
                "total bytes": usage.total,
                "total used bytes": usage.used,
                "total free bytes": usage.free,
                "percent used": usage.percent,
            }
    return found


def _fields(read: Any) -> dict[str, Any]:
    """All fields that this system gives."""
    figures = _figure(read)
    return {} if figures is None else dict(figures._asdict())


def _figure(read: Any, *arguments: Any, **options: Any) -> Any:
    """None when this system, container or user cannot know it."""
    try:
        return read(*arguments, **options)
    except _UNREADABLE:
        return None


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
