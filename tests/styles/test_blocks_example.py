"""The example of blocks does what its README says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "acceptance" / "test_examples.py"
PICTURES = {
    f"Scenes/{scene}/Action{number + 1}": {"file": f"pictures/{scene}-{number}.txt", "width": 8}
    for scene in ("mill", "river")
    for number in range(3)
}
FILM = {"Action1": None, **PICTURES, "Cut/Action1": None, "Cut/Action2": 6, "Cut/Action3": None}


def acceptance() -> ModuleType:
    spec = importlib.util.spec_from_file_location("blocks_example", EXAMPLES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def terminal(tmp_path: Path) -> Any:
    return acceptance().Terminal("blocks", tmp_path)


def test_the_film_is_checked_and_run_in_one_process(terminal: Any) -> None:
    assert terminal.headrace("check", "film.py").endswith("Job: 10 jobs, no warnings\n")
    assert not (terminal.folder / "pictures").exists()
    run = terminal.json("run", "film.py")["run"]
    assert (run["state"], run["results"]) == ("success", FILM)
    short = terminal.json("run", "film.toml")["run"]["results"]
    assert short["Action2"] == {"stdout": "|#||#||#\n~~~~~~~~\n"}


def test_the_film_runs_on_a_cluster_from_its_job_file(terminal: Any) -> None:
    (terminal.folder / "film.json").write_text(terminal.run(sys.executable, "film.py"))
    module = acceptance()
    with terminal.background(module.HEADRACE, "up", "--processes", "2", until="ready: "):
        terminal.headrace("submit", "-j", "film.json", "--wait")
        terminal.headrace("submit", "film.toml", "--wait")
        short, film = terminal.json("list")["runs"]
        assert (film["title"], film["state"], short["title"]) == ("Film", "success", "Short film")
        assert terminal.json("results", film["id"])["results"] == FILM
        assert "The film is ready." in terminal.headrace("logs", film["id"])
