"""A store of our own: every pipeline has a file, and whatever its workers return is collected there.

`data["filename"]` says which file. It is one JSON dictionary: what was put into it at the beginning, the keys of all
results, and every whole result under `_result-from-<worker>`. It could as well be a database: change the three methods.
"""

import fcntl
import json
import os
from contextlib import contextmanager


class SimpleFileStore:
    def __init__(self, **config):
        self.monitoring_filename = config["monitoring filename"]

    def retrieve(self, info):
        """What a worker gets: of all that is in the file, the keys that it requires."""
        contents = read_result_file(info["data"]["filename"])
        return {key: contents[key] for key in info["worker_requires"]}

    def save(self, info):
        filename = info["data"]["filename"]
        with locked(filename):
            contents = read_result_file(filename)
            contents.update(info["worker_result"])
            contents[f"_result-from-{info['worker']}"] = info["worker_result"]
            write_result_file(filename, contents)

    def save_monitoring(self, data):
        with open(self.monitoring_filename, "a", encoding="utf-8") as fp:
            fp.write(json.dumps(data) + "\n")


def read_result_file(filename):
    with open(filename, encoding="utf-8") as fp:
        return json.load(fp)


def write_result_file(filename, contents):
    """Readers see the old file or the new one, never a half of it."""
    temporary = f"{filename}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as fp:
        json.dump(contents, fp, indent=1, ensure_ascii=False)
    os.replace(temporary, filename)


@contextmanager
def locked(filename):
    """One writer at a time: two workers of one pipeline may well be done at the same moment.

    A lock is on a file, and a save replaces the file. So the lock counts only if the file still has its name.
    """
    while True:
        with open(filename, "rb") as fp:
            fcntl.flock(fp, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fp.fileno()), os.stat(filename)):
                yield
                return
