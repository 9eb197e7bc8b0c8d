"""Ten times the load: clients that submit without pause, far more than can be run, and what the Router says to that.

It takes what it has room for and answers the rest with `busy`; it stays as small as its open runs are; whoever asks
something meanwhile is answered; and afterwards everything that was acknowledged is carried out.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from campaign import ORPHANS, Report
from plant import HERE, Daemon, Plant, until

from headrace import Job, Pipeline
from headrace.daemons.dispatch.cluster import Rules
from headrace.daemons.journal.archive import Archive
from headrace.daemons.journal.checkup import verify
from headrace.daemons.protocol import PROTOCOL, Failed, Inbound, Submission, Submit, Submitted, decode_outbound, encode

FLOODERS = 2
BATCH = 250
WINDOW = 8
"""Batches of one flooder that are not answered yet."""
NAP = 0.002
"""What a run takes. One that takes no time is carried out as fast as it can be submitted, and there is no overload."""
OPEN_RUNS = Rules().open_runs
"""What a Router has room for by default."""
FULL_WITHIN = 300.0
"""Seconds in which somebody has to be told that the Router is busy."""
DRAINED_WITHIN = 900.0
MEGABYTE = 1 << 20
PER_RUN = 4096
"""Bytes of the Router that one open run may cost at most, on top of its growth."""
GROWTH = 250 * MEGABYTE
PATIENCE = 20.0
"""Seconds that somebody else may have to wait for an answer meanwhile."""


@dataclass
class Flood:
    """One client that submits whatever the answers are, and never rests."""

    api: str
    definition: bytes
    until: float
    """It goes on beyond that when the Router was never busy,"""
    at_last: float
    """up to here."""
    taken: list[str] = field(default_factory=list)
    refused: int = 0
    ended: float = 0.0
    """When it stopped to submit."""

    def run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(self.api)
            name, waiting, number = uuid.uuid4().hex, dict[str, list[str]](), 0
            while (more := self._more()) or (waiting and time.monotonic() < self.ended + PATIENCE):
                while len(waiting) < WINDOW and more:
                    number += 1
                    runs = [uuid.uuid4().hex for _ in range(BATCH)]
                    waiting[f"{number}"] = runs
                    message = Submit(f"{number}", [Submission(run, self.definition) for run in runs], follow=False)
                    socket.send(encode(Inbound(PROTOCOL, name, "s", number, [message])))
                if socket.poll(200):
                    for message in decode_outbound(socket.recv_multipart()[-1]).messages:
                        self._hear(message, waiting)

    def _more(self) -> bool:
        now = time.monotonic()
        more = now < self.until or (not self.refused and now < self.at_last)
        if more:
            self.ended = now
        return more

    def _hear(self, message: object, waiting: dict[str, list[str]]) -> None:
        match message:
            case Submitted(id, receipts):
                waiting.pop(id, None)
                self.taken += [receipt.run for receipt in receipts if receipt.ok]
            case Failed(id, "busy"):
                self.refused += len(waiting.pop(id, ()))


def overload(folder: Path, seconds: float = 60.0, open_runs: int = OPEN_RUNS) -> Report:
    with Plant(folder) as plant:
        environment = {"CHAOS_OPEN_RUNS": f"{open_runs}"}
        plant.add(Daemon("router", program=(str(HERE / "small_router.py"),), environment=environment))
        plant.add(Daemon("pipeliner"))
        plant.add(plant.broker("broker1"))
        plant.joined(1)
        idle = plant.memory("router")
        began = time.monotonic()
        floods, peak, longest = _flood(plant, seconds)
        seconds = max(flood.ended for flood in floods) - began
        taken = [run for flood in floods for run in flood.taken]
        began = time.monotonic()
        with plant.manager() as manager:
            until(lambda: not manager.cluster()["router"]["open_runs"], "everything was carried out", DRAINED_WITHIN)
        drained = time.monotonic() - began
        plant.check_alive()
        plant.stop()
        refused = sum(flood.refused for flood in floods)
        problems = [*plant.problems, *_unfinished(plant.data, taken)]
        if not refused:
            problems.append("nobody was told that the Router is busy")
        if peak - idle > GROWTH + PER_RUN * open_runs:
            problems.append(f"unbounded: the Router has grown by {(peak - idle) / MEGABYTE:.0f} MB")
        if longest > PATIENCE:
            problems.append(f"stuck: somebody else had to wait {longest:.1f} s for an answer")
        if left := plant.gone(ORPHANS):
            problems.append(f"orphans: {left}")
    rate = len(taken) / (seconds + drained)
    figures = {
        "room for": open_runs, "runs accepted": len(taken), "runs refused as busy": refused,
        "offered a second": int((len(taken) + refused) / seconds),
        "carried out a second": int(rate), "the Router's growth in MB": (peak - idle) // MEGABYTE,
        "drained in s": round(drained, 1), "longest answer to others in s": round(longest, 2),
    }  # fmt: skip
    checked = "0 acknowledged lost, busy answers, memory bounded, others answered, drained"
    return Report("overload", 1, 1, int(not problems), tuple(problems), (), checked, figures)


def _flood(plant: Plant, seconds: float) -> tuple[list[Flood], int, float]:
    """The floods, the Router's largest size meanwhile, and the longest that somebody else waited for an answer."""
    definition = Pipeline({Job("grow", {"number": 0, "nap": NAP}): None}).definition()
    now = time.monotonic()
    floods = [Flood(plant.api, definition, now + seconds, now + FULL_WITHIN) for _ in range(FLOODERS)]
    threads = [threading.Thread(target=flood.run) for flood in floods]
    for thread in threads:
        thread.start()
    peak = 0
    longest = 0.0
    with plant.manager() as manager:
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, plant.memory("router"))
            began = time.monotonic()
            manager.cluster()
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.1)
    return floods, peak, longest


def _unfinished(data: Path, runs: list[str]) -> list[str]:
    """What was acknowledged and has not succeeded."""
    report = verify(data)
    archive = Archive(data / "journal.db")
    try:
        done = {one.run for one in archive.known(runs) if one.verdict == "success"}
    finally:
        archive.close()
    lost = [run for run in runs if run not in done]
    problems = report.problems[:5]
    if lost:
        problems.append(f"lost: {len(lost)} of {len(runs)} acknowledged runs, such as {lost[0]}")
    return problems
