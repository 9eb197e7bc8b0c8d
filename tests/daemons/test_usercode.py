"""User code is named so that another process finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.daemons.slots.usercode import module_names, store_name
from headrace.pipeline.errors import ConfigError
from headrace.stores.memory import MemoryStore


class Mine:
    class Inner:
        pass


@pytest.mark.parametrize(
    ("given", "names"),
    [("workers", ("workers",)), (["a", "b.c"], ("a", "b.c")), (pytest, ("pytest",)), ((pytest, "a"), ("pytest", "a"))],
)
def test_modules_are_given_by_name_or_as_they_are(given: Any, names: tuple[str, ...]) -> None:
    assert module_names(given) == names


@pytest.mark.parametrize("given", ["", [], [""], [None]])
def test_what_names_no_module_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="name of a module"):
        module_names(given)


def test_a_store_is_named_by_its_module() -> None:
    assert store_name(None) is None
    assert store_name("my.stores:Store") == "my.stores:Store"
    assert store_name(MemoryStore) == "headrace.stores.memory:MemoryStore"
    assert store_name(Mine.Inner) == f"{__name__}:Mine.Inner"


def test_a_store_of_the_script_that_runs_is_named_by_its_file(tmp_path: Path) -> None:
    script = tmp_path / "my_broker.py"
    script.write_text(
        "from headrace.daemons.slots.usercode import store_name\nclass Mine: pass\nprint(store_name(Mine))"
    )
    said = subprocess.check_output([sys.executable, script.name], cwd=tmp_path, text=True)
    assert said.strip() == f"{script}:Mine"


def test_a_store_of_a_session_has_no_name_that_another_process_could_use() -> None:
    code = "from headrace.daemons.slots.usercode import store_name\nclass Mine: pass\nstore_name(Mine)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode != 0 and "put it into a module" in ended.stderr


def test_a_store_class_made_in_a_function_is_refused() -> None:
    class Local:
        pass

    with pytest.raises(ConfigError, match="top of its module"):
        store_name(Local)


@pytest.mark.parametrize("given", ["Store", ":Store", "stores:"])
def test_half_a_name_of_a_store_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="module:Class"):
        store_name(given)


def test_an_object_is_no_store_class() -> None:
    with pytest.raises(ConfigError, match="give a class"):
        store_name(MemoryStore())
