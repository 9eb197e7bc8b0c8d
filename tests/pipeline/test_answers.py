"""What a worker may answer instead of a plain result."""

import subprocess
import sys

import pytest

from headrace.pipeline.answers import Choose, Graft, RetryAfter, Skip
from headrace.pipeline.definition import unpack_definition
from headrace.pipeline.errors import DefinitionError, HeadraceError
from headrace.pipeline.job import Job
from headrace.pipeline.payload import unpack


def test_choose_names_children_and_may_carry_a_result():
    assert Choose(["A", Job("B")], result=3).children == ("A", "B")
    assert Choose("A").children == ("A",)
    assert Choose(Job("A")).children == ("A",)
    assert Choose([]).children == ()
    assert Choose(["A"], {"x": 1}).result == {"x": 1}


def test_answers_show_what_they_say():
    assert repr(Choose(["A"])) == "Choose(['A'])"
    assert repr(Skip("why")) == "Skip('why')"
    assert repr(Graft(1, [Job("A")], [("A", "B")])) == "Graft(jobs=['A'], edges=[('A', 'B')])"
    assert repr(Graft(1, ["A"])) == "Graft(jobs=['A'], edges=[])"  # it cannot be, and says so when it is used


@pytest.mark.parametrize("children", [[1], [""], None, [None]])
def test_choose_refuses_what_names_nothing(children):
    with pytest.raises(DefinitionError, match="Choose: a job must be given by its name"):
        Choose(children)


def test_skip_has_a_reason():
    assert Skip("nothing new").reason == "nothing new"
    with pytest.raises(DefinitionError):
        Skip(3)


def test_retry_after_is_raised_with_seconds():
    error = RetryAfter(2.5, "the service is full")
    assert isinstance(error, HeadraceError)
    assert error.seconds == 2.5
    assert str(error) == "asked to be tried again after 2.5 s: the service is full"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "3", True, None])
def test_retry_after_refuses_what_is_no_time(seconds):
    with pytest.raises(DefinitionError, match="RetryAfter"):
        RetryAfter(seconds)


def test_a_graft_becomes_a_definition_with_the_names_outside_it():
    graft = Graft(
        {"found": 2},
        jobs=[Job("Fetch", name="one", data={"page": 1}), Job("Fetch", name="two", bind="item")],
        edges=[("Search", "two"), ("one", "Join"), ("two", "Join"), ("one", Job("two"))],
    )
    definition = unpack_definition(graft.definition())
    assert [node.name for node in definition.nodes] == ["one", "two"]
    assert definition.nodes[0].worker_name == "Fetch"
    assert unpack(definition.nodes[0].data) == {"page": 1}
    assert definition.outside == ("Search", "Join")
    assert definition.edges == ((2, 1, "value"), (0, 3, "order"), (1, 3, "order"), (0, 1, "value"))


def test_a_graft_may_be_empty():
    assert unpack_definition(Graft(3).definition()).nodes == ()


@pytest.mark.parametrize(
    ("jobs", "edges", "says"),
    [
        ([Job("A"), Job("A")], [], "two jobs are named 'A'"),
        ([Job("A")], [("X", "Y")], "touches none of the new jobs"),
        (["A"], [], "Only `Job` objects"),
    ],
)
def test_a_graft_that_cannot_be_is_refused(jobs, edges, says):
    with pytest.raises(DefinitionError, match=says):
        Graft(None, jobs, edges).definition()


@pytest.mark.parametrize("edge", ["AB", ("A",), ("A", None), ("A", "B", "C"), 3])
def test_an_edge_of_a_graft_is_a_pair_of_names(edge):
    with pytest.raises(DefinitionError, match="Graft"):
        Graft(None, [Job("A")], [edge])


def test_answers_load_nothing_of_the_model():
    code = "import headrace.pipeline.answers, sys; print([m for m in sys.modules if 'msg' in m or m.endswith('.job')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
