"""Requirements: what they mean, how they are written, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.job import Job
from headrace.pipeline.requirement import Part, RequirementError, all_of, requirement, wanted

NAMES = ("linux", "mac", "slow", "gpu-2", "two words", "a*")


@pytest.mark.parametrize(
    ("text", "roles", "met"),
    [
        ("encode", ["encode"], True),
        ("encode", ["decode"], False),
        ("Encode", ["eNCODE"], True),
        ("Linux && !Slow", ["linux"], True),
        ("Linux && !Slow", ["linux", "slow"], False),
        ("a, b", ["a", "b"], True),
        ("a, b", ["a"], False),
        ("a || b && c", ["a"], True),
        ("(a || b) && c", ["a"], False),
        ("!(a && b)", ["a"], True),
        ("!!a", ["a"], True),
        ('"blender-4*"', ["blender-4.1"], True),
        ('"blender-4*"', ["blender-3.6"], False),
        ("x?", ["xy"], True),
        ('"two words"', ["two words"], True),
        ("a && @.mem > 2", ["a"], True),
        ("a", [], False),
    ],
)
def test_a_requirement_is_met_by_who_serves_the_roles(text: str, roles: list[str], met: bool) -> None:
    assert requirement(text).met_by(roles) is met


@pytest.mark.parametrize(
    ("text", "what", "at"),
    [
        ("", "the name of a role is missing", 0),
        ("a b", "'b' is not expected here", 1),
        ("a &&", "the name of a role is missing", 4),
        ("|| a", "the name of a role is missing", 0),
        ("(a", "a closing parenthesis is missing", 2),
        ("a)", "')' is not expected here", 1),
        ('"a', "cannot be read as a role", 0),
        ("a & b", "cannot be read as a role", 1),
        ("(" * 51 + "a", "more than 50 deep", 51),
    ],
)
def test_what_is_no_requirement_is_said_with_its_place(text: str, what: str, at: int) -> None:
    with pytest.raises(RequirementError) as caught:
        requirement(text)
    assert what in str(caught.value)
    assert caught.value.at == at
    assert wanted(text) == Part("name", text)


@pytest.mark.parametrize("role", ["a &&", "(a", "a | b", '"a'])
def test_a_role_that_is_meant_as_an_expression_and_cannot_be_read_is_refused_where_it_is_written(role: str) -> None:
    with pytest.raises(DefinitionError, match=r"job 'A': role .* cannot be read: "):
        Job("A", role=role)


@pytest.mark.parametrize("role", ["gpu", "gpu && !shared", "big machine", "größe<5"])
def test_any_other_role_is_taken(role: str) -> None:
    assert Job("A", role=role).role == role


def test_several_requirements_are_one_in_which_nothing_stands_twice() -> None:
    assert all_of("a || b", "c", "c && d") == "(a || b) && c && d"
    assert all_of("a", "a") == "a"


def test_the_roles_that_a_job_takes_slots_of_are_those_it_names() -> None:
    part = requirement("Linux && !Slow && (gpu || cpu)")
    assert part.among({"linux": 1, "slow": 1, "cpu": 2, "other": 1}) == ("linux", "cpu")


def test_figures_of_machines_are_found_and_left_out() -> None:
    part = requirement("render && (@.mem > 2 || @.cpu<0.5) && !@.disk")
    assert list(part.figures()) == ["@.mem > 2", "@.cpu<0.5", "@.disk"]
    assert str(part.without_figures()) == "render"
    assert requirement("@.mem > 2").without_figures() is None
    assert requirement("a || @.mem > 2").without_figures() is None


parts = st.recursive(
    st.sampled_from(NAMES).map(lambda name: Part("name", name)),
    lambda inner: st.one_of(
        inner.map(lambda part: Part("not", "", (part,))),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)).map(
            lambda pair: Part(pair[0], "", tuple(pair[1]))
        ),
    ),
    max_leaves=8,
)


@given(parts, st.sets(st.sampled_from(["linux", "mac", "slow", "gpu-2", "two words", "abc"])))
def test_a_requirement_means_the_same_however_often_it_is_written_and_read(part: Part, roles: set[str]) -> None:
    again = requirement(str(part))
    assert again.met_by(roles) == part.met_by(roles)
    plain = str(requirement(str(again)))
    assert str(requirement(plain)) == plain


@given(st.text(alphabet='ab&|!(),"@.<>= *?', max_size=30))
def test_any_text_is_a_requirement_or_refused(text: str) -> None:
    try:
        part = requirement(text)
    except RequirementError:
        assert wanted(text).kind == "name"
    else:
        assert requirement(str(part)).met_by(["a", "b"]) == part.met_by(["a", "b"])
