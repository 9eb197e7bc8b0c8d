"""What is seen of a run: how far its jobs are, what they write, what is in the journal; and of a large one, counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace import Gather, Job, Pipeline


def test_progress_of_a_job_is_told_here(workers: Any) -> None:
    seen: list[Any] = []
    Pipeline({Job("stepwise", {"file": None}): None}).run(workers=workers, on_event=seen.append)
    far = [(event.done, event.total, event.message) for event in seen if event.kind == "progress"]
    assert far[0] == (1, 3, "step 1") and far[-1] == (3, 3, "step 3")


def test_progress_of_a_job_is_shown_while_it_runs(there: Any, tmp_path: Path) -> None:
    manager = there.manager
    run = manager.start(Pipeline({Job("stepwise", {"file": str(tmp_path / "go")}): None}))
    there.daemons.until(
        lambda: any("step 1" in str(one) for one in manager.snapshot(run).told.get("running", ())),
        what="the Router has heard of the first step",
    )
    (tmp_path / "go").touch()
    assert manager.wait(run, 60).results == {"stepwise": 3}


def test_what_workers_and_commands_write_can_be_read(there: Any) -> None:
    run = there.run(Pipeline({Job("talk"): Job.shell("echo spoken >&2", name="command")}))
    written = "".join(str(piece) for piece in there.manager.logs(run.id))
    assert "said aloud" in written and "spoken" in written
    shown = there.daemons.command("logs", run.id).stdout
    assert "said aloud" in shown and "spoken" in shown


def test_the_end_of_its_output_and_its_traceback_come_with_a_failure(engine: Any) -> None:
    run = engine.run(Pipeline({Job("talk_and_fail"): None}))
    assert run.error.reason == "RuntimeError: that was it"
    assert "talk_and_fail" in run.error.traceback and "that was it" in run.error.traceback


def test_every_fact_of_a_run_can_be_read_again_from_any_point(there: Any) -> None:
    run = there.run(Pipeline({Job("one"): Job("two")})).id
    kinds = [event.kind for event in there.manager.events("0-0", run=run, follow=False)]
    assert kinds == ["accepted", "returned", "returned", "finished"]
    first, *rest = there.manager.events("0-0", run=run, follow=False)
    assert [event.kind for event in there.manager.events(str(first.cursor), run=run, follow=False)] == kinds[1:]
    assert [event.cursor for event in rest] == sorted(event.cursor for event in rest)


def test_a_large_run_is_accepted_as_one_record_and_shown_as_counts(there: Any) -> None:
    count = 5000
    graph = {
        Job("numbers", {"count": count}, spread=True): Job("double", bind="item"),
        Job("double"): Job("collect", gather=Gather(size=100)),
        Job("collect"): Job("last_of_all", gather=Gather()),
    }
    run = there.run(Pipeline(graph))
    assert run.results["last_of_all"] == [count // 100, 2 * (count - 1)]
    facts = list(there.manager.facts(run.id))
    assert sum(type(fact).__name__ == "Accepted" for _, fact in facts) == 1
    assert len(facts) == 1 + 1 + count + count // 100 + 1 + 1
    shown = there.daemons.command("show", run.id)
    assert f"{count} success" in shown.stdout and f"{count // 100} success" in shown.stdout
    assert len(shown.stdout.splitlines()) < 12
    told = json.loads(there.daemons.command("show", run.id, "--json").stdout)["run"]
    assert [job["instances"] for job in told["jobs"]] == [
        {"success": 1}, {"success": count}, {"success": count // 100}, {"success": 1},
    ]  # fmt: skip
