"""What each store leaves behind, for people who look at it with their own tools."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import headrace.stores
from headrace.pipeline.errors import StoreError
from headrace.stores import FileStore, MemoryStore, SQLiteStore
from headrace.stores.disk import filename


def info(job: str, result: Any, **more: Any) -> dict[str, Any]:
    given = {"worker": job, "pipeline": "run1", "job": job, "path": (), "fence": "01", "worker_result": result}
    return {**given, **more}


def test_a_file_store_keeps_one_json_file_per_run(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "results")
    store.save(info("Download", {"html": "<p>ü</p>"}))
    store.save(info("Words", {"count": 1}, path=(2, 0), fence="02"))
    store.save(info("Words", {"count": 2}, pipeline="run2"))
    text = (tmp_path / "results" / "run1.json").read_text(encoding="utf-8")
    assert "<p>ü</p>" in text
    content = json.loads(text)
    assert content["document"] == "run1"
    assert content["runs"]["run1"]["Download"][""]["result"] == {"html": "<p>ü</p>"}
    assert content["runs"]["run1"]["Words"]["2.0"]["fence"] == "02"
    assert store.file("run2").name == "run2.json"


def test_a_shared_document_is_the_file_that_the_data_names(tmp_path: Path) -> None:
    store = FileStore(tmp_path, document="filename")
    store.save(info("A", {"x": 1}, data={"filename": "pages/one"}))
    assert json.loads((tmp_path / "pages%2Fone.json").read_text())["runs"]["run1"]["A"][""]["result"] == {"x": 1}


def test_a_file_store_leaves_no_temporary_files(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for number in range(3):
        store.save(info("A", number))
        store.save_monitoring({"number": number})
    assert sorted(file.name for file in tmp_path.iterdir()) == [".locks", "monitoring.jsonl", "run1.json"]


def test_a_file_that_somebody_has_spoilt_is_named(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.file("run1").write_text("[1, 2")
    with pytest.raises(StoreError, match=r"run1\.json is not JSON any more .*mend it or move it away"):
        store.save(info("A", 1))
    store.file("run1").write_text("[1, 2]")
    with pytest.raises(StoreError, match=r"run1\.json is not a file of this store"):
        store.save(info("A", 1))
    assert store.file("run1").read_text() == "[1, 2]"


def test_a_monitoring_line_that_a_crash_has_cut_short_is_dropped(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.save_monitoring({"number": 1, "text": "\u2028"})
    with open(tmp_path / "monitoring.jsonl", "a") as file:
        file.write('{"number": 2, "te')
    assert store.monitoring() == [{"number": 1, "text": "\u2028"}]
    store.save_monitoring({"number": 3})
    assert [record["number"] for record in store.monitoring()] == [1, 3]


def test_an_sqlite_store_can_be_queried_as_json(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "deep" / "results.sqlite")
    store.save(info("Words", {"count": 3}))
    store.close()
    with sqlite3.connect(tmp_path / "deep" / "results.sqlite") as connection:
        rows = connection.execute("SELECT run, job, json_extract(result, '$.count') FROM results").fetchall()
    connection.close()
    assert rows == [("run1", "Words", 3)]


def test_an_sqlite_store_goes_on_after_close(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "results.sqlite")
    store.save(info("A", 1))
    store.close()
    store.save(info("B", 2))
    assert {saved.job for saved in store.results("run1")} == {"A", "B"}
    store.close()


def test_an_sqlite_store_does_not_use_its_connection_in_a_fork(tmp_path: Path) -> None:
    code = """
import os, sys
from headrace.stores import SQLiteStore
store = SQLiteStore(sys.argv[1])
save = lambda job: store.save({"worker": job, "pipeline": "run1", "job": job, "fence": "01", "worker_result": job})
save("parent")
child = os.fork()
if child == 0:
    for number in range(20): save(f"child{number}")
    os._exit(0)
for number in range(20): save(f"parent{number}")
assert os.waitpid(child, 0)[1] == 0
print(len(store.results("run1")))
"""
    ended = subprocess.run([sys.executable, "-c", code, tmp_path / "x.sqlite"], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("41\n", "")


def test_a_memory_store_shares_nothing_with_another() -> None:
    first, second = MemoryStore(), MemoryStore()
    first.save(info("A", 1))
    assert second.results("run1") == []


def test_a_missing_pymongo_is_named_with_the_remedy() -> None:
    code = "import sys; sys.modules['pymongo'] = None\nfrom headrace.stores import MongoStore"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1] == (
        "headrace.pipeline.errors.ConfigError: MongoStore needs the package pymongo, which is not installed here: "
        "pip install 'headrace[mongo]'"
    )


def test_importing_the_stores_imports_none_of_them() -> None:
    code = (
        "import sys, headrace.stores; from headrace.stores import PipelineStore, Store\n"
        "print([name for name in ('sqlite3', 'pymongo', 'json') if name in sys.modules], dir(headrace.stores))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    names = ["FileStore", "MemoryStore", "MongoStore", "PipelineStore", "SQLiteStore", "Store"]
    assert ended.stdout == f"[] {names}\n"
    with pytest.raises(AttributeError, match=r"module 'headrace\.stores' has no attribute 'NoStore'"):
        headrace.stores.__getattr__("NoStore")


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "x" * 5000, "nul\0", "ü" * 200, "\udcff", ".hidden", "a\nb"])
def test_any_text_is_a_file_name(tmp_path: Path, text: str) -> None:
    name = filename(text)
    (tmp_path / name).write_text(text.encode(errors="replace").decode())
    assert not name.startswith(".")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_readable_names_stay_readable() -> None:
    assert filename("Get Links (2)") == "Get Links (2)"
