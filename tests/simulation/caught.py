"""Which seeds catch which mutants: measured, and kept for the tests and for the page in `docs`."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .mutants import MUTANTS, Mutant, search
from .sweeping import cores

KEPT = Path(__file__).with_name("caught.json")
PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"
BEGIN, END = "<!-- from the mutants -->\n", "<!-- end of the mutants -->"


class Catch(NamedTuple):
    mutant: str
    seeds: int
    """So many were lived through until it was noticed,"""
    seed: int
    """in this one; 0: it has escaped."""
    promise: str
    text: str
    seconds: float


def measure(chosen: Sequence[Mutant], first: int, seeds: int, jobs: int, write: bool) -> int:
    """Look for a seed that catches each; the exit code."""
    return _measure([(MUTANTS.index(mutant), first, seeds) for mutant in chosen], jobs, write)


def recheck(chosen: Sequence[Mutant], jobs: int) -> int:
    """Is each still caught by the seed that is known to, or by one of the next ones? Every change of the machines moves
    histories about."""
    known = {name: one for name, one in kept().items() if one["seed"]}
    found = [(mutant, known[mutant.name]) for mutant in chosen if mutant.name in known]
    return _measure(
        [(MUTANTS.index(one), at["seed"], max(300, min(3 * at["seeds"], 6000))) for one, at in found], jobs, False
    )


def _measure(tasks: list[tuple[int, int, int]], jobs: int, write: bool) -> int:
    found: list[Catch] = []
    with multiprocessing.get_context("spawn").Pool(min(jobs or cores(), len(tasks))) as pool:
        for catch in pool.imap(_catch, tasks):
            print(row(catch), flush=True)
            print(f"{catch.mutant}: {catch.seconds:.1f} s, {catch.text}", file=sys.stderr)
            found.append(catch)
            if write:
                keep([catch])
    escaped = sum(not catch.seed for catch in found)
    print(f"mutants {len(found)}, escaped {escaped}")
    return 1 if escaped else 0


def _catch(task: tuple[int, int, int]) -> Catch:
    at, first, seeds = task
    began = time.monotonic()
    needed, violation = search(MUTANTS[at], first, seeds)
    passed = time.monotonic() - began
    if violation is None:
        return Catch(MUTANTS[at].name, needed, 0, "", "", passed)
    text = str(violation)[:200].replace("\n", " ")
    return Catch(MUTANTS[at].name, needed, first + needed - 1, violation.promise, text, passed)


def row(catch: Catch) -> str:
    mutant = next(one for one in MUTANTS if one.name == catch.mutant)
    needed = f"{catch.seeds}" if catch.seed else f"more than {catch.seeds}"
    return f"| {mutant.name} | {mutant.paragraph}: {mutant.guards} | {needed} | {catch.promise or '-'} |"


def kept() -> dict[str, Any]:
    return dict(json.loads(KEPT.read_text())) if KEPT.exists() else {}


def keep(found: Sequence[Catch]) -> None:
    """In the file beside this one, and in the page."""
    known = kept()
    known.update({one.mutant: {"seeds": one.seeds, "seed": one.seed, "promise": one.promise} for one in found})
    known = {mutant.name: known[mutant.name] for mutant in MUTANTS if mutant.name in known}
    KEPT.write_text(json.dumps(known, indent=1) + "\n")
    if PAGE.exists():
        text = PAGE.read_text()
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        PAGE.write_text(f"{before}{BEGIN}{page_table()}\n{END}{after}")


def page_table() -> str:
    known = kept()
    rows = [row(Catch(name, one["seeds"], one["seed"], one["promise"], "", 0.0)) for name, one in known.items()]
    return "\n".join(["| what is taken away | the rule | seeds | noticed as |", "| --- | --- | --- | --- |", *rows])
