"""example/mongodb does what its README says, on real daemons and a real MongoDB."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.stores import MongoStore

EXAMPLE = Path(__file__).parents[2] / "example" / "mongodb"
HEADRACE = Path(sysconfig.get_path("scripts"), "headrace")


@pytest.fixture
def folder(tmp_path: Path, mongo_port: int) -> Path:
    """A copy of the example whose configuration names the MongoDB of this test."""
    copy = shutil.copytree(EXAMPLE, tmp_path / "mongodb", ignore=shutil.ignore_patterns("__pycache__"))
    configuration = copy / "headrace.toml"
    text = configuration.read_text()
    text = text.replace("27017", str(mongo_port)).replace("monitoring-interval = 60", "monitoring-interval = 0.2")
    configuration.write_text(text)
    return copy


@pytest.fixture
def cluster(folder: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """`headrace up` in that folder; the environment that finds it."""
    addresses = {name: f"ipc://{tmp_path / name.lower()}" for name in ("HEADRACE_API", "HEADRACE_BROADCAST")}
    environment = {**os.environ, **addresses}
    command = [HEADRACE, "up", "--data", tmp_path / "data", "--processes", "1"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        said = []
        for line in up.stdout:
            said.append(line)
            if line.startswith("ready"):
                break
        else:
            pytest.fail(f"headrace up has ended: {''.join(said)}")
        yield environment
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 0


def test_the_example_prints_its_reports_and_leaves_results_and_monitoring(
    folder: Path, cluster: dict[str, str], mongo_port: int
) -> None:
    command = [sys.executable, "send_pipelines.py"]
    ended = subprocess.run(command, cwd=folder, env=cluster, capture_output=True, text=True, timeout=90)
    assert (ended.stdout, ended.stderr) == (
        "rose: 8 words, most of all a (3), rose (3), is (2)\nsea: 14 words, most of all the (6), sea (3), open (1)\n",
        "",
    )
    store = MongoStore(port=mongo_port, database="headrace_example")
    assert {saved.job for saved in store.results("rose")} == {"CountWords", "Report"}
    while not store.monitoring():  # the test's own time limit ends a wait in vain
        continue
    assert store.monitoring()[0]["processes"][0]["type"] == "broker"
    store.close()
