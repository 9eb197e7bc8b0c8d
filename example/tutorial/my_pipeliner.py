"""The Pipeliner: it knows which job comes after which."""

import logging
import os

from headrace import Pipeliner

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


def main():
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    pipeliner = Pipeliner(
        api=os.environ.get("HEADRACE_API", "tcp://localhost:5555"),
        broadcast=os.environ.get("HEADRACE_BROADCAST", "tcp://localhost:5556"),
    )
    pipeliner.start()


if __name__ == "__main__":
    main()
