"""Job maps: the maps of the README and of the example, and what a run of any map does."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from headrace import Pipeline, jobmap
from headrace.jobmap import JobMapFailed
from headrace.pipeline.errors import ConfigError, HeadraceError, NotFound
from headrace.pipeline.loading import load

EXAMPLE = Path(__file__).parents[2] / "example" / "jobmap"
README = """
{
    "name": "Example Job",
    "datasource" : {
                    "source": "direct",
                    "content": {"input": "this is our test string input"}
                    },
    "tasks": [
                {
                    "name":"in",
                    "type":"input"
                },
                {
                    "name": "example",
                    "type": "function",
                    "method": "example",
                    "namespace": "main",
                    "consumes": "string",
                    "produces": "string",
                    "init_args": {"example_property": "This is a test!"}
                },
                {
                    "name": "out",
                    "type": "output"
                }
           ],
    "workflow": [["in", "example"],
                ["example", "out"]]
}
"""
COMBINED = [s + p for s in ("spring", "summer", "winter", "autumn") for p in ("tmax", "tmin", "precip")]

Define = Callable[..., None]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's folder as the current one."""
    folder = tmp_path / "jobmap"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Define:
    """Makes the namespace `lab` in an empty current folder: a `tasks.py`, and definitions for its methods."""
    monkeypatch.chdir(tmp_path)

    def make(code: str, *methods: str, **returns: str) -> None:
        (tmp_path / "lab").mkdir()
        (tmp_path / "lab" / "tasks.py").write_text(code)
        for method in (*methods, *returns):
            definition: dict[str, Any] = {"name": method, "consumes": ["any"], "produces": ["any"]}
            definition["init_args"] = [{"name": name, "type": "any"} for name in ("n", "key", "value")]
            if method in returns:
                definition["returns"] = returns[method]
            (tmp_path / "lab" / f"{method}.json").write_text(json.dumps(definition))

    return make


def function(name: str, method: str = "", aggregate: Any = None, **init_args: Any) -> dict[str, Any]:
    made = {"name": name, "type": "function", "method": method or name, "namespace": "lab"}
    more: dict[str, Any] = {} if aggregate is None else {"aggregate": aggregate}
    return {**made, "consumes": "any", "produces": "any", "init_args": init_args, **more}


def a_map(content: dict[str, Any], *functions: dict[str, Any], workflow: Any = None, **more: Any) -> dict[str, Any]:
    """in > functions, one after the other > out."""
    names = ["in", *(one["name"] for one in functions), "out"]
    return {
        "name": "test",
        "datasource": {"source": "direct", "content": content},
        "tasks": [{"name": "in", "type": "input"}, *functions, {"name": "out", "type": "output"}],
        "workflow": workflow or [list(pair) for pair in pairwise(names)],
        **more,
    }


def data_of(records: list[dict[str, Any]], name: str = "out") -> Any:
    return next(record["data"] for record in records if record["name"] == name)


# The README and the example ------------------------------------------------------------------------------------------


def test_the_map_of_the_readme_runs_as_printed(example: Path) -> None:
    (record,) = jobmap.run(json.loads(README))
    assert list(record) == ["id", "type", "name", "data", "parent"]
    assert record["type"] == "output"
    assert record["name"] == "out"
    assert record["data"] == [{"input": "We got: This is a test!this is our test string input"}]
    assert re.fullmatch("[A-Z0-9]{15}", record["id"])
    assert re.fullmatch("[A-Z0-9]{15}", record["parent"])
    assert record["id"] != record["parent"]


def test_the_map_of_the_readme_is_that_of_the_example(example: Path) -> None:
    assert json.loads((example / "hello.json").read_text()) == json.loads(README)
    assert jobmap.run("hello.json") == jobmap.run(json.loads(README))


def test_branches_end_in_outputs_of_their_own(example: Path) -> None:
    records = jobmap.run(example / "branching.json")
    assert [record["name"] for record in records] == ["short-words", "long-lengths"]
    assert data_of(records, "short-words") == [{"strings": ["THE", "MILL", "RACE", "THE", "OLD"]}]
    assert data_of(records, "long-lengths") == [{"lengths": [5, 5, 6]}]


@pytest.mark.parametrize("processes", [0, 2])
def test_two_lists_multiply_and_outputs_keep_the_order_of_indexes(example: Path, processes: int) -> None:
    assert data_of(jobmap.run("layers.json", processes=processes), "combined-output") == [
        {"combined": text} for text in COMBINED
    ]


def test_a_level_closes_the_inner_branches_only(example: Path) -> None:
    assert data_of(jobmap.run("per_season.json")) == [{"combined": COMBINED[at : at + 3]} for at in range(0, 12, 3)]


def test_ids_that_are_given_stand_in_the_records(example: Path) -> None:
    document = json.loads(README)
    for task, identity in zip(document["tasks"], ("first", "second", "third"), strict=True):
        task["id"] = identity
    (record,) = jobmap.run(document)
    assert (record["id"], record["parent"]) == ("third", "second")


def test_a_map_is_drawn_with_its_tasks(example: Path) -> None:
    pipeline = jobmap.load("hello.json")
    assert isinstance(pipeline, Pipeline)
    assert pipeline.title == "Example Job"
    assert str(pipeline).splitlines() == [
        "digraph graphname {",
        '    "in";',
        '    "example";',
        '    "out";',
        "",
        '    "in" -> "example";',
        '    "example" -> "out";',
        "}",
    ]


def test_a_file_that_is_a_job_map_is_known_by_its_content(example: Path) -> None:
    assert load("layers.json") == jobmap.load("layers.json")
    assert load("layers.json").run().results["combined-output"]["data"][0] == {"combined": "springtmax"}


def test_importing_job_maps_loads_nothing_heavy() -> None:
    import subprocess

    code = "import headrace.jobmap, sys; print([n for n in ('zmq', 'click', 'rich', 'asyncio') if n in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert shown.stdout.strip() == "[]"


# What functions may be and return ------------------------------------------------------------------------------------

FORMS = """
import functools

def closure(init_args):
    def run(data):
        return {"n": data["n"] + init_args["n"]}
    return run

def closure_async(init_args):
    async def run(data):
        return {"n": data["n"] + init_args["n"]}
    return run

def closure_by_name(n, key=None):
    return lambda data: {"n": data["n"] + n}

def closure_of_nothing():
    return lambda data: {"n": data["n"] + 1}

def plain(data):
    return {"n": data["n"] + 1}

async def plain_async(data, init_args):
    return {"n": data["n"] + init_args["n"]}

def awaitable(init_args):
    def run(data):
        import asyncio
        async def wait():
            await asyncio.sleep(0)
            return {"n": data["n"] + init_args["n"]}
        return wait()
    return run
"""


@pytest.mark.parametrize("method", re.findall(r"^(?:async )?def (\w+)", FORMS, re.MULTILINE))
def test_functions_may_be_closures_or_plain_async_or_not(define: Define, method: str) -> None:
    define(FORMS, method)
    init_args = {} if method == "closure_of_nothing" else {"n": 1}
    assert data_of(jobmap.run(a_map({"n": 1}, function("f", method, **init_args)))) == [{"n": 2}]


def test_a_namespace_may_list_its_tasks_itself(define: Define) -> None:
    define("def make_task_dict():\n    return {'f': lambda init_args: lambda data: {'n': 2}}\n", "f")
    assert data_of(jobmap.run(a_map({}, function("f")))) == [{"n": 2}]


def test_a_map_can_be_run_where_a_loop_is_running(define: Define) -> None:
    define(FORMS, "closure_async")

    async def within() -> Any:
        return jobmap.run(a_map({"n": 1}, function("f", "closure_async", n=1)))

    assert data_of(asyncio.run(within())) == [{"n": 2}]


LISTS = """
def times(init_args):
    def run(data):
        return [{**data, init_args["key"]: at} for at in range(init_args["n"])]
    return run

def same(init_args):
    return lambda data: {**data, **init_args}

def opaque(init_args):
    # the source does not say plainly that this is a map
    def run(data):
        return [data][0]
    return run

def spoil(init_args):
    def run(data):
        data["list"].append(init_args["value"])
        return data
    return run

def collect(init_args):
    return lambda items: {"items": items}

def wrong(init_args):
    return lambda data: init_args["value"]

def fail(init_args):
    def run(data):
        if data.get("i") == init_args["n"]:
            raise ValueError(f"no {data['i']}")
        return data
    return run

def skip_odd(data):
    from headrace import Skip
    return Skip("odd") if data["i"] % 2 else data
"""


def test_one_map_among_lists_opens_no_branch_that_anybody_sees(define: Define) -> None:
    define(LISTS, "times", "opaque")
    steps = (function("a", "times", n=2, key="i"), function("b", "opaque"), function("c", "times", n=2, key="j"))
    assert data_of(jobmap.run(a_map({}, *steps))) == [{"i": i, "j": j} for i in range(2) for j in range(2)]


@pytest.mark.parametrize("place", range(3))
def test_an_empty_list_ends_at_once(define: Define, place: int) -> None:
    define(LISTS, "times", "same")
    steps = [function(name, "times", n=2, key=name) for name in "abc"]
    steps[place]["init_args"]["n"] = 0
    assert data_of(jobmap.run(a_map({}, *steps, function("last", "same")))) == []


def test_branches_get_copies(define: Define) -> None:
    define(LISTS, "spoil", "times", "same")
    spoilers = [function(name, "spoil", value=name) for name in "ab"]
    document = a_map({"list": []}, function("first", "same"), *spoilers)
    document["workflow"] = [["in", "first"], ["first", "a"], ["first", "b"], ["a", "out"], ["b", "out"]]
    assert data_of(jobmap.run(document)) == [{"list": ["a"]}, {"list": ["b"]}]


def test_an_output_may_collect_from_several_tasks(define: Define) -> None:
    define(LISTS, "same")
    document = a_map({}, function("a", "same", value=1), function("b", "same", value=2))
    document["workflow"] = [["in", "a"], ["in", "b"], ["b", "out"], ["a", "out"]]
    (record,) = jobmap.run(document)
    assert record["data"] == [{"value": 2}, {"value": 1}]
    assert len(record["parent"]) == 2


def test_the_input_may_lead_straight_to_an_output(define: Define) -> None:
    define(
        "",
    )
    assert data_of(jobmap.run(a_map({"n": 1}))) == [{"n": 1}]


def test_a_list_in_a_map_is_data_like_any_other(define: Define) -> None:
    define(LISTS, "same")
    assert data_of(jobmap.run(a_map({"n": [1, 2]}, function("a", "same")))) == [{"n": [1, 2]}]


def test_what_was_skipped_is_left_out(define: Define) -> None:
    define(LISTS, "times", "skip_odd", "same")
    steps = (function("a", "times", n=4, key="i"), function("b", "skip_odd"), function("c", "same"))
    assert data_of(jobmap.run(a_map({}, *steps))) == [{"i": 0}, {"i": 2}]
    assert data_of(jobmap.run(a_map({"i": 1}, *steps[1:]))) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [("text", "a str"), (None, "a NoneType"), ([1], "a list with a int"), ([[{}]], "a list with a list")],
)
def test_another_type_of_result_fails_its_task(define: Define, value: Any, told: str) -> None:
    define(LISTS, "wrong")
    with pytest.raises(
        JobMapFailed, match=re.escape(f"lab.wrong returned {told}: a task returns a dict or a list of dicts")
    ):
        jobmap.run(a_map({}, function("f", "wrong", value=value)))


def test_a_function_that_returns_no_function_fails_with_a_hint(define: Define) -> None:
    define("def f(init_args):\n    return {'n': 1}\n", "f")
    with pytest.raises(JobMapFailed, match="has to return the function that runs"):
        jobmap.run(a_map({}, function("f")))


def test_a_closure_is_made_once_per_run(define: Define) -> None:
    define(
        "made = []\ndef f(init_args):\n    made.append(1)\n    return lambda data: {'made': len(made)}\n" + LISTS,
        "f",
        "times",
    )
    document = a_map({}, function("a", "times", n=3, key="i"), function("f"))
    assert data_of(jobmap.run(document)) == [{"made": 1}] * 3
    assert data_of(jobmap.run(document)) == [{"made": 2}] * 3


# What definitions say of results -------------------------------------------------------------------------------------


def test_a_definition_that_says_dict_keeps_results_and_paths_plain(define: Define) -> None:
    define(LISTS, "times", same="dict", fail="dict")
    steps = (function("a", "same"), function("b", "times", n=2, key="i"), function("c", "fail", n=1))
    with pytest.raises(JobMapFailed) as raised:
        jobmap.run(a_map({}, *steps))
    assert raised.value.error is not None
    assert raised.value.error.path == (1,)
    assert jobmap.load(a_map({"n": 1}, *steps[:1])).run().results["a"] == {"n": 1}


@pytest.mark.parametrize(("returns", "value"), [("dict", [{}]), ("list", {}), ("list", [1]), ("dict", 1)])
def test_a_definition_is_kept_to(define: Define, returns: str, value: Any) -> None:
    define(LISTS, wrong=returns)
    with pytest.raises(JobMapFailed, match=r"lab\.wrong returned"):
        jobmap.run(a_map({}, function("f", "wrong", value=value)))


def test_what_the_source_plainly_says_keeps_results_and_paths_plain_too(define: Define) -> None:
    define(LISTS, "times", "same", "fail")
    steps = (function("a", "same", n=7), function("b", "times", n=2, key="i"), function("c", "fail", n=1))
    with pytest.raises(JobMapFailed) as raised:
        jobmap.run(a_map({}, *steps))
    assert raised.value.error is not None
    assert raised.value.error.path == (1,)
    assert jobmap.load(a_map({}, *steps[:2], function("d", "same"))).run().results["a"] == {"n": 7}


def test_code_that_has_changed_since_its_source_was_read_is_told_so(define: Define) -> None:
    define(LISTS, "same", "times")
    pipeline = jobmap.load(a_map({}, function("a", "same"), function("b", "same")))
    tasks = Path("lab/tasks.py")
    tasks.write_text(tasks.read_text().replace("lambda data: {**data, **init_args}", "lambda data: [data]"))
    error = pipeline.run().error
    assert error is not None
    assert (
        "lab.same returned a list of dicts, where its definition (or, at submission, its source) says dict"
        in error.reason
    )


# Aggregates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregate", "groups"),
    [
        ("all", [["00", "01", "02", "10", "11", "12"]]),
        ({"level": 1}, [["00", "01", "02"], ["10", "11", "12"]]),
        ({"level": 2}, [["00", "01", "02", "10", "11", "12"]]),
        ({"by": "j"}, [["00", "10"], ["01", "11"], ["02", "12"]]),
        ({"by": "i"}, [["00", "01", "02"], ["10", "11", "12"]]),
        ({"size": 4}, [["00", "01", "02", "10"], ["11", "12"]]),
        ({"level": 1, "size": 2}, [["00", "01"], ["02"], ["10", "11"], ["12"]]),
        ({"level": 1, "by": "j"}, [["00"], ["01"], ["02"], ["10"], ["11"], ["12"]]),
    ],
)
@pytest.mark.parametrize("between", [True, False])
def test_branches_close_as_the_aggregate_says(define: Define, aggregate: Any, groups: Any, between: bool) -> None:
    define(LISTS, "times", "same", "collect")
    steps = [function("a", "times", n=2, key="i"), function("b", "times", n=3, key="j")]
    steps += [function("c", "same")] if between else []
    found = data_of(jobmap.run(a_map({}, *steps, function("d", "collect", aggregate))))
    assert [[f"{one['i']}{one['j']}" for one in group["items"]] for group in found] == groups


def test_levels_are_counted_by_lists_not_by_tasks(define: Define) -> None:
    define(LISTS, "times", "opaque", "collect")
    steps = (function("a", "times", n=2, key="i"), function("b", "opaque"), function("c", "opaque"))
    found = data_of(jobmap.run(a_map({}, *steps, function("d", "collect", {"level": 1}))))
    assert found == [{"items": [{"i": 0}, {"i": 1}]}]


def test_levels_can_be_closed_one_after_the_other(define: Define) -> None:
    define(LISTS, "times", "same", "collect")
    steps = [function(name, "times", n=2, key=name) for name in "ab"]
    steps += [function("c", "collect", {"level": 1}), function("d", "same"), function("e", "collect", {"level": 1})]
    (found,) = data_of(jobmap.run(a_map({}, *steps)))
    assert [[(one["a"], one["b"]) for one in inner["items"]] for inner in found["items"]] == [
        [(0, 0), (0, 1)],
        [(1, 0), (1, 1)],
    ]


def test_groups_open_branches_of_their_own(define: Define) -> None:
    define(LISTS, "times", "collect", "same")
    steps = (
        function("a", "times", n=5, key="i"),
        function("b", "collect", {"size": 2}),
        function("c", "same", value=1),
    )
    found = data_of(jobmap.run(a_map({}, *steps)))
    assert [(len(one["items"]), one["value"]) for one in found] == [(2, 1), (2, 1), (1, 1)]


def test_an_empty_list_is_gathered_but_makes_no_groups(define: Define) -> None:
    define(LISTS, "times", "collect", "same")
    empty = function("a", "times", n=0, key="i")
    assert data_of(jobmap.run(a_map({}, empty, function("b", "collect", "all")))) == [{"items": []}]
    for aggregate in ({"level": 1}, {"by": "i"}, {"size": 2}):
        assert data_of(jobmap.run(a_map({}, empty, function("b", "collect", aggregate), function("c", "same")))) == []


def test_an_aggregate_may_take_from_several_tasks(define: Define) -> None:
    define(LISTS, "times", "same", "collect")
    document = a_map({}, function("a", "times", n=2, key="i"), function("b", "same"), function("c", "collect", "all"))
    document["workflow"] = [["in", "a"], ["in", "b"], ["a", "c"], ["b", "c"], ["c", "out"]]
    assert data_of(jobmap.run(document)) == [{"items": [{"i": 0}, {"i": 1}, {}]}]


def test_a_key_that_is_missing_fails_with_the_item(define: Define) -> None:
    define(LISTS, "times", "collect")
    with pytest.raises(JobMapFailed, match=r"groups by 'season', and that is not in \{'i': 0\}"):
        jobmap.run(a_map({}, function("a", "times", n=2, key="i"), function("b", "collect", {"by": "season"})))


def test_a_task_may_be_called_like_the_groups_of_another(define: Define) -> None:
    define(LISTS, "times", "collect", "same")
    steps = (
        function("a", "times", n=2, key="i"),
        function("b", "collect", {"size": 1}),
        function("b (groups)", "same"),
    )
    assert len(data_of(jobmap.run(a_map({}, *steps)))) == 2


# Failures ------------------------------------------------------------------------------------------------------------


def test_a_failure_names_task_branch_reason_and_traceback(define: Define) -> None:
    define(LISTS, "times", "fail")
    with pytest.raises(JobMapFailed) as raised:
        jobmap.run(a_map({}, function("a", "times", n=3, key="i"), function("b", "fail", n=1)))
    failed = raised.value
    assert isinstance(failed, HeadraceError)
    assert str(failed) == "job map 'test' failed in task 'b' [1]: ValueError: no 1"
    assert failed.error is not None
    assert (failed.error.job, failed.error.path, failed.error.reason) == ("b", (1,), "ValueError: no 1")
    assert "tasks.py" in failed.error.traceback
    assert "raise ValueError" in failed.error.traceback


def test_what_had_reached_the_outputs_comes_with_the_failure_and_not_as_a_result(define: Define) -> None:
    define(LISTS, "times", "fail", "same")
    document = a_map({}, function("a", "times", n=3, key="i"), function("b", "fail", n=1), function("c", "same"))
    document["tasks"].append({"name": "early", "type": "output"})
    document["workflow"].append(["in", "early"])
    with pytest.raises(JobMapFailed) as raised:
        jobmap.run(document)
    partial = raised.value.outputs
    assert [record["name"] for record in partial] == ["out", "early"]
    assert data_of(partial, "early") == [{}]
    assert all(item["i"] != 1 for item in data_of(partial))


def test_a_failure_in_an_async_task_is_a_failure_too(define: Define) -> None:
    define("def f(init_args):\n    async def run(data):\n        raise KeyError('gone')\n    return run\n", "f")
    with pytest.raises(JobMapFailed, match="KeyError: 'gone'"):
        jobmap.run(a_map({}, function("f")))


def test_partial_data_of_counted_levels_is_plain(define: Define) -> None:
    define(LISTS, "times", "fail", "collect")
    steps = (function("a", "times", n=2, key="i"), function("b", "fail", n=1), function("c", "collect", {"level": 1}))
    document = a_map({}, *steps)
    document["tasks"].append({"name": "beside", "type": "output"})
    document["workflow"].append(["a", "beside"])
    with pytest.raises(JobMapFailed) as raised:
        jobmap.run(document)
    assert data_of(raised.value.outputs, "beside") == [{"i": 0}, {"i": 1}]


def test_under_block_other_branches_go_on(define: Define) -> None:
    define(LISTS, "times", "fail", "same")
    steps = (function("a", "times", n=3, key="i"), function("b", "fail", n=0), function("c", "same"))
    with pytest.raises(JobMapFailed) as raised:
        jobmap.run(a_map({}, *steps, options={"on_error": "block"}))
    assert data_of(raised.value.outputs) == [{"i": 1}, {"i": 2}]


def test_a_task_may_be_tried_again(define: Define) -> None:
    define(
        "tries = []\ndef f(data):\n    tries.append(1)\n    return {'n': len(tries)} if len(tries) > 2 else 1 / 0\n",
        "f",
    )
    task = {**function("f"), "options": {"retry": {"tries": 3}}}
    assert data_of(jobmap.run(a_map({}, task))) == [{"n": 3}]


def test_a_namespace_that_cannot_be_imported_says_why(define: Define) -> None:
    define("import nothing_of_this_name\ndef f(data):\n    return data\n", "f")
    with pytest.raises(
        NotFound, match=r"namespace 'lab' cannot be imported: ModuleNotFoundError.*nothing_of_this_name"
    ):
        jobmap.run(a_map({}, function("f")))


def test_every_run_of_a_task_leaves_a_line_in_the_log(define: Define, caplog: pytest.LogCaptureFixture) -> None:
    define(LISTS, "times", "fail")
    caplog.set_level(logging.INFO, "headrace.jobmap")
    with pytest.raises(JobMapFailed):
        jobmap.run(a_map({}, function("a", "times", n=2, key="i"), function("b", "fail", n=1)))
    lines = [re.sub(r"run \w{12}|\d+\.\d+", "_", line) for line in caplog.messages]
    assert lines == [
        "_, task in: the data source gives a map",
        "_, task a: lab.times returned 2 maps after _ s",
        "_, task b [0]: lab.fail returned a map after _ s",
        "_, task b [1]: lab.fail failed after _ s: ValueError: no 1",
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "INFO", "ERROR"]


def test_folders_with_equal_namespaces_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, define: Define
) -> None:
    define("def f(data):\n    return {'place': 1}\n", "f")
    document = a_map({}, function("f"))
    assert data_of(jobmap.run(document)) == [{"place": 1}]
    shutil.copytree(tmp_path / "lab", tmp_path / "other" / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other" / "lab" / "tasks.py").write_text("def f(data):\n    return {'place': 2}\n")
    monkeypatch.chdir(tmp_path / "other")
    assert data_of(jobmap.run(document)) == [{"place": 2}]
    monkeypatch.chdir(tmp_path)
    assert data_of(jobmap.run(document)) == [{"place": 1}]


def test_options_that_do_not_go_together_are_refused(define: Define) -> None:
    define(FORMS, "plain")
    with pytest.raises(ConfigError, match="timeout"):
        jobmap.run(a_map({"n": 1}, function("plain")), timeout=5)
