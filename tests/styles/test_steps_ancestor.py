"""What the ancestor's own tests of steps and Contexts ask for, asked of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.steps import Context, Step


def test_a_flat_context_comes_back_with_all_its_types(tmp_path: Path) -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    plain = {"text": "text", "num": 0, "check": True, "dec": 1.1, "list": [1, 2, 3], "dictionary": {"key": [1, 2, 3]}}
    ctx = Context(
        {
            **plain,
            "dataframe": pandas.DataFrame({"a": [1, 2], "b": [3.0, 4.0]}),
            "series": pandas.Series([3.0, 4.0], name="b"),
            "np.ndarray": numpy.array([1, 2, 3]),
            ".ignore_this": "this is not stored",
            "dictionary_with_ignore": {"key": [1, 2, 3], ".ignore_this_key": [1, 2, 3]},
        }
    )
    ctx.store(str(tmp_path / "flat"))
    again = Context.load(str(tmp_path / "flat"))
    assert again["context_meta"] == ctx["context_meta"]
    assert {key: again[key] for key in plain} == plain
    assert [type(again[key]) for key in ("text", "num", "check", "dec", "list")] == [str, int, bool, float, list]
    assert ".ignore_this" not in again and ".ignore_this" in ctx
    assert again["dictionary_with_ignore"] == {"key": [1, 2, 3]}
    pandas.testing.assert_frame_equal(again.dataframe, ctx.dataframe)
    pandas.testing.assert_series_equal(again.series, ctx.series)
    assert numpy.array_equal(again["np.ndarray"], ctx["np.ndarray"])


def test_a_nested_context_comes_back_with_its_levels(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [3.0, 4.0]})
    deep = {"nested1": {"deep_nested": "1"}}
    ctx = Context({"A": 1, "B": {"nested1": frame, "nested2": 2}, "C": deep, "D": [1, 2], "F": [{"nested1": 1}]})
    ctx.store(tmp_path / "nested")
    again = Context.load(tmp_path / "nested")
    assert again.keys() == ctx.keys() and again.B.keys() == ctx.B.keys()
    pandas.testing.assert_frame_equal(again.B["nested1"], frame)
    assert again.C.nested1.deep_nested == "1"
    del ctx.B["nested1"], again.B["nested1"]
    assert again == ctx


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ((1, 2), TypeError),
        ({1, 2}, TypeError),
        (None, TypeError),
        (b"x", TypeError),
        ({}, TypeError),
        (object(), TypeError),
        ([(1, 2)], AssertionError),
        ([[{"a": object()}]], AssertionError),
        ([None], AssertionError),
        ([{1: 2}], AssertionError),
        ({1: 2}, NotImplementedError),
        ({"inner": {1: 2}}, NotImplementedError),
    ],
)
def test_what_cannot_be_stored_is_the_same_kind_of_error_as_ever(
    tmp_path: Path, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as told:
        Context({"good": 1, "bad": value}).store(tmp_path / "bad")
    assert isinstance(told.value, TypeError) and "bad" in str(told.value)
    assert not (tmp_path / "bad").exists() and list(tmp_path.iterdir()) == []


def test_a_context_that_was_made_good_can_be_stored(tmp_path: Path) -> None:
    ctx = Context({"a": [1, 2, 3], "b": [{"nested_simple": [1, 2]}], "c": [{1: 2}], "f": {"nested": 1}})
    with pytest.raises(AssertionError):
        ctx.store(tmp_path / "1")
    del ctx["c"]
    ctx.store(tmp_path / "1")
    assert Context.load(tmp_path / "1").to_dict(ignore="context_meta") == {
        "a": [1, 2, 3],
        "b": [{"nested_simple": [1, 2]}],
        "f": {"nested": 1},
    }


class Told(Step):
    """Tells who came before it."""

    runs: list[str]

    def run(self, *outputs: str) -> str:
        self.runs.append(str(self))
        if len(outputs) < 2:
            return " > ".join([*outputs, str(self)])
        return f"({' + '.join(f'({one})' for one in outputs)}) > {self}"


def diamond(ctx: Context | None) -> tuple[Told, list[str]]:
    runs: list[str] = []
    Told.runs = runs
    a = Told(ctx=ctx, name_alias="A")
    b = Told(depends_on=a, name_alias="B", ctx=ctx)
    c = Told(depends_on=a, name_alias="C", ctx=ctx)
    return Told(depends_on=[b, c], name_alias="D", ctx=ctx), runs


def test_a_diamond_without_a_context() -> None:
    d, runs = diamond(None)
    assert d.execution_plan().splitlines()[2:] == [" [x] (>) A", " [x] (>) C", " [x] (>) B", " [x] (H) D"]
    assert d.materialize() == "((A > B) + (A > C)) > D"
    assert runs == ["A", "B", "C", "D"]


def test_a_diamond_with_a_context() -> None:
    ctx = Context()
    d, runs = diamond(ctx)
    assert d.materialize() == "((A > B) + (A > C)) > D"
    assert ctx.to_dict(ignore="context_meta") == {
        "A": "A",
        "B": "A > B",
        "C": "A > C",
        "D": "((A > B) + (A > C)) > D",
    }
    assert runs == ["A", "B", "C", "D"]
    assert d.materialize() == "((A > B) + (A > C)) > D" and len(runs) == 4
    assert d.execution_plan().splitlines()[2:] == [
        " [*] ( ) A",
        " [*] ( ) C",
        " [*] ( ) B",
        " [*] (H) D",
    ]


def test_dependencies_run_from_left_to_right_depth_first() -> None:
    """A step that could run waits while an earlier branch has steps left."""
    Told.runs = runs = []
    deep = Told(depends_on=Told(depends_on=Told(name_alias="A1"), name_alias="A2"), name_alias="A3")
    shared = Told(name_alias="S")
    second = Told(depends_on=[shared, Told(name_alias="B1")], name_alias="B2")
    head = Told(depends_on=[deep, second, Told(name_alias="C"), shared], name_alias="H")
    head.materialize()
    assert runs == ["A1", "A2", "A3", "S", "B1", "B2", "C", "H"]
    assert runs == [*head.depending_steps_depth_first(), "H"]


def test_a_priority_in_the_job_options_comes_before_that_order() -> None:
    Told.runs = runs = []
    urgent = Told(name_alias="C")
    urgent.job_options = {"priority": 1}
    Told(depends_on=[Told(name_alias="A"), Told(name_alias="B"), urgent], name_alias="H").materialize()
    assert runs == ["C", "A", "B", "H"]


def test_two_steps_of_one_name_are_the_same_kind_of_error_as_ever() -> None:
    Told.runs = []
    with pytest.raises(AssertionError, match=r"Dependency\(ies\) \['Told'\] appear more than once"):
        Told(depends_on=[Told(), Told()], name_alias="H").materialize()


def test_data_as_a_step() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [3.0, 4.0]})
    pandas.testing.assert_frame_equal(Step.from_data(frame).materialize().output, frame)
    assert str(Step.from_data(frame)) == "Data"


def test_nested_records_become_plain_dicts() -> None:
    ctx = Context({"a": {"b": 1}})
    ctx["record"] = Step.from_data(1).materialize()
    plain = ctx.to_dict()
    assert type(plain) is dict and type(plain["record"]) is dict and type(plain["context_meta"]) is dict
    assert ctx.to_dict(ignore=["context_meta", "a"]) == {"record": {"output": 1}}
