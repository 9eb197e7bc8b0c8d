"""What the source of a `tasks.py` says of its functions, and where it says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.pipeline.styles.tasksource import TaskSource


def source(folder: Path, code: str) -> TaskSource:
    (folder / "tasks.py").write_text(code)
    return TaskSource(folder / "tasks.py")


PLAIN = {
    "a closure": "def f(init_args):\n    def run(data):\n        return {'n': 1}\n    return run\n",
    "an async one": "def f(init_args):\n    async def run(data):\n        return {'n': 1}\n    return run\n",
    "a lambda": "def f(init_args):\n    return lambda data: {**data, **init_args}\n",
    "a conditional": "def f(init_args):\n    return lambda data: {} if data else dict(data)\n",
    "the function itself": "def f(data):\n    return {'n': 1}\n",
    "an async function": "async def f(data, init_args):\n    return {key: 1 for key in data}\n",
    "the map that it was given": "def f(data):\n    data['n'] = 1\n    return data\n",
    "a local name": "def f(data):\n    made = {}\n    made['n'] = 1\n    return made\n",
    "a local name with a type": "def f(data):\n    made: dict[str, int] = {}\n    return made\n",
    "several returns": "def f(data):\n    if data:\n        return {}\n    return dict(n=1)\n",
    "two closures": (
        "def f(init_args):\n    def one(data):\n        return {}\n    def two(data):\n        return data\n"
        "    if init_args:\n        return one\n    return two\n"
    ),
    "returns of inner functions are their own": (
        "def f(data):\n    def key(item):\n        return [item]\n    return {'n': sorted(data, key=key)}\n"
    ),
}

DOUBTFUL = {
    "a list": "def f(data):\n    return [{}]\n",
    "a map or a list": "def f(data):\n    if data:\n        return {}\n    return []\n",
    "a call": "def f(data):\n    return other(data)\n",
    "nothing": "def f(data):\n    data['n'] = 1\n",
    "an empty return": "def f(data):\n    if data:\n        return\n    return {}\n",
    "no function": "f = lambda data: {}\n",
    "a decorated function": "@decorated\ndef f(data):\n    return {}\n",
    "a decorated closure": "def f(init_args):\n    @decorated\n    def run(data):\n        return {}\n    return run\n",
    "a name that is bound twice": "def f(data):\n    return {}\nf = other(f)\n",
    "a conditional definition": "if True:\n    def f(data):\n        return {}\n",
    "an imported function": "from elsewhere import f\n",
    "a class": "class f:\n    pass\n",
    "data of another name": "def f(data):\n    data = data['rows']\n    return data\n",
    "a name from a loop": "def f(data):\n    for data in data['rows']:\n        pass\n    return data\n",
    "a name from a tuple": "def f(data):\n    made, rest = split(data)\n    return made\n",
    "a name that was changed": "def f(data):\n    made = {}\n    made = list(made)\n    return made\n",
    "a name from outside": "made = {}\ndef f(data):\n    return made\n",
    "a global name": "def f(data):\n    global made\n    made = {}\n    change()\n    return made\n",
    "a name that an inner function changes": (
        "def f(data):\n    made = {}\n    def change():\n        nonlocal made\n        made = []\n"
        "    change()\n    return made\n"
    ),
    "a name from a match": (
        "def f(data):\n    match data['rows']:\n        case [*data]:\n            pass\n    return data\n"
    ),
    "a generator": "def f(data):\n    yield 1\n    return {}\n",
    "a closure from elsewhere": "def f(init_args):\n    return other\n",
    "a closure that was changed": (
        "def f(init_args):\n    def run(data):\n        return {}\n    run = wrapped(run)\n    return run\n"
    ),
    "an awaited closure": "async def f(init_args):\n    return lambda data: {}\n",
    "tasks that list themselves": "def f(data):\n    return {}\ndef make_task_dict():\n    return {'f': other}\n",
    "names from anywhere": "def f(data):\n    return {}\nfrom elsewhere import *\n",
}


@pytest.mark.parametrize("code", PLAIN.values(), ids=PLAIN)
def test_the_source_says_that_it_is_a_map(tmp_path: Path, code: str) -> None:
    assert source(tmp_path, code).returns_map("f")


@pytest.mark.parametrize("code", DOUBTFUL.values(), ids=DOUBTFUL)
def test_in_any_doubt_the_source_says_nothing(tmp_path: Path, code: str) -> None:
    assert not source(tmp_path, code).returns_map("f")


def test_what_an_aggregate_is_given_is_no_map(tmp_path: Path) -> None:
    same = source(tmp_path, "def f(data):\n    return data\ndef g(data):\n    return {'items': data}\n")
    assert not same.returns_map("f", takes_map=False)
    assert same.returns_map("g", takes_map=False)


def test_names_are_found_wherever_they_are_bound(tmp_path: Path) -> None:
    code = (
        "import os.path\nfrom a import b as c\nfor d in ():\n    e = 1\nwith x as f:\n    pass\n"
        "try:\n    def g(): hidden = 1\nexcept OSError as h:\n    pass\nclass i:\n    inner = 1\n"
    )
    found = source(tmp_path, code)
    assert all(found.has(name) for name in ("os", "c", "d", "e", "f", "g", "h", "i"))
    assert not any(found.has(name) for name in ("path", "a", "b", "hidden", "inner", "j"))
