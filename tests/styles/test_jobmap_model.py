"""Job maps against the rule in ten lines: whatever tasks return, outputs and groups are those of the rule."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import jobmap

CODE = """
def grow(init_args):
    plan = init_args["plan"]

    def run(data):
        size = plan[(sum(data["trail"]) + len(data["trail"])) % len(plan)]
        if size is None:
            made = {"trail": [*data["trail"], 7]}
        else:
            made = [{"trail": [*data["trail"], at]} for at in range(size)]
        return made

    return run


def collect(init_args):
    return lambda items: {"trail": [sum(sum(item["trail"]) for item in items), len(items)]}
"""
Item = tuple[tuple[int, ...], dict[str, Any]]
sizes = st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=3)
rules = st.none() | st.just("all") | st.builds(lambda n: {"level": n}, st.integers(1, 3)) | st.just({"size": 2})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("model")
    (folder / "grown").mkdir()
    (folder / "grown" / "tasks.py").write_text(CODE)
    for name in ("grow", "collect"):
        definition = {"consumes": ["any"], "produces": ["any"], "init_args": [{"name": "plan"}]}
        (folder / "grown" / f"{name}.json").write_text(json.dumps(definition))
    before = list(sys.path)
    yield folder
    sys.path[:] = before
    for name in [one for one in sys.modules if one.partition(".")[0] == "grown"]:
        del sys.modules[name]


def rule(items: list[Item], run: Any) -> list[Item]:
    """One map or a list of maps, each of which has a branch of its own."""
    found: list[Item] = []
    for path, data in items:
        answer = run(data)
        found += [(path, answer)] if isinstance(answer, dict) else [((*path, at), one) for at, one in enumerate(answer)]
    return found


def groups(items: list[Item], aggregate: Any) -> list[tuple[tuple[int, ...], list[dict[str, Any]]]]:
    if aggregate == "all":
        return [((), [data for _, data in items])]
    if "size" in aggregate:
        data = [one for _, one in items]
        return [((at,), data[2 * at : 2 * at + 2]) for at in range((len(data) + 1) // 2)]
    keys = dict.fromkeys(path[: max(0, len(path) - aggregate["level"])] for path, _ in items)
    level = aggregate["level"]
    return [(key, [data for path, data in items if path[: max(0, len(path) - level)] == key]) for key in keys]


def expected(steps: list[tuple[Any, Any]]) -> list[dict[str, Any]]:
    made: dict[str, Any] = {}
    exec(CODE, made)
    items: list[Item] = [((), {"trail": []})]
    for plan, aggregate in steps:
        items = rule(items, made["grow"]({"plan": plan}))
        if aggregate is not None:
            items = [(path, made["collect"]({})(group)) for path, group in groups(items, aggregate)]
    return [data for _, data in items]


def a_map(steps: list[tuple[Any, Any]]) -> dict[str, Any]:
    common = {"type": "function", "namespace": "grown", "consumes": "any", "produces": "any"}
    functions: list[dict[str, Any]] = []
    for at, (plan, aggregate) in enumerate(steps):
        functions.append({"name": f"grow {at}", "method": "grow", "init_args": {"plan": plan}, **common})
        if aggregate is not None:
            more = {"method": "collect", "init_args": {}, "aggregate": aggregate}
            functions.append({"name": f"collect {at}", **more, **common})
    names = ["in", *(one["name"] for one in functions), "out"]
    return {
        "name": "model",
        "datasource": {"source": "direct", "content": {"trail": []}},
        "tasks": [{"name": "in", "type": "input"}, *functions, {"name": "out", "type": "output"}],
        "workflow": [list(pair) for pair in pairwise(names)],
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(sizes, rules), min_size=1, max_size=4))
def test_outputs_are_those_of_the_rule(folder: Path, steps: list[tuple[Any, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (record,) = jobmap.run(a_map(steps))
    assert record["data"] == expected(steps)
