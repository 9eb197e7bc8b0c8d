"""Job files: JSON and TOML, both ways, and what is said about a wrong one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.blocks import Action, Instance, Job, Task, dumps, load, loads
from headrace.pipeline.definition import RetryRule
from headrace.pipeline.errors import ConfigError, DefinitionError, UserError
from headrace.pipeline.loading import find
from headrace.pipeline.loading import load as load_pipeline
from headrace.pipeline.pipeline import Pipeline
from headrace.pipeline.styles.jobfile import from_document, loads_toml
from headrace.pipeline.styles.jobfile_schema import schema
from headrace.pipeline.styles.tree_nodes import ACTION, GROUP, RUN

README = """
{
  "Job": {
    "title": "",
    "serialsubtasks": true,
    "children": [
      {
        "Task": {
          "title": "Preparing a source video",
          "children": [
            {
              "Action": {
                "input": "youtube-dl https://www.youtube.com/watch?v=BI23U7U2aUY -o storytelling.mp4"
              }
            }
          ]
        }
      },
      {
        "Task": {
          "title": "Transcoding",
          "children": [
            {
              "Task": {
                "title": "Transcoding to profile #0",
                "children": [
                  {
                    "Action": {
                      "input": "ffmpeg -loglevel fatal -y -i storytelling.mp4 -c:v libx264 -b:v 128k -c:a copy -f mp4 /dev/null"
                    }
                  }
                ]
              }
            },
            {
              "Task": {
                "title": "Transcoding to profile #1",
                "children": [
                  {
                    "Action": {
                      "input": "ffmpeg -loglevel fatal -y -i storytelling.mp4 -c:v libx264 -b:v 250k -c:a copy -f mp4 /dev/null"
                    }
                  }
                ]
              }
            },
            {
              "Task": {
                "title": "Transcoding to profile #2, audio only",
                "children": [
                  {
                    "Action": {
                      "input": "ffmpeg -loglevel fatal -y -i storytelling.mp4 -vn -c:a libfdk_aac -b:a 96k output_2.mp4"
                    }
                  }
                ]
              }
            }
          ]
        }
      }
    ]
  }
}
"""  # noqa: E501  as it is printed

TOML = """
[Job]
title = "Film"

[[Job.children]]
Action = { input = "prepare" }

[[Job.children]]
[Job.children.Task]
title = "Scenes"
parallel = true
_role = "encode"

[[Job.children.Task.children]]
Action = { source = "a.mov" }

[[Job.children.Task.children]]
Action = { source = "b.mov", _role = "other" }
"""


def film() -> Job:
    with Job("Film") as job:
        Action("prepare")
        with Task("Scenes", parallel=True, _role="encode"):
            Action(source="a.mov")
            Action(source="b.mov", _role="other")
    return job


def test_the_file_of_the_readme_is_read() -> None:
    job = loads(README)
    assert job.title == ""
    assert [task.title for task in job.children] == ["Preparing a source video", "Transcoding"]
    pipeline = job.to_pipeline(role="cmd")
    assert [one.worker_name for one in pipeline.jobs] == ["cmd"] * 4
    assert len(pipeline.edges) == 3


def test_a_file_written_by_json_is_the_job_again() -> None:
    job = film()
    again = loads(json.dumps(job))
    assert again == job
    assert type(again) is Job
    assert [type(one) for one in again.children] == [Action, Task]
    assert again.children[1].parallel is True


def test_a_readable_file_leaves_out_what_says_nothing() -> None:
    text = dumps(film())
    assert "null" not in text
    assert "_whenerror" not in text
    assert loads(text) == film()


def test_toml_is_the_same_tree() -> None:
    assert loads_toml(TOML) == film()


def test_files_are_read_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "film.json").write_text(dumps(film()))
    (tmp_path / "film.toml").write_text(TOML)
    (tmp_path / "film").write_text("\ufeff" + dumps(film()), encoding="utf-8")
    (tmp_path / "pipeline.json").write_text(json.dumps(film().to_pipeline().to_dict()))
    assert find(tmp_path / "film.json") == find(tmp_path / "film.toml") == find(tmp_path / "film") == film()
    assert load(tmp_path / "film.json") == load(tmp_path / "film.toml") == film()
    wanted = film().to_pipeline()
    assert load_pipeline(tmp_path / "film.json") == load_pipeline(tmp_path / "pipeline.json") == wanted
    assert type(load_pipeline(tmp_path / "film.toml", role="x", priority=None)) is Pipeline


def test_a_job_in_a_python_file_is_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "film.py").write_text(
        "from headrace.blocks import Job, Task, Action\n"
        "with Job('Film') as job:\n    with Task('t') as task:\n        Action('x')\n"
        "def make():\n    return job\n"
    )
    for target in ("film.py", "film.py:job", "film.py:make"):
        assert [one.name for one in load_pipeline(f"{tmp_path}/{target}").jobs] == ["t/Action1"]
    with pytest.raises(ConfigError, match=r"film\.py:task is a Task, neither a Pipeline nor"):
        load_pipeline(f"{tmp_path}/film.py:task")


def test_options_of_a_style_mean_nothing_to_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(film().to_pipeline().to_dict()))
    with pytest.raises(ConfigError, match="role: a Pipeline has that among its own options, or on its jobs"):
        load_pipeline(tmp_path / "p.json", role="cmd")


def test_alfreds_zero_and_one_are_no_and_yes() -> None:
    assert loads('{"Job": {"title": "j", "serialsubtasks": 0}}').parallel is True


def job(children: Any, **fields: Any) -> str:
    return json.dumps({"Job": {"title": "j", "children": children, **fields}})


def task(children: Any, **fields: Any) -> dict[str, Any]:
    return {"Task": {"title": "t", "children": children, **fields}}


INNER = r"Job\.children\[1\]\.Task\.children\[0\]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON: "),
        ("{", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("[]", r'a job must be \{"Job": .*not \[\]'),
        ("{}", r'a job must be \{"Job": '),
        ('{"Task": {"title": "t"}}', r'a job must be \{"Job": '),
        ('{"Job": {"title": "a"}, "Task": {}}', r'a job must be \{"Job": '),
        ('{"Job": 7}', "Job: must be a map of keys and values, not 7"),
        ('{"Job": {"title": "a", "title": "b"}}', "the key 'title' stands twice"),
        ('{"Job": {}}', "Job: it has no title; an empty one is fine"),
        ('{"Job": {"title": 7}}', "Job: title must be a text, not 7"),
        (job({}), r"Job\.children: must be a list, not \{\}"),
        (job([task([]), task([7])]), INNER + r': must be \{"Task": .*not 7'),
        (job([task([]), task(["x"])]), INNER + r': must be \{"Task": '),
        (job([task([]), task([{}])]), INNER + r': must be \{"Task": '),
        (job([task([]), task([{"Actoin": {}}])]), INNER + r': must be \{"Task": .*Actoin'),
        (job([task([]), task([{"Action": {}, "Task": {}}])]), INNER + ": must be "),
        (job([task([]), task([{"Job": {"title": "x"}}])]), INNER + ": a Job cannot stand here, only a Task"),
        (job([task([]), task([{"Action": []}])]), INNER + r"\.Action: must be a map of keys and values"),
        (job([task([]), task([{"Action": {"_rol": "x"}}])]), INNER + r"\.Action: unknown option '_rol'; .*'_role'"),
        (job([task([]), task([{"Action": {"_role": 7}}])]), INNER + r"\.Action: _role must be a text"),
        (job([task([]), task([{"Action": {"_timeout": -1}}])]), INNER + r"\.Action: _timeout must be a number of s"),
        (job([task([]), task([{"Action": {"_whenerror": "yes"}}])]), INNER + r"\.Action: _whenerror must be True or"),
        (job([task([]), task([{"Task": {"children": []}}])]), INNER + r"\.Task: it has no title"),
        (job([], parallel=True, serialsubtasks=True), "parallel=True and serialsubtasks=True contradict each other"),
        (job([], parallel=False, serialsubtasks=False), "contradict each other"),
        (job([], parallel="yes"), "Job: parallel must be True or False, not 'yes'"),
        (job([], cmds=[task([])]), r"Job\.cmds\[0\]: a Task cannot stand here, only an Action"),
        (job([], _hooks={"error": []}), "Job: unknown hook 'error'; there are: always, failure, success"),
        (job([], _hooks=[]), "Job: _hooks must be a map such as"),
        (job([], _hooks={"failure": [7]}), r"Job\._hooks\.failure\[0\]: must be"),
        (job([], _not_before="soon"), "Job: _not_before must be a time such as 2030-01-31T06:00:00"),
        (job([], _not_before="2030-01-31T06:00:00"), "Job: _not_before must be a time such as"),
        (job([], _priority="high"), "Job: _priority must be a whole number, not 'high'"),
        (job([], _deadline=-1), "Job: _deadline must be a number of seconds above 0, not -1"),
        (job([], _max_active=0), "Job: _max_active must be a whole number from 1 on, not 0"),
        (job([], _after="soon"), "Job: _after must be run ids"),
        (job([{"Instance": {"name": "x"}}]), r"Job\.children\[0\]\.Instance: it has no title"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(text: str, problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        loads(text)


@pytest.mark.parametrize(
    ("children", "problem"),
    [
        ([{"Action": {"_role": "a && b"}}], r"Job\.children\[0\]\.Action: the role 'a && b' is an expression"),
        ([{"Action": {"argv": []}}], r"Job\.children\[0\]\.Action: argv must be a list of texts that is not empty"),
        ([{"Action": {"argv": ["a", 1]}}], r"Job\.children\[0\]\.Action: argv must be a list of texts"),
    ],
)
def test_what_can_only_be_seen_in_the_whole_is_named_with_its_path_too(children: Any, problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        loads(job(children)).to_pipeline()


def test_a_file_is_named_before_the_path_in_it(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(job([7]))
    (tmp_path / "bad.toml").write_text("[Job]\nchildren = 7\n")
    for read in (load, find):
        with pytest.raises(DefinitionError, match=r"bad\.json: Job\.children\[0\]: must be"):
            read(tmp_path / "bad.json")
        with pytest.raises(DefinitionError, match=r"bad\.toml: Job: it has no title"):
            read(tmp_path / "bad.toml")


def test_a_file_that_is_no_utf_8_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        find(tmp_path / "bad.json")
    with pytest.raises(DefinitionError, match="is not UTF-8"):
        load(tmp_path / "bad.json")


def test_tasks_stand_only_so_deep_in_each_other() -> None:
    def nested(depth: int) -> Any:
        inner: Any = {"Action": {"input": "x"}}
        for _ in range(depth):
            inner = task([inner])
        return [inner]

    assert len(loads(job(nested(100))).to_pipeline().jobs) == 1
    with pytest.raises(DefinitionError, match="tasks stand more than 100 deep in each other"):
        loads(job(nested(101)))


def test_a_tree_that_holds_itself_is_refused() -> None:
    circle = Task("t")
    circle.children.append(circle)
    with Job("j") as whole:
        whole.children.append(circle)
    with pytest.raises(DefinitionError, match="more than 100 deep"):
        whole.to_pipeline()


def test_what_cannot_travel_is_named_when_the_job_is_packed() -> None:
    with Job("j") as whole:
        Action(thing=object())
    with pytest.raises(TypeError, match=r"job 'Action1'.*object"):
        whole.to_pipeline().definition()


def test_instances_can_be_read_and_written() -> None:
    with Job("j", parallel=True) as whole:
        Instance("t")
        Task("t")
    again = loads(json.dumps(whole))
    assert again == whole
    assert type(again.children[0]) is Instance


def test_the_schema_in_the_documentation_is_that_of_the_model() -> None:
    page = Path(__file__).parents[2] / "docs" / "jobfile.schema.json"
    assert json.loads(page.read_text()) == json.loads(json.dumps(schema())), (
        "write it anew: python -m headrace.pipeline.styles.jobfile_schema > docs/jobfile.schema.json"
    )


def test_the_schema_knows_every_option_that_is_read() -> None:
    defined = schema()["$defs"]
    for kind, table in (("Job", RUN), ("Task", GROUP), ("Action", ACTION)):
        assert {f"_{option}" for option in table} <= set(defined[kind]["properties"])
    assert set(defined["RetryRule"]["properties"]) == set(RetryRule.__struct_fields__)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5) | st.just("t"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["title", "parallel", "serialsubtasks", "children", "cmds", "argv", "input", "expand"]
    + [f"_{option}" for option in {**RUN, **GROUP, **ACTION}]
)


def nodes(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Blocks that are right but for what was put into them at random."""
    several = st.lists(inner, max_size=3)
    right = st.fixed_dictionaries({"title": st.just("t")}, optional={"children": several, "cmds": several})
    noise = st.dictionaries(KEYS, VALUES | several, max_size=2)
    fields = st.builds(lambda one, more: {**one, **more}, right, noise)
    return st.builds(lambda kind, inside: {kind: inside}, st.sampled_from(["Task", "Action", "Instance"]), fields)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(VALUES, nodes, max_leaves=20), st.dictionaries(KEYS, VALUES, max_size=2))
def test_no_file_raises_anything_but_errors_of_the_user(node: Any, fields: dict[str, Any]) -> None:
    try:
        from_document({"Job": {"title": "j", "children": [node], **fields}}).to_pipeline().definition()
    except UserError as error:
        assert str(error)


# Slips ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "childern",
            [],
            "Job.children[0].Task: 'childern' is a note that means nothing here; did you mean 'children'?",
        ),
        (
            "paralel",
            True,
            "Job.children[0].Task: 'paralel' is a note that means nothing here; did you mean 'parallel'?",
        ),
        ("cmd", [], "Job.children[0].Task: 'cmd' is a note that means nothing here; did you mean 'cmds'?"),
        (
            "actions",
            [{"Action": {"input": "lost"}}],
            "Job.children[0].Task: 'actions' is a note, and the blocks in it do not run: "
            "those of a Task stand under 'children'",
        ),
    ],
)
def test_a_note_that_looks_like_a_slip_is_warned_of(key: str, value: Any, told: str) -> None:
    text = json.dumps({"Job": {"title": "x", "children": [{"Task": {"title": "t", key: value}}]}})
    assert loads(text).warnings == (told,)


def test_slips_in_python_are_warned_of_too() -> None:
    with Job("x") as job, Task("t", serialsubtask=True):
        Action("a", childern=1)
    assert job.warnings == (
        "Job.children[0].Task: 'serialsubtask' is a note that means nothing here; did you mean 'serialsubtasks'?",
    )


def test_notes_of_ones_own_are_no_slips() -> None:
    fields = {"comment": "x", "project": {"name": "film"}, "shots": [1, 2], "tags": ["a"], "owner": None}
    assert loads(json.dumps({"Job": {"title": "x", **fields}})).warnings == ()


def test_commands_tell_warnings_beside_their_output(tmp_path: Path) -> None:
    file = tmp_path / "slip.json"
    file.write_text(json.dumps({"Job": {"title": "x", "childern": [], "children": [{"Action": {"input": "a"}}]}}))
    line = [sys.executable, "-m", "headrace", "run", str(file), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(done.stdout)["run"]["state"] == "success"
    assert "warning: Job: 'childern' is a note" in done.stderr


def test_one_command_may_stand_without_its_list() -> None:
    document = {"Job": {"title": "t", "cmds": {"Action": {"argv": ["true"]}}}}
    job = from_document(document)
    assert job == from_document({"Job": {"title": "t", "cmds": [{"Action": {"argv": ["true"]}}]}})
    assert loads(dumps(document)) == job


def test_what_an_instance_notes_is_written_as_it_stands() -> None:
    """Only jobs and tasks have nodes below them; an instance may carry notes of any name."""
    children = [{"Task": {"title": "a"}}, {"Instance": {"title": "a", "children": [False]}}]
    document = {"Job": {"title": "t", "children": children}}
    assert json.loads(dumps(from_document(document)))["Job"]["children"][1] == children[1]
