"""The example of Alfred scripts does what its README says, here and on a cluster."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from headrace.alfscript import load

ROOT = Path(__file__).parents[2]
PICTURES = "".join(f"picture {number} of Mill\n" for number in range(1, 6))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "example" / "alfred", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def daemons_in(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("alf_example", ROOT / "tests" / "acceptance" / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Daemons(folder)


def test_both_scripts_read_without_a_warning(here: Path) -> None:
    assert [load(here / name).warnings for name in ("film.alf", "scenes.alf")] == [(), ()]


def test_the_film_is_drawn_and_cleaned_up(here: Path) -> None:
    run = load("film.alf").run()
    assert (run.state, run.results["Cut/Action1"]) == ("success", {"stdout": PICTURES})
    assert not (here / "pictures").exists()


def test_scenes_come_into_the_run_before_the_premiere(here: Path) -> None:
    run = load("scenes.alf").run()
    assert run.state == "success"
    assert run.results["Scenes/Action1"] == {"tasks": ["Scene 1", "Scene 2", "Scene 3"]}
    assert run.results["Scenes/Action1/Scene 2/Action1"] == {"stdout": "scene 2 is shot\n"}


def test_the_film_is_drawn_on_a_cluster_under_its_limit(here: Path) -> None:
    daemons = daemons_in(here)
    try:
        daemons.start("up", "--limits", "brush:2")
        with daemons.manager() as manager:
            daemons.until(lambda: manager.cluster()["brokers"], what="a Broker is there")
            done = daemons.command("submit", "-a", "film.alf", "--wait")
            assert done.returncode == 0, done.stdout + done.stderr
            (run,) = manager.list()
            assert manager.results(run.id)["Cut/Action1"] == {"stdout": PICTURES}
    finally:
        daemons.stop()
