"""`headrace check`, and the flags that name a file of one style."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.blocks import Action, Job, Task, dumps
from headrace.daemons.cli import commands


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with Job("Film") as job:
        Action("echo begin")
        with Task("Scenes", parallel=True, _role="encode"):
            Action(source="a.mov")
            Action(argv=["ls", "-l"])
            Action("mend", _whenerror=True)
        Task("End", cmds=[{"Action": {"argv": ["ls", "x" * 200], "_role": "Linux && !Slow"}}])
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "film.json"
    file.write_text(dumps(job))
    return file


def run(*arguments: str) -> int:
    return int(commands.main(list(arguments), standalone_mode=False))


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(*arguments) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_check_prints_the_tree_and_the_plan(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "check", "film.json").splitlines()
    assert lines[:7] == [
        "Job 'Film' (serial)",
        "  Action echo begin",
        "  Task 'Scenes' (parallel)",
        "    Action source='a.mov'",
        "    Action ls -l",
        "    Action on error: mend",
        "  Task 'End'",
    ]
    assert lines[7].startswith("    Action [Linux && !Slow] ls xxx")
    assert len(lines[7]) == 100
    assert lines[-1] == "Job: 4 jobs, no warnings"


def test_check_tells_programs_in_json(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, Any] = json.loads(said(capsys, "check", "-j", "film.json", "--role", "cmd", "--json"))
    assert (told["kind"], told["warnings"]) == ("Job", [])
    assert told["jobs"][:2] == [
        {"job": "Action1", "runs": "worker cmd", "role": "cmd", "after": []},
        {"job": "Scenes/Action1", "runs": "worker encode", "role": "encode", "after": ["Action1"]},
    ]


def test_check_takes_every_style(tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.py").write_text(
        "from headrace import Job, Pipeline\np = Pipeline({Job('A'): [Job('B'), Job('C')]})\n"
    )
    (tmp_path / "s.py").write_text(
        "from headrace.steps import Step\nclass A(Step):\n    def run(self):\n        return 1\na = A()\n"
    )
    (tmp_path / "job.alf").write_text("##AlfredToDo 3.0\nJob -title {j} -subtasks { Task {t} -cmds { Cmd {ls} } }\n")
    assert "Pipeline: 3 jobs, no warnings" in said(capsys, "check", "p.py")
    told = said(capsys, "check", "s.py")
    assert told.splitlines()[2] == " [x] (H) A" and "Step: 1 job, no warnings" in told
    assert "command ls" in said(capsys, "check", "-a", "job.alf")


def test_check_shows_what_runs_in_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ends.alf").write_text(
        "Job -title {j} -cmds { Cmd {ls} } -cleanup { Cmd {rm x} }"
        " -postscript { Cmd {mail} -when error } -whendone {ok}"
    )
    told = said(capsys, "check", str(tmp_path / "ends.alf"))
    lines = ["  Action ls", "  Action in the end: rm x", "  Action on error: mail", "  Action when done: ok"]
    assert told.splitlines()[1:5] == lines


def test_check_takes_a_single_command_without_its_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.py").write_text("from headrace.blocks import *\njob = Job('x', cmds=Action(argv=['ls']))\n")
    assert "  Action ls\n" in said(capsys, "check", str(tmp_path / "one.py"))


def test_what_is_wrong_is_said_with_the_file_and_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text(
        '{"Job": {"title": "j", "children": [{"Task": {"title": "t", "children": [7]}}]}}'
    )
    problem = said(capsys, "check", "bad.json", code=2)
    assert "bad.json: Job.children[0].Task.children[0]: must be" in problem


@pytest.mark.parametrize(
    "arguments", [["check"], ["check", "film.json", "-j", "film.json"], ["run", "-j", "a", "-m", "b"]]
)
def test_one_pipeline_has_to_be_named(film: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert "name one pipeline: FILE|FILE.py:NAME|MODULE:NAME, or -j FILE" in said(capsys, *arguments, code=2)


def test_a_role_makes_texts_of_a_job_file_commands(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film.write_text('{"Job": {"title": "j", "children": [{"Action": {"input": "echo $((6 * 7))"}}]}}')
    assert json.loads(said(capsys, "run", "-j", "film.json", "--role", "cmd", "--json"))["run"]["results"] == {
        "Action1": 42
    }
