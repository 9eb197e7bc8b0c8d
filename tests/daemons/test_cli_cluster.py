"""The command line with a real cluster behind it: `headrace up`, and the commands that talk to it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

HEADRACE = str(Path(sys.executable).with_name("headrace"))
PATIENT = (
    sys.executable,
    "-P",
    "-c",
    "from headrace.daemons.commands import up; up.IMPORTING = 600.0; from headrace.daemons.cli import main; main()",
)
"""A command whose `up` does not take a Broker that is slow to import for one without workers."""
WORKERS = """
import time
from pathlib import Path
from headrace import current, worker

@worker
def Numbers():
    print("counting")
    return {"numbers": [1, 2, 3]}

@worker
def Sum(numbers):
    return {"sum": sum(numbers)}

@worker
def Broken():
    raise ValueError("on purpose")

@worker
def Talk(file):
    print("begun")
    while not Path(file).exists():
        time.sleep(0.01)
    print("over, " + "é" * 300_000)

@worker
def Count(file):
    current().progress(3, 10, "counting")
    while not Path(file).exists():
        time.sleep(0.01)

@worker
def Wait(file):
    while not Path(file).exists():
        time.sleep(0.01)
    return {"waited": True}
"""
FLOWS = """
from headrace import Job, Pipeline

adding = Pipeline({Job("Numbers"): Job("Sum")}, title="adding up")
broken = Pipeline({Job("Broken"): Job("Sum")})
nobody = Pipeline({Job("Nobody"): Job("Sum")})
waiting = Pipeline({Job("Wait"): None}, data={"file": "let-go"})
slow = Pipeline({Job("Count"): None}, data={"file": "enough"})
talking = Pipeline({(Job("Numbers"), Job("Talk")): None}, data={"file": "hush"})
"""


class Cluster:
    """A `headrace up` in a folder of its own."""

    def __init__(self, folder: Path, *flags: str, up: Sequence[str] = (HEADRACE,)) -> None:
        self.folder = folder
        (folder / "workers.py").write_text(WORKERS)
        (folder / "flows.py").write_text(FLOWS)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self.environment["HEADRACE_ANSWER_TIMEOUT"] = "60"
        self.environment["HEADRACE_API"] = f"ipc://{folder}/api"
        self.environment["HEADRACE_BROADCAST"] = f"ipc://{folder}/events"
        self.lines: list[str] = []
        self.news = threading.Condition()
        self.process = subprocess.Popen(
            [*up, "up", "--data", "data", "--processes", "2", "--grace", "5", *flags],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append("THE END")
            self.news.notify_all()

    def wait_for(self, text: str, times: int = 1) -> None:
        def is_there() -> bool:
            return self.count(text) >= times or "THE END" in self.lines

        with self.news:
            assert self.news.wait_for(is_there, 120), self.lines
        assert self.count(text) >= times, self.lines

    def count(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    def pid(self, name: str) -> int:
        """The pid of the daemon that was started last under this name."""
        started = [line for line in self.lines if f"{name} started, pid " in line]
        return int(started[-1].rpartition(" ")[2])

    def processes(self) -> list[psutil.Process]:
        """Three daemons, a warden and two worker processes, all of which are there now."""
        found: list[psutil.Process] = []

        def all_there() -> bool:
            found[:] = psutil.Process(self.process.pid).children(recursive=True)
            return len(found) >= 6

        until(all_there)
        return found

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [HEADRACE, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, (arguments, done.stdout, done.stderr, self.lines[-20:])
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        value = json.loads(self.run(*arguments, "--json", code=code).stdout)
        assert value["version"] == 1
        return value

    def state(self, run: str) -> str:
        return str(self.json("show", run)["run"]["state"])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


@contextmanager
def running(*flags: str, ready: bool = True, toml: str = "", up: Sequence[str] = (HEADRACE,)) -> Iterator[Cluster]:
    """A cluster in a folder whose path is short enough for a socket in it; whatever happens, nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="hr-")).resolve()
    (folder / "headrace.toml").write_text(toml)
    cluster = Cluster(folder, *flags, up=up)
    try:
        if ready:
            cluster.wait_for("ready: ")
        yield cluster
    finally:
        cluster.process.terminate()
        cluster.process.wait(120)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made
        assert made.stop() == 0, made.lines


@pytest.fixture(scope="module")
def added(cluster: Cluster) -> str:
    """The id of a run that ended well."""
    return str(cluster.json("submit", "flows.py:adding", "--wait", "--timeout", "60")["run"]["id"])


@pytest.fixture(scope="module")
def failed(cluster: Cluster) -> str:
    """The id of a run that failed."""
    return str(cluster.json("submit", "flows.py:broken", "--wait", code=1)["run"]["id"])


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Submitting and watching --------------------------------------------------------------------------------------------


def test_submit_prints_the_id_and_nothing_else_when_piped(cluster: Cluster) -> None:
    run = cluster.run("submit", "flows.py:adding").stdout.strip()
    assert len(run) == 32
    assert f"{run}: success after" in cluster.run("watch", run[:12]).stdout


def test_submit_and_wait_tells_the_end_by_its_exit_code(cluster: Cluster) -> None:
    lines = cluster.run("submit", "flows.py:adding", "--wait").stdout.splitlines()
    assert len(lines[0]) == 32
    assert lines[-1].startswith(f"{lines[0]}: success after")
    text = cluster.run("submit", "flows.py:broken", "--wait", code=1).stdout
    assert "failed after" in text
    assert "on purpose" in text


def test_waiting_may_have_a_limit_and_the_run_goes_on(cluster: Cluster) -> None:
    value = cluster.json("submit", "flows.py:waiting", "--wait", "--timeout", "200ms", code=124)
    assert value["error"]["code"] == "timed-out"
    run = next(one["id"] for one in cluster.json("list")["runs"] if one["id"] in value["error"]["message"])
    assert cluster.state(run) == "running"
    cluster.run("cancel", run)


def test_an_interrupted_wait_leaves_the_run_going_and_says_how_to_go_on(cluster: Cluster) -> None:
    process = subprocess.Popen(
        [HEADRACE, "submit", "flows.py:waiting", "--wait"],
        cwd=cluster.folder,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"headrace watch {run[:8]}" in told
    assert f"headrace cancel {run[:8]}" in told
    assert cluster.state(run) == "running"
    cluster.run("cancel", run)


def test_on_a_terminal_a_bar_shows_the_progress(cluster: Cluster) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [HEADRACE, "submit", "flows.py:adding", "--wait"],
        cwd=cluster.folder,
        env={**cluster.environment, "TERM": "xterm", "COLUMNS": "120"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # the end of a terminal, on Linux
    assert process.wait(120) == 0
    assert b"adding up" in shown
    assert b"2/2" in shown


# Reading ------------------------------------------------------------------------------------------------------------


def test_list_shows_ended_runs_with_whole_ids_and_titles(cluster: Cluster, added: str, failed: str) -> None:
    lines = cluster.run("list").stdout.splitlines()
    line = next(line for line in lines if line.startswith(added))
    assert "adding up" in line
    assert "success" in line
    assert {one["id"] for one in cluster.json("list", "--state", "failed")["runs"]} >= {failed}
    assert len(cluster.json("list", "--limit", "1")["runs"]) == 1


def test_show_tells_states_attempts_and_places_of_the_jobs(cluster: Cluster, added: str) -> None:
    run = cluster.json("show", added[:10])["run"]
    assert (run["id"], run["state"], run["title"], run["error"]) == (added, "success", "adding up", None)
    jobs = {job["name"]: job for job in run["jobs"]}
    assert {name: (job["state"], job["attempts"]) for name, job in jobs.items()} == {
        "Numbers": ("success", 1),
        "Sum": ("success", 1),
    }
    assert jobs["Sum"]["place"]
    text = cluster.run("show", added, "--attempts").stdout
    assert "Numbers" in text
    assert "accepted" in text


def test_show_tells_which_version_of_the_code_ran(cluster: Cluster, added: str) -> None:
    jobs = cluster.json("show", added)["run"]["jobs"]
    for job in jobs:
        assert len(job["code"]) == 12 and job["tries"][0]["code"] == job["code"]
        assert job["code"][:8] in cluster.run("show", added).stdout


def test_show_tells_why_a_run_failed(cluster: Cluster, failed: str) -> None:
    run = cluster.json("show", failed)["run"]
    assert run["error"]["job"] == "Broken"
    assert "on purpose" in run["error"]["traceback"]
    assert "on purpose" in cluster.run("show", failed).stdout


def test_results_are_printed_by_job(cluster: Cluster, added: str) -> None:
    assert cluster.json("results", added)["results"] == {"Numbers": {"numbers": [1, 2, 3]}, "Sum": {"sum": 6}}
    assert cluster.run("results", added, "--job", "Sum").stdout == "Sum: {'sum': 6}\n"
    assert cluster.json("results", added, "--job", "Some", code=3)["error"]["code"] == "not-found"


def test_logs_show_what_an_attempt_has_written(cluster: Cluster, added: str) -> None:
    assert "counting" in cluster.run("logs", added, "Numbers").stdout
    logs = cluster.json("logs", added)["logs"]
    assert {log["job"]: log["text"].strip() for log in logs} == {"Numbers": "counting", "Sum": ""}
    cluster.run("logs", added, "Nothing", code=3)


def test_followed_logs_come_while_they_are_written_and_end_with_the_run(cluster: Cluster) -> None:
    run = cluster.run("submit", "flows.py:talking").stdout.strip()
    with subprocess.Popen(
        [HEADRACE, "logs", "-f", run], cwd=cluster.folder, env=cluster.environment, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        first = {following.stdout.readline(), following.stdout.readline()}
        assert first == {"Numbers | counting\n", "Talk | begun\n"}
        assert cluster.state(run) == "running"
        (cluster.folder / "hush").touch()
        rest = following.stdout.read().splitlines()
        assert following.wait(120) == 0
    assert rest == ["Talk | over, " + "é" * 300_000]
    lines = [json.loads(line) for line in cluster.run("logs", "-f", run, "Talk", "--json").stdout.splitlines()]
    assert [line["line"][:5] for line in lines] == ["begun", "over,"]
    assert cluster.run("logs", run, "Talk", "--attempt", "2").stdout == ""


def test_events_of_a_run_are_its_facts_and_a_cursor_goes_on_behind_one(cluster: Cluster, added: str) -> None:
    events = [json.loads(line)["event"] for line in cluster.run("events", "--run", added, "--json").stdout.splitlines()]
    assert [one["kind"] for one in events] == ["accepted", "returned", "returned", "finished"]
    assert events[1]["fields"]["job"] == "Numbers" and events[3]["fields"]["verdict"] == "success"
    rest = cluster.run("events", "--run", added, "--since", events[1]["cursor"]).stdout.splitlines()
    assert [line.split()[4] for line in rest] == ["returned", "finished"]
    assert cluster.json("events", "--since", "yesterday", code=2)["error"]["code"] == "usage"


def test_events_can_be_followed_over_a_restart_of_the_router() -> None:
    with running() as cluster, subprocess.Popen(
        [HEADRACE, "events", "-f", "--json", "--since", "0-0"],
        cwd=cluster.folder, env=cluster.environment, stdout=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        told = (json.loads(line)["event"] for line in following.stdout)
        first = cluster.run("submit", "flows.py:adding").stdout.strip()
        seen = []
        for event in told:
            seen.append(event)
            if event["kind"] == "finished":
                break
        os.kill(cluster.pid("router"), signal.SIGKILL)
        second = cluster.run("submit", "flows.py:adding").stdout.strip()
        for event in told:
            seen.append(event)
            if event["kind"] == "finished":
                break
        following.terminate()
    assert [one["run"] for one in seen if one["kind"] == "finished"] == [first, second]
    numbers = [int(one["cursor"].partition("-")[2]) for one in seen]
    assert numbers == list(range(1, len(seen) + 1)), "every fact is there, once"
    assert {one["cursor"].partition("-")[0] for one in seen} == {"1", "2"}


def test_a_cursor_of_another_journal_is_answered_with_what_is_open(cluster: Cluster, added: str) -> None:
    event = cluster.json("events", "--since", "9-1")["event"]
    assert event["kind"] == "reset" and event["run"] is None and isinstance(event["fields"]["open"], list)


def test_how_far_a_job_is_can_be_watched(cluster: Cluster) -> None:
    run = cluster.run("submit", "flows.py:slow").stdout.strip()
    with subprocess.Popen(
        [HEADRACE, "watch", run], cwd=cluster.folder, env=cluster.environment, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert any(line.endswith(" Count: 3 of 10: counting\n") for line in watching.stdout)
        (cluster.folder / "enough").touch()
        watching.stdout.read()
        assert watching.wait(120) == 0


def test_a_drained_broker_gets_nothing_new_until_it_is_let_again(cluster: Cluster) -> None:
    (broker,) = cluster.json("status")["status"]["brokers"]
    assert not broker["draining"]
    assert "draining" in cluster.run("broker", "drain", broker["place"]).stdout
    assert cluster.json("status")["status"]["brokers"][0]["draining"]
    run = cluster.run("submit", "flows.py:adding").stdout.strip()
    until(lambda: "is draining: " + broker["place"] in cluster.run("explain", run).stdout)
    assert cluster.json("drain", broker["place"], "--off")["on"] is False
    cluster.run("watch", run)
    assert "connected are" in cluster.json("drain", "nobody/1", code=3)["error"]["message"]


def test_dot_of_a_run_is_the_text_of_its_pipeline(cluster: Cluster, added: str) -> None:
    assert '"Numbers" -> "Sum";' in cluster.run("dot", added[:8]).stdout


def test_a_shell_can_complete_ids(cluster: Cluster, added: str) -> None:
    words = {"COMP_WORDS": f"headrace show {added[:6]}", "COMP_CWORD": "2", "_HEADRACE_COMPLETE": "bash_complete"}
    command = [HEADRACE]
    done = subprocess.run(command, env={**cluster.environment, **words}, capture_output=True, text=True, check=True)
    assert f"plain,{added}" in done.stdout.split()


def test_status_tells_who_is_there(cluster: Cluster) -> None:
    status = cluster.json("status")["status"]
    assert [broker["slots"] for broker in status["brokers"]] == [2]
    assert len(status["pipeliners"]) == 1
    until(lambda: "Numbers" in cluster.run("status").stdout)  # on a slow machine it may be ready before its workers are


def test_top_is_printed_once_when_piped(cluster: Cluster, added: str) -> None:
    assert added[:12] in cluster.run("top").stdout


def test_doctor_finds_the_cluster(cluster: Cluster) -> None:
    findings = {one["what"]: one["grade"] for one in cluster.json("doctor")["findings"]}
    assert findings["cluster"] == "ok"


def test_explain_says_that_no_broker_has_the_worker(cluster: Cluster) -> None:
    run = cluster.run("submit", "flows.py:nobody").stdout.strip()
    until(lambda: "Nobody" in cluster.run("explain", run).stdout)
    assert cluster.json("explain", run, "Nobody")["id"] == run
    cluster.run("cancel", run)


def test_a_run_that_is_not_there_is_not_found(cluster: Cluster) -> None:
    for command in ("show", "results", "logs", "watch", "cancel", "explain", "dot"):
        assert cluster.json(command, "f" * 32, code=3)["error"]["code"] == "not-found", command


def test_the_beginning_of_several_ids_is_refused(cluster: Cluster, added: str) -> None:
    beginnings = [one["id"][:1] for one in cluster.json("list", "--all")["runs"]]
    while len(set(beginnings)) == len(beginnings):
        beginnings.append(cluster.run("submit", "flows.py:adding").stdout[:1])
    several = next(one for one in beginnings if beginnings.count(one) > 1)
    assert "several" in cluster.json("show", several, code=2)["error"]["message"]


# Control ------------------------------------------------------------------------------------------------------------


def test_cancel_ends_a_run_with_its_reason(cluster: Cluster) -> None:
    run = cluster.run("submit", "flows.py:waiting").stdout.strip()
    assert cluster.json("cancel", run[:12], "--reason", "not today")["id"] == run
    shown = cluster.json("watch", run, code=1)["run"]
    assert shown["state"] == "cancelled"
    assert shown["error"]["reason"] == "not today"


def test_a_paused_run_waits_until_it_is_resumed(cluster: Cluster) -> None:
    run = cluster.run("submit", "flows.py:nobody").stdout.strip()
    cluster.run("pause", run)
    assert cluster.json("show", run)["run"]["paused"] is True
    cluster.run("resume", run)
    assert cluster.json("show", run)["run"]["paused"] is False
    cluster.run("cancel", run)


def test_rerun_prints_the_id_of_the_new_run(cluster: Cluster, added: str) -> None:
    new = cluster.run("rerun", added).stdout.strip()
    assert new != added
    assert cluster.json("watch", new)["run"]["state"] == "success"


def test_prune_removes_runs_that_have_ended_and_no_others() -> None:
    with running() as cluster:
        ended = cluster.json("submit", "flows.py:adding", "--wait")["run"]["id"]
        going = cluster.run("submit", "flows.py:nobody").stdout.strip()
        assert cluster.json("prune", "--older", "1d")["removed"] == 0
        assert cluster.json("prune", "--older", "0")["removed"] == 1
        assert [run["id"] for run in cluster.json("list")["runs"]] == [going]
        cluster.run("show", ended, code=3)
        single = cluster.json("submit", "flows.py:adding", "--wait")["run"]["id"]
        cluster.run("prune", code=2)
        cluster.run("prune", single, "--older", "0", code=2)
        cluster.run("prune", going, code=2)
        assert cluster.run("prune", single[:12]).stdout.strip() == f"{single} is removed"
        cluster.run("show", single, code=3)
        cluster.stop()


def test_a_role_is_paused_for_all_runs(cluster: Cluster) -> None:
    cluster.run("pause", code=2)
    cluster.run("pause", "3f9a", "--role", "encode", code=2)
    cluster.run("pause", "--cluster", "--role", "encode", code=2)
    assert cluster.run("pause", "--role", "encode").stdout.strip() == "role encode is paused"
    assert cluster.json("status")["status"]["paused"] == {"cluster": False, "roles": ["encode"]}
    assert cluster.json("resume", "--role", "encode")["role"] == "encode"
    assert cluster.json("status")["status"]["paused"] == {"cluster": False, "roles": []}


# Up -----------------------------------------------------------------------------------------------------------------


def test_up_restarts_a_daemon_that_was_killed_and_the_cluster_goes_on(cluster: Cluster) -> None:
    for name in ("router", "pipeliner", "broker"):
        pid = cluster.pid(name)
        os.kill(pid, signal.SIGKILL)
        until(lambda name=name, pid=pid: cluster.pid(name) != pid)  # type: ignore[misc]
        assert cluster.json("submit", "flows.py:adding", "--wait", "--timeout", "60")["run"]["state"] == "success"


def test_up_leaves_no_process_behind_when_it_is_stopped() -> None:
    with running() as cluster:
        processes = cluster.processes()
        assert cluster.stop() == 0
        until(lambda: not any(alive(one) for one in processes))


def test_up_leaves_no_process_behind_when_it_is_killed() -> None:
    with running() as cluster:
        processes = cluster.processes()
        cluster.process.kill()
        cluster.process.wait()
        until(lambda: not any(alive(one) for one in processes))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_up_gives_up_when_the_data_folder_is_taken(cluster: Cluster) -> None:
    with running("--data", str(cluster.folder / "data"), ready=False) as other:
        assert other.process.wait(120) != 0
        until(lambda: other.count("THE END") > 0)
        assert other.count("is in use by process") > 0


def test_up_stops_at_once_when_the_workers_cannot_be_imported() -> None:
    with running("--workers", "nonsense", ready=False, up=PATIENT) as cluster:
        assert cluster.process.wait(120) == 2
        until(lambda: cluster.count("THE END") > 0)
        assert cluster.count("there is no module 'nonsense'") == 1
        assert cluster.count("ready: ") == 0


def test_up_can_start_several_brokers_and_log_as_json() -> None:
    toml = "[up]\nbrokers = 2\npipeliners = 2\n[broker]\nlog-level = 'warning'\n"
    with running("--log-json", toml=toml) as cluster:
        status = cluster.json("status")["status"]
        assert (len(status["brokers"]), len(status["pipeliners"])) == (2, 2)
        cluster.run("submit", "flows.py:adding", "--wait")
        assert cluster.stop() == 0
        until(lambda: cluster.count("THE END") > 0)
        said = [json.loads(line) for line in cluster.lines if line != "THE END"]
        assert {one["name"] for one in said if one.get("level") == "info"} >= {"Router", "Pipeliner"}
        assert not any(one["name"] == "Broker" and one.get("level") == "info" for one in said)


def test_doctor_reads_a_journal_from_end_to_end() -> None:
    with running() as cluster:
        cluster.run("submit", "flows.py:adding", "--wait")
        cluster.stop()
        value = cluster.json("doctor", "--journal", str(cluster.folder / "data"))
        assert [one["grade"] for one in value["findings"]] == ["ok"]
