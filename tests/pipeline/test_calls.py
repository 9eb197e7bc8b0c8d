"""Hooks of groups that stand in each other: each once, from the inside out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from driving import Drive, bad, behave, define, ok
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.definition import Definition, Group, Node


def hook(name: str) -> tuple[Node, ...]:
    return (Node(name=name, worker="Notify"),)


def nested(**more: object) -> Definition:
    """A before B; B alone is the inner group, both are the outer one."""
    inner = Group(title="inner", members=(1,), hooks={"failure": (*hook("one"), *hook("two")), "always": hook("three")})
    outer = Group(title="outer", members=(0, 1), hooks={"failure": hook("four"), "success": hook("five")})
    return define("A B", "A>B", groups=(outer, inner), **more)


def test_hooks_of_a_group_wait_for_those_of_the_groups_inside_it() -> None:
    drive = Drive(nested(), behave(B=bad))
    drive.returned("A").returned("B", kind="failed")
    assert [one.job for one in drive.pull()] == ["hook:failure:inner:0", "hook:always:inner"]
    drive.returned("hook:failure:inner:0")
    assert [one.job for one in drive.pull()] == ["hook:failure:inner:1"]
    drive.returned("hook:failure:inner:1", kind="failed")
    assert drive.pull() == []
    drive.returned("hook:always:inner")
    assert [one.job for one in drive.pull()] == ["hook:failure:outer"]
    assert drive.progress.conclusion() is None
    drive.returned("hook:failure:outer")
    assert drive.conclude() and drive.progress.state == "failed"


def test_a_group_without_hooks_for_its_end_keeps_nobody_waiting() -> None:
    inner = Group(title="inner", members=(0,), hooks={"failure": hook("one")})
    outer = Group(title="outer", members=(0, 1), hooks={"success": hook("two")})
    drive = Drive(define("A B", groups=(inner, outer))).returned("A").returned("B")
    assert [one.job for one in drive.pull()] == ["hook:success:outer"]


def test_the_hook_of_a_group_waits_until_its_stopped_members_are_dead() -> None:
    """Seed 252: it began while one of them still ran."""
    group = Group(title="both", members=(0, 1), hooks={"failure": hook("one")}, on_error="fail")
    drive = Drive(define("A B", groups=(group,)))
    first, _ = drive.pull()
    drive.record(bad(first))
    assert drive.pull() == []
    drive.halt()
    assert drive.stopped == [("B", ())]
    assert [one.job for one in drive.pull()] == ["hook:failure:both"]


def test_a_group_whose_last_member_is_skipped_by_another_job_calls_its_hooks_too() -> None:
    """C is skipped for A's sake, but ends when B has, which is in no group."""
    nodes = [Node(name="A"), Node(name="B", when="always"), Node(name="C")]
    group = Group(title="g", members=(0, 2), hooks={"success": hook("h")})
    definition = define(nodes, "A>B A>C B>C", groups=(group,))
    drive = Drive(definition, behave(A=lambda ready: ok(ready, chosen=()))).to_end()
    assert drive.order() == ["A", "B", "hook:success:g"]


def test_a_group_ends_when_its_last_member_is_skipped_because_of_a_job_outside() -> None:
    """Seed 1428: its hooks were called by the next end of anything; there was none."""
    group = Group(title="both", members=(0, 2), hooks={"always": hook("one")})
    drive = Drive(define("A B C", "A>C B>C", groups=(group,)))
    drive.returned("A", chosen=()).returned("B")
    assert drive.states["C"] == "skipped"
    assert [one.job for one in drive.pull()] == ["hook:always:both"]


def test_groups_beside_each_other_do_not_wait_for_each_other() -> None:
    groups = [Group(title=name, members=(at,), hooks={"success": hook(name)}) for at, name in enumerate("xy")]
    drive = Drive(define("A B", groups=tuple(groups))).returned("A").returned("B")
    drive.pull()
    assert [job for job, _ in drive.live] == ["hook:success:x", "hook:success:y"]


def test_a_run_ends_after_the_hooks_of_its_groups_and_then_come_its_own() -> None:
    drive = Drive(nested(hooks={"failure": Node(name="last", worker="Notify")}), behave(B=bad)).to_end()
    assert drive.order()[2:] == [
        *("hook:failure:inner:0", "hook:always:inner", "hook:failure:inner:1"),
        *("hook:failure:outer", "hook:failure"),
    ]


@pytest.mark.parametrize("fact", range(3, 8))
def test_a_new_owner_knows_whose_hooks_are_still_to_come(fact: int) -> None:
    drive = Drive(nested(), behave(B=bad)).to_end()
    again = Drive(nested(), behave(B=bad))
    for _, one in drive.facts[1:fact]:
        again.record(one)
    again.to_end()
    assert again.progress.state == "failed"
    assert {detail.name: detail.state for detail in again.progress.job_details()} == {
        detail.name: detail.state for detail in drive.progress.job_details()
    }


@given(st.data(), st.integers(0, 2**20))
def test_every_hook_of_a_nest_runs_once_and_after_those_inside(data: st.DataObject, seed: int) -> None:
    """Intervals of a chain that do not cut each other are a nest of groups."""
    count = data.draw(st.integers(1, 8))
    cuts = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(1, count)), max_size=8))
    spans: list[tuple[int, int]] = []
    for start, size in cuts:
        end = min(count, start + size)
        if all(end <= s or e <= start or (s <= start and end <= e) or (start <= s and e <= end) for s, e in spans):
            spans.append((start, end))
    failing = data.draw(st.integers(0, count))
    groups = tuple(
        Group(title=f"g{at}", members=tuple(range(*span)), hooks={"always": hook("h"), "failure": hook("f")})
        for at, span in enumerate(spans)
    )
    names = [f"J{at}" for at in range(count)]
    edges = " ".join(f"{one}>{two}" for one, two in pairwise(names))
    drive = Drive(define(" ".join(names), edges, groups=groups), behave(**{f"J{failing}": bad}), seed).to_end()
    order = drive.order()
    begun = {at for at, (start, _) in enumerate(spans) if start <= failing}
    called = {one for one in order if one.startswith("hook:")}
    wanted = {f"hook:always:g{at}" for at in begun}
    wanted |= {f"hook:failure:g{at}" for at, (start, end) in enumerate(spans) if start <= failing < end}
    assert called == wanted and len(order) == len(set(order))
    for at, (start, end) in enumerate(spans):
        for other, (s, e) in enumerate(spans):
            if (s, e) != (start, end) and s <= start and end <= e:
                inner = [order.index(one) for one in called if one.endswith(f":g{at}")]
                outer = [order.index(one) for one in called if one.endswith(f":g{other}")]
                assert not inner or not outer or max(inner) < min(outer)
