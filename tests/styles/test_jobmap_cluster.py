"""Job maps on a real cluster: the same outputs as here, and the same failures."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace import jobmap
from headrace.jobmap import JobMapFailed

ACCEPTANCE = Path(__file__).parents[1] / "acceptance" / "conftest.py"
EXAMPLE = Path(__file__).parents[2] / "example" / "jobmap"


def _daemons(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("jobmap_acceptance", ACCEPTANCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Daemons(folder)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster that was started in a copy of the example's folder."""
    folder = tmp_path_factory.mktemp("jobmap")
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    daemons = _daemons(folder)
    (folder / "workers.py").unlink()
    try:
        daemons.start("up")
        with daemons.manager() as manager:
            daemons.until(
                lambda: any("main.example" in broker["workers"] for broker in manager.cluster()["brokers"]),
                what="a Broker serves the namespace",
            )
        yield daemons
    finally:
        daemons.stop()


@pytest.fixture
def here(daemons: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(daemons.folder)
    return daemons


@pytest.mark.parametrize("name", ["hello.json", "branching.json", "layers.json", "per_season.json"])
def test_a_map_gives_the_same_outputs_on_a_cluster_as_here(here: Any, name: str) -> None:
    with here.manager() as manager:
        assert jobmap.run(name, manager, timeout=60) == jobmap.run(name)


def test_a_submitted_map_has_its_records_as_the_results_of_its_outputs(here: Any) -> None:
    run = jobmap.submit("branching.json", api=here.api, broadcast=here.broadcast)
    assert re.fullmatch("[0-9a-f]{32}", run)
    with here.manager() as manager:
        ended = manager.wait(run, 60)
        records = [ended.results[name] for name in ("short-words", "long-lengths")]
    assert (ended.state, ended.states["long-lengths"]) == ("success", "success")
    assert records == jobmap.run("branching.json")


def test_a_map_is_submitted_from_the_command_line(here: Any) -> None:
    run = here.command("submit", "-m", "layers.json").stdout.strip()
    assert here.command("watch", run).returncode == 0
    shown = json.loads(here.command("results", run, "--job", "combined-output", "--json").stdout)
    assert shown["results"]["combined-output"] == jobmap.run("layers.json")[0]


def test_a_map_with_problems_is_refused_before_anything_is_sent(here: Any) -> None:
    document = json.loads((here.folder / "hello.json").read_text())
    document["tasks"][1]["method"] = "exmaple"
    document["tasks"][1]["init_args"] = []
    (here.folder / "bad.json").write_text(json.dumps(document))
    refused = here.command("submit", "-m", "bad.json")
    assert refused.returncode == 2
    assert "2 problems" in refused.stderr
    assert "did you mean 'example'?" in refused.stderr


def test_a_failure_on_a_cluster_has_task_branch_and_partial_outputs(here: Any) -> None:
    document = json.loads((here.folder / "layers.json").read_text())
    document["datasource"] = {"source": "direct", "content": {"seasons": ["spring", 7], "parameters": ["tmax"]}}
    with here.manager() as manager, pytest.raises(JobMapFailed) as raised:
        jobmap.run({**document, "options": {"on_error": "block"}}, manager, timeout=60)
    error = raised.value.error
    assert error is not None
    assert (error.job, error.path) == ("combine", (1, 0))
    assert error.reason.startswith("TypeError: sequence item 0: expected str")
    assert "tasks.py" in error.traceback
    assert raised.value.outputs[0]["data"] == [{"combined": "springtmax"}]


def test_the_line_of_every_run_is_in_the_logs(here: Any) -> None:
    with here.manager() as manager:
        run = jobmap.submit("layers.json", api=here.api, broadcast=here.broadcast)
        manager.wait(run, 60)
    shown = here.command("logs", run, "combine").stdout
    lines = re.findall(r"task combine (\[\d, \d\]): main\.combine_words returned a map after", shown)
    assert sorted(lines) == [f"[{season}, {parameter}]" for season in range(4) for parameter in range(3)]
