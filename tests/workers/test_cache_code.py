"""What of the code counts for the cache: what the worker runs, as far as it is the user's."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.workers.cache.code import code_of

Load = Callable[..., Any]
MODULES = ("mine", "beside", "package", "package.inner")
SOURCE = '''
import math
import beside
from beside import near
from functools import lru_cache, partial
from headrace import Worker, worker

RATE = 3
TABLE = {"a": [1, 2]}

def scale(x):
    return x * RATE

def unused(x):
    return x

@lru_cache
def kept(x):
    return scale(x)

half = partial(scale, 0.5)

class Model:
    size = 4
    def go(self, x):
        return near(x) + beside.far(x)

@worker
def add(x, step=1):
    """Adds."""
    # something
    return kept(x) + step + Model().go(x) + TABLE["a"][0] + math.pi

class Base(Worker):
    def common(self):
        return 1

class Add(Base):
    requires = ["x"]
    def process(self, data):
        return self.common() + self.own(data["x"])
    def own(self, x):
        return add(x)
    @property
    def seen(self):
        return half()
    @staticmethod
    def still(x):
        return [y for y in (x, {1, 2, 3})]
'''
BESIDE = """
def near(x):
    return x + 1

def far(x):
    return x + 2

def elsewhere(x):
    return x + 3
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """The modules `mine` and `beside`, each time from these sources."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def again(source: str = SOURCE, beside: str = BESIDE) -> Any:
        (tmp_path / "mine.py").write_text(source)
        (tmp_path / "beside.py").write_text(beside)
        for name in MODULES:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("mine")

    yield again
    for name in MODULES:
        sys.modules.pop(name, None)


def changed(load: Load, worker: str, old: str, new: str, beside: bool = False) -> set[str]:
    """The names whose digests are other ones when this text is replaced."""
    text = BESIDE if beside else SOURCE
    assert text.count(old) == 1, old
    before = code_of(getattr(load(), worker))
    after = code_of(getattr(load(**{"beside" if beside else "source": text.replace(old, new)}), worker))
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def test_the_same_code_has_the_same_digests_however_often_it_is_loaded(load: Load) -> None:
    assert code_of(load().add) == code_of(load().add)
    assert code_of(load().Add) == code_of(load().Add)


@pytest.mark.parametrize(
    "old, new",
    [
        ("    # something\n", "    # something else, on two\n    # lines\n"),
        ('"""Adds."""', '"""Adds up."""'),
        ("RATE = 3", "\n\n\nRATE = 3"),
        ("def unused(x):\n    return x\n", "def unused(x):\n    return -x\n"),
    ],
)
def test_what_does_not_change_what_runs_does_not_count(load: Load, old: str, new: str) -> None:
    assert changed(load, "add", old, new) == set()
    assert changed(load, "Add", old, new) == set()


@pytest.mark.parametrize(
    "old, new, name",
    [
        ("+ step +", "- step +", ""),
        ("step=1", "step=2", ""),
        ("return x * RATE", "return RATE + x", "scale()"),
        ("RATE = 3", "RATE = 3.0", "RATE"),
        ('{"a": [1, 2]}', '{"a": [1, 3]}', "TABLE"),
        ("return kept(x)", "return 1 + kept(x)", ""),
        ("return scale(x)", "return scale(-x)", "kept()"),
        ("size = 4", "size = 5", "Model"),
        ("return near(x) +", "return near(x) -", "Model"),
    ],
)
def test_a_function_counts_with_everything_that_it_uses(load: Load, old: str, new: str, name: str) -> None:
    assert changed(load, "add", old, new) == {name}


@pytest.mark.parametrize(
    "old, new, name",
    [
        ("return self.common() +", "return self.common() -", ".process()"),
        ("return add(x)", "return add(x + 1)", ".own()"),
        ("        return 1\n", "        return 2\n", ".common()"),
        ("return half()", "return 2 * half()", ".seen()"),
        ("{1, 2, 3}", "{1, 2, 4}", ".still()"),
        ('requires = ["x"]', 'requires = ["x", "y"]', ".requires"),
        ("partial(scale, 0.5)", "partial(scale, 0.25)", "half"),
        ("return x * RATE", "return RATE + x", "scale()"),
    ],
)
def test_a_class_counts_by_its_methods_and_by_what_these_use(load: Load, old: str, new: str, name: str) -> None:
    assert changed(load, "Add", old, new) == {name}


def test_modules_of_the_same_folder_count_as_far_as_they_are_used(load: Load) -> None:
    assert changed(load, "add", "return x + 1", "return x + 10", beside=True) == {"near()"}
    assert changed(load, "add", "return x + 2", "return x + 20", beside=True) == {"far()"}
    assert changed(load, "add", "return x + 3", "return x + 30", beside=True) == set()


def test_what_is_loaded_counts_and_not_what_the_file_says_by_now(load: Load, tmp_path: Path) -> None:
    module = load()
    before = code_of(module.add)
    (tmp_path / "mine.py").write_text(SOURCE.replace("+ step +", "- step +"))
    assert code_of(module.add) == before


def test_packages_count_with_their_modules(load: Load, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("from .inner import help\ndef work(x):\n    return help(x)\n")
    digests = []
    for body in ("return x", "return -x"):
        (tmp_path / "package" / "inner.py").write_text(f"def help(x):\n    {body}\n")
        load()
        digests.append(code_of(importlib.import_module("package").work))
    assert digests[0].keys() == digests[1].keys() == {"", "help()"}
    assert digests[0]["help()"] != digests[1]["help()"]


def test_closures_defaults_and_enums_count(load: Load) -> None:
    def made(factor: int) -> Any:
        source = f"""
from enum import Enum
class Colour(Enum):
    RED = {factor}
def maker(factor):
    def inner(x):
        return x * factor
    return inner
timed = maker({factor})
def paint(x):
    return Colour.RED
"""
        return load(source)

    one, two = made(1), made(2)
    assert code_of(one.timed) != code_of(two.timed)
    assert code_of(one.paint)["Colour"] != code_of(two.paint)["Colour"]


def test_tables_of_functions_and_classes_of_objects_count(load: Load) -> None:
    def made(body: str) -> Any:
        return load(f"""
def first(x):
    return {body}
class Model:
    def go(self, x):
        return {body}
TABLE = {{"first": first, "more": [(1, first)]}}
MODEL = Model()
TABLE["self"] = TABLE
def pick(x):
    return TABLE["first"](x)
def use(x):
    return MODEL.go(x)
""")

    one, two = made("x"), made("-x")
    assert code_of(one.pick)["first()"] != code_of(two.pick)["first()"]
    assert code_of(one.use)["Model"] != code_of(two.use)["Model"]


def test_descriptors_that_hold_a_function_count(load: Load) -> None:
    def made(body: str) -> dict[str, str]:
        return code_of(
            load(f"""
from functools import cached_property, partialmethod, wraps
def noted(function):
    @wraps(function)
    def inner(*given):
        return function(*given)
    return inner
class Work:
    @cached_property
    def model(self):
        return {body}
    def go(self, x, y):
        return {body}
    twice = partialmethod(go, 2)
    @noted
    def process(self, x):
        return {body}
""").Work
        )

    one, two = made("x"), made("-x")
    changed = {name for name in one if one[name] != two[name]}
    assert {".model()", ".go()", ".twice()", "Work.process()"} <= changed, changed


def test_functions_that_call_each_other_come_to_an_end(load: Load) -> None:
    module = load("def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)\n")
    assert code_of(module.even).keys() == {"", "odd()"}


def test_a_function_without_any_source_counts_by_its_code() -> None:
    first, second = ({}, {})
    exec("def f(x):\n    return x + 1", first)
    exec("def f(x):\n    return x + 2", second)
    assert code_of(first["f"]) != code_of(second["f"])
    assert code_of(len) == code_of(len)


def test_every_process_finds_the_same_digests(load: Load, tmp_path: Path) -> None:
    mine = code_of(load().Add)
    code = "import mine; from headrace.workers.cache.code import code_of; print(code_of(mine.Add))"
    for seed in ("1", "2"):
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        line = [sys.executable, "-c", code]
        done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path, env=env)
        assert done.stdout.strip() == str(mine)
