"""The examples of what a job can ask for: in one process, and on real daemons."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "example"

SAID = {
    "fanout": "means: A 76, B 86, C 96; peaks of every six: [51, 111, 171]",
    "failures": "JobTimeout: the job ran longer than its timeout of 0.5 s",
}


@pytest.mark.parametrize("example", SAID)
def test_an_example_says_the_same_in_one_process_and_on_a_cluster(daemons: Any, example: str) -> None:
    shutil.copy(EXAMPLES / example / "workers.py", daemons.folder)
    here = daemons.command("run", "workers.py")
    assert here.returncode == 0 and SAID[example] in here.stdout, here.stderr
    daemons.cluster()
    daemons.joined()
    there = daemons.command("submit", "workers.py", "--wait", timeout=120)
    assert there.returncode == 0, there.stdout + there.stderr
    run = there.stdout.split()[0]
    assert SAID[example] in daemons.command("results", run).stdout


def test_placement_waits_for_a_role_and_says_so(daemons: Any) -> None:
    shutil.copy(EXAMPLES / "placement" / "workers.py", daemons.folder)
    daemons.start("router", "--limits", "licence:2")
    daemons.start("pipeliner")
    daemons.start("broker", "--roles", "render:4")
    daemons.joined()
    run = daemons.command("submit", "workers.py").stdout.strip()
    daemons.until(lambda: "role web" in daemons.command("explain", run).stdout, what="publish waits for its role")
    with daemons.manager() as manager:
        used, most = manager.cluster()["limits"]["licence"]
        assert most == 2 and used == 0
        daemons.start("broker2", "--roles", "web:1")
        assert manager.wait(run, 60).results["publish"] == "published"
