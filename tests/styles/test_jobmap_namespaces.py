"""Namespaces: which folders are some, how they are made and shown, and what a Broker's catalog has of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headrace import jobmap
from headrace.daemons.cli import commands
from headrace.daemons.commands import exits
from headrace.pipeline.styles.namespaces import Namespaces
from headrace.workers.catalog import Catalog

DEFINITION = '{"consumes": ["any"], "produces": ["any"]}'
CODE = "def f(data):\n    return data\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def namespace(folder: Path, code: str = CODE, definition: str = DEFINITION) -> None:
    folder.mkdir(parents=True)
    (folder / "tasks.py").write_text(code)
    (folder / "f.json").write_text(definition)


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["namespace", *arguments])


# Finding -------------------------------------------------------------------------------------------------------------


def test_packages_with_tasks_and_definitions_are_namespaces(folder: Path) -> None:
    for name in ("weather", "weather/stations", "a/b/c"):
        namespace(folder / name)
    assert [one.name for one in Namespaces(folder)] == ["a.b.c", "weather", "weather.stations"]


def test_hidden_folders_and_environments_are_not_searched(folder: Path) -> None:
    for name in (".hidden/one", "env/lib/one", "not-a-name/one", "node_modules/one", "__pycache__/one"):
        namespace(folder / name)
    (folder / "env" / "pyvenv.cfg").touch()
    assert list(Namespaces(folder)) == []


def test_a_tasks_py_without_definitions_is_somebody_elses(folder: Path) -> None:
    (folder / "app").mkdir()
    (folder / "app" / "tasks.py").write_text("raise RuntimeError('this is never imported')\n")
    (folder / "app" / "settings.json").write_text("{}")
    catalog = Catalog.load((), folder=str(folder))
    assert (len(catalog), catalog.warnings) == (0, [])
    assert catalog.get("jobmap:output") is None


def test_other_json_beside_the_tasks_is_left_alone(folder: Path) -> None:
    namespace(folder / "lab")
    for name, text in (("data.json", "[1]"), ("broken.json", "{"), ("map.json", '{"tasks": []}')):
        (folder / "lab" / name).write_text(text)
    (found,) = Namespaces(folder)
    assert found.methods == ("f",)


# In a catalog --------------------------------------------------------------------------------------------------------


def test_a_catalog_has_the_functions_of_all_namespaces(folder: Path) -> None:
    namespace(folder / "lab")
    namespace(folder / "lab" / "deep")
    catalog = Catalog.load((), folder=str(folder))
    cards = {card.name: card for card in catalog.cards()}
    assert {"lab.f", "lab.deep.f", "jobmap:input", "jobmap:groups", "jobmap:output"} <= cards.keys()
    assert cards["lab.f"].kind == "namespace"
    assert cards["lab.f"].version


def test_what_cannot_be_used_is_a_warning(folder: Path) -> None:
    namespace(folder / "broken", "import nothing_of_this_name\n")
    namespace(folder / "leaves", "raise SystemExit(3)\n")
    namespace(folder / "hollow", "")
    namespace(folder / "listed", "def make_task_dict():\n    return 7\n")
    namespace(folder / "json")
    namespace(folder / "lab")
    catalog = Catalog.load((), folder=str(folder))
    assert catalog.get("lab.f") is not None
    told = "\n".join(catalog.warnings)
    assert len(catalog.warnings) == 5
    assert "namespace 'broken' cannot be imported: ModuleNotFoundError" in told
    assert "namespace 'leaves' cannot be imported: SystemExit: 3" in told
    assert "hollow/tasks.py has no function 'f', and f.json defines it" in told
    assert "namespace 'listed' cannot be imported: " in told
    assert "'json' is the name of another module here" in told


def test_tasks_may_import_what_stands_beside_them(folder: Path) -> None:
    namespace(folder / "lab" / "deep", "from .library import f\n")
    (folder / "lab" / "deep" / "library.py").write_text("from lab.common import g\ndef f(data):\n    return g()\n")
    (folder / "lab" / "common.py").write_text("def g():\n    return {}\n")
    catalog = Catalog.load((), folder=str(folder))
    assert catalog.warnings == []
    assert catalog.get("lab.deep.f") is not None


# The command ---------------------------------------------------------------------------------------------------------


def test_a_new_namespace_runs_as_it_is(folder: Path) -> None:
    made = headrace("new", "weather.stations", "--map", "map.json")
    assert made.exit_code == exits.OK
    assert made.stdout.splitlines() == [
        "weather/__init__.py",
        "weather/stations/__init__.py",
        "weather/stations/example.json",
        "weather/stations/tasks.py",
        "map.json",
        "`headrace run map.json` runs it",
    ]
    (record,) = jobmap.run("map.json")
    assert record["data"] == [{"input": "hello", "example": "done"}]


def test_methods_are_added_to_a_namespace(folder: Path) -> None:
    headrace("new", "lab", "one")
    made = json.loads(headrace("new", "lab", "two", "three", "--map", "map.json", "--json").stdout)
    assert [Path(file).name for file in made["files"]] == ["two.json", "three.json", "tasks.py", "map.json"]
    (found,) = Namespaces(folder)
    assert found.methods == ("one", "three", "two")
    document = json.loads((folder / "map.json").read_text())
    document["tasks"][1]["init_args"] = {"text": "given"}
    assert jobmap.run(document)[0]["data"] == [{"input": "hello", "two": "given"}]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("lab",), "there is a namespace 'lab'"),
        (("lab", "f"), "has a method 'f'"),
        (("other", "f", "f"), "'f' cannot be a method"),
        (("other", "for"), "'for' cannot be a method"),
        (("not-a-name",), "cannot be a namespace: it is made of Python names"),
        (("a..b",), "cannot be a namespace"),
        (("class",), "cannot be a namespace"),
        (("json.mine",), "'json' is the name of a module of Python's own"),
        (("single",), "single.py is a module of that name"),
        (("other", "--map", "there.json"), "there is a file there.json"),
        (("blocked",), "cannot be made"),
    ],
)
def test_what_is_there_is_never_overwritten(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    namespace(folder / "lab")
    for name in ("single.py", "there.json", "blocked"):
        (folder / name).touch()
    before = sorted(folder.rglob("*"))
    result = headrace("new", *arguments)
    assert result.exit_code == exits.USAGE
    assert told in result.stderr
    assert sorted(folder.rglob("*")) == before


def test_namespaces_are_listed_and_shown(folder: Path) -> None:
    definition: dict[str, Any] = {"name": "f", "consumes": ["string"], "produces": "words", "description": "Splits."}
    namespace(folder / "lab", CODE, json.dumps(definition))
    assert [line.split() for line in headrace("list").stdout.splitlines()] == [
        ["namespace", "method", "consumes", "produces", "description"],
        ["lab", "f", "string", "words", "Splits."],
    ]
    listed = json.loads(headrace("list", "--json").stdout)
    assert listed["namespaces"] == [{"name": "lab", "folder": str(folder / "lab"), "definitions": [definition]}]
    assert json.loads(headrace("show", "lab").stdout) == [definition]
    assert json.loads(headrace("show", "lab", "f").stdout) == definition
    shown = json.loads(headrace("show", "lab", "f", "--json").stdout)
    assert (shown["kind"], shown["namespace"], shown["definitions"]) == ("definitions", "lab", [definition])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "nothing"), exits.NOT_FOUND),
        (("show", "lab", "g"), exits.NOT_FOUND),
        (("show",), exits.USAGE),
        (("new",), exits.USAGE),
        (("list", "lab"), exits.USAGE),
        (("list", "--map", "map.json"), exits.USAGE),
    ],
)
def test_mistakes_have_their_exit_codes(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    namespace(folder / "lab")
    assert headrace(*arguments).exit_code == code
