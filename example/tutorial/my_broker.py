"""A Broker: it runs the jobs, in worker processes. Start one on every machine that is to help."""

import logging
import os
from multiprocessing import cpu_count

from file_store import SimpleFileStore

from headrace import Broker

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


def main():
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    broker = Broker(
        api=os.environ.get("HEADRACE_API", "tcp://localhost:5555"),
        broadcast=os.environ.get("HEADRACE_BROADCAST", "tcp://localhost:5556"),
        store_class=SimpleFileStore,
        workers="workers",
        number_of_workers=cpu_count(),
    )
    broker.start()


if __name__ == "__main__":
    main()
