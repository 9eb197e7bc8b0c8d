"""Starts a few pipelines, waits for them, and reads their results from MongoDB."""

import tomllib
from pathlib import Path

from headrace import Job, Pipeline, PipelineManager
from headrace.stores import MongoStore

TEXTS = {
    "rose": "A rose is a rose is a rose",
    "sea": "The sea the sea the open sea the blue the fresh the ever free",
}


def main():
    with PipelineManager() as manager:
        run_all(
            manager, [Pipeline({Job("CountWords"): None}, data={"id": id, "text": text}) for id, text in TEXTS.items()]
        )
        # Another run, which is given an id only: the store finds the rest under that id.
        run_all(manager, [Pipeline({Job("Report"): None}, data={"id": id}) for id in TEXTS])

    configuration = tomllib.loads(Path("headrace.toml").read_text())
    store = MongoStore(**configuration["router"]["store-config"])
    for id in TEXTS:
        reports = [saved.result["report"] for saved in store.results(id) if saved.job == "Report"]
        print(reports[0])
    store.close()


def run_all(manager, pipelines):
    manager.start_many(pipelines)
    for pipeline in pipelines:
        manager.wait(pipeline, timeout=60)
        if pipeline.failed:
            raise SystemExit(f"{pipeline.error.job} failed: {pipeline.error.reason}")


if __name__ == "__main__":
    main()
