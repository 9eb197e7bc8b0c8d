"""What the jobs of a plant do, and the store that notes every save. It is copied into the plant's folder."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

from headrace import current, worker
from headrace.stores import PipelineStore


class MarkingStore(PipelineStore):
    """Hands results on as the default does, and leaves one line per save: run, job, path, attempt."""

    def save(self, info: Any) -> None:
        path = ".".join(map(str, info["path"])) or "-"
        line = f"{info['pipeline']} {info['job']} {path} {info['attempt']}\n"
        handle = os.open(os.environ["CHAOS_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


@worker
def grow(number, nap):
    time.sleep(nap)
    return {"number": number + 1}


@worker
def total(*numbers):
    return sum(one["number"] for one in numbers)


@worker
def list_of(count):
    return list(range(count))


@worker
def double(number):
    return 2 * number


@worker
def add_up(numbers):
    return sum(numbers)


@worker
def flaky():
    if current().attempt == 1:
        raise ValueError("the first attempt fails")
    return current().attempt


@worker
def fail():
    raise ValueError("this one always fails")


@worker
def text_of(size):
    return "x" * size


@worker
def length(text):
    return len(text)


@worker
def poison(how):
    if how == "exit":
        os._exit(42)
    if how == "kill":
        os.kill(os.getpid(), 9)
    os.abort()


@worker
def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


@worker
def nap_with_child(seconds):
    child = subprocess.Popen(["sleep", str(seconds)], start_new_session=True)
    time.sleep(seconds)
    child.wait()


@worker
def nothing():
    return None
