"""How the jobs of a run are doing, as people read it."""

from __future__ import annotations

from driving import Drive, define

from headrace.pipeline.definition import GatherRule, Node


def gate(name: str) -> Node:
    return Node(name=name, kind="gate")


def job(name: str) -> Node:
    return Node(name=name)


def test_a_job_waits_for_those_before_it_that_have_not_ended_gates_looked_through() -> None:
    nodes = [job("A"), job("B"), job("C"), gate("g"), gate("h"), job("D")]
    drive = Drive(define(nodes, "A>g B>g g>h h>D C>D"))
    assert drive.progress.waits_for("D") == ["A", "B", "C"]
    drive.pull()
    drive.returned("B")
    assert drive.progress.waits_for("D") == ["A", "C"]
    drive.to_end()
    assert drive.progress.waits_for("D") == drive.progress.waits_for("A") == []


def test_a_gather_waits_for_branches_that_there_are_not_yet() -> None:
    nodes = [Node(name="S", spread=True), job("E"), Node(name="G", bind="gather", gather=GatherRule())]
    drive = Drive(define(nodes, "S>E E>G"))
    assert drive.progress.waits_for("G") == ["E"]
    assert drive.progress.waits_for("E") == ["S"]
