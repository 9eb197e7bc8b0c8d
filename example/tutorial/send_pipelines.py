"""Makes five pipelines, sends them to the cluster, waits for them, and says where the results are.

    python send_pipelines.py [FOLDER]

The results are the files 0.data to 4.data in FOLDER, which is /tmp when you do not say.
"""

import sys
from pathlib import Path

from file_store import write_result_file
from web_server import serving_pages

from headrace import Job, Pipeline, PipelineManager


def make_pipelines(urls, folder):
    """One pipeline per address, each with a file that holds the address already."""
    pipelines = []
    for index, url in enumerate(urls):
        filename = str(Path(folder).absolute() / f"{index}.data")
        write_result_file(filename, {"url": url})
        pipeline = Pipeline(
            {Job("Downloader"): (Job("GetTextAndWords"), Job("GetLinks"))},
            data={"filename": filename},
        )
        pipelines.append(pipeline)
    return pipelines


def main(folder="/tmp"):
    with serving_pages() as urls, PipelineManager() as manager:
        pipelines = make_pipelines(urls, folder)
        for pipeline in pipelines:
            manager.start(pipeline)
            print(f"started {pipeline.id}: {pipeline.data['filename']}")
        while manager.finished_pipelines < manager.started_pipelines:
            manager.update()
        print(manager)
    for pipeline in pipelines:
        end = f"failed, {pipeline.error.reason}" if pipeline.failed else f"done in {pipeline.duration:.3f} s"
        print(f"{pipeline.data['filename']}: {end}")
    return any(pipeline.failed for pipeline in pipelines)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
