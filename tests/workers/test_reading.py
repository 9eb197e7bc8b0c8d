"""Where inputs and upstream results come from, and what a branch may see."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.pipeline.definition import Definition, GatherRule, Node, pack_definition
from headrace.pipeline.errors import JobError, StoreError
from headrace.pipeline.payload import pack, unpack
from headrace.pipeline.task import JOURNAL, Input, RunHeader, Supplied
from headrace.stores.values import ValuesFolder
from headrace.workers.ancestry import Ancestry
from headrace.workers.kept import ENTRY, MOST, Elements, Kept
from headrace.workers.reading import Reader
from headrace.workers.runnable import NOTHING
from headrace.workers.upstream import Upstream


def value(one: Any) -> Any:
    return one


def chain(*names: str, **options: Any) -> Definition:
    nodes = tuple(Node(name=name, **options.get(name, {})) for name in names)
    return Definition(nodes=nodes, edges=tuple((at, at + 1, "order") for at in range(len(names) - 1)))


# Inputs -------------------------------------------------------------------------------------------------------------


def test_a_value_comes_as_bytes_by_reference_or_by_question(lab: Any, tmp_path: Path) -> None:
    values = ValuesFolder(tmp_path)
    ref = values.write("run", "far", (), 1, pack("from the folder"))
    lab.holds("asked", "from the Router")
    inputs = [
        Supplied(Input("near"), pack("inline")),
        Supplied(Input("far"), None, ref),
        Supplied(Input("asked")),
    ]

    def join(*found: Any) -> Any:
        return list(found)

    result = lab.result(join, bind="args", inputs=inputs, values=values)
    assert result == ["inline", "from the folder", "from the Router"]


def test_a_value_that_is_not_in_this_folder_comes_in_chunks(lab: Any, tmp_path: Path) -> None:
    lab.chunks["a/b/c/d"] = pack("somewhere else")
    inputs = [Supplied(Input("far"), None, "a/b/c/d")]
    assert lab.result(value, bind="item", inputs=inputs) == "somewhere else"
    assert lab.result(value, bind="item", inputs=inputs, values=ValuesFolder(tmp_path)) == "somewhere else"


def test_the_data_of_a_run_may_be_a_reference(lab: Any) -> None:
    lab.chunks["a/b/c/d"] = pack({"one": 5})
    outcome = lab.execution(value).run(RunHeader("run", None, "a/b/c/d"), lab.assignment("value"))
    assert unpack(outcome.result) == 5


def test_large_data_of_a_run_is_asked_for_once(lab: Any) -> None:
    lab.data = pack({"one": 5})
    execution = lab.execution(value)
    for _ in range(3):
        outcome = execution.run(RunHeader("run", None, JOURNAL), lab.assignment("value"))
        assert unpack(outcome.result) == 5
    assert [want.kind for want in lab.asked] == ["data"]


def test_data_that_is_not_there_any_more_fails_the_job_and_says_why(lab: Any, told: Callable[..., str]) -> None:
    outcome = lab.execution(value).run(RunHeader("run", None, JOURNAL), lab.assignment("value"))
    assert told(outcome) == "failed: JobError: the data of run run cannot be read: run run has no data"


def test_a_result_that_is_gone_fails_the_job_and_says_why(lab: Any, told: Callable[..., str]) -> None:
    text = told(lab.run(value, bind="item", inputs=[Supplied(Input("before", (2,)))]))
    assert text == "failed: JobError: the result of job 'before' [2] is not there any more"


def test_a_values_folder_that_cannot_be_read_is_no_fault_of_the_job(lab: Any, tmp_path: Path) -> None:
    class Torn(ValuesFolder):
        def read(self, ref: str, offset: int = 0, length: int | None = None) -> bytes:
            raise OSError(5, "Input/output error")

    inputs = [Supplied(Input("far"), None, "a/b/c/d")]
    outcome = lab.run(value, bind="item", inputs=inputs, values=Torn(tmp_path))
    assert outcome.kind == "store"


def test_a_branch_gets_its_element_of_a_spread_list(lab: Any, tmp_path: Path) -> None:
    values = ValuesFolder(tmp_path)
    ref = values.write("run", "list", (), 1, pack(["a", {"b": (1, 2)}, None]))
    execution = lab.execution(value, values=values)
    for element, expected in enumerate(["a", {"b": (1, 2)}, None]):
        for supplied in (
            Supplied(Input("list", (), element=element), None, ref),
            Supplied(Input("list", (), element=element), pack(["a", {"b": (1, 2)}, None])),
        ):
            outcome = execution.run(RunHeader("run"), lab.assignment("value", bind="item", inputs=[supplied]))
            assert unpack(outcome.result) == expected


@pytest.mark.parametrize("by_reference", [False, True])
def test_a_list_is_asked_for_once_for_all_its_branches(lab: Any, tmp_path: Path, by_reference: bool) -> None:
    values = ValuesFolder(tmp_path)
    lab.holds("list", [*range(100)])
    if by_reference:
        ref = values.write("run", "list", (), 1, pack([*range(100)]))
        lab.results["list", ()] = ((), "success", None, ref)
    execution = lab.execution(value, values=values)
    for element in range(100):
        supplied = Supplied(Input("list", (), element=element))
        outcome = execution.run(RunHeader("run"), lab.assignment("value", bind="item", inputs=[supplied]))
        assert unpack(outcome.result) == element
    assert len(lab.asked) == 1


def test_elements_are_found_without_unpacking_their_neighbours() -> None:
    data = pack(list(range(100_000)))
    elements = Elements(data)
    assert [elements.get(index, "it") for index in (0, 127, 128, 70_000, 99_999)] == [0, 127, 128, 70_000, 99_999]
    with pytest.raises(JobError, match="has 100000 elements, and none with index 100000"):
        elements.get(100_000, "it")


def test_a_spread_value_that_is_no_list_is_told(lab: Any, told: Callable[..., str]) -> None:
    text = told(lab.run(value, bind="item", inputs=[Supplied(Input("list", (), element=1), pack("text"))]))
    assert text.startswith("failed: JobError: the result of job 'list' is no list that could be spread")


def test_a_gather_reads_all_branches_in_pages_and_leaves_skipped_ones_out(lab: Any) -> None:
    for number in range(10):
        lab.holds("part", number, (1, number), "skipped" if number in (2, 7) else "success")
    lab.holds("part", "another branch", (2, 0))

    def total(parts: list[int]) -> list[int]:
        return parts

    inputs = [Supplied(Input("part", (1,), many=True))]
    assert lab.result(total, bind="gather", inputs=inputs) == [0, 1, 3, 4, 5, 6, 8, 9]
    assert [want.offset for want in lab.asked] == [0, 3, 6, 9]


def test_a_window_reads_exactly_its_instances(lab: Any) -> None:
    for number in range(200):
        lab.holds("part", number, (number,))
    keyed = tuple((number,) for number in range(0, 200, 2))
    inputs = [Supplied(Input("part", (), many=True, keyed=keyed))]
    assert lab.result(value, bind="gather", inputs=inputs) == list(range(0, 200, 2))


def test_an_empty_list_gathers_to_an_empty_list(lab: Any) -> None:
    assert lab.result(value, bind="gather", inputs=[Supplied(Input("part", (), many=True))]) == []


def test_a_skipped_parent_keeps_its_place_where_places_matter(lab: Any, given: Callable[..., Any]) -> None:
    inputs = [given("a", 1), given("b", None, kind="skipped"), given("c", 3)]

    def three(first: Any, second: Any, third: Any) -> Any:
        return [first, second, third]

    def named(**found: Any) -> Any:
        return found

    assert lab.result(three, bind="args", inputs=inputs) == [1, None, 3]
    assert lab.result(named, bind="named", inputs=inputs) == {"a": 1, "c": 3}
    assert lab.result(value, bind="gather", inputs=inputs) == [1, 3]
    assert lab.result(value, bind="item", inputs=inputs[1:2]) is None


def test_a_failed_parent_hands_over_its_record(lab: Any) -> None:
    record = {"_traceback": "Traceback ...", "_error": "ValueError: no"}
    assert lab.result(value, bind="item", inputs=[Supplied(Input("a", kind="failed"), pack(record))]) == record
    lab.results["b", ()] = ((), "failed", None, None)
    assert lab.result(value, bind="item", inputs=[Supplied(Input("b", kind="failed"))]) == {
        "_traceback": "",
        "_error": "failed",
    }


def test_a_result_that_came_with_an_answer_that_cannot_be_honoured_is_not_handed_over(lab: Any) -> None:
    lab.holds("a", {"result": 5})
    for supplied in (Supplied(Input("a", kind="failed")), Supplied(Input("a", kind="failed"), pack(5))):
        found = lab.result(value, bind="item", inputs=[supplied])
        assert found["_error"].startswith("InvalidAnswer: ")


def test_item_takes_one_result_only(lab: Any, given: Callable[..., Any], told: Callable[..., str]) -> None:
    text = told(lab.run(value, bind="item", inputs=[given("a", 1), given("b", 2)]))
    assert text == "failed: JobError: bind 'item' takes one upstream result, and here are 2: a, b"


def test_data_that_is_no_map_stands_under_data(lab: Any) -> None:
    def named(**found: Any) -> Any:
        return found

    assert lab.result(named, [1, 2], bind="named") == {"data": [1, 2]}


def test_a_hook_sees_the_results_of_its_whole_run(lab: Any) -> None:
    lab.definition = chain("list", "part", "total", list={"spread": True}, total={"gather": GatherRule()})
    lab.holds("list", [5, 6])
    lab.holds("part", 50, (0,))
    lab.holds("part", 60, (1,))

    def report(result: dict[str, Any], state: str) -> Any:
        return [result, state]

    inputs = [Supplied(Input("", (), True, None, "run"))]
    outcome = lab.result(
        report, job="hook:always", bind="named", inputs=inputs, data={"state": "failed", "error": None}, hook=True
    )
    assert outcome == [{"list": [5, 6], "part": [50, 60]}, "failed"]


def test_a_hook_sees_an_empty_list_where_there_were_no_branches(lab: Any) -> None:
    lab.definition = chain("list", "part", list={"spread": True})
    lab.holds("list", [])
    lab.holds("lost", {"_traceback": ""}, (), "failed")
    inputs = [Supplied(Input("", (), True, None, "run"))]
    assert lab.result(value, job="hook:always", bind="item", inputs=inputs, hook=True) == {"list": [], "part": []}


def test_a_gather_right_after_a_spread_lays_its_lists_end_to_end(lab: Any) -> None:
    lab.holds("list", [1, 2], (0,))
    lab.holds("list", [], (1,))
    lab.holds("list", [3], (2,))
    assert lab.result(value, bind="gather", inputs=[Supplied(Input("list", (), True, kind="elements"))]) == [1, 2, 3]


def test_a_gather_over_several_edges_is_one_list(lab: Any, given: Callable[..., Any]) -> None:
    lab.holds("part", 1, (0,))
    lab.holds("part", 2, (1,))
    inputs = [Supplied(Input("part", (), True)), given("single", 3)]
    assert lab.result(value, bind="gather", inputs=inputs) == [1, 2, 3]


def test_a_hook_that_uses_the_store_sees_every_job_upstream(lab: Any) -> None:
    lab.definition = chain("first", "second")
    lab.holds("first", {"x": 1})

    def after(x: int) -> int:
        return x

    assert lab.result(after, job="hook:success", hook=True, inputs=[Supplied(Input("", (), True, None, "run"))]) == 1


# Upstream -----------------------------------------------------------------------------------------------------------


def upstream(lab: Any, job: str, path: tuple[int, ...] = (), **options: Any) -> Upstream:
    return Upstream(Reader(lab.fetch), lab.assignment(job, path=path, **options))


def test_ancestors_are_climbed_nearest_first_and_only_when_asked_for(lab: Any, given: Callable[..., Any]) -> None:
    lab.definition = chain("a", "b", "c", "d")
    lab.holds("a", 1)
    lab.holds("b", 2)
    seen = upstream(lab, "d", inputs=[given("c", 3)])
    assert seen["c"] == 3
    assert seen.direct == ["c"]
    assert lab.asked == []
    assert list(seen) == ["c", "b", "a"]
    assert dict(seen) == {"c": 3, "b": 2, "a": 1}
    assert len(seen) == 3
    assert len([want for want in lab.asked if want.kind == "result"]) == 2


def test_jobs_that_are_not_above_are_not_seen(lab: Any) -> None:
    lab.definition = Definition(nodes=(Node(name="a"), Node(name="b"), Node(name="c")), edges=((0, 1, "order"),))
    lab.holds("c", 3)
    seen = upstream(lab, "b")
    assert "c" not in seen
    with pytest.raises(KeyError):
        seen["c"]
    assert seen.get("a") is None


def test_ancestors_without_a_result_are_left_out(lab: Any, given: Callable[..., Any]) -> None:
    lab.definition = chain("a", "b", "c")
    lab.holds("a", 1)
    seen = upstream(lab, "c", inputs=[given("b", kind="skipped")])
    assert list(seen) == ["a"]


def test_a_job_with_very_many_parents_finds_them_by_climbing(lab: Any) -> None:
    names = [f"p{number}" for number in range(100)]
    nodes = tuple(Node(name=name) for name in [*names, "join"])
    lab.definition = Definition(nodes=nodes, edges=tuple((at, 100, "order") for at in range(100)))
    lab.holds("p42", {"x": 7})

    def join(x: int) -> int:
        return x

    assert lab.result(join) == 7


def test_a_complete_task_never_climbs(lab: Any, given: Callable[..., Any]) -> None:
    lab.definition = chain("a", "b")
    seen = Upstream(Reader(lab.fetch), lab.assignment("b", inputs=[given("a", 1)]), complete=True)
    assert dict(seen) == {"a": 1}
    assert "nobody" not in seen
    assert lab.asked == []


def test_a_definition_that_is_gone_is_told(lab: Any) -> None:
    with pytest.raises(JobError, match="the definition of run run cannot be read: it was pruned"):
        list(upstream(lab, "d"))


def test_gates_are_climbed_through(lab: Any) -> None:
    lab.definition = chain("a", "gate", "b", gate={"kind": "gate"})
    lab.holds("a", 1)
    assert dict(upstream(lab, "b")) == {"a": 1}


SCOPED = Definition(
    nodes=(
        Node(name="root"),
        Node(name="outer", spread=True),
        Node(name="inner", spread=True),
        Node(name="leaf"),
        Node(name="back", bind="gather", gather=GatherRule(level=1)),
        Node(name="end", bind="gather", gather=GatherRule()),
    ),
    edges=((0, 1, "order"), (1, 2, "order"), (2, 3, "order"), (3, 4, "value"), (4, 5, "value")),
)


@pytest.mark.parametrize(
    ("ancestor", "job", "path", "expected"),
    [
        ("root", "leaf", (1, 2), Input("root")),
        ("outer", "inner", (1,), Input("outer", (), False, 1)),
        ("outer", "leaf", (1, 2), Input("outer", (), False, 1)),
        ("inner", "leaf", (1, 2), Input("inner", (1,), False, 2)),
        ("leaf", "back", (1,), Input("leaf", (1,), True)),
        ("inner", "back", (1,), Input("inner", (1,))),
        ("outer", "back", (1,), Input("outer", (), False, 1)),
        ("leaf", "end", (), Input("leaf", (), True)),
        ("inner", "end", (), Input("inner", (), True)),
        ("outer", "end", (), Input("outer")),
    ],
)
def test_a_branch_sees_its_own_part_of_what_is_above(
    ancestor: str, job: str, path: tuple[int, ...], expected: Input
) -> None:
    assert Ancestry(pack_definition(SCOPED)).seen_from(ancestor, job, path) == expected


def test_an_element_is_what_a_later_branch_sees_of_the_spread(lab: Any, given: Callable[..., Any]) -> None:
    lab.definition = chain("pages", "fetch", "parse", pages={"spread": True})
    lab.holds("pages", [{"url": "a"}, {"url": "b"}])

    def parse(url: str, html: str) -> Any:
        return [url, html]

    inputs = [given("fetch", {"html": "<p>"}, (1,))]
    assert lab.result(parse, path=(1,), inputs=inputs) == ["b", "<p>"]


# What is kept -------------------------------------------------------------------------------------------------------


def test_results_are_asked_for_once_and_unpacked_every_time(lab: Any) -> None:
    lab.holds("a", [1])
    reader = Reader(lab.fetch)
    first = reader.result("run", 0, Input("a"))
    first.append(2)
    assert reader.result("run", 0, Input("a")) == [1]
    assert len(lab.asked) == 1


def test_another_round_may_have_another_result(lab: Any) -> None:
    lab.holds("a", "old")
    reader = Reader(lab.fetch)
    assert reader.result("run", 0, Input("a")) == "old"
    lab.holds("a", "new")
    assert reader.result("run", 0, Input("a")) == "old"
    assert reader.result("run", 1, Input("a")) == "new"


def test_what_is_missing_is_asked_for_again(lab: Any) -> None:
    reader = Reader(lab.fetch)
    assert reader.result("run", 0, Input("a")) is NOTHING
    lab.holds("a", 1)
    assert reader.result("run", 0, Input("a")) == 1


def test_the_bytes_that_are_kept_are_bounded() -> None:
    """The least recently used go first; the many small ones weigh too."""
    kept = Kept(3 * (30 + ENTRY))
    for number in range(10):
        kept.put(number, bytes(30))
        assert kept.get(0) is not None
    assert [number for number in range(10) if kept.get(number)] == [0, 8, 9]
    kept.put("huge", bytes(2 * (30 + ENTRY)))
    assert kept.get("huge") is None


def test_no_more_than_so_many_values_are_kept_however_small() -> None:
    kept = Kept(1 << 40)
    for number in range(MOST + 10):
        kept.put(number, b"")
    assert [kept.get(number) is not None for number in (0, 9, 10, MOST + 9)] == [False, False, True, True]


def test_a_folder_that_fails_raises_a_store_error(lab: Any, tmp_path: Path) -> None:
    class Torn(ValuesFolder):
        def read(self, ref: str, offset: int = 0, length: int | None = None) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(StoreError, match="the values folder failed to read"):
        Reader(lab.fetch, Torn(tmp_path)).packed("run", "a/b/c/d")
