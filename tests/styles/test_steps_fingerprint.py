"""Contexts that know which code has made a result."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from headrace.steps import Context, Step

RAN: list[str] = []


def train(source: str, **attributes: Any) -> type[Step]:
    """A class `Train` with this `run`, as a notebook cell or an edited file would give it."""
    space: dict[str, Any] = {"Step": Step, "RAN": RAN}
    exec(f"class Train(Step):\n{source}", space)
    cls: type[Step] = space["Train"]
    for name, value in attributes.items():
        setattr(cls, name, value)
    return cls


FIRST = """
    def run(self, *before):
        RAN.append(str(self))
        return 1
"""


@pytest.fixture
def ctx() -> Context:
    RAN.clear()
    return Context(fingerprint=True)


def mark(step: Step) -> str:
    return step.execution_plan().splitlines()[-1]


def test_by_default_changed_code_is_not_seen() -> None:
    ctx = Context()
    train(FIRST)(ctx=ctx).materialize()
    changed = train(FIRST.replace("1", "2"))(ctx=ctx)
    assert mark(changed) == " [*] (H) Train"
    assert changed.materialize() == 1
    assert "[~]" not in changed.execution_plan()


def test_changed_code_is_marked_and_runs_again(ctx: Context) -> None:
    assert mark(train(FIRST)(ctx=ctx)) == " [ ] (H) Train"
    train(FIRST)(ctx=ctx).materialize()
    changed = train(FIRST.replace("return 1", "return 2"))(ctx=ctx)
    assert mark(changed) == " [~] (H) Train"
    assert "[~] changed since - [x] no context. \n" in changed.execution_plan()
    assert changed.materialize() == 2
    assert mark(changed) == " [*] (H) Train"
    assert mark(train(FIRST)(ctx=ctx)) == " [~] (H) Train"


@pytest.mark.parametrize("copied", [Context.copy, copy.deepcopy])
def test_a_copy_goes_its_own_way(ctx: Context, copied: Any) -> None:
    first, second = train(FIRST), train(FIRST.replace("return 1", "return 2"))
    first(ctx=ctx).materialize()
    other = copied(ctx)
    second(ctx=ctx).materialize()
    assert mark(first(ctx=other)) == " [*] (H) Train"
    assert mark(second(ctx=other)) == " [~] (H) Train"


def test_the_same_code_elsewhere_is_the_same(ctx: Context) -> None:
    train(FIRST)(ctx=ctx).materialize()
    moved = train("\n\n    # a comment\n" + FIRST)(ctx=ctx)
    assert mark(moved) == " [*] (H) Train"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def run(self): return self.part()\n    def part(self): return 1", None),
        ("def run(self): return (lambda: 1)()", None),
        ("def run(self, x=1): return x", None),
        ("rate = 1\n    def run(self): return self.rate", None),
        ("@property\n    def x(self): return 1\n    def run(self): return self.x", None),
        ("@staticmethod\n    def x(): return 1\n    def run(self): return self.x()", None),
        ("def run(self): return 1", "def run(self): return 1.0"),
        ("def run(self): return 1", "def run(self): return True"),
        ("def run(self): return len([1])", "def run(self): return sum([1])"),
    ],
)
def test_whatever_belongs_to_the_class_counts(ctx: Context, one: str, other: str | None) -> None:
    train(f"    {one}")(ctx=ctx).materialize()
    assert mark(train(f"    {one}")(ctx=ctx)) == " [*] (H) Train"
    assert mark(train(f"    {other or one.replace('1', '2')}")(ctx=ctx)) == " [~] (H) Train"


def test_sets_in_code_are_the_same_in_every_process(ctx: Context) -> None:
    from headrace.pipeline.styles.fingerprint import _constant

    several = [frozenset(names) for names in (("a", "b", "c"), ("c", "b", "a"))]
    assert len({_constant(one) for one in several}) == 1


class Rated(Step):
    def __init__(self, rate: Any, ctx: Context | None = None, depends_on: Any = ()) -> None:
        super().__init__(depends_on, ctx)
        self.rate = rate

    def run(self, *before: Any) -> Any:
        RAN.append(str(self))
        return self.rate


def test_other_settings_run_again(ctx: Context) -> None:
    Rated(1, ctx).materialize()
    assert mark(Rated(1, ctx)) == " [*] (H) Rated"
    assert mark(Rated(2, ctx)) == " [~] (H) Rated"
    assert Rated(2, ctx).materialize() == 2


def test_settings_that_cannot_be_packed_count_by_their_type(ctx: Context) -> None:
    assert Rated(object(), ctx).materialize() is not None
    assert mark(Rated(object(), ctx)) == " [*] (H) Rated"
    assert mark(Rated(len, ctx)) == " [~] (H) Rated"


def test_options_of_the_job_do_not_count(ctx: Context) -> None:
    train(FIRST)(ctx=ctx).materialize()
    assert mark(train(FIRST, job_options={"priority": 3})(ctx=ctx)) == " [*] (H) Train"


def test_a_change_before_a_step_changes_it_too(ctx: Context) -> None:
    train(FIRST)(depends_on=Rated(1), ctx=ctx).materialize()
    same = train(FIRST)(depends_on=Rated(1), ctx=ctx)
    other = train(FIRST)(depends_on=Rated(2), ctx=ctx)
    assert mark(same) == " [*] (H) Train"
    assert mark(other) == " [~] (H) Train"


def test_a_step_may_change_its_own_attributes_while_it_runs(ctx: Context) -> None:
    class Counts(Step):
        calls = 0

        def run(self, *before: Any) -> Any:
            self.calls += 1
            return self.calls

    first = Counts(ctx=ctx, name_alias="first")
    second = Counts(first, ctx=ctx, name_alias="second")
    assert second.materialize() == 1
    assert mark(second) == " [*] (H) second"
    fresh = Counts(Counts(ctx=ctx, name_alias="first"), ctx=ctx, name_alias="second")
    assert mark(fresh) == " [*] (H) second"


def test_what_was_put_in_by_hand_is_taken_as_it_is(ctx: Context) -> None:
    train(FIRST)(ctx=ctx).materialize()
    ctx.Train = "by hand"
    changed = train(FIRST.replace("1", "2"))(ctx=ctx)
    assert mark(changed) == " [*] (H) Train"
    assert changed.materialize() == "by hand"


def test_fingerprints_are_stored_with_the_context(ctx: Context, tmp_path: Path) -> None:
    train(FIRST)(ctx=ctx).materialize()
    ctx["hand"] = 1
    ctx.store(tmp_path / "ctx")
    again = Context.load(tmp_path / "ctx")
    assert mark(train(FIRST)(ctx=again)) == " [*] (H) Train"
    assert mark(train(FIRST.replace("1", "2"))(ctx=again)) == " [~] (H) Train"


def test_a_context_without_fingerprints_stays_without(tmp_path: Path) -> None:
    ctx = Context()
    train(FIRST)(ctx=ctx).materialize()
    ctx.store(tmp_path / "ctx")
    again = Context.load(tmp_path / "ctx")
    assert mark(train(FIRST.replace("1", "2"))(ctx=again)) == " [*] (H) Train"


def test_only_what_is_behind_the_change_runs_again(ctx: Context) -> None:
    def steps(rate: int) -> Step:
        left = Rated(1, ctx)
        left.name_alias = "left"
        right = Rated(rate, ctx, depends_on=left)
        right.name_alias = "right"
        return Rated(0, ctx, depends_on=[left, right])

    steps(1).materialize()
    RAN.clear()
    assert [line[:9] for line in steps(2).execution_plan().splitlines()[2:]] == [" [*] ( ) ", " [~] (>) ", " [~] (H) "]
    steps(2).materialize()
    assert RAN == ["right", "Rated"]
