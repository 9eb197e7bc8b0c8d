"""The forms in which a graph is written, and what is refused."""

import itertools
from collections.abc import Hashable
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.graph import NO_ORDER, NOT_A_JOB, Graph, topological
from headrace.pipeline.job import Job

A, B, C, D = Job("A"), Job("B"), Job("C"), Job("D")


def pairs(graph):
    found = Graph.of(graph)
    names = [job.name for job in found.jobs]
    return [(names[source], None if target is None else names[target]) for source, target in found.edges]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({A: B}, [("A", "B")]),
        ({A: None}, [("A", None)]),
        ({A: []}, [("A", None)]),
        ({A: ()}, [("A", None)]),
        ({A: [None]}, [("A", None)]),
        ({A: [B, None]}, [("A", "B"), ("A", None)]),
        ({A: [B, B]}, [("A", "B"), ("A", "B")]),
        ({A: (B, C)}, [("A", "B"), ("A", "C")]),
        ({(A, B): C}, [("A", "C"), ("B", "C")]),
        ({(A, B): [C, D]}, [("A", "C"), ("A", "D"), ("B", "C"), ("B", "D")]),
        ({(A, B): None}, [("A", None), ("B", None)]),
        ({frozenset({B, A}): C}, [("A", "C"), ("B", "C")]),
        ({A: B, (): C}, [("A", "B")]),
        ([(A, B), (B, None)], [("A", "B"), ("B", None)]),
        ([[A, B], (B, [C, D])], [("A", "B"), ("B", "C"), ("B", "D")]),
        (((A, B), ((A, B), C)), [("A", "B"), ("A", "C"), ("B", "C")]),
    ],
)
def test_every_form_becomes_pairs(written, expected):
    assert pairs(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        {"A": B},
        {A: "B"},
        {A: {B}},
        {A: frozenset({B})},
        {A: {B: C}},
        {A: [B, "C"]},
        {A: 0},
        {A: False},
        {("A", B): C},
        {(A, None): C},
        {None: A},
        {7: A},
        [A, B],
        [(A, B, C)],
        [(A, "B")],
        ["AB"],
    ],
)
def test_what_is_not_a_job_is_refused_and_shown(written):
    with pytest.raises(ValueError) as caught:
        Graph.of(written)
    assert str(caught.value).startswith(NOT_A_JOB)


def test_a_subclass_of_job_is_not_accepted():
    class Special(Job):
        pass

    with pytest.raises(ValueError, match="Only `Job` objects are accepted"):
        Graph.of({Special("A"): None})
    with pytest.raises(ValueError, match="of type Special"):
        Graph.of({A: Special("B")})


@pytest.mark.parametrize("written", [A, "AB", 3, None, {A, B}])
def test_what_is_no_graph_is_refused(written):
    with pytest.raises(ValueError, match="a dict such as"):
        Graph.of(written)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ({A: A}, "A > A"),
        ({A: [B], B: [A]}, "A > B > A"),
        ({A: B, B: C, C: B}, "A > B > C > B"),
        ({A: B, B: C, C: D, D: B}, "A > B > C > D > B"),
        ({A: B, C: D, D: [C, B]}, "C > D > C"),
        ({D: [A, B], A: None, B: C, C: [B, A]}, "D > B > C > B"),
    ],
)
def test_a_cycle_is_refused_naming_its_path(written, path):
    with pytest.raises(ValueError) as caught:
        Graph.of(written)
    assert str(caught.value) == f"{NO_ORDER}: {path}"


@pytest.mark.parametrize("written", [{}, [], {(): A}])
def test_a_graph_without_jobs_has_no_starter(written):
    with pytest.raises(ValueError) as caught:
        Graph.of(written)
    assert str(caught.value).startswith(NO_ORDER)


def test_a_long_cycle_is_shown_with_its_middle_left_out():
    jobs = [Job(f"J{n}") for n in range(1000)]
    with pytest.raises(DefinitionError) as caught:
        Graph.of({job: jobs[(n + 1) % 1000] for n, job in enumerate(jobs)})
    text = str(caught.value)
    assert "J0 > J1 > " in text
    assert text.endswith("J999 > J0")
    assert "977 more" in text
    assert len(text) < 400


def test_jobs_stand_in_order_of_first_appearance_and_starters_too():
    graph = Graph.of({A: [C, B], D: C})
    assert graph.jobs == (A, C, B, D)
    assert [graph.jobs[at] for at in graph.starters] == [A, D]


def test_a_job_is_written_out_once_and_bare_elsewhere():
    full = Job("B", data={"x": 1}, timeout=3)
    for written in ({A: Job("B"), full: C}, {A: full, Job("B"): C}):
        graph = Graph.of(written)
        assert graph.jobs[1].timeout == 3.0
        assert graph.jobs[1].data == {"x": 1}


def test_a_named_job_may_be_written_bare_by_its_name():
    graph = Graph.of({A: Job("Worker", name="B"), Job("B"): C})
    assert graph.jobs[1].worker_name == "Worker"


def test_a_job_given_as_function_in_one_place_is_known_by_name_in_others():
    def double(x):
        return 2 * x

    for written in ({A: Job(double), Job("double"): C}, {A: Job("double", timeout=1), Job(double): C}):
        assert Graph.of(written).jobs[1].worker is double


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (Job("B", timeout=3), Job("B", timeout=5), "timeout is 3.0 in one and 5.0 in the other"),
        (Job("B", spread=True), Job("B", priority=1), "priority is not given in one and 1 in the other"),
        (Job("B", data=1), Job("B", data=2), "data is 1 in one and 2 in the other"),
        (Job("W", name="B"), Job("V", name="B"), "worker is 'W' in one and 'V' in the other"),
        (Job.gate("B"), Job("B", timeout=1), "timeout is not given"),
        (Job.gate("B"), Job("B", data=1), "kind is 'gate' in one and 'job' in the other"),
    ],
)
def test_two_different_jobs_of_one_name_are_refused_naming_the_option(one, other, says):
    with pytest.raises(ValueError, match=says) as caught:
        Graph.of({A: one, other: C})
    assert "'B'" in str(caught.value)


def test_the_same_options_twice_are_one_job():
    assert len(Graph.of({A: Job("B", timeout=3, data={"x": [1]}), Job("B", timeout=3, data={"x": [1]}): C}).jobs) == 3


def test_a_chain_of_a_hundred_thousand_jobs_is_checked_in_seconds():
    jobs = [Job(f"J{n}") for n in range(100_000)]
    began = perf_counter()
    graph = Graph.of(dict(itertools.pairwise(jobs)))
    assert perf_counter() - began < 10
    assert graph.starters == (0,)
    with pytest.raises(DefinitionError, match="J0 > J1"):
        Graph.of({**dict(itertools.pairwise(jobs)), jobs[-1]: jobs[50_000]})


@st.composite
def edges(draw):
    count = draw(st.integers(1, 9))
    node = st.integers(0, count - 1)
    return count, draw(st.lists(st.tuples(node, node), min_size=1, max_size=24))


@given(edges())
def test_a_graph_is_refused_exactly_when_its_jobs_wait_for_each_other(drawn):
    count, wanted = drawn
    reach = [[False] * count for _ in range(count)]
    for source, target in wanted:
        reach[source][target] = True
    for via in range(count):
        for source in range(count):
            for target in range(count):
                reach[source][target] |= reach[source][via] and reach[via][target]
    cyclic = any(reach[at][at] for at in range(count))
    written = [(Job(f"J{source}"), Job(f"J{target}")) for source, target in wanted]
    if not cyclic:
        graph = Graph.of(written)
        order = topological(len(graph.jobs), graph.edges)
        at = {position: place for place, position in enumerate(order)}
        assert sorted(order) == list(range(len(graph.jobs)))
        assert all(at[source] < at[target] for source, target in graph.edges)
        return
    with pytest.raises(DefinitionError) as caught:
        Graph.of(written)
    path = [int(name[1:]) for name in str(caught.value).split(": ")[1].split(" > ")]
    assert all(step in wanted for step in itertools.pairwise(path))
    assert path[-1] in path[:-1]


def test_jobs_are_hashable():
    assert isinstance(A, Hashable)
