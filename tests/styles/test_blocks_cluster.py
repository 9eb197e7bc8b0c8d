"""The README of blocks, as it is printed, on a real cluster; roles, handlers and priorities there."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import headrace
from headrace.blocks import Action, InputHandler, Job, Task

ACCEPTANCE = Path(__file__).parents[1] / "acceptance" / "conftest.py"
WORKERS = """
import json, os
from headrace.blocks import InputHandler, role

inputs = InputHandler("local")


@inputs.loader("local")
def load(path):
    with open(path) as file:
        return json.load(file)


@role("encode")
def encode(source, crf=23):
    return f"{source[:10]} at {crf}"


@role("note")
def note(what, folder="."):
    with open(os.path.join(folder, "notes"), "a") as file:
        file.write(what + "\\n")


@role("broken")
def broken(what, folder="."):
    note(what, folder)
    raise ValueError(f"{what} went wrong")
"""

ECHO_JOB = """
#!/usr/bin/env python

import headrace
from headrace.blocks import Job, Task, Action

with Job("Echo Job") as a_job:
    with Task("Task #1"):
        Action("[Task #1] Let's initiate something here first.")
    with Task("Task #2", parallel=True):
        with Task("Task #2.1"):
            Action("[Task #2.1] Do something here. $(sleep)")
            Action("[Task #2.1] Another action here at $(date).")
        with Task("Task #2.2"):
            Action("[Task #2.2] Do something here. $(sleep)")
            Action("[Task #2.2] Another action here at $(date).")
    with Task("Task #3"):
        Action("All is done!")
"""

SUBMIT = """
#!/usr/bin/env python

import headrace

headrace.submit(a_job)
"""

VIDEO_JOB = """
#!/usr/bin/env python

import headrace
from headrace.blocks import Job, Task, Action

with Job(title="", serialsubtasks=True) as a_job:
    with Task(title="Preparing a source video"):
        Action("youtube-dl https://www.youtube.com/watch?v=BI23U7U2aUY -o storytelling.mp4")
    with Task("Transcoding"):
        with Task("Transcoding to profile #0"):
            Action("ffmpeg -loglevel fatal -y -i storytelling.mp4 -c:v libx264 -b:v 128k -c:a copy -f mp4 output_0.mp4")
        with Task("Transcoding to profile #1"):
            Action("ffmpeg -loglevel fatal -y -i storytelling.mp4 -c:v libx264 -b:v 250k -c:a copy -f mp4 /dev/null")
        with Task("Transcoding to profile #2, audio only"):
            Action("ffmpeg -loglevel fatal -y -i storytelling.mp4 -vn -c:a libfdk_aac -b:a 96k output_2.mp4")

headrace.submit(a_job)
"""


def loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("blocks")
    daemons = loaded(ACCEPTANCE, "blocks_acceptance").Daemons(folder)
    (folder / "workers.py").write_text(WORKERS)
    try:
        daemons.start("up")
        with daemons.manager() as manager:
            daemons.until(
                lambda: any("encode" in broker["workers"] for broker in manager.cluster()["brokers"]),
                what="a Broker has the roles",
            )
        yield daemons
    finally:
        daemons.stop()


@pytest.fixture
def address(daemons: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in daemons.env().items():
        if name.startswith("HEADRACE_"):
            monkeypatch.setenv(name, value)


def ended(daemons: Any, run: str) -> Any:
    with daemons.manager() as manager:
        manager.wait(run, 60)
        status = manager.status(run)
        status.results  # noqa: B018  read while the manager is there
        return status


def written(daemons: Any, run: str) -> dict[str, str]:
    """What each job has printed."""
    shown = json.loads(daemons.command("logs", run, "--json").stdout)
    return {one["job"]: one["text"] for one in shown["logs"]}


@pytest.mark.usefixtures("address")
def test_the_first_job_of_the_readme_runs(daemons: Any) -> None:
    names: dict[str, Any] = {}
    exec(compile(ECHO_JOB, "job.py", "exec"), names)
    run = headrace.submit(names["a_job"])
    status = ended(daemons, run)
    assert status.state == "success"
    assert written(daemons, run) == {
        "Task #1/Action1": "[Task #1] Let's initiate something here first.\n",
        "Task #2/Task #2.1/Action1": "[Task #2.1] Do something here. $(sleep)\n",
        "Task #2/Task #2.1/Action2": "[Task #2.1] Another action here at $(date).\n",
        "Task #2/Task #2.2/Action1": "[Task #2.2] Do something here. $(sleep)\n",
        "Task #2/Task #2.2/Action2": "[Task #2.2] Another action here at $(date).\n",
        "Task #3/Action1": "All is done!\n",
    }
    exec(compile(SUBMIT, "submit.py", "exec"), names)
    with daemons.manager() as manager:
        assert [one.title for one in manager.list()[:2]] == ["Echo Job", "Echo Job"]


@pytest.mark.usefixtures("address")
def test_the_second_job_of_the_readme_prints_its_commands_one_after_the_other(daemons: Any) -> None:
    exec(compile(VIDEO_JOB, "job.py", "exec"), {})
    with daemons.manager() as manager:
        newest = manager.list()[0]
    assert newest.title == ""
    status = ended(daemons, newest.id)
    assert status.state == "success"
    assert list(status.states) == [
        "Preparing a source video/Action1",
        "Transcoding/Transcoding to profile #0/Action1",
        "Transcoding/Transcoding to profile #1/Action1",
        "Transcoding/Transcoding to profile #2, audio only/Action1",
    ]
    assert written(daemons, newest.id)["Preparing a source video/Action1"].startswith("youtube-dl https://www.you")


def test_a_job_file_is_submitted_and_a_role_makes_its_texts_commands(daemons: Any) -> None:
    job = {"Job": {"title": "", "children": [{"Action": {"input": "echo $((6 * 7))"}}]}}
    (daemons.folder / "a_job_script.json").write_text(json.dumps(job))
    shown = daemons.command("submit", "-j", "a_job_script.json", "--role", "cmd", "--wait", "--json")
    assert shown.returncode == 0, shown.stderr
    with daemons.manager() as manager:
        assert manager.results(manager.list()[0].id) == {"Action1": 42}


@pytest.mark.usefixtures("address")
def test_roles_run_where_they_are_served(daemons: Any) -> None:
    with Job("film") as job:
        Action(_role="encode", source="a.mov", crf=30)
        Action("echo 7", _role="shell")
        Action(argv=["sh", "-c", "echo 8"])
    status = ended(daemons, headrace.submit(job, priority=7))
    assert status.results == {"Action1": "a.mov at 30", "Action2": 7, "Action3": 8}


@pytest.mark.usefixtures("address")
def test_tries_and_handlers_on_a_cluster_are_those_of_a_local_run(daemons: Any, tmp_path: Path) -> None:
    def build(folder: Path) -> Job:
        folder.mkdir()
        with Job("j", _role="note") as job:
            with Task("t"):
                Action(what="work", folder=str(folder))
                Action(_role="broken", what="trouble", folder=str(folder))
                Action(what="mend", folder=str(folder), _whenerror=True)
                Action(what="never", folder=str(folder))
            Action(what="tell", folder=str(folder), _whenerror=True)
        return job

    far, near = build(tmp_path / "far"), build(tmp_path / "near")
    there = ended(daemons, headrace.submit(far))
    here = near.run(loaded(daemons.folder / "workers.py", "workers"))
    for status, folder in ((there, tmp_path / "far"), (here, tmp_path / "near")):
        notes = (folder / "notes").read_text().split()
        assert notes[:4] == ["work", "trouble", "trouble", "trouble"]
        assert sorted(notes[4:]) == ["mend", "tell"]
        assert (status.state, status.error.job) == ("failed", "t/Action2")
        assert status.error.reason == "ValueError: trouble went wrong"
    assert there.states == here.states == {"t/Action1": "success", "t/Action2": "failed", "t/Action4": "cancelled"}


@pytest.mark.usefixtures("address")
def test_inputs_that_a_saver_has_taken_are_loaded_by_the_broker(daemons: Any, tmp_path: Path) -> None:
    inputs = InputHandler("local")

    @inputs.saver("local")
    def save(data: Any, genealogy: tuple[str, ...]) -> str:
        path = tmp_path / "__".join(genealogy)
        path.write_text(json.dumps(data))
        return str(path)

    with Job("film") as job, Task("scenes"):
        Action(_role="encode", source="x" * 1_000_000)
    run = headrace.submit(job, inputs=inputs)
    assert ended(daemons, run).results == {"scenes/Action1": "xxxxxxxxxx at 23"}
    assert os.listdir(tmp_path) == ["film__scenes__Action1"]


@pytest.mark.usefixtures("address")
def test_a_job_may_be_submitted_paused(daemons: Any) -> None:
    with Job("paused", _paused=True) as job:
        Action("x")
    run = headrace.submit(job)
    with daemons.manager() as manager:
        assert "it is paused" in str(manager.explain(run))
        manager.resume(run)
    assert ended(daemons, run).state == "success"
