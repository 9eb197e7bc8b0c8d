"""The Router: every message goes through it, and its journal remembers every pipeline."""

import logging
import os

from headrace import Router

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


def main():
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    config = {
        "store": {"monitoring filename": os.environ.get("MONITORING_FILENAME", "/tmp/monitoring.log")},
        "monitoring interval": 60,
    }
    if "HEADRACE_DATA" in os.environ:  # without it: a folder below your user data, named after the api's port
        config["data"] = os.environ["HEADRACE_DATA"]
    router = Router(
        os.environ.get("HEADRACE_API", ("127.0.0.1", 5555)),
        os.environ.get("HEADRACE_BROADCAST", ("127.0.0.1", 5556)),
        config,
        logger=logging.getLogger("My Router"),
    )
    router.start()


if __name__ == "__main__":
    main()
