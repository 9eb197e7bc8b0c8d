"""Malformed input by the million: `python tests/fuzz/run.py [COUNT] [SEED] [KIND]`, a million by default.

The count is divided among the kinds: garbage at the api of real daemons, raw bytes at their ports, the decoders of
wire, journal and user data, damaged journals, job files, Alfred scripts, job maps. Nothing may crash, nothing may take
longer than its patience, and no process may grow beyond its bound. One line per kind goes into the file of results.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from alfscripts import Scripts, check
from attack import Attack, Target
from documents import NAMESPACE, Documents, check_job, check_map
from doors import Decoders, Journals, check_decoder, check_journal
from sockets import Sockets

SHARES = {
    "messages at the api": 0.25,
    "raw bytes at the ports": 0.02,
    "decoders": 0.50,
    "damaged journals": 0.002,
    "job files": 0.118,
    "Alfred scripts": 0.05,
    "job maps": 0.06,
}
ROUND = 50_000
PATIENCE = 20.0
"""Seconds that one input may take: bounds hold, and the machine may be busy."""
GROWTH = 200 << 20
"""Bytes that a process may grow by over all of it."""
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "fuzz.jsonl"

Outcomes = Counter[str]


def _each(inputs: Iterator[Any], check: Callable[[Any], str]) -> Outcomes:
    outcomes = Outcomes()
    process = psutil.Process()
    before = process.memory_info().rss
    for given in inputs:
        began = time.monotonic()
        try:
            outcomes[check(given)] += 1
        except BaseException:
            print(f"this input: {given!r:.5000}", file=sys.stderr)
            raise
        took = time.monotonic() - began
        assert took < PATIENCE, f"it took {took:.1f} s: {given!r:.2000}"
    grown = process.memory_info().rss - before
    assert grown < GROWTH, f"this process has grown by {grown >> 20} MB"
    return outcomes


def _repeat(make: Callable[[], Any], count: int) -> Iterator[Any]:
    return (make() for _ in range(count))


def messages(count: int, seed: int, folder: Path) -> Outcomes:
    with Target(folder) as target:
        router = psutil.Process(target.daemons["router"].pid)
        before = router.memory_info().rss
        for start in range(0, count, ROUND):
            attack = Attack(target, seed + start // ROUND)
            try:
                attack.run(min(ROUND, count - start))
            except AssertionError:
                print(target.tail("router"), file=sys.stderr)
                raise
            finally:
                attack.close()
        counted = target.counted()
        assert not counted["failures"], target.tail("router")
        grown = router.memory_info().rss - before
        assert grown < GROWTH, f"the Router has grown by {grown >> 20} MB"
        target.check()
    return Outcomes({"malformed": counted["malformed"], "handled": count - counted["malformed"]})


def raw(count: int, seed: int, folder: Path) -> Outcomes:
    with Target(folder, tcp=True) as target:
        router = psutil.Process(target.daemons["router"].pid)
        before = router.memory_info().rss
        sockets = Sockets(seed, [target.api, target.broadcast])
        try:
            outcomes = _each(_repeat(sockets.next, count), sockets.throw)
        finally:
            sockets.close()
        grown = router.memory_info().rss - before
        assert grown < GROWTH, f"the Router has grown by {grown >> 20} MB"
        target.check()
    return outcomes


def maps(count: int, seed: int, folder: Path) -> Outcomes:
    (folder / "words").mkdir(parents=True)
    for name, text in NAMESPACE.items():
        (folder / "words" / name).write_text(text)
    here = Path.cwd()
    os.chdir(folder)
    try:
        return _each(_repeat(Documents(seed).map, count), check_map)
    finally:
        os.chdir(here)


def journals(count: int, seed: int, folder: Path) -> Outcomes:
    folder.mkdir()
    return _each(_repeat(Journals(seed, folder).next, count), check_journal)


KINDS: dict[str, Callable[[int, int, Path], Outcomes]] = {
    "messages at the api": messages,
    "raw bytes at the ports": raw,
    "decoders": lambda count, seed, folder: _each(_repeat(Decoders(seed).next, count), check_decoder),
    "damaged journals": journals,
    "job files": lambda count, seed, folder: _each(_repeat(Documents(seed).job, count), check_job),
    "Alfred scripts": lambda count, seed, folder: _each(_repeat(Scripts(seed).next, count), check),
    "job maps": maps,
}


def main(count: int = 1_000_000, seed: int = 1, only: str = "") -> None:
    logging.disable(logging.CRITICAL)
    for kind, share in SHARES.items():
        if only not in kind:
            continue
        began = time.monotonic()
        number = max(1, int(count * share))
        with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
            outcomes = KINDS[kind](number, seed, Path(folder) / "place")
        took = time.monotonic() - began
        print(f"{kind}: {number:,} inputs in {took:.0f} s: {dict(outcomes)}", flush=True)
        _append({"kind": kind, "inputs": number, "seed": seed, "seconds": round(took), "outcomes": dict(outcomes)})


def _append(record: dict[str, Any]) -> None:
    line = ["git", "-C", str(RESULTS.parents[2]), "rev-parse", "--short", "HEAD"]
    try:
        record["commit"] = subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        record["commit"] = ""
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({**record, "at": int(time.time())}) + "\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*map(int, given[:2]), *given[2:3])
