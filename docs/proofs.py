"""What the proofs have come to: tables from the results that `make chaos`, `make soak` and `make fuzz` append to files.

Of every slice (a name and the number of its first blow) the last line counts; slices of one name are put together.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tables import table

RESULTS = Path(__file__).parents[1] / "bench" / "results"
Record = dict[str, Any]


def lines_of(name: str) -> Iterator[Record]:
    file = RESULTS / f"{name}.jsonl"
    if file.exists():
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line)


def chaos_table() -> str:
    """A row per campaign, in the order in which they were first run."""
    slices: dict[str, dict[int, Record]] = {}
    for one in lines_of("chaos"):
        slices.setdefault(one["name"], {})[one["first"]] = one
    rows = [_chaos_row(name, list(by_first.values())) for name, by_first in slices.items()]
    return table(["struck", "survived", "recovered after p50, p99 (s)", "figures", "revisions"], rows)


def _chaos_row(name: str, slices: list[Record]) -> list[str]:
    times = sorted(time for one in slices for time in one["times"])
    recovered = f"{statistics.median(times):.2f}, {times[int(len(times) * 0.99)]:.2f}" if times else ""
    survived = f"{sum(one['survived'] for one in slices)}/{sum(one['blows'] for one in slices)}"
    commits = sorted({one["commit"] for one in slices if one["commit"]})
    return [name, survived, recovered, _figures(slices), ", ".join(commits)]


def _figures(slices: list[Record]) -> str:
    """Counts are added up; what is a size, a rate or a time is not: of these the largest counts."""
    found: dict[str, list[float]] = {}
    for one in slices:
        for name, value in one["figures"].items():
            found.setdefault(name, []).append(value)
    told = {name: max(values) if _is_level(name) else sum(values) for name, values in found.items()}
    return ", ".join(f"{name} {value:,}" for name, value in told.items())


def _is_level(name: str) -> bool:
    return " in " in name or name.endswith("a second") or name.startswith("open ")


def soak_table() -> str:
    rows = []
    for one in lines_of("soak"):
        for name, slope in one["slopes"].items():
            line = slope if isinstance(slope, dict) else {"slope": slope[0], "error": slope[1], "sizes": [slope[2]]}
            rows.append(
                [one["commit"], f"{one['seconds'] / 60:.0f} min, {one['runs']:,} runs", name.split()[0],
                 f"{line['sizes'][-1]} MB", f"{line['slope']:+.2f} ± {line['error']:.2f} MB/h"]
            )  # fmt: skip
    return table(["revision", "soak", "process", "size", "slope"], rows)


def fuzz_table() -> str:
    kinds: dict[str, dict[int, Record]] = {}
    for one in lines_of("fuzz"):
        kinds.setdefault(one["kind"], {})[one["seed"]] = one
    rows = [[kind, f"{sum(one['inputs'] for one in seeds.values()):,}"] for kind, seeds in kinds.items()]
    total = sum(one["inputs"] for seeds in kinds.values() for one in seeds.values())
    return table(["input", "how many"], [*rows, ["together", f"{total:,}"]])


PROOFS: dict[str, Callable[[], str]] = {"chaos": chaos_table, "soak": soak_table, "fuzz": fuzz_table}
