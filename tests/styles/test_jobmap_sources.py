"""Data sources of job maps: direct, files, and functions of the current folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace import jobmap
from headrace.jobmap import JobMapError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def a_map(source: str, content: Any) -> dict[str, Any]:
    return {
        "name": "test",
        "datasource": {"source": source, "content": content},
        "tasks": [{"name": "in", "type": "input"}, {"name": "out", "type": "output"}],
        "workflow": [["in", "out"]],
    }


def data(source: str, **content: Any) -> Any:
    (record,) = jobmap.run(a_map(source, content))
    return record["data"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("one.json", '{"n": 1}', [{"n": 1}]),
        ("rows.json", '[{"n": 1}, {"n": 2}]', [{"n": 1}, {"n": 2}]),
        ("rows.jsonl", '{"n": 1}\n\n{"n": 2}\n', [{"n": 1}, {"n": 2}]),
        ("rows.ndjson", '{"n": 1}', [{"n": 1}]),
        ("odd.jsonl", '{"n": "a\u2028b"}\r\n{"n": "c\x85d"}', [{"n": "a\u2028b"}, {"n": "c\x85d"}]),
        (
            "odd.csv",
            "n,text\r\n1,a\u2028b\r\n2,c\x85d\r\n",
            [{"n": "1", "text": "a\u2028b"}, {"n": "2", "text": "c\x85d"}],
        ),
        ("rows.CSV", 'n,text\n1,"a\nb"\n', [{"n": "1", "text": "a\nb"}]),
        ("one.toml", "n = 1\n", [{"n": 1}]),
        ("none.json", "[]", []),
    ],
)
def test_files_give_a_map_or_rows(folder: Path, name: str, text: str, expected: Any) -> None:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    assert data("file", path=name) == expected


def test_a_file_of_another_ending_says_its_format(folder: Path) -> None:
    (folder / "rows.dat").write_text("n\n1\n")
    assert data("file", path="rows.dat", format="csv") == [{"n": "1"}]


def test_a_file_stands_beside_its_map_or_in_the_current_folder(folder: Path) -> None:
    (folder / "maps").mkdir()
    (folder / "maps" / "map.json").write_text(json.dumps(a_map("file", {"path": "data.json"})))
    (folder / "data.json").write_text('{"from": "here"}')
    assert jobmap.run("maps/map.json")[0]["data"] == [{"from": "here"}]
    (folder / "maps" / "data.json").write_text('{"from": "beside"}')
    assert jobmap.run("maps/map.json")[0]["data"] == [{"from": "beside"}]


def test_braces_in_a_path_are_the_current_folder(folder: Path) -> None:
    (folder / "data.json").write_text("{}")
    assert data("file", path="{}/data.json") == [{}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n3,4,5\n", "line 3: there are 3 fields for 2 columns"),
        ("a,b\n\n1\n", "line 3: there are 1 fields for 2 columns"),
        ("a,b,a\n1,2,3\n", "line 1: two columns are called 'a'"),
    ],
)
def test_rows_that_do_not_fit_their_columns_are_refused_with_their_line(folder: Path, text: str, told: str) -> None:
    (folder / "rows.csv").write_text(text)
    with pytest.raises(JobMapError, match=told):
        data("file", path="rows.csv")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "datasource.content.path: must be the path of a file, not None"),
        ({"path": "gone.json"}, "datasource.content.path: there is no file gone.json in "),
        ({"path": "/gone/data.json"}, "datasource.content.path: there is no file /gone/data.json"),
        ({"path": "bad.json"}, "cannot be read as json"),
        ({"path": "bad.json", "format": "csv", "size": 1}, "there is no field 'size' here"),
        ({"path": "bad.json", "format": "xml"}, "must be one of json, jsonl, csv, toml, not 'xml'"),
        ({"path": "number.json"}, "gives 7: a map, or a list of maps, is wanted"),
        ({"path": "numbers.json"}, "a map, or a list of maps, is wanted"),
        ({"path": "latin.json"}, "cannot be read as json"),
    ],
)
def test_a_file_that_gives_no_data_is_a_problem(folder: Path, content: Any, told: str) -> None:
    (folder / "bad.json").write_text("{")
    (folder / "number.json").write_text("7")
    (folder / "numbers.json").write_text("[7]")
    (folder / "latin.json").write_bytes(b'{"name": "M\xfchle"}')
    with pytest.raises(JobMapError) as raised:
        jobmap.run(a_map("file", content))
    (problem,) = raised.value.problems
    assert problem.field.startswith("datasource")
    assert told in problem


SOURCES = """
import asyncio
from os import system

def rows(start, count=2):
    return [{"n": start + at} for at in range(count)]

def one(content):
    return {"whole": content}

async def waited(n):
    await asyncio.sleep(0)
    return {"n": n}

def generated(n):
    yield from ({"n": at} for at in range(n))

def fails():
    raise OSError("no connection")

def text():
    return "text"
"""


@pytest.mark.parametrize(
    ("source", "content", "expected"),
    [
        ("rows", {"start": 5}, [{"n": 5}, {"n": 6}]),
        ("rows", {"start": 5, "count": 0}, []),
        ("one", {"a": 1, "b": 2}, [{"whole": {"a": 1, "b": 2}}]),
        ("waited", {"n": 3}, [{"n": 3}]),
        ("generated", {"n": 2}, [{"n": 0}, {"n": 1}]),
    ],
)
def test_a_function_of_the_current_folder_gives_the_data(
    folder: Path, source: str, content: dict[str, Any], expected: Any
) -> None:
    (folder / "my_sources.py").write_text(SOURCES)
    assert data(f"my_sources:{source}", **content) == expected


def test_a_function_may_stand_in_a_package(folder: Path) -> None:
    (folder / "lab").mkdir()
    (folder / "lab" / "sources.py").write_text(SOURCES)
    assert data("lab.sources:waited", n=1) == [{"n": 1}]


@pytest.mark.parametrize(
    ("source", "content", "told"),
    [
        ("os:system", {"command": "true"}, "there is no module 'os' in "),
        ("my_sources:system", {"command": "true"}, "'my_sources' defines no function 'system'"),
        ("my_sources:asyncio", {}, "'my_sources' defines no function 'asyncio'"),
        ("my_sources:nothing", {}, "'my_sources' defines no function 'nothing'"),
        ("my_sources:rows.x", {}, "is no module:function"),
        ("../my_sources:rows", {}, "is no module:function"),
        ("json:loads", {"s": "{}"}, "'json' cannot be imported: ImportError: 'json' is the name of another module"),
        ("broken:rows", {}, "'broken' cannot be imported: ZeroDivisionError"),
        ("leaves:rows", {}, "'leaves' cannot be imported: SystemExit"),
        ("my_sources:rows", {"begin": 5}, "does not fit what my_sources:rows takes: "),
        ("my_sources:fails", {}, "my_sources:fails failed: OSError: no connection"),
        ("my_sources:text", {}, "gives 'text': a map, or a list of maps, is wanted"),
    ],
)
def test_a_function_that_gives_no_data_is_a_problem(folder: Path, source: str, content: Any, told: str) -> None:
    (folder / "my_sources.py").write_text(SOURCES)
    (folder / "json.py").write_text(SOURCES)
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "leaves.py").write_text("raise SystemExit\n")
    with pytest.raises(JobMapError) as raised:
        jobmap.run(a_map(source, content))
    assert told in str(raised.value)


def test_validation_reads_no_source(folder: Path) -> None:
    (folder / "my_sources.py").write_text(SOURCES)
    jobmap.validate(a_map("my_sources:fails", {}))


def test_content_that_cannot_travel_is_a_problem(folder: Path) -> None:
    with pytest.raises(JobMapError, match=r"datasource: holds what cannot travel between processes: .*type object"):
        jobmap.run(a_map("direct", {"thing": object()}))
