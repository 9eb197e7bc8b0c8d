"""The wheel, as a user gets it: built, installed into a fresh environment, used from a folder that is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WORKERS = """
from headrace import Worker


class Count(Worker):
    requires = ["text"]

    def process(self, data):
        return {"number": len(data["text"].split())}
"""
STORES = """
import json
import os


class Notes:
    def __init__(self, folder):
        self.folder = folder

    def retrieve(self, info):
        return {key: info["data"][key] for key in info["worker_requires"]}

    def save(self, info):
        with open(os.path.join(self.folder, info["worker"] + ".json"), "w") as file:
            json.dump(info["worker_result"], file)
"""
PIPELINE = """
from headrace import Job, Pipeline

pipeline = Pipeline({Job("Count"): None}, data={"text": "the water turns the wheel"})
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(line, check=True, timeout=120)
    (built,) = folder.glob("headrace-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, timeout=300)
    return folder / "bin"


def test_the_wheel_holds_all_folders_under_one_name_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"headrace"}
    sources = {
        path.relative_to(ROOT)
        for top in ("pipeline", "daemons", "stores", "workers")
        for path in (ROOT / top).rglob("*.py")
    }
    assert {f"headrace/{path}" for path in sources} <= set(names)
    assert "headrace/py.typed" in names


def test_it_is_used_from_a_folder_with_its_own_workers_and_stores(installed: Path, tmp_path: Path) -> None:
    for name, text in (("workers.py", WORKERS), ("stores.py", STORES), ("flow.py", PIPELINE)):
        (tmp_path / name).write_text(text)
    api, broadcast = f"ipc://{tmp_path}/api", f"ipc://{tmp_path}/broadcast"
    environment = {"PATH": f"{installed}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    environment |= {"HEADRACE_API": api, "HEADRACE_BROADCAST": broadcast}

    def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [installed / "headrace", *arguments]
        return subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
        )

    config = json.dumps({"folder": str(tmp_path)})
    line = [installed / "headrace", "up", "--data", "data", "--processes", "1", "--store", "stores:Notes"]
    with subprocess.Popen(
        [*line, "--store-config", config], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as up:
        try:
            assert up.stdout is not None
            assert any(one.startswith("ready") for one in up.stdout)
            run = headrace("submit", "flow.py", "--wait").stdout.split()[0]
            assert json.loads((tmp_path / "Count.json").read_text()) == {"number": 5}
            told = json.loads(headrace("show", run, "--json").stdout)
            assert (told["version"], told["run"]["state"]) == (1, "success")
            assert "{'number': 5}" in headrace("results", run).stdout
        finally:
            up.terminate()
    seen = subprocess.run(
        [installed / "python", "-c", "import workers, headrace; print(workers.__file__, headrace.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    ours, theirs = seen.stdout.split()
    assert Path(ours).parent == tmp_path and installed.parent in Path(theirs).parents
