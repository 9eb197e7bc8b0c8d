"""A cluster of real daemons for a benchmark: started through the installed command, stopped together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent


@dataclass
class Cluster:
    api: str
    broadcast: str
    data: Path
    process: subprocess.Popen[bytes]

    def processes(self) -> list[psutil.Process]:
        """The daemons and everything they have started, without the supervisor."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def memory(self) -> int:
        """Bytes, shared pages counted once (PSS where the system tells it)."""
        total = 0
        for process in [psutil.Process(self.process.pid), *self.processes()]:
            info = process.memory_full_info()
            total += getattr(info, "pss", info.rss)
        return total

    def cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in [psutil.Process(self.process.pid), *self.processes()]]
        return sum(one.user + one.system for one in times)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def cluster(processes: int = 2, workers: str = "workers") -> Iterator[Cluster]:
    """`headrace up` in a folder of its own; yields when it answers."""
    api, broadcast = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        command = [sys.executable, "-m", "headrace", "up", "--api", api, "--broadcast", broadcast, "--data", folder]
        command += ["--workers", workers, "--processes", str(processes)]
        log = Path(folder) / "up.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=HERE, stdout=output, stderr=output, env={**os.environ})
        try:
            _wait_until_it_answers(api, broadcast, process, log)
            yield Cluster(api, broadcast, Path(folder), process)
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_it_answers(api: str, broadcast: str, process: subprocess.Popen[bytes], log: Path) -> None:
    from headrace import Job, Pipeline, PipelineManager

    with PipelineManager(api=api, broadcast=broadcast, timeout=30) as manager:
        pipeline = Pipeline({Job("nothing"): None})
        manager.start(pipeline)
        manager.wait(pipeline, 30)
    if process.poll() is not None:
        raise SystemExit(f"the cluster ended:\n{log.read_text()}")


def name_of(process: psutil.Process) -> str:
    """Which of the cluster's processes it is."""
    line = process.cmdline()
    for name in ("router", "pipeliner", "broker"):
        if name in line:
            return name
    parent = process.parent()
    warden = "headrace.workers.warden"
    return "worker" if parent is not None and warden in parent.cmdline() else "warden" if warden in line else "other"
