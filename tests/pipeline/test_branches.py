from __future__ import annotations

import pytest
from driving import Drive, bad, behave, define, ok

from headrace.pipeline.definition import GatherRule, Node, RetryRule
from headrace.pipeline.errors import DefinitionError, ProtocolError
from headrace.pipeline.facts import Returned
from headrace.pipeline.progress import Progress
from headrace.pipeline.scopes import check_scopes
from headrace.pipeline.task import Input, unpack_task


def node(name: str, **options) -> Node:
    return Node(name=name, **options)


def spread(name: str, **options) -> Node:
    return Node(name=name, spread=True, **options)


def gather(name: str, level=None, by=None, size=None, **options) -> Node:
    return Node(name=name, bind="gather", gather=GatherRule(level, by, size), **options)


def lists(**lengths: int):
    """Spread jobs return lists of these lengths."""
    return behave(**{name: lambda r, n=length: ok(r, spread=n) for name, length in lengths.items()})


FLAT = define([spread("S"), node("B", bind="item"), gather("G")], "S>B B>G")
NESTED = define([spread("S"), spread("T"), node("B"), gather("I", level=1), gather("G")], "S>T T>B B>I I>G")


def paths(drive: Drive, job: str) -> list[tuple[int, ...]]:
    return [one.path for one in drive.started if one.job == job]


# Spread and gather


def test_a_list_becomes_one_branch_per_element_and_a_gather_closes_them():
    drive = Drive(FLAT, lists(S=3)).to_end()
    assert paths(drive, "B") == [(0,), (1,), (2,)]
    started = {(one.job, one.path): one for one in drive.started}
    assert started["B", (1,)].inputs == (Input("S", (), element=1),)
    assert started["G", ()].inputs == (Input("B", (), many=True),)
    assert unpack_task(started["S", ()].task).spread
    assert drive.verdict == "success"
    assert drive.states == {"S": "success", "B": "success", "G": "success"}
    assert drive.progress.counts() == {"success": 5}


def test_an_empty_list_ends_its_branches_at_once():
    drive = Drive(FLAT, lists(S=0)).to_end()
    assert drive.order() == ["S", "G"]
    assert drive.started[1].inputs == (Input("B", (), many=True),)
    assert drive.states == {"S": "success", "B": "success", "G": "success"}


def test_a_child_starts_when_its_own_parent_has_ended():
    definition = define([spread("S"), node("B"), node("C"), gather("G")], "S>B B>C C>G")
    drive = Drive(definition)
    drive.pull()
    drive.record(ok(drive.live.pop(("S", ())), spread=3))
    drive.pull()
    drive.record(ok(drive.live.pop(("B", (1,)))))
    assert [(one.job, one.path, one.inputs) for one in drive.pull()] == [("C", (1,), (Input("B", (1,)),))]


def test_a_job_outside_of_branches_is_there_for_all_of_them():
    definition = define([spread("S"), node("O"), node("B", bind="args"), gather("G")], "S>B O>B B>G")
    late = Drive(definition)
    late.pull()
    late.record(ok(late.live.pop(("S", ())), spread=2))
    assert late.pull() == []
    late.returned("O")
    assert [one.path for one in late.pull()] == [(0,), (1,)]
    assert late.started[-1].inputs == (Input("S", (), element=1), Input("O"))
    early = Drive(definition)
    early.returned("O")
    early.record(ok(early.live.pop(("S", ())), spread=2))
    assert [one.path for one in early.pull()] == [(0,), (1,)]


def test_jobs_of_the_same_branches_pair_by_index():
    definition = define([spread("S"), node("B"), node("C"), node("D", bind="args"), gather("G")], "S>B S>C B>D C>D D>G")
    drive = Drive(definition, lists(S=2), seed=5).to_end()
    assert sorted(paths(drive, "D")) == [(0,), (1,)]
    assert {one.inputs for one in drive.started if one.job == "D"} == {
        (Input("B", (0,)), Input("C", (0,))),
        (Input("B", (1,)), Input("C", (1,))),
    }


def test_branches_nest_and_close_level_by_level():
    act = behave(S=lambda r: ok(r, spread=3), T=lambda r: ok(r, spread=r.path[0]))
    drive = Drive(NESTED, act).to_end()
    assert paths(drive, "B") == [(1, 0), (2, 0), (2, 1)]
    assert paths(drive, "I") == [(0,), (1,), (2,)]
    inputs = {one.path: one.inputs for one in drive.started if one.job == "I"}
    assert inputs[2,] == (Input("B", (2,), many=True),)
    assert drive.states == dict.fromkeys(("S", "T", "B", "I", "G"), "success")


def test_a_gather_of_everything_closes_all_levels():
    definition = define([spread("S"), spread("T"), node("B"), gather("G")], "S>T T>B B>G")
    act = behave(S=lambda r: ok(r, spread=2), T=lambda r: ok(r, spread=r.path[0] + 1))
    drive = Drive(definition, act, seed=1).to_end()
    assert drive.order()[-1] == "G" and drive.started[-1].path == ()
    assert drive.started[-1].inputs == (Input("B", (), many=True),)
    assert Drive(definition, lists(S=2, T=0)).to_end().order() == ["S", "T", "T", "G"]
    assert Drive(definition, lists(S=0)).to_end().order() == ["S", "G"]


def test_a_gather_with_bind_alone_gathers_everything():
    definition = define([spread("S"), node("B"), node("G", bind="gather")], "S>B B>G")
    assert Drive(definition, lists(S=2)).to_end().order() == ["S", "B", "B", "G"]


def test_a_gather_of_plain_jobs_is_a_list_of_them():
    drive = Drive(define([node("A"), node("B"), gather("G")], "A>G B>G")).to_end()
    assert drive.started[-1].inputs == (Input("A"), Input("B"))


def test_a_gather_may_stand_right_after_a_spread():
    drive = Drive(define([spread("S"), gather("G")], "S>G"), lists(S=3)).to_end()
    assert drive.started[-1].inputs == (Input("S", (), many=True, kind="elements"),)


def test_windows_are_cut_in_index_order_whoever_ends_first():
    definition = define([spread("S"), node("B"), gather("W", size=2), node("C"), gather("G")], "S>B B>W W>C C>G")
    drive = Drive(definition, lists(S=5), seed=3).to_end()
    assert sorted(paths(drive, "W")) == [(0,), (1,), (2,)]
    windows = {one.path: one.inputs for one in drive.started if one.job == "W"}
    assert windows[1,] == (Input("B", (), many=True, keyed=((2,), (3,))),)
    assert windows[2,] == (Input("B", (), many=True, keyed=((4,),)),)
    assert sorted(paths(drive, "C")) == [(0,), (1,), (2,)]
    assert drive.started[-1].job == "G" and "W (groups)" not in drive.states


def test_a_list_can_be_cut_into_windows_right_away():
    drive = Drive(define([spread("S"), gather("W", size=2)], "S>W"), lists(S=3)).to_end()
    assert [one.inputs for one in drive.started if one.job == "W"] == [
        (Input("S", (), element=0), Input("S", (), element=1)),
        (Input("S", (), element=2),),
    ]


def test_groups_by_key_come_in_the_order_of_their_first_item():
    definition = define([spread("S"), node("B"), gather("K", by="colour"), gather("G")], "S>B B>K K>G")
    colours = ['"red"', '"blue"', '"red"', '"green"', '"blue"']
    act = behave(S=lambda r: ok(r, spread=5), B=lambda r: ok(r, keys={"colour": colours[r.path[0]], "other": "x"}))
    drive = Drive(definition, act, seed=8).to_end()
    groups = {one.path: one.inputs[0].keyed for one in drive.started if one.job == "K"}
    assert groups == {(0,): ((0,), (2,)), (1,): ((1,), (4,)), (2,): ((3,),)}
    reports = {unpack_task(one.task).report for one in drive.started if one.job == "B"}
    assert reports == {("colour",)}


def test_a_result_without_the_key_fails_its_job():
    definition = define([spread("S"), node("B", retry=RetryRule(tries=4)), gather("K", by="colour")], "S>B B>K")
    drive = Drive(definition, lists(S=1)).to_end()
    assert "no 'colour'" in drive.error.reason and drive.order() == ["S", "B"]


def test_groups_inside_of_branches_stay_there():
    definition = define(
        [spread("S"), spread("T"), node("B"), gather("W", level=1, size=2), gather("G")], "S>T T>B B>W W>G"
    )
    drive = Drive(definition, lists(S=2, T=3), seed=2).to_end()
    assert sorted(paths(drive, "W")) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert drive.started[-1].job == "G"


def test_an_empty_grouping_makes_no_groups_and_the_run_goes_on():
    definition = define([spread("S"), node("B"), gather("W", size=2), gather("G"), node("Z")], "S>B B>W W>G G>Z")
    assert Drive(definition, lists(S=0)).to_end().order() == ["S", "G", "Z"]


def test_windows_of_plain_jobs_group_them():
    nodes = [node("A"), node("B"), node("C"), gather("W", size=2), gather("G")]
    drive = Drive(define(nodes, "A>W B>W C>W W>G")).to_end()
    assert [one.inputs for one in drive.started if one.job == "W"] == [
        (Input("A"), Input("B")),
        (Input("C", (), many=True, keyed=((),)),),
    ]


def test_a_job_that_gathers_may_spread_again():
    definition = define([spread("S"), node("B"), gather("R", spread=True), node("C"), gather("G")], "S>B B>R R>C C>G")
    drive = Drive(definition, lists(S=2, R=3)).to_end()
    assert paths(drive, "C") == [(0,), (1,), (2,)]


def test_gates_in_branches_join_branch_by_branch():
    nodes = [spread("S"), node("A"), node("B"), Node(name="gate", kind="gate"), node("C"), gather("G")]
    drive = Drive(define(nodes, "S>A S>B A>gate B>gate gate>C C>G"), lists(S=2), seed=4).to_end()
    assert sorted(paths(drive, "C")) == [(0,), (1,)]
    assert drive.verdict == "success"


def test_a_spread_gate_only_pipeline_in_branches_ends():
    nodes = [spread("S"), Node(name="gate", kind="gate"), gather("G")]
    assert Drive(define(nodes, "S>gate gate>G"), lists(S=3)).to_end().order() == ["S", "G"]


# What goes wrong in branches


def test_a_failed_branch_blocks_its_own_and_the_gather():
    definition = define([spread("S"), node("B"), node("C"), gather("G")], "S>B B>C C>G", on_error="block")
    act = behave(S=lambda r: ok(r, spread=3), B=lambda r: bad(r) if r.path == (1,) else ok(r))
    drive = Drive(definition, act).to_end()
    assert paths(drive, "C") == [(0,), (2,)]
    assert drive.states == {"S": "success", "B": "failed", "C": "success", "G": "skipped"}
    assert drive.error.path == (1,) and drive.verdict == "failed"
    details = {one.name: one.instances for one in drive.progress.job_details()}
    assert details["C"] == {"success": 2, "skipped": 1}


def test_under_fail_the_other_branches_are_stopped():
    drive = Drive(FLAT)
    drive.pull()
    drive.record(ok(drive.live.pop(("S", ())), spread=1000))
    drive.pull(3)
    drive.record(bad(drive.live.pop(("B", (1,)))))
    assert sorted(drive.progress.halts()) == [("B", (0,)), ("B", (2,))]
    assert drive.progress.counts() == {"success": 1, "failed": 1, "cancelled": 1000}


def test_under_continue_failed_branches_are_gathered_as_data():
    definition = define([spread("S"), node("B", on_error="continue"), gather("G")], "S>B B>G")
    act = behave(S=lambda r: ok(r, spread=2), B=lambda r: bad(r) if r.path == (0,) else ok(r))
    drive = Drive(definition, act).to_end()
    assert drive.verdict == "success"
    assert drive.started[-1].inputs == (Input("B", (), many=True),)


def test_skipped_branches_are_left_out_of_a_gather():
    act = behave(S=lambda r: ok(r, spread=4), B=lambda r: ok(r, skip="odd") if r.path[0] % 2 else ok(r))
    drive = Drive(FLAT, act).to_end()
    assert drive.started[-1].inputs == (Input("B", (), many=True, keyed=((0,), (2,))),)
    assert drive.states == {"S": "success", "B": "success", "G": "success"}


def test_a_skipped_spread_skips_its_branches_and_their_gather():
    drive = Drive(FLAT, behave(S=lambda r: ok(r, skip="nothing"))).to_end()
    assert drive.states == {"S": "skipped", "B": "skipped", "G": "skipped"} and drive.verdict == "success"


def test_a_spread_that_is_skipped_in_one_branch_gives_nothing_to_the_gather_of_all():
    definition = define([spread("S"), spread("T"), node("B"), gather("G")], "S>T T>B B>G")
    act = behave(S=lambda r: ok(r, spread=2), T=lambda r: ok(r, skip="none") if r.path == (0,) else ok(r, spread=1))
    drive = Drive(definition, act).to_end()
    assert drive.order() == ["S", "T", "T", "B", "G"]


def test_a_failed_spread_blocks_what_is_below_it():
    drive = Drive(define(FLAT.nodes, "S>B B>G", on_error="block"), behave(S=bad)).to_end()
    assert drive.states == {"S": "failed", "B": "skipped", "G": "skipped"}
    drive = Drive(FLAT, behave(S=bad)).to_end()
    assert drive.states == {"S": "failed", "B": "cancelled", "G": "cancelled"}


def test_a_failed_spread_whose_failure_is_data_has_no_branches():
    drive = Drive(define([spread("S", on_error="continue"), *FLAT.nodes[1:]], "S>B B>G"), behave(S=bad)).to_end()
    assert drive.order() == ["S", "G"] and drive.verdict == "success"


def test_an_always_gather_runs_whatever_became_of_the_branches():
    definition = define([spread("S"), node("B"), gather("G", when="always")], "S>B B>G")
    act = behave(S=lambda r: ok(r, spread=3), B=lambda r: bad(r) if r.path == (0,) else ok(r))
    drive = Drive(definition, act).to_end()
    assert drive.order()[-1] == "G" and drive.verdict == "failed"


def test_a_failure_gather_in_windows_runs_after_a_failure_only():
    definition = define([spread("S"), node("B"), gather("W", size=2, when="failure")], "S>B B>W", on_error="block")
    assert "W" not in Drive(definition, lists(S=2)).to_end().order()
    act = behave(S=lambda r: ok(r, spread=2), B=lambda r: bad(r) if r.path == (0,) else ok(r))
    assert Drive(definition, act).to_end().order()[-1] == "W"


def test_a_choice_counts_in_its_own_branch():
    definition = define([spread("S"), node("A"), node("B"), node("C"), gather("G")], "S>A A>B A>C B>G C>G")
    act = behave(S=lambda r: ok(r, spread=2), A=lambda r: ok(r, chosen=("BC"[r.path[0]],)))
    drive = Drive(definition, act).to_end()
    assert paths(drive, "B") == [(0,)] and paths(drive, "C") == [(1,)]
    assert drive.started[-1].inputs == (
        Input("B", (), many=True, keyed=((0,),)),
        Input("C", (), many=True, keyed=((1,),)),
    )


def test_a_spread_may_choose_among_its_children():
    definition = define([spread("S"), node("A"), node("B")], "S>A S>B")
    drive = Drive(definition, behave(S=lambda r: ok(r, spread=2, chosen=("B",)))).to_end()
    assert drive.order() == ["S", "B", "B"]
    assert drive.states == {"S": "success", "A": "skipped", "B": "success"}


def test_a_choice_made_outside_counts_for_branches_that_open_later():
    definition = define([node("O"), spread("S"), node("A"), node("B")], "S>A O>A S>B O>B")
    drive = Drive(definition, behave(O=lambda r: ok(r, chosen=("B",)), S=lambda r: ok(r, spread=2))).to_end()
    assert drive.order() == ["O", "S", "B", "B"]
    assert drive.states["A"] == "skipped"


def test_a_failed_list_gives_nothing_to_windows_right_after_it():
    definition = define([spread("S", on_error="continue"), gather("W", size=2), node("Z")], "S>W")
    drive = Drive(definition, behave(S=bad)).to_end()
    assert drive.order() == ["S", "Z"] and drive.verdict == "success"


def test_a_result_that_is_no_list_cannot_be_spread():
    for signs in ({}, {"spread": -1}, {"spread": 10**12}):
        drive = Drive(FLAT, behave(S=lambda r, s=signs: ok(r, **s))).to_end()
        assert drive.verdict == "failed" and "list" in drive.error.reason


def test_a_branch_is_tried_again_on_its_own():
    definition = define([spread("S"), node("B", retry=RetryRule(tries=3)), gather("G")], "S>B B>G")
    act = behave(S=lambda r: ok(r, spread=3), B=lambda r: bad(r) if r.path == (2,) and r.attempt < 3 else ok(r))
    drive = Drive(definition, act, seed=1).to_end()
    assert [one.attempt for one in drive.started if one.path == (2,)] == [1, 2, 3]
    assert [one.attempt for one in drive.started if one.path == (1,)] == [1]


def test_a_branch_that_does_not_exist_is_refused():
    drive = Drive(FLAT)
    drive.pull()
    drive.record(ok(drive.live.pop(("S", ())), spread=2))
    for path in ((2,), (-1,), (), (0, 0)):
        with pytest.raises(ProtocolError, match="no such branch"):
            drive.progress.apply(99, Returned("B", path, 1, "success"))
    drive.progress.validate()


# A hundred thousand


def test_a_hundred_thousand_branches_stay_a_range_until_asked_for():
    count = 100_000
    progress = Progress(FLAT, "run")
    progress.ready()
    progress.apply(1, ok_fact("S", (), spread=count))
    assert len(progress.board.queue) == 1
    sequence = 1
    while progress.has_ready():
        for one in progress.ready(2000):
            if one.job == "B":
                sequence += 1
                progress.apply(sequence, Returned("B", one.path, 1, "success"))
            else:
                assert one.inputs == (Input("B", (), many=True),)
    assert progress.counts() == {"success": count + 1, "queued": 1}


def ok_fact(job: str, path: tuple[int, ...], **signs) -> Returned:
    from headrace.pipeline.facts import Signs

    return Returned(job, path, 1, "success", signs=Signs(**signs))


# Rounds


def test_a_new_round_keeps_the_branches_that_succeeded():
    act = behave(S=lambda r: ok(r, spread=4), B=lambda r: bad(r) if r.path == (2,) and r.round == 0 else ok(r, keys={}))
    drive = Drive(FLAT, act).to_end()
    done = {one.path for one in drive.started if one.job == "B"}
    drive.reopen()
    drive.started.clear()
    drive.to_end()
    assert drive.verdict == "success"
    assert (2,) in paths(drive, "B") and "S" not in drive.order()
    assert len(paths(drive, "B")) < 4 or done == {(2,)}
    assert drive.replay().counts() == drive.progress.counts() == {"success": 6}


# Scopes


@pytest.mark.parametrize(
    ("nodes", "edges", "story"),
    [
        ([spread("S"), spread("T"), node("J")], "S>J T>J", "job 'J' joins two kinds of branches.*'S'.*'T'.*gather"),
        (
            [spread("S"), spread("T"), node("A"), node("B"), node("J")],
            "S>A T>B A>J B>J",
            r"through 'A'.*through 'B'.*gather one of them first",
        ),
        ([spread("S"), node("A"), gather("G", level=2)], "S>A A>G", "gathers 2 levels of branches, but 1 are open"),
        ([spread("S"), gather("K", by="x")], "S>K", "right after job 'S', which spreads: put a job between"),
        (
            [spread("S"), spread("T"), spread("U"), node("A"), node("B"), gather("G", level=1)],
            "S>T T>A U>B A>G B>G",
            "not the same branches",
        ),
    ],
)
def test_branches_that_cannot_meet_are_refused_with_what_to_do(nodes, edges, story):
    with pytest.raises(DefinitionError, match=story):
        check_scopes(define(nodes, edges))


def test_unrelated_branches_may_meet_in_a_gather_of_everything():
    definition = define([spread("S"), spread("T"), node("A"), node("B"), gather("G")], "S>A T>B A>G B>G")
    check_scopes(definition)
    drive = Drive(definition, lists(S=2, T=3), seed=7).to_end()
    assert drive.started[-1].inputs == (Input("A", (), many=True), Input("B", (), many=True))


def test_an_outer_job_reaches_two_levels_down():
    definition = define([node("O"), spread("S"), spread("T"), node("B")], "S>T T>B O>B")
    drive = Drive(definition)
    drive.pull()
    drive.record(ok(drive.live.pop(("S", ())), spread=2))
    drive.pull()
    drive.record(ok(drive.live.pop(("T", (0,))), spread=2))
    drive.record(ok(drive.live.pop(("T", (1,))), spread=1))
    assert drive.pull() == []
    drive.record(ok(drive.live.pop(("O", ()))))
    assert [one.path for one in drive.pull()] == [(0, 0), (0, 1), (1, 0)]


def test_a_group_ends_when_all_its_branches_have():
    from headrace.pipeline.definition import Group

    group = Group(title="G", members=(1,), hooks={"success": (node("x"),)})
    definition = define([spread("S"), node("B"), gather("Z")], "S>B B>Z", groups=(group,))
    drive = Drive(definition, lists(S=2)).to_end()
    assert drive.order() == ["S", "B", "B", "Z", "hook:success:G"] or drive.order()[3:] == ["hook:success:G", "Z"]


def test_what_is_handed_out_at_once_is_limited_by_the_inputs_that_it_names_too():
    """Not only by the work itself: a thousand names in each of a thousand branches are a large message."""
    nodes = [spread("S"), *(node(f"O{n}") for n in range(200)), node("B", bind="args")]
    progress = Progress(define(nodes, " ".join(f"{one.name}>B" for one in nodes[:-1])), "run")
    for sequence, one in enumerate(progress.ready(), 1):
        progress.apply(sequence, ok(one, spread=1000) if one.job == "S" else ok(one))
    some = progress.ready(None, 1_000_000)
    assert 0 < len(some) < 200
    assert 1_000_000 <= sum(one.weight for one in some) < 1_100_000
