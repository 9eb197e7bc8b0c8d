"""The tutorial in one go: real daemons, five pipelines, their results. It leaves nothing behind.

The daemons are the three scripts beside this file, each a process of its own, with free ports and a temporary folder
for journal, logs and results.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from file_store import read_result_file
from send_pipelines import make_pipelines
from web_server import serving_pages

from headrace import PipelineManager

HERE = Path(__file__).parent
DAEMONS = ("my_router.py", "my_pipeliner.py", "my_broker.py")
PATIENCE = 60.0
BAR = 30


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="headrace-demo-") as folder:
        environment = environment_in(Path(folder))
        with daemons(environment, Path(folder)) as processes, serving_pages() as urls:
            pipelines = make_pipelines(urls, folder)
            run(pipelines, environment, processes)
            show_results(pipelines)
        show_dot(pipelines[0])
    print("\nAll daemons have stopped, and their folder is gone. The code: example/tutorial/")


def environment_in(folder):
    """What the daemons have to know: two free ports, and where to keep things."""
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    return {
        "HEADRACE_API": f"tcp://127.0.0.1:{ports[0]}",
        "HEADRACE_BROADCAST": f"tcp://127.0.0.1:{ports[1]}",
        "HEADRACE_DATA": str(folder / "data"),
        "MONITORING_FILENAME": str(folder / "monitoring.log"),
    }


@contextlib.contextmanager
def daemons(environment, folder):
    """Router, Pipeliner and Broker, stopped in the opposite order."""
    processes = {}
    try:
        for name in DAEMONS:
            with open(folder / f"{name}.log", "wb") as log:
                processes[name] = subprocess.Popen(
                    [sys.executable, HERE / name],
                    cwd=HERE,
                    env={**os.environ, **environment},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for this script, which then stops them
                )
            print(f"started {name}, pid {processes[name].pid}")
        yield processes
        check_that_they_live(processes)
    except Exception:
        for name in processes:
            print(f"--- {name}\n{(folder / f'{name}.log').read_text()[-3000:]}", file=sys.stderr)
        raise
    finally:
        for process in reversed(processes.values()):
            stop(process)


def check_that_they_live(processes):
    for name, process in processes.items():
        if process.poll() is not None:
            raise RuntimeError(f"{name} has ended with exit code {process.returncode}")


def stop(process):
    process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(pipelines, environment, processes):
    """Start all pipelines and wait for their ends."""
    deadline = time.monotonic() + PATIENCE
    with PipelineManager(
        api=environment["HEADRACE_API"], broadcast=environment["HEADRACE_BROADCAST"], timeout=PATIENCE
    ) as manager:
        for pipeline in pipelines:
            manager.start(pipeline)
        finished = 0
        show_progress(finished, len(pipelines))
        while finished < len(pipelines):
            manager.update(0.2)
            if manager.finished_pipelines > finished:
                finished = manager.finished_pipelines
                show_progress(finished, len(pipelines))
            check_that_they_live(processes)
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {finished} of {len(pipelines)} pipelines ended within {PATIENCE:g} s")
    for pipeline in pipelines:
        if pipeline.failed:
            raise RuntimeError(f"a pipeline failed: {pipeline.error}")


def show_progress(finished, total):
    """A bar on a terminal; lines when piped."""
    if not sys.stdout.isatty():
        print(f"{finished} of {total} pipelines have finished", flush=True)
        return
    filled = BAR * finished // total
    end = "\n" if finished == total else ""
    print(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {finished} of {total} pipelines", end=end, flush=True)


def show_results(pipelines):
    rows = [("file", "page", "characters", "words", "links", "duration")]
    for pipeline in pipelines:
        result = read_result_file(pipeline.data["filename"])
        file, page = Path(pipeline.data["filename"]).name, result["url"].rpartition("/")[2]
        numbers = (result["length"], result["number_of_words"], result["number_of_links"])
        rows.append((file, page, *map(str, numbers), f"{pipeline.duration * 1000:.0f} ms"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def show_dot(pipeline):
    print(f"\nEach of them was this graph, as text for graphviz:\n\n{pipeline}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
