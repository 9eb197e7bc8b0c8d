from __future__ import annotations

import pytest
from driving import Drive, bad, behave, define, ok

from headrace.pipeline.answers import Graft
from headrace.pipeline.definition import Definition, GatherRule, Group, Node, pack_definition
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.group import Group as WrittenGroup
from headrace.pipeline.job import Job
from headrace.pipeline.payload import unpack
from headrace.pipeline.task import Input, Ready, unpack_task


def graft(*jobs, edges=()):
    """A behaviour: the job succeeds and grafts these."""
    packed = Graft(None, jobs=[job if isinstance(job, Job) else Job(job) for job in jobs], edges=edges).definition()
    return lambda ready: ok(ready, graft=packed)


def done(drive: Drive, job: str, *path: int) -> Drive:
    """This attempt returns as its worker behaves."""
    drive.pull()
    drive.record(drive.behaviour(drive.live.pop((job, path))))
    return drive


def paths(drive: Drive, job: str) -> list[tuple[int, ...]]:
    return [one.path for one in drive.started if one.job == job]


def reason(drive: Drive) -> str:
    drive.to_end()
    assert drive.verdict == "failed"
    return drive.error.reason


def test_a_grafted_job_without_an_edge_starts_when_its_grafter_has_ended():
    drive = Drive(define("A B", "A>B"), behave(A=graft("X"))).to_end()
    assert sorted(drive.order()) == ["A", "B", "X"]
    assert drive.states == dict.fromkeys("ABX", "success")
    x = next(one for one in drive.started if one.job == "X")
    assert x.inputs == (Input("A"),) and x.path == () and x.worker == "X"
    assert drive.replay().states() == drive.states


def test_grafted_jobs_have_edges_among_themselves_and_may_be_named_after_their_grafter():
    act = behave(A=graft("X", "Y", edges=[("A", "X"), ("X", "Y")]))
    drive = Drive(define("A"), act).to_end()
    assert drive.order() == ["A", "X", "Y"]


def test_a_grafted_job_may_be_put_before_a_descendant_that_waits():
    drive = Drive(define("A B C D", "A>B B>C A>D"), behave(A=graft("X", edges=[("X", "C")])))
    drive.pull()
    drive.record(drive.behaviour(drive.live.pop(("A", ()))))
    assert [one.job for one in drive.pull()] == ["X", "B", "D"] or {"B", "D", "X"} == {
        one.job for one in drive.started[1:]
    }
    drive.returned("B")
    assert "C" not in drive.order()
    drive.returned("X")
    drive.pull()
    c = drive.started[-1]
    assert c.job == "C" and c.inputs == (Input("B"), Input("X"))


def test_a_failed_graft_fails_like_any_job():
    act = behave(A=graft("X", edges=[("X", "C")]), X=bad)
    drive = Drive(define("A B C", "A>B B>C", on_error="block"), act).to_end()
    assert drive.states == {"A": "success", "B": "success", "C": "skipped", "X": "failed"}
    assert drive.error.job == "X"


def test_a_grafted_job_may_graft_again():
    depth = 5

    def act(ready: Ready):
        level = int(ready.job[1:])
        return graft(f"n{level + 1}")(ready) if level < depth else ok(ready)

    drive = Drive(define("n0"), act).to_end()
    assert drive.order() == [f"n{level}" for level in range(depth + 1)]


def test_grafts_of_grafts_are_not_endless():
    drive = Drive(define("n0"), lambda ready: graft(f"n{int(ready.job[1:]) + 1}")(ready))
    assert "as deep as that goes" in reason(drive)


def test_in_a_branch_names_live_under_the_path_of_the_grafter():
    definition = define(
        [
            Node(name="S", spread=True),
            Node(name="B"),
            Node(name="C"),
            Node(name="G", bind="gather", gather=GatherRule()),
        ],
        "S>B B>C C>G",
    )
    act = behave(S=lambda r: ok(r, spread=3), B=graft("X", edges=[("X", "C")]))
    drive = Drive(definition, act, seed=4).to_end()
    assert sorted(paths(drive, "X")) == [(0,), (1,), (2,)]
    inputs = {one.path: one.inputs for one in drive.started if one.job == "C"}
    assert inputs[1,] == (Input("B", (1,)), Input("X", (1,)))
    assert drive.states["X"] == "success"
    assert drive.progress.counts() == {"success": 11}
    assert drive.replay().counts() == drive.progress.counts()


def test_a_graft_in_one_branch_does_not_hold_up_the_others():
    definition = define([Node(name="S", spread=True), Node(name="B"), Node(name="C")], "S>B B>C")
    drive = Drive(definition, behave(B=graft("X", edges=[("X", "C")])))
    drive.pull()
    drive.record(ok(drive.live.pop(("S", ())), spread=2))
    drive.pull()
    drive.record(drive.behaviour(drive.live.pop(("B", (0,)))))
    drive.record(ok(drive.live.pop(("B", (1,)))))
    assert {(one.job, one.path) for one in drive.pull()} == {("X", (0,)), ("C", (1,))}


def test_a_graft_in_a_branch_may_be_put_before_the_gather():
    definition = define(
        [Node(name="S", spread=True), Node(name="B"), Node(name="G", bind="gather", gather=GatherRule())], "S>B B>G"
    )
    act = behave(
        S=lambda r: ok(r, spread=2), B=lambda r: graft("X", edges=[("X", "G")])(r) if r.path == (1,) else ok(r)
    )
    drive = Drive(definition, act, seed=9).to_end()
    assert drive.started[-1].job == "G"
    assert drive.started[-1].inputs == (Input("B", (), many=True), Input("X", (1,)))


def test_a_grafted_job_may_spread_and_gather_below_its_place():
    jobs = [Job("T", spread=True), Job("U"), Job("V", gather={"level": 1})]
    act = behave(
        S=lambda r: ok(r, spread=2),
        B=graft(*jobs, edges=[("T", "U"), ("U", "V"), ("V", "C")]),
        T=lambda r: ok(r, spread=r.path[0] + 1),
    )
    definition = define([Node(name="S", spread=True), Node(name="B"), Node(name="C")], "S>B B>C")
    drive = Drive(definition, act, seed=2).to_end()
    assert sorted(paths(drive, "U")) == [(0, 0), (1, 0), (1, 1)]
    assert sorted(paths(drive, "V")) == [(0,), (1,)]
    v = next(one for one in drive.started if (one.job, one.path) == ("V", (1,)))
    assert v.inputs == (Input("U", (1,), many=True),)
    assert drive.states == dict.fromkeys(("S", "B", "C", "T", "U", "V"), "success")


IN_GROUPS = [("T", "U"), ("U", "W"), ("W", "V"), ("V", "C")]


@pytest.mark.parametrize("seed", range(6))
def test_a_grafted_job_may_gather_in_windows_and_what_it_opens_is_gathered_again(seed):
    jobs = [Job("T", spread=True), Job("U"), Job("W", gather={"size": 2, "level": 1}), Job("V", gather={"level": 1})]
    act = behave(S=lambda r: ok(r, spread=2), B=graft(*jobs, edges=IN_GROUPS), T=lambda r: ok(r, spread=3 - r.path[0]))
    definition = define([Node(name="S", spread=True), Node(name="B"), Node(name="C")], "S>B B>C")
    drive = Drive(definition, act, seed=seed).to_end()
    assert sorted(paths(drive, "W")) == [(0, 0), (0, 1), (1, 0)]
    started = {(one.job, one.path): one for one in drive.started}
    assert started["W", (0, 0)].inputs == (Input("U", (), True, None, "success", ((0, 0), (0, 1))),)
    assert started["W", (0, 1)].inputs == (Input("U", (), True, None, "success", ((0, 2),)),)
    assert started["V", (1,)].inputs == (Input("W", (1,), many=True),)
    assert drive.states == dict.fromkeys(("S", "B", "C", "T", "U", "W", "V"), "success")
    assert drive.replay().counts() == drive.progress.counts()


@pytest.mark.parametrize("seed", range(4))
def test_a_grafted_job_may_gather_by_key(seed):
    jobs = [Job("T", spread=True), Job("U"), Job("W", gather={"by": "k"}), Job("V", gather={})]
    act = behave(
        A=graft(*jobs, edges=IN_GROUPS[:-1]),
        T=lambda r: ok(r, spread=4),
        U=lambda r: ok(r, keys={"k": "odd" if r.path[0] % 2 else "even"}),
    )
    drive = Drive(define("A B", "A>B"), act, seed=seed).to_end()
    started = {(one.job, one.path): one for one in drive.started}
    assert unpack_task(started["U", (0,)].task).report == ("k",)
    assert [started["W", (n,)].inputs[0].keyed for n in (0, 1)] == [((0,), (2,)), ((1,), (3,))]
    assert drive.verdict == "success" and drive.states["V"] == "success"


def test_windows_may_close_the_list_of_the_job_that_grafts_as_long_as_a_job_stands_between():
    jobs = [Job("U"), Job("W", gather={"size": 2})]
    packed = Graft(None, jobs=jobs, edges=[("U", "W")]).definition()
    drive = Drive(define([Node(name="S", spread=True)]), behave(S=lambda r: ok(r, spread=3, graft=packed))).to_end()
    assert drive.verdict == "success"
    assert sorted(paths(drive, "U")) == [(0,), (1,), (2,)] and sorted(paths(drive, "W")) == [(0,), (1,)]


def test_a_new_round_grafts_groups_again():
    jobs = [Job("T", spread=True), Job("U"), Job("W", gather={"size": 1}), Job("V", gather={})]
    act = behave(
        A=graft(*jobs, edges=IN_GROUPS[:-1]),
        T=lambda r: ok(r, spread=3),
        W=lambda r: bad(r) if r.path == (1,) and r.round == 0 else ok(r),
    )
    drive = Drive(define("A B", "A>B", on_error="block"), act).to_end()
    assert drive.verdict == "failed"
    drive.started.clear()
    drive.reopen().to_end()
    assert drive.verdict == "success"
    assert [(one.job, one.path) for one in drive.started] == [("W", (1,)), ("V", ())]


def test_what_a_spread_job_grafts_runs_in_its_branches():
    act = behave(S=lambda r: ok(r, spread=2, graft=Graft(None, jobs=[Job("X")]).definition()))
    drive = Drive(define([Node(name="S", spread=True), Node(name="B")], "S>B"), act).to_end()
    assert sorted(paths(drive, "X")) == [(0,), (1,)]
    assert next(one for one in drive.started if one.job == "X").inputs == (Input("S", (), element=0),)


@pytest.mark.parametrize(
    ("jobs", "edges", "story"),
    [
        (["B"], [], "a job named 'B' already"),
        (["X"], [("X", "O")], "put before 'O', which does not come after"),
        (["X"], [("X", "A")], "put before 'A', which does not come after"),
        (["X"], [("X", "nowhere")], "'nowhere', which is no job"),
        (["X"], [("O", "X")], "an edge comes from 'O'"),
        (["X", "Y"], [("X", "Y"), ("Y", "X")], "cycle"),
        ([Job("X", gather={"by": "k"})], [], "gathers by 'k' right after the job that grafts: put a job between"),
        (
            [Job("X", spread=True), Job("Y"), Job("Z", gather={"size": 2})],
            [("X", "Y"), ("Y", "Z"), ("Z", "B")],
            "gather them first",
        ),
        ([Job("X", spread=True)], [("X", "B")], "gather them first"),
    ],
)
def test_a_graft_that_cannot_be_fails_its_job_with_the_reason_and_without_retry(jobs, edges, story):
    from headrace.pipeline.definition import RetryRule

    nodes = [Node(name="A", retry=RetryRule(tries=3)), Node(name="B"), Node(name="O")]
    drive = Drive(define(nodes, "A>B", on_error="block"), behave(A=graft(*jobs, edges=edges)))
    text = reason(drive)
    assert "graft" in text and story in text
    assert drive.order().count("A") == 1
    assert drive.states == {"A": "failed", "B": "skipped", "O": "success"}


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1\xff\x00",
        b"\x80" * 3,
        pack_definition(Definition(nodes=(Node(name="X"),), edges=((0, 9, "order"),))),
        pack_definition(Definition(nodes=(Node(name="hook:x"),))),
        pack_definition(Definition(nodes=(Node(name="X"),), hooks={"always": Node(name="h")})),
        pack_definition(Definition(nodes=(Node(name="X"),), groups=(Group(title="g", members=(1,)),))),
        pack_definition(Definition(nodes=(Node(name="X"), Node(name="X")))),
    ],
)
def test_garbage_for_a_graft_is_a_failure_of_that_job(packed):
    drive = Drive(define("A"), behave(A=lambda r: ok(r, graft=packed)))
    assert "graft cannot be" in reason(drive)


def grouped(*groups, jobs=("X", "Y"), edges=(("X", "Y"),)):
    packed = Graft(None, jobs=[Job(job) for job in jobs], edges=edges, groups=groups).definition()
    return lambda ready: ok(ready, graft=packed)


def hooked(title, members, *kinds, **more):
    return WrittenGroup(title, members, hooks={kind: Job("Notify", name=f"{title} {kind}") for kind in kinds}, **more)


def test_a_graft_may_bring_groups_with_hooks_which_run_once_they_have_ended():
    act = behave(A=grouped(hooked("g", ["X", "Y"], "success", "failure", "always")))
    drive = Drive(define("A B", "A>B"), act).to_end()
    hooks = [one for one in drive.started if one.hook]
    assert [one.job for one in hooks] == ["hook:success:g", "hook:always:g"]
    assert drive.order().index("Y") < drive.order().index("hook:success:g")
    details = {detail.name: detail for detail in drive.progress.job_details()}
    assert details["hook:always:g"].hook and details["hook:always:g"].state == "success"
    assert set(drive.states) == {"A", "B", "X", "Y"}
    assert drive.replay().job_details() == drive.progress.job_details()


def test_hooks_of_a_grafted_group_are_told_why_it_has_failed_and_come_before_those_around_it():
    outer = Group(title="outer", members=(0, 1), hooks={"failure": (Node(name="o", worker="Notify"),)})
    definition = define("A B", "A>B", groups=(outer,))
    act = behave(A=grouped(hooked("inner", ["X", "Y"], "failure"), edges=[("X", "Y"), ("Y", "B")]), X=bad)
    drive = Drive(definition, act).to_end()
    assert drive.order() == ["A", "X", "hook:failure:inner", "hook:failure:outer"]
    told = [unpack(unpack_task(one.task).data) for one in drive.started if one.hook]
    assert [one["error"]["job"] for one in told] == ["X", "X"]
    assert (drive.verdict, drive.states["Y"], drive.states["B"]) == ("failed", "cancelled", "cancelled")


def test_a_grafted_group_may_have_a_policy_of_its_own():
    act = behave(A=grouped(hooked("g", ["X", "Y"], "failure", on_error="block")), X=bad)
    drive = Drive(define("A B", "A>B"), act).to_end()
    assert drive.states == {"A": "success", "B": "success", "X": "failed", "Y": "skipped"}
    assert "hook:failure:g" in drive.order() and drive.verdict == "failed"


def test_a_grafted_group_of_which_nothing_has_begun_calls_nothing():
    act = behave(A=grouped(hooked("g", ["X"], "always"), edges=[("Y", "X")]), Y=bad)
    assert "hook:always:g" not in Drive(define("A"), act).to_end().order()


def test_groups_are_grafted_in_branches_under_the_same_names():
    definition = define([Node(name="S", spread=True), Node(name="B"), Node(name="C", gather=GatherRule())], "S>B B>C")
    act = behave(S=lambda r: ok(r, spread=3), B=grouped(hooked("g", ["X", "Y"], "success"), edges=[("X", "Y")]))
    drive = Drive(definition, act).to_end()
    assert sorted(one.path for one in drive.started if one.hook) == [(0,), (1,), (2,)]
    assert drive.verdict == "success"
    (detail,) = [one for one in drive.progress.job_details() if one.hook]
    assert (detail.name, detail.instances) == ("hook:success:g", {"success": 3})
    drive.reopen()
    assert drive.to_end().verdict == "success"


@pytest.mark.parametrize(
    ("packed", "story"),
    [
        (grouped(hooked("taken", ["X"], "always")), "there is a group called 'taken' already"),
        (grouped(hooked("twice", ["X"], "always"), hooked("twice", ["Y"], "always")), ""),
        (grouped(hooked("g", ["X", "Y"], "always"), jobs=("X", "Y"), edges=[]), ""),
    ],
)
def test_titles_of_grafted_groups_are_new(packed, story):
    group = Group(title="taken", members=(0,), hooks={"always": (Node(name="h"),)})
    drive = Drive(define("A", groups=(group,)), behave(A=packed))
    if story:
        assert story in reason(drive)
    else:
        assert drive.to_end().verdict == "success"


def test_a_group_of_branches_cannot_be_grafted():
    jobs = [Job("X", spread=True), Job("Y")]
    groups = [hooked("g", ["X", "Y"], "always")]
    packed = Graft(None, jobs=jobs, edges=[("X", "Y")], groups=groups).definition()
    drive = Drive(define("A"), behave(A=lambda r: ok(r, graft=packed)))
    assert "group 'g' has job 'Y', which is in branches of its own" in reason(drive)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (["X"], "made of Group objects, not 'X'"),
        ([hooked("g", ["Z"])], "group 'g' names 'Z', which is none of its jobs"),
    ],
)
def test_what_is_no_group_of_new_jobs_is_refused_where_the_graft_is_made(groups, told):
    with pytest.raises(DefinitionError, match=told):
        Graft(None, jobs=[Job("X")], groups=groups).definition()


def test_a_hook_cannot_graft():
    hooks = {"always": Node(name="h")}
    act = behave(**{"hook:always": graft("X")})
    drive = Drive(define("A", hooks=hooks), act).to_end()
    assert drive.verdict == "success" and drive.order() == ["A", "hook:always"]


def test_what_is_grafted_is_stopped_and_reset_with_the_rest():
    act = behave(A=graft("X", "Y", edges=[("X", "Y")]), X=lambda r: bad(r) if r.round == 0 else ok(r))
    drive = Drive(define("A B", "A>B"), act).to_end()
    assert drive.states["Y"] == "cancelled"
    drive.reopen()
    drive.started.clear()
    drive.to_end()
    assert drive.verdict == "success" and "A" not in drive.order() and {"X", "Y"} <= set(drive.order())
    assert drive.replay().states() == drive.states


def test_thousands_of_branches_may_graft_the_same_names():
    definition = define([Node(name="S", spread=True), Node(name="B"), Node(name="C")], "S>B B>C")
    act = behave(S=lambda r: ok(r, spread=500), B=graft("X", edges=[("X", "C")]))
    drive = Drive(definition, act)
    drive.record = lambda fact: drive.progress.apply(drive.progress.last + 1, fact)  # without a check after each fact
    drive.to_end()
    assert drive.progress.counts() == {"success": 1501}
    drive.progress.validate()


def test_a_grafted_job_that_spreads_may_graft_into_its_branches():
    act = behave(
        A=graft(Job("T", spread=True)),
        T=lambda r: ok(r, spread=2, graft=Graft(None, jobs=[Job("U")]).definition()),
    )
    drive = Drive(define("A"), act).to_end()
    assert sorted(paths(drive, "U")) == [(0,), (1,)]
    assert drive.progress.counts() == {"success": 4}


# In the groups of the grafter ----------------------------------------------------------------------------------------


def group(*members: int, **more) -> Group:
    hooks = {kind: (Node(name=kind, worker="Notify"),) for kind in ("success", "failure", "always")}
    return Group(title="g", members=members, hooks=hooks, **more)


def test_a_group_that_fails_stops_what_was_grafted_into_it_and_nothing_else():
    definition = define("A B O P", "O>P", on_error="block", groups=(group(0, 1, on_error="fail"),))
    drive = Drive(definition, behave(A=graft("X", "Y", edges=[("X", "Y")])))
    done(drive, "A").pull()
    assert {"X", "B", "O"} <= {job for job, _ in drive.live}
    drive.returned("B", kind="failed")
    assert drive.stopped == [("X", ())]
    drive.to_end()
    assert drive.states == {
        "A": "success", "B": "failed", "O": "success", "P": "success", "X": "cancelled", "Y": "cancelled"
    }  # fmt: skip
    assert drive.replay().states() == drive.states


def test_a_grafted_job_that_fails_stops_the_group_of_its_grafter():
    definition = define("A B C O", "A>B B>C", on_error="block", groups=(group(0, 1, on_error="fail"),))
    drive = Drive(definition, behave(A=graft("X", "Y"), X=bad))
    done(drive, "A").returned("X", kind="failed").to_end()
    assert drive.states == {
        "A": "success", "B": "cancelled", "C": "skipped", "O": "success", "X": "failed", "Y": "cancelled"
    }  # fmt: skip


def test_hooks_of_a_group_wait_for_what_was_grafted_into_it_and_are_told_of_its_failure():
    drive = Drive(define("A", groups=(group(0, on_error="block"),)), behave(A=graft("X", "Y", edges=[("X", "Y")])))
    done(drive, "A").returned("X")
    assert [one.job for one in drive.pull()] == ["Y"]
    drive.returned("Y", kind="failed")
    drive.to_end()
    hooks = [one for one in drive.started if one.hook]
    assert [one.job for one in hooks] == ["hook:failure:g", "hook:always:g"]
    assert unpack(unpack_task(hooks[0].task).data)["error"]["job"] == "Y"


def test_hooks_of_a_group_wait_for_branches_that_were_grafted_into_it():
    jobs = [Job("T", spread=True), Job("U")]
    act = behave(A=graft(*jobs, edges=[("T", "U")]), T=lambda r: ok(r, spread=3))
    drive = Drive(define("A", groups=(group(0),)), act, seed=3).to_end()
    order = drive.order()
    assert paths(drive, "U") and max(at for at, job in enumerate(order) if job == "U") < order.index("hook:success:g")
    drive.reopen()
    assert drive.to_end().verdict == "success"


def test_hooks_of_a_group_wait_for_what_each_branch_of_it_has_grafted():
    nodes = [Node(name="S", spread=True), Node(name="B"), Node(name="C")]
    act = behave(S=lambda r: ok(r, spread=3), B=graft(Job("T", spread=True), Job("U"), edges=[("T", "U")]),
                 T=lambda r: ok(r, spread=2 - r.path[0]))  # fmt: skip
    for seed in range(8):
        drive = Drive(define(nodes, "S>B B>C", groups=(group(1),)), act, seed=seed).to_end()
        assert len(paths(drive, "U")) == 3
        order = drive.order()
        assert max(at for at, job in enumerate(order) if job == "U") < order.index("hook:success:g")


def test_a_job_of_a_failed_group_that_still_runs_grafts_what_does_not():
    nodes = [Node(name="A"), Node(name="B", when="always")]
    definition = define(nodes, "A>B", on_error="block", groups=(group(0, 1, on_error="fail"),))
    cleaning = Job("Z", when="always")
    drive = Drive(definition, behave(A=bad, B=graft("X", cleaning))).to_end()
    assert drive.states == {"A": "failed", "B": "success", "X": "cancelled", "Z": "success"}
    assert drive.order()[-2:] == ["hook:failure:g", "hook:always:g"]


def test_grafts_of_grafts_are_in_the_groups_around_and_in_groups_of_their_own():
    outer, inner = group(0, 1), WrittenGroup("own", ["X"], hooks={"always": Job("Notify")})
    packed = Graft(None, jobs=[Job("X")], groups=[inner]).definition()
    act = behave(A=lambda r: ok(r, graft=packed), X=graft("Y"))
    drive = Drive(define("A B O", on_error="block", groups=(outer,)), act)
    done(drive, "A")
    done(drive, "X").returned("B").pull()
    assert ("Y", ()) in drive.live and not [one for one in drive.started if one.hook]
    drive.to_end()
    hooks = [one.job for one in drive.started if one.hook]
    assert hooks == ["hook:always:own", "hook:success:g", "hook:always:g"]


# Before jobs that gather in groups -----------------------------------------------------------------------------------


def keyed(key: str):
    return lambda ready: ok(ready, keys={"k": key})


def groups_read(drive: Drive, job: str) -> list[tuple[Input, ...]]:
    return [one.inputs for one in sorted(drive.started, key=lambda one: one.path) if one.job == job]


@pytest.mark.parametrize("seed", range(6))
def test_a_grafted_job_may_be_put_before_a_gather_by_key_and_is_sorted_by_its_key(seed):
    nodes = [Node(name="S", spread=True), Node(name="B"), Node(name="G", bind="gather", gather=GatherRule(by="k"))]
    packed = Graft(None, jobs=[Job("X")], edges=[("X", "G")]).definition()
    act = behave(
        S=lambda r: ok(r, spread=3),
        B=lambda r: ok(r, keys={"k": "even" if r.path[0] % 2 == 0 else "odd"}, graft=packed),
        X=lambda r: ok(r, keys={"k": "new" if r.path == (1,) else "even"}),
    )
    drive = Drive(define(nodes, "S>B B>G"), act, seed=seed).to_end()
    assert unpack_task(next(one for one in drive.started if one.job == "X").task).report == ("k",)
    assert groups_read(drive, "G") == [
        (Input("B", (0,)), Input("B", (2,)), Input("X", (0,)), Input("X", (2,))),
        (Input("B", (), True, keyed=((1,),)),),
        (Input("X", (), True, keyed=((1,),)),),
    ]
    assert drive.progress.waits_for("G") == []
    assert drive.replay().counts() == drive.progress.counts()


def test_a_grafted_job_without_the_key_of_the_gather_that_it_is_put_before_fails():
    nodes = [Node(name="A"), Node(name="G", bind="gather", gather=GatherRule(by="k"))]
    act = behave(A=lambda r: ok(r, keys={"k": "a"}, graft=graft("X", edges=[("X", "G")])(r).signs.graft))
    drive = Drive(define(nodes, "A>G"), act)
    assert reason(drive) == "its result has no 'k', by which a gather after it groups"
    assert drive.error.job == "X"


@pytest.mark.parametrize("seed", range(8))
def test_a_grafted_job_before_windows_stands_in_the_last_ones(seed):
    nodes = [Node(name="S", spread=True), Node(name="B"), Node(name="G", bind="gather", gather=GatherRule(size=2))]
    act = behave(
        S=lambda r: ok(r, spread=3),
        B=lambda r: graft("X", "Y", edges=[("X", "G"), ("Y", "G")])(r) if r.path == (0,) else ok(r),
    )
    drive = Drive(define(nodes, "S>B B>G"), act, seed=seed).to_end()
    assert groups_read(drive, "G") == [
        (Input("B", (), True, keyed=((0,), (1,))),),
        (Input("B", (2,)), Input("X", (0,))),
        (Input("Y", (), True, keyed=((0,),)),),
    ]


def test_windows_that_are_full_open_while_what_was_grafted_before_the_gather_still_runs():
    nodes = [Node(name="S", spread=True), Node(name="B"), Node(name="G", bind="gather", gather=GatherRule(size=1))]
    act = behave(S=lambda r: ok(r, spread=1), B=graft("X", edges=[("X", "G")]))
    drive = Drive(define(nodes, "S>B B>G"), act)
    for job, path in (("S", ()), ("B", (0,))):
        done(drive, job, *path)
    drive.pull()
    assert set(drive.live) == {("X", (0,)), ("G", (0,))}
    assert drive.progress.waits_for("G") == ["X"]
    drive.to_end()
    assert paths(drive, "G") == [(0,), (1,)]


def test_a_grafted_job_that_fails_before_windows_leaves_those_that_have_begun():
    nodes = [Node(name="S", spread=True), Node(name="B"), Node(name="G", bind="gather", gather=GatherRule(size=1))]
    act = behave(S=lambda r: ok(r, spread=2), B=graft("X", edges=[("X", "G")]), X=bad)
    drive = Drive(define(nodes, "S>B B>G", on_error="block"), act).to_end()
    assert paths(drive, "G") == [(0,), (1,)]
    assert drive.progress.counts()["failed"] == 2


def test_a_grafted_gate_before_a_gather_in_groups_holds_it_up_and_is_no_item():
    nodes = [Node(name="A"), Node(name="G", bind="gather", gather=GatherRule(size=2))]
    packed = Graft(None, jobs=[Job("X"), Job.gate("E")], edges=[("X", "E"), ("E", "G")]).definition()
    drive = Drive(define(nodes, "A>G"), behave(A=lambda r: ok(r, graft=packed))).to_end()
    assert drive.order() == ["A", "X", "G"]
    assert groups_read(drive, "G") == [(Input("A", (), True, keyed=((),)),)]


# More about what waits -----------------------------------------------------------------------------------------------


def test_what_was_grafted_may_graft_before_what_it_was_put_before():
    act = behave(A=graft("X", edges=[("X", "C")]), X=graft("Y", edges=[("Y", "C")]))
    drive = Drive(define("A B C", "A>B B>C"), act, seed=1).to_end()
    assert drive.verdict == "success" and drive.order()[-1] == "C"
    assert drive.started[-1].inputs == (Input("B"), Input("X"), Input("Y"))


def test_what_waits_is_told_with_the_grafted_jobs_before_it():
    drive = Drive(define("A C", "A>C"), behave(A=graft("X", edges=[("X", "C")])))
    done(drive, "A")
    assert drive.progress.waits_for("C") == ["X"]


@pytest.mark.parametrize("seed", range(8))
def test_grafted_inputs_come_in_the_order_of_branches_whoever_was_first(seed):
    nodes = [Node(name="S", spread=True), Node(name="B"), Node(name="G", bind="gather", gather=GatherRule())]
    act = behave(S=lambda r: ok(r, spread=3), B=graft("X", "Y", edges=[("Y", "G"), ("X", "G")]))
    drive = Drive(define(nodes, "S>B B>G"), act, seed=seed).to_end()
    grafted = [Input(job, (at,)) for at in range(3) for job in "XY"]
    assert drive.started[-1].inputs == (Input("B", (), many=True), *grafted)


def test_a_grafted_job_chooses_among_what_it_was_put_before():
    act = behave(A=graft("X", edges=[("X", "C"), ("X", "D")]), X=lambda r: ok(r, chosen=("C",)))
    drive = Drive(define("A C D", "A>C A>D"), act).to_end()
    assert drive.states == {"A": "success", "C": "success", "D": "skipped", "X": "success"}


def test_what_runs_in_any_case_waits_until_what_was_grafted_before_it_is_dead():
    nodes = [Node(name="A"), Node(name="F"), Node(name="C", when="always")]
    drive = Drive(define(nodes, "A>C"), behave(A=graft("X", edges=[("X", "C")])))
    done(drive, "A").pull()
    drive.record(bad(drive.live.pop(("F", ()))))
    assert drive.progress.halts() == [("X", ())]
    assert not drive.pull()
    drive.record(bad(drive.live.pop(("X", ())), "cancelled"))
    assert [one.job for one in drive.pull()] == ["C"]
