"""A run in this process takes from the user's module `workers` what a Broker takes from it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.blocks import Action, Job, Task, role

WORKERS = """
import json
from headrace.blocks import InputHandler, role

inputs = InputHandler("folder")


@inputs.saver("folder")
def save(data, genealogy):
    path = "__".join(genealogy) + ".json"
    with open(path, "w") as file:
        json.dump(data, file)
    return path


@inputs.loader("folder")
def load(path):
    with open(path) as file:
        return json.load(file)


@role("echo")
def echo(msg):
    return f"own: {msg}"


@role("encode")
def encode(source):
    return source.upper()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "workers.py").write_text(WORKERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("workers", None)
    yield tmp_path
    sys.modules.pop("workers", None)


def shout() -> Job:
    with Job("Shout") as job:
        Action(msg="hello")
        with Task("Encode"):
            Action(_role="encode", source="a.mov")
    return job


def test_its_function_for_a_built_in_role_goes_before_ours(here: Path) -> None:
    run = shout().run()
    assert run.results == {"Action1": "own: hello", "Encode/Action1": "A.MOV"}


def test_an_input_that_its_function_does_not_take_fails_the_action(here: Path) -> None:
    with Job("Wrong") as job:
        Action(_role="echo", wrong_input="hello", _retry=1)
    run = job.run()
    assert run.state == "failed" and run.error is not None
    assert "got an unexpected keyword argument 'wrong_input'" in run.error.reason


def test_its_loaders_load_what_a_saver_has_taken(here: Path) -> None:
    inputs = importlib.import_module("workers").inputs
    run = shout().to_pipeline(inputs=inputs).run()
    assert run.results == {"Action1": "own: hello", "Encode/Action1": "A.MOV"}
    assert (here / "Shout__Encode__Action1.json").exists()


def test_what_the_caller_gives_goes_before_the_module(here: Path) -> None:
    @role("echo")
    def mine(msg: str) -> str:
        return f"given: {msg}"

    assert shout().run(workers=[mine]).results == {"Action1": "given: hello", "Encode/Action1": "A.MOV"}


def test_a_run_that_needs_nothing_of_the_module_does_not_import_it(here: Path) -> None:
    (here / "workers.py").write_text("raise RuntimeError('nobody needs this')")

    @role("plain")
    def plain(text: str) -> str:
        return text

    with Job("Plain") as job:
        Action(_role="plain", text="hello")
    assert job.run(workers=[plain]).results == {"Action1": "hello"}
    assert "workers" not in sys.modules
