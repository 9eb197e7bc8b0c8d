"""A slice of the simulator: `make simulate` lives through as many scenarios as one wants."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = 2000
TRIED = json.loads(Path(__file__).with_name("caught.json").read_text())
CAUGHT = [mutant for mutant, known in TRIED.items() if known["seed"]]
PAGE = (ROOT / "docs" / "simulation.md").read_text()


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", "--jobs", "0", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)


@pytest.fixture(scope="module")
def sweep() -> subprocess.CompletedProcess[str]:
    return simulate("--seeds", str(SEEDS), "--coverage")


@pytest.fixture(scope="module")
def recheck() -> subprocess.CompletedProcess[str]:
    return simulate("--mutants", "--known")


@pytest.mark.timeout(1800)
def test_two_thousand_histories_keep_every_promise(sweep: subprocess.CompletedProcess[str]) -> None:
    assert sweep.returncode == 0, sweep.stdout[-6000:] + sweep.stderr[-2000:]
    assert sweep.stdout.splitlines()[-1] == f"seeds {SEEDS}, violations 0"


@pytest.mark.timeout(1800)
def test_every_feature_and_fault_occurs_in_them(sweep: subprocess.CompletedProcess[str]) -> None:
    counts = Counter({what: int(seeds) for what, seeds in re.findall(r"^\| (.+) \| (\d+) \|$", sweep.stdout, re.M)})
    assert len(counts) > 100
    assert [what for what, seeds in counts.items() if not seeds] == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mutant", CAUGHT)
def test_without_this_guard_a_promise_is_broken(recheck: subprocess.CompletedProcess[str], mutant: str) -> None:
    line = next((line for line in recheck.stdout.splitlines() if line.startswith(f"| {mutant} |")), recheck.stderr)
    assert re.search(r"\| \d+ \| \w[\w -]* \|$", line), line


@pytest.mark.timeout(1800)
def test_the_docs_tell_of_every_mutant_that_was_tried(recheck: subprocess.CompletedProcess[str]) -> None:
    assert recheck.stdout.splitlines()[-1] == f"mutants {len(CAUGHT)}, escaped 0", recheck.stdout[-3000:]
    assert [mutant for mutant in TRIED if f"| {mutant} |" not in PAGE] == []
