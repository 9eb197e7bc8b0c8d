"""Memory that was needed once goes back to the system.

What is freed is kept by the C library for the next who asks. A daemon that lives for months is then as large as the
largest of its moments have made it, a little larger with every rare one. So a thread of each daemon asks glibc, now and
then, to give back what is free. Other C libraries have no such call: there nothing is done.
"""

from __future__ import annotations

import ctypes
import threading
import time

EVERY = 60.0
_started = threading.Lock()


def give_back() -> bool:
    """Takes a millisecond or so, without the interpreter lock. False: this C library does not offer it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True


def keep_small() -> None:
    """From now on, in this process."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_give_back_now_and_then, name="memory", daemon=True).start()


def _give_back_now_and_then() -> None:
    while give_back():
        time.sleep(EVERY)
