"""`headrace run`: a pipeline here and now, by the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEADRACE = str(Path(sys.executable).with_name("headrace"))
WORKERS = """
from headrace import worker

@worker
def Numbers():
    return {"numbers": [1, 2, 3]}

@worker
def Sum(numbers):
    return {"sum": sum(numbers)}

@worker
def Broken():
    raise ValueError("on purpose")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workers.py").write_text(WORKERS)
    (tmp_path / "flows.py").write_text(
        "from headrace import Job, Pipeline\n"
        "adding = Pipeline({Job('Numbers'): Job('Sum')})\n"
        "broken = Pipeline({Job('Broken'): Job('Sum')})\n"
    )
    return tmp_path


def run(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([HEADRACE, "run", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def test_run_prints_states_and_results(folder: Path) -> None:
    text = run(folder, "flows.py:adding").stdout
    assert [line.split()[:2] for line in text.splitlines()[1:3]] == [["Numbers", "success"], ["Sum", "success"]]
    assert "{'sum': 6}" in text
    assert "success after" in text


@pytest.mark.parametrize("processes", ["0", "2"])
def test_run_as_json_is_one_value_whatever_runs_the_jobs(folder: Path, processes: str) -> None:
    value = json.loads(run(folder, "flows.py:adding", "--processes", processes, "--json").stdout)
    assert (value["version"], value["kind"]) == (1, "run")
    assert value["run"]["results"]["Sum"] == {"sum": 6}
    assert value["run"]["states"] == {"Numbers": "success", "Sum": "success"}


def test_a_failure_is_told_by_its_reason_and_the_exit_code(folder: Path) -> None:
    assert "on purpose" in run(folder, "flows.py:broken", code=1).stdout
    value = json.loads(run(folder, "flows.py:broken", "--json", code=1).stdout)
    assert value["run"]["error"]["job"] == "Broken"


def test_a_module_without_the_workers_is_a_usage_error(folder: Path) -> None:
    run(folder, "flows.py:adding", "--workers", "nonsense", code=2)


def test_what_user_code_prints_does_not_mix_with_the_json(folder: Path) -> None:
    noisy = WORKERS.replace("    return", "    print('noise'); import os; os.system('echo more noise')\n    return")
    (folder / "workers.py").write_text(noisy)
    done = run(folder, "flows.py:adding", "--json")
    assert json.loads(done.stdout)["run"]["state"] == "success"
    assert done.stderr.count("more noise") == 2


def test_what_a_file_prints_does_not_mix_with_our_output(folder: Path) -> None:
    (folder / "loud.py").write_text("print('noise')\nfrom flows import adding\n")
    done = subprocess.run([HEADRACE, "dot", "loud.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("digraph")
    assert done.stderr == "noise\n"
