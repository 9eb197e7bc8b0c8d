"""Watching a run: when it is said that it stands still."""

from __future__ import annotations

from headrace.daemons.commands.watching import STUCK, Stuck


def test_a_run_in_which_nothing_runs_is_told_of_once() -> None:
    stuck, waiting = Stuck(), {"queued": 1, "waiting": 2}
    assert not stuck.since(waiting, 100.0)
    assert not stuck.since(waiting, 100.0 + STUCK / 2)
    assert stuck.since(waiting, 100.0 + STUCK)
    assert not stuck.since(waiting, 100.0 + 3 * STUCK)


def test_a_run_that_went_on_may_stand_still_again() -> None:
    stuck = Stuck()
    stuck.since({"queued": 2}, 0.0)
    assert stuck.since({"queued": 2}, STUCK)
    assert not stuck.since({"queued": 1, "success": 1}, 2 * STUCK)
    assert stuck.since({"queued": 1, "success": 1}, 3 * STUCK)


def test_a_run_with_a_long_job_does_not_stand_still() -> None:
    stuck = Stuck()
    for now in (0.0, STUCK, 9 * STUCK):
        assert not stuck.since({"running": 1, "queued": 3}, now)
