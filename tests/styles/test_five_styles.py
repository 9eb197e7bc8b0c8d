"""One suite for all styles: the same graph in each of them is the same model, drawing, states and results, everywhere.

Every job of a graph makes a text of its own name and the texts of the jobs before it: `D(B(A),C(A))`. Where a style
hands results over, they come that way; blocks and Alfred scripts know literal inputs only, and use files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace import alfscript, jobmap
from headrace.blocks import Action, Instance, Job, Task
from headrace.pipeline.loading import as_pipeline, find

ACCEPTANCE = Path(__file__).parents[1] / "acceptance" / "conftest.py"
Graph = Mapping[str, tuple[str, ...]]
"""The jobs before each job. One of them comes after all others."""

CHAIN: Graph = {"A": (), "B": ("A",), "C": ("B",)}
DIAMOND: Graph = {"A": (), "B": ("A",), "C": ("A",), "D": ("B", "C")}
STAGES: Graph = {"A": (), "B": (), "C": ("A", "B"), "D": ("A", "B"), "E": ("C", "D")}
LADDER: Graph = {"A": (), "B": ("A",), "C": ("A", "B"), "D": ("B", "C"), "E": ("A", "D")}
GRAPHS = {"chain": CHAIN, "diamond": DIAMOND, "stages": STAGES, "ladder": LADDER}

WORKERS = """
from pathlib import Path

from headrace import current, worker
from headrace.blocks import role
from headrace.steps import Step


def told(name, texts, failing=""):
    if name == failing:
        raise ValueError(f"{name} is broken")
    return f"{name}({','.join(texts)})" if texts else name


@worker
def join_values(*texts, failing=""):
    return told(current().job, texts)


@worker
def break_down(*texts):
    raise ValueError(f"{current().job} is broken")


@role("join_files")
def join_files(folder, name, after, failing=""):
    text = told(name, [Path(folder, one).read_text() for one in after], failing)
    Path(folder, name).write_text(text)
    return text


class JoinStep(Step):
    failing = ""

    def run(self, *texts):
        return told(str(self), texts, self.failing)
"""
TASKS = """
def join(name, failing):
    def run(data):
        several = data if isinstance(data, list) else [data]
        texts = [one["text"] for one in several if "text" in one]
        if name == failing:
            raise ValueError(f"{name} is broken")
        return {"text": f"{name}({','.join(texts)})" if texts else name}

    return run
"""
DEFINITION = {
    "name": "join",
    "consumes": ["map", "list[map]"],
    "produces": ["map"],
    "init_args": [{"name": name, "type": "string", "required": True} for name in ("name", "failing")],
    "returns": "dict",
    "description": "Puts a name before texts.",
}


# The same graph, five times -------------------------------------------------------------------------------------------


def as_graph(graph: Graph, folder: Path, failing: str = "") -> Any:
    jobs = {
        name: headrace.Job("break_down" if name == failing else "join_values", name=name, bind="args") for name in graph
    }
    edges = [(jobs[one], jobs[name]) for name, after in graph.items() for one in after]
    return headrace.Pipeline([*edges, *((jobs[name], None) for name in graph)], title="graph")


def as_blocks(graph: Graph, folder: Path, failing: str = "") -> Any:
    files = made(folder / "blocks")
    with Job("graph", parallel=True, _retry=1) as job:
        for name, after in graph.items():
            with Task(f"task {name}"):
                for one in after:
                    Instance(f"task {one}")
                Action(_role="join_files", _name=name, folder=files, name=name, after=after, failing=failing)
    return job


def as_job_file(graph: Graph, folder: Path, failing: str = "") -> Any:
    path = folder / "graph-blocks.json"
    path.write_text(json.dumps(as_blocks(graph, folder, failing)))
    return find(path)


def as_alfred(graph: Graph, folder: Path, failing: str = "") -> Any:
    files = made(folder / "alfred")
    tasks = []
    for name, after in graph.items():
        text = f"echo '{name} is broken' >&2; exit 1" if name == failing else joining(name, after)
        before = " ".join(f"Instance {{{one}}}" for one in after)
        tasks.append(f"Task {{{name}}} -subtasks {{{before}}} -cmds {{ RemoteCmd {{sh -c {{cd {files}; {text}}}}} }}")
    script = "Job -title {graph} -subtasks {\n" + "\n".join(tasks) + "\n}\n"
    (folder / "graph.alf").write_text(script)
    return alfscript.load(folder / "graph.alf")


def joining(name: str, after: tuple[str, ...]) -> str:
    """Shell text; without `$(...)`, which would be a variable's business."""
    if not after:
        return f"printf {name} > {name}; cat {name}"
    parts = "; printf ,; ".join(f"cat {one}" for one in after)
    return f"(printf '{name}('; {parts}; printf ')') > {name}; cat {name}"


def as_steps(graph: Graph, folder: Path, failing: str = "") -> Any:
    module = sys.modules["five_workers"]
    steps: dict[str, Any] = {}
    for name, after in graph.items():
        steps[name] = module.JoinStep(depends_on=[steps[one] for one in after], name_alias=name)
        steps[name].failing = failing
    return steps[last(graph)]


def as_map(graph: Graph, folder: Path, failing: str = "") -> Any:
    functions = [
        {
            "name": name,
            "type": "function",
            "namespace": "five_words",
            "method": "join",
            "consumes": "list[map]" if len(after) > 1 else "map",
            "produces": "map",
            "init_args": {"name": name, "failing": failing},
            **({"aggregate": "all"} if len(after) > 1 else {}),
        }
        for name, after in graph.items()
    ]
    edges = [[one, name] for name, after in graph.items() for one in after or ("in",)]
    document = {
        "name": "graph",
        "datasource": {"source": "direct", "content": {"begin": True}},
        "tasks": [{"name": "in", "type": "input"}, *functions, {"name": "out", "type": "output"}],
        "workflow": [*edges, [last(graph), "out"]],
    }
    path = folder / "graph-map.json"
    path.write_text(json.dumps(document))
    return jobmap.load(path)


STYLES: dict[str, Callable[..., Any]] = {
    "graph": as_graph,
    "blocks": as_blocks,
    "job file": as_job_file,
    "alfred": as_alfred,
    "steps": as_steps,
    "job map": as_map,
}


def made(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return str(folder)


def last(graph: Graph) -> str:
    return list(graph)[-1]


def text_of(graph: Graph, name: str) -> str:
    texts = [text_of(graph, one) for one in graph[name]]
    return f"{name}({','.join(texts)})" if texts else name


# What is compared -----------------------------------------------------------------------------------------------------


def plain(name: str) -> str:
    """A job's name without what a style puts around it."""
    return name.removesuffix("/Action1")


def drawn(pipeline: headrace.Pipeline) -> dict[str, set[str]]:
    """The DOT text as jobs and those right before them; what does no work itself is looked through."""
    above: dict[str, set[str]] = {}
    for source, target in re.findall(r'^    "(.+?)" -> "(.+?)";$', str(pipeline), re.MULTILINE):
        if target != "(None)":
            above.setdefault(target, set()).add(source)
    works = {job.name for job in pipeline.jobs if job.kind != "gate" and job.name not in ("in", "out")}

    def before(name: str) -> set[str]:
        return {
            one
            for source in above.get(name, ())
            for one in ({source} if source in works else before(source) if source != "in" else ())
        }

    return {plain(name): set(map(plain, before(name))) for name in works}


def texts_of(results: Mapping[str, Any]) -> dict[str, str]:
    """What each job has returned, as the text that it stands for."""
    found = {}
    for name, result in results.items():
        if name not in ("in", "out"):
            found[plain(name)] = (result.get("text") or result["stdout"]) if isinstance(result, dict) else result
    return found


def states_of(states: Mapping[str, str]) -> dict[str, str]:
    """What never ran is skipped under one policy and cancelled under the other."""
    return {
        plain(name): "not run" if state in ("skipped", "cancelled") else state
        for name, state in states.items()
        if name not in ("in", "out")
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder, with workers and a namespace, which is the current one."""
    folder = tmp_path_factory.mktemp("five")
    (folder / "five_workers.py").write_text(WORKERS)
    (folder / "five_words").mkdir()
    (folder / "five_words" / "tasks.py").write_text(TASKS)
    (folder / "five_words" / "join.json").write_text(json.dumps(DEFINITION))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        importlib.import_module("five_workers")
        yield folder
    del sys.modules["five_workers"]


def random_graph(seed: int) -> Graph:
    dice = random.Random(seed)
    graph: dict[str, tuple[str, ...]] = {}
    for at in range(dice.randint(1, 7)):
        graph[f"J{at}"] = tuple(sorted(dice.sample(sorted(graph), min(len(graph), dice.randint(0, 3)))))
    ends = tuple(name for name in graph if not any(name in after for after in graph.values()))
    return {**graph, "end": ends}


# In this process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shape", GRAPHS)
def test_the_same_graph_is_the_same_model_drawing_states_and_results(folder: Path, shape: str, style: str) -> None:
    graph = GRAPHS[shape]
    pipeline = as_pipeline(STYLES[style](graph, folder))
    assert drawn(pipeline) == {name: set(after) for name, after in graph.items()}
    run = pipeline.run(workers="five_workers")
    assert run.state == "success", run.error
    assert texts_of(run.results) == {name: text_of(graph, name) for name in graph}
    assert states_of(run.states) == dict.fromkeys(graph, "success")


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_are_the_same_in_every_style(folder: Path, seed: int) -> None:
    graph = random_graph(seed)
    for write in STYLES.values():
        pipeline = as_pipeline(write(graph, folder))
        assert drawn(pipeline) == {name: set(after) for name, after in graph.items()}
        run = pipeline.run(workers="five_workers")
        assert texts_of(run.results) == {name: text_of(graph, name) for name in graph}


@pytest.mark.parametrize("style", STYLES)
def test_a_failure_in_the_middle_ends_every_style_alike(folder: Path, style: str) -> None:
    run = as_pipeline(STYLES[style](CHAIN, folder, "B")).run(workers="five_workers")
    check_failure(run)


def check_failure(run: Any) -> None:
    assert run.state == "failed"
    assert states_of(run.states) == {"A": "success", "B": "failed", "C": "not run"}
    assert plain(run.error.job) == "B" and run.error.path == ()
    assert "B is broken" in run.error.reason


@pytest.mark.parametrize("style", STYLES)
def test_a_compiled_form_is_the_pipeline_again(folder: Path, style: str) -> None:
    pipeline = as_pipeline(STYLES[style](DIAMOND, folder))
    again = headrace.Pipeline.from_dict(json.loads(json.dumps(pipeline.to_dict())))
    assert str(again) == str(pipeline) and again.definition() == pipeline.definition()


# On a cluster ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("five_styles_daemons", ACCEPTANCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.in_folder(folder) as daemons:
        daemons.start("up", "--workers", "five_workers")
        daemons.joined()
        yield daemons


@pytest.mark.parametrize("shape", GRAPHS)
def test_every_style_gives_on_a_cluster_what_it_gives_here(cluster: Any, folder: Path, shape: str) -> None:
    """Each is given to a manager as it is written; but a job file, which would write the same files as the blocks."""
    graph = GRAPHS[shape]
    with cluster.manager() as manager:
        runs = {style: manager.start(write(graph, folder)) for style, write in STYLES.items() if style != "job file"}
        ended = {style: manager.wait(run, 60) for style, run in runs.items()}
        for style, run in ended.items():
            assert run.state == "success", (style, run.error)
            assert texts_of(run.results) == {name: text_of(graph, name) for name in graph}, style
            assert states_of(run.states) == dict.fromkeys(graph, "success"), style


def test_a_failure_on_a_cluster_is_what_it_is_here(cluster: Any, folder: Path) -> None:
    with cluster.manager() as manager:
        for run in [manager.start(write(CHAIN, folder, "B")) for write in STYLES.values()]:
            check_failure(manager.wait(run, 60))


def test_a_step_materializes_on_the_cluster_to_what_it_is_here(cluster: Any, folder: Path) -> None:
    with cluster.manager() as manager:
        there = as_steps(LADDER, folder).materialize(manager, timeout=60)
    assert there == as_steps(LADDER, folder).materialize() == text_of(LADDER, "E")


JOBS = """
from headrace import Job, Pipeline

A, B, C, D = (Job("join_values", name=name, bind="args") for name in "ABCD")
graph = Pipeline({A: [B, C], (B, C): D})
"""
STEPS = """
from five_workers import JoinStep

A = JoinStep(name_alias="A")
B, C = (JoinStep(depends_on=A, name_alias=name) for name in "BC")
D = JoinStep(depends_on=[B, C], name_alias="D")
"""


@pytest.mark.parametrize("style", ["graph", "blocks", "alfred", "steps", "job map"])
def test_the_commands_take_every_style_by_its_content(cluster: Any, folder: Path, style: str) -> None:
    """Where there is no ending to go by, too."""
    name = {"graph": "graph_jobs.py", "steps": "graph_steps.py"}.get(style, f"graph {style}.txt")
    if style in ("graph", "steps"):
        (folder / name).write_text(JOBS if style == "graph" else STEPS)
    else:
        STYLES["job file" if style == "blocks" else style](DIAMOND, folder)
        written = {"blocks": "graph-blocks.json", "alfred": "graph.alf", "job map": "graph-map.json"}[style]
        os.replace(folder / written, folder / name)
    checked = json.loads(succeeds(cluster, "check", name, "--json"))["jobs"]
    assert {plain(one["job"]) for one in checked} - {"in", "out"} == set(DIAMOND)
    assert succeeds(cluster, "dot", name).startswith("digraph graphname {\n")
    here = json.loads(succeeds(cluster, "run", name, "--workers", "five_workers", "--json"))["run"]
    assert texts_of(here["results"])["D"] == "D(B(A),C(A))"
    run = succeeds(cluster, "submit", name, "--wait").split()[0]
    there = json.loads(succeeds(cluster, "results", run, "--json"))["results"]
    assert texts_of(there) == texts_of(here["results"])


def succeeds(cluster: Any, *arguments: str) -> str:
    done = cluster.command(*arguments)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return str(done.stdout)
