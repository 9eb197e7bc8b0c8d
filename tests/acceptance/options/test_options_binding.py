"""How a job's input is made, and how values travel: the same in both engines."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Job, Pipeline
from headrace.pipeline.errors import DefinitionError

TWO = (Job("one"), Job("two"))


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("args", {"args": [1, 2], "named": {}}),
        ("named", {"args": [], "named": {"run": "data", "job": "data", "one": 1, "two": 2}}),
        ("gather", {"args": [[1, 2]], "named": {}}),
        ("literal", {"args": [], "named": {"job": "data"}}),
    ],
)
def test_a_binding_makes_the_same_input(engine: Any, bind: str, expected: dict[str, Any]) -> None:
    job = Job("received", {"job": "data"}, bind=bind)
    run = engine.run(Pipeline({TWO: job}, data={"run": "data"}))
    assert (run.state, run.error) == ("success", None)
    assert run.results["received"] == expected


def test_by_default_the_store_gives_what_the_worker_requires(engine: Any) -> None:
    run = engine.run(Pipeline({Job("parts"): Job("from_store")}, data={"greeting": "hello"}))
    assert run.results == {"parts": {"one": 1, "two": 2}, "from_store": [1, 2, "hello"]}


def test_one_upstream_value_is_an_item_and_two_are_an_error(engine: Any) -> None:
    run = engine.run(Pipeline({Job("one"): Job("echoed", bind="item")}))
    assert run.results == {"one": 1, "echoed": 1}
    with pytest.raises(DefinitionError, match="takes one job's result, and 2 come before it"):
        Pipeline({TWO: Job("echoed", bind="item")})


def test_arguments_come_in_the_order_of_the_edges_not_of_the_ends(engine: Any) -> None:
    run = engine.run(Pipeline([(Job("two"), Job("received", bind="args")), (Job("one"), Job("received"))]))
    assert run.results["received"]["args"] == [2, 1]


def test_what_the_store_of_a_job_lacks_is_said_by_name(engine: Any) -> None:
    run = engine.run(Pipeline({Job("one"): Job("from_store")}))
    assert (run.state, run.error.job) == ("failed", "from_store")
    assert "requires 'one', which is not in the results of the jobs upstream (one)" in run.error.reason


@pytest.mark.parametrize("size", [10, 64 * 1024 + 1, 3_000_000], ids=["inline", "by-reference", "in-chunks"])
def test_a_value_of_any_size_arrives_and_can_be_read(engine: Any, size: int) -> None:
    graph = {Job("blob", {"size": size}): Job("echoed", bind="item"), Job("echoed"): Job("length_of", bind="item")}
    run = engine.run(Pipeline(graph))
    assert run.results["length_of"] == size
    assert run.results["echoed"] == "x" * size


def test_extension_types_come_back_as_they_were(engine: Any, workers: Any) -> None:
    run = engine.run(Pipeline({Job("extended"): [Job("echoed", bind="item"), Job("types_of", bind="item")]}))
    made = workers.extended()
    assert run.results["extended"] == run.results["echoed"] == made
    assert run.results["types_of"] == {name: type(part).__name__ for name, part in made.items()}


def test_arrays_travel(engine: Any) -> None:
    numpy = pytest.importorskip("numpy")
    run = engine.run(Pipeline({Job("arrays"): Job("shape_of", bind="item")}))
    assert run.results["shape_of"] == ["ndarray", "int16", [2, 3], 15]
    assert numpy.array_equal(run.results["arrays"], [[0, 1, 2], [3, 4, 5]])


def test_tables_travel(engine: Any) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    run = engine.run(Pipeline({Job("tables"): Job("types_of", bind="item")}))
    assert run.results["types_of"] == {"pandas": "DataFrame", "pyarrow": "Table"}
    assert run.results["tables"]["pandas"]["b"].tolist() == ["x", "y"]
    assert run.results["tables"]["pyarrow"].to_pydict() == {"n": [1, 2, 3]}


def test_a_type_that_cannot_travel_fails_its_job_with_the_place_and_the_type(engine: Any) -> None:
    run = engine.run(Pipeline({Job("unsupported"): Job("echoed", bind="item")}))
    assert run.states == {"unsupported": "failed", "echoed": "cancelled"}
    assert "['deep'][1]['here']" in run.error.reason and "object" in run.error.reason


def test_branches_never_share_what_one_of_them_may_change(engine: Any) -> None:
    numbers, shared = Job("numbers", {"count": 5}, spread=True), Job("shared")
    run = engine.run(Pipeline({(numbers, shared): Job("spoil", bind="args")}))
    assert run.results["shared"] == {"list": []}
    assert run.results["spoil"] == [[0], [1], [2], [3], [4]]
