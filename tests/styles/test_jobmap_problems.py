"""Job maps that are wrong: everything is found before anything runs, all of it at once, each with task and field."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import jobmap
from headrace.jobmap import JobMapError
from headrace.pipeline.errors import ConfigError, DefinitionError
from headrace.pipeline.loading import load

TASKS = """
def upper(init_args):
    return lambda data: data

def count(init_args):
    return lambda data: data

def several(init_args):
    return lambda items: {}

def one_more(data):
    return data
"""
DEFINITIONS: dict[str, Any] = {
    "upper": {
        "name": "upper",
        "consumes": ["string", "text"],
        "produces": ["string"],
        "init_args": [
            {"name": "language", "type": "string", "required": True},
            {"name": "limit", "type": "integer", "required": False},
            {"name": "options", "type": "map", "required": False},
            {"name": "words", "type": "list[string]"},
            {"name": "share", "type": "float"},
            {"name": "strict", "type": "boolean"},
        ],
        "description": "Capital letters.",
    },
    "count": {"name": "count", "consumes": ["string"], "produces": ["integer", "list[integer]"], "init_args": []},
    "several": {"name": "several", "consumes": ["list"], "produces": ["map"], "init_args": []},
    "one_more": {"consumes": ["number"], "produces": ["integer"]},
    "absent": {"name": "absent", "consumes": ["any"], "produces": ["any"]},
}
GOOD: dict[str, Any] = {
    "name": "good",
    "id": "G1",
    "description": "shows every field",
    "datasource": {"source": "direct", "content": {"input": "text"}},
    "options": {"priority": 3},
    "tasks": [
        {"name": "in", "type": "input", "description": "the text"},
        {
            "name": "upper",
            "id": "U1",
            "type": "function",
            "namespace": "words",
            "method": "upper",
            "consumes": "text",
            "produces": "string",
            "init_args": {"language": "en", "limit": 5, "options": {}, "words": ["a"], "share": 1, "strict": False},
            "options": {"timeout": 60, "retry": {"tries": 2}},
        },
        {
            "name": "count",
            "type": "function",
            "namespace": "words",
            "method": "count",
            "consumes": "string",
            "produces": "list[integer]",
            "init_args": {},
        },
        {
            "name": "sum",
            "type": "function",
            "namespace": "words",
            "method": "one_more",
            "consumes": "number",
            "produces": "integer",
            "init_args": {},
        },
        {
            "name": "all",
            "type": "function",
            "namespace": "words",
            "method": "several",
            "consumes": "list[integer]",
            "produces": "map",
            "init_args": {},
            "aggregate": "all",
        },
        {"name": "out", "type": "output"},
    ],
    "workflow": [["in", "upper"], ["upper", "count"], ["count", "sum"], ["sum", "all"], ["all", "out"]],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the namespace `words`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "tasks.py").write_text(TASKS)
    for name, definition in DEFINITIONS.items():
        (tmp_path / "words" / f"{name}.json").write_text(json.dumps(definition))
    return tmp_path


def task(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["tasks"] if one["name"] == name)
    return found


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    change(document)
    return document


def problems(document: Any) -> list[str]:
    with pytest.raises(JobMapError) as raised:
        jobmap.validate(document)
    return raised.value.problems  # type: ignore[return-value]


def test_a_good_map_has_no_problems(folder: Path) -> None:
    jobmap.validate(GOOD)
    assert jobmap.load(GOOD).priority == 3


ONE_PROBLEM: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda m: m.pop("name"), "name: is missing: a text"),
    (lambda m: m.update(name=7), "name: must be a text that is not empty, not 7"),
    (lambda m: m.update(id=7), "id: must be a text that is not empty, not 7"),
    (lambda m: m.pop("datasource"), "datasource: is missing: a map with source and content"),
    (lambda m: m.update(datasource="direct"), "datasource: must be a map with source and content, not 'direct'"),
    (lambda m: m["datasource"].pop("content"), "datasource.content: must be a map, not None"),
    (lambda m: m["datasource"].update(content=[{}]), "datasource.content: must be a map, not [{}]"),
    (lambda m: m["datasource"].update(size=1), "datasource: there is no field 'size' here: it has source and content"),
    (
        lambda m: m["datasource"].update(source="dirct"),
        "datasource.source: there is no kind 'dirct': write 'direct', 'file' or 'module:function' for one of yours",
    ),
    (lambda m: m.update(workflwo=[]), "workflwo: there is no such field; did you mean 'workflow'?"),
    (lambda m: m.pop("workflow"), "workflow: is missing: a list"),
    (
        lambda m: m.update(options={"on_error": "continue"}),
        "options.on_error: must be 'fail' or 'block': a failure is no data for the tasks after it",
    ),
    (lambda m: m.update(options={"prio": 1}), "options.prio: there is no such field; did you mean 'priority'?"),
    (
        lambda m: m.update(options={"deadline": -1}),
        "options.deadline: deadline must be a number of seconds above 0, not -1",
    ),
    (lambda m: m["tasks"].append([]), "tasks[6]: must be a map, not []"),
    (lambda m: m["tasks"].append({}), "tasks[6].name: must be a text that is not empty, and no 'hook:', not None"),
    (lambda m: m["tasks"].append(dict(m["tasks"][5])), "task 'out': name: there are two tasks of this name"),
    (
        lambda m: m["tasks"].append({"name": "in2", "type": "input"}),
        "tasks: there are 2 tasks of type 'input' (in, in2): a map has exactly one",
    ),
    (lambda m: task(m, "in").pop("type"), "task 'in': type: is missing: 'input' or 'function' or 'output'"),
    (
        lambda m: task(m, "count").update(id="U1"),
        "task 'count': id: 'U1' is the id of task 'upper' too",
    ),
    (lambda m: task(m, "upper").pop("method"), "task 'upper': method: is missing: a text"),
    (lambda m: task(m, "upper").pop("consumes"), "task 'upper': consumes: is missing: a text"),
    (
        lambda m: task(m, "count").pop("init_args"),
        "task 'count': init_args: is missing: a map, {} when there is nothing in it",
    ),
    (lambda m: task(m, "count").update(init_args=[]), "task 'count': init_args: must be a map, not []"),
    (
        lambda m: task(m, "count").update(agregate="all"),
        "task 'count': agregate: there is no such field; did you mean 'aggregate'?",
    ),
    (
        lambda m: task(m, "in").update(method="x"),
        "task 'in': method: there is no such field; there are: description, id, name, type",
    ),
    (
        lambda m: task(m, "upper").update(namespace="wrods"),
        "task 'upper': namespace: there is no namespace 'wrods' below",
    ),
    (
        lambda m: task(m, "upper").update(namespace="../words"),
        "task 'upper': namespace: must be a dotted name such as 'main'",
    ),
    (
        lambda m: task(m, "upper").update(method="uper"),
        "task 'upper': method: namespace 'words' has no definition uper.json; did you mean 'upper'?",
    ),
    (
        lambda m: task(m, "count").update(method="absent"),
        "task 'count': method: ",
    ),
    (
        lambda m: task(m, "upper").update(consumes="integer"),
        "task 'upper': consumes: 'integer' is not what words.upper consumes: 'string' or 'text'",
    ),
    (
        lambda m: task(m, "all").update(produces="string"),
        "task 'all': produces: 'string' is not what words.several produces: 'map'",
    ),
    (
        lambda m: task(m, "upper")["init_args"].pop("language"),
        "task 'upper': init_args.language: is missing: words.upper requires it (string)",
    ),
    (
        lambda m: task(m, "upper")["init_args"].update(lang="en"),
        "task 'upper': init_args.lang: words.upper has no such argument; did you mean 'language'?",
    ),
    (
        lambda m: task(m, "upper")["init_args"].update(limit=True),
        "task 'upper': init_args.limit: must be of type integer, not True",
    ),
    (
        lambda m: task(m, "upper")["init_args"].update(limit=1.5),
        "task 'upper': init_args.limit: must be of type integer, not 1.5",
    ),
    (
        lambda m: task(m, "upper")["init_args"].update(words=[1]),
        "task 'upper': init_args.words: must be of type list[string], not [1]",
    ),
    (
        lambda m: task(m, "upper")["init_args"].update(strict=0),
        "task 'upper': init_args.strict: must be of type boolean, not 0",
    ),
    (
        lambda m: task(m, "upper")["init_args"].update(options={"x": object}),
        "task 'upper': init_args: holds what cannot travel between processes: ",
    ),
    (lambda m: task(m, "all").update(aggregate={"levels": 1}), "task 'all': aggregate: there is no 'levels' in it"),
    (
        lambda m: task(m, "all").update(aggregate={"level": 0}),
        "task 'all': aggregate: Gather: level must be a whole number from 1 on",
    ),
    (
        lambda m: task(m, "all").update(aggregate={"by": "a", "size": 2}),
        "task 'all': aggregate: Gather: by='a' and size=2 exclude",
    ),
    (lambda m: task(m, "all").update(aggregate={}), "task 'all': aggregate: must be \"all\", "),
    (
        lambda m: task(m, "upper")["options"].update(timeout="soon"),
        "task 'upper': options.timeout: timeout must be a number of seconds",
    ),
    (
        lambda m: task(m, "upper")["options"].update(on_error="block"),
        "task 'upper': options.on_error: there is no such field",
    ),
    (
        lambda m: m["workflow"].append(["in", "upper"]),
        "task 'upper': workflow[5]: ['in', 'upper']: this pair is there twice",
    ),
    (
        lambda m: m["workflow"].append(["in"]),
        "workflow[5]: must be a pair of task names, such as ['in', 'out'], not ['in']",
    ),
    (lambda m: m["workflow"].append(["in", "nowhere"]), "workflow[5]: ['in', 'nowhere']: there is no task 'nowhere'"),
    (
        lambda m: m["workflow"].append(["all", "in"]),
        "task 'in': workflow[5]: ['all', 'in']: nothing comes before the input",
    ),
    (
        lambda m: m["workflow"].append(["out", "all"]),
        "task 'out': workflow[5]: ['out', 'all']: nothing comes after an output",
    ),
    (
        lambda m: m["workflow"].append(["all", "all"]),
        "task 'all': workflow[5]: ['all', 'all']: a task cannot come after itself",
    ),
    (
        lambda m: m["workflow"].remove(["all", "out"]),
        "task 'out': workflow: nothing comes before it: no data would ever reach it",
    ),
    (
        lambda m: m["workflow"].append(["in", "count"]),
        "task 'count': workflow: 2 tasks come before it ('upper', 'in'), and it takes one map from one task",
    ),
    (
        lambda m: m["workflow"].__setitem__(1, ["all", "count"]),
        "task 'count': workflow[1]: 'all' produces 'map', and 'count' consumes 'string'",
    ),
]


@pytest.mark.parametrize(("change", "told"), ONE_PROBLEM, ids=[told[:60] for _, told in ONE_PROBLEM])
def test_a_problem_is_told_with_its_place(folder: Path, change: Callable[[dict[str, Any]], object], told: str) -> None:
    found = problems(changed(change))
    assert any(one.startswith(told) for one in found), found


@pytest.mark.parametrize(("change", "told"), ONE_PROBLEM, ids=[told[:60] for _, told in ONE_PROBLEM])
def test_a_map_with_a_problem_is_never_run(folder: Path, change: Callable[[dict[str, Any]], object], told: str) -> None:
    with pytest.raises(JobMapError):
        jobmap.run(changed(change))


def test_all_problems_are_told_at_once(folder: Path) -> None:
    def spoil(document: dict[str, Any]) -> None:
        del document["datasource"]
        task(document, "upper")["init_args"] = {"limit": "many", "lagnuage": "en"}
        task(document, "count")["produces"] = "nothing"
        task(document, "sum")["type"] = "func"
        document["workflow"].append(["in", "nowhere"])

    with pytest.raises(JobMapError) as raised:
        jobmap.validate(changed(spoil))
    found = raised.value.problems
    assert {(one.task, one.field) for one in found} == {
        (None, "datasource"),
        ("upper", "init_args.language"),
        ("upper", "init_args.lagnuage"),
        ("upper", "init_args.limit"),
        ("count", "produces"),
        ("sum", "type"),
        (None, "workflow[5]"),
    }
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, DefinitionError)
    assert str(raised.value).splitlines()[0] == "the job map: 7 problems"
    assert len(str(raised.value).splitlines()) == 8


def test_a_circle_is_told_with_its_tasks(folder: Path) -> None:
    def turn(document: dict[str, Any]) -> None:
        task(document, "upper").update(consumes="string", aggregate="all")
        task(document, "count")["produces"] = "integer"
        document["workflow"][0:2] = [["in", "upper"], ["upper", "count"], ["count", "upper"]]

    assert "goes in a circle: " in " ".join(problems(changed(turn)))


def test_a_function_that_is_not_in_tasks_py_is_a_problem(folder: Path) -> None:
    def point(document: dict[str, Any]) -> None:
        task(document, "count").update(method="absent", consumes="any", produces="any")

    found = problems(changed(point))
    assert f"task 'count': method: {folder}/words/tasks.py has no function 'absent'" in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "it is not JSON"),
        ("[]", "it has to be a map"),
        ('{"name": "other", "consumes": ["string"], "produces": ["integer"]}', "name must be 'count'"),
        ('{"consumes": [], "produces": ["list[integer]"]}', "consumes must be a list of types"),
        ('{"consumes": ["string"], "produces": 7}', "produces must be a list of types"),
        ('{"consumes": "any", "produces": "any", "init_args": {}}', "init_args must be a list"),
        ('{"consumes": "any", "produces": "any", "init_args": [{}]}', "init_args[0] must be a map"),
        (
            '{"consumes": "any", "produces": "any", "init_args": [{"name": "a", "type": "txt"}]}',
            "type must be one of any, ",
        ),
        (
            '{"consumes": "any", "produces": "any", "init_args": [{"name": "a", "required": 1}]}',
            "required must be true",
        ),
        (
            '{"consumes": "any", "produces": "any", "init_args": [{"name": "a"}, {"name": "a"}]}',
            "there are two init_args 'a'",
        ),
        ('{"consumes": "any", "produces": "any", "returns": "text"}', "returns must be 'dict' or 'list'"),
        ('{"consumes": "any", "produces": "any", "argumnets": []}', "'argumnets' is no field of a definition"),
        ('{"consumes": "any", "produces": "any", "description": 1}', "description must be a text"),
    ],
)
def test_a_definition_that_is_wrong_is_a_problem_of_the_task(folder: Path, text: str, told: str) -> None:
    (folder / "words" / "count.json").write_text(text)
    (found, *_) = problems(GOOD)
    assert found.startswith("task 'count': method: its definition ")
    assert told in found


@pytest.mark.parametrize(("code", "told"), [("def upper(:\n", "line 1: "), ("\0", "null bytes")])
def test_a_tasks_py_that_is_no_python_is_a_problem(folder: Path, code: str, told: str) -> None:
    (folder / "words" / "tasks.py").write_text(code)
    assert told in problems(GOOD)[0]


@pytest.mark.parametrize(
    "code",
    ["from words.more import *\n", "def make_task_dict():\n    return {}\n", "def __getattr__(name):\n    ...\n"],
)
def test_what_only_running_tasks_py_would_tell_is_no_problem(folder: Path, code: str) -> None:
    (folder / "words" / "tasks.py").write_text(code)
    jobmap.validate(GOOD)


def test_names_of_tasks_py_may_be_made_in_any_way(folder: Path) -> None:
    code = "from os import path as upper\nif True:\n    count = several = one_more = len\n"
    (folder / "words" / "tasks.py").write_text(code)
    jobmap.validate(GOOD)


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"), [("{", "not JSON"), ('{"name": 1, "name": 2}', "stands twice"), ("[]", "must be a map")]
)
def test_a_file_that_holds_no_map_is_told_with_its_name(folder: Path, text: str, told: str) -> None:
    (folder / "map.json").write_text(text)
    with pytest.raises(JobMapError, match=told) as raised:
        jobmap.validate("map.json")
    assert str(raised.value).startswith("map.json: map: ")


def test_a_file_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"the job map nothing\.json cannot be read: No such file"):
        jobmap.validate("nothing.json")


@pytest.mark.parametrize("thing", [None, 7, ["a"], b"{}"])
def test_only_maps_and_paths_are_taken(thing: Any) -> None:
    with pytest.raises(JobMapError, match="must be a dict or the path of a file"):
        jobmap.validate(thing)


def test_a_file_is_read_with_a_byte_order_mark_too(folder: Path) -> None:
    (folder / "map.json").write_text("\ufeff" + json.dumps(GOOD), encoding="utf-8")
    jobmap.validate(folder / "map.json")


def test_loading_a_file_by_content_tells_all_problems_too(folder: Path) -> None:
    (folder / "map.json").write_text(json.dumps({**GOOD, "name": "", "workflow": 7}))
    with pytest.raises(JobMapError) as raised:
        load("map.json")
    assert [one.field for one in raised.value.problems] == ["name", "workflow"]
    assert raised.value.source.endswith("map.json")


def test_a_map_takes_a_priority_from_outside_but_no_role(folder: Path) -> None:
    (folder / "map.json").write_text(json.dumps(GOOD))
    assert load("map.json", priority=9).priority == 9
    with pytest.raises(ConfigError, match="a task has one among its options"):
        load("map.json", role="gpu")


# Anything ------------------------------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    ("name",),
    ("id",),
    ("datasource",),
    ("datasource", "source"),
    ("datasource", "content"),
    ("options",),
    ("tasks",),
    *[("tasks", at) for at in range(6)],
    *[("tasks", at, field) for at in range(6) for field in ("name", "id", "type")],
    *[("tasks", 4, field) for field in ("method", "namespace", "consumes", "produces", "init_args", "aggregate")],
    ("tasks", 1, "options"),
    ("tasks", 1, "options", "retry"),
    ("workflow",),
    ("workflow", 0),
    ("workflow", 0, 1),
]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anything")
    (folder / "words").mkdir()
    (folder / "words" / "tasks.py").write_text(TASKS)
    for name, definition in DEFINITIONS.items():
        (folder / "words" / f"{name}.json").write_text(json.dumps(definition))
    return folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_stands_in_a_map_it_is_right_or_has_problems(words: Path, data: st.DataObject) -> None:
    document: Any = copy.deepcopy(GOOD)
    for place in data.draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True)):
        holder = document
        try:
            for step in place[:-1]:
                holder = holder[step]
            holder[place[-1]] = data.draw(PLAIN)
        except (KeyError, IndexError, TypeError):
            continue  # what was put in before has no such place
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(words)
        try:
            jobmap.validate(document)
            jobmap.load(document)
        except JobMapError as error:
            assert error.problems


def test_where_there_is_no_namespace_at_all_it_is_said_how_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobMapError) as caught:
        jobmap.validate(GOOD)
    assert any("`headrace namespace new words` makes one" in problem for problem in caught.value.problems)


def test_a_name_that_no_disk_takes_is_a_problem_like_any_other(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(words)
    document: Any = copy.deepcopy(GOOD)
    document["tasks"][1]["method"] = "x" * 5000
    document["tasks"][2]["namespace"] = "y" * 5000
    with pytest.raises(JobMapError) as caught:
        jobmap.validate(document)
    assert {problem.field for problem in caught.value.problems} >= {"method", "namespace"}
