"""Finding the pipeline that a user names."""

import json
import sys
from pathlib import Path

import pytest

from headrace.pipeline.errors import ConfigError, DefinitionError
from headrace.pipeline.job import Job
from headrace.pipeline.loading import as_pipeline, load
from headrace.pipeline.pipeline import Pipeline

ONE = "from headrace import Job, Pipeline\npipeline = Pipeline({Job('A'): Job('B')})\n"
WANTED = Pipeline({Job("A"): Job("B")})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_one_pipeline_of_a_file_is_found(folder):
    write(folder / "one.py", f"{ONE}again = pipeline\n")
    assert load("one.py") == WANTED
    assert load(folder / "one.py") == WANTED


def test_a_files_own_imports_work_from_any_folder(folder):
    write(folder / "project" / "parts_of_it.py", "NAME = 'B'\n")
    write(
        folder / "project" / "main.py",
        ONE.replace("'B'", "NAME").replace("from", "from parts_of_it import NAME\nfrom", 1),
    )
    assert load("project/main.py") == WANTED
    assert sys.path[0] == str(folder / "project")


def test_what_stands_under_a_main_guard_is_not_run(folder):
    write(folder / "guarded.py", f"{ONE}if __name__ == '__main__':\n    raise SystemExit(3)\n")
    assert load("guarded.py") == WANTED


def test_a_file_named_like_a_loaded_module_harms_nobody(folder):
    write(folder / "json.py", ONE)
    assert load("json.py") == WANTED
    assert sys.modules["json"] is json


def test_of_several_pipelines_one_is_named(folder):
    write(folder / "two.py", f"{ONE}other = Pipeline({{Job('X'): None}})\n")
    with pytest.raises(ConfigError, match=r"holds 2 pipelines \(pipeline, other\).*two.py:pipeline"):
        load("two.py")
    assert load("two.py:other") == Pipeline({Job("X"): None})


def test_a_file_without_a_pipeline_says_so(folder):
    write(folder / "none.py", "x = 1\n")
    with pytest.raises(ConfigError, match=r"none.py holds no Pipeline.*none.py:NAME"):
        load("none.py")


def test_a_function_that_returns_a_pipeline_is_called(folder):
    write(
        folder / "made.py",
        f"{ONE}def make():\n    return pipeline\ndef number():\n    return 7\ndef broken():\n    1 / 0\n",
    )
    assert load("made.py:make") == WANTED
    with pytest.raises(ConfigError, match=r"made.py:number is a int, neither"):
        load("made.py:number")
    with pytest.raises(ConfigError, match=r"made.py:broken\(\) failed: ZeroDivisionError"):
        load("made.py:broken")


def test_a_module_is_imported_from_the_current_folder(folder):
    write(folder / "house_of" / "__init__.py", "")
    write(folder / "house_of" / "pipelines.py", ONE)
    assert load("house_of.pipelines:pipeline") == WANTED
    with pytest.raises(ConfigError, match=r"did you mean house_of.pipelines:pipeline"):
        load("house_of.pipelines:pipelin")
    with pytest.raises(ConfigError, match=r"module house_of.other could not be imported: ModuleNotFoundError"):
        load("house_of.other:pipeline")


def test_a_json_file_holds_a_document(folder):
    write(folder / "p.json", json.dumps(WANTED.to_dict()))
    assert load("p.json") == WANTED


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("{", ConfigError, "p.json is not JSON"),
        ("[" * 100_000, ConfigError, "p.json is not JSON"),
        ("[]", ConfigError, 'p.json is of no form .* job file has the key "Job", a job map "tasks", and a pipeline'),
        ('{"job": {}}', ConfigError, "p.json is of no form that is known here: in JSON, a job file has the key"),
        ('{"edges": []}', DefinitionError, "p.json: pipeline: version must be 1"),
        ('{"workflow": []}', DefinitionError, "p.json: 3 problems\n  name: is missing"),
        ('{"version": 9}', DefinitionError, "p.json: pipeline: version must be 1"),
    ],
)
def test_a_json_file_that_holds_none_is_refused(folder, text, error, says):
    write(folder / "p.json", text)
    with pytest.raises(error, match=says):
        load("p.json")


@pytest.mark.parametrize("target", ["nothing", "nothing.txt", "", ":", "dir/"])
def test_what_names_no_pipeline_says_what_to_write(folder, target):
    with pytest.raises(ConfigError, match=r"FILE.py"):
        load(target)


@pytest.mark.parametrize("target", ["gone.py", "gone.json", "gone.py:pipeline"])
def test_a_missing_file_is_named(folder, target):
    with pytest.raises(ConfigError, match="there is no file gone"):
        load(target)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_like_this\n", "line 1: ModuleNotFoundError"),
        ("x = 1\n\n1 / 0\n", "line 3: ZeroDivisionError"),
        ("x = 1\ndef (:\n", "line 2: SyntaxError: .*, at `def \\(:`"),
        ("import also_broken\n", "also_broken.py, line 1: SyntaxError: .*, at `x = =`"),
        ("raise SystemExit(1)\n", "line 1: SystemExit: 1"),
    ],
)
def test_a_file_that_breaks_says_where(folder, text, says):
    write(folder / "also_broken.py", "x = =\n")
    write(folder / "broken.py", text)
    with pytest.raises(ConfigError, match=f"broken.py could not be loaded: .*{says}"):
        load("broken.py")


@pytest.mark.parametrize("target", ["wrong_of_mine:pipeline", "wrong_of_mine.py:make"])
def test_a_pipeline_that_cannot_be_is_told_as_it_is_wherever_it_is_made(folder, target):
    made = "def make():\n    from headrace import Job, Pipeline\n    return Pipeline({'A': None})\n"
    write(folder / "wrong_of_mine.py", made if target.endswith("make") else ONE.replace("Job('B')", "'B'"))
    with pytest.raises(DefinitionError, match="Only `Job` objects"):
        load(target)


def test_a_wrong_pipeline_in_a_file_is_told_as_it_is(folder):
    write(folder / "wrong.py", ONE.replace("Job('B')", "'B'"))
    with pytest.raises(DefinitionError, match="Only `Job` objects"):
        load("wrong.py")


def a_map(path):
    return {
        "name": "shown",
        "datasource": {"source": "file", "content": {"path": path}},
        "tasks": [{"name": "in", "type": "input"}, {"name": "out", "type": "output"}],
        "workflow": [["in", "out"]],
    }


def test_a_map_stands_for_what_a_json_file_of_it_would(folder):
    job = {"Job": {"title": "j", "children": [{"Action": {"input": "x"}}, {"Action": {}}]}}
    write(folder / "rows.json", '{"row": 1}')
    for at, document in enumerate((job, a_map("rows.json"), WANTED.to_dict())):
        write(folder / f"{at}.json", json.dumps(document))
        assert as_pipeline(document).definition() == load(f"{at}.json").definition()
    assert as_pipeline(job, priority=3).priority == 3


@pytest.mark.parametrize("document", [{}, {"Task": {"title": "t"}}])
def test_a_map_of_no_form_says_what_each_form_is_told_by(document):
    with pytest.raises(ConfigError, match=r'a map of no form .* job file has the key "Job"'):
        as_pipeline(document)


@pytest.mark.parametrize("written", ["film.json", Path("film.json")])
def test_the_name_of_a_file_is_no_pipeline_and_says_how_to_read_one(written):
    with pytest.raises(ConfigError, match=r"is no pipeline.*; to read a file: .*load"):
        as_pipeline(written)
