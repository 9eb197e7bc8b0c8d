"""What the content cache costs an attempt, and what a hit saves.

    python bench/caching.py --jobs 3000

The same fan of jobs that do nothing is run without a cache, with one that is empty, and with one that has everything;
in rounds, and the medians are printed. A job that does nothing shows the cost; what a hit saves is the job.
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid

from cluster import cluster

from headrace import Job, Pipeline, PipelineManager


def fan(jobs: int, cache: str | None, mark: str) -> Pipeline:
    options = {} if cache is None else {"cache": cache}
    root = Job("nothing", name="root")
    leaves = [Job("same", {"number": f"{mark} {index}"}, name=f"job{index}", **options) for index in range(jobs)]
    return Pipeline({root: leaves})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    took: dict[str, list[float]] = {"no cache": [], "not found": [], "found": []}
    with (
        cluster(workers="soak_workers") as running,
        PipelineManager(running.api, running.broadcast, timeout=120) as manager,
    ):
        for _ in range(given.rounds):
            mark = uuid.uuid4().hex
            for what, cache in (("no cache", None), ("not found", "content"), ("found", "content")):
                pipeline = fan(given.jobs, cache, mark)
                began = time.perf_counter()
                manager.start(pipeline)
                manager.wait(pipeline, 300)
                took[what].append((time.perf_counter() - began) / given.jobs)
    plain = statistics.median(took["no cache"])
    for what, seconds in took.items():
        median = statistics.median(seconds)
        print(
            f"{what:10} {median * 1e6:8,.0f} us a job, {(median - plain) * 1e6:+8,.0f} us, {median / plain:.2f} of it"
        )


if __name__ == "__main__":
    main()
