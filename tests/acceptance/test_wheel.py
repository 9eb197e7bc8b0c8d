"""The wheel: built, installed into a fresh environment, and used from a folder that has never seen the checkout.

That folder has a `workers.py` and a `stores.py` of its own; both names are folders of the checkout too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 500
"""Seconds, for pip too, which may have to load what the wheel depends on."""
pytestmark = pytest.mark.timeout(2 * PATIENCE)
WORKERS = """
from headrace import Worker

class Shout(Worker):
    requires = ["text"]

    def process(self, data):
        return {"loud": data["text"].upper()}
"""
STORES = '''
"""A StoreClass as users have it: no base class, nothing of ours imported."""
import json, os

class Drawer:
    def __init__(self, folder):
        self.folder = folder

    def _file(self, info):
        return os.path.join(self.folder, info["data"]["name"] + ".json")

    def retrieve(self, info):
        with open(self._file(info)) as file:
            found = json.load(file)
        return {key: found[key] for key in info["worker_requires"]}

    def save(self, info):
        with open(self._file(info)) as file:
            found = json.load(file)
        with open(self._file(info), "w") as file:
            json.dump({**found, **info["worker_result"]}, file)
'''
PIPELINE = """
from headrace import Job, Pipeline

pipeline = Pipeline({Job("Shout"): None}, data={"name": "letter"})
"""


def run(*line: object, folder: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in line],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (line, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout is left as it is."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in run("git", "ls-files", "-z", folder=ROOT).split("\0"):
        if name and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    line = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check")
    run(*line, "--wheel-dir", target, source, folder=target)
    (built,) = target.glob("headrace-*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, and what it depends on from where pip finds it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    run(
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        wheel,
        folder=folder,
    )
    return folder / "bin"


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.split("-")[0] for top in tops} == {"headrace"}
    packed = {name for name in names if name.endswith(".py")}
    tracked = run("git", "ls-files", "headrace", "pipeline", "daemons", "stores", "workers", folder=ROOT).split()
    expected = {
        name if name.startswith("headrace/") else f"headrace/{name}" for name in tracked if name.endswith(".py")
    }
    assert packed == expected
    assert "headrace/py.typed" in names


def test_nothing_of_it_shadows_what_is_called_workers_or_stores(binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text(WORKERS)
    (tmp_path / "stores.py").write_text(STORES)
    text = "import headrace, stores, workers; print(headrace.__file__); print(workers.__file__); print(stores.__file__)"
    package, workers, stores = run(binaries / "python", "-c", text, folder=tmp_path).split()
    assert Path(package).is_relative_to(binaries.parent)
    assert (Path(workers), Path(stores)) == (tmp_path / "workers.py", tmp_path / "stores.py")


def test_a_folder_of_the_users_own_runs_a_cluster(binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text(WORKERS)
    (tmp_path / "stores.py").write_text(STORES)
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    (tmp_path / "letter.json").write_text('{"text": "hello"}')
    (tmp_path / "headrace.toml").write_text(f'[router]\nstore-config = {{folder = "{tmp_path}"}}\n')
    headrace = binaries / "headrace"
    variables = {
        "HEADRACE_API": f"ipc://{tmp_path}/api",
        "HEADRACE_BROADCAST": f"ipc://{tmp_path}/broadcast",
        "HEADRACE_ANSWER_TIMEOUT": "60",
    }
    line = [str(headrace), "up", "--data", str(tmp_path / "data"), "--store", "stores:Drawer", "--processes", "1"]
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(line, cwd=tmp_path, env=os.environ | variables, stdout=log, stderr=log)
    try:
        run(headrace, "submit", "pipeline.py", "--wait", folder=tmp_path, **variables)
        (listed,) = json.loads(run(headrace, "list", "--json", folder=tmp_path, **variables))["runs"]
        assert listed["state"] == "success"
        assert json.loads((tmp_path / "letter.json").read_text()) == {"text": "hello", "loud": "HELLO"}
        results = run(headrace, "results", listed["id"], "--json", folder=tmp_path, **variables)
        assert json.loads(results)["results"] == {"Shout": {"loud": "HELLO"}}
        shown: dict[str, Any] = json.loads(run(headrace, "show", listed["id"], "--json", folder=tmp_path, **variables))
        assert listed["id"] in json.dumps(shown) and "Shout" in json.dumps(shown)
    finally:
        up.terminate()
        assert up.wait(60) == 0, (tmp_path / "up.log").read_text()[-3000:]
