"""Every example of the reference of options is true: in this process, and on a cluster; and none is missing."""

from __future__ import annotations

import datetime
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import headrace
from headrace import Gather, Job, Pipeline, PipelineManager, Retry
from headrace.pipeline.group import Group

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "options.md"
TEXT = PAGE.read_text("utf-8").replace("\\|", "|")
WORKERS = re.search(r"```python\n(# workers\.py\n.*?)```", TEXT, re.DOTALL)
ROW = re.compile(
    r"^\| `(?P<name>[^`]+)` \|.* `(?P<code>[^`]+)`(?P<mark> \([\w ]+\))?<br>→ `(?P<claim>[^`]+)` \|(?P<rest>.*)$"
)


class Shown(NamedTuple):
    name: str
    code: str
    claim: str
    mark: str
    twin: str | None

    @property
    def is_verb(self) -> bool:
        return self.code.startswith(("manager.", "list(manager.", "PipelineManager"))


def shown() -> list[Shown]:
    found = [row for line in TEXT.splitlines() if (row := ROW.match(line)) is not None]
    return [
        Shown(
            row["name"], row["code"], row["claim"], (row["mark"] or "").strip(" ()"), row["rest"].strip(" |`") or None
        )
        for row in found
    ]


EXAMPLES = shown()
PIPELINES = [one for one in EXAMPLES if not one.is_verb and ".run(" not in one.code]
VERBS = [one for one in EXAMPLES if one.is_verb]
NAMES: dict[str, Any] = {
    **{name: getattr(headrace, name) for name in headrace.__all__},
    "Group": Group,
    "datetime": datetime.datetime,
    "timedelta": datetime.timedelta,
    "UTC": datetime.UTC,
}


def named(example: Shown) -> str:
    return re.sub(r"\W+", "-", f"{example.name} {example.code}")[:60]


def holds(example: Shown, run: Any) -> None:
    told = {name: getattr(run, name) for name in ("state", "results", "states", "error")}
    assert eval(example.claim, {**NAMES, **told}), (example.code, example.claim, told)


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The page's workers, as the module that local runs look for."""
    assert WORKERS is not None
    file = tmp_path_factory.mktemp("here") / "workers.py"
    file.write_text(WORKERS[1])
    spec = importlib.util.spec_from_file_location("workers", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "workers", module)
        patch.chdir(file.parent)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def cluster(stage: Any) -> Iterator[Any]:
    assert WORKERS is not None
    (stage.folder / "workers.py").write_text(WORKERS[1])
    (stage.folder / "pipeline.py").write_text('from headrace import *\npipeline = Pipeline({Job("one"): None})\n')
    stage.start("router", "--limits", "licence:2")
    stage.start("pipeliner")
    stage.start("broker", "--resources", "memory:64,gpu:2")
    stage.joined()
    with stage.manager() as manager:
        yield manager


@pytest.fixture
def runs(cluster: Any) -> Iterator[dict[str, str]]:
    """The ids that examples speak of."""
    done, failed = cluster.start_many([Pipeline({Job("one"): None}), Pipeline({Job("fail"): None})])
    cluster.wait(done, 60), cluster.wait(failed, 60)
    yield {"done": done, "failed": failed, "waiting": cluster.start(Pipeline({Job("one"): None}, paused=True))}
    cluster.resume(role="encode")  # an example has paused it


@pytest.mark.parametrize("example", [one for one in PIPELINES if not one.mark], ids=named)
def test_an_example_is_true_here(offered: ModuleType, example: Shown) -> None:
    holds(example, eval(example.code, dict(NAMES)).run())


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.mark == "here"], ids=named)
def test_an_example_of_a_local_run_is_true(offered: ModuleType, example: Shown) -> None:
    assert eval(example.claim, {**NAMES, "it": eval(example.code, dict(NAMES))}), example


@pytest.mark.parametrize("example", [one for one in PIPELINES if one.mark != "here"], ids=named)
def test_an_example_is_true_on_a_cluster(cluster: Any, runs: dict[str, str], example: Shown) -> None:
    pipeline = eval(example.code, {**NAMES, **runs})
    holds(example, cluster.wait(cluster.start(pipeline), 60))


@pytest.mark.parametrize("example", VERBS, ids=named)
def test_a_verb_does_what_its_example_says(cluster: Any, runs: dict[str, str], example: Shown) -> None:
    told = {**NAMES, **runs, "manager": cluster}
    assert eval(example.claim, {**told, "it": eval(example.code, told)}), example


@pytest.mark.parametrize("example", [one for one in VERBS if one.twin], ids=named)
def test_a_verb_has_its_twin_on_the_command_line(
    cluster: Any, stage: Any, runs: dict[str, str], example: Shown
) -> None:
    words = {**runs, "place": cluster.cluster()["brokers"][0]["place"]}
    program, *arguments = shlex.split(example.twin or "")
    done = stage.command(*(words.get(word, word) for word in arguments))
    assert (program, done.returncode) == ("headrace", 0), done.stdout + done.stderr


def test_every_option_every_answer_and_every_verb_has_an_example() -> None:
    names = {re.split(r"\W", one.name)[0] for one in EXAMPLES}
    wanted = {name for kind in (Job, Pipeline) for name in inspect.signature(kind).parameters}
    wanted -= {"worker", "worker_name", "graph"}
    wanted |= {field.name for kind in (Retry, Gather) for field in fields(kind)}
    wanted |= {"store", "args", "named", "item", "gather", "literal", "Choose", "Skip", "Graft", "current"}
    wanted |= {name for name in dir(PipelineManager) if not name.startswith("_")}
    counters = {"pipelines", "started_pipelines", "finished_pipelines", "finished"}
    assert wanted - counters <= names, wanted - counters - names
    assert len(EXAMPLES) > 60


def test_both_managers_have_the_verbs_of_the_page() -> None:
    for verb in {one.name for one in VERBS} - {"paused"}:
        assert hasattr(PipelineManager, verb) and hasattr(headrace.AsyncPipelineManager, verb), verb
