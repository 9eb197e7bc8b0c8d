"""Windows open one by one, while branches still run."""

from __future__ import annotations

import pytest
from driving import Drive, bad, behave, define, ok

from headrace.pipeline.definition import GatherRule, Node


def windows(name: str, size: int = 2, **options) -> Node:
    return Node(name=name, bind="gather", gather=GatherRule(size=size, level=options.pop("level", None)), **options)


def spread(name: str) -> Node:
    return Node(name=name, spread=True, bind="item")


def begun(nodes: list[Node], edges: str, count: int, **options) -> Drive:
    drive = Drive(define(nodes, edges, **options), behave())
    return drive.returned("S", spread=count)


FLAT = [spread("S"), Node(name="B", bind="item"), windows("W"), Node(name="C", bind="item")]


def waiting_for_start(drive: Drive, job: str) -> list[tuple[int, ...]]:
    drive.pull()
    return sorted(path for name, path in drive.live if name == job)


def test_a_window_is_there_when_all_up_to_its_last_branch_have_ended():
    drive = begun(FLAT, "S>B B>W W>C", 5)
    drive.returned("B", 1).returned("B", 2).returned("B", 3)
    assert waiting_for_start(drive, "W") == []
    drive.returned("B", 0)
    assert waiting_for_start(drive, "W") == [(0,), (1,)]
    drive.returned("W", 1)
    assert waiting_for_start(drive, "C") == [(1,)], "what comes after a window waits for that window only"
    drive.returned("B", 4)
    assert waiting_for_start(drive, "W") == [(0,), (2,)]
    assert [(one.path, one.inputs[0].keyed) for one in drive.started if one.job == "W"] == [
        ((0,), ((0,), (1,))), ((1,), ((2,), (3,))), ((2,), ((4,),)),
    ]  # fmt: skip
    assert drive.states["W"] == "queued"
    assert drive.to_end().verdict == "success"


def test_a_skipped_branch_gives_its_place_to_the_next_one():
    drive = begun(FLAT, "S>B B>W W>C", 4)
    drive.returned("B", 0, skip="no").returned("B", 1)
    assert waiting_for_start(drive, "W") == []
    drive.returned("B", 2)
    assert waiting_for_start(drive, "W") == [(0,)]
    assert drive.to_end().replay().counts() == drive.progress.counts()


def test_no_window_comes_after_a_branch_that_failed_for_a_retry_may_skip_it():
    drive = begun(FLAT, "S>B B>W W>C", 6, on_error="block")
    drive.returned("B", 2, kind="failed").to_end()
    assert [one.path for one in drive.started if one.job == "W"] == [(0,)]
    assert drive.states == {"S": "success", "B": "failed", "W": "success", "C": "success"}
    assert drive.progress.job_details()[2].instances == {"success": 1}
    drive.started.clear()
    drive.reopen().to_end()
    assert drive.verdict == "success"
    assert [(one.job, one.path) for one in drive.started if one.job in "BW"] == [("B", (2,)), ("W", (1,)), ("W", (2,))]


def test_a_failure_stops_windows_that_were_not_there_yet():
    drive = begun(FLAT, "S>B B>W W>C", 4)
    drive.returned("B", 0).returned("B", 1).returned("W", 0).returned("B", 3, kind="failed")
    drive.to_end()
    assert drive.verdict == "failed"
    assert drive.progress.job_details()[2].instances == {"success": 1, "cancelled": 1}
    assert drive.states["W"] == "cancelled"


def test_windows_of_nested_lists_go_through_them_in_index_order():
    nodes = [spread("S"), spread("T"), Node(name="B", bind="item"), windows("W", 2)]
    drive = begun(nodes, "S>T T>B B>W", 3)
    drive.returned("T", 1, spread=2).returned("B", 1, 0).returned("B", 1, 1)
    assert waiting_for_start(drive, "W") == [], "how long the first list is nobody knows"
    drive.returned("T", 0, spread=0)
    assert waiting_for_start(drive, "W") == [(0,)]
    drive.returned("T", 2, spread=1).returned("B", 2, 0)
    assert waiting_for_start(drive, "W") == [(0,), (1,)]
    assert drive.to_end().verdict == "success"


def test_windows_inside_of_branches_are_their_own():
    nodes = [spread("S"), spread("T"), Node(name="B", bind="item"), windows("W", 2, level=1)]
    drive = begun(nodes, "S>T T>B B>W", 2)
    drive.returned("T", 0, spread=2).returned("T", 1, spread=3)
    drive.returned("B", 1, 0).returned("B", 1, 1)
    assert waiting_for_start(drive, "W") == [(1, 0)]
    assert drive.to_end().verdict == "success"


def test_windows_of_windows_flow_too():
    nodes = [spread("S"), Node(name="B", bind="item"), windows("W", 2), windows("V", 2)]
    drive = begun(nodes, "S>B B>W W>V", 8)
    for index in range(4):
        drive.returned("B", index)
    drive.returned("W", 0).returned("W", 1)
    assert waiting_for_start(drive, "V") == [(0,)]
    assert drive.to_end().progress.counts() == {"success": 1 + 8 + 4 + 2}


@pytest.mark.parametrize(
    ("rule", "when"), [(GatherRule(by="k"), "success"), (GatherRule(size=1), "failure"), (GatherRule(size=1), "always")]
)
def test_by_key_and_with_another_when_every_branch_has_to_close_first(rule: GatherRule, when: str):
    nodes = [spread("S"), Node(name="B", bind="item"), Node(name="G", bind="gather", gather=rule, when=when)]
    drive = begun(nodes, "S>B B>G", 2, on_error="block")
    drive.returned("B", 0, keys={"k": "1"})
    assert waiting_for_start(drive, "G") == []
    drive.returned("B", 1, kind="failed") if when == "failure" else drive.returned("B", 1, keys={"k": "1"})
    assert waiting_for_start(drive, "G")[:1] == [(0,)]


def test_twenty_thousand_branches_in_windows_are_no_trouble():
    drive = Drive(define([spread("S"), Node(name="B", bind="item"), windows("W", 10)], "S>B B>W"))
    progress = drive.progress
    drive.returned("S", spread=20_000)
    sequence = len(drive.facts)
    while True:
        ready = progress.ready(5000)
        if not ready:
            break
        for one in ready:
            sequence += 1
            progress.apply(sequence, ok(one))
    assert progress.counts() == {"success": 1 + 20_000 + 2_000}


def test_a_branch_that_is_tried_again_holds_its_window_up_and_no_other():
    from headrace.pipeline.definition import RetryRule

    nodes = [spread("S"), Node(name="B", bind="item", retry=RetryRule(2)), windows("W", 1)]
    act = behave(S=lambda r: ok(r, spread=3), B=lambda r: bad(r) if r.path == (1,) and r.attempt == 1 else ok(r))
    drive = Drive(define(nodes, "S>B B>W"), act).to_end()
    assert drive.verdict == "success"
    assert [one.path for one in drive.started if one.job == "W"] == [(0,), (1,), (2,)]
