"""Sub-runs with the Router killed in every single turn, before and after its facts are on disk: always the same end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from below_site import RUN, Site

from headrace import Gather, Job, Pipeline, Retry
from headrace.pipeline.facts import Cancelled, Reopened
from headrace.pipeline.group import Group

Make = Callable[[], Pipeline]
Prepare = Callable[[Site], None]


def chain(*names: str) -> Pipeline:
    jobs = [Job("W", name=name) for name in names]
    return Pipeline(dict(zip(jobs, [*jobs[1:], None], strict=True)))


def plain() -> Pipeline:
    inner = Job(chain("X", "Y"), name="P")
    return Pipeline({Job("W", name="A"): inner, inner: Job("W", name="B")})


def bound() -> Pipeline:
    return Pipeline({Job("W", name="A"): Job(chain("X"), name="P", bind="item")})


def nested() -> Pipeline:
    return Pipeline({Job(Pipeline({Job(chain("X"), name="C"): Job("W", name="D")}), name="P"): None})


def branches() -> Pipeline:
    each = Job(chain("X"), name="each", bind="item")
    return Pipeline({Job("W", name="list", spread=True): each, each: Job("W", name="last", gather=Gather())})


def tried_twice() -> Pipeline:
    return Pipeline({Job(chain("W", "X"), name="P", retry=Retry(2)): None})


def hooked() -> Pipeline:
    return Pipeline({Job("W", name="A"): None}, hooks={"always": Job(chain("X", "Y"), name="P", bind="named")})


def hooked_group() -> Pipeline:
    group = Group("g", ["A", "B"], hooks={"always": [Job(chain("X", "Y"), name="P")]})
    return Pipeline({Job("W", name="A"): Job("W", name="B")}, groups=[group])


def nothing(site: Site) -> None:
    """Everything goes well."""


def x_fails(site: Site) -> None:
    site.fails["X"] = 9


def x_fails_once(site: Site) -> None:
    site.fails["X"] = 1


def cancelled_while_x_runs(site: Site) -> None:
    site.wishes.append(("cancel", lambda site: any(one.job == "X" for one in site.held.values())))


def cancelled_while_a_runs(site: Site) -> None:
    site.wishes.append(("cancel", lambda site: any(one.job == "A" for one in site.held.values())))


def cancelled_while_b_runs(site: Site) -> None:
    site.wishes.append(("cancel", lambda site: any(one.job == "B" for one in site.held.values())))


def tried_again_by_its_user(site: Site) -> None:
    def has_failed(site: Site) -> bool:
        one = site.journal.archive.run(RUN)
        return one is not None and one.verdict == "failed" and RUN not in site.dispatch.cluster.runs

    site.fails["X"] = 1
    site.wishes.append(("retry", has_failed))


STORIES: list[tuple[Make, Prepare, str, int]] = [
    (plain, nothing, "success", 2),
    (bound, nothing, "success", 2),
    (nested, nothing, "success", 3),
    (branches, nothing, "success", 3),
    (plain, x_fails, "failed", 2),
    (nested, x_fails, "failed", 3),
    (tried_twice, x_fails_once, "success", 2),
    (nested, cancelled_while_x_runs, "cancelled", 3),
    (nested, tried_again_by_its_user, "success", 3),
    (bound, tried_again_by_its_user, "success", 2),
]
"""A pipeline, what happens, how it ends, and how many runs there are then."""
HOOKS: list[tuple[Make, Prepare, str, str]] = [
    (hooked, nothing, "success", "success"),
    (hooked, x_fails, "success", "failed"),
    (hooked, cancelled_while_a_runs, "cancelled", "success"),
    (hooked, cancelled_while_x_runs, "success", "cancelled"),
    (hooked_group, nothing, "success", "success"),
    (hooked_group, cancelled_while_b_runs, "cancelled", "success"),
]
"""With a hook that is a pipeline: how the run ends, and how that one."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible: hundreds of journals are made, and none of them has to survive a power cut."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def named(story: tuple[Make, Prepare, str, object]) -> str:
    return f"{story[0].__name__}-{story[1].__name__}"


def told(
    folder: Path, story: tuple[Make, Prepare, str, int], kill_at: int = 0, committed: bool = False, below: str = ""
) -> Site:
    make, prepare, verdict, runs = story
    site = Site(folder, make(), kill_at, committed)
    prepare(site)
    site.run()
    archive = site.journal.archive
    found = archive.runs(below=True)
    assert archive.run(RUN).verdict == verdict and len(found) == runs
    assert all(one.verdict is not None for one in found)
    assert set(site.successes().values()) <= {1}
    assert not [one for one in found if one.verdict != (verdict if one.run == RUN else below or verdict)], found
    site.journal.close()
    return site


@pytest.mark.parametrize("story", STORIES, ids=named)
def test_the_death_of_the_router_in_any_turn_changes_nothing(
    folder: Path, story: tuple[Make, Prepare, str, int]
) -> None:
    turns = told(folder / "whole", story).turns
    assert turns > 8
    for kill_at in range(1, turns + 1):
        for committed in (False, True):
            told(folder / f"{kill_at}{committed}", story, kill_at, committed)


@pytest.mark.parametrize("story", HOOKS, ids=named)
def test_a_hook_that_is_a_pipeline_runs_once_whenever_the_router_dies(
    folder: Path, story: tuple[Make, Prepare, str, str]
) -> None:
    *whole, below = story
    turns = told(folder / "whole", (*whole, 2), below=below).turns  # type: ignore[arg-type]
    for kill_at in range(1, turns + 1):
        for committed in (False, True):
            told(folder / f"{kill_at}{committed}", (*whole, 2), kill_at, committed, below)  # type: ignore[arg-type]


def test_another_attempt_keeps_what_succeeded_inside(folder: Path) -> None:
    site = told(folder, STORIES[6])
    assert site.executed["W"] == 1 and site.executed["X"] == 2


def test_what_the_user_did_is_done_in_every_run_below(folder: Path) -> None:
    site = Site(folder, nested())
    cancelled_while_x_runs(site)
    site.run()
    runs = [one.run for one in site.journal.archive.runs(below=True)]
    assert [[fact.reason for fact in site.facts(run) if isinstance(fact, Cancelled)] for run in runs] == [
        ["enough"]
    ] * 3
    site.journal.close()


def test_a_new_round_of_the_run_is_one_of_the_same_children(folder: Path) -> None:
    site = Site(folder, nested())
    tried_again_by_its_user(site)
    site.run()
    runs = [one.run for one in site.journal.archive.runs(below=True)]
    assert [sum(isinstance(fact, Reopened) for fact in site.facts(run)) for run in runs] == [1, 1, 1]
    site.journal.close()
